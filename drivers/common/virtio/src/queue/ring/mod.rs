//! The rings: how buffers are made available and used (2.7, 2.8).
//!
//! A ring knows descriptors and ids, and nothing of requests or events: what an id means, and whether the device may name
//! it, is the queue's business. It is one of [`SplitRing`], [`PackedRing`], or [`AnyRing`] where the choice is made when the
//! driver runs. All calls are static.

mod event;
mod packed;
mod split;

pub use event::{Position, need_event};
pub use packed::PackedRing;
pub use split::SplitRing;

use super::layout::{LayoutError, RingFormat, RingParts, RingShape};
use super::{DeviceFault, Notify, QueueAreas};
use crate::memory::SharedMemory;
use crate::spec::Features;
use crate::spec::ring::DescriptorFlags;

/// A table of descriptors, as the device finds it.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    pub(crate) address: u64,
    pub(crate) bytes: u32,
}

/// A buffer of a chain.
#[derive(Clone, Copy, Debug)]
pub struct Buffer {
    pub(crate) address: u64,
    pub(crate) length: u32,
    pub(crate) flags: DescriptorFlags,
}

/// A chain in the ring's own descriptors: which are written by [`Ring::write_direct`] and then made available as
/// one.
#[derive(Clone, Copy, Debug)]
pub struct DirectChain {
    /// Length of its first buffer.
    pub(crate) first_length: u32,
    /// Buffers that the device reads; those that it writes follow.
    pub(crate) readable: u16,
    /// All buffers.
    pub(crate) count: u16,
}

/// What the device says it used: a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    pub(crate) id: u32,
    pub(crate) length: u32,
}

/// What was done with a buffer of one descriptor that [`Ring::each_used`] handed out.
#[derive(Clone, Copy, Debug)]
pub enum Taken {
    /// It was taken, and the next one is wanted as well.
    Next,
    /// It was taken, and no more is wanted.
    Last,
    /// It was not taken: the ring stays before it.
    Left,
}

/// What a queue of requests or events needs of a ring. No other crate can name what the methods take, so all rings are of
/// this one.
pub trait Ring: Sized {
    /// What the ring lies in.
    type Memory: SharedMemory;

    /// A ring in these parts.
    fn new(shape: RingShape, parts: RingParts<Self::Memory>, features: Features)
    -> Result<Self, LayoutError>;

    /// Empties the ring. The device is in reset.
    fn reset(&mut self);

    /// Where the device finds it.
    fn areas(&self) -> QueueAreas;

    /// Descriptors follow each other by their `next` field (2.7.5), or by their place (2.8.6).
    fn is_linked(&self) -> bool;

    /// Makes descriptor `id` point at its table, for [`push_indirect`](Self::push_indirect) to find it so. Only a split
    /// ring keeps that.
    fn point_at(&mut self, id: u16, table: Table);

    /// Makes a request available that has a table; `pointed` says that descriptor `id` points at it already.
    fn push_indirect(&mut self, id: u16, table: Table, pointed: bool);

    /// The same, and shows the device all that was pushed, as [`publish`](Self::publish) does: what nearly every request needs,
    /// in one go.
    #[inline(always)]
    fn push_and_publish(&mut self, id: u16, table: Table, pointed: bool) -> Notify {
        self.push_indirect(id, table, pointed);
        self.publish()
    }

    /// Writes buffer `nth` of a direct chain into descriptor `own` of a split ring, which links to `next`, or into the
    /// one `nth` places on in a packed ring. The device does not see it yet.
    fn write_direct(&mut self, id: u16, nth: u16, own: u16, next: u16, buffer: Buffer);

    /// Makes the chain available that was written.
    fn push_direct(&mut self, id: u16, chain: DirectChain);

    /// Shows the device what was pushed since the last time, and tells whether it has to be notified.
    fn publish(&mut self) -> Notify;

    /// Where the next buffer will be made available, as [`publish`](Self::publish) tells it.
    fn position(&self) -> u16;

    /// The next thing the device says it used.
    fn peek(&mut self, in_flight: u16) -> Result<Option<Claim>, DeviceFault>;

