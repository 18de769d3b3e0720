//! `./x package`: from the linked images to the driver ISO.

use crate::drivers;
use crate::fresh::Fresh;
use crate::screen::{Screen, seconds};
use crate::workspace::Workspace;
use anyhow::{Context as _, Result};
use packaging::package::Input;
use packaging::{Arch, Context, certificate, context, driver, iso, package};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Runs the verb.
///
/// # Errors
/// When a step cannot be done.
pub fn verb(workspace: &Workspace, screen: &mut Screen, arguments: &drivers::Arguments) -> Result<bool> {
    make(workspace, screen, arguments)?;
    Ok(true)
}

/// What decides the bytes of the packages besides their input files.
///
/// # Errors
/// When there is no date of the sources or no certificate can be made.
pub fn context(workspace: &Workspace) -> Result<Context> {
    let time = context::source_date(&workspace.root)?;
    let certificate = certificate::load_or_create(&workspace.output("cert"), time)?;
    Ok(Context { time, version: crate::build::driver_version(&workspace.root)?.parse()?, certificate })
}

/// Builds the drivers and makes packages and ISO, unless they are up to date.
///
/// # Errors
/// When a step cannot be done.
pub fn make(workspace: &Workspace, screen: &mut Screen, arguments: &drivers::Arguments) -> Result<()> {
    let linked = drivers::build(workspace, screen, arguments)?;
    let started = Instant::now();
    let context = context(workspace)?;
    let packages = workspace.packages();
    let iso = workspace.iso();

    let templates =
        linked.iter().map(|image| workspace.root.join("inf").join(image.driver).with_extension("inx"));
    let templates: Vec<PathBuf> = templates.collect();
    let mut inputs: Vec<&Path> = vec![&context.certificate.pem];
    inputs.extend(templates.iter().map(PathBuf::as_path));
    inputs.extend(linked.iter().flat_map(|image| [image.sys.as_path(), image.pdb.as_path()]));
    let words = [context.time.to_string(), context.version.to_string()];
    let fresh = Fresh::new(&iso.with_extension("inputs"), &inputs, &words)?;
    let outputs =
        driver::ALL.map(|driver| package::folder(&packages, driver, Arch::Amd64).join(driver.file("cat")));
    let what = format!("{:<9} {}", "package", workspace.show(&iso));
    if fresh.is(&[&[iso.as_path()], outputs.each_ref().map(|path| path.as_path()).as_slice()].concat()) {
        screen.line(&format!("{what} is up to date"));
        return Ok(());
    }

    screen.progress("packaging");
    let mut made = Vec::new();
    for (image, template) in linked.iter().zip(&templates) {
        let driver = driver::by_name(image.driver)?;
        let input = Input { driver, arch: Arch::Amd64, image: &image.sys, symbols: &image.pdb, template };
        let package = package::build(&context, input, &packages)
            .with_context(|| format!("package of {}", driver.name))?;
        for warning in &package.warnings {
            screen.line(&format!("warning: {warning}"));
        }
        made.push(package);
    }
    iso::build(&context, &made, &iso)?;
    fresh.save()?;
    screen.line(&format!("{what} with both packages, test-signed ({})", seconds(started.elapsed())));
    Ok(())
}
