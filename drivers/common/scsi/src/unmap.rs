//! The parameter list of UNMAP (SBC-3, UNMAP): which ranges are not needed any more.

use crate::cdb::{BlockRange, Lba};
use crate::sense::Sense;

/// Bytes of the header.
const HEADER_BYTES: usize = 8;
/// Bytes of a block descriptor.
const DESCRIPTOR_BYTES: usize = 16;

/// The block descriptors of a parameter list.
///
/// The list may lie in memory of the program that sent it, which can write there at any time: what is read twice may
/// differ. Whoever acts on a range has to check the very copy that is acted on.
#[derive(Clone, Copy, Debug)]
pub struct UnmapList<'a> {
    descriptors: &'a [[u8; DESCRIPTOR_BYTES]],
}

impl<'a> UnmapList<'a> {
    /// Reads the header. `parameters` is as long as the CDB says, and not empty: with a PARAMETER LIST LENGTH of zero
    /// there is no list, which is no error.
    ///
    /// UNMAP DATA LENGTH says nothing that UNMAP BLOCK DESCRIPTOR DATA LENGTH and the length of the list do not, and is
    /// not looked at. A descriptor that does not fit into either length is ignored.
    ///
    /// # Errors
    /// The list ends inside the header.
    pub fn parse(parameters: &'a [u8]) -> Result<Self, Sense> {
        let Some((header, rest)) = parameters.split_at_checked(HEADER_BYTES) else {
            return Err(Sense::PARAMETER_LIST_LENGTH_ERROR);
        };
        let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let rest = &rest[..length.min(rest.len())];
        Ok(Self { descriptors: rest.as_chunks().0 })
    }

    /// How many ranges there are; at most 4095.
    pub const fn len(&self) -> usize {
        self.descriptors.len()
    }

    /// Whether there is none, which is no error.
    pub const fn is_empty(&self) -> bool {
        self.descriptors.is_empty()
    }

    /// The ranges. Zero blocks are no error and unmap nothing.
    pub fn ranges(&self) -> impl ExactSizeIterator<Item = BlockRange> + use<'a> {
        self.descriptors.iter().map(|descriptor| {
            let [a, b, c, d, e, f, g, h, i, j, k, l, ..] = *descriptor;
            BlockRange {
                start: Lba(u64::from_be_bytes([a, b, c, d, e, f, g, h])),
                blocks: u32::from_be_bytes([i, j, k, l]),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::vec;
    use std::vec::Vec;

    use super::*;

    fn list(data_length: u16, descriptors_length: u16, descriptors: &[(u64, u32)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(data_length.to_be_bytes());
        bytes.extend(descriptors_length.to_be_bytes());
        bytes.extend([0; 4]);
        for (start, blocks) in descriptors {
            bytes.extend(start.to_be_bytes());
            bytes.extend(blocks.to_be_bytes());
            bytes.extend([0; 4]);
        }
        bytes
    }

    fn ranges(bytes: &[u8]) -> Vec<(u64, u32)> {
        let list = UnmapList::parse(bytes).expect("a header");
        list.ranges().map(|range| (range.start.0, range.blocks)).collect()
    }

    #[test]
    fn descriptors_have_the_bytes_of_sbc() {
        let bytes = [
            0x00, 0x26, 0x00, 0x20, 0, 0, 0, 0, //
            1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0, 0, 0, 0, //
            0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0,
        ];

        assert_eq!(ranges(&bytes), [(0x0102_0304_0506_0708, 0x090a_0b0c), (2, 0)]);
        assert_eq!(UnmapList::parse(&bytes).unwrap().len(), 2);
    }

    #[test]
    fn a_list_that_ends_inside_its_header_is_refused() {
        for length in 0..8 {
            let refused = UnmapList::parse(&[0; 8][..length]).unwrap_err();

            assert_eq!(refused, Sense::PARAMETER_LIST_LENGTH_ERROR, "{length} bytes");
        }
    }

    #[test]
    fn a_list_without_descriptors_is_empty_and_no_error() {
        assert!(UnmapList::parse(&[0; 8]).unwrap().is_empty());
        assert!(UnmapList::parse(&list(6, 0, &[(1, 1)])).unwrap().is_empty());
    }

    #[test]
    fn descriptors_that_are_cut_off_are_ignored() {
        let two = [(1, 1), (2, 2)];

        // By the length of descriptors, by the length of the list, and by one that is longer than the list.
        assert_eq!(ranges(&list(38, 31, &two)), [(1, 1)]);
        assert_eq!(ranges(&list(38, 15, &two)), vec![]);
        assert_eq!(ranges(&list(38, 32, &two)[..39]), [(1, 1)]);
        assert_eq!(ranges(&list(38, u16::MAX, &two)), two);
    }

    #[test]
    fn the_data_length_changes_nothing() {
        for data_length in [0, 6, 22, u16::MAX] {
            assert_eq!(ranges(&list(data_length, 16, &[(3, 4)])), [(3, 4)]);
        }
    }

    #[test]
    fn no_list_has_more_than_4095_ranges() {
        let bytes = vec![0xff; 8 + 65_536 + 16];

        assert_eq!(UnmapList::parse(&bytes).unwrap().len(), 4095);
    }
}
