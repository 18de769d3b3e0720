//! `flush`: what was acknowledged as durable is durable.
//!
//! Writes come in batches. While batch K+1 is under way, a flush makes batch K durable; batch K+2 begins when that flush is
//! acknowledged. QEMU's `blklogwrites` keeps everything the disk was told, in its order, so the host can prove from that
//! log alone that all blocks of batch K reached the disk and that a flush came after the last of them and before the first
//! of batch K+2. For writes with FUA, and with the write cache off, the same holds for batch K and batch K+1. A block's
//! generation is its batch.
//!
//! Each acknowledged batch is a line `# durable: owner=O block-size=B batch=K blocks=N by=HOW`.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;

use stand::cmdline::Options;
use stand::scsi;
use stand::stamp::{self, SplitMix64, Stamp};
use stand::wdk::codes::*;
use stand::wdk::srb::Extra;

use crate::pass::buffer::Buffer;
use crate::pass::transfer::Flights;
use crate::scan::class::{self, Outcome, TIMEOUT};
use crate::scan::{DISK, Unit};
use crate::storport::request::{Data, Request};
use crate::storport::{port, queue};

/// Transfers of a batch.
const BATCH: usize = 12;
/// Blocks of a transfer at most.
const MOST: u64 = 32;
/// Blocks of the disk that are written.
const AREA: u64 = 16_384;
/// FUA in byte 1 of WRITE (10) and (16), SBC-3 5.32.
const FUA: u8 = 0x08;

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
    match cache(disk) {
        Some(false) => writer.through(rounds),
        cache => {
            if cache.is_none() {
                crate::note!("{}: no caching page; taken for a write cache", class::name(disk.address));
            }
            let next = writer.flushed(rounds);
            writer.forced(next, rounds);
        }
    }
    let (name, faults) = (class::name(disk.address), &writer.faults);
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

impl Writer<'_> {
    /// Batches 1 to `rounds`, each made durable by a flush while the next is under way. Answers with the next batch.
    fn flushed(&mut self, rounds: u32) -> u32 {
        let mut blocks = self.start(1);
        self.finish();
        for batch in 1..=rounds {
            let next = self.start(batch + 1);
            // Both ways to ask for it, in turn. SRB_FUNCTION_FLUSH is for adapters that cache data themselves
            // (ns-srb-_storage_request_block.md).
            let by_command = batch % 2 == 0 || port().config.caches_data == 0;
            let by = if by_command { "SYNCHRONIZE CACHE" } else { "SRB_FUNCTION_FLUSH" };
            if self.flush(by_command) {
                self.durable(batch, blocks, by);
            }
            self.finish();
            blocks = next;
        }
        self.flush(true);
        rounds + 2
    }

    /// Batches that are durable one by one, because each write asks for it.
    fn forced(&mut self, first: u32, rounds: u32) {
        let mut command = scsi::transfer(true, 0, 1, false);
        command.cdb[1] |= FUA;
        let mut buffer = Buffer::new(self.block, 0);
        let first_stamp = Stamp { lba: 0, generation: first, seed: self.seed, owner: self.owner };
        buffer.fill(self.block, &first_stamp);
        let request = Request::new(self.unit.address, command, buffer.part(0, buffer.length), TIMEOUT);
        let answer = queue::execute(request).answer;
        if let Outcome::Sense(sense) = Outcome::of(&answer) {
            // SBC-3 5.32: a device without DPOFUA may refuse it, and then class drivers flush instead.
            crate::skip!("fua", "{}: WRITE with FUA is refused: {sense}", class::name(self.unit.address));
            return;
        }
        for batch in first + 1..=first + rounds {
            let blocks = self.one_by_one(batch, true);
            self.durable(batch, blocks, "FUA");
        }
    }

    /// Batches that are durable because there is no write cache. One write at a time: QEMU does not log the flushes of
    /// writes that end together, and not that of the very first.
    fn through(&mut self, rounds: u32) {
        self.one_by_one(1, false);
        for batch in 2..=rounds {
            let blocks = self.one_by_one(batch, false);
            self.durable(batch, blocks, "no cache");
        }
    }

    fn durable(&self, batch: u32, blocks: usize, by: &str) {
        let by = by.replace(' ', "-");
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

    /// Writes a batch one transfer after the other, with FUA or without.
    fn one_by_one(&mut self, batch: u32, fua: bool) -> usize {
        let mut written = BTreeSet::new();
        for _ in 0..BATCH {
            let (lba, blocks) = self.place();
            written.extend(lba..lba + blocks);
            let buffer = self.stamped(lba, blocks, batch);
            let mut command = scsi::transfer(true, lba, blocks as u32, false);
            if fua {
                command.cdb[1] |= FUA;
            }
            let request = Request::new(self.unit.address, command, buffer.part(0, buffer.length), TIMEOUT);
            let answer = queue::execute(request).answer;
            if !matches!(Outcome::of(&answer), Outcome::Good) {
                self.fault(format!("batch {batch}: {}", answer.text()));
            }
        }
        written.len()
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

    /// Asks for everything acknowledged so far to be made durable.
    fn flush(&mut self, by_command: bool) -> bool {
        let request = if by_command {
            Request::new(self.unit.address, scsi::synchronize_cache(), Data::default(), TIMEOUT)
        } else {
            Request::other(self.unit.address, SRB_FUNCTION_FLUSH, Extra::None, Data::default(), TIMEOUT)
        };
        let answer = queue::execute(request).answer;
        let good = answer.srb_status & 0x3F == SRB_STATUS_SUCCESS;
        if !good {
            self.fault(format!("flush: {}", answer.text()));
        }
        good
    }

    fn fault(&mut self, text: String) {
        if self.faults.len() < 400 {
            self.faults = format!("{}; {text}", self.faults);
        }
    }
}
