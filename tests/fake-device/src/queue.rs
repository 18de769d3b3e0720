//! A virtqueue as its registers and the requests that the device has; the ring itself is split or packed (2.6).

use std::collections::VecDeque;
use std::fmt::Debug;

use super::packed_ring::{self, PackedRing};
use super::split_ring::SplitRing;
use super::{Chain, Ram, Violation};
use virtio::spec::Features;
use virtio::spec::pci::NO_VECTOR;

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

/// The requests that the device has.
#[derive(Clone, Copy)]
pub(super) struct Held<'a> {
    pub(super) in_hand: &'a VecDeque<Chain>,
    pub(super) kept: &'a [Chain],
}

impl Held<'_> {
    pub(super) fn ids(&self) -> impl Iterator<Item = u16> {
        self.in_hand.iter().chain(self.kept).map(|chain| chain.head)
    }
}

/// What the device says of requests it has used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Used {
    pub(super) id: u32,
    pub(super) length: u32,
    /// Something was written, whatever the length says.
    pub(super) wrote: bool,
    /// Requests that this stands for.
    pub(super) requests: u16,
    /// Descriptors of the ring that they take.
    pub(super) descriptors: u16,
}

impl Used {
    pub(super) fn new(chain: &Chain, length: u32, wrote: bool) -> Self {
        Self { id: u32::from(chain.head), length, wrote, requests: 1, descriptors: chain.descriptors }
    }
}

/// The device side of a ring.
pub(super) trait Ring: Debug + Send {
    /// Whether what the driver says of interrupts keeps the rules.
    fn check_driver_area(&self, ram: &Ram, features: Features) -> Result<(), Violation>;

    /// Whether the descriptors that the device has are still what they were.
    fn check_in_flight(&mut self, ram: &Ram, violations: &mut Vec<Violation>);

