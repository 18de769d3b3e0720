//! `faults`: blocks that cannot be read or written, a full disk, a flush that fails, a device that stops answering, and
//! resets in the middle of work. What fails is said to have failed; what did not is still right; nothing is lost or comes
//! back twice.
//!
//! The runner's `blkdebug` node fails every read of sector [`BAD_READ`], every write of sector [`BAD_WRITE`] with ENOSPC,
//! one read of [`ONCE_READ`], one write of [`ONCE_WRITE`] and one flush. With `werror=stop,rerror=stop` the machine stops at
//! each of these, which happen once, and the runner has it go on. Its throttle group is called `group`, and the disk
//! whose back-end can be taken away `gone`, or `vub` where it is a daemon. A `deaf` device answers no task management
//! function. Which of them a machine has, its word `faults` says.
//!
//! What is asked of a driver besides one reset at a time is in `asked`.
//!
//! Each reset of a unit or target that the driver has done is a line `# reset: of=unit|target target=T luns=L,…`, so that the
//! runner can look in QEMU's trace whether it came there.

mod asked;

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use stand::class::RETRIES;
use stand::cmdline::{Faults, Options};
use stand::scsi;
use stand::stamp::{self, Stamp};
use stand::wdk::codes::*;
use stand::wdk::srb::Extra;

use super::load::Load;
use crate::host;
use crate::pass::buffer::Buffer;
use crate::pass::disk::describe;
use crate::scan::class::{self, Outcome, TIMEOUT};
use crate::scan::{DISK, Unit};
use crate::storport::request::{Answer, Data, Request};
use crate::storport::{Address, control, port, queue};

/// Sector of 512 bytes whose reads fail; the load does not come near it.
const BAD_READ: u64 = 100_000;
/// Sector of 512 bytes whose writes fail.
const BAD_WRITE: u64 = 100_064;
/// Sector of 512 bytes whose first read fails.
const ONCE_READ: u64 = 100_128;
/// Sector of 512 bytes whose first write fails.
const ONCE_WRITE: u64 = 100_192;
/// Seconds a request may take while the device does not answer.
const SHORT: u32 = 2;
/// Seconds a request of Windows' disk class driver may take (TimeOutValue).
const MINUTE: u32 = 60;
/// Milliseconds that requests may stay with the miniport after a reset, as in `storport::ladder`. The device will not end
/// them in any time.
const AFTER_RESET: u64 = 5000;

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
        Faults::Gone => gone(disk, units, options),
        Faults::Deaf => deaf(units, options),
        Faults::Abort => asked::aborts(units, options),
        Faults::Together => asked::together(units, options),
        Faults::Ignored => asked::ignored(units, options),
        Faults::StopSystem => asked::stops_system(units, options),
        Faults::None => resets(units, options),
    }
}

/// One transfer, without anybody trying again.
fn transfer(unit: &Unit, lba: u64, blocks: u32, write: bool) -> Answer {
    move_blocks(unit, lba, &Buffer::new(blocks * 512, 0), write)
}

fn move_blocks(unit: &Unit, lba: u64, buffer: &Buffer, write: bool) -> Answer {
    let command = scsi::transfer(write, lba, buffer.length / 512, false);
    queue::execute(Request::new(unit.address, command, buffer.part(0, buffer.length), TIMEOUT)).answer
}

fn flush(unit: &Unit) -> Answer {
    queue::execute(Request::new(unit.address, scsi::synchronize_cache(), Data::default(), TIMEOUT)).answer
}

/// Stamped blocks beside faults, which must stay as they are.
struct Island {
    lba: u64,
    blocks: u32,
    stamp: Stamp,
}

impl Island {
    /// Writes them.
    fn new(disk: &Unit, options: &Options, lba: u64, blocks: u32) -> (Self, Answer) {
        let (path, target, lun) = disk.address;
        let owner = stamp::owner(path, target, lun);
        let island = Island { lba, blocks, stamp: Stamp { lba, generation: 7, seed: options.seed, owner } };
        let mut buffer = Buffer::new(blocks * 512, 0);
        buffer.fill(512, &island.stamp);
        (island, move_blocks(disk, lba, &buffer, true))
    }

