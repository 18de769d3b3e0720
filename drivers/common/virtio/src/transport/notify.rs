//! Telling the device that there are buffers (2.9, 4.1.5.2).

use super::legacy::Legacy;
use super::modern::Modern;
use super::{Bar, Device, Interface, TransportError};
use crate::spec::Features;
use crate::spec::pci::{common, legacy};

/// Where the notification for one queue is written, and what; worked out once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doorbell {
    /// The queue's index, or with VIRTIO_F_NOTIF_CONFIG_DATA the value that the device names it by
    queue: u16,
    /// Of the first byte, in the base address register
    offset: u32,
    /// With VIRTIO_F_NOTIFICATION_DATA, the notification has 32 bits; the ring's position is in the upper half.
    with_position: bool,
}

impl Doorbell {
    /// A notification tells the ring's position (VIRTIO_F_NOTIFICATION_DATA).
    pub const fn tells_position(&self) -> bool {
        self.with_position
    }

    const fn bytes(with_position: bool) -> u32 {
        if with_position { 4 } else { 2 }
    }
}

impl<B: Bar> Device<B> {
    pub(super) fn doorbell(&self, queue: u16, features: Features) -> Result<Doorbell, TransportError> {
        match &self.interface {
            Interface::Modern(modern) => modern.doorbell(queue, features),
            // All queues share one register, and there are no features that change what is written.
            Interface::Legacy(_) => {
                Ok(Doorbell { queue, offset: legacy::QUEUE_NOTIFY, with_position: false })
            }
        }
    }

    /// Rings a doorbell. `next` is where in the ring the driver goes on: the next available index of a split ring; of
    /// a packed ring the offset of the next descriptor in bits 0 to 14, and the wrap counter in bit 15 (2.9). It is
    /// used with VIRTIO_F_NOTIFICATION_DATA only.
    #[inline]
    pub fn notify(&self, doorbell: &Doorbell, next: u16) {
        match &self.interface {
            Interface::Modern(modern) => modern.ring(doorbell, next),
            Interface::Legacy(Legacy { bar, .. }) => bar.write16(doorbell.offset, doorbell.queue),
        }
    }
}

impl<B: Bar> Modern<B> {
    fn doorbell(&self, queue: u16, features: Features) -> Result<Doorbell, TransportError> {
        let window = self.capabilities.notify;
        let with_position = features.contains(Features::NOTIFICATION_DATA);
        self.set_common16(common::QUEUE_SELECT, queue);
        let notify_off = u64::from(self.common16(common::QUEUE_NOTIFY_OFF));
        let offset = notify_off * u64::from(self.capabilities.notify_off_multiplier);
        // The notification has to lie inside the structure (4.1.4.4.1), and its address to be a multiple of its width.
        let bytes = Doorbell::bytes(with_position);
        let end = offset + u64::from(bytes);
        if end > u64::from(window.length) || !(u64::from(window.offset) + offset).is_multiple_of(bytes.into())
        {
            return Err(TransportError::NotifyOutsideBar { queue });
        }
        let named = features.contains(Features::NOTIF_CONFIG_DATA);
        Ok(Doorbell {
            queue: if named { self.common16(common::QUEUE_NOTIF_CONFIG_DATA) } else { queue },
            offset: window.offset + offset as u32,
            with_position,
        })
    }

    #[inline]
    fn ring(&self, doorbell: &Doorbell, next: u16) {
        let Some(bar) = self.registers(self.capabilities.notify) else {
            return;
        };
        if doorbell.with_position {
            bar.write32(doorbell.offset, u32::from(doorbell.queue) | u32::from(next) << 16);
        } else {
            bar.write16(doorbell.offset, doorbell.queue);
        }
    }
}
