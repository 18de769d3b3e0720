//! A virtio device on PCI: found by its capabilities, started in the order of 3.1.1.
//!
//! ```text
//!   Device::open ── reset ──► Acknowledged ── negotiate ──► FeaturesOk ── driver_ok ──► running
//!   registers located          offered features              queues, vectors            notify, status, isr, config
//! ```
//!
//! The steps are types, so none can be skipped. The same device can be reset and started again at any time.
//!
//! The steps are the same for a legacy device, whose registers are others: it has no FEATURES_OK, so that step ends when
//! its features are written (3.1.2).

mod bus_master;
mod capability;
mod config;
mod config_window;
mod dependencies;
mod legacy;
mod modern;
mod notify;
mod queue_reset;
mod start;

pub use bus_master::{BusMasterError, FunctionIdentity, is_bus_master, set_bus_master};
pub use capability::{Capabilities, Window};
pub use config_window::{ConfigWindow, EitherBar};
pub use dependencies::{DEPENDENCIES, Dependency, settle};
pub use legacy::{legacy_areas, legacy_ring_bytes};
pub use notify::Doorbell;
pub use queue_reset::QueueReset;
pub use start::{Acknowledged, FeaturesOk, RESET_POLLS};

use crate::spec::DeviceStatus;
use crate::spec::pci::CapabilityType;
use legacy::Legacy;
use modern::Modern;

/// PCI configuration space of one function. Bytes that are not there read all-ones.
pub trait ConfigSpace {
    /// Reads a byte.
    fn read8(&self, offset: u16) -> u8;
    /// Reads a little-endian 16-bit word.
    fn read16(&self, offset: u16) -> u16;
    /// Reads a little-endian 32-bit word.
    fn read32(&self, offset: u16) -> u32;
}

/// PCI configuration space that can be written.
pub trait ConfigSpaceMut: ConfigSpace {
    /// Writes a byte.
    fn write8(&self, offset: u16, value: u8);
    /// Writes a little-endian 16-bit word.
    fn write16(&self, offset: u16, value: u16);
    /// Writes a little-endian 32-bit word.
    fn write32(&self, offset: u16, value: u32);
}

/// The registers behind one base address register, in memory or I/O space.
pub trait Bar {
    /// Length in bytes.
    fn length(&self) -> u64;
    /// Reads an 8-bit register.
    fn read8(&self, offset: u32) -> u8;
    /// Reads a 16-bit register.
    fn read16(&self, offset: u32) -> u16;
    /// Reads a 32-bit register.
    fn read32(&self, offset: u32) -> u32;
    /// Writes an 8-bit register.
    fn write8(&self, offset: u32, value: u8);
    /// Writes a 16-bit register.
    fn write16(&self, offset: u32, value: u16);
    /// Writes a 32-bit register.
    fn write32(&self, offset: u32, value: u32);
}

/// Base address registers of a PCI function.
pub(crate) const BARS: usize = 6;

/// Why a device could not be opened or started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransportError {
    /// The function has none of virtio's capabilities, and is no legacy device.
    NoCapabilities,
    /// No capability describes this structure, which every device of version 1 has.
    MissingCapability(CapabilityType),
    /// A structure does not lie wholly inside its base address register, or is too short for what it holds.
    OutsideBar {
        /// What the capability describes
        kind: CapabilityType,
        /// Base address register
        bar: u8,
    },
    /// A structure's registers do not lie at multiples of their width, where some processors cannot access them.
    Misaligned {
        /// What the capability describes
        kind: CapabilityType,
        /// Base address register
        bar: u8,
    },
    /// The base address register is not there or could not be mapped.
    NotMapped {
        /// Base address register
        bar: u8,
    },
    /// Registers read all-ones: the device is gone.
    Removed,
    /// The device did not become zero in its status register after a reset.
    ResetTimedOut {
        /// What it read instead
        status: u8,
    },
    /// The device does not offer VIRTIO_F_VERSION_1.
    NoVersion1,
    /// The device did not accept the features, or no longer offers those it did.
    FeaturesRefused,
    /// There is no such queue, or it has no entries.
    NoQueue {
        /// Its number
        queue: u16,
    },
    /// The queue cannot have so many entries.
    QueueSize {
        /// Its number
        queue: u16,
        /// How many it should have
        size: u16,
        /// How many it can have
        offered: u16,
    },
    /// The device did not take the MSI-X vector.
    VectorRefused {
        /// The vector
        vector: u16,
    },
    /// The queue's notification address lies outside the notification structure, or is not aligned to its width.
    NotifyOutsideBar {
        /// The queue
        queue: u16,
    },
    /// The device did not end the reset of a queue.
    QueueResetTimedOut {
        /// The queue
        queue: u16,
    },
    /// The device's registers have no place for the reset of a queue.
    NoQueueReset {
        /// The queue
        queue: u16,
    },
    /// Base address register 0 of a legacy device is too short for its registers.
    LegacyTooShort {
        /// Bytes it has
        bytes: u8,
    },
    /// The queue's areas do not lie as the legacy interface wants them to (2.7.2).
    LegacyLayout {
        /// The queue
        queue: u16,
    },
    /// The queue lies where the legacy interface cannot name its address, which has 32 bits for pages.
    LegacyAddress {
        /// The queue
        queue: u16,
    },
}

