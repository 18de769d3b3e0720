//! A request on its way out of the ring: what the device claims, whose that is, and what it answered.

use super::DeviceFault;
use super::format::Format;
use super::requests::RequestQueue;
use super::ring::{Claim, Ring, Taken};
use super::slot::{Place, Slot};
use crate::memory::{Block, SharedMemory};

impl<F, R, T, S, const IN_ORDER: bool> RequestQueue<F, R, T, S, IN_ORDER>
where
    F: Format,
    R: Ring,
    S: AsRef<[Slot<T>]> + AsMut<[Slot<T>]>,
{
    /// The next request that the device is done with, and its slot free again.
    ///
    /// Guaranteed of a `Used`: its slot was in flight.
    ///
    /// # Errors
    /// The device wrote something it must not; the queue is broken from now on.
    #[inline]
    pub fn pop_used(&mut self) -> Result<Option<Used<'_, R::Memory, T>>, DeviceFault> {
        if self.broken {
            return Ok(None);
        }
        let claim = if self.is_in_order() { self.next_in_order() } else { self.ring.peek(self.in_flight) };
        match claim {
            Ok(None) => Ok(None),
            Ok(Some(claim)) => self.accept(claim),
            Err(fault) => Err(self.break_with(fault)),
        }
    }

    /// Takes what the device is done with, up to `limit` requests, and hands each out with its answer to `end`, which gives
    /// back what does not end in the usual way. Returns whether there may be more for [`pop_used`](Self::pop_used): when the
    /// limit was reached, or what is next is such a request, one whose descriptors are the ring's own, or a claim that cannot
    /// be.
    #[inline(always)]
    pub fn drain(
        &mut self,
        limit: usize,
        mut end: impl FnMut(T, &Response<'_, R::Memory>) -> Result<(), T>,
    ) -> bool {
        if limit == 0 || self.broken || self.is_in_order() {
            return !self.broken;
        }
        let slots = self.slots.as_mut();
        let responses = self.responses.view();
        let (in_flight, mut free, mut left, mut tables) = (self.in_flight, self.free, limit, 0);
        let more = self.ring.each_used(in_flight, |id| {
            // There are as many responses as slots.
            let (Some(slot), Some(response)) = (slots.get_mut(id as usize), responses.get(id as u16)) else {
                return Taken::Left;
            };
            let mut table = 0;
            if slot.redirected {
                // Whose descriptors are the ring's own has more to give back.
                let Place::Large(large) = slot.place else {
                    return Taken::Left;
                };
                table = 1 << large;
            }
            let Some(token) = slot.token.take() else {
                return Taken::Left;
            };
            let response = Response { block: response, bytes: usize::from(F::RESPONSE_BYTES) };
            if let Err(token) = end(token, &response) {
                slot.token = Some(token);
                return Taken::Left;
            }
            tables |= table;
            slot.next_free = free;
            free = id as u16;
            left -= 1;
            if left == 0 { Taken::Last } else { Taken::Next }
        });
        self.free = free;
        self.free_tables |= tables;
        self.in_flight = in_flight - (limit - left) as u16;
        more
    }

    /// Looking at the same entry again would find the same lie for ever.
    #[cold]
    fn break_with(&mut self, fault: DeviceFault) -> DeviceFault {
        self.set_broken(true);
        fault
    }

    /// Takes the request that the device claims to be done with out of its slot.
    #[inline]
    fn accept(&mut self, claim: Claim) -> Result<Option<Used<'_, R::Memory, T>>, DeviceFault> {
        let Claim { id, length } = claim;
        let in_order = self.is_in_order();
        let slots = self.slots.as_mut();
        let size = slots.len() as u16;
        let Some(slot) = slots.get_mut(id as usize) else {
            return Err(self.break_with(DeviceFault::UsedIdOutOfRange { id, size }));
        };
        let (writable, place) = (slot.writable, slot.place);
        let Some(token) = slot.token.take() else {
            return Err(self.break_with(DeviceFault::UsedIdNotInFlight { id }));
        };
        if place == Place::Inline && !in_order {
            slot.next_free = self.free;
            self.free = id as u16;
        } else {
            self.release(id as u16, place);
        }
        self.in_flight -= 1;
        self.ring.advance(place.descriptors());
        // There are as many responses as slots.
        let Some(response) = self.response(id as u16) else {
            return Err(DeviceFault::UsedIdOutOfRange { id, size });
        };
        Ok(Some(Used { response, token, length: length.min(writable) }))
    }

    /// Frees a slot and whatever else its request had.
    #[cold]
    fn release(&mut self, id: u16, place: Place) {
        let mut last = id;
        match place {
            Place::Inline => {}
            Place::Large(table) => self.free_tables |= 1 << table,
            Place::Direct { descriptors, last: end } => {
                last = end;
                self.set_extra_descriptors(self.extra_descriptors - (descriptors - 1));
            }
        }
        if self.is_in_order() {
            self.free_in_order(id, last);
            return;
        }
        if let Some(end) = self.slots.as_mut().get_mut(usize::from(last)) {
            end.next_free = self.free;
        }
        self.free = id;
    }
}

