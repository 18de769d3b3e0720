//! Fuzz targets of the virtio crate, one module each, and the queue as they see it.
//!
//! A target is a function of bytes that panics when the driver broke a promise. The bytes are decoded into operations
//! ([`operations`]), and operations can be encoded again: so seeds are written by code ([`seeds`]), not by hand.
//!
//! Everything that names the queue's types and its format in memory is in this file; the targets use [`Queue`].
#![forbid(unsafe_code)]

pub mod call_sequences;
pub mod capabilities;
pub mod operations;
pub mod seeds;
pub mod used_ring;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use virtio::fake::Ram;
use virtio::memory::{Region, Segment, SharedMemory};
use virtio::queue::{
    AnyRing, DeviceFault, Direction, Format, Layout, Notify, Position, QueueAreas, QueueOptions, Reason,
    RequestQueue, RingFormat, Slot, Ticket,
};
use virtio::spec::Features;
use virtio::spec::ring::{available, used};

/// virtio-blk's requests, with room for two data segments in a slot's own table.
#[derive(Debug)]
struct Blk;

impl Format for Blk {
    type Header = [u8; 16];
    const RESPONSE_BYTES: u16 = 1;
    const RESPONSE_BEFORE_DATA_IN: bool = false;
    const INLINE_SEGMENTS: u16 = INLINE_SEGMENTS;
    const USED_LENGTH_COUNTS_DATA_OUT: bool = false;
}

/// virtio-scsi's, likewise.
#[derive(Debug)]
struct Scsi;

impl Format for Scsi {
    type Header = [u8; 51];
    const RESPONSE_BYTES: u16 = 108;
    const RESPONSE_BEFORE_DATA_IN: bool = true;
    const INLINE_SEGMENTS: u16 = INLINE_SEGMENTS;
    const USED_LENGTH_COUNTS_DATA_OUT: bool = true;
}

const INLINE_SEGMENTS: u16 = 2;

/// Header and response.
const FIXED_BUFFERS: usize = 2;

/// Entries of the smallest ring that is of use, and of the largest that is tried: the larger, the longer it takes until
/// anything is full.
const SPLIT_SIZES: [u16; 4] = [4, 8, 16, 32];
const PACKED_SIZES: [u16; 4] = [4, 7, 16, 27];

/// Longest header.
const HEADER_BYTES: usize = 64;

/// The bits of a packed descriptor's last word of 64 bits.
mod packed {
    pub(crate) const NEXT: u64 = 1 << 48;
    pub(crate) const WRITE: u64 = 2 << 48;
    pub(crate) const AVAIL: u64 = 1 << 55;
    pub(crate) const USED: u64 = 1 << 63;
}

/// Which queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// virtio-scsi's requests, not virtio-blk's
    pub scsi: bool,
    /// VIRTIO_F_EVENT_IDX
    pub event_idx: bool,
    /// Place in the list of sizes
    pub size: u8,
    /// How many large tables there are, if there are tables
    pub large_tables: u8,
    /// VIRTIO_F_RING_PACKED
    pub packed: bool,
    /// No VIRTIO_F_INDIRECT_DESC
    pub direct: bool,
}

impl Choice {
    /// Every byte is a choice.
    pub fn from_byte(byte: u8) -> Self {
        Self {
            scsi: byte & 1 != 0,
            event_idx: byte & 2 != 0,
            size: byte >> 2 & 3,
            large_tables: byte >> 4 & 3,
            packed: byte & 0x40 != 0,
            direct: byte & 0x80 != 0,
        }
    }

    /// The byte for a choice.
    pub fn byte(self) -> u8 {
        let flags = [(self.scsi, 0), (self.event_idx, 1), (self.packed, 6), (self.direct, 7)];
        let bits = flags.iter().fold(0, |bits, (set, bit)| bits | u8::from(*set) << bit);
        bits | self.size << 2 | self.large_tables << 4
    }

    /// Entries of the ring.
    pub fn entries(self) -> u16 {
        let sizes = if self.packed { PACKED_SIZES } else { SPLIT_SIZES };
        sizes[usize::from(self.size)]
    }

