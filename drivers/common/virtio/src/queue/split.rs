//! The split virtqueue, driver side (2.7.13 and 2.7.14).

use core::marker::PhantomData;
use core::sync::atomic::Ordering;

use super::event::need_event;
use super::layout::{FIXED_ENTRIES, Layout, LayoutError, table_bytes};
use super::slot::{NONE, Slot};
use super::{DeviceFault, Direction, Notify, QueueAreas, Reason, Rejected};
use crate::memory::{Segment, SharedMemory};
use crate::spec::ring::{AVAILABLE_NO_INTERRUPT, DescriptorFlags, USED_NO_NOTIFY, available, used};

/// Entry of a table that is the header.
const HEADER: u16 = 0;
/// Entry of a table that is the response.
const RESPONSE: u16 = 1;

/// A queue of requests. `T` is what the driver wants back with a completed request; `S` holds the slots.
///
/// Nothing here locks or waits: whoever has `&mut` to the queue has its lock.
#[derive(Debug)]
pub struct RequestQueue<M, T, S> {
    memory: M,
    layout: Layout,
    slots: S,
    event_idx: bool,
    /// First free slot, or `NONE`.
    free: u16,
    /// Large tables that are free, one bit each.
    free_tables: u64,
    in_flight: u16,
    /// Next entry of the available ring to fill; wraps at 2^16.
    available: u16,
    /// What the device was told of `available`.
    published: u16,
    /// Next entry of the used ring to read; wraps at 2^16.
    used: u16,
    broken: bool,
    token: PhantomData<T>,
}

impl<M: SharedMemory, T, S: AsRef<[Slot<T>]> + AsMut<[Slot<T>]>> RequestQueue<M, T, S> {
    /// A queue in `memory`, ready for a device that was reset.
    ///
    /// # Errors
    /// Memory or slots are fewer than the layout says.
    pub fn new(memory: M, layout: Layout, slots: S, event_idx: bool) -> Result<Self, LayoutError> {
        if memory.len() < layout.shared_bytes() || slots.as_ref().len() != layout.slots() {
            return Err(LayoutError::TooLittleMemory);
        }
        let mut queue = Self {
            memory,
            layout,
            slots,
            event_idx,
            free: NONE,
            free_tables: 0,
            in_flight: 0,
            available: 0,
            published: 0,
            used: 0,
            broken: false,
            token: PhantomData,
        };
        queue.reset();
        Ok(queue)
    }

    /// Empties the ring and prepares every slot. The device must be in reset, and every request taken back
    /// ([`take_outstanding`](Self::take_outstanding)).
    pub fn reset(&mut self) {
        debug_assert_eq!(self.in_flight, 0, "requests would be lost");
        for word in (self.layout.available..self.layout.headers).step_by(2) {
            self.memory.store16(word, 0, Ordering::Relaxed);
        }
        self.free = NONE;
        for slot in (0..self.layout.size).rev() {
            self.prepare(slot);
            self.slots.as_mut()[usize::from(slot)] = Slot { next_free: self.free, ..Slot::default() };
            self.free = slot;
        }
        let tables = u32::from(self.layout.large_tables);
        self.free_tables = u64::MAX.checked_shr(u64::BITS - tables).unwrap_or(0);
        self.in_flight = 0;
        self.available = 0;
        self.published = 0;
        self.used = 0;
        self.broken = false;
    }

    /// Where the device finds the rings.
    pub fn areas(&self) -> QueueAreas {
        let base = self.memory.device_address();
        QueueAreas {
            descriptor_area: base,
            driver_area: base + self.layout.available as u64,
            device_area: base + self.layout.used as u64,
        }
    }

    /// Entries of the ring.
    pub fn size(&self) -> u16 {
        self.layout.size
    }

    /// Requests that the device has.
    pub fn in_flight(&self) -> usize {
        usize::from(self.in_flight)
    }

