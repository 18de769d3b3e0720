//! The event queue of the SCSI host (virtio 1.3, 5.6.6.3): buffers that wait for an event, events that are told in them, and what
//! a lie has in their place.

use alloc::vec::Vec;

use super::bytes::Bytes;
use super::queue::Chain;
use super::tasks::Unit;
use super::{Device, Kind, Lie, Memory};

/// The queue's number.
pub(super) const EVENT_QUEUE: u16 = 1;
/// Bytes of an event.
pub(super) const EVENT: usize = 16;

/// Types of events.
const NO_EVENT: u32 = 0;
const TRANSPORT_RESET: u32 = 1;
const ASYNC_NOTIFY: u32 = 2;
const PARAM_CHANGE: u32 = 3;
/// Events before this one were lost.
const MISSED: u32 = 1 << 31;
/// Reasons of a transport reset.
const HARD: u32 = 0;
const RESCAN: u32 = 1;
const REMOVED: u32 = 2;

/// The unit that comes and goes.
pub const COMES_AND_GOES: Unit = (1, 0);
/// The unit that changes.
pub const CHANGES: Unit = (0, 1);
/// How often the former does, and how many events a flood has.
const STORM: u64 = 40;
const FLOOD: u64 = 400;

/// An event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Event {
    kind: u32,
    lun: [u8; 8],
    reason: u32,
}

/// A unit as QEMU names it in an event: single level, with the flat address method (hw/scsi/virtio-scsi.c,
/// `virtio_scsi_push_event`).
const fn named((target, lun): Unit) -> [u8; 8] {
    let [high, low] = lun.to_be_bytes();
    [1, target, 0x40 | high, low, 0, 0, 0, 0]
}

const fn event(kind: u32, unit: Unit, reason: u32) -> Event {
    Event { kind, lun: named(unit), reason }
}

/// LUN fields that name nothing, or nothing that there is.
const NOWHERE: [[u8; 8]; 9] = [
    [0; 8],
    [0xFF; 8],
    // Another form than 01h in the first byte, and more than one level.
    [2, 0, 0x40, 0, 0, 0, 0, 0],
    [1, 0, 0x40, 0, 0x40, 1, 0, 0],
    // The well-known unit of REPORT LUNS.
    [1, 0, 0xC1, 1, 0, 0, 0, 0],
    // Behind the last target, and behind what StorPort has addresses for.
    [1, 200, 0x40, 0, 0, 0, 0, 0],
    [1, 255, 0x40, 0, 0, 0, 0, 0],
    [1, 0, 0x40, 255, 0, 0, 0, 0],
    [1, 0, 0x7F, 0xFF, 0, 0, 0, 0],
];
/// Additional sense codes and qualifiers of units that change (5.6.6.3 names the first three; SPC-4, annex E): capacity, mode
/// parameters, INQUIRY data, reported LUNs, parameters, priority, medium, microcode, and what there is not.
const CHANGED: [(u8, u8); 9] = [
    (0x2A, 0x09),
    (0x2A, 0x01),
    (0x3F, 0x03),
    (0x3F, 0x0E),
    (0x2A, 0x00),
    (0x2A, 0x08),
    (0x28, 0x00),
    (0x3F, 0x01),
    (0xFF, 0xFF),
];

/// The n-th event of a lie; `None` when it has been told.
fn script(lie: Lie, number: u64) -> Option<Event> {
    let n = number as usize;
    let of = |kind: u32, reason: u32| event(kind, (0, 0), reason);
    match lie {
        Lie::EventFlood if number < FLOOD => Some(if number.is_multiple_of(3) {
            of(TRANSPORT_RESET, RESCAN)
        } else {
            event(PARAM_CHANGE, CHANGES, 0x092A)
        }),
        Lie::EventsMissed => [NO_EVENT, TRANSPORT_RESET, ASYNC_NOTIFY, PARAM_CHANGE, 0x7FFF_FFFF]
            .get(n)
            .map(|kind| of(MISSED | kind, 3)),
        Lie::EventUnknown => [NO_EVENT, 4, 0xFF, 0x1_0001, 0x7FFF_FFFF].get(n).map(|kind| of(*kind, RESCAN)),
        Lie::EventReasonUnknown => [3, 0xFF, 0xFFFF_FFFF].get(n).map(|reason| of(TRANSPORT_RESET, *reason)),
        Lie::EventNowhere => {
            let kinds = [(PARAM_CHANGE, 0x092A), (TRANSPORT_RESET, REMOVED)];
            let (kind, reason) = kinds[n % 2];
            NOWHERE.get(n / 2).map(|lun| Event { kind, lun: *lun, reason })
        }
        Lie::EventOfNoUnit => [(0, 7), (2, 0), (3, 6)].get(n).map(|unit| event(PARAM_CHANGE, *unit, 0x092A)),
        Lie::EventHardReset => {
            [CHANGES, (0, 0), COMES_AND_GOES].get(n).map(|unit| event(TRANSPORT_RESET, *unit, HARD))
        }
        Lie::EventParameters => CHANGED.get(n).map(|(code, qualifier)| {
            event(PARAM_CHANGE, CHANGES, u32::from(*qualifier) << 8 | u32::from(*code))
        }),
        Lie::EventNotification => {
            [2, 4, 8, 16, 64, 128].get(n).map(|reason| event(ASYNC_NOTIFY, CHANGES, *reason))
        }
        Lie::EventStorm if number < 2 * STORM => {
            let reason = if number.is_multiple_of(2) { REMOVED } else { RESCAN };
            Some(event(TRANSPORT_RESET, COMES_AND_GOES, reason))
        }
        Lie::EventLengthZero | Lie::EventLengthHuge if n < 20 => Some(event(PARAM_CHANGE, CHANGES, 0x092A)),
        Lie::EventTwice | Lie::EventIdOutOfRange | Lie::EventOtherBuffer if n < 1 => {
            Some(event(PARAM_CHANGE, CHANGES, 0x092A))
        }
        Lie::EventIdOutOfRangeForEver => Some(event(PARAM_CHANGE, CHANGES, 0x092A)),
        _ => None,
    }
}

