//! `scsi-compliance`: whether what class drivers see is a SCSI target. The counterpart of the HLK's "SCSI Compliance Test
//! (LOGO)": each mandatory command must be there and keep to the standard, each optional one only if it is there.
//!
//! The standards are SPC-4, SBC-3 for disks and MMC-6 for CD-ROMs. Reserved *fields* are never tried: a target need not look
//! at them (SPC-4 3.5). Reserved *values* of defined fields are, because those must be refused.
//!
//! A virtio-blk driver is the target itself, so all that fails is its own fault. Behind virtio-scsi the target is QEMU's.
//! There too everything is checked, since a wrong length or a lost sense byte shows in the contents as well; only
//! what QEMU is known to do against the standard, listed in [`DEVIATIONS`], is not held against the driver.

mod agreement;
mod allocation;
mod blocks;
mod capacity;
mod inquiry;
mod luns;
mod mode;
mod mode_select;
mod probe;
mod refusals;
mod status;

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use stand::cmdline::Options;
use stand::spc::{Capacity16, ModeData};

use crate::scan::class;
use crate::scan::{CDROM, DISK, Unit};
use crate::storport::port;

/// Checks that QEMU's own targets fail, with the reason and the kind of unit.
const DEVIATIONS: &[(u8, &str, &str)] = &[];

/// A unit under test, and what it said so far.
struct Target<'a> {
    unit: &'a Unit,
    name: String,
    /// The driver passes commands through; a device is the target.
    passes_through: bool,
    /// Standard INQUIRY data.
    inquiry: Vec<u8>,
    /// VPD pages, whole.
    pages: BTreeMap<u8, Vec<u8>>,
    /// READ CAPACITY (10): last block and block length.
    capacity_10: Option<(u32, u32)>,
    /// READ CAPACITY (16).
    capacity_16: Option<Capacity16>,
    /// All current pages by MODE SENSE (6) and (10).
    mode_6: Option<ModeData>,
    /// The same by MODE SENSE (10).
    mode_10: Option<ModeData>,
}

impl<'a> Target<'a> {
    fn new(unit: &'a Unit) -> Self {
        let passes_through =
            port().function.is_some_and(|function| matches!(function.id(), (0x1AF4, 0x1004 | 0x1048)));
        Target {
            unit,
            name: class::name(unit.address),
            passes_through,
            inquiry: Vec::new(),
            pages: BTreeMap::new(),
            capacity_10: None,
            capacity_16: None,
            mode_6: None,
            mode_10: None,
        }
    }

    fn is_disk(&self) -> bool {
        self.unit.inquiry.device_type == DISK
    }

    fn is_cdrom(&self) -> bool {
        self.unit.inquiry.device_type == CDROM
    }

    /// Block length in bytes and number of the last block, when there is a medium.
    fn geometry(&self) -> Option<(u32, u64)> {
        self.unit.capacity.map(|capacity| (capacity.block_size, capacity.blocks - 1))
    }

    /// A check: what was seen, or what is wrong.
    fn check(&self, name: &str, verdict: Result<String, String>) {
        match verdict {
            Ok(text) => crate::ok!(name, "{}: {text}", self.name),
            Err(text) => match self.deviation(name) {
                Some(why) => {
                    crate::skip!(name, "{}: QEMU's target, not the driver: {why} ({text})", self.name)
                }
                None => crate::not_ok!(name, "{}: {text}", self.name),
            },
        }
    }

    fn deviation(&self, name: &str) -> Option<&'static str> {
        let kind = self.unit.inquiry.device_type;
        let known = DEVIATIONS.iter().find(|(of, check, _)| *of == kind && *check == name);
        known.filter(|_| self.passes_through).map(|(_, _, why)| *why)
    }

    /// Something optional that is not there.
    fn skip(&self, name: &str, why: &str) {
        crate::skip!(name, "{}: {why}", self.name);
    }
}

/// Runs the suite over every unit.
pub fn run(units: &[Unit], options: &Options) {
    port().limit = options.inflight as usize;
    let mut tried = 0;
    for unit in units {
        let mut target = Target::new(unit);
        if !target.is_disk() && !target.is_cdrom() {
            crate::note!("{}: neither disk nor CD-ROM, not tried", target.name);
            continue;
        }
        tried += 1;
        crate::progress!("{}: INQUIRY", target.name);
        inquiry::run(&mut target);
        crate::progress!("{}: REPORT LUNS", target.name);
        luns::run(&target);
        crate::progress!("{}: READ CAPACITY", target.name);
        capacity::run(&mut target);
        crate::progress!("{}: MODE SENSE", target.name);
        mode::run(&mut target);
        mode_select::run(&target);
        crate::progress!("{}: status", target.name);
        status::run(&target);
        refusals::run(&target);
        crate::progress!("{}: blocks", target.name);
        blocks::run(&target);
        agreement::run(&target);
    }
    crate::console::check(tried > 0, "units-tried", format_args!("{tried} disk(s) and CD-ROM(s)"));
}
