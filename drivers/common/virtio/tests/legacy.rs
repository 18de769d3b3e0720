//! Devices that have the legacy interface and no other: the order of 3.1.2, and devices that do not keep to it.

mod raw;

use std::cell::Cell;

use fake_device::{FakeBar, FakeDevice, Interrupt, Lie, Options, Ram, Violation};
use raw::{CONFIG_BYTES, Dying, Echo, Noise, RawRing, SIZE, drive, error, open, power_on, ready};
use virtio::queue::QueueAreas;
use virtio::spec::pci::legacy;
use virtio::spec::{DeviceStatus, Features};
use virtio::transport::{Bar, Device, RESET_POLLS, TransportError, legacy_areas};

fn options() -> Options {
    Options { legacy: true, ..Options::default() }
}

fn without_msix() -> Options {
    Options { vectors: 0, ..options() }
}

const RUNNING: DeviceStatus =
    DeviceStatus::ACKNOWLEDGE.union(DeviceStatus::DRIVER).union(DeviceStatus::DRIVER_OK);

#[test]
fn a_legacy_device_is_started_without_features_ok_and_serves_requests() {
    let (ram, device) = power_on(options());
    let transport = open(&device).expect("the registers are there");
    let mut ring = RawRing::new(&ram);

    let ready = ready(&transport).expect("a legacy device cannot refuse");
    assert_eq!((ready.queue_count(), ready.queue_size(0), ready.queue_size(9)), (3, SIZE, 0));
    ready.set_config_vector(Some(0)).expect("there is such a vector");
    ready.enable_queue(1, SIZE, &ring.areas, Some(2)).expect("the areas lie as they should");
    let doorbell = ready.notifier(1).expect("there is one register for all");
    ready.driver_ok();
    ring.submit(b"an echo!");
    transport.notify(&doorbell, 0x5555);
    device.run();

    assert!(transport.is_legacy());
    assert_eq!(device.status(), RUNNING);
    assert_eq!(ring.answers(), [*b"an echo!"]);
    assert_eq!(device.take_interrupts(), [Interrupt::Message(2)]);
    device.assert_no_violations();
}

#[test]
fn a_legacy_device_without_msix_interrupts_by_its_line() {
    let (ram, device) = power_on(without_msix());
    let transport = open(&device).expect("the registers are there");
    let mut ring = RawRing::new(&ram);

    let ready = ready(&transport).expect("a legacy device cannot refuse");
    ready.set_config_vector(None).expect("no vector is always there");
    ready.enable_queue(0, SIZE, &ring.areas, None).expect("the areas lie as they should");
    let doorbell = ready.notifier(0).expect("there is one register for all");
    ready.driver_ok();
    ring.submit(b"an echo!");
    transport.notify(&doorbell, 0);
    device.run();

    assert_eq!(device.take_interrupts(), [Interrupt::Line]);
    let isr = transport.isr_status();
    assert!(isr.queue() && !isr.configuration());
    assert!(!device.line_is_up(), "reading the status acknowledges");
    assert_eq!(ring.answers(), [*b"an echo!"]);
    device.assert_no_violations();
}

#[test]
fn a_second_start_begins_at_the_beginning() {
    let (ram, device) = power_on(options());
    let transport = open(&device).expect("the registers are there");
    let mut ring = RawRing::new(&ram);
    for _ in 0..2 {
        ring.clear();
        drive(&transport, &ring.areas).expect("the device is whole");
    }

    assert_eq!(device.resets(), 2);
    device.assert_no_violations();
}

#[test]
fn only_features_of_the_first_32_bits_are_accepted() {
    let everything = Features::VERSION_1 | Features::RING_PACKED | Features::RING_RESET | Features::BLK_MQ;
    let (_ram, device) = power_on(Options { features: everything, ..options() });
    let transport = open(&device).expect("the registers are there");
    let acknowledged = transport.reset(&mut || ()).expect("the device can be reset");

    let ready = acknowledged.negotiate(everything).expect("a legacy device cannot refuse");

    // ANY_LAYOUT is accepted without being asked for.
    assert_eq!(ready.features(), Features::BLK_MQ | Features::ANY_LAYOUT);
    assert_eq!(device.accepted(), ready.features());
    assert!(ready.queue_reset().is_none());
    device.assert_no_violations();
}

