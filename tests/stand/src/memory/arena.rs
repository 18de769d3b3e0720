//! What the driver gets: every allocation has pages of its own with unmapped pages around them, and long-dead addresses
//! are not used again soon, so that a stray access faults instead of reading something else.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::cpu::lock::Lock;
use crate::cpu::smp;
use crate::memory::paging::{self, Flags};
use crate::memory::{PAGE, frames};

/// Allocations that live long.
const START: u64 = 0xFFFF_C000_0000_0000;
/// Memory of requests: addresses come round again after this many bytes.
const REQUESTS: u64 = 0xFFFF_D000_0000_0000;
const REQUESTS_SIZE: u64 = 1 << 30;
/// Driver stacks.
const STACKS: u64 = 0xFFFF_D800_0000_0000;
const STACKS_END: u64 = STACKS + (1 << 30);
const END: u64 = START + (1 << 40);

static NEXT: AtomicU64 = AtomicU64::new(START + PAGE);
static NEXT_REQUEST: AtomicU64 = AtomicU64::new(0);
static NEXT_STACK: AtomicU64 = AtomicU64::new(STACKS + PAGE);

/// Kind of an address that faulted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    /// Below a driver stack.
    StackGuard,
    /// In the arena.
    Arena,
    /// None of ours.
    Unknown,
}

/// Whether an address lies where the driver gets its memory, its stacks among it.
pub fn is_ours(address: u64) -> bool {
    (START..STACKS_END).contains(&address)
}

/// Whether an address lies in the area of requests.
pub fn is_request(address: u64) -> bool {
    (REQUESTS..REQUESTS + REQUESTS_SIZE).contains(&address)
}

/// What an address belongs or belonged to.
pub fn what_is(address: u64) -> Area {
    match address {
        STACKS..STACKS_END => Area::StackGuard,
        START..END => Area::Arena,
        _ if is_request(address) => Area::Arena,
        _ => Area::Unknown,
    }
}

/// A range of pages the driver may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Virtual address of the first page.
    pub address: u64,
    /// Pages.
    pub pages: u64,
}

fn claim(pages: u64) -> u64 {
    NEXT.fetch_add((pages + 1) * PAGE, Ordering::Relaxed)
}

/// Maps given frames at a new place.
pub fn map(frames: impl ExactSizeIterator<Item = u64>, flags: Flags) -> Range {
    let pages = frames.len() as u64;
    let address = claim(pages);
    for (index, frame) in frames.enumerate() {
        paging::map(address + index as u64 * PAGE, frame, flags);
    }
    Range { address, pages }
}

/// Physically contiguous zeroed pages and their physical address.
pub fn contiguous(bytes: u64) -> Option<(Range, u64)> {
    let pages = bytes.div_ceil(PAGE).max(1);
    let physical = frames::run(pages)?;
    let range = map((0..pages as usize).map(|page| physical + page as u64 * PAGE), Flags::DATA);
    Some((range, physical))
}

/// Zeroed pages from all over the place.
pub fn scattered(bytes: u64) -> Option<Range> {
    let pages = bytes.div_ceil(PAGE).max(1);
    let address = claim(pages);
    for page in 0..pages {
        paging::map(address + page * PAGE, frames::single()?, Flags::DATA);
    }
    Some(Range { address, pages })
}

/// The same, and none lies right behind the one before it.
pub fn apart(bytes: u64) -> Option<Range> {
    let pages = bytes.div_ceil(PAGE).max(1);
    let address = claim(pages);
    let mut behind = None;
    for page in 0..pages {
        let mut frame = frames::single()?;
        if behind == Some(frame) {
            // It is taken until there is another one, which so is none that is behind.
            let other = frames::single()?;
            frames::free(frame, 1);
            frame = other;
        }
        behind = Some(frame + PAGE);
        paging::map(address + page * PAGE, frame, Flags::DATA);
    }
    Some(Range { address, pages })
}

/// Contiguous pages at an address of the request area.
pub fn request(pages: u64) -> Option<(Range, u64)> {
    let physical = frames::run(pages)?;
    let span = (pages + 1) * PAGE;
    let mut at = NEXT_REQUEST.fetch_add(span, Ordering::Relaxed);
    if at + span > REQUESTS_SIZE {
        NEXT_REQUEST.store(span, Ordering::Relaxed);
        at = 0;
    }
    let address = REQUESTS + at;
    for page in 0..pages {
        paging::map(address + page * PAGE, physical + page * PAGE, Flags::DATA);
    }
    Some((Range { address, pages }, physical))
}

/// Takes the pages away; the frames stay with the caller.
pub fn unmap(range: Range) {
    for page in 0..range.pages {
        paging::unmap(range.address + page * PAGE);
    }
}

/// Takes the pages away and gives their frames back.
pub fn release(range: Range) {
    let frames: Vec<u64> =
        (0..range.pages).filter_map(|page| paging::unmap(range.address + page * PAGE)).collect();
    retire(frames);
}

/// Frames whose pages are taken away and that another processor may still reach by an old translation.
static RETIRED: Lock<Vec<u64>> = Lock::new(Vec::new());
/// So many are kept before all processors are told: telling them costs more than a request.
const RETIRED_MOST: usize = 1024;

/// Gives frames back when no processor can reach them any more. At once when there is only one processor.
pub fn retire(frames: impl IntoIterator<Item = u64>) {
    let due = {
        let mut retired = RETIRED.lock();
        retired.extend(frames);
        let most = if smp::count() == 1 { 0 } else { RETIRED_MOST };
        if retired.len() > most { core::mem::take(&mut *retired) } else { Vec::new() }
    };
    if !due.is_empty() {
        smp::forget_everywhere();
        for frame in due {
            frames::free(frame, 1);
        }
    }
}

/// A stack of the driver, and the address of its top. The page below it is never mapped.
pub fn stack(bytes: u64) -> u64 {
    let pages = bytes / PAGE;
    let address = NEXT_STACK.fetch_add((pages + 1) * PAGE, Ordering::Relaxed);
    for page in 0..pages {
        let Some(frame) = frames::single() else { crate::stop!("no memory for the driver's stack") };
        paging::map(address + page * PAGE, frame, Flags::DATA);
    }
    address + bytes
}
