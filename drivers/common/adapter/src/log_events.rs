//! Every event that goes to the system log or to who traces StorPort: its number, how bad it is, who hears of it, and what it
//! means. inf/README.md has the same as a table, which is made from this one.
//!
//! Administrators know the numbers: none changes, and none is used again for something else.

use storport::TraceLevel::{Error, Information, Warning};
use storport::port::{FarUnit, LogEvent, LogPart};
use storport::{Declined, TraceLevel};
use virtio::queue::DeviceFault;
use virtio::transport::TransportError;

use crate::device_type::ProbeError;

/// What an administrator has to look at goes to the system log as well. What is normal is traced only, or monitoring takes a
/// controller for failing whose disk has grown.
const LOGGED: bool = true;
const TRACED: bool = false;

/// What the lower 16 bits of a number are, for those events that are about something.
const NOTHING: Option<&str> = None;
const BAR: Option<&str> = Some("base address register");
const STRUCTURE: Option<&str> = Some("`cfg_type`, base address register (8 bits each)");
const QUEUE: Option<&str> = Some("queue");
const BUFFER: Option<&str> = Some("what the device wrote");
const STATUS: Option<&str> = Some("its status register");
const VECTOR: Option<&str> = Some("vector");
const CFG_TYPE: Option<&str> = Some("`cfg_type`");
const BYTES: Option<&str> = Some("its length in bytes");

macro_rules! events {
    ($($part:ident { $($name:ident = $number:literal, $level:ident, $logged:ident, $detail:ident, $text:literal;)* })*) => {
        /// What happened.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Event {
            $($(#[doc = $text] $name,)*)*
        }

        impl Event {
            /// All there are, by part and number.
            pub const ALL: &[Self] = &[$($(Self::$name,)*)*];

            /// Which part of the driver speaks.
            pub const fn part(self) -> LogPart {
                match self { $($(Self::$name => LogPart::$part,)*)* }
            }

            /// That part's number for it.
            pub const fn number(self) -> u32 {
                match self { $($(Self::$name => $number,)*)* }
            }

            /// How bad it is.
            pub const fn level(self) -> TraceLevel {
                match self { $($(Self::$name => $level,)*)* }
            }

            /// It goes to the system log, too.
            pub const fn is_logged(self) -> bool {
                match self { $($(Self::$name => $logged,)*)* }
            }

            /// What the lower 16 bits of the number are, if anything.
            pub const fn detail(self) -> Option<&'static str> {
                match self { $($(Self::$name => $detail,)*)* }
            }

            /// What happened and what follows from it, for an administrator.
            pub const fn text(self) -> &'static str {
                match self { $($(Self::$name => $text,)*)* }
            }
        }
    };
}

