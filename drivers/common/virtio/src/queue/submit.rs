//! A request on its way into the ring: slot, header, chain, and then the ring.

use zerocopy::IntoBytes;

use super::format::{FIXED_ENTRIES, Format, Sizes, table_bytes};
use super::requests::{RequestQueue, table_word};
use super::ring::{Buffer, DirectChain, Ring, Table};
use super::slot::{NONE, Place, Slot, Ticket};
use super::{Direction, Notify, Reason, Rejected};
use crate::memory::{Block, Segment, SharedMemory, Words};
use crate::spec::ring::{DESCRIPTOR_BYTES, DescriptorFlags};

/// Where the data of a request is. It is asked while the queue still has the request's token in hand, so the segments
/// may be the token's own.
pub trait Data<T> {
    /// The segments, in order; as many each time it is asked.
    fn segments(&self, token: &T) -> impl ExactSizeIterator<Item = Segment>;

    /// Bytes of all segments together.
    #[inline(always)]
    fn bytes(&self, token: &T) -> u64 {
        self.segments(token).map(|segment| u64::from(segment.length)).sum()
    }
}

/// No data at all.
#[derive(Clone, Copy, Debug)]
pub struct NoData;

impl<T> Data<T> for NoData {
    fn segments(&self, _token: &T) -> impl ExactSizeIterator<Item = Segment> {
        core::iter::empty()
    }
}

impl<T> Data<T> for Segment {
    #[inline]
    fn segments(&self, _token: &T) -> impl ExactSizeIterator<Item = Segment> {
        core::iter::once(*self)
    }
}

impl<T> Data<T> for [Segment] {
    fn segments(&self, _token: &T) -> impl ExactSizeIterator<Item = Segment> {
        self.iter().copied()
    }
}

impl<T, D: Data<T> + ?Sized> Data<T> for &D {
    #[inline]
    fn segments(&self, token: &T) -> impl ExactSizeIterator<Item = Segment> {
        (**self).segments(token)
    }

    #[inline(always)]
    fn bytes(&self, token: &T) -> u64 {
        (**self).bytes(token)
    }
}

/// The segments, and how many bytes they are together.
#[inline(always)]
fn all<T>(data: &impl Data<T>, token: &T) -> (impl ExactSizeIterator<Item = Segment>, u64) {
    (data.segments(token), data.bytes(token))
}

/// Writes what the device reads first, for a request that takes its place in the ring and nothing else
/// ([`RequestQueue::start`]).
pub trait WriteHeader<T> {
    /// Writes it into memory that holds what the slot's last request had there, and says which way the data goes. `None`: the
    /// request is another one.
    fn write(&self, token: &T, ticket: Ticket, header: Block<impl Words>) -> Option<Direction>;
}

/// What the device finds in a chain.
#[derive(Clone, Copy, Debug)]
struct Written {
    /// Bytes the device may write.
    writable: u32,
    /// Buffers that the device reads, header included.
    readable: u16,
}

