//! Resets of a unit or a target of vioscsi: a task management function first, and what happens when that is not enough.

use std::sync::mpsc::channel;

use fake_device::hba::{Hba, Obedience, Unit};
use fake_device::{Lie, Options, Order};
use host_tests::cdb::{read10, write10};
use host_tests::{HbaBench, pattern, reading, writing};
use storport::fake::SrbBuilder;
use storport::{Miniport, PnpAction, SrbFunction, SrbStatus};
use virtio::spec::Features;
use virtio::spec::scsi::Response;

/// Functions of a task management request (virtio 1.3, 5.6.6.2).
const I_T_NEXUS_RESET: u8 = 4;
const LOGICAL_UNIT_RESET: u8 = 5;

/// Looks at a function before the next one is tried.
const LOOKS: usize = 201;

fn hba() -> Hba {
    Hba::default().with(0, 0, Unit::disk(64, 512)).with(0, 1, Unit::disk(64, 512)).with(
        3,
        0,
        Unit::disk(64, 512),
    )
}

fn options() -> [Options; 5] {
    let features = |more| Features::VERSION_1 | more;
    [
        Options::default(),
        Options {
            features: features(Features::RING_INDIRECT_DESC | Features::RING_PACKED),
            ..Options::default()
        },
        Options { features: features(Features::empty()), ..Options::default() },
        Options { vectors: 0, ..Options::default() },
        Options { legacy: true, ..Options::default() },
    ]
}

fn bench() -> HbaBench {
    HbaBench::with_hba(hba())
}

fn reset(function: SrbFunction, target: u8, lun: u8) -> SrbBuilder {
    SrbBuilder::function(function).to(0, target, lun).tagged(99)
}

/// Functions that the device got, each with target and unit.
fn functions(bench: &HbaBench) -> Vec<(u8, u8, u8)> {
    bench.device.model(|hba| {
        hba.task_management()
            .iter()
            .map(|request| (request.function.get() as u8, request.lun.0[1], request.lun.0[3]))
            .collect()
    })
}

/// The messages that there are, those of the last queue first.
fn take_control_interrupt_first(bench: &HbaBench) {
    let mut interrupts = bench.device.take_interrupts();
    interrupts.reverse();
    for interrupt in interrupts {
        if let fake_device::Interrupt::Message(message) = interrupt {
            bench.port.interrupt(&bench.adapter, Some(u32::from(message)));
        }
    }
}

fn assert_works(bench: &HbaBench) {
    bench.assert_units_work(&[(0, 0), (0, 1), (3, 0)]);
}

#[test]
fn a_unit_and_a_target_are_reset_by_a_function_of_the_device_which_goes_on() {
    for options in options() {
        let bench = HbaBench::running(hba(), options);
        let resets = bench.device.resets();

        let of_unit = bench.execute(reset(SrbFunction::ResetLogicalUnit, 0, 1));
        let of_target = bench.execute(reset(SrbFunction::ResetDevice, 3, 0));

        assert_eq!(of_unit.completion.status, SrbStatus::SUCCESS, "{options:?}");
        assert_eq!(of_target.completion.status, SrbStatus::SUCCESS, "{options:?}");
        assert_eq!(functions(&bench), [(LOGICAL_UNIT_RESET, 0, 1), (I_T_NEXUS_RESET, 3, 0)], "{options:?}");
        assert_eq!(bench.device.resets(), resets);
        assert_works(&bench);
    }
}

#[test]
fn a_reset_on_a_bus_that_there_is_not_resets_nothing() {
    let bench = bench();
    let resets = bench.device.resets();

    for function in [SrbFunction::ResetLogicalUnit, SrbFunction::ResetDevice, SrbFunction::ResetBus] {
        let done = bench.execute(SrbBuilder::function(function).to(1, 0, 1));

        assert_eq!(done.completion.status, SrbStatus::NO_DEVICE, "{function:?}");
    }
    assert_eq!((functions(&bench), bench.device.resets()), (vec![], resets));
    assert_works(&bench);
}

