//! Commands that take the device more than one request, one after the other: VERIFY reads piece by piece, WRITE SAME and
//! SANITIZE write piece by piece.

use virtio::memory::{Region, SharedMemory};

use crate::Request;
use crate::units::{SECTOR_BYTES, Sectors};

/// Bytes of scratch memory: a multiple of every logical block size.
pub(crate) const SCRATCH_BYTES: usize = 4096;

/// What is still to be done of a range of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remaining {
    /// Where the next step begins.
    pub next: Sectors,
    /// Where the range ends.
    pub end: Sectors,
}

impl Remaining {
    /// Bytes, as many as can be counted.
    pub(crate) fn bytes(self) -> u64 {
        self.sectors().saturating_mul(u64::from(SECTOR_BYTES))
    }

    /// Sectors.
    pub(crate) const fn sectors(self) -> u64 {
        self.end.0.saturating_sub(self.next.0)
    }

    /// What is left after so many sectors; `None` when that is nothing.
    pub(crate) fn after(self, sectors: u64) -> Option<Self> {
        let next = Sectors(self.next.0.saturating_add(sectors));
        (next < self.end).then_some(Self { next, ..self })
    }
}

/// What VERIFY compares the medium with (BYTCHK; SBC-3, 5.28).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Nothing: that it can be read is enough.
    None,
    /// The request's data.
    Data,
    /// One block of data, the same for every block.
    Block,
}

/// What comes after the last piece of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Afterwards {
    /// Nothing.
    Nothing,
    /// What was written has to become durable.
    Flush,
    /// It is read back.
    Verify,
}

/// How much scratch memory one request of the ring may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AtOnce {
    /// Bytes: whole blocks, [`SCRATCH_BYTES`] unless the device takes less.
    pub(crate) bytes: u32,
    /// How often those.
    pub(crate) times: u16,
}

impl AtOnce {
    /// All of it, once.
    pub(crate) const WHOLE: Self = Self { bytes: SCRATCH_BYTES as u32, times: 1 };
}

/// How data is copied for a device that does not take a page wherever it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Copying {
    /// Bytes of scratch memory that the device takes in one request, in whole blocks.
    pub(crate) bytes: u32,
    /// Most segments of a request that need not be copied,
    pub(crate) max_segments: u16,
    /// and most bytes of each.
    pub(crate) max_segment_bytes: u32,
}

impl Copying {
    /// The next piece that is copied; `None`: the device takes all of the data where it lies. The answer for a range is the same
    /// before and after its step.
    pub(crate) fn piece(&self, srb: &Request, range: Remaining) -> Option<u32> {
        let whole = range.bytes() == u64::from(srb.data_length());
        let mut segments = srb.segments();
        let fits = whole
            && segments.len() <= usize::from(self.max_segments)
            && segments.all(|segment| segment.length <= self.max_segment_bytes);
        (!fits).then(|| Piece::of(range, AtOnce { bytes: self.bytes, times: 1 }).bytes)
    }
}

/// How much one step moves: a piece of scratch memory, so many times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) bytes: u32,
    pub(crate) times: u16,
}

impl Piece {
    /// The next piece of a range: as much as there may be at once, or what is left.
    pub(crate) fn of(range: Remaining, most: AtOnce) -> Self {
        let whole = u64::from(most.bytes);
        let left = range.bytes();
        if left < whole {
            return Self { bytes: left as u32, times: 1 };
        }
        let times = left.checked_div(whole).unwrap_or(1).min(u64::from(most.times.max(1)));
        Self { bytes: most.bytes, times: times as u16 }
    }

    pub(crate) fn sectors(self) -> u64 {
        self.total() / u64::from(SECTOR_BYTES)
    }

    pub(crate) fn total(self) -> u64 {
        u64::from(self.bytes) * u64::from(self.times)
    }
}

/// The next `bytes` bytes of a request's data, of which the last ones belong to the end of the range.
pub(crate) fn piece(data: &mut [u8], range: Remaining, bytes: u32) -> Option<&mut [u8]> {
    let start = data.len().checked_sub(usize::try_from(range.bytes()).ok()?)?;
    data.get_mut(start..)?.get_mut(..bytes as usize)
}

/// Whether the scratch memory begins with `expected`, over and over, `bytes` bytes long.
pub(crate) fn holds(scratch: &Region, bytes: usize, expected: &[u8]) -> bool {
    const AT_ONCE: usize = 64;
    let mut chunk = [0; AT_ONCE];
    let mut wanted = expected.iter().cycle();
    (0..bytes).step_by(AT_ONCE).all(|at| {
        let chunk = &mut chunk[..AT_ONCE.min(bytes - at)];
        scratch.read_bytes(at, chunk);
        chunk.iter().eq(wanted.by_ref().take(chunk.len()))
    })
}

/// Fills the first `bytes` bytes of the scratch memory with a block, over and over.
pub(crate) fn fill(scratch: &Region, bytes: usize, block: &[u8]) -> bool {
    let Some(target) = scratch.block(0, SCRATCH_BYTES) else {
        return false;
    };
    let whole = !block.is_empty() && bytes <= SCRATCH_BYTES && bytes.is_multiple_of(block.len());
    if whole {
        (0..bytes).step_by(block.len()).for_each(|at| target.write(at, block));
    }
    whole
}

#[cfg(test)]
mod tests {
    use fake_device::leak;

    use super::*;

    const SIXTEEN: AtOnce = AtOnce { times: 16, ..AtOnce::WHOLE };

    fn range(sectors: u64) -> Remaining {
        Remaining { next: Sectors(10), end: Sectors(10 + sectors) }
    }

    #[test]
    fn a_step_is_as_much_as_the_device_takes_and_the_last_one_what_is_left() {
        assert_eq!(Piece::of(range(8 * 100), SIXTEEN), Piece { bytes: 4096, times: 16 });
        assert_eq!(Piece::of(range(8 * 3 + 5), SIXTEEN), Piece { bytes: 4096, times: 3 });
        assert_eq!(Piece::of(range(5), SIXTEEN), Piece { bytes: 5 * 512, times: 1 });
    }

    #[test]
    fn steps_cover_a_range_exactly() {
        for most in [AtOnce { times: 7, ..AtOnce::WHOLE }, AtOnce { bytes: 1536, times: 1 }] {
            let mut left = Some(range(1000));
            let mut covered = 0;
            while let Some(range) = left {
                let piece = Piece::of(range, most);
                assert_eq!(range.next.0, 10 + covered);
                covered += piece.sectors();
                left = range.after(piece.sectors());
            }
            assert_eq!(covered, 1000);
        }
    }

    #[test]
    fn scratch_memory_is_filled_and_compared_block_by_block() {
        let scratch = leak(SCRATCH_BYTES, 0x1000);
        let block: [u8; 512] = core::array::from_fn(|at| at as u8 ^ 0x5a);

        assert!(fill(&scratch, 2048, &block));

        assert!(holds(&scratch, 2048, &block));
        assert!(!holds(&scratch, 2560, &block));
        scratch.store8(2047, 0, core::sync::atomic::Ordering::Relaxed);
        assert!(!holds(&scratch, 2048, &block));
        assert!(!fill(&scratch, 1000, &block));
    }
}
