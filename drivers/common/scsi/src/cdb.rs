//! Command descriptor blocks: bytes in, a checked [`Command`] or the refusing [`Sense`] out.

use bitflags::bitflags;

use crate::sense::Sense;

/// OPERATION CODE: the first byte of a CDB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperationCode(pub u8);

impl OperationCode {
    /// SPC-4, 6.33
    pub const TEST_UNIT_READY: Self = Self(0x00);
    /// SPC-4, 6.39
    pub const REQUEST_SENSE: Self = Self(0x03);
    /// SPC-4, 6.6
    pub const INQUIRY: Self = Self(0x12);
    /// SPC-4, 6.13
    pub const MODE_SENSE_6: Self = Self(0x1a);
    /// SPC-4, 6.42
    pub const SEND_DIAGNOSTIC: Self = Self(0x1d);
    /// SBC-3, 5.15
    pub const READ_CAPACITY_10: Self = Self(0x25);
    /// SBC-3, 5.11
    pub const READ_10: Self = Self(0x28);
    /// SBC-3, 5.32
    pub const WRITE_10: Self = Self(0x2a);
    /// SBC-3, 5.26
    pub const SYNCHRONIZE_CACHE_10: Self = Self(0x35);
    /// SPC-4, 6.14
    pub const MODE_SENSE_10: Self = Self(0x5a);
    /// SBC-3, 5.13
    pub const READ_16: Self = Self(0x88);
    /// SBC-3, 5.34
    pub const WRITE_16: Self = Self(0x8a);
    /// SBC-3, 5.27
    pub const SYNCHRONIZE_CACHE_16: Self = Self(0x91);
    /// Carries a service action in the low five bits of byte 1.
    pub const SERVICE_ACTION_IN_16: Self = Self(0x9e);
    /// SPC-4, 6.33
    pub const REPORT_LUNS: Self = Self(0xa0);

    /// Length of the CDB that starts with this operation code (SPC-4, table 27); `None` for a variable or
    /// vendor-specific one.
    pub const fn cdb_length(self) -> Option<usize> {
        match self.0 >> 5 {
            0 => Some(6),
            1 | 2 => Some(10),
            4 => Some(16),
            5 => Some(12),
            _ => None,
        }
    }
}

/// Normal ACA, in CONTROL.
const NACA: u8 = 0x04;

/// Service action of READ CAPACITY(16) (SBC-3, 5.16).
const READ_CAPACITY_16: u8 = 0x10;

/// A logical block address. Counted in logical blocks, whose size is the disk's; a virtio-blk sector is another unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lba(pub u64);

/// A run of logical blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockRange {
    /// First block.
    pub start: Lba,
    /// Number of blocks; what 0 means depends on the command.
    pub blocks: u32,
}

bitflags! {
    /// What byte 1 of READ and WRITE (10), (12) and (16) asks for (SBC-3, 5.11).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct TransferFlags: u8 {
        /// FUA: the data must be on the medium, not in a volatile cache.
        const FORCE_UNIT_ACCESS = 0x08;
        /// DPO: the data need not stay in the cache.
        const DISABLE_PAGE_OUT = 0x10;
        /// The protection field RDPROTECT/WRPROTECT, which needs protection information.
        const PROTECT = 0xe0;
    }
}

/// Which values MODE SENSE asks for (SPC-4, table 144).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageControl {
    /// The values in force.
    Current,
    /// A mask of what MODE SELECT may change.
    Changeable,
    /// The values after a power-on.
    Default,
    /// The values kept over a power-off.
    Saved,
}

/// What MODE SENSE asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModeSense {
    /// The ten-byte form, with the longer header.
    pub ten: bool,
    /// DBD: leave the block descriptors out.
    pub disable_block_descriptors: bool,
    /// Which values.
    pub control: PageControl,
    /// PAGE CODE; 0x3f asks for all.
    pub page: u8,
    /// SUBPAGE CODE
    pub subpage: u8,
    /// ALLOCATION LENGTH
    pub allocation_length: u16,
}

/// What INQUIRY asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inquiry {
    /// The vital product data page, or standard data.
    pub page: Option<u8>,
    /// ALLOCATION LENGTH
    pub allocation_length: u16,
}

/// A command a disk understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// TEST UNIT READY
    TestUnitReady,
    /// REQUEST SENSE
    RequestSense {
        /// DESC: the descriptor format.
        descriptor: bool,
        /// ALLOCATION LENGTH
        allocation_length: u8,
    },
    /// SEND DIAGNOSTIC that asks for the default self-test, the only one every device has.
    SelfTest,
    /// INQUIRY
    Inquiry(Inquiry),
    /// MODE SENSE(6) and (10)
    ModeSense(ModeSense),
    /// READ CAPACITY(10)
    ReadCapacity10,
    /// READ CAPACITY(16)
    ReadCapacity16 {
        /// ALLOCATION LENGTH
        allocation_length: u32,
    },
    /// REPORT LUNS
    ReportLuns {
        /// SELECT REPORT
        select: u8,
        /// ALLOCATION LENGTH
        allocation_length: u32,
    },
    /// READ(10) and (16); zero blocks read nothing.
    Read(BlockRange, TransferFlags),
    /// WRITE(10) and (16); zero blocks write nothing.
    Write(BlockRange, TransferFlags),
    /// SYNCHRONIZE CACHE(10) and (16); zero blocks mean all to the end.
    SynchronizeCache(BlockRange),
}

