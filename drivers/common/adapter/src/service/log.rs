//! What is worth knowing goes to the port driver, which logs and traces it. Neither can be done at DIRQL, so what happens there is
//! noted and told by the service DPC.

use core::sync::atomic::{AtomicU32, Ordering};

use storport::{DpcKind, LogEvent, Port};

use crate::Adapter;
use crate::device_type::DeviceType;
use crate::log_events::Event;

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
        self.0.iter().filter_map(|slot| Event::from_code(slot.swap(0, Ordering::AcqRel)))
    }
}

impl<P: Port, D: DeviceType> Adapter<P, D> {
    /// IRQL: up to DISPATCH_LEVEL.
    #[cold]
    pub(crate) fn report(&self, event: LogEvent) {
        self.port.report(event);
    }

    /// As [`report`](Self::report), from where the IRQL may be higher.
    #[cold]
    pub(crate) fn note(&self, event: LogEvent) {
        // In dump mode nobody is there to be told.
        if !self.facts.polled {
            self.service.noted.put(event);
            self.port.issue_dpc(DpcKind::Service);
        }
    }

    /// Reports what was noted.
    pub(crate) fn report_noted(&self) {
        self.service.noted.take().for_each(|event| self.report(event));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_taken_once_and_what_does_not_fit_is_lost() {
        let noted = Noted::new();
        let event = |status| Event::ResetTimedOut.about(status);

        (0..6).for_each(|status| noted.put(event(status)));

        assert!(noted.take().eq([event(0), event(1), event(2), event(3)]));
        assert_eq!(noted.take().next(), None);
    }
}
