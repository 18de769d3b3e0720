//! The event queue (5.6.6.3): units that come, go and change.

use zerocopy::IntoBytes;
use zerocopy::byteorder::little_endian::U32;

use super::{EVENT_QUEUE, Hba, Request, Served, Unit};
use crate::FakeDevice;
use virtio::spec::scsi::{Event, EventType, Lun, transport_reset};
use virtio::spec::{DeviceStatus, Features};

/// `event_info_size` (5.6.4).
pub(super) const BYTES: usize = size_of::<Event>();

impl FakeDevice<Hba> {
    /// Adds a unit, and says so with VIRTIO_SCSI_F_HOTPLUG.
    pub fn plug(&self, target: u8, lun: u16, unit: Unit) {
        self.model(|hba| hba.units.insert((target, lun), unit));
        self.tell_about(Features::SCSI_HOTPLUG, (target, lun), RESET, transport_reset::RESCAN);
    }

    /// Takes a unit away, and says so with VIRTIO_SCSI_F_HOTPLUG.
    pub fn unplug(&self, target: u8, lun: u16) {
        self.model(|hba| hba.remove_unit(target, lun));
        self.tell_about(Features::SCSI_HOTPLUG, (target, lun), RESET, transport_reset::REMOVED);
    }

    /// Changes a unit, and says so with VIRTIO_SCSI_F_CHANGE: with additional sense code and qualifier.
    ///
    /// # Panics
    /// There is no unit at this place.
    pub fn change_unit(
        &self,
        target: u8,
        lun: u16,
        (code, qualifier): (u8, u8),
        change: impl FnOnce(&mut Unit),
    ) {
        self.model(|hba| change(hba.unit(target, lun)));
        let reason = u32::from(code) | u32::from(qualifier) << 8;
        self.tell_about(Features::SCSI_CHANGE, (target, lun), EventType::PARAM_CHANGE, reason);
    }

    fn tell_about(&self, feature: Features, (target, lun): (u8, u16), kind: EventType, reason: u32) {
        if !self.accepted().contains(feature) {
            return;
        }
        let peripheral = self.model(|hba| hba.peripheral_event_luns) && lun < 256;
        let address =
            if peripheral { Lun([1, target, 0, lun as u8, 0, 0, 0, 0]) } else { Lun::new(target, lun) };
        self.send_event(Event { kind: U32::new(kind.0), lun: address, reason: U32::new(reason) });
    }

    /// Sends an event, whatever was negotiated. Where there is no buffer for it, it is lost; the next one says so, or, if
    /// that comes first, the next buffer is given back to say so.
    pub fn send_event(&self, mut event: Event) {
        if !self.status().contains(DeviceStatus::DRIVER_OK) {
            return;
        }
        if self.model(|hba| hba.events_missed) {
            event.kind.set(event.kind.get() | EventType::MISSED);
        }
        let sent = self.send_events(EVENT_QUEUE, &[event.as_bytes()]);
        self.model(|hba| hba.events_missed = sent == 0);
    }
}

const RESET: EventType = EventType::TRANSPORT_RESET;

impl Hba {
    /// Keeps a buffer for events, unless there is something to say already.
    pub(super) fn take_event_buffer(&mut self, request: &mut Request<'_>) -> Served {
        request.rule(request.readable().is_empty(), "5.6.6.3: the device writes all of a buffer for events");
        request.rule(
            request.writable_bytes() >= BYTES,
            "5.6.4: a buffer for events has event_info_size bytes at least",
        );
        if !core::mem::take(&mut self.events_missed) {
            return Served::Kept;
        }
        let mut missed = [0; BYTES];
        missed[..4].copy_from_slice(&(EventType::NO_EVENT.0 | EventType::MISSED).to_le_bytes());
        request.write(0, &missed);
        Served::Done
    }
}
