//! How Windows hears that a unit has changed. StorPort takes one change at a time: the others are remembered, and told when
//! HwStorStateChange says that it is done, or by the timer. IRQL: up to DISPATCH_LEVEL. Lock: none; while the device's
//! configuration is looked at, the first request queue's.

use core::sync::atomic::{AtomicU32, Ordering};

use storport::{Address, DpcKind, Port};

use crate::Adapter;
use crate::device_type::DeviceType;
use crate::log_events::Event;

/// Time until a change that was not taken is told again, in microseconds.
const TELL_AGAIN_MICROSECONDS: u32 = 100_000;

impl<P: Port, D: DeviceType> Adapter<P, D> {
    /// Has the device type look at the configuration, and tells Windows if it has to look as well. Any number of changes may
    /// lie behind one call, also none.
    pub(super) fn look_at_configuration(&self) {
        let changed = {
            // While it is held and the queue is open the device is not reset: what is read is one device's, and agreed on.
            let queue = self.queues.first().lock();
            queue.is_open() && self.device_type.configuration_changed(&self.life_cycle.running())
        };
        if changed {
            self.report(Event::ConfigurationChanged.into());
            // Of a device type with units that tell of themselves nothing changes here.
            self.tell_unit_change(Address::default());
        }
    }

    /// Has Windows look at a unit again, now or when it is done with an earlier change.
    pub(super) fn tell_unit_change(&self, unit: Address) {
        if !self.port.unit_changed(unit) {
            if !self.service.untold.put(unit) {
                self.port.bus_changed(unit.path);
            }
            // The earlier one may have ended before that line; then no callback comes any more that would see it. A timer that
            // a reset waits for is not put off: changes may come faster than it runs.
            if self.resets_nothing() {
                self.port.request_timer(TELL_AGAIN_MICROSECONDS);
            }
        }
    }

    /// Tells the changes that were not taken; of one unit, several are one.
    pub(super) fn tell_what_was_not_taken(&self) {
        for unit in self.service.untold.take() {
            self.tell_unit_change(unit);
        }
    }

    /// The time for a timer that is to run after so many microseconds, if nothing has to be told again before.
    pub(super) fn until_told_again(&self, microseconds: u32) -> u32 {
        if self.service.untold.is_any() { microseconds.min(TELL_AGAIN_MICROSECONDS) } else { microseconds }
    }

    /// `HwStorStateChange`. Windows is done with a change, as good as: the callback runs with the StartIo lock held
    /// (nc-storport-hw_state_change.md), where StorPort may still count that change as open. So the next one is told by the DPC.
    pub(crate) fn state_change(&self) {
        if self.service.untold.is_any() {
            self.port.issue_dpc(DpcKind::Service);
        }
    }
}

/// A few units: there is seldom more than one.
#[derive(Debug)]
pub(super) struct Untold([AtomicU32; 8]);

/// No unit.
const NONE: u32 = 0;

impl Untold {
    pub(super) const fn new() -> Self {
        Self([const { AtomicU32::new(NONE) }; 8])
    }

    /// Remembers a unit, once; `false`: there is no place.
    fn put(&self, unit: Address) -> bool {
        let word = encode(unit);
        self.0.iter().any(|place| place.load(Ordering::SeqCst) == word)
            || self
                .0
                .iter()
                .any(|place| place.compare_exchange(NONE, word, Ordering::SeqCst, Ordering::SeqCst).is_ok())
    }

    /// Takes all of them.
    fn take(&self) -> impl Iterator<Item = Address> {
        // Each is taken before any is put back.
        let taken = self.0.each_ref().map(|place| place.swap(NONE, Ordering::SeqCst));
        taken.into_iter().filter_map(decode)
    }

    /// Whether there is any.
    fn is_any(&self) -> bool {
        self.0.iter().any(|place| place.load(Ordering::SeqCst) != NONE)
    }
}

const fn encode(unit: Address) -> u32 {
    u32::from_le_bytes([unit.path, unit.target, unit.lun, 1])
}

const fn decode(word: u32) -> Option<Address> {
    let [path, target, lun, is_unit] = word.to_le_bytes();
    if is_unit == 0 { None } else { Some(Address { path, target, lun }) }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn unit(lun: u8) -> Address {
        Address { path: 0, target: 0, lun }
    }

    #[test]
    fn a_unit_is_remembered_once_and_taken_once() {
        let untold = Untold::new();
        assert!(!untold.is_any());

        assert!([0, 3, 0].into_iter().all(|lun| untold.put(unit(lun))));

        assert!(untold.is_any());
        assert!(untold.take().eq([unit(0), unit(3)]));
        assert_eq!(untold.take().next(), None);
    }

    #[test]
    fn what_does_not_fit_is_said_to() {
        let untold = Untold::new();

        let told: Vec<bool> = (0..9).map(|lun| untold.put(unit(lun))).collect();

        assert_eq!(told, [[true; 8].as_slice(), &[false]].concat());
    }
}
