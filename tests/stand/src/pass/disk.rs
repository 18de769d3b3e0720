//! The pass over a disk.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use stand::cmdline::Options;
use stand::scsi;
use stand::stamp::{self, FINAL_BYTES, FINAL_GENERATION, Mismatch, SplitMix64, Stamp};

use super::buffer::Buffer;
use super::transfer::{Flights, Transfer};
use super::{flush, must_fail};
use crate::scan::Unit;
use crate::scan::class::{self, send};
use crate::storport::port;

const MIB: u64 = 1 << 20;
/// Bytes at the start of the disk that are worked on, and at its end.
const HEAD: u64 = 12 * MIB;
const TAIL: u64 = 2 * MIB;
/// Transfers of the pass with many in flight.
const MANY: usize = 400;
/// Failures told in words for one check.
const TOLD: usize = 3;

/// A run of blocks with the generation each was last written with; 0 is never.
struct Area {
    first: u64,
    generations: Vec<u32>,
}

/// What went wrong in one check.
#[derive(Default)]
struct Faults {
    count: usize,
    text: String,
}

impl Faults {
    fn add(&mut self, text: &str) {
        if self.count < TOLD {
            self.text = alloc::format!("{}; {text}", self.text);
        }
        self.count += 1;
    }

    fn check(&self, name: &str, unit: &str, good: &str) {
        if self.count == 0 {
            crate::ok!(name, "{unit}: {good}");
        } else {
            crate::not_ok!(name, "{unit}: {good}, {} fault(s){}", self.count, self.text);
        }
    }
}

/// A disk under test.
pub struct Disk<'a> {
    unit: &'a Unit,
    name: String,
    block: u32,
    blocks: u64,
    owner: u32,
    seed: u64,
    alignment: u32,
    random: SplitMix64,
    generation: u32,
    areas: Vec<Area>,
    flights: Flights,
    inflight: usize,
}

impl<'a> Disk<'a> {
    /// Prepares a disk; `None`, with a failed check, when its blocks cannot be used.
    pub fn new(unit: &'a Unit, options: &Options, random: u64) -> Option<Self> {
        let capacity = unit.capacity?;
        let (path, target, lun) = unit.address;
        let name = class::name(unit.address);
        let block = capacity.block_size;
        if !(512..=65536).contains(&block) || !block.is_power_of_two() || capacity.blocks < 64 {
            crate::not_ok!("disk-geometry", "{name}: {} blocks of {block} bytes", capacity.blocks);
            return None;
        }
        let head = (HEAD / u64::from(block)).min(capacity.blocks);
        let tail = (TAIL / u64::from(block)).min(capacity.blocks - head);
        let area = |first: u64, blocks: u64| Area { first, generations: vec![0; blocks as usize] };
        let mut areas = vec![area(0, head)];
        if tail >= 64 {
            areas.push(area(capacity.blocks - tail, tail));
        }
        let inflight = options.inflight as usize;
        let alignment = port().config.alignment_mask;
        let mut flights = Flights::new(unit.address, block, inflight);
        flights.capacity = Some(capacity);
        Some(Disk {
            unit,
            name,
            block,
            blocks: capacity.blocks,
            owner: stamp::owner(path, target, lun),
            seed: options.seed,
            alignment,
            random: SplitMix64(random),
            generation: 0,
            areas,
            flights,
            inflight,
        })
    }

    /// Everything but the final stamps.
    pub fn pass(&mut self) {
        crate::progress!("{}: sizes", self.name);
        self.sizes();
        crate::progress!("{}: {} in flight", self.name, self.inflight);
        self.in_flight();
        flush(self.unit);
        crate::progress!("{}: verify", self.name);
        self.verify_areas("data-integrity");
        self.out_of_range();
    }

    /// After a restart: the data is still there; then the stamps that stay.
    pub fn finish(&mut self) {
        crate::progress!("{}: final stamps", self.name);
        self.verify_areas("data-after-restart");
        self.final_stamps();
    }

    fn stamp(&self, lba: u64, generation: u32) -> Stamp {
        Stamp { lba, generation, seed: self.seed, owner: self.owner }
    }

    /// A buffer with a random start the adapter allows: aligned to pages every other time.
    fn buffer(&mut self, length: u32) -> Buffer {
        let unit = self.alignment + 1;
        let offset = if self.random.below(2) == 0 || unit >= 4096 {
            0
        } else {
            self.random.below(u64::from(4096 / unit)) as u32 * unit
        };
        Buffer::new(length, offset)
    }

