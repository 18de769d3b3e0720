//! What a driver has to tell an administrator: events for the traces of the port driver (ETW), and for the system event log.

/// One event for the traces of the port driver, and for the system event log.
///
/// The log shows `code` as the entry's unique id, `0xPPNNNNNN`: the part of the driver in the top byte, the number
/// that part gave the event below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogEvent {
    /// Which part of the driver speaks.
    pub part: LogPart,
    /// Its number for what happened.
    pub number: u32,
    /// How bad it is.
    pub level: TraceLevel,
    /// It is for the system log, too.
    pub logged: bool,
    /// The unit that it is about, which need not be one that StorPort's addresses reach; `None`: it is about the adapter.
    pub unit: Option<FarUnit>,
}

/// A logical unit, with its number as the device has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FarUnit {
    /// Its target.
    pub target: u8,
    /// Its number there.
    pub lun: u16,
}

impl LogEvent {
    /// The entry's unique id.
    pub const fn code(&self) -> u32 {
        ((self.part as u32) << 24) | (self.number & 0x00ff_ffff)
    }
}

/// Part of a driver that writes log entries.
///
/// None has the number 0: then a code of 0 is no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum LogPart {
    /// Finding, opening and starting the device.
    Transport = 1,
    /// The device broke the ring's rules.
    Queue = 2,
    /// The device's configuration cannot be used.
    Configuration = 3,
    /// The adapter was reset, and why.
    Reset = 4,
    /// An administrator's setting is out of range and does not count.
    Parameter = 5,
    /// Something about a request that an administrator has asked for.
    Request = 6,
}

impl LogPart {
    /// What a trace calls it. The port driver refuses more than 32 characters (STORPORT_ETW_MAX_DESCRIPTION_LENGTH), and does
    /// not say whether the zero at the end counts.
    pub const fn description(self) -> &'static str {
        match self {
            Self::Transport => "virtio device does not start",
            Self::Queue => "virtio device broke its rules",
            Self::Configuration => "virtio device configuration",
            Self::Reset => "virtio device reset",
            Self::Parameter => "registry value out of range",
            Self::Request => "request is slow",
        }
    }
}

/// How bad it is (`STORPORT_ETW_LEVEL`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TraceLevel {
    /// Something does not work.
    Error = 2,
    /// Something did not work, and does again or is done without.
    Warning = 3,
    /// Something happened.
    Information = 4,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_descriptions_are_short_enough_for_a_trace() {
        use LogPart::{Configuration, Parameter, Queue, Request, Reset, Transport};
        for part in [Transport, Queue, Configuration, Reset, Parameter, Request] {
            assert!(part.description().is_ascii());
            assert!(part.description().len() < 32, "{}", part.description());
        }
    }
}
