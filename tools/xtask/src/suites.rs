//! The table of suites: which machines each is tried on, and the running of them.
//!
//! A suite is a part of the stand (tests/stand/src/suite) of the same name. One trial is one boot: a machine for one kind
//! of driver, with the suite's name on the stand's command line. To add a suite, add it here; `./x stand --suite` and
//! `./x test` take it from this table.

use crate::boot::{self, Options, Show, Trial};
use crate::failed;
use crate::machine::{Daemon, Drive, Kind, Machine};
use crate::protocol::Report;
use crate::qemu::Qemu;
use crate::screen::Screen;
use crate::workspace::Workspace;
use anyhow::{Result, bail};
use std::path::Path;

/// A suite.
#[derive(Debug)]
pub struct Suite {
    /// Its name, also on the stand's command line.
    pub name: &'static str,
    /// What it is about, in one line.
    pub about: &'static str,
    /// The boots that it consists of, besides those of [`lies`].
    pub trials: &'static [Setting],
}

/// The suite that has a boot for each lie of the stand's device model.
const HOSTILE: &str = "hostile";

/// A boot for each lie that the model of this kind can tell, and with `--long` one in which it is honest until it is reset
/// in the middle of work; lies about such resets begin with them anyway.
fn lies(kind: Kind) -> impl Iterator<Item = Setting> {
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
const MANNERS: &str = "manners";

/// A boot for each manner that the model of this kind can have.
fn manners(kind: Kind) -> impl Iterator<Item = Setting> {
    let (model, honest) = match kind {
        Kind::Blk => (stand::device::Kind::Blk, MODEL),
        Kind::Scsi => (stand::device::Kind::Scsi, SCSI_MODEL),
    };
    let manners = stand::device::MANNERS.iter().filter(move |manner| manner.kind == model);
    manners.map(move |manner| Setting { name: manner.name, manner: Some(manner.name), ..honest })
}

/// The machine and the options of one boot.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// What is special about it: unique among the suite's trials for this kind.
    pub name: &'static str,
    /// The kind of driver that it is for.
    pub kind: Kind,
    /// Properties of the usual controller with its usual disks, each after a comma; `None` when `devices` has another.
    pub controller: Option<&'static str>,
    /// Disks that store nothing, on the usual SCSI controller: targets with one unit, and more units of the first of them.
    pub empty_units: (u8, u8),
    /// Further QEMU `-device` strings.
    pub devices: &'static [&'static str],
    /// Further disks, for `devices` to name: node name and bytes.
    pub drives: &'static [(&'static str, u64)],
    /// Further arguments of QEMU.
    pub qemu: &'static [&'static str],
    /// Arguments of a qemu-storage-daemon to start first, and its socket.
    pub daemon: Option<(&'static [&'static str], &'static str)>,
    /// Number of processors.
    pub smp: u32,
    /// Further `KEY=VALUE` words for the stand.
    pub words: &'static [&'static str],
    /// The lie that the stand's device model tells.
    pub lie: Option<&'static str>,
    /// The manner that it has.
    pub manner: Option<&'static str>,
    /// Only with `--long`.
    pub long_only: bool,
    /// Seconds after which it is given up, short and long. The caller's limit holds when it is longer.
    pub seconds: (u64, u64),
}

/// virtio-blk with one disk, to be changed by struct update.
const BLK: Setting = Setting {
    name: "modern, 2 CPUs",
    kind: Kind::Blk,
    controller: Some(",disable-legacy=on"),
    empty_units: (0, 0),
    devices: &[],
    drives: &[],
    qemu: &[],
    daemon: None,
    smp: 2,
    words: &[],
    lie: None,
    manner: None,
    long_only: false,
    seconds: (60, 3600),
};
/// virtio-scsi with two disks and a CD-ROM, to be changed by struct update.
const SCSI: Setting = Setting { kind: Kind::Scsi, ..BLK };

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