/// Interrupt status register (4.1.4.5): a bit mask, and reading it acknowledges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IsrStatus(u8);

impl IsrStatus {
    /// Used buffers are waiting.
    pub const fn queue(self) -> bool {
        self.0 & 1 != 0
    }

    /// The configuration or the device status changed.
    pub const fn configuration(self) -> bool {
        self.0 & 2 != 0
    }
}

/// An opened device: its structures are located and its registers mapped.
///
/// Some registers are about the queue that was selected last, so of the methods that touch queues, other than
/// [`notify`](Self::notify), only one may run at a time.
#[derive(Debug)]
pub struct Device<B> {
    interface: Interface<B>,
}

/// The two ways to reach a device over PCI.
#[derive(Debug)]
enum Interface<B> {
    /// Structures that capabilities describe (4.1.4)
    Modern(Modern<B>),
    /// One block of registers in base address register 0 (4.1.4.10)
    Legacy(Legacy<B>),
}

/// Calls the same method of whichever interface there is.
macro_rules! interface {
    ($device:expr, $interface:ident => $call:expr) => {
        match &$device.interface {
            Interface::Modern($interface) => $call,
            Interface::Legacy($interface) => $call,
        }
    };
}
use interface;

impl<B: Bar> Device<B> {
    /// Finds the device's structures and maps the registers they lie in, each base address register once.
    ///
    /// A device that has no virtio capabilities, but the ids of one with the legacy interface, is used through that
    /// (4.1.5.1.1.1); a transitional device, which has both, is used as a modern one.
    ///
    /// # Errors
    /// A structure is missing, or lies where there are no registers.
    pub fn open(
        config: &impl ConfigSpace,
        mut map: impl FnMut(u8) -> Option<B>,
    ) -> Result<Self, TransportError> {
        let interface = match Capabilities::find(config) {
            Ok(capabilities) => Interface::Modern(Modern::open(capabilities, map)?),
            Err(TransportError::NoCapabilities) if legacy::has_legacy_ids(config) => {
                Interface::Legacy(Legacy::open(config, &mut map)?)
            }
            Err(error) => return Err(error),
        };
        Ok(Self { interface })
    }

    /// Whether the device is used through the legacy interface. Then its queues have a fixed size and lie where
    /// [`legacy_areas`] says, and it has the features up to bit 31 only.
    pub fn is_legacy(&self) -> bool {
        matches!(self.interface, Interface::Legacy(_))
    }

    /// Tells a legacy device's driver whether MSI-X is enabled, which moves registers (4.1.4.10): wrong, and the device
    /// configuration is read from the wrong place. [`open`](Self::open) looks it up; whoever enables or disables MSI-X
    /// later has to say so. Nothing changes for other devices.
    pub fn set_messages_in_use(&self, in_use: bool) {
        if let Interface::Legacy(legacy) = &self.interface {
            legacy.set_messages_in_use(in_use);
        }
    }

    /// The device status register.
    pub fn status(&self) -> DeviceStatus {
        DeviceStatus::from_bits_retain(interface!(self, interface => interface.status()))
    }

    /// Reads and thereby acknowledges the interrupt status; only needed without MSI-X.
    pub fn isr_status(&self) -> IsrStatus {
        let value = interface!(self, interface => interface.isr());
        // All-ones is a device that is gone, not one that interrupts.
        IsrStatus(if value == u8::MAX { 0 } else { value })
    }

