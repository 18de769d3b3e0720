//! `flush`: what was acknowledged as durable is durable.
//!
//! Writes come in batches. While batch K+1 is under way, a flush makes batch K durable; batch K+2 begins when that flush is
//! acknowledged. QEMU's `blklogwrites` keeps everything the disk was told, in its order, so the host can prove from that
//! log alone that all blocks of batch K reached the disk and that a flush came after the last of them and before the first
//! of batch K+2. For writes with FUA, and with the write cache off, the same holds for batch K and batch K+1. A block's
//! generation is its batch. What was acknowledged last is followed by one more batch, and that by one more flush: QEMU counts
//! the log's entries at a flush (block/blklogwrites.c, `blk_log_writes_co_do_log`), and 7.2, which leaves by exit() when the
//! stand tells it to (hw/misc/debugexit.c), has no flush of its own at the end.
//!
//! Each acknowledged batch is a line `# durable: owner=O block-size=B batch=K blocks=N by=HOW`.
//!
//! A log cannot show an acknowledgement that is only a little early. So each kind of request is also sent while `blkdebug`
//! holds the disk's flush: it must not end before the flush is let go.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use stand::cmdline::Options;
use stand::scsi;
use stand::stamp::{self, SplitMix64, Stamp};
use stand::wdk::codes::*;
use stand::wdk::srb::Extra;

use crate::host;
use crate::pass::buffer::Buffer;
use crate::pass::transfer::Flights;
use crate::scan::class::{self, Outcome, TIMEOUT};
use crate::scan::{DISK, Unit};
use crate::storport::request::{Answer, Data, Request};
use crate::storport::{port, queue};

/// Transfers of a batch.
const BATCH: usize = 12;
/// Blocks of a transfer at most.
const MOST: u64 = 32;
/// Blocks of the disk that are written.
const AREA: u64 = 16_384;
/// FUA in byte 1 of WRITE (10) and (16), SBC-3 5.32.
const FUA: u8 = 0x08;
/// DPOFUA in the device-specific parameter of a mode parameter header, SBC-3 6.4.1.
const DPOFUA: u8 = 0x10;
/// Reads that must end while a flush is held: as many as it takes for a flush that is not waited for to be acknowledged.
const READS: u64 = 64;

/// Longest wait for a request in milliseconds: its own time, and that of the whole ladder.
const LIMIT: u64 = TIMEOUT as u64 * 1000 + 30_000;

/// What makes earlier writes durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// The command.
    Command,
    /// SRB_FUNCTION_FLUSH.
    Flush,
    /// SRB_FUNCTION_SHUTDOWN. More requests may follow it (ns-srb-_storage_request_block.md).
    Shutdown,
}

impl Way {
    /// What Storport uses: the functions are for adapters that cache data themselves (ns-srb-_storage_request_block.md).
    fn all() -> &'static [Self] {
        if port().config.caches_data == 0 {
            &[Self::Command]
        } else {
            &[Self::Flush, Self::Command, Self::Shutdown]
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Command => "SYNCHRONIZE-CACHE",
            Self::Flush => "SRB_FUNCTION_FLUSH",
            Self::Shutdown => "SRB_FUNCTION_SHUTDOWN",
        }
    }

    fn request(self, unit: &Unit) -> Box<Request> {
        let function = match self {
            Self::Command => {
                return Request::new(unit.address, scsi::synchronize_cache(), Data::default(), TIMEOUT);
            }
            Self::Flush => SRB_FUNCTION_FLUSH,
            Self::Shutdown => SRB_FUNCTION_SHUTDOWN,
        };
        Request::other(unit.address, function, Extra::None, Data::default(), TIMEOUT)
    }
}

/// How a driver takes WRITE with FUA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fua {
    Taken,
    Refused,
}

/// One disk and how it is written.
struct Writer<'a> {
    unit: &'a Unit,
    block: u32,
    blocks: u64,
    owner: u32,
    seed: u64,
    random: SplitMix64,
    flights: Flights,
    faults: String,
}

