//! Interrupts of the adapter: connection and service.

use core::sync::atomic::{AtomicU64, Ordering};

use stand::wdk::codes::*;

use super::lock::{self, MESSAGE_LOCK};
use crate::cpu::percpu::Stack;
use crate::cpu::vector::{FIRST_MESSAGE, LINE_VECTOR, MESSAGES};
use crate::cpu::{apic, call, irql, smp};
use crate::pci::command;
use crate::pci::msix::processor_of;

static TAKEN: AtomicU64 = AtomicU64::new(0);
static UNCLAIMED_IN_A_ROW: AtomicU64 = AtomicU64::new(0);

/// Connects messages if the miniport has a routine for them and some were granted, else the line.
/// HwMSInterruptRoutine and InterruptSynchronizationMode: ns-storport-_port_configuration_information.md.
pub fn connect() {
    let mut port = super::port();
    let Some(function) = port.function else { return };
    let wanted = port.config.hw_ms_interrupt_routine != 0
        && matches!(
            port.config.interrupt_synchronization_mode,
            INTERRUPT_SYNCHRONIZE_ALL | INTERRUPT_SYNCHRONIZE_PER_MESSAGE
        );
    match port.table {
        Some(table) if wanted && port.messages > 0 => {
            port.message_interrupts = true;
            for message in 0..port.messages {
                table.connect(message, FIRST_MESSAGE + message as u8, processor_of(message));
            }
        }
        table => {
            port.message_interrupts = false;
            if let Some(table) = table {
                table.disable();
            }
            function.set_command(0, command::NO_LINE);
        }
    }
}

/// Grants messages: all the table has, as far as there are vectors.
pub fn grant(size: u16) -> u16 {
    size.min(u16::from(MESSAGES))
}

/// Interrupts of the adapter so far.
pub fn taken() -> u64 {
    TAKEN.load(Ordering::Relaxed)
}

/// Serves an interrupt. Called at the vector's IRQL.
pub fn service(vector: u8) {
    TAKEN.fetch_add(1, Ordering::Relaxed);
    let port = super::port();
    let (extension, messages) = (port.extension, port.messages);
    let (routine, line) = (port.config.hw_ms_interrupt_routine, port.hw.hw_interrupt);
    let per_message = port.config.interrupt_synchronization_mode == INTERRUPT_SYNCHRONIZE_PER_MESSAGE;
    let by_message = port.message_interrupts;
    drop(port);
    let message = vector.wrapping_sub(FIRST_MESSAGE);
    let is_message = u16::from(message) < messages && by_message;
    let (name, target, arguments) = match (is_message, vector) {
        (true, _) => ("HwMSInterruptRoutine", routine, [extension, u64::from(message)]),
        (false, LINE_VECTOR) => ("HwStorInterrupt", line, [extension, 0]),
        _ => {
            crate::not_ok!("stray-interrupt", "vector {vector:#x} belongs to nobody");
            return;
        }
    };
    if target == 0 {
        crate::broken!("no-interrupt-routine", "{name} is needed for vector {vector:#x} and is null");
    }
    // Storport holds the interrupt lock, or the message's, around the routine.
    let (kind, object) =
        if is_message && per_message { (MESSAGE_LOCK, u64::from(message)) } else { (INTERRUPT_LOCK, 0) };
    let old = lock::acquire(kind, object);
    let claimed = call::driver(name, Stack::Isr(vector >> 4), target, &arguments) & 0xFF != 0;
    lock::release(kind, object, old);
    if claimed {
        UNCLAIMED_IN_A_ROW.store(0, Ordering::Relaxed);
        return;
    }
    super::port().statistics.unclaimed += 1;
    if UNCLAIMED_IN_A_ROW.fetch_add(1, Ordering::Relaxed) > 20_000 {
        crate::broken!(
            "interrupt-storm",
            "{name} does not claim its interrupts (vector {vector:#x}, IRQL {})",
            irql::current()
        );
    }
}

/// Message address and data, for MESSAGE_INTERRUPT_INFORMATION.
pub fn message(id: u16) -> (u64, u32, u8) {
    let vector = FIRST_MESSAGE + id as u8;
    let (address, data) = apic::message(vector, smp::apic_id(processor_of(id)));
    (address, data, vector)
}
