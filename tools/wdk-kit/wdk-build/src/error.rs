//! What can go wrong, said so that it can be put right.

use std::{error, fmt, io, path::PathBuf};

use crate::ApiSubset;

/// An input or output failure and the file it was about.
#[derive(Debug)]
pub struct IoError {
    path: PathBuf,
    source: io::Error,
}

impl IoError {
    /// The failure `source` of an operation on `path`.
    pub fn with_path(path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self { path: path.into(), source }
    }
}

impl fmt::Display for IoError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "cannot read or write {}", self.path.display())
    }
}

impl error::Error for IoError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Why a build against the WDK could not be configured.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file could not be read or written.
    IoError(IoError),
    /// The content root has no version folder.
    NoVersion {
        /// Where one was looked for.
        directory: String,
    },
    /// A folder of the content root is missing.
    DirectoryNotFound {
        /// The folder.
        directory: String,
    },
    /// A header is in none of the content root's folders.
    HeaderNotFound {
        /// Its name.
        header: String,
        /// Where it was looked for.
        folders: Vec<PathBuf>,
    },
    /// libclang, which reads the headers, cannot be loaded.
    LibclangNotFound {
        /// What was tried.
        reason: String,
    },
    /// Cargo's target is not one that Windows drivers exist for.
    UnsupportedArchitecture {
        /// Cargo's name of it.
        architecture: String,
    },
    /// A header group that is not carried here.
    UnsupportedApiSubset {
        /// The group.
        api_subset: ApiSubset,
    },
    /// The target feature `crt-static` is off.
    StaticCrtNotEnabled,
}

impl From<IoError> for ConfigError {
    fn from(error: IoError) -> Self {
        Self::IoError(error)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IoError(error) => error.fmt(formatter),
            Self::NoVersion { directory } => {
                write!(formatter, "no folder named like a WDK version (10.0.26100.0) in {directory}")
            }
            Self::DirectoryNotFound { directory } => {
                write!(formatter, "the WDK content root is not complete: there is no folder {directory}")
            }
            Self::HeaderNotFound { header, folders } => {
                write!(
                    formatter,
                    "the WDK content root has no header {header} (file names must be lower case); tried"
                )?;
                folders.iter().try_for_each(|folder| write!(formatter, " {}", folder.display()))
            }
            Self::LibclangNotFound { reason } => write!(
                formatter,
                "libclang, which reads the headers, cannot be loaded ({reason}). Install it (Debian, Ubuntu: \
                 libclang-dev; Fedora: clang-libs) or set LIBCLANG_PATH to the folder it is in"
            ),
            Self::UnsupportedArchitecture { architecture } => {
                write!(
                    formatter,
                    "Windows drivers can be built for x86_64 and aarch64, not for '{architecture}'"
                )
            }
            Self::UnsupportedApiSubset { api_subset } => {
                write!(
                    formatter,
                    "the headers of {api_subset:?} are not part of the kit; it has what storage drivers use"
                )
            }
            Self::StaticCrtNotEnabled => {
                write!(formatter, "a driver image must be built with -C target-feature=+crt-static")
            }
        }
    }
}

impl error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::IoError(error) => error.source(),
            _ => None,
        }
    }
}
