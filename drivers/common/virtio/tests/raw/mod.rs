//! A device that echoes, and a ring that is written by hand: for tests of the transport, where no request matters.
#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "every test file uses another part of this, so `expect` would fail in some"
)]

use std::cell::Cell;
use std::sync::atomic::Ordering;

use fake_device::{FakeBar, FakeDevice, Model, Options, Ram, Request, Served};
use virtio::memory::{Region, SharedMemory};
use virtio::queue::QueueAreas;
use virtio::spec::Features;
use virtio::spec::ring::{DescriptorFlags, available, used};
use virtio::transport::{Bar, Device, FeaturesOk, TransportError, legacy_areas, legacy_ring_bytes};

/// Answers every request with what it says, and has a configuration of bytes that count.
pub struct Echo {
    pub queues: u16,
}

pub const CONFIG_BYTES: u8 = 32;

impl Model for Echo {
    const DEVICE_TYPE: u16 = 2;

    fn queue_count(&self) -> u16 {
        self.queues
    }

    fn features(&self) -> Features {
        Features::empty()
    }

    fn config(&self) -> Vec<u8> {
        (0..CONFIG_BYTES).collect()
    }

    fn serve(&mut self, _queue: u16, request: &mut Request<'_>) -> Served {
        let said = request.readable();
        request.write(0, &said);
        Served::Done
    }
}

pub const SIZE: u16 = 8;

pub fn power_on(options: Options) -> (Ram, FakeDevice<Echo>) {
    let ram = Ram::new(1 << 18);
    let options = Options { queue_size: SIZE, ..options };
    let device = FakeDevice::new(Echo { queues: 3 }, &ram, options);
    (ram, device)
}

pub fn open(device: &FakeDevice<Echo>) -> Result<Device<FakeBar<Echo>>, TransportError> {
    Device::open(&device.config_space(), |bar| device.bar(bar))
}

pub fn ready<B: Bar>(device: &Device<B>) -> Result<FeaturesOk<'_, B>, TransportError> {
    device.reset(&mut || ())?.negotiate(Features::all())
}

pub fn error<T>(result: Result<T, TransportError>) -> TransportError {
    match result {
        Ok(_) => panic!("the device is not as it should be"),
        Err(error) => error,
    }
}

const TEXT_BYTES: usize = 8;

/// A split ring with one request per pair of descriptors.
pub struct RawRing {
    memory: Region,
    texts: Region,
    pub areas: QueueAreas,
    next: u16,
    seen: u16,
}

impl RawRing {
    pub fn new(ram: &Ram) -> Self {
        let memory = ram.alloc(legacy_ring_bytes(SIZE) as usize, 4096);
        let texts = ram.alloc(usize::from(SIZE) * TEXT_BYTES, 16);
        let areas = legacy_areas(memory.device_address(), SIZE);
        Self { memory, texts, areas, next: 0, seen: 0 }
    }

    /// Empties the ring, for a device that has forgotten it.
    pub fn clear(&mut self) {
        for at in (0..self.memory.len()).step_by(8) {
            self.memory.store64(at, 0, Ordering::Relaxed);
        }
        (self.next, self.seen) = (0, 0);
    }

    fn offset(&self, address: u64) -> usize {
        (address - self.areas.descriptor_area) as usize
    }

    /// Makes a request available.
    pub fn submit(&mut self, text: &[u8; TEXT_BYTES]) {
        let pair = self.next % (SIZE / 2);
        let said = usize::from(2 * pair) * TEXT_BYTES;
        let answer = [0; TEXT_BYTES];
        for (offset, byte) in (said..).zip(text.iter().chain(&answer)) {
            self.texts.store8(offset, *byte, Ordering::Relaxed);
        }
        self.describe(2 * pair, said, DescriptorFlags::NEXT, 2 * pair + 1);
        self.describe(2 * pair + 1, said + TEXT_BYTES, DescriptorFlags::WRITE, 0);
        let ring = self.offset(self.areas.driver_area);
        let entry = ring + available::RING + 2 * usize::from(self.next % SIZE);
        self.memory.store16(entry, 2 * pair, Ordering::Relaxed);
        self.next = self.next.wrapping_add(1);
        self.memory.store16(ring + available::INDEX, self.next, Ordering::Release);
    }

    fn describe(&self, index: u16, text: usize, flags: DescriptorFlags, next: u16) {
        let at = usize::from(index) * 16;
        self.memory.store64(at, self.texts.device_address() + text as u64, Ordering::Relaxed);
        self.memory.store32(at + 8, TEXT_BYTES as u32, Ordering::Relaxed);
        self.memory.store16(at + 12, flags.bits(), Ordering::Relaxed);
        self.memory.store16(at + 14, next, Ordering::Relaxed);
    }

