//! Virtqueues: each with its ring ([`ring`]), its doorbell and a lock of its own ([`all`]), which guards everything in it.
//!
//! - [`request_queue`]: requests, and those that wait for a place.
//! - [`control_queue`]: task management functions.
//! - [`event_queue`]: buffers that the device writes.
//! - [`routing`]: which request queue a request goes to, and whose interrupt a message is.
//!
//! A queue is open or closed. Only an open one puts something into its ring and takes used buffers out of it, and the device
//! is not reset while any is open: so whoever holds the lock of an open queue has a device that runs.

mod all;
mod control_queue;
mod event_queue;
mod request_queue;
mod ring;
mod routing;

pub(crate) use all::{At, Locked, LockedQueue, MAX_QUEUES, NotFree, Queues};
pub(crate) use control_queue::{ControlQueue, LockedControlQueue, NotSent, TASKS, TaskTag};
pub(crate) use event_queue::{EVENT_BUFFERS, EventQueue, LockedEventQueue};
pub(crate) use request_queue::{Batch, Drained, Notification, Queue, SLOT_BITS, Started, Waiting};
pub(crate) use ring::Slots;
pub(crate) use routing::Routing;