    /// Whether the next request is refused whatever it needs. One with many segments may be refused before that.
    pub fn is_full(&self) -> bool {
        self.free == NONE
    }

    /// Takes a free slot, and a large table where the request needs one. Nothing happens unless the reservation is
    /// committed.
    ///
    /// # Errors
    /// There is none, the request is too long, or the device is not to be trusted any more.
    #[inline]
    pub fn reserve(&mut self, segments: usize) -> Result<Reservation<'_, M, T, S>, Reason> {
        if self.broken {
            return Err(Reason::Broken);
        }
        if segments > usize::from(self.layout.max_segments) {
            return Err(Reason::TooManySegments);
        }
        if self.free == NONE {
            return Err(Reason::Full);
        }
        let large = if segments <= usize::from(self.layout.shape.inline_segments) {
            NONE
        } else if self.free_tables == 0 {
            return Err(Reason::Full);
        } else {
            self.free_tables.trailing_zeros() as u16
        };
        let slot = self.free;
        Ok(Reservation { segments, slot, large, queue: self })
    }

    /// Puts a request into the ring; the device sees it with the next [`publish`](Self::publish).
    ///
    /// # Errors
    /// The token comes back, with the reason.
    pub fn submit(
        &mut self,
        token: T,
        header: &[u8],
        direction: Direction,
        segments: impl ExactSizeIterator<Item = Segment>,
    ) -> Result<(), Rejected<T>> {
        match self.reserve(segments.len()) {
            Ok(place) => {
                place.fill(header, direction, segments).commit(token);
                Ok(())
            }
            Err(reason) => Err(Rejected { token, reason }),
        }
    }

    /// Shows the device everything submitted since the last time, and tells whether it has to be notified.
    #[inline]
    pub fn publish(&mut self) -> Notify {
        let old = core::mem::replace(&mut self.published, self.available);
        let index = self.layout.available + available::INDEX;
        // Release: the entries and tables must be visible before the index that covers them (2.7.13.3.1).
        self.memory.store16(index, self.available, Ordering::Release);
        // The index must be visible before the device's wish is read. Otherwise the device can look at the old index and
        // go to sleep while we read its old wish not to be told, and the request stays in the ring (2.7.13.4.1).
        self.memory.fence(Ordering::SeqCst);
        let notify = if self.event_idx {
            let event = self.memory.load16(self.layout.avail_event(), Ordering::Relaxed);
            need_event(event, self.available, old)
        } else {
            let flags = self.memory.load16(self.layout.used + used::FLAGS, Ordering::Relaxed);
            flags & USED_NO_NOTIFY == 0
        };
        if notify { Notify::Device } else { Notify::Suppressed }
    }

    /// The next request that the device is done with.
    ///
    /// Guaranteed of a `Used`: its slot was in flight, and the length lies within what the device was allowed to write.
    ///
    /// # Errors
    /// The device wrote something it must not; the queue is broken from now on.
    #[inline]
    pub fn pop_used(&mut self) -> Result<Option<Used<'_, M, T, S>>, DeviceFault> {
        if self.broken {
            return Ok(None);
        }
        // Acquire: the entry, the response and the data are read after the index that covers them.
        let index = self.memory.load16(self.layout.used + used::INDEX, Ordering::Acquire);
        let waiting = index.wrapping_sub(self.used);
        if waiting == 0 {
            return Ok(None);
        }
        match self.check_used(index, waiting) {
            Ok((slot, length)) => Ok(Some(Used { slot, length, queue: self })),
            Err(fault) => {
                // Looking at the same entry again would find the same lie for ever.
                self.broken = true;
                Err(fault)
            }
        }
    }

    fn check_used(&self, index: u16, waiting: u16) -> Result<(u16, u32), DeviceFault> {
        if waiting > self.in_flight {
            return Err(DeviceFault::UsedIndexJumped {
                index,
                expected: self.used,
                in_flight: self.in_flight,
            });
        }
        let entry = self.layout.used + used::RING + 8 * usize::from(self.used & (self.layout.size - 1));
        let id = self.memory.load32(entry, Ordering::Relaxed);
        let length = self.memory.load32(entry + 4, Ordering::Relaxed);
        let size = self.layout.size;
        let Some(slot) = self.slots.as_ref().get(id as usize) else {
            return Err(DeviceFault::UsedIdOutOfRange { id, size });
        };
        if slot.token.is_none() {
            return Err(DeviceFault::UsedIdNotInFlight { id });
        }
        let id = id as u16;
        if length > slot.claimable {
            return Err(DeviceFault::UsedLengthTooLong { id, length, writable: slot.writable });
        }
        Ok((id, length.min(slot.writable)))
    }

    /// Asks the device for no interrupts. It may send some all the same.
    pub fn disable_interrupts(&mut self) {
        // With EVENT_IDX the used_event that is left behind by the drain suppresses already.
        if !self.event_idx {
            let flags = self.layout.available + available::FLAGS;
            self.memory.store16(flags, AVAILABLE_NO_INTERRUPT, Ordering::Relaxed);
        }
    }

    /// Asks the device for an interrupt with the next used buffer. `true`: there is one already, for which no
    /// interrupt will come.
    #[must_use = "used buffers that came before the interrupt was asked for are announced by nobody"]
    pub fn enable_interrupts(&mut self) -> bool {
        if self.event_idx {
            self.memory.store16(self.layout.used_event(), self.used, Ordering::Relaxed);
        } else {
            self.memory.store16(self.layout.available + available::FLAGS, 0, Ordering::Relaxed);
        }
        // Our wish must be visible before the index is read. Otherwise the device can read the old wish while we read the
        // old index, and neither an interrupt nor this drain takes the buffer (2.7.14).
        self.memory.fence(Ordering::SeqCst);
        !self.broken && self.memory.load16(self.layout.used + used::INDEX, Ordering::Acquire) != self.used
    }

    /// Takes back a request that the device has. Only when the device was reset or is gone.
    pub fn take_outstanding(&mut self) -> Option<T> {
        if self.in_flight == 0 {
            return None;
        }
        let token = self.slots.as_mut().iter_mut().find_map(|slot| slot.token.take())?;
        self.in_flight -= 1;
        Some(token)
    }

    /// Writes what never changes of a slot: its head descriptor, and header and response in its own table.
    fn prepare(&self, slot: u16) {
        self.point_at_inline_table(slot);
        self.write_fixed_entries(self.layout.inline_table(slot), slot);
        self.spoil_response(slot, usize::from(self.layout.shape.response_bytes));
    }

    /// In the widths that the response is read in.
    #[inline]
    fn spoil_response(&self, slot: u16, bytes: usize) {
        let bytes = bytes.min(usize::from(self.layout.shape.response_bytes));
        let start = self.layout.response(slot);
        let words = if start.is_multiple_of(4) { bytes / 4 } else { 0 };
        for word in 0..words {
            self.memory.store32(start + 4 * word, u32::MAX, Ordering::Relaxed);
        }
        for byte in 4 * words..bytes {
            self.memory.store8(start + byte, u8::MAX, Ordering::Relaxed);
        }
    }

    fn point_at_inline_table(&self, slot: u16) {
        let table = self.layout.inline_table(slot);
        self.point_at(slot, table, table_bytes(self.layout.shape.inline_segments));
    }

    fn point_at(&self, slot: u16, table: usize, bytes: usize) {
        let at = self.layout.descriptor(slot);
        self.write_descriptor(at, self.address(table), bytes as u32, DescriptorFlags::INDIRECT, 0);
    }

    fn write_fixed_entries(&self, table: usize, slot: u16) {
        let header = self.address(self.layout.header(slot));
        let header_bytes = u32::from(self.layout.shape.header_bytes);
        self.write_descriptor(table, header, header_bytes, DescriptorFlags::NEXT, RESPONSE);
        let response = self.address(self.layout.response(slot));
        let response_bytes = u32::from(self.layout.shape.response_bytes);
        let at = table + crate::spec::ring::DESCRIPTOR_BYTES;
        self.write_descriptor(at, response, response_bytes, DescriptorFlags::WRITE, 0);
    }

    fn address(&self, offset: usize) -> u64 {
        self.memory.device_address() + offset as u64
    }

    #[inline]
    fn write_descriptor(&self, at: usize, address: u64, length: u32, flags: DescriptorFlags, next: u16) {
        self.memory.store64(at, address, Ordering::Relaxed);
        self.write_link(at, length, flags, next);
    }

    /// Everything of a descriptor but its address.
    #[inline]
    fn write_link(&self, at: usize, length: u32, flags: DescriptorFlags, next: u16) {
        let word = u64::from(length) | u64::from(flags.bits()) << 32 | u64::from(next) << 48;
        self.memory.store64(at + 8, word, Ordering::Relaxed);
    }
}

