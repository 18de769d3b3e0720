//! `srb-functions`: every SRB function that Storport may send, also with addresses where nothing is and with functions that
//! do not exist. Each ends once with a status that says what happened; nothing is reported as done that was not done.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use stand::cmdline::Options;
use stand::scsi;
use stand::wdk::codes::*;
use stand::wdk::srb::Extra;

use crate::cpu::irql;
use crate::memory::driver;
use crate::memory::{PAGE, arena};
use crate::pass::buffer::Buffer;
use crate::scan::class::{self, Outcome};
use crate::scan::{DISK, Unit};
use crate::storport::request::{Answer, Data, Request};
use crate::storport::{Address, ladder, port, queue, start};

const TIMEOUT: u32 = 8;
/// STOR_DEVICE_CAPABILITIES is two words, the second full of flags.
const CAPABILITIES_BYTES: u32 = 8;
/// STOR_DEVICE_CAPABILITIES_EX goes on behind them. Version and size are Storport's to fill in.
const FULL_CAPABILITIES_BYTES: u32 = 24;
const FULL_CAPABILITIES_HEAD: u32 = FULL_CAPABILITIES_BYTES << 16 | 1;

pub(super) fn status(answer: &Answer) -> u8 {
    answer.srb_status & 0x3F
}

pub(super) fn send(address: Address, function: u8, extra: Extra, data: Data) -> Answer {
    queue::execute(Request::other(address, function, extra, data, TIMEOUT)).answer
}

/// Statuses that mean "I do not do this", as far as they are documented for a request that is not supported
/// (ns-srb-_storage_request_block.md).
pub(super) fn is_refusal(status: u8) -> bool {
    const BAD_FUNCTION: u8 = 0x22;
    matches!(status, SRB_STATUS_INVALID_REQUEST | BAD_FUNCTION | SRB_STATUS_ERROR)
}

/// Statuses that mean "nobody is there".
fn is_absence(status: u8) -> bool {
    matches!(
        status,
        SRB_STATUS_NO_DEVICE
            | SRB_STATUS_SELECTION_TIMEOUT
            | SRB_STATUS_INVALID_PATH_ID
            | SRB_STATUS_INVALID_TARGET_ID
            | SRB_STATUS_INVALID_LUN
    )
}

/// All functions, then commands to addresses without a unit.
pub fn run(units: &[Unit], options: &Options) {
    let Some(disk) = units.iter().find(|unit| unit.inquiry.device_type == DISK && unit.capacity.is_some())
    else {
        crate::skip!("srb-functions", "there is no disk");
        return;
    };
    configuration();
    abort(disk);
    known(disk.address);
    unknown(disk.address);
    plug_and_play(disk.address);
    io_control(disk.address);
    firmware(disk.address);
    super::wmi::run(disk.address, options);
    absent(units);
    let after = class::ready(disk.address);
    crate::console::check(
        matches!(after, Outcome::Good),
        "unit-ready-after-all",
        format_args!("{}: {after}", class::name(disk.address)),
    );
}

/// What the functions begin with: the configuration that the port driver handed over is still its own where it says so
/// (ns-storport-_port_configuration_information.md).
fn configuration() {
    // There is this one only, and a miniport must say so (ns-storport-_hw_initialization_data~r1.md).
    let address_types = port().hw.address_type_flags;
    crate::console::check(
        address_types == ADDRESS_TYPE_FLAG_BTL8,
        "address-type",
        format_args!("AddressTypeFlags is {address_types:#x}"),
    );
    let changed = start::changed_members();
    crate::console::check(
        changed.is_empty(),
        "port-drivers-members",
        format_args!("of the configuration; changed: {}", changed.join(", ")),
    );
}

