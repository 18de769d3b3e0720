//! What virtio-blk and virtio-scsi each say for themselves.

use storport::{BuildIo, Completion, SrbStatus};
use virtio::memory::Region;
use virtio::queue::{Direction, Format};
use virtio::spec::Features;

use crate::Request;
use crate::part::Part;

/// The protocol of the requests in the ring.
///
/// Its methods decide and return; the adapter acts. None of them may block, and `complete` runs under the queue's
/// lock.
pub trait Protocol: Format + Send + Sync + 'static {
    /// What `build_io` decodes: everything `chain` and `complete` need besides the request itself.
    type Command: Copy + Send + 'static;

    /// Protocol features to accept when offered. The transport's and ring's are the adapter's business.
    const FEATURES: Features;

    /// Those of them that may be other ones after a later reset, without a new search for the adapter. None that the ring or
    /// the limits told to StorPort depend on.
    const CHANGEABLE: Features = Features::empty();

    /// The first virtqueue that takes requests; others follow it.
    const REQUEST_QUEUE: u16;

    /// Bytes of memory that one request may share with the device besides its own buffer; a multiple of 16, or 0 when none
    /// does.
    const SCRATCH_BYTES: usize;

    /// The protocol does a request in several steps where the device takes no whole page at once, or one segment of it only.
    const SPLITS: bool = false;

    /// Bytes of the response that are read for every request. What follows them is read when
    /// [`response_rest`](Self::response_rest) asks for it.
    const RESPONSE_HEAD: usize;

    /// Reads the device's configuration.
    ///
    /// # Errors
    /// Why the configuration cannot be used.
    fn probe(probe: &impl Probe) -> Result<(Self, Limits), ProbeError>;

    /// Whether the protocol can copy the data of a request through scratch memory, piece by piece. Without that, a device has
    /// to take a page wherever it lies.
    const BOUNCES: bool = false;

    /// Tells how much a request of the ring may have: no more than the device and the queue take.
    ///
    /// # Errors
    /// That is not enough for anything.
    fn limited(&mut self, _room: Room) -> Result<(), ProbeError> {
        Ok(())
    }

    /// Whether the device may have units where StorPort's addresses do not reach.
    fn leaves_out(&self) -> bool {
        false
    }

    /// Bytes of scratch memory that its requests need on this device, which takes so many segments:
    /// [`SCRATCH_BYTES`](Self::SCRATCH_BYTES) or none.
    fn scratch_bytes(&self, _max_segments: u16) -> usize {
        Self::SCRATCH_BYTES
    }

    /// Decodes and checks a SCSI command. IRQL: up to DISPATCH_LEVEL. Lock: none.
    fn build_io(&self, srb: &mut Request<Self>) -> BuildIo<Self::Command>;

    /// Looks at the device's configuration again; returns whether something changed that Windows has to know. IRQL:
    /// DISPATCH_LEVEL. Lock: the queue's.
    fn configuration_changed(&self, _probe: &impl Probe) -> bool {
        false
    }

    /// What has to be written to the device's configuration before a command is sent: offset and value.
    fn configuration_write(_command: Self::Command) -> Option<(usize, u8)> {
        None
    }

    /// Looks at the configuration after such a write. IRQL and lock as for
    /// [`configuration_changed`](Self::configuration_changed).
    fn configuration_written(&self, _probe: &impl Probe) {}

    /// The command that makes all completed writes durable; `None` when they already are.
    fn flush(&self) -> Option<Self::Command>;

    /// Whether the units are known to have had their write cache on when the adapter was found.
    fn write_cache_at_start(&self) -> bool {
        false
    }

    /// The chain for a request, or for its next step.
    fn chain(&self, srb: &Request<Self>, command: Self::Command) -> Chain<Self::Header>;

    /// Notes in a header which command it is, if the protocol says so: no other command that the device has bears this number,
    /// in whichever queue, and neither does the one before it in the same place.
    fn number(_header: &mut Self::Header, _number: u32) {}

    /// Puts what the device is to read into the scratch memory of a request with [`ChainData::ScratchOut`]. Comes again for
    /// the same step when the ring had no place for it.
    ///
    /// # Errors
    /// How the request ends without going to the device.
    fn fill(
        &self,
        _srb: &mut Request<Self>,
        _command: Self::Command,
        _scratch: &Region,
    ) -> Result<Filled<Self::Command>, Completion> {
        Err(Completion::failed(SrbStatus::INVALID_REQUEST))
    }

    /// How many bytes of the response follow its head.
    fn response_rest(head: &[u8]) -> usize;

    /// Translates the device's answer, from which alone it follows how the request ends: how much the device says it wrote is
    /// not known here ([`Used::length`](virtio::queue::Used::length)). `scratch` is the request's scratch memory, if it has any.
    fn complete(
        &self,
        srb: &mut Request<Self>,
        command: Self::Command,
        response: &[u8],
        scratch: Option<&Region>,
    ) -> Step<Self::Command>;
}

/// Why a device's configuration cannot be used. Which protocol has which is the protocols' business; here they meet, because the
/// log has one list of numbers for both drivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeError {
    /// The configuration structure ends before a field that belongs to it.
    ConfigTooShort,
    /// virtio-blk: the logical block size is not a power of two between 512 and 4096.
    BlockSize,
    /// virtio-scsi: the device's CDB or sense field is not of the default size.
    FieldSizes,
    /// virtio-blk: all segments of a request together may not even hold a block.
    SegmentSize,
    /// virtio-blk: the disk has zones that must be written in order (host-managed), which Windows' file systems do not do.
    HostManaged,
}

/// What a request of the ring has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Data segments, at least one.
    pub max_segments: u16,
    /// Bytes of a segment; scratch memory is cut by it.
    pub max_segment_bytes: u32,
    /// The device does not take a page wherever it lies, so data is copied through scratch memory, which has this many bytes.
    pub bounce_bytes: Option<u32>,
}

/// What `probe` may look at.
pub trait Probe {
    /// The features that were negotiated.
    fn features(&self) -> Features;

    /// Reads `N` bytes of the device's configuration; `None` when they lie outside the configuration structure.
    fn config<const N: usize>(&self, offset: usize) -> Option<[u8; N]>;

    /// Where the device is, bus and slot, while it is being found.
    fn place(&self) -> Option<(u32, u32)> {
        None
    }
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
    /// Largest segment, in bytes.
    pub max_segment_bytes: u32,
    /// Largest transfer, in bytes.
    pub max_transfer_bytes: u32,
    /// Most requests one logical unit takes at once.
    pub max_requests_per_lun: u32,
    /// Completed writes may still be in a volatile cache.
    pub caches_data: bool,
    /// Request queues.
    pub request_queues: u16,
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
    /// A part of it.
    Part(Direction, Part),
    /// The device writes so many bytes to the scratch memory, which is zeroed beforehand, so many times over each other.
    ScratchIn {
        /// Bytes, at most [`Protocol::SCRATCH_BYTES`].
        bytes: u32,
        /// How often.
        times: u16,
    },
    /// The device reads what [`Protocol::fill`] puts into the scratch memory, so many times in a row.
    ScratchOut {
        /// How often.
        times: u16,
    },
}

/// What [`Protocol::fill`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filled<C> {
    /// Bytes that the device is to read.
    pub bytes: u32,
    /// The command that `complete` will get.
    pub command: C,
}

/// What comes after the device's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a request that is not completed hangs its owner until the time-out"]
pub enum Step<C> {
    /// The request ends.
    Done(Completion),
    /// The same request goes to the device again, with this command. Its scratch memory stays its own.
    Next(C),
}
