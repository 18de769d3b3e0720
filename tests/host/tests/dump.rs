//! Dump mode: a second copy of the driver takes the device over from one that was interrupted at its work, and is polled.
//!
//! The fake dump port driver panics when a DPC is asked for or an interrupt comes, and has 32 KiB of memory.

use adapter::DeviceType;
use fake_device::disk::Disk;
use fake_device::hba::{Hba, Unit};
use fake_device::{Lie, Model, Options};
use host_tests::cdb::{inquiry, read10, synchronize_cache10, write10};
use host_tests::{Bench, DiskBench, HbaBench, Machine, pattern, reading, writing};
use storport::fake::SrbBuilder;
use storport::{Completion, DataDirection, DumpLimits, Miniport, SrbFunction, SrbStatus};
use virtio::memory::Segment;
use virtio::spec::Features;
use virtio::spec::pci::NO_VECTOR;

/// Sectors of the disk.
const SECTORS: u64 = 1024;

/// The machines a crash may happen in.
fn machines() -> [Options; 7] {
    let normal = Options::default();
    [
        normal,
        Options { features: normal.features.difference(Features::RING_INDIRECT_DESC), ..normal },
        Options { features: normal.features | Features::RING_PACKED, ..normal },
        Options { features: normal.features | Features::NOTIFICATION_DATA, ..normal },
        Options { vectors: 0, ..normal },
        Options { legacy: true, ..normal },
        Options { legacy: true, vectors: 0, ..normal },
    ]
}

/// The second copy, started on what a crash left. The device goes on with what it has, if it still has it.
fn dump<D: DeviceType, M: Model>(machine: Machine<M>) -> Bench<D, M> {
    let bench = machine.find().expect("the driver takes the device over");
    bench.start().expect("the device starts");
    bench.device.release_all();
    bench
}

/// A disk whose driver was interrupted with `count` reads under way, and their buffers.
fn crashed(options: Options, count: u64) -> (Machine<Disk>, Vec<Segment>) {
    let bench = DiskBench::running(Disk::new(SECTORS), options);
    bench.device.hold();
    let buffers: Vec<_> = (0..count).map(|_| bench.filled(&[0xcc; 512])).collect();
    for (tag, buffer) in (0..).zip(&buffers) {
        bench.submit(reading(&read10(0, 1), &[*buffer]).tagged(tag));
    }
    bench.device.run();
    assert_eq!(bench.device.in_hand(), count as usize);
    (bench.crash(), buffers)
}

/// The pieces of one buffer, each of a page.
fn pages(buffer: Segment) -> Vec<Segment> {
    let starts = (0..buffer.length).step_by(4096);
    starts.map(|start| Segment { address: buffer.address + u64::from(start), length: 4096 }).collect()
}

fn status<D: DeviceType, M: Model>(bench: &Bench<D, M>, request: SrbBuilder) -> SrbStatus {
    bench.execute(request).completion.status
}

#[test]
fn the_dump_is_written_while_the_device_still_has_requests_of_the_first_copy() {
    for options in machines() {
        let (machine, old) = crashed(options, 5);
        let bench: DiskBench = dump(machine);
        let content = pattern(1, 64 << 10);
        let from = bench.filled(&content);
        let into = bench.buffer(64 << 10);

        let written = bench.execute(writing(&write10(8, 128), &pages(from)));
        let flushed = bench.execute(SrbBuilder::execute(&synchronize_cache10()));
        let read = bench.execute(reading(&read10(8, 128), &[into]));

        for completed in [&written, &flushed, &read] {
            assert_eq!(completed.completion.status, SrbStatus::SUCCESS, "{options:?}");
        }
        assert_eq!(written.completion.transferred, 64 << 10);
        assert!(bench.sectors(8, 128) == content, "{options:?}");
        assert!(bench.content(into) == content, "{options:?}");
        for buffer in old {
            assert_eq!(bench.content(buffer), [0xcc; 512], "an old request reached memory, {options:?}");
        }
        bench.device.assert_no_violations();
    }
}