#[test]
fn the_bus_is_reset_with_the_whole_device() {
    let bench = bench();
    let resets = bench.device.resets();

    let done = bench.execute(reset(SrbFunction::ResetBus, 0, 0));

    assert_eq!(done.completion.status, SrbStatus::SUCCESS);
    assert_eq!(functions(&bench), []);
    assert_eq!(bench.device.resets(), resets + 1);
    assert_works(&bench);
}

#[test]
fn a_units_reset_leaves_the_requests_of_others_with_the_device() {
    let bench = bench();
    bench.device.hold();
    bench.hold_read(0, 0, 1);
    bench.hold_read(3, 0, 2);
    bench.submit(reset(SrbFunction::ResetLogicalUnit, 0, 1));
    bench.device.set_order(Order::Reversed);
    bench.device.run();

    // The function's answer, which came last.
    bench.device.release(1);
    bench.deliver_interrupts();

    assert_eq!(bench.ends(), [(99, SrbStatus::SUCCESS)]);
    assert_eq!(bench.device.in_hand(), 2);
    bench.device.release_all();
    bench.settle();
    let mut others = bench.ends();
    others.sort_unstable_by_key(|(tag, _)| *tag);
    assert_eq!(others, [(1, SrbStatus::SUCCESS), (2, SrbStatus::SUCCESS)]);
    assert_works(&bench);
}

#[test]
fn a_units_requests_end_with_its_reset_as_the_device_says() {
    for function in [SrbFunction::ResetLogicalUnit, SrbFunction::ResetDevice] {
        let bench = bench();
        bench.device.hold();
        bench.hold_read(3, 0, 1);
        bench.hold_read(3, 0, 2);
        bench.hold_read(0, 0, 3);
        let before = bench.device.resets();

        bench.submit(reset(function, 3, 0));
        bench.device.set_order(Order::Reversed);
        bench.settle();
        bench.device.release(1);
        bench.settle();

        let mut ended = bench.ends();
        assert_eq!(ended.pop(), Some((99, SrbStatus::SUCCESS)), "{function:?}");
        ended.sort_unstable_by_key(|(tag, _)| *tag);
        assert_eq!(ended, [1, 2].map(|tag| (tag, SrbStatus::BUS_RESET)), "{function:?}");
        assert_eq!((bench.device.resets(), bench.device.in_hand()), (before, 1));
        assert_works(&bench);
    }
}

#[test]
fn a_function_that_the_device_does_not_know_is_followed_by_the_next_one() {
    let bench = bench();
    let resets = bench.device.resets();
    bench.device.model(|hba| hba.obedience = Obedience::Says(Response::FUNCTION_REJECTED));
    bench.device.hold();
    bench.hold_read(0, 1, 1);
    bench.device.set_order(Order::Reversed);

    bench.submit(reset(SrbFunction::ResetLogicalUnit, 0, 1));
    for _ in 0..2 {
        bench.device.run();
        bench.device.release(1);
        bench.deliver_interrupts();
    }

    assert_eq!(functions(&bench), [(LOGICAL_UNIT_RESET, 0, 1), (I_T_NEXUS_RESET, 0, 0)]);
    assert_eq!(bench.ends(), [(1, SrbStatus::BUS_RESET), (99, SrbStatus::SUCCESS)]);
    assert_eq!(bench.device.resets(), resets + 1);
    assert_works(&bench);
}

#[test]
fn a_request_that_never_got_into_the_ring_ends_with_the_reset_of_its_unit_and_no_other() {
    let features = Features::VERSION_1;
    let bench = HbaBench::running(hba(), Options { queue_size: 4, features, ..Options::default() });
    bench.device.hold();
    bench.hold_read(0, 0, 1);
    // There is no place for these.
    bench.hold_read(3, 0, 2);
    bench.hold_read(0, 1, 3);
    bench.hold_read(3, 0, 4);
    bench.submit(reset(SrbFunction::ResetLogicalUnit, 3, 0));
    bench.device.set_order(Order::Reversed);
    bench.device.run();

    bench.device.release(1);
    bench.deliver_interrupts();

    assert_eq!(
        bench.ends(),
        [(2, SrbStatus::BUS_RESET), (4, SrbStatus::BUS_RESET), (99, SrbStatus::SUCCESS)]
    );
    bench.device.release_all();
    bench.settle();
    assert_eq!(bench.ends(), [(1, SrbStatus::SUCCESS), (3, SrbStatus::SUCCESS)]);
    assert_works(&bench);
}

