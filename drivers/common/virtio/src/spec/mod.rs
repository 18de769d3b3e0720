//! Types of the virtio specification, version 1.3: names and numbers, no behaviour.

pub mod blk;
pub mod pci;
pub mod ring;
pub mod scsi;

use bitflags::bitflags;

/// PCI vendor id of every virtio device (4.1.2).
pub const PCI_VENDOR_ID: u16 = 0x1af4;

bitflags! {
    /// Feature bits (section 6, and 5.2.3 for virtio-blk). Bits 0 to 23 mean what the device type says.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Features: u64 {
        /// virtio-blk: `size_max` limits a segment.
        #[doc(alias = "VIRTIO_BLK_F_SIZE_MAX")]
        const BLK_SIZE_MAX = 1 << 1;
        /// virtio-blk: `seg_max` limits the segments of a request.
        #[doc(alias = "VIRTIO_BLK_F_SEG_MAX")]
        const BLK_SEG_MAX = 1 << 2;
        /// virtio-blk: the disk is read-only.
        #[doc(alias = "VIRTIO_BLK_F_RO")]
        const BLK_RO = 1 << 5;
        /// virtio-blk: `blk_size` is the logical block size.
        #[doc(alias = "VIRTIO_BLK_F_BLK_SIZE")]
        const BLK_BLK_SIZE = 1 << 6;
        /// virtio-blk: the flush command.
        #[doc(alias = "VIRTIO_BLK_F_FLUSH")]
        const BLK_FLUSH = 1 << 9;
        /// Tables of descriptors (2.7.5.3).
        #[doc(alias = "VIRTIO_F_INDIRECT_DESC")]
        const RING_INDIRECT_DESC = 1 << 28;
        /// `used_event` and `avail_event` (2.7.7, 2.7.10).
        #[doc(alias = "VIRTIO_F_EVENT_IDX")]
        const RING_EVENT_IDX = 1 << 29;
        /// The device follows version 1 of the specification.
        #[doc(alias = "VIRTIO_F_VERSION_1")]
        const VERSION_1 = 1 << 32;
        /// The device's addresses are those of the platform's DMA, not physical ones.
        #[doc(alias = "VIRTIO_F_ACCESS_PLATFORM")]
        const ACCESS_PLATFORM = 1 << 33;

        const _ = !0;
    }

    /// The device status field (2.1).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct DeviceStatus: u8 {
        /// The guest has noticed the device.
        const ACKNOWLEDGE = 1;
        /// The guest knows how to drive it.
        const DRIVER = 2;
        /// The driver is ready.
        const DRIVER_OK = 4;
        /// The features are settled.
        const FEATURES_OK = 8;
        /// The device cannot go on without a reset.
        const DEVICE_NEEDS_RESET = 64;
        /// The driver gave up.
        const FAILED = 128;

        const _ = !0;
    }
}

impl DeviceStatus {
    /// All bits set: what a register reads when the device is not there any more.
    pub const fn is_removed(self) -> bool {
        self.bits() == u8::MAX
    }

    /// Whether the device asks for a reset.
    pub const fn needs_reset(self) -> bool {
        !self.is_removed() && self.contains(Self::DEVICE_NEEDS_RESET)
    }
}