#[test]
fn the_configuration_lies_behind_the_vectors_when_there_are_some() {
    let whole: [u8; 8] = [0, 1, 2, 3, 4, 5, 6, 7];
    for (options, case) in [(options(), "with MSI-X"), (without_msix(), "without MSI-X")] {
        let (_ram, device) = power_on(options);
        let transport = open(&device).expect("the registers are there");
        let _ready = ready(&transport).expect("a legacy device cannot refuse");

        assert_eq!(transport.read_config::<8>(0), Some(whole), "{case}");
        assert_eq!(transport.read_config::<2>(6), Some([6, 7]), "{case}");
        assert_eq!(transport.read_config::<1>(31), Some([31]), "{case}");
        assert!(transport.config_length() >= CONFIG_BYTES.into(), "{case}");
        assert_eq!(transport.read_config::<1>(transport.config_length() as usize), None, "{case}");
        device.assert_no_violations();
    }
}

#[test]
fn the_configuration_moves_when_msix_is_switched() {
    let (_ram, device) = power_on(options());
    device.set_msix_enabled(false);
    let transport = open(&device).expect("the registers are there");
    let ready = ready(&transport).expect("a legacy device cannot refuse");
    assert_eq!(transport.read_config::<4>(0), Some([0, 1, 2, 3]));
    assert_eq!(error(ready.set_config_vector(Some(0))), TransportError::VectorRefused { vector: 0 });

    for enabled in [true, false] {
        device.set_msix_enabled(enabled);
        transport.set_messages_in_use(enabled);

        assert_eq!(transport.read_config::<4>(0), Some([0, 1, 2, 3]), "MSI-X enabled: {enabled}");
        assert_eq!(ready.set_config_vector(Some(0)).is_ok(), enabled);
    }
    device.assert_no_violations();
}

#[test]
fn messages_without_vector_registers_are_not_believed() {
    let (_ram, device) = power_on(without_msix());
    device.lie(Lie::BarLength(legacy::BYTES.into()));
    let transport = open(&device).expect("20 bytes are all registers");
    let ready = ready(&transport).expect("a legacy device cannot refuse");

    transport.set_messages_in_use(true);

    assert_eq!(error(ready.set_config_vector(Some(0))), TransportError::VectorRefused { vector: 0 });
    assert_eq!((transport.config_length(), transport.read_config::<1>(0)), (0, None));
    device.assert_no_violations();
}

#[test]
fn a_queue_of_another_size_is_refused() {
    let (ram, device) = power_on(options());
    let transport = open(&device).expect("the registers are there");
    let ready = ready(&transport).expect("a legacy device cannot refuse");
    let start = RawRing::new(&ram).areas.descriptor_area;

    for size in [0, SIZE / 2, 2 * SIZE] {
        let expected = TransportError::QueueSize { queue: 0, size, offered: SIZE };
        assert_eq!(error(ready.enable_queue(0, size, &legacy_areas(start, size), None)), expected);
    }
    let nowhere = legacy_areas(start, SIZE);
    assert_eq!(error(ready.enable_queue(3, SIZE, &nowhere, None)), TransportError::NoQueue { queue: 3 });
    device.assert_no_violations();
}

#[test]
fn areas_that_lie_otherwise_are_refused() {
    let (ram, device) = power_on(options());
    let transport = open(&device).expect("the registers are there");
    let ready = ready(&transport).expect("a legacy device cannot refuse");
    let good = RawRing::new(&ram).areas;

    let layout = TransportError::LegacyLayout { queue: 0 };
    let address = TransportError::LegacyAddress { queue: 0 };
    let table = [
        (legacy_areas(good.descriptor_area + 64, SIZE), layout),
        (QueueAreas { driver_area: good.driver_area + 2, ..good }, layout),
        (QueueAreas { device_area: good.device_area + 4096, ..good }, layout),
        // The used ring right behind the available one, as a modern device would have it.
        (QueueAreas { device_area: good.driver_area + 24, ..good }, layout),
        (legacy_areas(1 << 44, SIZE), address),
        (QueueAreas { descriptor_area: u64::MAX, ..good }, address),
    ];
    for (areas, expected) in table {
        assert_eq!(error(ready.enable_queue(0, SIZE, &areas, None)), expected, "{areas:?}");
        assert_eq!(device.enabled_queue(0), None);
    }
    device.assert_no_violations();
}

#[test]
fn the_last_page_that_32_bits_name_is_allowed() {
    let (_ram, device) = power_on(options());
    let transport = open(&device).expect("the registers are there");
    let ready = ready(&transport).expect("a legacy device cannot refuse");

    let areas = legacy_areas((1 << 44) - 4096, SIZE);
    ready.enable_queue(0, SIZE, &areas, None).expect("the transport does not know the memory");

    assert_eq!(device.violations(), [Violation::QueueAddress { queue: 0 }]);
}

