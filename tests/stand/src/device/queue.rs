//! A queue as the device sees it: the split ring (virtio 1.3, 2.7) and the packed ring (2.8), with indirect tables and
//! both ways of holding notifications back.

use alloc::vec::Vec;

use super::{Memory, get, get16};

/// Descriptor flags (2.7.5, 2.8.1).
const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;
const AVAILABLE: u16 = 1 << 7;
const USED: u16 = 1 << 15;
/// Most parts of one chain that the device looks at.
const MOST_PARTS: usize = 1024;

/// A descriptor of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub address: u64,
    pub length: u32,
    pub device_writes: bool,
}

/// A request as it lies in a queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Chain {
    /// What the used entry says: index of the first descriptor, or the buffer id of a packed ring.
    pub id: u16,
    /// Places in a packed ring that it takes.
    places: u16,
    /// Its descriptors, those of a table of its own included.
    pub parts: Vec<Part>,
    /// Where a table of its own is, and its entries.
    pub table: Option<(u64, u16)>,
}

/// What is wrong with what a driver put into a queue: a set of bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fault(u8);

impl Fault {
    pub const TOO_MANY: Self = Fault(1);
    pub const OUTSIDE: Self = Fault(2);
    pub const TOO_LONG: Self = Fault(4);
    pub const NESTED: Self = Fault(8);
    pub const ORDER: Self = Fault(16);
    pub const EMPTY: Self = Fault(32);
    /// Not wrong where tables were agreed on.
    pub const INDIRECT: Self = Fault(64);

    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    fn add(&mut self, other: Self, condition: bool) {
        if condition {
            self.0 |= other.0;
        }
    }
}

/// A queue.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Queue {
    pub size: u16,
    pub vector: u16,
    pub enabled: bool,
    /// Descriptor table, or the packed ring.
    pub descriptors: u64,
    /// Driver area.
    pub available: u64,
    /// Device area.
    pub used: u64,
    /// Packed, not split.
    pub packed: bool,
    /// Event indexes were negotiated.
    pub events: bool,
    /// What was seen so far that must not be.
    pub faults: Fault,
    /// The driver has notified of it since the device last looked.
    pub kicked: bool,
    /// Entries taken and given back so far. A split ring counts them modulo 2^16, a packed one by its size and wrap counter;
    /// both follow from the whole number.
    taken: u64,
    given: u64,
    /// Entries given back that the driver was interrupted for.
    signalled: u64,
}

impl Queue {
    /// A queue that is not set up yet.
    pub fn new(size: u16, vector: u16) -> Self {
        Queue { size, vector, ..Queue::default() }
    }

    fn place(&self, count: u64) -> u64 {
        count % u64::from(self.size.max(1))
    }

    /// Wrap counter of a packed ring: 1 on the first lap (2.8.1).
    fn wrap(&self, count: u64) -> bool {
        (count / u64::from(self.size.max(1))).is_multiple_of(2)
    }

    /// Takes the next request, if there is one.
    pub fn take(&mut self, memory: &mut impl Memory) -> Option<Chain> {
        if self.packed { self.take_packed(memory) } else { self.take_split(memory) }
    }

    fn take_split(&mut self, memory: &mut impl Memory) -> Option<Chain> {
        let waiting = get16(memory, self.available + 2).wrapping_sub(self.taken as u16);
        if waiting == 0 {
            return None;
        }
        self.faults.add(Fault::TOO_MANY, waiting > self.size);
        let head = get16(memory, self.available + 4 + 2 * self.place(self.taken));
        self.taken += 1;
        let mut chain = Chain { id: head, ..Chain::default() };
        let (mut table, mut size, mut index) = (self.descriptors, self.size, head);
        // A table may not lead to another one, nor a chain of descriptors in a circle.
        let mut steps = 0;
        while steps < MOST_PARTS && index < size {
            steps += 1;
            let at = table + 16 * u64::from(index);
            let (part, flags) = part(memory, at, 12);
            if flags & INDIRECT != 0 {
                self.faults.add(Fault::NESTED, chain.table.is_some() || flags & NEXT != 0);
                (table, size, index) = (part.address, self.table(part), 0);
                chain.table = Some((table, size));
                continue;
            }
            chain.parts.push(part);
            if flags & NEXT == 0 {
                break;
            }
            index = get16(memory, at + 14);
            self.faults.add(Fault::OUTSIDE, index >= size);
        }
        self.faults.add(Fault::OUTSIDE, head >= self.size);
        self.look_at(&chain);
        Some(chain)
    }

