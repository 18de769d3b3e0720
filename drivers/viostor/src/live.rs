//! What changes of a disk while it runs: its size, its cache mode, its write protection. And the unit attention that tells
//! of it (SAM-5, 5.14): the next command that is no INQUIRY, REPORT LUNS or REQUEST SENSE ends with it and does nothing. No
//! lock: each is an atomic of its own.

use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use adapter::Probe;
use scsi::Sense;
use virtio::spec::{Features, blk};

use crate::config::{self, Disk};
use crate::identity::Told;
use crate::units::Sectors;

const WRITE_CACHE: u8 = 1;
const READ_ONLY: u8 = 2;

/// Unit attentions, in the order in which they are told.
const UNIT_ATTENTIONS: [(u8, Sense); 2] =
    [(1, Sense::CAPACITY_DATA_HAS_CHANGED), (2, Sense::MODE_PARAMETERS_CHANGED)];
const CAPACITY: u8 = UNIT_ATTENTIONS[0].0;
const MODE: u8 = UNIT_ATTENTIONS[1].0;

/// The state of a disk that may change. Each part by itself: no command needs two of them from one moment.
#[derive(Debug)]
pub(crate) struct Live {
    blocks: AtomicU64,
    flags: AtomicU8,
    unit_attentions: AtomicU8,
    /// The one thing that never changes, from the first answer on.
    pub(crate) serial: Told,
}

impl Live {
    pub(crate) fn new(disk: &Disk) -> Self {
        Self {
            blocks: AtomicU64::new(disk.blocks),
            flags: AtomicU8::new(flags(disk.write_cache, disk.read_only)),
            unit_attentions: AtomicU8::new(0),
            serial: Told::default(),
        }
    }

    /// The disk as it is now.
    pub(crate) fn apply(&self, disk: &Disk) -> Disk {
        Disk { blocks: self.blocks(), write_cache: self.write_cache(), read_only: self.read_only(), ..*disk }
    }

    pub(crate) fn blocks(&self) -> u64 {
        self.blocks.load(Ordering::Relaxed)
    }

    pub(crate) fn write_cache(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & WRITE_CACHE != 0
    }

    pub(crate) fn read_only(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & READ_ONLY != 0
    }

    pub(crate) fn has_unit_attention(&self) -> bool {
        self.unit_attentions.load(Ordering::Relaxed) != 0
    }

    /// Takes what is to be told next.
    #[cold]
    pub(crate) fn take_unit_attention(&self) -> Option<Sense> {
        UNIT_ATTENTIONS.into_iter().find_map(|(bit, sense)| {
            (self.unit_attentions.fetch_and(!bit, Ordering::Relaxed) & bit != 0).then_some(sense)
        })
    }

    /// Reads what may have changed; returns whether anything did. A field that cannot be read, and a disk of no block, are
    /// taken for no change: the device will refuse what is not there.
    pub(crate) fn look(&self, disk: &Disk, probe: &impl Probe) -> bool {
        let mut unit_attentions = 0;
        if let Some(capacity) = probe.config(blk::config::CAPACITY) {
            let blocks = disk.block_size.blocks_in(Sectors(u64::from_le_bytes(capacity)));
            if blocks != 0 && self.blocks.swap(blocks, Ordering::Relaxed) != blocks {
                unit_attentions |= CAPACITY;
            }
        }
        if self.read_flags(probe) {
            unit_attentions |= MODE;
        }
        self.unit_attentions.fetch_or(unit_attentions, Ordering::Relaxed);
        unit_attentions != 0
    }

    /// Reads the cache mode and the write protection; returns whether one of them has changed.
    pub(crate) fn read_flags(&self, probe: &impl Probe) -> bool {
        let features = probe.features();
        let write_cache = config::write_cache(features, || probe.config(blk::config::WRITEBACK))
            .unwrap_or_else(|| self.write_cache());
        let flags = flags(write_cache, features.contains(Features::BLK_RO));
        self.flags.swap(flags, Ordering::Relaxed) != flags
    }
}

fn flags(write_cache: bool, read_only: bool) -> u8 {
    let write_cache = if write_cache { WRITE_CACHE } else { 0 };
    let read_only = if read_only { READ_ONLY } else { 0 };
    write_cache | read_only
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::disk_for_tests;

    struct Fields {
        features: Features,
        capacity: Option<u64>,
        writeback: u8,
    }

    impl Probe for Fields {
        fn features(&self) -> Features {
            self.features
        }

        fn config<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
            match offset {
                blk::config::CAPACITY => self.capacity?.to_le_bytes()[..N].try_into().ok(),
                _ => [self.writeback; N].into(),
            }
        }
    }

    fn fields() -> Fields {
        let blocks = disk_for_tests().blocks * disk_for_tests().block_size.sectors();
        Fields { features: Features::BLK_FLUSH, capacity: Some(blocks), writeback: 1 }
    }

    fn live() -> (Disk, Live) {
        let disk = disk_for_tests();
        let live = Live::new(&disk);
        live.look(&disk, &fields());
        while live.take_unit_attention().is_some() {}
        (disk, live)
    }

    #[test]
    fn what_did_not_change_is_no_news() {
        let (disk, live) = live();

        assert!(!live.look(&disk, &fields()));
        assert!(!live.has_unit_attention());
    }

    #[test]
    fn every_change_is_told_once_and_the_size_first() {
        let (disk, live) = live();
        let changed = Fields {
            features: Features::BLK_RO,
            capacity: fields().capacity.map(|sectors| sectors * 2),
            ..fields()
        };

        assert!(live.look(&disk, &changed));

        let now = live.apply(&disk);
        assert_eq!((now.blocks, now.read_only, now.write_cache), (disk.blocks * 2, true, false));
        assert_eq!(live.take_unit_attention(), Some(Sense::CAPACITY_DATA_HAS_CHANGED));
        assert_eq!(live.take_unit_attention(), Some(Sense::MODE_PARAMETERS_CHANGED));
        assert_eq!(live.take_unit_attention(), None);
    }

    #[test]
    fn a_size_that_cannot_be_read_and_one_of_nothing_change_nothing() {
        let (disk, live) = live();

        for capacity in [None, Some(0)] {
            assert!(!live.look(&disk, &Fields { capacity, ..fields() }));
            assert_eq!(live.blocks(), disk.blocks);
        }
    }
}
