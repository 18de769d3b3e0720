//! The device's answer → how the request ends: status, residual, sense.

use storport::srb::ScsiStatus;
use storport::{Completion, Srb, SrbStatus};
use virtio::spec::scsi::{CmdResponse, Response, config};
use zerocopy::FromBytes;

use crate::status::srb_status;

/// Bytes of the response before the sense data.
pub(crate) const HEAD_BYTES: usize = size_of::<CmdResponse>() - config::DEFAULT_SENSE_SIZE as usize;

/// The part of the response before the sense data (virtio 1.3, 5.6.6.1).
struct Head {
    sense_bytes: u32,
    residual: u32,
    status: ScsiStatus,
    response: Response,
}

impl Head {
    /// `None` when there are too few bytes.
    fn new(bytes: &[u8]) -> Option<Self> {
        let (sense_bytes, rest) = u32::read_from_prefix(bytes).ok()?;
        let (residual, rest) = u32::read_from_prefix(rest).ok()?;
        // Two bytes of status qualifier come before the status.
        let [_, _, status, response, ..] = *rest else {
            return None;
        };
        Some(Self {
            sense_bytes: u32::from_le(sense_bytes),
            residual: u32::from_le(residual),
            status: ScsiStatus(status),
            response: Response(response),
        })
    }
}

/// How many bytes of sense data the device claims, at most as many as there is room for.
pub(crate) fn sense_bytes(head: &[u8]) -> usize {
    let claimed = Head::new(head).map_or(0, |head| head.sense_bytes);
    claimed.min(config::DEFAULT_SENSE_SIZE) as usize
}

/// The used length says nothing here: Linux's vhost-scsi always reports 0. A response that the device did not write has
/// an unknown code, because the last one was spoilt when it was read.
pub(crate) fn complete<C: Copy>(srb: &mut impl Srb<C>, response: &[u8]) -> Completion {
    let Some(head) = Head::new(response) else {
        return Completion::failed(SrbStatus::INTERNAL_ERROR);
    };
    let asked = srb.data_length();
    if let Some(status) = srb_status(head.response) {
        return Completion::failed(status);
    }
    // The residual is the device's claim; more than was asked for cannot be missing. QEMU claims that of a write that it
    // tried again after the machine had stopped for a full disk. What was moved is unknown then: a success of nothing
    // would be a lost write to whoever sent it, so it is sent again.
    if head.status == ScsiStatus::GOOD && head.residual > asked {
        return Completion::failed(SrbStatus::ABORTED);
    }
    let transferred = asked - head.residual.min(asked);
    if head.status == ScsiStatus::GOOD {
        let status = if transferred < asked { SrbStatus::DATA_OVERRUN } else { SrbStatus::SUCCESS };
        return Completion { status, scsi_status: head.status, transferred, autosense: false };
    }
    let autosense = head.status == ScsiStatus::CHECK_CONDITION
        && response.len() > HEAD_BYTES
        && srb.write_sense(&response[HEAD_BYTES..]) > 0;
    // Both mean that the command was not begun: StorPort sends it again, the same SRB with the same length
    // (registry-entries-for-storport-miniport-drivers.md counts them as one).
    let again = matches!(head.status, ScsiStatus::BUSY | ScsiStatus::TASK_SET_FULL);
    let status = if again { SrbStatus::BUSY } else { SrbStatus::ERROR };
    Completion { status, scsi_status: head.status, transferred, autosense }
}
