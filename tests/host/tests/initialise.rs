//! Finding and starting an adapter.

use adapter::Event;
use fake_device::disk::Disk;
use fake_device::hba::{Hba, Unit};
use fake_device::{FakeDevice, Lie, Model, Options};
use host_tests::cdb::synchronize_cache10;
use host_tests::{DiskBench, HbaBench, Machine, PortOf};
use storport::fake::SrbBuilder;
use storport::{Declined, Interrupts, Miniport, SrbStatus};
use virtio::spec::{DeviceStatus, Features};
use virtio::transport::TransportError;

const RUNNING: DeviceStatus = DeviceStatus::ACKNOWLEDGE
    .union(DeviceStatus::DRIVER)
    .union(DeviceStatus::FEATURES_OK)
    .union(DeviceStatus::DRIVER_OK);

fn assert_running<M: Model>(device: &FakeDevice<M>) {
    assert_eq!(device.status(), RUNNING);
    device.assert_no_violations();
}

#[test]
fn viostor_starts_a_disk_by_the_rules() {
    let bench = DiskBench::with_disk(Disk::new(1024));

    assert_running(&bench.device);
    assert_eq!(bench.device.enabled_queue(0), Some((256, 1)));
    assert_eq!(bench.device.config_vector(), 0);
}

#[test]
fn vioscsi_starts_a_host_bus_adapter_by_the_rules() {
    let bench = HbaBench::with_hba(Hba::default().with(0, 0, Unit::disk(64, 512)));

    assert_running(&bench.device);
    assert_eq!(bench.device.enabled_queue(2), Some((256, 1)));
    assert_eq!(bench.device.config_vector(), 0);
}

#[test]
fn the_disk_limits_what_the_port_driver_sends() {
    let mut disk = Disk::new(1024);
    disk.seg_max = Some(62);
    disk.size_max = Some(131_072);

    let bench = DiskBench::with_disk(disk);

    let configuration = bench.configuration;
    assert_eq!((configuration.targets, configuration.logical_units), (1, 1));
    assert_eq!((configuration.max_segments, configuration.max_transfer_bytes), (62, 131_072));
    assert!(configuration.caches_data);
}

#[test]
fn the_host_bus_adapter_limits_what_the_port_driver_sends() {
    let mut hba = Hba::default();
    (hba.seg_max, hba.max_sectors, hba.cmd_per_lun) = (126, 256, 32);
    (hba.max_target, hba.max_lun) = (3, 7);

    let bench = HbaBench::with_hba(hba);

    let configuration = bench.configuration;
    assert_eq!((configuration.targets, configuration.logical_units), (4, 8));
    assert_eq!((configuration.max_segments, configuration.max_transfer_bytes), (126, 256 * 512));
    assert_eq!(configuration.max_requests_per_lun, 32);
    assert!(!configuration.caches_data);
}

#[test]
fn a_unit_gets_as_many_commands_as_the_device_says_of_what_the_adapter_has_and_one_at_least() {
    for (cmd_per_lun, commands) in
        [(0, 1), (1, 1), (2, 2), (128, 128), (256, 256), (257, 256), (u32::MAX, 256)]
    {
        let mut hba = Hba::default();
        hba.cmd_per_lun = cmd_per_lun;

        let bench = HbaBench::with_hba(hba);

        let told = (bench.configuration.max_requests_per_lun, bench.configuration.max_requests);
        assert_eq!(told, (commands, 256), "{cmd_per_lun}");
    }
}

#[test]
fn a_queue_larger_than_needed_is_used_in_part() {
    let options = Options { queue_size: 1024, ..Options::default() };

    let bench = DiskBench::running(Disk::new(64), options);

    assert_eq!(bench.device.enabled_queue(0), Some((256, 1)));
    bench.device.assert_no_violations();
}

#[test]
fn a_small_queue_is_used_whole() {
    let options = Options { queue_size: 8, ..Options::default() };

    let bench = DiskBench::running(Disk::new(64), options);

    assert_eq!(bench.device.enabled_queue(0), Some((8, 1)));
    assert_eq!((bench.configuration.max_requests, bench.configuration.max_segments), (8, 6));
    bench.device.assert_no_violations();
}

