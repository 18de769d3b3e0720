//! Memory that driver and device share.
//!
//! UNSAFETY: this module is the only one of the crate that touches memory by address. Ring words are loads and stores
//! with an ordering, never references: the device may change them at any time.
#![expect(unsafe_code, reason = "physical memory enters the crate here")]

use core::marker::PhantomData;
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

/// The checked load and store of one width, in terms of the unchecked ones.
macro_rules! checked {
    ($load:ident, $store:ident, $type:ty, $what:literal) => {
        #[doc = concat!("Reads ", $what, ".")]
        #[inline]
        fn $load(&self, offset: usize, order: Ordering) -> $type {
            if is_word::<$type>(offset, self.limit()) {
                // SAFETY: aligned and below the limit, as was just checked.
                unsafe { self.words().$load(offset, order) }
            } else {
                <$type>::MAX
            }
        }

        #[doc = concat!("Writes ", $what, ".")]
        #[inline]
        fn $store(&self, offset: usize, value: $type, order: Ordering) {
            if is_word::<$type>(offset, self.limit()) {
                // SAFETY: aligned and below the limit, as was just checked.
                unsafe { self.words().$store(offset, value, order) }
            }
        }
    };
}

/// Whether a word of type `T` at `offset` is aligned and lies below the limit.
#[inline]
fn is_word<T>(offset: usize, limit: usize) -> bool {
    const { assert!(size_of::<T>() <= WORD && size_of::<T>().is_power_of_two()) };
    let word = offset.is_multiple_of(size_of::<T>()) && offset < limit;
    debug_assert!(word, "offset {offset} below {limit}, {} wide", size_of::<T>());
    word
}

/// Memory that driver and device share: words at offsets, each access with its ordering.
///
/// An access that does not lie wholly inside the memory, or is not aligned to its width, is a mistake of the driver:
/// it reads all-ones and writes nothing, and debug builds stop. Where many words of one place are written, a [`Block`]
/// is checked once for all of them.
///
/// # Safety
/// Implementors promise that `device_address` is where the device finds the byte at offset 0, that the `len` bytes from
/// there on are contiguous for the device, and that no Rust reference to the memory exists. Every word that is aligned
/// and starts below `limit` can be accessed through `words`; both stay what they are until the memory is split.
pub unsafe trait SharedMemory: Sized {
    /// Access without checks.
    type Words<'a>: Words
    where
        Self: 'a;

    /// Access without checks. A copy in a local variable stays there, while what is behind `self` is read again after
    /// every access that is atomic.
    fn words(&self) -> Self::Words<'_>;

    /// Length in bytes.
    fn len(&self) -> usize;

    /// Whether there is no byte at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A multiple of 8: a word whose offset is aligned and lies below it lies wholly inside.
    fn limit(&self) -> usize;

    /// Device address of offset 0.
    fn device_address(&self) -> u64;

    /// Carves `bytes` off the front, after skipping what `align` (at least 16) asks for; `None` when there is not as much.
    /// What is left starts aligned to 16 again.
    fn split(&mut self, bytes: usize, align: usize) -> Option<Self>;

    /// A fence between accesses to this memory.
    fn fence(&self, order: Ordering);

    checked!(load8, store8, u8, "one byte");
    checked!(load16, store16, u16, "a little-endian 16-bit word");
    checked!(load32, store32, u32, "a little-endian 32-bit word");
    checked!(load64, store64, u64, "a little-endian 64-bit word");

    /// The `bytes` (a multiple of 8) from `offset` (a multiple of 16) on, checked here and not again.
    #[inline]
    fn block(&self, offset: usize, bytes: usize) -> Option<Block<Self::Words<'_>>> {
        let inside = offset.checked_add(bytes).is_some_and(|end| end <= self.limit());
        let whole = offset.is_multiple_of(ALIGNMENT) && bytes.is_multiple_of(WORD) && inside;
        debug_assert!(whole, "{bytes} bytes at offset {offset} of {} bytes", self.len());
        whole.then(|| Block { words: self.words(), start: offset, bytes })
    }

    /// Copies bytes out, in whole 32-bit words where the offset allows it.
    #[inline]
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
}

