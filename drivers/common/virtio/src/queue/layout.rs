//! What a queue's shared memory is made of, and how much of it there is.

use core::marker::PhantomData;

use super::format::{FIXED_ENTRIES, Format, Sizes, table_bytes};
use crate::memory::SharedMemory;
use crate::spec::ring::{DESCRIPTOR_BYTES, used};

/// Most large tables: one bit each in a word.
const MAX_LARGE_TABLES: u16 = 64;

/// Most entries of a ring (2.7, 2.8.10.1).
const MAX_SIZE: u16 = 32768;

/// Of the parts that driver and device write, so that none shares a line with another.
pub(super) const LINE: usize = 64;

/// Of a legacy device's rings (2.7.2).
const LEGACY_PAGE: usize = 4096;

/// Which ring it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RingFormat {
    /// 2.7
    Split,
    /// 2.7.2: the used ring on a page of its own, because a legacy device knows one address only.
    LegacySplit,
    /// 2.8
    Packed,
}

/// What a queue is to be like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueOptions {
    /// Which ring it is.
    pub ring: RingFormat,
    /// Entries of the ring: a power of two for a split ring, anything for a packed one; at most 32768.
    pub size: u16,
    /// Most requests in flight; at most `size`.
    pub slots: u16,
    /// Most data segments of a request; with header and response, a chain may not be longer than the ring.
    pub max_segments: u16,
    /// VIRTIO_F_INDIRECT_DESC was negotiated: a request takes one descriptor of the ring and a table. Without it, it
    /// takes as many descriptors as its chain is long.
    pub indirect: bool,
    /// Requests with more segments than a slot's own table holds that can have a table at once. One that finds none is
    /// put into the ring directly, when there are descriptors enough.
    pub large_tables: u16,
}

/// A queue cannot be like this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayoutError {
    /// A split ring's size is a power of two (2.7), and no ring has more than 32768 entries.
    QueueSize(u16),
    /// There are as many slots as ring entries at most, and one at least.
    Slots {
        /// Slots asked for
        slots: u16,
        /// Entries of the ring
        size: u16,
    },
    /// A chain may not be longer than the queue (2.7.5.2, 2.8.5).
    ChainTooLong {
        /// Data segments asked for
        segments: u16,
        /// Entries of the ring
        size: u16,
    },
    /// There are as many buffers for events as ring entries at most, 64 at most, and one at least, of one byte at least.
    Events {
        /// Buffers asked for
        buffers: u16,
        /// Bytes of each
        bytes: u16,
        /// Entries of the ring
        size: u16,
    },
    /// More large tables than can be told apart.
    TooManyLargeTables(u16),
    /// The memory is less than the layout says, or not aligned as it says, or the slots are not as many.
    TooLittleMemory,
    /// The layout is one of another kind of ring.
    OtherRing(RingFormat),
    /// VIRTIO_F_IN_ORDER was accepted for a queue whose type does not know it.
    InOrder,
}

/// A queue's shared memory: which parts it has, and how large they are.
#[derive(Debug)]
pub struct Layout<F> {
    pub(crate) options: QueueOptions,
    format: PhantomData<F>,
}

impl<F> Clone for Layout<F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F> Copy for Layout<F> {}

/// The parts, each a piece of memory of its own, so that no offset of one can reach into another.
pub(crate) struct Parts<M> {
    pub(crate) ring: RingParts<M>,
    /// Table and header of each slot.
    pub(crate) slots: M,
    /// Response of each slot.
    pub(crate) responses: M,
    /// Large tables.
    pub(crate) large: M,
}

/// The three areas of a ring (2.6).
#[derive(Debug)]
pub struct RingParts<M> {
    pub(crate) descriptors: M,
    pub(crate) driver: M,
    pub(crate) device: M,
}

/// Bytes and alignment of a part.
#[derive(Clone, Copy)]
pub(super) struct Part {
    pub(super) bytes: usize,
    pub(super) align: usize,
}

