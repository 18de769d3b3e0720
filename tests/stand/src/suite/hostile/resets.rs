//! Resets that take a second or never end, or hold up the processor that writes the register, each asked for in the four ways that there are, with requests in the device that it does
//! not answer before. Whatever the device does, the requests end, each once, and whoever asked for the reset is answered;
//! nothing is waited for in any callback (rules `stalls-add-up` and `stall-in-startio`). A device that has ended its reset
//! works again, without a request lost; one that never does works again when its power was off.
//!
//! Where a write holds up a processor for seconds, no lock may be held: others wait for locks at DISPATCH_LEVEL, each with a DPC
//! watchdog of its own (bug-check-0x133-dpc-watchdog-violation.md), and how long a host takes is not the driver's to say. Only in
//! HwStorResetBus Storport's own is (nc-storport-hw_reset_bus.md): every request has to end in that routine, which takes a device
//! that has been reset, and Storport starts none meanwhile. When an adapter is started or stopped there are none.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;

use stand::cmdline::Options;
use stand::device::{Lie, SLOW_RESET_TICKS, Told};
use stand::wdk::codes::*;
use stand::wdk::srb::Extra;

use super::work::{DEPTH, Work};
use super::{BLOCK, UNIT};
use crate::cpu::clock;
use crate::model;
use crate::pass::buffer::Buffer;
use crate::storport::request::{Data, Request};
use crate::storport::{control, port, queue};

/// Seconds a request may take: longer than a slow reset, and than a driver may wait for one that never ends.
const TIMEOUT: u32 = 10;
/// The same for one that is meant to meet a device that is away.
const SHORT: u32 = 2;
/// Milliseconds that requests may stay with the miniport after a reset, as in `storport::ladder`.
const AFTER_RESET: u64 = 5000;
/// Milliseconds after the end of the requests from which on a device that is back is late: its reset, which has begun by then, and
/// what a driver lets pass between two looks. What a driver tries before it resets the device is its own affair.
const LATE: u64 = SLOW_RESET_TICKS + 1000;
/// Milliseconds after which somebody has waited: with stalls, which are a rule's, or around a register.
const AT_ONCE: u64 = SLOW_RESET_TICKS / 4;
/// Transfers before each reset.
const COUNT: u64 = 32;

/// Who wants the reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    /// HwStorResetBus.
    Bus,
    /// SRB_FUNCTION_RESET_LOGICAL_UNIT.
    Unit,
    /// SRB_FUNCTION_RESET_DEVICE.
    Target,
    /// The driver itself, which finds its ring broken.
    Ring,
}

/// All rounds.
pub fn run(told: &Told, options: &Options) {
    let never = told.lasts;
    // What comes while the device is away may be late; nothing is late for the sake of a second.
    port().ladder.lenient = never;
    super::ask(|_, _| {});
    let mut work = Work::new(UNIT, options, TIMEOUT);
    if never {
        work.flights.retries = 0;
    }
    for ask in [Ask::Bus, Ask::Unit, Ask::Target, Ask::Ring] {
        round(&mut work, ask, told);
        if told.lie == Lie::ResetBlocks {
            look_at_hold_ups(ask);
        }
    }
    crate::console::check(
        work.wrong == 0,
        "hostile-data",
        format_args!("{} transfers good, {} failed, {} blocks wrong", work.good, work.failed, work.wrong),
    );
}

