//! INQUIRY data: standard (SPC-4, 6.6.2) and vital product data pages (SPC-4, 7.8).

use zerocopy::byteorder::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::parameter_data::ParameterData;

/// Standard INQUIRY data of a disk, up to the last version descriptor (SPC-4, table 140).
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
    /// Vendor specific, fields of the parallel bus, reserved
    pub bytes_36_to_57: [u8; 22],
    /// VERSION DESCRIPTOR 1 to 8
    pub versions: [U16; 8],
}

static_assertions::const_assert_eq!(size_of::<StandardInquiry>(), 74);

/// VERSION DESCRIPTOR values (SPC-4, annex E): standards, without claiming a revision of them.
mod version {
    pub const SAM_5: u16 = 0x00a0;
    pub const SPC_4: u16 = 0x0460;
    pub const SBC_3: u16 = 0x04c0;
}

impl StandardInquiry {
    /// A fixed disk that takes queued commands and follows SAM-5, SPC-4 and SBC-3.
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
            bytes_36_to_57: [0; 22],
            versions: [
                U16::new(version::SAM_5),
                U16::new(version::SPC_4),
                U16::new(version::SBC_3),
                U16::new(0),
                U16::new(0),
                U16::new(0),
                U16::new(0),
                U16::new(0),
            ],
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
    /// Block limits
    pub const BLOCK_LIMITS: u8 = 0xb0;
    /// Block device characteristics
    pub const BLOCK_DEVICE_CHARACTERISTICS: u8 = 0xb1;
    /// Logical block provisioning
    pub const LOGICAL_BLOCK_PROVISIONING: u8 = 0xb2;
}

/// Head of a vital product data page (SPC-4, table 521).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct VpdHeader {
    peripheral: u8,
    page: u8,
    length: U16,
}

fn vpd_page(data: &mut ParameterData<'_>, page: u8, length: usize) {
    let header = VpdHeader { peripheral: 0x00, page, length: U16::new(length as u16) };
    data.push(header.as_bytes());
}

/// The page that lists the others (SPC-4, 7.8.14); `pages` are in ascending order.
pub fn supported_pages(data: &mut ParameterData<'_>, pages: &[u8]) {
    vpd_page(data, page::SUPPORTED_PAGES, pages.len());
    data.push(pages);
}

/// The serial number as the device gives it (SPC-4, 7.8.15).
pub fn unit_serial_number(data: &mut ParameterData<'_>, serial: &[u8]) {
    vpd_page(data, page::UNIT_SERIAL_NUMBER, serial.len());
    data.push(serial);
}

/// One name of the logical unit in the Device Identification page (SPC-4, 7.8.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Designator<'a> {
    /// Anything, in ASCII: unique as far as its maker takes care.
    VendorSpecific(&'a [u8]),
    /// T10 vendor ID based, in ASCII: vendor, then what tells it from others of that vendor.
    T10VendorId {
        /// T10 VENDOR IDENTIFICATION
        vendor: [u8; 8],
        /// What comes next.
        product: &'a [u8],
        /// And what comes last.
        serial: &'a [u8],
    },
    /// EUI-64
    Eui64([u8; 8]),
    /// NAA Locally Assigned: unique in this machine and nowhere else. The value has 60 bits.
    LocallyAssigned(u64),
}

impl Designator<'_> {
    const fn length(&self) -> usize {
        match self {
            Self::VendorSpecific(name) => name.len(),
            Self::T10VendorId { vendor, product, serial } => vendor.len() + product.len() + serial.len(),
            Self::Eui64(_) | Self::LocallyAssigned(_) => 8,
        }
    }

    /// Header, with ASSOCIATION 0 (logical unit), and designator.
    fn push(&self, data: &mut ParameterData<'_>) {
        const BINARY: u8 = 1;
        const ASCII: u8 = 2;
        const NAA_LOCALLY_ASSIGNED: u64 = 3;
        let (code_set, kind) = match self {
            Self::VendorSpecific(_) => (ASCII, 0),
            Self::T10VendorId { .. } => (ASCII, 1),
            Self::Eui64(_) => (BINARY, 2),
            Self::LocallyAssigned(_) => (BINARY, 3),
        };
        data.push(&[code_set, kind, 0, self.length() as u8]);
        match self {
            Self::VendorSpecific(name) => data.push(name),
            Self::T10VendorId { vendor, product, serial } => data.push(vendor).push(product).push(serial),
            Self::Eui64(name) => data.push(name),
            Self::LocallyAssigned(value) => {
                data.push(&(NAA_LOCALLY_ASSIGNED << 60 | value & u64::MAX >> 4).to_be_bytes())
            }
        };
    }
}