/// Bytes up to the end of the last part, when the first one lies as it has to.
pub(super) const fn end_of(parts: &[Part]) -> usize {
    let mut end: usize = 0;
    let mut index = 0;
    while index < parts.len() {
        end = end.next_multiple_of(parts[index].align) + parts[index].bytes;
        index += 1;
    }
    end
}

/// A ring's kind and size, which is all that its own memory depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingShape {
    pub(super) format: RingFormat,
    pub(super) size: u16,
}

impl RingShape {
    /// Checks the size.
    pub(super) const fn new(format: RingFormat, size: u16) -> Result<Self, LayoutError> {
        let possible = match format {
            RingFormat::Split | RingFormat::LegacySplit => size.is_power_of_two(),
            RingFormat::Packed => size != 0,
        };
        if possible && size <= MAX_SIZE {
            Ok(Self { format, size })
        } else {
            Err(LayoutError::QueueSize(size))
        }
    }

    /// Where the used ring begins in its part of the memory.
    ///
    /// Its entries begin a line, so that none lies on two pages. Behind an IOMMU QEMU translates the first page of what it
    /// writes to a ring in one go, and no other (system/physmem.c, `address_space_write_cached_slow`). The rest goes to the
    /// memory behind that page, wherever the second page is. Before 9.0 it went to the offset in the ring, taken for an
    /// address: half of the entry was lost, and landed in memory that nobody gave to the device. A legacy device's ring has
    /// its place (2.7.2), and no IOMMU.
    pub(super) const fn used_start(self) -> usize {
        match self.format {
            RingFormat::Split => LINE - used::RING,
            RingFormat::LegacySplit | RingFormat::Packed => 0,
        }
    }

    /// The three areas.
    pub(super) const fn parts(self) -> [Part; 3] {
        let size = self.size as usize;
        let legacy = matches!(self.format, RingFormat::LegacySplit);
        let page = if legacy { LEGACY_PAGE } else { LINE };
        let (driver, device) = match self.format {
            RingFormat::Split | RingFormat::LegacySplit => (6 + 2 * size, self.used_start() + 6 + 8 * size),
            RingFormat::Packed => (4, 4),
        };
        [
            Part { bytes: size * DESCRIPTOR_BYTES, align: page },
            // A legacy device looks for the available ring right behind the descriptors.
            Part { bytes: driver, align: if legacy { 2 } else { LINE } },
            Part { bytes: device, align: page },
        ]
    }

    /// Cuts the areas off the front of the memory.
    pub(super) fn carve<M: SharedMemory>(self, memory: &mut M) -> Option<RingParts<M>> {
        let [descriptors, driver, device] = self.parts().map(|part| memory.split(part.bytes, part.align));
        Some(RingParts { descriptors: descriptors?, driver: driver?, device: device? })
    }
}

impl<F: Format> Layout<F> {
    /// Checks the options.
    ///
    /// # Errors
    /// The numbers break a rule of the specification or of this crate.
    pub const fn new(options: QueueOptions) -> Result<Self, LayoutError> {
        let QueueOptions { ring, size, slots, max_segments, large_tables, .. } = options;
        if let Err(error) = RingShape::new(ring, size) {
            return Err(error);
        }
        if slots == 0 || slots > size {
            return Err(LayoutError::Slots { slots, size });
        }
        if max_segments as u32 + FIXED_ENTRIES as u32 > size as u32 {
            return Err(LayoutError::ChainTooLong { segments: max_segments, size });
        }
        if large_tables > MAX_LARGE_TABLES {
            return Err(LayoutError::TooManyLargeTables(large_tables));
        }
        Ok(Self { options, format: PhantomData })
    }

    /// Bytes of shared memory, large tables included, when it starts at a multiple of [`alignment`](Self::alignment).
    pub const fn shared_bytes(&self) -> usize {
        self.fixed_bytes() + self.large_tables() as usize * table_bytes(self.options.max_segments)
    }

