//! `scsi-compliance`: whether what class drivers see is a SCSI target. The counterpart of the HLK's "SCSI Compliance
//! Test (LOGO)": each mandatory command must be there and keep to the standard, each optional one only if it is
//! there.
//!
//! The standards are SPC-4, SBC-3 for disks and MMC-6 for CD-ROMs. Reserved *fields* are never tried: a target need
//! not look at them (SPC-4 3.5). Reserved *values* of defined fields are, because those must be refused.
//!
//! A virtio-blk driver is the target itself, so all that fails is its own fault. Behind virtio-scsi the target is
//! QEMU's. There too everything is checked, since a wrong length or a lost sense byte shows in the contents as well;
//! only what QEMU (10.0; scsi-disk.c, scsi-bus.c, virtio-scsi.c in hw/scsi) is known to do against the standard is
//! not held against the driver. That is the list of [`DEVIATIONS`], and three habits that every answer shows:
//!
//! - Answers are padded with zeroes to the allocation length, where SPC-4 4.2.5.6 ends them with the data there is. The
//!   padding is moved and counted, so DataTransferLength must count it too ([`allocation`]).
//! - ADDITIONAL LENGTH in standard INQUIRY data follows the allocation length, and REPORT LUNS data ends at a whole
//!   LUN.
//! - The residual of a command that moves nothing is 0, where virtio 1.3 5.6.6.1.1 wants the length of the buffer. All
//!   that a driver can tell then is that the whole buffer was used; whether it was left alone is checked all the same.

mod agreement;
mod allocation;
mod blocks;
mod capacity;
mod inquiry;
mod luns;
mod mode;
mod mode_select;
mod probe;
mod provisioning;
mod refusals;
mod status;
mod tight;

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use stand::cmdline::Options;
use stand::spc::{Capacity16, Extent, ModeData};

use crate::scan::class;
use crate::scan::{CDROM, DISK, Unit};
use crate::storport::port;

const LONG_BUFFER: &str =
    "it fills the whole buffer, whatever the CDB asks for, and the residual is negative";

