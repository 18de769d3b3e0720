//! Requests and events through virtqueues: slots, tables, and the rings (2.6 to 2.8).
//!
//! A request takes a slot. The slot has a header, a response and a table of descriptors of its own in shared memory, and
//! the request's chain is written there, in the order in which the device takes it:
//!
//! ```text
//!   blk     header ─► data … ─► response          no data         header ─► response
//!   scsi, write  header ─► data … ─► response     scsi, read      header ─► response ─► data …
//! ```
//!
//! Where the descriptors of a chain go is decided request by request:
//!
//! ```text
//!   a slot's own table   up to Format::INLINE_SEGMENTS segments; one descriptor of the ring
//!   a large table        more segments, while there is such a table; one descriptor of the ring
//!   the ring itself      no table to be had, or none allowed (no VIRTIO_F_INDIRECT_DESC); one for each buffer
//! ```
//!
//! The life of a request: [`RequestQueue::submit`] → [`RequestQueue::publish`] → the device →
//! [`RequestQueue::pop_used`] → [`Used`]. Nearly all have a shorter one, of the same bytes: [`RequestQueue::start`] writes the
//! request where it stays and publishes it, and [`RequestQueue::drain`] ends one after the other where it is.
//!
//! Events come through a queue of their own, an [`EventQueue`].

mod events;
mod format;
mod in_order;
mod layout;
mod requests;
mod ring;
mod slot;
mod submit;
mod used;

pub use events::{EventLayout, EventQueue};
pub use format::Format;
pub use layout::{Layout, LayoutError, QueueOptions, RingFormat};
pub use requests::RequestQueue;
pub use ring::{AnyRing, PackedRing, Position, Ring, SplitRing, need_event};
pub use slot::{Slot, Ticket};
pub use submit::{Data, NoData, WriteHeader};
pub use used::{Response, Used};

/// Device addresses of a queue's three areas (2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueAreas {
    /// Descriptor table, or descriptor ring
    pub descriptor_area: u64,
    /// Available ring, or what the driver says of events
    pub driver_area: u64,
    /// Used ring, or what the device says of events
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
    Device {
        /// Where the next buffer will be made available (2.9): the available index of a split ring, offset and wrap
        /// counter of a packed one. What a notification carries with VIRTIO_F_NOTIFICATION_DATA.
        next: u16,
    },
    /// The device looks by itself.
    Suppressed,
}

/// Why a request was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No slot, or not as many descriptors, are free; they will be when requests complete.
    Full,
    /// The request has more segments than any chain may have.
    TooManySegments,
    /// The request has more bytes than any chain may have, 2^32 (2.7.5.2).
    TooLarge,
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

/// What the device did that it must not do. Latched: the queue takes no more requests, and gives no more events, until it
/// is reset. Of a queue of events, the requests are its buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceFault {
    /// A used id that no descriptor has.
    UsedIdOutOfRange {
        /// What the device wrote
        id: u32,
        /// How many ids there are
        size: u16,
    },
    /// A used id of a request that is not with the device: twice, or never given.
    UsedIdNotInFlight {
        /// What the device wrote
        id: u32,
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
    /// With VIRTIO_F_IN_ORDER: a batch whose last request lies past the used index.
    BatchTooLong {
        /// What the device wrote
        id: u32,
    },
}

#[cfg(test)]
mod tests {
    use super::Format;

    /// virtio-blk's, with room for two data segments in a slot's own table.
    pub(super) struct Blk;

    impl Format for Blk {
        type Header = [u8; 16];
        const RESPONSE_BYTES: u16 = 1;
        const RESPONSE_BEFORE_DATA_IN: bool = false;
        const INLINE_SEGMENTS: u16 = 2;
    }

    /// virtio-scsi's, likewise.
    pub(super) struct Scsi;

    impl Format for Scsi {
        type Header = [u8; 51];
        const RESPONSE_BYTES: u16 = 108;
        const RESPONSE_BEFORE_DATA_IN: bool = true;
        const INLINE_SEGMENTS: u16 = 2;
    }
}
