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

use std::sync::atomic::Ordering;

use virtio::fake::Ram;
use virtio::memory::{Region, Segment, SharedMemory};
use virtio::queue::{DeviceFault, Direction, Layout, Notify, QueueAreas, Reason, RequestQueue, Shape, Slot};
use virtio::spec::ring::{available, used};

/// virtio-blk's requests, with room for two data segments in a slot's own table.
const BLK: Shape = Shape {
    header_bytes: 16,
    response_bytes: 1,
    response_before_data_in: false,
    inline_segments: 2,
    used_length_counts_data_out: false,
};

/// virtio-scsi's, likewise.
const SCSI: Shape = Shape {
    header_bytes: 51,
    response_bytes: 108,
    response_before_data_in: true,
    inline_segments: 2,
    used_length_counts_data_out: true,
};

/// Entries of the smallest ring that the layouts fit, and of the largest that is tried: the larger, the longer it takes
/// until anything is full.
const SIZES: [u16; 4] = [4, 8, 16, 32];

/// Longest header.
const HEADER_BYTES: usize = 64;

/// Which queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// virtio-scsi's requests, not virtio-blk's
    pub scsi: bool,
    /// VIRTIO_F_EVENT_IDX
    pub event_idx: bool,
    /// Place in the list of sizes
    pub size: u8,
    /// One less than how many large tables there are
    pub large_tables: u8,
}

impl Choice {
    /// Every byte is a choice.
    pub fn from_byte(byte: u8) -> Self {
        Self {
            scsi: byte & 1 != 0,
            event_idx: byte & 2 != 0,
            size: byte >> 2 & 3,
            large_tables: byte >> 4 & 3,
        }
    }

    /// The byte for a choice.
    pub fn byte(self) -> u8 {
        u8::from(self.scsi) | u8::from(self.event_idx) << 1 | self.size << 2 | self.large_tables << 4
    }

    /// Entries of the ring.
    pub fn entries(self) -> u16 {
        SIZES[usize::from(self.size)]
    }

    /// Most data segments of a request.
    pub fn max_segments(self) -> usize {
        usize::from(self.entries()) - 2
    }

    fn shape(self) -> &'static Shape {
        if self.scsi { &SCSI } else { &BLK }
    }

    fn layout(self) -> Layout {
        let tables = u16::from(self.large_tables) + 1;
        Layout::new(self.entries(), self.shape(), self.entries() - 2, tables).expect("the layout is possible")
    }

    /// Requests that need a large table, if `segments` is so many.
    pub fn needs_large_table(self, segments: usize) -> bool {
        segments > usize::from(self.shape().inline_segments)
    }

    /// Bytes that the device may say it wrote; more than it may write only where devices are known to count what they
    /// read.
    pub fn claimable(self, direction: Direction, data_bytes: u32) -> u32 {
        let counts_all = self.shape().used_length_counts_data_out;
        self.writable(if counts_all { Direction::FromDevice } else { direction }, data_bytes)
    }

    /// Bytes that the device may write for a request with so many bytes of data.
    pub fn writable(self, direction: Direction, data_bytes: u32) -> u32 {
        let data = if direction == Direction::FromDevice { data_bytes } else { 0 };
        u32::from(self.shape().response_bytes).saturating_add(data)
    }
}

/// Bytes of shared memory that every choice fits.
pub const SHARED_BYTES: usize = 24 << 10;

/// What [`Queue::pop`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Popped {
    /// Nothing.
    Nothing,
    /// A request that is done: bytes that were written, the first byte of the response, and its token if it was taken.
    Done {
        /// Bytes the device wrote
        length: u32,
        /// First byte of its response
        response: u8,
        /// Whose it is
        token: Option<u32>,
    },
    /// A lie.
    Fault(DeviceFault),
}

/// What stands in the used ring where the driver looks next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// How far the used index is ahead
    pub waiting: u16,
    /// Whose request, if any is waiting
    pub id: u32,
    /// Bytes written, likewise
    pub length: u32,
}

/// A queue, and the shared memory as the device sees it.
#[derive(Debug)]
pub struct Queue {
    queue: RequestQueue<Region, u32, Vec<Slot<u32>>>,
    choice: Choice,
    shared: Region,
    available: usize,
    used: usize,
    /// How far an honest device is in either ring.
    next_available: u16,
    next_used: u16,
    /// Used entries that the driver took.
    taken: u16,
}

impl Queue {
    /// A queue in `memory`, of which it zeroes what it needs.
    pub fn new(choice: Choice, memory: &Region) -> Self {
        let layout = choice.layout();
        let view = || memory.view(0, layout.shared_bytes()).expect("the memory is long enough");
        let shared = view();
        for at in (0..shared.len() / 8 * 8).step_by(8) {
            shared.store64(at, 0, Ordering::Relaxed);
        }
        let mut slots = Vec::new();
        slots.resize_with(layout.slots(), Slot::default);
        let queue =
            RequestQueue::new(view(), layout, slots, choice.event_idx).expect("memory and slots are enough");
        let areas = queue.areas();
        let offset = |address: u64| (address - shared.device_address()) as usize;
        let (available, used) = (offset(areas.driver_area), offset(areas.device_area));
        Self { queue, choice, shared, available, used, next_available: 0, next_used: 0, taken: 0 }
    }

