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

use storport::{Address, SrbId, SrbStatus};

/// What `start_io` has to do for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command<C> {
    /// Put it into the ring; the scratch buffer is one that it has from an earlier step.
    Request(C, Option<ScratchId>),
    /// Such a request that is in the ring, when the device was asked to give it up by a task management function. From then on
    /// nothing that the device says of it is believed but that it failed: Linux's vhost-scsi says of commands that it ended, or
    /// never began, that they are done (drivers/target/target_core_transport.c, target_cmd_interrupted leaves their status 0;
    /// drivers/vhost/scsi.c, vhost_scsi_release_cmd answers with it).
    /// So it ends in the way of that function, said here.
    Recalled(C, Option<ScratchId>, SrbStatus),
    /// Write to the device's configuration first ([`Service::configure`](crate::Service::configure)), then put it into the
    /// ring.
    Configure(C),
    /// Reset what is in this scope.
    Reset(Scope),
    /// Abort another request; with the tag of the command that the device has for it, once that is known.
    Abort(Option<u32>),
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

/// A task management function (SAM-5, 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// ABORT TASK.
    AbortTask {
        /// The unit that has the command.
        unit: Address,
        /// The tag with which the command was sent.
        command: u32,
        /// The request that it belongs to.
        request: SrbId,
    },
    /// LOGICAL UNIT RESET.
    ResetUnit(Address),
    /// I_T NEXUS RESET of this unit's target.
    ResetTarget(Address),
}

impl Function {
    /// Whether it resets something.
    pub(crate) const fn is_reset(self) -> bool {
        !matches!(self, Self::AbortTask { .. })
    }

    /// Whether the device is to give up this request because of it.
    pub(crate) fn concerns<C: Copy>(self, other: &storport::Request<C>) -> bool {
        match self {
            Self::AbortTask { request, .. } => other.id() == request,
            _ => self.resets(other.address()),
        }
    }

    /// How a request ends because of it that the device has never had, or says it has done nonetheless.
    pub(crate) const fn status(self) -> SrbStatus {
        match self {
            Self::AbortTask { .. } => SrbStatus::ABORTED,
            Self::ResetUnit(_) | Self::ResetTarget(_) => SrbStatus::BUS_RESET,
        }
    }

    /// Whether the other one is done with it. A reset of a target names any one of its units.
    pub(crate) fn includes(self, other: Self) -> bool {
        match other {
            _ if self == other => true,
            Self::AbortTask { unit, .. } | Self::ResetUnit(unit) => self.resets(unit),
            Self::ResetTarget(unit) => matches!(self, Self::ResetTarget(_)) && self.resets(unit),
        }
    }

    fn resets(self, unit: Address) -> bool {
        match self {
            Self::AbortTask { .. } => false,
            Self::ResetUnit(address) => unit == address,
            Self::ResetTarget(address) => (unit.path, unit.target) == (address.path, address.target),
        }
    }
}
