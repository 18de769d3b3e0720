//! Whatever a driver may do, in whatever order, on a virtio-blk device that is slow, mixes requests up, lies, fails, or is
//! pulled out.
//!
//! Input: two bytes for the queue ([`Choice`], always with virtio-blk's requests), one for the device, then operations.
//!
//! What is promised: each request comes back exactly once, its length within what the device was allowed to write; and,
//! as long as no lie was told, the driver breaks no rule of the specification, is never at odds with the device, is
//! interrupted where it asked for it, and every request is answered in the end.

use arbitrary::Unstructured;
use fake_device::disk::Disk;
use fake_device::{FakeBar, FakeDevice, Interrupt, Lie, Options, Order};
use virtio::memory::{Segment, SharedMemory};
use virtio::queue::{Direction, Notify};
use virtio::spec::Features;
use virtio::spec::blk::{RequestType, Status};
use virtio::transport::{Device, Doorbell, QueueReset, TransportError};

use crate::in_flight::InFlight;
use crate::operations::decode;
use crate::{Choice, DATA_BYTES, MACHINE, Popped, Queue, header};

crate::operations! {
    /// What happens next.
    pub enum Operation {
        /// A request; nothing tells the device.
        Submit {
            /// Read, write, flush or identity
            kind: u8,
            /// First sector, brought onto the disk
            sector: u8,
            /// Sectors, a segment each, brought to what fits
            sectors: u8,
        },
        /// The device gets to see what was submitted, and is told if it wants to.
        Publish {},
        /// The driver takes all that are done, as its DPC does: without interrupts, which are then asked for again.
        Interrupt {},
        /// The driver takes one that is done.
        Pop {},
        /// The device looks at its queues.
        Run {},
        /// The device takes requests and does not answer.
        Hold {},
        /// It answers some of them.
        Release {
            /// Most
            most: u8,
        },
        /// It answers all of them, and goes on answering.
        ReleaseAll {},
        /// In which order it answers.
        Order {
            /// As they came, reversed, or mixed
            order: u8,
        },
        /// The device looks at its queues by itself.
        Polling {
            /// If odd
            on: u8,
        },
        /// The device's reset takes a while.
        SlowReset {
            /// So many looks at the status
            reads: u8,
        },
        /// The driver resets the device and starts it again.
        Restart {},
        /// The driver resets the queue alone and sets it up again.
        ResetQueue {},
        /// The disk grows, and says so.
        Grow {},
        /// The device fails.
        NeedReset {},
        /// The driver reads a field of the device configuration.
        ReadConfig {
            /// Its number of four bytes
            word: u8,
        },
        /// The device is pulled out.
        Remove {},
        /// The device lies.
        Lie {
            /// How
            lie: u8,
            /// With what
            value: u16,
        },
        /// It lies no more.
        BeHonest {},
    }
}

/// What came of an input, for the tests of the seeds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Story {
    /// Requests that were answered
    pub done: usize,
    /// Requests taken back after a reset
    pub taken_back: usize,
    /// Requests refused
    pub refused: usize,
    /// Lies that were caught
    pub faults: usize,
    /// Starts that failed
    pub not_started: usize,
    /// Queues that were reset by themselves
    pub queue_resets: usize,
}

struct Play {
    device: FakeDevice<Disk>,
    transport: Device<FakeBar<Disk>>,
    queue: Queue,
    choice: Choice,
    data: u64,
    /// `None` while the device is not running.
    doorbell: Option<Doorbell>,
    /// VIRTIO_F_RING_RESET was accepted
    queue_reset: Option<QueueReset>,
    in_flight: InFlight,
    lied: bool,
    /// The device asked for a reset and answers nothing until then.
    stuck: bool,
    removed: bool,
    /// Interrupts were asked for, and nothing was taken since
    armed: bool,
    polling: bool,
    story: Story,
}

/// Sectors of the disk; as much is there for data.
const SECTORS: usize = DATA_BYTES / 512;

/// MSI-X table entry for the queue; 0 is for the configuration.
const QUEUE_VECTOR: u16 = 1;

