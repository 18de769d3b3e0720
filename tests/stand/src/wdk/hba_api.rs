//! Two classes of the HBA API, as hbaapi.mof declares them and wmimofck lays them out (hbapiwmi.h): what an adapter and its ports
//! are, and the methods that ask for more.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::wmi::{long, word};

/// MS_SM_AdapterInformationQuery, {bdc67efa-e5e7-4777-b13c-621459657099}
pub const ADAPTER_INFORMATION: [u8; 16] =
    [0xFA, 0x7E, 0xC6, 0xBD, 0xE7, 0xE5, 0x77, 0x47, 0xB1, 0x3C, 0x62, 0x14, 0x59, 0x65, 0x70, 0x99];
/// MS_SM_PortInformationMethods, {5b6a8b86-708d-4ec6-82a6-39adcf6f6433}
pub const PORT_METHODS: [u8; 16] =
    [0x86, 0x8B, 0x6A, 0x5B, 0x8D, 0x70, 0xC6, 0x4E, 0x82, 0xA6, 0x39, 0xAD, 0xCF, 0x6F, 0x64, 0x33];

/// HBA_STATUS_OK
pub const OK: u32 = 0;
/// HBA_STATUS_ERROR_MORE_DATA
pub const MORE_DATA: u32 = 7;
/// The last HBA_STATUS there is.
const LAST_STATUS: u32 = 36;
/// HBA_PORTTYPE_SASDEVICE to HBA_PORTTYPE_SASEXPANDER
const SAS_TYPES: core::ops::RangeInclusive<u32> = 30..=32;
/// HBA_SASPORTPROTOCOL_SSP
pub const SSP: u32 = 1;
/// sizeof(MS_SMHBA_SAS_Port)
pub const SAS_PORT_BYTES: usize = 28;

/// The methods of MS_SM_PortInformationMethods: number, name, bytes of input, bytes of output, or as many at least.
pub const METHODS: [(u32, &str, usize, usize); 9] = [
    (1, "SM_GetPortType", 4, 8),
    (2, "SM_GetAdapterPortAttributes", 8, PORT_BYTES),
    (3, "SM_GetDiscoveredPortAttributes", 12, PORT_BYTES),
    (4, "SM_GetPortAttributesByWWN", 20, PORT_BYTES),
    (5, "SM_GetProtocolStatistics", 8, 56),
    (6, "SM_GetPhyStatistics", 12, 16),
    (7, "SM_GetFCPhyAttributes", 8, 20),
    (8, "SM_GetSASPhyAttributes", 8, 36),
    (10, "SM_RefreshInformation", 0, 0),
];

/// Where PortSpecificAttributes begin behind HBAStatus.
const PORT_BYTES: usize = 544;

/// An adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adapter {
    /// UniqueAdapterId
    pub id: u64,
    /// NumberOfPorts
    pub ports: u32,
    /// Its strings, from Manufacturer to MfgDomain.
    pub strings: Vec<String>,
}

/// A string with MaxLen in a buffer of that length: all of it counts, and what the text leaves is zero
/// (driver-defined-wmi-data-items.md).
fn string(data: &[u8], at: &mut usize, longest: usize) -> Result<String, String> {
    let start = *at + 2;
    *at = start + 2 * longest;
    let buffer = data.get(start..*at).ok_or(format!("the string at offset {} is cut off", start - 2))?;
    let length = word(data, start - 2) as u16;
    let mut text = String::new();
    let characters = buffer.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    let mut ended = false;
    for character in characters {
        match char::from_u32(character.into()).filter(char::is_ascii) {
            Some('\0') => ended = true,
            Some(character) if !ended && !character.is_ascii_control() => text.push(character),
            _ => return Err(format!("the string at offset {} has {character:#x} in it", start - 2)),
        }
    }
    if usize::from(length) != 2 * longest {
        return Err(format!("the string at offset {} says {length} bytes of {}", start - 2, 2 * longest));
    }
    Ok(text)
}

impl Adapter {
    /// What an instance of MS_SM_AdapterInformationQuery says.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(data: &[u8]) -> Result<Self, String> {
        const STRINGS: [usize; 13] = [64, 64, 256, 256, 256, 256, 256, 256, 256, 256, 256, 256, 256];
        let mut at = 20;
        let strings =
            STRINGS.iter().map(|longest| string(data, &mut at, *longest)).collect::<Result<Vec<_>, _>>()?;
        // The C compiler makes the structure a multiple of 8 long.
        if data.len() != at && data.len() != at.next_multiple_of(8) {
            return Err(format!("{} bytes, and not {at}", data.len()));
        }
        let (id, status, ports) = (long(data, 0), word(data, 8), word(data, 12));
        if id == 0 || status != OK || ports == 0 {
            return Err(format!("id {id:#x}, HBAStatus {status}, {ports} ports"));
        }
        Ok(Self { id, ports, strings })
    }
}

