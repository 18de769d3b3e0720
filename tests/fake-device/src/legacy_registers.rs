//! The registers of a legacy device, and the order they have to be touched in (3.1.2, 4.1.4.10).
//!
//! The device is as strict as the modern one where a legacy device in the field would take anything: what is used
//! before DRIVER_OK, or set up after it, is a [`Violation`].

use super::device::State;
use super::{Lie, Model, Violation};
use virtio::spec::pci::{NO_VECTOR, legacy};
use virtio::spec::{DeviceStatus, Features};
use virtio::transport::legacy_areas;

/// The base address register that the registers lie in.
pub(super) const BAR: u8 = 0;

/// What a legacy device offers of a device's features.
pub(super) fn offered(features: Features) -> Features {
    (features | Features::ANY_LAYOUT) & Features::from_bits_retain(u64::from(u32::MAX))
}

/// Width of a register, and whether the driver may write it.
fn register(offset: u32) -> Option<(u32, bool)> {
    match offset {
        legacy::DEVICE_FEATURES => Some((4, false)),
        legacy::DRIVER_FEATURES | legacy::QUEUE_ADDRESS => Some((4, true)),
        legacy::QUEUE_SIZE => Some((2, false)),
        legacy::QUEUE_SELECT
        | legacy::QUEUE_NOTIFY
        | legacy::CONFIG_MSIX_VECTOR
        | legacy::QUEUE_MSIX_VECTOR => Some((2, true)),
        legacy::DEVICE_STATUS => Some((1, true)),
        legacy::ISR_STATUS => Some((1, false)),
        _ => None,
    }
}

impl<M: Model> State<M> {
    /// Where the device configuration begins.
    fn legacy_config(&self) -> u32 {
        if self.msix_enabled { legacy::BYTES_WITH_MSIX } else { legacy::BYTES }
    }

    /// Length of the base address register, a power of two as all are.
    pub(super) fn legacy_bytes(&self) -> u32 {
        (legacy::BYTES_WITH_MSIX + self.model.config().len() as u32).next_power_of_two()
    }

    pub(super) fn read_legacy(&mut self, offset: u32, width: u32) -> u32 {
        if self.reset_unconfirmed && offset != legacy::DEVICE_STATUS {
            self.violations.push(Violation::ResetNotAwaited { offset });
        }
        if offset + width > self.legacy_bytes() {
            return self.absent(Violation::NoRegister { offset, width });
        }
        if let Some(at) = offset.checked_sub(self.legacy_config()) {
            // Any width will do (4.1.4.10).
            let value = self.read_config(at, width);
            if self.lies.contains(&Lie::ConfigNeverSettles) {
                self.generation = self.generation.wrapping_add(1);
                return value ^ u32::from(self.generation);
            }
            return value;
        }
        match register(offset) {
            None => return self.absent(Violation::NoRegister { offset, width }),
            Some((own, _)) if own != width => return self.absent(Violation::AccessWidth { offset, width }),
            Some(_) => {}
        }
        let selected = self.queues.get_mut(usize::from(self.queue_select));
        match offset {
            legacy::DEVICE_FEATURES => {
                if !self.status.contains(DeviceStatus::DRIVER) {
                    self.violations.push(Violation::FeaturesOutOfStep { status: self.status.bits() });
                }
                self.offered().bits() as u32
            }
            legacy::DRIVER_FEATURES => self.accepted.bits() as u32,
            legacy::QUEUE_ADDRESS => selected.map_or(0, |queue| {
                let [descriptors, ..] = queue.areas;
                descriptors.half(false) >> 12 | descriptors.half(true) << 20
            }),
            legacy::QUEUE_SIZE => {
                let size = selected.map_or(0, |queue| u32::from(queue.size));
                let told = self.lies.iter().find_map(|lie| match lie {
                    Lie::QueueSize(size) => Some(u32::from(*size)),
                    _ => None,
                });
                told.filter(|_| size != 0).unwrap_or(size)
            }
            legacy::QUEUE_SELECT => u32::from(self.queue_select),
            legacy::DEVICE_STATUS => u32::from(self.read_status()),
            legacy::ISR_STATUS => self.read_isr(offset, width),
            legacy::CONFIG_MSIX_VECTOR => {
                self.config_vector_unconfirmed = false;
                u32::from(self.config_vector)
            }
            legacy::QUEUE_MSIX_VECTOR => selected.map_or(u32::from(NO_VECTOR), |queue| {
                queue.vector_unconfirmed = false;
                u32::from(queue.vector)
            }),
            _ => 0,
        }
    }

    pub(super) fn write_legacy(&mut self, offset: u32, width: u32, value: u32) {
        if self.reset_unconfirmed && offset != legacy::DEVICE_STATUS {
            self.violations.push(Violation::ResetNotAwaited { offset });
        }
        // Without MSI-X, the vector registers are part of it.
        if let Some(at) = offset.checked_sub(self.legacy_config()) {
            self.write_config(at, width, value);
            return;
        }
        match register(offset) {
            None => self.violations.push(Violation::NoRegister { offset, width }),
            Some((_, false)) => self.violations.push(Violation::ReadOnly { offset }),
            Some((own, true)) if own != width => {
                self.violations.push(Violation::AccessWidth { offset, width });
            }
            Some((_, true)) => self.write_legacy_register(offset, value),
        }
    }

