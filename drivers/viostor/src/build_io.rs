//! CDB → command, decided before any lock is taken: what the device has to do, or the answer right away.

use scsi::Sense;
use scsi::cdb::{BlockRange, ByteCheck, Inquiry, Lba, NACA, OperationCode, Transfer, TransferFlags};
use storport::{BuildIo, Completion, DataDirection, SrbStatus};
use zerocopy::IntoBytes;

use crate::Request;
use crate::build_steps::{self, WriteSame};
use crate::config::Disk;
use crate::emulate;
use crate::live::Live;
use crate::ranges::Place;
use crate::steps::{Afterwards, Comparison, Remaining};
use crate::units::{SECTOR_BYTES, SECTOR_SHIFT, Sectors, is_on_disk};

/// What a request has to do in the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Read from this sector on.
    Read(Sectors),
    /// Write from this sector on.
    Write(Sectors),
    /// Read piece by piece, through scratch memory.
    ReadPieces(Remaining),
    /// Write piece by piece, through scratch memory.
    WritePieces(Remaining, Afterwards),
    /// Write from this sector on, and make that durable.
    WriteThrough(Sectors),
    /// What was written has to become durable: the second step of a write with FUA.
    FlushWritten,
    /// Make all completed writes durable.
    Flush,
    /// Fetch the serial number and answer INQUIRY with this vital product data page.
    Identify(Inquiry),
    /// Switch the write cache on or off, and make durable what is in it.
    SetWriteCache(bool),
    /// Fetch how worn the device is and answer LOG SENSE with it.
    Lifetime {
        /// ALLOCATION LENGTH
        allocation_length: u16,
    },
    /// Write from this sector on, and read that back.
    WriteThenVerify(Sectors),
    /// The second step of that where there is a volatile cache: what is read back has to be the medium's.
    FlushThenVerify(Sectors),
    /// Read, and compare.
    Verify(Remaining, Comparison),
    /// Write the request's block again and again.
    WriteSame(Remaining),
    /// Discard what the request's list says.
    Unmap {
        /// From here on.
        at: Place,
        /// Up to here; `None` is the list's end. Known once the step's ranges were put together.
        next: Option<Place>,
    },
    /// Have the device do something to all of a range.
    Erase(Erase, Remaining),
}

/// What the device does to a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Erase {
    /// It reads as zeroes afterwards.
    WriteZeroes {
        /// It need not have room on the medium.
        unmap: bool,
    },
    /// Its content cannot be found any more.
    Securely,
}

// It is copied from and to the SRB extension for every request.
const _: () = assert!(size_of::<Command>() <= 24);

#[inline(always)]
pub(crate) fn build_io(disk: &Disk, live: &Live, srb: &mut Request) -> BuildIo {
    match plain(disk, live, srb) {
        Some(command) => start(srb, command),
        None => build_unusual(disk, live, srb),
    }
}

/// What nearly all requests are: READ or WRITE (10) or (16) of data that the device takes where it lies, without FUA, and with
/// nothing to say against it. `None`: it is another one, or there is something, which [`decide`] finds.
#[inline(always)]
fn plain(disk: &Disk, live: &Live, srb: &Request) -> Option<Command> {
    /// Of operation code and flags: all but whether it is a WRITE, and DPO.
    const FORM: u16 = 0xe8fd;
    const TRANSFER_10: u16 = OperationCode::READ_10.0 as u16;
    const TRANSFER_16: u16 = OperationCode::READ_16.0 as u16;
    const WRITE: u8 = OperationCode::READ_10.0 ^ OperationCode::WRITE_10.0;
    const { assert!(OperationCode::READ_16.0 ^ OperationCode::WRITE_16.0 == WRITE && WRITE == 2) };
    let address = srb.address();
    if address.path != 0 || address.target != 0 || address.lun != 0 {
        return None;
    }
    let cdb = srb.cdb();
    let &[code, flags, a, b, c, d, e, f, g, control_10] = cdb.first_chunk()?;
    let (start, blocks, control) = match u16::from_le_bytes([code, flags]) & FORM {
        TRANSFER_10 => {
            (u64::from(u32::from_be_bytes([a, b, c, d])), u32::from(u16::from_be_bytes([f, g])), control_10)
        }
        TRANSFER_16 => {
            let &[h, i, j, k, _, control] = cdb.get(10..)?.first_chunk()?;
            (u64::from_be_bytes([a, b, c, d, e, f, g, control_10]), u32::from_be_bytes([h, i, j, k]), control)
        }
        _ => return None,
    };
    let write = code & WRITE != 0;
    let bytes = u64::from(blocks) << disk.block_size.shift();
    let direction = if write { DataDirection::Out } else { DataDirection::In };
    let range = BlockRange { start: Lba(start), blocks };
    let plain = control & NACA == 0
        && is_on_disk(range, live.blocks())
        && u64::from(srb.data_length()) == bytes
        && bytes != 0
        && srb.direction() == direction;
    if !plain || live.has_unit_attention() || write && live.read_only() || disk.copying.is_some() {
        return None;
    }
    // It lies on the disk, whose end is a number of sectors.
    let first = Sectors(start << (disk.block_size.shift() - SECTOR_SHIFT));
    Some(if write { Command::Write(first) } else { Command::Read(first) })
}

