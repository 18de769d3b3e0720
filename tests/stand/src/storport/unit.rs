//! HwStorUnitControl: what happens to one logical unit (nc-storport-hw_unit_control.md).

use stand::wdk::codes::*;
use stand::wdk::srb::{Btl8, Extra};

use super::request::{Data, Request};
use super::{Address, port, queue};
use crate::cpu::call;
use crate::cpu::lock::Lock;
use crate::cpu::percpu::Stack;
use crate::memory::{PAGE, arena, driver};

/// Control types asked about: all there are.
const TYPES: u32 = 12;
static SUPPORTED: Lock<[bool; TYPES as usize]> = Lock::new([false; TYPES as usize]);

fn unit_control(kind: u32, parameters: u64) -> Option<bool> {
    let (routine, extension) = {
        let port = port();
        (port.hw.hw_unit_control, port.extension)
    };
    // The page calls the first argument the per-unit storage area; the prototype has the device extension, and that is
    // what miniports of this interface get.
    let arguments = [extension, u64::from(kind), parameters];
    (routine != 0).then(|| call::driver("HwStorUnitControl", Stack::Thread, routine, &arguments) as u32 == 0)
}

/// ScsiQuerySupportedUnitControlTypes at PASSIVE_LEVEL, before the first request.
pub fn query_types() {
    let Some(range) = arena::scattered(PAGE) else { crate::stop!("no memory") };
    // The list ends where its page ends: a miniport must not write beyond MaxControlType.
    let list = range.address + PAGE - u64::from(TYPES) - 4;
    driver::write("Storport", list, TYPES);
    if unit_control(SCSI_QUERY_SUPPORTED_UNIT_CONTROL_TYPES, list) == Some(true) {
        let mut supported = SUPPORTED.lock();
        for kind in 0..TYPES {
            supported[kind as usize] = driver::read::<u8>("Storport", list + 4 + u64::from(kind)) != 0;
        }
    }
    arena::release(range);
}

/// Tells the miniport of a unit, if it wants to hear it: ScsiUnitStart, ScsiUnitRemove, ScsiUnitSurpriseRemoval, all with
/// the unit's address at PASSIVE_LEVEL. `None` when the control type is not supported.
pub fn tell(kind: u32, address: Address) -> Option<bool> {
    if !SUPPORTED.lock()[kind as usize] {
        return None;
    }
    let Some(range) = arena::scattered(PAGE) else { crate::stop!("no memory") };
    let place = Btl8 {
        kind: STOR_ADDRESS_TYPE_BTL8,
        address_length: 4,
        path: address.0,
        target: address.1,
        lun: address.2,
        ..Btl8::default()
    };
    driver::write("Storport", range.address, place);
    let done = unit_control(kind, range.address);
    arena::release(range);
    done
}

/// A PnP request about a unit or, without one, about the adapter. Answers with the SRB status.
pub fn pnp(action: u32, unit: Option<Address>) -> u8 {
    let extra = Extra::Pnp { action, adapter: unit.is_none() };
    let mut request = Request::other(unit.unwrap_or_default(), SRB_FUNCTION_PNP, extra, Data::default(), 10);
    request.urgent = true;
    queue::execute(request).answer.srb_status & 0x3F
}

/// A power request about a unit or, without one, about the adapter. Answers with the SRB status. A miniport with
/// ScsiUnitPower hears of its units that way instead (ne-storport-scsi_unit_control_type.md).
pub fn power(state: u32, action: u32, unit: Option<Address>) -> u8 {
    if let Some(address) = unit
        && SUPPORTED.lock()[SCSI_UNIT_POWER as usize]
    {
        let Some(range) = arena::scattered(PAGE) else { crate::stop!("no memory") };
        let (place, parameters) = (range.address + 64, range.address);
        let (path, target, lun) = address;
        let there =
            Btl8 { kind: STOR_ADDRESS_TYPE_BTL8, address_length: 4, path, target, lun, ..Btl8::default() };
        driver::write("Storport", place, there);
        driver::write("Storport", parameters, place);
        driver::write("Storport", parameters + 8, [action, state]);
        let old = crate::cpu::irql::raise(crate::cpu::irql::DISPATCH);
        let done = unit_control(SCSI_UNIT_POWER, parameters);
        crate::cpu::irql::set(old);
        arena::release(range);
        return if done == Some(true) { SRB_STATUS_SUCCESS } else { SRB_STATUS_ERROR };
    }
    let extra = Extra::Power { state, action, adapter: unit.is_none() };
    let mut request =
        Request::other(unit.unwrap_or_default(), SRB_FUNCTION_POWER, extra, Data::default(), 10);
    request.urgent = true;
    queue::execute(request).answer.srb_status & 0x3F
}