    /// Reads them; answers with what is wrong.
    fn check(&self, disk: &Unit) -> Option<String> {
        let mut buffer = Buffer::new(self.blocks * 512, 0);
        let mut answer = move_blocks(disk, self.lba, &buffer, false);
        if was_aborted(&answer) {
            answer = move_blocks(disk, self.lba, &buffer, false);
        }
        if !is_good(&answer, self.blocks) {
            return Some(format!("{} blocks from {}: {}", self.blocks, self.lba, answer.text()));
        }
        (0..self.blocks as usize).find_map(|index| {
            let lba = self.lba + index as u64;
            let mismatch = buffer.verify(index, 512, &Stamp { lba, ..self.stamp }).err()?;
            Some(describe(lba, self.stamp.generation, mismatch))
        })
    }
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
    // Nothing that is tried below reaches them.
    let islands = [BAD_READ - 40, BAD_READ + 16, BAD_WRITE - 24, BAD_WRITE + 16]
        .map(|lba| Island::new(disk, options, lba, 16).0);
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
    once(disk, options);
    load.finish();
    flush_error(disk);
    let lost: Vec<String> = islands.iter().filter_map(|island| island.check(disk)).collect();
    crate::console::check(
        lost.is_empty(),
        "neighbours-of-errors",
        format_args!("{name}: 4 times 16 blocks; {}", lost.join("; ")),
    );
    load.verify();
    load.report("data-beside-errors", "work on the same disk meanwhile");
}

/// A sector that fails once: the same request again succeeds, and its data is right.
fn once(disk: &Unit, options: &Options) {
    let name = class::name(disk.address);
    let (island, first) = Island::new(disk, options, ONCE_WRITE - 4, 8);
    let (_, second) = Island::new(disk, options, ONCE_WRITE - 4, 8);
    let fault = island.check(disk);
    crate::console::check(
        is_medium_error(&first) && is_good(&second, 8) && fault.is_none(),
        "write-after-error",
        format_args!("{name}: first {}; then {}; {fault:?}", first.text(), second.text()),
    );
    let (island, written) = Island::new(disk, options, ONCE_READ - 4, 8);
    let first = transfer(disk, ONCE_READ - 4, 8, false);
    let fault = island.check(disk);
    crate::console::check(
        is_good(&written, 8) && is_medium_error(&first) && fault.is_none(),
        "read-after-error",
        format_args!("{name}: written {}; first {}; then {fault:?}", written.text(), first.text()),
    );
}

/// One flush fails and must be said to have failed; the next one makes everything durable.
fn flush_error(disk: &Unit) {
    let name = class::name(disk.address);
    // A device with nothing to flush may not even look.
    transfer(disk, BAD_READ + 64, 8, true);
    let (first, second) = (flush(disk), flush(disk));
    crate::console::check(
        is_medium_error(&first) && is_good(&second, 0),
        "flush-error",
        format_args!("{name}: first {}; then {}", first.text(), second.text()),
    );
}

/// The disk is full for a moment, or it or a flush fails: the machine stops, and somebody makes room or repairs it. Each
/// request has only been late.
fn full_disk(disk: &Unit, units: &[Unit], options: &Options) {
    let mut load = Load::new(units, options, 8);
    // The flush first: a machine that stops flushes its disks.
    load.work(50);
    load.start();
    let answer = flush(disk);
    let answer = if was_aborted(&answer) { flush(disk) } else { answer };
    late(disk, "flush-after-stop", is_good(&answer, 0), &answer, None);

    load.start();
    let (island, answer) = Island::new(disk, options, BAD_WRITE - 4, 8);
    let answer = if was_aborted(&answer) { Island::new(disk, options, BAD_WRITE - 4, 8).1 } else { answer };
    let fault = island.check(disk);
    late(disk, "write-after-full-disk", is_good(&answer, 8) && fault.is_none(), &answer, fault);

    load.start();
    let (island, answer) = Island::new(disk, options, ONCE_READ - 4, 8);
    let fault = island.check(disk);
    late(disk, "read-after-stop", is_good(&answer, 8) && fault.is_none(), &answer, fault);

    load.work(50);
    load.verify();
    load.report("data-after-stops", "work on the same disk meanwhile");
}

