//! hal.dll's routines for PCI configuration space.

use super::export::Export;
use crate::cpu::arguments::Arguments as A;
use crate::memory::driver;
use crate::pci::Function;
use crate::storport::{lock, port};

/// The exports of this file.
pub const TABLE: &[(&str, Export)] =
    &[("HalGetBusDataByOffset", get_bus_data), ("HalSetBusDataByOffset", set_bus_data)];

const PCI_CONFIGURATION: u64 = 4;
/// Bytes of configuration space.
const SPACE: u64 = 4096;

/// The adapter, if that is what lies at a place on the bus. Nothing else does here: no driver has any business there.
fn function(a: A) -> Option<Function> {
    let (kind, bus, slot) = (a.get(0) & 0xFFFF_FFFF, a.get(1) & 0xFFFF_FFFF, a.get(2) & 0xFF);
    let is_it = |function: &Function| {
        kind == PCI_CONFIGURATION
            && bus == u64::from(function.bus)
            && slot == u64::from(function.device) | u64::from(function.function) << 5
    };
    port().function.filter(is_it)
}

/// Where an access begins, and how long it is, as far as there is something.
fn range(a: A) -> (u16, u64) {
    let offset = (a.get(4) & 0xFFFF_FFFF).min(SPACE);
    (offset as u16, (a.get(5) & 0xFFFF_FFFF).min(SPACE - offset))
}

/// The pages of both routines (nf-ntddk-halgetbusdatabyoffset.md) name no IRQL. Assumed is that of what the bus driver has
/// for the same space: DIRQL at most (nc-wdm-get_set_device_data.md).
fn check_level(name: &str) {
    super::export::at_most(name, lock::adapter_level());
}

/// HalGetBusDataByOffset(BusDataType, BusNumber, SlotNumber, Buffer, Offset, Length).
fn get_bus_data(a: A) -> u64 {
    const NAME: &str = "HalGetBusDataByOffset";
    check_level(NAME);
    let (offset, length) = range(a);
    let Some(function) = function(a) else { return 0 };
    for index in 0..length {
        driver::write(NAME, a.get(3) + index, function.read_u8(offset + index as u16));
    }
    length
}

/// HalSetBusDataByOffset, with the same arguments.
fn set_bus_data(a: A) -> u64 {
    const NAME: &str = "HalSetBusDataByOffset";
    check_level(NAME);
    let (offset, length) = range(a);
    let Some(function) = function(a) else { return 0 };
    for (at, byte) in (offset..).zip(driver::bytes(NAME, a.get(3), length as usize)) {
        function.write_u8(at, byte);
    }
    length
}
