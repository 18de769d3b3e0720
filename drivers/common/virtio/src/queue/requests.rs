//! The queue: its slots, which of them are free, and where its memory lies. Requests come in by `submit` and leave by
//! `used`.

use core::marker::PhantomData;

use super::format::{FIXED_ENTRIES, Format, ResponseBytes, Sizes, SlotBytes, table_bytes};
use super::in_order::Order;
use super::layout::{Layout, LayoutError, Parts, QueueOptions};
use super::ring::{Ring, Table};
use super::slot::{NONE, Slot, Ticket};
use super::used::Response;
use super::{Notify, QueueAreas};
use crate::memory::{Block, Blocks, SharedMemory, Words};
use crate::spec::ring::DescriptorFlags;
use crate::spec::{Features, ring::Descriptor};

/// A queue of requests in the format `F`, through a ring of the kind `R`. `T` is what the driver wants back with a
/// completed request; `S` holds the slots. Where `IN_ORDER` is false, VIRTIO_F_IN_ORDER must not be accepted, and nothing
/// is spent on it.
///
/// Nothing here locks or waits: whoever has `&mut` to the queue has its lock.
pub struct RequestQueue<F, R: Ring, T, S, const IN_ORDER: bool = false> {
    pub(super) ring: R,
    pub(super) layout: Layout<F>,
    /// Table and header of each slot; no blocks where there are no tables.
    pub(super) chains: Blocks<R::Memory, SlotBytes<F>>,
    pub(super) responses: Blocks<R::Memory, ResponseBytes<F>>,
    pub(super) large: R::Memory,
    pub(super) slots: S,
    /// First free slot, or `NONE`.
    pub(super) free: u16,
    /// Requests that the device has.
    pub(super) in_flight: u16,
    /// How many it can have at once: as many as there are slots, less what chains in the ring itself take of it.
    pub(super) room: u16,
    /// Descriptors that requests have of the ring beyond one each.
    pub(super) extra_descriptors: u16,
    /// Large tables that are free, one bit each.
    pub(super) free_tables: u64,
    /// Requests with fewer segments go into their slot's own table without further questions.
    pub(super) inline_below: u16,
    pub(super) broken: bool,
    /// With VIRTIO_F_IN_ORDER; looked at only where that may be.
    pub(super) order: Option<Order>,
    token: PhantomData<T>,
}