    /// Where the driver goes on, as a notification tells it.
    pub fn position(&self) -> u16 {
        self.next
    }

    /// The answers since the last time.
    pub fn answers(&mut self) -> Vec<[u8; TEXT_BYTES]> {
        let ring = self.offset(self.areas.device_area);
        let end = self.memory.load16(ring + used::INDEX, Ordering::Acquire);
        let mut answers = Vec::new();
        while self.seen != end {
            let entry = ring + used::RING + 8 * usize::from(self.seen % SIZE);
            let id = self.memory.load32(entry, Ordering::Relaxed) as usize;
            let mut answer = [0; TEXT_BYTES];
            self.texts.read_bytes((id + 1) * TEXT_BYTES, &mut answer);
            answers.push(answer);
            self.seen = self.seen.wrapping_add(1);
        }
        answers
    }
}

/// Registers that are there for so many accesses; then the device is gone, and they read all-ones.
pub struct Dying<'a, B> {
    pub bar: B,
    pub left: &'a Cell<u32>,
}

impl<B> Dying<'_, B> {
    fn lives(&self) -> bool {
        let left = self.left.get();
        self.left.set(left.saturating_sub(1));
        left > 0
    }
}

impl<B: Bar> Bar for Dying<'_, B> {
    fn length(&self) -> u64 {
        self.bar.length()
    }

    fn read8(&self, offset: u32) -> u8 {
        if self.lives() { self.bar.read8(offset) } else { u8::MAX }
    }

    fn read16(&self, offset: u32) -> u16 {
        if self.lives() { self.bar.read16(offset) } else { u16::MAX }
    }

    fn read32(&self, offset: u32) -> u32 {
        if self.lives() { self.bar.read32(offset) } else { u32::MAX }
    }

    fn write8(&self, offset: u32, value: u8) {
        if self.lives() {
            self.bar.write8(offset, value);
        }
    }

    fn write16(&self, offset: u32, value: u16) {
        if self.lives() {
            self.bar.write16(offset, value);
        }
    }

    fn write32(&self, offset: u32, value: u32) {
        if self.lives() {
            self.bar.write32(offset, value);
        }
    }
}

/// Registers that read anything, a little more often zero or all-ones than chance would have it.
pub struct Noise {
    pub state: Cell<u64>,
    pub length: u64,
}

impl Noise {
    fn next(&self, offset: u32, width: u32) -> u32 {
        assert!(u64::from(offset + width) <= self.length, "an access of {width} bytes at {offset:#x}");
        // Knuth's MMIX generator; its upper bits are good enough.
        let state =
            self.state.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.state.set(state);
        match state >> 61 {
            0 => 0,
            1 => u32::MAX,
            _ => (state >> 29) as u32,
        }
    }
}

impl Bar for Noise {
    fn length(&self) -> u64 {
        self.length
    }

    fn read8(&self, offset: u32) -> u8 {
        self.next(offset, 1) as u8
    }

    fn read16(&self, offset: u32) -> u16 {
        self.next(offset, 2) as u16
    }

    fn read32(&self, offset: u32) -> u32 {
        self.next(offset, 4)
    }

    fn write8(&self, offset: u32, _value: u8) {
        self.next(offset, 1);
    }

    fn write16(&self, offset: u32, _value: u16) {
        self.next(offset, 2);
    }

    fn write32(&self, offset: u32, _value: u32) {
        self.next(offset, 4);
    }
}

/// Everything a driver does with a device, as far as it gets.
pub fn drive<B: Bar>(device: &Device<B>, areas: &QueueAreas) -> Result<(), TransportError> {
    let ready = ready(device)?;
    let _ = (ready.queue_count(), device.read_config::<8>(0), device.read_config::<1>(31));
    ready.set_config_vector(Some(0))?;
    ready.enable_queue(0, SIZE, areas, Some(1))?;
    let doorbell = ready.notifier(0)?;
    let reset = ready.queue_reset();
    ready.driver_ok();
    device.notify(&doorbell, 0);
    if let Some(reset) = reset {
        device.reset_queue(reset, 0, &mut || ())?;
        device.enable_queue_again(reset, 0, SIZE, areas, Some(1))?;
    }
    // A device that is gone is found by its status at the latest.
    if device.status().is_removed() { Err(TransportError::Removed) } else { Ok(()) }
}
