//! Interrupts: by two messages and more, by one, and by line.

use fake_device::disk::Disk;
use fake_device::hba::{Hba, Unit};
use fake_device::{Interrupt, Options};
use host_tests::cdb::{read10, synchronize_cache10};
use host_tests::{DiskBench, HbaBench, reading};
use storport::fake::SrbBuilder;
use storport::{Interrupts, Miniport, SrbStatus};
use virtio::spec::Features;
use virtio::spec::pci::NO_VECTOR;

fn with_vectors(vectors: u16) -> DiskBench {
    DiskBench::running(Disk::new(64), Options { vectors, ..Options::default() })
}

fn submit_reads(bench: &DiskBench, count: u64) {
    for tag in 0..count {
        let buffer = bench.buffer(512);
        bench.submit(reading(&read10(0, 1), &[buffer]).tagged(tag));
    }
}

#[test]
fn with_two_messages_and_more_the_second_is_the_queues() {
    for vectors in [2, 3, 8] {
        let bench = with_vectors(vectors);
        assert_eq!((bench.device.config_vector(), bench.device.enabled_queue(0)), (0, Some((256, 1))));

        submit_reads(&bench, 1);
        bench.device.run();
        assert_eq!(bench.device.take_interrupts(), [Interrupt::Message(1)]);

        assert!(bench.port.interrupt(&bench.adapter, Some(1)));
        assert_eq!(bench.port.take_completed().len(), 1);
        bench.device.assert_no_violations();
    }
}

#[test]
fn with_one_message_it_is_for_the_queue_and_the_configuration() {
    let bench = with_vectors(1);
    assert_eq!((bench.device.config_vector(), bench.device.enabled_queue(0)), (0, Some((256, 0))));

    submit_reads(&bench, 1);
    bench.settle();
    assert_eq!(bench.port.take_completed().len(), 1);

    bench.device.need_reset();
    bench.settle();
    assert!(!bench.device.status().needs_reset());
    bench.device.assert_no_violations();
}

#[test]
fn with_a_line_the_interrupt_status_says_what_it_was_for() {
    let bench = with_vectors(0);
    assert_eq!(
        (bench.device.config_vector(), bench.device.enabled_queue(0)),
        (NO_VECTOR, Some((256, NO_VECTOR)))
    );

    submit_reads(&bench, 1);
    bench.device.run();
    assert_eq!(bench.device.take_interrupts(), [Interrupt::Line]);
    assert!(bench.device.line_is_up());

    assert!(bench.port.interrupt(&bench.adapter, None));
    assert!(!bench.device.line_is_up());
    assert_eq!(bench.port.take_completed().len(), 1);
    bench.device.assert_no_violations();
}

/// The interrupt status is a mask: bit 0 for a used buffer, bit 1 for the configuration (virtio 1.3, 4.1.4.5).
#[test]
fn with_a_line_both_causes_at_once_are_both_served() {
    let bench = with_vectors(0);
    submit_reads(&bench, 1);
    bench.device.run();
    bench.device.change_config(|disk| disk.sectors = 128);

    assert!(bench.port.interrupt(&bench.adapter, None));

    assert_eq!(bench.port.take_completed().len(), 1);
    assert_eq!(bench.port.take_unit_changes().len(), 1, "the disk has grown");
    assert!(!bench.device.line_is_up());
}

#[test]
fn with_a_line_a_command_an_event_and_the_configuration_at_once_are_all_served() {
    let mut hba = Hba::default().with(0, 0, Unit::disk(64, 512));
    hba.features = Features::SCSI_HOTPLUG;
    let bench = HbaBench::running(hba, Options { vectors: 0, ..Options::default() });
    bench.port.take_bus_changes();
    let resets = bench.device.resets();
    bench.submit(reading(&read10(0, 1), &[bench.buffer(512)]));
    bench.device.plug(3, 0, Unit::disk(64, 512));
    bench.device.run();
    bench.device.need_reset();

    assert!(bench.port.interrupt(&bench.adapter, None));

    let completed = bench.port.take_completed();
    assert_eq!(completed.len(), 1);
    assert_eq!(completed[0].completion.status, SrbStatus::SUCCESS);
    assert_eq!(bench.port.take_bus_changes(), [0]);
    assert_eq!(bench.device.resets(), resets + 1, "that was said by the configuration's bit alone");
    assert!(!bench.device.line_is_up());
}

