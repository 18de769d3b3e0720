//! The fake device itself, split and packed, before a driver that writes every register and descriptor by hand: what it
//! says when it lies, and how it uses requests in order.

use fake_device::{FakeBar, FakeDevice, Lie, Model, Options, Order, Ram, Request, Served, Violation};
use virtio::memory::SharedMemory;
use virtio::spec::Features;
use virtio::spec::pci::common;
use virtio::transport::Bar;

const BASE: Features = Features::VERSION_1.union(Features::RING_INDIRECT_DESC);
const PACKED: Features = BASE.union(Features::RING_PACKED);

const WRITE: u16 = 2;
const AVAILABLE: u16 = 0x0080;
const DONE: u16 = 0x8080 | WRITE;

/// Writes every buffer to its end, or so many bytes less.
struct Filler {
    /// Per request, in order; 0 where the list is over.
    missing: Vec<usize>,
    /// How many requests are kept first.
    keep: usize,
}

impl Model for Filler {
    const DEVICE_TYPE: u16 = 2;

    fn queue_count(&self) -> u16 {
        1
    }

    fn features(&self) -> Features {
        Features::empty()
    }

    fn config(&self) -> Vec<u8> {
        vec![0; 8]
    }

    fn serve(&mut self, _queue: u16, request: &mut Request<'_>) -> Served {
        if self.keep > 0 {
            self.keep -= 1;
            return Served::Kept;
        }
        let missing = if self.missing.is_empty() { 0 } else { self.missing.remove(0) };
        request.write(0, &vec![0xab; request.writable_bytes() - missing]);
        Served::Done
    }
}

/// A device with one queue, and a driver made of constants.
struct Bench {
    ram: Ram,
    device: FakeDevice<Filler>,
    bar: FakeBar<Filler>,
    packed: bool,
    /// Descriptor, driver and device area.
    areas: [u64; 3],
    buffer: u64,
    given: u16,
}

impl Bench {
    fn new(size: u16, features: Features, options: Options) -> Self {
        let ram = Ram::new(64 * 1024);
        let options = Options { features, queue_size: size, ..options };
        let device = FakeDevice::new(Filler { missing: Vec::new(), keep: 0 }, &ram, options);
        let bar = device.bar(4).expect("the structures are there");
        // As large as a split ring of 16 needs them.
        let areas = [256, 64, 256].map(|bytes| ram.alloc(bytes, 16).device_address());
        let buffer = ram.alloc(64, 16).device_address();
        let packed = features.contains(Features::RING_PACKED);
        let bench = Self { ram, device, bar, packed, areas, buffer, given: 0 };
        bench.negotiate(features);
        bench
    }

    /// A device that was started with the size it offers.
    fn started(size: u16, features: Features, options: Options) -> Self {
        let bench = Self::new(size, features, options);
        bench.enable();
        bench
    }

    fn negotiate(&self, features: Features) {
        self.bar.write8(common::DEVICE_STATUS, 1);
        self.bar.write8(common::DEVICE_STATUS, 3);
        for half in [0, 1] {
            self.bar.write32(common::DRIVER_FEATURE_SELECT, half);
            self.bar.write32(common::DRIVER_FEATURE, (features.bits() >> (32 * half)) as u32);
        }
        self.bar.write8(common::DEVICE_STATUS, 0xb);
        assert_eq!(self.bar.read8(common::DEVICE_STATUS), 0xb);
        self.bar.write16(common::QUEUE_SELECT, 0);
    }

    fn enable(&self) {
        for (register, address) in (common::QUEUE_DESC..).step_by(8).zip(self.areas) {
            self.bar.write32(register, address as u32);
            self.bar.write32(register + 4, (address >> 32) as u32);
        }
        self.bar.write16(common::QUEUE_ENABLE, 1);
        self.bar.write8(common::DEVICE_STATUS, 0xf);
    }

    fn write(&self, address: u64, bytes: &[u8]) {
        self.ram.write(address, bytes).expect("it lies in the memory");
    }

    fn word(&self, address: u64) -> u16 {
        let mut bytes = [0; 2];
        self.ram.read(address, &mut bytes).expect("it lies in the memory");
        u16::from_le_bytes(bytes)
    }

