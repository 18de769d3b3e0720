//! The values in an SRB: what is asked, of whom, how it ends.
//!
//! The real thing is a `STORAGE_REQUEST_BLOCK` (documented under "STORAGE_REQUEST_BLOCK structure (storport.h)"), in dump
//! mode also a `SCSI_REQUEST_BLOCK`; a [`Request`](crate::Request) is what a driver gets of it.

use bitflags::bitflags;

use crate::wmi;

/// What an SRB asks for (`SRB_FUNCTION_*`), as far as a miniport acts on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SrbFunction {
    /// Run the CDB.
    ExecuteScsi,
    /// Write the adapter's cache to the medium.
    Flush,
    /// The system goes down; the adapter's cache has to reach the medium.
    Shutdown,
    /// Reset one logical unit.
    ResetLogicalUnit,
    /// Reset one target.
    ResetDevice,
    /// Reset the bus.
    ResetBus,
    /// Abort another request, [`Request::aborted`](crate::Request::aborted). Sent only to an adapter that says it can
    /// ([`Configuration::aborts_commands`](crate::Configuration::aborts_commands)).
    AbortCommand,
    /// Plug and Play.
    Pnp(PnpAction),
    /// A power transition of the adapter or a unit.
    Power,
    /// A program's request to the driver of this adapter, in [`Request::parameters`](crate::Request::parameters): an
    /// [`IoControl`](crate::io_control::IoControl).
    IoControl,
    /// What will the driver be able to do when it writes a crash dump or the hibernation file to this unit? To be answered
    /// with [`Request::write_dump_pointers`](crate::Request::write_dump_pointers).
    DumpPointers,
    /// That unit will not be written to any more.
    FreeDumpPointers,
    /// Something of WMI, for the adapter: a [`Call`](wmi::Call), which [`Request::wmi`](crate::Request::wmi) gives. For a logical
    /// unit it is another function: none has anything to tell.
    Wmi(wmi::Operation),
    /// Any other function, with its number.
    Other(u32),
}

/// What a PnP SRB announces (`STOR_PNP_ACTION`), for the adapter unless it says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PnpAction {
    /// The adapter is about to lose its resources for a while.
    Stop,
    /// The adapter is being removed in an orderly way.
    Remove,
    /// The adapter is gone.
    SurpriseRemoval,
    /// One logical unit is being stopped or removed, or is gone.
    UnitGone,
    /// What can be done with the adapter? To be answered in [`Request::parameters`](crate::Request::parameters), with a
    /// [`DeviceCapabilities`](crate::DeviceCapabilities).
    QueryAdapterCapabilities,
    /// What can be done with the logical unit?
    QueryUnitCapabilities,
    /// Any other action, with its number.
    Other(u32),
}

/// Bus, target and logical unit (`STOR_ADDR_BTL8`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// Bus number.
    pub path: u8,
    /// Target on that bus.
    pub target: u8,
    /// Logical unit of that target.
    pub lun: u8,
}

/// How a unit is to queue a command, among others that it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queueing {
    /// The tagged-queuing message.
    pub attribute: TaskAttribute,
    /// How urgent it is.
    pub priority: Priority,
}

/// The tagged-queuing message of a command. There is none for ACA in an SRB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TaskAttribute {
    /// `SRB_SIMPLE_TAG_REQUEST`, and what a command has that comes without a message.
    #[default]
    Simple,
    /// `SRB_HEAD_OF_QUEUE_TAG_REQUEST`
    HeadOfQueue,
    /// `SRB_ORDERED_QUEUE_TAG_REQUEST`
    Ordered,
}

/// `StorIoPriority*` of a command, as far as it asks for something.
///
/// The lower ones are not told from a normal one: the lowest is 0, which is also what stands in an SRB that says nothing
/// (classpnp's do not), and in a SCSI_REQUEST_BLOCK, which has no such field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Priority {
    /// Very low, low, normal, or not said.
    #[default]
    Usual,
    /// `StorIoPriorityHigh`
    High,
    /// `StorIoPriorityCritical`
    Critical,
}

