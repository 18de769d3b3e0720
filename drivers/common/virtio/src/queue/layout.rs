//! Where everything lies in a queue's shared memory.

use crate::spec::ring::DESCRIPTOR_BYTES;

/// The bytes around the data of each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// What the device reads first.
    pub header_bytes: u16,
    /// What the device answers.
    pub response_bytes: u16,
    /// The response comes before the data that the device writes (virtio-scsi), or after it (virtio-blk).
    pub response_before_data_in: bool,
    /// Data segments that a slot's own table has room for.
    pub inline_segments: u16,
    /// The device may count data it has read as if it had written it. QEMU's virtio-scsi does: for a write, its used
    /// length is the response and the data together, which 2.7.8.2 does not allow but every guest has to live with.
    pub used_length_counts_data_out: bool,
}

/// Entries of a table that are not data: header and response.
pub(crate) const FIXED_ENTRIES: u16 = 2;

/// Most large tables: one bit each in a word.
const MAX_LARGE_TABLES: u16 = 64;

/// A queue's memory cannot be laid out like this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayoutError {
    /// A split ring's size is a power of two up to 32768 (2.7).
    QueueSize(u16),
    /// A chain may not be longer than the queue (2.7.5.3.1).
    ChainTooLong {
        /// Data segments asked for
        segments: u16,
        /// Entries of the queue
        queue_size: u16,
    },
    /// More large tables than can be told apart.
    TooManyLargeTables(u16),
    /// Long requests are allowed, but there is no table for one, so it would wait for ever.
    NoLargeTable {
        /// Data segments asked for
        segments: u16,
    },
    /// The memory or the slots are fewer than the layout says.
    TooLittleMemory,
}

/// Offsets and sizes of a queue's parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    pub(crate) size: u16,
    pub(crate) shape: Shape,
    pub(crate) max_segments: u16,
    pub(crate) large_tables: u16,
    pub(crate) available: usize,
    pub(crate) used: usize,
    pub(crate) headers: usize,
    pub(crate) header_stride: usize,
    pub(crate) responses: usize,
    pub(crate) response_stride: usize,
    pub(crate) tables: usize,
    pub(crate) large: usize,
    end: usize,
}

impl Layout {
    /// Lays out a queue of `size` entries for requests of up to `max_segments` data segments, of which `large_tables`
    /// with more than the inline ones can be in flight at once.
    ///
    /// # Errors
    /// The numbers break a rule of the specification or of this crate.
    pub const fn new(
        size: u16,
        shape: &Shape,
        max_segments: u16,
        large_tables: u16,
    ) -> Result<Self, LayoutError> {
        if !size.is_power_of_two() {
            return Err(LayoutError::QueueSize(size));
        }
        let longest = if max_segments > shape.inline_segments { max_segments } else { shape.inline_segments };
        if longest as u32 + FIXED_ENTRIES as u32 > size as u32 {
            return Err(LayoutError::ChainTooLong { segments: longest, queue_size: size });
        }
        if large_tables > MAX_LARGE_TABLES {
            return Err(LayoutError::TooManyLargeTables(large_tables));
        }
        if large_tables == 0 && max_segments > shape.inline_segments {
            return Err(LayoutError::NoLargeTable { segments: max_segments });
        }
        let entries = size as usize;
        let available = entries * DESCRIPTOR_BYTES;
        let used = (available + 6 + 2 * entries).next_multiple_of(4);
        // Headers are written in whole words; responses are packed, so that one line holds many of virtio-blk's.
        let headers = (used + 6 + 8 * entries).next_multiple_of(64);
        let header_stride = (shape.header_bytes as usize).next_multiple_of(8);
        let responses = headers + entries * header_stride;
        let response_stride = match shape.response_bytes {
            1 => 1,
            bytes => (bytes as usize).next_multiple_of(4),
        };
        let tables = (responses + entries * response_stride).next_multiple_of(64);
        let large = tables + entries * table_bytes(shape.inline_segments);
        let needs_large = max_segments > shape.inline_segments;
        let large_tables = if needs_large { large_tables } else { 0 };
        let end = large + large_tables as usize * table_bytes(max_segments);
        Ok(Self {
            size,
            shape: *shape,
            max_segments: longest,
            large_tables,
            available,
            used,
            headers,
            header_stride,
            responses,
            response_stride,
            tables,
            large,
            end,
        })
    }

    /// Bytes of shared memory, large tables included.
    pub const fn shared_bytes(&self) -> usize {
        self.end
    }

