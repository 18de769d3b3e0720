//! One driver on one machine: boots the stand, shows what it says, and looks at the disks afterwards.

use crate::blklog;
use crate::command::{Ended, Event, Stream, step};
use crate::daemon;
use crate::host::Host;
use crate::machine::{Images, Kind, Machine, Places};
use crate::protocol::{Broken, Line, Report, sum_up};
use crate::qemu::{Boot, Qemu};
use crate::screen::Screen;
use crate::symbols::Symbols;
use crate::tmf;
use crate::workspace::Workspace;
use anyhow::{Context as _, Result, ensure};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The seed when none is given: the same patterns every time, so that a failure comes again.
pub const SEED: u64 = 0x5EED;

/// How a machine is booted.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct Options {
    /// The QEMU to use instead of the one on PATH
    #[arg(long, value_name = "PATH")]
    pub qemu: Option<PathBuf>,
    /// Seconds after which a boot is given up
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub timeout: u64,
    /// Number of processors
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub smp: u32,
    /// Hexadecimal seed of data patterns and sizes
    #[arg(long, value_name = "HEX", default_value = "5eed", value_parser = seed)]
    pub seed: u64,
    /// Go on after a broken rule, to collect more than one
    #[arg(long)]
    pub go_on: bool,
    /// Where StorPort starts the next request when one is completed; by default in a DPC of its own for a driver that is
    /// given with --driver, and inside RequestComplete for those of this tree
    #[arg(long, value_name = "WHERE")]
    pub starts: Option<Starts>,
    /// A value of the driver's `Parameters\Device` registry key; may be given several times
    #[arg(long = "param", value_name = "NAME=VALUE")]
    pub parameters: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            qemu: None,
            timeout: 60,
            smp: 2,
            seed: SEED,
            go_on: false,
            starts: None,
            parameters: Vec::new(),
        }
    }
}

impl Options {
    /// The QEMU these options name.
    ///
    /// # Errors
    /// As [`Qemu::find`].
    pub fn find_qemu(&self, workspace: &Workspace) -> Result<Qemu> {
        Qemu::find(self.qemu.as_deref().map(|path| workspace.path_of_caller(path)).as_deref())
    }
}

fn seed(text: &str) -> Result<u64, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    u64::from_str_radix(digits, 16).map_err(|_| "not a hexadecimal number of at most 16 digits".to_owned())
}

/// Where StorPort starts the next request when one is completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum Starts {
    /// In a DPC of its own, after RequestComplete has returned, as on Windows
    Dpc,
    /// Before RequestComplete returns, while the miniport may hold a lock: harder
    Inside,
}

/// How much of the machine is tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum Io {
    /// Find the disks, write on them, and read back
    #[default]
    Full,
    /// Only find the disks
    Scan,
    /// Only start the driver
    None,
}

impl Io {
    fn key(self) -> &'static str {
        match self {
            Self::Full => "io=full",
            Self::Scan => "io=scan",
            Self::None => "io=none",
        }
    }
}

/// Which driver on which machine.
#[derive(Clone, Debug)]
pub struct Trial<'a> {
    /// The image to load.
    pub driver: &'a Path,
    /// PCI functions it is for, as `VEN:DEV,...`.
    pub pci: String,
    /// Its kind of device, if the host shall verify the image files of the disks behind it.
    pub kind: Option<Kind>,
    /// The devices.
    pub machine: &'a Machine,
    /// How much is tried.
    pub io: Io,
    /// The suite that runs in place of the pass.
    pub suite: Option<String>,
    /// Further `KEY=VALUE` words for the stand.
    pub words: Vec<String>,
}

impl<'a> Trial<'a> {
    /// The pass on a machine: no suite, nothing further.
    pub fn new(driver: &'a Path, pci: impl Into<String>, kind: Option<Kind>, machine: &'a Machine) -> Self {
        Self { driver, pci: pci.into(), kind, machine, io: Io::Full, suite: None, words: Vec::new() }
    }
}

/// What is left of a boot.
#[derive(Debug)]
pub struct Attempt {
    /// What it amounts to.
    pub report: Report,
    /// What it wrote.
    pub ended: Ended,
    /// QEMU's command line.
    pub command: Vec<OsString>,
    /// The stand that was booted.
    pub stand: PathBuf,
    /// How the disk images were made.
    pub disks: Vec<String>,
    /// What went over QEMU's monitor.
    pub qmp_log: PathBuf,
}

/// How much of the stand's output is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// All of it.
    All,
    /// Only progress: someone else sums up.
    Progress,
}

