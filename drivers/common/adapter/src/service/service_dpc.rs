//! The service DPC and the timer's: what an interrupt that is not a request queue's may mean. IRQL: DISPATCH_LEVEL. Lock: the
//! control or the event queue's, for as long as it is drained.

use arrayvec::ArrayVec;
use storport::{DpcKind, Port, SrbStatus};

use crate::Adapter;
use crate::device_type::{Change, DeviceType};
use crate::log_events::Event;
use crate::queue::{At, EVENT_BUFFERS};
use crate::recovery::{Input, Rung};

impl<P: Port, D: DeviceType> Adapter<P, D> {
    /// `HwStorDpcRoutine` of the service DPC: somebody asked for a reset, the configuration or the device status changed, a
    /// function was answered, or something is left to do of what happened at DIRQL.
    // Apart: a request queue's DPC would save registers for it.
    #[inline(never)]
    pub(crate) fn service_dpc(&self) {
        self.report_noted();
        self.begin_what_was_asked_for();
        match self.recovery.rung() {
            Rung::Gone => {
                self.recover(Input::Removed, At::Dispatch);
            }
            // The DPC is later than the stop: the device may be without power, or its registers without an address.
            Rung::Stopped => {
                self.close_queues(At::Dispatch);
                self.answer(SrbStatus::ERROR);
            }
            Rung::Running => {
                self.finish_start();
                self.tell_what_was_not_taken();
                self.take_answers();
                self.take_events();
                self.look_for_slow_requests();
                self.look_at_device();
            }
            _ => {
                self.tell_what_was_not_taken();
                self.go_on_recovering();
            }
        }
    }

    /// `HwStorDpcRoutine` of the timer's DPC.
    #[inline(never)]
    pub(crate) fn timer_dpc(&self) {
        match self.recovery.rung() {
            Rung::Stopped | Rung::Gone => {}
            Rung::Running => {
                self.look_at_functions();
                self.tell_what_was_not_taken();
                self.look_for_slow_requests();
            }
            _ => {
                self.recover(Input::Timer, At::Dispatch);
                // Afterwards: what is not taken now has the timer that was armed there, or is told with the start.
                self.tell_what_was_not_taken();
            }
        }
    }

    /// Takes answers to task management functions: the control queue has the configuration's interrupt.
    fn take_answers(&self) {
        let Some(control) = self.control() else {
            return;
        };
        let resets = self.recovery.resets();
        let answered = control.lock().take_answers(&self.device_type);
        match answered {
            Ok(answers) => {
                for (tag, done) in answers {
                    self.function_answered(tag, done, resets);
                }
            }
            Err(fault) => self.device_broke_a_rule(fault),
        }
    }

    /// Takes events, and gives the device buffers for more: the event queue has the configuration's interrupt as well.
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
            let given_up = events.is_given_up();
            if let Ok((Some(notification), _)) = taken {
                self.life_cycle.notify(events, notification);
            }
            (taken, given_up)
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
            Ok((_, true)) => self.port.issue_dpc(DpcKind::Service),
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
}