/// All suites.
pub const SUITES: &[Suite] = &[
    Suite {
        name: "data-integrity",
        about: "random sizes, places, alignments and depths from every processor, each block verified",
        trials: &[
            Setting { name: "4 CPUs", smp: 4, ..BLK },
            Setting { name: "4 CPUs, starts in DPCs", words: &["starts=dpc"], smp: 4, ..BLK },
            Setting {
                name: "I/O thread, packed ring, 3 CPUs",
                controller: Some(",disable-legacy=on,packed=on,iothread=io0"),
                qemu: IO_THREAD,
                smp: 3,
                ..BLK
            },
            Setting {
                name: "throttled",
                qemu: THROTTLE,
                devices: &[THROTTLED_BLK],
                controller: None,
                smp: 2,
                seconds: (120, 3600),
                ..BLK
            },
            Setting { name: "4 CPUs", smp: 4, ..SCSI },
            Setting { name: "4 CPUs, starts in DPCs", words: &["starts=dpc"], smp: 4, ..SCSI },
            Setting {
                name: "I/O thread, packed ring, 3 CPUs",
                controller: Some(",disable-legacy=on,packed=on,iothread=io0"),
                qemu: IO_THREAD,
                smp: 3,
                ..SCSI
            },
        ],
    },
    Suite {
        name: "dump",
        about: "the system crashes under load, and a second copy of the driver writes the dump by polling",
        trials: &[
            Setting { name: "crash, 1 CPU", words: &["dump=crash"], smp: 1, ..BLK },
            Setting { name: "crash, 2 CPUs", words: &["dump=crash"], smp: 2, ..BLK },
            Setting {
                name: "crash, the SRB type asked for, 2 CPUs",
                words: &["dump=extended"],
                smp: 2,
                ..BLK
            },
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
            Setting {
                name: "crash, the SRB type asked for, 2 CPUs",
                words: &["dump=extended"],
                smp: 2,
                ..SCSI
            },
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
        ],
    },
    Suite {
        name: "faults",
        about: "blocks that fail, stops of the machine, a device that is silent or has lost its disk, resets under load",
        trials: &[
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
                daemon: Some((STORAGE_DAEMON, "{temp}/vub")),
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
            Setting { name: "resets, 4 CPUs", smp: 4, ..SCSI },
            Setting { name: "resets, packed ring", controller: Some(",disable-legacy=on,packed=on"), ..SCSI },
            Setting {
                name: "resets, behind an IOMMU",
                controller: Some(",disable-legacy=on,iommu_platform=on"),
                ..SCSI
            },
        ],
    },
    Suite {
        name: "flush",
        about: "what was acknowledged as durable is, proved from a log of all that the disk was told",
        trials: &[
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
        ],
    },
    Suite {
        name: HOSTILE,
        about: "a device that lies: each of its lies, and the truth",
        trials: &[
            MODEL,
            SCSI_MODEL,
            Setting { name: "honest, packed", words: &["model=blk", "packed=1"], ..MODEL },
            Setting { name: "honest, packed", words: &["model=scsi", "packed=1"], ..SCSI_MODEL },
            PACKED_SLOW_RESET,
            PACKED_ENDLESS_RESET,
            Setting { kind: Kind::Scsi, words: &["model=scsi", "packed=1"], ..PACKED_SLOW_RESET },
            Setting { kind: Kind::Scsi, words: &["model=scsi", "packed=1"], ..PACKED_ENDLESS_RESET },
        ],
    },
    Suite {
        name: "hotplug",
        about: "disks that grow, LUNs that come and go under load, the CD tray",
        trials: &[
            BLK,
            Setting { name: "packed ring", controller: Some(",disable-legacy=on,packed=on"), ..BLK },
            SCSI,
            Setting { name: "packed ring", controller: Some(",disable-legacy=on,packed=on"), ..SCSI },
        ],
    },
    Suite {
        name: "interrupts",
        about: "the line, and every number of messages a driver has a plan for",
        trials: &[
            Setting { name: "line", controller: Some(",disable-legacy=on,vectors=0"), ..BLK },
            Setting { name: "1 message", controller: Some(",disable-legacy=on,vectors=1"), ..BLK },
            Setting { name: "2 messages", controller: Some(",disable-legacy=on,vectors=2"), ..BLK },
            Setting { name: "64 messages", controller: Some(",disable-legacy=on,vectors=64"), ..BLK },
            Setting { name: "line", controller: Some(",disable-legacy=on,vectors=0"), ..SCSI },
            Setting { name: "1 message", controller: Some(",disable-legacy=on,vectors=1"), ..SCSI },
            Setting { name: "3 messages", controller: Some(",disable-legacy=on,vectors=3"), ..SCSI },
            Setting { name: "64 messages", controller: Some(",disable-legacy=on,vectors=64"), ..SCSI },
        ],
    },
    Suite {
        name: MANNERS,
        about: "devices with the habits of others than QEMU's, and with limits as small as there are: the whole pass",
        trials: &[
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
        ],
    },
    Suite {
        name: "many-luns",
        about: "every target and two hundred units of one, all found and all at work at once",
        trials: &[
            // The usual three units, 126 targets, 200 more units.
            Setting {
                name: "126 targets, 201 units of one",
                empty_units: (126, 200),
                words: &["units=329"],
                smp: 4,
                seconds: (120, 3600),
                ..SCSI
            },
            // MaximumNumberOfTargets starts with 128 and may be 255.
            Setting {
                name: "targets 128, 200 and 254",
                qemu: &["-blockdev", "driver=null-co,node-name=far,size=1048576,read-zeroes=on"],
                devices: &[
                    "scsi-hd,bus=scsi0.0,channel=0,scsi-id=128,lun=0,drive=far,share-rw=on,serial=T128L0",
                    "scsi-hd,bus=scsi0.0,channel=0,scsi-id=200,lun=0,drive=far,share-rw=on,serial=T200L0",
                    "scsi-hd,bus=scsi0.0,channel=0,scsi-id=254,lun=0,drive=far,share-rw=on,serial=T254L0",
                ],
                words: &["units=6"],
                ..SCSI
            },
        ],
    },
    Suite {
        name: "multi-queue",
        about: "1 to 4 processors with 1 to 8 queues, fewer messages than queues, processor groups",
        trials: &[
            Setting {
                name: "1 CPU, 8 queues",
                controller: Some(",disable-legacy=on,num-queues=8"),
                smp: 1,
                ..BLK
            },
            Setting { name: "2 CPUs, 1 queue", controller: Some(",disable-legacy=on,num-queues=1"), ..BLK },
            Setting { name: "2 CPUs, 8 queues", controller: Some(",disable-legacy=on,num-queues=8"), ..BLK },
            Setting {
                name: "3 CPUs, 2 queues",
                controller: Some(",disable-legacy=on,num-queues=2"),
                smp: 3,
                ..BLK
            },
            Setting {
                name: "4 CPUs, 4 queues",
                controller: Some(",disable-legacy=on,num-queues=4"),
                smp: 4,
                ..BLK
            },
            Setting {
                name: "4 CPUs, 8 queues, packed ring",
                controller: Some(",disable-legacy=on,num-queues=8,packed=on"),
                smp: 4,
                ..BLK
            },
            Setting {
                name: "4 CPUs, 4 queues, 3 messages",
                controller: Some(",disable-legacy=on,num-queues=4,vectors=3"),
                smp: 4,
                ..BLK
            },
            Setting {
                name: "4 CPUs, 4 queues, 1 message",
                controller: Some(",disable-legacy=on,num-queues=4,vectors=1"),
                smp: 4,
                ..BLK
            },
            Setting {
                name: "4 CPUs in 2 groups, 2 queues",
                controller: Some(",disable-legacy=on,num-queues=2"),
                smp: 4,
                words: &["groups=2"],
                ..BLK
            },
            Setting {
                name: "4 CPUs in 2 groups, 4 queues",
                controller: Some(",disable-legacy=on,num-queues=4"),
                smp: 4,
                words: &["groups=2"],
                ..BLK
            },
            Setting {
                name: "1 CPU, 8 queues",
                controller: Some(",disable-legacy=on,num_queues=8"),
                smp: 1,
                ..SCSI
            },
            Setting { name: "2 CPUs, 1 queue", controller: Some(",disable-legacy=on,num_queues=1"), ..SCSI },
            Setting { name: "2 CPUs, 8 queues", controller: Some(",disable-legacy=on,num_queues=8"), ..SCSI },
            Setting {
                name: "3 CPUs, 2 queues",
                controller: Some(",disable-legacy=on,num_queues=2"),
                smp: 3,
                ..SCSI
            },
            Setting {
                name: "4 CPUs, 4 queues",
                controller: Some(",disable-legacy=on,num_queues=4"),
                smp: 4,
                ..SCSI
            },
            Setting {
                name: "4 CPUs, 8 queues, packed ring",
                controller: Some(",disable-legacy=on,num_queues=8,packed=on"),
                smp: 4,
                ..SCSI
            },
            Setting {
                name: "4 CPUs, 4 queues, 3 messages",
                controller: Some(",disable-legacy=on,num_queues=4,vectors=3"),
                smp: 4,
                ..SCSI
            },
            Setting {
                name: "4 CPUs, 4 queues, 1 message",
                controller: Some(",disable-legacy=on,num_queues=4,vectors=1"),
                smp: 4,
                ..SCSI
            },
            Setting {
                name: "4 CPUs in 2 groups, 2 queues",
                controller: Some(",disable-legacy=on,num_queues=2"),
                smp: 4,
                words: &["groups=2"],
                ..SCSI
            },
            Setting {
                name: "4 CPUs in 2 groups, 4 queues",
                controller: Some(",disable-legacy=on,num_queues=4"),
                smp: 4,
                words: &["groups=2"],
                ..SCSI
            },
        ],
    },
    Suite {
        name: "power",
        about: "the adapter stopped, unpowered and restarted 100 times under load; rebalances to fewer messages",
        trials: &[
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
        ],
    },
    Suite {
        name: "scsi-compliance",
        about: "every command and field, every allocation length, against SPC-4 and SBC-3",
        trials: &[
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
                controller: Some(
                    ",disable-modern=on,disable-legacy=off,serial=,discard=off,write-zeroes=off",
                ),
                ..BLK
            },
            SCSI,
        ],
    },
    Suite {
        name: "srb-functions",
        about: "every SRB function, also unknown ones, and addresses without a unit",
        trials: &[BLK, SCSI],
    },
    Suite {
        name: "stress",
        about: "the work of data-integrity two hundred times over",
        trials: &[
            Setting { name: "4 CPUs", smp: 4, long_only: true, ..BLK },
            Setting { name: "2 CPUs", ..BLK },
            Setting { name: "4 CPUs", smp: 4, long_only: true, ..SCSI },
            Setting { name: "2 CPUs", ..SCSI },
        ],
    },
    Suite {
        name: "surprise-removal",
        about: "the controller gone under load: registers read as ones, nothing comes back",
        trials: &[
            BLK,
            Setting { name: "line, 4 CPUs", controller: Some(",disable-legacy=on,vectors=0"), smp: 4, ..BLK },
            Setting {
                name: "packed ring, 1 CPU",
                controller: Some(",disable-legacy=on,packed=on"),
                smp: 1,
                ..BLK
            },
            Setting { name: "legacy", controller: Some(",disable-modern=on,disable-legacy=off"), ..BLK },
            SCSI,
            Setting {
                name: "line, 4 CPUs",
                controller: Some(",disable-legacy=on,vectors=0"),
                smp: 4,
                ..SCSI
            },
            Setting {
                name: "packed ring, 1 CPU",
                controller: Some(",disable-legacy=on,packed=on"),
                smp: 1,
                ..SCSI
            },
            Setting { name: "legacy", controller: Some(",disable-modern=on,disable-legacy=off"), ..SCSI },
        ],
    },
    Suite {
        name: "transport",
        about: "rings and transports that the machines of ./x test do not have",
        trials: &[
            Setting {
                name: "ring of 8",
                controller: Some(",disable-legacy=on,queue-size=8,seg-max-adjust=on"),
                ..BLK
            },
            Setting { name: "ring of 1024", controller: Some(",disable-legacy=on,queue-size=1024"), ..BLK },
            Setting {
                name: "ring of 16, no tables",
                controller: Some(",disable-legacy=on,queue-size=16,indirect_desc=off"),
                ..BLK
            },
            Setting { name: "ring of 16", controller: Some(",disable-legacy=on,virtqueue_size=16"), ..SCSI },
            Setting {
                name: "ring of 1024",
                controller: Some(",disable-legacy=on,virtqueue_size=1024"),
                ..SCSI
            },
            Setting {
                name: "behind an IOMMU, packed ring, I/O thread, 4 CPUs",
                controller: Some(",disable-legacy=on,packed=on,iommu_platform=on,iothread=io0"),
                qemu: IO_THREAD,
                smp: 4,
                ..BLK
            },
            Setting {
                name: "behind an IOMMU, packed ring, I/O thread, 4 CPUs",
                controller: Some(",disable-legacy=on,packed=on,iommu_platform=on,iothread=io0"),
                qemu: IO_THREAD,
                smp: 4,
                ..SCSI
            },
        ],
    },
    Suite {
        name: "vhost-user",
        about: "the same on the device of another implementation, qemu-storage-daemon",
        trials: &[
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
        ],
    },
];

