//! The gate: what the drivers of this tree cost is kept in `bench/`, a file of [rows](crate::bench_rows) for each driver, and
//! a commit that makes a row worse says so by changing the file. The README's figures are made from these files.

use crate::bench_figures::Run;
use crate::bench_rows::{Rows, is_amount, steady_rows, step_of, steps_of_qemu};
use crate::workspace::Workspace;
use anyhow::{Context as _, Result, ensure};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the files are, in the tree.
const FOLDER: &str = "bench";
/// What a figure may grow by.
const PART: f64 = 0.01;
/// And when it is smaller than this, by one.
const SMALL: f64 = 100.0;
/// What to do about a failed comparison.
pub const MEND: &str = "make it cheaper again; where the price is meant, run `./x bench --update` and commit bench/ and \
                        README.md with the change";

/// What became of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Change {
    Same,
    Better { now: f64, was: f64 },
    Worse { now: f64, was: f64 },
    Missing,
    New { now: f64 },
}

impl Change {
    fn of(was: Option<f64>, now: Option<f64>) -> Self {
        match (was, now) {
            (Some(was), Some(now)) if now - was > margin(was) => Self::Worse { now, was },
            (Some(was), Some(now)) if was - now > margin(was) => Self::Better { now, was },
            (Some(_), Some(_)) => Self::Same,
            (None, Some(now)) => Self::New { now },
            (_, None) => Self::Missing,
        }
    }
}

/// What a row that was this may move by.
fn margin(was: f64) -> f64 {
    if was < SMALL { 1.0 } else { was * PART }
}

/// What a comparison found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Rows that are no worse.
    pub good: usize,
    /// Why it fails, one line each.
    pub failed: Vec<String>,
    /// What is better than it was, one line each.
    pub better: Vec<String>,
    /// What is worse, but was counted with other tools than what is kept, one line each: the driver may be the same.
    pub open: Vec<String>,
}

impl Verdict {
    /// Adds that of another driver.
    pub fn add(&mut self, other: Self) {
        self.good += other.good;
        self.failed.extend(other.failed);
        self.better.extend(other.better);
        self.open.extend(other.open);
    }
}

/// What counts hang on besides the driver.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Tools {
    /// The compiler that the driver was built with: another one makes other code of it.
    compiler: String,
    /// The QEMU whose devices it was counted with.
    qemu: String,
}

impl Tools {
    /// Why a row that is worse need not be the driver's fault; `of_qemu`: it is about QEMU's device.
    fn differ(&self, now: &Self, of_qemu: bool) -> Option<String> {
        if self.compiler != now.compiler {
            return Some(format!("kept with {}, and this is {}", self.compiler, now.compiler));
        }
        (of_qemu && self.qemu != now.qemu)
            .then(|| format!("kept with QEMU {}, and this is {}", self.qemu, now.qemu))
    }
}

/// Compares rows; `file` is how the kept ones are called. `differ` says why a row that is worse does not count.
fn compare(file: &str, kept: &Rows, counted: &Rows, differ: impl Fn(&str) -> Option<String>) -> Verdict {
    let mut verdict = Verdict::default();
    let names = kept.keys().chain(counted.keys().filter(|name| !kept.contains_key(*name)));
    for name in names {
        let percent = |now: f64, was: f64| {
            if was > 0.0 { format!(" ({:+.1} %)", (now / was - 1.0) * 100.0) } else { String::new() }
        };
        let place = format!("{file}: {name}");
        match Change::of(kept.get(name).copied(), counted.get(name).copied()) {
            Change::Same => verdict.good += 1,
            Change::Better { now, was } => {
                verdict.good += 1;
                verdict.better.push(format!("{place}: {now}, was {was}{}", percent(now, was)));
            }
            Change::Worse { now, was } => {
                let line = format!("{place}: worse: {now}, was {was}{}", percent(now, was));
                match differ(name) {
                    Some(why) => verdict.open.push(format!("{line}; {why}")),
                    None => verdict.failed.push(line),
                }
            }
            Change::Missing => verdict.failed.push(format!("{place}: not counted any more")),
            Change::New { now } => verdict.failed.push(format!("{place}: not kept yet: {now}")),
        }
    }
    verdict
}

