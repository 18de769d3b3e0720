//! The real port driver: StorPort, through wdk-sys.
//!
//! UNSAFETY: this module turns StorPort's pointers into the safe types of the crate, and nothing else does.
//!
//! - [`entry`]: DriverEntry and the table of callbacks.
//! - [`callbacks`]: the `HwStor*` routines; each finds the adapter in the device extension and calls one `Miniport` method.
//! - [`extension`]: what lives in the device extension.
//! - [`port`], [`resources`], [`registers`]: the `Port` and `Resources` traits over StorPort's exports.
//! - [`srb`]: the request.
#![expect(unsafe_code, reason = "the boundary to the C interface of StorPort")]

mod callbacks;
pub mod entry;
mod extension;
mod port;
mod registers;
mod resources;
mod srb;

pub use port::KernelPort;
pub use srb::KernelSrb;

use wdk_sys::{PVOID, ULONG};

/// `HwDeviceExtension`: the first argument of every StorPort call.
#[derive(Clone, Copy, Debug)]
struct HwDeviceExtension(PVOID);

// SAFETY: the value is an address that is only handed back to StorPort, whose routines may be called on any processor.
unsafe impl Send for HwDeviceExtension {}
// SAFETY: as above; nothing is accessed through a shared reference to it.
unsafe impl Sync for HwDeviceExtension {}

/// Size of a structure, as StorPort's `ULONG` fields take it.
const fn size_of_ulong<T>() -> ULONG {
    size_of::<T>() as ULONG
}
