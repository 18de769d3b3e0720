//! The `HwStor*` routines. Each finds the adapter and calls one method of it; IRQL and lock are stated there.
//!
//! Every routine here is called by StorPort and by nobody else, with arguments as storport.h documents them: that is
//! what each `unsafe` block below relies on.

use wdk_sys::{
    _SCSI_ADAPTER_CONTROL_STATUS, BOOLEAN, MESSAGE_INTERRUPT_INFORMATION, PBOOLEAN, PCHAR,
    PPORT_CONFIGURATION_INFORMATION, PSCSI_REQUEST_BLOCK, PVOID, SCSI_ADAPTER_CONTROL_STATUS,
    SCSI_ADAPTER_CONTROL_TYPE, SCSI_SUPPORTED_CONTROL_TYPE_LIST, SHORT, SP_RETURN_ERROR, SP_RETURN_FOUND,
    STOR_DPC, STOR_STATUS_SUCCESS, ULONG,
};

use super::extension::{self, DeviceExtension, Header};
use super::resources::{KernelResources, Mode};
use super::{HwDeviceExtension, KernelPort, calls, log, srb};
use crate::adapter_control::AdapterControl;
use crate::dpc::DpcKind;
use crate::miniport::{BuildIo, Declined, InterruptWork, Interrupts, Miniport};
use crate::port::Port;
use crate::request::Request;
use crate::srb::{Completion, SrbStatus};

const TRUE: BOOLEAN = 1;
const FALSE: BOOLEAN = 0;

/// Most messages we look for: one for configuration changes and one per queue.
const MAX_MESSAGES: u16 = 2048;

pub(super) unsafe extern "C" fn find_adapter<M: Miniport<Port = KernelPort>>(
    extension: PVOID,
    _context: PVOID,
    _bus_information: PVOID,
    _arguments: PCHAR,
    configuration: PPORT_CONFIGURATION_INFORMATION,
    _again: PBOOLEAN,
) -> ULONG {
    let hw = HwDeviceExtension(extension);
    // An earlier adapter uses the private memory that the new one is about to get.
    // SAFETY: the extension is this miniport's, and no other callback runs before this one has returned.
    unsafe { DeviceExtension::<M>::clear(extension) };
    let queues = extension::most_queues();
    // SAFETY: StorPort was told of as many bytes when the image was loaded.
    let private = unsafe { DeviceExtension::<M>::share_out(extension, queues, M::private_bytes(queues)) };
    let mode = Mode::Normal {
        message_routine: interrupt_of_message::<M>,
        state_change: Some(state_change::<M>),
        most_queues: queues,
    };
    // SAFETY: StorPort's device extension and its configuration for this adapter, ours for the length of the call; the
    // private memory belongs to the adapter that is being found.
    let mut resources = unsafe { KernelResources::new(hw, configuration, private, mode) };
    if resources.is_for_dump() {
        // DriverEntry was told otherwise, and these routines need interrupts and DPCs.
        return SP_RETURN_ERROR;
    }
    match M::find_adapter(&mut resources) {
        Ok(adapter) => {
            // SAFETY: the extension is this miniport's, and no other callback runs before this one has returned.
            unsafe { DeviceExtension::set(extension, adapter) };
            SP_RETURN_FOUND
        }
        Err(Declined(event)) => {
            KernelPort::new(hw).report(event);
            SP_RETURN_ERROR
        }
    }
}

pub(super) unsafe extern "C" fn initialize<M: Miniport<Port = KernelPort>>(extension: PVOID) -> BOOLEAN {
    // SAFETY: StorPort's device extension of this miniport.
    let Some(adapter) = (unsafe { DeviceExtension::<M>::adapter(extension) }) else {
        return FALSE;
    };
    let hw = HwDeviceExtension(extension);
    if let Err(event) = adapter.initialize(interrupts(hw)) {
        log::failed_start(hw, event);
        return FALSE;
    }
    // SAFETY: the routine is for this miniport's adapters.
    let enabled = unsafe { calls::enable_passive_initialization(hw, Some(passive_initialize::<M>)) };
    BOOLEAN::from(enabled)
}

/// How many messages we were given. Asking ends with the first number that does not exist.
fn interrupts(hw: HwDeviceExtension) -> Interrupts {
    let messages = (0..MAX_MESSAGES).take_while(|message| {
        let mut information = MESSAGE_INTERRUPT_INFORMATION::default();
        // SAFETY: the structure is ours to have filled.
        let status = unsafe { calls::get_msi_info(hw, ULONG::from(*message), &raw mut information) };
        status == STOR_STATUS_SUCCESS
    });
    match messages.count() {
        0 => Interrupts::Line,
        count => Interrupts::Messages(count as u16),
    }
}