/// Accesses to shared memory that are not checked. Words are little-endian.
///
/// # Safety
/// Implementors promise that nothing but the memory they came from is accessed.
pub unsafe trait Words: Copy {
    /// Reads one byte.
    ///
    /// # Safety
    /// `offset` lies below the memory's limit.
    unsafe fn load8(self, offset: usize, order: Ordering) -> u8;
    /// Reads a 16-bit word.
    ///
    /// # Safety
    /// `offset` lies below the memory's limit and is a multiple of 2.
    unsafe fn load16(self, offset: usize, order: Ordering) -> u16;
    /// Reads a 32-bit word.
    ///
    /// # Safety
    /// `offset` lies below the memory's limit and is a multiple of 4.
    unsafe fn load32(self, offset: usize, order: Ordering) -> u32;
    /// Reads a 64-bit word.
    ///
    /// # Safety
    /// `offset` lies below the memory's limit and is a multiple of 8.
    unsafe fn load64(self, offset: usize, order: Ordering) -> u64;
    /// Writes one byte.
    ///
    /// # Safety
    /// `offset` lies below the memory's limit.
    unsafe fn store8(self, offset: usize, value: u8, order: Ordering);
    /// Writes a 16-bit word.
    ///
    /// # Safety
    /// `offset` lies below the memory's limit and is a multiple of 2.
    unsafe fn store16(self, offset: usize, value: u16, order: Ordering);
    /// Writes a 32-bit word.
    ///
    /// # Safety
    /// `offset` lies below the memory's limit and is a multiple of 4.
    unsafe fn store32(self, offset: usize, value: u32, order: Ordering);
    /// Writes a 64-bit word.
    ///
    /// # Safety
    /// `offset` lies below the memory's limit and is a multiple of 8.
    unsafe fn store64(self, offset: usize, value: u64, order: Ordering);
}

/// A part of shared memory whose place was checked once: accesses at offsets that the compiler knows cost nothing more.
/// All of them are relaxed: what makes a block's content visible is the ring.
#[derive(Clone, Copy, Debug)]
pub struct Block<W> {
    words: W,
    start: usize,
    bytes: usize,
}

/// Reads and writes of one width at an offset of a block.
macro_rules! of_block {
    ($load:ident, $store:ident, $type:ty, $what:literal) => {
        #[doc = concat!("Reads ", $what, " at an offset of the block; all-ones where there is none.")]
        #[inline(always)]
        pub fn $load(&self, at: usize) -> $type {
            if self.is_inside::<$type>(at) {
                // SAFETY: the block was checked to lie below the limit, starts aligned and is whole words long, and the word
                // lies in it, aligned.
                unsafe { self.words.$load(self.start + at, Ordering::Relaxed) }
            } else {
                <$type>::MAX
            }
        }

        #[doc = concat!("Writes ", $what, " at an offset of the block; nothing where there is none.")]
        #[inline(always)]
        pub fn $store(&self, at: usize, value: $type) {
            if self.is_inside::<$type>(at) {
                // SAFETY: as for reading.
                unsafe { self.words.$store(self.start + at, value, Ordering::Relaxed) }
            }
        }
    };
}

impl<W: Words> Block<W> {
    #[inline(always)]
    fn is_inside<T>(&self, at: usize) -> bool {
        let inside = at.is_multiple_of(size_of::<T>()) && at < self.bytes;
        debug_assert!(inside, "offset {at} of a block of {} bytes", self.bytes);
        inside
    }

    /// Bytes of it.
    #[inline(always)]
    pub const fn len(&self) -> usize {
        self.bytes
    }

    /// Whether there is no byte at all.
    pub const fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// What lies behind its first bytes, a multiple of 8; nothing when it is no longer.
    #[inline(always)]
    pub const fn behind(self, bytes: usize) -> Self {
        let inside = bytes.is_multiple_of(WORD) && bytes <= self.bytes;
        let skip = if inside { bytes } else { self.bytes };
        Self { words: self.words, start: self.start + skip, bytes: self.bytes - skip }
    }

