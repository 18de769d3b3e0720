//! Whether requests may be given to the device.

use core::sync::atomic::{AtomicU8, Ordering};

/// What the adapter does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum State {
    /// Not started yet, or stopped by the port driver: requests wait.
    Stopped = 0,
    /// Requests are taken.
    Running = 1,
    /// The device broke its rules, and the reset that follows has not begun: requests wait for it.
    Faulty = 2,
    /// The device has not come back from a reset or a start yet. It is looked at again and again, and requests wait for it.
    Failed = 3,
    /// The device is gone: requests are refused, for ever. Nothing else may end one so: a class driver does not try again
    /// what ended with NO_DEVICE (classpnp's ClassInterpretSenseInfo), and Windows ends when it is told so of its boot disk.
    Gone = 4,
}

/// The adapter's state, one for all queues. That requests may be given to the device is said with all queues' locks held,
/// when all are ready; so whoever holds one of them and reads [`State::Running`] has a queue that the device knows. What
/// says the opposite needs no lock: requests that slip in are taken back with the others, or wait for the restart.
#[derive(Debug)]
pub(crate) struct StateCell(AtomicU8);

impl StateCell {
    pub(crate) const fn new(state: State) -> Self {
        Self(AtomicU8::new(state as u8))
    }

    pub(crate) fn get(&self) -> State {
        match self.0.load(Ordering::Acquire) {
            0 => State::Stopped,
            1 => State::Running,
            2 => State::Faulty,
            3 => State::Failed,
            _ => State::Gone,
        }
    }

    /// Changes the state, unless the device is gone; returns whether it did.
    pub(crate) fn set(&self, state: State) -> bool {
        self.set_unless(state, &[State::Gone])
    }

    /// As [`set`](Self::set), but leaves a stopped adapter stopped: only the port driver starts it again, and until then
    /// its device may be without power or have lost its addresses.
    pub(crate) fn set_unless_stopped(&self, state: State) -> bool {
        self.set_unless(state, &[State::Gone, State::Stopped])
    }

    fn set_unless(&self, state: State, kept: &[State]) -> bool {
        let changed = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |old| {
            (!kept.iter().any(|kept| *kept as u8 == old)).then_some(state as u8)
        });
        changed.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_is_gone_does_not_come_back() {
        let state = StateCell::new(State::Running);

        assert!(state.set(State::Gone));
        assert!(!state.set(State::Running));
        assert_eq!(state.get(), State::Gone);
    }

    #[test]
    fn a_stopped_adapter_is_started_by_those_only_who_may() {
        let state = StateCell::new(State::Stopped);

        for other in [State::Running, State::Faulty, State::Failed, State::Gone] {
            assert!(!state.set_unless_stopped(other));
            assert_eq!(state.get(), State::Stopped);
        }
        assert!(state.set(State::Running));
        assert!(state.set_unless_stopped(State::Failed));
    }
}