impl Device {
    /// Tells the truth of a unit: its capacity has changed. `false`: the driver has given no buffer for that.
    pub fn say_that_it_changed(&mut self, unit: Unit, memory: &mut impl Memory) -> (bool, Vec<u16>) {
        let told = self.running() && self.tell_event(event(PARAM_CHANGE, unit, 0x092A), memory);
        let mut messages = Vec::new();
        if told {
            self.signal(EVENT_QUEUE, memory, &mut messages);
        }
        (told, messages)
    }

    /// Whether the events of this lie have all been told.
    pub fn has_told_its_events(&self) -> bool {
        script(self.lie(), self.told).is_none()
    }

    /// A buffer for an event.
    pub(super) fn keep_buffer(&mut self, chain: &Chain) {
        self.check_buffer(chain);
        self.buffers.push(chain.clone());
    }

    /// The next event of the lie, one each time; a flood fills every buffer.
    pub(super) fn lie_in_events(&mut self, memory: &mut impl Memory) {
        while self.kind == Kind::Scsi
            && !self.buffers.is_empty()
            && let Some(event) = script(self.lie(), self.told)
        {
            if self.is(Lie::EventStorm) {
                self.removed = (event.reason == REMOVED).then_some(COMES_AND_GOES);
            }
            self.tell_event(event, memory);
            self.told += 1;
            if !self.is(Lie::EventFlood) {
                break;
            }
        }
    }

    /// Writes an event into a buffer; `false`: there is none.
    fn tell_event(&mut self, event: Event, memory: &mut impl Memory) -> bool {
        if self.buffers.is_empty() {
            return false;
        }
        let chain = self.buffers.remove(0);
        let mut bytes = [0; EVENT];
        bytes[..4].copy_from_slice(&event.kind.to_le_bytes());
        bytes[4..12].copy_from_slice(&event.lun);
        bytes[12..].copy_from_slice(&event.reason.to_le_bytes());
        Bytes::written(&chain.parts).put(0, &bytes, memory);
        let lie = self.lie();
        let queue = &mut self.queues[usize::from(EVENT_QUEUE)];
        let (id, size) = (u32::from(chain.id), u32::from(queue.size).max(1));
        let id = match lie {
            Lie::EventIdOutOfRange | Lie::EventIdOutOfRangeForEver => size + 7,
            Lie::EventOtherBuffer => (id + size / 2) % size,
            _ => id,
        };
        let length = match lie {
            Lie::EventLengthZero => 0,
            Lie::EventLengthHuge => 0xFFFF_FFFF,
            _ => EVENT as u32,
        };
        queue.give(&chain, id, length, memory);
        if lie == Lie::EventTwice {
            queue.give(&chain, id, length, memory);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::super::driver::{buffer, events, running};
    use super::*;

    fn with_buffers(lie: Lie) -> (Device, Vec<u8>) {
        let (device, mut memory) = running(Kind::Scsi, lie);
        let mut device = device.with_units(3);
        (0..4).for_each(|number| buffer(&mut device, &mut memory, number));
        (device, memory)
    }

    #[test]
    fn a_unit_that_changed_is_told_of_in_a_buffer_and_in_none_that_is_not_there() {
        let (mut device, mut memory) = with_buffers(Lie::None);

        let (told, messages) = device.say_that_it_changed((3, 5), &mut memory);

        assert_eq!((told, messages.len()), (true, 1));
        assert_eq!(events(&mut memory), [[3, 0, 0, 0, 1, 3, 0x40, 5, 0, 0, 0, 0, 0x2A, 9, 0, 0]]);
        (0..3).for_each(|_| assert!(device.say_that_it_changed((0, 0), &mut memory).0));
        assert_eq!(device.say_that_it_changed((0, 0), &mut memory), (false, vec![]));
    }

    #[test]
    fn every_lie_about_events_is_told_to_its_end() {
        for told in super::super::LIES.iter().filter(|told| told.is_about_events()) {
            let (mut device, mut memory) = with_buffers(told.lie);
            let ends = (0..2000).any(|number| {
                device.tick(&mut memory);
                if device.buffers.len() < 4 {
                    buffer(&mut device, &mut memory, 4 + number);
                }
                device.has_told_its_events()
            });

            assert!(ends || told.lasts, "{} has no end", told.name);
            assert!(device.told > 0, "{} is not told", told.name);
        }
    }
}
