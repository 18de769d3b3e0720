//! `./x fuzz`: the virtio crate's fuzz targets, with cargo-fuzz.
//!
//! Seeds are committed and written by the targets' own tests; what the fuzzer finds interesting is kept below the target
//! folder, so the next run goes on from there.

use crate::command::{Ended, Stream, step, watch};
use crate::nightly::Nightly;
use crate::registry::CARGO_FUZZ;
use crate::screen::{Screen, seconds};
use crate::workspace::Workspace;
use anyhow::{Context as _, Result, ensure};
use clap::Args;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// The folder of the targets' crate.
pub const CRATE: &str = "drivers/common/virtio/fuzz";

/// What to fuzz.
#[derive(Args, Debug)]
pub struct Arguments {
    /// A target, or `all`; without one, they are listed
    target: Option<String>,
    /// How long each target is fuzzed, in seconds
    #[arg(long, value_name = "S", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    time: u32,
    /// Only plays this input, such as one that a fuzzer found
    #[arg(long, value_name = "FILE", requires = "target", conflicts_with = "time")]
    input: Option<PathBuf>,
}

/// Runs the verb.
///
/// # Errors
/// There is no such target, or the fuzzer cannot be built. A finding is printed and makes the answer `false`.
pub fn verb(workspace: &Workspace, screen: &mut Screen, arguments: &Arguments) -> Result<bool> {
    let targets = targets(workspace)?;
    let names = || targets.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>();
    let Some(chosen) = &arguments.target else {
        for (name, about) in &targets {
            screen.line(&format!("{name:<16} {about}"));
        }
        return Ok(true);
    };
    let chosen: Vec<&str> =
        if chosen == "all" { names() } else { names().into_iter().filter(|name| name == chosen).collect() };
    ensure!(
        !chosen.is_empty(),
        "there is no fuzz target '{}'; there are: {}",
        arguments.target.as_deref().unwrap_or_default(),
        names().join(", ")
    );

    let fuzzer = Fuzzer::build(workspace, screen, &chosen)?;
    if let Some(input) = &arguments.input {
        let input = workspace.path_of_caller(input);
        ensure!(input.is_file(), "there is no input {}", input.display());
        ensure!(chosen.len() == 1, "an input is for one target, not for all");
        return fuzzer.play(screen, chosen[0], &input);
    }
    let (mut passed, mut failed) = (0, 0);
    for target in chosen {
        if fuzzer.fuzz(screen, target, arguments.time)? {
            passed += 1;
        } else {
            failed += 1;
        }
    }
    screen.line(&format!("{passed} passed, {failed} failed"));
    Ok(failed == 0)
}

/// Names of the targets, and what the first line of each says.
fn targets(workspace: &Workspace) -> Result<Vec<(String, String)>> {
    let folder = workspace.root.join(CRATE).join("fuzz_targets");
    let mut targets = Vec::new();
    for entry in std::fs::read_dir(&folder).context("there is no folder of fuzz targets")? {
        let path = entry?.path();
        let source = std::fs::read_to_string(&path)?;
        let about = source.lines().next().unwrap_or_default().trim_start_matches("//! ");
        let about = about.split(": see").next().unwrap_or_default();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        targets.push((name, about.to_owned()));
    }
    targets.sort();
    Ok(targets)
}

/// The targets, built.
struct Fuzzer<'a> {
    workspace: &'a Workspace,
    nightly: Nightly,
    program: PathBuf,
}

impl<'a> Fuzzer<'a> {
    fn build(workspace: &'a Workspace, screen: &mut Screen, targets: &[&str]) -> Result<Self> {
        let nightly = Nightly::install(screen, &[])?;
        let program = CARGO_FUZZ.install(workspace, screen)?;
        let fuzzer = Self { workspace, nightly, program };
        for target in targets {
            step(screen, "cargo fuzz build", fuzzer.cargo_fuzz("build").arg(target))?;
        }
        Ok(fuzzer)
    }

    fn cargo_fuzz(&self, what: &str) -> Command {
        let mut command = self.nightly.run(self.workspace, &self.program);
        command.args([what, "--fuzz-dir", CRATE, "--target-dir"]).arg(self.workspace.output("fuzz/build"));
        // It asks cargo for the crate's folder, and would be told of this program's.
        command.env_remove("CARGO_MANIFEST_DIR").env_remove("CARGO_TARGET_DIR");
        command
    }

