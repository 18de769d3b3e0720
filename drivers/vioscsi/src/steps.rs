//! Commands for a device that takes less than a page at once, or one segment only. There are such: bhyve's `max_sectors` is 2
//! (FreeBSD, usr.sbin/bhyve/pci_virtio_scsi.c).
//!
//! A READ or WRITE is sent as several of the same, one after the other, each for as many whole blocks as the device takes. The
//! data of any other command goes through scratch memory, where it is one segment. So does that of READ(6) and WRITE(6), which
//! are a tape's as well, and there mean records and not blocks (SSC-3, 6.4 and 6.7): a part of a record is another record. Windows'
//! classes for disks and CDs send the longer forms.

use adapter::Part;
use storport::DataDirection;

use crate::Request;
use crate::config::Hba;

/// How the data of a command gets to the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// As it is.
    Whole,
    /// By and by: a READ or WRITE.
    Blocks,
    /// Through scratch memory.
    Scratch,
    /// As it is, and the list that comes is looked at: REPORT LUNS.
    Listed,
}

/// Longest CDB of a READ or WRITE that is split.
const CDB_BYTES: usize = 16;

/// Bytes of scratch memory: what StorPort asks for at most in one request to such a device.
pub(crate) const SCRATCH_BYTES: usize = 4096;

/// Where a READ or WRITE has its first block and its number of blocks: offset and bytes of each.
const fn fields(code: u8) -> Option<((usize, usize), (usize, usize))> {
    match code {
        0x28 | 0x2a => Some(((2, 4), (7, 2))),
        0xa8 | 0xaa => Some(((2, 4), (6, 4))),
        0x88 | 0x8a => Some(((2, 8), (10, 4))),
        _ => None,
    }
}

fn number(cdb: &[u8], (offset, bytes): (usize, usize)) -> Option<u64> {
    let field = cdb.get(offset..offset + bytes)?;
    Some(field.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

/// How many blocks a READ or WRITE is for.
fn blocks(cdb: &[u8]) -> Option<u32> {
    let (_, count) = fields(*cdb.first()?)?;
    Some(number(cdb, count)? as u32)
}

/// The last of so many blocks has a number that there is room for. A step further on would start over at block 0.
fn fits(cdb: &[u8], blocks: u32) -> bool {
    let Some((start, _)) = cdb.first().and_then(|code| fields(*code)) else { return false };
    let most = u64::MAX >> (64 - 8 * start.1);
    let first = number(cdb, start).unwrap_or(most);
    most - first >= u64::from(blocks).saturating_sub(1)
}

/// The same command for `blocks` blocks, `first` blocks further on.
pub(crate) fn cut(cdb: &[u8], first: u32, blocks: u32) -> [u8; CDB_BYTES] {
    let mut cut = [0; CDB_BYTES];
    for (place, byte) in cut.iter_mut().zip(cdb) {
        *place = *byte;
    }
    let Some((start, count)) = cdb.first().and_then(|code| fields(*code)) else { return cut };
    let mut put = |(offset, bytes): (usize, usize), value: u64| {
        let value = value.to_be_bytes();
        if let Some(field) = cut.get_mut(offset..offset + bytes) {
            field.copy_from_slice(&value[value.len() - bytes..]);
        }
    };
    put(start, number(cdb, start).unwrap_or(0).wrapping_add(u64::from(first)));
    put(count, u64::from(blocks));
    cut
}

/// How the data of this command gets to the device.
#[inline]
pub(crate) fn way(hba: &Hba, srb: &Request) -> Way {
    const REPORT_LUNS: u8 = 0xa0;
    if hba.in_steps {
        way_in_steps(hba, srb)
    } else if srb.cdb().first() == Some(&REPORT_LUNS) && srb.direction() == DataDirection::In {
        Way::Listed
    } else {
        Way::Whole
    }
}

#[cold]
#[inline(never)]
fn way_in_steps(hba: &Hba, srb: &Request) -> Way {
    let bytes = srb.data_length();
    if bytes == 0 {
        return Way::Whole;
    }
    match blocks(srb.cdb()) {
        Some(blocks) if blocks != 0 && bytes.is_multiple_of(blocks) && fits(srb.cdb(), blocks) => Way::Blocks,
        // It is no READ or WRITE as any class driver sends them. The unit says so.
        Some(_) => Way::Whole,
        None if hba.segments == 1 && bytes as usize <= SCRATCH_BYTES => Way::Scratch,
        // `max_sectors` is a hint (virtio 1.3, 5.6.4), and what the command asks for is not ours to make less.
        None => Way::Whole,
    }
}

/// The next part of a READ or WRITE: whole blocks, and one at least. A block that is longer than the device's limit is still
/// the least that can be asked for; one that lies in two segments will not get into the ring when only one may be.
pub(crate) fn part(hba: &Hba, srb: &Request, done: u32) -> (Part, u32) {
    let block_bytes = srb.data_length() / blocks(srb.cdb()).unwrap_or(1).max(1);
    let offset = done.saturating_mul(block_bytes);
    let longest = Part::longest(srb.segments(), offset, hba.step_bytes, hba.segments);
    let blocks = (longest.bytes / block_bytes.max(1)).max(1);
    (Part { offset, bytes: blocks.saturating_mul(block_bytes) }, blocks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_cut_where_its_form_has_block_and_number() {
        let table: [(&[u8], &[u8]); 3] = [
            (&[0x28, 0x08, 0, 0, 0xff, 0xff, 0x1f, 0, 8, 0], &[0x28, 0x08, 0, 1, 0, 2, 0x1f, 0, 2, 0]),
            (&[0xaa, 0x08, 0, 0, 0, 1, 0, 0, 0, 8, 0, 0], &[0xaa, 0x08, 0, 0, 0, 4, 0, 0, 0, 2, 0, 0]),
            (
                &[0x88, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xfe, 0, 0, 0, 8, 0, 0],
                &[0x88, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0],
            ),
        ];
        for (whole, expected) in table {
            let cut = cut(whole, 3, 2);

            assert_eq!(cut[..whole.len()], *expected, "{whole:02x?}");
            assert!(cut[whole.len()..].iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn only_the_long_forms_count_blocks() {
        assert_eq!(blocks(&[0x08, 0, 0, 0, 2, 0]), None);
        assert_eq!(blocks(&[0x28, 0, 0, 0, 0, 0, 0, 0, 0, 0]), Some(0));
        assert_eq!(blocks(&[0x12, 0, 0, 0, 36, 0]), None);
        assert_eq!(blocks(&[0x28, 0]), None);
        assert_eq!(blocks(&[]), None);
    }
}
