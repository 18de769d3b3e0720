//! INQUIRY data: standard (SPC-4, 6.6.2) and vital product data pages (SPC-4, 7.8).

use zerocopy::byteorder::big_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::parameter_data::ParameterData;

/// Standard INQUIRY data of a disk, up to the product revision (SPC-4, table 140).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct StandardInquiry {
    /// PERIPHERAL QUALIFIER and PERIPHERAL DEVICE TYPE
    pub peripheral: u8,
    /// RMB in bit 7
    pub removable: u8,
    /// VERSION
    pub version: u8,
    /// RESPONSE DATA FORMAT in the low four bits, HISUP in bit 4
    pub response_data_format: u8,
    /// ADDITIONAL LENGTH
    pub additional_length: u8,
    /// Bytes 5 to 7; CMDQUE is bit 1 of the last
    pub flags: [u8; 3],
    /// T10 VENDOR IDENTIFICATION, padded with spaces
    pub vendor: [u8; 8],
    /// PRODUCT IDENTIFICATION, padded with spaces
    pub product: [u8; 16],
    /// PRODUCT REVISION LEVEL, padded with spaces
    pub revision: [u8; 4],
}

static_assertions::const_assert_eq!(size_of::<StandardInquiry>(), 36);

impl StandardInquiry {
    /// A fixed disk that takes queued commands and follows SPC-4.
    pub const fn disk(vendor: [u8; 8], product: [u8; 16], revision: [u8; 4]) -> Self {
        Self {
            peripheral: 0x00,
            removable: 0x00,
            version: 0x06,
            response_data_format: 0x02,
            additional_length: (size_of::<Self>() - 5) as u8,
            flags: [0, 0, 0x02],
            vendor,
            product,
            revision,
        }
    }
}

/// Page codes of vital product data (SPC-4, table 522).
pub mod page {
    /// Supported VPD pages
    pub const SUPPORTED_PAGES: u8 = 0x00;
    /// Unit serial number
    pub const UNIT_SERIAL_NUMBER: u8 = 0x80;
    /// Device identification
    pub const DEVICE_IDENTIFICATION: u8 = 0x83;
}

/// Head of a vital product data page (SPC-4, table 521).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct VpdHeader {
    peripheral: u8,
    page: u8,
    length: U16,
}

fn vpd_page(page: u8, length: usize) -> ParameterData {
    let mut data = ParameterData::new();
    let header = VpdHeader { peripheral: 0x00, page, length: U16::new(length as u16) };
    data.push(header.as_bytes());
    data
}

/// The page that lists the others, in ascending order (SPC-4, 7.8.14).
pub fn supported_pages(pages: &[u8]) -> ParameterData {
    let mut data = vpd_page(page::SUPPORTED_PAGES, pages.len());
    data.push(pages);
    data
}

/// The serial number as the device gives it (SPC-4, 7.8.15).
pub fn unit_serial_number(serial: &[u8]) -> ParameterData {
    let mut data = vpd_page(page::UNIT_SERIAL_NUMBER, serial.len());
    data.push(serial);
    data
}

/// One T10 vendor ID based designator in ASCII for the logical unit: vendor, then what tells it from others of that
/// vendor (SPC-4, 7.8.6.4).
pub fn device_identification(vendor: [u8; 8], product: &[u8], serial: &[u8]) -> ParameterData {
    /// Designator header: CODE SET 2 (ASCII), ASSOCIATION 0 (logical unit), DESIGNATOR TYPE 1 (T10 vendor ID).
    const ASCII_T10_VENDOR_ID: [u8; 3] = [0x02, 0x01, 0x00];
    let designator = vendor.len() + product.len() + serial.len();
    let mut data = vpd_page(page::DEVICE_IDENTIFICATION, 4 + designator);
    data.push(&ASCII_T10_VENDOR_ID).push(&[designator as u8]).push(&vendor).push(product).push(serial);
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_data_is_that_of_a_fixed_spc_4_disk() {
        let inquiry = StandardInquiry::disk(*b"VENDOR  ", *b"PRODUCT         ", *b"0001");

        assert_eq!(inquiry.as_bytes()[..8], [0x00, 0x00, 0x06, 0x02, 31, 0, 0, 0x02]);
        assert_eq!(&inquiry.as_bytes()[8..], b"VENDOR  PRODUCT         0001");
    }

    #[test]
    fn the_page_list_carries_its_length() {
        assert_eq!(supported_pages(&[0x00, 0x80, 0x83]).as_bytes(), [0, 0, 0, 3, 0x00, 0x80, 0x83]);
    }

    #[test]
    fn a_serial_number_page_carries_the_serial_number() {
        assert_eq!(unit_serial_number(b"ABC").as_bytes(), [0, 0x80, 0, 3, b'A', b'B', b'C']);
    }

    #[test]
    fn device_identification_has_one_t10_vendor_designator() {
        let data = device_identification(*b"VENDOR  ", b"P ", b"SN1");

        assert_eq!(data.as_bytes()[..8], [0, 0x83, 0, 17, 0x02, 0x01, 0x00, 13]);
        assert_eq!(&data.as_bytes()[8..], b"VENDOR  P SN1");
    }
}
