//! Configures builds against a WDK content root, on hosts that are not Windows.
//!
//! The registry's `wdk-build` stops there with a `compile_error!`: it asks the Windows registry where the WDK is. This
//! crate takes its place by `[patch.crates-io]`: of the tree's workspace in its manifest, of the images' in a configuration
//! that is written only where there is no WDK (`drivers/image/.cargo/wdk-kit.toml`). So the unmodified `wdk-sys`, `wdk`, `wdk-alloc` and `wdk-panic` build against it. It has the names their build
//! scripts call, and the answers those names give there for a WDM driver:
//!
//! - the content root is `$WDKContentRoot`, laid out as an installed WDK is: `Include/<version>/{km,km/crt,shared}` and
//!   `Lib/<version>/km/<arch>`. With several versions, `$Version_Number` names one; else the highest is taken. Without
//!   that variable the headers are the kit's, beside this crate, and there are no libraries: enough for `cargo check`,
//!   and for an editor;
//! - the architecture is Cargo's target: x86_64 or aarch64;
//! - the driver model is WDM, the only one a storport miniport can have. KMDF and UMDF exist as types, because
//!   `wdk-sys` matches on them, and are never chosen.
//!
//! Linker arguments are not emitted: whoever links the image here does so itself (see `xtask build`).

mod builder;
mod error;

use std::{
    env, fmt,
    path::{Path, PathBuf},
};

pub use builder::BuilderExt;
pub use error::{ConfigError, IoError};

/// Environment variable that names the content root; the eWDK's build environment sets the same one.
pub const CONTENT_ROOT_VARIABLE: &str = "WDKContentRoot";

/// Environment variable that picks one of several versions in the content root; also the eWDK's.
pub const VERSION_VARIABLE: &str = "Version_Number";

/// What a build against the WDK depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The folder that has `km` and `shared` with the headers.
    include: PathBuf,
    /// The folder that has the import libraries, by architecture; public copies of the headers have none.
    libraries: Option<PathBuf>,
    /// Processor the driver is for.
    cpu_architecture: CpuArchitecture,
    /// Driver model. Always [`DriverConfig::Wdm`] here.
    pub driver_config: DriverConfig,
}

/// Driver model and its parameters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum DriverConfig {
    /// Windows Driver Model: what storport miniports are.
    Wdm,
    /// Kernel-Mode Driver Framework. Not built here.
    Kmdf(KmdfConfig),
    /// User-Mode Driver Framework. Not built here.
    Umdf(UmdfConfig),
}

/// Framework version of a KMDF driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KmdfConfig {
    /// Major version.
    pub kmdf_version_major: u8,
    /// Minor version built for.
    pub target_kmdf_version_minor: u8,
    /// Oldest minor version the driver loads with.
    pub minimum_kmdf_version_minor: Option<u8>,
}

/// Framework version of a UMDF driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UmdfConfig {
    /// Major version.
    pub umdf_version_major: u8,
    /// Minor version built for.
    pub target_umdf_version_minor: u8,
    /// Oldest minor version the driver loads with.
    pub minimum_umdf_version_minor: Option<u8>,
}

/// Processor a driver is built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CpuArchitecture {
    /// x86-64.
    Amd64,
    /// AArch64.
    Arm64,
}

/// Groups of WDK headers that `wdk-sys` binds, one Cargo feature each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiSubset {
    /// What every kernel driver has.
    Base,
    /// Driver frameworks.
    Wdf,
    /// General-purpose I/O.
    Gpio,
    /// Human interface devices.
    Hid,
    /// Parallel ports.
    ParallelPorts,
    /// Simple peripheral bus.
    Spb,
    /// Storage, with `storport.h`.
    Storage,
    /// USB.
    Usb,
}

impl CpuArchitecture {
    /// The name of the architecture's library folder in a content root.
    #[must_use]
    pub const fn as_windows_str(&self) -> &str {
        match self {
            Self::Amd64 => "x64",
            Self::Arm64 => "ARM64",
        }
    }

