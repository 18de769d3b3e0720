//! The fields of each CDB. Every function gets a CDB of the whole length that its operation code has.

use super::{
    BlockRange, ByteCheck, Command, Inquiry, Lba, ModeSense, OperationCode, PageControl, ReportedCommands,
    SanitizeAction, TransferFlags, service_action,
};
use crate::sense::Sense;

/// A 21-bit address, and a length of which 0 means 256 (SBC-2, 5.5).
pub(super) fn range6(cdb: &[u8]) -> BlockRange {
    let start = u64::from(cdb[1] & 0x1f) << 16 | u64::from(be16(cdb, 2));
    BlockRange { start: Lba(start), blocks: if cdb[4] == 0 { 256 } else { u32::from(cdb[4]) } }
}

pub(super) fn range10(cdb: &[u8]) -> BlockRange {
    BlockRange { start: Lba(u64::from(be32(cdb, 2))), blocks: u32::from(be16(cdb, 7)) }
}

pub(super) fn range12(cdb: &[u8]) -> BlockRange {
    BlockRange { start: Lba(u64::from(be32(cdb, 2))), blocks: be32(cdb, 6) }
}

pub(super) fn range16(cdb: &[u8]) -> BlockRange {
    BlockRange { start: Lba(be64(cdb, 2)), blocks: be32(cdb, 10) }
}

/// RDPROTECT, WRPROTECT or VRPROTECT: protection information is never supported here, so it must be zero (SBC-3, tables
/// 42, 70 and 77).
fn no_protection(cdb: &[u8]) -> Result<(), Sense> {
    if cdb[1] & TransferFlags::PROTECT.bits() == 0 { Ok(()) } else { Err(Sense::invalid_cdb_bit(1, 7)) }
}

pub(super) fn transfer_flags(cdb: &[u8]) -> Result<TransferFlags, Sense> {
    no_protection(cdb)?;
    Ok(TransferFlags::from_bits_truncate(cdb[1]))
}

fn byte_check(cdb: &[u8]) -> Result<ByteCheck, Sense> {
    no_protection(cdb)?;
    match cdb[1] >> 1 & 0x03 {
        0 => Ok(ByteCheck::None),
        1 => Ok(ByteCheck::Compare),
        3 => Ok(ByteCheck::CompareOneBlock),
        _ => Err(Sense::invalid_cdb_bit(1, 2)),
    }
}

pub(super) fn verify(cdb: &[u8], range: BlockRange) -> Result<Command, Sense> {
    Ok(Command::Verify(range, byte_check(cdb)?))
}

pub(super) fn write_and_verify(cdb: &[u8], range: BlockRange) -> Result<Command, Sense> {
    match byte_check(cdb)? {
        ByteCheck::CompareOneBlock => Err(Sense::invalid_cdb_bit(1, 2)),
        check => Ok(Command::WriteAndVerify(range, check)),
    }
}

/// SYNC_NV, which is content with a non-volatile cache, is met by going all the way to the medium.
pub(super) fn synchronize_cache(cdb: &[u8], range: BlockRange) -> Command {
    Command::SynchronizeCache { range, immediate: cdb[1] & 0x02 != 0 }
}

pub(super) fn unmap(cdb: &[u8]) -> Command {
    Command::Unmap { anchor: cdb[1] & 0x01 != 0, parameter_length: be16(cdb, 7) }
}

/// PBDATA and LBDATA, which ask for data that differs from block to block, are obsolete since SBC-3; writing the same
/// everywhere would be something else than what they ask for. In (10), bit 0 is the obsolete RELADR.
pub(super) fn write_same(cdb: &[u8], range: BlockRange, sixteen: bool) -> Result<Command, Sense> {
    no_protection(cdb)?;
    match cdb[1] & 0x06 {
        0 => Ok(()),
        0x02 => Err(Sense::invalid_cdb_bit(1, 1)),
        _ => Err(Sense::invalid_cdb_bit(1, 2)),
    }?;
    if !sixteen && cdb[1] & 0x01 != 0 {
        return Err(Sense::invalid_cdb_bit(1, 0));
    }
    let (unmap, anchor) = (cdb[1] & 0x08 != 0, cdb[1] & 0x10 != 0);
    // What is written has its room anyway; ANCHOR without UNMAP is an error everywhere (SBC-3, WRITE SAME (10)).
    if anchor && !unmap {
        return Err(Sense::invalid_cdb_bit(1, 4));
    }
    Ok(Command::WriteSame { range, unmap, anchor, no_data_out: cdb[1] & 0x01 != 0 })
}

pub(super) fn sanitize(cdb: &[u8]) -> Result<Command, Sense> {
    let action = match cdb[1] & 0x1f {
        0x01 => SanitizeAction::Overwrite,
        0x02 => SanitizeAction::BlockErase,
        0x03 => SanitizeAction::CryptographicErase,
        0x1f => SanitizeAction::ExitFailureMode,
        _ => return Err(Sense::invalid_cdb_bit(1, 4)),
    };
    let parameter_length = be16(cdb, 7);
    if parameter_length != 0 && action != SanitizeAction::Overwrite {
        return Err(Sense::invalid_cdb_byte(7));
    }
    Ok(Command::Sanitize {
        action,
        immediate: cdb[1] & 0x80 != 0,
        allow_unrestricted_exit: cdb[1] & 0x20 != 0,
        parameter_length,
    })
}

