//! A packed virtqueue, device side (2.8).
//!
//! ```text
//!            used place        available place
//!                │                    │
//!   ... driver's │ the device's own   │ driver's ...
//!                └──── `owned` ───────┘
//! ```
//!
//! Between the two places lie the descriptors that the driver gave and that are not used: none of them may change. All
//! the others are the driver's. Which requests the device still has does not follow from that: a request that is used
//! out of order is written over the descriptor of another one.

mod list;
mod place;

use std::sync::atomic::Ordering;

use place::{AVAIL, Descriptor, Known, Place, USED, WRITE};

use super::chain::Chain;
use super::queue::{Held, Ring, Used};
use super::{Ram, Violation};
use virtio::memory::SharedMemory;
use virtio::spec::Features;

const EVENT_ENABLE: u16 = 0;
const EVENT_DISABLE: u16 = 1;
const EVENT_DESCRIPTOR: u16 = 2;

const DESCRIPTOR_BYTES: usize = 16;
const EVENT_BYTES: usize = 4;

/// Descriptors of the longest ring (2.8).
pub(super) const MOST_DESCRIPTORS: u16 = 1 << 15;

/// Descriptor ring and event suppression structures, and how far the device is.
#[derive(Debug)]
pub(super) struct PackedRing {
    queue: u16,
    size: u16,
    ring: usize,
    driver_event: usize,
    device_event: usize,
    available: Place,
    used: Place,
    /// Descriptors from the used place to the available place.
    owned: u16,
    known: Vec<Known>,
    /// The used place when the driver was last given a chance to be interrupted, and the descriptors since then.
    signalled: Place,
    unsignalled: u16,
    /// A lie moved the used place on: what stands in the ring from now on is not the driver's fault, and nothing more is
    /// taken from it.
    spoilt: bool,
}

impl PackedRing {
    /// The ring at these addresses of descriptor ring, driver and device area; `None` when it cannot be there
    /// (2.8.10.1).
    pub(super) fn new(ram: &Ram, queue: u16, size: u16, areas: [u64; 3]) -> Option<Self> {
        let [ring, driver, device] = areas;
        if ring % 16 != 0 || driver % 4 != 0 || device % 4 != 0 {
            return None;
        }
        Some(Self {
            queue,
            size,
            ring: ram.offset(ring, DESCRIPTOR_BYTES * usize::from(size))?,
            driver_event: ram.offset(driver, EVENT_BYTES)?,
            device_event: ram.offset(device, EVENT_BYTES)?,
            available: Place::START,
            used: Place::START,
            owned: 0,
            known: vec![Known::default(); usize::from(size)],
            signalled: Place::START,
            unsignalled: 0,
            spoilt: false,
        })
    }

    /// Whether the ring is zeroed, as it has to be at the start.
    pub(super) fn check_zeroed(&self, ram: &Ram) -> Result<(), Violation> {
        let zero = Descriptor::default();
        match (0..self.size).find(|position| self.read(ram, *position) != zero) {
            Some(position) => Err(Violation::RingNotZeroed { queue: self.queue, position }),
            None => Ok(()),
        }
    }

    fn at(&self, position: u16) -> usize {
        self.ring + DESCRIPTOR_BYTES * usize::from(position)
    }

    fn flags(&self, ram: &Ram, position: u16) -> u16 {
        ram.words().load16(self.at(position) + 14, Ordering::Acquire)
    }

    fn read(&self, ram: &Ram, position: u16) -> Descriptor {
        // The flags first: they say whether the rest is there.
        let flags = self.flags(ram, position);
        let (words, at) = (ram.words(), self.at(position));
        Descriptor {
            address: words.load64(at, Ordering::Relaxed),
            length: words.load32(at + 8, Ordering::Relaxed),
            id: words.load16(at + 12, Ordering::Relaxed),
            flags,
        }
    }

    /// Whether the flags at the available place, where nothing is available, are those that were there or that leave no
    /// doubt.
    fn check_idle(&mut self, flags: u16) -> Result<(), Violation> {
        let place = self.available;
        let known = &mut self.known[usize::from(place.offset)].descriptor.flags;
        let changed = (flags ^ *known) & (AVAIL | USED) != 0;
        *known = flags;
        // Used, though nobody but the device says so, or available in the wrong round.
        if changed && (place.is_used(flags) || place.other_round().is_available(flags)) {
            return Err(Violation::AvailabilityFlags { position: place.offset, flags });
        }
        Ok(())
    }

