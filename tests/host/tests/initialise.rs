//! Finding and starting an adapter.

use host_tests::{DiskBench, HbaBench};
use virtio::fake::disk::Disk;
use virtio::fake::hba::{Hba, Unit};
use virtio::fake::{FakeDevice, Model};
use virtio::spec::DeviceStatus;

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
