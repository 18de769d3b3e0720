//! Manners: what devices in the field are like, right or wrong, without a lie being told. Every driver has to work with each of
//! them as with any other device, so the whole pass runs with each (suite `manners`). Each names the public source that it
//! was seen in.
//!
//! The model has the modern interface only; that of a device that has the legacy one only is left out.

use super::{Kind, feature};

/// Entries of the queues of a device that has no habits.
pub(super) const QUEUE_SIZE: u16 = 128;

/// What a device says that it has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Used {
    /// The truth
    Written,
    /// Always so much
    Always(u32),
    /// The length of the first buffer of the request
    First,
    /// The data in either direction, without header and status; of a request that failed, this
    Data { failed: u32 },
    /// The room for answer and data, used or not
    Room,
    /// The room for the answer, and the data in either direction
    RoomAndData,
}

/// What a SCSI host says of the bytes that are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Residual {
    /// The truth
    Buffer,
    /// Nothing is missing of a command that failed
    NothingOfFailed,
    /// Where the CDB asks for more than there is room for, how much more
    Cdb,
    /// The room for data in that is left, whatever was written
    Room,
}

/// All that can be different.
#[derive(Clone, Copy, Debug)]
pub(super) struct Habits {
    /// Entries of every queue
    pub queue_size: u16,
    /// Features that are not offered
    pub withheld: u64,
    /// `seg_max`
    pub seg_max: u32,
    /// `max_sectors`, of a SCSI host
    pub max_sectors: u32,
    /// `cmd_per_lun`, of a SCSI host
    pub commands_per_lun: u32,
    /// `max_target`, of a SCSI host
    pub last_target: u16,
    /// `num_queues` of a SCSI host counts the control and the event queue as well
    pub counts_all_queues: bool,
    /// What used lengths say
    pub used: Used,
    /// Bytes of a block device's status that are written
    pub status_bytes: u8,
    /// A block device answers GET_ID
    pub identity: bool,
    /// What a SCSI host says of the bytes that are missing
    pub residual: Residual,
    /// Length of the sense data of a command that went well; `None`: the field is left as it was
    pub good_sense: Option<u32>,
    /// A command that comes with the tag of one that is there is refused
    pub remembers_tags: bool,
    /// Units are known by flat space addresses alone (SAM-5, 4.7.7.3)
    pub flat_luns_only: bool,
}

impl Habits {
    /// A device that does what the specification says.
    pub const NONE: Self = Habits {
        queue_size: QUEUE_SIZE,
        withheld: 0,
        seg_max: 62,
        max_sectors: 0xFFFF,
        commands_per_lun: 128,
        last_target: 3,
        counts_all_queues: false,
        used: Used::Written,
        status_bytes: 1,
        identity: true,
        residual: Residual::Buffer,
        good_sense: Some(0),
        remembers_tags: false,
        flat_luns_only: false,
    };
}

/// A manner for a person and for the command line.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// Its name on the command line.
    pub name: &'static str,
    /// The kind of device that has it.
    pub kind: Kind,
    /// Where it was seen: repository, file, and what stands there.
    pub source: &'static str,
    pub(super) habits: Habits,
}

const fn blk(name: &'static str, source: &'static str, habits: Habits) -> Manner {
    Manner { name, kind: Kind::Blk, source, habits }
}

const fn scsi(name: &'static str, source: &'static str, habits: Habits) -> Manner {
    Manner { name, kind: Kind::Scsi, source, habits }
}

