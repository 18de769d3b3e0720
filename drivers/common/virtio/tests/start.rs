//! From reset to DRIVER_OK on the fake device: the order of 3.1.1, and devices that do not keep to it.

use fake_device::disk::Disk;
use fake_device::{FakeBar, FakeDevice, Lie, Options, Ram, Violation};
use virtio::queue::QueueAreas;
use virtio::spec::blk::config;
use virtio::spec::pci::common;
use virtio::spec::{DeviceStatus, Features};
use virtio::transport::{Bar, Device, FeaturesOk, RESET_POLLS, TransportError};

const SECTORS: u64 = 0x1_0000_0001;

fn power_on(options: Options) -> (Ram, FakeDevice<Disk>) {
    let ram = Ram::new(1 << 16);
    let device = FakeDevice::new(Disk::new(SECTORS), &ram, options);
    (ram, device)
}

fn open(device: &FakeDevice<Disk>) -> Result<Device<FakeBar<Disk>>, TransportError> {
    Device::open(&device.config_space(), |bar| device.bar(bar))
}

fn ready(device: &Device<FakeBar<Disk>>) -> Result<FeaturesOk<'_, FakeBar<Disk>>, TransportError> {
    let acknowledged = device.reset(&mut || ())?;
    let offered = acknowledged.offered();
    acknowledged.negotiate(offered)
}

/// Places for the areas of a queue of 256 entries.
fn areas(ram: &Ram) -> QueueAreas {
    use virtio::memory::SharedMemory;
    let memory = ram.alloc(16 * 256 + 1024 + 4096, 64);
    let start = memory.device_address();
    QueueAreas { descriptor_area: start, driver_area: start + 4096, device_area: start + 4096 + 1024 }
}

fn error<T>(result: Result<T, TransportError>) -> TransportError {
    match result {
        Ok(_) => panic!("the device is not as it should be"),
        Err(error) => error,
    }
}

#[test]
fn a_device_is_started_in_the_order_of_the_specification() {
    let (ram, device) = power_on(Options::default());
    let transport = open(&device).expect("the device is whole");

    let ready = ready(&transport).expect("the device accepts its own features");
    assert_eq!((ready.queue_count(), ready.queue_size(0), ready.queue_size(9)), (1, 256, 0));
    ready.set_config_vector(Some(0)).expect("there is such a vector");
    ready.enable_queue(0, 64, &areas(&ram), Some(1)).expect("there is such a queue");
    let doorbell = ready.notifier(0).expect("the queue has a notification address");
    ready.driver_ok();
    transport.notify(&doorbell, 0);

    let all = DeviceStatus::ACKNOWLEDGE
        | DeviceStatus::DRIVER
        | DeviceStatus::FEATURES_OK
        | DeviceStatus::DRIVER_OK;
    assert_eq!(device.status(), all);
    assert_eq!(device.enabled_queue(0), Some((64, 1)));
    assert_eq!((device.config_vector(), device.notifications(0)), (0, 1));
    device.assert_no_violations();
}

#[test]
fn a_device_without_msix_is_started_without_vectors() {
    let (ram, device) = power_on(Options { vectors: 0, ..Options::default() });
    let transport = open(&device).expect("the device is whole");

    let ready = ready(&transport).expect("the device accepts its own features");
    ready.set_config_vector(None).expect("no vector is always there");
    ready.enable_queue(0, 256, &areas(&ram), None).expect("there is such a queue");
    ready.driver_ok();

    device.assert_no_violations();
}

#[test]
fn a_second_start_begins_at_the_beginning() {
    let (ram, device) = power_on(Options::default());
    let transport = open(&device).expect("the device is whole");
    let areas = areas(&ram);
    for _ in 0..2 {
        let ready = ready(&transport).expect("the device accepts its own features");
        ready.enable_queue(0, 256, &areas, Some(1)).expect("there is such a queue");
        ready.driver_ok();
    }

    assert_eq!(device.resets(), 2);
    device.assert_no_violations();
}

#[test]
fn only_offered_features_are_accepted() {
    let (_ram, device) = power_on(Options::default());
    let transport = open(&device).expect("the device is whole");
    let acknowledged = transport.reset(&mut || ()).expect("the device can be reset");

    let ready = acknowledged.negotiate(Features::all()).expect("the device accepts its own features");

    assert_eq!(ready.features(), device.accepted());
    assert!(ready.features().contains(Features::VERSION_1 | Features::RING_EVENT_IDX));
    assert!(!ready.features().contains(Features::ACCESS_PLATFORM));
    device.assert_no_violations();
}

