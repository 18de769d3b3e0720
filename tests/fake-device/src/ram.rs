//! The machine's memory as devices see it.
//!
//! UNSAFETY: what is leaked here belongs to nobody else, which no type can say. It is accessed through [`Region`] only.
#![expect(unsafe_code, reason = "the memory of tests is made here")]

use std::fmt;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use virtio::memory::{Region, SharedMemory};

/// Device address of the first byte: not 0, and above 4 GiB, so that a lost high half shows.
const BASE: u64 = 0x1_2345_0000;

const PAGE_BYTES: usize = 4096;

/// Zeroed, page-aligned memory that is never given back, found by fake devices at `device_address`.
pub fn leak(bytes: usize, device_address: u64) -> Region {
    #[derive(Clone)]
    #[repr(align(4096))]
    struct Page(#[expect(dead_code, reason = "accessed by address only")] [u8; PAGE_BYTES]);

    let pages: &'static mut [Page] =
        Box::leak(vec![Page([0; PAGE_BYTES]); bytes.div_ceil(PAGE_BYTES)].into());
    let base = NonNull::from(pages).cast();
    // SAFETY: the memory lives for ever, is aligned to a page, and this is the only way to it; fake devices find it
    // where they are told.
    unsafe { Region::new(base, bytes, device_address) }
}

/// A block of memory at device addresses. Clones share it.
#[derive(Clone)]
pub struct Ram(Arc<Inner>);

struct Inner {
    whole: Region,
    taken: AtomicUsize,
}

impl fmt::Debug for Ram {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Ram({} bytes)", self.0.whole.len())
    }
}

impl Ram {
    /// Zeroed memory of at least `bytes` bytes. It is never given back: a test's regions may outlive its `Ram`.
    pub fn new(bytes: usize) -> Self {
        let whole = leak(bytes.next_multiple_of(PAGE_BYTES), BASE);
        Self(Arc::new(Inner { whole, taken: AtomicUsize::new(0) }))
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
        self.0.whole.view(start, bytes).expect("the part lies inside the memory")
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
