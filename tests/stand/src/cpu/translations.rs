//! What each processor still knows of pages that are mapped otherwise now. Nothing lies below this, as it goes on while a lock
//! is waited for; `smp` asks the others.

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

use super::InterruptsOff;
use super::percpu::{self, PROCESSORS};

/// Counts how often translations had to be forgotten.
static GENERATION: AtomicU64 = AtomicU64::new(0);
/// Up to which of those each processor has.
static FORGOTTEN: [AtomicU64; PROCESSORS] = [const { AtomicU64::new(0) }; PROCESSORS];

fn mine() -> &'static AtomicU64 {
    &FORGOTTEN[percpu::number() as usize]
}

/// This processor knows nothing old, and is waited for from now on.
pub fn join() {
    mine().store(GENERATION.load(Ordering::Acquire), Ordering::Release);
}

/// All that any processor knows is old now; answers with the generation that each has to reach.
pub fn outdate() -> u64 {
    GENERATION.fetch_add(1, Ordering::AcqRel) + 1
}

/// Whether a processor has reached a generation.
pub fn are_forgotten(number: u32, generation: u64) -> bool {
    FORGOTTEN[number as usize].load(Ordering::Acquire) >= generation
}

/// Forgets what this page and others were translated to, on this processor; answers to the one that asked.
pub fn forget() {
    if !percpu::started() {
        return;
    }
    let _quiet = InterruptsOff::new();
    let generation = GENERATION.load(Ordering::Acquire);
    let me = mine();
    if me.load(Ordering::Relaxed) != generation {
        flush();
        me.store(generation, Ordering::Release);
    }
}

/// This processor stops for ever: nobody waits for it to forget translations.
pub fn forgets_nothing() {
    mine().store(u64::MAX, Ordering::Release);
}

fn flush() {
    // SAFETY: the same tables again.
    unsafe { asm!("mov {0}, cr3", "mov cr3, {0}", out(reg) _, options(nostack, preserves_flags)) };
}
