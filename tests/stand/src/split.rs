//! How a transfer is cut into requests, as the disk class driver does it: no longer than the adapter's maximum transfer
//! length, no more pages than it has scatter/gather elements, whole logical blocks.

/// Limits of an adapter (PORT_CONFIGURATION_INFORMATION after HwStorFindAdapter).
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// MaximumTransferLength in bytes.
    pub bytes: u32,
    /// NumberOfPhysicalBreaks: most physical pages in one request.
    pub pages: u32,
}

const PAGE: u64 = 4096;

/// One request of a split transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Offset in the transfer in bytes.
    pub offset: u32,
    /// Length in bytes.
    pub length: u32,
}

/// Cuts `length` bytes at buffer offset `start` (within its first page) into pieces of whole blocks. Every page of a
/// buffer may lie anywhere, so a piece has as many elements as it touches pages. `None` when not even one block fits.
pub fn pieces(start: u32, length: u32, block: u32, limits: Limits) -> Option<impl Iterator<Item = Piece>> {
    let next = move |offset: u32| {
        let first = u64::from(start) + u64::from(offset);
        let room = (first / PAGE + u64::from(limits.pages)) * PAGE - first;
        let most = room.min(u64::from(limits.bytes)).min(u64::from(length - offset)) as u32;
        most - most % block
    };
    // A block at the worst place of a page must still fit.
    let worst = u64::from(block).div_ceil(PAGE) + u64::from(u64::from(block) % PAGE != 1);
    if block == 0 || limits.bytes < block || u64::from(limits.pages) < worst || !length.is_multiple_of(block)
    {
        return None;
    }
    let mut offset = 0;
    Some(core::iter::from_fn(move || {
        (offset < length).then(|| {
            let piece = Piece { offset, length: next(offset) };
            offset += piece.length;
            piece
        })
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(start: u32, length: u32, block: u32, bytes: u32, pages: u32) -> Option<Vec<Piece>> {
        pieces(start, length, block, Limits { bytes, pages }).map(Iterator::collect)
    }

    #[test]
    fn a_transfer_that_fits_is_one_request() {
        assert_eq!(all(0, 65536, 512, 1 << 20, 16).unwrap(), [Piece { offset: 0, length: 65536 }]);
    }

    #[test]
    fn an_unaligned_buffer_needs_one_page_more() {
        let found = all(512, 65536, 512, 1 << 20, 16).unwrap();
        assert_eq!(found, [Piece { offset: 0, length: 65024 }, Piece { offset: 65024, length: 512 }]);
    }

    #[test]
    fn pieces_cover_the_transfer_and_keep_the_limits() {
        for (start, block, bytes, pages) in
            [(0, 512, 4096, 2), (100, 512, 70000, 9), (4095, 4096, 1 << 20, 3)]
        {
            let mut at = 0;
            for piece in all(start, 1 << 20, block, bytes, pages).unwrap() {
                assert_eq!(piece.offset, at);
                assert!(piece.length > 0 && piece.length % block == 0 && piece.length <= bytes);
                let first = (start + piece.offset) / 4096;
                let last = (start + piece.offset + piece.length - 1) / 4096;
                assert!(last - first < pages);
                at += piece.length;
            }
            assert_eq!(at, 1 << 20);
        }
    }

    #[test]
    fn limits_too_small_for_one_block_are_refused() {
        assert!(all(0, 4096, 4096, 2048, 8).is_none());
        assert!(all(0, 4096, 4096, 8192, 1).is_none());
    }
}