/// Only the default self-test (SELFTEST 1) without parameters; the others and diagnostic pages are optional.
pub(super) fn send_diagnostic(cdb: &[u8]) -> Result<Command, Sense> {
    // SELF-TEST CODE, PF and SELFTEST; what a test may do to the medium or to units beside it is of no concern.
    match (cdb[1] & 0xf4, be16(cdb, 3)) {
        (0x04, 0) => Ok(Command::SelfTest),
        (0x04, _) => Err(Sense::invalid_cdb_byte(3)),
        _ => Err(Sense::invalid_cdb_byte(1)),
    }
}

pub(super) fn inquiry(cdb: &[u8]) -> Result<Command, Sense> {
    let vital_product_data = cdb[1] & 0x01 != 0;
    // A page code without EVPD is refused (SPC-4, 6.6.1), not answered with standard data.
    if !vital_product_data && cdb[2] != 0 {
        return Err(Sense::invalid_cdb_byte(2));
    }
    Ok(Command::Inquiry(Inquiry {
        page: vital_product_data.then_some(cdb[2]),
        allocation_length: be16(cdb, 3),
    }))
}

pub(super) fn mode_sense(cdb: &[u8], ten: bool) -> Command {
    Command::ModeSense(ModeSense {
        ten,
        disable_block_descriptors: cdb[1] & 0x08 != 0,
        long_block_addresses: ten && cdb[1] & 0x10 != 0,
        control: match cdb[2] >> 6 {
            0 => PageControl::Current,
            1 => PageControl::Changeable,
            2 => PageControl::Default,
            _ => PageControl::Saved,
        },
        page: cdb[2] & 0x3f,
        subpage: cdb[3],
        allocation_length: if ten { be16(cdb, 7) } else { u16::from(cdb[4]) },
    })
}

/// RTD (SPC-5: revert to the defaults) is refused: taken for an empty list it would succeed and do nothing.
pub(super) fn mode_select(cdb: &[u8], ten: bool) -> Result<Command, Sense> {
    if cdb[1] & 0x02 != 0 {
        return Err(Sense::invalid_cdb_bit(1, 1));
    }
    Ok(Command::ModeSelect {
        ten,
        page_format: cdb[1] & 0x10 != 0,
        save_pages: cdb[1] & 0x01 != 0,
        parameter_length: if ten { be16(cdb, 7) } else { u16::from(cdb[4]) },
    })
}

pub(super) fn start_stop_unit(cdb: &[u8]) -> Command {
    Command::StartStopUnit {
        immediate: cdb[1] & 0x01 != 0,
        power_condition: cdb[4] >> 4,
        load_eject: cdb[4] & 0x02 != 0,
        start: cdb[4] & 0x01 != 0,
        no_flush: cdb[4] & 0x04 != 0,
    }
}

pub(super) fn log_sense(cdb: &[u8]) -> Command {
    Command::LogSense {
        save: cdb[1] & 0x01 != 0,
        control: cdb[2] >> 6,
        page: cdb[2] & 0x3f,
        subpage: cdb[3],
        pointer: be16(cdb, 5),
        allocation_length: be16(cdb, 7),
    }
}

/// SBC-2 5.10: an address without PMI is an error. With PMI it asks for the last block that is reached without
/// substantial delay, which on a virtual disk is the last one for every address. Both are obsolete since SBC-3.
pub(super) fn read_capacity_10(cdb: &[u8]) -> Result<Command, Sense> {
    if cdb[8] & 0x01 == 0 && be32(cdb, 2) != 0 {
        return Err(Sense::invalid_cdb_byte(2));
    }
    Ok(Command::ReadCapacity10)
}

pub(super) fn service_action_in_16(cdb: &[u8]) -> Result<Command, Sense> {
    match cdb[1] & 0x1f {
        // PMI and the address: as in READ CAPACITY(10).
        service_action::READ_CAPACITY_16 if cdb[14] & 0x01 == 0 && be64(cdb, 2) != 0 => {
            Err(Sense::invalid_cdb_byte(2))
        }
        service_action::READ_CAPACITY_16 => Ok(Command::ReadCapacity16 { allocation_length: be32(cdb, 10) }),
        _ => Err(Sense::invalid_cdb_bit(1, 4)),
    }
}

pub(super) fn report_luns(cdb: &[u8]) -> Command {
    Command::ReportLuns { select: cdb[2], allocation_length: be32(cdb, 6) }
}

pub(super) fn maintenance_in(cdb: &[u8]) -> Result<Command, Sense> {
    if cdb[1] & 0x1f != service_action::REPORT_SUPPORTED_OPERATION_CODES {
        return Err(Sense::invalid_cdb_bit(1, 4));
    }
    let code = OperationCode(cdb[3]);
    let action = be16(cdb, 4);
    let commands = match cdb[2] & 0x07 {
        0 => ReportedCommands::All,
        1 => ReportedCommands::Code(code),
        2 => ReportedCommands::Action(code, action),
        3 => ReportedCommands::CodeOrAction(code, action),
        _ => return Err(Sense::invalid_cdb_bit(2, 2)),
    };
    Ok(Command::ReportSupportedOperationCodes {
        commands,
        timeouts: cdb[2] & 0x80 != 0,
        allocation_length: be32(cdb, 6),
    })
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
