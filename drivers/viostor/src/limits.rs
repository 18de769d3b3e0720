//! What the device says of itself that may make no sense, turned into something that does.
//!
//! A device is not refused for a hint: a value that cannot be is one that was not given. Where a limit is at stake, the
//! reading that asks less of the device is taken.

use virtio::spec::blk::ZonedModel;

use crate::units::BlockSize;

/// How logical blocks lie on physical ones, and which transfers suit the disk (virtio 1.3, 5.2.4: `topology`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    /// Logical blocks per physical one, as a power of two.
    pub physical_block_exponent: u8,
    /// The first logical block at the start of a physical one.
    pub lowest_aligned_block: u8,
    /// Transfers had better be of a multiple of so many logical blocks; 0 when nothing is known.
    pub granularity_blocks: u16,
    /// Transfers had better not be longer than so many logical blocks; 0 when nothing is known.
    pub optimal_blocks: u32,
}

impl Topology {
    /// LOGICAL BLOCKS PER PHYSICAL BLOCK EXPONENT has four bits (SBC-3, 5.16.2).
    const MAX_EXPONENT: u8 = 15;

    /// From the fields of `topology` as they are; `max_blocks` is the longest transfer that is possible, 0 when nothing is
    /// known of it.
    pub(crate) fn new(exponent: u8, alignment_offset: u8, min_io: u16, opt_io: u32, max_blocks: u32) -> Self {
        // An exponent out of range says nothing about physical blocks, and then neither does the offset in one.
        if exponent > Self::MAX_EXPONENT {
            return Self::new(0, 0, min_io, opt_io, max_blocks);
        }
        let per_physical = 1_u32 << exponent;
        // SBC-3 wants whole physical blocks here, and both values within MAXIMUM TRANSFER LENGTH: what no transfer can reach
        // is no advice.
        let granularity = u32::from(min_io);
        let sensible = granularity.is_multiple_of(per_physical);
        let mut topology = Self {
            physical_block_exponent: exponent,
            lowest_aligned_block: if u32::from(alignment_offset) < per_physical {
                alignment_offset
            } else {
                0
            },
            granularity_blocks: if sensible { min_io } else { 0 },
            optimal_blocks: opt_io,
        };
        topology.limit(max_blocks);
        topology
    }

    /// Takes back the advice for transfers that are longer than any is; 0 when nothing is known of the longest one.
    pub(crate) fn limit(&mut self, max_blocks: u32) {
        let fits = |blocks: u32| max_blocks == 0 || blocks <= max_blocks;
        if !fits(u32::from(self.granularity_blocks)) {
            self.granularity_blocks = 0;
        }
        if !fits(self.optimal_blocks) {
            self.optimal_blocks = 0;
        }
    }
}

/// Limits of a command for ranges of sectors: discard, write zeroes, secure erase (virtio 1.3, 5.2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RangeLimits {
    /// Most sectors of a range; whole logical blocks, at least one.
    pub max_sectors: u32,
    /// Most ranges of a request, at least one.
    pub max_ranges: u32,
    /// Sectors whose multiples a range had better start and end at; whole logical blocks, at least one. Any number, not only
    /// powers of two.
    pub alignment_sectors: u32,
}

impl RangeLimits {
    /// From the configuration's fields as they are. `None` when not even one logical block fits into a range: then the
    /// command cannot be used.
    pub(crate) fn new(
        block: BlockSize,
        max_sectors: u32,
        max_ranges: u32,
        alignment_sectors: u32,
    ) -> Option<Self> {
        let block_sectors = block.sectors() as u32;
        // 0 would make an offered command useless. Linux takes it for "no limit" too (drivers/block/virtio_blk.c).
        let max_sectors = if max_sectors == 0 { u32::MAX } else { max_sectors };
        let max_sectors = max_sectors - max_sectors % block_sectors;
        if max_sectors == 0 {
            return None;
        }
        // The block size is a power of two, so the smallest multiple of both that is not below the alignment is found by
        // doubling. An alignment that overflows on the way is none that a range could keep to.
        let mut alignment = alignment_sectors.max(1);
        while !alignment.is_multiple_of(block_sectors) {
            alignment = alignment.saturating_mul(2);
            if alignment == u32::MAX {
                alignment = block_sectors;
            }
        }
        Some(Self { max_sectors, max_ranges: max_ranges.max(1), alignment_sectors: alignment })
    }

