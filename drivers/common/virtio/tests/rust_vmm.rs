//! A second opinion: rust-vmm's `virtio-queue`, which virtual machine monitors use, is the device and reads our ring.
#![cfg(all(target_os = "linux", not(miri)))]
#![expect(
    unsafe_code,
    reason = "SharedMemory over rust-vmm's guest memory; the accesses themselves are safe"
)]

mod bench;

use core::sync::atomic::{Ordering, fence};
use std::sync::Arc;

use bench::{Blk, DIRECT, Queue, Scsi, WITH_EVENT_IDX, WITHOUT_EVENT_IDX, layout, queue};
use virtio::memory::{Segment, SharedMemory, Words};
use virtio::queue::{Direction, EventLayout, EventQueue, Format, Notify, QueueAreas, RingFormat, SplitRing};
use virtio::spec::Features;
use virtio_queue::{Queue as DeviceQueue, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};
use zerocopy::{FromBytes, IntoBytes};

/// Above 4 GiB, so that a lost upper half shows.
const BASE: u64 = 0x2_0000_0000;
const MEMORY_BYTES: usize = 1 << 20;
/// Behind the queue's memory.
const DATA: u64 = BASE + (1 << 19);

/// A part of the guest's memory.
#[derive(Clone, Debug)]
struct Guest {
    memory: Arc<GuestMemoryMmap>,
    base: u64,
    bytes: usize,
}

impl Guest {
    fn new() -> Self {
        let ranges = [(GuestAddress(BASE), MEMORY_BYTES)];
        let memory = Arc::new(GuestMemoryMmap::from_ranges(&ranges).expect("a megabyte can be mapped"));
        Self { memory, base: BASE, bytes: MEMORY_BYTES }
    }

    fn part(&self, offset: usize, bytes: usize) -> Self {
        Self { memory: Arc::clone(&self.memory), base: self.base + offset as u64, bytes }
    }
}

macro_rules! access {
    ($load:ident, $store:ident, $type:ty) => {
        unsafe fn $load(self, offset: usize, order: Ordering) -> $type {
            let address = GuestAddress(self.base + offset as u64);
            let value: $type = self.memory.load(address, order).expect("inside the memory");
            <$type>::from_le(value)
        }

        unsafe fn $store(self, offset: usize, value: $type, order: Ordering) {
            let address = GuestAddress(self.base + offset as u64);
            self.memory.store(value.to_le(), address, order).expect("inside the memory");
        }
    };
}

// SAFETY: only the guest's memory is accessed, and that with checks.
unsafe impl Words for &Guest {
    access!(load8, store8, u8);
    access!(load16, store16, u16);
    access!(load32, store32, u32);
    access!(load64, store64, u64);
}

// SAFETY: the device, rust-vmm, finds the byte at offset 0 at the base and all others behind it, in one region; nobody
// makes references to the memory.
unsafe impl SharedMemory for Guest {
    type Words<'a> = &'a Self;

    fn words(&self) -> &Self {
        self
    }

    fn len(&self) -> usize {
        self.bytes
    }

    fn limit(&self) -> usize {
        self.bytes.next_multiple_of(8)
    }

    fn device_address(&self) -> u64 {
        self.base
    }

    fn split(&mut self, bytes: usize, align: usize) -> Option<Self> {
        let skip = (self.base.next_multiple_of(align.max(16) as u64) - self.base) as usize;
        let end = (skip + bytes).next_multiple_of(16);
        let rest = self.bytes.checked_sub(end)?;
        let front = self.part(skip, bytes);
        *self = self.part(end, rest);
        Some(front)
    }

    fn fence(&self, order: Ordering) {
        fence(order);
    }
}

struct Bench<F: Format> {
    guest: Arc<GuestMemoryMmap>,
    driver: Queue<F, SplitRing<Guest>>,
    device: DeviceQueue,
}

/// Chains in tables and in the ring itself, with and without the event index.
const RINGS: [Features; 3] = [WITH_EVENT_IDX, WITHOUT_EVENT_IDX, DIRECT];

/// A buffer as the device sees it: address, length, whether it may write there.
type Buffer = (u64, u32, bool);

