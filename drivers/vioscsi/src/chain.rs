//! Command → virtio-scsi request (virtio 1.3, 5.6.6.1).

use adapter::{Chain, ChainData, Filled};
use storport::{Completion, DataDirection, SrbStatus};
use virtio::memory::{Region, SharedMemory};
use virtio::queue::Direction;
use virtio::spec::scsi as wire;

use crate::Request;
use crate::build_io::Command;
use crate::config::Hba;
use crate::steps::{self, Way};

/// The chain of a command, or of its next step. `tag`: which command it is.
#[inline]
pub(crate) fn chain(hba: &Hba, request: &Request, command: Command, tag: u32) -> Chain<wire::CmdRequest> {
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
        chain_of_step(hba, request, command, direction)
    };
    chain.header.tag = u64::from(tag).into();
    chain
}

/// The same for a device that takes little at once.
#[cold]
#[inline(never)]
fn chain_of_step(
    hba: &Hba,
    srb: &Request,
    command: Command,
    direction: Direction,
) -> Chain<wire::CmdRequest> {
    match command.way {
        _ if direction == Direction::None => {
            Chain { header: command.header(srb.cdb()), data: ChainData::None }
        }
        Way::Blocks => {
            let (part, blocks) = steps::part(hba, srb, command.done);
            let cdb = steps::cut(srb.cdb(), command.done, blocks);
            let length = srb.cdb().len().min(cdb.len());
            Chain { header: command.header(&cdb[..length]), data: ChainData::Part(direction, part) }
        }
        Way::Whole | Way::Listed => {
            Chain { header: command.header(srb.cdb()), data: ChainData::Whole(direction) }
        }
        Way::Scratch => {
            let data = if direction == Direction::FromDevice {
                ChainData::ScratchIn { bytes: srb.data_length(), times: 1 }
            } else {
                ChainData::ScratchOut { times: 1 }
            };
            Chain { header: command.header(srb.cdb()), data }
        }
    }
}

/// Copies a request's data to the scratch memory, from which the device reads it.
pub(crate) fn fill(
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
