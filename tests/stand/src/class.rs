//! What the class driver makes of a request that has ended: whether it comes again, when, and what the application is told.
//!
//! Windows' classpnp and disk do this between file systems and Storport, and a miniport is judged by it: a status that they
//! never send again is data lost, whatever the miniport meant. The sources are public (microsoft/Windows-driver-samples,
//! storage/class): `ClassInterpretSenseInfo` in classpnp's class.c, `InterpretTransferPacketError` and `RetryTransferPacket`
//! in retry.c, `TransferPktComplete` in xferpkt.c, `DiskFdoProcessError` in disk.c. Here are their facts for a disk whose
//! registry asks for nothing special.
//!
//! Not here: what applies to offloaded copies, to removable media with a mounted volume, and to the bus reset that
//! the disk driver asks for when a disk stays busy.

use crate::scsi::{Capacity, Sense, UNIT_ATTENTION};
use crate::wdk::codes::*;

/// Times a request is sent again: MAXIMUM_RETRIES of classpnp.h.
pub const RETRIES: u8 = 4;
/// How long classpnp waits for a unit that becomes ready: NOT_READY_RETRY_INTERVAL of classp.h.
const BECOMING_READY: u32 = 10;

/// An NTSTATUS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(pub u32);

impl Status {
    /// STATUS_SUCCESS.
    pub const SUCCESS: Self = Self(0);
    /// STATUS_RETRY.
    pub const RETRY: Self = Self(0xC000_022D);
    /// STATUS_INVALID_DEVICE_REQUEST.
    pub const INVALID_DEVICE_REQUEST: Self = Self(0xC000_0010);
    /// STATUS_NO_SUCH_DEVICE.
    pub const NO_SUCH_DEVICE: Self = Self(0xC000_000E);
    /// STATUS_NO_MEDIA_IN_DEVICE.
    pub const NO_MEDIA_IN_DEVICE: Self = Self(0xC000_0013);
    /// STATUS_NONEXISTENT_SECTOR.
    pub const NONEXISTENT_SECTOR: Self = Self(0xC000_0015);
    /// STATUS_ACCESS_DENIED.
    pub const ACCESS_DENIED: Self = Self(0xC000_0022);
    /// STATUS_DATA_OVERRUN.
    pub const DATA_OVERRUN: Self = Self(0xC000_003C);
    /// STATUS_DEVICE_DATA_ERROR.
    pub const DEVICE_DATA_ERROR: Self = Self(0xC000_009C);
    /// STATUS_DEVICE_NOT_CONNECTED.
    pub const DEVICE_NOT_CONNECTED: Self = Self(0xC000_009D);
    /// STATUS_MEDIA_WRITE_PROTECTED.
    pub const MEDIA_WRITE_PROTECTED: Self = Self(0xC000_00A2);
    /// STATUS_DEVICE_NOT_READY.
    pub const DEVICE_NOT_READY: Self = Self(0xC000_00A3);
    /// STATUS_IO_TIMEOUT.
    pub const IO_TIMEOUT: Self = Self(0xC000_00B5);
    /// STATUS_IO_DEVICE_ERROR.
    pub const IO_DEVICE_ERROR: Self = Self(0xC000_0185);
    /// STATUS_DEVICE_HARDWARE_ERROR.
    pub const DEVICE_HARDWARE_ERROR: Self = Self(0xC000_0483);
    /// STATUS_DEVICE_BUSY, which says that another has reserved the disk.
    pub const DEVICE_BUSY: Self = Self(0x8000_0011);
    /// STATUS_NO_DATA_DETECTED.
    pub const NO_DATA_DETECTED: Self = Self(0x8000_0022);

    /// NT_SUCCESS.
    pub fn is_success(self) -> bool {
        self.0 >> 31 == 0
    }
}

/// How a request came back.
#[derive(Clone, Copy, Debug)]
pub struct Ending<'a> {
    /// Its CDB.
    pub cdb: &'a [u8],
    /// SRB status with its flag bits.
    pub srb_status: u8,
    /// SCSI status.
    pub scsi_status: u8,
    /// SystemStatus (InternalStatus in the old block).
    pub system_status: u32,
    /// What the sense data says, if there is any.
    pub sense: Option<Sense>,
    /// What the unit last said of its size.
    pub capacity: Option<Capacity>,
}

/// What comes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What the application is told, unless the request comes again.
    pub status: Status,
    /// Seconds after which it comes again; `None` is never.
    pub again: Option<u32>,
}

const fn last(status: Status) -> Verdict {
    Verdict { status, again: None }
}

const fn again(status: Status, seconds: u32) -> Verdict {
    Verdict { status, again: Some(seconds) }
}

