//! `./x setup`: the script has installed what was missing; here is what will be used. From then on plain cargo, and an
//! editor, can look at the driver images too.

use crate::build;
use crate::needs::TO_TEST;
use crate::screen::Screen;
use crate::workspace::Workspace;
use anyhow::Result;
use std::process::Command;

/// Runs the verb.
///
/// # Errors
/// The tree cannot be written to. What is missing is printed and makes the answer `false`.
pub fn verb(workspace: &Workspace, screen: &mut Screen) -> Result<bool> {
    build::patch_images(&workspace.root)?;
    let rustc = Command::new("rustc").arg("--version").output()?;
    screen.line(&format!("{:<20} {}", "rustc", String::from_utf8_lossy(&rustc.stdout).trim()));
    let mut lacking = Vec::new();
    for need in TO_TEST {
        let found = need.ask();
        if found.is_err() {
            lacking.push(need.package);
        }
        let found = found.unwrap_or_else(|error| format!("MISSING: {error:#}"));
        screen.line(&format!("{:<20} {found}", need.name));
    }
    screen.line(&format!("{:<20} {}", "outputs", workspace.show(&workspace.target)));
    if !lacking.is_empty() {
        screen.line(&format!("missing: {}", lacking.join(" ")));
    }
    Ok(lacking.is_empty())
}
