//! SRB → the logical unit it goes to. The CDB is the device's business.

use storport::{BuildIo, Completion, Srb, SrbStatus};
use virtio::spec::scsi::{Lun, config};

use crate::config::Hba;

/// What a request needs besides itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command {
    /// The logical unit it is for.
    pub lun: Lun,
}

pub(crate) fn build(hba: &Hba, srb: &mut impl Srb<adapter::Command<Command>>) -> BuildIo<Command> {
    let address = srb.address();
    if address.path != 0 || address.target >= hba.targets || address.lun >= hba.logical_units {
        return BuildIo::Complete(Completion::failed(SrbStatus::NO_DEVICE));
    }
    let longest = config::DEFAULT_CDB_SIZE as usize;
    if !(1..=longest).contains(&srb.cdb().len()) {
        return BuildIo::Complete(Completion::failed(SrbStatus::INVALID_REQUEST));
    }
    BuildIo::Start(Command { lun: Lun::new(address.target, u16::from(address.lun)) })
}