impl Queueing {
    /// `SRB_HEAD_OF_QUEUE_TAG_REQUEST`
    pub const HEAD_OF_QUEUE: u16 = 0x21;
    /// `SRB_ORDERED_QUEUE_TAG_REQUEST`
    pub const ORDERED: u16 = 0x22;
    /// `StorIoPriorityHigh`
    pub const HIGH: u16 = 3;
    /// `StorIoPriorityCritical`
    pub const CRITICAL: u16 = 4;

    /// Simple, and no more urgent than others.
    pub const USUAL: Self = Self { attribute: TaskAttribute::Simple, priority: Priority::Usual };

    /// From an SRB's fields. The message counts only with `SRB_FLAGS_QUEUE_ACTION_ENABLE`
    /// (ns-storport-_storage_request_block.md).
    #[inline]
    pub const fn new(enabled: bool, attribute: u16, priority: u16) -> Self {
        // What nearly all are.
        if attribute < Self::HEAD_OF_QUEUE && priority < Self::HIGH {
            return Self::USUAL;
        }
        Self::unusual(enabled, attribute, priority)
    }

    #[cold]
    const fn unusual(enabled: bool, attribute: u16, priority: u16) -> Self {
        let attribute = match attribute {
            Self::HEAD_OF_QUEUE if enabled => TaskAttribute::HeadOfQueue,
            Self::ORDERED if enabled => TaskAttribute::Ordered,
            _ => TaskAttribute::Simple,
        };
        let priority = match priority {
            Self::HIGH => Priority::High,
            Self::CRITICAL => Priority::Critical,
            _ => Priority::Usual,
        };
        Self { attribute, priority }
    }
}

/// What the driver can do in dump mode (`MINIPORT_DUMP_POINTERS`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DumpLimits {
    /// Largest transfer, in bytes.
    pub max_transfer_bytes: u32,
    /// Most segments of one transfer.
    pub max_segments: u32,
}

impl DumpLimits {
    /// `sizeof(MINIPORT_DUMP_POINTERS)`
    pub const BYTES: usize = 112;
    /// Where the structure's fields lie.
    pub(crate) const VERSION: usize = 0;
    pub(crate) const SIZE: usize = 2;
    pub(crate) const MINIPORT_PRIVATE_DUMP_DATA: usize = 64;
    pub(crate) const MAXIMUM_TRANSFER_LENGTH: usize = 80;
    pub(crate) const NUMBER_OF_PHYSICAL_BREAKS: usize = 84;
    /// `DUMP_MINIPORT_VERSION_1`
    pub(crate) const VERSION_1: u16 = 0x0100;

    /// Fills in what a driver says for itself in dump mode, and returns how much there is of it; `None` when `structure` is
    /// too short. What is not said here is as in normal operation, or as StorPort put it there.
    ///
    /// A structure that ends behind MiniportPrivateDumpData is enough for a physical miniport, as storahci's
    /// AhciHwStorBuildIo has it; it cannot be told the limits then, which are those of normal operation.
    pub fn fill(&self, structure: &mut [u8]) -> Option<u32> {
        const LEAST: usize = DumpLimits::MINIPORT_PRIVATE_DUMP_DATA + size_of::<u64>();
        if structure.len() < LEAST {
            return None;
        }
        let mut put = |at: usize, bytes: &[u8]| {
            if let Some(place) = structure.get_mut(at..at + bytes.len()) {
                place.copy_from_slice(bytes);
            }
        };
        put(Self::VERSION, &Self::VERSION_1.to_ne_bytes());
        put(Self::SIZE, &(Self::BYTES as u16).to_ne_bytes());
        put(Self::MAXIMUM_TRANSFER_LENGTH, &self.max_transfer_bytes.to_ne_bytes());
        // Entries of a scatter/gather list minus one, says this structure's page (ns-storport-_miniport_dump_pointers.md).
        put(Self::NUMBER_OF_PHYSICAL_BREAKS, &self.max_segments.saturating_sub(1).to_ne_bytes());
        Some(structure.len().min(Self::BYTES) as u32)
    }
}

