//! vioscsi.sys: the vioscsi miniport, StorPort and a panic handler, linked into an image.
//!
//! There is no allocator: what an adapter needs lies in its device extension and its uncached extension, which StorPort
//! frees with the adapter.
#![no_std]

extern crate wdk_panic;

use storport::kernel::KernelPort;
storport::export_miniport!(vioscsi::Adapter<KernelPort>);