    fn take_packed(&mut self, memory: &mut impl Memory) -> Option<Chain> {
        let mut chain = Chain::default();
        loop {
            let count = self.taken + u64::from(chain.places);
            let at = self.descriptors + 16 * self.place(count);
            let (part, flags) = part(memory, at, 14);
            let wrap = self.wrap(count);
            // Available: the one bit is as the wrap counter, the other is not (2.8.1).
            if chain.places == 0 && ((flags & AVAILABLE != 0) != wrap || (flags & USED != 0) == wrap) {
                return None;
            }
            chain.places += 1;
            chain.id = get16(memory, at + 12);
            if flags & INDIRECT != 0 {
                self.faults.add(Fault::NESTED, chain.table.is_some() || flags & NEXT != 0);
                let entries = self.table(part);
                chain.table = Some((part.address, entries));
                for entry in 0..u64::from(entries) {
                    chain.parts.push(self::part(memory, part.address + 16 * entry, 14).0);
                }
            } else {
                chain.parts.push(part);
            }
            if flags & NEXT == 0 || chain.places >= self.size {
                break;
            }
        }
        self.taken += u64::from(chain.places);
        self.look_at(&chain);
        Some(chain)
    }

    /// Entries of a table.
    fn table(&mut self, part: Part) -> u16 {
        self.faults.add(Fault::INDIRECT, true);
        self.faults.add(Fault::EMPTY, part.length == 0 || !part.length.is_multiple_of(16));
        (part.length / 16).min(MOST_PARTS as u32) as u16
    }

    fn look_at(&mut self, chain: &Chain) {
        self.faults.add(Fault::TOO_LONG, chain.parts.len() > usize::from(self.size));
        let mut parts = chain.parts.iter().skip_while(|part| !part.device_writes);
        self.faults.add(Fault::ORDER, parts.any(|part| !part.device_writes));
    }

    /// Gives a request back.
    pub fn give(&mut self, chain: &Chain, id: u32, length: u32, memory: &mut impl Memory) {
        if self.packed {
            let at = self.descriptors + 16 * self.place(self.given);
            let flags = if self.wrap(self.given) { AVAILABLE | USED } else { 0 };
            let written = if length > 0 { WRITE } else { 0 };
            memory.write(at + 8, &length.to_le_bytes());
            memory.write(at + 12, &(id as u16).to_le_bytes());
            memory.write(at + 14, &(flags | written).to_le_bytes());
            self.given += u64::from(chain.places);
        } else {
            let at = self.used + 4 + 8 * self.place(self.given);
            memory.write(at, &id.to_le_bytes());
            memory.write(at + 4, &length.to_le_bytes());
            self.given += 1;
            memory.write(self.used + 2, &(self.given as u16).to_le_bytes());
        }
    }

    /// A lie: so many entries more than there are; a packed ring has no index, so its next places are marked.
    pub fn jump(&mut self, memory: &mut impl Memory) {
        let more = u64::from(self.size) + 3;
        if self.packed {
            let one = Chain { places: 1, ..Chain::default() };
            (0..more).for_each(|id| self.give(&one, id as u32, 1, memory));
        } else {
            self.given += more;
            memory.write(self.used + 2, &(self.given as u16).to_le_bytes());
        }
    }

