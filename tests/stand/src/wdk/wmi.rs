//! WMI as Windows speaks it to a miniport: the buffers it hands over, and what a miniport may have made of them.
//!
//! The structures are wmistr.h's, one page each in the documentation; what is asked for when is on the pages of the IRPs
//! (irp-mn-query-all-data.md and its sisters). Storport hands an IRP on as SRB_FUNCTION_WMI
//! (how-the-port-driver-processes-wmi-requests.md), and has instances named after the adapter's PDO, which only it knows, whether
//! the miniport's registration says so or leaves that flag to it (ns-scsiwmi-scsiwmiguidreginfo.md). So all names are static.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use crate::layout;

/// Minor functions of IRP_MJ_SYSTEM_CONTROL.
pub mod minor {
    /// IRP_MN_QUERY_ALL_DATA
    pub const QUERY_ALL_DATA: u8 = 0x00;
    /// IRP_MN_QUERY_SINGLE_INSTANCE
    pub const QUERY_SINGLE_INSTANCE: u8 = 0x01;
    /// IRP_MN_CHANGE_SINGLE_INSTANCE
    pub const CHANGE_SINGLE_INSTANCE: u8 = 0x02;
    /// IRP_MN_CHANGE_SINGLE_ITEM
    pub const CHANGE_SINGLE_ITEM: u8 = 0x03;
    /// IRP_MN_ENABLE_EVENTS, IRP_MN_DISABLE_EVENTS, IRP_MN_ENABLE_COLLECTION, IRP_MN_DISABLE_COLLECTION
    pub const CONTROL: core::ops::RangeInclusive<u8> = 0x04..=0x07;
    /// IRP_MN_REGINFO
    pub const REGINFO: u8 = 0x08;
    /// IRP_MN_EXECUTE_METHOD
    pub const EXECUTE_METHOD: u8 = 0x09;
    /// IRP_MN_REGINFO_EX
    pub const REGINFO_EX: u8 = 0x0B;
}

/// WMIREGISTER and WMIUPDATE, the DataPath of a registration.
pub const REGISTER: u64 = 0;
/// WMIUPDATE
pub const UPDATE: u64 = 1;

/// WNODE_FLAG_ALL_DATA
const ALL_DATA: u32 = 0x1;
/// WNODE_FLAG_SINGLE_INSTANCE
const SINGLE_INSTANCE: u32 = 0x2;
/// WNODE_FLAG_SINGLE_ITEM
const SINGLE_ITEM: u32 = 0x4;
/// WNODE_FLAG_FIXED_INSTANCE_SIZE
const FIXED_INSTANCE_SIZE: u32 = 0x10;
/// WNODE_FLAG_TOO_SMALL
const TOO_SMALL: u32 = 0x20;
/// WNODE_FLAG_STATIC_INSTANCE_NAMES and WNODE_FLAG_PDO_INSTANCE_NAMES
const NAMES: u32 = 0x80 | 0x1_0000;
/// WNODE_FLAG_METHOD_ITEM
const METHOD_ITEM: u32 = 0x8000;

/// WMIREG_FLAG_EXPENSIVE
const REG_EXPENSIVE: u32 = 0x1;
/// WMIREG_FLAG_EVENT_ONLY_GUID
const REG_EVENT_ONLY: u32 = 0x40;
/// WMIREG_FLAG_INSTANCE_PDO
const REG_INSTANCE_PDO: u32 = 0x20;
/// WMIREG_FLAG_REMOVE_GUID
const REG_REMOVE: u32 = 0x1_0000;

/// WNODE_HEADER (ns-wmistr-_wnode_header.md); its unions as their longest member.
#[repr(C)]
struct Header {
    buffer_size: u32,
    provider_id: u32,
    historical_context: u64,
    time_stamp: u64,
    guid: [u32; 4],
    client_context: u32,
    flags: u32,
}

