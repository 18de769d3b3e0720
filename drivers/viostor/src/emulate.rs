//! What is not a matter of blocks: what the disk is, how large, how it caches. Most of it is answered without the device.

use scsi::Sense;
use scsi::capacity::{Arrangement, Capacity10, Capacity16};
use scsi::cdb::{Command as Scsi, Inquiry};
use scsi::inquiry;
use scsi::log;
use scsi::operation_codes;
use scsi::parameter_data::ParameterData;
use scsi::report_luns::{self, select};
use storport::{BuildIo, Completion, DataDirection, SrbStatus};
use zerocopy::IntoBytes;

use crate::Request;
use crate::build_io::{Command, has_medium, start};
use crate::config::Disk;
use crate::modes::{self, WriteCache};
use crate::product_data;

/// Not a part of reads and writes: what it needs of the stack is not theirs to pay for.
#[inline(never)]
pub(crate) fn build(disk: &Disk, srb: &mut Request, command: Scsi) -> Result<BuildIo, Sense> {
    match command {
        Scsi::Inquiry(
            request @ Inquiry {
                page: Some(inquiry::page::UNIT_SERIAL_NUMBER | inquiry::page::DEVICE_IDENTIFICATION),
                ..
            },
        ) => Ok(start(srb, Command::Identify(request))),
        Scsi::LogSense { page, allocation_length, .. } => {
            check_log(disk, command)?;
            match page {
                log::page::SOLID_STATE_MEDIA => Ok(start(srb, Command::Lifetime { allocation_length })),
                _ => answer(disk, command, srb.data()),
            }
        }
        Scsi::StartStopUnit { power_condition, load_eject, start, no_flush, .. } => {
            let flush = start_stop(power_condition, load_eject, start, no_flush)?;
            Ok(if flush { make_durable(disk, srb) } else { BuildIo::Complete(Completion::success(0)) })
        }
        Scsi::ModeSelect { ten, page_format, save_pages, parameter_length } => {
            modes::check_select(page_format, save_pages, parameter_length)?;
            mode_select(disk, srb, ten, parameter_length)
        }
        _ => answer(disk, command, srb.data()),
    }
}

/// REQUEST SENSE, with what there is to tell. That is told then.
pub(crate) fn request_sense(
    descriptor: bool,
    allocation_length: u8,
    sense: Sense,
    buffer: &mut [u8],
) -> BuildIo {
    let mut data = ParameterData::new(buffer, allocation_length.into());
    match descriptor {
        true => data.push(&sense.descriptor()),
        false => data.push(sense.fixed().as_bytes()),
    };
    BuildIo::Complete(Completion::success(data.transferred()))
}

/// Everything that was written has to be durable before the request ends.
pub(crate) fn make_durable(disk: &Disk, srb: &mut Request) -> BuildIo {
    match disk.flushes {
        // virtio-blk flushes the whole disk.
        true => start(srb, Command::Flush),
        false => BuildIo::Complete(Completion::success(0)),
    }
}

/// Whether the driver writes the answer to a command into the request's buffer.
pub(crate) fn returns_data(command: Scsi) -> bool {
    matches!(
        command,
        Scsi::Inquiry(_)
            | Scsi::LogSense { .. }
            | Scsi::ModeSense(_)
            | Scsi::ReadCapacity10
            | Scsi::ReadCapacity16 { .. }
            | Scsi::ReportLuns { .. }
            | Scsi::ReportSupportedOperationCodes { .. }
            | Scsi::RequestSense { .. }
    )
}

fn answer(disk: &Disk, command: Scsi, buffer: &mut [u8]) -> Result<BuildIo, Sense> {
    let mut data = ParameterData::new(buffer, allocation_length(command));
    write(disk, command, &mut data)?;
    Ok(BuildIo::Complete(Completion::success(data.transferred())))
}

fn allocation_length(command: Scsi) -> u32 {
    match command {
        Scsi::RequestSense { allocation_length, .. } => u32::from(allocation_length),
        Scsi::Inquiry(request) => u32::from(request.allocation_length),
        Scsi::ModeSense(request) => u32::from(request.allocation_length),
        Scsi::LogSense { allocation_length, .. } => u32::from(allocation_length),
        Scsi::ReadCapacity16 { allocation_length }
        | Scsi::ReportLuns { allocation_length, .. }
        | Scsi::ReportSupportedOperationCodes { allocation_length, .. } => allocation_length,
        _ => u32::MAX,
    }
}

