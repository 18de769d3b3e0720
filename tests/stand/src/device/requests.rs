//! The way of a request: taken from its queue, held for a while, answered in any order, and the interrupt; all that the clock
//! does is here too.

use alloc::vec;
use alloc::vec::Vec;

use super::bytes::Bytes;
use super::events::EVENT_QUEUE;
use super::manners::Used;
use super::queue::{Chain, Fault, Queue};
use super::{Device, Kind, Lie, Memory, blk, scsi, status};

/// Requests that a device answers before it waits for the reset with which its lie begins.
const PATIENCE: u64 = 12;

impl Device {
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

    /// Takes the requests of the queues that were notified of, and answers those whose time has come.
    pub(super) fn work(&mut self, memory: &mut impl Memory) -> Vec<u16> {
        let mut messages = Vec::new();
        for index in 0..self.kind.queues() {
            if self.running()
                && !self.is_paced(index)
                && core::mem::take(&mut self.queue(index).kicked)
                && self.queue(index).enabled
            {
                self.take(index, memory, &mut messages);
            }
        }
        if !self.prompt {
            self.shuffle();
        }
        while self.running()
            && !self.silent
            && let Some(at) = self
                .held
                .iter()
                .position(|(queue, due, chain)| *due <= self.ticks && !self.is_silenced(*queue, chain))
        {
            let (index, _, chain) = self.held.remove(at);
            self.serve(index, &chain, memory);
        }
        if self.running() {
            self.be_late(memory);
            if self.is(Lie::EventFlood) {
                self.lie_in_events(memory);
            }
        }
        for index in 0..self.kind.queues() {
            self.signal(index, memory, &mut messages);
        }
        messages
    }

    pub(super) fn queue(&mut self, index: u16) -> &mut Queue {
        &mut self.queues[usize::from(index)]
    }

    pub(super) fn take(&mut self, index: u16, memory: &mut impl Memory, messages: &mut Vec<u16>) {
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

    pub(super) fn ask(&mut self, index: u16, memory: &mut impl Memory) {
        let lie = self.is(Lie::AvailEventGarbage).then_some(0x5A5A);
        let flags = self.is(Lie::UsedFlagsGarbage);
        let queue = self.queue(index);
        queue.ask_for_notification(lie, memory);
        if flags {
            queue.spoil_flags(memory);
        }
    }

    pub(super) fn serve(&mut self, index: u16, chain: &Chain, memory: &mut impl Memory) {
        let moved = match self.kind {
            Kind::Blk => blk::execute(self, &chain.parts, memory),
            Kind::Scsi if index == scsi::REQUEST_QUEUE => scsi::execute(self, chain, memory),
            Kind::Scsi if index == EVENT_QUEUE => return self.keep_buffer(chain),
            Kind::Scsi => return self.control(chain, memory),
        };
        let id = u32::from(chain.id);
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

    /// Interrupts for used entries, if the driver wants to hear of one of them.
    pub(super) fn signal(&mut self, index: u16, memory: &mut impl Memory, messages: &mut Vec<u16>) {
        if self.is(Lie::InterruptsNever) && self.begun() || !self.queue(index).enabled {
            return;
        }
        if self.queue(index).wants_interrupt(memory) {
            self.isr |= 1;
            messages.push(self.queue(index).vector);
        }
    }

    pub(super) fn change(&mut self, messages: &mut Vec<u16>) {
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
            _ if self.running() => self.lie_in_events(memory),
            _ => {}
        }
        messages.extend(self.work(memory));
        messages
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::super::driver::{AVAILABLE, DATA, RESPONSE, SIZE, USED, request, running};
    use super::super::{SECTORS, get, get16};
    use super::*;

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
}
