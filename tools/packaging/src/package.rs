//! The whole chain for one driver: from the linked image to the folder that Windows installs from.

use crate::catalogue::{Catalogue, File};
use crate::certificate::CER_FILE;
use crate::context::Context;
use crate::driver::{Arch, Driver};
use crate::inf::Inf;
use crate::mode::make_public;
use crate::{image, lint, sign, stamp};
use anyhow::{Context as _, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};

/// The Windows folder of a package's path, as virtio-win names it.
pub const WINDOWS: &str = "w11";

/// What a package is made of.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// Which driver it is.
    pub driver: &'static Driver,
    /// For which processor.
    pub arch: Arch,
    /// The linked, unsigned image.
    pub image: &'a Path,
    /// Its debug information.
    pub symbols: &'a Path,
    /// The template of its INF.
    pub template: &'a Path,
}

/// A finished package.
#[derive(Clone, Debug)]
pub struct Package {
    /// Which driver it is.
    pub driver: &'static Driver,
    /// For which processor.
    pub arch: Arch,
    /// The folder with the files.
    pub folder: PathBuf,
    /// What the checks found that does not stop the package.
    pub warnings: Vec<String>,
}

/// Where the package of `driver` is under `packages`: `<driver>/w11/<arch>`, on disk and on the ISO.
pub fn folder(packages: &Path, driver: &Driver, arch: Arch) -> PathBuf {
    packages.join(driver.name).join(WINDOWS).join(arch.folder())
}

/// Makes the package of one driver under `packages` (usually `target/package`). A package that was there is replaced,
/// but only by a complete one.
///
/// # Errors
/// When an input is missing, the image or the INF breaks a rule (the message lists all of them), or a tool fails.
pub fn build(context: &Context, input: Input<'_>, packages: &Path) -> Result<Package> {
    let driver = input.driver;
    let output = folder(packages, driver, input.arch);
    fs::create_dir_all(packages).with_context(|| format!("{} cannot be made", packages.display()))?;
    // Beside the packages, so that the last step is a rename within one file system.
    let work = tempfile::Builder::new().prefix(".new-").tempdir_in(packages)?;
    let path = |extension: &str| work.path().join(driver.file(extension));
    let mut warnings = Vec::new();

    // The image.
    for (what, file) in
        [("driver image", input.image), ("PDB", input.symbols), ("INF template", input.template)]
    {
        ensure!(file.is_file(), "there is no {what} {}; build it first", file.display());
    }
    copy(input.symbols, &path("pdb"))?;
    let expected = image::Expected {
        arch: input.arch,
        version: Some(context.version),
        symbols: Some(input.symbols),
        file_name: Some(&driver.file("sys")),
    };
    let findings = image::check_file(input.image, &expected)?;
    accept(
        input.image,
        findings.iter().map(|finding| (finding.is_error, finding.to_string())),
        &mut warnings,
    )?;
    sign::sign_image(context, input.image, &path("sys"))?;

    // The INF.
    let stamped = stamp::stamp(input.template, input.arch, context.time, context.version)?;
    fs::write(path("inf"), &stamped)?;
    let findings =
        lint::lint(&stamped, &lint::Expected { driver, arch: input.arch, version: context.version });
    accept(
        input.template,
        findings.iter().map(|finding| (finding.is_error, finding.to_string())),
        &mut warnings,
    )?;

    // The catalogue: the INF and every file it copies.
    let inf = Inf::parse(&stamped)?;
    let mut files = vec![File::read(&path("inf"))?];
    for name in inf.source_files() {
        files.push(File::read(&work.path().join(name))?);
    }
    let catalogue = Catalogue {
        files: &files,
        os: input.arch.catalogue_os(),
        hardware_ids: &inf.hardware_ids(),
        time: context.time,
    };
    let unsigned = path("cat.unsigned");
    fs::write(&unsigned, catalogue.to_der()?)?;
    sign::sign_catalogue(context, &unsigned, &path("cat"))?;
    fs::remove_file(&unsigned)?;
    copy(&context.certificate.cer, &work.path().join(CER_FILE))?;

    for entry in fs::read_dir(work.path())? {
        set_file(&entry?.path(), context.time)?;
    }
    if output.exists() {
        fs::remove_dir_all(&output).with_context(|| format!("{} cannot be replaced", output.display()))?;
    }
    fs::create_dir_all(output.parent().context("a package needs a folder")?)?;
    let finished = work.keep();
    fs::rename(&finished, &output).with_context(|| format!("{} cannot be made", output.display()))?;
    make_public(&output)?;
    Ok(Package { driver, arch: input.arch, folder: output, warnings })
}

/// Stops on errors, all of them in one message; keeps warnings.
fn accept(
    file: &Path,
    findings: impl Iterator<Item = (bool, String)>,
    warnings: &mut Vec<String>,
) -> Result<()> {
    let (errors, others): (Vec<_>, Vec<_>) = findings.partition(|(is_error, _)| *is_error);
    warnings.extend(others.into_iter().map(|(_, text)| format!("{}: {text}", file.display())));
    let lines: Vec<String> =
        errors.into_iter().map(|(_, text)| format!("{}: {text}", file.display())).collect();
    ensure!(lines.is_empty(), "{}", lines.join("\n"));
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("{} cannot be copied", from.display()))?;
    Ok(())
}

/// The same mode and date for everybody, whatever the umask and however the file came here.
pub(crate) fn set_file(path: &Path, time: i64) -> Result<()> {
    make_public(path)?;
    let seconds = u64::try_from(time).context("a date before 1970")?;
    let moment = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
    fs::File::open(path)?.set_modified(moment).with_context(|| format!("{}: date", path.display()))?;
    Ok(())
}