    /// Tells the device that the driver gave up on it.
    pub fn fail(&self) {
        let status = self.status();
        if !status.is_removed() {
            self.set_status(status | DeviceStatus::FAILED);
        }
    }

    fn set_status(&self, status: DeviceStatus) {
        interface!(self, interface => interface.set_status(status.bits()));
    }
}

#[cfg(test)]
mod tests {
    use super::capability::tests::Bytes;
    use super::*;
    use crate::spec::Features;

    /// Registers that all read the same, in a base address register of some length.
    struct Constant {
        length: u64,
        value: u32,
    }

    impl Bar for Constant {
        fn length(&self) -> u64 {
            self.length
        }

        fn read8(&self, _offset: u32) -> u8 {
            self.value as u8
        }

        fn read16(&self, _offset: u32) -> u16 {
            self.value as u16
        }

        fn read32(&self, _offset: u32) -> u32 {
            self.value
        }

        fn write8(&self, _offset: u32, _value: u8) {}

        fn write16(&self, _offset: u32, _value: u16) {}

        fn write32(&self, _offset: u32, _value: u32) {}
    }

    fn open(config: &Bytes, length: u64) -> Result<Device<Constant>, TransportError> {
        Device::open(config, |_| Some(Constant { length, value: 1 }))
    }

    fn error<T>(result: Result<T, TransportError>) -> TransportError {
        match result {
            Ok(_) => panic!("the device is not what it says"),
            Err(error) => error,
        }
    }

    #[test]
    fn every_base_address_register_is_mapped_once() {
        let mut mapped = Vec::new();

        let device = Device::open(&Bytes::whole(), |bar| {
            mapped.push(bar);
            Some(Constant { length: 0x4000, value: 0 })
        });

        assert!(device.is_ok());
        assert_eq!(mapped, [4]);
    }

    #[test]
    fn a_structure_that_leaves_its_base_address_register_is_refused() {
        let expected = TransportError::OutsideBar { kind: CapabilityType::NOTIFY, bar: 4 };
        assert_eq!(error(open(&Bytes::whole(), 0x3fff)), expected);
    }

    #[test]
    fn a_structure_past_32_bits_of_a_huge_base_address_register_is_refused() {
        let config = Bytes::whole().capability(0x40, 0x50, 1, 4, 0xffff_fff0, 0x38);

        let expected = TransportError::OutsideBar { kind: CapabilityType::COMMON, bar: 4 };
        assert_eq!(error(open(&config, 1 << 40)), expected);
    }

    #[test]
    fn registers_at_odd_places_are_refused() {
        let table = [
            (Bytes::whole().capability(0x40, 0x50, 1, 4, 2, 0x38), CapabilityType::COMMON),
            (Bytes::whole().set(0x58, 1), CapabilityType::NOTIFY),
            (Bytes::whole().capability(0x80, 0, 4, 4, 0x2002, 0x3c), CapabilityType::DEVICE),
        ];
        for (config, kind) in table {
            assert_eq!(error(open(&config, 0x8000)), TransportError::Misaligned { kind, bar: 4 });
        }
    }

    #[test]
    fn a_base_address_register_that_is_not_there_is_refused() {
        let device = Device::<Constant>::open(&Bytes::whole(), |_| None);

        assert_eq!(error(device), TransportError::NotMapped { bar: 4 });
    }

    #[test]
    fn a_doorbell_at_an_odd_place_is_refused() {
        // `queue_notify_off` reads 1, and the multiplier is 3.
        let config = Bytes::whole().set(0x60, 3);
        let device = open(&config, 0x8000).expect("the structures are all right");

        assert_eq!(
            error(device.doorbell(0, Features::VERSION_1)),
            TransportError::NotifyOutsideBar { queue: 0 }
        );
    }

    #[test]
    fn a_doorbell_with_a_position_lies_at_a_multiple_of_four() {
        // The structure begins at an odd multiple of two, and `queue_notify_off` reads 1.
        let config = Bytes::whole().capability(0x50, 0x70, 2, 4, 0x3002, 0x1000).set(0x52, 20);
        let with_position = Features::VERSION_1 | Features::NOTIFICATION_DATA;
        for (multiplier, fits) in [(4, false), (2, true)] {
            let device = open(&config.clone().set(0x60, multiplier), 0x8000).expect("16 bits fit everywhere");

            assert!(device.doorbell(0, Features::VERSION_1).is_ok());
            assert_eq!(device.doorbell(0, with_position).is_ok(), fits, "multiplier {multiplier}");
        }
    }