impl<F: Format<Header: FromBytes>> Bench<F> {
    fn new(size: u16, features: Features) -> Self {
        let guest = Guest::new();
        let layout = layout::<F>(size, features);
        assert!(layout.shared_bytes() <= (DATA - BASE) as usize, "the data lies behind the queue");
        let driver = queue(guest.clone(), layout, features);
        let device = device_queue(&guest, driver.areas(), size, features);
        Self { guest: guest.memory, driver, device }
    }

    fn submit(&mut self, token: u32, direction: Direction, segments: &[(u64, u32)]) {
        let segments: Vec<_> =
            segments.iter().map(|&(address, length)| Segment { address, length }).collect();
        self.driver.submit(token, &header::<F>(), direction, segments.as_slice()).expect("there is room");
    }

    /// The next chain: its head, and its buffers.
    fn take_chain(&mut self) -> Option<(u16, Vec<Buffer>)> {
        let chain = self.device.pop_descriptor_chain(&*self.guest)?;
        let head = chain.head_index();
        Some((head, chain.map(|buffer| (buffer.addr().0, buffer.len(), buffer.is_write_only())).collect()))
    }

    /// All chains there are, in the way a device does it that goes to sleep afterwards.
    fn take_chains(&mut self) -> Vec<u16> {
        let mut heads = Vec::new();
        loop {
            self.device.disable_notification(&*self.guest).expect("the ring lies in memory");
            while let Some((head, _)) = self.take_chain() {
                heads.push(head);
            }
            if !self.device.enable_notification(&*self.guest).expect("the ring lies in memory") {
                return heads;
            }
        }
    }

    fn read(&self, address: u64, length: u32) -> Vec<u8> {
        let mut bytes = vec![0; length as usize];
        self.guest.read_slice(&mut bytes, GuestAddress(address)).expect("inside the memory");
        bytes
    }
}

/// A queue of the device's, ready.
fn device_queue(guest: &Guest, areas: QueueAreas, size: u16, features: Features) -> DeviceQueue {
    let QueueAreas { descriptor_area, driver_area, device_area } = areas;
    let halves = |address: u64| (Some(address as u32), Some((address >> 32) as u32));
    let mut device = DeviceQueue::new(size).expect("the size is a power of two");
    let (low, high) = halves(descriptor_area);
    device.set_desc_table_address(low, high);
    let (low, high) = halves(driver_area);
    device.set_avail_ring_address(low, high);
    let (low, high) = halves(device_area);
    device.set_used_ring_address(low, high);
    device.set_size(size);
    device.set_event_idx(features.contains(Features::RING_EVENT_IDX));
    device.set_ready(true);
    assert!(device.is_valid(&*guest.memory), "rust-vmm accepts where the areas are");
    device
}

/// A header in which no byte is like the one before.
fn header<F: Format<Header: FromBytes>>() -> F::Header {
    let bytes: Vec<u8> = (1..=size_of::<F::Header>() as u8).collect();
    F::Header::read_from_bytes(&bytes).expect("as many bytes as the header has")
}

#[test]
fn chains_have_the_order_that_the_device_types_prescribe() {
    for features in RINGS {
        chains_have_the_order_of_their_type::<Blk>(features);
        chains_have_the_order_of_their_type::<Scsi>(features);
    }
}

fn chains_have_the_order_of_their_type<F: Format<Header: FromBytes>>(features: Features) {
    let data = [(DATA, 4096), (DATA + 0x2000, 512), (DATA + 0x4000, 1024)];
    let readable = data.map(|(address, length)| (address, length, false));
    let writable = data.map(|(address, length)| (address, length, true));
    for count in 0..=3 {
        for direction in [Direction::None, Direction::ToDevice, Direction::FromDevice] {
            if (direction == Direction::None) != (count == 0) {
                continue;
            }
            let mut bench = Bench::<F>::new(16, features);
            bench.submit(5, direction, &data[..count]);
            let _ = bench.driver.publish();

            let (head, buffers) = bench.take_chain().expect("it was published");

            assert_eq!(head, 0);
            let (first, rest) = buffers.split_first().expect("there is a header");
            assert_eq!((first.1, first.2), (size_of::<F::Header>() as u32, false));
            assert_eq!(bench.read(first.0, first.1), header::<F>().as_bytes());
            let response_first = F::RESPONSE_BEFORE_DATA_IN && direction == Direction::FromDevice;
            let mut rest = rest.to_vec();
            let response = rest.remove(if response_first { 0 } else { count });
            assert_eq!((response.1, response.2), (u32::from(F::RESPONSE_BYTES), true));
            let expected = if direction == Direction::FromDevice { &writable } else { &readable };
            assert_eq!(rest, expected[..count], "{direction:?}, {count} segments");
        }
    }
}

