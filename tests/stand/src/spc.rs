//! What SPC-4 and SBC-3 say an answer must look like: sense data, INQUIRY data, VPD pages, mode parameters, READ
//! CAPACITY data, LUN lists. Pure functions on bytes; the suite `scsi-compliance` sends the commands.
//!
//! A check answers with what is wrong in words, so that a failed line says which field it is.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::scsi::{Command, Direction, Sense};

/// A CDB from its bytes; the rest of the 32 is zero.
pub fn command(name: &'static str, direction: Direction, bytes: &[u8]) -> Command {
    let mut cdb = [0; 32];
    cdb[..bytes.len()].copy_from_slice(bytes);
    Command { cdb, length: bytes.len() as u8, name, direction }
}

/// Bytes of a CDB, by the group code of its operation code (SPC-4 4.2.5.1).
pub const fn cdb_length(code: u8) -> usize {
    match code >> 5 {
        0 => 6,
        1 | 2 => 10,
        5 => 12,
        _ => 16,
    }
}

/// A command with the CDB of 10, 12 or 16 bytes that names a range of blocks.
pub fn range_command(
    name: &'static str,
    direction: Direction,
    code: u8,
    flags: u8,
    lba: u64,
    blocks: u32,
) -> Command {
    let mut cdb = [0; 16];
    (cdb[0], cdb[1]) = (code, flags);
    let (address, count) = (lba.to_be_bytes(), blocks.to_be_bytes());
    let length = cdb_length(code);
    match length {
        10 => {
            cdb[2..6].copy_from_slice(&address[4..]);
            cdb[7..9].copy_from_slice(&count[2..]);
        }
        12 => {
            cdb[2..6].copy_from_slice(&address[4..]);
            cdb[6..10].copy_from_slice(&count);
        }
        _ => {
            cdb[2..10].copy_from_slice(&address);
            cdb[10..14].copy_from_slice(&count);
        }
    }
    command(name, direction, &cdb[..length])
}

/// What is wrong, or nothing.
pub type Verdict = Result<(), String>;

fn need(true_or: bool, text: impl FnOnce() -> String) -> Verdict {
    if true_or { Ok(()) } else { Err(text()) }
}

fn be16(data: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([data[at], data[at + 1]])
}

fn be32(data: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([data[at], data[at + 1], data[at + 2], data[at + 3]])
}

fn be64(data: &[u8], at: usize) -> u64 {
    u64::from(be32(data, at)) << 32 | u64::from(be32(data, at + 4))
}

/// Reads sense data and checks that it is well formed (SPC-4 4.5): response code, ADDITIONAL SENSE LENGTH, that what it
/// promises was delivered, and a field pointer that points into the CDB.
///
/// # Errors
/// The field that is wrong.
pub fn sense(data: &[u8], cdb_length: u8) -> Result<Sense, String> {
    let code = *data.first().ok_or("no sense data")?;
    match code & 0x7F {
        0x70 | 0x71 => fixed_sense(data, cdb_length),
        0x72 | 0x73 => descriptor_sense(data, cdb_length),
        _ => Err(format!("response code {code:#04x}")),
    }
}

fn fixed_sense(data: &[u8], cdb_length: u8) -> Result<Sense, String> {
    if data.len() < 8 {
        return Err(format!("fixed format with {} bytes", data.len()));
    }
    let total = 8 + usize::from(data[7]);
    // SPC-4 4.5.3: byte 17 is the last fixed one; targets may not stop before the additional sense code.
    need(total >= 18, || format!("ADDITIONAL SENSE LENGTH {} does not reach byte 17", data[7]))?;
    need(data.len() >= total, || format!("{total} bytes of sense, {} delivered", data.len()))?;
    need(total <= 252, || format!("ADDITIONAL SENSE LENGTH {} is more than 244", data[7]))?;
    let sense = Sense { key: data[2] & 0xF, asc: data[12], ascq: data[13] };
    if data[15] & 0x80 != 0 {
        field_pointer(sense, &data[15..18], cdb_length)?;
    }
    Ok(sense)
}

/// SENSE KEY SPECIFIC of ILLEGAL REQUEST (SPC-4 4.5.2.4.2): C/D says that the pointer is one into the CDB.
fn field_pointer(sense: Sense, bytes: &[u8], cdb_length: u8) -> Verdict {
    let pointer = be16(bytes, 1);
    let wrong = sense.key == 5 && bytes[0] & 0x40 != 0 && pointer >= u16::from(cdb_length);
    need(!wrong, || format!("FIELD POINTER {pointer} into a CDB of {cdb_length} bytes"))
}

