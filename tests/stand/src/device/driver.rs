//! The driver of the tests: it brings a device up with one queue, reads and writes blocks, and writes down all that it sees.

use alloc::vec;
use alloc::vec::Vec;

use super::registers::NOTIFY_STEP;
use super::{Device, Kind, Lie, Memory, SECTORS, bar, feature, get, get16};

/// What lies outside reads as zeros and swallows what is written.
impl Memory for Vec<u8> {
    fn read(&mut self, address: u64, bytes: &mut [u8]) {
        let from = usize::try_from(address).ok().and_then(|at| self.get(at..)?.get(..bytes.len()));
        match from {
            Some(from) => bytes.copy_from_slice(from),
            None => bytes.fill(0),
        }
    }
    fn write(&mut self, address: u64, bytes: &[u8]) {
        let to = usize::try_from(address).ok().and_then(|at| self.get_mut(at..)?.get_mut(..bytes.len()));
        if let Some(to) = to {
            to.copy_from_slice(bytes);
        }
    }
}

pub(super) const DESCRIPTORS: u64 = 0x1000;
pub(super) const AVAILABLE: u64 = 0x2000;
pub(super) const USED: u64 = 0x3000;
pub(super) const HEADER: u64 = 0x4000;
pub(super) const DATA: u64 = 0x5000;
pub(super) const RESPONSE: u64 = 0x6000;
pub(super) const TABLE: u64 = 0x7000;
pub(super) const SIZE: u16 = 8;

/// Brings a device up with a request queue of 8, as a driver does; answers with what it read on the way.
pub(super) fn bring_up(device: &mut Device, memory: &mut Vec<u8>) -> Vec<u64> {
    device.config_write(4, &[6, 0]);
    let queue = u64::from(device.kind.request_queue());
    let mut seen = Vec::new();
    device.write(20, 1, 0, memory);
    seen.push(device.read(20, 1));
    device.write(20, 1, 3, memory);
    for select in [0, 1] {
        device.write(0, 4, select, memory);
        seen.push(device.read(4, 4));
    }
    for (offset, size, value) in
        [(8, 4, 0), (12, 4, feature::INDIRECT), (8, 4, 1), (12, 4, 1), (20, 1, 11), (22, 2, queue)]
    {
        device.write(offset, size, value, memory);
    }
    seen.extend([device.read(20, 1), device.read(18, 2), device.read(24, 2), device.read(30, 2)]);
    for (offset, size, value) in [
        (16, 2, 0),
        (24, 2, u64::from(SIZE)),
        (26, 2, 1),
        (32, 4, DESCRIPTORS),
        (40, 4, AVAILABLE),
        (48, 4, USED),
        (28, 2, 1),
        (20, 1, 15),
    ] {
        device.write(offset, size, value, memory);
    }
    seen.extend([device.read(16, 2), device.read(26, 2), device.read(20, 1), device.read(21, 1)]);
    seen
}

pub(super) fn running(kind: Kind, lie: Lie) -> (Device, Vec<u8>) {
    let (mut device, mut memory) = (Device::new(kind, false, lie).prompt(), vec![0u8; 0x8000]);
    bring_up(&mut device, &mut memory);
    (device, memory)
}

