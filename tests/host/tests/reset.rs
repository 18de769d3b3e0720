//! Resets: the device first, then the requests; and what happens when it does not come back.

use host_tests::cdb::{read10, write10};
use host_tests::{DiskBench, pattern, reading, writing};
use storport::fake::SrbBuilder;
use storport::port::LogPart;
use storport::{LogEvent, Miniport, PnpAction, SrbFunction, SrbStatus};
use virtio::fake::disk::Disk;
use virtio::fake::{Lie, Options};
use virtio::spec::DeviceStatus;

fn with_outstanding(count: u64) -> DiskBench {
    let bench = DiskBench::with_disk(Disk::new(64));
    bench.device.hold();
    for tag in 0..count {
        let buffer = bench.buffer(512);
        bench.submit(reading(&read10(0, 1), &[buffer]).tagged(tag));
    }
    bench.device.run();
    bench
}

fn assert_works(bench: &DiskBench) {
    bench.device.release_all();
    bench.settle();
    bench.port.take_completed();
    let content = pattern(9, 512);
    let buffer = bench.filled(&content);
    let completed = bench.execute(writing(&write10(1, 1), &[buffer]));
    assert_eq!(completed.completion.status, SrbStatus::SUCCESS);
    assert_eq!(bench.sectors(1, 1), content);
    bench.device.assert_no_violations();
}

fn statuses(bench: &DiskBench) -> Vec<SrbStatus> {
    bench.port.take_completed().iter().map(|completed| completed.completion.status).collect()
}

#[test]
fn outstanding_requests_end_with_a_bus_reset_and_the_disk_works_again() {
    let bench = with_outstanding(5);

    assert!(bench.adapter.reset_bus());

    assert_eq!(statuses(&bench), [SrbStatus::BUS_RESET; 5]);
    assert_eq!(bench.device.in_hand(), 0);
    assert_works(&bench);
}

#[test]
fn every_kind_of_reset_request_resets_the_device() {
    for function in [SrbFunction::ResetLogicalUnit, SrbFunction::ResetDevice, SrbFunction::ResetBus] {
        let bench = with_outstanding(1);

        bench.submit(SrbBuilder::function(function).tagged(99));

        let completed = bench.port.take_completed();
        let ends: Vec<_> = completed.iter().map(|one| (one.tag, one.completion.status)).collect();
        assert_eq!(ends, [(0, SrbStatus::BUS_RESET), (99, SrbStatus::SUCCESS)], "{function:?}");
        assert_works(&bench);
    }
}

#[test]
fn a_slow_reset_is_waited_for() {
    let bench = with_outstanding(1);
    bench.device.set_slow_reset(20);

    assert!(bench.adapter.reset_bus());

    assert!(bench.port.stalled_microseconds() >= 20_000);
    assert_eq!(statuses(&bench), [SrbStatus::BUS_RESET]);
    bench.device.set_slow_reset(0);
    assert_works(&bench);
}

#[test]
fn requests_stay_with_a_device_that_does_not_come_back_from_its_reset() {
    let bench = with_outstanding(3);
    bench.device.lie(Lie::ResetNeverEnds);

    assert!(!bench.adapter.reset_bus());

    // The device may still write to their memory, and does.
    assert_eq!(statuses(&bench), []);
    assert_eq!(bench.device.release(1), 1);
    let stalled = bench.port.stalled_microseconds();
    assert!((1_000_000..10_000_000).contains(&stalled), "bounded: {stalled} microseconds");
    let resets = bench.port.log_entries().iter().filter(|event| event.part == LogPart::Transport).count();
    assert_eq!(resets, 1);

    bench.device.be_honest();
    assert!(bench.adapter.reset_bus());
    assert_eq!(statuses(&bench), [SrbStatus::BUS_RESET; 3]);
    assert_works(&bench);
}

#[test]
fn requests_for_a_device_that_failed_its_reset_are_refused() {
    let bench = with_outstanding(1);
    bench.device.lie(Lie::ResetNeverEnds);
    assert!(!bench.adapter.reset_bus());
    let buffer = bench.buffer(512);

    bench.submit(reading(&read10(0, 1), &[buffer]).tagged(7));

    let completed = bench.port.take_completed();
    assert_eq!((completed[0].tag, completed[0].completion.status), (7, SrbStatus::NO_DEVICE));
    assert_eq!(bench.unplug().len(), 1);
}

#[test]
fn a_device_that_offers_less_after_a_reset_is_not_used() {
    let bench = with_outstanding(2);
    bench.device.lie(Lie::FeaturesWithdrawn(1 << 29));

    assert!(!bench.adapter.reset_bus());

    assert_eq!(statuses(&bench), [SrbStatus::BUS_RESET; 2]);
    assert!(!bench.device.status().contains(DeviceStatus::DRIVER_OK));
    bench.device.be_honest();
    assert!(bench.adapter.reset_bus());
    assert_works(&bench);
}

