//! Crashes and hibernation.

use super::setting::{BLK, SCSI, Setting};
use crate::machine::EmptyUnits;

/// Suite `dump`.
pub(super) const TRIALS: &[Setting] = &[
    Setting { name: "crash, 1 CPU", words: &["dump=crash"], smp: 1, ..BLK },
    Setting { name: "crash, 2 CPUs", words: &["dump=crash"], smp: 2, ..BLK },
    Setting { name: "crash, the SRB type asked for, 2 CPUs", words: &["dump=extended"], smp: 2, ..BLK },
    Setting { name: "hibernation, 2 CPUs", words: &["dump=hiber"], smp: 2, ..BLK },
    Setting {
        name: "crash, packed ring, 4 CPUs",
        controller: Some(",disable-legacy=on,packed=on"),
        words: &["dump=crash"],
        smp: 4,
        long_only: true,
        ..BLK
    },
    Setting {
        name: "crash, no tables, 2 CPUs",
        controller: Some(",disable-legacy=on,indirect_desc=off"),
        words: &["dump=crash"],
        smp: 2,
        long_only: true,
        ..BLK
    },
    Setting {
        name: "crash, line interrupt",
        controller: Some(",disable-legacy=on,vectors=0"),
        long_only: true,
        ..BLK
    },
    Setting {
        name: "crash, legacy interface",
        controller: Some(",disable-modern=on,disable-legacy=off"),
        long_only: true,
        ..BLK
    },
    Setting { name: "crash, 1 CPU", words: &["dump=crash"], smp: 1, ..SCSI },
    Setting { name: "crash, 2 CPUs", words: &["dump=crash"], smp: 2, ..SCSI },
    Setting { name: "crash, the SRB type asked for, 2 CPUs", words: &["dump=extended"], smp: 2, ..SCSI },
    Setting { name: "hibernation, 2 CPUs", words: &["dump=hiber"], smp: 2, ..SCSI },
    Setting {
        name: "crash, packed ring, 4 CPUs",
        controller: Some(",disable-legacy=on,packed=on"),
        words: &["dump=crash"],
        smp: 4,
        long_only: true,
        ..SCSI
    },
    Setting {
        name: "crash, no tables, 2 CPUs",
        controller: Some(",disable-legacy=on,indirect_desc=off"),
        words: &["dump=crash"],
        smp: 2,
        ..SCSI
    },
    Setting {
        name: "crash, line interrupt",
        controller: Some(",disable-legacy=on,vectors=0"),
        long_only: true,
        ..SCSI
    },
    Setting {
        name: "crash, legacy interface",
        controller: Some(",disable-modern=on,disable-legacy=off"),
        long_only: true,
        ..SCSI
    },
    Setting {
        name: "crash, unit 254 of target 254 among 200, 2 CPUs",
        words: &["dump=crash", "disk=last"],
        ..MANY
    },
    Setting {
        name: "crash, the SRB type asked for, unit 254 of target 254 among 200, 2 CPUs",
        words: &["dump=extended"],
        long_only: true,
        ..MANY
    },
    Setting {
        name: "hibernation, unit 254 of target 254 among 200, 2 CPUs",
        words: &["dump=hiber", "disk=last"],
        long_only: true,
        ..MANY
    },
];

/// The dump goes to the last unit that StorPort can name, and nearly two hundred others are in front of it.
const MANY: Setting = Setting {
    empty_units: EmptyUnits { targets: 150, full: 1, luns: 46 },
    drives: &[("unit-254-254", 64 << 20)],
    devices: &["scsi-hd,bus=scsi0.0,channel=0,scsi-id=254,lun=254,drive=unit-254-254,serial=RUST-SCSI-LAST"],
    seconds: (120, 600),
    ..SCSI
};
