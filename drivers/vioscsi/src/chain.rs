//! Command → virtio-scsi request (virtio 1.3, 5.6.6.1).

use core::mem::offset_of;

use adapter::{Chain, ChainData, Filled};
use storport::srb::Queueing;
use storport::{Completion, DataDirection, SrbStatus};
use virtio::memory::{Block, Region, SharedMemory, Words};
use virtio::queue::Direction;
use virtio::spec::scsi as wire;

use crate::Request;
use crate::build_io::Command;
use crate::config::Hba;
use crate::steps::{self, Way};

/// The header of a command that goes to the device as it is, queued as usual, as [`chain`] has it.
#[inline(always)]
pub(crate) fn write_header(
    request: &Request,
    command: &Command,
    tag: u32,
    header: Block<impl Words>,
) -> Option<Direction> {
    let direction = match request.direction() {
        DataDirection::In => Direction::FromDevice,
        DataDirection::Out => Direction::ToDevice,
        DataDirection::None => return None,
    };
    if command.way != Way::Whole || command.queueing != Queueing::USUAL {
        return None;
    }
    let [low, high] = cdb_words(request.cdb())?;
    // The CDB begins behind three bytes that are zero, so its words lie across those of the header.
    const { assert!(offset_of!(wire::CmdRequest, tag) == 8 && offset_of!(wire::CmdRequest, cdb) == 19) };
    header.store64(0, u64::from_le_bytes(command.lun.0));
    header.store64(8, u64::from(tag));
    header.store64(16, low << 24);
    header.store64(24, low >> 40 | high << 24);
    header.store64(32, high >> 40);
    header.store64(40, 0);
    // The last three bytes of the CDB, behind which the header's memory is nobody's.
    header.store64(48, 0);
    Some(direction)
}

/// A CDB of up to 16 bytes, padded with zeroes, as two little-endian words.
#[inline(always)]
fn cdb_words(cdb: &[u8]) -> Option<[u64; 2]> {
    let word = |at: usize| Some(u64::from_le_bytes(*cdb.get(at..)?.first_chunk()?));
    match cdb.len() {
        16 => Some([word(0)?, word(8)?]),
        // Its last two bytes, behind those of the first word.
        10 => Some([word(0)?, word(2)? >> 48]),
        12 => Some([word(0)?, word(4)? >> 32]),
        6 => Some([u64::from_le_bytes([cdb[0], cdb[1], cdb[2], cdb[3], cdb[4], cdb[5], 0, 0]), 0]),
        _ => None,
    }
}

/// The chain of a command, or of its next step. `tag`: which command it is.
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