/// Everything that makes writes durable, on the first disk.
pub fn run(units: &[Unit], options: &Options) {
    let disk = units.iter().find(|unit| unit.inquiry.device_type == DISK && unit.capacity.is_some());
    let Some((disk, capacity)) = disk.and_then(|disk| Some((disk, disk.capacity?))) else {
        crate::not_ok!("flush-units", "there is no disk to try it with");
        return;
    };
    let (path, target, lun) = disk.address;
    let mut writer = Writer {
        unit: disk,
        block: capacity.block_size,
        blocks: AREA.min(capacity.blocks),
        owner: stamp::owner(path, target, lun),
        seed: options.seed,
        random: SplitMix64(options.seed ^ 0xF1),
        flights: Flights::new(disk.address, capacity.block_size, BATCH),
        faults: String::new(),
    };
    let rounds = if options.long { 500 } else { 20 };
    let cache = cache(disk);
    let name = class::name(disk.address);
    if cache == Some(false) || options.no_cache {
        // A driver may say that there is a cache where there is none: a flush too many loses nothing.
        let says = match cache {
            Some(true) => "it has one",
            Some(false) => "it has none",
            None => "nothing",
        };
        crate::note!("{name}: no write cache; the unit says {says}");
        let next = writer.through(rounds);
        writer.held_writes("held-write", next, false);
    } else {
        if cache.is_none() {
            crate::note!("{name}: no caching page; taken for a write cache");
        }
        let mut next = writer.flushed(rounds);
        next = writer.held_flushes(next);
        if writer.forced_is_taken(next) == Fua::Taken {
            next = writer.forced(next + 1, rounds);
            writer.held_writes("held-fua", next, true);
        }
    }
    writer.end();
    let faults = &writer.faults;
    crate::console::check(
        faults.is_empty(),
        "flush",
        format_args!("{name}: {rounds} batches of each kind{faults}"),
    );
}

/// Whether the unit says that it has a write cache.
fn cache(unit: &Unit) -> Option<bool> {
    let (outcome, data) = class::send(unit.address, scsi::mode_sense_10(8), 192);
    matches!(outcome, Outcome::Good).then(|| scsi::write_cache(&data, 8)).flatten()
}

/// Whether the unit says that it takes FUA.
fn promises_fua(unit: &Unit) -> bool {
    let (outcome, data) = class::send(unit.address, scsi::mode_sense_10(8), 192);
    matches!(outcome, Outcome::Good) && data.get(3).is_some_and(|parameter| parameter & DPOFUA != 0)
}

