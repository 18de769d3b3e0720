//! A disk in memory and a queue of its, started by the rules.
#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "every test file uses another part of the bench, so `expect` would fail in some"
)]

use fake_device::disk::Disk;
use fake_device::{FakeBar, FakeDevice, Options, Ram};
use virtio::memory::{Region, Segment, SharedMemory};
use virtio::queue::{
    AnyRing, Direction, Format, Layout, Notify, QueueOptions, Reason, RequestQueue, Ring, RingFormat, Slot,
    Ticket,
};
use virtio::spec::Features;
use virtio::spec::blk::{RequestHeader, RequestType, Status};
use virtio::spec::scsi::{CmdRequest, CmdResponse};
use virtio::transport::{Device, Doorbell, QueueReset};

pub type Queue<F = Blk, R = AnyRing<Region>> = RequestQueue<F, R, u32, Vec<Slot<u32>>, true>;

/// virtio-blk, with room for two data segments in a slot's own table.
pub struct Blk;

impl Format for Blk {
    type Header = RequestHeader;
    const RESPONSE_BYTES: u16 = 1;
    const RESPONSE_BEFORE_DATA_IN: bool = false;
    const INLINE_SEGMENTS: u16 = 2;
}

/// virtio-scsi, likewise.
pub struct Scsi;

impl Format for Scsi {
    type Header = CmdRequest;
    const RESPONSE_BYTES: u16 = size_of::<CmdResponse>() as u16;
    const RESPONSE_BEFORE_DATA_IN: bool = true;
    const INLINE_SEGMENTS: u16 = 2;
}

pub const LARGE_TABLES: u16 = 4;

/// So many rounds; under Miri, which takes a thousand times as long, a few.
pub const fn rounds(count: u32) -> u32 {
    if cfg!(miri) { count.div_ceil(1000) } else { count }
}

const fn features(list: &[Features]) -> Features {
    let mut all = Features::VERSION_1;
    let mut index = 0;
    while index < list.len() {
        all = all.union(list[index]);
        index += 1;
    }
    all
}

pub const WITHOUT_EVENT_IDX: Features = features(&[Features::RING_INDIRECT_DESC]);
pub const WITH_EVENT_IDX: Features = features(&[Features::RING_INDIRECT_DESC, Features::RING_EVENT_IDX]);
pub const DIRECT: Features = features(&[Features::RING_EVENT_IDX]);
pub const PACKED: Features =
    features(&[Features::RING_INDIRECT_DESC, Features::RING_EVENT_IDX, Features::RING_PACKED]);
pub const PACKED_WITHOUT_EVENT_IDX: Features =
    features(&[Features::RING_INDIRECT_DESC, Features::RING_PACKED]);
pub const PACKED_DIRECT: Features = features(&[Features::RING_EVENT_IDX, Features::RING_PACKED]);

/// Every ring, with tables; Miri gets by with those that have the event index.
#[cfg(miri)]
pub const WITH_TABLES: [Features; 2] = [WITH_EVENT_IDX, PACKED];

/// Every ring, with tables.
#[cfg(not(miri))]
pub const WITH_TABLES: [Features; 4] = [WITHOUT_EVENT_IDX, WITH_EVENT_IDX, PACKED_WITHOUT_EVENT_IDX, PACKED];

/// Every ring; Miri gets by with those that have the event index.
#[cfg(miri)]
pub const ALL: [Features; 4] = [WITH_EVENT_IDX, DIRECT, PACKED, PACKED_DIRECT];

/// Every ring.
#[cfg(not(miri))]
pub const ALL: [Features; 8] = [
    WITHOUT_EVENT_IDX,
    WITH_EVENT_IDX,
    DIRECT,
    features(&[]),
    PACKED_WITHOUT_EVENT_IDX,
    PACKED,
    PACKED_DIRECT,
    features(&[Features::RING_PACKED]),
];

/// A queue in `memory`, for requests as long as the ring allows.
pub fn queue<F: Format, R: Ring>(memory: R::Memory, layout: Layout<F>, features: Features) -> Queue<F, R> {
    let mut slots = Vec::new();
    slots.resize_with(layout.slots(), Slot::default);
    RequestQueue::new(memory, layout, slots, features).expect("memory and slots are as the layout says")
}