layout!(Header, 48, { buffer_size: 0, time_stamp: 16, guid: 24, flags: 44 });

const BUFFER_SIZE: usize = 0;
const TIME_STAMP: usize = 16;
const GUID: Range<usize> = 24..40;
const FLAGS: usize = 44;
/// sizeof(WNODE_TOO_SMALL), and SizeNeeded in it.
pub const TOO_SMALL_BYTES: usize = 56;
const SIZE_NEEDED: usize = 48;
/// sizeof(WNODE_ALL_DATA)
pub const ALL_DATA_BYTES: usize = 64;
/// sizeof(WNODE_SINGLE_INSTANCE)
pub const SINGLE_INSTANCE_BYTES: usize = 64;
/// sizeof(WNODE_METHOD_ITEM), and of WNODE_SINGLE_ITEM
pub const METHOD_ITEM_BYTES: usize = 72;
/// OffsetInstanceName, InstanceIndex
const INSTANCE_NAME: usize = 48;
const INSTANCE_INDEX: usize = 52;

/// The word at an offset; 0 behind the end.
pub fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u32::from_le_bytes(*word))
}

/// Two of them.
pub fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from(word(bytes, at)) | u64::from(word(bytes, at + 4)) << 32
}

/// Puts a word where there is room for it.
pub fn set(bytes: &mut [u8], at: usize, value: u32) {
    if let Some(place) = bytes.get_mut(at..at + 4) {
        place.copy_from_slice(&value.to_le_bytes());
    }
}

/// A GUID as it is written.
pub fn guid_text(guid: &[u8; 16]) -> String {
    let [a, b, c, d, e, f, g, h, rest @ ..] = *guid;
    let (first, second, third) =
        (u32::from_le_bytes([a, b, c, d]), u16::from_le_bytes([e, f]), u16::from_le_bytes([g, h]));
    let mut text = format!("{{{first:08x}-{second:04x}-{third:04x}-");
    for (index, byte) in rest.iter().enumerate() {
        text += &format!("{}{byte:02x}", if index == 2 { "-" } else { "" });
    }
    text + "}"
}

/// A block that a miniport has registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its GUID as it lies in memory.
    pub guid: [u8; 16],
    /// It is an event, and cannot be asked for.
    pub event: bool,
    /// Its instances.
    pub instances: u32,
}

/// The string at an offset, if there is one: counted, at an even offset, inside (ns-wmistr-wmireginfow.md).
fn counted_string(answer: &[u8], at: u32) -> Result<(), String> {
    let at = at as usize;
    if at == 0 {
        return Ok(());
    }
    let length = (word(answer, at) & 0xFFFF) as usize;
    if !at.is_multiple_of(2) || !length.is_multiple_of(2) || at + 2 + length > answer.len() {
        return Err(format!("a string of {length} bytes at offset {at}"));
    }
    Ok(())
}

