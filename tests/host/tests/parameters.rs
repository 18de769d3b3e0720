//! What an administrator sets in the registry, and what becomes of it.

use adapter::Event;
use adapter::Parameters;
use fake_device::Options;
use fake_device::disk::Disk;
use fake_device::hba::{Hba, Unit};
use host_tests::{Bench, DiskBench, Machine, reading};
use storport::fake::SrbBuilder;
use storport::{Configuration, LogEvent, Miniport, SrbFunction, SrbStatus, TraceLevel};
use vioscsi::Vioscsi;
use viostor::Viostor;

/// viostor, where these values are set.
fn disk_with(values: &[(&str, u32)]) -> DiskBench {
    let machine = Machine::new(Disk::new(4096), Options::default());
    for (name, value) in values {
        machine.port.set_parameter(name, *value);
    }
    let bench: Bench<Viostor, Disk> = machine.find().expect("the driver takes the device");
    bench.start().expect("the device starts");
    bench
}

fn configuration_with(values: &[(&str, u32)]) -> Configuration {
    disk_with(values).configuration
}

fn logged_with(values: &[(&str, u32)]) -> Vec<u32> {
    disk_with(values).port.log_entries().iter().map(LogEvent::code).collect()
}

#[test]
fn nothing_set_is_nothing_logged() {
    assert_eq!(logged_with(&[]), []);
}

#[test]
fn physical_breaks_limit_segments_and_transfers_as_in_vioscsi() {
    let most = configuration_with(&[]);

    let limited = configuration_with(&[("PhysicalBreaks", 32)]);

    assert_eq!((limited.max_segments, limited.max_transfer_bytes), (33, 32 * 4096));
    assert_eq!(
        limited,
        Configuration { max_segments: 33, max_transfer_bytes: 32 * 4096, ..most },
        "and nothing else"
    );
}

#[test]
fn the_block_limits_page_has_the_longest_transfer_that_storport_is_told() {
    for breaks in [2, 32, 512] {
        let bench = disk_with(&[("PhysicalBreaks", breaks)]);

        let inquiry = SrbBuilder::execute(&host_tests::cdb::inquiry_page(0xb0, 64)).with_data_in(64);
        let page = bench.execute(inquiry).data;

        let blocks = u32::from_be_bytes([8, 9, 10, 11].map(|byte| page[byte]));
        assert_eq!(blocks * 512, bench.configuration.max_transfer_bytes, "{breaks} breaks");
    }
}

#[test]
fn physical_breaks_beyond_what_the_device_takes_change_nothing() {
    assert_eq!(configuration_with(&[("PhysicalBreaks", 512)]), configuration_with(&[]));
    assert_eq!(logged_with(&[("PhysicalBreaks", 512)]), []);
}

#[test]
fn a_single_break_still_reads_a_page_that_starts_inside_one() {
    let bench = disk_with(&[("PhysicalBreaks", 1)]);
    assert_eq!((bench.configuration.max_segments, bench.configuration.max_transfer_bytes), (2, 4096));
    let (first, second) = (bench.buffer(1024), bench.buffer(3072));

    let completed = bench.execute(reading(&host_tests::cdb::read10(0, 8), &[first, second]));

    assert_eq!(completed.completion.transferred, 4096);
}

#[test]
fn max_requests_limits_what_storport_gives_the_adapter_and_a_unit() {
    let most = configuration_with(&[]);

    let limited = configuration_with(&[("MaxRequests", 8)]);

    assert_eq!(limited, Configuration { max_requests: 8, max_requests_per_lun: 8, ..most });
}

#[test]
fn values_out_of_range_are_logged_and_do_not_count() {
    let usual = configuration_with(&[]);
    let table = [
        ("PhysicalBreaks", 0, 0x0500_0001),
        ("PhysicalBreaks", 513, 0x0500_0001),
        ("PhysicalBreaks", u32::MAX, 0x0500_0001),
        ("VioscsiActionOnReset", 2, 0x0500_0002),
        ("VioscsiActionOnReset", 0xdead_beef, 0x0500_0002),
        ("MaxRequests", 0, 0x0500_0003),
        ("MaxRequests", 0x1_0000, 0x0500_0003),
        ("MaxQueues", 0, 0x0500_0004),
        ("MaxQueues", u32::MAX, 0x0500_0004),
        ("AbortCommands", 2, 0x0500_0005),
        ("TraceResponseTime", 3_600_001, 0x0500_0006),
    ];
    for (name, value, code) in table {
        assert_eq!(logged_with(&[(name, value)]), [code], "{name} = {value:#x}");
        assert_eq!(configuration_with(&[(name, value)]), usual, "{name} = {value:#x}");
    }
}

/// A disk with this action on reset, and a read that it does not answer; and how often it has been reset.
fn hung_disk(action: u32) -> (DiskBench, u32) {
    let bench = disk_with(&[("VioscsiActionOnReset", action)]);
    bench.settle();
    bench.hold_reads(1);
    assert_eq!(bench.port.log_entries(), []);
    let resets = bench.device.resets();
    (bench, resets)
}

const RESETS: [SrbFunction; 3] =
    [SrbFunction::ResetLogicalUnit, SrbFunction::ResetDevice, SrbFunction::ResetBus];

#[test]
fn a_reset_is_the_usual_action_on_reset() {
    for function in RESETS {
        let (bench, resets) = hung_disk(0);

        bench.submit(SrbBuilder::function(function).tagged(9));

        let ended: Vec<_> =
            bench.port.take_completed().iter().map(|one| (one.tag, one.completion.status)).collect();
        assert_eq!(ended, [(0, SrbStatus::BUS_RESET), (9, SrbStatus::SUCCESS)], "{function:?}");
        assert_eq!(bench.device.resets(), resets + 1, "{function:?}");
    }
}

