//! REPORT LUNS (SPC-4, 6.33): the list passes as it is, and what StorPort's addresses do not reach is told of. There are eight
//! bits for a LUN, and a target of virtio-scsi may have 16384.

use core::sync::atomic::{AtomicU64, Ordering};

use adapter::Step;
use storport::port::FarUnit;
use storport::{Completion, SrbStatus};

use crate::Request;
use crate::build_io::Command;

/// Bytes before the first LUN, and of each.
const HEAD_BYTES: usize = 8;
const LUN_BYTES: usize = 8;

/// Targets that have been told of since the adapter was found, one bit each. No lock.
#[derive(Debug, Default)]
pub(crate) struct ToldOf([AtomicU64; 4]);

impl ToldOf {
    /// Whether this is the first time.
    fn is_news(&self, target: u8) -> bool {
        let bit = 1 << (target % 64);
        self.0
            .get(usize::from(target / 64))
            .is_some_and(|word| word.fetch_or(bit, Ordering::Relaxed) & bit == 0)
    }
}

/// What becomes of a list that has come: of a target's first one with LUNs of `logical_units` and above, the first of those is
/// told.
#[cold]
pub(crate) fn complete(
    request: &mut Request,
    completion: Completion,
    logical_units: u8,
    told_of: &ToldOf,
) -> Step<Command> {
    let is_list = matches!(completion.status, SrbStatus::SUCCESS | SrbStatus::DATA_OVERRUN);
    let target = request.address().target;
    let data = request.data();
    let list = &data[..data.len().min(completion.transferred as usize)];
    match first_beyond(list, u16::from(logical_units)) {
        Some(lun) if is_list && told_of.is_news(target) => {
            Step::OutOfReach(completion, FarUnit { target, lun })
        }
        _ => Step::Done(completion),
    }
}

/// The smallest LUN of a list that is no less than `limit`. Of forms that name no unit of a target directly (SAM-5, 4.7.7) nothing
/// is known.
fn first_beyond(list: &[u8], limit: u16) -> Option<u16> {
    let (head, luns) = list.split_at_checked(HEAD_BYTES)?;
    let claimed = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
    let luns = luns.get(..claimed).unwrap_or(luns);
    luns.chunks_exact(LUN_BYTES).filter_map(number).filter(|lun| *lun >= limit).min()
}

/// The number of a unit in the peripheral device addressing method, on bus 0, or in the flat space addressing method.
fn number(lun: &[u8]) -> Option<u16> {
    match *lun.first_chunk()? {
        [0, number] => Some(u16::from(number)),
        [high @ 0x40..=0x7f, low] => Some(u16::from_be_bytes([high & 0x3f, low])),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::vec;
    use std::vec::Vec;

    use super::*;

    fn list(claimed: u32, luns: &[[u8; 2]]) -> Vec<u8> {
        let mut list = claimed.to_be_bytes().to_vec();
        list.extend([0; 4]);
        luns.iter().for_each(|lun| list.extend([lun[0], lun[1], 0, 0, 0, 0, 0, 0]));
        list
    }

    #[test]
    fn the_first_lun_out_of_reach_is_found_in_either_form() {
        let table: [(Vec<u8>, Option<u16>); 8] = [
            (list(24, &[[0, 0], [0, 5], [0, 254]]), None),
            (list(24, &[[0, 0], [0, 255], [0, 254]]), Some(255)),
            (list(24, &[[0, 0], [0x41, 0], [0x40, 255]]), Some(255)),
            (list(16, &[[0x7f, 0xff], [0, 0]]), Some(0x3fff)),
            // REPORT LUNS' own well-known unit, another bus, extended forms.
            (list(24, &[[0xc1, 1], [0x81, 255], [0x01, 255]]), None),
            (list(8, &[[0, 0], [0, 255]]), None),
            (list(u32::MAX, &[[0, 0], [0, 255]]), Some(255)),
            (vec![0, 0, 0, 8, 0], None),
        ];
        for (list, expected) in table {
            assert_eq!(first_beyond(&list, 255), expected, "{list:02x?}");
        }
        assert_eq!(first_beyond(&[0, 0, 0, 16, 0, 0, 0, 0, 0, 255], 255), None, "half a LUN is none");
    }

    #[test]
    fn a_target_is_told_of_once() {
        let told_of = ToldOf::default();

        let news = [0, 63, 64, 254, 0, 64, 254].map(|target| told_of.is_news(target));

        assert_eq!(news, [true, true, true, true, false, false, false]);
    }
}
