//! Time: a tick of 1 ms, and the limits on everything that could go on for ever.

use core::sync::atomic::{AtomicU64, Ordering};

use super::interrupt::Frame;
use super::{apic, percpu, tsc};

static TICKS: AtomicU64 = AtomicU64::new(0);
/// Longest run of the whole program in milliseconds.
const RUN_LIMIT: u64 = 50_000;
/// Longest call into the driver in milliseconds. StorPortStallExecution counts too.
const CALL_LIMIT: u64 = 10_000;

/// Milliseconds since the clock was started.
pub fn ticks() -> u64 {
    TICKS.load(Ordering::Relaxed)
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

/// The watchdog's NMI: gives up when the clock has not ticked for as long as a call into the driver may take.
pub fn watchdog(frame: &Frame) {
    static SEEN: AtomicU64 = AtomicU64::new(0);
    static SINCE: AtomicU64 = AtomicU64::new(0);
    let (now, ticks) = (tsc(), ticks());
    if SEEN.swap(ticks, Ordering::Relaxed) != ticks {
        SINCE.store(now, Ordering::Relaxed);
    } else if now.wrapping_sub(SINCE.load(Ordering::Relaxed)) > CALL_LIMIT * apic::tsc_per_ms() {
        let name = super::call::current_name();
        crate::not_ok!(
            "interrupts-off-too-long",
            "no clock interrupt for {} s, in {name}",
            CALL_LIMIT / 1000
        );
        crate::stop!("{name} hangs at {} with interrupts held off", crate::loader::place(frame.rip));
    }
}

/// The clock interrupt.
pub fn tick(frame: &Frame) {
    let now = TICKS.fetch_add(1, Ordering::Relaxed) + 1;
    let cpu = percpu::current();
    if now >= RUN_LIMIT {
        crate::not_ok!("time-limit", "the run took longer than {} s", RUN_LIMIT / 1000);
        crate::stop!("time is up, in {} at {}", super::call::current_name(), crate::loader::place(frame.rip));
    }
    for call in &cpu.calls[..cpu.depth] {
        if now > call.started + CALL_LIMIT {
            crate::not_ok!("call-too-long", "{} did not return in {} s", call.name, CALL_LIMIT / 1000);
            crate::stop!("{} hangs at {}", call.name, crate::loader::place(frame.rip));
        }
    }
    crate::kernel::timer::tick(now);
    percpu::wake();
}