/// Plays an input.
pub fn run(input: &[u8]) -> Story {
    let mut input = Unstructured::new(input);
    let choice = Choice { scsi: false, ..Choice::from_number(input.arbitrary().unwrap_or(0)) };
    let made: u8 = input.arbitrary().unwrap_or(0);
    let operations: Vec<Operation> = decode(&mut input);
    let Some(mut play) = Play::new(choice, made) else { return Story::default() };
    for operation in operations {
        play.step(operation);
        play.in_flight.check(&play.queue);
        play.check_rules();
    }
    play.end();
    play.story
}

impl Play {
    fn new(choice: Choice, made: u8) -> Option<Self> {
        let bit = |bit: u8| made >> bit & 1 != 0;
        let mut features = choice.features();
        features.set(Features::NOTIFICATION_DATA, bit(3));
        features.set(Features::NOTIF_CONFIG_DATA, bit(4));
        features.set(Features::RING_RESET, bit(5));
        let options = Options {
            features,
            // A legacy device's queue has exactly its size.
            queue_size: choice.entries() << u8::from(bit(0) && !choice.legacy),
            vectors: if bit(1) { 0 } else { 2 },
            notify_multiplier: if bit(2) { 0 } else { 4 },
            batch_used: bit(6),
            notify_io: bit(7),
            legacy: choice.legacy,
            ..Options::default()
        };
        let (device, queue, data) = MACHINE.with(|machine| {
            let disk = Disk::new(SECTORS as u64);
            let device = FakeDevice::new(disk, &machine.ram, options);
            (device, Queue::new(choice, &machine.shared), machine.data.device_address())
        });
        let transport = Device::open(&device.config_space(), |bar| device.bar(bar)).ok()?;
        let mut play = Self {
            device,
            transport,
            queue,
            choice,
            data,
            doorbell: None,
            queue_reset: None,
            in_flight: InFlight::new(choice),
            lied: false,
            stuck: false,
            removed: false,
            armed: false,
            polling: false,
            story: Story::default(),
        };
        play.start();
        assert!(play.doorbell.is_some(), "an honest device is started");
        Some(play)
    }

    fn step(&mut self, operation: Operation) {
        let running = self.doorbell.is_some();
        match operation {
            Operation::Submit { kind, sector, sectors } if running => self.submit(kind, sector, sectors),
            Operation::Publish {} if running => self.publish(),
            Operation::Interrupt {} if running => self.interrupt(),
            Operation::Pop {} if running => {
                self.pop();
            }
            Operation::ResetQueue {} if running => self.reset_queue(),
            Operation::ReadConfig { word } if running => self.read_config(word),
            // A driver touches no queue of a device that is not started.
            Operation::Submit { .. }
            | Operation::Publish {}
            | Operation::Interrupt {}
            | Operation::Pop {}
            | Operation::ResetQueue {}
            | Operation::ReadConfig { .. } => {}
            Operation::Run {} => drop(self.device.run()),
            Operation::Hold {} => self.device.hold(),
            Operation::Release { most } => drop(self.device.release(usize::from(most))),
            Operation::ReleaseAll {} => drop(self.device.release_all()),
            Operation::Order { order } => self.device.set_order(match order % 3 {
                0 => Order::Arrival,
                1 => Order::Reversed,
                _ => Order::Shuffled(u64::from(order)),
            }),
            Operation::Polling { on } => self.set_polling(on & 1 != 0),
            Operation::SlowReset { reads } => self.device.set_slow_reset(u32::from(reads)),
            Operation::Restart {} => self.restart(),
            Operation::Grow {} => self.device.change_config(|disk| disk.sectors += 1),
            Operation::NeedReset {} => {
                self.device.need_reset();
                self.stuck = true;
            }
            Operation::Remove {} => {
                self.device.remove();
                self.removed = true;
            }
            Operation::Lie { lie, value } => {
                self.device.lie(lie_of(lie, value));
                self.lied = true;
            }
            Operation::BeHonest {} => self.device.be_honest(),
        }
    }

    /// Told again, the device would look at its queues, and a notification that is missing would not show.
    fn set_polling(&mut self, on: bool) {
        if on != self.polling {
            self.device.set_polling(on);
            self.polling = on;
        }
    }