/// The blocks of a WMIREGINFO.
///
/// # Errors
/// What is wrong with it.
pub fn registration(answer: &[u8], path: u64) -> Result<Vec<Block>, String> {
    const HEAD: usize = 24;
    const BLOCK: usize = 32;
    let [size, next, registry_path, resource, count] = [0, 4, 8, 12, 16].map(|at| word(answer, at));
    if answer.len() < HEAD || size as usize != answer.len() {
        return Err(format!("BufferSize {size} with {} bytes", answer.len()));
    }
    if next != 0 {
        return Err(format!("NextWmiRegInfo {next}: nobody registers for another driver"));
    }
    if path == UPDATE && (registry_path, resource) != (0, 0) {
        return Err(String::from("RegistryPath and MofResourceName belong to WMIREGISTER"));
    }
    counted_string(answer, registry_path)?;
    counted_string(answer, resource)?;
    let blocks = answer.get(HEAD..HEAD + count as usize * BLOCK).ok_or(format!("{count} blocks"))?;
    let mut known: Vec<Block> = Vec::new();
    for block in blocks.chunks_exact(BLOCK) {
        let (flags, instances) = (word(block, 16), word(block, 20));
        let mut guid = [0; 16];
        guid.copy_from_slice(&block[..16]);
        let text = guid_text(&guid);
        let remove = if path == UPDATE { REG_REMOVE } else { 0 };
        if flags & !(REG_EXPENSIVE | REG_EVENT_ONLY | REG_INSTANCE_PDO | remove) != 0 {
            return Err(format!("{text}: flags {flags:#x}, of which some are not a miniport's"));
        }
        if instances == 0 || long(block, 24) != 0 {
            return Err(format!(
                "{text}: {instances} instances, instance information {:#x}",
                long(block, 24)
            ));
        }
        if guid == [0; 16] || known.iter().any(|other| other.guid == guid) {
            return Err(format!("{text} is registered twice, or no GUID"));
        }
        known.push(Block { guid, event: flags & REG_EVENT_ONLY != 0, instances });
    }
    Ok(known)
}

/// A buffer of this length that begins with a WNODE_HEADER; the rest is full of something.
fn wnode(guid: &[u8; 16], flags: u32, length: usize) -> Vec<u8> {
    let mut buffer = vec![0x5A; length];
    set(&mut buffer, BUFFER_SIZE, length as u32);
    if let Some(place) = buffer.get_mut(GUID) {
        place.copy_from_slice(guid);
    }
    set(&mut buffer, FLAGS, flags);
    set(&mut buffer, INSTANCE_NAME, 0);
    buffer
}

/// The buffer of IRP_MN_QUERY_ALL_DATA.
pub fn ask_all_data(guid: &[u8; 16], length: usize) -> Vec<u8> {
    let mut buffer = wnode(guid, ALL_DATA | NAMES, length);
    (48..ALL_DATA_BYTES).step_by(4).for_each(|at| set(&mut buffer, at, 0));
    buffer
}

/// The buffer of IRP_MN_QUERY_SINGLE_INSTANCE, for data at this offset.
pub fn ask_single_instance(guid: &[u8; 16], instance: u32, at: usize, length: usize) -> Vec<u8> {
    let mut buffer = wnode(guid, SINGLE_INSTANCE | NAMES, length);
    set(&mut buffer, INSTANCE_INDEX, instance);
    set(&mut buffer, 56, at as u32);
    set(&mut buffer, 60, 0);
    buffer
}

/// The same by a name, which no instance has.
pub fn ask_by_name(guid: &[u8; 16], length: usize) -> Vec<u8> {
    const NAME: [u8; 8] = [6, 0, b'a', 0, b'd', 0, b'a', 0];
    let mut buffer = ask_single_instance(guid, 0, SINGLE_INSTANCE_BYTES + NAME.len(), length);
    set(&mut buffer, FLAGS, SINGLE_INSTANCE);
    set(&mut buffer, INSTANCE_NAME, SINGLE_INSTANCE_BYTES as u32);
    if let Some(place) = buffer.get_mut(SINGLE_INSTANCE_BYTES..SINGLE_INSTANCE_BYTES + NAME.len()) {
        place.copy_from_slice(&NAME);
    }
    buffer
}

/// The buffer of IRP_MN_CHANGE_SINGLE_INSTANCE, with this for data.
pub fn ask_change_instance(guid: &[u8; 16], data: &[u8]) -> Vec<u8> {
    let length = SINGLE_INSTANCE_BYTES + data.len();
    let mut buffer = ask_single_instance(guid, 0, SINGLE_INSTANCE_BYTES, length);
    set(&mut buffer, 60, data.len() as u32);
    buffer[SINGLE_INSTANCE_BYTES..].copy_from_slice(data);
    buffer
}

