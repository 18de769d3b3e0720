//! Command descriptor blocks, as class drivers build them.

/// READ(10)
pub fn read10(block: u32, blocks: u16) -> [u8; 10] {
    ten(0x28, block, blocks)
}

/// WRITE(10)
pub fn write10(block: u32, blocks: u16) -> [u8; 10] {
    ten(0x2a, block, blocks)
}

/// SYNCHRONIZE CACHE(10), the whole disk
pub fn synchronize_cache10() -> [u8; 10] {
    ten(0x35, 0, 0)
}

/// READ(16)
pub fn read16(block: u64, blocks: u32) -> [u8; 16] {
    sixteen(0x88, block, blocks)
}

/// WRITE(16)
pub fn write16(block: u64, blocks: u32) -> [u8; 16] {
    sixteen(0x8a, block, blocks)
}

/// INQUIRY, standard data
pub fn inquiry(allocation_length: u16) -> [u8; 6] {
    let [high, low] = allocation_length.to_be_bytes();
    [0x12, 0, 0, high, low, 0]
}

/// INQUIRY for a page of vital product data
pub fn inquiry_page(page: u8, allocation_length: u16) -> [u8; 6] {
    let [high, low] = allocation_length.to_be_bytes();
    [0x12, 1, page, high, low, 0]
}

fn ten(operation: u8, block: u32, blocks: u16) -> [u8; 10] {
    let mut cdb = [0; 10];
    cdb[0] = operation;
    cdb[2..6].copy_from_slice(&block.to_be_bytes());
    cdb[7..9].copy_from_slice(&blocks.to_be_bytes());
    cdb
}

fn sixteen(operation: u8, block: u64, blocks: u32) -> [u8; 16] {
    let mut cdb = [0; 16];
    cdb[0] = operation;
    cdb[2..10].copy_from_slice(&block.to_be_bytes());
    cdb[10..14].copy_from_slice(&blocks.to_be_bytes());
    cdb
}
