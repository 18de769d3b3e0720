//! vioscsi.sys

#![no_std]

extern crate wdk_panic;

use wdk_alloc::WdkAllocator;
use wdk_sys::{DRIVER_OBJECT, HW_INITIALIZATION_DATA, NTSTATUS, PCUNICODE_STRING, storage::StorPortInitialize};

#[global_allocator]
static ALLOCATOR: WdkAllocator = WdkAllocator;

/// Entry point of the image.
#[expect(unsafe_code, reason = "the entry point's name is fixed")]
#[unsafe(export_name = "DriverEntry")]
pub extern "system" fn driver_entry(driver: *mut DRIVER_OBJECT, registry_path: PCUNICODE_STRING) -> NTSTATUS {
    let mut data = HW_INITIALIZATION_DATA::default();
    data.HwInitializationDataSize = size_of::<HW_INITIALIZATION_DATA>() as u32;
    // SAFETY: the arguments are the kernel's own, and the port driver copies the structure.
    let status = unsafe {
        StorPortInitialize(driver.cast(), registry_path.cast_mut().cast(), (&raw mut data).cast(), core::ptr::null_mut())
    };
    status.cast_signed()
}
