//! INQUIRY (SPC-4 6.6) and the vital product data pages (SPC-4 7.8, SBC-3 6.5).

use alloc::format;
use alloc::string::String;

use stand::scsi::{self, Command, Direction};
use stand::spc::{self, Extent};
use stand::wdk::codes::*;

use super::Target;
use super::allocation::{every_length, exact};
use super::probe::{self, Faults, INVALID_FIELD_IN_CDB};
use crate::storport::port;

fn page(code: u8, allocation: u16) -> Command {
    scsi::inquiry(Some(code), allocation)
}

/// INQUIRY with anything in byte 1 and PAGE CODE.
fn raw(byte_1: u8, code: u8, allocation: u16) -> Command {
    let [high, low] = allocation.to_be_bytes();
    spc::command("INQUIRY", Direction::In, &[0x12, byte_1, code, high, low, 0])
}

/// Everything about INQUIRY.
pub fn run(target: &mut Target<'_>) {
    standard(target);
    pages(target);
    refused(target);
    absent_unit(target);
}

fn standard(target: &mut Target<'_>) {
    let reply = probe::read(target, scsi::inquiry(None, 255), 255);
    let verdict = reply.data().and_then(|data| {
        spc::standard_inquiry(data)?;
        Ok(format!("{} bytes, VERSION {:#04x}", data.len(), data[2]))
    });
    target.inquiry = reply.data().unwrap_or_default().to_vec();
    target.check("inquiry-standard", verdict);
    let whole = target.inquiry.clone();
    every_length(target, "inquiry", &whole, 0, |length| scsi::inquiry(None, u16::from(length)));
    // Byte 3 of the CDB is the high byte of the length; a target that ignores it moves 0 bytes here.
    let reply = probe::read(target, scsi::inquiry(None, 4096), 4096);
    let verdict = exact(target, "inquiry", &whole, &reply, 4096);
    target.check("inquiry-length-4096", verdict.map(|()| "the same answer".into()));
}

fn pages(target: &mut Target<'_>) {
    let peripheral = target.inquiry.first().copied().unwrap_or_default();
    let (list, verdict) = one_page(target, 0, peripheral);
    target.check("vpd-00", verdict);
    let listed = list.get(4..).unwrap_or_default().to_vec();
    target.pages.insert(0, list);
    for code in listed.iter().copied().filter(|code| *code != 0) {
        let (data, verdict) = one_page(target, code, peripheral);
        target.check(&format!("vpd-{code:02x}"), verdict);
        target.pages.insert(code, data);
    }
    let body = target.pages.get(&0x83).and_then(|page| page.get(4..)).unwrap_or_default();
    let verdict = spc::designators(body)
        .and_then(|found| spc::names_the_unit(&found).map(|()| format!("{} designator(s)", found.len())));
    target.check("vpd-83-names-the-unit", verdict);
    for (code, whole) in target.pages.clone() {
        every_length(target, &format!("vpd-{code:02x}"), &whole, 0, |length| page(code, u16::from(length)));
    }
    // Which pages there are is the target's choice, but for those of the page list's own check.
    for (code, what) in [
        (0x80, "Unit Serial Number"),
        (0xB0, "Block Limits"),
        (0xB1, "characteristics"),
        (0xB2, "provisioning"),
    ] {
        if !listed.contains(&code) && (code == 0x80 || target.is_disk()) {
            target.skip(&format!("vpd-{code:02x}"), &format!("{what} is optional and not listed"));
        }
    }
}

/// A page and what is to say about it.
fn one_page(target: &Target<'_>, code: u8, peripheral: u8) -> (alloc::vec::Vec<u8>, Result<String, String>) {
    let reply = probe::read(target, page(code, 2048), 2048);
    let data = reply.data().map(|data| target.whole(data, Extent::Vpd));
    let verdict = data.clone().and_then(|data| {
        let body = spc::vpd_page(data, code, peripheral)?;
        spc::vpd_contents(code, body, target.is_disk())?;
        let list = if code == 0 { format!(": {body:02x?}") } else { String::new() };
        Ok(format!("{} bytes{list}", data.len()))
    });
    (data.unwrap_or_default().to_vec(), verdict)
}

fn refused(target: &Target<'_>) {
    let mut faults = Faults::default();
    let listed = target.pages.keys().count();
    for code in 0..=u8::MAX {
        if !target.pages.contains_key(&code) {
            let reply = probe::read(target, page(code, 255), 255);
            faults.note(&format!("page {code:02x}"), reply.refused(&[INVALID_FIELD_IN_CDB]));
        }
    }
    target.check("vpd-unlisted-refused", faults.verdict(format!("all {} other pages", 256 - listed)));

    // SPC-4 6.6.1: PAGE CODE without EVPD is an error, whether the page exists or not, and for any length.
    let mut faults = Faults::default();
    for code in [0x01, 0x80, 0x83, 0xB0, 0xFF] {
        for length in [36, 255] {
            let reply = probe::read(target, raw(0, code, length), usize::from(length));
            faults.note(&format!("page {code:02x}"), reply.refused(&[INVALID_FIELD_IN_CDB]));
        }
    }
    target.check("inquiry-page-without-evpd-refused", faults.verdict("pages 01, 80, 83, b0, ff".into()));

    // A length of 0 is no error, but an unknown page is one all the same.
    let unlisted = (1..=u8::MAX).find(|code| !target.pages.contains_key(code)).unwrap_or(1);
    let reply = probe::read(target, page(unlisted, 0), 64);
    let verdict = reply.refused(&[INVALID_FIELD_IN_CDB]).map(|()| format!("page {unlisted:02x}, length 0"));
    target.check("vpd-unlisted-refused-length-0", verdict);
}

/// A LUN nobody is at: the SRB status says so, or INQUIRY says it with the qualifier (SPC-4 6.6.2: 001b or 011b), and
/// other commands are refused with LOGICAL UNIT NOT SUPPORTED (SAM-5 5.11).
fn absent_unit(target: &Target<'_>) {
    let (path, id, _) = target.unit.address;
    let most = port().config.maximum_number_of_logical_units;
    let present = super::luns::known(target);
    let Some(lun) = (1..most).find(|lun| !present.contains(lun)) else {
        return target.skip("absent-unit", "the adapter has no LUN without a unit");
    };
    let mut unit = target.unit.clone();
    unit.address = (path, id, lun);
    let absent = Target::new(&unit);
    let gone = |status: u8| {
        matches!(status & 0x3F, SRB_STATUS_NO_DEVICE | SRB_STATUS_SELECTION_TIMEOUT | SRB_STATUS_INVALID_LUN)
    };
    let reply = probe::read(&absent, scsi::inquiry(None, 36), 36);
    let verdict = match reply.data() {
        _ if gone(reply.answer.srb_status) => reply.untouched().map(|()| reply.text()),
        Ok([first, ..]) if matches!(first >> 5, 1 | 3) => Ok(format!("byte 0 is {first:#04x}")),
        Ok(data) => Err(format!("INQUIRY answers {data:02x?}")),
        Err(text) => Err(text),
    };
    absent.check("absent-unit-inquiry", verdict);
    let reply = probe::plain(&absent, scsi::test_unit_ready());
    let not_supported = scsi::Sense { key: 5, asc: 0x25, ascq: 0 };
    let verdict = if gone(reply.answer.srb_status) { Ok(()) } else { reply.refused(&[not_supported]) };
    absent.check("absent-unit-ready", verdict.map(|()| reply.text()));
}
