//! Against the structures as their pages declare them, and with numbers that nobody honest sends.

use std::mem::offset_of;
use std::vec;
use std::vec::Vec;

use super::*;

/// WNODE_HEADER (ns-wmistr-_wnode_header.md); its unions as their longest member.
#[repr(C)]
struct WnodeHeader {
    buffer_size: u32,
    provider_id: u32,
    historical_context: u64,
    time_stamp: u64,
    guid: [u32; 4],
    client_context: u32,
    flags: u32,
}

/// WNODE_ALL_DATA, for instances of one size.
#[repr(C)]
struct WnodeAllData {
    header: WnodeHeader,
    data_block_offset: u32,
    instance_count: u32,
    offset_instance_name_offsets: u32,
    fixed_instance_size: u32,
}

/// WNODE_SINGLE_INSTANCE
#[repr(C)]
struct WnodeSingleInstance {
    header: WnodeHeader,
    offset_instance_name: u32,
    instance_index: u32,
    data_block_offset: u32,
    size_data_block: u32,
    variable_data: [u8; 0],
}

/// WNODE_METHOD_ITEM
#[repr(C)]
struct WnodeMethodItem {
    header: WnodeHeader,
    offset_instance_name: u32,
    instance_index: u32,
    method_id: u32,
    data_block_offset: u32,
    size_data_block: u32,
    variable_data: [u8; 0],
}

/// WNODE_TOO_SMALL
#[repr(C)]
struct WnodeTooSmall {
    header: WnodeHeader,
    size_needed: u32,
}

/// WMIREGGUIDW
#[repr(C)]
struct WmiRegGuid {
    guid: [u32; 4],
    flags: u32,
    instance_count: u32,
    pdo: usize,
}

/// WMIREGINFOW
#[repr(C)]
struct WmiRegInfo {
    buffer_size: u32,
    next_wmi_reg_info: u32,
    registry_path: u32,
    mof_resource_name: u32,
    guid_count: u32,
    wmi_reg_guid: [WmiRegGuid; 0],
}

const QUERY_ALL_DATA: u8 = 0;
const QUERY_SINGLE_INSTANCE: u8 = 1;
const EXECUTE_METHOD: u8 = 9;
const STATIC_INSTANCE_NAMES: u32 = 0x80;
const NOW: u64 = 0x01dc_1234_5678_9abc;

const SECRETS: Guid = Guid::new(0x1234_5678, 0x9abc, 0xdef0, [1, 2, 3, 4, 5, 6, 7, 8]);
const METHODS: Guid =
    Guid::new(0x5b6a_8b86, 0x708d, 0x4ec6, [0x82, 0xa6, 0x39, 0xad, 0xcf, 0x6f, 0x64, 0x33]);

struct Oracle;

/// Bytes that count up.
struct Bytes(usize);

impl Content for Bytes {
    fn bytes(&self) -> usize {
        self.0
    }

    fn write(&self, data: &mut [u8]) {
        assert_eq!(data, vec![0; self.0], "no byte of it is left to chance");
        data.iter_mut().zip(1..).for_each(|(byte, value)| *byte = value);
    }
}

impl Provider for Oracle {
    type Content = Bytes;
    const BLOCKS: &'static [Guid] = &[SECRETS, METHODS];

    fn instance(&self, block: usize) -> Bytes {
        Bytes(if block == 0 { 13 } else { 0 })
    }

    /// Method 1 of the second block says as many bytes as it is told to; method 2 nothing.
    fn method(&self, block: usize, method: u32, input: &[u8]) -> Option<Bytes> {
        match (block, method) {
            (1, 1) => Some(Bytes(usize::from(*input.get(3)?))),
            (1, 2) => Some(Bytes(0)),
            _ => None,
        }
    }
}

fn call(sub_function: u8, guid: &Guid, buffer: &mut [u8]) -> Completion {
    let operation = Operation::from_sub_function(sub_function);
    Call::new(operation, Some(*guid.as_bytes()), buffer).answer(&Oracle, || NOW)
}

fn word(buffer: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(buffer[at..at + 4].try_into().unwrap())
}

fn set(buffer: &mut [u8], at: usize, value: u32) {
    if let Some(place) = buffer.get_mut(at..at + 4) {
        place.copy_from_slice(&value.to_le_bytes());
    }
}

/// A buffer as WMI hands it over for one instance with a static name, whose data goes to `at`.
fn single_instance(length: usize, at: u32) -> Vec<u8> {
    let mut buffer = vec![0xee; length];
    set(&mut buffer, 44, 0x2 | STATIC_INSTANCE_NAMES);
    set(&mut buffer, offset_of!(WnodeSingleInstance, instance_index), 0);
    set(&mut buffer, offset_of!(WnodeSingleInstance, data_block_offset), at);
    buffer
}

