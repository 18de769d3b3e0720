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

use std::sync::atomic::Ordering;

use super::chain::{Chain, Piece};
use super::queue::{Held, Ring, Used};
use super::{Ram, Violation};
use virtio::memory::SharedMemory;
use virtio::spec::Features;

// The numbers of 2.8 once more, not those the driver uses: a wrong one would pass where both sides share it.
const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;
const AVAIL: u16 = 1 << 7;
const USED: u16 = 1 << 15;

const EVENT_ENABLE: u16 = 0;
const EVENT_DISABLE: u16 = 1;
const EVENT_DESCRIPTOR: u16 = 2;

const DESCRIPTOR_BYTES: usize = 16;
const EVENT_BYTES: usize = 4;

/// Descriptors of the longest ring (2.8).
pub(super) const MOST_DESCRIPTORS: u16 = 1 << 15;

/// A place in the ring, and the wrap counter there (2.8.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    offset: u16,
    wrap: bool,
}

impl Place {
    const START: Self = Self { offset: 0, wrap: true };

    fn next(self, size: u16) -> Self {
        if self.offset + 1 == size {
            Self { offset: 0, wrap: !self.wrap }
        } else {
            Self { offset: self.offset + 1, ..self }
        }
    }

    /// This place and those after it.
    fn onwards(self, size: u16) -> impl Iterator<Item = Self> {
        std::iter::successors(Some(self), move |place| Some(place.next(size)))
    }

    fn after(self, steps: u16, size: u16) -> Self {
        (0..steps).fold(self, |place, _| place.next(size))
    }

    /// The same descriptor, one round earlier or later.
    fn other_round(self) -> Self {
        Self { wrap: !self.wrap, ..self }
    }

    /// Whether the flags of the descriptor here say that it is available.
    fn is_available(self, flags: u16) -> bool {
        (flags & AVAIL != 0) == self.wrap && (flags & USED != 0) != self.wrap
    }

    /// Whether the flags of the descriptor here say that it is used.
    fn is_used(self, flags: u16) -> bool {
        (flags & AVAIL != 0) == self.wrap && (flags & USED != 0) == self.wrap
    }

    /// The flags that say so.
    fn used_flags(self) -> u16 {
        if self.wrap { AVAIL | USED } else { 0 }
    }

    /// As in the event suppression structures (2.8.14).
    fn packed(self) -> u16 {
        self.offset | u16::from(self.wrap) << 15
    }
}

/// A descriptor as it stands in memory (2.8.13).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Descriptor {
    address: u64,
    length: u32,
    id: u16,
    flags: u16,
}