pub fn layout<F: Format>(size: u16, features: Features) -> Layout<F> {
    let packed = features.contains(Features::RING_PACKED);
    Layout::new(QueueOptions {
        ring: if packed { RingFormat::Packed } else { RingFormat::Split },
        size,
        slots: size,
        max_segments: size - 2,
        indirect: features.contains(Features::RING_INDIRECT_DESC),
        large_tables: LARGE_TABLES,
    })
    .expect("the longest chain fills the ring")
}

pub struct Bench {
    pub ram: Ram,
    pub device: FakeDevice<Disk>,
    pub transport: Device<FakeBar<Disk>>,
    pub queue: Queue,
    pub doorbell: Doorbell,
    /// With VIRTIO_F_RING_RESET.
    pub queue_reset: Option<QueueReset>,
    pub data: Region,
}

impl Bench {
    pub fn new(size: u16, features: Features) -> Self {
        Self::with(size, features, |_| ())
    }

    pub fn with(size: u16, features: Features, change: impl FnOnce(&mut Options)) -> Self {
        let ram = Ram::new(1 << 20);
        let mut options = Options { features, queue_size: size, ..Options::default() };
        change(&mut options);
        let device = FakeDevice::new(Disk::new(1024), &ram, options);
        let transport =
            Device::open(&device.config_space(), |bar| device.bar(bar)).expect("the fake is whole");
        let layout = layout(size, features);
        let memory = ram.alloc(layout.shared_bytes(), layout.alignment());
        let queue = queue(memory, layout, features);
        let data = ram.alloc(64 * 1024, 512);
        let (doorbell, queue_reset) = start(&transport, &queue);
        Self { ram, device, transport, queue, doorbell, queue_reset, data }
    }

    /// Resets the device and starts it again.
    pub fn restart(&mut self) {
        (self.doorbell, self.queue_reset) = start(&self.transport, &self.queue);
    }

    pub fn flush(&mut self, token: u32) -> Result<Ticket, Reason> {
        self.request(token, RequestType::FLUSH, 0, 0)
    }

    /// A request for so many sectors, in a segment each; the data lies where the sector number says.
    pub fn request(
        &mut self,
        token: u32,
        kind: RequestType,
        sector: u64,
        sectors: u16,
    ) -> Result<Ticket, Reason> {
        let header = RequestHeader::new(kind, sector);
        let direction = match kind {
            RequestType::IN => Direction::FromDevice,
            RequestType::OUT => Direction::ToDevice,
            _ => Direction::None,
        };
        let base = self.data.device_address() + sector * 512;
        let segments: Vec<_> = (0..sectors)
            .map(|index| Segment { address: base + u64::from(index) * 512, length: 512 })
            .collect();
        self.queue.submit(token, &header, direction, segments.as_slice()).map_err(|rejected| {
            assert_eq!(rejected.token, token, "the token comes back");
            rejected.reason
        })
    }

    /// Shows the device what was submitted, and tells it where it has to be told.
    pub fn publish(&mut self) -> Notify {
        let notify = self.queue.publish();
        if let Notify::Device { next } = notify {
            self.transport.notify(&self.doorbell, next);
        }
        notify
    }

    /// Takes every used buffer, and says whose it was and how many bytes were written.
    pub fn drain(&mut self) -> Vec<(u32, u32)> {
        let mut done = Vec::new();
        while let Some(used) = self.queue.pop_used().expect("the device is honest") {
            let mut status = [0xff];
            used.response().read_into(0, &mut status);
            assert_eq!(Status(status[0]), Status::OK);
            let length = used.length();
            done.push((used.take(), length));
        }
        done
    }

    pub fn tokens(&mut self) -> Vec<u32> {
        self.drain().into_iter().map(|(token, _)| token).collect()
    }
}

fn start(transport: &Device<FakeBar<Disk>>, queue: &Queue) -> (Doorbell, Option<QueueReset>) {
    let acknowledged = transport.reset(&mut || ()).expect("the device can be reset");
    let offered = acknowledged.offered();
    let ready = acknowledged.negotiate(offered).expect("what is offered is accepted");
    ready.set_config_vector(Some(0)).expect("there is such a vector");
    ready.enable_queue(0, queue.size(), &queue.areas(), Some(1)).expect("there is such a queue");
    let doorbell = ready.notifier(0).expect("the queue has a notification address");
    let queue_reset = ready.queue_reset();
    ready.driver_ok();
    (doorbell, queue_reset)
}
