//! Resets: the device first, then the requests; and what happens when it does not come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread;

use adapter::Event;
use fake_device::disk::Disk;
use fake_device::hba::{Hba, Unit};
use fake_device::{Lie, Options, Violation};
use host_tests::cdb::{read10, write10};
use host_tests::{DiskBench, HbaBench, Machine, pattern, reading, writing};
use storport::fake::SrbBuilder;
use storport::port::LogPart;
use storport::{DpcKind, LogEvent, Miniport, PnpAction, Port, SrbFunction, SrbStatus};
use virtio::memory::Segment;
use virtio::spec::{DeviceStatus, Features};

fn with_outstanding(count: u64) -> DiskBench {
    let bench = DiskBench::with_disk(Disk::new(64));
    bench.hold_reads(count);
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
fn a_reset_is_not_begun_in_start_io_where_storport_may_hold_its_lock() {
    for function in [SrbFunction::ResetBus, SrbFunction::ResetDevice, SrbFunction::ResetLogicalUnit] {
        let bench = with_outstanding(2);
        let resets = bench.device.resets();
        // A DPC that waits already: this one does not run before those that follow.
        bench.port.issue_dpc(DpcKind::Service);

        bench.submit(SrbBuilder::function(function).tagged(99));
        let in_start_io = bench.device.resets();
        bench.settle();

        assert_eq!((in_start_io, bench.device.resets()), (resets, resets + 1), "{function:?}");
        assert_works(&bench);
    }
}

/// nc-storport-hw_timer.md: HwStorTimer is called with the StartIo lock, which Storport holds around HwStorResetBus.
#[test]
fn no_timer_waits_for_the_lock_that_a_reset_of_the_bus_holds() {
    let hba = Hba::default().with(0, 0, Unit::disk(64, 512));
    let bench: &'static HbaBench = Box::leak(Box::new(HbaBench::with_hba(hba)));
    bench.device.hold();
    bench.submit(SrbBuilder::function(SrbFunction::ResetLogicalUnit).tagged(99));
    let before = bench.port.timer();
    let (told, hears) = channel();
    // What has run out by the time of the first write waits as long as that takes.
    bench.device.at_access(0, move || told.send(bench.port.timer()).expect("the test waits for it"));
    bench.device.set_slow_reset(3);

    bench.adapter.reset_bus();

    assert!(before.is_some(), "a function is waited for");
    assert_eq!(hears.try_recv(), Ok(None));
    assert!(bench.port.timer().is_some(), "the device is looked at again");
}

#[test]
fn a_slow_reset_that_a_request_asks_for_is_waited_for_without_keeping_the_processor() {
    let bench = with_outstanding(1);
    bench.device.set_slow_reset(20);
    let stalled = bench.port.stalled_microseconds();

    bench.submit(SrbBuilder::function(SrbFunction::ResetLogicalUnit).tagged(99));
    wait(&bench, 19);
    assert_eq!(statuses(&bench), [], "the device has them until it has ended its reset");
    wait(&bench, 1);

    assert_eq!(statuses(&bench), [SrbStatus::BUS_RESET, SrbStatus::SUCCESS]);
    assert_eq!(bench.port.stalled_microseconds(), stalled);
    assert_eq!(bench.port.bus_master_calls(), []);
    bench.device.set_slow_reset(0);
    assert_works(&bench);
}

#[test]
fn a_slow_reset_of_the_bus_gives_the_requests_back_at_once_and_comes_back_by_itself() {
    let bench = with_outstanding(1);
    bench.device.set_slow_reset(20);
    let stalled = bench.port.stalled_microseconds();

    assert!(bench.adapter.reset_bus());

    assert_eq!(statuses(&bench), [SrbStatus::BUS_RESET]);
    assert_eq!(bench.port.stalled_microseconds(), stalled);
    assert!(!bench.device.is_bus_master());
    bench.device.set_slow_reset(0);
    wait(&bench, 19);
    assert!(bench.device.is_bus_master());
    assert_works(&bench);
}

/// Ends the wait that the driver asked for, so many times.
fn wait(bench: &DiskBench, times: usize) {
    for _ in 0..times {
        let microseconds = bench.port.run_timer(&bench.adapter).expect("the driver looks again");
        assert!((10_000..=1_000_000).contains(&microseconds), "{microseconds}");
    }
}

/// What ends a request that waits for its device, at the end of its time.
const RESETS: [SrbStatus; 1] = [SrbStatus::BUS_RESET];

#[test]
fn requests_wait_for_a_device_whose_reset_takes_seconds_and_end_well_then() {
    let bench = with_outstanding(2);
    bench.device.set_slow_reset(31);

    assert!(bench.adapter.reset_bus());
    assert_eq!(statuses(&bench), [SrbStatus::BUS_RESET; 2]);
    bench.device.set_slow_reset(0);
    bench.device.release_all();
    // They come again at once, and a class driver would give up after the fourth time.
    let buffer = bench.buffer(512);
    for tag in 0..2 {
        bench.submit(reading(&read10(0, 1), &[buffer]).tagged(tag));
    }
    wait(&bench, 20);
    assert_eq!(statuses(&bench), []);
    wait(&bench, 10);
    bench.settle();

    assert_eq!(statuses(&bench), [SrbStatus::SUCCESS; 2]);
    assert_eq!(bench.port.run_timer(&bench.adapter), None, "nothing is left to look at");
    let back = LogEvent::from(Event::DeviceIsBack);
    let traces = bench.port.traces();
    assert_eq!(traces.last(), Some(&back), "{traces:?}");
    assert!(traces.len() < 6, "looking is not told: {traces:?}");
    let events = bench.port.log_entries();
    assert!(!events.contains(&back) && (1..4).contains(&events.len()), "{events:?}");
    assert_works(&bench);
}

#[test]
fn a_device_whose_resets_all_take_longer_than_they_are_waited_for_comes_back_from_each() {
    for options in [Options::default(), Options { legacy: true, ..Options::default() }] {
        let bench = DiskBench::running(Disk::new(64), options);
        bench.device.set_slow_reset(31);
        for _ in 0..2 {
            bench.hold_reads(2);
            let before = bench.device.resets();

            assert!(bench.adapter.reset_bus());
            assert_eq!(statuses(&bench), [SrbStatus::BUS_RESET; 2]);
            bench.device.release_all();
            let buffer = bench.buffer(512);
            bench.submit(reading(&read10(0, 1), &[buffer]));
            wait(&bench, 20);
            assert_eq!(statuses(&bench), []);
            wait(&bench, 10);
            bench.settle();

            assert_eq!(statuses(&bench), [SrbStatus::SUCCESS], "{options:?}");
            assert_eq!(bench.device.resets(), before + 1);
            assert_eq!(bench.port.run_timer(&bench.adapter), None, "nothing is left to look at");
        }
        assert_works(&bench);
    }
}

#[test]
fn a_device_that_missed_its_reset_is_told_again_after_some_seconds() {
    let bench = with_outstanding(1);
    bench.device.set_slow_reset(1_000_000);
    assert!(bench.adapter.reset_bus());
    // What the device makes of the next write.
    bench.device.set_slow_reset(0);
    wait(&bench, 99);
    assert!(!bench.device.status().is_empty());

    wait(&bench, 2);

    assert!(bench.device.status().contains(DeviceStatus::DRIVER_OK));
    assert_works(&bench);
}

#[test]
fn a_device_that_another_processor_brings_back_just_before_it_is_told_again_is_started_once_more() {
    let bench: &'static DiskBench = Box::leak(Box::new(with_outstanding(1)));
    bench.device.set_slow_reset(1_000_000);
    assert!(bench.adapter.reset_bus());
    wait(bench, 99);
    bench.device.set_slow_reset(0);
    // Between the look after which the device is told again and the write that tells it.
    bench.device.at_access(1, || _ = bench.adapter.restart());

    wait(bench, 1);

    // The write was too late, which is noticed: the device is started once more.
    assert!(bench.device.status().contains(DeviceStatus::DRIVER_OK));
    assert_works(bench);
}

#[test]
fn a_late_look_at_one_reset_ends_no_request_that_the_next_one_has_to_wait_for() {
    let bench: &'static DiskBench = Box::leak(Box::new(with_outstanding(1)));
    bench.device.set_slow_reset(3);
    bench.device.need_reset();
    bench.settle();
    assert_eq!(statuses(bench), []);
    // One processor has read that the reset has ended, and does not get on. Another one resets the bus and starts the device,
    // which gets requests, and has begun another reset when the first one goes on.
    bench.device.at_ended_reset(move || {
        bench.device.set_slow_reset(0);
        assert!(bench.adapter.reset_bus());
        assert_eq!(statuses(bench), [SrbStatus::BUS_RESET]);
        bench.hold_reads(2);
        bench.device.set_slow_reset(5);
        bench.submit(SrbBuilder::function(SrbFunction::ResetBus).tagged(99));
    });
    wait(bench, 3);

    assert!(!bench.device.status().is_empty() && bench.device.is_bus_master());
    assert_eq!(statuses(bench), [], "the device may still write to their memory");
    while bench.port.run_timer(&bench.adapter).is_some() {}
    let after = [SrbStatus::BUS_RESET, SrbStatus::BUS_RESET, SrbStatus::SUCCESS];
    assert_eq!(statuses(bench), after);
    bench.device.set_slow_reset(0);
    assert_works(bench);
}

#[test]
fn a_queue_that_was_busy_when_all_were_closed_works_after_the_restart() {
    let bench: &'static DiskBench = Box::leak(Box::new(DiskBench::with_disk(Disk::new(64))));
    let (blocked, is_blocked) = channel();
    let (release, released) = channel::<()>();
    // One processor looks at the configuration with the queue's lock held, and does not get on for a while.
    bench.device.at_access(1, move || {
        blocked.send(()).expect("the test waits for it");
        released.recv().expect("the test lets it go on");
    });
    let busy = thread::spawn(move || bench.adapter.dpc(DpcKind::Service));
    is_blocked.recv().expect("the other processor gets there");
    bench.adapter.stop();
    // It gets on when the restart has given up on the lock as well.
    bench.device.at_access(0, move || {
        release.send(()).expect("the other processor waits");
        busy.join().expect("it ends well");
    });

    assert!(bench.adapter.restart());

    let buffer = bench.buffer(512);
    let read = bench.execute(reading(&read10(0, 1), &[buffer]));
    assert_eq!(read.completion.status, SrbStatus::SUCCESS);
}

#[test]
fn a_restart_that_meets_a_start_on_its_way_waits_for_it() {
    let overtaken = |moment: u64| {
        let bench: &'static DiskBench = Box::leak(Box::new(DiskBench::with_disk(Disk::new(64))));
        bench.port.run_dpcs(&bench.adapter);
        let (reached, is_reached) = channel();
        let (go_on, may_go_on) = channel::<()>();
        bench.device.at_access(moment, move || {
            reached.send(()).expect("the test waits for it, or has ended");
            // The test may have ended.
            let _ = may_go_on.recv();
        });
        let reset = thread::spawn(move || bench.submit(SrbBuilder::function(SrbFunction::ResetBus)));
        let reached = loop {
            match is_reached.try_recv() {
                Ok(()) => break true,
                Err(_) if reset.is_finished() => break false,
                Err(_) => thread::yield_now(),
            }
        };
        // What comes behind the answer is no start any more.
        if !reached || !bench.port.take_completed().is_empty() {
            drop(go_on);
            reset.join().expect("it ends well");
            return false;
        }
        bench.adapter.stop();
        assert!(bench.adapter.restart(), "{moment}");
        go_on.send(()).expect("the other processor waits");
        reset.join().expect("it ends well");
        let buffer = bench.buffer(512);
        bench.submit(reading(&read10(0, 1), &[buffer]).tagged(7));
        for _ in 0..60 {
            bench.settle();
            bench.port.run_timer(&bench.adapter);
        }
        let ended: Vec<_> =
            bench.port.take_completed().iter().map(|one| (one.tag, one.completion.status)).collect();
        assert!(ended.contains(&(7, SrbStatus::SUCCESS)), "{moment}: {ended:?}");
        assert_eq!(ended.iter().filter(|(tag, _)| *tag == 0).count(), 1, "{moment}: {ended:?}");
        true
    };
    let moments = (0..).take_while(|moment| overtaken(*moment)).count();
    assert!(moments > 20, "{moments}");
}

#[test]
fn a_device_that_could_not_be_started_after_a_reset_is_tried_again() {
    let bench = with_outstanding(2);
    bench.device.lie(Lie::FeaturesRefused);
    assert!(!bench.adapter.reset_bus());
    assert_eq!(statuses(&bench), [SrbStatus::BUS_RESET; 2]);
    let buffer = bench.buffer(512);
    bench.submit(reading(&read10(0, 1), &[buffer]));
    wait(&bench, 5);
    let entries = bench.port.log_entries().len();
    wait(&bench, 5);
    assert_eq!(bench.port.log_entries().len(), entries);
    assert_eq!(statuses(&bench), []);

    bench.device.be_honest();
    wait(&bench, 1);
    bench.device.release_all();
    bench.settle();

    assert_eq!(statuses(&bench), [SrbStatus::SUCCESS]);
    assert_works(&bench);
}

#[test]
fn a_slow_start_or_restart_is_a_start_and_requests_wait_for_it() {
    for restart in [false, true] {
        let machine = Machine::new(Disk::new(64), Options::default());
        let bench: DiskBench = machine.find().expect("the driver takes the device");
        if restart {
            bench.start().expect("the device starts");
            bench.settle();
        }
        bench.device.set_slow_reset(35);

        if restart {
            bench.adapter.stop();
            assert!(bench.adapter.restart());
        } else {
            bench.start().expect("the adapter is there");
        }
        bench.device.set_slow_reset(0);
        let buffer = bench.buffer(512);
        bench.submit(reading(&read10(0, 1), &[buffer]));
        bench.settle();
        assert_eq!(statuses(&bench), []);
        let looks = (0..20).take_while(|_| bench.port.run_timer(&bench.adapter).is_some()).count();
        bench.settle();

        assert!((1..20).contains(&looks), "{looks} looks");
        assert_eq!(statuses(&bench), [SrbStatus::SUCCESS], "restart: {restart}");
        assert_works(&bench);
    }
}

#[test]
fn a_failed_device_that_is_gone_when_it_is_looked_at_gives_its_requests_back() {
    let bench = with_outstanding(1);
    bench.device.lie(Lie::ResetNeverEnds);
    assert!(bench.adapter.reset_bus());
    assert_eq!(statuses(&bench), RESETS);
    let buffer = bench.buffer(512);
    bench.submit(reading(&read10(0, 1), &[buffer]));
    bench.device.remove();

    wait(&bench, 1);

    assert_eq!(statuses(&bench), [SrbStatus::NO_DEVICE]);
    assert_eq!(bench.port.run_timer(&bench.adapter), None);
}

#[test]
fn a_look_at_a_failed_device_that_was_stopped_meanwhile_touches_nothing() {
    let bench = with_outstanding(1);
    bench.device.lie(Lie::ResetNeverEnds);
    assert!(bench.adapter.reset_bus());
    bench.adapter.stop();
    let accesses = bench.device.register_accesses();

    wait(&bench, 1);

    assert_eq!(bench.device.register_accesses(), accesses);
    assert_eq!(bench.port.run_timer(&bench.adapter), None);
}

/// Requests with a device that will not end the next reset; with what they read into and what is there.
fn with_endless_reset(count: u64) -> (DiskBench, Vec<(Segment, Vec<u8>)>) {
    let bench = DiskBench::with_disk(Disk::new(64));
    bench.device.hold();
    let buffers = (0..count)
        .map(|tag| {
            let content = pattern(tag + 1, 512);
            let buffer = bench.filled(&content);
            bench.submit(reading(&read10(0, 1), &[buffer]).tagged(tag));
            (buffer, content)
        })
        .collect();
    bench.device.run();
    bench.device.lie(Lie::ResetNeverEnds);
    (bench, buffers)
}

fn tags(bench: &DiskBench, status: SrbStatus) -> Vec<u64> {
    let completed = bench.port.take_completed();
    assert!(completed.iter().all(|one| one.completion.status == status), "{completed:?}");
    let mut tags: Vec<u64> = completed.iter().map(|one| one.tag).collect();
    tags.sort_unstable();
    tags
}

fn logged(bench: &DiskBench, event: Event) -> usize {
    // What happened at DIRQL is told a little later.
    bench.port.run_dpcs(&bench.adapter);
    let event = LogEvent::from(event);
    bench.port.log_entries().iter().filter(|logged| **logged == event).count()
}

#[test]
fn a_reset_that_ends_leaves_configuration_space_alone() {
    let bench = with_outstanding(3);

    assert!(bench.adapter.reset_bus());
    bench.adapter.stop();
    assert!(bench.adapter.restart());

    assert_eq!(bench.port.bus_master_calls(), []);
}

#[test]
fn requests_of_a_device_that_does_not_end_its_reset_end_once_and_the_device_reaches_no_memory_any_more() {
    for by_request in [None, Some(SrbFunction::ResetLogicalUnit), Some(SrbFunction::ResetDevice)] {
        let (bench, buffers) = with_endless_reset(3);
        let stalled = bench.port.stalled_microseconds();

        match by_request {
            None => assert!(bench.adapter.reset_bus()),
            Some(function) => {
                bench.submit(SrbBuilder::function(function).tagged(99));
                wait(&bench, 49);
                assert_eq!(statuses(&bench), [], "half a second is given to it");
                wait(&bench, 1);
            }
        }

        let completed = bench.port.take_completed();
        let ends: Vec<_> = completed.iter().map(|one| (one.tag, one.completion.status)).collect();
        let mut expected: Vec<_> = (0..3).map(|tag| (tag, SrbStatus::BUS_RESET)).collect();
        expected.extend(by_request.map(|_| (99, SrbStatus::SUCCESS)));
        assert_eq!(ends, expected, "{by_request:?}");
        assert_eq!(bench.port.stalled_microseconds(), stalled, "nothing is waited for");
        assert_eq!(logged(&bench, Event::BusMasterCleared), 1);
        let resets = bench.port.log_entries().iter().filter(|event| event.part == LogPart::Transport).count();
        assert_eq!(resets, 1);

        // What it would still write, had it memory.
        assert_eq!(bench.device.in_hand(), 3);
        assert_eq!(bench.device.release_all(), 0);
        assert_eq!(bench.device.take_interrupts(), []);
        for (buffer, content) in buffers {
            assert_eq!(bench.content(buffer), content);
        }
        bench.adapter.dpc(storport::DpcKind::RequestQueue(0));
        assert_eq!(statuses(&bench), []);
        bench.device.assert_no_violations();
    }
}

#[test]
fn the_next_reset_that_ends_brings_a_device_without_memory_back() {
    let (bench, _) = with_endless_reset(3);
    assert!(bench.adapter.reset_bus());
    assert!(bench.adapter.reset_bus());
    assert_eq!(tags(&bench, SrbStatus::BUS_RESET), [0, 1, 2]);

    bench.device.be_honest();
    assert!(bench.adapter.reset_bus());

    assert_eq!(bench.port.bus_master_calls(), [false, false, true]);
    assert!(bench.device.is_bus_master());
    assert_works(&bench);
    assert!(bench.adapter.reset_bus());
    assert_eq!(bench.port.bus_master_calls().len(), 3);
}

#[test]
fn requests_that_waited_for_the_ring_end_with_those_in_it() {
    let bench = DiskBench::running(Disk::new(64), Options { queue_size: 4, ..Options::default() });
    bench.hold_reads(10);
    bench.device.lie(Lie::ResetNeverEnds);

    assert!(bench.adapter.reset_bus());

    assert!(tags(&bench, SrbStatus::BUS_RESET).into_iter().eq(0..10));
    bench.device.be_honest();
    assert!(bench.adapter.reset_bus());
    assert_works(&bench);
}

#[test]
fn used_entries_from_before_the_device_lost_its_memory_are_not_believed_later() {
    let rings = [Features::empty(), Features::RING_PACKED];
    for ring in rings {
        let features = Features::VERSION_1 | Features::RING_INDIRECT_DESC | ring;
        let bench = DiskBench::running(Disk::new(64), Options { features, ..Options::default() });
        bench.hold_reads(3);
        bench.device.lie(Lie::ResetNeverEnds);
        // Answered, announced, and not looked at before the reset.
        assert_eq!(bench.device.release(2), 2);

        assert!(bench.adapter.reset_bus());
        bench.deliver_interrupts();

        assert_eq!(tags(&bench, SrbStatus::BUS_RESET), [0, 1, 2]);
        bench.device.be_honest();
        assert!(bench.adapter.reset_bus());
        bench.deliver_interrupts();
        assert_eq!(statuses(&bench), []);
        assert_works(&bench);
    }
}

#[test]
fn a_device_that_goes_while_it_is_kept_from_memory_gives_its_requests_back() {
    let (bench, _) = with_endless_reset(3);
    bench.device.lie(Lie::GoneWithBusMaster);

    assert!(!bench.adapter.reset_bus());

    assert_eq!(tags(&bench, SrbStatus::NO_DEVICE), [0, 1, 2]);
    assert!(!bench.adapter.reset_bus());
    assert_eq!(bench.port.bus_master_calls(), [false]);
}

#[test]
fn requests_stay_with_a_device_that_cannot_be_kept_from_memory_until_a_reset_ends() {
    // With configuration space gone and registers that answer, nobody knows which device it is.
    for lie in [Lie::BusMasterStuck, Lie::ConfigSpaceGone] {
        let (bench, _) = with_endless_reset(3);
        bench.device.lie(lie);

        assert!(!bench.adapter.reset_bus());

        // The device may still write to their memory, and does.
        assert_eq!(statuses(&bench), [], "{lie:?}");
        assert_eq!(bench.device.release(1), 1);
        assert_eq!(
            (logged(&bench, Event::BusMasterNotCleared), logged(&bench, Event::BusMasterCleared)),
            (1, 0)
        );

        bench.device.be_honest();
        assert!(bench.adapter.reset_bus());
        assert_eq!(tags(&bench, SrbStatus::BUS_RESET), [0, 1, 2]);
        assert_works(&bench);
    }
}

#[test]
fn a_later_attempt_to_keep_the_device_from_memory_ends_the_requests() {
    let (bench, _) = with_endless_reset(2);
    bench.device.lie(Lie::BusMasterStuck);
    assert!(!bench.adapter.reset_bus());
    bench.device.be_honest();
    bench.device.lie(Lie::ResetNeverEnds);

    assert!(bench.adapter.reset_bus());

    assert_eq!(tags(&bench, SrbStatus::BUS_RESET), [0, 1]);
    assert_eq!(bench.device.release_all(), 0);
}

#[test]
fn a_device_that_does_not_get_its_memory_back_is_not_started() {
    let (bench, _) = with_endless_reset(1);
    assert!(bench.adapter.reset_bus());
    assert_eq!(tags(&bench, SrbStatus::BUS_RESET), [0]);
    bench.device.be_honest();
    bench.device.lie(Lie::BusMasterStuck);

    assert!(!bench.adapter.reset_bus());

    assert_eq!(logged(&bench, Event::BusMasterNotSet), 1);
    assert!(!bench.device.status().contains(DeviceStatus::DRIVER_OK));
    bench.device.be_honest();
    assert!(bench.adapter.reset_bus());
    assert_works(&bench);
}

#[test]
fn a_stop_keeps_a_device_from_memory_that_does_not_end_its_reset_and_a_restart_gives_it_back() {
    let bench = DiskBench::with_disk(Disk::new(64));
    bench.device.lie(Lie::ResetNeverEnds);

    bench.adapter.stop();

    assert!(!bench.device.is_bus_master());
    assert!(bench.adapter.restart(), "the adapter is there, and waits for its device");
    assert!(!bench.device.is_bus_master());
    bench.device.be_honest();
    bench.port.run_dpcs(&bench.adapter);
    assert!(bench.device.is_bus_master());
    assert_works(&bench);
}

#[test]
fn a_stop_while_the_device_comes_back_leaves_no_device_with_memory_that_runs_or_is_in_its_reset() {
    let comes_back = |at: u64, own_reset_ends: bool| {
        let bench: &'static DiskBench = Box::leak(Box::new(with_endless_reset(1).0));
        assert!(bench.adapter.reset_bus());
        bench.port.take_completed();
        bench.device.be_honest();
        let stopped = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopped);
        bench.device.at_access(at, move || {
            stop.store(true, Ordering::Relaxed);
            if own_reset_ends {
                bench.adapter.stop();
            }
            bench.device.lie(Lie::ResetNeverEnds);
            if !own_reset_ends {
                bench.adapter.stop();
            }
        });
        wait(bench, 1);
        (bench, stopped.load(Ordering::Relaxed))
    };
    for own_reset_ends in [false, true] {
        let mut moments = 0;
        loop {
            let (bench, stopped) = comes_back(moments, own_reset_ends);
            if !stopped {
                break;
            }
            let runs = bench.device.status().contains(DeviceStatus::DRIVER_OK);

            let case = format!("{moments}, the stop's reset ends: {own_reset_ends}");
            assert!(!bench.device.is_bus_master() || own_reset_ends && !runs, "{case}");
            bench.device.be_honest();
            assert!(bench.adapter.restart(), "{case}");
            bench.device.release_all();
            bench.settle();
            let buffer = bench.buffer(512);
            let completed = bench.execute(reading(&read10(0, 1), &[buffer]));
            assert_eq!(completed.completion.status, SrbStatus::SUCCESS, "{case}");
            moments += 1;
        }
        assert!(moments > 20, "{moments}");
    }
}

