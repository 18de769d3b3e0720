//! Interrupts: what the messages we were given announce. Which of them is whose is the plan of [`virtio::interrupts`];
//! a message's number is the MSI-X table entry that the device signals.

use storport::{InterruptWork, Port};
use virtio::interrupts::{Vector, VectorPlan};

use crate::Adapter;
use crate::protocol::Protocol;
use crate::reset::Reason;
use crate::state::State;

/// What a message announces.
fn work_of(plan: VectorPlan, message: u32) -> InterruptWork {
    let Ok(vector) = u16::try_from(message) else {
        return InterruptWork::default();
    };
    let mut announced = plan.announced(Vector(vector));
    InterruptWork { configuration: announced.configuration, request_queue: announced.next() }
}

impl<P: Port, D: Protocol> Adapter<P, D> {
    pub(crate) fn work_of(&self, message: Option<u32>) -> InterruptWork {
        match message {
            Some(message) => work_of(self.routing.plan(), message),
            // The line may be shared; of a device that is gone no register may be touched.
            None if self.state.get() == State::Gone => InterruptWork::default(),
            None => {
                // A bit mask: both bits can be set at once, and reading it acknowledges both (virtio 1.3, 4.1.4.5).
                let isr = self.device.isr_status();
                InterruptWork { request_queue: isr.queue().then_some(0), configuration: isr.configuration() }
            }
        }
    }

    /// The configuration or the device status changed, or the device was found to be gone.
    pub(crate) fn configuration_changed(&self) {
        self.report_noted();
        match self.state.get() {
            State::Gone => {
                self.device_gone();
                return;
            }
            // The DPC is later than the stop: the device may be without power, or its registers without an address.
            State::Stopped => return,
            State::Failed => {
                self.tell_what_was_not_taken();
                self.come_back();
                return;
            }
            State::Running | State::Faulty => self.tell_what_was_not_taken(),
        }
        let status = self.device.status();
        if status.is_removed() {
            self.device_found_gone();
        } else if status.needs_reset() {
            self.reset(Reason::DeviceNeedsReset);
        } else {
            self.look_at_configuration();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::routing::Routing;
    use storport::Interrupts;

    const QUEUE: InterruptWork = InterruptWork { request_queue: Some(0), configuration: false };
    const THIRD: InterruptWork = InterruptWork { request_queue: Some(2), configuration: false };
    const CONFIGURATION: InterruptWork = InterruptWork { request_queue: None, configuration: true };
    const BOTH: InterruptWork = InterruptWork { request_queue: Some(0), configuration: true };
    const NOT_OURS: InterruptWork = InterruptWork { request_queue: None, configuration: false };

    #[test]
    fn messages_are_translated_to_the_work_they_announce() {
        let table = [
            (Interrupts::Messages(3), 1, 0, CONFIGURATION),
            (Interrupts::Messages(3), 1, 1, QUEUE),
            (Interrupts::Messages(3), 1, 2, NOT_OURS),
            (Interrupts::Messages(2), 1, 1, QUEUE),
            (Interrupts::Messages(1), 1, 0, BOTH),
            (Interrupts::Messages(1), 1, 1, NOT_OURS),
            (Interrupts::Messages(1), 1, 0x1_0000, NOT_OURS),
            (Interrupts::Messages(4), 8, 0, CONFIGURATION),
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
