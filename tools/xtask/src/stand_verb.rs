//! `./x stand`: any StorPort miniport image for a virtio storage device on a machine of the caller's choice.

use crate::boot::{self, Io, Show, Trial};
use crate::drivers;
use crate::failed;
use crate::machine::{Kind, Machine};
use crate::needs::{self, Need};
use crate::package;
use crate::qemu::Qemu;
use crate::run::{image_from_iso, kind as kind_of};
use crate::screen::Screen;
use crate::suites::{self, Subject, Suite};
use crate::workspace::Workspace;
use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use packaging::driver;
use std::path::{Path, PathBuf};

/// What to boot.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// The driver image; without it, suites run on both drivers of this tree
    #[arg(long, value_name = "FILE.sys", required_unless_present_any = ["suite", "replay"])]
    pub driver: Option<PathBuf>,
    /// Suites to run in place of the one pass; `list` prints them
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', conflicts_with_all = ["io", "smp"])]
    pub suite: Vec<String>,
    /// Suites run as long as they can
    #[arg(long, requires = "suite")]
    pub long: bool,
    /// Run again what left this folder when it failed
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["driver", "suite", "device", "pci", "io", "smp", "seed", "timeout", "starts", "parameters"])]
    pub replay: Option<PathBuf>,
    /// A device: virtio-blk or virtio-scsi (with disks), or a QEMU -device string, which may name the drives disk0,
    /// disk1, disk2 (raw, 128, 64 and 64 MiB) and cd0; may be given several times; all of the first two if left out
    #[arg(long, value_name = "DEVICE")]
    pub device: Vec<String>,
    /// PCI function the driver is for, hexadecimal; may be given several times; known for virtio devices
    #[arg(long, value_name = "VEN:DEV", value_parser = pci)]
    pub pci: Vec<String>,
    /// How much is tried
    #[arg(long, value_enum, default_value_t)]
    pub io: Io,
    #[command(flatten)]
    boot: boot::Options,
}

impl Arguments {
    /// What has to be on the machine, and whether the caller brings the QEMU.
    pub fn needs(&self) -> (&'static [Need], bool) {
        let needs = match &self.driver {
            _ if self.suite == ["list"] => &[],
            // Suites run on the drivers of this tree, which have to be built and packaged first.
            None if !self.suite.is_empty() => needs::TO_TEST,
            _ => needs::TO_BOOT,
        };
        (needs, self.boot.qemu.is_some())
    }
}

fn pci(text: &str) -> Result<String, String> {
    let number = |digits: &str| u16::from_str_radix(digits, 16).ok();
    let (vendor, device) = text.split_once(':').ok_or("not of the form 1af4:1042")?;
    match (number(vendor), number(device)) {
        (Some(vendor), Some(device)) => Ok(format!("{vendor:04x}:{device:04x}")),
        _ => Err("not of the form 1af4:1042".to_owned()),
    }
}

/// Runs the verb.
///
/// # Errors
/// When something is missing or the arguments contradict each other.
pub fn verb(workspace: &Workspace, screen: &mut Screen, arguments: &Arguments) -> Result<bool> {
    if let Some(folder) = &arguments.replay {
        return replay(workspace, screen, arguments, &workspace.path_of_caller(folder));
    }
    if arguments.suite == ["list"] {
        for line in suites::list() {
            screen.line(&line);
        }
        return Ok(true);
    }
    // A driver that is not of this tree is judged by what Windows does, not by what is harder.
    let mut arguments = arguments.clone();
    if arguments.driver.is_some() {
        arguments.boot.starts.get_or_insert(boot::Starts::Dpc);
    }
    let arguments = &arguments;
    if !arguments.suite.is_empty() {
        return run_suites(workspace, screen, arguments);
    }
    let driver = workspace.path_of_caller(arguments.driver.as_deref().context("which driver? say --driver")?);
    boot::check_image(&driver)?;
    let (machine, kind) = machine(&arguments.device)?;
    let kind = kind.or_else(|| Kind::of_image(&driver));
    let pci = ids(&arguments.pci, kind, &driver)?;
    let qemu = arguments.boot.find_qemu(workspace)?;
    boot::build_stand(workspace, screen)?;

    screen.line(&format!("{} on QEMU {}", driver.file_name().unwrap_or_default().display(), qemu.name));
    // What a raw device puts behind which unit is not known here, so only the known machine's files are looked at.
    let known = arguments.device.iter().all(|device| named(device).is_some());
    let trial = Trial { io: arguments.io, ..Trial::new(&driver, pci, kind.filter(|_| known), &machine) };
    let with = (&qemu, &arguments.boot);
    let name = driver.file_stem().unwrap_or_default().to_string_lossy();
    let report = failed::boot_or_keep(workspace, screen, with, (name.as_ref(), &trial), Show::All)?;
    match boot::complaint(&report, &arguments.boot) {
        Some(complaint) => bail!("{complaint}"),
        None => screen.line(&format!("{} checks passed", report.passed)),
    }
    Ok(true)
}

/// Runs suites on the given driver, or on both of the ISO.
fn run_suites(workspace: &Workspace, screen: &mut Screen, arguments: &Arguments) -> Result<bool> {
    let chosen = suites::find(&arguments.suite)?;
    let qemu = arguments.boot.find_qemu(workspace)?;
    let subjects = subjects(workspace, screen, arguments)?;
    boot::build_stand(workspace, screen)?;

    let mut outcomes = Vec::new();
    for suite in chosen {
        let mut outcome = suites::Outcome::default();
        for (image, kind, pci) in &subjects {
            let subject = Subject { image, kind: *kind, pci };
            outcome.merge(suite_on(workspace, screen, (&qemu, arguments), suite, subject)?);
        }
        outcomes.push((suite, outcome));
    }
    for line in suites::summary(&outcomes) {
        screen.line(&line);
    }
    Ok(outcomes.iter().all(|(_, outcome)| outcome.failed.is_empty()))
}

