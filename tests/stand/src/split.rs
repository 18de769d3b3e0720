//! How a transfer is cut into requests, as the class driver does it: no longer than the adapter's maximum transfer length,
//! no more pages than it has scatter/gather elements, whole logical blocks.

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

/// Most bytes of one request for a buffer that starts `start` bytes into a page. As classpnp has it (`HwMaxXferLen` in
/// xferpkt.c, `ServiceTransferRequest` in class.c): one page less than the adapter can take, for a buffer may touch one more
/// than it fills, and that page again for one that starts with a page.
fn most(start: u32, limits: Limits) -> u64 {
    let bytes = u64::from(limits.bytes);
    let crossing = bytes.min(u64::from(limits.pages.saturating_sub(1)) * PAGE).max(PAGE);
    if u64::from(start) % PAGE == 0 { bytes.min(crossing + PAGE) } else { crossing }
}

/// Cuts `length` bytes at buffer offset `start` (within its first page) into pieces of whole blocks, all of one length but
/// the last. Every page of a buffer may lie anywhere, so a piece has as many elements as it touches pages. `None` when not
/// even one block fits.
pub fn pieces(start: u32, length: u32, block: u32, limits: Limits) -> Option<impl Iterator<Item = Piece>> {
    // A block at the worst place of a page must still fit, and classpnp sends a page at once whatever the adapter says.
    let worst = u64::from(block).div_ceil(PAGE) + u64::from(u64::from(block) % PAGE != 1);
    let bytes = block.max(PAGE as u32);
    if block == 0 || limits.bytes < bytes || u64::from(limits.pages) < worst || !length.is_multiple_of(block)
    {
        return None;
    }
    let most = most(start, limits) / u64::from(block) * u64::from(block);
    let mut offset = 0;
    Some(core::iter::from_fn(move || {
        (offset < length).then(|| {
            let piece = Piece { offset, length: most.min(u64::from(length - offset)) as u32 };
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
    fn a_buffer_across_pages_has_a_page_less() {
        let found = all(512, 65536, 512, 1 << 20, 16).unwrap();
        assert_eq!(found, [Piece { offset: 0, length: 61440 }, Piece { offset: 61440, length: 4096 }]);
    }

    #[test]
    fn a_transfer_length_below_the_pages_decides() {
        let lengths = |start| -> Vec<_> {
            all(start, 20480, 512, 8192, 64).unwrap().iter().map(|piece| piece.length).collect()
        };
        assert_eq!(lengths(0), [8192, 8192, 4096]);
        assert_eq!(lengths(4), [8192, 8192, 4096]);
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
    fn limits_too_small_for_a_block_or_a_page_are_refused() {
        assert!(all(0, 8192, 8192, 4096, 8).is_none());
        assert!(all(0, 4096, 512, 2048, 8).is_none());
        assert!(all(0, 4096, 4096, 8192, 1).is_none());
    }
}
