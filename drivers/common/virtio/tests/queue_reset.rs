//! One queue is reset while the device runs (2.6.1), and devices that do not keep to it.

mod raw;

use fake_device::{FakeBar, Lie, Options, Violation};
use raw::{RawRing, SIZE, error, open, power_on, ready};
use virtio::spec::Features;
use virtio::spec::pci::common;
use virtio::transport::{Bar, Device, Doorbell, QueueReset, RESET_POLLS, TransportError};

fn options() -> Options {
    Options { features: Features::VERSION_1 | Features::RING_RESET, ..Options::default() }
}

/// Starts queues 0 and 1.
fn start<M: fake_device::Model>(
    transport: &Device<FakeBar<M>>,
    rings: &[RawRing; 2],
) -> (Option<QueueReset>, [Doorbell; 2]) {
    let ready = ready(transport).expect("the device accepts its own features");
    let doorbells = [0, 1].map(|queue| {
        ready
            .enable_queue(queue, SIZE, &rings[usize::from(queue)].areas, Some(1))
            .expect("there is such a queue");
        ready.notifier(queue).expect("the queue has a notification address")
    });
    let reset = ready.queue_reset();
    ready.driver_ok();
    (reset, doorbells)
}

#[test]
fn a_queue_is_reset_and_used_again_while_another_goes_on() {
    let (ram, device) = power_on(options());
    let transport = open(&device).expect("the device is whole");
    let mut rings = [RawRing::new(&ram), RawRing::new(&ram)];
    let (reset, doorbells) = start(&transport, &rings);
    let reset = reset.expect("the feature was accepted");
    device.hold();
    for (ring, doorbell) in rings.iter_mut().zip(&doorbells) {
        ring.submit(b"before..");
        transport.notify(doorbell, 0);
    }
    device.run();

    transport.reset_queue(reset, 1, &mut || ()).expect("the queue can be reset");
    assert_eq!(device.enabled_queue(1), None);
    device.release_all();
    assert_eq!((rings[0].answers(), rings[1].answers()), (vec![*b"before.."], vec![]));

    rings[1].clear();
    transport.enable_queue_again(reset, 1, SIZE / 2, &rings[1].areas, Some(2)).expect("the queue was reset");
    assert_eq!(device.enabled_queue(1), Some((SIZE / 2, 2)));
    transport.reset_queue(reset, 1, &mut || ()).expect("a queue can be reset twice");
    transport.enable_queue_again(reset, 1, SIZE, &rings[1].areas, Some(2)).expect("the queue was reset");
    rings[1].submit(b"after...");
    transport.notify(&doorbells[1], 0);
    device.run();

    assert_eq!(rings[1].answers(), [*b"after..."]);
    assert_eq!(device.resets(), 1, "the device as a whole was reset once");
    device.assert_no_violations();
}

#[test]
fn without_the_feature_there_is_no_way_to_ask() {
    let (ram, device) = power_on(Options::default());
    let transport = open(&device).expect("the device is whole");

    let (reset, _doorbells) = start(&transport, &[RawRing::new(&ram), RawRing::new(&ram)]);

    assert_eq!(reset, None);
}

#[test]
fn a_feature_without_its_register_is_not_accepted() {
    let both = Features::NOTIF_CONFIG_DATA | Features::RING_RESET;
    let table = [
        (0x3c, both),
        (0x3b, Features::NOTIF_CONFIG_DATA),
        (0x3a, Features::NOTIF_CONFIG_DATA),
        (0x39, Features::empty()),
        (0x38, Features::empty()),
    ];
    for (bytes, expected) in table {
        let (_ram, device) = power_on(Options { features: Features::VERSION_1 | both, ..options() });
        device.lie(Lie::CommonLength(bytes));
        let transport = open(&device).expect("the rest of the structure is there");

        let ready = ready(&transport).expect("the device accepts its own features");

        assert_eq!(ready.features() & both, expected, "a structure of {bytes:#x} bytes");
        device.assert_no_violations();
    }
}

#[test]
fn a_token_of_another_device_does_not_lead_out_of_the_structure() {
    let (ram, device) = power_on(options());
    let transport = open(&device).expect("the device is whole");
    let rings = [RawRing::new(&ram), RawRing::new(&ram)];
    let (reset, _doorbells) = start(&transport, &rings);
    let reset = reset.expect("the feature was accepted");

    for (options, common_bytes) in [(options(), 0x38), (Options { legacy: true, ..options() }, 0x40)] {
        let (_ram, other) = power_on(options);
        other.lie(Lie::CommonLength(common_bytes));
        let transport = open(&other).expect("the rest of the structure is there");
        let before = other.register_accesses();
        let expected = TransportError::NoQueueReset { queue: 0 };

        assert_eq!(error(transport.reset_queue(reset, 0, &mut || ())), expected);
        let again = transport.enable_queue_again(reset, 0, SIZE, &rings[0].areas, None);
        assert_eq!(error(again), expected);
        assert_eq!(other.register_accesses(), before);
    }
}

