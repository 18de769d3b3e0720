//! `./x bench`: what requests cost. Counts, not time: they are the same on every machine and at any load, so a change of one
//! shows. `./x bench virtio` counts the queue's instructions with callgrind; without it, the stand counts what driver images
//! do ([`crate::bench_driver`]).

use crate::bench_driver;
use crate::command::{Stream, step};
use crate::needs::{self, Need};
use crate::screen::Screen;
use crate::workspace::Workspace;
use anyhow::{Context as _, Result, bail};
use clap::Args;
use std::path::Path;
use std::process::Command;

/// What to measure.
#[derive(Args, Debug)]
pub struct Arguments {
    /// What to measure instead of drivers: the virtio crate's queue
    #[arg(value_enum)]
    what: Option<What>,
    #[command(flatten)]
    driver: bench_driver::Arguments,
}

impl Arguments {
    /// What has to be on the machine.
    pub fn needs(&self) -> &'static [Need] {
        match self.what {
            Some(What::Virtio) => &[needs::VALGRIND],
            None if self.driver.brings_driver() => needs::TO_BOOT,
            None => needs::TO_RUN,
        }
    }
}

/// What can be measured.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum What {
    Virtio,
}

/// A queue: its name, and the word that chooses it in front of the example's `ROUNDS BATCH`.
struct Row {
    name: &'static str,
    words: &'static [&'static str],
}

/// The queues that are measured.
const ROWS: [Row; 6] = [
    Row { name: "split ring", words: &["split"] },
    Row { name: "packed ring", words: &["packed"] },
    Row { name: "split, chosen at run time", words: &["any-split"] },
    Row { name: "packed, chosen at run time", words: &["any-packed"] },
    Row { name: "split ring, no tables", words: &["split-direct"] },
    Row { name: "packed ring, no tables", words: &["packed-direct"] },
];

/// The functions that are measured, by the start of their names; generic ones have more behind it.
const FUNCTIONS: [(&str, &str); 2] =
    [("submit and publish", "ring_cost::measured_submit"), ("drain", "ring_cost::measured_drain")];

const ROUNDS: u32 = 64;
const BATCH: u32 = 32;

/// Runs the verb.
///
/// # Errors
/// There is no valgrind, or the example cannot be built.
pub fn verb(workspace: &Workspace, screen: &mut Screen, arguments: &Arguments) -> Result<bool> {
    match arguments.what {
        Some(What::Virtio) => virtio(workspace, screen),
        None => bench_driver::verb(workspace, screen, &arguments.driver),
    }
}

fn virtio(workspace: &Workspace, screen: &mut Screen) -> Result<bool> {
    if !Command::new("valgrind").arg("--version").output().is_ok_and(|output| output.status.success()) {
        bail!("there is no valgrind; on Debian or Ubuntu: sudo apt-get install valgrind");
    }
    let mut cargo = workspace.cargo();
    cargo.args(["build", "--release", "--package", "virtio", "--example", "ring_cost"]);
    step(screen, "cargo build", &mut cargo)?;
    let program = workspace.output("release/examples/ring_cost");

    screen.line(&format!("{:<28} {:<20} {:>24}", "queue", "", "instructions per request"));
    for row in ROWS {
        for (what, function) in FUNCTIONS {
            let cost = measure(screen, &program, row.words, function)
                .with_context(|| format!("{}, {what}", row.name))?;
            screen.line(&format!("{:<28} {what:<20} {cost:>24.1}", row.name));
        }
    }
    Ok(true)
}

/// Instructions per request inside `function`, and what it calls.
fn measure(screen: &mut Screen, program: &Path, words: &[&str], function: &str) -> Result<f64> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-atstart=no"]);
    valgrind.arg(format!("--toggle-collect={function}*")).arg(program).args(words);
    valgrind.args([ROUNDS.to_string(), BATCH.to_string()]);
    let ended = step(screen, "valgrind", &mut valgrind)?;
    let collected = number_after(ended.of(Stream::Err), "Collected : ");
    let requests = number_after(ended.of(Stream::Out), "requests=");
    match (collected, requests) {
        (Some(collected @ 1..), Some(requests @ 1..)) => Ok(collected as f64 / requests as f64),
        _ => bail!("callgrind counted nothing; is there still a function {function}?"),
    }
}

fn number_after<'a>(mut lines: impl Iterator<Item = &'a str>, mark: &str) -> Option<u64> {
    lines.find_map(|line| line.split_once(mark)?.1.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callgrinds_count_is_found() {
        let lines = ["==7== Events    : Ir", "==7== Collected : 190464", "==7=="];

        assert_eq!(number_after(lines.into_iter(), "Collected : "), Some(190_464));
        assert_eq!(number_after(["Collected : nothing"].into_iter(), "Collected : "), None);
    }
}
