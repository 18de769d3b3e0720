//! What driver images do for each request: boots the stand's suite `bench` with each on machines of one and of several processors,
//! and with the stand's own device, and hands what was counted to [tables](crate::bench_table), the [gate](crate::bench_kept) and JSON.

use crate::bench_figures::{Image, Run, Step};
use crate::boot::{self, Show, Starts, Trial};
use crate::drivers;
use crate::machine::{Kind, Machine};
use crate::package;
use crate::qemu::Qemu;
use crate::run::{image_from_iso, kind};
use crate::screen::Screen;
use crate::stages::Tally;
use crate::workspace::Workspace;
use crate::{bench_kept, bench_page, bench_table};
use anyhow::{Context as _, Result, ensure};
use clap::Args;
use packaging::driver;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Which images, and where the figures go.
#[derive(Args, Debug)]
#[group(skip)]
pub struct Arguments {
    /// A driver image; may be given several times. Both drivers of the ISO if left out
    #[arg(long = "driver", value_name = "FILE.sys")]
    drivers: Vec<PathBuf>,
    /// Another image for the same device: its figures, and the ratio of the first to it
    #[arg(long, value_name = "FILE.sys", requires = "drivers")]
    against: Option<PathBuf>,
    /// What the images are for, when their names do not say it: virtio-blk or virtio-scsi
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// Where StorPort starts the next request when one is completed: inside RequestComplete, which drivers in production that
    /// complete under a lock do not survive, or in a DPC of its own
    #[arg(long, value_name = "WHERE", default_value = "inside")]
    starts: Starts,
    /// Where to write all counts
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where to write a page with curves over depth, segments and queues
    #[arg(long, value_name = "FILE.html")]
    html: Option<PathBuf>,
    /// Keep what is counted: write bench/ and the README's figures
    #[arg(long, conflicts_with = "drivers")]
    update: bool,
}

impl Arguments {
    /// Whether the caller gives the driver, so that none has to be built.
    pub fn brings_driver(&self) -> bool {
        !self.drivers.is_empty()
    }
}

/// Processors of the machines with QEMU's device, which has a queue for each. On the largest one nothing is counted but what the
/// driver holds.
const PROCESSORS: [u32; 5] = [1, 2, 4, 8, 64];

/// Runs the verb. False when a row of the tree's drivers is not what is kept, or not everything could be counted.
///
/// # Errors
/// When an image cannot be run through the suite, or a file not be read or written.
pub fn verb(workspace: &Workspace, screen: &mut Screen, arguments: &Arguments) -> Result<bool> {
    let qemu = Qemu::find(None)?;
    let subjects = subjects(workspace, screen, arguments)?;
    boot::build_stand(workspace, screen)?;
    let mut runs = Vec::new();
    for (image, kind) in &subjects {
        runs.push(count(workspace, screen, &qemu, image, (*kind, arguments.starts))?);
    }
    for run in &runs {
        for line in bench_table::table(run) {
            screen.line(&line);
        }
    }
    if let (Some(_), Some((last, runs))) = (&arguments.against, runs.split_last()) {
        for line in runs.iter().flat_map(|run| bench_table::ratios(run, last)) {
            screen.line(&line);
        }
    }
    let save = |path: &Path, text: String| {
        let path = workspace.path_of_caller(path);
        std::fs::write(&path, text).with_context(|| format!("{} cannot be written", path.display()))
    };
    if let Some(path) = &arguments.json {
        save(path, serde_json::to_string_pretty(&runs.iter().map(raw).collect::<Vec<_>>())?)?;
    }
    if let Some(path) = &arguments.html {
        let (ours, other) = match (&arguments.against, runs.split_last()) {
            (Some(_), Some((last, runs))) => (runs, Some(last)),
            _ => (runs.as_slice(), None),
        };
        save(path, bench_page::page(ours, other))?;
    }
    screen.line("");
    if arguments.update {
        let changed = bench_kept::update(workspace, &runs)?;
        for file in &changed {
            screen.line(&format!("kept      {}", file.display()));
        }
        if changed.is_empty() {
            screen.line("kept      nothing has changed");
        }
        return Ok(true);
    }
    let mut good = runs.iter().all(|run| run.broken.is_empty());
    if !arguments.brings_driver() && arguments.starts == Starts::Inside {
        let verdict = bench_kept::gate(workspace, &runs)?;
        for line in &verdict.better {
            screen.line(&format!("better    {line}"));
        }
        if !verdict.better.is_empty() {
            screen.line("          `./x bench --update` keeps what is better");
        }
        for line in &verdict.open {
            screen.line(&format!("open      {line}"));
        }
        for line in &verdict.failed {
            screen.line(&format!("FAIL      {line}"));
        }
        if !verdict.failed.is_empty() {
            screen.line(&format!("          {}", bench_kept::MEND));
        }
        screen.line(&format!("{} passed, {} failed", verdict.good, verdict.failed.len()));
        good &= verdict.failed.is_empty();
    }
    Ok(good)
}

/// The stage of `./x test`: what the drivers on the ISO cost is what is kept. They and the stand have been built.
///
/// # Errors
/// When an image cannot be run through the suite, or what is kept cannot be read.
pub fn stage(workspace: &Workspace, screen: &mut Screen, qemu: &Qemu) -> Result<Tally> {
    let mut tally = Tally::default();
    for driver in driver::ALL {
        let image = image_from_iso(workspace, driver)?;
        let run = count(workspace, screen, qemu, &image, (kind(driver), Starts::Inside))?;
        tally.failed.extend(run.broken.iter().map(|why| format!("{}: {why}", run.image.name)));
        let verdict = bench_kept::gate(workspace, &[run])?;
        tally.passed += verdict.good;
        if let Some(first) = verdict.open.first() {
            tally.skipped.push(format!("{} rows that are worse, the first is {first}", verdict.open.len()));
        }
        tally.failed.extend(verdict.failed.into_iter().map(|line| format!("{line}; {}", bench_kept::MEND)));
    }
    Ok(tally)
}

