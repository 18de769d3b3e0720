//! Bringing an adapter up, in the order of Microsoft's page "Storport Driver Miniport Initialization": StorPortInitialize,
//! HwStorFindAdapter, interrupts, HwStorInitialize, HwStorPassiveInitializeRoutine, HwStorAdapterControl's query.

use alloc::vec::Vec;

use stand::device::Outcome;
use stand::wdk::codes::*;
use stand::wdk::config::{AccessRange, HwInitializationData, PortConfiguration};

use super::{Phase, control, interrupt, lock, port, unit};
use crate::console;
use crate::cpu::arguments::Arguments;
use crate::cpu::percpu::Stack;
use crate::cpu::{call, irql, smp};
use crate::kernel;
use crate::kernel::export;
use crate::memory::dma::Grant;
use crate::memory::{PAGE, arena, driver};
use crate::model;
use crate::pci::bars::Bar;
use crate::pci::{Function, command, msix};

const STATUS_REVISION_MISMATCH: u64 = 0xC000_0059;
const STATUS_INVALID_PARAMETER: u64 = 0xC000_000D;
/// SCSI_MAXIMUM_TARGETS_PER_BUS and SCSI_MAXIMUM_LUNS_PER_TARGET: what PORT_CONFIGURATION_INFORMATION starts with.
const MAXIMUM_TARGETS: u8 = 128;
const MAXIMUM_LUNS: u8 = 255;

/// What BusResetHoldTime starts with, in microseconds: Storport's own value is not documented.
pub const RESET_HOLD_TIME: u32 = 500_000;

/// StorPortInitialize(Argument1, Argument2, HwInitializationData, HwContext): nf-storport-storportinitialize.md.
pub fn initialize(a: Arguments) -> u64 {
    const NAME: &str = "StorPortInitialize";
    export::at_most(NAME, irql::PASSIVE);
    let size = driver::read::<u32>(NAME, a.get(2));
    if size as usize != size_of::<HwInitializationData>() {
        crate::not_ok!(
            "hw-initialization-data-size",
            "HwInitializationDataSize is {size}, this Storport's structure has {}",
            size_of::<HwInitializationData>()
        );
        return STATUS_REVISION_MISMATCH;
    }
    let data: HwInitializationData = driver::read(NAME, a.get(2));
    let required = [
        ("HwStorFindAdapter", data.hw_find_adapter),
        ("HwStorInitialize", data.hw_initialize),
        ("HwStorStartIo", data.hw_start_io),
        ("HwStorResetBus", data.hw_reset_bus),
        ("HwStorAdapterControl", data.hw_adapter_control),
    ];
    for (name, routine) in required {
        if routine == 0 {
            crate::not_ok!("missing-callback", "HW_INITIALIZATION_DATA has no {name}");
            return STATUS_INVALID_PARAMETER;
        }
    }
    // The members a Storport miniport must set (ns-storport-_hw_initialization_data~r1.md).
    for (name, value) in [
        ("NeedPhysicalAddresses", data.need_physical_addresses),
        ("TaggedQueuing", data.tagged_queuing),
        ("AutoRequestSense", data.auto_request_sense),
        ("MultipleRequestPerLu", data.multiple_request_per_lu),
    ] {
        if value == 0 {
            crate::not_ok!("hw-initialization-data", "{name} must be TRUE");
        }
    }
    let mut port = port();
    if port.hw.hw_find_adapter != 0 {
        drop(port);
        crate::stop!("StorPortInitialize is called twice: only one kind of adapter is supported");
    }
    port.hw = data;
    export::STATUS_SUCCESS
}

