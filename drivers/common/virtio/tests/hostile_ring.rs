//! What the queue makes of a used ring that lies: a fault, never a panic, and no request lost or handed out twice.

mod bench;

use core::sync::atomic::Ordering;

use bench::{Bench, Blk, DIRECT, PACKED, PACKED_DIRECT, Queue, Scsi, WITH_EVENT_IDX, layout, queue};
use fake_device::{Lie, Ram};
use virtio::memory::{Region, Segment, SharedMemory};
use virtio::queue::{
    AnyRing, Data, DeviceFault, Direction, EventLayout, EventQueue, Format, NoData, QueueAreas, Reason,
    RingFormat,
};
use virtio::spec::Features;
use virtio::spec::ring::{packed, used};
use zerocopy::FromZeros;

const SIZE: u16 = 8;

const IN_ORDER: Features = WITH_EVENT_IDX.union(Features::IN_ORDER);

/// A ring of each kind.
const BOTH: [Features; 2] = [WITH_EVENT_IDX, PACKED];

/// What the device writes of a ring, word by word.
struct UsedRing {
    ram: Ram,
    /// Where: the used ring, or the descriptors of a packed one.
    area: usize,
    packed: bool,
}

/// A queue whose used ring the test writes.
struct Liar<F: Format> {
    queue: Queue<F>,
    ring: UsedRing,
}

impl UsedRing {
    fn new(ram: Ram, areas: QueueAreas, features: Features) -> Self {
        let packed = features.contains(Features::RING_PACKED);
        let area = if packed { areas.descriptor_area } else { areas.device_area };
        let area = ram.offset(area, 6 + 8 * usize::from(SIZE)).expect("it lies in memory");
        Self { ram, area, packed }
    }

    fn entry(&self, place: u16, id: u32, length: u32) {
        let words = self.ram.words();
        if self.packed {
            // Written over the descriptor at that place in the first round.
            self.descriptor(place, id, length, packed::AVAILABLE | packed::USED | 2);
        } else {
            let at = self.area + used::RING + 8 * usize::from(place % SIZE);
            words.store32(at, id, Ordering::Relaxed);
            words.store32(at + 4, length, Ordering::Relaxed);
        }
    }

    fn descriptor(&self, place: u16, id: u32, length: u32, flags: u16) {
        let at = self.area + 16 * usize::from(place % SIZE) + packed::descriptor::LENGTH_ID_FLAGS;
        let word = u64::from(length) | u64::from(id & 0xffff) << 32 | u64::from(flags) << 48;
        self.ram.words().store64(at, word, Ordering::Release);
    }

    fn index(&self, index: u16) {
        if !self.packed {
            self.ram.words().store16(self.area + used::INDEX, index, Ordering::Release);
        }
    }
}

impl<F: Format<Header: FromZeros>> Liar<F> {
    fn new(features: Features) -> Self {
        let ram = Ram::new(1 << 16);
        let layout = layout(SIZE, features);
        let memory = ram.alloc(layout.shared_bytes(), layout.alignment());
        let queue = queue::<F, AnyRing<Region>>(memory, layout, features);
        let ring = UsedRing::new(ram, queue.areas(), features);
        Self { queue, ring }
    }

    fn submit(&mut self, token: u32, direction: Direction, bytes: u32) -> Result<(), Reason> {
        if bytes > 0 {
            self.submit_data(token, direction, Segment { address: 0x1000, length: bytes })
        } else {
            self.submit_data(token, direction, NoData)
        }
    }

    fn submit_data(&mut self, token: u32, direction: Direction, data: impl Data<u32>) -> Result<(), Reason> {
        let submitted = self.queue.submit(token, &F::Header::new_zeroed(), direction, data);
        let _ = self.queue.publish();
        submitted.map(drop).map_err(|rejected| rejected.reason)
    }

    /// What the next used buffer is taken for. A drain leaves it where it is.
    fn fault(&mut self) -> DeviceFault {
        let more = self.queue.drain(2, |token, _| panic!("the lie passed for request {token}"));
        assert!(more, "somebody has to see the lie");
        match self.queue.pop_used() {
            Err(fault) => fault,
            Ok(used) => panic!("the lie passed for {:?}", used.map(|used| used.length())),
        }
    }

