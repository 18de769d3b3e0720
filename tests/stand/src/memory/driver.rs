//! Reading and writing through pointers the driver gave us. A bad pointer is the driver's fault, so it is named with the
//! function it was passed to.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use crate::loader;
use crate::memory::{PAGE, arena, paging};

fn check(what: &str, address: u64, size: usize, write: bool) {
    if size == 0 {
        return;
    }
    let last = address.wrapping_add(size as u64 - 1);
    let mut page = address & !(PAGE - 1);
    loop {
        match paging::translate(page) {
            Some((_, writable)) if writable || !write => {}
            _ => crate::broken!(
                "bad-pointer",
                "{what} got a pointer to {address:#x} ({size} bytes), which it cannot use"
            ),
        }
        if page >= last & !(PAGE - 1) {
            break;
        }
        page += PAGE;
    }
}

/// Checks that a range can be written.
pub fn probe(what: &str, address: u64, size: usize) {
    check(what, address, size, true);
}

/// Whether the driver has memory there that it may write: its stacks, what it was given, or data of its image.
pub fn is_own(address: u64, size: usize) -> bool {
    let last = address.wrapping_add(size as u64 - 1);
    [address, last].iter().all(|address| {
        (arena::is_ours(*address) || loader::is_image(*address))
            && paging::translate(address & !(PAGE - 1)).is_some_and(|(_, writable)| writable)
    })
}

/// Reads a value of plain data.
pub fn read<T: Copy>(what: &str, address: u64) -> T {
    check(what, address, size_of::<T>(), false);
    // SAFETY: the range is mapped, and callers read integers and structures of integers only.
    unsafe { (address as *const T).read_unaligned() }
}

/// Writes a value of plain data.
pub fn write<T: Copy>(what: &str, address: u64, value: T) {
    check(what, address, size_of::<T>(), true);
    // SAFETY: the range is mapped and writable; it belongs to the driver.
    unsafe { (address as *mut T).write_unaligned(value) }
}

/// Writes a value if the pointer is not null.
pub fn write_optional<T: Copy>(what: &str, address: u64, value: T) {
    if address != 0 {
        write(what, address, value);
    }
}

/// Copies bytes out.
pub fn bytes(what: &str, address: u64, length: usize) -> Vec<u8> {
    check(what, address, length, false);
    let mut copy = vec![0; length];
    // SAFETY: the range is mapped; the copy has the same length.
    unsafe { core::ptr::copy_nonoverlapping(address as *const u8, copy.as_mut_ptr(), length) };
    copy
}

/// Copies bytes in.
pub fn put(what: &str, address: u64, bytes: &[u8]) {
    check(what, address, bytes.len(), true);
    // SAFETY: the range is mapped and writable.
    unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), address as *mut u8, bytes.len()) };
}

/// Moves bytes that may overlap, as memmove does.
pub fn copy(what: &str, to: u64, from: u64, length: usize) {
    check(what, from, length, false);
    check(what, to, length, true);
    // SAFETY: both ranges are mapped, the target is writable.
    unsafe { core::ptr::copy(from as *const u8, to as *mut u8, length) };
}

/// Fills bytes.
pub fn fill(what: &str, to: u64, byte: u8, length: usize) {
    check(what, to, length, true);
    // SAFETY: the range is mapped and writable.
    unsafe { core::ptr::write_bytes(to as *mut u8, byte, length) };
}

/// A zero-terminated text of at most `most` bytes.
pub fn text(what: &str, address: u64, most: usize) -> String {
    let mut text = String::new();
    for index in 0..most as u64 {
        match read::<u8>(what, address + index) {
            0 => break,
            byte => text.push(char::from(byte)),
        }
    }
    text
}

/// A zero-terminated UTF-16 text of at most `most` units.
pub fn wide_text(what: &str, address: u64, most: usize) -> String {
    let mut text = String::new();
    for index in 0..most as u64 {
        match read::<u16>(what, address + 2 * index) {
            0 => break,
            unit => text.push(char::from_u32(u32::from(unit)).unwrap_or('?')),
        }
    }
    text
}
