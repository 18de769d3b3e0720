//! Command descriptor blocks: bytes in, a checked [`Command`] or the refusing [`Sense`] out.
//!
//! What is checked: every field that SPC-4 and SBC-3 define. Reserved bits are ignored, as SPC-4 3.3.11 allows, since
//! later standards give them a meaning and initiators send them.

mod decode;

use bitflags::bitflags;

use crate::sense::Sense;

/// OPERATION CODE: the first byte of a CDB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperationCode(pub u8);

impl OperationCode {
    /// SPC-4, 6.47
    pub const TEST_UNIT_READY: Self = Self(0x00);
    /// SPC-4, 6.39
    pub const REQUEST_SENSE: Self = Self(0x03);
    /// SBC-2, 5.5; obsolete since SBC-3
    pub const READ_6: Self = Self(0x08);
    /// SBC-2, 5.24; obsolete since SBC-3
    pub const WRITE_6: Self = Self(0x0a);
    /// SPC-4, 6.6
    pub const INQUIRY: Self = Self(0x12);
    /// SPC-4, 6.11
    pub const MODE_SELECT_6: Self = Self(0x15);
    /// SPC-4, 6.13
    pub const MODE_SENSE_6: Self = Self(0x1a);
    /// SBC-3, START STOP UNIT
    pub const START_STOP_UNIT: Self = Self(0x1b);
    /// SPC-4, 6.42
    pub const SEND_DIAGNOSTIC: Self = Self(0x1d);
    /// SBC-3, PREVENT ALLOW MEDIUM REMOVAL
    pub const PREVENT_ALLOW_MEDIUM_REMOVAL: Self = Self(0x1e);
    /// SBC-3, 5.15
    pub const READ_CAPACITY_10: Self = Self(0x25);
    /// SBC-3, 5.11
    pub const READ_10: Self = Self(0x28);
    /// SBC-3, 5.32
    pub const WRITE_10: Self = Self(0x2a);
    /// SBC-3, WRITE AND VERIFY (10)
    pub const WRITE_AND_VERIFY_10: Self = Self(0x2e);
    /// SBC-3, VERIFY (10)
    pub const VERIFY_10: Self = Self(0x2f);
    /// SBC-3, 5.26
    pub const SYNCHRONIZE_CACHE_10: Self = Self(0x35);
    /// SBC-3, WRITE SAME (10)
    pub const WRITE_SAME_10: Self = Self(0x41);
    /// SBC-3, UNMAP
    pub const UNMAP: Self = Self(0x42);
    /// SBC-3, SANITIZE
    pub const SANITIZE: Self = Self(0x48);
    /// SPC-4, 6.8
    pub const LOG_SENSE: Self = Self(0x4d);
    /// SPC-4, 6.12
    pub const MODE_SELECT_10: Self = Self(0x55);
    /// SPC-4, 6.14
    pub const MODE_SENSE_10: Self = Self(0x5a);
    /// SBC-3, 5.13
    pub const READ_16: Self = Self(0x88);
    /// SBC-3, 5.34
    pub const WRITE_16: Self = Self(0x8a);
    /// SBC-3, WRITE AND VERIFY (16)
    pub const WRITE_AND_VERIFY_16: Self = Self(0x8e);
    /// SBC-3, VERIFY (16)
    pub const VERIFY_16: Self = Self(0x8f);
    /// SBC-3, 5.27
    pub const SYNCHRONIZE_CACHE_16: Self = Self(0x91);
    /// SBC-3, WRITE SAME (16)
    pub const WRITE_SAME_16: Self = Self(0x93);
    /// Carries a service action in the low five bits of byte 1.
    pub const SERVICE_ACTION_IN_16: Self = Self(0x9e);
    /// SPC-4, 6.33
    pub const REPORT_LUNS: Self = Self(0xa0);
    /// Carries a service action in the low five bits of byte 1.
    pub const MAINTENANCE_IN: Self = Self(0xa3);
    /// SBC-3, READ (12)
    pub const READ_12: Self = Self(0xa8);
    /// SBC-3, WRITE (12)
    pub const WRITE_12: Self = Self(0xaa);
    /// SBC-3, WRITE AND VERIFY (12)
    pub const WRITE_AND_VERIFY_12: Self = Self(0xae);
    /// SBC-3, VERIFY (12)
    pub const VERIFY_12: Self = Self(0xaf);

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

/// Service actions, with the operation code they belong to.
pub mod service_action {
    /// READ CAPACITY(16) of SERVICE ACTION IN(16) (SBC-3, 5.16)
    pub const READ_CAPACITY_16: u8 = 0x10;
    /// REPORT SUPPORTED OPERATION CODES of MAINTENANCE IN (SPC-4, 6.35)
    pub const REPORT_SUPPORTED_OPERATION_CODES: u8 = 0x0c;
}

/// Normal ACA, in CONTROL.
pub const NACA: u8 = 0x04;

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
    /// LLBAA: block descriptors may have the long form; only (10) has it.
    pub long_block_addresses: bool,
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

/// What VERIFY and WRITE AND VERIFY compare (SBC-3, VERIFY: BYTCHK).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteCheck {
    /// 00b: nothing. The blocks only have to be readable.
    None,
    /// 01b: every block with the one that was sent for it.
    Compare,
    /// 11b: every block with the only one that was sent.
    CompareOneBlock,
}

