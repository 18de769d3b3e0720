//! The packed virtqueue, driver side (2.8).
//!
//! One ring of descriptors, written by both sides. The driver makes the next ones available in ring order; the device
//! writes used ones over them in ring order too, but with the ids of the requests in whichever order it finished them,
//! so the ids are what says whose they are.
//!
//! Length, id and flags of a descriptor are one word of 64 bits here, written and read at once: whoever sees the flags
//! sees the rest.

use core::sync::atomic::Ordering;

use super::event::Position;
use super::{Buffer, Claim, DirectChain, Ring, Table};
use crate::memory::SharedMemory;
use crate::queue::layout::{LayoutError, RingFormat, RingParts, RingShape};
use crate::queue::{DeviceFault, Notify, QueueAreas};
use crate::spec::Features;
use crate::spec::ring::packed::{
    AVAILABLE, EVENTS_DESCRIPTOR, EVENTS_DISABLE, EVENTS_ENABLE, USED, descriptor,
};
use crate::spec::ring::{DESCRIPTOR_BYTES, DescriptorFlags};

/// A packed ring.
#[derive(Debug)]
pub struct PackedRing<M> {
    descriptors: M,
    driver_events: M,
    device_events: M,
    size: u16,
    event_idx: bool,
    /// Next descriptor to make available.
    next_available: Position,
    /// Descriptors pushed since the device was last shown something.
    pushed: u16,
    /// The descriptor that begins what was pushed since; its last word is held back, so that all of it becomes visible
    /// with one store.
    held_back: Option<HeldBack>,
    /// Next descriptor that the device will write as used.
    next_used: Position,
}

#[derive(Clone, Copy, Debug)]
struct HeldBack {
    position: Position,
    word: u64,
}

/// Length, id and flags of a descriptor.
#[inline]
const fn word(length: u32, id: u16, flags: u16) -> u64 {
    length as u64 | (id as u64) << 32 | (flags as u64) << 48
}

/// The flags that make a descriptor at this position available.
#[inline]
const fn available(position: Position) -> u16 {
    if position.wrap() { AVAILABLE } else { USED }
}

/// The flags of a descriptor at this position that is neither available for the device nor used for the driver: those
/// it had when it was used a round ago.
const fn used_a_round_ago(position: Position) -> u16 {
    if position.wrap() { 0 } else { AVAILABLE | USED }
}

#[inline]
const fn offset(position: Position) -> usize {
    position.offset() as usize * DESCRIPTOR_BYTES
}

/// Where a descriptor's length, id and flags are.
#[inline]
const fn last_word(position: Position) -> usize {
    offset(position) + descriptor::LENGTH_ID_FLAGS
}

impl<M: SharedMemory> PackedRing<M> {
    /// Writes the word that makes a chain visible, or holds it back when it is the first of its batch.
    #[inline]
    fn show(&mut self, position: Position, word: u64, descriptors: u16) {
        self.next_available = position.ahead(descriptors, self.size);
        self.pushed += descriptors;
        if self.held_back.is_none() {
            self.held_back = Some(HeldBack { position, word });
        } else {
            // Release: a device that looks past the one that is held back sees whole chains only (2.8.21, 2.8.6).
            self.descriptors.store64(last_word(position), word, Ordering::Release);
        }
    }

    /// Length, id and flags of the descriptor that the device uses next, if it has.
    #[inline]
    fn used_word(&self, order: Ordering) -> Option<u64> {
        let word = self.descriptors.load64(last_word(self.next_used), order);
        let flags = (word >> 48) as u16;
        let used = if self.next_used.wrap() { AVAILABLE | USED } else { 0 };
        (flags & (AVAILABLE | USED) == used).then_some(word)
    }
}

impl<M: SharedMemory> Ring for PackedRing<M> {
    type Memory = M;

    fn new(shape: RingShape, parts: RingParts<M>, features: Features) -> Result<Self, LayoutError> {
        if shape.format != RingFormat::Packed {
            return Err(LayoutError::OtherRing(shape.format));
        }
        Ok(Self {
            descriptors: parts.descriptors,
            driver_events: parts.driver,
            device_events: parts.device,
            size: shape.size,
            event_idx: features.contains(Features::RING_EVENT_IDX),
            next_available: Position::START,
            pushed: 0,
            held_back: None,
            next_used: Position::START,
        })
    }

    fn reset(&mut self) {
        for at in (0..usize::from(self.size) * DESCRIPTOR_BYTES).step_by(8) {
            self.descriptors.store64(at, 0, Ordering::Relaxed);
        }
        self.driver_events.store32(0, 0, Ordering::Relaxed);
        self.device_events.store32(0, 0, Ordering::Relaxed);
        self.next_available = Position::START;
        self.pushed = 0;
        self.held_back = None;
        self.next_used = Position::START;
    }

