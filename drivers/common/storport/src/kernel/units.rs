//! Logical units, as StorPort is told of them: what is known of one, and that one has changed. IRQL: up to DISPATCH_LEVEL.

use core::cell::UnsafeCell;
use core::ptr;
use core::sync::atomic::{AtomicBool, Ordering};

use wdk_sys::{
    PHW_STATE_CHANGE, STATE_CHANGE_LUN, STOR_ADDR_BTL8, STOR_ADDR_BTL8_ADDRESS_LENGTH,
    STOR_ADDRESS_TYPE_BTL8, STOR_STATUS_SUCCESS, STOR_STATUS_UNSUCCESSFUL, ULONG,
};

use super::{HwDeviceExtension, calls};
use crate::port::UnitAttributes;
use crate::srb::Address;

/// The address as StorPort writes it.
pub(super) fn btl8(unit: Address) -> STOR_ADDR_BTL8 {
    STOR_ADDR_BTL8 {
        Type: STOR_ADDRESS_TYPE_BTL8 as u16,
        AddressLength: STOR_ADDR_BTL8_ADDRESS_LENGTH,
        Path: unit.path,
        Target: unit.target,
        Lun: unit.lun,
        ..Default::default()
    }
}

/// StorPort may find no such unit, or not know all attributes (before Windows 8, none); then it goes by what it knows.
pub(super) fn set_attributes(hw: HwDeviceExtension, unit: Address, attributes: UnitAttributes) {
    let mut address = btl8(unit);
    // SAFETY: the address is whole.
    unsafe { calls::set_unit_attributes(hw, (&raw mut address).cast(), attributes.bits() as ULONG) };
}

/// Addresses of units that have changed. They lie in the device extension, and all-zero is how they start.
///
/// An address stays as it is until HwStorStateChange is called, and StorPort works on one change at a time
/// (nf-storport-storportstatechangedetected.md). So two places do: a change is told in the one that StorPort did not take last,
/// and if it takes that, it is done with the other. Nobody else keeps count of what is being worked on. A change that StorPort
/// never ends, because the adapter was stopped, keeps none from being told.
pub(super) struct UnitChanges {
    places: [UnsafeCell<STOR_ADDR_BTL8>; 2],
    /// StorPort took the second one last, not the first.
    second_taken: AtomicBool,
    /// A change is just being told. Guards the two above; nobody waits for it.
    telling: AtomicBool,
}

impl UnitChanges {
    /// Returns whether the change need not be told again.
    pub(super) fn tell(&self, hw: HwDeviceExtension, unit: Address, routine: PHW_STATE_CHANGE) -> bool {
        if self.telling.swap(true, Ordering::Acquire) {
            return false;
        }
        let second_free = !self.second_taken.load(Ordering::Relaxed);
        let [first, second] = &self.places;
        let place = if second_free { second } else { first }.get();
        // SAFETY: nobody else is telling a change, and StorPort took another place after it took this one, if it ever did.
        unsafe { place.write(btl8(unit)) };
        // SAFETY: the place is written to again only after StorPort took the other one; the routine is for this miniport's
        // adapters.
        let status = unsafe {
            calls::state_change_detected(hw, STATE_CHANGE_LUN, place.cast(), 0, routine, ptr::null_mut())
        };
        if status == STOR_STATUS_SUCCESS {
            self.second_taken.store(second_free, Ordering::Relaxed);
        }
        self.telling.store(false, Ordering::Release);
        // Whatever else goes wrong, nobody would say when to try again.
        status != STOR_STATUS_UNSUCCESSFUL
    }
}