    of_block!(load8, store8, u8, "one byte");
    of_block!(load32, store32, u32, "a little-endian 32-bit word");
    of_block!(load64, store64, u64, "a little-endian 64-bit word");

    /// Writes pairs of words behind each other, from an offset of the block on. `None`, with nothing written: there is not so
    /// much room.
    #[inline(always)]
    #[must_use]
    pub fn store_pairs(&self, at: usize, pairs: impl ExactSizeIterator<Item = (u64, u64)>) -> Option<()> {
        let room = self.bytes.saturating_sub(at) / (2 * WORD);
        debug_assert!(pairs.len() <= room, "{} pairs at {at} of {} bytes", pairs.len(), self.bytes);
        if !at.is_multiple_of(WORD) || pairs.len() > room {
            return None;
        }
        let mut offset = self.start + at;
        // No more than it says, whatever it gives.
        pairs.take(room).for_each(|(first, second)| {
            // SAFETY: the block was checked to lie below the limit and starts aligned, and there is room for the pair.
            unsafe { self.words.store64(offset, first, Ordering::Relaxed) };
            // SAFETY: as above.
            unsafe { self.words.store64(offset + WORD, second, Ordering::Relaxed) };
            offset += 2 * WORD;
        });
        Some(())
    }

    /// Copies bytes in, from an offset that is a multiple of 8 on, in whole words and then single bytes.
    #[inline(always)]
    pub fn write(&self, at: usize, from: &[u8]) {
        let (words, tail) = from.as_chunks::<WORD>();
        for (index, word) in words.iter().enumerate() {
            self.store64(at + WORD * index, u64::from_le_bytes(*word));
        }
        for (index, byte) in tail.iter().enumerate() {
            self.store8(at + WORD * words.len() + index, *byte);
        }
    }

    /// Copies bytes out, in words of 32 bits from a multiple of 4 on, else one by one.
    pub fn read(&self, at: usize, into: &mut [u8]) {
        let words = if at.is_multiple_of(4) { into.len() / 4 } else { 0 };
        let (words, tail) = into.split_at_mut(4 * words);
        for (index, word) in words.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            *word = self.load32(at + 4 * index).to_le_bytes();
        }
        for (index, byte) in tail.iter_mut().enumerate() {
            *byte = self.load8(at + words.len() + index);
        }
    }

    /// Makes its first bytes all the same, in words and then single bytes.
    #[inline(always)]
    pub fn fill(&self, bytes: usize, with: u8) {
        let mut at = 0;
        while at + WORD <= bytes {
            self.store64(at, u64::from_ne_bytes([with; WORD]));
            at += WORD;
        }
        if at + 4 <= bytes {
            self.store32(at, u32::from_ne_bytes([with; 4]));
            at += 4;
        }
        for at in at..bytes {
            self.store8(at, with);
        }
    }
}

/// Blocks of the same size behind each other, whose place is checked once for all of them. `S` says how many bytes each has.
#[derive(Debug)]
pub(crate) struct Blocks<M, S> {
    memory: M,
    count: usize,
    size: PhantomData<S>,
}

/// Bytes of a block: a multiple of 8.
pub(crate) trait BlockSize {
    const BYTES: usize;
}

impl<M: SharedMemory, S: BlockSize> Blocks<M, S> {
    /// So many blocks; `None` when the memory is too small.
    pub(crate) fn new(memory: M, count: usize) -> Option<Self> {
        const { assert!(S::BYTES != 0 && S::BYTES.is_multiple_of(WORD)) };
        let fits = count.checked_mul(S::BYTES)? <= memory.limit();
        fits.then_some(Self { memory, count, size: PhantomData })
    }

    /// The memory.
    pub(crate) fn memory(&self) -> &M {
        &self.memory
    }

    /// Where the device finds a block.
    #[inline(always)]
    pub(crate) fn device_address(&self, index: u16) -> u64 {
        self.memory.device_address() + (usize::from(index) * S::BYTES) as u64
    }