    /// The architecture that Cargo and the compiler call `name`, if there are Windows drivers for it.
    #[must_use]
    pub fn try_from_cargo_str(name: impl AsRef<str>) -> Option<Self> {
        match name.as_ref() {
            "x86_64" => Some(Self::Amd64),
            "aarch64" => Some(Self::Arm64),
            _ => None,
        }
    }
}

impl fmt::Display for CpuArchitecture {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        })
    }
}

impl Config {
    /// The configuration of the build whose build script runs now.
    ///
    /// # Errors
    ///
    /// The content root that is named has no `Include` folder with a version in it, or Cargo's target is not one that
    /// Windows drivers exist for.
    pub fn from_env_auto() -> Result<Self, ConfigError> {
        println!("cargo::rerun-if-env-changed={CONTENT_ROOT_VARIABLE}");
        println!("cargo::rerun-if-env-changed={VERSION_VARIABLE}");
        let architecture = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
        let cpu_architecture = CpuArchitecture::try_from_cargo_str(&architecture)
            .ok_or(ConfigError::UnsupportedArchitecture { architecture })?;
        match env::var_os(CONTENT_ROOT_VARIABLE) {
            Some(root) => {
                Self::for_content_root(Path::new(&root), env::var(VERSION_VARIABLE).ok(), cpu_architecture)
            }
            None => Ok(Self::for_kit(cpu_architecture)),
        }
    }

    /// The configuration for a WDM driver against the headers of the kit that this crate is a part of.
    #[must_use]
    pub fn for_kit(cpu_architecture: CpuArchitecture) -> Self {
        let include = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("include");
        Self { include, libraries: None, cpu_architecture, driver_config: DriverConfig::Wdm }
    }

    /// The configuration for a WDM driver against `content_root`, with its highest version when none is named.
    ///
    /// # Errors
    ///
    /// There is no `Include` folder with a version in it.
    pub fn for_content_root(
        content_root: &Path,
        version: Option<String>,
        cpu_architecture: CpuArchitecture,
    ) -> Result<Self, ConfigError> {
        let version = match version {
            Some(version) => version,
            None => highest_version(&content_root.join("Include"))?,
        };
        let libraries = content_root.join("Lib");
        Ok(Self {
            include: content_root.join("Include").join(&version),
            libraries: libraries.is_dir().then(|| libraries.join(version).join("km")),
            cpu_architecture,
            driver_config: DriverConfig::Wdm,
        })
    }

