//! The dump port driver, as another port driver beside StorPort: it runs a second copy of the image to write a crash dump or
//! the hibernation file ("Restrictions on Miniport Drivers that Manage the Boot Drive").
//!
//! It calls with everything at HIGH_LEVEL, on the only processor that still runs, and polls HwStorInterrupt instead of
//! taking interrupts. Nothing here makes a DPC, takes memory besides the two extensions, or reads the registry.
//!
//! So these three routines stand in for those of the same names in `callbacks`; requests take the same way.

use wdk_sys::{
    BOOLEAN, PBOOLEAN, PCHAR, PPORT_CONFIGURATION_INFORMATION, PVOID, SP_RETURN_ERROR, SP_RETURN_FOUND, ULONG,
};

use super::extension::DeviceExtension;
use super::resources::{KernelResources, Mode};
use super::{HwDeviceExtension, KernelPort};
use crate::miniport::{Interrupts, Miniport};

pub(super) unsafe extern "C" fn find_adapter<M: Miniport<Port = KernelPort>>(
    extension: PVOID,
    _context: PVOID,
    _bus_information: PVOID,
    _arguments: PCHAR,
    configuration: PPORT_CONFIGURATION_INFORMATION,
    _again: PBOOLEAN,
) -> ULONG {
    let hw = HwDeviceExtension(extension);
    // SAFETY: the extension is this miniport's, and no other callback runs before this one has returned.
    unsafe { DeviceExtension::<M>::clear(extension) };
    // SAFETY: the dump port driver was told of as many bytes when the image was loaded.
    let private = unsafe { DeviceExtension::<M>::share_out(extension, 0, M::DUMP_PRIVATE_BYTES) };
    // SAFETY: the device extension and the configuration for this adapter, ours for the length of the call; the private
    // memory belongs to the adapter that is being found.
    let mut resources = unsafe { KernelResources::new(hw, configuration, private, Mode::Dump) };
    match M::find_adapter(&mut resources) {
        Ok(adapter) => {
            // SAFETY: the extension is this miniport's, and no other callback runs before this one has returned.
            unsafe { DeviceExtension::set(extension, adapter) };
            SP_RETURN_FOUND
        }
        Err(_) => SP_RETURN_ERROR,
    }
}

pub(super) unsafe extern "C" fn initialize<M: Miniport<Port = KernelPort>>(extension: PVOID) -> BOOLEAN {
    // SAFETY: the device extension of this miniport.
    let adapter = unsafe { DeviceExtension::<M>::adapter(extension) };
    BOOLEAN::from(adapter.is_some_and(|adapter| adapter.initialize(Interrupts::None).is_ok()))
}

/// Called again and again until a request is complete, whether the device interrupts or not, so it is always ours.
pub(super) unsafe extern "C" fn interrupt<M: Miniport<Port = KernelPort>>(extension: PVOID) -> BOOLEAN {
    // SAFETY: the device extension of this miniport.
    let adapter = unsafe { DeviceExtension::<M>::adapter(extension) };
    if let Some(adapter) = adapter {
        adapter.poll();
    }
    BOOLEAN::from(adapter.is_some())
}
