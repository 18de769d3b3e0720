//! A queue of events, with a device that keeps the buffers until it has something to say.

mod bench;

use bench::{PACKED, WITH_EVENT_IDX, WITH_TABLES, rounds};
use fake_device::{FakeBar, FakeDevice, Interrupt, Lie, Model, Options, Ram, Request, Served};
use virtio::memory::Region;
use virtio::queue::{AnyRing, DeviceFault, EventLayout, EventQueue, Notify, RingFormat};
use virtio::spec::Features;
use virtio::transport::{Device, Doorbell};

/// Entries of the ring, twice as many as there are buffers.
const SIZE: u16 = 8;
const BUFFERS: u16 = 4;
const BYTES: u16 = 16;

/// A ring of each kind.
const BOTH: [Features; 2] = [WITH_EVENT_IDX, PACKED];

/// Keeps every buffer.
struct Teller;

impl Model for Teller {
    const DEVICE_TYPE: u16 = 8;

    fn queue_count(&self) -> u16 {
        1
    }

    fn features(&self) -> Features {
        Features::empty()
    }

    fn config(&self) -> Vec<u8> {
        vec![0; 36]
    }

    fn serve(&mut self, _queue: u16, request: &mut Request<'_>) -> Served {
        request.rule(request.readable().is_empty(), "the device writes all of a buffer for events");
        Served::Kept
    }
}

struct Bench {
    device: FakeDevice<Teller>,
    transport: Device<FakeBar<Teller>>,
    queue: EventQueue<AnyRing<Region>>,
    doorbell: Doorbell,
}

impl Bench {
    /// A device that runs, and has no buffer yet.
    fn new(features: Features) -> Self {
        let packed = features.contains(Features::RING_PACKED);
        let ring = if packed { RingFormat::Packed } else { RingFormat::Split };
        let options = Options { features, queue_size: SIZE, ..Options::default() };
        Self::with(options, EventLayout::new(ring, SIZE, BUFFERS, BYTES).expect("the numbers are possible"))
    }

    fn with(options: Options, layout: EventLayout) -> Self {
        let ram = Ram::new(1 << 18);
        let device = FakeDevice::new(Teller, &ram, options);
        let transport =
            Device::open(&device.config_space(), |bar| device.bar(bar)).expect("the fake is whole");
        let memory = ram.alloc(layout.shared_bytes(), layout.alignment());
        let queue = EventQueue::new(memory, layout, options.features).expect("memory is as the layout says");
        let doorbell = start(&transport, &queue);
        Self { device, transport, queue, doorbell }
    }

    /// A device that runs, and has all buffers.
    fn started(features: Features) -> Self {
        let mut bench = Self::new(features);
        bench.publish();
        assert_eq!(bench.device.kept(0), usize::from(BUFFERS));
        bench
    }

    /// Gives the device the buffers, and tells it where it has to be told: whether it had to.
    fn publish(&mut self) -> bool {
        let notify = self.queue.publish();
        if let Notify::Device { next } = notify {
            self.transport.notify(&self.doorbell, next);
        }
        self.device.run();
        notify != Notify::Suppressed
    }

    fn send(&self, count: u8) -> usize {
        let events: Vec<_> = (1..=count).map(event).collect();
        self.device.send_events(0, &events)
    }

    /// Takes every event.
    fn drain(&mut self) -> Result<Vec<[u8; BYTES as usize]>, DeviceFault> {
        core::iter::from_fn(|| self.queue.pop_event().transpose()).collect()
    }
}

fn start(transport: &Device<FakeBar<Teller>>, queue: &EventQueue<AnyRing<Region>>) -> Doorbell {
    let acknowledged = transport.reset(&mut || ()).expect("the device can be reset");
    let offered = acknowledged.offered();
    let ready = acknowledged.negotiate(offered).expect("what is offered is accepted");
    ready.set_config_vector(Some(0)).expect("there is such a vector");
    ready.enable_queue(0, queue.size(), &queue.areas(), Some(1)).expect("there is such a queue");
    let doorbell = ready.notifier(0).expect("the queue has a notification address");
    ready.driver_ok();
    doorbell
}

/// An event in which no byte is like the one before.
fn event(first: u8) -> [u8; BYTES as usize] {
    core::array::from_fn(|index| first.wrapping_mul(16).wrapping_add(index as u8))
}

