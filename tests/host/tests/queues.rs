//! Several request queues: as many as the device, its messages and the processors go, each with what is its own, and one
//! reset for all.

use std::collections::BTreeSet;

use adapter::DeviceType;
use fake_device::disk::{Disk, RangeLimits};
use fake_device::hba::{Hba, Unit};
use fake_device::{Lie, Model, Options};
use host_tests::cdb::{read10, write10};
use host_tests::{Bench, DiskBench, HbaBench, Machine, pattern, reading, writing};
use storport::fake::{Channels, SrbBuilder, run_on};
use storport::{DpcKind, Interrupts, Miniport, Port, SrbFunction, SrbStatus};
use vioscsi::Vioscsi;
use viostor::Viostor;
use virtio::spec::Features;

const SECTORS: u64 = 1024;

fn disk(queues: u16) -> Disk {
    Disk::new(SECTORS).with_queues(queues)
}

fn hba(queues: u16) -> Hba {
    Hba::default().with_queues(queues).with(0, 0, Unit::disk(SECTORS, 512))
}

fn vectors(vectors: u16) -> Options {
    Options { vectors, ..Options::default() }
}

/// Four queues with a message each, on four processors.
fn four() -> DiskBench {
    DiskBench::running_on(4, disk(4), vectors(5))
}

/// A request on each of so many processors, `each` times over.
fn submit_on<D: DeviceType, M: Model>(bench: &Bench<D, M>, processors: u32, each: u64) -> BTreeSet<u64> {
    let mut tags = BTreeSet::new();
    for processor in 0..processors {
        run_on(processor);
        for number in 0..each {
            let tag = u64::from(processor) * 1000 + number;
            bench.submit(reading(&read10((tag % SECTORS) as u32, 1), &[bench.buffer(512)]).tagged(tag));
            tags.insert(tag);
        }
    }
    run_on(0);
    tags
}

/// Takes what was completed: all of them with this status, and each once.
#[track_caller]
fn assert_completed<D: DeviceType, M: Model>(bench: &Bench<D, M>, tags: &BTreeSet<u64>, status: SrbStatus) {
    let completed = bench.port.take_completed();
    let of_it: BTreeSet<u64> = completed.iter().map(|completed| completed.tag).collect();
    assert_eq!(&of_it, tags);
    assert_eq!(completed.len(), tags.len(), "each comes back once");
    assert!(completed.iter().all(|completed| completed.completion.status == status), "{completed:?}");
}

/// How often the device was notified of each queue.
fn notifications<D: DeviceType, M: Model>(bench: &Bench<D, M>, queues: u16) -> Vec<u64> {
    (0..queues).map(|queue| bench.device.notifications(D::REQUEST_QUEUE + queue)).collect()
}

/// Every layout: as many queues as device, processors and messages go, each with a message of its own, and each request,
/// whichever processor it comes from, comes back once.
fn every_layout<D: DeviceType, M: Model>(model: impl Fn(u16) -> M) {
    for offered in [1, 2, 4, 8] {
        for messages in [0, 1, 2, 3, 4, 9, 12] {
            for processors in [1, 2, 4, 6] {
                let bench = Bench::<D, M>::running_on(processors, model(offered), vectors(messages));
                let expected = offered.min(processors).min(messages.saturating_sub(1)).max(1);
                let layout = format!("{offered} queues, {messages} messages, {processors} processors");

                assert_eq!(bench.queues(), expected, "{layout}");
                for queue in 0..expected {
                    let (_, vector) = bench.device.enabled_queue(D::REQUEST_QUEUE + queue).expect("enabled");
                    let message = match messages {
                        0 => 0xffff,
                        1 => 0,
                        _ => 1 + queue,
                    };
                    assert_eq!(vector, message, "queue {queue} of {layout}");
                }
                let tags = submit_on(&bench, processors.into(), 3);
                bench.settle();
                assert_completed(&bench, &tags, SrbStatus::SUCCESS);
                assert!(notifications(&bench, expected).iter().all(|count| *count > 0), "{layout}");
                bench.device.assert_no_violations();
            }
        }
    }
}

#[test]
fn viostor_has_as_many_queues_as_device_processors_and_messages_go() {
    every_layout::<Viostor, _>(disk);
}