/// A read or write of one block, in a table of its own; notifies. `number` counts the requests.
pub(super) fn request(
    device: &mut Device,
    memory: &mut Vec<u8>,
    write: bool,
    block: u64,
    number: u16,
) -> Vec<u16> {
    let (header, response) = match device.kind {
        Kind::Blk => {
            memory.write(HEADER, &u32::from(write).to_le_bytes());
            memory.write(HEADER + 8, &block.to_le_bytes());
            (16u32, 1)
        }
        Kind::Scsi => {
            memory.write(HEADER, &[1, 0, 0x40, 0, 0, 0, 0, 0]);
            memory.write(HEADER + 19, &[if write { 0x2A } else { 0x28 }, 0]);
            memory.write(HEADER + 21, &(block as u32).to_be_bytes());
            memory.write(HEADER + 26, &[0, 1, 0]);
            (51, 108)
        }
    };
    memory.write(RESPONSE, &[0xEE; 128]);
    // Header, then data and response: the block device answers last, the SCSI host first.
    let data = (DATA, 512, !write);
    let mut parts = vec![(HEADER, header, false)];
    match (device.kind, write) {
        (Kind::Scsi, false) => parts.extend([(RESPONSE, response, true), data]),
        _ => parts.extend([data, (RESPONSE, response, true)]),
    }
    for (index, (address, length, device_writes)) in parts.into_iter().enumerate() {
        let at = TABLE + 16 * index as u64;
        let next = u16::from(index < 2);
        memory.write(at, &address.to_le_bytes());
        memory.write(at + 8, &length.to_le_bytes());
        memory.write(at + 12, &(next | u16::from(device_writes) << 1).to_le_bytes());
        memory.write(at + 14, &(index as u16 + 1).to_le_bytes());
    }
    memory.write(DESCRIPTORS, &TABLE.to_le_bytes());
    memory.write(DESCRIPTORS + 8, &48u32.to_le_bytes());
    memory.write(DESCRIPTORS + 12, &4u16.to_le_bytes());
    memory.write(AVAILABLE + 4 + 2 * u64::from(number % SIZE), &0u16.to_le_bytes());
    memory.write(AVAILABLE + 2, &(number + 1).to_le_bytes());
    let queue = u64::from(device.kind.request_queue());
    device.write(bar::NOTIFY + NOTIFY_STEP * queue, 2, queue, memory)
}

/// Where the control and the event queue are: descriptors, and 100h further each what is available and what is used; behind
/// those, requests and buffers.
const CONTROL: u64 = 0x7800;
const EVENTS: u64 = 0x7C00;
const AREA: u64 = 0x100;

/// A read of a block from a unit, with memory of its own but for the data; notifies. The driver's requests are numbered from 0
/// on, eight at most.
pub(super) fn scsi_request(device: &mut Device, memory: &mut Vec<u8>, (target, lun): (u8, u16), number: u16) {
    let apart = 0x100 * u64::from(number);
    let (header, response, table) = (HEADER + apart, RESPONSE + apart, TABLE + apart);
    let [high, low] = lun.to_be_bytes();
    memory.write(header, &[1, target, 0x40 | high, low, 0, 0, 0, 0]);
    memory.write(header + 8, &u64::from(number).to_le_bytes());
    memory.write(header + 19, &[0x28, 0, 0, 0, 0, 3, 0, 0, 1, 0]);
    let parts = [(header, 51u32, 1u16), (response, 108, 3), (DATA, 512, 2)];
    for (index, (address, length, flags)) in parts.into_iter().enumerate() {
        let at = table + 16 * index as u64;
        memory.write(at, &address.to_le_bytes());
        memory.write(at + 8, &length.to_le_bytes());
        memory.write(at + 12, &flags.to_le_bytes());
        memory.write(at + 14, &(index as u16 + 1).to_le_bytes());
    }
    let at = DESCRIPTORS + 16 * u64::from(number);
    memory.write(at, &table.to_le_bytes());
    memory.write(at + 8, &48u32.to_le_bytes());
    memory.write(at + 12, &4u16.to_le_bytes());
    offer(memory, AVAILABLE, number);
    notify(device, memory, 2);
}

/// Makes a descriptor chain available.
fn offer(memory: &mut Vec<u8>, available: u64, head: u16) {
    let index = get16(memory, available + 2);
    memory.write(available + 4 + 2 * u64::from(index % SIZE), &head.to_le_bytes());
    memory.write(available + 2, &(index + 1).to_le_bytes());
}

fn notify(device: &mut Device, memory: &mut Vec<u8>, queue: u64) {
    device.write(bar::NOTIFY + NOTIFY_STEP * queue, 2, queue, memory);
}

/// Enables a queue that lies there, if it is not.
fn enable(device: &mut Device, index: usize, at: u64) {
    let queue = &mut device.queues[index];
    (queue.size, queue.enabled) = (SIZE, true);
    (queue.descriptors, queue.available, queue.used) = (at, at + AREA, at + 2 * AREA);
}

