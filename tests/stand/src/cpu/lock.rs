//! The stand's own lock. Interrupts are off while it is held, so it works in every context, and it is never held while
//! driver code runs.

use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicBool, Ordering};

use super::InterruptsOff;

/// A value behind a lock.
pub struct Lock<T> {
    taken: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: only the holder of the lock reaches the value.
unsafe impl<T: Send> Sync for Lock<T> {}

impl<T> Lock<T> {
    /// A free lock.
    pub const fn new(value: T) -> Self {
        Lock { taken: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    /// Takes the lock.
    pub fn lock(&self) -> Guard<'_, T> {
        let quiet = InterruptsOff::new();
        let mut tries = 0u64;
        while self.taken.swap(true, Ordering::Acquire) {
            core::hint::spin_loop();
            tries += 1;
            if tries > 1 << 30 {
                // Not through a lock: the console takes none.
                crate::stop!("the stand itself failed: a lock is taken twice");
            }
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
        self.lock.taken.store(false, Ordering::Release);
    }
}
