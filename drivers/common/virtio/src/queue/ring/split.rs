//! The split virtqueue, driver side (2.7.13 and 2.7.14).

use core::sync::atomic::Ordering;

use super::event::need_event;
use super::{Buffer, Claim, DirectChain, Ring, Table};
use crate::memory::SharedMemory;
use crate::queue::layout::{LayoutError, RingFormat, RingParts, RingShape};
use crate::queue::{DeviceFault, Notify, QueueAreas};
use crate::spec::Features;
use crate::spec::ring::{
    AVAILABLE_NO_INTERRUPT, DESCRIPTOR_BYTES, DescriptorFlags, USED_NO_NOTIFY, available, used,
};

/// A split ring.
#[derive(Debug)]
pub struct SplitRing<M> {
    descriptors: M,
    available: M,
    used: M,
    /// Where the used ring begins in its memory.
    used_start: usize,
    /// The size, which is a power of two, less one.
    mask: u16,
    event_idx: bool,
    /// Next entry of the available ring to fill; wraps at 2^16.
    next_available: u16,
    /// What the device was told of `next_available`.
    published: u16,
    /// Next entry of the used ring to read; wraps at 2^16.
    next_used: u16,
    /// The used index as it was read last: entries below it are there.
    seen: u16,
}

impl<M: SharedMemory> SplitRing<M> {
    fn size(&self) -> usize {
        usize::from(self.mask) + 1
    }

    /// Where the driver says from which used entry on it wants an interrupt (2.7.7).
    #[inline]
    fn used_event(&self) -> usize {
        available::RING + 2 * self.size()
    }

    /// Where the device says from which available entry on it wants a notification (2.7.10).
    #[inline]
    fn avail_event(&self) -> usize {
        self.used_start + used::RING + 8 * self.size()
    }

    #[inline]
    fn push(&mut self, head: u16) {
        let place = usize::from(self.next_available & self.mask);
        self.next_available = self.next_available.wrapping_add(1);
        self.available.store16(available::RING + 2 * place, head, Ordering::Relaxed);
    }

    fn write(&self, index: u16, buffer: Buffer, next: u16) {
        let at = usize::from(index) * DESCRIPTOR_BYTES;
        let rest = u64::from(buffer.length) | u64::from(buffer.flags.bits()) << 32 | u64::from(next) << 48;
        self.descriptors.store64(at, buffer.address, Ordering::Relaxed);
        self.descriptors.store64(at + 8, rest, Ordering::Relaxed);
    }

    /// Looks at the used index; how many entries there are now that were not taken.
    fn look(&mut self, in_flight: u16) -> Result<u16, DeviceFault> {
        // Acquire: the entries, the responses and the data are read after the index that covers them.
        self.seen = self.used.load16(self.used_start + used::INDEX, Ordering::Acquire);
        let waiting = self.seen.wrapping_sub(self.next_used);
        if waiting > in_flight {
            return Err(DeviceFault::UsedIndexJumped {
                index: self.seen,
                expected: self.next_used,
                in_flight,
            });
        }
        Ok(waiting)
    }
}

impl<M: SharedMemory> Ring for SplitRing<M> {
    type Memory = M;

    fn new(shape: RingShape, parts: RingParts<M>, features: Features) -> Result<Self, LayoutError> {
        if shape.format == RingFormat::Packed {
            return Err(LayoutError::OtherRing(shape.format));
        }
        Ok(Self {
            descriptors: parts.descriptors,
            available: parts.driver,
            used: parts.device,
            used_start: shape.used_start(),
            mask: shape.size - 1,
            event_idx: features.contains(Features::RING_EVENT_IDX),
            next_available: 0,
            published: 0,
            next_used: 0,
            seen: 0,
        })
    }

    fn reset(&mut self) {
        for area in [&self.available, &self.used] {
            for word in (0..area.len()).step_by(2) {
                area.store16(word, 0, Ordering::Relaxed);
            }
        }
        self.next_available = 0;
        self.published = 0;
        self.next_used = 0;
        self.seen = 0;
    }

    fn areas(&self) -> QueueAreas {
        QueueAreas {
            descriptor_area: self.descriptors.device_address(),
            driver_area: self.available.device_address(),
            device_area: self.used.device_address() + self.used_start as u64,
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

    fn write_direct(&mut self, _id: u16, _nth: u16, own: u16, next: u16, buffer: Buffer) {
        self.write(own, buffer, next);
    }

    fn push_direct(&mut self, id: u16, _chain: DirectChain) {
        self.push(id);
    }

    #[inline]
    fn publish(&mut self) -> Notify {
        let new = self.next_available;
        let old = core::mem::replace(&mut self.published, new);
        // Release: the entries and tables must be visible before the index that covers them (2.7.13.3.1).
        self.available.store16(available::INDEX, new, Ordering::Release);
        // The index must be visible before the device's wish is read. Otherwise the device can look at the old index and
        // go to sleep while we read its old wish not to be told, and the request stays in the ring (2.7.13.4.1).
        self.available.fence(Ordering::SeqCst);
        let notify = if self.event_idx {
            let event = self.used.load16(self.avail_event(), Ordering::Relaxed);
            need_event(event, new, old)
        } else {
            let flags = self.used.load16(self.used_start + used::FLAGS, Ordering::Relaxed);
            flags & USED_NO_NOTIFY == 0
        };
        if notify { Notify::Device { next: new } } else { Notify::Suppressed }
    }

    fn position(&self) -> u16 {
        self.next_available
    }

    #[inline]
    fn peek(&mut self, in_flight: u16) -> Result<Option<Claim>, DeviceFault> {
        if self.seen == self.next_used && self.look(in_flight)? == 0 {
            return Ok(None);
        }
        let entry = self.used_start + used::RING + 8 * usize::from(self.next_used & self.mask);
        let (id, length) = self.used.load32_pair(entry);
        Ok(Some(Claim { id, length }))
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
            self.available.store16(available::FLAGS, AVAILABLE_NO_INTERRUPT, Ordering::Relaxed);
        }
    }

    #[inline]
    fn enable_interrupts(&mut self) -> bool {
        if self.event_idx {
            self.available.store16(self.used_event(), self.next_used, Ordering::Relaxed);
        } else {
            self.available.store16(available::FLAGS, 0, Ordering::Relaxed);
        }
        // Our wish must be visible before the index is read. Otherwise the device can read the old wish while we read the
        // old index, and neither an interrupt nor this drain takes the buffer (2.7.14).
        self.available.fence(Ordering::SeqCst);
        // Acquire is not needed to know that there is something; whoever takes it looks again.
        self.used.load16(self.used_start + used::INDEX, Ordering::Relaxed) != self.next_used
    }
}
