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

pub use build_io::Command;
pub use config::{Hba, declined};

use adapter::{Chain, ChainData, Limits, Probe, Protocol, Step};
use storport::{BuildIo, DataDirection, Srb};
use virtio::memory::Region;
use virtio::queue::{Direction, Format};
use virtio::spec::{Features, scsi as wire};

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
    const SCRATCH_BYTES: usize = 0;
    const RESPONSE_HEAD: usize = complete::HEAD_BYTES;

    fn probe(probe: &impl Probe) -> Result<(Self, Limits), u32> {
        let (hba, limits) = config::read(probe)?;
        Ok((Self { hba }, limits))
    }

    fn build_io(&self, srb: &mut impl Srb<adapter::Command<Command>>) -> BuildIo<Command> {
        build_io::build(&self.hba, srb)
    }

    /// The adapter caches nothing; logical units get SYNCHRONIZE CACHE as a CDB.
    fn flush(&self) -> Option<Command> {
        None
    }

    fn chain(&self, srb: &impl Srb<adapter::Command<Command>>, command: Command) -> Chain<Self::Header> {
        let data = match srb.direction() {
            DataDirection::None => ChainData::None,
            DataDirection::In => ChainData::Srb(Direction::FromDevice),
            DataDirection::Out => ChainData::Srb(Direction::ToDevice),
        };
        Chain { header: command.header(srb.cdb()), data }
    }

    fn number(header: &mut wire::CmdRequest, number: u32) {
        header.tag = u64::from(number).into();
    }

    fn response_rest(head: &[u8]) -> usize {
        complete::sense_bytes(head)
    }

    fn complete(
        &self,
        srb: &mut impl Srb<adapter::Command<Command>>,
        _command: Command,
        response: &[u8],
        _scratch: Option<&Region>,
    ) -> Step<Command> {
        Step::Done(complete::complete(srb, response))
    }
}
