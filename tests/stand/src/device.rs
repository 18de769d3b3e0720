//! A virtio-blk device in software, which tells the truth or one lie: registers, configuration space, one split queue, a disk
//! in memory. The structures are those of virtio 1.3: 4.1.4 (capabilities), 4.1.4.3 (common configuration), 2.7 (split
//! queue), 5.2 (block device).
//!
//! It knows nothing of the machine: guest memory is a trait, interrupts are an answer.

mod lies;

use alloc::vec;
use alloc::vec::Vec;

pub use lies::{LIES, Lie, Outcome, Told, find};

/// Offsets in the one base address register, and its size.
pub mod bar {
    /// Common configuration.
    pub const COMMON: u64 = 0;
    /// Interrupt status.
    pub const ISR: u64 = 0x1000;
    /// Device-specific configuration.
    pub const DEVICE: u64 = 0x2000;
    /// Notification.
    pub const NOTIFY: u64 = 0x3000;
    /// MSI-X table.
    pub const TABLE: u64 = 0x4000;
    /// Bytes.
    pub const SIZE: u64 = 0x8000;
}

/// Messages in the MSI-X table.
pub const MESSAGES: u16 = 4;
/// Sectors of the disk.
pub const SECTORS: u64 = 4096;
const SECTOR: usize = 512;
const NO_VECTOR: u16 = 0xFFFF;
const QUEUE_SIZE: u16 = 128;

mod feature {
    pub const SEG_MAX: u64 = 1 << 2;
    pub const BLK_SIZE: u64 = 1 << 6;
    pub const FLUSH: u64 = 1 << 9;
    pub const INDIRECT: u64 = 1 << 28;
    pub const EVENT_IDX: u64 = 1 << 29;
    pub const VERSION_1: u64 = 1 << 32;
}

mod status {
    pub const FEATURES_OK: u8 = 8;
    pub const DRIVER_OK: u8 = 4;
    pub const NEEDS_RESET: u8 = 64;
}

/// Guest memory by physical address. Accesses outside of RAM read as zeros and are counted: a driver gave a bad address.
pub trait Memory {
    /// Reads bytes.
    fn read(&mut self, address: u64, bytes: &mut [u8]);
    /// Writes bytes.
    fn write(&mut self, address: u64, bytes: &[u8]);
}

fn get<const N: usize>(memory: &mut impl Memory, address: u64) -> [u8; N] {
    let mut bytes = [0; N];
    memory.read(address, &mut bytes);
    bytes
}

fn get16(memory: &mut impl Memory, address: u64) -> u16 {
    u16::from_le_bytes(get(memory, address))
}

#[derive(Clone, Copy, Debug, Default)]
struct Queue {
    size: u16,
    vector: u16,
    enabled: bool,
    descriptors: u64,
    available: u64,
    used: u64,
    /// Next entries of the available and used rings.
    next_available: u16,
    next_used: u16,
    /// Used entries that the driver was last interrupted for.
    signalled: u16,
}

/// A descriptor of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    address: u64,
    length: u32,
    device_writes: bool,
}

/// The device.
pub struct Device {
    lie: Lie,
    /// Requests seen.
    pub requests: u64,
    /// Times that the lie was told; when it is told once only, the device is honest afterwards.
    pub told: u64,
    disk: Vec<u8>,
    status: u8,
    features_select: [u32; 2],
    driver_features: u64,
    feature_reads: u32,
    config_vector: u16,
    generation: u8,
    queue_select: u16,
    queue: Queue,
    isr: u8,
    /// Chains that are not answered yet.
    held: Vec<u16>,
    ticks: u64,
    config: [u8; 256],
}

impl Device {
    /// A device that has just been powered on.
    pub fn new(lie: Lie) -> Self {
        let mut device = Device {
            lie,
            requests: 0,
            told: 0,
            disk: vec![0; SECTORS as usize * SECTOR],
            status: 0,
            features_select: [0; 2],
            driver_features: 0,
            feature_reads: 0,
            config_vector: NO_VECTOR,
            generation: 0,
            queue_select: 0,
            queue: Queue { size: QUEUE_SIZE, vector: NO_VECTOR, ..Queue::default() },
            isr: 0,
            held: Vec::new(),
            ticks: 0,
            config: [0; 256],
        };
        device.config_space();
        device
    }

