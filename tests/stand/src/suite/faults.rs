//! `faults`: blocks that cannot be read or written, a full disk, a flush that fails, a device that stops answering, and
//! resets in the middle of work. What fails is said to have failed; what did not is still right; nothing is lost or comes
//! back twice.
//!
//! The runner's `blkdebug` node fails every read of sector [`BAD_READ`], every write of sector [`BAD_WRITE`] with ENOSPC,
//! and one flush; or, with `werror=stop`, the machine stops at a full disk and the runner has it go on. Its throttle
//! group is called `group`. Which of them a machine has, its word `faults` says.

use alloc::format;
use alloc::string::String;

use stand::cmdline::{Faults, Options};
use stand::scsi;
use stand::wdk::codes::*;
use stand::wdk::srb::Extra;

use super::load::Load;
use crate::host;
use crate::pass::buffer::Buffer;
use crate::scan::class::{self, Outcome, TIMEOUT};
use crate::scan::{DISK, Unit};
use crate::storport::request::{Answer, Data, Request};
use crate::storport::{Address, control, port, queue};

/// Sector of 512 bytes whose reads fail; the load does not come near it.
const BAD_READ: u64 = 100_000;
/// Sector of 512 bytes whose writes fail.
const BAD_WRITE: u64 = 100_064;
/// Seconds a request may take while the device does not answer.
const SHORT: u32 = 2;

/// The part that the machine is made for.
pub fn run(units: &[Unit], options: &Options) {
    let disk = units.iter().find(|unit| {
        unit.inquiry.device_type == DISK && unit.capacity.is_some_and(|capacity| capacity.block_size == 512)
    });
    let Some(disk) = disk else {
        crate::skip!("faults", "there is no disk with blocks of 512 bytes");
        return;
    };
    match options.faults {
        Faults::Errors => errors(disk, units, options),
        Faults::Stop => full_disk(disk, units, options),
        Faults::Hang => hang(units, options),
        Faults::None => resets(disk, units, options),
    }
}

/// One transfer, without anybody trying again.
fn transfer(unit: &Unit, lba: u64, blocks: u32, write: bool) -> Answer {
    let buffer = Buffer::new(blocks * 512, 0);
    let command = scsi::transfer(write, lba, blocks, false);
    queue::execute(Request::new(unit.address, command, buffer.part(0, buffer.length), TIMEOUT)).answer
}

/// An error of the medium or of the device, with sense data: what class drivers try again or report, and never take for
/// success. SPC-4 table 48.
fn is_medium_error(answer: &Answer) -> bool {
    const ABORTED_COMMAND: u8 = 0xB;
    answer.srb_status & 0x3F == SRB_STATUS_ERROR
        && answer.sense().is_some_and(|sense| matches!(sense.key, 3 | 4 | 7 | ABORTED_COMMAND))
}

/// Success, and all of the blocks.
fn is_good(answer: &Answer, blocks: u32) -> bool {
    matches!(Outcome::of(answer), Outcome::Good) && answer.transferred == blocks * 512
}

/// Blocks that fail, among others that do not, with work on the rest of the disk.
fn errors(disk: &Unit, units: &[Unit], options: &Options) {
    let name = class::name(disk.address);
    let mut load = Load::new(units, options, 8);
    load.work(50);
    let cases = [("read-error", BAD_READ, false), ("write-error", BAD_WRITE, true)];
    for (check, bad, write) in cases {
        let mut wrong = String::new();
        for round in 0..4 {
            load.start();
            // The bad sector alone, in the middle of a longer transfer, and at both its ends.
            for (lba, blocks) in [(bad, 1), (bad - 4, 8), (bad - 7, 8), (bad, 8)] {
                let answer = transfer(disk, lba, blocks, write);
                if !is_medium_error(&answer) {
                    wrong = format!("{wrong}; round {round}, {blocks} blocks from {lba}: {}", answer.text());
                }
            }
            for (lba, blocks) in [(bad - 8, 8), (bad + 8, 8)] {
                let answer = transfer(disk, lba, blocks, write);
                if !is_good(&answer, blocks) {
                    wrong = format!("{wrong}; beside it, {blocks} blocks from {lba}: {}", answer.text());
                }
            }
            load.work(20);
        }
        crate::console::check(
            wrong.is_empty(),
            check,
            format_args!("{name}: sector {bad}, 24 transfers{wrong}"),
        );
    }
    load.finish();
    flush_error(disk);
    load.verify();
    load.report("data-beside-errors", "work on the same disk meanwhile");
}