/// Where a file says the tools.
const COMPILER: &str = "# Compiler: ";
const QEMU: &str = "# QEMU: ";

/// A file of rows.
fn write(driver: &str, tools: &Tools, rows: &Rows) -> String {
    let mut text = format!(
        "# What {driver} costs. Written by `./x bench --update`, which also makes the README's figures of it.\n\
         # Instructions and bytes are per request, other counts per 1000 requests; memory and image in bytes.\n\
         {COMPILER}{}\n{QEMU}{}\n",
        tools.compiler, tools.qemu
    );
    for (name, value) in rows {
        let _ = writeln!(text, "{name:<58} {value}");
    }
    text
}

/// Reads such a file, and the tools that it was made with.
///
/// # Errors
/// When a line is no row, or rows are not sorted or there twice.
fn read(text: &str) -> Result<(Tools, Rows)> {
    let (mut tools, mut rows) = (Tools::default(), Rows::new());
    for (index, line) in text.lines().enumerate() {
        if line.starts_with('#') {
            if let Some(name) = line.strip_prefix(COMPILER) {
                tools.compiler = name.to_owned();
            }
            if let Some(name) = line.strip_prefix(QEMU) {
                tools.qemu = name.to_owned();
            }
            continue;
        }
        let row = || format!("line {}: '{line}'", index + 1);
        let (name, value) = line.split_once(' ').with_context(row)?;
        let value: f64 = value.trim().parse().with_context(row)?;
        ensure!(value.is_finite() && value >= 0.0, "{}: that is no count", row());
        ensure!(
            rows.last_key_value().is_none_or(|(last, _)| last.as_str() < name),
            "{}: not in order",
            row()
        );
        rows.insert(name.to_owned(), value);
    }
    ensure!(!rows.is_empty(), "there is no row in it");
    Ok((tools, rows))
}

fn path(driver: &str) -> String {
    let stem = Path::new(driver).file_stem().unwrap_or_default().to_string_lossy();
    format!("{FOLDER}/{stem}.txt")
}

/// Compares what was counted with what is kept.
///
/// # Errors
/// When a kept file cannot be read.
pub fn gate(workspace: &Workspace, runs: &[Run]) -> Result<Verdict> {
    let mut verdict = Verdict::default();
    for run in runs {
        let file = path(&run.image.name);
        let text = std::fs::read_to_string(workspace.root.join(&file));
        let text = text.with_context(|| format!("{file} cannot be read; `./x bench --update` writes it"))?;
        let (then, kept) = read(&text).with_context(|| format!("{file} cannot be read"))?;
        let (now, of_qemu) = (tools(workspace, run)?, steps_of_qemu(run));
        let differ = |row: &str| then.differ(&now, of_qemu.contains(step_of(row)));
        verdict.add(compare(&file, &kept, &steady_rows(run), differ));
    }
    Ok(verdict)
}

/// Keeps what was counted, and makes the README's figures of it. Answers with the files that changed.
///
/// # Errors
/// When not everything was counted, or a file cannot be written.
pub fn update(workspace: &Workspace, runs: &[Run]) -> Result<Vec<PathBuf>> {
    for run in runs {
        ensure!(run.broken.is_empty(), "nothing is kept: {}: {}", run.image.name, run.broken.join("; "));
    }
    std::fs::create_dir_all(workspace.root.join(FOLDER))
        .with_context(|| format!("{FOLDER} cannot be made"))?;
    let mut files = Vec::new();
    for run in runs {
        files.push((
            path(&run.image.name),
            write(&run.image.name, &tools(workspace, run)?, &steady_rows(run)),
        ));
    }
    let kept: Vec<(&str, Rows)> =
        runs.iter().map(|run| (run.image.name.as_str(), steady_rows(run))).collect();
    let readme =
        std::fs::read_to_string(workspace.root.join("README.md")).context("README.md cannot be read")?;
    files.push(("README.md".to_owned(), with_figures(&readme, &figures(&kept))?));
    let mut changed = Vec::new();
    for (file, text) in files {
        let path = workspace.root.join(&file);
        if std::fs::read_to_string(&path).is_ok_and(|old| old == text) {
            continue;
        }
        std::fs::write(&path, text).with_context(|| format!("{file} cannot be written"))?;
        changed.push(file.into());
    }
    Ok(changed)
}