    fn mark(&mut self, lba: u64, blocks: usize, generation: u32) {
        for area in &mut self.areas {
            for generations in
                area.generations.iter_mut().skip(lba.saturating_sub(area.first) as usize).take(blocks)
            {
                if lba >= area.first {
                    *generations = generation;
                }
            }
        }
    }

    /// What blocks of a finished read hold against what they should.
    fn compare(&self, transfer: &mut Transfer, faults: &mut Faults) {
        let blocks = (transfer.buffer.length / self.block) as usize;
        for area in &self.areas {
            let Some(start) = transfer.lba.checked_sub(area.first) else { continue };
            for index in 0..blocks {
                let Some(generation) = area.generations.get(start as usize + index).copied() else { break };
                let lba = transfer.lba + index as u64;
                if generation == 0 {
                    continue;
                }
                let expected = self.stamp(lba, generation);
                if let Err(mismatch) = transfer.buffer.verify(index, self.block, &expected) {
                    faults.add(&describe(lba, generation, mismatch));
                }
            }
        }
    }

    /// Every size from one block to 1 MiB, aligned and not, on the disk and in memory, one at a time.
    fn sizes(&mut self) {
        let mut faults = Faults::default();
        let (mut count, mut bytes) = (0, 0u64);
        let b = u64::from(self.block);
        let mut sizes = vec![b, 2 * b, 3 * b, 7 * b];
        sizes.extend([4, 8, 16, 60, 64, 128, 252, 256, 512, 1024].map(|kib| kib * 1024));
        sizes.extend([4096 + b, 65536 + b, MIB - b]);
        sizes.retain(|size| *size >= b && size % b == 0);
        for size in sizes {
            for round in 0..4 {
                let area = &self.areas[round % self.areas.len()];
                let blocks = size / b;
                let room = area.generations.len() as u64;
                if blocks > room {
                    continue;
                }
                // Rounds 0 and 1 on multiples of 4 KiB, the others anywhere.
                let step = if round < 2 { (4096 / b).max(1) } else { 1 };
                let (first, spread) = (area.first, (room - blocks) / step + 1);
                let lba = first + self.random.below(spread) * step;
                self.generation += 1;
                let generation = self.generation;
                let mut buffer = self.buffer(size as u32);
                buffer.fill(self.block, &self.stamp(lba, generation));
                let wide = round == 3;
                let written = self.flights.one(lba, true, buffer, wide);
                match written.error {
                    Some(error) => faults.add(&error),
                    None => self.mark(lba, blocks as usize, generation),
                }
                let buffer = self.buffer(size as u32);
                let mut read = self.flights.one(lba, false, buffer, wide);
                match read.error.take() {
                    Some(error) => faults.add(&error),
                    None => self.compare(&mut read, &mut faults),
                }
                count += 2;
                bytes += 2 * size;
            }
        }
        let text = alloc::format!("{count} transfers of {b} B to 1 MiB, {} MiB", bytes / MIB);
        faults.check("write-read", &self.name, &text);
    }

    /// Many at once: each slot owns a part of the head area and writes and reads there by turns.
    fn in_flight(&mut self) {
        let mut faults = Faults::default();
        let share = self.areas[0].generations.len() as u64 / self.inflight as u64;
        if share == 0 {
            crate::note!("{}: too small for {} in flight", self.name, self.inflight);
            return;
        }
        port().statistics.most_active = 0;
        let mut left = MANY;
        let mut last: Vec<Option<(u64, u32)>> = vec![None; self.inflight];
        for slot in 0..self.inflight {
            self.next_in_slot(slot, share, &mut last, &mut left);
        }
        loop {
            let ended = self.flights.finished();
            if ended.is_empty() {
                break;
            }
            for (slot, mut transfer) in ended {
                match transfer.error.take() {
                    Some(error) => faults.add(&error),
                    None if transfer.write => {
                        let blocks = (transfer.buffer.length / self.block) as usize;
                        // The stamp in the buffer says which generation went out.
                        let bytes = transfer.buffer.bytes();
                        let generation = u32::from_le_bytes([bytes[16], bytes[17], bytes[18], bytes[19]]);
                        self.mark(transfer.lba, blocks, generation);
                        last[slot] = Some((transfer.lba, transfer.buffer.length));
                    }
                    None => self.compare(&mut transfer, &mut faults),
                }
                drop(transfer);
                self.next_in_slot(slot, share, &mut last, &mut left);
            }
        }
        let most = port().statistics.most_active;
        let text = alloc::format!("{MANY} transfers, at most {most} requests with the driver at once");
        faults.check("in-flight", &self.name, &text);
    }

