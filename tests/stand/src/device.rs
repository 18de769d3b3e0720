//! A virtio block device or SCSI host in software, which tells the truth or one lie: registers, configuration space, split or
//! packed queues, a disk in memory. The structures are those of virtio 1.3: 4.1.4 (capabilities), 4.1.4.3 (common
//! configuration); see `queue`, `blk` and `scsi` for the rest.
//!
//! It knows nothing of the machine: guest memory is a trait, interrupts are an answer.
//!
//! It is as unpredictable as a device may be: some requests are answered at once, others with the clock, and in any order.

mod blk;
mod bytes;
mod conduct;
mod lies;
mod manners;
mod queue;
mod scsi;

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use bytes::Bytes;
use conduct::Conduct;
pub use lies::{LIES, Lie, Outcome, Told, find};
use manners::{Habits, Used};
pub use manners::{MANNERS, Manner, find_manner};
use queue::{Chain, Fault, Queue};

use crate::stamp::SplitMix64;

/// What kind of device it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A block device.
    Blk,
    /// A SCSI host with one disk.
    Scsi,
}

impl Kind {
    /// The PCI device id.
    pub fn device_id(self) -> u16 {
        match self {
            Kind::Blk => 0x1042,
            Kind::Scsi => 0x1048,
        }
    }

    fn queues(self) -> u16 {
        match self {
            Kind::Blk => 1,
            Kind::Scsi => scsi::REQUEST_QUEUE + 1,
        }
    }

    /// The queue that lies are told in.
    fn request_queue(self) -> u16 {
        self.queues() - 1
    }
}

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
/// The request with which a lie begins when nothing else is said, and how many requests a while is.
pub const MOMENT: u64 = 4;
const WHILE: u64 = 20;
/// Resets that a device does not do which does one at last.
const REFUSED_RESETS: u32 = 2;
/// Milliseconds that a reset takes that takes seconds.
const RESET_TICKS: u64 = 3000;
/// The same of one that takes a second.
pub const SLOW_RESET_TICKS: u64 = 1000;
/// Requests that a device answers before it waits for the reset with which its lie begins.
const PATIENCE: u64 = 12;
/// Bytes between the notification addresses of two queues.
const NOTIFY_STEP: u64 = 4;

mod feature {
    pub const SEG_MAX: u64 = 1 << 2;
    pub const BLK_SIZE: u64 = 1 << 6;
    pub const FLUSH: u64 = 1 << 9;
    pub const INDIRECT: u64 = 1 << 28;
    pub const EVENT_IDX: u64 = 1 << 29;
    pub const VERSION_1: u64 = 1 << 32;
    pub const PACKED: u64 = 1 << 34;
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

/// The device.
pub struct Device {
    kind: Kind,
    /// Packed queues are offered.
    packed: bool,
    lie: Lie,
    habits: Habits,
    /// Everything is answered at once and in order.
    prompt: bool,
    /// Nothing is answered.
    silent: bool,
    random: SplitMix64,
    conduct: Conduct,
    /// The request at which the lie begins, counted from 1.
    moment: u64,
    /// Resets that it is honest until.
    honest_resets: u32,
    /// Resets that were asked for and not done.
    refused_resets: u32,
    /// When the reset ends that takes its time; 0 when there is none.
    reset_ends: u64,
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
    queues: Vec<Queue>,
    isr: u8,
    /// Resets so far, and looks at the status since the last of them.
    resets: u32,
    looks: u32,
    /// Ticks that it was gone for.
    away: u32,
    /// Requests that are not answered yet: queue, the tick from which they may be, the request.
    held: Vec<(u16, u64, Chain)>,
    /// The commands that a SCSI host has: id in the queue, unit and tag, and whether another one had them then.
    commands: Vec<(u16, scsi::Name, bool)>,
    ticks: u64,
    config: [u8; 256],
}

impl Device {
    /// A device that has just been powered on.
    pub fn new(kind: Kind, packed: bool, lie: Lie) -> Self {
        let mut device = Device {
            kind,
            packed,
            lie,
            habits: Habits::NONE,
            prompt: false,
            silent: false,
            random: SplitMix64(0x11A2),
            conduct: Conduct::default(),
            moment: MOMENT,
            honest_resets: 0,
            refused_resets: 0,
            reset_ends: 0,
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
            queues: Vec::new(),
            isr: 0,
            resets: 0,
            looks: 0,
            away: 0,
            held: Vec::new(),
            commands: Vec::new(),
            ticks: 0,
            config: [0; 256],
        };
        device.fresh_queues();
        device.config_space();
        device
    }