    /// Bytes of shared memory without the large tables.
    pub const fn fixed_bytes(&self) -> usize {
        // Large tables are tables of descriptors.
        end_of(&self.fixed_parts()).next_multiple_of(DESCRIPTOR_BYTES)
    }

    /// What the device address of the memory has to be a multiple of.
    pub const fn alignment(&self) -> usize {
        self.fixed_parts()[0].align
    }

    /// How many slots there are.
    pub const fn slots(&self) -> usize {
        self.options.slots as usize
    }

    /// Which kind of ring.
    pub const fn ring(&self) -> RingFormat {
        self.options.ring
    }

    /// Entries of the ring.
    pub const fn size(&self) -> u16 {
        self.options.size
    }

    /// Large tables that are needed: none where no request is long, or there are no tables at all.
    pub(crate) const fn large_tables(&self) -> u16 {
        let long = self.options.max_segments > F::INLINE_SEGMENTS;
        if self.options.indirect && long { self.options.large_tables } else { 0 }
    }

    /// From one slot's table, or header where there are no tables, to the next one's.
    pub(crate) const fn slot_stride(&self) -> usize {
        if self.options.indirect { Sizes::<F>::SLOT } else { Sizes::<F>::SLOT_WITHOUT_TABLE }
    }

    /// What the ring itself is like.
    pub(super) const fn shape(&self) -> RingShape {
        RingShape { format: self.options.ring, size: self.options.size }
    }

    /// All parts but the large tables.
    const fn fixed_parts(&self) -> [Part; 5] {
        let slots = self.options.slots as usize;
        let [descriptors, driver, device] = self.shape().parts();
        let chains = Part { bytes: slots * self.slot_stride(), align: LINE };
        let responses = Part { bytes: slots * Sizes::<F>::RESPONSE, align: LINE };
        [descriptors, driver, device, chains, responses]
    }