    /// Tells Cargo which `cfg`s this crate may set, so that the compiler can check their spelling.
    pub fn emit_check_cfg_settings() {
        println!(r#"cargo::rustc-check-cfg=cfg(driver_model__driver_type, values("WDM","KMDF","UMDF"))"#);
    }

    /// Tells Cargo the `cfg`s by which libraries know the driver model.
    ///
    /// # Errors
    ///
    /// None here; the signature is the one callers expect.
    pub fn configure_library_build(&self) -> Result<(), ConfigError> {
        Self::emit_check_cfg_settings();
        let model = match self.driver_config {
            DriverConfig::Wdm => "WDM",
            DriverConfig::Kmdf(_) => "KMDF",
            DriverConfig::Umdf(_) => "UMDF",
        };
        println!(r#"cargo::rustc-cfg=driver_model__driver_type="{model}""#);
        Ok(())
    }

    /// Tells Cargo what the build of a driver image needs: its `cfg`s and where the import libraries are.
    ///
    /// # Errors
    ///
    /// The C runtime is not linked statically, or the content root has libraries and none for the architecture.
    pub fn configure_binary_build(&self) -> Result<(), ConfigError> {
        let features = env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
        if !features.split(',').any(|feature| feature == "crt-static") {
            return Err(ConfigError::StaticCrtNotEnabled);
        }
        for path in self.library_paths()? {
            println!("cargo::rustc-link-search={}", path.display());
        }
        self.configure_library_build()
    }

    /// Folders to search for headers, first one first.
    ///
    /// # Errors
    ///
    /// One of them does not exist.
    pub fn include_paths(&self) -> Result<impl Iterator<Item = PathBuf> + use<>, ConfigError> {
        let paths = ["km/crt", "km", "shared"].map(|folder| self.include.join(folder));
        for path in &paths {
            require_folder(path)?;
        }
        Ok(paths.into_iter())
    }

    /// Folders to search for import libraries: none where there are only headers, and nothing is missed, for who links the
    /// image brings them.
    ///
    /// # Errors
    ///
    /// The content root has libraries, and none for the architecture.
    pub fn library_paths(&self) -> Result<impl Iterator<Item = PathBuf> + use<>, ConfigError> {
        let Some(km) = &self.libraries else { return Ok(None.into_iter()) };
        let named = km.join(self.cpu_architecture.as_windows_str());
        // Installed WDKs spell the folder arm64 as well as ARM64, which matters only off Windows.
        let lower = km.join(self.cpu_architecture.as_windows_str().to_ascii_lowercase());
        let path = if lower.is_dir() { lower } else { named };
        require_folder(&path)?;
        Ok(Some(path).into_iter())
    }

    /// Macros the headers are read with: what the Windows build system defines for the architecture and kernel mode, and
    /// what makes storport.h declare its functions for registers and ports, which are macros on x86-64 without it.
    pub fn preprocessor_definitions(&self) -> impl Iterator<Item = (String, Option<String>)> + use<> {
        let definitions: &[(&str, Option<&str>)] = match self.cpu_architecture {
            CpuArchitecture::Amd64 => &[("_WIN64", None), ("_AMD64_", None), ("AMD64", None)],
            CpuArchitecture::Arm64 => &[
                ("_ARM64_", None),
                ("ARM64", None),
                ("_USE_DECLSPECS_FOR_SAL", Some("1")),
                ("STD_CALL", None),
            ],
        };
        let all: &[_] = &[("_KERNEL_MODE", None), ("DISABLE_INLINE_REGISTER_ACCESS", None)];
        definitions.iter().chain(all).map(|&(name, value)| (name.to_owned(), value.map(str::to_owned)))
    }

    /// Compiler flags the headers are read with: Microsoft's C dialect, without warnings about the genuine headers,
    /// which nobody here can change.
    pub fn wdk_bindgen_compiler_flags() -> impl Iterator<Item = String> {
        ["-fms-compatibility", "-fms-extensions", "-fdelayed-template-parsing", "-w"]
            .into_iter()
            .map(str::to_owned)
    }

    /// Names of the headers of an API subset. Only subsets that a WDM storage driver has any of are known.
    ///
    /// # Errors
    ///
    /// The subset is one that this stand-in does not carry.
    pub fn headers(
        &self,
        api_subset: ApiSubset,
    ) -> Result<impl Iterator<Item = String> + use<>, ConfigError> {
        let headers: &[&str] = match api_subset {
            ApiSubset::Base => &["ntifs.h", "ntddk.h", "ntstrsafe.h"],
            ApiSubset::Wdf => &[],
            ApiSubset::Storage => &[
                "ehstorioctl.h",
                "ntddcdrm.h",
                "ntddcdvd.h",
                "ntdddisk.h",
                "ntddmmc.h",
                "ntddscsi.h",
                "ntddstor.h",
                "ntddtape.h",
                "ntddvol.h",
                "ufs.h",
                "mountdev.h",
                "mountmgr.h",
                "ntddchgr.h",
                "ntdddump.h",
                "storduid.h",
                "storport.h",
            ],
            ApiSubset::Gpio | ApiSubset::Hid | ApiSubset::ParallelPorts | ApiSubset::Spb | ApiSubset::Usb => {
                return Err(ConfigError::UnsupportedApiSubset { api_subset });
            }
        };
        Ok(headers.iter().map(|&name| name.to_owned()))
    }

    /// A header that includes all headers of `api_subsets`, in order, and declares what `wdk-sys` names and headers older
    /// than Windows 10, version 2004, do not have.
    ///
    /// # Errors
    ///
    /// One of the headers is not in the content root, or a subset is not carried here.
    pub fn bindgen_header_contents(
        &self,
        api_subsets: impl IntoIterator<Item = ApiSubset> + fmt::Debug,
    ) -> Result<String, ConfigError> {
        let folders: Vec<_> = self.include_paths()?.collect();
        let mut contents = String::new();
        for api_subset in api_subsets {
            for header in self.headers(api_subset)? {
                if !folders.iter().any(|folder| folder.join(&header).is_file()) {
                    return Err(ConfigError::HeaderNotFound { header, folders });
                }
                contents += &format!("#include \"{header}\"\n");
            }
        }
        // The same as where it is declared (wdm/nf-wdm-exallocatepool2.md); C may say it twice.
        contents += "typedef ULONG64 POOL_FLAGS;\n";
        Ok(contents)
    }

    /// Rust source that links the libraries of an API subset, or `None` when it has none of its own.
    #[must_use]
    pub fn bindgen_library_link_raw_lines(&self, api_subset: ApiSubset) -> Option<String> {
        if api_subset != ApiSubset::Base {
            return None;
        }
        let mut libraries = vec!["BufferOverflowFastFailK", "ntoskrnl", "hal", "wmilib"];
        if self.cpu_architecture == CpuArchitecture::Arm64 {
            libraries.push("arm64rt");
        }
        let link = |name| {
            format!(
                "#[cfg(not(any(test, feature = \"suppress-wdk-linking\")))]\n\
                 #[link(name = \"{name}\", kind = \"static\", modifiers = \"-bundle\")]\n\
                 unsafe extern \"C\" {{}}\n"
            )
        };
        Some(libraries.into_iter().map(link).collect())
    }

    /// Name of the framework's function table; WDM drivers have none.
    #[must_use]
    pub fn compute_wdffunctions_symbol_name(&self) -> Option<String> {
        None
    }
}

/// Configures the build of a library that depends on the WDK.
///
/// # Errors
///
/// See [`Config::from_env_auto`].
pub fn configure_wdk_library_build() -> Result<(), ConfigError> {
    Config::from_env_auto()?.configure_library_build()
}

/// Configures the build of a library that depends on the WDK, then calls `then` with the configuration.
///
/// # Errors
///
/// See [`Config::from_env_auto`]; and whatever `then` returns.
pub fn configure_wdk_library_build_and_then<F, E>(mut then: F) -> Result<(), E>
where
    F: FnMut(Config) -> Result<(), E>,
    E: From<ConfigError>,
{
    let config = Config::from_env_auto()?;
    config.configure_library_build()?;
    then(config)
}

/// Configures the build of a driver image.
///
/// # Errors
///
/// See [`Config::from_env_auto`] and [`Config::configure_binary_build`].
pub fn configure_wdk_binary_build() -> Result<(), ConfigError> {
    Config::from_env_auto()?.configure_binary_build()
}

fn require_folder(path: &Path) -> Result<(), ConfigError> {
    if path.is_dir() {
        return Ok(());
    }
    Err(ConfigError::DirectoryNotFound { directory: path.display().to_string() })
}

/// The highest four-part version number among the names of the folders in `include`.
fn highest_version(include: &Path) -> Result<String, ConfigError> {
    require_folder(include)?;
    let entries = include.read_dir().map_err(|source| IoError::with_path(include, source))?;
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| Some((version_number(&name)?, name)))
        .max()
        .map(|(_, name)| name)
        .ok_or_else(|| ConfigError::NoVersion { directory: include.display().to_string() })
}

fn version_number(name: &str) -> Option<[u32; 4]> {
    let parts = name.split('.').map(str::parse).collect::<Result<Vec<u32>, _>>().ok()?;
    parts.try_into().ok()
}