#[test]
fn the_device_is_asked_for_no_interrupts_and_sends_none() {
    for options in machines() {
        let (machine, _) = crashed(options, 3);
        machine.device.take_interrupts();
        let bench: DiskBench = dump(machine);
        let buffer = bench.buffer(512);

        for _ in 0..100 {
            bench.submit(reading(&read10(0, 1), &[buffer]));
            bench.device.run();

            assert_eq!(bench.device.take_interrupts(), [], "{options:?}");
            bench.adapter.poll();
            assert_eq!(bench.port.take_completed().len(), 1, "{options:?}");
        }
        assert!(!bench.device.line_is_up());
        assert_eq!(bench.device.config_vector(), NO_VECTOR);
        assert_eq!(bench.device.enabled_queue(0).map(|(_, vector)| vector), Some(NO_VECTOR));
        bench.device.assert_no_violations();
    }
}

#[test]
fn an_hba_writes_the_dump_to_the_unit_it_is_told() {
    for options in machines() {
        let disks = Hba::default().with(0, 0, Unit::disk(64, 512)).with(3, 1, Unit::disk(64, 4096));
        let bench = HbaBench::running(disks, options);
        bench.device.hold();
        let old = bench.filled(&[0xcc; 512]);
        bench.submit(reading(&read10(0, 1), &[old]));
        bench.device.run();
        let bench: HbaBench = dump(bench.crash());
        let content = pattern(2, 64 << 10);
        let buffer = bench.filled(&content);

        let found = bench.execute(SrbBuilder::execute(&inquiry(36)).to(0, 3, 1));
        let written = bench.execute(writing(&write10(16, 16), &pages(buffer)).to(0, 3, 1));

        assert_eq!(found.completion.status, SrbStatus::SUCCESS, "{options:?}");
        assert_eq!(written.completion.transferred, 64 << 10, "{options:?}");
        let on_unit = bench.device.model(|hba| hba.unit(3, 1).content()[16 * 4096..32 * 4096].to_vec());
        assert!(on_unit == content, "{options:?}");
        assert_eq!(bench.content(old), [0xcc; 512], "{options:?}");
        bench.device.assert_no_violations();
    }
}

#[test]
fn the_device_is_reset_before_anything_else_and_waited_for() {
    let (machine, _) = crashed(Options::default(), 1);
    // The time of one that takes some seconds.
    machine.device.set_slow_reset(600);

    let bench: DiskBench = dump(machine);

    let waited = bench.port.stalled_microseconds();
    assert!((3_000_000..3_500_000).contains(&waited), "{waited}");
    bench.device.assert_no_violations();
}

#[test]
fn a_device_that_does_not_end_its_reset_is_declined_within_bounds() {
    let (machine, _) = crashed(Options::default(), 1);
    machine.device.lie(Lie::ResetNeverEnds);
    let port = machine.port.clone();

    let found = machine.find::<viostor::Viostor>();

    assert!(found.is_err());
    assert!(port.stalled_microseconds() <= 6_000_000);
}

#[test]
fn both_copies_agree_on_the_limits() {
    for options in machines() {
        let running = DiskBench::running(Disk::new(SECTORS), options);

        let completed = running.execute(SrbBuilder::function(SrbFunction::DumpPointers).with_data_in(112));
        let second = dump::<viostor::Viostor, _>(running.crash());

        let DumpLimits { max_transfer_bytes, max_segments } =
            completed.dump_pointers.expect("the first copy answers");
        assert_eq!(completed.completion.status, SrbStatus::SUCCESS);
        assert_eq!(completed.completion.transferred, 112);
        assert_eq!((max_transfer_bytes, max_segments), (64 << 10, 17), "{options:?}");
        assert_eq!(second.configuration.max_transfer_bytes, max_transfer_bytes, "{options:?}");
        assert_eq!(second.configuration.max_segments, max_segments, "{options:?}");
    }
}

