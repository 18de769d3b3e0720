//! A SCSI target that is not QEMU's: tgtd, the daemon of Debian's package `tgt`, with a disk, a tape and a changer. QEMU reaches it
//! by its iSCSI driver, and passes commands through with `scsi-block` and `scsi-generic` as if the host had such devices.
//!
//! ```text
//!  the machine's archive ── apt-get download ──► tgt and its libraries; QEMU's driver and its library
//!  target/iscsi/image ◄── dpkg-deb -x ─────────────┘
//!  target/iscsi/qemu-system-x86_64    a script that starts the machine's own QEMU with the driver
//! ```
//!
//! Nothing is installed: the package would start a daemon of its own. A QEMU of backports brings its driver along.

use crate::current_qemu::run;
use crate::qemu::Qemu;
use crate::screen::Screen;
use crate::workspace::Workspace;
use anyhow::{Context as _, Result, ensure};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Sets the target up and becomes it.
const TARGET: &str = include_str!("target.sh");
/// tgtd and the libraries that a machine may lack.
const PROGRAMS: &[&str] =
    &["tgt", "libaio1", "libibverbs1", "librdmacm1", "libnl-3-200", "libnl-route-3-200"];
/// QEMU's iSCSI driver, a module of just that QEMU, and its library.
pub const DRIVER: &[&str] = &["qemu-block-extra", "libiscsi7"];
const MODULE: &str = "block-iscsi.so";

/// The same QEMU with its iSCSI driver; tgtd is below the target folder then.
///
/// # Errors
/// When they are not to be had: no Debian, no network, or a QEMU that is not Debian's.
pub fn get(workspace: &Workspace, screen: &mut Screen, qemu: &Qemu) -> Result<Qemu> {
    let folder = workspace.output("iscsi");
    let image = folder.join("image");
    fs::create_dir_all(&image).with_context(|| format!("{} cannot be made", image.display()))?;
    if !image.join("usr/sbin/tgtd").is_file() {
        screen.progress("getting tgtd");
        unpack(&folder, PROGRAMS, &image)?;
        screen.clear();
    }
    write_script(&target(workspace), TARGET)?;
    let beside = qemu.program.parent().unwrap_or(Path::new("/")).join("image/usr/lib");
    let theirs = if beside.is_dir() { beside } else { PathBuf::from("/usr/lib") };
    let modules = modules(&theirs).context("this QEMU has no modules")?;
    if modules.join(MODULE).is_file() {
        return Ok(qemu.clone());
    }
    ensure!(theirs == Path::new("/usr/lib"), "{} came without {MODULE}", qemu.program.display());
    let script = folder.join("qemu-system-x86_64");
    let driver = folder.join("driver");
    if !script.is_file() {
        screen.progress("getting QEMU's iSCSI driver");
        unpack(&folder, DRIVER, &driver)?;
        screen.clear();
    }
    let all = folder.join("modules");
    let _ = fs::remove_dir_all(&all);
    fs::create_dir_all(&all)?;
    for module in fs::read_dir(&modules)? {
        let module = module?;
        symlink(module.path(), all.join(module.file_name()))?;
    }
    let libraries = driver.join("usr/lib");
    let of_driver = self::modules(&libraries).context("qemu-block-extra has no modules")?;
    symlink(of_driver.join(MODULE), all.join(MODULE))?;
    let text = format!(
        "#!/bin/sh\nQEMU_MODULE_DIR='{}' LD_LIBRARY_PATH='{}' exec '{}' \"$@\"\n",
        all.display(),
        of_driver.parent().unwrap_or(&libraries).display(),
        qemu.program.display()
    );
    write_script(&script, &text)?;
    Ok(qemu.started_by(script))
}

/// The program that is the target.
pub fn target(workspace: &Workspace) -> PathBuf {
    workspace.output("iscsi").join("target.sh")
}

fn write_script(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// The folder of modules below a folder of libraries.
fn modules(libraries: &Path) -> Option<PathBuf> {
    let all = fs::read_dir(libraries).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    all.filter(|path| path.to_string_lossy().ends_with("-linux-gnu"))
        .map(|path| path.join("qemu"))
        .find(|path| path.is_dir())
}

/// Gets packages of the machine's archive and unpacks them.
fn unpack(folder: &Path, packages: &[&str], to: &Path) -> Result<()> {
    let temporary = folder.join("packages");
    let _ = fs::remove_dir_all(&temporary);
    fs::create_dir_all(&temporary)?;
    fs::create_dir_all(to)?;
    let mut download = Command::new("apt-get");
    download.current_dir(&temporary).args(["-o", "APT::Sandbox::User=", "download"]).args(packages);
    run(download.env("LC_ALL", "C"))?;
    for package in fs::read_dir(&temporary)? {
        run(Command::new("dpkg-deb").arg("--extract").arg(package?.path()).arg(to))?;
    }
    fs::remove_dir_all(&temporary)?;
    Ok(())
}