    fn is(&self, lie: Lie) -> bool {
        self.lie == lie
    }

    /// Whether a lie that is told once is due: the n-th request has come and it was not told before.
    fn due(&mut self, lie: Lie) -> bool {
        let due = self.is(lie) && self.told == 0 && self.requests >= 4;
        self.told += u64::from(due);
        due
    }

    fn gone(&self) -> bool {
        self.is(Lie::AllOnes) || self.is(Lie::Gone) && self.requests >= 4
    }

    // ---- Configuration space.

    fn config_space(&mut self) {
        let config = &mut self.config;
        config[..8].copy_from_slice(&[0xF4, 0x1A, 0x42, 0x10, 0, 0, 0x10, 0]);
        (config[8], config[0x0B], config[0x34]) = (1, 1, 0x40);
        config[0x2C..0x30].copy_from_slice(&[0xF4, 0x1A, 0x02, 0x11]);
        config[0x3D] = 1;
        // Type, next capability, structure, offset, length.
        let places = [
            (0x40u8, 0x50u8, 1u8, bar::COMMON, 64u32),
            (0x50, 0x60, 3, bar::ISR, 4),
            (0x60, 0x70, 4, bar::DEVICE, 64),
            (0x70, 0x84, 2, bar::NOTIFY, 0x1000),
        ];
        for (at, next, kind, offset, length) in places {
            let at = usize::from(at);
            config[at..at + 5].copy_from_slice(&[9, next, 16, kind, 0]);
            config[at + 8..at + 12].copy_from_slice(&(offset as u32).to_le_bytes());
            config[at + 12..at + 16].copy_from_slice(&length.to_le_bytes());
        }
        // The notification structure's capability is 4 bytes longer: the multiplier.
        config[0x72] = 20;
        config[0x80..0x84].copy_from_slice(&4u32.to_le_bytes());
        // MSI-X: messages less one, table in register 0.
        config[0x84..0x86].copy_from_slice(&[0x11, 0]);
        config[0x86..0x88].copy_from_slice(&(MESSAGES - 1).to_le_bytes());
        config[0x88..0x8C].copy_from_slice(&(bar::TABLE as u32).to_le_bytes());
        config[0x8C..0x90].copy_from_slice(&(bar::TABLE as u32 + 0x1000).to_le_bytes());
        match self.lie {
            Lie::CapabilityLoop => config[0x71] = 0x50,
            Lie::CapabilityOutside => config[0x48..0x4C].copy_from_slice(&0x7FFF_F000u32.to_le_bytes()),
            Lie::NoCommonCapability => config[0x43] = 7,
            Lie::NotifyMultiplierHuge => config[0x80..0x84].copy_from_slice(&0x8000_0000u32.to_le_bytes()),
            _ => {}
        }
    }

    /// Reads 32 bits of configuration space.
    pub fn config_read(&self, offset: u16) -> u32 {
        if self.gone() {
            return !0;
        }
        let at = usize::from(offset & 0xFC);
        let byte = |index: usize| self.config.get(at + index).copied().unwrap_or(0);
        if offset > 0xFF { 0 } else { u32::from_le_bytes([byte(0), byte(1), byte(2), byte(3)]) }
    }

    /// Writes bytes of configuration space: command, base address register 0, MSI-X control.
    pub fn config_write(&mut self, offset: u16, bytes: &[u8]) {
        for (index, byte) in bytes.iter().enumerate() {
            let at = usize::from(offset) + index;
            if matches!(at, 4..6 | 0x10..0x14 | 0x86..0x88) {
                self.config[at] = *byte;
            }
        }
    }

    // ---- Registers.

    /// Reads a register; all other bits of the answer are zero.
    pub fn read(&mut self, offset: u64, size: u8) -> u64 {
        let ones = if size == 8 { !0 } else { (1 << (8 * u32::from(size))) - 1 };
        if self.gone() {
            return ones;
        }
        let value = match offset {
            bar::COMMON..bar::ISR => self.common_read(offset),
            bar::ISR => {
                let isr = core::mem::take(&mut self.isr);
                u64::from(if self.is(Lie::IsrLies) { 0 } else { isr })
            }
            bar::DEVICE..bar::NOTIFY => self.device_read(offset - bar::DEVICE, size),
            _ => 0,
        };
        value & ones
    }

