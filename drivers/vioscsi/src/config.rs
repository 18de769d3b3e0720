//! What the device says of itself (virtio 1.3, 5.6.4), and what follows for StorPort.

use adapter::{Limits, Probe, ProbeError, Room};
use virtio::spec::scsi::{Event, config};

/// Most targets StorPort addresses on a bus: numbers 0 to 254 (ns-storport-_port_configuration_information.md,
/// `MaximumNumberOfTargets`; `SCSI_MAXIMUM_TARGETS_PER_BUS` is only what it starts with).
const MAX_TARGETS: u32 = 255;
/// Most logical units StorPort addresses on a target (`SCSI_MAXIMUM_LUNS_PER_TARGET`).
const MAX_LOGICAL_UNITS: u32 = 255;
/// `max_sectors` counts these, whatever a unit's block size is.
const SECTOR_BYTES: u32 = 512;
/// Smallest unit of memory a segment is made of.
const PAGE_BYTES: u32 = 4096;

/// Most bytes of a buffer for an event; what a device would write behind them nobody looks at.
const MAX_EVENT_BYTES: u32 = 256;

/// The host bus adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hba {
    /// Targets that can be addressed.
    pub targets: u8,
    /// Logical units per target that can be addressed.
    pub logical_units: u8,
    /// Most bytes of a command's data.
    pub step_bytes: u32,
    /// Most segments of it, as far as the device or its queues say so.
    pub segments: u16,
    /// The device takes less than a page at once, or one segment only.
    pub in_steps: bool,
}

impl Hba {
    /// The queues may take fewer segments than the device would.
    pub(crate) fn limit(&mut self, room: &Room) {
        self.segments = room.max_segments;
        self.in_steps = room.in_steps;
    }
}

pub(crate) fn read(probe: &impl Probe) -> Result<(Hba, Limits), ProbeError> {
    let word =
        |offset: usize| probe.config::<4>(offset).map(u32::from_le_bytes).ok_or(ProbeError::ConfigTooShort);
    let half =
        |offset: usize| probe.config::<2>(offset).map(u16::from_le_bytes).ok_or(ProbeError::ConfigTooShort);

    // The fields keep the sizes they have after a reset (virtio 1.3, 5.6.4.1); a slot has room for exactly those.
    if word(config::SENSE_SIZE)? != config::DEFAULT_SENSE_SIZE
        || word(config::CDB_SIZE)? != config::DEFAULT_CDB_SIZE
    {
        return Err(ProbeError::FieldSizes);
    }
    // Nothing is not what is meant where there is a limit of nothing, and Linux (drivers/scsi/virtio_scsi.c) takes it so: no
    // limit of `max_sectors` but its own of FFFFh, one segment, one command of a unit.
    let max_sectors = match word(config::MAX_SECTORS)? {
        0 => 0xffff,
        sectors => sectors,
    };
    let max_segments = word(config::SEG_MAX)?.max(1);
    let step_bytes = max_sectors.saturating_mul(SECTOR_BYTES);
    // Whole pages where there is one, else whole sectors.
    let max_transfer_bytes =
        step_bytes - step_bytes % if step_bytes < PAGE_BYTES { SECTOR_BYTES } else { PAGE_BYTES };
    let last_target = u32::from(half(config::MAX_TARGET)?);
    let hba = Hba {
        // Both fields name the last number, not how many there are.
        targets: count(last_target, MAX_TARGETS),
        logical_units: count(word(config::MAX_LUN)?, MAX_LOGICAL_UNITS),
        step_bytes: max_transfer_bytes,
        segments: u16::MAX,
        in_steps: false,
    };
    let limits = Limits {
        targets: hba.targets,
        logical_units: hba.logical_units,
        max_segments,
        max_segment_bytes: u32::MAX,
        max_transfer_bytes,
        max_requests_per_lun: word(config::CMD_PER_LUN)?,
        caches_data: false,
        request_queues: u16::try_from(word(config::NUM_QUEUES)?).unwrap_or(u16::MAX),
        write_cache: false,
        leaves_out: last_target >= MAX_TARGETS,
        // Less than an event has is no size.
        event_bytes: word(config::EVENT_INFO_SIZE)?.clamp(size_of::<Event>() as u32, MAX_EVENT_BYTES) as u16,
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

        assert_eq!((hba.targets, hba.logical_units), (255, 255));
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
    fn a_limit_of_nothing_is_what_linux_takes_it_for() {
        let probe = FakeConfig::like_qemu()
            .with(config::SEG_MAX, 0)
            .with(config::MAX_SECTORS, 0)
            .with(config::CMD_PER_LUN, 0);

        let (_, limits) = read(&probe).expect("a usable configuration");

        assert_eq!((limits.max_segments, limits.max_transfer_bytes), (1, (0xffff * 512) & !4095));
    }

    #[test]
    fn a_transfer_is_whole_pages_or_below_that_whole_sectors() {
        let table = [(1, 512), (2, 1024), (7, 3584), (8, 4096), (15, 4096)];
        for (sectors, bytes) in table {
            let probe = FakeConfig::like_qemu().with(config::MAX_SECTORS, sectors);

            let (_, limits) = read(&probe).expect("a usable configuration");

            assert_eq!(limits.max_transfer_bytes, bytes, "{sectors} sectors");
        }
    }

    #[test]
    fn configurations_that_make_no_sense_are_declined() {
        let other_sense = FakeConfig::like_qemu().with(config::SENSE_SIZE, 252);
        let other_cdb = FakeConfig::like_qemu().with(config::CDB_SIZE, 16);
        let mut short = FakeConfig::like_qemu();
        short.length = 20;

        assert_eq!(read(&other_sense), Err(ProbeError::FieldSizes));
        assert_eq!(read(&other_cdb), Err(ProbeError::FieldSizes));
        assert_eq!(read(&short), Err(ProbeError::ConfigTooShort));
    }
}