#[test]
fn a_device_that_is_found_without_memory_gets_it_with_its_start() {
    let machine = Machine::new(Disk::new(64), Options::default());
    machine.port.bus_master(false).expect("the bit can be cleared");
    let bench: DiskBench = machine.find().expect("the driver takes the device");

    bench.start().expect("the device starts");

    assert_works(&bench);
}

#[test]
fn requests_for_a_device_that_failed_its_reset_wait_until_their_time_is_over() {
    let bench = with_outstanding(1);
    bench.device.lie(Lie::ResetNeverEnds);
    assert!(bench.adapter.reset_bus());
    let buffer = bench.buffer(512);

    bench.submit(reading(&read10(0, 1), &[buffer]).tagged(7));
    wait(&bench, 50);

    assert_eq!(tags(&bench, SrbStatus::BUS_RESET), [0]);
    assert!(bench.adapter.reset_bus());
    assert_eq!(tags(&bench, SrbStatus::BUS_RESET), [7]);
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
        assert_eq!(bench.port.log_entries(), [Event::ResetByDevice.into()]);
        assert_works(&bench);
    }
}

#[test]
fn a_stop_ends_every_access_and_a_restart_brings_the_disk_back() {
    let bench = DiskBench::with_disk(Disk::new(64));

    bench.adapter.stop();
    let accesses = bench.device.register_accesses();
    bench.port.run_dpcs(&bench.adapter);
    bench.adapter.dpc(storport::DpcKind::RequestQueue(0));
    assert_eq!(bench.device.register_accesses(), accesses);

    assert!(bench.adapter.restart());
    assert_works(&bench);
}

