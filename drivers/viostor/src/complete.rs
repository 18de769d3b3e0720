//! The device's answer → how the request ends. The one table from virtio-blk status to SCSI.

use adapter::Step;
use scsi::Sense;
use scsi::cdb::Inquiry;
use scsi::log;
use scsi::parameter_data::ParameterData;
use storport::Completion;
use virtio::memory::{Region, SharedMemory};
use virtio::spec::blk::Status;

use crate::Request;
use crate::build_io::{Command, refuse};
use crate::chain;
use crate::config::Disk;
use crate::identity::{self, Location, Serial, Told};
use crate::lifetime;
use crate::limits::RangeLimits;
use crate::live::Live;
use crate::steps::{self, Afterwards, AtOnce, Comparison, Piece, Remaining};
use crate::units::{SECTOR_BYTES, Sectors};

/// What a status is before the device writes it ([`virtio::queue::Response::spoil`]).
const UNANSWERED: Status = Status(u8::MAX);

/// `most`: how much scratch memory one request may name.
pub(crate) fn complete(
    (disk, live, most): (&Disk, &Live, AtOnce),
    srb: &mut Request,
    command: Command,
    status: Status,
    scratch: Option<&Region>,
) -> Step<Command> {
    let completion = match command {
        Command::Read(_) => match status {
            Status::OK => Completion::success(srb.data_length()),
            other => refuse(srb, sense(other, Sense::UNRECOVERED_READ_ERROR)),
        },
        // A flush makes durable what was completed before it was sent (virtio 1.3, 5.2.6.2), so it waits for the write's
        // answer; after a write that failed there is nothing to flush, and its error stays.
        Command::WriteThrough(_) if status == Status::OK => return Step::Next(Command::FlushWritten),
        Command::WriteThenVerify(first) if status == Status::OK => {
            return Step::Next(verify_written(disk, srb, first));
        }
        Command::FlushThenVerify(first) if status == Status::OK => {
            return Step::Next(Command::Verify(written(srb, first), Comparison::None));
        }
        Command::ReadPieces(range) => match status {
            Status::OK => {
                let Some(bytes) = disk.copying.and_then(|copying| copying.piece(srb, range)) else {
                    return Step::Done(Completion::success(srb.data_length()));
                };
                if !take_piece(srb, scratch, range, bytes) {
                    return Step::Done(refuse(srb, Sense::INTERNAL_TARGET_FAILURE));
                }
                return go_on(srb, range.after(u64::from(bytes / SECTOR_BYTES)), Command::ReadPieces);
            }
            other => refuse(srb, sense(other, Sense::UNRECOVERED_READ_ERROR)),
        },
        Command::WritePieces(range, afterwards) if status == Status::OK => {
            let copied = disk.copying.and_then(|copying| copying.piece(srb, range));
            let left = copied.and_then(|bytes| range.after(u64::from(bytes / SECTOR_BYTES)));
            return match left {
                Some(left) => Step::Next(Command::WritePieces(left, afterwards)),
                None => all_written(disk, srb, range.end, afterwards),
            };
        }
        // Who switches the cache off relies on it. The device may have ignored that, or have stood still.
        Command::SetWriteCache(on) if status == Status::OK && live.write_cache() != on => {
            refuse(srb, Sense::INTERNAL_TARGET_FAILURE)
        }
        Command::Write(_)
        | Command::WriteThrough(_)
        | Command::FlushWritten
        | Command::SetWriteCache(_)
        | Command::WriteThenVerify(_)
        | Command::FlushThenVerify(_) => match status {
            Status::OK => Completion::success(srb.data_length()),
            other => refuse(srb, sense(other, Sense::WRITE_ERROR)),
        },
        Command::Flush => match status {
            Status::OK => Completion::success(0),
            other => refuse(srb, sense(other, Sense::WRITE_ERROR)),
        },
        Command::Identify(request) => identify((disk.location, &live.serial), scratch, srb, request, status),
        Command::Lifetime { allocation_length } => lifetime(scratch, srb, allocation_length, status),
        Command::Verify(range, comparison) => {
            let piece = chain::verified(range, comparison, most);
            match status {
                Status::OK if agrees(srb, scratch, range, comparison, piece) => {
                    return go_on(srb, range.after(piece.sectors()), |range| {
                        Command::Verify(range, comparison)
                    });
                }
                Status::OK => refuse(srb, Sense::MISCOMPARE),
                other => refuse(srb, sense(other, Sense::UNRECOVERED_READ_ERROR)),
            }
        }
        Command::WriteSame(range) if status == Status::OK => {
            let done = Piece::of(range, most).sectors();
            return go_on(srb, range.after(done), Command::WriteSame);
        }
        Command::Unmap { next, .. } if status == Status::OK => {
            return go_on(srb, next, |at| Command::Unmap { at, next: None });
        }
        Command::Erase(erase, range) if status == Status::OK => {
            // The same cut as when the step was put together.
            let cut = |limits: RangeLimits| limits.cut(range.next, range.sectors());
            let left = erase.limits(disk).and_then(|limits| range.after(cut(limits)));
            return go_on(srb, left, |range| Command::Erase(erase, range));
        }
        Command::WritePieces(..) | Command::WriteSame(_) | Command::Unmap { .. } | Command::Erase(..) => {
            refuse(srb, sense(status, Sense::WRITE_ERROR))
        }
    };
    Step::Done(completion)
}

