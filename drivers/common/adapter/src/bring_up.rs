//! `HwStorInitialize`, stop and restart: the device from reset to DRIVER_OK (virtio 1.3, 3.1.1).

use core::sync::atomic::Ordering;

use storport::{DpcKind, Interrupts, LogEvent, Port};
use virtio::transport::{Acknowledged, TransportError};

use crate::Adapter;
use crate::events::Event;
use crate::protocol::Protocol;
use crate::queues::AllPaths;
use crate::routing::Routing;
use crate::state::State;

/// Time between two looks at the status register during a reset, in microseconds: less than a millisecond
/// (nf-storport-storportstallexecution.md).
pub(crate) const RESET_POLL_MICROSECONDS: u32 = 500;

/// How often a callback at DIRQL tries for the queues' locks, and how long it waits in between, in microseconds.
const LOCK_TRIES: u32 = 1000;
const LOCK_TRY_MICROSECONDS: u32 = 10;

impl<P: Port, D: Protocol> Adapter<P, D> {
    pub(crate) fn start_device(&self, interrupts: Interrupts) -> Result<(), LogEvent> {
        let mut routing = Routing::new(interrupts, self.queues.count());
        if let Some(channels) = routing.concurrent_channels() {
            routing.by_message = self.port.use_concurrent_channels(&channels);
        }
        self.start_at_dirql(Some(routing))
    }

    /// Stops the device without the queues' locks: a reset touches registers only, and a DPC that is still running
    /// finds a ring in which nothing is outstanding.
    ///
    /// The memory of the ring may be gone after this, so a device that does not end its reset is kept from memory here as
    /// well. Requests are not ended: StorPort stops an adapter that has none, and DIRQL is too high for it.
    pub(crate) fn stop_device(&self) {
        if self.state.set(State::Stopped)
            && let Err(error) = self.reset_or_cut_off()
        {
            self.note(Event::of_transport(error));
        }
    }

    pub(crate) fn restart_device(&self) -> bool {
        match self.start_at_dirql(None) {
            Ok(()) => true,
            Err(event) => {
                self.note(event);
                false
            }
        }
    }

    /// Starts the device, with other interrupts if there are any. One that is still in its reset is started when that has
    /// ended, and until then requests wait: for the port driver the adapter is there.
    fn start_at_dirql(&self, routing: Option<Routing>) -> Result<(), LogEvent> {
        let mut paths = self.try_lock_all().ok_or(Event::LockNotFree)?;
        if let Some(routing) = routing {
            self.routing.set(routing);
        }
        // The port driver's own word ends the stop.
        self.state.set(State::Failed);
        match self.bring_up(&mut paths) {
            Ok(()) => self.start_waiting(&paths),
            Err(event) if self.is_reset_under_way() => {
                // The DPC that reports it looks at the device as well.
                self.note(event);
            }
            Err(event) => {
                // The port driver is told so, and starts it again or not at all.
                self.state.set(State::Stopped);
                return Err(event);
            }
        }
        Ok(())
    }

    /// Requests that came while the device did not run wait in the backlog.
    pub(crate) fn start_waiting(&self, paths: &AllPaths<'_, D>) {
        // In dump mode the next poll starts them.
        if self.polled {
            return;
        }
        for (queue, path) in (0..).zip(paths.iter()) {
            if !path.backlog.is_empty() {
                self.port.issue_dpc(DpcKind::RequestQueue(queue));
            }
        }
    }