#[test]
fn the_device_gets_the_buffers_when_they_are_published() {
    for features in WITH_TABLES {
        let mut bench = Bench::new(features);
        assert_eq!((bench.queue.posted(), bench.send(1)), (0, 0));

        let told = bench.publish();

        assert!(told, "the device does not look by itself");
        assert_eq!((bench.queue.posted(), bench.device.kept(0)), (BUFFERS, usize::from(BUFFERS)));
        assert_eq!(bench.drain(), Ok(vec![]));
        bench.device.assert_no_violations();
    }
}

#[test]
fn events_come_out_in_their_order_with_their_content() {
    for features in WITH_TABLES {
        let mut bench = Bench::started(features);

        let sent = bench.send(5);

        assert_eq!(sent, 4, "there is no buffer for the fifth");
        assert_eq!(bench.drain(), Ok([1, 2, 3, 4].map(event).to_vec()));
        bench.device.assert_no_violations();
    }
}

#[test]
fn a_queue_whose_buffers_fill_the_ring_tells_all_of_them_again_and_again() {
    for features in WITH_TABLES {
        // No power of two, where the ring may have such a size.
        let packed = features.contains(Features::RING_PACKED);
        let (ring, size) = if packed { (RingFormat::Packed, 5) } else { (RingFormat::Split, 4) };
        let options = Options { features, queue_size: size, ..Options::default() };
        let layout = EventLayout::new(ring, size, size, BYTES).expect("the numbers are possible");
        let mut bench = Bench::with(options, layout);
        bench.publish();

        for _ in 0..10 {
            assert_eq!(bench.send(9), usize::from(size));
            let events = bench.drain().expect("the device is honest");
            bench.publish();

            assert_eq!(events.len(), usize::from(size));
            assert_eq!(events[usize::from(size) - 1], event(size as u8));
        }
        bench.device.assert_no_violations();
    }
}

#[test]
fn buffers_are_posted_again_and_every_event_is_announced_once() {
    for features in WITH_TABLES {
        let mut bench = Bench::started(features);
        let mut told = 0_u32;
        let mut round = 0_u8;
        // Miri gets by with a few; otherwise the indices wrap.
        while told < rounds(70_000) {
            assert!(!bench.queue.enable_interrupts(), "everything was drained");
            let count = round % 4 + 1;

            assert_eq!(bench.send(count), usize::from(count));
            let interrupts = bench.device.take_interrupts();
            bench.queue.disable_interrupts();
            let events = bench.drain().expect("the device is honest");
            bench.publish();

            assert_eq!(interrupts, [Interrupt::Message(1)]);
            assert!(events.into_iter().eq((1..=count).map(event)), "round {round}");
            told += u32::from(count);
            round = round.wrapping_add(1);
        }
        bench.device.assert_no_violations();
    }
}

#[test]
fn no_more_events_than_buffers_come_before_the_next_publish() {
    for features in WITH_TABLES {
        let mut bench = Bench::started(features);
        bench.send(BUFFERS as u8);
        bench.drain().expect("the device is honest");

        bench.device.run();

        assert_eq!((bench.queue.posted(), bench.send(1)), (0, 0), "the device has no buffer");
        bench.publish();
        assert_eq!((bench.queue.posted(), bench.send(1)), (BUFFERS, 1));
    }
}

#[test]
fn nothing_taken_is_nothing_published() {
    for features in WITH_TABLES {
        let mut bench = Bench::started(features);

        assert!(!bench.publish());

        assert_eq!(bench.device.notifications(0), 1);
    }
}

#[test]
fn a_device_that_looks_by_itself_is_not_told() {
    for features in WITH_TABLES {
        let mut bench = Bench::started(features);
        bench.device.set_polling(true);
        bench.device.run();
        bench.send(2);
        bench.drain().expect("the device is honest");

        let told = bench.publish();

        assert!(!told);
        assert_eq!(bench.device.kept(0), usize::from(BUFFERS));
    }
}

#[test]
fn an_event_that_came_before_the_interrupt_was_asked_for_is_told() {
    for features in WITH_TABLES {
        let mut bench = Bench::started(features);
        bench.queue.disable_interrupts();
        bench.send(1);

        assert!(bench.queue.enable_interrupts());

        assert_eq!(bench.drain(), Ok(vec![event(1)]));
        bench.publish();
        assert!(!bench.queue.enable_interrupts());
    }
}

