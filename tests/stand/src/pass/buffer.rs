//! Data buffers as awkward as an application's: pages from all over physical memory, any start the adapter's alignment
//! mask allows, unmapped pages before and after.

use stand::stamp::{self, Mismatch, Stamp};

use crate::memory::arena;
use crate::storport::request::Data;

/// Byte that fills a buffer before a read: an unread block is seen.
const EMPTY: u8 = 0x5C;

/// A buffer.
pub struct Buffer {
    range: arena::Range,
    offset: u64,
    /// Bytes.
    pub length: u32,
}

impl Buffer {
    /// A buffer that starts `offset` bytes into its first page.
    pub fn new(length: u32, offset: u32) -> Self {
        Self::of(arena::scattered(u64::from(offset) + u64::from(length)), length, offset)
    }

    /// A buffer of which each page is a segment, wherever memory is free.
    pub fn of_segments(length: u32) -> Self {
        Self::of(arena::apart(u64::from(length)), length, 0)
    }

    fn of(range: Option<arena::Range>, length: u32, offset: u32) -> Self {
        let Some(range) = range else { crate::stop!("no memory for a buffer of {length} bytes") };
        let mut buffer = Buffer { range, offset: u64::from(offset), length };
        buffer.bytes().fill(EMPTY);
        buffer
    }

    /// Offset in its first page.
    pub fn offset(&self) -> u32 {
        self.offset as u32
    }

    /// The bytes.
    pub fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the range is mapped and belongs to this buffer alone; the device writes it only while a request is
        // under way, when nobody looks.
        unsafe {
            core::slice::from_raw_parts_mut(
                (self.range.address + self.offset) as *mut u8,
                self.length as usize,
            )
        }
    }

    /// A part of it as a request's data.
    pub fn part(&self, offset: u32, length: u32) -> Data {
        Data { address: self.range.address + self.offset + u64::from(offset), length }
    }

    /// Stamps consecutive blocks.
    pub fn fill(&mut self, block: u32, first: &Stamp) {
        for (index, bytes) in self.bytes().chunks_exact_mut(block as usize).enumerate() {
            stamp::fill(bytes, &Stamp { lba: first.lba + index as u64, ..*first });
        }
    }

    /// Verifies one block.
    pub fn verify(&mut self, index: usize, block: u32, expected: &Stamp) -> Result<(), Mismatch> {
        let at = index * block as usize;
        stamp::verify(&self.bytes()[at..at + block as usize], expected)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        arena::release(self.range);
    }
}