    /// Writes a used descriptor.
    fn write_used(&mut self, ram: &Ram, place: Place, used: Used) {
        let (words, at) = (ram.words(), self.at(place.offset));
        let mut flags = place.used_flags();
        // Without the flag the length is reserved and to be ignored (2.8.4): then what stood there stays.
        if used.wrote || used.length > 0 {
            flags |= WRITE;
            words.store32(at + 8, used.length, Ordering::Relaxed);
        }
        words.store16(at + 12, used.id as u16, Ordering::Relaxed);
        words.store16(at + 14, flags, Ordering::Release);
        // The driver may have seen it and written over it already, so it is not read back.
        self.known[usize::from(place.offset)].descriptor.flags = flags;
    }

    fn advance_used(&mut self, descriptors: u16) {
        self.used = self.used.after(descriptors, self.size);
        self.owned -= descriptors;
        self.unsignalled += descriptors;
    }

    /// Writes used descriptors, one each, for requests that do not exist: first over the descriptors that the device
    /// owns, so that the driver meets them while it waits for others, then over free ones.
    fn write_false(&mut self, ram: &Ram, entries: impl Iterator<Item = Used>) {
        let mut ahead = 0;
        for used in entries {
            // What was used just now, and the driver has not seen, is not written over.
            if self.unsignalled + ahead >= self.size {
                return;
            }
            self.write_used(ram, self.used.after(ahead, self.size), used);
            if self.owned > 0 {
                self.advance_used(1);
                self.spoilt = true;
            } else {
                ahead += 1;
            }
        }
    }

    /// The driver's event suppression structure: the descriptor as it is packed, and the flags.
    fn driver_event(&self, ram: &Ram) -> (u16, u16) {
        let word = ram.words().load32(self.driver_event, Ordering::Acquire);
        (word as u16, (word >> 16) as u16)
    }
}

impl Ring for PackedRing {
    fn check_driver_area(&self, ram: &Ram, features: Features) -> Result<(), Violation> {
        let (descriptor, flags) = self.driver_event(ram);
        let wrong = Violation::EventFlags { queue: self.queue, flags };
        match flags {
            EVENT_ENABLE | EVENT_DISABLE => Ok(()),
            EVENT_DESCRIPTOR if !features.contains(Features::RING_EVENT_IDX) => Err(wrong),
            EVENT_DESCRIPTOR => {
                let offset = descriptor & !(1 << 15);
                let inside = offset < self.size;
                if inside { Ok(()) } else { Err(Violation::EventOffset { queue: self.queue, offset }) }
            }
            _ => Err(wrong),
        }
    }

    fn check_in_flight(&mut self, ram: &Ram, violations: &mut Vec<Violation>) {
        if self.spoilt {
            return;
        }
        for place in self.used.onwards(self.size).take(usize::from(self.owned)) {
            let now = self.read(ram, place.offset);
            let known = &mut self.known[usize::from(place.offset)];
            if now == known.descriptor {
                continue;
            }
            violations.push(if place.other_round().is_available(now.flags) {
                Violation::DescriptorOverwritten { position: place.offset }
            } else {
                Violation::ChangedInFlight { head: known.id }
            });
            // It is told once.
            known.descriptor = now;
        }
    }

    fn take(&mut self, ram: &Ram, features: Features, held: Held<'_>) -> Result<Option<Chain>, Violation> {
        if self.spoilt || self.owned == self.size {
            return Ok(None);
        }
        let flags = self.flags(ram, self.available.offset);
        if !self.available.is_available(flags) {
            return self.check_idle(flags).map(|()| None);
        }
        let (chain, descriptors) = self.walk(ram, features)?;
        let id = chain.head;
        if id >= self.size {
            return Err(Violation::BufferIdOutOfRange { id });
        }
        if held.ids().any(|other| other == id) {
            return Err(Violation::BufferIdInFlight { id });
        }
        for descriptor in descriptors {
            self.known[usize::from(self.available.offset)] = Known { descriptor, id };
            self.available = self.available.next(self.size);
        }
        self.owned += chain.descriptors;
        Ok(Some(chain))
    }