/// A run as JSON: the stand's own counts.
fn raw(run: &Run) -> Value {
    let held: Vec<Value> =
        run.held.iter().map(|(processors, held)| json!({ "processors": processors, "held": held })).collect();
    json!({ "image": run.image.path, "bytes": run.image.bytes, "code": run.image.code, "held": held, "steps": run.raw })
}

fn subjects(
    workspace: &Workspace,
    screen: &mut Screen,
    arguments: &Arguments,
) -> Result<Vec<(PathBuf, Kind)>> {
    if arguments.drivers.is_empty() {
        package::make(workspace, screen, &drivers::Arguments::default())?;
        return driver::ALL
            .iter()
            .map(|driver| Ok((image_from_iso(workspace, driver)?, kind(driver))))
            .collect();
    }
    ensure!(arguments.against.is_none() || arguments.drivers.len() == 1, "--against is for one --driver");
    let images = arguments.drivers.iter().chain(&arguments.against);
    let images: Vec<PathBuf> = images.map(|path| workspace.path_of_caller(path)).collect();
    let said = arguments.device.as_deref().map(Kind::of_device);
    let kinds = images.iter().map(|image| match said {
        Some(kind) => kind,
        None if arguments.against.is_some() => Kind::of_image(&images[0]),
        None => Kind::of_image(image),
    });
    let kinds: Option<Vec<Kind>> = kinds.collect();
    let kinds = kinds.context("which device is it for? say --device virtio-blk or --device virtio-scsi")?;
    Ok(images.iter().cloned().zip(kinds).collect())
}

/// Name and sizes of an image.
fn describe(path: &Path) -> Result<Image> {
    boot::check_image(path)?;
    let data = std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let parsed = stand::image::Image::parse(&data)
        .map_err(|error| anyhow::anyhow!("{} is no driver image: {error}", path.display()))?;
    let code = parsed.sections.iter().filter(|section| section.rights.execute);
    Ok(Image {
        path: path.display().to_string(),
        name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        bytes: data.len() as u64,
        code: code.map(|section| u64::from(section.size)).sum(),
    })
}

/// Boots the suite with one image: on machines of one and of several processors, and with the stand's own device, which keeps
/// a schedule.
fn count(
    workspace: &Workspace,
    screen: &mut Screen,
    qemu: &Qemu,
    image: &Path,
    (kind, starts): (Kind, Starts),
) -> Result<Run> {
    let mut run = Run { image: describe(image)?, qemu: qemu.name.clone(), ..Run::default() };
    let (machine, none) = (machine(kind), Machine::default());
    let mut trials = Vec::new();
    for smp in PROCESSORS {
        let mut trial = Trial::new(image, kind.ids(), Some(kind), &machine);
        if smp > 1 {
            trial.words.push("gather=1".to_owned());
        }
        trials.push((smp, trial));
    }
    let mut own = Trial::new(image, kind.ids(), None, &none);
    own.words.push(format!("model={}", if kind == Kind::Blk { "blk" } else { "scsi" }));
    trials.push((1, own));
    for (smp, mut trial) in trials {
        let of_qemu = trial.kind.is_some();
        let starts = Some(starts);
        let options = boot::Options { smp, starts, timeout: 300, go_on: true, ..boot::Options::default() };
        trial.suite = Some("bench".to_owned());
        let report = boot::boot(workspace, screen, (qemu, &options), &trial, Show::Progress)?;
        let broken = report.broken.is_some().then(|| boot::complaint(&report, &options)).flatten();
        let device = if of_qemu { "QEMU's device" } else { "the stand's device" };
        run.broken.extend(broken.map(|complaint| format!("{smp} processor(s), {device}: {complaint}")));
        for text in &report.counts {
            let value: Value =
                serde_json::from_str(text).with_context(|| format!("the stand counts {text}"))?;
            match value.get("held") {
                // What a driver holds does not hang on whose device it is.
                Some(held) if of_qemu => run.held.push((smp.into(), held.clone())),
                Some(_) => {}
                None => {
                    run.steps.push(Step::read(&value));
                    run.raw.push(value);
                }
            }
        }
    }
    ensure!(!run.steps.is_empty(), "{}: nothing was counted: {}", run.image.path, run.broken.join("; "));
    Ok(run)
}

/// A machine whose disk does nothing, so that what is left is the driver, and takes as many requests as the ring. The device
/// takes what is in the ring while the doorbell is being written (`ioeventfd=off`): how soon it comes is no matter of luck.
fn machine(kind: Kind) -> Machine {
    let mut machine = Machine::default();
    machine.more.extend([
        "-blockdev".to_owned(),
        "driver=null-co,node-name=fast,size=67108864,read-zeroes=on".to_owned(),
    ]);
    match kind {
        Kind::Blk => {
            machine.raw("virtio-blk-pci,drive=fast,serial=RUST-BLK-0001,disable-legacy=on,ioeventfd=off")
        }
        Kind::Scsi => {
            machine.raw("virtio-scsi-pci,id=scsi0,disable-legacy=on,ioeventfd=off,cmd_per_lun=1024");
            machine.raw("scsi-hd,bus=scsi0.0,drive=fast,serial=RUST-SCSI-0001");
        }
    }
    machine
}