    /// Gives the device so many more requests of one buffer of 8 bytes each, numbered from 0, in the first round.
    fn give(&mut self, count: u16) {
        for number in self.given..self.given + count {
            let at = self.areas[0] + 16 * u64::from(number);
            self.write(at, &self.buffer.to_le_bytes());
            self.write(at + 8, &8_u32.to_le_bytes());
            if self.packed {
                self.write(at + 12, &number.to_le_bytes());
                self.write(at + 14, &(AVAILABLE | WRITE).to_le_bytes());
            } else {
                self.write(at + 12, &WRITE.to_le_bytes());
                self.write(self.areas[1] + 4 + 2 * u64::from(number), &number.to_le_bytes());
            }
        }
        self.given += count;
        if !self.packed {
            self.write(self.areas[1] + 2, &self.given.to_le_bytes());
        }
        self.notify();
    }

    fn notify(&self) {
        // The queues' notification addresses begin with the first one's.
        self.bar.write16(0x3000, 0);
    }

    /// Id and length of used entries as a driver meets them, which knows how many descriptors each takes.
    fn used(&self, places: &[u64]) -> Vec<(u32, u32)> {
        let entries = places.iter().map(|place| {
            let at = if self.packed {
                let at = self.areas[0] + 16 * place;
                assert_eq!(self.word(at + 14), DONE, "descriptor {place} is used");
                [at + 12, at + 8]
            } else {
                let at = self.areas[2] + 4 + 8 * place;
                [at, at + 4]
            };
            let [id, length] = at.map(|at| u32::from(self.word(at)) | u32::from(self.word(at + 2)) << 16);
            (if self.packed { id & 0xffff } else { id }, length)
        });
        entries.collect()
    }

    fn is_used(&self, place: u64) -> bool {
        self.word(self.areas[0] + 16 * place + 14) & 0x8080 == 0x8080
    }

    fn used_index(&self) -> u16 {
        self.word(self.areas[2] + 2)
    }
}

fn lying(lie: Lie) -> Bench {
    let mut bench = Bench::started(8, PACKED, Options::default());
    bench.give(3);
    bench.device.lie(lie);
    bench.device.run();
    bench
}

#[test]
fn the_ids_and_lengths_of_a_packed_ring_can_be_lies() {
    let table = [
        (Lie::UsedIdOutOfRange, [(8, 8), (1, 8), (2, 8)]),
        (Lie::UsedLengthTooLong(1), [(0, 9), (1, 8), (2, 8)]),
        (Lie::UsedLength(3), [(0, 3), (1, 8), (2, 8)]),
        (Lie::UsedLength(0), [(0, 0), (1, 8), (2, 8)]),
        // After these two, the device has one descriptor too few for the last request.
        (Lie::UsedIdNotInFlight, [(7, 8), (0, 8), (1, 8)]),
        (Lie::UsedTwice, [(0, 8), (0, 8), (1, 8)]),
        (Lie::NoUsedLength, [(0, 0), (1, 0), (2, 0)]),
        (Lie::UsedLengthOneShort, [(0, 7), (1, 7), (2, 7)]),
    ];
    for (lie, expected) in table {
        let bench = lying(lie);

        assert_eq!(bench.used(&[0, 1, 2]), expected, "{lie:?}");
        bench.notify();
        bench.device.run();
        bench.device.assert_no_violations();
    }
}

#[test]
fn a_request_of_which_nothing_was_written_is_used_without_the_write_flag() {
    let bench = lying(Lie::NothingWritten);

    assert_eq!(bench.word(bench.areas[0] + 14), DONE & !WRITE);
    assert_eq!(bench.used(&[1, 2]), [(1, 8), (2, 8)]);
}

#[test]
fn a_length_is_told_though_nothing_was_written() {
    let mut bench = Bench::started(8, PACKED, Options::default());
    bench.device.model(|filler| filler.missing = vec![8]);
    bench.give(1);
    bench.device.lie(Lie::UsedLength(3));
    bench.device.run();

    assert_eq!(bench.used(&[0]), [(0, 3)]);
}

