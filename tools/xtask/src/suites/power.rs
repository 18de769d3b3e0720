//! Controllers that are stopped and restarted, or gone.

use super::setting::{BLK, SCSI, Setting};

/// Suite `power`.
pub(super) const POWER: &[Setting] = &[
    BLK,
    Setting {
        name: "packed ring, 4 CPUs",
        controller: Some(",disable-legacy=on,packed=on"),
        smp: 4,
        // Four processors of a machine that has two.
        seconds: (120, 3600),
        ..BLK
    },
    Setting { name: "legacy", controller: Some(",disable-modern=on,disable-legacy=off"), ..BLK },
    SCSI,
    Setting {
        name: "packed ring, 4 CPUs",
        controller: Some(",disable-legacy=on,packed=on"),
        smp: 4,
        // Four processors of a machine that has two.
        seconds: (120, 3600),
        ..SCSI
    },
    Setting { name: "legacy", controller: Some(",disable-modern=on,disable-legacy=off"), ..SCSI },
];

/// Suite `surprise-removal`.
pub(super) const SURPRISE_REMOVAL: &[Setting] = &[
    BLK,
    Setting { name: "line, 4 CPUs", controller: Some(",disable-legacy=on,vectors=0"), smp: 4, ..BLK },
    Setting { name: "packed ring, 1 CPU", controller: Some(",disable-legacy=on,packed=on"), smp: 1, ..BLK },
    Setting { name: "legacy", controller: Some(",disable-modern=on,disable-legacy=off"), ..BLK },
    SCSI,
    Setting { name: "line, 4 CPUs", controller: Some(",disable-legacy=on,vectors=0"), smp: 4, ..SCSI },
    Setting { name: "packed ring, 1 CPU", controller: Some(",disable-legacy=on,packed=on"), smp: 1, ..SCSI },
    Setting { name: "legacy", controller: Some(",disable-modern=on,disable-legacy=off"), ..SCSI },
];