/// The buffer of IRP_MN_CHANGE_SINGLE_ITEM: ItemId, DataBlockOffset, SizeDataItem.
pub fn ask_change_item(guid: &[u8; 16], item: u32) -> Vec<u8> {
    let mut buffer = wnode(guid, SINGLE_ITEM | NAMES, METHOD_ITEM_BYTES + 8);
    for (at, value) in [(INSTANCE_INDEX, 0), (56, item), (60, METHOD_ITEM_BYTES as u32), (64, 8)] {
        set(&mut buffer, at, value);
    }
    buffer
}

/// The buffer of IRP_MN_EXECUTE_METHOD, of this length, with this input at this offset.
pub fn ask_method(
    guid: &[u8; 16],
    instance: u32,
    method: u32,
    at: usize,
    input: &[u8],
    length: usize,
) -> Vec<u8> {
    let mut buffer = wnode(guid, METHOD_ITEM | NAMES, length);
    for (field, value) in
        [(INSTANCE_INDEX, instance), (56, method), (60, at as u32), (64, input.len() as u32)]
    {
        set(&mut buffer, field, value);
    }
    // What WnodeHeader.BufferSize says of a method is how long the structure is with its input.
    set(&mut buffer, BUFFER_SIZE, (at + input.len()) as u32);
    if let Some(place) = buffer.get_mut(at..at + input.len()) {
        place.copy_from_slice(input);
    }
    buffer
}

/// What a miniport made of a buffer.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The buffer as it was handed over.
    pub before: &'a [u8],
    /// The buffer as it came back.
    pub after: &'a [u8],
    /// DataTransferLength then.
    pub transferred: usize,
}

/// An answer that says something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// This data.
    Data(Vec<u8>),
    /// It takes a buffer of so many bytes.
    TooSmall(usize),
}

