//! The functions storport.sys exports, except registers and the two variadic ones' inner tables.

use alloc::format;
use core::sync::atomic::{AtomicU64, Ordering};

use stand::wdk::codes::*;
use stand::wdk::names;

use super::{Phase, adapter, control, extended, interrupt, memory, notification, port, start};
use crate::cpu::arguments::{Arguments, Arguments as A};
use crate::cpu::percpu::Stack;
use crate::cpu::{call, clock, irql, percpu, smp};
use crate::kernel::export::Export;
use crate::kernel::{self, export};
use crate::memory::driver;

/// What StorPortQuerySystemTime says, in units of 100 nanoseconds.
pub fn system_time() -> u64 {
    const START: u64 = 0x01DA_0000_0000_0000;
    START + clock::ticks() * 10_000
}

/// The exports of this file.
pub const TABLE: &[(&str, Export)] = &[
    ("StorPortInitialize", start::initialize),
    ("StorPortNotification", notification::notification),
    ("StorPortExtendedFunction", extended::extended_function),
    ("StorPortGetUncachedExtension", memory::uncached_extension),
    ("StorPortGetPhysicalAddress", memory::physical_address),
    ("StorPortGetVirtualAddress", memory::virtual_address),
    ("StorPortGetDeviceBase", memory::device_base),
    ("StorPortFreeDeviceBase", |_| 0),
    ("StorPortGetBusData", bus_data),
    ("StorPortSetBusDataByOffset", set_bus_data),
    ("StorPortGetScatterGatherList", scatter_gather),
    ("StorPortGetSrb", |_| 0),
    ("StorPortGetLogicalUnit", |a| {
        adapter("StorPortGetLogicalUnit", a.get(0));
        0
    }),
    ("StorPortLogError", log_error),
    ("StorPortStallExecution", |a| {
        let time = a.get(0) & 0xFFFF_FFFF;
        if time >= 1000 {
            crate::not_ok!(
                "stall-too-long",
                "StorPortStallExecution of {time} us in {}",
                percpu::current_callback()
            );
        }
        call::stalls("StorPortStallExecution", time);
        clock::stall(time);
        0
    }),
    ("StorPortSynchronizeAccess", synchronize),
    ("StorPortDebugPrint", |a| {
        let text = kernel::debug::format("StorPortDebugPrint", a.get(1), Arguments::at(a.list(2)));
        kernel::debug::print("StorPortDebugPrint", &text)
    }),
    ("StorPortPause", |a| {
        adapter("StorPortPause", a.get(0));
        port().paused_until = clock::ticks() + (a.get(1) & 0xFFFF_FFFF) * 1000;
        1
    }),
    ("StorPortResume", |a| {
        adapter("StorPortResume", a.get(0));
        port().paused_until = 0;
        smp::wake_all();
        1
    }),
    ("StorPortPauseDevice", |a| {
        with_unit(a, |unit| unit.paused_until = clock::ticks() + (a.get(4) & 0xFFFF_FFFF) * 1000)
    }),
    ("StorPortResumeDevice", |a| with_unit(a, |unit| unit.paused_until = 0)),
    ("StorPortBusy", |a| {
        // Busy until that many outstanding requests have completed (nf-storport-storportbusy.md).
        adapter("StorPortBusy", a.get(0));
        let mut port = port();
        port.busy = (a.get(1) as u32).min(port.active.len() as u32);
        1
    }),
    ("StorPortReady", |a| {
        adapter("StorPortReady", a.get(0));
        port().busy = 0;
        smp::wake_all();
        1
    }),
    ("StorPortDeviceBusy", |a| with_unit(a, |unit| unit.busy = (a.get(4) as u32).min(unit.outstanding))),
    ("StorPortDeviceReady", |a| with_unit(a, |unit| unit.busy = 0)),
    ("StorPortSetDeviceQueueDepth", set_depth),
    ("StorPortCompleteRequest", complete_request),
    ("StorPortMoveMemory", |a| {
        driver::copy("StorPortMoveMemory", a.get(0), a.get(1), a.get(2) as usize);
        0
    }),
    ("StorPortValidateRange", |_| 1),
    ("StorPortConvertUlongToPhysicalAddress", |a| a.get(0) & 0xFFFF_FFFF),
    ("StorPortConvertUlong64ToPhysicalAddress", |a| a.get(0)),
    ("StorPortConvertPhysicalAddressToUlong64", |a| a.get(0)),
    ("StorPortQuerySystemTime", |a| {
        driver::write("StorPortQuerySystemTime", a.get(0), system_time());
        0
    }),
    ("StorPortAllocateRegistryBuffer", allocate_registry_buffer),
    ("StorPortFreeRegistryBuffer", free_registry_buffer),
    ("StorPortRegistryRead", registry_read),
    ("StorPortRegistryWrite", |a| {
        export::at_most("StorPortRegistryWrite", irql::PASSIVE);
        let name = driver::text("StorPortRegistryWrite", a.get(1), 128);
        crate::driver_log!("StorPortRegistryWrite", "{name}, {} bytes", a.get(5) & 0xFFFF_FFFF);
        1
    }),
];

