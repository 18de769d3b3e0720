//! Builds the driver images: `target/drivers/<arch>/{viostor,vioscsi}.{sys,pdb}`.
//!
//! ```text
//!  tools/wdk-kit/{include,lib} ──► target/wdk-kit/<arch>/{Include,Lib}      the content root (or --wdk-root DIR)
//!  drivers/*/image  ── cargo rustc --crate-type staticlib ──► viostor.lib   one object: link-time optimised
//!  viostor.lib, load_config.obj, import libraries, .res ── rust-lld ──► viostor.sys, viostor.pdb
//! ```
//!
//! The image is linked here and not by Cargo, because Cargo can only link a DLL: with the flag of one, with exports, and
//! with file names in the PDB that change from run to run. What is done here instead depends on nothing but the sources
//! and the toolchain: two checkouts in different folders give the same bytes.

use std::{
    collections::BTreeMap,
    env, fs,
    io::IsTerminal as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::command::{Stream, status_text, stream};
use crate::needs;
use anyhow::{Context, Result, bail, ensure};

/// The drivers, by the name that their packages, images and services have.
pub const DRIVERS: [&str; 2] = ["viostor", "vioscsi"];

/// The miniport that breaks the stand's rules on request. It is built like a driver, and never packaged.
pub const MISDEED: &str = "misdeed";

/// Version folder of the kit's content root: the WDK whose layout the kit's headers are checked against.
const KIT_VERSION: &str = "10.0.16299.0";

/// Import libraries that the kit has a `.def` file for.
const KIT_LIBRARIES: [&str; 4] = ["ntoskrnl", "hal", "storport", "wmilib"];

/// What paths of the build machine are called in panic messages and PDBs.
const SOURCE_PREFIX: &str = "/src";

/// A processor that the images are built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// x86-64.
    Amd64,
    /// AArch64.
    Arm64,
}

/// How to build.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which images: [`DRIVERS`], or [`MISDEED`] alone.
    pub images: &'static [&'static str],
    /// Processor to build for.
    pub architecture: Architecture,
    /// A genuine WDK content root to build against instead of the kit.
    pub wdk_root: Option<PathBuf>,
    /// Compiled version resource (`.res`) of a driver, by the driver's name.
    pub resources: BTreeMap<String, PathBuf>,
}

/// A driver image that was built.
#[derive(Clone, Debug)]
pub struct Image {
    /// Name of the image: one of [`DRIVERS`], or [`MISDEED`].
    pub driver: &'static str,
    /// The unsigned image.
    pub sys: PathBuf,
    /// Its symbols.
    pub pdb: PathBuf,
}

/// The programs a build needs, and where they are.
struct Toolchain {
    sysroot: PathBuf,
    commit: String,
    linker: PathBuf,
}

impl Architecture {
    /// Name used in the tree, in packages and by Windows.
    pub fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "ARM64",
        }
    }

    /// Rust's target.
    pub fn target(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-pc-windows-msvc",
            Self::Arm64 => "aarch64-pc-windows-msvc",
        }
    }

    /// Folder of the import libraries in a content root.
    fn library_folder(self) -> &'static str {
        match self {
            Self::Amd64 => "x64",
            Self::Arm64 => "arm64",
        }
    }

    /// The linker's name.
    fn machine(self) -> &'static str {
        match self {
            Self::Amd64 => "/machine:x64",
            Self::Arm64 => "/machine:arm64",
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            images: &DRIVERS,
            architecture: Architecture::Amd64,
            wdk_root: None,
            resources: BTreeMap::new(),
        }
    }
}