/// A reset with as many requests in the device as there can be, and what comes after it.
fn round(work: &mut Work, ask: Ask, told: &Told) {
    let never = told.lasts;
    let longest = if told.lie == Lie::ResetTakesASecond { SLOW_RESET_TICKS } else { 0 };
    work.start_all();
    work.finish(work.started + COUNT);
    model::be_silent();
    work.start_all();
    let all = queue::wait(1000, || port().active.len() >= DEPTH);
    // Requests that are sent again have other tags.
    let under_way: BTreeSet<u32> = port().active.values().map(|request| request.tag).collect();
    let left = || port().active.values().filter(|request| under_way.contains(&request.tag)).count();
    crate::console::check(
        all,
        "hostile-reset-requests",
        format_args!("{ask:?}: {} in the device", under_way.len()),
    );
    let began = clock::ticks();
    let (answered, text) = match ask {
        Ask::Bus => {
            control::reset_bus(UNIT.0);
            // It has to end them itself (nc-storport-hw_reset_bus.md).
            (left() == 0, format!("{} left when HwStorResetBus returned", left()))
        }
        Ask::Unit => asked(SRB_FUNCTION_RESET_LOGICAL_UNIT),
        Ask::Target => asked(SRB_FUNCTION_RESET_DEVICE),
        Ask::Ring => {
            model::break_ring();
            (true, String::from("the ring is broken"))
        }
    };
    let took = clock::ticks() - began;
    // A request for a reset may be answered later; a callback has to return.
    let waited = matches!(ask, Ask::Bus | Ask::Ring) && took >= AT_ONCE;
    crate::console::check(
        answered && !waited,
        "hostile-reset-answered",
        format_args!("{ask:?}: {text}, after {took} ms"),
    );
    let all_ended = queue::wait(AFTER_RESET, || left() == 0);
    let ended = clock::ticks() - began;
    crate::console::check(
        all_ended,
        "hostile-requests-end",
        format_args!("{ask:?}: {} of {} left after {ended} ms", left(), under_way.len()),
    );
    let failed = work.failed;
    work.finish(0);
    if never {
        comes_back_with_power(work, ask);
        return;
    }
    let took = clock::ticks() - began;
    crate::console::check(
        work.failed == failed && took >= longest && took - ended < LATE,
        "hostile-recovered",
        format_args!("{ask:?}: {} failed, all sent again had ended after {took} ms", work.failed - failed),
    );
}

/// What stood still while a register was being written.
fn look_at_hold_ups(ask: Ask) {
    /// Where Storport holds a lock itself, and nobody can wait for it who has requests.
    const HELD_BY_STORPORT: [&str; 3] = ["HwStorResetBus", "HwStorInitialize", "HwStorAdapterControl"];
    // Requests of those who looked end as any others do.
    let ended = queue::wait(AFTER_RESET, || {
        let port = port();
        port.waiting.is_empty() && port.active.is_empty()
    });
    let seen = model::take_hold_ups();
    let locked = seen.iter().filter(|one| !one.locks.is_empty() && !HELD_BY_STORPORT.contains(&one.callback));
    let stuck = seen.iter().filter(|one| one.others_go_on == Some(false));
    let (locked, stuck) = (locked.count(), stuck.count());
    crate::console::check(
        ended && !seen.is_empty() && locked == 0,
        "hostile-held-up-without-a-lock",
        format_args!("{ask:?}: {seen:?}"),
    );
    crate::console::check(
        stuck == 0,
        "hostile-held-up-alone",
        format_args!("{ask:?}: {} write(s), others went on in all but {stuck}", seen.len()),
    );
}

/// A request for a reset. Whether it was good, or is one that the driver does not know.
fn asked(function: u8) -> (bool, String) {
    let mut request = Request::other(UNIT, function, Extra::None, Data::default(), TIMEOUT);
    request.urgent = true;
    let answer = queue::execute(request).answer;
    let good = matches!(answer.srb_status & 0x3F, SRB_STATUS_SUCCESS | SRB_STATUS_INVALID_REQUEST);
    (good, answer.text())
}

/// A request that meets a device that is away ends, and after a power cycle there is one that works.
fn comes_back_with_power(work: &mut Work, ask: Ask) {
    let mut read = |seconds| {
        work.flights.timeout = seconds;
        work.flights.one(1, false, Buffer::new(BLOCK, 0), false).error
    };
    let away = read(SHORT);
    let restarted = control::stop_and_restart();
    let back = if restarted { read(TIMEOUT) } else { Some(String::from("ScsiRestartAdapter failed")) };
    crate::console::check(
        back.is_none(),
        "hostile-after-restart",
        format_args!(
            "{ask:?}: {}; with its power off and on: {}",
            away.as_deref().unwrap_or("it works"),
            back.as_deref().unwrap_or("it works")
        ),
    );
}
