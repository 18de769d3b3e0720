//! How bindgen is set up to read the WDK's headers.

use std::{
    borrow::Borrow,
    env, fmt, fs,
    hash::{DefaultHasher, Hash, Hasher},
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    process,
    sync::{
        Once,
        atomic::{AtomicUsize, Ordering},
    },
};

use bindgen::{Builder, EnumVariation, Formatter, RustEdition, RustTarget};

use crate::{Config, ConfigError, IoError};

/// A [`Builder`] as the bindings to the WDK need it.
pub trait BuilderExt {
    /// A builder that finds the headers of `config` and binds them in the way `wdk-sys` expects.
    ///
    /// # Errors
    ///
    /// The content root is not complete, or libclang cannot be loaded.
    fn wdk_default(config: impl Borrow<Config> + fmt::Debug) -> Result<Builder, ConfigError>;
}

/// Items of the genuine headers that are never bound: deprecated pool functions (they fail driver verification), and
/// structures whose bit fields bindgen lays out wrongly. The kit's headers have none of them.
const BLOCKED: &[&str] = &[
    "ExAllocatePool",
    "ExAllocatePoolWithTag",
    "ExAllocatePoolWithQuotaTag",
    "ExAllocatePoolWithTagPriority",
    ".*MCG_CAP(?:__bindgen.*)?",
    ".*WHEA_XPF_MCA_SECTION",
    ".*WHEA_ARM_BUS_ERROR(?:__bindgen.*)?",
    ".*WHEA_ARM_PROCESSOR_ERROR",
    ".*WHEA_ARM_CACHE_ERROR",
    ".*ADDRESS0_OWNERSHIP_ACQUIRE",
];

impl BuilderExt for Builder {
    fn wdk_default(config: impl Borrow<Config> + fmt::Debug) -> Result<Self, ConfigError> {
        require_libclang()?;
        let config = config.borrow();
        let includes = config.include_paths()?.map(|path| format!("--include-directory={}", path.display()));
        let definitions = config.preprocessor_definitions().map(|(name, value)| match value {
            Some(value) => format!("--define-macro={name}={value}"),
            None => format!("--define-macro={name}"),
        });
        let mut builder = Self::default()
            .use_core()
            .derive_default(true)
            .generate_cstr(true)
            // The host's own headers must not be found.
            .detect_include_paths(false)
            // Otherwise clang's own idea of memcpy's size_t wins over the headers'.
            .clang_arg("-fno-builtin")
            .clang_args(case_overlay(config)?.map(|overlay| format!("-ivfsoverlay{}", overlay.display())))
            .clang_args(includes)
            .clang_args(definitions)
            .clang_args(Config::wdk_bindgen_compiler_flags())
            .opaque_type("_KGDTENTRY64")
            .opaque_type("_KIDTENTRY64")
            .no_default(".*tagMONITORINFOEXA")
            .must_use_type("NTSTATUS")
            .must_use_type("HRESULT")
            .default_enum_style(EnumVariation::ModuleConsts)
            .parse_callbacks(Box::new(bindgen::CargoCallbacks::new()))
            .formatter(Formatter::Prettyplease)
            .rust_target(stable_rust_target())
            .rust_edition(RustEdition::Edition2024);
        for item in BLOCKED {
            builder = builder.blocklist_item(item);
        }
        Ok(builder)
    }
}

/// Writes the file by which clang finds headers as Windows does, whatever the case of their names; `None` where all names
/// are lower case, as the kit's are. The genuine headers include each other in spellings that their files do not have.
fn case_overlay(config: &Config) -> Result<Option<PathBuf>, ConfigError> {
    let root = &config.include;
    let mut mixed = false;
    let contents = overlay_entries(root, &mut mixed)?;
    if !mixed {
        return Ok(None);
    }
    let overlay = format!(
        "{{\"version\": 0, \"case-sensitive\": \"false\", \"roots\": [{}]}}",
        overlay_entry(&root.display().to_string(), "directory", &format!("\"contents\": [{contents}]"))
    );
    // A build script has a folder of its own; for others, one file per content root.
    let folder = env::var_os("OUT_DIR").map_or_else(env::temp_dir, PathBuf::from);
    let mut hasher = DefaultHasher::new();
    root.hash(&mut hasher);
    let file = folder.join(format!("wdk-headers-{:016x}.json", hasher.finish()));
    // Others may be reading it, such as the threads of wdk-sys's build script: it changes in one step.
    static WRITERS: AtomicUsize = AtomicUsize::new(0);
    let writer = WRITERS.fetch_add(1, Ordering::Relaxed);
    let new = file.with_extension(format!("{}-{writer}", process::id()));
    fs::write(&new, overlay).map_err(|source| IoError::with_path(&new, source))?;
    fs::rename(&new, &file).map_err(|source| IoError::with_path(&file, source))?;
    Ok(Some(file))
}

/// What is in `folder`, as clang's overlay files list it. Sets `mixed` if a name is not all lower case.
fn overlay_entries(folder: &Path, mixed: &mut bool) -> Result<String, ConfigError> {
    let mut paths = fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, _>>())
        .map_err(|source| IoError::with_path(folder, source))?;
    paths.sort();
    let mut entries = Vec::new();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        *mixed |= name.bytes().any(|byte| byte.is_ascii_uppercase());
        entries.push(if path.is_dir() {
            let contents = overlay_entries(&path, mixed)?;
            overlay_entry(&name, "directory", &format!("\"contents\": [{contents}]"))
        } else {
            overlay_entry(&name, "file", &format!("\"external-contents\": {:?}", path.display().to_string()))
        });
    }
    Ok(entries.join(",\n"))
}

fn overlay_entry(name: &str, kind: &str, rest: &str) -> String {
    format!("{{\"name\": {name:?}, \"type\": \"{kind}\", {rest}}}")
}

/// The oldest compiler the bindings are for: the same as the registry's crate names.
fn stable_rust_target() -> RustTarget {
    match RustTarget::stable(91, 0) {
        Ok(target) => target,
        Err(error) => unreachable!("bindgen 0.73 knows Rust 1.91: {error}"),
    }
}

/// Turns bindgen's panic about a missing libclang into an error that says what to do.
fn require_libclang() -> Result<(), ConfigError> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let default = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let message = info.payload_as_str().unwrap_or_default();
            if !message.contains("libclang") {
                default(info);
            }
        }));
    });
    panic::catch_unwind(AssertUnwindSafe(bindgen::clang_version)).map(drop).map_err(|payload| {
        let reason = payload
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| payload.downcast_ref::<&str>().map(|&text| text.to_owned()))
            .unwrap_or_else(|| "unknown reason".to_owned());
        ConfigError::LibclangNotFound { reason }
    })
}