/// The same for a method with this input.
fn method_item(length: usize, method: u32, at: u32, input: &[u8]) -> Vec<u8> {
    let mut buffer = vec![0xee; length];
    set(&mut buffer, 44, 0x8000 | STATIC_INSTANCE_NAMES);
    set(&mut buffer, offset_of!(WnodeMethodItem, instance_index), 0);
    set(&mut buffer, offset_of!(WnodeMethodItem, method_id), method);
    set(&mut buffer, offset_of!(WnodeMethodItem, data_block_offset), at);
    set(&mut buffer, offset_of!(WnodeMethodItem, size_data_block), input.len() as u32);
    if let Some(place) = buffer.get_mut(at as usize..at as usize + input.len()) {
        place.copy_from_slice(input);
    }
    buffer
}

#[test]
fn the_offsets_are_those_of_the_documented_structures() {
    assert_eq!((size_of::<WnodeHeader>(), offset_of!(WnodeHeader, flags)), (48, 44));
    assert_eq!(offset_of!(WnodeHeader, time_stamp), 16);
    assert_eq!(
        (offset_of!(WnodeAllData, fixed_instance_size), size_of::<WnodeAllData>()),
        (60, AllData::BYTES)
    );
    assert_eq!(size_of::<WnodeSingleInstance>(), SingleInstance::BYTES);
    assert_eq!(offset_of!(WnodeMethodItem, variable_data), 68);
    assert_eq!(size_of::<WnodeMethodItem>(), MethodItem::BYTES);
    assert_eq!((offset_of!(WnodeTooSmall, size_needed), size_of::<WnodeTooSmall>()), (48, TooSmall::BYTES));
    assert_eq!((offset_of!(WmiRegInfo, wmi_reg_guid), size_of::<WmiRegGuid>()), (24, 32));
}

#[test]
fn a_registration_names_each_block_with_one_instance_and_leaves_the_rest_to_the_port_driver() {
    for sub_function in [0x08, 0x0b] {
        let mut buffer = [0xee; 100];

        let completion = call(sub_function, &SECRETS, &mut buffer);

        assert_eq!(completion, Completion::success(24 + 2 * 32));
        let expected = [88, 0, 0, 0, 2];
        assert_eq!([0, 4, 8, 12, 16].map(|at| word(&buffer, at)), expected);
        for (at, guid) in [(24, SECRETS), (56, METHODS)] {
            assert_eq!(buffer[at..at + 16], *guid.as_bytes());
            // WMIREG_FLAG_INSTANCE_PDO
            assert_eq!((word(&buffer, at + 16), word(&buffer, at + 20)), (0x20, 1), "flags, instances");
            assert_eq!(buffer[at + 24..at + 32], [0; 8], "Pdo");
        }
        assert_eq!(buffer[88..], [0xee; 12]);
    }
}

#[test]
fn a_registration_that_does_not_fit_says_how_much_it_takes() {
    for length in 0..88 {
        let mut buffer = vec![0xee; length];

        let completion = call(0x0b, &SECRETS, &mut buffer);

        let told = if length < 4 { 0 } else { 4 };
        assert_eq!((completion.status, completion.transferred), (SrbStatus::DATA_OVERRUN, told as u32));
        assert_eq!(buffer[..told], 88u32.to_le_bytes()[..told]);
        assert!(buffer[told..].iter().all(|byte| *byte == 0xee), "{length}");
    }
}

#[test]
fn a_guid_lies_in_memory_as_windows_has_it() {
    let expected =
        [0x86, 0x8b, 0x6a, 0x5b, 0x8d, 0x70, 0xc6, 0x4e, 0x82, 0xa6, 0x39, 0xad, 0xcf, 0x6f, 0x64, 0x33];

    assert_eq!(*METHODS.as_bytes(), expected);
}

#[test]
fn all_data_of_a_block_is_its_one_instance_of_fixed_size() {
    let mut buffer = [0xee; 100];
    set(&mut buffer, 44, 0x1 | STATIC_INSTANCE_NAMES);

    let completion = call(QUERY_ALL_DATA, &SECRETS, &mut buffer);

    assert_eq!(completion, Completion::success(64 + 13));
    assert_eq!(word(&buffer, 0), 77, "BufferSize");
    assert_eq!(buffer[16..24], NOW.to_le_bytes());
    assert_eq!(word(&buffer, 44), 0x91, "static names stay, and the instances have one size");
    assert_eq!([48, 52, 60].map(|at| word(&buffer, at)), [64, 1, 13]);
    assert_eq!(buffer[64..77], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]);
    assert_eq!(buffer[77..], [0xee; 23]);
}

