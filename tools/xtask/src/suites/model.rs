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
    let lies = stand::device::LIES.iter().filter(move |told| told.is_for(model) && !told.is_one_of_many());
    lies.flat_map(move |told| {
        let other_queues = told.is_about_tasks() || told.is_about_events();
        let first = Setting {
            name: told.name,
            lie: Some(told.name),
            words: if other_queues { THREE_UNITS } else { honest.words },
            // One processor writes the register, and another shows what stands still meanwhile.
            smp: if told.lie == stand::device::Lie::ResetBlocks { 2 } else { honest.smp },
            ..honest
        };
        // Names of trials live as long as the program.
        let name = format!("{}, after a reset", told.name).leak();
        let later = Setting { name, words, long_only: true, ..first };
        [Some(first), (!told.is_about_resets() && !other_queues).then_some(later)].into_iter().flatten()
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

/// One with three units, for what is about units and not about requests.
const THREE_UNITS: &[&str] = &["model=scsi", "units=3"];
/// All lies about the control queue in one boot, and all about the event queue.
const TASKS: Setting = Setting {
    name: "tasks",
    words: &["model=scsi", "units=3", "lies=tasks"],
    seconds: (180, 180),
    ..SCSI_MODEL
};
const EVENTS: Setting =
    Setting { name: "events", words: &["model=scsi", "units=3", "lies=events"], ..SCSI_MODEL };

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
    TASKS,
    EVENTS,
    Setting { name: "tasks, packed", words: &["model=scsi", "units=3", "lies=tasks", "packed=1"], ..TASKS },
    Setting {
        name: "events, packed",
        words: &["model=scsi", "units=3", "lies=events", "packed=1"],
        ..EVENTS
    },
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
