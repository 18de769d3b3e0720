//! What is worth knowing, for the system log and for who traces StorPort. At DIRQL, where nothing may be traced, it goes to the
//! log alone, through [`Port::log`].

use storport::port::LogPart;
use storport::{LogEvent, Port, TraceLevel};

use crate::Adapter;
use crate::configuration::CHANGED;
use crate::protocol::Protocol;

impl<P: Port, D: Protocol> Adapter<P, D> {
    /// IRQL: up to DISPATCH_LEVEL.
    #[cold]
    pub(crate) fn report(&self, event: LogEvent) {
        to(&self.port, event);
    }
}

/// As [`Adapter::report`], before there is an adapter.
pub(crate) fn to(port: &impl Port, event: LogEvent) {
    port.log(event);
    port.trace(event, level(event));
}

/// How bad it is. A reset and a setting that does not count are got over; a device whose configuration changed does as it should.
const fn level(event: LogEvent) -> TraceLevel {
    match event {
        LogEvent { part: LogPart::Configuration, number: CHANGED } => TraceLevel::Information,
        LogEvent { part: LogPart::Reset | LogPart::Parameter, .. } => TraceLevel::Warning,
        LogEvent { part: LogPart::Transport | LogPart::Queue | LogPart::Configuration, .. } => {
            TraceLevel::Error
        }
    }
}