    fn next_in_slot(&mut self, slot: usize, share: u64, last: &mut [Option<(u64, u32)>], left: &mut usize) {
        if *left == 0 {
            return;
        }
        *left -= 1;
        let wide = self.random.below(4) == 0;
        if let Some((lba, length)) = last[slot].take() {
            let buffer = self.buffer(length);
            self.flights.start(slot, lba, false, buffer, wide);
            return;
        }
        let most = share.min(u64::from(131_072 / self.block).max(1));
        let blocks = 1 + self.random.below(most);
        let lba = slot as u64 * share + self.random.below(share - blocks + 1);
        self.generation += 1;
        let generation = self.generation;
        let mut buffer = self.buffer(blocks as u32 * self.block);
        buffer.fill(self.block, &self.stamp(lba, generation));
        self.flights.start(slot, lba, true, buffer, wide);
    }

    /// Reads all of the areas and compares every block that was ever written.
    fn verify_areas(&mut self, check: &str) {
        let mut faults = Faults::default();
        let step = (256 * 1024 / self.block).max(1) as u64;
        let mut blocks = 0;
        for index in 0..self.areas.len() {
            let (first, count) = (self.areas[index].first, self.areas[index].generations.len() as u64);
            let mut at = 0;
            while at < count {
                let now = step.min(count - at);
                let buffer = self.buffer(now as u32 * self.block);
                let mut read = self.flights.one(first + at, false, buffer, false);
                match read.error.take() {
                    Some(error) => faults.add(&error),
                    None => self.compare(&mut read, &mut faults),
                }
                at += now;
            }
            blocks += count;
        }
        faults.check(check, &self.name, &alloc::format!("{blocks} blocks read"));
    }

    /// Past the end, both ways and across the end: an error with sense data.
    fn out_of_range(&mut self) {
        for (name, write, lba, blocks) in [
            ("read-past-end", false, self.blocks, 1),
            ("write-past-end", true, self.blocks, 1),
            ("read-across-end", false, self.blocks - 1, 2),
        ] {
            let command = scsi::transfer(write, lba, blocks, false);
            let (outcome, _) = send(self.unit.address, command, blocks * self.block);
            must_fail(name, &self.name, &outcome);
        }
    }

    /// Writes, flushes and reads back the stamps that stay for the host.
    fn final_stamps(&mut self) {
        let mut faults = Faults::default();
        let blocks = (FINAL_BYTES / u64::from(self.block)).min(self.blocks);
        let step = (128 * 1024 / self.block).max(1) as u64;
        for write in [true, false] {
            let mut at = 0;
            while at < blocks {
                let now = step.min(blocks - at);
                let mut buffer = self.buffer(now as u32 * self.block);
                if write {
                    buffer.fill(self.block, &self.stamp(at, FINAL_GENERATION));
                    self.mark(at, now as usize, FINAL_GENERATION);
                }
                let mut transfer = self.flights.one(at, write, buffer, false);
                match transfer.error.take() {
                    Some(error) => faults.add(&error),
                    None if !write => self.compare(&mut transfer, &mut faults),
                    None => {}
                }
                at += now;
            }
            if write {
                flush(self.unit);
            }
        }
        faults.check(
            "final-stamp",
            &self.name,
            &alloc::format!("{blocks} blocks of generation {FINAL_GENERATION:#x}"),
        );
        crate::note!(
            "final stamp: owner={:#x} blocks={blocks} block-size={} seed={:x}",
            self.owner,
            self.block,
            self.seed
        );
    }
}

/// A wrong block in words.
pub fn describe(lba: u64, generation: u32, mismatch: Mismatch) -> String {
    match mismatch {
        Mismatch::NoStamp(bytes) => alloc::format!("block {lba}: no stamp, starts with {bytes:02x?}"),
        Mismatch::Other(found) => alloc::format!(
            "block {lba} generation {generation}: holds block {} generation {} owner {:#x} seed {:x}",
            found.lba,
            found.generation,
            found.owner,
            found.seed
        ),
        Mismatch::Filler(offset) => {
            alloc::format!("block {lba} generation {generation}: wrong byte at offset {offset}")
        }
    }
}
