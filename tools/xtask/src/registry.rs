//! Cargo's helpers from the crates registry, in pinned versions, installed when a verb first needs them. They go below the
//! target folder: whoever works here keeps what they have in their own.

use crate::command::step;
use crate::screen::Screen;
use crate::workspace::Workspace;
use anyhow::Result;
use std::path::PathBuf;

/// A program of a crate of the same name.
#[derive(Clone, Copy, Debug)]
pub struct Helper {
    name: &'static str,
    version: &'static str,
}

/// Builds and runs the fuzz targets.
pub const CARGO_FUZZ: Helper = Helper { name: "cargo-fuzz", version: "0.13.1" };
/// Counts the lines that tests reach.
pub const CARGO_LLVM_COV: Helper = Helper { name: "cargo-llvm-cov", version: "0.9.1" };

impl Helper {
    /// Where it is, after installing it if it is not there.
    ///
    /// # Errors
    /// It cannot be built, or there is no network.
    pub fn install(self, workspace: &Workspace, screen: &mut Screen) -> Result<PathBuf> {
        let folder = workspace.output(&format!("tools/{}-{}", self.name, self.version));
        let program = folder.join("bin").join(self.name);
        if program.is_file() {
            return Ok(program);
        }
        let build = workspace.output("tools/build");
        screen.line(&format!("installing {} {}", self.name, self.version));
        let mut cargo = workspace.cargo();
        // It only starts other programs, so it need not be optimized, which takes twice as long.
        cargo.args(["install", self.name, "--version", self.version, "--locked", "--debug", "--root"]);
        cargo.arg(&folder).arg("--target-dir").arg(&build);
        step(screen, &format!("cargo install {}", self.name), &mut cargo)?;
        // Never needed again; that it is there does no harm.
        let _ = std::fs::remove_dir_all(build);
        Ok(program)
    }
}