    /// Where the device finds the rings.
    pub fn areas(&self) -> QueueAreas {
        self.queue.areas()
    }

    /// Reserves, fills and commits; the header is the first bytes of `header`, as many as it has.
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
        let header = &header[..usize::from(self.choice.shape().header_bytes)];
        let submitted = self.queue.submit(token, header, direction, segments.iter().copied());
        submitted.map_err(|rejected| {
            assert_eq!(rejected.token, token, "the token comes back");
            rejected.reason
        })
    }

    /// Reserves, and gives it up; with `filled`, after the chain was written.
    ///
    /// # Errors
    /// There is no place.
    pub fn abandon(&mut self, segments: &[Segment], filled: bool) -> Result<(), Reason> {
        let header = vec![0xaa; usize::from(self.choice.shape().header_bytes)];
        let place = self.queue.reserve(segments.len())?;
        if filled {
            drop(place.fill(&header, Direction::FromDevice, segments.iter().copied()));
        }
        Ok(())
    }

    /// Shows the device what was submitted.
    pub fn publish(&mut self) -> Notify {
        self.queue.publish()
    }

    /// Looks for a request that is done, and takes it if `take`.
    pub fn pop(&mut self, take: bool) -> Popped {
        match self.queue.pop_used() {
            Ok(None) => Popped::Nothing,
            Ok(Some(used)) => {
                let mut response = [0];
                used.read_response(0, &mut response);
                let length = used.length();
                let token = take.then(|| used.take().expect("a used buffer has its request"));
                self.taken = self.taken.wrapping_add(u16::from(take));
                Popped::Done { length, response: response[0], token }
            }
            Err(fault) => Popped::Fault(fault),
        }
    }

    /// Asks for interrupts; `true` when something is waiting.
    pub fn enable_interrupts(&mut self) -> bool {
        self.queue.enable_interrupts()
    }

    /// Asks for none.
    pub fn disable_interrupts(&mut self) {
        self.queue.disable_interrupts();
    }

    /// Takes back what the device has, after it was reset.
    pub fn take_outstanding(&mut self) -> Option<u32> {
        self.queue.take_outstanding()
    }

    /// Starts over, with a device that was reset.
    pub fn reset(&mut self) {
        self.queue.reset();
        (self.next_available, self.next_used, self.taken) = (0, 0, 0);
    }

    /// Requests that the device has.
    pub fn in_flight(&self) -> usize {
        self.queue.in_flight()
    }

    /// Whether every request is refused.
    pub fn is_full(&self) -> bool {
        self.queue.is_full()
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
        let avail_event = self.used + used::RING + 8 * usize::from(self.choice.entries());
        self.shared.store16(avail_event, value, Ordering::Relaxed);
        self.shared.store16(self.used + used::FLAGS, value & 1, Ordering::Relaxed);
    }

    /// The device writes a used entry, `ahead` of where it is.
    pub fn write_used(&self, ahead: u8, id: u32, length: u32) {
        let place = self.next_used.wrapping_add(u16::from(ahead)) % self.choice.entries();
        let entry = self.used + used::RING + 8 * usize::from(place);
        self.shared.store32(entry, id, Ordering::Relaxed);
        self.shared.store32(entry + 4, length, Ordering::Relaxed);
    }

    /// What the driver is told with the next [`pop`](Self::pop).
    pub fn claim(&self) -> Claim {
        let index = self.shared.load16(self.used + used::INDEX, Ordering::Acquire);
        let place = self.taken % self.choice.entries();
        let entry = self.used + used::RING + 8 * usize::from(place);
        Claim {
            waiting: index.wrapping_sub(self.taken),
            id: self.shared.load32(entry, Ordering::Relaxed),
            length: self.shared.load32(entry + 4, Ordering::Relaxed),
        }
    }

    /// The device moves its used index.
    pub fn move_used(&mut self, by: u16) {
        self.next_used = self.next_used.wrapping_add(by);
        self.shared.store16(self.used + used::INDEX, self.next_used, Ordering::Release);
    }

    /// An honest device takes the next published request and gives it back, `length` bytes written. `false` when there
    /// is none.
    pub fn complete(&mut self, length: u32) -> bool {
        let index = self.shared.load16(self.available + available::INDEX, Ordering::Acquire);
        if index == self.next_available {
            return false;
        }
        let place = usize::from(self.next_available % self.choice.entries());
        let id = self.shared.load16(self.available + available::RING + 2 * place, Ordering::Relaxed);
        self.next_available = self.next_available.wrapping_add(1);
        self.write_used(0, u32::from(id), length);
        self.move_used(1);
        true
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
        for byte in 0..64 {
            let choice = Choice::from_byte(byte);

            assert!(choice.layout().shared_bytes() <= SHARED_BYTES, "{choice:?}");
            assert_eq!(choice.byte(), byte);
        }
    }
}
