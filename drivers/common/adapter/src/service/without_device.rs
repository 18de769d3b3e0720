//! Requests that are answered without the device. IRQL: up to DISPATCH_LEVEL. Lock: none.
//!
//! How many requests a unit takes at once is not told with its INQUIRY data: it is what `InitialLunQueueDepth` says of all
//! units, from the first request on (ns-storport-_port_configuration_information.md), and StorPortSetDeviceQueueDepth would
//! say the same again.

use storport::io_control::{IoControl, firmware};
use storport::{
    BuildIo, Completion, DeviceCapabilities, DumpLimits, Port, Request, SrbStatus, UnitAttributes,
};

use crate::Adapter;
use crate::device_type::{AdapterState, DeviceType, Probe};

/// INQUIRY, and the bit in its second byte that asks for something else than INQUIRY data (SPC-4, 6.6.1).
const INQUIRY: u8 = 0x12;
const EVPD: u8 = 1 << 0;

/// Of a logical unit that the device type speaks for. No asynchronous notification and no device attention ever comes from
/// one. BypassIO is vetoed: Windows offers it for NVMe alone, and what it asks of other miniports is not documented
/// (storage/bypassio.md).
const ATTRIBUTES: UnitAttributes = UnitAttributes::D3_COLD_NOT_SUPPORTED;

/// SRB_FUNCTION_PNP with StorQueryCapabilities, for the adapter.
pub(crate) fn answer_adapter<C: Copy>(request: &mut Request<C>) -> BuildIo {
    written(DeviceCapabilities::Adapter.fill(request.parameters()))
}

/// The same for a logical unit, whose write cache was on when it was found, or is not known to have been.
pub(crate) fn answer_unit<C: Copy>(request: &mut Request<C>, write_cache: bool) -> BuildIo {
    written(DeviceCapabilities::Unit { write_cache }.fill(request.parameters()))
}

/// SRB_FUNCTION_DUMP_POINTERS: what another copy of the driver will be able to do in dump mode.
pub(crate) fn answer_dump_pointers<C: Copy>(request: &mut Request<C>, limits: &DumpLimits) -> BuildIo {
    written(request.write_dump_pointers(limits))
}

/// SRB_FUNCTION_IO_CONTROL: requests of programs. Who asks for the firmware is told that there is none; of everything else the
/// signature is not ours, and the status for that is given (ns-ntddscsi-_srb_io_control.md).
pub(crate) fn answer_io_control<C: Copy>(request: &mut Request<C>) -> BuildIo {
    let Some(mut control) = IoControl::parse(request.parameters()) else {
        return written(None);
    };
    if (control.signature(), control.control_code()) != (firmware::SIGNATURE, firmware::CONTROL_CODE) {
        return written(None);
    }
    let return_code = firmware::refusal(control.data());
    written(Some(control.answer(return_code)))
}

/// So much was written into the structure that came with a request; `None`: it is too short, or none of ours.
fn written(bytes: Option<u32>) -> BuildIo {
    BuildIo::Complete(match bytes {
        Some(bytes) => Completion::success(bytes),
        None => Completion::failed(SrbStatus::INVALID_REQUEST),
    })
}

impl<P: Port, D: DeviceType> Adapter<P, D> {
    /// SRB_FUNCTION_WMI, for the adapter.
    pub(crate) fn answer_wmi(&self, request: &mut crate::Request<D>) -> BuildIo {
        let Some(call) = request.wmi() else { return written(None) };
        let Self { device_type, facts, life_cycle, queues, recovery, port, .. } = self;
        let routing = queues.routing();
        let state = AdapterState {
            running: recovery.rung().is_running(),
            features: life_cycle.running().features(),
            queues: routing.queues,
            by_message: routing.by_message,
            max_requests_per_lun: facts.max_requests_per_lun,
            max_segments: facts.max_segments,
        };
        BuildIo::Complete(device_type.wmi(&state, call, || port.system_time()))
    }

    /// A SCSI command that was answered without the device. StorPort is to hear of attributes with the INQUIRY that finds the
    /// unit (nf-storport-storportsetunitattributes.md).
    #[cold]
    pub(crate) fn answered(&self, request: &crate::Request<D>, completion: Completion) -> Completion {
        let is_inquiry = matches!(request.cdb(), [INQUIRY, flags, ..] if flags & EVPD == 0);
        if is_inquiry && completion.status == SrbStatus::SUCCESS {
            self.port.set_unit_attributes(request.address(), ATTRIBUTES);
        }
        completion
    }
}
