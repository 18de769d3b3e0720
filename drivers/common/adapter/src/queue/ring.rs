//! A ring of either kind, for requests and for task management alike: which kind it is, is asked once per callback, and what
//! follows is compiled for each ([`with_ring`]). Lock: that of the queue it is part of.

use virtio::memory::Region;
use virtio::queue::{
    Format, Layout, LayoutError, PackedRing, QueueAreas, RequestQueue, RingFormat, Slot, SplitRing, Ticket,
};
use virtio::spec::Features;

/// The slots of a queue, in memory that the device cannot reach.
pub(crate) type Slots<T> = &'static mut [Slot<T>];

/// A ring in the uncached extension, its slots in the device extension.
pub(super) type RingOf<F, R, T> = RequestQueue<F, R, T, Slots<T>>;

/// A ring of either kind, whose requests have the format `F` and bring a `T` back.
pub(super) enum AnyRing<F: Format, T: 'static> {
    Split(RingOf<F, SplitRing<Region>, T>),
    Packed(RingOf<F, PackedRing<Region>, T>),
}

/// Does something with the ring that it is.
macro_rules! with_ring {
    ($any:expr, $ring:ident => $do:expr) => {
        match $any {
            AnyRing::Split($ring) => $do,
            AnyRing::Packed($ring) => $do,
        }
    };
}
pub(super) use with_ring;

impl<F: Format, T> AnyRing<F, T> {
    /// A ring that is closed.
    ///
    /// # Errors
    /// Memory or slots are not as the layout says.
    pub(super) fn new(
        memory: Region,
        slots: Slots<T>,
        layout: Layout<F>,
        features: Features,
    ) -> Result<Self, LayoutError> {
        let mut ring = match layout.ring() {
            RingFormat::Packed => Self::Packed(RequestQueue::new(memory, layout, slots, features)?),
            RingFormat::Split | RingFormat::LegacySplit => {
                Self::Split(RequestQueue::new(memory, layout, slots, features)?)
            }
        };
        ring.close();
        Ok(ring)
    }

    /// Takes and gives back nothing from now on.
    pub(super) fn close(&mut self) {
        with_ring!(self, ring => ring.close());
    }

    /// The end of that: the device knows an empty ring.
    pub(super) fn open(&mut self) {
        with_ring!(self, ring => ring.open());
    }

    /// Takes back one of those that the device has, which has to be in reset, cut off from memory, or gone.
    pub(super) fn take_outstanding(&mut self) -> Option<T> {
        with_ring!(self, ring => ring.take_outstanding())
    }

    /// Empties the ring, which stays closed; all that was outstanding was taken back.
    pub(super) fn empty(&mut self) {
        with_ring!(self, ring => {
            ring.reset();
            ring.close();
        });
    }

    /// How many the device has.
    pub(super) fn in_flight(&self) -> usize {
        with_ring!(self, ring => ring.in_flight())
    }

    /// Does something with each that the device has.
    pub(super) fn each_outstanding(&mut self, action: impl FnMut(&mut T)) {
        with_ring!(self, ring => ring.outstanding_mut().for_each(action));
    }

    /// Whether the device has one that is like this.
    pub(super) fn has_outstanding(&self, like: impl FnMut(&T) -> bool) -> bool {
        with_ring!(self, ring => ring.outstanding().any(like))
    }

    /// Counts a look at each that the device has, and tells of those that were looked at so often, once.
    pub(super) fn look(&mut self, looks: u8, tell: impl FnMut(&T)) {
        with_ring!(self, ring => ring.look(looks, tell));
    }

    /// The first one that the device has and that is like this.
    pub(super) fn find(&self, like: impl Fn(&T) -> bool) -> Option<Ticket> {
        with_ring!(self, ring => ring.find(like))
    }

    /// Where the ring goes on, for a notification that was put off.
    pub(super) fn position(&self) -> u16 {
        with_ring!(self, ring => ring.position())
    }

    /// Entries of the ring.
    pub(super) fn size(&self) -> u16 {
        with_ring!(self, ring => ring.size())
    }

    /// Where the device finds the ring.
    pub(super) fn areas(&self) -> QueueAreas {
        with_ring!(self, ring => ring.areas())
    }

    /// Asks the device for no interrupts.
    pub(super) fn disable_interrupts(&mut self) {
        with_ring!(self, ring => ring.disable_interrupts());
    }
}
