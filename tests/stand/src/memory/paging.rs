//! Page tables.

use core::arch::asm;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::cpu::lock::Lock;
use crate::memory::{PAGE, frames, window};

/// Rights and kind of a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(u64);

impl Flags {
    /// Data: read and write, no execution.
    pub const DATA: Flags = Flags(1 << 63 | 3);
    /// Constants: read only.
    pub const CONSTANT: Flags = Flags(1 << 63 | 1);
    /// Code: read and execute.
    pub const CODE: Flags = Flags(1);
    /// Device registers: read and write, uncached.
    pub const DEVICE: Flags = Flags(1 << 63 | 0x1B);

    /// Rights of an image section.
    pub fn section(write: bool, execute: bool) -> Flags {
        Flags(1 | u64::from(write) << 1 | u64::from(!execute) << 63)
    }
}

const ADDRESS: u64 = 0x000F_FFFF_FFFF_F000;
const LARGE: u64 = 0x80;

static ROOT: AtomicU64 = AtomicU64::new(0);
static WINDOW_READY: AtomicBool = AtomicBool::new(false);
static TABLES: Lock<()> = Lock::new(());

unsafe extern "C" {
    static stand_start: u8;
    static stand_text_end: u8;
    static stand_rodata_end: u8;
    static stand_end: u8;
}

/// Host pointer to a physical address: one to one until the window is there.
pub fn host(physical: u64) -> *mut u8 {
    if WINDOW_READY.load(Ordering::Relaxed) { window(physical) } else { physical as *mut u8 }
}

fn entry(table: u64, virtual_address: u64, level: u32) -> *mut u64 {
    let index = virtual_address >> (12 + 9 * level) & 511;
    host(table + index * 8).cast()
}

/// The lowest-level entry of an address, with its tables made on the way when `create`.
fn leaf(address: u64, create: bool) -> Option<*mut u64> {
    let mut table = ROOT.load(Ordering::Relaxed);
    for level in [3, 2, 1] {
        let slot = entry(table, address, level);
        // SAFETY: tables are frames of ours that are never given back.
        let mut value = unsafe { slot.read_volatile() };
        if value & 1 == 0 {
            if !create {
                return None;
            }
            let Some(frame) = frames::run(1) else { crate::stop!("out of memory for page tables") };
            value = frame | 3;
            // SAFETY: as above; the entry was empty.
            unsafe { slot.write_volatile(value) };
        }
        if value & LARGE != 0 {
            return None;
        }
        table = value & ADDRESS;
    }
    Some(entry(table, address, 0))
}

/// Builds the tables: the stand itself with the right of each part, all RAM at the window; then switches to them.
pub fn start(window_base: u64, ram_top: u64) {
    let Some(root) = frames::run(1) else { crate::stop!("no memory") };
    ROOT.store(root, Ordering::Relaxed);
    let parts = [
        (&raw const stand_start as u64, &raw const stand_text_end as u64, Flags::CODE),
        (&raw const stand_text_end as u64, &raw const stand_rodata_end as u64, Flags::CONSTANT),
        (&raw const stand_rodata_end as u64, &raw const stand_end as u64, Flags::DATA),
    ];
    for (from, to, flags) in parts {
        for page in (from..to).step_by(PAGE as usize) {
            map(page, page, flags);
        }
    }
    let large = 2 << 20;
    for physical in (0..ram_top).step_by(large) {
        let address = window_base + physical;
        let mut table = root;
        for level in [3, 2] {
            let slot = entry(table, address, level);
            // SAFETY: as in `leaf`.
            let mut value = unsafe { slot.read_volatile() };
            if value & 1 == 0 {
                let Some(frame) = frames::run(1) else { crate::stop!("no memory") };
                value = frame | 3;
                // SAFETY: as in `leaf`.
                unsafe { slot.write_volatile(value) };
            }
            table = value & ADDRESS;
        }
        // SAFETY: as in `leaf`; the entry is a 2 MiB page of data.
        unsafe { entry(table, address, 1).write_volatile(physical | LARGE | Flags::DATA.0) };
    }
    // SAFETY: the new tables map the code, stack and data in use at the same addresses.
    unsafe { asm!("mov cr3, {}", in(reg) root, options(nostack)) };
    WINDOW_READY.store(true, Ordering::Relaxed);
}

/// Maps a page.
pub fn map(address: u64, physical: u64, flags: Flags) {
    let _guard = TABLES.lock();
    let Some(slot) = leaf(address, true) else { crate::stop!("page {address:#x} cannot be mapped") };
    // SAFETY: the entry belongs to the page the caller owns.
    unsafe { slot.write_volatile(physical | flags.0) };
    flush(address);
}

/// Takes a page away and answers with its frame. Other processors may go on using it until
/// [`forget_everywhere`](crate::cpu::smp::forget_everywhere): the frame must not be used again before that.
pub fn unmap(address: u64) -> Option<u64> {
    let _guard = TABLES.lock();
    let slot = leaf(address, false)?;
    // SAFETY: the entry belongs to the page the caller owns.
    let value = unsafe { slot.replace(0) };
    flush(address);
    (value & 1 != 0).then_some(value & ADDRESS)
}

/// Physical address of the top-level table.
pub fn root() -> u64 {
    ROOT.load(Ordering::Relaxed)
}

fn flush(address: u64) {
    // SAFETY: forgetting a translation is always allowed.
    unsafe { asm!("invlpg [{}]", in(reg) address, options(nostack, preserves_flags)) };
}

/// Physical address of a mapped address, and whether it may be written.
pub fn translate(address: u64) -> Option<(u64, bool)> {
    // Only canonical addresses have translations.
    if (address as i64) << 16 >> 16 != address as i64 {
        return None;
    }
    let mut table = ROOT.load(Ordering::Relaxed);
    for level in [3, 2, 1, 0] {
        // SAFETY: as in `leaf`.
        let value = unsafe { entry(table, address, level).read_volatile() };
        if value & 1 == 0 {
            return None;
        }
        if level == 0 || value & LARGE != 0 {
            let mask = (1u64 << (12 + 9 * level)) - 1;
            return Some(((value & ADDRESS & !mask) | (address & mask), value & 2 != 0));
        }
        table = value & ADDRESS;
    }
    None
}
