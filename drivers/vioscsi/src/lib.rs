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
//! Virtqueues: 0 control, 1 event, 2 and up requests (virtio 1.3, 5.6.2).
#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod build_io;
mod complete;
mod config;
mod events;
mod status;
mod steps;
mod tasks;

pub use build_io::Command;
pub use config::Hba;
pub use steps::Way;

use adapter::{
    Chain, ChainData, Change, Facts, Filled, Limits, Probe, ProbeError, Requests, Response, Room, Scope,
    Scratch, Service, Small, Step,
};
use complete::Answer;
use storport::{BuildIo, Completion, DataDirection, SrbStatus};
use virtio::memory::{Region, SharedMemory};
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
        Ok((Self { hba }, limits))
    }

    fn limited(&mut self, room: Room) -> Result<(), ProbeError> {
        self.hba.limit(&room);
        Ok(())
    }
}

impl Requests for Vioscsi {
    #[inline]
    fn build_io(&self, request: &mut Request) -> BuildIo {
        build_io::build_io(&self.hba, request)
    }

    /// The adapter caches nothing; logical units get SYNCHRONIZE CACHE as a CDB.
    fn flush(&self) -> Option<Command> {
        None
    }

    #[inline]
    fn chain(&self, request: &Request, command: Command, tag: u32) -> Chain<Self::Header> {
        let direction = match request.direction() {
            DataDirection::None => Direction::None,
            DataDirection::In => Direction::FromDevice,
            DataDirection::Out => Direction::ToDevice,
        };
        let mut chain = if command.way == Way::Whole {
            let whole = ChainData::Whole(direction);
            let data = if direction == Direction::None { ChainData::None } else { whole };
            Chain { header: command.header(request.cdb()), data }
        } else {
            self.chain_of_step(request, command, direction)
        };
        chain.header.tag = u64::from(tag).into();
        chain
    }

    fn fill(
        &self,
        request: &mut Request,
        command: Command,
        scratch: &Region,
    ) -> Result<Filled<Command>, Completion> {
        let data = request.data();
        match scratch.block(0, steps::SCRATCH_BYTES) {
            Some(block) if data.len() <= steps::SCRATCH_BYTES && !data.is_empty() => {
                block.write(0, data);
                Ok(Filled { bytes: data.len() as u32, command })
            }
            _ => Err(Completion::failed(SrbStatus::INVALID_REQUEST)),
        }
    }

    // The call would cost a fifth of it, and its result a way through memory.
    #[inline(always)]
    fn complete(
        &self,
        request: &mut Request,
        command: Command,
        response: &Response<'_>,
        scratch: Option<&Region>,
    ) -> Step<Command> {
        let answer = Answer::read(response);
        // What nearly all requests are, and how they end.
        if command.way == Way::Whole && answer.is_success() {
            return Step::Done(Completion::success(request.data_length()));
        }
        self.complete_unusual(request, command, answer, scratch)
    }
}

impl Service for Vioscsi {
    fn event(&self, event: [u8; 16]) -> Change {
        events::change(&self.hba, event)
    }

    fn task(&self, scope: Scope, tag: u32) -> Option<wire::TaskManagementRequest> {
        tasks::task(scope, tag)
    }

    fn task_done(&self, response: &Response<'_>) -> bool {
        tasks::is_done(response)
    }
}

impl Vioscsi {
    #[cold]
    #[inline(never)]
    fn complete_unusual(
        &self,
        request: &mut Request,
        command: Command,
        answer: Answer<'_>,
        scratch: Option<&Region>,
    ) -> Step<Command> {
        match command.way {
            Way::Whole => Step::Done(complete::complete(request, &answer, request.data_length())),
            Way::Blocks => complete::complete_part(&self.hba, request, command, &answer),
            Way::Scratch => Step::Done(complete::complete_copy(request, &answer, scratch)),
        }
    }

    /// The chain of a command, or of its next step, for a device that takes little at once.
    #[cold]
    #[inline(never)]
    fn chain_of_step(
        &self,
        srb: &Request,
        command: Command,
        direction: Direction,
    ) -> Chain<wire::CmdRequest> {
        match command.way {
            _ if direction == Direction::None => {
                Chain { header: command.header(srb.cdb()), data: ChainData::None }
            }
            Way::Blocks => {
                let (part, blocks) = steps::part(&self.hba, srb, command.done);
                let cdb = steps::cut(srb.cdb(), command.done, blocks);
                let length = srb.cdb().len().min(cdb.len());
                Chain { header: command.header(&cdb[..length]), data: ChainData::Part(direction, part) }
            }
            Way::Whole | Way::Scratch => {
                let data = if direction == Direction::FromDevice {
                    ChainData::ScratchIn { bytes: srb.data_length(), times: 1 }
                } else {
                    ChainData::ScratchOut { times: 1 }
                };
                Chain { header: command.header(srb.cdb()), data }
            }
        }
    }
}
