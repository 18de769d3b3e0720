//! Units whose change is to be told later. Any IRQL; no lock.

use core::sync::atomic::{AtomicU32, Ordering};

use storport::Address;

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
    pub(super) fn put(&self, unit: Address) -> bool {
        let word = encode(unit);
        self.0.iter().any(|place| place.load(Ordering::SeqCst) == word)
            || self
                .0
                .iter()
                .any(|place| place.compare_exchange(NONE, word, Ordering::SeqCst, Ordering::SeqCst).is_ok())
    }

    /// Takes all of them.
    pub(super) fn take(&self) -> impl Iterator<Item = Address> {
        // Each is taken before any is put back.
        let taken = self.0.each_ref().map(|place| place.swap(NONE, Ordering::SeqCst));
        taken.into_iter().filter_map(decode)
    }

    /// Whether there is any.
    pub(super) fn is_any(&self) -> bool {
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