#[test]
fn what_the_device_did_not_write_reads_as_zero() {
    for features in WITH_TABLES {
        let mut bench = Bench::started(features);
        // Every buffer had an event before.
        bench.send(BUFFERS as u8);
        bench.drain().expect("the device is honest");
        bench.publish();

        bench.device.send_events(0, &[&event(7)[..6], &event(8)[..1], &[]]);

        let mut expected = [[0; BYTES as usize]; 3];
        expected[0][..6].copy_from_slice(&event(7)[..6]);
        expected[1][0] = event(8)[0];
        assert_eq!(bench.drain(), Ok(expected.to_vec()));
        bench.device.assert_no_violations();
    }
}

#[test]
fn whatever_the_device_says_of_the_length_is_not_believed() {
    let lies = [Lie::NoUsedLength, Lie::UsedLengthOneShort];
    for (lie, features) in lies.into_iter().flat_map(|lie| WITH_TABLES.map(|features| (lie, features))) {
        let mut bench = Bench::started(features);
        bench.device.lie(lie);
        bench.send(2);

        assert_eq!(bench.drain(), Ok([1, 2].map(event).to_vec()), "{lie:?}");
    }
    for (length, features) in [0, 1, 17, u32::MAX].into_iter().flat_map(|it| BOTH.map(|ring| (it, ring))) {
        let mut bench = Bench::started(features);
        bench.device.lie(Lie::UsedLength(length));
        bench.send(1);

        assert_eq!(bench.drain(), Ok(vec![event(1)]), "a length of {length}");
    }
}

#[test]
fn as_much_of_an_event_is_taken_as_is_asked_for() {
    for features in BOTH {
        let packed = features.contains(Features::RING_PACKED);
        let ring = if packed { RingFormat::Packed } else { RingFormat::Split };
        let options = Options { features, queue_size: SIZE, ..Options::default() };
        // `event_info_size` may be more than is known of an event, and is no multiple of anything.
        let layout = EventLayout::new(ring, SIZE, BUFFERS, 21).expect("the numbers are possible");
        let mut bench = Bench::with(options, layout);
        bench.publish();
        let long: [u8; 21] = core::array::from_fn(|index| index as u8 + 1);
        assert_eq!(bench.device.send_events(0, &[long; 3]), 3);

        let some = bench.queue.pop_event::<10>();
        let all = bench.queue.pop_event::<21>();
        let more = bench.queue.pop_event::<24>();

        assert_eq!(some, Ok(Some(long[..10].try_into().expect("there are as many"))));
        assert_eq!(all, Ok(Some(long)));
        let mut padded = [0; 24];
        padded[..21].copy_from_slice(&long);
        assert_eq!(more, Ok(Some(padded)));
        bench.device.assert_no_violations();
    }
}

/// Lies, and what they are taken for behind one event that is none.
const LIES: [(Lie, Features, DeviceFault); 7] = [
    (Lie::UsedIdOutOfRange, WITH_EVENT_IDX, DeviceFault::UsedIdOutOfRange { id: SIZE as u32, size: BUFFERS }),
    (Lie::UsedIdOutOfRange, PACKED, DeviceFault::UsedIdOutOfRange { id: SIZE as u32, size: BUFFERS }),
    // An entry of the ring that no buffer has.
    (
        Lie::UsedIdNotInFlight,
        WITH_EVENT_IDX,
        DeviceFault::UsedIdOutOfRange { id: SIZE as u32 - 1, size: BUFFERS },
    ),
    (Lie::UsedIdNotInFlight, PACKED, DeviceFault::UsedIdOutOfRange { id: SIZE as u32 - 1, size: BUFFERS }),
    (Lie::UsedTwice, WITH_EVENT_IDX, DeviceFault::UsedIdNotInFlight { id: 1 }),
    (Lie::UsedTwice, PACKED, DeviceFault::UsedIdNotInFlight { id: 1 }),
    // Five are more than it has.
    (
        Lie::UsedIndexJump(3),
        WITH_EVENT_IDX,
        DeviceFault::UsedIndexJumped { index: 5, expected: 0, in_flight: BUFFERS },
    ),
];

