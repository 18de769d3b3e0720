//! Manners of virtio-scsi devices.

use super::hba::{Hba, Residual};
use super::manner::Manner;
use virtio::spec::Features;

/// What was read in the sources of devices.
pub const MANNERS: &[Manner<Hba>] = &[
    Manner {
        name: "QEMU",
        source: "qemu/qemu hw/scsi/virtio-scsi.c: virtio_scsi_command_complete names no residual with a status other than GOOD, \
                 virtio_scsi_complete_req counts the whole response buffer and the data in either direction",
        prepare: |hba, _| hba.residual = Residual::NothingOfFailed,
        used_length: Some(|answered| answered.readable + answered.writable - 51),
    },
    Manner {
        name: "vhost-scsi and LIO",
        source: "torvalds/linux drivers/vhost/scsi.c: vhost_add_used(.., 0) for every command, the residual is the target's; \
                 drivers/target/target_core_transport.c, target_cmd_size_check: what the CDB asks for beyond the buffer",
        prepare: |hba, options| {
            options.queue_size = 128;
            (hba.residual, hba.seg_max) = (Residual::Cdb, 126);
        },
        used_length: Some(|_| 0),
    },
    Manner {
        name: "bhyve and CTL",
        source: "freebsd/freebsd-src usr.sbin/bhyve/pci_virtio_scsi.c: max_sectors 2, seg_max 64 and a ring of 64, cmd_per_lun 1, \
                 max_target 0, 32 bits of the tag, a sense length of 96 with a good status, the legacy interface only; \
                 sys/cam/ctl/ctl.c refuses a tag that it has already",
        prepare: |hba, options| {
            *options = super::Options {
                legacy: true,
                queue_size: 64,
                features: Features::RING_INDIRECT_DESC,
                ..*options
            };
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
        prepare: |hba, _| hba.counts_all_queues = true,
        used_length: None,
    },
];