#[test]
fn dump_pointers_without_room_for_them_are_refused_and_freeing_them_is_not() {
    let bench = DiskBench::with_disk(Disk::new(SECTORS));

    let refused = status(&bench, SrbBuilder::function(SrbFunction::DumpPointers).with_data_in(71));
    let freed = status(&bench, SrbBuilder::function(SrbFunction::FreeDumpPointers));

    assert_eq!((refused, freed), (SrbStatus::INVALID_REQUEST, SrbStatus::SUCCESS));
}

#[test]
fn dump_pointers_that_end_behind_the_private_data_are_enough() {
    let bench = DiskBench::with_disk(Disk::new(SECTORS));

    let answered = bench.execute(SrbBuilder::function(SrbFunction::DumpPointers).with_data_in(72));

    assert_eq!(answered.completion, Completion::success(72));
    assert_eq!(answered.data[..4], [0, 1, 112, 0], "version and size");
    assert_eq!(answered.data[4..], [0xee; 68]);
}

#[test]
fn a_device_that_takes_one_segment_gets_the_dump_page_by_page_through_scratch_memory() {
    let mut disk = Disk::new(SECTORS);
    disk.seg_max = None;
    let first = DiskBench::running(disk, Options::default());
    let told = first.execute(SrbBuilder::function(SrbFunction::DumpPointers).with_data_in(112)).dump_pointers;
    let bench: DiskBench = dump(first.crash());
    let content = pattern(4, 4096);
    // It starts inside a page.
    let from = [bench.filled(&content[..512]), bench.filled(&content[512..])];

    let written = bench.execute(writing(&write10(8, 8), &from));

    assert_eq!(written.completion.status, SrbStatus::SUCCESS);
    assert_eq!(bench.sectors(8, 8), content);
    assert_eq!(told, Some(DumpLimits { max_transfer_bytes: 4096, max_segments: 2 }));
    assert_eq!(
        (bench.configuration.max_transfer_bytes, bench.configuration.max_segments),
        (4096, 2),
        "both copies agree"
    );
    bench.device.assert_no_violations();
}

#[test]
fn a_small_queue_makes_small_transfers_and_still_writes_the_dump() {
    let options = Options { queue_size: 4, ..Options::default() };
    let (machine, _) = crashed(options, 2);
    let bench: DiskBench = dump(machine);
    let content = pattern(3, 4096);
    let buffer = bench.filled(&content);

    let written = bench.execute(writing(&write10(0, 8), &[buffer]));

    assert_eq!(bench.configuration.max_transfer_bytes, 4096);
    assert_eq!(written.completion.status, SrbStatus::SUCCESS);
    assert!(bench.sectors(0, 8) == content);
    bench.device.assert_no_violations();
}

#[test]
fn more_requests_than_the_ring_holds_are_completed_by_polling_on() {
    let (machine, _) = crashed(Options::default(), 1);
    let bench: DiskBench = dump(machine);
    let buffers: Vec<_> = (0..100).map(|_| bench.buffer(4096)).collect();

    for (tag, buffer) in (0..).zip(&buffers) {
        bench.submit(reading(&read10(0, 8), &[*buffer]).tagged(tag));
    }
    bench.settle();

    let completed = bench.port.take_completed();
    assert!(completed.iter().map(|completed| completed.tag).eq(0..100));
    assert!(completed.iter().all(|completed| completed.completion.status == SrbStatus::SUCCESS));
    bench.device.assert_no_violations();
}

#[test]
fn a_bus_reset_is_disregarded_while_the_device_owes_nothing() {
    let (machine, _) = crashed(Options::default(), 1);
    let bench: DiskBench = dump(machine);
    let before = bench.device.resets();

    assert!(bench.adapter.reset_bus());

    assert_eq!(bench.device.resets(), before);
}

