//! The image in memory: sections in place, relocated, cookie set, imports bound.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use object::LittleEndian as LE;
use object::pe;
use object::read::pe::{ImageNtHeaders, ImageOptionalHeader, Import};

use super::{BadImage, Image, malformed};

/// Offset of SecurityCookie in IMAGE_LOAD_CONFIG_DIRECTORY64.
const COOKIE_FIELD: u32 = 88;

/// An image ready to be copied to its pages.
pub struct Layout {
    /// The bytes of the whole image, headers first.
    pub bytes: Vec<u8>,
    /// Relocations applied.
    pub relocations: usize,
    /// Imports bound, as (dll, name).
    pub imports: Vec<(String, String)>,
    /// Offset of the security cookie, when the image has one.
    pub cookie: Option<u32>,
}

impl Image<'_> {
    /// Lays the image out for `base`. `resolve` gives the address of an export by (dll, name); `cookie` is the value
    /// written to the security cookie.
    pub fn lay_out(
        &self,
        base: u64,
        cookie: u64,
        mut resolve: impl FnMut(&str, &str) -> Option<u64>,
    ) -> Result<Layout, BadImage> {
        let mut bytes = vec![0u8; self.size as usize];
        let headers = self.pe.nt_headers().optional_header().size_of_headers() as usize;
        bytes[..headers].copy_from_slice(&self.data[..headers]);
        for section in &self.sections {
            let (from, length) = (section.file.0 as usize, section.file.1 as usize);
            let to = section.rva as usize;
            bytes[to..to + length].copy_from_slice(&self.data[from..from + length]);
        }
        let relocations = self.relocate(&mut bytes, base)?;
        let cookie = self.set_cookie(&mut bytes, base, cookie)?;
        let imports = self.bind(&mut bytes, &mut resolve)?;
        Ok(Layout { bytes, relocations, imports, cookie })
    }

    fn relocate(&self, bytes: &mut [u8], base: u64) -> Result<usize, BadImage> {
        let delta = base.wrapping_sub(self.preferred_base);
        let blocks = self
            .pe
            .data_directories()
            .relocation_blocks(self.data, &self.pe.section_table())
            .map_err(malformed("relocation directory"))?;
        let flags = self.pe.nt_headers().file_header.characteristics.get(LE).0;
        let stripped = flags & pe::IMAGE_FILE_RELOCS_STRIPPED.0 != 0;
        let Some(mut blocks) = blocks else {
            return if delta == 0 || !stripped {
                Ok(0)
            } else {
                Err(BadImage::Malformed("relocations are stripped, so it cannot be loaded elsewhere".into()))
            };
        };
        let mut count = 0;
        while let Some(block) = blocks.next().map_err(malformed("relocation block"))? {
            for relocation in block {
                match relocation.typ {
                    pe::IMAGE_REL_BASED_ABSOLUTE => {}
                    pe::IMAGE_REL_BASED_DIR64 => {
                        let at = relocation.virtual_address;
                        let value = get(bytes, at)?;
                        put(bytes, at, value.wrapping_add(delta))?;
                        count += 1;
                    }
                    other => {
                        let at = relocation.virtual_address;
                        return Err(BadImage::Malformed(format!("relocation type {other} at {at:#x}")));
                    }
                }
            }
        }
        Ok(count)
    }

    /// The compiler's stack check compares with a cookie that the loader must have changed from its default, or the
    /// image stops itself with `int 29h` in its entry code. The load configuration holds its *virtual address*.
    fn set_cookie(&self, bytes: &mut [u8], base: u64, value: u64) -> Result<Option<u32>, BadImage> {
        let Some(directory) = self.pe.data_directory(pe::IMAGE_DIRECTORY_ENTRY_LOAD_CONFIG) else {
            return Ok(None);
        };
        let rva = directory.virtual_address.get(LE);
        if rva == 0 {
            return Ok(None);
        }
        let size = get(bytes, rva)? as u32;
        if size < COOKIE_FIELD + 8 {
            return Ok(None);
        }
        let address = get(bytes, rva + COOKIE_FIELD)?;
        if address == 0 {
            return Ok(None);
        }
        let at = address.wrapping_sub(base);
        let at = u32::try_from(at)
            .ok()
            .filter(|at| self.section_at(*at).is_some_and(|section| section.rights.write))
            .ok_or_else(|| {
                BadImage::Malformed(format!("security cookie at {address:#x} is not in a data section"))
            })?;
        put(bytes, at, value)?;
        Ok(Some(at))
    }

    fn bind(
        &self,
        bytes: &mut [u8],
        resolve: &mut impl FnMut(&str, &str) -> Option<u64>,
    ) -> Result<Vec<(String, String)>, BadImage> {
        let table = self
            .pe
            .data_directories()
            .import_table(self.data, &self.pe.section_table())
            .map_err(malformed("import directory"))?;
        let (mut bound, mut missing) = (Vec::new(), Vec::new());
        let Some(table) = table else { return Ok(bound) };
        let mut descriptors = table.descriptors().map_err(malformed("import descriptors"))?;
        while let Some(descriptor) = descriptors.next().map_err(malformed("import descriptor"))? {
            let dll = table.name(descriptor.name.get(LE)).map_err(malformed("import name"))?;
            let dll = String::from_utf8_lossy(dll).into_owned();
            let first = descriptor.original_first_thunk.get(LE);
            let mut slot = descriptor.first_thunk.get(LE);
            let list = if first == 0 { slot } else { first };
            let mut thunks = table.thunks(list).map_err(malformed("import thunks"))?;
            while let Some(thunk) =
                thunks.next::<pe::ImageNtHeaders64>().map_err(malformed("import thunk"))?
            {
                let import = table.import::<pe::ImageNtHeaders64>(thunk).map_err(malformed("import"))?;
                let name = match import {
                    Import::Name(_, name) => String::from_utf8_lossy(name).into_owned(),
                    Import::Ordinal(ordinal) => format!("#{ordinal}"),
                };
                match resolve(&dll, &name) {
                    Some(address) => {
                        put(bytes, slot, address)?;
                        bound.push((dll.clone(), name));
                    }
                    None => missing.push(format!("{dll}!{name}")),
                }
                slot = slot.wrapping_add(8);
            }
        }
        if missing.is_empty() { Ok(bound) } else { Err(BadImage::Unresolved(missing)) }
    }
}

fn get(bytes: &[u8], at: u32) -> Result<u64, BadImage> {
    let at = at as usize;
    let slice = at.checked_add(8).and_then(|end| bytes.get(at..end));
    let slice = slice.ok_or_else(|| BadImage::Truncated(format!("offset {at:#x} lies outside the image")))?;
    Ok(u64::from_le_bytes(slice.try_into().expect("eight bytes")))
}

fn put(bytes: &mut [u8], at: u32, value: u64) -> Result<(), BadImage> {
    let at = at as usize;
    let slice = at.checked_add(8).and_then(|end| bytes.get_mut(at..end));
    let slice = slice.ok_or_else(|| BadImage::Truncated(format!("offset {at:#x} lies outside the image")))?;
    slice.copy_from_slice(&value.to_le_bytes());
    Ok(())
}