    /// The same device, but one whose lie begins with another request, counted from 1.
    pub fn lies_from(self, moment: u64) -> Self {
        Device { moment, ..self }
    }

    /// The same device, but one of this manner, if it has one.
    pub fn with_manner(self, manner: Option<&Manner>) -> Self {
        let habits = manner.map_or(Habits::NONE, |manner| manner.habits);
        let mut device = Device { habits, ..self };
        device.fresh_queues();
        device
    }

    /// The same device, but one that answers everything at once and in order.
    pub fn prompt(self) -> Self {
        Device { prompt: true, ..self }
    }

    /// The same device, but one that is honest until it has been reset so many times.
    pub fn lies_after_resets(self, resets: u32) -> Self {
        let mut device = Device { honest_resets: resets, config: [0; 256], ..self };
        device.config_space();
        device
    }

    /// The lie that it tells now.
    fn lie(&self) -> Lie {
        if self.resets >= self.honest_resets { self.lie } else { Lie::None }
    }

    fn is(&self, lie: Lie) -> bool {
        self.lie() == lie
    }

    /// Whether a lie that is told once is due: the n-th request has come and it was not told before.
    fn due(&mut self, lie: Lie) -> bool {
        let due = self.is(lie) && self.told == 0 && self.begun();
        self.told += u64::from(due);
        due
    }

    /// Whether the driver has said that it is ready.
    fn is_started(&self) -> bool {
        self.status & status::DRIVER_OK != 0
    }

    /// Whether the moment has come.
    fn begun(&self) -> bool {
        self.requests >= self.moment
    }

    /// Whether a lie that is told for a while is told now.
    fn lying(&self) -> bool {
        (self.moment..self.moment + WHILE).contains(&self.requests)
    }

    fn gone(&self) -> bool {
        self.is(Lie::AllOnes)
            || self.is(Lie::Gone) && self.begun()
            || self.is(Lie::GoneForAWhile) && self.begun() && self.away < 20
    }

    /// The bytes of the disk from `start` on, if it has so many.
    fn disk_range(&self, start: u64, bytes: u64) -> Result<Range<usize>, u8> {
        let end = start.checked_add(bytes).filter(|end| *end <= self.disk.len() as u64).ok_or(1)?;
        Ok(start as usize..end as usize)
    }

    // ---- Configuration space.