/// Guest memory that another process can map, and the socket of the device.
const VHOST_USER: &[&str] = &[
    "-object",
    "memory-backend-memfd,id=mem,size=256M,share=on",
    "-machine",
    "memory-backend=mem",
    "-chardev",
    "socket,id=vub,path={temp}/vub",
];
const STORAGE_DAEMON: &[&str] = &[
    "--blockdev",
    "driver=file,node-name=file,filename={folder}/disk0.img",
    "--export",
    "type=vhost-user-blk,id=export,addr.type=unix,addr.path={temp}/vub,node-name=file,writable=on,num-queues=2",
];
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
/// Node of the log of writes.
pub const LOG: &str = "log0";
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
const IO_THREAD: &[&str] = &["-object", "iothread,id=io0"];
/// A disk that does less than it is asked for: requests queue up in the device, and end late and in bursts.
const THROTTLE: &[&str] = &[
    "-object",
    "throttle-group,id=group,x-iops-total=1200",
    "-blockdev",
    "driver=throttle,node-name=throttled,throttle-group=group,file.driver=file,file.filename={folder}/disk0.img",
];
const THROTTLED_BLK: &str = "virtio-blk-pci,drive=throttled,serial=RUST-BLK-0001,disable-legacy=on";

impl Suite {
    /// The trials for this kind of driver, in the short or the long version.
    pub fn trials(&self, kind: Kind, long: bool) -> impl Iterator<Item = Setting> {
        let lies = (self.name == HOSTILE).then(|| lies(kind)).into_iter().flatten();
        let manners = (self.name == MANNERS).then(|| manners(kind)).into_iter().flatten();
        let all = self.trials.iter().copied().chain(lies).chain(manners);
        all.filter(move |trial| trial.kind == kind && (long || !trial.long_only))
    }

