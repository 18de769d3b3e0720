//! READ, WRITE, VERIFY and SYNCHRONIZE CACHE in all their forms (SBC-3 5.7 to 5.47): the edges, not the data, which
//! is the subject of other suites. What is written is what was read there before.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use stand::scsi::{Command, Direction, Sense};
use stand::spc;

use super::Target;
use super::probe::{self, Faults, INVALID_FIELD_IN_CDB, LBA_OUT_OF_RANGE, Reply};

const WRITE_PROTECTED: Sense = Sense { key: 7, asc: 0x27, ascq: 0 };
const MISCOMPARE: Sense = Sense { key: 0xE, asc: 0x1D, ascq: 0 };
/// DPO and FUA in byte 1.
const DPO: u8 = 0x10;
const FUA: u8 = 0x08;
/// IMMED of SYNCHRONIZE CACHE.
const IMMED: u8 = 0x02;
/// DPOFUA and WP of the DEVICE-SPECIFIC PARAMETER (SBC-3 6.4.1).
const DPOFUA: u8 = 0x10;
const WP: u8 = 0x80;

/// A family of commands that name a range of blocks.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    label: &'static str,
    code: u8,
    mandatory: bool,
    direction: Direction,
}

const fn kind(
    name: &'static str,
    label: &'static str,
    code: u8,
    mandatory: bool,
    direction: Direction,
) -> Kind {
    Kind { name, label, code, mandatory, direction }
}

/// SBC-3 table 13 says which are mandatory. READ (16) is not one of CD-ROMs (MMC-6), where READ (12) is not one of
/// all profiles either.
const READS: [Kind; 3] = [
    kind("read-10", "READ(10)", 0x28, true, Direction::In),
    kind("read-12", "READ(12)", 0xA8, false, Direction::In),
    kind("read-16", "READ(16)", 0x88, true, Direction::In),
];
const WRITES: [Kind; 3] = [
    kind("write-10", "WRITE(10)", 0x2A, false, Direction::Out),
    kind("write-12", "WRITE(12)", 0xAA, false, Direction::Out),
    kind("write-16", "WRITE(16)", 0x8A, false, Direction::Out),
];
const VERIFIES: [Kind; 3] = [
    kind("verify-10", "VERIFY(10)", 0x2F, false, Direction::None),
    kind("verify-12", "VERIFY(12)", 0xAF, false, Direction::None),
    kind("verify-16", "VERIFY(16)", 0x8F, false, Direction::None),
];
const FLUSHES: [Kind; 2] = [
    kind("synchronize-cache-10", "SYNCHRONIZE CACHE(10)", 0x35, false, Direction::None),
    kind("synchronize-cache-16", "SYNCHRONIZE CACHE(16)", 0x91, false, Direction::None),
];

impl Kind {
    fn command(self, flags: u8, lba: u64, blocks: u32) -> Command {
        spc::range_command(self.label, self.direction, self.code, flags, lba, blocks)
    }

    /// Largest block address it can name.
    fn highest(self) -> u64 {
        if spc::cdb_length(self.code) == 16 { u64::MAX } else { u64::from(u32::MAX) }
    }
}

/// The disk at hand.
struct Blocks<'t, 'u> {
    target: &'t Target<'u>,
    block: usize,
    last: u64,
    /// DEVICE-SPECIFIC PARAMETER, where there is one.
    device_specific: Option<u8>,
    /// Contents of the first two blocks.
    first: Vec<u8>,
}