events! {
    Transport {
        NoCapabilities = 0x01_0000, Error, LOGGED, NOTHING,
            "The PCI function has no virtio capabilities and is no legacy virtio device, so it is not used.";
        MissingCapability = 0x02_0000, Error, LOGGED, CFG_TYPE,
            "The device lacks a register structure that every virtio device has, so it is not used.";
        OutsideBar = 0x03_0000, Error, LOGGED, STRUCTURE,
            "A register structure does not fit into its base address register, so the device is not used.";
        NotMapped = 0x04_0000, Error, LOGGED, BAR,
            "A base address register is not there or could not be mapped, so the device is not used.";
        Removed = 0x05_0000, Error, LOGGED, NOTHING,
            "The device's registers read all-ones: it was removed or has no power.";
        ResetTimedOut = 0x06_0000, Error, LOGGED, STATUS,
            "The device did not end its reset in time: it is not used, or tried again later if it was in use.";
        NoVersion1 = 0x07_0000, Error, LOGGED, NOTHING,
            "The device does not offer VIRTIO_F_VERSION_1, so it is not used.";
        FeaturesRefused = 0x08_0000, Error, LOGGED, NOTHING,
            "The device did not accept its features, or offers fewer than when it was found, so it is not started.";
        NoQueue = 0x09_0000, Error, LOGGED, QUEUE,
            "A queue does not exist or has no entries, so the device is not started.";
        VectorRefused = 0x0a_0000, Error, LOGGED, VECTOR,
            "The device did not take an MSI-X vector, so it is not started.";
        NotifyOutsideBar = 0x0b_0000, Error, LOGGED, QUEUE,
            "A queue's doorbell lies outside the device's registers or is not aligned, so the device is not started.";
        Misaligned = 0x0c_0000, Error, LOGGED, STRUCTURE,
            "A register structure is not aligned to the width of its registers, so the device is not used.";
        QueueSize = 0x0d_0000, Error, LOGGED, QUEUE,
            "A queue takes fewer entries than when the device was found, so the device is not started.";
        QueueResetTimedOut = 0x0e_0000, Error, LOGGED, QUEUE,
            "The device did not end the reset of a queue in time.";
        NoQueueReset = 0x0f_0000, Error, LOGGED, QUEUE,
            "The device's registers have no place for the reset of a queue.";
        LegacyTooShort = 0x10_0000, Error, LOGGED, BYTES,
            "Base address register 0 of a legacy device is too short for its registers, so the device is not used.";
        LegacyLayout = 0x11_0000, Error, LOGGED, QUEUE,
            "A queue's memory is not laid out as a legacy device wants it, so the device is not started.";
        LegacyAddress = 0x12_0000, Error, LOGGED, QUEUE,
            "A queue's memory lies above 16 TiB, where a legacy device does not reach it, so the device is not started.";
    }
    Queue {
        UsedIdOutOfRange = 0x01_0000, Error, LOGGED, BUFFER,
            "The device gave back a request with a number that none has, and is reset.";
        UsedIdNotInFlight = 0x02_0000, Error, LOGGED, BUFFER,
            "The device gave back a request that it does not have, and is reset.";
        // 3 was a used length that is too long, which is no fault any more (`Used::length`).
        UsedIndexJumped = 0x04_0000, Error, LOGGED, BUFFER,
            "The device says that it gave back more requests than it had, and is reset.";
        BatchTooLong = 0x05_0000, Error, LOGGED, BUFFER,
            "The device gave back a batch of requests that ends past what it says it gave back, and is reset.";
    }
    Configuration {
        QueueTooSmall = 3, Error, LOGGED, NOTHING,
            "The request queue does not exist or is too small, so the device is not used.";
        NoMemory = 4, Error, LOGGED, NOTHING,
            "There is not enough memory for the queues, so the device is not used.";
        ConfigurationChanged = 10, Information, TRACED, NOTHING,
            "The device's configuration changed, and Windows was told to look at it again.";
        UnitsLeftOut = 11, Information, TRACED, NOTHING,
            "The device may have units where Windows' addresses do not reach; they are left out.";
        EventsGivenUp = 12, Warning, LOGGED, NOTHING,
            "The device broke the rules of its event queue again: units that come, go or change are not heard of now.";
        LunsOutOfReach = 13, Warning, LOGGED, NOTHING,
            "Windows' addresses do not reach the LUNs of this target from the one named on: they are left out.";
        ConfigTooShort = 100, Error, LOGGED, NOTHING,
            "The device's configuration ends before a field that is needed, so the device is not used.";
        // Each driver has its own 101. Theirs are different devices.
        BlockSize = 101, Error, LOGGED, NOTHING,
            "viostor: a logical block is not of 512, 1024, 2048 or 4096 bytes, so the disk is not used.";
        FieldSizes = 101, Error, LOGGED, NOTHING,
            "vioscsi: the fields for CDB and sense data are not of the default sizes, so the device is not used.";
        // 102 was a disk without a block.
        SegmentSize = 103, Error, LOGGED, NOTHING,
            "viostor: all segments of a request together do not hold a block, so the disk is not used.";
        HostManaged = 104, Error, LOGGED, NOTHING,
            "viostor: the disk has zones that must be written in order, or of an unknown kind, so it is not used.";
    }
    Reset {
        ResetByPortDriver = 1, Warning, TRACED, NOTHING,
            "The device is reset because Windows asked for it.";
        ResetAfterFault = 2, Warning, TRACED, NOTHING,
            "The device is reset because it broke the ring's rules, as the event before this one says.";
        ResetByDevice = 3, Warning, LOGGED, NOTHING,
            "The device is reset because it asked for it.";
        DeviceIsBack = 4, Information, TRACED, NOTHING,
            "The device is back after a reset or a start that was given up.";
        LockNotFree = 100, Warning, LOGGED, NOTHING,
            "The device could not be started because one of its queues was busy.";
        BusMasterCleared = 101, Warning, LOGGED, NOTHING,
            "The device did not end its reset: it was cut off from memory (Bus Master), and what it had was ended.";
        BusMasterNotCleared = 102, Warning, LOGGED, NOTHING,
            "The device did not end its reset and could not be cut off from memory (Bus Master): its requests stay open.";
        BusMasterNotSet = 103, Warning, LOGGED, NOTHING,
            "The device could not be given access to memory again (Bus Master), so it is not started.";
        StoppedMeanwhile = 104, Information, TRACED, NOTHING,
            "The device was stopped while it was being started.";
    }
    Parameter {
        PhysicalBreaks = 1, Warning, LOGGED, NOTHING,
            "The registry value PhysicalBreaks is out of range and counts as not set.";
        VioscsiActionOnReset = 2, Warning, LOGGED, NOTHING,
            "The registry value VioscsiActionOnReset is out of range and counts as not set.";
        MaxRequests = 3, Warning, LOGGED, NOTHING,
            "The registry value MaxRequests is out of range and counts as not set.";
        MaxQueues = 4, Warning, LOGGED, NOTHING,
            "The registry value MaxQueues is out of range and counts as not set.";
        AbortCommands = 5, Warning, LOGGED, NOTHING,
            "The registry value AbortCommands is out of range and counts as not set.";
        TraceResponseTime = 6, Warning, LOGGED, NOTHING,
            "The registry value TraceResponseTime is out of range and counts as not set.";
    }
    Request {
        SlowRequest = 1, Information, TRACED, NOTHING,
            "A request of this unit has taken longer than TraceResponseTime says, and has not ended yet.";
    }
}

