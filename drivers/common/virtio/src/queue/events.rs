//! Buffers that the device fills when it has something to say, and gets back: a queue of events (virtio-scsi's event
//! queue, 5.6.6.3).
//!
//! ```text
//!   new, reset     every buffer is the driver's, and the ring is empty
//!   publish        the driver's buffers are blanked, and the device has them all
//!   the device     fills some, and uses them
//!   pop_event      copies what it wrote, and the buffer is the driver's
//!   publish        …
//! ```
//!
//! A buffer takes one descriptor of the ring: its number is the descriptor of a split ring, and the buffer id of a packed
//! one. There are no tables, and nothing is in the driver's own memory but a bit for each buffer.

use super::layout::{LINE, LayoutError, Part, RingParts, RingShape, end_of};
use super::ring::{Buffer, Claim, DirectChain, Ring};
use super::{DeviceFault, Notify, QueueAreas, RingFormat};
use crate::memory::SharedMemory;
use crate::spec::Features;
use crate::spec::ring::DescriptorFlags;

/// Most buffers: one bit each in a word.
const MAX_BUFFERS: u16 = u64::BITS as u16;

/// What a queue of events is like, and how much shared memory it has.
///
/// ```text
///   ┌───────────────────────┬───────────┐
///   │ ring: split or packed │ buffers   │
///   │ (three areas, 2.6)    │ 0..n      │
///   └───────────────────────┴───────────┘
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventLayout {
    shape: RingShape,
    buffers: u16,
    buffer_bytes: u16,
}

impl EventLayout {
    /// For a ring of so many entries, of which `buffers` are used (64 at most), with `buffer_bytes` each: of
    /// virtio-scsi at least `event_info_size` (5.6.4).
    ///
    /// # Errors
    /// The numbers break a rule of the specification or of this crate.
    pub const fn new(
        ring: RingFormat,
        size: u16,
        buffers: u16,
        buffer_bytes: u16,
    ) -> Result<Self, LayoutError> {
        let shape = match RingShape::new(ring, size) {
            Ok(shape) => shape,
            Err(error) => return Err(error),
        };
        if buffers == 0 || buffers > size || buffers > MAX_BUFFERS || buffer_bytes == 0 {
            return Err(LayoutError::Events { buffers, bytes: buffer_bytes, size });
        }
        Ok(Self { shape, buffers, buffer_bytes })
    }

    /// Bytes of shared memory, when it starts at a multiple of [`alignment`](Self::alignment).
    pub const fn shared_bytes(&self) -> usize {
        let [descriptors, driver, device] = self.shape.parts();
        end_of(&[descriptors, driver, device, self.buffer_part()])
    }

    /// What the device address of the memory has to be a multiple of.
    pub const fn alignment(&self) -> usize {
        self.shape.parts()[0].align
    }

    /// From one buffer to the next one.
    const fn stride(&self) -> usize {
        (self.buffer_bytes as usize).next_multiple_of(16)
    }

    const fn buffer_part(&self) -> Part {
        Part { bytes: self.buffers as usize * self.stride(), align: LINE }
    }

    fn carve<M: SharedMemory>(&self, mut memory: M) -> Option<(RingParts<M>, M)> {
        let ring = self.shape.carve(&mut memory)?;
        let Part { bytes, align } = self.buffer_part();
        Some((ring, memory.split(bytes, align)?))
    }
}

/// A queue of events, through a ring of the kind `R`.
///
/// Nothing here locks or waits: whoever has `&mut` to the queue has its lock.
#[derive(Debug)]
pub struct EventQueue<R: Ring> {
    ring: R,
    layout: EventLayout,
    buffers: R::Memory,
    /// Buffers that the device has, one bit each; it gets the others with the next [`publish`](Self::publish).
    with_device: u64,
    broken: bool,
}

impl<R: Ring> EventQueue<R> {
    /// A queue in `memory`, ready for a device that was reset and has accepted `features`. The device gets the buffers
    /// with the first [`publish`](Self::publish), which has its place behind DRIVER_OK: a packed ring is all zeroes when the
    /// device is told where it is (2.8.13).
    ///
    /// # Errors
    /// The memory is not as the layout says, the layout is one of another kind of ring, or VIRTIO_F_IN_ORDER was
    /// accepted, which these queues do not know.
    pub fn new(memory: R::Memory, layout: EventLayout, features: Features) -> Result<Self, LayoutError> {
        if features.contains(Features::IN_ORDER) {
            return Err(LayoutError::InOrder);
        }
        let (ring, buffers) = layout.carve(memory).ok_or(LayoutError::TooLittleMemory)?;
        let ring = R::new(layout.shape, ring, features)?;
        let mut queue = Self { ring, layout, buffers, with_device: 0, broken: false };
        queue.reset();
        Ok(queue)
    }