    fn common_read(&mut self, offset: u64) -> u64 {
        match offset {
            0 => u64::from(self.features_select[0]),
            4 => u64::from((self.offered() >> (32 * self.features_select[0].min(1))) as u32),
            8 => u64::from(self.features_select[1]),
            12 => u64::from((self.driver_features >> (32 * self.features_select[1].min(1))) as u32),
            16 => u64::from(self.config_vector),
            18 => u64::from(if self.is(Lie::NumQueuesZero) { 0u16 } else { 1 }),
            20 => u64::from(self.status),
            21 => {
                if self.is(Lie::GenerationNeverSettles) {
                    self.generation = self.generation.wrapping_add(1);
                }
                u64::from(self.generation)
            }
            22 => u64::from(self.queue_select),
            _ if self.queue_select != 0 => 0,
            24 => u64::from(match self.lie {
                Lie::QueueSizeZero => 0,
                Lie::QueueSizeOdd => 100,
                Lie::QueueSizeHuge => 0xFFFF,
                Lie::QueueSizeOne => 1,
                _ => self.queue.size,
            }),
            26 => u64::from(self.queue.vector),
            28 => u64::from(self.queue.enabled),
            30 => 0,
            32 => self.queue.descriptors,
            36 => self.queue.descriptors >> 32,
            40 => self.queue.available,
            44 => self.queue.available >> 32,
            48 => self.queue.used,
            52 => self.queue.used >> 32,
            _ => 0,
        }
    }

    fn offered(&mut self) -> u64 {
        let all = feature::SEG_MAX
            | feature::BLK_SIZE
            | feature::FLUSH
            | feature::INDIRECT
            | feature::EVENT_IDX
            | feature::VERSION_1;
        self.feature_reads += 1;
        match self.lie {
            Lie::FeaturesChange if self.feature_reads > 3 => feature::VERSION_1,
            Lie::NoVersion1 => all & !feature::VERSION_1,
            Lie::AllFeatures => !0,
            _ => all,
        }
    }

    fn device_read(&self, offset: u64, size: u8) -> u64 {
        let mut config = [0u8; 64];
        let capacity = match self.lie {
            Lie::CapacityZero => 0,
            Lie::CapacityHuge => u64::MAX,
            _ => SECTORS,
        };
        config[..8].copy_from_slice(&capacity.to_le_bytes());
        let seg_max: u32 = match self.lie {
            Lie::SegMaxZero => 0,
            Lie::SegMaxHuge => u32::MAX,
            _ => 62,
        };
        config[12..16].copy_from_slice(&seg_max.to_le_bytes());
        let block: u32 = match self.lie {
            Lie::BlockSizeZero => 0,
            Lie::BlockSizeThree => 3,
            Lie::BlockSizeHuge => 1 << 31,
            _ => 512,
        };
        config[20..24].copy_from_slice(&block.to_le_bytes());
        let at = offset as usize;
        (0..usize::from(size))
            .rev()
            .fold(0, |value, index| value << 8 | u64::from(config.get(at + index).copied().unwrap_or(0)))
    }

    /// Writes a register. Answers with the messages that interrupt now.
    pub fn write(&mut self, offset: u64, value: u64, memory: &mut impl Memory) -> Vec<u16> {
        if self.gone() {
            return Vec::new();
        }
        match offset {
            0 => self.features_select[0] = value as u32,
            8 => self.features_select[1] = value as u32,
            12 => {
                let shift = 32 * self.features_select[1].min(1);
                self.driver_features =
                    self.driver_features & !(0xFFFF_FFFF << shift) | (value & 0xFFFF_FFFF) << shift;
            }
            16 => self.config_vector = self.vector(value),
            20 => self.set_status(value as u8),
            22 => self.queue_select = value as u16,
            bar::NOTIFY.. => return self.notified(memory),
            _ if self.queue_select != 0 => {}
            24 => self.queue.size = value as u16,
            26 => self.queue.vector = self.vector(value),
            28 => self.queue.enabled = value & 1 != 0,
            32 => low(&mut self.queue.descriptors, value),
            36 => high(&mut self.queue.descriptors, value),
            40 => low(&mut self.queue.available, value),
            44 => high(&mut self.queue.available, value),
            48 => low(&mut self.queue.used, value),
            52 => high(&mut self.queue.used, value),
            _ => {}
        }
        Vec::new()
    }

