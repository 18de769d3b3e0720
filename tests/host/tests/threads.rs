//! Device and driver on threads of their own: neither may go to sleep while the other thinks it is awake.
//!
//! A wake-up that is lost here is a request that never ends. Such a moment is a few nanoseconds long, so a run that passes
//! proves little about the driver's fences; `rearm.rs` plays the most important one step by step.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use host_tests::cdb::read10;
use host_tests::{DiskBench, reading};
use virtio::fake::disk::Disk;
use virtio::fake::{Options, Order};
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
