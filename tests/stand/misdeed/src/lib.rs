//! misdeed.sys: a miniport with a disk in its own memory that does one forbidden thing, so that each rule of the stand is
//! seen to catch what it is for. Which one is the registry value `Misdeed` ([`misdeed::Misdeed`]); 0 is none, and then the
//! stand must find nothing wrong.
//!
//! It is written against the bare StorPort interface and shares no code with the drivers: it registers another SRB
//! type, answers everything in HwStorStartIo, and needs no interrupt.
//!
//! UNSAFETY: everything here is a StorPort callback, called with arguments as storport.h documents them; what a misdeed
//! does beyond that is its purpose.
#![no_std]
#![expect(
    unsafe_code,
    clippy::undocumented_unsafe_blocks,
    clippy::multiple_unsafe_ops_per_block,
    reason = "a miniport written straight against StorPort's C interface, whose very purpose is to break its rules"
)]

extern crate wdk_panic;

mod disk;
mod misdeed;

use core::ptr;

use misdeed::{Misdeed, Moment};
use wdk_sys::storage::{
    StorPortAllocateRegistryBuffer, StorPortFreeRegistryBuffer, StorPortGetDeviceBase, StorPortInitialize,
    StorPortNotification, StorPortRegistryRead,
};
use wdk_sys::{
    _INTERFACE_TYPE, _SCSI_ADAPTER_CONTROL_STATUS, _SCSI_ADAPTER_CONTROL_TYPE, _SCSI_NOTIFICATION_TYPE,
    BOOLEAN, DRIVER_OBJECT, HW_INITIALIZATION_DATA, NTSTATUS, PBOOLEAN, PCHAR,
    PPORT_CONFIGURATION_INFORMATION, PSCSI_REQUEST_BLOCK, PUNICODE_STRING, PVOID,
    SCSI_ADAPTER_CONTROL_STATUS, SCSI_ADAPTER_CONTROL_TYPE, SCSI_SUPPORTED_CONTROL_TYPE_LIST,
    SP_RETURN_FOUND, SRB_STATUS_SUCCESS, ULONG,
};

/// What the miniport keeps in its device extension.
#[repr(C)]
struct Extension {
    misdeed: u32,
    /// This copy of the image runs because the system has crashed.
    dump: bool,
    /// The device's registers.
    registers: PVOID,
    /// Times that something was asked for, so that a misdeed happens once.
    done: u32,
    /// DataTransferLength of the request at hand before it was answered.
    asked: u32,
    /// Memory that is nothing.
    space: [u64; 64],
    /// What an earlier start left here; null in a blank extension.
    kept: PVOID,
    dpc: wdk_sys::STOR_DPC,
}

/// What the kernel calls when it has loaded the image.
///
/// # Safety
/// `driver` and `registry_path` are the kernel's, as documented for DRIVER_INITIALIZE.
#[unsafe(export_name = "DriverEntry")]
pub unsafe extern "system" fn driver_entry(
    driver: *mut DRIVER_OBJECT,
    registry_path: PUNICODE_STRING,
) -> NTSTATUS {
    let mut data = HW_INITIALIZATION_DATA {
        HwInitializationDataSize: size_of::<HW_INITIALIZATION_DATA>() as ULONG,
        AdapterInterfaceType: _INTERFACE_TYPE::PCIBus,
        HwInitialize: Some(initialize),
        HwStartIo: Some(start_io),
        HwInterrupt: Some(interrupt),
        HwFindAdapter: find_adapter as *const () as PVOID,
        HwResetBus: Some(reset_bus),
        HwAdapterControl: Some(adapter_control),
        HwBuildIo: Some(build_io),
        DeviceExtensionSize: size_of::<Extension>() as ULONG,
        SrbExtensionSize: 64,
        NumberOfAccessRanges: 6,
        FeatureSupport: wdk_sys::STOR_FEATURE_DUMP_POINTERS,
        MapBuffers: wdk_sys::STOR_MAP_ALL_BUFFERS_INCLUDING_READ_WRITE as u8,
        NeedPhysicalAddresses: 1,
        TaggedQueuing: 1,
        AutoRequestSense: 1,
        MultipleRequestPerLu: 1,
        ..Default::default()
    };
    unsafe {
        misdeed::prepare(Misdeed::from_number(service_number(registry_path)), &mut data);
        StorPortInitialize(driver.cast(), registry_path.cast(), &raw mut data, ptr::null_mut()) as NTSTATUS
    }
}

