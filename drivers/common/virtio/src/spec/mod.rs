//! Types of the virtio specification, version 1.3: names and numbers, no behaviour.

pub mod blk;
pub mod pci;
pub mod ring;
pub mod scsi;

use bitflags::bitflags;

/// PCI vendor id of every virtio device (4.1.2).
pub const PCI_VENDOR_ID: u16 = 0x1af4;

bitflags! {
    /// Feature bits (section 6, 5.2.3 for virtio-blk, 5.6.3 for virtio-scsi). Bits 0 to 23 mean what the device type
    /// says, so a name of another type may share the bit.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Features: u64 {
        /// virtio-blk: `size_max` limits a segment.
        #[doc(alias = "VIRTIO_BLK_F_SIZE_MAX")]
        const BLK_SIZE_MAX = 1 << 1;
        /// virtio-blk: `seg_max` limits the segments of a request.
        #[doc(alias = "VIRTIO_BLK_F_SEG_MAX")]
        const BLK_SEG_MAX = 1 << 2;
        /// virtio-blk: `geometry` has cylinders, heads and sectors.
        #[doc(alias = "VIRTIO_BLK_F_GEOMETRY")]
        const BLK_GEOMETRY = 1 << 4;
        /// virtio-blk: the disk is read-only.
        #[doc(alias = "VIRTIO_BLK_F_RO")]
        const BLK_RO = 1 << 5;
        /// virtio-blk: `blk_size` is the logical block size.
        #[doc(alias = "VIRTIO_BLK_F_BLK_SIZE")]
        const BLK_BLK_SIZE = 1 << 6;
        /// virtio-blk: the flush command.
        #[doc(alias = "VIRTIO_BLK_F_FLUSH")]
        const BLK_FLUSH = 1 << 9;
        /// virtio-blk: alignment and sizes that suit the disk.
        #[doc(alias = "VIRTIO_BLK_F_TOPOLOGY")]
        const BLK_TOPOLOGY = 1 << 10;
        /// virtio-blk: `writeback` shows and sets the cache mode.
        #[doc(alias = "VIRTIO_BLK_F_CONFIG_WCE")]
        const BLK_CONFIG_WCE = 1 << 11;
        /// virtio-blk: several queues.
        #[doc(alias = "VIRTIO_BLK_F_MQ")]
        const BLK_MQ = 1 << 12;
        /// virtio-blk: the discard command.
        #[doc(alias = "VIRTIO_BLK_F_DISCARD")]
        const BLK_DISCARD = 1 << 13;
        /// virtio-blk: the write zeroes command.
        #[doc(alias = "VIRTIO_BLK_F_WRITE_ZEROES")]
        const BLK_WRITE_ZEROES = 1 << 14;
        /// virtio-blk: the command that tells how worn the storage is.
        #[doc(alias = "VIRTIO_BLK_F_LIFETIME")]
        const BLK_LIFETIME = 1 << 15;
        /// virtio-blk: the secure erase command.
        #[doc(alias = "VIRTIO_BLK_F_SECURE_ERASE")]
        const BLK_SECURE_ERASE = 1 << 16;
        /// virtio-blk: `zoned` says how the device is divided into zones.
        #[doc(alias = "VIRTIO_BLK_F_ZONED")]
        const BLK_ZONED = 1 << 17;
        /// virtio-scsi: events for units that come and go.
        #[doc(alias = "VIRTIO_SCSI_F_HOTPLUG")]
        const SCSI_HOTPLUG = 1 << 1;
        /// virtio-scsi: events for changed parameters of a unit.
        #[doc(alias = "VIRTIO_SCSI_F_CHANGE")]
        const SCSI_CHANGE = 1 << 2;
        /// Legacy devices only: the device interrupts when a queue runs empty, whatever the driver asked for (6.3).
        #[doc(alias = "VIRTIO_F_NOTIFY_ON_EMPTY")]
        const NOTIFY_ON_EMPTY = 1 << 24;
        /// Legacy devices only: the device does not care how a request is cut into descriptors (2.7.4.3). A driver must
        /// accept it (6.3), and `negotiate` does.
        #[doc(alias = "VIRTIO_F_ANY_LAYOUT")]
        const ANY_LAYOUT = 1 << 27;
        /// Tables of descriptors (2.7.5.3).
        #[doc(alias = "VIRTIO_F_INDIRECT_DESC")]
        const RING_INDIRECT_DESC = 1 << 28;
        /// `used_event` and `avail_event` (2.7.7, 2.7.10).
        #[doc(alias = "VIRTIO_F_EVENT_IDX")]
        const RING_EVENT_IDX = 1 << 29;
        /// The device follows version 1 of the specification.
        #[doc(alias = "VIRTIO_F_VERSION_1")]
        const VERSION_1 = 1 << 32;
        /// The device's addresses are those of the platform's DMA, not physical ones. A device that offers it may refuse
        /// to work when it is not accepted (6.2), since it could not reach the memory; a driver whose addresses come from
        /// the platform's DMA services, as StorPort's do, has every reason to accept it.
        #[doc(alias = "VIRTIO_F_ACCESS_PLATFORM")]
        const ACCESS_PLATFORM = 1 << 33;
        /// The packed ring (2.8).
        #[doc(alias = "VIRTIO_F_RING_PACKED")]
        const RING_PACKED = 1 << 34;
        /// Buffers are used in the order in which they were made available.
        #[doc(alias = "VIRTIO_F_IN_ORDER")]
        const IN_ORDER = 1 << 35;
        /// Memory is ordered as the platform orders it for real devices: the driver's fences have to hold for them too,
        /// not only between processors. This crate's do on x86-64, where memory is cached coherently and the doorbell is
        /// an uncached write that the processor does not move before earlier ones; accepting it changes nothing else.
        #[doc(alias = "VIRTIO_F_ORDER_PLATFORM")]
        const ORDER_PLATFORM = 1 << 36;
        /// The device has virtual functions (SR-IOV). Accepting it allows them to be switched on, through the PCI capability
        /// that such a device has to have (6.1); whoever owns the bus does that, so it has no effect here.
        #[doc(alias = "VIRTIO_F_SR_IOV")]
        const SR_IOV = 1 << 37;
        /// Notifications carry the ring's position (2.9).
        #[doc(alias = "VIRTIO_F_NOTIFICATION_DATA")]
        const NOTIFICATION_DATA = 1 << 38;
        /// Notifications name the queue by a value that the device chose (4.1.5.2).
        #[doc(alias = "VIRTIO_F_NOTIF_CONFIG_DATA")]
        const NOTIF_CONFIG_DATA = 1 << 39;
        /// A queue can be reset by itself (2.6.1).
        #[doc(alias = "VIRTIO_F_RING_RESET")]
        const RING_RESET = 1 << 40;

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
