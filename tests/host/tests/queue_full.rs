//! More requests than the ring has room for: they wait, none is lost, none is refused as busy.

use fake_device::disk::Disk;
use fake_device::hba::{Hba, Unit};
use fake_device::{Options, Order};
use host_tests::cdb::{read10, write10};
use host_tests::{DiskBench, HbaBench, reading, writing};
use storport::fake::SrbBuilder;
use storport::{Miniport, SrbStatus};
use virtio::spec::Features;

fn small_ring(queue_size: u16) -> DiskBench {
    DiskBench::running(Disk::new(1024), Options { queue_size, ..Options::default() })
}

fn submit(bench: &DiskBench, tags: std::ops::Range<u64>) {
    for tag in tags {
        let buffer = bench.buffer(512);
        bench.submit(reading(&read10(tag as u32 % 1024, 1), &[buffer]).tagged(tag));
    }
}

fn completed_tags(bench: &DiskBench) -> Vec<u64> {
    let completed = bench.port.take_completed();
    assert!(completed.iter().all(|completed| completed.completion.status == SrbStatus::SUCCESS));
    completed.iter().map(|completed| completed.tag).collect()
}

#[test]
fn requests_past_the_rings_size_wait_and_complete_in_order() {
    let bench = small_ring(8);
    bench.device.hold();

    submit(&bench, 0..50);
    bench.settle();

    assert_eq!(bench.device.in_hand(), 8);
    assert_eq!(completed_tags(&bench), []);

    bench.device.release_all();
    bench.settle();
    assert!(completed_tags(&bench).into_iter().eq(0..50));
    bench.device.assert_no_violations();
}

#[test]
fn every_free_place_goes_to_the_request_that_has_waited_longest() {
    let bench = small_ring(4);
    bench.device.hold();
    submit(&bench, 0..10);
    bench.device.run();

    for round in 0..10 {
        assert_eq!(bench.device.release(1), 1);
        bench.deliver_interrupts();
        bench.device.run();

        assert_eq!(completed_tags(&bench), [round]);
        assert_eq!(bench.device.in_hand(), (9 - round as usize).min(4));
    }
    bench.device.assert_no_violations();
}

#[test]
fn a_request_does_not_overtake_those_that_wait() {
    let bench = small_ring(4);
    bench.device.hold();
    submit(&bench, 0..6);
    bench.device.run();
    bench.device.release(1);
    // There is a used buffer, so a place becomes free with the next drain; the request that comes now is not first.
    submit(&bench, 6..7);

    bench.device.release_all();
    bench.settle();

    assert!(completed_tags(&bench).into_iter().eq(0..7));
}

#[test]
fn a_notification_never_tells_an_older_position_than_the_one_before() {
    for packed in [Features::empty(), Features::RING_PACKED] {
        let features =
            Features::VERSION_1 | Features::RING_INDIRECT_DESC | Features::NOTIFICATION_DATA | packed;
        let options = Options { queue_size: 4, features, ..Options::default() };
        let bench: &'static DiskBench = Box::leak(Box::new(DiskBench::running(Disk::new(1024), options)));
        bench.device.hold();
        submit(bench, 0..6);
        bench.device.run();
        bench.device.release(3);
        // Two of the three places go to those that wait, and the third to one that StorPort starts when it is told of the
        // first completion: before the drain has rung the doorbell for the two.
        bench.port.at_next_completion(|| submit(bench, 6..7));

        bench.deliver_interrupts();

        bench.device.release_all();
        bench.settle();
        assert_eq!(completed_tags(bench).len(), 7);
        bench.device.assert_no_violations();
    }
}

#[test]
fn requests_that_come_back_out_of_order_free_their_own_places() {
    let bench = small_ring(8);
    bench.device.set_order(Order::Reversed);
    bench.device.hold();
    submit(&bench, 0..40);
    bench.device.run();

    bench.device.release_all();
    bench.settle();

    let mut tags = completed_tags(&bench);
    assert_eq!(tags[..8], [7, 6, 5, 4, 3, 2, 1, 0]);
    tags.sort_unstable();
    assert!(tags.into_iter().eq(0..40));
    bench.device.assert_no_violations();
}

#[test]
fn long_requests_past_the_large_tables_take_descriptors_of_the_ring_and_then_wait() {
    // Each of 64 takes a table and one of the 256 descriptors, the others take ten each.
    const TAKEN: usize = 64 + (256 - 64) / 10;
    let bench = DiskBench::with_disk(Disk::new(1024));
    bench.device.hold();
    let pieces: Vec<_> = (0..8).map(|_| bench.buffer(512)).collect();

    for tag in 0..100 {
        bench.submit(writing(&write10(0, 8), &pieces).tagged(tag));
    }
    bench.settle();

    assert_eq!(bench.device.in_hand(), TAKEN);
    bench.device.release_all();
    bench.settle();
    assert!(completed_tags(&bench).into_iter().eq(0..100));
    bench.device.assert_no_violations();
}

#[test]
fn a_short_request_behind_a_long_one_that_waits_is_not_lost() {
    let bench = DiskBench::with_disk(Disk::new(1024));
    bench.device.hold();
    let pieces: Vec<_> = (0..8).map(|_| bench.buffer(512)).collect();
    for tag in 0..84 {
        bench.submit(writing(&write10(0, 8), &pieces).tagged(tag));
    }
    submit(&bench, 84..90);

    bench.device.release_all();
    bench.settle();

    assert!(completed_tags(&bench).into_iter().eq(0..90));
}

#[test]
fn the_smallest_usable_ring_works() {
    let bench = small_ring(4);

    submit(&bench, 0..1000);
    bench.settle();

    assert!(completed_tags(&bench).into_iter().eq(0..1000));
    bench.device.assert_no_violations();
}

#[test]
fn waiting_requests_come_back_when_the_device_is_removed() {
    let bench = small_ring(4);
    submit(&bench, 0..10);

    let completed = bench.unplug();

    let mut tags: Vec<u64> = completed.iter().map(|completed| completed.tag).collect();
    tags.sort_unstable();
    assert!(tags.into_iter().eq(0..10));
    assert!(completed.iter().all(|completed| completed.completion.status == SrbStatus::NO_DEVICE));
}

#[test]
fn waiting_requests_come_back_with_a_reset() {
    let bench = small_ring(4);
    bench.device.hold();
    submit(&bench, 0..10);

    assert!(bench.adapter.reset_bus());

    let completed = bench.port.take_completed();
    assert_eq!(completed.len(), 10);
    assert!(completed.iter().all(|completed| completed.completion.status == SrbStatus::BUS_RESET));
    bench.device.assert_no_violations();
}

#[test]
fn commands_for_many_units_share_the_ring() {
    let mut hba = Hba::default();
    for lun in 0..4 {
        hba = hba.with(0, lun, Unit::disk(8, 512));
    }
    let bench = HbaBench::running(hba, Options { queue_size: 4, ..Options::default() });

    for tag in 0..100_u64 {
        let buffer = bench.buffer(512);
        bench.submit(reading(&read10(0, 1), &[buffer]).to(0, 0, tag as u8 % 4).tagged(tag));
    }
    bench.submit(SrbBuilder::execute(&[0; 6]).tagged(100));
    bench.settle();

    let tags: Vec<u64> = bench.port.take_completed().iter().map(|completed| completed.tag).collect();
    assert!(tags.into_iter().eq(0..101));
    bench.device.assert_no_violations();
}
