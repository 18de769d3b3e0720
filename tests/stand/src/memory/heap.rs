//! The host's heap.

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::NonNull;

use linked_list_allocator::Heap;

use crate::cpu::lock::Lock;
use crate::memory::{PAGE, frames, window};

const SIZE: u64 = 48 << 20;

struct HostHeap(Lock<Heap>);

#[global_allocator]
static HEAP: HostHeap = HostHeap(Lock::new(Heap::empty()));

// SAFETY: the lock serialises all calls, and the inner allocator keeps the contract of the trait.
unsafe impl GlobalAlloc for HostHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.0.lock().allocate_first_fit(layout).map_or(core::ptr::null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller passes a pointer that `alloc` returned for this layout, so it is not null.
        unsafe { self.0.lock().deallocate(NonNull::new_unchecked(pointer), layout) };
    }
}

/// Gives the heap its memory.
pub fn start() {
    let Some(frames) = frames::run(SIZE / PAGE) else { crate::stop!("less than 64 MiB of RAM") };
    // SAFETY: the frames are ours alone and mapped at the window.
    unsafe { HEAP.0.lock().init(window(frames), SIZE as usize) };
}
