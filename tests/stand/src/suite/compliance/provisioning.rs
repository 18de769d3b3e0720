//! UNMAP, WRITE SAME and WRITE AND VERIFY (SBC-3 5.38, 5.49, 5.45): what they say and what lies on the medium afterwards, beside
//! blocks that must stay as they are. All are optional, but what the Logical Block Provisioning page (6.6.6) claims must be
//! there. What was there before is written back.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use stand::scsi::{Command, Direction};
use stand::spc;

use super::Target;
use super::probe::{self, Faults, INVALID_FIELD_IN_CDB, LBA_OUT_OF_RANGE, LIST_LENGTH, Reply};

/// Blocks that are tried, from the middle of the disk on.
const AREA: u32 = 64;
/// Flags of WRITE SAME in byte 1.
const NDOB: u8 = 0x01;
const UNMAP: u8 = 0x08;
const ANCHOR: u8 = 0x10;
/// Flag of UNMAP in byte 1.
const UNMAP_ANCHOR: u8 = 0x01;

/// A command with an address and a number of blocks.
struct Form {
    name: &'static str,
    label: &'static str,
    code: u8,
}

const fn form(name: &'static str, label: &'static str, code: u8) -> Form {
    Form { name, label, code }
}

const WRITE_SAMES: [Form; 2] =
    [form("write-same-10", "WRITE SAME(10)", 0x41), form("write-same-16", "WRITE SAME(16)", 0x93)];
const WRITE_AND_VERIFIES: [Form; 3] = [
    form("write-and-verify-10", "WRITE AND VERIFY(10)", 0x2E),
    form("write-and-verify-12", "WRITE AND VERIFY(12)", 0xAE),
    form("write-and-verify-16", "WRITE AND VERIFY(16)", 0x8E),
];
const READ: Form = form("read-16", "READ(16)", 0x88);
const WRITE: Form = form("write-16", "WRITE(16)", 0x8A);

impl Form {
    fn command(&self, direction: Direction, flags: u8, lba: u64, blocks: u32) -> Command {
        spc::range_command(self.label, direction, self.code, flags, lba, blocks)
    }
}

/// What the unit claims of provisioning (VPD page B2 and READ CAPACITY (16)).
#[derive(Clone, Copy)]
struct Claims {
    /// LBPU: UNMAP.
    unmap: bool,
    /// LBPWS, LBPWS10: WRITE SAME with the UNMAP bit.
    write_same: [bool; 2],
    /// LBPRZ: unmapped blocks read as zeroes.
    zeroes: bool,
    /// WSNZ: WRITE SAME refuses a length of zero.
    no_zero_length: bool,
}

struct Area<'t, 'u> {
    target: &'t Target<'u>,
    block: usize,
    first: u64,
    last: u64,
    saved: Vec<u8>,
    claims: Claims,
}

/// Everything about provisioning.
pub fn run(target: &Target<'_>) {
    let Some((block, last)) = target.geometry() else { return };
    if !target.is_disk() || last < 4 * u64::from(AREA) {
        return;
    }
    let mode = target.mode_10.as_ref().or(target.mode_6.as_ref());
    if mode.is_some_and(|mode| mode.device_specific & 0x80 != 0) {
        return target.skip("provisioning", "the medium is write protected");
    }
    let flags = target.pages.get(&0xB2).and_then(|page| page.get(5)).copied().unwrap_or(0);
    let limits = target.pages.get(&0xB0).and_then(|page| page.get(4)).copied().unwrap_or(0);
    let mut area = Area {
        target,
        block: block as usize,
        first: last / 2 / 8 * 8,
        last,
        saved: Vec::new(),
        claims: Claims {
            unmap: flags & 0x80 != 0,
            write_same: [flags & 0x20 != 0, flags & 0x40 != 0],
            zeroes: flags >> 2 & 0x07 != 0 || target.capacity_16.as_ref().is_some_and(|c| c.reads_zeroes),
            no_zero_length: limits & 1 != 0,
        },
    };
    area.saved = match area.read() {
        Ok(data) => data,
        Err(text) => return target.check("provisioning-area", Err(text)),
    };
    for form in WRITE_AND_VERIFIES {
        area.write_and_verify(&form);
    }
    for (index, form) in WRITE_SAMES.into_iter().enumerate() {
        area.write_same(&form, area.claims.write_same[1 - index]);
    }
    area.unmap();
    let verdict = area.restore().map(|()| "the blocks are as before".into());
    target.check("provisioning-restored", verdict);
}

impl Area<'_, '_> {
    fn send(&self, form: &Form, flags: u8, lba: u64, blocks: u32, data: &[u8]) -> Reply {
        match data {
            [] => probe::plain(self.target, form.command(Direction::None, flags, lba, blocks)),
            data => probe::write(self.target, form.command(Direction::Out, flags, lba, blocks), data),
        }
    }

    fn read(&self) -> Result<Vec<u8>, String> {
        let command = READ.command(Direction::In, 0, self.first, AREA);
        let reply = probe::read(self.target, command, AREA as usize * self.block);
        let data = reply.data()?;
        match data.len() == AREA as usize * self.block {
            true => Ok(data.to_vec()),
            false => Err(format!("READ(16) moved {} bytes", data.len())),
        }
    }

