//! SRB_FUNCTION_ABORT_COMMAND to vioscsi: ABORT TASK for one command, what happens when that is not enough, and functions for
//! several units at once.

use fake_device::disk::Disk;
use fake_device::hba::{Hba, Obedience, Unit};
use fake_device::{Options, Order};
use host_tests::cdb::read10;
use host_tests::{DiskBench, HbaBench, reading};
use storport::fake::SrbBuilder;
use storport::{DpcKind, Miniport, SrbFunction, SrbId, SrbStatus};
use virtio::spec::Features;
use virtio::spec::scsi::Response;

/// Functions of a task management request (virtio 1.3, 5.6.6.2).
const ABORT_TASK: u8 = 0;
const LOGICAL_UNIT_RESET: u8 = 5;

/// Looks at a function before it is given up.
const LOOKS: usize = 201;

/// The number of the request for the abort.
const ABORT: u64 = 99;

fn bench() -> HbaBench {
    HbaBench::with_hba(units(12))
}

/// So many units of target 0.
fn units(count: u16) -> Hba {
    (0..count).fold(Hba::default(), |hba, lun| hba.with(0, lun, Unit::disk(64, 512)))
}

fn abort(bench: &HbaBench, request: SrbId, lun: u8) {
    bench.submit(SrbBuilder::abort(request).to(0, 0, lun).tagged(ABORT));
}

fn reset(lun: u8) -> SrbBuilder {
    SrbBuilder::function(SrbFunction::ResetLogicalUnit).to(0, 0, lun).tagged(100 + u64::from(lun))
}

/// Functions that the device got, each with its unit and its tag.
fn functions(bench: &HbaBench) -> Vec<(u8, u8, u64)> {
    bench.device.model(|hba| {
        hba.task_management()
            .iter()
            .map(|request| (request.function.get() as u8, request.lun.0[3], request.tag.get()))
            .collect()
    })
}

/// Rings of either kind, with tables and without.
fn options() -> [Options; 3] {
    let features = |more| Features::VERSION_1 | more;
    [
        Options::default(),
        Options {
            features: features(Features::RING_INDIRECT_DESC | Features::RING_PACKED),
            ..Options::default()
        },
        Options { features: features(Features::empty()), ..Options::default() },
    ]
}

#[test]
fn an_abort_ends_the_one_command_that_it_is_for() {
    for options in options() {
        let bench = HbaBench::running(units(2), options);
        let resets = bench.device.resets();
        bench.device.hold();
        bench.hold_read(0, 1, 1);
        let meant = bench.hold_read(0, 1, 2);
        bench.hold_read(0, 0, 3);

        abort(&bench, meant, 1);
        bench.device.set_order(Order::Reversed);
        bench.settle();
        bench.device.release(1);
        bench.settle();

        assert_eq!(bench.ends(), [(2, SrbStatus::ABORTED), (ABORT, SrbStatus::SUCCESS)], "{options:?}");
        let asked = functions(&bench);
        assert_eq!(asked.len(), 1, "{options:?}: {asked:?}");
        assert_eq!((asked[0].0, asked[0].1), (ABORT_TASK, 1), "{options:?}");
        assert_eq!((bench.device.resets(), bench.device.in_hand()), (resets, 2), "{options:?}");
        bench.device.release_all();
        bench.settle();
        let mut others = bench.ends();
        others.sort_unstable_by_key(|(tag, _)| *tag);
        assert_eq!(others, [(1, SrbStatus::SUCCESS), (3, SrbStatus::SUCCESS)], "{options:?}");
        bench.assert_units_work(&[(0, 0)]);
    }
}

#[test]
fn a_command_that_has_ended_cannot_be_aborted() {
    let bench = bench();
    let buffer = bench.buffer(512);
    let ended = bench.submit(reading(&read10(0, 1), &[buffer]));
    bench.settle();
    bench.ends();

    abort(&bench, ended, 0);

    // What a miniport says when it cannot find the request ("SRB_STATUS_ABORT_FAILED", ns-srb-_scsi_request_block.md).
    assert_eq!(bench.ends(), [(ABORT, SrbStatus::ABORT_FAILED)]);
    assert_eq!(functions(&bench), []);
    bench.assert_units_work(&[(0, 0)]);
}

