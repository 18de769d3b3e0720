//! Descriptor chains as the device walks them (2.7.5), and every rule a chain has to keep.

use std::fmt;
use std::sync::atomic::Ordering;

use super::{Ram, Violation};
use virtio::memory::SharedMemory;
use virtio::spec::Features;
use virtio::spec::ring::{DESCRIPTOR_BYTES, DescriptorFlags};

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

/// A chain: its id, and its buffers in order. Prints as `R 16 / W 4096 / W 1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// The request's id: in a split ring the index of the head descriptor, in a packed one the buffer id
    pub head: u16,
    /// The buffers
    pub pieces: Vec<Piece>,
    /// Whether they are in a table of their own
    pub indirect: bool,
    /// Descriptors of the ring that it takes
    pub descriptors: u16,
    /// Address and length of the table, noted where the ring's own descriptor may be overwritten before the end
    pub(super) table: Option<(u64, u32)>,
}

impl Chain {
    pub(super) fn new(head: u16) -> Self {
        Self { head, pieces: Vec::new(), indirect: false, descriptors: 0, table: None }
    }

    /// Adds the next buffer, if it keeps the rules of both kinds of ring. `head` is what a violation names; no chain
    /// may have more than `most` buffers.
    pub(super) fn add(&mut self, ram: &Ram, head: u16, piece: Piece, most: u16) -> Result<(), Violation> {
        if !piece.writable && self.pieces.last().is_some_and(|last| last.writable) {
            return Err(Violation::ReadableAfterWritable { head });
        }
        if piece.length == 0 {
            return Err(Violation::EmptyBuffer { head });
        }
        if ram.offset(piece.address, piece.length as usize).is_none() {
            return Err(Violation::OutsideMemory { address: piece.address, length: piece.length });
        }
        self.pieces.push(piece);
        if self.pieces.len() > usize::from(most) { Err(Violation::ChainTooLong { head }) } else { Ok(()) }
    }

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
    let mut chain = Chain::new(head);
    let mut total = 0_u64;
    let mut at = head;
    loop {
        let descriptor = table.read(ram, at)?;
        chain.descriptors += u16::from(!chain.indirect);
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
        let piece = Piece { address: descriptor.address, length: descriptor.length, writable };
        chain.add(ram, head, piece, queue_size)?;
        total += u64::from(descriptor.length);
        if total > 1 << 32 {
            return Err(Violation::ChainTooLarge { head });
        }
        if !descriptor.flags.contains(DescriptorFlags::NEXT) {
            return Ok(chain);
        }
        if features.contains(Features::IN_ORDER) {
            let ring_ends = !chain.indirect && at + 1 == queue_size;
            if descriptor.next != (if ring_ends { 0 } else { at + 1 }) {
                return Err(Violation::NotInRingOrder { head });
            }
        }
        at = descriptor.next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEXT: u16 = 1;
    const WRITE: u16 = 2;
    const INDIRECT: u16 = 4;
    const SIZE: u16 = 8;

    /// A queue's table, an indirect one and a buffer.
    struct Memory {
        ram: Ram,
        table: u64,
        indirect: u64,
        buffer: u64,
    }

    impl Memory {
        fn new() -> Self {
            let ram = Ram::new(64 * 1024);
            let address = |bytes| ram.alloc(bytes, 16).device_address();
            let (table, indirect, buffer) = (address(16 * 8), address(16 * 16), address(4096));
            Self { ram, table, indirect, buffer }
        }

        fn put(&self, table: u64, index: u64, (address, length, flags, next): (u64, u32, u16, u16)) {
            let mut bytes = address.to_le_bytes().to_vec();
            bytes.extend(length.to_le_bytes());
            bytes.extend(flags.to_le_bytes());
            bytes.extend(next.to_le_bytes());
            self.ram.write(table + 16 * index, &bytes).expect("the table lies in the memory");
        }

        fn walk(&self) -> Result<Chain, Violation> {
            walk(&self.ram, self.table, SIZE, Features::RING_INDIRECT_DESC, 0)
        }
    }

    #[test]
    fn a_direct_chain_is_walked_in_the_order_of_its_links() {
        let memory = Memory::new();
        memory.put(memory.table, 0, (memory.buffer, 16, NEXT, 5));
        memory.put(memory.table, 5, (memory.buffer + 16, 512, NEXT | WRITE, 2));
        memory.put(memory.table, 2, (memory.buffer + 600, 1, WRITE, 7));

        let chain = memory.walk().expect("the chain keeps the rules");

        assert_eq!(chain.to_string(), "R 16 / W 512 / W 1");
        assert!(!chain.indirect);
        assert_eq!(chain.writable_bytes(), 513);
    }

    #[test]
    fn an_indirect_chain_is_walked_in_its_own_table() {
        let memory = Memory::new();
        memory.put(memory.table, 0, (memory.indirect, 48, INDIRECT, 0));
        memory.put(memory.indirect, 0, (memory.buffer, 16, NEXT, 2));
        memory.put(memory.indirect, 2, (memory.buffer, 1, WRITE, 0));

        let chain = memory.walk().expect("the chain keeps the rules");

        assert_eq!(chain.to_string(), "R 16 / W 1");
        assert!(chain.indirect);
    }

    #[test]
    fn a_chain_that_loops_is_too_long() {
        let memory = Memory::new();
        memory.put(memory.table, 0, (memory.buffer, 16, NEXT, 1));
        memory.put(memory.table, 1, (memory.buffer, 16, NEXT, 0));

        assert_eq!(memory.walk(), Err(Violation::ChainTooLong { head: 0 }));
    }

    #[test]
    fn an_indirect_chain_longer_than_the_queue_is_too_long() {
        let memory = Memory::new();
        memory.put(memory.table, 0, (memory.indirect, 16 * 9, INDIRECT, 0));
        for entry in 0..9 {
            let flags = if entry == 8 { 0 } else { NEXT };
            memory.put(memory.indirect, entry, (memory.buffer, 1, flags, entry as u16 + 1));
        }

        assert_eq!(memory.walk(), Err(Violation::ChainTooLong { head: 0 }));
    }

    #[test]
    fn what_a_chain_must_not_do_is_noticed() {
        let memory = Memory::new();
        let inside = memory.buffer;
        let (first, second) = (memory.table, memory.indirect);
        let table = [
            ((inside, 0, 0, 0), Violation::EmptyBuffer { head: 0 }),
            ((inside, 16, NEXT, 8), Violation::DescriptorOutOfRange { index: 8 }),
            ((0, 16, 0, 0), Violation::OutsideMemory { address: 0, length: 16 }),
            ((inside, u32::MAX, 0, 0), Violation::OutsideMemory { address: inside, length: u32::MAX }),
            ((inside, 16, 8, 0), Violation::DescriptorFlags { head: 0, flags: 8 }),
            ((second, 32, INDIRECT | NEXT, 1), Violation::BadIndirect { head: 0 }),
            ((second, 0, INDIRECT, 0), Violation::BadIndirect { head: 0 }),
            ((second, 17, INDIRECT, 0), Violation::BadIndirect { head: 0 }),
            ((second + 8, 16, INDIRECT, 0), Violation::BadIndirect { head: 0 }),
            ((8, 16, INDIRECT, 0), Violation::OutsideMemory { address: 8, length: 16 }),
        ];
        for (descriptor, expected) in table {
            memory.put(first, 0, descriptor);

            assert_eq!(memory.walk(), Err(expected), "{descriptor:x?}");
        }
    }

    #[test]
    fn a_buffer_to_read_after_one_to_write_is_noticed() {
        let memory = Memory::new();
        memory.put(memory.table, 0, (memory.buffer, 16, NEXT | WRITE, 1));
        memory.put(memory.table, 1, (memory.buffer, 16, 0, 0));

        assert_eq!(memory.walk(), Err(Violation::ReadableAfterWritable { head: 0 }));
    }

    #[test]
    fn a_table_inside_a_table_is_noticed() {
        let memory = Memory::new();
        memory.put(memory.table, 0, (memory.indirect, 32, INDIRECT, 0));
        memory.put(memory.indirect, 0, (memory.indirect, 32, INDIRECT, 0));

        assert_eq!(memory.walk(), Err(Violation::BadIndirect { head: 0 }));
    }

    #[test]
    fn in_order_links_go_from_one_descriptor_to_the_next() {
        let in_order = Features::RING_INDIRECT_DESC | Features::IN_ORDER;
        let walked = |head, next, table_next| {
            let memory = Memory::new();
            memory.put(memory.table, head, (memory.buffer, 16, NEXT, next));
            memory.put(memory.table, u64::from(next), (memory.indirect, 32, INDIRECT, 0));
            memory.put(memory.indirect, 0, (memory.buffer, 16, NEXT, table_next));
            memory.put(memory.indirect, 1, (memory.buffer, 16, 0, 0));
            walk(&memory.ram, memory.table, SIZE, in_order, head as u16).map(|chain| chain.descriptors)
        };

        assert_eq!(walked(3, 4, 1), Ok(2));
        assert_eq!(walked(7, 0, 1), Ok(2));
        assert_eq!(walked(3, 5, 1), Err(Violation::NotInRingOrder { head: 3 }));
        assert_eq!(walked(3, 4, 0), Err(Violation::NotInRingOrder { head: 3 }));
    }

    #[test]
    fn a_table_without_the_feature_is_noticed() {
        let memory = Memory::new();
        memory.put(memory.table, 0, (memory.indirect, 32, INDIRECT, 0));

        let walked = walk(&memory.ram, memory.table, SIZE, Features::empty(), 0);

        assert_eq!(walked, Err(Violation::BadIndirect { head: 0 }));
    }
}
