//! virtio-blk (5.2).

use bitflags::bitflags;
use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Type of a request (5.2.6). Not an `enum`: it may hold a value this driver has no name for.
#[doc(alias = "VIRTIO_BLK_T")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestType(pub u32);

impl RequestType {
    /// Read
    pub const IN: Self = Self(0);
    /// Write
    pub const OUT: Self = Self(1);
    /// Make completed writes durable
    pub const FLUSH: Self = Self(4);
    /// Fetch the serial number
    pub const GET_ID: Self = Self(8);
    /// Fetch [`Lifetime`]
    pub const GET_LIFETIME: Self = Self(10);
    /// Sectors whose content is not needed any more
    pub const DISCARD: Self = Self(11);
    /// Write zeroes without sending them
    pub const WRITE_ZEROES: Self = Self(13);
    /// Sectors whose content must not be found again
    pub const SECURE_ERASE: Self = Self(14);
}

/// The header of a request (5.2.6).
#[doc(alias = "virtio_blk_req")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct RequestHeader {
    /// [`RequestType`]
    pub kind: U32,
    /// Reserved
    pub reserved: U32,
    /// First sector, in units of 512 bytes
    pub sector: U64,
}

static_assertions::const_assert_eq!(size_of::<RequestHeader>(), 16);

impl RequestHeader {
    /// The header of a request that starts at `sector`.
    pub const fn new(kind: RequestType, sector: u64) -> Self {
        Self { kind: U32::new(kind.0), reserved: U32::new(0), sector: U64::new(sector) }
    }
}

bitflags! {
    /// Flags of a range (5.2.6).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct RangeFlags: u32 {
        /// WRITE_ZEROES may deallocate the sectors.
        const UNMAP = 1;
    }
}

/// A range of DISCARD, WRITE_ZEROES and SECURE_ERASE (5.2.6).
#[doc(alias = "virtio_blk_discard_write_zeroes")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct SectorRange {
    /// First sector
    pub sector: U64,
    /// How many
    pub count: U32,
    /// [`RangeFlags`]
    pub flags: U32,
}

static_assertions::const_assert_eq!(size_of::<SectorRange>(), 16);

impl SectorRange {
    /// `count` sectors from `sector` on.
    pub const fn new(sector: u64, count: u32, flags: RangeFlags) -> Self {
        Self { sector: U64::new(sector), count: U32::new(count), flags: U32::new(flags.bits()) }
    }
}

/// The status byte of a request (5.2.6).
#[doc(alias = "VIRTIO_BLK_S")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(pub u8);

impl Status {
    /// Done
    pub const OK: Self = Self(0);
    /// The device or driver failed
    pub const IOERR: Self = Self(1);
    /// The device does not implement the request
    pub const UNSUPP: Self = Self(2);
}

/// How worn the storage is: the data of GET_LIFETIME (5.2.6).
#[doc(alias = "virtio_blk_lifetime")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Lifetime {
    /// Reserved blocks that are used up: 0 undefined, 1 normal, 2 80 % are, 3 90 % are
    pub pre_eol_info: U16,
    /// Wear of SLC cells: 0 undefined, 1 up to 10 % of the lifetime, 2 up to 20 %, … 11 beyond it
    pub device_lifetime_est_typ_a: U16,
    /// Wear of MLC cells, likewise
    pub device_lifetime_est_typ_b: U16,
}

static_assertions::const_assert_eq!(size_of::<Lifetime>(), 6);

/// `zoned.model` (5.2.4). Not an `enum`: it may hold a value this driver has no name for.
#[doc(alias = "VIRTIO_BLK_Z")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZonedModel(pub u8);

impl ZonedModel {
    /// No zones, or none that concern a driver
    pub const NONE: Self = Self(0);
    /// Zones that must be written in order
    pub const HOST_MANAGED: Self = Self(1);
    /// Zones that had better be written in order
    pub const HOST_AWARE: Self = Self(2);
}

