//! The I/O pass: what a class driver does to a disk, with everything it reads and writes checked.

pub mod buffer;
mod cdrom;
pub mod disk;
pub mod transfer;

use alloc::vec::Vec;

use stand::cmdline::Options;
use stand::scsi;
use stand::stamp::SplitMix64;

use crate::scan::class::{self, Outcome};
use crate::scan::{CDROM, DISK, Unit};
use crate::storport::{control, port};

/// Runs the pass over every unit that holds data.
pub fn run(units: &[Unit], options: &Options) {
    port().limit = options.inflight as usize;
    let mut random = SplitMix64(options.seed);
    let mut disks = Vec::new();
    let mut seen = 0;
    for unit in units {
        match unit.inquiry.device_type {
            DISK if unit.capacity.is_some() => {
                seen += 1;
                if let Some(disk) = disk::Disk::new(unit, options, random.word()) {
                    disks.push(disk);
                }
            }
            CDROM if unit.capacity.is_some() => {
                seen += 1;
                cdrom::pass(unit, options, random.word());
            }
            _ => {}
        }
    }
    crate::console::check(seen > 0, "units-with-data", format_args!("{seen} disk(s) and CD-ROM(s)"));
    for disk in &mut disks {
        disk.pass();
    }
    // A power transition in the middle: what was written must be there afterwards, and the adapter must work.
    crate::progress!("stop and restart");
    let restarted = control::stop_and_restart();
    crate::console::check(restarted, "stop-restart", format_args!("ScsiStopAdapter, ScsiRestartAdapter"));
    if !restarted {
        crate::stop!("the adapter did not come back");
    }
    for disk in &mut disks {
        disk.finish();
    }
}

/// A command that must fail with sense data.
fn must_fail(name: &str, unit: &str, outcome: &Outcome) {
    let sense = matches!(outcome, Outcome::Sense(_));
    crate::console::check(sense, name, format_args!("{unit}: {outcome}"));
}

/// SYNCHRONIZE CACHE must succeed.
fn flush(unit: &Unit) {
    let (outcome, _) = class::send(unit.address, scsi::synchronize_cache(), 0);
    let good = matches!(outcome, Outcome::Good);
    crate::console::check(
        good,
        "flush",
        format_args!("{}: SYNCHRONIZE CACHE {outcome}", class::name(unit.address)),
    );
}