/// Calls the image's entry point with a driver object and a registry path.
pub fn driver_entry(entry: u64, service: &str) {
    let path = alloc::format!("\\REGISTRY\\MACHINE\\SYSTEM\\ControlSet001\\Services\\{service}\0");
    let path: alloc::vec::Vec<u16> = path.encode_utf16().take(1024).collect();
    let Some(range) = arena::scattered(2 * PAGE) else { crate::stop!("no memory") };
    let (object, string, text) = (range.address, range.address + 512, range.address + 1024);
    // DRIVER_OBJECT: Type 4, Size 336.
    driver::write("Storport", object, [4u16, 336]);
    for (index, unit) in path.iter().enumerate() {
        driver::write("Storport", text + 2 * index as u64, *unit);
    }
    let bytes = (path.len() * 2) as u16;
    driver::write("Storport", string, [bytes - 2, bytes]);
    driver::write("Storport", string + 8, text);
    let status = call::driver("DriverEntry", Stack::Thread, entry, &[object, string]) as u32;
    if status & 0x8000_0000 != 0 {
        crate::stop!("DriverEntry failed with status {status:#010x}");
    }
    if port().hw.hw_find_adapter == 0 {
        crate::stop!("DriverEntry succeeded but never called StorPortInitialize: not a Storport miniport");
    }
    crate::ok!("driver-entry", "status {status:#010x}");
}

/// Gives the adapter its resources.
pub fn assign(function: Function, bars: &[Bar], table: Option<msix::Table>) {
    function.set_command(command::IO | command::MEMORY | command::MASTER | command::NO_LINE, 0);
    if let Some(table) = table {
        // The PCI bus driver turns message interrupts on before the miniport looks at configuration space.
        table.enable();
    }
    let mut port = port();
    port.function = Some(function);
    port.bars = bars.to_vec();
    port.table = table;
    port.messages = table.map_or(0, |table| interrupt::grant(table.size));
}

/// PORT_CONFIGURATION_INFORMATION as Storport hands it to HwStorFindAdapter.
pub(super) fn configuration(hw: &HwInitializationData, ranges: u64) -> PortConfiguration {
    let extended = hw.srb_type_flags & SRB_TYPE_FLAG_STORAGE_REQUEST_BLOCK != 0 && !port().old_srbs;
    let bus = port().function.map_or(0, |function| u32::from(function.bus));
    let slot = port().function.map_or(0, |f| u32::from(f.device) | u32::from(f.function) << 5);
    let mut initiator = [0xFF; 8];
    initiator[7] = 0;
    PortConfiguration {
        length: size_of::<PortConfiguration>() as u32,
        system_io_bus_number: bus,
        adapter_interface_type: hw.adapter_interface_type,
        bus_interrupt_level: u32::from(crate::cpu::vector::LINE_VECTOR >> 4),
        bus_interrupt_vector: u32::from(crate::cpu::vector::LINE_VECTOR),
        interrupt_mode: LEVEL_SENSITIVE,
        maximum_transfer_length: SP_UNINITIALIZED_VALUE,
        number_of_physical_breaks: 0x11,
        dma_channel: SP_UNINITIALIZED_VALUE,
        dma_port: SP_UNINITIALIZED_VALUE,
        number_of_access_ranges: hw.number_of_access_ranges,
        access_ranges: ranges,
        initiator_bus_id: initiator,
        scatter_gather: 1,
        master: 1,
        dma32_bit_addresses: 1,
        map_buffers: hw.map_buffers,
        need_physical_addresses: 1,
        // Every miniport is asked for WMI, and is not to change this (ns-storport-_port_configuration_information.md). Microsoft's
        // own storahci does (Windows-driver-samples, storage/miniports/storahci), so one that does is not asked.
        wmi_data_provider: 1,
        tagged_queuing: 1,
        auto_request_sense: 1,
        multiple_request_per_lu: 1,
        maximum_number_of_targets: MAXIMUM_TARGETS,
        maximum_number_of_logical_units: MAXIMUM_LUNS,
        srb_type: if extended { SRB_TYPE_STORAGE_REQUEST_BLOCK as u8 } else { 0 },
        address_type: STOR_ADDRESS_TYPE_BTL8 as u8,
        slot_number: slot,
        dma64_bit_addresses: SCSI_DMA64_SYSTEM_SUPPORTED as u8,
        device_extension_size: hw.device_extension_size,
        specific_lu_extension_size: hw.specific_lu_extension_size,
        srb_extension_size: hw.srb_extension_size,
        synchronization_model: STOR_SYNCHRONIZE_HALF_DUPLEX,
        max_number_of_io: 1000,
        max_ios_per_lun: 255,
        initial_lun_queue_depth: 20,
        bus_reset_hold_time: RESET_HOLD_TIME,
        feature_support: hw.feature_support,
        ..PortConfiguration::default()
    }
}