    /// Most data segments of a request.
    pub fn max_segments(self) -> usize {
        usize::from(self.entries()) - FIXED_BUFFERS
    }

    /// What has to be negotiated for it.
    pub fn features(self) -> Features {
        let mut features = Features::VERSION_1;
        features.set(Features::RING_INDIRECT_DESC, !self.direct);
        features.set(Features::RING_EVENT_IDX, self.event_idx);
        features.set(Features::RING_PACKED, self.packed);
        features
    }

    fn layout<F: Format>(self) -> Layout<F> {
        Layout::new(QueueOptions {
            ring: if self.packed { RingFormat::Packed } else { RingFormat::Split },
            size: self.entries(),
            slots: self.entries(),
            max_segments: self.entries() - FIXED_BUFFERS as u16,
            indirect: !self.direct,
            large_tables: self.large_tables.into(),
        })
        .expect("the layout is possible")
    }

    /// Bytes that the device may say it wrote; more than it may write only where devices are known to count what they
    /// read.
    pub fn claimable(self, direction: Direction, data_bytes: u32) -> u32 {
        self.writable(if self.scsi { Direction::FromDevice } else { direction }, data_bytes)
    }

    /// Bytes that the device may write for a request with so many bytes of data.
    pub fn writable(self, direction: Direction, data_bytes: u32) -> u32 {
        let data = if direction == Direction::FromDevice { data_bytes } else { 0 };
        let response = if self.scsi { Scsi::RESPONSE_BYTES } else { Blk::RESPONSE_BYTES };
        u32::from(response).saturating_add(data)
    }
}

/// Bytes of shared memory that every choice fits.
pub const SHARED_BYTES: usize = 24 << 10;

/// What [`Queue::pop`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Popped {
    /// Nothing.
    Nothing,
    /// A request that is done: bytes that were written, the first byte of the response, and its token.
    Done {
        /// Bytes the device wrote
        length: u32,
        /// First byte of its response
        response: u8,
        /// Whose it is
        token: u32,
    },
    /// A lie.
    Fault(DeviceFault),
}

/// What stands in the ring where the driver looks next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// How far the used index is ahead; of a packed ring, whether the next descriptor is used
    pub waiting: u16,
    /// Whose request, if any is waiting
    pub id: u32,
    /// Bytes written, likewise
    pub length: u32,
}

/// Where the descriptors of a request are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Inline,
    Large,
    Ring,
}

/// The queue of one format or the other.
enum Requests {
    Blk(RequestQueue<Blk, AnyRing<Region>, u32, Vec<Slot<u32>>>),
    Scsi(RequestQueue<Scsi, AnyRing<Region>, u32, Vec<Slot<u32>>>),
}

/// Calls the queue that it is.
macro_rules! requests {
    ($any:expr, $queue:ident => $call:expr) => {
        match $any {
            Requests::Blk($queue) => $call,
            Requests::Scsi($queue) => $call,
        }
    };
}

/// A queue, and the shared memory as the device sees it.
pub struct Queue {
    queue: Requests,
    choice: Choice,
    shared: Region,
    descriptors: usize,
    driver: usize,
    device: usize,
    /// How far an honest device is in a split ring.
    next_available: u16,
    next_used: u16,
    /// Used entries that the driver took.
    taken: u16,
    /// The same in a packed ring.
    available_at: Position,
    used_at: Position,
    taken_at: Position,
    /// Where the requests' descriptors are that the device has, and how many they are.
    places: BTreeMap<u32, (Place, usize)>,
    tickets: BTreeMap<u32, Ticket>,
    past_tickets: Vec<Ticket>,
}