impl<F, R, T, S, const IN_ORDER: bool> RequestQueue<F, R, T, S, IN_ORDER>
where
    F: Format,
    R: Ring,
    S: AsRef<[Slot<T>]> + AsMut<[Slot<T>]>,
{
    /// Puts a request into the ring; the device sees it with the next [`publish`](Self::publish).
    ///
    /// # Errors
    /// The token comes back, with the reason.
    pub fn submit(
        &mut self,
        token: T,
        header: &F::Header,
        direction: Direction,
        data: impl Data<T>,
    ) -> Result<Ticket, Rejected<T>> {
        let segments = data.segments(&token);
        let count = segments.len();
        if count >= usize::from(self.inline_below) || self.in_flight >= self.room {
            drop(segments);
            return self.submit_unusual(token, header, direction, data);
        }
        match self.write_inline(header, direction, (segments, data.bytes(&token))) {
            Ok(written) => self.push_inline(token, count as u16, written),
            Err(reason) => Err(Rejected { token, reason }),
        }
    }

    /// Puts a request into the ring and shows it to the device, in one go: what [`submit`](Self::submit) and
    /// [`publish`](Self::publish) do for nearly all of them.
    ///
    /// # Errors
    /// The token comes back of a request that finds no table, or is refused; `submit` says which. Nothing has happened.
    #[inline(always)]
    pub fn start(&mut self, token: T, data: impl Data<T>, header: &impl WriteHeader<T>) -> Result<Notify, T> {
        let count = data.segments(&token).len();
        let id = self.free;
        // The queue's memory has a table for each slot, if it has any.
        let (true, Some(table)) = (count < usize::from(self.inline_below), self.chains.get(id)) else {
            return self.start_long(token, data, header);
        };
        if self.in_flight >= self.room {
            return Err(token);
        }
        let Some(slot) = self.slots.as_mut().get_mut(usize::from(id)) else {
            return Err(token);
        };
        let ticket = Ticket { slot: id, generation: slot.generation.wrapping_add(1) };
        let Some(direction) = header.write(&token, ticket, table.behind(Sizes::<F>::TABLE)) else {
            return Err(token);
        };
        let (linked, response) = (self.ring.is_linked(), self.responses.device_address(id));
        let written = write_table::<F, _, false>(table, linked, response, direction, all(&data, &token));
        let Some(Written { writable, .. }) = written else {
            return Err(token);
        };
        self.free = slot.next_free;
        self.in_flight += 1;
        slot.generation = ticket.generation;
        slot.writable = writable;
        slot.token = Some(token);
        let pointed = slot.point_back();
        let table =
            Table { address: self.chains.device_address(id), bytes: Self::inline_bytes(linked, count) };
        if self.is_in_order() {
            self.append_in_order(id);
        }
        Ok(self.ring.push_and_publish(id, table, pointed))
    }

    /// The same for a request that needs a large table.
    #[inline(never)]
    fn start_long(
        &mut self,
        token: T,
        data: impl Data<T>,
        header: &impl WriteHeader<T>,
    ) -> Result<Notify, T> {
        let count = data.segments(&token).len();
        let Ok(Some(large)) = self.find_table(count) else {
            return Err(token);
        };
        let id = self.free;
        let (Some(own), Some(slot)) = (self.chains.get(id), self.slots.as_ref().get(usize::from(id))) else {
            return Err(token);
        };
        let ticket = Ticket { slot: id, generation: slot.generation.wrapping_add(1) };
        let Some(direction) = header.write(&token, ticket, own.behind(Sizes::<F>::TABLE)) else {
            return Err(token);
        };
        let Some(Written { writable, .. }) = self.write_large(large, id, direction, all(&data, &token))
        else {
            return Err(token);
        };
        let address = self.large.device_address() + self.large_table_at(large) as u64;
        let table = Table { address, bytes: table_bytes(count as u16) as u32 };
        if let Some(slot) = self.slots.as_mut().get_mut(usize::from(id)) {
            self.free = slot.next_free;
            self.in_flight += 1;
            self.free_tables &= !(1 << large);
            slot.generation = ticket.generation;
            slot.writable = writable;
            slot.place = Place::Large(large);
            slot.redirected = true;
            slot.token = Some(token);
        }
        if self.is_in_order() {
            self.append_in_order(id);
        }
        Ok(self.ring.push_and_publish(id, table, false))
    }

    /// How long the ring is told that a slot's own table is: in a split ring the descriptor says it, and stays; in a packed
    /// one it is as long as the chain.
    #[inline(always)]
    const fn inline_bytes(linked: bool, segments: usize) -> u32 {
        (if linked { Sizes::<F>::TABLE } else { table_bytes(segments as u16) }) as u32
    }

    /// Writes header and table of the first free slot.
    fn write_inline(
        &self,
        header: &F::Header,
        direction: Direction,
        segments: (impl ExactSizeIterator<Item = Segment>, u64),
    ) -> Result<Written, Reason> {
        let id = self.free;
        // The free list holds slots only, and each has its table.
        let table = self.chains.get(id).ok_or(Reason::Full)?;
        table.write(Sizes::<F>::TABLE, header.as_bytes());
        let (linked, response) = (self.ring.is_linked(), self.response_address(id));
        write_table::<F, _, false>(table, linked, response, direction, segments).ok_or(Reason::TooLarge)
    }

    /// Gives the first free slot, whose own table was written, to a request, and puts that into the ring.
    fn push_inline(&mut self, token: T, segments: u16, written: Written) -> Result<Ticket, Rejected<T>> {
        let id = self.free;
        let Some(slot) = self.slots.as_mut().get_mut(usize::from(id)) else {
            return Err(Rejected { token, reason: Reason::Full });
        };
        self.free = slot.next_free;
        self.in_flight += 1;
        let ticket = Ticket { slot: id, generation: slot.generation.wrapping_add(1) };
        slot.generation = ticket.generation;
        slot.writable = written.writable;
        slot.token = Some(token);
        let pointed = slot.point_back();
        let bytes = Self::inline_bytes(self.ring.is_linked(), usize::from(segments));
        let table = Table { address: self.chains.device_address(id), bytes };
        if self.is_in_order() {
            self.append_in_order(id);
        }
        self.ring.push_indirect(id, table, pointed);
        Ok(ticket)
    }

    /// A request that does not fit into its slot's own table, or not at all.
    #[cold]
    fn submit_unusual(
        &mut self,
        token: T,
        header: &F::Header,
        direction: Direction,
        data: impl Data<T>,
    ) -> Result<Ticket, Rejected<T>> {
        let segments = data.segments(&token);
        let count = segments.len();
        let large = match self.find_table(count) {
            Ok(large) => large,
            Err(reason) => {
                drop(segments);
                return Err(Rejected { token, reason });
            }
        };
        let id = self.free;
        self.write_header(id, header);
        let (written, place, last) = match large {
            Some(table) => {
                let all = (segments, data.bytes(&token));
                (self.write_large(table, id, direction, all), Place::Large(table), id)
            }
            None => {
                let (written, last) = self.write_direct(id, direction, segments);
                (written, Place::Direct { descriptors: count as u16 + FIXED_ENTRIES, last }, last)
            }
        };
        let Some(written) = written else {
            return Err(Rejected { token, reason: Reason::TooLarge });
        };
        let slots = self.slots.as_mut();
        self.free = slots.get(usize::from(last)).map_or(NONE, |end| end.next_free);
        self.in_flight += 1;
        let mut ticket = Ticket { slot: id, generation: 0 };
        if let Some(slot) = slots.get_mut(usize::from(id)) {
            ticket.generation = slot.generation.wrapping_add(1);
            slot.generation = ticket.generation;
            slot.place = place;
            slot.writable = written.writable;
            slot.redirected = true;
            slot.token = Some(token);
        }
        if self.is_in_order() {
            self.append_in_order(id);
        }
        match large {
            Some(table) => {
                self.free_tables &= !(1 << table);
                let address = self.large.device_address() + self.large_table_at(table) as u64;
                let bytes = table_bytes(count as u16) as u32;
                self.ring.push_indirect(id, Table { address, bytes }, false);
            }
            None => {
                self.set_extra_descriptors(self.extra_descriptors + count as u16 + 1);
                let chain = DirectChain {
                    first_length: Sizes::<F>::HEADER as u32,
                    readable: written.readable,
                    count: count as u16 + FIXED_ENTRIES,
                };
                self.ring.push_direct(id, chain);
            }
        }
        Ok(ticket)
    }

    /// A large table for a chain with so many segments, or none when it has to go into the ring itself and can.
    fn find_table(&self, segments: usize) -> Result<Option<u16>, Reason> {
        if self.broken {
            return Err(Reason::Broken);
        }
        if segments > usize::from(self.layout.options.max_segments) {
            return Err(Reason::TooManySegments);
        }
        if self.in_flight >= self.room {
            return Err(Reason::Full);
        }
        if self.free_tables != 0 {
            Ok(Some(self.free_tables.trailing_zeros() as u16))
        } else if segments as u16 + FIXED_ENTRIES <= self.free_descriptors() {
            Ok(None)
        } else {
            Err(Reason::Full)
        }
    }

    fn write_large(
        &self,
        table: u16,
        id: u16,
        direction: Direction,
        segments: (impl ExactSizeIterator<Item = Segment>, u64),
    ) -> Option<Written> {
        let at = self.large_table_at(table);
        let bytes = table_bytes(self.layout.options.max_segments);
        let linked = self.ring.is_linked();
        // The layout has room for the longest chain in every large table.
        let block = self.large.block(at, bytes)?;
        self.write_header_entry(block, id);
        write_table::<F, _, true>(block, linked, self.response_address(id), direction, segments)
    }

    fn write_header(&self, id: u16, header: &F::Header) {
        let chains = self.chains.memory();
        let at = (self.header_address(id) - chains.device_address()) as usize;
        // Behind a table of an odd size a header need not start where a block may.
        let start = at - at % 16;
        let bytes = (at - start + Sizes::<F>::HEADER).next_multiple_of(8);
        if let Some(block) = chains.block(start, bytes) {
            block.write(at - start, header.as_bytes());
        }
    }

    /// Writes a chain into the ring's own descriptors. In a split ring these are the descriptors of free slots, taken
    /// from the head of the list; returns the last of them.
    fn write_direct(
        &mut self,
        id: u16,
        direction: Direction,
        segments: impl ExactSizeIterator<Item = Segment>,
    ) -> (Option<Written>, u16) {
        let address = self.header_address(id);
        let linked = self.ring.is_linked();
        let response = self.response_address(id);
        let ring = &mut self.ring;
        let slots = self.slots.as_mut();
        let mut own = id;
        let mut write = |nth: u16, buffer: Buffer, last: bool| {
            let mut next = NONE;
            if linked && let Some(slot) = slots.get_mut(usize::from(own)) {
                next = slot.next_free;
                slot.redirected = true;
            }
            let (flags, link) =
                if last { (buffer.flags, 0) } else { (buffer.flags | DescriptorFlags::NEXT, next) };
            ring.write_direct(id, nth, own, link, Buffer { flags, ..buffer });
            if linked && !last {
                own = next;
            }
        };
        let length = Sizes::<F>::HEADER as u32;
        write(0, Buffer { address, length, flags: DescriptorFlags::empty() }, false);
        let written = each_buffer::<F>(response, direction, segments, write);
        (written, own)
    }
}

