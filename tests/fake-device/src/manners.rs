//! Habits of devices in the field.
//!
//! A [`Lie`](super::Lie) breaks the rules to see what a driver makes of it. A manner is what a device really does, right or
//! wrong, and drivers have to work with it: with each of them the same scenario has to pass as with a device without any. So
//! every manner names the public source that it was read in.

use super::Options;
use super::disk::Disk;
use super::hba::{Hba, Obedience, Residual};
use virtio::spec::Features;
use virtio::spec::scsi::TaskManagement;

/// A request that was answered, as far as the used length could be made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// Bytes of the first buffer
    pub first: u32,
    /// Bytes of all buffers that the device reads
    pub readable: u32,
    /// Bytes of all buffers that the device writes
    pub writable: u32,
    /// Bytes from the start of those up to the last one that was written
    pub written: u32,
    /// The model answered with an error
    pub failed: bool,
}

/// How a device of type `M` is, and what it does besides.
pub struct Manner<M> {
    /// For the output of a test
    pub name: &'static str,
    /// Where it was seen: repository, file, and what stands there
    pub source: &'static str,
    /// What the device is like
    pub prepare: fn(&mut M, &mut Options),
    /// What it says of the bytes it has written; `None` is the truth
    pub used_length: Option<fn(Answered) -> u32>,
}

impl<M> Manner<M> {
    /// A device of this manner, before a driver has seen it.
    pub fn apply(&self, mut model: M, mut options: Options) -> (M, Options) {
        (self.prepare)(&mut model, &mut options);
        (model, options)
    }
}

/// Bytes of header and status of virtio-blk: what a request is besides its data.
const HEADER: u32 = 16;
const STATUS: u32 = 1;

/// The data of a request of virtio-blk, whichever way it goes.
fn data(answered: Answered) -> u32 {
    answered.readable.saturating_sub(HEADER) + answered.writable.saturating_sub(STATUS)
}

fn legacy(options: &mut Options, queue_size: u16, features: Features) {
    *options = Options { legacy: true, queue_size, features, ..*options };
}

/// Manners of virtio-blk devices: what was read in their sources.
pub const DISK_MANNERS: &[Manner<Disk>] = &[
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

/// Manners of virtio-scsi devices: what was read in their sources.
pub const HBA_MANNERS: &[Manner<Hba>] = &[
    Manner {
        name: "QEMU",
        source: "qemu/qemu hw/scsi/virtio-scsi.c: virtio_scsi_command_complete names no residual with a status other than GOOD, \
                 virtio_scsi_complete_req counts the whole response buffer and the data in either direction, \
                 virtio_scsi_push_event names units below 256 in peripheral addressing",
        prepare: |hba, _| {
            (hba.residual, hba.peripheral_event_luns) = (Residual::NothingOfFailed, true);
        },
        used_length: Some(|answered| answered.writable + answered.readable.saturating_sub(51)),
    },
    Manner {
        name: "vhost-scsi and LIO",
        source: "torvalds/linux drivers/vhost/scsi.c: vhost_add_used(.., 0) for every command, the residual is the target's, \
                 vhost_scsi_handle_tmf knows LOGICAL UNIT RESET only, which waits, vhost_scsi_send_evt names units below 256 in \
                 peripheral addressing; drivers/target/target_core_transport.c, target_cmd_size_check: what the CDB asks for beyond the buffer",
        prepare: |hba, options| {
            options.queue_size = 128;
            (hba.residual, hba.seg_max) = (Residual::Cdb, 126);
            (hba.obedience, hba.functions) = (Obedience::Waits, &[TaskManagement::LOGICAL_UNIT_RESET]);
            hba.peripheral_event_luns = true;
        },
        used_length: Some(|_| 0),
    },
    Manner {
        name: "bhyve and CTL",
        source: "freebsd/freebsd-src usr.sbin/bhyve/pci_virtio_scsi.c: max_sectors 2, seg_max 64 and a ring of 64, cmd_per_lun 1, \
                 max_target 0, 32 bits of the tag, a sense length of 96 with a good status, the legacy interface only; \
                 sys/cam/ctl/ctl.c refuses a tag that it has already",
        prepare: |hba, options| {
            *options =
                Options { legacy: true, queue_size: 64, features: Features::RING_INDIRECT_DESC, ..*options };
            (hba.max_sectors, hba.seg_max, hba.cmd_per_lun) = (2, 64, 1);
            (hba.max_target, hba.sense_length_when_good) = (0, Some(96));
        },
        used_length: None,
    },
    Manner {
        name: "SPDK vhost",
        source: "spdk/spdk lib/vhost/vhost_scsi.c: task->resp is the driver's memory, of which the sense length is written for a \
                 failed command only; the used length counts all buffers of a read, used or not",
        prepare: |hba, options| {
            options.queue_size = 128;
            (hba.seg_max, hba.sense_length_when_good) = (126, None);
        },
        used_length: Some(|answered| answered.writable),
    },
    Manner {
        name: "crosvm",
        source: "google/crosvm devices/src/virtio/scsi/device.rs: num_queues counts the control and the event queue too",
        prepare: |hba, _| hba.num_queues = Some(u32::from(hba.request_queues) + 2),
        used_length: None,
    },
    Manner {
        name: "vhost-device-scsi",
        source: "rust-vmm/vhost-device vhost-device-scsi/src/virtio.rs: VirtioScsiLun::parse takes flat space addressing alone; \
                 src/vhu_scsi.rs: a ring of 128, the residual is the room for data in that is left, also of a write, and \
                 handle_event leaves the control and the event queue alone",
        prepare: |hba, options| {
            options.queue_size = 128;
            (hba.seg_max, hba.residual, hba.flat_luns_only) = (126, Residual::Room, true);
            hba.obedience = Obedience::Silent;
        },
        used_length: None,
    },
];