/// What SANITIZE does (SBC-3, SANITIZE: SERVICE ACTION).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SanitizeAction {
    /// Overwrite with a pattern.
    Overwrite,
    /// Erase the blocks of the medium.
    BlockErase,
    /// Forget the key.
    CryptographicErase,
    /// Leave the state that a failed sanitize operation left.
    ExitFailureMode,
}

/// Which commands REPORT SUPPORTED OPERATION CODES is asked about (SPC-4, 6.35: REPORTING OPTIONS).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportedCommands {
    /// 000b: every one.
    All,
    /// 001b: the one with this operation code, which has no service actions.
    Code(OperationCode),
    /// 010b: the one with this operation code and service action.
    Action(OperationCode, u16),
    /// 011b: the one with this operation code, and this service action if the code has any.
    CodeOrAction(OperationCode, u16),
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
    /// MODE SELECT(6) and (10)
    ModeSelect {
        /// The ten-byte form, with the longer header.
        ten: bool,
        /// PF: the list has mode pages as SPC-4 defines them.
        page_format: bool,
        /// SP: save the pages.
        save_pages: bool,
        /// PARAMETER LIST LENGTH
        parameter_length: u16,
    },
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
    /// START STOP UNIT
    StartStopUnit {
        /// IMMED: end before it is done.
        immediate: bool,
        /// POWER CONDITION; 0 is START and LOEJ's turn.
        power_condition: u8,
        /// LOEJ: load or eject the medium.
        load_eject: bool,
        /// START
        start: bool,
        /// NO_FLUSH: stop without writing the cache to the medium.
        no_flush: bool,
    },
    /// PREVENT ALLOW MEDIUM REMOVAL
    PreventAllow {
        /// PREVENT
        prevent: u8,
    },
    /// LOG SENSE
    LogSense {
        /// SP: save the parameters.
        save: bool,
        /// PC: which values.
        control: u8,
        /// PAGE CODE
        page: u8,
        /// SUBPAGE CODE
        subpage: u8,
        /// PARAMETER POINTER: the first parameter wanted.
        pointer: u16,
        /// ALLOCATION LENGTH
        allocation_length: u16,
    },
    /// REPORT SUPPORTED OPERATION CODES
    ReportSupportedOperationCodes {
        /// Which.
        commands: ReportedCommands,
        /// RCTD: with a command timeouts descriptor for each.
        timeouts: bool,
        /// ALLOCATION LENGTH
        allocation_length: u32,
    },
    /// READ(6), (10), (12) and (16); zero blocks read nothing.
    Read(BlockRange, TransferFlags),
    /// WRITE(6), (10), (12) and (16); zero blocks write nothing.
    Write(BlockRange, TransferFlags),
    /// WRITE AND VERIFY(10), (12) and (16); zero blocks write nothing. Never [`ByteCheck::CompareOneBlock`].
    WriteAndVerify(BlockRange, ByteCheck),
    /// VERIFY(10), (12) and (16); zero blocks verify nothing.
    Verify(BlockRange, ByteCheck),
    /// SYNCHRONIZE CACHE(10) and (16)
    SynchronizeCache {
        /// What has to be durable; zero blocks mean all to the end.
        range: BlockRange,
        /// IMMED: end before it is done.
        immediate: bool,
    },
    /// UNMAP, whose ranges come as data: see [`unmap`](crate::unmap).
    Unmap {
        /// ANCHOR: keep the room.
        anchor: bool,
        /// PARAMETER LIST LENGTH
        parameter_length: u16,
    },
    /// WRITE SAME(10) and (16)
    WriteSame {
        /// What to write; zero blocks mean all to the end, or are refused with [`Sense::INVALID_FIELD_IN_CDB`] where the
        /// Block Limits page says so (WSNZ).
        range: BlockRange,
        /// UNMAP: the blocks may be unmapped instead, where they read as the data afterwards.
        unmap: bool,
        /// ANCHOR: keep the room of blocks that are unmapped.
        anchor: bool,
        /// NDOB: no block is sent; write zeroes. Only (16) has it.
        no_data_out: bool,
    },
    /// SANITIZE
    Sanitize {
        /// How.
        action: SanitizeAction,
        /// IMMED: end before it is done.
        immediate: bool,
        /// AUSE: a failure may be left without a successful sanitize operation.
        allow_unrestricted_exit: bool,
        /// PARAMETER LIST LENGTH; 0 but for [`SanitizeAction::Overwrite`].
        parameter_length: u16,
    },
}