    /// All of them, to look at several one after the other.
    #[inline(always)]
    pub(crate) fn view(&self) -> BlocksView<M::Words<'_>, S> {
        BlocksView { words: self.memory.words(), count: self.count, size: PhantomData }
    }

    /// A block; `None` when there are not so many.
    #[inline(always)]
    pub(crate) fn get(&self, index: u16) -> Option<Block<M::Words<'_>>> {
        self.view().get(index)
    }
}

/// The same in local variables: what is behind a reference is read again after every access that is atomic.
#[derive(Clone, Copy)]
pub(crate) struct BlocksView<W, S> {
    words: W,
    count: usize,
    size: PhantomData<S>,
}

impl<W: Words, S: BlockSize> BlocksView<W, S> {
    /// A block; `None` when there are not so many.
    #[inline(always)]
    pub(crate) fn get(&self, index: u16) -> Option<Block<W>> {
        let index = usize::from(index);
        // All of them lie below the limit, as was checked.
        (index < self.count).then(|| Block { words: self.words, start: index * S::BYTES, bytes: S::BYTES })
    }
}

/// Bytes before the entries of a split ring: flags and index (2.7.6, 2.7.8).
const HEAD: usize = 4;

/// A split ring's available or used ring, whose place is checked once: flags, index, entries of `ENTRY` bytes, and behind them a
/// word for the other side's event. An index counts modulo their number, so there is no entry that does not exist.
#[derive(Debug)]
pub(crate) struct Entries<M, const ENTRY: usize> {
    memory: M,
    start: usize,
    mask: u16,
}

impl<M: SharedMemory, const ENTRY: usize> Entries<M, ENTRY> {
    /// So many entries, a power of two, that begin with their head at `start`; `None` when the memory is too small.
    pub(crate) fn new(memory: M, start: usize, count: u16) -> Option<Self> {
        const { assert!(ENTRY.is_power_of_two() && ENTRY >= 2 && ENTRY <= 8) };
        let end = start.checked_add(HEAD + ENTRY * usize::from(count) + size_of::<u16>())?;
        let fits = count.is_power_of_two() && start.is_multiple_of(HEAD) && end <= memory.limit();
        fits.then_some(Self { memory, start, mask: count - 1 })
    }

    /// The memory.
    pub(crate) fn memory(&self) -> &M {
        &self.memory
    }

    /// Where the device finds the head.
    pub(crate) fn device_address(&self) -> u64 {
        self.memory.device_address() + self.start as u64
    }

    /// In local variables, for several accesses.
    #[inline(always)]
    pub(crate) fn view(&self) -> EntriesView<M::Words<'_>, ENTRY> {
        EntriesView { words: self.memory.words(), start: self.start, mask: self.mask }
    }

    /// A fence between accesses to this memory.
    #[inline(always)]
    pub(crate) fn fence(&self, order: Ordering) {
        self.memory.fence(order);
    }
}

/// The same in local variables: what is behind a reference is read again after every access that is atomic.
#[derive(Clone, Copy)]
pub(crate) struct EntriesView<W, const ENTRY: usize> {
    words: W,
    start: usize,
    mask: u16,
}

impl<W: Words, const ENTRY: usize> EntriesView<W, ENTRY> {
    #[inline(always)]
    fn entry(&self, index: u16) -> usize {
        self.start + HEAD + ENTRY * usize::from(index & self.mask)
    }

    #[inline(always)]
    fn event_word(&self) -> usize {
        self.start + HEAD + ENTRY * (usize::from(self.mask) + 1)
    }

    /// Writes an entry of 16 bits.
    #[inline(always)]
    pub(crate) fn store_entry(&self, index: u16, value: u16) {
        // SAFETY: every entry lies below the limit, aligned.
        unsafe { self.words.store16(self.entry(index), value, Ordering::Relaxed) }
    }