#[test]
fn vioscsi_has_as_many_queues_as_device_processors_and_messages_go() {
    every_layout::<Vioscsi, _>(hba);
}

#[test]
fn a_thousand_processors_share_64_queues() {
    fn share<D: DeviceType, M: Model>(model: M) {
        let options = Options { queue_size: 128, ..vectors(300) };
        let bench = Bench::<D, M>::running_on(1000, model, options);

        assert_eq!(bench.queues(), 64);
        let tags = submit_on(&bench, 1000, 1);
        bench.settle();
        assert_completed(&bench, &tags, SrbStatus::SUCCESS);
        bench.device.assert_no_violations();
    }

    share::<Viostor, _>(disk(256));
    // One, in eight bits.
    share::<Vioscsi, _>(hba(257));
}

/// A division by how many there are would end the system.
#[test]
fn a_machine_that_counts_no_processor_has_one_queue() {
    fn without_processors<D: DeviceType, M: Model>(model: M) {
        let bench = Bench::<D, M>::running_on(0, model, vectors(9));

        assert_eq!(bench.queues(), 1);
        let tags = submit_on(&bench, 3, 2);
        bench.settle();
        assert_completed(&bench, &tags, SrbStatus::SUCCESS);
        bench.device.assert_no_violations();
    }

    without_processors::<Viostor, _>(disk(4));
    without_processors::<Vioscsi, _>(hba(4));
}

#[test]
fn a_legacy_device_has_several_queues_too() {
    let options = Options { legacy: true, features: Features::RING_INDIRECT_DESC, ..vectors(4) };
    let bench = DiskBench::running_on(4, disk(4), options);

    assert_eq!(bench.queues(), 3);
    let tags = submit_on(&bench, 4, 5);
    bench.settle();
    assert_completed(&bench, &tags, SrbStatus::SUCCESS);
    bench.device.assert_no_violations();
}

#[test]
fn a_device_that_offers_mq_and_no_queue_has_one() {
    let mut disk = disk(1);
    disk.other_features = Features::BLK_MQ;

    // The field then holds something that is not to be believed: more queues than the device has.
    let bench = DiskBench::running_on(4, disk, vectors(9));

    assert_eq!(bench.queues(), 1);
    let tags = submit_on(&bench, 4, 2);
    bench.settle();
    assert_completed(&bench, &tags, SrbStatus::SUCCESS);
}

#[test]
fn queues_that_the_device_claims_and_does_not_have_are_not_used() {
    let machine = Machine::new(disk(4), vectors(9)).with_processors(8);
    machine.device.lie(Lie::QueueCount(8));
    let bench = machine.find::<Viostor>().expect("the driver takes the device");
    bench.start().expect("the device starts");

    assert_eq!(bench.queues(), 4);
}

#[test]
fn an_adapter_uses_the_queues_that_it_has_whatever_number_it_claims() {
    // 0 is no number of queues (virtio 1.3, 5.6.4), and the last ones are 0 in 16 bits.
    for claimed in [0, 1, 2, 3, 5, 257, 0xffff, 0x1_0000, 0x8000_0000, u32::MAX] {
        for has in [1, 3, 5] {
            let mut hba = hba(has);
            hba.num_queues = Some(claimed);

            let bench = HbaBench::running_on(8, hba, vectors(10));

            let expected = claimed.clamp(1, has.into());
            assert_eq!(u32::from(bench.queues()), expected, "{claimed} of {has}");
            let tags = submit_on(&bench, 8, 3);
            bench.settle();
            assert_completed(&bench, &tags, SrbStatus::SUCCESS);
            bench.device.assert_no_violations();
        }
    }
}

/// Four queues with a message each, on so many processors, where the port driver says this of them.
fn four_with<D: DeviceType, M: Model>(processors: u16, model: M, channels: Channels) -> Bench<D, M> {
    let machine = Machine::new(model, vectors(5)).with_processors(processors);
    machine.port.set_channels(channels);
    let bench = machine.find::<D>().expect("the driver takes the device");
    bench.start().expect("the device starts");
    // A device with an event queue is given its buffers.
    bench.settle();
    bench
}