/// Whether the class driver sends it again.
fn was_aborted(answer: &Answer) -> bool {
    answer.srb_status & 0x3F == SRB_STATUS_ABORTED
}

/// A request that succeeded, and for which the machine really stopped.
fn late(disk: &Unit, check: &str, good: bool, answer: &Answer, fault: Option<String>) {
    let stop = host::event("BLOCK_IO_ERROR");
    let stopped = stop.as_ref().map_or_else(|why| why.as_str(), |_| "the machine stopped");
    crate::console::check(
        good && stop.is_ok(),
        check,
        format_args!(
            "{}: {}; {stopped}; {}",
            class::name(disk.address),
            answer.text(),
            fault.as_deref().unwrap_or("the data is right")
        ),
    );
}

/// The device answers nothing for longer than requests may take, so Storport resets; then it answers again.
fn hang(units: &[Unit], options: &Options) {
    let rounds = if options.long { 20 } else { 1 };
    let mut load = Load::new(units, options, 8);
    load.time_out_after(SHORT);
    port().ladder.lenient = true;
    for round in 0..rounds {
        load.work(50);
        let before = resets_so_far();
        // Some requests are on their way, others come when the device is silent already.
        silence(true);
        crate::progress!("the device does not answer, round {round}");
        let noticed = queue::wait(40_000, || {
            load.poll();
            // The ladder has to come to its end while the device is still silent.
            let port = port();
            let climbing = units.iter().any(|unit| port.ladder.holds(unit.address));
            port.ladder.resets() > before && !climbing
        });
        silence(false);
        crate::console::check(
            noticed,
            "reset-of-a-silent-device",
            format_args!(
                "{} reset(s); aborts, and resets of unit, device and bus: {:?}",
                resets_so_far() - before,
                port().ladder.rungs
            ),
        );
        load.work(100);
        // Where the first rung is enough Storport goes no further; the others have to be as good.
        for (check, bus) in
            [("device-reset-of-a-silent-device", false), ("bus-reset-of-a-silent-device", true)]
        {
            silence(true);
            load.start();
            let stuck = queue::wait(u64::from(SHORT) * 500, || {
                load.poll();
                port().active.len() >= 4
            });
            reset_silent(units, check, bus, stuck);
            silence(false);
            load.work(50);
        }
    }
    if options.long {
        minutes(&mut load);
    }
    port().ladder.lenient = false;
    load.verify();
    load.report("data-after-silence", "before, while and after the device did not answer");
}

/// The device is silent for minutes, and requests have the time that Windows gives them: each is reset a few times over and
/// sent again, and all of them end well once the device answers.
fn minutes(load: &mut Load) {
    load.time_out_after(MINUTE);
    load.start();
    let before = resets_so_far();
    silence(true);
    crate::progress!("the device does not answer for minutes");
    queue::wait(u64::from(MINUTE) * 3_500, || {
        load.poll();
        false
    });
    silence(false);
    let resets = resets_so_far() - before;
    let failures = load.failures;
    load.work(100);
    crate::console::check(
        resets >= 3 && load.failures == failures,
        "silence-of-minutes",
        format_args!("{resets} reset(s) of unit, device and bus, {} request(s) failed", load.failures),
    );
}

