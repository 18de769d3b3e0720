//! REPORT LUNS (SPC-4 6.33).

use alloc::format;
use alloc::vec::Vec;

use stand::scsi::{self, Command, Direction};
use stand::spc;

use super::Target;
use super::allocation::every_length;
use super::probe::{self, Faults, INVALID_FIELD_IN_CDB};

/// Room for all LUNs of a target.
const ROOM: usize = 8 + 256 * 8;

fn report(select: u8, allocation: u32) -> Command {
    let a = allocation.to_be_bytes();
    spc::command("REPORT LUNS", Direction::In, &[0xA0, 0, select, 0, 0, 0, a[0], a[1], a[2], a[3], 0, 0])
}

/// LUNs of the unit's target.
pub fn known(target: &Target<'_>) -> Vec<u8> {
    let (path, id, _) = target.unit.address;
    let mut unit = target.unit.clone();
    unit.address = (path, id, 0);
    let reply = probe::read(&Target::new(&unit), report(0, ROOM as u32), ROOM);
    reply.data().map(scsi::luns).unwrap_or_default()
}

/// Everything about REPORT LUNS. SPC-4 6.33: LUN 0 (or a well-known one) of every target must answer it, others may.
pub fn run(target: &mut Target<'_>) {
    if target.unit.address.2 != 0 {
        let reply = probe::read(target, report(0, ROOM as u32), ROOM);
        if let Ok(sense) = reply.sense() {
            return target.skip("report-luns", &format!("not LUN 0, and refused with {sense}"));
        }
    }
    let mut lists = Vec::new();
    for select in 0..=2 {
        let reply = probe::read(target, report(select, ROOM as u32), ROOM);
        let list = reply.data().and_then(spc::lun_list);
        let verdict = list.clone().and_then(|luns| {
            let well_known = luns.iter().all(|lun| lun[0] == 0xC1);
            let here = luns.iter().any(|lun| lun[0] & 0x3F == 0 && lun[1] == target.unit.address.2);
            match select {
                1 if !well_known => Err(format!("{luns:02x?} are not all well known")),
                0 | 2 if !here => Err(format!("{luns:02x?} lack this unit")),
                _ => Ok(format!("{} LUN(s)", luns.len())),
            }
        });
        target.check(&format!("report-luns-select-{select}"), verdict);
        lists.push(list);
    }
    // 02h is 00h and 01h together.
    if let [Ok(plain), Ok(well_known), Ok(all)] = &lists[..] {
        let whole = plain.iter().chain(well_known).all(|lun| all.contains(lun));
        let same = whole && all.iter().all(|lun| plain.contains(lun) || well_known.contains(lun));
        let verdict = if same { Ok("the sum of 0 and 1".into()) } else { Err(format!("{lists:02x?}")) };
        target.check("report-luns-select-2-is-all", verdict);
    } else {
        target.skip("report-luns-select-2-is-all", "one of the lists cannot be read");
    }

    let mut faults = Faults::default();
    for select in [0x03, 0x0F, 0x7F, 0xFF] {
        let reply = probe::read(target, report(select, 255), 255);
        faults.note(&format!("SELECT REPORT {select:02x}"), reply.refused(&[INVALID_FIELD_IN_CDB]));
    }
    target.check("report-luns-reserved-select-refused", faults.verdict("03, 0f, 7f, ff".into()));

    // SPC-2 and SPC-3 refuse a length below 16; SPC-4 only says that it should be at least 16. Either is right.
    let whole = probe::read(target, report(0, ROOM as u32), ROOM);
    let whole = whole.data().unwrap_or_default().to_vec();
    every_length(target, "report-luns", &whole, 16, |length| report(0, u32::from(length)));
}
