//! Storport's spin locks: the DPC locks, the StartIo lock, the interrupt lock and the message locks.
//!
//! Order and levels: nf-storport-storportacquirespinlock.md. A DPC lock may be taken while nothing but the interrupt
//! lock's level is above it; the StartIo lock at DISPATCH_LEVEL; the interrupt lock raises to the adapter's DIRQL.

use stand::wdk::codes::*;

use crate::cpu::percpu::{self, Held};
use crate::cpu::{call, interrupt, irql};

/// Lock of one message; numbered after the enumeration STOR_SPINLOCK.
pub const MESSAGE_LOCK: u32 = 4;

/// Name for messages.
pub fn name(kind: u32) -> &'static str {
    match kind {
        DPC_LOCK => "DpcLock",
        START_IO_LOCK => "StartIoLock",
        INTERRUPT_LOCK => "InterruptLock",
        MESSAGE_LOCK => "message lock",
        _ => "unknown lock",
    }
}

/// IRQL of a message's interrupt.
pub fn message_level(message: u64) -> u8 {
    (interrupt::FIRST_MESSAGE + message.min(255) as u8) >> 4
}

/// The adapter's DIRQL: the highest of its interrupts.
pub fn adapter_level() -> u8 {
    let port = super::port();
    if port.message_interrupts {
        message_level(u64::from(port.messages.max(1)) - 1)
    } else {
        interrupt::LINE_VECTOR >> 4
    }
}

/// Level a lock raises to.
fn level(kind: u32, object: u64) -> u8 {
    match kind {
        INTERRUPT_LOCK => adapter_level(),
        MESSAGE_LOCK if super::port().config.interrupt_synchronization_mode == INTERRUPT_SYNCHRONIZE_PER_MESSAGE => {
            message_level(object)
        }
        MESSAGE_LOCK => adapter_level(),
        _ => irql::DISPATCH,
    }
}

/// Takes a lock and answers with the old IRQL. With one processor nobody else can hold it, so a lock that is taken is
/// a deadlock.
pub fn acquire(kind: u32, object: u64) -> u8 {
    let new = level(kind, object);
    let old = irql::current();
    if old > new {
        crate::not_ok!(
            "wrong-irql",
            "{} acquired at IRQL {old}, above its own level {new}, in {}",
            name(kind),
            call::current_name()
        );
    }
    let held = Held { kind, object: if kind == DPC_LOCK || kind == MESSAGE_LOCK { object } else { 0 } };
    let old = irql::raise(new);
    let cpu = percpu::current();
    if cpu.held[..cpu.locks].contains(&Some(held)) {
        crate::broken!("deadlock", "{} acquired by its holder in {}", name(kind), call::current_name());
    }
    if cpu.locks == percpu::LOCKS {
        crate::broken!("lock-count", "more than {} locks held in {}", percpu::LOCKS, call::current_name());
    }
    cpu.held[cpu.locks] = Some(held);
    cpu.locks += 1;
    old
}

/// Gives a lock back and restores the IRQL.
pub fn release(kind: u32, object: u64, old: u8) {
    let held = Held { kind, object: if kind == DPC_LOCK || kind == MESSAGE_LOCK { object } else { 0 } };
    let cpu = percpu::current();
    let locks = cpu.locks;
    match cpu.held[..locks].iter().rposition(|h| *h == Some(held)) {
        None => crate::broken!("lock-not-held", "{} released and not held in {}", name(kind), call::current_name()),
        Some(index) => {
            if index + 1 != locks {
                crate::not_ok!("lock-order", "{} released before a lock taken after it", name(kind));
            }
            cpu.held[index..locks].rotate_left(1);
            cpu.locks -= 1;
            cpu.held[cpu.locks] = None;
        }
    }
    irql::set(old);
}

/// Whether this processor holds a lock of a kind.
pub fn holds(kind: u32) -> bool {
    let cpu = percpu::current();
    cpu.held[..cpu.locks].iter().flatten().any(|held| held.kind == kind)
}
