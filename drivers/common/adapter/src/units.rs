//! Logical units that the protocol speaks for itself: StorPort is told more of them than INQUIRY data say.
//!
//! How many requests a unit takes at once is not among that: it is what `InitialLunQueueDepth` says of all units, from the
//! first request on (ns-storport-_port_configuration_information.md), and StorPortSetDeviceQueueDepth would say the same again.

use storport::{Completion, Port, SrbStatus, UnitAttributes};

use crate::protocol::Protocol;
use crate::{Adapter, Request};

/// INQUIRY, and the bit in its second byte that asks for something else than INQUIRY data (SPC-4, 6.6.1).
const INQUIRY: u8 = 0x12;
const EVPD: u8 = 1 << 0;

/// No asynchronous notification and no device attention ever comes from one. BypassIO is vetoed: Windows offers it for NVMe
/// alone, and what it asks of other miniports is not documented (storage/bypassio.md).
const ATTRIBUTES: UnitAttributes = UnitAttributes::D3_COLD_NOT_SUPPORTED;

impl<P: Port, D: Protocol> Adapter<P, D> {
    /// A SCSI command that was answered without the device. StorPort is to hear of attributes with the INQUIRY that finds the
    /// unit (nf-storport-storportsetunitattributes.md).
    #[cold]
    pub(crate) fn answered(&self, srb: &Request<D>, completion: Completion) -> Completion {
        let is_inquiry = matches!(srb.cdb(), [INQUIRY, flags, ..] if flags & EVPD == 0);
        if is_inquiry && completion.status == SrbStatus::SUCCESS {
            self.port.set_unit_attributes(srb.address(), ATTRIBUTES);
        }
        completion
    }
}
