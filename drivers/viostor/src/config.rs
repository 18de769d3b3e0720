//! What the device says of itself (virtio 1.3, 5.2.4), and what follows for StorPort.

use adapter::{Limits, Probe};
use virtio::spec::{Features, blk};

use crate::units::{BlockSize, SECTOR_BYTES, Sectors};

/// virtio-blk features that are used when offered.
pub(crate) const FEATURES: Features = Features::BLK_SIZE_MAX
    .union(Features::BLK_SEG_MAX)
    .union(Features::BLK_RO)
    .union(Features::BLK_BLK_SIZE)
    .union(Features::BLK_FLUSH);

/// Log numbers for configurations that cannot be used.
pub mod declined {
    /// The configuration structure ends before a field that belongs to it.
    pub const CONFIG_TOO_SHORT: u32 = 100;
    /// The logical block size is not a power of two between 512 and 4096.
    pub const BLOCK_SIZE: u32 = 101;
    /// The disk has no whole block.
    pub const NO_CAPACITY: u32 = 102;
    /// A segment may not even hold a page.
    pub const SEGMENT_SIZE: u32 = 103;
}

/// The disk behind the adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Size of a logical block.
    pub block_size: BlockSize,
    /// Number of logical blocks.
    pub blocks: u64,
    /// Writing is refused.
    pub read_only: bool,
    /// A completed write may still be in a volatile cache until a flush.
    pub write_cache: bool,
}

/// Without SEG_MAX the device names no limit but the queue's size (virtio 1.3, 5.2.3).
const SEGMENTS_UNLIMITED: u32 = u32::MAX;

/// Smallest unit of memory a segment is made of.
const PAGE_BYTES: u32 = 4096;

pub(crate) fn read(probe: &impl Probe) -> Result<(Disk, Limits), u32> {
    let features = probe.features();
    let field = |offset: usize| probe.config::<4>(offset).map(u32::from_le_bytes);
    let optional = |feature: Features, offset: usize, otherwise: u32| {
        if features.contains(feature) { field(offset) } else { Some(otherwise) }
            .ok_or(declined::CONFIG_TOO_SHORT)
    };

    let capacity = probe.config::<8>(blk::config::CAPACITY).ok_or(declined::CONFIG_TOO_SHORT)?;
    let capacity = Sectors(u64::from_le_bytes(capacity));
    let block_bytes = optional(Features::BLK_BLK_SIZE, blk::config::BLK_SIZE, SECTOR_BYTES)?;
    let block_size = BlockSize::new(block_bytes).ok_or(declined::BLOCK_SIZE)?;
    let blocks = block_size.blocks_in(capacity);
    if blocks == 0 {
        return Err(declined::NO_CAPACITY);
    }
    let disk = Disk {
        block_size,
        blocks,
        read_only: features.contains(Features::BLK_RO),
        write_cache: features.contains(Features::BLK_FLUSH),
    };

    // A segment is never longer than the whole transfer, so limiting that one keeps to SIZE_MAX.
    let size_max = match optional(Features::BLK_SIZE_MAX, blk::config::SIZE_MAX, u32::MAX)? {
        // qemu-storage-daemon offers the feature and names no size. A limit of nothing cannot be meant.
        0 => u32::MAX,
        size_max => size_max,
    };
    let max_transfer_bytes = size_max - size_max % PAGE_BYTES;
    if max_transfer_bytes == 0 {
        return Err(declined::SEGMENT_SIZE);
    }
    let limits = Limits {
        targets: 1,
        logical_units: 1,
        max_segments: optional(Features::BLK_SEG_MAX, blk::config::SEG_MAX, SEGMENTS_UNLIMITED)?,
        max_transfer_bytes,
        max_requests_per_lun: u32::MAX,
        caches_data: disk.write_cache,
    };
    Ok((disk, limits))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct FakeConfig {
        features: Features,
        bytes: [u8; 64],
        length: usize,
    }

    impl FakeConfig {
        fn new(features: Features, capacity: u64) -> Self {
            let mut bytes = [0; 64];
            bytes[..8].copy_from_slice(&capacity.to_le_bytes());
            Self { features, bytes, length: 64 }
        }

        fn with(mut self, offset: usize, value: u32) -> Self {
            self.bytes[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
            self
        }
    }

    impl Probe for FakeConfig {
        fn features(&self) -> Features {
            self.features
        }

        fn config<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
            self.bytes[..self.length].get(offset..offset + N)?.try_into().ok()
        }
    }

    #[test]
    fn a_4k_disk_is_counted_in_its_own_blocks() {
        let probe = FakeConfig::new(Features::BLK_BLK_SIZE, 80).with(blk::config::BLK_SIZE, 4096);

        let (disk, _) = read(&probe).expect("a usable configuration");

        assert_eq!((disk.blocks, disk.block_size.bytes()), (10, 4096));
    }

    #[test]
    fn fields_whose_feature_was_not_negotiated_are_not_read() {
        let probe = FakeConfig::new(Features::empty(), 8)
            .with(blk::config::BLK_SIZE, 7)
            .with(blk::config::SEG_MAX, 1);

        let (disk, limits) = read(&probe).expect("a usable configuration");

        assert_eq!(disk.block_size.bytes(), 512);
        assert_eq!(limits.max_segments, u32::MAX);
        assert!(!disk.write_cache);
    }

    #[test]
    fn a_device_that_offers_size_max_and_names_no_size_is_used_without_that_limit() {
        let probe = FakeConfig::new(Features::BLK_SIZE_MAX, 8).with(blk::config::SIZE_MAX, 0);

        let (_, limits) = read(&probe).unwrap();

        assert_eq!(limits.max_transfer_bytes, u32::MAX - 4095);
    }

    #[test]
    fn size_max_limits_the_whole_transfer() {
        let probe = FakeConfig::new(Features::BLK_SIZE_MAX, 8).with(blk::config::SIZE_MAX, 65_536 + 100);

        let (_, limits) = read(&probe).expect("a usable configuration");

        assert_eq!(limits.max_transfer_bytes, 65_536);
    }

    #[test]
    fn configurations_that_make_no_sense_are_declined() {
        let odd_block = FakeConfig::new(Features::BLK_BLK_SIZE, 80).with(blk::config::BLK_SIZE, 1000);
        let tiny_segment = FakeConfig::new(Features::BLK_SIZE_MAX, 80).with(blk::config::SIZE_MAX, 100);
        let mut short = FakeConfig::new(Features::BLK_SEG_MAX, 80);
        short.length = 10;

        assert_eq!(read(&odd_block), Err(declined::BLOCK_SIZE));
        assert_eq!(read(&tiny_segment), Err(declined::SEGMENT_SIZE));
        assert_eq!(read(&short), Err(declined::CONFIG_TOO_SHORT));
        assert_eq!(read(&FakeConfig::new(Features::empty(), 0)), Err(declined::NO_CAPACITY));
    }
}