/// Which queue the requests of each of so many processors go to.
fn queues_of<D: DeviceType, M: Model>(bench: &Bench<D, M>, processors: u32) -> Vec<usize> {
    let queue_of = |processor| {
        let before = notifications(bench, 4);
        run_on(processor);
        let tag = u64::from(processor);
        bench.submit(reading(&read10(0, 1), &[bench.buffer(512)]).tagged(tag));
        run_on(0);
        bench.settle();
        assert_completed(bench, &BTreeSet::from([tag]), SrbStatus::SUCCESS);
        let after = notifications(bench, 4);
        let told: Vec<_> = (0..4).filter(|queue| after[*queue] != before[*queue]).collect();
        assert_eq!(told.len(), 1, "processor {processor}");
        told[0]
    };
    (0..processors).map(queue_of).collect()
}

#[test]
fn requests_go_to_a_queue_whose_message_arrives_where_they_start() {
    const TARGETS: &[(u16, u32)] = &[(0, 3), (1, 2), (2, 1), (3, 0)];
    let bench = four_with::<Viostor, _>(4, disk(4), Channels::Targets(TARGETS));
    let channels = bench.port.concurrent_channels_asked().expect("it was asked for");
    assert_eq!(
        (channels.queues, channels.first_message, channels.last_message(), channels.messages),
        (4, 1, 4, 5)
    );

    assert_eq!(queues_of(&bench, 4), [3, 2, 1, 0]);
    bench.device.assert_no_violations();
}

/// Whatever the port driver says, requests go to request queues, and to all of them.
fn every_port_driver<D: DeviceType, M: Model>(model: impl Fn(u16) -> M) {
    const OTHERS: &[(u16, u32)] = &[(4, 0), (5, 1), (u16::MAX, 2), (3, u32::MAX)];
    let all = [
        (Channels::ByProcessor, [0, 1, 2, 3, 0, 1, 2, 3]),
        (Channels::Unsupported, [0, 1, 2, 3, 0, 1, 2, 3]),
        (Channels::Silent, [0, 1, 2, 3, 0, 1, 2, 3]),
        (Channels::Everywhere, [0, 1, 2, 3, 0, 1, 2, 3]),
        (Channels::Targets(OTHERS), [0, 1, 2, 3, 0, 1, 2, 3]),
        // Two processors of four have a message, which leaves one each for the others.
        (Channels::Targets(&[(1, 0), (0, 2)]), [1, 2, 0, 3, 0, 1, 2, 3]),
    ];
    for (channels, queues) in all {
        let bench = four_with::<D, M>(8, model(4), channels);
        let before: Vec<_> = (0..D::REQUEST_QUEUE).map(|queue| bench.device.notifications(queue)).collect();

        assert_eq!(queues_of(&bench, 8), queues, "{channels:?}");

        let after: Vec<_> = (0..D::REQUEST_QUEUE).map(|queue| bench.device.notifications(queue)).collect();
        assert_eq!(after, before, "{channels:?}");
        bench.device.assert_no_violations();
    }
}

#[test]
fn what_the_port_driver_does_not_say_of_processors_is_shared_out_evenly() {
    every_port_driver::<Viostor, _>(disk);
    every_port_driver::<Vioscsi, _>(hba);
}

#[test]
fn a_processor_that_was_added_later_has_a_queue() {
    let bench = four_with::<Viostor, _>(4, disk(4), Channels::Targets(&[(0, 0), (1, 1), (2, 2), (3, 3)]));

    let mut tags = submit_on(&bench, 6, 1);
    for processor in [255, 256, 2047, u32::MAX] {
        run_on(processor);
        let tag = 1_000_000 + u64::from(processor);
        bench.submit(reading(&read10(0, 1), &[bench.buffer(512)]).tagged(tag));
        tags.insert(tag);
    }
    run_on(0);
    bench.settle();

    assert_completed(&bench, &tags, SrbStatus::SUCCESS);
    bench.device.assert_no_violations();
}

