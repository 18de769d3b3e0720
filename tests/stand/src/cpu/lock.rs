//! The stand's own lock. Interrupts are off while it is held, so it works in every context, and it is never held while
//! driver code runs.

use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::panic::Location;
use core::sync::atomic::{AtomicU32, Ordering};

use super::{InterruptsOff, freeze, percpu};

/// A value behind a lock.
pub struct Lock<T> {
    /// Number of the processor that holds it, plus one; 0 when it is free.
    owner: AtomicU32,
    value: UnsafeCell<T>,
}

// SAFETY: only the holder of the lock reaches the value.
unsafe impl<T: Send> Sync for Lock<T> {}

impl<T> Lock<T> {
    /// A free lock.
    pub const fn new(value: T) -> Self {
        Lock { owner: AtomicU32::new(0), value: UnsafeCell::new(value) }
    }

    /// Takes the lock.
    #[track_caller]
    pub fn lock(&self) -> Guard<'_, T> {
        let quiet = InterruptsOff::new();
        let me = percpu::number() + 1;
        freeze::wants_lock(me - 1);
        while let Err(owner) = self.owner.compare_exchange(0, me, Ordering::Acquire, Ordering::Relaxed) {
            if owner == me {
                // The console takes no lock, so this can be said.
                crate::stop!("the stand itself failed: a lock is taken twice, at {}", Location::caller());
            }
            // The holder may wait for this processor to forget translations, and interrupts are off here.
            super::translations::forget();
            core::hint::spin_loop();
        }
        Guard { lock: self, _quiet: quiet }
    }
}

/// The right to the value.
pub struct Guard<'a, T> {
    lock: &'a Lock<T>,
    _quiet: InterruptsOff,
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: this guard holds the lock.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: this guard holds the lock.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        let me = self.lock.owner.swap(0, Ordering::Release) - 1;
        freeze::gave_back(me);
    }
}