    /// Bytes of shared memory without the large tables.
    pub const fn fixed_bytes(&self) -> usize {
        self.large
    }

    /// How many slots there are: one per entry.
    pub const fn slots(&self) -> usize {
        self.size as usize
    }

    pub(crate) fn header(&self, slot: u16) -> usize {
        self.headers + usize::from(slot) * self.header_stride
    }

    pub(crate) fn response(&self, slot: u16) -> usize {
        self.responses + usize::from(slot) * self.response_stride
    }

    pub(crate) fn inline_table(&self, slot: u16) -> usize {
        self.tables + usize::from(slot) * table_bytes(self.shape.inline_segments)
    }

    pub(crate) fn large_table(&self, table: u16) -> usize {
        self.large + usize::from(table) * table_bytes(self.max_segments)
    }

    pub(crate) fn descriptor(&self, index: u16) -> usize {
        usize::from(index) * DESCRIPTOR_BYTES
    }

    /// Where the driver says from which used entry on it wants an interrupt (2.7.7).
    pub(crate) fn used_event(&self) -> usize {
        self.available + crate::spec::ring::available::RING + 2 * usize::from(self.size)
    }

    /// Where the device says from which available entry on it wants a notification (2.7.10).
    pub(crate) fn avail_event(&self) -> usize {
        self.used + crate::spec::ring::used::RING + 8 * usize::from(self.size)
    }
}

/// Bytes of an indirect table for so many data segments.
pub(crate) const fn table_bytes(segments: u16) -> usize {
    (segments as usize + FIXED_ENTRIES as usize) * DESCRIPTOR_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLK: Shape = Shape {
        header_bytes: 16,
        response_bytes: 1,
        response_before_data_in: false,
        inline_segments: 2,
        used_length_counts_data_out: false,
    };
    const SCSI: Shape = Shape {
        header_bytes: 51,
        response_bytes: 108,
        response_before_data_in: true,
        inline_segments: 2,
        used_length_counts_data_out: true,
    };

    fn layout(shape: &Shape) -> Layout {
        Layout::new(256, shape, 254, 64).expect("256 entries hold 254 segments")
    }

    #[test]
    fn a_virtio_blk_queue_of_256_costs_less_than_32_kib() {
        let bytes = layout(&BLK).fixed_bytes();

        assert_eq!(bytes, 27_456);
        assert!(bytes <= 32 * 1024);
    }

    #[test]
    fn a_virtio_scsi_queue_of_256_costs_what_its_headers_and_responses_do() {
        // 256 × (51 + 108) bytes alone are 40 KiB.
        assert_eq!(layout(&SCSI).fixed_bytes(), 65_088);
    }

    #[test]
    fn the_parts_follow_each_other_without_overlap_and_are_aligned() {
        for shape in [BLK, SCSI] {
            let layout = layout(&shape);
            assert_eq!(layout.available, 4096);
            assert!(layout.used >= layout.used_event() + 2);
            assert!(layout.headers >= layout.avail_event() + 2);
            assert!(layout.responses >= layout.header(255) + usize::from(shape.header_bytes));
            assert!(layout.tables >= layout.response(255) + usize::from(shape.response_bytes));
            assert_eq!(layout.large, layout.inline_table(255) + table_bytes(2));
            assert_eq!(layout.shared_bytes(), layout.large_table(63) + table_bytes(254));
            assert_eq!((layout.used % 4, layout.headers % 8, layout.tables % 16), (0, 0, 0));
        }
    }

    #[test]
    fn a_queue_without_long_requests_has_no_large_tables() {
        let layout = Layout::new(8, &BLK, 2, 64).expect("8 entries hold 2 segments");

        assert_eq!(layout.shared_bytes(), layout.fixed_bytes());
    }

    #[test]
    fn numbers_that_break_the_rules_are_refused() {
        assert_eq!(Layout::new(0, &BLK, 2, 0), Err(LayoutError::QueueSize(0)));
        assert_eq!(Layout::new(100, &BLK, 2, 0), Err(LayoutError::QueueSize(100)));
        let too_long = LayoutError::ChainTooLong { segments: 255, queue_size: 256 };
        assert_eq!(Layout::new(256, &BLK, 255, 1), Err(too_long));
        assert_eq!(Layout::new(256, &BLK, 16, 65), Err(LayoutError::TooManyLargeTables(65)));
        assert_eq!(Layout::new(256, &BLK, 16, 0), Err(LayoutError::NoLargeTable { segments: 16 }));
    }
}
