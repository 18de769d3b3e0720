//! Command → virtio-blk request (virtio 1.3, 5.2.6).

use adapter::{Chain, ChainData};
use virtio::memory::Region;
use virtio::queue::Direction;
use virtio::spec::blk::{RequestHeader, RequestType};

use crate::build_io::Command;
use crate::identity;
use crate::units::Sectors;

pub(crate) fn chain(command: Command, identity: Option<&Region>) -> Chain<RequestHeader> {
    match command {
        Command::Read(first) => with_header(RequestType::IN, first, ChainData::Srb(Direction::FromDevice)),
        Command::Write(first) => with_header(RequestType::OUT, first, ChainData::Srb(Direction::ToDevice)),
        Command::Flush => with_header(RequestType::FLUSH, Sectors(0), ChainData::None),
        Command::Identify(_) => {
            let data = match identity {
                Some(shared) => ChainData::Shared(Direction::FromDevice, identity::segment(shared)),
                None => ChainData::None,
            };
            with_header(RequestType::GET_ID, Sectors(0), data)
        }
    }
}

fn with_header(kind: RequestType, first: Sectors, data: ChainData) -> Chain<RequestHeader> {
    Chain { header: RequestHeader::new(kind, first.0), data }
}
