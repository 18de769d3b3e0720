//! The split virtqueue, driver side (2.7.13 and 2.7.14).

use core::sync::atomic::Ordering;

use super::event::need_event;
use super::{Buffer, Claim, DirectChain, Ring, Table, Taken};
use crate::memory::{Entries, SharedMemory};
use crate::queue::layout::{LayoutError, RingFormat, RingParts, RingShape};
use crate::queue::{DeviceFault, Notify, QueueAreas};
use crate::spec::Features;
use crate::spec::ring::{AVAILABLE_NO_INTERRUPT, DESCRIPTOR_BYTES, DescriptorFlags, USED_NO_NOTIFY};

/// Bytes of an entry of the available ring (2.7.6).
const AVAILABLE_ENTRY: usize = 2;
/// Bytes of an entry of the used ring (2.7.8).
const USED_ENTRY: usize = 8;

/// A split ring.
#[derive(Debug)]
pub struct SplitRing<M> {
    available: Entries<M, AVAILABLE_ENTRY>,
    used: Entries<M, USED_ENTRY>,
    descriptors: M,
    event_idx: bool,
    /// Next entry of the available ring to fill; wraps at 2^16.
    next_available: u16,
    /// Of those before it, so many were not shown to the device yet.
    pending: u16,
    /// Next entry of the used ring to read; wraps at 2^16.
    next_used: u16,
    /// The used index as it was read last: entries below it are there.
    seen: u16,
}

impl<M: SharedMemory> SplitRing<M> {
    #[inline(always)]
    fn push(&mut self, head: u16) {
        self.available.view().store_entry(self.next_available, head);
        self.next_available = self.next_available.wrapping_add(1);
        self.pending += 1;
    }

    fn write(&self, index: u16, buffer: Buffer, next: u16) {
        let at = usize::from(index) * DESCRIPTOR_BYTES;
        let rest = u64::from(buffer.length) | u64::from(buffer.flags.bits()) << 32 | u64::from(next) << 48;
        self.descriptors.store64(at, buffer.address, Ordering::Relaxed);
        self.descriptors.store64(at + 8, rest, Ordering::Relaxed);
    }

    /// Shows the device the entries up to `new`, of which it has not seen the last `pushed`.
    #[inline(always)]
    fn show(&self, new: u16, pushed: u16) -> Notify {
        // Release: the entries and tables must be visible before the index that covers them (2.7.13.3.1).
        self.available.view().set_index(new, Ordering::Release);
        // The index must be visible before the device's wish is read. Otherwise the device can look at the old index and
        // go to sleep while we read its old wish not to be told, and the request stays in the ring (2.7.13.4.1).
        self.available.fence(Ordering::SeqCst);
        let notify = if self.event_idx {
            need_event(self.used.view().event(), new, new.wrapping_sub(pushed))
        } else {
            self.used.view().flags() & USED_NO_NOTIFY == 0
        };
        if notify { Notify::Device { next: new } } else { Notify::Suppressed }
    }

    /// Looks at the used index; how many entries there are now that were not taken.
    fn look(&mut self, in_flight: u16) -> Result<u16, DeviceFault> {
        // Acquire: the entries, the responses and the data are read after the index that covers them.
        let index = self.used.view().index(Ordering::Acquire);
        let waiting = index.wrapping_sub(self.next_used);
        if waiting > in_flight {
            return Err(jumped(index, self.next_used, in_flight));
        }
        self.seen = index;
        Ok(waiting)
    }
}

#[cold]
const fn jumped(index: u16, expected: u16, in_flight: u16) -> DeviceFault {
    DeviceFault::UsedIndexJumped { index, expected, in_flight }
}

impl<M: SharedMemory> Ring for SplitRing<M> {
    type Memory = M;

    fn new(shape: RingShape, parts: RingParts<M>, features: Features) -> Result<Self, LayoutError> {
        if shape.format == RingFormat::Packed {
            return Err(LayoutError::OtherRing(shape.format));
        }
        let available = Entries::new(parts.driver, 0, shape.size);
        let used = Entries::new(parts.device, shape.used_start(), shape.size);
        let (Some(available), Some(used)) = (available, used) else {
            return Err(LayoutError::TooLittleMemory);
        };
        Ok(Self {
            available,
            used,
            descriptors: parts.descriptors,
            event_idx: features.contains(Features::RING_EVENT_IDX),
            next_available: 0,
            pending: 0,
            next_used: 0,
            seen: 0,
        })
    }

