//! A driver image: what must be true of the file, and how it looks in memory.
//!
//! Two steps, so that everything that can be wrong with a file is found before anything is mapped:
//! [`Image::parse`] checks the headers, sections and tables; [`Image::lay_out`] copies the sections to their places,
//! relocates to an address, sets the security cookie and binds the imports.

mod layout;

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use object::LittleEndian as LE;
use object::pe;
use object::read::pe::{ImageNtHeaders, ImageOptionalHeader, PeFile64};

/// Page size of the machine and the section alignment we can give rights to.
pub const PAGE: u32 = 4096;
/// No driver of this kind is larger; a bigger SizeOfImage is a damaged header.
const LARGEST: u32 = 16 << 20;

/// Why an image cannot be hosted. The text is for a person.
#[derive(Debug, PartialEq, Eq)]
pub enum BadImage {
    /// Not a PE file at all, or cut off before its headers end.
    NotPe(String),
    /// For another processor; the machine number.
    WrongMachine(u16),
    /// Not a kernel driver; the subsystem number.
    NotNative(u16),
    /// A section or table lies outside the file or the image.
    Truncated(String),
    /// Something else in the headers cannot be.
    Malformed(String),
    /// Imports nobody exports, as `dll!name`.
    Unresolved(Vec<String>),
}

impl fmt::Display for BadImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadImage::NotPe(why) => write!(f, "not a PE image ({why})"),
            BadImage::WrongMachine(machine) => {
                let name = match pe::Machine(*machine) {
                    pe::IMAGE_FILE_MACHINE_I386 => " (x86)",
                    pe::IMAGE_FILE_MACHINE_ARM64 => " (ARM64)",
                    _ => "",
                };
                write!(f, "wrong machine type {machine:#06x}{name}, this host runs x64 (0x8664)")
            }
            BadImage::NotNative(subsystem) => {
                write!(f, "subsystem {subsystem} is not a kernel driver's (native, 1)")
            }
            BadImage::Truncated(what) => write!(f, "truncated: {what}"),
            BadImage::Malformed(what) => write!(f, "malformed: {what}"),
            BadImage::Unresolved(names) => {
                write!(f, "unresolved import")?;
                for (index, name) in names.iter().enumerate() {
                    write!(f, "{} {name}", if index == 0 { "" } else { "," })?;
                }
                Ok(())
            }
        }
    }
}

/// Rights of a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// May be written.
    pub write: bool,
    /// May be executed.
    pub execute: bool,
}

/// One section as the headers describe it.
#[derive(Clone, Debug)]
pub struct Section {
    /// Name, for instance `.text`.
    pub name: String,
    /// Offset in the image.
    pub rva: u32,
    /// Size in memory.
    pub size: u32,
    /// Rights.
    pub rights: Rights,
    /// May be thrown away after DriverEntry (INIT, .reloc).
    pub discardable: bool,
    file: (u32, u32),
}

/// A checked driver image.
pub struct Image<'a> {
    data: &'a [u8],
    pe: PeFile64<'a>,
    /// Sections in ascending order.
    pub sections: Vec<Section>,
    /// Bytes in memory.
    pub size: u32,
    /// Offset of DriverEntry.
    pub entry: u32,
    /// The address the linker assumed.
    pub preferred_base: u64,
}

fn malformed<E: fmt::Display>(what: &'static str) -> impl Fn(E) -> BadImage {
    move |error| BadImage::Malformed(alloc::format!("{what}: {error}"))
}

