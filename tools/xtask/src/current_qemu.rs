//! A current QEMU beside the machine's own: the one of Debian's backports, unpacked below the target folder.
//!
//! ```text
//!  the machine's archive + <release>-backports ── apt-get, with lists and a cache of its own ──► .deb files
//!  target/qemu-current/image ◄── dpkg-deb -x ───────────────────────────────────────────────────────┘
//!  target/qemu-current/qemu-system-x86_64    a script that starts it there
//! ```
//!
//! apt-get gets what `apt-get install` would, with the libraries that the machine lacks. Nothing is installed, so it takes
//! neither root nor a change of the machine's sources. The storage daemon stays the machine's own.

use crate::command::{Ended, Event, Stream, status_text, stream};
use crate::iscsi;
use crate::qemu::Qemu;
use crate::screen::Screen;
use crate::workspace::Workspace;
use anyhow::{Context as _, Result, bail, ensure};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const PACKAGE: &str = "qemu-system-x86";
const PROGRAM: &str = "qemu-system-x86_64";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Longest wait for apt-get, which has to get some 25 MB.
const PATIENCE: Duration = Duration::from_secs(300);

/// Starts the QEMU in `image` with the firmware, modules and libraries that came with it.
const SCRIPT: &str = r#"#!/bin/sh
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
libraries=
for folder in "$here"/image/usr/lib/*-linux-gnu "$here"/image/lib/*-linux-gnu; do
    [ -d "$folder" ] && libraries=$libraries:$folder
done
LD_LIBRARY_PATH=${libraries#:}${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
QEMU_MODULE_DIR=$(echo "$here"/image/usr/lib/*-linux-gnu/qemu)
export LD_LIBRARY_PATH QEMU_MODULE_DIR
exec "$here/image/usr/bin/qemu-system-x86_64" -L "$here/image/usr/share/qemu" -L "$here/image/usr/share/seabios" "$@"
"#;

/// A Debian whose backports may have a newer QEMU.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Debian {
    /// `bookworm`
    release: String,
    /// Where this machine gets its packages from.
    archive: String,
}

/// The current QEMU, from the target folder or the network.
///
/// # Errors
/// When it is not to be had: no Debian, no network, no newer one in the backports.
pub fn get(workspace: &Workspace, screen: &mut Screen, own: &Qemu) -> Result<Qemu> {
    let folder = workspace.output("qemu-current");
    let script = folder.join(PROGRAM);
    if !script.is_file() {
        screen.progress("getting a current QEMU");
        unpack(&folder, &Debian::of_this_machine()?, "apt-get")?;
        screen.clear();
    }
    let qemu = Qemu::find(Some(&script)).inspect_err(|_| {
        // Whatever it lacks, the next time it is got again.
        let _ = fs::remove_file(&script);
    })?;
    ensure!(qemu.name != own.name, "the machine's own, {}, is as new as that of the backports", own.name);
    Ok(qemu)
}

impl Debian {
    fn of_this_machine() -> Result<Self> {
        let text = fs::read_to_string("/etc/os-release").context("this is no Debian")?;
        let release = release_of(&text).context("this is no Debian")?;
        let format = "$(REPO_URI) $(RELEASE) $(COMPONENT)";
        let ended =
            run(Command::new("apt-get").args(["indextargets", "--format", format, "Created-By: Packages"]))?;
        let lines: Vec<&str> = ended.of(Stream::Out).collect();
        let archive = archive_of(&lines, release)
            .with_context(|| format!("the machine's apt sources do not name the archive of {release}"))?;
        Ok(Self { release: release.to_owned(), archive: archive.to_owned() })
    }

    /// What stands in the file of apt's sources.
    fn sources(&self) -> String {
        let signed =
            if Path::new(KEYRING).is_file() { format!("[signed-by={KEYRING}] ") } else { String::new() };
        let Self { release, archive } = self;
        ["", "-backports"].map(|which| format!("deb {signed}{archive} {release}{which} main\n")).concat()
    }
}

/// Debian's name of the release in the text of `/etc/os-release`.
fn release_of(os_release: &str) -> Option<&str> {
    let value = |key: &str| {
        let line = os_release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
        Some(line.trim_matches('"'))
    };
    if value("ID")? == "debian" { value("VERSION_CODENAME") } else { None }
}

/// The archive of a release in lines of `archive release component`.
fn archive_of<'a>(lines: &[&'a str], release: &str) -> Option<&'a str> {
    lines.iter().find_map(|line| {
        let mut words = line.split(' ');
        let archive = words.next()?;
        words.eq([release, "main"]).then_some(archive)
    })
}

/// Gets the packages and unpacks them; the script comes last, so that what is half done is done again.
fn unpack(folder: &Path, debian: &Debian, apt_get: &str) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("{} cannot be removed", folder.display()))?;
    }
    let (apt, root) = (folder.join("apt"), folder.join("image"));
    for folder in [apt.join("lists/partial"), apt.join("archives/partial"), root.clone()] {
        fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    }
    fs::write(apt.join("sources.list"), debian.sources())?;
    let apt_get = |words: &[&str], there: &Path| {
        let mut command = Command::new(apt_get);
        command.current_dir(there);
        for (option, path) in [
            ("Dir::Etc::sourcelist", "sources.list"),
            ("Dir::State::lists", "lists"),
            ("Dir::Cache", ""),
            ("Dir::Cache::archives", "archives"),
        ] {
            command.args(["-o", &format!("{option}={}", apt.join(path).display())]);
        }
        for option in [
            "Dir::Etc::sourceparts=-",
            // The machine's locks, and its user for downloads, are for its own lists.
            "Debug::NoLocking=true",
            "APT::Sandbox::User=",
            // Without it a network that is not there is no error.
            "APT::Update::Error-Mode=any",
            "Acquire::Retries=1",
            "Acquire::http::Timeout=20",
        ] {
            command.args(["-o", option]);
        }
        run(command.args(words).env("LC_ALL", "C"))
    };
    apt_get(&["update"], &apt)?;
    let from = format!("{}-backports", debian.release);
    let install = ["install", "-y", "--download-only", "--no-install-recommends", "-t", &from, PACKAGE];
    apt_get(&install, &apt)?;
    let mut packages = packages(&apt.join("archives"))?;
    ensure!(!packages.is_empty(), "the machine's own is as new as that of {from}");
    packages.extend(drivers(&apt, &from, &apt_get));
    for package in packages {
        run(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(&root))?;
    }
    ensure!(root.join("usr/bin").join(PROGRAM).is_file(), "{from} has no {PROGRAM}");
    let _ = fs::remove_dir_all(&apt);
    let script = folder.join(PROGRAM);
    fs::write(&script, SCRIPT).with_context(|| format!("{} cannot be written", script.display()))?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// The package with its iSCSI driver, without all that other drivers of that package need. Without it it is a QEMU all the same.
fn drivers(apt: &Path, from: &str, apt_get: &impl Fn(&[&str], &Path) -> Result<Ended>) -> Vec<PathBuf> {
    let folder = apt.join("drivers");
    let got = fs::create_dir_all(&folder).is_ok_and(|()| {
        let words = [&["-t", from, "download"], iscsi::DRIVER].concat();
        apt_get(&words, &folder).is_ok()
    });
    if got { packages(&folder).unwrap_or_default() } else { Vec::new() }
}

fn packages(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut packages = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            packages.push(path);
        }
    }
    packages.sort();
    Ok(packages)
}

/// Runs it with a limit; what it says of an error is the error.
pub fn run(command: &mut Command) -> Result<Ended> {
    let ended = stream(command, Some(PATIENCE), |_: Event<'_>| ())?;
    if !ended.success() {
        let said = ended.of(Stream::Err).find(|line| line.starts_with("E: ")).map(ToOwned::to_owned);
        let program = command.get_program().display();
        bail!("{program}: {}", said.unwrap_or_else(|| status_text(&ended)));
    }
    Ok(ended)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(path: &Path, script: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Another test's fork may for a moment hold a script open for writing, and starting it then fails (ETXTBSY).
    fn patiently<T>(mut act: impl FnMut() -> Result<T>) -> Result<T> {
        let busy = |error: &anyhow::Error| format!("{error:#}").contains("could not be started");
        (0..100).map(|_| act()).find(|result| !result.as_ref().is_err_and(busy)).unwrap()
    }

    fn debian() -> Debian {
        Debian { release: "bookworm".to_owned(), archive: "http://mirror/debian/".to_owned() }
    }

    #[test]
    fn the_release_is_read_and_other_systems_are_no_debian() {
        let debian = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_CODENAME=bookworm\nID=debian\n";
        assert_eq!(release_of(debian), Some("bookworm"));
        assert_eq!(release_of("ID=ubuntu\nID_LIKE=debian\nVERSION_CODENAME=noble\n"), None);
        assert_eq!(release_of("ID=\"debian\"\nVERSION_ID=\"12\"\n"), None);
    }

    #[test]
    fn the_archive_is_the_one_of_the_release_and_not_that_of_its_security_updates() {
        let lines = [
            "http://mirror/debian-security/ bookworm-security main",
            "http://mirror/debian/ bookworm contrib",
            "http://mirror/debian/ bookworm main",
        ];

        assert_eq!(archive_of(&lines, "bookworm"), Some("http://mirror/debian/"));
        assert_eq!(archive_of(&lines[..2], "bookworm"), None);
    }

    #[test]
    fn both_suites_of_the_archive_are_asked() {
        let sources = debian().sources();

        let ends: Vec<_> = sources.lines().map(|line| line.split_once("http").unwrap().1).collect();
        assert_eq!(ends, ["://mirror/debian/ bookworm main", "://mirror/debian/ bookworm-backports main"]);
    }

    #[test]
    fn without_a_network_the_reason_is_apts_and_nothing_is_left_that_looks_usable() {
        let folder = tempfile::tempdir().unwrap();
        let apt = folder.path().join("apt-get");
        program(&apt, "echo 'E: Failed to fetch x  Could not resolve host' >&2; exit 100");
        let place = folder.path().join("qemu-current");

        let error = patiently(|| unpack(&place, &debian(), apt.to_str().unwrap())).unwrap_err();

        assert!(error.to_string().ends_with("E: Failed to fetch x  Could not resolve host"), "{error:#}");
        assert!(!place.join(PROGRAM).exists());
    }

    #[test]
    fn backports_without_a_newer_one_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let apt = folder.path().join("apt-get");
        program(&apt, "exit 0");

        let error =
            patiently(|| unpack(&folder.path().join("q"), &debian(), apt.to_str().unwrap())).unwrap_err();

        assert_eq!(error.to_string(), "the machine's own is as new as that of bookworm-backports");
    }

    #[test]
    fn the_script_starts_what_was_unpacked_with_its_own_firmware_and_libraries() {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path().canonicalize().unwrap().join("a folder");
        program(&here.join("image/usr/bin").join(PROGRAM), r#"echo "$LD_LIBRARY_PATH|$QEMU_MODULE_DIR|$*""#);
        fs::create_dir_all(here.join("image/usr/lib/x86_64-linux-gnu/qemu")).unwrap();
        program(&here.join(PROGRAM), SCRIPT.trim_start_matches("#!/bin/sh\n"));

        let ended =
            patiently(|| run(Command::new(here.join(PROGRAM)).arg("-x").env_remove("LD_LIBRARY_PATH")))
                .unwrap();

        let root = here.join("image/usr").display().to_string();
        let library = format!("{root}/lib/x86_64-linux-gnu");
        let expected = format!("{library}|{library}/qemu|-L {root}/share/qemu -L {root}/share/seabios -x");
        assert_eq!(ended.of(Stream::Out).collect::<Vec<_>>(), [expected]);
    }
}
