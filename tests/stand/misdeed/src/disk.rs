//! A disk of 64 KiB that answers what a bus scan asks, and keeps what is written to it.

use core::cell::UnsafeCell;
use core::{ptr, slice};

use wdk_sys::{
    DUMP_MINIPORT_VERSION_1, MINIPORT_DUMP_POINTERS, PSCSI_REQUEST_BLOCK, SCSISTAT_CHECK_CONDITION,
    SCSISTAT_GOOD, SRB_FUNCTION_ABORT_COMMAND, SRB_FUNCTION_DUMP_POINTERS, SRB_FUNCTION_EXECUTE_SCSI,
    SRB_FUNCTION_FLUSH, SRB_FUNCTION_SHUTDOWN, SRB_STATUS_AUTOSENSE_VALID, SRB_STATUS_DATA_OVERRUN,
    SRB_STATUS_ERROR, SRB_STATUS_INVALID_REQUEST, SRB_STATUS_NO_DEVICE,
};

use crate::GOOD;
use crate::misdeed::Misdeed;

const BLOCK: u32 = 512;
const BLOCKS: u32 = 128;

/// What is on the disk.
struct Medium(UnsafeCell<[u8; (BLOCK * BLOCKS) as usize]>);

// Requests come one after the other, in HwStorStartIo under StorPort's lock.
unsafe impl Sync for Medium {}

static MEDIUM: Medium = Medium(UnsafeCell::new([0; (BLOCK * BLOCKS) as usize]));

/// Puts the answer into the request: data, lengths and status. The copy of the image that writes the dump is told the
/// misdeed.
pub(crate) unsafe fn answer(srb: PSCSI_REQUEST_BLOCK, misdeed: u32) {
    let srb = unsafe { &mut *srb };
    if srb.PathId != 0 || srb.TargetId != 0 || srb.Lun != 0 {
        srb.SrbStatus = SRB_STATUS_NO_DEVICE as u8;
        srb.DataTransferLength = 0;
        return;
    }
    match u32::from(srb.Function) {
        SRB_FUNCTION_EXECUTE_SCSI => {}
        SRB_FUNCTION_ABORT_COMMAND if misdeed == Misdeed::AbortsNothing as u32 => {
            srb.SrbStatus = GOOD;
            return;
        }
        SRB_FUNCTION_FLUSH | SRB_FUNCTION_SHUTDOWN => {
            srb.SrbStatus = GOOD;
            return;
        }
        SRB_FUNCTION_DUMP_POINTERS if !srb.DataBuffer.is_null() => {
            let pointers = unsafe { &mut *srb.DataBuffer.cast::<MINIPORT_DUMP_POINTERS>() };
            pointers.Version = DUMP_MINIPORT_VERSION_1 as u16;
            pointers.Size = size_of::<MINIPORT_DUMP_POINTERS>() as u16;
            pointers.MiniportPrivateDumpData = ptr::without_provenance_mut(misdeed as usize);
            srb.SrbStatus = GOOD;
            return;
        }
        _ => {
            srb.SrbStatus = SRB_STATUS_INVALID_REQUEST as u8;
            srb.DataTransferLength = 0;
            return;
        }
    }
    let cdb = srb.Cdb;
    let mut page = [0_u8; 96];
    let length = match cdb[0] {
        // TEST UNIT READY, START STOP UNIT, SYNCHRONIZE CACHE
        0x00 | 0x1b | 0x35 | 0x91 => 0,
        0x12 if cdb[1] & 1 == 0 => {
            page[..8].copy_from_slice(&[0, 0, 6, 2, 31, 0, 0, 2]);
            page[8..36].copy_from_slice(b"MISDEED Disk            0001");
            36
        }
        0x12 => match cdb[2] {
            0x00 => {
                page[3..7].copy_from_slice(&[3, 0x00, 0x80, 0x83]);
                7
            }
            0x80 => {
                page[1..8].copy_from_slice(b"\x80\0\x04DEED");
                8
            }
            0x83 => {
                page[1..4].copy_from_slice(&[0x83, 0, 16]);
                page[4..8].copy_from_slice(&[2, 1, 0, 12]);
                page[8..20].copy_from_slice(b"MISDEED DEED");
                20
            }
            _ => return refuse(srb),
        },
        // READ CAPACITY(10) and (16)
        0x25 => {
            page[..4].copy_from_slice(&(BLOCKS - 1).to_be_bytes());
            page[4..8].copy_from_slice(&BLOCK.to_be_bytes());
            8
        }
        0x9e if cdb[1] & 0x1f == 0x10 => {
            page[4..8].copy_from_slice(&(BLOCKS - 1).to_be_bytes());
            page[8..12].copy_from_slice(&BLOCK.to_be_bytes());
            32
        }
        // MODE SENSE(6) and (10): no pages
        0x1a => {
            page[0] = 3;
            4
        }
        0x5a => {
            page[1] = 6;
            8
        }
        // REPORT LUNS
        0xa0 => {
            page[3] = 8;
            16
        }
        0x28 | 0x2a | 0x88 | 0x8a => return unsafe { transfer(srb) },
        _ => return refuse(srb),
    };
    unsafe { give(srb, &page, length) };
}

