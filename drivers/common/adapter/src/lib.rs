//! What a virtio storage adapter is, whichever device type it has: a virtio device behind StorPort's callbacks.
//!
//! ```text
//!                        adapter: the same for both                       viostor, vioscsi: DeviceType
//!   HwStorFindAdapter    life_cycle/find_adapter.rs, plan.rs              Facts::probe: configuration → limits
//!   HwStorInitialize     life_cycle/start.rs: reset → … → DRIVER_OK
//!   HwStorBuildIo        request/build_io.rs: SRB functions               Requests::build_io: CDB → command
//!                        service/without_device.rs: WMI                   Service::wmi: blocks and methods
//!   HwStorStartIo        request/start_io.rs, queue/request_queue.rs      Requests::write_header, chain: command → header
//!   HwStorInterrupt      request/interrupt.rs: message → which DPC
//!   HwStorDpcRoutine     request/dpc.rs, queue/request_queue.rs           Requests::is_done, complete: response → status
//!   of the service       service/service_dpc.rs: status, configuration,  Service::configuration_changed, task_done, event
//!                        answers, events
//!   of the timer         service/service_dpc.rs ► recovery/ladder.rs: look again
//!   HwStorStateChange    service/unit_changes.rs: the next change
//!   reset requests       recovery/mod.rs; recovery/ladder.rs decides;     Service::task: scope → function
//!                        queue/control_queue.rs
//!   HwStorResetBus       recovery/mod.rs; recovery/ladder.rs decides
//!   HwStorAdapterControl life_cycle/start.rs: stop, restart; recovery/mod.rs: surprise removal
//! ```
//!
//! - `device_type`: what viostor and vioscsi say for themselves.
//! - `life_cycle`: found, planned, started, stopped. Owns the device.
//! - `queue`: rings, what waits for them, their locks, and which one a request goes to.
//! - `request`: one request, from callback to callback.
//! - `recovery`: resets, and the only place that ends requests that the device has had and not answered.
//! - `service`: everything that is rare.
//! - `log_events`: what the system log can have of all this.
//!
//! Ownership: a request is in exactly one place: a callback's hands, a slot of a ring, or a list of those that wait. The slot
//! keeps it until the device gave the chain back, was reset, or was cut off from memory by its Bus Master bit, so no request ends
//! while the device may still write to its memory.
//!
//! Locks: one spin lock per virtqueue, waited for at DISPATCH_LEVEL only (`queue/all.rs`). None is ever held across a call that
//! can come back to us (completing a request), nor while the device is told something that may take it long, but for a
//! doorbell that tells a position in the ring and a change of its configuration.
#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

#[cfg(test)]
extern crate std;

mod device_type;
mod life_cycle;
mod log_events;
mod queue;
mod recovery;
mod request;
mod service;

pub use device_type::{
    AdapterState, Chain, ChainData, Change, Configure, DeviceType, Facts, Filled, Limits, NoTask,
    PciFunction, Probe, ProbeError, Request, Requests, Response, Room, Scratch, Service, Small, Step,
};
pub use life_cycle::{OnReset, Parameters};
pub use log_events::Event;
pub use request::{Command, Function, Part, Scope, ScratchId};

use storport::{
    BuildIo, Declined, DpcKind, DumpLimits, InterruptWork, Interrupts, LogEvent, Miniport, Port, Resources,
};

use life_cycle::{LifeCycle, Sizes};
use queue::{LockedControlQueue, LockedEventQueue, Queues};
use recovery::Recovery;
use service::ServiceState;

/// A virtio storage adapter.
pub struct Adapter<P: Port, D: DeviceType> {
    port: P,
    device_type: D,
    facts: AdapterFacts,
    life_cycle: LifeCycle<P::Bar>,
    queues: Queues<D>,
    /// Of a device type that has one, and not in dump mode.
    control: Option<&'static LockedControlQueue<D>>,
    /// Of a device type that has one, and not in dump mode.
    events: Option<&'static LockedEventQueue>,
    recovery: Recovery<D>,
    service: ServiceState,
}

impl<P: Port, D: DeviceType> Adapter<P, D> {
    /// The control queue. Without one in the device type, what is about it is not in the image either.
    #[inline]
    fn control(&self) -> Option<&'static LockedControlQueue<D>> {
        if D::CONTROL_QUEUE.is_none() { None } else { self.control }
    }

    /// The event queue, likewise.
    #[inline]
    fn events(&self) -> Option<&'static LockedEventQueue> {
        if D::EVENT_QUEUE.is_none() { None } else { self.events }
    }
}

/// What is known of an adapter from when it was found, and never changes.
struct AdapterFacts {
    /// It writes a dump: nobody takes interrupts or runs DPCs.
    polled: bool,
    /// Its units are known to have had their write cache on.
    write_cache: bool,
    /// What another copy of the driver would say for itself in dump mode.
    dump: DumpLimits,
    /// What the port driver was told: requests of a unit, and segments of a transfer.
    max_requests_per_lun: u32,
    max_segments: u32,
    /// What is done when the port driver asks for a reset.
    on_reset: OnReset,
    /// Milliseconds after which a request is traced; 0: never.
    trace_response_time: u32,
}

impl<P: Port, D: DeviceType> Miniport for Adapter<P, D> {
    type Port = P;
    type Command = Command<D::Command>;

    const MAX_QUEUES: u16 = queue::MAX_QUEUES;
    const DUMP_PRIVATE_BYTES: usize = Queues::<D>::private_bytes(1, Sizes::DUMP.share(1).requests);

    fn private_bytes(queues: u16) -> usize {
        let with = |queues| {
            Queues::<D>::private_bytes(queues, Sizes::NORMAL.share(queues).requests)
                + life_cycle::control_bytes::<D>()
        };
        // The device may want fewer, which then are larger.
        (1..=queues.clamp(1, Self::MAX_QUEUES)).map(with).max().unwrap_or(0)
    }

    fn find_adapter(resources: &mut impl Resources<Port = P>) -> Result<Self, Declined> {
        Self::find_adapter(resources)
    }

    fn initialize(&self, interrupts: Interrupts) -> Result<(), LogEvent> {
        self.initialize(interrupts)
    }

    #[inline(always)]
    fn build_io(&self, request: &mut Request<D>) -> BuildIo {
        self.build_io(request)
    }

    #[inline(always)]
    fn start_io(&self, request: Request<D>) {
        self.start_io(request);
    }

    #[inline]
    fn interrupt(&self, message: Option<u32>) -> InterruptWork {
        self.interrupt(message)
    }

    #[inline]
    fn dpc(&self, kind: DpcKind) {
        match kind {
            DpcKind::RequestQueue(queue) => _ = self.complete_used(queue, true),
            DpcKind::Service => self.service_dpc(),
            DpcKind::Timer => self.timer_dpc(),
        }
    }

    fn state_change(&self) {
        self.state_change();
    }

    fn poll(&self) {
        self.poll();
    }

    fn reset_bus(&self) -> bool {
        self.reset_bus()
    }

    fn stop(&self) {
        self.stop();
    }

    fn restart(&self) -> bool {
        self.restart()
    }

    fn surprise_removal(&self) {
        self.surprise_removal();
    }
}