    /// A lie: entries that were given back are not any more.
    pub fn go_back(&mut self, memory: &mut impl Memory) {
        if self.packed {
            for back in 1..=5.min(self.given) {
                let at = self.descriptors + 16 * self.place(self.given - back);
                memory.write(at + 14, &if self.wrap(self.given) { AVAILABLE } else { USED }.to_le_bytes());
            }
        } else {
            memory.write(self.used + 2, &(self.given as u16).wrapping_sub(5).to_le_bytes());
        }
    }

    /// Tells the driver which request it has to notify of (2.7.10, 2.8.10), or a lie about that.
    pub fn ask_for_notification(&self, lie: Option<u16>, memory: &mut impl Memory) {
        if self.packed {
            let wrap = u16::from(self.wrap(self.taken)) << 15;
            let event = lie.unwrap_or(self.place(self.taken) as u16 | wrap);
            memory.write(self.used, &event.to_le_bytes());
            memory.write(self.used + 2, &if self.events { 2u16 } else { 0 }.to_le_bytes());
        } else {
            let event = lie.unwrap_or(self.taken as u16);
            memory.write(self.used + 4 + 8 * u64::from(self.size), &event.to_le_bytes());
            memory.write(self.used, &0u16.to_le_bytes());
        }
    }

    /// Tells the driver that it need not notify (2.7.10, 2.8.10): of a split ring with event indexes, by an event that has passed.
    pub fn hold_notifications(&self, memory: &mut impl Memory) {
        if self.packed {
            memory.write(self.used + 2, &1u16.to_le_bytes());
        } else if self.events {
            let event = (self.taken as u16).wrapping_sub(1);
            memory.write(self.used + 4 + 8 * u64::from(self.size), &event.to_le_bytes());
        } else {
            memory.write(self.used, &1u16.to_le_bytes());
        }
    }

    /// A lie: flags that do not exist.
    pub fn spoil_flags(&self, memory: &mut impl Memory) {
        let at = if self.packed { self.used + 2 } else { self.used };
        memory.write(at, &0xFFFFu16.to_le_bytes());
    }

    /// A lie: descriptors, or what the driver wrote last, overwritten.
    pub fn overwrite(&self, driver_area: bool, memory: &mut impl Memory) {
        let garbage = [0xA5; 16];
        if driver_area && !self.packed {
            (0..u64::from(self.size)).for_each(|i| memory.write(self.available + 4 + 2 * i, &garbage[..2]));
        } else {
            (0..u64::from(self.size)).for_each(|i| memory.write(self.descriptors + 16 * i, &garbage));
        }
    }

    /// Whether the driver wants to hear of what was given back since it was last asked (2.7.7.2, 2.8.10).
    pub fn wants_interrupt(&mut self, memory: &mut impl Memory) -> bool {
        let (old, new) = (self.signalled, self.given);
        if old == new {
            return false;
        }
        self.signalled = new;
        if self.packed {
            let (event, flags) = (get16(memory, self.available), get16(memory, self.available + 2));
            return match flags & 3 {
                0 => true,
                2 if self.events => {
                    let lap = new / u64::from(self.size.max(1));
                    let same = (event >> 15 != 0) == self.wrap(new);
                    // An event of the other lap is of the one before: one that is still to come is no reason anyhow.
                    let lap = if same { Some(lap) } else { lap.checked_sub(1) };
                    let event = u64::from(event & 0x7FFF);
                    lap.is_some_and(|lap| (old..new).contains(&(lap * u64::from(self.size) + event)))
                }
                _ => false,
            };
        }
        if self.events {
            let event = get16(memory, self.available + 4 + 2 * u64::from(self.size));
            let (old, new) = (old as u16, new as u16);
            new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
        } else {
            get16(memory, self.available) & 1 == 0
        }
    }
}