/// Runs something on the unit of arguments 1 to 3 (path, target, LUN).
fn with_unit(a: A, change: impl FnOnce(&mut super::Unit)) -> u64 {
    adapter("StorPort…Device…", a.get(0));
    let address = (a.get(1) as u8, a.get(2) as u8, a.get(3) as u8);
    let mut port = port();
    let changed = port.units.get_mut(&address).map(change).is_some();
    drop(port);
    smp::wake_all();
    u64::from(changed)
}

/// StorPortSetDeviceQueueDepth(HwDeviceExtension, PathId, TargetId, Lun, Depth). The page does not say what happens with
/// a depth above MaxIOsPerLun; that limit holds here.
fn set_depth(a: A) -> u64 {
    adapter("StorPortSetDeviceQueueDepth", a.get(0));
    let address = (a.get(1) as u8, a.get(2) as u8, a.get(3) as u8);
    let depth = a.get(4) as u32;
    let mut port = port();
    let most = match port.config.max_ios_per_lun {
        0 | SP_UNINITIALIZED_VALUE => 255,
        most => most,
    };
    if depth == 0 {
        drop(port);
        crate::not_ok!("queue-depth-zero", "StorPortSetDeviceQueueDepth with depth 0");
        return 0;
    }
    // Before the first request to a unit there is no such device.
    let Some(unit) = port.units.get_mut(&address) else { return 0 };
    unit.depth = depth.min(most);
    1
}

/// StorPortGetScatterGatherList(HwDeviceExtension, Srb): the list made before BuildIo.
fn scatter_gather(a: A) -> u64 {
    const NAME: &str = "StorPortGetScatterGatherList";
    adapter(NAME, a.get(0));
    let mut port = port();
    let Some(request) = port.active.get(&a.get(1)) else {
        drop(port);
        crate::not_ok!("srb-unknown", "{NAME} for {:#x}, which is no SRB", a.get(1));
        return 0;
    };
    let function = request.function;
    if function != SRB_FUNCTION_EXECUTE_SCSI {
        drop(port);
        crate::not_ok!("list-of-no-command", "{NAME} for {}", names::srb_function(function));
        return 0;
    }
    if request.data.length == 0 {
        return 0;
    }
    let list = request.list();
    let count = u64::from(driver::read::<u32>(NAME, list));
    port.statistics.elements += count;
    list
}

/// A rule: StorPort's routines for configuration space are for HwStorFindAdapter, and for ScsiSetRunningConfig, which comes
/// while the adapter is stopped (nf-storport-storportgetbusdata.md; for the writing one see ScsiRestartAdapter in
/// ne-storport-scsi_adapter_control_type.md).
fn check_bus_data(name: &str) {
    if !matches!(port().phase, Phase::FindAdapter | Phase::Stopped) {
        crate::not_ok!("bus-data-late", "{name} in {}", percpu::current_callback());
    }
    export::at_most(name, irql::PASSIVE);
}

/// StorPortGetBusData(HwDeviceExtension, BusDataType, SystemIoBusNumber, SlotNumber, Buffer, Length): the start of PCI
/// configuration space.
fn bus_data(a: A) -> u64 {
    adapter("StorPortGetBusData", a.get(0));
    check_bus_data("StorPortGetBusData");
    let length = (a.get(5) & 0xFFFF_FFFF).min(4096);
    let Some(function) = port().function.filter(|_| a.get(1) & 0xFFFF_FFFF == 4) else { return 0 };
    for offset in 0..length {
        driver::write("StorPortGetBusData", a.get(4) + offset, function.read_u8(offset as u16));
    }
    length
}

/// StorPortSetBusDataByOffset(HwDeviceExtension, BusDataType, SystemIoBusNumber, SlotNumber, Buffer, Offset, Length).
fn set_bus_data(a: A) -> u64 {
    adapter("StorPortSetBusDataByOffset", a.get(0));
    check_bus_data("StorPortSetBusDataByOffset");
    let (offset, length) = (a.get(5) & 0xFFF, (a.get(6) & 0xFFFF_FFFF).min(256));
    let Some(function) = port().function.filter(|_| a.get(1) & 0xFFFF_FFFF == 4) else { return 0 };
    for (index, byte) in
        driver::bytes("StorPortSetBusDataByOffset", a.get(4), length as usize).iter().enumerate()
    {
        function.write_u8(offset as u16 + index as u16, *byte);
    }
    length
}