/// Builds both images of the tree at `root` below the folder `target`.
pub fn run(root: &Path, target: &Path, options: &Options) -> Result<Vec<Image>> {
    let root = &fs::canonicalize(root).with_context(|| format!("no such folder: {}", root.display()))?;
    fs::create_dir_all(target).with_context(|| format!("cannot create {}", target.display()))?;
    let target = &fs::canonicalize(target)?;
    driver_version(root)?;
    needs::libclang()?;
    let toolchain = Toolchain::find(root, options.architecture)?;
    let kit = kit_content_root(root, target, options.architecture, &toolchain)?;
    let content_root = match &options.wdk_root {
        Some(wdk_root) => checked_content_root(wdk_root)?,
        None => kit.clone(),
    };
    let load_config = compile_load_config(root, target, options.architecture)?;
    options
        .images
        .iter()
        .map(|driver| {
            let library = compile(root, target, options.architecture, &toolchain, &content_root, driver)?;
            // Public copies of the headers have no libraries; what the drivers import is in the kit's as well.
            let libraries = if content_root.join("Lib").is_dir() { &content_root } else { &kit };
            let link = Link { target, options, toolchain: &toolchain, libraries };
            link.image(driver, &library, &load_config)
        })
        .collect()
}

/// Puts the kit's wdk-build in place of the registry's for whoever runs cargo in the images' workspace. That is no part of
/// the tree, because it must not be so where there is a WDK.
pub fn patch_images(root: &Path) -> Result<()> {
    let path = root.join("drivers/image/.cargo/wdk-kit.toml");
    let text = "[patch.crates-io]\nwdk-build = { path = \"../../tools/wdk-kit/wdk-build\" }\n";
    if fs::read(&path).is_ok_and(|former| former == text.as_bytes()) {
        return Ok(());
    }
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Version of the drivers, as the manifests have it.
pub fn driver_version(root: &Path) -> Result<String> {
    let version = |manifest: &str| -> Result<String> {
        let path = root.join(manifest);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let section = text.split("[workspace.package]").nth(1).unwrap_or_default();
        let section = section.split("\n[").next().unwrap_or_default();
        let value = section.lines().find_map(|line| line.strip_prefix("version = \"")?.strip_suffix('"'));
        Ok(value
            .with_context(|| format!("no version in [workspace.package] of {}", path.display()))?
            .to_owned())
    };
    let tree = version("Cargo.toml")?;
    let images = version("drivers/image/Cargo.toml")?;
    ensure!(
        tree == images,
        "the version in drivers/image/Cargo.toml is {images}, the one in Cargo.toml {tree}: they must be the same"
    );
    Ok(tree)
}

impl Toolchain {
    fn find(root: &Path, architecture: Architecture) -> Result<Self> {
        let ask = |arguments: &[&str]| -> Result<String> {
            let output = Command::new("rustc")
                .args(arguments)
                .current_dir(root)
                .output()
                .context("cannot start rustc: install Rust with rustup (https://rustup.rs)")?;
            ensure!(output.status.success(), "rustc: {}", String::from_utf8_lossy(&output.stderr).trim());
            Ok(String::from_utf8(output.stdout)?.trim().to_owned())
        };
        let sysroot = PathBuf::from(ask(&["--print", "sysroot"])?);
        let verbose = ask(&["--version", "--verbose"])?;
        let field = |name: &str| {
            let value = verbose.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            value.map(str::to_owned).with_context(|| format!("rustc does not say its {name}"))
        };
        let rustlib = sysroot.join("lib/rustlib");
        let linker = rustlib.join(field("host")?).join("bin/rust-lld");
        ensure!(
            linker.is_file(),
            "the toolchain has no rust-lld ({}): use one from rustup",
            linker.display()
        );
        let target = architecture.target();
        ensure!(
            rustlib.join(target).join("lib").is_dir(),
            "the toolchain has no target {target}: run `./x setup` or `rustup target add {target}`"
        );
        Ok(Self { commit: field("commit-hash")?, sysroot, linker })
    }

    /// A call of the linker as Windows' link.exe.
    fn link(&self) -> Command {
        let mut command = Command::new(&self.linker);
        // The PDB has the name that the linker was called by; this one is the same on every machine.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::arg0(&mut command, "rust-lld");
        command.args(["-flavor", "link"]);
        command
    }
}

/// Assembles the content root that the kit offers: its headers, and import libraries made of its `.def` files.
fn kit_content_root(
    root: &Path,
    target: &Path,
    architecture: Architecture,
    toolchain: &Toolchain,
) -> Result<PathBuf> {
    let kit = root.join("tools/wdk-kit");
    let content_root = target.join("wdk-kit");
    let include = content_root.join("Include").join(KIT_VERSION);
    mirror(&kit.join("include"), &include)?;
    let libraries = content_root.join("Lib").join(KIT_VERSION).join("km").join(architecture.library_folder());
    fs::create_dir_all(&libraries)?;
    for name in KIT_LIBRARIES {
        let definition = kit.join("lib").join(name).with_extension("def");
        let library = libraries.join(name).with_extension("lib");
        let mut command = toolchain.link();
        command.args(["/lib", architecture.machine()]);
        command.arg(flag("/def:", &definition)).arg(flag("/out:", &library));
        finish(&mut command, "rust-lld (import library)")?;
    }
    // What these have in the genuine WDK is either in load_config.rs or not used: so they are empty.
    let empty: &[&str] = match architecture {
        Architecture::Amd64 => &["BufferOverflowFastFailK"],
        Architecture::Arm64 => &["BufferOverflowFastFailK", "arm64rt"],
    };
    for name in empty {
        let library = libraries.join(name).with_extension("lib");
        let mut command = toolchain.link();
        command.args(["/lib", "/llvmlibempty", architecture.machine()]).arg(flag("/out:", &library));
        finish(&mut command, "rust-lld (empty library)")?;
    }
    Ok(content_root)
}

/// Makes `to` a copy of the folder `from`. Files that are equal already are left alone, so that Cargo does not rebuild.
fn mirror(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(to)? {
        let entry = entry?;
        if !from.join(entry.file_name()).exists() {
            if entry.path().is_dir() {
                fs::remove_dir_all(entry.path())?
            } else {
                fs::remove_file(entry.path())?
            }
        }
    }
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            mirror(&from, &to)?;
        } else if fs::read(&from)? != fs::read(&to).unwrap_or_default() || !to.exists() {
            fs::copy(&from, &to)?;
        }
    }
    Ok(())
}

