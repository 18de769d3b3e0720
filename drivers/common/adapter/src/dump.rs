//! Dump mode: a second copy of the driver writes a crash dump or the hibernation file ("Restrictions on Miniport Drivers
//! that Manage the Boot Drive").
//!
//! Only one processor runs, at HIGH_LEVEL, and nobody takes interrupts or runs DPCs: the dump port driver calls
//! HwStorInterrupt again and again until a request is complete. The device is as the first copy left it, with requests
//! under way. Finding the adapter resets it before anything else, so none of them reaches memory any more; when it does
//! not end its reset in time, the adapter is declined, because what the device wrote meanwhile would be in the dump.
//!
//! The first copy, when there is still a use for it after a hibernation, starts the device from scratch itself.

use storport::{BuildIo, Completion, Port, SrbStatus};

use crate::build_io::Command;
use crate::protocol::Protocol;
use crate::reset::Reason;
use crate::state::State;
use crate::{Adapter, Request};

impl<P: Port, D: Protocol> Adapter<P, D> {
    /// Completes what the device has finished.
    pub(crate) fn take_finished(&self) {
        match self.state.get() {
            State::Gone => {
                self.device_gone();
                return;
            }
            State::Failed => self.come_back(),
            State::Stopped | State::Running | State::Faulty => {}
        }
        // What is not there yet is found by the next call.
        self.drain_and(0, |_| false);
    }

    /// Says what another copy of the driver will be able to do in dump mode.
    #[cold]
    pub(crate) fn answer_dump_pointers(&self, srb: &mut Request<D>) -> BuildIo<Command<D::Command>> {
        BuildIo::Complete(match srb.write_dump_pointers(&self.dump) {
            Some(bytes) => Completion::success(bytes),
            None => Completion::failed(SrbStatus::INVALID_REQUEST),
        })
    }

    /// `HwStorResetBus`. In dump mode it is to be disregarded; but when the device owes an answer, or has failed, nothing
    /// else could help.
    pub(crate) fn reset_for_port_driver(&self) -> bool {
        if self.polled && self.state.get() == State::Running && self.is_idle() {
            return true;
        }
        self.reset(Reason::PortDriver)
    }

    fn is_idle(&self) -> bool {
        self.queues.iter().all(|path| {
            let path = path.lock();
            path.ring.in_flight() == 0 && path.backlog.is_empty()
        })
    }
}
