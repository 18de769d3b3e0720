//! The SCSI that Windows' class drivers speak: command blocks out, data and sense in.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// A command block and what it moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command {
    /// CDB bytes; the rest is zero.
    pub cdb: [u8; 32],
    /// CDB length in bytes.
    pub length: u8,
    /// Name for messages.
    pub name: &'static str,
    /// Direction of the data.
    pub direction: Direction,
}

/// Direction of the data, as seen from the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// No data.
    None,
    /// Device to host.
    In,
    /// Host to device.
    Out,
}

fn command<const N: usize>(name: &'static str, direction: Direction, bytes: [u8; N]) -> Command {
    let mut cdb = [0; 32];
    cdb[..N].copy_from_slice(&bytes);
    Command { cdb, length: N as u8, name, direction }
}

/// TEST UNIT READY.
pub fn test_unit_ready() -> Command {
    command("TEST UNIT READY", Direction::None, [0; 6])
}

/// INQUIRY; `page` asks for a VPD page.
pub fn inquiry(page: Option<u8>, allocation: u16) -> Command {
    let [high, low] = allocation.to_be_bytes();
    let name = match page {
        None => "INQUIRY",
        Some(0x00) => "INQUIRY VPD 00",
        Some(0x80) => "INQUIRY VPD 80",
        Some(0x83) => "INQUIRY VPD 83",
        Some(0xB0) => "INQUIRY VPD B0",
        Some(_) => "INQUIRY VPD",
    };
    command(name, Direction::In, [0x12, u8::from(page.is_some()), page.unwrap_or(0), high, low, 0])
}

/// REPORT LUNS, all of them.
pub fn report_luns(allocation: u32) -> Command {
    let a = allocation.to_be_bytes();
    command("REPORT LUNS", Direction::In, [0xA0, 0, 0, 0, 0, 0, a[0], a[1], a[2], a[3], 0, 0])
}

/// READ CAPACITY (10).
pub fn read_capacity_10() -> Command {
    command("READ CAPACITY(10)", Direction::In, [0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0])
}

/// READ CAPACITY (16).
pub fn read_capacity_16() -> Command {
    command("READ CAPACITY(16)", Direction::In, [0x9E, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0])
}

/// MODE SENSE (6) for one page, with block descriptors off when `dbd`.
pub fn mode_sense_6(page: u8, dbd: bool) -> Command {
    command("MODE SENSE(6)", Direction::In, [0x1A, u8::from(dbd) << 3, page, 0, 192, 0])
}

/// MODE SENSE (10) for one page.
pub fn mode_sense_10(page: u8) -> Command {
    command("MODE SENSE(10)", Direction::In, [0x5A, 8, page, 0, 0, 0, 0, 0, 192, 0])
}

/// REPORT TARGET PORT GROUPS.
pub fn report_target_port_groups(allocation: u8) -> Command {
    command("REPORT TARGET PORT GROUPS", Direction::In, [0xA3, 0x0A, 0, 0, 0, 0, 0, 0, 0, allocation, 0, 0])
}

/// PERSISTENT RESERVE IN.
pub fn persistent_reserve_in(action: u8, allocation: u8) -> Command {
    command("PERSISTENT RESERVE IN", Direction::In, [0x5E, action, 0, 0, 0, 0, 0, 0, allocation, 0])
}

/// SYNCHRONIZE CACHE (10) of everything.
pub fn synchronize_cache() -> Command {
    command("SYNCHRONIZE CACHE", Direction::None, [0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0])
}

/// UNMAP with a parameter list of so many bytes.
pub fn unmap(bytes: u16) -> Command {
    let [high, low] = bytes.to_be_bytes();
    command("UNMAP", Direction::Out, [0x42, 0, 0, 0, 0, 0, 0, high, low, 0])
}

/// START STOP UNIT: start.
pub fn start_unit() -> Command {
    command("START STOP UNIT", Direction::None, [0x1B, 0, 0, 0, 1, 0])
}

/// READ or WRITE: the 10-byte form as class drivers do, the 16-byte form where the address or `wide` asks for it.
pub fn transfer(write: bool, lba: u64, blocks: u32, wide: bool) -> Command {
    let direction = if write { Direction::Out } else { Direction::In };
    let b = blocks.to_be_bytes();
    match u32::try_from(lba) {
        Ok(lba) if !wide && blocks <= 0xFFFF => {
            let l = lba.to_be_bytes();
            let (name, code) = if write { ("WRITE(10)", 0x2A) } else { ("READ(10)", 0x28) };
            command(name, direction, [code, 0, l[0], l[1], l[2], l[3], 0, b[2], b[3], 0])
        }
        _ => {
            let l = lba.to_be_bytes();
            let (name, code) = if write { ("WRITE(16)", 0x8A) } else { ("READ(16)", 0x88) };
            command(
                name,
                direction,
                [code, 0, l[0], l[1], l[2], l[3], l[4], l[5], l[6], l[7], b[0], b[1], b[2], b[3], 0, 0],
            )
        }
    }
}

