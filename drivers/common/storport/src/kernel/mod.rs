//! The real port driver: StorPort, through wdk-sys.
//!
//! UNSAFETY: this module turns StorPort's pointers into the safe types of the crate, and nothing else does.
//!
//! From above to below; a file needs those below it only:
//!
//! - [`entry`]: DriverEntry and the table of callbacks.
//! - `callbacks`: the `HwStor*` routines; each finds the adapter in the device extension and calls one `Miniport` method.
//!   `dump`: those of which the dump port driver needs others, which stands in for StorPort when the system has crashed.
//! - `resources`: the `Resources` trait over what HwStorFindAdapter gets. `srb`: what is found in an SRB.
//! - `port`: the `Port` trait over StorPort's exports. `log`: events.
//! - `extension`: what lies in the device extension. `units`: what StorPort is told of a logical unit.
//! - `registers`: mapped ranges, and configuration space, once the adapter is found over the HAL's exports. `registry`: the
//!   service's parameters. `processors`.
//! - `calls`: StorPort's functions with variable arguments, each with its own.
#![expect(unsafe_code, reason = "the boundary to the C interface of StorPort")]

mod callbacks;
mod calls;
mod dump;
pub mod entry;
mod extension;
mod log;
mod port;
mod processors;
mod registers;
mod registry;
mod resources;
mod srb;
mod units;

pub use port::KernelPort;

use static_assertions::const_assert_eq;
use wdk_sys::{
    DUMP_MINIPORT_VERSION_1, FIRMWARE_REQUEST_BLOCK, FIRMWARE_STATUS_ILLEGAL_REQUEST,
    FIRMWARE_STATUS_INVALID_PARAMETER, HW_INITIALIZATION_DATA, MESSAGE_INTERRUPT_INFORMATION,
    MINIPORT_DUMP_POINTERS, PERF_CONFIGURATION_DATA, PORT_CONFIGURATION_INFORMATION, PVOID,
    SCSI_REQUEST_BLOCK, SRB_IO_CONTROL, SRBEX_DATA_PNP, SRBEX_DATA_SCSI_CDB16, STOR_ADDR_BTL8,
    STOR_DEVICE_CAPABILITIES_EX, STOR_DPC, STOR_SCATTER_GATHER_ELEMENT, STORAGE_REQUEST_BLOCK, ULONG,
};

// What StorPort reads and writes by offset. A header that leaves one of these incomplete makes it an empty structure
// here, and StorPort writes past it.
#[cfg(target_pointer_width = "64")]
mod sizes {
    use core::mem::offset_of;

    use wdk_sys::_SCSI_ADAPTER_CONTROL_TYPE::{
        ScsiAdapterSurpriseRemoval, ScsiQuerySupportedControlTypes, ScsiRestartAdapter, ScsiStopAdapter,
    };

    use super::*;
    use crate::adapter_control::AdapterControl;
    use crate::srb::DumpLimits;

    const_assert_eq!(ScsiQuerySupportedControlTypes as u32, AdapterControl::QuerySupported.number());
    const_assert_eq!(ScsiStopAdapter as u32, AdapterControl::Stop.number());
    const_assert_eq!(ScsiRestartAdapter as u32, AdapterControl::Restart.number());
    const_assert_eq!(ScsiAdapterSurpriseRemoval as u32, AdapterControl::SurpriseRemoval.number());

    const_assert_eq!(size_of::<FIRMWARE_REQUEST_BLOCK>(), crate::io_control::firmware::REQUEST_BYTES);
    const_assert_eq!(FIRMWARE_STATUS_ILLEGAL_REQUEST, crate::io_control::firmware::ILLEGAL_REQUEST);
    const_assert_eq!(FIRMWARE_STATUS_INVALID_PARAMETER, crate::io_control::firmware::INVALID_PARAMETER);
    const_assert_eq!(size_of::<SRB_IO_CONTROL>(), crate::io_control::HEADER_BYTES);
    const_assert_eq!(size_of::<HW_INITIALIZATION_DATA>(), 208);
    const_assert_eq!(size_of::<MESSAGE_INTERRUPT_INFORMATION>(), 32);
    const_assert_eq!(size_of::<PERF_CONFIGURATION_DATA>(), 40);
    const_assert_eq!(size_of::<PORT_CONFIGURATION_INFORMATION>(), 224);
    const_assert_eq!(size_of::<MINIPORT_DUMP_POINTERS>(), DumpLimits::BYTES);
    const_assert_eq!(offset_of!(MINIPORT_DUMP_POINTERS, Version), DumpLimits::VERSION);
    const_assert_eq!(offset_of!(MINIPORT_DUMP_POINTERS, Size), DumpLimits::SIZE);
    const_assert_eq!(
        offset_of!(MINIPORT_DUMP_POINTERS, MiniportPrivateDumpData),
        DumpLimits::MINIPORT_PRIVATE_DUMP_DATA
    );
    const_assert_eq!(
        offset_of!(MINIPORT_DUMP_POINTERS, MaximumTransferLength),
        DumpLimits::MAXIMUM_TRANSFER_LENGTH
    );
    const_assert_eq!(
        offset_of!(MINIPORT_DUMP_POINTERS, NumberOfPhysicalBreaks),
        DumpLimits::NUMBER_OF_PHYSICAL_BREAKS
    );
    const_assert_eq!(DUMP_MINIPORT_VERSION_1, DumpLimits::VERSION_1 as u32);
    const_assert_eq!(size_of::<SCSI_REQUEST_BLOCK>(), 88);
    const_assert_eq!(size_of::<SRBEX_DATA_PNP>(), 24);
    const_assert_eq!(size_of::<SRBEX_DATA_SCSI_CDB16>(), 40);
    const_assert_eq!(size_of::<STOR_ADDR_BTL8>(), 16);
    const_assert_eq!(size_of::<STOR_DEVICE_CAPABILITIES_EX>(), crate::capabilities::FULL_BYTES);
    const_assert_eq!(size_of::<STOR_DPC>(), 72);
    const_assert_eq!(size_of::<STOR_SCATTER_GATHER_ELEMENT>(), 24);
    const_assert_eq!(size_of::<STORAGE_REQUEST_BLOCK>(), 128);
}

/// `HwDeviceExtension`: the first argument of every StorPort call.
#[derive(Clone, Copy, Debug)]
struct HwDeviceExtension(PVOID);

// SAFETY: the value is an address that is only handed back to StorPort, whose routines may be called on any processor.
unsafe impl Send for HwDeviceExtension {}
// SAFETY: as above; nothing is accessed through a shared reference to it.
unsafe impl Sync for HwDeviceExtension {}

/// Size of a structure, as StorPort's `ULONG` fields take it.
const fn size_of_ulong<T>() -> ULONG {
    size_of::<T>() as ULONG
}
