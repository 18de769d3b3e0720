//! Processors and groups. Windows puts up to 64 processors into a group; a machine with few of them has one, unless
//! `groups=` asks for more, which splits them evenly so that drivers' code for groups is run.

use core::sync::atomic::{AtomicU32, Ordering};

use super::export::Export;
use crate::cpu::{percpu, smp};
use crate::memory::driver;

static GROUPS: AtomicU32 = AtomicU32::new(1);
static PER_GROUP: AtomicU32 = AtomicU32::new(1);

/// Splits so many processors into groups; called before the others start.
pub fn start(groups: u32, processors: u32) {
    let groups = groups.clamp(1, processors);
    GROUPS.store(groups, Ordering::Relaxed);
    PER_GROUP.store(processors.div_ceil(groups), Ordering::Relaxed);
}

/// Active processors of all groups.
pub fn count() -> u64 {
    u64::from(smp::count())
}

/// Groups.
pub fn groups() -> u32 {
    GROUPS.load(Ordering::Relaxed)
}

fn per_group() -> u32 {
    PER_GROUP.load(Ordering::Relaxed)
}

/// Group of a processor, and its number there.
pub fn place(index: u32) -> (u16, u8) {
    ((index / per_group()) as u16, (index % per_group()) as u8)
}

/// PROCESSOR_NUMBER of a processor: group, number, a reserved byte.
pub fn number(index: u32) -> [u8; 4] {
    let (group, number) = place(index);
    let [low, high] = group.to_le_bytes();
    [low, high, number, 0]
}

/// Index of the processor with this PROCESSOR_NUMBER, if there is one.
pub fn index(number: [u8; 4]) -> Option<u32> {
    let group = u32::from(u16::from_le_bytes([number[0], number[1]]));
    let inside = u32::from(number[2]) < members(group);
    inside.then(|| group * per_group() + u32::from(number[2]))
}

/// Processors of a group; 0 when there is no such group.
fn members(group: u32) -> u32 {
    smp::count().saturating_sub(group.saturating_mul(per_group())).min(per_group())
}

/// Affinity mask of all processors of a group; 0 when there is no such group.
pub fn mask(group: u16) -> u64 {
    match members(u32::from(group)) {
        64.. => !0,
        members => (1 << members) - 1,
    }
}

/// GROUP_AFFINITY of one processor: the mask, then the group.
pub fn affinity(index: u32) -> [u64; 2] {
    let (group, number) = place(index);
    [1 << number, u64::from(group)]
}

const ALL_GROUPS: u64 = 0xFFFF;

/// KeQueryActiveProcessorCountEx(GroupNumber): one group's, or all with ALL_PROCESSOR_GROUPS.
fn active(group: u64) -> u64 {
    match group & 0xFFFF {
        ALL_GROUPS => count(),
        group => u64::from(members(group as u32)),
    }
}

/// The exports of this file. The functions without a group speak of the group of the caller's thread; here that is
/// group 0, as for a driver that knows nothing of groups.
pub const TABLE: &[(&str, Export)] = &[
    ("KeQueryActiveProcessorCountEx", |a| active(a.get(0))),
    ("KeQueryActiveProcessorCount", |a| {
        driver::write_optional("KeQueryActiveProcessorCount", a.get(0), mask(0));
        active(0)
    }),
    ("KeQueryMaximumProcessorCountEx", |a| active(a.get(0))),
    ("KeQueryMaximumProcessorCount", |_| active(0)),
    ("KeQueryActiveProcessors", |_| mask(0)),
    ("KeQueryActiveGroupCount", |_| u64::from(groups())),
    ("KeQueryMaximumGroupCount", |_| u64::from(groups())),
    ("KeQueryGroupAffinity", |a| mask(a.get(0) as u16)),
    ("KeQueryHighestNodeNumber", |_| 0),
    ("KeGetCurrentProcessorNumberEx", |a| {
        let index = percpu::number();
        driver::write_optional("KeGetCurrentProcessorNumberEx", a.get(0), number(index));
        u64::from(index)
    }),
    ("KeGetCurrentProcessorNumber", |_| u64::from(place(percpu::number()).1)),
    ("KeGetProcessorNumberFromIndex", |a| {
        let index = a.get(0) & 0xFFFF_FFFF;
        if index >= count() {
            return 0xC000_000D;
        }
        driver::write("KeGetProcessorNumberFromIndex", a.get(1), number(index as u32));
        0
    }),
    ("KeGetProcessorIndexFromNumber", |a| {
        let number = driver::read::<[u8; 4]>("KeGetProcessorIndexFromNumber", a.get(0));
        index(number).map_or(0xFFFF_FFFF, u64::from)
    }),
];