#[inline(never)]
fn build_unusual(disk: &Disk, live: &Live, srb: &mut Request) -> BuildIo {
    let address = srb.address();
    if address.path != 0 || address.target != 0 || address.lun != 0 {
        return BuildIo::Complete(Completion::failed(SrbStatus::NO_DEVICE));
    }
    match decide(disk, live, srb) {
        Ok(decision) => decision,
        Err(sense) => {
            // A command that the disk does not have has no fields that could be wrong.
            let known = emulate::has_code(disk, srb.cdb());
            BuildIo::Complete(refuse(srb, if known { sense } else { Sense::INVALID_OPERATION_CODE }))
        }
    }
}

/// Starts a request with this command.
#[inline]
pub(crate) fn start(srb: &mut Request, command: Command) -> BuildIo {
    srb.set_command(adapter::Command::new(command));
    BuildIo::Start
}

/// Ends a request with CHECK CONDITION and this sense data.
pub(crate) fn refuse(srb: &mut Request, sense: Sense) -> Completion {
    Completion::check_condition(srb.write_sense(sense.fixed().as_bytes()) > 0)
}

fn decide(disk: &Disk, live: &Live, srb: &mut Request) -> Result<BuildIo, Sense> {
    match Transfer::decode(srb.cdb()) {
        _ if live.has_unit_attention() => decide_other(disk, live, srb),
        Some(Transfer { range, write: false, .. }) => read(disk, live, srb, range),
        Some(Transfer { range, flags, write: true }) => write(disk, live, srb, range, flags),
        None => decide_other(disk, live, srb),
    }
}

fn read(disk: &Disk, live: &Live, srb: &mut Request, range: BlockRange) -> Result<BuildIo, Sense> {
    transfer((disk, live.blocks()), srb, range, DataDirection::In, Command::Read)
}

fn write(
    disk: &Disk,
    live: &Live,
    srb: &mut Request,
    range: BlockRange,
    flags: TransferFlags,
) -> Result<BuildIo, Sense> {
    if live.read_only() {
        return Err(Sense::WRITE_PROTECTED);
    }
    // virtio-blk has no FUA. Where nothing can be flushed, there is no volatile cache.
    let through = flags.contains(TransferFlags::FORCE_UNIT_ACCESS) && disk.flushes;
    // Which command it is, is known where it is written.
    if through {
        transfer((disk, live.blocks()), srb, range, DataDirection::Out, Command::WriteThrough)
    } else {
        transfer((disk, live.blocks()), srb, range, DataDirection::Out, Command::Write)
    }
}

/// What is to be told of changes, by the commands that tell of it.
#[cold]
fn tell(live: &Live, srb: &mut Request, command: scsi::Command) -> Result<Option<BuildIo>, Sense> {
    match command {
        scsi::Command::Inquiry(_) | scsi::Command::ReportLuns { .. } => Ok(None),
        scsi::Command::RequestSense { descriptor, allocation_length } => Ok(live
            .take_unit_attention()
            .map(|sense| emulate::request_sense(descriptor, allocation_length, sense, srb.data()))),
        _ => live.take_unit_attention().map_or(Ok(None), Err),
    }
}