/// One flush fails and must be said to have failed; the next one makes everything durable.
fn flush_error(disk: &Unit) {
    let name = class::name(disk.address);
    // A device with nothing to flush may not even look.
    transfer(disk, BAD_READ + 64, 8, true);
    let flush = || {
        let command = scsi::synchronize_cache();
        queue::execute(Request::new(disk.address, command, Data::default(), TIMEOUT)).answer
    };
    let (first, second) = (flush(), flush());
    crate::console::check(
        is_medium_error(&first) && is_good(&second, 0),
        "flush-error",
        format_args!("{name}: first {}; then {}", first.text(), second.text()),
    );
}

/// The disk is full for a moment: the machine stops, and somebody makes room. The write has only been late.
fn full_disk(disk: &Unit, units: &[Unit], options: &Options) {
    let name = class::name(disk.address);
    let mut load = Load::new(units, options, 8);
    load.start();
    let mut answer = transfer(disk, BAD_WRITE, 8, true);
    if answer.srb_status & 0x3F == SRB_STATUS_ABORTED {
        // The class driver sends it again.
        answer = transfer(disk, BAD_WRITE, 8, true);
    }
    crate::console::check(
        is_good(&answer, 8),
        "write-after-full-disk",
        format_args!("{name}: {}", answer.text()),
    );
    let stopped = host::event("BLOCK_IO_ERROR");
    crate::console::check(stopped.is_ok(), "machine-stopped", format_args!("{stopped:?}"));
    load.work(50);
    load.verify();
    load.report("data-after-full-disk", "work on the same disk meanwhile");
}

/// The device answers hardly anything for longer than requests may take, so Storport resets; then it answers again.
fn hang(units: &[Unit], options: &Options) {
    let limit = |iops: u32| {
        let command = format!(
            r#"{{"execute":"qom-set","arguments":{{"path":"/objects/group","property":"limits","value":{{"iops-total":{iops}}}}}}}"#
        );
        if let Err(error) = host::qmp(&command) {
            crate::stop!("the machine would not: {error}");
        }
    };
    let rounds = if options.long { 20 } else { 1 };
    let mut load = Load::new(units, options, 8);
    load.time_out_after(SHORT);
    port().ladder.lenient = true;
    for round in 0..rounds {
        load.work(50);
        let before = resets_so_far();
        // Some requests are on their way, others come when the device is silent already; one second each.
        limit(1);
        crate::progress!("the device does not answer, round {round}");
        let noticed = queue::wait(40_000, || {
            load.poll();
            resets_so_far() > before
        });
        limit(0);
        crate::console::check(
            noticed,
            "reset-of-a-silent-device",
            format_args!(
                "{} reset(s) of unit, device and bus {:?}",
                resets_so_far() - before,
                port().ladder.resets
            ),
        );
        load.work(100);
    }
    port().ladder.lenient = false;
    load.verify();
    load.report("data-after-silence", "before, while and after the device did not answer");
}

fn resets_so_far() -> u32 {
    port().ladder.resets.iter().sum()
}

/// Resets of every kind while requests are under way.
fn resets(disk: &Unit, units: &[Unit], options: &Options) {
    let rounds = if options.long { 1000 } else { 50 };
    let mut load = Load::new(units, options, 16);
    let mut wrong = String::new();
    for round in 0..rounds {
        load.work(15);
        load.start();
        match round % 4 {
            0 => control::reset_bus(disk.address.0),
            kind => {
                let function =
                    [SRB_FUNCTION_RESET_LOGICAL_UNIT, SRB_FUNCTION_RESET_DEVICE, SRB_FUNCTION_RESET_BUS]
                        [kind as usize - 1];
                let answer = reset(disk.address, function);
                let known =
                    matches!(answer.srb_status & 0x3F, SRB_STATUS_SUCCESS | SRB_STATUS_INVALID_REQUEST);
                if !known {
                    wrong = format!("{wrong}; {}", answer.text());
                }
            }
        }
    }
    crate::console::check(wrong.is_empty(), "resets-under-load", format_args!("{rounds} resets{wrong}"));
    load.work(50);
    load.verify();
    load.report("data-after-resets", "work around all resets");
}

fn reset(address: Address, function: u8) -> Answer {
    let mut request = Request::other(address, function, Extra::None, Data::default(), TIMEOUT);
    request.urgent = true;
    queue::execute(request).answer
}
