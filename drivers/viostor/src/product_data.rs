//! INQUIRY data and the vital product data pages that need no device.

use scsi::Sense;
use scsi::inquiry::{self, BlockLimits, Provisioning, RotationRate, StandardInquiry};
use scsi::parameter_data::ParameterData;
use zerocopy::IntoBytes;
use zerocopy::byteorder::big_endian::{U16, U32, U64};

use crate::config::Disk;

/// T10 VENDOR IDENTIFICATION. The same as the C driver's, so that a guest that changes drivers keeps its disks' names.
pub(crate) const VENDOR: [u8; 8] = *b"Red Hat ";
/// PRODUCT IDENTIFICATION, likewise.
pub(crate) const PRODUCT: [u8; 16] = *b"VirtIO          ";
/// PRODUCT REVISION LEVEL, likewise.
const REVISION: [u8; 4] = *b"0001";

/// The vital product data pages there are, in ascending order; the last only where blocks can be unmapped.
const PAGES: [u8; 6] = [
    inquiry::page::SUPPORTED_PAGES,
    inquiry::page::UNIT_SERIAL_NUMBER,
    inquiry::page::DEVICE_IDENTIFICATION,
    inquiry::page::BLOCK_LIMITS,
    inquiry::page::BLOCK_DEVICE_CHARACTERISTICS,
    inquiry::page::LOGICAL_BLOCK_PROVISIONING,
];

/// INQUIRY, but for the pages with the serial number.
pub(crate) fn answer(disk: &Disk, page: Option<u8>, data: &mut ParameterData<'_>) -> Result<(), Sense> {
    let provisioning = provisioning(disk);
    let pages = if provisioning.managed() { &PAGES[..] } else { &PAGES[..5] };
    match page {
        None => {
            data.push(StandardInquiry::disk(VENDOR, PRODUCT, REVISION).as_bytes());
        }
        Some(page) if !pages.contains(&page) => return Err(Sense::invalid_cdb_byte(2)),
        Some(inquiry::page::SUPPORTED_PAGES) => inquiry::supported_pages(data, pages),
        Some(inquiry::page::BLOCK_LIMITS) => block_limits(disk).answer(data),
        Some(inquiry::page::BLOCK_DEVICE_CHARACTERISTICS) => {
            inquiry::block_device_characteristics(data, rotation(disk));
        }
        Some(inquiry::page::LOGICAL_BLOCK_PROVISIONING) => provisioning.answer(data),
        Some(_) => return Err(Sense::invalid_cdb_byte(2)),
    }
    Ok(())
}

/// Which commands unmap blocks, and what becomes of them.
pub(crate) fn provisioning(disk: &Disk) -> Provisioning {
    let zeroes = disk.write_zeroes.is_some_and(|zeroes| zeroes.may_unmap);
    let unmap = disk.discard.is_some();
    Provisioning {
        unmap,
        write_same_16: zeroes,
        write_same_10: zeroes,
        // A discarded sector reads as anything (virtio 1.3, 5.2.6.1); one that write zeroes unmapped reads as zeroes.
        reads_zeroes: zeroes && !unmap,
        // What is unmapped goes back to the host, which keeps no room for it: a write that maps it again may fail for want
        // of room. That is thin; "resource" would promise that it cannot.
        thin: unmap || zeroes,
    }
}

/// Virtio tells nothing of what the host's disk is made of. Only storage that wears knows its lifetime, and what wears does
/// not rotate; everything else is not reported, as the C driver does.
fn rotation(disk: &Disk) -> RotationRate {
    if disk.lifetime { RotationRate::SolidState } else { RotationRate::Unknown }
}

