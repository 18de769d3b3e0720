//! `./x fresh`: the README's commands as a newcomer runs them, on a Debian that has nothing yet.
//!
//! ```text
//!  debootstrap --variant=minbase ──► target/fresh/<release>.base        kept for the next time
//!                                      │ cp -a
//!                                      ▼
//!  git clone of HEAD ────────────► target/fresh/<release>  ── chroot ──► the commands of the README's "Start"
//!  rustup's toolchain, read-only ──────┘ (mounts of its own, gone with the process)
//! ```
//!
//! A developer's machine has libraries and programs that nobody remembers to have installed. Here is one without them: git,
//! certificates for the network, no C compiler. What the tree needs besides, `./x` has to find out and to install.

use crate::command::{Event, Stream, status_text, stream};
use crate::needs;
use crate::screen::{Screen, seconds};
use crate::workspace::Workspace;
use anyhow::{Context as _, Result, bail, ensure};
use clap::{Args, ValueEnum};
use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// Where a bare system is made and what is run there.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Only this release; may be given several times
    #[arg(long, value_enum, value_name = "RELEASE")]
    on: Vec<Release>,
    /// Only commands that contain this, such as `run`
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Where this machine does not let a process have mounts of its own, say so and leave it at that
    #[arg(long)]
    if_possible: bool,
}

/// A release of Debian, by its number and its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Release {
    #[value(name = "12", alias = "bookworm")]
    Bookworm,
    #[value(name = "13", alias = "trixie")]
    Trixie,
}

impl Release {
    fn name(self) -> &'static str {
        match self {
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Bookworm => "Debian 12",
            Self::Trixie => "Debian 13",
        }
    }
}

/// What must not be there at the start: each of these has been on a developer's machine by chance.
const NOT_THERE: [&str; 8] =
    ["cc", "gcc", "clang", "llvm-rc", "xorriso", "7z", "osslsigncode", "qemu-system-x86_64"];

/// What LLVM's users have, and Debian installs with llvm where recommended packages are wanted: its libclang-cpp.so has been
/// taken for libclang.
const NEIGHBOUR: &str = "llvm-dev";

/// Variables that a machine needs to reach the network, as far as this one has them.
const NETWORK: [&str; 6] = ["http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"];

/// Mounts what a system needs and becomes the command in it. `$1`: its root; `$2`: rustup's folder; `$3`: the folder with
/// cargo; then the environment and the command. The mounts are in a namespace of this process alone.
const ENTER: &str = r#"set -eu
root=$1 rustup=$2 bin=$3
shift 3
mount --make-rprivate /
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
for pair in "$rustup:opt/rustup" "$bin:opt/cargo-bin"; do
    mkdir -p "$root/${pair#*:}"
    mount --bind "${pair%%:*}" "$root/${pair#*:}"
    mount -o remount,bind,ro "$root/${pair#*:}"
done
exec chroot "$root" env -i "$@"
"#;

/// Runs the verb.
///
/// # Errors
/// When there is no root, no mount namespace, or no bare system to be had. A command that fails there is printed and makes
/// the answer `false`.
pub fn verb(workspace: &Workspace, screen: &mut Screen, arguments: &Arguments) -> Result<bool> {
    if let Err(reason) = possible() {
        ensure!(arguments.if_possible, "{reason:#}");
        screen.line(&format!("not tried: {reason:#}"));
        return Ok(true);
    }
    let readme = fs::read_to_string(workspace.root.join("README.md")).context("README.md cannot be read")?;
    let mut commands = commands(&readme)?;
    if let Some(text) = &arguments.only {
        commands.retain(|command| command.contains(text));
        ensure!(!commands.is_empty(), "the README's \"Start\" has no command with '{text}'");
    }
    let releases = if arguments.on.is_empty() { Release::value_variants() } else { &arguments.on };
    let (mut passed, mut failed) = (0, 0);
    for &release in releases {
        let machine = Machine::make(workspace, screen, release)?;
        let failed_before = failed;
        for command in &commands {
            if machine.run(screen, command)? {
                passed += 1;
            } else {
                failed += 1;
            }
        }
        // What the first command installed can be lost again, one package at a time, on a machine that has more of LLVM.
        if failed == failed_before {
            machine.install(screen, NEIGHBOUR)?;
        }
        for need in if failed == failed_before { needs::TO_RUN } else { &[] } {
            if machine.finds_again(screen, need.package)? {
                passed += 1;
            } else {
                failed += 1;
            }
        }
        if failed == failed_before {
            machine.remove()?;
        }
    }
    screen.line(&format!("{passed} passed, {failed} failed"));
    Ok(failed == 0)
}