    /// Tries for the queues' locks, within bounds. Waiting for them without a bound could be for ever: this runs under
    /// an interrupt lock, and the holder may have been interrupted on its way to that very lock.
    fn try_lock_all(&self) -> Option<AllPaths<'static, D>> {
        let mut tries = 0..LOCK_TRIES;
        self.queues.try_lock_all(|| {
            self.port.stall(LOCK_TRY_MICROSECONDS);
            tries.next().is_some()
        })
    }

    /// Resets the device and waits, within bounds, until it says that it is done. An earlier reset that has ended by now is as
    /// good: a device whose resets all take longer than that would never come back if each was followed by another.
    pub(crate) fn reset_device(&self) -> Result<Acknowledged<'_, P::Bar>, TransportError> {
        if self.is_reset_under_way()
            && let Some(device) = self.device.after_reset()
        {
            self.reset_under_way.store(false, Ordering::Release);
            return Ok(device);
        }
        let reset = self.device.reset(&mut || self.port.stall(RESET_POLL_MICROSECONDS));
        let under_way = matches!(reset, Err(TransportError::ResetTimedOut { .. }));
        self.reset_under_way.store(under_way, Ordering::Release);
        reset
    }

    /// Resets the device, or keeps it from memory when it does not end that. Of a device that is gone, whoever looks at it next
    /// finds out.
    fn reset_or_cut_off(&self) -> Result<Acknowledged<'_, P::Bar>, TransportError> {
        self.reset_device().inspect_err(|error| {
            if *error != TransportError::Removed {
                let _ = self.cut_off();
            }
        })
    }

    /// An error when the port driver has stopped the adapter meanwhile.
    fn go_on_unless_stopped(&self) -> Result<(), LogEvent> {
        match self.state.get() {
            State::Stopped => Err(Event::StoppedMeanwhile.into()),
            _ => Ok(()),
        }
    }

    /// Starts the device from scratch. Requests still in the ring go to the backlog.
    pub(crate) fn bring_up(&self, paths: &mut AllPaths<'_, D>) -> Result<(), LogEvent> {
        let started = self.try_bring_up(paths);
        let state = if started.is_ok() { State::Running } else { State::Failed };
        // A stop that came meanwhile may have been done with its own reset, and with keeping the device from memory, before
        // this gave it memory and DRIVER_OK.
        if !self.state.set_unless_stopped(state) && self.state.get() == State::Stopped {
            let _ = self.reset_or_cut_off().map(drop);
        }
        started
    }

    fn try_bring_up(&self, paths: &mut AllPaths<'_, D>) -> Result<(), LogEvent> {
        if self.state.get() == State::Gone {
            return Err(Event::of_transport(TransportError::Removed));
        }
        let routing = self.routing.get();
        let plan = routing.plan();
        // A legacy device's registers lie elsewhere when its MSI-X is enabled, which the port driver does before this. In dump
        // mode it is as the crash left it, which was looked up when the adapter was found.
        if !self.polled {
            self.device.set_messages_in_use(plan.configuration().is_some());
        }
        // It may still have requests that were ended without it, and whoever gave it its power or its resources again may have
        // given it memory as well.
        let device = self.reset_or_cut_off().map_err(Event::of_transport)?;
        self.go_on_unless_stopped()?;
        self.give_memory_back()?;
        let device = device.negotiate(self.features | D::CHANGEABLE).map_err(Event::of_transport)?;
        let features = device.features();
        if features.difference(D::CHANGEABLE) != self.features.difference(D::CHANGEABLE) {
            return Err(Event::of_transport(TransportError::FeaturesRefused));
        }
        self.changeable.store(features.intersection(D::CHANGEABLE).bits(), Ordering::Relaxed);
        for path in paths.iter_mut() {
            path.empty();
        }
        let (used, unused) = paths.split_at_mut(usize::from(routing.queues));
        for (path, to) in unused.iter_mut().zip((0..used.len()).cycle()) {
            if let Some(to) = used.get_mut(to) {
                path.hand_over(to);
            }
        }
        device.set_config_vector(plan.configuration().map(|vector| vector.0)).map_err(Event::of_transport)?;
        for (queue, path) in (0..).zip(used) {
            if self.polled {
                path.ring.disable_interrupts();
            }
            let number = D::REQUEST_QUEUE + queue;
            let vector = plan.queue(queue).map(|vector| vector.0);
            device
                .enable_queue(number, path.ring.size(), &path.ring.areas(), vector)
                .map_err(Event::of_transport)?;
            path.doorbell = Some(device.notifier(number).map_err(Event::of_transport)?);
        }
        self.go_on_unless_stopped()?;
        device.driver_ok();
        // What changed while nobody could be told.
        if !self.polled {
            self.port.issue_dpc(DpcKind::Configuration);
        }
        Ok(())
    }
}
