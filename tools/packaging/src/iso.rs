//! The driver ISO: ISO 9660 with Joliet for Windows and Rock Ridge for everybody else, the same bytes every time.
//!
//! ```text
//! viostor/w11/amd64/viostor.{inf,sys,cat,pdb}     virtio-win's layout: by hand, pnputil, virt-v2v
//! vioscsi/w11/amd64/vioscsi.{inf,sys,cat,pdb}
//! $WinPEDriver$/viostor/viostor.{inf,sys,cat}     Windows Setup loads what is in here by itself
//! $WinPEDriver$/vioscsi/…
//! cert/virtio-storage-test.cer                    import it first, in test-signing mode
//! data/info.json                                  which driver is where, for programs
//! ```

use crate::certificate::CER_FILE;
use crate::context::{Context, civil};
use crate::driver::Arch;
use crate::package::{Package, WINDOWS, folder, set_file};
use crate::tool::XORRISO;
use crate::version_resource::COMPANY;
use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

/// The folder in which Windows Setup looks for drivers on every drive.
pub const SETUP_FOLDER: &str = "$WinPEDriver$";

/// Writes the ISO with `packages` to `output`. Only packages of the first one's architecture go into
/// [`SETUP_FOLDER`]: Setup would try all of them.
///
/// # Errors
/// When a package is incomplete, `output` cannot be written, or xorriso is missing or fails.
pub fn build(context: &Context, packages: &[Package], output: &Path) -> Result<()> {
    ensure!(!packages.is_empty(), "there is no package for the ISO");
    let parent = output.parent().context("the ISO needs a folder")?;
    fs::create_dir_all(parent).with_context(|| format!("{} cannot be made", parent.display()))?;
    let work = tempfile::Builder::new().prefix(".new-").tempdir_in(parent)?;
    let tree = work.path().join("tree");
    fs::create_dir(&tree)?;
    lay_out(context, packages, &tree)?;
    set_dates(&tree, context.time)?;

    let image = work.path().join("new.iso");
    let arguments: Vec<OsString> = [
        // Nobody's start-up file.
        "-no_rc".into(),
        "-as".into(),
        "mkisofs".into(),
        "-quiet".into(),
        "-iso-level".into(),
        "3".into(),
        "-J".into(),
        "-joliet-long".into(),
        "-r".into(),
        "-V".into(),
        volume_id(context).into(),
        format!("--modification-date={}", iso_date(context.time)?).into(),
        "--set_all_file_dates".into(),
        "set_to_mtime".into(),
        "-o".into(),
        image.clone().into(),
        tree.into(),
    ]
    .into();
    XORRISO.run(arguments).with_context(|| format!("{} could not be written", output.display()))?;
    fs::rename(&image, output).with_context(|| format!("{} cannot be made", output.display()))?;
    Ok(())
}

/// At most 16 characters, or Joliet cuts it: `VIRTIO_RS_0_1_0`.
fn volume_id(context: &Context) -> String {
    let [a, b, c, _] = context.version.0;
    let mut id = format!("VIRTIO_RS_{a}_{b}_{c}");
    id.truncate(16);
    id
}

fn lay_out(context: &Context, packages: &[Package], tree: &Path) -> Result<()> {
    let setup_arch = packages[0].arch;
    for package in packages {
        let place = folder(tree, package.driver, package.arch);
        copy(package, &["inf", "sys", "cat", "pdb"], &place)?;
        if package.arch == setup_arch {
            copy(package, &["inf", "sys", "cat"], &tree.join(SETUP_FOLDER).join(package.driver.name))?;
        }
    }
    fs::create_dir(tree.join("cert"))?;
    fs::copy(&context.certificate.cer, tree.join("cert").join(CER_FILE))
        .with_context(|| format!("{} cannot be copied", context.certificate.cer.display()))?;
    fs::create_dir(tree.join("data"))?;
    fs::write(tree.join("data").join("info.json"), info(context, packages)?)?;
    Ok(())
}

fn copy(package: &Package, extensions: &[&str], place: &Path) -> Result<()> {
    fs::create_dir_all(place)?;
    for extension in extensions {
        let name = package.driver.file(extension);
        let from = package.folder.join(&name);
        fs::copy(&from, place.join(&name))
            .with_context(|| format!("{} is missing in the package", from.display()))?;
    }
    Ok(())
}

/// The manifest, with the field names of virtio-win's `info.json`.
fn info(context: &Context, packages: &[Package]) -> Result<String> {
    let drivers: Vec<_> = packages
        .iter()
        .map(|package| {
            let Package { driver, arch, .. } = package;
            json!({
                "name": driver.description,
                "arch": arch.inf_name(),
                "windows_version": WINDOWS,
                "driver_version": context.version.to_string(),
                "manufacturer": COMPANY,
                "inf_path": format!("{}/{WINDOWS}/{}/{}", driver.name, arch.folder(), driver.file("inf")),
                "hardware_ids": driver.hardware_ids,
            })
        })
        .collect();
    let date = civil(context.time)?.date().to_string();
    let text =
        serde_json::to_string_pretty(&json!({ "date": date, "test_signed": true, "drivers": drivers }))?;
    Ok(text + "\n")
}

fn set_dates(path: &Path, time: i64) -> Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            set_dates(&entry?.path(), time)?;
        }
    }
    // A folder after its content, which changes its date.
    set_file(path, time)
}

/// YYYYMMDDhhmmsscc
fn iso_date(time: i64) -> Result<String> {
    let date = civil(time)?;
    let (year, month, day) = date.to_calendar_date();
    let (hour, minute, second) = date.to_hms();
    Ok(format!("{year:04}{:02}{day:02}{hour:02}{minute:02}{second:02}00", u8::from(month)))
}

/// The path on the ISO of one of a driver's files, for [`crate::extract::extract`].
pub fn path_of(driver: &crate::Driver, arch: Arch, extension: &str) -> String {
    format!("{}/{WINDOWS}/{}/{}", driver.name, arch.folder(), driver.file(extension))
}
