//! Everything that is rare: the device's configuration while it runs, answers that need no device, events, interrupts.
//!
//! What comes to the configuration DPC is done here: changes of the configuration, requests of the device to be reset, what
//! was noted at DIRQL, the timer. Buffers of a control or event queue would come here as well: they share the
//! configuration's interrupt.

mod answers;
mod configuration;
mod interrupt;
mod report;

pub(crate) use answers::{answer_adapter, answer_dump_pointers, answer_io_control, answer_unit};

use core::sync::atomic::AtomicBool;

use report::Noted;

/// What is to be told as soon as that can be done. Any IRQL; no lock.
#[derive(Debug)]
pub(crate) struct ServiceState {
    noted: Noted,
    /// A change of the unit that the port driver did not take, because it was working on another.
    untold: AtomicBool,
}

impl ServiceState {
    pub(crate) const fn new() -> Self {
        Self { noted: Noted::new(), untold: AtomicBool::new(false) }
    }
}