/// Which way a request's data goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataDirection {
    /// No data.
    None,
    /// From the device to memory (`SRB_FLAGS_DATA_IN`).
    In,
    /// From memory to the device (`SRB_FLAGS_DATA_OUT`).
    Out,
}

impl DataDirection {
    /// Which way a command's data goes when its sender does not say (`SRB_FLAGS_UNSPECIFIED_DIRECTION`): what the command
    /// standards say of the operation code. A command that nobody has heard of returns data: then nothing that its sender
    /// keeps for itself goes to the device.
    #[cold]
    #[inline(never)]
    pub fn of_cdb(cdb: &[u8]) -> Self {
        /// Variable-length CDB, with a service action in bytes 8 and 9 (SPC-4, 4.2.3).
        const VARIABLE_LENGTH: u8 = 0x7f;
        /// ATA PASS-THROUGH(12) and (16), with T_DIR in bit 3 of byte 2 (SAT-3, 12.2.2).
        const ATA_PASS_THROUGH: [u8; 2] = [0x85, 0xa1];
        let byte = |at: usize| cdb.get(at).copied().unwrap_or(0);
        let out = match byte(0) {
            VARIABLE_LENGTH => SENDING_SERVICE_ACTIONS.contains(&u16::from_be_bytes([byte(8), byte(9)])),
            code if ATA_PASS_THROUGH.contains(&code) => byte(2) & 0x08 == 0,
            code => SENDING_COMMANDS.contains(&code),
        };
        if out { Self::Out } else { Self::In }
    }
}

/// Operation codes of commands whose data goes to the device: FORMAT UNIT, REASSIGN BLOCKS, WRITE(6), PRINT and SEND, MODE
/// SELECT(6), RESERVE(6), COPY, SEND DIAGNOSTIC, WRITE(10), WRITE AND VERIFY(10), VERIFY(10), WRITE BUFFER, WRITE LONG(10),
/// WRITE SAME(10), UNMAP, SANITIZE, LOG SELECT, SEND OPC INFORMATION, MODE SELECT(10), RESERVE(10), SEND CUE SHEET,
/// PERSISTENT RESERVE OUT, EXTENDED COPY, ACCESS CONTROL OUT, COMPARE AND WRITE, WRITE(16), ORWRITE, WRITE ATTRIBUTE, WRITE
/// AND VERIFY(16), VERIFY(16), WRITE SAME(16), WRITE ATOMIC(16), SERVICE ACTION OUT(16), MAINTENANCE OUT, SERVICE
/// ACTION OUT(12), WRITE(12), WRITE AND VERIFY(12), VERIFY(12), SECURITY PROTOCOL OUT, SET STREAMING, SEND DVD STRUCTURE
/// (SPC-4, annex E; SBC-3; SSC-4; MMC-6). A3h is MAINTENANCE IN here; MMC's SEND KEY shares the code.
#[rustfmt::skip]
const SENDING_COMMANDS: &[u8] = &[
    0x04, 0x07, 0x0a, 0x15, 0x16, 0x18, 0x1d, 0x2a, 0x2e, 0x2f, 0x3b, 0x3f, 0x41, 0x42, 0x48, 0x4c, 0x54, 0x55, 0x56, 0x5d,
    0x5f, 0x83, 0x87, 0x89, 0x8a, 0x8b, 0x8d, 0x8e, 0x8f, 0x93, 0x9c, 0x9f, 0xa4, 0xa9, 0xaa, 0xae, 0xaf, 0xb5, 0xb6, 0xbf,
];

/// Service actions of variable-length CDBs likewise: VERIFY(32), WRITE(32), WRITE AND VERIFY(32), WRITE SAME(32), WRITE
/// ATOMIC(32) (SBC-3, table 13; SBC-4).
const SENDING_SERVICE_ACTIONS: [u16; 5] = [0x000a, 0x000b, 0x000c, 0x000d, 0x000f];

