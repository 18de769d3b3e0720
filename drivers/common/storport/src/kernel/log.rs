//! Events of an adapter: in the system event log (nf-storport-storportlogsystemevent.md), and for who traces StorPort
//! (nf-storport-storportetwevent2.md). IRQL: up to DISPATCH_LEVEL, but for [`failed_start`].

use core::ptr;

use wdk_sys::storage::StorPortLogError;
use wdk_sys::{
    _STOR_EVENT_ASSOCIATION_ENUM, _STORPORT_ETW_EVENT_OPCODE, BOOLEAN, SP_INTERNAL_ADAPTER_ERROR,
    SP_PROTOCOL_ERROR, STOR_CURRENT_LOG_INTERFACE_REVISION, STOR_LOG_EVENT_DETAILS,
    STORPORT_ETW_EVENT_KEYWORD_ENUMERATION, STORPORT_ETW_EVENT_KEYWORD_IO,
    STORPORT_ETW_EVENT_KEYWORD_PERFORMANCE, STORPORT_ETW_MAX_DESCRIPTION_LENGTH, ULONG, ULONGLONG,
};

use super::{HwDeviceExtension, calls, size_of_ulong, units};
use crate::port::{FarUnit, LogEvent, LogPart};
use crate::srb::Address;

/// Traces an event, and logs it if it says so.
#[cold]
pub(super) fn report(hw: HwDeviceExtension, event: LogEvent) {
    if event.logged {
        log(hw, event);
    }
    trace(hw, event);
}

/// Logs why HwStorInitialize failed. That is at DIRQL, where StorPortLogSystemEvent cannot be called, and nothing comes
/// after it in which it could: this is what StorPortLogError is still for.
pub(super) fn failed_start(hw: HwDeviceExtension, event: LogEvent) {
    // SAFETY: the request may be null; address and codes are plain numbers.
    unsafe { StorPortLogError(hw.0, ptr::null_mut(), 0, 0, 0, SP_INTERNAL_ADAPTER_ERROR, event.code()) };
}

#[cold]
fn log(hw: HwDeviceExtension, event: LogEvent) {
    let (of_storport, code) = error_code(event.part);
    let (association, unit) = match event.unit {
        Some(unit) => (_STOR_EVENT_ASSOCIATION_ENUM::StorEventLunAssociation, unit),
        None => (_STOR_EVENT_ASSOCIATION_ENUM::StorEventAdapterAssociation, FarUnit { target: 0, lun: 0 }),
    };
    let mut details = STOR_LOG_EVENT_DETAILS {
        InterfaceRevision: STOR_CURRENT_LOG_INTERFACE_REVISION,
        Size: size_of_ulong::<STOR_LOG_EVENT_DETAILS>(),
        EventAssociation: association,
        TargetId: ULONG::from(unit.target),
        LunId: ULONG::from(unit.lun),
        StorportSpecificErrorCode: BOOLEAN::from(of_storport),
        ErrorCode: code,
        UniqueId: event.code(),
        ..Default::default()
    };
    // SAFETY: the structure is whole and has neither data nor texts; nobody wants to know how long those might be.
    let _status = unsafe { calls::log_system_event(hw, &raw mut details, ptr::null_mut()) };
}

/// The text that the log shows, one of IoLogMsg.dll's: as one of StorPort's codes (`SP_*`) if the first is true, or the message
/// itself.
const fn error_code(part: LogPart) -> (bool, ULONG) {
    /// IO_ERR_CONFIGURATION_ERROR of ntiologc.h: driver or hardware configuration error.
    const CONFIGURATION_ERROR: ULONG = 0xc004_0003;
    match part {
        LogPart::Transport | LogPart::Reset => (true, SP_INTERNAL_ADAPTER_ERROR),
        LogPart::Queue => (true, SP_PROTOCOL_ERROR),
        // Nothing about requests is logged.
        LogPart::Configuration | LogPart::Parameter | LogPart::Request => (false, CONFIGURATION_ERROR),
    }
}

/// Names of an event's two values; each with its zero below STORPORT_ETW_MAX_PARAM_NAME_LENGTH.
const PART: [u16; 5] = wide(b"Part\0");
const NUMBER: [u16; 7] = wide(b"Number\0");

/// ASCII as the interface wants it.
const fn wide<const N: usize>(text: &[u8; N]) -> [u16; N] {
    let mut wide = [0; N];
    let mut place = 0;
    while place < N {
        wide[place] = text[place] as u16;
        place += 1;
    }
    wide
}

/// Whether anybody sees it makes no difference here.
#[cold]
fn trace(hw: HwDeviceExtension, event: LogEvent) {
    const ROOM: usize = STORPORT_ETW_MAX_DESCRIPTION_LENGTH as usize;
    let mut description = [0; ROOM];
    // The last place stays zero.
    let places = description.iter_mut().take(ROOM - 1);
    for (place, unit) in places.zip(event.part.description().encode_utf16()) {
        *place = unit;
    }
    let keywords = match event.part {
        LogPart::Transport | LogPart::Configuration | LogPart::Parameter => {
            STORPORT_ETW_EVENT_KEYWORD_ENUMERATION
        }
        LogPart::Queue | LogPart::Reset => STORPORT_ETW_EVENT_KEYWORD_IO,
        LogPart::Request => STORPORT_ETW_EVENT_KEYWORD_PERFORMANCE,
    };
    let mut unit = event.unit.and_then(|FarUnit { target, lun }| {
        let lun = u8::try_from(lun).ok()?;
        Some(units::btl8(Address { path: 0, target, lun }))
    });
    let address = unit.as_mut().map_or(ptr::null_mut(), ptr::from_mut);
    // SAFETY: the address is a unit's, or there is none, and there is no request. The texts end with zeros; StorPort reads all of
    // them only.
    unsafe {
        calls::etw_event2(
            hw,
            address.cast(),
            event.code() as ULONG,
            description.as_mut_ptr(),
            ULONGLONG::from(keywords),
            event.level as i32,
            _STORPORT_ETW_EVENT_OPCODE::StorportEtwEventOpcodeInfo,
            ptr::null_mut(),
            PART.as_ptr().cast_mut(),
            event.part as ULONGLONG,
            NUMBER.as_ptr().cast_mut(),
            ULONGLONG::from(event.number),
        );
    }
}