impl Queue {
    /// A queue in `memory`, of which it zeroes what it needs, with further features besides those of the choice.
    pub fn new(choice: Choice, memory: &Region, further: Features) -> Self {
        let bytes = if choice.scsi {
            choice.layout::<Scsi>().shared_bytes()
        } else {
            choice.layout::<Blk>().shared_bytes()
        };
        let view = || memory.view(0, bytes).expect("the memory is long enough");
        let shared = view();
        for at in (0..shared.len() / 8 * 8).step_by(8) {
            shared.store64(at, 0, Ordering::Relaxed);
        }
        let features = choice.features() | further;
        let slots = (0..choice.entries()).map(|_| Slot::default()).collect();
        let fits = "memory and slots are enough";
        let queue = if choice.scsi {
            Requests::Scsi(RequestQueue::new(view(), choice.layout(), slots, features).expect(fits))
        } else {
            Requests::Blk(RequestQueue::new(view(), choice.layout(), slots, features).expect(fits))
        };
        let areas = requests!(&queue, queue => queue.areas());
        let offset = |address: u64| (address - shared.device_address()) as usize;
        Self {
            queue,
            choice,
            descriptors: offset(areas.descriptor_area),
            driver: offset(areas.driver_area),
            device: offset(areas.device_area),
            shared,
            next_available: 0,
            next_used: 0,
            taken: 0,
            available_at: Position::START,
            used_at: Position::START,
            taken_at: Position::START,
            places: BTreeMap::new(),
            tickets: BTreeMap::new(),
            past_tickets: Vec::new(),
        }
    }

    /// Where the device finds the rings.
    pub fn areas(&self) -> QueueAreas {
        requests!(&self.queue, queue => queue.areas())
    }

    /// Where a request with so many segments goes, and how many descriptors of the ring it takes; `None` when there is
    /// no room.
    fn place_for(&self, segments: usize) -> Option<(Place, usize)> {
        let large = self.places.values().filter(|(place, _)| *place == Place::Large).count();
        let (place, descriptors) = if self.choice.direct {
            (Place::Ring, segments + FIXED_BUFFERS)
        } else if segments <= usize::from(INLINE_SEGMENTS) {
            (Place::Inline, 1)
        } else if large < usize::from(self.choice.large_tables) {
            (Place::Large, 1)
        } else {
            (Place::Ring, segments + FIXED_BUFFERS)
        };
        let taken: usize = self.places.values().map(|(_, descriptors)| descriptors).sum();
        (taken + descriptors <= usize::from(self.choice.entries())).then_some((place, descriptors))
    }

    /// Whether there is room for a request with so many segments, if that is not too many at all.
    pub fn has_room(&self, segments: usize) -> bool {
        self.place_for(segments).is_some()
    }

    /// Puts a request into the ring; the header is the first bytes of `header`, as many as it has.
    ///
    /// # Errors
    /// The request is not taken.
    pub fn submit(
        &mut self,
        token: u32,
        header: &[u8; HEADER_BYTES],
        direction: Direction,
        segments: &[Segment],
    ) -> Result<(), Reason> {
        let place = self.place_for(segments.len());
        let submitted = match &mut self.queue {
            Requests::Blk(queue) => {
                let header = header.first_chunk().expect("no header is longer");
                queue.submit(token, header, direction, segments)
            }
            Requests::Scsi(queue) => {
                let header = header.first_chunk().expect("no header is longer");
                queue.submit(token, header, direction, segments)
            }
        };
        match submitted {
            Ok(ticket) => {
                self.places.insert(token, place.expect("there was no room"));
                self.tickets.insert(token, ticket);
                Ok(())
            }
            Err(rejected) => {
                assert_eq!(rejected.token, token, "the token comes back");
                Err(rejected.reason)
            }
        }
    }

    /// Each ticket names its request while the device has it, and nothing afterwards.
    pub fn check_tickets(&self) {
        let get = |ticket: &Ticket| requests!(&self.queue, queue => queue.get(*ticket)).copied();
        for (token, ticket) in &self.tickets {
            assert_eq!(get(ticket), Some(*token));
        }
        for ticket in &self.past_tickets {
            assert_eq!(get(ticket), None, "{ticket:?} is long past");
        }
    }

    /// Shows the device what was submitted.
    pub fn publish(&mut self) -> Notify {
        requests!(&mut self.queue, queue => queue.publish())
    }