impl Command {
    /// Decodes a CDB.
    ///
    /// # Errors
    /// The sense data to refuse it with: an unknown operation code, or a field that is not supported.
    pub fn decode(cdb: &[u8]) -> Result<Self, Sense> {
        let operation = OperationCode(*cdb.first().ok_or(Sense::INVALID_OPERATION_CODE)?);
        let length = operation.cdb_length().ok_or(Sense::INVALID_OPERATION_CODE)?;
        let cdb = cdb.get(..length).ok_or(Sense::INVALID_FIELD_IN_CDB)?;
        let command = match operation {
            OperationCode::TEST_UNIT_READY => Ok(Self::TestUnitReady),
            OperationCode::REQUEST_SENSE => {
                Ok(Self::RequestSense { descriptor: cdb[1] & 1 != 0, allocation_length: cdb[4] })
            }
            OperationCode::SEND_DIAGNOSTIC => send_diagnostic(cdb),
            OperationCode::INQUIRY => inquiry(cdb),
            OperationCode::MODE_SENSE_6 => Ok(Self::ModeSense(mode_sense(cdb, false, u16::from(cdb[4])))),
            OperationCode::MODE_SENSE_10 => Ok(Self::ModeSense(mode_sense(cdb, true, be16(cdb, 7)))),
            OperationCode::READ_CAPACITY_10 => Ok(Self::ReadCapacity10),
            OperationCode::SERVICE_ACTION_IN_16 => match cdb[1] & 0x1f {
                READ_CAPACITY_16 => Ok(Self::ReadCapacity16 { allocation_length: be32(cdb, 10) }),
                _ => Err(Sense::INVALID_FIELD_IN_CDB),
            },
            OperationCode::REPORT_LUNS => {
                Ok(Self::ReportLuns { select: cdb[2], allocation_length: be32(cdb, 6) })
            }
            OperationCode::READ_10 => Ok(Self::Read(range10(cdb), transfer_flags(cdb)?)),
            OperationCode::READ_16 => Ok(Self::Read(range16(cdb), transfer_flags(cdb)?)),
            OperationCode::WRITE_10 => Ok(Self::Write(range10(cdb), transfer_flags(cdb)?)),
            OperationCode::WRITE_16 => Ok(Self::Write(range16(cdb), transfer_flags(cdb)?)),
            OperationCode::SYNCHRONIZE_CACHE_10 => Ok(Self::SynchronizeCache(range10(cdb))),
            OperationCode::SYNCHRONIZE_CACHE_16 => Ok(Self::SynchronizeCache(range16(cdb))),
            _ => Err(Sense::INVALID_OPERATION_CODE),
        }?;
        // CONTROL is the last byte. Standard INQUIRY data says NORMACA 0, so NACA 1 is refused (SAM-5, 5.2).
        if cdb[length - 1] & NACA == 0 { Ok(command) } else { Err(Sense::INVALID_FIELD_IN_CDB) }
    }
}

/// Only the default self-test (SELFTEST 1) without parameters; the others and diagnostic pages are optional.
fn send_diagnostic(cdb: &[u8]) -> Result<Command, Sense> {
    let parameters = be16(cdb, 3);
    // SELF-TEST CODE, PF and SELFTEST; what a test may do to the medium or to units beside it is of no concern.
    match (cdb[1] & 0xf4, parameters) {
        (0x04, 0) => Ok(Command::SelfTest),
        _ => Err(Sense::INVALID_FIELD_IN_CDB),
    }
}

fn inquiry(cdb: &[u8]) -> Result<Command, Sense> {
    let vital_product_data = cdb[1] & 0x01 != 0;
    // A page code without EVPD is refused (SPC-4, 6.6.1), not answered with standard data.
    if !vital_product_data && cdb[2] != 0 {
        return Err(Sense::INVALID_FIELD_IN_CDB);
    }
    Ok(Command::Inquiry(Inquiry {
        page: vital_product_data.then_some(cdb[2]),
        allocation_length: be16(cdb, 3),
    }))
}

fn mode_sense(cdb: &[u8], ten: bool, allocation_length: u16) -> ModeSense {
    ModeSense {
        ten,
        disable_block_descriptors: cdb[1] & 0x08 != 0,
        control: match cdb[2] >> 6 {
            0 => PageControl::Current,
            1 => PageControl::Changeable,
            2 => PageControl::Default,
            _ => PageControl::Saved,
        },
        page: cdb[2] & 0x3f,
        subpage: cdb[3],
        allocation_length,
    }
}

/// Protection information is never supported here, so its field must be zero (SBC-3, 5.11).
fn transfer_flags(cdb: &[u8]) -> Result<TransferFlags, Sense> {
    let flags = TransferFlags::from_bits_truncate(cdb[1]);
    if flags.intersects(TransferFlags::PROTECT) { Err(Sense::INVALID_FIELD_IN_CDB) } else { Ok(flags) }
}

