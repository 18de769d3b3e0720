//! DriverEntry: which routine is for what, told once to StorPort or to the dump port driver (`StorPortInitialize`).
//! IRQL: PASSIVE_LEVEL, for the dump port driver HIGH_LEVEL.

use core::ptr;

use wdk_sys::storage::StorPortInitialize;
use wdk_sys::{
    _INTERFACE_TYPE, ADDRESS_TYPE_FLAG_BTL8, DRIVER_OBJECT, HW_INITIALIZATION_DATA, NTSTATUS,
    PUNICODE_STRING, PVOID, SRB_TYPE_FLAG_STORAGE_REQUEST_BLOCK, STOR_FEATURE_DUMP_POINTERS,
    STOR_FEATURE_FULL_PNP_DEVICE_CAPABILITIES, STOR_MAP_NON_READ_WRITE_BUFFERS,
};

use super::callbacks as hw;
use super::extension::{self, DeviceExtension};
use super::registers::BASE_ADDRESS_REGISTERS;
use super::{KernelPort, dump, processors, size_of_ulong};
use crate::miniport::Miniport;
use crate::request::Extension;

/// Makes the `DriverEntry` of an image that holds this one miniport.
#[macro_export]
macro_rules! export_miniport {
    ($adapter:ty) => {
        #[expect(unsafe_code, reason = "the entry point has a fixed name and takes pointers")]
        /// What the kernel calls when it has loaded the image.
        ///
        /// # Safety
        /// `driver` and `registry_path` are the kernel's, as documented for DRIVER_INITIALIZE.
        // SAFETY: the linker is told that this name is the image's entry point; nothing else in the image has it.
        #[unsafe(export_name = "DriverEntry")]
        pub unsafe extern "system" fn driver_entry(
            driver: *mut $crate::kernel::entry::DriverObject,
            registry_path: $crate::kernel::entry::RegistryPath,
        ) -> $crate::kernel::entry::Status {
            // SAFETY: both arguments are passed on as they came from the kernel.
            unsafe { $crate::kernel::entry::driver_entry::<$adapter>(driver, registry_path) }
        }
    };
}

/// DRIVER_OBJECT
pub type DriverObject = DRIVER_OBJECT;
/// PUNICODE_STRING; null when the image is loaded for a crash dump.
pub type RegistryPath = PUNICODE_STRING;
/// NTSTATUS
pub type Status = NTSTATUS;

/// Registers a miniport with StorPort, or with the dump port driver, which passes no arguments ("Restrictions on Miniport
/// Drivers that Manage the Boot Drive").
///
/// # Safety
/// The arguments must be those of the image's DriverEntry.
pub unsafe fn driver_entry<M: Miniport<Port = KernelPort>>(
    driver: *mut DriverObject,
    registry_path: RegistryPath,
) -> Status {
    let mut data =
        if registry_path.is_null() { dump_initialization_data::<M>() } else { initialization_data::<M>() };
    // SAFETY: the first two arguments are DriverEntry's, the third lives until the call returns, and the fourth may
    // be null for a physical adapter.
    unsafe {
        StorPortInitialize(driver.cast(), registry_path.cast(), &raw mut data, ptr::null_mut()) as Status
    }
}

/// There is no `HwUnitControl` (nc-storport-hw_unit_control.md, ne-storport-scsi_unit_control_type.md): a unit is not started
/// or powered by anybody here, and of one that is gone the requests end with the device's answer, or with a reset when there is
/// none, never while it may still write to their memory. What is left of it comes as SRB_FUNCTION_PNP and SRB_FUNCTION_POWER.
fn initialization_data<M: Miniport<Port = KernelPort>>() -> HW_INITIALIZATION_DATA {
    let queues = processors::possible().clamp(1, M::MAX_QUEUES);
    extension::set_most_queues(queues);
    HW_INITIALIZATION_DATA {
        HwInitialize: Some(hw::initialize::<M>),
        HwInterrupt: Some(hw::interrupt::<M>),
        HwFindAdapter: hw::find_adapter::<M> as *const () as PVOID,
        DeviceExtensionSize: DeviceExtension::<M>::bytes(queues, M::private_bytes(queues)) as u32,
        FeatureSupport: STOR_FEATURE_DUMP_POINTERS | STOR_FEATURE_FULL_PNP_DEVICE_CAPABILITIES,
        ..common::<M>()
    }
}

/// For the dump port driver: three routines are others.
fn dump_initialization_data<M: Miniport<Port = KernelPort>>() -> HW_INITIALIZATION_DATA {
    HW_INITIALIZATION_DATA {
        HwInitialize: Some(dump::initialize::<M>),
        HwInterrupt: Some(dump::interrupt::<M>),
        HwFindAdapter: dump::find_adapter::<M> as *const () as PVOID,
        DeviceExtensionSize: DeviceExtension::<M>::bytes(0, M::DUMP_PRIVATE_BYTES) as u32,
        ..common::<M>()
    }
}

/// What is the same for both.
fn common<M: Miniport<Port = KernelPort>>() -> HW_INITIALIZATION_DATA {
    HW_INITIALIZATION_DATA {
        HwInitializationDataSize: size_of_ulong::<HW_INITIALIZATION_DATA>(),
        AdapterInterfaceType: _INTERFACE_TYPE::PCIBus,
        HwBuildIo: Some(hw::build_io::<M>),
        HwStartIo: Some(hw::start_io::<M>),
        HwResetBus: Some(hw::reset_bus::<M>),
        HwAdapterControl: Some(hw::adapter_control::<M>),
        SrbExtensionSize: size_of_ulong::<Extension<M::Command>>(),
        NumberOfAccessRanges: BASE_ADDRESS_REGISTERS,
        // Data buffers of anything but reads and writes are looked at by the processor.
        MapBuffers: STOR_MAP_NON_READ_WRITE_BUFFERS as u8,
        NeedPhysicalAddresses: 1,
        TaggedQueuing: 1,
        AutoRequestSense: 1,
        MultipleRequestPerLu: 1,
        SrbTypeFlags: SRB_TYPE_FLAG_STORAGE_REQUEST_BLOCK,
        AddressTypeFlags: ADDRESS_TYPE_FLAG_BTL8,
        ..Default::default()
    }
}