#[test]
fn a_request_that_the_device_keeps_although_its_unit_was_reset_ends_with_a_reset_of_the_device() {
    let bench = bench();
    bench.device.model(|hba| hba.obedience = Obedience::Late);
    let resets = bench.device.resets();
    bench.device.hold();
    bench.hold_read(0, 1, 1);
    bench.submit(reset(SrbFunction::ResetLogicalUnit, 0, 1));
    bench.device.set_order(Order::Reversed);
    bench.device.run();

    bench.device.release(1);
    bench.deliver_interrupts();
    bench.wait(LOOKS - 1);
    assert_eq!(bench.ends(), []);
    bench.wait(1);

    assert_eq!(bench.ends(), [(1, SrbStatus::BUS_RESET), (99, SrbStatus::SUCCESS)]);
    assert_eq!(bench.device.resets(), resets + 1);
    assert_works(&bench);
}

/// What is in the queues is taken in no order (virtio 1.3, 5.6.6.1).
#[test]
fn a_request_that_the_device_takes_after_the_reset_of_its_unit_is_waited_for() {
    for function in [SrbFunction::ResetLogicalUnit, SrbFunction::ResetDevice] {
        let bench = bench();
        let resets = bench.device.resets();
        bench.device.hold();
        bench.hold_read(3, 0, 1);
        bench.hold_read(0, 1, 2);
        // The function finds nothing that it could end.
        bench.device.model(|hba| hba.obedience = Obedience::Says(Response::FUNCTION_SUCCEEDED));
        bench.submit(reset(function, 0, 1));
        bench.device.set_order(Order::Reversed);
        bench.device.run();
        bench.device.release(1);
        bench.deliver_interrupts();
        bench.wait(3);
        assert_eq!(bench.ends(), [], "{function:?}");

        bench.device.release(1);
        bench.settle();
        bench.wait(1);

        assert_eq!(bench.ends(), [(2, SrbStatus::BUS_RESET), (99, SrbStatus::SUCCESS)], "{function:?}");
        assert_eq!((bench.device.resets(), bench.device.in_hand()), (resets, 1), "{function:?}");
        assert_works(&bench);
    }
}

#[test]
fn a_request_that_the_device_gave_back_just_before_is_sent_again_and_not_taken_for_a_lie() {
    let bench = bench();
    let resets = bench.device.resets();
    bench.device.model(|hba| hba.obedience = Obedience::Waits);
    bench.device.hold();
    bench.hold_read(0, 1, 1);
    bench.submit(reset(SrbFunction::ResetLogicalUnit, 0, 1));
    bench.device.run();

    // Both are there.
    bench.device.release(2);
    take_control_interrupt_first(&bench);

    assert_eq!(bench.ends(), [(1, SrbStatus::BUS_RESET), (99, SrbStatus::SUCCESS)]);
    assert_eq!(bench.device.resets(), resets);
    assert_works(&bench);
}

#[test]
fn a_write_that_a_unit_says_was_done_while_it_was_reset_is_no_success() {
    // What is sent as it is; what is sent in steps, or goes through scratch memory.
    for seg_max in [254, 1] {
        for function in [SrbFunction::ResetLogicalUnit, SrbFunction::ResetDevice] {
            let mut hba = hba();
            hba.seg_max = seg_max;
            let bench = HbaBench::running(hba, Options::default());
            bench.device.model(|hba| hba.obedience = Obedience::Pretends);
            let resets = bench.device.resets();
            let content = pattern(1, 512);
            let buffer = bench.filled(&content);
            let write = |tag| writing(&write10(3, 1), &[buffer]).to(0, 3, 0).tagged(tag);
            bench.device.hold();
            bench.submit(write(1));
            bench.device.run();

            bench.submit(reset(function, 3, 0));
            bench.device.run();
            bench.device.release_all();
            bench.settle();
            let ended = bench.ends();
            bench.submit(write(2));
            bench.device.run();
            bench.device.release_all();
            bench.settle();

            assert_eq!(ended, [(1, SrbStatus::BUS_RESET), (99, SrbStatus::SUCCESS)], "{function:?}");
            assert_eq!(bench.ends(), [(2, SrbStatus::SUCCESS)], "{function:?}");
            let written = bench.device.model(|hba| hba.unit(3, 0).content()[3 * 512..4 * 512].to_vec());
            assert_eq!(written, content, "{function:?}");
            assert_eq!(bench.device.resets(), resets, "{function:?}");
            assert_works(&bench);
        }
    }
}