/// `HwStorPassiveInitializeRoutine`: DPC objects can be made ready at PASSIVE_LEVEL only.
unsafe extern "C" fn passive_initialize<M: Miniport<Port = KernelPort>>(extension: PVOID) -> BOOLEAN {
    let hw = HwDeviceExtension(extension);
    // SAFETY: StorPort's device extension.
    let header = unsafe { Header::of(hw) };
    for index in 0..header.dpcs() {
        // SAFETY: the object lives as long as the adapter.
        unsafe { calls::initialize_dpc(hw, header.dpc(index), Some(dpc::<M>)) };
    }
    if header.set_dpcs_ready() {
        KernelPort::new(hw).issue_dpc(DpcKind::Service);
    }
    TRUE
}

pub(super) unsafe extern "C" fn build_io<M: Miniport<Port = KernelPort>>(
    extension: PVOID,
    srb: PSCSI_REQUEST_BLOCK,
) -> BOOLEAN {
    let hw = HwDeviceExtension(extension);
    // SAFETY: StorPort's device extension of this miniport.
    let Some(adapter) = (unsafe { DeviceExtension::<M>::adapter(extension) }) else {
        // SAFETY: StorPort's request, ours until it is completed.
        unsafe { srb::complete_undecoded(hw, srb, SrbStatus::NO_DEVICE) };
        return FALSE;
    };
    // SAFETY: StorPort's request, ours until it is completed, with an extension of the size we asked for.
    match unsafe { srb::decode_usual::<M::Command>(hw, srb) } {
        Some(request) => build::<M, true>(adapter, hw, request),
        // SAFETY: as above.
        None => unsafe { build_unusual(adapter, hw, srb) },
    }
}

/// What is rare has code of its own, so that the usual request's is compiled for what is known of it.
///
/// # Safety
/// As for [`srb::decode_unusual`].
#[cold]
#[inline(never)]
unsafe fn build_unusual<M: Miniport<Port = KernelPort>>(
    adapter: &M,
    hw: HwDeviceExtension,
    srb: PSCSI_REQUEST_BLOCK,
) -> BOOLEAN {
    // SAFETY: the caller's promise.
    match unsafe { srb::decode_unusual::<M::Command>(hw, srb) } {
        Some(request) => build::<M, false>(adapter, hw, request),
        None => {
            // SAFETY: as above; only the status byte and the length are written, which every request has.
            unsafe { srb::complete_undecoded(hw, srb, SrbStatus::INVALID_REQUEST) };
            FALSE
        }
    }
}

/// `PREPARED`: it is known already that there is a scatter/gather list.
#[inline(always)]
fn build<M: Miniport<Port = KernelPort>, const PREPARED: bool>(
    adapter: &M,
    hw: HwDeviceExtension,
    mut request: Request<M::Command>,
) -> BOOLEAN {
    let completion = match adapter.build_io(&mut request) {
        BuildIo::Complete(completion) => completion,
        BuildIo::Start if PREPARED || request.is_prepared() => {
            request.leave();
            return TRUE;
        }
        // Without a scatter/gather list the data cannot be given to the device. Another attempt may get one.
        BuildIo::Start => Completion::failed(SrbStatus::BUS_RESET),
    };
    complete_now(hw, request, completion)
}

#[cold]
#[inline(never)]
fn complete_now<C: Copy>(hw: HwDeviceExtension, request: Request<C>, completion: Completion) -> BOOLEAN {
    KernelPort::new(hw).complete(request.end(completion));
    FALSE
}

pub(super) unsafe extern "C" fn start_io<M: Miniport<Port = KernelPort>>(
    extension: PVOID,
    srb: PSCSI_REQUEST_BLOCK,
) -> BOOLEAN {
    // SAFETY: StorPort's device extension of this miniport.
    let adapter = unsafe { DeviceExtension::<M>::adapter(extension) };
    // SAFETY: StorPort starts only requests for which `build_io` returned TRUE, which has prepared their extension.
    let request: Option<Request<M::Command>> = unsafe { srb::prepared(srb) };
    if let (Some(adapter), Some(request)) = (adapter, request) {
        adapter.start_io(request);
    }
    TRUE
}

pub(super) unsafe extern "C" fn interrupt<M: Miniport<Port = KernelPort>>(extension: PVOID) -> BOOLEAN {
    // SAFETY: StorPort's device extension of this miniport.
    unsafe { handle_interrupt::<M>(extension, None) }
}

