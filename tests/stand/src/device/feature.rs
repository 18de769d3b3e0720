//! The features that the device offers.

use super::{Device, Kind, Lie};

pub(super) const SEG_MAX: u64 = 1 << 2;
/// Of a SCSI host: units that come and go, and that change, are told of.
pub(super) const HOTPLUG: u64 = 1 << 1;
pub(super) const CHANGE: u64 = 1 << 2;
pub(super) const BLK_SIZE: u64 = 1 << 6;
pub(super) const FLUSH: u64 = 1 << 9;
pub(super) const INDIRECT: u64 = 1 << 28;
pub(super) const EVENT_IDX: u64 = 1 << 29;
pub(super) const VERSION_1: u64 = 1 << 32;
pub(super) const PACKED: u64 = 1 << 34;

impl Device {
    /// What a driver that asks is told; some lies count how often it did.
    pub(super) fn offered(&mut self) -> u64 {
        self.feature_reads += 1;
        self.features()
    }

    pub(super) fn features(&self) -> u64 {
        let own = match self.kind {
            Kind::Blk => SEG_MAX | BLK_SIZE | FLUSH,
            Kind::Scsi => HOTPLUG | CHANGE,
        };
        let packed = if self.packed { PACKED } else { 0 };
        let all = own | INDIRECT | EVENT_IDX | VERSION_1 | packed;
        let all = all & !self.habits.withheld;
        match self.lie() {
            Lie::NoTables => all & !INDIRECT,
            Lie::NoEvents => all & !EVENT_IDX,
            Lie::FeaturesChange if self.feature_reads > 3 => VERSION_1,
            Lie::NoVersion1 => all & !VERSION_1,
            Lie::AllFeatures => !0,
            _ => all,
        }
    }
}