#[test]
fn a_start_with_other_targets_goes_by_those() {
    let bench = four_with::<Viostor, _>(4, disk(4), Channels::Targets(&[(3, 0), (2, 1)]));
    assert_eq!(queues_of(&bench, 4), [3, 2, 0, 1]);

    bench.adapter.stop();
    bench.port.set_channels(Channels::Targets(&[(2, 0), (3, 1)]));
    bench.adapter.initialize(Interrupts::Messages(5)).expect("the device starts");
    bench.settle();

    assert_eq!(queues_of(&bench, 4), [2, 3, 0, 1]);
    bench.device.assert_no_violations();
}

#[test]
fn with_one_queue_nothing_is_asked_of_the_port_driver() {
    let bench = DiskBench::running_on(4, disk(4), vectors(2));

    bench.port.at_next_choice(|| panic!("the processor does not matter"));
    let tags = submit_on(&bench, 4, 2);
    bench.settle();

    assert_eq!(bench.port.concurrent_channels_asked(), None);
    assert_completed(&bench, &tags, SrbStatus::SUCCESS);
}

#[test]
fn a_message_announces_its_own_queue_only() {
    let bench = four();
    let tags = submit_on(&bench, 4, 1);
    bench.device.run();
    assert_eq!(bench.device.take_interrupts().len(), 4);

    for message in 1..=4 {
        assert!(bench.port.interrupt(&bench.adapter, Some(message)));

        let completed = bench.port.take_completed();
        assert_eq!(completed.len(), 1, "message {message}");
        assert_eq!(completed[0].tag, u64::from(message - 1) * 1000);
    }
    assert!(bench.port.interrupt(&bench.adapter, Some(0)), "the configuration's");
    assert!(!bench.port.interrupt(&bench.adapter, Some(5)));
    assert_eq!(tags.len(), 4);
}

#[test]
fn the_queue_depth_is_that_of_all_queues() {
    let depth =
        |bench: &DiskBench| (bench.configuration.max_requests, bench.configuration.max_requests_per_lun);

    assert_eq!(depth(&DiskBench::running_on(1, disk(8), vectors(9))), (256, 256));
    assert_eq!(depth(&four()), (1024, 1024));
    assert_eq!(depth(&DiskBench::running_on(16, disk(16), vectors(17))), (2048, 2048));
}

#[test]
fn what_is_written_through_one_queue_is_read_through_another() {
    let bench = four();
    for processor in 0..4 {
        let content = pattern(processor.into(), 4096);
        run_on(processor);
        bench.execute(writing(&write10(processor * 8, 8), &[bench.filled(&content)]));
        run_on(processor + 1);
        let buffer = bench.buffer(4096);
        bench.execute(reading(&read10(processor * 8, 8), &[buffer]));

        assert!(bench.content(buffer) == content);
    }
    run_on(0);
    bench.device.assert_no_violations();
}

#[test]
fn a_full_queue_keeps_its_requests_waiting_and_the_others_go_on() {
    let bench = DiskBench::running_on(2, disk(2), Options { queue_size: 8, ..vectors(3) });
    bench.device.hold();
    let mut tags = submit_on(&bench, 1, 50);
    bench.device.run();
    assert_eq!(bench.device.in_hand(), 8);

    run_on(1);
    bench.submit(reading(&read10(0, 1), &[bench.buffer(512)]).tagged(7777));
    run_on(0);
    bench.device.run();

    assert_eq!(bench.device.in_hand(), 9);
    tags.insert(7777);
    bench.device.release_all();
    bench.settle();
    assert_completed(&bench, &tags, SrbStatus::SUCCESS);
    bench.device.assert_no_violations();
}

#[test]
fn a_reset_ends_the_requests_of_all_queues_and_all_work_again() {
    let bench = four();
    bench.device.hold();
    let tags = submit_on(&bench, 4, 5);
    bench.device.run();
    let resets = bench.device.resets();

    assert!(bench.adapter.reset_bus());

    assert!(bench.device.resets() > resets);
    assert_completed(&bench, &tags, SrbStatus::BUS_RESET);
    bench.device.release_all();
    assert_eq!(bench.queues(), 4);
    let tags = submit_on(&bench, 4, 5);
    bench.settle();
    assert_completed(&bench, &tags, SrbStatus::SUCCESS);
    bench.device.assert_no_violations();
}

