//! `TraceResponseTime`: requests that take longer are traced.

use adapter::Event;
use fake_device::Options;
use fake_device::disk::Disk;
use host_tests::cdb::read10;
use host_tests::{Bench, DiskBench, Machine, reading};
use storport::LogEvent;
use storport::port::FarUnit;
use viostor::Viostor;

/// A running disk whose requests are traced after so many milliseconds.
fn traced_after(milliseconds: u32) -> DiskBench {
    let machine = Machine::new(Disk::new(64), Options::default());
    machine.port.set_parameter("TraceResponseTime", milliseconds);
    let bench: Bench<Viostor, Disk> = machine.find().expect("the driver takes the device");
    bench.start().expect("the device starts");
    bench.port.run_dpcs(&bench.adapter);
    bench
}

/// Requests that were traced so far.
fn traced(bench: &DiskBench) -> usize {
    let slow = Event::SlowRequest.of_unit(FarUnit { target: 0, lun: 0 });
    bench.port.traces().iter().filter(|event: &&LogEvent| **event == slow).count()
}

/// Lets the timer run until so many microseconds have passed.
fn pass(bench: &DiskBench, microseconds: u32) {
    let mut passed = 0;
    while passed < microseconds {
        passed += bench.port.run_timer(&bench.adapter).expect("the timer goes on running");
    }
}

#[test]
fn a_request_is_traced_once_when_it_has_taken_as_long_and_a_quarter_more_at_most() {
    for milliseconds in [40, 100, 4000, 3_600_000] {
        let bench = traced_after(milliseconds);
        bench.hold_reads(1);

        pass(&bench, milliseconds * 1000 - milliseconds * 250);
        assert_eq!(traced(&bench), 0, "{milliseconds} ms");
        pass(&bench, milliseconds * 500);

        assert_eq!(traced(&bench), 1, "{milliseconds} ms");
        pass(&bench, milliseconds * 1000);
        assert_eq!(traced(&bench), 1, "{milliseconds} ms");
        assert_eq!(bench.port.log_entries(), [], "it is traced, not logged");
    }
}

#[test]
fn requests_that_are_as_fast_are_not_traced_however_many_there_are() {
    let bench = traced_after(100);

    for _ in 0..20 {
        bench.hold_reads(8);
        pass(&bench, 75_000);
        bench.device.release_all();
        bench.settle();
    }

    assert_eq!(traced(&bench), 0);
}

#[test]
fn a_request_in_the_place_of_another_has_its_own_time() {
    let bench = traced_after(100);
    bench.hold_reads(1);
    pass(&bench, 75_000);
    bench.device.release_all();
    bench.settle();

    bench.hold_reads(1);
    pass(&bench, 75_000);

    assert_eq!(traced(&bench), 0);
    pass(&bench, 50_000);
    assert_eq!(traced(&bench), 1);
}

#[test]
fn of_a_device_that_answers_nothing_a_few_are_traced() {
    let bench = traced_after(100);
    bench.hold_reads(50);

    pass(&bench, 1_000_000);

    assert_eq!(traced(&bench), 8);
}

#[test]
fn who_has_not_asked_for_it_has_no_timer() {
    let bench = traced_after(0);
    bench.hold_reads(1);

    assert_eq!(bench.port.run_timer(&bench.adapter), None);

    let buffer = bench.buffer(512);
    bench.submit(reading(&read10(0, 1), &[buffer]));
    assert_eq!(bench.port.run_timer(&bench.adapter), None);
}

#[test]
fn after_a_reset_requests_are_looked_at_again() {
    let bench = traced_after(100);
    bench.hold_reads(1);
    pass(&bench, 50_000);
    assert!(storport::Miniport::reset_bus(&bench.adapter));
    bench.settle();

    bench.hold_reads(1);
    pass(&bench, 125_000);

    assert_eq!(traced(&bench), 1);
}