#[test]
fn where_wmi_says_where_the_data_of_all_instances_goes_it_goes_there() {
    for (asked, expected) in [(0, 64), (63, 64), (64, 64), (72, 72), (76, 64), (0xffff_fff8, 64)] {
        let mut buffer = [0; 100];
        set(&mut buffer, 48, asked);

        let completion = call(QUERY_ALL_DATA, &SECRETS, &mut buffer);

        assert_eq!(completion, Completion::success(expected + 13));
        assert_eq!(word(&buffer, 48), expected, "{asked:#x}");
    }
}

#[test]
fn a_single_instance_goes_where_wmi_says() {
    let mut buffer = single_instance(120, 88);

    let completion = call(QUERY_SINGLE_INSTANCE, &SECRETS, &mut buffer);

    assert_eq!(completion, Completion::success(101));
    assert_eq!((word(&buffer, 0), word(&buffer, 56), word(&buffer, 60)), (101, 88, 13));
    assert_eq!(buffer[88..101], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]);
    assert_eq!((&buffer[64..88], &buffer[101..]), (&[0xee; 24][..], &[0xee; 19][..]));
}

#[test]
fn a_block_that_has_methods_only_has_an_instance_without_data() {
    let mut buffer = single_instance(64, 64);

    let completion = call(QUERY_SINGLE_INSTANCE, &METHODS, &mut buffer);

    assert_eq!(completion, Completion::success(64));
    assert_eq!(word(&buffer, 60), 0);
}

#[test]
fn the_output_of_a_method_takes_the_place_of_its_input() {
    let mut buffer = method_item(100, 1, 72, &[0, 0, 0, 5]);

    let completion = call(EXECUTE_METHOD, &METHODS, &mut buffer);

    assert_eq!(completion, Completion::success(77));
    assert_eq!((word(&buffer, 0), word(&buffer, 60), word(&buffer, 64)), (77, 72, 5));
    assert_eq!(buffer[72..78], [1, 2, 3, 4, 5, 0xee]);
}

#[test]
fn a_method_without_output_ends_with_the_structure_wherever_its_data_would_be() {
    for at in [0, 72, 1000] {
        let mut buffer = method_item(72, 2, at, &[]);

        let completion = call(EXECUTE_METHOD, &METHODS, &mut buffer);

        assert_eq!(completion, Completion::success(72), "{at}");
        assert_eq!((word(&buffer, 60), word(&buffer, 64)), (at, 0));
    }
}

#[test]
fn a_buffer_of_the_size_that_was_asked_for_is_large_enough() {
    type Request = (u8, Guid, usize, fn(usize) -> Vec<u8>);
    let requests: [Request; 3] = [
        (QUERY_ALL_DATA, SECRETS, 0, |length| {
            let mut buffer = vec![0; length];
            set(&mut buffer, 44, 1);
            buffer
        }),
        (QUERY_SINGLE_INSTANCE, SECRETS, 0, |length| single_instance(length, 64)),
        // WMI has room for the input at least.
        (EXECUTE_METHOD, METHODS, 76, |length| method_item(length, 1, 72, &[0, 0, 0, 200])),
    ];
    for (sub_function, guid, shortest, request) in requests {
        for length in shortest..300 {
            let mut buffer = request(length);
            let before = buffer.clone();

            let completion = call(sub_function, &guid, &mut buffer);

            let is_too_small = length >= 56 && word(&buffer, 44) == 0x20;
            match completion.status {
                SrbStatus::SUCCESS if is_too_small => {
                    assert_eq!((completion.transferred, word(&buffer, 0)), (56, 56));
                    let needed = word(&buffer, 48) as usize;
                    assert!(needed > length, "{needed} for {length}");
                    let mut larger = request(needed);
                    let again = call(sub_function, &guid, &mut larger);
                    assert_eq!((again.status, again.transferred), (SrbStatus::SUCCESS, needed as u32));
                    assert_ne!(word(&larger, 44), 0x20, "{sub_function} with {length}, then {needed}");
                }
                SrbStatus::SUCCESS => assert_eq!(word(&buffer, 0), completion.transferred),
                status => {
                    assert_eq!((status, completion.transferred), (SrbStatus::DATA_OVERRUN, 0));
                    assert!(length < 56 && buffer == before);
                }
            }
        }
    }
}