    fn vector(&self, value: u64) -> u16 {
        let vector = value as u16;
        if self.is(Lie::VectorRefused) || vector >= MESSAGES { NO_VECTOR } else { vector }
    }

    fn set_status(&mut self, value: u8) {
        if value == 0 {
            let stuck = self.is(Lie::ResetNeverCompletes) && self.status & status::DRIVER_OK != 0;
            if !stuck {
                self.reset();
            }
            return;
        }
        let refused = self.is(Lie::FeaturesOkRefused) || self.driver_features & feature::VERSION_1 == 0;
        let allowed = if refused { !status::FEATURES_OK } else { !0 };
        self.status = self.status & status::NEEDS_RESET | value & allowed;
    }

    /// The device forgets everything but the disk.
    pub fn reset(&mut self) {
        self.status = 0;
        self.features_select = [0; 2];
        self.driver_features = 0;
        self.config_vector = NO_VECTOR;
        self.queue_select = 0;
        self.queue = Queue { size: QUEUE_SIZE, vector: NO_VECTOR, ..Queue::default() };
        self.isr = 0;
        self.held.clear();
    }

    // ---- Requests.

    fn notified(&mut self, memory: &mut impl Memory) -> Vec<u16> {
        if self.status & status::DRIVER_OK == 0
            || self.status & status::NEEDS_RESET != 0
            || !self.queue.enabled
        {
            return Vec::new();
        }
        let mut messages = Vec::new();
        loop {
            let available = get16(memory, self.queue.available + 2);
            while self.queue.next_available != available {
                let slot = u64::from(self.queue.next_available % self.queue.size.max(1));
                let head = get16(memory, self.queue.available + 4 + 2 * slot);
                self.queue.next_available = self.queue.next_available.wrapping_add(1);
                self.requests += 1;
                self.serve(head, memory, &mut messages);
                if self.status & status::NEEDS_RESET != 0 || self.gone() {
                    return messages;
                }
            }
            self.ask_for_notification(memory);
            // A request may have come before the driver saw that it has to notify.
            if get16(memory, self.queue.available + 2) == self.queue.next_available {
                break;
            }
        }
        self.signal(memory, &mut messages);
        messages
    }

    /// Tells the driver which request it has to notify of (2.7.10).
    fn ask_for_notification(&mut self, memory: &mut impl Memory) {
        let event = if self.is(Lie::AvailEventGarbage) { 0x5A5A } else { self.queue.next_available };
        let at = self.queue.used + 4 + 8 * u64::from(self.queue.size);
        memory.write(at, &event.to_le_bytes());
        if self.is(Lie::UsedFlagsGarbage) {
            memory.write(self.queue.used, &0xFFFFu16.to_le_bytes());
        }
    }

