//! vhost-device-scsi, a virtio-scsi device that is not QEMU's: rust-vmm's daemon, built below the target folder.
//!
//! ```text
//!  the registry ── cargo info, which unpacks it ──► cargo's folder ──► target/vhost-device-scsi/source
//!  cargo build --locked, with the versions that its lock file pins ──► target/vhost-device-scsi/VERSION
//! ```
//!
//! The lock file that it comes with is right but for one version. With vhost-user-backend 0.10.0 the daemon goes on counting used
//! entries where it was when its device is reset (`set_vring_addr` in src/handler.rs), so that no driver can start the device a
//! second time. 0.10.1 mends just that; `cargo install` takes either that lock file or none.

use crate::command::{Ended, Event, Stream, status_text, stream};
use crate::screen::Screen;
use crate::workspace::Workspace;
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

const NAME: &str = "vhost-device-scsi";
const VERSION: &str = "0.1.0";
/// The version that is not that of its lock file.
const MENDED: (&str, &str) = ("vhost-user-backend", "0.10.1");
/// Longest wait for cargo. On two processors the build takes less than a minute.
const PATIENCE: Duration = Duration::from_secs(600);

/// Where it is once it is there.
pub fn program(workspace: &Workspace) -> PathBuf {
    folder(workspace).join(VERSION)
}

fn folder(workspace: &Workspace) -> PathBuf {
    workspace.output(NAME)
}

/// Sees that it is there. What cannot be had is not asked for twice.
///
/// # Errors
/// When it is not to be had: no network, or no compiler that takes it. In one line.
pub fn get(workspace: &Workspace, screen: &mut Screen) -> Result<(), String> {
    static DONE: OnceLock<Result<(), String>> = OnceLock::new();
    if program(workspace).is_file() {
        return Ok(());
    }
    DONE.get_or_init(|| {
        screen.progress("building vhost-device-scsi");
        let result = make(workspace).map_err(|error| format!("{error:#}"));
        screen.clear();
        result
    })
    .clone()
}

fn make(workspace: &Workspace) -> Result<()> {
    let (folder, source) = (folder(workspace), folder(workspace).join("source"));
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("{} cannot be removed", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    let registry = cargo_folder()?.join("registry").join("src");
    if unpacked(&registry).is_none() {
        run(workspace.cargo().args(["info", &format!("{NAME}@{VERSION}")]))?;
    }
    let unpacked = unpacked(&registry)
        .with_context(|| format!("cargo has unpacked no {NAME} {VERSION} below {}", registry.display()))?;
    run(Command::new("cp").arg("-R").arg(&unpacked).arg(&source))?;
    // Otherwise it would be taken for a part of the workspace that the folder is in.
    let manifest = source.join("Cargo.toml");
    let mut file = fs::File::options().append(true).open(&manifest)?;
    file.write_all(b"\n[workspace]\n")
        .with_context(|| format!("{} cannot be written", manifest.display()))?;
    drop(file);
    let cargo = |words: &[&str]| {
        run(workspace.cargo().args(words).current_dir(&source).env("CARGO_TARGET_DIR", folder.join("build")))
    };
    cargo(&["update", MENDED.0, "--precise", MENDED.1])?;
    cargo(&["build", "--release", "--locked"])?;
    fs::copy(folder.join("build/release").join(NAME), program(workspace)).context("nothing was built")?;
    for made in ["build", "source"] {
        let _ = fs::remove_dir_all(folder.join(made));
    }
    Ok(())
}

fn cargo_folder() -> Result<PathBuf> {
    let given = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let usual = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo"));
    given.or_else(usual).context("cargo's folder is not known")
}

/// Where cargo has unpacked it: below a folder for each registry.
fn unpacked(registry: &Path) -> Option<PathBuf> {
    let found = fs::read_dir(registry).ok()?.flatten().map(|of| of.path().join(format!("{NAME}-{VERSION}")));
    found.into_iter().find(|folder| folder.join("Cargo.lock").is_file())
}

/// Runs it with a limit; what it says of an error is the error.
fn run(command: &mut Command) -> Result<Ended> {
    let ended = stream(command, Some(PATIENCE), |_: Event<'_>| ())?;
    if !ended.success() {
        let said = ended.of(Stream::Err).find(|line| line.starts_with("error"));
        let said = said.map_or_else(|| status_text(&ended), ToOwned::to_owned);
        bail!("{}: {said}", command.get_program().display());
    }
    Ok(ended)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_found_below_whichever_registry_it_came_from() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("index-2").join(format!("{NAME}-{VERSION}"));
        fs::create_dir_all(folder.path().join("index-1")).unwrap();
        fs::create_dir_all(&place).unwrap();
        let before = unpacked(folder.path());
        fs::write(place.join("Cargo.lock"), "").unwrap();

        assert_eq!((before, unpacked(folder.path())), (None, Some(place)));
        assert_eq!(unpacked(&folder.path().join("nowhere")), None);
    }

    #[test]
    fn what_cargo_says_of_an_error_is_the_reason() {
        let script = "echo '    Updating index' >&2; echo 'error: no network' >&2; exit 101";

        let error = run(Command::new("sh").args(["-c", script])).unwrap_err();

        assert_eq!(error.to_string(), "sh: error: no network");
    }
}