/// READ and WRITE, (10) and (16), of blocks whose number has no more than 32 bits.
unsafe fn transfer(srb: &mut wdk_sys::SCSI_REQUEST_BLOCK) {
    let cdb = srb.Cdb;
    let at = if cdb[0] < 0x80 { 2 } else { 6 };
    let first = u32::from_be_bytes([cdb[at], cdb[at + 1], cdb[at + 2], cdb[at + 3]]);
    let blocks = srb.DataTransferLength / BLOCK;
    if first.checked_add(blocks).is_none_or(|end| end > BLOCKS) {
        return refuse(srb);
    }
    // A crash leaves nobody who maps buffers.
    if !srb.DataBuffer.is_null() {
        unsafe {
            let medium = MEDIUM.0.get().cast::<u8>().add((first * BLOCK) as usize);
            let buffer = srb.DataBuffer.cast::<u8>();
            let (from, to) = if cdb[0] & 2 == 0 { (medium, buffer) } else { (buffer, medium) };
            ptr::copy(from, to, (blocks * BLOCK) as usize);
        }
    }
    srb.ScsiStatus = SCSISTAT_GOOD as u8;
    srb.SrbStatus = GOOD;
}

/// Copies an answer of `length` bytes, as much as was asked for.
unsafe fn give(srb: &mut wdk_sys::SCSI_REQUEST_BLOCK, page: &[u8], length: usize) {
    let asked = srb.DataTransferLength as usize;
    let moved = length.min(asked);
    if !srb.DataBuffer.is_null() {
        let buffer = unsafe { slice::from_raw_parts_mut(srb.DataBuffer.cast::<u8>(), moved) };
        for (index, byte) in buffer.iter_mut().enumerate() {
            *byte = page.get(index).copied().unwrap_or(0);
        }
    }
    srb.DataTransferLength = moved as u32;
    srb.ScsiStatus = SCSISTAT_GOOD as u8;
    srb.SrbStatus = if moved < asked { SRB_STATUS_DATA_OVERRUN as u8 } else { GOOD };
}

/// ILLEGAL REQUEST, invalid field in CDB.
fn refuse(srb: &mut wdk_sys::SCSI_REQUEST_BLOCK) {
    srb.ScsiStatus = SCSISTAT_CHECK_CONDITION as u8;
    srb.SrbStatus = SRB_STATUS_ERROR as u8;
    srb.DataTransferLength = 0;
    let sense = [0x70, 0, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x24, 0, 0, 0, 0, 0];
    if !srb.SenseInfoBuffer.is_null() && usize::from(srb.SenseInfoBufferLength) >= sense.len() {
        let buffer = unsafe { slice::from_raw_parts_mut(srb.SenseInfoBuffer.cast::<u8>(), sense.len()) };
        buffer.copy_from_slice(&sense);
        srb.SrbStatus |= SRB_STATUS_AUTOSENSE_VALID as u8;
    }
}