    /// Reads an entry of two words of 32 bits.
    #[inline(always)]
    pub(crate) fn load_entry(&self, index: u16) -> (u32, u32) {
        const { assert!(ENTRY == 8) };
        let at = self.entry(index);
        // SAFETY: every entry lies below the limit, aligned to 4.
        let first = unsafe { self.words.load32(at, Ordering::Relaxed) };
        // SAFETY: as above.
        (first, unsafe { self.words.load32(at + 4, Ordering::Relaxed) })
    }

    /// Reads the first word of 32 bits of an entry.
    #[inline(always)]
    pub(crate) fn load_first(&self, index: u16) -> u32 {
        const { assert!(ENTRY == 8) };
        // SAFETY: as above.
        unsafe { self.words.load32(self.entry(index), Ordering::Relaxed) }
    }

    /// Reads the flags.
    #[inline(always)]
    pub(crate) fn flags(&self) -> u16 {
        // SAFETY: the head lies below the limit, aligned.
        unsafe { self.words.load16(self.start, Ordering::Relaxed) }
    }

    /// Writes the flags.
    #[inline(always)]
    pub(crate) fn set_flags(&self, flags: u16) {
        // SAFETY: as above.
        unsafe { self.words.store16(self.start, flags, Ordering::Relaxed) }
    }

    /// Reads the index.
    #[inline(always)]
    pub(crate) fn index(&self, order: Ordering) -> u16 {
        // SAFETY: as above.
        unsafe { self.words.load16(self.start + 2, order) }
    }

    /// Writes the index.
    #[inline(always)]
    pub(crate) fn set_index(&self, index: u16, order: Ordering) {
        // SAFETY: as above.
        unsafe { self.words.store16(self.start + 2, index, order) }
    }

    /// Reads the event word.
    #[inline(always)]
    pub(crate) fn event(&self) -> u16 {
        // SAFETY: it lies below the limit, aligned.
        unsafe { self.words.load16(self.event_word(), Ordering::Relaxed) }
    }