/// An abort of a command that has just gone out: whichever comes first, it ends once.
fn abort(disk: &Unit) {
    let Some(capacity) = disk.capacity else { return };
    if !ladder::may_abort(&port()) {
        crate::skip!("abort-of-a-read", "the driver does not ask for ABORT_COMMAND");
        return;
    }
    let buffer = Buffer::new(capacity.block_size, 0);
    let command = scsi::transfer(false, 0, 1, false);
    let mut read = Request::new(disk.address, command, buffer.part(0, buffer.length), TIMEOUT);
    let tag = queue::number(&mut read);
    // Nothing on this processor comes between the two.
    let irql = irql::raise(irql::DISPATCH);
    queue::start_now(read);
    let abort = ladder::abort_of(tag).map(|mut abort| {
        let tag = queue::number(&mut abort);
        queue::start_now(abort);
        tag
    });
    irql::set(irql);
    let mut ended = Vec::new();
    let all = queue::wait(u64::from(TIMEOUT) * 1000, || {
        ended.extend(queue::take_done(|_| true));
        ended.len() == 1 + usize::from(abort.is_some())
    });
    let status_of = |tag| ended.iter().find(|one| one.tag == tag).map(|one| status(&one.answer));
    let right = match (status_of(tag), abort.and_then(status_of)) {
        (Some(SRB_STATUS_ABORTED), Some(SRB_STATUS_SUCCESS)) => true,
        (Some(SRB_STATUS_SUCCESS), of_abort) => {
            matches!(of_abort, None | Some(SRB_STATUS_SUCCESS | SRB_STATUS_ABORT_FAILED))
        }
        _ => false,
    };
    let texts: Vec<String> =
        ended.iter().map(|one| format!("{}: {}", one.command.name, one.answer.text())).collect();
    crate::console::check(all && right, "abort-of-a-read", format_args!("{}", texts.join("; ")));
}

/// Functions with a meaning for every disk: they must succeed.
fn known(address: Address) {
    for function in [
        SRB_FUNCTION_FLUSH,
        SRB_FUNCTION_SHUTDOWN,
        SRB_FUNCTION_RESET_LOGICAL_UNIT,
        SRB_FUNCTION_RESET_DEVICE,
    ] {
        let answer = send(address, function, Extra::None, Data::default());
        let name = stand::wdk::names::srb_function(function);
        crate::console::check(
            status(&answer) == SRB_STATUS_SUCCESS,
            "srb-function",
            format_args!("{name}: {}", answer.text()),
        );
        // A reset is news for the unit, which the next command brings.
        class::ready(address);
    }
    // Only one of the two need work: Storport has HwStorResetBus for the bus.
    let answer = send(address, SRB_FUNCTION_RESET_BUS, Extra::None, Data::default());
    let known = status(&answer) == SRB_STATUS_SUCCESS || is_refusal(status(&answer));
    crate::console::check(known, "srb-function", format_args!("RESET_BUS: {}", answer.text()));
    class::ready(address);
}

/// Functions that nobody has, and such that need what is not there: all refused.
fn unknown(address: Address) {
    let mut wrong = Vec::new();
    // ABORT_COMMAND without a command to abort, TERMINATE_IO, and numbers without a meaning.
    for function in [SRB_FUNCTION_ABORT_COMMAND, 0x14, 0x03, 0x29, 0x3F, 0x7E, 0xC0, 0xFF] {
        let answer = send(address, function, Extra::None, Data::default());
        // What a miniport says that knows the function and does not find the command (ns-srb-_scsi_request_block.md).
        let not_found = function == SRB_FUNCTION_ABORT_COMMAND && status(&answer) == SRB_STATUS_ABORT_FAILED;
        if !is_refusal(status(&answer)) && !not_found {
            wrong.push(format!("{function:#04x}: {}", answer.text()));
        }
    }
    crate::console::check(
        wrong.is_empty(),
        "unknown-srb-functions-refused",
        format_args!("8 functions; {}", wrong.join("; ")),
    );
}

/// PnP and power requests: queries may be refused, news may not be.
fn plug_and_play(address: Address) {
    for adapter in [false, true] {
        query_capabilities(address, adapter);
    }

    for (state, action) in
        [(STOR_POWER_DEVICE_D3, STOR_POWER_ACTION_SLEEP), (STOR_POWER_DEVICE_D0, STOR_POWER_ACTION_NONE)]
    {
        let answer = send(
            address,
            SRB_FUNCTION_POWER,
            Extra::Power { state, action, adapter: false },
            Data::default(),
        );
        let fine = status(&answer) == SRB_STATUS_SUCCESS || is_refusal(status(&answer));
        crate::console::check(fine, "unit-power", format_args!("to D{}: {}", state - 1, answer.text()));
    }
}