#[test]
fn the_longest_chain_is_read_whole() {
    for features in RINGS {
        let mut bench = Bench::<Blk>::new(256, features);
        let data: Vec<_> = (0..254_u64).map(|index| (DATA + index * 512, 512)).collect();
        bench.submit(1, Direction::FromDevice, &data);
        let _ = bench.driver.publish();

        let (_, buffers) = bench.take_chain().expect("it was published");

        assert_eq!(buffers.len(), 256);
        let expected = data.iter().map(|&(address, length)| (address, length, true));
        assert!(buffers[1..255].iter().copied().eq(expected));
        assert_eq!((buffers[255].1, buffers[255].2), (1, true));
    }
}

#[test]
fn a_table_that_served_a_longer_chain_shows_nothing_of_it_in_a_shorter_one() {
    for features in RINGS {
        let mut bench = Bench::<Scsi>::new(16, features);
        let data: Vec<_> = (0..14_u64).map(|index| (DATA + index * 512, 512)).collect();
        for (count, direction) in [
            (14, Direction::FromDevice),
            (3, Direction::ToDevice),
            (2, Direction::FromDevice),
            (1, Direction::ToDevice),
            (0, Direction::None),
            (14, Direction::ToDevice),
        ] {
            bench.submit(1, direction, &data[..count]);
            let _ = bench.driver.publish();
            let (head, buffers) = bench.take_chain().expect("it was published");
            assert_eq!(buffers.len(), count + 2);
            bench.device.add_used(&*bench.guest, head, 108).expect("the ring lies in memory");
            let used = bench.driver.pop_used().expect("the device is honest").expect("it has answered");
            assert_eq!(used.take(), 1);
        }
    }
}

#[test]
fn a_response_written_by_the_device_is_read_by_the_driver() {
    for features in RINGS {
        let mut bench = Bench::<Scsi>::new(16, features);
        bench.submit(1, Direction::None, &[]);
        let _ = bench.driver.publish();
        let (head, buffers) = bench.take_chain().expect("it was published");
        let answer: Vec<u8> = (100..208).collect();
        bench.guest.write_slice(&answer, GuestAddress(buffers[1].0)).expect("inside the memory");
        bench.device.add_used(&*bench.guest, head, 108).expect("the ring lies in memory");

        let used = bench.driver.pop_used().expect("the device is honest").expect("it has answered");

        let (mut start, mut rest) = ([0; 12], [0; 96]);
        used.response().read_into(0, &mut start);
        used.response().read_into(12, &mut rest);
        assert_eq!([&start[..], &rest[..]].concat(), answer);
        assert_eq!((used.length(), used.take()), (108, 1));
    }
}

#[test]
fn both_sides_agree_on_notifications_and_interrupts_while_the_indices_wrap_twice() {
    for features in RINGS {
        let mut bench = Bench::<Blk>::new(64, features);
        let event_idx = features.contains(Features::RING_EVENT_IDX);
        assert!(bench.take_chains().is_empty());
        let (mut token, mut round) = (0_u32, 0_u32);
        while token < 2 * 65536 + 100 {
            assert!(!bench.driver.enable_interrupts(), "everything was drained");
            let count = round * 7 % 16 + 1;
            for _ in 0..count {
                bench.submit(token, Direction::ToDevice, &[(DATA, 512)]);
                token += 1;
            }
            // The device went to sleep: it must be told.
            assert_ne!(bench.driver.publish(), Notify::Suppressed, "round {round}");

            let mut heads = bench.take_chains();
            assert_eq!(heads.len(), count as usize);
            let middle = heads.len() / 2;
            heads.rotate_left(middle);
            for head in heads {
                bench.device.add_used(&*bench.guest, head, 1).expect("the ring lies in memory");
            }
            // The driver asked for an interrupt: it must get one, and only one.
            assert!(bench.device.needs_notification(&*bench.guest).expect("the ring lies in memory"));
            if event_idx {
                assert!(!bench.device.needs_notification(&*bench.guest).expect("the ring lies in memory"));
            }

            let mut done = Vec::new();
            while let Some(used) = bench.driver.pop_used().expect("the device is honest") {
                done.push(used.take());
            }
            done.sort_unstable();
            assert!(done.into_iter().eq(token - count..token), "round {round}");
            round += 1;
        }
    }
}

