//! Descriptor chains as the device walks them (2.7.5), and every rule a chain has to keep.

use std::fmt;
use std::sync::atomic::Ordering;

use super::{Ram, Violation};
use crate::memory::SharedMemory;
use crate::spec::Features;
use crate::spec::ring::{DESCRIPTOR_BYTES, DescriptorFlags};

/// One buffer of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Device address
    pub address: u64,
    /// Bytes
    pub length: u32,
    /// The device writes it; otherwise it reads it.
    pub writable: bool,
}

/// A chain: its head, and its buffers in order. Prints as `R 16 / W 4096 / W 1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Index of the head descriptor, which is the request's id
    pub head: u16,
    /// The buffers
    pub pieces: Vec<Piece>,
    /// Whether they are in a table of their own
    pub indirect: bool,
}

impl Chain {
    /// Bytes of the buffers the device writes.
    pub fn writable_bytes(&self) -> usize {
        self.pieces.iter().filter(|piece| piece.writable).map(|piece| piece.length as usize).sum()
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, piece) in self.pieces.iter().enumerate() {
            let separator = if position == 0 { "" } else { " / " };
            let direction = if piece.writable { 'W' } else { 'R' };
            write!(formatter, "{separator}{direction} {}", piece.length)?;
        }
        Ok(())
    }
}

struct RawDescriptor {
    address: u64,
    length: u32,
    flags: DescriptorFlags,
    next: u16,
}

/// A table of descriptors in memory: the queue's own, or an indirect one.
#[derive(Clone, Copy)]
struct Table {
    offset: usize,
    entries: u16,
}

impl Table {
    fn find(ram: &Ram, address: u64, bytes: usize) -> Result<Self, Violation> {
        let offset = ram
            .offset(address, bytes)
            .ok_or(Violation::OutsideMemory { address, length: u32::try_from(bytes).unwrap_or(u32::MAX) })?;
        Ok(Self { offset, entries: u16::try_from(bytes / DESCRIPTOR_BYTES).unwrap_or(u16::MAX) })
    }

    fn read(self, ram: &Ram, index: u16) -> Result<RawDescriptor, Violation> {
        if index >= self.entries {
            return Err(Violation::DescriptorOutOfRange { index });
        }
        let at = self.offset + usize::from(index) * DESCRIPTOR_BYTES;
        let words = ram.words();
        let rest = words.load64(at + 8, Ordering::Relaxed);
        Ok(RawDescriptor {
            address: words.load64(at, Ordering::Relaxed),
            length: rest as u32,
            flags: DescriptorFlags::from_bits_retain((rest >> 32) as u16),
            next: (rest >> 48) as u16,
        })
    }
}

/// Walks the chain that starts at `head` of the table at `descriptors`.
pub(super) fn walk(
    ram: &Ram,
    descriptors: u64,
    queue_size: u16,
    features: Features,
    head: u16,
) -> Result<Chain, Violation> {
    let mut table = Table::find(ram, descriptors, usize::from(queue_size) * DESCRIPTOR_BYTES)?;
    let mut chain = Chain { head, pieces: Vec::new(), indirect: false };
    let mut total = 0_u64;
    let mut at = head;
    loop {
        let descriptor = table.read(ram, at)?;
        if !DescriptorFlags::all().contains(descriptor.flags) {
            return Err(Violation::DescriptorFlags { head, flags: descriptor.flags.bits() });
        }
        if descriptor.flags.contains(DescriptorFlags::INDIRECT) {
            let whole =
                (descriptor.length as usize).is_multiple_of(DESCRIPTOR_BYTES) && descriptor.length > 0;
            let allowed = features.contains(Features::RING_INDIRECT_DESC)
                && !chain.indirect
                && !descriptor.flags.contains(DescriptorFlags::NEXT);
            if !whole || !allowed {
                return Err(Violation::BadIndirect { head });
            }
            table = Table::find(ram, descriptor.address, descriptor.length as usize)?;
            if !descriptor.address.is_multiple_of(DESCRIPTOR_BYTES as u64) {
                return Err(Violation::BadIndirect { head });
            }
            chain.indirect = true;
            at = 0;
            continue;
        }
        let writable = descriptor.flags.contains(DescriptorFlags::WRITE);
        if !writable && chain.pieces.last().is_some_and(|last| last.writable) {
            return Err(Violation::ReadableAfterWritable { head });
        }
        if descriptor.length == 0 {
            return Err(Violation::EmptyBuffer { head });
        }
        if ram.offset(descriptor.address, descriptor.length as usize).is_none() {
            return Err(Violation::OutsideMemory { address: descriptor.address, length: descriptor.length });
        }
        total += u64::from(descriptor.length);
        if total > 1 << 32 {
            return Err(Violation::ChainTooLarge { head });
        }
        chain.pieces.push(Piece { address: descriptor.address, length: descriptor.length, writable });
        if chain.pieces.len() > usize::from(queue_size) {
            return Err(Violation::ChainTooLong { head });
        }
        if !descriptor.flags.contains(DescriptorFlags::NEXT) {
            return Ok(chain);
        }
        at = descriptor.next;
    }
}