    fn submit(&mut self, kind: u8, sector: u8, sectors: u8) {
        let first = usize::from(sector) % SECTORS;
        let most = self.choice.max_segments().min(SECTORS - first);
        let count = usize::from(sectors) % most + 1;
        let (kind, direction, first, count, bytes) = match kind % 4 {
            0 => (RequestType::IN, Direction::FromDevice, first, count, 512),
            1 => (RequestType::OUT, Direction::ToDevice, first, count, 512),
            2 => (RequestType::FLUSH, Direction::None, 0, 0, 0),
            _ => (RequestType::GET_ID, Direction::FromDevice, 0, 1, 20),
        };
        let segments: Vec<Segment> = (first..first + count)
            .map(|sector| Segment { address: self.data + 512 * sector as u64, length: bytes })
            .collect();
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&kind.0.to_le_bytes());
        bytes[8..].copy_from_slice(&(first as u64).to_le_bytes());
        match self.in_flight.submit(&mut self.queue, &header(&bytes), direction, &segments) {
            Ok(_) => {}
            Err(_) => self.story.refused += 1,
        }
    }

    fn publish(&mut self) {
        if let Notify::Device { next } = self.queue.publish()
            && let Some(doorbell) = &self.doorbell
        {
            self.transport.notify(doorbell, next);
        }
    }

    fn interrupt(&mut self) {
        let line = self.device.line_is_up();
        let message = self.device.take_interrupts().contains(&Interrupt::Message(QUEUE_VECTOR));
        if self.armed && !self.lied && matches!(self.pop(), Popped::Done { .. }) {
            assert!(line || message, "a request is done and nobody says so");
        }
        if line {
            // Acknowledges.
            let _ = self.transport.isr_status();
        }
        loop {
            self.queue.disable_interrupts();
            while matches!(self.pop(), Popped::Done { .. }) {}
            // Nothing runs between, so a second round is due only to a lie.
            self.armed = true;
            if !self.queue.enable_interrupts() {
                return;
            }
            assert!(self.lied && !self.in_flight.faulted, "the drain left something behind");
        }
    }

    fn pop(&mut self) -> Popped {
        let popped = self.queue.pop();
        match popped {
            Popped::Nothing => {}
            Popped::Done { length, response, token } => {
                assert!(!self.in_flight.faulted, "nothing comes out of a broken queue");
                let first = self.in_flight.requests.keys().next().copied();
                assert!(!self.choice.in_order || first == Some(token), "{token} passed {first:?}");
                self.armed = false;
                let request = self.in_flight.remove(token);
                assert!(length <= request.writable, "{length} of {} bytes", request.writable);
                // The disk writes everything that it may.
                assert!(self.lied || length == request.writable, "{length} of {} bytes", request.writable);
                assert!(self.lied || Status(response) == Status::OK, "an honest device answered {response}");
                self.story.done += 1;
            }
            Popped::Fault(fault) => {
                assert!(self.lied, "an honest device is blamed: {fault:?}");
                assert!(!self.in_flight.faulted, "a fault is told once");
                self.in_flight.faulted = true;
                self.story.faults += 1;
            }
        }
        popped
    }

    fn read_config(&self, word: u8) {
        // Only what exists without a feature: the capacity.
        let offset = usize::from(word % 2) * 4;
        let read = self.transport.read_config::<4>(offset);
        assert!(read.is_some() || self.lied, "an honest device has a capacity");
    }

    /// Stops the device, takes every request back, and starts it again.
    fn restart(&mut self) {
        self.doorbell = None;
        let reset = self.transport.reset(&mut || ()).map(drop);
        assert!(reset.is_ok() || self.lied || self.removed, "an honest device is reset: {reset:?}");
        if let Err(error) = reset
            && error != TransportError::Removed
        {
            // It may still write into our memory: its requests stay its own.
            self.story.not_started += 1;
            return;
        }
        self.story.taken_back += self.in_flight.take_back(&mut self.queue);
        self.stuck = false;
        self.start();
    }

    /// Resets the queue alone, takes every request back, and sets it up again.
    fn reset_queue(&mut self) {
        let Some(accepted) = self.queue_reset else { return };
        let honest = !self.lied && !self.removed;
        if let Err(error) = self.transport.reset_queue(accepted, 0, &mut || ()) {
            assert!(!honest, "an honest device's queue is reset: {error:?}");
            // It may still write into our memory, until the whole device is reset.
            self.doorbell = None;
            self.story.not_started += 1;
            return;
        }
        self.story.taken_back += self.in_flight.take_back(&mut self.queue);
        let vector = self.vector();
        let areas = self.queue.areas();
        let again = self.transport.enable_queue_again(accepted, 0, self.choice.entries(), &areas, vector);
        if let Err(error) = again {
            assert!(!honest, "an honest device's queue is set up again: {error:?}");
            self.doorbell = None;
            self.story.not_started += 1;
            return;
        }
        self.story.queue_resets += 1;
        self.armed = true;
        drop(self.device.take_interrupts());
    }

    fn vector(&self) -> Option<u16> {
        (self.device.config_space().msix_vectors() > 0).then_some(QUEUE_VECTOR)
    }

    fn start(&mut self) {
        let started = (|| {
            let acknowledged = self.transport.reset(&mut || ())?;
            let offered = acknowledged.offered();
            let ready = acknowledged.negotiate(offered)?;
            let vector = self.vector();
            ready.set_config_vector(vector.map(|_| 0))?;
            ready.enable_queue(0, self.choice.entries(), &self.queue.areas(), vector)?;
            let doorbell = ready.notifier(0)?;
            let queue_reset = ready.queue_reset();
            ready.driver_ok();
            Ok::<_, TransportError>((doorbell, queue_reset))
        })();
        match started {
            Ok((doorbell, queue_reset)) => {
                self.queue_reset = queue_reset;
                self.doorbell = Some(doorbell);
                // An empty ring asks for the first one; what was sent before belongs to the past.
                self.armed = true;
                drop(self.device.take_interrupts());
            }
            Err(error) => {
                assert!(self.lied || self.removed, "an honest device is not started: {error:?}");
                self.story.not_started += 1;
            }
        }
    }

    fn check_rules(&self) {
        if !self.lied {
            self.device.assert_no_violations();
        }
    }

    /// Everything that was begun ends: with its answer, or taken back.
    fn end(&mut self) {
        if self.doorbell.is_some() {
            self.publish();
            self.set_polling(false);
            self.device.release_all();
            self.interrupt();
            let honest = !self.lied && !self.stuck && !self.removed;
            let left = &self.in_flight.requests;
            assert!(!honest || left.is_empty(), "no answer for {:?}", left.keys());
        }
        self.check_rules();
        self.device.be_honest();
        self.restart();
        assert!(self.in_flight.requests.is_empty(), "a reset gives everything back");
        self.check_rules();
    }
}

