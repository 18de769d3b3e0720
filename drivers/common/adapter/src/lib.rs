//! What a virtio storage adapter is, whichever protocol its requests speak: a virtio device behind StorPort's
//! callbacks.
//!
//! ```text
//!               vioscsi / viostor: Protocol                     adapter: the same for both
//!   HwStorFindAdapter  probe: config → limits        find_adapter.rs   features, queue, memory, Configuration
//!   HwStorInitialize                                 bring_up.rs       reset → FEATURES_OK → queue → DRIVER_OK
//!   HwStorBuildIo      build_io: CDB → command       build_io.rs       SRB functions
//!   HwStorStartIo      chain: command → header       start_io.rs       which queue; lock, slot, publish, unlock, doorbell
//!   interrupt                                        interrupt.rs      message → which DPC
//!   HwStorDpcRoutine   complete: response → status   drain.rs          lock, take used buffers, unlock, complete
//!   HwStorResetBus                                   reset.rs          device first, then the requests
//!   crash dump         the same                      dump.rs           HwStorInterrupt is called again and again
//! ```
//!
//! Ownership: a request (`Request`) is in exactly one place: the callback's hands, a slot of the ring, or the
//! backlog. The slot keeps it until the device gave the chain back, was reset, or was kept from memory by its Bus Master
//! bit, so no request ends while the device may still write to its memory.
//!
//! Locks: one spin lock per request queue (`queues.rs`: their order), waited for at DISPATCH_LEVEL only: StorPort's order is
//! DPC and StartIo locks before interrupt locks, and what runs at DIRQL holds one of the latter. None is ever held across
//! a call that can come back to us (completing a request), and across the doorbell only where that tells the device a
//! position in the ring.
//!
//! Queues: everything of a request is its queue's, ring, backlog, scratch memory, DPC; which queue it is, `routing.rs`
//! decides. What queues have in common is the device's state, and a reset, which there is for the whole device only.
#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod bring_up;
mod build_io;
mod capabilities;
mod configuration;
mod drain;
mod dump;
pub mod events;
mod extent;
mod find_adapter;
mod interrupt;
mod io_control;
mod parameters;
mod part;
mod protocol;
mod queues;
mod report;
mod request_path;
mod reset;
mod routing;
mod scratch;
mod start_io;
mod state;
mod units;

pub use build_io::Command;
pub use events::Event;
pub use parameters::Parameters;
pub use part::Part;
pub use protocol::{Chain, ChainData, Filled, Limits, Probe, ProbeError, Protocol, Room, Step};
pub use scratch::ScratchId;

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};

use extent::Extent;
use queues::Queues;
use report::Noted;
use routing::RoutingCell;
use state::StateCell;
use storport::{
    BuildIo, Declined, DpcKind, DumpLimits, InterruptWork, Interrupts, LogEvent, Miniport, Port, Resources,
};
use virtio::spec::Features;
use virtio::transport::Device;

/// A virtio storage adapter: the device, its request queues and the protocol of its requests.
pub struct Adapter<P: Port, D: Protocol> {
    port: P,
    device: Device<P::Bar>,
    /// What was negotiated when the adapter was found. A restart must negotiate the same, because the limits told
    /// to StorPort follow from it.
    features: Features,
    /// Those of [`Protocol::CHANGEABLE`] that were agreed on last.
    changeable: AtomicU64,
    protocol: D,
    /// The adapter writes a dump: nobody takes interrupts or runs DPCs.
    polled: bool,
    /// What another copy of the driver would say for itself in dump mode.
    dump: DumpLimits,
    /// The interrupts StorPort gave us, and the queues in use.
    routing: RoutingCell,
    state: StateCell,
    /// Bus Master is off: the device was kept from memory because it does not end its reset, or was found so. Changed by
    /// what resets or starts the device, with every queue's lock held, and by a stop, which holds none.
    bus_master_off: AtomicBool,
    /// The device was told to reset itself, and had not done so when it was looked at last.
    reset_under_way: AtomicBool,
    /// How often it was looked at during one, for ever.
    looks: AtomicU32,
    /// What is to be told as soon as that can be done.
    noted: Noted,
    /// A change of the unit that the port driver did not take, because it was working on another.
    untold: AtomicBool,
    queues: Queues<D>,
}

/// A request on its way through the adapter.
pub type Request<D> = storport::Request<Command<<D as Protocol>::Command>>;

impl<P: Port, D: Protocol> Miniport for Adapter<P, D> {
    type Port = P;
    type Command = Command<D::Command>;

    const MAX_QUEUES: u16 = queues::MAX_QUEUES;
    const DUMP_PRIVATE_BYTES: usize = Queues::<D>::private_bytes(1, Extent::DUMP.share(1).requests);

    fn private_bytes(queues: u16) -> usize {
        let with = |queues| Queues::<D>::private_bytes(queues, Extent::NORMAL.share(queues).requests);
        // The device may want fewer, which then are larger.
        (1..=queues.clamp(1, Self::MAX_QUEUES)).map(with).max().unwrap_or(0)
    }

    fn find_adapter(resources: &mut impl Resources<Port = P>) -> Result<Self, Declined> {
        Self::find(resources)
    }

    fn initialize(&self, interrupts: Interrupts) -> Result<(), LogEvent> {
        self.start_device(interrupts)
    }

    fn build_io(&self, srb: &mut Request<D>) -> BuildIo<Self::Command> {
        self.build(srb)
    }

    fn start_io(&self, srb: Request<D>) {
        self.start(srb);
    }

    fn interrupt(&self, message: Option<u32>) -> InterruptWork {
        self.work_of(message)
    }

    #[inline]
    fn dpc(&self, kind: DpcKind) {
        match kind {
            DpcKind::RequestQueue(queue) => self.drain(queue),
            DpcKind::Configuration => self.configuration_changed(),
        }
    }

    fn unit_change_processed(&self) {
        self.tell_later_what_was_not_taken();
    }

    fn poll(&self) {
        self.take_finished();
    }

    fn reset_bus(&self) -> bool {
        self.reset_for_port_driver()
    }

    fn stop(&self) {
        self.stop_device();
    }

    fn restart(&self) -> bool {
        self.restart_device()
    }

    fn surprise_removal(&self) {
        self.device_gone_at_any_level();
    }
}
