//! `HwStorInitialize`, stop and restart: the device from reset to DRIVER_OK (virtio 1.3, 3.1.1). IRQL: up to DIRQL. Lock: the
//! interrupt lock at DIRQL; a queue's own for a moment each, all queues being closed.

use core::sync::atomic::Ordering;

use storport::{DpcKind, Interrupts, LogEvent, Port};
use virtio::transport::TransportError;

use crate::Adapter;
use crate::device_type::DeviceType;
use crate::log_events::Event;
use crate::queue::{At, NotFree, Routing};
use crate::recovery::{Input, Resets, Rung};

impl From<NotFree> for LogEvent {
    fn from(_: NotFree) -> Self {
        Event::LockNotFree.into()
    }
}

impl<P: Port, D: DeviceType> Adapter<P, D> {
    /// `HwStorInitialize`. One that is still in its reset is started when that has ended, and until then requests wait: for
    /// the port driver the adapter is there.
    pub(crate) fn initialize(&self, interrupts: Interrupts) -> Result<(), LogEvent> {
        let mut routing = Routing::new(interrupts, self.queues.count());
        let channels = routing.concurrent_channels();
        routing.by_message = channels.is_some_and(|channels| self.port.use_concurrent_channels(&channels));
        self.queues.set_routing(routing, |processor| {
            channels.iter().flat_map(move |channels| self.port.announced_at(channels, processor))
        });
        self.start()
    }

    /// `ScsiRestartAdapter`.
    pub(crate) fn restart(&self) -> bool {
        self.start().inspect_err(|event| self.note(*event)).is_ok()
    }

    fn start(&self) -> Result<(), LogEvent> {
        // A legacy device's registers lie elsewhere when its MSI-X is enabled, which the port driver does before this. In dump
        // mode it is as the crash left it, which was looked up when the adapter was found.
        if !self.facts.polled {
            self.life_cycle.device.set_messages_in_use(self.queues.plan().configuration().is_some());
        }
        let failure = self.recover(Input::Start, At::Dirql);
        match self.recovery.rung() {
            Rung::Stopped | Rung::Gone => {
                Err(failure.unwrap_or(Event::of_transport(TransportError::Removed)))
            }
            _ => Ok(()),
        }
    }

    /// `ScsiStopAdapter`: no interrupt and no access to memory afterwards.
    pub(crate) fn stop(&self) {
        self.recover(Input::Stop, At::Dirql);
        // Who waits for a reset is told.
        if !self.facts.polled {
            self.port.issue_dpc(DpcKind::Service);
        }
    }

    /// An error when the port driver has stopped the adapter meanwhile, or the device is gone or in another reset.
    fn go_on_after(&self, resets: Resets) -> Result<(), LogEvent> {
        if self.recovery.is_starting(resets) {
            return Ok(());
        }
        match self.recovery.rung() {
            Rung::Gone => Err(Event::of_transport(TransportError::Removed)),
            _ => Err(Event::StoppedMeanwhile.into()),
        }
    }

    /// Starts the device, which has ended its reset, as far as DRIVER_OK. All queues are closed; requests still in a ring wait
    /// to be sent again.
    pub(crate) fn start_device(&self, resets: Resets, at: At) -> Result<(), LogEvent> {
        let Self { life_cycle, queues, port, .. } = self;
        let plan = queues.plan();
        let reset = life_cycle.device.after_reset();
        let device = reset.ok_or(Event::of_transport(TransportError::ResetTimedOut {
            status: life_cycle.device.status().bits(),
        }))?;
        self.go_on_after(resets)?;
        self.give_memory_back()?;
        let device = device.negotiate(life_cycle.features | D::CHANGEABLE).map_err(Event::of_transport)?;
        let features = device.features();
        if features.difference(D::CHANGEABLE) != life_cycle.features.difference(D::CHANGEABLE) {
            return Err(Event::of_transport(TransportError::FeaturesRefused));
        }
        life_cycle.changed.store(features.intersection(D::CHANGEABLE).bits(), Ordering::Relaxed);
        queues.each(at, port, |_, queue| queue.empty())?;
        let used = queues.routing().queues;
        for unused in used..queues.count() {
            // Never in nobody's hands: the lower number's lock is held over the move.
            queues.with(unused % used.max(1), at, port, |to| {
                queues.with(unused, at, port, |from| to.take_over(from.hand_over()))
            })??;
        }
        let config_vector = plan.configuration().map(|vector| vector.0);
        device.set_config_vector(config_vector).map_err(Event::of_transport)?;
        if let (Some(control), Some(number)) = (self.control(), D::CONTROL_QUEUE) {
            let (size, areas) = control.lock_at(at, port)?.empty();
            device.enable_queue(number, size, &areas, config_vector).map_err(Event::of_transport)?;
            let doorbell = device.notifier(number).map_err(Event::of_transport)?;
            control.lock_at(at, port)?.set_doorbell(doorbell);
        }
        if let (Some(events), Some(number)) = (self.events(), D::EVENT_QUEUE) {
            let (size, areas) = events.lock_at(at, port)?.empty();
            device.enable_queue(number, size, &areas, config_vector).map_err(Event::of_transport)?;
            let doorbell = device.notifier(number).map_err(Event::of_transport)?;
            events.lock_at(at, port)?.set_doorbell(doorbell);
        }
        for queue in 0..used {
            let number = D::REQUEST_QUEUE + queue;
            let vector = plan.queue(queue).map(|vector| vector.0);
            let (size, areas) = queues.with(queue, at, port, |queue| {
                if self.facts.polled {
                    queue.disable_interrupts();
                }
                (queue.size(), queue.areas())
            })?;
            device.enable_queue(number, size, &areas, vector).map_err(Event::of_transport)?;
            let doorbell = device.notifier(number).map_err(Event::of_transport)?;
            queues.with(queue, at, port, |queue| queue.set_doorbell(doorbell))?;
        }
        self.go_on_after(resets)?;
        device.driver_ok();
        Ok(())
    }

    /// Gives the device memory again. Only after it has ended its reset: before, it may still have the requests that
    /// were ended without it.
    fn give_memory_back(&self) -> Result<(), LogEvent> {
        let off = &self.life_cycle.bus_master_off;
        // The flag first: a stop on another processor may clear the bit and set the flag at any moment.
        if off.swap(false, Ordering::AcqRel) && self.port.bus_master(true).is_err() {
            off.store(true, Ordering::Release);
            return Err(Event::BusMasterNotSet.into());
        }
        Ok(())
    }
}