    fn serve(&mut self, head: u16, memory: &mut impl Memory, messages: &mut Vec<u16>) {
        if self.is(Lie::NeverCompletes) && self.requests >= 4 || self.due(Lie::ForgetsOne) {
            self.held.push(head);
            return;
        }
        if self.due(Lie::NeedsReset) {
            self.status |= status::NEEDS_RESET;
            self.change(messages);
            return;
        }
        let moved = self.execute(head, memory);
        let size = self.queue.size.max(1);
        if self.due(Lie::UsedIdOutOfRange) {
            self.used(u32::from(size) + 7, moved, memory);
        } else if self.due(Lie::UsedIdEnormous) {
            self.used(0xFFFF_FFFF, moved, memory);
        } else if self.due(Lie::UsedIdFree) {
            self.used(u32::from((head + size / 2) % size), moved, memory);
        } else if self.due(Lie::UsedTwice) {
            self.used(u32::from(head), moved, memory);
            self.used(u32::from(head), moved, memory);
        } else if self.due(Lie::UsedIndexJumps) {
            self.used(u32::from(head), moved, memory);
            self.queue.next_used = self.queue.next_used.wrapping_add(size).wrapping_add(3);
            memory.write(self.queue.used + 2, &self.queue.next_used.to_le_bytes());
        } else if self.due(Lie::UsedIndexGoesBack) {
            self.used(u32::from(head), moved, memory);
            let back = self.queue.next_used.wrapping_sub(5);
            memory.write(self.queue.used + 2, &back.to_le_bytes());
        } else if self.is(Lie::UsedLengthZero) {
            self.used(u32::from(head), 0, memory);
        } else if self.is(Lie::UsedLengthHuge) {
            self.used(u32::from(head), 0xFFFF_FFFF, memory);
        } else {
            self.used(u32::from(head), moved, memory);
        }
        if self.is(Lie::RewritesDescriptors) {
            let garbage = [0xA5; 16];
            for index in 0..u64::from(size) {
                memory.write(self.queue.descriptors + 16 * index, &garbage);
            }
        }
    }

    /// Puts an entry into the used ring.
    fn used(&mut self, id: u32, length: u32, memory: &mut impl Memory) {
        let slot = u64::from(self.queue.next_used % self.queue.size.max(1));
        memory.write(self.queue.used + 4 + 8 * slot, &id.to_le_bytes());
        memory.write(self.queue.used + 8 + 8 * slot, &length.to_le_bytes());
        self.queue.next_used = self.queue.next_used.wrapping_add(1);
        memory.write(self.queue.used + 2, &self.queue.next_used.to_le_bytes());
    }

    /// The descriptors of a chain, a table of its own included; at most 1024.
    fn chain(&self, head: u16, memory: &mut impl Memory) -> Vec<Part> {
        let mut parts = Vec::new();
        let (mut table, mut size, mut index) = (self.queue.descriptors, self.queue.size, head);
        while parts.len() < 1024 && index < size {
            let at = table + 16 * u64::from(index);
            let address = u64::from_le_bytes(get(memory, at));
            let length = u32::from_le_bytes(get(memory, at + 8));
            let flags = get16(memory, at + 12);
            if flags & 4 != 0 {
                (table, size, index) = (address, (length / 16).min(1024) as u16, 0);
                continue;
            }
            parts.push(Part { address, length, device_writes: flags & 2 != 0 });
            if flags & 1 == 0 {
                break;
            }
            index = get16(memory, at + 14);
        }
        parts
    }

    /// Does what a request asks for, status included (5.2.6); answers with the bytes written.
    fn execute(&mut self, head: u16, memory: &mut impl Memory) -> u32 {
        let parts = self.chain(head, memory);
        let (Some(first), Some(last)) = (parts.first().copied(), parts.last().copied()) else { return 0 };
        let header: [u8; 16] = get(memory, first.address);
        let kind = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
        let sector = u64::from_le_bytes(header[8..16].try_into().unwrap_or_default());
        let data = if parts.len() > 2 { &parts[1..parts.len() - 1] } else { &[] };
        let bytes: u64 = data.iter().map(|part| u64::from(part.length)).sum();
        let start = sector.saturating_mul(SECTOR as u64);
        let fits = start.saturating_add(bytes) <= self.disk.len() as u64;
        let (mut moved, mut at) = (0, start as usize);
        let status = match kind {
            0 if fits => {
                for part in data.iter().filter(|part| part.device_writes) {
                    let end = at + part.length as usize;
                    memory.write(part.address, &self.disk[at..end]);
                    (at, moved) = (end, moved + part.length);
                }
                0
            }
            1 if fits => {
                for part in data.iter().filter(|part| !part.device_writes) {
                    let end = at + part.length as usize;
                    memory.read(part.address, &mut self.disk[at..end]);
                    at = end;
                }
                0
            }
            4 => 0,
            8 => {
                let mut serial = [0u8; 20];
                serial[..9].copy_from_slice(b"LIAR-0001");
                for part in data.iter().filter(|part| part.device_writes).take(1) {
                    let length = (part.length as usize).min(serial.len());
                    memory.write(part.address, &serial[..length]);
                    moved += length as u32;
                }
                0
            }
            0 | 1 => 1,
            _ => 2,
        };
        match self.lie {
            Lie::StatusNotWritten if self.requests >= 4 => {}
            Lie::StatusGarbage if self.requests >= 4 => memory.write(last.address, &[0x7B]),
            _ if last.device_writes => memory.write(last.address, &[status]),
            _ => {}
        }
        moved + 1
    }