#[test]
fn a_fault_in_one_queue_resets_all() {
    for faulty in 0..4 {
        let bench = four();
        bench.device.hold();
        let tags = submit_on(&bench, 4, 2);
        bench.device.run();
        bench.device.lie(Lie::UsedIdOutOfRange);
        // The first queue with requests answers first.
        for queue in 0..4 {
            if queue == faulty {
                break;
            }
            bench.device.be_honest();
            bench.device.release(2);
            bench.device.lie(Lie::UsedIdOutOfRange);
        }
        bench.device.release(1);
        bench.deliver_interrupts();
        bench.port.run_dpcs(&bench.adapter);

        let completed = bench.port.take_completed();
        let ended: BTreeSet<u64> = completed.iter().map(|completed| completed.tag).collect();
        assert_eq!((ended, completed.len()), (tags, 8), "fault in queue {faulty}");
        let status = |status| completed.iter().filter(|one| one.completion.status == status).count();
        assert_eq!(status(SrbStatus::SUCCESS), 2 * faulty);
        assert_eq!(status(SrbStatus::BUS_RESET), 8 - 2 * faulty);
        bench.device.be_honest();
        bench.device.release_all();
        let tags = submit_on(&bench, 4, 2);
        bench.settle();
        assert_completed(&bench, &tags, SrbStatus::SUCCESS);
    }
}

#[test]
fn a_device_that_does_not_end_its_reset_gives_the_requests_of_all_queues_back() {
    let bench = four();
    bench.device.hold();
    let tags = submit_on(&bench, 4, 5);
    bench.device.run();
    bench.device.lie(Lie::ResetNeverEnds);

    assert!(bench.adapter.reset_bus());

    assert!(!bench.device.is_bus_master());
    assert_completed(&bench, &tags, SrbStatus::BUS_RESET);
    bench.device.be_honest();
    assert!(bench.adapter.reset_bus());
    let tags = submit_on(&bench, 4, 2);
    bench.device.release_all();
    bench.settle();
    assert_completed(&bench, &tags, SrbStatus::SUCCESS);
}

#[test]
fn a_surprise_removal_gives_the_requests_of_all_queues_back() {
    let bench = DiskBench::running_on(4, disk(4), Options { queue_size: 4, ..vectors(5) });
    bench.device.hold();
    // Most of them wait.
    let tags = submit_on(&bench, 4, 20);
    bench.device.run();
    bench.device.remove();

    bench.surprise_removal();

    assert_completed(&bench, &tags, SrbStatus::NO_DEVICE);
    let tags = submit_on(&bench, 4, 1);
    assert_completed(&bench, &tags, SrbStatus::NO_DEVICE);
}

#[test]
fn a_reset_request_from_any_processor_resets_the_device() {
    let bench = four();
    for processor in 0..4 {
        run_on(processor);
        let resets = bench.device.resets();
        let ended = bench.execute(storport::fake::SrbBuilder::function(SrbFunction::ResetLogicalUnit));

        assert_eq!(ended.completion.status, SrbStatus::SUCCESS);
        assert!(bench.device.resets() > resets);
    }
    run_on(0);
}

#[test]
fn a_restart_with_fewer_messages_uses_fewer_queues_and_the_requests_of_the_others_run_there() {
    for messages in 1..=5 {
        let bench = four();
        bench.adapter.stop();
        // They wait in the queues that were in use.
        let tags = submit_on(&bench, 4, 30);
        bench.settle();
        assert_completed(&bench, &BTreeSet::new(), SrbStatus::SUCCESS);

        bench.adapter.initialize(Interrupts::Messages(messages)).expect("the device starts");
        assert_eq!(bench.queues(), messages.saturating_sub(1).max(1));
        bench.settle();

        assert_completed(&bench, &tags, SrbStatus::SUCCESS);
        // And so do those that come now.
        let tags = submit_on(&bench, 4, 3);
        bench.settle();
        assert_completed(&bench, &tags, SrbStatus::SUCCESS);
        bench.device.assert_no_violations();
    }
}