/// Whether a command is one of the READ and WRITE commands whose buffer Storport does not map.
pub fn is_read_write(cdb: &[u8]) -> bool {
    matches!(cdb[0], 0x08 | 0x0A | 0x28 | 0x2A | 0xA8 | 0xAA | 0x88 | 0x8A)
}

/// The LUNs below 256 in REPORT LUNS data, from single-level peripheral addressing or flat addressing (SAM-5 §4.7).
pub fn luns(data: &[u8]) -> Vec<u8> {
    let Some(header) = data.get(..8) else { return Vec::new() };
    let length = u32::from_be_bytes([header[0], header[1], header[2], header[3]]) as usize;
    let end = (8 + length).min(data.len());
    let mut found: Vec<u8> = data[8..end]
        .chunks_exact(8)
        .filter(|entry| entry[0] & 0x3F == 0 && entry[0] >> 6 <= 1 && entry[2..].iter().all(|b| *b == 0))
        .map(|entry| entry[1])
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// What a standard INQUIRY says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inquiry {
    /// Peripheral qualifier, 0 for a connected unit.
    pub qualifier: u8,
    /// Peripheral device type: 0 disk, 5 CD-ROM.
    pub device_type: u8,
    /// The medium can be removed.
    pub removable: bool,
    /// Vendor.
    pub vendor: String,
    /// Product.
    pub product: String,
    /// Revision.
    pub revision: String,
}

/// Reads standard INQUIRY data; `None` when it is shorter than 36 bytes.
pub fn parse_inquiry(data: &[u8]) -> Option<Inquiry> {
    let data = data.get(..36)?;
    Some(Inquiry {
        qualifier: data[0] >> 5,
        device_type: data[0] & 0x1F,
        removable: data[1] & 0x80 != 0,
        vendor: text(&data[8..16]),
        product: text(&data[16..32]),
        revision: text(&data[32..36]),
    })
}

/// Printable text of a space-padded field.
pub fn text(bytes: &[u8]) -> String {
    let clean: String =
        bytes.iter().map(|b| if (0x20..0x7F).contains(b) { char::from(*b) } else { ' ' }).collect();
    clean.trim().into()
}

/// The page bytes of a VPD page, without its header. `None` when the header is not that page's.
pub fn vpd(data: &[u8], page: u8) -> Option<&[u8]> {
    let header = data.get(..4)?;
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    (header[1] == page).then(|| &data[4..(4 + length).min(data.len())])
}

/// One identifier of VPD page 83 as text: `naa.…`, `eui.…`, `t10.…` or its number.
pub fn identifiers(page: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = page;
    while rest.len() >= 4 {
        let length = usize::from(rest[3]);
        let Some(value) = rest.get(4..4 + length) else { break };
        let hex = |value: &[u8]| value.iter().fold(String::new(), |s, b| alloc::format!("{s}{b:02x}"));
        found.push(match (rest[1] & 0xF, rest[0] & 0xF) {
            (1, _) => alloc::format!("t10.{}", text(value)),
            (2, _) => alloc::format!("eui.{}", hex(value)),
            (3, _) => alloc::format!("naa.{}", hex(value)),
            (_, 2 | 3) => text(value),
            (kind, _) => alloc::format!("type{kind}.{}", hex(value)),
        });
        rest = &rest[4 + length..];
    }
    found
}

/// Capacity of a unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capacity {
    /// Number of logical blocks.
    pub blocks: u64,
    /// Logical block size in bytes.
    pub block_size: u32,
    /// Logical blocks per physical block as a power of two.
    pub physical_exponent: u8,
}

/// Reads READ CAPACITY (10) data.
pub fn parse_capacity_10(data: &[u8]) -> Option<Capacity> {
    let d: [u8; 8] = data.get(..8)?.try_into().ok()?;
    Some(Capacity {
        blocks: u64::from(u32::from_be_bytes([d[0], d[1], d[2], d[3]])) + 1,
        block_size: u32::from_be_bytes([d[4], d[5], d[6], d[7]]),
        physical_exponent: 0,
    })
}

/// Reads READ CAPACITY (16) data.
pub fn parse_capacity_16(data: &[u8]) -> Option<Capacity> {
    let last = u64::from_be_bytes(data.get(..8)?.try_into().ok()?);
    let block_size = u32::from_be_bytes(data.get(8..12)?.try_into().ok()?);
    Some(Capacity {
        blocks: last.checked_add(1)?,
        block_size,
        physical_exponent: data.get(13).map_or(0, |b| b & 0xF),
    })
}

