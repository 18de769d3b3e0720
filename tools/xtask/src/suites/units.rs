//! The units: how many there are, how they come and go, and what they answer to every command and function.

use super::setting::{BLK, SCSI, Setting};
use crate::machine::{EmptyUnits, Program};

/// Suite `hotplug`.
pub(super) const HOTPLUG: &[Setting] = &[
    BLK,
    Setting { name: "packed ring", controller: Some(",disable-legacy=on,packed=on"), ..BLK },
    SCSI,
    Setting { name: "packed ring", controller: Some(",disable-legacy=on,packed=on"), ..SCSI },
    Setting { name: "200 changes under load", words: &["churn=200"], ..CHURN },
    Setting {
        name: "1000 changes under load, 4 CPUs, packed ring",
        controller: Some(",disable-legacy=on,packed=on,num_queues=4"),
        words: &["churn=1000"],
        smp: 4,
        long_only: true,
        ..CHURN
    },
];

/// The disks that come and go (tests/stand/src/suite/hotplug/churn.rs), and a second medium.
const CHURN: Setting = Setting {
    drives: &[("hot0", 16 << 20), ("hot1", 16 << 20), ("hot2", 16 << 20), ("hot3", 16 << 20)],
    qemu: &["-blockdev", "driver=null-co,node-name=cd1,size=4194304,read-zeroes=on,read-only=on"],
    seconds: (400, 3600),
    ..SCSI
};

/// Suite `many-luns`.
pub(super) const MANY_LUNS: &[Setting] = &[
    // The usual three units on two targets, and 253 targets, of which three have 250 units more: all that there are numbers for.
    Setting {
        name: "255 targets, 1006 units",
        empty_units: EmptyUnits { targets: 253, full: 3, luns: 250 },
        words: &["units=1006"],
        smp: 4,
        seconds: (120, 3600),
        ..SCSI
    },
    // MaximumNumberOfTargets starts with 128 and may be 255; a LUN has 8 bits.
    Setting {
        name: "targets 128, 200 and 254, LUN 300",
        qemu: &["-blockdev", "driver=null-co,node-name=far,size=1048576,read-zeroes=on"],
        devices: &[
            "scsi-hd,bus=scsi0.0,channel=0,scsi-id=128,lun=0,drive=far,share-rw=on,serial=T128L0",
            "scsi-hd,bus=scsi0.0,channel=0,scsi-id=200,lun=0,drive=far,share-rw=on,serial=T200L0",
            "scsi-hd,bus=scsi0.0,channel=0,scsi-id=254,lun=0,drive=far,share-rw=on,serial=T254L0",
            "scsi-hd,bus=scsi0.0,channel=0,scsi-id=254,lun=300,drive=far,share-rw=on,serial=T254L300",
        ],
        words: &["units=6", "far=0xfe012c"],
        ..SCSI
    },
];

/// Suite `multipath`.
pub(super) const MULTIPATH: &[Setting] = &[
    Setting { controller: None, devices: TWO_PATHS, ..SCSI },
    Setting {
        name: "4 CPUs, packed ring and line interrupt",
        controller: None,
        devices: TWO_OTHER_PATHS,
        smp: 4,
        ..SCSI
    },
];

const TWO_PATHS: &[&str] = &[
    "virtio-scsi-pci,id=scsi0,disable-legacy=on",
    "virtio-scsi-pci,id=scsi1,disable-legacy=on",
    "scsi-hd,bus=scsi0.0,channel=0,scsi-id=0,lun=0,drive=disk1,share-rw=on,serial=RUST-PATHS,device_id=RUST-PATHS,\
     wwn=0x5000c500123456ab,port_wwn=0x5000c50000000001,port_index=1",
    "scsi-hd,bus=scsi1.0,channel=0,scsi-id=3,lun=5,drive=disk1,share-rw=on,serial=RUST-PATHS,device_id=RUST-PATHS,\
     wwn=0x5000c500123456ab,port_wwn=0x5000c50000000002,port_index=2",
];
const TWO_OTHER_PATHS: &[&str] = &[
    "virtio-scsi-pci,id=scsi0,disable-legacy=on,packed=on,num_queues=4",
    "virtio-scsi-pci,id=scsi1,disable-legacy=on,vectors=0,num_queues=2",
    TWO_PATHS[2],
    TWO_PATHS[3],
];

/// Suite `pass-through`: the disk by two sessions, each another initiator to the target.
pub(super) const PASS_THROUGH: &[Setting] = &[Setting {
    name: "iSCSI target",
    controller: None,
    qemu: SESSIONS,
    devices: PASSED_THROUGH,
    daemon: Some((Program::ScsiTarget, &["{temp}", "{folder}", "{port}"], "{temp}/ready")),
    // Records of 1 MiB.
    words: &["param.PhysicalBreaks=512"],
    ..SCSI
}];

const SESSIONS: &[&str] = &[
    "-blockdev",
    "driver=iscsi,node-name=one,transport=tcp,portal=127.0.0.1:{port},target=iqn.2000-01.stand:target,lun=1,\
     initiator-name=iqn.2000-01.stand:one",
    "-blockdev",
    "driver=iscsi,node-name=other,transport=tcp,portal=127.0.0.1:{port},target=iqn.2000-01.stand:target,lun=1,\
     initiator-name=iqn.2000-01.stand:other",
    "-blockdev",
    "driver=iscsi,node-name=tape,transport=tcp,portal=127.0.0.1:{port},target=iqn.2000-01.stand:target,lun=2,\
     initiator-name=iqn.2000-01.stand:one",
    "-blockdev",
    "driver=iscsi,node-name=changer,transport=tcp,portal=127.0.0.1:{port},target=iqn.2000-01.stand:target,lun=3,\
     initiator-name=iqn.2000-01.stand:one",
];
const PASSED_THROUGH: &[&str] = &[
    "virtio-scsi-pci,id=scsi0,disable-legacy=on,virtqueue_size=1024",
    "virtio-scsi-pci,id=scsi1,disable-legacy=on",
    "scsi-block,bus=scsi0.0,channel=0,scsi-id=0,lun=0,drive=one,share-rw=on",
    "scsi-generic,bus=scsi0.0,channel=0,scsi-id=1,lun=0,drive=tape",
    "scsi-generic,bus=scsi0.0,channel=0,scsi-id=1,lun=1,drive=changer",
    "scsi-block,bus=scsi1.0,channel=0,scsi-id=4,lun=1,drive=other,share-rw=on",
];

/// Suite `scsi-compliance`.
pub(super) const COMPLIANCE: &[Setting] = &[
    BLK,
    Setting {
        name: "4Kn",
        controller: Some(",disable-legacy=on,logical_block_size=4096,physical_block_size=4096"),
        ..BLK
    },
    Setting {
        name: "512e, no write cache, odd discards",
        controller: Some(concat!(
            ",disable-legacy=on,physical_block_size=4096,write-cache=off,",
            "max-discard-sectors=1000,discard_granularity=3584,max-write-zeroes-sectors=77",
        )),
        ..BLK
    },
    Setting {
        name: "no serial number, no discards, no zeroes, legacy",
        controller: Some(",disable-modern=on,disable-legacy=off,serial=,discard=off,write-zeroes=off"),
        ..BLK
    },
    SCSI,
];

/// Suite `srb-functions`.
pub(super) const SRB_FUNCTIONS: &[Setting] = &[
    BLK,
    Setting { name: "SCSI_REQUEST_BLOCKs", words: &["srb=old"], ..BLK },
    SCSI,
    Setting { name: "SCSI_REQUEST_BLOCKs", words: &["srb=old"], ..SCSI },
];