fn descriptor_sense(data: &[u8], cdb_length: u8) -> Result<Sense, String> {
    if data.len() < 8 {
        return Err(format!("descriptor format with {} bytes", data.len()));
    }
    need(data[0] & 0x80 == 0, || "bit 7 of the response code, reserved in descriptor format".into())?;
    let total = 8 + usize::from(data[7]);
    need(total <= 252, || format!("ADDITIONAL SENSE LENGTH {} is more than 244", data[7]))?;
    need(data.len() >= total, || format!("{total} bytes of sense, {} delivered", data.len()))?;
    let sense = Sense { key: data[1] & 0xF, asc: data[2], ascq: data[3] };
    let mut rest = &data[8..total];
    while !rest.is_empty() {
        let length = rest.get(1).map_or(usize::MAX, |length| 2 + usize::from(*length));
        let Some(descriptor) = rest.get(..length) else {
            return Err(format!("sense descriptor {:#04x} ends behind the sense data", rest[0]));
        };
        match descriptor[0] {
            // Information and command specific information have 12 bytes and the others 8 and 4 (SPC-4 tables 28, 30,
            // 31).
            0 | 1 => need(length == 12, || format!("sense descriptor {} of {length} bytes", descriptor[0]))?,
            2 => {
                need(length == 8, || format!("sense key specific descriptor of {length} bytes"))?;
                if descriptor[4] & 0x80 != 0 {
                    field_pointer(sense, &descriptor[4..7], cdb_length)?;
                }
            }
            _ => {}
        }
        rest = &rest[length..];
    }
    Ok(sense)
}

fn is_graphic(bytes: &[u8]) -> bool {
    bytes.iter().all(|b| (0x20..=0x7E).contains(b))
}

/// A left-aligned ASCII field (SPC-4 4.4.1): 20h to 7Eh, unused bytes at its end are spaces.
fn ascii(name: &str, bytes: &[u8]) -> Verdict {
    need(is_graphic(bytes), || format!("{name} is not ASCII: {bytes:02x?}"))?;
    need(bytes.first() != Some(&b' '), || format!("{name} is not left-aligned"))
}

/// Checks standard INQUIRY data (SPC-4 6.6.2), which must be the whole answer.
///
/// # Errors
/// The field that is wrong.
pub fn standard_inquiry(data: &[u8]) -> Verdict {
    need(data.len() >= 36, || format!("{} bytes, at least 36 are required", data.len()))?;
    need(usize::from(data[4]) + 5 == data.len(), || {
        format!("ADDITIONAL LENGTH {} with {} bytes", data[4], data.len())
    })?;
    need(data[0] >> 5 == 0, || format!("PERIPHERAL QUALIFIER {} of a unit that is there", data[0] >> 5))?;
    // Versions 3 to 7 are SPC to SPC-5. SPC-4 marks others obsolete or reserved, and 0 claims no standard.
    need((3..=7).contains(&data[2]), || format!("VERSION {:#04x}", data[2]))?;
    need(data[3] & 0xF == 2, || format!("RESPONSE DATA FORMAT {}", data[3] & 0xF))?;
    ascii("T10 VENDOR IDENTIFICATION", &data[8..16])?;
    ascii("PRODUCT IDENTIFICATION", &data[16..32])?;
    // The revision has no rule about its first byte that a vendor would keep to; ASCII it is.
    need(is_graphic(&data[32..36]), || format!("PRODUCT REVISION LEVEL {:02x?}", &data[32..36]))?;
    let versions = data.get(58..74.min(data.len())).unwrap_or_default();
    let mut ended = false;
    for version in versions.chunks_exact(2) {
        let none = version == [0, 0];
        need(!ended || none, || "a version descriptor behind an empty one".into())?;
        ended |= none;
    }
    Ok(())
}

/// Checks the header of a VPD page (SPC-4 7.8.2) that is the whole answer and gives its contents.
///
/// # Errors
/// The field that is wrong.
pub fn vpd_page(data: &[u8], page: u8, peripheral: u8) -> Result<&[u8], String> {
    need(data.len() >= 4, || format!("{} bytes", data.len()))?;
    need(data[0] == peripheral, || {
        format!("byte 0 is {:#04x}, in standard data {peripheral:#04x}", data[0])
    })?;
    need(data[1] == page, || format!("PAGE CODE {:#04x}", data[1]))?;
    let length = usize::from(be16(data, 2));
    need(length + 4 == data.len(), || format!("PAGE LENGTH {length} with {} bytes", data.len()))?;
    Ok(&data[4..])
}

/// Checks the contents of a VPD page that SPC-4 or SBC-3 lays out; other pages pass.
///
/// # Errors
/// The field that is wrong.
pub fn vpd_contents(page: u8, body: &[u8], disk: bool) -> Verdict {
    match page {
        0x00 => supported_pages(body),
        0x80 => serial_page(body),
        0x83 => designators(body).map(|_| ()),
        0xB0 if disk => block_limits(body).map(|_| ()),
        0xB1 if disk => block_characteristics(body),
        0xB2 if disk => provisioning(body).map(|_| ()),
        _ => Ok(()),
    }
}

/// SPC-4 7.8.10: ascending, page 00 first; pages 00 and 83 are mandatory.
fn supported_pages(body: &[u8]) -> Verdict {
    need(body.first() == Some(&0), || "page 00 is not the first listed".into())?;
    need(body.is_sorted_by(|a, b| a < b), || format!("not in ascending order: {body:02x?}"))?;
    need(body.contains(&0x83), || "page 83, which is mandatory, is not listed".into())
}

