//! Disks and devices that fail. The stand's suite knows the sectors.

use super::setting::{BLK, SCSI, Setting};
use super::vhost_user::{STORAGE_DAEMON, VHOST_SCSI, VHOST_USER};
use crate::machine::Program;
use crate::qemu::Version;
use crate::tmf;

/// Suite `faults`.
pub(super) const TRIALS: &[Setting] = &[
    Setting {
        name: "errors",
        controller: None,
        qemu: ERRORS,
        devices: &[FAULTY_BLK],
        words: &["faults=errors"],
        ..BLK
    },
    Setting {
        name: "stops",
        controller: None,
        qemu: FULL,
        devices: &[STOPPING_BLK],
        words: &["faults=stop"],
        ..BLK
    },
    Setting {
        name: "silence",
        controller: None,
        qemu: SILENCE,
        devices: &[FAULTY_BLK],
        words: &["faults=hang"],
        seconds: (120, 3600),
        ..BLK
    },
    Setting {
        name: "back-end gone",
        controller: None,
        qemu: GONE,
        devices: &["virtio-blk-pci,drive=gone,serial=RUST-BLK-0001,disable-legacy=on"],
        words: &["faults=gone"],
        ..BLK
    },
    Setting {
        name: "daemon gone",
        controller: None,
        devices: &["vhost-user-blk-pci,chardev=vub,num-queues=2,disable-legacy=on"],
        qemu: VHOST_USER,
        daemon: Some((Program::Storage, STORAGE_DAEMON, "{temp}/vub")),
        words: &["faults=gone"],
        ..BLK
    },
    Setting { name: "resets, 4 CPUs", smp: 4, ..BLK },
    Setting { name: "resets, packed ring", controller: Some(",disable-legacy=on,packed=on"), ..BLK },
    Setting {
        name: "resets, behind an IOMMU",
        controller: Some(",disable-legacy=on,iommu_platform=on"),
        ..BLK
    },
    Setting {
        name: "errors",
        controller: None,
        qemu: ERRORS,
        devices: FAULTY_SCSI,
        words: &["faults=errors"],
        ..SCSI
    },
    Setting {
        name: "stops",
        controller: None,
        qemu: FULL,
        devices: STOPPING_SCSI,
        words: &["faults=stop"],
        ..SCSI
    },
    Setting {
        name: "silence",
        controller: None,
        qemu: SILENCE,
        devices: FAULTY_SCSI,
        words: &["faults=hang"],
        seconds: (120, 3600),
        ..SCSI
    },
    Setting {
        name: "back-end gone",
        controller: None,
        qemu: GONE,
        devices: &[
            "virtio-scsi-pci,id=scsi0,disable-legacy=on",
            "scsi-hd,bus=scsi0.0,scsi-id=0,lun=0,drive=gone,serial=RUST-SCSI-0001",
        ],
        words: &["faults=gone"],
        ..SCSI
    },
    Setting {
        name: "daemon gone",
        words: &["few-commands=1", "misses=1", "faults=gone"],
        // Until then it ends itself when the guest starts a device whose daemon is gone (hw/scsi/vhost-user-scsi.c, set_status).
        oldest_qemu: Some(Version(8, 2)),
        ..VHOST_SCSI
    },
    Setting {
        name: "resets, vhost-device-scsi",
        words: &["few-commands=1", "misses=1", "faults=deaf"],
        ..VHOST_SCSI
    },
    Setting { name: "resets, 4 CPUs", smp: 4, ..SCSI_RESETS },
    Setting { name: "resets, packed ring", controller: Some(",disable-legacy=on,packed=on"), ..SCSI_RESETS },
    Setting {
        name: "resets, behind an IOMMU",
        controller: Some(",disable-legacy=on,iommu_platform=on"),
        ..SCSI_RESETS
    },
    Setting { name: "aborts, 4 CPUs", smp: 4, ..SCSI_ABORTS },
    Setting {
        name: "aborts, SCSI_REQUEST_BLOCKs",
        words: &["faults=abort", "param.AbortCommands=1", "srb=old"],
        ..SCSI_ABORTS
    },
    Setting {
        name: "silence, aborts first",
        controller: None,
        qemu: SILENCE,
        devices: FAULTY_SCSI,
        words: &["faults=hang", "param.AbortCommands=1"],
        seconds: (120, 3600),
        newest_qemu: ABORTS_WORK,
        ..SCSI
    },
    Setting { name: "resets of all units at once", words: &["faults=together", "gather=1"], ..SCSI_RESETS },
    Setting {
        name: "resets that are not to be done",
        words: &["faults=ignored", "param.VioscsiActionOnReset=1"],
        ..SCSI_RESETS
    },
    Setting {
        name: "a reset that stops the system",
        words: &["faults=stop-system", "param.VioscsiActionOnReset=0xdeaddead"],
        qemu: &[],
        ..SCSI_RESETS
    },
];

/// QEMU 10.0.2 hangs for ever over an ABORT TASK for a command that it has: its main thread waits, below `scsi_req_cancel_async`,
/// for a lock that it holds itself. Those between 7.2 and 10.0 were not tried.
const ABORTS_WORK: Option<Version> = Some(Version(7, 2));