    /// Logical blocks of a request with as many ranges as are allowed, each as long as is allowed.
    pub fn blocks_per_request(self, block: BlockSize) -> u64 {
        u64::from(self.max_sectors) / block.sectors() * u64::from(self.max_ranges)
    }

    /// What one UNMAP may discard, for a device with these limits of discards. A request is cut into as many steps as the
    /// device needs, but it has to end in time: a step's worth of blocks is enough, or [`UNMAP_BYTES`] where the device takes
    /// little at once. Many small ranges are what Windows likes to send, so there may be as many as a list has room for.
    pub(crate) fn unmap(self, block: BlockSize) -> UnmapLimits {
        let least = UNMAP_BYTES / u64::from(block.bytes());
        let blocks = self.blocks_per_request(block).max(least);
        UnmapLimits { blocks: u32::try_from(blocks).unwrap_or(u32::MAX), descriptors: MAX_UNMAP_DESCRIPTORS }
    }

    /// [`alignment_sectors`](Self::alignment_sectors) in logical blocks.
    pub fn alignment_blocks(self, block: BlockSize) -> u32 {
        self.alignment_sectors / block.sectors() as u32
    }
}

/// Bytes that one UNMAP may discard in any case.
const UNMAP_BYTES: u64 = 256 << 20;
/// Ranges that the longest parameter list has room for.
const MAX_UNMAP_DESCRIPTORS: u32 = 4095;

/// What one UNMAP may discard at most (SBC-3, 6.5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnmapLimits {
    /// MAXIMUM UNMAP LBA COUNT
    pub(crate) blocks: u32,
    /// MAXIMUM UNMAP BLOCK DESCRIPTOR COUNT
    pub(crate) descriptors: u32,
}

/// Limits of write zeroes, and what it may do besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteZeroes {
    /// The limits; the device names no alignment.
    pub limits: RangeLimits,
    /// The device unmaps the sectors when it is asked to (`write_zeroes_may_unmap`).
    pub may_unmap: bool,
}

/// Cylinders and heads, for programs that still ask (virtio 1.3, 5.2.4: `geometry`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Number of cylinders
    pub cylinders: u16,
    /// Number of heads
    pub heads: u8,
}

impl Geometry {
    /// `None` where a factor is zero, which no disk with blocks can have.
    pub(crate) fn new(cylinders: u16, heads: u8, sectors: u8) -> Option<Self> {
        (cylinders != 0 && heads != 0 && sectors != 0).then_some(Self { cylinders, heads })
    }
}