    /// Whether any of its trials has a device of QEMU's.
    pub fn has_devices_of_qemu(&self) -> bool {
        self.trials.iter().any(|trial| trial.controller.is_some() || !trial.devices.is_empty())
    }
}

impl Setting {
    /// The machine.
    pub fn machine(&self) -> Machine {
        let mut machine = Machine::default();
        if let Some(properties) = self.controller {
            machine.add(self.kind, properties);
        }
        machine.add_empty_units(self.empty_units.0, self.empty_units.1);
        for device in self.devices {
            machine.raw(device);
        }
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        machine.drives =
            self.drives.iter().map(|(node, size)| Drive { node: (*node).to_owned(), size: *size }).collect();
        machine.more.extend(words(self.qemu));
        machine.daemon = self
            .daemon
            .map(|(arguments, socket)| Daemon { arguments: words(arguments), socket: socket.to_owned() });
        machine
    }

    fn words(&self, long: bool) -> Vec<String> {
        let long = long.then(|| "long=1".to_owned());
        let lie = self.lie.map(|lie| format!("lie={lie}"));
        let manner = self.manner.map(|manner| format!("manner={manner}"));
        self.words.iter().map(|word| (*word).to_owned()).chain(lie).chain(manner).chain(long).collect()
    }

    fn options(&self, given: &Options, long: bool) -> Options {
        let seconds = if long { self.seconds.1 } else { self.seconds.0 };
        Options { smp: self.smp, timeout: given.timeout.max(seconds), ..given.clone() }
    }
}