/// What a run was made with.
fn tools(workspace: &Workspace, run: &Run) -> Result<Tools> {
    let output = Command::new("rustc")
        .arg("--version")
        .current_dir(&workspace.root)
        .output()
        .context("rustc does not run")?;
    let compiler = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Ok(Tools { compiler, qemu: run.qemu.clone() })
}

/// What the README shows: a row, and what it is called there.
const SHOWN: [(&str, &str); 26] = [
    ("4 KiB read, one at a time", "cpus-1/read-4k-qd1/instructions"),
    ("4 KiB write, one at a time", "cpus-1/write-4k-qd1/instructions"),
    ("interrupt routine, one at a time", "cpus-1/read-4k-qd1/instructions-isr"),
    ("4 KiB read, 32 at once", "cpus-1/read-4k-qd32/instructions"),
    ("4 KiB write, 32 at once", "cpus-1/write-4k-qd32/instructions"),
    ("4 KiB read, 256 at once", "cpus-1/read-4k-qd256/instructions"),
    ("64 KiB read in 16 segments, 32 at once", "cpus-1/read-64k-qd32/instructions"),
    ("1000 KiB read in 250 segments, 8 at once", "cpus-1/read-1000k-qd8/instructions"),
    ("2 queues, 4 KiB read, one at a time", "cpus-2/queues2-4k-qd1/instructions"),
    ("8 queues, 4 KiB read, one at a time", "cpus-8/queues8-4k-qd1/instructions"),
    ("8 queues, 4 KiB read, 32 at once on each", "cpus-8/queues8-4k-qd32-each/instructions"),
    ("256 completions in reverse order, per request", "cpus-1/reversed-4k-qd256/instructions-dpc"),
    ("256 completions in order, per request", "cpus-1/fifo-4k-qd256/instructions-dpc"),
    ("doorbells for 1000 requests, 32 at once, device asleep", "cpus-1/asleep-4k-qd32/doorbells"),
    ("interrupts for 1000 requests, 32 at once, device asleep", "cpus-1/asleep-4k-qd32/interrupts"),
    ("calls of StorPort for 1000 requests, 32 at once", "cpus-1/read-4k-qd32/storport-calls"),
    ("bytes written to the SRB extension, 4 KiB read", "cpus-1/read-4k-qd32/srb-extension-bytes"),
    ("bytes written to the driver's memory, 4 KiB read", "cpus-1/read-4k-qd32/driver-bytes"),
    ("bytes of SRB extension for each request", "memory/cpus-1/srb-extension"),
    ("bytes of an adapter with one queue", "memory/cpus-1/adapter"),
    ("bytes of an adapter with 8 queues", "memory/cpus-8/adapter"),
    ("bytes of an adapter with 64 queues", "memory/cpus-64/adapter"),
    ("bytes of each further queue", "memory/each-further-queue"),
    ("bytes of each logical unit", "memory/cpus-1/unit-extension"),
    ("bytes of the image", "image/bytes"),
    ("bytes of code in it", "image/code-bytes"),
];

/// The lines around the README's figures.
const BEGIN: &str = "<!-- figures: made by ./x bench --update -->";
const END: &str = "<!-- end of figures -->";

