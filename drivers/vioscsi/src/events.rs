//! Events of the device (virtio 1.3, 5.6.6.3): units that come, go and change, and what Windows has to look at then.

use adapter::Change;
use storport::Address;
use virtio::spec::scsi::{Event, EventType, Lun, transport_reset};
use zerocopy::FromBytes;

use crate::config::Hba;

/// What follows from an event. One of a kind that nobody knows says nothing.
pub(crate) fn change(hba: &Hba, event: [u8; 16]) -> Change {
    let Ok(event) = Event::read_from_bytes(&event) else {
        return Change::None;
    };
    let kind = event.kind.get();
    // Some were lost before this one.
    if kind & EventType::MISSED != 0 {
        return Change::Bus;
    }
    match (EventType(kind), event.reason.get()) {
        (EventType::TRANSPORT_RESET, transport_reset::RESCAN | transport_reset::REMOVED) => Change::Bus,
        // A unit attention says what it is about.
        (EventType::PARAM_CHANGE, _) => unit(hba, event.lun).map_or(Change::Bus, Change::Unit),
        // After a hard reset the requests that it ended say so.
        _ => Change::None,
    }
}

/// The unit of an event, in either single-level form: devices name one below 256 with the address method or without (QEMU,
/// hw/scsi/virtio-scsi.c). `None`: StorPort's addresses do not reach it. What StorPort would make of a change of such a unit is
/// not documented, and a change that it never ends keeps all others from being told.
fn unit(hba: &Hba, lun: Lun) -> Option<Address> {
    let [1, target, high, low, ..] = lun.0 else {
        return None;
    };
    let reached = matches!(high, 0 | 0x40) && target < hba.targets && low < hba.logical_units;
    reached.then_some(Address { path: 0, target, lun: low })
}

#[cfg(test)]
mod tests {
    use super::*;
    use virtio::spec::scsi::EventType;
    use zerocopy::IntoBytes;
    use zerocopy::byteorder::little_endian::U32;

    fn event(kind: u32, lun: [u8; 8], reason: u32) -> Change {
        let event = Event { kind: U32::new(kind), lun: Lun(lun), reason: U32::new(reason) };
        let mut bytes = [0; 16];
        bytes.copy_from_slice(event.as_bytes());
        change(&HBA, bytes)
    }

    const HBA: Hba =
        Hba { targets: 4, logical_units: 255, step_bytes: u32::MAX, segments: 254, in_steps: false };
    const FLAT: [u8; 8] = [1, 3, 0x40, 5, 0, 0, 0, 0];
    const PERIPHERAL: [u8; 8] = [1, 3, 0, 5, 0, 0, 0, 0];
    const FAR: [u8; 8] = [1, 3, 0x41, 5, 0, 0, 0, 0];
    const NO_TARGET: [u8; 8] = [1, 4, 0, 5, 0, 0, 0, 0];
    const NO_UNIT: [u8; 8] = [1, 3, 0, 255, 0, 0, 0, 0];

    #[test]
    fn each_event_has_windows_look_where_something_changed() {
        let unit = Change::Unit(Address { path: 0, target: 3, lun: 5 });
        let EventType(reset) = EventType::TRANSPORT_RESET;
        let EventType(parameters) = EventType::PARAM_CHANGE;
        let table = [
            (0, FLAT, 0, Change::None),
            (reset, FLAT, transport_reset::HARD, Change::None),
            (reset, FLAT, transport_reset::RESCAN, Change::Bus),
            (reset, PERIPHERAL, transport_reset::REMOVED, Change::Bus),
            (parameters, FLAT, 0x092a, unit),
            (parameters, PERIPHERAL, 0x092a, unit),
            (parameters, FAR, 0x092a, Change::Bus),
            (parameters, NO_TARGET, 0x092a, Change::Bus),
            (parameters, NO_UNIT, 0x092a, Change::Bus),
            (EventType::MISSED, [0; 8], 0, Change::Bus),
            (EventType::MISSED | parameters, FLAT, 0, Change::Bus),
            (0x7fff, FLAT, 1, Change::None),
        ];
        for (kind, lun, reason, expected) in table {
            assert_eq!(event(kind, lun, reason), expected, "{kind:x} {lun:02x?} {reason}");
        }
    }
}