/// HBAStatus of a method's output, whose length is as it should be.
///
/// # Errors
/// It is not, or there is no such status.
pub fn status(method: u32, output: &[u8]) -> Result<u32, String> {
    let Some((_, name, _, least)) = METHODS.iter().find(|(number, ..)| *number == method) else {
        return Err(format!("method {method}"));
    };
    let status = word(output, 0);
    let bytes = match method {
        2..=4 => PORT_BYTES + word(output, 16) as usize,
        6 => 16 + 8 * word(output, 8) as usize,
        _ => *least,
    };
    if output.len() != bytes || status > LAST_STATUS {
        return Err(format!("{name}: {} bytes, and not {bytes}; HBAStatus {status}", output.len()));
    }
    Ok(status)
}

/// A port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// PortType
    pub kind: u32,
    /// PortState
    pub state: u32,
    /// LocalSASAddress
    pub name: [u8; 8],
    /// NumberofDiscoveredPorts
    pub discovered: u32,
    /// NumberofPhys
    pub phys: u32,
}

impl Port {
    /// What the output of one of the methods says that tell of a SAS port.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(output: &[u8]) -> Result<Self, String> {
        let (kind, state) = (word(output, 8), word(output, 12));
        let mut at = 20;
        string(output, &mut at, 256)?;
        let specific = output.get(PORT_BYTES..).unwrap_or_default();
        if !SAS_TYPES.contains(&kind) || !(1..=9).contains(&state) || specific.len() != SAS_PORT_BYTES {
            return Err(format!("PortType {kind}, PortState {state}, {} bytes more", specific.len()));
        }
        let mut name = [0; 8];
        name.copy_from_slice(&specific[4..12]);
        if name == [0; 8] || word(specific, 0) & !0xF != 0 {
            return Err(format!("LocalSASAddress {name:02x?}, PortProtocol {:#x}", word(specific, 0)));
        }
        Ok(Self { kind, state, name, discovered: word(specific, 20), phys: word(specific, 24) })
    }
}

/// The counters of SM_GetProtocolStatistics, each of which is -1 when it is not kept.
///
/// # Errors
/// One is less.
pub fn counters(output: &[u8]) -> Result<[i64; 6], String> {
    let counters = [8, 16, 24, 32, 40, 48].map(|at| long(output, at) as i64);
    if counters.iter().any(|counter| *counter < -1) {
        return Err(format!("counters {counters:?}"));
    }
    Ok(counters)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wdk::wmi::set;
    use alloc::vec;

    fn put_string(data: &mut [u8], at: usize, longest: usize, text: &str) {
        let bytes = text.encode_utf16().flat_map(u16::to_le_bytes);
        data[at..at + 2].copy_from_slice(&(2 * longest as u16).to_le_bytes());
        data[at + 2..].iter_mut().zip(bytes).for_each(|(place, byte)| *place = byte);
    }

    fn adapter() -> Vec<u8> {
        let mut data = vec![0; 5934];
        for (at, value) in [(0, 9), (12, 1)] {
            set(&mut data, at, value);
        }
        let mut at = 20;
        for longest in [64, 64].into_iter().chain([256; 11]) {
            put_string(&mut data, at, longest, "abc");
            at += 2 + 2 * longest;
        }
        data
    }

    #[test]
    fn an_adapter_is_read_whether_it_is_padded_or_not() {
        let exact = adapter();
        let padded = [&exact[..], &[0; 2]].concat();

        let read = Adapter::read(&exact).unwrap();

        assert_eq!((read.id, read.ports, read.strings.len()), (9, 1, 13));
        assert_eq!(Adapter::read(&padded), Ok(read));
    }

    #[test]
    fn an_adapter_that_breaks_a_rule_is_named() {
        let with = |at: usize, value: u32| {
            let mut data = adapter();
            set(&mut data, at, value);
            data
        };
        let table = [
            (with(0, 0), "id 0x0"),
            (with(8, 1), "HBAStatus 1"),
            (with(12, 0), "0 ports"),
            (with(20, 0x61_0006), "says 6 bytes of 128"),
            (with(28, 0x41_0000), "has 0x41 in it"),
            (vec![0; 20], "cut off"),
            ([&adapter()[..], &[0; 3]].concat(), "5937 bytes"),
        ];
        for (data, expected) in table {
            let error = Adapter::read(&data).unwrap_err();
            assert!(error.contains(expected), "{error}, not {expected}");
        }
    }

    #[test]
    fn a_port_needs_a_name_and_a_length_that_is_true() {
        let mut output = vec![0; 572];
        for (at, value) in [(8, 30), (12, 2), (16, 28), (544, 1), (548, 0x31)] {
            set(&mut output, at, value);
        }
        put_string(&mut output, 20, 256, "");

        let port = Port::read(&output).unwrap();

        assert_eq!((status(2, &output), port.name[0]), (Ok(OK), 0x31));
        assert!(status(2, &output[..571]).is_err());
        set(&mut output, 548, 0);
        assert!(Port::read(&output).unwrap_err().contains("LocalSASAddress"));
    }
}