/// Whether this process may have mounts of its own.
fn possible() -> Result<()> {
    let try_it = "mount --make-rprivate / && mount -t tmpfs none /mnt";
    let ended = stream(&mut namespace(&["sh", "-c", try_it]), None, |_| ())
        .context("a bare system needs mounts of its own")?;
    ensure!(
        ended.success(),
        "a bare system needs mounts of its own, so run this as root where that is allowed ({})",
        ended.of(Stream::Err).last().unwrap_or("unshare failed")
    );
    Ok(())
}

/// A command that has mounts and processes of its own, which end with it.
fn namespace(words: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--pid", "--fork", "--kill-child"]).args(words);
    command
}

/// The commands of the README's section "Start", as they are typed.
fn commands(readme: &str) -> Result<Vec<String>> {
    let section = readme.split("\n## ").find_map(|section| section.strip_prefix("Start\n"));
    let section = section.context("the README has no section \"Start\"")?;
    let typed = section.lines().filter_map(|line| line.strip_prefix("$ ")).map(str::to_owned);
    let typed: Vec<String> = typed.collect();
    ensure!(!typed.is_empty(), "the README's section \"Start\" has no line that begins with $");
    Ok(typed)
}

/// A bare system with a clone of the tree.
struct Machine {
    release: Release,
    root: PathBuf,
    log: PathBuf,
    rustup: PathBuf,
    /// The folder that cargo is in.
    programs: PathBuf,
}

impl Machine {
    fn make(workspace: &Workspace, screen: &mut Screen, release: Release) -> Result<Self> {
        let folder = workspace.output("fresh");
        fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        let home = std::env::home_dir().context("HOME is not set")?;
        let place = |variable: &str, usual: &str| {
            std::env::var_os(variable).map_or_else(|| home.join(usual), PathBuf::from)
        };
        let machine = Self {
            release,
            root: folder.join(release.name()),
            log: folder.join(format!("{}.log", release.name())),
            rustup: place("RUSTUP_HOME", ".rustup"),
            programs: place("CARGO_HOME", ".cargo").join("bin"),
        };
        let _ = fs::remove_file(&machine.log);
        let base = machine.base(screen, &folder)?;
        machine.remove()?;
        let mut copy = Command::new("cp");
        machine.step(screen, "a copy", copy.args(["-a", "--reflink=auto"]).args([&base, &machine.root]))?;
        let tree = machine.root.join("root/tree");
        let mut clone = Command::new("git");
        clone.args(["clone", "--quiet", "--no-hardlinks"]).args([&workspace.root, &tree]);
        machine.step(screen, "git clone", &mut clone)?;
        // How the network is reached is this machine's affair: names, authorities, where crates come from.
        for (from, to) in [
            (Path::new("/etc/resolv.conf"), "etc/resolv.conf"),
            (Path::new("/etc/ssl/certs/ca-certificates.crt"), "etc/ssl/certs/ca-certificates.crt"),
            (&place("CARGO_HOME", ".cargo").join("config.toml"), "root/.cargo/config.toml"),
        ] {
            let to = machine.root.join(to);
            if from.is_file() {
                fs::create_dir_all(to.parent().context("no folder")?)?;
                fs::copy(from, &to).with_context(|| format!("{} cannot be written", to.display()))?;
            }
        }
        let not_there =
            format!("for name in {}; do command -v $name && exit 1; done; true", NOT_THERE.join(" "));
        let bare = machine.enter(screen, &not_there, "")?;
        ensure!(bare.success(), "{} is not bare: it has {}", machine.root.display(), bare.tail(1).trim());
        screen.line(&format!(
            "{} ({}), bare, with git and rustup's toolchain",
            release.title(),
            release.name()
        ));
        Ok(machine)
    }

    /// The system as debootstrap makes it, made once.
    fn base(&self, screen: &mut Screen, folder: &Path) -> Result<PathBuf> {
        let base = folder.join(format!("{}.base", self.release.name()));
        if !base.is_dir() {
            let part = folder.join(format!("{}.part", self.release.name()));
            if part.exists() {
                fs::remove_dir_all(&part)?;
            }
            let mut debootstrap = Command::new("debootstrap");
            debootstrap
                .args(["--variant=minbase", "--include=git,ca-certificates", self.release.name()])
                .arg(&part);
            self.step(screen, "debootstrap", &mut debootstrap)?;
            fs::rename(&part, &base)?;
        }
        Ok(base)
    }