impl<'a> Image<'a> {
    /// Checks a file.
    pub fn parse(data: &'a [u8]) -> Result<Self, BadImage> {
        check_magic(data)?;
        let pe = PeFile64::parse(data).map_err(|error| BadImage::NotPe(alloc::format!("{error}")))?;
        let header = pe.nt_headers();
        let optional = header.optional_header();
        if optional.subsystem() != pe::IMAGE_SUBSYSTEM_NATIVE {
            return Err(BadImage::NotNative(optional.subsystem().0));
        }
        let size = optional.size_of_image();
        if optional.section_alignment() != PAGE || size == 0 || size % PAGE != 0 || size > LARGEST {
            return Err(BadImage::Malformed(alloc::format!(
                "section alignment {:#x}, image size {size:#x}",
                optional.section_alignment()
            )));
        }
        let mut sections = Vec::new();
        let mut end = optional.size_of_headers().next_multiple_of(PAGE);
        if optional.size_of_headers() > size || optional.size_of_headers() as usize > data.len() {
            return Err(BadImage::Truncated("the headers do not fit".into()));
        }
        for raw in pe.section_table().iter() {
            let section = section(raw, data, end, size)?;
            end = section.rva + section.size.next_multiple_of(PAGE);
            sections.push(section);
        }
        let entry = optional.address_of_entry_point();
        let executable = |rva: u32| sections.iter().any(|s| s.rights.execute && s.contains(rva));
        if !executable(entry) {
            return Err(BadImage::Malformed(alloc::format!(
                "entry point {entry:#x} lies in no code section"
            )));
        }
        Ok(Image { data, sections, size, entry, preferred_base: optional.image_base(), pe })
    }

    /// The section at an offset in the image.
    pub fn section_at(&self, rva: u32) -> Option<&Section> {
        self.sections.iter().find(|s| s.contains(rva))
    }
}

impl Section {
    /// Whether an offset in the image lies in this section.
    pub fn contains(&self, rva: u32) -> bool {
        (self.rva..self.rva + self.size).contains(&rva)
    }
}

/// The checks `object` would answer with a less helpful sentence: signatures, machine, 32-bit images.
fn check_magic(data: &[u8]) -> Result<(), BadImage> {
    let half = |at: usize| Some(u16::from_le_bytes(data.get(at..at + 2)?.try_into().ok()?));
    let word = |at: usize| Some(u32::from_le_bytes(data.get(at..at + 4)?.try_into().ok()?));
    if half(0) != Some(0x5A4D) {
        return Err(BadImage::NotPe("no MZ signature".into()));
    }
    let at = word(0x3C).ok_or_else(|| BadImage::NotPe("shorter than a DOS header".into()))? as usize;
    match at.checked_add(24).and_then(|_| word(at)) {
        None => return Err(BadImage::Truncated("the file ends before its PE header".into())),
        Some(0x4550) => {}
        Some(_) => return Err(BadImage::NotPe("no PE signature".into())),
    }
    match half(at + 4).map(pe::Machine) {
        Some(pe::IMAGE_FILE_MACHINE_AMD64) => {}
        Some(machine) => return Err(BadImage::WrongMachine(machine.0)),
        None => return Err(BadImage::Truncated("the file ends in its PE header".into())),
    }
    match half(at + 24) {
        Some(pe::IMAGE_NT_OPTIONAL_HDR64_MAGIC) => Ok(()),
        Some(magic) => Err(BadImage::NotPe(alloc::format!("optional header magic {magic:#x}"))),
        None => Err(BadImage::Truncated("the file ends in its PE header".into())),
    }
}

fn section(raw: &pe::ImageSectionHeader, data: &[u8], end: u32, size: u32) -> Result<Section, BadImage> {
    let name = String::from_utf8_lossy(raw.raw_name()).into_owned();
    let flags = raw.characteristics.get(LE).0;
    let (rva, length) = (raw.virtual_address.get(LE), raw.virtual_size.get(LE));
    let (file_at, file_size) = (raw.pointer_to_raw_data.get(LE), raw.size_of_raw_data.get(LE));
    let length = if length == 0 { file_size } else { length };
    if rva % PAGE != 0 || rva < end || rva.checked_add(length).is_none_or(|last| last > size) {
        return Err(BadImage::Malformed(alloc::format!("section {name} does not fit in the image")));
    }
    let copied = file_size.min(length);
    let last = file_at.checked_add(copied).map(|last| last as usize);
    if copied != 0 && last.is_none_or(|last| last > data.len()) {
        return Err(BadImage::Truncated(alloc::format!("the file ends before section {name}")));
    }
    Ok(Section {
        name,
        rva,
        size: length,
        rights: Rights {
            write: flags & pe::IMAGE_SCN_MEM_WRITE.0 != 0,
            execute: flags & pe::IMAGE_SCN_MEM_EXECUTE.0 != 0,
        },
        discardable: flags & pe::IMAGE_SCN_MEM_DISCARDABLE.0 != 0,
        file: (file_at, copied),
    })
}

#[cfg(test)]
mod tests;
