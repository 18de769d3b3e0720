//! A request that the device is done with.

use super::format::Format;
use super::requests::{RequestQueue, response_at};
use super::ring::Ring;
use super::slot::Slot;
use crate::memory::SharedMemory;

/// A request that the device is done with, and its answer, which can be read until the queue is used again.
#[must_use = "the request has to be taken, or nobody ends it"]
pub struct Used<'a, F, R: Ring, T, S> {
    queue: &'a RequestQueue<F, R, T, S>,
    id: u16,
    token: T,
    length: u32,
}

impl<'a, F: Format, R: Ring, T, S: AsRef<[Slot<T>]> + AsMut<[Slot<T>]>> Used<'a, F, R, T, S> {
    #[inline]
    pub(super) fn new(queue: &'a RequestQueue<F, R, T, S>, id: u16, token: T, length: u32) -> Self {
        Self { queue, id, token, length }
    }

    /// Bytes the device says it wrote, response and data together, cut to what it was allowed to.
    ///
    /// It says nothing that may be acted on. Many devices set it wrong (2.7.8.1, and 5.2.6.3 for virtio-blk): bhyve, SmartOS
    /// and ACRN say 1 for every request of virtio-blk, OpenBSD's vmd the length of the header, SPDK the data of reads and
    /// writes alike without the status, kvmtool all-ones for a request that failed. So neither whether a request is done, nor
    /// how, nor how much data came is taken from it, and no value is a fault: a device that wrote past its buffers has done
    /// so whatever it says. What decides is the response, which is made a value that no device answers before the device gets
    /// the slot ([`spoil_response`](Self::spoil_response)); data that a driver looks at itself lies in memory that was made
    /// blank. What is left for the length is to be shown to people.
    pub fn length(&self) -> u32 {
        self.length
    }

    /// Copies a part of the response. What lies past its end is left as it is.
    #[inline]
    pub fn read_response(&self, offset: usize, into: &mut [u8]) {
        let Some(rest) = usize::from(F::RESPONSE_BYTES).checked_sub(offset) else {
            return;
        };
        let length = into.len().min(rest);
        self.queue.responses.read_bytes(response_at::<F>(self.id) + offset, &mut into[..length]);
    }

    /// Makes the first bytes of the response all-ones, which no device answers: should the device give the slot's next
    /// request back without an answer, this one's is not taken for it.
    #[inline]
    pub fn spoil_response(&self, bytes: usize) {
        self.queue.spoil_response(self.id, bytes);
    }

    /// Takes the request.
    #[inline]
    pub fn take(self) -> T {
        self.token
    }
}
