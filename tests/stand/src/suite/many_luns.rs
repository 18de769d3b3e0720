//! `many-luns`: as many targets and logical units as the adapter can have, all found, each the one it says it is, and all
//! at work at once. The runner gives unit L of target T the serial number `T<T>L<L>`; its medium reads as zeros.

use alloc::format;
use alloc::vec::Vec;

use stand::cmdline::Options;
use stand::scsi;

use crate::pass::buffer::Buffer;
use crate::scan::class::{self, Outcome, TIMEOUT, send};
use crate::scan::{DISK, Unit};
use crate::storport::request::Request;
use crate::storport::{extended, queue};

/// Tells this suite's requests from those of others.
const COOKIE: u64 = 0x4D4C << 32;
/// Blocks of a read.
const BLOCKS: u32 = 8;

/// Counts and names the units, then reads from all of them at once.
pub fn run(units: &[Unit], options: &Options) {
    let expected = options.units as usize;
    crate::console::check(
        units.len() == expected,
        "units-found",
        format_args!("{} of {expected} units", units.len()),
    );
    let mut wrong = Vec::new();
    let mut named = 0;
    for unit in units {
        let (_, target, lun) = unit.address;
        let (outcome, data) = send(unit.address, scsi::inquiry(Some(0x80), 255), 255);
        let serial = scsi::text(scsi::vpd(&data, 0x80).unwrap_or_default());
        if !serial.starts_with('T') {
            continue;
        }
        named += 1;
        if !matches!(outcome, Outcome::Good) || serial != format!("T{target}L{lun}") {
            wrong.push(format!("{} says '{serial}' ({outcome})", class::name(unit.address)));
        }
    }
    let text = wrong.join("; ");
    crate::console::check(
        wrong.is_empty() && named > 0,
        "units-are-themselves",
        format_args!("{named} units with a serial number of their own {text}"),
    );
    if options.far != 0 {
        let logged = extended::take_logged_units();
        crate::console::check(
            logged == [(options.far >> 16, options.far & 0xffff)],
            "unit-out-of-reach-is-logged-once",
            format_args!("{logged:?} as target and LUN"),
        );
    }
    for round in 0..if options.long { 50 } else { 3 } {
        crate::progress!("all units at once, round {round}");
        all_at_once(units, round);
    }
}

fn all_at_once(units: &[Unit], round: u64) {
    let mut buffers = Vec::new();
    for (index, unit) in units.iter().enumerate() {
        let Some(capacity) = unit.capacity.filter(|_| unit.inquiry.device_type == DISK) else { continue };
        if unit.address.1 < 2 {
            // The usual disks have data of their own.
            continue;
        }
        let buffer = Buffer::new(BLOCKS * capacity.block_size, 0);
        let command = scsi::transfer(false, round * u64::from(BLOCKS), BLOCKS, false);
        let mut request = Request::new(unit.address, command, buffer.part(0, buffer.length), TIMEOUT);
        request.cookie = COOKIE | index as u64;
        buffers.push((index, buffer));
        queue::submit(request);
    }
    let (mut done, mut faults) = (0, Vec::new());
    let in_time = queue::wait(u64::from(TIMEOUT) * 1000 + 30_000, || {
        for request in queue::take_done(|cookie| cookie >> 32 == COOKIE >> 32) {
            done += 1;
            let unit = &units[request.cookie as u32 as usize];
            let answer = &request.answer;
            if request.address != unit.address
                || !matches!(Outcome::of(answer), Outcome::Good)
                || answer.transferred != request.data.length
            {
                faults.push(format!("{}: {}", request.text(), answer.text()));
            }
        }
        done == buffers.len()
    });
    for (index, buffer) in &mut buffers {
        if buffer.bytes().iter().any(|byte| *byte != 0) {
            faults.push(format!("{}: not all zeros", class::name(units[*index].address)));
        }
    }
    let text = faults.iter().take(4).cloned().collect::<Vec<_>>().join("; ");
    crate::console::check(
        in_time && faults.is_empty() && done > 0,
        "all-units-at-once",
        format_args!("{done} reads, {} fault(s) {text}", faults.len()),
    );
}
