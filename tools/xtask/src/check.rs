//! `./x check`: what a reviewer should not have to look for.

use crate::build;
use crate::command::step;
use crate::drivers;
use crate::fuzz;
use crate::hygiene;
use crate::screen::{Screen, seconds};
use crate::stages::{Stage, Tally, work_through};
use crate::workspace::Workspace;
use anyhow::{Context as _, Result};
use clap::Args;
use std::process::Command;
use std::time::Instant;

/// What to check.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Only checks whose name contains this; may be given several times
    #[arg(long, value_name = "TEXT")]
    filter: Vec<String>,
}

/// Runs the verb.
///
/// # Errors
/// None: what fails is printed and makes the answer `false`.
pub fn verb(workspace: &Workspace, screen: &mut Screen, arguments: &Arguments) -> Result<bool> {
    let started = Instant::now();
    // Whatever can be said in a second comes first.
    let stages = vec![
        Stage::new("rules of the tree", |_| hygiene::check(&workspace.root)),
        Stage::new("shellcheck", |screen| shellcheck(workspace, screen)),
        Stage::new("rustfmt", |screen| rustfmt(workspace, screen)),
        Stage::new("clippy, host", |screen| {
            let what = ["--workspace", "--exclude", "stand", "--all-targets", "--all-features"];
            clippy(screen, workspace.cargo(), &what)
        }),
        Stage::new("clippy, stand's logic", |screen| {
            clippy(screen, workspace.cargo(), &["--package", "stand", "--lib", "--tests"])
        }),
        Stage::new("clippy, stand on the bare machine", |screen| {
            let what = ["--package", "stand", "--release", "--target", "x86_64-unknown-none"];
            clippy(screen, workspace.cargo(), &what)
        }),
        Stage::new("driver code for Windows, by plain cargo", |screen| plain_cargo(workspace, screen)),
        Stage::new("clippy, driver images for Windows", |screen| clippy_images(workspace, screen)),
        Stage::new("clippy, fuzz targets", |screen| {
            let mut cargo = workspace.cargo();
            cargo.current_dir(workspace.root.join(fuzz::CRATE));
            clippy(screen, cargo, &["--locked", "--lib", "--bins", "--tests"])
        }),
        Stage::new("rustdoc", |screen| {
            let mut cargo = workspace.cargo();
            cargo.args(["doc", "--quiet", "--no-deps", "--workspace", "--exclude", "stand"]);
            one(screen, "rustdoc", cargo.env("RUSTDOCFLAGS", "-D warnings"))
        }),
    ];
    let total = work_through(screen, stages, &arguments.filter);
    let time = seconds(started.elapsed());
    screen.line(&format!("check: {} passed, {} failed in {time}", total.passed, total.failed.len()));
    Ok(total.failed.is_empty())
}

/// A program whose success is one check.
fn one(screen: &mut Screen, what: &str, command: &mut Command) -> Result<Tally> {
    let mut tally = Tally::default();
    step(screen, what, command)?;
    tally.expect(what, true);
    Ok(tally)
}

fn clippy(screen: &mut Screen, mut cargo: Command, what: &[&str]) -> Result<Tally> {
    one(screen, "clippy", cargo.args(["clippy", "--quiet"]).args(what).args(["--", "-D", "warnings"]))
}

/// Driver code as an editor looks at it, and who types it (README, "In an editor"): without the build's flags and variables.
fn plain_cargo(workspace: &Workspace, screen: &mut Screen) -> Result<Tally> {
    build::patch_images(&workspace.root)?;
    let plain = |verb| {
        let mut cargo = workspace.cargo();
        cargo.args([verb, "--quiet", "--locked"]).env_remove("WDKContentRoot");
        cargo
    };
    let mut storport = plain("clippy");
    storport.args(["--package", "storport", "--target", build::Architecture::Amd64.target()]);
    let mut tally = one(screen, "clippy, storport", storport.args(["--", "-D", "warnings"]))?;
    let mut images = plain("check");
    images.current_dir(workspace.root.join("drivers/image"));
    tally.add(one(screen, "cargo check, images", &mut images)?);
    Ok(tally)
}

/// The images are a workspace of their own, for Windows, with the stand-in for wdk-build; see `build`. The kit's content
/// root must have been put together, which the build does.
fn clippy_images(workspace: &Workspace, screen: &mut Screen) -> Result<Tally> {
    drivers::build(workspace, screen, &drivers::Arguments::default())?;
    let kit = workspace.root.join("tools/wdk-kit");
    let mut cargo = workspace.cargo();
    cargo
        .current_dir(workspace.root.join("drivers/image"))
        .args(["clippy", "--locked", "--quiet", "--release", "--lib"])
        .args(["--target", build::Architecture::Amd64.target(), "--target-dir"])
        .arg(workspace.output("image"))
        .args(["--", "-D", "warnings"])
        .env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static")
        .env("RUSTC_WRAPPER", kit.join("rustc-same-everywhere"))
        .env("WDKContentRoot", workspace.output("wdk-kit"))
        .env_remove("CARGO_TARGET_DIR");
    one(screen, "clippy", &mut cargo)
}

fn rustfmt(workspace: &Workspace, screen: &mut Screen) -> Result<Tally> {
    let mut tally = one(screen, "cargo fmt", workspace.cargo().args(["fmt", "--all", "--check"]))?;
    // Cargo only goes into its own workspace. rustfmt follows the modules of a crate's root by itself.
    let outside = [
        "drivers/common/virtio/fuzz/src/lib.rs",
        "drivers/common/virtio/fuzz/fuzz_targets/",
        "drivers/vioscsi/image/",
        "drivers/viostor/image/",
        "tests/stand/misdeed/",
        "tools/wdk-kit/lib/",
    ];
    let is_root = |name: &String| {
        ["lib.rs", "build.rs", "load_config.rs"].iter().any(|file| name.ends_with(file))
            || name.contains("/fuzz_targets/")
    };
    let mut files = hygiene::files(&workspace.root)?;
    files.retain(|name| is_root(name) && outside.iter().any(|place| name.starts_with(place)));
    for place in outside {
        tally.expect(&format!("{place}: has files"), files.iter().any(|name| name.starts_with(place)));
    }
    let mut rustfmt = Command::new("rustfmt");
    rustfmt.current_dir(&workspace.root).args(["--check", "--edition", "2024"]).args(&files);
    tally.add(one(screen, "rustfmt", &mut rustfmt)?);
    Ok(tally)
}

fn shellcheck(workspace: &Workspace, screen: &mut Screen) -> Result<Tally> {
    let is_script = |name: &String| {
        let start = std::fs::read(workspace.root.join(name)).unwrap_or_default();
        [&b"#!/bin/sh"[..], b"#!/usr/bin/env bash", b"#!/bin/bash"].iter().any(|line| start.starts_with(line))
    };
    let scripts: Vec<String> = hygiene::files(&workspace.root)?.into_iter().filter(is_script).collect();
    let mut shellcheck = Command::new("shellcheck");
    shellcheck.current_dir(&workspace.root).args(&scripts);
    one(screen, "shellcheck", &mut shellcheck)
        .context("on Debian or Ubuntu shellcheck comes with: sudo apt-get install shellcheck")
}