#[test]
fn after_a_lie_what_is_overwritten_is_not_the_drivers_fault() {
    let mut bench = Bench::started(8, PACKED, Options::default());
    bench.device.hold();
    bench.give(4);
    bench.device.run();
    bench.device.lie(Lie::UsedTwice);
    bench.device.release(1);

    bench.give(2);
    bench.device.run();

    assert_eq!(bench.device.in_hand(), 3, "nothing more is taken");
    bench.device.assert_no_violations();
}

#[test]
fn a_jump_marks_further_descriptors_used_first_those_in_flight() {
    for jump in [1, 2, 5, 20, 0x8000, 0xffff] {
        let bench = lying(Lie::UsedIndexJump(jump));

        let used = bench.used(&[0, 1])[..].to_vec();
        assert_eq!(used[0], (0, 8));
        assert!(used[1].0 > 8 && used[1].1 > 8, "{used:x?} is garbage");
        // At least two, since a request that was used honestly may follow.
        let marked = (1..8).filter(|place| bench.is_used(*place)).count();
        assert_eq!(marked, usize::from(jump.clamp(2, 7)), "{jump}");
        bench.notify();
        bench.device.run();
        bench.device.assert_no_violations();
    }
}

#[test]
fn the_last_request_told_twice_does_not_keep_the_device_from_going_on() {
    let mut bench = Bench::started(8, PACKED, Options::default());
    bench.give(1);
    bench.device.lie(Lie::UsedTwice);
    bench.device.run();
    assert_eq!(bench.used(&[0, 1]), [(0, 8), (0, 8)]);
    bench.notify();
    bench.device.run();
    bench.device.assert_no_violations();

    bench.give(1);
    bench.device.run();

    assert_eq!(bench.used(&[0, 1]), [(0, 8), (1, 8)]);
    bench.device.assert_no_violations();
}

#[test]
fn in_order_is_stronger_than_any_other_order() {
    for features in [BASE, PACKED] {
        let mut bench = Bench::started(8, features | Features::IN_ORDER, Options::default());
        bench.device.set_order(Order::Reversed);
        bench.give(3);
        bench.device.run();
        assert_eq!(bench.used(&[0, 1, 2]), [(0, 8), (1, 8), (2, 8)]);
        bench.device.assert_no_violations();

        let mut bench = Bench::started(8, features, Options::default());
        bench.device.set_order(Order::Reversed);
        bench.give(3);
        bench.device.run();
        assert_eq!(bench.used(&[0, 1, 2]), [(2, 8), (1, 8), (0, 8)]);
    }
}

fn batches() -> Options {
    Options { features: BASE, queue_size: 8, batch_used: true, ..Options::default() }
}

#[test]
fn a_batch_in_a_split_ring_is_one_entry_and_the_index_moves_by_all() {
    let mut bench = Bench::started(8, BASE | Features::IN_ORDER, batches());
    bench.give(3);
    bench.device.run();
    assert_eq!(bench.used(&[0, 1, 2]), [(2, 8), (0, 0), (0, 0)]);
    assert_eq!(bench.used_index(), 3);

    bench.give(2);
    bench.device.run();
    assert_eq!(bench.used(&[3, 4]), [(4, 8), (0, 0)], "the next entry is where the skipped ones end");
    assert_eq!(bench.used_index(), 5);
    bench.device.assert_no_violations();
}

#[test]
fn a_batch_in_a_packed_ring_is_one_descriptor_and_the_others_are_skipped() {
    let mut bench = Bench::started(8, PACKED | Features::IN_ORDER, batches());
    bench.give(3);
    bench.device.run();
    assert_eq!(bench.used(&[0]), [(2, 8)]);
    assert!(!bench.is_used(1) && !bench.is_used(2));

    bench.give(2);
    bench.device.run();
    assert_eq!(bench.used(&[3]), [(4, 8)]);
    assert!(!bench.is_used(4));
    bench.device.assert_no_violations();
}