    /// Writes what was there before, so that each try begins with it.
    fn restore(&self) -> Result<(), String> {
        self.send(&WRITE, 0, self.first, AREA, &self.saved).succeeded()?;
        if self.read()? == self.saved {
            Ok(())
        } else {
            Err("READ(16) gives other data than WRITE(16) took".into())
        }
    }

    /// Begins with blocks of which each is unlike the others and unlike what is written.
    fn prepare(&self) -> Result<Vec<u8>, String> {
        let data: Vec<u8> =
            (0..AREA as usize * self.block).map(|at| (at / self.block * 7 + at % 251) as u8 | 1).collect();
        self.send(&WRITE, 0, self.first, AREA, &data).succeeded()?;
        Ok(data)
    }

    /// Whether the area holds `expected` but for these blocks, which hold `new` each, or anything.
    fn holds(
        &self,
        expected: &[u8],
        blocks: core::ops::Range<usize>,
        new: Option<&[u8]>,
    ) -> Result<(), String> {
        let seen = self.read()?;
        for (index, block) in seen.chunks(self.block).enumerate() {
            let old = &expected[index * self.block..(index + 1) * self.block];
            let good = match new {
                _ if !blocks.contains(&index) => block == old,
                Some(new) => block == new,
                None => true,
            };
            if !good {
                return Err(format!("block {index} of the area holds something else"));
            }
        }
        Ok(())
    }

    fn write_and_verify(&self, form: &Form) {
        let (lba, count) = (self.first + 4, 5);
        let data: Vec<u8> = (0..count * self.block).map(|at| (at % 249) as u8).collect();
        let attempt = || -> Result<Option<String>, String> {
            let before = self.prepare()?;
            let reply = self.send(form, 0, lba, count as u32, &data);
            if reply.unknown() {
                return Ok(None);
            }
            reply.succeeded()?;
            if reply.transferred() != data.len() {
                return Err(format!("DataTransferLength {} and not {}", reply.transferred(), data.len()));
            }
            let mut expected = before;
            expected[4 * self.block..][..data.len()].copy_from_slice(&data);
            self.holds(&expected, 0..0, None)?;
            Ok(Some(format!("{count} blocks")))
        };
        match attempt() {
            Ok(None) => self.target.skip(form.name, "the command is optional and not implemented"),
            Ok(Some(text)) => self.target.check(form.name, Ok(text)),
            Err(text) => self.target.check(form.name, Err(text)),
        }
        let past = self.send(form, 0, self.last, 2, &alloc::vec![0; 2 * self.block]);
        if !past.unknown() {
            let name = format!("{}-past-end-refused", form.name);
            self.target.check(&name, past.refused(&[LBA_OUT_OF_RANGE]).map(|()| "21/00".into()));
        }
    }

    fn write_same(&self, form: &Form, unmaps: bool) {
        let check = |what: &str, verdict: Result<String, String>| {
            self.target.check(&format!("{}-{what}", form.name), verdict);
        };
        let skip = |what: &str, why: &str| self.target.skip(&format!("{}-{what}", form.name), why);
        let pattern: Vec<u8> = (0..self.block).map(|at| (at % 247) as u8 | 0x80).collect();
        let zeroes = alloc::vec![0; self.block];
        let first = self.send(form, 0, self.first + 8, 1, &pattern);
        if first.unknown() {
            if unmaps {
                check("claimed", Err("the provisioning page claims it".into()));
            }
            return self.target.skip(form.name, "the command is optional and not implemented");
        }
        // Any number of blocks from any of them on, of data and of zeroes.
        for (what, block) in [("data", &pattern), ("zeroes", &zeroes)] {
            let mut faults = Faults::default();
            for (at, count) in [(0, 1), (3, 20), (8, 48), (63, 1), (0, 64)] {
                let verdict = self.prepare().and_then(|before| {
                    let reply = self.send(form, 0, self.first + at as u64, count as u32, block);
                    reply.succeeded()?;
                    if reply.transferred() != self.block {
                        return Err(format!("DataTransferLength {}", reply.transferred()));
                    }
                    self.holds(&before, at..at + count, Some(block))
                });
                faults.note(&format!("{count} blocks from {at} on"), verdict);
            }
            check(what, faults.verdict("5 ranges, and what lies beside them".into()));
        }
        let past = self.send(form, 0, self.last, 2, &pattern);
        check("past-end-refused", past.refused(&[LBA_OUT_OF_RANGE]).map(|()| "21/00".into()));
        match self.claims.no_zero_length {
            // It would be all to the end of the medium.
            false => skip("zero-length-refused", "WSNZ is 0"),
            true => {
                let reply = self.send(form, 0, self.first, 0, &pattern);
                check("zero-length-refused", reply.refused(&[INVALID_FIELD_IN_CDB]).map(|()| "24/00".into()));
            }
        }
        let anchored = self.send(form, ANCHOR | UNMAP, self.first, 8, &zeroes);
        let supported =
            self.target.pages.get(&0xB2).is_some_and(|page| page.get(5).is_some_and(|b| b & 2 != 0));
        if !supported {
            let verdict = anchored.refused(&[INVALID_FIELD_IN_CDB]);
            check("anchor-refused", verdict.map(|()| "ANC_SUP 0: refused".into()));
        }
        let verdict = self.prepare().and_then(|before| {
            let reply = self.send(form, UNMAP, self.first + 8, 16, &zeroes);
            match unmaps {
                false => reply.refused(&[INVALID_FIELD_IN_CDB]).map(|()| "not claimed: refused".into()),
                // Where it takes effect the blocks read as what was sent.
                true => {
                    reply.succeeded()?;
                    self.holds(&before, 8..24, Some(&zeroes))?;
                    Ok("16 blocks, which read as zeroes".into())
                }
            }
        });
        check("unmap", verdict);
        if spc::cdb_length(form.code) != 16 {
            return;
        }
        let reply = self.send(form, NDOB, self.first + 8, 4, &[]);
        if reply.refused(&[INVALID_FIELD_IN_CDB]).is_ok() {
            return skip("ndob", "NDOB is not supported");
        }
        let verdict = self.prepare().and_then(|before| {
            self.send(form, NDOB, self.first + 8, 4, &[]).succeeded()?;
            self.holds(&before, 8..12, Some(&zeroes))
        });
        check("ndob", verdict.map(|()| "4 blocks of zeroes".into()));
    }