/// The names of the logical unit (SPC-4, 7.8.6).
pub fn device_identification(data: &mut ParameterData<'_>, designators: &[Designator<'_>]) {
    const HEADER_BYTES: usize = 4;
    let length = designators.iter().map(|designator| HEADER_BYTES + designator.length()).sum();
    vpd_page(data, page::DEVICE_IDENTIFICATION, length);
    for designator in designators {
        designator.push(data);
    }
}

/// The Block Limits page (SBC-3, 6.5.3), without its header. Counts are of logical blocks; 0 says nothing, but for the
/// limits of UNMAP, where it says that there is no such command.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct BlockLimits {
    /// WSNZ in bit 0: WRITE SAME of zero blocks is refused.
    pub write_same_non_zero: u8,
    /// MAXIMUM COMPARE AND WRITE LENGTH
    pub max_compare_and_write: u8,
    /// OPTIMAL TRANSFER LENGTH GRANULARITY
    pub granularity: U16,
    /// MAXIMUM TRANSFER LENGTH
    pub max_transfer: U32,
    /// OPTIMAL TRANSFER LENGTH
    pub optimal_transfer: U32,
    /// MAXIMUM PREFETCH LENGTH
    pub max_prefetch: U32,
    /// MAXIMUM UNMAP LBA COUNT
    pub max_unmap_blocks: U32,
    /// MAXIMUM UNMAP BLOCK DESCRIPTOR COUNT
    pub max_unmap_descriptors: U32,
    /// OPTIMAL UNMAP GRANULARITY
    pub unmap_granularity: U32,
    /// UGAVALID in bit 31, UNMAP GRANULARITY ALIGNMENT
    pub unmap_alignment: U32,
    /// MAXIMUM WRITE SAME LENGTH
    pub max_write_same: U64,
    /// Reserved
    pub reserved: [u8; 20],
}

static_assertions::const_assert_eq!(size_of::<BlockLimits>(), 0x3c);

impl BlockLimits {
    /// UGAVALID: UNMAP GRANULARITY ALIGNMENT means something.
    pub const ALIGNMENT_VALID: u32 = 1 << 31;

    /// The page.
    pub fn answer(&self, data: &mut ParameterData<'_>) {
        vpd_page(data, page::BLOCK_LIMITS, size_of::<Self>());
        data.push(self.as_bytes());
    }
}

/// The Block Device Characteristics page (SBC-3, 6.5.2).
pub fn block_device_characteristics(data: &mut ParameterData<'_>, rotation: RotationRate) {
    /// VBULS: VERIFY compares blocks that are not mapped as it does others.
    const VERIFIES_UNMAPPED: u8 = 0x01;
    let mut page = [0; 0x3c];
    page[1] = rotation as u8;
    page[4] = VERIFIES_UNMAPPED;
    vpd_page(data, page::BLOCK_DEVICE_CHARACTERISTICS, page.len());
    data.push(&page);
}

/// MEDIUM ROTATION RATE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RotationRate {
    /// Not reported.
    Unknown = 0,
    /// The medium does not rotate.
    SolidState = 1,
}

/// The Logical Block Provisioning page (SBC-3, 6.5.4) of a disk some of whose blocks can be unmapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Provisioning {
    /// LBPU: UNMAP does it.
    pub unmap: bool,
    /// LBPWS: WRITE SAME(16) with UNMAP does it.
    pub write_same_16: bool,
    /// LBPWS10: WRITE SAME(10) with UNMAP does it.
    pub write_same_10: bool,
    /// LBPRZ: unmapped blocks read as zeroes.
    pub reads_zeroes: bool,
    /// PROVISIONING TYPE is thin, otherwise not reported.
    pub thin: bool,
}

impl Provisioning {
    /// Whether some command unmaps blocks (LBPME of READ CAPACITY(16)).
    pub const fn managed(self) -> bool {
        self.unmap || self.write_same_16 || self.write_same_10
    }