/// Checks that `wdk_root` looks like a content root that can be used on this host.
fn checked_content_root(wdk_root: &Path) -> Result<PathBuf> {
    let content_root = fs::canonicalize(wdk_root)
        .with_context(|| format!("--wdk-root {}: there is no such folder", wdk_root.display()))?;
    let include = content_root.join("Include");
    ensure!(
        include.is_dir(),
        "--wdk-root {}: it has no folder Include, so it is no WDK content root (expected: \
         Include/<version>/{{km,km/crt,shared}} and, if it has them, Lib/<version>/km/x64)",
        wdk_root.display()
    );
    let has_header =
        fs::read_dir(&include)?.flatten().any(|entry| entry.path().join("km/storport.h").is_file());
    ensure!(
        has_header,
        "--wdk-root {}: no Include/<version>/km/storport.h (the folders' names and this one in lower case)",
        wdk_root.display()
    );
    Ok(content_root)
}

/// Compiles the kit's load configuration to an object.
fn compile_load_config(root: &Path, target: &Path, architecture: Architecture) -> Result<PathBuf> {
    let folder = target.join("wdk-kit/obj").join(architecture.name());
    fs::create_dir_all(&folder)?;
    let object = folder.join("load_config.obj");
    let mut command = Command::new("rustc");
    command
        .current_dir(root)
        .args([
            "--edition=2024",
            "--crate-type=lib",
            "--crate-name=load_config",
            "--emit=obj",
            "-Cpanic=abort",
        ])
        .args(["--target", architecture.target(), "-o"])
        .arg(&object)
        .arg("tools/wdk-kit/lib/load_config.rs");
    finish(&mut command, "rustc (load configuration)")?;
    Ok(object)
}

