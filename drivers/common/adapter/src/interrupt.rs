//! Interrupts: what the messages we were given announce. Which of them is whose is the plan of [`virtio::interrupts`];
//! a message's number is the MSI-X table entry that the device signals.

use core::sync::atomic::Ordering;

use storport::{InterruptWork, Interrupts, Port};
use virtio::interrupts::{Vector, VectorPlan};

use crate::Adapter;
use crate::protocol::Protocol;
use crate::reset::Reason;
use crate::state::State;

/// Request queues.
const QUEUES: u16 = 1;

/// One vector each for the configuration and the request queue, as far as there are.
pub(crate) const fn plan(interrupts: Interrupts) -> VectorPlan {
    match interrupts {
        Interrupts::None | Interrupts::Line => VectorPlan::new(0, QUEUES),
        Interrupts::Messages(count) => VectorPlan::new(count, QUEUES),
    }
}

/// What a message announces.
fn work_of(plan: VectorPlan, message: u32) -> InterruptWork {
    let Ok(vector) = u16::try_from(message) else {
        return InterruptWork::default();
    };
    let mut announced = plan.announced(Vector(vector));
    InterruptWork { configuration: announced.configuration, request_queue: announced.next().is_some() }
}

const LINE: u32 = 1 << 16;
const NONE: u32 = 1 << 17;

/// One word for the interrupts we were given.
pub(crate) const fn encode(interrupts: Interrupts) -> u32 {
    match interrupts {
        Interrupts::None => NONE,
        Interrupts::Line => LINE,
        Interrupts::Messages(count) => count as u32,
    }
}

/// The interrupts that [`encode`] put into a word.
pub(crate) const fn decode(word: u32) -> Interrupts {
    match word {
        NONE => Interrupts::None,
        LINE => Interrupts::Line,
        count => Interrupts::Messages(count as u16),
    }
}

impl<P: Port, D: Protocol> Adapter<P, D> {
    pub(crate) fn work_of(&self, message: Option<u32>) -> InterruptWork {
        match message {
            Some(message) => {
                let interrupts = decode(self.interrupts.load(Ordering::Relaxed));
                work_of(plan(interrupts), message)
            }
            // The line may be shared; of a device that is gone no register may be touched.
            None if self.state.get() == State::Gone => InterruptWork::default(),
            None => {
                // A bit mask: both bits can be set at once, and reading it acknowledges both (virtio 1.3, 4.1.4.5).
                let isr = self.device.isr_status();
                InterruptWork { request_queue: isr.queue(), configuration: isr.configuration() }
            }
        }
    }

    /// The configuration or the device status changed, or the device was found to be gone.
    pub(crate) fn configuration_changed(&self) {
        match self.state.get() {
            State::Gone => {
                self.device_gone();
                return;
            }
            // The DPC is later than the stop: the device may be without power, or its registers without an address.
            State::Stopped => return,
            State::Running | State::Faulty | State::Failed => {}
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

    const QUEUE: InterruptWork = InterruptWork { request_queue: true, configuration: false };
    const CONFIGURATION: InterruptWork = InterruptWork { request_queue: false, configuration: true };
    const BOTH: InterruptWork = InterruptWork { request_queue: true, configuration: true };
    const NOT_OURS: InterruptWork = InterruptWork { request_queue: false, configuration: false };

    #[test]
    fn messages_are_translated_to_the_work_they_announce() {
        let table = [
            (Interrupts::Messages(3), 0, CONFIGURATION),
            (Interrupts::Messages(3), 1, QUEUE),
            (Interrupts::Messages(3), 2, NOT_OURS),
            (Interrupts::Messages(2), 1, QUEUE),
            (Interrupts::Messages(1), 0, BOTH),
            (Interrupts::Messages(1), 1, NOT_OURS),
            (Interrupts::Messages(1), 0x1_0000, NOT_OURS),
            (Interrupts::Line, 0, NOT_OURS),
        ];
        for (interrupts, message, expected) in table {
            let work = work_of(plan(interrupts), message);

            assert_eq!(work, expected, "{interrupts:?}, message {message}");
        }
    }

    #[test]
    fn the_interrupts_survive_being_stored_in_a_word() {
        for interrupts in
            [Interrupts::None, Interrupts::Line, Interrupts::Messages(1), Interrupts::Messages(u16::MAX)]
        {
            assert_eq!(decode(encode(interrupts)), interrupts);
        }
    }
}
