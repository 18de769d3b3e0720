//! What is worth knowing: for the system log what an administrator has to look at, for who traces StorPort (ETW) all of it.
//! What is normal is not logged, or monitoring takes a controller for failing whose disk has grown. Neither can be done at
//! DIRQL, so what happens there is noted and told by the configuration DPC.

use core::sync::atomic::{AtomicU32, Ordering};

use storport::port::LogPart;
use storport::{DpcKind, LogEvent, Port, TraceLevel};

use crate::Adapter;
use crate::bring_up::STOPPED_MEANWHILE;
use crate::configuration::CHANGED;
use crate::protocol::Protocol;
use crate::reset::Reason;

/// Events that could not be told where they happened. A start, a stop and a reset have one or two each; what does not fit
/// is lost.
#[derive(Debug)]
pub(crate) struct Noted([AtomicU32; 4]);

impl Noted {
    pub(crate) const fn new() -> Self {
        Self([const { AtomicU32::new(0) }; 4])
    }

    fn put(&self, event: LogEvent) {
        let _full = self
            .0
            .iter()
            .any(|slot| slot.compare_exchange(0, event.code(), Ordering::AcqRel, Ordering::Relaxed).is_ok());
    }

    fn take(&self) -> impl Iterator<Item = LogEvent> {
        self.0.iter().filter_map(|slot| LogEvent::from_code(slot.swap(0, Ordering::AcqRel)))
    }
}

impl<P: Port, D: Protocol> Adapter<P, D> {
    /// IRQL: up to DISPATCH_LEVEL.
    #[cold]
    pub(crate) fn report(&self, event: LogEvent) {
        to(&self.port, event);
    }

    /// As [`report`](Self::report), from where the IRQL may be higher.
    #[cold]
    pub(crate) fn note(&self, event: LogEvent) {
        // In dump mode nobody is there to be told.
        if !self.polled {
            self.noted.put(event);
            self.port.issue_dpc(DpcKind::Configuration);
        }
    }

    /// Reports what was noted.
    pub(crate) fn report_noted(&self) {
        self.noted.take().for_each(|event| self.report(event));
    }
}

/// As [`Adapter::report`], before there is an adapter.
pub(crate) fn to(port: &impl Port, event: LogEvent) {
    let (level, logged) = weight(event);
    if logged {
        port.log(event);
    }
    port.trace(event, level);
}

/// How bad it is, and whether it is for the system log.
const fn weight(event: LogEvent) -> (TraceLevel, bool) {
    /// StorPort logs the resets that it asks for itself; after a broken rule, that is what is logged.
    const OF_PORT_DRIVER: u32 = Reason::PortDriver as u32;
    const AFTER_FAULT: u32 = Reason::DeviceFault as u32;
    const GOT_OVER: u32 = Reason::EarlierResetEnded as u32;
    match (event.part, event.number) {
        (LogPart::Configuration, CHANGED) | (LogPart::Reset, GOT_OVER | STOPPED_MEANWHILE) => {
            (TraceLevel::Information, false)
        }
        (LogPart::Reset, OF_PORT_DRIVER | AFTER_FAULT) => (TraceLevel::Warning, false),
        (LogPart::Reset | LogPart::Parameter, _) => (TraceLevel::Warning, true),
        (LogPart::Transport | LogPart::Queue | LogPart::Configuration, _) => (TraceLevel::Error, true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_taken_once_and_what_does_not_fit_is_lost() {
        let noted = Noted::new();
        let event = |number| LogEvent { part: LogPart::Reset, number };

        (0..6).for_each(|number| noted.put(event(number)));

        assert!(noted.take().eq([event(0), event(1), event(2), event(3)]));
        assert_eq!(noted.take().next(), None);
    }
}