/// Everything but the reads and writes that most requests are. Not a part of those: what it needs of the stack is not theirs
/// to pay for.
#[inline(never)]
fn decide_other(disk: &Disk, live: &Live, srb: &mut Request) -> Result<BuildIo, Sense> {
    let command = scsi::Command::decode(srb.cdb())?;
    // The buffer of a request that sends data is its sender's to read: it may be locked for nothing else. Who sets neither
    // flag has said nothing of the kind.
    if emulate::returns_data(command) && srb.data_length() != 0 && srb.direction() == DataDirection::Out {
        return Ok(BuildIo::Complete(Completion::failed(SrbStatus::INVALID_REQUEST)));
    }
    if let Some(told) = tell(live, srb, command)? {
        return Ok(told);
    }
    let disk = &live.apply(disk);
    match command {
        scsi::Command::Read(range, _) => read(disk, live, srb, range),
        scsi::Command::Write(range, flags) => write(disk, live, srb, range, flags),
        scsi::Command::SynchronizeCache { range, immediate: _ } => {
            if !is_on_disk(range, disk.blocks) {
                return Err(Sense::LBA_OUT_OF_RANGE);
            }
            // Every range is part of the whole disk. IMMED would leave nobody to tell of an error.
            Ok(emulate::make_durable(disk, srb))
        }
        scsi::Command::WriteAndVerify(range, check) => {
            writable(disk)?;
            // Whether StorPort maps the data of this command is not documented, so the driver does not look at it.
            if check != ByteCheck::None {
                return Err(Sense::invalid_cdb_bit(1, 2));
            }
            transfer((disk, disk.blocks), srb, range, DataDirection::Out, Command::WriteThenVerify)
        }
        scsi::Command::Verify(range, check) => build_steps::verify(disk, srb, range, check),
        scsi::Command::Unmap { anchor, parameter_length } => {
            build_steps::unmap(disk, srb, anchor, parameter_length)
        }
        scsi::Command::WriteSame { range, unmap, anchor, no_data_out } => {
            let how = WriteSame { unmap, anchor, no_data_out };
            build_steps::write_same(disk, srb, range, how)
        }
        scsi::Command::Sanitize { action, immediate, .. } => {
            build_steps::sanitize(disk, srb, action, immediate)
        }
        emulated => emulate::build(disk, srb, emulated),
    }
}

/// Why a range cannot be had of a disk with so many blocks.
#[cold]
pub(crate) fn beyond(blocks: u64) -> Sense {
    if blocks == 0 { Sense::MEDIUM_NOT_PRESENT } else { Sense::LBA_OUT_OF_RANGE }
}

/// Commands that are about the medium need one. Class drivers take the answer for what it is and do not ask again and again
/// (Windows-driver-samples, storage/class/classpnp/src/class.c, SCSI_ADSENSE_NO_MEDIA_IN_DEVICE).
pub(crate) fn has_medium(disk: &Disk) -> Result<(), Sense> {
    if disk.blocks == 0 { Err(Sense::MEDIUM_NOT_PRESENT) } else { Ok(()) }
}

pub(crate) fn writable(disk: &Disk) -> Result<(), Sense> {
    if disk.read_only { Err(Sense::WRITE_PROTECTED) } else { Ok(()) }
}

#[inline]
fn transfer(
    (disk, blocks): (&Disk, u64),
    srb: &mut Request,
    range: BlockRange,
    direction: DataDirection,
    command: impl FnOnce(Sectors) -> Command,
) -> Result<BuildIo, Sense> {
    if !is_on_disk(range, blocks) {
        return Err(beyond(blocks));
    }
    if range.blocks == 0 {
        return Ok(BuildIo::Complete(Completion::success(0)));
    }
    let first = disk.block_size.first_sector(range.start).ok_or(Sense::LBA_OUT_OF_RANGE)?;
    let bytes = u64::from(range.blocks) * u64::from(disk.block_size.bytes());
    // The CDB and the buffer must agree: moving less would be a short transfer nobody asked for, moving more would
    // touch blocks the CDB does not name.
    if u64::from(srb.data_length()) != bytes || srb.direction() != direction {
        return Ok(BuildIo::Complete(Completion::failed(SrbStatus::INVALID_REQUEST)));
    }
    Ok(match &disk.copying {
        None => start(srb, command(first)),
        Some(_) => in_pieces(srb, command(first), bytes),
    })
}

/// A read or write whose data the device may not take where it lies. Where that is, is not known before `start_io`.
#[cold]
fn in_pieces(srb: &mut Request, command: Command, bytes: u64) -> BuildIo {
    let range = |first: Sectors| {
        // It lies on the disk, whose end is a number of sectors.
        Remaining { next: first, end: Sectors(first.0 + bytes / u64::from(SECTOR_BYTES)) }
    };
    let in_pieces = match command {
        Command::Read(first) => Command::ReadPieces(range(first)),
        Command::Write(first) => Command::WritePieces(range(first), Afterwards::Nothing),
        Command::WriteThrough(first) => Command::WritePieces(range(first), Afterwards::Flush),
        Command::WriteThenVerify(first) => Command::WritePieces(range(first), Afterwards::Verify),
        other => other,
    };
    start(srb, in_pieces)
}
