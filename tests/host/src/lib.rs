//! Both drivers on fakes: the same code as in the `.sys` files, between a port driver and a device in memory.
//!
//! ```text
//!   test ── SrbBuilder ──► FakePort ──► Adapter (viostor, vioscsi) ──► FakeBar, Ram ──► FakeDevice<Disk or Hba>
//!        ◄── Completed ───          ◄── interrupt, DPC ── Bench::settle ── Interrupt ──
//! ```
//!
//! A [`Bench`] is one adapter with everything around it. Nothing happens by itself: [`Bench::settle`] lets device and
//! driver take turns until both are idle, and a test that cares about the order of events takes the steps one by one.
#![deny(missing_docs)]

pub mod cdb;
pub mod random;

use std::sync::Mutex;

use adapter::{Adapter, DeviceType};
use fake_device::disk::Disk;
use fake_device::hba::Hba;
use fake_device::{FakeBar, FakeConfigSpace, FakeDevice, Interrupt, Manner, Model, Options, Ram};
use storport::fake::{Completed, FakePort, FakeResources, SrbBuilder};
use storport::{Configuration, DataDirection, Declined, Interrupts, LogEvent, Miniport, SrbId, SrbStatus};
use vioscsi::Vioscsi;
use viostor::Viostor;
use virtio::memory::{Segment, SharedMemory};

/// Memory of a test machine. Most of it is never touched.
const RAM_BYTES: usize = 16 << 20;

/// viostor with its disk.
pub type DiskBench = Bench<Viostor, Disk>;

/// vioscsi with its host bus adapter.
pub type HbaBench = Bench<Vioscsi, Hba>;

/// The port driver of a device of type `M`.
pub type PortOf<M> = FakePort<FakeBar<M>>;

/// A device in a machine, before a driver has seen it.
pub struct Machine<M> {
    /// The memory
    pub ram: Ram,
    /// The device
    pub device: FakeDevice<M>,
    /// The port driver
    pub port: PortOf<M>,
    /// Processors that are active
    pub processors: u16,
    /// Bytes of private memory, when they are not as many as the driver asks for
    pub private_room: Option<usize>,
    /// Where the device is: bus, and slot with function.
    pub place: (u32, u32),
}

/// Where a device is.
const PLACE: (u32, u32) = (3, 0x1f);

impl<M: Model> Machine<M> {
    /// A machine with this device.
    pub fn new(model: M, options: Options) -> Self {
        let ram = Ram::new(RAM_BYTES);
        let device = FakeDevice::new(model, &ram, options);
        Self::around(ram, device)
    }

    /// A machine with a device of this manner.
    pub fn with_manner(manner: &Manner<M>, model: M, options: Options) -> Self {
        let ram = Ram::new(RAM_BYTES);
        let device = FakeDevice::with_manner(manner, model, &ram, options);
        Self::around(ram, device)
    }

    fn around(ram: Ram, device: FakeDevice<M>) -> Self {
        let port = PortOf::<M>::default();
        port.connect(device.config_access());
        Self { ram, device, port, processors: 1, private_room: None, place: PLACE }
    }

    /// The same with so many processors.
    #[must_use]
    pub fn with_processors(mut self, processors: u16) -> Self {
        self.processors = processors;
        self
    }

    /// The same with its device at another place.
    #[must_use]
    pub fn at(mut self, bus: u32, slot: u32) -> Self {
        self.place = (bus, slot);
        self
    }

    /// What is left of a machine when its system has crashed or hibernates: the dump port driver.
    pub fn in_dump_mode(ram: Ram, device: FakeDevice<M>) -> Self {
        let port = FakePort::for_dump();
        port.connect(device.config_access());
        Self { ram, device, port, processors: 1, private_room: None, place: PLACE }
    }

    /// What the port driver offers while the adapter is being found.
    pub fn resources(&self) -> FakeResources<'_, FakeBar<M>, FakeConfigSpace> {
        FakeResources {
            port: self.port.clone(),
            config_space: self.device.config_space(),
            map_bar: Box::new(|index| self.device.bar(index)),
            allocate: Box::new(|bytes| Some(self.ram.alloc(bytes, 4096))),
            configuration: None,
            processors: self.processors,
            private_room: self.private_room.unwrap_or(1 << 30),
            place: self.place,
            has_memory: false,
        }
    }

    /// Has the driver find the adapter.
    ///
    /// # Errors
    /// What the driver says against it.
    pub fn find<D: DeviceType>(self) -> Result<Bench<D, M>, Declined> {
        let asked_for = if self.port.is_for_dump() {
            Adapter::<PortOf<M>, D>::DUMP_PRIVATE_BYTES
        } else {
            Adapter::<PortOf<M>, D>::private_bytes(self.processors)
        };
        let mut resources = self.resources();
        resources.private_room = self.private_room.unwrap_or(asked_for);
        let adapter = Adapter::<PortOf<M>, D>::find_adapter(&mut resources)?;
        let configuration = resources.configuration.expect("the adapter told its configuration");
        drop(resources);
        let Self { ram, device, port, .. } = self;
        if configuration.maps_all {
            port.map_all(&ram);
        }
        Ok(Bench { ram, device, port, adapter, configuration, buffers: Mutex::default() })
    }
}