/// Writes all entries of a table but the header's, which stands there already. What changes from one entry's second word to the
/// next is counted instead of composed. `LONG`: there may be more than a slot's own table has room for. `None`: they have more
/// bytes than a chain may have (2.7.5.2), or find no room.
#[inline(always)]
fn write_table<F: Format, W: Words, const LONG: bool>(
    table: Block<W>,
    linked: bool,
    response: u64,
    direction: Direction,
    (segments, bytes): (impl ExactSizeIterator<Item = Segment>, u64),
) -> Option<Written> {
    let count = segments.len() as u16;
    let from_device = direction == Direction::FromDevice;
    let written = written::<F>(from_device, count, bytes)?;
    let data_flags = if from_device { DescriptorFlags::WRITE } else { DescriptorFlags::empty() };
    let response_first = F::RESPONSE_BEFORE_DATA_IN && from_device && count > 0;
    let (response_entry, first, last) =
        if response_first { (1, 2, count + 1) } else { (count + 1, 1, count) };
    let response_bytes = u32::from(F::RESPONSE_BYTES);
    let next = response_first.then_some(first);
    let at = usize::from(response_entry) * DESCRIPTOR_BYTES;
    table.store64(at, response);
    table.store64(at + 8, table_word(linked, response_bytes, DescriptorFlags::WRITE, next));
    let mut rest = table_word(linked, 0, data_flags, Some(first + 1));
    let each = table_word(linked, 0, data_flags, Some(first + 2)).wrapping_sub(rest);
    let at = usize::from(first) * DESCRIPTOR_BYTES;
    let last = usize::from(last) * DESCRIPTOR_BYTES + 8;
    let without_next = table_word(linked, 0, data_flags, None);
    if !LONG {
        let (mut segments, mut at) = (segments, at);
        for nth in 1..=F::INLINE_SEGMENTS {
            let Some(Segment { address, length }) = segments.next() else { break };
            let rest_of_this = if response_first && nth == count { without_next } else { rest };
            table.store64(at, address);
            table.store64(at + 8, rest_of_this | u64::from(length));
            rest = rest.wrapping_add(each);
            at += DESCRIPTOR_BYTES;
        }
        return Some(written);
    }
    let mut last_length = 0;
    let entries = segments.map(|Segment { address, length }| {
        let word = rest | u64::from(length);
        rest = rest.wrapping_add(each);
        last_length = length;
        (address, word)
    });
    table.store_pairs(at, entries)?;
    if response_first {
        table.store64(last, without_next | u64::from(last_length));
    }
    Some(written)
}