    fn unmap(&self) {
        let claimed = self.claims.unmap;
        let reply = self.send_unmap(0, &[(self.first, 0)], None);
        if reply.unknown() {
            return match claimed {
                true => self.target.check("unmap", Err("LBPU is 1, and the command is unknown".into())),
                false => self.target.skip("unmap", "the command is optional and not implemented"),
            };
        }
        let zeroes = alloc::vec![0; self.block];
        let expected = self.claims.zeroes.then_some(zeroes.as_slice());
        let mut faults = Faults::default();
        for (at, count) in [(0, 1), (8, 8), (3, 20), (0, 64)] {
            let verdict = self.prepare().and_then(|before| {
                let half = count / 2;
                // Two ranges side by side, and one of nothing.
                let lba = self.first + at as u64;
                let ranges = [(lba, half as u32), (lba + half as u64, (count - half) as u32), (lba, 0)];
                self.send_unmap(0, &ranges, None).succeeded()?;
                self.holds(&before, at..at + count, expected)
            });
            faults.note(&format!("{count} blocks from {at} on"), verdict);
        }
        let reads = if self.claims.zeroes { "read as zeroes" } else { "may hold anything" };
        self.target.check("unmap", faults.verdict(format!("4 times 3 ranges, which {reads}")));
        let verdict = self.prepare().and_then(|before| {
            self.send_unmap(0, &[(self.first, 8), (self.last, 2)], None).refused(&[LBA_OUT_OF_RANGE])?;
            self.holds(&before, 0..0, None)
        });
        self.target.check("unmap-past-end-refused", verdict.map(|()| "21/00, and nothing unmapped".into()));
        let verdict = self.prepare().and_then(|before| {
            self.send_unmap(0, &[(self.first, 8)], Some(0)).succeeded()?;
            self.send_unmap(0, &[(self.first, 8)], Some(7)).refused(&[LIST_LENGTH])?;
            self.holds(&before, 0..0, None)
        });
        self.target.check("unmap-list-length", verdict.map(|()| "0 and 7 bytes unmap nothing".into()));
        let verdict = self.prepare().and_then(|before| {
            self.send_unmap(0, &[(self.first, 8)], Some(8)).succeeded()?;
            self.holds(&before, 0..0, None)
        });
        self.target.check("unmap-empty-list", verdict.map(|()| "a header alone unmaps nothing".into()));
        let supported =
            self.target.pages.get(&0xB2).is_some_and(|page| page.get(5).is_some_and(|b| b & 2 != 0));
        if !supported {
            let reply = self.send_unmap(UNMAP_ANCHOR, &[(self.first, 8)], None);
            let verdict = reply.refused(&[INVALID_FIELD_IN_CDB]);
            self.target.check("unmap-anchor-refused", verdict.map(|()| "ANC_SUP 0: refused".into()));
        }
    }

    /// `length`: PARAMETER LIST LENGTH when it is not that of the list.
    fn send_unmap(&self, flags: u8, ranges: &[(u64, u32)], length: Option<u16>) -> Reply {
        let bytes = (ranges.len() * 16) as u16;
        let mut list = Vec::new();
        list.extend((bytes + 6).to_be_bytes());
        list.extend(bytes.to_be_bytes());
        list.extend([0; 4]);
        for (lba, blocks) in ranges {
            list.extend(lba.to_be_bytes());
            list.extend(blocks.to_be_bytes());
            list.extend([0; 4]);
        }
        let mut cdb = [0; 10];
        (cdb[0], cdb[1]) = (0x42, flags);
        cdb[7..9].copy_from_slice(&length.unwrap_or(list.len() as u16).to_be_bytes());
        probe::write(self.target, spc::command("UNMAP", Direction::Out, &cdb), &list)
    }
}
