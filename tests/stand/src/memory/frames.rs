//! Physical page frames. Runs come from the bottom; single frames come from all over the place, so that a buffer of
//! several pages is never contiguous by luck.

use crate::cpu::lock::Lock;
use crate::memory::PAGE;

/// Frames below 4 GiB.
const FRAMES: usize = 1 << 20;

struct Frames {
    /// A set bit is a frame in use or not RAM.
    used: [u64; FRAMES / 64],
    first: usize,
    last: usize,
    state: u64,
}

static FRAME_MAP: Lock<Frames> = Lock::new(Frames { used: [!0; FRAMES / 64], first: 0, last: 0, state: 1 });

impl Frames {
    fn is_used(&self, frame: usize) -> bool {
        self.used[frame / 64] & (1 << (frame % 64)) != 0
    }

    fn set(&mut self, frame: usize, used: bool) {
        let bit = 1 << (frame % 64);
        if used {
            self.used[frame / 64] |= bit;
        } else {
            self.used[frame / 64] &= !bit;
        }
    }
}

unsafe extern "C" {
    static stand_end: u8;
}

/// Takes over the RAM ranges, except the stand and `reserved`.
pub fn start(ram: &[(u64, u64)], reserved: (u64, u64)) {
    let mut map = FRAME_MAP.lock();
    let end = &raw const stand_end as u64;
    map.first = usize::MAX;
    for &(from, to) in ram {
        let from = from.max(end).div_ceil(PAGE);
        let to = to.min((FRAMES as u64) * PAGE) / PAGE;
        for frame in from..to {
            let address = frame * PAGE;
            if address + PAGE <= reserved.0 || address >= reserved.1 {
                map.set(frame as usize, false);
                map.first = map.first.min(frame as usize);
                map.last = map.last.max(frame as usize + 1);
            }
        }
    }
}

/// A run of zeroed frames; `None` when there is none.
pub fn run(count: u64) -> Option<u64> {
    let mut map = FRAME_MAP.lock();
    let (mut length, count) = (0, count as usize);
    let mut next = map.first;
    while next < map.last {
        if next.is_multiple_of(64) && map.used[next / 64] == !0 {
            length = 0;
            next += 64;
            continue;
        }
        let frame = next;
        next += 1;
        length = if map.is_used(frame) { 0 } else { length + 1 };
        if length == count {
            let first = frame + 1 - count;
            for frame in first..=frame {
                map.set(frame, true);
            }
            drop(map);
            let address = first as u64 * PAGE;
            fill(address, count as u64, 0);
            return Some(address);
        }
    }
    None
}

/// One zeroed frame from anywhere; `None` when there is none.
pub fn single() -> Option<u64> {
    let mut map = FRAME_MAP.lock();
    map.state = map.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    let span = map.last - map.first;
    let start = map.first + (map.state >> 33) as usize % span.max(1);
    let found = (start..map.last).chain(map.first..start).find(|frame| !map.is_used(*frame))?;
    map.set(found, true);
    drop(map);
    let address = found as u64 * PAGE;
    fill(address, 1, 0);
    Some(address)
}

/// Gives frames back.
pub fn free(address: u64, count: u64) {
    let mut map = FRAME_MAP.lock();
    for frame in address / PAGE..address / PAGE + count {
        map.set(frame as usize, false);
    }
}

/// Fills frames with a byte.
pub fn fill(address: u64, count: u64, byte: u8) {
    // SAFETY: the caller owns the frames, and the window maps all RAM once paging has started; before that nothing
    // calls this but paging itself, which runs with memory mapped one to one and at the window.
    unsafe { core::ptr::write_bytes(super::paging::host(address), byte, (count * PAGE) as usize) }
}

/// Whether frames still hold a byte everywhere; answers with the first offset that does not.
pub fn holds(address: u64, count: u64, byte: u8) -> Result<(), u64> {
    // SAFETY: as in `fill`.
    let words = unsafe {
        core::slice::from_raw_parts(super::paging::host(address).cast::<u64>(), (count * PAGE / 8) as usize)
    };
    let pattern = u64::from_ne_bytes([byte; 8]);
    match words.iter().position(|word| *word != pattern) {
        None => Ok(()),
        Some(index) => Err(index as u64 * 8),
    }
}
