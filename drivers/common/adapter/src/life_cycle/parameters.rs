//! What an administrator can set: DWORD values below the service's `Parameters\Device` key, read once, when the adapter is
//! found. inf/README.md says the same in a table.
//!
//! The names are those of virtio-win's vioscsi where it has one for the matter, so that a setting survives a change of
//! drivers. What is out of range is logged and counts as not set.

use core::ffi::CStr;

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
}

/// One value.
struct Value {
    name: &'static CStr,
    least: u32,
    most: u32,
    /// It is out of range.
    event: Event,
    /// Where it goes.
    set: fn(&mut Parameters, u32),
}

/// All there are.
const VALUES: [Value; 4] = [
    Value {
        name: c"PhysicalBreaks",
        least: 1,
        // What vioscsi takes; a longer transfer than our own longest is not to be had by it.
        most: 512,
        event: Event::PhysicalBreaks,
        set: |parameters, value| parameters.physical_breaks = u16::try_from(value).ok(),
    },
    // 0 is a reset, which is all that is done here: 1 says that it was done and does nothing, and 0xDEADDEAD stops the system.
    Value {
        name: c"VioscsiActionOnReset",
        least: 0,
        most: 0,
        event: Event::VioscsiActionOnReset,
        set: |_, _| {},
    },
    Value {
        name: c"MaxRequests",
        least: 1,
        most: u16::MAX as u32,
        event: Event::MaxRequests,
        set: |parameters, value| parameters.max_requests = Some(value),
    },
    Value {
        name: c"MaxQueues",
        least: 1,
        most: u16::MAX as u32,
        event: Event::MaxQueues,
        set: |parameters, value| parameters.max_queues = u16::try_from(value).ok(),
    },
];

impl Parameters {
    /// Reads them; in dump mode, where nobody can, nothing is set.
    pub fn read(resources: &mut impl Resources) -> Self {
        let mut parameters = Self::default();
        for value in &VALUES {
            match resources.parameter(value.name) {
                None => {}
                Some(given) if (value.least..=value.most).contains(&given) => {
                    (value.set)(&mut parameters, given);
                }
                Some(_) => resources.port().report(value.event.into()),
            }
        }
        parameters
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
            ..configuration
        }
    }
}
