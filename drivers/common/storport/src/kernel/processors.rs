//! How many processors there are and which one this is, counted through all groups, and where one is in its group.

use core::ptr;

use wdk_sys::ntddk::{
    KeGetCurrentProcessorNumberEx, KeGetProcessorNumberFromIndex, KeQueryActiveProcessorCountEx,
    KeQueryMaximumProcessorCountEx,
};
use wdk_sys::{GROUP_AFFINITY, PROCESSOR_NUMBER, STATUS_SUCCESS, ULONG};

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
#[inline]
pub(super) fn current() -> u32 {
    // SAFETY: group and number in the group may be left out.
    unsafe { KeGetCurrentProcessorNumberEx(ptr::null_mut()) }
}

/// Group, and number in the group, of the one with this number. `None`: there is none such now. IRQL: any.
pub(super) fn place(processor: u32) -> Option<PROCESSOR_NUMBER> {
    let mut place = PROCESSOR_NUMBER::default();
    // SAFETY: the structure is ours to have filled.
    let status = unsafe { KeGetProcessorNumberFromIndex(ULONG::from(processor), &raw mut place) };
    (status == STATUS_SUCCESS).then_some(place)
}

/// Whether the processors of a group are this one, or it is among them.
pub(super) const fn is_in(place: PROCESSOR_NUMBER, affinity: &GROUP_AFFINITY) -> bool {
    // A mask has 64 bits, and a group no more processors.
    affinity.Group == place.Group && affinity.Mask >> (place.Number & 63) & 1 != 0
}
