//! A split virtqueue, device side (2.7.6 to 2.7.10).

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use super::chain::{self, Chain};
use super::{Ram, Violation};
use crate::memory::SharedMemory;
use crate::spec::Features;
use crate::spec::pci::NO_VECTOR;
use crate::spec::ring::{AVAILABLE_NO_INTERRUPT, USED_NO_NOTIFY, available, used};

/// One of the three areas' addresses, as its two halves are written.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AreaAddress {
    low: Option<u32>,
    high: Option<u32>,
}

impl AreaAddress {
    pub(super) fn set(&mut self, high: bool, value: u32) {
        *(if high { &mut self.high } else { &mut self.low }) = Some(value);
    }

    pub(super) fn half(&self, high: bool) -> u32 {
        (if high { self.high } else { self.low }).unwrap_or(0)
    }

    fn whole(&self) -> Option<u64> {
        Some(u64::from(self.low?) | u64::from(self.high?) << 32)
    }
}

/// A queue: its registers, and how far the device is.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) number: u16,
    pub(super) size: u16,
    pub(super) vector: u16,
    pub(super) vector_unconfirmed: bool,
    pub(super) enabled: bool,
    pub(super) areas: [AreaAddress; 3],
    pub(super) notified: bool,
    pub(super) notifications: u64,
    /// Chains taken from the available ring and not answered.
    pub(super) in_hand: VecDeque<Chain>,
    /// Chains the model keeps.
    pub(super) kept: Vec<Chain>,
    /// The driver broke the ring; nothing more is taken from it.
    pub(super) broken: bool,
    descriptors: u64,
    available: usize,
    used: usize,
    next_available: u16,
    next_used: u16,
    /// The used index when the driver was last given a chance to be interrupted.
    signalled: u16,
}

impl Queue {
    pub(super) fn new(number: u16, size: u16) -> Self {
        Self { number, size, vector: NO_VECTOR, ..Self::default() }
    }

    /// Forgets everything but how often it was notified.
    pub(super) fn reset(&mut self, size: u16) {
        *self = Self { notifications: self.notifications, ..Self::new(self.number, size) };
    }

    /// Starts the queue with the addresses that were written.
    pub(super) fn enable(&mut self, ram: &Ram) -> Result<(), Violation> {
        let wrong = Violation::QueueAddress { queue: self.number };
        let [Some(descriptors), Some(available), Some(used)] = self.areas.map(|area| area.whole()) else {
            return Err(wrong);
        };
        let entries = usize::from(self.size);
        let aligned = descriptors % 16 == 0 && available % 2 == 0 && used % 4 == 0;
        let (Some(_), Some(available), Some(used), true) = (
            ram.offset(descriptors, 16 * entries),
            ram.offset(available, 6 + 2 * entries),
            ram.offset(used, 6 + 8 * entries),
            aligned,
        ) else {
            return Err(wrong);
        };
        self.descriptors = descriptors;
        self.available = available;
        self.used = used;
        self.enabled = true;
        Ok(())
    }

    fn walk(&self, ram: &Ram, features: Features, head: u16) -> Result<Chain, Violation> {
        chain::walk(ram, self.descriptors, self.size, features, head)
    }

    /// Takes every chain from the available ring.
    pub(super) fn fetch(&mut self, ram: &Ram, features: Features, violations: &mut Vec<Violation>) {
        if self.broken {
            return;
        }
        let words = ram.words();
        let flags = words.load16(self.available + available::FLAGS, Ordering::Relaxed);
        let event_idx = features.contains(Features::RING_EVENT_IDX);
        if flags > AVAILABLE_NO_INTERRUPT || (event_idx && flags != 0) {
            violations.push(Violation::AvailableFlags { queue: self.number, flags });
        }
        let index = words.load16(self.available + available::INDEX, Ordering::Acquire);
        let waiting = index.wrapping_sub(self.next_available);
        let room = usize::from(self.size) - self.in_hand.len() - self.kept.len();
        if usize::from(waiting) > room {
            violations.push(Violation::AvailableIndexJumped {
                queue: self.number,
                index,
                expected: self.next_available,
            });
            self.broken = true;
            return;
        }
        for _ in 0..waiting {
            let place = usize::from(self.next_available & (self.size - 1));
            let head = words.load16(self.available + available::RING + 2 * place, Ordering::Relaxed);
            self.next_available = self.next_available.wrapping_add(1);
            if self.in_hand.iter().chain(&self.kept).any(|chain| chain.head == head) {
                violations.push(Violation::HeadInFlight { head });
                self.broken = true;
                return;
            }
            match self.walk(ram, features, head) {
                Ok(chain) => self.in_hand.push_back(chain),
                Err(violation) => {
                    violations.push(violation);
                    self.broken = true;
                    return;
                }
            }
        }
    }

    /// Where the driver goes on in its ring, as a notification tells it (2.9).
    pub(super) fn position(&self, ram: &Ram) -> u16 {
        ram.words().load16(self.available + available::INDEX, Ordering::Acquire)
    }

    /// Whether there is something in the available ring to fetch.
    pub(super) fn has_more(&self, ram: &Ram) -> bool {
        let index = ram.words().load16(self.available + available::INDEX, Ordering::Acquire);
        !self.broken && index != self.next_available
    }

    /// Whether a chain is still what it was when it was fetched.
    pub(super) fn is_unchanged(&self, ram: &Ram, features: Features, chain: &Chain) -> bool {
        self.walk(ram, features, chain.head).is_ok_and(|now| now == *chain)
    }

    /// Says from when on the device wants a notification; while it polls, it wants none.
    pub(super) fn ask_for_notification(&mut self, ram: &Ram, features: Features, polling: bool) {
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

    /// An index below the size that the driver did not give to the device: neither fetched nor waiting in the ring.
    pub(super) fn unused_id(&self, ram: &Ram) -> Option<u16> {
        let words = ram.words();
        let index = words.load16(self.available + available::INDEX, Ordering::Acquire);
        let waiting = (0..index.wrapping_sub(self.next_available)).map(|step| {
            let place = usize::from(self.next_available.wrapping_add(step) & (self.size - 1));
            words.load16(self.available + available::RING + 2 * place, Ordering::Relaxed)
        });
        let taken: Vec<u16> =
            waiting.chain(self.in_hand.iter().chain(&self.kept).map(|chain| chain.head)).collect();
        (0..self.size).rev().find(|id| !taken.contains(id))
    }

    /// Writes a used entry; the driver sees it with [`publish_used`](Self::publish_used).
    pub(super) fn push_used(&mut self, ram: &Ram, id: u32, length: u32) {
        let entry = self.used + used::RING + 8 * usize::from(self.next_used & (self.size - 1));
        ram.words().store32(entry, id, Ordering::Relaxed);
        ram.words().store32(entry + 4, length, Ordering::Relaxed);
        self.next_used = self.next_used.wrapping_add(1);
    }

    pub(super) fn publish_used(&mut self, ram: &Ram, jump: u16) {
        let index = self.next_used.wrapping_add(jump);
        ram.words().store16(self.used + used::INDEX, index, Ordering::Release);
    }

    /// Whether the driver wants to be interrupted for what was used since the last time it was asked.
    pub(super) fn interrupt_wanted(&mut self, ram: &Ram, features: Features) -> bool {
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
