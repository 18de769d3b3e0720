//! Puts the driver image into memory as Windows does: sections with their own rights, imports bound, INIT thrown away.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use stand::image::Image;

use crate::cpu::lock::Lock;
use crate::memory::paging::{self, Flags};
use crate::memory::{PAGE, arena, frames, window};
use crate::{cpu, kernel};

/// Where the image is loaded.
pub const BASE: u64 = 0xFFFF_F800_1234_0000;

/// A section in memory.
#[derive(Clone, Debug)]
pub struct Section {
    /// Name.
    pub name: String,
    /// First address.
    pub start: u64,
    /// Bytes.
    pub size: u64,
    discardable: bool,
    /// Unmapped after DriverEntry.
    pub discarded: bool,
}

struct Loaded {
    name: String,
    size: u64,
    sections: Vec<Section>,
}

static LOADED: Lock<Loaded> = Lock::new(Loaded { name: String::new(), size: 0, sections: Vec::new() });

/// Loads the image and answers with the address of its entry point.
pub fn load(name: &str, file: &[u8]) -> u64 {
    let image = Image::parse(file).unwrap_or_else(|error| crate::stop!("{name}: {error}"));
    // Any value but the linker's default; the upper 16 bits are zero as the compiler's check expects.
    let cookie = (cpu::tsc() ^ 0x5D1E_2B99_2DDF) & 0xFFFF_FFFF_FFFF | 1;
    let layout =
        image.lay_out(BASE, cookie, kernel::resolve).unwrap_or_else(|error| crate::stop!("{name}: {error}"));
    let mut sections = Vec::new();
    map(BASE, &layout.bytes[..PAGE as usize], Flags::CONSTANT);
    for section in &image.sections {
        let start = u64::from(section.rva);
        let size = u64::from(section.size).next_multiple_of(PAGE);
        let bytes = &layout.bytes[start as usize..(start + size).min(layout.bytes.len() as u64) as usize];
        map(BASE + start, bytes, Flags::section(section.rights.write, section.rights.execute));
        sections.push(Section {
            name: section.name.trim_end_matches('\0').into(),
            start: BASE + start,
            size,
            discardable: section.discardable,
            discarded: false,
        });
    }
    crate::note!(
        "{name}: {} bytes in {} sections at {BASE:#x}, {} relocations, {} imports, security cookie {}",
        image.size,
        sections.len(),
        layout.relocations,
        layout.imports.len(),
        if layout.cookie.is_some() { "set" } else { "absent" }
    );
    crate::report::set_image_size(u64::from(image.size));
    END.store(BASE + u64::from(image.size), Ordering::Relaxed);
    *LOADED.lock() = Loaded { name: name.into(), size: u64::from(image.size), sections };
    BASE + u64::from(image.entry)
}

fn map(address: u64, bytes: &[u8], flags: Flags) {
    for (index, page) in bytes.chunks(PAGE as usize).enumerate() {
        let Some(frame) = frames::single() else { crate::stop!("no memory for the image") };
        // SAFETY: the frame is ours, zeroed and a page long; the chunk is no longer than that.
        unsafe { core::ptr::copy_nonoverlapping(page.as_ptr(), window(frame), page.len()) };
        paging::map(address + index as u64 * PAGE, frame, flags);
    }
}

/// Unmaps the discardable sections, as the system does after DriverEntry.
pub fn discard() {
    let mut dropped = Vec::new();
    for section in &mut LOADED.lock().sections {
        if section.discardable {
            section.discarded = true;
            dropped.push(arena::Range { address: section.start, pages: section.size / PAGE });
        }
    }
    for range in dropped {
        arena::release(range);
    }
}

static END: AtomicU64 = AtomicU64::new(0);

/// Whether an address lies in the image. Takes no lock.
pub fn is_image(address: u64) -> bool {
    (BASE..END.load(Ordering::Relaxed)).contains(&address)
}

/// The section an address lies in.
pub fn section(address: u64) -> Option<Section> {
    let loaded = LOADED.lock();
    loaded.sections.iter().find(|s| (s.start..s.start + s.size).contains(&address)).cloned()
}

/// An address for a person: `viostor.sys+0x1234 (.text)`, or `the stand at …`.
pub fn place(address: u64) -> String {
    let (name, size) = {
        let loaded = LOADED.lock();
        (loaded.name.clone(), loaded.size)
    };
    if !(BASE..BASE + size.max(1)).contains(&address) {
        return if address < 1 << 32 {
            format!("the stand at {address:#x}")
        } else {
            format!("{address:#x}")
        };
    }
    let offset = address - BASE;
    match section(address) {
        Some(section) => format!("{name}+{offset:#x} ({})", section.name),
        None => format!("{name}+{offset:#x}"),
    }
}
