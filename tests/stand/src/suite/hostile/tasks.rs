//! Resets of one unit, and of several at once, whose task management functions a device lies about. A unit is full of requests that
//! the device does not answer, while the others work. Whatever comes of the function: every request ends once, the reset is
//! answered, the driver has climbed as far as it must, counted from what the device was told, and everything works afterwards; a
//! reset that ends with the unit or its target leaves the requests of others alone. What a device keeps although it said
//! otherwise it writes to later, so a driver that ends such requests breaks the rule `dma-outside-legal-memory`.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use stand::cmdline::Options;
use stand::device::{Climb, Lie, Task, Told, Unit};
use stand::wdk::codes::*;
use stand::wdk::srb::Extra;

use super::several::{Several, TIMEOUT, UNITS, address, left};
use crate::model;
use crate::pass::buffer::Buffer;
use crate::storport::request::{Data, Request};
use crate::storport::{Address, control, port, queue};

/// The unit that is reset, by its number.
const TRIED: usize = 1;
/// Milliseconds for all that a driver tries.
const LIMIT: u64 = 15_000;
/// Most resets of a kind that one reset of a unit may become.
const MOST: usize = 4;
/// Tells this file's requests from those of others.
const COOKIE: u64 = 0x7A5C << 32;

/// A round for each lie. When there are several, the truth comes first, and resets of all units at once at last.
pub fn run(lies: impl Iterator<Item = &'static Told>, options: &Options) {
    port().ladder.lenient = true;
    let mut all = Several::new(options);
    let lies: Vec<_> = lies.collect();
    let one = lies.len() == 1;
    if !one {
        round(&mut all, "honest", Lie::None, Climb::Unit, false);
    }
    for told in &lies {
        round(&mut all, told.name, told.lie, told.climb.unwrap_or(Climb::Device), told.lasts);
    }
    if !one {
        at_once(&mut all, "honest", Lie::None);
        at_once(&mut all, "task-ahead", Lie::TaskAhead(0));
        at_once(&mut all, "task-rejected", Lie::TaskSays(11));
    }
    all.check_data();
}

/// Asks for a reset; its answer has this number.
fn ask(function: u8, unit: Address, number: u64) {
    let mut request = Request::other(unit, function, Extra::None, Data::default(), TIMEOUT);
    (request.urgent, request.cookie) = (true, COOKIE | number);
    queue::submit(request);
}

fn answers() -> impl Iterator<Item = Box<Request>> {
    queue::take_done(|cookie| cookie >> 32 == COOKIE >> 32).into_iter()
}

fn is_success(request: &Request) -> bool {
    request.answer.srb_status & 0x3F == SRB_STATUS_SUCCESS
}

/// One unit's reset.
fn round(all: &mut Several, name: &str, lie: Lie, climb: Climb, lasts: bool) {
    crate::progress!("{name}");
    if lasts {
        // What comes to a device that is away waits for it, and nobody waits for that here.
        all.works.iter_mut().for_each(|work| (work.flights.retries, work.flights.timeout) = (0, 2));
    }
    all.warm_up();
    let unit = UNITS[TRIED];
    model::be_silent_for(unit);
    let under_way = all.fill(TRIED);
    // Those whose requests must survive have them in the device while the reset is done.
    let (others, quiet): (&[usize], _) = match climb {
        Climb::Unit => (&[2], Some(0)),
        Climb::Target => (&[0], Some(2)),
        Climb::Device => (&[0, 2], None),
    };
    if let Some(number) = quiet {
        model::be_silent_for(UNITS[number]);
        all.fill(number);
    }
    let before = all.disturbed();
    others.iter().for_each(|number| all.works[*number].start_all());
    model::take_tasks();
    model::tell(lie);
    ask(SRB_FUNCTION_RESET_LOGICAL_UNIT, address(unit), 0);
    let mut answer = None;
    let ended = queue::wait(LIMIT, || {
        all.step_without(&[TRIED]);
        answer = answer.take().or_else(|| answers().next());
        answer.is_some() && left(&under_way) == 0
    });
    let good = answer.as_ref().is_some_and(|request| is_success(request)) || lasts;
    crate::console::check(
        ended && good && !under_way.is_empty(),
        "hostile-requests-end",
        format_args!(
            "{name}: {} of {} left, {}",
            left(&under_way),
            under_way.len(),
            answer.map_or("the reset is not answered".into(), |request| request.answer.text())
        ),
    );
    model::speak();
    if lasts {
        comes_back_with_power(all, name);
        check_climb(name, &model::take_tasks(), climb, unit);
        return;
    }
    // What it keeps it writes to within this time, and a late answer comes.
    all_go_on_for(all, 60);
    model::tell(Lie::None);
    all.finish();
    check_climb(name, &model::take_tasks(), climb, unit);
    let after = all.disturbed();
    let failed = (0..UNITS.len()).any(|number| after[number].1 != before[number].1);
    let alone = |number: usize| {
        let (target, _) = UNITS[number];
        match climb {
            Climb::Unit => number != TRIED,
            Climb::Target => target != unit.0,
            Climb::Device => false,
        }
    };
    let disturbed = (0..UNITS.len()).any(|number| alone(number) && after[number].0 != before[number].0);
    crate::console::check(
        !failed && !disturbed,
        "hostile-others-go-on",
        format_args!("{name}: sent again and failed of each unit: {before:?}, then {after:?}"),
    );
}

