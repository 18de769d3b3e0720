//! What is done at each tick of 1 ms, and the limits on every call that could go on for ever.

use core::sync::atomic::{AtomicU64, Ordering};

use super::clock::{self, ticks};
use super::frame::Frame;
use super::percpu::{self, PROCESSORS};
use super::{apic, smp, tsc};

/// Longest call into the driver in milliseconds. After a wait at DISPATCH_LEVEL it begins anew: those are the DPC watchdog's.
const CALL_LIMIT: u64 = 10_000;

/// The watchdog's NMI: gives up when the clock has not ticked for as long as a call into the driver may take.
pub fn watchdog(frame: &Frame) {
    static SEEN: AtomicU64 = AtomicU64::new(0);
    static SINCE: AtomicU64 = AtomicU64::new(0);
    let (now, ticks) = (tsc(), ticks());
    if SEEN.swap(ticks, Ordering::Relaxed) != ticks {
        SINCE.store(now, Ordering::Relaxed);
    } else if now.wrapping_sub(SINCE.load(Ordering::Relaxed)) > CALL_LIMIT * apic::tsc_per_ms() {
        let name = percpu::current_callback();
        if super::freeze::crashed() {
            crate::not_ok!("call-too-long", "{name} did not return in {} s", CALL_LIMIT / 1000);
        }
        crate::not_ok!(
            "interrupts-off-too-long",
            "no clock interrupt for {} s, in {name}",
            CALL_LIMIT / 1000
        );
        crate::stop!("{name} hangs at {} with interrupts held off", crate::loader::place(frame.rip));
    }
}

/// Gives up when another processor's clock has not ticked for as long as a call into the driver may take.
fn watch_others(now: u64) {
    static SEEN: [AtomicU64; PROCESSORS] = [const { AtomicU64::new(0) }; PROCESSORS];
    static SINCE: [AtomicU64; PROCESSORS] = [const { AtomicU64::new(0) }; PROCESSORS];
    for number in 1..smp::count() {
        let (seen, since) = (&SEEN[number as usize], &SINCE[number as usize]);
        let ticks = smp::ticks(number);
        if seen.swap(ticks, Ordering::Relaxed) != ticks {
            since.store(now, Ordering::Relaxed);
        } else if now > since.load(Ordering::Relaxed) + CALL_LIMIT {
            crate::broken!(
                "interrupts-off-too-long",
                "no clock interrupt on processor {number} for {} s",
                CALL_LIMIT / 1000
            );
        }
    }
}

/// The clock interrupt. The first processor keeps the time.
pub fn tick(frame: &Frame) {
    smp::ticked();
    crate::storport::dump::crash_if_due();
    let cpu = percpu::current();
    let now = if cpu.number == 0 { clock::advance() } else { ticks() };
    if let Some(limit) = clock::overrun(now) {
        crate::not_ok!("time-limit", "the run took longer than {} s", limit / 1000);
        crate::stop!("time is up, in {} at {}", percpu::current_callback(), crate::loader::place(frame.rip));
    }
    for call in &cpu.calls[..cpu.depth] {
        if now > call.started + CALL_LIMIT {
            crate::not_ok!("call-too-long", "{} did not return in {} s", call.name, CALL_LIMIT / 1000);
            crate::stop!("{} hangs at {}", call.name, crate::loader::place(frame.rip));
        }
    }
    if cpu.number == 0 {
        watch_others(now);
        crate::kernel::timer::tick(now);
        crate::model::tick();
        crate::storport::stray::look();
    }
    // Each processor's thread looks at its own requests: some may not be started before a certain tick.
    smp::wake_self();
}