#[test]
fn a_device_that_lies_about_one_buffer_is_caught_and_tells_again_after_a_reset() {
    for (lie, features, expected) in LIES {
        let mut bench = Bench::started(features);
        assert_eq!(bench.send(1), 1);
        bench.device.lie(lie);
        assert_eq!(bench.send(1), 1);

        let fault = bench.drain().expect_err("the device lies");

        assert_eq!(fault, expected, "{lie:?}");
        assert_eq!(bench.queue.pop_event::<16>(), Ok(None), "a fault is told once");
        assert!(!bench.queue.enable_interrupts(), "there is nothing to drain in a broken queue");
        assert_eq!(bench.queue.publish(), Notify::Suppressed);
        bench.device.be_honest();
        bench.transport.reset(&mut || ()).map(drop).expect("the device can be reset");
        bench.queue.reset();
        bench.doorbell = start(&bench.transport, &bench.queue);
        bench.publish();
        assert_eq!(bench.send(4), 4);
        assert_eq!(bench.drain(), Ok([1, 2, 3, 4].map(event).to_vec()), "after {lie:?}");
    }
}

#[test]
fn a_buffer_that_the_device_was_not_shown_again_is_not_its_own() {
    for features in BOTH {
        let mut bench = Bench::started(features);
        bench.send(1);
        assert_eq!(bench.queue.pop_event(), Ok(Some(event(1))));
        // The buffer is in the ring, and the device was not shown it.
        bench.device.lie(Lie::UsedTwice);
        bench.send(1);

        assert_eq!(bench.queue.pop_event(), Ok(Some(event(1))));

        assert_eq!(bench.queue.pop_event::<16>(), Err(DeviceFault::UsedIdNotInFlight { id: 1 }));
    }
}

#[test]
fn after_a_reset_everything_starts_over_and_what_was_not_taken_is_lost() {
    for features in WITH_TABLES {
        let mut bench = Bench::started(features);
        bench.send(3);
        assert_eq!(bench.queue.pop_event(), Ok(Some(event(1))));

        bench.transport.reset(&mut || ()).map(drop).expect("the device can be reset");
        bench.queue.reset();
        bench.doorbell = start(&bench.transport, &bench.queue);

        assert_eq!((bench.drain(), bench.queue.posted()), (Ok(vec![]), 0));
        bench.publish();
        assert_eq!(bench.queue.posted(), BUFFERS);
        // In blank buffers.
        bench.device.send_events(0, &[&event(9)[..2], &[], &[]]);
        let mut first = [0; BYTES as usize];
        first[..2].copy_from_slice(&event(9)[..2]);
        assert_eq!(bench.drain(), Ok(vec![first, [0; 16], [0; 16]]));
        bench.device.assert_no_violations();
    }
}

#[test]
fn a_closed_queue_gives_the_device_no_buffer_and_takes_no_event_until_it_is_opened() {
    for features in WITH_TABLES {
        let mut bench = Bench::started(features);
        bench.send(1);
        bench.queue.close();
        assert_eq!((bench.drain(), bench.queue.enable_interrupts()), (Ok(vec![]), false));

        bench.transport.reset(&mut || ()).map(drop).expect("the device can be reset");
        bench.queue.reset();
        bench.queue.close();
        bench.doorbell = start(&bench.transport, &bench.queue);
        assert!(!bench.publish());
        assert_eq!(bench.device.kept(0), 0);
        bench.queue.open();
        bench.publish();

        assert_eq!(bench.send(2), 2);
        assert_eq!(bench.drain(), Ok([1, 2].map(event).to_vec()));
    }
}

#[test]
fn a_legacy_device_tells_events_too() {
    let features = Features::RING_EVENT_IDX;
    let options = Options { features, queue_size: 128, legacy: true, ..Options::default() };
    let layout =
        EventLayout::new(RingFormat::LegacySplit, 128, BUFFERS, BYTES).expect("the numbers are possible");
    let mut bench = Bench::with(options, layout);
    bench.publish();

    assert_eq!(bench.send(9), usize::from(BUFFERS));

    assert_eq!(bench.drain(), Ok([1, 2, 3, 4].map(event).to_vec()));
    bench.device.assert_no_violations();
}