/// Builds the bare-metal program, or lets cargo find that it is up to date.
///
/// # Errors
/// When it does not compile.
pub fn build_stand(workspace: &Workspace, screen: &mut Screen) -> Result<PathBuf> {
    let target = "x86_64-unknown-none";
    // Optimised: under emulation the unoptimised program takes several times as long.
    let arguments = ["build", "--package", "stand", "--bin", "stand", "--release", "--target", target];
    step(screen, "building the stand", workspace.cargo().args(arguments))?;
    let built = workspace.target.join(target).join("release").join("stand");
    let stand = workspace.stand();
    let folder = stand.parent().context("the stand needs a folder")?;
    std::fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    std::fs::copy(&built, &stand).with_context(|| format!("{} cannot be copied", built.display()))?;
    Ok(stand)
}

/// Refuses what QEMU could not hand to the stand. Everything else is for the stand to judge.
///
/// # Errors
/// When it is no file, empty, or too large for the machine.
pub fn check_image(path: &Path) -> Result<()> {
    let name = path.display();
    let metadata = path.metadata().with_context(|| format!("there is no driver image {name}"))?;
    ensure!(metadata.is_file(), "{name} is no file");
    ensure!(metadata.len() > 0, "{name} is empty");
    let most = 64 << 20;
    ensure!(
        metadata.len() <= most,
        "{name} has {} bytes; no driver image has more than {most}",
        metadata.len()
    );
    Ok(())
}

/// Boots the machine once. The report counts the host's checks of the image files, too.
///
/// # Errors
/// When there is no such driver file, the disks cannot be made or QEMU cannot be started.
pub fn boot(
    workspace: &Workspace,
    screen: &mut Screen,
    with: (&Qemu, &Options),
    trial: &Trial<'_>,
    show: Show,
) -> Result<Report> {
    attempt(workspace, screen, with, (&workspace.stand(), trial), show).map(|attempt| attempt.report)
}

/// A TCP port that nobody has now.
fn free_port() -> Result<u16> {
    let socket = std::net::TcpListener::bind(("127.0.0.1", 0)).context("no TCP port")?;
    Ok(socket.local_addr()?.port())
}

