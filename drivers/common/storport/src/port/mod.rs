//! What a miniport may ask of the port driver.
//!
//! - [`Port`], here: as long as the adapter exists. Each method says at which IRQL it may be called, and where it names no lock,
//!   any may be held or none.
//! - [`Resources`]: while the adapter is being found.
//! - [`LogEvent`]: what is reported.

mod log;
mod resources;

pub use log::{FarUnit, LogEvent, LogPart, TraceLevel};
pub use resources::{Configuration, PRIVATE_ALIGNMENT, Resources, SHARED_ALIGNMENT};

use bitflags::bitflags;
use virtio::transport::{Bar, BusMasterError};

use crate::dpc::DpcKind;
use crate::request::{Ended, Request};
use crate::srb::Address;

/// The port driver, for as long as the adapter exists.
pub trait Port: Clone + Send + Sync + 'static {
    /// A mapped register range.
    type Bar: Bar + Send + Sync + 'static;

    /// Gives back a request that has ended. IRQL: any up to DISPATCH_LEVEL. Lock: none may be held, because StorPort may call
    /// back into `start_io` before this returns.
    fn complete<C>(&self, ended: Ended<C>);

    /// Busy-waits, for less than a millisecond (nf-storport-storportstallexecution.md). IRQL: any.
    fn stall(&self, microseconds: u32);

    /// Says that targets or logical units may have come or gone on this bus, so that Windows looks at all of it again
    /// (BusChangeDetected, nf-storport-storportnotification.md). Nobody is told when it has. Not in dump mode. IRQL: up to
    /// DISPATCH_LEVEL. Lock: any. The page names neither.
    fn bus_changed(&self, path: u8);

    /// Says that the state of a logical unit has changed, so that Windows looks at it again
    /// (nf-storport-storportstatechangedetected.md). `false`: an earlier change, of whichever unit, is still being worked on, and
    /// this one has to be told after [`state_change`](crate::Miniport::state_change), which may have come
    /// meanwhile: so after some time as well. Not in `state_change`, nor in dump mode. IRQL: up to DISPATCH_LEVEL.
    /// Lock: any.
    #[must_use = "a change that was not taken has to be told again"]
    fn unit_changed(&self, unit: Address) -> bool;

    /// Queues a DPC; nothing happens when it is queued already. IRQL: any up to the interrupt's.
    fn issue_dpc(&self, kind: DpcKind);

    /// Queues the DPC of [`DpcKind::Timer`] after so long (RequestTimerCall, nf-storport-storportnotification.md). There
    /// is one timer: a new time takes the place of the one that was asked for before, and 0 stops it. It ticks every 10
    /// milliseconds or so. Not in dump mode. IRQL: up to DISPATCH_LEVEL. Lock: any.
    fn request_timer(&self, microseconds: u32);

    /// Has requests started on as many processors at once as there are request queues, and each announced by the message of
    /// its queue where it was started, as far as the port driver can do that. Only in
    /// [`initialize`](crate::Miniport::initialize). Returns whether it goes by the messages. IRQL: the interrupt's.
    fn use_concurrent_channels(&self, channels: &ConcurrentChannels) -> bool;

    /// Which of the queues of [`use_concurrent_channels`](Self::use_concurrent_channels) have a message that arrives at this
    /// processor, counted as [`processor`](Self::processor) counts: none where the port driver has not said, and for a
    /// processor that there is not. Only in [`initialize`](crate::Miniport::initialize), after it. IRQL: the interrupt's.
    fn announced_at(&self, channels: &ConcurrentChannels, processor: u32) -> impl Iterator<Item = u16>;

    /// A number for the processor that this runs on, counted from 0 through all groups. IRQL: any; below DISPATCH_LEVEL it may
    /// be another processor the next moment.
    fn processor(&self) -> u32;

    /// The time, in units of 100 nanoseconds since 1601 (nf-storport-storportquerysystemtime.md). Not in dump mode, where it is 0.
    /// IRQL: any.
    fn system_time(&self) -> u64;

    /// Sets or clears Bus Master Enable in the function's PCI configuration space. `Ok`: the bit reads as it was asked for,
    /// and if that is clear, the device has done its last access to memory. IRQL: any up to the interrupt's.
    ///
    /// # Errors
    /// The bit is not known to be what was asked for.
    fn bus_master(&self, enabled: bool) -> Result<(), BusMasterError>;

    /// Tells what is known of a logical unit besides its INQUIRY data, while the request for those is still open
    /// (nf-storport-storportsetunitattributes.md). IRQL: any.
    fn set_unit_attributes(&self, unit: Address, attributes: UnitAttributes);

    /// Tells those who trace the port driver (ETW, channel "Microsoft-Windows-Storage-Storport/Diagnose"), and if the event says
    /// so, writes an entry to the system event log. IRQL: up to DISPATCH_LEVEL (nf-storport-storportetwevent2.md,
    /// nf-storport-storportlogsystemevent.md).
    fn report(&self, event: LogEvent);

    /// Stops Windows with this code, and the SRB and its address as the parameters (KeBugCheckEx), for those who want a dump of
    /// the moment at which something was asked for. IRQL: any.
    fn stop_system<C: Copy>(&self, code: u32, because_of: &Request<C>) -> !;
}

bitflags! {
    /// `STOR_UNIT_ATTRIBUTES`
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct UnitAttributes: u32 {
        /// `D3ColdNotSupported`: it is not to be left without power in the middle of things.
        const D3_COLD_NOT_SUPPORTED = 1 << 2;
        /// `BypassIOSupported`: it takes BypassIO. A unit without this vetoes it.
        const BYPASS_IO_SUPPORTED = 1 << 3;
    }
}

/// Several processors that start requests at once, each for a request queue of its own (STOR_PERF_CONCURRENT_CHANNELS), and
/// the messages of those queues (STOR_PERF_INTERRUPT_MESSAGE_RANGES).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConcurrentChannels {
    /// How many request queues there are; at least two.
    pub queues: u16,
    /// The message of the first one. The others' follow it.
    pub first_message: u16,
    /// How many messages the adapter was given: more than the queues have, for the configuration has one as well.
    pub messages: u16,
}

impl ConcurrentChannels {
    /// The message of the last queue.
    pub const fn last_message(&self) -> u16 {
        self.first_message + (self.queues - 1)
    }

    /// Where among the targets of messages that of the first queue is, by which of them have any processor. "The array itself
    /// is zero-based, but FirstRedirectionMessageNumber is not required to be zero" (ns-storport-_perf_configuration_data.md)
    /// may say that it starts with the first of these messages, or with message 0.
    pub fn first_target(&self, has_processors: impl Fn(u16) -> bool) -> u16 {
        if has_processors(self.last_message()) { self.first_message } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_start_with_the_first_queues_message_or_with_message_0() {
        let channels = ConcurrentChannels { queues: 4, first_message: 1, messages: 5 };

        assert_eq!(channels.first_target(|index| (1..=4).contains(&index)), 1);
        assert_eq!(channels.first_target(|index| index <= 4), 1, "the configuration's has some, too");
        assert_eq!(channels.first_target(|index| index < 4), 0);
        assert_eq!(channels.first_target(|_| false), 0);
    }
}
