//! What viostor and vioscsi each say for themselves, in three parts: [`Facts`] about the device, its [`Requests`], and the
//! [`Service`] of everything that is rare.
//!
//! Their methods decide and return; the adapter acts. None of them may block.

use storport::port::FarUnit;
use storport::{Address, BuildIo, Completion, SrbStatus, wmi};
use virtio::memory::{Block, Region, Words};
use virtio::queue::{Direction, Format};
use virtio::spec::Features;

use crate::request::{Command, Function, Part};

/// A virtio device type, as a whole.
pub trait DeviceType: Requests + Service {}

impl<D: Requests + Service> DeviceType for D {}

/// What there is to know of the device before it is started: queues, features, configuration.
pub trait Facts: Format + Send + Sync + 'static {
    /// What `build_io` decodes: everything that a request needs besides itself.
    type Command: Copy + Send + 'static;

    /// Features of the device type to accept when offered. The transport's and ring's are the adapter's business.
    const FEATURES: Features;

    /// Those of them that may be other ones after a later reset, without a new search for the adapter. None that the ring or
    /// the limits told to StorPort depend on.
    const CHANGEABLE: Features = Features::empty();

    /// The first virtqueue that takes requests; others follow it.
    const REQUEST_QUEUE: u16;

    /// The virtqueue for task management functions; `None` of a device type that has none.
    const CONTROL_QUEUE: Option<u16>;

    /// The virtqueue for events, of [`Limits::event_bytes`]; `None` of a device type that has none.
    const EVENT_QUEUE: Option<u16>;

    /// A task management function and its answer; [`NoTask`] of a device type that has none.
    type Task: Format + Send;

    /// The memory that requests share with the device besides their own buffers.
    const SCRATCH: Scratch = Scratch::NONE;

    /// What becomes of data where the device does not take a page wherever it lies.
    const SMALL: Small = Small::Declined;

    /// Reads the device's configuration. IRQL: PASSIVE_LEVEL, in dump mode HIGH_LEVEL. Lock: none.
    ///
    /// # Errors
    /// Why the device cannot be used.
    fn probe(probe: &impl Probe) -> Result<(Self, Limits), ProbeError>;

    /// Tells how much a request of the ring may have: no more than the device and the queue take. IRQL and lock as for
    /// [`probe`](Self::probe).
    ///
    /// # Errors
    /// That is not enough for anything.
    fn limited(&mut self, _room: Room) -> Result<(), ProbeError> {
        Ok(())
    }
}

/// The life of a request: what is decided about it, moment by moment.
pub trait Requests: Facts {
    /// Decodes and checks a SCSI command (`HwStorBuildIo`), and sets the request's [`Facts::Command`] if it is to be started: it is
    /// written where it stays. IRQL: up to DISPATCH_LEVEL. Lock: none.
    fn build_io(&self, request: &mut Request<Self>) -> BuildIo;

    /// The command that makes all completed writes durable (SRB_FUNCTION_FLUSH, SRB_FUNCTION_SHUTDOWN); `None` when they
    /// already are. IRQL and lock as for [`build_io`](Self::build_io).
    fn flush(&self) -> Option<Self::Command>;

    /// What goes into the ring for a request, or for its next step (`HwStorStartIo`). `tag`: no other command that the device
    /// has bears this number, in whichever queue, and neither does the one before it in the same place. IRQL: DISPATCH_LEVEL.
    /// Lock: the queue's.
    fn chain(&self, request: &Request<Self>, command: Self::Command, tag: u32) -> Chain<Self::Header>;

    /// What goes into the ring for nearly all requests: writes the header where the device finds it, over what an earlier request
    /// has left there, when the data is the request's whole buffer, and returns which way that goes. `None`, with nothing that
    /// matters written: it is another kind, to be put together by [`chain`](Self::chain), which has to write the same header.
    /// IRQL and lock as there.
    fn write_header(
        &self,
        _request: &Request<Self>,
        _command: &Self::Command,
        _tag: u32,
        _header: Block<impl Words>,
    ) -> Option<Direction> {
        None
    }