/// A slot about to be filled.
#[derive(Debug)]
#[must_use = "a reservation that is not filled and committed submits nothing"]
pub struct Reservation<'a, M, T, S> {
    queue: &'a mut RequestQueue<M, T, S>,
    segments: usize,
    slot: u16,
    large: u16,
}

/// A slot whose chain is written.
#[derive(Debug)]
#[must_use = "a chain that is not committed is not submitted"]
pub struct Filled<'a, M, T, S> {
    place: Reservation<'a, M, T, S>,
    writable: u32,
    claimable: u32,
}

impl<'a, M: SharedMemory, T, S: AsRef<[Slot<T>]> + AsMut<[Slot<T>]>> Reservation<'a, M, T, S> {
    /// Writes header and data descriptors. `segments` must be as many as were reserved; more are left out.
    #[inline]
    pub fn fill(
        self,
        header: &[u8],
        direction: Direction,
        segments: impl ExactSizeIterator<Item = Segment>,
    ) -> Filled<'a, M, T, S> {
        debug_assert_eq!(segments.len(), self.segments, "as many as reserved");
        let queue = &*self.queue;
        let layout = &queue.layout;
        debug_assert_eq!(header.len(), usize::from(layout.shape.header_bytes), "a whole header");
        queue.memory.write_bytes(layout.header(self.slot), header);