    /// Takes the next chain that the driver made available.
    fn take(&mut self, ram: &Ram, features: Features, held: Held<'_>) -> Result<Option<Chain>, Violation>;

    /// Where the driver goes on: the available index, or offset and wrap counter of the next descriptor that is not
    /// available yet (2.9).
    fn position(&self, ram: &Ram) -> u16;

    /// Whether there is something to take.
    fn has_more(&self, ram: &Ram) -> bool;

    /// Whether a chain is still what it was when it was taken.
    fn check_unchanged(&mut self, ram: &Ram, features: Features, chain: &Chain) -> Result<(), Violation>;

    /// Says from when on the device wants a notification; while it polls, it wants none.
    fn ask_for_notification(&mut self, ram: &Ram, features: Features, polling: bool);

    /// An id below the size that the driver did not give to the device: neither taken nor waiting in the ring.
    fn unused_id(&self, ram: &Ram, held: Held<'_>) -> Option<u16>;

    /// Writes a used entry. The driver sees it with [`publish_used`](Self::publish_used) at the latest.
    fn push_used(&mut self, ram: &Ram, used: Used);

    /// Writes a used entry for a request that is not with the device.
    fn push_false(&mut self, ram: &Ram, used: Used);

    /// Claims that so many more were used.
    fn jump(&mut self, ram: &Ram, jump: u16);

    /// Shows the driver what was written.
    fn publish_used(&mut self, ram: &Ram);

    /// Whether the driver wants to be interrupted for what was used since the last time it was asked.
    fn interrupt_wanted(&mut self, ram: &Ram, features: Features) -> bool;
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
    /// Chains taken from the ring and not answered.
    pub(super) in_hand: VecDeque<Chain>,
    /// Chains the model keeps.
    pub(super) kept: Vec<Chain>,
    /// With VIRTIO_F_IN_ORDER: no request is used before one that the model keeps.
    pub(super) waits: bool,
    /// The driver broke the ring; nothing more is taken from it.
    pub(super) broken: bool,
    /// Requests that were used in order and are reported with the last of them.
    batch: Option<Used>,
    /// There is one while the queue is enabled.
    ring: Option<Box<dyn Ring>>,
}

impl Queue {
    pub(super) fn new(number: u16, size: u16) -> Self {
        Self { number, size, vector: NO_VECTOR, ..Self::default() }
    }

    /// Forgets everything but how often it was notified.
    pub(super) fn reset(&mut self, size: u16) {
        *self = Self { notifications: self.notifications, ..Self::new(self.number, size) };
    }

    /// Whether the queue may have so many entries (2.7, 2.8).
    pub(super) fn takes_size(size: u16, features: Features) -> bool {
        if features.contains(Features::RING_PACKED) {
            (1..=packed_ring::MOST_DESCRIPTORS).contains(&size)
        } else {
            size.is_power_of_two()
        }
    }

    /// The size that is offered, once the ring's kind is known: a split ring's is a power of two (4.1.4.3.1).
    pub(super) fn settle_size(&mut self, features: Features) {
        let most = self.size.min(packed_ring::MOST_DESCRIPTORS);
        let packed = features.contains(Features::RING_PACKED);
        self.size = if packed { most } else { most.checked_ilog2().map_or(0, |log| 1 << log) };
    }

    /// Starts the queue with the addresses that were written. A packed ring that is not zeroed is started all the same.
    pub(super) fn enable(&mut self, ram: &Ram, features: Features) -> Result<(), Violation> {
        let wrong = Violation::QueueAddress { queue: self.number };
        let [Some(descriptors), Some(driver), Some(device)] = self.areas.map(|area| area.whole()) else {
            return Err(wrong);
        };
        let areas = [descriptors, driver, device];
        let mut zeroed = Ok(());
        let ring: Box<dyn Ring> = if features.contains(Features::RING_PACKED) {
            let ring = PackedRing::new(ram, self.number, self.size, areas).ok_or(wrong)?;
            zeroed = ring.check_zeroed(ram);
            Box::new(ring)
        } else {
            Box::new(SplitRing::new(ram, self.number, self.size, areas).ok_or(wrong)?)
        };
        self.ring = Some(ring);
        self.enabled = true;
        zeroed
    }

    /// Takes every chain that the driver made available.
    pub(super) fn fetch(&mut self, ram: &Ram, features: Features, violations: &mut Vec<Violation>) {
        let Self { ring: Some(ring), in_hand, kept, broken, .. } = self else {
            return;
        };
        if *broken {
            return;
        }
        violations.extend(ring.check_driver_area(ram, features).err());
        ring.check_in_flight(ram, violations);
        loop {
            match ring.take(ram, features, Held { in_hand, kept }) {
                Ok(Some(chain)) => in_hand.push_back(chain),
                Ok(None) => return,
                Err(violation) => {
                    violations.push(violation);
                    *broken = true;
                    return;
                }
            }
        }
    }

    /// Where the driver goes on in its ring, as a notification tells it (2.9).
    pub(super) fn position(&self, ram: &Ram) -> u16 {
        self.ring.as_ref().map_or(0, |ring| ring.position(ram))
    }

    /// Whether there is something in the ring to fetch.
    pub(super) fn has_more(&self, ram: &Ram) -> bool {
        !self.broken && self.ring.as_ref().is_some_and(|ring| ring.has_more(ram))
    }

    /// Whether the descriptors that the device has are still what they were when they were fetched.
    pub(super) fn check_in_flight(&mut self, ram: &Ram, violations: &mut Vec<Violation>) {
        if let Some(ring) = &mut self.ring {
            ring.check_in_flight(ram, violations);
        }
    }

    /// Whether a chain is still what it was when it was fetched.
    pub(super) fn check_unchanged(
        &mut self,
        ram: &Ram,
        features: Features,
        chain: &Chain,
    ) -> Result<(), Violation> {
        self.ring.as_mut().map_or(Ok(()), |ring| ring.check_unchanged(ram, features, chain))
    }

    /// Says from when on the device wants a notification; while it polls, it wants none.
    pub(super) fn ask_for_notification(&mut self, ram: &Ram, features: Features, polling: bool) {
        if let Some(ring) = &mut self.ring {
            ring.ask_for_notification(ram, features, polling);
        }
    }

    /// An id below the size that the driver did not give to the device.
    pub(super) fn unused_id(&self, ram: &Ram) -> Option<u16> {
        let held = Held { in_hand: &self.in_hand, kept: &self.kept };
        self.ring.as_ref()?.unused_id(ram, held)
    }

    /// Writes a used entry; the driver sees it with [`publish_used`](Self::publish_used) at the latest.
    pub(super) fn push_used(&mut self, ram: &Ram, used: Used) {
        self.end_batch(ram);
        if let Some(ring) = &mut self.ring {
            ring.push_used(ram, used);
        }
    }

    /// Counts a request as used, and says so with those after it. One whose buffers were not written to the end is the
    /// last of its batch: the driver takes all the others for written completely (2.7.9, 2.8.8).
    pub(super) fn batch_used(&mut self, ram: &Ram, used: Used, complete: bool) {
        let (requests, descriptors) = self.batch.map_or((0, 0), |batch| (batch.requests, batch.descriptors));
        self.batch = Some(Used {
            requests: requests + used.requests,
            descriptors: descriptors + used.descriptors,
            ..used
        });
        if !complete {
            self.end_batch(ram);
        }
    }

    fn end_batch(&mut self, ram: &Ram) {
        if let (Some(ring), Some(batch)) = (&mut self.ring, self.batch.take()) {
            ring.push_used(ram, batch);
        }
    }

    /// Writes a used entry for a request that is not with the device.
    pub(super) fn push_false(&mut self, ram: &Ram, used: Used) {
        self.end_batch(ram);
        if let Some(ring) = &mut self.ring {
            ring.push_false(ram, used);
        }
    }

    /// Claims that so many more were used.
    pub(super) fn jump(&mut self, ram: &Ram, jump: u16) {
        self.end_batch(ram);
        if let Some(ring) = &mut self.ring {
            ring.jump(ram, jump);
        }
    }

    /// Shows the driver what was used.
    pub(super) fn publish_used(&mut self, ram: &Ram) {
        self.end_batch(ram);
        if let Some(ring) = &mut self.ring {
            ring.publish_used(ram);
        }
    }

    /// Whether the driver wants to be interrupted for what was used since the last time it was asked.
    pub(super) fn interrupt_wanted(
        &mut self,
        ram: &Ram,
        features: Features,
        violations: &mut Vec<Violation>,
    ) -> bool {
        let Some(ring) = &mut self.ring else {
            return false;
        };
        violations.extend(ring.check_driver_area(ram, features).err());
        ring.interrupt_wanted(ram, features)
    }
}
