//! The machine's memory as devices see it.
#![expect(unsafe_code, reason = "hands out the regions that the driver and the fake device share")]

use std::fmt;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::memory::{Region, SharedMemory};

/// Device address of the first byte: not 0, and above 4 GiB, so that a lost high half shows.
const BASE: u64 = 0x1_2345_0000;

const PAGE_BYTES: usize = 4096;

/// So that processor and device agree on what is aligned.
#[derive(Clone)]
#[repr(align(4096))]
struct Page(#[expect(dead_code, reason = "accessed by address only")] [u8; PAGE_BYTES]);

/// A block of memory at device addresses. Clones share it.
#[derive(Clone)]
pub struct Ram(Arc<Inner>);

struct Inner {
    base: NonNull<u8>,
    whole: Region,
    taken: AtomicUsize,
}

// SAFETY: the memory behind `base` is accessed through regions only, which may be used on any thread.
unsafe impl Send for Inner {}
// SAFETY: as above.
unsafe impl Sync for Inner {}

impl fmt::Debug for Ram {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Ram({} bytes)", self.0.whole.len())
    }
}

impl Ram {
    /// Zeroed memory of at least `bytes` bytes. It is never given back: a test's regions may outlive its `Ram`.
    pub fn new(bytes: usize) -> Self {
        let memory: &'static mut [Page] =
            Box::leak(vec![Page([0; PAGE_BYTES]); bytes.div_ceil(PAGE_BYTES)].into());
        let length = size_of_val(memory);
        let base = NonNull::from(memory).cast::<u8>();
        // SAFETY: the memory lives for ever, is aligned to a page, and is accessed through regions only. Devices find it at
        // BASE because `read` and `write` say so.
        let whole = unsafe { Region::new(base, length, BASE) };
        Self(Arc::new(Inner { base, whole, taken: AtomicUsize::new(0) }))
    }

    /// Takes zeroed memory.
    pub fn alloc(&self, bytes: usize, align: usize) -> Region {
        assert!(align.is_power_of_two() && align <= PAGE_BYTES, "alignment {align}");
        let mut start = 0;
        self.0
            .taken
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |taken| {
                start = taken.next_multiple_of(align.max(16));
                let end = start + bytes;
                (end <= self.0.whole.len()).then_some(end)
            })
            .expect("the test's memory is large enough");
        // SAFETY: `start` lies inside the memory.
        let base = unsafe { self.0.base.add(start) };
        // SAFETY: this part of the memory is handed out once, lives for ever, and is aligned to 16.
        unsafe { Region::new(base, bytes, BASE + start as u64) }
    }

    /// Reads bytes at a device address; `None` outside the memory.
    pub fn read(&self, address: u64, into: &mut [u8]) -> Option<()> {
        let offset = self.offset(address, into.len())?;
        for (at, byte) in (offset..).zip(into) {
            *byte = self.0.whole.load8(at, Ordering::Relaxed);
        }
        Some(())
    }

    /// Writes bytes at a device address; `None` outside the memory.
    pub fn write(&self, address: u64, from: &[u8]) -> Option<()> {
        let offset = self.offset(address, from.len())?;
        for (at, byte) in (offset..).zip(from) {
            self.0.whole.store8(at, *byte, Ordering::Relaxed);
        }
        Some(())
    }

    /// Where a device address lies, if the bytes from there on are memory.
    pub fn offset(&self, address: u64, bytes: usize) -> Option<usize> {
        let offset = usize::try_from(address.checked_sub(BASE)?).ok()?;
        (offset.checked_add(bytes)? <= self.0.whole.len()).then_some(offset)
    }

    /// The whole memory, for ring words that must be accessed in their own width.
    pub fn words(&self) -> &Region {
        &self.0.whole
    }
}