/// SPC-4 7.8.15: right-aligned ASCII, spaces when there is none.
fn serial_page(body: &[u8]) -> Verdict {
    need(is_graphic(body), || format!("PRODUCT SERIAL NUMBER is not ASCII: {body:02x?}"))
}

/// One designation descriptor of VPD page 83.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Designator {
    /// CODE SET: 1 binary, 2 ASCII, 3 UTF-8.
    pub code_set: u8,
    /// ASSOCIATION: 0 logical unit, 1 target port, 2 target device.
    pub association: u8,
    /// DESIGNATOR TYPE.
    pub kind: u8,
    /// The designator.
    pub value: Vec<u8>,
}

/// Reads and checks the designation descriptors of VPD page 83 (SPC-4 7.8.6).
///
/// # Errors
/// The field that is wrong.
pub fn designators(body: &[u8]) -> Result<Vec<Designator>, String> {
    let mut found = Vec::new();
    let mut rest = body;
    while !rest.is_empty() {
        let length = rest.get(3).map_or(usize::MAX, |length| 4 + usize::from(*length));
        let Some(descriptor) = rest.get(..length) else {
            return Err(format!("designation descriptor {} ends behind the page", found.len()));
        };
        let designator = Designator {
            code_set: descriptor[0] & 0xF,
            association: descriptor[1] >> 4 & 3,
            kind: descriptor[1] & 0xF,
            value: descriptor[4..].to_vec(),
        };
        designator.check().map_err(|text| format!("designation descriptor {}: {text}", found.len()))?;
        found.push(designator);
        rest = &rest[length..];
    }
    Ok(found)
}

/// Checks that the designators name the logical unit (SPC-4 7.8.6.2.1): at least one of type T10 vendor ID, EUI-64,
/// NAA or SCSI name string.
///
/// # Errors
/// When there is none.
pub fn names_the_unit(designators: &[Designator]) -> Verdict {
    let named = designators.iter().any(|d| d.association == 0 && matches!(d.kind, 1 | 2 | 3 | 8));
    need(named, || "no designator of type 1, 2, 3 or 8 for the logical unit".into())
}

impl Designator {
    fn check(&self) -> Verdict {
        let length = self.value.len();
        need((1..=3).contains(&self.code_set), || format!("CODE SET {}", self.code_set))?;
        need(self.association != 3, || "ASSOCIATION 3 is reserved".into())?;
        need(length > 0, || "empty designator".into())?;
        if self.code_set == 2 {
            need(is_graphic(&self.value), || format!("not ASCII: {:02x?}", self.value))?;
        }
        let binary = self.code_set == 1;
        match self.kind {
            1 => {
                need(length >= 8, || format!("T10 vendor ID designator of {length} bytes"))?;
                ascii("T10 VENDOR IDENTIFICATION", &self.value[..8])
            }
            2 => need(binary && matches!(length, 8 | 12 | 16), || {
                format!("EUI-64 designator of {length} bytes")
            }),
            3 => {
                let expected = match self.value[0] >> 4 {
                    2 | 3 | 5 => 8,
                    6 => 16,
                    other => return Err(format!("NAA {other}")),
                };
                need(binary && length == expected, || format!("NAA designator of {length} bytes"))
            }
            4..=6 => {
                need(binary && length == 4, || format!("designator type {} of {length} bytes", self.kind))
            }
            7 => need(binary && length == 16, || format!("MD5 designator of {length} bytes")),
            8 => need(self.code_set == 3 && length.is_multiple_of(4), || {
                format!("SCSI name string of {length} bytes, code set {}", self.code_set)
            }),
            0 | 9 | 10 => Ok(()),
            other => Err(format!("DESIGNATOR TYPE {other} is reserved")),
        }
    }
}

/// What matters of the Block Limits page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockLimits {
    /// OPTIMAL TRANSFER LENGTH GRANULARITY in blocks; 0 is none reported.
    pub granularity: u16,
    /// MAXIMUM TRANSFER LENGTH in blocks; 0 is no limit reported.
    pub maximum: u32,
    /// OPTIMAL TRANSFER LENGTH in blocks; 0 is none reported.
    pub optimal: u32,
    /// MAXIMUM UNMAP LBA COUNT; 0 says that UNMAP is not implemented.
    pub unmap: u32,
    /// MAXIMUM UNMAP BLOCK DESCRIPTOR COUNT.
    pub unmap_descriptors: u32,
}

