//! The stand's own device: it lies in suite `hostile` and has the manners of others in suite `manners`.

use super::setting::{BLK, Setting};
use crate::machine::Kind;

/// The suite that has a boot for each lie of the stand's device model.
pub(super) const HOSTILE: &str = "hostile";

/// A boot for each lie that the model of this kind can tell, and with `--long` one in which it is honest until it is reset
/// in the middle of work; lies about such resets begin with them anyway.
pub(super) fn lies(kind: Kind) -> impl Iterator<Item = Setting> {
    /// The first reset after those of HwStorFindAdapter and HwStorInitialize.
    const LATER: &str = "resets=3";
    let (model, honest, words) = match kind {
        Kind::Blk => (stand::device::Kind::Blk, MODEL, &["model=blk", LATER]),
        Kind::Scsi => (stand::device::Kind::Scsi, SCSI_MODEL, &["model=scsi", LATER]),
    };
    let lies = stand::device::LIES.iter().filter(move |told| told.is_for(model));
    lies.flat_map(move |told| {
        let first = Setting { name: told.name, lie: Some(told.name), ..honest };
        // Names of trials live as long as the program.
        let name = format!("{}, after a reset", told.name).leak();
        let later = Setting { name, words, long_only: true, ..first };
        [Some(first), (!told.is_about_resets()).then_some(later)].into_iter().flatten()
    })
}

/// The suite that has a boot for each manner of the stand's device model.
pub(super) const MANNERS: &str = "manners";

/// A boot for each manner that the model of this kind can have.
pub(super) fn manners(kind: Kind) -> impl Iterator<Item = Setting> {
    let (model, honest) = match kind {
        Kind::Blk => (stand::device::Kind::Blk, MODEL),
        Kind::Scsi => (stand::device::Kind::Scsi, SCSI_MODEL),
    };
    let manners = stand::device::MANNERS.iter().filter(move |manner| manner.kind == model);
    manners.map(move |manner| Setting { name: manner.name, manner: Some(manner.name), ..honest })
}
/// The stand's own virtio-blk device, and none of QEMU's.
const MODEL: Setting =
    Setting { name: "honest", controller: None, words: &["model=blk"], smp: 1, seconds: (90, 90), ..BLK };
/// The stand's own virtio-scsi device.
const SCSI_MODEL: Setting = Setting { kind: Kind::Scsi, words: &["model=scsi"], ..MODEL };

/// Lies about resets, with packed queues: the driver has to know which requests a ring has that is given up.
const PACKED_SLOW_RESET: Setting = Setting {
    name: "reset-takes-a-second, packed",
    lie: Some("reset-takes-a-second"),
    words: &["model=blk", "packed=1"],
    ..MODEL
};
const PACKED_ENDLESS_RESET: Setting = Setting {
    name: "reset-never-completes, packed",
    lie: Some("reset-never-completes"),
    ..PACKED_SLOW_RESET
};
/// Suite `hostile`.
pub(super) const HOSTILE_TRIALS: &[Setting] = &[
    MODEL,
    SCSI_MODEL,
    Setting { name: "honest, packed", words: &["model=blk", "packed=1"], ..MODEL },
    Setting { name: "honest, packed", words: &["model=scsi", "packed=1"], ..SCSI_MODEL },
    PACKED_SLOW_RESET,
    PACKED_ENDLESS_RESET,
    Setting { kind: Kind::Scsi, words: &["model=scsi", "packed=1"], ..PACKED_SLOW_RESET },
    Setting { kind: Kind::Scsi, words: &["model=scsi", "packed=1"], ..PACKED_ENDLESS_RESET },
];

/// Suite `manners`.
pub(super) const MANNERS_TRIALS: &[Setting] = &[
    Setting {
        name: "cloud-hypervisor, packed",
        words: &["model=blk", "packed=1"],
        manner: Some("cloud-hypervisor"),
        ..MODEL
    },
    Setting {
        name: "limits-of-nothing, packed",
        words: &["model=scsi", "packed=1"],
        manner: Some("limits-of-nothing"),
        ..SCSI_MODEL
    },
];