fn range10(cdb: &[u8]) -> BlockRange {
    BlockRange { start: Lba(u64::from(be32(cdb, 2))), blocks: u32::from(be16(cdb, 7)) }
}

fn range16(cdb: &[u8]) -> BlockRange {
    BlockRange { start: Lba(be64(cdb, 2)), blocks: be32(cdb, 10) }
}

fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from(be16(bytes, at)) << 16 | u32::from(be16(bytes, at + 2))
}

fn be64(bytes: &[u8], at: usize) -> u64 {
    u64::from(be32(bytes, at)) << 32 | u64::from(be32(bytes, at + 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_10_decodes_address_length_and_fua() {
        let command = Command::decode(&[0x28, 0x08, 0x01, 0x02, 0x03, 0x04, 0, 0x10, 0x20, 0]);

        let range = BlockRange { start: Lba(0x0102_0304), blocks: 0x1020 };
        assert_eq!(command, Ok(Command::Read(range, TransferFlags::FORCE_UNIT_ACCESS)));
    }

    #[test]
    fn write_16_decodes_a_64_bit_address() {
        let command =
            Command::decode(&[0x8a, 0, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0, 1, 2, 3, 0, 0]);

        let range = BlockRange { start: Lba(0x0102_0304_0506_0708), blocks: 0x0001_0203 };
        assert_eq!(command, Ok(Command::Write(range, TransferFlags::empty())));
    }

    #[test]
    fn protection_information_is_refused() {
        let command = Command::decode(&[0x28, 0x20, 0, 0, 0, 0, 0, 0, 1, 0]);

        assert_eq!(command, Err(Sense::INVALID_FIELD_IN_CDB));
    }

    #[test]
    fn a_cdb_shorter_than_its_operation_code_says_is_refused() {
        for cdb in [&[0x28, 0, 0, 0, 0, 0, 0, 0, 1][..], &[0x12, 0, 0], &[0x9e, 0x10]] {
            assert_eq!(Command::decode(cdb), Err(Sense::INVALID_FIELD_IN_CDB));
        }
    }

    #[test]
    fn no_cdb_at_all_and_unknown_operation_codes_are_refused() {
        assert_eq!(Command::decode(&[]), Err(Sense::INVALID_OPERATION_CODE));
        assert_eq!(Command::decode(&[0x04, 0, 0, 0, 0, 0]), Err(Sense::INVALID_OPERATION_CODE));
        assert_eq!(Command::decode(&[0xff; 16]), Err(Sense::INVALID_OPERATION_CODE));
    }

    #[test]
    fn a_page_code_without_evpd_is_refused() {
        assert_eq!(Command::decode(&[0x12, 0, 0x80, 0, 36, 0]), Err(Sense::INVALID_FIELD_IN_CDB));
    }

    #[test]
    fn other_service_actions_than_read_capacity_16_are_refused() {
        // Service action 0x12 is GET LBA STATUS.
        let mut cdb = [0; 16];
        cdb[0] = 0x9e;
        cdb[1] = 0x12;

        assert_eq!(Command::decode(&cdb), Err(Sense::INVALID_FIELD_IN_CDB));
    }

    #[test]
    fn naca_is_refused_by_every_command_and_unknown_codes_stay_unknown() {
        assert_eq!(Command::decode(&[0, 0, 0, 0, 0, 0x04]), Err(Sense::INVALID_FIELD_IN_CDB));
        assert_eq!(Command::decode(&[0x28, 0, 0, 0, 0, 0, 0, 0, 1, 4]), Err(Sense::INVALID_FIELD_IN_CDB));
        assert_eq!(Command::decode(&[0x04, 0, 0, 0, 0, 0x04]), Err(Sense::INVALID_OPERATION_CODE));
    }

    #[test]
    fn only_the_default_self_test_is_decoded() {
        assert_eq!(Command::decode(&[0x1d, 0x04, 0, 0, 0, 0]), Ok(Command::SelfTest));
        for cdb in [[0x1d, 0, 0, 0, 0, 0], [0x1d, 0x24, 0, 0, 0, 0], [0x1d, 0x04, 0, 0, 8, 0]] {
            assert_eq!(Command::decode(&cdb), Err(Sense::INVALID_FIELD_IN_CDB));
        }
    }

    #[test]
    fn request_sense_decodes_format_and_length() {
        let command = Command::decode(&[0x03, 0x01, 0, 0, 252, 0]);

        assert_eq!(command, Ok(Command::RequestSense { descriptor: true, allocation_length: 252 }));
    }

    #[test]
    fn mode_sense_6_decodes_control_page_and_length() {
        let command = Command::decode(&[0x1a, 0x08, 0x48, 0x00, 0xc0, 0]);

        let expected = ModeSense {
            ten: false,
            disable_block_descriptors: true,
            control: PageControl::Changeable,
            page: 8,
            subpage: 0,
            allocation_length: 0xc0,
        };
        assert_eq!(command, Ok(Command::ModeSense(expected)));
    }
}
