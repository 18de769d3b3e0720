//! Other people's programs: how they are found and run, and which Debian package has them.

use anyhow::{Context as _, Result, bail};
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A program that packaging runs.
#[derive(Clone, Copy, Debug)]
pub struct Tool {
    /// Name on the search path.
    pub program: &'static str,
    /// The Debian package that has it.
    pub package: &'static str,
}

/// Signs and verifies images and catalogues.
pub const OSSLSIGNCODE: Tool = Tool { program: "osslsigncode", package: "osslsigncode" };
/// Makes the test certificate and prints certificates and ASN.1.
pub const OPENSSL: Tool = Tool { program: "openssl", package: "openssl" };
/// Writes the ISO and takes files out of it.
pub const XORRISO: Tool = Tool { program: "xorriso", package: "xorriso" };
/// Reads the ISO's Joliet tree.
pub const SEVEN_ZIP: Tool = Tool { program: "7z", package: "p7zip-full" };
/// Compiles the version resource.
pub const LLVM_RC: Tool = Tool { program: "llvm-rc", package: "llvm" };
/// Knows the date of the last commit.
pub const GIT: Tool = Tool { program: "git", package: "git" };

/// What a program printed and how it ended.
#[derive(Clone, Debug)]
pub struct Output {
    /// Whether the exit code was 0.
    pub success: bool,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Output {
    /// The last line that says something, for a message of one line.
    pub fn last_line(&self) -> String {
        let lines =
            |text: &str| text.lines().rev().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned);
        lines(&self.stderr).or_else(|| lines(&self.stdout)).unwrap_or_else(|| "it printed nothing".to_owned())
    }
}

impl Tool {
    /// Runs the program and takes a non-zero exit code for an error.
    ///
    /// # Errors
    /// When it is not installed (the message names the package), or fails (the message has its last line).
    pub fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Result<Output> {
        let output = self.try_run(arguments)?;
        if !output.success {
            bail!("{} failed: {}", self.program, output.last_line());
        }
        Ok(output)
    }

    /// Runs the program; its exit code is part of the answer.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn try_run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Result<Output> {
        start(self, Path::new(self.program), arguments, None)
    }
}

/// Runs `program`, which is `tool` under a path of its own, in `folder` when one is given.
pub(crate) fn start<A: AsRef<OsStr>>(
    tool: &Tool,
    program: &Path,
    arguments: impl IntoIterator<Item = A>,
    folder: Option<&Path>,
) -> Result<Output> {
    // Messages are searched for words, and dates must not depend on where the machine stands.
    let mut command = Command::new(program);
    command.args(arguments).env("LC_ALL", "C.UTF-8").env("TZ", "UTC").stdin(Stdio::null());
    if let Some(folder) = folder {
        command.current_dir(folder);
    }
    match command.output() {
        Ok(output) => Ok(Output {
            success: output.status.success(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }),
        Err(error) if error.kind() == ErrorKind::NotFound => bail!(missing(tool)),
        Err(error) => Err(error).with_context(|| format!("{} could not be started", program.display())),
    }
}

/// Finds a program that distributions also install as `name-<version>` (LLVM's tools), the newest such one first.
///
/// # Errors
/// When there is none; the message names the Debian package.
pub fn find_versioned(tool: &Tool) -> Result<PathBuf> {
    let search = std::env::var_os("PATH").unwrap_or_default();
    let plain =
        std::env::split_paths(&search).map(|folder| folder.join(tool.program)).find(|path| path.is_file());
    plain
        .or_else(|| {
            (14..=40).rev().map(|version| format!("/usr/lib/llvm-{version}/bin/{}", tool.program)).find_map(
                |path| {
                    let path = PathBuf::from(path);
                    path.is_file().then_some(path)
                },
            )
        })
        .with_context(|| missing(tool))
}

fn missing(tool: &Tool) -> String {
    format!("{} is not installed; on Debian or Ubuntu: sudo apt-get install {}", tool.program, tool.package)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_reported_with_its_package() {
        let tool = Tool { program: "no-such-program-anywhere", package: "its-package" };
        let error = tool.run(["x"]).unwrap_err().to_string();
        assert!(error.contains("no-such-program-anywhere is not installed"), "{error}");
        assert!(error.contains("apt-get install its-package"), "{error}");
    }

    #[test]
    fn a_failing_program_is_reported_with_its_last_line() {
        let error = OPENSSL.run(["x509", "-in", "/nonexistent"]).unwrap_err().to_string();
        assert!(error.starts_with("openssl failed: "), "{error}");
    }
}