    /// Hands out the ids of what the device says it used, one after the other, until there is none or no more is wanted; goes
    /// on behind each that was taken. `in_flight`: how many the device has at the beginning. Returns whether there may be more:
    /// also when the device claims what cannot be, of which [`peek`](Self::peek) tells.
    #[inline(always)]
    fn each_used(&mut self, in_flight: u16, mut take: impl FnMut(u32) -> Taken) -> bool {
        loop {
            // Nobody has more than the device was given; only a split ring can say so.
            match self.peek(in_flight) {
                Ok(Some(claim)) => match take(claim.id) {
                    Taken::Next => self.advance(1),
                    Taken::Last => {
                        self.advance(1);
                        return true;
                    }
                    Taken::Left => return true,
                },
                Ok(None) => return false,
                Err(_) => return true,
            }
        }
    }

    /// Whether a buffer that is used in a batch, and has no claim of its own, is covered by what the device published.
    fn covers_batch(&mut self, in_flight: u16) -> Result<bool, DeviceFault>;

    /// Goes on behind a used buffer that took so many descriptors.
    fn advance(&mut self, descriptors: u16);

    /// Asks for no interrupts.
    fn disable_interrupts(&mut self);

    /// Asks for an interrupt with the next used buffer; returns whether there is one already.
    fn enable_interrupts(&mut self) -> bool;
}

/// A ring of either kind.
#[derive(Debug)]
pub enum AnyRing<M> {
    /// 2.7
    Split(SplitRing<M>),
    /// 2.8
    Packed(PackedRing<M>),
}

/// Calls the ring that it is.
macro_rules! either {
    ($any:expr, $ring:ident => $call:expr) => {
        match $any {
            AnyRing::Split($ring) => $call,
            AnyRing::Packed($ring) => $call,
        }
    };
}

impl<M: SharedMemory> Ring for AnyRing<M> {
    type Memory = M;

    fn new(shape: RingShape, parts: RingParts<M>, features: Features) -> Result<Self, LayoutError> {
        match shape.format {
            RingFormat::Split | RingFormat::LegacySplit => {
                SplitRing::new(shape, parts, features).map(Self::Split)
            }
            RingFormat::Packed => PackedRing::new(shape, parts, features).map(Self::Packed),
        }
    }

    fn reset(&mut self) {
        either!(self, ring => ring.reset());
    }

    fn areas(&self) -> QueueAreas {
        either!(self, ring => ring.areas())
    }

    #[inline]
    fn is_linked(&self) -> bool {
        either!(self, ring => ring.is_linked())
    }

    fn point_at(&mut self, id: u16, table: Table) {
        either!(self, ring => ring.point_at(id, table));
    }

    #[inline]
    fn push_indirect(&mut self, id: u16, table: Table, pointed: bool) {
        either!(self, ring => ring.push_indirect(id, table, pointed));
    }

    #[inline]
    fn push_and_publish(&mut self, id: u16, table: Table, pointed: bool) -> Notify {
        either!(self, ring => ring.push_and_publish(id, table, pointed))
    }

    fn write_direct(&mut self, id: u16, nth: u16, own: u16, next: u16, buffer: Buffer) {
        either!(self, ring => ring.write_direct(id, nth, own, next, buffer));
    }

    fn push_direct(&mut self, id: u16, chain: DirectChain) {
        either!(self, ring => ring.push_direct(id, chain));
    }

    #[inline]
    fn publish(&mut self) -> Notify {
        either!(self, ring => ring.publish())
    }

    fn position(&self) -> u16 {
        either!(self, ring => ring.position())
    }

    #[inline]
    fn peek(&mut self, in_flight: u16) -> Result<Option<Claim>, DeviceFault> {
        either!(self, ring => ring.peek(in_flight))
    }

    #[inline]
    fn each_used(&mut self, in_flight: u16, take: impl FnMut(u32) -> Taken) -> bool {
        either!(self, ring => ring.each_used(in_flight, take))
    }

    fn covers_batch(&mut self, in_flight: u16) -> Result<bool, DeviceFault> {
        either!(self, ring => ring.covers_batch(in_flight))
    }

    #[inline]
    fn advance(&mut self, descriptors: u16) {
        either!(self, ring => ring.advance(descriptors));
    }

    #[inline]
    fn disable_interrupts(&mut self) {
        either!(self, ring => ring.disable_interrupts());
    }

    #[inline]
    fn enable_interrupts(&mut self) -> bool {
        either!(self, ring => ring.enable_interrupts())
    }
}
