//! Answers in words: hbapiwmi.h's structures by their pages, wmistr.h's by theirs.

use std::fmt::Write as _;

use crate::request;

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("a word"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A GUID as it is written.
fn guid(bytes: &[u8]) -> String {
    let part = |range: std::ops::Range<usize>| {
        let mut bytes = bytes[range].to_vec();
        bytes.reverse();
        hex(&bytes)
    };
    format!("{{{}-{}-{}-{}-{}}}", part(0..4), part(4..6), part(6..8), hex(&bytes[8..10]), hex(&bytes[10..16]))
}

/// HBA_STATUS (hbaapi.h)
fn hba_status(number: u32) -> String {
    let name = match number {
        0 => "OK",
        2 => "NOT_SUPPORTED",
        5 => "ILLEGAL_WWN",
        6 => "ILLEGAL_INDEX",
        7 => "MORE_DATA",
        35 => "INVALID_PROTOCOL_TYPE",
        _ => "?",
    };
    format!("HBAStatus {number} {name}")
}

/// A string with MaxLen: its length is that of its buffer, the rest of which is zero (driver-defined-wmi-data-items.md).
fn string(data: &[u8], at: &mut usize, longest: usize) -> String {
    let length = u16::from_le_bytes([data[*at], data[*at + 1]]);
    assert_eq!(usize::from(length), 2 * longest, "at {at}");
    let buffer = &data[*at + 2..][..2 * longest];
    *at += 2 + 2 * longest;
    let characters: Vec<u16> = buffer.chunks(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    let end = characters.iter().position(|character| *character == 0).unwrap_or(longest);
    assert!(characters[end..].iter().all(|character| *character == 0));
    String::from_utf16(&characters[..end]).expect("UTF-16")
}

/// WMIREGINFO
pub fn registration(answer: &[u8]) -> String {
    let mut text = format!(
        "WMIREGINFO: BufferSize {}, NextWmiRegInfo {}, RegistryPath {}, MofResourceName {}\n",
        word(answer, 0),
        word(answer, 4),
        word(answer, 8),
        word(answer, 12)
    );
    for block in answer[24..].chunks(32) {
        let (flags, instances, pdo) = (word(block, 16), word(block, 20), &block[24..]);
        let _ = writeln!(
            text,
            "WMIREGGUID {}: flags {flags:#x}, {instances} instance(s), Pdo {}",
            guid(block),
            hex(pdo)
        );
    }
    assert_eq!(word(answer, 16) as usize, (answer.len() - 24) / 32, "GuidCount");
    text
}

/// WNODE_ALL_DATA, without its data, which is that of the single instance.
pub fn head(answer: &[u8]) -> String {
    format!(
        "WNODE_ALL_DATA: BufferSize {}, flags {:#x}, DataBlockOffset {}, InstanceCount {}, FixedInstanceSize {}",
        word(answer, 0),
        word(answer, 44),
        word(answer, 48),
        word(answer, 52),
        word(answer, 60)
    )
}

/// No data.
pub fn no_data(answer: &[u8]) -> String {
    if answer.is_empty() {
        return String::new();
    }
    assert!(request::data(answer).is_empty());
    "no data".to_owned()
}

/// VioScsiExtendedInfo
pub fn extended_information(answer: &[u8]) -> String {
    let data = request::data(answer);
    let names = [
        "Indirect",
        "EventIndex",
        "DpcRedirection",
        "ConcurrentChannels",
        "InterruptMsgRanges",
        "CompletionDuringStartIo",
        "RingPacked",
    ];
    let mut text = format!("QueueDepth {}, QueuesCount {}\n", word(data, 0), data[4]);
    for (name, flag) in names.iter().zip(&data[5..12]) {
        let _ = write!(text, "{name} {flag}, ");
    }
    let _ = write!(text, "PhysicalBreaks {}, ResponseTime {}", word(data, 12), word(data, 16));
    assert_eq!(data.len(), 20);
    text
}

/// UniqueAdapterId of MS_SM_AdapterInformationQuery
pub fn adapter_name(data: &[u8]) -> u64 {
    u64::from_le_bytes(data[..8].try_into().expect("eight bytes"))
}

/// MS_SM_AdapterInformationQuery
pub fn adapter_information(answer: &[u8]) -> String {
    let data = request::data(answer);
    let mut text = format!(
        "UniqueAdapterId {:016x}\n{}\nNumberOfPorts {}\nVendorSpecificID {:#x}\n",
        adapter_name(data),
        hba_status(word(data, 8)),
        word(data, 12),
        word(data, 16)
    );
    let strings = [
        ("Manufacturer", 64),
        ("SerialNumber", 64),
        ("Model", 256),
        ("ModelDescription", 256),
        ("HardwareVersion", 256),
        ("DriverVersion", 256),
        ("OptionROMVersion", 256),
        ("FirmwareVersion", 256),
        ("DriverName", 256),
        ("HBASymbolicName", 256),
        ("RedundantOptionROMVersion", 256),
        ("RedundantFirmwareVersion", 256),
        ("MfgDomain", 256),
    ];
    let mut at = 20;
    for (name, longest) in strings {
        let _ = writeln!(text, "{name} '{}'", string(data, &mut at, longest));
    }
    assert_eq!(at, data.len());
    text
}

/// Only a status, of what there is not.
pub fn status(answer: &[u8]) -> String {
    let data = request::data(answer);
    assert!(data[4..].iter().all(|byte| *byte == 0));
    format!("{}, {} bytes", hba_status(word(data, 0)), data.len())
}

/// SM_GetPortType_OUT
pub fn port_type(answer: &[u8]) -> String {
    let data = request::data(answer);
    assert_eq!(data.len(), 8);
    format!("{}, PortType {}", hba_status(word(data, 0)), word(data, 4))
}

/// MS_SMHBA_PORTATTRIBUTES with MS_SMHBA_SAS_Port.
pub struct PortAttributes {
    pub status: u32,
    pub kind: u32,
    pub state: u32,
    pub device_name: String,
    /// LocalSASAddress
    pub name: Option<[u8; 8]>,
    pub rest: String,
}

/// Behind HBAStatus, aligned as its longest item is.
pub fn port_attributes(data: &[u8]) -> PortAttributes {
    let (kind, state, size) = (word(data, 8), word(data, 12), word(data, 16) as usize);
    let mut at = 20;
    let device_name = string(data, &mut at, 256);
    assert_eq!(at.next_multiple_of(8), 536, "Reserved");
    let specific = &data[544..];
    assert_eq!(specific.len(), size, "PortSpecificAttributesSize");
    let name = specific.get(4..12).map(|name| name.try_into().expect("eight bytes"));
    let rest = if size == 0 {
        String::new()
    } else {
        format!(
            "PortProtocol {}, LocalSASAddress {}, AttachedSASAddress {}, NumberofDiscoveredPorts {}, NumberofPhys {}",
            word(specific, 0),
            hex(&specific[4..12]),
            hex(&specific[12..20]),
            word(specific, 20),
            word(specific, 24)
        )
    };
    PortAttributes { status: word(data, 0), kind, state, device_name, name, rest }
}

pub fn port(answer: &[u8]) -> String {
    let PortAttributes { status, kind, state, device_name, rest, .. } =
        port_attributes(request::data(answer));
    let status = hba_status(status);
    if rest.is_empty() {
        return format!("{status}, no port");
    }
    format!("{status}, PortType {kind}, PortState {state}, OSDeviceName '{device_name}'\n{rest}")
}

fn counters(data: &[u8]) -> String {
    let counters = data.chunks(8).map(|counter| i64::from_le_bytes(counter.try_into().expect("eight bytes")));
    counters.map(|counter| counter.to_string()).collect::<Vec<_>>().join(" ")
}

/// SM_GetProtocolStatistics_OUT
pub fn protocol_statistics(answer: &[u8]) -> String {
    let data = request::data(answer);
    assert_eq!(data.len(), 8 + 6 * 8);
    format!("{}, counters {}", hba_status(word(data, 0)), counters(&data[8..]))
}

/// SM_GetPhyStatistics_OUT
pub fn phy_statistics(answer: &[u8]) -> String {
    let data = request::data(answer);
    let (total, there) = (word(data, 4), word(data, 8));
    assert_eq!(data.len(), 16 + 8 * there as usize);
    format!("{}, {there} of {total} counters", hba_status(word(data, 0)))
}
