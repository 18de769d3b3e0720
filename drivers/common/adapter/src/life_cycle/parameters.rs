//! What an administrator can set: DWORD values below the service's `Parameters\Device` key, read once, when the adapter is
//! found. inf/README.md says the same in a table.
//!
//! The names are those of virtio-win's vioscsi where it has one for the matter, so that a setting survives a change of
//! drivers. What is out of range is logged and counts as not set.

use core::ffi::CStr;
use core::ops::RangeInclusive;

use storport::{Configuration, Port, Resources};

use crate::device_type::Limits;
use crate::log_events::Event;

/// What is set. What is not, follows from the device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// Most breaks between the segments of a transfer. A segment holds a page in the worst case, so a transfer has as many
    /// pages.
    pub physical_breaks: Option<u16>,
    /// Most requests that StorPort gives the adapter at once.
    pub max_requests: Option<u32>,
    /// Most request queues.
    pub max_queues: Option<u16>,
    /// What is done when the port driver asks for a reset.
    pub on_reset: OnReset,
    /// The port driver is told that single commands can be aborted, if the device has a function for that.
    pub abort_commands: bool,
    /// Milliseconds after which a request is traced that has not ended; 0: never.
    pub trace_response_time: u32,
}

/// What is done when the port driver asks for a reset of a unit, a target or the bus (SRB_FUNCTION_RESET_*). HwStorResetBus,
/// which comes when that was of no use, resets the device whatever this says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnReset {
    /// 0: what was asked for.
    #[default]
    Reset,
    /// 1: nothing, and that is called a success. The requests go on.
    Nothing,
    /// 0xDEADDEAD: Windows is stopped, so that there is a dump of what had come before.
    StopSystem,
}

/// One value.
struct Value {
    name: &'static CStr,
    allowed: Allowed,
    /// It is not one of those.
    event: Event,
    /// Where it goes.
    set: fn(&mut Parameters, u32),
}

/// What a value may be.
enum Allowed {
    From(RangeInclusive<u32>),
    OneOf(&'static [u32]),
}

impl Allowed {
    fn contains(&self, value: u32) -> bool {
        match self {
            Self::From(range) => range.contains(&value),
            Self::OneOf(values) => values.contains(&value),
        }
    }
}

/// All there are.
const VALUES: [Value; 6] = [
    Value {
        name: c"PhysicalBreaks",
        // What vioscsi takes; a longer transfer than our own longest is not to be had by it.
        allowed: Allowed::From(1..=512),
        event: Event::PhysicalBreaks,
        set: |parameters, value| parameters.physical_breaks = u16::try_from(value).ok(),
    },
    Value {
        name: c"VioscsiActionOnReset",
        allowed: Allowed::OneOf(&[0, 1, 0xdead_dead]),
        event: Event::VioscsiActionOnReset,
        set: |parameters, value| {
            parameters.on_reset = match value {
                0 => OnReset::Reset,
                1 => OnReset::Nothing,
                _ => OnReset::StopSystem,
            }
        },
    },
    Value {
        name: c"MaxRequests",
        allowed: Allowed::From(1..=u16::MAX as u32),
        event: Event::MaxRequests,
        set: |parameters, value| parameters.max_requests = Some(value),
    },
    Value {
        name: c"MaxQueues",
        allowed: Allowed::From(1..=u16::MAX as u32),
        event: Event::MaxQueues,
        set: |parameters, value| parameters.max_queues = u16::try_from(value).ok(),
    },
    Value {
        name: c"AbortCommands",
        allowed: Allowed::From(0..=1),
        event: Event::AbortCommands,
        set: |parameters, value| parameters.abort_commands = value == 1,
    },
    Value {
        name: c"TraceResponseTime",
        // An hour: what is wanted then is a time-out.
        allowed: Allowed::From(0..=3_600_000),
        event: Event::TraceResponseTime,
        set: |parameters, value| parameters.trace_response_time = value,
    },
];

impl Parameters {
    /// Reads them; in dump mode, where nobody can, nothing is set.
    pub fn read(resources: &mut impl Resources) -> Self {
        let mut parameters = Self::default();
        for value in &VALUES {
            match resources.parameter(value.name) {
                None => {}
                Some(given) if value.allowed.contains(given) => {
                    (value.set)(&mut parameters, given);
                }
                Some(_) => resources.port().report(value.event.into()),
            }
        }
        parameters
    }

    /// Entries of a ring in which such a transfer has a place: it, header and response are a chain, which may be as long as the
    /// ring (virtio 1.3, 2.7.5.3.1). Without the value there are `usual` ones.
    pub(crate) fn entries(&self, usual: u16) -> u16 {
        let Some(breaks) = self.physical_breaks else {
            return usual;
        };
        breaks.saturating_add(3).next_power_of_two().max(usual)
    }

    /// What of the device's limits is left.
    pub(crate) fn limits(&self, limits: Limits) -> Limits {
        let Some(breaks) = self.physical_breaks else {
            return limits;
        };
        // Breaks are what lies between the segments, so one more.
        let max_segments = limits.max_segments.min(u32::from(breaks) + 1);
        Limits { max_segments, ..limits }
    }

    /// What of the adapter's is left.
    pub(crate) fn configuration(&self, configuration: Configuration) -> Configuration {
        let most = self.max_requests.unwrap_or(u32::MAX);
        Configuration {
            max_requests: configuration.max_requests.min(most),
            max_requests_per_lun: configuration.max_requests_per_lun.min(most),
            aborts_commands: configuration.aborts_commands && self.abort_commands,
            ..configuration
        }
    }
}