#[test]
fn features_the_driver_has_no_use_for_are_left_alone() {
    let mut disk = Disk::new(64);
    disk.other_features = Features::from_bits_retain(1 << 12 | 1 << 35 | 1 << 40);

    let bench = DiskBench::with_disk(disk);

    let used = Features::VERSION_1
        | Features::RING_INDIRECT_DESC
        | Features::RING_EVENT_IDX
        | Features::BLK_BLK_SIZE
        | Features::BLK_SEG_MAX
        | Features::BLK_FLUSH;
    assert_eq!(bench.device.accepted(), used);
    bench.device.assert_no_violations();
}

#[test]
fn addresses_of_the_platforms_dma_are_accepted() {
    let mut disk = Disk::new(64);
    disk.other_features = Features::ACCESS_PLATFORM;

    let bench = DiskBench::with_disk(disk);

    assert!(bench.device.accepted().contains(Features::ACCESS_PLATFORM));
}

#[test]
fn queues_that_share_a_notification_address_are_told_apart_by_its_value() {
    let options = Options { notify_multiplier: 0, ..Options::default() };
    let bench = HbaBench::running(Hba::default().with(0, 0, Unit::disk(8, 512)), options);

    bench.execute(SrbBuilder::execute(&[0; 6]));

    assert_eq!(bench.device.notifications(2), 1);
    bench.device.assert_no_violations();
}

#[test]
fn a_legacy_ring_lies_on_a_page_of_memory_that_starts_anywhere() {
    let machine = Machine::new(Disk::new(64), Options { legacy: true, ..Options::default() });
    let mut resources = machine.resources();
    resources.allocate = Box::new(|bytes| {
        machine.ram.alloc(64, 4096);
        Some(machine.ram.alloc(bytes, 64))
    });

    let adapter = viostor::Adapter::<PortOf<Disk>>::find_adapter(&mut resources).map_err(|_| ());

    let started = adapter.map(|adapter| adapter.initialize(Interrupts::Messages(2)));
    assert_eq!(started, Ok(Ok(())));
    machine.device.assert_no_violations();
}

#[test]
fn a_machine_without_memory_is_declined() {
    let machine = Machine::new(Disk::new(64), Options::default());
    let mut resources = machine.resources();
    resources.allocate = Box::new(|_| None);

    let declined = viostor::Adapter::<PortOf<Disk>>::find_adapter(&mut resources).map(drop);

    assert_eq!(declined, Err(Event::NoMemory.into()));
}

#[test]
fn a_device_that_is_declined_is_told_so() {
    let machine = Machine::new(Disk::new(64), Options::default());
    machine.device.lie(Lie::ConfigLength(7));
    let device = machine.device.clone();

    let declined = viostor::Adapter::<PortOf<Disk>>::find_adapter(&mut machine.resources()).is_err();

    assert!(declined);
    assert!(device.status().contains(DeviceStatus::FAILED), "{:?}", device.status());
}

#[test]
fn a_function_without_registers_is_declined() {
    let machine = Machine::new(Disk::new(64), Options::default());
    let mut resources = machine.resources();
    resources.map_bar = Box::new(|_| None);

    let declined = viostor::Adapter::<PortOf<Disk>>::find_adapter(&mut resources).map(drop);

    let expected = Event::of_transport(TransportError::NotMapped { bar: 4 });
    assert_eq!(declined, Err(Declined(expected)));
}

#[test]
fn a_stopped_adapter_touches_nothing_until_it_is_restarted() {
    let bench = DiskBench::with_disk(Disk::new(64));

    bench.adapter.stop();

    assert!(!bench.device.status().contains(DeviceStatus::DRIVER_OK));
    let accesses = bench.device.register_accesses();
    bench.submit(SrbBuilder::execute(&synchronize_cache10()));
    assert_eq!(bench.device.register_accesses(), accesses);

    assert!(bench.adapter.restart());
    bench.settle();
    let completed = bench.port.take_completed();
    assert_eq!(completed.len(), 1);
    assert_eq!(completed[0].completion.status, SrbStatus::SUCCESS);
    assert_running(&bench.device);
}