/// What is behind the disk goes away for good, under load: no request may be lost, and none may succeed afterwards.
fn gone(disk: &Unit, units: &[Unit], options: &Options) {
    let name = class::name(disk.address);
    let mut load = Load::new(units, options, 8);
    load.work(50);
    load.finish();
    load.report("before-the-end", "with what is behind the disk");
    load.time_out_after(1);
    load.try_once();
    port().ladder.lenient = true;
    load.start();
    if let Err(error) = take_away(&mut load) {
        crate::not_ok!("back-end-gone", "the machine would not: {error}");
        return;
    }
    crate::progress!("nothing is behind the disk any more");
    load.start();
    load.finish();
    let (failed, wrong) = (load.failures, load.wrong);
    crate::console::check(
        failed > 0 && wrong == 0,
        "requests-end",
        format_args!("{name}: {failed} failed when it went, {wrong} read something else than was written"),
    );
    load.abandon();
    let mut wrong = Vec::new();
    let buffer = Buffer::new(8 * 512, 0);
    let commands = [
        scsi::transfer(false, BAD_READ, 8, false),
        scsi::transfer(true, BAD_READ, 8, false),
        scsi::synchronize_cache(),
    ];
    for command in commands {
        let is_flush = command.cdb[0] == scsi::synchronize_cache().cdb[0];
        let data = if is_flush { Data::default() } else { buffer.part(0, buffer.length) };
        let request = queue::execute(Request::new(disk.address, command, data, 1));
        let text = format!("{}: {}", request.text(), request.answer.text());
        crate::note!("{text}");
        if matches!(Outcome::of(&request.answer), Outcome::Good) {
            wrong.push(text);
        }
    }
    crate::console::check(
        wrong.is_empty(),
        "back-end-gone",
        format_args!("{name}: {} of 3 commands succeeded {}", wrong.len(), wrong.join("; ")),
    );
}

/// Takes away what is behind the disk. A device whose daemon is gone is silent from then on, another reports errors.
fn take_away(load: &mut Load) -> Result<(), String> {
    let yank = r#"{"execute":"yank","arguments":{"instances":[{"type":"chardev","id":"vub"}]}}"#;
    if host::qmp_while(yank, || load.poll()).is_ok() {
        // The daemon's connection is cut, as when it dies.
        return Ok(());
    }
    let delete = r#"{"execute":"human-monitor-command","arguments":{"command-line":"drive_del gone"}}"#;
    match host::qmp_while(delete, || load.poll())?.as_str() {
        r#""""# => Ok(()),
        said => Err(said.into()),
    }
}

