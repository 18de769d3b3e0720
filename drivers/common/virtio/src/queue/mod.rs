//! Requests through a virtqueue: slots, indirect tables, and the split ring (2.7).
//!
//! One request is a chain in an indirect table whose places are fixed; the order is made by `next` links:
//!
//! ```text
//!   entry 0: header (device reads)   entry 1: response (device writes)   entries 2..: data
//!
//!   write         0 ─► 2 ─► … ─► n ─► 1        no data       0 ─► 1
//!   read, blk     0 ─► 2 ─► … ─► n ─► 1        read, scsi    0 ─► 1 ─► 2 ─► … ─► n
//! ```
//!
//! So entry 0 and 1 of a slot's own table are written once, and a short request writes two links and its data.

mod event;
mod layout;
mod slot;
mod split;

pub use event::need_event;
pub use layout::{Layout, LayoutError, Shape};
pub use slot::Slot;
pub use split::{Filled, RequestQueue, Reservation, Used};

/// Device addresses of a queue's three areas (2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueAreas {
    /// Descriptor table
    pub descriptor_area: u64,
    /// Available ring
    pub driver_area: u64,
    /// Used ring
    pub device_area: u64,
}

/// Which way a request's data goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// There is none.
    None,
    /// The device reads it.
    ToDevice,
    /// The device writes it.
    FromDevice,
}

/// Whether the device has to be told about the buffers just published.
#[must_use = "an ignored Notify::Device leaves the requests in the ring until the next one"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notify {
    /// Ring the doorbell.
    Device,
    /// The device looks by itself.
    Suppressed,
}

/// Why a request was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No slot, or no large table, is free; one will be when a request completes.
    Full,
    /// The request has more segments than any chain may have.
    TooManySegments,
    /// The device broke the rules earlier; only a reset helps.
    Broken,
}

/// A request that was not taken, and why.
#[derive(Debug)]
pub struct Rejected<T> {
    /// The request's token, given back.
    pub token: T,
    /// Why.
    pub reason: Reason,
}

/// What the device did that it must not do. Latched: the queue takes no more requests until it is reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceFault {
    /// A used id that no descriptor has.
    UsedIdOutOfRange {
        /// What the device wrote
        id: u32,
        /// Entries of the ring
        size: u16,
    },
    /// A used id of a request that is not with the device: twice, or never given.
    UsedIdNotInFlight {
        /// What the device wrote
        id: u32,
    },
    /// More bytes written than there was room for.
    UsedLengthTooLong {
        /// The request's id
        id: u16,
        /// What the device wrote
        length: u32,
        /// How much there was room for
        writable: u32,
    },
    /// More used entries than requests in flight.
    UsedIndexJumped {
        /// What the device wrote
        index: u16,
        /// The next entry expected
        expected: u16,
        /// Requests in flight
        in_flight: u16,
    },
}

impl DeviceFault {
    /// A number for the event log that does not change between versions.
    pub const fn code(&self) -> u32 {
        match *self {
            Self::UsedIdOutOfRange { id, .. } => 0x01_0000 | id & 0xffff,
            Self::UsedIdNotInFlight { id } => 0x02_0000 | id & 0xffff,
            Self::UsedLengthTooLong { id, .. } => 0x03_0000 | id as u32,
            Self::UsedIndexJumped { index, .. } => 0x04_0000 | index as u32,
        }
    }
}
