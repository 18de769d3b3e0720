//! Against hbapiwmi.h and vioscsidt.h as C has them.

use std::mem::{offset_of, size_of};
use std::vec;
use std::vec::Vec;

use super::items::Items;
use super::*;
use storport::wmi::Content as _;

/// MS_SM_AdapterInformationQuery; a string is its length and so many characters.
#[repr(C)]
struct AdapterInformationQuery {
    unique_adapter_id: u64,
    hba_status: u32,
    number_of_ports: u32,
    vendor_specific_id: u32,
    manufacturer: [u16; 64 + 1],
    serial_number: [u16; 64 + 1],
    model: [u16; 256 + 1],
    model_description: [u16; 256 + 1],
    hardware_version: [u16; 256 + 1],
    driver_version: [u16; 256 + 1],
    option_rom_version: [u16; 256 + 1],
    firmware_version: [u16; 256 + 1],
    driver_name: [u16; 256 + 1],
    hba_symbolic_name: [u16; 256 + 1],
    redundant_option_rom_version: [u16; 256 + 1],
    redundant_firmware_version: [u16; 256 + 1],
    mfg_domain: [u16; 256 + 1],
}

/// MS_SMHBA_PORTATTRIBUTES
#[repr(C)]
struct PortAttributes {
    port_type: u32,
    port_state: u32,
    port_specific_attributes_size: u32,
    os_device_name: [u16; 256 + 1],
    reserved: u64,
    port_specific_attributes: [u8; 0],
}

/// MS_SMHBA_SAS_Port
#[repr(C)]
struct SasPort {
    port_protocol: u32,
    local_sas_address: [u8; 8],
    attached_sas_address: [u8; 8],
    number_of_discovered_ports: u32,
    number_of_phys: u32,
}

/// SM_GetAdapterPortAttributes_OUT and its sisters
#[repr(C)]
struct PortAttributesOut {
    hba_status: u32,
    port_attributes: PortAttributes,
}

/// SM_GetProtocolStatistics_OUT
#[repr(C)]
struct ProtocolStatisticsOut {
    hba_status: u32,
    protocol_statistics: [i64; 6],
}

/// SM_GetPhyStatistics_OUT
#[repr(C)]
struct PhyStatisticsOut {
    hba_status: u32,
    total_num_of_phy_counters: u32,
    out_num_of_phy_counters: u32,
    phy_counter: [i64; 0],
}

/// SM_GetFCPhyAttributes_OUT, with MS_SMHBA_FC_PHY
#[repr(C)]
struct FcPhyOut {
    hba_status: u32,
    phy_support_speed: u32,
    phy_speed: u32,
    phy_type: u8,
    max_frame_size: u32,
}

/// SM_GetSASPhyAttributes_OUT, with MS_SMHBA_SAS_PHY
#[repr(C)]
struct SasPhyOut {
    hba_status: u32,
    phy_identifier: u8,
    link_rates: [u32; 5],
    domain_port_wwn: [u8; 8],
}

/// VioScsiExtendedInfo
#[repr(C)]
struct ExtendedInfo {
    queue_depth: u32,
    queues_count: u8,
    flags: [u8; 7],
    physical_breaks: u32,
    response_time: u32,
}

const FUNCTION: PciFunction =
    PciFunction { bus: 0x0203, slot: 0x65, vendor: 0x1af4, device: 0x1048, revision: 1 };
const STATE: AdapterState = AdapterState {
    running: true,
    features: Features::RING_INDIRECT_DESC.union(Features::RING_PACKED),
    queues: 4,
    by_message: true,
    max_requests_per_lun: 128,
    max_segments: 254,
};
const MANAGEMENT: Management<'static> = Management { function: &FUNCTION, state: &STATE };