/// The device extension: allocated with the device, and freed when it is removed (any page of the interface, for instance
/// nf-storport-storportpause.md). So it is there, as the miniport left it, when an adapter starts again.
fn device_extension(hw: &HwInitializationData) -> u64 {
    let kept = port().extension;
    if kept != 0 {
        return kept;
    }
    let size = extension_bytes(hw.device_extension_size.into());
    let Some(range) = arena::scattered(size) else { crate::stop!("no memory for the device extension") };
    // It ends where its pages end, so that the byte after it faults.
    range.address + range.pages * PAGE - size
}

fn extension_bytes(asked_for: u64) -> u64 {
    asked_for.next_multiple_of(16).max(16)
}

/// Takes away the device extension of an adapter that was removed.
pub fn free_device_extension(extension: u64, asked_for: u64) {
    let size = extension_bytes(asked_for);
    let pages = size.div_ceil(PAGE);
    arena::release(arena::Range { address: extension + size - pages * PAGE, pages });
}

/// HwStorFindAdapter at PASSIVE_LEVEL (nc-storport-hw_find_adapter.md).
pub fn find_adapter() {
    let hw = port().hw;
    let extension = device_extension(&hw);
    let Some(page) = arena::scattered(2 * PAGE) else { crate::stop!("no memory") };
    let (config_at, ranges, text, again) =
        (page.address + 64, page.address + 512, page.address + PAGE, page.address + PAGE + 512);
    let bars = port().bars.clone();
    for index in 0..hw.number_of_access_ranges.min(64) as usize {
        let range = bars.get(index).map_or(AccessRange::default(), |bar| AccessRange {
            start: bar.address,
            length: bar.size as u32,
            in_memory: u8::from(bar.memory),
            ..AccessRange::default()
        });
        driver::write("Storport", ranges + 16 * index as u64, range);
    }
    let before = configuration(&hw, ranges);
    driver::write("Storport", config_at, before);
    {
        let mut port = port();
        port.extension = extension;
        port.config = before;
        port.config_address = config_at;
        port.phase = Phase::FindAdapter;
    }
    let arguments = [extension, 0, 0, text, config_at, again];
    let result = call::driver("HwStorFindAdapter", Stack::Thread, hw.hw_find_adapter, &arguments) as u32;
    let meaning = match result {
        SP_RETURN_FOUND => "SP_RETURN_FOUND",
        SP_RETURN_NOT_FOUND => "SP_RETURN_NOT_FOUND",
        SP_RETURN_ERROR => "SP_RETURN_ERROR",
        SP_RETURN_BAD_CONFIG => "SP_RETURN_BAD_CONFIG",
        _ => "an unknown value",
    };
    if result != SP_RETURN_FOUND && declined("HwStorFindAdapter", meaning) {
        console::end();
    }
    if result != SP_RETURN_FOUND {
        crate::not_ok!("find-adapter", "{meaning} ({result})");
        crate::stop!("HwStorFindAdapter declined the device: {meaning}");
    }
    crate::ok!("find-adapter", "{meaning}");
    let after: PortConfiguration = driver::read("Storport", config_at);
    check_configuration(&before, &after);
    port().config = after;
    crate::note!(
        "adapter: {} bytes and {} pages per request, alignment mask {:#x}, {} bus(es), {} targets, {} LUNs, SRB type {}, \
         {} duplex, extension {} bytes, SRB extension {} bytes, uncached {} bytes",
        after.maximum_transfer_length,
        after.number_of_physical_breaks,
        after.alignment_mask,
        after.number_of_buses,
        after.maximum_number_of_targets,
        after.maximum_number_of_logical_units,
        if after.srb_type == 0 { "SCSI_REQUEST_BLOCK" } else { "STORAGE_REQUEST_BLOCK" },
        if after.synchronization_model == STOR_SYNCHRONIZE_HALF_DUPLEX { "half" } else { "full" },
        hw.device_extension_size,
        after.srb_extension_size,
        port().uncached.map_or(0, |(_, _, size)| size)
    );
}

