//! Reset, and what becomes of the requests that were outstanding.
//!
//! First the device, then the requests: until the device has been reset it may still write to their memory. When a
//! device does not come back from its reset, the requests it holds stay where they are: losing them would be
//! forgetting memory that is still being written to. The port driver's next reset tries again.

use storport::port::LogPart;
use storport::{Completion, DpcKind, LogEvent, Port, SrbStatus};
use virtio::transport::TransportError;

use crate::Adapter;
use crate::protocol::Protocol;
use crate::state::State;

/// Why the device is reset; the number in the log entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Reason {
    /// The port driver asked for it.
    PortDriver = 1,
    /// The device broke the ring's rules.
    DeviceFault = 2,
    /// The device asked for it (DEVICE_NEEDS_RESET).
    DeviceNeedsReset = 3,
}

impl<P: Port, D: Protocol> Adapter<P, D> {
    /// Resets the device, ends every request that was outstanding with a bus reset, and starts the device again.
    /// Returns whether it works.
    pub(crate) fn reset(&self, reason: Reason) -> bool {
        self.port.log(LogEvent { part: LogPart::Reset, number: reason as u32 });
        let mut path = self.path.lock();
        if !self.state.set(State::Failed) {
            return false;
        }
        match self.reset_device() {
            Ok(()) => {}
            Err(TransportError::Removed) => {
                drop(path);
                self.device_gone();
                return false;
            }
            Err(error) => {
                drop(path);
                self.port.log(LogEvent { part: LogPart::Transport, number: error.code() });
                return false;
            }
        }
        let mut ended = path.take_all();
        let restarted = self.bring_up(&mut path);
        drop(path);
        while let Some(srb) = ended.pop_front() {
            self.port.complete(srb, Completion::failed(SrbStatus::BUS_RESET));
        }
        match restarted {
            Ok(()) => true,
            Err(error) => {
                self.port.log(LogEvent { part: LogPart::Transport, number: error.code() });
                false
            }
        }
    }

    /// As [`device_gone`](Self::device_gone), from where the queue's lock may not be waited for: below DISPATCH_LEVEL, a
    /// DPC on the same processor could wait for it as well, for ever.
    pub(crate) fn device_gone_at_any_level(&self) {
        self.state.set(State::Gone);
        self.port.issue_dpc(DpcKind::Configuration);
    }

    /// The device is no longer there: nothing of it may be touched, and it touches no memory any more.
    pub(crate) fn device_gone(&self) {
        let mut ended = {
            let mut path = self.path.lock();
            self.state.set(State::Gone);
            path.take_all()
        };
        while let Some(srb) = ended.pop_front() {
            self.port.complete(srb, Completion::failed(SrbStatus::NO_DEVICE));
        }
    }
}
