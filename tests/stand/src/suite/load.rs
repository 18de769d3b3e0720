//! Work for the adapter while something else happens to it: stamped writes and their read-back on every disk, from all
//! processors. Each slot owns a part of its disk, so that what a block must hold is always known.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use stand::class::Status;
use stand::cmdline::Options;
use stand::stamp::{self, SplitMix64, Stamp};

use crate::pass::buffer::Buffer;
use crate::pass::disk::describe;
use crate::pass::transfer::{Flights, Transfer};
use crate::scan::{DISK, Unit, class};
use crate::storport::{Address, port};

/// Blocks a slot owns at most.
const SHARE: u64 = 2048;
/// Blocks of one transfer at most.
const MOST: u64 = 128;

/// What a slot owns and has done.
struct Slot {
    first: u64,
    /// Generation of each block; 0 is never written.
    generations: Vec<u32>,
    /// Written last and not read back yet.
    last: Option<(u64, u32)>,
    /// First block and number of what is to be read back before anything new is written.
    due: Vec<(u64, u32)>,
}

/// The load on one disk.
struct Lane {
    name: String,
    block: u32,
    owner: u32,
    seed: u64,
    random: SplitMix64,
    generation: u32,
    slots: Vec<Slot>,
    flights: Flights,
}

/// Work on all disks.
pub struct Load {
    lanes: Vec<Lane>,
    alignment: u64,
    stopping: bool,
    /// Transfers that ended well.
    pub done: u64,
    /// What went wrong, in words; the first few.
    pub faults: Vec<String>,
    /// How much went wrong.
    pub failures: u64,
    /// How much of that was data that was not what had been written.
    pub wrong: u64,
    /// Blocks that were read and held what had been written.
    pub verified: u64,
    /// What the application was told of transfers that failed, and how often.
    pub statuses: BTreeMap<u32, u64>,
}

impl Load {
    /// Prepares work with `depth` transfers at once on each disk.
    pub fn new(units: &[Unit], options: &Options, depth: usize) -> Self {
        Self::on_part(units, options, depth, SHARE)
    }

    /// The same, where each of them owns so many blocks at most.
    pub fn on_part(units: &[Unit], options: &Options, depth: usize, most: u64) -> Self {
        let mut random = SplitMix64(options.seed ^ 0x10AD);
        let mut lanes = Vec::new();
        for unit in units.iter().filter(|unit| unit.inquiry.device_type == DISK) {
            let Some(capacity) = unit.capacity else { continue };
            let share = (capacity.blocks / depth as u64).min(most);
            if share < 8 {
                crate::note!("{}: too small for {depth} at once", class::name(unit.address));
                continue;
            }
            let slots = (0..depth as u64)
                .map(|slot| Slot {
                    first: slot * share,
                    generations: vec![0; share as usize],
                    last: None,
                    due: Vec::new(),
                })
                .collect();
            let (path, target, lun) = unit.address;
            let mut flights = Flights::new(unit.address, capacity.block_size, depth);
            flights.capacity = Some(capacity);
            lanes.push(Lane {
                name: class::name(unit.address),
                block: capacity.block_size,
                owner: stamp::owner(path, target, lun),
                seed: options.seed,
                random: SplitMix64(random.word()),
                generation: 0,
                slots,
                flights,
            });
        }
        let alignment = u64::from(port().config.alignment_mask) + 1;
        Load {
            lanes,
            alignment,
            stopping: false,
            done: 0,
            faults: Vec::new(),
            failures: 0,
            wrong: 0,
            verified: 0,
            statuses: BTreeMap::new(),
        }
    }

    /// Gives each request so many seconds.
    pub fn time_out_after(&mut self, seconds: u32) {
        for lane in &mut self.lanes {
            lane.flights.timeout = seconds;
        }
    }

    /// Sends no request a second time.
    pub fn try_once(&mut self) {
        self.retry(0);
    }

    /// Sends a request again so often at most.
    pub fn retry(&mut self, retries: u8) {
        for lane in &mut self.lanes {
            lane.flights.retries = retries;
        }
    }

    /// Sends it again at once.
    pub fn retry_at_once(&mut self) {
        for lane in &mut self.lanes {
            lane.flights.longest_pause = 0;
        }
    }

    /// The disk, which must be the only one and idle, is at another address now.
    pub fn move_to(&mut self, address: Address) {
        for lane in &mut self.lanes {
            lane.flights.move_to(address);
            lane.name = class::name(address);
        }
    }

    /// Begins no more transfers; those under way go on.
    pub fn stop(&mut self) {
        self.stopping = true;
    }

    /// Whether no transfer is under way.
    pub fn is_idle(&self) -> bool {
        self.lanes.iter().all(|lane| (0..lane.slots.len()).all(|slot| lane.flights.is_free(slot)))
    }

    /// Has everything that was ever written read back before anything new is written.
    pub fn recheck(&mut self) {
        for slot in self.lanes.iter_mut().flat_map(|lane| &mut lane.slots) {
            slot.last = None;
            let end = slot.first + slot.generations.len() as u64;
            let piece = |lba: u64| (lba, MOST.min(end - lba) as u32);
            slot.due = (slot.first..end).step_by(MOST as usize).map(piece).collect();
        }
    }

    /// Whether it has been.
    pub fn is_rechecked(&self) -> bool {
        self.lanes.iter().flat_map(|lane| &lane.slots).all(|slot| slot.due.is_empty())
    }

