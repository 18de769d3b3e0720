//! The SCSI host device's configuration (virtio 1.3, 5.6.4) and requests (5.6.6), with a disk behind it, target 0, LUN 0, or more
//! of them. What a disk answers follows SPC-4 and SBC-3.

use alloc::vec;
use alloc::vec::Vec;

use super::bytes::Bytes;
use super::manners::Residual;
use super::queue::{Chain, Part};
use super::tasks::{self, Unit};
use super::{Device, Lie, Memory, SECTOR, SECTORS};

/// Queues: control, events, one of requests.
pub(super) const REQUEST_QUEUE: u16 = 2;
/// Bytes of a request before its data, and of a response before its data, with CDB and sense of the default sizes.
pub(super) const REQUEST: usize = 51;
const RESPONSE: u64 = 108;
const SENSE: usize = 96;

/// The units that there can be: two of one target, one of another.
pub(super) const UNITS: [Unit; 3] = [(0, 0), super::events::CHANGES, super::events::COMES_AND_GOES];

/// Response codes (5.6.6.1).
pub(super) const BAD_TARGET: u8 = 3;
const BUSY: u8 = 5;
const FAILURE: u8 = 9;

/// SCSI status.
const GOOD: u8 = 0;
const CHECK_CONDITION: u8 = 2;

/// The device-specific configuration.
pub(super) fn config(device: &Device) -> [u8; 64] {
    let or = |lie: Lie, value: u32, truth: u32| if device.lie() == lie { value } else { truth };
    let habits = &device.habits;
    let words = [
        or(Lie::NumQueuesHuge, u32::MAX, if habits.counts_all_queues { 3 } else { 1 }),
        match device.lie() {
            Lie::SegMaxZero => 0,
            Lie::SegMaxHuge => u32::MAX,
            _ => habits.seg_max,
        },
        match device.lie() {
            Lie::MaxSectorsZero => 0,
            Lie::MaxSectorsHuge => u32::MAX,
            _ => habits.max_sectors,
        },
        or(Lie::CommandsPerLunZero, 0, habits.commands_per_lun),
        16,
        match device.lie() {
            Lie::SenseSizeZero => 0,
            Lie::SenseSizeHuge => u32::MAX,
            _ => SENSE as u32,
        },
        match device.lie() {
            Lie::CdbSizeZero => 0,
            Lie::CdbSizeHuge => u32::MAX,
            _ => 32,
        },
        // Channels in the lower half, targets in the upper: both name the last one.
        or(Lie::TargetsHuge, 0xFFFF_FFFF, u32::from(habits.last_target) << 16),
        or(Lie::LunsHuge, u32::MAX, 7),
    ];
    let mut config = [0; 64];
    for (place, word) in config.chunks_exact_mut(4).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    config
}

/// What comes of a command.
struct Done {
    response: u8,
    status: u8,
    sense: Vec<u8>,
    data: Vec<u8>,
    /// Bytes of the data out that were taken.
    taken: u64,
}

impl Done {
    fn good(data: Vec<u8>) -> Self {
        Done { response: 0, status: GOOD, sense: Vec::new(), data, taken: 0 }
    }

    fn failed(response: u8) -> Self {
        Done { response, ..Done::good(Vec::new()) }
    }

    /// Fixed format sense data (SPC-4, 4.5.3).
    fn sense(key: u8, code: u8) -> Self {
        let mut sense = vec![0; 18];
        (sense[0], sense[2], sense[7], sense[12]) = (0x70, key, 10, code);
        Done { status: CHECK_CONDITION, sense, ..Done::good(Vec::new()) }
    }
}

