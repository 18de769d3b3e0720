//! virtio-scsi (5.6).

use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A logical unit's address (5.6.6.1): one, target, and the unit's number in flat addressing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(transparent)]
pub struct Lun(pub [u8; 8]);

impl Lun {
    /// The address of unit `lun` (below 16384) on `target`.
    pub const fn new(target: u8, lun: u16) -> Self {
        /// Flat space addressing method (SAM-5, 4.7.7.3).
        const FLAT: u8 = 0x40;
        Self([1, target, FLAT | (lun >> 8) as u8 & 0x3f, lun as u8, 0, 0, 0, 0])
    }
}

/// A command as the device reads it, with the default CDB size (5.6.6.1).
#[doc(alias = "virtio_scsi_req_cmd")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct CmdRequest {
    /// Logical unit
    pub lun: Lun,
    /// Command identifier
    pub tag: U64,
    /// Task attribute; 0 is SIMPLE
    pub task_attribute: u8,
    /// SAM command priority
    pub priority: u8,
    /// Command reference number
    pub command_reference: u8,
    /// CDB, padded with zeroes
    pub cdb: [u8; config::DEFAULT_CDB_SIZE as usize],
}

static_assertions::const_assert_eq!(size_of::<CmdRequest>(), 51);

impl CmdRequest {
    /// A simple command. What does not fit of a longer CDB is left out; the caller checks.
    pub fn new(lun: Lun, cdb: &[u8]) -> Self {
        let mut request = Self {
            lun,
            tag: U64::new(0),
            task_attribute: 0,
            priority: 0,
            command_reference: 0,
            cdb: [0; config::DEFAULT_CDB_SIZE as usize],
        };
        for (place, byte) in request.cdb.iter_mut().zip(cdb) {
            *place = *byte;
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
    /// Done, whatever the SCSI status is
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
    /// The logical unit does not exist (control requests)
    pub const INCORRECT_LUN: Self = Self(12);
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
    fn a_unit_is_addressed_as_5_6_6_1_says() {
        assert_eq!(Lun::new(3, 5).0, [1, 3, 0x40, 5, 0, 0, 0, 0]);
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
}