/// What QEMU's disks did when the abort came right behind the command. ns-srb-_scsi_request_block.md has SRB_STATUS_ABORTED for a
/// request that was aborted, and SRB_STATUS_BUS_RESET for one that a reset of the bus has met, of which there was none.
#[test]
fn a_command_that_the_device_has_done_when_it_is_to_abort_it_ends_as_aborted() {
    let bench = bench();
    bench.device.hold();
    let meant = bench.hold_read(0, 1, 1);
    // Done, and the driver has not looked yet.
    bench.device.release(1);

    abort(&bench, meant, 1);
    bench.device.run();
    bench.device.release_all();
    bench.settle();

    assert_eq!(bench.ends(), [(1, SrbStatus::ABORTED), (ABORT, SrbStatus::SUCCESS)]);
    bench.assert_units_work(&[(0, 0)]);
}

/// What the stand saw on four processors: one has taken the command out of the ring and not given it back yet, another takes the
/// answer.
#[test]
fn an_abort_is_answered_after_a_command_that_another_processor_is_giving_back() {
    let bench: &'static HbaBench = Box::leak(Box::new(bench()));
    bench.device.hold();
    for tag in [1, 2] {
        let meant = bench.hold_read(0, 1, tag);
        bench.submit(SrbBuilder::abort(meant).to(0, 0, 1).tagged(ABORT + tag));
    }
    bench.device.run();
    bench.device.release_all();

    bench.port.at_next_completion(|| bench.adapter.dpc(DpcKind::Service));
    bench.adapter.dpc(DpcKind::RequestQueue(0));
    bench.wait(1);
    bench.settle();

    let ended: Vec<u64> = bench.ends().iter().map(|(tag, _)| *tag).collect();
    let place = |tag| ended.iter().position(|one| *one == tag).expect("it has ended");
    assert_eq!(ended.len(), 4, "{ended:?}");
    assert!([1, 2].iter().all(|tag| place(*tag) < place(ABORT + *tag)), "{ended:?}");
    bench.assert_units_work(&[(0, 0)]);
}

#[test]
fn a_command_that_waits_for_the_ring_is_aborted_without_the_device() {
    let features = Features::VERSION_1;
    let bench = HbaBench::running(units(2), Options { queue_size: 4, features, ..Options::default() });
    bench.device.hold();
    bench.hold_read(0, 0, 1);
    // There is no place for these.
    bench.hold_read(0, 1, 2);
    let meant = bench.hold_read(0, 1, 3);

    abort(&bench, meant, 1);

    assert_eq!(bench.ends(), [(3, SrbStatus::ABORTED), (ABORT, SrbStatus::SUCCESS)]);
    assert_eq!(functions(&bench), []);
    bench.device.release_all();
    bench.settle();
    assert_eq!(bench.ends(), [(1, SrbStatus::SUCCESS), (2, SrbStatus::SUCCESS)]);
    bench.assert_units_work(&[(0, 0)]);
}

#[test]
fn an_abort_that_the_device_refuses_or_does_not_answer_fails_and_nothing_else_is_done() {
    // Of what it has not refused it may have done a part: its success is not believed any more.
    for (obedience, status) in [
        (Obedience::Says(Response::FUNCTION_REJECTED), SrbStatus::SUCCESS),
        (Obedience::Silent, SrbStatus::ABORTED),
    ] {
        let bench = bench();
        let resets = bench.device.resets();
        bench.device.model(|hba| hba.obedience = obedience);
        bench.device.hold();
        let meant = bench.hold_read(0, 1, 1);

        abort(&bench, meant, 1);
        bench.device.set_order(Order::Reversed);
        bench.device.run();
        if obedience == Obedience::Silent {
            bench.wait(LOOKS);
        } else {
            bench.device.release(1);
            bench.deliver_interrupts();
        }

        assert_eq!(bench.ends(), [(ABORT, SrbStatus::ABORT_FAILED)], "{obedience:?}");
        bench.device.release_all();
        bench.settle();
        assert_eq!(bench.ends(), [(1, status)], "{obedience:?}");
        assert_eq!(bench.device.resets(), resets, "{obedience:?}");
        bench.device.model(|hba| hba.obedience = Obedience::Prompt);
        assert!(bench.adapter.reset_bus());
        bench.assert_units_work(&[(0, 0)]);
    }
}

#[test]
fn an_abort_of_a_command_that_the_device_keeps_fails_and_the_command_ends_once() {
    let bench = bench();
    let resets = bench.device.resets();
    bench.device.model(|hba| hba.obedience = Obedience::Late);
    bench.device.hold();
    let meant = bench.hold_read(0, 1, 1);

    abort(&bench, meant, 1);
    bench.device.set_order(Order::Reversed);
    bench.device.run();
    bench.device.release(1);
    bench.deliver_interrupts();
    assert_eq!(bench.ends(), [], "it may come back yet");
    bench.wait(LOOKS);

    assert_eq!(bench.ends(), [(ABORT, SrbStatus::ABORT_FAILED)]);
    bench.device.release_all();
    bench.settle();
    assert_eq!(bench.ends(), [(1, SrbStatus::ABORTED)]);
    assert_eq!(bench.device.resets(), resets);
    bench.assert_units_work(&[(0, 0)]);
}

