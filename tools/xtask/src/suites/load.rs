//! Much work at once.

use super::setting::{BLK, IO_THREAD, SCSI, Setting};

/// Suite `data-integrity`.
pub(super) const DATA_INTEGRITY: &[Setting] = &[
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
];

/// Suite `stress`.
pub(super) const STRESS: &[Setting] = &[
    Setting { name: "4 CPUs", smp: 4, long_only: true, ..BLK },
    Setting { name: "2 CPUs", ..BLK },
    Setting { name: "4 CPUs", smp: 4, long_only: true, ..SCSI },
    Setting { name: "2 CPUs", ..SCSI },
];

/// A disk that does less than it is asked for: requests queue up in the device, and end late and in bursts.
const THROTTLE: &[&str] = &[
    "-object",
    "throttle-group,id=group,x-iops-total=1200",
    "-blockdev",
    "driver=throttle,node-name=throttled,throttle-group=group,file.driver=file,file.filename={folder}/disk0.img",
];
const THROTTLED_BLK: &str = "virtio-blk-pci,drive=throttled,serial=RUST-BLK-0001,disable-legacy=on";
