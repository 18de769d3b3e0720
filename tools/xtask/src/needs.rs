//! What a verb needs of the machine besides Rust, and whether it is there. Each thing is asked for in the way the verb
//! uses it later: programs are run, libclang is loaded as bindgen loads it. A name among the files proves little: LLVM's
//! own `libclang-cpp.so.14` is no libclang.
//!
//! `x` asks before it starts a verb (`xtask --missing VERB ...`), installs what the answer names, and asks again.

use crate::command::{Stream, stream};
use crate::qemu::{OLDEST, Qemu};
use anyhow::{Context as _, Result, anyhow, ensure};
use packaging::tool::{LLVM_RC, OPENSSL, OSSLSIGNCODE, SEVEN_ZIP, Tool, XORRISO, find_versioned};
use std::process::Command;
use std::time::Duration;

/// Longest wait for a program that says its version.
const PATIENCE: Duration = Duration::from_secs(20);

/// One thing that has to be on the machine.
#[derive(Clone, Copy, Debug)]
pub struct Need {
    /// What it is called.
    pub name: &'static str,
    /// The Debian package that brings it.
    pub package: &'static str,
    ask: fn() -> Result<String>,
}

impl Need {
    /// Tries it, and tells its version or place.
    ///
    /// # Errors
    /// It is not there, or of no use. The message says why.
    pub fn ask(&self) -> Result<String> {
        (self.ask)()
    }
}

/// Reads the WDK's headers for bindgen.
pub const LIBCLANG: Need = Need { name: "libclang", package: "libclang-dev", ask: libclang };
/// Compiles version resources.
pub const RC: Need = Need { name: LLVM_RC.program, package: LLVM_RC.package, ask: llvm_rc };
const SIGNER: Need = tool(OSSLSIGNCODE, || version(OSSLSIGNCODE.program, &["--version"]));
const SSL: Need = tool(OPENSSL, || version(OPENSSL.program, &["version"]));
const ISO: Need = tool(XORRISO, || version(XORRISO.program, &["-version"]));
const JOLIET: Need = tool(SEVEN_ZIP, || version(SEVEN_ZIP.program, &["i"]));
const QEMU: Need = Need { name: "QEMU", package: "qemu-system-x86", ask: qemu };
/// The other implementation of virtio's devices. Debian 12 has it in what QEMU's package brings, Debian 13 in this one.
const STORAGE_DAEMON: Need = Need {
    name: "qemu-storage-daemon",
    package: "qemu-utils",
    ask: || version("qemu-storage-daemon", &["--version"]),
};
/// The fuzzer's runtime is C++.
pub const CXX: Need = Need { name: "c++", package: "g++", ask: || version("c++", &["--version"]) };
/// Counts instructions.
pub const VALGRIND: Need =
    Need { name: "valgrind", package: "valgrind", ask: || version("valgrind", &["--version"]) };
/// Reads the shell scripts.
pub const SHELLCHECK: Need =
    Need { name: "shellcheck", package: "shellcheck", ask: || version("shellcheck", &["--version"]) };
/// Makes a bare Debian in a folder.
pub const DEBOOTSTRAP: Need =
    Need { name: "debootstrap", package: "debootstrap", ask: || version("debootstrap", &["--version"]) };

/// To build the drivers.
pub const TO_BUILD: &[Need] = &[LIBCLANG, RC];
/// To build, sign and pack them.
pub const TO_PACKAGE: &[Need] = &[LIBCLANG, RC, SIGNER, SSL, ISO, JOLIET];
/// To boot a driver that is there.
pub const TO_BOOT: &[Need] = &[QEMU];
/// All of that.
pub const TO_RUN: &[Need] = &[LIBCLANG, RC, SIGNER, SSL, ISO, JOLIET, QEMU];
/// To run the tests, and suites on the drivers of this tree.
pub const TO_TEST: &[Need] = &[LIBCLANG, RC, SIGNER, SSL, ISO, JOLIET, QEMU, STORAGE_DAEMON];
/// To check the tree.
pub const TO_CHECK: &[Need] = &[LIBCLANG, RC, SHELLCHECK];

/// The Debian packages of what is not there. `own_qemu`: the caller brings a QEMU.
pub fn missing(needs: &[Need], own_qemu: bool) -> Vec<&'static str> {
    needs
        .iter()
        .filter(|need| !(own_qemu && need.name == QEMU.name) && need.ask().is_err())
        .map(|need| need.package)
        .collect()
}

/// Loads libclang with what bindgen uses for that (clang-sys), so with its search path and its checks.
///
/// # Errors
/// There is none that can be loaded.
pub fn libclang() -> Result<String> {
    clang_sys::load().map_err(|reason| {
        anyhow!(
            "libclang, which reads the headers, cannot be loaded ({reason}). Run `./x setup`, or install it (Debian, \
             Ubuntu: libclang-dev; Fedora: clang-libs; elsewhere: set LIBCLANG_PATH to the folder it is in)"
        )
    })?;
    let library = clang_sys::get_library().context("libclang was loaded and is gone")?;
    Ok(library.path().display().to_string())
}

const fn tool(tool: Tool, ask: fn() -> Result<String>) -> Need {
    Need { name: tool.program, package: tool.package, ask }
}

fn llvm_rc() -> Result<String> {
    let path = find_versioned(&LLVM_RC)?;
    // It has no --version; its help is the least that it does.
    let program = path.display().to_string();
    version(&program, &["/?"])?;
    Ok(program)
}

fn qemu() -> Result<String> {
    Qemu::find(None).map(|qemu| format!("{} ({OLDEST} or later will do)", qemu.name))
}

/// The first line that says something, of a program that ends well.
fn version(program: &str, arguments: &[&str]) -> Result<String> {
    let ended = stream(Command::new(program).args(arguments), Some(PATIENCE), |_| ())?;
    let lines = ended.of(Stream::Out).chain(ended.of(Stream::Err));
    let line = lines.map(str::trim).find(|line| !line.is_empty()).unwrap_or("(says nothing)").to_owned();
    ensure!(ended.success(), "{program} does not run: {line}");
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_start_or_fails_is_missing() {
        let absent = Need { name: "no", package: "absent", ask: || version("no-such-program", &[]) };
        let broken = Need { name: "false", package: "broken", ask: || version("false", &[]) };
        let works = Need { name: "true", package: "works", ask: || version("true", &[]) };

        assert_eq!(missing(&[absent, works, broken], false), ["absent", "broken"]);
    }

    #[test]
    fn a_qemu_that_the_caller_brings_is_not_missing() {
        let old = Need { ask: || version("no-such-program", &[]), ..QEMU };

        assert_eq!(missing(&[old], false), ["qemu-system-x86"]);
        assert!(missing(&[old], true).is_empty());
    }

    /// bindgen has a clang-sys of its own when the versions differ; what is asked here would say nothing then.
    #[test]
    fn libclang_is_asked_for_with_the_crate_that_bindgen_uses() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
        let version_in = |lock: &str| {
            let text = std::fs::read_to_string(format!("{root}/{lock}")).unwrap();
            let package = text.split("[[package]]").find(|package| package.contains("name = \"clang-sys\""));
            package.and_then(|package| package.split("version = ").nth(1)?.lines().next().map(str::to_owned))
        };

        assert_eq!(version_in("Cargo.lock"), version_in("drivers/image/Cargo.lock"));
    }
}
