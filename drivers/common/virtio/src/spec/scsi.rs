//! virtio-scsi (5.6).

use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A logical unit's address (5.6.6.1): one, target, and the unit's number in flat addressing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(transparent)]
pub struct Lun(pub [u8; 8]);

impl Lun {
    /// The address of unit `lun` (below 16384) on `target`, by the flat space addressing method (SAM-5, 4.7.7.3) whatever the
    /// number, as Linux has it (drivers/scsi/virtio_scsi.c). Below 256 the peripheral device addressing method would do by the
    /// specification, and virtio-win's driver uses it, but rust-vmm's vhost-device-scsi does not know that one.
    pub const fn new(target: u8, lun: u16) -> Self {
        const FLAT: u8 = 0x40;
        Self([1, target, FLAT | (lun >> 8) as u8 & 0x3f, lun as u8, 0, 0, 0, 0])
    }
}

/// Task attribute (5.6.6.1).
#[doc(alias = "VIRTIO_SCSI_S")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskAttribute(pub u8);

impl TaskAttribute {
    /// In any order with others that are simple
    pub const SIMPLE: Self = Self(0);
    /// After all that came before, and before all that comes after
    pub const ORDERED: Self = Self(1);
    /// Before all others
    pub const HEAD: Self = Self(2);
    /// In spite of an auto contingent allegiance
    pub const ACA: Self = Self(3);
}

/// A command as the device reads it, with the default CDB size (5.6.6.1).
#[doc(alias = "virtio_scsi_req_cmd")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct CmdRequest {
    /// Logical unit
    pub lun: Lun,
    /// Command identifier, another one for each command that the device has
    pub tag: U64,
    /// [`TaskAttribute`]
    pub task_attribute: u8,
    /// SAM command priority: 1 is the highest, 15 the lowest, 0 none of its own
    pub priority: u8,
    /// Command reference number
    pub command_reference: u8,
    /// CDB, padded with zeroes
    pub cdb: [u8; config::DEFAULT_CDB_SIZE as usize],
}

static_assertions::const_assert_eq!(size_of::<CmdRequest>(), 51);

impl CmdRequest {
    /// A simple command without a tag. What does not fit of a longer CDB is left out; the caller checks.
    #[inline]
    pub fn new(lun: Lun, cdb: &[u8]) -> Self {
        let mut request = Self {
            lun,
            tag: U64::new(0),
            task_attribute: 0,
            priority: 0,
            command_reference: 0,
            cdb: [0; config::DEFAULT_CDB_SIZE as usize],
        };
        // The lengths that CDBs have are moved in registers (SPC-4, 4.2): eight bytes, and a word of what is left.
        match cdb.split_first_chunk::<8>() {
            Some((first, [a, b])) => {
                request.cdb[..8].copy_from_slice(first);
                request.cdb[8..10].copy_from_slice(&u16::from_ne_bytes([*a, *b]).to_ne_bytes());
            }
            Some((first, [a, b, c, d])) => {
                request.cdb[..8].copy_from_slice(first);
                request.cdb[8..12].copy_from_slice(&u32::from_ne_bytes([*a, *b, *c, *d]).to_ne_bytes());
            }
            Some((first, [a, b, c, d, e, f, g, h])) => {
                let rest = u64::from_ne_bytes([*a, *b, *c, *d, *e, *f, *g, *h]);
                request.cdb[..8].copy_from_slice(first);
                request.cdb[8..16].copy_from_slice(&rest.to_ne_bytes());
            }
            _ => {
                for (place, byte) in request.cdb.iter_mut().zip(cdb) {
                    *place = *byte;
                }
            }
        }
        request
    }
}

/// The device's answer, with the default sense size (5.6.6.1).
#[doc(alias = "virtio_scsi_req_cmd")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct CmdResponse {
    /// Bytes of sense data
    pub sense_length: U32,
    /// Bytes of the data that were not moved
    pub residual: U32,
    /// Status qualifier
    pub status_qualifier: U16,
    /// SCSI status
    pub status: u8,
    /// [`Response`]
    pub response: u8,
    /// Sense data
    pub sense: [u8; config::DEFAULT_SENSE_SIZE as usize],
}

static_assertions::const_assert_eq!(size_of::<CmdResponse>(), 108);

/// Response code (5.6.6.1).
#[doc(alias = "VIRTIO_SCSI_S")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response(pub u8);

