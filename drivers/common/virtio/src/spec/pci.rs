//! virtio over PCI (4.1).

/// What a vendor-specific capability describes (4.1.4), its `cfg_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapabilityType(pub u8);

impl CapabilityType {
    /// Common configuration
    #[doc(alias = "VIRTIO_PCI_CAP_COMMON_CFG")]
    pub const COMMON: Self = Self(1);
    /// Notifications
    #[doc(alias = "VIRTIO_PCI_CAP_NOTIFY_CFG")]
    pub const NOTIFY: Self = Self(2);
    /// ISR status
    #[doc(alias = "VIRTIO_PCI_CAP_ISR_CFG")]
    pub const ISR: Self = Self(3);
    /// Device specific configuration
    #[doc(alias = "VIRTIO_PCI_CAP_DEVICE_CFG")]
    pub const DEVICE: Self = Self(4);
    /// PCI configuration access
    #[doc(alias = "VIRTIO_PCI_CAP_PCI_CFG")]
    pub const PCI: Self = Self(5);

    /// What the structure's offset has to be a multiple of (4.1.4.3.1, 4.1.4.4.1, 4.1.4.5.1, 4.1.4.6.1).
    pub const fn alignment(self) -> u32 {
        match self {
            Self::COMMON | Self::DEVICE => 4,
            Self::NOTIFY => 2,
            _ => 1,
        }
    }
}

/// Offsets in PCI configuration space, as far as virtio needs them.
pub mod config_space {
    use core::ops::RangeInclusive;

    /// Vendor id
    pub const VENDOR_ID: u16 = 0x00;
    /// Device id
    pub const DEVICE_ID: u16 = 0x02;
    /// Device ids of devices that have the legacy interface (4.1.2.3)
    pub const TRANSITIONAL_DEVICE_IDS: RangeInclusive<u16> = 0x1000..=0x103f;
    /// Command
    pub const COMMAND: u16 = 0x04;
    /// Bus Master Enable in [`COMMAND`]
    pub const COMMAND_BUS_MASTER: u16 = 1 << 2;
    /// The first base address register
    pub const BASE_ADDRESSES: u16 = 0x10;
    /// Subsystem vendor id and subsystem id
    pub const SUBSYSTEM: u16 = 0x2c;
    /// Status; bit 4 says that there is a capability list
    pub const STATUS: u16 = 0x06;
    /// Capability list bit in [`STATUS`]
    pub const STATUS_CAPABILITY_LIST: u16 = 1 << 4;
    /// Revision id; 0 with the legacy interface (4.1.2.3)
    pub const REVISION: u16 = 0x08;
    /// Pointer to the first capability
    pub const CAPABILITIES_POINTER: u16 = 0x34;
    /// First byte that a capability may lie at
    pub const FIRST_CAPABILITY: u16 = 0x40;
    /// Capability id of a vendor-specific capability
    pub const VENDOR_SPECIFIC: u8 = 0x09;
    /// Capability id of MSI-X
    pub const MSIX: u8 = 0x11;
    /// Message control, in the MSI-X capability
    pub const MSIX_CONTROL: u16 = 2;
    /// "Enabled" in [`MSIX_CONTROL`]
    pub const MSIX_ENABLE: u16 = 1 << 15;
}

/// Offsets in a virtio capability (4.1.4).
pub mod capability {
    /// `cap_len`
    pub const LENGTH: u16 = 2;
    /// `cfg_type`
    pub const CONFIG_TYPE: u16 = 3;
    /// `bar`
    pub const BAR: u16 = 4;
    /// `offset`
    pub const OFFSET: u16 = 8;
    /// `length`
    pub const STRUCTURE_LENGTH: u16 = 12;
    /// `notify_off_multiplier`, in the notification capability only
    pub const NOTIFY_OFF_MULTIPLIER: u16 = 16;
    /// `pci_cfg_data`, in the PCI configuration access capability only
    pub const PCI_DATA: u16 = 16;
    /// Bytes of a capability
    pub const BYTES: u8 = 16;
    /// Bytes of the notification capability
    pub const NOTIFY_BYTES: u8 = 20;
    /// Bytes of the PCI configuration access capability
    pub const PCI_BYTES: u8 = 20;
}

