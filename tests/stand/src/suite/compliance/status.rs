//! TEST UNIT READY, REQUEST SENSE, SEND DIAGNOSTIC (SPC-4 6.47, 6.39, 6.42) and START STOP UNIT (SBC-3 5.25, MMC-6
//! 6.42).

use alloc::format;

use stand::scsi::{self, Command, Direction, Sense};
use stand::spc::{self, Extent};

use super::Target;
use super::allocation::every_length;
use super::probe::{self, Faults, INVALID_FIELD_IN_CDB};

fn request_sense(descriptor: bool, allocation: u8) -> Command {
    spc::command("REQUEST SENSE", Direction::In, &[3, u8::from(descriptor), 0, 0, allocation, 0])
}

fn start_stop(immediate: bool, byte_4: u8) -> Command {
    spc::command("START STOP UNIT", Direction::None, &[0x1B, u8::from(immediate), 0, 0, byte_4, 0])
}

/// Everything about the unit's state.
pub fn run(target: &mut Target<'_>) {
    if target.geometry().is_some() {
        let reply = probe::plain(target, scsi::test_unit_ready());
        target.check("test-unit-ready", reply.moved_nothing().map(|()| "ready".into()));
        // A buffer that the command has no use for stays as it is.
        let reply = probe::read(target, scsi::test_unit_ready(), 64);
        let verdict = reply.moved_nothing().map(|()| "a buffer of 64 bytes is left alone".into());
        target.check("test-unit-ready-with-buffer", verdict);
    } else {
        no_medium(target);
    }
    sense(target);
    if target.geometry().is_some() {
        start(target);
        diagnostic(target);
    }
}

/// SEND DIAGNOSTIC with SELFTEST, the default self-test, is mandatory for disks (SBC-3 table 13), and may take no data.
fn diagnostic(target: &Target<'_>) {
    const SELFTEST: u8 = 4;
    let reply =
        probe::plain(target, spc::command("SEND DIAGNOSTIC", Direction::None, &[0x1D, SELFTEST, 0, 0, 0, 0]));
    if reply.unknown() && target.is_cdrom() {
        return target.skip("send-diagnostic", "not a command that CD-ROMs must have");
    }
    target.check("send-diagnostic", reply.moved_nothing().map(|()| "default self-test".into()));
}

/// Without a medium: NOT READY, MEDIUM NOT PRESENT, of which three say where the tray is.
fn no_medium(target: &Target<'_>) {
    let absent = [0, 1, 2].map(|ascq| Sense { key: scsi::NOT_READY, asc: 0x3A, ascq });
    let mut faults = Faults::default();
    for (what, reply) in [
        ("TEST UNIT READY", probe::plain(target, scsi::test_unit_ready())),
        ("READ CAPACITY(10)", probe::read(target, scsi::read_capacity_10(), 8)),
        ("READ(10)", probe::read(target, scsi::transfer(false, 0, 1, false), 2048)),
    ] {
        faults.note(what, reply.refused(&absent));
    }
    let good = "TEST UNIT READY, READ CAPACITY(10), READ(10)".into();
    target.check("medium-not-present-refused", faults.verdict(good));
}

/// REQUEST SENSE is mandatory. With nothing to report it succeeds with NO SENSE, in the format that DESC asks for.
fn sense(target: &mut Target<'_>) {
    // The sense data of a refused command went out with its status, so there is none left (SAM-5 5.13).
    let refused = probe::plain(target, spc::command("operation code FF", Direction::None, &[0xFF; 16]));
    let reply = probe::read(target, request_sense(false, 252), 252);
    let whole = reply.data().map(|data| target.whole(data, Extent::Sense).to_vec());
    let read = whole.clone().and_then(|data| spc::sense(&data, 6));
    // The allocation lengths are compared with a second answer, for targets that had something to report.
    let second = probe::read(target, request_sense(false, 252), 252);
    let second = second.data().map(|data| target.whole(data, Extent::Sense).to_vec());
    let verdict = read.clone().and_then(|sense| {
        let data = whole.clone().unwrap_or_default();
        match (data[0] & 0x7F, sense) {
            (0x70, Sense { key: 0, asc: 0, ascq: 0 }) => Ok(format!("{} bytes, {sense}", data.len())),
            (code, sense) => {
                Err(format!("format {code:#x}, {sense} (refused before: {})", refused.answer.text()))
            }
        }
    });
    target.check("request-sense-fixed", verdict);
    if read.is_err() {
        return target.skip("request-sense-descriptor", "REQUEST SENSE itself fails");
    }
    every_length(target, "request-sense", &second.unwrap_or_default(), 0, |length| {
        request_sense(false, length)
    });
    let reply = probe::read(target, request_sense(true, 252), 252);
    // SPC-4 6.39: a target without descriptor format sense refuses DESC.
    if reply.refused(&[INVALID_FIELD_IN_CDB]).is_ok() {
        return target.skip("request-sense-descriptor", "descriptor format is optional and not supported");
    }
    let verdict = reply.data().and_then(|data| {
        let data = target.whole(data, Extent::Sense);
        let sense = spc::sense(data, 6)?;
        match data[0] & 0x7F {
            0x72 => Ok(format!("{} bytes, {sense}", data.len())),
            code => Err(format!("format {code:#x} with DESC")),
        }
    });
    target.check("request-sense-descriptor", verdict);
}

fn start(target: &Target<'_>) {
    const START: u8 = 1;
    let reply = probe::plain(target, start_stop(false, START));
    if reply.unknown() && target.is_disk() {
        return target.skip("start-stop-unit", "the command is optional and not implemented");
    }
    target.check("start-stop-unit-start", reply.moved_nothing().map(|()| "START of a started unit".into()));
    let reply = probe::plain(target, start_stop(true, START));
    target.check("start-stop-unit-immediate", reply.moved_nothing().map(|()| "START with IMMED".into()));
    // SBC-3 table 73: POWER CONDITION 4h to 6h, 8h, 9h, and Ch to Fh are reserved. MMC-6 has 4h and 6h up reserved.
    let mut faults = Faults::default();
    for condition in [0x4, 0x6, 0x9, 0xC, 0xF] {
        let reply = probe::plain(target, start_stop(false, condition << 4));
        faults.note(&format!("POWER CONDITION {condition:x}"), reply.refused(&[INVALID_FIELD_IN_CDB]));
    }
    target.check("start-stop-unit-reserved-condition-refused", faults.verdict("4, 6, 9, c, f".into()));
    let ready = probe::plain(target, scsi::test_unit_ready());
    target.check("start-stop-unit-still-ready", ready.succeeded().map(|()| "ready".into()));
}