/// Reads an ending, without counting.
pub fn interpret(ending: &Ending) -> Verdict {
    let status = ending.srb_status & 0x3F;
    if status == SRB_STATUS_SUCCESS {
        return last(Status::SUCCESS);
    }
    if status == SRB_STATUS_INTERNAL_ERROR {
        // Whatever the port driver's status is, be it success.
        return last(Status(ending.system_status));
    }
    if ending.scsi_status == SCSISTAT_RESERVATION_CONFLICT {
        return last(Status::DEVICE_BUSY);
    }
    match ending.sense.filter(|_| ending.srb_status & SRB_STATUS_AUTOSENSE_VALID != 0) {
        Some(sense) => with_sense(ending, sense),
        None => without_sense(ending, status),
    }
}

/// Sense data overrules the SRB status.
fn with_sense(ending: &Ending, sense: Sense) -> Verdict {
    match (sense.key, sense.asc, sense.ascq) {
        (1, ..) => last(Status::SUCCESS),
        (2, 0x04, 0x01 | 0x07) => again(Status::DEVICE_NOT_READY, BECOMING_READY),
        (2, 0x04, 0x14) => again(Status::RETRY, BECOMING_READY),
        (2, 0x04, 0x03) | (2, 0x3A, _) => last(Status::NO_MEDIA_IN_DEVICE),
        (2, 0x04, 0x00 | 0x04 | 0x08) => last(Status::DEVICE_NOT_READY),
        (2, ..) => again(Status::DEVICE_NOT_READY, 0),
        (3, ..) => last(Status::DEVICE_DATA_ERROR),
        // A check sum on the way to the disk; anything else is the hardware.
        (4, 0x08, 0x03) => again(Status::DEVICE_HARDWARE_ERROR, 1),
        (4, ..) => last(Status::DEVICE_HARDWARE_ERROR),
        // The disk says that there is no such block, and said before that there is.
        (5, 0x21, _) if is_within(ending) => again(Status::NONEXISTENT_SECTOR, 5),
        (5, 0x21, _) => last(Status::NONEXISTENT_SECTOR),
        (5, 0x25, _) => last(Status::NO_SUCH_DEVICE),
        (5, ..) => last(Status::INVALID_DEVICE_REQUEST),
        (UNIT_ATTENTION, 0x2A, 0x09) | (UNIT_ATTENTION, 0x3F, 0x01) => again(Status::IO_DEVICE_ERROR, 1),
        (UNIT_ATTENTION, 0x3F, _) => again(Status::IO_DEVICE_ERROR, 5),
        (UNIT_ATTENTION, 0x38, ascq) if ascq != 0x07 => last(Status::IO_DEVICE_ERROR),
        (7, 0x27, _) => last(Status::IO_DEVICE_ERROR),
        (7, ..) if is_write(ending.cdb) => last(Status::MEDIA_WRITE_PROTECTED),
        (7, ..) => last(Status::ACCESS_DENIED),
        (8, ..) => last(Status::NO_DATA_DETECTED),
        (0xB, ..) => again(Status::IO_DEVICE_ERROR, 1),
        _ => again(Status::IO_DEVICE_ERROR, 0),
    }
}

fn without_sense(ending: &Ending, status: u8) -> Verdict {
    match status {
        SRB_STATUS_ABORTED | SRB_STATUS_TIMEOUT | SRB_STATUS_COMMAND_TIMEOUT => again(Status::IO_TIMEOUT, 1),
        SRB_STATUS_ERROR if ending.scsi_status == SCSISTAT_BUSY => again(Status::DEVICE_NOT_READY, 0),
        SRB_STATUS_ERROR if ending.scsi_status == 0 => again(Status::IO_DEVICE_ERROR, 1),
        SRB_STATUS_PARITY_ERROR | SRB_STATUS_UNEXPECTED_BUS_FREE => again(Status::IO_DEVICE_ERROR, 1),
        SRB_STATUS_INVALID_REQUEST => last(Status::INVALID_DEVICE_REQUEST),
        SRB_STATUS_NO_DEVICE
        | SRB_STATUS_NO_HBA
        | SRB_STATUS_INVALID_PATH_ID
        | SRB_STATUS_INVALID_TARGET_ID
        | SRB_STATUS_INVALID_LUN => last(Status::NO_SUCH_DEVICE),
        SRB_STATUS_SELECTION_TIMEOUT => last(Status::DEVICE_NOT_CONNECTED),
        // classpnp ends it, the disk driver sends reads and writes again.
        SRB_STATUS_DATA_OVERRUN if crate::scsi::is_read_write(ending.cdb) => again(Status::DATA_OVERRUN, 0),
        // Less than asked for.
        SRB_STATUS_DATA_OVERRUN if matches!(ending.cdb[0], 0x12 | 0x1A | 0x5A) => last(Status::SUCCESS),
        SRB_STATUS_DATA_OVERRUN => last(Status::DATA_OVERRUN),
        // BUS_RESET, REQUEST_FLUSHED, and what nobody has thought of.
        _ => again(Status::IO_DEVICE_ERROR, 0),
    }
}