/// Offsets in the common configuration structure (4.1.4.3).
pub mod common {
    /// `device_feature_select`
    pub const DEVICE_FEATURE_SELECT: u32 = 0x00;
    /// `device_feature`
    pub const DEVICE_FEATURE: u32 = 0x04;
    /// `driver_feature_select`
    pub const DRIVER_FEATURE_SELECT: u32 = 0x08;
    /// `driver_feature`
    pub const DRIVER_FEATURE: u32 = 0x0c;
    /// `config_msix_vector`
    pub const CONFIG_MSIX_VECTOR: u32 = 0x10;
    /// `num_queues`
    pub const NUM_QUEUES: u32 = 0x12;
    /// `device_status`
    pub const DEVICE_STATUS: u32 = 0x14;
    /// `config_generation`
    pub const CONFIG_GENERATION: u32 = 0x15;
    /// `queue_select`
    pub const QUEUE_SELECT: u32 = 0x16;
    /// `queue_size`
    pub const QUEUE_SIZE: u32 = 0x18;
    /// `queue_msix_vector`
    pub const QUEUE_MSIX_VECTOR: u32 = 0x1a;
    /// `queue_enable`
    pub const QUEUE_ENABLE: u32 = 0x1c;
    /// `queue_notify_off`
    pub const QUEUE_NOTIFY_OFF: u32 = 0x1e;
    /// `queue_desc`, low half; the high half follows
    pub const QUEUE_DESC: u32 = 0x20;
    /// `queue_driver`
    pub const QUEUE_DRIVER: u32 = 0x28;
    /// `queue_device`
    pub const QUEUE_DEVICE: u32 = 0x30;
    /// Bytes that every device of version 1 has
    pub const BYTES: u32 = 0x38;
    /// `queue_notif_config_data`, with VIRTIO_F_NOTIF_CONFIG_DATA only
    #[doc(alias = "queue_notify_data")]
    pub const QUEUE_NOTIF_CONFIG_DATA: u32 = 0x38;
    /// `queue_reset`, with VIRTIO_F_RING_RESET only
    pub const QUEUE_RESET: u32 = 0x3a;
}

/// Offsets in the legacy interface's registers, which are base address register 0 (4.1.4.10).
pub mod legacy {
    /// Features that are offered, bits 0 to 31
    pub const DEVICE_FEATURES: u32 = 0;
    /// Features that are accepted
    pub const DRIVER_FEATURES: u32 = 4;
    /// Address of the selected queue, in units of [`PAGE_BYTES`]
    pub const QUEUE_ADDRESS: u32 = 8;
    /// Entries of the selected queue, which the driver cannot change; 0 when there is no such queue
    pub const QUEUE_SIZE: u32 = 12;
    /// Queue select
    pub const QUEUE_SELECT: u32 = 14;
    /// Queue notify
    pub const QUEUE_NOTIFY: u32 = 16;
    /// Device status
    pub const DEVICE_STATUS: u32 = 18;
    /// ISR status
    pub const ISR_STATUS: u32 = 19;
    /// Vector for configuration changes, while MSI-X is enabled
    pub const CONFIG_MSIX_VECTOR: u32 = 20;
    /// Vector of the selected queue, while MSI-X is enabled
    pub const QUEUE_MSIX_VECTOR: u32 = 22;
    /// Bytes of the registers; the device configuration follows
    pub const BYTES: u32 = 20;
    /// Bytes of the registers while MSI-X is enabled
    pub const BYTES_WITH_MSIX: u32 = 24;
    /// What the queue's address and its used ring are aligned to (2.7.2)
    pub const PAGE_BYTES: u64 = 4096;
}

/// "No vector" in an MSI-X vector field (4.1.5.1.2).
#[doc(alias = "VIRTIO_MSI_NO_VECTOR")]
pub const NO_VECTOR: u16 = 0xffff;