    /// Empties the ring, and takes every buffer back, as [`new`](Self::new) left them. The device, or the queue, must be in
    /// reset. What the device wrote and was not taken is lost.
    pub fn reset(&mut self) {
        self.ring.reset();
        self.with_device = 0;
        self.broken = false;
    }

    /// Gives the device no buffer, and takes no event from it, until it is [`open`](Self::open) or
    /// [`reset`](Self::reset): the device does not use the queue, or is about to be reset.
    pub fn close(&mut self) {
        self.broken = true;
    }

    /// The end of [`close`](Self::close), which a reset must have come before.
    pub fn open(&mut self) {
        debug_assert!(!self.broken || self.with_device == 0, "buffers of before would be the device's again");
        self.broken = false;
    }

    /// Where the device finds the ring.
    pub fn areas(&self) -> QueueAreas {
        self.ring.areas()
    }

    /// Entries of the ring.
    pub fn size(&self) -> u16 {
        self.layout.shape.size
    }

    /// Buffers that the device has.
    pub fn posted(&self) -> u16 {
        self.with_device.count_ones() as u16
    }

    /// The first `N` bytes of the next event, zeroes behind the end of its buffer. The device gets the buffer again with
    /// the next [`publish`](Self::publish), so there are no more events than buffers until then, whatever it does.
    ///
    /// What the device did not write reads as zero: buffers are blank when it gets them. How much it says it wrote is not
    /// looked at, as with [`Used::length`](super::Used::length): Linux's vhost-scsi says 0 for every event
    /// (drivers/vhost/scsi.c, `vhost_scsi_do_evt_work`).
    ///
    /// # Errors
    /// The device wrote something it must not; the queue is broken from now on.
    pub fn pop_event<const N: usize>(&mut self) -> Result<Option<[u8; N]>, DeviceFault> {
        if self.broken {
            return Ok(None);
        }
        let taken = self.take_used();
        // Looking at the same entry again would find the same lie for ever.
        self.broken = taken.is_err();
        let Some(id) = taken? else {
            return Ok(None);
        };
        let mut event = [0; N];
        let bytes = N.min(usize::from(self.layout.buffer_bytes));
        self.buffers.read_bytes(self.buffer_at(id), &mut event[..bytes]);
        Ok(Some(event))
    }

    /// Takes the next buffer from the device that it claims to have used.
    fn take_used(&mut self) -> Result<Option<u16>, DeviceFault> {
        let Some(Claim { id, .. }) = self.ring.peek(self.posted())? else {
            return Ok(None);
        };
        let size = self.layout.buffers;
        if id >= u32::from(size) {
            return Err(DeviceFault::UsedIdOutOfRange { id, size });
        }
        if self.with_device & 1 << id == 0 {
            return Err(DeviceFault::UsedIdNotInFlight { id });
        }
        self.with_device &= !(1 << id);
        self.ring.advance(1);
        Ok(Some(id as u16))
    }

    /// Blanks a buffer and puts it into the ring.
    fn post(&mut self, id: u16) {
        let bytes = self.layout.buffer_bytes;
        if let Some(buffer) = self.buffers.block(self.buffer_at(id), self.layout.stride()) {
            buffer.fill(usize::from(bytes), 0);
        }
        let address = self.buffers.device_address() + self.buffer_at(id) as u64;
        let length = u32::from(bytes);
        self.ring.write_direct(id, 0, id, 0, Buffer { address, length, flags: DescriptorFlags::WRITE });
        self.ring.push_direct(id, DirectChain { first_length: length, readable: 0, count: 1 });
    }

    /// Offset of a buffer.
    fn buffer_at(&self, id: u16) -> usize {
        usize::from(id) * self.layout.stride()
    }

    /// Gives the device every buffer that it does not have, and tells whether it has to be notified.
    pub fn publish(&mut self) -> Notify {
        let mut missing = !self.with_device & u64::MAX >> (MAX_BUFFERS - self.layout.buffers);
        if self.broken || missing == 0 {
            return Notify::Suppressed;
        }
        self.with_device |= missing;
        while missing != 0 {
            self.post(missing.trailing_zeros() as u16);
            missing &= missing - 1;
        }
        self.ring.publish()
    }

    /// Asks the device for no interrupts. It may send some all the same.
    pub fn disable_interrupts(&mut self) {
        self.ring.disable_interrupts();
    }