#[test]
fn a_reset_ends_the_request_that_does_not_come_back_and_the_dump_goes_on() {
    for request in [None, Some(SrbFunction::ResetLogicalUnit), Some(SrbFunction::ResetBus)] {
        let (machine, _) = crashed(Options::default(), 1);
        let bench: DiskBench = dump(machine);
        let buffer = bench.filled(&[0xcc; 512]);
        bench.device.hold();
        bench.submit(reading(&read10(0, 1), &[buffer]).tagged(7));
        bench.settle();
        assert_eq!(bench.port.take_completed(), []);

        match request {
            None => assert!(bench.adapter.reset_bus()),
            Some(function) => _ = bench.submit(SrbBuilder::function(function).tagged(8)),
        }

        let ended = bench.port.take_completed();
        assert_eq!((ended[0].tag, ended[0].completion.status), (7, SrbStatus::BUS_RESET), "{request:?}");
        bench.device.release_all();
        assert_eq!(bench.content(buffer), [0xcc; 512]);
        assert_eq!(status(&bench, reading(&read10(0, 1), &[buffer])), SrbStatus::SUCCESS, "{request:?}");
        assert_eq!(bench.device.take_interrupts(), []);
        bench.device.assert_no_violations();
    }
}

#[test]
fn a_device_that_breaks_the_rings_rules_is_reset_and_the_dump_goes_on() {
    let (machine, _) = crashed(Options::default(), 1);
    let bench: DiskBench = dump(machine);
    let buffer = bench.buffer(512);
    bench.device.lie(Lie::UsedIdOutOfRange);

    let ended = status(&bench, reading(&read10(0, 1), &[buffer]));
    bench.device.be_honest();

    assert_eq!(ended, SrbStatus::BUS_RESET);
    assert_eq!(status(&bench, reading(&read10(0, 1), &[buffer])), SrbStatus::SUCCESS);
}

#[test]
fn a_device_whose_reset_takes_long_is_polled_and_not_told_again_and_again() {
    let (machine, _) = crashed(Options::default(), 1);
    let bench: DiskBench = dump(machine);
    let buffer = bench.buffer(512);
    bench.device.hold();
    bench.submit(reading(&read10(0, 1), &[buffer]));
    bench.device.run();
    bench.device.set_slow_reset(2000);
    assert!(bench.adapter.reset_bus());
    bench.port.take_completed();
    bench.device.release_all();

    bench.submit(reading(&read10(0, 1), &[buffer]));
    for _ in 0..1990 {
        bench.adapter.poll();
    }
    assert_eq!(bench.port.take_completed(), []);
    bench.device.set_slow_reset(0);
    (0..20).for_each(|_| bench.adapter.poll());
    bench.settle();

    let ended = bench.port.take_completed();
    assert_eq!(ended.len(), 1);
    assert_eq!(ended[0].completion.status, SrbStatus::SUCCESS);
}

#[test]
fn a_device_whose_resets_all_take_longer_than_they_are_waited_for_gets_the_dump() {
    let (machine, _) = crashed(Options::default(), 1);
    let bench: DiskBench = machine.find().expect("the driver takes the device over");
    // The wait when the adapter is found is a longer one.
    bench.device.set_slow_reset(1100);
    bench.start().expect("the adapter is there");
    bench.device.release_all();
    let content = pattern(5, 4096);
    let from = bench.filled(&content);

    bench.submit(writing(&write10(8, 8), &[from]));
    (0..1200).for_each(|_| bench.adapter.poll());
    bench.settle();

    let ended: Vec<_> = bench.port.take_completed().iter().map(|one| one.completion.status).collect();
    assert_eq!(ended, [SrbStatus::SUCCESS]);
    assert!(bench.sectors(8, 8) == content);
    bench.device.assert_no_violations();
}

#[test]
fn a_device_that_the_first_copy_kept_from_memory_gets_it_back() {
    let bench = DiskBench::with_disk(Disk::new(SECTORS));
    bench.device.lie(Lie::ResetNeverEnds);
    assert!(bench.adapter.reset_bus());
    assert_eq!(bench.port.bus_master_calls(), [false]);
    bench.device.be_honest();

    let bench: DiskBench = dump(bench.crash());

    let buffer = bench.buffer(512);
    assert_eq!(bench.port.bus_master_calls(), [true]);
    assert_eq!(status(&bench, reading(&read10(0, 1), &[buffer])), SrbStatus::SUCCESS);
    bench.device.assert_no_violations();
}