impl<F, R, T, S, const IN_ORDER: bool> RequestQueue<F, R, T, S, IN_ORDER>
where
    F: Format,
    R: Ring,
    S: AsRef<[Slot<T>]> + AsMut<[Slot<T>]>,
{
    /// A queue in `memory`, ready for a device that was reset and has accepted `features`.
    ///
    /// # Errors
    /// Memory or slots are not as the layout says, or VIRTIO_F_IN_ORDER comes with fewer slots than the ring has entries, or
    /// to a queue that does not know it.
    pub fn new(
        memory: R::Memory,
        layout: Layout<F>,
        slots: S,
        features: Features,
    ) -> Result<Self, LayoutError> {
        const { assert!(F::INLINE_SEGMENTS > 0 && F::RESPONSE_BYTES > 0 && Sizes::<F>::HEADER > 0) };
        let Parts { ring, slots: chains, responses, large } =
            layout.carve(memory).ok_or(LayoutError::TooLittleMemory)?;
        if slots.as_ref().len() != layout.slots() {
            return Err(LayoutError::TooLittleMemory);
        }
        let in_order = features.contains(Features::IN_ORDER);
        let QueueOptions { slots: count, size, indirect, .. } = layout.options;
        let tables = if indirect { layout.slots() } else { 0 };
        let (chains, responses) = (Blocks::new(chains, tables), Blocks::new(responses, layout.slots()));
        let (Some(chains), Some(responses)) = (chains, responses) else {
            return Err(LayoutError::TooLittleMemory);
        };
        // Descriptors have to be taken in ring order then, all around the table (2.7.5).
        if in_order && !IN_ORDER {
            return Err(LayoutError::InOrder);
        }
        if in_order && count != size {
            return Err(LayoutError::Slots { slots: count, size });
        }
        let mut queue = Self {
            ring: R::new(layout.shape(), ring, features)?,
            layout,
            chains,
            responses,
            large,
            slots,
            free: NONE,
            in_flight: 0,
            room: 0,
            extra_descriptors: 0,
            free_tables: 0,
            inline_below: 0,
            broken: false,
            order: in_order.then_some(Order::empty(count)),
            token: PhantomData,
        };
        queue.reset();
        Ok(queue)
    }

    /// Empties the ring and prepares every slot. The device, or the queue, must be in reset, and every request taken
    /// back ([`take_outstanding`](Self::take_outstanding)).
    pub fn reset(&mut self) {
        debug_assert_eq!(self.in_flight, 0, "requests would be lost");
        self.ring.reset();
        self.free = NONE;
        for id in (0..self.layout.options.slots).rev() {
            self.prepare(id);
            let free = core::mem::replace(&mut self.free, id);
            if let Some(slot) = self.slots.as_mut().get_mut(usize::from(id)) {
                // The generation stays: a ticket of before the reset names nothing any more.
                *slot = Slot { next_free: free, generation: slot.generation, ..Slot::default() };
            }
        }
        let tables = u32::from(self.layout.large_tables());
        self.free_tables = u64::MAX.checked_shr(u64::BITS - tables).unwrap_or(0);
        self.in_flight = 0;
        self.extra_descriptors = 0;
        self.room = self.layout.options.slots;
        self.order = self.order.map(|_| Order::empty(self.layout.options.slots));
        self.set_broken(false);
    }

    /// Takes no request, and gives none back but by [`take_outstanding`](Self::take_outstanding), until it is
    /// [`open`](Self::open) or [`reset`](Self::reset): the device does not use the queue, or is about to be reset.
    pub fn close(&mut self) {
        self.set_broken(true);
    }

    /// The end of [`close`](Self::close), which a reset must have come before.
    pub fn open(&mut self) {
        debug_assert!(!self.broken || self.in_flight == 0, "requests of before would be the device's again");
        self.set_broken(false);
    }

    /// What a request in its own table is asked about is asked here once for all.
    pub(super) fn set_broken(&mut self, broken: bool) {
        let QueueOptions { indirect, max_segments, .. } = self.layout.options;
        let inline = indirect && !broken;
        self.inline_below = if inline { max_segments.min(F::INLINE_SEGMENTS) + 1 } else { 0 };
        self.broken = broken;
    }

    /// Descriptors that a queue without requests has for them. Those of a split ring belong to its slots.
    fn descriptors(&self) -> u16 {
        let QueueOptions { slots, size, .. } = self.layout.options;
        if self.ring.is_linked() { slots } else { size }
    }

    /// Descriptors of the ring that no request has.
    pub(super) fn free_descriptors(&self) -> u16 {
        self.descriptors() - self.in_flight - self.extra_descriptors
    }

    /// Notes how many descriptors requests have beyond one each.
    pub(super) fn set_extra_descriptors(&mut self, extra: u16) {
        self.extra_descriptors = extra;
        self.room = self.layout.options.slots.min(self.descriptors() - extra);
    }

    /// Where the device finds the rings.
    pub fn areas(&self) -> QueueAreas {
        self.ring.areas()
    }

    /// Entries of the ring.
    pub fn size(&self) -> u16 {
        self.layout.options.size
    }

    /// Requests that the device has.
    pub fn in_flight(&self) -> usize {
        usize::from(self.in_flight)
    }

    /// Whether the next request is refused whatever it needs. One with many segments may be refused before that.
    pub fn is_full(&self) -> bool {
        let least = if self.layout.options.indirect { 1 } else { FIXED_ENTRIES };
        self.in_flight >= self.room || self.free_descriptors() < least
    }

    /// The ticket that the next request gets, if there is a place for one.
    #[inline]
    pub fn next_ticket(&self) -> Option<Ticket> {
        let slot = self.slots.as_ref().get(usize::from(self.free))?;
        Some(Ticket { slot: self.free, generation: slot.generation.wrapping_add(1) })
    }

    /// The request of a ticket, while the device has it.
    pub fn get(&self, ticket: Ticket) -> Option<&T> {
        let slot = self.slots.as_ref().get(usize::from(ticket.slot))?;
        if slot.generation == ticket.generation { slot.token.as_ref() } else { None }
    }

    /// Shows the device everything submitted since the last time, and tells whether it has to be notified.
    #[inline]
    pub fn publish(&mut self) -> Notify {
        self.ring.publish()
    }

    /// Where the next buffer will be made available ([`Notify::Device`]), for a notification that was put off: others may
    /// have been published since.
    pub fn position(&self) -> u16 {
        self.ring.position()
    }

    /// Asks the device for no interrupts. It may send some all the same.
    #[inline]
    pub fn disable_interrupts(&mut self) {
        self.ring.disable_interrupts();
    }

    /// Asks the device for an interrupt with the next used buffer. `true`: there is one already, for which no
    /// interrupt will come.
    #[must_use = "used buffers that came before the interrupt was asked for are announced by nobody"]
    #[inline]
    pub fn enable_interrupts(&mut self) -> bool {
        let waiting = self.ring.enable_interrupts();
        let batch = self.order.is_some_and(|order| order.batch.is_some());
        !self.broken && (waiting || batch)
    }

    /// The requests that the device has.
    pub fn outstanding(&self) -> impl Iterator<Item = &T> {
        self.slots.as_ref().iter().filter_map(|slot| slot.token.as_ref())
    }

    /// The same, to note something in them.
    pub fn outstanding_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.as_mut().iter_mut().filter_map(|slot| slot.token.as_mut())
    }

    /// The ticket of a request that the device has and that is like this; of several, any.
    pub fn find(&self, like: impl Fn(&T) -> bool) -> Option<Ticket> {
        let slot = self.slots.as_ref().iter().position(|slot| slot.token.as_ref().is_some_and(&like))?;
        let generation = self.slots.as_ref().get(slot)?.generation;
        Some(Ticket { slot: slot as u16, generation })
    }

    /// Counts a look at each request that the device has, and tells of those that were looked at so often, once.
    pub fn look(&mut self, looks: u8, mut tell: impl FnMut(&T)) {
        for slot in self.slots.as_mut() {
            let Some(token) = &slot.token else { continue };
            if slot.looked_at != slot.generation {
                (slot.looked_at, slot.looks) = (slot.generation, 0);
            }
            if slot.looks < looks {
                slot.looks += 1;
                if slot.looks == looks {
                    tell(token);
                }
            }
        }
    }

    /// Takes back a request that the device has. Only when the device or the queue was reset, or the device is gone or
    /// cannot reach memory; in that last case the next to be done with the queue is [`reset`](Self::reset), as its slots
    /// still say that the device has them.
    pub fn take_outstanding(&mut self) -> Option<T> {
        if self.in_flight == 0 {
            return None;
        }
        let token = self.slots.as_mut().iter_mut().find_map(|slot| slot.token.take())?;
        self.in_flight -= 1;
        Some(token)
    }

    /// Writes what never changes of a slot: its response's first value, and its table's header and the descriptor that
    /// points at it.
    fn prepare(&mut self, id: u16) {
        if let Some(response) = self.response(id) {
            response.spoil(usize::from(F::RESPONSE_BYTES));
        }
        if let Some(table) = self.chains.get(id) {
            self.write_header_entry(table, id);
            self.ring.point_at(id, self.inline_table(id));
        }
    }

    /// The first entry of a table: the slot's header.
    pub(super) fn write_header_entry<W: Words>(&self, table: Block<W>, id: u16) {
        let length = Sizes::<F>::HEADER as u32;
        table.store64(0, self.header_address(id));
        table.store64(8, table_word(self.ring.is_linked(), length, DescriptorFlags::empty(), Some(1)));
    }

    /// A slot's own table, all of it: in a split ring the links say where a chain ends.
    fn inline_table(&self, id: u16) -> Table {
        Table { address: self.chains.device_address(id), bytes: Sizes::<F>::TABLE as u32 }
    }

    #[inline]
    pub(super) fn large_table_at(&self, table: u16) -> usize {
        usize::from(table) * table_bytes(self.layout.options.max_segments)
    }

    /// Where the device finds a slot's header.
    pub(super) fn header_address(&self, id: u16) -> u64 {
        if self.layout.options.indirect {
            self.chains.device_address(id) + Sizes::<F>::TABLE as u64
        } else {
            let offset = usize::from(id) * Sizes::<F>::SLOT_WITHOUT_TABLE;
            self.chains.memory().device_address() + offset as u64
        }
    }

    /// Where the device writes a slot's response.
    #[inline]
    pub(super) fn response_address(&self, id: u16) -> u64 {
        self.responses.device_address(id)
    }

    /// A slot's response.
    #[inline]
    pub(super) fn response(&self, id: u16) -> Option<Response<'_, R::Memory>> {
        let block = self.responses.get(id)?;
        Some(Response { block, bytes: usize::from(F::RESPONSE_BYTES) })
    }
}

/// Everything of a table's entry but its address. Entries of a split ring's table are linked (2.7.5); those of a packed
/// ring's follow each other, and have their flags where the others have the link (2.8.7, 2.8.13).
#[inline]
pub(super) const fn table_word(linked: bool, length: u32, flags: DescriptorFlags, next: Option<u16>) -> u64 {
    const { assert!(core::mem::offset_of!(Descriptor, length) == 8) };
    let flags = flags.bits() as u64;
    let rest = match next {
        _ if !linked => flags << 48,
        Some(next) => (flags | DescriptorFlags::NEXT.bits() as u64) << 32 | (next as u64) << 48,
        None => flags << 32,
    };
    length as u64 | rest
}