impl Event {
    /// What an administrator sees of it, with zero for what it is about.
    pub const fn code(self) -> u32 {
        self.about(0).code()
    }

    /// For the port driver, with what the event is about ([`detail`](Self::detail)).
    #[cold]
    #[inline(never)]
    pub const fn about(self, detail: u16) -> LogEvent {
        LogEvent {
            part: self.part(),
            number: self.number() | detail as u32,
            level: self.level(),
            logged: self.is_logged(),
            unit: None,
        }
    }

    /// For the port driver, of one unit.
    #[cold]
    #[inline(never)]
    pub const fn of_unit(self, unit: FarUnit) -> LogEvent {
        LogEvent { unit: Some(unit), ..self.about(0) }
    }

    /// The event that has this code. Where two drivers have an event each, they differ in text only.
    #[cold]
    #[inline(never)]
    pub fn from_code(code: u32) -> Option<LogEvent> {
        let detail = code as u16;
        let (about, whole) = (Self::with_code(code - u32::from(detail)), Self::with_code(code));
        about.map(|event| event.about(detail)).or(whole.map(LogEvent::from))
    }

    fn with_code(code: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|event| event.code() == code)
    }

    /// Why a device could not be opened or started.
    #[cold]
    #[inline(never)]
    pub const fn of_transport(error: TransportError) -> LogEvent {
        let (event, detail) = match error {
            TransportError::NoCapabilities => (Self::NoCapabilities, 0),
            TransportError::MissingCapability(kind) => (Self::MissingCapability, kind.0 as u16),
            TransportError::OutsideBar { kind, bar } => (Self::OutsideBar, u16::from_be_bytes([kind.0, bar])),
            TransportError::NotMapped { bar } => (Self::NotMapped, bar as u16),
            TransportError::Removed => (Self::Removed, 0),
            TransportError::ResetTimedOut { status } => (Self::ResetTimedOut, status as u16),
            TransportError::NoVersion1 => (Self::NoVersion1, 0),
            TransportError::FeaturesRefused => (Self::FeaturesRefused, 0),
            TransportError::NoQueue { queue } => (Self::NoQueue, queue),
            TransportError::VectorRefused { vector } => (Self::VectorRefused, vector),
            TransportError::NotifyOutsideBar { queue } => (Self::NotifyOutsideBar, queue),
            TransportError::Misaligned { kind, bar } => (Self::Misaligned, u16::from_be_bytes([kind.0, bar])),
            TransportError::QueueSize { queue, .. } => (Self::QueueSize, queue),
            TransportError::QueueResetTimedOut { queue } => (Self::QueueResetTimedOut, queue),
            TransportError::NoQueueReset { queue } => (Self::NoQueueReset, queue),
            TransportError::LegacyTooShort { bytes } => (Self::LegacyTooShort, bytes as u16),
            TransportError::LegacyLayout { queue } => (Self::LegacyLayout, queue),
            TransportError::LegacyAddress { queue } => (Self::LegacyAddress, queue),
        };
        event.about(detail)
    }

    /// What the device did that it must not do.
    #[cold]
    #[inline(never)]
    pub const fn of_fault(fault: DeviceFault) -> LogEvent {
        let (event, detail) = match fault {
            DeviceFault::UsedIdOutOfRange { id, .. } => (Self::UsedIdOutOfRange, id as u16),
            DeviceFault::UsedIdNotInFlight { id } => (Self::UsedIdNotInFlight, id as u16),
            DeviceFault::UsedIndexJumped { index, .. } => (Self::UsedIndexJumped, index),
            DeviceFault::BatchTooLong { id } => (Self::BatchTooLong, id as u16),
        };
        event.about(detail)
    }
}