#[test]
fn requests_to_a_device_that_is_gone_end() {
    let (machine, _) = crashed(Options::default(), 1);
    let bench: DiskBench = dump(machine);
    let buffer = bench.buffer(512);
    bench.device.hold();
    bench.submit(reading(&read10(0, 1), &[buffer]));
    bench.settle();
    bench.device.remove();

    assert!(!bench.adapter.reset_bus());
    bench.adapter.poll();

    assert_eq!(bench.port.take_completed()[0].completion.status, SrbStatus::NO_DEVICE);
    assert_eq!(status(&bench, reading(&read10(0, 1), &[buffer])), SrbStatus::NO_DEVICE);
}

#[test]
fn after_a_hibernation_the_first_copy_takes_the_device_back() {
    for options in machines() {
        let first = DiskBench::running(Disk::new(SECTORS), options);
        first.adapter.stop();
        let second: DiskBench = dump(Machine::in_dump_mode(first.ram.clone(), first.device.clone()));
        let content = pattern(4, 4096);
        let saved = second.filled(&content);
        assert_eq!(status(&second, writing(&write10(0, 8), &[saved])), SrbStatus::SUCCESS);
        // A request that the second copy leaves behind.
        second.device.hold();
        second.submit(reading(&read10(8, 8), &[saved]));
        second.device.run();
        std::mem::forget(second.adapter);

        assert!(first.adapter.restart());

        first.device.release_all();
        let into = first.buffer(4096);
        assert_eq!(status(&first, reading(&read10(0, 8), &[into])), SrbStatus::SUCCESS, "{options:?}");
        assert!(first.content(into) == content, "{options:?}");
        assert!(first.content(saved) == content, "what was left behind reached memory, {options:?}");
        first.device.assert_no_violations();
    }
}

#[test]
fn a_first_copy_that_nobody_stopped_finds_its_device_again_with_a_reset() {
    let first = DiskBench::with_disk(Disk::new(SECTORS));
    let second: DiskBench = dump(Machine::in_dump_mode(first.ram.clone(), first.device.clone()));
    let buffer = first.buffer(512);
    first.submit(reading(&read10(0, 1), &[buffer]).tagged(1));
    first.device.run();
    assert_eq!(first.port.take_completed(), [], "the device knows another ring");

    assert!(first.adapter.reset_bus());

    assert_eq!(first.port.take_completed()[0].completion.status, SrbStatus::BUS_RESET);
    assert_eq!(status(&first, reading(&read10(0, 1), &[buffer])), SrbStatus::SUCCESS);
    assert_eq!(second.port.take_completed(), []);
}

#[test]
fn a_command_that_the_disk_answers_itself_needs_no_device() {
    let (machine, _) = crashed(Options::default(), 1);
    let bench: DiskBench = dump(machine);

    let completed = bench.execute(SrbBuilder::execute(&inquiry(36)).with_data_in(36));

    assert_eq!(completed.completion.status, SrbStatus::SUCCESS);
    assert_eq!(completed.data.len(), 36);
}

#[test]
fn the_serial_number_and_a_write_through_need_more_than_one_step_and_little_memory() {
    let (machine, _) = crashed(Options::default(), 1);
    let bench: DiskBench = dump(machine);
    let page = SrbBuilder::execute(&[0x12, 1, 0x80, 0, 64, 0]).with_data_in(64);
    let content = pattern(5, 512);
    let buffer = bench.filled(&content);
    let mut through = write10(3, 1);
    through[1] = 0x08;

    let serial = status(&bench, page);
    let written = status(&bench, SrbBuilder::execute(&through).with_segments(DataDirection::Out, &[buffer]));

    assert_eq!((serial, written), (SrbStatus::SUCCESS, SrbStatus::SUCCESS));
    assert_eq!(bench.sectors(3, 1), content);
    bench.device.assert_no_violations();
}
