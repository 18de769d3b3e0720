//! The device's side of a ring, as the target plays it: by the rules, or writing anything.

use std::sync::atomic::Ordering;

use virtio::memory::{Region, SharedMemory};
use virtio::queue::QueueAreas;
use virtio::spec::ring::packed::{
    AVAILABLE, EVENTS_DESCRIPTOR, EVENTS_DISABLE, EVENTS_ENABLE, USED, descriptor,
};
use virtio::spec::ring::{DESCRIPTOR_BYTES, DescriptorFlags, USED_NO_NOTIFY, available, used};

use crate::Choice;

/// What stands in the used ring where the driver looks next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// How far the used index is ahead; of a packed ring, whether the next descriptor is used
    pub waiting: u16,
    /// Whose request, if any is waiting
    pub id: u32,
    /// Bytes written, likewise
    pub length: u32,
}

/// A buffer of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// Its address
    pub address: u64,
    /// Its length
    pub length: u32,
    /// The device writes it.
    pub writable: bool,
}

/// A chain that the device has taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// What the device calls it
    pub id: u16,
    /// Descriptors of the ring that it takes
    pub descriptors: u16,
    /// Its table, if it has one
    table: Option<(u64, u32)>,
    /// Its buffers
    pub buffers: Vec<Buffer>,
}

/// A place in either ring: how many descriptors, or entries, lie before it since the start. The wrap counter follows from
/// that, and there are too few operations to overflow it.
type Place = u32;

/// A device in the middle of its work.
#[derive(Debug)]
pub struct DeviceSide {
    choice: Choice,
    shared: Region,
    descriptors: usize,
    driver: usize,
    device: usize,
    /// How far an honest device is in either ring.
    next_available: Place,
    next_used: Place,
    /// What the driver took, and the used index that it saw last.
    taken: Place,
    seen: u16,
    /// What the driver published.
    published: Place,
    /// Requests that the device has taken and not done.
    pub hand: Vec<Chain>,
}

const NEXT: u16 = DescriptorFlags::NEXT.bits();
const WRITE: u16 = DescriptorFlags::WRITE.bits();
const INDIRECT: u16 = DescriptorFlags::INDIRECT.bits();

/// A descriptor: address, length, and the last two words.
type Words = (u64, u32, u16, u16);

impl DeviceSide {
    /// A device that was just started, with the driver's rings in `shared`.
    pub fn new(choice: Choice, shared: Region, areas: QueueAreas) -> Self {
        let offset = |address: u64| (address - shared.device_address()) as usize;
        let [descriptors, driver, device] =
            [areas.descriptor_area, areas.driver_area, areas.device_area].map(offset);
        Self {
            choice,
            shared,
            descriptors,
            driver,
            device,
            next_available: 0,
            next_used: 0,
            taken: 0,
            seen: 0,
            published: 0,
            hand: Vec::new(),
        }
    }

    /// Starts over.
    pub fn reset(&mut self) {
        (self.next_available, self.next_used, self.taken, self.published) = (0, 0, 0, 0);
        self.seen = 0;
        self.hand.clear();
    }

    fn index(&self, place: Place) -> usize {
        (place % Place::from(self.choice.entries())) as usize
    }

    /// The wrap counter at a place: 1 in the first round (2.8.1).
    fn wrap(&self, place: Place) -> bool {
        (place / Place::from(self.choice.entries())).is_multiple_of(2)
    }

    /// What names a place (2.9, 2.8.14).
    fn name(&self, place: Place) -> u16 {
        if self.choice.packed {
            self.index(place) as u16 | u16::from(self.wrap(place)) << 15
        } else {
            place as u16
        }
    }

    /// The device writes a word of 1, 2, 4 or 8 bytes anywhere; the offset is brought into the memory.
    pub fn scribble(&self, offset: u16, width: u8, value: u32) {
        let width = 1 << (width & 3);
        let at = usize::from(offset) % (self.shared.len() / 8 * 8) / width * width;
        match width {
            1 => self.shared.store8(at, value as u8, Ordering::Relaxed),
            2 => self.shared.store16(at, value as u16, Ordering::Relaxed),
            4 => self.shared.store32(at, value, Ordering::Relaxed),
            _ => self.shared.store64(at, u64::from(value) << 32 | u64::from(value), Ordering::Relaxed),
        }
    }

    fn avail_event(&self) -> usize {
        self.device + used::RING + 8 * usize::from(self.choice.entries())
    }

    /// The device says from when on it wants to be notified.
    pub fn write_event(&self, value: u16, flags: u8) {
        if self.choice.packed {
            let word = u32::from(value) | u32::from(flags & 3) << 16;
            self.shared.store32(self.device, word, Ordering::Relaxed);
        } else {
            self.shared.store16(self.avail_event(), value, Ordering::Relaxed);
            self.shared.store16(self.device + used::FLAGS, u16::from(flags & 1), Ordering::Relaxed);
        }
    }