/// Compiles a driver to a static library that has everything but what Windows exports.
fn compile(
    root: &Path,
    target: &Path,
    architecture: Architecture,
    toolchain: &Toolchain,
    content_root: &Path,
    driver: &str,
) -> Result<PathBuf> {
    let cargo_home =
        env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cargo")));
    let registry = cargo_home.context("neither CARGO_HOME nor HOME is set")?.join("registry/src");
    let mut flags = vec!["-Ctarget-feature=+crt-static".to_owned(), "-Ccontrol-flow-guard=checks".to_owned()];
    // In what is built only: messages of the compiler keep the paths that a person can open.
    flags.push("--remap-path-scope=object".to_owned());
    // The last match wins: the target folder is usually inside the tree.
    let mut names = vec![
        (toolchain.sysroot.join("lib/rustlib/src/rust"), format!("/rustc/{}", toolchain.commit)),
        (registry.clone(), "/registry".to_owned()),
    ];
    // The registry's folder is named after the index, which is another one when a mirror is used.
    let mut indices: Vec<_> =
        fs::read_dir(&registry).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    indices.sort();
    names.extend(indices.into_iter().map(|index| (index, "/registry".to_owned())));
    names.push((root.to_path_buf(), SOURCE_PREFIX.to_owned()));
    names.push((target.to_path_buf(), "/target".to_owned()));
    flags.extend(names.iter().map(|(path, name)| format!("--remap-path-prefix={}={name}", path.display())));
    patch_images(root)?;
    let build_folder = target.join("image");
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .current_dir(root.join("drivers/image"))
        .args(["rustc", "--quiet", "--release", "--lib", "--crate-type", "staticlib"])
        .args(["--target", architecture.target()])
        .args(["--package", &format!("{driver}-image")])
        .arg("--target-dir")
        .arg(&build_folder)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
        .env("RUSTC_WRAPPER", root.join("tools/wdk-kit/rustc-same-everywhere"))
        .env("WDKContentRoot", content_root)
        .env_remove("Version_Number")
        .env_remove("CARGO_TARGET_DIR");
    // A build script that fails with an error would add a backtrace to it when the caller has asked for some.
    command.env("RUST_BACKTRACE", "0").env("RUST_LIB_BACKTRACE", "0");
    if std::io::stderr().is_terminal() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    let log = target.join("drivers").join(format!("{driver}-build.log"));
    let ended = stream(&mut command, None, |_| ())?;
    fs::create_dir_all(target.join("drivers"))?;
    fs::write(&log, ended.tail(usize::MAX))?;
    for line in compiler_lines(ended.of(Stream::Err)) {
        eprintln!("{line}");
    }
    ensure!(
        ended.success(),
        "{driver} does not compile ({}); the compiler's messages are above, all output is in {}",
        status_text(&ended),
        log.display()
    );
    let library =
        build_folder.join(architecture.target()).join("release").join(format!("{driver}_image.lib"));
    ensure!(library.is_file(), "cargo did not make {}", library.display());
    Ok(library)
}

/// What a person needs of cargo's output: the compiler's lines as they are. Of a build script that failed, what it said
/// is wrong, without the instructions to cargo that it had printed before.
fn compiler_lines<'a>(lines: impl Iterator<Item = &'a str>) -> impl Iterator<Item = &'a str> {
    let mut for_cargo = false;
    lines.filter(move |line| {
        match line.trim() {
            "--- stdout" => for_cargo = true,
            "--- stderr" => for_cargo = false,
            _ => return !for_cargo,
        }
        false
    })
}

/// What all links have in common.
struct Link<'a> {
    target: &'a Path,
    options: &'a Options,
    toolchain: &'a Toolchain,
    /// The content root that the import libraries are in.
    libraries: &'a Path,
}