fn bytes(content: &Content) -> Vec<u8> {
    let mut data = vec![0; content.bytes()];
    content.write(&mut data);
    data
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// A string with a fixed buffer (driver-defined-wmi-data-items.md): its length is that of the buffer, and what the text leaves is
/// zero.
fn string(bytes: &[u8], at: usize, longest: usize) -> std::string::String {
    assert_eq!(bytes[at..at + 2], (2 * longest as u16).to_le_bytes(), "the string at {at}");
    let characters: Vec<u16> =
        bytes[at + 2..][..2 * longest].chunks(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    let text = characters.split(|character| *character == 0).next().unwrap();
    assert!(characters[text.len()..].iter().all(|character| *character == 0), "the string at {at}");
    std::string::String::from_utf16(text).unwrap()
}

fn method(number: u32, words: &[u32]) -> Option<Content> {
    let input: Vec<u8> = words.iter().copied().flat_map(u32::to_le_bytes).collect();
    MANAGEMENT.method(2, number, &input)
}

#[test]
fn each_content_is_as_long_as_its_structure_and_filled_to_the_end() {
    let end_of_adapter = offset_of!(AdapterInformationQuery, mfg_domain) + 2 * (256 + 1);
    let port = offset_of!(PortAttributesOut, port_attributes);
    let specific = port + offset_of!(PortAttributes, port_specific_attributes);
    let named = MANAGEMENT.port(0);
    let table = [
        (MANAGEMENT.instance(0), size_of::<ExtendedInfo>()),
        (MANAGEMENT.instance(1), end_of_adapter),
        (MANAGEMENT.instance(2), 0),
        (Content::PortType(named), 8),
        (Content::PortAttributes(named), specific + size_of::<SasPort>()),
        (Content::PortAttributes(Err(Status::ILLEGAL_INDEX)), specific),
        (Content::ProtocolStatistics(Status::OK), size_of::<ProtocolStatisticsOut>()),
        (Content::PhyStatistics(Status::OK), offset_of!(PhyStatisticsOut, phy_counter)),
        (Content::FcPhy(Status::OK), size_of::<FcPhyOut>()),
        (Content::SasPhy(Status::OK), size_of::<SasPhyOut>()),
    ];
    for (content, length) in table {
        assert_eq!(content.bytes(), length, "{content:?}");
        bytes(&content);
    }
    let [setup, adapter] = [0, 1].map(|block| {
        let mut data = vec![0; 8192];
        MANAGEMENT.instance(block).write(&mut data);
        data.iter().rposition(|byte| *byte != 0).unwrap()
    });
    assert!(setup < size_of::<ExtendedInfo>() && adapter < end_of_adapter);
}

#[test]
fn items_are_aligned_as_their_types_are() {
    let mut data = [0; 64];
    let mut items = Items::new(&mut data);

    items.bytes(&[1]).word(2).flag(true).string(2, &[b"ab", b"c"]).long(3).align(8);

    assert_eq!(items.length(), 24);
    assert_eq!(data[..24], [1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 4, 0, b'a', 0, b'b', 0, 3, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn what_does_not_fit_is_left_out() {
    for length in 0..600 {
        let mut data = vec![0; length];

        Content::PortAttributes(MANAGEMENT.port(0)).write(&mut data);
    }
}

#[test]
fn two_adapters_have_two_names_and_one_has_the_same_each_time() {
    let places = [(0, 3), (0, 4), (0, 0x23), (1, 3), (0x0100, 3), (0x0001_0000, 3), (0xffff_ffff, 0xff)];
    let names = places.map(|(bus, slot)| Name::of_adapter(&PciFunction { bus, slot, ..FUNCTION }));

    for (first, name) in names.iter().enumerate() {
        assert_eq!(name.0 >> 60, 3, "locally assigned");
        for other in &names[first + 1..] {
            assert_ne!(name, other);
            assert_ne!(name.port(0), other.port(0));
        }
        assert!(!names.contains(&name.port(0)), "a port is no adapter");
    }
    assert_eq!(Name::of_adapter(&FUNCTION).0, 0x31af_4000_0020_3065);
    assert_eq!(
        Name::of_adapter(&FUNCTION).port(0).to_bytes(),
        [0x31, 0xaf, 0x40, 0x00, 0x00, 0x20, 0x31, 0x65]
    );
}

#[test]
fn an_adapter_says_what_it_is_and_leaves_out_what_it_does_not_have() {
    let data = bytes(&MANAGEMENT.instance(1));

    let at = |offset, longest| string(&data, offset, longest);
    assert_eq!(data[..8], 0x31af_4000_0020_3065u64.to_le_bytes());
    assert_eq!([8, 12, 16].map(|at| word(&data, at)), [0, 1, 0x1048_1af4]);
    assert_eq!(at(offset_of!(AdapterInformationQuery, manufacturer), 64), "Red Hat, Inc.");
    assert_eq!(at(offset_of!(AdapterInformationQuery, serial_number), 64), "");
    assert_eq!(at(offset_of!(AdapterInformationQuery, model), 256), "VirtIO SCSI");
    let hardware = at(offset_of!(AdapterInformationQuery, hardware_version), 256);
    assert_eq!(hardware, "PCI 1af4:1048 revision 01");
    assert_eq!(at(offset_of!(AdapterInformationQuery, driver_version), 256), env!("CARGO_PKG_VERSION"));
    assert_eq!(at(offset_of!(AdapterInformationQuery, option_rom_version), 256), "");
    assert_eq!(at(offset_of!(AdapterInformationQuery, firmware_version), 256), "");
    assert_eq!(at(offset_of!(AdapterInformationQuery, driver_name), 256), "vioscsi.sys");
    let place = at(offset_of!(AdapterInformationQuery, hba_symbolic_name), 256);
    assert_eq!(place, "PCI 0002:03:05.3");
    assert_eq!(at(offset_of!(AdapterInformationQuery, mfg_domain), 256), "com.redhat");
}

#[test]
fn the_setup_is_what_the_adapter_is_like() {
    let data = bytes(&MANAGEMENT.instance(0));

    assert_eq!(data, [128, 0, 0, 0, 4, 1, 0, 1, 1, 1, 0, 1, 253, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn only_the_one_port_has_attributes() {
    let port = MANAGEMENT.port(0).unwrap();
    let name: [u8; 8] = port.name.to_bytes();
    let [high, low] = [0, 4].map(|at| word(&name, at));
    let table = [
        (method(1, &[0]), Content::PortType(Ok(port))),
        (method(1, &[1]), Content::PortType(Err(Status::ILLEGAL_INDEX))),
        (method(2, &[0, 28]), Content::PortAttributes(Ok(port))),
        (method(2, &[0, 27]), Content::PortAttributes(Err(Status::MORE_DATA))),
        (method(2, &[u32::MAX, 28]), Content::PortAttributes(Err(Status::ILLEGAL_INDEX))),
        (method(3, &[0, 0, 28]), Content::PortAttributes(Err(Status::ILLEGAL_INDEX))),
        (method(4, &[high, low, 0, 0, 28]), Content::PortAttributes(Ok(port))),
        (method(4, &[high, low, 0, 0, 0]), Content::PortAttributes(Err(Status::MORE_DATA))),
        (method(4, &[low, high, 0, 0, 28]), Content::PortAttributes(Err(Status::ILLEGAL_WWN))),
        (method(4, &[high, low, high, low, 28]), Content::PortAttributes(Err(Status::ILLEGAL_WWN))),
        (method(5, &[0, 1]), Content::ProtocolStatistics(Status::OK)),
        (method(5, &[0, 2]), Content::ProtocolStatistics(Status::INVALID_PROTOCOL_TYPE)),
        (method(5, &[1, 1]), Content::ProtocolStatistics(Status::ILLEGAL_INDEX)),
        (method(6, &[0, 0, 9]), Content::PhyStatistics(Status::ILLEGAL_INDEX)),
        (method(7, &[0, 0]), Content::FcPhy(Status::NOT_SUPPORTED)),
        (method(7, &[1, 0]), Content::FcPhy(Status::ILLEGAL_INDEX)),
        (method(8, &[0, 0]), Content::SasPhy(Status::ILLEGAL_INDEX)),
        (method(10, &[]), Content::Nothing),
    ];
    for (row, (said, expected)) in table.into_iter().enumerate() {
        assert_eq!(said, Some(expected), "row {row}");
    }
}

#[test]
fn a_port_of_an_adapter_that_does_not_work_is_down() {
    let state = AdapterState { running: false, ..STATE };
    let management = Management { state: &state, ..MANAGEMENT };

    let [up, down] =
        [MANAGEMENT, management].map(|management| bytes(&Content::PortAttributes(management.port(0))));

    let at = offset_of!(PortAttributesOut, port_attributes) + offset_of!(PortAttributes, port_state);
    assert_eq!((word(&up, at), word(&down, at)), (2, 6));
}

#[test]
fn a_counter_that_is_not_kept_is_minus_one() {
    let data = bytes(&method(5, &[0, 1]).unwrap());

    assert_eq!(data[8..], [0xff; 48]);
}

#[test]
fn methods_that_there_are_not_and_inputs_that_are_too_short_are_refused() {
    let lengths = [(1, 4), (2, 8), (3, 12), (4, 20), (5, 8), (6, 12), (7, 8), (8, 8)];
    for (number, length) in lengths {
        let input = [0; 32];
        assert!(MANAGEMENT.method(2, number, &input[..length]).is_some(), "{number}");
        for shorter in 0..length {
            assert_eq!(MANAGEMENT.method(2, number, &input[..shorter]), None, "{number}, {shorter} bytes");
        }
    }
    for number in [0, 9, 11, u32::MAX] {
        assert_eq!(MANAGEMENT.method(2, number, &[0; 32]), None, "{number}");
    }
    for block in [0, 1, 3] {
        assert_eq!(MANAGEMENT.method(block, 1, &[0; 32]), None, "of block {block}");
    }
}