#[test]
fn a_slow_reset_is_awaited() {
    let (_ram, device) = power_on(Options::default());
    let transport = open(&device).expect("the device is whole");
    ready(&transport).expect("the device accepts its own features").driver_ok();
    device.set_slow_reset(10);
    let mut stalls = 0;

    transport.reset(&mut || stalls += 1).map(drop).expect("the device is slow, not broken");

    assert_eq!(stalls, 10);
    device.assert_no_violations();
}

#[test]
fn a_reset_that_never_ends_is_given_up() {
    let (_ram, device) = power_on(Options::default());
    let transport = open(&device).expect("the device is whole");
    device.lie(Lie::ResetNeverEnds);
    let mut stalls = 0;

    let result = transport.reset(&mut || stalls += 1).map(drop);

    assert!(matches!(error(result), TransportError::ResetTimedOut { status } if status != 0));
    assert_eq!(stalls, RESET_POLLS);
}

#[test]
fn a_reset_that_was_given_up_is_gone_on_from_when_it_has_ended() {
    let (_ram, device) = power_on(Options::default());
    let transport = open(&device).expect("the device is whole");
    ready(&transport).expect("the device accepts its own features").driver_ok();
    device.set_slow_reset(RESET_POLLS + 2);
    error(transport.reset(&mut || ()).map(drop));
    let resets = device.resets();

    assert!(transport.after_reset().is_none());
    let acknowledged = transport.after_reset().expect("the reset has ended");

    acknowledged.negotiate(Features::all()).map(drop).expect("the device accepts its own features");
    assert_eq!(device.resets(), resets + 1);
    device.assert_no_violations();
}

#[test]
fn a_device_that_is_gone_is_told_from_one_that_hangs() {
    let (_ram, device) = power_on(Options::default());
    let transport = open(&device).expect("the device is whole");
    device.remove();
    let mut stalls = 0;

    let result = transport.reset(&mut || stalls += 1).map(drop);

    assert_eq!((error(result), stalls), (TransportError::Removed, 0));
    assert!(transport.status().is_removed());
    let isr = transport.isr_status();
    assert!(!isr.queue() && !isr.configuration(), "a device that is gone does not interrupt");
}

#[test]
fn a_device_gone_in_the_middle_of_the_start_is_an_error() {
    let (ram, device) = power_on(Options::default());
    let transport = open(&device).expect("the device is whole");
    let acknowledged = transport.reset(&mut || ()).expect("the device can be reset");
    let offered = acknowledged.offered();
    device.remove();
    assert_eq!(error(acknowledged.negotiate(offered)), TransportError::Removed);

    let (_ram, device) = power_on(Options::default());
    let transport = open(&device).expect("the device is whole");
    let ready = ready(&transport).expect("the device accepts its own features");
    device.remove();
    assert!(ready.enable_queue(0, 256, &areas(&ram), Some(1)).is_err());
    assert!(ready.notifier(0).is_err());
}

#[test]
fn devices_that_do_not_negotiate_are_errors() {
    for (lie, expected) in [
        (Lie::NoVersion1, TransportError::NoVersion1),
        (Lie::FeaturesRefused, TransportError::FeaturesRefused),
    ] {
        let (_ram, device) = power_on(Options::default());
        let transport = open(&device).expect("the device is whole");
        device.lie(lie);

        assert_eq!(error(ready(&transport)), expected);
    }
}

#[test]
fn a_vector_that_is_not_taken_is_an_error() {
    let (ram, device) = power_on(Options::default());
    let transport = open(&device).expect("the device is whole");
    let ready = ready(&transport).expect("the device accepts its own features");
    device.lie(Lie::VectorRefused);

    assert_eq!(error(ready.set_config_vector(Some(0))), TransportError::VectorRefused { vector: 0 });
    let result = ready.enable_queue(0, 256, &areas(&ram), Some(1));
    assert_eq!(error(result), TransportError::VectorRefused { vector: 1 });
    assert_eq!(device.enabled_queue(0), None);
}

#[test]
fn a_queue_is_not_made_larger_than_it_can_be() {
    let (ram, device) = power_on(Options::default());
    let transport = open(&device).expect("the device is whole");
    let ready = ready(&transport).expect("the device accepts its own features");
    let areas = areas(&ram);

    for size in [0, 512] {
        let expected = TransportError::QueueSize { queue: 0, size, offered: 256 };
        assert_eq!(error(ready.enable_queue(0, size, &areas, None)), expected);
    }
    assert_eq!(error(ready.enable_queue(1, 256, &areas, None)), TransportError::NoQueue { queue: 1 });
    device.assert_no_violations();
}

#[test]
fn a_doorbell_outside_the_notification_structure_is_refused() {
    let (_ram, device) = power_on(Options::default());
    let transport = open(&device).expect("the device is whole");
    let ready = ready(&transport).expect("the device accepts its own features");
    device.lie(Lie::NotifyOffset(u16::MAX));

    assert_eq!(error(ready.notifier(0)), TransportError::NotifyOutsideBar { queue: 0 });
}

