//! The pass over a CD-ROM: the host-made medium is read and compared, and cannot be written.

use alloc::string::String;

use stand::cmdline::Options;
use stand::scsi;
use stand::stamp::{MEDIUM_GENERATION, SplitMix64, Stamp};

use super::buffer::Buffer;
use super::disk::describe;
use super::must_fail;
use super::transfer::Flights;
use crate::scan::Unit;
use crate::scan::class::{self, send};
use crate::storport::port;

/// Blocks compared at most.
const MOST: u64 = 4096;

/// Reads the medium in pieces of changing size, then tries what must fail.
pub fn pass(unit: &Unit, options: &Options, random: u64) {
    let Some(capacity) = unit.capacity else { return };
    let name = class::name(unit.address);
    let mut random = SplitMix64(random);
    let mut flights = Flights::new(unit.address, capacity.block_size, 1);
    flights.capacity = Some(capacity);
    let step = port().config.alignment_mask + 1;
    let blocks = capacity.blocks.min(MOST);
    let (mut at, mut faults, mut text) = (0, 0u32, String::new());
    crate::progress!("{name}: read the medium");
    while at < blocks {
        let now = (1 + random.below(64)).min(blocks - at);
        let offset = if step < 4096 { random.below(u64::from(4096 / step)) as u32 * step } else { 0 };
        let buffer = Buffer::new(now as u32 * capacity.block_size, offset);
        let mut read = flights.one(at, false, buffer, false);
        let mut fault = read.error.take();
        for index in 0..now {
            let expected =
                Stamp { lba: at + index, generation: MEDIUM_GENERATION, seed: options.seed, owner: 0 };
            if fault.is_some() {
                break;
            }
            if let Err(mismatch) = read.buffer.verify(index as usize, capacity.block_size, &expected) {
                fault = Some(describe(at + index, MEDIUM_GENERATION, mismatch));
            }
        }
        if let Some(fault) = fault {
            faults += 1;
            if faults <= 3 {
                text = alloc::format!("{text}; {fault}");
            }
        }
        at += now;
    }
    let detail = alloc::format!("{name}: {blocks} blocks read, {faults} fault(s){text}");
    crate::console::check(faults == 0, "medium", format_args!("{detail}"));
    let (outcome, _) = send(unit.address, scsi::transfer(true, 0, 1, false), capacity.block_size);
    must_fail("write-to-cd-rom", &name, &outcome);
    let (outcome, _) =
        send(unit.address, scsi::transfer(false, capacity.blocks, 1, false), capacity.block_size);
    must_fail("read-past-end", &name, &outcome);
}
