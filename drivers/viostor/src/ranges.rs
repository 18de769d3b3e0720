//! Ranges of sectors as DISCARD, WRITE ZEROES and SECURE ERASE take them (virtio 1.3, 5.2.6): how a range is cut to what the
//! device takes at once, and which ranges the parameter list of UNMAP has.

use scsi::Sense;
use scsi::unmap::UnmapList;
use virtio::memory::{Region, SharedMemory};
use virtio::spec::blk::{RangeFlags, SectorRange};
use zerocopy::IntoBytes;

use crate::config::Disk;
use crate::limits::RangeLimits;
use crate::steps::AtOnce;
use crate::units::{Sectors, is_on_disk};

const RANGE_BYTES: usize = size_of::<SectorRange>();

impl RangeLimits {
    /// How much of `left` sectors from `first` on goes into one range.
    pub(crate) fn cut(&self, first: Sectors, left: u64) -> u64 {
        let most = u64::from(self.max_sectors);
        if left <= most {
            return left;
        }
        // Limit and alignment are of whole blocks, so what is cut off is as well.
        let end = first.0.saturating_add(most);
        let aligned = (end - end % u64::from(self.alignment_sectors)).saturating_sub(first.0);
        if aligned > 0 { aligned } else { most }
    }
}

/// Puts a range into the scratch memory; `false` when there is no room for it.
pub(crate) fn store(scratch: &Region, index: usize, first: Sectors, sectors: u64, flags: RangeFlags) -> bool {
    let (at, Ok(count)) = (index * RANGE_BYTES, u32::try_from(sectors)) else {
        return false;
    };
    if at + RANGE_BYTES > scratch.len() {
        return false;
    }
    let Some(place) = scratch.block(at, RANGE_BYTES) else {
        return false;
    };
    place.write(0, SectorRange::new(first.0, count, flags).as_bytes());
    true
}

/// Bytes of so many ranges.
pub(crate) const fn bytes(ranges: usize) -> u32 {
    (ranges * RANGE_BYTES) as u32
}

/// A place in the parameter list of UNMAP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The descriptor.
    descriptor: u16,
    /// Blocks of it that were unmapped already.
    blocks: u32,
}

impl Place {
    /// Where the list begins.
    pub(crate) const START: Self = Self { descriptor: 0, blocks: 0 };
}

/// Puts as many ranges of the list as the device takes at once into the scratch memory, from `place` on. Returns how many
/// they are, and the place behind them; `None`: that is the list's end.
///
/// # Errors
/// A range is not on the disk. Each is checked here, since the list may lie in memory that its sender writes to.
pub(crate) fn store_list(
    disk: &Disk,
    (limits, most): (&RangeLimits, AtOnce),
    list: &UnmapList<'_>,
    place: Place,
    scratch: &Region,
) -> Result<(usize, Option<Place>), Sense> {
    let most = (limits.max_ranges as usize).min(most.bytes as usize / RANGE_BYTES);
    let block = disk.block_size.sectors();
    let mut stored = 0;
    let mut done = place.blocks;
    for (index, range) in list.ranges().enumerate().skip(usize::from(place.descriptor)) {
        if !is_on_disk(range, disk.blocks) {
            return Err(Sense::LBA_OUT_OF_RANGE);
        }
        while done < range.blocks {
            if stored == most {
                return Ok((stored, Some(Place { descriptor: index as u16, blocks: done })));
            }
            let first = disk.block_size.first_sector(range.start).ok_or(Sense::LBA_OUT_OF_RANGE)?;
            let first = Sectors(first.0 + u64::from(done) * block);
            let sectors = limits.cut(first, u64::from(range.blocks - done) * block);
            if !store(scratch, stored, first, sectors, RangeFlags::empty()) {
                return Err(Sense::INTERNAL_TARGET_FAILURE);
            }
            stored += 1;
            done += (sectors / block) as u32;
        }
        done = 0;
    }
    Ok((stored, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: RangeLimits = RangeLimits { max_sectors: 100, max_ranges: 1, alignment_sectors: 16 };

    #[test]
    fn a_range_that_fits_is_not_cut() {
        assert_eq!(LIMITS.cut(Sectors(3), 100), 100);
    }

    #[test]
    fn a_range_that_is_too_long_is_cut_where_the_device_likes_it() {
        assert_eq!(LIMITS.cut(Sectors(3), 101), 93, "3 + 93 is 96");
        assert_eq!(LIMITS.cut(Sectors(96), 1000), 96, "96 + 96 is 192");
    }

    #[test]
    fn a_range_that_no_cut_fits_goes_on_where_it_can() {
        let limits = RangeLimits { max_sectors: 10, max_ranges: 1, alignment_sectors: 64 };

        assert_eq!(limits.cut(Sectors(65), 100), 10);
    }
}
