//! The kernel's spin locks, for drivers that use them instead of Storport's. The lock is a pointer-sized word.

use super::Export;
use crate::cpu::irql;
use crate::memory::driver;

fn acquire(lock: u64) {
    if driver::read::<u64>("KeAcquireSpinLock", lock) != 0 {
        // With one processor nobody else can hold it.
        crate::broken!("deadlock", "spin lock {lock:#x} is acquired by its holder");
    }
    driver::write("KeAcquireSpinLock", lock, 1u64);
}

fn release(lock: u64) {
    if driver::read::<u64>("KeReleaseSpinLock", lock) == 0 {
        crate::broken!("lock-not-held", "spin lock {lock:#x} is released and was not held");
    }
    driver::write("KeReleaseSpinLock", lock, 0u64);
}

/// The exports of this file.
pub const TABLE: &[(&str, Export)] = &[
    ("KeInitializeSpinLock", |a| {
        driver::write("KeInitializeSpinLock", a.get(0), 0u64);
        0
    }),
    ("KeAcquireSpinLockRaiseToDpc", |a| {
        super::at_most("KeAcquireSpinLockRaiseToDpc", irql::DISPATCH);
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
        super::at_most("KeAcquireInStackQueuedSpinLock", irql::DISPATCH);
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
