//! SRB_FUNCTION_IO_CONTROL: a program's request to a miniport (IOCTL_SCSI_MINIPORT, ns-ntddscsi-_srb_io_control.md).
//!
//! ```text
//!   0 HeaderLength 28 · 4 Signature (8 bytes) · 12 Timeout · 16 ControlCode · 20 ReturnCode · 24 Length │ 28 data …
//! ```
//!
//! All of it is the program's, so none of it is believed before it was held against the buffer.

/// `sizeof(SRB_IO_CONTROL)`
pub const HEADER_BYTES: usize = 28;

const HEADER_LENGTH: usize = 0;
const SIGNATURE: usize = 4;
const CONTROL_CODE: usize = 16;
const RETURN_CODE: usize = 20;
const LENGTH: usize = 24;

/// A request whose lengths fit its buffer.
#[derive(Debug)]
pub struct IoControl<'a> {
    header: &'a mut [u8; HEADER_BYTES],
    data: &'a mut [u8],
}

impl<'a> IoControl<'a> {
    /// The request in this buffer; `None` when the header is not one, or speaks of more data than there is.
    pub fn parse(buffer: &'a mut [u8]) -> Option<Self> {
        let (header, data) = buffer.split_first_chunk_mut::<HEADER_BYTES>()?;
        if read32(header, HEADER_LENGTH) as usize != HEADER_BYTES {
            return None;
        }
        let length = read32(header, LENGTH) as usize;
        let data = data.get_mut(..length)?;
        Some(Self { header, data })
    }

    /// Whose request it is: eight characters that keep control codes of different vendors apart.
    pub fn signature(&self) -> [u8; 8] {
        let mut signature = [0; 8];
        signature.copy_from_slice(&self.header[SIGNATURE..CONTROL_CODE - 4]);
        signature
    }

    /// What is asked for.
    pub fn control_code(&self) -> u32 {
        read32(self.header, CONTROL_CODE)
    }

    /// What follows the header, as much as the program says.
    pub fn data(&mut self) -> &mut [u8] {
        self.data
    }

    /// Answers with this code and no data; returns how much of the buffer goes back to the program.
    pub fn answer(self, return_code: u32) -> u32 {
        self.header[RETURN_CODE..RETURN_CODE + 4].copy_from_slice(&return_code.to_le_bytes());
        HEADER_BYTES as u32
    }
}

/// The one request that Windows itself sends to any miniport: what can be done with the device's firmware
/// (upgrading-firmware-for-an-nvme-device.md).
pub mod firmware {
    /// Its signature.
    pub const SIGNATURE: [u8; 8] = *b"FIRMWARE";
    /// `IOCTL_SCSI_MINIPORT_FIRMWARE`
    pub const CONTROL_CODE: u32 = 0x001b_0780;
    /// `sizeof(FIRMWARE_REQUEST_BLOCK)`, which is the data, or what it starts with.
    pub const REQUEST_BYTES: usize = 24;
    /// `FIRMWARE_STATUS_ILLEGAL_REQUEST`: there is no such thing as that device's firmware.
    pub const ILLEGAL_REQUEST: u32 = 2;
    /// `FIRMWARE_STATUS_INVALID_PARAMETER`: the request makes no sense.
    pub const INVALID_PARAMETER: u32 = 3;
    /// `FIRMWARE_REQUEST_BLOCK_STRUCTURE_VERSION`
    const VERSION: u32 = 1;

    /// The return code for a firmware request of a device without firmware that anybody could get at: neither virtio-blk nor
    /// virtio-scsi has a command for it.
    pub fn refusal(request: &[u8]) -> u32 {
        let sound = request.len() >= REQUEST_BYTES
            && super::read32(request, 0) == VERSION
            && super::read32(request, 4) as usize == REQUEST_BYTES;
        if sound { ILLEGAL_REQUEST } else { INVALID_PARAMETER }
    }
}

fn read32(bytes: &[u8], offset: usize) -> u32 {
    bytes.get(offset..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u32::from_le_bytes(*word))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request with this much data behind its header, in a buffer with this much room for it.
    fn request(length: u32, room: usize) -> Vec<u8> {
        let mut buffer = vec![0xee; HEADER_BYTES + room];
        buffer[..4].copy_from_slice(&28u32.to_le_bytes());
        buffer[4..12].copy_from_slice(b"FIRMWARE");
        buffer[16..20].copy_from_slice(&0x001b_0780u32.to_le_bytes());
        buffer[24..28].copy_from_slice(&length.to_le_bytes());
        buffer
    }

    #[test]
    fn a_request_is_read_as_its_page_lays_it_out_and_only_the_return_code_is_written() {
        let mut buffer = request(4, 8);
        let before = buffer.clone();

        let mut control = IoControl::parse(&mut buffer).expect("a sound request");

        assert_eq!(control.signature(), *b"FIRMWARE");
        assert_eq!(control.control_code(), 0x001b_0780);
        assert_eq!(control.data().len(), 4);
        assert_eq!(control.answer(2), 28);
        assert_eq!(buffer[20..24], [2, 0, 0, 0]);
        assert_eq!((&buffer[..20], &buffer[24..]), (&before[..20], &before[24..]));
    }

    #[test]
    fn lengths_that_do_not_fit_the_buffer_are_no_request() {
        for (length, room) in [(1, 0), (9, 8), (u32::MAX, 8), (u32::MAX - 27, 8)] {
            assert!(IoControl::parse(&mut request(length, room)).is_none(), "{length} bytes in {room}");
        }
        for bytes in 0..HEADER_BYTES {
            assert!(IoControl::parse(&mut request(0, 0)[..bytes]).is_none(), "a header of {bytes} bytes");
        }
        for header_length in [0u32, 27, 29, u32::MAX] {
            let mut buffer = request(0, 8);
            buffer[..4].copy_from_slice(&header_length.to_le_bytes());
            assert!(IoControl::parse(&mut buffer).is_none(), "a header that says {header_length}");
        }
    }

    #[test]
    fn a_firmware_request_is_told_from_nonsense() {
        let mut sound = [0; firmware::REQUEST_BYTES + 8];
        sound[..12].copy_from_slice(&[1, 0, 0, 0, 24, 0, 0, 0, 1, 0, 0, 0]);
        let mut other_version = sound;
        other_version[0] = 2;

        assert_eq!(firmware::refusal(&sound), firmware::ILLEGAL_REQUEST);
        assert_eq!(firmware::refusal(&sound[..23]), firmware::INVALID_PARAMETER);
        assert_eq!(firmware::refusal(&other_version), firmware::INVALID_PARAMETER);
        assert_eq!(firmware::refusal(&[]), firmware::INVALID_PARAMETER);
    }
}
