//! A disk in memory and a queue of its, started by the rules.
#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "every test file uses another part of the bench, so `expect` would fail in some"
)]

use virtio::fake::disk::Disk;
use virtio::fake::{FakeBar, FakeDevice, Options, Ram};
use virtio::memory::{Region, Segment, SharedMemory};
use virtio::queue::{Direction, Layout, Notify, Reason, RequestQueue, Shape, Slot};
use virtio::spec::Features;
use virtio::spec::blk::{RequestHeader, RequestType, Status};
use virtio::transport::{Device, Doorbell};
use zerocopy::IntoBytes;

pub type Queue<M = Region> = RequestQueue<M, u32, Vec<Slot<u32>>>;

/// virtio-blk, with room for two data segments in a slot's own table.
pub const BLK: Shape = Shape {
    header_bytes: 16,
    response_bytes: 1,
    response_before_data_in: false,
    inline_segments: 2,
    used_length_counts_data_out: false,
};

/// virtio-scsi, likewise.
pub const SCSI: Shape = Shape {
    header_bytes: 51,
    response_bytes: 108,
    response_before_data_in: true,
    inline_segments: 2,
    used_length_counts_data_out: true,
};

pub const LARGE_TABLES: u16 = 4;
pub const WITHOUT_EVENT_IDX: Features = Features::VERSION_1.union(Features::RING_INDIRECT_DESC);
pub const WITH_EVENT_IDX: Features = WITHOUT_EVENT_IDX.union(Features::RING_EVENT_IDX);

/// A queue in `memory`, for requests as long as the ring allows.
pub fn queue<M: SharedMemory>(memory: M, layout: Layout, event_idx: bool) -> Queue<M> {
    let mut slots = Vec::new();
    slots.resize_with(layout.slots(), Slot::default);
    RequestQueue::new(memory, layout, slots, event_idx).expect("memory and slots are as the layout says")
}

pub fn layout(size: u16, shape: &Shape) -> Layout {
    Layout::new(size, shape, size - 2, LARGE_TABLES).expect("the longest chain fills the ring")
}

pub struct Bench {
    pub ram: Ram,
    pub device: FakeDevice<Disk>,
    pub transport: Device<FakeBar<Disk>>,
    pub queue: Queue,
    pub doorbell: Doorbell,
    pub data: Region,
}

impl Bench {
    pub fn new(size: u16, features: Features) -> Self {
        let ram = Ram::new(1 << 20);
        let options = Options { features, queue_size: size, ..Options::default() };
        let device = FakeDevice::new(Disk::new(1024), &ram, options);
        let transport =
            Device::open(&device.config_space(), |bar| device.bar(bar)).expect("the fake is whole");
        let layout = layout(size, &BLK);
        let memory = ram.alloc(layout.shared_bytes(), 64);
        let queue = queue(memory, layout, features.contains(Features::RING_EVENT_IDX));
        let data = ram.alloc(64 * 1024, 512);
        let doorbell = start(&transport, &queue);
        Self { ram, device, transport, queue, doorbell, data }
    }

    /// Resets the device and starts it again.
    pub fn restart(&mut self) {
        self.doorbell = start(&self.transport, &self.queue);
    }

    pub fn flush(&mut self, token: u32) -> Result<(), Reason> {
        self.request(token, RequestType::FLUSH, 0, 0)
    }

    /// A request for so many sectors, in a segment each; the data lies where the sector number says.
    pub fn request(
        &mut self,
        token: u32,
        kind: RequestType,
        sector: u64,
        sectors: u16,
    ) -> Result<(), Reason> {
        let header = RequestHeader::new(kind, sector);
        let direction = match kind {
            RequestType::IN => Direction::FromDevice,
            RequestType::OUT => Direction::ToDevice,
            _ => Direction::None,
        };
        let base = self.data.device_address() + sector * 512;
        let segments =
            (0..sectors).map(|index| Segment { address: base + u64::from(index) * 512, length: 512 });
        self.queue.submit(token, header.as_bytes(), direction, segments).map_err(|rejected| {
            assert_eq!(rejected.token, token, "the token comes back");
            rejected.reason
        })
    }

    /// Shows the device what was submitted, and tells it where it has to be told.
    pub fn publish(&mut self) -> Notify {
        let notify = self.queue.publish();
        if notify == Notify::Device {
            self.transport.notify(&self.doorbell, 0);
        }
        notify
    }

    /// Takes every used buffer, and says whose it was and how many bytes were written.
    pub fn drain(&mut self) -> Vec<(u32, u32)> {
        let mut done = Vec::new();
        while let Some(used) = self.queue.pop_used().expect("the device is honest") {
            let mut status = [0xff];
            used.read_response(0, &mut status);
            assert_eq!(Status(status[0]), Status::OK);
            let length = used.length();
            done.push((used.take().expect("the slot is in use"), length));
        }
        done
    }

    pub fn tokens(&mut self) -> Vec<u32> {
        self.drain().into_iter().map(|(token, _)| token).collect()
    }
}

fn start(transport: &Device<FakeBar<Disk>>, queue: &Queue) -> Doorbell {
    let acknowledged = transport.reset(&mut || ()).expect("the device can be reset");
    let offered = acknowledged.offered();
    let ready = acknowledged.negotiate(offered).expect("what is offered is accepted");
    ready.set_config_vector(Some(0)).expect("there is such a vector");
    ready.enable_queue(0, queue.size(), &queue.areas(), Some(1)).expect("there is such a queue");
    let doorbell = ready.notifier(0).expect("the queue has a notification address");
    ready.driver_ok();
    doorbell
}
