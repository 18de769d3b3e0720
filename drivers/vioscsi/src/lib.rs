//! vioscsi: an HBA with many targets and logical units on virtio-scsi (PCI 1AF4:1004 and 1AF4:1048), as a storport
//! miniport.
//!
//! A command in a request queue (virtio 1.3, 5.6.6.1), with who writes what:
//!
//! ```text
//!   read                 write                no data
//!   R  51 header         R  51 header         R  51 header     LUN, tag, attributes, CDB
//!   W 108 response       R   n data           W 108 response   residual, status, response code, sense
//!   W   n data           W 108 response
//! ```
//!
//! Header and response are the slot's own memory; the data is the request's. Every CDB goes to the device as it is:
//! what a logical unit can do is between it and Windows.
//!
//! What programs ask of the adapter through WMI the driver answers itself.
//!
//! Virtqueues: 0 control, 1 event, 2 and up requests (virtio 1.3, 5.6.2).
#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

#[cfg(test)]
extern crate std;

mod build_io;
mod chain;
mod complete;
mod config;
mod events;
mod luns;
mod status;
mod steps;
mod tape;
mod tasks;
mod wmi;

pub use build_io::Command;
pub use config::Hba;
pub use steps::Way;

use adapter::{
    AdapterState, Chain, Change, Facts, Filled, Function, Limits, PciFunction, Probe, ProbeError, Requests,
    Response, Room, Scratch, Service, Small, Step,
};
use complete::Answer;
use storport::{BuildIo, Completion, SrbStatus};
use virtio::memory::{Block, Region, Words};
use virtio::queue::{Direction, Format};
use virtio::spec::{Features, scsi as wire};

/// A request, as `build_io` has decoded it.
type Request = adapter::Request<Vioscsi>;

/// The adapter that `vioscsi.sys` exports.
pub type Adapter<P> = adapter::Adapter<P, Vioscsi>;

/// The virtio-scsi device type.
#[derive(Debug)]
pub struct Vioscsi {
    hba: Hba,
    /// Targets with units that Windows cannot address.
    told_of: luns::ToldOf,
    /// What the device is on PCI, if that is known.
    function: Option<PciFunction>,
}

impl Format for Vioscsi {
    type Header = wire::CmdRequest;
    const RESPONSE_BYTES: u16 = size_of::<wire::CmdResponse>() as u16;
    const RESPONSE_BEFORE_DATA_IN: bool = true;
    const INLINE_SEGMENTS: u16 = 2;
}

impl Facts for Vioscsi {
    type Command = Command;

    const FEATURES: Features = Features::SCSI_HOTPLUG.union(Features::SCSI_CHANGE);
    // A device without them, as one may be after a hibernation, has the same limits, and its disks are still there.
    const CHANGEABLE: Features = Features::SCSI_HOTPLUG.union(Features::SCSI_CHANGE);
    const REQUEST_QUEUE: u16 = 2;
    const CONTROL_QUEUE: Option<u16> = Some(0);
    const EVENT_QUEUE: Option<u16> = Some(1);
    type Task = tasks::Task;
    const SCRATCH: Scratch = Scratch { bytes: steps::SCRATCH_BYTES, for_one_segment: true };
    const SMALL: Small = Small::InSteps;

    fn probe(probe: &impl Probe) -> Result<(Self, Limits), ProbeError> {
        let (hba, limits) = config::read(probe)?;
        Ok((Self { hba, told_of: luns::ToldOf::default(), function: probe.function() }, limits))
    }

    fn limited(&mut self, room: Room) -> Result<(), ProbeError> {
        self.hba.limit(&room);
        Ok(())
    }
}

impl Requests for Vioscsi {
    #[inline(always)]
    fn build_io(&self, request: &mut Request) -> BuildIo {
        build_io::build_io(&self.hba, request)
    }

    /// The adapter caches nothing; logical units get SYNCHRONIZE CACHE as a CDB.
    fn flush(&self) -> Option<Command> {
        None
    }

    fn chain(&self, request: &Request, command: Command, tag: u32) -> Chain<Self::Header> {
        chain::chain(&self.hba, request, command, tag)
    }

    #[inline(always)]
    fn write_header(
        &self,
        request: &Request,
        command: &Command,
        tag: u32,
        header: Block<impl Words>,
    ) -> Option<Direction> {
        chain::write_header(request, command, tag, header)
    }

    #[inline(always)]
    fn is_done(&self, _request: &Request, command: &Command, response: &Response<'_>) -> bool {
        command.way == Way::Whole && complete::is_success(response)
    }

    fn fill(
        &self,
        request: &mut Request,
        command: Command,
        scratch: &Region,
    ) -> Result<Filled<Command>, Completion> {
        chain::fill(request, command, scratch)
    }

    fn complete(
        &self,
        request: &mut Request,
        command: Command,
        response: &Response<'_>,
        scratch: Option<&Region>,
    ) -> Step<Command> {
        let answer = Answer::read(response);
        match command.way {
            Way::Whole => Step::Done(complete::complete(request, &answer, request.data_length())),
            Way::Listed => {
                let completion = complete::complete(request, &answer, request.data_length());
                luns::complete(request, completion, self.hba.logical_units, &self.told_of)
            }
            Way::Blocks => complete::complete_part(&self.hba, request, command, &answer),
            Way::Scratch => Step::Done(complete::complete_copy(request, &answer, scratch)),
        }
    }
}

impl Service for Vioscsi {
    fn event(&self, event: [u8; 16]) -> Change {
        events::change(&self.hba, event)
    }

    fn task(&self, function: Function, tag: u32) -> Option<wire::TaskManagementRequest> {
        Some(tasks::task(function, tag))
    }

    fn task_done(&self, response: &Response<'_>) -> bool {
        tasks::is_done(response)
    }

    fn wmi(
        &self,
        state: &AdapterState,
        call: storport::wmi::Call<'_>,
        now: impl FnOnce() -> u64,
    ) -> Completion {
        match &self.function {
            Some(function) => call.answer(&wmi::Management { function, state }, now),
            None => Completion::failed(SrbStatus::INVALID_REQUEST),
        }
    }
}
