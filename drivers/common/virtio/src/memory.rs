//! Memory that driver and device share.
//!
//! UNSAFETY: this module is the only one of the crate that touches memory by address. Ring words are loads and stores
//! with an ordering, never references: the device may change them at any time.
#![expect(unsafe_code, reason = "physical memory enters the crate here")]

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering, fence};

/// One piece of memory as a device sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Device address of the first byte.
    pub address: u64,
    /// Length in bytes.
    pub length: u32,
}

/// Memory that driver and device share: words at offsets, each access with its ordering.
///
/// An access that does not lie wholly inside the memory, or is not aligned to its width, is a mistake of the driver:
/// it reads all-ones and writes nothing, and debug builds stop.
///
/// # Safety
/// Implementors promise that `device_address` is where the device finds the byte at offset 0, that the `len` bytes from
/// there on are contiguous for the device, and that no Rust reference to the memory exists.
pub unsafe trait SharedMemory {
    /// Length in bytes.
    fn len(&self) -> usize;

    /// Whether there is no byte at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Device address of offset 0.
    fn device_address(&self) -> u64;

    /// Reads one byte.
    fn load8(&self, offset: usize, order: Ordering) -> u8;
    /// Reads a little-endian 16-bit word.
    fn load16(&self, offset: usize, order: Ordering) -> u16;
    /// Reads a little-endian 32-bit word.
    fn load32(&self, offset: usize, order: Ordering) -> u32;
    /// Reads a little-endian 64-bit word.
    fn load64(&self, offset: usize, order: Ordering) -> u64;
    /// Writes one byte.
    fn store8(&self, offset: usize, value: u8, order: Ordering);
    /// Writes a little-endian 16-bit word.
    fn store16(&self, offset: usize, value: u16, order: Ordering);
    /// Writes a little-endian 32-bit word.
    fn store32(&self, offset: usize, value: u32, order: Ordering);
    /// Writes a little-endian 64-bit word.
    fn store64(&self, offset: usize, value: u64, order: Ordering);

    /// A fence between accesses to this memory.
    fn fence(&self, order: Ordering);

    /// Copies bytes out, in whole 32-bit words where the offset allows it.
    fn read_bytes(&self, offset: usize, into: &mut [u8]) {
        let mut at = offset;
        if offset.is_multiple_of(4) {
            let (words, tail) = into.as_chunks_mut::<4>();
            for word in words {
                *word = self.load32(at, Ordering::Relaxed).to_le_bytes();
                at += 4;
            }
            for byte in tail {
                *byte = self.load8(at, Ordering::Relaxed);
                at += 1;
            }
        } else {
            for byte in into {
                *byte = self.load8(at, Ordering::Relaxed);
                at += 1;
            }
        }
    }

    /// Copies bytes in, in whole 64-bit words where the offset allows it.
    fn write_bytes(&self, offset: usize, from: &[u8]) {
        let mut at = offset;
        if offset.is_multiple_of(8) {
            let (words, tail) = from.as_chunks::<8>();
            for word in words {
                self.store64(at, u64::from_le_bytes(*word), Ordering::Relaxed);
                at += 8;
            }
            for byte in tail {
                self.store8(at, *byte, Ordering::Relaxed);
                at += 1;
            }
        } else {
            for byte in from {
                self.store8(at, *byte, Ordering::Relaxed);
                at += 1;
            }
        }
    }
}

/// A piece of shared memory at an address.
#[derive(Debug)]
pub struct Region {
    /// Aligned to [`ALIGNMENT`].
    base: NonNull<u8>,
    length: usize,
    /// A multiple of [`WORD`], so that a word whose offset is aligned and lies below it lies wholly inside.
    limit: usize,
    device_address: u64,
}

/// Of every region's start.
const ALIGNMENT: usize = 16;
/// Bytes of the longest word.
const WORD: usize = 8;

