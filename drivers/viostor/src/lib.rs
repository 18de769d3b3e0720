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
mod translate;
pub mod units;

pub use build_io::{Command, Erase};
pub use config::Disk;
pub use identity::Location;
pub use limits::{Geometry, RangeLimits, Topology, WriteZeroes};
pub use ranges::Place;
pub use steps::{Afterwards, Comparison, Remaining};

use adapter::{Chain, Filled, Limits, Probe, ProbeError, Protocol, Room, Step};
use live::Live;
use steps::AtOnce;
use storport::{BuildIo, Completion};
use virtio::memory::Region;
use virtio::queue::Format;
use virtio::spec::{Features, blk};

/// A request, as `build_io` has decoded it.
type Request = adapter::Request<Viostor>;

/// The adapter that `viostor.sys` exports.
pub type Adapter<P> = adapter::Adapter<P, Viostor>;

/// The virtio-blk protocol.
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

impl Protocol for Viostor {
    type Command = Command;

    const FEATURES: Features = config::FEATURES;
    const CHANGEABLE: Features = Features::BLK_RO;
    const REQUEST_QUEUE: u16 = 0;
    const SCRATCH_BYTES: usize = steps::SCRATCH_BYTES;
    const RESPONSE_HEAD: usize = 1;
    const BOUNCES: bool = true;

    fn probe(probe: &impl Probe) -> Result<(Self, Limits), ProbeError> {
        let (disk, limits) = config::read(probe)?;
        let live = Live::new(&disk);
        Ok((Self { disk, live, at_once: AtOnce::WHOLE }, limits))
    }

    fn limited(&mut self, room: Room) -> Result<(), ProbeError> {
        self.at_once = self.disk.fit(&room)?;
        Ok(())
    }

    fn build_io(&self, srb: &mut Request) -> BuildIo<Command> {
        build_io::build(&self.disk, &self.live, srb)
    }

    fn configuration_changed(&self, probe: &impl Probe) -> bool {
        self.live.look(&self.disk, probe)
    }

    fn configuration_write(command: Command) -> Option<(usize, u8)> {
        match command {
            Command::SetWriteCache(on) => Some((blk::config::WRITEBACK, u8::from(on))),
            _ => None,
        }
    }

    fn configuration_written(&self, probe: &impl Probe) {
        // Who changed it knows.
        self.live.read_flags(probe);
    }

    fn write_cache_at_start(&self) -> bool {
        self.disk.default_write_cache
    }

    fn flush(&self) -> Option<Command> {
        self.disk.flushes.then_some(Command::Flush)
    }

    fn chain(&self, srb: &Request, command: Command) -> Chain<Self::Header> {
        translate::chain(srb, command, self.at_once, self.disk.copying.as_ref())
    }

    fn fill(
        &self,
        srb: &mut Request,
        command: Command,
        scratch: &Region,
    ) -> Result<Filled<Command>, Completion> {
        // The size may have changed since the disk was found.
        fill::fill(&self.live.apply(&self.disk), self.at_once, srb, command, scratch)
    }

    fn response_rest(_head: &[u8]) -> usize {
        0
    }

    fn complete(
        &self,
        srb: &mut Request,
        command: Command,
        response: &[u8],
        scratch: Option<&Region>,
    ) -> Step<Command> {
        complete::complete((&self.disk, &self.live, self.at_once), srb, command, response, scratch)
    }
}
