//! Where things are: the work tree and its outputs.

use anyhow::{Context as _, Result, bail};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The work tree and the folder for everything that is made from it.
#[derive(Clone, Debug)]
pub struct Workspace {
    /// The folder of the root `Cargo.toml`.
    pub root: PathBuf,
    /// `CARGO_TARGET_DIR`, or `target` in the root.
    pub target: PathBuf,
    /// Where relative paths on the command line start.
    caller: PathBuf,
}

impl Workspace {
    /// Finds the tree: `root` if given, else the one this program is run in by cargo, else the nearest above the
    /// current folder.
    ///
    /// # Errors
    /// When there is none.
    pub fn find(root: Option<&Path>) -> Result<Self> {
        let here = std::env::current_dir().context("the current folder is gone")?;
        let is_tree =
            |folder: &Path| folder.join("rust-toolchain.toml").is_file() && folder.join("drivers").is_dir();
        let from_cargo = || {
            let manifest = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR")?);
            Some(manifest.parent()?.parent()?.to_owned())
        };
        let root = match root {
            Some(root) => here.join(root),
            None => from_cargo()
                .filter(|folder| is_tree(folder))
                .or_else(|| here.ancestors().find(|folder| is_tree(folder)).map(Path::to_owned))
                .context("this is not the drivers' work tree; run ./x in it")?,
        };
        let target = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(folder) if !folder.is_empty() => here.join(folder),
            _ => root.join("target"),
        };
        let caller = std::env::var_os("XTASK_CALLER_DIR").map_or(here, PathBuf::from);
        Ok(Self { root, target, caller })
    }

    /// A path from the command line, as the caller meant it.
    pub fn path_of_caller(&self, path: &Path) -> PathBuf {
        self.caller.join(path)
    }

    /// A path below the target folder.
    pub fn output(&self, path: &str) -> PathBuf {
        self.target.join(path)
    }

    /// Keeps the machines of other processes out of the target folder, until the answer is dropped. The disk images
    /// there are made anew for each boot: a second process would empty the disks of a running machine, and its driver
    /// would be blamed for lost writes.
    ///
    /// # Errors
    /// When another process has it.
    pub fn occupy(&self) -> Result<File> {
        let path = self.output("machines.lock");
        std::fs::create_dir_all(&self.target)
            .with_context(|| format!("{} cannot be made", self.target.display()))?;
        let file = File::create(&path).with_context(|| format!("{} cannot be made", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => bail!(
                "another ./x runs machines in {}: wait for it, or give CARGO_TARGET_DIR another folder",
                self.target.display()
            ),
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("{} cannot be locked", path.display()))
            }
        }
    }

    /// The path as a person in the tree would write it.
    pub fn show<'a>(&self, path: &'a Path) -> std::path::Display<'a> {
        path.strip_prefix(&self.root).unwrap_or(path).display()
    }

    /// The folder with the packages of all drivers.
    pub fn packages(&self) -> PathBuf {
        self.output("package")
    }

    /// The driver ISO.
    pub fn iso(&self) -> PathBuf {
        self.output("iso/virtio-storage.iso")
    }

    /// The bare-metal program.
    pub fn stand(&self) -> PathBuf {
        self.output("stand/stand.elf")
    }

    /// Cargo, in this tree and with this target folder.
    pub fn cargo(&self) -> Command {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.current_dir(&self.root).env("CARGO_TARGET_DIR", &self.target);
        // Set by the cargo that runs this program, for this program; a nested one would see them as changes.
        for (name, _) in std::env::vars_os() {
            if name
                .to_str()
                .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
            {
                command.env_remove(name);
            }
        }
        command
    }
}
