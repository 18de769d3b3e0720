//! The split virtqueue (2.7).

use bitflags::bitflags;
use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

bitflags! {
    /// Flags of a descriptor (2.7.5).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct DescriptorFlags: u16 {
        /// `next` continues the chain.
        #[doc(alias = "VIRTQ_DESC_F_NEXT")]
        const NEXT = 1;
        /// The device writes the buffer; otherwise it reads it.
        #[doc(alias = "VIRTQ_DESC_F_WRITE")]
        const WRITE = 2;
        /// The buffer is a table of descriptors.
        #[doc(alias = "VIRTQ_DESC_F_INDIRECT")]
        const INDIRECT = 4;
    }
}

/// One descriptor (2.7.5).
#[doc(alias = "virtq_desc")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Descriptor {
    /// Device address of the buffer.
    pub address: U64,
    /// Its length in bytes.
    pub length: U32,
    /// [`DescriptorFlags`]
    pub flags: U16,
    /// The next descriptor, with [`DescriptorFlags::NEXT`].
    pub next: U16,
}

static_assertions::const_assert_eq!(size_of::<Descriptor>(), 16);

/// Bytes of a descriptor.
pub const DESCRIPTOR_BYTES: usize = size_of::<Descriptor>();

/// `flags` of the available ring: no interrupts, please (2.7.7).
#[doc(alias = "VIRTQ_AVAIL_F_NO_INTERRUPT")]
pub const AVAILABLE_NO_INTERRUPT: u16 = 1;

/// `flags` of the used ring: no notifications, please (2.7.10).
#[doc(alias = "VIRTQ_USED_F_NO_NOTIFY")]
pub const USED_NO_NOTIFY: u16 = 1;

/// Offsets in the available ring (2.7.6).
pub mod available {
    /// `flags`
    pub const FLAGS: usize = 0;
    /// `idx`
    pub const INDEX: usize = 2;
    /// `ring[]`, two bytes each; `used_event` follows
    pub const RING: usize = 4;
}

/// Offsets in the used ring (2.7.8).
pub mod used {
    /// `flags`
    pub const FLAGS: usize = 0;
    /// `idx`
    pub const INDEX: usize = 2;
    /// `ring[]`, eight bytes each (`id`, `len`); `avail_event` follows
    pub const RING: usize = 4;
}

/// The packed virtqueue (2.8).
pub mod packed {
    /// Bit of a descriptor's flags: with [`USED`] different from it, the descriptor is available (2.8.1).
    #[doc(alias = "VIRTQ_DESC_F_AVAIL")]
    pub const AVAILABLE: u16 = 1 << 7;
    /// Bit of a descriptor's flags: equal to [`AVAILABLE`] in a used descriptor (2.8.1).
    #[doc(alias = "VIRTQ_DESC_F_USED")]
    pub const USED: u16 = 1 << 15;

    /// Offsets in a descriptor (2.8.13).
    pub mod descriptor {
        /// Address of the buffer
        pub const ADDRESS: usize = 0;
        /// `len`, `id` and `flags`, which make up one word of 64 bits
        pub const LENGTH_ID_FLAGS: usize = 8;
        /// `flags`
        pub const FLAGS: usize = 14;
    }

    /// Flags of an event suppression structure (2.8.10, 2.8.14): tell me of everything.
    #[doc(alias = "RING_EVENT_FLAGS_ENABLE")]
    pub const EVENTS_ENABLE: u16 = 0;
    /// Tell me of nothing.
    #[doc(alias = "RING_EVENT_FLAGS_DISABLE")]
    pub const EVENTS_DISABLE: u16 = 1;
    /// Tell me when the descriptor is reached that the structure names. Only with VIRTIO_F_EVENT_IDX.
    #[doc(alias = "RING_EVENT_FLAGS_DESC")]
    pub const EVENTS_DESCRIPTOR: u16 = 2;
}