/// Whether the miniport was right to decline a device model that lies.
fn declined(callback: &str, answer: &str) -> bool {
    let right = model::is_there() && model::outcome() != Outcome::Up;
    if right {
        crate::ok!("hostile-declined", "{callback} returned {answer}");
    }
    right
}

/// Members the page says miniports must not modify, and those they must set.
pub(super) fn check_configuration(before: &PortConfiguration, after: &PortConfiguration) {
    let fixed = [
        ("Length", before.length, after.length),
        ("SystemIoBusNumber", before.system_io_bus_number, after.system_io_bus_number),
        ("AdapterInterfaceType", before.adapter_interface_type, after.adapter_interface_type),
        ("NumberOfAccessRanges", before.number_of_access_ranges, after.number_of_access_ranges),
        ("ScatterGather", u32::from(before.scatter_gather), u32::from(after.scatter_gather)),
        ("NeedPhysicalAddresses", 1, u32::from(after.need_physical_addresses)),
        ("TaggedQueuing", 1, u32::from(after.tagged_queuing)),
        ("AutoRequestSense", 1, u32::from(after.auto_request_sense)),
        ("MultipleRequestPerLu", 1, u32::from(after.multiple_request_per_lu)),
        ("SlotNumber", before.slot_number, after.slot_number),
    ];
    for (name, old, new) in fixed {
        if old != new {
            crate::not_ok!("configuration-changed", "{name} must not be modified, was {old} and is {new}");
        }
    }
    if before.access_ranges != after.access_ranges {
        crate::not_ok!("configuration-changed", "AccessRanges must not be modified");
    }
    if after.number_of_physical_breaks == 0 || after.maximum_transfer_length == 0 {
        crate::broken!(
            "configuration-invalid",
            "MaximumTransferLength {} and NumberOfPhysicalBreaks {} must be set",
            after.maximum_transfer_length,
            after.number_of_physical_breaks
        );
    }
}

/// Members besides those that [`check_configuration`] looks at which the page says miniports must not modify, and which this
/// one has: they are Storport's to know, such as how wide its DMA is.
pub fn changed_members() -> Vec<&'static str> {
    let (hw, after) = {
        let port = port();
        (port.hw, port.config)
    };
    let before = configuration(&hw, after.access_ranges);
    let members = |c: &PortConfiguration| {
        [
            ("BusInterruptLevel", c.bus_interrupt_level),
            ("BusInterruptVector", c.bus_interrupt_vector),
            ("InterruptMode", c.interrupt_mode),
            ("DmaChannel", c.dma_channel),
            ("DmaPort", c.dma_port),
            ("DmaWidth", c.dma_width),
            ("DmaSpeed", c.dma_speed),
            ("Master", c.master.into()),
            ("AtdiskPrimaryClaimed", c.atdisk_primary_claimed.into()),
            ("AtdiskSecondaryClaimed", c.atdisk_secondary_claimed.into()),
            ("Dma32BitAddresses", c.dma32_bit_addresses.into()),
            ("DemandMode", c.demand_mode.into()),
            ("ReceiveEvent", c.receive_event.into()),
            ("RealModeInitialized", c.real_mode_initialized.into()),
            ("BufferAccessScsiPortControlled", c.buffer_access_scsi_port_controlled.into()),
            ("BusInterruptLevel2", c.bus_interrupt_level2),
            ("BusInterruptVector2", c.bus_interrupt_vector2),
            ("InterruptMode2", c.interrupt_mode2),
            ("DmaChannel2", c.dma_channel2),
            ("DmaPort2", c.dma_port2),
            ("DmaWidth2", c.dma_width2),
            ("DmaSpeed2", c.dma_speed2),
            ("WmiDataProvider", c.wmi_data_provider.into()),
        ]
    };
    let pairs = members(&before).into_iter().zip(members(&after));
    pairs.filter(|(old, new)| old != new).map(|((name, _), _)| name).collect()
}