/// Everything about blocks.
pub fn run(target: &Target<'_>) {
    let Some((block, last)) = target.geometry() else {
        return target.skip("blocks", "no medium");
    };
    let mode = target.mode_10.as_ref().or(target.mode_6.as_ref());
    let mut blocks = Blocks {
        target,
        block: block as usize,
        last,
        device_specific: mode.filter(|_| target.is_disk()).map(|mode| mode.device_specific),
        first: Vec::new(),
    };
    let reply = blocks.send(READS[0], 0, 0, 2, None);
    blocks.first = reply.data().unwrap_or_default().to_vec();
    let verdict = match reply.succeeded() {
        Ok(()) if blocks.first.len() != 2 * blocks.block => Err(format!("{} bytes", blocks.first.len())),
        other => other,
    };
    let readable = verdict.is_ok();
    target.check("read-first-blocks", verdict.map(|()| "2 blocks".into()));
    if !readable {
        return;
    }
    for kind in READS {
        blocks.read(kind);
    }
    if target.is_disk() {
        for kind in WRITES {
            blocks.write(kind);
        }
    }
    for kind in VERIFIES {
        blocks.verify(kind);
    }
    for kind in FLUSHES {
        blocks.flush(kind);
    }
    let reply = blocks.send(READS[0], 0, 0, 2, None);
    let same = reply.data().is_ok_and(|data| data == blocks.first);
    let verdict = if same { Ok("the first blocks are as before".into()) } else { Err(reply.text()) };
    target.check("contents-kept", verdict);
}

impl Blocks<'_, '_> {
    /// Sends a command for `count` blocks with a buffer for them: `data`, or the right amount of pattern to read into.
    fn send(&self, kind: Kind, flags: u8, lba: u64, count: u32, data: Option<&[u8]>) -> Reply {
        let command = kind.command(flags, lba, count);
        let room = count as usize * self.block;
        match (kind.direction, data) {
            (_, Some(data)) => {
                probe::write(self.target, Command { direction: Direction::Out, ..command }, data)
            }
            (Direction::In, None) => probe::read(self.target, command, room),
            (Direction::Out, None) => probe::write(self.target, command, &alloc::vec![0; room]),
            (Direction::None, None) => probe::plain(self.target, command),
        }
    }

    fn check(&self, kind: Kind, what: &str, verdict: Result<(), String>, good: &str) {
        self.target.check(&format!("{}-{what}", kind.name), verdict.map(|()| good.into()));
    }

    /// Whether the command is there; says so if it is not.
    fn implemented(&self, kind: Kind) -> bool {
        let data = (kind.direction == Direction::Out).then(|| &self.first[..self.block]);
        let reply = self.send(kind, 0, 0, 1, data);
        if reply.rejected() {
            // One failure, not one of each check that follows.
            let text = format!("not implemented, but not refused with 20/00: {}", reply.text());
            self.target.check(kind.name, Err(text));
            return false;
        }
        if !reply.unknown() {
            return true;
        }
        if kind.mandatory && self.target.is_disk() {
            self.target.check(kind.name, Err(format!("{} is mandatory and unknown", kind.label)));
        } else {
            self.target.skip(kind.name, "the command is optional and not implemented");
        }
        false
    }

    /// Ranges that are not on the medium, or not all of them: all refused with LBA OUT OF RANGE, nothing moved.
    fn past_the_end(&self, kind: Kind, flags: u8) {
        let mut tries =
            alloc::vec![(self.last + 1, 1), (self.last, 2), (self.last - 1, 4), (kind.highest(), 1)];
        if spc::cdb_length(kind.code) == 16 {
            // 2^32 blocks on: a target that cuts the address off would find blocks there. The others overflow when the
            // length is added or when blocks are turned into bytes or 512-byte sectors.
            tries.extend([
                (1 << 32, 1),
                (1 << 63, 1),
                (u64::MAX, 2),
                (u64::MAX - 1, 4),
                (1 << 61, 1),
                (1 << 55, 1),
            ]);
        }
        let mut faults = Faults::default();
        for (lba, count) in tries.iter().copied().filter(|(lba, _)| *lba <= kind.highest()) {
            let reply = self.send(kind, flags, lba, count, None);
            faults.note(&format!("block {lba}, {count} blocks"), reply.refused(&[LBA_OUT_OF_RANGE]));
        }
        let good = format!("{} ranges", tries.len());
        self.target.check(&format!("{}-past-end-refused", kind.name), faults.verdict(good));
    }

    /// SBC-3: a length of 0 is no error and moves nothing, wherever on the medium; behind it the address is wrong.
    fn zero_length(&self, kind: Kind, flags: u8) {
        let mut faults = Faults::default();
        for lba in [0, 1, self.last] {
            let reply = self.send(kind, flags, lba, 0, None);
            faults.note(&format!("block {lba}"), reply.moved_nothing());
        }
        self.target
            .check(&format!("{}-zero-length", kind.name), faults.verdict("first, second, last block".into()));
        let reply = self.send(kind, flags, self.last + 2, 0, None);
        self.check(kind, "zero-length-past-end-refused", reply.refused(&[LBA_OUT_OF_RANGE]), "refused");
    }

