//! The two units of length on a disk, and the only place where one becomes the other.

use scsi::cdb::{BlockRange, Lba};

/// Bytes of a virtio-blk sector, whatever the disk's logical block size is (virtio 1.3, 5.2.4).
pub const SECTOR_BYTES: u32 = 512;

/// Its binary logarithm.
pub const SECTOR_SHIFT: u32 = SECTOR_BYTES.trailing_zeros();

/// A position or length in virtio-blk sectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sectors(pub u64);

/// Size of a logical block: a power of two, at least a sector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockSize(u32);

impl BlockSize {
    /// Largest logical block Windows takes.
    const MAX: u32 = 4096;

    /// `None` for a size that no disk has: not a power of two, or outside 512 to 4096 bytes.
    pub const fn new(bytes: u32) -> Option<Self> {
        if bytes.is_power_of_two() && bytes >= SECTOR_BYTES && bytes <= Self::MAX {
            Some(Self(bytes))
        } else {
            None
        }
    }

    /// In bytes.
    pub const fn bytes(self) -> u32 {
        self.0
    }

    /// Its binary logarithm, in bytes.
    #[inline(always)]
    pub const fn shift(self) -> u32 {
        self.0.trailing_zeros()
    }

    /// In sectors.
    pub const fn sectors(self) -> u64 {
        (self.0 / SECTOR_BYTES) as u64
    }

    /// How many whole logical blocks fit into so many sectors.
    pub const fn blocks_in(self, length: Sectors) -> u64 {
        length.0 / self.sectors()
    }

    /// The sector a logical block starts at; `None` when there can be no such sector.
    pub const fn first_sector(self, block: Lba) -> Option<Sectors> {
        match block.0.checked_mul(self.sectors()) {
            Some(sector) => Some(Sectors(sector)),
            None => None,
        }
    }
}

/// Whether a range of blocks lies on a disk of `disk_blocks` blocks. An empty range may start right at the end.
pub fn is_on_disk(range: BlockRange, disk_blocks: u64) -> bool {
    match range.start.0.checked_add(u64::from(range.blocks)) {
        Some(end) => end <= disk_blocks,
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, blocks: u32) -> BlockRange {
        BlockRange { start: Lba(start), blocks }
    }

    #[test]
    fn a_4k_block_is_eight_sectors() {
        let size = BlockSize::new(4096).expect("4096 is a block size");

        assert_eq!(size.first_sector(Lba(3)), Some(Sectors(24)));
        assert_eq!(size.blocks_in(Sectors(17)), 2);
    }

    #[test]
    fn sizes_that_no_disk_has_are_refused() {
        for bytes in [0, 1, 256, 513, 1000, 8192, u32::MAX] {
            assert_eq!(BlockSize::new(bytes), None, "{bytes} bytes");
        }
    }

    #[test]
    fn a_range_that_ends_past_the_disk_is_not_on_it() {
        assert!(is_on_disk(range(0, 8), 8));
        assert!(is_on_disk(range(8, 0), 8));
        assert!(!is_on_disk(range(7, 2), 8));
        assert!(!is_on_disk(range(9, 0), 8));
        assert!(!is_on_disk(range(u64::MAX, 2), 8));
    }

    #[test]
    fn a_block_without_a_sector_number_has_none() {
        let size = BlockSize::new(4096).expect("4096 is a block size");

        assert_eq!(size.first_sector(Lba(u64::MAX / 4)), None);
    }
}