#[test]
fn a_reset_of_a_unit_that_is_gone_leaves_the_others_alone() {
    for (target, lun) in [(0, 1), (0, 2), (3, 0), (7, 0)] {
        let bench = bench();
        bench.device.model(|hba| hba.remove_unit(target, lun.into()));
        let resets = bench.device.resets();
        bench.device.hold();
        bench.hold_read(0, 0, 1);
        bench.submit(reset(SrbFunction::ResetLogicalUnit, target, lun));
        bench.device.set_order(Order::Reversed);
        bench.device.run();
        bench.device.release(1);
        bench.deliver_interrupts();

        assert_eq!(bench.ends(), [(99, SrbStatus::SUCCESS)], "{target}:{lun}");
        assert_eq!(functions(&bench), [(LOGICAL_UNIT_RESET, target, lun)]);
        bench.device.release_all();
        bench.settle();
        assert_eq!(bench.ends(), [(1, SrbStatus::SUCCESS)], "{target}:{lun}");
        assert_eq!(bench.device.resets(), resets, "{target}:{lun}");
        bench.device.assert_no_violations();
    }
}

#[test]
fn a_function_that_is_not_answered_is_followed_by_the_next_one_and_then_by_a_reset_of_the_device() {
    let bench = bench();
    let resets = bench.device.resets();
    bench.device.hold();
    bench.hold_read(0, 1, 1);
    bench.submit(reset(SrbFunction::ResetLogicalUnit, 0, 1));
    bench.device.run();
    bench.wait(LOOKS);
    assert_eq!(bench.ends(), []);
    bench.wait(LOOKS);

    assert_eq!(bench.ends(), [(1, SrbStatus::BUS_RESET), (99, SrbStatus::SUCCESS)]);
    assert_eq!(bench.device.resets(), resets + 1);
    assert_eq!(bench.port.run_timer(&bench.adapter), None, "nothing is left to look at");
    assert_works(&bench);
}

#[test]
fn a_late_answer_is_not_taken_for_that_of_the_next_function() {
    let bench = bench();
    let resets = bench.device.resets();
    bench.device.hold();
    bench.submit(reset(SrbFunction::ResetLogicalUnit, 0, 1));
    bench.device.run();
    bench.wait(LOOKS);

    // The unit's, when the target's is waited for.
    bench.device.release(1);
    bench.deliver_interrupts();
    assert_eq!(bench.ends(), []);
    bench.device.release(1);
    bench.deliver_interrupts();

    assert_eq!(bench.ends(), [(99, SrbStatus::SUCCESS)]);
    assert_eq!(functions(&bench), [(LOGICAL_UNIT_RESET, 0, 1), (I_T_NEXUS_RESET, 0, 0)]);
    assert_eq!(bench.device.resets(), resets);
    assert_works(&bench);
}

