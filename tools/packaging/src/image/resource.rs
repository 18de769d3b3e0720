//! Reads the version resource of an image.

use crate::context::Version;
use anyhow::{Context as _, Result, ensure};
use object::LittleEndian as LE;
use object::read::pe::{PeFile64, ResourceDirectoryEntryData};

/// RT_VERSION
const VERSION_TYPE: u16 = 16;

/// What the version resource says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileVersion {
    /// FILEVERSION.
    pub file: Version,
    /// PRODUCTVERSION.
    pub product: Version,
    /// FILETYPE; 3 is a driver.
    pub file_type: u32,
    /// The strings of all languages, in order.
    pub strings: Vec<(String, String)>,
}

impl FileVersion {
    /// The string of that name.
    pub fn string(&self, name: &str) -> Option<&str> {
        self.strings.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

/// The version resource of the image in `bytes`, None when it has none.
///
/// # Errors
/// When the image or the resource cannot be read.
pub fn file_version(bytes: &[u8]) -> Result<Option<FileVersion>> {
    let image = PeFile64::parse(bytes)?;
    let sections = image.section_table();
    let Some(directory) = image.data_directories().resource_directory(bytes, &sections)? else {
        return Ok(None);
    };
    // Three levels: type, name, language. Of name and language the first will do.
    let mut table = directory.root()?;
    for level in 0..3 {
        let entry = table.entries.iter().find(|entry| {
            level > 0 || matches!(entry.name_or_id(), object::read::pe::ResourceNameOrId::Id(VERSION_TYPE))
        });
        let Some(entry) = entry else { return Ok(None) };
        match entry.data(directory)? {
            ResourceDirectoryEntryData::Table(next) => table = next,
            ResourceDirectoryEntryData::Data(data) => {
                let from =
                    sections.pe_data_at(bytes, data.offset_to_data.get(LE)).context("outside the image")?;
                let size = usize::try_from(data.size.get(LE))?;
                return parse(from.get(..size).context("outside its section")?).map(Some);
            }
        }
    }
    Ok(None)
}

/// VS_VERSIONINFO: blocks of length, value length, kind and name, then a value and inner blocks, all on multiples of 4.
fn parse(bytes: &[u8]) -> Result<FileVersion> {
    let root = Block::read(bytes)?;
    ensure!(root.name == "VS_VERSION_INFO", "its root is called {:?}", root.name);
    let word = |index: usize| -> Result<u32> {
        let field = root.value.get(index * 4..index * 4 + 4).context("VS_FIXEDFILEINFO is too short")?;
        Ok(u32::from_le_bytes(field.try_into()?))
    };
    ensure!(word(0)? == 0xFEEF_04BD, "VS_FIXEDFILEINFO has the wrong signature");
    let version = |high: u32, low: u32| {
        let [[a, b], [c, d]] = [high, low].map(|half| [(half >> 16) as u16, half as u16]);
        Version([a, b, c, d])
    };
    let mut strings = Vec::new();
    for info in root.children()?.iter().filter(|block| block.name == "StringFileInfo") {
        for language in info.children()? {
            for string in language.children()? {
                let units: Vec<u16> =
                    string.value.as_chunks().0.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
                let text = String::from_utf16_lossy(&units);
                strings.push((string.name, text.trim_end_matches('\0').to_owned()));
            }
        }
    }
    Ok(FileVersion {
        file: version(word(2)?, word(3)?),
        product: version(word(4)?, word(5)?),
        file_type: word(9)?,
        strings,
    })
}

struct Block<'a> {
    name: String,
    value: &'a [u8],
    rest: &'a [u8],
    length: usize,
}

impl<'a> Block<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self> {
        let word = |at: usize| -> Result<usize> {
            let field = bytes.get(at..at + 2).context("a version block is cut off")?;
            Ok(usize::from(u16::from_le_bytes(field.try_into()?)))
        };
        let (length, value_length, is_text) = (word(0)?, word(2)?, word(4)? == 1);
        let bytes = bytes.get(..length).context("a version block is longer than what holds it")?;
        let units = bytes.get(6..).context("a version block without a name")?.as_chunks().0;
        let name: Vec<u16> =
            units.iter().map(|unit| u16::from_le_bytes(*unit)).take_while(|unit| *unit != 0).collect();
        let start = (6 + (name.len() + 1) * 2).next_multiple_of(4).min(length);
        // The length of a text counts characters, any other bytes.
        let end = (start + if is_text { value_length * 2 } else { value_length }).min(length);
        let inner = end.next_multiple_of(4).min(length);
        let name = String::from_utf16_lossy(&name);
        Ok(Self { name, value: &bytes[start..end], rest: &bytes[inner..], length })
    }

    fn children(&self) -> Result<Vec<Self>> {
        let mut children = Vec::new();
        let mut rest = self.rest;
        while rest.len() >= 6 {
            let child = Self::read(rest)?;
            ensure!(child.length >= 6, "a version block of no length");
            rest = rest.get(child.length.next_multiple_of(4)..).unwrap_or_default();
            children.push(child);
        }
        Ok(children)
    }
}
