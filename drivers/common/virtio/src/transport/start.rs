//! From reset to DRIVER_OK (3.1.1), one type per step.

use super::{Bar, Device, TransportError, settle};
use crate::queue::QueueAreas;
use crate::spec::pci::{NO_VECTOR, common};
use crate::spec::{DeviceStatus, Features};

/// How often the status register is looked at after a reset before the device counts as broken.
pub const RESET_POLLS: u32 = 1000;

impl<B: Bar> Device<B> {
    /// Resets the device (2.4) and acknowledges it. `stall` waits for about a millisecond; it is called at most
    /// [`RESET_POLLS`] times.
    ///
    /// # Errors
    /// The device is gone, or does not finish its reset.
    pub fn reset(&self, stall: &mut impl FnMut()) -> Result<Acknowledged<'_, B>, TransportError> {
        self.set_common8(common::DEVICE_STATUS, 0);
        let mut status = self.status();
        for _ in 0..RESET_POLLS {
            if status.is_empty() || status.is_removed() {
                break;
            }
            stall();
            status = self.status();
        }
        if status.is_removed() {
            return Err(TransportError::Removed);
        }
        if !status.is_empty() {
            return Err(TransportError::ResetTimedOut { status: status.bits() });
        }
        let status = DeviceStatus::ACKNOWLEDGE;
        self.set_common8(common::DEVICE_STATUS, status.bits());
        self.set_common8(common::DEVICE_STATUS, (status | DeviceStatus::DRIVER).bits());
        Ok(Acknowledged { device: self })
    }
}

/// A device that was reset and knows that there is a driver.
#[derive(Debug)]
#[must_use]
pub struct Acknowledged<'a, B> {
    device: &'a Device<B>,
}

impl<'a, B: Bar> Acknowledged<'a, B> {
    /// What the device offers.
    pub fn offered(&self) -> Features {
        let half = |select| {
            self.device.set_common32(common::DEVICE_FEATURE_SELECT, select);
            u64::from(self.device.common32(common::DEVICE_FEATURE))
        };
        Features::from_bits_retain(half(0) | half(1) << 32)
    }

    /// Accepts features; those that are not offered, or lack another one that they need, are left out ([`settle`]).
    ///
    /// # Errors
    /// The device does not offer VIRTIO_F_VERSION_1, or does not accept the selection.
    pub fn negotiate(self, wanted: Features) -> Result<FeaturesOk<'a, B>, TransportError> {
        let device = self.device;
        let features = settle(self.offered(), wanted);
        if !features.contains(Features::VERSION_1) {
            return Err(TransportError::NoVersion1);
        }
        for select in 0..2 {
            device.set_common32(common::DRIVER_FEATURE_SELECT, select);
            device.set_common32(common::DRIVER_FEATURE, (features.bits() >> (32 * select)) as u32);
        }
        let status = DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER | DeviceStatus::FEATURES_OK;
        device.set_common8(common::DEVICE_STATUS, status.bits());
        let answered = device.status();
        if answered.is_removed() {
            return Err(TransportError::Removed);
        }
        if !answered.contains(DeviceStatus::FEATURES_OK) {
            return Err(TransportError::FeaturesRefused);
        }
        Ok(FeaturesOk { device, features })
    }
}

/// A device whose features are settled; its queues can be set up.
#[derive(Debug)]
#[must_use]
pub struct FeaturesOk<'a, B> {
    device: &'a Device<B>,
    features: Features,
}

impl<B: Bar> FeaturesOk<'_, B> {
    /// The features that were accepted.
    pub fn features(&self) -> Features {
        self.features
    }

    /// How many queues the device has.
    pub fn queue_count(&self) -> u16 {
        self.device.common16(common::NUM_QUEUES)
    }

    /// Most entries of a queue; 0 when there is no such queue.
    pub fn queue_size(&self, queue: u16) -> u16 {
        self.device.set_common16(common::QUEUE_SELECT, queue);
        self.device.common16(common::QUEUE_SIZE)
    }

    /// Sets the vector for configuration changes (4.1.5.1.2).
    ///
    /// # Errors
    /// The device has no resources for it.
    pub fn set_config_vector(&self, vector: Option<u16>) -> Result<(), TransportError> {
        self.set_vector(common::CONFIG_MSIX_VECTOR, vector)
    }

    /// Sets a queue up with `size` entries and enables it (4.1.5.1.3).
    ///
    /// # Errors
    /// There is no such queue, it has fewer entries, or the device has no resources for the vector.
    pub fn enable_queue(
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
        let device = self.device;
        device.set_common16(common::QUEUE_SIZE, size);
        self.set_vector(common::QUEUE_MSIX_VECTOR, vector)?;
        for (register, address) in [
            (common::QUEUE_DESC, areas.descriptor_area),
            (common::QUEUE_DRIVER, areas.driver_area),
            (common::QUEUE_DEVICE, areas.device_area),
        ] {
            device.set_common32(register, address as u32);
            device.set_common32(register + 4, (address >> 32) as u32);
        }
        device.set_common16(common::QUEUE_ENABLE, 1);
        Ok(())
    }

    /// Lets the device run.
    pub fn driver_ok(self) {
        let status = DeviceStatus::ACKNOWLEDGE
            | DeviceStatus::DRIVER
            | DeviceStatus::FEATURES_OK
            | DeviceStatus::DRIVER_OK;
        self.device.set_common8(common::DEVICE_STATUS, status.bits());
    }

    fn set_vector(&self, register: u32, vector: Option<u16>) -> Result<(), TransportError> {
        let wanted = vector.unwrap_or(NO_VECTOR);
        self.device.set_common16(register, wanted);
        // Reading back tells whether the device took it; without MSI-X the register may not exist.
        if vector.is_some() && self.device.common16(register) != wanted {
            return Err(TransportError::VectorRefused { vector: wanted });
        }
        Ok(())
    }
}