#[test]
fn a_second_reset_before_the_first_is_done_has_a_function_of_its_own() {
    let bench = bench();
    let resets = bench.device.resets();
    bench.device.hold();
    bench.hold_read(0, 0, 1);
    bench.submit(reset(SrbFunction::ResetLogicalUnit, 0, 1));
    bench.submit(reset(SrbFunction::ResetDevice, 3, 0).tagged(100));
    bench.submit(reset(SrbFunction::ResetLogicalUnit, 3, 0).tagged(101));
    bench.device.set_order(Order::Reversed);
    for _ in 0..3 {
        bench.device.run();
        // The function's answer, which came last.
        if bench.device.in_hand() > 1 {
            bench.device.release(1);
        }
        bench.deliver_interrupts();
    }

    // The last one would be part of the second, but came after that was sent.
    let expected = [(I_T_NEXUS_RESET, 3, 0), (LOGICAL_UNIT_RESET, 3, 0), (LOGICAL_UNIT_RESET, 0, 1)];
    assert_eq!(functions(&bench), expected);
    let mut ended = bench.ends();
    ended.sort_unstable_by_key(|(tag, _)| *tag);
    assert_eq!(ended, [99, 100, 101].map(|tag| (tag, SrbStatus::SUCCESS)));
    assert_eq!((bench.device.resets(), bench.device.in_hand()), (resets, 1));
    assert_works(&bench);
}

#[test]
fn an_answer_that_is_looked_into_when_the_next_function_is_sent_is_not_taken_for_that_of_the_next_one() {
    let bench: &'static HbaBench = Box::leak(Box::new(bench()));
    let resets = bench.device.resets();
    bench.device.hold();
    bench.hold_read(0, 1, 1);
    bench.submit(reset(SrbFunction::ResetLogicalUnit, 0, 1));
    bench.submit(reset(SrbFunction::ResetDevice, 0, 1).tagged(100));
    bench.device.run();
    // Another processor looks while the first one ends what came back, and the next function is sent.
    bench.port.at_next_completion(|| bench.wait(2));
    bench.device.release_all();

    take_control_interrupt_first(bench);
    let before = bench.ends();
    bench.device.release_all();
    bench.settle();

    assert_eq!(before, [(1, SrbStatus::BUS_RESET), (99, SrbStatus::SUCCESS)]);
    assert_eq!(functions(bench), [(LOGICAL_UNIT_RESET, 0, 1), (I_T_NEXUS_RESET, 0, 0)]);
    assert_eq!(bench.ends(), [(100, SrbStatus::SUCCESS)]);
    assert_eq!(bench.device.resets(), resets);
    assert_works(bench);
}

#[test]
fn a_reset_of_a_unit_that_is_asked_for_after_its_target_was_told_to_reset_is_done_for_itself() {
    let bench = bench();
    bench.device.hold();
    bench.submit(reset(SrbFunction::ResetDevice, 0, 0));
    bench.device.run();
    // StorPort does not hold the queue of the target's other unit. What comes there now, the function may not end.
    bench.hold_read(0, 1, 1);
    bench.submit(reset(SrbFunction::ResetLogicalUnit, 0, 1).tagged(100));

    bench.device.model(|hba| hba.obedience = Obedience::Says(Response::OK));
    bench.device.release(1);
    bench.deliver_interrupts();
    assert_eq!(bench.ends(), [(99, SrbStatus::SUCCESS)]);
    bench.device.model(|hba| hba.obedience = Obedience::Prompt);
    bench.device.run();
    bench.device.release_all();
    bench.settle();
    bench.wait(1);

    assert_eq!(functions(&bench), [(I_T_NEXUS_RESET, 0, 0), (LOGICAL_UNIT_RESET, 0, 1)]);
    let mut ended = bench.ends();
    ended.sort_unstable_by_key(|(tag, _)| *tag);
    assert_eq!(ended.iter().map(|(tag, _)| *tag).collect::<Vec<_>>(), [1, 100]);
    assert_works(&bench);
}

#[test]
fn a_reset_of_a_target_that_waits_is_not_done_with_that_of_one_of_its_units() {
    let bench = bench();
    bench.device.hold();
    bench.submit(reset(SrbFunction::ResetLogicalUnit, 3, 0));
    // The port driver climbs, and names the same unit.
    bench.submit(reset(SrbFunction::ResetDevice, 3, 0).tagged(100));
    bench.device.run();

    bench.device.release(1);
    bench.deliver_interrupts();
    assert_eq!(bench.ends(), [(99, SrbStatus::SUCCESS)]);
    bench.device.run();
    bench.device.release(1);
    bench.deliver_interrupts();

    assert_eq!(bench.ends(), [(100, SrbStatus::SUCCESS)]);
    assert_eq!(functions(&bench), [(LOGICAL_UNIT_RESET, 3, 0), (I_T_NEXUS_RESET, 3, 0)]);
    assert_works(&bench);
}

