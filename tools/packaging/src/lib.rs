//! Turns a linked driver image into what Windows installs: a stamped INF, a signed image, a signed catalogue, and an
//! ISO with everything on it. No Windows tool is involved.
//!
//! ```text
//!  vioscsi.inx ── stamp ──► vioscsi.inf ── lint ──┐
//!                                                 ├─► catalogue ── sign ──► vioscsi.cat ─┐
//!  vioscsi.sys ── image ──► rules hold ── sign ───┘                                      ├─► package ──► iso
//!  vioscsi.pdb ──────────────────────────────────────────────────────────────────────────┘        │
//!  version_resource ──► .res, linked into the image by the build          verify ◄── extract ◄────┘
//!  certificate ──► key and certificate of the test signature
//! ```
//!
//! One module is one subject. What a run depends on besides its input files is in [`Context`]: the same files and the
//! same context give the same bytes, in whatever folder. Other people's tools that are run: `osslsigncode` (2.5 or
//! later), `openssl`, `xorriso`, `7z` and `llvm-rc`; each is named together with its Debian package when it is missing.

pub mod catalogue;
pub mod certificate;
pub mod context;
pub mod driver;
pub mod extract;
pub mod image;
pub mod inf;
pub mod iso;
pub mod lint;
mod mode;
pub mod package;
pub mod sign;
pub mod stamp;
pub mod tool;
pub mod verify;
pub mod version_resource;

pub use certificate::Certificate;
pub use context::{Context, Version};
pub use driver::{Arch, Driver};
