//! [`RequestQueue::start`](virtio::queue::RequestQueue::start) and `drain` against the calls that they do in one go: `submit` and
//! `publish`, and `pop_used`.

mod bench;

use core::sync::atomic::Ordering::Relaxed;

use bench::{ALL, Blk, Queue, Scsi, layout, queue};
use fake_device::Ram;
use virtio::memory::{Block, Region, Segment, SharedMemory, Words};
use virtio::queue::{AnyRing, Direction, Format, Notify, Ticket, WriteHeader};
use virtio::spec::Features;
use virtio::spec::ring::{packed, used};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

const SIZE: u16 = 8;
const RAM_BYTES: usize = 1 << 13;

/// Segments of requests one after the other: in a slot's own table, in a large one, and back again.
const SEGMENTS: [u16; 12] = [1, 2, 1, 3, 1, 6, 2, 0, 4, 1, 0, 2];

const DIRECTIONS: [Direction; 2] = [Direction::FromDevice, Direction::ToDevice];

/// A queue whose device the test plays: it does with each request what it should.
struct Side<F: Format> {
    ram: Ram,
    queue: Queue<F, AnyRing<Region>>,
    packed: bool,
    /// Requests used so far.
    used: u16,
    /// Of a packed ring: where the device goes on, and its wrap counter.
    at: (u16, bool),
}

/// A header of one byte, over and over.
struct Filled {
    byte: u8,
    direction: Direction,
}

impl WriteHeader<u32> for Filled {
    fn write(&self, _token: &u32, _ticket: Ticket, header: Block<impl Words>) -> Option<Direction> {
        let bytes = if header.len() < 32 { 16 } else { 51 };
        header.write(0, &vec![self.byte; bytes]);
        Some(self.direction)
    }
}

impl<F: Format<Header: FromZeros + FromBytes + IntoBytes + Immutable>> Side<F> {
    fn new(features: Features) -> Self {
        let ram = Ram::new(RAM_BYTES);
        let layout = layout(SIZE, features);
        let memory = ram.alloc(layout.shared_bytes(), layout.alignment());
        let queue = queue::<F, AnyRing<Region>>(memory, layout, features);
        Self { ram, queue, packed: features.contains(Features::RING_PACKED), used: 0, at: (0, true) }
    }

    fn submit(&mut self, token: u32, header: &Filled, data: &[Segment]) -> Notify {
        let mut bytes = F::Header::new_zeroed();
        bytes.as_mut_bytes().fill(header.byte);
        self.queue.submit(token, &bytes, header.direction, data).expect("there is a place");
        self.queue.publish()
    }

    fn start(&mut self, token: u32, header: &Filled, data: &[Segment]) -> Notify {
        match self.queue.start(token, data, header) {
            Ok(notify) => notify,
            Err(token) => self.submit(token, header, data),
        }
    }

    /// The device is done with the request of this slot, which has so many descriptors of the ring.
    fn complete(&mut self, id: u16, descriptors: u16) {
        let areas = self.queue.areas();
        let offset = |area| self.ram.offset(area, 1).expect("it lies in memory");
        let words = self.ram.words();
        if self.packed {
            let (at, wrap) = self.at;
            let flags = if wrap { packed::AVAILABLE | packed::USED } else { 0 };
            let place =
                offset(areas.descriptor_area) + 16 * usize::from(at) + packed::descriptor::LENGTH_ID_FLAGS;
            words.store64(place, u64::from(id) << 32 | u64::from(flags) << 48, Relaxed);
            let next = at + descriptors;
            self.at = (next % SIZE, wrap ^ (next >= SIZE));
        } else {
            let ring = offset(areas.device_area);
            let entry = ring + used::RING + 8 * usize::from(self.used % SIZE);
            words.store32(entry, u32::from(id), Relaxed);
            words.store32(entry + 4, 0, Relaxed);
            words.store16(ring + used::INDEX, self.used.wrapping_add(1), Relaxed);
        }
        self.used = self.used.wrapping_add(1);
    }

    fn pop(&mut self) -> Option<u32> {
        let used = self.queue.pop_used().expect("the device is honest")?;
        used.response().spoil(1);
        Some(used.take())
    }

    /// What a drain takes, and what it leaves.
    fn drain(&mut self) -> Option<u32> {
        let mut taken = None;
        let more = self.queue.drain(1, |token, response| {
            response.spoil(1);
            taken = Some(token);
            Ok(())
        });
        if taken.is_none() && more { self.pop() } else { taken }
    }

