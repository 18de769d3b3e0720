//! A split virtqueue, device side (2.7.6 to 2.7.10).

use std::sync::atomic::Ordering;

use super::chain::{self, Chain};
use super::queue::{Held, Ring, Used};
use super::{Ram, Violation};
use virtio::memory::SharedMemory;
use virtio::spec::Features;
use virtio::spec::ring::{AVAILABLE_NO_INTERRUPT, USED_NO_NOTIFY, available, used};

/// Descriptor table, available and used ring, and how far the device is in them.
#[derive(Debug)]
pub(super) struct SplitRing {
    queue: u16,
    size: u16,
    descriptors: u64,
    available: usize,
    used: usize,
    next_available: u16,
    /// Where the next chain begins, with VIRTIO_F_IN_ORDER.
    next_descriptor: u16,
    next_used: u16,
    /// The used index when the driver was last given a chance to be interrupted.
    signalled: u16,
    /// What the used index is to claim on top, once.
    jump: u16,
}

impl SplitRing {
    /// The ring at these addresses of descriptor table, available and used ring; `None` when it cannot be there (2.7).
    pub(super) fn new(ram: &Ram, queue: u16, size: u16, areas: [u64; 3]) -> Option<Self> {
        let [descriptors, available, used] = areas;
        let entries = usize::from(size);
        if descriptors % 16 != 0 || available % 2 != 0 || used % 4 != 0 {
            return None;
        }
        ram.offset(descriptors, 16 * entries)?;
        Some(Self {
            queue,
            size,
            descriptors,
            available: ram.offset(available, 6 + 2 * entries)?,
            used: ram.offset(used, 6 + 8 * entries)?,
            next_available: 0,
            next_descriptor: 0,
            next_used: 0,
            signalled: 0,
            jump: 0,
        })
    }

    fn walk(&self, ram: &Ram, features: Features, head: u16) -> Result<Chain, Violation> {
        chain::walk(ram, self.descriptors, self.size, features, head)
    }

    fn available_index(&self, ram: &Ram) -> u16 {
        ram.words().load16(self.available + available::INDEX, Ordering::Acquire)
    }

    fn available_entry(&self, ram: &Ram, index: u16) -> u16 {
        let place = usize::from(index & (self.size - 1));
        ram.words().load16(self.available + available::RING + 2 * place, Ordering::Relaxed)
    }
}

impl Ring for SplitRing {
    fn check_driver_area(&self, ram: &Ram, features: Features) -> Result<(), Violation> {
        let flags = ram.words().load16(self.available + available::FLAGS, Ordering::Relaxed);
        let event_idx = features.contains(Features::RING_EVENT_IDX);
        if flags > AVAILABLE_NO_INTERRUPT || (event_idx && flags != 0) {
            return Err(Violation::AvailableFlags { queue: self.queue, flags });
        }
        Ok(())
    }

    /// [`check_unchanged`](Ring::check_unchanged) looks at every chain.
    fn check_in_flight(&mut self, _ram: &Ram, _violations: &mut Vec<Violation>) {}

    fn take(&mut self, ram: &Ram, features: Features, held: Held<'_>) -> Result<Option<Chain>, Violation> {
        let index = self.available_index(ram);
        let waiting = index.wrapping_sub(self.next_available);
        let room = usize::from(self.size).saturating_sub(held.ids().count());
        if usize::from(waiting) > room {
            return Err(Violation::AvailableIndexJumped {
                queue: self.queue,
                index,
                expected: self.next_available,
            });
        }
        if waiting == 0 {
            return Ok(None);
        }
        let head = self.available_entry(ram, self.next_available);
        self.next_available = self.next_available.wrapping_add(1);
        if held.ids().any(|id| id == head) {
            return Err(Violation::HeadInFlight { head });
        }
        let chain = self.walk(ram, features, head)?;
        if features.contains(Features::IN_ORDER) && head != self.next_descriptor {
            return Err(Violation::NotInRingOrder { head });
        }
        self.next_descriptor = head.wrapping_add(chain.descriptors) & (self.size - 1);
        Ok(Some(chain))
    }

    fn position(&self, ram: &Ram) -> u16 {
        self.available_index(ram)
    }

    fn has_more(&self, ram: &Ram) -> bool {
        self.available_index(ram) != self.next_available
    }

    fn check_unchanged(&mut self, ram: &Ram, features: Features, chain: &Chain) -> Result<(), Violation> {
        let unchanged = self.walk(ram, features, chain.head).is_ok_and(|now| now == *chain);
        if unchanged { Ok(()) } else { Err(Violation::ChangedInFlight { head: chain.head }) }
    }

    fn ask_for_notification(&mut self, ram: &Ram, features: Features, polling: bool) {
        let words = ram.words();
        if features.contains(Features::RING_EVENT_IDX) {
            let avail_event = self.used + used::RING + 8 * usize::from(self.size);
            // An entry that was taken already is not passed again for 65536 requests.
            let event = if polling { self.next_available.wrapping_sub(1) } else { self.next_available };
            words.store16(avail_event, event, Ordering::Relaxed);
        } else {
            let flags = if polling { USED_NO_NOTIFY } else { 0 };
            words.store16(self.used + used::FLAGS, flags, Ordering::Relaxed);
        }
        words.fence(Ordering::SeqCst);
    }

    fn unused_id(&self, ram: &Ram, held: Held<'_>) -> Option<u16> {
        let waiting = 0..self.available_index(ram).wrapping_sub(self.next_available);
        let taken: Vec<u16> = waiting
            .map(|step| self.available_entry(ram, self.next_available.wrapping_add(step)))
            .chain(held.ids())
            .collect();
        (0..self.size).rev().find(|id| !taken.contains(id))
    }

    /// The entry says the last of the requests it stands for; the index moves on by all of them (2.7.9).
    fn push_used(&mut self, ram: &Ram, used: Used) {
        let entry = self.used + used::RING + 8 * usize::from(self.next_used & (self.size - 1));
        ram.words().store32(entry, used.id, Ordering::Relaxed);
        ram.words().store32(entry + 4, used.length, Ordering::Relaxed);
        self.next_used = self.next_used.wrapping_add(used.requests);
    }

    fn push_false(&mut self, ram: &Ram, used: Used) {
        self.push_used(ram, used);
    }

    fn jump(&mut self, _ram: &Ram, jump: u16) {
        self.jump = self.jump.wrapping_add(jump);
    }

    fn publish_used(&mut self, ram: &Ram) {
        let index = self.next_used.wrapping_add(core::mem::take(&mut self.jump));
        ram.words().store16(self.used + used::INDEX, index, Ordering::Release);
    }

    fn interrupt_wanted(&mut self, ram: &Ram, features: Features) -> bool {
        let words = ram.words();
        words.fence(Ordering::SeqCst);
        let old = core::mem::replace(&mut self.signalled, self.next_used);
        if old == self.next_used {
            return false;
        }
        if features.contains(Features::RING_EVENT_IDX) {
            let used_event = self.available + available::RING + 2 * usize::from(self.size);
            let event = words.load16(used_event, Ordering::Relaxed);
            // By the definition (2.7.10.1), step by step, not by the formula the driver uses.
            let count = self.next_used.wrapping_sub(old);
            (0..count).any(|step| old.wrapping_add(step) == event)
        } else {
            words.load16(self.available + available::FLAGS, Ordering::Relaxed) & AVAILABLE_NO_INTERRUPT == 0
        }
    }
}
