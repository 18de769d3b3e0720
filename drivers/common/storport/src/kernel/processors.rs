//! How many processors there are and which one this is, counted through all groups.

use core::ptr;

use wdk_sys::ntddk::{
    KeGetCurrentProcessorNumberEx, KeQueryActiveProcessorCountEx, KeQueryMaximumProcessorCountEx,
};

/// ALL_PROCESSOR_GROUPS
const ALL_PROCESSOR_GROUPS: u16 = 0xffff;

/// Those that there can be without a restart. IRQL: any.
pub(super) fn possible() -> u16 {
    // SAFETY: the routine has no preconditions.
    let processors = unsafe { KeQueryMaximumProcessorCountEx(ALL_PROCESSOR_GROUPS) };
    u16::try_from(processors).unwrap_or(u16::MAX)
}

/// Those that run. IRQL: any.
pub(super) fn active() -> u16 {
    // SAFETY: the routine has no preconditions.
    let processors = unsafe { KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS) };
    u16::try_from(processors).unwrap_or(u16::MAX)
}

/// The number of the one that this runs on. IRQL: any; below DISPATCH_LEVEL it may be another one the next moment.
pub(super) fn current() -> u32 {
    // SAFETY: group and number in the group may be left out.
    unsafe { KeGetCurrentProcessorNumberEx(ptr::null_mut()) }
}
