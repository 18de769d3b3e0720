//! The block device's configuration (virtio 1.3, 5.2.4) and requests (5.2.6).

use super::bytes::Bytes;
use super::queue::Part;
use super::{Device, Lie, Memory, SECTOR, SECTORS};

/// Request types and status values.
const IN: u32 = 0;
const OUT: u32 = 1;
const FLUSH: u32 = 4;
const GET_ID: u32 = 8;
const OK: u8 = 0;
const IOERR: u8 = 1;
const UNSUPP: u8 = 2;
pub(super) const HEADER: usize = 16;
/// Sectors are of this size everywhere (5.2.4).
pub(super) const SECTOR_BYTES: u64 = SECTOR as u64;

/// The device-specific configuration.
pub(super) fn config(device: &Device) -> [u8; 64] {
    let mut config = [0; 64];
    let capacity = match device.lie() {
        Lie::CapacityZero => 0,
        Lie::CapacityHuge => u64::MAX,
        Lie::CapacityShrinks if device.begun() => 8,
        Lie::CapacityGrowsAtStart if !device.is_started() => SECTORS / 2,
        _ => SECTORS,
    };
    config[..8].copy_from_slice(&capacity.to_le_bytes());
    let seg_max: u32 = match device.lie() {
        Lie::SegMaxZero => 0,
        Lie::SegMaxHuge => u32::MAX,
        _ => device.habits.seg_max,
    };
    config[12..16].copy_from_slice(&seg_max.to_le_bytes());
    let block: u32 = match device.lie() {
        Lie::BlockSizeZero => 0,
        Lie::BlockSizeThree => 3,
        Lie::BlockSizeHuge => 1 << 31,
        _ => SECTOR as u32,
    };
    config[20..24].copy_from_slice(&block.to_le_bytes());
    config
}

/// Does what a request asks for, status included; answers with the bytes written.
pub(super) fn execute(device: &mut Device, parts: &[Part], memory: &mut impl Memory) -> u32 {
    let (out, room) = (Bytes::read(parts), Bytes::written(parts));
    // The status is the last byte that the device writes; without one there is nobody to tell.
    let Some(status_at) = room.length.checked_sub(1) else { return 0 };
    let header = out.get(0, HEADER, memory);
    let Ok(header) = <[u8; HEADER]>::try_from(header) else { return 0 };
    let kind = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
    let sector = u64::from_le_bytes(header[8..].try_into().unwrap_or_default());
    let start = sector.saturating_mul(SECTOR as u64);
    let moved = match kind {
        IN => device.disk_range(start, status_at).map(|range| {
            room.put(0, &device.disk[range], memory);
            status_at
        }),
        OUT => device.disk_range(start, out.length - HEADER as u64).map(|range| {
            let data = out.get(HEADER as u64, range.len(), memory);
            device.disk[range].copy_from_slice(&data);
            0
        }),
        FLUSH => Ok(0),
        GET_ID if !device.habits.identity => Err(UNSUPP),
        GET_ID => {
            let mut serial = [0; 20];
            serial[..9].copy_from_slice(b"LIAR-0001");
            let length = status_at.min(20);
            room.put(0, &serial[..length as usize], memory);
            Ok(length)
        }
        _ => Err(UNSUPP),
    };
    let status = match moved {
        Ok(_) => OK,
        Err(UNSUPP) => UNSUPP,
        Err(_) => IOERR,
    };
    match device.lie() {
        Lie::StatusNotWritten if device.lying() => {}
        Lie::StatusGarbage if device.lying() => room.put(status_at, &[0x7B], memory),
        _ => put_status(parts, status, device.habits.status_bytes, memory),
    }
    moved.unwrap_or(0) as u32 + 1
}

/// Writes a status of so many bytes where there is room for one.
fn put_status(parts: &[Part], status: u8, bytes: u8, memory: &mut impl Memory) {
    let last = parts.iter().rev().find(|part| part.device_writes && part.length > 0);
    if let Some(part) = last {
        let mut wide = [0; 8];
        wide[0] = status;
        let at = part.address.wrapping_add(u64::from(part.length) - 1);
        memory.write(at, &wide[..usize::from(bytes).clamp(1, wide.len())]);
    }
}

/// Whether the status of a request that was answered is not OK.
pub(super) fn has_failed(parts: &[Part], memory: &mut impl Memory) -> bool {
    let room = Bytes::written(parts);
    let status = room.length.checked_sub(1).map(|at| room.get(at, 1, memory));
    status.is_some_and(|status| status != [OK])
}
