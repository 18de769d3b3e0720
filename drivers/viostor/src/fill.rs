//! What the device reads of a step's scratch memory: ranges, or a block again and again.

use adapter::Filled;
use scsi::Sense;
use scsi::unmap::UnmapList;
use storport::Completion;
use virtio::memory::{Region, SharedMemory};
use virtio::spec::blk::RangeFlags;

use crate::Request;
use crate::build_io::{Command, Erase, refuse};
use crate::build_steps;
use crate::config::Disk;
use crate::limits::RangeLimits;
use crate::ranges::{self, Place};
use crate::steps::{self, Afterwards, AtOnce, Piece, Remaining};

/// `most`: how much scratch memory one request may name.
pub(crate) fn fill(
    disk: &Disk,
    most: AtOnce,
    srb: &mut Request,
    command: Command,
    scratch: &Region,
) -> Result<Filled<Command>, Completion> {
    let filled = match command {
        Command::WritePieces(range, afterwards) => write_piece(disk, srb, range, afterwards, scratch),
        Command::Unmap { at, .. } => unmap(disk, most, srb, at, scratch),
        Command::Erase(erase, range) => erase_step(disk, erase, range, scratch),
        Command::WriteSame(range) => write_same(disk, srb, range, most, scratch),
        // The others have nothing to fill.
        _ => Err(Sense::INTERNAL_TARGET_FAILURE),
    };
    filled.map_err(|sense| refuse(srb, sense))
}

/// What is written next, out of the request's own buffer.
fn write_piece(
    disk: &Disk,
    srb: &mut Request,
    range: Remaining,
    afterwards: Afterwards,
    scratch: &Region,
) -> Result<Filled<Command>, Sense> {
    let copied = disk.copying.and_then(|copying| copying.piece(srb, range));
    let bytes = copied.ok_or(Sense::INTERNAL_TARGET_FAILURE)?;
    let from = steps::piece(srb.data(), range, bytes).ok_or(Sense::INTERNAL_TARGET_FAILURE)?;
    let target = scratch.block(0, from.len()).ok_or(Sense::INTERNAL_TARGET_FAILURE)?;
    target.write(0, from);
    Ok(Filled { bytes, command: Command::WritePieces(range, afterwards) })
}

fn unmap(
    disk: &Disk,
    most: AtOnce,
    srb: &mut Request,
    at: Place,
    scratch: &Region,
) -> Result<Filled<Command>, Sense> {
    let limits = disk.discard.ok_or(Sense::INVALID_OPERATION_CODE)?;
    let length = build_steps::unmap_length(srb);
    let parameters = srb.data().get(..length).ok_or(Sense::INTERNAL_TARGET_FAILURE)?;
    let list = UnmapList::parse(parameters)?;
    let (stored, next) = ranges::store_list(disk, (&limits, most), &list, at, scratch)?;
    // Its sender has taken away what was there a moment ago.
    if stored == 0 {
        return Err(Sense::INVALID_FIELD_IN_PARAMETER_LIST);
    }
    Ok(Filled { bytes: ranges::bytes(stored), command: Command::Unmap { at, next } })
}

fn erase_step(
    disk: &Disk,
    erase: Erase,
    range: Remaining,
    scratch: &Region,
) -> Result<Filled<Command>, Sense> {
    let limits = erase.limits(disk).ok_or(Sense::INVALID_OPERATION_CODE)?;
    let flags = match erase {
        Erase::WriteZeroes { unmap: true } => RangeFlags::UNMAP,
        Erase::WriteZeroes { unmap: false } | Erase::Securely => RangeFlags::empty(),
    };
    let sectors = limits.cut(range.next, range.sectors());
    if !ranges::store(scratch, 0, range.next, sectors, flags) {
        return Err(Sense::INTERNAL_TARGET_FAILURE);
    }
    Ok(Filled { bytes: ranges::bytes(1), command: Command::Erase(erase, range) })
}

impl Erase {
    pub(crate) fn limits(self, disk: &Disk) -> Option<RangeLimits> {
        match self {
            Self::WriteZeroes { .. } => disk.write_zeroes.map(|zeroes| zeroes.limits),
            Self::Securely => disk.secure_erase,
        }
    }
}

fn write_same(
    disk: &Disk,
    srb: &mut Request,
    range: Remaining,
    most: AtOnce,
    scratch: &Region,
) -> Result<Filled<Command>, Sense> {
    const ZEROES: [u8; steps::SCRATCH_BYTES] = [0; steps::SCRATCH_BYTES];
    let piece = Piece::of(range, most);
    let block_bytes = disk.block_size.bytes() as usize;
    // With NDOB there is no block, and zeroes are meant.
    let block = match srb.data() {
        [] => ZEROES.get(..block_bytes),
        data => data.get(..block_bytes),
    };
    let filled = block.is_some_and(|block| steps::fill(scratch, piece.bytes as usize, block));
    if !filled {
        return Err(Sense::INTERNAL_TARGET_FAILURE);
    }
    Ok(Filled { bytes: piece.bytes, command: Command::WriteSame(range) })
}