#[test]
fn a_vector_that_is_not_taken_is_an_error() {
    let (ram, device) = power_on(options());
    let transport = open(&device).expect("the registers are there");
    let ready = ready(&transport).expect("a legacy device cannot refuse");
    let areas = RawRing::new(&ram).areas;
    device.lie(Lie::VectorRefused);

    assert_eq!(error(ready.set_config_vector(Some(0))), TransportError::VectorRefused { vector: 0 });
    let result = ready.enable_queue(0, SIZE, &areas, Some(1));
    assert_eq!(error(result), TransportError::VectorRefused { vector: 1 });
    assert_eq!(device.enabled_queue(0), None);
}

#[test]
fn a_configuration_that_never_settles_is_given_up() {
    let (_ram, device) = power_on(options());
    let transport = open(&device).expect("the registers are there");
    let _ready = ready(&transport).expect("a legacy device cannot refuse");
    device.lie(Lie::ConfigNeverSettles);

    assert_eq!(transport.read_config::<8>(0), None);
    assert_eq!(transport.read_config::<1>(0), None);
}

#[test]
fn resets_are_awaited_and_given_up() {
    let (_ram, device) = power_on(options());
    let transport = open(&device).expect("the registers are there");
    ready(&transport).expect("a legacy device cannot refuse").driver_ok();
    device.set_slow_reset(10);
    let mut stalls = 0;
    transport.reset(&mut || stalls += 1).map(drop).expect("the device is slow, not broken");
    assert_eq!(stalls, 10);
    device.assert_no_violations();

    device.lie(Lie::ResetNeverEnds);
    let mut stalls = 0;
    let result = transport.reset(&mut || stalls += 1).map(drop);

    assert!(matches!(error(result), TransportError::ResetTimedOut { status } if status != 0));
    assert_eq!(stalls, RESET_POLLS);
}

#[test]
fn registers_too_short_are_refused() {
    for (options, bytes) in [(options(), 23), (without_msix(), 19), (without_msix(), 0)] {
        let (_ram, device) = power_on(options);
        device.lie(Lie::BarLength(bytes));

        assert_eq!(error(open(&device)), TransportError::LegacyTooShort { bytes: bytes as u8 });
    }
    let (_ram, device) = power_on(options());
    let nothing = Device::<FakeBar<Echo>>::open(&device.config_space(), |_| None);
    assert_eq!(error(nothing), TransportError::NotMapped { bar: 0 });
}

#[test]
fn a_driver_that_gives_up_says_so() {
    let (_ram, device) = power_on(options());
    let transport = open(&device).expect("the registers are there");
    let _acknowledged = transport.reset(&mut || ()).expect("the device can be reset");

    transport.fail();

    assert!(device.status().contains(DeviceStatus::FAILED | DeviceStatus::DRIVER));
    device.assert_no_violations();
}

/// Counts the accesses of a whole start.
fn accesses(options: Options) -> u32 {
    let (ram, device) = power_on(options);
    let left = Cell::new(u32::MAX);
    drive_dying(&ram, &device, &left).expect("the device is whole");
    u32::MAX - left.get()
}

fn drive_dying(ram: &Ram, device: &FakeDevice<Echo>, left: &Cell<u32>) -> Result<(), TransportError> {
    let transport =
        Device::open(&device.config_space(), |bar| device.bar(bar).map(|bar| Dying { bar, left }))?;
    drive(&transport, &RawRing::new(ram).areas)
}

#[test]
fn a_device_that_goes_away_at_any_access_is_an_error() {
    let modern = Options {
        features: Features::VERSION_1 | Features::RING_RESET | Features::NOTIF_CONFIG_DATA,
        ..Options::default()
    };
    for options in [options(), modern] {
        let all = accesses(options);
        assert!(all > 20, "the start takes {all} accesses");
        for alive in 0..all {
            let (ram, device) = power_on(options);

            let result = drive_dying(&ram, &device, &Cell::new(alive));

            assert!(result.is_err(), "gone after {alive} of {all} accesses");
        }
    }
}

#[test]
fn a_device_that_is_gone_has_no_features_and_no_queues() {
    let (_ram, device) = power_on(options());
    let transport = open(&device).expect("the registers are there");
    let acknowledged = transport.reset(&mut || ()).expect("the device can be reset");
    device.remove();
    let result = acknowledged.negotiate(Features::all());
    assert_eq!(error(result), TransportError::Removed);

    let (_ram, device) = power_on(options());
    let transport = open(&device).expect("the registers are there");
    let ready = ready(&transport).expect("a legacy device cannot refuse");
    device.remove();
    assert_eq!(ready.queue_count(), 0);
    assert!(transport.status().is_removed());
    let isr = transport.isr_status();
    assert!(!isr.queue() && !isr.configuration(), "a device that is gone does not interrupt");
}

