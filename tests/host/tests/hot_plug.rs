//! Units of vioscsi that come, go and change while the adapter runs: the event queue (virtio 1.3, 5.6.6.3).

use adapter::Event as Logged;
use fake_device::hba::{Hba, Obedience, Unit};
use fake_device::{Lie, Options};
use host_tests::cdb::read10;
use host_tests::{HbaBench, reading};
use storport::fake::SrbBuilder;
use storport::{Address, Miniport, PnpAction, SrbFunction, SrbStatus};
use virtio::spec::Features;
use virtio::spec::scsi::{Event, EventType, Lun};

/// Number of the event queue.
const EVENT_QUEUE: u16 = 1;

/// Buffers that the driver keeps in it.
const BUFFERS: usize = 16;

/// CAPACITY DATA HAS CHANGED (SPC-5, annex F).
const CAPACITY_DATA_HAS_CHANGED: (u8, u8) = (0x2a, 0x09);

fn hba() -> Hba {
    let mut hba = Hba::default().with(0, 0, Unit::disk(64, 512)).with(0, 1, Unit::disk(64, 512));
    hba.features = Features::SCSI_HOTPLUG | Features::SCSI_CHANGE;
    hba
}

/// Every ring, and every way an interrupt comes.
fn options() -> [Options; 6] {
    let with = |features| Options { features, ..Options::default() };
    let modern = Features::VERSION_1 | Features::RING_INDIRECT_DESC;
    [
        with(modern),
        with(modern | Features::RING_EVENT_IDX),
        with(modern | Features::RING_PACKED | Features::RING_EVENT_IDX),
        Options { vectors: 0, ..with(modern) },
        Options { vectors: 1, ..with(modern) },
        Options { legacy: true, ..with(Features::empty()) },
    ]
}

/// An adapter whose device has the buffers for events.
fn bench(options: Options) -> HbaBench {
    let bench = HbaBench::running(hba(), options);
    bench.settle();
    bench.port.take_bus_changes();
    bench
}

fn usual() -> HbaBench {
    let [usual, ..] = options();
    bench(usual)
}

fn assert_works(bench: &HbaBench) {
    let buffer = bench.buffer(512);
    let read = bench.execute(reading(&read10(0, 1), &[buffer]).to(0, 0, 0));
    assert_eq!(read.completion.status, SrbStatus::SUCCESS);
    bench.device.assert_no_violations();
}

fn unit(target: u8, lun: u8) -> Address {
    Address { path: 0, target, lun }
}

#[test]
fn windows_looks_at_the_bus_when_a_unit_comes_and_when_it_goes() {
    for options in options() {
        let bench = bench(options);

        bench.device.plug(3, 0, Unit::disk(64, 512));
        bench.settle();
        let come = bench.port.take_bus_changes();
        bench.device.unplug(3, 0);
        bench.settle();
        let gone = bench.port.take_bus_changes();

        assert_eq!((come, gone), (vec![0], vec![0]), "{options:?}");
        assert_eq!(bench.device.kept(EVENT_QUEUE), BUFFERS, "{options:?}");
        assert_works(&bench);
    }
}

#[test]
fn the_requests_of_a_unit_that_goes_end_once_and_when_the_device_has_given_them_back() {
    for options in options() {
        let bench = bench(options);
        bench.device.hold();
        for tag in 0..6_u64 {
            let buffer = bench.buffer(512);
            bench.submit(reading(&read10(0, 1), &[buffer]).to(0, 0, (tag % 2) as u8).tagged(tag));
        }
        bench.device.run();
        bench.device.unplug(0, 1);
        bench.deliver_interrupts();
        let told = bench.port.take_bus_changes();

        // What the port driver says of the unit while the device still has its requests.
        bench.submit(SrbBuilder::function(SrbFunction::Pnp(PnpAction::UnitGone)).to(0, 0, 1).tagged(99));
        let before: Vec<u64> = bench.port.take_completed().iter().map(|done| done.tag).collect();
        bench.device.release_all();
        bench.settle();

        let mut done = bench.port.take_completed();
        done.sort_by_key(|done| done.tag);
        let ends: Vec<_> = done.iter().map(|done| (done.tag, done.completion.status)).collect();
        // The fake's unit that is not there says so with sense data.
        let expected =
            [0, 1, 2, 3, 4, 5].map(|tag| (tag, [SrbStatus::SUCCESS, SrbStatus::ERROR][tag as usize % 2]));
        assert_eq!((told, before, ends), (vec![0], vec![99], expected.to_vec()), "{options:?}");
        assert_works(&bench);
    }
}