impl Writer<'_> {
    /// Batches 1 to `rounds`, each made durable by a flush while the next is under way. Answers with the next batch.
    fn flushed(&mut self, rounds: u32) -> u32 {
        let ways = Way::all();
        let mut blocks = self.start(1);
        self.finish();
        for batch in 1..=rounds {
            let next = self.start(batch + 1);
            // One in turn; every fourth time all of them at once, and the last to end is what counts.
            let one = [ways[batch as usize % ways.len()]];
            let chosen = if batch % 4 == 0 { &[ways, ways].concat() } else { one.as_slice() };
            if self.flush(chosen) {
                self.durable(batch, blocks, chosen[0].name());
            }
            self.finish();
            blocks = next;
        }
        self.marker(rounds + 2)
    }

    /// A batch that shows where the ones before it were acknowledged. Answers with the next.
    fn marker(&mut self, batch: u32) -> u32 {
        self.start(batch);
        self.finish();
        batch + 1
    }

    /// Everything is on the disk and in its log. Whether there is a write cache or not, this is flushed.
    fn end(&mut self) {
        self.flush(&[Way::Command]);
    }

    /// Whether the device takes FUA: one write of batch `batch`.
    fn forced_is_taken(&mut self, batch: u32) -> Fua {
        let buffer = self.stamped(0, 1, batch);
        let answer = queue::execute(self.write(0, &buffer, true)).answer;
        let name = class::name(self.unit.address);
        let promised = promises_fua(self.unit);
        match Outcome::of(&answer) {
            Outcome::Good => return Fua::Taken,
            // SBC-3 5.32: a device without DPOFUA may refuse it, and then class drivers flush instead.
            Outcome::Sense(sense) if !promised => {
                crate::skip!("fua", "{name}: WRITE with FUA is refused: {sense}");
            }
            _ => crate::not_ok!("fua", "{name}: DPOFUA is {promised}; WRITE with FUA: {}", answer.text()),
        }
        Fua::Refused
    }

    /// Batches that are durable because each write asks for it. All of a batch are under way at once.
    fn forced(&mut self, first: u32, rounds: u32) -> u32 {
        for batch in first..first + rounds {
            let blocks = self.at_once(batch);
            self.durable(batch, blocks, "FUA");
        }
        self.marker(first + rounds)
    }

    /// Batches that are durable because there is no write cache. One write at a time: QEMU does not log (nor do) the flushes
    /// of writes that end together, and not that of the very first.
    fn through(&mut self, rounds: u32) -> u32 {
        self.one_by_one(1);
        for batch in 2..=rounds {
            let blocks = self.one_by_one(batch);
            self.durable(batch, blocks, "no-cache");
        }
        self.marker(rounds + 1)
    }

    /// Every way to flush, while the disk's flush is held: it may not be acknowledged until that is let go.
    fn held_flushes(&mut self, mut batch: u32) -> u32 {
        for way in Way::all() {
            let blocks = self.start(batch);
            self.finish();
            let request = way.request(self.unit);
            let Some(good) = self.held("held-flush", way.name(), request) else { return batch + 1 };
            if good {
                self.durable(batch, blocks, way.name());
            }
            // A flush is taken to leave one batch under way.
            batch = self.marker(batch + 1);
            batch = self.marker(batch);
        }
        batch
    }

    /// A write that is durable when it ends, while the disk's flush is held.
    fn held_writes(&mut self, check: &str, batch: u32, fua: bool) {
        // QEMU flushes only if something was written since it did.
        let next = self.marker(batch);
        let buffer = self.stamped(0, 4, next);
        let request = self.write(0, &buffer, fua);
        let by = if fua { "FUA" } else { "no-cache" };
        if self.held(check, by, request) == Some(true) {
            self.durable(next, 4, by);
        }
        self.marker(next + 1);
    }

    /// Sends a request while flushes of the disk's node are held, has reads end meanwhile, and lets go. Answers whether it
    /// ended well after that, and with nothing when flushes cannot be held.
    fn held(&mut self, check: &str, by: &str, request: Box<Request>) -> Option<bool> {
        let name = class::name(self.unit.address);
        if let Err(error) = breakpoint("break flush_to_disk held") {
            crate::skip!(check, "{by}: flushes cannot be held: {error}");
            return None;
        }
        let tag = queue::submit(request);
        let mut early = None;
        for read in 0..READS {
            let buffer = Buffer::new(self.block, 0);
            let command = scsi::transfer(false, read % self.blocks, 1, false);
            let other = Request::new(self.unit.address, command, buffer.part(0, buffer.length), TIMEOUT);
            let answer = queue::execute(other).answer;
            if !matches!(Outcome::of(&answer), Outcome::Good) {
                self.fault(format!("read while a flush is held: {}", answer.text()));
            }
            early = early.or_else(|| ended(tag));
        }
        let held = early.is_none();
        let resumed = breakpoint("resume held");
        if !held {
            // Nothing may have come by. The next flush is not to be held.
            let _ = breakpoint("remove_break held");
        }
        if early.is_none() {
            queue::wait(LIMIT, || {
                early = ended(tag);
                early.is_some()
            });
        }
        let Some(request) = early else { crate::stop!("{by} did not end once flushes were let go") };
        let good = matches!(Outcome::of(&request.answer), Outcome::Good);
        crate::console::check(
            held && resumed.is_ok() && good,
            check,
            format_args!(
                "{name}: {by} {} the disk had flushed; {}; {resumed:?}",
                if held { "did not end before" } else { "ended before" },
                request.answer.text()
            ),
        );
        Some(held && good)
    }

    fn durable(&self, batch: u32, blocks: usize, by: &str) {
        crate::note!(
            "durable: owner={:#x} block-size={} batch={batch} blocks={blocks} by={by}",
            self.owner,
            self.block
        );
    }

    /// Where a transfer of a batch goes.
    fn place(&mut self) -> (u64, u64) {
        let blocks = 1 + self.random.below(MOST);
        (self.random.below(self.blocks - blocks), blocks)
    }

    fn stamped(&self, lba: u64, blocks: u64, batch: u32) -> Buffer {
        let mut buffer = Buffer::new(blocks as u32 * self.block, 0);
        buffer.fill(self.block, &Stamp { lba, generation: batch, seed: self.seed, owner: self.owner });
        buffer
    }

    /// Starts a batch; answers with the number of blocks that it writes.
    fn start(&mut self, batch: u32) -> usize {
        let mut written = BTreeSet::new();
        for slot in 0..BATCH {
            let (lba, blocks) = self.place();
            written.extend(lba..lba + blocks);
            let buffer = self.stamped(lba, blocks, batch);
            self.flights.start(slot, lba, true, buffer, false);
        }
        written.len()
    }

    fn write(&self, lba: u64, buffer: &Buffer, fua: bool) -> Box<Request> {
        let mut command = scsi::transfer(true, lba, buffer.length / self.block, false);
        if fua {
            command.cdb[1] |= FUA;
        }
        Request::new(self.unit.address, command, buffer.part(0, buffer.length), TIMEOUT)
    }

    /// Writes a batch one transfer after the other.
    fn one_by_one(&mut self, batch: u32) -> usize {
        let mut written = BTreeSet::new();
        for _ in 0..BATCH {
            let (lba, blocks) = self.place();
            written.extend(lba..lba + blocks);
            let buffer = self.stamped(lba, blocks, batch);
            let answer = queue::execute(self.write(lba, &buffer, false)).answer;
            self.judge(batch, &answer);
        }
        written.len()
    }

    /// Writes a batch with FUA, all transfers at once.
    fn at_once(&mut self, batch: u32) -> usize {
        let mut written = BTreeSet::new();
        let mut under_way = Vec::new();
        for _ in 0..BATCH {
            let (lba, blocks) = self.place();
            written.extend(lba..lba + blocks);
            let buffer = self.stamped(lba, blocks, batch);
            let tag = queue::submit(self.write(lba, &buffer, true));
            under_way.push((tag, buffer));
        }
        for (tag, _buffer) in &under_way {
            let answer = wait_for(*tag).answer;
            self.judge(batch, &answer);
        }
        written.len()
    }

    fn judge(&mut self, batch: u32, answer: &Answer) {
        if !matches!(Outcome::of(answer), Outcome::Good) {
            self.fault(format!("batch {batch}: {}", answer.text()));
        }
    }

    /// Waits for a batch.
    fn finish(&mut self) {
        loop {
            let ended = self.flights.finished();
            if ended.is_empty() {
                break;
            }
            for (_, transfer) in ended {
                if let Some(error) = transfer.error {
                    self.fault(error);
                }
            }
        }
    }

    /// Asks for everything acknowledged so far to be made durable, in all these ways at once.
    fn flush(&mut self, ways: &[Way]) -> bool {
        let tags: Vec<u32> = ways.iter().map(|way| queue::submit(way.request(self.unit))).collect();
        let mut all_good = true;
        for (tag, way) in tags.into_iter().zip(ways) {
            let answer = wait_for(tag).answer;
            if answer.srb_status & 0x3F != SRB_STATUS_SUCCESS {
                self.fault(format!("{}: {}", way.name(), answer.text()));
                all_good = false;
            }
        }
        all_good
    }

    fn fault(&mut self, text: String) {
        if self.faults.len() < 400 {
            self.faults = format!("{}; {text}", self.faults);
        }
    }
}

/// A request that has ended.
fn ended(tag: u32) -> Option<Box<Request>> {
    let mut port = port();
    let index = port.done.iter().position(|request| request.tag == tag)?;
    port.done.remove(index)
}

/// Waits for one of several requests under way.
fn wait_for(tag: u32) -> Box<Request> {
    let mut request = None;
    queue::wait(LIMIT, || {
        request = ended(tag);
        request.is_some()
    });
    match request {
        Some(request) => request,
        None => crate::stop!("request {tag} was not completed and not even timed out"),
    }
}

/// Has the disk hold requests, or go on with them.
fn breakpoint(command: &str) -> Result<(), String> {
    let line = format!(
        r#"{{"execute":"human-monitor-command","arguments":{{"command-line":"qemu-io logged \"{command}\""}}}}"#
    );
    // Nothing is said when it is done.
    match host::qmp(&line)?.as_str() {
        r#""""# => Ok(()),
        said => Err(said.into()),
    }
}
