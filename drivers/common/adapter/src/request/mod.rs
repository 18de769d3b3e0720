//! The life of a request, callback by callback: [`build_io`], [`start_io`], then the device, then [`dpc`].
//!
//! What belongs here: what happens to one request. Which queue it goes to and how it waits there is `queue`'s; that all of
//! them end because the device is reset or gone is `recovery`'s.

mod build_io;
mod dpc;
mod interrupt;
mod part;
mod scratch;
mod start_io;

pub(crate) use part::Counted;
pub use part::Part;
pub use scratch::ScratchId;
pub(crate) use scratch::{COUNT as SCRATCH_COUNT, Repeated, ScratchPool, blank};

use storport::Address;

/// What `start_io` has to do for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command<C> {
    /// Put it into the ring; the scratch buffer is one that it has from an earlier step.
    Request(C, Option<ScratchId>),
    /// Such a request that is in the ring, when the device was asked to give it up by a task management function. From then on
    /// nothing that the device says of it is believed but that it failed: Linux's vhost-scsi says of commands that it ended, or
    /// never began, that they are done (drivers/target/target_core_transport.c, target_cmd_interrupted leaves their status 0;
    /// drivers/vhost/scsi.c, vhost_scsi_release_cmd answers with it).
    Recalled(C, Option<ScratchId>),
    /// Write to the device's configuration first ([`Service::configure`](crate::Service::configure)), then put it into the
    /// ring.
    Configure(C),
    /// Reset what is in this scope.
    Reset(Scope),
    /// The device is gone.
    SurpriseRemoval,
}

impl<C> Command<C> {
    /// A command that goes into the ring.
    pub const fn new(command: C) -> Self {
        Self::Request(command, None)
    }
}

/// What a reset is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One logical unit (SRB_FUNCTION_RESET_LOGICAL_UNIT).
    Unit(Address),
    /// All units of this one's target (SRB_FUNCTION_RESET_DEVICE).
    Target(Address),
    /// The whole virtio device (SRB_FUNCTION_RESET_BUS, HwStorResetBus).
    Device,
}

impl Scope {
    /// Whether a request for this unit is in it.
    pub(crate) fn contains(self, unit: Address) -> bool {
        match self {
            Self::Unit(address) => unit == address,
            Self::Target(address) => (unit.path, unit.target) == (address.path, address.target),
            Self::Device => true,
        }
    }

    /// Whether a reset of that is done with a reset of this. Both resets name a unit: that of a target any one of its units.
    pub(crate) fn includes(self, other: Self) -> bool {
        match other {
            Self::Unit(unit) => self.contains(unit),
            Self::Target(unit) => !matches!(self, Self::Unit(_)) && self.contains(unit),
            Self::Device => self == Self::Device,
        }
    }
}
