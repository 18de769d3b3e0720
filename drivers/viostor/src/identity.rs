//! Who the disk is: its serial number, and the vital product data pages made from it.

use core::sync::atomic::{AtomicU8, Ordering};

use scsi::Sense;
use scsi::cdb::Inquiry;
use scsi::inquiry::{self, Designator};
use scsi::parameter_data::ParameterData;
use virtio::memory::{Region, SharedMemory};
use virtio::spec::PCI_VENDOR_ID;

use crate::product_data::{PRODUCT, VENDOR};

/// Bytes the device writes for GET_ID (virtio 1.3, 5.2.6).
pub(crate) const BYTES: usize = 20;

/// A serial number: ASCII, without a terminator, possibly empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Serial {
    bytes: [u8; BYTES],
    length: usize,
    /// As the device wrote it.
    raw: [u8; BYTES],
}

impl Serial {
    /// What the device wrote: up to the first NUL, with bytes no page may carry turned into spaces, and without the
    /// spaces around it.
    pub(crate) fn new(raw: [u8; BYTES]) -> Self {
        let mut bytes = raw;
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(BYTES);
        for byte in &mut bytes {
            if !byte.is_ascii_graphic() {
                *byte = b' ';
            }
        }
        let trimmed = bytes[..end].trim_ascii();
        let mut serial = Self { bytes: [0; BYTES], length: trimmed.len(), raw };
        serial.bytes[..trimmed.len()].copy_from_slice(trimmed);
        serial
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// What virtio-win's viostor takes for the number: whatever stands before the first NUL, as it is.
    fn as_written(&self) -> &[u8] {
        let end = self.raw.iter().position(|byte| *byte == 0).unwrap_or(BYTES);
        &self.raw[..end]
    }

    /// Reads what the device wrote.
    pub(crate) fn load(shared: &Region) -> Self {
        let mut bytes = [0; BYTES];
        for (offset, byte) in bytes.iter_mut().enumerate() {
            *byte = shared.load8(offset, Ordering::Relaxed);
        }
        Self::new(bytes)
    }
}

/// Where on the PCI bus the disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// SystemIoBusNumber, with the segment in its upper part.
    pub bus: u32,
    /// The low byte of SlotNumber: device in five bits, function in three.
    pub function: u8,
}

impl Location {
    /// What tells a disk without a serial number from others of this machine: who made it, which bus, which function.
    ///
    /// It is locally assigned on purpose. The C driver makes an EUI-64 of the same parts ([`eui_64`](Self::eui_64)), but such a
    /// name would be one for the whole world, and a disk at the same place in another virtual machine has the same: a cluster
    /// would take the two for one. A place is kept over reboots by every hypervisor that gives its devices addresses; a disk that is plugged
    /// into another slot becomes another one, which only a serial number can prevent.
    fn naa(self) -> u64 {
        u64::from(PCI_VENDOR_ID) << 44 | u64::from(self.bus) << 12 | u64::from(self.function)
    }

    /// What virtio-win's viostor makes of SystemIoBusNumber and SlotNumber, the lower 16 bits of each: four bits in each byte
    /// (ReportDeviceIdentifier in its virtio_stor.c).
    fn eui_64(self) -> [u8; 8] {
        let digits = |word: u32| [12, 8, 4, 0].map(|shift| (word >> shift & 0xf) as u8);
        let ([a, b, c, d], [e, f, g, h]) = (digits(self.bus), digits(self.function.into()));
        [a, b, c, d, e, f, g, h]
    }
}

