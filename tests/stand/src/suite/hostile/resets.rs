//! Resets that take a second or never end, each asked for in the four ways that there are, with requests in the device that it does
//! not answer before. Whatever the device does, the requests end, each once, and whoever asked for the reset is answered;
//! nothing is waited for in any callback (rules `stalls-add-up` and `stall-in-startio`). A device that has ended its reset
//! works again, without a request lost; one that never does works again when its power was off.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;

use stand::cmdline::Options;
use stand::device::{SLOW_RESET_TICKS, Told};
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
    let mut work = Work::new(options, TIMEOUT);
    if never {
        work.flights.retries = 0;
    }
    for ask in [Ask::Bus, Ask::Unit, Ask::Target, Ask::Ring] {
        round(&mut work, ask, never);
    }
    crate::console::check(
        work.wrong == 0,
        "hostile-data",
        format_args!("{} transfers good, {} failed, {} blocks wrong", work.good, work.failed, work.wrong),
    );
}

/// A reset with as many requests in the device as there can be, and what comes after it.
fn round(work: &mut Work, ask: Ask, never: bool) {
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
        work.failed == failed && took >= SLOW_RESET_TICKS && took - ended < LATE,
        "hostile-recovered",
        format_args!("{ask:?}: {} failed, all sent again had ended after {took} ms", work.failed - failed),
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