    fn memory(&self) -> Vec<u8> {
        let mut bytes = vec![0; RAM_BYTES];
        self.ram.words().read_bytes(0, &mut bytes);
        bytes
    }
}

fn segments(count: u16, salt: u32) -> Vec<Segment> {
    (0..count)
        .map(|nth| Segment { address: 0x10_0000 * u64::from(nth + 1) + u64::from(salt), length: 512 + salt })
        .collect()
}

fn compare<F: Format<Header: FromZeros + FromBytes + IntoBytes + Immutable>>(features: Features) {
    let (mut one, mut other) = (Side::<F>::new(features), Side::<F>::new(features));
    let indirect = features.contains(Features::RING_INDIRECT_DESC);
    let mut salt = 0;
    // Under Miri, which takes a thousand times as long: a slot's own table, a large one, and back.
    let counts = if cfg!(miri) { &SEGMENTS[2..5] } else { &SEGMENTS[..] };
    for direction in DIRECTIONS {
        for &count in counts {
            salt += 1;
            let data = segments(count, salt);
            let header = Filled { byte: salt as u8, direction };
            let id = one.queue.next_ticket().expect("no request is under way").slot();

            let told = [one.submit(salt, &header, &data), other.start(salt, &header, &data)];
            assert_eq!(told[0], told[1], "{count} segments, {direction:?}, {features:?}");
            let submitted = one.memory() == other.memory();
            assert!(submitted, "{count} segments, {direction:?}, {features:?}");
            let descriptors = if indirect { 1 } else { count + 2 };
            one.complete(id, descriptors);
            other.complete(id, descriptors);

            assert_eq!((one.pop(), other.drain()), (Some(salt), Some(salt)));
            assert!(!one.queue.enable_interrupts() && !other.queue.enable_interrupts());
            assert!(one.memory() == other.memory(), "{count} segments, {direction:?}, {features:?}");
            assert_eq!(one.queue.next_ticket(), other.queue.next_ticket());
        }
    }
}

#[test]
fn a_request_that_is_started_lies_in_memory_as_one_that_is_submitted() {
    for features in ALL {
        compare::<Blk>(features);
        compare::<Scsi>(features);
    }
}

#[test]
fn a_drain_ends_with_its_limit_or_with_a_request_that_is_given_back() {
    for features in ALL {
        let mut side = Side::<Blk>::new(features);
        let indirect = features.contains(Features::RING_INDIRECT_DESC);
        let header = Filled { byte: 1, direction: Direction::FromDevice };
        let (count, descriptors) = if indirect { (5, 1) } else { (2, 3) };
        let ids: Vec<_> = (0..count)
            .map(|token| {
                let id = side.queue.next_ticket().expect("there is room").slot();
                let _ = side.start(token, &header, &segments(1, 0));
                id
            })
            .collect();
        ids.into_iter().for_each(|id| side.complete(id, descriptors));

        let mut taken = Vec::new();
        let limited = side.queue.drain(1, |token, _| {
            taken.push(token);
            Ok(())
        });
        let given_back = side.queue.drain(8, |token, _| if token == 1 { Err(token) } else { Ok(()) });

        if indirect {
            assert_eq!((taken.as_slice(), limited, given_back), (&[0][..], true, true));
            assert_eq!(side.pop(), Some(1));
            let more = side.queue.drain(8, |token, _| {
                taken.push(token);
                Ok(())
            });
            assert_eq!((taken.as_slice(), more), (&[0, 2, 3, 4][..], false));
        } else {
            // Their descriptors are the ring's own: they are left to `pop_used`.
            assert_eq!((taken.as_slice(), limited, given_back), (&[][..], true, true));
            assert_eq!((side.pop(), side.pop()), (Some(0), Some(1)));
        }
        assert_eq!(side.queue.in_flight(), 0);
    }
}

#[test]
fn a_closed_queue_starts_nothing_and_drains_nothing() {
    for features in ALL {
        let mut side = Side::<Blk>::new(features);
        let header = Filled { byte: 1, direction: Direction::FromDevice };
        side.queue.close();

        let started = side.queue.start(7, segments(1, 0).as_slice(), &header);
        let more = side.queue.drain(8, |_, _| Ok(()));

        assert_eq!((started, more), (Err(7), false));
    }
}