    /// The driver publishes so many descriptors, or entries. Where it goes on, and whether the device wants to be told: by
    /// the definition (2.7.10, 2.8.10), one after the other.
    pub fn publish(&mut self, count: u16) -> (u16, bool) {
        let passed = self.published..self.published + Place::from(count);
        self.published = passed.end;
        let names_passed = |event: u16| passed.clone().any(|place| self.name(place) == event);
        let wanted = if self.choice.packed {
            let events = self.shared.load32(self.device, Ordering::Relaxed);
            match (events >> 16) as u16 {
                EVENTS_DISABLE => false,
                EVENTS_DESCRIPTOR if self.choice.event_idx => names_passed(events as u16),
                _ => true,
            }
        } else if self.choice.event_idx {
            names_passed(self.shared.load16(self.avail_event(), Ordering::Relaxed))
        } else {
            self.shared.load16(self.device + used::FLAGS, Ordering::Relaxed) & USED_NO_NOTIFY == 0
        };
        (self.name(self.published), wanted)
    }

    /// Whether the place that the device wants to be told of exists; of another one the driver may make what it likes.
    pub fn event_is_a_place(&self) -> bool {
        let event = self.shared.load16(self.device, Ordering::Relaxed);
        !self.choice.packed || event & 0x7fff < self.choice.entries()
    }

    fn used_flags(&self, place: Place) -> u16 {
        if self.wrap(place) { AVAILABLE | USED } else { 0 }
    }

    fn last_word(&self, place: Place) -> usize {
        self.descriptors + DESCRIPTOR_BYTES * self.index(place) + descriptor::LENGTH_ID_FLAGS
    }

    /// The device writes a used entry, `ahead` of where it is. In a packed ring the driver sees it at once.
    pub fn write_used(&self, ahead: u8, id: u32, length: u32) {
        let place = self.next_used + Place::from(ahead);
        if self.choice.packed {
            let flags = self.used_flags(place) | if length > 0 { WRITE } else { 0 };
            let word = u64::from(length) | u64::from(id as u16) << 32 | u64::from(flags) << 48;
            self.shared.store64(self.last_word(place), word, Ordering::Release);
        } else {
            let entry = self.device + used::RING + 8 * self.index(place);
            self.shared.store32(entry, id, Ordering::Relaxed);
            self.shared.store32(entry + 4, length, Ordering::Relaxed);
        }
    }

    /// The device moves its used index; in a packed ring, whatever stands in so many descriptors becomes used.
    pub fn move_used(&mut self, by: u16) {
        let end = self.next_used + Place::from(by);
        if self.choice.packed {
            let round = Place::from(self.choice.entries());
            for place in self.next_used.max(end.saturating_sub(round))..end {
                let at = self.last_word(place) + descriptor::FLAGS - descriptor::LENGTH_ID_FLAGS;
                let rest = self.shared.load16(at, Ordering::Relaxed) & !(AVAILABLE | USED);
                self.shared.store16(at, rest | self.used_flags(place), Ordering::Release);
            }
        } else {
            self.shared.store16(self.device + used::INDEX, end as u16, Ordering::Release);
        }
        self.next_used = end;
    }

    /// What the driver is told when it looks now.
    pub fn claim(&mut self) -> Claim {
        if self.choice.packed {
            let word = self.shared.load64(self.last_word(self.taken), Ordering::Acquire);
            let flags = (word >> 48) as u16;
            let is_used = flags & (AVAILABLE | USED) == self.used_flags(self.taken);
            return Claim {
                waiting: u16::from(is_used),
                id: u32::from((word >> 32) as u16),
                length: if flags & WRITE != 0 { word as u32 } else { 0 },
            };
        }
        // The driver looks at the index when it has taken everything that it covered the last time.
        if self.seen == self.taken as u16 {
            self.seen = self.shared.load16(self.device + used::INDEX, Ordering::Acquire);
        }
        let entry = self.device + used::RING + 8 * self.index(self.taken);
        Claim {
            waiting: self.seen.wrapping_sub(self.taken as u16),
            id: self.shared.load32(entry, Ordering::Relaxed),
            length: self.shared.load32(entry + 4, Ordering::Relaxed),
        }
    }

    /// The driver took a request that has so many descriptors.
    pub fn taken(&mut self, descriptors: u16) {
        self.taken += if self.choice.packed { Place::from(descriptors) } else { 1 };
    }

    /// Whether the driver wants to be interrupted for the next thing that the device does (2.7.7, 2.8.10).
    pub fn interrupt_wanted(&self) -> bool {
        if self.choice.packed {
            let events = self.shared.load32(self.driver, Ordering::Relaxed);
            match (events >> 16) as u16 {
                EVENTS_DISABLE => false,
                EVENTS_DESCRIPTOR if self.choice.event_idx => events as u16 == self.name(self.next_used),
                flags => flags == EVENTS_ENABLE,
            }
        } else if self.choice.event_idx {
            let used_event = self.driver + available::RING + 2 * usize::from(self.choice.entries());
            self.shared.load16(used_event, Ordering::Relaxed) == self.name(self.next_used)
        } else {
            self.shared.load16(self.driver + available::FLAGS, Ordering::Relaxed) == 0
        }
    }

