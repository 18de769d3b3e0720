//! The control queue of the SCSI host (virtio 1.3, 5.6.6.2): task management functions, done as the specification says or as a
//! lie has it. What came is written down, for whoever counts how far a driver went.

use alloc::vec;
use alloc::vec::Vec;

use super::bytes::Bytes;
use super::queue::Chain;
use super::scsi::{self, BAD_TARGET};
use super::{Device, Lie, Memory};

/// Bytes of a function and of the head of any control request.
const FUNCTION: usize = 24;
/// The type of a function; others are about asynchronous notification, and have answers of five bytes.
const TASK_MANAGEMENT: u32 = 0;
const NOTIFICATION_ANSWER: usize = 5;

/// Functions (5.6.6.2).
const ABORT_TASK: u32 = 0;
const ABORT_TASK_SET: u32 = 1;
const CLEAR_ACA: u32 = 2;
const CLEAR_TASK_SET: u32 = 3;
const I_T_NEXUS_RESET: u32 = 4;
const LOGICAL_UNIT_RESET: u32 = 5;
const QUERY_TASK: u32 = 6;
const QUERY_TASK_SET: u32 = 7;

/// Responses (5.6.6.1, 5.6.6.2).
const DONE: u8 = 0;
const ABORTED: u8 = 2;
const RESET: u8 = 4;
const SUCCEEDED: u8 = 10;
const REJECTED: u8 = 11;
const INCORRECT_LUN: u8 = 12;

/// Milliseconds that a device which lies lets pass before it does what is late.
const LATER: u64 = 40;

/// Target and LUN.
pub type Unit = (u8, u16);

/// A reset of units that the driver asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Of one unit: LOGICAL UNIT RESET.
    Unit(Unit),
    /// Of all units of a target: I_T NEXUS RESET.
    Target(u8),
    /// A function that resets nothing.
    Other(u32),
    /// All of the device, by its status register; only while it was started.
    Device,
}

/// What a device that lies has put off.
#[derive(Default)]
pub(super) struct Late {
    /// An answer to a function, and from when on it may be given.
    answer: Option<(u64, Chain, u8)>,
    /// Commands of a unit that was said to have been reset, with the tick at which they go on.
    kept: Vec<(u64, Chain)>,
    /// Ticks at which what was kept goes on: given back, or written to and not given back.
    gives_back: bool,
}

/// What a LUN field names (5.6.6.1, single level): peripheral device or flat space addressing. `None`: something else.
pub(super) fn unit(lun: &[u8]) -> Option<Unit> {
    let &[1, target, high, low, 0, 0, 0, 0] = lun else { return None };
    (high & 0xC0 == 0x40 || high == 0).then(|| (target, u16::from_be_bytes([high & 0x3F, low])))
}

impl Device {
    /// Resets that the driver asked for since the last time, in their order.
    pub fn take_tasks(&mut self) -> Vec<Task> {
        core::mem::take(&mut self.tasks)
    }