    /// Takes a request that is done.
    pub fn pop(&mut self) -> Popped {
        let popped = requests!(&mut self.queue, queue => match queue.pop_used() {
            Ok(None) => Popped::Nothing,
            Ok(Some(used)) => {
                let mut response = [0];
                used.read_response(0, &mut response);
                Popped::Done { length: used.length(), response: response[0], token: used.take() }
            }
            Err(fault) => Popped::Fault(fault),
        });
        if let Popped::Done { token, .. } = popped {
            self.taken = self.taken.wrapping_add(1);
            let (_, descriptors) = self.forget(token);
            self.taken_at = self.taken_at.ahead(descriptors as u16, self.choice.entries());
        }
        popped
    }

    /// The device has the request no more.
    fn forget(&mut self, token: u32) -> (Place, usize) {
        self.past_tickets.extend(self.tickets.remove(&token));
        self.places.remove(&token).expect("the device had the request")
    }

    /// Asks for interrupts; `true` when something is waiting.
    pub fn enable_interrupts(&mut self) -> bool {
        requests!(&mut self.queue, queue => queue.enable_interrupts())
    }

    /// Asks for none.
    pub fn disable_interrupts(&mut self) {
        requests!(&mut self.queue, queue => queue.disable_interrupts());
    }

    /// Takes back what the device has, after it was reset.
    pub fn take_outstanding(&mut self) -> Option<u32> {
        let token = requests!(&mut self.queue, queue => queue.take_outstanding());
        if let Some(token) = token {
            self.forget(token);
        }
        token
    }

    /// Starts over, with a device that was reset.
    pub fn reset(&mut self) {
        requests!(&mut self.queue, queue => queue.reset());
        (self.next_available, self.next_used, self.taken) = (0, 0, 0);
        (self.available_at, self.used_at, self.taken_at) =
            (Position::START, Position::START, Position::START);
    }

    /// Requests that the device has.
    pub fn in_flight(&self) -> usize {
        requests!(&self.queue, queue => queue.in_flight())
    }