#[test]
fn configuration_is_read_whole_and_not_past_its_end() {
    let (_ram, device) = power_on(Options::default());
    let transport = open(&device).expect("the device is whole");
    let _ready = ready(&transport).expect("the device accepts its own features");
    let length = transport.config_length() as usize;

    assert_eq!(transport.read_config::<8>(config::CAPACITY), Some(SECTORS.to_le_bytes()));
    assert_eq!(transport.read_config::<4>(config::BLK_SIZE), Some(512_u32.to_le_bytes()));
    assert_eq!(transport.read_config::<4>(length - 3), None);
    assert_eq!(transport.read_config::<1>(usize::MAX), None);
    device.assert_no_violations();
}

#[test]
fn a_configuration_that_never_settles_is_given_up() {
    let (_ram, device) = power_on(Options::default());
    let transport = open(&device).expect("the device is whole");
    let _ready = ready(&transport).expect("the device accepts its own features");
    device.lie(Lie::ConfigNeverSettles);

    assert_eq!(transport.read_config::<8>(config::CAPACITY), None);
}

#[test]
fn a_shorter_configuration_than_the_driver_knows_has_no_such_fields() {
    let (_ram, device) = power_on(Options::default());
    device.lie(Lie::ConfigLength(8));
    let transport = open(&device).expect("8 bytes are enough for the capacity");
    let _ready = ready(&transport).expect("the device accepts its own features");

    assert_eq!(transport.read_config::<8>(config::CAPACITY), Some(SECTORS.to_le_bytes()));
    assert_eq!(transport.read_config::<4>(config::SEG_MAX), None);
}

#[test]
fn capabilities_that_loop_are_followed_once_around() {
    let (_ram, device) = power_on(Options::default());
    device.lie(Lie::CapabilityLoop);

    assert!(open(&device).is_ok());
}

#[test]
fn registers_shorter_than_the_capabilities_say_are_refused() {
    let (_ram, device) = power_on(Options::default());
    device.lie(Lie::BarLength(0x20));

    assert!(matches!(error(open(&device)), TransportError::OutsideBar { .. }));
}

#[test]
fn a_driver_that_gives_up_says_so() {
    let (_ram, device) = power_on(Options::default());
    let transport = open(&device).expect("the device is whole");
    let _acknowledged = transport.reset(&mut || ()).expect("the device can be reset");

    transport.fail();

    assert!(device.status().contains(DeviceStatus::FAILED | DeviceStatus::DRIVER));
}

#[test]
fn a_device_that_needs_a_reset_says_so() {
    let (_ram, device) = power_on(Options::default());
    let transport = open(&device).expect("the device is whole");
    ready(&transport).expect("the device accepts its own features").driver_ok();

    assert!(!transport.status().needs_reset());
    device.need_reset();

    assert!(transport.status().needs_reset());
}

/// The judge is judged: a driver that breaks the order is caught.
#[test]
fn the_fake_notices_steps_out_of_order() {
    type Mistake = fn(&FakeBar<Disk>);
    let cases: [(&str, Mistake); 5] = [
        ("DRIVER before ACKNOWLEDGE", |bar| bar.write8(common::DEVICE_STATUS, 2)),
        ("two steps at once", |bar| bar.write8(common::DEVICE_STATUS, 3)),
        ("a queue before FEATURES_OK", |bar| {
            bar.write8(common::DEVICE_STATUS, 1);
            bar.write8(common::DEVICE_STATUS, 3);
            bar.write16(common::QUEUE_SIZE, 64);
        }),
        ("a status bit cleared", |bar| {
            bar.write8(common::DEVICE_STATUS, 1);
            bar.write8(common::DEVICE_STATUS, 3);
            bar.write8(common::DEVICE_STATUS, 2);
        }),
        ("a register in another width", |bar| bar.write8(common::QUEUE_SIZE, 64)),
    ];
    for (mistake, make) in cases {
        let (_ram, device) = power_on(Options::default());
        let bar = device.bar(4).expect("all structures are there");

        make(&bar);

        assert!(!device.violations().is_empty(), "{mistake} went unnoticed");
    }
}

#[test]
fn the_fake_notices_a_queue_without_memory() {
    let (_ram, device) = power_on(Options::default());
    let transport = open(&device).expect("the device is whole");
    let ready = ready(&transport).expect("the device accepts its own features");

    let nowhere = QueueAreas { descriptor_area: 0, driver_area: 0, device_area: 0 };
    ready.enable_queue(0, 256, &nowhere, None).expect("the transport does not know the memory");

    assert_eq!(device.violations(), [Violation::QueueAddress { queue: 0 }]);
    assert_eq!(device.enabled_queue(0), None);
}
