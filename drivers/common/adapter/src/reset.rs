//! Reset, and what becomes of the requests that were outstanding.
//!
//! There is one reset for all queues of a device, so it takes all their locks, and the requests of all end with it.
//!
//! First the device, then the requests: until the device has been reset it may still write to their memory. A device
//! that does not come back from its reset is kept from memory by other means: with Bus Master off, its PCI function issues
//! no memory request, whatever its virtio side is doing. Then the requests end as well, which is what StorPort expects of
//! HwStorResetBus (nc-storport-hw_reset_bus.md), and the adapter is failed. That the device still believes to have them
//! does no harm: of a failed adapter nobody looks at the ring, and the start that puts an end to that empties it.
//!
//! Should Bus Master not go off either, the requests stay where they are: losing them would be forgetting memory that is
//! still being written to. The port driver's next reset tries again.
//!
//! A failed adapter comes back by itself: a timer has the device looked at until it can be started. The requests that a
//! reset ended come again, as BUS_RESET tells their senders, and they do so at once and four times only (classpnp's
//! ClassInterpretSenseInfo and MAXIMUM_RETRIES). So those that come to a failed adapter are not sent back again: they wait
//! here until the device runs, or until their own time is over and the port driver resets the bus. That way a device may
//! take minutes.

use core::sync::atomic::Ordering;

use storport::{Completion, DpcKind, LogEvent, Port, Requests, SrbStatus};
use virtio::transport::{BusMasterError, TransportError};

use crate::Adapter;
use crate::events::Event;
use crate::protocol::Protocol;
use crate::queues::AllPaths;
use crate::request_path::Waiting;
use crate::state::State;

/// Why the device is reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The port driver asked for it.
    PortDriver,
    /// The device broke the ring's rules.
    DeviceFault,
    /// The device asked for it (DEVICE_NEEDS_RESET).
    DeviceNeedsReset,
}

impl From<Reason> for LogEvent {
    fn from(reason: Reason) -> Self {
        let event = match reason {
            Reason::PortDriver => Event::ResetByPortDriver,
            Reason::DeviceFault => Event::ResetAfterFault,
            Reason::DeviceNeedsReset => Event::ResetByDevice,
        };
        event.into()
    }
}

/// Time between two looks at a device that has failed, in microseconds.
const LOOK_AGAIN_MICROSECONDS: u32 = 100_000;

/// Looks after which a reset that has not ended is begun anew.
const LOOKS_AT_ONE_RESET: u32 = 100;

/// What became of a device that was to be kept from memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CutOff {
    /// It does not reach memory any more.
    Done,
    /// It is no longer there.
    Gone,
    /// It may still write to memory.
    Failed,
}

impl<P: Port, D: Protocol> Adapter<P, D> {
    /// Resets the device, ends every request that was outstanding with a bus reset, and starts the device again.
    /// Returns whether that was done, as far as the port driver can see: a device that still needs time for it has no requests
    /// any more and reaches no memory. To fail would have the port driver try harder means, which are the same here, and each
    /// would cost the requests one of the few times that they come again.
    pub(crate) fn reset(&self, reason: Reason) -> bool {
        self.report(reason.into());
        let mut paths = self.queues.lock_all();
        // The port driver may have stopped the adapter since the reason for this: its requests wait for the restart.
        if !self.state.set_unless_stopped(State::Failed) {
            return false;
        }
        match self.reset_device() {
            Ok(_) => {}
            Err(TransportError::Removed) => {
                drop(paths);
                self.device_found_gone();
                return false;
            }
            Err(error) => {
                self.report(Event::of_transport(error));
                let ended = self.end_without_reset(paths);
                self.look_later();
                return ended;
            }
        }
        let ended = take_all(&mut paths);
        let restarted = self.bring_up(&mut paths);
        drop(paths);
        self.end_all(ended, SrbStatus::BUS_RESET);
        match restarted {
            Ok(()) => true,
            Err(event) => {
                self.report(event);
                self.look_later();
                self.is_reset_under_way() && self.state.get() == State::Failed
            }
        }
    }

    /// Ends the requests of a device that does not end its reset, as far as it cannot reach their memory any more. Returns
    /// whether they have ended and there is a device that they may come again to.
    fn end_without_reset(&self, mut paths: AllPaths<'_, D>) -> bool {
        match self.cut_off() {
            CutOff::Done => {
                let ended = take_all(&mut paths);
                drop(paths);
                self.end_all(ended, SrbStatus::BUS_RESET);
                true
            }
            CutOff::Gone => {
                drop(paths);
                self.device_found_gone();
                false
            }
            CutOff::Failed => false,
        }
    }