#[test]
fn a_reset_of_the_unit_takes_the_place_of_an_abort() {
    let bench = bench();
    bench.device.hold();
    let meant = bench.hold_read(0, 1, 1);
    bench.device.model(|hba| hba.obedience = Obedience::Silent);
    abort(&bench, meant, 1);
    bench.device.run();

    bench.device.model(|hba| hba.obedience = Obedience::Prompt);
    bench.submit(reset(1));
    bench.device.set_order(Order::Reversed);
    bench.device.run();
    bench.device.release(1);
    bench.settle();

    assert_eq!(
        bench.ends(),
        [(1, SrbStatus::BUS_RESET), (ABORT, SrbStatus::SUCCESS), (101, SrbStatus::SUCCESS)]
    );
    bench.assert_units_work(&[(0, 0)]);
}

#[test]
fn units_are_reset_side_by_side_and_one_that_does_not_answer_holds_up_no_other() {
    for options in options() {
        let bench = HbaBench::running(units(12), options);
        let resets = bench.device.resets();
        bench.device.hold();
        for lun in 0..12 {
            bench.submit(reset(lun));
        }

        bench.device.run();
        let at_once = bench.device.in_hand();
        // All but the first.
        bench.device.set_order(Order::Reversed);
        for (answers, left) in [(7, 1), (4, 1)] {
            bench.device.release(answers);
            assert_eq!(bench.device.in_hand(), left, "{options:?}");
            bench.deliver_interrupts();
            bench.device.run();
        }

        assert_eq!(at_once, 8, "{options:?}");
        let mut ended = bench.ends();
        ended.sort_unstable_by_key(|(tag, _)| *tag);
        assert_eq!(
            ended,
            [101, 102, 103, 104, 105, 106, 107, 108, 109, 110, 111].map(|tag| (tag, SrbStatus::SUCCESS))
        );
        assert!(functions(&bench).iter().all(|(function, ..)| *function == LOGICAL_UNIT_RESET));
        bench.device.release_all();
        bench.deliver_interrupts();
        assert_eq!(bench.ends(), [(100, SrbStatus::SUCCESS)], "{options:?}");
        assert_eq!(bench.device.resets(), resets, "{options:?}");
        bench.assert_units_work(&[(0, 0)]);
    }
}

#[test]
fn what_finds_no_place_in_the_control_queue_waits_for_one() {
    // Two descriptors for each function.
    let features = Features::VERSION_1;
    let bench = HbaBench::running(units(3), Options { queue_size: 4, features, ..Options::default() });
    let resets = bench.device.resets();
    bench.device.hold();
    for lun in 0..3 {
        bench.submit(reset(lun));
    }
    bench.device.run();
    assert_eq!(bench.device.in_hand(), 2);

    bench.device.release_all();
    bench.settle();

    assert_eq!(bench.ends(), [100, 101, 102].map(|tag| (tag, SrbStatus::SUCCESS)));
    assert_eq!(bench.device.resets(), resets);
    bench.assert_units_work(&[(0, 0)]);
}

#[test]
fn units_of_a_target_that_do_not_answer_are_one_reset_of_it() {
    let bench = bench();
    let resets = bench.device.resets();
    bench.device.model(|hba| hba.obedience = Obedience::Silent);
    for lun in 0..3 {
        bench.submit(reset(lun));
    }
    bench.device.run();

    bench.device.model(|hba| hba.obedience = Obedience::Prompt);
    bench.wait(LOOKS);
    bench.deliver_interrupts();

    let asked: Vec<u8> = functions(&bench).iter().map(|(function, ..)| *function).collect();
    assert_eq!(asked, [5, 5, 5, 4]);
    assert_eq!(bench.ends(), [100, 101, 102].map(|tag| (tag, SrbStatus::SUCCESS)));
    assert_eq!(bench.device.resets(), resets);
    bench.assert_units_work(&[(0, 0)]);
}

#[test]
fn a_disk_without_functions_says_that_it_aborts_nothing() {
    let bench = DiskBench::with_disk(Disk::new(64));
    bench.device.hold();
    let buffer = bench.buffer(512);
    let read = bench.submit(reading(&read10(0, 1), &[buffer]).tagged(1));

    bench.submit(SrbBuilder::abort(read).tagged(ABORT));

    let status = bench.port.take_completed()[0].completion.status;
    assert_eq!(status, SrbStatus::INVALID_REQUEST);
    bench.device.release_all();
    bench.settle();
}