bitflags! {
    /// Parts of an SRB that `SrbStatus` carries besides the code.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct StatusFlags: u8 {
        /// `SRB_STATUS_AUTOSENSE_VALID`
        const AUTOSENSE_VALID = 0x80;
    }
}

/// How a request ended (`SRB_STATUS_*`), without the flag bits.
///
/// Not an `enum`: the codes are the header's, and new ones may come. SRB_STATUS_INTERNAL_ERROR (30h) is not among them: it
/// is StorPort's, and says that the system status in the request counts (ns-srb-_storage_request_block.md). A class driver
/// believes that status, which may well be success (classpnp's ClassInterpretSenseInfo), and does not try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SrbStatus(pub u8);

impl SrbStatus {
    /// Not completed yet.
    pub const PENDING: Self = Self(0x00);
    /// Done without an error.
    pub const SUCCESS: Self = Self(0x01);
    /// Ended by an abort.
    pub const ABORTED: Self = Self(0x02);
    /// `SRB_STATUS_ABORT_FAILED`: of a request to abort another one, which was not found or has not ended.
    pub const ABORT_FAILED: Self = Self(0x03);
    /// Ended with an error; SCSI status and sense data say which.
    pub const ERROR: Self = Self(0x04);
    /// The request cannot be taken now.
    pub const BUSY: Self = Self(0x05);
    /// The adapter does not implement the request.
    pub const INVALID_REQUEST: Self = Self(0x06);
    /// There is no such device, or it is gone.
    pub const NO_DEVICE: Self = Self(0x08);
    /// Nothing answered at the target's address.
    pub const SELECTION_TIMEOUT: Self = Self(0x0a);
    /// A bus reset ended the request.
    pub const BUS_RESET: Self = Self(0x0e);
    /// Less (or more) data than asked for was moved; the length says how much.
    pub const DATA_OVERRUN: Self = Self(0x12);
    /// The logical unit does not exist.
    pub const INVALID_LUN: Self = Self(0x20);
    /// The target does not exist.
    pub const INVALID_TARGET_ID: Self = Self(0x21);
}

/// SCSI status of a command (SAM-5, 5.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScsiStatus(pub u8);

impl ScsiStatus {
    /// The command is done.
    pub const GOOD: Self = Self(0x00);
    /// Sense data says what went wrong.
    pub const CHECK_CONDITION: Self = Self(0x02);
    /// The command is done, and what it asked about holds.
    pub const CONDITION_MET: Self = Self(0x04);
    /// The unit is busy.
    pub const BUSY: Self = Self(0x08);
    /// A linked command is done (before SAM-4).
    pub const INTERMEDIATE: Self = Self(0x10);
    /// A linked command is done, and what it asked about holds (before SAM-4).
    pub const INTERMEDIATE_CONDITION_MET: Self = Self(0x14);
    /// The unit has no room for another command.
    pub const TASK_SET_FULL: Self = Self(0x28);
    /// Another initiator ended the command.
    pub const TASK_ABORTED: Self = Self(0x40);
}

/// How one request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a request that is not completed hangs its owner until the time-out"]
pub struct Completion {
    /// The code for `SrbStatus`.
    pub status: SrbStatus,
    /// What the logical unit answered.
    pub scsi_status: ScsiStatus,
    /// Bytes moved; never more than the request's data length.
    pub transferred: u32,
    /// The request's sense buffer holds sense data.
    pub autosense: bool,
}

impl Completion {
    /// Done, with this many bytes moved.
    pub const fn success(transferred: u32) -> Self {
        Self { status: SrbStatus::SUCCESS, scsi_status: ScsiStatus::GOOD, transferred, autosense: false }
    }

    /// Ended by the adapter with a status of its own: no data moved, no answer of a logical unit.
    pub const fn failed(status: SrbStatus) -> Self {
        Self { status, scsi_status: ScsiStatus::GOOD, transferred: 0, autosense: false }
    }

    /// CHECK CONDITION: no data moved; `autosense` says whether the sense buffer was filled.
    pub const fn check_condition(autosense: bool) -> Self {
        Self { status: SrbStatus::ERROR, scsi_status: ScsiStatus::CHECK_CONDITION, transferred: 0, autosense }
    }