/// A request that the device is done with, and its answer, which can be read until the queue is used again.
#[must_use = "the request has to be taken, or nobody ends it"]
pub struct Used<'a, M: SharedMemory + 'a, T> {
    response: Response<'a, M>,
    token: T,
    length: u32,
}

impl<'a, M: SharedMemory + 'a, T> Used<'a, M, T> {
    /// Bytes the device says it wrote, response and data together, cut to what it was allowed to.
    ///
    /// It says nothing that may be acted on. Many devices set it wrong (2.7.8.1, and 5.2.6.3 for virtio-blk): bhyve, SmartOS
    /// and ACRN say 1 for every request of virtio-blk, OpenBSD's vmd the length of the header, SPDK the data of reads and
    /// writes alike without the status, kvmtool all-ones for a request that failed. So neither whether a request is done, nor
    /// how, nor how much data came is taken from it, and no value is a fault: a device that wrote past its buffers has done
    /// so whatever it says. What decides is the response, which is made a value that no device answers before the device gets
    /// the slot ([`Response::spoil`]); data that a driver looks at itself lies in memory that was made
    /// blank. What is left for the length is to be shown to people.
    pub fn length(&self) -> u32 {
        self.length
    }

    /// The device's answer.
    #[inline]
    pub fn response(&self) -> Response<'a, M> {
        self.response
    }

    /// Takes the request.
    #[inline]
    pub fn take(self) -> T {
        self.token
    }
}

/// The answer of a request, in memory that the device may still write to: each part is read once.
#[derive(Debug)]
pub struct Response<'a, M: SharedMemory + 'a> {
    pub(super) block: Block<M::Words<'a>>,
    pub(super) bytes: usize,
}

impl<'a, M: SharedMemory + 'a> Clone for Response<'a, M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<'a, M: SharedMemory + 'a> Copy for Response<'a, M> {}

impl<'a, M: SharedMemory + 'a> Response<'a, M> {
    /// One byte of it; all-ones past its end.
    #[inline(always)]
    pub fn byte(&self, offset: usize) -> u8 {
        if offset.saturating_add(1) <= self.bytes { self.block.load8(offset) } else { u8::MAX }
    }

    /// Four bytes of it as a little-endian word, at a multiple of 4; all-ones past its end.
    #[inline(always)]
    pub fn word32(&self, offset: usize) -> u32 {
        if offset.saturating_add(4) <= self.bytes { self.block.load32(offset) } else { u32::MAX }
    }

    /// Eight bytes of it as a little-endian word, at a multiple of 8; all-ones past its end.
    #[inline(always)]
    pub fn word64(&self, offset: usize) -> u64 {
        if offset.saturating_add(8) <= self.bytes { self.block.load64(offset) } else { u64::MAX }
    }

    /// A part of it; all-ones past its end.
    pub fn read<const N: usize>(&self, offset: usize) -> [u8; N] {
        let mut part = [u8::MAX; N];
        self.read_into(offset, &mut part);
        part
    }

    /// Copies a part of it. What lies past its end is left as it is.
    pub fn read_into(&self, offset: usize, into: &mut [u8]) {
        let Some(rest) = self.bytes.checked_sub(offset) else {
            return;
        };
        let length = into.len().min(rest);
        self.block.read(offset, &mut into[..length]);
    }

    /// Makes the first bytes of it all-ones, which no device answers: should the device give the slot's next request back
    /// without an answer, this one's is not taken for it.
    #[inline(always)]
    pub fn spoil(&self, bytes: usize) {
        self.block.fill(bytes.min(self.bytes), u8::MAX);
    }
}