    #[test]
    fn only_a_function_with_the_ids_of_a_legacy_device_is_taken_for_one() {
        let with_ids = |bytes: Bytes, id: u16, revision| {
            let [low, high] = id.to_le_bytes();
            bytes.set(2, low).set(3, high).set(8, revision)
        };
        for id in [0x1000, 0x1001, 0x1004, 0x103f] {
            let device = open(&with_ids(Bytes::empty(), id, 0), 0x40).expect("the registers are long enough");
            assert!(device.is_legacy(), "{id:#x}");
            // A transitional device has both interfaces.
            let device = open(&with_ids(Bytes::whole(), id, 0), 0x4000).expect("the structures are there");
            assert!(!device.is_legacy(), "{id:#x}");
        }
        for (id, revision) in [(0x0fff, 0), (0x1040, 0), (0x1042, 0), (0x1001, 1), (0xffff, 0xff)] {
            let result = open(&with_ids(Bytes::empty(), id, revision), 0x40);
            assert_eq!(error(result), TransportError::NoCapabilities, "{id:#x}, revision {revision}");
        }
    }

    #[test]
    fn a_transitional_device_with_broken_structures_is_not_taken_for_a_legacy_one() {
        let config = Bytes::empty().capability(0x40, 0, 1, 0, 0, 0x38).set(0x34, 0x40).set(2, 1).set(3, 0x10);

        assert_eq!(error(open(&config, 0x40)), TransportError::MissingCapability(CapabilityType::NOTIFY));
    }

    #[test]
    fn a_legacy_device_without_a_capability_list_is_one_all_the_same() {
        let config = Bytes::empty().set(0x06, 0).set(2, 1).set(3, 0x10);

        assert!(open(&config, 20).is_ok_and(|device| device.is_legacy()));
    }

    #[test]
    fn a_reset_of_a_queue_that_stays_enabled_is_not_believed() {
        use crate::spec::pci::common;
        /// What `queue_enable` reads, where all other registers are zero.
        #[derive(Clone, Copy)]
        struct Enabled(u16);
        impl Bar for Enabled {
            fn length(&self) -> u64 {
                0x4000
            }

            fn read8(&self, _offset: u32) -> u8 {
                0
            }

            fn read16(&self, offset: u32) -> u16 {
                if offset == common::QUEUE_ENABLE { self.0 } else { 0 }
            }

            fn read32(&self, _offset: u32) -> u32 {
                0
            }

            fn write8(&self, _offset: u32, _value: u8) {}

            fn write16(&self, _offset: u32, _value: u16) {}

            fn write32(&self, _offset: u32, _value: u32) {}
        }
        let config = Bytes::whole().capability(0x40, 0x50, 1, 4, 0, 0x3c);
        let table = [
            (Enabled(0), Ok(()), 0),
            (Enabled(1), Err(TransportError::QueueResetTimedOut { queue: 2 }), RESET_POLLS),
            (Enabled(u16::MAX), Err(TransportError::Removed), 0),
        ];
        for (bar, expected, polls) in table {
            let device = Device::open(&config, |_| Some(bar)).expect("the structures are there");
            let mut stalls = 0;

            let result = device.reset_queue(QueueReset::accepted(), 2, &mut || stalls += 1);

            assert_eq!((result, stalls), (expected, polls), "queue_enable reads {:#x}", bar.0);
        }
    }

    #[test]
    fn a_structure_at_the_end_of_32_bits_is_read_to_its_last_byte() {
        let config = Bytes::whole().capability(0x80, 0, 4, 4, u32::MAX - 15, 15);
        let device = open(&config, 1 << 40).expect("the structure ends within 32 bits");

        assert_eq!(device.read_config::<8>(0), Some([1, 0, 0, 0, 1, 0, 0, 0]));
        assert_eq!(device.read_config::<1>(14), Some([1]));
        assert_eq!(device.read_config::<1>(15), None);
        assert_eq!(device.read_config::<4>(usize::MAX), None);
        assert_eq!((device.read_config::<2>(1), device.read_config::<8>(2)), (None, None), "not aligned");
    }

    #[test]
    fn a_device_without_a_configuration_structure_has_no_fields() {
        let config = Bytes::whole().set(0x71, 0);
        let device = open(&config, 0x8000).expect("the configuration structure is optional");

        assert_eq!((device.config_length(), device.read_config::<1>(0)), (0, None));
    }
}