#[test]
fn a_device_that_asks_for_a_reset_gets_one() {
    for vectors in [0, 1, 2] {
        let bench = DiskBench::running(Disk::new(64), Options { vectors, ..Options::default() });
        let buffer = bench.buffer(512);
        bench.device.hold();
        bench.submit(reading(&read10(0, 1), &[buffer]));
        bench.device.run();

        bench.device.need_reset();
        bench.settle();

        assert_eq!(statuses(&bench), [SrbStatus::BUS_RESET], "{vectors} vectors");
        let reasons: Vec<LogEvent> = bench.port.log_entries();
        assert_eq!(reasons, [LogEvent { part: LogPart::Reset, number: 3 }]);
        assert_works(&bench);
    }
}

#[test]
fn a_stop_ends_every_access_and_a_restart_brings_the_disk_back() {
    let bench = DiskBench::with_disk(Disk::new(64));

    bench.adapter.stop();
    let accesses = bench.device.register_accesses();
    bench.port.run_dpcs(&bench.adapter);
    bench.adapter.dpc(storport::DpcKind::RequestQueue);
    assert_eq!(bench.device.register_accesses(), accesses);

    assert!(bench.adapter.restart());
    assert_works(&bench);
}

#[test]
fn a_restart_that_fails_can_be_tried_again_and_the_waiting_requests_go_on() {
    let bench = DiskBench::with_disk(Disk::new(64));
    bench.adapter.stop();
    let buffer = bench.buffer(512);
    bench.submit(reading(&read10(0, 1), &[buffer]));
    bench.device.lie(Lie::FeaturesRefused);
    assert!(!bench.adapter.restart());
    assert_eq!(statuses(&bench), []);

    bench.device.be_honest();
    assert!(bench.adapter.restart());

    bench.settle();
    assert_eq!(statuses(&bench), [SrbStatus::SUCCESS]);
    assert_works(&bench);
}

#[test]
fn after_a_surprise_removal_no_register_is_touched() {
    for by_request in [false, true] {
        let bench = with_outstanding(4);
        bench.device.remove();
        let accesses = bench.device.register_accesses();

        if by_request {
            bench.submit(SrbBuilder::function(SrbFunction::Pnp(PnpAction::SurpriseRemoval)).tagged(99));
        } else {
            bench.surprise_removal();
        }
        let completed = bench.port.take_completed();
        let lost = completed.iter().filter(|one| one.completion.status == SrbStatus::NO_DEVICE).count();
        assert_eq!(lost, 4);

        let buffer = bench.buffer(512);
        bench.submit(reading(&read10(0, 1), &[buffer]));
        assert_eq!(statuses(&bench), [SrbStatus::NO_DEVICE]);
        bench.submit(SrbBuilder::function(SrbFunction::ResetBus));
        assert_eq!(statuses(&bench), [SrbStatus::ERROR]);
        assert!(!bench.adapter.reset_bus());
        assert!(!bench.adapter.restart());
        bench.adapter.stop();
        bench.adapter.dpc(storport::DpcKind::RequestQueue);
        bench.adapter.dpc(storport::DpcKind::Configuration);
        bench.port.interrupt(&bench.adapter, Some(1));
        assert_eq!(bench.device.register_accesses(), accesses);
    }
}

#[test]
fn a_unit_that_goes_leaves_the_requests_of_the_adapter_alone() {
    let bench = with_outstanding(4);

    bench.submit(SrbBuilder::function(SrbFunction::Pnp(PnpAction::UnitGone)).tagged(99));

    let tags: Vec<u64> = bench.port.take_completed().iter().map(|one| one.tag).collect();
    assert_eq!(tags, [99]);
    assert_eq!(bench.unplug().len(), 4);
}

#[test]
fn after_a_surprise_removal_the_line_is_somebody_elses() {
    let bench = DiskBench::running(Disk::new(64), Options { vectors: 0, ..Options::default() });
    bench.device.remove();
    bench.surprise_removal();
    let accesses = bench.device.register_accesses();

    let ours = bench.port.interrupt(&bench.adapter, None);

    assert!(!ours);
    assert_eq!(bench.device.register_accesses(), accesses);
}

#[test]
fn a_device_found_gone_during_a_reset_gives_its_requests_back() {
    let bench = with_outstanding(3);
    bench.device.remove();

    assert!(!bench.adapter.reset_bus());

    assert_eq!(statuses(&bench), [SrbStatus::NO_DEVICE; 3]);
}