    fn step(&self, screen: &mut Screen, what: &str, command: &mut Command) -> Result<()> {
        let what = format!("{}: {what}", self.release.name());
        crate::command::step(screen, &what, command).map(drop)
    }

    /// Runs a command of the README, and says how it ended.
    fn run(&self, screen: &mut Screen, command: &str) -> Result<bool> {
        let started = Instant::now();
        let ended = self.enter(screen, &format!("cd tree && {command}"), command)?;
        let time = seconds(started.elapsed());
        if ended.success() {
            // What the verbs sum themselves up with stands last.
            let last = ended.of(Stream::Out).last().unwrap_or_default();
            screen.line(&format!("  ok   {command:<10} {last} ({time})"));
        } else {
            screen.line(&ended.tail(SHOWN));
            screen.line(&format!(
                "  FAIL {command:<10} {} after {time}; all output is in {}",
                status_text(&ended),
                self.log.display()
            ));
        }
        Ok(ended.success())
    }

    fn install(&self, screen: &mut Screen, package: &str) -> Result<()> {
        let script = format!("apt-get install -y -q --no-install-recommends {package}");
        let ended = self.enter(screen, &script, &script)?;
        ensure!(
            ended.success(),
            "{package} cannot be installed; apt-get's words are in {}",
            self.log.display()
        );
        Ok(())
    }

    /// Takes a package away, with what came for it alone, and tries whether `./x setup` sees that and gets it again. dpkg is
    /// the judge. Files with names like those of the package may stay behind: they belong to others.
    fn finds_again(&self, screen: &mut Screen, package: &str) -> Result<bool> {
        let script = format!(
            "apt-get remove -y -q --auto-remove {package} && cd tree && ./x setup && dpkg-query -s {package}"
        );
        let ended = self.enter(screen, &script, &format!("without {package}"))?;
        let (word, what) = if ended.success() {
            ("ok  ", "is missed and installed again")
        } else {
            screen.line(&ended.tail(SHOWN));
            ("FAIL", "was taken away, and ./x setup did not bring it back")
        };
        screen.line(&format!("  {word} {package} {what}"));
        Ok(ended.success())
    }

    /// Runs a script in the system, with what it prints in the log, and as progress when it is called something.
    fn enter(&self, screen: &mut Screen, script: &str, what: &str) -> Result<crate::command::Ended> {
        let log = fs::OpenOptions::new().create(true).append(true).open(&self.log);
        let mut log =
            BufWriter::new(log.with_context(|| format!("{} cannot be written", self.log.display()))?);
        let mut command = namespace(&["sh", "-c", ENTER, "sh"]);
        command.args([&self.root, &self.rustup, &self.programs]);
        command.args(["HOME=/root", "LANG=C.UTF-8", "RUSTUP_HOME=/opt/rustup", "RUSTUP_AUTO_INSTALL=0"]);
        command.arg("PATH=/opt/cargo-bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        for name in NETWORK {
            if let Ok(value) = std::env::var(name) {
                command.arg(format!("{name}={value}"));
            }
        }
        command.args(["sh", "-c", &format!("cd && {script}")]);
        let started = Instant::now();
        let mut last = String::new();
        let mut trouble = Ok(());
        let ended = stream(&mut command, None, |event| {
            if let Event::Line(_, line) = event {
                trouble = std::mem::replace(&mut trouble, Ok(())).and_then(|()| writeln!(log, "{line}"));
                line.trim().clone_into(&mut last);
            }
            if !what.is_empty() {
                let name = self.release.name();
                screen.progress(&format!("{name}: {what} ({}) {last}", seconds(started.elapsed())));
            }
        })?;
        screen.clear();
        if let Err(error) = trouble.and_then(|()| log.flush()) {
            bail!("{} cannot be written: {error}", self.log.display());
        }
        Ok(ended)
    }

    fn remove(&self) -> Result<()> {
        if self.root.exists() {
            fs::remove_dir_all(&self.root)
                .with_context(|| format!("{} cannot be removed", self.root.display()))?;
        }
        Ok(())
    }
}

/// Most lines of a failed command that are shown.
const SHOWN: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_are_those_of_the_readmes_start() {
        let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md")).unwrap();

        assert_eq!(commands(&readme).unwrap(), ["./x run", "./x test"]);
    }

    #[test]
    fn a_readme_without_commands_is_refused() {
        assert!(commands("# a\n\n## Start\n\nnothing\n\n## More\n$ ./x run\n").is_err());
        assert!(commands("# a\n").is_err());
    }
}