#[test]
fn another_devices_interrupt_on_the_line_is_not_ours() {
    let bench = with_vectors(0);

    assert!(!bench.port.interrupt(&bench.adapter, None));
}

#[test]
fn an_unused_message_is_not_ours() {
    let bench = with_vectors(4);

    assert!(!bench.port.interrupt(&bench.adapter, Some(2)));
    assert!(!bench.port.interrupt(&bench.adapter, Some(77)));
}

#[test]
fn an_interrupt_without_a_cause_does_no_harm() {
    let bench = with_vectors(2);

    for message in [0, 1, 0, 1] {
        bench.port.interrupt(&bench.adapter, Some(message));
    }

    submit_reads(&bench, 1);
    bench.settle();
    assert_eq!(bench.port.take_completed().len(), 1);
    bench.device.assert_no_violations();
}

#[test]
fn the_driver_asks_for_an_interrupt_again_after_every_drain() {
    for features in [Features::RING_EVENT_IDX, Features::empty()] {
        let base = Features::VERSION_1 | Features::RING_INDIRECT_DESC;
        let options = Options { features: base | features, ..Options::default() };
        let bench = DiskBench::running(Disk::new(64), options);
        for round in 0..10 {
            submit_reads(&bench, 3);
            bench.device.run();
            assert_eq!(bench.device.take_interrupts(), [Interrupt::Message(1)], "round {round}");

            bench.port.interrupt(&bench.adapter, Some(1));
            assert_eq!(bench.port.take_completed().len(), 3, "round {round}");
        }
        bench.device.assert_no_violations();
    }
}

#[test]
fn a_device_that_polls_is_not_notified() {
    for features in [Features::RING_EVENT_IDX, Features::empty()] {
        let base = Features::VERSION_1 | Features::RING_INDIRECT_DESC;
        let options = Options { features: base | features, ..Options::default() };
        let bench = DiskBench::running(Disk::new(64), options);
        bench.device.set_polling(true);
        bench.device.run();

        submit_reads(&bench, 5);
        bench.settle();

        assert_eq!(bench.port.take_completed().len(), 5);
        assert_eq!(bench.device.notifications(0), 0);
        bench.device.assert_no_violations();
    }
}

#[test]
fn with_the_event_index_one_notification_is_enough_for_many_requests() {
    let bench = with_vectors(2);

    submit_reads(&bench, 20);

    assert_eq!(bench.device.notifications(0), 1);
    assert_eq!(bench.device.run(), 20);
    bench.settle();
    assert_eq!(bench.port.take_completed().len(), 20);
}

#[test]
fn more_used_buffers_than_a_dpc_may_take_are_taken_by_the_next() {
    let bench = with_vectors(2);
    submit_reads(&bench, 250);
    bench.device.run();
    assert_eq!(bench.device.take_interrupts(), [Interrupt::Message(1)]);

    bench.port.interrupt(&bench.adapter, Some(1));

    let mut tags: Vec<u64> = bench.port.take_completed().iter().map(|completed| completed.tag).collect();
    tags.sort_unstable();
    assert!(tags.into_iter().eq(0..250));
    bench.device.assert_no_violations();
}

#[test]
fn a_changed_configuration_leaves_the_requests_alone() {
    let bench = HbaBench::with_hba(Hba::default().with(0, 0, Unit::disk(8, 512)));
    bench.device.hold();
    bench.submit(SrbBuilder::execute(&[0; 6]));
    bench.device.change_config(|hba| hba.max_target = 1);
    bench.settle();
    assert_eq!(bench.port.take_completed(), []);

    bench.device.release_all();
    bench.settle();

    assert_eq!(bench.port.take_completed()[0].completion.status, SrbStatus::SUCCESS);
    assert_eq!(bench.device.resets(), 2);
    bench.device.assert_no_violations();
}

#[test]
fn without_interrupts_a_dpc_finds_the_used_buffers() {
    let bench: DiskBench =
        host_tests::Machine::new(Disk::new(64), Options { vectors: 0, ..Options::default() })
            .find()
            .expect("the driver takes the device");
    bench.adapter.initialize(Interrupts::None).expect("the device starts");
    bench.submit(SrbBuilder::execute(&synchronize_cache10()));
    bench.device.run();

    bench.adapter.dpc(storport::DpcKind::RequestQueue(0));

    assert_eq!(bench.port.take_completed().len(), 1);
}
