//! Finds QEMU and boots the stand in it, always with a time limit.

use crate::command::{self, Ended, Event};
use anyhow::{Context as _, Result, bail, ensure};
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Debian 12's own version, the oldest the stand is run on.
pub const OLDEST: Version = Version(7, 2);

/// The program's name on the search path.
const PROGRAM: &str = "qemu-system-x86_64";
/// A firmware that starts a kernel at once (0.04 s instead of SeaBIOS's 0.15 s) and leaves the devices alone.
const FIRMWARE: &str = "qboot.rom";
const INSTALL: &str = "on Debian or Ubuntu: sudo apt-get install qemu-system-x86";

/// Major and minor version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32);

impl Version {
    /// Reads what `--version` prints: `QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)`.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.lines().next()?.split_once("version ")?.1;
        let mut numbers = rest.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        Some(Self(numbers.next()?.ok()?, numbers.next()?.ok()?))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// One QEMU of this machine.
#[derive(Clone, Debug)]
pub struct Qemu {
    /// The program.
    pub program: PathBuf,
    /// What `--version` says, as it stands there: `10.0.2`.
    pub name: String,
    /// The same as numbers.
    pub version: Version,
    /// Whether [`FIRMWARE`] comes with it.
    has_firmware: bool,
}

impl Qemu {
    /// The QEMU at `program`, or the one on the search path.
    ///
    /// # Errors
    /// When it is missing, cannot be asked for its version, or is older than [`OLDEST`].
    pub fn find(program: Option<&Path>) -> Result<Self> {
        let program = match program {
            Some(program) => {
                ensure!(program.is_file(), "there is no QEMU {}", program.display());
                program.to_owned()
            }
            None => on_path(PROGRAM).with_context(|| format!("{PROGRAM} is not installed; {INSTALL}"))?,
        };
        let text = ask(&program, &["--version"])?;
        let version = Version::parse(&text).with_context(|| {
            format!("{} does not say a QEMU version but: {}", program.display(), first_line(&text))
        })?;
        ensure!(
            version >= OLDEST,
            "{} is QEMU {version}, which is too old: {OLDEST} or later is needed; {INSTALL} \
             (Debian 12 has 7.2, its backports 10.0), or give another one with --qemu",
            program.display()
        );
        let name = text
            .split_once("version ")
            .map_or("?", |(_, rest)| rest.split_whitespace().next().unwrap_or("?"));
        let name = name.to_owned();
        // The folders it takes firmware from, one per line.
        let folders = ask(&program, &["-L", "help"]).unwrap_or_default();
        let has_firmware = folders.lines().any(|folder| Path::new(folder.trim()).join(FIRMWARE).is_file());
        Ok(Self { program, name, version, has_firmware })
    }

    /// The same QEMU, started by a script.
    pub fn started_by(&self, script: PathBuf) -> Self {
        Self { program: script, ..self.clone() }
    }

    /// QEMU's command line for this boot, word by word.
    pub fn words(&self, boot: &Boot<'_>) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec![self.program.clone().into()];
        let mut add = |more: &[&str]| words.extend(more.iter().map(OsString::from));
        // TCG on purpose, with a thread per vCPU: it shows the store reordering of a real x86 machine, behaves the same
        // on every host, and needs no privilege.
        add(&["-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-m", "256M"]);
        add(&["-smp", &boot.smp.to_string()]);
        if self.has_firmware {
            add(&["-bios", FIRMWARE]);
        }
        add(&["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
        add(&["-chardev", "stdio,id=debug,signal=off", "-device", "isa-debugcon,iobase=0xe9,chardev=debug"]);
        add(&["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"]);
        words.extend(["-kernel".into(), boot.stand.into(), "-initrd".into(), boot.driver.into()]);
        words.extend(["-append".into(), boot.options.join(" ").into()]);
        words.extend(boot.machine.iter().map(OsString::from));
        words
    }

    /// Boots the stand and reports every line as it comes.
    ///
    /// # Errors
    /// When QEMU cannot be started at all. Whatever happens after that is in the answer.
    pub fn boot(&self, boot: &Boot<'_>, see: impl FnMut(Event<'_>)) -> Result<Ended> {
        command::stream(&mut self.command(boot), Some(boot.limit), see)
    }

    fn command(&self, boot: &Boot<'_>) -> Command {
        // Should this runner be killed itself, nobody would be left to end a guest that spins: the kernel then does,
        // when the guest has used the processor time that it could have used within its limit.
        let processor_seconds = (boot.limit.as_secs() + 30) * (u64::from(boot.smp) + 1);
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -t \"$1\"; shift; exec \"$@\"", "sh"]).arg(processor_seconds.to_string());
        command.args(self.words(boot));
        command
    }
}