#[test]
fn resets_that_are_not_done_are_answered_by_a_reset_of_the_device() {
    for function in [Some(SrbFunction::ResetBus), None] {
        let bench = bench();
        let resets = bench.device.resets();
        bench.device.hold();
        bench.hold_read(3, 0, 1);
        bench.submit(reset(SrbFunction::ResetLogicalUnit, 0, 1));
        bench.submit(reset(SrbFunction::ResetDevice, 3, 0).tagged(100));
        bench.device.run();

        match function {
            Some(function) => _ = bench.submit(reset(function, 0, 0).tagged(101)),
            None => assert!(bench.adapter.reset_bus()),
        }

        let mut expected =
            vec![(1, SrbStatus::BUS_RESET), (99, SrbStatus::SUCCESS), (100, SrbStatus::SUCCESS)];
        expected.extend(function.map(|_| (101, SrbStatus::SUCCESS)));
        assert_eq!(bench.ends(), expected);
        assert_eq!(bench.device.resets(), resets + 1);
        assert_works(&bench);
    }
}

#[test]
fn requests_that_come_after_a_target_was_reset_are_not_taken_for_a_lie() {
    for options in options() {
        let bench = HbaBench::running(hba(), options);
        let resets = bench.device.resets();
        bench.submit(reset(SrbFunction::ResetDevice, 0, 0));
        // The device has answered, and nobody has looked yet; StorPort holds the queue of unit 0 alone.
        bench.device.run();
        bench.device.hold();
        bench.hold_read(0, 1, 1);

        bench.deliver_interrupts();
        let at_once = bench.ends();
        bench.device.release_all();
        bench.settle();

        assert_eq!(at_once, [(99, SrbStatus::SUCCESS)], "{options:?}");
        assert_eq!(bench.ends(), [(1, SrbStatus::SUCCESS)], "{options:?}");
        assert_eq!(bench.device.resets(), resets, "{options:?}");
        assert_works(&bench);
    }
}

#[test]
fn a_lie_in_the_control_queue_resets_the_device() {
    let bench = bench();
    let resets = bench.device.resets();
    bench.device.hold();
    bench.hold_read(0, 0, 1);
    bench.submit(reset(SrbFunction::ResetLogicalUnit, 0, 1));
    bench.device.set_order(Order::Reversed);
    bench.device.run();
    bench.device.lie(Lie::UsedIdOutOfRange);

    bench.device.release(1);
    bench.device.be_honest();
    bench.deliver_interrupts();

    assert_eq!(bench.ends(), [(1, SrbStatus::BUS_RESET), (99, SrbStatus::SUCCESS)]);
    assert_eq!(bench.device.resets(), resets + 1);
    assert_eq!(bench.port.log_entries().len(), 1);
    assert_works(&bench);
}

/// Lets everything go on that a stop or a start has left.
fn go_on(bench: &HbaBench) {
    for _ in 0..3 {
        bench.port.run_dpcs(&bench.adapter);
        bench.port.run_timer(&bench.adapter);
        bench.settle();
    }
}

#[test]
fn who_waits_for_a_reset_over_a_stop_is_answered_once() {
    for restarted_at_once in [false, true] {
        let bench = bench();
        bench.device.hold();
        bench.submit(reset(SrbFunction::ResetLogicalUnit, 0, 1));
        bench.device.run();

        bench.adapter.stop();
        if !restarted_at_once {
            bench.port.run_dpcs(&bench.adapter);
        }
        assert!(bench.adapter.restart());
        bench.device.release_all();
        go_on(&bench);

        let status = if restarted_at_once { SrbStatus::SUCCESS } else { SrbStatus::ERROR };
        assert_eq!(bench.ends(), [(99, status)]);
        assert_works(&bench);
    }
}

