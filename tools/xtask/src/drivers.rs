//! `./x build`: both drivers' images with their version resources.

use crate::build;
use crate::screen::{Screen, seconds};
use crate::workspace::Workspace;
use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use packaging::{driver, version_resource};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

/// How to build.
#[derive(Args, Clone, Debug, Default)]
#[group(skip)]
pub struct Arguments {
    /// Content root of a genuine WDK (with Include/ and Lib/, file names in lower case) to build against instead of
    /// the headers of this tree
    #[arg(long, value_name = "DIR")]
    pub wdk_root: Option<PathBuf>,
}

/// What to build.
#[derive(Args, Clone, Debug)]
pub struct BuildArguments {
    #[command(flatten)]
    common: Arguments,
    /// Processor to build for
    #[arg(long, value_enum, default_value_t)]
    arch: Processor,
}

/// A processor that the images can be built for. Packages and tests are for amd64 alone so far.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum Processor {
    /// x86-64
    #[default]
    Amd64,
    /// 64-bit ARM (compiled and linked, never run)
    Arm64,
}

/// Runs the verb.
///
/// # Errors
/// When the drivers do not compile or link.
pub fn verb(workspace: &Workspace, screen: &mut Screen, arguments: &BuildArguments) -> Result<bool> {
    let architecture = match arguments.arch {
        Processor::Amd64 => build::Architecture::Amd64,
        Processor::Arm64 => build::Architecture::Arm64,
    };
    build_for(workspace, screen, &arguments.common, architecture)?;
    Ok(true)
}

/// Builds both images, or lets cargo find that they are up to date.
///
/// # Errors
/// When they do not compile or link.
pub fn build(workspace: &Workspace, screen: &mut Screen, arguments: &Arguments) -> Result<Vec<build::Image>> {
    build_for(workspace, screen, arguments, build::Architecture::Amd64)
}

fn build_for(
    workspace: &Workspace,
    screen: &mut Screen,
    arguments: &Arguments,
    architecture: build::Architecture,
) -> Result<Vec<build::Image>> {
    let started = Instant::now();
    screen.progress("building viostor.sys and vioscsi.sys (a minute or two the first time)");
    let version = build::driver_version(&workspace.root)?.parse()?;
    let mut resources = BTreeMap::new();
    for driver in driver::ALL {
        let resource = version_resource::compile(driver, version, &workspace.output("resource"))?;
        resources.insert(driver.name.to_owned(), resource);
    }
    let options = build::Options {
        images: &build::DRIVERS,
        wdk_root: arguments.wdk_root.as_deref().map(|root| workspace.path_of_caller(root)),
        resources,
        architecture,
    };
    let images = build::run(&workspace.root, &workspace.target, &options)?;
    let shown: Vec<String> = images.iter().map(|image| workspace.show(&image.sys).to_string()).collect();
    screen.line(&format!("{:<9} {} ({})", "build", shown.join(" "), seconds(started.elapsed())));
    Ok(images)
}

/// Builds the miniport that breaks the stand's rules.
///
/// # Errors
/// When it does not compile or link.
pub fn build_misdeed(workspace: &Workspace, screen: &mut Screen) -> Result<PathBuf> {
    screen.progress("building misdeed.sys");
    let options = build::Options { images: &[build::MISDEED], ..build::Options::default() };
    let mut images = build::run(&workspace.root, &workspace.target, &options)?;
    let image = images.pop().context("there is no image")?;
    Ok(image.sys)
}
