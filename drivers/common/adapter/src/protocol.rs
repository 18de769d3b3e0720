//! What virtio-blk and virtio-scsi each say for themselves.

use storport::{BuildIo, Completion, Srb};
use virtio::memory::{Region, Segment};
use virtio::queue::{Direction, Format};
use virtio::spec::Features;

use crate::build_io::Command;

/// The protocol of the requests in the ring.
///
/// Its methods decide and return; the adapter acts. None of them may block, and `complete` runs under the queue's
/// lock.
pub trait Protocol: Format + Send + Sync + 'static {
    /// What `build_io` decodes: everything `chain` and `complete` need besides the request itself.
    type Command: Copy + Send + 'static;

    /// Protocol features to accept when offered. The transport's and ring's are the adapter's business.
    const FEATURES: Features;

    /// The virtqueue that takes requests.
    const REQUEST_QUEUE: u16;

    /// Bytes of device-visible memory the protocol wants for itself, at most a page.
    const SHARED_BYTES: usize;

    /// Bytes of the response that are read for every request. What follows them is read when
    /// [`response_rest`](Self::response_rest) asks for it.
    const RESPONSE_HEAD: usize;

    /// Reads the device's configuration.
    ///
    /// # Errors
    /// A number for the event log when the configuration cannot be used.
    fn probe(probe: &impl Probe) -> Result<(Self, Limits), u32>;

    /// Hands over the [`SHARED_BYTES`](Self::SHARED_BYTES) of device-visible memory.
    fn attach(&mut self, shared: Region);

    /// Decodes and checks a SCSI command. IRQL: up to DISPATCH_LEVEL. Lock: none.
    fn build_io(&self, srb: &mut impl Srb<Command<Self::Command>>) -> BuildIo<Self::Command>;

    /// The command that makes all completed writes durable; `None` when they already are.
    fn flush(&self) -> Option<Self::Command>;

    /// The chain for a request.
    fn chain(&self, srb: &impl Srb<Command<Self::Command>>, command: Self::Command) -> Chain<Self::Header>;

    /// How many bytes of the response follow its head.
    fn response_rest(head: &[u8]) -> usize;

    /// Translates the device's answer. `used_bytes` is what the device says it wrote: response and data together.
    fn complete(
        &self,
        srb: &mut impl Srb<Command<Self::Command>>,
        command: Self::Command,
        response: &[u8],
        used_bytes: u32,
    ) -> Completion;
}

/// What `probe` may look at.
pub trait Probe {
    /// The features that were negotiated.
    fn features(&self) -> Features;

    /// Reads `N` bytes of the device's configuration; `None` when they lie outside the configuration structure.
    fn config<const N: usize>(&self, offset: usize) -> Option<[u8; N]>;
}

/// What the device's configuration allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Targets on the bus.
    pub targets: u8,
    /// Logical units per target.
    pub logical_units: u8,
    /// Most data segments of one request.
    pub max_segments: u32,
    /// Largest transfer, in bytes.
    pub max_transfer_bytes: u32,
    /// Most requests one logical unit takes at once.
    pub max_requests_per_lun: u32,
    /// Completed writes may still be in a volatile cache.
    pub caches_data: bool,
}

/// One request as it goes into the ring: header and where the data is.
#[derive(Clone, Copy, Debug)]
pub struct Chain<H> {
    /// What the device reads first.
    pub header: H,
    /// The data that goes with it.
    pub data: ChainData,
}

/// The data of a chain.
#[derive(Clone, Copy, Debug)]
pub enum ChainData {
    /// None.
    None,
    /// The request's own buffer.
    Srb(Direction),
    /// A piece of the protocol's shared memory.
    Shared(Direction, Segment),
}