/// What may be done with a unit or the adapter. A miniport that asked for the full structure at StorPortInitialize gets it
/// (ns-storport-_stor_device_capabilities_ex.md). Storport has filled it in with what it knows, of an adapter what the bus says,
/// and takes back what the miniport changed: only flags that are the miniport's to know. The structure ends where its page
/// ends.
fn query_capabilities(address: Address, adapter: bool) {
    /// UniqueID, and Removable as a slot has it that devices are plugged into.
    const KNOWN: u32 = 1 << 6 | 1 << 4;
    /// What a miniport says of a unit: LockSupported, EjectSupported, Removable, RawDeviceOK, SurpriseRemovalOK,
    /// DefaultWriteCacheEnabled.
    const OF_A_UNIT: u32 = 0b111 << 2 | 0b11 << 8 | 1 << 11;
    /// Of an adapter, that it may go without notice; before the full structure the bit was another one.
    const OF_AN_ADAPTER: u32 = 0b11 << 8;
    /// Address and UINumber.
    const REST: [u32; 4] = [0x0005_0003, 7, 0, 0];
    let full = port().hw.feature_support & STOR_FEATURE_FULL_PNP_DEVICE_CAPABILITIES != 0;
    let (length, head) =
        if full { (FULL_CAPABILITIES_BYTES, FULL_CAPABILITIES_HEAD) } else { (CAPABILITIES_BYTES, 1) };
    let Some(range) = arena::scattered(PAGE) else { return };
    let place = range.address + PAGE - u64::from(length);
    driver::fill("class", place, 0, length as usize);
    driver::write("class", place, [head, KNOWN]);
    if full {
        driver::write("class", place + 8, REST);
    }
    let extra = Extra::Pnp { action: STOR_QUERY_CAPABILITIES, adapter };
    let answer = send(address, SRB_FUNCTION_PNP, extra, Data { address: place, length });
    let done = status(&answer) == SRB_STATUS_SUCCESS;
    let [head_after, flags]: [u32; 2] = driver::read("class", place);
    let text = if done { format!("{length} bytes, flags {flags:#x}") } else { answer.text() };
    let fine = if done {
        let open = if adapter { OF_AN_ADAPTER } else { OF_A_UNIT };
        let kept = !full || driver::read::<[u32; 4]>("class", place + 8) == REST;
        head_after == head && (flags ^ KNOWN) & !open == 0 && kept
    } else {
        // Who asked for the full structure fills it in.
        is_refusal(status(&answer)) && !full
    };
    let of = if adapter { "adapter" } else { "unit" };
    crate::console::check(fine, "pnp-query-capabilities", format_args!("{of}: {text}"));
    arena::release(range);
}

/// Miniport IOCTLs (SRB_IO_CONTROL): an unknown signature is refused, and nothing is written that was not asked for.
fn io_control(address: Address) {
    /// Header, signature, time-out, control code, return code, length.
    const HEADER: u64 = 28;
    const LENGTH: u32 = 256;
    let Some(range) = arena::scattered(u64::from(LENGTH)) else { return };
    let mut wrong: Vec<String> = Vec::new();
    for signature in [*b"NOBODY!!", *b"FIRMWARE", *b"SCSIDISK", [0; 8]] {
        driver::fill("class", range.address, 0x5A, LENGTH as usize);
        driver::write("class", range.address, HEADER as u32);
        driver::put("class", range.address + 4, &signature);
        driver::write("class", range.address + 12, [TIMEOUT, 0x001B_0501, 0, LENGTH - HEADER as u32]);
        let data = Data { address: range.address, length: LENGTH };
        let answer = send(address, SRB_FUNCTION_IO_CONTROL, Extra::None, data);
        let name = scsi::text(&signature);
        if is_refusal(status(&answer)) {
            continue;
        }
        let header: [u32; 7] = driver::read("class", range.address);
        // A miniport that knows the signature answers in ReturnCode.
        if status(&answer) != SRB_STATUS_SUCCESS || name == "NOBODY!!" || header[5] == 0 && name.is_empty() {
            wrong.push(format!("'{name}': {}, return code {:#x}", answer.text(), header[5]));
        }
    }
    arena::release(range);
    crate::console::check(wrong.is_empty(), "io-control", format_args!("4 signatures; {}", wrong.join("; ")));
}