#[test]
fn who_asks_for_a_reset_right_after_a_restart_is_answered_when_it_is_done() {
    let bench = bench();
    bench.adapter.stop();
    assert!(bench.adapter.restart());
    bench.device.hold();
    bench.hold_read(0, 1, 1);
    bench.submit(reset(SrbFunction::ResetLogicalUnit, 0, 1));

    // What the restart has left to do.
    bench.port.run_dpcs(&bench.adapter);
    assert_eq!(bench.ends(), []);
    bench.device.release_all();
    bench.settle();

    assert_eq!(functions(&bench), [(LOGICAL_UNIT_RESET, 0, 1)]);
    assert_eq!(bench.ends().last(), Some(&(99, SrbStatus::SUCCESS)));
    assert_works(&bench);
}

#[test]
fn who_asks_for_a_reset_during_a_restart_is_answered_once() {
    let mut moments = 0;
    loop {
        let bench: &'static HbaBench = Box::leak(Box::new(bench()));
        bench.adapter.stop();
        bench.port.run_dpcs(&bench.adapter);
        let (asked, was_asked) = channel();
        bench.device.at_access(moments, move || {
            asked.send(()).expect("the test looks");
            bench.submit(reset(SrbFunction::ResetLogicalUnit, 0, 1));
        });
        assert!(bench.adapter.restart(), "{moments}");
        if was_asked.try_recv().is_err() {
            break;
        }
        go_on(bench);

        let ended = bench.ends();
        assert_eq!(ended.len(), 1, "{moments}: {ended:?}");
        assert_eq!(ended[0].0, 99, "{moments}");
        assert_works(bench);
        moments += 1;
    }
    assert!(moments > 20, "{moments}");
}

#[test]
fn a_reset_of_a_unit_that_had_more_requests_than_one_dpc_takes_is_not_taken_for_a_lie() {
    for count in [100, 200] {
        let bench = bench();
        let resets = bench.device.resets();
        bench.device.hold();
        for tag in 0..count {
            bench.hold_read(0, 1, 100 + tag);
        }
        bench.submit(reset(SrbFunction::ResetLogicalUnit, 0, 1));
        bench.device.release_all();
        bench.device.run();
        bench.device.release_all();

        take_control_interrupt_first(&bench);
        bench.settle();

        let ended = bench.ends();
        assert_eq!(ended.len() as u64, count + 1);
        assert_eq!(ended.iter().filter(|end| **end == (99, SrbStatus::SUCCESS)).count(), 1);
        assert_eq!(bench.device.resets(), resets);
        assert_works(&bench);
    }
}

#[test]
fn what_waits_for_the_ring_is_not_sent_to_a_unit_that_is_reset() {
    let features = Features::VERSION_1;
    let bench = HbaBench::running(hba(), Options { queue_size: 4, features, ..Options::default() });
    let resets = bench.device.resets();
    bench.device.hold();
    for tag in 0..3 {
        bench.hold_read(0, 1, tag);
    }

    bench.submit(reset(SrbFunction::ResetLogicalUnit, 0, 1));
    bench.device.run();
    bench.device.release_all();
    bench.settle();

    let mut ended = bench.ends();
    ended.sort_unstable_by_key(|(tag, _)| *tag);
    let tags: Vec<u64> = ended.iter().map(|(tag, _)| *tag).collect();
    assert_eq!(tags, [0, 1, 2, 99]);
    assert_eq!(ended[3].1, SrbStatus::SUCCESS);
    assert_eq!(bench.device.resets(), resets);
    assert_works(&bench);
}

