//! The commands that are done in steps: VERIFY, UNMAP, WRITE SAME, SANITIZE.

use scsi::Sense;
use scsi::cdb::{BlockRange, ByteCheck, SanitizeAction};
use scsi::unmap::UnmapList;
use storport::{BuildIo, Completion, DataDirection, SrbStatus};

use crate::Request;
use crate::build_io::{Command, Erase, beyond, has_medium, start, writable};
use crate::config::Disk;
use crate::ranges::Place;
use crate::steps::{Comparison, Remaining};
use crate::units::{Sectors, is_on_disk};

type Decision = Result<BuildIo, Sense>;

/// CDB and data contradict each other.
const CONTRADICTION: BuildIo = BuildIo::Complete(Completion::failed(SrbStatus::INVALID_REQUEST));

/// The options of WRITE SAME.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WriteSame {
    pub(crate) unmap: bool,
    pub(crate) anchor: bool,
    pub(crate) no_data_out: bool,
}

/// The sectors of a range of blocks, which must lie on the disk.
fn sectors(disk: &Disk, range: BlockRange) -> Result<Remaining, Sense> {
    if !is_on_disk(range, disk.blocks) {
        return Err(beyond(disk.blocks));
    }
    let next = disk.block_size.first_sector(range.start).ok_or(Sense::LBA_OUT_OF_RANGE)?;
    // It lies on the disk, whose end is a number of sectors.
    let end = Sectors(next.0 + u64::from(range.blocks) * disk.block_size.sectors());
    Ok(Remaining { next, end })
}

pub(crate) fn verify(disk: &Disk, srb: &mut Request, range: BlockRange, check: ByteCheck) -> Decision {
    let remaining = sectors(disk, range)?;
    let block = u64::from(disk.block_size.bytes());
    let (comparison, bytes) = match check {
        ByteCheck::None => (Comparison::None, 0),
        ByteCheck::Compare => (Comparison::Data, remaining.bytes()),
        ByteCheck::CompareOneBlock => (Comparison::Block, block),
    };
    if range.blocks == 0 {
        return Ok(BuildIo::Complete(Completion::success(0)));
    }
    let agree = comparison == Comparison::None || has_data(srb, bytes);
    Ok(if agree { start(srb, Command::Verify(remaining, comparison)) } else { CONTRADICTION })
}

/// Whether the request sends exactly so many bytes, and the driver can look at them.
fn has_data(srb: &mut Request, bytes: u64) -> bool {
    srb.direction() == DataDirection::Out
        && u64::from(srb.data_length()) == bytes
        && srb.data().len() as u64 == bytes
}

pub(crate) fn unmap(disk: &Disk, srb: &mut Request, anchor: bool, parameter_length: u16) -> Decision {
    let Some(discard) = disk.discard else {
        return Err(Sense::INVALID_OPERATION_CODE);
    };
    // No page says that blocks can be anchored.
    if anchor {
        return Err(Sense::invalid_cdb_bit(1, 0));
    }
    writable(disk)?;
    if parameter_length == 0 {
        return Ok(BuildIo::Complete(Completion::success(0)));
    }
    if srb.direction() != DataDirection::Out {
        return Ok(CONTRADICTION);
    }
    let Some(parameters) = srb.data().get(..usize::from(parameter_length)) else {
        return Ok(CONTRADICTION);
    };
    let list = UnmapList::parse(parameters)?;
    // All of it before any of it: a list that is wrong unmaps nothing. More than the Block Limits page says is wrong too.
    if list.ranges().any(|range| !is_on_disk(range, disk.blocks)) {
        return Err(beyond(disk.blocks));
    }
    let limits = discard.unmap(disk.block_size);
    let blocks: u64 = list.ranges().map(|range| u64::from(range.blocks)).sum();
    if list.len() > limits.descriptors as usize || blocks > u64::from(limits.blocks) {
        return Err(Sense::INVALID_FIELD_IN_PARAMETER_LIST);
    }
    if list.ranges().all(|range| range.blocks == 0) {
        return Ok(BuildIo::Complete(Completion::success(srb.data_length())));
    }
    Ok(start(srb, Command::Unmap { at: Place::START, next: None }))
}

/// PARAMETER LIST LENGTH of an UNMAP that was taken.
pub(crate) fn unmap_length(srb: &Request) -> usize {
    match scsi::Command::decode(srb.cdb()) {
        Ok(scsi::Command::Unmap { parameter_length, .. }) => usize::from(parameter_length),
        _ => 0,
    }
}

pub(crate) fn write_same(disk: &Disk, srb: &mut Request, range: BlockRange, how: WriteSame) -> Decision {
    if how.anchor {
        return Err(Sense::invalid_cdb_bit(1, 4));
    }
    if how.unmap && !disk.write_zeroes.is_some_and(|zeroes| zeroes.may_unmap) {
        return Err(Sense::invalid_cdb_bit(1, 3));
    }
    writable(disk)?;
    let remaining = sectors(disk, range)?;
    // The Block Limits page says that zero blocks are not all to the end (WSNZ), and how many there may be at most.
    if range.blocks == 0 || u64::from(range.blocks) > disk.max_write_same_blocks() {
        let sixteen = srb.cdb().len() > 10;
        return Err(Sense::invalid_cdb_byte(if sixteen { 10 } else { 7 }));
    }
    let block = u64::from(disk.block_size.bytes());
    // With NDOB zeroes are meant (SBC-4, 5.50); data with it would be taken for the block that is written.
    let agrees = if how.no_data_out { srb.data_length() == 0 } else { has_data(srb, block) };
    if !agrees {
        return Ok(CONTRADICTION);
    }
    let zeroes = how.no_data_out || srb.data().iter().all(|byte| *byte == 0);
    // Blocks are unmapped only where they read as what was sent afterwards: as zeroes.
    Ok(start(
        srb,
        match disk.write_zeroes {
            Some(_) if zeroes => Command::Erase(Erase::WriteZeroes { unmap: how.unmap }, remaining),
            _ => Command::WriteSame(remaining),
        },
    ))
}

pub(crate) fn sanitize(disk: &Disk, srb: &mut Request, action: SanitizeAction, immediate: bool) -> Decision {
    if disk.secure_erase.is_none() {
        return Err(Sense::INVALID_OPERATION_CODE);
    }
    match action {
        SanitizeAction::BlockErase => {}
        // No sanitize operation leaves anything behind.
        SanitizeAction::ExitFailureMode => return Ok(BuildIo::Complete(Completion::success(0))),
        SanitizeAction::Overwrite | SanitizeAction::CryptographicErase => {
            return Err(Sense::invalid_cdb_bit(1, 4));
        }
    }
    // Nobody could be told how it ended.
    if immediate {
        return Err(Sense::invalid_cdb_bit(1, 7));
    }
    writable(disk)?;
    has_medium(disk)?;
    let end = Sectors(disk.blocks.saturating_mul(disk.block_size.sectors()));
    Ok(start(srb, Command::Erase(Erase::Securely, Remaining { next: Sectors(0), end })))
}