/// The names of a disk: the one that virtio-win's viostor gives it, which is its only one there, and ours.
///
/// Theirs is known to who has known the disk under that driver, and is found again under this one, and the other way round.
/// Who compares all names (CompareStorageDuids, device-unique-identifiers--duids--for-storage-devices.md) finds it wherever it
/// is, as does who goes by its type (MSFT_Disk's UniqueId takes type 3 before 2 before 1 before 0, msft-disk.md, whatever
/// the order). So the order is for those who take the first one: for them nothing changes, in neither direction.
fn name<T>(serial: &Serial, location: Option<Location>, tell: impl FnOnce(&[Designator<'_>]) -> T) -> T {
    let (serial, as_written) = (serial.as_bytes(), serial.as_written());
    let t10 = Designator::T10VendorId { vendor: VENDOR, product: &PRODUCT, serial };
    match location {
        _ if !serial.is_empty() => tell(&[Designator::VendorSpecific(as_written), t10]),
        // A number of nothing but spaces is one for them, and for nobody else.
        Some(place) if !as_written.is_empty() => {
            tell(&[Designator::VendorSpecific(as_written), Designator::LocallyAssigned(place.naa())])
        }
        Some(place) => tell(&[Designator::Eui64(place.eui_64()), Designator::LocallyAssigned(place.naa())]),
        None => tell(&[t10]),
    }
}

/// The serial number that the device has told, for when it cannot answer: a disk does not become another one because its
/// back-end is busy. The first answer counts; several may come at once.
#[derive(Debug, Default)]
pub(crate) struct Told {
    state: AtomicU8,
    bytes: [AtomicU8; BYTES],
}

impl Told {
    const BEING_WRITTEN: u8 = 1;
    const WRITTEN: u8 = 2;

    pub(crate) fn remember(&self, serial: &Serial) {
        let first = self.state.compare_exchange(0, Self::BEING_WRITTEN, Ordering::Relaxed, Ordering::Relaxed);
        if first.is_ok() {
            for (to, from) in self.bytes.iter().zip(serial.raw) {
                to.store(from, Ordering::Relaxed);
            }
            self.state.store(Self::WRITTEN, Ordering::Release);
        }
    }

    /// The number, if the device has told one; empty otherwise.
    pub(crate) fn recall(&self) -> Serial {
        let mut bytes = [0; BYTES];
        if self.state.load(Ordering::Acquire) == Self::WRITTEN {
            for (to, from) in bytes.iter_mut().zip(&self.bytes) {
                *to = from.load(Ordering::Relaxed);
            }
        }
        Serial::new(bytes)
    }
}

/// Answers with a vital product data page that carries the serial number; gives the bytes that were written.
///
/// A disk without one is named by its place. Where that is not known either, all such disks have the same name.
pub(crate) fn answer(
    serial: &Serial,
    location: Option<Location>,
    request: Inquiry,
    buffer: &mut [u8],
) -> Result<u32, Sense> {
    let mut data = ParameterData::new(buffer, u32::from(request.allocation_length));
    match request.page {
        Some(inquiry::page::UNIT_SERIAL_NUMBER) => inquiry::unit_serial_number(&mut data, serial.as_bytes()),
        Some(inquiry::page::DEVICE_IDENTIFICATION) => {
            name(serial, location, |names| inquiry::device_identification(&mut data, names));
        }
        _ => return Err(Sense::invalid_cdb_byte(2)),
    }
    Ok(data.transferred())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serial(text: &[u8]) -> Serial {
        let mut bytes = [0; BYTES];
        bytes[..text.len()].copy_from_slice(text);
        Serial::new(bytes)
    }

    #[test]
    fn a_serial_number_of_all_twenty_bytes_needs_no_terminator() {
        assert_eq!(serial(b"01234567890123456789").as_bytes(), b"01234567890123456789");
    }

    #[test]
    fn a_serial_number_ends_at_the_first_nul() {
        assert_eq!(serial(b"ABC\0DEF").as_bytes(), b"ABC");
    }

    #[test]
    fn bytes_that_are_not_printable_become_spaces() {
        assert_eq!(serial(b"\x01A\xffB ").as_bytes(), b"A B");
    }

    #[test]
    fn virtio_wins_name_has_the_bytes_of_the_device_as_they_are() {
        let place = Some(Location { bus: 0, function: 0x0a });
        for written in [&b"  WD-123"[..], b"ABC   ", b"A\x01B", b"   "] {
            let first = name(
                &serial(written),
                place,
                |names| matches!(names, [Designator::VendorSpecific(name), ..] if *name == written),
            );

            assert!(first, "{written:?}");
        }
    }

    #[test]
    fn the_first_number_that_was_told_is_the_one_that_is_remembered() {
        let told = Told::default();
        assert_eq!(told.recall(), serial(b""));

        told.remember(&serial(b" A-1"));
        told.remember(&serial(b"B-2"));

        assert_eq!(told.recall(), serial(b" A-1"));
    }

    #[test]
    fn an_empty_serial_number_makes_an_empty_page() {
        let request = Inquiry { page: Some(0x80), allocation_length: 255 };

        let mut buffer = [0xee; 8];
        let transferred = answer(&serial(b""), None, request, &mut buffer).expect("page 80 exists");

        assert_eq!((transferred, buffer), (4, [0, 0x80, 0, 0, 0xee, 0xee, 0xee, 0xee]));
    }

    #[test]
    fn a_disk_without_a_serial_number_is_named_by_its_place_if_that_is_known() {
        let request = Inquiry { page: Some(0x83), allocation_length: 255 };
        let place = Location { bus: 0x0203_0405, function: 0x0a };
        let page = |serial_number: &[u8], location| {
            let mut buffer = [0; 64];
            let length =
                answer(&serial(serial_number), location, request, &mut buffer).expect("page 83 exists");
            (length, buffer)
        };

        let (length, unnamed) = page(b"", Some(place));
        let (_, elsewhere) = page(b"", Some(Location { function: 0x0b, ..place }));
        let naa = [0x31, 0xaf, 0x40, 0x20, 0x30, 0x40, 0x50, 0x0a];
        // As virtio-win's viostor has it, the low digits of bus and slot.
        let eui = [0, 4, 0, 5, 0, 0, 0, 0x0a];
        assert_eq!(unnamed[..8], [0, 0x83, 0, 24, 0x01, 0x02, 0, 8]);
        assert_eq!(unnamed[8..16], eui);
        assert_eq!(unnamed[16..20], [0x01, 0x03, 0, 8]);
        assert_eq!((length, &unnamed[20..28]), (28, &naa[..]));
        assert_ne!(unnamed, elsewhere);
        assert_eq!(page(b"SN", Some(place)), page(b"SN", None), "a serial number does not move");
    }

    #[test]
    fn a_serial_number_alone_is_the_first_name_as_it_is_the_only_one_of_virtio_wins_viostor() {
        let request = Inquiry { page: Some(0x83), allocation_length: 255 };
        let mut buffer = [0; 64];

        let length = answer(&serial(b"S-42"), None, request, &mut buffer).expect("page 83 exists");

        assert_eq!(buffer[4..12], *b"\x02\0\0\x04S-42");
        assert_eq!(buffer[12..16], [0x02, 0x01, 0, (8 + PRODUCT.len() + 4) as u8]);
        assert!(buffer[16..length as usize].ends_with(b"S-42"));
    }
}