impl Response {
    /// Done, whatever the SCSI status is; of a task management function: complete
    #[doc(alias = "VIRTIO_SCSI_S_FUNCTION_COMPLETE")]
    pub const OK: Self = Self(0);
    /// The CDB needs more data than the buffers hold
    pub const OVERRUN: Self = Self(1);
    /// Ended by an abort
    pub const ABORTED: Self = Self(2);
    /// The target does not exist
    pub const BAD_TARGET: Self = Self(3);
    /// Ended by a reset
    pub const RESET: Self = Self(4);
    /// Not enough resources
    pub const BUSY: Self = Self(5);
    /// The path failed
    pub const TRANSPORT_FAILURE: Self = Self(6);
    /// The target failed
    pub const TARGET_FAILURE: Self = Self(7);
    /// The nexus failed
    pub const NEXUS_FAILURE: Self = Self(8);
    /// Something else failed
    pub const FAILURE: Self = Self(9);
    /// A query found what it asked about (control requests)
    #[doc(alias = "VIRTIO_SCSI_S_FUNCTION_SUCCEEDED")]
    pub const FUNCTION_SUCCEEDED: Self = Self(10);
    /// The device does not do this function (control requests)
    #[doc(alias = "VIRTIO_SCSI_S_FUNCTION_REJECTED")]
    pub const FUNCTION_REJECTED: Self = Self(11);
    /// The logical unit does not exist (control requests)
    pub const INCORRECT_LUN: Self = Self(12);
}

/// `type` of a control request that is a task management function (5.6.6.2).
#[doc(alias = "VIRTIO_SCSI_T_TMF")]
pub const CONTROL_TASK_MANAGEMENT: u32 = 0;

/// Which task management function (5.6.6.2), its `subtype`.
#[doc(alias = "VIRTIO_SCSI_T_TMF")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskManagement(pub u32);

impl TaskManagement {
    /// Abort one command
    pub const ABORT_TASK: Self = Self(0);
    /// Abort every command to the unit
    pub const ABORT_TASK_SET: Self = Self(1);
    /// End an auto contingent allegiance
    pub const CLEAR_ACA: Self = Self(2);
    /// Abort every command to the unit, also those of others
    pub const CLEAR_TASK_SET: Self = Self(3);
    /// Reset all units of the target, as far as this initiator is concerned
    pub const I_T_NEXUS_RESET: Self = Self(4);
    /// Reset the unit
    pub const LOGICAL_UNIT_RESET: Self = Self(5);
    /// Ask whether the unit still has a command
    pub const QUERY_TASK: Self = Self(6);
    /// Ask whether the unit still has any command
    pub const QUERY_TASK_SET: Self = Self(7);
}

/// What the device reads of a task management function (5.6.6.2); it answers with one byte, a [`Response`].
#[doc(alias = "virtio_scsi_ctrl_tmf")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct TaskManagementRequest {
    /// [`CONTROL_TASK_MANAGEMENT`]
    pub kind: U32,
    /// [`TaskManagement`]
    pub function: U32,
    /// Logical unit
    pub lun: Lun,
    /// The [`CmdRequest::tag`] of the command that is meant, where one is
    pub tag: U64,
}

static_assertions::const_assert_eq!(size_of::<TaskManagementRequest>(), 24);

impl TaskManagementRequest {
    /// A function for a unit, or for the command with this tag.
    pub const fn new(function: TaskManagement, lun: Lun, tag: u64) -> Self {
        let kind = U32::new(CONTROL_TASK_MANAGEMENT);
        Self { kind, function: U32::new(function.0), lun, tag: U64::new(tag) }
    }
}

/// An event (5.6.6.3).
#[doc(alias = "virtio_scsi_event")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Event {
    /// [`EventType`], and bit 31 for events that were lost before this one
    pub kind: U32,
    /// Logical unit
    pub lun: Lun,
    /// What this means depends on the type
    pub reason: U32,
}

static_assertions::const_assert_eq!(size_of::<Event>(), 16);

/// What an event is about (5.6.6.3).
#[doc(alias = "VIRTIO_SCSI_T")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventType(pub u32);

