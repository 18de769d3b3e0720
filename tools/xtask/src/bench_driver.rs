//! What driver images do for each request, counted by the stand's suite `bench`: a table, JSON, and ratios of two images.
//!
//! The targets beside the figures are T1 to T12 of the project's performance goals: instructions per request, bytes written,
//! calls, locks, doorbells, interrupts, memory. Those that this bench does not measure are said so.

use crate::boot::{self, Show, Trial};
use crate::drivers;
use crate::machine::{Kind, Machine};
use crate::package;
use crate::qemu::Qemu;
use crate::run::{image_from_iso, kind};
use crate::screen::Screen;
use crate::workspace::Workspace;
use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use packaging::driver;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Which images.
#[derive(Args, Debug)]
#[group(skip)]
pub struct Arguments {
    /// The driver image; both drivers of the ISO if left out
    #[arg(long, value_name = "FILE.sys")]
    driver: Option<PathBuf>,
    /// Another image for the same device: its figures, and the ratio of the first to it
    #[arg(long, value_name = "FILE.sys", requires = "driver")]
    against: Option<PathBuf>,
    /// What the images are for, when their names do not say it: virtio-blk or virtio-scsi
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// Where to write all figures
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Arguments {
    /// Whether the caller gives the driver, so that none has to be built.
    pub fn brings_driver(&self) -> bool {
        self.driver.is_some()
    }
}

/// Callbacks with a column of their own, and what it is called. The interrupt routine has two names.
const CALLBACKS: [(&str, &[&str]); 4] = [
    ("BuildIo", &["HwStorBuildIo"]),
    ("StartIo", &["HwStorStartIo"]),
    ("ISR", &["HwStorInterrupt", "HwMSInterruptRoutine"]),
    ("DPC", &["HwStorDpcRoutine"]),
];

/// Sums of calls, and what the stand calls each. The kernel's memory functions are among the others, and no call of T4's.
const CALLS: [(&str, &str); 2] = [("StorPort calls", "storport-calls"), ("other calls", "other-calls")];

/// One figure of a step.
#[derive(Clone, Debug, PartialEq)]
struct Figure {
    name: String,
    per_request: f64,
}

/// One step of one image.
#[derive(Clone, Debug, PartialEq)]
struct Step {
    name: String,
    figures: Vec<Figure>,
    /// Calls by name, per request: StorPort's, then others.
    calls: Vec<Figure>,
}

/// Everything counted of one image.
#[derive(Clone, Debug)]
struct Run {
    image: String,
    held: Value,
    steps: Vec<Step>,
    raw: Vec<Value>,
}

/// Runs the verb.
///
/// # Errors
/// When an image cannot be run through the suite.
pub fn verb(workspace: &Workspace, screen: &mut Screen, arguments: &Arguments) -> Result<bool> {
    let qemu = Qemu::find(None)?;
    let subjects = subjects(workspace, screen, arguments)?;
    boot::build_stand(workspace, screen)?;
    let mut runs = Vec::new();
    for (image, kind) in &subjects {
        runs.push(count(workspace, screen, &qemu, image, *kind)?);
    }
    for run in &runs {
        for line in table(run) {
            screen.line(&line);
        }
    }
    if arguments.against.is_some() {
        for line in ratios(&runs[0], &runs[1]) {
            screen.line(&line);
        }
    }
    if let Some(path) = &arguments.json {
        let all: Vec<Value> = runs
            .iter()
            .map(|run| json!({ "image": run.image, "held": run.held, "steps": run.raw }))
            .collect();
        let path = workspace.path_of_caller(path);
        std::fs::write(&path, serde_json::to_string_pretty(&all)?)
            .with_context(|| format!("{} cannot be written", path.display()))?;
    }
    Ok(true)
}

fn subjects(
    workspace: &Workspace,
    screen: &mut Screen,
    arguments: &Arguments,
) -> Result<Vec<(PathBuf, Kind)>> {
    let Some(first) = &arguments.driver else {
        package::make(workspace, screen, &drivers::Arguments::default())?;
        return driver::ALL
            .iter()
            .map(|driver| Ok((image_from_iso(workspace, driver)?, kind(driver))))
            .collect();
    };
    let images = [Some(first), arguments.against.as_ref()];
    let images: Vec<PathBuf> =
        images.into_iter().flatten().map(|path| workspace.path_of_caller(path)).collect();
    let kind = match &arguments.device {
        Some(device) => Kind::of_device(device),
        None => Kind::of_image(&images[0]),
    };
    let kind = kind.context("which device is it for? say --device virtio-blk or --device virtio-scsi")?;
    Ok(images.into_iter().map(|image| (image, kind)).collect())
}

/// Boots the suite with one image.
fn count(workspace: &Workspace, screen: &mut Screen, qemu: &Qemu, image: &Path, kind: Kind) -> Result<Run> {
    let mut machine = Machine::default();
    // A disk that does nothing: what is left is the driver.
    machine.more.extend([
        "-blockdev".to_owned(),
        "driver=null-co,node-name=fast,size=67108864,read-zeroes=on".to_owned(),
    ]);
    match kind {
        Kind::Blk => machine.raw("virtio-blk-pci,drive=fast,serial=RUST-BLK-0001,disable-legacy=on"),
        Kind::Scsi => {
            machine.raw("virtio-scsi-pci,id=scsi0,disable-legacy=on");
            machine.raw("scsi-hd,bus=scsi0.0,drive=fast,serial=RUST-SCSI-0001");
        }
    }
    let options = boot::Options { smp: 1, timeout: 120, go_on: true, ..boot::Options::default() };
    let trial =
        Trial { suite: Some("bench".to_owned()), ..Trial::new(image, kind.ids(), Some(kind), &machine) };
    let report = boot::boot(workspace, screen, (qemu, &options), &trial, Show::Progress)?;
    let name = image.display().to_string();
    if let Some(complaint) = report.broken.is_some().then(|| boot::complaint(&report, &options)).flatten() {
        bail!("{name}: {complaint}");
    }
    let values: Vec<Value> = report
        .counts
        .iter()
        .map(|text| serde_json::from_str(text).with_context(|| format!("the stand counts {text}")))
        .collect::<Result<_>>()?;
    let held = values.iter().find_map(|value| value.get("held")).cloned().unwrap_or_default();
    let raw: Vec<Value> = values.into_iter().filter(|value| value.get("step").is_some()).collect();
    ensure!(!raw.is_empty(), "{name}: nothing was counted");
    Ok(Run { image: name, held, steps: raw.iter().map(step).collect(), raw })
}

/// Sums a field over callbacks.
fn sum(value: &Value, names: Option<&[&str]>, field: &str) -> u64 {
    let Some(callbacks) = value["callbacks"].as_object() else { return 0 };
    callbacks
        .iter()
        .filter(|(name, _)| names.is_none_or(|names| names.contains(&name.as_str())))
        .filter_map(|(_, counts)| counts[field].as_u64())
        .sum()
}

/// The figures of one step.
fn step(value: &Value) -> Step {
    let requests = value["requests"].as_u64().unwrap_or(0).max(1) as f64;
    let mut figures = Vec::new();
    let mut add = |name: &str, total: u64| {
        figures.push(Figure { name: name.to_owned(), per_request: total as f64 / requests });
    };
    for (name, callbacks) in CALLBACKS {
        add(&format!("instructions {name}"), sum(value, Some(callbacks), "instructions"));
    }
    let (own, charged) = (sum(value, None, "instructions"), sum(value, None, "memory-instructions"));
    add("instructions own", own);
    add("instructions memory", charged);
    add("instructions", own + charged);
    add("memory bytes", sum(value, None, "memory-bytes"));
    let calls_of = |owner: &str| value[owner].as_object().into_iter().flatten();
    for (name, owner) in CALLS {
        add(name, calls_of(owner).filter_map(|(_, count)| count.as_u64()).sum());
    }
    add("doorbells", sum(value, None, "doorbell-stores"));
    add("interrupts", value["interrupts"].as_u64().unwrap_or(0));
    add("locked instructions", sum(value, None, "locked"));
    add("full fences", sum(value, None, "fences"));
    for (name, field) in [
        ("bytes SRB extension", "srb-extension-bytes"),
        ("bytes driver memory", "driver-bytes"),
        ("bytes stack", "stack-bytes"),
    ] {
        add(name, sum(value, None, field));
    }
    add("register reads", sum(value, None, "register-reads"));
    add("busy", value["busy"].as_u64().unwrap_or(0));
    let calls = CALLS.iter().flat_map(|(_, owner)| calls_of(owner)).map(|(name, count)| Figure {
        name: name.clone(),
        per_request: count.as_u64().unwrap_or(0) as f64 / requests,
    });
    let calls = calls.collect();
    Step { name: value["step"].as_str().unwrap_or("?").to_owned(), figures, calls }
}

impl Step {
    fn get(&self, name: &str) -> f64 {
        self.figures.iter().find(|figure| figure.name == name).map_or(f64::NAN, |figure| figure.per_request)
    }
}

fn number(value: f64) -> String {
    if value >= 100.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

/// A table for a person: steps across, figures down, then the calls by name, the memory, and the targets.
fn table(run: &Run) -> Vec<String> {
    let mut lines = vec![String::new(), format!("{}, per request", run.image)];
    let mut row = |name: &str, values: Vec<String>| {
        let cells: String = values.iter().map(|value| format!("{value:>22}")).collect();
        lines.push(format!("  {name:<24}{cells}"));
    };
    row("", run.steps.iter().map(|step| step.name.clone()).collect());
    for (index, figure) in run.steps[0].figures.iter().enumerate() {
        row(&figure.name, run.steps.iter().map(|step| number(step.figures[index].per_request)).collect());
    }
    let mut names: Vec<&str> =
        run.steps.iter().flat_map(|step| step.calls.iter().map(|call| call.name.as_str())).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let of = |step: &Step| {
            step.calls.iter().find(|call| call.name == name).map_or(0.0, |call| call.per_request)
        };
        row(&format!("  {name}"), run.steps.iter().map(|step| number(of(step))).collect());
    }
    lines.push(format!("  memory held: {}", run.held));
    lines.extend(targets(run));
    lines
}

/// The targets, with what was measured of them.
fn targets(run: &Run) -> Vec<String> {
    let step = |name: &str| run.steps.iter().find(|step| step.name == name);
    let mut lines = vec!["  targets:".to_owned()];
    let mut target =
        |number: &str, what: &str, step: Option<&Step>, measured: fn(&Step) -> f64, most: f64| {
            let Some(step) = step else { return };
            let value = measured(step);
            let verdict = if value <= most { "met" } else { "not met" };
            lines.push(format!("    {number:<4} {what:<58} {:>8} of {most}: {verdict}", self::number(value)));
        };
    let (qd1, qd32) = (step("read-4k-qd1"), step("read-4k-random-qd32"));
    target("T1", "instructions, 4 KiB reads at depth 32", qd32, |s| s.get("instructions"), 300.0);
    target("T1", "instructions, 4 KiB reads at depth 1", qd1, |s| s.get("instructions"), 380.0);
    let written = |s: &Step| s.get("bytes SRB extension") + s.get("bytes driver memory");
    target("T2", "bytes written to SRB extension and driver memory", qd32, written, 256.0);
    let calls = |s: &Step| s.get("StorPort calls") - s.get("interrupts");
    target("T4", "StorPort calls, less one for each interrupt", qd32, calls, 3.0);
    target(
        "T5",
        "locked instructions, depth 1 (lock and fence, twice)",
        qd1,
        |s| s.get("locked instructions"),
        4.0,
    );
    target("T6", "doorbells at depth 32", qd32, |s| s.get("doorbells"), 0.25);
    target("T6", "doorbells at depth 1", qd1, |s| s.get("doorbells"), 1.0);
    target("T7", "interrupts at depth 32", qd32, |s| s.get("interrupts"), 0.25);
    target("T7", "interrupts at depth 1", qd1, |s| s.get("interrupts"), 1.0);
    target("T11", "requests given back busy at depth 32", qd32, |s| s.get("busy"), 0.0);
    target("-", "register reads at depth 1", qd1, |s| s.get("register reads"), 0.0);
    let extension = run.held["srb-extension"].as_f64().unwrap_or(f64::NAN);
    let verdict = if extension <= 1024.0 { "met" } else { "not met" };
    lines.push(format!("    T9   {:<58} {extension:>8} of 1024: {verdict}", "bytes of SRB extension"));
    lines.push(
        "    Doorbells at depth: the driver is stepped through, so the device always catches up with it."
            .to_owned(),
    );
    lines.push("    T3, T8, T10 and T12's times: not measured here".to_owned());
    lines
}

/// The first image's figures as parts of the second's.
fn ratios(one: &Run, other: &Run) -> Vec<String> {
    let mut lines = vec![String::new(), format!("{} : {}", one.image, other.image)];
    let steps =
        one.steps.iter().filter_map(|step| Some((step, other.steps.iter().find(|o| o.name == step.name)?)));
    for (step, against) in steps {
        for figure in &step.figures {
            let theirs = against.get(&figure.name);
            if theirs > 0.0 || figure.per_request > 0.0 {
                lines.push(format!(
                    "  {:<22} {:<24} {:>10} : {:>10} = {}",
                    step.name,
                    figure.name,
                    number(figure.per_request),
                    number(theirs),
                    if theirs > 0.0 { format!("{:.2}", figure.per_request / theirs) } else { "-".to_owned() }
                ));
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value() -> Value {
        json!({
            "step": "read-4k-random-qd32", "requests": 10, "busy": 0, "interrupts": 2,
            "callbacks": {
                "HwStorBuildIo": { "instructions": 1000, "locked": 0, "srb-extension-bytes": 720 },
                "HwStorStartIo": { "memory-calls": 10, "memory-bytes": 7720, "memory-instructions": 1280 },
                "HwMSInterruptRoutine": { "instructions": 80, "locked": 0 },
                "HwStorDpcRoutine": { "instructions": 920, "locked": 20, "doorbell-stores": 5, "driver-bytes": 100 },
            },
            "storport-calls": { "RequestComplete": 10, "IssueDpc": 2 },
            "other-calls": { "memcpy": 10 },
        })
    }

    fn run() -> Run {
        Run {
            image: "a.sys".to_owned(),
            held: json!({ "srb-extension": 2000 }),
            steps: vec![step(&value())],
            raw: vec![],
        }
    }

    #[test]
    fn totals_become_figures_per_request() {
        let step = step(&value());

        assert_eq!(step.get("instructions own"), 200.0);
        assert_eq!(step.get("instructions ISR"), 8.0);
        assert_eq!(
            (step.get("StorPort calls"), step.get("doorbells"), step.get("locked instructions")),
            (1.2, 0.5, 2.0)
        );
        assert_eq!(step.calls.len(), 3);
    }

    #[test]
    fn memory_functions_are_apart_and_in_the_total_and_no_calls_of_storports() {
        let step = step(&value());

        assert_eq!((step.get("instructions memory"), step.get("memory bytes")), (128.0, 772.0));
        assert_eq!(step.get("instructions"), 328.0);
        assert_eq!((step.get("StorPort calls"), step.get("other calls")), (1.2, 1.0));
    }

    #[test]
    fn targets_say_what_is_met_and_what_is_not() {
        let lines = targets(&run()).join("\n");

        assert!(lines.contains("328 of 300: not met"), "{lines}");
        assert!(lines.contains("1.00 of 3: met"), "{lines}");
        assert!(lines.contains("2000 of 1024: not met"), "{lines}");
        assert!(lines.contains("0.50 of 0.25: not met"), "{lines}");
    }

    #[test]
    fn ratios_are_of_the_first_to_the_second() {
        let mut other = run();
        for figure in &mut other.steps[0].figures {
            figure.per_request *= 4.0;
        }

        let lines = ratios(&run(), &other).join("\n");

        assert!(lines.contains("328 :       1312 = 0.25"), "{lines}");
    }
}