fn lie_of(lie: u8, value: u16) -> Lie {
    match lie % 23 {
        0 => Lie::NoVersion1,
        1 => Lie::FeaturesRefused,
        2 => Lie::FeaturesWithdrawn(1 << (value % 64)),
        3 => Lie::ResetNeverEnds,
        4 => Lie::VectorRefused,
        5 => Lie::ConfigLength(value.into()),
        6 => Lie::BarLength(value.into()),
        7 => Lie::ConfigNeverSettles,
        8 => Lie::QueueCount(value),
        9 => Lie::QueueSize(value),
        10 => Lie::NotifyOffset(value),
        11 => Lie::CapabilityLoop,
        12 => Lie::NoUsedLength,
        13 => Lie::UsedLengthOneShort,
        14 => Lie::UsedIdOutOfRange,
        15 => Lie::UsedIdNotInFlight,
        16 => Lie::UsedTwice,
        17 => Lie::UsedLengthTooLong(value.into()),
        18 => Lie::UsedIndexJump(value),
        19 => Lie::UsedLength(value.into()),
        20 => Lie::NothingWritten,
        21 => Lie::QueueResetNeverEnds,
        _ => Lie::CommonLength(value.into()),
    }
}

/// The inputs that fuzzing starts with.
pub fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    use Operation::{
        BeHonest, Grow, Hold, Interrupt, NeedReset, Order, Polling, Pop, Publish, ReadConfig, Release,
        ReleaseAll, Remove, ResetQueue, Restart, Run, SlowReset, Submit,
    };
    let seed = |choice: Choice, made: u8, operations: &[Operation]| {
        let [low, high] = choice.number().to_le_bytes();
        crate::operations::encode(&[low, high, made], operations)
    };
    let with_events = Choice { event_idx: true, size: 1, large_tables: 1, ..Choice::default() };
    let without = Choice { event_idx: false, ..with_events };
    let read = Submit { kind: 0, sector: 3, sectors: 0 };
    let write = Submit { kind: 1, sector: 5, sectors: 5 };
    let flush = Submit { kind: 2, sector: 0, sectors: 0 };
    let identity = Submit { kind: 3, sector: 0, sectors: 0 };
    let served = [write, read, flush, identity, Publish {}, Run {}, Interrupt {}];
    let held = [
        Hold {},
        Order { order: 1 },
        read,
        write,
        Publish {},
        Run {},
        flush,
        Publish {},
        Run {},
        Release { most: 1 },
        Pop {},
        Order { order: 5 },
        ReleaseAll {},
        Interrupt {},
    ];
    let polled =
        [Polling { on: 1 }, Run {}, read, Publish {}, Run {}, Polling { on: 0 }, flush, Publish {}, Run {}];
    let packed = Choice { packed: true, ..with_events };
    let direct = |choice| Choice { direct: true, ..choice };
    let in_order = |choice| Choice { in_order: true, ..choice };
    let twice: Vec<Operation> = served.iter().chain(&held).chain(&served).chain(&polled).copied().collect();
    let reset: Vec<Operation> =
        held[..9].iter().chain(&[ResetQueue {}, ReleaseAll {}]).chain(&served).copied().collect();
    let mut seeds = vec![
        ("packed", seed(packed, 0, &twice)),
        ("packed_without_events", seed(Choice { event_idx: false, ..packed }, 2, &twice)),
        ("packed_direct", seed(direct(packed), 0, &twice)),
        ("packed_in_order", seed(in_order(packed), 0x40, &twice)),
        ("packed_direct_in_order", seed(in_order(direct(packed)), 0x40, &twice)),
        ("packed_queue_reset", seed(packed, 0x20, &reset)),
        ("direct", seed(direct(with_events), 0, &twice)),
        ("in_order", seed(in_order(with_events), 0x40, &twice)),
        ("in_order_direct", seed(in_order(direct(without)), 0x40, &twice)),
        ("legacy", seed(Choice { legacy: true, ..with_events }, 0, &twice)),
        ("legacy_by_line", seed(Choice { legacy: true, ..direct(without) }, 2, &twice)),
        ("notification_data", seed(with_events, 0x08, &twice)),
        ("packed_notification_data", seed(packed, 0x98, &twice)),
        ("notification_names", seed(with_events, 0x10, &twice)),
        ("queue_reset", seed(with_events, 0x28, &reset)),
        ("served", seed(with_events, 0, &served)),
        ("served_by_line", seed(without, 6, &served)),
        ("held_and_mixed", seed(with_events, 1, &held)),
        ("held_and_mixed_without_events", seed(without, 0, &held)),
        ("polled", seed(with_events, 0, &polled)),
        (
            "full",
            seed(with_events, 0, &[write, write, flush, flush, flush, flush, flush, flush, flush, flush]),
        ),
        (
            "restarted",
            seed(
                with_events,
                0,
                &[
                    Hold {},
                    read,
                    Publish {},
                    Run {},
                    SlowReset { reads: 7 },
                    Restart {},
                    ReleaseAll {},
                    read,
                    Publish {},
                ],
            ),
        ),
        (
            "failed",
            seed(with_events, 0, &[read, Publish {}, NeedReset {}, Run {}, Interrupt {}, Restart {}, read]),
        ),
        ("grown", seed(with_events, 0, &[Grow {}, ReadConfig { word: 0 }, ReadConfig { word: 1 }])),
        (
            "removed",
            seed(with_events, 0, &[read, Publish {}, Remove {}, Run {}, Interrupt {}, read, Publish {}]),
        ),
    ];
    let names = [
        "lie_no_version_1",
        "lie_features_refused",
        "lie_features_withdrawn",
        "lie_reset_never_ends",
        "lie_vector_refused",
        "lie_config_length",
        "lie_bar_length",
        "lie_config_never_settles",
        "lie_queue_count",
        "lie_queue_size",
        "lie_notify_offset",
        "lie_capability_loop",
        "lie_no_used_length",
        "lie_used_length_one_short",
        "lie_used_id_out_of_range",
        "lie_used_id_not_in_flight",
        "lie_used_twice",
        "lie_used_length_too_long",
        "lie_used_index_jump",
        "lie_used_length",
        "lie_nothing_written",
        "lie_queue_reset_never_ends",
        "lie_common_length",
    ];
    for (lie, name) in (0..).zip(names) {
        // The resets of queues are looked at too.
        let made = if lie > 20 { 0x20 } else { 0 };
        let operations = [
            read,
            flush,
            Publish {},
            Operation::Lie { lie, value: 20 },
            Run {},
            Interrupt {},
            ReadConfig { word: 0 },
            ResetQueue {},
            Restart {},
            BeHonest {},
            Restart {},
            read,
            Publish {},
            Run {},
            Interrupt {},
        ];
        seeds.push((name, seed(with_events, made, &operations)));
    }
    seeds
}