/// Writes the answer; nothing is written before it is known that there is one.
fn write(disk: &Disk, command: Scsi, data: &mut ParameterData<'_>) -> Result<(), Sense> {
    match command {
        // The driver has no test of its own for the device's medium; it works or requests fail.
        Scsi::TestUnitReady => has_medium(disk),
        Scsi::SelfTest => Ok(()),
        // Sense data goes out with the status of the command it is about, so there is never any left.
        Scsi::RequestSense { descriptor, .. } => {
            match descriptor {
                true => data.push(&Sense::NONE.descriptor()),
                false => data.push(Sense::NONE.fixed().as_bytes()),
            };
            Ok(())
        }
        Scsi::Inquiry(request) => product_data::answer(disk, request.page, data),
        Scsi::ReadCapacity10 => {
            has_medium(disk)?;
            data.push(Capacity10::new(disk.blocks - 1, disk.block_size.bytes()).as_bytes());
            Ok(())
        }
        Scsi::ReadCapacity16 { .. } => {
            has_medium(disk)?;
            let provisioning = product_data::provisioning(disk);
            let arrangement = Arrangement {
                physical_block_exponent: disk.topology.physical_block_exponent,
                lowest_aligned_block: disk.topology.lowest_aligned_block.into(),
                managed: provisioning.managed(),
                reads_zeroes: provisioning.reads_zeroes,
            };
            let capacity = Capacity16::new(disk.blocks - 1, disk.block_size.bytes(), arrangement);
            data.push(capacity.as_bytes());
            Ok(())
        }
        Scsi::ModeSense(request) => modes::sense(disk, request, data),
        Scsi::ReportLuns { select, .. } => match select {
            select::ADDRESSABLE | select::ALL => {
                report_luns::single_unit(data, true);
                Ok(())
            }
            select::WELL_KNOWN => {
                report_luns::single_unit(data, false);
                Ok(())
            }
            _ => Err(Sense::invalid_cdb_byte(2)),
        },
        Scsi::PreventAllow { prevent } => prevent_allow(prevent),
        Scsi::LogSense { .. } => {
            log::supported_pages(data, log_pages(disk));
            Ok(())
        }
        Scsi::ReportSupportedOperationCodes { commands, timeouts, .. } => {
            operation_codes::report(data, commands, timeouts, |entry| has(disk, entry))
        }
        _ => Err(Sense::INVALID_OPERATION_CODE),
    }
}

/// Whether the disk has a command that is decoded. The rest is refused where it is built.
fn has(disk: &Disk, entry: &operation_codes::Entry) -> bool {
    use scsi::cdb::OperationCode as Code;
    match entry.code {
        Code::UNMAP => disk.discard.is_some(),
        // BLOCK ERASE and EXIT FAILURE MODE
        Code::SANITIZE => disk.secure_erase.is_some() && matches!(entry.action, Some(0x02 | 0x1f)),
        _ => true,
    }
}

/// Whether the disk has a command with the operation code of a CDB.
#[cold]
pub(crate) fn has_code(disk: &Disk, cdb: &[u8]) -> bool {
    let code = cdb.first().copied();
    operation_codes::ENTRIES.iter().any(|entry| Some(entry.code.0) == code && has(disk, entry))
}

/// Whether the cache has to go to the medium.
///
/// The disk has no power conditions and is never stopped: it stays ready, as does the host's. SBC-3 wants the cache on the
/// medium before a stop, and that is what Windows counts on when it cuts the power afterwards. IMMED changes nothing: an
/// error of the flush could not be reported any more.
fn start_stop(power_condition: u8, load_eject: bool, start: bool, no_flush: bool) -> Result<bool, Sense> {
    if power_condition != 0 {
        return Err(Sense::invalid_cdb_bit(4, 7));
    }
    // The medium cannot be loaded or ejected.
    if load_eject {
        return Err(Sense::invalid_cdb_bit(4, 1));
    }
    Ok(!start && !no_flush)
}

/// The medium cannot be removed, so whoever prevents it has what it wants, and allowing it again changes nothing. The other
/// two values are obsolete.
fn prevent_allow(prevent: u8) -> Result<(), Sense> {
    if prevent <= 1 { Ok(()) } else { Err(Sense::invalid_cdb_bit(4, 1)) }
}

fn mode_select(disk: &Disk, srb: &mut Request, ten: bool, parameter_length: u16) -> Result<BuildIo, Sense> {
    let length = usize::from(parameter_length);
    if length == 0 {
        return Ok(BuildIo::Complete(Completion::success(0)));
    }
    if srb.direction() != DataDirection::Out {
        return Ok(BuildIo::Complete(Completion::failed(SrbStatus::INVALID_REQUEST)));
    }
    let Some(list) = srb.data().get(..length) else {
        return Ok(BuildIo::Complete(Completion::failed(SrbStatus::INVALID_REQUEST)));
    };
    match modes::mode_select(disk, ten, list)? {
        WriteCache::Keep => Ok(BuildIo::Complete(Completion::success(u32::from(parameter_length)))),
        WriteCache::Set(on) => {
            srb.set_command(adapter::Command::Configure(Command::SetWriteCache(on)));
            Ok(BuildIo::Start)
        }
    }
}

fn log_pages(disk: &Disk) -> &'static [u8] {
    const PAGES: [u8; 2] = [log::page::SUPPORTED_PAGES, log::page::SOLID_STATE_MEDIA];
    if disk.lifetime { &PAGES } else { &PAGES[..1] }
}

/// Checks the fields of LOG SENSE. Which values are asked for (PC) is of no concern to pages whose parameters are lists
/// (SPC-4, 7.3.2.2).
fn check_log(disk: &Disk, command: Scsi) -> Result<(), Sense> {
    let Scsi::LogSense { save, page, subpage, pointer, .. } = command else {
        return Err(Sense::INVALID_OPERATION_CODE);
    };
    // No parameter can be saved.
    if save {
        return Err(Sense::invalid_cdb_bit(1, 0));
    }
    if !log_pages(disk).contains(&page) {
        return Err(Sense::invalid_cdb_bit(2, 5));
    }
    if subpage != 0 {
        return Err(Sense::invalid_cdb_byte(3));
    }
    let last = if page == log::page::SOLID_STATE_MEDIA { log::PERCENTAGE_USED } else { 0 };
    if pointer > last { Err(Sense::invalid_cdb_byte(5)) } else { Ok(()) }
}
