//! A request on its way out of the ring: what the device claims, whose that is, and what it answered.

use super::DeviceFault;
use super::format::Format;
use super::requests::{RequestQueue, response_at};
use super::ring::{Claim, Ring};
use super::slot::{Place, Slot};
use crate::memory::SharedMemory;
use core::sync::atomic::Ordering::Relaxed;

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
    pub fn pop_used(&mut self) -> Result<Option<Used<'_, F, R, T, S, IN_ORDER>>, DeviceFault> {
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

    /// Looking at the same entry again would find the same lie for ever.
    #[cold]
    fn break_with(&mut self, fault: DeviceFault) -> DeviceFault {
        self.set_broken(true);
        fault
    }

    /// Takes the request that the device claims to be done with out of its slot.
    #[inline]
    fn accept(&mut self, claim: Claim) -> Result<Option<Used<'_, F, R, T, S, IN_ORDER>>, DeviceFault> {
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
        Ok(Some(Used::new(self, id as u16, token, length.min(writable))))
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
pub struct Used<'a, F, R: Ring, T, S, const IN_ORDER: bool = false> {
    queue: &'a RequestQueue<F, R, T, S, IN_ORDER>,
    id: u16,
    token: T,
    length: u32,
}

impl<'a, F, R, T, S, const IN_ORDER: bool> Used<'a, F, R, T, S, IN_ORDER>
where
    F: Format,
    R: Ring,
    S: AsRef<[Slot<T>]> + AsMut<[Slot<T>]>,
{
    #[inline]
    pub(super) fn new(queue: &'a RequestQueue<F, R, T, S, IN_ORDER>, id: u16, token: T, length: u32) -> Self {
        Self { queue, id, token, length }
    }

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
    pub fn response(&self) -> Response<'a, R::Memory> {
        Response {
            memory: &self.queue.responses,
            start: response_at::<F>(self.id),
            bytes: usize::from(F::RESPONSE_BYTES),
        }
    }

    /// Takes the request.
    #[inline]
    pub fn take(self) -> T {
        self.token
    }
}

/// The answer of a request, in memory that the device may still write to: each part is read once.
#[derive(Debug)]
pub struct Response<'a, M> {
    memory: &'a M,
    start: usize,
    bytes: usize,
}

impl<M: SharedMemory> Response<'_, M> {
    /// A part of it; all-ones past its end.
    #[inline]
    pub fn read<const N: usize>(&self, offset: usize) -> [u8; N] {
        let mut part = [u8::MAX; N];
        self.read_into(offset, &mut part);
        part
    }

    /// Copies a part of it. What lies past its end is left as it is.
    #[inline]
    pub fn read_into(&self, offset: usize, into: &mut [u8]) {
        let Some(rest) = self.bytes.checked_sub(offset) else {
            return;
        };
        let length = into.len().min(rest);
        self.memory.read_bytes(self.start + offset, &mut into[..length]);
    }

    /// Makes the first bytes of it all-ones, which no device answers: should the device give the slot's next request back
    /// without an answer, this one's is not taken for it.
    #[inline]
    pub fn spoil(&self, bytes: usize) {
        spoil(self.memory, self.start, bytes.min(self.bytes));
    }
}

/// Makes bytes all-ones.
#[inline]
pub(super) fn spoil<M: SharedMemory>(memory: &M, start: usize, bytes: usize) {
    fill(memory, start, bytes, u8::MAX);
}

/// In the widths that [`read_bytes`](SharedMemory::read_bytes) reads in.
#[inline]
pub(super) fn fill<M: SharedMemory>(memory: &M, start: usize, bytes: usize, with: u8) {
    let words = if start.is_multiple_of(4) { bytes / 4 } else { 0 };
    for word in 0..words {
        memory.store32(start + 4 * word, u32::from_ne_bytes([with; 4]), Relaxed);
    }
    for byte in 4 * words..bytes {
        memory.store8(start + byte, with, Relaxed);
    }
}