/// Reads and checks VPD page B0 (SBC-3 6.5.3).
///
/// # Errors
/// The field that is wrong.
pub fn block_limits(body: &[u8]) -> Result<BlockLimits, String> {
    // 0Ch is the page of SBC-2, 3Ch that of SBC-3.
    need(matches!(body.len(), 0x0C | 0x3C), || format!("PAGE LENGTH {:#x}", body.len()))?;
    let word = |at: usize| body.get(at - 4..at).map_or(0, |b| be32(b, 0));
    let limits = BlockLimits {
        granularity: be16(body, 2),
        maximum: be32(body, 4),
        optimal: be32(body, 8),
        unmap: word(20),
        unmap_descriptors: word(24),
    };
    if limits.maximum != 0 {
        need(limits.optimal <= limits.maximum, || {
            format!("OPTIMAL TRANSFER LENGTH {} above MAXIMUM {}", limits.optimal, limits.maximum)
        })?;
        need(u32::from(limits.granularity) <= limits.maximum, || {
            format!("granularity {} above MAXIMUM {}", limits.granularity, limits.maximum)
        })?;
    }
    need((limits.unmap == 0) == (limits.unmap_descriptors == 0), || {
        format!("MAXIMUM UNMAP LBA COUNT {} with {} descriptors", limits.unmap, limits.unmap_descriptors)
    })?;
    Ok(limits)
}

/// SBC-3 6.5.2: 3Ch bytes; a rotation rate of 0, 1 or 401h to FFFEh, a form factor of at most 5.
fn block_characteristics(body: &[u8]) -> Verdict {
    need(body.len() == 0x3C, || format!("PAGE LENGTH {:#x}", body.len()))?;
    let rate = be16(body, 0);
    need(matches!(rate, 0 | 1 | 0x401..=0xFFFE), || format!("MEDIUM ROTATION RATE {rate:#x}"))?;
    need(body[3] & 0xF <= 5, || format!("NOMINAL FORM FACTOR {}", body[3] & 0xF))
}

/// What matters of the Logical Block Provisioning page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Provisioning {
    /// LBPU, LBPWS or LBPWS10: some command unmaps.
    pub unmaps: bool,
    /// LBPU: the command UNMAP.
    pub unmap: bool,
    /// LBPRZ: unmapped blocks read as zeroes.
    pub reads_zeroes: bool,
}

/// Reads and checks VPD page B2 (SBC-3 6.5.4).
///
/// # Errors
/// The field that is wrong.
pub fn provisioning(body: &[u8]) -> Result<Provisioning, String> {
    need(body.len() >= 4, || format!("PAGE LENGTH {:#x}", body.len()))?;
    need(body[1] & 1 != 0 || body.len() == 4, || format!("DP is 0 and PAGE LENGTH {:#x}", body.len()))?;
    need(body[2] & 7 <= 2, || format!("PROVISIONING TYPE {}", body[2] & 7))?;
    Ok(Provisioning {
        unmaps: body[1] & 0xE0 != 0,
        unmap: body[1] & 0x80 != 0,
        reads_zeroes: body[1] & 0x1C != 0,
    })
}

/// READ CAPACITY (16) parameter data (SBC-3 5.16.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capacity16 {
    /// RETURNED LOGICAL BLOCK ADDRESS.
    pub last: u64,
    /// LOGICAL BLOCK LENGTH IN BYTES.
    pub block: u32,
    /// PROT_EN.
    pub protected: bool,
    /// LBPME: logical block provisioning is managed.
    pub managed: bool,
    /// LBPRZ.
    pub reads_zeroes: bool,
    /// LOGICAL BLOCKS PER PHYSICAL BLOCK EXPONENT.
    pub exponent: u8,
    /// LOWEST ALIGNED LOGICAL BLOCK ADDRESS.
    pub lowest_aligned: u16,
}

/// Reads and checks READ CAPACITY (16) parameter data.
///
/// # Errors
/// The field that is wrong.
pub fn capacity_16(data: &[u8]) -> Result<Capacity16, String> {
    need(data.len() == 32, || format!("{} bytes, not 32", data.len()))?;
    let capacity = Capacity16 {
        last: be64(data, 0),
        block: be32(data, 8),
        protected: data[12] & 1 != 0,
        managed: data[14] & 0x80 != 0,
        reads_zeroes: data[14] & 0x40 != 0,
        exponent: data[13] & 0xF,
        lowest_aligned: be16(data, 14) & 0x3FFF,
    };
    need(data[16..].iter().all(|b| *b == 0), || format!("reserved bytes 16 to 31: {:02x?}", &data[16..]))?;
    need(capacity.block.is_power_of_two() && capacity.block >= 512, || {
        format!("LOGICAL BLOCK LENGTH {}", capacity.block)
    })?;
    need(capacity.protected || data[12] & 0x0E == 0, || "P_TYPE without PROT_EN".into())?;
    need(u32::from(capacity.lowest_aligned) < 1 << capacity.exponent, || {
        format!("LOWEST ALIGNED LBA {} with exponent {}", capacity.lowest_aligned, capacity.exponent)
    })?;
    Ok(capacity)
}

/// One mode page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModePage {
    /// PS: the page can be saved.
    pub savable: bool,
    /// PAGE CODE.
    pub code: u8,
    /// SUBPAGE CODE; 0 in the page_0 format.
    pub subpage: u8,
    /// All of it, header included.
    pub bytes: Vec<u8>,
}

