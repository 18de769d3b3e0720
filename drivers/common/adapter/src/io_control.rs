//! SRB_FUNCTION_IO_CONTROL: requests of programs.

use storport::io_control::{IoControl, firmware};
use storport::{BuildIo, Completion, Request, SrbStatus};

/// Answers a program. Who asks for the firmware is told that there is none; of everything else the signature is not ours, and
/// the status for that is given (ns-ntddscsi-_srb_io_control.md).
#[cold]
pub(crate) fn answer<C: Copy>(srb: &mut Request<C>) -> BuildIo<C> {
    let refused = BuildIo::Complete(Completion::failed(SrbStatus::INVALID_REQUEST));
    let Some(mut control) = IoControl::parse(srb.parameters()) else {
        return refused;
    };
    if (control.signature(), control.control_code()) != (firmware::SIGNATURE, firmware::CONTROL_CODE) {
        return refused;
    }
    let return_code = firmware::refusal(control.data());
    BuildIo::Complete(Completion::success(control.answer(return_code)))
}