/// What the device finds in a chain with so many segments and bytes of data. `None`: they are more bytes than a chain may
/// have (2.7.5.2).
#[inline(always)]
fn written<F: Format>(from_device: bool, segments: u16, data_bytes: u64) -> Option<Written> {
    let response_bytes = u32::from(F::RESPONSE_BYTES);
    let with_data = u64::from(response_bytes) + data_bytes;
    if with_data + Sizes::<F>::HEADER as u64 > u64::from(u32::MAX) {
        return None;
    }
    let with_data = with_data as u32;
    let writable = if from_device { with_data } else { response_bytes };
    Some(Written { writable, readable: if from_device { 1 } else { 1 + segments } })
}

/// Hands out the buffers of a chain behind its header in their order, with their place and whether they are the last:
/// what the device reads before what it writes (2.7.4.2, 2.8.17). `None`: they are more bytes than a chain may have
/// (2.7.5.2).
#[inline]
fn each_buffer<F: Format>(
    response: u64,
    direction: Direction,
    segments: impl ExactSizeIterator<Item = Segment>,
    mut put: impl FnMut(u16, Buffer, bool),
) -> Option<Written> {
    let count = segments.len() as u16;
    let from_device = direction == Direction::FromDevice;
    let response_first = F::RESPONSE_BEFORE_DATA_IN && from_device;
    let response_bytes = u32::from(F::RESPONSE_BYTES);
    let response = Buffer { address: response, length: response_bytes, flags: DescriptorFlags::WRITE };
    let mut entry = 1;
    if response_first {
        put(entry, response, count == 0);
        entry += 1;
    }
    let flags = if from_device { DescriptorFlags::WRITE } else { DescriptorFlags::empty() };
    let mut data_bytes = 0_u64;
    for (left, segment) in (0..count).rev().zip(segments) {
        let buffer = Buffer { address: segment.address, length: segment.length, flags };
        put(entry, buffer, response_first && left == 0);
        entry += 1;
        data_bytes += u64::from(segment.length);
    }
    if !response_first {
        put(entry, response, true);
    }
    written::<F>(from_device, count, data_bytes)
}
