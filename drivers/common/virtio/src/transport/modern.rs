//! The registers of a device that has virtio's capabilities (4.1.4).

use super::{BARS, Bar, Capabilities, TransportError, Window};
use crate::queue::QueueAreas;
use crate::spec::Features;
use crate::spec::pci::{NO_VECTOR, common};

/// The structures, and the base address registers they lie in.
#[derive(Debug)]
pub(super) struct Modern<B> {
    bars: [Option<B>; BARS],
    pub(super) capabilities: Capabilities,
}

impl<B: Bar> Modern<B> {
    pub(super) fn open(
        capabilities: Capabilities,
        mut map: impl FnMut(u8) -> Option<B>,
    ) -> Result<Self, TransportError> {
        let mut bars = [const { None }; BARS];
        for (kind, window) in capabilities.windows() {
            let Some(slot) = bars.get_mut(usize::from(window.bar)) else {
                return Err(TransportError::NotMapped { bar: window.bar });
            };
            if slot.is_none() {
                *slot = map(window.bar);
            }
            let Some(bar) = slot else {
                return Err(TransportError::NotMapped { bar: window.bar });
            };
            // Register offsets have 32 bits: in a larger base address register, no sum of them may wrap.
            let end = u64::from(window.offset) + u64::from(window.length);
            if end > bar.length().min(u64::from(u32::MAX)) {
                return Err(TransportError::OutsideBar { kind, bar: window.bar });
            }
            if !window.offset.is_multiple_of(kind.alignment()) {
                return Err(TransportError::Misaligned { kind, bar: window.bar });
            }
        }
        Ok(Self { bars, capabilities })
    }

    pub(super) fn registers(&self, window: Window) -> Option<&B> {
        self.bars.get(usize::from(window.bar))?.as_ref()
    }

    /// Whether the common structure is long enough for a 16-bit register that not every device has.
    pub(super) fn has_register(&self, register: u32) -> bool {
        self.capabilities.common.length >= register + 2
    }

    pub(super) fn status(&self) -> u8 {
        self.common8(common::DEVICE_STATUS)
    }

    pub(super) fn set_status(&self, status: u8) {
        self.set_common8(common::DEVICE_STATUS, status);
    }

    pub(super) fn isr(&self) -> u8 {
        let isr = self.capabilities.isr;
        self.registers(isr).map_or(0, |bar| bar.read8(isr.offset))
    }

    /// What the device offers, without features whose register it does not have.
    pub(super) fn offered(&self) -> Features {
        let half = |select| {
            self.set_common32(common::DEVICE_FEATURE_SELECT, select);
            u64::from(self.common32(common::DEVICE_FEATURE))
        };
        let mut offered = Features::from_bits_retain(half(0) | half(1) << 32);
        for (feature, register) in [
            (Features::NOTIF_CONFIG_DATA, common::QUEUE_NOTIF_CONFIG_DATA),
            (Features::RING_RESET, common::QUEUE_RESET),
        ] {
            if !self.has_register(register) {
                offered.remove(feature);
            }
        }
        offered
    }

    pub(super) fn accept(&self, features: Features) {
        for select in 0..2 {
            self.set_common32(common::DRIVER_FEATURE_SELECT, select);
            self.set_common32(common::DRIVER_FEATURE, (features.bits() >> (32 * select)) as u32);
        }
    }

    pub(super) fn queue_count(&self) -> u16 {
        self.common16(common::NUM_QUEUES)
    }

    pub(super) fn queue_size(&self, queue: u16) -> u16 {
        self.set_common16(common::QUEUE_SELECT, queue);
        self.common16(common::QUEUE_SIZE)
    }

    pub(super) fn set_config_vector(&self, vector: Option<u16>) -> Result<(), TransportError> {
        self.set_vector(common::CONFIG_MSIX_VECTOR, vector)
    }

    pub(super) fn enable_queue(
        &self,
        queue: u16,
        size: u16,
        areas: &QueueAreas,
        vector: Option<u16>,
    ) -> Result<(), TransportError> {
        let offered = self.queue_size(queue);
        if offered == 0 {
            return Err(TransportError::NoQueue { queue });
        }
        if size == 0 || size > offered {
            return Err(TransportError::QueueSize { queue, size, offered });
        }
        self.set_common16(common::QUEUE_SIZE, size);
        self.set_vector(common::QUEUE_MSIX_VECTOR, vector)?;
        for (register, address) in [
            (common::QUEUE_DESC, areas.descriptor_area),
            (common::QUEUE_DRIVER, areas.driver_area),
            (common::QUEUE_DEVICE, areas.device_area),
        ] {
            self.set_common32(register, address as u32);
            self.set_common32(register + 4, (address >> 32) as u32);
        }
        self.set_common16(common::QUEUE_ENABLE, 1);
        Ok(())
    }

    fn set_vector(&self, register: u32, vector: Option<u16>) -> Result<(), TransportError> {
        let wanted = vector.unwrap_or(NO_VECTOR);
        self.set_common16(register, wanted);
        // Reading back tells whether the device took it; without MSI-X the register may not exist.
        if vector.is_some() && self.common16(register) != wanted {
            return Err(TransportError::VectorRefused { vector: wanted });
        }
        Ok(())
    }
}

/// Registers of the common configuration structure. `open` has checked that they are there.
macro_rules! common {
    ($read:ident, $write:ident, $type:ty, $bar_read:ident, $bar_write:ident) => {
        impl<B: Bar> Modern<B> {
            pub(super) fn $read(&self, register: u32) -> $type {
                let window = self.capabilities.common;
                self.registers(window).map_or(<$type>::MAX, |bar| bar.$bar_read(window.offset + register))
            }

            pub(super) fn $write(&self, register: u32, value: $type) {
                let window = self.capabilities.common;
                if let Some(bar) = self.registers(window) {
                    bar.$bar_write(window.offset + register, value);
                }
            }
        }
    };
}

common!(common8, set_common8, u8, read8, write8);
common!(common16, set_common16, u16, read16, write16);
common!(common32, set_common32, u32, read32, write32);
