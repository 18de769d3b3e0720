//! Manners of virtio-blk devices.

use super::Options;
use super::disk::Disk;
use super::manner::{Answered, Manner};
use virtio::spec::Features;

/// Bytes of header and status: what a request is besides its data.
const HEADER: u32 = 16;
const STATUS: u32 = 1;

/// The data of a request, whichever way it goes.
fn data(answered: Answered) -> u32 {
    answered.readable.saturating_sub(HEADER) + answered.writable.saturating_sub(STATUS)
}

fn legacy(options: &mut Options, queue_size: u16, features: Features) {
    *options = Options { legacy: true, queue_size, features, ..*options };
}

/// What was read in the sources of devices.
pub const MANNERS: &[Manner<Disk>] = &[
    Manner {
        name: "bhyve",
        source: "freebsd/freebsd-src usr.sbin/bhyve/pci_virtio_block.c: vq_relchain(vq, 1) for every request, a ring of 64, \
                 seg_max 32, no FLUSH, the legacy interface only",
        prepare: |disk, options| {
            legacy(options, 64, Features::RING_INDIRECT_DESC);
            (disk.seg_max, disk.flush) = (Some(32), false);
        },
        used_length: Some(|_| 1),
    },
    Manner {
        name: "SmartOS and OmniOS",
        source: "illumos/illumos-gate usr/src/cmd/bhyve/pci_virtio_block.c: vq_relchain(.., 1), a ring of 128, seg_max 126, \
                 TOPOLOGY, the legacy interface only",
        prepare: |disk, options| {
            legacy(options, 128, Features::RING_INDIRECT_DESC);
            (disk.seg_max, disk.topology) = (Some(126), Some((3, 0, 0, 0)));
        },
        used_length: Some(|_| 1),
    },
    Manner {
        name: "ACRN",
        source: "projectacrn/acrn-hypervisor devicemodel/hw/pci/virtio/virtio_block.c: vq_relchain(.., 1), a ring of 64, \
                 TOPOLOGY, FLUSH and CONFIG_WCE, the legacy interface only",
        prepare: |disk, options| {
            legacy(options, 64, Features::RING_INDIRECT_DESC);
            (disk.topology, disk.writeback) = (Some((0, 0, 0, 0)), Some(1));
        },
        used_length: Some(|_| 1),
    },
    Manner {
        name: "OpenBSD vmd",
        source: "openbsd/src usr.sbin/vmd/vioblk.c: the used length is that of the first descriptor, GET_ID and FLUSH are \
                 unsupported",
        prepare: |disk, options| {
            legacy(options, 128, Features::empty());
            (disk.serial, disk.flush) = (None, false);
        },
        used_length: Some(|answered| answered.first),
    },
    Manner {
        name: "SPDK vhost",
        source: "spdk/spdk lib/vhost/vhost_blk.c: the used length is the data's in either direction, without the status, and \
                 0 for a request that failed; FLUSH is disabled",
        prepare: |disk, options| (disk.flush, options.queue_size) = (false, 128),
        used_length: Some(|answered| if answered.failed { 0 } else { data(answered) }),
    },
    Manner {
        name: "kvmtool",
        source: "kvmtool/kvmtool virtio/blk.c: the used length is what the disk said, without the status, and -1 for a \
                 request that failed; no BLK_SIZE",
        prepare: |disk, _| disk.block_bytes = None,
        used_length: Some(|answered| if answered.failed { u32::MAX } else { data(answered) }),
    },
    Manner {
        name: "Cloud Hypervisor",
        source: "cloud-hypervisor/cloud-hypervisor virtio-devices/src/block.rs and block_util/src/lib.rs: the status is \
                 written as a u32, the used length is a read's data, 0 for a write and 1 for an error; neither SEG_MAX, \
                 BLK_SIZE nor indirect descriptors",
        prepare: |disk, options| {
            options.features = Features::VERSION_1.union(Features::RING_EVENT_IDX);
            (disk.seg_max, disk.block_bytes, disk.writeback) = (None, None, Some(1));
            disk.status_bytes = 4;
        },
        used_length: Some(|answered| if answered.failed { 1 } else { answered.writable - STATUS }),
    },
    Manner {
        name: "QEMU's export over vhost-user",
        source: "qemu/qemu block/export/vhost-user-blk-server.c: size_max 0 although SIZE_MAX is offered, writeback 0 with \
                 FLUSH, GET_ID writes a string and its end and counts the whole buffer, a used length without the data",
        prepare: |disk, options| {
            options.queue_size = 128;
            (disk.size_max, disk.seg_max, disk.writeback) = (Some(0), Some(126), Some(0));
            (disk.topology, disk.id_bytes) = (Some((0, 0, 1, 1)), 15);
        },
        used_length: Some(|_| 1),
    },
    Manner {
        name: "Firecracker",
        source: "firecracker-microvm/firecracker src/vmm/src/devices/virtio/block/virtio/request.rs: parse takes one data \
                 descriptor, which SEG_MAX does not say, as it is not offered; neither BLK_SIZE nor indirect descriptors; a \
                 used length without the data of a request that failed",
        prepare: |disk, options| {
            options.features = Features::VERSION_1.union(Features::RING_EVENT_IDX);
            (disk.seg_max, disk.block_bytes) = (None, None);
        },
        used_length: Some(|answered| if answered.failed { STATUS } else { answered.written }),
    },
    Manner {
        name: "libkrun",
        source: "containers/libkrun src/devices/src/virtio/block/worker.rs: process_queue writes the status behind what was \
                 written, which for a read that failed is the first byte of its data, and says the length of the data alone, 0 \
                 for an error; neither BLK_SIZE nor indirect descriptors, size_max 0 without SIZE_MAX (device.rs)",
        prepare: |disk, options| {
            options.features = Features::VERSION_1.union(Features::RING_EVENT_IDX);
            (disk.block_bytes, disk.status_goes_astray) = (None, true);
        },
        used_length: Some(|answered| if answered.failed { 0 } else { data(answered) }),
    },
    Manner {
        name: "crosvm",
        source: "google/crosvm devices/src/virtio/block/asynchronous.rs: process_one_request says that all was written that may \
                 be, whatever came of it; 16 queues of 256; GET_ID is unsupported for a disk without an id",
        prepare: |disk, options| {
            options.queue_size = 256;
            (disk.serial, disk.queues) = (None, 16);
        },
        used_length: Some(|answered| answered.writable),
    },
];