    /// The page.
    pub fn answer(self, data: &mut ParameterData<'_>) {
        let flags = u8::from(self.unmap) << 7
            | u8::from(self.write_same_16) << 6
            | u8::from(self.write_same_10) << 5
            | u8::from(self.reads_zeroes) << 2;
        vpd_page(data, page::LOGICAL_BLOCK_PROVISIONING, 4);
        data.push(&[0, flags, u8::from(self.thin) << 1, 0]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameter_data::collect;

    #[test]
    fn standard_data_is_that_of_a_fixed_spc_4_disk() {
        let inquiry = StandardInquiry::disk(*b"VENDOR  ", *b"PRODUCT         ", *b"0001");

        let bytes = inquiry.as_bytes();
        assert_eq!(bytes[..8], [0x00, 0x00, 0x06, 0x02, 69, 0, 0, 0x02]);
        assert_eq!(&bytes[8..36], b"VENDOR  PRODUCT         0001");
        assert_eq!(bytes[36..58], [0; 22]);
        assert_eq!(bytes[58..], [0x00, 0xa0, 0x04, 0x60, 0x04, 0xc0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn the_page_list_carries_its_length() {
        let data = collect(|data| supported_pages(data, &[0x00, 0x80, 0x83]));

        assert_eq!(data, [0, 0, 0, 3, 0x00, 0x80, 0x83]);
    }

    #[test]
    fn a_serial_number_page_carries_the_serial_number() {
        let data = collect(|data| unit_serial_number(data, b"ABC"));

        assert_eq!(data, [0, 0x80, 0, 3, b'A', b'B', b'C']);
    }

    #[test]
    fn device_identification_has_the_designators_one_behind_the_other() {
        let designators = [
            Designator::VendorSpecific(b"SN1"),
            Designator::T10VendorId { vendor: *b"VENDOR  ", product: b"P ", serial: b"SN1" },
            Designator::Eui64([1, 2, 3, 4, 5, 6, 7, 8]),
            Designator::LocallyAssigned(0xf123_4567_89ab_cdef),
        ];

        let data = collect(|data| device_identification(data, &designators));

        let expected: [&[u8]; 9] = [
            &[0, 0x83, 0, 48],
            &[0x02, 0x00, 0x00, 3],
            b"SN1",
            &[0x02, 0x01, 0x00, 13],
            b"VENDOR  P SN1",
            &[0x01, 0x02, 0x00, 8],
            &[1, 2, 3, 4, 5, 6, 7, 8],
            &[0x01, 0x03, 0x00, 8],
            &[0x31, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef],
        ];
        assert_eq!(data, expected.concat());
        assert_eq!(collect(|data| device_identification(data, &[])), [0, 0x83, 0, 0]);
    }

    #[test]
    fn block_limits_have_the_bytes_of_sbc() {
        let limits = BlockLimits {
            write_same_non_zero: 1,
            max_compare_and_write: 2,
            granularity: U16::new(0x0304),
            max_transfer: U32::new(0x0506_0708),
            optimal_transfer: U32::new(0x090a_0b0c),
            max_prefetch: U32::new(0x0d0e_0f10),
            max_unmap_blocks: U32::new(0x1112_1314),
            max_unmap_descriptors: U32::new(0x1516_1718),
            unmap_granularity: U32::new(0x191a_1b1c),
            unmap_alignment: U32::new(BlockLimits::ALIGNMENT_VALID | 0x1d1e_1f20),
            max_write_same: U64::new(0x2122_2324_2526_2728),
            reserved: [0; 20],
        };

        let data = collect(|data| limits.answer(data));

        let mut expected: std::vec::Vec<u8> = (1..=0x28).collect();
        expected[28] |= 0x80;
        expected.resize(0x3c, 0);
        assert_eq!(data[..4], [0, 0xb0, 0, 0x3c]);
        assert_eq!(data[4..], expected);
    }

    #[test]
    fn block_device_characteristics_tell_the_rotation_rate() {
        for (rotation, rate) in [(RotationRate::Unknown, 0), (RotationRate::SolidState, 1)] {
            let data = collect(|data| block_device_characteristics(data, rotation));

            assert_eq!(data[..9], [0, 0xb1, 0, 0x3c, 0, rate, 0, 0, 0x01]);
            assert_eq!(data[9..], [0; 55]);
        }
    }

    #[test]
    fn provisioning_tells_who_unmaps() {
        let unmap = Provisioning { unmap: true, thin: true, ..Provisioning::default() };
        let write_same = Provisioning {
            write_same_16: true,
            write_same_10: true,
            reads_zeroes: true,
            ..Provisioning::default()
        };

        assert_eq!(collect(|data| unmap.answer(data)), [0, 0xb2, 0, 4, 0, 0x80, 0x02, 0]);
        assert_eq!(collect(|data| write_same.answer(data)), [0, 0xb2, 0, 4, 0, 0x64, 0x00, 0]);
        assert_eq!([unmap.managed(), write_same.managed()], [true; 2]);
        assert!(!Provisioning { reads_zeroes: true, thin: true, ..Provisioning::default() }.managed());
    }
}
