//! Who the disk is: its serial number, and the vital product data pages made from it.

use core::sync::atomic::Ordering;

use scsi::Sense;
use scsi::cdb::Inquiry;
use scsi::inquiry;
use scsi::parameter_data::ParameterData;
use virtio::memory::{Region, SharedMemory};

use crate::product_data::{PRODUCT, VENDOR};

/// Bytes the device writes for GET_ID (virtio 1.3, 5.2.6).
pub(crate) const BYTES: usize = 20;

/// A serial number: ASCII, without a terminator, possibly empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Serial {
    bytes: [u8; BYTES],
    length: usize,
}

impl Serial {
    /// What the device wrote: up to the first NUL, with bytes no page may carry turned into spaces, and without the
    /// spaces around it.
    pub(crate) fn new(mut bytes: [u8; BYTES]) -> Self {
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(BYTES);
        for byte in &mut bytes {
            if !byte.is_ascii_graphic() {
                *byte = b' ';
            }
        }
        let trimmed = bytes[..end].trim_ascii();
        let mut serial = Self { bytes: [0; BYTES], length: trimmed.len() };
        serial.bytes[..trimmed.len()].copy_from_slice(trimmed);
        serial
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
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

/// Answers with a vital product data page that carries the serial number; gives the bytes that were written.
pub(crate) fn answer(serial: &Serial, request: Inquiry, buffer: &mut [u8]) -> Result<u32, Sense> {
    let mut data = ParameterData::new(buffer, u32::from(request.allocation_length));
    match request.page {
        Some(inquiry::page::UNIT_SERIAL_NUMBER) => inquiry::unit_serial_number(&mut data, serial.as_bytes()),
        Some(inquiry::page::DEVICE_IDENTIFICATION) => {
            inquiry::device_identification(&mut data, VENDOR, &PRODUCT, serial.as_bytes());
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
    fn an_empty_serial_number_makes_an_empty_page() {
        let request = Inquiry { page: Some(0x80), allocation_length: 255 };

        let mut buffer = [0xee; 8];
        let transferred = answer(&serial(b""), request, &mut buffer).expect("page 80 exists");

        assert_eq!((transferred, buffer), (4, [0, 0x80, 0, 0, 0xee, 0xee, 0xee, 0xee]));
    }
}
