//! `HwStorBuildIo`: what an SRB asks for, decided before any lock is taken.

use storport::{BuildIo, Completion, PnpAction, Port, SrbFunction, SrbStatus};

use crate::protocol::Protocol;
use crate::scratch::ScratchId;
use crate::{Adapter, Request, io_control};

/// What `start_io` has to do for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command<C> {
    /// Put it into the ring; the scratch buffer is one that it has from an earlier step.
    Request(C, Option<ScratchId>),
    /// Write to the device's configuration first, then put it into the ring.
    Configure(C),
    /// Reset the device. Logical unit, target and bus are all served by a reset of the whole device.
    Reset,
    /// The device is gone.
    SurpriseRemoval,
}

impl<P: Port, D: Protocol> Adapter<P, D> {
    pub(crate) fn build(&self, srb: &mut Request<D>) -> BuildIo<Command<D::Command>> {
        match srb.function() {
            SrbFunction::ExecuteScsi => match self.protocol.build_io(srb) {
                BuildIo::Start(command) if D::configuration_write(command).is_some() => {
                    BuildIo::Start(Command::Configure(command))
                }
                BuildIo::Start(command) => BuildIo::Start(Command::Request(command, None)),
                BuildIo::Complete(completion) => BuildIo::Complete(self.answered(srb, completion)),
            },
            function => self.build_other(srb, function),
        }
    }

    /// What is rare lies apart, so that reads and writes do not pay for it.
    #[cold]
    #[inline(never)]
    fn build_other(&self, srb: &mut Request<D>, function: SrbFunction) -> BuildIo<Command<D::Command>> {
        match function {
            SrbFunction::Flush | SrbFunction::Shutdown => match self.protocol.flush() {
                Some(command) => BuildIo::Start(Command::Request(command, None)),
                None => BuildIo::Complete(Completion::success(0)),
            },
            SrbFunction::ResetLogicalUnit | SrbFunction::ResetDevice | SrbFunction::ResetBus => {
                BuildIo::Start(Command::Reset)
            }
            SrbFunction::Pnp(PnpAction::SurpriseRemoval) => BuildIo::Start(Command::SurpriseRemoval),
            // Stopping the device itself comes as ScsiStopAdapter; what happens to a single unit, and power transitions,
            // need nothing from us.
            SrbFunction::Pnp(PnpAction::Stop | PnpAction::Remove | PnpAction::UnitGone)
            | SrbFunction::Power => BuildIo::Complete(Completion::success(0)),
            SrbFunction::Pnp(PnpAction::QueryAdapterCapabilities) => self.answer_capabilities(srb, false),
            SrbFunction::Pnp(PnpAction::QueryUnitCapabilities) => self.answer_capabilities(srb, true),
            SrbFunction::IoControl => io_control::answer(srb),
            SrbFunction::DumpPointers => self.answer_dump_pointers(srb),
            // Nothing is kept for a dump.
            SrbFunction::FreeDumpPointers => BuildIo::Complete(Completion::success(0)),
            // Nobody's resources are changed or filtered here. SRB_FUNCTION_ABORT_COMMAND is not sent to an adapter without
            // STOR_ADAPTER_FEATURE_ABORT_COMMAND (ns-storport-_port_configuration_information.md), and LOCK_QUEUE, UNLOCK_QUEUE
            // and QUIESCE_DEVICE stay between class and port driver (ns-storport-_storage_request_block.md). The status for
            // what is not done at all: ABORT_FAILED would say that there was no such request.
            // SRB_FUNCTION_WMI comes all the same, because WmiDataProvider is StorPort's to set and not to be changed
            // (ns-storport-_port_configuration_information.md). There is nothing to tell: neither device knows of ports, phys
            // or world-wide names, and what the HBA API's classes want besides would be made up.
            // A SCSI command is not rare, and does not come here.
            SrbFunction::ExecuteScsi | SrbFunction::Pnp(PnpAction::Other(_)) | SrbFunction::Other(_) => {
                BuildIo::Complete(Completion::failed(SrbStatus::INVALID_REQUEST))
            }
        }
    }
}
