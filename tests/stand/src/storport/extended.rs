//! StorPortExtendedFunction: the second variadic function. Each function's page is nf-storport-storport….md.

use alloc::vec::Vec;

use stand::cmdline::Targets;
use stand::wdk::calls;
use stand::wdk::codes::*;
use stand::wdk::config::{MessageInterruptInformation, PerfConfiguration, StartIoParameters};
use stand::wdk::names;
use stand::wdk::srb::Btl8;

use super::lock::{self, MESSAGE_LOCK};
use super::{Phase, interrupt, port};
use crate::cpu::arguments::Arguments;
use crate::cpu::lock::Lock;
use crate::cpu::{clock, irql, percpu, smp};
use crate::kernel::dpc::{Item, Locks};
use crate::kernel::{export, pool, processor, timer};
use crate::memory::driver;
use crate::pci::msix;

const NAME: &str = "StorPortExtendedFunction";

/// Optimisations this host knows.
const PERF_KNOWN: u32 = STOR_PERF_DPC_REDIRECTION
    | STOR_PERF_CONCURRENT_CHANNELS
    | STOR_PERF_INTERRUPT_MESSAGE_RANGES
    | STOR_PERF_ADV_CONFIG_LOCALITY
    | STOR_PERF_OPTIMIZE_FOR_COMPLETION_DURING_STARTIO
    | STOR_PERF_DPC_REDIRECTION_CURRENT_CPU;

/// Units that log entries were about: target and LUN.
static LOGGED_UNITS: Lock<Vec<(u32, u32)>> = Lock::new(Vec::new());

/// Takes the units that log entries were about so far.
pub fn take_logged_units() -> Vec<(u32, u32)> {
    core::mem::take(&mut *LOGGED_UNITS.lock())
}

/// The export.
pub fn extended_function(a: Arguments) -> u64 {
    let code = a.get(0) & 0xFFFF_FFFF;
    super::adapter(names::extended_function(code), a.get(1));
    let status = match code {
        0 => allocate_pool(a),
        1 => free_pool(a, argument!(a, "FreePool", "BufferPointer")),
        11 => {
            let old = lock::acquire(MESSAGE_LOCK, argument!(a, "AcquireMSISpinLock", "MessageId"));
            driver::write(NAME, argument!(a, "AcquireMSISpinLock", "OldIrql"), u32::from(old));
            STOR_STATUS_SUCCESS
        }
        12 => {
            let old = argument!(a, "ReleaseMSISpinLock", "OldIrql") as u8;
            lock::release(MESSAGE_LOCK, argument!(a, "ReleaseMSISpinLock", "MessageId"), old);
            STOR_STATUS_SUCCESS
        }
        13 => message_information(a),
        14 => perf_options(a),
        15 => start_io_parameters(a),
        16 => log_event(a),
        17 => {
            put(argument!(a, "GetCurrentProcessorNumber", "ProcNumber"), processor::number(percpu::number()))
        }
        18 => put(argument!(a, "GetActiveGroupCount", "NumberGroups"), processor::groups() as u16),
        19 => match processor::mask(argument!(a, "GetGroupAffinity", "GroupNumber") as u16) {
            0 => STOR_STATUS_INVALID_PARAMETER,
            mask => put(argument!(a, "GetGroupAffinity", "GroupAffinityMask"), mask),
        },
        20 => put(argument!(a, "GetActiveNodeCount", "NumberNodes"), 1u32),
        21 => match argument!(a, "GetNodeAffinity", "NodeNumber") {
            0 => put(argument!(a, "GetNodeAffinity", "NodeAffinityMask"), [processor::mask(0), 0]),
            _ => STOR_STATUS_INVALID_PARAMETER,
        },
        22 => put(argument!(a, "GetHighestNodeNumber", "HighestNode"), 0u32),
        24 => {
            let bytes = argument!(a, "AllocateContiguousMemorySpecifyCacheNode", "NumberOfBytes");
            let address = pool::contiguous("StorPortAllocateContiguousMemorySpecifyCacheNode", bytes);
            let place = argument!(a, "AllocateContiguousMemorySpecifyCacheNode", "BufferPointer");
            driver::write(NAME, place, address);
            if address == 0 { STOR_STATUS_INSUFFICIENT_RESOURCES } else { STOR_STATUS_SUCCESS }
        }
        25 => free_pool(a, argument!(a, "FreeContiguousMemorySpecifyCache", "BaseAddress")),
        28 => STOR_STATUS_NOT_IMPLEMENTED,
        29 | 32 => make_object(a, if code == 29 { "worker" } else { "timer" }),
        30 => queue_work(a),
        31 | 34 => free_object(a),
        33 => request_timer(a),
        // Singly linked lists: the header is 16 bytes, depth in the first word, first entry in the second.
        35 => {
            driver::write(NAME, argument!(a, "InitializeSListHead", "SListHead"), [0u64; 2]);
            STOR_STATUS_SUCCESS
        }
        36..=39 => list(code, a),
        40 => STOR_STATUS_INVALID_DEVICE_REQUEST,
        // Its Port member is what is written (nf-storport-storportgetsystemportnumber.md).
        41 => {
            let address = argument!(a, "GetSystemPortNumber", "Address");
            put(address + core::mem::offset_of!(Btl8, port) as u64, 0u16)
        }
        46 => unit_attributes(a),
        47 => {
            let frequency = argument!(a, "QueryPerformanceCounter", "PerformanceFrequency");
            driver::write_optional(NAME, frequency, 10_000_000u64);
            put(argument!(a, "QueryPerformanceCounter", "PerformanceCounter"), clock::microseconds() * 10)
        }
        // nf-storport-storportisdeviceoperationallowed.md
        55 => put(argument!(a, "DeviceOperationAllowed", "AllowedFlag"), 1u32),
        56 => match processor::index(driver::read(
            NAME,
            argument!(a, "GetProcessorIndexFromNumber", "ProcessorNumber"),
        )) {
            Some(index) => put(argument!(a, "GetProcessorIndexFromNumber", "ProcessorIndex"), index),
            None => STOR_STATUS_INVALID_PARAMETER,
        },
        58..=60 => etw(code, a),
        61 => put(argument!(a, "CurrentOsInstallationUpgrade", "Upgraded"), 0u8),
        64 => STOR_STATUS_SUCCESS,
        79 => STOR_STATUS_SUCCESS,
        75 => put(argument!(a, "InitializeSpinlock", "Lock"), 0u64),
        80 => STOR_STATUS_SUCCESS,
        // Power framework, RPMB, crypto, host memory buffer, ACPI, passthrough of MDLs: not on this machine.
        2..=10 | 23 | 26 | 27 | 42..=45 | 48..=54 | 57 | 62 | 63 | 65..=74 | 76..=78 => {
            crate::note!(
                "{} is not implemented by the stand and says so to the driver",
                names::extended_function(code)
            );
            STOR_STATUS_NOT_IMPLEMENTED
        }
        _ => {
            // Windows versions that do not know a function answer this, so a driver must cope; it is recorded.
            crate::driver_log!(NAME, "unknown function {code} in {}", export::whereabouts(a));
            STOR_STATUS_NOT_IMPLEMENTED
        }
    };
    u64::from(status)
}