/// Has the device answer nothing, or answer again.
fn silence(silent: bool) {
    let must = |command: &str| {
        if let Err(error) = host::qmp(command) {
            crate::stop!("the machine would not: {error}");
        }
    };
    // A byte in a second is nothing at all; 0 is no limit.
    must(&format!(
        r#"{{"execute":"qom-set","arguments":{{"path":"/objects/group","property":"limits","value":{{"bps-total":{}}}}}}}"#,
        u32::from(silent)
    ));
    if !silent {
        // What waits already goes on waiting as long as it should have. A machine that stops lets it go; the runner has the
        // machine go on.
        must(r#"{"execute":"stop"}"#);
    }
}

/// A reset that Storport would only come to later, while requests are stuck: with it they end, as
/// multi-tier-reset-in-storport.md says.
fn reset_silent(units: &[Unit], check: &str, bus: bool, stuck: bool) {
    let Some(first) = units.first() else { return };
    // Requests that are still queued are not the reset's.
    let under_way: BTreeSet<u32> = port().active.values().map(|request| request.tag).collect();
    let text = if bus {
        control::reset_bus(first.address.0);
        String::from("HwStorResetBus")
    } else {
        let answer = reset(first.address, SRB_FUNCTION_RESET_DEVICE);
        if answer.srb_status & 0x3F == SRB_STATUS_INVALID_REQUEST {
            crate::skip!(check, "the driver does not know it: {}", answer.text());
            return;
        }
        answer.text()
    };
    let left = || port().active.values().filter(|request| under_way.contains(&request.tag)).count();
    let all_ended = queue::wait(AFTER_RESET, || left() == 0);
    crate::console::check(
        stuck && all_ended,
        check,
        format_args!("{text}; {} requests were under way, {} are left", under_way.len(), left()),
    );
}

fn resets_so_far() -> u32 {
    port().ladder.resets()
}

/// Resets of every kind while requests are under way.
fn resets(units: &[Unit], options: &Options) {
    let rounds = if options.long { 1000 } else { 50 };
    let mut load = Load::new(units, options, 16);
    let mut wrong = String::new();
    for round in 0..rounds {
        load.work(15);
        load.start();
        // Each unit in turn, also those without work.
        let address = units[round / 4 % units.len()].address;
        match round % 4 {
            0 => control::reset_bus(address.0),
            kind => {
                let function =
                    [SRB_FUNCTION_RESET_LOGICAL_UNIT, SRB_FUNCTION_RESET_DEVICE, SRB_FUNCTION_RESET_BUS]
                        [kind - 1];
                let answer = reset(address, function);
                if answer.srb_status & 0x3F == SRB_STATUS_SUCCESS {
                    tell(function, address, units);
                }
                let known =
                    matches!(answer.srb_status & 0x3F, SRB_STATUS_SUCCESS | SRB_STATUS_INVALID_REQUEST);
                if !known {
                    wrong = format!("{wrong}; {}", answer.text());
                }
            }
        }
        // No request may meet more resets than the class driver forgives: each ends one try, and its unit attention another.
        if (round + 1) % usize::from(RETRIES / 2) == 0 {
            load.finish();
        }
    }
    crate::console::check(wrong.is_empty(), "resets-under-load", format_args!("{rounds} resets{wrong}"));
    load.work(50);
    load.verify();
    load.report("data-after-resets", "work around all resets");
}

/// Resets of units and targets by a device that answers no task management function: each climbs to the reset of the device, and
/// is done. With the word `misses` some requests are late besides, and Storport's own ladder has to be enough.
fn deaf(units: &[Unit], options: &Options) {
    let rounds = if options.long { 100 } else { 4 };
    let mut load = Load::new(units, options, 8);
    load.time_out_after(SHORT);
    let mut wrong = String::new();
    for round in 0..rounds {
        load.work(50);
        load.start();
        let address = units[round / 2 % units.len()].address;
        let function = [SRB_FUNCTION_RESET_LOGICAL_UNIT, SRB_FUNCTION_RESET_DEVICE][round % 2];
        let answer = reset(address, function);
        if answer.srb_status & 0x3F != SRB_STATUS_SUCCESS {
            wrong = format!("{wrong}; {}", answer.text());
        }
    }
    crate::console::check(wrong.is_empty(), "resets-that-climb", format_args!("{rounds} resets{wrong}"));
    load.work(100);
    load.verify();
    load.report("data-after-resets", "work around all resets");
}

/// Tells the runner of a reset that was done: with QEMU's trace it looks whether it came to these units, and to no others.
fn tell(function: u8, (path, target, lun): Address, units: &[Unit]) {
    let of = match function {
        SRB_FUNCTION_RESET_LOGICAL_UNIT => "unit",
        SRB_FUNCTION_RESET_DEVICE => "target",
        // The whole device.
        _ => return,
    };
    let mut luns = String::new();
    for unit in units {
        let (its_path, its_target, its_lun) = unit.address;
        if (its_path, its_target) == (path, target) && (of == "target" || its_lun == lun) {
            luns = if luns.is_empty() { format!("{its_lun}") } else { format!("{luns},{its_lun}") };
        }
    }
    crate::note!("reset: of={of} target={target} luns={luns}");
}

fn reset(address: Address, function: u8) -> Answer {
    let mut request = Request::other(address, function, Extra::None, Data::default(), TIMEOUT);
    request.urgent = true;
    queue::execute(request).answer
}