// SAFETY: all access is through atomics, so it may come from any thread.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    /// # Safety
    /// The `length` bytes at `base` must be valid for reads and writes for as long as the region, or a part split off
    /// it, exists; no Rust reference to them may exist meanwhile; the device must find them, contiguous, at
    /// `device_address`. `base` must be aligned to 16. Bytes behind the last whole word of eight are out of reach.
    pub unsafe fn new(base: NonNull<u8>, length: usize, device_address: u64) -> Self {
        let aligned = base.as_ptr().addr().is_multiple_of(ALIGNMENT);
        debug_assert!(aligned, "shared memory is aligned for every ring part");
        // Memory that is not, which only a mistake can bring here, gets no access at all.
        let limit = if aligned { length - length % WORD } else { 0 };
        Self { base, length, limit, device_address }
    }

    /// Carves `bytes` off the front, after skipping what `align` (at least 16) asks for; `None` when there is not as much.
    /// What is left starts aligned to 16 again.
    pub fn split(&mut self, bytes: usize, align: usize) -> Option<Self> {
        let address = self.base.as_ptr().addr();
        let skip = address.checked_next_multiple_of(align.max(ALIGNMENT))? - address;
        let end = skip.checked_add(bytes)?;
        if end > self.length {
            return None;
        }
        let front = self.part(skip, bytes)?;
        let taken = end.checked_next_multiple_of(ALIGNMENT)?.min(self.length);
        *self = self.part(taken, self.length - taken)?;
        Some(front)
    }

    /// The `bytes` from `offset` on, which must lie inside and start aligned, or be none at all.
    fn part(&self, offset: usize, bytes: usize) -> Option<Self> {
        if offset.checked_add(bytes)? > self.length {
            return None;
        }
        // SAFETY: the part lies inside the region, as was just checked.
        let base = unsafe { self.base.add(offset) };
        // A word may reach past the part's end only where the whole region's words do.
        let limit = bytes.next_multiple_of(WORD).min(self.limit.saturating_sub(offset));
        let limit = if offset.is_multiple_of(ALIGNMENT) { limit } else { 0 };
        Some(Self { base, length: bytes, limit, device_address: self.device_address + offset as u64 })
    }

    /// Zeroed, page-aligned memory that is never given back, found by fake devices at `device_address`.
    #[cfg(any(test, feature = "fake"))]
    pub fn leak(bytes: usize, device_address: u64) -> Self {
        #[derive(Clone)]
        #[repr(align(4096))]
        struct Page(#[expect(dead_code, reason = "accessed by address only")] [u8; 4096]);

        let pages: &'static mut [Page] = Box::leak(vec![Page([0; 4096]); bytes.div_ceil(4096)].into());
        let base = NonNull::from(pages).cast::<u8>();
        // SAFETY: the memory lives for ever, is aligned to a page, and this is the only way to it; fake devices find it
        // where they are told.
        unsafe { Self::new(base, bytes, device_address) }
    }

    /// A part of the region besides the region itself: what a device sees while the driver uses it.
    #[cfg(any(test, feature = "fake"))]
    pub fn view(&self, offset: usize, bytes: usize) -> Option<Self> {
        self.part(offset, bytes)
    }

    /// Where a word of type `T` at `offset` lies; `None` when it is not wholly inside, or not aligned.
    #[inline]
    fn word<T>(&self, offset: usize) -> Option<NonNull<T>> {
        const { assert!(size_of::<T>() <= WORD && size_of::<T>().is_power_of_two()) };
        let aligned = offset.is_multiple_of(size_of::<T>());
        let inside = offset < self.limit;
        debug_assert!(aligned && inside, "offset {offset} of {} bytes, {} wide", self.length, size_of::<T>());
        if !(aligned && inside) {
            return None;
        }
        // SAFETY: the offset lies inside the region.
        Some(unsafe { self.base.add(offset) }.cast::<T>())
    }
}

macro_rules! access {
    ($load:ident, $store:ident, $type:ty, $atomic:ty) => {
        #[inline]
        fn $load(&self, offset: usize, order: Ordering) -> $type {
            match self.word::<$atomic>(offset) {
                // SAFETY: inside the region, aligned, and accessed through atomics only.
                Some(word) => <$type>::from_le(unsafe { word.as_ref() }.load(order)),
                None => <$type>::MAX,
            }
        }

        #[inline]
        fn $store(&self, offset: usize, value: $type, order: Ordering) {
            if let Some(word) = self.word::<$atomic>(offset) {
                // SAFETY: inside the region, aligned, and accessed through atomics only.
                unsafe { word.as_ref() }.store(value.to_le(), order);
            }
        }
    };
}

// SAFETY: `Region::new`'s caller promised all of it.
unsafe impl SharedMemory for Region {
    fn len(&self) -> usize {
        self.length
    }

    fn device_address(&self) -> u64 {
        self.device_address
    }

    access!(load8, store8, u8, AtomicU8);
    access!(load16, store16, u16, AtomicU16);
    access!(load32, store32, u32, AtomicU32);
    access!(load64, store64, u64, AtomicU64);

    #[inline]
    fn fence(&self, order: Ordering) {
        fence(order);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Ram;

    #[test]
    fn parts_split_off_a_region_do_not_overlap_and_keep_their_addresses() {
        let ram = Ram::new(4096);
        let mut whole = ram.alloc(256, 64);
        let start = whole.device_address();

        let first = whole.split(10, 1).expect("there are 256 bytes");
        let second = whole.split(100, 64).expect("there are 246 bytes left");

        assert_eq!(first.device_address(), start);
        assert_eq!(second.device_address(), start + 64);
        assert_eq!((first.len(), second.len(), whole.len()), (10, 100, 256 - 176));
        assert!(whole.split(100, 1).is_none());
    }

    #[test]
    fn a_word_past_the_end_or_across_it_is_not_there() {
        let region = Region::leak(4096, 0x1000).view(16, 24).expect("the part lies inside");

        assert!(region.word::<u64>(16).is_some());
        assert!(std::panic::catch_unwind(|| region.word::<u64>(24)).map_or(true, |word| word.is_none()));
        assert!(std::panic::catch_unwind(|| region.word::<u64>(12)).map_or(true, |word| word.is_none()));
        assert!(
            std::panic::catch_unwind(|| region.word::<u8>(usize::MAX)).map_or(true, |word| word.is_none())
        );
    }

    #[test]
    fn bytes_written_are_read_back_whatever_their_length() {
        let ram = Ram::new(4096);
        let region = ram.alloc(128, 16);
        let bytes: Vec<u8> = (1..=51).collect();
        for length in [0, 1, 4, 7, 8, 16, 51] {
            let mut back = vec![0; length];

            region.write_bytes(8, &bytes[..length]);
            region.read_bytes(8, &mut back);

            assert_eq!(back, bytes[..length]);
        }
    }
}
