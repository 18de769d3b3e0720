//! viostor: one disk on virtio-blk (PCI 1AF4:1001 and 1AF4:1042), as a storport miniport.
//!
//! A virtio-blk request in the ring (virtio 1.3, 5.2.6), with who writes what:
//!
//! ```text
//!   read                 write                flush        serial number (GET_ID)
//!   R 16 header          R 16 header          R 16 header  R 16 header
//!   W  n data            R  n data                         W 20 identity
//!   W  1 status          W  1 status          W  1 status  W  1 status
//! ```
//!
//! Header and status are the slot's own memory. The data is the request's; the identity is written to scratch memory.
//!
//! Some SCSI commands are more than one such request, one after the other: a write with FUA is a write and a flush. A device
//! that does not take a page wherever it lies, because it takes one segment only or only short ones, gets data piece by piece
//! out of scratch memory, which it is copied to.
//!
//! The disk's SCSI face is emulated: `build_io` and `build_steps` turn commands for blocks into requests, `emulate` answers
//! the others with `product_data` (INQUIRY) and `modes`, and `identity` and `lifetime` answer what the device has to be asked
//! for. Two units never mix: virtio-blk counts [`units::Sectors`] of 512 bytes, SCSI counts logical blocks of the disk's
//! block size.
#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod build_io;
mod build_steps;
mod chain;
mod complete;
mod config;
mod emulate;
mod fill;
mod identity;
mod lifetime;
mod limits;
mod live;
mod modes;
mod product_data;
mod ranges;
mod steps;
pub mod units;

pub use build_io::{Command, Erase};
pub use config::Disk;
pub use identity::Location;
pub use limits::{Geometry, RangeLimits, Topology, WriteZeroes};
pub use ranges::Place;
pub use steps::{Afterwards, Comparison, Remaining};

use adapter::{
    Chain, Configure, Facts, Filled, Limits, NoTask, Probe, ProbeError, Requests, Response, Room, Scratch,
    Service, Small, Step,
};
use live::Live;
use steps::AtOnce;
use storport::{BuildIo, Completion};
use virtio::memory::{Block, Region, Words};
use virtio::queue::{Direction, Format};
use virtio::spec::blk::Status;
use virtio::spec::{Features, blk};

/// A request, as `build_io` has decoded it.
type Request = adapter::Request<Viostor>;

/// The adapter that `viostor.sys` exports.
pub type Adapter<P> = adapter::Adapter<P, Viostor>;

/// The virtio-blk device type.
#[derive(Debug)]
pub struct Viostor {
    /// As it was found; what may have changed since is in `live`.
    disk: Disk,
    live: Live,
    /// How much scratch memory one request may name.
    at_once: AtOnce,
}

impl Format for Viostor {
    type Header = blk::RequestHeader;
    const RESPONSE_BYTES: u16 = 1;
    const RESPONSE_BEFORE_DATA_IN: bool = false;
    const INLINE_SEGMENTS: u16 = 2;
}

impl Facts for Viostor {
    type Command = Command;

    const FEATURES: Features = config::FEATURES;
    const CHANGEABLE: Features = Features::BLK_RO;
    const REQUEST_QUEUE: u16 = 0;
    const CONTROL_QUEUE: Option<u16> = None;
    const EVENT_QUEUE: Option<u16> = None;
    type Task = NoTask;
    const SCRATCH: Scratch = Scratch { bytes: steps::SCRATCH_BYTES, for_one_segment: false };
    const SMALL: Small = Small::Copied;

    fn probe(probe: &impl Probe) -> Result<(Self, Limits), ProbeError> {
        let (disk, limits) = config::read(probe)?;
        let live = Live::new(&disk);
        Ok((Self { disk, live, at_once: AtOnce::WHOLE }, limits))
    }

    fn limited(&mut self, room: Room) -> Result<(), ProbeError> {
        self.at_once = self.disk.fit(&room)?;
        Ok(())
    }
}

impl Requests for Viostor {
    #[inline(always)]
    fn build_io(&self, request: &mut Request) -> BuildIo {
        build_io::build_io(&self.disk, &self.live, request)
    }

    fn flush(&self) -> Option<Command> {
        self.disk.flushes.then_some(Command::Flush)
    }

    fn chain(&self, request: &Request, command: Command, _tag: u32) -> Chain<Self::Header> {
        chain::chain(request, command, self.at_once, self.disk.copying.as_ref())
    }

    #[inline(always)]
    fn write_header(
        &self,
        _request: &Request,
        command: &Command,
        _tag: u32,
        header: Block<impl Words>,
    ) -> Option<Direction> {
        chain::write_header(command, header)
    }

    #[inline(always)]
    fn is_done(&self, _request: &Request, command: &Command, response: &Response<'_>) -> bool {
        let done =
            matches!(command, Command::Read(_) | Command::Write(_)) && Status(response.byte(0)) == Status::OK;
        if done {
            response.spoil(1);
        }
        done
    }

    fn fill(
        &self,
        request: &mut Request,
        command: Command,
        scratch: &Region,
    ) -> Result<Filled<Command>, Completion> {
        // The size may have changed since the disk was found.
        fill::fill(&self.live.apply(&self.disk), self.at_once, request, command, scratch)
    }

    fn complete(
        &self,
        request: &mut Request,
        command: Command,
        response: &Response<'_>,
        scratch: Option<&Region>,
    ) -> Step<Command> {
        let [status] = response.read(0);
        response.spoil(1);
        let disk = (&self.disk, &self.live, self.at_once);
        complete::complete(disk, request, command, Status(status), scratch)
    }
}

impl Service for Viostor {
    fn configuration_changed(&self, probe: &impl Probe) -> bool {
        self.live.look(&self.disk, probe)
    }

    fn configure(&self, command: Command, device: &impl Configure) {
        if let Command::SetWriteCache(on) = command {
            device.write_config8(blk::config::WRITEBACK, u8::from(on));
            // Who changed it knows.
            self.live.read_flags(device);
        }
    }
}