/// A descriptor, and its flags, which the two formats have in different places.
fn part(memory: &mut impl Memory, at: u64, flags_at: u64) -> (Part, u16) {
    let flags = get16(memory, at + flags_at);
    let part = Part {
        address: u64::from_le_bytes(get(memory, at)),
        length: u32::from_le_bytes(get(memory, at + 8)),
        device_writes: flags & WRITE != 0,
    };
    (part, flags)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    const RING: u64 = 0x1000;
    const DRIVER: u64 = 0x2000;
    const DEVICE: u64 = 0x3000;

    fn packed(size: u16) -> (Queue, Vec<u8>) {
        let queue = Queue {
            size,
            packed: true,
            events: true,
            descriptors: RING,
            available: DRIVER,
            used: DEVICE,
            ..Queue::default()
        };
        (queue, vec![0; 0x8000])
    }

    /// Makes one descriptor available, as the driver does on its lap `wrap`.
    fn offer(memory: &mut Vec<u8>, place: u64, id: u16, flags: u16, wrap: bool) {
        let at = RING + 16 * place;
        memory.write(at, &0x5000u64.to_le_bytes());
        memory.write(at + 8, &64u32.to_le_bytes());
        memory.write(at + 12, &id.to_le_bytes());
        memory.write(at + 14, &(flags | if wrap { AVAILABLE } else { USED }).to_le_bytes());
    }

    #[test]
    fn a_packed_ring_is_followed_over_its_end() {
        let (mut queue, mut memory) = packed(3);
        let mut ids = Vec::new();
        for round in 0..9u64 {
            let wrap = (round / 3).is_multiple_of(2);
            assert_eq!(queue.take(&mut memory), None, "nothing is there in round {round}");
            offer(&mut memory, round % 3, round as u16, WRITE, wrap);
            let chain = queue.take(&mut memory).unwrap();
            queue.give(&chain, u32::from(chain.id), 7, &mut memory);
            ids.push(chain.id);
            let flags = get16(&mut memory, RING + 16 * (round % 3) + 14);
            assert_eq!(flags, WRITE | if wrap { AVAILABLE | USED } else { 0 });
        }
        assert_eq!(ids, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn the_id_of_a_packed_chain_is_its_last_descriptors_and_the_chain_is_skipped_as_a_whole() {
        let (mut queue, mut memory) = packed(4);
        offer(&mut memory, 0, 9, NEXT, true);
        offer(&mut memory, 1, 9, NEXT, true);
        offer(&mut memory, 2, 5, WRITE, true);
        offer(&mut memory, 3, 6, 0, true);

        let first = queue.take(&mut memory).unwrap();
        queue.give(&first, 5, 1, &mut memory);
        let second = queue.take(&mut memory).unwrap();
        queue.give(&second, 6, 1, &mut memory);

        assert_eq!((first.id, first.parts.len(), second.id, second.parts.len()), (5, 3, 6, 1));
        assert_eq!(get16(&mut memory, RING + 14) & USED, USED);
        assert_eq!(
            get16(&mut memory, RING + 16 * 3 + 12),
            6,
            "the second used entry is behind the whole chain"
        );
    }

    #[test]
    fn a_packed_ring_interrupts_when_the_event_is_passed_on_either_lap() {
        for (event, wrap, expected) in
            [(0, true, true), (1, true, true), (2, true, false), (3, true, false), (0, false, false)]
        {
            let (mut queue, mut memory) = packed(4);
            memory.write(DRIVER, &(event | u16::from(wrap) << 15).to_le_bytes());
            memory.write(DRIVER + 2, &2u16.to_le_bytes());
            let chain = Chain { places: 1, ..Chain::default() };
            queue.give(&chain, 0, 0, &mut memory);
            queue.give(&chain, 1, 0, &mut memory);

            assert_eq!(queue.wants_interrupt(&mut memory), expected, "event {event} on lap {wrap}");
        }
        // From place 3 of the first lap to place 1 of the second.
        for (event, wrap, expected) in
            [(3, true, true), (0, false, true), (1, false, false), (2, true, false)]
        {
            let (mut queue, mut memory) = packed(4);
            memory.write(DRIVER, &(event | u16::from(wrap) << 15).to_le_bytes());
            memory.write(DRIVER + 2, &2u16.to_le_bytes());
            (queue.given, queue.signalled) = (5, 3);

            assert_eq!(queue.wants_interrupt(&mut memory), expected, "event {event} on lap {wrap}");
        }
    }

    #[test]
    fn what_must_not_be_in_a_packed_ring_is_noted() {
        let table: [(&[u16], Fault); 4] = [
            (&[NEXT, WRITE], Fault(0)),
            (&[WRITE | NEXT, 0], Fault::ORDER),
            (&[INDIRECT], Fault(Fault::INDIRECT.0)),
            (&[INDIRECT | NEXT, 0], Fault(Fault::INDIRECT.0 | Fault::NESTED.0 | Fault::TOO_LONG.0)),
        ];
        for (flags, expected) in table {
            let (mut queue, mut memory) = packed(4);
            for (place, flags) in flags.iter().enumerate() {
                offer(&mut memory, place as u64, 0, *flags, true);
            }

            queue.take(&mut memory).unwrap();

            assert_eq!(queue.faults, expected, "{flags:?}");
        }
    }

    #[test]
    fn what_must_not_be_in_a_split_ring_is_noted() {
        /// Flags and next of each descriptor, index of the head, and how far the available index is.
        type Row<'a> = (&'a [(u16, u16)], u16, u16, Fault);
        let table: [Row<'_>; 5] = [
            (&[(NEXT, 1), (WRITE, 0)], 0, 1, Fault(0)),
            (&[(0, 0)], 4, 1, Fault::OUTSIDE),
            (&[(NEXT, 9)], 0, 1, Fault::OUTSIDE),
            (&[(NEXT, 0)], 0, 1, Fault::TOO_LONG),
            (&[(0, 0)], 0, 5, Fault::TOO_MANY),
        ];
        for (descriptors, head, available, expected) in table {
            let (mut queue, mut memory) = packed(4);
            queue.packed = false;
            for (index, (flags, next)) in descriptors.iter().enumerate() {
                memory.write(RING + 16 * index as u64 + 12, &flags.to_le_bytes());
                memory.write(RING + 16 * index as u64 + 14, &next.to_le_bytes());
            }
            memory.write(DRIVER + 2, &available.to_le_bytes());
            memory.write(DRIVER + 4, &head.to_le_bytes());

            queue.take(&mut memory).unwrap();

            assert_eq!(queue.faults, expected, "{descriptors:?}");
        }
    }

    #[test]
    fn tables_of_both_formats_are_read() {
        for is_packed in [true, false] {
            let (mut queue, mut memory) = packed(4);
            queue.packed = is_packed;
            let flags_at = if is_packed { 14 } else { 12 };
            for (index, flags, next) in [(0u64, NEXT, 1u16), (1, WRITE, 0)] {
                let at = 0x6000 + 16 * index;
                memory.write(at + 8, &(100 + index as u32).to_le_bytes());
                memory.write(at + flags_at, &flags.to_le_bytes());
                if !is_packed {
                    memory.write(at + 14, &next.to_le_bytes());
                }
            }
            memory.write(RING, &0x6000u64.to_le_bytes());
            memory.write(RING + 8, &32u32.to_le_bytes());
            memory.write(RING + flags_at, &(INDIRECT | if is_packed { AVAILABLE } else { 0 }).to_le_bytes());
            memory.write(DRIVER + 2, &1u16.to_le_bytes());

            let chain = queue.take(&mut memory).unwrap();

            assert_eq!(chain.table, Some((0x6000, 2)));
            let lengths: Vec<_> = chain.parts.iter().map(|part| (part.length, part.device_writes)).collect();
            assert_eq!(lengths, [(100, false), (101, true)]);
        }
    }
}
