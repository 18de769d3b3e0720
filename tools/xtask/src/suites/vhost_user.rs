//! A device of another implementation than QEMU's.

use super::setting::{BLK, Setting};

/// Suite `vhost-user`.
pub(super) const TRIALS: &[Setting] = &[
    Setting {
        name: "qemu-storage-daemon",
        controller: None,
        devices: &["vhost-user-blk-pci,chardev=vub,num-queues=2,disable-legacy=on"],
        drives: &[],
        qemu: VHOST_USER,
        daemon: Some((STORAGE_DAEMON, "{temp}/vub")),
        ..BLK
    },
    Setting {
        name: "qemu-storage-daemon, packed ring",
        controller: None,
        devices: &["vhost-user-blk-pci,chardev=vub,num-queues=2,disable-legacy=on,packed=on"],
        qemu: VHOST_USER,
        daemon: Some((STORAGE_DAEMON, "{temp}/vub")),
        ..BLK
    },
];

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
