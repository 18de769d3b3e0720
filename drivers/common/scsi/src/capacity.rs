//! READ CAPACITY parameter data (SBC-3, 5.15.2 and 5.16.2).

use zerocopy::byteorder::big_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Answer to READ CAPACITY(10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Capacity10 {
    /// RETURNED LOGICAL BLOCK ADDRESS: the last block; all-ones when it does not fit.
    pub last_block: U32,
    /// LOGICAL BLOCK LENGTH IN BYTES
    pub block_bytes: U32,
}

static_assertions::const_assert_eq!(size_of::<Capacity10>(), 8);

impl Capacity10 {
    /// The answer of a disk whose last block is `last_block`.
    pub fn new(last_block: u64, block_bytes: u32) -> Self {
        Self {
            last_block: U32::new(u32::try_from(last_block).unwrap_or(u32::MAX)),
            block_bytes: U32::new(block_bytes),
        }
    }
}

/// Answer to READ CAPACITY(16).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Capacity16 {
    /// RETURNED LOGICAL BLOCK ADDRESS: the last block.
    pub last_block: U64,
    /// LOGICAL BLOCK LENGTH IN BYTES
    pub block_bytes: U32,
    /// P_TYPE and PROT_EN
    pub protection: u8,
    /// P_I_EXPONENT, LOGICAL BLOCKS PER PHYSICAL BLOCK EXPONENT
    pub exponents: u8,
    /// LBPME, LBPRZ, LOWEST ALIGNED LOGICAL BLOCK ADDRESS
    pub provisioning: [u8; 2],
    /// Reserved
    pub reserved: [u8; 16],
}

static_assertions::const_assert_eq!(size_of::<Capacity16>(), 32);

/// How blocks come and go, and how they lie on physical ones: what READ CAPACITY(16) says besides the capacity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrangement {
    /// LOGICAL BLOCKS PER PHYSICAL BLOCK EXPONENT, at most 15.
    pub physical_block_exponent: u8,
    /// LOWEST ALIGNED LOGICAL BLOCK ADDRESS, below 2^14.
    pub lowest_aligned_block: u16,
    /// LBPME: some command unmaps blocks.
    pub managed: bool,
    /// LBPRZ: unmapped blocks read as zeroes.
    pub reads_zeroes: bool,
}

impl Capacity16 {
    /// The answer of a disk without protection information.
    pub fn new(last_block: u64, block_bytes: u32, arrangement: Arrangement) -> Self {
        let bits = u16::from(arrangement.managed) << 15 | u16::from(arrangement.reads_zeroes) << 14;
        Self {
            last_block: U64::new(last_block),
            block_bytes: U32::new(block_bytes),
            protection: 0,
            exponents: arrangement.physical_block_exponent & 0x0f,
            provisioning: (bits | arrangement.lowest_aligned_block & 0x3fff).to_be_bytes(),
            reserved: [0; 16],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capacity_10_has_the_bytes_of_sbc() {
        let capacity = Capacity10::new(0x0003_ffff, 512);

        assert_eq!(capacity.as_bytes(), [0x00, 0x03, 0xff, 0xff, 0, 0, 2, 0]);
    }

    #[test]
    fn a_last_block_over_32_bits_is_all_ones_in_capacity_10() {
        assert_eq!(Capacity10::new(1 << 32, 512).last_block.get(), u32::MAX);
    }

    #[test]
    fn capacity_16_has_the_bytes_of_sbc() {
        let capacity = Capacity16::new(0x0001_0000_0000, 4096, Arrangement::default());

        let mut expected = [0; 32];
        expected[3] = 0x01;
        expected[10] = 0x10;
        assert_eq!(capacity.as_bytes(), expected);
    }

    #[test]
    fn capacity_16_tells_physical_blocks_and_provisioning() {
        let arrangement = Arrangement {
            physical_block_exponent: 3,
            lowest_aligned_block: 0x0107,
            managed: true,
            reads_zeroes: false,
        };
        let managed = Capacity16::new(0, 512, arrangement);
        let zeroes = Capacity16::new(0, 512, Arrangement { reads_zeroes: true, ..arrangement });

        assert_eq!(managed.as_bytes()[12..17], [0, 0x03, 0x81, 0x07, 0]);
        assert_eq!(zeroes.as_bytes()[12..17], [0, 0x03, 0xc1, 0x07, 0]);
    }
}
