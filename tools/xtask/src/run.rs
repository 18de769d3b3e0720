//! `./x run`: from the sources to both drivers at work on QEMU's disks.

use crate::boot::{self, Show, Trial};
use crate::drivers;
use crate::failed;
use crate::machine::{Kind, Machine};
use crate::package;
use crate::screen::{Screen, seconds};
use crate::workspace::Workspace;
use anyhow::{Result, bail};
use clap::Args;
use packaging::{Arch, Driver, driver, extract, iso};
use std::path::PathBuf;
use std::time::Instant;

/// How to run.
#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    drivers: drivers::Arguments,
    #[command(flatten)]
    pub boot: boot::Options,
}

/// The kind of device a driver of this project is for.
pub fn kind(driver: &Driver) -> Kind {
    if driver.name == driver::VIOSTOR.name { Kind::Blk } else { Kind::Scsi }
}

/// Takes a driver's image out of the ISO: what is run is what is delivered.
///
/// # Errors
/// When the ISO has no such file.
pub fn image_from_iso(workspace: &Workspace, driver: &Driver) -> Result<PathBuf> {
    let image = workspace.output("run").join(driver.file("sys"));
    extract::extract(&workspace.iso(), &iso::path_of(driver, Arch::Amd64, "sys"), &image)?;
    Ok(image)
}

/// Runs the verb.
///
/// # Errors
/// When a step cannot be done. Failed checks are no error but the answer `false`.
pub fn verb(workspace: &Workspace, screen: &mut Screen, arguments: &Arguments) -> Result<bool> {
    let started = Instant::now();
    // Before minutes of building.
    let qemu = arguments.boot.find_qemu(workspace)?;
    package::make(workspace, screen, &arguments.drivers)?;
    boot::build_stand(workspace, screen)?;

    let machine = Machine::both(",disable-legacy=on");
    let (mut passed, mut complaints) = (0, Vec::new());
    for driver in driver::ALL {
        let image = image_from_iso(workspace, driver)?;
        screen.line("");
        screen.line(&format!(
            "{} from {} on QEMU {}",
            driver.file("sys"),
            workspace.show(&workspace.iso()),
            qemu.name
        ));
        let kind = kind(driver);
        let trial = Trial::new(&image, kind.ids(), Some(kind), &machine);
        let with = (&qemu, &arguments.boot);
        let report = failed::boot_or_keep(workspace, screen, with, (driver.name, &trial), Show::All)?;
        passed += report.passed;
        complaints
            .extend(boot::complaint(&report, &arguments.boot).map(|text| format!("{}: {text}", driver.name)));
    }
    screen.line("");
    if !complaints.is_empty() {
        bail!("{} ({passed} checks passed)", complaints.join("; "));
    }
    screen.line(&format!("{passed} checks passed in {}", seconds(started.elapsed())));
    Ok(true)
}
