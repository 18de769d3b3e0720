//! What StorPort is told of a logical unit.

use wdk_sys::{STOR_ADDR_BTL8, STOR_ADDR_BTL8_ADDRESS_LENGTH, STOR_ADDRESS_TYPE_BTL8, ULONG};

use super::{HwDeviceExtension, calls};
use crate::port::UnitAttributes;
use crate::srb::Address;

/// StorPort may find no such unit, or not know all attributes (before Windows 8, none); then it goes by what it knows.
pub(super) fn set_attributes(hw: HwDeviceExtension, unit: Address, attributes: UnitAttributes) {
    let mut address = STOR_ADDR_BTL8 {
        Type: STOR_ADDRESS_TYPE_BTL8 as u16,
        AddressLength: STOR_ADDR_BTL8_ADDRESS_LENGTH,
        Path: unit.path,
        Target: unit.target,
        Lun: unit.lun,
        ..Default::default()
    };
    // SAFETY: the address is whole.
    unsafe { calls::set_unit_attributes(hw, (&raw mut address).cast(), attributes.bits() as ULONG) };
}