    /// What the SRB's `DataTransferLength` field says in the end, when `asked` is what it said before.
    ///
    /// A request that comes back busy keeps its length: StorPort sends the same SRB again, and says that a miniport must
    /// not change the field (nc-storport-hw_startio.md). One of nothing would come back then.
    pub const fn data_transfer_length(&self, asked: u32) -> u32 {
        let again = self.status.0 == SrbStatus::BUSY.0;
        if again || self.transferred > asked { asked } else { self.transferred }
    }

    /// The byte for the SRB's `SrbStatus` field: code and flag bits.
    pub const fn srb_status_byte(&self) -> u8 {
        if self.autosense { self.status.0 | StatusFlags::AUTOSENSE_VALID.bits() } else { self.status.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_condition_with_sense_carries_the_autosense_bit() {
        let completion = Completion::check_condition(true);

        assert_eq!(completion.srb_status_byte(), 0x84);
        assert_eq!(completion.scsi_status.0, 0x02);
    }

    #[test]
    fn the_length_says_what_was_moved_except_of_a_request_that_storport_sends_again() {
        for (completion, expected) in [
            (Completion::success(512), 512),
            (Completion::success(8192), 4096),
            (Completion::failed(SrbStatus::ERROR), 0),
            (Completion::failed(SrbStatus::BUSY), 4096),
        ] {
            assert_eq!(completion.data_transfer_length(4096), expected, "{completion:?}");
        }
    }

    #[test]
    fn an_unspecified_direction_is_the_commands() {
        let write_32 = [0x7f, 0, 0, 0, 0, 0, 0, 0x18, 0x00, 0x0b];
        let read_32 = [0x7f, 0, 0, 0, 0, 0, 0, 0x18, 0x00, 0x09];
        let ata = |code: u8, from_device: bool| [code, 0, if from_device { 0x0e } else { 0x06 }];
        let out: [&[u8]; 9] = [
            &[0x2a],
            &[0x8a],
            &[0x2f],
            &[0x42],
            &[0x55],
            &[0x5f],
            &write_32,
            &ata(0x85, false),
            &ata(0xa1, false),
        ];
        let back: [&[u8]; 10] = [
            &[0x12],
            &[0x28],
            &[0x88],
            &[0x5a],
            &[0x5e],
            &[0xa3, 0x0c],
            &[0xc1],
            &read_32,
            &ata(0x85, true),
            &[],
        ];

        for cdb in out {
            assert_eq!(DataDirection::of_cdb(cdb), DataDirection::Out, "{cdb:02x?}");
        }
        for cdb in back {
            assert_eq!(DataDirection::of_cdb(cdb), DataDirection::In, "{cdb:02x?}");
        }
    }

    #[test]
    fn a_tagged_queuing_message_counts_only_when_it_is_enabled() {
        let attribute = |enabled, attribute| Queueing::new(enabled, attribute, 2).attribute;

        assert_eq!(attribute(true, 0x20), TaskAttribute::Simple);
        assert_eq!(attribute(true, 0x21), TaskAttribute::HeadOfQueue);
        assert_eq!(attribute(true, 0x22), TaskAttribute::Ordered);
        for message in [0, 0x20, 0x21, 0x22, 0xff] {
            assert_eq!(attribute(false, message), TaskAttribute::Simple);
        }
        assert_eq!(attribute(true, 0), TaskAttribute::Simple);
    }

    #[test]
    fn only_a_priority_above_the_normal_one_is_told() {
        let priorities = [0, 1, 2, 3, 4, 5, u16::MAX].map(|value| Queueing::new(true, 0x20, value).priority);

        use Priority::{Critical, High, Usual};
        assert_eq!(priorities, [Usual, Usual, Usual, High, Critical, Usual, Usual]);
    }

    #[test]
    fn a_success_carries_no_flag_bits() {
        assert_eq!(Completion::success(4096).srb_status_byte(), 0x01);
    }
}
