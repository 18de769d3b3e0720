//! Devices that break the rules: declined, or reset, and never a panic or a request that is lost.

use adapter::Event;
use fake_device::disk::Disk;
use fake_device::hba::{Hba, Unit};
use fake_device::{Lie, Options};
use host_tests::cdb::{inquiry_page, read10, synchronize_cache10, write10};
use host_tests::{DiskBench, HbaBench, Machine, pattern, reading, writing};
use storport::fake::{Completed, SrbBuilder};
use storport::{Declined, LogEvent, SrbStatus};
use virtio::spec::Features;
use virtio::spec::blk::Status;
use virtio::spec::pci::CapabilityType;
use virtio::transport::TransportError;

/// What the driver says when it looks at a disk that lies.
fn declined(lie: Lie) -> Option<LogEvent> {
    let machine = Machine::new(Disk::new(64), Options::default());
    machine.device.lie(lie);
    let device = machine.device.clone();
    let found: Result<DiskBench, Declined> = machine.find();
    device.be_honest();
    device.assert_no_violations();
    found.err().map(|declined| declined.0)
}

#[test]
fn a_device_that_cannot_be_driven_is_declined_with_the_reason() {
    let table = [
        (Lie::NoVersion1, Event::of_transport(TransportError::NoVersion1)),
        (Lie::FeaturesRefused, Event::of_transport(TransportError::FeaturesRefused)),
        (
            Lie::BarLength(0x3000),
            Event::of_transport(TransportError::OutsideBar { kind: CapabilityType::NOTIFY, bar: 4 }),
        ),
        (
            Lie::ConfigLength(0x10_0000),
            Event::of_transport(TransportError::OutsideBar { kind: CapabilityType::DEVICE, bar: 4 }),
        ),
        (Lie::ConfigLength(7), Event::ConfigTooShort.into()),
        (Lie::ConfigLength(20), Event::ConfigTooShort.into()),
        (Lie::ConfigNeverSettles, Event::ConfigTooShort.into()),
        (Lie::QueueCount(0), Event::QueueTooSmall.into()),
        (Lie::QueueSize(0), Event::QueueTooSmall.into()),
        (Lie::QueueSize(2), Event::QueueTooSmall.into()),
    ];
    for (lie, expected) in table {
        assert_eq!(declined(lie), Some(expected), "{lie:?}");
    }
}

#[test]
fn a_reset_that_never_ends_is_given_up_after_five_seconds() {
    let machine = Machine::new(Disk::new(64), Options::default());
    machine.device.lie(Lie::ResetNeverEnds);
    let port = machine.port.clone();

    let found: Result<DiskBench, Declined> = machine.find();

    let event = found.err().expect("the device does not come up").0;
    assert_eq!(event.code() >> 16, Event::ResetTimedOut.code() >> 16);
    assert_eq!(port.stalled_microseconds(), 5_000_000);
}

#[test]
fn a_device_that_is_not_there_is_declined() {
    let machine = Machine::new(Disk::new(64), Options::default());
    machine.device.remove();

    let found: Result<DiskBench, Declined> = machine.find();

    assert_eq!(found.err().map(|declined| declined.0), Some(Event::of_transport(TransportError::Removed)));
}

#[test]
fn a_capability_list_that_loops_does_not_keep_the_device_from_being_used() {
    assert_eq!(declined(Lie::CapabilityLoop), None);
}

#[test]
fn a_vector_that_the_device_does_not_take_is_an_error_of_the_start() {
    let machine = Machine::new(Disk::new(64), Options::default());
    let bench: DiskBench = machine.find().expect("the driver takes the device");
    bench.device.lie(Lie::VectorRefused);

    let started = bench.start();

    assert_eq!(started, Err(Event::of_transport(TransportError::VectorRefused { vector: 0 })));
    bench.device.assert_no_violations();
}

#[test]
fn a_notification_address_outside_the_structure_is_an_error_of_the_start() {
    let machine = Machine::new(Disk::new(64), Options::default());
    let bench: DiskBench = machine.find().expect("the driver takes the device");
    bench.device.lie(Lie::NotifyOffset(0x400));

    let started = bench.start();

    assert_eq!(started, Err(Event::of_transport(TransportError::NotifyOutsideBar { queue: 0 })));
}

#[test]
fn a_queue_that_became_smaller_is_an_error_of_the_start() {
    let machine = Machine::new(Disk::new(64), Options::default());
    let bench: DiskBench = machine.find().expect("the driver takes the device");
    bench.device.lie(Lie::QueueSize(128));

    let started = bench.start();

    let expected = TransportError::QueueSize { queue: 0, size: 256, offered: 128 };
    assert_eq!(started, Err(Event::of_transport(expected)));
}