#[test]
fn an_adapter_that_has_lost_its_last_unit_finds_the_next_one() {
    for options in options() {
        let bench = bench(options);
        bench.device.unplug(0, 0);
        bench.device.unplug(0, 1);
        bench.settle();
        let gone = bench.execute(SrbBuilder::execute(&[0; 6]));
        let reset = bench.execute(SrbBuilder::function(SrbFunction::ResetLogicalUnit));
        bench.port.take_bus_changes();

        bench.device.plug(0, 0, Unit::disk(64, 512));
        bench.settle();

        assert_eq!(gone.completion.status, SrbStatus::INVALID_TARGET_ID, "{options:?}");
        assert_eq!(reset.completion.status, SrbStatus::SUCCESS, "{options:?}");
        assert_eq!(bench.port.take_bus_changes(), [0], "{options:?}");
        assert_works(&bench);
    }
}

#[test]
fn windows_looks_at_a_unit_that_changed() {
    for options in options() {
        let bench = bench(options);

        bench.device.change_unit(0, 1, CAPACITY_DATA_HAS_CHANGED, |unit| unit.content().resize(128 * 512, 0));
        bench.settle();

        assert_eq!(bench.port.take_unit_changes(), [unit(0, 1)], "{options:?}");
        assert_eq!(bench.port.take_bus_changes(), [], "{options:?}");
        assert_works(&bench);
    }
}

#[test]
fn a_buffer_comes_back_to_the_device_each_time() {
    for options in options() {
        let bench = bench(options);

        for round in 0..300 {
            bench.device.plug(3, 0, Unit::disk(64, 512));
            bench.device.unplug(3, 0);
            bench.settle();
            assert_eq!(bench.port.take_bus_changes(), [0], "{options:?}, round {round}");
        }

        assert_eq!(bench.device.kept(EVENT_QUEUE), BUFFERS, "{options:?}");
        assert_works(&bench);
    }
}

#[test]
fn of_more_events_than_buffers_the_lost_ones_are_not_missed() {
    for options in options() {
        let bench = bench(options);

        for _ in 0..=BUFFERS {
            bench.device.change_unit(0, 1, CAPACITY_DATA_HAS_CHANGED, |_| {});
        }
        bench.settle();

        assert_eq!(bench.port.take_unit_changes(), [unit(0, 1)], "{options:?}");
        assert_eq!(bench.port.take_bus_changes(), [0], "what was lost is anything, {options:?}");
        assert_works(&bench);
    }
}

#[test]
fn each_of_several_units_is_told_of_while_the_port_driver_works_on_the_first() {
    let bench = usual();
    bench.port.hold_unit_changes();

    bench.device.change_unit(0, 0, CAPACITY_DATA_HAS_CHANGED, |_| {});
    bench.device.change_unit(0, 1, CAPACITY_DATA_HAS_CHANGED, |_| {});
    bench.settle();
    let first = bench.port.take_unit_changes();
    bench.port.end_unit_change(&bench.adapter);
    bench.settle();

    assert_eq!(first, [unit(0, 0)]);
    assert_eq!(bench.port.take_unit_changes(), [unit(0, 1)]);
    assert_works(&bench);
}

#[test]
fn an_event_that_nobody_knows_changes_nothing() {
    let bench = usual();

    bench.device.send_event(Event { kind: 77.into(), lun: Lun::new(0, 0), reason: 1.into() });
    bench.settle();

    assert_eq!(bench.port.take_unit_changes(), []);
    assert_eq!(bench.port.take_bus_changes(), []);
    assert_eq!(bench.device.kept(EVENT_QUEUE), BUFFERS);
    assert_works(&bench);
}

#[test]
fn events_come_again_after_a_reset_of_the_device() {
    for options in options() {
        let bench = bench(options);
        let resets = bench.device.resets();
        bench.device.need_reset();
        bench.settle();
        bench.port.take_bus_changes();

        bench.device.plug(3, 0, Unit::disk(64, 512));
        bench.settle();

        assert_eq!(bench.device.resets(), resets + 1, "{options:?}");
        assert_eq!(bench.port.take_bus_changes(), [0], "{options:?}");
        assert_works(&bench);
    }
}

#[test]
fn a_device_that_lies_in_the_event_queue_is_reset_and_then_heard_again() {
    for lie in [Lie::UsedIdOutOfRange, Lie::UsedTwice, Lie::UsedIndexJump(9)] {
        let [split, _, packed, ..] = options();
        for options in [split, packed] {
            let bench = bench(options);
            let resets = bench.device.resets();

            bench.device.lie(lie);
            bench.device.plug(3, 0, Unit::disk(64, 512));
            bench.settle();
            bench.device.be_honest();
            bench.port.take_bus_changes();
            bench.device.unplug(3, 0);
            bench.settle();

            assert_eq!(bench.device.resets(), resets + 1, "{lie:?}, {options:?}");
            assert_eq!(bench.port.take_bus_changes(), [0], "{lie:?}, {options:?}");
            assert_works(&bench);
        }
    }
}

