//! Resetting one queue while the others run (2.6.1).

use super::modern::Modern;
use super::{Bar, Device, Interface, RESET_POLLS, TransportError};
use crate::queue::QueueAreas;
use crate::spec::pci::common;

/// Says that VIRTIO_F_RING_RESET was accepted ([`FeaturesOk::queue_reset`](super::FeaturesOk::queue_reset)). It is worth
/// something until the device is reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueReset {
    _by_negotiation_only: (),
}

impl QueueReset {
    pub(super) fn accepted() -> Self {
        Self { _by_negotiation_only: () }
    }
}

impl<B: Bar> Device<B> {
    /// Resets a queue (2.6.1.1, 4.1.4.3.2): the device forgets it, and the driver may take its memory and its requests
    /// back. `stall` waits for about a millisecond; it is called at most [`RESET_POLLS`] times.
    ///
    /// # Errors
    /// The device is gone, or does not finish: then the queue's memory is still the device's, and only a reset of the
    /// whole device helps.
    pub fn reset_queue(
        &self,
        _accepted: QueueReset,
        queue: u16,
        stall: &mut impl FnMut(),
    ) -> Result<(), TransportError> {
        self.with_queue_reset(queue)?.reset_queue(queue, stall)
    }

    /// Sets a queue up again that was reset (2.6.1.2), as [`enable_queue`](super::FeaturesOk::enable_queue) does for the
    /// first time; size, areas and vector may differ. Its doorbell stays the same.
    ///
    /// # Errors
    /// There is no such queue, it has fewer entries, or the device has no resources for the vector.
    pub fn enable_queue_again(
        &self,
        _accepted: QueueReset,
        queue: u16,
        size: u16,
        areas: &QueueAreas,
        vector: Option<u16>,
    ) -> Result<(), TransportError> {
        self.with_queue_reset(queue)?.enable_queue(queue, size, areas, vector)
    }

    /// The token may come from another device, or from before a reset; the registers must be there all the same.
    fn with_queue_reset(&self, queue: u16) -> Result<&Modern<B>, TransportError> {
        match &self.interface {
            Interface::Modern(modern) if modern.has_register(common::QUEUE_RESET) => Ok(modern),
            _ => Err(TransportError::NoQueueReset { queue }),
        }
    }
}

impl<B: Bar> Modern<B> {
    fn reset_queue(&self, queue: u16, stall: &mut impl FnMut()) -> Result<(), TransportError> {
        self.set_common16(common::QUEUE_SELECT, queue);
        self.set_common16(common::QUEUE_RESET, 1);
        for poll in 0..=RESET_POLLS {
            if poll > 0 {
                stall();
            }
            match self.common16(common::QUEUE_RESET) {
                // The device shows both as 0 when it is done; all-ones is a device that is gone.
                0 => match self.common16(common::QUEUE_ENABLE) {
                    0 => return Ok(()),
                    u16::MAX => return Err(TransportError::Removed),
                    _ => {}
                },
                u16::MAX => return Err(TransportError::Removed),
                _ => {}
            }
        }
        Err(TransportError::QueueResetTimedOut { queue })
    }
}