fn put<T: Copy>(address: u64, value: T) -> u32 {
    if address == 0 {
        return STOR_STATUS_INVALID_PARAMETER;
    }
    driver::write(NAME, address, value);
    STOR_STATUS_SUCCESS
}

/// AllocatePool(NumberOfBytes, Tag, BufferPointer): non-paged, at DISPATCH_LEVEL at most.
fn allocate_pool(a: Arguments) -> u32 {
    let bytes = argument!(a, "AllocatePool", "NumberOfBytes");
    let tag = argument!(a, "AllocatePool", "Tag");
    let address = pool::allocate("StorPortAllocatePool", bytes, tag, false, false);
    driver::write(NAME, argument!(a, "AllocatePool", "BufferPointer"), address);
    if address == 0 { STOR_STATUS_INSUFFICIENT_RESOURCES } else { STOR_STATUS_SUCCESS }
}

fn free_pool(a: Arguments, block: u64) -> u32 {
    if pool::release(block) {
        STOR_STATUS_SUCCESS
    } else {
        crate::broken!("bad-free", "{block:#x} is no block of pool, in {}", export::whereabouts(a))
    }
}

/// GetMessageInterruptInformation(MessageId, InterruptInfo): nf-storport-storportgetmsiinfo.md.
fn message_information(a: Arguments) -> u32 {
    let id = argument!(a, "GetMessageInterruptInformation", "MessageId");
    let place = argument!(a, "GetMessageInterruptInformation", "InterruptInfo");
    let (messages, has) = {
        let port = port();
        (u64::from(port.messages), port.table.is_some())
    };
    if !has {
        return STOR_STATUS_INVALID_DEVICE_REQUEST;
    }
    if place == 0 || id >= messages {
        return STOR_STATUS_INVALID_PARAMETER;
    }
    let (address, data, vector) = interrupt::message(id as u16);
    let information = MessageInterruptInformation {
        message_id: id as u32,
        message_data: data,
        message_address: address,
        interrupt_vector: u32::from(vector),
        interrupt_level: u32::from(lock::message_level(id)),
        interrupt_mode: LATCHED,
        reserved: 0,
    };
    put(place, information)
}