    // ---- Interrupts.

    /// Interrupts for used entries, if the driver wants to hear of one of them (2.7.10).
    fn signal(&mut self, memory: &mut impl Memory, messages: &mut Vec<u16>) {
        let (old, new) = (self.queue.signalled, self.queue.next_used);
        if old == new || self.is(Lie::InterruptsNever) && self.requests >= 4 {
            return;
        }
        let wanted = if self.driver_features & feature::EVENT_IDX != 0 {
            let event = get16(memory, self.queue.available + 4 + 2 * u64::from(self.queue.size));
            new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
        } else {
            get16(memory, self.queue.available) & 1 == 0
        };
        self.queue.signalled = new;
        if wanted {
            self.isr |= 1;
            messages.push(self.queue.vector);
        }
    }

    fn change(&mut self, messages: &mut Vec<u16>) {
        self.generation = self.generation.wrapping_add(1);
        self.isr |= 2;
        messages.push(self.config_vector);
    }

    /// A millisecond has passed.
    pub fn tick(&mut self, memory: &mut impl Memory) -> Vec<u16> {
        let mut messages = Vec::new();
        if self.status & status::DRIVER_OK == 0 || self.gone() {
            return messages;
        }
        self.ticks += 1;
        match self.lie {
            Lie::InterruptStorm => {
                self.isr |= 1;
                messages.extend([self.queue.vector; 8]);
            }
            Lie::ConfigStorm => self.change(&mut messages),
            // What a driver misses of the first notification it learns from the clock.
            _ => messages.extend(self.notified(memory)),
        }
        messages
    }
}

fn low(word: &mut u64, value: u64) {
    *word = *word & !0xFFFF_FFFF | value & 0xFFFF_FFFF;
}

