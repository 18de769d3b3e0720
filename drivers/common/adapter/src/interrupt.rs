//! Interrupts: which message means what, and what has to be done about it.
//!
//! Message numbers are StorPort's, queue numbers virtio's, and the two are converted here and nowhere else. A
//! message's number is the MSI-X table entry the device signals.

use core::sync::atomic::Ordering;

use storport::{InterruptWork, Interrupts, Port};

use crate::Adapter;
use crate::protocol::Protocol;
use crate::reset::Reason;
use crate::state::State;

/// Which message each of the device's interrupt sources signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MessagePlan {
    /// For configuration changes.
    pub(crate) configuration: Option<u16>,
    /// For used buffers of the request queue.
    pub(crate) request_queue: Option<u16>,
}

impl MessagePlan {
    /// One message each where there are two, one for both where there is one, none with a line interrupt.
    pub(crate) const fn new(interrupts: Interrupts) -> Self {
        match interrupts {
            Interrupts::None | Interrupts::Line | Interrupts::Messages(0) => {
                Self { configuration: None, request_queue: None }
            }
            Interrupts::Messages(1) => Self { configuration: Some(0), request_queue: Some(0) },
            Interrupts::Messages(_) => Self { configuration: Some(0), request_queue: Some(1) },
        }
    }

    /// What a message announces.
    pub(crate) fn work_of(self, message: u32) -> InterruptWork {
        let is = |planned: Option<u16>| planned.map(u32::from) == Some(message);
        InterruptWork { request_queue: is(self.request_queue), configuration: is(self.configuration) }
    }
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
                MessagePlan::new(interrupts).work_of(message)
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
        if self.state.get() == State::Gone {
            self.device_gone();
            return;
        }
        let status = self.device.status();
        if status.is_removed() {
            self.device_gone();
        } else if status.needs_reset() {
            self.reset(Reason::DeviceNeedsReset);
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
    fn every_layout_has_a_place_for_configuration_changes() {
        for messages in 1..5 {
            let plan = MessagePlan::new(Interrupts::Messages(messages));

            assert!(plan.configuration.is_some(), "{messages} messages");
            assert!(plan.request_queue.is_some(), "{messages} messages");
        }
    }

    #[test]
    fn messages_are_translated_to_the_work_they_announce() {
        let table = [
            (Interrupts::Messages(3), 0, CONFIGURATION),
            (Interrupts::Messages(3), 1, QUEUE),
            (Interrupts::Messages(3), 2, NOT_OURS),
            (Interrupts::Messages(2), 1, QUEUE),
            (Interrupts::Messages(1), 0, BOTH),
            (Interrupts::Messages(1), 1, NOT_OURS),
            (Interrupts::Line, 0, NOT_OURS),
        ];
        for (interrupts, message, expected) in table {
            let work = MessagePlan::new(interrupts).work_of(message);

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