fn block_limits(disk: &Disk) -> BlockLimits {
    let mut limits = BlockLimits {
        // Filling the rest of a disk is never what was meant.
        write_same_non_zero: 1,
        granularity: U16::new(disk.topology.granularity_blocks),
        max_transfer: U32::new(disk.max_transfer_blocks),
        optimal_transfer: U32::new(disk.topology.optimal_blocks),
        max_write_same: U64::new(disk.max_write_same_blocks()),
        ..BlockLimits::default()
    };
    if let Some(discard) = disk.discard {
        let unmap = discard.unmap(disk.block_size);
        limits.max_unmap_blocks = U32::new(unmap.blocks);
        limits.max_unmap_descriptors = U32::new(unmap.descriptors);
        limits.unmap_granularity = U32::new(discard.alignment_blocks(disk.block_size));
        // Multiples of the alignment count from sector 0 (virtio 1.3, 5.2.5).
        limits.unmap_alignment = U32::new(BlockLimits::ALIGNMENT_VALID);
    }
    limits
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec;
    use std::vec::Vec;

    use super::*;
    use crate::config::disk_for_tests;
    use crate::units::BlockSize;
    use crate::{RangeLimits, Topology, WriteZeroes};

    fn page(disk: &Disk, page: u8) -> Result<Vec<u8>, Sense> {
        let mut buffer = vec![0xee; 255];
        let mut data = ParameterData::new(&mut buffer, 255);
        answer(disk, Some(page), &mut data)?;
        let length = data.transferred() as usize;
        buffer.truncate(length);
        Ok(buffer)
    }

    fn ranges(max_sectors: u32, max_ranges: u32, alignment_sectors: u32) -> RangeLimits {
        RangeLimits { max_sectors, max_ranges, alignment_sectors }
    }

    fn in_4k() -> Disk {
        Disk { block_size: BlockSize::new(4096).expect("a block size"), ..disk_for_tests() }
    }

    #[test]
    fn the_provisioning_page_is_there_where_blocks_can_be_unmapped() {
        let plain = disk_for_tests();
        let thin = Disk { discard: Some(ranges(8, 1, 8)), ..plain };

        assert_eq!(page(&plain, 0x00).unwrap()[4..], [0x00, 0x80, 0x83, 0xb0, 0xb1]);
        assert_eq!(page(&plain, 0xb2), Err(Sense::invalid_cdb_byte(2)));
        assert_eq!(page(&thin, 0x00).unwrap()[4..], [0x00, 0x80, 0x83, 0xb0, 0xb1, 0xb2]);
        assert_eq!(page(&thin, 0xb2).unwrap(), [0, 0xb2, 0, 4, 0, 0x80, 0x02, 0]);
    }

    #[test]
    fn a_disk_without_any_limits_reports_none_but_those_of_write_same() {
        let limits = page(&disk_for_tests(), 0xb0).unwrap();

        let mut expected = vec![0, 0xb0, 0, 0x3c, 1];
        expected.resize(42, 0);
        expected.extend([0xff, 0xff]);
        expected.resize(64, 0);
        assert_eq!(limits, expected);
    }

    #[test]
    fn limits_of_transfers_are_in_logical_blocks() {
        let topology = Topology {
            physical_block_exponent: 3,
            granularity_blocks: 0x0108,
            optimal_blocks: 0x1020,
            ..Topology::default()
        };
        let disk = Disk { topology, max_transfer_blocks: 0x07e8_0000, ..disk_for_tests() };

        let limits = page(&disk, 0xb0).unwrap();

        assert_eq!(limits[6..16], [0x01, 0x08, 0x07, 0xe8, 0, 0, 0, 0, 0x10, 0x20]);
    }

    #[test]
    fn limits_of_unmap_are_in_logical_blocks_and_not_in_sectors() {
        // 4 GiB in a range, one range, 64 KiB alignment.
        let discard = Some(ranges(0x0080_0000, 1, 128));
        let in_512 = page(&Disk { discard, ..disk_for_tests() }, 0xb0).unwrap();
        let in_4k = page(&Disk { discard, ..in_4k() }, 0xb0).unwrap();

        assert_eq!(in_512[20..36], [0, 0x80, 0, 0, 0, 0, 0x0f, 0xff, 0, 0, 0, 128, 0x80, 0, 0, 0]);
        assert_eq!(in_4k[20..36], [0, 0x10, 0, 0, 0, 0, 0x0f, 0xff, 0, 0, 0, 16, 0x80, 0, 0, 0]);
    }

    #[test]
    fn the_limit_of_write_same_is_in_logical_blocks() {
        let write_zeroes = Some(WriteZeroes { limits: ranges(0x0080_0000, 2, 8), may_unmap: false });
        let in_512 = page(&Disk { write_zeroes, ..disk_for_tests() }, 0xb0).unwrap();
        let in_4k = page(&Disk { write_zeroes, ..in_4k() }, 0xb0).unwrap();

        assert_eq!(in_512[36..44], [0, 0, 0, 0, 0x01, 0, 0, 0]);
        assert_eq!(in_4k[36..44], [0, 0, 0, 0, 0, 0x20, 0, 0]);
    }

    #[test]
    fn unmapped_blocks_read_as_zeroes_where_only_write_zeroes_unmaps() {
        let zeroes = |may_unmap| Some(WriteZeroes { limits: ranges(8, 1, 8), may_unmap });
        let plain = disk_for_tests();
        let discard = Some(ranges(8, 1, 8));
        let flags = |disk: Disk| page(&disk, 0xb2).map(|page| page[5]).ok();

        assert_eq!(flags(Disk { write_zeroes: zeroes(true), ..plain }), Some(0x64));
        assert_eq!(flags(Disk { write_zeroes: zeroes(true), discard, ..plain }), Some(0xe0));
        assert_eq!(flags(Disk { write_zeroes: zeroes(false), discard, ..plain }), Some(0x80));
        assert_eq!(flags(Disk { write_zeroes: zeroes(false), ..plain }), None);
    }

    #[test]
    fn a_disk_that_knows_its_wear_does_not_rotate() {
        assert_eq!(page(&disk_for_tests(), 0xb1).unwrap()[4..6], [0, 0]);
        assert_eq!(page(&Disk { lifetime: true, ..disk_for_tests() }, 0xb1).unwrap()[4..6], [0, 1]);
    }
}