#[cfg(test)]
mod tests {
    use super::*;

    fn story(name: &str) -> Story {
        let (_, bytes) = seeds().into_iter().find(|(seed, _)| *seed == name).expect("there is such a seed");
        run(&bytes)
    }

    #[test]
    fn seeds_of_an_honest_device_are_served() {
        let done = |name| story(name).done;

        assert_eq!((done("served"), done("served_by_line")), (4, 4));
        assert_eq!((done("held_and_mixed"), done("held_and_mixed_without_events")), (3, 3));
        assert_eq!((done("polled"), done("failed"), done("restarted")), (2, 1, 1));
        assert_eq!((story("full").done, story("full").refused), (8, 2));
    }

    #[test]
    fn seeds_of_every_ring_are_served() {
        for (name, _) in seeds().iter().filter(|(name, _)| !name.starts_with("lie_")) {
            let story = story(name);
            assert_eq!((story.faults, story.not_started), (0, usize::from(*name == "removed")), "{name}");
        }
        for name in
            ["packed", "packed_direct", "packed_in_order", "in_order_direct", "legacy", "notification_data"]
        {
            assert!(story(name).done >= 6, "{name}: {:?}", story(name));
        }
        for name in ["queue_reset", "packed_queue_reset"] {
            assert_eq!((story(name).queue_resets, story(name).taken_back), (1, 3), "{name}");
        }
    }

