//! How much a READ(6) or WRITE(6) of a tape has moved, where the device does not say. QEMU names a residual with GOOD only
//! (hw/scsi/virtio-scsi.c, virtio_scsi_command_complete), and a tape ends half of its commands otherwise: at a filemark, at the
//! end of the data, or with a record that is shorter than what was asked for. It says itself how much is missing (SSC-3, 6.4 and
//! 6.7), as Linux's st.c reads it too.

const FILEMARK: u8 = 0x80;
const END_OF_MEDIUM: u8 = 0x40;
const INCORRECT_LENGTH: u8 = 0x20;
const BLANK_CHECK: u8 = 0x08;

/// The bytes that are missing of so many; `None` when this is no tape's command, or no tape's sense data.
///
/// A disk knows READ(6) and WRITE(6) as well, and none of those bits.
#[cold]
#[inline(never)]
pub(crate) fn missing(cdb: &[u8], sense: &[u8], asked: u32) -> Option<u32> {
    let &[0x08 | 0x0a, flags, high, middle, low, _] = cdb else { return None };
    // Fixed format; the information may not be valid.
    let &[code @ (0x70 | 0xf0), _, bits, i0, i1, i2, i3, ..] = sense else { return None };
    let is_blank = bits & 0x0f == BLANK_CHECK;
    if bits & (FILEMARK | END_OF_MEDIUM | INCORRECT_LENGTH) == 0 && !is_blank {
        return None;
    }
    let is_record = flags & 1 == 0;
    if is_record && (bits & FILEMARK != 0 || is_blank) {
        // In its place there was something else.
        return Some(asked);
    }
    if code & 0x80 == 0 {
        return None;
    }
    // Below zero: the record is longer than what was asked for.
    let information = u32::try_from(i32::from_be_bytes([i0, i1, i2, i3])).ok()?;
    let missing = if is_record {
        information
    } else if bits & INCORRECT_LENGTH != 0 {
        // Of the block with another length a part may have come.
        return None;
    } else {
        let blocks = u32::from_be_bytes([0, high, middle, low]);
        let block_bytes =
            asked.checked_div(blocks).filter(|bytes| bytes.checked_mul(blocks) == Some(asked))?;
        information.checked_mul(block_bytes)?
    };
    (missing <= asked).then_some(missing)
}
