//! Fuzz targets of the virtio crate, one module each, and the queue as they see it.
//!
//! A target is a function of bytes that panics when the driver broke a promise. The bytes are decoded into operations
//! ([`operations`]), and operations can be encoded again: so seeds are written by code ([`seeds`]), not by hand.
//!
//! Everything that names the queue's types is in this file, and its format in memory in [`device_side`]; what has to be
//! true of requests is in [`in_flight`]. The targets use [`Queue`].
#![forbid(unsafe_code)]

pub mod call_sequences;
pub mod capabilities;
pub mod device_side;
pub mod in_flight;
pub mod operations;
pub mod seeds;
pub mod used_ring;

use std::fmt;
use std::sync::atomic::Ordering;

use device_side::DeviceSide;
use fake_device::Ram;
use virtio::memory::{Region, Segment, SharedMemory};
use virtio::queue::{
    AnyRing, DeviceFault, Direction, Format, Layout, LayoutError, Notify, QueueAreas, QueueOptions, Reason,
    RequestQueue, RingFormat, Slot, Ticket,
};
use virtio::spec::Features;

/// virtio-blk's requests, with room for two data segments in a slot's own table.
#[derive(Debug)]
pub struct Blk;

impl Format for Blk {
    type Header = [u8; 16];
    const RESPONSE_BYTES: u16 = 1;
    const RESPONSE_BEFORE_DATA_IN: bool = false;
    const INLINE_SEGMENTS: u16 = INLINE_SEGMENTS;
}

/// virtio-scsi's, likewise.
#[derive(Debug)]
pub struct Scsi;

impl Format for Scsi {
    type Header = [u8; 51];
    const RESPONSE_BYTES: u16 = 108;
    const RESPONSE_BEFORE_DATA_IN: bool = true;
    const INLINE_SEGMENTS: u16 = INLINE_SEGMENTS;
}

const INLINE_SEGMENTS: u16 = 2;

/// Entries of the smallest ring that the layouts fit, and of the largest that is tried: the larger, the longer it takes
/// until anything is full.
const SIZES: [u16; 4] = [4, 8, 16, 32];

/// The same of packed rings, which may have any size.
const PACKED_SIZES: [u16; 4] = [3, 7, 13, 32];

/// Longest header.
const HEADER_BYTES: usize = 64;

/// Which queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// virtio-scsi's requests, not virtio-blk's
    pub scsi: bool,
    /// VIRTIO_F_EVENT_IDX
    pub event_idx: bool,
    /// Place in the list of sizes
    pub size: u8,
    /// How many large tables there are
    pub large_tables: u8,
    /// VIRTIO_F_RING_PACKED
    pub packed: bool,
    /// No VIRTIO_F_INDIRECT_DESC
    pub direct: bool,
    /// VIRTIO_F_IN_ORDER
    pub in_order: bool,
    /// The ring lies as a legacy device wants it
    pub legacy: bool,
    /// Fewer slots than the ring has entries
    pub few_slots: bool,
}

impl Choice {
    /// Every number is a choice; some bits of it have no meaning.
    pub fn from_number(number: u16) -> Self {
        let bit = |bit: u16| number >> bit & 1 != 0;
        Self {
            scsi: bit(0),
            event_idx: bit(1),
            size: (number >> 2 & 3) as u8,
            large_tables: (number >> 4 & 3) as u8,
            packed: bit(6),
            direct: bit(7),
            in_order: bit(8),
            legacy: bit(9),
            few_slots: bit(10),
        }
        .possible()
    }

    /// The number for a choice.
    pub fn number(self) -> u16 {
        let bits = [
            (self.scsi, 0),
            (self.event_idx, 1),
            (self.packed, 6),
            (self.direct, 7),
            (self.in_order, 8),
            (self.legacy, 9),
            (self.few_slots, 10),
        ];
        let bits = bits.iter().map(|(on, bit)| u16::from(*on) << bit).sum::<u16>();
        bits | u16::from(self.size) << 2 | u16::from(self.large_tables) << 4
    }