    /// A descriptor at an address, which lies in the shared memory if the driver wrote it.
    fn read(&self, address: u64) -> Option<Words> {
        let at = usize::try_from(address.checked_sub(self.shared.device_address())?).ok()?;
        let inside = at.is_multiple_of(8) && at.checked_add(DESCRIPTOR_BYTES)? <= self.shared.len();
        inside.then(|| {
            let last = self.shared.load64(at + 8, Ordering::Acquire);
            let address = self.shared.load64(at, Ordering::Relaxed);
            (address, last as u32, (last >> 32) as u16, (last >> 48) as u16)
        })
    }

    fn descriptor(&self, index: usize) -> Option<Words> {
        let inside = index < usize::from(self.choice.entries());
        let start = self.shared.device_address() + self.descriptors as u64;
        if inside { self.read(start + (DESCRIPTOR_BYTES * index) as u64) } else { None }
    }

    /// The buffers of a table: of a split ring's by their links, of a packed ring's one after the other.
    fn table(&self, (address, length): (u64, u32)) -> Option<Vec<Buffer>> {
        let entries = u64::from(length) / DESCRIPTOR_BYTES as u64;
        let mut buffers = Vec::new();
        let mut entry = 0;
        while entry < entries && buffers.len() < usize::from(self.choice.entries()) {
            let words = self.read(address.checked_add(DESCRIPTOR_BYTES as u64 * entry)?)?;
            let (flags, next) = if self.choice.packed { (words.3, 0) } else { (words.2, words.3) };
            buffers.push(Buffer { address: words.0, length: words.1, writable: flags & WRITE != 0 });
            entry = match (self.choice.packed, flags & NEXT != 0) {
                (true, _) => entry + 1,
                (false, true) => u64::from(next),
                (false, false) => entries,
            };
        }
        Some(buffers)
    }

    /// The chain that begins at a head of a split ring, or at a place of a packed one. `None`: it is none.
    fn walk(&self, start: Place) -> Option<Chain> {
        let mut chain = Chain { id: start as u16, descriptors: 0, table: None, buffers: Vec::new() };
        let mut at = start;
        while chain.descriptors < self.choice.entries() {
            let index = if self.choice.packed { self.index(at) } else { at as usize };
            let (address, length, third, fourth) = self.descriptor(index)?;
            let flags = if self.choice.packed { fourth } else { third };
            if self.choice.packed {
                let is_available =
                    (flags & AVAILABLE != 0) == self.wrap(at) && (flags & USED != 0) != self.wrap(at);
                if !is_available {
                    return None;
                }
                chain.id = third;
            }
            chain.descriptors += 1;
            if flags & INDIRECT != 0 {
                chain.table = Some((address, length));
                chain.buffers = self.table((address, length))?;
            } else {
                chain.buffers.push(Buffer { address, length, writable: flags & WRITE != 0 });
            }
            if flags & NEXT == 0 {
                return Some(chain);
            }
            at = if self.choice.packed { at + 1 } else { Place::from(fourth) };
        }
        None
    }

    /// An honest device takes everything that is available, and returns how many chains it took.
    pub fn fetch(&mut self) -> usize {
        let before = self.hand.len();
        while self.hand.len() < usize::from(self.choice.entries()) {
            let start = if self.choice.packed {
                self.next_available
            } else {
                let index = self.shared.load16(self.driver + available::INDEX, Ordering::Acquire);
                if index == self.next_available as u16 {
                    break;
                }
                let entry = self.driver + available::RING + 2 * self.index(self.next_available);
                Place::from(self.shared.load16(entry, Ordering::Relaxed))
            };
            let Some(chain) = self.walk(start) else { break };
            self.next_available += if self.choice.packed { Place::from(chain.descriptors) } else { 1 };
            self.hand.push(chain);
        }
        self.hand.len() - before
    }

    /// Whether a chain that the device has is what it was. In a packed ring, where used descriptors are written over
    /// available ones, only its table is.
    pub fn is_unchanged(&self, chain: &Chain) -> bool {
        if self.choice.packed {
            chain.table.is_none_or(|table| self.table(table).as_ref() == Some(&chain.buffers))
        } else {
            self.walk(chain.id.into()).as_ref() == Some(chain)
        }
    }

    fn inside(&self, address: u64) -> Option<usize> {
        let at = address.checked_sub(self.shared.device_address())?;
        usize::try_from(at).ok().filter(|at| *at < self.shared.len())
    }

    /// The byte at an address, if that is in the shared memory.
    pub fn byte(&self, address: u64) -> Option<u8> {
        self.inside(address).map(|at| self.shared.load8(at, Ordering::Relaxed))
    }

    /// Writes the first byte of an answer to where a chain says.
    pub fn answer(&self, address: u64, answer: u8) {
        let at = self.inside(address).expect("the response is in the shared memory");
        self.shared.store8(at, answer, Ordering::Relaxed);
    }

    /// The device has done requests that take so many descriptors, and says so with the id of the last one.
    pub fn complete(&mut self, requests: u16, descriptors: u16, id: u16, length: u32) {
        self.write_used(0, id.into(), length);
        if self.choice.packed {
            self.next_used += Place::from(descriptors);
        } else {
            self.move_used(requests);
        }
    }
}