impl Link<'_> {
    /// Links `library` to the image of `driver`.
    fn image(&self, driver: &'static str, library: &Path, load_config: &Path) -> Result<Image> {
        let architecture = self.options.architecture;
        // The PDB has the names of the linker's inputs, so the link happens in a folder where they always have the
        // same names.
        let folder = self.target.join("link").join(architecture.name()).join(driver);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        let mut objects = fs::read(library)?;
        erase_unit_number(&mut objects, driver);
        fs::write(folder.join("driver.lib"), objects)?;
        fs::copy(load_config, folder.join("load_config.obj"))?;
        let libraries = self.library_folder()?;
        for name in KIT_LIBRARIES.into_iter().chain(["BufferOverflowFastFailK"]) {
            let library = entry_named(&libraries, &format!("{name}.lib"))
                .with_context(|| format!("there is no {name}.lib in {}", libraries.display()))?;
            fs::copy(&library, folder.join(name).with_extension("lib"))?;
        }
        let mut command = self.toolchain.link();
        command.current_dir(&folder).args(ARGUMENTS).arg(architecture.machine());
        command.args([
            format!("/out:{driver}.sys"),
            format!("/pdb:{driver}.pdb"),
            // Only the name goes into the image, not the folder it was linked in.
            format!("/pdbaltpath:{driver}.pdb"),
        ]);
        command.args(["driver.lib", "load_config.obj"]);
        command.args(KIT_LIBRARIES.map(|name| format!("{name}.lib"))).arg("BufferOverflowFastFailK.lib");
        if let Some(resource) = self.options.resources.get(driver) {
            fs::copy(resource, folder.join("version.res"))
                .with_context(|| format!("cannot read the version resource {}", resource.display()))?;
            command.arg("version.res");
        }
        finish(&mut command, &format!("rust-lld ({driver}.sys)"))?;
        let output = self.target.join("drivers").join(architecture.name());
        fs::create_dir_all(&output)?;
        let place = |extension| -> Result<PathBuf> {
            let path = output.join(driver).with_extension(extension);
            fs::copy(folder.join(driver).with_extension(extension), &path)?;
            Ok(path)
        };
        Ok(Image { driver, sys: place("sys")?, pdb: place("pdb")? })
    }

    /// The content root's folder of import libraries, of its highest version.
    fn library_folder(&self) -> Result<PathBuf> {
        let folder = self.libraries.join("Lib");
        let version = |path: &Path| -> Option<Vec<u32>> {
            path.file_name()?.to_str()?.split('.').map(|part| part.parse().ok()).collect()
        };
        let newest = fs::read_dir(&folder)
            .with_context(|| format!("cannot read {}", folder.display()))?
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| version(path).is_some() && path.join("km").is_dir())
            .max_by_key(|path| version(path));
        let Some(newest) = newest else {
            bail!("there is no version folder with km in {}", folder.display())
        };
        let (km, name) = (newest.join("km"), self.options.architecture.library_folder());
        entry_named(&km, name).with_context(|| format!("there is no folder {name} in {}", km.display()))
    }
}

/// The linker's arguments that every image has; why each, in one line.
const ARGUMENTS: [&str; 23] = [
    "/nologo",
    "/driver",
    "/subsystem:native,10.00",
    "/version:10.0",
    "/entry:DriverEntry",
    "/nodefaultlib",
    // The checksum, which Windows checks for boot-start drivers.
    "/release",
    "/dynamicbase",
    "/nxcompat",
    "/highentropyva",
    "/guard:cf",
    "/include:_load_config_used",
    // Windows only loads such an image when it is signed, however the machine is set up.
    "/integritycheck",
    // lld takes a driver for a program, which is aware of terminal servers.
    "/tsaware:no",
    "/manifest:no",
    "/opt:ref,icf",
    // What is only needed while loading is given back after it; Microsoft's linker does this by itself.
    "/section:INIT,ERD",
    "/section:.rsrc,RD",
    "/debug:full",
    // No time stamp and no random number: the same input gives the same image and the same PDB.
    "/brepro",
    // The folder of the link as the PDB has it.
    "/pdbsourcepath:C:\\src",
    "/incremental:no",
    "/wx",
];

/// Replaces Cargo's number in the name of the driver's object (`viostor_image-0123456789abcdef.…`) by zeros, in the list
/// of the library's members and in the debug information. It depends on where the tree lies, and the PDB would have it.
fn erase_unit_number(library: &mut [u8], driver: &str) {
    const DIGITS: usize = 16;
    let name = format!("{driver}_image-");
    let mut position = 0;
    while let Some(found) = library[position..].windows(name.len()).position(|bytes| bytes == name.as_bytes())
    {
        position += found + name.len();
        if let Some(number) = library.get_mut(position..position + DIGITS)
            && number.iter().all(u8::is_ascii_hexdigit)
        {
            number.fill(b'0');
        }
    }
}