    /// Whether every request is refused.
    pub fn is_full(&self) -> bool {
        requests!(&self.queue, queue => queue.is_full())
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

    /// The device says from when on it wants to be notified.
    pub fn write_event(&self, value: u16) {
        if self.choice.packed {
            let events = u32::from(value) | u32::from(value & 3) << 16;
            self.shared.store32(self.device, events, Ordering::Relaxed);
            return;
        }
        let avail_event = self.device + used::RING + 8 * usize::from(self.choice.entries());
        self.shared.store16(avail_event, value, Ordering::Relaxed);
        self.shared.store16(self.device + used::FLAGS, value & 1, Ordering::Relaxed);
    }

    /// The device writes a used entry, `ahead` of where it is.
    pub fn write_used(&self, ahead: u8, id: u32, length: u32) {
        let entries = self.choice.entries();
        if self.choice.packed {
            let at = self.used_at.ahead(u16::from(ahead) % entries, entries);
            let flags = if at.wrap() { packed::AVAIL | packed::USED } else { 0 } | packed::WRITE;
            let word = u64::from(length) | u64::from(id & 0xffff) << 32 | flags;
            self.shared.store64(self.packed_word(at), word, Ordering::Release);
            return;
        }
        let place = self.next_used.wrapping_add(u16::from(ahead)) % entries;
        let entry = self.device + used::RING + 8 * usize::from(place);
        self.shared.store32(entry, id, Ordering::Relaxed);
        self.shared.store32(entry + 4, length, Ordering::Relaxed);
    }

    /// Where length, id and flags of a descriptor are in a packed ring.
    fn packed_word(&self, at: Position) -> usize {
        self.descriptors + 16 * usize::from(at.offset()) + 8
    }

    /// What the driver is told with the next [`pop`](Self::pop), if it has no batch in hand.
    pub fn claim(&self) -> Claim {
        if self.choice.packed {
            let word = self.shared.load64(self.packed_word(self.taken_at), Ordering::Acquire);
            let used = if self.taken_at.wrap() { packed::AVAIL | packed::USED } else { 0 };
            let is_used = word & (packed::AVAIL | packed::USED) == used;
            return Claim {
                waiting: u16::from(is_used),
                id: u32::from((word >> 32) as u16),
                length: if word & packed::WRITE != 0 { word as u32 } else { 0 },
            };
        }
        let index = self.shared.load16(self.device + used::INDEX, Ordering::Acquire);
        let place = self.taken % self.choice.entries();
        let entry = self.device + used::RING + 8 * usize::from(place);
        Claim {
            waiting: index.wrapping_sub(self.taken),
            id: self.shared.load32(entry, Ordering::Relaxed),
            length: self.shared.load32(entry + 4, Ordering::Relaxed),
        }
    }

    /// The device moves its used index, or in a packed ring the place where it writes next.
    pub fn move_used(&mut self, by: u16) {
        if self.choice.packed {
            let entries = self.choice.entries();
            self.used_at = self.used_at.ahead(by % entries, entries);
            return;
        }
        self.next_used = self.next_used.wrapping_add(by);
        self.shared.store16(self.device + used::INDEX, self.next_used, Ordering::Release);
    }

    /// An honest device takes the next published request and gives it back, `length` bytes written. `false` when there
    /// is none.
    pub fn complete(&mut self, length: u32) -> bool {
        if self.choice.packed {
            return self.complete_packed(length);
        }
        let index = self.shared.load16(self.driver + available::INDEX, Ordering::Acquire);
        if index == self.next_available {
            return false;
        }
        let place = usize::from(self.next_available % self.choice.entries());
        let id = self.shared.load16(self.driver + available::RING + 2 * place, Ordering::Relaxed);
        self.next_available = self.next_available.wrapping_add(1);
        self.write_used(0, u32::from(id), length);
        self.move_used(1);
        true
    }

    /// The list from the next descriptor on, as far as NEXT goes; the id is the last one's (2.8.6).
    fn complete_packed(&mut self, length: u32) -> bool {
        let entries = self.choice.entries();
        let mut at = self.available_at;
        for descriptors in 1..=entries {
            let word = self.shared.load64(self.packed_word(at), Ordering::Acquire);
            let available = if at.wrap() { packed::AVAIL } else { packed::USED };
            if word & (packed::AVAIL | packed::USED) != available {
                return false;
            }
            if word & packed::NEXT == 0 {
                self.available_at = at.ahead(1, entries);
                self.write_used(0, u32::from((word >> 32) as u16), length);
                self.move_used(descriptors % entries);
                if descriptors == entries {
                    // All the way around: the same descriptor, in the other round.
                    self.used_at = self.used_at.ahead(entries, entries);
                }
                return true;
            }
            at = at.ahead(1, entries);
        }
        false
    }
}

/// A header's bytes for [`Queue::submit`].
pub fn header(bytes: &[u8]) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..bytes.len()].copy_from_slice(bytes);
    header
}

/// Memory for the devices of a target: made once, because such memory is never given back.
pub(crate) struct Machine {
    pub(crate) ram: Ram,
    pub(crate) shared: Region,
    pub(crate) data: Region,
}

/// Bytes for data.
pub(crate) const DATA_BYTES: usize = 16 << 10;

thread_local! {
    /// One for each thread: tests play seeds side by side.
    pub(crate) static MACHINE: Machine = {
        let ram = Ram::new(SHARED_BYTES + DATA_BYTES);
        let shared = ram.alloc(SHARED_BYTES, 4096);
        let data = ram.alloc(DATA_BYTES, 512);
        Machine { ram, shared, data }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_choice_fits_the_memory_and_is_its_byte_again() {
        for byte in 0..=u8::MAX {
            let choice = Choice::from_byte(byte);

            assert!(choice.layout::<Blk>().shared_bytes() <= SHARED_BYTES, "{choice:?}");
            assert!(choice.layout::<Scsi>().shared_bytes() <= SHARED_BYTES, "{choice:?}");
            assert_eq!(choice.byte(), byte);
        }
    }
}