impl Answer<'_> {
    /// Nothing is changed behind what is told.
    ///
    /// # Errors
    /// Something is.
    pub fn untouched(&self) -> Result<(), String> {
        let (before, after) = (self.before.get(self.transferred..), self.after.get(self.transferred..));
        if before.is_none() || before != after {
            return Err(format!("something was written behind the {} bytes that are told", self.transferred));
        }
        Ok(())
    }

    /// What all answers have in common; a WNODE_TOO_SMALL is one of them (ns-wmistr-tagwnode_too_small.md).
    fn head(&self) -> Result<Option<Said>, String> {
        self.untouched()?;
        let told = self.after.get(..self.transferred).unwrap_or_default();
        let (size, flags) = (word(told, BUFFER_SIZE) as usize, word(told, FLAGS));
        if size != self.transferred {
            return Err(format!("BufferSize {size} with {} bytes", self.transferred));
        }
        if flags & TOO_SMALL != 0 {
            let needed = word(told, SIZE_NEEDED) as usize;
            if size != TOO_SMALL_BYTES || flags != TOO_SMALL || needed <= self.before.len() {
                return Err(format!(
                    "WNODE_TOO_SMALL of {size} bytes, flags {flags:#x}: {needed} bytes needed"
                ));
            }
            return Ok(Some(Said::TooSmall(needed)));
        }
        if told.get(GUID) != self.before.get(GUID) {
            return Err(String::from("the GUID in the header was changed"));
        }
        Ok(None)
    }

    /// The data between two offsets that the answer names.
    fn data(&self, at: usize, length: usize) -> Result<Said, String> {
        let inside = at.checked_add(length).filter(|end| *end <= self.transferred);
        match inside.and_then(|end| self.after.get(at..end)) {
            Some(data) if at.is_multiple_of(8) => Ok(Said::Data(data.to_vec())),
            _ => Err(format!("{length} bytes of data at offset {at} of {}", self.transferred)),
        }
    }

    /// The fields that are WMI's to set.
    fn kept(&self, fields: &[usize]) -> Result<(), String> {
        let changed = fields.iter().find(|at| word(self.before, **at) != word(self.after, **at));
        changed.map_or(Ok(()), |at| Err(format!("the word at offset {at} was changed")))
    }

    /// The first instance in an answer to IRP_MN_QUERY_ALL_DATA, which came between these two moments.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn all_data(&self, instances: u32, (earliest, latest): (u64, u64)) -> Result<Said, String> {
        if let Some(said) = self.head()? {
            return Ok(said);
        }
        let told = &self.after[..self.transferred];
        let (flags, count) = (word(told, FLAGS), word(told, 52));
        if flags & !FIXED_INSTANCE_SIZE != ALL_DATA | NAMES || count != instances {
            return Err(format!("flags {flags:#x}, {count} instances"));
        }
        let time = long(told, TIME_STAMP);
        if !(earliest..=latest).contains(&time) {
            return Err(format!("TimeStamp {time:#x} is not of now, {earliest:#x} to {latest:#x}"));
        }
        if flags & FIXED_INSTANCE_SIZE == 0 {
            // OffsetInstanceDataAndLength
            let places = (0..count as usize)
                .map(|index| (word(told, 60 + 8 * index) as usize, word(told, 64 + 8 * index) as usize));
            for (at, length) in places.clone() {
                self.data(at, length)?;
            }
            return places
                .take(1)
                .map(|(at, length)| self.data(at, length))
                .next()
                .unwrap_or(Ok(Said::Data(Vec::new())));
        }
        let (at, size) = (word(told, 48) as usize, word(told, 60) as usize);
        if at < ALL_DATA_BYTES {
            return Err(format!("DataBlockOffset {at}"));
        }
        let last = at + size.next_multiple_of(8) * (count as usize).saturating_sub(1);
        self.data(last, size)?;
        self.data(at, size)
    }

    /// The data in an answer to IRP_MN_QUERY_SINGLE_INSTANCE.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn single_instance(&self) -> Result<Said, String> {
        if let Some(said) = self.head()? {
            return Ok(said);
        }
        self.kept(&[FLAGS, INSTANCE_NAME, INSTANCE_INDEX, 56])?;
        self.data(word(self.after, 56) as usize, word(self.after, 60) as usize)
    }

    /// The output in an answer to IRP_MN_EXECUTE_METHOD.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn method(&self) -> Result<Said, String> {
        if let Some(said) = self.head()? {
            return Ok(said);
        }
        self.kept(&[FLAGS, INSTANCE_NAME, INSTANCE_INDEX, 56, 60])?;
        match word(self.after, 64) as usize {
            0 => Ok(Said::Data(Vec::new())),
            size => self.data(word(self.after, 60) as usize, size),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: [u8; 16] =
        [0x86, 0x8B, 0x6A, 0x5B, 0x8D, 0x70, 0xC6, 0x4E, 0x82, 0xA6, 0x39, 0xAD, 0xCF, 0x6F, 0x64, 0x33];

    fn registered(flags: u32, instances: u32) -> Vec<u8> {
        let mut answer = vec![0; 24 + 32];
        set(&mut answer, 0, 56);
        set(&mut answer, 16, 1);
        answer[24..40].copy_from_slice(&BLOCK);
        set(&mut answer, 40, flags);
        set(&mut answer, 44, instances);
        answer
    }

    #[test]
    fn a_registration_is_taken_apart() {
        let blocks = registration(&registered(0x61, 3), REGISTER).unwrap();

        assert_eq!(blocks, [Block { guid: BLOCK, event: true, instances: 3 }]);
        assert_eq!(guid_text(&BLOCK), "{5b6a8b86-708d-4ec6-82a6-39adcf6f6433}");
    }

    #[test]
    fn a_registration_that_breaks_a_rule_is_named() {
        let with = |at: usize, value: u32| {
            let mut answer = registered(0, 1);
            set(&mut answer, at, value);
            answer
        };
        let table = [
            (with(0, 55), REGISTER, "BufferSize"),
            (with(4, 8), REGISTER, "NextWmiRegInfo"),
            (with(12, 55), REGISTER, "a string"),
            (with(12, 24), UPDATE, "belong to WMIREGISTER"),
            (with(16, 2), REGISTER, "2 blocks"),
            (registered(0x08, 1), REGISTER, "not a miniport's"),
            (registered(0x1_0000, 1), REGISTER, "not a miniport's"),
            (registered(0, 0), REGISTER, "0 instances"),
            (with(48, 1), REGISTER, "instance information 0x1"),
        ];
        for (answer, path, expected) in table {
            let error = registration(&answer, path).unwrap_err();
            assert!(error.contains(expected), "{error}, not {expected}");
        }
    }

    /// An instance of these bytes, as a miniport answers with it.
    fn answered(before: &[u8], data: &[u8]) -> Vec<u8> {
        let mut after = before.to_vec();
        set(&mut after, 0, (64 + data.len()) as u32);
        set(&mut after, 60, data.len() as u32);
        after[64..64 + data.len()].copy_from_slice(data);
        after
    }

    #[test]
    fn an_instance_is_found_in_an_answer() {
        let before = ask_single_instance(&BLOCK, 0, 64, 100);
        let after = answered(&before, &[1, 2, 3]);

        let answer = Answer { before: &before, after: &after, transferred: 67 };

        assert_eq!(answer.single_instance(), Ok(Said::Data(vec![1, 2, 3])));
    }

    #[test]
    fn an_answer_that_breaks_a_rule_is_named() {
        let before = ask_single_instance(&BLOCK, 0, 64, 100);
        let good = answered(&before, &[1, 2, 3]);
        let with = |at: usize, value: u32| {
            let mut after = good.clone();
            set(&mut after, at, value);
            after
        };
        let mut too_small = before.clone();
        for (at, value) in [(0, 56), (44, TOO_SMALL), (48, 100)] {
            set(&mut too_small, at, value);
        }
        let table = [
            (with(68, 0), 67, "behind the 67 bytes"),
            (with(0, 66), 67, "BufferSize 66"),
            (with(24, 0), 67, "the GUID"),
            (with(56, 56), 67, "offset 56 was changed"),
            (with(44, 2), 67, "offset 44 was changed"),
            (with(60, 4), 67, "4 bytes of data"),
            (too_small, 56, "100 bytes needed"),
        ];
        for (after, transferred, expected) in table {
            let answer = Answer { before: &before, after: &after, transferred };
            let error = answer.single_instance().unwrap_err();
            assert!(error.contains(expected), "{error}, not {expected}");
        }
    }

    #[test]
    fn all_instances_have_one_size_or_each_its_own() {
        let before = ask_all_data(&BLOCK, 120);
        let mut fixed = before.clone();
        for (at, value) in [(0, 75), (16, 7), (20, 0), (44, 0x1_0091), (48, 64), (52, 2), (60, 3)] {
            set(&mut fixed, at, value);
        }
        let mut varying = before.clone();
        let fields =
            [(0, 90), (16, 7), (20, 0), (44, 0x1_0081), (52, 2), (60, 80), (64, 1), (68, 88), (72, 2)];
        for (at, value) in fields {
            set(&mut varying, at, value);
        }

        let of = |after: &[u8], transferred| {
            let said = Answer { before: &before, after, transferred }.all_data(2, (7, 8));
            said.map(|said| matches!(said, Said::Data(data) if data.len() == 3 || data.len() == 1))
        };

        assert_eq!((of(&fixed, 75), of(&varying, 90)), (Ok(true), Ok(true)));
        set(&mut varying, 68, 84);
        assert!(of(&varying, 90).unwrap_err().contains("offset 84"), "not aligned");
        set(&mut fixed, 16, 9);
        assert!(of(&fixed, 75).unwrap_err().contains("TimeStamp"), "of another time");
    }
}