#[test]
fn a_late_look_at_a_stopped_device_without_power_does_not_take_it_for_gone() {
    let bench = DiskBench::with_disk(Disk::new(64));
    // An interrupt for the configuration was taken, and its DPC has still to run when the adapter is stopped.
    bench.port.issue_dpc(DpcKind::Service);
    bench.adapter.stop();
    bench.device.remove();
    bench.port.run_dpcs(&bench.adapter);
    bench.device.put_back();

    let restarted = bench.adapter.restart();

    assert!(restarted);
    assert_works(&bench);
}

#[test]
fn a_stopped_device_is_not_started_by_a_reset() {
    let bench: &'static DiskBench = Box::leak(Box::new(with_outstanding(2)));
    bench.device.release(1);
    bench.device.lie(Lie::UsedIdOutOfRange);
    bench.device.release(1);
    bench.device.be_honest();
    // The stop comes when the drain has found the fault and not yet begun the reset.
    bench.port.at_next_completion(|| bench.adapter.stop());

    bench.deliver_interrupts();

    assert!(!bench.device.status().contains(DeviceStatus::DRIVER_OK));
    assert_eq!(statuses(bench), [SrbStatus::SUCCESS]);
    assert!(bench.adapter.restart());
    bench.device.release_all();
    bench.settle();
    assert_eq!(statuses(bench), [SrbStatus::SUCCESS]);
    assert_works(bench);
}

