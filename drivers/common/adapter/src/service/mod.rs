//! Everything that is rare: the device's configuration while it runs, events, answers that need no device.
//!
//! What comes to the service DPC is done here: changes of the configuration, requests of the device to be reset, what
//! was noted at DIRQL, answers in the control queue, events: those queues share the configuration's interrupt.

mod log;
mod service_dpc;
mod slow_requests;
mod unit_changes;
mod without_device;

pub(crate) use without_device::{answer_adapter, answer_dump_pointers, answer_io_control, answer_unit};

use log::Noted;
use slow_requests::LastLook;
use unit_changes::Untold;

/// What is to be told as soon as that can be done. Any IRQL; no lock.
#[derive(Debug)]
pub(crate) struct ServiceState {
    noted: Noted,
    /// Units whose change the port driver did not take, because it was working on another.
    untold: Untold,
    last_look: LastLook,
}

impl ServiceState {
    pub(crate) const fn new() -> Self {
        Self { noted: Noted::new(), untold: Untold::new(), last_look: LastLook::new() }
    }
}
