//! The kernel's spin locks, for drivers that use them instead of Storport's. The lock is a pointer-sized word.

use core::sync::atomic::{AtomicU64, Ordering};

use super::export::Export;
use crate::cpu::{irql, percpu, translations};
use crate::memory::driver;

/// The word as the lock it is. The value of a lock that is held is the holder's number plus one, which tells a wait for
/// oneself from a wait for another.
fn word(function: &str, lock: u64) -> &'static AtomicU64 {
    if !lock.is_multiple_of(8) {
        crate::broken!("bad-pointer", "{function} of {lock:#x}, which is not aligned as a KSPIN_LOCK");
    }
    driver::probe(function, lock, 8);
    // SAFETY: the word is mapped and writable, as just checked, and aligned; drivers keep spin locks in memory that lives.
    unsafe { &*(lock as *const AtomicU64) }
}

fn acquire(lock: u64) {
    let me = u64::from(percpu::number()) + 1;
    let word = word("KeAcquireSpinLock", lock);
    while let Err(owner) = word.compare_exchange(0, me, Ordering::Acquire, Ordering::Relaxed) {
        if owner == me {
            crate::broken!("deadlock", "spin lock {lock:#x} is acquired by its holder");
        }
        translations::forget();
        core::hint::spin_loop();
    }
}

fn release(lock: u64) {
    let me = u64::from(percpu::number()) + 1;
    let word = word("KeReleaseSpinLock", lock);
    if word.compare_exchange(me, 0, Ordering::Release, Ordering::Relaxed).is_err() {
        crate::broken!("lock-not-held", "spin lock {lock:#x} is released and was not held by this processor");
    }
}

/// The exports of this file.
pub const TABLE: &[(&str, Export)] = &[
    ("KeInitializeSpinLock", |a| {
        driver::write("KeInitializeSpinLock", a.get(0), 0u64);
        0
    }),
    ("KeAcquireSpinLockRaiseToDpc", |a| {
        super::export::at_most("KeAcquireSpinLockRaiseToDpc", irql::DISPATCH);
        let old = irql::raise(irql::DISPATCH);
        acquire(a.get(0));
        u64::from(old)
    }),
    ("KeReleaseSpinLock", |a| {
        release(a.get(0));
        irql::set(a.get(1) as u8);
        0
    }),
    ("KeAcquireSpinLockAtDpcLevel", |a| {
        acquire(a.get(0));
        0
    }),
    ("KeReleaseSpinLockFromDpcLevel", |a| {
        release(a.get(0));
        0
    }),
    // KLOCK_QUEUE_HANDLE: the queue (16 bytes: next, lock), then the old IRQL.
    ("KeAcquireInStackQueuedSpinLock", |a| {
        super::export::at_most("KeAcquireInStackQueuedSpinLock", irql::DISPATCH);
        let old = irql::raise(irql::DISPATCH);
        acquire(a.get(0));
        driver::write("KeAcquireInStackQueuedSpinLock", a.get(1) + 8, a.get(0));
        driver::write("KeAcquireInStackQueuedSpinLock", a.get(1) + 16, old);
        0
    }),
    ("KeReleaseInStackQueuedSpinLock", |a| {
        let lock = driver::read::<u64>("KeReleaseInStackQueuedSpinLock", a.get(0) + 8);
        let old = driver::read::<u8>("KeReleaseInStackQueuedSpinLock", a.get(0) + 16);
        release(lock);
        irql::set(old);
        0
    }),
];