    /// Whether there is no disk to work on.
    pub fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// Starts a transfer in every slot that has none, without waiting for any.
    pub fn start(&mut self) {
        self.stopping = false;
        for lane in 0..self.lanes.len() {
            for slot in 0..self.lanes[lane].slots.len() {
                if self.lanes[lane].flights.is_free(slot) {
                    self.next(lane, slot);
                }
            }
        }
    }

    /// Takes what has ended, verifies it, and starts the next, until `count` transfers more have ended.
    pub fn work(&mut self, count: u64) {
        let until = self.done + self.failures + count;
        self.start();
        while self.done + self.failures < until && !self.lanes.is_empty() {
            self.poll();
            crate::storport::queue::turn();
        }
    }

    /// Takes what has ended by now, and starts the next in its place.
    pub fn poll(&mut self) {
        for lane in 0..self.lanes.len() {
            let ended = self.lanes[lane].flights.ended();
            self.settle(lane, ended);
        }
    }

    /// Waits for everything that is under way.
    pub fn finish(&mut self) {
        self.stopping = true;
        for lane in 0..self.lanes.len() {
            loop {
                let ended = self.lanes[lane].flights.finished();
                if ended.is_empty() {
                    break;
                }
                self.settle(lane, ended);
            }
        }
    }

    /// Waits for everything that is under way, however it ends.
    pub fn abandon(&mut self) {
        self.finish();
        self.failures = 0;
        self.faults.clear();
    }

    /// Reads everything that was ever written and compares it.
    pub fn verify(&mut self) {
        self.finish();
        for lane in 0..self.lanes.len() {
            for slot in 0..self.lanes[lane].slots.len() {
                let (first, blocks) = {
                    let slot = &self.lanes[lane].slots[slot];
                    (slot.first, slot.generations.len() as u64)
                };
                let mut at = 0;
                while at < blocks {
                    let now = MOST.min(blocks - at);
                    let buffer = Buffer::new(now as u32 * self.lanes[lane].block, 0);
                    let mut read = self.lanes[lane].flights.one(first + at, false, buffer, false);
                    self.take(lane, slot, &mut read);
                    at += now;
                }
            }
        }
    }

    /// Says how it went.
    pub fn report(&self, check: &str, what: &str) {
        let text = self.faults.join("; ");
        crate::console::check(
            self.failures == 0,
            check,
            format_args!("{what}: {} transfers, {} fault(s) {text}", self.done, self.failures),
        );
    }

    fn settle(&mut self, lane: usize, ended: Vec<(usize, Transfer)>) {
        for (slot, mut transfer) in ended {
            self.take(lane, slot, &mut transfer);
            drop(transfer);
            if !self.stopping {
                self.next(lane, slot);
            }
        }
    }

    /// Judges a transfer that has ended.
    fn take(&mut self, index: usize, slot: usize, transfer: &mut Transfer) {
        let lane = &mut self.lanes[index];
        let (owner, block, seed) = (lane.owner, lane.block, lane.seed);
        let slot = &mut lane.slots[slot];
        let start = (transfer.lba - slot.first) as usize;
        let blocks = (transfer.buffer.length / block) as usize;
        let mut fault = transfer.error.take();
        if fault.is_some() && transfer.status != Status::SUCCESS {
            *self.statuses.entry(transfer.status.0).or_default() += 1;
        }
        if transfer.write {
            // The stamp in the buffer says which generation went out. After a failure either may be there.
            let bytes = transfer.buffer.bytes();
            let generation = u32::from_le_bytes([bytes[16], bytes[17], bytes[18], bytes[19]]);
            let generation = if fault.is_some() { 0 } else { generation };
            slot.generations[start..start + blocks].fill(generation);
            if fault.is_none() {
                slot.last = Some((transfer.lba, transfer.buffer.length));
            }
        } else if fault.is_none() {
            for block_index in 0..blocks {
                let generation = slot.generations[start + block_index];
                let lba = transfer.lba + block_index as u64;
                let expected = Stamp { lba, generation, seed, owner };
                if generation == 0 {
                    continue;
                }
                if let Err(mismatch) = transfer.buffer.verify(block_index, block, &expected) {
                    fault = Some(describe(lba, generation, mismatch));
                    self.wrong += 1;
                    break;
                }
                self.verified += 1;
            }
        }
        match fault {
            None => self.done += 1,
            Some(fault) => {
                self.failures += 1;
                if self.faults.len() < 4 {
                    self.faults.push(alloc::format!("{}: {fault}", self.lanes[index].name));
                }
            }
        }
    }

    fn next(&mut self, index: usize, slot: usize) {
        let alignment = self.alignment;
        let lane = &mut self.lanes[index];
        let wide = lane.random.below(4) == 0;
        let offset = if lane.random.below(2) == 0 || alignment >= 4096 {
            0
        } else {
            (lane.random.below(4096 / alignment) * alignment) as u32
        };
        if let Some((lba, blocks)) = lane.slots[slot].due.pop() {
            lane.flights.start(slot, lba, false, Buffer::new(blocks * lane.block, offset), wide);
            return;
        }
        if let Some((lba, length)) = lane.slots[slot].last.take() {
            lane.flights.start(slot, lba, false, Buffer::new(length, offset), wide);
            return;
        }
        let (first, share) = (lane.slots[slot].first, lane.slots[slot].generations.len() as u64);
        let blocks = 1 + lane.random.below(MOST.min(share));
        let lba = first + lane.random.below(share - blocks + 1);
        lane.generation += 1;
        let mut buffer = Buffer::new(blocks as u32 * lane.block, offset);
        buffer.fill(
            lane.block,
            &Stamp { lba, generation: lane.generation, seed: lane.seed, owner: lane.owner },
        );
        lane.flights.start(slot, lba, true, buffer, wide);
    }
}
