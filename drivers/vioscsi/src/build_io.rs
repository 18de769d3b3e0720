//! SRB → the logical unit it goes to. The CDB is the device's business.

use storport::srb::{Priority, Queueing, TaskAttribute};
use storport::{BuildIo, Completion, SrbStatus};
use virtio::spec::scsi::{self, CmdRequest, Lun, config};

use crate::Request;
use crate::config::Hba;
use crate::steps::{self, Way};

/// What a request needs besides itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command {
    /// The logical unit it is for.
    pub lun: Lun,
    /// How that one is to queue it.
    pub queueing: Queueing,
    /// How its data gets to the device.
    pub way: Way,
    /// Blocks done, of [`Way::Blocks`].
    pub done: u32,
}

impl Command {
    /// What the device reads of it, but for the tag. An SRB has no command reference number.
    #[inline]
    pub(crate) fn header(&self, cdb: &[u8]) -> CmdRequest {
        let mut header = CmdRequest::new(self.lun, cdb);
        if self.queueing != Queueing::USUAL {
            self.say_queueing(&mut header, cdb);
        }
        header
    }

    #[cold]
    #[inline(never)]
    fn say_queueing(&self, header: &mut CmdRequest, cdb: &[u8]) {
        header.task_attribute = task_attribute(self.queueing.attribute, cdb).0;
        header.priority = priority(self.queueing.priority);
    }
}

/// A command that goes to the head of the queue by itself had better not ask for its turn (virtio 1.3, 5.6.6.1).
fn task_attribute(attribute: TaskAttribute, cdb: &[u8]) -> scsi::TaskAttribute {
    /// REQUEST SENSE, INQUIRY, REPORT LUNS (SPC-4).
    const HEAD_OF_QUEUE: [u8; 3] = [0x03, 0x12, 0xa0];
    match attribute {
        TaskAttribute::Ordered if !cdb.first().is_some_and(|code| HEAD_OF_QUEUE.contains(code)) => {
            scsi::TaskAttribute::ORDERED
        }
        TaskAttribute::HeadOfQueue => scsi::TaskAttribute::HEAD,
        TaskAttribute::Simple | TaskAttribute::Ordered => scsi::TaskAttribute::SIMPLE,
    }
}

/// SAM's command priority, of which 1 is the highest and 0 none (SAM-5, 8.7).
const fn priority(priority: Priority) -> u8 {
    match priority {
        Priority::Usual => 0,
        Priority::High => 4,
        Priority::Critical => 1,
    }
}

pub(crate) fn build_io(hba: &Hba, srb: &mut Request) -> BuildIo {
    let address = srb.address();
    if address.path != 0 || address.target >= hba.targets || address.lun >= hba.logical_units {
        return BuildIo::Complete(Completion::failed(SrbStatus::NO_DEVICE));
    }
    let longest = config::DEFAULT_CDB_SIZE as usize;
    if !(1..=longest).contains(&srb.cdb().len()) {
        return BuildIo::Complete(Completion::failed(SrbStatus::INVALID_REQUEST));
    }
    let lun = Lun::new(address.target, u16::from(address.lun));
    let command = Command { lun, queueing: srb.queueing(), way: steps::way(hba, srb), done: 0 };
    srb.set_command(adapter::Command::new(command));
    BuildIo::Start
}
