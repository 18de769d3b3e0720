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
//! Virtqueues: 0 control, 1 event, 2 and up requests (virtio 1.3, 5.6.2). Control and event queue are not set up.
#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod build_io;
mod complete;
mod config;
mod status;
mod steps;

pub use build_io::Command;
pub use config::Hba;
pub use steps::Way;

use adapter::{Chain, ChainData, Filled, Limits, Probe, ProbeError, Protocol, Room, Step};
use storport::{BuildIo, Completion, DataDirection, SrbStatus};
use virtio::memory::{Region, SharedMemory};
use virtio::queue::{Direction, Format};
use virtio::spec::{Features, scsi as wire};

/// A request, as `build_io` has decoded it.
type Request = adapter::Request<Vioscsi>;

/// The adapter that `vioscsi.sys` exports.
pub type Adapter<P> = adapter::Adapter<P, Vioscsi>;

/// The virtio-scsi protocol.
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

impl Protocol for Vioscsi {
    type Command = Command;

    const FEATURES: Features = Features::empty();
    const REQUEST_QUEUE: u16 = 2;
    const SCRATCH_BYTES: usize = steps::SCRATCH_BYTES;
    const SPLITS: bool = true;
    const RESPONSE_HEAD: usize = complete::HEAD_BYTES;

    fn probe(probe: &impl Probe) -> Result<(Self, Limits), ProbeError> {
        let (hba, limits) = config::read(probe)?;
        Ok((Self { hba }, limits))
    }

    fn limited(&mut self, room: Room) -> Result<(), ProbeError> {
        self.hba.limit_segments(room.max_segments);
        Ok(())
    }

    fn leaves_out(&self) -> bool {
        self.hba.leaves_out
    }

    fn scratch_bytes(&self, max_segments: u16) -> usize {
        if max_segments < 2 { steps::SCRATCH_BYTES } else { 0 }
    }

    fn build_io(&self, srb: &mut Request) -> BuildIo<Command> {
        build_io::build(&self.hba, srb)
    }

    /// The adapter caches nothing; logical units get SYNCHRONIZE CACHE as a CDB.
    fn flush(&self) -> Option<Command> {
        None
    }

    fn chain(&self, srb: &Request, command: Command) -> Chain<Self::Header> {
        let direction = match srb.direction() {
            DataDirection::None => Direction::None,
            DataDirection::In => Direction::FromDevice,
            DataDirection::Out => Direction::ToDevice,
        };
        if command.way != Way::Whole {
            return self.chain_of_step(srb, command, direction);
        }
        let data = if direction == Direction::None { ChainData::None } else { ChainData::Srb(direction) };
        Chain { header: command.header(srb.cdb()), data }
    }

    fn fill(
        &self,
        srb: &mut Request,
        command: Command,
        scratch: &Region,
    ) -> Result<Filled<Command>, Completion> {
        let data = srb.data();
        match scratch.block(0, steps::SCRATCH_BYTES) {
            Some(block) if data.len() <= steps::SCRATCH_BYTES && !data.is_empty() => {
                block.write(0, data);
                Ok(Filled { bytes: data.len() as u32, command })
            }
            _ => Err(Completion::failed(SrbStatus::INVALID_REQUEST)),
        }
    }

    fn number(header: &mut wire::CmdRequest, number: u32) {
        header.tag = u64::from(number).into();
    }

    fn response_rest(head: &[u8]) -> usize {
        complete::sense_bytes(head)
    }

    fn complete(
        &self,
        srb: &mut Request,
        command: Command,
        response: &[u8],
        scratch: Option<&Region>,
    ) -> Step<Command> {
        match command.way {
            Way::Whole => {
                let asked = srb.data_length();
                Step::Done(complete::complete(srb, response, asked))
            }
            Way::Blocks => complete::complete_part(&self.hba, srb, command, response),
            Way::Scratch => Step::Done(complete::complete_copy(srb, response, scratch)),
        }
    }
}

impl Vioscsi {
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
