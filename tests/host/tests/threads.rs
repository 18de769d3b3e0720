//! Device and driver on threads of their own: neither may go to sleep while the other thinks it is awake.
//!
//! A wake-up that is lost here is a request that never ends. Such a moment is a few nanoseconds long, so a run that passes
//! proves little about the driver's fences; `rearm.rs` plays the most important one step by step.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use adapter::DeviceType;
use fake_device::disk::Disk;
use fake_device::hba::{Hba, Unit};
use fake_device::{Model, Options, Order, Violation};
use host_tests::cdb::read10;
use host_tests::{Bench, DiskBench, reading};
use storport::Miniport;
use storport::fake::run_on;
use vioscsi::Vioscsi;
use viostor::Viostor;
use virtio::spec::Features;

/// How long nothing may happen before the run counts as stuck.
const STUCK: Duration = Duration::from_secs(10);

/// Sends `count` requests, up to `depth` at a time, to a disk that runs on another thread.
fn run(options: Options, depth: u64, count: u64) {
    let bench = DiskBench::running(Disk::new(64), options);
    bench.device.set_order(Order::Shuffled(depth));
    let buffer = bench.buffer(512);
    let stop = AtomicBool::new(false);

    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                if bench.device.run() == 0 {
                    thread::yield_now();
                }
            }
        });
        let mut came_back = vec![false; count as usize];
        let (mut sent, mut done) = (0, 0);
        let mut progress = Instant::now();
        while done < count && progress.elapsed() < STUCK {
            while sent < count && sent - done < depth {
                bench.submit(reading(&read10(0, 1), &[buffer]).tagged(sent));
                sent += 1;
            }
            if bench.deliver_interrupts() == 0 {
                thread::yield_now();
            }
            for completed in bench.port.take_completed() {
                let before = std::mem::replace(&mut came_back[completed.tag as usize], true);
                assert!(!before, "request {} came back twice", completed.tag);
                done += 1;
                progress = Instant::now();
            }
        }
        stop.store(true, Ordering::Relaxed);
        if done < count {
            bench.unplug();
            panic!("stuck after {done} of {count} requests, {depth} at a time, {options:?}");
        }
    });
    bench.device.assert_no_violations();
}

/// Sends `each` requests from each of so many processors, each on a thread of its own, to a device with as many queues and
/// messages for `queues` of them, while interrupts come on further threads, and one resets the device now and then.
fn run_on_processors<D: DeviceType, M: Model>(
    (processors, queues): (u16, u16),
    model: impl Fn(u16) -> M,
    each: u64,
    resets: u64,
) {
    const DEPTH: u64 = 20;
    let options = Options { vectors: queues + 1, ..options(16, Features::RING_EVENT_IDX) };
    let bench = Bench::<D, M>::running_on(processors, model(processors), options);
    assert_eq!(bench.queues(), queues);
    let buffer = bench.buffer(512);
    let count = each * u64::from(processors);
    let (sent, done, stop) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));

    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                if bench.device.run() == 0 {
                    thread::yield_now();
                }
            }
        });
        for processor in 0..processors {
            let (bench, sent, done, stop) = (&bench, &sent, &done, &stop);
            scope.spawn(move || {
                run_on(processor.into());
                for number in 0..each {
                    let deep = || sent.load(Ordering::Relaxed) - done.load(Ordering::Relaxed);
                    while deep() > DEPTH * u64::from(processors) && !stop.load(Ordering::Relaxed) {
                        thread::yield_now();
                    }
                    sent.fetch_add(1, Ordering::Relaxed);
                    let tag = number * u64::from(processors) + u64::from(processor);
                    bench.submit(reading(&read10(0, 1), &[buffer]).tagged(tag));
                }
            });
            // Interrupts and DPCs run anywhere.
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    if bench.deliver_interrupts() == 0 {
                        bench.port.run_dpcs(&bench.adapter);
                        thread::yield_now();
                    }
                }
            });
        }
        let mut came_back = vec![false; count as usize];
        let mut reset = 0;
        let mut progress = Instant::now();
        while done.load(Ordering::Relaxed) < count && progress.elapsed() < STUCK {
            for completed in bench.port.take_completed() {
                let before = std::mem::replace(&mut came_back[completed.tag as usize], true);
                assert!(!before, "request {} came back twice", completed.tag);
                done.fetch_add(1, Ordering::Relaxed);
                progress = Instant::now();
            }
            if done.load(Ordering::Relaxed) > count / (resets + 1) * (reset + 1) && reset < resets {
                reset += 1;
                assert!(bench.adapter.reset_bus());
            }
            thread::yield_now();
        }
        stop.store(true, Ordering::Relaxed);
        let done = done.load(Ordering::Relaxed);
        if done < count {
            bench.unplug();
            panic!("stuck after {done} of {count} requests on {processors} processors");
        }
        assert_eq!(reset, resets);
    });
    // A doorbell is rung without a lock, so the reset that another processor begins may be faster.
    let overtaken =
        |violation: &Violation| resets > 0 && matches!(violation, Violation::NotifiedTooEarly { .. });
    let violations = bench.device.violations();
    assert!(violations.iter().all(overtaken), "{violations:?}");
}

fn disk(queues: u16) -> Disk {
    Disk::new(64).with_queues(queues)
}

fn hba(queues: u16) -> Hba {
    Hba::default().with_queues(queues).with(0, 0, Unit::disk(64, 512))
}

fn options(queue_size: u16, event_idx: Features) -> Options {
    let features = Features::VERSION_1 | Features::RING_INDIRECT_DESC | event_idx;
    Options { queue_size, features, ..Options::default() }
}

#[test]
fn no_wake_up_is_lost_with_the_event_index() {
    for depth in [1, 2, 8, 50] {
        run(options(16, Features::RING_EVENT_IDX), depth, 5_000);
    }
}

#[test]
fn no_wake_up_is_lost_without_the_event_index() {
    for depth in [1, 2, 8, 50] {
        run(options(16, Features::empty()), depth, 5_000);
    }
}

#[test]
fn requests_of_several_processors_and_queues_come_back_once() {
    for processors in [2, 4] {
        run_on_processors::<Viostor, _>((processors, processors), disk, 3_000, 0);
    }
}

/// Two commands with one tag would break a rule of the device's. With one queue all processors go to it.
#[test]
fn commands_of_several_processors_at_once_have_tags_of_their_own_and_come_back_once() {
    for queues in [1, 4] {
        run_on_processors::<Vioscsi, _>((4, queues), hba, 2_000, 0);
    }
}

#[test]
fn resets_in_the_middle_of_requests_for_several_queues_end_each_once() {
    for processors in [2, 4] {
        run_on_processors::<Viostor, _>((processors, processors), disk, 3_000, 10);
        run_on_processors::<Vioscsi, _>((processors, processors), hba, 2_000, 10);
    }
}