    fn position(&self, ram: &Ram) -> u16 {
        let free = usize::from(self.size - self.owned);
        let available = self.available.onwards(self.size).take(free);
        let passed = available.take_while(|place| place.is_available(self.flags(ram, place.offset))).count();
        self.available.after(passed as u16, self.size).packed()
    }

    fn has_more(&self, ram: &Ram) -> bool {
        let place = self.available;
        !self.spoilt && self.owned < self.size && place.is_available(self.flags(ram, place.offset))
    }

    /// What stands in the ring is looked at by [`check_in_flight`](Ring::check_in_flight); this is about the table.
    fn check_unchanged(&mut self, ram: &Ram, _features: Features, chain: &Chain) -> Result<(), Violation> {
        let Some((address, length)) = chain.table else {
            return Ok(());
        };
        let mut now = Chain::new(chain.head);
        let walked = self.walk_table(ram, chain.head, &mut now, address, length);
        let unchanged = walked.is_ok() && now.pieces == chain.pieces;
        if unchanged { Ok(()) } else { Err(Violation::ChangedInFlight { head: chain.head }) }
    }

    fn ask_for_notification(&mut self, ram: &Ram, features: Features, polling: bool) {
        let (descriptor, flags) = match (polling, features.contains(Features::RING_EVENT_IDX)) {
            (true, _) => (0, EVENT_DISABLE),
            (false, false) => (0, EVENT_ENABLE),
            (false, true) => (self.available.packed(), EVENT_DESCRIPTOR),
        };
        let word = u32::from(descriptor) | u32::from(flags) << 16;
        ram.words().store32(self.device_event, word, Ordering::Relaxed);
        ram.words().fence(Ordering::SeqCst);
    }

    fn unused_id(&self, ram: &Ram, held: Held<'_>) -> Option<u16> {
        let free = usize::from(self.size - self.owned);
        let waiting = self.available.onwards(self.size).take(free);
        let waiting = waiting.map(|place| (place, self.read(ram, place.offset)));
        let waiting = waiting.take_while(|(place, descriptor)| place.is_available(descriptor.flags));
        let taken: Vec<u16> = waiting.map(|(_, descriptor)| descriptor.id).chain(held.ids()).collect();
        (0..self.size).rev().find(|id| !taken.contains(id))
    }

    /// One descriptor for all the requests it stands for, at the place of the first; the others are skipped (2.8.6,
    /// 2.8.8).
    fn push_used(&mut self, ram: &Ram, used: Used) {
        // After a lie there may be no descriptor left to say it with.
        if used.descriptors <= self.owned {
            self.write_used(ram, self.used, used);
            self.advance_used(used.descriptors);
        }
    }

    fn push_false(&mut self, ram: &Ram, used: Used) {
        self.write_false(ram, std::iter::once(used));
    }

    fn jump(&mut self, ram: &Ram, jump: u16) {
        let garbage = |step| Used {
            id: u32::from(u16::MAX - step % MOST_DESCRIPTORS),
            length: u32::MAX,
            wrote: true,
            requests: 1,
            descriptors: 1,
        };
        self.write_false(ram, (0..jump).map(garbage));
    }

    /// Every used descriptor shows as soon as it is written.
    fn publish_used(&mut self, _ram: &Ram) {}

    fn interrupt_wanted(&mut self, ram: &Ram, features: Features) -> bool {
        ram.words().fence(Ordering::SeqCst);
        let old = core::mem::replace(&mut self.signalled, self.used);
        let count = core::mem::take(&mut self.unsignalled);
        if count == 0 {
            return false;
        }
        let (event, flags) = self.driver_event(ram);
        match flags {
            EVENT_DISABLE => false,
            // By the definition (2.8.10), descriptor by descriptor. One that is skipped is used, too.
            EVENT_DESCRIPTOR if features.contains(Features::RING_EVENT_IDX) => {
                old.onwards(self.size).take(usize::from(count)).any(|place| place.packed() == event)
            }
            // Also where the flags are wrong, which check_driver_area tells.
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests;