/// The next step, or the end when nothing is left.
#[cold]
fn go_on<T>(srb: &Request, left: Option<T>, command: impl FnOnce(T) -> Command) -> Step<Command> {
    match left {
        Some(left) => Step::Next(command(left)),
        None => Step::Done(Completion::success(srb.data_length())),
    }
}

/// What a write's verification begins with: what is read back has to be the medium's.
fn verify_written(disk: &Disk, srb: &Request, first: Sectors) -> Command {
    match disk.flushes {
        true => Command::FlushThenVerify(first),
        false => Command::Verify(written(srb, first), Comparison::None),
    }
}

/// The last piece of a write that ends at this sector is written.
#[cold]
fn all_written(disk: &Disk, srb: &Request, end: Sectors, afterwards: Afterwards) -> Step<Command> {
    let first = Sectors(end.0.saturating_sub(u64::from(srb.data_length() / SECTOR_BYTES)));
    match afterwards {
        Afterwards::Nothing => Step::Done(Completion::success(srb.data_length())),
        Afterwards::Flush => Step::Next(Command::FlushWritten),
        Afterwards::Verify => Step::Next(verify_written(disk, srb, first)),
    }
}

/// Copies what was read to where the request wants it; `false`: its buffer cannot be reached.
#[cold]
fn take_piece(srb: &mut Request, scratch: Option<&Region>, range: Remaining, bytes: u32) -> bool {
    let (Some(scratch), Some(to)) = (scratch, steps::piece(srb.data(), range, bytes)) else {
        return false;
    };
    scratch.read_bytes(0, to);
    true
}

/// The range that a write has written.
fn written(srb: &Request, first: Sectors) -> Remaining {
    let sectors = u64::from(srb.data_length() / SECTOR_BYTES);
    Remaining { next: first, end: Sectors(first.0.saturating_add(sectors)) }
}

/// Whether what was read is what it is to be compared with.
fn agrees(
    srb: &mut Request,
    scratch: Option<&Region>,
    range: Remaining,
    comparison: Comparison,
    piece: Piece,
) -> bool {
    let data = srb.data();
    let expected = match comparison {
        Comparison::None => return true,
        Comparison::Block => Some(&*data),
        // What is left of the range is what is left of the data.
        Comparison::Data => usize::try_from(range.bytes())
            .ok()
            .and_then(|left| data.len().checked_sub(left))
            .and_then(|at| data.get(at..at + piece.bytes as usize)),
    };
    match (expected, scratch) {
        (Some(expected), Some(scratch)) => steps::holds(scratch, piece.bytes as usize, expected),
        _ => false,
    }
}

/// A device that answers with an error tells no serial number; the pages are mandatory for a disk, and exist all the same.
/// A disk does not become another one for that: what the device has told before still holds. One that has not answered at
/// all has not said that it has none.
fn identify(
    (location, told): (Option<Location>, &Told),
    scratch: Option<&Region>,
    srb: &mut Request,
    request: Inquiry,
    status: Status,
) -> Completion {
    let serial = match (status, scratch) {
        (Status::OK, Some(memory)) => {
            let serial = Serial::load(memory);
            told.remember(&serial);
            serial
        }
        (UNANSWERED, _) => return refuse(srb, Sense::INTERNAL_TARGET_FAILURE),
        _ => told.recall(),
    };
    match identity::answer(&serial, location, request, srb.data()) {
        Ok(transferred) => Completion::success(transferred),
        Err(sense) => refuse(srb, sense),
    }
}

/// A device that answers GET_LIFETIME with an error knows nothing of its lifetime; the page exists all the same.
fn lifetime(
    scratch: Option<&Region>,
    srb: &mut Request,
    allocation_length: u16,
    status: Status,
) -> Completion {
    let used = match (status, scratch) {
        (Status::OK, Some(memory)) => lifetime::percentage_used(lifetime::load(memory)),
        (UNANSWERED, _) => return refuse(srb, Sense::INTERNAL_TARGET_FAILURE),
        _ => None,
    };
    let mut data = ParameterData::new(srb.data(), u32::from(allocation_length));
    log::solid_state_media(&mut data, used);
    let transferred = data.transferred();
    Completion::success(transferred)
}

/// Sense data for a failed request; `on_error` is what the medium did.
fn sense(status: Status, on_error: Sense) -> Sense {
    match status {
        Status::IOERR => on_error,
        Status::UNSUPP => Sense::INVALID_OPERATION_CODE,
        // A status that the specification does not have.
        _ => Sense::INTERNAL_TARGET_FAILURE,
    }
}