    fn config_space(&mut self) {
        let lie = self.lie();
        let config = &mut self.config;
        config[..8].copy_from_slice(&[0xF4, 0x1A, 0, 0, 0, 0, 0x10, 0]);
        config[2..4].copy_from_slice(&self.kind.device_id().to_le_bytes());
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
        match lie {
            // The capability of message interrupts is the last one.
            Lie::LineOnly | Lie::IsrLies | Lie::IsrOnes => config[0x71] = 0,
            Lie::CapabilityLoop => config[0x71] = 0x50,
            Lie::CapabilityNoBar => config[0x44] = 3,
            Lie::CapabilityReservedBar => config[0x44] = 7,
            // Common configuration, of which the last bytes would lie behind the end.
            Lie::CapabilityAtTheEnd => {
                (config[0x34], config[0xFC], config[0xFD]) = (0xFC, 9, 0x50);
                (config[0xFE], config[0xFF]) = (16, 1);
            }
            Lie::CommonShort => config[0x4C] = 16,
            Lie::ConfigShort => config[0x6C] = 4,
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
            bar::COMMON..bar::ISR => {
                self.check_width(offset, size);
                self.common_read(offset)
            }
            bar::ISR => {
                let isr = core::mem::take(&mut self.isr);
                u64::from(match self.lie() {
                    Lie::IsrLies => 0,
                    Lie::IsrOnes => 0xFF,
                    _ => isr,
                })
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
            18 => u64::from(match self.lie() {
                Lie::NumQueuesZero => 0,
                Lie::NumQueuesHuge => 0xFFFF,
                _ => self.kind.queues(),
            }),
            20 => u64::from(self.read_status()),
            21 => {
                if self.is(Lie::GenerationNeverSettles) {
                    self.generation = self.generation.wrapping_add(1);
                }
                u64::from(self.generation)
            }
            22 => u64::from(self.queue_select),
            _ => self.queue_read(offset),
        }
    }

    fn read_status(&mut self) -> u8 {
        self.looks += 1;
        match self.lie() {
            Lie::ResetNeverBegins => self.status | 1,
            Lie::ResetSlow if self.status == 0 && self.looks < 10 => 0x0F,
            _ => self.status,
        }
    }

    fn queue_read(&self, offset: u64) -> u64 {
        let Some(queue) = self.queues.get(usize::from(self.queue_select)) else { return 0 };
        let told = self.queue_select == self.kind.request_queue();
        match offset {
            24 => u64::from(match self.lie() {
                Lie::QueueSizeZero if told => 0,
                Lie::QueueSizeOdd if told => 100,
                Lie::QueueSizeHuge if told => 0xFFFF,
                Lie::QueueSizeOne if told => 1,
                Lie::QueueSizeShrinks if told && self.resets >= 2 => 4,
                _ => queue.size,
            }),
            26 => u64::from(queue.vector),
            28 => u64::from(queue.enabled),
            30 if self.is(Lie::NotifyOffsetHuge) => 0xFFFF,
            30 => u64::from(self.queue_select),
            32 => queue.descriptors,
            36 => queue.descriptors >> 32,
            40 => queue.available,
            44 => queue.available >> 32,
            48 => queue.used,
            52 => queue.used >> 32,
            _ => 0,
        }
    }

    fn offered(&mut self) -> u64 {
        self.feature_reads += 1;
        self.features()
    }

    fn features(&self) -> u64 {
        let own = match self.kind {
            Kind::Blk => feature::SEG_MAX | feature::BLK_SIZE | feature::FLUSH,
            Kind::Scsi => 0,
        };
        let packed = if self.packed { feature::PACKED } else { 0 };
        let all = own | feature::INDIRECT | feature::EVENT_IDX | feature::VERSION_1 | packed;
        let all = all & !self.habits.withheld;
        match self.lie() {
            Lie::NoTables => all & !feature::INDIRECT,
            Lie::NoEvents => all & !feature::EVENT_IDX,
            Lie::FeaturesChange if self.feature_reads > 3 => feature::VERSION_1,
            Lie::NoVersion1 => all & !feature::VERSION_1,
            Lie::AllFeatures => !0,
            _ => all,
        }
    }

    fn device_read(&self, offset: u64, size: u8) -> u64 {
        let config = match self.kind {
            Kind::Blk => blk::config(self),
            Kind::Scsi => scsi::config(self),
        };
        let at = offset as usize;
        (0..usize::from(size))
            .rev()
            .fold(0, |value, index| value << 8 | u64::from(config.get(at + index).copied().unwrap_or(0)))
    }

    /// Writes a register. Answers with the messages that interrupt now.
    pub fn write(&mut self, offset: u64, size: u8, value: u64, memory: &mut impl Memory) -> Vec<u16> {
        if self.gone() {
            return Vec::new();
        }
        if offset < bar::ISR {
            self.check_width(offset, size);
        }
        match offset {
            0 => self.features_select[0] = value as u32,
            8 => self.features_select[1] = value as u32,
            12 => {
                self.check_features_written();
                let shift = 32 * self.features_select[1].min(1);
                self.driver_features =
                    self.driver_features & !(0xFFFF_FFFF << shift) | (value & 0xFFFF_FFFF) << shift;
            }
            16 => self.config_vector = self.vector(value),
            20 => {
                self.set_status(value as u8);
                if self.is(Lie::CapacityGrowsAtStart) && self.is_started() {
                    let mut messages = Vec::new();
                    self.change(&mut messages);
                    return messages;
                }
            }
            22 => self.queue_select = value as u16,
            bar::NOTIFY..bar::TABLE => {
                // Two bytes say the queue, even where more is said besides it (4.1.5.2).
                self.check_notification();
                let index = usize::from(((offset - bar::NOTIFY) / NOTIFY_STEP) as u16);
                if let Some(queue) = self.queues.get_mut(index) {
                    queue.kicked = true;
                }
                return self.work(memory);
            }
            _ => self.queue_write(offset, value),
        }
        Vec::new()
    }

    fn queue_write(&mut self, offset: u64, value: u64) {
        match offset {
            24 => self.check_size(value),
            28 => self.check_enable(value),
            _ => {}
        }
        let vector = self.vector(value);
        let events = self.driver_features & feature::EVENT_IDX != 0;
        let packed = self.driver_features & feature::PACKED != 0;
        let Some(queue) = self.queues.get_mut(usize::from(self.queue_select)) else { return };
        match offset {
            24 => queue.size = value as u16,
            26 => queue.vector = vector,
            28 => (queue.enabled, queue.events, queue.packed) = (value & 1 != 0, events, packed),
            32 => low(&mut queue.descriptors, value),
            36 => high(&mut queue.descriptors, value),
            40 => low(&mut queue.available, value),
            44 => high(&mut queue.available, value),
            48 => low(&mut queue.used, value),
            52 => high(&mut queue.used, value),
            _ => {}
        }
    }

    fn fresh_queues(&mut self) {
        let size = self.habits.queue_size;
        self.queues = vec![Queue::new(size, NO_VECTOR); usize::from(self.kind.queues())];
    }

    fn vector(&self, value: u64) -> u16 {
        let vector = value as u16;
        if self.is(Lie::VectorRefused) || vector >= MESSAGES { NO_VECTOR } else { vector }
    }

    fn set_status(&mut self, value: u8) {
        if value == 0 {
            let stuck = match self.lie() {
                Lie::ResetNeverCompletes => true,
                Lie::ResetNeverCompletesAtWork => self.begun(),
                Lie::ResetCompletesAtLast => self.begun() && self.refused_resets < REFUSED_RESETS,
                Lie::ResetTakesSeconds if self.begun() && self.refused_resets == 0 => {
                    self.reset_ends = self.ticks + RESET_TICKS;
                    true
                }
                Lie::ResetTakesSeconds => self.reset_ends > self.ticks,
                Lie::ResetTakesASecond => {
                    if self.is_started() && self.reset_ends == 0 {
                        self.reset_ends = self.ticks + SLOW_RESET_TICKS;
                    }
                    true
                }
                _ => false,
            };
            if stuck && self.is_started() {
                self.refused_resets += 1;
                // Until the reset has ended the device may still do anything with its requests (2.4.1).
                self.silent = false;
            } else {
                self.reset();
            }
            return;
        }
        self.check_status(value);
        let refused = self.is(Lie::FeaturesOkRefused) || self.driver_features & feature::VERSION_1 == 0;
        let allowed = if refused { !status::FEATURES_OK } else { !0 };
        self.looks = 100;
        self.status = self.status & status::NEEDS_RESET | value & allowed;
    }

    /// The device forgets everything but the disk.
    pub fn reset(&mut self) {
        self.status = 0;
        self.features_select = [0; 2];
        self.driver_features = 0;
        self.config_vector = NO_VECTOR;
        self.queue_select = 0;
        self.fresh_queues();
        self.isr = 0;
        (self.resets, self.looks) = (self.resets + 1, 0);
        self.held.clear();
        self.commands.clear();
        (self.silent, self.reset_ends) = (false, 0);
    }

    // ---- Requests.

    /// From now on it answers nothing, until it is told to reset itself.
    pub fn be_silent(&mut self) {
        self.silent = true;
    }

    /// Says of a request that it has that it was one of a number that there is not. Answers with the messages that interrupt
    /// now; none when it has no request.
    pub fn break_ring(&mut self, memory: &mut impl Memory) -> Vec<u16> {
        let mut messages = Vec::new();
        let index = self.kind.request_queue();
        let at = self.held.iter().position(|(queue, ..)| *queue == index);
        if let Some(at) = at.filter(|_| self.running()) {
            let (_, _, chain) = self.held.remove(at);
            let id = u32::from(self.queue(index).size) + 7;
            self.queue(index).give(&chain, id, 0, memory);
            self.signal(index, memory, &mut messages);
        }
        messages
    }

    fn running(&self) -> bool {
        self.status & status::DRIVER_OK != 0
            && self.status & status::NEEDS_RESET == 0
            && !self.gone()
            && self.is_bus_master()
    }

    /// Bus Master Enable in the command register: without it no memory is reached, and no message sent, as that is a
    /// write to memory (PCI Local Bus Specification 3.0, 6.2.2). No lie is told about this: it is not the part of a device
    /// that virtio is about.
    fn is_bus_master(&self) -> bool {
        self.config[4] & 4 != 0
    }

    /// Takes the requests of the queues that were notified of, and answers those whose time has come.
    fn work(&mut self, memory: &mut impl Memory) -> Vec<u16> {
        let mut messages = Vec::new();
        for index in 0..self.kind.queues() {
            if self.running() && core::mem::take(&mut self.queue(index).kicked) && self.queue(index).enabled {
                self.take(index, memory, &mut messages);
            }
        }
        if !self.prompt {
            self.shuffle();
        }
        while self.running()
            && !self.silent
            && let Some(at) = self.held.iter().position(|(_, due, _)| *due <= self.ticks)
        {
            let (index, _, chain) = self.held.remove(at);
            self.serve(index, &chain, memory);
        }
        for index in 0..self.kind.queues() {
            self.signal(index, memory, &mut messages);
        }
        messages
    }

    fn queue(&mut self, index: u16) -> &mut Queue {
        &mut self.queues[usize::from(index)]
    }

    fn take(&mut self, index: u16, memory: &mut impl Memory, messages: &mut Vec<u16>) {
        loop {
            while let Some(chain) = self.queue(index).take(memory) {
                if self.queue(index).faults.has(Fault::TOO_MANY) {
                    // Nothing in the queue can be believed any more; the device asks for a reset, as QEMU's do.
                    let seen = *self.queue(index);
                    self.check_queue(&seen);
                    self.status |= status::NEEDS_RESET;
                    self.change(messages);
                    return;
                }
                if index == self.kind.request_queue() {
                    self.requests += 1;
                    self.check_request(&chain, memory);
                }
                if index != self.kind.request_queue() || !self.swallow(messages) {
                    let due = self.due_at();
                    self.held.push((index, due, chain));
                }
                if !self.running() {
                    return;
                }
            }
            let seen = *self.queue(index);
            self.check_queue(&seen);
            self.ask(index, memory);
            // A request may have come before the driver saw that it has to notify.
            let mut probe = *self.queue(index);
            if probe.take(memory).is_none() {
                break;
            }
        }
    }

    /// Whether a request is never answered.
    fn swallow(&mut self, messages: &mut Vec<u16>) -> bool {
        if self.is(Lie::NeverCompletes) && self.begun()
            || self.due(Lie::ForgetsOne)
            || self.due(Lie::ResetNeverCompletesAtWork)
            || self.due(Lie::ResetCompletesAtLast)
            || self.due(Lie::ResetTakesSeconds)
        {
            return true;
        }
        if self.due(Lie::NeedsReset) || self.is(Lie::NeedsResetForEver) && self.begun() {
            self.status |= status::NEEDS_RESET;
            self.change(messages);
            return true;
        }
        if self.due(Lie::CapacityShrinks) {
            self.change(messages);
        }
        false
    }

    /// The tick at which a request is answered.
    fn due_at(&mut self) -> u64 {
        if self.requests > PATIENCE && self.resets + 1 == self.honest_resets {
            // Nothing wrong with taking long; so the reset with which the lie begins finds requests.
            u64::MAX
        } else if self.is(Lie::Slow) && self.lying() {
            self.ticks + 500
        } else if self.prompt {
            self.ticks
        } else {
            self.ticks + self.random.below(3).saturating_sub(1)
        }
    }

    fn shuffle(&mut self) {
        for at in (1..self.held.len()).rev() {
            let other = self.random.below(at as u64 + 1) as usize;
            self.held.swap(at, other);
        }
    }

    fn ask(&mut self, index: u16, memory: &mut impl Memory) {
        let lie = self.is(Lie::AvailEventGarbage).then_some(0x5A5A);
        let flags = self.is(Lie::UsedFlagsGarbage);
        let queue = self.queue(index);
        queue.ask_for_notification(lie, memory);
        if flags {
            queue.spoil_flags(memory);
        }
    }

    fn serve(&mut self, index: u16, chain: &Chain, memory: &mut impl Memory) {
        let moved = match self.kind {
            Kind::Blk => blk::execute(self, &chain.parts, memory),
            Kind::Scsi if index == scsi::REQUEST_QUEUE => scsi::execute(self, chain, memory),
            Kind::Scsi if index == 0 => scsi::control(&chain.parts, memory),
            // Buffers for events wait for one.
            Kind::Scsi => return,
        };
        let id = u32::from(chain.id);
        if index != self.kind.request_queue() {
            self.queue(index).give(chain, id, moved, memory);
            return;
        }
        let size = self.queue(index).size.max(1);
        let id = if self.due(Lie::UsedIdOutOfRange) {
            u32::from(size) + 7
        } else if self.due(Lie::UsedIdEnormous) {
            0xFFFF_FFFF
        } else if self.due(Lie::UsedIdFree) {
            u32::from(chain.id.wrapping_add(size / 2) % size)
        } else {
            id
        };
        let moved = match self.lie() {
            Lie::UsedLengthZero => 0,
            Lie::UsedLengthHuge => 0xFFFF_FFFF,
            _ => self.used_length(chain, moved, memory),
        };
        self.queue(index).give(chain, id, moved, memory);
        if self.due(Lie::UsedTwice) {
            self.queue(index).give(chain, id, moved, memory);
        }
        if self.due(Lie::UsedIndexJumps) {
            self.queue(index).jump(memory);
        }
        if self.due(Lie::UsedIndexGoesBack) {
            self.queue(index).go_back(memory);
        }
        if self.is(Lie::RewritesDescriptors) || self.due(Lie::RewritesOnce) {
            self.queue(index).overwrite(false, memory);
        }
        if self.due(Lie::RewritesAvailable) {
            self.queue(index).overwrite(true, memory);
        }
        if let (Lie::RewritesTable, Some((table, entries))) = (self.lie(), chain.table) {
            memory.write(table, &vec![0xA5; 16 * usize::from(entries)]);
        }
    }

    /// What the used entry of a request says that was written, when this was.
    fn used_length(&self, chain: &Chain, written: u32, memory: &mut impl Memory) -> u32 {
        let header = match self.kind {
            Kind::Blk => blk::HEADER as u64,
            Kind::Scsi => scsi::REQUEST as u64,
        };
        let (out, room) = (Bytes::read(&chain.parts).length, Bytes::written(&chain.parts).length);
        let data_out = out.saturating_sub(header);
        let length = match self.habits.used {
            Used::Written => return written,
            Used::Always(length) => return length,
            Used::Data { failed } if blk::has_failed(&chain.parts, memory) => return failed,
            Used::First => chain.parts.first().map_or(0, |part| u64::from(part.length)),
            Used::Data { .. } => data_out + room.saturating_sub(1),
            Used::Room => room,
            Used::RoomAndData => data_out + room,
        };
        length as u32
    }

    // ---- Interrupts.

    /// Interrupts for used entries, if the driver wants to hear of one of them.
    fn signal(&mut self, index: u16, memory: &mut impl Memory, messages: &mut Vec<u16>) {
        if self.is(Lie::InterruptsNever) && self.begun() || !self.queue(index).enabled {
            return;
        }
        if self.queue(index).wants_interrupt(memory) {
            self.isr |= 1;
            messages.push(self.queue(index).vector);
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
        if self.status & status::DRIVER_OK == 0 {
            return messages;
        }
        self.ticks += 1;
        if self.reset_ends != 0 && self.ticks >= self.reset_ends {
            self.reset();
        }
        if self.reset_ends != 0 && self.is(Lie::ResetTakesSeconds) || !self.is_started() {
            return messages;
        }
        if self.gone() {
            self.away += 1;
            return messages;
        }
        if !self.is_bus_master() {
            return messages;
        }
        match self.lie() {
            Lie::InterruptStorm => {
                self.isr |= 1;
                let index = self.kind.request_queue();
                messages.extend([self.queue(index).vector; 8]);
            }
            Lie::ConfigStorm => self.change(&mut messages),
            // Nobody would notify of anything; the truth is that the device looks by itself.
            Lie::AvailEventGarbage | Lie::UsedFlagsGarbage => {
                self.queues.iter_mut().for_each(|queue| queue.kicked = true);
            }
            _ => {}
        }
        messages.extend(self.work(memory));
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

    const DESCRIPTORS: u64 = 0x1000;
    const AVAILABLE: u64 = 0x2000;
    const USED: u64 = 0x3000;
    const HEADER: u64 = 0x4000;
    const DATA: u64 = 0x5000;
    const RESPONSE: u64 = 0x6000;
    const TABLE: u64 = 0x7000;
    const SIZE: u16 = 8;

    /// Brings a device up with a request queue of 8, as a driver does; answers with what it read on the way.
    fn bring_up(device: &mut Device, memory: &mut Vec<u8>) -> Vec<u64> {
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

    fn running(kind: Kind, lie: Lie) -> (Device, Vec<u8>) {
        let (mut device, mut memory) = (Device::new(kind, false, lie).prompt(), vec![0u8; 0x8000]);
        bring_up(&mut device, &mut memory);
        (device, memory)
    }

    /// A read or write of one block, in a table of its own; notifies. `number` counts the requests.
    fn request(device: &mut Device, memory: &mut Vec<u8>, write: bool, block: u64, number: u16) -> Vec<u16> {
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

    #[test]
    fn an_honest_device_keeps_what_it_is_given_and_interrupts() {
        for (kind, length) in [(Kind::Blk, 513u32), (Kind::Scsi, 620)] {
            let (mut device, mut memory) = running(kind, Lie::None);
            memory.write(DATA, &[7; 512]);

            let written = request(&mut device, &mut memory, true, 9, 0);
            memory.write(DATA, &[0; 512]);
            let read = request(&mut device, &mut memory, false, 9, 1);

            assert_eq!((written, read), (vec![1], vec![1]), "{kind:?}");
            assert_eq!(memory[DATA as usize..DATA as usize + 512], [7; 512], "{kind:?}");
            assert_eq!((memory[RESPONSE as usize], get16(&mut memory, USED + 2)), (0, 2), "{kind:?}");
            let entry: [u8; 8] = get(&mut memory, USED + 12);
            assert_eq!(entry[4..], length.to_le_bytes(), "{kind:?}");
        }
    }

    #[test]
    fn past_the_end_is_an_error() {
        let (mut device, mut memory) = running(Kind::Blk, Lie::None);
        request(&mut device, &mut memory, false, SECTORS, 0);
        assert_eq!(memory[RESPONSE as usize], 1);

        let (mut device, mut memory) = running(Kind::Scsi, Lie::None);
        request(&mut device, &mut memory, false, SECTORS, 0);
        let at = RESPONSE as usize;
        // CHECK CONDITION; ILLEGAL REQUEST, LOGICAL BLOCK ADDRESS OUT OF RANGE; nothing of the 512 bytes came.
        assert_eq!((memory[at + 10], memory[at + 11]), (2, 0));
        assert_eq!((memory[at + 12 + 2], memory[at + 12 + 12]), (5, 0x21));
        assert_eq!(memory[at + 4..at + 8], 512u32.to_le_bytes());
    }

    #[test]
    fn nothing_is_served_without_driver_ok_or_without_a_notification() {
        let (mut device, mut memory) = running(Kind::Blk, Lie::None);
        memory.write(AVAILABLE + 2, &1u16.to_le_bytes());
        assert!(device.tick(&mut memory).is_empty());
        assert_eq!(get16(&mut memory, USED + 2), 0, "nobody notified");

        device.write(20, 1, 0, &mut memory);

        assert!(request(&mut device, &mut memory, false, 0, 0).is_empty());
        assert_eq!((device.read(20, 1), memory[RESPONSE as usize]), (0, 0xEE));
    }

    #[test]
    fn a_device_that_is_not_prompt_answers_everything_all_the_same() {
        let (mut device, mut memory) = running(Kind::Blk, Lie::None);
        device.prompt = false;
        for number in 0..8 {
            request(&mut device, &mut memory, true, 0, number);
            device.tick(&mut memory);
            device.tick(&mut memory);
            assert_eq!(get16(&mut memory, USED + 2), number + 1);
        }
    }

    #[test]
    fn a_slow_reset_ends_in_its_time_and_what_the_silent_device_has_ends_before() {
        let (mut device, mut memory) = running(Kind::Blk, Lie::ResetTakesASecond);
        device.be_silent();
        request(&mut device, &mut memory, false, 0, 0);
        let silent = (device.tick(&mut memory), get16(&mut memory, USED + 2));

        device.write(20, 1, 0, &mut memory);
        device.tick(&mut memory);
        let under_way = (device.read(20, 1), get16(&mut memory, USED + 2));
        (2..SLOW_RESET_TICKS).for_each(|_| drop(device.tick(&mut memory)));
        let just_before = device.read(20, 1);
        device.tick(&mut memory);

        assert_eq!(silent, (vec![], 0));
        assert_eq!(under_way, (15, 1));
        assert_eq!((just_before, device.read(20, 1)), (15, 0));
    }

    #[test]
    fn a_broken_ring_names_a_request_that_there_is_not() {
        let (mut device, mut memory) = running(Kind::Blk, Lie::None);
        device.be_silent();
        let without_a_request = device.break_ring(&mut memory);
        request(&mut device, &mut memory, false, 0, 0);

        let messages = device.break_ring(&mut memory);

        assert_eq!((without_a_request, messages), (vec![], vec![1]));
        let id: [u8; 4] = get(&mut memory, USED + 4);
        assert_eq!((u32::from_le_bytes(id), get16(&mut memory, USED + 2)), (u32::from(SIZE) + 7, 1));
    }

    /// Everything a driver could see of a device's life.
    fn life(kind: Kind, lie: Lie) -> (Vec<u64>, Vec<u8>) {
        life_of(Device::new(kind, false, lie))
    }

    fn life_of(device: Device) -> (Vec<u64>, Vec<u8>) {
        let (mut device, mut memory) = (device.prompt(), vec![0u8; 0x8000]);
        let mut seen: Vec<u64> =
            (0x30..0x100).step_by(4).map(|at| u64::from(device.config_read(at))).collect();
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

    #[test]
    fn every_lie_differs_from_the_truth() {
        for kind in [Kind::Blk, Kind::Scsi] {
            let truth = life(kind, Lie::None);
            assert!(truth == life(kind, Lie::None), "the truth is always the same");
            // A shorter base address register is the machine's lie.
            for told in LIES.iter().filter(|told| told.is_for(kind) && told.lie != Lie::BarTooSmall) {
                assert!(life(kind, told.lie) != truth, "{} tells the truth as {kind:?}", told.name);
            }
        }
    }

    #[test]
    fn every_manner_differs_from_the_specifications_device_and_has_a_source() {
        for manner in MANNERS {
            let device = |manner| Device::new(manner, false, Lie::None);
            let lived = life_of(device(manner.kind).with_manner(Some(manner)));

            assert!(lived != life(manner.kind, Lie::None), "{} is no manner", manner.name);
            assert!(manner.source.contains('/') && manner.source.contains(": "), "{}", manner.source);
            assert_eq!(find_manner(manner.name, manner.kind).map(|found| found.source), Some(manner.source));
        }
    }

    #[test]
    fn a_tag_that_another_command_has_is_noted_and_refused_by_who_remembers_tags() {
        for (name, status) in [("bhyve", 2), ("qemu", 0)] {
            // It is slow from the first request on, so that one waits when the other comes.
            let slow = Device::new(Kind::Scsi, false, Lie::Slow).lies_from(1).prompt();
            let (mut device, mut memory) =
                (slow.with_manner(find_manner(name, Kind::Scsi)), vec![0u8; 0x8000]);
            bring_up(&mut device, &mut memory);

            request(&mut device, &mut memory, false, 3, 0);
            let alone = device.complaints();
            request(&mut device, &mut memory, false, 3, 1);
            let doubled = device.complaints();
            (0..501).for_each(|_| drop(device.tick(&mut memory)));

            assert!(alone.is_empty(), "{alone:?}");
            assert!(doubled.len() == 1 && doubled[0].contains("the same tag"), "{doubled:?}");
            assert_eq!((memory[RESPONSE as usize + 10], get16(&mut memory, USED + 2)), (status, 2), "{name}");
        }
    }

    #[test]
    fn without_bus_master_no_memory_is_reached_and_no_message_sent() {
        let (mut device, mut memory) = running(Kind::Blk, Lie::None);
        device.config_write(4, &[2, 0]);
        let mut before = Vec::new();
        let mut messages = request(&mut device, &mut memory, false, 9, 0);
        before.clone_from(&memory);

        messages.extend(device.tick(&mut memory));
        assert_eq!((messages, &memory), (vec![], &before));

        device.config_write(4, &[6, 0]);
        messages = device.tick(&mut memory);
        assert_eq!((messages.len(), get16(&mut memory, USED + 2)), (1, 1));
    }

    #[test]
    fn a_lie_that_begins_with_a_reset_is_not_told_before() {
        let mut memory = vec![0; 0x8000];
        let mut device = Device::new(Kind::Blk, false, Lie::QueueSizeZero).lies_after_resets(2);
        let sizes = [0, 1].map(|_| {
            device.write(20, 1, 0, &mut memory);
            device.read(24, 2)
        });

        assert_eq!(sizes, [u64::from(QUEUE_SIZE), 0]);
    }

    #[test]
    fn every_lie_has_one_name() {
        for (index, told) in LIES.iter().enumerate() {
            assert!(LIES[..index].iter().all(|other| other.name != told.name && other.lie != told.lie));
            assert_eq!(find(told.name).map(|found| found.lie), Some(told.lie));
        }
    }
}