#[test]
fn a_stop_in_the_middle_of_a_reset_stands() {
    let stopped_at = |moment: u64| {
        let bench: &'static DiskBench = Box::leak(Box::new(with_outstanding(2)));
        let stopped = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopped);
        bench.device.at_access(moment, move || {
            stop.store(true, Ordering::Relaxed);
            bench.adapter.stop();
        });
        let done = bench.adapter.reset_bus();
        (bench, stopped.load(Ordering::Relaxed), done)
    };
    let mut moments = 0;
    loop {
        let (bench, stopped, done) = stopped_at(moments);
        if !stopped {
            break;
        }
        assert!(!done && !bench.device.status().contains(DeviceStatus::DRIVER_OK), "{moments}");
        bench.port.take_completed();
        let buffer = bench.buffer(512);

        bench.submit(reading(&read10(0, 1), &[buffer]).tagged(7));

        // A stopped adapter keeps it; one that failed would have refused it.
        assert_eq!(statuses(bench), [], "{moments}");
        assert!(bench.adapter.restart(), "{moments}");
        bench.device.release_all();
        bench.settle();
        let ended = bench.port.take_completed();
        let waited = ended.iter().find(|one| one.tag == 7).expect("what waited goes on");
        assert_eq!(waited.completion.status, SrbStatus::SUCCESS, "{moments}");
        moments += 1;
    }
    assert!(moments > 20, "{moments}");
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
    assert_eq!(bench.port.log_entries(), [], "nothing may be logged at DIRQL");
    assert_eq!(bench.port.traces(), [], "nor traced");
    bench.port.run_dpcs(&bench.adapter);
    assert_eq!(bench.port.log_entries().len(), 1);
    assert_eq!(bench.port.traces().len(), 1);

    bench.device.be_honest();
    assert!(bench.adapter.restart());

    bench.settle();
    assert_eq!(statuses(&bench), [SrbStatus::SUCCESS]);
    assert_works(&bench);
}