#[test]
fn changes_that_have_to_wait_do_not_put_off_the_next_look_at_a_reset() {
    let bench = usual();
    bench.port.hold_unit_changes();
    bench.device.change_unit(0, 0, CAPACITY_DATA_HAS_CHANGED, |_| {});
    bench.settle();
    bench.device.model(|hba| hba.obedience = Obedience::Silent);
    bench.submit(SrbBuilder::function(SrbFunction::ResetLogicalUnit).to(0, 0, 1).tagged(99));
    bench.settle();

    let looks: Vec<_> = (0..500)
        .map_while(|_| {
            bench.device.change_unit(0, 1, CAPACITY_DATA_HAS_CHANGED, |_| {});
            bench.settle();
            bench.port.take_completed().is_empty().then(|| bench.port.run_timer(&bench.adapter))
        })
        .collect();

    assert_eq!(looks, [Some(10_000); 402], "until the device was reset");
    bench.port.end_unit_change(&bench.adapter);
    bench.settle();
    assert!(bench.port.take_unit_changes().contains(&unit(0, 1)));
    assert_works(&bench);
}

#[test]
fn a_unit_beyond_windows_addresses_is_none_that_changed() {
    let bench = usual();
    let EventType(changed) = EventType::PARAM_CHANGE;

    // The last ones are 0, and 1, in eight bits.
    for (target, lun) in [(255, 0), (0, 255), (0, 256), (0, 257), (0, 0x3f00)] {
        bench.device.send_event(Event { kind: changed.into(), lun: Lun::new(target, lun), reason: 0.into() });
        bench.settle();

        assert_eq!(bench.port.take_unit_changes(), [], "{target}:{lun}");
        assert_eq!(bench.port.take_bus_changes(), [0], "{target}:{lun}");
    }
    assert_works(&bench);
}

#[test]
fn a_device_that_tells_no_more_of_units_after_a_stop_is_started_without_that() {
    let bench = usual();
    let told = Features::SCSI_HOTPLUG | Features::SCSI_CHANGE;

    for lie in [Some(Lie::FeaturesWithdrawn(told.bits())), None] {
        bench.adapter.stop();
        bench.device.be_honest();
        lie.into_iter().for_each(|lie| bench.device.lie(lie));
        assert!(bench.adapter.restart(), "{lie:?}");
        bench.settle();

        assert_eq!(bench.device.accepted().contains(told), lie.is_none());
        assert_works(&bench);
    }
}

#[test]
fn a_device_that_lies_in_the_event_queue_again_and_again_is_used_without_it() {
    let [split, _, packed, ..] = options();
    for options in [split, packed] {
        let bench = bench(options);
        let resets = bench.device.resets();

        for _ in 0..20 {
            bench.device.lie(Lie::UsedIdOutOfRange);
            bench.device.plug(3, 0, Unit::disk(64, 512));
            bench.settle();
            bench.device.be_honest();
        }

        assert_eq!(bench.device.resets(), resets + 2, "{options:?}");
        assert_eq!(bench.port.log_entries().last(), Some(&Logged::EventsGivenUp.into()), "{options:?}");
        assert_eq!(bench.port.log_entries().len(), 3, "{options:?}");
        assert_works(&bench);
        // Not after another reset either.
        assert!(bench.adapter.reset_bus());
        bench.settle();
        assert_eq!(bench.device.kept(EVENT_QUEUE), 0, "{options:?}");
        assert_works(&bench);
    }
}

#[test]
fn a_device_works_whatever_sizes_its_control_and_its_event_queue_have() {
    for size in [0_u16, 1, 2, 3, 4, 5, 1024] {
        for options in options() {
            // Nobody may choose another size of a legacy device's, and its queues end with the first that has none.
            if options.legacy && !size.is_power_of_two() {
                continue;
            }
            let bench = bench(Options { first_queues: (2, size), ..options });

            let done = bench.execute(SrbBuilder::function(SrbFunction::ResetLogicalUnit).to(0, 0, 1));
            bench.device.plug(3, 0, Unit::disk(64, 512));
            bench.settle();

            assert_eq!(done.completion.status, SrbStatus::SUCCESS, "{size}, {options:?}");
            let told = bench.port.take_bus_changes();
            assert_eq!(told, vec![0; usize::from(size != 0)], "{size}, {options:?}");
            assert_works(&bench);
            bench.adapter.stop();
            assert!(bench.adapter.restart());
            bench.settle();
            assert_works(&bench);
        }
    }
}
