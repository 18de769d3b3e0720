//! Storport's spin locks: the DPC locks, the StartIo lock, the interrupt lock and the message locks.
//!
//! Order and levels: nf-storport-storportacquirespinlock.md. DPC and StartIo locks come first, at DISPATCH_LEVEL; the
//! interrupt lock last, at the adapter's DIRQL. So a lock that is acquired above its own level is also out of order.
//! The same page says which locks the port driver holds around each callback.

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
        MESSAGE_LOCK
            if super::port().config.interrupt_synchronization_mode == INTERRUPT_SYNCHRONIZE_PER_MESSAGE =>
        {
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
        None => crate::broken!(
            "lock-not-held",
            "{} released and not held in {}",
            name(kind),
            call::current_name()
        ),
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

/// Takes the locks Storport holds around HwStorTimer and HwStorResetBus: StartIo, and the interrupt lock as well when
/// the miniport is half duplex. Give the answer to [`release_callback`].
pub fn acquire_callback() -> (u8, Option<u8>) {
    let half = super::port().config.synchronization_model == STOR_SYNCHRONIZE_HALF_DUPLEX;
    let outer = acquire(START_IO_LOCK, 0);
    (outer, half.then(|| acquire(INTERRUPT_LOCK, 0)))
}

/// Gives back what [`acquire_callback`] took.
pub fn release_callback((outer, inner): (u8, Option<u8>)) {
    if let Some(inner) = inner {
        release(INTERRUPT_LOCK, 0, inner);
    }
    release(START_IO_LOCK, 0, outer);
}