    /// Without what excludes each other: a legacy device's features end with bit 31, and descriptors can be taken in ring
    /// order only where each has its slot.
    fn possible(self) -> Self {
        let legacy = self.legacy && !self.packed && !self.in_order;
        Self { legacy, few_slots: self.few_slots && !self.in_order, ..self }
    }

    /// Entries of the ring.
    pub fn entries(self) -> u16 {
        if self.packed { PACKED_SIZES[usize::from(self.size)] } else { SIZES[usize::from(self.size)] }
    }

    /// Most requests at once.
    pub fn slots(self) -> u16 {
        if self.few_slots { self.entries().div_ceil(2) } else { self.entries() }
    }

    /// Descriptors for them: a split ring's belong to the slots.
    pub fn descriptors(self) -> u16 {
        if self.packed { self.entries() } else { self.slots() }
    }

    /// Most data segments of a request.
    pub fn max_segments(self) -> usize {
        usize::from(self.entries()) - 2
    }

    /// Large tables that there are.
    pub fn tables(self) -> usize {
        if self.direct || !self.is_long(self.max_segments()) { 0 } else { usize::from(self.large_tables) }
    }

    /// What a device has to offer for it.
    pub fn features(self) -> Features {
        let mut features = Features::empty();
        features.set(Features::VERSION_1, !self.legacy);
        features.set(Features::RING_EVENT_IDX, self.event_idx);
        features.set(Features::RING_INDIRECT_DESC, !self.direct);
        features.set(Features::RING_PACKED, self.packed);
        features.set(Features::IN_ORDER, self.in_order);
        features
    }

    fn layout<F: Format>(self) -> Result<Layout<F>, LayoutError> {
        Layout::new(QueueOptions {
            ring: match (self.packed, self.legacy) {
                (true, _) => RingFormat::Packed,
                (false, true) => RingFormat::LegacySplit,
                (false, false) => RingFormat::Split,
            },
            size: self.entries(),
            slots: self.slots(),
            max_segments: self.entries() - 2,
            indirect: !self.direct,
            large_tables: self.large_tables.into(),
        })
    }

    /// Whether so many segments do not fit into a slot's own table.
    pub fn is_long(self, segments: usize) -> bool {
        segments > usize::from(INLINE_SEGMENTS)
    }

    /// Bytes of the header.
    pub fn header_bytes(self) -> u32 {
        if self.scsi { 51 } else { 16 }
    }

    /// Bytes of the response.
    pub fn response_bytes(self) -> u32 {
        u32::from(if self.scsi { Scsi::RESPONSE_BYTES } else { Blk::RESPONSE_BYTES })
    }

    /// Bytes that the device may write for a request with so many bytes of data.
    pub fn writable(self, direction: Direction, data_bytes: u32) -> u32 {
        let data = if direction == Direction::FromDevice { data_bytes } else { 0 };
        self.response_bytes() + data
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

type Requests<F> = RequestQueue<F, AnyRing<Region>, u32, Vec<Slot<u32>>, true>;

/// A queue of either format.
enum Either {
    Blk(Requests<Blk>),
    Scsi(Requests<Scsi>),
}

macro_rules! either {
    ($either:expr, $queue:ident => $call:expr) => {
        match $either {
            Either::Blk($queue) => $call,
            Either::Scsi($queue) => $call,
        }
    };
}

/// A queue, and the shared memory as the device sees it.
pub struct Queue {
    queue: Either,
    /// The device that the target plays; of no use where a fake device serves the queue.
    pub device: DeviceSide,
}

impl fmt::Debug for Queue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Queue").field("device", &self.device).finish_non_exhaustive()
    }
}

fn requests<F: Format>(choice: Choice, memory: &Region) -> (Requests<F>, Region) {
    let layout = choice.layout::<F>().expect("the layout is possible");
    let view = || memory.view(0, layout.shared_bytes()).expect("the memory is long enough");
    let shared = view();
    for at in (0..shared.len() / 8 * 8).step_by(8) {
        shared.store64(at, 0, Ordering::Relaxed);
    }
    let mut slots = Vec::new();
    slots.resize_with(layout.slots(), Slot::default);
    let queue = RequestQueue::new(view(), layout, slots, choice.features());
    (queue.expect("memory and slots are enough"), shared)
}