#[test]
fn queues_of_any_size_are_counted_to_an_end() {
    let (_ram, device) = power_on(options());
    let transport = open(&device).expect("the registers are there");
    let ready = ready(&transport).expect("a legacy device cannot refuse");

    for size in [1, 100, 0x8000] {
        device.be_honest();
        device.lie(Lie::QueueSize(size));
        assert_eq!(ready.queue_count(), 3, "queues of {size}");
    }
    device.assert_no_violations();
}

#[test]
fn registers_that_read_anything_end_the_start_somehow() {
    for seed in 0..if cfg!(miri) { 4 } else { 300 } {
        for options in [options(), without_msix(), Options::default()] {
            let (ram, device) = power_on(options);
            let transport = Device::open(&device.config_space(), |bar| {
                let length = device.bar(bar)?.length();
                Some(Noise { state: Cell::new(seed << 8), length })
            })
            .expect("configuration space does not lie");

            // Whether it works out is chance; it ends, and stays inside the registers.
            let _ = (drive(&transport, &RawRing::new(&ram).areas), transport.isr_status());
        }
    }
}

/// The judge is judged: a driver that does what a legacy device does not expect is caught.
#[test]
fn the_fake_notices_what_a_legacy_driver_must_not_do() {
    type Mistake = fn(&FakeBar<Echo>, u32);
    fn to_driver(bar: &FakeBar<Echo>) {
        bar.write8(legacy::DEVICE_STATUS, 1);
        bar.write8(legacy::DEVICE_STATUS, 3);
    }
    let cases: [(&str, Mistake); 14] = [
        ("FEATURES_OK", |bar, _| {
            to_driver(bar);
            bar.write8(legacy::DEVICE_STATUS, 11);
        }),
        ("DRIVER before ACKNOWLEDGE", |bar, _| bar.write8(legacy::DEVICE_STATUS, 2)),
        ("DRIVER_OK before DRIVER", |bar, _| {
            bar.write8(legacy::DEVICE_STATUS, 1);
            bar.write8(legacy::DEVICE_STATUS, 5);
        }),
        ("two steps at once", |bar, _| bar.write8(legacy::DEVICE_STATUS, 3)),
        ("a status bit cleared", |bar, _| {
            to_driver(bar);
            bar.write8(legacy::DEVICE_STATUS, 2);
        }),
        ("a register in another width", |bar, _| _ = bar.read32(legacy::QUEUE_SIZE)),
        ("a write to a register that is read-only", |bar, _| bar.write16(legacy::QUEUE_SIZE, 8)),
        ("features before DRIVER", |bar, _| _ = bar.read32(legacy::DEVICE_FEATURES)),
        ("features that are not offered", |bar, _| {
            to_driver(bar);
            bar.write32(legacy::DRIVER_FEATURES, u32::MAX);
        }),
        ("the configuration before DRIVER", |bar, _| _ = bar.read32(legacy::BYTES_WITH_MSIX)),
        ("a queue after DRIVER_OK", |bar, page| {
            to_driver(bar);
            bar.write8(legacy::DEVICE_STATUS, 7);
            bar.write32(legacy::QUEUE_ADDRESS, page);
        }),
        ("a queue that is set up moved", |bar, page| {
            to_driver(bar);
            bar.write32(legacy::QUEUE_ADDRESS, page);
            bar.write32(legacy::QUEUE_ADDRESS, page);
        }),
        ("a notification before DRIVER_OK", |bar, page| {
            to_driver(bar);
            bar.write32(legacy::QUEUE_ADDRESS, page);
            bar.write16(legacy::QUEUE_NOTIFY, 0);
        }),
        ("a vector that is not read back", |bar, _| {
            to_driver(bar);
            bar.write16(legacy::CONFIG_MSIX_VECTOR, 0);
            bar.write8(legacy::DEVICE_STATUS, 7);
        }),
    ];
    for (mistake, make) in cases {
        let (ram, device) = power_on(options());
        let page = RawRing::new(&ram).areas.descriptor_area / legacy::PAGE_BYTES;
        let bar = device.bar(0).expect("all registers are there");

        make(&bar, page as u32);

        assert!(!device.violations().is_empty(), "{mistake} went unnoticed");
    }
}

#[test]
fn the_fake_notices_vector_registers_without_msix() {
    let (_ram, device) = power_on(without_msix());
    let bar = device.bar(0).expect("all registers are there");
    bar.write8(legacy::DEVICE_STATUS, 1);
    bar.write8(legacy::DEVICE_STATUS, 3);

    bar.write16(legacy::QUEUE_MSIX_VECTOR, 1);

    // It is the configuration that lies there.
    assert_eq!(device.violations(), [Violation::ConfigOutOfStep { offset: 2 }]);
}
