//! Events that a device lies about, while all units work. No request is disturbed by what an event says; the ring of the event queue,
//! where a device breaks its rules, may cost some a reset, and no more. Windows hears of the bus or of a unit that it can address, where
//! there is something to hear of, and the truth is heard afterwards.

use alloc::vec::Vec;

use stand::cmdline::Options;
use stand::device::{CHANGES, COMES_AND_GOES, Hears, Lie, Task, Told};

use super::several::{Several, UNITS, address};
use crate::scan;
use crate::storport::{Address, port, queue};
use crate::{console, model};

/// Milliseconds for all events of a lie, and for Windows to hear of one.
const LIMIT: u64 = 10_000;
const ANNOUNCE: u64 = 2000;
/// Events of a lie that never ends; the driver may give up before.
const MOST_EVENTS: u64 = 30;
/// Milliseconds without another event after which the driver has given up.
const GIVEN_UP: u64 = 300;
/// Resets that a broken ring may cost: less than the times that a request is sent again (`stand::class`).
const MOST_RESETS: usize = 3;

/// A round for each lie.
pub fn run(lies: impl Iterator<Item = &'static Told>, options: &Options) {
    port().ladder.lenient = true;
    let mut all = Several::new(options);
    all.warm_up();
    the_truth(&mut all, "at first", false);
    for told in lies {
        round(&mut all, told);
        the_truth(&mut all, told.name, told.lasts);
    }
    all.check_data();
}

/// What Windows was told since the last time: buses, and units.
fn take_changes() -> (u32, Vec<Address>) {
    let mut port = port();
    (core::mem::take(&mut port.bus_changes), core::mem::take(&mut port.unit_changes))
}

fn round(all: &mut Several, told: &Told) {
    crate::progress!("{}", told.name);
    let before = all.disturbed();
    take_changes();
    model::take_tasks();
    all.works.iter_mut().for_each(super::work::Work::start_all);
    model::tell(told.lie);
    let (mut last, mut since) = (0, crate::cpu::clock::ticks());
    let told_all = queue::wait(LIMIT, || {
        all.step_without(&[]);
        let now = crate::cpu::clock::ticks();
        let (count, all_told) = model::events_told();
        if count != last {
            (last, since) = (count, now);
        }
        all_told || told.lasts && (count >= MOST_EVENTS || now >= since + GIVEN_UP)
    });
    let (count, _) = model::events_told();
    model::tell(Lie::None);
    all.finish();
    queue::wait(20, || false);
    console::check(told_all && count > 0, "hostile-events-told", format_args!("{}: {count}", told.name));
    check_requests(all, told, before);
    check_changes(told);
    if told.lie == Lie::EventStorm {
        let found = scan::scan().len();
        console::check(
            found == UNITS.len(),
            "hostile-storm-is-over",
            format_args!("{found} of {} units", UNITS.len()),
        );
    }
}

/// Requests are none of the event queue's.
fn check_requests(all: &Several, told: &Told, before: [(u64, u64); 3]) {
    let after = all.disturbed();
    let tasks = model::take_tasks();
    let resets = tasks.iter().filter(|task| **task == Task::Device).count();
    let may_miss = |number: usize| told.lie == Lie::EventStorm && UNITS[number] == COMES_AND_GOES;
    let failed = (0..UNITS.len()).any(|number| after[number].1 != before[number].1 && !may_miss(number));
    let again = (0..UNITS.len()).any(|number| after[number].0 != before[number].0 && !may_miss(number));
    let spared = if told.breaks { resets <= MOST_RESETS } else { tasks.is_empty() && !again };
    console::check(
        !failed && spared,
        "hostile-others-go-on",
        format_args!(
            "{}: sent again and failed of each unit: {before:?}, then {after:?}; resets: {tasks:?}",
            told.name
        ),
    );
}

/// What Windows was told is as it should be.
fn check_changes(told: &Told) {
    let (buses, units) = take_changes();
    // Which units there are is Storport's to know, which addresses there are the miniport's as well.
    let targets = port().config.maximum_number_of_targets;
    let known = units.iter().all(|(path, target, lun)| *path == 0 && *target < targets && *lun < u8::MAX);
    let heard = match told.hears {
        Some(Hears::Nothing) => buses == 0 && units.is_empty(),
        Some(Hears::Bus) => buses > 0,
        Some(Hears::Unit) => buses > 0 || units.contains(&address(CHANGES)),
        Some(Hears::Any) | None => true,
    };
    console::check(
        known && heard,
        "hostile-events-heard",
        format_args!("{}: {:?} is due; {buses} times the bus, units {units:?}", told.name, told.hears),
    );
}

/// The device says that a unit has changed, which is so; after a lie that lasts, nobody need listen any more.
fn the_truth(all: &mut Several, when: &str, lasts: bool) {
    all.works.iter_mut().for_each(super::work::Work::start_all);
    take_changes();
    let said = queue::wait(ANNOUNCE, || {
        all.step_without(&[]);
        model::say_that_it_changed(UNITS[0])
    });
    let heard = queue::wait(if said { ANNOUNCE } else { 0 }, || {
        all.step_without(&[]);
        let port = port();
        port.bus_changes > 0 || port.unit_changes.contains(&address(UNITS[0]))
    });
    all.finish();
    console::check(
        said && heard || lasts,
        "hostile-truth-is-heard",
        format_args!("{when}: said {said}, heard {heard}"),
    );
}