fn is_write(cdb: &[u8]) -> bool {
    matches!(cdb[0], 0x0A | 0x2A | 0xAA | 0x8A)
}

/// Whether a read or write lies within what the unit said of its size.
fn is_within(ending: &Ending) -> bool {
    let Some(capacity) = ending.capacity else { return false };
    let c = ending.cdb;
    let (lba, blocks) = match c[0] {
        0x28 | 0x2A => (u32_at(c, 2).into(), u16::from_be_bytes([c[7], c[8]]).into()),
        0x88 | 0x8A => (u64::from(u32_at(c, 2)) << 32 | u64::from(u32_at(c, 6)), u32_at(c, 10).into()),
        _ => return false,
    };
    lba.checked_add(blocks).is_some_and(|end: u64| end <= capacity.blocks)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// What a packet does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It has ended with that status.
    Ended(Status),
    /// It is sent again after so many seconds.
    Again(u32),
}

/// A request of the class driver, with what it has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    retries: u8,
    /// It goes out untagged, without disconnecting: the last retry, since some disks work then.
    pub plain: bool,
}

impl Default for Packet {
    fn default() -> Self {
        Packet::new(RETRIES)
    }
}

impl Packet {
    /// A request that may be sent again so often: [`RETRIES`] at most, as no class driver does it more often.
    pub fn new(retries: u8) -> Self {
        Packet { retries: retries.min(RETRIES), plain: false }
    }

    /// The request came back.
    pub fn ended(&mut self, ending: &Ending) -> Next {
        let verdict = interpret(ending);
        match verdict.again {
            Some(seconds) if self.retries > 0 => {
                self.retries -= 1;
                self.plain = self.retries == 0;
                Next::Again(seconds)
            }
            _ => Next::Ended(verdict.status),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scsi;

    const READ: [u8; 10] = [0x28, 0, 0, 0, 0, 8, 0, 0, 8, 0];

    fn ending(srb_status: u8) -> Ending<'static> {
        Ending { cdb: &READ, srb_status, scsi_status: 0, system_status: 0, sense: None, capacity: None }
    }

    fn sense(key: u8, asc: u8, ascq: u8) -> Ending<'static> {
        Ending {
            scsi_status: 2,
            sense: Some(Sense { key, asc, ascq }),
            ..ending(SRB_STATUS_ERROR | SRB_STATUS_AUTOSENSE_VALID)
        }
    }

    #[test]
    fn what_says_that_nobody_is_there_is_never_sent_again() {
        for status in [0x07, 0x08, 0x0A, 0x11, 0x20, 0x21] {
            let verdict = interpret(&ending(status));

            assert_eq!(verdict.again, None, "{status:#x}");
            assert!(!verdict.status.is_success());
        }
        assert_eq!(interpret(&ending(SRB_STATUS_NO_DEVICE)).status, Status::NO_SUCH_DEVICE);
        assert_eq!(interpret(&ending(SRB_STATUS_SELECTION_TIMEOUT)).status, Status::DEVICE_NOT_CONNECTED);
    }

    #[test]
    fn a_reset_is_sent_again_at_once_and_a_lost_request_after_a_second() {
        assert_eq!(interpret(&ending(SRB_STATUS_BUS_RESET)), again(Status::IO_DEVICE_ERROR, 0));
        assert_eq!(interpret(&ending(SRB_STATUS_BUSY)), again(Status::IO_DEVICE_ERROR, 0));
        for status in [SRB_STATUS_ABORTED, SRB_STATUS_TIMEOUT, SRB_STATUS_COMMAND_TIMEOUT] {
            assert_eq!(interpret(&ending(status)), again(Status::IO_TIMEOUT, 1), "{status:#x}");
        }
    }

    #[test]
    fn an_internal_error_is_the_system_status_even_when_that_is_success() {
        let quiet = ending(SRB_STATUS_INTERNAL_ERROR);
        let told = Ending { system_status: 0xC000_009A, ..quiet };

        assert_eq!(interpret(&quiet), last(Status::SUCCESS));
        assert_eq!(interpret(&told), last(Status(0xC000_009A)));
    }

