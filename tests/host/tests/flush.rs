//! Flushes, and what they promise.

use fake_device::Order;
use fake_device::disk::Disk;
use host_tests::cdb::{synchronize_cache10, write10};
use host_tests::{DiskBench, writing};
use storport::fake::SrbBuilder;
use storport::{SrbFunction, SrbStatus};
use virtio::spec::blk::{RequestType, Status};

fn without_cache() -> Disk {
    let mut disk = Disk::new(64);
    disk.flush = false;
    disk
}

fn log(bench: &DiskBench) -> Vec<RequestType> {
    bench.device.model(|disk| disk.log().iter().map(|entry| entry.kind).collect())
}

#[test]
fn synchronize_cache_makes_completed_writes_durable() {
    let bench = DiskBench::with_disk(Disk::new(64));
    let buffer = bench.buffer(1024);
    bench.execute(writing(&write10(3, 2), &[buffer]));
    assert_eq!(bench.device.model(|disk| disk.volatile_sectors()), [3, 4]);

    let completed = bench.execute(SrbBuilder::execute(&synchronize_cache10()));

    assert_eq!(completed.completion.status, SrbStatus::SUCCESS);
    assert_eq!(bench.device.model(|disk| disk.volatile_sectors()), []);
    assert_eq!(log(&bench), [RequestType::OUT, RequestType::FLUSH]);
    bench.device.assert_no_violations();
}

#[test]
fn the_port_drivers_flush_and_shutdown_reach_the_device() {
    for function in [SrbFunction::Flush, SrbFunction::Shutdown] {
        let bench = DiskBench::with_disk(Disk::new(64));
        bench.device.trace();

        let completed = bench.execute(SrbBuilder::function(function));

        assert_eq!(completed.completion.status, SrbStatus::SUCCESS, "{function:?}");
        assert_eq!(bench.device.take_trace(), ["R 16 header / W 1 status"]);
        assert_eq!(log(&bench), [RequestType::FLUSH]);
        bench.device.assert_no_violations();
    }
}

#[test]
fn a_flush_is_not_complete_before_the_device_says_so() {
    let bench = DiskBench::with_disk(Disk::new(64));
    bench.device.hold();

    bench.submit(SrbBuilder::execute(&synchronize_cache10()));
    bench.settle();
    assert_eq!(bench.port.take_completed(), []);

    bench.device.release_all();
    bench.settle();
    assert_eq!(bench.port.take_completed().len(), 1);
}

#[test]
fn a_disk_without_a_volatile_cache_is_asked_for_no_flush() {
    let bench = DiskBench::with_disk(without_cache());

    let command = bench.execute(SrbBuilder::execute(&synchronize_cache10()));
    let function = bench.execute(SrbBuilder::function(SrbFunction::Flush));

    assert_eq!(command.completion.status, SrbStatus::SUCCESS);
    assert_eq!(function.completion.status, SrbStatus::SUCCESS);
    assert_eq!(log(&bench), []);
    assert!(!bench.configuration.caches_data);
    bench.device.assert_no_violations();
}

#[test]
fn a_flush_that_fails_is_a_write_error() {
    let bench = DiskBench::with_disk(Disk::new(64));
    bench.device.model(|disk| disk.set_bad_flush(Some(Status::IOERR)));

    let command = bench.execute(SrbBuilder::execute(&synchronize_cache10()));
    let function = bench.execute(SrbBuilder::function(SrbFunction::Flush));

    assert_eq!((command.sense[2], command.sense[12]), (0x03, 0x0c));
    assert_eq!(command.completion.srb_status_byte(), 0x84);
    assert_ne!(function.completion.status, SrbStatus::SUCCESS);
}

#[test]
fn a_write_completed_before_a_flush_was_sent_is_never_after_it_on_the_device() {
    // The device may do what it has at the same time in any order; what was completed before the flush came is done.
    let bench = DiskBench::with_disk(Disk::new(64));
    bench.device.set_order(Order::Reversed);
    let buffer = bench.buffer(512);
    for sector in 0..8 {
        bench.submit(writing(&write10(sector, 1), &[buffer]));
    }
    bench.settle();
    assert_eq!(bench.port.take_completed().len(), 8);

    bench.execute(SrbBuilder::execute(&synchronize_cache10()));

    assert_eq!(log(&bench).last(), Some(&RequestType::FLUSH));
    assert_eq!(bench.device.model(|disk| disk.volatile_sectors()), []);
}