pub(super) unsafe extern "C" fn interrupt_of_message<M: Miniport<Port = KernelPort>>(
    extension: PVOID,
    message: ULONG,
) -> BOOLEAN {
    // SAFETY: StorPort's device extension of this miniport.
    unsafe { handle_interrupt::<M>(extension, Some(message)) }
}

/// # Safety
/// `extension` must be StorPort's device extension of this miniport.
unsafe fn handle_interrupt<M: Miniport<Port = KernelPort>>(
    extension: PVOID,
    message: Option<u32>,
) -> BOOLEAN {
    // SAFETY: the caller's promise.
    let Some(adapter) = (unsafe { DeviceExtension::<M>::adapter(extension) }) else {
        return FALSE;
    };
    let work: InterruptWork = adapter.interrupt(message);
    let port = KernelPort::new(HwDeviceExtension(extension));
    if let Some(queue) = work.request_queue {
        port.issue_dpc(DpcKind::RequestQueue(queue));
    }
    if work.service {
        port.issue_dpc(DpcKind::Service);
    }
    BOOLEAN::from(work.is_ours())
}

/// The arguments of a DPC that was queued already are lost, but every DPC object is issued with the same number always.
unsafe extern "C" fn dpc<M: Miniport<Port = KernelPort>>(
    _dpc: *mut STOR_DPC,
    extension: PVOID,
    number: PVOID,
    _argument2: PVOID,
) {
    // SAFETY: StorPort's device extension of this miniport.
    if let Some(adapter) = unsafe { DeviceExtension::<M>::adapter(extension) } {
        adapter.dpc(DpcKind::from_index(number.addr()));
    }
}

/// `HwStorStateChange`. Whether StorPort could make anything of the change is not asked: the next one is told all the same.
unsafe extern "C" fn state_change<M: Miniport<Port = KernelPort>>(
    extension: PVOID,
    _context: PVOID,
    _address_type: SHORT,
    _address: PVOID,
    _status: ULONG,
) {
    // SAFETY: StorPort's device extension of this miniport.
    if let Some(adapter) = unsafe { DeviceExtension::<M>::adapter(extension) } {
        adapter.state_change();
    }
}

pub(super) unsafe extern "C" fn reset_bus<M: Miniport>(extension: PVOID, _path: ULONG) -> BOOLEAN {
    // SAFETY: StorPort's device extension of this miniport.
    let adapter = unsafe { DeviceExtension::<M>::adapter(extension) };
    BOOLEAN::from(adapter.is_some_and(Miniport::reset_bus))
}

pub(super) unsafe extern "C" fn adapter_control<M: Miniport>(
    extension: PVOID,
    control: SCSI_ADAPTER_CONTROL_TYPE,
    parameters: PVOID,
) -> SCSI_ADAPTER_CONTROL_STATUS {
    // SAFETY: StorPort's device extension of this miniport.
    let Some(adapter) = (unsafe { DeviceExtension::<M>::adapter(extension) }) else {
        return _SCSI_ADAPTER_CONTROL_STATUS::ScsiAdapterControlUnsuccessful;
    };
    let done = match AdapterControl::of(control as u32) {
        Some(AdapterControl::QuerySupported) => {
            // SAFETY: the parameters of this control are the list to fill in.
            unsafe { list_controls(parameters.cast()) };
            true
        }
        Some(AdapterControl::Stop) => {
            adapter.stop();
            true
        }
        Some(AdapterControl::Restart) => adapter.restart(),
        Some(AdapterControl::SurpriseRemoval) => {
            adapter.surprise_removal();
            true
        }
        None => false,
    };
    if done {
        _SCSI_ADAPTER_CONTROL_STATUS::ScsiAdapterControlSuccess
    } else {
        _SCSI_ADAPTER_CONTROL_STATUS::ScsiAdapterControlUnsuccessful
    }
}

/// # Safety
/// `list` must be the parameters of ScsiQuerySupportedControlTypes.
unsafe fn list_controls(list: *mut SCSI_SUPPORTED_CONTROL_TYPE_LIST) {
    // SAFETY: the caller's promise; the first field is the number of entries that follow.
    let entries = unsafe { (*list).MaxControlType };
    // SAFETY: as above.
    let first = unsafe { (&raw mut (*list).SupportedTypeList).cast::<BOOLEAN>() };
    for place in AdapterControl::listed(entries) {
        // SAFETY: the place lies below the number of entries.
        let entry = unsafe { first.add(place) };
        // SAFETY: the entry is one of the list's.
        unsafe { entry.write(TRUE) };
    }
}
