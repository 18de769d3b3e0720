//! `hostile`: a device that lies. Nothing may come of it but requests that fail: no broken rule, no bugcheck, no exception, every
//! request ended once, and what was reported as read is what was written. Where the lie is told once, the adapter must
//! work again afterwards. Lies about resets alone have rounds of their own ([`resets`]), and so have those about the other queues of a
//! SCSI host ([`tasks`], [`events`]).

mod events;
mod resets;
mod several;
mod tasks;
mod work;

use stand::cmdline::{Options, Subject};
use stand::device::{LIES, Lie, SECTORS, find};
use stand::scsi;
use stand::wdk::codes::SRB_FUNCTION_RESET_LOGICAL_UNIT;
use stand::wdk::srb::Extra;

use work::Work;

use crate::console;
use crate::pass;
use crate::pass::buffer::Buffer;
use crate::pass::transfer::Flights;
use crate::scan::{self, Unit};
use crate::storport::request::{Data, Request};
use crate::storport::{control, port, queue};

/// The model's disk.
const UNIT: (u8, u8, u8) = (0, 0, 0);
const BLOCK: u32 = 512;
/// Transfers.
const COUNT: u64 = 64;
/// Transfers after which a lie that is told for a while must be over.
const WHILE: u64 = 40;
/// Seconds a request may take.
const TIMEOUT: u32 = 2;

/// The whole pass on a device that does not lie, whatever its manners are (suite `manners`).
pub fn run_honest(_units: &[Unit], options: &Options) {
    pass::run(&scan::scan(), options);
}

/// Writes and reads, then one read that must be good where the device has come to itself.
pub fn run(units: &[Unit], options: &Options) {
    let many = LIES.iter().filter(|told| told.is_one_of_many());
    match options.lies {
        Some(Subject::Tasks) => return tasks::run(many.filter(|told| told.is_about_tasks()), options),
        Some(Subject::Events) => return events::run(many.filter(|told| told.is_about_events()), options),
        None => {}
    }
    let Some(told) = options.lie.as_deref().and_then(find) else {
        // A device that lies is worth nothing as a judge unless everything works with an honest one.
        return run_honest(units, options);
    };
    // A lie that begins with a reset may be one that no device comes back from.
    let later = options.resets > 0;
    let (lasts, spoils) = (told.lasts || later, told.spoils);
    {
        let mut port = port();
        port.ladder.lenient = true;
        if port.config.maximum_transfer_length < BLOCK {
            drop(port);
            crate::not_ok!("limits", "no block fits into a request");
            return;
        }
    }
    if told.is_about_resets() {
        return resets::run(told, options);
    }
    if told.is_about_tasks() {
        return tasks::run([told].into_iter(), options);
    }
    if told.is_about_events() {
        return events::run([told].into_iter(), options);
    }
    ask(|length, buffer| {
        if told.lie == Lie::CapacityGrowsAtStart && !later && length == 32 {
            // The interrupt came when there were no DPCs yet: before the passive initialisation. READ CAPACITY(10) had the
            // unit attention.
            let last = buffer.bytes().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
            crate::console::check(
                last == SECTORS - 1,
                "hostile-early-change",
                format_args!("the last block is {last}"),
            );
        }
    });
    // Windows gives a disk's request a minute and more (TimeOutValue), and four more tries. All of those that there are here would
    // be over before a driver has found out that a reset does not end, and begun another one.
    let timeout = if told.lie == Lie::ResetCompletesAtLast { 5 * TIMEOUT } else { TIMEOUT };
    let mut work = Work::new(UNIT, options, timeout);
    // Where every request fails for ever, nobody waits for more than some of them.
    let (retries, count) =
        if lasts { (0, COUNT / 4) } else { (3, COUNT.max(u64::from(options.moment) + WHILE)) };
    work.flights.retries = retries;
    work.start_all();
    if later {
        reset();
    }
    work.finish(count);
    let Work { started, good, failed, wrong, .. } = work;
    crate::console::check(
        wrong == 0 || spoils,
        "hostile-data",
        format_args!("{good} transfers good, {failed} failed, {wrong} blocks wrong"),
    );
    if told.spares && !later {
        crate::console::check(
            failed == 0,
            "hostile-none-failed",
            format_args!("{good} transfers good, {failed} failed"),
        );
    }
    let resets = port().ladder.rungs;
    crate::note!("aborts, and resets of unit, device and bus: {resets:?}");
    let ended = queue::wait(30_000, || port().active.is_empty());
    crate::console::check(
        ended,
        "hostile-requests-end",
        format_args!("{started} transfers started, all ended"),
    );
    if later {
        again(&mut work.flights);
    } else if !lasts {
        let mut works = |check: &str, what: &str| {
            let last = work.flights.one(1, false, Buffer::new(BLOCK, 0), false);
            let detail = last.error.as_deref().unwrap_or(what);
            crate::console::check(last.error.is_none(), check, format_args!("{detail}"));
        };
        works("hostile-recovered", "the device is honest again and works");
        let restarted = control::stop_and_restart();
        crate::console::check(
            restarted,
            "hostile-restarted",
            format_args!("ScsiStopAdapter, ScsiRestartAdapter"),
        );
        if restarted {
            works("hostile-after-restart", "it works after a restart as well");
        }
    }
}

/// What a bus scan asks first, whatever comes of it: some drivers learn from it how large their disk is. `look` sees the room for
/// each answer.
fn ask(mut look: impl FnMut(u32, &mut Buffer)) {
    for (command, length) in
        [(scsi::inquiry(None, 36), 36), (scsi::read_capacity_10(), 8), (scsi::read_capacity_16(), 32)]
    {
        let mut buffer = Buffer::new(length, 0);
        queue::execute(Request::new(UNIT, command, buffer.part(0, length), TIMEOUT));
        look(length, &mut buffer);
    }
}

/// Has the miniport reset the device while it works on requests: what began with that reset is met by whoever brings the
/// device up again.
fn reset() {
    queue::pump();
    let kind = SRB_FUNCTION_RESET_LOGICAL_UNIT;
    let mut request = Request::other(UNIT, kind, Extra::None, Data::default(), TIMEOUT);
    request.urgent = true;
    let answer = queue::execute(request).answer;
    crate::note!("RESET_LOGICAL_UNIT: {}", answer.text());
}

/// A restart of an adapter that may have failed. It may fail too, but it has to end, and so has a request after it.
fn again(flights: &mut Flights) {
    if !control::stop_and_restart() {
        crate::ok!("hostile-restart-declined", "ScsiRestartAdapter failed");
        console::end();
    }
    let last = flights.one(1, false, Buffer::new(BLOCK, 0), false);
    crate::ok!("hostile-restarted", "then {}", last.error.as_deref().unwrap_or("it works"));
}