/// What the device knows of a descriptor.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// As the device last read it; where it wrote since, only the flags are right.
    descriptor: Descriptor,
    /// The request that it was made available for.
    id: u16,
}

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

    /// The list at the available place, with its descriptors.
    fn walk(&self, ram: &Ram, features: Features) -> Result<(Chain, Vec<Descriptor>), Violation> {
        let head = self.available.offset;
        let room = self.size - self.owned;
        let mut chain = Chain::new(head);
        let mut descriptors = Vec::new();
        for place in self.available.onwards(self.size) {
            if chain.descriptors == room {
                let whole = room == self.size;
                let too_long =
                    if whole { Violation::ChainTooLong { head } } else { Violation::NoRoomForList { head } };
                return Err(too_long);
            }
            let descriptor = self.read(ram, place.offset);
            let flags = descriptor.flags;
            if !place.is_available(flags) {
                return Err(Violation::ListIncomplete { head, position: place.offset });
            }
            let indirect = flags & INDIRECT != 0;
            let reserved = if indirect { WRITE } else { 0 };
            if flags & (!(NEXT | WRITE | INDIRECT | AVAIL | USED) | reserved) != 0 {
                return Err(Violation::DescriptorFlags { head, flags });
            }
            chain.descriptors += 1;
            descriptors.push(descriptor);
            if indirect {
                let alone = chain.descriptors == 1 && flags & NEXT == 0;
                if !alone || !features.contains(Features::RING_INDIRECT_DESC) {
                    return Err(Violation::BadIndirect { head });
                }
                self.walk_table(ram, head, &mut chain, descriptor.address, descriptor.length)?;
            } else {
                let Descriptor { address, length, .. } = descriptor;
                chain.add(ram, head, Piece { address, length, writable: flags & WRITE != 0 }, self.size)?;
            }
            if flags & NEXT == 0 {
                // Only the last descriptor's id counts (2.8.6).
                chain.head = descriptor.id;
                break;
            }
        }
        Ok((chain, descriptors))
    }

    /// Adds the buffers of an indirect table, which has neither links nor ids: its length says it all (2.8.7).
    fn walk_table(
        &self,
        ram: &Ram,
        head: u16,
        chain: &mut Chain,
        address: u64,
        length: u32,
    ) -> Result<(), Violation> {
        let bytes = length as usize;
        if bytes == 0 || !bytes.is_multiple_of(DESCRIPTOR_BYTES) {
            return Err(Violation::BadIndirect { head });
        }
        if ram.offset(address, bytes).is_none() {
            return Err(Violation::OutsideMemory { address, length });
        }
        chain.indirect = true;
        chain.table = Some((address, length));
        for entry in (address..).step_by(DESCRIPTOR_BYTES).take(bytes / DESCRIPTOR_BYTES) {
            let mut buffer = [0; 8];
            let mut length = [0; 4];
            let mut flags = [0; 2];
            // The table may lie anywhere, so it is read as bytes.
            let read = ram.read(entry, &mut buffer).and_then(|()| ram.read(entry + 8, &mut length));
            read.and_then(|()| ram.read(entry + 14, &mut flags)).expect("the whole table is memory");
            let flags = u16::from_le_bytes(flags);
            if flags & (NEXT | INDIRECT) != 0 {
                return Err(Violation::BadIndirect { head });
            }
            if flags & !WRITE != 0 {
                return Err(Violation::DescriptorFlags { head, flags });
            }
            let piece = Piece {
                address: u64::from_le_bytes(buffer),
                length: u32::from_le_bytes(length),
                writable: flags & WRITE != 0,
            };
            chain.add(ram, head, piece, self.size)?;
        }
        Ok(())
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
mod tests {
    use super::super::queue::Queue;
    use super::*;

    /// AVAIL and USED of a descriptor that is available, and of one that is used, while the wrap counter is 1.
    const AVAILABLE: u16 = 0x0080;
    const DONE: u16 = 0x8080;
    /// The same while it is 0.
    const AVAILABLE_0: u16 = 0x8000;
    const DONE_0: u16 = 0x0000;

    const SIZE: u16 = 4;
    const INDIRECT_DESC: Features = Features::RING_PACKED.union(Features::RING_INDIRECT_DESC);
    const EVENT_IDX: Features = INDIRECT_DESC.union(Features::RING_EVENT_IDX);

    const ENABLE: u16 = 0;
    const DISABLE: u16 = 1;
    const DESC: u16 = 2;

    /// A queue, and the memory in which a test plays the driver.
    struct Bench {
        ram: Ram,
        queue: Queue,
        features: Features,
        ring: u64,
        driver: u64,
        device: u64,
        table: u64,
        buffer: u64,
        violations: Vec<Violation>,
    }

    fn queue(areas: [u64; 3], size: u16) -> Queue {
        let mut queue = Queue::new(0, size);
        for (area, address) in queue.areas.iter_mut().zip(areas) {
            area.set(false, address as u32);
            area.set(true, (address >> 32) as u32);
        }
        queue
    }

    impl Bench {
        fn new(size: u16, features: Features) -> Self {
            let ram = Ram::new(64 * 1024);
            let address = |bytes| ram.alloc(bytes, 16).device_address();
            let (ring, driver, device) = (address(16 * usize::from(size)), address(4), address(4));
            let (table, buffer) = (address(16 * 16), address(4096));
            let mut queue = queue([ring, driver, device], size);
            queue.enable(&ram, features).expect("the areas are aligned and zeroed");
            Self { ram, queue, features, ring, driver, device, table, buffer, violations: Vec::new() }
        }

        fn write(&self, address: u64, bytes: &[u8]) {
            self.ram.write(address, bytes).expect("it lies in the memory");
        }

        /// A descriptor anywhere; the flags come last.
        fn put_at(&self, at: u64, (address, length, id, flags): (u64, u32, u16, u16)) {
            self.write(at, &address.to_le_bytes());
            self.write(at + 8, &length.to_le_bytes());
            self.write(at + 12, &id.to_le_bytes());
            self.write(at + 14, &flags.to_le_bytes());
        }

        fn put(&self, position: u64, length: u32, id: u16, flags: u16) {
            self.put_at(self.ring + 16 * position, (self.buffer, length, id, flags));
        }

        /// Length, id and flags of a descriptor in the ring.
        fn descriptor(&self, position: u64) -> (u32, u16, u16) {
            let mut bytes = [0; 8];
            self.ram.read(self.ring + 16 * position + 8, &mut bytes).expect("it lies in the memory");
            let word = u64::from_le_bytes(bytes);
            (word as u32, (word >> 32) as u16, (word >> 48) as u16)
        }

        fn ask_for_interrupt(&self, offset: u16, wrap: bool, flags: u16) {
            let descriptor = offset | if wrap { 0x8000 } else { 0 };
            self.write(self.driver, &descriptor.to_le_bytes());
            self.write(self.driver + 2, &flags.to_le_bytes());
        }

        /// Descriptor and flags of the structure that the device writes.
        fn asked_for_notification(&mut self, polling: bool) -> (u16, u16) {
            self.queue.ask_for_notification(&self.ram, self.features, polling);
            let mut bytes = [0; 4];
            self.ram.read(self.device, &mut bytes).expect("it lies in the memory");
            let word = u32::from_le_bytes(bytes);
            (word as u16, (word >> 16) as u16)
        }

        fn interrupt_wanted(&mut self) -> bool {
            self.queue.interrupt_wanted(&self.ram, self.features, &mut self.violations)
        }

        fn fetch(&mut self) {
            self.queue.fetch(&self.ram, self.features, &mut self.violations);
        }

        /// Fetches, where the driver keeps the rules, and returns how many requests came in.
        fn fetch_all(&mut self) -> usize {
            let before = self.queue.in_hand.len();
            self.fetch();
            assert_eq!(self.violations, []);
            self.queue.in_hand.len() - before
        }

        /// Uses the request with this id.
        fn done(&mut self, id: u16, length: u32) {
            let place = self.queue.in_hand.iter().position(|chain| chain.head == id);
            let chain = self.queue.in_hand.remove(place.expect("the device has it")).expect("it is there");
            self.queue.push_used(&self.ram, Used::new(&chain, length, length > 0));
        }

        /// What is found wrong with what the test left in a ring of four.
        fn found(arrange: impl FnOnce(&mut Self)) -> Vec<Violation> {
            let mut bench = Self::new(SIZE, EVENT_IDX);
            arrange(&mut bench);
            bench.fetch();
            bench.fetch();
            bench.violations
        }
    }

    #[test]
    fn a_direct_chain_has_the_last_id_and_one_used_descriptor() {
        let mut bench = Bench::new(SIZE, INDIRECT_DESC);
        bench.put(1, 512, 0x1234, AVAILABLE | NEXT | WRITE);
        bench.put(2, 1, 3, AVAILABLE | WRITE);
        bench.put(0, 16, 0x5678, AVAILABLE | NEXT);

        assert_eq!(bench.fetch_all(), 1);
        let chain = &bench.queue.in_hand[0];
        assert_eq!(chain.to_string(), "R 16 / W 512 / W 1");
        assert_eq!((chain.head, chain.descriptors, chain.indirect), (3, 3, false));

        bench.done(3, 513);
        assert_eq!(bench.descriptor(0), (513, 3, DONE | WRITE));
        assert_eq!(bench.descriptor(1), (512, 0x1234, AVAILABLE | NEXT | WRITE));

        bench.put(3, 1, 2, AVAILABLE | WRITE);
        assert_eq!(bench.fetch_all(), 1);
        bench.done(2, 1);
        assert_eq!(bench.descriptor(3), (1, 2, DONE | WRITE), "the device skips what the first chain took");
    }

    #[test]
    fn an_indirect_table_is_walked_by_its_length_and_takes_one_descriptor() {
        let mut bench = Bench::new(SIZE, INDIRECT_DESC);
        bench.put_at(bench.table, (bench.buffer, 16, 0, 0));
        bench.put_at(bench.table + 16, (bench.buffer, 512, 0, WRITE));
        bench.put_at(bench.table + 32, (bench.buffer, 1, 0, WRITE));
        bench.put_at(bench.ring, (bench.table, 48, 1, AVAILABLE | INDIRECT));
        bench.put(1, 8, 0, AVAILABLE);

        assert_eq!(bench.fetch_all(), 2);
        let chain = &bench.queue.in_hand[0];
        assert_eq!(chain.to_string(), "R 16 / W 512 / W 1");
        assert_eq!((chain.head, chain.descriptors, chain.indirect), (1, 1, true));
        assert_eq!(bench.queue.in_hand[1].to_string(), "R 8");
    }

    #[test]
    fn nothing_is_taken_before_it_is_available() {
        let mut bench = Bench::new(SIZE, INDIRECT_DESC);
        assert!(!bench.queue.has_more(&bench.ram));
        assert_eq!(bench.fetch_all(), 0);

        bench.put(0, 16, 0, AVAILABLE);
        assert!(bench.queue.has_more(&bench.ram));
        assert_eq!(bench.fetch_all(), 1);
        assert!(!bench.queue.has_more(&bench.ram));
    }

    /// Per list: where its descriptors lie, their AVAIL and USED, and what the used one looks like.
    type Lists<'a> = &'a [(&'a [(u64, u16)], u16)];

    fn rounds(size: u16, lists: Lists<'_>) {
        let mut bench = Bench::new(size, INDIRECT_DESC);
        for (list, used) in lists {
            let (last, others) = list.split_last().expect("a list has a descriptor");
            bench.put(last.0, 1, 0, last.1 | WRITE);
            for (position, flags) in others.iter().rev() {
                bench.put(*position, 1, 1, flags | WRITE | NEXT);
            }

            assert_eq!(bench.fetch_all(), 1, "{list:x?}");
            assert_eq!(usize::from(bench.queue.in_hand[0].descriptors), list.len());
            bench.done(0, 2);
            assert_eq!(bench.descriptor(list[0].0), (2, 0, used | WRITE), "{list:x?}");
        }
    }

    #[test]
    fn the_wrap_counters_flip_in_a_ring_of_three() {
        rounds(
            3,
            &[
                (&[(0, AVAILABLE), (1, AVAILABLE)], DONE),
                (&[(2, AVAILABLE), (0, AVAILABLE_0)], DONE),
                (&[(1, AVAILABLE_0), (2, AVAILABLE_0)], DONE_0),
                (&[(0, AVAILABLE), (1, AVAILABLE)], DONE),
                (&[(2, AVAILABLE), (0, AVAILABLE_0)], DONE),
            ],
        );
    }

    #[test]
    fn the_wrap_counters_flip_in_a_ring_of_four() {
        rounds(
            4,
            &[
                (&[(0, AVAILABLE), (1, AVAILABLE), (2, AVAILABLE)], DONE),
                (&[(3, AVAILABLE), (0, AVAILABLE_0), (1, AVAILABLE_0)], DONE),
                (&[(2, AVAILABLE_0)], DONE_0),
                (&[(3, AVAILABLE_0), (0, AVAILABLE), (1, AVAILABLE)], DONE_0),
                (&[(2, AVAILABLE), (3, AVAILABLE), (0, AVAILABLE_0), (1, AVAILABLE_0)], DONE),
            ],
        );
    }

    #[test]
    fn a_ring_of_one_works() {
        let one: Lists<'_> =
            &[(&[(0, AVAILABLE)], DONE), (&[(0, AVAILABLE_0)], DONE_0), (&[(0, AVAILABLE)], DONE)];
        rounds(1, one);
    }

    #[test]
    fn the_longest_ring_can_be_filled() {
        // Miri takes a minute for the longest.
        let most = if cfg!(miri) { 64 } else { 32768_u16 };
        let size = usize::from(most);
        let ram = Ram::new(1 << 20);
        let ring = ram.alloc(16 * size, 16).device_address();
        let [driver, device, buffer] = [4, 4, 16].map(|bytes| ram.alloc(bytes, 16).device_address());
        let mut queue = queue([ring, driver, device], most);
        queue.enable(&ram, INDIRECT_DESC).expect("the areas are aligned and zeroed");
        // Two lists: every id is compared with all in flight, so many would take long.
        for position in (0..size).rev() {
            let next = if position == 9 || position == size - 1 { 0 } else { NEXT };
            let id = if position < 10 { 7 } else { most - 1 };
            let mut bytes = buffer.to_le_bytes().to_vec();
            bytes.extend(16_u32.to_le_bytes());
            bytes.extend(id.to_le_bytes());
            bytes.extend((AVAILABLE | next).to_le_bytes());
            ram.write(ring + 16 * position as u64, &bytes).expect("it lies in the memory");
        }
        let mut violations = Vec::new();

        queue.fetch(&ram, INDIRECT_DESC, &mut violations);

        assert_eq!(violations, []);
        let taken: Vec<_> = queue.in_hand.iter().map(|chain| (chain.head, chain.descriptors)).collect();
        assert_eq!(taken, [(7, 10), (most - 1, most - 10)]);
        assert!(!queue.has_more(&ram), "the ring is full");
    }

    #[test]
    fn used_out_of_order_the_ids_come_back_in_the_order_of_use() {
        let mut bench = Bench::new(SIZE, INDIRECT_DESC);
        bench.put(0, 1, 0, AVAILABLE | WRITE);
        bench.put(2, 1, 1, AVAILABLE | WRITE);
        bench.put(1, 1, 1, AVAILABLE | WRITE | NEXT);
        bench.put(3, 1, 2, AVAILABLE | WRITE);
        assert_eq!(bench.fetch_all(), 3);

        bench.done(2, 1);
        assert_eq!(bench.descriptor(0), (1, 2, DONE | WRITE));
        // The free descriptor is given again while the others are still in flight, one of them overwritten.
        bench.put(0, 1, 2, AVAILABLE_0 | WRITE);
        assert_eq!(bench.fetch_all(), 1);
        bench.done(1, 1);
        assert_eq!(bench.descriptor(1), (1, 1, DONE | WRITE));
        bench.done(0, 1);
        assert_eq!(bench.descriptor(3), (1, 0, DONE | WRITE));
        bench.done(2, 1);
        assert_eq!(bench.descriptor(0), (1, 2, DONE_0 | WRITE));
        assert_eq!(bench.fetch_all(), 0);
    }

    #[test]
    fn no_order_of_giving_and_using_breaks_a_rule_or_loses_an_id() {
        // xorshift64 (Marsaglia); any other source of bits would do.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = move |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as usize % below
        };
        for size in 1..10_u16 {
            let mut bench = Bench::new(size, INDIRECT_DESC);
            // The driver's two places, counted on from the start, and the length of the list with each id.
            let (mut given, mut seen) = (0, 0);
            let mut lengths = vec![0; usize::from(size)];
            let mut expected = Vec::new();
            let mut came_back = Vec::new();
            let at =
                |count: usize| (count % usize::from(size), (count / usize::from(size)).is_multiple_of(2));
            for _ in 0..if cfg!(miri) { 150 } else { 1000 } {
                let free = usize::from(size) - (given - seen);
                let id = lengths.iter().position(|length| *length == 0);
                if let (1.., Some(id)) = (free, id) {
                    let length = 1 + random(free.min(4));
                    for step in (0..length).rev() {
                        let (position, wrap) = at(given + step);
                        let next = if step + 1 == length { 0 } else { NEXT };
                        let flags = if wrap { AVAILABLE } else { AVAILABLE_0 } | WRITE | next;
                        bench.put(position as u64, 1, id as u16, flags);
                    }
                    lengths[id] = length;
                    given += length;
                }
                if random(3) > 0 {
                    bench.fetch_all();
                }
                while !bench.queue.in_hand.is_empty() && random(3) > 0 {
                    let id = bench.queue.in_hand[random(bench.queue.in_hand.len())].head;
                    bench.done(id, 1);
                    expected.push(id);
                }
                while random(4) > 0 {
                    let (position, wrap) = at(seen);
                    let (_, id, flags) = bench.descriptor(position as u64);
                    if given == seen || flags != if wrap { DONE } else { DONE_0 } | WRITE {
                        break;
                    }
                    seen += core::mem::take(&mut lengths[usize::from(id)]);
                    came_back.push(id);
                }
            }
            assert_eq!(came_back, expected[..came_back.len()]);
            assert!(expected.len() - came_back.len() <= usize::from(size));
            assert!(came_back.len() > 20, "{size}: {}", came_back.len());
        }
    }

    #[test]
    fn where_nothing_was_written_the_length_is_not_told() {
        let mut bench = Bench::new(SIZE, INDIRECT_DESC);
        bench.put(0, 4096, 3, AVAILABLE);
        assert_eq!(bench.fetch_all(), 1);

        bench.done(3, 0);

        assert_eq!(bench.descriptor(0), (4096, 3, DONE), "what stands in the length means nothing");
    }

    #[test]
    fn the_driver_is_interrupted_where_it_asks_for_it() {
        // Two rounds of single descriptors in a ring of three; after each, whether an interrupt is wanted.
        let table = [
            (EVENT_IDX, (0, false, ENABLE), [true; 6]),
            (EVENT_IDX, (0, false, DISABLE), [false; 6]),
            (INDIRECT_DESC, (0, false, ENABLE), [true; 6]),
            (INDIRECT_DESC, (0, false, DISABLE), [false; 6]),
            (EVENT_IDX, (0, true, DESC), [true, false, false, false, false, false]),
            (EVENT_IDX, (2, true, DESC), [false, false, true, false, false, false]),
            (EVENT_IDX, (0, false, DESC), [false, false, false, true, false, false]),
            (EVENT_IDX, (2, false, DESC), [false, false, false, false, false, true]),
        ];
        for (features, (offset, wrap, flags), expected) in table {
            let mut bench = Bench::new(3, features);
            bench.ask_for_interrupt(offset, wrap, flags);
            let wanted: Vec<bool> = (0..6)
                .map(|step| {
                    bench.put(step % 3, 1, 0, if step < 3 { AVAILABLE } else { AVAILABLE_0 });
                    assert_eq!(bench.fetch_all(), 1);
                    bench.done(0, 0);
                    bench.interrupt_wanted()
                })
                .collect();

            assert_eq!(wanted, expected, "{offset} {wrap} {flags}");
        }
    }

    #[test]
    fn an_interrupt_is_for_all_descriptors_since_the_last_one_also_skipped_ones() {
        // Position 3 of the first round and 0 of the second are one list.
        let table = [((3, true), true), ((0, false), true), ((1, false), false), ((0, true), false)];
        for ((offset, wrap), expected) in table {
            let mut bench = Bench::new(SIZE, EVENT_IDX);
            for position in 0..3 {
                bench.put(position, 1, 0, AVAILABLE);
                assert_eq!(bench.fetch_all(), 1);
                bench.done(0, 0);
            }
            bench.interrupt_wanted();
            bench.ask_for_interrupt(offset, wrap, DESC);
            assert!(!bench.interrupt_wanted(), "nothing was used");
            bench.put(0, 1, 2, AVAILABLE_0);
            bench.put(3, 1, 2, AVAILABLE | NEXT);
            assert_eq!(bench.fetch_all(), 1);
            bench.done(2, 0);

            assert_eq!(bench.interrupt_wanted(), expected, "{offset} {wrap}");
        }
    }

    #[test]
    fn the_device_asks_to_be_told_of_the_next_descriptor() {
        let mut bench = Bench::new(3, EVENT_IDX);
        let asked = [(0x8001, DESC), (0x8002, DESC), (0, DESC), (1, DESC), (2, DESC), (0x8000, DESC)];
        assert_eq!(bench.asked_for_notification(false), (0x8000, DESC));
        for (step, expected) in (0..).zip(asked) {
            bench.put(step % 3, 1, 0, if step < 3 { AVAILABLE } else { AVAILABLE_0 });
            assert_eq!(bench.fetch_all(), 1);
            bench.done(0, 0);

            assert_eq!(bench.asked_for_notification(false), expected, "{step}");
        }
        assert_eq!(bench.asked_for_notification(true).1, DISABLE);
    }

    #[test]
    fn without_event_idx_the_device_asks_for_all_notifications_or_none() {
        let mut bench = Bench::new(3, INDIRECT_DESC);

        assert_eq!(bench.asked_for_notification(true).1, DISABLE);
        assert_eq!(bench.asked_for_notification(false).1, ENABLE);
    }

    #[test]
    fn what_a_list_must_not_do_is_noticed() {
        let head = 0;
        let table = [
            ((16, AVAILABLE | 0x10), Violation::DescriptorFlags { head, flags: 0x90 }),
            ((16, AVAILABLE | 0x4000), Violation::DescriptorFlags { head, flags: 0x4080 }),
            ((0, AVAILABLE), Violation::EmptyBuffer { head }),
            ((16, AVAILABLE | NEXT), Violation::ListIncomplete { head, position: 1 }),
            ((16, AVAILABLE | INDIRECT | WRITE), Violation::DescriptorFlags { head, flags: 0x86 }),
            ((16, AVAILABLE | INDIRECT | NEXT), Violation::BadIndirect { head }),
            ((0, AVAILABLE | INDIRECT), Violation::BadIndirect { head }),
            ((17, AVAILABLE | INDIRECT), Violation::BadIndirect { head }),
            // The wrap counter is 1.
            ((16, AVAILABLE_0), Violation::AvailabilityFlags { position: 0, flags: 0x8000 }),
            ((16, DONE), Violation::AvailabilityFlags { position: 0, flags: 0x8080 }),
        ];
        for ((length, flags), expected) in table {
            let found = Bench::found(|bench| bench.put(0, length, 0, flags));

            assert_eq!(found, [expected], "{length} {flags:x}");
        }
    }

    #[test]
    fn a_buffer_or_table_outside_the_memory_is_noticed() {
        for flags in [AVAILABLE, AVAILABLE | INDIRECT] {
            let found = Bench::found(|bench| bench.put_at(bench.ring, (16, 32, 0, flags)));

            assert_eq!(found, [Violation::OutsideMemory { address: 16, length: 32 }]);
        }
    }

    #[test]
    fn a_buffer_to_read_after_one_to_write_is_noticed() {
        let found = Bench::found(|bench| {
            bench.put(1, 16, 0, AVAILABLE);
            bench.put(0, 16, 0, AVAILABLE | WRITE | NEXT);
        });

        assert_eq!(found, [Violation::ReadableAfterWritable { head: 0 }]);
    }

    #[test]
    fn a_list_with_direct_descriptors_and_a_table_is_noticed() {
        let found = Bench::found(|bench| {
            bench.put_at(bench.table, (bench.buffer, 16, 0, 0));
            bench.put_at(bench.ring + 16, (bench.table, 16, 0, AVAILABLE | INDIRECT));
            bench.put(0, 16, 0, AVAILABLE | NEXT);
        });

        assert_eq!(found, [Violation::BadIndirect { head: 0 }]);
    }

    #[test]
    fn a_table_without_the_feature_is_noticed() {
        let mut bench = Bench::new(SIZE, Features::RING_PACKED);
        bench.put_at(bench.table, (bench.buffer, 16, 0, 0));
        bench.put_at(bench.ring, (bench.table, 16, 0, AVAILABLE | INDIRECT));

        bench.fetch();

        assert_eq!(bench.violations, [Violation::BadIndirect { head: 0 }]);
    }

    #[test]
    fn in_a_table_every_flag_but_write_is_noticed() {
        let table = [
            (NEXT, Violation::BadIndirect { head: 0 }),
            (INDIRECT, Violation::BadIndirect { head: 0 }),
            (AVAILABLE, Violation::DescriptorFlags { head: 0, flags: AVAILABLE }),
            (AVAILABLE_0 | WRITE, Violation::DescriptorFlags { head: 0, flags: AVAILABLE_0 | WRITE }),
        ];
        for (flags, expected) in table {
            let found = Bench::found(|bench| {
                bench.put_at(bench.table, (bench.buffer, 16, 0, flags));
                bench.put_at(bench.table + 16, (bench.buffer, 16, 0, WRITE));
                bench.put_at(bench.ring, (bench.table, 32, 0, AVAILABLE | INDIRECT));
            });

            assert_eq!(found, [expected], "{flags:x}");
        }
    }

    #[test]
    fn a_list_longer_than_the_ring_is_noticed() {
        let direct = Bench::found(|bench| {
            (0..4).rev().for_each(|position| bench.put(position, 16, 0, AVAILABLE | NEXT));
        });
        let indirect = Bench::found(|bench| {
            (0..5).for_each(|entry| bench.put_at(bench.table + 16 * entry, (bench.buffer, 16, 0, 0)));
            bench.put_at(bench.ring, (bench.table, 80, 0, AVAILABLE | INDIRECT));
        });

        assert_eq!(direct, [Violation::ChainTooLong { head: 0 }]);
        assert_eq!(indirect, [Violation::ChainTooLong { head: 0 }]);
    }

    #[test]
    fn a_list_that_does_not_fit_any_more_is_noticed() {
        let found = Bench::found(|bench| {
            bench.put(0, 16, 0, AVAILABLE);
            (1..4).rev().for_each(|position| bench.put(position, 16, 1, AVAILABLE | NEXT));
        });

        assert_eq!(found, [Violation::NoRoomForList { head: 1 }]);
    }

    #[test]
    fn an_id_twice_or_outside_the_ring_is_noticed() {
        let twice = Bench::found(|bench| {
            bench.put(0, 16, 3, AVAILABLE);
            bench.put(1, 16, 3, AVAILABLE);
        });
        let outside = Bench::found(|bench| bench.put(0, 16, 4, AVAILABLE));

        assert_eq!(twice, [Violation::BufferIdInFlight { id: 3 }]);
        assert_eq!(outside, [Violation::BufferIdOutOfRange { id: 4 }]);
    }

    #[test]
    fn the_wrap_counter_of_the_first_round_in_the_second_is_noticed() {
        let found = Bench::found(|bench| {
            for position in 0..4 {
                bench.put(position, 16, 0, AVAILABLE);
                assert_eq!(bench.fetch_all(), 1);
                bench.done(0, 0);
            }
            bench.put(0, 16, 0, AVAILABLE);
        });

        assert_eq!(found, [Violation::AvailabilityFlags { position: 0, flags: AVAILABLE }]);
    }

    #[test]
    fn a_descriptor_that_changes_in_flight_is_noticed() {
        let found = Bench::found(|bench| {
            bench.put(0, 16, 2, AVAILABLE);
            assert_eq!(bench.fetch_all(), 1);
            bench.put(0, 17, 2, AVAILABLE);
        });

        assert_eq!(found, [Violation::ChangedInFlight { head: 2 }]);
    }

    #[test]
    fn a_table_that_changes_in_flight_is_noticed() {
        let mut bench = Bench::new(SIZE, INDIRECT_DESC);
        bench.put_at(bench.table, (bench.buffer, 16, 0, 0));
        bench.put_at(bench.ring, (bench.table, 16, 2, AVAILABLE | INDIRECT));
        assert_eq!(bench.fetch_all(), 1);
        let chain = bench.queue.in_hand[0].clone();
        assert_eq!(bench.queue.check_unchanged(&bench.ram, INDIRECT_DESC, &chain), Ok(()));

        bench.put_at(bench.table, (bench.buffer, 16, 0, WRITE));

        let changed = bench.queue.check_unchanged(&bench.ram, INDIRECT_DESC, &chain);
        assert_eq!(changed, Err(Violation::ChangedInFlight { head: 2 }));
    }

    #[test]
    fn a_descriptor_given_anew_before_it_is_used_is_noticed() {
        let found = Bench::found(|bench| {
            (0..4).for_each(|position| bench.put(position, 16, position as u16, AVAILABLE));
            assert_eq!(bench.fetch_all(), 4);
            // Used out of order: the device frees the first place, not that of the request.
            bench.done(1, 0);
            bench.put(0, 16, 1, AVAILABLE_0);
            bench.put(1, 16, 0, AVAILABLE_0);
        });

        assert_eq!(found, [Violation::DescriptorOverwritten { position: 1 }]);
    }

    #[test]
    fn wrong_event_flags_are_noticed() {
        let queue = 0;
        let table = [
            (EVENT_IDX, (0, 3), Violation::EventFlags { queue, flags: 3 }),
            (EVENT_IDX, (0, 4), Violation::EventFlags { queue, flags: 4 }),
            (INDIRECT_DESC, (0, DESC), Violation::EventFlags { queue, flags: DESC }),
            (EVENT_IDX, (SIZE, DESC), Violation::EventOffset { queue, offset: SIZE }),
        ];
        for (features, (offset, flags), expected) in table {
            let mut bench = Bench::new(SIZE, features);
            bench.ask_for_interrupt(offset, true, flags);

            bench.fetch();

            assert_eq!(bench.violations, [expected]);
        }
    }

    #[test]
    fn areas_at_the_wrong_place_are_noticed() {
        let ram = Ram::new(64 * 1024);
        let [ring, driver, device] = [64, 16, 16].map(|bytes| ram.alloc(bytes, 16).device_address());
        let areas = [
            [ring + 8, driver, device],
            [ring, driver + 2, device],
            [ring, driver, device + 2],
            [16, driver, device],
            [ring, 4, device],
        ];
        for areas in areas {
            let enabled = queue(areas, SIZE).enable(&ram, INDIRECT_DESC);

            assert_eq!(enabled, Err(Violation::QueueAddress { queue: 0 }), "{areas:x?}");
        }
        assert_eq!(queue([ring, driver + 4, device + 4], SIZE).enable(&ram, INDIRECT_DESC), Ok(()));
    }

    #[test]
    fn a_ring_that_is_not_zeroed_is_noticed() {
        let mut bench = Bench::new(SIZE, INDIRECT_DESC);
        bench.put(2, 16, 0, 0);

        let enabled = bench.queue.enable(&bench.ram, INDIRECT_DESC);

        assert_eq!(enabled, Err(Violation::RingNotZeroed { queue: 0, position: 2 }));
    }
}