/// The firmware request that Windows sends to any miniport: whatever the answer, it lies within what was sent, and the
/// lengths in the header are not believed (ns-ntddscsi-_srb_io_control.md).
fn firmware(address: Address) {
    const HEADER: u32 = 28;
    const REQUEST: u32 = 24;
    const IOCTL_SCSI_MINIPORT_FIRMWARE: u32 = 0x001B_0780;
    let Some(range) = arena::scattered(PAGE) else { return };
    let mut wrong: Vec<String> = Vec::new();
    // How long the buffer is, what the header says of its own length, and of that of the data.
    for (length, header, data) in [
        (HEADER + REQUEST + 256, HEADER, REQUEST + 256),
        (HEADER + REQUEST, HEADER, REQUEST),
        (HEADER + REQUEST, HEADER, u32::MAX - HEADER + 1),
        (HEADER + REQUEST, HEADER, PAGE as u32),
        (HEADER + REQUEST, u32::MAX, REQUEST),
        (HEADER + 4, HEADER, 4),
        (HEADER, HEADER, 0),
        (HEADER - 4, HEADER, 0),
        (4, HEADER, 0),
    ] {
        // The buffer ends where its page ends.
        let place = range.address + PAGE - u64::from(length);
        let mut bytes = Vec::new();
        bytes.extend(header.to_le_bytes());
        bytes.extend(*b"FIRMWARE");
        for word in [TIMEOUT, IOCTL_SCSI_MINIPORT_FIRMWARE, 0xFFFF, data] {
            bytes.extend(word.to_le_bytes());
        }
        // FIRMWARE_FUNCTION_GET_INFO of the controller, into what follows.
        let room = length.saturating_sub(HEADER + REQUEST);
        for word in [1, REQUEST, 1, 1, HEADER + REQUEST, room] {
            bytes.extend(u32::to_le_bytes(word));
        }
        bytes.resize(bytes.len().max(length as usize), 0);
        driver::put("class", place, &bytes[..length as usize]);
        let answer = send(address, SRB_FUNCTION_IO_CONTROL, Extra::None, Data { address: place, length });
        let honest = match status(&answer) {
            SRB_STATUS_SUCCESS => {
                let sound = header == HEADER && length >= HEADER && data <= length - HEADER;
                sound && driver::read::<u32>("class", place + 20) != 0xFFFF
            }
            other => is_refusal(other),
        };
        if !honest {
            wrong.push(format!("{length} bytes, header {header:#x}, data {data:#x}: {}", answer.text()));
        }
    }
    arena::release(range);
    crate::console::check(
        wrong.is_empty(),
        "io-control-firmware",
        format_args!("9 requests; {}", wrong.join("; ")),
    );
}

/// Commands and resets to addresses where nothing is.
fn absent(units: &[Unit]) {
    let (targets, luns) = {
        let config = &port().config;
        (config.maximum_number_of_targets, config.maximum_number_of_logical_units)
    };
    let there = |address: Address| units.iter().any(|unit| unit.address == address);
    let mut wrong: Vec<String> = Vec::new();
    let mut tried = 0;
    for address in [
        (0, targets.wrapping_sub(1), 0),
        (0, 0, luns.wrapping_sub(1)),
        (0, targets, 0),
        (0, 0xFE, 0xFE),
        (1, 0, 0),
        (0xFE, 0, 0),
    ] {
        if there(address) {
            continue;
        }
        tried += 1;
        let name = class::name(address);
        let try_it = || {
            queue::execute(Request::new(address, scsi::test_unit_ready(), Data::default(), TIMEOUT)).answer
        };
        let mut ready = try_it();
        if ready.sense().is_some_and(|sense| sense.key == scsi::UNIT_ATTENTION) {
            // The resets before this are news for the target's other units as well.
            ready = try_it();
        }
        // A target that is there answers for LUNs that are not: ILLEGAL REQUEST 25/00 (SPC-4 6.4.1).
        let no_such_unit = ready.sense().is_some_and(|sense| (sense.key, sense.asc) == (5, 0x25));
        if !is_absence(status(&ready)) && !no_such_unit {
            wrong.push(format!("TEST UNIT READY to {name}: {}", ready.text()));
        }
        let flush = send(address, SRB_FUNCTION_FLUSH, Extra::None, Data::default());
        let known =
            is_absence(status(&flush)) || is_refusal(status(&flush)) || status(&flush) == SRB_STATUS_SUCCESS;
        if !known {
            wrong.push(format!("FLUSH to {name}: {}", flush.text()));
        }
    }
    crate::console::check(
        wrong.is_empty(),
        "absent-units",
        format_args!("{tried} addresses; {}", wrong.join("; ")),
    );
}