/// The number at the end of the service's name, 0 when there is none; nor is there a name in dump mode.
unsafe fn service_number(registry_path: PUNICODE_STRING) -> u32 {
    if registry_path.is_null() {
        return 0;
    }
    unsafe {
        let path = &*registry_path;
        let units = core::slice::from_raw_parts(path.Buffer, usize::from(path.Length) / 2);
        let digits = units.iter().rev().map_while(|unit| char::from_u32(u32::from(*unit))?.to_digit(10));
        digits.fold((0, 1), |(sum, place), digit| (sum + digit * place, place * 10)).0
    }
}

unsafe extern "C" fn find_adapter(
    extension: PVOID,
    _context: PVOID,
    _bus_information: PVOID,
    _arguments: PCHAR,
    configuration: PPORT_CONFIGURATION_INFORMATION,
    _again: PBOOLEAN,
) -> ULONG {
    unsafe {
        let dump = (*configuration).DumpMode != 0;
        // The copy that ran before the crash says it: the registry is out of reach.
        let misdeed = if dump { (*configuration).MiniportDumpData as u32 } else { registry_value(extension) };
        // In a dump the extension is another copy's.
        let kept = if dump { ptr::null_mut() } else { (*extension.cast::<Extension>()).kept };
        extension.cast::<Extension>().write(Extension {
            kept,
            misdeed,
            dump,
            registers: map_registers(extension, configuration),
            done: 0,
            asked: 0,
            space: [0; 64],
            dpc: wdk_sys::STOR_DPC::default(),
        });
        if !dump {
            misdeed::initialize_dpc(extension);
        }
        let configuration = &mut *configuration;
        configuration.MaximumTransferLength = 64 * 1024;
        configuration.NumberOfPhysicalBreaks = 17;
        configuration.AlignmentMask = 3;
        configuration.NumberOfBuses = 1;
        configuration.MaximumNumberOfTargets = 1;
        configuration.MaximumNumberOfLogicalUnits = 1;
        configuration.ScatterGather = 1;
        configuration.Master = 1;
        configuration.Dma64BitAddresses = 1;
        configuration.SynchronizationModel = wdk_sys::_STOR_SYNCHRONIZATION_MODEL::StorSynchronizeFullDuplex;
        if misdeed == Misdeed::LongResetHold as u32 {
            // Microseconds.
            configuration.BusResetHoldTime = ULONG::MAX;
        }
        if misdeed == Misdeed::AbortsNothing as u32 {
            configuration.FeatureSupport |= wdk_sys::STOR_ADAPTER_FEATURE_ABORT_COMMAND;
        }
        let moment = if dump { Moment::DumpFindAdapter } else { Moment::FindAdapter };
        misdeed::commit(extension, moment, (&raw mut *configuration).cast());
    }
    SP_RETURN_FOUND
}

/// Maps the first memory range; null when there is none.
unsafe fn map_registers(extension: PVOID, configuration: PPORT_CONFIGURATION_INFORMATION) -> PVOID {
    unsafe {
        let range = &*(*configuration).AccessRanges.cast::<wdk_sys::ACCESS_RANGE>();
        if range.RangeInMemory == 0 || range.RangeLength == 0 {
            return ptr::null_mut();
        }
        StorPortGetDeviceBase(
            extension,
            _INTERFACE_TYPE::PCIBus,
            (*configuration).SystemIoBusNumber,
            range.RangeStart,
            range.RangeLength,
            0,
        )
    }
}

