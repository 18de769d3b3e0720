//! Places in the ring, and what stands there (2.8.1, 2.8.13).

// The numbers of 2.8 once more, not those the driver uses: a wrong one would pass where both sides share it.
pub(super) const NEXT: u16 = 1;
pub(super) const WRITE: u16 = 2;
pub(super) const INDIRECT: u16 = 4;
pub(super) const AVAIL: u16 = 1 << 7;
pub(super) const USED: u16 = 1 << 15;

/// A place in the ring, and the wrap counter there (2.8.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) offset: u16,
    pub(super) wrap: bool,
}

impl Place {
    pub(super) const START: Self = Self { offset: 0, wrap: true };

    pub(super) fn next(self, size: u16) -> Self {
        if self.offset + 1 == size {
            Self { offset: 0, wrap: !self.wrap }
        } else {
            Self { offset: self.offset + 1, ..self }
        }
    }

    /// This place and those after it.
    pub(super) fn onwards(self, size: u16) -> impl Iterator<Item = Self> {
        std::iter::successors(Some(self), move |place| Some(place.next(size)))
    }

    pub(super) fn after(self, steps: u16, size: u16) -> Self {
        (0..steps).fold(self, |place, _| place.next(size))
    }

    /// The same descriptor, one round earlier or later.
    pub(super) fn other_round(self) -> Self {
        Self { wrap: !self.wrap, ..self }
    }

    /// Whether the flags of the descriptor here say that it is available.
    pub(super) fn is_available(self, flags: u16) -> bool {
        (flags & AVAIL != 0) == self.wrap && (flags & USED != 0) != self.wrap
    }

    /// Whether the flags of the descriptor here say that it is used.
    pub(super) fn is_used(self, flags: u16) -> bool {
        (flags & AVAIL != 0) == self.wrap && (flags & USED != 0) == self.wrap
    }

    /// The flags that say so.
    pub(super) fn used_flags(self) -> u16 {
        if self.wrap { AVAIL | USED } else { 0 }
    }

    /// As in the event suppression structures (2.8.14).
    pub(super) fn packed(self) -> u16 {
        self.offset | u16::from(self.wrap) << 15
    }
}

/// A descriptor as it stands in memory (2.8.13).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Descriptor {
    pub(super) address: u64,
    pub(super) length: u32,
    pub(super) id: u16,
    pub(super) flags: u16,
}

/// What the device knows of a descriptor.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known {
    /// As the device last read it; where it wrote since, only the flags are right.
    pub(super) descriptor: Descriptor,
    /// The request that it was made available for.
    pub(super) id: u16,
}