/// StorPortLogError(HwDeviceExtension, Srb, PathId, TargetId, Lun, ErrorCode, UniqueId).
fn log_error(a: A) -> u64 {
    crate::driver_log!(
        "StorPortLogError",
        "code {:#x} unique id {:#x} for {}:{}:{}, in {}",
        a.get(5) & 0xFFFF_FFFF,
        a.get(6) & 0xFFFF_FFFF,
        a.get(2) & 0xFF,
        a.get(3) & 0xFF,
        a.get(4) & 0xFF,
        percpu::current_callback()
    );
    0
}

/// StorPortSynchronizeAccess(HwDeviceExtension, SynchronizedAccessRoutine, Context): the routine runs at the adapter's
/// DIRQL under the interrupt lock.
fn synchronize(a: A) -> u64 {
    adapter("StorPortSynchronizeAccess", a.get(0));
    let routine = a.get(1);
    let old = super::lock::acquire(INTERRUPT_LOCK, 0);
    let result = call::driver("HwStorSynchronizedAccess", Stack::Nested, routine, &[a.get(0), a.get(2)]);
    super::lock::release(INTERRUPT_LOCK, 0, old);
    result
}

/// StorPortCompleteRequest(HwDeviceExtension, PathId, TargetId, Lun, SrbStatus): completes what the miniport holds for a
/// path, target or LUN; 0xFF stands for all (nf-storport-storportcompleterequest.md).
fn complete_request(a: A) -> u64 {
    adapter("StorPortCompleteRequest", a.get(0));
    let (path, target, lun, status) = (a.get(1) as u8, a.get(2) as u8, a.get(3) as u8, a.get(4) as u8);
    control::complete_all(status, |address| {
        (path == 0xFF || address.0 == path)
            && (target == 0xFF || address.1 == target)
            && (lun == 0xFF || address.2 == lun)
    });
    0
}

/// The registry buffer that the miniport has.
static REGISTRY_BUFFER: AtomicU64 = AtomicU64::new(0);

/// StorPortAllocateRegistryBuffer(HwDeviceExtension, Length): there can be one at a time, and whoever wants a second one gets none
/// (nf-storport-storportallocateregistrybuffer.md). One that is never freed is pool that is left after the removal.
fn allocate_registry_buffer(a: A) -> u64 {
    const NAME: &str = "StorPortAllocateRegistryBuffer";
    adapter(NAME, a.get(0));
    export::at_most(NAME, irql::PASSIVE);
    let length = driver::read::<u32>(NAME, a.get(1));
    if REGISTRY_BUFFER.load(Ordering::Relaxed) != 0 {
        return 0;
    }
    let buffer = kernel::pool::allocate(NAME, u64::from(length), 0x6765_5253, false, true);
    REGISTRY_BUFFER.store(buffer, Ordering::Relaxed);
    buffer
}

/// StorPortFreeRegistryBuffer(HwDeviceExtension, Buffer).
fn free_registry_buffer(a: A) -> u64 {
    const NAME: &str = "StorPortFreeRegistryBuffer";
    adapter(NAME, a.get(0));
    export::at_most(NAME, irql::PASSIVE);
    if a.get(1) == 0 || REGISTRY_BUFFER.swap(0, Ordering::Relaxed) != a.get(1) {
        crate::broken!("bad-free", "{NAME} of {:#x}, which is no registry buffer", a.get(1));
    }
    kernel::pool::release(a.get(1));
    0
}

/// StorPortRegistryRead(HwDeviceExtension, ValueName, Global, Type, Buffer, BufferLength). Global values are all adapters';
/// those of this one, whose port has number 0, are `Device0\NAME` on the command line (nf-storport-storportregistryread.md).
fn registry_read(a: A) -> u64 {
    const NAME: &str = "StorPortRegistryRead";
    adapter(NAME, a.get(0));
    export::at_most(NAME, irql::PASSIVE);
    let name = driver::text(NAME, a.get(1), 128);
    let name = if a.get(2) as u32 == 0 { format!("Device0\\{name}") } else { name };
    let room = driver::read::<u32>(NAME, a.get(5));
    let value =
        port().parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(&name)).map(|(_, value)| *value);
    match value {
        Some(value) if a.get(3) & 0xFFFF_FFFF == u64::from(MINIPORT_REG_DWORD) && room >= 4 => {
            driver::write(NAME, a.get(4), value);
            driver::write(NAME, a.get(5), 4u32);
            1
        }
        Some(_) if room < 4 => {
            driver::write(NAME, a.get(5), 4u32);
            0
        }
        _ => {
            driver::write(NAME, a.get(5), 0u32);
            0
        }
    }
}

/// What the miniport did so far, for a person.
pub fn summary() -> alloc::string::String {
    let port = port();
    let s = port.statistics;
    format!(
        "{} requests, {} busy, at most {} at once, {} scatter/gather elements, {} DPCs, {} interrupts, {} unclaimed, \
         {} started after a completion",
        s.requests,
        s.busy,
        s.most_active,
        s.elements,
        s.dpcs,
        interrupt::taken(),
        s.unclaimed,
        s.after_completion
    )
}