fn high(word: &mut u64, value: u64) {
    *word = *word & 0xFFFF_FFFF | value << 32;
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Memory for Vec<u8> {
        fn read(&mut self, address: u64, bytes: &mut [u8]) {
            bytes.copy_from_slice(&self[address as usize..address as usize + bytes.len()]);
        }
        fn write(&mut self, address: u64, bytes: &[u8]) {
            self[address as usize..address as usize + bytes.len()].copy_from_slice(bytes);
        }
    }

    const DESCRIPTORS: u64 = 0x1000;
    const AVAILABLE: u64 = 0x2000;
    const USED: u64 = 0x3000;
    const HEADER: u64 = 0x4000;
    const DATA: u64 = 0x5000;
    const STATUS: u64 = 0x6000;

    /// A device that a driver has brought up with one queue of 8.
    fn running(lie: Lie) -> (Device, Vec<u8>) {
        let (mut device, mut memory) = (Device::new(lie), vec![0u8; 0x8000]);
        let mut write = |offset: u64, value: u64| device.write(offset, value, &mut memory);
        for (offset, value) in [
            (20, 0),
            (20, 3),
            (8, 1),
            (12, 1),
            (20, 11),
            (24, 8),
            (26, 1),
            (32, DESCRIPTORS),
            (40, AVAILABLE),
            (48, USED),
            (28, 1),
            (20, 15),
        ] {
            write(offset, value);
        }
        (device, memory)
    }

    /// Puts a request into the ring at descriptors 0 to 2 and notifies.
    fn request(device: &mut Device, memory: &mut Vec<u8>, kind: u32, sector: u64, number: u16) -> Vec<u16> {
        memory.write(HEADER, &kind.to_le_bytes());
        memory.write(HEADER + 8, &sector.to_le_bytes());
        memory.write(STATUS, &[0xEE]);
        let data_flags = if kind == 1 { 1u16 } else { 3 };
        for (index, (address, length, flags, next)) in
            [(HEADER, 16u32, 1u16, 1u16), (DATA, 512, data_flags, 2), (STATUS, 1, 2, 0)]
                .into_iter()
                .enumerate()
        {
            let at = DESCRIPTORS + 16 * index as u64;
            memory.write(at, &address.to_le_bytes());
            memory.write(at + 8, &length.to_le_bytes());
            memory.write(at + 12, &flags.to_le_bytes());
            memory.write(at + 14, &next.to_le_bytes());
        }
        memory.write(AVAILABLE + 4 + 2 * u64::from(number % 8), &0u16.to_le_bytes());
        memory.write(AVAILABLE + 2, &(number + 1).to_le_bytes());
        device.write(bar::NOTIFY, 0, memory)
    }

    #[test]
    fn an_honest_device_keeps_what_it_is_given_and_interrupts() {
        let (mut device, mut memory) = running(Lie::None);
        memory.write(DATA, &[7; 512]);

        let written = request(&mut device, &mut memory, 1, 9, 0);
        memory.write(DATA, &[0; 512]);
        let read = request(&mut device, &mut memory, 0, 9, 1);

        assert_eq!((written, read), (vec![1], vec![1]));
        assert_eq!(memory[DATA as usize..DATA as usize + 512], [7; 512]);
        assert_eq!((memory[STATUS as usize], get16(&mut memory, USED + 2)), (0, 2));
        // id 0, 513 bytes written.
        assert_eq!(get::<8>(&mut memory, USED + 12), [0, 0, 0, 0, 1, 2, 0, 0]);
    }

    #[test]
    fn past_the_end_is_an_error_and_an_unknown_request_is_not_supported() {
        let (mut device, mut memory) = running(Lie::None);

        request(&mut device, &mut memory, 0, SECTORS, 0);
        let past = memory[STATUS as usize];
        request(&mut device, &mut memory, 99, 0, 1);

        assert_eq!((past, memory[STATUS as usize]), (1, 2));
    }

    #[test]
    fn nothing_is_served_before_driver_ok_and_after_a_reset() {
        let (mut device, mut memory) = running(Lie::None);
        device.write(20, 0, &mut memory);

        assert!(request(&mut device, &mut memory, 0, 0, 0).is_empty());
        assert_eq!((device.read(20, 1), memory[STATUS as usize]), (0, 0xEE));
    }

    #[test]
    fn every_lie_differs_from_the_truth() {
        for told in LIES {
            let (mut honest, mut memory) = running(Lie::None);
            let (mut liar, mut false_memory) = running(told.lie);
            let mut trace = Vec::new();
            for device in [(&mut honest, &mut memory), (&mut liar, &mut false_memory)] {
                let (device, memory) = device;
                let mut seen = Vec::new();
                for number in 0..8 {
                    let messages = request(device, memory, 0, 3, number);
                    seen.push((messages, device.read(20, 1), device.read(bar::ISR, 1)));
                    seen.push((vec![], u64::from(get16(memory, USED + 2)), 0));
                }
                seen.push((device.tick(memory), device.read(24, 2), device.read(18, 2)));
                for offset in (0..80).step_by(4) {
                    let first =
                        (device.read(bar::DEVICE + offset, 4), device.config_read(0x40 + offset as u16));
                    seen.push((vec![], first.0, u64::from(first.1)));
                }
                for select in [0, 1, 0, 1, 0, 1] {
                    device.write(0, select, memory);
                    seen.push((vec![], device.read(4, 4), device.read(21, 1)));
                }
                device.write(16, 1, memory);
                device.write(20, 0, memory);
                seen.push((vec![], device.read(16, 2), device.read(20, 1)));
                device.write(16, 1, memory);
                device.write(8, 1, memory);
                device.write(12, 1, memory);
                device.write(20, 11, memory);
                seen.push((vec![], device.read(16, 2), device.read(20, 1)));
                trace.push((seen, memory.clone()));
            }
            assert!(trace[0] != trace[1], "{} tells the truth", told.name);
        }
    }
}