        let table = if self.large == NONE {
            layout.inline_table(self.slot)
        } else {
            let table = layout.large_table(self.large);
            queue.write_fixed_entries(table, self.slot);
            table
        };
        let from_device = direction == Direction::FromDevice;
        let response_first = from_device && layout.shape.response_before_data_in;
        let data_flags = if from_device { DescriptorFlags::WRITE } else { DescriptorFlags::empty() };
        let count = self.segments as u16;
        let mut data_bytes = 0_u32;
        for (entry, segment) in (FIXED_ENTRIES..FIXED_ENTRIES + count).zip(segments) {
            let last = entry + 1 == FIXED_ENTRIES + count;
            let (flags, next) = match (last, response_first) {
                (false, _) => (data_flags | DescriptorFlags::NEXT, entry + 1),
                (true, false) => (data_flags | DescriptorFlags::NEXT, RESPONSE),
                (true, true) => (data_flags, 0),
            };
            let at = table + layout.descriptor(entry);
            queue.write_descriptor(at, segment.address, segment.length, flags, next);
            data_bytes = data_bytes.saturating_add(segment.length);
        }

        let response_bytes = u32::from(layout.shape.response_bytes);
        let after_header = if count == 0 || response_first { RESPONSE } else { FIXED_ENTRIES };
        let header_bytes = u32::from(layout.shape.header_bytes);
        let header_at = table + layout.descriptor(HEADER);
        queue.write_link(header_at, header_bytes, DescriptorFlags::NEXT, after_header);
        // Where the response always ends the chain, its entry stays as it was prepared.
        if layout.shape.response_before_data_in {
            let (flags, next) = if count > 0 && response_first {
                (DescriptorFlags::WRITE | DescriptorFlags::NEXT, FIXED_ENTRIES)
            } else {
                (DescriptorFlags::WRITE, 0)
            };
            queue.write_link(table + layout.descriptor(RESPONSE), response_bytes, flags, next);
        }
        let with_data = response_bytes.saturating_add(data_bytes);
        let writable = if from_device { with_data } else { response_bytes };
        let claimable = if layout.shape.used_length_counts_data_out { with_data } else { writable };
        Filled { place: self, writable, claimable }
    }
}

