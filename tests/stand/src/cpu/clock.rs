//! Time: how late it is, waiting, and the limit of the whole run. What is done at each tick is in `tick`.

use core::sync::atomic::{AtomicU64, Ordering};

use super::{apic, percpu, tsc};

static TICKS: AtomicU64 = AtomicU64::new(0);
/// Longest run of the whole program in milliseconds.
static RUN_LIMIT: AtomicU64 = AtomicU64::new(50_000);

/// Milliseconds since the clock was started.
pub fn ticks() -> u64 {
    TICKS.load(Ordering::Relaxed)
}

/// A millisecond more, by the clock interrupt of the first processor.
pub(super) fn advance() -> u64 {
    TICKS.fetch_add(1, Ordering::Relaxed) + 1
}

/// The longest run in milliseconds, when it has taken that long.
pub(super) fn overrun(now: u64) -> Option<u64> {
    Some(RUN_LIMIT.load(Ordering::Relaxed)).filter(|limit| now >= *limit)
}

/// Sets the longest run, in seconds.
pub fn limit_run(seconds: u32) {
    RUN_LIMIT.store(u64::from(seconds) * 1000, Ordering::Relaxed);
}

/// Microseconds on the time stamp counter.
pub fn microseconds() -> u64 {
    tsc().wrapping_mul(1000) / apic::tsc_per_ms()
}

/// Waits, like KeStallExecutionProcessor.
pub fn stall(microseconds: u64) {
    let until = tsc() + microseconds * apic::tsc_per_ms() / 1000;
    while tsc() < until {
        core::hint::spin_loop();
    }
}

/// The time stamp and the tick when the clock was last right: while interrupts are off for good, it is put right by hand.
static SET_AT: AtomicU64 = AtomicU64::new(0);

/// Sets the clock by the time stamp counter, for a processor that takes no interrupts any more (a crash). What the clock
/// interrupt looks at is looked at here.
pub fn catch_up() {
    let now = microseconds() / 1000;
    let before = SET_AT.swap(now, Ordering::Relaxed);
    if before != 0 && now > before {
        TICKS.fetch_add(now - before, Ordering::Relaxed);
    }
    if let Some(limit) = overrun(ticks()) {
        crate::not_ok!("time-limit", "the run took longer than {} s", limit / 1000);
        crate::stop!("time is up, in {}", percpu::current_callback());
    }
}