/// A task management function for a unit; answers with the response, if there is one at once.
pub(super) fn task(
    device: &mut Device,
    memory: &mut Vec<u8>,
    function: u32,
    (target, lun): (u8, u16),
) -> Option<u8> {
    enable(device, 0, CONTROL);
    let before = answers(memory);
    let number = get16(memory, CONTROL + AREA + 2) % 4;
    let (request, response) = (CONTROL + 3 * AREA, CONTROL + 3 * AREA + 0x40 + u64::from(number));
    let [high, low] = lun.to_be_bytes();
    memory.write(request, &0u32.to_le_bytes());
    memory.write(request + 4, &function.to_le_bytes());
    memory.write(request + 8, &[1, target, 0x40 | high, low, 0, 0, 0, 0]);
    memory.write(response, &[0xEE]);
    for (index, address, length, flags) in
        [(2 * number, request, 24u32, 1u16), (2 * number + 1, response, 1, 2)]
    {
        let at = CONTROL + 16 * u64::from(index);
        memory.write(at, &address.to_le_bytes());
        memory.write(at + 8, &length.to_le_bytes());
        memory.write(at + 12, &flags.to_le_bytes());
        memory.write(at + 14, &(index + 1).to_le_bytes());
    }
    offer(memory, CONTROL + AREA, 2 * number);
    notify(device, memory, 0);
    (answers(memory) != before).then(|| memory[response as usize])
}

/// Functions that were answered.
pub(super) fn answers(memory: &mut Vec<u8>) -> u16 {
    get16(memory, CONTROL + 2 * AREA + 2)
}

/// A buffer for an event.
pub(super) fn buffer(device: &mut Device, memory: &mut Vec<u8>, number: u16) {
    enable(device, 1, EVENTS);
    let slot = u64::from(number % SIZE);
    let at = EVENTS + 16 * slot;
    memory.write(at, &(EVENTS + 3 * AREA + 16 * slot).to_le_bytes());
    memory.write(at + 8, &16u32.to_le_bytes());
    memory.write(at + 12, &2u16.to_le_bytes());
    offer(memory, EVENTS + AREA, number % SIZE);
    notify(device, memory, 1);
}

/// The events that were told, eight at most.
pub(super) fn events(memory: &mut Vec<u8>) -> Vec<[u8; 16]> {
    let count = get16(memory, EVENTS + 2 * AREA + 2);
    (0..u64::from(count.min(SIZE))).map(|slot| get(memory, EVENTS + 3 * AREA + 16 * slot)).collect()
}

/// Everything a driver could see of a device's life.
pub(super) fn life(kind: Kind, lie: Lie) -> (Vec<u64>, Vec<u8>) {
    life_of(Device::new(kind, false, lie))
}

pub(super) fn life_of(device: Device) -> (Vec<u64>, Vec<u8>) {
    let (mut device, mut memory) = (device.prompt(), vec![0u8; 0x8000]);
    let mut seen: Vec<u64> = (0x30..0x100).step_by(4).map(|at| u64::from(device.config_read(at))).collect();
    for _ in 0..3 {
        seen.extend(bring_up(&mut device, &mut memory));
        for offset in (0..64).step_by(4) {
            seen.push(device.read(bar::DEVICE + offset, 4));
        }
        for number in 0..8 {
            // One that writes, and one past the end.
            let block = if number == 7 { SECTORS } else { 3 };
            let messages = request(&mut device, &mut memory, number == 6, block, number);
            seen.extend(messages.into_iter().map(u64::from));
            seen.extend([
                device.read(20, 1),
                device.read(bar::ISR, 1),
                u64::from(get16(&mut memory, USED + 2)),
            ]);
            for area in [DESCRIPTORS, AVAILABLE, USED, RESPONSE, TABLE] {
                let area = &memory[area as usize..area as usize + 128];
                seen.extend(area.iter().map(|byte| u64::from(*byte)));
            }
        }
        for _ in 0..30 {
            seen.extend(device.tick(&mut memory).into_iter().map(u64::from));
            seen.push(device.read(bar::DEVICE, 4));
        }
    }
    (seen, memory)
}
