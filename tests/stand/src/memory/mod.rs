//! Memory of the stand: physical frames, page tables, the host's heap, and the areas the driver sees.
//!
//! | address | what |
//! | --- | --- |
//! | 0 … 64 KiB | never mapped |
//! | 1 MiB … | the stand's own code and data, one to one |
//! | `WINDOW` | all RAM, for the host's own use |
//! | `arena::START` | everything the driver gets: each allocation has unmapped pages around it |
//! | `loader::BASE` | the driver image |
//! | `DEVICES` | device registers, uncached |

pub mod arena;
pub mod dma;
pub mod driver;
pub mod frames;
pub mod heap;
pub mod paging;

use core::sync::atomic::{AtomicU64, Ordering};

/// Where all RAM is mapped for the host.
const WINDOW: u64 = 0xFFFF_8800_0000_0000;
/// Where device registers are mapped.
const DEVICES: u64 = 0xFFFF_E000_0000_0000;
/// Page size.
pub const PAGE: u64 = 4096;

static NEXT_DEVICE: AtomicU64 = AtomicU64::new(DEVICES);

/// Host pointer to physical memory.
pub fn window(physical: u64) -> *mut u8 {
    (WINDOW + physical) as *mut u8
}

/// Starts frames, page tables and heap. `ram` are the RAM ranges above 1 MiB; `reserved` is the driver module.
pub fn start(ram: &[(u64, u64)], reserved: (u64, u64)) {
    frames::start(ram, reserved);
    let top = ram.iter().map(|range| range.1).max().unwrap_or(0);
    paging::start(WINDOW, top);
    heap::start();
}

/// Addresses for device registers with nothing behind them.
pub fn reserve_device(size: u64) -> u64 {
    NEXT_DEVICE.fetch_add(size + PAGE, Ordering::Relaxed)
}

/// Whether an address is one of device registers.
pub fn is_device(address: u64) -> bool {
    (DEVICES..NEXT_DEVICE.load(Ordering::Relaxed)).contains(&address)
}

/// Maps device registers uncached and answers with their address.
pub fn map_device(physical: u64, size: u64) -> u64 {
    let offset = physical % PAGE;
    let pages = (offset + size).div_ceil(PAGE);
    let at = NEXT_DEVICE.fetch_add((pages + 1) * PAGE, Ordering::Relaxed);
    for page in 0..pages {
        paging::map(at + page * PAGE, physical - offset + page * PAGE, paging::Flags::DEVICE);
    }
    at + offset
}
