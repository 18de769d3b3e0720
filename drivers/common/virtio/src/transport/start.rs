//! From reset to DRIVER_OK (3.1.1), one type per step.

use super::{Bar, Device, Doorbell, Interface, QueueReset, TransportError, interface, settle};
use crate::queue::QueueAreas;
use crate::spec::{DeviceStatus, Features};

/// How often the status register is looked at after a reset before the device counts as broken.
pub const RESET_POLLS: u32 = 1000;

impl<B: Bar> Device<B> {
    /// Has the device reset itself (2.4), without waiting for it; [`status`](Self::status) is empty when that is done.
    pub fn begin_reset(&self) {
        self.set_status(DeviceStatus::empty());
    }

    /// Resets the device (2.4) and acknowledges it. `stall` waits for some time; it is called at most
    /// [`RESET_POLLS`] times.
    ///
    /// # Errors
    /// The device is gone, or does not finish its reset.
    pub fn reset(&self, stall: &mut impl FnMut()) -> Result<Acknowledged<'_, B>, TransportError> {
        self.begin_reset();
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
        Ok(self.acknowledge())
    }

    /// Acknowledges a device that has ended a reset that was begun earlier, and not waited for until then; `None` while it has
    /// not. For one whose resets all take longer than [`reset`](Self::reset) waits.
    pub fn after_reset(&self) -> Option<Acknowledged<'_, B>> {
        self.status().is_empty().then(|| self.acknowledge())
    }

    fn acknowledge(&self) -> Acknowledged<'_, B> {
        let status = DeviceStatus::ACKNOWLEDGE;
        self.set_status(status);
        self.set_status(status | DeviceStatus::DRIVER);
        Acknowledged { device: self }
    }
}

/// A device that was reset and knows that there is a driver.
#[derive(Debug)]
#[must_use]
pub struct Acknowledged<'a, B> {
    device: &'a Device<B>,
}

impl<'a, B: Bar> Acknowledged<'a, B> {
    /// What the device offers. Features whose registers it does not have are left out.
    pub fn offered(&self) -> Features {
        interface!(self.device, interface => interface.offered())
    }

    /// Accepts features; those that are not offered, or lack another one that they need, are left out ([`settle`]).
    ///
    /// # Errors
    /// A device that is not a legacy one does not offer VIRTIO_F_VERSION_1, or does not accept the selection.
    pub fn negotiate(self, wanted: Features) -> Result<FeaturesOk<'a, B>, TransportError> {
        let device = self.device;
        match &device.interface {
            Interface::Modern(modern) => {
                let features = settle(modern.offered(), wanted);
                if !features.contains(Features::VERSION_1) {
                    return Err(TransportError::NoVersion1);
                }
                modern.accept(features);
                device
                    .set_status(DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER | DeviceStatus::FEATURES_OK);
                let answered = device.status();
                if answered.is_removed() {
                    return Err(TransportError::Removed);
                }
                if !answered.contains(DeviceStatus::FEATURES_OK) {
                    return Err(TransportError::FeaturesRefused);
                }
                Ok(FeaturesOk { device, features })
            }
            // No FEATURES_OK, so the device cannot refuse (3.1.2); ANY_LAYOUT has to be accepted (6.3).
            Interface::Legacy(legacy) => {
                let features = settle(legacy.offered(), wanted | Features::ANY_LAYOUT);
                legacy.accept(features);
                if device.status().is_removed() {
                    return Err(TransportError::Removed);
                }
                Ok(FeaturesOk { device, features })
            }
        }
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
        interface!(self.device, interface => interface.queue_count())
    }

    /// Most entries of a queue; 0 when there is no such queue. A queue of a legacy device has exactly so many.
    pub fn queue_size(&self, queue: u16) -> u16 {
        interface!(self.device, interface => interface.queue_size(queue))
    }

    /// Sets the vector for configuration changes (4.1.5.1.2).
    ///
    /// # Errors
    /// The device has no resources for it.
    pub fn set_config_vector(&self, vector: Option<u16>) -> Result<(), TransportError> {
        interface!(self.device, interface => interface.set_config_vector(vector))
    }

    /// Sets a queue up with `size` entries and enables it (4.1.5.1.3).
    ///
    /// # Errors
    /// There is no such queue, it has fewer entries, or the device has no resources for the vector. A legacy device also
    /// wants exactly its size, and areas as [`legacy_areas`](super::legacy_areas) lays them out, below 2^44.
    pub fn enable_queue(
        &self,
        queue: u16,
        size: u16,
        areas: &QueueAreas,
        vector: Option<u16>,
    ) -> Result<(), TransportError> {
        interface!(self.device, interface => interface.enable_queue(queue, size, areas, vector))
    }

    /// The doorbell of a queue, for [`Device::notify`].
    ///
    /// # Errors
    /// Its address lies outside the notification structure, or is not aligned to the notification's width.
    pub fn notifier(&self, queue: u16) -> Result<Doorbell, TransportError> {
        self.device.doorbell(queue, self.features)
    }

    /// What it takes to reset a queue ([`Device::reset_queue`]); `None` without VIRTIO_F_RING_RESET.
    pub fn queue_reset(&self) -> Option<QueueReset> {
        self.features.contains(Features::RING_RESET).then(QueueReset::accepted)
    }

    /// Lets the device run.
    pub fn driver_ok(self) {
        let mut status = DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER | DeviceStatus::DRIVER_OK;
        // A legacy device does not know that bit (3.1.2).
        if !self.device.is_legacy() {
            status |= DeviceStatus::FEATURES_OK;
        }
        self.device.set_status(status);
    }
}