/// Does what a request of the request queue asks for, response included; answers with the bytes written.
pub(super) fn execute(device: &mut Device, chain: &Chain, memory: &mut impl Memory) -> u32 {
    let parts = &chain.parts;
    let command = device.commands.iter().position(|(id, _, _)| *id == chain.id);
    let overlapped =
        command.is_some_and(|at| device.commands.swap_remove(at).2) && device.habits.remembers_tags;
    let (out, room) = (Bytes::read(parts), Bytes::written(parts));
    let request = out.get(0, REQUEST, memory);
    if request.len() < REQUEST || room.length < RESPONSE {
        return 0;
    }
    let (out_bytes, in_bytes) = (out.length - REQUEST as u64, room.length - RESPONSE);
    let data_out = |device: &mut Device, disk: usize, start: u64, blocks: u64, memory: &mut _| {
        let bytes = (blocks * SECTOR as u64).min(out_bytes);
        match device.unit_range(disk, start, blocks) {
            Ok(range) => {
                let data = out.get(REQUEST as u64, bytes as usize, memory);
                device.disk[range.start..range.start + data.len()].copy_from_slice(&data);
                Done { taken: bytes, ..Done::good(Vec::new()) }
            }
            Err(_) => Done::sense(5, 0x21),
        }
    };
    let (target, lun) = (request[1], u16::from_be_bytes([request[2], request[3]]) & 0x3FFF);
    let cdb = &request[19..];
    let disk = device.unit_number((target, lun));
    let flat = request[2] & 0xC0 == 0x40;
    let mut done = match transfer(cdb) {
        _ if device.habits.flat_luns_only && !flat => Done::failed(FAILURE),
        _ if !device.targets().any(|there| there == target) => Done::failed(BAD_TARGET),
        // TAGGED OVERLAPPED COMMANDS (SAM-5, 5.12).
        _ if overlapped => Done::sense(0x0B, 0x4D),
        _ if device.lie() == Lie::BusyTen && device.lying() => Done::failed(BUSY),
        Some((true, start, blocks)) if let Some(disk) = disk => data_out(device, disk, start, blocks, memory),
        _ => answer(device, cdb, target, disk),
    };
    done.data.truncate(in_bytes as usize);
    room.put(RESPONSE, &done.data, memory);
    let moved = done.data.len() as u64;
    let missing = in_bytes - moved + out_bytes.saturating_sub(done.taken);
    let asked = asked(cdb);
    let residual = match device.habits.residual {
        Residual::NothingOfFailed if done.status != GOOD => 0,
        Residual::Cdb if asked > in_bytes + out_bytes => asked - in_bytes - out_bytes,
        Residual::Room => in_bytes - moved,
        _ => missing,
    }
    .min(u64::from(u32::MAX)) as u32;
    let mut response = vec![0; RESPONSE as usize];
    let lying = device.lying();
    let told = |lie: Lie| device.lie() == lie && lying;
    let sense_bytes = if told(Lie::SenseLengthHuge) {
        (done.status, done.sense) = (CHECK_CONDITION, vec![0x70; SENSE]);
        0xFFFF_FFF0
    } else {
        match device.habits.good_sense {
            Some(length) if done.status == GOOD => length,
            _ => done.sense.len() as u32,
        }
    };
    let residual = if told(Lie::ResidualHuge) { u32::MAX } else { residual };
    response[..4].copy_from_slice(&sense_bytes.to_le_bytes());
    response[4..8].copy_from_slice(&residual.to_le_bytes());
    response[10] = if told(Lie::ScsiStatusUnknown) { 0x55 } else { done.status };
    response[11] = if told(Lie::ResponseUnknown) { 0x7B } else { done.response };
    response[12..12 + done.sense.len()].copy_from_slice(&done.sense);
    if !told(Lie::ResponseNotWritten) {
        let kept = if done.status == GOOD && device.habits.good_sense.is_none() { 4 } else { 0 };
        room.put(kept as u64, &response[kept..], memory);
    }
    (RESPONSE + moved) as u32
}

/// Ends a command without having done anything, for this reason; answers with the bytes written.
pub(super) fn end(chain: &Chain, response: u8, memory: &mut impl Memory) -> u32 {
    let room = Bytes::written(&chain.parts);
    let mut bytes = [0; RESPONSE as usize];
    bytes[11] = response;
    room.put(0, &bytes, memory);
    RESPONSE.min(room.length) as u32
}