#[test]
fn a_device_that_is_awake_is_not_told() {
    for features in RINGS {
        let mut bench = Bench::<Blk>::new(16, features);
        bench.submit(0, Direction::None, &[]);
        let _ = bench.driver.publish();
        bench.device.disable_notification(&*bench.guest).expect("the ring lies in memory");
        assert!(bench.take_chain().is_some());

        bench.submit(1, Direction::None, &[]);

        assert_eq!(bench.driver.publish(), Notify::Suppressed);
        assert!(
            bench.device.enable_notification(&*bench.guest).expect("the ring lies in memory"),
            "the device sees it when it wants to sleep"
        );
    }
}

#[test]
fn a_driver_that_wants_no_interrupt_gets_none() {
    // Without the event index rust-vmm interrupts always, which a device may do.
    let mut bench = Bench::<Blk>::new(16, WITH_EVENT_IDX);
    assert!(!bench.driver.enable_interrupts());
    let mut interrupts = Vec::new();
    for token in 0..3 {
        bench.submit(token, Direction::None, &[]);
        let _ = bench.driver.publish();
        for head in bench.take_chains() {
            bench.device.add_used(&*bench.guest, head, 1).expect("the ring lies in memory");
        }
        interrupts.push(bench.device.needs_notification(&*bench.guest).expect("the ring lies in memory"));
        bench.driver.disable_interrupts();
    }

    assert_eq!(interrupts, [true, false, false]);
    assert!(bench.driver.enable_interrupts(), "three used buffers are waiting");
}

#[test]
fn buffers_for_events_are_filled_and_posted_again_while_the_indices_wrap() {
    const BUFFERS: u16 = 4;
    for features in [WITH_EVENT_IDX, WITHOUT_EVENT_IDX] {
        let guest = Guest::new();
        let layout = EventLayout::new(RingFormat::Split, 8, BUFFERS, 16).expect("the numbers are possible");
        let mut driver = EventQueue::<SplitRing<Guest>>::new(guest.clone(), layout, features)
            .expect("there is enough memory");
        let mut device = device_queue(&guest, driver.areas(), 8, features);
        let memory = &*guest.memory;
        let (mut told, mut heard) = (0_u32, 0_u32);
        assert_ne!(driver.publish(), Notify::Suppressed, "the device sleeps");
        while told < 65536 + 100 {
            assert!(!driver.enable_interrupts(), "everything was drained");
            // At most as many as there are buffers: the device takes a buffer when it has an event.
            for _ in 0..told % u32::from(BUFFERS) + 1 {
                let chain = device.pop_descriptor_chain(memory).expect("every buffer was posted again");
                let head = chain.head_index();
                let buffers: Vec<_> = chain.collect();
                assert_eq!(buffers.len(), 1);
                assert_eq!((buffers[0].len(), buffers[0].is_write_only()), (16, true));
                let blank = memory.read_obj::<[u8; 16]>(buffers[0].addr()).expect("inside the memory");
                assert_eq!(blank, [0; 16]);
                memory.write_obj(told, buffers[0].addr()).expect("inside the memory");
                device.add_used(memory, head, 4).expect("the ring lies in memory");
                told += 1;
            }
            assert!(device.needs_notification(memory).expect("the ring lies in memory"));

            while let Some(event) = driver.pop_event().expect("the device is honest") {
                let mut expected = [0; 16];
                expected[..4].copy_from_slice(&heard.to_ne_bytes());
                assert_eq!(event, expected);
                heard += 1;
            }
            let _ = driver.publish();

            assert_eq!((heard, driver.posted()), (told, BUFFERS));
        }
    }
}
