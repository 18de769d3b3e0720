//! Strings and memory.

use super::export::Export;
use crate::memory::driver;

fn strings(a: u64, b: u64, most: u64) -> u64 {
    for index in 0..most {
        let left: u8 = driver::read("strcmp", a + index);
        let right: u8 = driver::read("strcmp", b + index);
        if left != right {
            return (i64::from(left) - i64::from(right)) as u64;
        }
        if left == 0 {
            break;
        }
    }
    0
}

fn length(text: u64, unit: u64, most: u64) -> u64 {
    let mut count = 0;
    while count < most {
        let value = if unit == 1 {
            u16::from(driver::read::<u8>("strlen", text + count))
        } else {
            driver::read::<u16>("wcslen", text + 2 * count)
        };
        if value == 0 {
            break;
        }
        count += 1;
    }
    count
}

/// Initialises a counted string: its length, its room, its buffer.
fn counted(target: u64, text: u64, unit: u64) -> u64 {
    let bytes = if text == 0 { 0 } else { length(text, unit, 0x7FFE) * unit };
    driver::write("RtlInitUnicodeString", target, bytes as u16);
    driver::write("RtlInitUnicodeString", target + 2, if text == 0 { 0 } else { (bytes + unit) as u16 });
    driver::write("RtlInitUnicodeString", target + 8, text);
    0
}

/// The exports of this file.
pub const TABLE: &[(&str, Export)] = &[
    ("RtlInitUnicodeString", |a| counted(a.get(0), a.get(1), 2)),
    ("RtlInitAnsiString", |a| counted(a.get(0), a.get(1), 1)),
    ("memset", |a| {
        driver::fill("memset", a.get(0), a.get(1) as u8, a.get(2) as usize);
        a.get(0)
    }),
    ("memcpy", |a| {
        driver::copy("memcpy", a.get(0), a.get(1), a.get(2) as usize);
        a.get(0)
    }),
    ("memmove", |a| {
        driver::copy("memmove", a.get(0), a.get(1), a.get(2) as usize);
        a.get(0)
    }),
    ("RtlCopyMemory", |a| {
        driver::copy("RtlCopyMemory", a.get(0), a.get(1), a.get(2) as usize);
        0
    }),
    ("RtlMoveMemory", |a| {
        driver::copy("RtlMoveMemory", a.get(0), a.get(1), a.get(2) as usize);
        0
    }),
    ("RtlFillMemory", |a| {
        driver::fill("RtlFillMemory", a.get(0), a.get(2) as u8, a.get(1) as usize);
        0
    }),
    ("RtlZeroMemory", |a| {
        driver::fill("RtlZeroMemory", a.get(0), 0, a.get(1) as usize);
        0
    }),
    ("memcmp", |a| {
        let length = a.get(2) as usize;
        let (left, right) =
            (driver::bytes("memcmp", a.get(0), length), driver::bytes("memcmp", a.get(1), length));
        left.cmp(&right) as i64 as u64
    }),
    ("RtlCompareMemory", |a| {
        let length = a.get(2) as usize;
        let left = driver::bytes("RtlCompareMemory", a.get(0), length);
        let right = driver::bytes("RtlCompareMemory", a.get(1), length);
        left.iter().zip(&right).take_while(|(l, r)| l == r).count() as u64
    }),
    ("strlen", |a| length(a.get(0), 1, u64::from(u32::MAX))),
    ("strnlen", |a| length(a.get(0), 1, a.get(1))),
    ("wcslen", |a| length(a.get(0), 2, u64::from(u32::MAX))),
    ("strcmp", |a| strings(a.get(0), a.get(1), u64::from(u32::MAX))),
    ("strncmp", |a| strings(a.get(0), a.get(1), a.get(2))),
];