#[test]
fn every_lie_about_a_used_buffer_is_logged_and_answered_with_a_reset() {
    let table = [
        (Lie::UsedIdOutOfRange, Event::UsedIdOutOfRange),
        (Lie::UsedIdNotInFlight, Event::UsedIdNotInFlight),
        (Lie::UsedTwice, Event::UsedIdNotInFlight),
        (Lie::UsedIndexJump(100), Event::UsedIndexJumped),
        (Lie::UsedIndexJump(0xfff0), Event::UsedIndexJumped),
    ];
    let rings =
        [Features::RING_EVENT_IDX, Features::empty(), Features::RING_EVENT_IDX | Features::RING_PACKED];
    for ring in rings {
        let features = Features::VERSION_1 | Features::RING_INDIRECT_DESC | ring;
        for (lie, event) in table {
            // A packed ring has no index.
            if ring.contains(Features::RING_PACKED) && event == Event::UsedIndexJumped {
                continue;
            }
            let bench = DiskBench::running(Disk::new(64), Options { features, ..Options::default() });
            bench.hold_reads(6);
            bench.device.lie(lie);
            bench.device.release(1);
            bench.device.run();
            bench.deliver_interrupts();

            let log = bench.port.log_entries();
            assert_eq!(log[0].code() >> 16, event.code() >> 16, "{lie:?}");
            assert_eq!(log.len(), 1, "the reset that follows is no news of its own");
            assert_eq!(bench.port.traces(), [log[0], Event::ResetAfterFault.into()]);
            let completed = bench.port.take_completed();
            let mut tags: Vec<u64> = completed.iter().map(|one| one.tag).collect();
            tags.sort_unstable();
            assert!(tags.into_iter().eq(0..6), "{lie:?}: every request once");

            bench.device.release_all();
            bench.settle();
            let content = pattern(3, 512);
            let buffer = bench.filled(&content);
            let after = bench.execute(writing(&write10(0, 1), &[buffer]));
            assert_eq!(after.completion.status, SrbStatus::SUCCESS, "{lie:?}");
            bench.device.assert_no_violations();
        }
    }
}

/// Lets the time pass that a reset has.
fn until_it_is_over(bench: &DiskBench) {
    for _ in 0..60 {
        bench.port.run_timer(&bench.adapter).expect("the driver looks again");
    }
}

#[test]
fn a_device_that_lies_and_then_does_not_reset_loses_its_requests_and_memory_and_is_left_alone() {
    let bench = DiskBench::running(Disk::new(64), Options { queue_size: 4, ..Options::default() });
    bench.hold_reads(10);
    bench.device.lie(Lie::UsedIdOutOfRange);
    bench.device.lie(Lie::ResetNeverEnds);
    bench.device.release(1);

    bench.deliver_interrupts();
    assert_eq!(bench.port.take_completed(), [], "the device may still write to their memory");
    until_it_is_over(&bench);

    let completed = bench.port.take_completed();
    let mut tags: Vec<u64> = completed.iter().map(|one| one.tag).collect();
    tags.sort_unstable();
    assert!(tags.into_iter().eq(0..10), "every request once");
    assert!(completed.iter().all(|one| one.completion.status == SrbStatus::BUS_RESET));
    assert!(!bench.device.is_bus_master());
    assert_eq!(bench.device.release_all(), 0);
    bench.device.assert_no_violations();
}

#[test]
fn a_request_that_comes_between_a_fault_and_its_reset_ends_with_the_reset() {
    let bench: &'static DiskBench = Box::leak(Box::new(DiskBench::with_disk(Disk::new(64))));
    // One that has failed ends in the same look at the ring that finds the fault; all is well with what ends before that.
    bench.device.model(|disk| disk.set_bad_sector(0, Some(Status::IOERR)));
    bench.hold_reads(3);
    bench.device.release(1);
    bench.device.lie(Lie::UsedIdOutOfRange);
    bench.device.release(1);
    bench.device.be_honest();
    let buffer = bench.buffer(512);
    bench.port.at_next_completion(move || _ = bench.submit(writing(&write10(0, 1), &[buffer]).tagged(9)));

    bench.deliver_interrupts();

    // It is sent again then; one for a device that is not there is lost.
    let completed = bench.port.take_completed();
    let ends: Vec<_> = completed.iter().map(|one| (one.tag, one.completion.status)).collect();
    let ended = |tag| (tag, SrbStatus::BUS_RESET);
    assert_eq!(ends, [(0, SrbStatus::ERROR), ended(1), ended(2), ended(9)]);
    bench.device.assert_no_violations();
}