/// READ or WRITE (10) or (16) without anything that could be wrong: what nearly every CDB is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// The blocks; zero of them move nothing.
    pub range: BlockRange,
    /// FUA and DPO.
    pub flags: TransferFlags,
    /// They are written.
    pub write: bool,
}

impl Transfer {
    /// Decodes a CDB in a few instructions; `None` when [`Command::decode`] has to look at it.
    #[inline]
    pub fn decode(cdb: &[u8]) -> Option<Self> {
        let code = OperationCode(*cdb.first()?);
        let (range, control) = match code {
            OperationCode::READ_10 | OperationCode::WRITE_10 => {
                let [_, _, a, b, c, d, _, e, f, control] = *cdb.first_chunk()?;
                let start = u64::from(u32::from_be_bytes([a, b, c, d]));
                (BlockRange { start: Lba(start), blocks: u32::from(u16::from_be_bytes([e, f])) }, control)
            }
            OperationCode::READ_16 | OperationCode::WRITE_16 => {
                let [_, _, a, b, c, d, e, f, g, h, i, j, k, l, _, control] = *cdb.first_chunk()?;
                let start = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
                (BlockRange { start: Lba(start), blocks: u32::from_be_bytes([i, j, k, l]) }, control)
            }
            _ => return None,
        };
        let flags = TransferFlags::from_bits_truncate(cdb[1]);
        if flags.intersects(TransferFlags::PROTECT) || control & NACA != 0 {
            return None;
        }
        Some(Self { range, flags, write: matches!(code, OperationCode::WRITE_10 | OperationCode::WRITE_16) })
    }
}