    /// Whether a request has done all that it was asked for, as the device's answer says, and has no other step. It is asked of
    /// every request without scratch memory, also of those that [`write_header`](Self::write_header) was not for. Then what was
    /// read of the answer is spoilt, and the request ends with success. If not, it goes to [`complete`](Self::complete), which
    /// reads the answer again. IRQL and lock as there.
    fn is_done(&self, _request: &Request<Self>, _command: &Self::Command, _response: &Response<'_>) -> bool {
        false
    }

    /// Puts what the device is to read into the scratch memory of a request with [`ChainData::ScratchOut`]. Comes again for
    /// the same step when the ring had no place for it. IRQL: DISPATCH_LEVEL. Lock: the queue's.
    ///
    /// # Errors
    /// How the request ends without going to the device.
    fn fill(
        &self,
        _request: &mut Request<Self>,
        _command: Self::Command,
        _scratch: &Region,
    ) -> Result<Filled<Self::Command>, Completion> {
        Err(Completion::failed(SrbStatus::INVALID_REQUEST))
    }

    /// Translates the device's answer, from which alone it follows how the request ends: how much the device says it wrote is
    /// not known here ([`Used::length`](virtio::queue::Used::length)). What it reads of the response it spoils. `scratch` is
    /// the request's scratch memory, if it has any. IRQL: DISPATCH_LEVEL. Lock: the queue's.
    fn complete(
        &self,
        request: &mut Request<Self>,
        command: Self::Command,
        response: &Response<'_>,
        scratch: Option<&Region>,
    ) -> Step<Self::Command>;
}

/// Everything that is rare. IRQL: DISPATCH_LEVEL. Lock: that of the first queue, while which is held the device is not reset.
pub trait Service: Facts {
    /// Looks at the device's configuration again; returns whether something changed that Windows has to know.
    fn configuration_changed(&self, _probe: &impl Probe) -> bool {
        false
    }

    /// Writes to the device's configuration what has to stand there before a `Command::Configure` goes to the device.
    fn configure(&self, _command: Self::Command, _device: &impl Configure) {}

    /// A task management function as it goes to the device; `None` of a device type that has none. IRQL: DISPATCH_LEVEL.
    /// Lock: the control queue's.
    fn task(&self, _function: Function, _tag: u32) -> Option<<Self::Task as Format>::Header> {
        None
    }

    /// What Windows has to look at because of an event. IRQL: DISPATCH_LEVEL. Lock: the event queue's.
    fn event(&self, _event: [u8; 16]) -> Change {
        Change::None
    }

    /// Whether the device has done such a function. IRQL and lock as for [`task`](Self::task).
    fn task_done(&self, _response: &Response<'_>) -> bool {
        false
    }

    /// Answers what programs ask through WMI of an adapter that is like this. `now` is for [`Call::answer`](wmi::Call::answer).
    /// A device type that has nothing to tell refuses. IRQL: up to DISPATCH_LEVEL. Lock: none.
    fn wmi(&self, _state: &AdapterState, _call: wmi::Call<'_>, _now: impl FnOnce() -> u64) -> Completion {
        Completion::failed(SrbStatus::INVALID_REQUEST)
    }
}

/// What an adapter is like at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdapterState {
    /// The device works, and requests go to it.
    pub running: bool,
    /// What was negotiated.
    pub features: Features,
    /// Request queues in use.
    pub queues: u16,
    /// The port driver names a message for each request: it starts requests, and runs the DPCs that end them, on as many
    /// processors at once as there are queues.
    pub by_message: bool,
    /// Requests that a unit has at once, as the port driver was told.
    pub max_requests_per_lun: u32,
    /// Segments of one transfer, likewise.
    pub max_segments: u32,
}

/// What has changed behind the adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing that Windows has to know.
    None,
    /// This unit is another one than it was: its size, its mode.
    Unit(Address),
    /// Units have come or gone, or nobody knows what has changed.
    Bus,
}