/// All manners.
pub const MANNERS: &[Manner] = &[
    blk(
        "bhyve",
        "freebsd/freebsd-src usr.sbin/bhyve/pci_virtio_block.c: vq_relchain(vq, 1) for every request, a ring of 64, seg_max 32, no \
         FLUSH",
        Habits {
            queue_size: 64,
            withheld: feature::FLUSH | feature::EVENT_IDX,
            seg_max: 32,
            used: Used::Always(1),
            ..Habits::NONE
        },
    ),
    blk(
        "acrn",
        "projectacrn/acrn-hypervisor devicemodel/hw/pci/virtio/virtio_block.c: vq_relchain(.., 1), a ring of 64",
        Habits { queue_size: 64, used: Used::Always(1), ..Habits::NONE },
    ),
    blk(
        "openbsd-vmd",
        "openbsd/src usr.sbin/vmd/vioblk.c: the used length is that of the first descriptor, GET_ID and FLUSH are unsupported, no \
         indirect descriptors",
        Habits {
            withheld: feature::FLUSH | feature::INDIRECT | feature::EVENT_IDX,
            used: Used::First,
            identity: false,
            ..Habits::NONE
        },
    ),
    blk(
        "spdk",
        "spdk/spdk lib/vhost/vhost_blk.c: the used length is the data's in either direction, without the status, and 0 for a request \
         that failed; FLUSH is disabled",
        Habits { withheld: feature::FLUSH, used: Used::Data { failed: 0 }, ..Habits::NONE },
    ),
    blk(
        "kvmtool",
        "kvmtool/kvmtool virtio/blk.c: the used length is what the disk said, without the status, and -1 for a request that failed; \
         no BLK_SIZE",
        Habits { withheld: feature::BLK_SIZE, used: Used::Data { failed: u32::MAX }, ..Habits::NONE },
    ),
    blk(
        "cloud-hypervisor",
        "cloud-hypervisor/cloud-hypervisor virtio-devices/src/block.rs and block_util/src/lib.rs: the status is written as a u32; \
         neither SEG_MAX, BLK_SIZE nor indirect descriptors",
        Habits {
            withheld: feature::SEG_MAX | feature::BLK_SIZE | feature::INDIRECT,
            status_bytes: 4,
            ..Habits::NONE
        },
    ),
    blk(
        "firecracker",
        "firecracker-microvm/firecracker src/vmm/src/devices/virtio/block/virtio/request.rs: parse takes one data descriptor, and \
         SEG_MAX, BLK_SIZE and indirect descriptors are not offered; a ring of 256",
        Habits {
            queue_size: 256,
            withheld: feature::SEG_MAX | feature::BLK_SIZE | feature::INDIRECT,
            ..Habits::NONE
        },
    ),
    blk(
        "crosvm",
        "google/crosvm devices/src/virtio/block/asynchronous.rs: process_one_request says that all was written that may be, \
         whatever came of it; GET_ID is unsupported for a disk without an id",
        Habits { used: Used::Room, identity: false, ..Habits::NONE },
    ),
    blk(
        "vhost-user-export",
        "qemu/qemu block/export/vhost-user-blk-server.c: a used length without the data, a ring of 128, seg_max 126",
        Habits { queue_size: 128, seg_max: 126, used: Used::Always(1), ..Habits::NONE },
    ),
    scsi(
        "qemu",
        "qemu/qemu hw/scsi/virtio-scsi.c: virtio_scsi_command_complete names no residual with a status other than GOOD, \
         virtio_scsi_complete_req counts the whole response and the data in either direction",
        Habits { residual: Residual::NothingOfFailed, used: Used::RoomAndData, ..Habits::NONE },
    ),
    scsi(
        "vhost-scsi",
        "torvalds/linux drivers/vhost/scsi.c: vhost_add_used(.., 0) for every command, the residual is the target's; \
         drivers/target/target_core_transport.c, target_cmd_size_check: what the CDB asks for beyond the buffer",
        Habits {
            withheld: feature::CHANGE,
            seg_max: 126,
            residual: Residual::Cdb,
            used: Used::Always(0),
            ..Habits::NONE
        },
    ),
    scsi(
        "bhyve",
        "freebsd/freebsd-src usr.sbin/bhyve/pci_virtio_scsi.c: max_sectors 2, seg_max 64 and a ring of 64, cmd_per_lun 1, max_target \
         0, 32 bits of the tag, a sense length of 96 with a good status; sys/cam/ctl/ctl.c refuses a tag that it has already",
        Habits {
            queue_size: 64,
            withheld: feature::EVENT_IDX | feature::HOTPLUG | feature::CHANGE,
            seg_max: 64,
            max_sectors: 2,
            commands_per_lun: 1,
            last_target: 0,
            good_sense: Some(96),
            remembers_tags: true,
            ..Habits::NONE
        },
    ),
    scsi(
        "spdk",
        "spdk/spdk lib/vhost/vhost_scsi.c: the response is the driver's memory, of which the sense length is written for a failed \
         command only; the used length counts all buffers of a read, used or not",
        Habits { seg_max: 126, good_sense: None, used: Used::Room, ..Habits::NONE },
    ),
    scsi(
        "crosvm",
        "google/crosvm devices/src/virtio/scsi/device.rs: num_queues counts the control and the event queue too, max_target 255",
        Habits { counts_all_queues: true, last_target: 255, ..Habits::NONE },
    ),
    scsi(
        "vhost-device-scsi",
        "rust-vmm/vhost-device vhost-device-scsi/src/virtio.rs: VirtioScsiLun::parse takes flat space addressing alone; \
         src/vhu_scsi.rs: seg_max 126, max_target 255, the residual is the room for data in that is left, also of a write",
        Habits {
            seg_max: 126,
            last_target: 255,
            residual: Residual::Room,
            flat_luns_only: true,
            ..Habits::NONE
        },
    ),
    scsi(
        "limits-of-nothing",
        "torvalds/linux drivers/scsi/virtio_scsi.c: for a 0 it takes seg_max 1, cmd_per_lun 1, max_sectors FFFFh, so \
         there are devices that say so; with all of them at once, a device that remembers tags",
        Habits { seg_max: 0, max_sectors: 0, commands_per_lun: 0, remembers_tags: true, ..Habits::NONE },
    ),
    scsi(
        "queue-of-four",
        "qemu/qemu hw/scsi/virtio-scsi.c: the smallest power of two that the property virtqueue_size takes (above 2)",
        Habits { queue_size: 4, seg_max: 2, ..Habits::NONE },
    ),
];

/// The manner of a name that a device of this kind can have.
pub fn find_manner(name: &str, kind: Kind) -> Option<&'static Manner> {
    MANNERS.iter().find(|manner| manner.name == name && manner.kind == kind)
}

#[cfg(test)]
mod tests {
    use super::super::driver::{life, life_of};
    use super::super::{Device, Lie};
    use super::*;

    #[test]
    fn every_manner_differs_from_the_specifications_device_and_has_a_source() {
        for manner in MANNERS {
            let device = |manner| Device::new(manner, false, Lie::None);
            let lived = life_of(device(manner.kind).with_manner(Some(manner)));

            assert!(lived != life(manner.kind, Lie::None), "{} is no manner", manner.name);
            assert!(manner.source.contains('/') && manner.source.contains(": "), "{}", manner.source);
            assert_eq!(find_manner(manner.name, manner.kind).map(|found| found.source), Some(manner.source));
        }
    }
}