unsafe fn registry_value(extension: PVOID) -> u32 {
    unsafe {
        let mut length: ULONG = 4;
        let buffer = StorPortAllocateRegistryBuffer(extension, &raw mut length);
        if buffer.is_null() {
            return 0;
        }
        let mut name = *b"Misdeed\0";
        let found = StorPortRegistryRead(extension, name.as_mut_ptr(), 1, REG_DWORD, buffer, &raw mut length);
        let value = if found != 0 { buffer.cast::<u32>().read_unaligned() } else { 0 };
        StorPortFreeRegistryBuffer(extension, buffer);
        value
    }
}

unsafe extern "C" fn initialize(extension: PVOID) -> BOOLEAN {
    unsafe { misdeed::commit(extension, Moment::Initialize, ptr::null_mut()) };
    1
}

unsafe extern "C" fn interrupt(extension: PVOID) -> BOOLEAN {
    unsafe { misdeed::interrupted(extension) };
    0
}

unsafe extern "C" fn reset_bus(_extension: PVOID, _path: ULONG) -> BOOLEAN {
    1
}

unsafe extern "C" fn adapter_control(
    _extension: PVOID,
    control: SCSI_ADAPTER_CONTROL_TYPE,
    parameters: PVOID,
) -> SCSI_ADAPTER_CONTROL_STATUS {
    if control == _SCSI_ADAPTER_CONTROL_TYPE::ScsiQuerySupportedControlTypes {
        let list = parameters.cast::<SCSI_SUPPORTED_CONTROL_TYPE_LIST>();
        unsafe {
            let supported = (&raw mut (*list).SupportedTypeList).cast::<BOOLEAN>();
            for control in [
                _SCSI_ADAPTER_CONTROL_TYPE::ScsiQuerySupportedControlTypes,
                _SCSI_ADAPTER_CONTROL_TYPE::ScsiStopAdapter,
                _SCSI_ADAPTER_CONTROL_TYPE::ScsiRestartAdapter,
            ] {
                if (control as ULONG) < (*list).MaxControlType {
                    supported.add(control as usize).write(1);
                }
            }
        }
    }
    _SCSI_ADAPTER_CONTROL_STATUS::ScsiAdapterControlSuccess
}

unsafe extern "C" fn build_io(extension: PVOID, srb: PSCSI_REQUEST_BLOCK) -> BOOLEAN {
    unsafe { misdeed::commit(extension, Moment::BuildIo, srb) };
    1
}

unsafe extern "C" fn start_io(extension: PVOID, srb: PSCSI_REQUEST_BLOCK) -> BOOLEAN {
    unsafe {
        let own = &mut *extension.cast::<Extension>();
        own.asked = (*srb).DataTransferLength;
        disk::answer(srb, own.misdeed);
        if own.dump && misdeed::commit(extension, Moment::DumpStartIo, srb) {
            return 1;
        }
        // MODE SENSE(6) is what a bus scan of the stand ends with.
        const MODE_SENSE_6: u8 = 0x1a;
        if (*srb).Cdb[0] == MODE_SENSE_6 {
            misdeed::commit(extension, Moment::LastRequest, srb);
        }
        const READ_10: u8 = 0x28;
        if (*srb).Cdb[0] == READ_10 && misdeed::commit(extension, Moment::Read, srb) {
            return 1;
        }
        if misdeed::commit(extension, Moment::StartIo, srb) {
            return 1;
        }
        complete(extension, srb);
        misdeed::commit(extension, Moment::AfterCompletion, srb);
    }
    1
}

/// Gives a request back.
unsafe fn complete(extension: PVOID, srb: PSCSI_REQUEST_BLOCK) {
    unsafe { StorPortNotification(_SCSI_NOTIFICATION_TYPE::RequestComplete, extension, srb) };
}

/// Type of a registry value of 32 bits ("StorPortRegistryRead").
const REG_DWORD: ULONG = 4;

/// The status of a request that went well.
const GOOD: u8 = SRB_STATUS_SUCCESS as u8;

impl Extension {
    /// The misdeed that this adapter is to commit.
    fn misdeed(&self) -> Option<Misdeed> {
        Misdeed::from_number(self.misdeed)
    }
}