    fn read(&self, kind: Kind) {
        if !self.implemented(kind) {
            return;
        }
        let reply = self.send(kind, 0, 0, 2, None);
        let verdict =
            reply.data().and_then(|data| if data == self.first { Ok(()) } else { Err(reply.text()) });
        self.check(kind, "data", verdict, "2 blocks, as READ(10) gives them");
        let reply = self.send(kind, 0, self.last, 1, None);
        let whole = reply.data().map(<[u8]>::len);
        let verdict = whole.and_then(|moved| if moved == self.block { Ok(()) } else { Err(reply.text()) });
        self.check(kind, "last-block", verdict, "the last block");
        self.zero_length(kind, 0);
        // A buffer is there, but the CDB asks for nothing.
        let reply = probe::read(self.target, kind.command(0, 0, 0), self.block);
        self.check(kind, "zero-length-with-buffer", reply.moved_nothing(), "a buffer is left alone");
        self.long_buffer(kind);
        self.past_the_end(kind, 0);
        self.protection(kind);
        let mut faults = Faults::default();
        for (name, flags) in [("DPO", DPO), ("FUA", FUA), ("both", DPO | FUA)] {
            let reply = self.send(kind, flags, 0, 1, None);
            let verdict = match self.device_specific {
                Some(parameter) if parameter & DPOFUA != 0 => reply.succeeded(),
                // FUA changes nothing about the data read, so both answers are right where it is not claimed.
                _ if reply.good() => Ok(()),
                _ => reply.refused(&[INVALID_FIELD_IN_CDB]),
            };
            faults.note(name, verdict);
        }
        let check = format!("{}-dpo-fua", kind.name);
        self.target.check(&check, faults.verdict(format!("DPOFUA {}", self.claims(DPOFUA))));
    }