    /// After a fault: nothing more goes in or comes out, and every request is still there, once.
    fn assert_broken_with(mut self, mut expected: Vec<u32>) {
        assert!(matches!(self.queue.pop_used(), Ok(None)));
        assert_eq!(self.submit(99, Direction::None, 0), Err(Reason::Broken));
        assert!(!self.queue.enable_interrupts(), "there is nothing to drain in a broken queue");
        let mut tokens = Vec::new();
        while let Some(token) = self.queue.take_outstanding() {
            tokens.push(token);
        }
        tokens.sort_unstable();
        expected.sort_unstable();
        assert_eq!(tokens, expected);
        self.queue.reset();
        self.submit(7, Direction::None, 0).expect("the queue is whole again");
    }
}

#[test]
fn a_used_id_past_the_ring_is_a_fault() {
    let split = [u32::from(SIZE), 0xffff, 0x1_0000, u32::MAX].map(|id| (id, WITH_EVENT_IDX));
    let packed = [u32::from(SIZE), 0xffff].map(|id| (id, PACKED));
    for (id, features) in split.into_iter().chain(packed) {
        let mut liar = Liar::<Blk>::new(features);
        liar.submit(1, Direction::None, 0).expect("the ring is empty");
        liar.ring.entry(0, id, 0);
        liar.ring.index(1);

        assert_eq!(liar.fault(), DeviceFault::UsedIdOutOfRange { id, size: SIZE });
        liar.assert_broken_with(vec![1]);
    }
}

#[test]
fn a_used_id_that_was_never_given_is_a_fault() {
    for features in BOTH {
        let mut liar = Liar::<Blk>::new(features);
        liar.submit(1, Direction::None, 0).expect("the ring is empty");
        liar.ring.entry(0, 5, 0);
        liar.ring.index(1);

        assert_eq!(liar.fault(), DeviceFault::UsedIdNotInFlight { id: 5 });
        liar.assert_broken_with(vec![1]);
    }
}

#[test]
fn a_used_id_twice_is_a_fault_and_hands_out_the_request_once() {
    for features in BOTH {
        let mut liar = Liar::<Blk>::new(features);
        liar.submit(1, Direction::None, 0).expect("the ring is empty");
        liar.submit(2, Direction::None, 0).expect("the ring is empty");
        liar.ring.entry(0, 0, 1);
        liar.ring.entry(1, 0, 1);
        liar.ring.index(2);

        let first = liar.queue.pop_used().expect("the first is true").map(|used| used.take());
        assert_eq!(first, Some(1));
        assert_eq!(liar.fault(), DeviceFault::UsedIdNotInFlight { id: 0 });
        liar.assert_broken_with(vec![2]);
    }
}

#[test]
fn no_used_length_is_a_fault_and_none_is_more_than_there_was_room_for() {
    for features in BOTH {
        let table =
            [(Direction::FromDevice, 512, 513), (Direction::ToDevice, 512, 1), (Direction::None, 0, 1)];
        for (direction, bytes, writable) in table {
            // kvmtool says all-ones of a request that failed.
            for length in [0, 1, writable - 1, writable, writable + 1, 16, 1 << 31, u32::MAX] {
                let mut queue = Liar::<Blk>::new(features);
                queue.submit(1, direction, bytes).expect("the ring is empty");
                queue.ring.entry(0, 0, length);
                queue.ring.index(1);

                let used = queue.queue.pop_used().expect("a length is no fault").expect("it is used");

                assert_eq!((used.length(), used.take()), (length.min(writable), 1));
                queue.submit(2, Direction::None, 0).expect("the queue is whole");
            }
        }
    }
}

#[test]
fn data_out_that_is_counted_is_cut_off() {
    for features in BOTH {
        let mut liar = Liar::<Scsi>::new(features);
        liar.submit(1, Direction::ToDevice, 512).expect("the ring is empty");
        liar.ring.entry(0, 0, 108 + 512);
        liar.ring.index(1);

        let used = liar.queue.pop_used().expect("QEMU says so").expect("it is there");

        assert_eq!((used.length(), used.take()), (108, 1));
    }
}

#[test]
fn more_used_than_in_flight_is_a_fault() {
    // One more, a whole ring more, and backwards.
    for index in [2, SIZE + 1, u16::MAX] {
        let mut liar = Liar::<Blk>::new(WITH_EVENT_IDX);
        liar.submit(1, Direction::None, 0).expect("the ring is empty");
        liar.ring.entry(0, 0, 0);
        liar.ring.index(index);

        assert_eq!(liar.fault(), DeviceFault::UsedIndexJumped { index, expected: 0, in_flight: 1 });
        liar.assert_broken_with(vec![1]);
    }
}