    fn write_legacy_register(&mut self, offset: u32, value: u32) {
        match offset {
            legacy::DRIVER_FEATURES => self.write_legacy_features(value),
            legacy::QUEUE_ADDRESS => self.write_legacy_address(value),
            legacy::QUEUE_SELECT => self.queue_select = value as u16,
            // One address for all queues.
            legacy::QUEUE_NOTIFY => self.notify(0, 2, value),
            legacy::DEVICE_STATUS => self.write_legacy_status(DeviceStatus::from_bits_retain(value as u8)),
            legacy::CONFIG_MSIX_VECTOR => {
                self.config_vector = self.take_vector(value as u16);
                self.config_vector_unconfirmed = value as u16 != NO_VECTOR;
            }
            _ => {
                let vector = self.take_vector(value as u16);
                let Some(queue) = self.queues.get_mut(usize::from(self.queue_select)) else {
                    self.violations.push(Violation::NoSuchQueue { queue: self.queue_select });
                    return;
                };
                queue.vector = vector;
                queue.vector_unconfirmed = value as u16 != NO_VECTOR;
            }
        }
    }

    /// Between DRIVER and DRIVER_OK.
    fn is_set_up_legacy(&self) -> bool {
        self.status.contains(DeviceStatus::DRIVER) && !self.status.contains(DeviceStatus::DRIVER_OK)
    }

    fn write_legacy_features(&mut self, value: u32) {
        if !self.is_set_up_legacy() {
            self.violations.push(Violation::FeaturesOutOfStep { status: self.status.bits() });
        }
        self.accepted = Features::from_bits_retain(u64::from(value));
        let not_offered = self.accepted - self.offered();
        if !not_offered.is_empty() {
            self.violations.push(Violation::FeatureNotOffered { bits: not_offered.bits() });
        }
    }

    fn write_legacy_address(&mut self, page: u32) {
        let number = self.queue_select;
        if !self.is_set_up_legacy() {
            self.violations
                .push(Violation::QueueSetUpOutOfStep { queue: number, status: self.status.bits() });
        }
        let Some(queue) = self.queues.get_mut(usize::from(number)) else {
            self.violations.push(Violation::NoSuchQueue { queue: number });
            return;
        };
        if queue.enabled {
            self.violations.push(Violation::QueueAlreadyEnabled { queue: number });
            return;
        }
        let areas = legacy_areas(u64::from(page) * legacy::PAGE_BYTES, queue.size);
        let addresses = [areas.descriptor_area, areas.driver_area, areas.device_area];
        for (area, address) in queue.areas.iter_mut().zip(addresses) {
            area.set(false, address as u32);
            area.set(true, (address >> 32) as u32);
        }
        if let Err(violation) = queue.enable(&self.ram, self.accepted) {
            self.violations.push(violation);
        }
    }

    fn write_legacy_status(&mut self, status: DeviceStatus) {
        const KNOWN: DeviceStatus = DeviceStatus::ACKNOWLEDGE
            .union(DeviceStatus::DRIVER)
            .union(DeviceStatus::DRIVER_OK)
            .union(DeviceStatus::FAILED);
        if status.is_empty() {
            self.begin_reset();
            return;
        }
        let (from, to) = (self.status.bits(), status.bits());
        if self.reset_unconfirmed {
            self.violations.push(Violation::ResetNotAwaited { offset: legacy::DEVICE_STATUS });
        }
        if !(self.status - DeviceStatus::DEVICE_NEEDS_RESET - status).is_empty() {
            self.violations.push(Violation::StatusCleared { from, to });
        }
        let new = (status & KNOWN) - self.status - DeviceStatus::FAILED;
        let skipped = (status.contains(DeviceStatus::DRIVER) && !status.contains(DeviceStatus::ACKNOWLEDGE))
            || (status.contains(DeviceStatus::DRIVER_OK) && !status.contains(DeviceStatus::DRIVER));
        // FEATURES_OK is among what a legacy device does not know.
        let unknown = status - KNOWN - self.status;
        if new.iter().count() > 1 || skipped || !unknown.is_empty() {
            self.violations.push(Violation::StatusOrder { from, to });
        }
        let unconfirmed = self.queues.iter().any(|queue| queue.vector_unconfirmed);
        if new.contains(DeviceStatus::DRIVER_OK) && (unconfirmed || self.config_vector_unconfirmed) {
            self.violations.push(Violation::VectorNotConfirmed);
        }
        if new.contains(DeviceStatus::DRIVER_OK) && !self.is_bus_master() {
            self.violations.push(Violation::NoBusMaster);
        }
        self.status = status | (self.status & DeviceStatus::DEVICE_NEEDS_RESET);
    }
}