/// The README's table.
fn figures(drivers: &[(&str, Rows)]) -> String {
    let mut text = String::from("| |");
    for (driver, _) in drivers {
        let _ = write!(text, " {driver} |");
    }
    text.push_str("\n|---|");
    text.push_str(&"---:|".repeat(drivers.len()));
    text.push('\n');
    for (name, row) in SHOWN {
        let _ = write!(text, "| {name} |");
        for (_, rows) in drivers {
            let value = rows.get(row).map_or("–".to_owned(), |value| {
                let figure = row.rsplit('/').next().unwrap_or(row);
                let digits = if is_amount(figure) && *value < SMALL { 1 } else { 0 };
                format!("{value:.digits$}")
            });
            let _ = write!(text, " {value} |");
        }
        text.push('\n');
    }
    text
}

/// The README with these figures in it.
///
/// # Errors
/// When it has no place for them.
fn with_figures(readme: &str, figures: &str) -> Result<String> {
    let place = readme.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) = place.with_context(|| format!("README.md has no lines '{BEGIN}' and '{END}'"))?;
    Ok(format!("{before}{BEGIN}\n{figures}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench_figures::tests::{line, run};
    use packaging::driver;

    fn rows_of(rows: &[(&str, f64)]) -> Rows {
        rows.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
    }

    fn tools(compiler: &str, qemu: &str) -> Tools {
        Tools { compiler: compiler.to_owned(), qemu: qemu.to_owned() }
    }

    fn change(was: f64, now: f64) -> Change {
        Change::of(Some(was), Some(now))
    }

    #[test]
    fn a_row_may_grow_by_one_percent_and_no_more() {
        assert_eq!(change(1000.0, 1010.0), Change::Same);
        assert_eq!(change(1000.0, 1010.01), Change::Worse { now: 1010.01, was: 1000.0 });
        assert_eq!(change(100.0, 101.01), Change::Worse { now: 101.01, was: 100.0 });
    }

    #[test]
    fn a_small_row_may_grow_by_one() {
        assert_eq!(change(51.0, 52.0), Change::Same);
        assert_eq!(change(51.0, 52.5), Change::Worse { now: 52.5, was: 51.0 });
        assert_eq!(change(31.0, 33.0), Change::Worse { now: 33.0, was: 31.0 });
        assert_eq!(change(0.0, 2.0), Change::Worse { now: 2.0, was: 0.0 });
    }

    #[test]
    fn better_rows_are_told_and_do_not_fail() {
        let kept = rows_of(&[("a/instructions", 400.0), ("b/instructions", 400.0)]);
        let counted = rows_of(&[("a/instructions", 380.0), ("b/instructions", 399.0)]);

        let verdict = compare("bench/a.txt", &kept, &counted, |_| None);

        assert_eq!((verdict.good, verdict.failed.len()), (2, 0));
        assert_eq!(verdict.better, ["bench/a.txt: a/instructions: 380, was 400 (-5.0 %)"]);
    }

    #[test]
    fn worse_missing_and_new_rows_fail_with_file_and_row() {
        let kept = rows_of(&[("a/instructions", 400.0), ("gone/locked", 2.0)]);
        let counted = rows_of(&[("a/instructions", 410.0), ("new/locked", 7.0)]);

        let verdict = compare("bench/a.txt", &kept, &counted, |_| None);

        assert_eq!(
            verdict.failed,
            [
                "bench/a.txt: a/instructions: worse: 410, was 400 (+2.5 %)",
                "bench/a.txt: gone/locked: not counted any more",
                "bench/a.txt: new/locked: not kept yet: 7",
            ]
        );
        assert_eq!((verdict.good, verdict.better.len()), (0, 0));
    }

    /// Rows that are kept of a step on this device with so many lines in its drains.
    fn rows_with_lines(device: &str, lines: u64) -> Rows {
        let mut step = line("a");
        step["device"] = device.into();
        step["drain-lines"] = lines.into();
        steady_rows(&Run { raw: vec![step], ..run("a") })
    }

    #[test]
    fn a_row_that_is_another_in_each_run_neither_fails_nor_is_written() {
        let text = write("a.sys", &tools("1.95.0", "10.0.2"), &rows_with_lines("qemu", 50));

        let verdict = compare("bench/a.txt", &read(&text).unwrap().1, &rows_with_lines("qemu", 60), |_| None);

        assert!(text.contains("cpus-1/a/instructions ") && !text.contains("drain-lines"), "{text}");
        assert_eq!(verdict.failed, [""; 0]);
    }

    #[test]
    fn the_same_row_of_the_stands_own_device_is_held_to_what_is_kept() {
        let verdict =
            compare("bench/a.txt", &rows_with_lines("asleep", 50), &rows_with_lines("asleep", 60), |_| None);

        assert_eq!(verdict.failed, ["bench/a.txt: cpus-1/a/drain-lines: worse: 6000, was 5000 (+20.0 %)"]);
    }

    #[test]
    fn a_worse_row_of_other_tools_is_open_and_does_not_fail() {
        let (kept, counted) = (rows_of(&[("a/locked", 2.0)]), rows_of(&[("a/locked", 7.0)]));

        let verdict = compare("bench/a.txt", &kept, &counted, |_| Some("it is another compiler".to_owned()));

        assert_eq!(verdict.failed, [""; 0]);
        assert_eq!(
            verdict.open,
            ["bench/a.txt: a/locked: worse: 7, was 2 (+250.0 %); it is another compiler"]
        );
    }

    #[test]
    fn another_compiler_is_for_all_rows_and_another_qemu_for_those_of_its_device() {
        let kept = tools("1.95.0", "10.0.2");

        assert_eq!(kept.differ(&kept, true), None);
        assert!(kept.differ(&tools("1.96.0", "10.0.2"), false).is_some());
        assert!(kept.differ(&tools("1.95.0", "11.0.0"), true).is_some());
        assert_eq!(kept.differ(&tools("1.95.0", "11.0.0"), false), None);
    }

    #[test]
    fn a_file_that_was_written_reads_as_the_same_rows() {
        let rows = rows_of(&[("b/instructions", 12.25), ("a/doorbells", 1000.0)]);

        let text = write("a.sys", &tools("1.95.0", "10.0.2"), &rows);

        assert_eq!(read(&text).unwrap(), (tools("1.95.0", "10.0.2"), rows));
        assert!(text.find("a/doorbells").unwrap() < text.find("b/instructions").unwrap(), "{text}");
    }

    #[test]
    fn what_is_no_file_of_rows_is_refused() {
        for text in ["", "# only words\n", "a\n", "a many\n", "a NaN\n", "a -1\n", "b 1\na 1\n", "a 1\na 1\n"]
        {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn figures_take_their_place_and_nothing_else() {
        let readme = format!("before\n{BEGIN}\nold\n{END}\nafter\n");

        let text = with_figures(&readme, "| new |\n").unwrap();

        assert_eq!(text, format!("before\n{BEGIN}\n| new |\n{END}\nafter\n"));
        assert!(with_figures("no place", "| new |\n").is_err());
    }

    #[test]
    fn the_readmes_figures_are_those_that_are_kept() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let names: Vec<String> = driver::ALL.iter().map(|driver| format!("{}.sys", driver.name)).collect();
        let kept: Vec<(&str, Rows)> = names
            .iter()
            .map(|name| {
                let text = std::fs::read_to_string(root.join(path(name))).expect("bench/ has the file");
                (name.as_str(), read(&text).expect("it has rows").1)
            })
            .collect();
        let readme = std::fs::read_to_string(root.join("README.md")).expect("there is a README");

        let figures = figures(&kept);

        assert!(!figures.contains('–'), "a row that the README shows is not kept any more:\n{figures}");
        assert_eq!(with_figures(&readme, &figures).unwrap(), readme, "run `./x bench --update`");
    }
}