/// The same disks behind one throttle group, and QEMU's trace of commands and their aborts.
const SCSI_ABORTS: Setting = Setting {
    controller: None,
    qemu: ABORTS,
    devices: &[
        "virtio-scsi-pci,id=scsi0,disable-legacy=on",
        "scsi-hd,bus=scsi0.0,scsi-id=0,lun=0,drive=slow0,serial=RUST-SCSI-0001",
        "scsi-hd,bus=scsi0.0,scsi-id=0,lun=1,drive=slow1,serial=RUST-SCSI-0002",
        "scsi-hd,bus=scsi0.0,channel=0,scsi-id=5,lun=3,drive=slow2,serial=RUST-SCSI-0003",
    ],
    words: &["faults=abort", "param.AbortCommands=1"],
    seconds: (120, 3600),
    newest_qemu: ABORTS_WORK,
    ..SCSI
};

/// Two disks of one target and one of another, whose address has no number twice, and QEMU's trace of their resets.
const SCSI_RESETS: Setting = Setting {
    drives: &[("disk3", 64 << 20)],
    devices: &["scsi-hd,bus=scsi0.0,channel=0,scsi-id=5,lun=3,drive=disk3,serial=RUST-SCSI-0003"],
    qemu: tmf::ARGUMENTS,
    ..SCSI
};

/// The sectors and errors that the stand's suite `faults` knows of (tests/stand/src/suite/faults.rs).
const ERRORS: &[&str] = &[
    "-blockdev",
    "driver=blkdebug,node-name=faulty,image.driver=file,image.filename={folder}/disk0.img,\
     inject-error.0.event=none,inject-error.0.iotype=read,inject-error.0.sector=100000,inject-error.0.errno=5,\
     inject-error.1.event=none,inject-error.1.iotype=write,inject-error.1.sector=100064,inject-error.1.errno=28,\
     inject-error.2.event=none,inject-error.2.iotype=flush,inject-error.2.errno=5,inject-error.2.once=on,\
     inject-error.3.event=none,inject-error.3.iotype=read,inject-error.3.sector=100128,inject-error.3.errno=5,\
     inject-error.3.once=on,\
     inject-error.4.event=none,inject-error.4.iotype=write,inject-error.4.sector=100192,inject-error.4.errno=5,\
     inject-error.4.once=on",
];
const FULL: &[&str] = &[
    "-blockdev",
    "driver=blkdebug,node-name=faulty,image.driver=file,image.filename={folder}/disk0.img,\
     inject-error.0.event=none,inject-error.0.iotype=write,inject-error.0.sector=100064,inject-error.0.errno=28,\
     inject-error.0.once=on,\
     inject-error.1.event=none,inject-error.1.iotype=read,inject-error.1.sector=100128,inject-error.1.errno=5,\
     inject-error.1.once=on,\
     inject-error.2.event=none,inject-error.2.iotype=flush,inject-error.2.errno=5,inject-error.2.once=on",
];
/// A disk whose backend `drive_del` takes away: then the device reports errors.
const GONE: &[&str] =
    &["-drive", "if=none,id=gone,driver=raw,file.driver=file,file.filename={folder}/disk0.img"];

const SILENCE: &[&str] = &[
    "-object",
    "throttle-group,id=group",
    "-blockdev",
    "driver=throttle,node-name=faulty,throttle-group=group,file.driver=file,file.filename={folder}/disk0.img",
];
/// The disks of [`SCSI_ABORTS`], with the words of [`tmf::ARGUMENTS_OF_ABORTS`].
const ABORTS: &[&str] = &[
    "-object",
    "throttle-group,id=group",
    "-blockdev",
    "driver=throttle,node-name=slow0,throttle-group=group,file.driver=file,file.filename={folder}/disk0.img",
    "-blockdev",
    "driver=throttle,node-name=slow1,throttle-group=group,file.driver=file,file.filename={folder}/disk1.img",
    "-blockdev",
    "driver=throttle,node-name=slow2,throttle-group=group,file.driver=file,file.filename={folder}/disk2.img",
    "-trace",
    "virtio_scsi_tmf_req",
    "-trace",
    "virtio_scsi_tmf_resp",
    "-trace",
    "virtio_scsi_cmd_req",
    "-trace",
    "virtio_scsi_cmd_resp",
    "-D",
    "{folder}/tmf.trace",
];
const FAULTY_BLK: &str =
    "virtio-blk-pci,drive=faulty,serial=RUST-BLK-0001,disable-legacy=on,werror=report,rerror=report";
const STOPPING_BLK: &str =
    "virtio-blk-pci,drive=faulty,serial=RUST-BLK-0001,disable-legacy=on,werror=stop,rerror=stop";
const FAULTY_SCSI: &[&str] = &[
    "virtio-scsi-pci,id=scsi0,disable-legacy=on",
    "scsi-hd,bus=scsi0.0,scsi-id=0,lun=0,drive=faulty,serial=RUST-SCSI-0001,werror=report,rerror=report",
];
const STOPPING_SCSI: &[&str] = &[
    "virtio-scsi-pci,id=scsi0,disable-legacy=on",
    "scsi-hd,bus=scsi0.0,scsi-id=0,lun=0,drive=faulty,serial=RUST-SCSI-0001,werror=stop,rerror=stop",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_of_aborts_has_their_trace() {
        assert!(ABORTS.ends_with(tmf::ARGUMENTS_OF_ABORTS));
    }
}