    /// Cuts memory into the parts.
    pub(crate) fn carve<M: SharedMemory>(&self, mut memory: M) -> Option<Parts<M>> {
        let ring = self.shape().carve(&mut memory)?;
        let [.., chains, responses] = self.fixed_parts();
        let large = usize::from(self.large_tables()) * table_bytes(self.options.max_segments);
        Some(Parts {
            ring,
            slots: memory.split(chains.bytes, chains.align)?,
            responses: memory.split(responses.bytes, responses.align)?,
            large: memory.split(large, DESCRIPTOR_BYTES)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::tests::leak;
    use crate::queue::ring::{Ring as _, SplitRing};
    use crate::queue::tests::{Blk, Scsi};
    use crate::spec::Features;

    const SPLIT: QueueOptions = QueueOptions {
        ring: RingFormat::Split,
        size: 256,
        slots: 256,
        max_segments: 254,
        indirect: true,
        large_tables: 64,
    };
    /// Where memory lies for the device: at the start of a page.
    const START: u64 = 0x1000;

    fn layout<F: Format>(options: QueueOptions) -> Layout<F> {
        Layout::new(options).expect("256 entries hold 254 segments")
    }

    #[test]
    fn a_virtio_blk_queue_of_256_costs_less_than_32_kib() {
        let split = layout::<Blk>(SPLIT).fixed_bytes();
        let packed = layout::<Blk>(QueueOptions { ring: RingFormat::Packed, ..SPLIT }).fixed_bytes();
        let direct = layout::<Blk>(QueueOptions { indirect: false, ..SPLIT }).fixed_bytes();

        assert_eq!((split, packed, direct), (29_376, 26_752, 12_992));
        assert!(split <= 32 * 1024);
    }

    #[test]
    fn a_virtio_scsi_queue_of_256_costs_what_its_headers_and_responses_do() {
        // 256 × (51 + 108) bytes alone are 40 KiB.
        assert_eq!(layout::<Scsi>(SPLIT).fixed_bytes(), 68_288);
    }

    #[test]
    fn what_is_carved_is_as_much_as_was_computed() {
        for ring in [RingFormat::Split, RingFormat::LegacySplit, RingFormat::Packed] {
            for (size, indirect) in [(4, true), (64, false), (256, true)] {
                let options =
                    QueueOptions { ring, size, slots: size, max_segments: size - 2, indirect, ..SPLIT };
                let layout = layout::<Scsi>(options);
                let bytes = layout.shared_bytes();

                let memory = leak(bytes, START);
                let parts = layout.carve(memory).expect("there is as much memory as was asked for");

                assert_eq!(parts.large.device_address() + parts.large.len() as u64, START + bytes as u64);
                assert!(layout.carve(leak(bytes - DESCRIPTOR_BYTES, START)).is_none());
            }
        }
    }

    #[test]
    fn nothing_that_a_modern_device_writes_in_one_go_lies_on_two_pages() {
        let layout = layout::<Scsi>(QueueOptions { size: 1024, slots: 1, large_tables: 0, ..SPLIT });
        // Wherever the memory begins in its page, and with a ring of several pages.
        for before in (64..=4096).step_by(64) {
            let memory = leak(layout.shared_bytes(), START + before);
            let features = Features::VERSION_1;
            let parts = layout.carve(memory).expect("there is enough memory").ring;

            let ring =
                SplitRing::new(layout.shape(), parts, features).expect("the layout is one of a split ring");

            let entries = ring.areas().device_area + used::RING as u64;
            let torn = (0..1024).map(|entry| entries + 8 * entry).find(|entry| entry % 4096 > 4096 - 8);
            assert_eq!(torn, None, "entries from {entries:#x} on, {before} bytes into a page");
        }
    }

    #[test]
    fn a_legacy_ring_lies_where_2_7_2_says() {
        let layout = layout::<Blk>(QueueOptions { ring: RingFormat::LegacySplit, ..SPLIT });

        let parts = layout.carve(leak(layout.shared_bytes(), START)).expect("there is enough memory").ring;

        let start = parts.descriptors.device_address();
        assert_eq!(start % 4096, 0);
        assert_eq!(parts.driver.device_address() - start, 4096);
        assert_eq!(parts.device.device_address() - start, 8192);
    }

    #[test]
    fn a_queue_without_long_requests_has_no_large_tables() {
        for options in [
            QueueOptions { size: 8, slots: 8, max_segments: 2, ..SPLIT },
            QueueOptions { indirect: false, ..SPLIT },
        ] {
            let layout = layout::<Blk>(options);

            assert_eq!(layout.shared_bytes(), layout.fixed_bytes());
        }
    }

    #[test]
    fn numbers_that_break_the_rules_are_refused() {
        let packed = QueueOptions { ring: RingFormat::Packed, ..SPLIT };
        let table = [
            (QueueOptions { size: 0, ..SPLIT }, LayoutError::QueueSize(0)),
            (QueueOptions { size: 100, ..SPLIT }, LayoutError::QueueSize(100)),
            (QueueOptions { size: 0, ..packed }, LayoutError::QueueSize(0)),
            (QueueOptions { size: 32769, ..packed }, LayoutError::QueueSize(32769)),
            (QueueOptions { slots: 0, ..SPLIT }, LayoutError::Slots { slots: 0, size: 256 }),
            (QueueOptions { slots: 257, ..SPLIT }, LayoutError::Slots { slots: 257, size: 256 }),
            (
                QueueOptions { max_segments: 255, ..SPLIT },
                LayoutError::ChainTooLong { segments: 255, size: 256 },
            ),
            (QueueOptions { large_tables: 65, ..SPLIT }, LayoutError::TooManyLargeTables(65)),
        ];
        for (options, expected) in table {
            assert_eq!(Layout::<Blk>::new(options).err(), Some(expected), "{options:?}");
        }
        let odd = QueueOptions { size: 100, slots: 100, max_segments: 98, ..packed };
        assert!(Layout::<Blk>::new(odd).is_ok(), "a packed ring's size is any number");
    }
}
