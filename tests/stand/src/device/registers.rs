//! The registers behind the one base address register: the common configuration (4.1.4.3), that of the device, the interrupt
//! status and the notifications.

use alloc::vec;
use alloc::vec::Vec;

use super::queue::Queue;
use super::{Device, Kind, Lie, Memory, blk, feature, scsi};

/// Offsets in the one base address register, and its size.
pub mod bar {
    /// Common configuration.
    pub const COMMON: u64 = 0;
    /// Interrupt status.
    pub const ISR: u64 = 0x1000;
    /// Device-specific configuration.
    pub const DEVICE: u64 = 0x2000;
    /// Notification.
    pub const NOTIFY: u64 = 0x3000;
    /// MSI-X table.
    pub const TABLE: u64 = 0x4000;
    /// Bytes.
    pub const SIZE: u64 = 0x8000;
}

/// Messages in the MSI-X table.
pub const MESSAGES: u16 = 4;
/// A vector register that names no message.
pub(super) const NO_VECTOR: u16 = 0xFFFF;
/// Bytes between the notification addresses of two queues.
pub(super) const NOTIFY_STEP: u64 = 4;

impl Device {
    /// Reads a register; all other bits of the answer are zero.
    pub fn read(&mut self, offset: u64, size: u8) -> u64 {
        let ones = if size == 8 { !0 } else { (1 << (8 * u32::from(size))) - 1 };
        if self.gone() {
            return ones;
        }
        let value = match offset {
            bar::COMMON..bar::ISR => {
                self.check_width(offset, size);
                self.common_read(offset)
            }
            bar::ISR => {
                let isr = core::mem::take(&mut self.isr);
                u64::from(match self.lie() {
                    Lie::IsrLies => 0,
                    Lie::IsrOnes => 0xFF,
                    _ => isr,
                })
            }
            bar::DEVICE..bar::NOTIFY => self.device_read(offset - bar::DEVICE, size),
            _ => 0,
        };
        value & ones
    }

    fn common_read(&mut self, offset: u64) -> u64 {
        match offset {
            0 => u64::from(self.features_select[0]),
            4 => u64::from((self.offered() >> (32 * self.features_select[0].min(1))) as u32),
            8 => u64::from(self.features_select[1]),
            12 => u64::from((self.driver_features >> (32 * self.features_select[1].min(1))) as u32),
            16 => u64::from(self.config_vector),
            18 => u64::from(match self.lie() {
                Lie::NumQueuesZero => 0,
                Lie::NumQueuesHuge => 0xFFFF,
                _ => self.kind.queues(),
            }),
            20 => u64::from(self.read_status()),
            21 => {
                if self.is(Lie::GenerationNeverSettles) {
                    self.generation = self.generation.wrapping_add(1);
                }
                u64::from(self.generation)
            }
            22 => u64::from(self.queue_select),
            _ => self.queue_read(offset),
        }
    }

    pub(super) fn queue_read(&self, offset: u64) -> u64 {
        let Some(queue) = self.queues.get(usize::from(self.queue_select)) else { return 0 };
        let told = self.queue_select == self.kind.request_queue();
        match offset {
            24 => u64::from(match self.lie() {
                Lie::QueueSizeZero if told => 0,
                Lie::QueueSizeOdd if told => 100,
                Lie::QueueSizeHuge if told => 0xFFFF,
                Lie::QueueSizeOne if told => 1,
                Lie::QueueSizeShrinks if told && self.resets >= 2 => 4,
                _ => queue.size,
            }),
            26 => u64::from(queue.vector),
            28 => u64::from(queue.enabled),
            30 if self.is(Lie::NotifyOffsetHuge) => 0xFFFF,
            30 => u64::from(self.queue_select),
            32 => queue.descriptors,
            36 => queue.descriptors >> 32,
            40 => queue.available,
            44 => queue.available >> 32,
            48 => queue.used,
            52 => queue.used >> 32,
            _ => 0,
        }
    }
    fn device_read(&self, offset: u64, size: u8) -> u64 {
        let config = match self.kind {
            Kind::Blk => blk::config(self),
            Kind::Scsi => scsi::config(self),
        };
        let at = offset as usize;
        (0..usize::from(size))
            .rev()
            .fold(0, |value, index| value << 8 | u64::from(config.get(at + index).copied().unwrap_or(0)))
    }

