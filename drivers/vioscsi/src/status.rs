//! The tables from virtio-scsi response codes to `SrbStatus` (virtio 1.3, 5.6.6.1), and from SCSI status to what it means.

use storport::SrbStatus;
use storport::srb::ScsiStatus;
use virtio::spec::scsi::Response;

/// How a request ends for which the device has no SCSI status; `None` when it has one.
pub(crate) fn srb_status(response: Response) -> Option<SrbStatus> {
    match response {
        Response::OK => None,
        // The unit wanted to move more than the buffer holds.
        Response::OVERRUN => Some(SrbStatus::DATA_OVERRUN),
        Response::ABORTED => Some(SrbStatus::ABORTED),
        Response::BAD_TARGET => Some(SrbStatus::INVALID_TARGET_ID),
        Response::RESET => Some(SrbStatus::BUS_RESET),
        Response::BUSY => Some(SrbStatus::BUSY),
        Response::INCORRECT_LUN => Some(SrbStatus::INVALID_LUN),
        Response::TRANSPORT_FAILURE
        | Response::TARGET_FAILURE
        | Response::NEXUS_FAILURE
        | Response::FAILURE => Some(SrbStatus::ERROR),
        // A code that the specification does not have.
        _ => Some(SrbStatus::ERROR),
    }
}

/// What a unit's status says of the command (SAM-5, 5.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It was done.
    Done,
    /// It was not begun. StorPort sends it again, the same SRB with the same length
    /// (registry-entries-for-storport-miniport-drivers.md counts both kinds as one).
    NotBegun,
    /// Somebody else ended it.
    Aborted,
    /// It failed; sense data may say why.
    Failed,
}

impl Verdict {
    /// Four of them are good, as in Linux's `scsi_status_is_good`: an answer of "condition met" is what PRE-FETCH and SEARCH
    /// DATA are sent for, and the intermediate ones are those of linked commands, of before SAM-4.
    pub(crate) const fn of(status: ScsiStatus) -> Self {
        match status {
            ScsiStatus::GOOD
            | ScsiStatus::CONDITION_MET
            | ScsiStatus::INTERMEDIATE
            | ScsiStatus::INTERMEDIATE_CONDITION_MET => Self::Done,
            ScsiStatus::BUSY | ScsiStatus::TASK_SET_FULL => Self::NotBegun,
            ScsiStatus::TASK_ABORTED => Self::Aborted,
            _ => Self::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ok_leaves_the_verdict_to_the_scsi_status() {
        for code in 0..=u8::MAX {
            assert_eq!(srb_status(Response(code)).is_none(), code == 0, "response code {code}");
        }
    }

    #[test]
    fn a_missing_target_is_told_from_a_missing_unit() {
        assert_eq!(srb_status(Response::BAD_TARGET), Some(SrbStatus::INVALID_TARGET_ID));
        assert_eq!(srb_status(Response::INCORRECT_LUN), Some(SrbStatus::INVALID_LUN));
    }
}
