//! The configuration DPC and the timer's, and how Windows hears of what changed. IRQL: DISPATCH_LEVEL. Lock: that of the first queue while the
//! device is looked at.

use arrayvec::ArrayVec;
use storport::{Address, DpcKind, Port, SrbStatus};
use virtio::queue::DeviceFault;

use crate::Adapter;
use crate::device_type::{Change, DeviceType};
use crate::log_events::Event;
use crate::queue::{At, EVENT_BUFFERS, Notification};
use crate::recovery::{Input, Rung};

/// Time until a change that was not taken is told again, in microseconds.
const TELL_AGAIN_MICROSECONDS: u32 = 100_000;

impl<P: Port, D: DeviceType> Adapter<P, D> {
    /// `HwStorDpcRoutine` of the configuration DPC: the configuration or the device status changed, a function was
    /// answered, or something is left to do of what happened at DIRQL.
    pub(crate) fn configuration_dpc(&self) {
        self.report_noted();
        match self.recovery.rung() {
            Rung::Gone => {
                self.recover(Input::Removed, At::Dispatch);
            }
            // The DPC is later than the stop: the device may be without power, or its registers without an address.
            Rung::Stopped => {
                self.close_queues(At::Dispatch);
                self.answer(SrbStatus::ERROR);
            }
            Rung::Running | Rung::TaskManagement { .. } => {
                self.finish_start();
                self.tell_what_was_not_taken();
                self.take_answers();
                self.take_events();
                self.look_at_device();
            }
            _ => {
                self.tell_what_was_not_taken();
                self.go_on_recovering();
            }
        }
    }

    /// `HwStorDpcRoutine` of the timer's DPC.
    pub(crate) fn timer_dpc(&self) {
        match self.recovery.rung() {
            Rung::Stopped | Rung::Gone => {}
            Rung::Running => self.tell_what_was_not_taken(),
            _ => {
                self.recover(Input::Timer, At::Dispatch);
                // Afterwards: what is not taken now has the timer that was armed there, or is told with the start.
                self.tell_what_was_not_taken();
            }
        }
    }

    /// The control queue has the configuration's interrupt.
    fn take_answers(&self) {
        let Some(control) = self.control() else {
            return;
        };
        let answered = control.lock().take_answers(&self.device_type);
        match answered {
            Ok(None) => {}
            Ok(Some(done)) => _ = self.recover(Input::Answered(done), At::Dispatch),
            Err(fault) => self.device_broke_a_rule(fault),
        }
    }

    /// So has the event queue, of which the device gets its buffers here as well.
    fn take_events(&self) {
        let Some(events) = self.events() else {
            return;
        };
        let mut changes = ArrayVec::<Change, { EVENT_BUFFERS as usize }>::new();
        let (taken, given_up) = {
            let mut events = events.lock();
            let taken = events.take(|event| {
                let change = self.device_type.event(event);
                if change != Change::None && !changes.contains(&change) {
                    changes.push(change);
                }
            });
            // A position tells the device of its ring, which is another one's after a reset.
            if let Ok((Some(Notification { doorbell, next }), _)) = taken {
                self.life_cycle.device().notify(&doorbell, next);
            }
            (taken, events.is_given_up())
        };
        for change in changes {
            self.report(Event::ConfigurationChanged.into());
            match change {
                Change::None => {}
                Change::Unit(unit) => self.tell_unit_change(unit),
                Change::Bus => self.port.bus_changed(0),
            }
        }
        match taken {
            Ok((_, false)) => {}
            Ok((_, true)) => self.port.issue_dpc(DpcKind::Configuration),
            Err(_) if given_up => self.report(Event::EventsGivenUp.into()),
            Err(fault) => self.device_broke_a_rule(fault),
        }
    }

    fn look_at_device(&self) {
        let resets = self.recovery.resets();
        let status = self.life_cycle.device().status();
        if status.is_removed() {
            // One that was stopped meanwhile has no power, and one that was started since is not meant.
            if self.recovery.rung() != Rung::Stopped {
                self.recover_from(Input::Removed, Some(resets), At::Dispatch);
            }
        } else if status.needs_reset() {
            self.report(Event::ResetByDevice.into());
            self.recover(Input::Broken, At::Dispatch);
        } else {
            self.look_at_configuration();
        }
    }

    /// The ring says nothing reliable any more.
    pub(crate) fn device_broke_a_rule(&self, fault: DeviceFault) {
        self.report(Event::of_fault(fault));
        self.report(Event::ResetAfterFault.into());
        self.recover(Input::Broken, At::Dispatch);
    }

    /// Has the device type look at the configuration, and tells Windows if it has to look as well. Any number of changes may
    /// lie behind one call, also none.
    fn look_at_configuration(&self) {
        let changed = {
            // While it is held and the queue is open the device is not reset: what is read is one device's, and agreed on.
            let queue = self.queues.first().lock();
            queue.is_open() && self.device_type.configuration_changed(&self.life_cycle.running())
        };
        if changed {
            self.report(Event::ConfigurationChanged.into());
            // Of a device type with units that tell of themselves nothing changes here.
            self.tell_unit_change(Address::default());
        }
    }

    /// Has Windows look at a unit again, now or when it is done with an earlier change.
    fn tell_unit_change(&self, unit: Address) {
        if !self.port.unit_changed(unit) {
            if !self.service.untold.put(unit) {
                self.port.bus_changed(unit.path);
            }
            // The earlier one may have ended before that line; then no callback comes any more that would see it. A timer that
            // a reset waits for is not put off: changes may come faster than it runs.
            if self.recovery.rung() == Rung::Running {
                self.port.request_timer(TELL_AGAIN_MICROSECONDS);
            }
        }
    }

    /// Tells the changes that were not taken; of one unit, several are one.
    fn tell_what_was_not_taken(&self) {
        for unit in self.service.untold.take() {
            self.tell_unit_change(unit);
        }
    }

    /// `HwStorStateChange`. Windows is done with a change, as good as: the callback runs with the StartIo lock held
    /// (nc-storport-hw_state_change.md), where StorPort may still count that change as open. So the next one is told by the DPC.
    pub(crate) fn unit_change_processed(&self) {
        if self.service.untold.is_any() {
            self.port.issue_dpc(DpcKind::Configuration);
        }
    }
}