/// One boot of the stand.
#[derive(Clone, Debug)]
pub struct Boot<'a> {
    /// The bare-metal program.
    pub stand: &'a Path,
    /// The driver image it loads.
    pub driver: &'a Path,
    /// `KEY=VALUE` words for it.
    pub options: Vec<String>,
    /// Disks and devices, as arguments of QEMU.
    pub machine: Vec<String>,
    /// Number of processors.
    pub smp: u32,
    /// Wall-clock limit.
    pub limit: Duration,
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

fn ask(program: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("{} could not be started", program.display()))?;
    if !output.status.success() {
        bail!("{} fails: {}", program.display(), first_line(&String::from_utf8_lossy(&output.stderr)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or("(nothing)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn versions_as_distributions_print_them_are_read() {
        for (text, version) in [
            (
                "QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2+deb13u1~bpo12+1)\nCopyright",
                Version(10, 0),
            ),
            ("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)", Version(7, 2)),
            ("QEMU emulator version 9.2.50 (v9.2.0-rc1-dirty)", Version(9, 2)),
            ("QEMU emulator version 8.1", Version(8, 1)),
        ] {
            assert_eq!(Version::parse(text), Some(version), "{text}");
        }
        for text in ["", "GNU bash, version x", "QEMU emulator", "QEMU emulator version 10"] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
    }

    #[test]
    fn version_ten_is_newer_than_seven() {
        assert!(Version(10, 0) > OLDEST);
        assert!(Version(7, 1) < OLDEST);
    }

    /// A stand-in for QEMU: a script that answers the version and otherwise does `script`.
    fn fake(folder: &Path, version: &str, script: &str) -> PathBuf {
        let path = folder.join("qemu-system-x86_64");
        let text = format!(
            "#!/bin/sh\ncase $1 in --version) echo 'QEMU emulator version {version}'; exit;; -L) exit;; esac\n{script}\n"
        );
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn boot(folder: &Path, script: &str, limit: Duration) -> crate::protocol::Report {
        let program = fake(folder, "10.0.2", script);
        // Another test's fork may for a moment hold the script open for writing, and starting it then fails (ETXTBSY).
        let qemu = (0..100).find_map(|_| Qemu::find(Some(&program)).ok()).unwrap();
        let boot = Boot { stand: folder, driver: folder, options: vec![], machine: vec![], smp: 1, limit };
        crate::protocol::sum_up(&qemu.boot(&boot, |_| ()).unwrap())
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_run_that_passes_is_reported_so() {
        let folder = tempfile::tempdir().unwrap();

        let report = boot(folder.path(), "echo 'ok a: b'; echo 'end passed=1 failed=0'; exit 33", LONG);

        assert_eq!((report.passed, report.broken), (1, None));
    }

    #[test]
    fn a_guest_that_hangs_is_killed_at_the_limit() {
        let folder = tempfile::tempdir().unwrap();

        let report = boot(folder.path(), "echo 'ok a: b'; exec sleep 100", Duration::from_millis(400));

        assert_eq!(report.broken, Some(crate::protocol::Broken::TimedOut));
    }

    #[test]
    fn a_qemu_that_refuses_its_arguments_is_a_crash() {
        let folder = tempfile::tempdir().unwrap();

        let report = boot(folder.path(), "echo 'no such device' >&2; exit 1", LONG);

        assert!(matches!(report.broken, Some(crate::protocol::Broken::Crashed(_))));
    }

    #[test]
    fn an_old_qemu_is_refused_with_both_versions() {
        let folder = tempfile::tempdir().unwrap();
        let program = fake(folder.path(), "6.2.0 (Debian 1:6.2+dfsg-2ubuntu6)", "");

        let error = (0..100)
            .map(|_| Qemu::find(Some(&program)).unwrap_err().to_string())
            .find(|error| !error.contains("could not be started"))
            .unwrap();

        assert!(error.contains("is QEMU 6.2, which is too old: 7.2 or later is needed"), "{error}");
    }

    #[test]
    fn something_else_than_qemu_is_refused() {
        let error = Qemu::find(Some(Path::new("/bin/echo"))).unwrap_err().to_string();

        assert!(error.starts_with("/bin/echo does not say a QEMU version but: "), "{error}");
        let error = Qemu::find(Some(Path::new("/nowhere/qemu"))).unwrap_err().to_string();
        assert_eq!(error, "there is no QEMU /nowhere/qemu");
    }
}