#[test]
fn a_fault_after_good_completions_leaves_no_doorbell_for_a_device_in_reset() {
    // 64 good ones are a batch, 63 more and their refills another; the fault is found by the one after that.
    let bench = DiskBench::running(Disk::new(64), Options { queue_size: 256, ..Options::default() });
    bench.hold_reads(400);
    bench.device.release(64 + 63);
    bench.device.lie(Lie::UsedIdOutOfRange);
    bench.device.release(1);
    bench.device.lie(Lie::ResetNeverEnds);

    bench.deliver_interrupts();
    until_it_is_over(&bench);

    let good = |completed: &Completed| completed.completion.status == SrbStatus::SUCCESS;
    let (good, lost): (Vec<_>, Vec<_>) = bench.port.take_completed().into_iter().partition(good);
    assert_eq!((good.len(), lost.len()), (127, 273));
    bench.device.assert_no_violations();
}

#[test]
fn an_answer_that_was_never_written_is_not_taken_for_the_last_one() {
    let bench = DiskBench::with_disk(Disk::new(64));
    let buffer = bench.buffer(512);
    for request in [
        writing(&write10(0, 1), &[buffer]),
        reading(&read10(0, 1), &[buffer]),
        SrbBuilder::execute(&synchronize_cache10()),
        SrbBuilder::execute(&inquiry_page(0x80, 64)).with_data_in(64),
    ] {
        // The slot's last answer was OK.
        let before = bench.execute(request.clone());
        assert_eq!(before.completion.status, SrbStatus::SUCCESS);
        bench.device.lie(Lie::NothingWritten);

        let completed = bench.execute(request);

        assert_ne!(completed.completion.status, SrbStatus::SUCCESS);
    }
}

#[test]
fn a_scsi_answer_that_was_never_written_is_not_taken_for_the_last_one() {
    let bench = HbaBench::with_hba(Hba::default().with(0, 0, Unit::disk(8, 512)));
    let ready = SrbBuilder::execute(&[0; 6]);
    assert_eq!(bench.execute(ready.clone()).completion.status, SrbStatus::SUCCESS);
    bench.device.lie(Lie::NothingWritten);

    let completed = bench.execute(ready);

    assert_ne!(completed.completion.status, SrbStatus::SUCCESS);
}

#[test]
fn configurations_that_no_disk_has_are_declined() {
    type Change = fn(&mut Disk);
    let table: [(Change, Event); 5] = [
        (|disk| disk.block_bytes = Some(520), Event::BlockSize),
        (|disk| disk.block_bytes = Some(1 << 20), Event::BlockSize),
        // Not even a block goes into one segment.
        (|disk| (disk.size_max, disk.seg_max) = (Some(511), Some(1)), Event::SegmentSize),
        (|disk| (disk.size_max, disk.seg_max) = (Some(100), Some(5)), Event::SegmentSize),
        (|disk| disk.zoned = Some(1), Event::HostManaged),
    ];
    for (change, event) in table {
        let mut disk = Disk::new(64);
        change(&mut disk);

        let found: Result<DiskBench, Declined> = Machine::new(disk, Options::default()).find();

        assert_eq!(found.err().map(|declined| declined.0), Some(event.into()));
    }
}

#[test]
fn a_host_bus_adapter_with_other_field_sizes_is_declined() {
    for (sense_size, cdb_size) in [(252, 32), (96, 16), (0, 0)] {
        let mut hba = Hba::default();
        (hba.sense_size, hba.cdb_size) = (sense_size, cdb_size);

        let found: Result<HbaBench, Declined> = Machine::new(hba, Options::default()).find();

        assert_eq!(found.err().map(|declined| declined.0), Some(Event::FieldSizes.into()));
    }
}

#[test]
fn a_host_bus_adapter_that_reports_no_used_length_is_believed() {
    let bench = HbaBench::with_hba(Hba::default().with(0, 0, Unit::disk(8, 512)));
    bench.device.model(|hba| hba.unit(0, 0).content()[..512].fill(0x77));
    bench.device.lie(Lie::NoUsedLength);
    let buffer = bench.buffer(512);

    let completed = bench.execute(reading(&read10(0, 1), &[buffer]));

    assert_eq!(completed.completion.status, SrbStatus::SUCCESS);
    assert_eq!(completed.completion.transferred, 512);
    assert_eq!(bench.content(buffer), [0x77; 512]);
}