/// The suites of these names.
///
/// # Errors
/// When there is none of a name.
pub fn find(names: &[String]) -> Result<Vec<&'static Suite>> {
    let known = || SUITES.iter().map(|suite| suite.name).collect::<Vec<_>>().join(", ");
    names
        .iter()
        .map(|name| match SUITES.iter().find(|suite| suite.name == name) {
            Some(suite) => Ok(suite),
            None => bail!("there is no suite {name}; there are: {}, and `list` prints them", known()),
        })
        .collect()
}

/// The table for a person.
pub fn list() -> Vec<String> {
    let mut lines = Vec::new();
    for suite in SUITES {
        lines.push(format!("{:<16} {}", suite.name, suite.about));
        for trial in suite.trials {
            let kind = if trial.kind == Kind::Blk { "virtio-blk" } else { "virtio-scsi" };
            let long = if trial.long_only { ", only with --long" } else { "" };
            lines.push(format!("{:<16}   {kind}, {}{long}", "", trial.name));
        }
    }
    lines
}

/// What a suite's trials for one driver amount to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Checks that passed.
    pub passed: usize,
    /// What failed, each with its trial.
    pub failed: Vec<String>,
    /// What was not tried and why, each with its trial.
    pub skipped: Vec<String>,
}

impl Outcome {
    fn add(&mut self, trial: &str, report: &Report, complaint: Option<String>) {
        let named = |text: &String| format!("{trial}: {text}");
        self.passed += report.passed as usize;
        self.failed.extend(report.failed.iter().map(named));
        self.skipped.extend(report.skipped.iter().map(named));
        if report.broken.is_some() {
            self.failed.extend(complaint.iter().map(named));
        } else if report.passed == 0 && report.failed.is_empty() {
            self.failed.push(named(&"nothing was checked".to_owned()));
        }
    }