    fn areas(&self) -> QueueAreas {
        QueueAreas {
            descriptor_area: self.descriptors.device_address(),
            driver_area: self.driver_events.device_address(),
            device_area: self.device_events.device_address(),
        }
    }

    #[inline]
    fn is_linked(&self) -> bool {
        false
    }

    fn point_at(&mut self, _id: u16, _table: Table) {}

    #[inline]
    fn push_indirect(&mut self, id: u16, table: Table, _pointed: bool) {
        let position = self.next_available;
        let flags = DescriptorFlags::INDIRECT.bits() | available(position);
        self.descriptors.store64(offset(position) + descriptor::ADDRESS, table.address, Ordering::Relaxed);
        self.show(position, word(table.bytes, id, flags), 1);
    }

    fn write_direct(&mut self, id: u16, nth: u16, _own: u16, _next: u16, buffer: Buffer) {
        let position = self.next_available.ahead(nth, self.size);
        self.descriptors.store64(offset(position) + descriptor::ADDRESS, buffer.address, Ordering::Relaxed);
        let word = word(buffer.length, id, used_a_round_ago(position));
        self.descriptors.store64(last_word(position), word, Ordering::Relaxed);
    }

    fn push_direct(&mut self, id: u16, chain: DirectChain) {
        let flags = |nth: u16, position| {
            let next = if nth + 1 < chain.count { DescriptorFlags::NEXT } else { DescriptorFlags::empty() };
            let write = if nth < chain.readable { DescriptorFlags::empty() } else { DescriptorFlags::WRITE };
            (next | write).bits() | available(position)
        };
        for nth in 1..chain.count {
            let position = self.next_available.ahead(nth, self.size);
            let at = offset(position) + descriptor::FLAGS;
            self.descriptors.store16(at, flags(nth, position), Ordering::Relaxed);
        }
        let first = self.next_available;
        self.show(first, word(chain.first_length, id, flags(0, first)), chain.count);
    }

    #[inline]
    fn publish(&mut self) -> Notify {
        let Some(HeldBack { position, word }) = self.held_back.take() else {
            return Notify::Suppressed;
        };
        let (new, size) = (self.next_available, self.size);
        let pushed = core::mem::take(&mut self.pushed);
        // Release: everything of the batch must be visible before the descriptor that begins it (2.8.21.1).
        self.descriptors.store64(last_word(position), word, Ordering::Release);
        // The descriptor must be visible before the device's wish is read. Otherwise the device can look at the old
        // descriptor and go to sleep while we read its old wish not to be told, and the request stays in the ring
        // (2.8.21.3.1).
        self.descriptors.fence(Ordering::SeqCst);
        let events = self.device_events.load32(0, Ordering::Relaxed);
        let notify = match (events >> 16) as u16 {
            EVENTS_DISABLE => false,
            EVENTS_DESCRIPTOR if self.event_idx => {
                new.passed(Position::from_word(events as u16), pushed, size)
            }
            // Also what the device must not say: a notification too many does no harm.
            _ => true,
        };
        if notify { Notify::Device { next: new.word() } } else { Notify::Suppressed }
    }

    fn position(&self) -> u16 {
        self.next_available.word()
    }

    #[inline]
    fn peek(&mut self, _in_flight: u16) -> Result<Option<Claim>, DeviceFault> {
        // Acquire: the response and the data are read after the flags that say that they are there.
        Ok(self.used_word(Ordering::Acquire).map(|word| {
            let written = (word >> 48) as u16 & DescriptorFlags::WRITE.bits() != 0;
            // Without the flag the length means nothing (2.8.4).
            let length = if written { word as u32 } else { 0 };
            Claim { id: u32::from((word >> 32) as u16), length }
        }))
    }

    fn covers_batch(&mut self, _in_flight: u16) -> Result<bool, DeviceFault> {
        // One used descriptor stands for the whole batch (2.8.8).
        Ok(true)
    }

    #[inline]
    fn advance(&mut self, descriptors: u16) {
        self.next_used = self.next_used.ahead(descriptors, self.size);
    }

    #[inline]
    fn disable_interrupts(&mut self) {
        self.driver_events.store32(0, u32::from(EVENTS_DISABLE) << 16, Ordering::Relaxed);
    }

    #[inline]
    fn enable_interrupts(&mut self) -> bool {
        let events = if self.event_idx {
            u32::from(self.next_used.word()) | u32::from(EVENTS_DESCRIPTOR) << 16
        } else {
            u32::from(EVENTS_ENABLE) << 16
        };
        self.driver_events.store32(0, events, Ordering::Relaxed);
        // Our wish must be visible before the descriptor is read. Otherwise the device can read the old wish while we
        // read the old descriptor, and neither an interrupt nor this drain takes the buffer.
        self.descriptors.fence(Ordering::SeqCst);
        self.used_word(Ordering::Relaxed).is_some()
    }
}
