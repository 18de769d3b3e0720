//! What is printed when a rule is broken: the rule, the driver's stacks, and the last events; and the hooks that note
//! those events.
//!
//! | record | meaning |
//! | --- | --- |
//! | `rule NAME PAGE SENTENCE` | the rule; PAGE is `-` for a limit of the stand's own |
//! | `image BASE SIZE` | where the driver image is |
//! | `stack …` | one call into the driver, see `cpu/backtrace.rs` |
//! | `event MICROSECONDS PROCESSOR IRQL TEXT` | one event; `@HEX` is an address |
//!
//! Numbers are hexadecimal but for the times. All of it works without locks and without memory of the heap.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use stand::events::{self, Event, Kind, Ring};
use stand::rules::Rule;

use crate::console::line;
use crate::cpu::arguments::Arguments;
use crate::cpu::percpu::{self, PROCESSORS};
use crate::cpu::{InterruptsOff, apic, backtrace, irql, translations, tsc};

/// Events in a report.
const SHOWN: usize = 50;
/// Most reports of a run that goes on.
const REPORTS: u32 = 16;

static RINGS: [Ring; PROCESSORS] = [const { Ring::new() }; PROCESSORS];
/// The copy of the image that runs.
static IMAGE: (AtomicU64, AtomicU64) = (AtomicU64::new(0), AtomicU64::new(0));
static GO_ON: AtomicBool = AtomicBool::new(false);
static PRINTED: AtomicU32 = AtomicU32::new(0);
/// The processor that prints a report, plus one.
static PRINTING: AtomicU32 = AtomicU32::new(0);

/// Whether a broken rule does not end the run.
pub fn set_go_on(go_on: bool) {
    GO_ON.store(go_on, Ordering::Relaxed);
}

/// The image is loaded, or its second copy takes over.
pub fn set_image(base: u64, size: u64) {
    IMAGE.0.store(base, Ordering::Relaxed);
    IMAGE.1.store(size, Ordering::Relaxed);
}

fn record(kind: Kind, name: &'static str, numbers: [u64; 3]) {
    let cpu = percpu::current();
    if let Some(ring) = RINGS.get(cpu.number as usize) {
        ring.record(&Event { tsc: tsc(), kind, irql: irql::current(), name, numbers, count: 1 });
    }
}

/// Whether a callback is polled: its calls would be all there is. What it calls is recorded.
static POLLING: AtomicBool = AtomicBool::new(false);

/// Leaves calls out, or records them again.
pub fn set_polling(polling: bool) {
    POLLING.store(polling, Ordering::Relaxed);
}

/// A callback is called.
pub fn call(name: &'static str, arguments: &[u64; 8]) {
    if POLLING.load(Ordering::Relaxed) {
        return;
    }
    record(Kind::Call, name, [arguments[0], arguments[1], 0]);
}

/// A callback returned.
pub fn returned(name: &'static str, result: u64) {
    if POLLING.load(Ordering::Relaxed) {
        return;
    }
    record(Kind::Return, name, [result, 0, 0]);
}

/// The driver calls an import.
pub fn import(name: &'static str, arguments: Arguments) {
    record(Kind::Import, name, [arguments.caller(), arguments.get(0), arguments.get(1)]);
}

/// An interrupt of a device or for DPCs. The clock's are left out: while the driver hangs they would be all there is.
pub fn interrupt(vector: u8, rip: u64) {
    record(Kind::Interrupt, "", [u64::from(vector), rip, 0]);
}

/// A DPC or a timer's call is queued.
pub fn queued(name: &'static str, object: u64, routine: u64) {
    record(Kind::Queue, name, [object, routine, 0]);
}

/// A request goes to the miniport.
pub fn started(tag: u32, srb: u64, bytes: u32) {
    record(Kind::Start, "", [u64::from(tag), srb, u64::from(bytes)]);
}

/// A request came back.
pub fn completed(tag: u32, status: u8, bytes: u32) {
    record(Kind::Complete, "", [u64::from(tag), u64::from(status), u64::from(bytes)]);
}

/// A lock of the port driver was acquired.
pub fn acquired(name: &'static str, object: u64, level: u8) {
    record(Kind::Acquire, name, [object, u64::from(level), 0]);
}

/// A lock of the port driver is released.
pub fn released(name: &'static str, object: u64, level: u8) {
    record(Kind::Release, name, [object, u64::from(level), 0]);
}

/// A rule was found broken, and the line that says so is printed: adds what is known and ends the run, unless it shall
/// go on.
pub fn broken(rule: &Rule) {
    let now = tsc();
    let _quiet = InterruptsOff::new();
    let go_on = GO_ON.load(Ordering::Relaxed);
    let me = percpu::number() + 1;
    while let Err(other) = PRINTING.compare_exchange(0, me, Ordering::Acquire, Ordering::Relaxed) {
        if other == me {
            // Broken while this very report is made. What is printed must do.
            break;
        }
        // Another processor is at it and will end the run, or let go.
        translations::forget();
        core::hint::spin_loop();
    }
    if PRINTED.fetch_add(1, Ordering::Relaxed) < REPORTS {
        print(rule, now);
    }
    if !go_on {
        crate::stop!("rule {} broken", rule.name);
    }
    PRINTING.store(0, Ordering::Release);
}

fn print(rule: &Rule, now: u64) {
    let page = if rule.page.is_empty() { "-" } else { rule.page };
    line("rule ", format_args!("{} {page} {}", rule.name, rule.sentence));
    let (base, size) = (IMAGE.0.load(Ordering::Relaxed), IMAGE.1.load(Ordering::Relaxed));
    line("image ", format_args!("{base:x} {size:x}"));
    backtrace::each(|record| line("", record));
    let per_ms = apic::tsc_per_ms().max(1);
    // Other processors go on meanwhile.
    events::last(&RINGS, now, SHOWN, |processor, event| {
        let time = u128::from(event.tsc) * 1000 / u128::from(per_ms);
        line("event ", format_args!("{time} {processor} {} {event}", event.irql));
    });
}