/// The write-cache bit (WCE) of a caching page in MODE SENSE data whose header has `header` bytes (4 or 8).
pub fn write_cache(data: &[u8], header: usize) -> Option<bool> {
    let descriptors = match header {
        4 => usize::from(*data.get(3)?),
        _ => usize::from(u16::from_be_bytes([*data.get(6)?, *data.get(7)?])),
    };
    let page = data.get(header + descriptors..)?;
    (page.first()? & 0x3F == 8).then_some(page.get(2)? & 4 != 0)
}

/// Sense key, additional sense code and qualifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sense {
    /// Sense key.
    pub key: u8,
    /// Additional sense code.
    pub asc: u8,
    /// Additional sense code qualifier.
    pub ascq: u8,
}

impl Sense {
    /// ILLEGAL REQUEST, INVALID COMMAND OPERATION CODE (SPC-4, table 41 and annex F.2).
    pub fn is_unknown_command(&self) -> bool {
        (self.key, self.asc, self.ascq) == (5, 0x20, 0)
    }
}

impl fmt::Display for Sense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const KEYS: [&str; 16] = [
            "NO SENSE",
            "RECOVERED ERROR",
            "NOT READY",
            "MEDIUM ERROR",
            "HARDWARE ERROR",
            "ILLEGAL REQUEST",
            "UNIT ATTENTION",
            "DATA PROTECT",
            "BLANK CHECK",
            "VENDOR SPECIFIC",
            "COPY ABORTED",
            "ABORTED COMMAND",
            "RESERVED",
            "VOLUME OVERFLOW",
            "MISCOMPARE",
            "COMPLETED",
        ];
        write!(f, "{} {:02x}/{:02x}", KEYS[usize::from(self.key & 0xF)], self.asc, self.ascq)
    }
}

/// Reads sense data of either format.
pub fn parse_sense(data: &[u8]) -> Option<Sense> {
    match data.first()? & 0x7F {
        0x70 | 0x71 => Some(Sense {
            key: data.get(2)? & 0xF,
            asc: data.get(12).copied().unwrap_or(0),
            ascq: data.get(13).copied().unwrap_or(0),
        }),
        0x72 | 0x73 => Some(Sense { key: data.get(1)? & 0xF, asc: *data.get(2)?, ascq: *data.get(3)? }),
        _ => None,
    }
}

/// UNIT ATTENTION.
pub const UNIT_ATTENTION: u8 = 6;
/// NOT READY.
pub const NOT_READY: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_read_has_ten_bytes_and_a_far_one_sixteen() {
        let near = transfer(false, 0x0102_0304, 0x1122, false);
        assert_eq!(near.cdb[..10], [0x28, 0, 1, 2, 3, 4, 0, 0x11, 0x22, 0]);
        let far = transfer(true, 0x1_0000_0000, 8, false);
        assert_eq!((far.length, far.cdb[0], far.cdb[5], far.cdb[13]), (16, 0x8A, 1, 8));
    }

    #[test]
    fn report_luns_data_is_read_as_far_as_it_goes() {
        let mut data = [0u8; 8 + 4 * 8];
        data[3] = 24;
        data[17] = 1;
        data[24] = 0x40;
        data[25] = 200;
        assert_eq!(luns(&data), [0, 1, 200]);
        assert_eq!(luns(&data[..20]), [0]);
        assert!(luns(&data[..4]).is_empty());
    }

    #[test]
    fn both_sense_formats_are_read() {
        let mut fixed = [0u8; 18];
        (fixed[0], fixed[2], fixed[12]) = (0x70, 5, 0x21);
        assert_eq!(parse_sense(&fixed).unwrap().to_string(), "ILLEGAL REQUEST 21/00");
        assert_eq!(parse_sense(&[0x72, 6, 0x29, 1]), Some(Sense { key: 6, asc: 0x29, ascq: 1 }));
        assert_eq!(parse_sense(&[0; 18]), None);
    }

    #[test]
    fn capacity_counts_blocks_not_the_last_address() {
        let data = [0, 0, 0, 0, 0, 3, 255, 255, 0, 0, 2, 0, 0, 3];
        let capacity = parse_capacity_16(&data).unwrap();
        assert_eq!((capacity.blocks, capacity.block_size, capacity.physical_exponent), (0x4_0000, 512, 3));
        assert_eq!(parse_capacity_10(&[0, 0, 0, 7, 0, 0, 8, 0]).unwrap().blocks, 8);
    }

    #[test]
    fn identifiers_are_named_by_kind() {
        let page = [1, 3, 0, 2, 0xAB, 0xCD, 2, 1, 0, 2, b'x', b'y'];
        assert_eq!(identifiers(&page), ["naa.abcd", "t10.xy"]);
        assert!(identifiers(&[1, 3, 0, 99]).is_empty());
    }

    #[test]
    fn the_write_cache_bit_is_found_behind_block_descriptors() {
        let mut data = [0u8; 4 + 8 + 20];
        data[3] = 8;
        (data[12], data[14]) = (8, 4);
        assert_eq!(write_cache(&data, 4), Some(true));
        assert_eq!(write_cache(&data[..10], 4), None);
    }
}
