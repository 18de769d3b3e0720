//! `HwStorInitialize`, stop and restart: the device from reset to DRIVER_OK (virtio 1.3, 3.1.1).

use core::sync::atomic::Ordering;

use spin::mutex::spin::SpinMutexGuard;
use storport::port::LogPart;
use storport::{DpcKind, Interrupts, LogEvent, Port};
use virtio::transport::TransportError;

use crate::interrupt;
use crate::protocol::Protocol;
use crate::request_path::RequestPath;
use crate::state::State;
use crate::{Adapter, Request};

/// Time between two looks at the status register during a reset, in microseconds.
const RESET_POLL_MICROSECONDS: u32 = 1000;

/// How often a callback at DIRQL tries for the queue's lock, and how long it waits in between, in microseconds.
const LOCK_TRIES: u32 = 1000;
const LOCK_TRY_MICROSECONDS: u32 = 10;

/// Log number of [`LogPart::Reset`]: the queue's lock was not to be had at DIRQL.
const LOCK_NOT_FREE: u32 = 100;

impl<P: Port, D: Protocol> Adapter<P, D> {
    pub(crate) fn start_device(&self, interrupts: Interrupts) -> Result<(), LogEvent> {
        self.interrupts.store(interrupt::encode(interrupts), Ordering::Relaxed);
        self.start_at_dirql()
    }

    /// Stops the device without the queue's lock: a reset touches registers only, and a DPC that is still running
    /// finds a ring in which nothing is outstanding.
    pub(crate) fn stop_device(&self) {
        if self.state.set(State::Stopped)
            && let Err(error) = self.reset_device()
        {
            self.port.log(LogEvent { part: LogPart::Transport, number: error.code() });
        }
    }

    pub(crate) fn restart_device(&self) -> bool {
        match self.start_at_dirql() {
            Ok(()) => true,
            Err(event) => {
                self.port.log(event);
                false
            }
        }
    }

    fn start_at_dirql(&self) -> Result<(), LogEvent> {
        let mut path = self.try_lock().ok_or(LogEvent { part: LogPart::Reset, number: LOCK_NOT_FREE })?;
        self.bring_up(&mut path)
            .map_err(|error| LogEvent { part: LogPart::Transport, number: error.code() })?;
        // Requests that came while the device was stopped wait in the backlog.
        if !path.backlog.is_empty() {
            self.port.issue_dpc(DpcKind::RequestQueue);
        }
        Ok(())
    }

    /// Tries for the queue's lock, within bounds. Waiting for it without a bound could be for ever: this runs under
    /// an interrupt lock, and the holder may have been interrupted on its way to that very lock.
    fn try_lock(&self) -> Option<SpinMutexGuard<'_, RequestPath<Request<P, D>, D>>> {
        (0..LOCK_TRIES).find_map(|_| {
            let guard = self.path.try_lock();
            if guard.is_none() {
                self.port.stall(LOCK_TRY_MICROSECONDS);
            }
            guard
        })
    }

    /// Resets the device and waits, within bounds, until it says that it is done.
    pub(crate) fn reset_device(&self) -> Result<(), TransportError> {
        self.device.reset(&mut || self.port.stall(RESET_POLL_MICROSECONDS)).map(drop)
    }

    /// Starts the device from scratch. Requests still in the ring go to the backlog.
    pub(crate) fn bring_up(&self, path: &mut RequestPath<Request<P, D>, D>) -> Result<(), TransportError> {
        let started = self.try_bring_up(path);
        self.state.set(if started.is_ok() { State::Running } else { State::Failed });
        started
    }

    fn try_bring_up(&self, path: &mut RequestPath<Request<P, D>, D>) -> Result<(), TransportError> {
        if self.state.get() == State::Gone {
            return Err(TransportError::Removed);
        }
        let interrupts = interrupt::decode(self.interrupts.load(Ordering::Relaxed));
        let plan = interrupt::plan(interrupts);
        // A legacy device's registers lie elsewhere when its MSI-X is enabled, which the port driver does before this.
        self.device.set_messages_in_use(plan.configuration().is_some());
        let device = self.device.reset(&mut || self.port.stall(RESET_POLL_MICROSECONDS))?;
        let device = device.negotiate(self.features)?;
        if device.features() != self.features {
            return Err(TransportError::FeaturesRefused);
        }
        // What a reset that timed out left in the ring was never answered; the device, in reset now, has forgotten it.
        while let Some(srb) = path.ring.take_outstanding() {
            path.backlog.push_back(srb);
        }
        path.ring.reset();
        device.set_config_vector(plan.configuration().map(|vector| vector.0))?;
        device.enable_queue(
            D::REQUEST_QUEUE,
            path.ring.size(),
            &path.ring.areas(),
            plan.queue(0).map(|vector| vector.0),
        )?;
        path.doorbell = Some(device.notifier(D::REQUEST_QUEUE)?);
        device.driver_ok();
        Ok(())
    }
}
