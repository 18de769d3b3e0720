//! Task management functions in the control queue (virtio 1.3, 5.6.6.2): what resets one unit, or one target.

use adapter::{Function, Response};
use storport::Address;
use virtio::queue::Format;
use virtio::spec::scsi::{self, Lun, TaskManagement, TaskManagementRequest};

/// A function and its answer, of one byte.
#[derive(Debug)]
pub struct Task;

impl Format for Task {
    type Header = TaskManagementRequest;
    const RESPONSE_BYTES: u16 = 1;
    const RESPONSE_BEFORE_DATA_IN: bool = false;
    const INLINE_SEGMENTS: u16 = 1;
}

/// A function as it goes to the device.
pub(crate) fn task(function: Function, tag: u32) -> TaskManagementRequest {
    let (function, lun, tag) = match function {
        // It bears the tag of the command that it is about; of the others nobody looks at theirs.
        Function::AbortTask { unit, command, .. } => (TaskManagement::ABORT_TASK, lun_of(unit), command),
        Function::ResetUnit(unit) => (TaskManagement::LOGICAL_UNIT_RESET, lun_of(unit), tag),
        // Of the address only the target counts.
        Function::ResetTarget(unit) => (TaskManagement::I_T_NEXUS_RESET, Lun::new(unit.target, 0), tag),
    };
    TaskManagementRequest::new(function, lun, u64::from(tag))
}

fn lun_of(unit: Address) -> Lun {
    Lun::new(unit.target, u16::from(unit.lun))
}

/// Whether the function was done: commands that are still with the device some time later are a lie. Nothing is left to be done
/// about a unit that is not there (any more), and a wider reset would end what is none of its commands.
pub(crate) fn is_done(response: &Response<'_>) -> bool {
    let [code] = response.read(0);
    matches!(
        scsi::Response(code),
        scsi::Response::OK
            | scsi::Response::FUNCTION_SUCCEEDED
            | scsi::Response::BAD_TARGET
            | scsi::Response::INCORRECT_LUN
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::IntoBytes;

    #[test]
    fn a_unit_and_a_target_are_addressed_as_the_specification_has_them() {
        let unit = Address { path: 0, target: 3, lun: 5 };

        let of_unit = task(Function::ResetUnit(unit), 7);
        let of_target = task(Function::ResetTarget(unit), 8);

        // Type 0, function 5; the LUN in the flat form; the tag.
        let expected = [0, 0, 0, 0, 5, 0, 0, 0, 1, 3, 0x40, 5, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(of_unit.as_bytes(), expected);
        assert_eq!(of_target.as_bytes()[4..12], [4, 0, 0, 0, 1, 3, 0x40, 0]);
    }
}