/// Interrupts, HwStorInitialize at DIRQL (nc-storport-hw_initialize.md), passive initialisation, control types.
pub fn bring_up() {
    interrupt::connect();
    {
        let port = port();
        let what = if port.message_interrupts { "messages" } else { "the line" };
        let (messages, mode) = (port.messages, port.config.interrupt_synchronization_mode);
        drop(port);
        crate::note!("interrupts: {what}, {messages} message(s) granted, synchronization mode {mode}");
    }
    initialize_adapter();
    control::query_types();
    unit::query_types();
    port().phase = Phase::Running;
    smp::wake_all();
}

/// HwStorInitialize and the passive routine.
pub fn initialize_adapter() {
    let (hw, extension) = {
        let mut port = port();
        port.phase = Phase::Initialize;
        (port.hw, port.extension)
    };
    // The interrupt lock is held around it (nf-storport-storportacquirespinlock.md).
    let old = lock::acquire(INTERRUPT_LOCK, 0);
    let good = call::driver("HwStorInitialize", Stack::Thread, hw.hw_initialize, &[extension]) & 0xFF != 0;
    lock::release(INTERRUPT_LOCK, 0, old);
    if !good && declined("HwStorInitialize", "FALSE") {
        console::end();
    }
    if !good {
        crate::not_ok!("initialize", "HwStorInitialize returned FALSE");
        crate::stop!("HwStorInitialize failed");
    }
    crate::ok!("initialize", "HwStorInitialize returned TRUE");
    initialize_passively();
    port().phase = Phase::Running;
}

/// HwStorPassiveInitializeRoutine at PASSIVE_LEVEL, if the miniport asked for it.
pub fn initialize_passively() {
    let extension = port().extension;
    let passive = {
        let mut port = port();
        port.phase = Phase::PassiveInitialize;
        core::mem::take(&mut port.passive_routine)
    };
    if passive != 0 {
        let good =
            call::driver("HwStorPassiveInitializeRoutine", Stack::Thread, passive, &[extension]) & 0xFF != 0;
        if !good {
            crate::not_ok!("passive-initialize", "HwStorPassiveInitializeRoutine returned FALSE");
            crate::stop!("passive initialisation failed");
        }
        crate::ok!("passive-initialize", "HwStorPassiveInitializeRoutine returned TRUE");
    }
}

/// Takes away what belongs to the adapter's resources: uncached extension, DPCs, timers, performance options
/// (ne-storport-scsi_adapter_control_type.md, ScsiStopAdapter). Whoever touches them after this is caught. The device
/// extension stays.
pub fn release() {
    let mut port = port();
    port.uncached_grant = Grant::default();
    if let Some((range, _, _)) = port.uncached.take() {
        arena::release(range);
    }
    port.registers.clear();
    port.dpcs.clear();
    port.units.clear();
    (port.perf_flags, port.channels, port.first_message) = (0, 0, 0);
    port.state_change = None;
    drop(port);
    kernel::timer::cancel_all();
}
