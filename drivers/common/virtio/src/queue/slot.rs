//! The driver's own half of a slot: what it has to know of a request, in memory the device cannot reach.

/// No slot, no table.
pub(crate) const NONE: u16 = u16::MAX;

/// Where a request's descriptors are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the slot's own table.
    Inline,
    /// In this large table.
    Large(u16),
    /// In the ring itself: so many of them. In a split ring they are those of a chain of slots, of which this is the
    /// last.
    Direct { descriptors: u16, last: u16 },
}

impl Place {
    /// Descriptors of the ring that the request has.
    #[inline]
    pub(crate) const fn descriptors(self) -> u16 {
        match self {
            Self::Inline | Self::Large(_) => 1,
            Self::Direct { descriptors, .. } => descriptors,
        }
    }
}

/// One slot. Its number is the request's id: the head descriptor of a split ring, the buffer id of a packed one.
#[derive(Debug)]
pub struct Slot<T> {
    /// The request; `Some` exactly while the device has it.
    pub(crate) token: Option<T>,
    /// Bytes the device may write: response and data.
    pub(crate) writable: u32,
    /// How many requests have had the slot; wraps.
    pub(crate) generation: u32,
    /// Where the descriptors of the request are: in its own table, unless it is `redirected`.
    pub(crate) place: Place,
    /// The next free slot, or `NONE`. In a direct chain of a split ring: the slot whose descriptor comes next.
    pub(crate) next_free: u16,
    /// The request that was made available after this one; meaningful with VIRTIO_F_IN_ORDER.
    pub(crate) next_in_order: u16,
    /// The slot's descriptor does not point at its own table and has to be turned back.
    pub(crate) redirected: bool,
    /// How often the request was looked at that has this generation.
    pub(crate) looks: u8,
    pub(crate) looked_at: u32,
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self {
            token: None,
            writable: 0,
            generation: 0,
            place: Place::Inline,
            next_free: NONE,
            next_in_order: NONE,
            redirected: false,
            looks: 0,
            looked_at: 0,
        }
    }
}

impl<T> Slot<T> {
    /// The slot is for a request in its own table. Returns whether its descriptor points there already.
    #[inline(always)]
    pub(crate) fn point_back(&mut self) -> bool {
        if !self.redirected {
            return true;
        }
        self.redirected = false;
        self.place = Place::Inline;
        false
    }
}

/// Which request of a queue, without the danger of meaning a later one in the same slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    pub(crate) slot: u16,
    pub(crate) generation: u32,
}

impl Ticket {
    /// The slot: no two requests of a queue have the same one at once.
    #[inline]
    pub const fn slot(self) -> u16 {
        self.slot
    }

    /// How many requests have had the slot; wraps.
    #[inline]
    pub const fn generation(self) -> u32 {
        self.generation
    }
}
