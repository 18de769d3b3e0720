//! Processors and groups. One processor in one group for now; the numbers come from one place.

use super::Export;
use crate::cpu::percpu;
use crate::memory::driver;

/// Active processors.
pub fn count() -> u64 {
    1
}

/// The exports of this file.
pub const TABLE: &[(&str, Export)] = &[
    ("KeQueryActiveProcessorCountEx", |_| count()),
    ("KeQueryActiveProcessorCount", |a| {
        driver::write_optional("KeQueryActiveProcessorCount", a.get(0), (1u64 << count()) - 1);
        count()
    }),
    ("KeQueryMaximumProcessorCountEx", |_| count()),
    ("KeQueryMaximumProcessorCount", |_| count()),
    ("KeQueryActiveProcessors", |_| (1 << count()) - 1),
    ("KeQueryActiveGroupCount", |_| 1),
    ("KeQueryMaximumGroupCount", |_| 1),
    ("KeQueryGroupAffinity", |a| if a.get(0) as u16 == 0 { (1 << count()) - 1 } else { 0 }),
    ("KeQueryHighestNodeNumber", |_| 0),
    ("KeGetCurrentProcessorNumberEx", |a| {
        let number = percpu::current().number;
        driver::write_optional("KeGetCurrentProcessorNumberEx", a.get(0), [0u8, 0, number as u8, 0]);
        u64::from(number)
    }),
    ("KeGetCurrentProcessorNumber", |_| u64::from(percpu::current().number)),
    ("KeGetProcessorNumberFromIndex", |a| {
        let index = a.get(0) & 0xFFFF_FFFF;
        if index >= count() {
            return 0xC000_000D;
        }
        driver::write("KeGetProcessorNumberFromIndex", a.get(1), [0u8, 0, index as u8, 0]);
        0
    }),
    ("KeGetProcessorIndexFromNumber", |a| {
        let number = driver::read::<[u8; 4]>("KeGetProcessorIndexFromNumber", a.get(0));
        if number[0] == 0 && number[1] == 0 && u64::from(number[2]) < count() {
            u64::from(number[2])
        } else {
            0xFFFF_FFFF
        }
    }),
];
