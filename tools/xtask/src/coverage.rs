//! `./x test --coverage`: how much of the virtio crate its own tests reach, in lines, with cargo-llvm-cov on stable.
//!
//! Counted is what ships: the crate's sources without the tests at the end of each file.

use crate::command::step;
use crate::registry::CARGO_LLVM_COV;
use crate::screen::Screen;
use crate::workspace::Workspace;
use anyhow::{Context as _, Result, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// The folder that is counted.
const SOURCES: &str = "drivers/common/virtio/src/";

/// Least share of lines, in tenths of a percent.
const LEAST: usize = 950;

/// Runs the tests and prints the table.
///
/// # Errors
/// A test failed, or something that is needed cannot be installed.
pub fn verb(workspace: &Workspace, screen: &mut Screen) -> Result<bool> {
    install_llvm_tools(screen)?;
    let program = CARGO_LLVM_COV.install(workspace, screen)?;
    let report = workspace.output("coverage/virtio.lcov");
    std::fs::create_dir_all(workspace.output("coverage"))?;
    let mut command = Command::new(program);
    command.current_dir(&workspace.root).env("CARGO_TARGET_DIR", &workspace.target);
    command.args(["llvm-cov", "--package", "virtio", "--lcov", "--output-path"]);
    step(screen, "cargo llvm-cov", command.arg(&report))?;

    let report = std::fs::read_to_string(&report).context("there is no report")?;
    let mut files = BTreeMap::new();
    for (name, lines) in counted_lines(&report, &workspace.root) {
        let source = std::fs::read_to_string(workspace.root.join(&name))?;
        files.insert(name, File::count(&lines, &source));
    }
    ensure!(!files.is_empty(), "the report names no file of {SOURCES}");
    let mut all = File::default();
    for (name, file) in &files {
        let name = name.strip_prefix("drivers/common/virtio/").unwrap_or(name);
        let share = percent(file.share());
        let missed = ranges(&file.missed);
        let row = format!("{name:<32} {:>5} of {:>5} lines {share:>6} %  {missed}", file.reached, file.lines);
        screen.line(row.trim_end());
        all.reached += file.reached;
        all.lines += file.lines;
    }
    screen.line(&format!("lines covered: {} %", percent(all.share())));
    let enough = all.share() >= LEAST;
    if !enough {
        screen.line(&format!("that is less than {} %", percent(LEAST)));
    }
    Ok(enough)
}

/// The counters are LLVM's, and so are the programs that read them; rustup has those that fit the compiler.
fn install_llvm_tools(screen: &mut Screen) -> Result<()> {
    let output = Command::new("rustc").args(["--print", "target-libdir"]).output().context("no rustc")?;
    let library = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if Path::new(&library).with_file_name("bin").join("llvm-profdata").is_file() {
        return Ok(());
    }
    screen.line("adding rustup's component llvm-tools");
    step(screen, "rustup component add", Command::new("rustup").args(["component", "add", "llvm-tools"]))?;
    Ok(())
}

/// For each file that counts, the lines with code and how often they were run.
fn counted_lines(report: &str, root: &Path) -> BTreeMap<String, BTreeMap<usize, u64>> {
    let mut files: BTreeMap<String, BTreeMap<usize, u64>> = BTreeMap::new();
    let mut name = None;
    for line in report.lines() {
        if let Some(path) = line.strip_prefix("SF:") {
            let path = Path::new(path).strip_prefix(root).unwrap_or(Path::new(path)).display().to_string();
            let counts = path.starts_with(SOURCES);
            name = counts.then_some(path);
        } else if let (Some(name), Some(data)) = (&name, line.strip_prefix("DA:")) {
            let mut numbers = data.split(',').map(|number| number.parse::<u64>().unwrap_or(0));
            if let (Some(line), Some(count)) = (numbers.next(), numbers.next()) {
                *files.entry(name.clone()).or_default().entry(line as usize).or_default() += count;
            }
        }
    }
    files
}

/// A file's count.
#[derive(Debug, Default, PartialEq, Eq)]
struct File {
    lines: usize,
    reached: usize,
    missed: BTreeSet<usize>,
}

impl File {
    fn count(counts: &BTreeMap<usize, u64>, source: &str) -> Self {
        // Tests reach themselves. They stand at the end of each file.
        let tests = source.lines().position(|line| line == "#[cfg(test)]").map_or(usize::MAX, |at| at + 1);
        let mut file = Self::default();
        for (line, count) in counts.range(..tests) {
            file.lines += 1;
            if *count > 0 {
                file.reached += 1;
            } else {
                file.missed.insert(*line);
            }
        }
        file
    }

    /// In tenths of a percent, rounded down: a file that lacks a line never shows 100.
    fn share(&self) -> usize {
        (self.reached * 1000).checked_div(self.lines).unwrap_or(1000)
    }
}

/// `95.3`
fn percent(tenths: usize) -> String {
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// `7, 12-14`
fn ranges(lines: &BTreeSet<usize>) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for line in lines {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *line => *last = *line,
            _ => ranges.push((*line, *line)),
        }
    }
    let text = |(first, last)| if first == last { format!("{first}") } else { format!("{first}-{last}") };
    ranges.into_iter().map(text).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_lines_that_ship_count() {
        let report = "SF:/tree/drivers/common/virtio/src/a.rs\nDA:1,5\nDA:2,0\nDA:5,0\nend_of_record\n\
                      SF:/tree/tests/fake-device/src/b.rs\nDA:1,0\nend_of_record\n\
                      SF:/tree/drivers/viostor/src/c.rs\nDA:1,0\nend_of_record\n";

        let files = counted_lines(report, Path::new("/tree"));
        let file = File::count(
            &files["drivers/common/virtio/src/a.rs"],
            "fn a() {\n}\n\n#[cfg(test)]\nmod tests {}\n",
        );

        assert_eq!(files.len(), 1);
        assert_eq!(file, File { lines: 2, reached: 1, missed: BTreeSet::from([2]) });
        assert_eq!(percent(file.share()), "50.0");
    }

    #[test]
    fn missed_lines_are_shown_as_ranges() {
        assert_eq!(ranges(&BTreeSet::from([7, 12, 13, 14])), "7, 12-14");
        assert_eq!(ranges(&BTreeSet::new()), "");
    }
}