/// An adapter with everything around it.
pub struct Bench<D: DeviceType, M: Model> {
    /// The memory
    pub ram: Ram,
    /// The device
    pub device: FakeDevice<M>,
    /// The port driver
    pub port: PortOf<M>,
    /// The driver
    pub adapter: Adapter<PortOf<M>, D>,
    /// What the driver told the port driver of itself
    pub configuration: Configuration,
    buffers: Mutex<Vec<Segment>>,
}

impl DiskBench {
    /// viostor, running on this disk, with a message per interrupt source.
    pub fn with_disk(disk: Disk) -> Self {
        Self::running(disk, Options::default())
    }

    /// What lies on the disk from a sector on.
    pub fn sectors(&self, first: u64, count: u64) -> Vec<u8> {
        self.device.model(|disk| (first..first + count).flat_map(|sector| disk.sector(sector)).collect())
    }
}

impl HbaBench {
    /// vioscsi, running on this host bus adapter, with a message per interrupt source.
    pub fn with_hba(hba: Hba) -> Self {
        Self::running(hba, Options::default())
    }

    /// Submits a read of block 0 that a unit takes and does not answer while the device holds what it has.
    pub fn hold_read(&self, target: u8, lun: u8, tag: u64) -> SrbId {
        let buffer = self.buffer(512);
        let request = self.submit(reading(&cdb::read10(0, 1), &[buffer]).to(0, target, lun).tagged(tag));
        self.device.run();
        request
    }

    /// Lets everything end, and reads from these units.
    pub fn assert_units_work(&self, units: &[(u8, u8)]) {
        self.device.release_all();
        self.settle();
        self.port.take_completed();
        let buffer = self.buffer(512);
        for (target, lun) in units {
            let read = self.execute(reading(&cdb::read10(0, 1), &[buffer]).to(0, *target, *lun));
            assert_eq!(read.completion.status, SrbStatus::SUCCESS);
        }
        self.device.assert_no_violations();
    }
}

impl<D: DeviceType, M: Model> Bench<D, M> {
    /// An adapter that was found and started, and has done what follows a start.
    pub fn running(model: M, options: Options) -> Self {
        Self::running_on(1, model, options)
    }

    /// The system crashes: what is left is a device in the middle of its work and the dump port driver. The driver and its
    /// requests stay where they are.
    pub fn crash(self) -> Machine<M> {
        let Self { ram, device, adapter, .. } = self;
        std::mem::forget(adapter);
        Machine::in_dump_mode(ram, device)
    }

    /// Starts the device with the interrupts it has; in dump mode there are none.
    ///
    /// # Errors
    /// What the driver writes to the log.
    pub fn start(&self) -> Result<(), LogEvent> {
        let vectors = match self.device.config_space().msix_vectors() {
            _ if self.port.is_for_dump() => Interrupts::None,
            0 => Interrupts::Line,
            vectors => Interrupts::Messages(vectors),
        };
        self.adapter.initialize(vectors)
    }

    /// As [`running`](Self::running), on a machine with so many processors.
    pub fn running_on(processors: u16, model: M, options: Options) -> Self {
        let machine = Machine::new(model, options).with_processors(processors);
        let bench = machine.find().expect("the driver takes the device");
        bench.start().expect("the device starts");
        bench.settle();
        bench
    }

    /// Request queues that the device has enabled.
    pub fn queues(&self) -> u16 {
        (D::REQUEST_QUEUE..).take_while(|queue| self.device.enabled_queue(*queue).is_some()).count() as u16
    }

    /// How the requests ended that have since the last time, each with its tag.
    pub fn ends(&self) -> Vec<(u64, SrbStatus)> {
        self.port.take_completed().iter().map(|one| (one.tag, one.completion.status)).collect()
    }

