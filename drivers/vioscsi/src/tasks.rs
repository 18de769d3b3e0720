//! Task management functions in the control queue (virtio 1.3, 5.6.6.2): what resets one unit, or one target.

use adapter::{Response, Scope};
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

/// The function that has the device give up every command in this scope; there is none for the whole device.
pub(crate) fn task(scope: Scope, tag: u32) -> Option<TaskManagementRequest> {
    let (function, lun) = match scope {
        Scope::Unit(unit) => (TaskManagement::LOGICAL_UNIT_RESET, Lun::new(unit.target, u16::from(unit.lun))),
        // Of the address only the target counts.
        Scope::Target(unit) => (TaskManagement::I_T_NEXUS_RESET, Lun::new(unit.target, 0)),
        Scope::Device => return None,
    };
    Some(TaskManagementRequest::new(function, lun, u64::from(tag)))
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
    use storport::Address;
    use zerocopy::IntoBytes;

    #[test]
    fn a_unit_and_a_target_are_reset_and_the_whole_device_is_not() {
        let unit = Address { path: 0, target: 3, lun: 5 };

        let of_unit = task(Scope::Unit(unit), 7).expect("a unit can be reset");
        let of_target = task(Scope::Target(unit), 8).expect("a target can be reset");

        // Type 0, function 5; the LUN in the flat form; the tag.
        let expected = [0, 0, 0, 0, 5, 0, 0, 0, 1, 3, 0x40, 5, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(of_unit.as_bytes(), expected);
        assert_eq!(of_target.as_bytes()[4..12], [4, 0, 0, 0, 1, 3, 0x40, 0]);
        assert!(task(Scope::Device, 9).is_none());
    }
}
