//! Time, IRQL, addresses, event tracing: what is too small for a file of its own.

use super::export::{Export, STATUS_NOT_FOUND, STATUS_SUCCESS, at_most};
use super::import::resolve;
use crate::cpu::{call, clock, irql};
use crate::memory::{driver, paging};

/// The exports of this file.
pub const TABLE: &[(&str, Export)] = &[
    ("KeStallExecutionProcessor", |a| {
        let time = a.get(0) & 0xFFFF_FFFF;
        call::stalls("KeStallExecutionProcessor", time);
        clock::stall(time);
        0
    }),
    ("KeGetCurrentIrql", |_| u64::from(irql::current())),
    ("KfRaiseIrql", |a| u64::from(irql::raise(a.get(0) as u8))),
    ("KeLowerIrql", |a| {
        irql::set(a.get(0) as u8);
        0
    }),
    ("KeQueryPerformanceCounter", |a| {
        driver::write_optional("KeQueryPerformanceCounter", a.get(0), 10_000_000u64);
        clock::microseconds() * 10
    }),
    ("KeQueryInterruptTime", |_| clock::ticks() * 10_000),
    ("KeQueryTimeIncrement", |_| 10_000),
    ("KeQueryUnbiasedInterruptTime", |_| clock::ticks() * 10_000),
    ("KeDelayExecutionThread", |a| {
        at_most("KeDelayExecutionThread", 1);
        let interval = driver::read::<i64>("KeDelayExecutionThread", a.get(2));
        clock::stall(interval.unsigned_abs() / 10);
        STATUS_SUCCESS
    }),
    ("MmGetPhysicalAddress", |a| paging::translate(a.get(0)).map_or(0, |(physical, _)| physical)),
    ("MmIsAddressValid", |a| u64::from(paging::translate(a.get(0)).is_some())),
    ("MmGetSystemRoutineAddress", |a| {
        at_most("MmGetSystemRoutineAddress", 0);
        let text = driver::read::<u64>("MmGetSystemRoutineAddress", a.get(0) + 8);
        let name = driver::wide_text("MmGetSystemRoutineAddress", text, 256);
        resolve("ntoskrnl.exe", &name).unwrap_or(0)
    }),
    // Event tracing: registered, never enabled.
    ("EtwRegister", |a| {
        driver::write_optional("EtwRegister", a.get(3), 1u64);
        STATUS_SUCCESS
    }),
    ("EtwUnregister", |_| STATUS_SUCCESS),
    ("EtwSetInformation", |_| STATUS_SUCCESS),
    ("EtwWrite", |_| STATUS_SUCCESS),
    ("EtwWriteTransfer", |_| STATUS_SUCCESS),
    ("EtwEventEnabled", |_| 0),
    ("EtwProviderEnabled", |_| 0),
    ("WmiTraceMessage", |_| STATUS_SUCCESS),
    ("WmiQueryTraceInformation", |_| STATUS_NOT_FOUND),
    // Named in unwind tables; nothing here raises exceptions that could be handled.
    ("__C_specific_handler", |_| {
        crate::stop!("the image handles an exception, which the stand never raises")
    }),
];