    /// Asks the device for an interrupt with the next event. `true`: there is one already, for which no interrupt will
    /// come.
    #[must_use = "events that came before the interrupt was asked for are announced by nobody"]
    pub fn enable_interrupts(&mut self) -> bool {
        self.ring.enable_interrupts() && !self.broken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::tests::leak;
    use crate::queue::ring::{AnyRing, PackedRing};
    use crate::spec::ring::used;

    /// Where memory lies for the device: at the start of a page.
    const START: u64 = 0x1000;
    const KINDS: [RingFormat; 3] = [RingFormat::Split, RingFormat::LegacySplit, RingFormat::Packed];

    #[test]
    fn what_is_carved_is_as_much_as_was_computed() {
        for ring in KINDS {
            for (size, buffers, bytes) in [(8, 8, 16), (128, 64, 20), (1, 1, 1)] {
                let layout = EventLayout::new(ring, size, buffers, bytes).expect("the numbers are possible");
                let shared = layout.shared_bytes();

                let (_, parts) =
                    layout.carve(leak(shared, START)).expect("there is as much as was asked for");

                assert_eq!(parts.device_address() + parts.len() as u64, START + shared as u64);
                assert!(layout.carve(leak(shared - 1, START)).is_none());
            }
        }
    }

    #[test]
    fn a_queue_of_8_events_of_virtio_scsi_costs_less_than_a_page() {
        let bytes = |ring| EventLayout::new(ring, 8, 8, 16).map(|layout| layout.shared_bytes());

        assert_eq!(bytes(RingFormat::Split), Ok(512));
        assert_eq!(bytes(RingFormat::Packed), Ok(384));
    }

    #[test]
    fn no_used_entry_lies_on_two_pages_wherever_the_memory_begins() {
        let layout = EventLayout::new(RingFormat::Split, 1024, 64, 16).expect("the numbers are possible");
        for before in (64..=4096).step_by(64) {
            let memory = leak(layout.shared_bytes(), START + before);

            let queue = EventQueue::<AnyRing<_>>::new(memory, layout, Features::VERSION_1)
                .expect("there is enough memory");

            let entries = queue.areas().device_area + used::RING as u64;
            let torn = (0..1024).map(|entry| entries + 8 * entry).find(|entry| entry % 4096 > 4096 - 8);
            assert_eq!(torn, None, "entries from {entries:#x} on, {before} bytes into a page");
        }
    }

    #[test]
    fn a_legacy_ring_lies_where_2_7_2_says() {
        let layout =
            EventLayout::new(RingFormat::LegacySplit, 128, 64, 16).expect("the numbers are possible");
        let memory = leak(layout.shared_bytes(), START);

        let queue =
            EventQueue::<AnyRing<_>>::new(memory, layout, Features::empty()).expect("there is enough memory");

        let QueueAreas { descriptor_area, driver_area, device_area } = queue.areas();
        assert_eq!(layout.alignment(), 4096);
        assert_eq!((descriptor_area, driver_area, device_area), (START, START + 128 * 16, START + 4096));
    }

    #[test]
    fn numbers_that_break_the_rules_are_refused() {
        use RingFormat::{Packed, Split};
        let events = |buffers, bytes, size| LayoutError::Events { buffers, bytes, size };
        let table = [
            ((Split, 0, 1, 16), LayoutError::QueueSize(0)),
            ((Split, 100, 8, 16), LayoutError::QueueSize(100)),
            ((Packed, 32769, 8, 16), LayoutError::QueueSize(32769)),
            ((Split, 8, 9, 16), events(9, 16, 8)),
            ((Split, 8, 0, 16), events(0, 16, 8)),
            ((Packed, 100, 65, 16), events(65, 16, 100)),
            ((Split, 8, 8, 0), events(8, 0, 8)),
        ];
        for ((ring, size, buffers, bytes), expected) in table {
            assert_eq!(EventLayout::new(ring, size, buffers, bytes).err(), Some(expected));
        }
    }

    #[test]
    fn a_queue_that_cannot_be_as_it_is_asked_for_is_refused() {
        let layout = EventLayout::new(RingFormat::Split, 8, 8, 16).expect("the numbers are possible");
        let memory = || leak(layout.shared_bytes(), START);
        let in_order = Features::VERSION_1 | Features::IN_ORDER;

        let too_little = EventQueue::<AnyRing<_>>::new(leak(256, START), layout, Features::VERSION_1);
        let other_ring = EventQueue::<PackedRing<_>>::new(memory(), layout, Features::VERSION_1);
        let in_order = EventQueue::<AnyRing<_>>::new(memory(), layout, in_order);

        assert_eq!(too_little.err(), Some(LayoutError::TooLittleMemory));
        assert_eq!(other_ring.err(), Some(LayoutError::OtherRing(RingFormat::Split)));
        assert_eq!(in_order.err(), Some(LayoutError::InOrder));
    }
}