    /// Has the timer run so often that the driver is waiting for, and the device do what comes of it.
    pub fn wait(&self, times: usize) {
        for _ in 0..times {
            self.port.run_timer(&self.adapter).expect("the driver looks again");
            self.device.run();
        }
    }

    /// Hands a request to the driver.
    pub fn submit(&self, request: SrbBuilder) -> SrbId {
        self.port.submit(&self.adapter, request)
    }

    /// Reads of block 0, tagged from 0 on, that the device takes and does not answer.
    pub fn hold_reads(&self, count: u64) {
        self.device.hold();
        for tag in 0..count {
            let buffer = self.buffer(512);
            self.submit(reading(&cdb::read10(0, 1), &[buffer]).tagged(tag));
        }
        self.device.run();
    }

    /// Delivers the interrupts that the device has sent.
    pub fn deliver_interrupts(&self) -> usize {
        let interrupts = self.device.take_interrupts();
        for interrupt in &interrupts {
            let message = match interrupt {
                Interrupt::Message(vector) => Some(u32::from(*vector)),
                Interrupt::Line => None,
            };
            self.port.interrupt(&self.adapter, message);
        }
        interrupts.len()
    }

    /// Lets device and driver take turns until both are idle. In dump mode the driver is polled.
    pub fn settle(&self) {
        loop {
            self.port.run_dpcs(&self.adapter);
            let served = self.device.run();
            if self.port.is_for_dump() {
                self.adapter.poll();
            }
            if served + self.deliver_interrupts() == 0 {
                break;
            }
        }
    }

    /// Hands a request to the driver and lets everything settle; the request must be completed then, and alone.
    #[track_caller]
    pub fn execute(&self, request: SrbBuilder) -> Completed {
        self.submit(request);
        self.settle();
        let mut completed = self.port.take_completed();
        assert_eq!(completed.len(), 1, "one request, one completion: {completed:?}");
        completed.remove(0)
    }

    /// A buffer in the machine's memory.
    pub fn buffer(&self, bytes: usize) -> Segment {
        let reused = {
            let mut buffers = self.buffers.lock().expect("no test panics here");
            let place = buffers.iter().position(|buffer| buffer.length as usize == bytes);
            place.map(|place| buffers.swap_remove(place))
        };
        reused.unwrap_or_else(|| Segment {
            address: self.ram.alloc(bytes, 16).device_address(),
            length: bytes as u32,
        })
    }

    /// Gives a buffer back, for [`buffer`](Self::buffer) to hand out again.
    pub fn give_back(&self, buffer: Segment) {
        self.buffers.lock().expect("no test panics here").push(buffer);
    }

    /// A buffer with this in it.
    pub fn filled(&self, content: &[u8]) -> Segment {
        let buffer = self.buffer(content.len());
        self.fill(buffer, content);
        buffer
    }

    /// Writes into a buffer.
    pub fn fill(&self, buffer: Segment, content: &[u8]) {
        self.ram.write(buffer.address, content).expect("the buffer lies in the memory");
    }

    /// What is in a buffer.
    pub fn content(&self, buffer: Segment) -> Vec<u8> {
        let mut content = vec![0; buffer.length as usize];
        self.ram.read(buffer.address, &mut content).expect("the buffer lies in the memory");
        content
    }

    /// Tells the adapter that its device is gone, and lets it do what that leads to.
    pub fn surprise_removal(&self) {
        self.adapter.surprise_removal();
        self.port.run_dpcs(&self.adapter);
    }

    /// Ends a test whose device is not to be trusted any more: takes it out of the machine, so that every request
    /// comes back.
    pub fn unplug(&self) -> Vec<Completed> {
        self.device.remove();
        self.surprise_removal();
        self.port.take_completed()
    }
}

/// A request with this CDB that reads into a buffer.
pub fn reading(cdb: &[u8], segments: &[Segment]) -> SrbBuilder {
    SrbBuilder::execute(cdb).with_segments(DataDirection::In, segments)
}

/// A request with this CDB that writes from a buffer.
pub fn writing(cdb: &[u8], segments: &[Segment]) -> SrbBuilder {
    SrbBuilder::execute(cdb).with_segments(DataDirection::Out, segments)
}

/// Bytes that look different at every place.
pub fn pattern(seed: u64, bytes: usize) -> Vec<u8> {
    let mut random = random::Random::new(seed);
    let mut pattern = Vec::with_capacity(bytes + 8);
    while pattern.len() < bytes {
        pattern.extend(random.next().to_le_bytes());
    }
    pattern.truncate(bytes);
    pattern
}
