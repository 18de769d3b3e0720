//! Events for who traces StorPort (nf-storport-storportetwevent2.md). IRQL: up to DISPATCH_LEVEL.

use core::ptr;

use wdk_sys::{
    _STORPORT_ETW_EVENT_OPCODE, STORPORT_ETW_EVENT_KEYWORD_ENUMERATION, STORPORT_ETW_EVENT_KEYWORD_IO,
    STORPORT_ETW_MAX_DESCRIPTION_LENGTH, ULONG, ULONGLONG,
};

use super::{HwDeviceExtension, calls};
use crate::port::{LogEvent, LogPart};

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

/// Writes an event of the adapter. Whether anybody sees it makes no difference here.
#[cold]
pub(super) fn write(hw: HwDeviceExtension, event: LogEvent) {
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
    };
    // SAFETY: an adapter has no unit's address and there is no request. The texts end with zeros; StorPort reads them only.
    unsafe {
        calls::etw_event2(
            hw,
            ptr::null_mut(),
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