impl ModePage {
    /// Bytes of its header.
    pub fn header(&self) -> usize {
        if self.bytes[0] & 0x40 != 0 { 4 } else { 2 }
    }
}

/// Mode parameters (SPC-4 7.5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModeData {
    /// MEDIUM TYPE.
    pub medium_type: u8,
    /// DEVICE-SPECIFIC PARAMETER.
    pub device_specific: u8,
    /// Block descriptors.
    pub descriptors: Vec<u8>,
    /// Mode pages.
    pub pages: Vec<ModePage>,
}

/// Reads and checks mode parameters that are the whole answer to MODE SENSE (10) (`ten`) or (6).
///
/// # Errors
/// The field that is wrong.
pub fn mode_data(data: &[u8], ten: bool) -> Result<ModeData, String> {
    let header = if ten { 8 } else { 4 };
    need(data.len() >= header, || format!("{} bytes", data.len()))?;
    let (length, descriptors) = match ten {
        true => (usize::from(be16(data, 0)) + 2, usize::from(be16(data, 6))),
        false => (usize::from(data[0]) + 1, usize::from(data[3])),
    };
    need(length == data.len(), || format!("MODE DATA LENGTH says {length} bytes, {} came", data.len()))?;
    let long_lba = ten && data[4] & 1 != 0;
    let (medium_type, device_specific) = if ten { (data[2], data[3]) } else { (data[1], data[2]) };
    need(descriptors.is_multiple_of(if long_lba { 16 } else { 8 }), || {
        format!("BLOCK DESCRIPTOR LENGTH {descriptors}")
    })?;
    let Some(mut rest) = data.get(header + descriptors..) else {
        return Err(format!("BLOCK DESCRIPTOR LENGTH {descriptors} in {} bytes", data.len()));
    };
    let mut pages: Vec<ModePage> = Vec::new();
    while let Some(first) = rest.first().copied() {
        let (code, long) = (first & 0x3F, first & 0x40 != 0);
        let whole = match (long, rest) {
            (false, [_, length, ..]) => 2 + usize::from(*length),
            (true, [_, _, high, low, ..]) => 4 + usize::from(u16::from_be_bytes([*high, *low])),
            _ => usize::MAX,
        };
        let Some(bytes) = rest.get(..whole) else {
            return Err(format!("mode page {code:#04x} ends behind the answer"));
        };
        let page = ModePage {
            savable: first & 0x80 != 0,
            code,
            subpage: if long { bytes[1] } else { 0 },
            bytes: bytes.to_vec(),
        };
        page_length(&page)?;
        // SPC-4 6.13.1: ascending order of pages, but page 0 (vendor specific, of any format) comes last.
        if let Some(last) = pages.last() {
            let order = |p: &ModePage| (p.code == 0, p.code, p.subpage);
            need(order(last) < order(&page), || {
                format!("mode page {code:#04x} behind page {:#04x}", last.code)
            })?;
        }
        rest = &rest[whole..];
        pages.push(page);
    }
    let descriptors = data[header..header + descriptors].to_vec();
    Ok(ModeData { medium_type, device_specific, descriptors, pages })
}

/// PAGE LENGTH of the pages that SPC-4 and SBC-3 give one.
fn page_length(page: &ModePage) -> Verdict {
    let length = page.bytes.len() - page.header();
    let good = match (page.code, page.subpage) {
        // Read-Write Error Recovery: 0Ah for disks, 06h or 0Ah for CD-ROMs.
        (0x01, 0) => matches!(length, 0x06 | 0x0A),
        (0x02, 0) => length == 0x0E,
        (0x04, 0) => length == 0x16,
        (0x07, 0) => matches!(length, 0x06 | 0x0A),
        // Caching: 12h since SBC, 0Ah in SCSI-2 and MMC.
        (0x08, 0) => matches!(length, 0x0A | 0x12),
        (0x0A, 0) => length == 0x0A,
        (0x0A, 1) => length == 0x1C,
        (0x1A, 0) => matches!(length, 0x0A | 0x26),
        (0x1C, 0) => length == 0x0A,
        _ => true,
    };
    need(good, || format!("mode page {:#04x} has PAGE LENGTH {length:#x}", page.code))
}

/// Reads and checks REPORT LUNS parameter data (SPC-4 6.33) that is the whole answer; gives the LUNs.
///
/// # Errors
/// The field that is wrong.
pub fn lun_list(data: &[u8]) -> Result<Vec<[u8; 8]>, String> {
    need(data.len() >= 8, || format!("{} bytes", data.len()))?;
    let length = be32(data, 0) as usize;
    need(length.is_multiple_of(8), || format!("LUN LIST LENGTH {length} is no multiple of 8"))?;
    need(length + 8 == data.len(), || format!("LUN LIST LENGTH {length} with {} bytes", data.len()))?;
    let mut luns = Vec::new();
    for lun in data[8..].chunks_exact(8) {
        let lun = <[u8; 8]>::try_from(lun).map_err(|_| "a LUN of less than 8 bytes")?;
        need(!luns.contains(&lun), || format!("LUN {lun:02x?} is listed twice"))?;
        luns.push(lun);
    }
    Ok(luns)
}

