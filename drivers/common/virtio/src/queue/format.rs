//! What surrounds the data of a request.

use zerocopy::{Immutable, IntoBytes};

use crate::memory::BlockSize;
use crate::spec::ring::DESCRIPTOR_BYTES;

/// The requests of one device type: constants and a type, so that the compiler knows every size and offset.
pub trait Format: Sized {
    /// What the device reads first.
    type Header: IntoBytes + Immutable;

    /// Bytes that the device answers.
    const RESPONSE_BYTES: u16;

    /// The response comes before the data that the device writes (virtio-scsi), or after it (virtio-blk).
    const RESPONSE_BEFORE_DATA_IN: bool;

    /// Data segments that a slot's own table has room for.
    const INLINE_SEGMENTS: u16;
}

/// Entries of a table that are not data: header and response.
pub(crate) const FIXED_ENTRIES: u16 = 2;

/// Bytes of an indirect table for so many data segments.
pub(crate) const fn table_bytes(segments: u16) -> usize {
    (segments as usize + FIXED_ENTRIES as usize) * DESCRIPTOR_BYTES
}

/// Sizes that follow from a format.
pub(crate) struct Sizes<F>(core::marker::PhantomData<F>);

impl<F: Format> Sizes<F> {
    /// Bytes of the header.
    pub(crate) const HEADER: usize = size_of::<F::Header>();

    /// Bytes of a slot's own table.
    pub(crate) const TABLE: usize = table_bytes(F::INLINE_SEGMENTS);

    /// From one slot's table to the next one's: the table, and the header behind it.
    pub(crate) const SLOT: usize = (Self::TABLE + Self::HEADER).next_multiple_of(16);

    /// The same where there are no tables.
    pub(crate) const SLOT_WITHOUT_TABLE: usize = Self::HEADER.next_multiple_of(16);

    /// From one slot's response to the next one's. What a device writes for one request must not reach what it wrote for
    /// another, and devices write more than there is: Cloud Hypervisor wrote virtio-blk's status byte as a 32-bit word
    /// (cloud-hypervisor/cloud-hypervisor, virtio-devices/src/block.rs: `write_obj` of `ExecuteError::status`, a `u32`). So
    /// a short response has a word of the largest size, aligned, and one line still holds eight of them; a long one is whole
    /// words, all of which are checked once. They are apart from what the device reads, so that a write that is too long
    /// spoils no table.
    pub(crate) const RESPONSE: usize = match F::RESPONSE_BYTES {
        0..=8 => 8,
        bytes => (bytes as usize).next_multiple_of(8),
    };
}

/// A slot with a table: that and its header.
#[derive(Debug)]
pub(crate) struct SlotBytes<F>(core::marker::PhantomData<F>);

impl<F: Format> BlockSize for SlotBytes<F> {
    const BYTES: usize = Sizes::<F>::SLOT;
}

/// A slot's response.
#[derive(Debug)]
pub(crate) struct ResponseBytes<F>(core::marker::PhantomData<F>);

impl<F: Format> BlockSize for ResponseBytes<F> {
    const BYTES: usize = Sizes::<F>::RESPONSE;
}
