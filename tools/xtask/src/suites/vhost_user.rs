//! Devices of other implementations than QEMU's.

use super::setting::{BLK, SCSI, Setting};
use crate::machine::Program;

/// Suite `vhost-user`.
pub(super) const TRIALS: &[Setting] = &[
    Setting {
        name: "qemu-storage-daemon",
        controller: None,
        devices: &["vhost-user-blk-pci,chardev=vub,num-queues=2,disable-legacy=on"],
        drives: &[],
        qemu: VHOST_USER,
        daemon: Some((Program::Storage, STORAGE_DAEMON, "{temp}/vub")),
        ..BLK
    },
    Setting {
        name: "qemu-storage-daemon, packed ring",
        controller: None,
        devices: &["vhost-user-blk-pci,chardev=vub,num-queues=2,disable-legacy=on,packed=on"],
        qemu: VHOST_USER,
        daemon: Some((Program::Storage, STORAGE_DAEMON, "{temp}/vub")),
        ..BLK
    },
    Setting { name: "vhost-device-scsi", ..VHOST_SCSI },
    Setting { name: "vhost-device-scsi, 4 CPUs", smp: 4, ..VHOST_SCSI },
];

/// rust-vmm's vhost-device-scsi with two disks. Its one request queue and that it does not know CHANGE have to be said to QEMU
/// (its README.md), and packed rings are nothing that it offers.
pub(super) const VHOST_SCSI: Setting = Setting {
    controller: None,
    devices: &["vhost-user-scsi-pci,chardev=vub,num_queues=1,param_change=off,disable-legacy=on"],
    qemu: VHOST_USER,
    daemon: Some((
        Program::VhostDeviceScsi,
        &["--socket-path", "{temp}/vub", "{folder}/disk1.img", "{folder}/disk2.img"],
        "{temp}/vub",
    )),
    words: &["few-commands=1", "misses=1"],
    // Each miss is a time-out and a reset.
    seconds: (180, 3600),
    ..SCSI
};

/// Guest memory that another process can map, and the socket of the device.
pub(super) const VHOST_USER: &[&str] = &[
    "-object",
    "memory-backend-memfd,id=mem,size=256M,share=on",
    "-machine",
    "memory-backend=mem",
    "-chardev",
    "socket,id=vub,path={temp}/vub",
];
pub(super) const STORAGE_DAEMON: &[&str] = &[
    "--blockdev",
    "driver=file,node-name=file,filename={folder}/disk0.img",
    "--export",
    "type=vhost-user-blk,id=export,addr.type=unix,addr.path={temp}/vub,node-name=file,writable=on,num-queues=2",
];
