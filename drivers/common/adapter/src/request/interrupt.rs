//! `HwStorInterrupt` and `HwMSInterruptRoutine`: what an interrupt announces. IRQL: DIRQL. Lock: the message's interrupt lock;
//! none of ours is taken.
//!
//! Which message is whose is the plan of [`virtio::interrupts`]; a message's number is the MSI-X table entry that the device
//! signals. In dump mode ("Restrictions on Miniport Drivers that Manage the Boot Drive") nobody takes interrupts or runs DPCs:
//! only one processor runs, at HIGH_LEVEL, and the dump port driver calls HwStorInterrupt again and again until a request is
//! complete. The device is as the first copy of the driver left it, with requests under way. Finding the adapter resets it
//! before anything else, so none of them reaches memory any more; when it does not end its reset in time, the adapter is
//! declined, because what the device wrote meanwhile would be in the dump. The first copy, when there is still a use for it
//! after a hibernation, starts the device from scratch itself.

use storport::{InterruptWork, Port};
use virtio::interrupts::{Vector, VectorPlan};

use crate::Adapter;
use crate::device_type::DeviceType;
use crate::queue::At;
use crate::recovery::{Input, Rung};

/// What a message announces.
#[inline]
fn work_of(plan: VectorPlan, message: u32) -> InterruptWork {
    let Ok(vector) = u16::try_from(message) else {
        return InterruptWork::default();
    };
    let mut announced = plan.announced(Vector(vector));
    InterruptWork { service: announced.configuration, request_queue: announced.next() }
}

impl<P: Port, D: DeviceType> Adapter<P, D> {
    #[inline]
    pub(crate) fn interrupt(&self, message: Option<u32>) -> InterruptWork {
        match message {
            Some(message) => work_of(self.queues.plan(), message),
            None => self.line_interrupt(),
        }
    }

    /// The line may be shared; of a device that is gone no register may be touched. There is one request queue then; used
    /// buffers may as well be those of the control or the event queue, which are the service DPC's.
    #[cold]
    fn line_interrupt(&self) -> InterruptWork {
        if self.recovery.rung() == Rung::Gone {
            return InterruptWork::default();
        }
        // A bit mask: both bits can be set at once, and reading it acknowledges both (virtio 1.3, 4.1.4.5).
        let isr = self.life_cycle.device().isr_status();
        let others = self.control().is_some() || self.events().is_some();
        InterruptWork {
            request_queue: isr.queue().then_some(0),
            service: isr.configuration() || isr.queue() && others,
        }
    }

    /// `HwStorInterrupt` in dump mode: completes what the device has finished.
    pub(crate) fn poll(&self) {
        match self.recovery.rung() {
            Rung::Running | Rung::Stopped => {}
            Rung::Gone => {
                self.recover(Input::Removed, At::Dispatch);
                return;
            }
            _ => self.poll_recovery(),
        }
        // What is not there yet is found by the next call.
        self.complete_used(0, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::queue::Routing;
    use storport::Interrupts;

    const QUEUE: InterruptWork = InterruptWork { request_queue: Some(0), service: false };
    const THIRD: InterruptWork = InterruptWork { request_queue: Some(2), service: false };
    const SERVICE: InterruptWork = InterruptWork { request_queue: None, service: true };
    const BOTH: InterruptWork = InterruptWork { request_queue: Some(0), service: true };
    const NOT_OURS: InterruptWork = InterruptWork { request_queue: None, service: false };

    #[test]
    fn messages_are_translated_to_the_work_they_announce() {
        let table = [
            (Interrupts::Messages(3), 1, 0, SERVICE),
            (Interrupts::Messages(3), 1, 1, QUEUE),
            (Interrupts::Messages(3), 1, 2, NOT_OURS),
            (Interrupts::Messages(2), 1, 1, QUEUE),
            (Interrupts::Messages(1), 1, 0, BOTH),
            (Interrupts::Messages(1), 1, 1, NOT_OURS),
            (Interrupts::Messages(1), 1, 0x1_0000, NOT_OURS),
            (Interrupts::Messages(4), 8, 0, SERVICE),
            (Interrupts::Messages(4), 8, 3, THIRD),
            (Interrupts::Messages(4), 8, 4, NOT_OURS),
            (Interrupts::Messages(9), 3, 3, THIRD),
            (Interrupts::Messages(9), 3, 4, NOT_OURS),
            (Interrupts::Line, 1, 0, NOT_OURS),
        ];
        for (interrupts, queues, message, expected) in table {
            let work = work_of(Routing::new(interrupts, queues).plan(), message);

            assert_eq!(work, expected, "{interrupts:?}, {queues} queues, message {message}");
        }
    }
}
