//! The only crate that knows Windows: StorPort's contract as safe Rust.
//!
//! ```text
//!   storport.sys ── HwStor* callback ──► kernel::callbacks ──► trait Miniport      (the driver: safe, no Windows)
//!                ◄─ StorPort* import ─── kernel::port      ◄── trait Port, Resources (what it may ask for)
//!                                        kernel::srb       ──► Request               (the request it was given)
//! ```
//!
//! - [`miniport`]: what a driver implements, one method per `HwStor*` routine.
//! - [`port`]: what a driver may ask of the port driver, the adapter's resources while it is being found, and events.
//! - `adapter_control`: what happens to the adapter besides requests and interrupts.
//! - `dpc`: the deferred procedures that a port is asked for and a miniport runs.
//! - [`request`]: a request, as far as a driver may look into it, how it ends, and requests in a row.
//! - [`srb`]: the values in it.
//! - [`capabilities`]: what Plug and Play may do with a device.
//! - [`io_control`]: what programs ask of a miniport.
//! - [`wmi`]: what they are told of an adapter through WMI.
//! - `kernel` (Windows only): the one place that calls StorPort, and that finds its way in an SRB.
//! - `fake` (feature `fake`): a port driver in memory for host tests.
//!
//! A driver never sees a raw SRB, a pointer or an IRQL: it gets a request as an owned value, and the only way to get
//! rid of it is to complete it once, through [`port::Port::complete`].
#![cfg_attr(not(any(test, feature = "fake")), no_std)]
#![deny(missing_docs)]

mod adapter_control;
pub mod capabilities;
mod dpc;
pub mod io_control;
pub mod miniport;
pub mod port;
pub mod request;
pub mod srb;
pub mod wmi;

#[cfg(feature = "fake")]
pub mod fake;

#[cfg(windows)]
pub mod kernel;

pub use adapter_control::AdapterControl;
pub use capabilities::DeviceCapabilities;
pub use dpc::DpcKind;
pub use miniport::{BuildIo, Declined, InterruptWork, Interrupts, Miniport};
pub use port::{ConcurrentChannels, Configuration, LogEvent, Port, Resources, TraceLevel, UnitAttributes};
pub use request::{Ended, EndedRequests, Request, Requests, SrbId};
pub use srb::{Address, Completion, DataDirection, DumpLimits, PnpAction, SrbFunction, SrbStatus};
