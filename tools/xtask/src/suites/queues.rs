//! Between driver and device: interrupts, queues, rings, transports.

use super::setting::{BLK, IO_THREAD, SCSI, Setting};

/// Suite `interrupts`.
pub(super) const INTERRUPTS: &[Setting] = &[
    Setting { name: "line", controller: Some(",disable-legacy=on,vectors=0"), ..BLK },
    Setting { name: "1 message", controller: Some(",disable-legacy=on,vectors=1"), ..BLK },
    Setting { name: "2 messages", controller: Some(",disable-legacy=on,vectors=2"), ..BLK },
    Setting { name: "64 messages", controller: Some(",disable-legacy=on,vectors=64"), ..BLK },
    Setting { name: "line", controller: Some(",disable-legacy=on,vectors=0"), ..SCSI },
    Setting { name: "1 message", controller: Some(",disable-legacy=on,vectors=1"), ..SCSI },
    Setting { name: "3 messages", controller: Some(",disable-legacy=on,vectors=3"), ..SCSI },
    Setting { name: "64 messages", controller: Some(",disable-legacy=on,vectors=64"), ..SCSI },
];

/// Suite `multi-queue`.
pub(super) const MULTI_QUEUE: &[Setting] = &[
    Setting { name: "1 CPU, 8 queues", controller: Some(",disable-legacy=on,num-queues=8"), smp: 1, ..BLK },
    Setting { name: "2 CPUs, 1 queue", controller: Some(",disable-legacy=on,num-queues=1"), ..BLK },
    Setting { name: "2 CPUs, 8 queues", controller: Some(",disable-legacy=on,num-queues=8"), ..BLK },
    Setting { name: "3 CPUs, 2 queues", controller: Some(",disable-legacy=on,num-queues=2"), smp: 3, ..BLK },
    Setting { name: "4 CPUs, 4 queues", controller: Some(",disable-legacy=on,num-queues=4"), smp: 4, ..BLK },
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
        name: "4 CPUs in 2 groups, 4 queues, targets of a range",
        controller: Some(",disable-legacy=on,num-queues=4"),
        smp: 4,
        words: &["groups=2", "targets=range"],
        ..BLK
    },
    Setting {
        name: "4 CPUs, 4 queues, no targets",
        controller: Some(",disable-legacy=on,num-queues=4"),
        smp: 4,
        words: &["targets=none"],
        ..BLK
    },
    Setting { name: "1 CPU, 8 queues", controller: Some(",disable-legacy=on,num_queues=8"), smp: 1, ..SCSI },
    Setting { name: "2 CPUs, 1 queue", controller: Some(",disable-legacy=on,num_queues=1"), ..SCSI },
    Setting { name: "2 CPUs, 8 queues", controller: Some(",disable-legacy=on,num_queues=8"), ..SCSI },
    Setting { name: "3 CPUs, 2 queues", controller: Some(",disable-legacy=on,num_queues=2"), smp: 3, ..SCSI },
    Setting { name: "4 CPUs, 4 queues", controller: Some(",disable-legacy=on,num_queues=4"), smp: 4, ..SCSI },
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
    Setting {
        name: "4 CPUs in 2 groups, 4 queues, targets of a range",
        controller: Some(",disable-legacy=on,num_queues=4"),
        smp: 4,
        words: &["groups=2", "targets=range"],
        ..SCSI
    },
    Setting {
        name: "4 CPUs, 4 queues, no targets",
        controller: Some(",disable-legacy=on,num_queues=4"),
        smp: 4,
        words: &["targets=none"],
        ..SCSI
    },
];

/// Suite `transport`.
pub(super) const TRANSPORT: &[Setting] = &[
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
    Setting { name: "ring of 1024", controller: Some(",disable-legacy=on,virtqueue_size=1024"), ..SCSI },
    Setting {
        name: "ring of 16, no tables",
        controller: Some(",disable-legacy=on,virtqueue_size=16,indirect_desc=off"),
        ..SCSI
    },
    Setting {
        name: "ring of 1024, 512 breaks",
        controller: Some(",disable-legacy=on,virtqueue_size=1024"),
        words: &["param.PhysicalBreaks=512"],
        ..SCSI
    },
    Setting {
        name: "packed ring of 1024, 512 breaks",
        controller: Some(",disable-legacy=on,virtqueue_size=1024,packed=on"),
        words: &["param.PhysicalBreaks=512"],
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
];