/// The entry of `folder` that has `name` on a file system that takes no notice of case, as Windows' does.
fn entry_named(folder: &Path, name: &str) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?;
    entries.flatten().find(|entry| entry.file_name().eq_ignore_ascii_case(name)).map(|entry| entry.path())
}

fn flag(name: &str, path: &Path) -> String {
    format!("{name}{}", path.display())
}

/// Runs a command that says nothing when all is well, and shows all it says when not.
fn finish(command: &mut Command, name: &str) -> Result<()> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {name}"))?;
    if !output.status.success() {
        let text = [output.stdout, output.stderr].concat();
        bail!("{name} failed:\n{}", String::from_utf8_lossy(&text).trim_end());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_the_drivers_object_becomes_zero_everywhere() {
        let mut library =
            b"..viostor_image-0acd41354971fc50.viostor_image.df57-cgu.0\0viostor_image-0acd41354971fc50.o"
                .to_vec();
        erase_unit_number(&mut library, "viostor");
        let expected =
            "..viostor_image-0000000000000000.viostor_image.df57-cgu.0\0viostor_image-0000000000000000.o";
        assert_eq!(String::from_utf8_lossy(&library), expected);
    }

    #[test]
    fn what_only_looks_like_the_objects_number_stays() {
        let text = b"viostor_image-is no number; viostor_image-0123";
        let mut library = text.to_vec();
        erase_unit_number(&mut library, "viostor");
        assert_eq!(library, text);
    }

    #[test]
    fn of_a_build_script_that_failed_its_error_is_shown_and_not_what_it_told_cargo() {
        let output = [
            "error: failed to run custom build command for `wdk-sys v0.5.2`",
            "",
            "Caused by:",
            "  process didn't exit successfully: `build-script-build` (exit status: 1)",
            "  --- stdout",
            "  cargo:rerun-if-env-changed=A",
            "  --- stderr",
            "  Error: no headers",
        ];

        let shown: Vec<&str> = compiler_lines(output.into_iter()).collect();

        assert_eq!(shown, [&output[..4], &output[7..]].concat());
    }

    #[test]
    fn a_mirror_has_what_the_original_has_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir_all(from.join("km")).unwrap();
        fs::create_dir_all(to.join("gone")).unwrap();
        fs::write(from.join("km/a.h"), "new").unwrap();
        fs::write(from.join("km/empty.h"), "").unwrap();
        fs::write(to.join("gone/b.h"), "old").unwrap();
        mirror(&from, &to).unwrap();
        assert_eq!(fs::read_to_string(to.join("km/a.h")).unwrap(), "new");
        assert!(to.join("km/empty.h").exists());
        assert!(!to.join("gone").exists());
    }

    #[test]
    fn a_folder_without_headers_is_no_content_root() {
        let folder = tempfile::tempdir().unwrap();
        let error = checked_content_root(folder.path()).unwrap_err().to_string();
        assert!(error.contains("it has no folder Include"), "{error}");
        fs::create_dir_all(folder.path().join("Include/10.0.26100.0/km")).unwrap();
        fs::write(folder.path().join("Include/10.0.26100.0/km/Storport.h"), "").unwrap();
        let error = checked_content_root(folder.path()).unwrap_err().to_string();
        assert!(error.contains("lower case"), "{error}");
    }

    #[test]
    fn images_of_another_version_than_the_tree_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let write = |manifest: &str, version: &str| {
            let path = folder.path().join(manifest);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let text = format!("[workspace]\nmembers = []\n\n[workspace.package]\nversion = \"{version}\"\n");
            fs::write(path, text).unwrap();
        };
        write("Cargo.toml", "0.2.0");
        write("drivers/image/Cargo.toml", "0.2.0");
        assert_eq!(driver_version(folder.path()).unwrap(), "0.2.0");
        write("drivers/image/Cargo.toml", "0.1.0");
        let error = driver_version(folder.path()).unwrap_err().to_string();
        assert!(error.contains("0.1.0") && error.contains("0.2.0"), "{error}");
    }
}