impl Device {
    /// Units that are there.
    fn there(&self) -> impl Iterator<Item = (usize, Unit)> {
        UNITS.into_iter().enumerate().take(self.units).filter(|(_, unit)| self.removed != Some(*unit))
    }

    /// Targets that have a unit, some more than once.
    pub(super) fn targets(&self) -> impl Iterator<Item = u8> {
        self.there().map(|(_, (target, _))| target)
    }

    pub(super) fn has_unit(&self, unit: Unit) -> bool {
        self.unit_number(unit).is_some()
    }

    fn unit_number(&self, unit: Unit) -> Option<usize> {
        self.there().find(|(_, other)| *other == unit).map(|(number, _)| number)
    }

    /// The bytes of some blocks of a unit's disk, if it has so many.
    fn unit_range(&self, number: usize, start: u64, blocks: u64) -> Result<core::ops::Range<usize>, u8> {
        let first = number * SECTORS as usize * SECTOR;
        let range = self.disk_range(start.saturating_mul(SECTOR as u64), blocks * SECTOR as u64)?;
        Ok(first + range.start..first + range.end)
    }

    /// Nothing that this unit is asked for is answered from now on, until it is reset.
    pub fn be_silent_for(&mut self, unit: Unit) {
        self.silent_units.push(unit);
    }

    /// The end of that, for all units.
    pub fn speak(&mut self) {
        self.silent_units.clear();
    }

    /// Whether a request waits for the end of a silence.
    pub(super) fn is_silenced(&self, queue: u16, chain: &Chain) -> bool {
        let is_silent = |lun: &[u8]| tasks::unit(lun).is_some_and(|unit| self.silent_units.contains(&unit));
        queue == REQUEST_QUEUE
            && !self.silent_units.is_empty()
            && self.commands.iter().any(|(id, (lun, _), _)| *id == chain.id && is_silent(lun))
    }
}

/// Unit and tag of a command, of which bhyve looks at 32 bits.
pub(super) type Name = ([u8; 8], u32);

/// What tells a command from the others of its unit.
pub(super) fn name(parts: &[Part], memory: &mut impl Memory) -> Option<Name> {
    let head: [u8; 16] = Bytes::read(parts).get(0, 16, memory).try_into().ok()?;
    let [a, b, c, d, e, f, g, h, tag @ ..] = head;
    Some(([a, b, c, d, e, f, g, h], u64::from_le_bytes(tag) as u32))
}

/// Bytes of a READ's or WRITE's data; 0 of other commands.
pub(super) fn transfer_bytes(parts: &[Part], memory: &mut impl Memory) -> u64 {
    let (out, room) = (Bytes::read(parts), Bytes::written(parts));
    let request = out.get(0, REQUEST, memory);
    if request.get(19..).is_none_or(|cdb| cdb.len() < 32 || transfer(cdb).is_none()) {
        return 0;
    }
    out.length.saturating_sub(REQUEST as u64) + room.length.saturating_sub(RESPONSE)
}

/// How much data a CDB is for, where it says so.
fn asked(cdb: &[u8]) -> u64 {
    let number = |at: usize, bytes: usize| {
        cdb[at..at + bytes].iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
    };
    match (cdb[0], transfer(cdb)) {
        (_, Some((_, _, blocks))) => blocks.saturating_mul(SECTOR as u64),
        (0x12, _) => number(3, 2),
        (0xA0, _) => number(6, 4),
        (0x03, _) => number(4, 1),
        (0x9E, _) => number(10, 4),
        _ => 0,
    }
}

