//! Disks that log what they were told.

use super::setting::{BLK, SCSI, Setting};
use crate::blklog::LOG;

/// Suite `flush`.
pub(super) const TRIALS: &[Setting] = &[
    Setting {
        name: "write cache, 4 CPUs",
        controller: None,
        qemu: LOGGED,
        drives: LOG_DRIVE,
        devices: &["virtio-blk-pci,drive=logged,serial=RUST-BLK-0001,disable-legacy=on"],
        smp: 4,
        ..BLK
    },
    Setting {
        name: "no write cache",
        controller: None,
        qemu: LOGGED,
        drives: LOG_DRIVE,
        devices: &[
            // With VIRTIO_BLK_F_CONFIG_WCE the cache is on for whoever takes VIRTIO_BLK_F_FLUSH.
            "virtio-blk-pci,drive=logged,serial=RUST-BLK-0001,disable-legacy=on,write-cache=off,config-wce=off",
        ],
        words: &["cache=off"],
        ..BLK
    },
    Setting {
        name: "packed ring",
        controller: None,
        qemu: LOGGED,
        drives: LOG_DRIVE,
        devices: &["virtio-blk-pci,drive=logged,serial=RUST-BLK-0001,disable-legacy=on,packed=on"],
        ..BLK
    },
    Setting {
        name: "write cache, 4 CPUs",
        controller: None,
        qemu: LOGGED,
        drives: LOG_DRIVE,
        devices: &[
            "virtio-scsi-pci,id=scsi0,disable-legacy=on",
            "scsi-hd,bus=scsi0.0,scsi-id=0,lun=0,drive=logged,serial=RUST-SCSI-0001",
        ],
        smp: 4,
        ..SCSI
    },
    Setting {
        name: "no write cache",
        controller: None,
        qemu: LOGGED,
        drives: LOG_DRIVE,
        devices: &[
            "virtio-scsi-pci,id=scsi0,disable-legacy=on",
            "scsi-hd,bus=scsi0.0,scsi-id=0,lun=0,drive=logged,serial=RUST-SCSI-0001,write-cache=off",
        ],
        words: &["cache=off"],
        ..SCSI
    },
];

const LOG_DRIVE: &[(&str, u64)] = &[(LOG, 0)];
/// The log does not show FUA. A quorum of one disk takes no FUA, so QEMU writes and flushes instead, and that it shows.
/// The node in between holds flushes when the stand asks for it. That goes by the backend's name: by a node's QEMU would
/// make another backend, and wait for the flush that is held.
const LOGGED: &[&str] = &[
    "-drive",
    "if=none,id=logged,driver=blklogwrites,log-sector-size=512,\
     file.driver=blkdebug,file.image.driver=quorum,file.image.vote-threshold=1,\
     file.image.children.0.driver=file,file.image.children.0.filename={folder}/disk0.img,\
     log.driver=file,log.filename={folder}/log0.img",
];