impl From<Event> for LogEvent {
    fn from(event: Event) -> Self {
        event.about(0)
    }
}

impl From<Event> for Declined {
    fn from(event: Event) -> Self {
        Self(event.into())
    }
}

impl From<ProbeError> for Event {
    fn from(error: ProbeError) -> Self {
        match error {
            ProbeError::ConfigTooShort => Self::ConfigTooShort,
            ProbeError::BlockSize => Self::BlockSize,
            ProbeError::FieldSizes => Self::FieldSizes,
            ProbeError::SegmentSize => Self::SegmentSize,
            ProbeError::HostManaged => Self::HostManaged,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use virtio::spec::pci::CapabilityType;

    #[test]
    fn every_code_is_one_event_of_a_driver_and_decodes_back() {
        assert_eq!(Event::from_code(0), None);
        let other_driver = |event| if event == Event::FieldSizes { Event::BlockSize } else { event };
        for &event in Event::ALL {
            let detail = if event.detail().is_some() { 0x1234 } else { 0 };

            let logged = event.about(detail);

            assert_eq!(Event::from_code(logged.code()), Some(logged), "{event:?}");
            assert_eq!(Event::with_code(event.code()), Some(other_driver(event)));
        }
    }

    #[test]
    fn what_an_event_is_about_has_16_bits_of_its_number_for_itself() {
        for &event in Event::ALL {
            let has_room = event.number() & 0xffff == 0;

            assert!(event.number() >> 24 == 0, "{event:?}");
            assert_eq!(matches!(event.part(), LogPart::Transport | LogPart::Queue), has_room, "{event:?}");
            assert!(has_room || event.detail().is_none(), "{event:?}");
        }
    }

    #[test]
    fn the_texts_are_sentences_in_ascii_that_a_table_can_hold() {
        for &event in Event::ALL {
            let text = event.text();

            assert!(text.is_ascii() && !text.contains(['|', '\n']), "{text}");
            assert!(text.ends_with('.') && text.len() <= 110, "{text}");
        }
    }

    #[test]
    fn errors_keep_the_codes_that_administrators_know() {
        let kind = CapabilityType::NOTIFY;
        let transport = [
            (TransportError::NoCapabilities, 0x0101_0000),
            (TransportError::MissingCapability(kind), 0x0102_0002),
            (TransportError::OutsideBar { kind, bar: 4 }, 0x0103_0204),
            (TransportError::NotMapped { bar: 4 }, 0x0104_0004),
            (TransportError::Removed, 0x0105_0000),
            (TransportError::ResetTimedOut { status: 0x4f }, 0x0106_004f),
            (TransportError::NoVersion1, 0x0107_0000),
            (TransportError::FeaturesRefused, 0x0108_0000),
            (TransportError::NoQueue { queue: 0x123 }, 0x0109_0123),
            (TransportError::VectorRefused { vector: 0x123 }, 0x010a_0123),
            (TransportError::NotifyOutsideBar { queue: 0x123 }, 0x010b_0123),
            (TransportError::Misaligned { kind, bar: 4 }, 0x010c_0204),
            (TransportError::QueueSize { queue: 0x123, size: 2, offered: 1 }, 0x010d_0123),
            (TransportError::QueueResetTimedOut { queue: 0x123 }, 0x010e_0123),
            (TransportError::NoQueueReset { queue: 0x123 }, 0x010f_0123),
            (TransportError::LegacyTooShort { bytes: 20 }, 0x0110_0014),
            (TransportError::LegacyLayout { queue: 0x123 }, 0x0111_0123),
            (TransportError::LegacyAddress { queue: 0x123 }, 0x0112_0123),
        ];
        let faults = [
            (DeviceFault::UsedIdOutOfRange { id: 0x8_0009, size: 8 }, 0x0201_0009),
            (DeviceFault::UsedIdNotInFlight { id: 9 }, 0x0202_0009),
            (DeviceFault::UsedIndexJumped { index: 9, expected: 1, in_flight: 1 }, 0x0204_0009),
            (DeviceFault::BatchTooLong { id: 9 }, 0x0205_0009),
        ];

        let transport = transport.map(|(error, code)| (Event::of_transport(error).code(), code));
        let faults = faults.map(|(fault, code)| (Event::of_fault(fault).code(), code));

        for (code, expected) in transport.into_iter().chain(faults) {
            assert_eq!(code, expected, "{code:#x}");
        }
    }
}
