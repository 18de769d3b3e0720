//! Puts the driver image into memory as Windows does: sections with their own rights, imports bound, INIT thrown away.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use stand::image::Image;

use crate::cpu;
use crate::cpu::lock::Lock;
use crate::memory::paging::{self, Flags};
use crate::memory::{PAGE, arena, frames, window};

/// Where the image is loaded, and a second copy of it.
pub const BASE: u64 = 0xFFFF_F800_1234_0000;
const SECOND_BASE: u64 = 0xFFFF_F800_7654_0000;

/// Answers with the address of an export, by library and name.
pub type Resolve = fn(&str, &str) -> Option<u64>;

/// A section in memory.
#[derive(Clone, Debug)]
pub struct Section {
    /// Name.
    pub name: String,
    /// First address.
    pub start: u64,
    /// Bytes.
    pub size: u64,
    /// May be written.
    pub write: bool,
    discardable: bool,
    /// Unmapped after DriverEntry.
    pub discarded: bool,
}

struct Loaded {
    name: String,
    file: &'static [u8],
    base: u64,
    size: u64,
    sections: Vec<Section>,
}

static LOADED: Lock<Vec<Loaded>> = Lock::new(Vec::new());

/// Loads the image and answers with the address of its entry point.
pub fn load(name: &str, file: &'static [u8], resolve: Resolve) -> u64 {
    let entry = load_at(BASE, name, file, resolve);
    take_over();
    entry
}

/// From now on the copy that was loaded last is the one that runs.
pub fn take_over() {
    let last = LOADED.lock().last().map(|loaded| (loaded.base, loaded.size));
    if let Some((base, size)) = last {
        crate::report::set_image(base, size);
    }
}

/// Loads the image a second time, beside the first, under its name with a prefix.
pub fn load_again(prefix: &str, resolve: Resolve) -> u64 {
    let (name, file) = {
        let loaded = LOADED.lock();
        (alloc::format!("{prefix}{}", loaded[0].name), loaded[0].file)
    };
    load_at(SECOND_BASE, &name, file, resolve)
}

fn load_at(base: u64, name: &str, file: &'static [u8], resolve: Resolve) -> u64 {
    let image = Image::parse(file).unwrap_or_else(|error| crate::stop!("{name}: {error}"));
    // Any value but the linker's default; the upper 16 bits are zero as the compiler's check expects.
    let cookie = (cpu::tsc() ^ 0x5D1E_2B99_2DDF) & 0xFFFF_FFFF_FFFF | 1;
    let layout = image.lay_out(base, cookie, resolve).unwrap_or_else(|error| crate::stop!("{name}: {error}"));
    let mut sections = Vec::new();
    map(base, &layout.bytes[..PAGE as usize], Flags::CONSTANT);
    for section in &image.sections {
        let start = u64::from(section.rva);
        let size = u64::from(section.size).next_multiple_of(PAGE);
        let bytes = &layout.bytes[start as usize..(start + size).min(layout.bytes.len() as u64) as usize];
        map(base + start, bytes, Flags::section(section.rights.write, section.rights.execute));
        sections.push(Section {
            name: section.name.trim_end_matches('\0').into(),
            start: base + start,
            size,
            write: section.rights.write,
            discardable: section.discardable,
            discarded: false,
        });
    }
    crate::note!(
        "{name}: {} bytes in {} sections at {base:#x}, {} relocations, {} imports, security cookie {}",
        image.size,
        sections.len(),
        layout.relocations,
        layout.imports.len(),
        if layout.cookie.is_some() { "set" } else { "absent" }
    );
    if base == BASE {
        END.store(base + u64::from(image.size), Ordering::Relaxed);
    }
    LOADED.lock().push(Loaded { name: name.into(), file, base, size: u64::from(image.size), sections });
    base + u64::from(image.entry)
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
    for section in LOADED.lock().iter_mut().flat_map(|loaded| &mut loaded.sections) {
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
    loaded
        .iter()
        .flat_map(|loaded| &loaded.sections)
        .find(|s| (s.start..s.start + s.size).contains(&address))
        .cloned()
}

/// The sections of the first copy that its code writes to.
pub fn data_of_first() -> Vec<Section> {
    let loaded = LOADED.lock();
    loaded[0].sections.iter().filter(|section| section.write && !section.discarded).cloned().collect()
}

/// An address for a person: `viostor.sys+0x1234 (.text)`, or `the stand at …`.
pub fn place(address: u64) -> String {
    let image = LOADED
        .lock()
        .iter()
        .find(|loaded| (loaded.base..loaded.base + loaded.size).contains(&address))
        .map(|loaded| (loaded.name.clone(), address - loaded.base));
    let Some((name, offset)) = image else {
        return if address < 1 << 32 {
            format!("the stand at {address:#x}")
        } else {
            format!("{address:#x}")
        };
    };
    match section(address) {
        Some(section) => format!("{name}+{offset:#x} ({})", section.name),
        None => format!("{name}+{offset:#x}"),
    }
}
