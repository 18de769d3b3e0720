//! The registers of a legacy device (4.1.4.10): one block in base address register 0, usually in I/O space.
//!
//! Such a device has 32 feature bits, queues of a fixed size in one piece of memory (2.7.2), no FEATURES_OK and no
//! generation of its configuration. Registers and rings are in the guest's byte order, which for us is little-endian.

use core::sync::atomic::{AtomicBool, Ordering};

use super::capability::capabilities;
use super::{Bar, ConfigSpace, TransportError};
use crate::queue::QueueAreas;
use crate::spec::Features;
use crate::spec::pci::{NO_VECTOR, config_space, legacy};
use crate::spec::ring::DESCRIPTOR_BYTES;

/// The base address register that the registers lie in.
const BAR: u8 = 0;

/// Most queues that are looked for; no device type has as many.
const MAX_QUEUES: u16 = 1024;

/// Where the legacy interface expects the areas of a queue of `size` entries that starts at `start`: the available ring
/// behind the descriptors, and the used ring at the next page, with room for `used_event` in between (2.7.2).
pub const fn legacy_areas(start: u64, size: u16) -> QueueAreas {
    let driver_area = start + size as u64 * DESCRIPTOR_BYTES as u64;
    let device_area = (driver_area + 6 + 2 * size as u64).next_multiple_of(legacy::PAGE_BYTES);
    QueueAreas { descriptor_area: start, driver_area, device_area }
}

/// Bytes of a queue of `size` entries with the legacy interface.
pub const fn legacy_ring_bytes(size: u16) -> u64 {
    (legacy_areas(0, size).device_area + 6 + 8 * size as u64).next_multiple_of(legacy::PAGE_BYTES)
}

/// Whether the function has the ids of a device with the legacy interface (4.1.2.3).
pub(super) fn has_legacy_ids(config: &impl ConfigSpace) -> bool {
    let device_id = config.read16(config_space::DEVICE_ID);
    config_space::TRANSITIONAL_DEVICE_IDS.contains(&device_id) && config.read8(config_space::REVISION) == 0
}

/// The registers.
#[derive(Debug)]
pub(super) struct Legacy<B> {
    pub(super) bar: B,
    /// How long they are, whatever their base address register says: no offset has more than 32 bits.
    length: u32,
    /// MSI-X is enabled, so there are vector registers, and the device configuration lies behind them.
    messages_in_use: AtomicBool,
}

impl<B: Bar> Legacy<B> {
    pub(super) fn open(
        config: &impl ConfigSpace,
        map: &mut impl FnMut(u8) -> Option<B>,
    ) -> Result<Self, TransportError> {
        let bar = map(BAR).ok_or(TransportError::NotMapped { bar: BAR })?;
        let msix = capabilities(config, config_space::MSIX).next();
        let least = if msix.is_some() { legacy::BYTES_WITH_MSIX } else { legacy::BYTES };
        let length = u32::try_from(bar.length()).unwrap_or(u32::MAX);
        if length < least {
            return Err(TransportError::LegacyTooShort { bytes: length as u8 });
        }
        let enabled = msix.is_some_and(|at| {
            config.read16(at + config_space::MSIX_CONTROL) & config_space::MSIX_ENABLE != 0
        });
        Ok(Self { bar, length, messages_in_use: AtomicBool::new(enabled) })
    }

    pub(super) fn set_messages_in_use(&self, in_use: bool) {
        // Whoever says that a device without vector registers has MSI-X enabled learns it when a vector is refused.
        let possible = self.length >= legacy::BYTES_WITH_MSIX;
        self.messages_in_use.store(in_use && possible, Ordering::Relaxed);
    }

    fn messages_in_use(&self) -> bool {
        self.messages_in_use.load(Ordering::Relaxed)
    }

    /// Where the device configuration begins, and how many bytes there are room for.
    pub(super) fn config_window(&self) -> (u32, u32) {
        let start = if self.messages_in_use() { legacy::BYTES_WITH_MSIX } else { legacy::BYTES };
        (start, self.length - start)
    }

    pub(super) fn status(&self) -> u8 {
        self.bar.read8(legacy::DEVICE_STATUS)
    }

    pub(super) fn set_status(&self, status: u8) {
        self.bar.write8(legacy::DEVICE_STATUS, status);
    }

    pub(super) fn isr(&self) -> u8 {
        self.bar.read8(legacy::ISR_STATUS)
    }

    pub(super) fn offered(&self) -> Features {
        Features::from_bits_retain(u64::from(self.bar.read32(legacy::DEVICE_FEATURES)))
    }

    pub(super) fn accept(&self, features: Features) {
        self.bar.write32(legacy::DRIVER_FEATURES, features.bits() as u32);
    }

    /// There is no register for it: the queues end where one has no entries.
    pub(super) fn queue_count(&self) -> u16 {
        let exists = |queue: &u16| !matches!(self.queue_size(*queue), 0 | u16::MAX);
        (0..MAX_QUEUES).take_while(exists).count() as u16
    }

    pub(super) fn queue_size(&self, queue: u16) -> u16 {
        self.bar.write16(legacy::QUEUE_SELECT, queue);
        self.bar.read16(legacy::QUEUE_SIZE)
    }

    pub(super) fn set_config_vector(&self, vector: Option<u16>) -> Result<(), TransportError> {
        self.set_vector(legacy::CONFIG_MSIX_VECTOR, vector)
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
        // There was no way to agree on another size (4.1.5.1.3.1).
        if size != offered {
            return Err(TransportError::QueueSize { queue, size, offered });
        }
        let start = areas.descriptor_area;
        let Ok(page) = u32::try_from(start / legacy::PAGE_BYTES) else {
            return Err(TransportError::LegacyAddress { queue });
        };
        if !start.is_multiple_of(legacy::PAGE_BYTES) || *areas != legacy_areas(start, size) {
            return Err(TransportError::LegacyLayout { queue });
        }
        self.set_vector(legacy::QUEUE_MSIX_VECTOR, vector)?;
        self.bar.write32(legacy::QUEUE_ADDRESS, page);
        Ok(())
    }

    fn set_vector(&self, register: u32, vector: Option<u16>) -> Result<(), TransportError> {
        let wanted = vector.unwrap_or(NO_VECTOR);
        if !self.messages_in_use() {
            // The device configuration lies where the register would be.
            return vector.map_or(Ok(()), |vector| Err(TransportError::VectorRefused { vector }));
        }
        self.bar.write16(register, wanted);
        if vector.is_some() && self.bar.read16(register) != wanted {
            return Err(TransportError::VectorRefused { vector: wanted });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_used_ring_of_a_legacy_queue_begins_a_page() {
        // 256 descriptors fill a page; the available ring is in the next one, and the used ring in the one after that.
        let areas = legacy_areas(0x10_0000, 256);

        assert_eq!((areas.driver_area, areas.device_area), (0x10_1000, 0x10_2000));
        assert_eq!(legacy_ring_bytes(256), 3 * 4096);
    }

    #[test]
    fn used_event_counts_among_the_available_ring() {
        // 910 descriptors and the available ring without `used_event` fill four pages to the last byte.
        assert_eq!(16 * 910 + 4 + 2 * 910, 4 * 4096);

        assert_eq!(legacy_areas(0, 910).device_area, 5 * 4096);
    }
}