/// InitializePerformanceOptimizations(Query, PerfConfigData): only in HwStorInitialize and passive initialisation;
/// unknown flags fail (nf-storport-storportinitializeperfopts.md).
fn perf_options(a: Arguments) -> u32 {
    let query = argument!(a, "InitializePerformanceOptimizations", "Query") & 0xFF != 0;
    let address = argument!(a, "InitializePerformanceOptimizations", "PerfConfigData");
    if address == 0 {
        return STOR_STATUS_INVALID_PARAMETER;
    }
    // Versions before 3 end before DeviceNode; only what every version has is touched unless it is larger.
    let head: [u32; 6] = driver::read(NAME, address);
    let [version, size, flags, channels, first, last] = head;
    let mut port = port();
    if !matches!(port.phase, Phase::Initialize | Phase::PassiveInitialize) {
        drop(port);
        crate::not_ok!("perf-opts-late", "StorPortInitializePerfOpts in {}", percpu::current_callback());
        return STOR_STATUS_UNSUCCESSFUL;
    }
    if !(1..=6).contains(&version) || size < 24 {
        return STOR_STATUS_UNSUCCESSFUL;
    }
    let mut known = PERF_KNOWN;
    if version < 3 {
        known &= !STOR_PERF_ADV_CONFIG_LOCALITY;
    }
    if version < 2 {
        known &= STOR_PERF_DPC_REDIRECTION;
    }
    if !port.message_interrupts {
        known &= !(STOR_PERF_INTERRUPT_MESSAGE_RANGES | STOR_PERF_ADV_CONFIG_LOCALITY);
    }
    if query {
        driver::write(NAME, address + 8, known);
        return STOR_STATUS_SUCCESS;
    }
    if flags & !known != 0 {
        drop(port);
        // The page says that this fails and how to ask first; who asks for what he was not offered did not read the answer.
        crate::not_ok!(
            "unknown-perf-flag",
            "StorPortInitializePerfOpts with flags {flags:#x}, of which {known:#x} are offered to version {version}"
        );
        return STOR_STATUS_UNSUCCESSFUL;
    }
    if flags & STOR_PERF_CONCURRENT_CHANNELS != 0 && channels == 0 {
        return STOR_STATUS_UNSUCCESSFUL;
    }
    if flags & STOR_PERF_INTERRUPT_MESSAGE_RANGES != 0 && (first > last || last >= u32::from(port.messages)) {
        return STOR_STATUS_UNSUCCESSFUL;
    }
    if flags & STOR_PERF_ADV_CONFIG_LOCALITY != 0 && size >= 40 {
        let whole: PerfConfiguration = driver::read(NAME, address);
        if whole.message_targets != 0 && port.targets != Targets::None {
            let first_element = if port.targets == Targets::Range { first } else { 0 };
            // One GROUP_AFFINITY (16 bytes) for each message of the range: the processor that serves it.
            for message in first..=last {
                let target = processor::affinity(msix::processor_of(message as u16));
                let element = u64::from(message - first_element);
                driver::write(NAME, whole.message_targets + 16 * element, target);
            }
        }
    }
    port.perf_flags = flags;
    port.channels = channels.max(1);
    port.first_message = first;
    STOR_STATUS_SUCCESS
}

/// GetStartIoPerformanceParameters(Srb, StartIoPerfParams).
fn start_io_parameters(a: Arguments) -> u32 {
    let srb = argument!(a, "GetStartIoPerformanceParameters", "Srb");
    let address = argument!(a, "GetStartIoPerformanceParameters", "StartIoPerfParams");
    if srb == 0 || address == 0 {
        return STOR_STATUS_INVALID_PARAMETER;
    }
    let port = port();
    if !port.active.contains_key(&srb) {
        drop(port);
        crate::not_ok!("srb-unknown", "StorPortGetStartIoPerfParams for {srb:#x}, which is no SRB");
        return STOR_STATUS_INVALID_PARAMETER;
    }
    if port.perf_flags == 0 {
        return STOR_STATUS_UNSUCCESSFUL;
    }
    let processor = percpu::current().number;
    let channel = processor % port.channels.max(1);
    let [version, size]: [u32; 2] = driver::read(NAME, address);
    let parameters = StartIoParameters {
        version,
        size,
        message_number: port.first_message + channel,
        channel_number: channel,
        initiating_processor: processor,
    };
    if size >= 20 && version >= 2 {
        driver::write(NAME, address, parameters);
    } else {
        driver::write(NAME, address, [version, size, parameters.message_number, channel]);
    }
    STOR_STATUS_SUCCESS
}