/// Where an answer says how long it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// ADDITIONAL LENGTH of standard INQUIRY data.
    Inquiry,
    /// PAGE LENGTH of a VPD page.
    Vpd,
    /// MODE DATA LENGTH of MODE SENSE (6).
    Mode6,
    /// MODE DATA LENGTH of MODE SENSE (10).
    Mode10,
    /// ADDITIONAL SENSE LENGTH.
    Sense,
    /// LUN LIST LENGTH.
    Luns,
    /// Always the same.
    Fixed(usize),
}

impl Extent {
    /// Bytes of the answer, as far as its first bytes say it.
    pub fn of(self, data: &[u8]) -> Option<usize> {
        let byte = |at: usize| data.get(at).map(|byte| usize::from(*byte));
        let word = |at: usize| data.get(at..at + 2).map(|b| usize::from(be16(b, 0)));
        match self {
            Extent::Inquiry => byte(4).map(|length| length + 5),
            Extent::Vpd => word(2).map(|length| length + 4),
            Extent::Mode6 => byte(0).map(|length| length + 1),
            Extent::Mode10 => word(0).map(|length| length + 2),
            Extent::Sense => byte(7).map(|length| length + 8),
            Extent::Luns => data.get(..4).map(|b| be32(b, 0) as usize + 8),
            Extent::Fixed(length) => Some(length),
        }
    }
}

/// How an answer with an allocation length compares with the whole answer.
#[derive(Clone, Copy, Debug)]
pub struct Moved<'a> {
    /// ALLOCATION LENGTH of the CDB.
    pub allocation: usize,
    /// Bytes that the buffer had at the request's start: everything in it, data or not.
    pub buffer: &'a [u8],
    /// DataTransferLength when it came back.
    pub transferred: usize,
    /// What an untouched byte holds.
    pub pattern: u8,
}

/// The rule of SPC-4 4.2.5.6: exactly the first bytes of the whole answer that the allocation length has room for. No
/// byte of the buffer changes behind them, and DataTransferLength says how many they are.
///
/// # Errors
/// What was moved instead.
pub fn prefix(whole: &[u8], moved: &Moved<'_>) -> Verdict {
    let expected = whole.len().min(moved.allocation).min(moved.buffer.len());
    need(moved.transferred == expected, || {
        format!("DataTransferLength {} and not {expected}", moved.transferred)
    })?;
    if let Some(at) = (0..expected).find(|at| moved.buffer[*at] != whole[*at]) {
        return Err(format!("byte {at} is {:#04x} and not {:#04x}", moved.buffer[at], whole[at]));
    }
    untouched(&moved.buffer[expected..], moved.pattern)
        .map_err(|at| format!("byte {} was written", at + expected))
}