    /// Fuzzes for some seconds. `false` when something was found.
    fn fuzz(&self, screen: &mut Screen, target: &str, time: u32) -> Result<bool> {
        let corpus = self.workspace.output(&format!("fuzz/corpus/{target}"));
        let artifacts = self.workspace.output(&format!("fuzz/artifacts/{target}"));
        for folder in [&corpus, &artifacts] {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("{} cannot be made", folder.display()))?;
        }
        let seeds = self.workspace.root.join(CRATE).join("seeds").join(target);
        let mut command = self.cargo_fuzz("run");
        // What is new goes into the first folder.
        command.arg(target).arg(corpus).arg(seeds).arg("--");
        command.arg(format!("-max_total_time={time}")).arg("-timeout=10");
        command.arg(format!("-artifact_prefix={}/", artifacts.display()));
        let started = Instant::now();
        let ended = watch(screen, &format!("fuzz {target}"), &mut command)?;
        let took = seconds(started.elapsed());
        let counted = Counted::of(ended.of(Stream::Err));
        let mark = if ended.success() { "ok  " } else { "FAIL" };
        screen.line(&format!(
            "{mark} {target:<16} {:>9} executions, {} places covered, {} inputs kept {took:>12}",
            counted.executions, counted.covered, counted.kept
        ));
        if !ended.success() {
            self.show_finding(screen, target, &ended);
        }
        Ok(ended.success())
    }

    /// Plays one input. `false` when it is a finding.
    fn play(&self, screen: &mut Screen, target: &str, input: &Path) -> Result<bool> {
        let ended = watch(screen, &format!("fuzz {target}"), self.cargo_fuzz("run").arg(target).arg(input))?;
        if ended.success() {
            screen.line(&format!("ok   {target}: nothing is wrong with {}", self.workspace.show(input)));
        } else {
            screen.line(&ended.tail(80));
        }
        Ok(ended.success())
    }

    fn show_finding(&self, screen: &mut Screen, target: &str, ended: &Ended) {
        let finding = Finding::of(ended.of(Stream::Err));
        if finding.said.is_empty() && finding.artifact.is_none() {
            screen.line(&ended.tail(40));
            return;
        }
        for line in finding.said {
            screen.line(&format!("       {line}"));
        }
        if let Some(artifact) = finding.artifact {
            let artifact = Path::new(artifact);
            screen.line(&format!("       input: {}", self.workspace.show(artifact)));
            screen
                .line(&format!("       again: ./x fuzz {target} --input {}", self.workspace.show(artifact)));
        }
        // On a machine that is thrown away afterwards, the log is all that is left of the file.
        if let Some(base64) = finding.base64 {
            screen.line(&format!("       its bytes in base64: {base64}"));
        }
    }
}

/// What libFuzzer's last status line says: `#72684 DONE   cov: 1085 ft: 3923 corp: 506/53Kb …`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counted {
    executions: u64,
    covered: u64,
    kept: u64,
}

impl Counted {
    fn of<'a>(lines: impl Iterator<Item = &'a str>) -> Self {
        let mut counted = Self::default();
        for line in lines {
            let mut words = line.split_whitespace();
            let Some(executions) = words.next().and_then(|word| word.strip_prefix('#')?.parse().ok()) else {
                continue;
            };
            counted.executions = executions;
            while let Some(word) = words.next() {
                let mut number = || {
                    let number = words.next()?.split('/').next()?;
                    number.parse().ok()
                };
                match word {
                    "cov:" => counted.covered = number().unwrap_or(counted.covered),
                    "corp:" => counted.kept = number().unwrap_or(counted.kept),
                    _ => {}
                }
            }
        }
        counted
    }
}

/// What libFuzzer says about an input that ended badly.
#[derive(Debug, Default, PartialEq, Eq)]
struct Finding<'a> {
    /// The panic, or what the sanitizer saw
    said: Vec<&'a str>,
    artifact: Option<&'a str>,
    base64: Option<&'a str>,
}

impl<'a> Finding<'a> {
    fn of(lines: impl Iterator<Item = &'a str>) -> Self {
        let mut finding = Self::default();
        let mut panicked = false;
        for line in lines {
            if let Some((_, path)) = line.split_once("Test unit written to ") {
                finding.artifact = Some(path);
            } else if let Some(base64) = line.strip_prefix("Base64: ") {
                finding.base64 = Some(base64);
            } else if panicked || line.contains("panicked at ") || line.starts_with("SUMMARY: ") {
                finding.said.push(line);
            }
            // The message is on the line after the place.
            panicked = line.contains("panicked at ");
        }
        finding
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_status_line_counts() {
        let lines = [
            "INFO: Seed: 1",
            "#2\tINITED cov: 100 ft: 101 corp: 1/1b exec/s: 0 rss: 40Mb",
            "#72684\tDONE   cov: 1085 ft: 3923 corp: 506/53Kb lim: 4096 exec/s: 2795 rss: 86Mb",
            "Done 72684 runs in 26 second(s)",
        ];

        let counted = Counted::of(lines.into_iter());

        assert_eq!(counted, Counted { executions: 72684, covered: 1085, kept: 506 });
    }

    #[test]
    fn a_finding_has_its_panic_its_file_and_its_bytes() {
        let lines = [
            "thread '<unnamed>' (1) panicked at src/used_ring.rs:1:2:",
            "lost: [3]",
            "stack backtrace:",
            "SUMMARY: libFuzzer: deadly signal",
            "artifact_prefix='a/'; Test unit written to a/crash-1",
            "Base64: AAAA",
        ];

        let finding = Finding::of(lines.into_iter());

        assert_eq!(finding.said, [lines[0], lines[1], lines[3]]);
        assert_eq!((finding.artifact, finding.base64), (Some("a/crash-1"), Some("AAAA")));
    }
}