fn all_go_on_for(all: &mut Several, milliseconds: u64) {
    queue::wait(milliseconds, || {
        all.step_without(&[TRIED]);
        false
    });
}

/// What a device was told that had to reset one unit.
fn check_climb(name: &str, tasks: &[Task], climb: Climb, unit: Unit) {
    let count = |like: fn(&Task) -> bool| tasks.iter().filter(|task| like(task)).count();
    let (units, targets, devices) = (
        count(|task| matches!(task, Task::Unit(_))),
        count(|task| matches!(task, Task::Target(_))),
        count(|task| *task == Task::Device),
    );
    let right = tasks.iter().all(|task| match task {
        Task::Unit(other) => *other == unit,
        Task::Target(target) => *target == unit.0,
        Task::Device | Task::Other(_) => true,
    });
    // Nobody resets more before it has tried less.
    let first = matches!(tasks.first(), Some(Task::Unit(_)));
    let far_enough = match climb {
        Climb::Unit => units > 0 && targets + devices == 0,
        Climb::Target => targets > 0 && devices == 0,
        Climb::Device => devices > 0,
    };
    let few = units <= MOST && targets <= MOST && (devices <= MOST);
    crate::console::check(
        right && first && far_enough && few,
        "hostile-climb",
        format_args!("{name}: up to {climb:?}: {tasks:?}"),
    );
}

/// The reset never ends: what comes waits or fails, and with its power off and on the device is there again.
fn comes_back_with_power(all: &mut Several, name: &str) {
    all.finish();
    let restarted = control::power_down();
    model::tell(Lie::None);
    let restarted = restarted && control::power_up();
    all.finish();
    let works =
        |work: &mut super::work::Work| work.flights.one(1, false, Buffer::new(super::BLOCK, 0), false).error;
    let errors: Vec<_> = all.works.iter_mut().filter_map(works).collect();
    crate::console::check(
        restarted && errors.is_empty(),
        "hostile-after-restart",
        format_args!("{name}: restarted: {restarted}; {}", errors.join(", ")),
    );
}

/// Every unit and a target, all full of requests, asked for at once.
fn at_once(all: &mut Several, name: &str, lie: Lie) {
    crate::progress!("all at once, {name}");
    all.warm_up();
    UNITS.iter().for_each(|unit| model::be_silent_for(*unit));
    let under_way: BTreeSet<u32> = (0..UNITS.len()).flat_map(|number| all.fill(number)).collect();
    let before = all.disturbed();
    model::take_tasks();
    model::tell(lie);
    for (number, unit) in UNITS.iter().enumerate() {
        ask(SRB_FUNCTION_RESET_LOGICAL_UNIT, address(*unit), number as u64);
    }
    ask(SRB_FUNCTION_RESET_DEVICE, address(UNITS[0]), UNITS.len() as u64);
    let asked = UNITS.len() + 1;
    let (mut answered, mut good) = (0, 0);
    let ended = queue::wait(LIMIT, || {
        for request in answers() {
            answered += 1;
            good += usize::from(is_success(&request));
        }
        answered == asked && left(&under_way) == 0
    });
    crate::console::check(
        ended && good == asked && answered == asked,
        "hostile-resets-at-once",
        format_args!(
            "{name}: {answered} of {asked} answered, {good} good, {} of {} requests left",
            left(&under_way),
            under_way.len()
        ),
    );
    model::tell(Lie::None);
    all.finish();
    let tasks = model::take_tasks();
    let devices = tasks.iter().filter(|task| **task == Task::Device).count();
    // One that covers another need not be told twice, and one whose reset of the device covers all need not be told at all.
    let each = UNITS
        .iter()
        .all(|unit| tasks.iter().any(|task| *task == Task::Unit(*unit) || *task == Task::Target(unit.0)));
    crate::console::check(
        if lie == Lie::None { devices == 0 && each } else { devices <= asked } && tasks.len() <= 3 * asked,
        "hostile-climb",
        format_args!("{name}, all at once: {tasks:?}"),
    );
    let failed = |disturbed: &[(u64, u64); 3]| disturbed.iter().map(|(_, failed)| failed).sum::<u64>();
    crate::console::check(
        failed(&all.disturbed()) == failed(&before),
        "hostile-recovered",
        format_args!("{name}, all at once: sent again and failed of each unit: {:?}", all.disturbed()),
    );
}
