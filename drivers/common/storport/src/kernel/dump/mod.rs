//! The dump port driver, as another port driver beside StorPort: it runs a second copy of the image to write a crash dump or
//! the hibernation file ("Restrictions on Miniport Drivers that Manage the Boot Drive").
//!
//! It calls with everything at HIGH_LEVEL, on the only processor that still runs, and polls HwStorInterrupt instead of
//! taking interrupts. Nothing here makes a DPC, takes memory besides the two extensions, or reads the registry.
//!
//! - this file: the `HwStor*` routines that differ from [`callbacks`](super::callbacks).
//! - [`port`]: the `Port` trait.
//! - [`srb`]: the request, which may be of the old kind.

mod port;
mod srb;

pub use port::DumpPort;
pub use srb::DumpSrb;

use wdk_sys::{
    BOOLEAN, HW_INITIALIZATION_DATA, PBOOLEAN, PCHAR, PPORT_CONFIGURATION_INFORMATION, PSCSI_REQUEST_BLOCK,
    PVOID, SP_RETURN_ERROR, SP_RETURN_FOUND, ULONG,
};

use super::entry;
use super::extension::DeviceExtension;
use super::resources::{KernelResources, Mode};
use super::srb::complete_undecoded;
use super::{HwDeviceExtension, size_of_ulong};
use crate::miniport::{BuildIo, Interrupts, Miniport};
use crate::port::Port;
use crate::srb::{Completion, SrbStatus};

const TRUE: BOOLEAN = 1;
const FALSE: BOOLEAN = 0;

pub(super) fn initialization_data<M: Miniport<Port = DumpPort>>() -> HW_INITIALIZATION_DATA {
    HW_INITIALIZATION_DATA {
        HwInitialize: Some(initialize::<M>),
        HwStartIo: Some(start_io::<M>),
        HwInterrupt: Some(interrupt::<M>),
        HwFindAdapter: find_adapter::<M> as *const () as PVOID,
        HwBuildIo: Some(build_io::<M>),
        DeviceExtensionSize: DeviceExtension::<M>::bytes(0, M::DUMP_PRIVATE_BYTES) as u32,
        SrbExtensionSize: size_of_ulong::<srb::Extension<M::Command>>(),
        ..entry::common::<M>()
    }
}

unsafe extern "C" fn find_adapter<M: Miniport<Port = DumpPort>>(
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
    let mut resources = unsafe { KernelResources::<DumpPort>::new(hw, configuration, private, Mode::Dump) };
    match M::find_adapter(&mut resources) {
        Ok(adapter) => {
            // SAFETY: the extension is this miniport's, and no other callback runs before this one has returned.
            unsafe { DeviceExtension::set(extension, adapter) };
            SP_RETURN_FOUND
        }
        Err(_) => SP_RETURN_ERROR,
    }
}

unsafe extern "C" fn initialize<M: Miniport<Port = DumpPort>>(extension: PVOID) -> BOOLEAN {
    // SAFETY: the device extension of this miniport.
    let adapter = unsafe { DeviceExtension::<M>::adapter(extension) };
    BOOLEAN::from(adapter.is_some_and(|adapter| adapter.initialize(Interrupts::None).is_ok()))
}

unsafe extern "C" fn build_io<M: Miniport<Port = DumpPort>>(
    extension: PVOID,
    srb: PSCSI_REQUEST_BLOCK,
) -> BOOLEAN {
    let hw = HwDeviceExtension(extension);
    // SAFETY: the dump port's request, ours until it is completed, with an extension of the size we asked for.
    let Some(mut request) = (unsafe { DumpSrb::<M::Command>::decode(srb) }) else {
        // SAFETY: as above; only the status byte, which both kinds of request have in the same place, is written.
        unsafe { complete_undecoded(hw, srb, SrbStatus::INVALID_REQUEST) };
        return FALSE;
    };
    // SAFETY: the device extension of this miniport.
    let completion = match unsafe { DeviceExtension::<M>::adapter(extension) } {
        None => Completion::failed(SrbStatus::NO_DEVICE),
        Some(adapter) => match adapter.build_io(&mut request) {
            BuildIo::Complete(completion) => completion,
            BuildIo::Start(command) => {
                if request.prepare(hw, command) {
                    return TRUE;
                }
                // Without a scatter/gather list the data cannot be given to the device. Another attempt may get one.
                Completion::failed(SrbStatus::BUS_RESET)
            }
        },
    };
    DumpPort::new(hw).complete(request, completion);
    FALSE
}

unsafe extern "C" fn start_io<M: Miniport<Port = DumpPort>>(
    extension: PVOID,
    srb: PSCSI_REQUEST_BLOCK,
) -> BOOLEAN {
    // SAFETY: the device extension of this miniport.
    let adapter = unsafe { DeviceExtension::<M>::adapter(extension) };
    // SAFETY: only requests are started for which `build_io` returned TRUE, which has prepared their extension.
    let request = unsafe { DumpSrb::<M::Command>::prepared(srb) };
    if let (Some(adapter), Some(request)) = (adapter, request) {
        adapter.start_io(request);
    }
    TRUE
}

/// Called again and again until a request is complete, whether the device interrupts or not, so it is always ours.
unsafe extern "C" fn interrupt<M: Miniport<Port = DumpPort>>(extension: PVOID) -> BOOLEAN {
    // SAFETY: the device extension of this miniport.
    let adapter = unsafe { DeviceExtension::<M>::adapter(extension) };
    if let Some(adapter) = adapter {
        adapter.poll();
    }
    BOOLEAN::from(adapter.is_some())
}
