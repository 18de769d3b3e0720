//! Buffers smaller than the answer, and none at all: nothing may be written past their end, nor through the null
//! pointer that DataBuffer is then. They come last, because a driver that does so is stopped.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use stand::scsi::{self, Command};
use stand::spc;
use stand::wdk::codes::*;

use super::Target;
use super::probe::{self, Faults, INVALID_FIELD_IN_CDB};

/// A command with an allocation length.
pub struct Answer {
    /// Name of its checks.
    pub name: String,
    /// Its whole answer.
    pub whole: Vec<u8>,
    /// Lengths below may be refused.
    pub least: usize,
    /// With allocation length 0.
    pub empty: Command,
    /// With allocation length 255.
    pub full: Command,
}

/// Everything about buffers that are too small.
pub fn run(target: &Target<'_>) {
    for answer in &target.answers {
        short_buffer(target, answer);
    }
    for answer in &target.answers {
        let reply = probe::plain(target, answer.empty);
        let verdict = match answer.least {
            0 => reply.moved_nothing(),
            _ => reply.moved_nothing().or_else(|_| reply.refused(&[INVALID_FIELD_IN_CDB])),
        };
        target.check(&format!("{}-no-buffer", answer.name), verdict.map(|()| "allocation length 0".into()));
    }
    let unlisted = (1..=u8::MAX).find(|code| !target.pages.contains_key(code)).unwrap_or(1);
    let reply = probe::plain(target, scsi::inquiry(Some(unlisted), 0));
    let verdict = reply.refused(&[INVALID_FIELD_IN_CDB]).map(|()| format!("page {unlisted:02x}"));
    target.check("vpd-unlisted-refused-no-buffer", verdict);
}

/// An application may name a buffer smaller than the CDB asks for. The transport then either moves what fits or, as
/// virtio-scsi does (VIRTIO_SCSI_S_OVERRUN, virtio 1.3 5.6.6.1.1), fails the request before anything moved.
fn short_buffer(target: &Target<'_>, answer: &Answer) {
    let mut faults = Faults::default();
    for room in (1..16).filter(|room| *room < answer.whole.len()) {
        let reply = probe::read(target, answer.full, room);
        let status = reply.answer.srb_status & 0x3F;
        // A full buffer with SRB_STATUS_DATA_OVERRUN is an overrun, which this is.
        let filled = reply.inside().is_ok()
            && reply.answer.scsi_status == 0
            && matches!(status, SRB_STATUS_SUCCESS | SRB_STATUS_DATA_OVERRUN)
            && spc::prefix(&answer.whole, &reply.moved(usize::from(u8::MAX))).is_ok();
        let failed = status != SRB_STATUS_SUCCESS && reply.transferred() == 0 && reply.untouched().is_ok();
        let verdict =
            if filled || failed { Ok(()) } else { Err(reply.inside().err().unwrap_or_else(|| reply.text())) };
        faults.note(&format!("buffer {room}"), verdict);
    }
    target.check(&format!("{}-short-buffer", answer.name), faults.verdict("buffers of 1 to 15 bytes".into()));
}
