//! What every target must refuse: operation codes it does not know (SPC-4 4.2.5.1), NACA where NormACA is 0 (SAM-5
//! 5.2).

use alloc::format;

use stand::scsi::{self, Direction};
use stand::spc;

use super::Target;
use super::probe::{self, Faults, INVALID_FIELD_IN_CDB, INVALID_OPERATION_CODE};

/// Operation codes that no command set for disks or CD-ROMs has, with the CDB length of their group. Vendor-specific
/// codes are among them: they may be implemented, but not by a target that has no use for them.
const UNKNOWN: [(u8, usize); 15] = [
    (0x02, 6),
    (0x06, 6),
    (0x0D, 6),
    (0x1F, 6),
    (0x2D, 10),
    (0x49, 10),
    (0x61, 12),
    (0x6F, 16),
    (0x7D, 16),
    (0x99, 16),
    (0xB0, 12),
    (0xC0, 10),
    (0xDF, 12),
    (0xE5, 16),
    (0xFF, 16),
];

/// Everything that must be refused.
pub fn run(target: &Target<'_>) {
    let mut faults = Faults::default();
    for (code, length) in UNKNOWN {
        let mut cdb = [0; 16];
        cdb[0] = code;
        for room in [0, 512] {
            let command = spc::command("unknown operation code", Direction::In, &cdb[..length]);
            let reply = probe::read(target, command, room);
            faults.note(&format!("{code:02x}, buffer {room}"), reply.refused(&[INVALID_OPERATION_CODE]));
        }
        let command = spc::command("unknown operation code", Direction::Out, &cdb[..length]);
        let reply = probe::write(target, command, &[0; 512]);
        faults.note(&format!("{code:02x}, data out"), reply.refused(&[INVALID_OPERATION_CODE]));
    }
    let good = format!("{} codes, without data, with data in, with data out", UNKNOWN.len());
    target.check("unknown-operation-code-refused", faults.verdict(good));
    naca(target);
    sense_is_gone(target);
}

/// NACA in the CONTROL byte (SAM-5 5.2): a target that says NormACA 0 refuses it.
fn naca(target: &Target<'_>) {
    if target.inquiry.get(3).is_some_and(|byte| byte & 0x20 != 0) {
        return target.skip("naca-refused", "the target supports it (NormACA)");
    }
    let mut faults = Faults::default();
    let mut ready = scsi::test_unit_ready();
    ready.cdb[5] = 4;
    faults.note("TEST UNIT READY", probe::plain(target, ready).refused(&[INVALID_FIELD_IN_CDB]));
    let mut capacity = scsi::read_capacity_10();
    capacity.cdb[9] = 4;
    faults.note("READ CAPACITY(10)", probe::read(target, capacity, 8).refused(&[INVALID_FIELD_IN_CDB]));
    if let Some((block, _)) = target.geometry() {
        let mut read = scsi::transfer(false, 0, 1, false);
        read.cdb[9] = 4;
        let reply = probe::read(target, read, block as usize);
        faults.note("READ(10)", reply.refused(&[INVALID_FIELD_IN_CDB]));
    }
    target.check("naca-refused", faults.verdict("TEST UNIT READY, READ CAPACITY(10), READ(10)".into()));
}

/// A refusal leaves nothing behind: the next commands succeed.
fn sense_is_gone(target: &Target<'_>) {
    let mut faults = Faults::default();
    for round in 0..3 {
        let refused =
            probe::plain(target, spc::command("unknown operation code", Direction::None, &[0xFF; 16]));
        faults.note(&format!("refusal {round}"), refused.refused(&[INVALID_OPERATION_CODE]));
        let good = probe::read(target, scsi::inquiry(None, 36), 36);
        faults.note(&format!("INQUIRY {round}"), good.succeeded());
    }
    target.check("refusal-leaves-nothing", faults.verdict("INQUIRY after a refusal, 3 times".into()));
}
