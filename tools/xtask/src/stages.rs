//! The list of stages that `./x test` and `./x check` work through, and their count.

use crate::screen::{Screen, seconds};
use anyhow::Result;
use std::time::Instant;

/// What a stage found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Tests that passed.
    pub passed: usize,
    /// What failed, one line each.
    pub failed: Vec<String>,
    /// What was not tried and why, one line each: neither passed nor failed.
    pub skipped: Vec<String>,
}

impl Tally {
    /// Counts one test, with what is said about it if it failed.
    pub fn count(&mut self, what: &str, result: Result<()>) {
        match result {
            Ok(()) => self.passed += 1,
            Err(error) => self.failed.push(format!("{what}: {error:#}")),
        }
    }

    /// Counts one test that is nothing but a condition.
    pub fn expect(&mut self, what: &str, holds: bool) {
        if holds {
            self.passed += 1;
        } else {
            self.failed.push(what.to_owned());
        }
    }

    /// Adds the count of another stage.
    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed.extend(other.failed);
        self.skipped.extend(other.skipped);
    }
}

/// One stage.
pub struct Stage<'a> {
    /// Short name, which `--filter` looks in.
    pub name: String,
    /// Does it. An error counts as one failed test.
    #[expect(clippy::type_complexity, reason = "named once, used in two places")]
    pub run: Box<dyn FnMut(&mut Screen) -> Result<Tally> + 'a>,
}

impl<'a> Stage<'a> {
    /// A stage.
    pub fn new(name: impl Into<String>, run: impl FnMut(&mut Screen) -> Result<Tally> + 'a) -> Self {
        Self { name: name.into(), run: Box::new(run) }
    }
}

/// Works through the stages whose names contain one of the filters (all, without filters), all of them even when one
/// fails, with a line for each.
pub fn work_through(screen: &mut Screen, stages: Vec<Stage<'_>>, filters: &[String]) -> Tally {
    let mut total = Tally::default();
    for mut stage in stages {
        if !filters.is_empty() && !filters.iter().any(|filter| stage.name.contains(filter.as_str())) {
            continue;
        }
        let started = Instant::now();
        screen.progress(&stage.name);
        let tally = (stage.run)(screen).unwrap_or_else(|error| {
            let mut tally = Tally::default();
            tally.failed.push(format!("{error:#}"));
            tally
        });
        let time = seconds(started.elapsed());
        screen.line(&format!(
            "{} {:<44} {:>5} passed {:>3} failed {time:>12}",
            if tally.failed.is_empty() { "ok  " } else { "FAIL" },
            stage.name,
            tally.passed,
            tally.failed.len(),
        ));
        for failure in &tally.failed {
            screen.line(&format!("       {failure}"));
        }
        for skip in &tally.skipped {
            screen.line(&format!("       skip {skip}"));
        }
        total.add(tally);
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::bail;

    #[test]
    fn a_stage_that_breaks_counts_as_one_failure_and_the_others_go_on() {
        let stages = vec![
            Stage::new("first", |_: &mut Screen| bail!("broken")),
            Stage::new("second", |_: &mut Screen| {
                Ok(Tally { passed: 3, failed: vec![], ..Tally::default() })
            }),
        ];

        let total = work_through(&mut Screen::new(), stages, &[]);

        assert_eq!(total, Tally { passed: 3, failed: vec!["broken".to_owned()], ..Tally::default() });
    }

    #[test]
    fn filters_choose_stages_by_part_of_their_name() {
        let stage = |name: &str| {
            Stage::new(name, |_: &mut Screen| Ok(Tally { passed: 1, failed: vec![], ..Tally::default() }))
        };

        let total = work_through(
            &mut Screen::new(),
            vec![stage("a one"), stage("b two"), stage("c three")],
            &["t".to_owned()],
        );

        assert_eq!(total.passed, 2);
    }
}