#[test]
fn a_device_whose_restart_has_failed_is_left_alone_until_the_next_one() {
    let bench = DiskBench::with_disk(Disk::new(64));
    bench.adapter.stop();
    bench.device.lie(Lie::FeaturesRefused);
    assert!(!bench.adapter.restart());
    let accesses = bench.device.register_accesses();

    bench.port.run_dpcs(&bench.adapter);

    assert_eq!(bench.device.register_accesses(), accesses);
    assert_eq!(bench.port.run_timer(&bench.adapter), None);
    bench.device.be_honest();
    assert!(bench.adapter.restart());
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
        bench.adapter.dpc(storport::DpcKind::RequestQueue(0));
        bench.adapter.dpc(storport::DpcKind::Service);
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

#[test]
fn a_device_whose_reset_begins_while_requests_end_is_told_of_none_that_waited() {
    let features = Features::VERSION_1;
    let options = Options { queue_size: 4, features, ..Options::default() };
    let bench: &'static DiskBench = Box::leak(Box::new(DiskBench::running(Disk::new(64), options)));
    bench.hold_reads(3);
    bench.device.set_slow_reset(u32::MAX);
    bench.port.at_next_completion(|| assert!(bench.adapter.reset_bus()));

    // The drain has put one that waited into the ring, and gives the one that has ended back first.
    bench.device.release(1);
    bench.deliver_interrupts();

    bench.device.assert_no_violations();
    bench.device.set_slow_reset(0);
    bench.port.run_timer(&bench.adapter);
    let mut ended = statuses(bench);
    ended.sort_unstable_by_key(|status| status.0);
    assert_eq!(ended, [SrbStatus::SUCCESS, SrbStatus::BUS_RESET, SrbStatus::BUS_RESET]);
}

#[test]
fn a_start_that_a_stop_has_overtaken_leaves_nothing_for_the_next_one_to_find() {
    let overtaken = |moment: u64| {
        let bench: &'static DiskBench = Box::leak(Box::new(DiskBench::with_disk(Disk::new(64))));
        bench.port.run_dpcs(&bench.adapter);
        let (reached, is_reached) = channel();
        let (go_on, may_go_on) = channel::<()>();
        bench.device.at_access(moment, move || {
            reached.send(()).expect("the test waits for it, or has ended");
            // The test may have ended.
            let _ = may_go_on.recv();
        });
        let reset = thread::spawn(move || bench.submit(SrbBuilder::function(SrbFunction::ResetBus)));
        let reached = loop {
            match is_reached.try_recv() {
                Ok(()) => break true,
                Err(_) if reset.is_finished() => break false,
                Err(_) => thread::yield_now(),
            }
        };
        // What comes behind the answer is no start any more.
        if !reached || !bench.port.take_completed().is_empty() {
            drop(go_on);
            reset.join().expect("it ends well");
            return false;
        }
        bench.adapter.stop();
        assert!(bench.adapter.restart(), "{moment}");
        // It gets on when the device was reset once more, and ends before the start that follows begins.
        bench.device.at_ended_reset(move || {
            go_on.send(()).expect("the other processor waits");
            reset.join().expect("it ends well");
        });
        for _ in 0..60 {
            bench.settle();
            bench.port.run_timer(&bench.adapter);
        }
        let buffer = bench.buffer(512);
        bench.port.take_completed();
        let read = bench.execute(reading(&read10(0, 1), &[buffer]));
        assert_eq!(read.completion.status, SrbStatus::SUCCESS, "{moment}");
        let violations = bench.device.violations();
        let twice = |violation: &Violation| matches!(violation, Violation::QueueAlreadyEnabled { .. });
        assert!(!violations.iter().any(twice), "{moment}: {violations:?}");
        true
    };
    let moments = (0..).take_while(|moment| overtaken(*moment)).count();
    assert!(moments > 20, "{moments}");
}
