//! Telling the device that there are buffers (4.1.5.2).

use super::{Bar, Device, TransportError};
use crate::spec::pci::common;

/// Where the notification for one queue is written, worked out once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doorbell {
    queue: u16,
    offset: u32,
}

impl<B: Bar> Device<B> {
    /// The doorbell of a queue.
    ///
    /// # Errors
    /// Its address lies outside the notification structure, or is odd.
    pub fn notifier(&self, queue: u16) -> Result<Doorbell, TransportError> {
        let window = self.capabilities.notify;
        self.set_common16(common::QUEUE_SELECT, queue);
        let notify_off = u64::from(self.common16(common::QUEUE_NOTIFY_OFF));
        let offset = notify_off * u64::from(self.capabilities.notify_off_multiplier);
        // A notification is two bytes, and they have to lie inside the structure (4.1.4.4.1) and be aligned.
        if offset + 2 > u64::from(window.length) || !offset.is_multiple_of(2) {
            return Err(TransportError::NotifyOutsideBar { queue });
        }
        Ok(Doorbell { queue, offset: window.offset + offset as u32 })
    }

    /// Rings a doorbell.
    #[inline]
    pub fn notify(&self, doorbell: &Doorbell) {
        if let Some(bar) = self.registers(self.capabilities.notify) {
            bar.write16(doorbell.offset, doorbell.queue);
        }
    }
}
