//! Requests as Windows makes them: a GUID, and a buffer that begins with a WNODE_XXX (wmi-wnode-xxx-structures.md).

use storport::SrbFunction;
use storport::fake::SrbBuilder;

use crate::decode;

/// VioScsiExtendedInfoGuid, {5cdac4f6-3d46-44e2-8dee-01606e11e265}
pub const EXTENDED_INFORMATION: [u8; 16] =
    [0xf6, 0xc4, 0xda, 0x5c, 0x46, 0x3d, 0xe2, 0x44, 0x8d, 0xee, 0x01, 0x60, 0x6e, 0x11, 0xe2, 0x65];
/// MS_SM_AdapterInformationQuery, {bdc67efa-e5e7-4777-b13c-621459657099}
pub const ADAPTER_INFORMATION: [u8; 16] =
    [0xfa, 0x7e, 0xc6, 0xbd, 0xe7, 0xe5, 0x77, 0x47, 0xb1, 0x3c, 0x62, 0x14, 0x59, 0x65, 0x70, 0x99];
/// MS_SM_PortInformationMethods, {5b6a8b86-708d-4ec6-82a6-39adcf6f6433}
pub const PORT_METHODS: [u8; 16] =
    [0x86, 0x8b, 0x6a, 0x5b, 0x8d, 0x70, 0xc6, 0x4e, 0x82, 0xa6, 0x39, 0xad, 0xcf, 0x6f, 0x64, 0x33];

/// sizeof(WNODE_SINGLE_INSTANCE)
const SINGLE_INSTANCE: usize = 64;
/// sizeof(WNODE_METHOD_ITEM)
const METHOD_ITEM: usize = 72;
const FLAGS: usize = 44;
const STATIC_INSTANCE_NAMES: u32 = 0x80;

/// What is asked, by the minor function of the IRP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation(pub u8);

impl Operation {
    /// All there are, and two that there are not.
    pub const ALL: [u8; 13] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0x0a, 0x0b, 0xff];
}

/// A request.
pub struct Request {
    pub operation: Operation,
    pub guid: [u8; 16],
    pub buffer: Vec<u8>,
}

impl Request {
    pub fn of(operation: Operation, guid: &[u8; 16]) -> Self {
        let mut buffer = vec![0; METHOD_ITEM];
        buffer[24..40].copy_from_slice(guid);
        Self { operation, guid: *guid, buffer }
    }

    fn set(mut self, at: usize, value: u32) -> Self {
        self.buffer[at..at + 4].copy_from_slice(&value.to_le_bytes());
        self
    }

    /// IRP_MN_REGINFO_EX
    pub fn registration() -> Self {
        Self::of(Operation(0x0b), &[0; 16])
    }

    /// IRP_MN_QUERY_ALL_DATA: WNODE_FLAG_ALL_DATA
    pub fn all_data(guid: &[u8; 16]) -> Self {
        Self::of(Operation(0x00), guid).set(FLAGS, 0x1 | STATIC_INSTANCE_NAMES)
    }

    /// IRP_MN_QUERY_SINGLE_INSTANCE: WNODE_FLAG_SINGLE_INSTANCE; DataBlockOffset
    pub fn single_instance(guid: &[u8; 16]) -> Self {
        Self::of(Operation(0x01), guid)
            .set(FLAGS, 0x2 | STATIC_INSTANCE_NAMES)
            .set(56, SINGLE_INSTANCE as u32)
    }

    /// IRP_MN_EXECUTE_METHOD: WNODE_FLAG_METHOD_ITEM; MethodId, DataBlockOffset, SizeDataBlock
    pub fn method(guid: &[u8; 16], number: u32, input: &[u8]) -> Self {
        let mut request = Self::of(Operation(0x09), guid)
            .set(FLAGS, 0x8000 | STATIC_INSTANCE_NAMES)
            .set(56, number)
            .set(60, METHOD_ITEM as u32)
            .set(64, input.len() as u32);
        request.buffer.extend(input);
        request
    }