/// LogSystemEvent(LogDetails, MaximumSize): STOR_LOG_EVENT_DETAILS.
fn log_event(a: Arguments) -> u32 {
    const EVENT: &str = "StorPortLogSystemEvent";
    /// STOR_CURRENT_LOG_INTERFACE_REVISION; its low byte may be a later one's.
    const REVISION: u32 = 0x100;
    /// `sizeof(STOR_LOG_EVENT_DETAILS)`, and what data and texts may be together (ns-storport-_stor_log_event_details.md).
    const SIZE: u32 = 72;
    const MOST_DATA: u32 = 150;
    export::at_most(EVENT, irql::DISPATCH);
    let place = argument!(a, "LogSystemEvent", "LogDetails");
    let details: [u32; 11] = driver::read(EVENT, place);
    let [revision, size, flags, association] = [0, 1, 2, 3].map(|field| details[field]);
    if revision & !0xFF != REVISION || size != SIZE || flags != 0 || association > 2 {
        crate::not_ok!(
            "log-event-details",
            "revision {revision:#x}, {size} bytes, flags {flags:#x}, association {association}"
        );
        return STOR_STATUS_INVALID_PARAMETER;
    }
    if details[10] > MOST_DATA {
        crate::not_ok!("log-event-details", "{} bytes of data", details[10]);
    }
    let mut text = alloc::string::String::new();
    let count = driver::read::<u32>(EVENT, place + 56).min(16);
    let list = driver::read::<u64>(EVENT, place + 64);
    for index in 0..u64::from(if list == 0 { 0 } else { count }) {
        let string = driver::read::<u64>(EVENT, list + 8 * index);
        if string != 0 {
            text = text + " '" + &driver::wide_text(EVENT, string, 256) + "'";
        }
    }
    /// StorEventLunAssociation
    const LUN: u32 = 1;
    if association == LUN {
        LOGGED_UNITS.lock().push((details[5], details[6]));
    }
    crate::driver_log!(
        EVENT,
        "error code {:#x} unique id {:#x} for {}:{}:{}, {} bytes of data{text}",
        details[8],
        details[9],
        details[4],
        details[5],
        details[6],
        details[10]
    );
    STOR_STATUS_SUCCESS
}

/// MiniportEtwEvent2/4/8(Address, EventId, EventDescription, Keywords, Level, Opcode, Srb, name and value pairs).
fn etw(code: u64, a: Arguments) -> u32 {
    const EVENT: &str = "StorPortEtwEvent";
    /// STORPORT_ETW_MAX_DESCRIPTION_LENGTH and STORPORT_ETW_MAX_PARAM_NAME_LENGTH
    const LONGEST: (usize, usize) = (32, 16);
    export::at_most(EVENT, irql::DISPATCH);
    let pairs = 1u64 << (code - 57);
    // The same in all three, before the pairs.
    let id = argument!(a, "MiniportEtwEvent2", "EventId");
    let level = argument!(a, "MiniportEtwEvent2", "EventLevel");
    let description = argument!(a, "MiniportEtwEvent2", "EventDescription");
    let address = argument!(a, "MiniportEtwEvent2", "Address");
    const FIRST: usize = calls::place("MiniportEtwEvent2", "Parameter1Name").index;
    if address != 0 {
        let unit: Btl8 = driver::read(EVENT, address);
        if unit.kind != STOR_ADDRESS_TYPE_BTL8 || unit.address_length != 4 {
            crate::not_ok!("etw-address", "{EVENT} with an address of type {}", unit.kind);
        }
    }
    if description == 0 {
        return STOR_STATUS_INVALID_PARAMETER;
    }
    let mut text = driver::wide_text(EVENT, description, 64);
    let mut too_long = text.chars().count() > LONGEST.0;
    for pair in 0..pairs as usize {
        let name = a.get(FIRST + 2 * pair);
        if name != 0 {
            let label = driver::wide_text(EVENT, name, 64);
            too_long |= label.chars().count() > LONGEST.1;
            text = alloc::format!("{text} {label}={:#x}", a.get(FIRST + 1 + 2 * pair));
        }
    }
    crate::driver_log!(EVENT, "{id} (level {level}): {text}");
    // nf-storport-storportetwevent2.md: the event is not written then.
    if too_long {
        crate::not_ok!("etw-too-long", "{EVENT}: a text is longer than 32, or a name than 16 characters");
        return STOR_STATUS_INVALID_PARAMETER;
    }
    STOR_STATUS_SUCCESS
}