    /// The same of another driver.
    pub fn merge(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed.extend(other.failed);
        self.skipped.extend(other.skipped);
    }
}

/// Which driver is tried.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The image.
    pub image: &'a Path,
    /// What it is for.
    pub kind: Kind,
    /// PCI functions, as `VEN:DEV,...`.
    pub pci: &'a str,
}

/// Runs a suite's trials for one driver. What fails leaves a folder.
///
/// # Errors
/// When a boot is not possible at all.
pub fn run(
    workspace: &Workspace,
    screen: &mut Screen,
    (qemu, options): (&Qemu, &Options),
    (suite, long): (&Suite, bool),
    subject: Subject<'_>,
    show: Show,
) -> Result<Outcome> {
    let stem = subject.image.file_stem().unwrap_or_default().to_string_lossy();
    let mut outcome = Outcome::default();
    for setting in suite.trials(subject.kind, long) {
        let what = format!("{}, {stem}, {}", suite.name, setting.name);
        if show == Show::All {
            screen.line(&format!("{what} on QEMU {}", qemu.name));
        }
        let machine = setting.machine();
        let trial = Trial {
            suite: Some(suite.name.to_owned()),
            words: setting.words(long),
            ..Trial::new(subject.image, subject.pci, Some(subject.kind), &machine)
        };
        let options = setting.options(options, long);
        let report =
            failed::boot_or_keep(workspace, screen, (qemu, &options), (what.as_str(), &trial), show)?;
        let complaint = boot::complaint(&report, &options);
        outcome.add(&format!("{stem}, {}", setting.name), &report, complaint);
    }
    Ok(outcome)
}