impl EventType {
    /// Nothing, but for [`EventType::MISSED`]
    pub const NO_EVENT: Self = Self(0);
    /// A unit was reset, came or went; the reason is one of [`transport_reset`]
    pub const TRANSPORT_RESET: Self = Self(1);
    /// An asynchronous notification that was subscribed to
    pub const ASYNC_NOTIFY: Self = Self(2);
    /// A unit's parameters changed; the reason is the additional sense code, and the qualifier above it
    pub const PARAM_CHANGE: Self = Self(3);
    /// Bit that says that events were lost
    #[doc(alias = "VIRTIO_SCSI_T_EVENTS_MISSED")]
    pub const MISSED: u32 = 1 << 31;
}

/// Reasons of [`EventType::TRANSPORT_RESET`].
pub mod transport_reset {
    /// The unit was reset
    #[doc(alias = "VIRTIO_SCSI_EVT_RESET_HARD")]
    pub const HARD: u32 = 0;
    /// The unit is new
    #[doc(alias = "VIRTIO_SCSI_EVT_RESET_RESCAN")]
    pub const RESCAN: u32 = 1;
    /// The unit is gone
    #[doc(alias = "VIRTIO_SCSI_EVT_RESET_REMOVED")]
    pub const REMOVED: u32 = 2;
}

/// Offsets in the configuration structure (5.6.4).
pub mod config {
    /// `num_queues`, 32 bits
    pub const NUM_QUEUES: usize = 0;
    /// `seg_max`, 32 bits
    pub const SEG_MAX: usize = 4;
    /// `max_sectors`, 32 bits
    pub const MAX_SECTORS: usize = 8;
    /// `cmd_per_lun`, 32 bits
    pub const CMD_PER_LUN: usize = 12;
    /// `event_info_size`, 32 bits
    pub const EVENT_INFO_SIZE: usize = 16;
    /// `sense_size`, 32 bits
    pub const SENSE_SIZE: usize = 20;
    /// `cdb_size`, 32 bits
    pub const CDB_SIZE: usize = 24;
    /// `max_channel`, 16 bits
    pub const MAX_CHANNEL: usize = 28;
    /// `max_target`, 16 bits
    pub const MAX_TARGET: usize = 30;
    /// `max_lun`, 32 bits
    pub const MAX_LUN: usize = 32;
    /// `cdb_size` after a reset
    pub const DEFAULT_CDB_SIZE: u32 = 32;
    /// `sense_size` after a reset
    pub const DEFAULT_SENSE_SIZE: u32 = 96;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_addressed_as_5_6_6_1_says_and_in_the_form_that_every_device_knows() {
        assert_eq!(Lun::new(3, 5).0, [1, 3, 0x40, 5, 0, 0, 0, 0]);
        assert_eq!(Lun::new(3, 255).0, [1, 3, 0x40, 255, 0, 0, 0, 0]);
        assert_eq!(Lun::new(3, 256).0, [1, 3, 0x41, 0, 0, 0, 0, 0]);
        assert_eq!(Lun::new(0, 0x1234).0, [1, 0, 0x52, 0x34, 0, 0, 0, 0]);
    }

    #[test]
    fn a_command_has_the_bytes_of_5_6_6_1() {
        let request = CmdRequest::new(Lun::new(1, 2), &[0x12, 0, 0, 0, 36, 0]);

        let bytes = request.as_bytes();
        assert_eq!(bytes[..8], [1, 1, 0x40, 2, 0, 0, 0, 0]);
        assert_eq!(bytes[8..19], [0; 11]);
        assert_eq!(bytes[19..25], [0x12, 0, 0, 0, 36, 0]);
        assert_eq!(bytes[25..], [0; 26]);
    }

    #[test]
    fn a_task_management_function_has_the_bytes_of_5_6_6_2() {
        let lun = Lun::new(1, 2);
        let request = TaskManagementRequest::new(TaskManagement::LOGICAL_UNIT_RESET, lun, 0x0102);

        let bytes = request.as_bytes();
        assert_eq!(bytes[..8], [0, 0, 0, 0, 5, 0, 0, 0]);
        assert_eq!(bytes[8..16], lun.0);
        assert_eq!(bytes[16..], [2, 1, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn an_event_is_read_as_5_6_6_3_says() {
        let bytes = [1, 0, 0, 0x80, 1, 3, 0x40, 5, 0, 0, 0, 0, 2, 0, 0, 0];

        let event = Event::read_from_bytes(&bytes).expect("an event has 16 bytes");

        assert_eq!(EventType(event.kind.get() & !EventType::MISSED), EventType::TRANSPORT_RESET);
        assert_eq!((event.lun, event.reason.get()), (Lun::new(3, 5), transport_reset::REMOVED));
    }
}