#[test]
fn what_there_is_not_is_an_error_and_the_buffer_stays() {
    let stranger = Guid::new(0x1234_5678, 0x9abc, 0xdef0, [1, 2, 3, 4, 5, 6, 7, 9]);
    let mut other_instance = single_instance(100, 64);
    set(&mut other_instance, 52, 1);
    let mut by_name = single_instance(100, 64);
    set(&mut by_name, 44, 0x2);
    let with_input = |input: &[u8]| method_item(100, 1, 72, input);
    let mut other_instance_of_method = with_input(&[0, 0, 0, 1]);
    set(&mut other_instance_of_method, 52, 1);
    let mut input_too_long = with_input(&[0, 0, 0, 1]);
    set(&mut input_too_long, 64, 29);
    let table = [
        (QUERY_ALL_DATA, stranger, vec![0; 100]),
        (QUERY_SINGLE_INSTANCE, stranger, single_instance(100, 64)),
        (QUERY_SINGLE_INSTANCE, SECRETS, other_instance),
        (QUERY_SINGLE_INSTANCE, SECRETS, by_name),
        (QUERY_SINGLE_INSTANCE, SECRETS, single_instance(100, 63)),
        (QUERY_SINGLE_INSTANCE, SECRETS, single_instance(100, 0xffff_fff8)),
        (EXECUTE_METHOD, stranger, with_input(&[0, 0, 0, 1])),
        (EXECUTE_METHOD, SECRETS, with_input(&[0, 0, 0, 1])),
        (EXECUTE_METHOD, METHODS, method_item(100, 3, 72, &[0, 0, 0, 1])),
        (EXECUTE_METHOD, METHODS, with_input(&[0, 0, 1])),
        (EXECUTE_METHOD, METHODS, with_input(&[])),
        (EXECUTE_METHOD, METHODS, other_instance_of_method),
        (EXECUTE_METHOD, METHODS, input_too_long),
        (EXECUTE_METHOD, METHODS, method_item(100, 1, 64, &[0, 0, 0, 1])),
        // All is read-only.
        (0x02, SECRETS, single_instance(100, 64)),
        (0x03, SECRETS, single_instance(100, 64)),
        (0x04, stranger, vec![0; 48]),
    ];
    for (number, (sub_function, guid, mut buffer)) in table.into_iter().enumerate() {
        let before = buffer.clone();

        let completion = call(sub_function, &guid, &mut buffer);

        assert_eq!(completion, Completion::failed(SrbStatus::ERROR), "row {number}");
        assert_eq!(buffer, before, "row {number}");
    }
}

#[test]
fn events_and_collections_of_a_known_block_are_nothing_to_do() {
    for sub_function in 0x04..=0x07 {
        let mut buffer = [0xee; 48];

        let completion = call(sub_function, &METHODS, &mut buffer);

        assert_eq!(completion, Completion::success(0));
        assert_eq!(buffer, [0xee; 48]);
    }
}

#[test]
fn what_nobody_has_heard_of_is_an_invalid_request() {
    for sub_function in (0x0a..=0xff).filter(|number| *number != 0x0b) {
        let mut buffer = [0xee; 100];

        let completion = call(sub_function, &SECRETS, &mut buffer);

        assert_eq!(completion, Completion::failed(SrbStatus::INVALID_REQUEST), "{sub_function:#x}");
        assert_eq!(buffer, [0xee; 100]);
    }
}

#[test]
fn a_request_without_a_path_is_about_no_block() {
    let mut buffer = [0; 100];

    let completion = Call::new(Operation::QueryAllData, None, &mut buffer).answer(&Oracle, || NOW);

    assert_eq!(completion, Completion::failed(SrbStatus::ERROR));
}

/// Splitmix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Each field of each structure is sometimes what it should be, sometimes at a limit, sometimes anything; buffers have every
/// length. Nothing is written but what is said to be there.
#[test]
fn no_number_in_a_request_makes_anything_be_written_that_is_not_told() {
    let rounds = if cfg!(miri) { 2_000 } else { 400_000 };
    let mut state = 12;
    for _ in 0..rounds {
        let length = (next(&mut state) % 400) as usize;
        let mut buffer: Vec<u8> = (0..length).map(|_| next(&mut state) as u8).collect();
        for at in [0, 44, 48, 52, 56, 60, 64] {
            let value = match next(&mut state) % 8 {
                0 => 0,
                1 => next(&mut state) as u32,
                2 => u32::MAX - (next(&mut state) % 80) as u32,
                3 => (length as u32).wrapping_sub((next(&mut state) % 20) as u32),
                4 => 64,
                5 => 72,
                6 => (next(&mut state) % 8) as u32,
                _ => STATIC_INSTANCE_NAMES,
            };
            set(&mut buffer, at, value);
        }
        let guid = [SECRETS, METHODS][(next(&mut state) % 2) as usize];
        let sub_function = (next(&mut state) % 14) as u8;
        let before = buffer.clone();

        let completion = call(sub_function, &guid, &mut buffer);

        let told = completion.transferred as usize;
        assert!(told <= length, "{completion:?} in {length}");
        assert_eq!(buffer[told..], before[told..], "{sub_function:#x} {completion:?}");
    }
}
