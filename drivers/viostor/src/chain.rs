//! Command → virtio-blk request (virtio 1.3, 5.2.6).

use core::mem::offset_of;

use adapter::{Chain, ChainData};
use virtio::memory::{Block, Words};
use virtio::queue::Direction;
use virtio::spec::blk::{RequestHeader, RequestType};

use crate::Request;
use crate::build_io::{Command, Erase};
use crate::identity;
use crate::lifetime;
use crate::steps::{AtOnce, Comparison, Copying, Piece, Remaining};
use crate::units::Sectors;

/// The header of a read or write whose data is the request's own buffer, as [`chain`] has it.
#[inline(always)]
pub(crate) fn write_header(command: &Command, header: Block<impl Words>) -> Option<Direction> {
    let (kind, first, direction) = match command {
        Command::Read(first) => (RequestType::IN, first, Direction::FromDevice),
        Command::Write(first) => (RequestType::OUT, first, Direction::ToDevice),
        _ => return None,
    };
    // The request's type, a word that is reserved, and the sector (5.2.6).
    header.store64(0, u64::from(kind.0));
    header.store64(offset_of!(RequestHeader, sector), first.0);
    Some(direction)
}

/// `most`: how much scratch memory one request may name; `copying`: how data is copied, if it is.
pub(crate) fn chain(
    srb: &Request,
    command: Command,
    most: AtOnce,
    copying: Option<&Copying>,
) -> Chain<RequestHeader> {
    let copied = |range| copying.and_then(|copying| copying.piece(srb, range));
    match command {
        Command::Read(first) => with_header(RequestType::IN, first, ChainData::Whole(Direction::FromDevice)),
        Command::Write(first) | Command::WriteThrough(first) | Command::WriteThenVerify(first) => {
            with_header(RequestType::OUT, first, ChainData::Whole(Direction::ToDevice))
        }
        Command::ReadPieces(range) => {
            let data = match copied(range) {
                Some(bytes) => ChainData::ScratchIn { bytes, times: 1 },
                None => ChainData::Whole(Direction::FromDevice),
            };
            with_header(RequestType::IN, range.next, data)
        }
        Command::WritePieces(range, _) => {
            let data = match copied(range) {
                Some(_) => ChainData::ScratchOut { times: 1 },
                None => ChainData::Whole(Direction::ToDevice),
            };
            with_header(RequestType::OUT, range.next, data)
        }
        Command::Flush | Command::FlushWritten | Command::FlushThenVerify(_) | Command::SetWriteCache(_) => {
            with_header(RequestType::FLUSH, Sectors(0), ChainData::None)
        }
        Command::Identify(_) => {
            let data = ChainData::ScratchIn { bytes: identity::BYTES as u32, times: 1 };
            with_header(RequestType::GET_ID, Sectors(0), data)
        }
        Command::Lifetime { .. } => {
            let data = ChainData::ScratchIn { bytes: lifetime::BYTES as u32, times: 1 };
            with_header(RequestType::GET_LIFETIME, Sectors(0), data)
        }
        Command::Verify(range, comparison) => {
            let Piece { bytes, times } = verified(range, comparison, most);
            with_header(RequestType::IN, range.next, ChainData::ScratchIn { bytes, times })
        }
        Command::WriteSame(range) => {
            let times = Piece::of(range, most).times;
            with_header(RequestType::OUT, range.next, ChainData::ScratchOut { times })
        }
        Command::Unmap { .. } => ranges(RequestType::DISCARD),
        Command::Erase(Erase::WriteZeroes { .. }, _) => ranges(RequestType::WRITE_ZEROES),
        Command::Erase(Erase::Securely, _) => ranges(RequestType::SECURE_ERASE),
    }
}

/// What a step of VERIFY reads. Without a comparison each piece may go over the one before it.
pub(crate) fn verified(range: Remaining, comparison: Comparison, most: AtOnce) -> Piece {
    let times = if comparison == Comparison::None { most.times } else { 1 };
    Piece::of(range, AtOnce { times, ..most })
}

#[inline]
fn with_header(kind: RequestType, first: Sectors, data: ChainData) -> Chain<RequestHeader> {
    Chain { header: RequestHeader::new(kind, first.0), data }
}

/// Their sectors are in the data.
fn ranges(kind: RequestType) -> Chain<RequestHeader> {
    with_header(kind, Sectors(0), ChainData::ScratchOut { times: 1 })
}