    /// Writes a register. Answers with the messages that interrupt now.
    pub fn write(&mut self, offset: u64, size: u8, value: u64, memory: &mut impl Memory) -> Vec<u16> {
        if self.gone() {
            return Vec::new();
        }
        if offset < bar::ISR {
            self.check_width(offset, size);
        }
        match offset {
            0 => self.features_select[0] = value as u32,
            8 => self.features_select[1] = value as u32,
            12 => {
                self.check_features_written();
                let shift = 32 * self.features_select[1].min(1);
                self.driver_features =
                    self.driver_features & !(0xFFFF_FFFF << shift) | (value & 0xFFFF_FFFF) << shift;
            }
            16 => self.config_vector = self.vector(value),
            20 => {
                self.set_status(value as u8);
                if self.is(Lie::CapacityGrowsAtStart) && self.is_started() {
                    let mut messages = Vec::new();
                    self.change(&mut messages);
                    return messages;
                }
            }
            22 => self.queue_select = value as u16,
            bar::NOTIFY..bar::TABLE => {
                // Two bytes say the queue, even where more is said besides it (4.1.5.2).
                self.check_notification();
                let index = usize::from(((offset - bar::NOTIFY) / NOTIFY_STEP) as u16);
                if let Some(queue) = self.queues.get_mut(index) {
                    queue.kicked = true;
                }
                if self.running() && self.is_paced(index as u16) {
                    self.is_notified(memory);
                }
                return self.work(memory);
            }
            _ => self.queue_write(offset, value),
        }
        Vec::new()
    }

    fn queue_write(&mut self, offset: u64, value: u64) {
        match offset {
            24 => self.check_size(value),
            28 => self.check_enable(value),
            _ => {}
        }
        let vector = self.vector(value);
        let events = self.driver_features & feature::EVENT_IDX != 0;
        let packed = self.driver_features & feature::PACKED != 0;
        let Some(queue) = self.queues.get_mut(usize::from(self.queue_select)) else { return };
        match offset {
            24 => queue.size = value as u16,
            26 => queue.vector = vector,
            28 => (queue.enabled, queue.events, queue.packed) = (value & 1 != 0, events, packed),
            32 => low(&mut queue.descriptors, value),
            36 => high(&mut queue.descriptors, value),
            40 => low(&mut queue.available, value),
            44 => high(&mut queue.available, value),
            48 => low(&mut queue.used, value),
            52 => high(&mut queue.used, value),
            _ => {}
        }
    }

    pub(super) fn fresh_queues(&mut self) {
        let size = self.habits.queue_size;
        self.queues = vec![Queue::new(size, NO_VECTOR); usize::from(self.kind.queues())];
    }

    fn vector(&self, value: u64) -> u16 {
        let vector = value as u16;
        if self.is(Lie::VectorRefused) || vector >= MESSAGES { NO_VECTOR } else { vector }
    }
}

fn low(word: &mut u64, value: u64) {
    *word = *word & !0xFFFF_FFFF | value & 0xFFFF_FFFF;
}

fn high(word: &mut u64, value: u64) {
    *word = *word & 0xFFFF_FFFF | value << 32;
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::super::manners::QUEUE_SIZE;
    use super::*;

    #[test]
    fn a_lie_that_begins_with_a_reset_is_not_told_before() {
        let mut memory = vec![0; 0x8000];
        let mut device = Device::new(Kind::Blk, false, Lie::QueueSizeZero).lies_after_resets(2);
        let sizes = [0, 1].map(|_| {
            device.write(20, 1, 0, &mut memory);
            device.read(24, 2)
        });

        assert_eq!(sizes, [u64::from(QUEUE_SIZE), 0]);
    }
}