impl<M: SharedMemory, T, S: AsRef<[Slot<T>]> + AsMut<[Slot<T>]>> Filled<'_, M, T, S> {
    /// Puts the request into the available ring.
    #[inline]
    pub fn commit(self, token: T) {
        let Self { place: Reservation { queue, slot: number, large, .. }, writable, claimable } = self;
        let redirected = queue.slots.as_ref()[usize::from(number)].redirected;
        if large != NONE {
            let bytes = table_bytes(queue.layout.max_segments);
            queue.point_at(number, queue.layout.large_table(large), bytes);
            queue.free_tables &= !(1 << large);
        } else if redirected {
            queue.point_at_inline_table(number);
        }
        let slot = &mut queue.slots.as_mut()[usize::from(number)];
        queue.free = slot.next_free;
        slot.token = Some(token);
        slot.writable = writable;
        slot.claimable = claimable;
        slot.large = large;
        slot.redirected = large != NONE;
        queue.in_flight += 1;
        let place = usize::from(queue.available & (queue.layout.size - 1));
        let entry = queue.layout.available + available::RING + 2 * place;
        queue.memory.store16(entry, number, Ordering::Relaxed);
        queue.available = queue.available.wrapping_add(1);
    }
}

/// A request that the device is done with; still in its slot until it is taken.
#[derive(Debug)]
#[must_use = "the slot stays occupied until the request is taken"]
pub struct Used<'a, M, T, S> {
    queue: &'a mut RequestQueue<M, T, S>,
    slot: u16,
    length: u32,
}

impl<M: SharedMemory, T, S: AsRef<[Slot<T>]> + AsMut<[Slot<T>]>> Used<'_, M, T, S> {
    /// Bytes the device says it wrote, response and data together; never more than it was
    /// allowed to.
    pub fn length(&self) -> u32 {
        self.length
    }

    /// Copies a part of the response. What lies past its end is left as it is.
    pub fn read_response(&self, offset: usize, into: &mut [u8]) {
        let layout = &self.queue.layout;
        let whole = usize::from(layout.shape.response_bytes);
        let Some(rest) = whole.checked_sub(offset) else {
            return;
        };
        let length = into.len().min(rest);
        self.queue.memory.read_bytes(layout.response(self.slot) + offset, &mut into[..length]);
    }

    /// Makes the first bytes of the response all-ones, which no device answers: should the device give the slot's next
    /// request back without an answer, this one's is not taken for it.
    #[inline]
    pub fn spoil_response(&self, bytes: usize) {
        self.queue.spoil_response(self.slot, bytes);
    }

    /// Takes the request and frees its slot. `None` only if the slot was empty, which `pop_used` rules out.
    #[inline]
    pub fn take(self) -> Option<T> {
        let queue = self.queue;
        let slot = &mut queue.slots.as_mut()[usize::from(self.slot)];
        let token = slot.token.take()?;
        if slot.large != NONE {
            queue.free_tables |= 1 << slot.large;
            slot.large = NONE;
        }
        slot.next_free = queue.free;
        queue.free = self.slot;
        queue.in_flight -= 1;
        queue.used = queue.used.wrapping_add(1);
        Some(token)
    }
}
