//! VIRTIO_F_IN_ORDER: who came when, so that one used buffer can stand for a batch (2.7.9, 2.8.8).
//!
//! A queue's type says whether there is code for it at all, and the features whether it is used.

use super::DeviceFault;
use super::format::Format;
use super::requests::RequestQueue;
use super::ring::{Claim, Ring};
use super::slot::{NONE, Slot};

/// The requests in flight in the order in which they were made available, as a list through the slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Order {
    first: u16,
    last: u16,
    /// The end of the list of free slots, which is a queue then: so slots, and a split ring's descriptors with them, are
    /// taken in ring order (2.7.5).
    last_free: u16,
    /// A batch that the device named by its last request, and what it says of that one.
    pub(super) batch: Option<Claim>,
}

impl Order {
    pub(super) const fn empty(slots: u16) -> Self {
        Self { first: NONE, last: NONE, last_free: slots.wrapping_sub(1), batch: None }
    }
}

impl<F, R, T, S, const IN_ORDER: bool> RequestQueue<F, R, T, S, IN_ORDER>
where
    F: Format,
    R: Ring,
    S: AsRef<[Slot<T>]> + AsMut<[Slot<T>]>,
{
    /// Whether requests are used in the order in which they were made available.
    #[inline(always)]
    pub(super) fn is_in_order(&self) -> bool {
        IN_ORDER && self.order.is_some()
    }

    /// The next request that is done when the device uses them in order: what it names, or the first of a batch whose
    /// last one it names (2.7.9, 2.8.8).
    pub(super) fn next_in_order(&mut self) -> Result<Option<Claim>, DeviceFault> {
        let Some(mut order) = self.order else {
            return Ok(None);
        };
        let last = match order.batch {
            Some(last) if self.ring.covers_batch(self.in_flight)? => last,
            Some(last) => return Err(DeviceFault::BatchTooLong { id: last.id }),
            None => match self.ring.peek(self.in_flight)? {
                None => return Ok(None),
                Some(claim) => claim,
            },
        };
        let slots = self.slots.as_ref();
        let size = slots.len() as u16;
        let Some(named) = slots.get(last.id as usize) else {
            return Err(DeviceFault::UsedIdOutOfRange { id: last.id, size });
        };
        // Every request in flight is in the list, so the walk from batch to batch comes to the one that is named.
        let (Some(_), Some(first)) = (named.token.as_ref(), slots.get(usize::from(order.first))) else {
            return Err(DeviceFault::UsedIdNotInFlight { id: last.id });
        };
        let id = u32::from(order.first);
        let (claim, batch) = if id == last.id {
            (last, None)
        } else {
            // Those that are skipped count as read or written completely.
            (Claim { id, length: first.writable }, Some(last))
        };
        order.batch = batch;
        order.first = if order.first == order.last { NONE } else { first.next_in_order };
        self.order = Some(order);
        Ok(Some(claim))
    }

    /// Notes that `id` was made available last.
    pub(super) fn append_in_order(&mut self, id: u16) {
        let Some(order) = &mut self.order else {
            return;
        };
        let last = core::mem::replace(&mut order.last, id);
        if order.first == NONE {
            order.first = id;
        } else if let Some(slot) = self.slots.as_mut().get_mut(usize::from(last)) {
            slot.next_in_order = id;
        }
    }

    /// Frees the slots from `id` to `last`, which are a list: behind all that are free.
    pub(super) fn free_in_order(&mut self, id: u16, last: u16) {
        let Some(order) = &mut self.order else {
            return;
        };
        let slots = self.slots.as_mut();
        let end = core::mem::replace(&mut order.last_free, last);
        if let Some(end_of_all) = slots.get_mut(usize::from(last)) {
            end_of_all.next_free = NONE;
        }
        match slots.get_mut(usize::from(end)) {
            Some(end) if self.free != NONE => end.next_free = id,
            _ => self.free = id,
        }
    }
}
