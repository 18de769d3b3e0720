//! Work for all units of the model's host at once: one of them is in trouble, and the others are watched.

use alloc::collections::BTreeSet;

use stand::cmdline::Options;
use stand::device::{CHANGES, COMES_AND_GOES, Unit};

use super::work::{DEPTH, Work};
use crate::storport::{Address, port, queue};

/// The units of the model, in its order: two of one target, one of another.
pub const UNITS: [Unit; 3] = [(0, 0), CHANGES, COMES_AND_GOES];
/// Seconds a request may take: longer than a driver may try this and that.
pub const TIMEOUT: u32 = 12;
/// Transfers of each unit before something happens.
const COUNT: u64 = 24;

/// Where Windows finds a unit.
pub fn address((target, lun): Unit) -> Address {
    (0, target, lun as u8)
}

/// Work for every unit.
pub struct Several {
    pub works: [Work; 3],
}

impl Several {
    /// Nothing has been started yet.
    pub fn new(options: &Options) -> Self {
        Several { works: UNITS.map(|unit| Work::new(address(unit), options, TIMEOUT)) }
    }

    /// Some transfers to each, all of them ended.
    pub fn warm_up(&mut self) {
        self.works.iter_mut().for_each(Work::start_all);
        for work in &mut self.works {
            let count = work.started + COUNT;
            work.finish(count);
        }
    }

    /// Fills a unit with requests; answers with their tags, by which they are known from those that are sent again.
    pub fn fill(&mut self, number: usize) -> BTreeSet<u32> {
        self.works[number].start_all();
        let unit = address(UNITS[number]);
        queue::wait(1000, || with_miniport(unit).len() >= DEPTH);
        with_miniport(unit)
    }

    /// Lets all of them come to their end.
    pub fn finish(&mut self) {
        self.works.iter_mut().for_each(|work| work.finish(0));
    }

    /// Goes on with all units but these.
    pub fn step_without(&mut self, without: &[usize]) {
        for (number, work) in self.works.iter_mut().enumerate() {
            if !without.contains(&number) {
                work.step();
            }
        }
    }

    /// How often requests of each were sent again, and failed.
    pub fn disturbed(&self) -> [(u64, u64); 3] {
        self.works.each_ref().map(|work| (work.flights.again, work.failed))
    }

    /// Whether all that was read is what was written.
    pub fn check_data(&self) {
        let sum = |of: fn(&Work) -> u64| self.works.iter().map(of).sum::<u64>();
        crate::console::check(
            sum(|work| work.wrong) == 0,
            "hostile-data",
            format_args!(
                "{} transfers good, {} failed, {} blocks wrong",
                sum(|work| work.good),
                sum(|work| work.failed),
                sum(|work| work.wrong)
            ),
        );
    }
}

/// Tags of a unit's requests that are with the miniport.
fn with_miniport(unit: Address) -> BTreeSet<u32> {
    port().active.values().filter(|request| request.address == unit).map(|request| request.tag).collect()
}

/// How many of these are with the miniport.
pub fn left(tags: &BTreeSet<u32>) -> usize {
    port().active.values().filter(|request| tags.contains(&request.tag)).count()
}