#[test]
fn with_the_action_1_requests_go_on_over_a_reset_and_only_the_bus_reset_routine_ends_them() {
    for function in RESETS {
        let (bench, resets) = hung_disk(1);

        bench.submit(SrbBuilder::function(function).tagged(9));

        assert_eq!(bench.port.take_completed()[0].completion.status, SrbStatus::SUCCESS, "{function:?}");
        assert_eq!((bench.device.resets(), bench.device.in_hand()), (resets, 1), "{function:?}");
        bench.device.release_all();
        bench.settle();
        assert_eq!(bench.port.take_completed()[0].completion.status, SrbStatus::SUCCESS, "{function:?}");
    }
    let (bench, resets) = hung_disk(1);

    assert!(bench.adapter.reset_bus());

    assert_eq!(bench.port.take_completed()[0].completion.status, SrbStatus::BUS_RESET);
    assert_eq!(bench.device.resets(), resets + 1);
}

#[test]
#[should_panic(expected = "the system was stopped with 0xdeaddead because of ResetLogicalUnit")]
fn with_the_action_0xdeaddead_a_reset_stops_the_system() {
    let (bench, _) = hung_disk(0xdead_dead);

    bench.submit(SrbBuilder::function(SrbFunction::ResetLogicalUnit));
}

#[test]
fn storport_is_told_of_aborts_where_they_are_wanted_and_the_device_has_a_function() {
    let configuration = |values: &[(&str, u32)]| {
        let machine = Machine::new(Hba::default().with(0, 0, Unit::disk(64, 512)), Options::default());
        for (name, value) in values {
            machine.port.set_parameter(name, *value);
        }
        let bench: Bench<Vioscsi, Hba> = machine.find().expect("the driver takes the device");
        bench.configuration
    };

    assert!(!configuration(&[]).aborts_commands);
    assert!(!configuration(&[("AbortCommands", 0)]).aborts_commands);
    assert!(configuration(&[("AbortCommands", 1)]).aborts_commands);
    assert!(!configuration_with(&[("AbortCommands", 1)]).aborts_commands, "viostor has none");
}

#[test]
fn max_queues_is_kept_for_who_makes_queues() {
    let machine = Machine::new(Disk::new(64), Options::default());
    assert_eq!(Parameters::read(&mut machine.resources()).max_queues, None);
    machine.port.set_parameter("MaxQueues", 4);

    let parameters = Parameters::read(&mut machine.resources());

    assert_eq!(parameters, Parameters { max_queues: Some(4), ..Parameters::default() });
}

#[test]
fn in_dump_mode_nothing_is_set() {
    let machine = Machine::new(Disk::new(64), Options::default());
    let Machine { ram, device, .. } = machine;
    let machine = Machine::in_dump_mode(ram, device);
    machine.port.set_parameter("PhysicalBreaks", 4);

    assert_eq!(Parameters::read(&mut machine.resources()), Parameters::default());
}

#[test]
fn vioscsi_takes_the_same_values() {
    let machine = Machine::new(Hba::default().with(0, 0, Unit::disk(64, 512)), Options::default());
    machine.port.set_parameter("physicalbreaks", 32);
    machine.port.set_parameter("MaxRequests", 4);

    let bench: Bench<Vioscsi, Hba> = machine.find().expect("the driver takes the device");

    let configuration = bench.configuration;
    assert_eq!((configuration.max_segments, configuration.max_transfer_bytes), (33, 32 * 4096));
    assert_eq!((configuration.max_requests, configuration.max_requests_per_lun), (4, 4));
}

#[test]
fn the_dump_is_written_within_the_limit_on_segments() {
    let bench = disk_with(&[("PhysicalBreaks", 4)]);

    let answer = bench.execute(SrbBuilder::function(SrbFunction::DumpPointers).with_data_in(112));

    let limits = answer.dump_pointers.expect("the driver says what it can do");
    assert_eq!((limits.max_segments, limits.max_transfer_bytes), (5, 4 * 4096));
}

#[test]
fn what_is_logged_of_a_setting_is_traced_as_a_warning() {
    let bench = disk_with(&[("MaxRequests", 0)]);

    let event = LogEvent::from(Event::MaxRequests);
    assert_eq!(bench.port.traces(), [event]);
    assert_eq!(event.level, TraceLevel::Warning);
}

#[test]
fn more_physical_breaks_than_usual_make_the_rings_larger_where_the_device_has_them_so() {
    // A chain is as long as its ring at most (virtio 1.3, 2.7.5.3.1). A block of 1 MiB that starts inside a page is 257 segments.
    for (breaks, ring, segments) in [
        (None, 1024, 254),
        (Some(253), 1024, 254),
        (Some(256), 1024, 257),
        (Some(512), 1024, 513),
        (Some(512), 512, 510),
        (Some(512), 256, 254),
    ] {
        let mut hba = Hba::default().with(0, 0, Unit::disk(8, 512));
        hba.seg_max = 1022;
        let machine = Machine::new(hba, Options { queue_size: ring, ..Options::default() });
        if let Some(breaks) = breaks {
            machine.port.set_parameter("PhysicalBreaks", breaks);
        }

        let bench: Bench<Vioscsi, Hba> = machine.find().expect("the driver takes the device");

        let configuration = bench.configuration;
        let told = (configuration.max_segments, configuration.max_transfer_bytes);
        assert_eq!(told, (segments, (segments - 1) * 4096), "{breaks:?} of a ring of {ring}");
    }
}
