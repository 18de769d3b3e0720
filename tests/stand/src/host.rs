//! The channel to the runner: what only the machine's owner can do, such as plugging a disk in.
//!
//! A request is a line `host N VERB ARGUMENT` on the debug console. The answer, `N ok RESULT` or `N error TEXT`, comes in
//! on the first serial port, a 16550 that is polled: nothing of the adapter's interrupts is disturbed, and while the
//! answer is awaited requests and interrupts go on.

use alloc::format;
use alloc::string::String;
use core::sync::atomic::{AtomicU32, Ordering};

use stand::reply::{self, Lines};

use crate::cpu::lock::Lock;
use crate::cpu::port;
use crate::storport::queue;

/// First serial port.
const BASE: u16 = 0x3F8;
/// Interrupt enable register.
const IER: u16 = BASE + 1;
/// FIFO control register.
const FCR: u16 = BASE + 2;
/// Modem control register.
const MCR: u16 = BASE + 4;
/// Line status register.
const LSR: u16 = BASE + 5;
/// A byte has come.
const DATA_READY: u8 = 1;

/// Longest wait for an answer in milliseconds. The runner gives up on QEMU after less.
const LIMIT: u64 = 10_000;
/// As long as the runner waits for an event, and a little longer.
const EVENT_LIMIT: u64 = 12_000;
/// How often a line that has begun is asked for more before the next tick: the FIFO holds 16 bytes only.
const EAGER: u32 = 2_000;

static NUMBER: AtomicU32 = AtomicU32::new(0);
static LINES: Lock<Lines> = Lock::new(Lines::new());

/// Sends one QMP command, as JSON; answers with its `return` value as JSON.
pub fn qmp(json: &str) -> Result<String, String> {
    qmp_while(json, || ())
}

/// The same, doing `during` every now and then until the answer is there.
pub fn qmp_while(json: &str, during: impl FnMut()) -> Result<String, String> {
    ask("qmp", json, LIMIT, during)
}

/// Waits for a QMP event of that name that was not waited for before; answers with its `data` as JSON.
pub fn event(name: &str) -> Result<String, String> {
    event_while(name, || ())
}

/// The same, doing `during` every now and then until the event has come.
pub fn event_while(name: &str, during: impl FnMut()) -> Result<String, String> {
    ask("event", name, EVENT_LIMIT, during)
}

fn ask(verb: &str, argument: &str, limit: u64, mut during: impl FnMut()) -> Result<String, String> {
    if !is_there() {
        return Err("there is no serial port: the machine was started without a runner".into());
    }
    let number = NUMBER.fetch_add(1, Ordering::Relaxed) + 1;
    crate::console::line("host ", format_args!("{number} {verb} {argument}"));
    let mut answer = None;
    queue::wait(limit, || {
        during();
        while answer.is_none()
            && let Some(line) = line()
        {
            // The answer to a request that was given up on comes late, and is nobody's.
            answer = reply::parse(&line).and_then(|(of, result)| (of == number).then_some(result));
        }
        answer.is_some()
    });
    answer.unwrap_or_else(|| Err(format!("no answer to 'host {number} {verb}' in {} s", limit / 1000)))
}

/// Whether there is a serial port; it is set up when it is first looked for.
fn is_there() -> bool {
    // Nothing decodes these ports in a machine without one, and all bits read as one; a port that works never has every
    // error at once.
    if port::read_u8(LSR) == 0xFF {
        return false;
    }
    if NUMBER.load(Ordering::Relaxed) == 0 {
        port::write_u8(IER, 0);
        // FIFO on and empty; terminal and sender ready, no interrupt line.
        port::write_u8(FCR, 0x07);
        port::write_u8(MCR, 0x03);
    }
    true
}

/// A line from the runner, if one is complete.
fn line() -> Option<String> {
    let mut patience = EAGER;
    loop {
        if port::read_u8(LSR) & DATA_READY != 0 {
            let byte = port::read_u8(BASE);
            if let Some(line) = LINES.lock().push(byte) {
                return Some(line);
            }
            patience = EAGER;
        } else if patience == 0 || !LINES.lock().is_partial() {
            return None;
        } else {
            patience -= 1;
            core::hint::spin_loop();
        }
    }
}
