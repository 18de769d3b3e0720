//! The running of a suite's trials, and what they amount to.

use super::Suite;
use crate::boot::{self, Options, Show, Trial};
use crate::failed;
use crate::iscsi;
use crate::machine::{Kind, Program};
use crate::protocol::Report;
use crate::qemu::Qemu;
use crate::screen::Screen;
use crate::vhost_device_scsi;
use crate::workspace::Workspace;
use anyhow::Result;
use std::path::Path;

/// What a suite's trials for one driver amount to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Checks that passed.
    pub passed: usize,
    /// What failed, each with its trial.
    pub failed: Vec<String>,
    /// What was not tried and why, each with its trial.
    pub skipped: Vec<String>,
}

impl Outcome {
    fn add(&mut self, trial: &str, report: &Report, complaint: Option<String>) {
        let named = |text: &String| format!("{trial}: {text}");
        self.passed += report.passed as usize;
        self.failed.extend(report.failed.iter().map(named));
        self.skipped.extend(report.skipped.iter().map(named));
        if report.broken.is_some() {
            self.failed.extend(complaint.iter().map(named));
        } else if report.passed == 0 && report.failed.is_empty() {
            self.failed.push(named(&"nothing was checked".to_owned()));
        }
    }

    /// The same of another driver.
    pub fn merge(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed.extend(other.failed);
        self.skipped.extend(other.skipped);
    }
}

/// Which driver is tried.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The image.
    pub image: &'a Path,
    /// What it is for.
    pub kind: Kind,
    /// PCI functions, as `VEN:DEV,...`.
    pub pci: &'a str,
}

/// Runs a suite's trials for one driver. What fails leaves a folder.
///
/// # Errors
/// When a boot is not possible at all.
pub fn run(
    workspace: &Workspace,
    screen: &mut Screen,
    (qemu, options): (&Qemu, &Options),
    (suite, long): (&Suite, bool),
    subject: Subject<'_>,
    show: Show,
) -> Result<Outcome> {
    let stem = subject.image.file_stem().unwrap_or_default().to_string_lossy();
    let mut outcome = Outcome::default();
    for setting in suite.trials(subject.kind, long) {
        let what = format!("{}, {stem}, {}", suite.name, setting.name);
        if show == Show::All {
            screen.line(&format!("{what} on QEMU {}", qemu.name));
        }
        if let Some(oldest) = setting.oldest_qemu.filter(|oldest| qemu.version < *oldest) {
            let name = setting.name;
            outcome
                .skipped
                .push(format!("{stem}, {name}: QEMU {oldest} or later can do it, not {}", qemu.name));
            continue;
        }
        if let Some(newest) = setting.newest_qemu.filter(|newest| qemu.version > *newest) {
            let name = setting.name;
            outcome.skipped.push(format!(
                "{stem}, {name}: known to work up to QEMU {newest}, which {} is not",
                qemu.name
            ));
            continue;
        }
        if setting.daemon.is_some_and(|(program, ..)| program == Program::VhostDeviceScsi)
            && let Err(reason) = vhost_device_scsi::get(workspace, screen)
        {
            outcome.skipped.push(format!("{stem}, {}: the daemon was not to be had: {reason}", setting.name));
            continue;
        }
        let with_driver = setting
            .daemon
            .filter(|(program, ..)| *program == Program::ScsiTarget)
            .map(|_| iscsi::get(workspace, screen, qemu))
            .transpose();
        let qemu = match &with_driver {
            Ok(other) => other.as_ref().unwrap_or(qemu),
            Err(why) => {
                outcome.skipped.push(format!("{stem}, {}: no SCSI target: {why:#}", setting.name));
                continue;
            }
        };
        let machine = setting.machine();
        let trial = Trial {
            suite: Some(suite.name.to_owned()),
            words: setting.words(long),
            ..Trial::new(subject.image, subject.pci, Some(subject.kind), &machine)
        };
        let options = setting.options(options, long);
        let report =
            failed::boot_or_keep(workspace, screen, (qemu, &options), (what.as_str(), &trial), show)?;
        let complaint = boot::complaint(&report, &options);
        outcome.add(&format!("{stem}, {}", setting.name), &report, complaint);
    }
    Ok(outcome)
}

/// The lines that sum up the suites that were run.
pub fn summary(outcomes: &[(&Suite, Outcome)]) -> Vec<String> {
    let mut lines = Vec::new();
    for (suite, outcome) in outcomes {
        lines.push(format!(
            "{:<16} {:>5} passed {:>3} failed {:>3} skipped",
            suite.name,
            outcome.passed,
            outcome.failed.len(),
            outcome.skipped.len()
        ));
        lines.extend(outcome.failed.iter().map(|text| format!("  FAIL {text}")));
        lines.extend(outcome.skipped.iter().map(|text| format!("  skip {text}")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::SUITES;
    use super::*;
    use crate::protocol::Broken;

    fn report(passed: u32, failed: &[&str], broken: Option<Broken>) -> Report {
        let ended = crate::command::Ended { status: None, lines: Vec::new() };
        let failed = failed.iter().map(|text| (*text).to_owned()).collect();
        Report { passed, failed, broken, ..crate::protocol::sum_up(&ended) }
    }

    #[test]
    fn a_boot_that_checks_nothing_has_not_passed() {
        let mut outcome = Outcome::default();

        outcome.add("a", &report(0, &[], None), None);

        assert_eq!(outcome.failed, ["a: nothing was checked"]);
    }

    #[test]
    fn skips_are_neither_passed_nor_failed_and_keep_their_reason() {
        let mut outcome = Outcome::default();
        let skipped = vec!["tray: no CD-ROM".to_owned()];

        outcome.add("a", &Report { skipped, ..report(2, &["x: y"], None) }, Some("1 of 3".to_owned()));

        let lines = summary(&[(&SUITES[0], outcome)]);
        assert!(lines[0].ends_with("2 passed   1 failed   1 skipped"), "{}", lines[0]);
        assert_eq!(lines[1..], ["  FAIL a: x: y", "  skip a: tray: no CD-ROM"]);
    }

    #[test]
    fn a_boot_that_broke_off_is_a_failure() {
        let mut outcome = Outcome::default();

        outcome.add("a", &report(5, &[], Some(Broken::TimedOut)), Some("nothing came of it".to_owned()));

        assert_eq!(outcome.failed, ["a: nothing came of it"]);
    }
}