    #[test]
    fn seeds_with_requests_that_are_not_answered_give_them_back() {
        assert_eq!(story("restarted").taken_back, 1);
        assert_eq!(story("removed").taken_back, 2);
    }

    #[test]
    fn seeds_of_lies_end_with_a_fault_or_without_a_start_and_are_served_afterwards() {
        let caught = [
            "lie_used_id_out_of_range",
            "lie_used_id_not_in_flight",
            "lie_used_twice",
            "lie_used_index_jump",
        ];
        for name in caught {
            assert_eq!(story(name).faults, 1, "{name}");
        }
        for name in ["lie_no_version_1", "lie_features_refused", "lie_reset_never_ends", "lie_vector_refused"]
        {
            assert_eq!(story(name).not_started, 1, "{name}");
        }
        for (name, _) in seeds().iter().filter(|(name, _)| name.starts_with("lie_")) {
            assert!(story(name).done > 0, "{name}");
        }
    }

    #[test]
    fn seeds_of_odd_lengths_are_served_like_those_of_an_honest_device() {
        for name in
            ["lie_no_used_length", "lie_used_length_one_short", "lie_used_length_too_long", "lie_used_length"]
        {
            assert_eq!((story(name).done, story(name).faults), (3, 0), "{name}");
        }
    }
}