    #[test]
    fn a_full_or_busy_unit_is_asked_again_and_a_reserved_one_is_not() {
        let with = |scsi_status| interpret(&Ending { scsi_status, ..ending(SRB_STATUS_ERROR) });

        assert_eq!(with(SCSISTAT_QUEUE_FULL), again(Status::IO_DEVICE_ERROR, 0));
        assert_eq!(with(SCSISTAT_BUSY), again(Status::DEVICE_NOT_READY, 0));
        assert_eq!(with(SCSISTAT_RESERVATION_CONFLICT), last(Status::DEVICE_BUSY));
    }

    #[test]
    fn sense_data_decides_whether_an_error_is_final() {
        let table = [
            ((0, 0, 0), Some(0)),
            ((1, 0, 0), None),
            ((2, 0x04, 0x01), Some(10)),
            ((2, 0x04, 0x02), Some(0)),
            ((2, 0x04, 0x03), None),
            ((2, 0x3A, 0x00), None),
            ((3, 0x11, 0x00), None),
            ((4, 0x44, 0x00), None),
            ((4, 0x08, 0x03), Some(1)),
            ((5, 0x20, 0x00), None),
            ((5, 0x24, 0x00), None),
            ((6, 0x29, 0x00), Some(0)),
            ((6, 0x2A, 0x09), Some(1)),
            ((6, 0x3F, 0x0E), Some(5)),
            ((6, 0x38, 0x07), Some(0)),
            ((6, 0x38, 0x00), None),
            ((7, 0x27, 0x00), None),
            ((8, 0x00, 0x00), None),
            ((0xB, 0x00, 0x00), Some(1)),
            ((0xE, 0x1D, 0x00), Some(0)),
        ];
        for ((key, asc, ascq), expected) in table {
            assert_eq!(interpret(&sense(key, asc, ascq)).again, expected, "{key:x}/{asc:02x}/{ascq:02x}");
        }
        assert_eq!(interpret(&sense(1, 0, 0)).status, Status::SUCCESS);
        assert_eq!(interpret(&sense(3, 0x11, 0)).status, Status::DEVICE_DATA_ERROR);
    }

    #[test]
    fn sense_without_its_flag_is_no_sense() {
        let unsaid = Ending { srb_status: SRB_STATUS_BUS_RESET, ..sense(5, 0x20, 0) };

        assert_eq!(interpret(&unsaid), again(Status::IO_DEVICE_ERROR, 0));
    }

    #[test]
    fn a_block_that_is_said_to_be_missing_is_asked_for_again_when_it_should_be_there() {
        let sized = |blocks| Ending {
            capacity: Some(Capacity { blocks, block_size: 512, ..Capacity::default() }),
            ..sense(5, 0x21, 0)
        };

        // The read ends with block 15.
        assert_eq!(interpret(&sized(16)), again(Status::NONEXISTENT_SECTOR, 5));
        assert_eq!(interpret(&sized(15)), last(Status::NONEXISTENT_SECTOR));
        let far = scsi::transfer(false, u64::MAX, 2, true);
        let wrapped = Ending { cdb: &far.cdb, ..sized(16) };
        assert_eq!(interpret(&wrapped), last(Status::NONEXISTENT_SECTOR));
    }

    #[test]
    fn less_data_is_success_for_an_inquiry_and_another_try_for_a_read() {
        let short = ending(SRB_STATUS_DATA_OVERRUN);
        let inquiry = Ending { cdb: &[0x12, 0, 0, 0, 36, 0], ..short };
        let capacity = Ending { cdb: &[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], ..short };

        assert_eq!(interpret(&short), again(Status::DATA_OVERRUN, 0));
        assert_eq!(interpret(&inquiry), last(Status::SUCCESS));
        assert_eq!(interpret(&capacity), last(Status::DATA_OVERRUN));
    }

    #[test]
    fn a_packet_is_sent_five_times_and_untagged_the_last_time() {
        let mut packet = Packet::default();
        for left in (0..RETRIES).rev() {
            assert!(!packet.plain);
            assert_eq!(packet.ended(&ending(SRB_STATUS_BUS_RESET)), Next::Again(0));
            assert_eq!(packet.plain, left == 0);
        }

        assert_eq!(packet.ended(&ending(SRB_STATUS_BUS_RESET)), Next::Ended(Status::IO_DEVICE_ERROR));
    }

    #[test]
    fn no_packet_has_more_tries_than_windows_gives() {
        assert_eq!(Packet::new(40), Packet::default());
        assert_eq!(Packet::new(0).ended(&ending(SRB_STATUS_TIMEOUT)), Next::Ended(Status::IO_TIMEOUT));
        assert_eq!(Packet::default().ended(&ending(SRB_STATUS_SUCCESS)), Next::Ended(Status::SUCCESS));
    }
}