    /// Keeps a device from memory that does not end its reset. Also when that was done before: whoever gave it its power
    /// or its resources meanwhile may have set the bit again.
    pub(crate) fn cut_off(&self) -> CutOff {
        match self.port.bus_master(false) {
            Ok(()) => {
                self.bus_master_off.store(true, Ordering::Release);
                self.note(Event::BusMasterCleared.into());
                CutOff::Done
            }
            // Nothing in configuration space and registers that answer are not the same device.
            Err(BusMasterError::Removed) if self.device.status().is_removed() => CutOff::Gone,
            Err(_) => {
                // It may have been written all the same.
                self.bus_master_off.store(true, Ordering::Release);
                self.note(Event::BusMasterNotCleared.into());
                CutOff::Failed
            }
        }
    }

    /// Whether the device has not ended a reset that it was told to do.
    pub(crate) fn is_reset_under_way(&self) -> bool {
        self.reset_under_way.load(Ordering::Acquire)
    }

    /// Starts a failed device, if that works by now, and the requests that have waited for it.
    pub(crate) fn come_back(&self) {
        let status = self.device.status();
        if status.is_removed() {
            self.device_found_gone();
            return;
        }
        let mut paths = self.queues.lock_all();
        // Meanwhile the port driver may have reset or stopped it: one that runs by now is not to be reset by what its status was.
        if self.state.get() != State::Failed {
            return;
        }
        // A reset that is under way is not begun anew, unless the device may have missed it.
        if self.is_reset_under_way() && !status.is_empty() {
            // In dump mode each poll is a look, and there are thousands in a second.
            let looks = self.looks.fetch_add(1, Ordering::Relaxed);
            if !self.polled && looks % LOOKS_AT_ONE_RESET == LOOKS_AT_ONE_RESET - 1 {
                self.device.begin_reset();
            }
            drop(paths);
            self.look_later();
            return;
        }
        let started = self.bring_up(&mut paths);
        if started.is_ok() {
            self.start_waiting(&paths);
        }
        drop(paths);
        match started {
            Ok(()) => self.report(Event::DeviceIsBack.into()),
            // Why is in the log since the first time.
            Err(_) => self.look_later(),
        }
    }

    /// Has the configuration DPC run after a while, which then finds a failed adapter, or a change that was not taken.
    pub(crate) fn look_later(&self) {
        if !self.polled {
            self.port.request_timer(LOOK_AGAIN_MICROSECONDS);
        }
    }

    /// Gives the device memory again. Only after it has ended its reset: before, it may still have the requests that
    /// were ended without it.
    pub(crate) fn give_memory_back(&self) -> Result<(), LogEvent> {
        // The flag first: a stop on another processor may clear the bit and set the flag at any moment.
        if self.bus_master_off.swap(false, Ordering::AcqRel) && self.port.bus_master(true).is_err() {
            self.bus_master_off.store(true, Ordering::Release);
            return Err(Event::BusMasterNotSet.into());
        }
        Ok(())
    }

    fn end_all(&self, mut ended: Waiting<D>, status: SrbStatus) {
        while let Some(srb) = ended.pop_front() {
            self.port.complete(srb.end(Completion::failed(status)));
        }
    }

    /// As [`device_gone`](Self::device_gone), from where a queue's lock may not be waited for: below DISPATCH_LEVEL, a
    /// DPC on the same processor could wait for it as well, for ever.
    pub(crate) fn device_gone_at_any_level(&self) {
        self.state.set(State::Gone);
        self.port.issue_dpc(DpcKind::Configuration);
    }

    /// A device whose registers read all-ones is gone, or was stopped meanwhile and is without power.
    pub(crate) fn device_found_gone(&self) {
        if self.state.set_unless_stopped(State::Gone) {
            self.device_gone();
        }
    }

    /// The device is no longer there: nothing of it may be touched, and it touches no memory any more.
    pub(crate) fn device_gone(&self) {
        // Before the first lock: what a queue gets after it was emptied is refused there.
        self.state.set(State::Gone);
        for path in self.queues.iter() {
            let mut ended = Requests::new();
            path.lock().take_all(&mut ended);
            self.end_all(ended, SrbStatus::NO_DEVICE);
        }
    }
}

/// Takes every request of every queue back.
fn take_all<D: Protocol>(paths: &mut AllPaths<'_, D>) -> Waiting<D> {
    let mut all = Requests::new();
    for path in paths.iter_mut() {
        path.take_all(&mut all);
    }
    all
}