/// The lines that sum up the suites that were run.
pub fn summary(outcomes: &[(&Suite, Outcome)]) -> Vec<String> {
    let mut lines = Vec::new();
    for (suite, outcome) in outcomes {
        lines.push(format!(
            "{:<16} {:>5} passed {:>3} failed {:>3} skipped",
            suite.name,
            outcome.passed,
            outcome.failed.len(),
            outcome.skipped.len()
        ));
        lines.extend(outcome.failed.iter().map(|text| format!("  FAIL {text}")));
        lines.extend(outcome.skipped.iter().map(|text| format!("  skip {text}")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Broken;
    use std::collections::BTreeSet;

    #[test]
    fn every_suite_is_named_once_and_has_words_for_a_person() {
        let names: BTreeSet<&str> = SUITES.iter().map(|suite| suite.name).collect();

        assert_eq!(names.len(), SUITES.len());
        for suite in SUITES {
            assert!(suite.name.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{}", suite.name);
            assert!(suite.name != "list" && !suite.about.is_empty(), "{}", suite.name);
        }
    }

    #[test]
    fn every_trial_is_named_once_and_some_are_short() {
        for suite in SUITES {
            let names: BTreeSet<_> =
                suite.trials.iter().map(|trial| (trial.kind == Kind::Blk, trial.name)).collect();

            assert_eq!(names.len(), suite.trials.len(), "{}", suite.name);
            assert!(suite.trials.iter().any(|trial| !trial.long_only), "{}", suite.name);
        }
    }

    #[test]
    fn only_the_suites_of_the_stands_own_device_need_none_of_qemu() {
        let without = SUITES.iter().filter(|suite| !suite.has_devices_of_qemu()).map(|suite| suite.name);

        assert_eq!(without.collect::<Vec<_>>(), [HOSTILE, MANNERS]);
    }

    #[test]
    fn every_suite_of_the_table_is_one_of_the_stand() {
        let stand = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/stand/src/suite/mod.rs");
        let source = std::fs::read_to_string(stand).unwrap();
        for suite in SUITES {
            assert!(
                source.contains(&format!("(\"{}\",", suite.name)),
                "the stand has no suite {}",
                suite.name
            );
        }
    }

    #[test]
    fn every_word_is_one_that_the_stand_takes() {
        for trial in SUITES.iter().flat_map(|suite| suite.trials) {
            stand::cmdline::parse(&trial.words(true).join(" ")).unwrap();
        }
    }

    #[test]
    fn an_unknown_suite_is_refused_with_the_known_ones() {
        let error = find(&["hotplug".to_owned(), "x".to_owned()]).unwrap_err().to_string();

        assert!(error.starts_with("there is no suite x; there are: data-integrity, "), "{error}");
    }

    #[test]
    fn long_trials_are_left_out_of_the_short_version() {
        const LONG: Suite = Suite {
            name: "x",
            about: "x",
            trials: &[BLK, Setting { name: "b", long_only: true, ..BLK }, SCSI],
        };

        assert_eq!((LONG.trials(Kind::Blk, false).count(), LONG.trials(Kind::Blk, true).count()), (1, 2));
        assert_eq!(BLK.words(true), ["long=1"]);
        assert_eq!(BLK.options(&Options::default(), true).timeout, 3600);
    }

    fn report(passed: u32, failed: &[&str], broken: Option<Broken>) -> Report {
        let ended = crate::command::Ended { status: None, lines: Vec::new() };
        let failed = failed.iter().map(|text| (*text).to_owned()).collect();
        Report { passed, failed, broken, ..crate::protocol::sum_up(&ended) }
    }

    #[test]
    fn a_boot_that_checks_nothing_has_not_passed() {
        let mut outcome = Outcome::default();

        outcome.add("a", &report(0, &[], None), None);

        assert_eq!(outcome.failed, ["a: nothing was checked"]);
    }

    #[test]
    fn skips_are_neither_passed_nor_failed_and_keep_their_reason() {
        let mut outcome = Outcome::default();
        let skipped = vec!["tray: no CD-ROM".to_owned()];

        outcome.add("a", &Report { skipped, ..report(2, &["x: y"], None) }, Some("1 of 3".to_owned()));

        let lines = summary(&[(&SUITES[0], outcome)]);
        assert!(lines[0].ends_with("2 passed   1 failed   1 skipped"), "{}", lines[0]);
        assert_eq!(lines[1..], ["  FAIL a: x: y", "  skip a: tray: no CD-ROM"]);
    }

    #[test]
    fn a_boot_that_broke_off_is_a_failure() {
        let mut outcome = Outcome::default();

        outcome.add("a", &report(5, &[], Some(Broken::TimedOut)), Some("nothing came of it".to_owned()));

        assert_eq!(outcome.failed, ["a: nothing came of it"]);
    }

    #[test]
    fn a_machine_has_all_that_its_setting_says() {
        let setting = Setting {
            controller: None,
            devices: &["virtio-blk-pci,drive=more"],
            drives: &[("more", 1 << 20)],
            qemu: &["-object", "memory-backend-memfd,id=mem"],
            daemon: Some((&["--export", "x={temp}/s"], "{temp}/s")),
            ..BLK
        };
        let machine = setting.machine();
        let folder = tempfile::tempdir().unwrap();
        let mut images = crate::machine::Images::make(folder.path(), 1).unwrap();
        images.add(&machine.drives).unwrap();

        let words = machine.arguments(&images, Path::new("/t"));

        assert_eq!(words[..2], ["-object", "memory-backend-memfd,id=mem"]);
        assert!(words.iter().any(|word| word.contains("node-name=more,")), "{words:?}");
        assert_eq!(words[words.len() - 2..], ["-device", "virtio-blk-pci,drive=more"]);
        assert_eq!(machine.daemon.unwrap().socket, "{temp}/s");
    }
}
