//! The one nightly toolchain of this tree, and how it is started. Everything that ships is built with stable; Miri and
//! the fuzzers' instrumentation are to be had from nightly only.

use crate::command::step;
use crate::screen::Screen;
use crate::workspace::Workspace;
use anyhow::{Context as _, Result};
use std::ffi::OsStr;
use std::process::Command;

/// Dated: an undated nightly is another compiler every day, and what passes today fails tomorrow without a change here.
pub const NIGHTLY: &str = "nightly-2026-10-01";

/// The toolchain, installed.
#[derive(Debug)]
pub struct Nightly(());

impl Nightly {
    /// Installs the toolchain, or the components that it lacks.
    ///
    /// # Errors
    /// There is no rustup, or it cannot install them.
    pub fn install(screen: &mut Screen, components: &[&str]) -> Result<Self> {
        let installed =
            rustup().args(["component", "list", "--installed", "--toolchain", NIGHTLY]).output().context(
                "rustup could not be started; it is needed for a nightly toolchain (https://rustup.rs)",
            )?;
        // `miri-x86_64-unknown-linux-gnu`, but plain `rust-src`. Without the toolchain the list is empty.
        let installed = String::from_utf8_lossy(&installed.stdout).into_owned();
        let there = |component: &&str| installed.lines().any(|line| line.starts_with(*component));
        if installed.is_empty() || !components.iter().all(there) {
            screen.line(&format!("installing {NIGHTLY} {}", components.join(" ")));
            let mut rustup = rustup();
            rustup.args(["toolchain", "install", NIGHTLY, "--profile", "minimal", "--no-self-update"]);
            for component in components {
                rustup.args(["--component", component]);
            }
            step(screen, "rustup toolchain install", &mut rustup)?;
        }
        Ok(Self(()))
    }

    /// A program with this toolchain's cargo and rustc, in the tree.
    pub fn run(&self, workspace: &Workspace, program: impl AsRef<OsStr>) -> Command {
        let mut rustup = rustup();
        rustup.args(["run", NIGHTLY]).arg(program).current_dir(&workspace.root);
        rustup
    }
}

/// Through rustup: this program was started by stable's cargo, which knows no other toolchain and leaves its name in
/// the environment.
fn rustup() -> Command {
    let mut rustup = Command::new("rustup");
    rustup.env_remove("CARGO").env_remove("RUSTC").env_remove("RUSTDOC").env_remove("RUSTUP_TOOLCHAIN");
    rustup
}
