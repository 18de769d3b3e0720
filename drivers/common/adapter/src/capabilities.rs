//! SRB_FUNCTION_PNP with StorQueryCapabilities.

use storport::{BuildIo, Completion, DeviceCapabilities, Port, SrbStatus};

use crate::build_io::Command;
use crate::protocol::Protocol;
use crate::{Adapter, Request};

impl<P: Port, D: Protocol> Adapter<P, D> {
    #[cold]
    pub(crate) fn answer_capabilities(
        &self,
        srb: &mut Request<D>,
        unit: bool,
    ) -> BuildIo<Command<D::Command>> {
        let capabilities = if unit {
            DeviceCapabilities::Unit { write_cache: self.protocol.write_cache_at_start() }
        } else {
            DeviceCapabilities::Adapter
        };
        BuildIo::Complete(match capabilities.fill(srb.parameters()) {
            Some(bytes) => Completion::success(bytes),
            None => Completion::failed(SrbStatus::INVALID_REQUEST),
        })
    }
}
