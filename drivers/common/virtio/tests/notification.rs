//! How the device is told about buffers: by a queue's index or name, with the ring's position, in memory or I/O space
//! (2.9, 4.1.5.2).

mod raw;

use fake_device::{FakeBar, FakeDevice, Lie, Options, Violation};
use raw::{Echo, RawRing, SIZE, open, power_on, ready};
use virtio::spec::Features;
use virtio::spec::pci::common;
use virtio::transport::{Bar, Device, Doorbell, TransportError};

const PLAIN: Features = Features::VERSION_1;
const POSITION: Features = PLAIN.union(Features::NOTIFICATION_DATA);
const NAME: Features = PLAIN.union(Features::NOTIF_CONFIG_DATA);
const BOTH: Features = POSITION.union(NAME);

fn start(transport: &Device<FakeBar<Echo>>, queue: u16, ring: &RawRing) -> Doorbell {
    let ready = ready(transport).expect("the device accepts its own features");
    ready.enable_queue(queue, SIZE, &ring.areas, Some(1)).expect("there is such a queue");
    let doorbell = ready.notifier(queue).expect("the queue has a notification address");
    ready.driver_ok();
    doorbell
}

/// Sends requests until the ring's index has wrapped around the queue a few times, one notification each.
fn echoes(device: &FakeDevice<Echo>, transport: &Device<FakeBar<Echo>>, queue: u16, ring: &mut RawRing) {
    let doorbell = start(transport, queue, ring);
    for count in 1..=3 * u64::from(SIZE) {
        ring.submit(b"an echo!");
        transport.notify(&doorbell, ring.position());
        device.run();
        assert_eq!(ring.answers(), [*b"an echo!"]);
        assert_eq!(device.notifications(queue), count);
    }
}

#[test]
fn every_way_to_notify_reaches_the_right_queue() {
    for (features, case) in [(PLAIN, "index"), (POSITION, "position"), (NAME, "name"), (BOTH, "both")] {
        for (multiplier, io) in [(4, false), (0, false), (0, true)] {
            let options =
                Options { features, notify_multiplier: multiplier, notify_io: io, ..Options::default() };
            let (ram, device) = power_on(options);
            let transport = open(&device).expect("the device is whole");

            echoes(&device, &transport, 2, &mut RawRing::new(&ram));

            assert_eq!(device.accepted(), features);
            let violations = device.violations();
            assert!(violations.is_empty(), "{case}, multiplier {multiplier}, I/O {io}: {violations:?}");
        }
    }
}

#[test]
fn notifications_in_io_space_have_their_own_base_address_register() {
    let options = Options { notify_io: true, ..Options::default() };
    let (_ram, device) = power_on(options);
    let mut mapped = Vec::new();

    let transport = Device::open(&device.config_space(), |bar| {
        mapped.push(bar);
        device.bar(bar)
    });

    assert!(transport.is_ok());
    mapped.sort_unstable();
    assert_eq!(mapped, [2, 4]);
}

#[test]
fn a_position_is_not_sent_when_it_was_not_agreed_on() {
    let (ram, device) = power_on(Options { features: PLAIN, ..Options::default() });
    let transport = open(&device).expect("the device is whole");
    let doorbell = start(&transport, 0, &RawRing::new(&ram));

    transport.notify(&doorbell, 0xffff);

    device.assert_no_violations();
}

#[test]
fn a_position_wraps_with_the_rings_index() {
    let (ram, device) = power_on(Options { features: POSITION, ..Options::default() });
    let transport = open(&device).expect("the device is whole");
    let mut ring = RawRing::new(&ram);
    let doorbell = start(&transport, 0, &ring);

    // Past bit 15, which is called the wrap counter, and once around; Miri would take an hour.
    let rounds = if cfg!(miri) { 8 } else { 0x1_0008 };
    for _ in 0..rounds {
        ring.submit(b"an echo!");
        transport.notify(&doorbell, ring.position());
        device.run();
    }

    assert_eq!(ring.position(), 8);
    device.assert_no_violations();
}

#[test]
fn notifications_that_do_not_fit_are_refused() {
    let refused = TransportError::NotifyOutsideBar { queue: 1 };
    let table = [
        // 16 bits at every even address, 32 bits at multiples of four.
        (PLAIN, 2, 1, None),
        (PLAIN, 1, 1, Some(refused)),
        (POSITION, 4, 1, None),
        (POSITION, 2, 1, Some(refused)),
        (POSITION, 2, 2, None),
        // The structure has 4096 bytes.
        (PLAIN, 2, 2047, None),
        (PLAIN, 2, 2048, Some(refused)),
        (POSITION, 4, 1023, None),
        (POSITION, 4, 1024, Some(refused)),
        (POSITION, 0xffff_fffc, u16::MAX, Some(refused)),
    ];
    for (features, multiplier, offset, expected) in table {
        let options = Options { features, notify_multiplier: multiplier, ..Options::default() };
        let (_ram, device) = power_on(options);
        let transport = open(&device).expect("the device is whole");
        let ready = ready(&transport).expect("the device accepts its own features");
        device.lie(Lie::NotifyOffset(offset));

        let result = ready.notifier(1);

        assert_eq!(result.err(), expected, "{features:?}: {offset} times {multiplier:#x}");
    }
}

/// The judge is judged: a notification that says something wrong is caught.
#[test]
fn the_fake_notices_wrong_notifications() {
    const NOTIFY: u32 = 0x3000;
    type Mistake = fn(&dyn Bar);
    let cases: [(&str, Features, Mistake); 6] = [
        ("16 bits where 32 were agreed on", POSITION, |bar| bar.write16(NOTIFY, 0)),
        ("32 bits where 16 were agreed on", PLAIN, |bar| bar.write32(NOTIFY, 0)),
        ("a position the ring is not at", POSITION, |bar| bar.write32(NOTIFY, 1 << 16)),
        ("an index where a name was agreed on", NAME, |bar| bar.write16(NOTIFY, 0)),
        ("another queue's address", PLAIN, |bar| bar.write16(NOTIFY + 4, 0)),
        ("a name that was not agreed on", PLAIN, |bar| _ = bar.read16(common::QUEUE_NOTIF_CONFIG_DATA)),
    ];
    for (mistake, features, make) in cases {
        let (ram, device) = power_on(Options { features, ..Options::default() });
        let transport = open(&device).expect("the device is whole");
        start(&transport, 0, &RawRing::new(&ram));
        let bar = device.bar(4).expect("all structures are there");

        make(&bar);

        let violations = device.violations();
        assert_eq!(violations.len(), 1, "{mistake}: {violations:?}");
    }
    let (ram, device) = power_on(Options { features: POSITION, ..Options::default() });
    let transport = open(&device).expect("the device is whole");
    let doorbell = start(&transport, 0, &RawRing::new(&ram));
    transport.notify(&doorbell, 7);
    let expected = Violation::NotificationData { queue: 0, position: 7, expected: 0 };
    assert_eq!(device.violations(), [expected]);
}
