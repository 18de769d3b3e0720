//! `HwStorBuildIo`: what an SRB asks for, decided before any lock is taken. IRQL: up to DISPATCH_LEVEL. Lock: none.

use storport::{BuildIo, Completion, PnpAction, Port, SrbFunction, SrbStatus};

use super::{Command, Scope};
use crate::Adapter;
use crate::device_type::{DeviceType, Request};
use crate::service::{answer_adapter, answer_dump_pointers, answer_io_control, answer_unit};

impl<P: Port, D: DeviceType> Adapter<P, D> {
    #[inline(always)]
    pub(crate) fn build_io(&self, request: &mut Request<D>) -> BuildIo {
        match request.function() {
            SrbFunction::ExecuteScsi => match self.device_type.build_io(request) {
                BuildIo::Complete(completion) => BuildIo::Complete(self.answered(request, completion)),
                BuildIo::Start => BuildIo::Start,
            },
            function => self.build_other(request, function),
        }
    }

    /// What is rare lies apart, so that reads and writes do not pay for it.
    #[cold]
    #[inline(never)]
    fn build_other(&self, request: &mut Request<D>, function: SrbFunction) -> BuildIo {
        let done = |bytes| BuildIo::Complete(Completion::success(bytes));
        match function {
            // There is one bus, and what is reset on another is not to be looked for on this one.
            SrbFunction::ResetLogicalUnit | SrbFunction::ResetDevice | SrbFunction::ResetBus
                if request.address().path != 0 =>
            {
                BuildIo::Complete(Completion::failed(SrbStatus::NO_DEVICE))
            }
            SrbFunction::Flush | SrbFunction::Shutdown => match self.device_type.flush() {
                Some(command) => start(request, Command::new(command)),
                None => done(0),
            },
            SrbFunction::ResetLogicalUnit => {
                let unit = request.address();
                start(request, Command::Reset(Scope::Unit(unit)))
            }
            SrbFunction::ResetDevice => {
                let unit = request.address();
                start(request, Command::Reset(Scope::Target(unit)))
            }
            SrbFunction::ResetBus => start(request, Command::Reset(Scope::Device)),
            SrbFunction::AbortCommand if D::CONTROL_QUEUE.is_some() => start(request, Command::Abort(None)),
            SrbFunction::Pnp(PnpAction::SurpriseRemoval) => start(request, Command::SurpriseRemoval),
            // Stopping the device itself comes as ScsiStopAdapter; what happens to a single unit, and power transitions,
            // need nothing from us.
            SrbFunction::Pnp(PnpAction::Stop | PnpAction::Remove | PnpAction::UnitGone)
            | SrbFunction::Power => done(0),
            SrbFunction::Pnp(PnpAction::QueryAdapterCapabilities) => answer_adapter(request),
            SrbFunction::Pnp(PnpAction::QueryUnitCapabilities) => {
                answer_unit(request, self.facts.write_cache)
            }
            SrbFunction::IoControl => answer_io_control(request),
            SrbFunction::DumpPointers => answer_dump_pointers(request, &self.facts.dump),
            // Nothing is kept for a dump.
            SrbFunction::FreeDumpPointers => done(0),
            SrbFunction::Wmi(_) => self.answer_wmi(request),
            // Nobody's resources are changed or filtered here. LOCK_QUEUE, UNLOCK_QUEUE and QUIESCE_DEVICE stay between class and
            // port driver (ns-storport-_storage_request_block.md). The status for what is not done at all: of an abort that the
            // device has no function for, ABORT_FAILED would say that there was no such request.
            // SRB_FUNCTION_WMI comes to everybody, because WmiDataProvider is StorPort's to set and not to be changed
            // (ns-storport-_port_configuration_information.md); of a logical unit there is nothing to tell.
            // A SCSI command is not rare, and does not come here.
            SrbFunction::ExecuteScsi
            | SrbFunction::AbortCommand
            | SrbFunction::Pnp(PnpAction::Other(_))
            | SrbFunction::Other(_) => BuildIo::Complete(Completion::failed(SrbStatus::INVALID_REQUEST)),
        }
    }
}

fn start<C: Copy>(request: &mut storport::Request<Command<C>>, command: Command<C>) -> BuildIo {
    request.set_command(command);
    BuildIo::Start
}