#[test]
fn a_batch_that_reaches_past_the_used_index_is_a_fault() {
    let mut liar = Liar::<Blk>::new(IN_ORDER);
    for token in [1, 2, 3] {
        liar.submit(token, Direction::None, 0).expect("the ring is empty");
    }
    // Up to the third, and only two of them.
    liar.ring.entry(0, 2, 1);
    liar.ring.index(2);

    for token in [1, 2] {
        let used = liar.queue.pop_used().expect("two are covered").expect("they are there");
        assert_eq!((used.length(), used.take()), (1, token));
    }
    assert_eq!(liar.fault(), DeviceFault::BatchTooLong { id: 2 });
    liar.assert_broken_with(vec![3]);
}

#[test]
fn what_a_packed_ring_says_is_written_counts_only_with_the_write_flag() {
    let mut liar = Liar::<Blk>::new(PACKED);
    liar.submit(1, Direction::FromDevice, 512).expect("the ring is empty");
    liar.ring.descriptor(0, 0, u32::MAX, packed::AVAILABLE | packed::USED);

    let used = liar.queue.pop_used().expect("the length means nothing").expect("it is used");

    assert_eq!((used.length(), used.take()), (0, 1));
}

#[test]
fn a_used_index_in_an_idle_ring_is_a_fault() {
    let mut liar = Liar::<Blk>::new(WITH_EVENT_IDX);
    liar.ring.index(1);

    assert_eq!(liar.fault(), DeviceFault::UsedIndexJumped { index: 1, expected: 0, in_flight: 0 });
    liar.assert_broken_with(vec![]);
}

/// Numbers below a limit: xorshift64 (Marsaglia); any other source of bits would do.
fn random() -> impl FnMut(u32) -> u32 {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u32 % below
    }
}

#[test]
fn random_words_never_panic_and_no_request_is_lost_or_handed_out_twice() {
    let mut random = random();
    let rings = [WITH_EVENT_IDX, DIRECT, PACKED, PACKED_DIRECT, PACKED | Features::IN_ORDER, IN_ORDER];
    let mut faults = 0;
    // Miri takes a second for each.
    let runs = if cfg!(miri) { 12 } else { 6000 };
    for run in 0..runs {
        let features = rings[run % rings.len()];
        let mut liar = Liar::<Blk>::new(features);
        let mut with_device = Vec::new();
        let (mut token, mut index, mut faulted) = (0, 0_u16, false);
        for _ in 0..40 {
            if random(2) == 0 && liar.submit(token, Direction::FromDevice, random(9)).is_ok() {
                with_device.push(token);
                token += 1;
            }
            // Mostly plausible values, so that some pass.
            let id = if random(20) == 0 { random(u32::MAX) } else { random(u32::from(SIZE)) };
            let length = if random(20) == 0 { random(u32::MAX) } else { random(3) };
            liar.ring.entry(index, id, length);
            if liar.ring.packed && random(4) == 0 {
                liar.ring.descriptor(random(8) as u16, id, length, random(0x1_0000) as u16);
            }
            index =
                if random(30) == 0 { random(0x1_0000) as u16 } else { index.wrapping_add(random(2) as u16) };
            liar.ring.index(index);
            match liar.queue.pop_used() {
                Ok(None) => {}
                Ok(Some(used)) => {
                    let token = used.take();
                    let place = with_device.iter().position(|other| *other == token);
                    with_device.remove(place.expect("it was with the device"));
                }
                Err(_) => {
                    assert!(!faulted, "a fault is told once");
                    faulted = true;
                    faults += 1;
                }
            }
            assert_eq!(liar.queue.in_flight(), with_device.len());
        }
        let mut left = Vec::new();
        while let Some(token) = liar.queue.take_outstanding() {
            left.push(token);
        }
        left.sort_unstable();
        assert_eq!(left, with_device);
    }
    assert!(faults > runs / 4, "the values are wild enough: {faults} faults");
}

