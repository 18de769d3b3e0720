//! Transfers for a device that may do anything with them: short, in places of their own for each slot, and what is read is compared
//! with what was written.

use alloc::vec::Vec;

use stand::cmdline::Options;
use stand::stamp::{self, SplitMix64, Stamp};

use super::BLOCK;
use crate::pass::buffer::Buffer;
use crate::pass::transfer::{Flights, Transfer};
use crate::storport::Address;

/// Transfers at once.
pub const DEPTH: usize = 16;
/// Blocks of a slot, and of a transfer.
const SHARE: u64 = 64;
const LENGTH: usize = 4;

/// The transfers, and what came of them.
pub struct Work {
    pub flights: Flights,
    owner: u32,
    random: SplitMix64,
    seed: u64,
    /// What each block of a slot holds: 0 is unknown.
    written: [[u32; SHARE as usize]; DEPTH],
    /// Transfers so far.
    pub started: u64,
    pub good: u64,
    pub failed: u64,
    /// Blocks that were read and are not what was written.
    pub wrong: u64,
}

impl Work {
    /// To a unit, with so many seconds for each request.
    pub fn new(unit: Address, options: &Options, timeout: u32) -> Self {
        let mut flights = Flights::new(unit, BLOCK, DEPTH);
        flights.timeout = timeout;
        Work {
            flights,
            owner: stamp::owner(unit.0, unit.1, unit.2),
            random: SplitMix64(options.seed),
            seed: options.seed,
            written: [[0; SHARE as usize]; DEPTH],
            started: 0,
            good: 0,
            failed: 0,
            wrong: 0,
        }
    }

    /// Starts a transfer in a slot that has none: a write, and next a read.
    pub fn start(&mut self, slot: usize) {
        let number = self.started;
        self.started += 1;
        let lba = slot as u64 * SHARE + self.random.below(SHARE - LENGTH as u64);
        let write = number.is_multiple_of(2);
        let mut buffer = Buffer::new(LENGTH as u32 * BLOCK, 0);
        if write {
            let stamp = Stamp { lba, generation: number as u32 + 1, seed: self.seed, owner: self.owner };
            buffer.fill(BLOCK, &stamp);
        }
        self.flights.start(slot, lba, write, buffer, false);
    }

    /// Starts one in every slot.
    pub fn start_all(&mut self) {
        for slot in 0..DEPTH {
            self.start(slot);
        }
    }

    /// Waits until all have ended, with others in their place until there have been `count`.
    pub fn finish(&mut self, count: u64) {
        loop {
            let ended = self.flights.finished();
            if ended.is_empty() {
                break;
            }
            self.take(ended, count);
        }
    }

    /// Takes those that have ended by now, with others in their place.
    pub fn step(&mut self) {
        let ended = self.flights.ended();
        self.take(ended, u64::MAX);
    }

    fn take(&mut self, ended: Vec<(usize, Transfer)>, count: u64) {
        for (slot, mut transfer) in ended {
            let first = (transfer.lba - slot as u64 * SHARE) as usize;
            let is_good = transfer.error.is_none();
            self.good += u64::from(is_good);
            self.failed += u64::from(!is_good);
            for index in 0..LENGTH {
                let generation = &mut self.written[slot][first + index];
                if transfer.write {
                    let bytes = transfer.buffer.bytes();
                    let new = u32::from_le_bytes([bytes[16], bytes[17], bytes[18], bytes[19]]);
                    *generation = if is_good { new } else { 0 };
                } else if is_good && *generation != 0 {
                    let lba = transfer.lba + index as u64;
                    let stamp = Stamp { lba, generation: *generation, seed: self.seed, owner: self.owner };
                    self.wrong += u64::from(transfer.buffer.verify(index, BLOCK, &stamp).is_err());
                }
            }
            if self.started < count {
                self.start(slot);
            }
        }
    }
}