impl Queue {
    /// A queue in `memory`, of which it zeroes what it needs.
    pub fn new(choice: Choice, memory: &Region) -> Self {
        let (queue, shared) = if choice.scsi {
            let (queue, shared) = requests(choice, memory);
            (Either::Scsi(queue), shared)
        } else {
            let (queue, shared) = requests(choice, memory);
            (Either::Blk(queue), shared)
        };
        let areas = either!(&queue, queue => queue.areas());
        Self { queue, device: DeviceSide::new(choice, shared, areas) }
    }

    /// Where the device finds the rings.
    pub fn areas(&self) -> QueueAreas {
        either!(&self.queue, queue => queue.areas())
    }

    /// Submits a request; its header is the first bytes of `header`, as many as it has.
    ///
    /// # Errors
    /// The request is not taken.
    pub fn submit(
        &mut self,
        token: u32,
        header: &[u8; HEADER_BYTES],
        direction: Direction,
        segments: &[Segment],
    ) -> Result<Ticket, Reason> {
        let submitted = match &mut self.queue {
            Either::Blk(queue) => queue.submit(token, &first(header), direction, segments),
            Either::Scsi(queue) => queue.submit(token, &first(header), direction, segments),
        };
        submitted.map_err(|rejected| {
            assert_eq!(rejected.token, token, "the token comes back");
            rejected.reason
        })
    }

    /// Shows the device what was submitted.
    pub fn publish(&mut self) -> Notify {
        either!(&mut self.queue, queue => queue.publish())
    }

    /// Takes a request that is done.
    pub fn pop(&mut self) -> Popped {
        either!(&mut self.queue, queue => match queue.pop_used() {
            Ok(None) => Popped::Nothing,
            Ok(Some(used)) => {
                let mut response = [0];
                used.response().read_into(0, &mut response);
                let length = used.length();
                // A slot's next answer is not to be taken for this one.
                used.response().spoil(1);
                Popped::Done { length, response: response[0], token: used.take() }
            }
            Err(fault) => Popped::Fault(fault),
        })
    }

    /// The request of a ticket.
    pub fn get(&self, ticket: Ticket) -> Option<u32> {
        either!(&self.queue, queue => queue.get(ticket).copied())
    }

    /// Asks for interrupts; `true` when something is waiting.
    pub fn enable_interrupts(&mut self) -> bool {
        either!(&mut self.queue, queue => queue.enable_interrupts())
    }

    /// Asks for none.
    pub fn disable_interrupts(&mut self) {
        either!(&mut self.queue, queue => queue.disable_interrupts());
    }

    /// Takes back what the device has, after it was reset.
    pub fn take_outstanding(&mut self) -> Option<u32> {
        either!(&mut self.queue, queue => queue.take_outstanding())
    }

    /// Starts over, with a device that was reset.
    pub fn reset(&mut self) {
        either!(&mut self.queue, queue => queue.reset());
        self.device.reset();
    }

    /// Requests that the device has.
    pub fn in_flight(&self) -> usize {
        either!(&self.queue, queue => queue.in_flight())
    }

    /// Whether every request is refused.
    pub fn is_full(&self) -> bool {
        either!(&self.queue, queue => queue.is_full())
    }
}

/// A header's bytes for [`Queue::submit`].
pub fn header(bytes: &[u8]) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..bytes.len()].copy_from_slice(bytes);
    header
}

fn first<const N: usize>(header: &[u8; HEADER_BYTES]) -> [u8; N] {
    *header.first_chunk().expect("no header is longer")
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
    fn every_choice_fits_the_memory_and_is_its_number_again() {
        for number in 0..2048 {
            let choice = Choice::from_number(number);

            let layout = choice.layout::<Scsi>().expect("the layout is possible");
            assert!(layout.shared_bytes() <= SHARED_BYTES, "{choice:?}");
            assert_eq!(Choice::from_number(choice.number()), choice);
        }
    }
}