    /// A request of the control queue.
    pub(super) fn control(&mut self, chain: &Chain, memory: &mut impl Memory) {
        let request = Bytes::read(&chain.parts).get(0, FUNCTION, memory);
        let word =
            |at: usize| request.get(at..at + 4).map_or(!0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        if word(0) != TASK_MANAGEMENT || request.len() < FUNCTION {
            let room = Bytes::written(&chain.parts);
            let answer = vec![0; (room.length as usize).min(NOTIFICATION_ANSWER)];
            room.put(0, &answer, memory);
            self.queues[0].give(chain, u32::from(chain.id), answer.len() as u32, memory);
            return;
        }
        let (function, lun) = (word(4), unit(&request[8..16]));
        self.check_function(function, lun);
        self.tasks.push(match (function, lun) {
            (LOGICAL_UNIT_RESET, Some(unit)) => Task::Unit(unit),
            (I_T_NEXUS_RESET, Some((target, _))) => Task::Target(target),
            _ => Task::Other(function),
        });
        let tag: [u8; 8] = request[16..24].try_into().unwrap_or_default();
        match self.lie() {
            Lie::TaskIgnored => self.told += 1,
            Lie::TaskSays(code) | Lie::TaskThenResetNeverEnds(code) => {
                self.told += 1;
                self.answer_task(chain, code, memory);
            }
            Lie::TaskOtherUnit => {
                self.told += 1;
                let other = lun.map(|(target, lun)| (target, lun ^ 1));
                self.perform(function, other, tag, memory);
                self.answer_task(chain, DONE, memory);
            }
            Lie::TaskKeeps(code) | Lie::TaskAhead(code) => {
                self.told += 1;
                self.late.gives_back = matches!(self.lie(), Lie::TaskAhead(_));
                let kept = self.take_commands(function, lun, tag, memory);
                self.late.kept.extend(kept.into_iter().map(|chain| (self.ticks + LATER, chain)));
                self.answer_task(chain, code, memory);
            }
            Lie::TaskLate if self.told == 0 => {
                self.told += 1;
                let answer = self.perform(function, lun, tag, memory);
                self.late.answer = Some((u64::MAX, chain.clone(), answer));
            }
            _ => {
                let answer = self.perform(function, lun, tag, memory);
                self.answer_task(chain, answer, memory);
                // The one before was late: it is answered when nobody waits for it any more.
                if let Some((when, ..)) = &mut self.late.answer {
                    *when = self.ticks + LATER;
                }
            }
        }
    }

    /// Answers a function, with what lies are told about that.
    fn answer_task(&mut self, chain: &Chain, response: u8, memory: &mut impl Memory) {
        let room = Bytes::written(&chain.parts);
        room.put(0, &[response], memory);
        let (id, size) = (u32::from(chain.id), u32::from(self.queues[0].size).max(1));
        let id = match self.lie() {
            Lie::TaskIdFree => (id + size / 2) % size,
            Lie::TaskIdOutOfRange => size + 7,
            _ => id,
        };
        let length = match self.lie() {
            Lie::TaskLengthZero => 0,
            Lie::TaskLengthHuge => 0xFFFF_FFFF,
            _ => 1,
        };
        self.queues[0].give(chain, id, length, memory);
        match self.lie() {
            Lie::TaskTwice => self.queues[0].give(chain, id, length, memory),
            Lie::TaskIdFree | Lie::TaskIdOutOfRange | Lie::TaskLengthZero | Lie::TaskLengthHuge => {}
            _ => return,
        }
        self.told += 1;
    }

    /// Does a function, and says what it would answer.
    fn perform(&mut self, function: u32, lun: Option<Unit>, tag: [u8; 8], memory: &mut impl Memory) -> u8 {
        let Some((target, _)) = lun else { return INCORRECT_LUN };
        if !self.targets().any(|there| there == target) {
            return BAD_TARGET;
        }
        if function != I_T_NEXUS_RESET && lun.is_none_or(|unit| !self.has_unit(unit)) {
            return INCORRECT_LUN;
        }
        let response = match function {
            ABORT_TASK | ABORT_TASK_SET | CLEAR_TASK_SET => ABORTED,
            I_T_NEXUS_RESET | LOGICAL_UNIT_RESET => RESET,
            QUERY_TASK | QUERY_TASK_SET => {
                let meant = |name: &scsi::Name| is_meant(function, lun, tag, name);
                let any = self.commands.iter().any(|(_, name, _)| meant(name));
                return if any { SUCCEEDED } else { DONE };
            }
            CLEAR_ACA => return DONE,
            _ => return REJECTED,
        };
        for chain in self.take_commands(function, lun, tag, memory) {
            let written = scsi::end(&chain, response, memory);
            let index = self.kind.request_queue();
            self.queues[usize::from(index)].give(&chain, u32::from(chain.id), written, memory);
        }
        DONE
    }

    /// Takes the commands out of the device that a function is about.
    fn take_commands(
        &mut self,
        function: u32,
        lun: Option<Unit>,
        tag: [u8; 8],
        memory: &mut impl Memory,
    ) -> Vec<Chain> {
        // What was made available before the function belongs to what it is about (5.6.6.2).
        let index = self.kind.request_queue();
        let mut messages = Vec::new();
        self.take(index, memory, &mut messages);
        let meant: Vec<u16> = self
            .commands
            .iter()
            .filter(|(_, name, _)| is_meant(function, lun, tag, name))
            .map(|(id, ..)| *id)
            .collect();
        if matches!(function, LOGICAL_UNIT_RESET | I_T_NEXUS_RESET) {
            self.silent_units.retain(|unit| !covers(function, lun, *unit));
        }
        let mut taken = Vec::new();
        for id in meant {
            let held = self.held.iter().position(|(queue, _, chain)| *queue == index && chain.id == id);
            if let Some(at) = held {
                taken.push(self.held.remove(at).2);
                self.commands.retain(|(other, ..)| *other != id);
            }
        }
        taken
    }

    /// What was put off and is due.
    pub(super) fn be_late(&mut self, memory: &mut impl Memory) {
        let now = self.ticks;
        if let Some((_, chain, response)) = self.late.answer.take_if(|(when, ..)| *when <= now) {
            self.answer_task(&chain, response, memory);
        }
        let index = usize::from(self.kind.request_queue());
        while let Some(at) = self.late.kept.iter().position(|(when, _)| *when <= now) {
            let (_, chain) = self.late.kept.remove(at);
            if self.late.gives_back {
                let written = scsi::end(&chain, RESET, memory);
                self.queues[index].give(&chain, u32::from(chain.id), written, memory);
            } else {
                // All that it was given to write to, and nobody hears of it; again and again, for nobody knows until when.
                let room = Bytes::written(&chain.parts);
                room.put(0, &vec![0xA5; room.length as usize], memory);
                self.late.kept.push((now + LATER, chain));
            }
        }
    }
}

/// Whether a function is about what a unit has.
fn covers(function: u32, lun: Option<Unit>, unit: Unit) -> bool {
    match lun {
        Some((target, _)) if function == I_T_NEXUS_RESET => target == unit.0,
        other => other == Some(unit),
    }
}

/// Whether a function is about a command.
fn is_meant(function: u32, lun: Option<Unit>, tag: [u8; 8], (address, its_tag): &scsi::Name) -> bool {
    let same_tag = u64::from_le_bytes(tag) as u32 == *its_tag;
    let one = matches!(function, ABORT_TASK | QUERY_TASK);
    unit(address).is_some_and(|unit| covers(function, lun, unit)) && (!one || same_tag)
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::super::driver::{self, DATA, running, scsi_request, task};
    use super::super::{Kind, get16};
    use super::*;

    const HERE: Unit = (0, 0);
    const BESIDE: Unit = (0, 1);

    /// A device with a command of either unit of target 0 that it does not answer.
    fn with_commands(lie: Lie) -> (Device, Vec<u8>) {
        let (device, mut memory) = running(Kind::Scsi, lie);
        let mut device = device.with_units(3);
        device.be_silent();
        for (number, unit) in [(0, HERE), (1, BESIDE)] {
            scsi_request(&mut device, &mut memory, unit, number);
        }
        device.silent = false;
        device.be_silent_for(HERE);
        // The other one's is not answered either until the clock goes on.
        (device, memory)
    }

    /// Commands that were given back.
    fn ended(memory: &mut Vec<u8>) -> u16 {
        get16(memory, driver::USED + 2)
    }

    #[test]
    fn a_reset_of_a_unit_ends_its_commands_before_it_is_answered_and_leaves_the_others() {
        let (mut device, mut memory) = with_commands(Lie::None);

        let answer = task(&mut device, &mut memory, LOGICAL_UNIT_RESET, HERE);

        assert_eq!((answer, device.take_tasks()), (Some(DONE), vec![Task::Unit(HERE)]));
        assert_eq!(device.commands.len(), 0, "the other one was served, now that the device looked");
        assert_eq!(ended(&mut memory), 2);
    }

    #[test]
    fn functions_for_what_is_not_there_are_refused() {
        for (function, unit, expected) in [
            (LOGICAL_UNIT_RESET, (9, 0), BAD_TARGET),
            (LOGICAL_UNIT_RESET, (0, 5), INCORRECT_LUN),
            (I_T_NEXUS_RESET, (0, 5), DONE),
            (99, HERE, REJECTED),
            (QUERY_TASK_SET, HERE, SUCCEEDED),
            (QUERY_TASK_SET, (1, 0), DONE),
        ] {
            let (mut device, mut memory) = with_commands(Lie::None);
            assert_eq!(task(&mut device, &mut memory, function, unit), Some(expected), "{function} {unit:?}");
        }
    }

    #[test]
    fn what_is_kept_is_written_to_later_and_not_given_back_unless_the_device_was_reset() {
        for is_reset in [false, true] {
            let (mut device, mut memory) = with_commands(Lie::TaskKeeps(DONE));
            let before = ended(&mut memory);
            assert_eq!(task(&mut device, &mut memory, LOGICAL_UNIT_RESET, HERE), Some(DONE));
            memory.write(DATA, &[0; 512]);
            if is_reset {
                device.write(20, 1, 0, &mut memory);
            }

            (0..=LATER).for_each(|_| drop(device.tick(&mut memory)));

            assert_eq!(memory[DATA as usize] == 0xA5, !is_reset);
            assert!(ended(&mut memory) <= before + 1, "the command of the other unit alone");
        }
    }

    #[test]
    fn a_late_answer_comes_when_another_function_has_been_answered() {
        let (mut device, mut memory) = with_commands(Lie::TaskLate);

        let first = task(&mut device, &mut memory, LOGICAL_UNIT_RESET, HERE);
        (0..4 * LATER).for_each(|_| drop(device.tick(&mut memory)));
        let waited = driver::answers(&mut memory);
        let second = task(&mut device, &mut memory, I_T_NEXUS_RESET, HERE);
        (0..=LATER).for_each(|_| drop(device.tick(&mut memory)));

        assert_eq!((first, waited, second), (None, 0, Some(DONE)));
        assert_eq!(driver::answers(&mut memory), 2);
    }

    #[test]
    fn every_lie_about_functions_is_told() {
        for told in super::super::LIES.iter().filter(|told| told.is_about_tasks()) {
            let honest = {
                let (mut device, mut memory) = with_commands(Lie::None);
                let answer = task(&mut device, &mut memory, LOGICAL_UNIT_RESET, HERE);
                (answer, memory)
            };
            let (mut device, mut memory) = with_commands(told.lie);

            let answer = task(&mut device, &mut memory, LOGICAL_UNIT_RESET, HERE);

            assert!((answer, memory) != honest && device.told > 0, "{} tells the truth", told.name);
        }
    }
}