/// Read or write of the CDB: whether it writes, first block, blocks.
fn transfer(cdb: &[u8]) -> Option<(bool, u64, u64)> {
    let number = |at: usize, bytes: usize| {
        cdb[at..at + bytes].iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
    };
    let (start, blocks) = match cdb[0] {
        0x08 | 0x0A => (number(1, 3) & 0x1F_FFFF, if cdb[4] == 0 { 256 } else { number(4, 1) }),
        0x28 | 0x2A => (number(2, 4), number(7, 2)),
        0xA8 | 0xAA => (number(2, 4), number(6, 4)),
        0x88 | 0x8A => (number(2, 8), number(10, 4)),
        _ => return None,
    };
    Some((cdb[0] & 2 != 0, start, blocks))
}

/// Commands that write nothing, to a disk or to none.
fn answer(device: &mut Device, cdb: &[u8], target: u8, disk: Option<usize>) -> Done {
    let short = |mut data: Vec<u8>, allocation: u64| {
        data.truncate(allocation as usize);
        Done::good(data)
    };
    let half = |at: usize| u64::from(u16::from_be_bytes([cdb[at], cdb[at + 1]]));
    let word = |at: usize| half(at) << 16 | half(at + 2);
    match cdb[0] {
        0x12 => match inquiry(cdb, disk) {
            Some(data) => short(data, half(3)),
            None => Done::sense(5, 0x24),
        },
        0xA0 => {
            let luns = device.there().filter(|(_, unit)| unit.0 == target).map(|(_, unit)| unit.1 as u8);
            let list: Vec<u8> = luns.flat_map(|lun| [0, lun, 0, 0, 0, 0, 0, 0]).collect();
            short([&(list.len() as u32).to_be_bytes()[..], &[0; 4], &list].concat(), word(6))
        }
        // REQUEST SENSE: nothing to tell.
        0x03 => short([&[0x70, 0, 0, 0, 0, 0, 0, 10][..], &[0; 10]].concat(), u64::from(cdb[4])),
        _ if disk.is_none() => Done::sense(5, 0x25),
        // TEST UNIT READY, START STOP UNIT, SYNCHRONIZE CACHE.
        0x00 | 0x1B | 0x35 | 0x91 => Done::good(Vec::new()),
        0x25 => {
            let last = (SECTORS - 1) as u32;
            Done::good([last.to_be_bytes(), (SECTOR as u32).to_be_bytes()].concat())
        }
        0x9E if cdb[1] & 0x1F == 0x10 => {
            let mut data = vec![0; 32];
            data[..8].copy_from_slice(&(SECTORS - 1).to_be_bytes());
            data[8..12].copy_from_slice(&(SECTOR as u32).to_be_bytes());
            short(data, word(10))
        }
        _ => match transfer(cdb) {
            Some((_, start, blocks)) => match device.unit_range(disk.unwrap_or_default(), start, blocks) {
                Ok(range) => Done::good(device.disk[range].to_vec()),
                Err(_) => Done::sense(5, 0x21),
            },
            None => Done::sense(5, 0x20),
        },
    }
}

/// INQUIRY data, or a vital product data page; `None` for one there is not.
fn inquiry(cdb: &[u8], disk: Option<usize>) -> Option<Vec<u8>> {
    // Qualifier 3 and type 1Fh: no unit can be there (SPC-4, 6.6.2).
    let kind = if disk.is_some() { 0 } else { 0x7F };
    let number = b'2' + disk.unwrap_or_default() as u8;
    let page = |code: u8, bytes: &[u8]| Some([&[kind, code, 0, bytes.len() as u8], bytes].concat());
    match (cdb[1] & 1, cdb[2]) {
        (0, 0) => {
            let head = [kind, 0, 6, 2, 31, 0, 0, 2];
            Some([&head[..], b"STAND   ", b"LIAR            ", b"1   "].concat())
        }
        (1, 0) => page(0, &[0, 0x80, 0x83]),
        (1, 0x80) => page(0x80, &[&b"LIAR-000"[..], &[number]].concat()),
        // One designator: T10 vendor identification, ASCII.
        (1, 0x83) => page(0x83, &[&[2, 1, 0, 17][..], b"STAND   LIAR-000", &[number]].concat()),
        _ => None,
    }
}
