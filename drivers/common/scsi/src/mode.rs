//! MODE SENSE parameter data: headers (SPC-4, 7.5.5) and the caching page (SBC-3, 6.4.5).

use bitflags::bitflags;
use zerocopy::byteorder::big_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::parameter_data::ParameterData;

/// Page codes of mode pages.
pub mod page {
    /// Caching
    pub const CACHING: u8 = 0x08;
    /// Every page there is
    pub const ALL: u8 = 0x3f;
}

bitflags! {
    /// DEVICE-SPECIFIC PARAMETER of a disk (SBC-3, 6.4.1).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct DeviceSpecific: u8 {
        /// DPOFUA: the DPO and FUA bits of reads and writes are honoured.
        const DPO_FUA = 0x10;
        /// WP: the medium is write protected.
        const WRITE_PROTECTED = 0x80;
    }

    /// Byte 2 of the caching mode page.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Caching: u8 {
        /// RCD: reads do not use the cache.
        const READ_CACHE_DISABLE = 0x01;
        /// WCE: a write may end before it is on the medium.
        const WRITE_CACHE_ENABLE = 0x04;
    }
}

#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header6 {
    mode_data_length: u8,
    medium_type: u8,
    device_specific: u8,
    block_descriptor_length: u8,
}

#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header10 {
    mode_data_length: U16,
    medium_type: u8,
    device_specific: u8,
    reserved: [u8; 2],
    block_descriptor_length: U16,
}

/// Caching mode page (SBC-3, table 172).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct CachingPage {
    /// PS in bit 7, PAGE CODE
    pub page: u8,
    /// PAGE LENGTH
    pub length: u8,
    /// WCE, RCD and others
    pub flags: u8,
    /// Prefetch, segments and other fields that a virtual disk leaves at zero
    pub rest: [u8; 17],
}

static_assertions::const_assert_eq!(size_of::<CachingPage>(), 20);

impl CachingPage {
    /// The page with these flags.
    pub const fn new(flags: Caching) -> Self {
        Self {
            page: page::CACHING,
            length: (size_of::<Self>() - 2) as u8,
            flags: flags.bits(),
            rest: [0; 17],
        }
    }
}

/// The answer to MODE SENSE(6) or (10): header, no block descriptors, pages.
pub fn parameter_data(ten: bool, device_specific: DeviceSpecific, pages: &[u8]) -> ParameterData {
    let mut data = ParameterData::new();
    if ten {
        let header = Header10 {
            mode_data_length: U16::new((size_of::<Header10>() - 2 + pages.len()) as u16),
            medium_type: 0,
            device_specific: device_specific.bits(),
            reserved: [0; 2],
            block_descriptor_length: U16::new(0),
        };
        data.push(header.as_bytes());
    } else {
        let header = Header6 {
            mode_data_length: (size_of::<Header6>() - 1 + pages.len()) as u8,
            medium_type: 0,
            device_specific: device_specific.bits(),
            block_descriptor_length: 0,
        };
        data.push(header.as_bytes());
    }
    data.push(pages);
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mode_sense_6_counts_what_follows_its_first_byte() {
        let page = CachingPage::new(Caching::WRITE_CACHE_ENABLE);

        let data = parameter_data(false, DeviceSpecific::WRITE_PROTECTED, page.as_bytes());

        assert_eq!(data.as_bytes()[..7], [23, 0, 0x80, 0, 0x08, 18, 0x04]);
        assert_eq!(data.as_bytes().len(), 24);
    }

    #[test]
    fn mode_sense_10_counts_what_follows_its_first_two_bytes() {
        let page = CachingPage::new(Caching::empty());

        let data = parameter_data(true, DeviceSpecific::empty(), page.as_bytes());

        assert_eq!(data.as_bytes()[..11], [0, 26, 0, 0, 0, 0, 0, 0, 0x08, 18, 0x00]);
        assert_eq!(data.as_bytes().len(), 28);
    }
}