/// Whether a disk of this model may be written anywhere at any time. Host-aware disks may: they only get slower (virtio
/// 1.3, 5.2.5). A model that is not known yet is taken for one that may not, since writing it the wrong way fails or
/// loses data.
pub(crate) fn is_conventional(model: ZonedModel) -> bool {
    matches!(model, ZonedModel::NONE | ZonedModel::HOST_AWARE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const IN_512: BlockSize = BlockSize::new(512).expect("a block size");
    const IN_4K: BlockSize = BlockSize::new(4096).expect("a block size");

    #[test]
    fn a_topology_that_makes_sense_is_kept() {
        let topology = Topology::new(3, 1, 8, 2048, 4096);

        let expected = Topology {
            physical_block_exponent: 3,
            lowest_aligned_block: 1,
            granularity_blocks: 8,
            optimal_blocks: 2048,
        };
        assert_eq!(topology, expected);
    }

    #[test]
    fn an_exponent_that_does_not_fit_is_none_and_takes_the_offset_with_it() {
        for exponent in [16, 31, 32, 255] {
            let topology = Topology::new(exponent, 1, 7, 0, 0);

            assert_eq!((topology.physical_block_exponent, topology.lowest_aligned_block), (0, 0));
            assert_eq!(topology.granularity_blocks, 7);
        }
        assert_eq!(Topology::new(15, 0, 0, 0, 0).physical_block_exponent, 15);
    }

    #[test]
    fn an_offset_past_the_physical_block_is_none() {
        assert_eq!(Topology::new(3, 7, 0, 0, 0).lowest_aligned_block, 7);
        assert_eq!(Topology::new(3, 8, 0, 0, 0).lowest_aligned_block, 0);
        assert_eq!(Topology::new(0, 1, 0, 0, 0).lowest_aligned_block, 0);
    }

    #[test]
    fn sizes_that_no_transfer_can_have_are_not_passed_on() {
        assert_eq!(Topology::new(3, 0, 12, 0, 0).granularity_blocks, 0, "no whole physical blocks");
        assert_eq!(Topology::new(0, 0, 101, 0, 100).granularity_blocks, 0);
        assert_eq!(Topology::new(0, 0, 100, 100, 100).optimal_blocks, 100);
        assert_eq!(Topology::new(0, 0, 0, 101, 100).optimal_blocks, 0);
        assert_eq!(Topology::new(0, 0, 0, u32::MAX, 0).optimal_blocks, u32::MAX);
    }

    #[test]
    fn limits_that_make_sense_are_kept() {
        let limits = RangeLimits::new(IN_512, 4096, 16, 8).expect("usable");

        assert_eq!(limits, RangeLimits { max_sectors: 4096, max_ranges: 16, alignment_sectors: 8 });
        assert_eq!(limits.blocks_per_request(IN_512), 65_536);
        assert_eq!(limits.alignment_blocks(IN_512), 8);
    }

    #[test]
    fn a_limit_of_zero_is_no_limit_on_sectors_one_range_and_no_alignment() {
        let limits = RangeLimits::new(IN_4K, 0, 0, 0).expect("usable");

        let expected = RangeLimits { max_sectors: u32::MAX - 7, max_ranges: 1, alignment_sectors: 8 };
        assert_eq!(limits, expected);
        assert_eq!(limits.alignment_blocks(IN_4K), 1);
    }

    #[test]
    fn ranges_are_of_whole_logical_blocks() {
        assert_eq!(RangeLimits::new(IN_4K, 23, 1, 0).expect("usable").max_sectors, 16);
        assert_eq!(RangeLimits::new(IN_4K, 7, 1, 0), None);
        assert_eq!(RangeLimits::new(IN_512, 1, 1, 0).expect("usable").max_sectors, 1);
    }

    #[test]
    fn an_alignment_becomes_one_of_whole_logical_blocks_and_need_not_be_a_power_of_two() {
        let alignment = |sectors| RangeLimits::new(IN_4K, 0, 1, sectors).expect("usable").alignment_sectors;

        assert_eq!(alignment(1), 8);
        assert_eq!(alignment(12), 24);
        assert_eq!(alignment(24), 24);
        assert_eq!(alignment(768), 768);
        assert_eq!(RangeLimits::new(IN_512, 0, 1, 3).expect("usable").alignment_sectors, 3);
        assert_eq!(alignment(u32::MAX), 8, "one that cannot be kept is none");
    }

    #[test]
    fn the_blocks_of_a_request_do_not_overflow() {
        let limits = RangeLimits::new(IN_512, u32::MAX, u32::MAX, 0).expect("usable");

        assert_eq!(limits.blocks_per_request(IN_512), u64::from(u32::MAX) * u64::from(u32::MAX));
    }

    #[test]
    fn a_geometry_without_cylinders_heads_or_sectors_is_none() {
        assert_eq!(Geometry::new(16, 4, 63), Some(Geometry { cylinders: 16, heads: 4 }));
        for (cylinders, heads, sectors) in [(0, 4, 63), (16, 0, 63), (16, 4, 0)] {
            assert_eq!(Geometry::new(cylinders, heads, sectors), None);
        }
    }

    #[test]
    fn only_models_that_take_any_write_are_conventional() {
        assert!(is_conventional(ZonedModel::NONE));
        assert!(is_conventional(ZonedModel::HOST_AWARE));
        assert!(!is_conventional(ZonedModel::HOST_MANAGED));
        assert!(!is_conventional(ZonedModel(3)));
    }

    #[test]
    fn one_unmap_takes_as_many_blocks_as_a_request_of_the_device_or_256_mib() {
        let unmap = |max_sectors, max_ranges| {
            let limits = RangeLimits::new(IN_512, max_sectors, max_ranges, 0).expect("usable");
            let UnmapLimits { blocks, descriptors } = limits.unmap(IN_512);
            assert_eq!(descriptors, 4095);
            blocks
        };

        assert_eq!(unmap(0x40_0000, 1), 0x40_0000);
        assert_eq!(unmap(0x40_0000, 1000), 0x40_0000 * 1000);
        assert_eq!(unmap(8, 1), 0x8_0000);
        assert_eq!(unmap(u32::MAX, u32::MAX), u32::MAX);
    }
}