/// SetUnitAttributes(Address, Attributes): an address of the one kind there is, and no reserved bit
/// (nf-storport-storportsetunitattributes.md, ns-storport-_stor_unit_attributes.md).
fn unit_attributes(a: Arguments) -> u32 {
    const UNIT: &str = "StorPortSetUnitAttributes";
    const KNOWN: u32 = 0b1111;
    let place = argument!(a, "SetUnitAttributes", "Address");
    let attributes = argument!(a, "SetUnitAttributes", "Attributes") as u32;
    if place == 0 || attributes & !KNOWN != 0 {
        crate::not_ok!("unit-attributes", "{UNIT} with address {:#x}, attributes {attributes:#x}", place);
        return STOR_STATUS_INVALID_PARAMETER;
    }
    let address: Btl8 = driver::read(UNIT, place);
    if address.kind != STOR_ADDRESS_TYPE_BTL8 || address.address_length != 4 {
        crate::not_ok!("unit-attributes", "{UNIT} with an address of type {}", address.kind);
        return STOR_STATUS_INVALID_PARAMETER;
    }
    STOR_STATUS_SUCCESS
}

/// InitializeTimer(TimerHandle), InitializeWorker(Worker): an opaque handle.
fn make_object(a: Arguments, kind: &'static str) -> u32 {
    let handle = pool::allocate(kind, 64, 0x6A62_4F53, false, true);
    if handle == 0 {
        return STOR_STATUS_INSUFFICIENT_RESOURCES;
    }
    port().objects.insert(handle, kind);
    put(a.get(2), handle)
}

fn free_object(a: Arguments) -> u32 {
    let handle = a.get(2);
    timer::cancel(handle);
    if port().objects.remove(&handle).is_none() {
        return STOR_STATUS_INVALID_PARAMETER;
    }
    pool::release(handle);
    STOR_STATUS_SUCCESS
}

/// RequestTimer(TimerHandle, TimerCallback, CallbackContext, TimerValue, TolerableDelay): at DISPATCH_LEVEL at most in
/// callbacks; a value of 0 cancels (nf-storport-storportrequesttimer.md).
fn request_timer(a: Arguments) -> u32 {
    let handle = argument!(a, "RequestTimer", "TimerHandle");
    let routine = argument!(a, "RequestTimer", "TimerCallback");
    let context = argument!(a, "RequestTimer", "CallbackContext");
    let time = argument!(a, "RequestTimer", "TimerValue");
    if port().objects.get(&handle) != Some(&"timer") {
        return STOR_STATUS_INVALID_PARAMETER;
    }
    if time == 0 {
        timer::cancel(handle);
        return STOR_STATUS_SUCCESS;
    }
    let arguments = [a.get(1), context, 0, 0, 0];
    timer::set(Item { name: "HwStorTimerEx", object: handle, routine, arguments, locks: Locks::None }, time);
    STOR_STATUS_SUCCESS
}

/// QueueWorkItem(WorkItemCallback, Worker, Context): the callback runs at PASSIVE_LEVEL.
fn queue_work(a: Arguments) -> u32 {
    export::at_most("StorPortQueueWorkItem", irql::DISPATCH);
    let worker = argument!(a, "QueueWorkItem", "Worker");
    let mut port = port();
    if port.objects.get(&worker) != Some(&"worker") {
        return STOR_STATUS_INVALID_PARAMETER;
    }
    let routine = argument!(a, "QueueWorkItem", "WorkItemCallback");
    let context = argument!(a, "QueueWorkItem", "Context");
    port.work.push_back((routine, context, worker));
    drop(port);
    smp::wake_all();
    STOR_STATUS_SUCCESS
}

/// InterlockedFlush/Pop/Push, QueryDepth.
fn list(code: u64, a: Arguments) -> u32 {
    static ONE_AT_A_TIME: Lock<()> = Lock::new(());
    let _guard = ONE_AT_A_TIME.lock();
    let head = a.get(2);
    let [depth, first]: [u64; 2] = driver::read(NAME, head);
    match code {
        36 => {
            driver::write(NAME, head, [0u64; 2]);
            put(a.get(3), first)
        }
        37 => {
            if first != 0 {
                let next: u64 = driver::read(NAME, first);
                driver::write(NAME, head, [depth.saturating_sub(1), next]);
            }
            put(a.get(3), first)
        }
        38 => {
            driver::write(NAME, a.get(3), first);
            driver::write(NAME, head, [depth + 1, a.get(3)]);
            driver::write_optional(NAME, a.get(4), first);
            STOR_STATUS_SUCCESS
        }
        _ => put(a.get(3), depth as u16),
    }
}
