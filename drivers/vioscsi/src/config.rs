//! What the device says of itself (virtio 1.3, 5.6.4), and what follows for StorPort.

use adapter::{Limits, Probe};
use virtio::spec::scsi::config;

/// Log numbers for configurations that cannot be used.
pub mod declined {
    /// The configuration structure ends before a field that belongs to it.
    pub const CONFIG_TOO_SHORT: u32 = 100;
    /// The device's CDB or sense field is not of the default size.
    pub const FIELD_SIZES: u32 = 101;
    /// Transfers may not even move a page.
    pub const TRANSFER_SIZE: u32 = 102;
}

/// Most targets StorPort addresses on a bus (`SCSI_MAXIMUM_TARGETS_PER_BUS`).
const MAX_TARGETS: u32 = 128;
/// Most logical units StorPort addresses on a target (`SCSI_MAXIMUM_LUNS_PER_TARGET`).
const MAX_LOGICAL_UNITS: u32 = 255;
/// `max_sectors` counts these, whatever a unit's block size is.
const SECTOR_BYTES: u32 = 512;
/// Smallest unit of memory a segment is made of.
const PAGE_BYTES: u32 = 4096;

/// The host bus adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hba {
    /// Targets that can be addressed.
    pub targets: u8,
    /// Logical units per target that can be addressed.
    pub logical_units: u8,
}

pub(crate) fn read(probe: &impl Probe) -> Result<(Hba, Limits), u32> {
    let word =
        |offset: usize| probe.config::<4>(offset).map(u32::from_le_bytes).ok_or(declined::CONFIG_TOO_SHORT);
    let half =
        |offset: usize| probe.config::<2>(offset).map(u16::from_le_bytes).ok_or(declined::CONFIG_TOO_SHORT);

    // The fields keep the sizes they have after a reset (virtio 1.3, 5.6.4.1); a slot has room for exactly those.
    if word(config::SENSE_SIZE)? != config::DEFAULT_SENSE_SIZE
        || word(config::CDB_SIZE)? != config::DEFAULT_CDB_SIZE
    {
        return Err(declined::FIELD_SIZES);
    }
    let hba = Hba {
        // Both fields name the last number, not how many there are.
        targets: count(u32::from(half(config::MAX_TARGET)?), MAX_TARGETS),
        logical_units: count(word(config::MAX_LUN)?, MAX_LOGICAL_UNITS),
    };
    let max_sectors = word(config::MAX_SECTORS)?;
    let max_transfer_bytes = max_sectors.saturating_mul(SECTOR_BYTES);
    let max_transfer_bytes = max_transfer_bytes - max_transfer_bytes % PAGE_BYTES;
    if max_transfer_bytes == 0 {
        return Err(declined::TRANSFER_SIZE);
    }
    let limits = Limits {
        targets: hba.targets,
        logical_units: hba.logical_units,
        max_segments: word(config::SEG_MAX)?,
        max_transfer_bytes,
        max_requests_per_lun: word(config::CMD_PER_LUN)?,
        caches_data: false,
        request_queues: u16::try_from(word(config::NUM_QUEUES)?).unwrap_or(u16::MAX),
    };
    Ok((hba, limits))
}

fn count(last: u32, most: u32) -> u8 {
    u8::try_from(last.saturating_add(1).min(most)).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use virtio::spec::Features;

    struct FakeConfig {
        bytes: [u8; 36],
        length: usize,
    }

    impl FakeConfig {
        /// What QEMU 10 shows for a default virtio-scsi-pci.
        fn like_qemu() -> Self {
            Self { bytes: [0; 36], length: 36 }
                .with(config::NUM_QUEUES, 4)
                .with(config::SEG_MAX, 254)
                .with(config::MAX_SECTORS, 0xffff)
                .with(config::CMD_PER_LUN, 128)
                .with(config::SENSE_SIZE, 96)
                .with(config::CDB_SIZE, 32)
                .with(config::MAX_TARGET, 0x00ff_0000)
                .with(config::MAX_LUN, 16383)
        }

        fn with(mut self, offset: usize, value: u32) -> Self {
            // max_channel and max_target share a word; max_target is its upper half.
            let offset = offset & !3;
            self.bytes[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
            self
        }
    }

    impl Probe for FakeConfig {
        fn features(&self) -> Features {
            Features::empty()
        }

        fn config<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
            self.bytes[..self.length].get(offset..offset + N)?.try_into().ok()
        }
    }

    #[test]
    fn limits_are_cut_to_what_storport_addresses() {
        let (hba, limits) = read(&FakeConfig::like_qemu()).expect("QEMU's configuration is usable");

        assert_eq!((hba.targets, hba.logical_units), (128, 255));
        assert_eq!(limits.max_transfer_bytes, (0xffff * 512) & !4095);
        assert_eq!(limits.max_requests_per_lun, 128);
    }

    #[test]
    fn the_last_target_and_unit_count_too() {
        let probe = FakeConfig::like_qemu().with(config::MAX_TARGET, 0x0003_0000).with(config::MAX_LUN, 7);

        let (hba, _) = read(&probe).expect("a usable configuration");

        assert_eq!((hba.targets, hba.logical_units), (4, 8));
    }

    #[test]
    fn configurations_that_make_no_sense_are_declined() {
        let other_sense = FakeConfig::like_qemu().with(config::SENSE_SIZE, 252);
        let no_transfer = FakeConfig::like_qemu().with(config::MAX_SECTORS, 7);
        let mut short = FakeConfig::like_qemu();
        short.length = 20;

        assert_eq!(read(&other_sense), Err(declined::FIELD_SIZES));
        assert_eq!(read(&no_transfer), Err(declined::TRANSFER_SIZE));
        assert_eq!(read(&short), Err(declined::CONFIG_TOO_SHORT));
    }
}