/// Offsets in the configuration structure (5.2.4); each field is valid with its feature.
pub mod config {
    /// `capacity`, 64 bits, in sectors of 512 bytes
    pub const CAPACITY: usize = 0;
    /// `size_max` (VIRTIO_BLK_F_SIZE_MAX)
    pub const SIZE_MAX: usize = 8;
    /// `seg_max` (VIRTIO_BLK_F_SEG_MAX)
    pub const SEG_MAX: usize = 12;
    /// `geometry.cylinders`, 16 bits (VIRTIO_BLK_F_GEOMETRY)
    pub const CYLINDERS: usize = 16;
    /// `geometry.heads`, 8 bits (VIRTIO_BLK_F_GEOMETRY)
    pub const HEADS: usize = 18;
    /// `geometry.sectors`, 8 bits (VIRTIO_BLK_F_GEOMETRY)
    pub const SECTORS: usize = 19;
    /// `blk_size` (VIRTIO_BLK_F_BLK_SIZE)
    pub const BLK_SIZE: usize = 20;
    /// `topology.physical_block_exp`, 8 bits (VIRTIO_BLK_F_TOPOLOGY): logical blocks per physical one, as a power of two
    pub const PHYSICAL_BLOCK_EXP: usize = 24;
    /// `topology.alignment_offset`, 8 bits (VIRTIO_BLK_F_TOPOLOGY): first aligned logical block
    pub const ALIGNMENT_OFFSET: usize = 25;
    /// `topology.min_io_size`, 16 bits, in logical blocks (VIRTIO_BLK_F_TOPOLOGY)
    pub const MIN_IO_SIZE: usize = 26;
    /// `topology.opt_io_size`, 32 bits, in logical blocks (VIRTIO_BLK_F_TOPOLOGY)
    pub const OPT_IO_SIZE: usize = 28;
    /// `writeback`, 8 bits (VIRTIO_BLK_F_CONFIG_WCE)
    pub const WRITEBACK: usize = 32;
    /// `num_queues`, 16 bits (VIRTIO_BLK_F_MQ)
    pub const NUM_QUEUES: usize = 34;
    /// `max_discard_sectors`, 32 bits (VIRTIO_BLK_F_DISCARD)
    pub const MAX_DISCARD_SECTORS: usize = 36;
    /// `max_discard_seg`, 32 bits (VIRTIO_BLK_F_DISCARD)
    pub const MAX_DISCARD_SEG: usize = 40;
    /// `discard_sector_alignment`, 32 bits (VIRTIO_BLK_F_DISCARD)
    pub const DISCARD_SECTOR_ALIGNMENT: usize = 44;
    /// `max_write_zeroes_sectors`, 32 bits (VIRTIO_BLK_F_WRITE_ZEROES)
    pub const MAX_WRITE_ZEROES_SECTORS: usize = 48;
    /// `max_write_zeroes_seg`, 32 bits (VIRTIO_BLK_F_WRITE_ZEROES)
    pub const MAX_WRITE_ZEROES_SEG: usize = 52;
    /// `write_zeroes_may_unmap`, 8 bits (VIRTIO_BLK_F_WRITE_ZEROES)
    pub const WRITE_ZEROES_MAY_UNMAP: usize = 56;
    /// `max_secure_erase_sectors`, 32 bits (VIRTIO_BLK_F_SECURE_ERASE)
    pub const MAX_SECURE_ERASE_SECTORS: usize = 60;
    /// `max_secure_erase_seg`, 32 bits (VIRTIO_BLK_F_SECURE_ERASE)
    pub const MAX_SECURE_ERASE_SEG: usize = 64;
    /// `secure_erase_sector_alignment`, 32 bits (VIRTIO_BLK_F_SECURE_ERASE)
    pub const SECURE_ERASE_SECTOR_ALIGNMENT: usize = 68;
    /// `zoned.model`, 8 bits (VIRTIO_BLK_F_ZONED)
    pub const ZONED_MODEL: usize = 92;
    /// Length of the whole structure
    pub const BYTES: usize = 96;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_has_the_bytes_of_5_2_6() {
        let header = RequestHeader::new(RequestType::OUT, 0x0102_0304_0506_0708);

        assert_eq!(header.as_bytes(), [1, 0, 0, 0, 0, 0, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1]);
    }

    #[test]
    fn a_range_has_the_bytes_of_5_2_6() {
        let range = SectorRange::new(0x0102_0304_0506_0708, 0x090a_0b0c, RangeFlags::UNMAP);

        assert_eq!(range.as_bytes(), [8, 7, 6, 5, 4, 3, 2, 1, 12, 11, 10, 9, 1, 0, 0, 0]);
    }
}