    fn reset(&mut self) {
        for area in [self.available.memory(), self.used.memory()] {
            for word in (0..area.len()).step_by(2) {
                area.store16(word, 0, Ordering::Relaxed);
            }
        }
        self.next_available = 0;
        self.pending = 0;
        self.next_used = 0;
        self.seen = 0;
    }

    fn areas(&self) -> QueueAreas {
        QueueAreas {
            descriptor_area: self.descriptors.device_address(),
            driver_area: self.available.device_address(),
            device_area: self.used.device_address(),
        }
    }

    #[inline]
    fn is_linked(&self) -> bool {
        true
    }

    fn point_at(&mut self, id: u16, table: Table) {
        let flags = DescriptorFlags::INDIRECT;
        self.write(id, Buffer { address: table.address, length: table.bytes, flags }, 0);
    }

    #[inline]
    fn push_indirect(&mut self, id: u16, table: Table, pointed: bool) {
        if !pointed {
            self.point_at(id, table);
        }
        self.push(id);
    }

    #[inline(always)]
    fn push_and_publish(&mut self, id: u16, table: Table, pointed: bool) -> Notify {
        if !pointed {
            self.point_at(id, table);
        }
        if self.pending != 0 {
            self.push(id);
            return self.publish();
        }
        let old = self.next_available;
        self.available.view().store_entry(old, id);
        let new = old.wrapping_add(1);
        self.next_available = new;
        self.show(new, 1)
    }

    fn write_direct(&mut self, _id: u16, _nth: u16, own: u16, next: u16, buffer: Buffer) {
        self.write(own, buffer, next);
    }

    fn push_direct(&mut self, id: u16, _chain: DirectChain) {
        self.push(id);
    }

    fn publish(&mut self) -> Notify {
        let pushed = core::mem::take(&mut self.pending);
        self.show(self.next_available, pushed)
    }

    fn position(&self) -> u16 {
        self.next_available
    }

    #[inline]
    fn peek(&mut self, in_flight: u16) -> Result<Option<Claim>, DeviceFault> {
        if self.seen == self.next_used && self.look(in_flight)? == 0 {
            return Ok(None);
        }
        let (id, length) = self.used.view().load_entry(self.next_used);
        Ok(Some(Claim { id, length }))
    }

    #[inline(always)]
    fn each_used(&mut self, in_flight: u16, mut take: impl FnMut(u32) -> Taken) -> bool {
        // In local variables: what is behind `self` would be read again after each of the device's words.
        let used = self.used.view();
        let (first, mut next, mut seen) = (self.next_used, self.next_used, self.seen);
        let more = loop {
            if next == seen {
                // Acquire: the entries, the responses and the data are read after the index that covers them.
                seen = used.index(Ordering::Acquire);
                if next == seen {
                    break false;
                }
                if seen.wrapping_sub(next) > in_flight.wrapping_sub(next.wrapping_sub(first)) {
                    // As if it had not been seen.
                    seen = next;
                    break true;
                }
            }
            match take(used.load_first(next)) {
                Taken::Next => next = next.wrapping_add(1),
                Taken::Last => {
                    next = next.wrapping_add(1);
                    break true;
                }
                Taken::Left => break true,
            }
        };
        self.next_used = next;
        self.seen = seen;
        more
    }

    fn covers_batch(&mut self, in_flight: u16) -> Result<bool, DeviceFault> {
        Ok(self.seen != self.next_used || self.look(in_flight)? != 0)
    }

    #[inline]
    fn advance(&mut self, _descriptors: u16) {
        self.next_used = self.next_used.wrapping_add(1);
    }

    #[inline]
    fn disable_interrupts(&mut self) {
        // With EVENT_IDX the used_event that is left behind by the drain suppresses already.
        if !self.event_idx {
            self.available.view().set_flags(AVAILABLE_NO_INTERRUPT);
        }
    }

    #[inline]
    fn enable_interrupts(&mut self) -> bool {
        let available = self.available.view();
        if self.event_idx {
            available.set_event(self.next_used)
        } else {
            available.set_flags(0)
        }
        // Our wish must be visible before the index is read. Otherwise the device can read the old wish while we read the
        // old index, and neither an interrupt nor this drain takes the buffer (2.7.14).
        self.available.fence(Ordering::SeqCst);
        // Acquire is not needed to know that there is something; whoever takes it looks again.
        self.used.view().index(Ordering::Relaxed) != self.next_used
    }
}