#[test]
fn interrupts_of_other_units_are_no_looks_at_a_function() {
    for vectors in [0, 1, 4] {
        for legacy in [false, true] {
            let bench = HbaBench::running(hba(), Options { vectors, legacy, ..Options::default() });
            let resets = bench.device.resets();
            bench.device.model(|hba| hba.obedience = Obedience::Silent);
            bench.submit(reset(SrbFunction::ResetLogicalUnit, 0, 1));
            bench.device.run();
            let buffer = bench.buffer(512);

            for _ in 0..2 * LOOKS {
                let read = bench.execute(reading(&read10(0, 1), &[buffer]).to(0, 3, 0));
                assert_eq!(read.completion.status, SrbStatus::SUCCESS);
            }

            assert_eq!(functions(&bench), [(LOGICAL_UNIT_RESET, 0, 1)]);
            assert_eq!(bench.device.resets(), resets);
            bench.device.model(|hba| hba.obedience = Obedience::Prompt);
            assert!(bench.adapter.reset_bus());
            assert_eq!(bench.ends(), [(99, SrbStatus::SUCCESS)]);
            assert_works(&bench);
        }
    }
}

#[test]
fn who_asks_for_a_reset_while_another_one_is_being_finished_is_answered_when_its_own_is_done() {
    let features = Features::VERSION_1;
    let options = Options { queue_size: 4, features, ..Options::default() };
    let bench: &'static HbaBench = Box::leak(Box::new(HbaBench::running(hba(), options)));
    bench.device.hold();
    bench.hold_read(0, 0, 1);
    bench.submit(reset(SrbFunction::ResetLogicalUnit, 0, 1));
    // There is no place for it: it ends when the unit's reset is done, and then a lot happens.
    bench.hold_read(0, 1, 2);
    bench.device.set_order(Order::Reversed);
    bench.device.run();
    bench.port.at_next_completion(|| {
        assert!(bench.adapter.reset_bus());
        bench.submit(reset(SrbFunction::ResetLogicalUnit, 3, 0).tagged(100));
    });

    bench.device.release(1);
    bench.deliver_interrupts();

    assert_eq!(
        bench.ends(),
        [(2, SrbStatus::BUS_RESET), (1, SrbStatus::BUS_RESET), (99, SrbStatus::SUCCESS)],
        "the function of the other one is not done"
    );
    bench.device.release_all();
    bench.settle();
    assert_eq!(bench.ends(), [(100, SrbStatus::SUCCESS)]);
    assert_works(bench);
}

#[test]
fn a_device_that_goes_during_a_reset_of_a_unit_gives_everything_back_once_and_is_not_touched() {
    for options in options() {
        for by_request in [false, true] {
            let bench = HbaBench::running(hba(), options);
            bench.device.hold();
            bench.hold_read(0, 0, 1);
            bench.hold_read(0, 1, 2);
            bench.submit(reset(SrbFunction::ResetLogicalUnit, 0, 1));
            bench.submit(reset(SrbFunction::ResetDevice, 3, 0).tagged(100));
            bench.hold_read(3, 0, 3);
            bench.device.remove();
            let accesses = bench.device.register_accesses();

            if by_request {
                let removal = SrbBuilder::function(SrbFunction::Pnp(PnpAction::SurpriseRemoval));
                bench.submit(removal.tagged(7));
                bench.port.run_dpcs(&bench.adapter);
            } else {
                bench.surprise_removal();
            }

            let mut ended = bench.ends();
            ended.sort_unstable_by_key(|(tag, _)| *tag);
            let tags: Vec<u64> = ended.iter().map(|(tag, _)| *tag).filter(|tag| *tag != 7).collect();
            assert_eq!(tags, [1, 2, 3, 99, 100], "{options:?}");
            let lost = ended.iter().filter(|(tag, status)| *tag < 4 && *status == SrbStatus::NO_DEVICE);
            assert_eq!(lost.count(), 3, "{ended:?}, {options:?}");
            let message = (options.vectors > 0).then_some(0);
            bench.port.interrupt(&bench.adapter, message);
            while bench.port.run_timer(&bench.adapter).is_some() {}
            let buffer = bench.buffer(512);
            bench.submit(reading(&read10(0, 1), &[buffer]).to(0, 0, 1).tagged(4));
            bench.submit(reset(SrbFunction::ResetLogicalUnit, 0, 1).tagged(101));
            let after = bench.ends();
            assert_eq!(after, [(4, SrbStatus::NO_DEVICE), (101, SrbStatus::ERROR)], "{options:?}");
            assert_eq!(bench.device.register_accesses(), accesses, "{options:?}");
        }
    }
}