/// Checks that QEMU's own targets fail, with the reason and the kind of unit.
const DEVIATIONS: &[(&[u8], &str, &str)] = &[
    (
        &[DISK, CDROM],
        "vpd-83-names-the-unit",
        "without a wwn the only designator is the serial number, of the vendor-specific type",
    ),
    (&[CDROM], "vpd-unlisted-refused", "it answers pages b1 and b2 of CD-ROMs, which it does not list"),
    (&[CDROM], "agree-provisioning", "LBPME is set for CD-ROMs, which have no page b2"),
    (&[DISK, CDROM], "agree-transfer-length", "the target does not know the adapter's limits"),
    (&[DISK, CDROM], "report-luns-select-1", "SELECT REPORT 1 lists the same LUNs as 0"),
    (
        &[DISK, CDROM],
        "request-sense-fixed",
        "sense data that went out with its status is kept for REQUEST SENSE",
    ),
    (&[DISK], "send-diagnostic", "the command is not implemented"),
    (&[DISK, CDROM], "start-stop-unit-reserved-condition-refused", "POWER CONDITION is ignored"),
    (&[DISK, CDROM], "mode-sense-6-subpages-refused", "SUBPAGE CODE is ignored"),
    (&[DISK, CDROM], "mode-sense-10-subpages-refused", "SUBPAGE CODE is ignored"),
    (&[DISK, CDROM], "naca-refused", "the CONTROL byte is ignored"),
    (&[DISK, CDROM], "read-10-long-buffer", LONG_BUFFER),
    (&[DISK, CDROM], "read-12-long-buffer", LONG_BUFFER),
    (&[DISK, CDROM], "read-16-long-buffer", LONG_BUFFER),
    (&[DISK, CDROM], "verify-10-past-end-refused", "VERIFY does not look at its range"),
    (&[DISK, CDROM], "verify-12-past-end-refused", "VERIFY does not look at its range"),
    (&[DISK, CDROM], "verify-16-past-end-refused", "VERIFY does not look at its range"),
    (&[DISK, CDROM], "verify-10-zero-length-past-end-refused", "VERIFY does not look at its range"),
    (&[DISK, CDROM], "verify-12-zero-length-past-end-refused", "VERIFY does not look at its range"),
    (&[DISK, CDROM], "verify-16-zero-length-past-end-refused", "VERIFY does not look at its range"),
    (&[DISK], "verify-10-protection-refused", "VERIFY does not look at VRPROTECT"),
    (&[DISK], "verify-12-protection-refused", "VERIFY does not look at VRPROTECT"),
    (&[DISK], "verify-16-protection-refused", "VERIFY does not look at VRPROTECT"),
    (&[DISK], "write-same-16-ndob", "NDOB is ignored"),
    (&[DISK], "unmap-empty-list", "a list without descriptors is refused"),
    (&[DISK, CDROM], "synchronize-cache-10-past-end-refused", "SYNCHRONIZE CACHE does not look at its range"),
];

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
    /// Answers with an allocation length, for `tight`.
    answers: Vec<tight::Answer>,
    /// Requests sent, and those that wrote where they may not, with the first in words.
    sent: Cell<u32>,
    strays: RefCell<(u32, String)>,
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
            answers: Vec::new(),
            sent: Cell::new(0),
            strays: RefCell::default(),
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

    /// An answer without what QEMU's target pads it with.
    fn whole<'d>(&self, data: &'d [u8], extent: Extent) -> &'d [u8] {
        match extent.of(data) {
            Some(length) if self.passes_through => match data.split_at_checked(length) {
                Some((whole, padding)) if padding.iter().all(|byte| *byte == 0) => whole,
                _ => data,
            },
            _ => data,
        }
    }

    /// Counts a request.
    fn count(&self, stray: Option<&str>) {
        self.sent.set(self.sent.get() + 1);
        if let Some(text) = stray {
            let mut strays = self.strays.borrow_mut();
            strays.0 += 1;
            if strays.0 == 1 {
                strays.1 = text.into();
            }
        }
    }

    /// The check over all requests: the bytes before and behind each buffer, and all that was given to be read, are
    /// as they were.
    fn buffers_kept(&self) {
        let (count, first) = self.strays.borrow().clone();
        let sent = self.sent.get();
        let verdict = match count {
            0 => Ok(alloc::format!("{sent} requests")),
            _ => Err(alloc::format!("{count} of {sent} requests did; the first: {first}")),
        };
        self.check("no-write-outside-buffer", verdict);
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
        let known = DEVIATIONS.iter().find(|(kinds, check, _)| kinds.contains(&kind) && *check == name);
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
        luns::run(&mut target);
        crate::progress!("{}: READ CAPACITY", target.name);
        capacity::run(&mut target);
        crate::progress!("{}: MODE SENSE", target.name);
        mode::run(&mut target);
        crate::progress!("{}: status", target.name);
        status::run(&mut target);
        if target.geometry().is_some() {
            mode_select::run(&target);
            refusals::run(&target);
            crate::progress!("{}: blocks", target.name);
            blocks::run(&target);
            crate::progress!("{}: provisioning", target.name);
            provisioning::run(&target);
        } else {
            // Targets may say NOT READY to all of it, whatever else is wrong with the command.
            for subject in ["mode-select", "start-stop-unit", "send-diagnostic", "refusals", "blocks"] {
                target.skip(subject, "no medium");
            }
        }
        agreement::run(&target);
        target.buffers_kept();
        crate::progress!("{}: tight buffers", target.name);
        tight::run(&target);
        target.buffers_kept();
    }
    crate::console::check(tried > 0, "units-tried", format_args!("{tried} disk(s) and CD-ROM(s)"));
}
