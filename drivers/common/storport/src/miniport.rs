//! What a driver implements: one method per `HwStor*` routine.
//!
//! Everything takes `&self`: StorPort calls these routines on several processors at once, and a driver guards
//! what it changes with locks of its own. IRQL and lock are stated per method; they follow the pages
//! "HW_STARTIO", "HW_BUILDIO", "HW_MESSAGE_SIGNALED_INTERRUPT_ROUTINE", "HW_DPC_ROUTINE" and
//! "HW_ADAPTER_CONTROL" of storport.h's documentation.

use crate::dpc::DpcKind;
use crate::port::{LogEvent, Port, Resources};
use crate::request::Request;
use crate::srb::Completion;

/// A storport miniport driver for one adapter.
pub trait Miniport: Sized + Send + Sync + 'static {
    /// The port driver it talks to.
    type Port: Port;

    /// What `build_io` decodes and `start_io` needs. Lives in the SRB extension.
    type Command: Copy + Send + 'static;

    /// Most request queues that it makes use of, however many processors there are.
    const MAX_QUEUES: u16;

    /// Bytes of memory for itself that the miniport takes with [`Resources::private`] in dump mode, where there is little.
    const DUMP_PRIVATE_BYTES: usize;

    /// The same while the system runs, for a machine on which there may be so many request queues.
    fn private_bytes(queues: u16) -> usize;

    /// Finds out whether this is our adapter and what it can do (`HwStorFindAdapter`).
    /// IRQL: PASSIVE_LEVEL, in dump mode HIGH_LEVEL. Lock: none.
    ///
    /// # Errors
    /// The log entry that says why the adapter is declined.
    fn find_adapter(resources: &mut impl Resources<Port = Self::Port>) -> Result<Self, Declined>;

    /// Starts the device (`HwStorInitialize`). IRQL: DIRQL. Lock: interrupt. The only time for
    /// [`Port::use_concurrent_channels`].
    ///
    /// # Errors
    /// The log entry that says why the device could not be started.
    fn initialize(&self, interrupts: Interrupts) -> Result<(), LogEvent>;

    /// Decodes and checks a request before it is started (`HwStorBuildIo`). IRQL: DISPATCH_LEVEL or below. Lock: none.
    fn build_io(&self, request: &mut Request<Self::Command>) -> BuildIo;

    /// Starts a request (`HwStorStartIo`). IRQL: DISPATCH_LEVEL. Lock: StartIo; none, and several processors at once, where
    /// the port driver agreed to that ([`Port::use_concurrent_channels`]).
    fn start_io(&self, request: Request<Self::Command>);

    /// Looks at an interrupt (`HwStorInterrupt` with `None`, `HwMSInterruptRoutine` with the message's number).
    /// IRQL: DIRQL. Lock: the message's interrupt lock.
    fn interrupt(&self, message: Option<u32>) -> InterruptWork;

    /// Does the work an interrupt announced (`HwStorDpcRoutine`). IRQL: DISPATCH_LEVEL. Lock: none.
    fn dpc(&self, kind: DpcKind);

    /// Windows has looked at a unit after [`Port::unit_changed`], which takes the next change once this has returned
    /// (`HwStorStateChange`, nc-storport-hw_state_change.md). IRQL: DISPATCH_LEVEL. Lock: StartIo.
    fn state_change(&self);

    /// Completes what the device has finished, interrupt or not (`HwStorInterrupt` in dump mode, where it is called again and
    /// again). IRQL: HIGH_LEVEL. Lock: none, and nobody to keep out: only one processor runs.
    fn poll(&self);

    /// Ends every outstanding request and starts the device anew (`HwStorResetBus`). IRQL: DISPATCH_LEVEL.
    /// Lock: StartIo. Returns whether every request has ended and may come again; the device may need some time yet.
    fn reset_bus(&self) -> bool;

    /// Stops the device (`ScsiStopAdapter`): no interrupt and no DMA afterwards. No request is outstanding.
    /// IRQL: up to DIRQL.
    fn stop(&self);

    /// Starts a stopped device (`ScsiRestartAdapter`). IRQL: up to DIRQL. Returns whether it works.
    fn restart(&self) -> bool;

    /// The device is gone (`ScsiAdapterSurpriseRemoval`). IRQL: up to DISPATCH_LEVEL. No register may be touched.
    fn surprise_removal(&self);
}

/// Why an adapter is not ours, or cannot be driven; becomes a log entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Declined(pub LogEvent);

/// What becomes of a request in `build_io`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum BuildIo {
    /// Start it: its command is set ([`Request::set_command`]).
    Start,
    /// It is finished already.
    Complete(Completion),
}

/// The interrupts the adapter was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupts {
    /// None: the adapter is polled.
    None,
    /// One line-based interrupt, possibly shared.
    Line,
    /// This many messages, numbered from 0.
    Messages(u16),
}

/// What an interrupt announced. Nothing set: it was not ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct InterruptWork {
    /// Used buffers may be waiting in this request queue, counted from 0. One at most: no two share an interrupt.
    pub request_queue: Option<u16>,
    /// Anything else: configuration or status changed, used buffers in a queue that is not for requests.
    pub service: bool,
}

impl InterruptWork {
    /// Whether the interrupt was the adapter's.
    pub const fn is_ours(self) -> bool {
        self.request_queue.is_some() || self.service
    }
}