#[test]
fn a_slow_reset_of_a_queue_is_awaited() {
    let (ram, device) = power_on(options());
    let transport = open(&device).expect("the device is whole");
    let (reset, _doorbells) = start(&transport, &[RawRing::new(&ram), RawRing::new(&ram)]);
    let reset = reset.expect("the feature was accepted");
    device.set_slow_reset(10);
    let mut stalls = 0;

    transport.reset_queue(reset, 0, &mut || stalls += 1).expect("the device is slow, not broken");

    assert_eq!(stalls, 10);
    device.assert_no_violations();
}

#[test]
fn a_reset_of_a_queue_that_never_ends_is_given_up() {
    let (ram, device) = power_on(options());
    let transport = open(&device).expect("the device is whole");
    let (reset, _doorbells) = start(&transport, &[RawRing::new(&ram), RawRing::new(&ram)]);
    let reset = reset.expect("the feature was accepted");
    device.lie(Lie::QueueResetNeverEnds);
    let mut stalls = 0;

    let result = transport.reset_queue(reset, 1, &mut || stalls += 1);

    assert_eq!(error(result), TransportError::QueueResetTimedOut { queue: 1 });
    assert_eq!(stalls, RESET_POLLS);
}

#[test]
fn a_device_that_goes_away_does_not_end_the_reset_of_a_queue() {
    let (ram, device) = power_on(options());
    let transport = open(&device).expect("the device is whole");
    let (reset, _doorbells) = start(&transport, &[RawRing::new(&ram), RawRing::new(&ram)]);
    let reset = reset.expect("the feature was accepted");
    device.set_slow_reset(10);
    let mut stalls = 0;

    let result = transport.reset_queue(reset, 0, &mut || {
        stalls += 1;
        device.remove();
    });

    assert_eq!((error(result), stalls), (TransportError::Removed, 1));
}

#[test]
fn a_vector_that_is_not_taken_the_second_time_is_an_error() {
    let (ram, device) = power_on(options());
    let transport = open(&device).expect("the device is whole");
    let rings = [RawRing::new(&ram), RawRing::new(&ram)];
    let (reset, _doorbells) = start(&transport, &rings);
    let reset = reset.expect("the feature was accepted");
    transport.reset_queue(reset, 0, &mut || ()).expect("the queue can be reset");
    device.lie(Lie::VectorRefused);

    let result = transport.enable_queue_again(reset, 0, SIZE, &rings[0].areas, Some(1));

    assert_eq!(error(result), TransportError::VectorRefused { vector: 1 });
    assert_eq!(device.enabled_queue(0), None);
}

/// The judge is judged: a driver that breaks the order is caught.
#[test]
fn the_fake_notices_queue_resets_out_of_order() {
    type Mistake = fn(&dyn Bar);
    let cases: [(&str, Mistake, Violation); 4] = [
        (
            "something else than 1",
            |bar| bar.write16(common::QUEUE_RESET, 2),
            Violation::QueueResetValue { value: 2 },
        ),
        (
            "a queue that is not running",
            |bar| {
                bar.write16(common::QUEUE_SELECT, 2);
                bar.write16(common::QUEUE_RESET, 1);
            },
            Violation::QueueResetOutOfStep { queue: 2 },
        ),
        (
            "a queue set up before its reset has ended",
            |bar| {
                bar.write16(common::QUEUE_SELECT, 0);
                bar.write16(common::QUEUE_RESET, 1);
                bar.write16(common::QUEUE_SIZE, 4);
            },
            Violation::QueueResetNotAwaited { queue: 0 },
        ),
        (
            "another reset before the first has ended",
            |bar| {
                bar.write16(common::QUEUE_SELECT, 0);
                bar.write16(common::QUEUE_RESET, 1);
                bar.write16(common::QUEUE_SELECT, 1);
                bar.write16(common::QUEUE_RESET, 1);
            },
            Violation::QueueResetNotAwaited { queue: 0 },
        ),
    ];
    for (mistake, make, expected) in cases {
        let (ram, device) = power_on(options());
        let transport = open(&device).expect("the device is whole");
        let _ = start(&transport, &[RawRing::new(&ram), RawRing::new(&ram)]);
        let bar = device.bar(4).expect("all structures are there");

        make(&bar);

        assert_eq!(device.violations(), [expected], "{mistake}");
    }
}
