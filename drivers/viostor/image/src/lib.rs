//! viostor.sys: the viostor miniport, StorPort, an allocator and a panic handler, linked into an image.
#![no_std]

extern crate wdk_panic;

use storport::kernel::KernelPort;
use wdk_alloc::WdkAllocator;

/// Only `HwStorFindAdapter` allocates, at PASSIVE_LEVEL: the slots of the request queue, in memory that the device
/// cannot reach.
#[global_allocator]
static ALLOCATOR: WdkAllocator = WdkAllocator;

storport::export_miniport!(viostor::Adapter<KernelPort>);