#[test]
fn a_request_that_is_not_written_to_the_end_is_the_last_of_its_batch() {
    let mut bench = Bench::started(8, PACKED | Features::IN_ORDER, batches());
    bench.device.model(|filler| filler.missing = vec![0, 3, 0, 0]);
    bench.give(4);
    bench.device.run();
    assert_eq!(bench.used(&[0, 2]), [(1, 5), (3, 8)]);

    let mut bench = Bench::started(8, BASE | Features::IN_ORDER, batches());
    bench.device.model(|filler| filler.missing = vec![0, 3, 0, 0]);
    bench.give(4);
    bench.device.run();
    assert_eq!(bench.used(&[0, 2]), [(1, 5), (3, 8)]);
    assert_eq!(bench.used_index(), 4);
}

#[test]
fn a_batch_ends_where_a_lie_begins() {
    let mut bench = Bench::started(8, PACKED | Features::IN_ORDER, batches());
    bench.device.hold();
    bench.give(4);
    bench.device.run();
    bench.device.release(1);
    bench.device.lie(Lie::UsedLengthTooLong(1));
    bench.device.release_all();

    assert_eq!(bench.used(&[0, 1, 2]), [(0, 8), (1, 9), (3, 8)]);
}

#[test]
fn without_in_order_every_request_has_its_own_entry() {
    let mut bench = Bench::started(8, PACKED, batches());
    bench.give(3);
    bench.device.run();

    assert_eq!(bench.used(&[0, 1, 2]), [(0, 8), (1, 8), (2, 8)]);
}

#[test]
fn a_split_ring_that_is_not_used_in_ring_order_is_noticed() {
    let mut bench = Bench::started(8, BASE | Features::IN_ORDER, Options::default());
    bench.given = 1;
    bench.write(bench.areas[1] + 4, &1_u16.to_le_bytes());
    bench.give(1);
    bench.device.run();

    assert_eq!(bench.device.violations(), [Violation::NotInRingOrder { head: 1 }]);
}

#[test]
fn in_order_a_request_that_the_device_keeps_holds_up_those_behind_it() {
    let mut bench = Bench::started(8, PACKED | Features::IN_ORDER, batches());
    bench.device.model(|filler| filler.keep = 1);
    bench.give(3);
    bench.device.run();

    assert_eq!(bench.device.in_hand(), 0);
    assert!((0..3).all(|place| !bench.is_used(place)));
}

#[test]
fn a_packed_queue_takes_any_size_and_a_split_one_only_powers_of_two() {
    let packed = Bench::new(12, PACKED, Options::default());
    assert_eq!(packed.bar.read16(common::QUEUE_SIZE), 12);
    packed.bar.write16(common::QUEUE_SIZE, 7);
    assert_eq!(packed.bar.read16(common::QUEUE_SIZE), 7);
    packed.enable();
    assert_eq!(packed.device.enabled_queue(0).map(|(size, _)| size), Some(7));
    packed.device.assert_no_violations();

    let split = Bench::new(12, BASE, Options::default());
    assert_eq!(split.bar.read16(common::QUEUE_SIZE), 8, "what is offered is a power of two");
    split.bar.write16(common::QUEUE_SIZE, 7);
    assert_eq!(split.bar.read16(common::QUEUE_SIZE), 8, "another size is not taken");
    split.enable();
    assert_eq!(split.device.violations(), [Violation::QueueSize { queue: 0, size: 7 }]);
}

#[test]
fn a_packed_queue_of_no_entries_or_too_many_is_noticed() {
    for size in [0, 13, 32769] {
        let bench = Bench::new(12, PACKED, Options::default());
        bench.bar.write16(common::QUEUE_SIZE, size);

        assert_eq!(bench.device.violations(), [Violation::QueueSize { queue: 0, size }]);
    }
    let most = Bench::new(u16::MAX, PACKED, Options::default());
    assert_eq!(most.bar.read16(common::QUEUE_SIZE), 32768);
}

#[test]
fn a_reset_forgets_the_packed_ring() {
    let mut bench = Bench::started(8, PACKED, Options::default());
    bench.give(3);
    bench.device.run();
    bench.bar.write8(common::DEVICE_STATUS, 0);
    assert_eq!(bench.bar.read8(common::DEVICE_STATUS), 0);
    bench.write(bench.areas[0], &[0; 128]);
    bench.given = 0;

    bench.negotiate(PACKED);
    bench.enable();
    bench.give(1);
    bench.device.run();

    assert_eq!(bench.used(&[0]), [(0, 8)]);
    bench.device.assert_no_violations();
}