#[test]
fn a_device_that_lies_about_one_buffer_is_caught_and_serves_again_after_a_reset() {
    let lies = [
        Lie::UsedIdOutOfRange,
        Lie::UsedIdNotInFlight,
        Lie::UsedTwice,
        Lie::UsedIndexJump(20),
        Lie::UsedIndexJump(0x8000),
    ];
    for (lie, features) in lies.into_iter().flat_map(|lie| BOTH.map(|features| (lie, features))) {
        let mut bench = Bench::new(8, features);
        for token in 0..3 {
            bench.flush(token).expect("the ring is empty");
        }
        let _ = bench.publish();
        bench.device.lie(lie);
        bench.device.run();
        let mut seen = Vec::new();
        loop {
            match bench.queue.pop_used() {
                Ok(Some(used)) => seen.push(used.take()),
                Ok(None) => panic!("{lie:?} passed"),
                Err(_) => break,
            }
        }

        bench.transport.reset(&mut || ()).map(drop).expect("the device can be reset");
        while let Some(token) = bench.queue.take_outstanding() {
            seen.push(token);
        }
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2], "{lie:?}");
        bench.device.be_honest();
        bench.queue.reset();
        bench.restart();
        bench.flush(7).expect("the ring is empty");
        let _ = bench.publish();
        bench.device.run();
        assert_eq!(bench.tokens(), [7], "after {lie:?}");
    }
}

/// Buffers for events in a ring of twice as many entries; the device has them all.
fn event_queue(features: Features) -> (EventQueue<AnyRing<Region>>, UsedRing) {
    let packed = features.contains(Features::RING_PACKED);
    let ring = if packed { RingFormat::Packed } else { RingFormat::Split };
    let layout = EventLayout::new(ring, SIZE, SIZE / 2, 16).expect("the numbers are possible");
    let ram = Ram::new(1 << 16);
    let memory = ram.alloc(layout.shared_bytes(), layout.alignment());
    let mut queue = EventQueue::new(memory, layout, features).expect("there is enough memory");
    let _ = queue.publish();
    let ring = UsedRing::new(ram, queue.areas(), features);
    (queue, ring)
}

#[test]
fn a_used_id_that_no_buffer_for_events_has_is_a_fault() {
    let split = [4, 7, 8, 64, 0xffff, 0x1_0000, u32::MAX].map(|id| (id, WITH_EVENT_IDX));
    let packed = [4, 7, 8, 64, 0xffff].map(|id| (id, PACKED));
    for (id, features) in split.into_iter().chain(packed) {
        let (mut queue, ring) = event_queue(features);
        ring.entry(0, id, 16);
        ring.index(1);

        assert_eq!(queue.pop_event::<16>(), Err(DeviceFault::UsedIdOutOfRange { id, size: SIZE / 2 }));
        assert_eq!(queue.pop_event::<16>(), Ok(None));
    }
}

#[test]
fn more_events_than_buffers_are_a_fault() {
    // One more, a whole ring more, and backwards.
    for index in [SIZE / 2 + 1, SIZE / 2 + SIZE, u16::MAX] {
        let (mut queue, ring) = event_queue(WITH_EVENT_IDX);
        ring.index(index);

        let fault = DeviceFault::UsedIndexJumped { index, expected: 0, in_flight: SIZE / 2 };
        assert_eq!(queue.pop_event::<16>(), Err(fault));
    }
}

#[test]
fn random_words_never_panic_and_no_buffer_for_events_is_taken_twice() {
    let mut random = random();
    let mut faults = 0;
    // Miri takes a second for each.
    let runs = if cfg!(miri) { 12 } else { 2000 };
    for run in 0..runs {
        let (mut queue, ring) = event_queue([WITH_EVENT_IDX, PACKED][run % 2]);
        let (mut index, mut faulted) = (0_u16, false);
        for _ in 0..40 {
            // Mostly plausible values, so that some pass.
            let id = if random(20) == 0 { random(u32::MAX) } else { random(u32::from(SIZE / 2)) };
            ring.entry(index, id, random(20));
            if ring.packed && random(4) == 0 {
                ring.descriptor(random(8) as u16, id, 16, random(0x1_0000) as u16);
            }
            index =
                if random(30) == 0 { random(0x1_0000) as u16 } else { index.wrapping_add(random(2) as u16) };
            ring.index(index);
            let before = queue.posted();
            match queue.pop_event::<16>() {
                Ok(None) => assert_eq!(queue.posted(), before),
                Ok(Some(_)) => assert_eq!(queue.posted(), before - 1),
                Err(_) => {
                    assert!(!faulted, "a fault is told once");
                    faulted = true;
                    faults += 1;
                }
            }
            if random(3) == 0 {
                let _ = queue.publish();
                assert!(faulted || queue.posted() == SIZE / 2);
            }
        }
    }
    assert!(faults > runs / 4, "the values are wild enough: {faults} faults");
    assert!(faults < runs, "some pass: {faults} faults");
}