    /// Writes the event word.
    #[inline(always)]
    pub(crate) fn set_event(&self, event: u16) {
        // SAFETY: as above.
        unsafe { self.words.store16(self.event_word(), event, Ordering::Relaxed) }
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
    /// `device_address`. `base` and `device_address` must be aligned to 16. Bytes behind the last whole word of eight are out of reach.
    pub unsafe fn new(base: NonNull<u8>, length: usize, device_address: u64) -> Self {
        let aligned =
            base.as_ptr().addr().is_multiple_of(ALIGNMENT) && device_address.is_multiple_of(ALIGNMENT as u64);
        debug_assert!(aligned, "shared memory is aligned for every ring part");
        // Memory that is not, which only a mistake can bring here, gets no access at all.
        let limit = if aligned { length - length % WORD } else { 0 };
        Self { base, length, limit, device_address }
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

    /// A part of the region besides the region itself: what a device of a test sees while the driver uses it.
    pub fn view(&self, offset: usize, bytes: usize) -> Option<Self> {
        self.part(offset, bytes)
    }
}

macro_rules! access {
    ($load:ident, $store:ident, $type:ty, $atomic:ty) => {
        #[inline(always)]
        unsafe fn $load(self, offset: usize, order: Ordering) -> $type {
            // SAFETY: inside the region and aligned, as the caller promises, and accessed through atomics only.
            <$type>::from_le(unsafe { self.0.add(offset).cast::<$atomic>().as_ref() }.load(order))
        }

        #[inline(always)]
        unsafe fn $store(self, offset: usize, value: $type, order: Ordering) {
            // SAFETY: inside the region and aligned, as the caller promises, and accessed through atomics only.
            unsafe { self.0.add(offset).cast::<$atomic>().as_ref() }.store(value.to_le(), order);
        }
    };
}

// SAFETY: `Region::new`'s caller promised all of it.
unsafe impl SharedMemory for Region {
    type Words<'a> = RegionWords;

    #[inline]
    fn words(&self) -> RegionWords {
        RegionWords(self.base)
    }

    fn len(&self) -> usize {
        self.length
    }

    fn device_address(&self) -> u64 {
        self.device_address
    }

    #[inline]
    fn limit(&self) -> usize {
        self.limit
    }

    fn split(&mut self, bytes: usize, align: usize) -> Option<Self> {
        // What a ring part has to be aligned to is meant for the device.
        let align = align.max(ALIGNMENT) as u64;
        let skip = self.device_address.checked_next_multiple_of(align)? - self.device_address;
        let skip = usize::try_from(skip).ok()?;
        let end = skip.checked_add(bytes)?;
        if end > self.length {
            return None;
        }
        let front = self.part(skip, bytes)?;
        let taken = end.checked_next_multiple_of(ALIGNMENT)?.min(self.length);
        *self = self.part(taken, self.length - taken)?;
        Some(front)
    }

    #[inline]
    fn fence(&self, order: Ordering) {
        fence(order);
    }
}

/// Where a region starts.
#[derive(Clone, Copy, Debug)]
pub struct RegionWords(NonNull<u8>);

// SAFETY: only words of the region are accessed, as long as the callers keep to its limit.
unsafe impl Words for RegionWords {
    access!(load8, store8, u8, AtomicU8);
    access!(load16, store16, u16, AtomicU16);
    access!(load32, store32, u32, AtomicU32);
    access!(load64, store64, u64, AtomicU64);
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Zeroed, page-aligned memory that is never given back. Devices of tests have such memory from their own crate,
    /// whose `Region` is another one than that of these tests.
    pub(crate) fn leak(bytes: usize, device_address: u64) -> Region {
        #[derive(Clone)]
        #[repr(align(4096))]
        struct Page(#[expect(dead_code, reason = "accessed by address only")] [u8; 4096]);

        let pages: &'static mut [Page] = Box::leak(vec![Page([0; 4096]); bytes.div_ceil(4096)].into());
        // SAFETY: the memory lives for ever, is aligned to a page, and this is the only way to it; there is no device.
        unsafe { Region::new(NonNull::from(pages).cast(), bytes, device_address) }
    }

    #[test]
    fn parts_split_off_a_region_do_not_overlap_and_keep_their_addresses() {
        let mut whole = leak(256, 0x1000);
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
        assert!(is_word::<u64>(16, 24));
        for (offset, limit) in [(24, 24), (12, 24), (usize::MAX - 7, 24), (0, 0)] {
            let word = std::panic::catch_unwind(|| is_word::<u64>(offset, limit));
            assert!(word.map_or(true, |word| !word), "offset {offset} of {limit}");
        }
    }

    #[test]
    fn a_block_that_leaves_the_memory_or_starts_at_an_odd_place_is_not_there() {
        let region = leak(4096, 0x1000).view(0, 64).expect("the part lies inside");

        assert!(region.block(16, 48).is_some());
        for (offset, bytes) in [(16, 56), (8, 16), (0, 12), (usize::MAX - 15, 16)] {
            let block = std::panic::catch_unwind(|| region.block(offset, bytes).is_some());
            assert!(block.map_or(true, |there| !there), "{bytes} bytes at {offset}");
        }
    }

    #[test]
    fn nothing_is_written_past_the_end_of_a_block() {
        let region = leak(4096, 0x1000).view(0, 64).expect("the part lies inside");
        let block = region.block(16, 16).expect("the block lies inside");

        for at in [16, 12, usize::MAX - 7] {
            assert!(std::panic::catch_unwind(|| block.store64(at, 1)).is_err(), "debug builds stop at {at}");
        }
        assert!(std::panic::catch_unwind(|| block.store8(16, 1)).is_err());

        assert_eq!(region.load64(32, Ordering::Relaxed), 0);
    }

    #[test]
    fn bytes_written_are_read_back_whatever_their_length() {
        let region = leak(128, 0x1000);
        let bytes: Vec<u8> = (1..=51).collect();
        for length in [0, 1, 4, 7, 8, 16, 51] {
            let mut back = vec![0; length];
            let block = region.block(16, 64).expect("the block lies inside");

            block.write(8, &bytes[..length]);
            region.read_bytes(24, &mut back);

            assert_eq!(back, bytes[..length]);
        }
    }
}
