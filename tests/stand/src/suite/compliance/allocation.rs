//! ALLOCATION LENGTH: every one from 0 to 255 moves exactly the first bytes of the whole answer.

use alloc::format;

use stand::scsi::Command;
use stand::spc::{self, Moved};

use super::Target;
use super::probe::{self, Faults, INVALID_FIELD_IN_CDB, Reply};

/// Bytes that a buffer has more than the allocation length in the second round.
const SPARE: usize = 64;

/// Checks `NAME-allocation-lengths`: each length with a buffer of just that size, as class drivers send it, and with a
/// larger one, of which nothing more may be written. Lengths below `least` may be refused, but then all of them.
/// And `NAME-short-buffer`: a buffer smaller than the allocation length gets what fits or nothing, and no more.
pub fn every_length(
    target: &Target<'_>,
    name: &str,
    whole: &[u8],
    least: usize,
    command: impl Fn(u8) -> Command,
) {
    let mut faults = Faults::default();
    let mut refused = 0;
    for allocation in 0..=u8::MAX {
        for spare in [0, SPARE] {
            let length = usize::from(allocation);
            let reply = probe::read(target, command(allocation), length + spare);
            if length < least && reply.refused(&[INVALID_FIELD_IN_CDB]).is_ok() {
                refused += 1;
                continue;
            }
            faults.note(
                &format!("length {allocation}, buffer {}", length + spare),
                exact(&reply, whole, length),
            );
        }
    }
    if refused != 0 && refused != 2 * least {
        faults.note("too short", Err(format!("{refused} of {} refused", 2 * least)));
    }
    let below = if refused == 0 { "" } else { ", those that are too short refused" };
    let good = format!("lengths 0 to 255 of {} bytes{below}", whole.len());
    target.check(&format!("{name}-allocation-lengths"), faults.verdict(good));
    short_buffer(target, name, whole, &command);
}

fn exact(reply: &Reply, whole: &[u8], allocation: usize) -> Result<(), alloc::string::String> {
    reply.succeeded()?;
    let moved =
        Moved { allocation, buffer: &reply.buffer, transferred: reply.transferred(), pattern: reply.pattern };
    spc::prefix(whole, &moved)
}

/// An application may name a buffer smaller than the CDB asks for. The transport then either moves what fits or, as
/// virtio-scsi does (VIRTIO_SCSI_S_OVERRUN, virtio 1.3 5.6.6.1.1), fails the request before anything moved.
fn short_buffer(target: &Target<'_>, name: &str, whole: &[u8], command: &impl Fn(u8) -> Command) {
    let mut faults = Faults::default();
    for room in [1, 2, 3, 4, 5, 7, 8, 15] {
        let reply = probe::read(target, command(u8::MAX), room);
        let moved = Moved {
            allocation: usize::from(u8::MAX),
            buffer: &reply.buffer,
            transferred: reply.transferred(),
            pattern: reply.pattern,
        };
        // A full buffer with SRB_STATUS_DATA_OVERRUN is an overrun, which this is.
        let filled = reply.answer.scsi_status == 0 && spc::prefix(whole, &moved).is_ok();
        let failed = !reply.good() && reply.untouched().is_ok();
        let verdict = if filled || failed { Ok(()) } else { Err(reply.text()) };
        faults.note(&format!("buffer {room}"), verdict);
    }
    target.check(&format!("{name}-short-buffer"), faults.verdict("buffers of 1 to 15 bytes".into()));
}
