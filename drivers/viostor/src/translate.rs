//! Command → virtio-blk request (virtio 1.3, 5.2.6).

use adapter::{Chain, ChainData};
use virtio::queue::Direction;
use virtio::spec::blk::{RequestHeader, RequestType};

use crate::build_io::Command;
use crate::identity;
use crate::units::Sectors;

pub(crate) fn chain(command: Command) -> Chain<RequestHeader> {
    match command {
        Command::Read(first) => with_header(RequestType::IN, first, ChainData::Srb(Direction::FromDevice)),
        Command::Write(first) | Command::WriteThrough(first) => {
            with_header(RequestType::OUT, first, ChainData::Srb(Direction::ToDevice))
        }
        Command::Flush | Command::FlushWritten => {
            with_header(RequestType::FLUSH, Sectors(0), ChainData::None)
        }
        Command::Identify(_) => {
            let data = ChainData::ScratchIn { bytes: identity::BYTES as u32, times: 1 };
            with_header(RequestType::GET_ID, Sectors(0), data)
        }
    }
}

fn with_header(kind: RequestType, first: Sectors, data: ChainData) -> Chain<RequestHeader> {
    Chain { header: RequestHeader::new(kind, first.0), data }
}
