//! ntoskrnl's and hal's side of the imports, and the table of everything the stand exports.

pub mod debug;
pub mod dpc;
pub mod export;
pub mod hal;
pub mod pool;
pub mod processor;
pub mod rtl;
pub mod spin;
pub mod timer;

use crate::cpu::arguments::Arguments;
use crate::cpu::{call, irql};
use crate::storport;
use export::{Export, STATUS_NOT_FOUND, STATUS_SUCCESS, at_most};

const TABLES: [(&str, &[(&str, Export)]); 9] = [
    ("storport.sys", storport::exports::TABLE),
    ("storport.sys", storport::registers::TABLE),
    ("ntoskrnl.exe", debug::TABLE),
    ("ntoskrnl.exe", hal::TABLE),
    ("ntoskrnl.exe", pool::TABLE),
    ("ntoskrnl.exe", processor::TABLE),
    ("ntoskrnl.exe", rtl::TABLE),
    ("ntoskrnl.exe", spin::TABLE),
    ("ntoskrnl.exe", MISC),
];

fn entry(index: usize) -> Option<(&'static str, Export)> {
    TABLES.iter().flat_map(|(_, table)| table.iter()).nth(index).copied()
}

/// Name of an export by its number.
pub fn name(index: usize) -> &'static str {
    entry(index).map_or("unknown import", |(name, _)| name)
}

/// Whether an export is Storport's, by its number.
pub fn is_storport(index: usize) -> bool {
    let owners = TABLES.iter().flat_map(|(owner, table)| table.iter().map(move |_| *owner));
    owners.into_iter().nth(index) == Some("storport.sys")
}

/// Runs an export.
pub fn dispatch(index: usize, arguments: Arguments) -> u64 {
    match entry(index) {
        Some((name, export)) => {
            crate::report::import(name, arguments);
            storport::dump::instead(name, arguments).unwrap_or_else(|| export(arguments))
        }
        None => crate::stop!("import number {index} does not exist"),
    }
}

/// Address of an export's stub. The HAL's functions live in ntoskrnl on the Windows versions we speak of, and images
/// may name either.
pub fn resolve(dll: &str, name: &str) -> Option<u64> {
    let library = match dll {
        _ if dll.eq_ignore_ascii_case("storport.sys") => "storport.sys",
        _ if dll.eq_ignore_ascii_case("ntoskrnl.exe") || dll.eq_ignore_ascii_case("hal.dll") => {
            "ntoskrnl.exe"
        }
        _ => return None,
    };
    if library == "ntoskrnl.exe" && name == "__chkstk" {
        return Some(call::check_stack_address());
    }
    let mut index = 0;
    for (owner, table) in TABLES {
        for (export, _) in table {
            if owner == library && *export == name {
                return Some(call::stub(index));
            }
            index += 1;
        }
    }
    None
}

const MISC: &[(&str, Export)] = &[
    ("KeStallExecutionProcessor", |a| {
        let time = a.get(0) & 0xFFFF_FFFF;
        call::stalls("KeStallExecutionProcessor", time);
        crate::cpu::clock::stall(time);
        0
    }),
    ("KeGetCurrentIrql", |_| u64::from(irql::current())),
    ("KfRaiseIrql", |a| u64::from(irql::raise(a.get(0) as u8))),
    ("KeLowerIrql", |a| {
        irql::set(a.get(0) as u8);
        0
    }),
    ("KeQueryPerformanceCounter", |a| {
        crate::memory::driver::write_optional("KeQueryPerformanceCounter", a.get(0), 10_000_000u64);
        crate::cpu::clock::microseconds() * 10
    }),
    ("KeQueryInterruptTime", |_| crate::cpu::clock::ticks() * 10_000),
    ("KeQueryTimeIncrement", |_| 10_000),
    ("KeQueryUnbiasedInterruptTime", |_| crate::cpu::clock::ticks() * 10_000),
    ("KeDelayExecutionThread", |a| {
        at_most("KeDelayExecutionThread", 1);
        let interval = crate::memory::driver::read::<i64>("KeDelayExecutionThread", a.get(2));
        crate::cpu::clock::stall(interval.unsigned_abs() / 10);
        STATUS_SUCCESS
    }),
    ("MmGetPhysicalAddress", |a| {
        crate::memory::paging::translate(a.get(0)).map_or(0, |(physical, _)| physical)
    }),
    ("MmIsAddressValid", |a| u64::from(crate::memory::paging::translate(a.get(0)).is_some())),
    ("MmGetSystemRoutineAddress", |a| {
        at_most("MmGetSystemRoutineAddress", 0);
        let text = crate::memory::driver::read::<u64>("MmGetSystemRoutineAddress", a.get(0) + 8);
        let name = crate::memory::driver::wide_text("MmGetSystemRoutineAddress", text, 256);
        resolve("ntoskrnl.exe", &name).unwrap_or(0)
    }),
    // Event tracing: registered, never enabled.
    ("EtwRegister", |a| {
        crate::memory::driver::write_optional("EtwRegister", a.get(3), 1u64);
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
