//! The event queue: buffers that the device writes when something has happened, and gets back. Drained by the service DPC,
//! which also gives the device its first buffers: they have their place behind DRIVER_OK. Lock: its own.

use virtio::memory::Region;
use virtio::queue::{
    self, DeviceFault, EventLayout, LayoutError, Notify, PackedRing, QueueAreas, RingFormat, SplitRing,
};
use virtio::spec::Features;
use virtio::transport::Doorbell;

use super::{Locked, Notification};

/// Buffers that the device has at once: 10 to 15 are enough, says virtio 1.3, 5.6.6.3, also when a whole target goes.
pub(crate) const EVENT_BUFFERS: u16 = 16;

/// Faults of the device in this queue that it is reset for. Each reset costs the requests one of the four times that they come
/// again (classpnp's MAXIMUM_RETRIES), and a device may do well with all but its events.
const MOST_FAULTS: u8 = 2;

/// Bytes of an event that are looked at.
const EVENT_BYTES: usize = 16;

/// The event queue behind its lock.
pub(crate) type LockedEventQueue = Locked<EventQueue>;

/// The event queue.
pub(crate) struct EventQueue {
    ring: AnyEvents,
    doorbell: Option<Doorbell>,
    /// How often the device broke a rule of the ring.
    faults: u8,
}

enum AnyEvents {
    Split(queue::EventQueue<SplitRing<Region>>),
    Packed(queue::EventQueue<PackedRing<Region>>),
}

/// Does something with the queue that it is.
macro_rules! with_events {
    ($any:expr, $ring:ident => $do:expr) => {
        match $any {
            AnyEvents::Split($ring) => $do,
            AnyEvents::Packed($ring) => $do,
        }
    };
}

impl EventQueue {
    /// A queue that is closed.
    ///
    /// # Errors
    /// The memory is not as the layout says.
    pub(crate) fn new(
        memory: Region,
        ring: RingFormat,
        layout: EventLayout,
        features: Features,
    ) -> Result<Self, LayoutError> {
        let mut ring = match ring {
            RingFormat::Packed => AnyEvents::Packed(queue::EventQueue::new(memory, layout, features)?),
            RingFormat::Split | RingFormat::LegacySplit => {
                AnyEvents::Split(queue::EventQueue::new(memory, layout, features)?)
            }
        };
        with_events!(&mut ring, ring => ring.close());
        Ok(Self { ring, doorbell: None, faults: 0 })
    }

    /// Empties the ring for a start of the device, which is in reset; returns its size and where it is.
    pub(crate) fn empty(&mut self) -> (u16, QueueAreas) {
        self.doorbell = None;
        with_events!(&mut self.ring, ring => {
            ring.reset();
            ring.close();
            (ring.size(), ring.areas())
        })
    }

    /// What the device is told of buffers with.
    pub(crate) fn set_doorbell(&mut self, doorbell: Doorbell) {
        self.doorbell = Some(doorbell);
    }

    /// The device runs, and gets its buffers with the next [`take`](Self::take), unless it broke the rules too often.
    pub(crate) fn open(&mut self) {
        if !self.is_given_up() {
            with_events!(&mut self.ring, ring => ring.open());
        }
    }

    /// The device broke the rules too often: from now on it has no buffers, and is not heard.
    pub(crate) fn is_given_up(&self) -> bool {
        self.faults > MOST_FAULTS
    }

    /// The device is about to be reset.
    pub(crate) fn close(&mut self) {
        with_events!(&mut self.ring, ring => ring.close());
    }

    /// Hands out the events that there are, and gives the device every buffer that it does not have. Returns what it has to
    /// be told, and whether there are more events, for which no interrupt will come.
    ///
    /// # Errors
    /// The device broke a rule of the ring.
    pub(crate) fn take(
        &mut self,
        mut event: impl FnMut([u8; EVENT_BYTES]),
    ) -> Result<(Option<Notification>, bool), DeviceFault> {
        let doorbell = self.doorbell;
        with_events!(&mut self.ring, ring => {
            // As many as there are buffers, and no more until they are given back.
            while let Some(bytes) = ring.pop_event().inspect_err(|_| self.faults = self.faults.saturating_add(1))? {
                event(bytes);
            }
            let notification = match (ring.publish(), doorbell) {
                (Notify::Device { next }, Some(doorbell)) => Some(Notification { doorbell, next }),
                _ => None,
            };
            Ok((notification, ring.enable_interrupts()))
        })
    }
}