    /// With a buffer of so many bytes.
    pub fn into_srb(mut self, bytes: usize) -> SrbBuilder {
        self.buffer.resize(bytes, 0);
        let operation = storport::wmi::Operation::from_sub_function(self.operation.0);
        SrbBuilder::function(SrbFunction::Wmi(operation)).about(&self.guid).with_data_out(&self.buffer)
    }
}

/// The data in an answer to one of the two that have any.
pub fn data(answer: &[u8]) -> &[u8] {
    let word = |at: usize| u32::from_le_bytes(answer[at..at + 4].try_into().unwrap()) as usize;
    let (at, length) = if word(FLAGS) & 0x8000 != 0 { (word(60), word(64)) } else { (word(56), word(60)) };
    assert_eq!((at % 8, at + length), (0, answer.len()), "BufferSize is where the data ends");
    assert_eq!(word(0), answer.len());
    &answer[at..at + length]
}

/// A method of MS_SM_PortInformationMethods.
pub struct Method {
    number: u32,
    name: &'static str,
    read: fn(&[u8]) -> String,
    /// Inputs, with what is special about them. `None` is the name of the port, and eight zeroes behind it.
    inputs: &'static [(&'static str, &'static [Option<u32>])],
}

const fn method(
    number: u32,
    name: &'static str,
    read: fn(&[u8]) -> String,
    inputs: &'static [(&'static str, &'static [Option<u32>])],
) -> Method {
    Method { number, name, read, inputs }
}

/// All of them, and one that does not exist.
pub const METHODS: [Method; 10] = [
    method(1, "SM_GetPortType", decode::port_type, &[("port 0", &[Some(0)]), ("port 1", &[Some(1)])]),
    method(
        2,
        "SM_GetAdapterPortAttributes",
        decode::port,
        &[
            ("port 0", &[Some(0), Some(128)]),
            ("port 0, room for 27 bytes", &[Some(0), Some(27)]),
            ("port 1", &[Some(1), Some(128)]),
        ],
    ),
    method(
        3,
        "SM_GetDiscoveredPortAttributes",
        decode::port,
        &[("port 0, discovered port 0", &[Some(0), Some(0), Some(128)])],
    ),
    method(
        4,
        "SM_GetPortAttributesByWWN",
        decode::port,
        &[
            ("the port's name", &[None, Some(128)]),
            ("another name", &[Some(1), Some(2), Some(0), Some(0), Some(128)]),
        ],
    ),
    method(
        5,
        "SM_GetProtocolStatistics",
        decode::protocol_statistics,
        &[("port 0, SSP", &[Some(0), Some(1)]), ("port 0, STP", &[Some(0), Some(2)])],
    ),
    method(
        6,
        "SM_GetPhyStatistics",
        decode::phy_statistics,
        &[("port 0, phy 0", &[Some(0), Some(0), Some(9)])],
    ),
    method(7, "SM_GetFCPhyAttributes", decode::status, &[("port 0, phy 0", &[Some(0), Some(0)])]),
    method(8, "SM_GetSASPhyAttributes", decode::status, &[("port 0, phy 0", &[Some(0), Some(0)])]),
    method(10, "SM_RefreshInformation", decode::no_data, &[("", &[])]),
    method(9, "no method", decode::no_data, &[("", &[])]),
];

/// An input of a method: title, number, bytes, and what reads the answer.
pub type Example = (String, u32, Vec<u8>, fn(&[u8]) -> String);

impl Method {
    pub fn examples(&self, name: &[u8; 8]) -> impl Iterator<Item = Example> {
        let name = *name;
        self.inputs.iter().map(move |(what, words)| {
            let bytes = words.iter().flat_map(|word| match word {
                Some(word) => word.to_le_bytes().to_vec(),
                None => [&name[..], &[0; 8]].concat(),
            });
            let title = format!("IRP_MN_EXECUTE_METHOD {} {what}", self.name);
            (title.trim_end().to_owned(), self.number, bytes.collect(), self.read)
        })
    }
}