fn suite_on(
    workspace: &Workspace,
    screen: &mut Screen,
    (qemu, arguments): (&Qemu, &Arguments),
    suite: &Suite,
    subject: Subject<'_>,
) -> Result<suites::Outcome> {
    let with = (qemu, &arguments.boot);
    suites::run(workspace, screen, with, (suite, arguments.long), subject, Show::All)
}

/// Image, kind and PCI functions of the drivers to try.
fn subjects(
    workspace: &Workspace,
    screen: &mut Screen,
    arguments: &Arguments,
) -> Result<Vec<(PathBuf, Kind, String)>> {
    if let Some(image) = &arguments.driver {
        let image = workspace.path_of_caller(image);
        boot::check_image(&image)?;
        // The devices are the suite's; here they only say which kind of driver it is.
        let kind = match arguments.device.as_slice() {
            [] => Kind::of_image(&image),
            [device] => named(device),
            _ => None,
        };
        let kind = kind.context("is this driver for --device virtio-blk or for --device virtio-scsi?")?;
        let pci = ids(&arguments.pci, Some(kind), &image)?;
        return Ok(vec![(image, kind, pci)]);
    }
    ensure!(
        arguments.device.is_empty() && arguments.pci.is_empty(),
        "--device and --pci say what a --driver is for, and there is none"
    );
    package::make(workspace, screen, &drivers::Arguments::default())?;
    driver::ALL
        .into_iter()
        .map(|driver| {
            let kind = kind_of(driver);
            Ok((image_from_iso(workspace, driver)?, kind, kind.ids().to_owned()))
        })
        .collect()
}

/// Runs again what failed, with the same binaries, seed and machine and new disks.
fn replay(workspace: &Workspace, screen: &mut Screen, arguments: &Arguments, folder: &Path) -> Result<bool> {
    let recipe = failed::read(folder)?;
    let mut options = recipe.options()?;
    if arguments.boot.qemu.is_some() || !recipe.qemu.is_file() {
        options.qemu.clone_from(&arguments.boot.qemu);
    }
    let qemu = options.find_qemu(workspace)?;
    if qemu.name != recipe.qemu_version {
        screen.line(&format!("it ran on QEMU {}, and this is {}", recipe.qemu_version, qemu.name));
    }
    let driver = recipe.driver(folder);
    let trial = recipe.trial(&driver);
    let stand = failed::stand(folder);
    screen.line(&format!("{} again on QEMU {}", folder.display(), qemu.name));
    let attempt = boot::attempt(workspace, screen, (&qemu, &options), (&stand, &trial), Show::All)?;
    match boot::complaint(&attempt.report, &options) {
        Some(complaint) => bail!("{complaint}"),
        None => screen.line(&format!("{} checks passed", attempt.report.passed)),
    }
    Ok(true)
}

fn named(device: &str) -> Option<Kind> {
    match device {
        "virtio-blk" => Some(Kind::Blk),
        "virtio-scsi" => Some(Kind::Scsi),
        _ => None,
    }
}

/// The machine with these devices, and the kind they are of if they are all of one.
fn machine(devices: &[String]) -> Result<(Machine, Option<Kind>)> {
    if devices.is_empty() {
        return Ok((Machine::both(",disable-legacy=on"), None));
    }
    let mut machine = Machine::default();
    let mut kinds = Vec::new();
    for device in devices {
        ensure!(
            named(device).is_none() || devices.iter().filter(|other| *other == device).count() == 1,
            "--device {device} is given twice; a second one needs a -device string with a drive of its own"
        );
        match named(device) {
            Some(kind) => {
                machine.add(kind, ",disable-legacy=on");
                kinds.push(kind);
            }
            None => {
                machine.raw(device);
                kinds.extend(Kind::of_device(device));
            }
        }
    }
    kinds.dedup();
    Ok((machine, (kinds.len() == 1).then(|| kinds[0])))
}

fn ids(given: &[String], kind: Option<Kind>, driver: &Path) -> Result<String> {
    match (given, kind) {
        ([], Some(kind)) => Ok(kind.ids().to_owned()),
        ([], None) => bail!(
            "which device is {} for? say --device virtio-blk, --device virtio-scsi or --pci VEN:DEV",
            driver.file_name().unwrap_or_default().display()
        ),
        (given, _) => Ok(given.join(",")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{BLK_IDS, SCSI_IDS};

    fn devices(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_functions_follow_from_the_device_or_the_name() {
        let (_, kind) = machine(&devices(&["virtio-scsi"])).unwrap();
        assert_eq!(ids(&[], kind, Path::new("a.sys")).unwrap(), SCSI_IDS);
        let kind = Kind::of_image(Path::new("viostor.sys"));
        assert_eq!(ids(&[], kind, Path::new("viostor.sys")).unwrap(), BLK_IDS);
    }

    #[test]
    fn given_functions_win() {
        let given = [pci("1AF4:105a").unwrap(), pci("8086:1").unwrap()];

        assert_eq!(ids(&given, Some(Kind::Blk), Path::new("a.sys")).unwrap(), "1af4:105a,8086:0001");
    }

    #[test]
    fn an_unknown_image_on_both_devices_is_asked_about() {
        let (_, kind) = machine(&[]).unwrap();

        let error = ids(&[], kind, Path::new("/x/other.sys")).unwrap_err().to_string();

        assert!(error.starts_with("which device is other.sys for?"), "{error}");
    }

    #[test]
    fn a_named_device_twice_would_share_its_disk() {
        assert!(machine(&devices(&["virtio-blk", "virtio-blk"])).is_err());
    }
}
