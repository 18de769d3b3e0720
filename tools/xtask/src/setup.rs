//! `./x setup`: the script has installed what was missing; here is what will be used.

use crate::command::{Stream, stream};
use crate::qemu::{OLDEST, Qemu};
use crate::screen::Screen;
use crate::workspace::Workspace;
use anyhow::Result;
use std::process::Command;
use std::time::Duration;

/// Runs the verb.
///
/// # Errors
/// None so far: what is missing is printed and makes the answer `false`.
pub fn verb(workspace: &Workspace, screen: &mut Screen) -> Result<bool> {
    let mut complete = true;
    let mut row = |what: &str, found: Result<String>| {
        complete &= found.is_ok();
        screen.line(&format!("{what:<14} {}", found.unwrap_or_else(|error| format!("MISSING: {error:#}"))));
    };
    row("rustc", version("rustc", &["--version"]));
    row("osslsigncode", version("osslsigncode", &["--version"]));
    row("openssl", version("openssl", &["version"]));
    row("xorriso", version("xorriso", &["-version"]));
    row("7z", version("7z", &["i"]));
    row(
        "llvm-rc",
        packaging::tool::find_versioned(&packaging::tool::LLVM_RC).map(|path| path.display().to_string()),
    );
    row("QEMU", Qemu::find(None).map(|qemu| format!("{} ({OLDEST} or later will do)", qemu.name)));
    screen.line(&format!("{:<14} {}", "outputs", workspace.show(&workspace.target)));
    Ok(complete)
}

/// The first line that says something.
fn version(program: &str, arguments: &[&str]) -> Result<String> {
    let ended = stream(Command::new(program).args(arguments), Some(Duration::from_secs(20)), |_| ())?;
    let lines = ended.of(Stream::Out).chain(ended.of(Stream::Err));
    Ok(lines.map(str::trim).find(|line| !line.is_empty()).unwrap_or("(says nothing)").to_owned())
}