/// No task management function.
#[derive(Debug)]
pub struct NoTask;

impl Format for NoTask {
    type Header = [u8; 1];
    const RESPONSE_BYTES: u16 = 1;
    const RESPONSE_BEFORE_DATA_IN: bool = false;
    const INLINE_SEGMENTS: u16 = 1;
}

/// A request of this device type.
pub type Request<D> = storport::Request<Command<<D as Facts>::Command>>;

/// A request of this device type in which it is written how it ended.
pub(crate) type Ended<D> = storport::Ended<Command<<D as Facts>::Command>>;

/// The answer of the device to a request.
pub type Response<'a> = virtio::queue::Response<'a, Region>;

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

/// Memory that requests share with the device besides their own buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scratch {
    /// Bytes of one request's: a multiple of 16.
    pub bytes: usize,
    /// Only a device that takes one segment needs it.
    pub for_one_segment: bool,
}

impl Scratch {
    /// No request needs any.
    pub const NONE: Self = Self { bytes: 0, for_one_segment: true };

    /// Bytes of one request's on a device that takes so many segments.
    pub(crate) const fn bytes(self, max_segments: u16) -> usize {
        if self.for_one_segment && max_segments > 1 { 0 } else { self.bytes }
    }
}

/// What becomes of data where a device does not take a page wherever it lies: fewer than two segments, or shorter ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Small {
    /// Such a device cannot be used.
    Declined,
    /// It is copied through scratch memory, piece by piece.
    Copied,
    /// A request is done in steps, each as much as the device takes.
    InSteps,
}

/// What a request of the ring has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Data segments, at least one.
    pub max_segments: u16,
    /// Bytes of a segment; scratch memory is cut by it.
    pub max_segment_bytes: u32,
    /// Data is copied through scratch memory, which has this many bytes ([`Small::Copied`]).
    pub bounce_bytes: Option<u32>,
    /// Requests are done in steps ([`Small::InSteps`]).
    pub in_steps: bool,
}

/// What a device type may look at.
pub trait Probe {
    /// The features that were negotiated.
    fn features(&self) -> Features;

    /// Reads `N` bytes of the device's configuration; `None` when they lie outside the configuration structure.
    fn config<const N: usize>(&self, offset: usize) -> Option<[u8; N]>;

    /// The PCI function that the device is, while it is being found.
    fn function(&self) -> Option<PciFunction> {
        None
    }
}

/// A PCI function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PciFunction {
    /// `SystemIoBusNumber`, with the segment in its upper part.
    pub bus: u32,
    /// `SlotNumber`: device in five bits, function in three above them.
    pub slot: u32,
    /// Vendor ID
    pub vendor: u16,
    /// Device ID
    pub device: u16,
    /// Revision ID
    pub revision: u8,
}

/// What a device type may change of a running device.
pub trait Configure: Probe {
    /// Writes a byte of the device's configuration.
    fn write_config8(&self, offset: usize, value: u8);
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
    /// The units are known to have their write cache on.
    pub write_cache: bool,
    /// The device may have units where StorPort's addresses do not reach.
    pub leaves_out: bool,
    /// Bytes of an event that the device writes at most ([`Facts::EVENT_QUEUE`]).
    pub event_bytes: u16,
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
    Whole(Direction),
    /// A part of it.
    Part(Direction, Part),
    /// The device writes so many bytes to the scratch memory, which is zeroed beforehand, so many times over each other.
    ScratchIn {
        /// Bytes, at most [`Facts::SCRATCH`].
        bytes: u32,
        /// How often.
        times: u16,
    },
    /// The device reads what [`Requests::fill`] puts into the scratch memory, so many times in a row.
    ScratchOut {
        /// How often.
        times: u16,
    },
}

/// What [`Requests::fill`] did.
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
    /// The request ends. It has listed this unit, which Windows cannot address, and that has to be told.
    OutOfReach(Completion, FarUnit),
    /// The same request goes to the device again, with this command. Its scratch memory stays its own.
    Next(C),
}