#[test]
fn a_queue_that_goes_out_of_use_between_choice_and_lock_loses_no_request() {
    // For ever, because what happens in between must not borrow it.
    let bench: &'static DiskBench = Box::leak(Box::new(four()));
    bench.port.at_next_choice(move || {
        bench.adapter.stop();
        bench.adapter.initialize(Interrupts::Messages(3)).expect("the device starts");
    });

    run_on(3);
    let completed = bench.execute(reading(&read10(0, 1), &[bench.buffer(512)]));

    assert_eq!(completed.completion.status, SrbStatus::SUCCESS);
    assert_eq!(bench.queues(), 2);
    bench.device.assert_no_violations();
}

#[test]
fn a_restart_with_the_line_and_with_all_messages_again_uses_one_queue_and_then_all() {
    let bench = four();
    bench.adapter.stop();
    bench.device.set_msix_enabled(false);
    let tags = submit_on(&bench, 4, 3);
    bench.adapter.initialize(Interrupts::Line).expect("the device starts");
    assert_eq!(bench.queues(), 1);
    bench.settle();
    assert_completed(&bench, &tags, SrbStatus::SUCCESS);

    bench.adapter.stop();
    bench.device.set_msix_enabled(true);
    let tags = submit_on(&bench, 4, 3);
    bench.adapter.initialize(Interrupts::Messages(5)).expect("the device starts");

    assert_eq!(bench.queues(), 4);
    bench.settle();
    assert_completed(&bench, &tags, SrbStatus::SUCCESS);
    bench.device.assert_no_violations();
}

#[test]
fn a_dpc_of_a_queue_that_is_not_used_any_more_does_nothing() {
    let bench = four();
    bench.adapter.stop();
    bench.adapter.initialize(Interrupts::Messages(2)).expect("the device starts");
    let tags = submit_on(&bench, 4, 1);

    for queue in [3, 4, 63, u16::MAX] {
        bench.adapter.dpc(DpcKind::RequestQueue(queue));
    }
    bench.settle();

    assert_completed(&bench, &tags, SrbStatus::SUCCESS);
    bench.device.assert_no_violations();
}

#[test]
fn a_restart_of_all_queues_lets_what_waits_in_each_run() {
    let bench = HbaBench::running_on(4, hba(4), vectors(5));
    bench.adapter.stop();
    let tags = submit_on(&bench, 4, 30);

    assert!(bench.adapter.restart());
    bench.settle();

    assert_completed(&bench, &tags, SrbStatus::SUCCESS);
    assert!(notifications(&bench, 4).iter().all(|count| *count > 0));
    bench.device.assert_no_violations();
}

#[test]
fn with_less_memory_there_are_fewer_queues() {
    let shared_of = |queues: u16| {
        let machine = Machine::new(disk(queues), vectors(queues + 1)).with_processors(queues);
        let mut asked = Vec::new();
        let mut resources = machine.resources();
        resources.allocate = Box::new(|bytes| {
            asked.push(bytes);
            Some(machine.ram.alloc(bytes, 4096))
        });
        viostor::Adapter::<host_tests::PortOf<Disk>>::find_adapter(&mut resources).map(drop).expect("found");
        drop(resources);
        asked[0]
    };
    let most = shared_of(2);
    let machine = Machine::new(disk(8), vectors(9)).with_processors(8);
    let mut refused = 0;
    let mut resources = machine.resources();
    resources.allocate = Box::new(|bytes| {
        refused += u32::from(bytes > most);
        (bytes <= most).then(|| machine.ram.alloc(bytes, 4096))
    });

    let adapter = viostor::Adapter::<host_tests::PortOf<Disk>>::find_adapter(&mut resources).expect("found");
    let configuration = resources.configuration.expect("it was told");
    drop(resources);

    assert_eq!(refused, 2, "8 and 4 queues");
    assert_eq!(configuration.max_requests, 512);
    adapter.initialize(Interrupts::Messages(9)).expect("the device starts");
    assert!(machine.device.enabled_queue(1).is_some());
    assert!(machine.device.enabled_queue(2).is_none());
}

#[test]
fn with_less_private_memory_there_are_fewer_queues() {
    let bytes = viostor::Adapter::<host_tests::PortOf<Disk>>::private_bytes;
    let machine = Machine { private_room: Some(bytes(4)), ..Machine::new(disk(8), vectors(9)) };
    let bench = machine.with_processors(8).find::<Viostor>().expect("found");
    bench.start().expect("the device starts");

    assert_eq!(bench.queues(), 4);
}