impl Command {
    /// Decodes a CDB.
    ///
    /// # Errors
    /// The sense data to refuse it with: an unknown operation code, or a field that is not supported.
    pub fn decode(cdb: &[u8]) -> Result<Self, Sense> {
        use decode as d;
        let operation = OperationCode(*cdb.first().ok_or(Sense::INVALID_OPERATION_CODE)?);
        let length = operation.cdb_length().ok_or(Sense::INVALID_OPERATION_CODE)?;
        let Some(cdb) = cdb.get(..length) else {
            // Without its last byte there is no command, known or not.
            return Err(Sense::INVALID_FIELD_IN_CDB);
        };
        let command = match operation {
            OperationCode::READ_6 => Ok(Self::Read(d::range6(cdb), TransferFlags::empty())),
            OperationCode::READ_10 => Ok(Self::Read(d::range10(cdb), d::transfer_flags(cdb)?)),
            OperationCode::READ_12 => Ok(Self::Read(d::range12(cdb), d::transfer_flags(cdb)?)),
            OperationCode::READ_16 => Ok(Self::Read(d::range16(cdb), d::transfer_flags(cdb)?)),
            OperationCode::WRITE_6 => Ok(Self::Write(d::range6(cdb), TransferFlags::empty())),
            OperationCode::WRITE_10 => Ok(Self::Write(d::range10(cdb), d::transfer_flags(cdb)?)),
            OperationCode::WRITE_12 => Ok(Self::Write(d::range12(cdb), d::transfer_flags(cdb)?)),
            OperationCode::WRITE_16 => Ok(Self::Write(d::range16(cdb), d::transfer_flags(cdb)?)),
            OperationCode::WRITE_AND_VERIFY_10 => d::write_and_verify(cdb, d::range10(cdb)),
            OperationCode::WRITE_AND_VERIFY_12 => d::write_and_verify(cdb, d::range12(cdb)),
            OperationCode::WRITE_AND_VERIFY_16 => d::write_and_verify(cdb, d::range16(cdb)),
            OperationCode::VERIFY_10 => d::verify(cdb, d::range10(cdb)),
            OperationCode::VERIFY_12 => d::verify(cdb, d::range12(cdb)),
            OperationCode::VERIFY_16 => d::verify(cdb, d::range16(cdb)),
            OperationCode::SYNCHRONIZE_CACHE_10 => Ok(d::synchronize_cache(cdb, d::range10(cdb))),
            OperationCode::SYNCHRONIZE_CACHE_16 => Ok(d::synchronize_cache(cdb, d::range16(cdb))),
            OperationCode::UNMAP => Ok(d::unmap(cdb)),
            OperationCode::WRITE_SAME_10 => d::write_same(cdb, d::range10(cdb), false),
            OperationCode::WRITE_SAME_16 => d::write_same(cdb, d::range16(cdb), true),
            OperationCode::SANITIZE => d::sanitize(cdb),
            OperationCode::TEST_UNIT_READY => Ok(Self::TestUnitReady),
            OperationCode::REQUEST_SENSE => {
                Ok(Self::RequestSense { descriptor: cdb[1] & 1 != 0, allocation_length: cdb[4] })
            }
            OperationCode::SEND_DIAGNOSTIC => d::send_diagnostic(cdb),
            OperationCode::INQUIRY => d::inquiry(cdb),
            OperationCode::MODE_SENSE_6 => Ok(d::mode_sense(cdb, false)),
            OperationCode::MODE_SENSE_10 => Ok(d::mode_sense(cdb, true)),
            OperationCode::MODE_SELECT_6 => d::mode_select(cdb, false),
            OperationCode::MODE_SELECT_10 => d::mode_select(cdb, true),
            OperationCode::START_STOP_UNIT => Ok(d::start_stop_unit(cdb)),
            OperationCode::PREVENT_ALLOW_MEDIUM_REMOVAL => Ok(Self::PreventAllow { prevent: cdb[4] & 0x03 }),
            OperationCode::LOG_SENSE => Ok(d::log_sense(cdb)),
            OperationCode::READ_CAPACITY_10 => d::read_capacity_10(cdb),
            OperationCode::SERVICE_ACTION_IN_16 => d::service_action_in_16(cdb),
            OperationCode::REPORT_LUNS => Ok(d::report_luns(cdb)),
            OperationCode::MAINTENANCE_IN => d::maintenance_in(cdb),
            _ => Err(Sense::INVALID_OPERATION_CODE),
        }?;
        // CONTROL is the last byte. Standard INQUIRY data says NORMACA 0, so NACA 1 is refused (SAM-5, 5.2).
        if cdb[length - 1] & NACA == 0 {
            Ok(command)
        } else {
            Err(Sense::invalid_cdb_bit(length as u16 - 1, 2))
        }
    }
}

#[cfg(test)]
mod tests;