/// The same with a stand of the caller's choice, and with everything that a person needs to understand a failure.
///
/// # Errors
/// As [`boot`], and when the machine needs a storage daemon that cannot be started.
pub fn attempt(
    workspace: &Workspace,
    screen: &mut Screen,
    (qemu, options): (&Qemu, &Options),
    (stand, trial): (&Path, &Trial<'_>),
    show: Show,
) -> Result<Attempt> {
    let name = image_name(trial.driver);
    check_image(trial.driver)?;
    let folder = workspace.output("run");
    let mut images = Images::make(&folder, options.seed)?;
    images.add(&trial.machine.drives)?;
    // That of an earlier boot says nothing of this one.
    let tmf_trace = folder.join(tmf::FILE);
    if tmf_trace.exists() {
        std::fs::remove_file(&tmf_trace)
            .with_context(|| format!("{} cannot be removed", tmf_trace.display()))?;
    }
    let qmp_log = folder.join("qmp.log");
    let host = Host::start(&qmp_log)?;
    let places = Places { folder: &folder, temp: host.folder(), port: free_port()? };
    let daemon =
        trial.machine.daemon.as_ref().map(|daemon| daemon::start(workspace, daemon, places)).transpose()?;
    let mut words = vec![
        format!("image={name}"),
        format!("pci={}", trial.pci),
        trial.io.key().to_owned(),
        format!("seed={:x}", options.seed),
        // It gives up before it is given up, and says what it was doing.
        format!("limit={}", options.timeout.saturating_sub(5).max(1)),
    ];
    if options.go_on {
        words.push("go-on=1".to_owned());
    }
    words.push(match options.starts {
        Some(Starts::Dpc) => "starts=dpc".to_owned(),
        Some(Starts::Inside) | None => "starts=inside".to_owned(),
    });
    words.extend(trial.suite.iter().map(|suite| format!("suite={suite}")));
    words.extend(trial.words.iter().cloned());
    words.extend(options.parameters.iter().map(|parameter| format!("param.{parameter}")));
    let boot = Boot {
        stand,
        driver: trial.driver,
        options: words,
        machine: [trial.machine.arguments(&images, places), host.arguments()].concat(),
        smp: options.smp,
        limit: Duration::from_secs(options.timeout),
    };
    let mut symbols = Symbols::new(trial.driver, &workspace.output("drivers/amd64"));
    let mut traces = Vec::new();
    let mut trace = |screen: &mut Screen, symbols: &mut Symbols| {
        for line in symbols.report() {
            if show == Show::All {
                screen.line(&format!("       {}", printable(&line)));
            }
            traces.push(line);
        }
    };
    let ended = qemu.boot(&boot, |event| match event {
        Event::Line(Stream::Out, line) if symbols.take(line) => {}
        Event::Line(stream, line) => {
            if let (Stream::Out, Line::Host(text)) = (stream, Line::parse(line)) {
                host.line(text);
            }
            // Another processor may say something while one prints its report.
            if matches!(Line::parse(line), Line::Check { .. } | Line::Stop(_) | Line::End { .. }) {
                trace(screen, &mut symbols);
            }
            print(screen, show, stream, line);
        }
        Event::Idle => {}
    })?;
    trace(screen, &mut symbols);
    screen.clear();
    // The image files are whole, and the log is, when nobody uses them any more.
    drop(daemon);
    let channel = host.end();

    let mut report = sum_up(&ended);
    report.traces = traces;
    if let Err(error) = channel {
        report.failed.push(format!("channel: {error:#}"));
    }
    if report.broken.is_none()
        && trial.io == Io::Full
        && !trial.machine.is_bare()
        && let Some(kind) = trial.kind
    {
        let mut checks = match trial.suite {
            Some(_) => images.verify_said(kind, &report.stamps),
            None => images.verify(kind, &report.stamps),
        };
        // A machine with a log is made to be judged by it, whatever the stand says or does not.
        if trial.machine.drives.iter().any(|drive| drive.node == blklog::LOG) {
            checks.push(blklog::verify(&images.path(blklog::LOG), &report.durables, options.seed));
        }
        if tmf::is_written(&trial.machine.more) {
            checks.push(tmf::verify(&tmf_trace, &report.functions));
        }
        for check in checks {
            if show == Show::All {
                screen.line(&format!("  {:<4} {}", if check.passed { "ok" } else { "FAIL" }, check.text));
            }
            if check.passed {
                report.passed += 1;
            } else {
                report.failed.push(check.text);
            }
        }
    }
    if show == Show::Progress && matches!(report.broken, Some(Broken::TimedOut | Broken::Crashed(_))) {
        // Otherwise what led to it stands right above.
        screen.line(&ended.tail(20));
    }
    let disks = images.recipe();
    Ok(Attempt { report, command: qemu.words(&boot), ended, stand: stand.to_owned(), disks, qmp_log })
}

fn print(screen: &mut Screen, show: Show, stream: Stream, line: &str) {
    let parsed = if stream == Stream::Err { Line::Other(line) } else { Line::parse(line) };
    match (parsed, show) {
        // Asked and answered without a person; made into a table.
        (Line::Host(_) | Line::Count(_), _) => {}
        (Line::Progress(text), _) => screen.progress(&format!("  {text}")),
        (Line::Check { text, .. }, Show::Progress) => screen.progress(&format!("  {text}")),
        (_, Show::Progress) => {}
        (Line::Heading(text), Show::All) => screen.line(format!("  {text}").trim_end()),
        (Line::Check { passed: true, text }, Show::All) => screen.line(&format!("  ok   {text}")),
        (Line::Check { passed: false, text }, Show::All) => screen.line(&format!("  FAIL {text}")),
        (Line::Skip(text), Show::All) => screen.line(&format!("  skip {text}")),
        (Line::Log(text), Show::All) => screen.line(&format!("  log  {text}")),
        // Said in the last line.
        (Line::Stop(_) | Line::End { .. }, Show::All) => {}
        (Line::Other(text), Show::All) => screen.line(&format!("  |    {}", printable(text))),
    }
}

/// A crashing guest may print anything; a terminal must survive it.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { '\u{FFFD}' } else { c }).collect()
}

/// The file's name as a word for the stand's command line.
fn image_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.chars().map(|c| if c.is_ascii_graphic() { c } else { '_' }).collect()
}

/// Why a report is not all well, in one line; `None` when it is.
pub fn complaint(report: &Report, options: &Options) -> Option<String> {
    match &report.broken {
        Some(Broken::Stopped(reason)) => Some(format!("the stand stopped: {reason}")),
        Some(Broken::TimedOut) => {
            Some(format!("nothing came of it in {} s (--timeout sets the limit)", options.timeout))
        }
        Some(Broken::Crashed(how)) => Some(format!("the stand crashed: {how}")),
        None if report.failed.is_empty() => None,
        None => Some(format!(
            "{} of {} checks failed",
            report.failed.len(),
            report.passed as usize + report.failed.len()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_names_are_one_word() {
        assert_eq!(image_name(Path::new("/a b/my driver.sys")), "my_driver.sys");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb"), "a\u{FFFD}[2Jb");
    }
}