    fn claims(&self, bit: u8) -> &'static str {
        match self.device_specific {
            Some(parameter) if parameter & bit != 0 => "1",
            Some(_) => "0",
            None => "unknown",
        }
    }

    /// A buffer larger than the CDB's blocks: the request moves just those and says so, or fails. Never more.
    fn long_buffer(&self, kind: Kind) {
        let reply = probe::read(self.target, kind.command(0, 0, 1), 2 * self.block);
        let verdict = if reply.good() {
            spc::prefix(&self.first, &reply.moved(self.block))
                .map_err(|text| format!("{text}, {:?}: {}", reply.untouched(), reply.text()))
        } else {
            reply.untouched()
        };
        self.check(kind, "long-buffer", verdict, "no more than the CDB asks for");
    }

    /// RDPROTECT, WRPROTECT and VRPROTECT without protection information (SBC-3 tables 42, 70, 77): refused.
    fn protection(&self, kind: Kind) {
        let check = format!("{}-protection-refused", kind.name);
        if self.target.is_cdrom() {
            // The bits are reserved in MMC-6.
            return;
        }
        if self.target.inquiry.get(5).is_some_and(|byte| byte & 1 != 0) {
            return self.target.skip(&check, "the unit supports protection information");
        }
        let mut faults = Faults::default();
        for value in [1, 3, 7] {
            let data = (kind.direction == Direction::Out).then(|| &self.first[..self.block]);
            let reply = self.send(kind, value << 5, 0, 1, data);
            faults.note(&format!("{value}"), reply.refused(&[INVALID_FIELD_IN_CDB]));
        }
        self.target.check(&check, faults.verdict("1, 3 and 7".into()));
    }

    fn write(&self, kind: Kind) {
        if !self.implemented(kind) {
            return;
        }
        let first = &self.first[..self.block];
        if self.device_specific.is_some_and(|parameter| parameter & WP != 0) {
            let reply = self.send(kind, 0, 0, 1, Some(first));
            self.check(kind, "write-protected", reply.refused(&[WRITE_PROTECTED]), "WP 1: refused");
            return;
        }
        let reply = self.send(kind, 0, 0, 1, Some(first));
        self.check(kind, "data", self.moved(&reply), "a block");
        self.zero_length(kind, 0);
        let reply = probe::write(self.target, kind.command(0, 0, 0), &alloc::vec![0xEE; self.block]);
        self.check(kind, "zero-length-with-buffer", reply.moved_nothing(), "a buffer is not written");
        self.past_the_end(kind, 0);
        self.protection(kind);
        let cached = self
            .target
            .mode_10
            .as_ref()
            .or(self.target.mode_6.as_ref())
            .is_none_or(|mode| mode.pages.iter().any(|page| page.code == 8 && page.bytes[2] & 4 != 0));
        let mut faults = Faults::default();
        for (name, flags) in [("DPO", DPO), ("FUA", FUA), ("both", DPO | FUA)] {
            let reply = self.send(kind, flags, 0, 1, Some(first));
            let verdict = match self.device_specific {
                Some(parameter) if parameter & DPOFUA != 0 => self.moved(&reply),
                // Not claimed: FUA that is taken and not kept would lose a promised write, so with a write cache it
                // must be refused. DPO is a hint, which may be ignored. QEMU's target flushes after such a write
                // (scsi-disk.c), claimed or not.
                _ if flags & FUA != 0 && cached && !self.target.passes_through => {
                    reply.refused(&[INVALID_FIELD_IN_CDB])
                }
                _ if reply.good() => self.moved(&reply),
                _ => reply.refused(&[INVALID_FIELD_IN_CDB]),
            };
            faults.note(name, verdict);
        }
        let check = format!("{}-dpo-fua", kind.name);
        let good =
            format!("DPOFUA {}, write cache {}", self.claims(DPOFUA), if cached { "on" } else { "off" });
        self.target.check(&check, faults.verdict(good));
    }

    fn moved(&self, reply: &Reply) -> Result<(), String> {
        reply.succeeded()?;
        match reply.transferred() == self.block {
            true => Ok(()),
            false => Err(format!("DataTransferLength {} and not {}", reply.transferred(), self.block)),
        }
    }

    fn verify(&self, kind: Kind) {
        const BYTCHK: u8 = 0x02;
        if !self.implemented(kind) {
            return;
        }
        let reply = self.send(kind, 0, 0, 2, None);
        self.check(kind, "medium", reply.moved_nothing(), "2 blocks, BYTCHK 0");
        self.zero_length(kind, 0);
        self.past_the_end(kind, 0);
        self.protection(kind);
        let first = &self.first[..self.block];
        let reply = self.send(kind, BYTCHK, 0, 1, Some(first));
        if reply.refused(&[INVALID_FIELD_IN_CDB]).is_ok() {
            return self.target.skip(&format!("{}-compare", kind.name), "BYTCHK 1 is not supported");
        }
        self.check(kind, "compare", self.moved(&reply), "BYTCHK 1, the same data");
        let mut other = first.to_vec();
        other[self.block - 1] ^= 1;
        let reply = self.send(kind, BYTCHK, 0, 1, Some(&other));
        self.check(kind, "miscompare", reply.refused(&[MISCOMPARE]), "BYTCHK 1, one bit different");
    }

    fn flush(&self, kind: Kind) {
        if !self.implemented(kind) {
            return;
        }
        // Zero blocks mean all from the address on (SBC-3 5.26).
        let mut faults = Faults::default();
        for (lba, count) in [(0, 0), (0, 1), (self.last, 1), (self.last, 0), (1, 2)] {
            let reply = self.send(kind, 0, lba, count, None);
            faults.note(&format!("block {lba}, {count} blocks"), reply.moved_nothing());
        }
        self.target.check(&format!("{}-ranges", kind.name), faults.verdict("5 ranges".into()));
        let reply = self.send(kind, IMMED, 0, 0, None);
        let verdict =
            if reply.good() { reply.moved_nothing() } else { reply.refused(&[INVALID_FIELD_IN_CDB]) };
        self.check(kind, "immediate", verdict, "IMMED is taken or refused");
        self.past_the_end(kind, 0);
    }
}
