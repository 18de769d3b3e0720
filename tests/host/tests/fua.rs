//! Writes with FUA: a write, and when that is done a flush.

use fake_device::disk::Disk;
use host_tests::cdb::{read10, write10};
use host_tests::{DiskBench, pattern, reading, writing};
use storport::fake::SrbBuilder;
use storport::{Miniport, SrbStatus};
use virtio::spec::blk::{RequestType, Status};

fn write_through(block: u32, blocks: u16) -> [u8; 10] {
    let mut cdb = write10(block, blocks);
    cdb[1] = 0x08;
    cdb
}

fn log(bench: &DiskBench) -> Vec<RequestType> {
    bench.device.model(|disk| disk.log().iter().map(|entry| entry.kind).collect())
}

fn sense(completed: &storport::fake::Completed) -> (u8, u8, u8) {
    (completed.sense[2], completed.sense[12], completed.sense[13])
}

#[test]
fn a_write_with_fua_is_durable_when_it_ends() {
    let bench = DiskBench::with_disk(Disk::new(64));
    let content = pattern(1, 1024);
    let buffer = bench.filled(&content);

    let written = bench.execute(writing(&write_through(3, 2), &[buffer]));

    assert_eq!((written.completion.status, written.completion.transferred), (SrbStatus::SUCCESS, 1024));
    assert_eq!(log(&bench), [RequestType::OUT, RequestType::FLUSH]);
    assert_eq!(bench.device.model(|disk| disk.volatile_sectors()), []);
    assert_eq!(bench.sectors(3, 2), content);
    bench.device.assert_no_violations();
}

#[test]
fn the_flush_of_a_write_with_fua_is_not_sent_before_the_write_is_done() {
    let bench = DiskBench::with_disk(Disk::new(64));
    let buffer = bench.buffer(512);
    bench.device.hold();

    bench.submit(writing(&write_through(0, 1), &[buffer]));
    bench.settle();
    assert_eq!(bench.device.in_hand(), 1, "the write alone is with the device");
    bench.device.release(1);
    bench.settle();
    assert_eq!(bench.device.in_hand(), 1, "now the flush is");
    assert_eq!((log(&bench), bench.port.take_completed()), (vec![RequestType::OUT], vec![]));
    bench.device.release_all();
    bench.settle();

    assert_eq!(log(&bench), [RequestType::OUT, RequestType::FLUSH]);
    assert_eq!(bench.port.take_completed().len(), 1);
}

#[test]
fn a_write_with_fua_that_failed_keeps_its_error_and_is_not_flushed() {
    let bench = DiskBench::with_disk(Disk::new(64));
    bench.device.model(|disk| disk.set_bad_sector(4, Some(Status::IOERR)));
    let buffer = bench.buffer(1024);

    let written = bench.execute(writing(&write_through(3, 2), &[buffer]));

    assert_eq!((written.completion.srb_status_byte(), written.completion.transferred), (0x84, 0));
    assert_eq!(sense(&written), (0x03, 0x0c, 0x00));
    assert_eq!(log(&bench), [RequestType::OUT]);
}

#[test]
fn a_write_with_fua_whose_flush_failed_is_a_failed_write() {
    let bench = DiskBench::with_disk(Disk::new(64));
    bench.device.model(|disk| disk.set_bad_flush(Some(Status::IOERR)));
    let buffer = bench.buffer(512);

    let written = bench.execute(writing(&write_through(0, 1), &[buffer]));

    assert_eq!((written.completion.srb_status_byte(), written.completion.transferred), (0x84, 0));
    assert_eq!(sense(&written), (0x03, 0x0c, 0x00));
}

#[test]
fn a_write_with_fua_needs_no_flush_without_a_volatile_cache() {
    let mut disk = Disk::new(64);
    disk.flush = false;
    let bench = DiskBench::with_disk(disk);
    let buffer = bench.buffer(512);

    let written = bench.execute(writing(&write_through(0, 1), &[buffer]));

    assert_eq!(written.completion.status, SrbStatus::SUCCESS);
    assert_eq!(log(&bench), [RequestType::OUT]);
    bench.device.assert_no_violations();
}

#[test]
fn a_read_with_fua_is_a_read() {
    let bench = DiskBench::with_disk(Disk::new(64));
    let buffer = bench.buffer(512);
    let mut cdb = read10(0, 1);
    cdb[1] = 0x18;

    let read = bench.execute(reading(&cdb, &[buffer]));

    assert_eq!(read.completion.status, SrbStatus::SUCCESS);
    assert_eq!(log(&bench), [RequestType::IN]);
}

#[test]
fn a_reset_between_write_and_flush_ends_the_request_once() {
    let bench = DiskBench::with_disk(Disk::new(64));
    let buffer = bench.buffer(512);
    bench.device.hold();
    bench.submit(writing(&write_through(0, 1), &[buffer]));
    bench.settle();
    bench.device.release(1);
    bench.settle();
    assert_eq!(bench.device.in_hand(), 1, "the flush is with the device");

    assert!(bench.adapter.reset_bus());

    let completed = bench.port.take_completed();
    assert_eq!(completed.len(), 1);
    assert_eq!(completed[0].completion.status, SrbStatus::BUS_RESET);
    bench.device.release_all();
    bench.settle();
    assert_eq!(bench.port.take_completed(), []);
    let again = bench.execute(SrbBuilder::execute(&[0, 0, 0, 0, 0, 0]));
    assert_eq!(again.completion.status, SrbStatus::SUCCESS);
}

#[test]
fn many_writes_with_fua_pass_through_a_small_ring() {
    let mut disk = Disk::new(64);
    disk.seg_max = Some(2);
    let options = fake_device::Options { queue_size: 4, ..fake_device::Options::default() };
    let bench = DiskBench::running(disk, options);
    let buffer = bench.buffer(512);

    for tag in 0..20 {
        bench.submit(writing(&write_through(tag as u32, 1), &[buffer]).tagged(tag));
    }
    bench.settle();

    let mut tags: Vec<u64> = bench.port.take_completed().iter().map(|completed| completed.tag).collect();
    tags.sort_unstable();
    assert_eq!(tags, (0..20).collect::<Vec<u64>>());
    assert_eq!(log(&bench).iter().filter(|kind| **kind == RequestType::FLUSH).count(), 20);
    assert_eq!(bench.device.model(|disk| disk.volatile_sectors()), []);
    bench.device.assert_no_violations();
}
