//! Storport's spin locks: the DPC locks, the StartIo lock, the interrupt lock and the message locks.
//!
//! Order and levels: nf-storport-storportacquirespinlock.md. DPC and StartIo locks come first, at DISPATCH_LEVEL; the
//! interrupt lock last, at the adapter's DIRQL. So a lock that is acquired above its own level is also out of order.
//! The same page says which locks the port driver holds around each callback.

use alloc::vec::Vec;

use stand::wdk::codes::*;

use crate::cpu::lock::Lock;
use crate::cpu::percpu::{self, Held, PROCESSORS};
use crate::cpu::{irql, translations, vector};

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
    (vector::FIRST_MESSAGE + message.min(255) as u8) >> 4
}

/// The adapter's DIRQL: the highest of its interrupts.
pub fn adapter_level() -> u8 {
    let port = super::port();
    if port.message_interrupts {
        message_level(u64::from(port.messages.max(1)) - 1)
    } else {
        vector::LINE_VECTOR >> 4
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

/// Locks that are held, and by which processor; and what each processor waits for.
struct Owners {
    held: Vec<(Held, u32)>,
    wanted: [Option<Held>; PROCESSORS],
}

static OWNERS: Lock<Owners> = Lock::new(Owners { held: Vec::new(), wanted: [None; PROCESSORS] });

impl Owners {
    fn owner(&self, lock: Held) -> Option<u32> {
        self.held.iter().find(|(held, _)| *held == lock).map(|(_, owner)| *owner)
    }

    /// Whether a processor that waits for `lock` waits, in the end, for itself.
    fn is_circle(&self, me: u32, lock: Held) -> bool {
        let mut next = self.owner(lock);
        for _ in 0..PROCESSORS {
            match next {
                Some(owner) if owner == me => return true,
                Some(owner) => {
                    next = self.wanted[owner as usize].and_then(|wanted| self.owner(wanted));
                }
                None => return false,
            }
        }
        false
    }
}

/// Waits until the lock is this processor's. A circle of processors that wait for each other is a deadlock.
fn take(lock: Held) {
    let me = percpu::number();
    loop {
        let circle = {
            let mut owners = OWNERS.lock();
            if owners.owner(lock).is_none() {
                owners.wanted[me as usize] = None;
                owners.held.push((lock, me));
                return;
            }
            owners.wanted[me as usize] = Some(lock);
            owners.is_circle(me, lock)
        };
        if circle {
            crate::broken!(
                "deadlock",
                "{} acquired by its holder in {}",
                name(lock.kind),
                percpu::current_callback()
            );
        }
        translations::forget();
        core::hint::spin_loop();
    }
}

fn give_back(lock: Held) {
    OWNERS.lock().held.retain(|(held, _)| *held != lock);
}

/// Takes a lock, waiting for its holder, and answers with the old IRQL.
pub fn acquire(kind: u32, object: u64) -> u8 {
    let new = level(kind, object);
    let old = irql::current();
    if old > new {
        crate::not_ok!(
            "wrong-irql",
            "{} acquired at IRQL {old}, above its own level {new}, in {}",
            name(kind),
            percpu::current_callback()
        );
    }
    let held = Held { kind, object: if kind == DPC_LOCK || kind == MESSAGE_LOCK { object } else { 0 } };
    let old = irql::raise(new);
    let cpu = percpu::current();
    if cpu.locks == percpu::LOCKS {
        crate::broken!(
            "lock-count",
            "more than {} locks held in {}",
            percpu::LOCKS,
            percpu::current_callback()
        );
    }
    take(held);
    let cpu = percpu::current();
    cpu.held[cpu.locks] = Some(held);
    cpu.locks += 1;
    crate::report::acquired(name(kind), held.object, old);
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
            percpu::current_callback()
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
    crate::report::released(name(kind), held.object, old);
    give_back(held);
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
