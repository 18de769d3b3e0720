//! `hostile`: a device that lies. Nothing may come of it but requests that fail: no broken rule, no bugcheck, no exception, every
//! request ended once, and what was reported as read is what was written. Where the lie is told once, the adapter must
//! work again afterwards.

use stand::cmdline::Options;
use stand::device::{Lie, SECTORS, find};
use stand::scsi;
use stand::stamp::{SplitMix64, Stamp};
use stand::wdk::codes::SRB_FUNCTION_RESET_LOGICAL_UNIT;
use stand::wdk::srb::Extra;

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
/// Transfers, and how many at once.
const COUNT: u64 = 64;
const DEPTH: usize = 16;
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
    // What a bus scan asks first, whatever comes of it: some drivers learn from it how large their disk is.
    for (command, length) in
        [(scsi::inquiry(None, 36), 36), (scsi::read_capacity_10(), 8), (scsi::read_capacity_16(), 32)]
    {
        let mut buffer = Buffer::new(length, 0);
        queue::execute(Request::new(UNIT, command, buffer.part(0, length), TIMEOUT));
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
    }
    let mut flights = Flights::new(UNIT, BLOCK, DEPTH);
    flights.timeout = TIMEOUT;
    // Where every request fails for ever, nobody waits for more than some of them.
    let (retries, count) =
        if lasts { (0, COUNT / 4) } else { (3, COUNT.max(u64::from(options.moment) + WHILE)) };
    flights.retries = retries;
    let mut random = SplitMix64(options.seed);
    let (mut started, mut good, mut failed, mut wrong) = (0, 0u64, 0u64, 0u64);
    let mut written = [[0u32; 64]; DEPTH];
    let mut start = |flights: &mut Flights, slot: usize, number: u64| {
        let lba = slot as u64 * 64 + random.below(60);
        let write = number.is_multiple_of(2);
        let mut buffer = Buffer::new(4 * BLOCK, 0);
        if write {
            let stamp = Stamp { lba, generation: number as u32 + 1, seed: options.seed, owner: 0 };
            buffer.fill(BLOCK, &stamp);
        }
        flights.start(slot, lba, write, buffer, false);
    };
    for slot in 0..DEPTH {
        start(&mut flights, slot, started);
        started += 1;
    }
    if later {
        reset();
    }
    loop {
        let ended = flights.finished();
        if ended.is_empty() {
            break;
        }
        for (slot, mut transfer) in ended {
            let first = (transfer.lba - slot as u64 * 64) as usize;
            let is_good = transfer.error.is_none();
            good += u64::from(is_good);
            failed += u64::from(!is_good);
            for index in 0..4 {
                let generation = &mut written[slot][first + index];
                if transfer.write {
                    let bytes = transfer.buffer.bytes();
                    let new = u32::from_le_bytes([bytes[16], bytes[17], bytes[18], bytes[19]]);
                    *generation = if is_good { new } else { 0 };
                } else if is_good && *generation != 0 {
                    let lba = transfer.lba + index as u64;
                    let stamp = Stamp { lba, generation: *generation, seed: options.seed, owner: 0 };
                    wrong += u64::from(transfer.buffer.verify(index, BLOCK, &stamp).is_err());
                }
            }
            if started < count {
                start(&mut flights, slot, started);
                started += 1;
            }
        }
    }
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
    let resets = port().ladder.resets;
    crate::note!("resets of unit, device and bus: {resets:?}");
    let ended = queue::wait(30_000, || port().active.is_empty());
    crate::console::check(
        ended,
        "hostile-requests-end",
        format_args!("{started} transfers started, all ended"),
    );
    if later {
        again(&mut flights);
    } else if !lasts {
        let mut works = |check: &str, what: &str| {
            let last = flights.one(1, false, Buffer::new(BLOCK, 0), false);
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
