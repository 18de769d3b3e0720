//! What vioscsi tells the device of a command besides its CDB: which one it is, and how it is to be queued.
//!
//! The device model remembers the tags of the commands that it has and refuses a doubled one, as FreeBSD's CTL does behind
//! bhyve (sys/cam/ctl/ctl.c: CTL_ACTION_OVERLAP_TAG).

use std::collections::BTreeSet;

use fake_device::Options;
use fake_device::hba::{Entry, Hba, Unit};
use host_tests::cdb::{inquiry, read10, write10};
use host_tests::{HbaBench, reading, writing};
use storport::SrbStatus;
use storport::fake::{SrbBuilder, run_on};
use storport::srb::{Priority, Queueing, TaskAttribute};
use virtio::spec::Features;

const SIMPLE: u8 = 0;
const ORDERED: u8 = 1;
const HEAD: u8 = 2;

fn hba() -> Hba {
    Hba::default().with(0, 0, Unit::disk(64, 512)).with(0, 1, Unit::disk(64, 512))
}

fn log(bench: &HbaBench) -> Vec<Entry> {
    bench.device.model(|hba| hba.log().to_vec())
}

/// Sends so many commands, to both units in turn, before the device answers the first one.
fn together(bench: &HbaBench, count: u64) {
    bench.device.hold();
    for tag in 0..count {
        let buffer = bench.buffer(512);
        bench.submit(reading(&read10(0, 1), &[buffer]).to(0, 0, (tag % 2) as u8).tagged(tag));
    }
    bench.device.run();
    bench.device.release_all();
    bench.settle();
    let done = bench.port.take_completed();
    assert_eq!(done.len() as u64, count);
    assert!(done.iter().all(|done| done.completion.status == SrbStatus::SUCCESS), "{done:?}");
}

#[test]
fn no_two_commands_in_flight_have_the_same_tag() {
    let indirect = Options::default();
    let direct = Options { features: indirect.features.difference(Features::RING_INDIRECT_DESC), ..indirect };
    let packed = Options { features: indirect.features.union(Features::RING_PACKED), ..indirect };
    for options in [indirect, direct, packed] {
        let bench = HbaBench::running(hba(), options);

        together(&bench, 60);

        // Not even those of different units, and in the 32 bits that some devices look at.
        let tags: BTreeSet<u32> = log(&bench).iter().map(|entry| entry.tag as u32).collect();
        assert_eq!(tags.len(), 60);
        bench.device.assert_no_violations();
    }
}

#[test]
fn commands_in_different_queues_have_different_tags() {
    let bench = HbaBench::running_on(4, hba().with_queues(4), Options { vectors: 6, ..Options::default() });
    assert_eq!(bench.queues(), 4);
    bench.device.hold();
    for processor in 0..4 {
        run_on(processor);
        let buffer = bench.buffer(512);
        bench.submit(reading(&read10(0, 1), &[buffer]));
    }
    bench.device.run();
    bench.device.release_all();
    bench.settle();

    let tags: BTreeSet<u64> = log(&bench).iter().map(|entry| entry.tag).collect();

    assert_eq!((bench.port.take_completed().len(), tags.len()), (4, 4));
    bench.device.assert_no_violations();
}

#[test]
fn the_next_command_in_the_same_slot_has_another_tag() {
    let bench = HbaBench::with_hba(hba());
    let buffer = bench.buffer(512);
    for _ in 0..20 {
        bench.execute(writing(&write10(0, 1), &[buffer]));
    }

    let tags: BTreeSet<u64> = log(&bench).iter().map(|entry| entry.tag).collect();

    assert_eq!(tags.len(), 20);
}

#[test]
fn tags_stay_apart_over_a_reset_of_the_device() {
    let bench = HbaBench::with_hba(hba());
    together(&bench, 10);
    bench.execute(SrbBuilder::function(storport::SrbFunction::ResetBus));
    together(&bench, 10);

    let tags: BTreeSet<u64> = log(&bench).iter().map(|entry| entry.tag).collect();

    assert_eq!(tags.len(), 20);
    bench.device.assert_no_violations();
}

#[test]
fn attribute_and_priority_are_the_requests_own() {
    let bench = HbaBench::with_hba(hba());
    let table = [
        (TaskAttribute::Simple, Priority::Usual, [SIMPLE, 0, 0]),
        (TaskAttribute::Ordered, Priority::Usual, [ORDERED, 0, 0]),
        (TaskAttribute::HeadOfQueue, Priority::High, [HEAD, 4, 0]),
        (TaskAttribute::Simple, Priority::Critical, [SIMPLE, 1, 0]),
    ];
    for (attribute, priority, expected) in table {
        bench.execute(SrbBuilder::execute(&[0; 6]).queued(Queueing { attribute, priority }));

        assert_eq!(log(&bench).last().map(|entry| entry.queueing), Some(expected));
    }
    bench.device.assert_no_violations();
}

#[test]
fn a_command_that_goes_to_the_head_by_itself_never_asks_for_its_turn() {
    let bench = HbaBench::with_hba(hba());
    let ordered = Queueing { attribute: TaskAttribute::Ordered, priority: Priority::Usual };
    let buffer = bench.buffer(36);
    for cdb in [&inquiry(36)[..], &[0x03, 0, 0, 0, 18, 0], &[0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0]] {
        bench.execute(reading(cdb, &[buffer]).queued(ordered));

        assert_eq!(log(&bench).last().map(|entry| entry.queueing), Some([SIMPLE, 0, 0]), "{cdb:02x?}");
    }
}
