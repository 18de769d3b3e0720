//! ntoskrnl's and hal's side of the imports, and in `import` the table of everything the stand exports.

pub mod debug;
pub mod dpc;
pub mod export;
pub mod hal;
pub mod import;
mod misc;
pub mod pool;
pub mod processor;
pub mod rtl;
pub mod spin;
pub mod timer;