#[test]
fn what_many_queues_cost_is_bounded() {
    for (queues, most) in [(1, 330), (4, 800), (16, 1110), (64, 2420)] {
        let machine = Machine::new(hba(queues), vectors(queues + 1)).with_processors(queues);
        let mut asked = 0;
        let mut resources = machine.resources();
        resources.allocate = Box::new(|bytes| {
            asked = bytes;
            Some(machine.ram.alloc(bytes, 4096))
        });
        vioscsi::Adapter::<host_tests::PortOf<Hba>>::find_adapter(&mut resources).map(drop).expect("found");
        drop(resources);

        println!("{queues} queues of vioscsi: {asked} bytes");
        assert!(asked <= most << 10, "{queues} queues: {asked} bytes");
    }
}

#[test]
fn the_dump_is_written_through_one_queue() {
    let bench = four();
    let before = bench.configuration.max_requests;
    let dump = bench.crash().find::<Viostor>().expect("found in dump mode");
    dump.start().expect("the device starts");

    assert_eq!(dump.queues(), 1);
    assert!(dump.configuration.max_requests < before);
    dump.execute(writing(&write10(0, 1), &[dump.filled(&pattern(1, 512))]));
    assert_eq!(dump.sectors(0, 1), pattern(1, 512));
}

#[test]
fn notifications_with_positions_are_each_queues_own() {
    let features = Options::default().features | Features::NOTIFICATION_DATA | Features::NOTIF_CONFIG_DATA;
    let bench = DiskBench::running_on(4, disk(4), Options { features, ..vectors(5) });

    for _ in 0..5 {
        let tags = submit_on(&bench, 4, 3);
        bench.settle();
        assert_completed(&bench, &tags, SrbStatus::SUCCESS);
    }

    bench.device.assert_no_violations();
}

#[test]
fn a_stop_while_requests_come_from_everywhere_loses_none() {
    let bench = four();
    let mut all = BTreeSet::new();
    for round in 0..20 {
        let mut tags = submit_on(&bench, 4, 5);
        bench.settle();
        assert_completed(&bench, &tags, SrbStatus::SUCCESS);
        bench.adapter.stop();
        tags = submit_on(&bench, 4, 2);
        all.extend(tags.iter().copied());
        bench.adapter.initialize(Interrupts::Messages(1 + round % 5)).expect("the device starts");
        bench.settle();
        assert_completed(&bench, &tags, SrbStatus::SUCCESS);
    }
    bench.port.issue_dpc(DpcKind::Service);
    bench.settle();
    assert!(!all.is_empty());
    bench.device.assert_no_violations();
}

#[test]
fn a_request_that_goes_on_in_another_queue_leaves_the_scratch_memory_of_others_there_alone() {
    let mut disk = disk(4);
    disk.discard = Some(RangeLimits { max_sectors: 1000, max_seg: 4, alignment: 1 });
    // For ever, because what happens in between must not borrow it.
    let bench: &'static DiskBench = Box::leak(Box::new(DiskBench::running_on(4, disk, vectors(5))));
    let unmap = |block: u8| {
        let mut list = [0; 24];
        (list[1], list[3], list[15], list[19]) = (22, 16, block, 1);
        SrbBuilder::execute(&[0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0]).with_data_out(&list)
    };
    bench.port.at_next_choice(move || {
        bench.adapter.stop();
        bench.adapter.initialize(Interrupts::Messages(2)).expect("the device starts");
        bench.device.hold();
        bench.submit(unmap(1));
        bench.device.run();
    });

    run_on(3);
    bench.submit(unmap(2));
    run_on(0);
    bench.device.run();
    bench.device.release_all();
    bench.settle();

    let completed = bench.port.take_completed();
    assert_eq!(completed.len(), 2);
    assert!(completed.iter().all(|one| one.completion.status == SrbStatus::SUCCESS), "{completed:?}");
    let mut blocks: Vec<_> =
        bench.device.model(|disk| disk.ranges().iter().map(|(_, range)| range.sector.get()).collect());
    blocks.sort_unstable();
    assert_eq!(blocks, [1, 2]);
    bench.device.assert_no_violations();
}
