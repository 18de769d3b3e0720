//! A virtio block device or SCSI host in software, which tells the truth or one lie: registers, configuration space, split or
//! packed queues, a disk in memory. The structures are those of virtio 1.3.
//!
//! It knows nothing of the machine: guest memory is a trait, interrupts are an answer.
//!
//! It is as unpredictable as a device may be: some requests are answered at once, others with the clock, and in any order.
//!
//! This file says what a device is and when it lies. What a driver reaches is beside it, from outside to inside:
//! `config_space`, `registers`, `feature` and `status`; `requests` moves what lies in a `queue` to `blk` or `scsi` and back, or to
//! `tasks` and `events`, the other two queues of a SCSI host; `pace` does so by a schedule.
//! Whoever adds a lie or a manner starts with the tables in `lies` and `manners`; what a driver must not do is in `conduct`.
//! `driver` is the one of the tests.

mod blk;
mod bytes;
mod conduct;
mod config_space;
#[cfg(test)]
mod driver;
mod events;
mod feature;
mod lies;
mod manners;
mod pace;
mod queue;
mod registers;
mod requests;
mod scsi;
mod status;
mod tasks;

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use conduct::Conduct;
pub use events::{CHANGES, COMES_AND_GOES};
pub use lies::{Climb, Hears, LIES, Lie, Outcome, Told, find};
use manners::Habits;
pub use manners::{MANNERS, Manner, find_manner};
pub use pace::{Order, Pace};
use queue::{Chain, Queue};
use registers::NO_VECTOR;
pub use registers::{MESSAGES, bar};
pub use status::SLOW_RESET_TICKS;
pub use tasks::{Task, Unit};

use crate::stamp::SplitMix64;

/// What kind of device it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A block device.
    Blk,
    /// A SCSI host with one disk, or three.
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

/// Sectors of a disk.
pub const SECTORS: u64 = 4096;
const SECTOR: usize = 512;
/// The request with which a lie begins when nothing else is said, and how many requests a while is.
pub const MOMENT: u64 = 4;
const WHILE: u64 = 20;

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
    /// Nothing that these units of a SCSI host are asked for is answered.
    silent_units: Vec<Unit>,
    /// Units of a SCSI host, of those that there can be, and the one that is gone for now.
    units: usize,
    removed: Option<Unit>,
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
    /// The schedule that is kept in the request queue.
    paced: pace::Paced,
    /// The commands that a SCSI host has: id in the queue, unit and tag, and whether another one had them then.
    commands: Vec<(u16, scsi::Name, bool)>,
    /// Buffers for events that it has.
    buffers: Vec<Chain>,
    /// Resets that the driver asked for.
    tasks: Vec<Task>,
    late: tasks::Late,
    /// Milliseconds that the last register write holds up the processor that does it.
    holds_up: u64,
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
            silent_units: Vec::new(),
            units: 1,
            removed: None,
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
            paced: pace::Paced::default(),
            commands: Vec::new(),
            buffers: Vec::new(),
            tasks: Vec::new(),
            late: tasks::Late::default(),
            holds_up: 0,
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

    /// The same device, but one with so many units, three at most.
    pub fn with_units(self, units: usize) -> Self {
        let units = units.clamp(1, scsi::UNITS.len());
        Device { units, disk: vec![0; units * SECTORS as usize * SECTOR], ..self }
    }

    /// From now on it tells this lie, if any, as one that begins at once.
    pub fn tell(&mut self, lie: Lie) {
        (self.lie, self.told, self.moment, self.honest_resets) = (lie, 0, 0, 0);
        self.removed = None;
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

    /// The bytes of the first disk from `start` on, if it has so many.
    fn disk_range(&self, start: u64, bytes: u64) -> Result<Range<usize>, u8> {
        let end = start.checked_add(bytes).filter(|end| *end <= SECTORS * SECTOR as u64).ok_or(1)?;
        Ok(start as usize..end as usize)
    }
}
