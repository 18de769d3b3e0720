//! Takes files out of an ISO, by its Rock Ridge names with xorriso or by its Joliet names (Windows' view) with 7z.

use crate::tool::{SEVEN_ZIP, XORRISO};
use anyhow::{Context as _, Result, ensure};
use std::ffi::OsString;
use std::fs;
use std::path::Path;

/// Copies the file or folder `inside` of `iso`, such as `viostor/w11/amd64/viostor.sys`, to `output`.
///
/// # Errors
/// When the ISO cannot be read or has no such file, or xorriso is missing.
pub fn extract(iso: &Path, inside: &str, output: &Path) -> Result<()> {
    ensure!(iso.is_file(), "there is no ISO {}; make it first", iso.display());
    if let Some(folder) = output.parent() {
        fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    }
    let inside = format!("/{}", inside.trim_start_matches('/'));
    let arguments: [OsString; 9] = [
        "-no_rc".into(),
        "-indev".into(),
        iso.into(),
        "-osirrox".into(),
        // Files come out writable, and one from an earlier run is replaced.
        "on:sort_lba_off:auto_chmod_on".into(),
        "-overwrite".into(),
        "on".into(),
        "-extract".into(),
        inside.clone().into(),
    ];
    let result = XORRISO.try_run(arguments.into_iter().chain([output.into()]))?;
    ensure!(
        result.success && output.exists(),
        "{} could not be taken out of {}: {}",
        inside,
        iso.display(),
        failure(&result.stderr)
    );
    Ok(())
}

/// Takes the whole tree of `iso` out into `folder`, by the Joliet names, as Windows reads them.
///
/// # Errors
/// When the ISO cannot be read, or 7z is missing.
pub fn extract_all(iso: &Path, folder: &Path) -> Result<()> {
    ensure!(iso.is_file(), "there is no ISO {}; make it first", iso.display());
    let target = {
        let mut target = OsString::from("-o");
        target.push(folder);
        target
    };
    let arguments: [OsString; 5] = ["x".into(), "-y".into(), "-bd".into(), target, iso.into()];
    SEVEN_ZIP.run(arguments).with_context(|| format!("{} cannot be read", iso.display()))?;
    Ok(())
}

/// xorriso ends its report with a line that only says how bad it was; the reason stands in one marked FAILURE or FATAL.
fn failure(report: &str) -> String {
    let reason = report.lines().find(|line| line.contains("FAILURE : ") || line.contains("FATAL : "));
    reason.or_else(|| report.lines().last()).unwrap_or("xorriso printed nothing").trim().to_owned()
}