/// Whether all bytes still hold the pattern.
///
/// # Errors
/// The index of the first that does not.
pub fn untouched(bytes: &[u8], pattern: u8) -> Result<(), usize> {
    bytes.iter().position(|byte| *byte != pattern).map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixed(key: u8, asc: u8) -> [u8; 18] {
        let mut data = [0; 18];
        (data[0], data[2], data[7], data[12]) = (0x70, key, 10, asc);
        data
    }

    #[test]
    fn fixed_sense_of_eighteen_bytes_is_well_formed() {
        assert_eq!(sense(&fixed(5, 0x24), 6), Ok(Sense { key: 5, asc: 0x24, ascq: 0 }));
    }

    #[test]
    fn sense_that_promises_more_than_it_delivers_is_refused() {
        let mut data = fixed(5, 0x24);
        data[7] = 11;
        assert!(sense(&data, 6).unwrap_err().contains("19 bytes of sense, 18 delivered"));
        data[7] = 0;
        assert!(sense(&data, 6).unwrap_err().contains("does not reach byte 17"));
        assert!(sense(&[0x70, 0, 5], 6).is_err());
        assert!(sense(&[], 6).is_err());
        assert!(sense(&[0; 18], 6).unwrap_err().contains("response code"));
    }

    #[test]
    fn a_field_pointer_behind_the_cdb_is_refused() {
        let mut data = fixed(5, 0x24);
        (data[15], data[17]) = (0xC0, 5);
        assert!(sense(&data, 6).is_ok());
        data[17] = 6;
        assert_eq!(sense(&data, 6).unwrap_err(), "FIELD POINTER 6 into a CDB of 6 bytes");
        // Into the parameter list, which the CDB's length does not bound.
        data[15] = 0x80;
        assert!(sense(&data, 6).is_ok());
    }

    #[test]
    fn descriptor_sense_is_walked_to_its_end() {
        let mut data = [0; 28];
        (data[0], data[1], data[2], data[7]) = (0x72, 5, 0x24, 20);
        (data[8], data[9]) = (0, 10);
        (data[20], data[21], data[24]) = (2, 6, 0xC0);
        assert_eq!(sense(&data, 6), Ok(Sense { key: 5, asc: 0x24, ascq: 0 }));
        data[26] = 9;
        assert!(sense(&data, 6).unwrap_err().contains("FIELD POINTER 9"));
        data[21] = 7;
        assert!(sense(&data, 6).unwrap_err().contains("ends behind"));
        assert!(sense(&[0xF2, 5, 0x24, 0, 0, 0, 0, 0], 6).is_err());
    }

    fn inquiry() -> Vec<u8> {
        let mut data = alloc::vec![0, 0, 5, 2, 31, 0, 0, 2];
        data.extend(b"VENDOR  PRODUCT         0001");
        data
    }

    #[test]
    fn standard_inquiry_data_is_accepted_and_each_wrong_field_refused() {
        assert_eq!(standard_inquiry(&inquiry()), Ok(()));
        for (at, byte) in [(0, 0x20), (2, 0), (3, 1), (4, 30), (8, b' '), (20, 0), (35, 0x7F)] {
            let mut data = inquiry();
            data[at] = byte;
            assert!(standard_inquiry(&data).is_err(), "byte {at}");
        }
        assert!(standard_inquiry(&inquiry()[..35]).is_err());
    }

    #[test]
    fn a_vpd_page_must_be_as_long_as_it_says() {
        assert_eq!(vpd_page(&[0, 0x80, 0, 1, b'x'], 0x80, 0), Ok(&b"x"[..]));
        assert!(vpd_page(&[0, 0x80, 0, 2, b'x'], 0x80, 0).is_err());
        assert!(vpd_page(&[0, 0x83, 0, 1, b'x'], 0x80, 0).is_err());
        assert!(vpd_page(&[5, 0x80, 0, 1, b'x'], 0x80, 0).is_err());
        assert!(vpd_page(&[0, 0x80, 0], 0x80, 0).is_err());
    }

    #[test]
    fn the_page_list_ascends_and_has_the_mandatory_pages() {
        assert!(vpd_contents(0, &[0, 0x80, 0x83], true).is_ok());
        for list in [&[0x80, 0x83][..], &[0, 0x83, 0x80], &[0, 0x80], &[0, 0x83, 0x83], &[]] {
            assert!(vpd_contents(0, list, true).is_err(), "{list:02x?}");
        }
    }

    #[test]
    fn designators_of_each_type_must_have_its_length() {
        let naa = [&[1, 3, 0, 8, 0x50][..], &[0; 7]].concat();
        assert_eq!(designators(&naa).unwrap()[0].kind, 3);
        let t10 = [&[2, 1, 0, 10][..], b"VENDOR  42"].concat();
        assert_eq!(designators(&t10).unwrap()[0].value, b"VENDOR  42");
        assert!(designators(&[1, 3, 0, 4, 0x50, 0, 0, 0]).unwrap_err().contains("NAA designator of 4"));
        assert!(designators(&[1, 3, 0, 9, 0x50]).unwrap_err().contains("ends behind"));
        assert!(designators(&[0, 3, 0, 1, 0]).unwrap_err().contains("CODE SET 0"));
    }

    #[test]
    fn a_vendor_specific_designator_does_not_name_the_unit() {
        let vendor = designators(&[2, 0, 0, 1, b'x']).unwrap();
        let port = designators(&[1, 0x14, 0, 4, 0, 0, 0, 1]).unwrap();
        let eui = designators(&[1, 2, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
        assert!(names_the_unit(&vendor).is_err());
        assert!(names_the_unit(&port).is_err());
        assert!(names_the_unit(&[]).is_err());
        assert_eq!(names_the_unit(&eui), Ok(()));
    }

    #[test]
    fn block_limits_must_not_contradict_themselves() {
        let mut body = [0; 0x3C];
        (body[7], body[11]) = (8, 8);
        (body[19], body[23]) = (1, 1);
        let limits = block_limits(&body).unwrap();
        assert_eq!((limits.maximum, limits.optimal, limits.unmap), (8, 8, 1));
        body[11] = 9;
        assert!(block_limits(&body).is_err());
        body[11] = 0;
        body[23] = 0;
        assert!(block_limits(&body).is_err());
        assert!(block_limits(&[0; 0x0C]).is_ok());
        assert!(block_limits(&[0; 0x10]).is_err());
    }

    #[test]
    fn the_other_block_device_pages_are_bounded() {
        let mut body = [0; 0x3C];
        body[1] = 1;
        assert!(vpd_contents(0xB1, &body, true).is_ok());
        body[1] = 2;
        assert!(vpd_contents(0xB1, &body, true).is_err());
        assert!(provisioning(&[0, 0x80, 1, 0]).unwrap().unmap);
        assert!(provisioning(&[0, 0, 3, 0]).is_err());
        assert!(provisioning(&[0, 0, 0, 0, 0]).is_err());
    }

    #[test]
    fn long_capacity_is_checked_field_by_field() {
        let mut data = [0; 32];
        (data[7], data[10], data[13], data[14]) = (99, 2, 3, 0x80);
        let capacity = capacity_16(&data).unwrap();
        assert_eq!((capacity.last, capacity.block, capacity.exponent, capacity.managed), (99, 512, 3, true));
        for (at, byte) in [(10, 3), (12, 2), (15, 8), (31, 1)] {
            let mut bad = data;
            bad[at] = byte;
            assert!(capacity_16(&bad).is_err(), "byte {at}");
        }
        assert!(capacity_16(&data[..12]).is_err());
    }

    fn mode(ten: bool, pages: &[&[u8]]) -> Vec<u8> {
        let pages = pages.concat();
        let mut data = if ten { alloc::vec![0; 8] } else { alloc::vec![0; 4] };
        data.extend(&pages);
        let length = data.len();
        if ten {
            data[1] = length as u8 - 2
        } else {
            data[0] = length as u8 - 1
        };
        data
    }

    const CONTROL: [u8; 12] = [0x0A, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    const VENDOR: [u8; 3] = [0x20, 1, 0];

    #[test]
    fn mode_pages_are_read_behind_either_header() {
        for ten in [false, true] {
            let data = mode_data(&mode(ten, &[&CONTROL, &VENDOR]), ten).unwrap();
            assert_eq!(data.pages.iter().map(|p| p.code).collect::<Vec<_>>(), [0x0A, 0x20]);
        }
    }

    #[test]
    fn mode_pages_in_the_wrong_order_or_of_wrong_length_are_refused() {
        assert!(mode_data(&mode(false, &[&VENDOR, &CONTROL]), false).unwrap_err().contains("behind page"));
        assert!(mode_data(&mode(false, &[&CONTROL, &[0, 0]]), false).is_ok(), "page 0 comes last");
        assert!(mode_data(&mode(false, &[&[0, 0], &CONTROL]), false).is_err());
        assert!(mode_data(&mode(false, &[&[8, 1, 0]]), false).unwrap_err().contains("PAGE LENGTH 0x1"));
        assert!(mode_data(&mode(false, &[&[0x20, 9, 0]]), false).unwrap_err().contains("ends behind"));
        assert!(mode_data(&mode(false, &[&[0x20]]), false).is_err());
        let mut short = mode(true, &[&CONTROL]);
        short[1] -= 1;
        assert!(mode_data(&short, true).unwrap_err().contains("MODE DATA LENGTH"));
        let mut descriptors = mode(false, &[&CONTROL]);
        descriptors[3] = 64;
        assert!(mode_data(&descriptors, false).is_err());
    }

    #[test]
    fn a_lun_list_has_whole_and_different_luns() {
        let one = [0, 0, 0, 8, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        assert_eq!(lun_list(&one).unwrap(), [[0, 1, 0, 0, 0, 0, 0, 0]]);
        let mut bad = one;
        bad[3] = 16;
        assert!(lun_list(&bad).is_err());
        bad[3] = 7;
        assert!(lun_list(&bad).is_err());
        let twice = [&[0, 0, 0, 16, 0, 0, 0, 0][..], &[0; 16]].concat();
        assert!(lun_list(&twice).unwrap_err().contains("twice"));
    }

    #[test]
    fn an_answer_says_how_long_it_is() {
        assert_eq!(Extent::Inquiry.of(&[0, 0, 5, 2, 31]), Some(36));
        assert_eq!(Extent::Vpd.of(&[0, 0x80, 1, 2]), Some(0x106));
        assert_eq!(Extent::Mode6.of(&[23]), Some(24));
        assert_eq!(Extent::Mode10.of(&[1, 0]), Some(258));
        assert_eq!(Extent::Sense.of(&[0x70, 0, 0, 0, 0, 0, 0, 10]), Some(18));
        assert_eq!(Extent::Luns.of(&[0, 0, 0, 8]), Some(16));
        assert_eq!(Extent::Fixed(32).of(&[]), Some(32));
        assert_eq!(Extent::Inquiry.of(&[0; 4]), None);
    }

    #[test]
    fn only_the_exact_prefix_passes() {
        let whole = [1, 2, 3, 4];
        let moved =
            |buffer, transferred| prefix(&whole, &Moved { allocation: 2, buffer, transferred, pattern: 9 });
        assert_eq!(moved(&[1, 2, 9, 9], 2), Ok(()));
        assert_eq!(moved(&[1, 2, 3, 9], 2).unwrap_err(), "byte 2 was written");
        assert_eq!(moved(&[1, 7, 9, 9], 2).unwrap_err(), "byte 1 is 0x07 and not 0x02");
        assert_eq!(moved(&[1, 2, 9, 9], 4).unwrap_err(), "DataTransferLength 4 and not 2");
        assert_eq!(moved(&[1], 1), Ok(()));
    }
}
