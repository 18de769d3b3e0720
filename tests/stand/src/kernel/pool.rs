//! Pool. Every block has pages of its own and ends where they end, so that the byte after it faults; a freed block's
//! pages stay away.

use alloc::collections::BTreeMap;
use alloc::string::String;

use super::export::Export;
use crate::cpu::arguments::Arguments;
use crate::cpu::irql;
use crate::cpu::lock::Lock;
use crate::memory::dma::{Access, Grant};
use crate::memory::{PAGE, arena, driver};

/// The exports of this file.
pub const TABLE: &[(&str, Export)] = &[
    // POOL_FLAG_UNINITIALIZED is bit 1; POOL_FLAG_PAGED bit 8 (nf-wdm-exallocatepool2.md).
    ("ExAllocatePool2", |a| {
        allocate("ExAllocatePool2", a.get(1), a.get(2), a.get(0) & 0x100 != 0, a.get(0) & 2 == 0)
    }),
    ("ExAllocatePool3", |a| {
        allocate("ExAllocatePool3", a.get(1), a.get(2), a.get(0) & 0x100 != 0, a.get(0) & 2 == 0)
    }),
    ("ExAllocatePoolWithTag", |a| {
        allocate("ExAllocatePoolWithTag", a.get(1), a.get(2), a.get(0) & 1 != 0, false)
    }),
    ("ExAllocatePoolZero", |a| allocate("ExAllocatePoolZero", a.get(1), a.get(2), a.get(0) & 1 != 0, true)),
    ("ExAllocatePoolUninitialized", |a| {
        allocate("ExAllocatePoolUninitialized", a.get(1), a.get(2), a.get(0) & 1 != 0, false)
    }),
    ("ExAllocatePool", |a| allocate("ExAllocatePool", a.get(1), 0x656E_6F4E, a.get(0) & 1 != 0, false)),
    ("ExFreePool", |a| free("ExFreePool", a)),
    ("ExFreePoolWithTag", |a| free("ExFreePoolWithTag", a)),
    ("MmAllocateContiguousMemory", |a| contiguous("MmAllocateContiguousMemory", a.get(0))),
    ("MmAllocateContiguousMemorySpecifyCache", |a| {
        contiguous("MmAllocateContiguousMemorySpecifyCache", a.get(0))
    }),
    ("MmFreeContiguousMemory", |a| free("MmFreeContiguousMemory", a)),
    ("MmFreeContiguousMemorySpecifyCache", |a| free("MmFreeContiguousMemorySpecifyCache", a)),
];

struct Block {
    range: arena::Range,
    size: u64,
    tag: u32,
    /// The device's right to it.
    _grant: Grant,
}

static BLOCKS: Lock<BTreeMap<u64, Block>> = Lock::new(BTreeMap::new());

fn tag_text(tag: u32) -> String {
    stand::scsi::text(&tag.to_le_bytes())
}

/// Places `size` bytes at the end of a range, 16-byte aligned as pool is.
fn place(range: arena::Range, size: u64) -> u64 {
    range.address + range.pages * PAGE - size.next_multiple_of(16)
}

/// Allocates from pool; 0 when there is no memory.
pub fn allocate(function: &str, size: u64, tag: u64, paged: bool, zeroed: bool) -> u64 {
    super::export::at_most(function, if paged { 1 } else { irql::DISPATCH });
    let size = if function.starts_with("ExAllocatePool") { size } else { size & 0xFFFF_FFFF };
    if size == 0 || size > 64 << 20 {
        return 0;
    }
    let Some(range) = arena::scattered(size.next_multiple_of(16)) else { return 0 };
    let address = place(range, size);
    if !zeroed {
        driver::fill(function, address, 0xCD, size as usize);
    }
    BLOCKS.lock().insert(address, Block { range, size, tag: tag as u32, _grant: Grant::default() });
    address
}

/// Allocates physically contiguous memory, page aligned; 0 when there is none.
pub fn contiguous(function: &str, size: u64) -> u64 {
    super::export::at_most(function, irql::DISPATCH);
    let Some((range, physical)) = arena::contiguous(size.max(1)) else { return 0 };
    let mut grant = Grant::default();
    grant.add(physical, size.max(1), Access::BOTH);
    BLOCKS.lock().insert(range.address, Block { range, size, tag: 0, _grant: grant });
    range.address
}

fn free(function: &str, a: Arguments) -> u64 {
    super::export::at_most(function, irql::DISPATCH);
    if !release(a.get(0)) {
        crate::broken!(
            "bad-free",
            "{function} of {:#x}, which is no block, in {}",
            a.get(0),
            super::export::whereabouts(a)
        );
    }
    0
}

/// Frees a block; false when there is none at this address.
pub fn release(address: u64) -> bool {
    let block = BLOCKS.lock().remove(&address);
    match block {
        Some(block) => {
            arena::release(block.range);
            true
        }
        None => false,
    }
}

/// Blocks not freed, for a person: count, bytes and the tags.
pub fn outstanding() -> (usize, u64, String) {
    let blocks = BLOCKS.lock();
    let mut tags = String::new();
    for block in blocks.values().take(8) {
        tags.push(' ');
        tags.push_str(&tag_text(block.tag));
    }
    (blocks.len(), blocks.values().map(|b| b.size).sum(), tags)
}
