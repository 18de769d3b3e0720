//! The debug console (port 0xE9), the kinds of lines the runner knows, and the way out.

use alloc::collections::BTreeMap;
use alloc::string::String;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU32, Ordering};

use crate::cpu::lock::Lock;
use crate::cpu::port;

/// Writes to QEMU's `isa-debugcon`.
pub struct Console;

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        port::write_bytes(0xE9, text.as_bytes());
        Ok(())
    }
}

static PASSED: AtomicU32 = AtomicU32::new(0);
static FAILED: AtomicU32 = AtomicU32::new(0);

/// One record per line: line breaks in the text become spaces.
struct OneLine;

impl Write for OneLine {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for (index, part) in text.split(['\n', '\r']).enumerate() {
            if index > 0 {
                Console.write_str(" ")?;
            }
            Console.write_str(part)?;
        }
        Ok(())
    }
}

/// Processor that prints, plus one.
static PRINTING: AtomicU32 = AtomicU32::new(0);

/// Prints one line. Interrupts are off meanwhile and other processors wait, so that lines never mix. A fault while a line
/// is printed may be printed itself, in the middle.
pub fn line(prefix: &str, text: fmt::Arguments<'_>) {
    let _quiet = crate::cpu::InterruptsOff::new();
    let me = crate::cpu::percpu::number() + 1;
    crate::cpu::freeze::wants_lock(me - 1);
    let inner = PRINTING.load(Ordering::Relaxed) == me;
    while !inner && PRINTING.compare_exchange(0, me, Ordering::Acquire, Ordering::Relaxed).is_err() {
        crate::cpu::translations::forget();
        core::hint::spin_loop();
    }
    let _ = Console.write_str(prefix);
    let _ = OneLine.write_fmt(text);
    let _ = Console.write_str("\n");
    if !inner {
        PRINTING.store(0, Ordering::Release);
    }
    crate::cpu::freeze::gave_back(me - 1);
}

/// Records a check. A broken rule ends the run there and then, with a report.
pub fn check(passed: bool, name: &str, detail: fmt::Arguments<'_>) {
    let counter = if passed { &PASSED } else { &FAILED };
    counter.fetch_add(1, Ordering::Relaxed);
    line(if passed { "ok " } else { "not ok " }, format_args!("{name}: {detail}"));
    if !passed && let Some(rule) = stand::rules::find(name) {
        crate::report::broken(rule);
    }
}

/// How often each line was logged. A driver that logs every request would drown everything else.
static LOGGED: Lock<BTreeMap<String, u32>> = Lock::new(BTreeMap::new());
const LOG_REPEATS: u32 = 3;
const LOG_LINES: usize = 512;

/// Prints what the driver logged; a line that comes again and again is only counted.
pub fn log(source: &str, text: fmt::Arguments<'_>) {
    let text = alloc::format!("{source}: {text}");
    let count = {
        let mut logged = LOGGED.lock();
        if logged.len() >= LOG_LINES && !logged.contains_key(&text) {
            return;
        }
        let count = logged.entry(text.clone()).or_insert(0);
        *count += 1;
        *count
    };
    if count <= LOG_REPEATS {
        line("log ", format_args!("{text}"));
    }
}

/// Says how often the counted lines came.
fn log_summary() {
    let logged = core::mem::take(&mut *LOGGED.lock());
    for (text, count) in logged.iter().filter(|(_, count)| **count > LOG_REPEATS) {
        line("log ", format_args!("{text} ({count} times)"));
    }
    if logged.len() >= LOG_LINES {
        line(
            "# ",
            format_args!("the driver logged more than {LOG_LINES} different lines; the rest was not kept"),
        );
    }
}

/// The last line of a complete run, and its exit code.
pub fn end() -> ! {
    log_summary();
    let (passed, failed) = (PASSED.load(Ordering::Relaxed), FAILED.load(Ordering::Relaxed));
    line("end ", format_args!("passed={passed} failed={failed}"));
    exit(if failed == 0 { 0x10 } else { 0x11 })
}

/// Ends QEMU through `isa-debug-exit`; its exit code is `(value << 1) | 1`.
pub fn exit(value: u8) -> ! {
    port::write_u32(0xF4, u32::from(value));
    loop {
        crate::cpu::halt_for_ever();
    }
}

/// A heading or information for a person.
#[macro_export]
macro_rules! note {
    ($($text:tt)*) => { $crate::console::line("# ", format_args!($($text)*)) };
}

/// Progress that the runner may overwrite.
#[macro_export]
macro_rules! progress {
    ($($text:tt)*) => { $crate::console::line("~ ", format_args!($($text)*)) };
}

/// Something the driver logged.
#[macro_export]
macro_rules! driver_log {
    ($source:expr, $($text:tt)*) => {
        $crate::console::log($source, format_args!($($text)*))
    };
}

/// A check passed.
#[macro_export]
macro_rules! ok {
    ($name:expr, $($text:tt)*) => { $crate::console::check(true, $name, format_args!($($text)*)) };
}

/// A check failed.
#[macro_export]
macro_rules! not_ok {
    ($name:expr, $($text:tt)*) => { $crate::console::check(false, $name, format_args!($($text)*)) };
}

/// Something the driver does not support, or that this machine has not got: not tried, and not passed.
#[macro_export]
macro_rules! skip {
    ($name:expr, $($text:tt)*) => {
        $crate::console::line("skip ", format_args!("{}: {}", $name, format_args!($($text)*)))
    };
}

/// The stand cannot go on.
#[macro_export]
macro_rules! stop {
    ($($text:tt)*) => {{
        $crate::console::line("stop ", format_args!($($text)*));
        $crate::console::exit(0x12)
    }};
}

/// A rule was broken in a way that leaves nothing to go on with: a failed check, then the end.
#[macro_export]
macro_rules! broken {
    ($rule:expr, $($text:tt)*) => {{
        $crate::not_ok!($rule, $($text)*);
        $crate::stop!("rule {} broken", $rule)
    }};
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    stop!("the stand itself failed: {info}")
}
