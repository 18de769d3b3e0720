//! A device that keeps a schedule: what it takes and answers, and when, is said from outside or follows from what the driver did,
//! never from a clock. So doorbells and interrupts can be counted where no figure hangs on how fast device or driver is.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::manners::Habits;
use super::queue::Chain;
use super::{Device, Memory};
use crate::stamp::SplitMix64;

/// Turns from a notification until a device with an I/O thread is awake, and from when a request is taken until it is answered.
const WAKE: u64 = 8;
const LATENCY: u64 = 16;
/// Requests that the thread takes in a turn, and turns without work after which it sleeps.
const AT_A_TIME: usize = 4;
const IDLE: u64 = 32;

/// When a device looks into its request queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// At each notification, at once, and then it wants the next: it answers in [`Device::answer`]. What a driver gets that is
    /// slow beside its device.
    Eager,
    /// When it is told to, in [`Device::answer`], and only if it was notified: it sleeps meanwhile.
    Asleep,
    /// When it is told to, and it wants no notification: it polls.
    Polls,
    /// In turns ([`Device::turn`]): it wakes some turns after a notification, takes a few requests in each, answers each some turns
    /// later, and sleeps when there has been nothing for a while.
    Thread,
}

/// In which order requests are answered that are answered together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// As they came.
    Fifo,
    /// The last one first.
    Reversed,
    /// In an order that follows from a number.
    Shuffled(u64),
}

/// What such a device has.
#[derive(Default)]
pub(super) struct Paced {
    pace: Option<Pace>,
    /// Requests that are not answered, each with the turn in which it may be.
    taken: VecDeque<(u64, Chain)>,
    turns: u64,
    /// The turn in which the thread wakes; 0: it was not notified.
    wakes: u64,
    awake: bool,
    /// Turns without work.
    idle: u64,
}

impl Device {
    /// The same device, but one with rings of 256 entries, whatever its manner is, as QEMU has them.
    pub fn with_long_rings(self) -> Self {
        let habits = Habits { queue_size: 256, seg_max: 254, commands_per_lun: 1024, ..self.habits };
        let mut device = Device { habits, ..self };
        device.fresh_queues();
        device
    }

    /// From now on it keeps this schedule in its request queue, or none. No request may be under way.
    pub fn keep_pace(&mut self, pace: Option<Pace>, memory: &mut impl Memory) {
        self.paced = Paced { pace, ..Paced::default() };
        let index = self.kind.request_queue();
        match pace {
            Some(Pace::Polls) => self.queue(index).hold_notifications(memory),
            Some(Pace::Eager | Pace::Asleep | Pace::Thread) | None => self.ask(index, memory),
        }
    }

    /// Whether a queue is one that a schedule is kept in.
    pub(super) fn is_paced(&self, index: u16) -> bool {
        self.paced.pace.is_some() && index == self.kind.request_queue()
    }

    /// The driver has notified of its requests.
    pub(super) fn is_notified(&mut self, memory: &mut impl Memory) {
        if self.paced.pace == Some(Pace::Eager) {
            self.take_up(usize::MAX, memory);
            let index = self.kind.request_queue();
            self.queue(index).kicked = false;
            self.ask(index, memory);
        }
    }

    /// Looks into the queue as its schedule says, and answers everything that it has, all at once. Answers with the messages that
    /// interrupt now, and how many requests those were.
    pub fn answer(&mut self, order: Order, memory: &mut impl Memory) -> (Vec<u16>, usize) {
        let index = self.kind.request_queue();
        let notified = core::mem::take(&mut self.queue(index).kicked);
        match self.paced.pace {
            Some(Pace::Asleep) if notified => {
                self.take_up(usize::MAX, memory);
                self.ask(index, memory);
            }
            Some(Pace::Polls) => {
                self.take_up(usize::MAX, memory);
                self.queue(index).hold_notifications(memory);
            }
            _ => {}
        }
        let mut chains: Vec<Chain> = self.paced.taken.drain(..).map(|(_, chain)| chain).collect();
        match order {
            Order::Fifo => {}
            Order::Reversed => chains.reverse(),
            Order::Shuffled(seed) => {
                let mut random = SplitMix64(seed);
                for at in (1..chains.len()).rev() {
                    chains.swap(at, random.below(at as u64 + 1) as usize);
                }
            }
        }
        (self.serve_all(&chains, memory), chains.len())
    }

    /// A turn of a device with an I/O thread. Answers with the messages that interrupt now, and whether it is awake or has
    /// something to do.
    pub fn turn(&mut self, memory: &mut impl Memory) -> (Vec<u16>, bool) {
        if self.paced.pace != Some(Pace::Thread) || !self.running() {
            return (Vec::new(), false);
        }
        let index = self.kind.request_queue();
        self.paced.turns += 1;
        let now = self.paced.turns;
        if core::mem::take(&mut self.queue(index).kicked) && !self.paced.awake && self.paced.wakes == 0 {
            self.paced.wakes = now + WAKE;
        }
        if self.paced.wakes != 0 && now >= self.paced.wakes {
            (self.paced.wakes, self.paced.awake, self.paced.idle) = (0, true, 0);
        }
        if self.paced.awake {
            let took = self.take_up(AT_A_TIME, memory);
            self.paced.idle = if took == 0 { self.paced.idle + 1 } else { 0 };
            if self.paced.idle > IDLE {
                self.ask(index, memory);
                // A request may have come before the driver saw that it has to notify.
                self.paced.awake = self.take_up(AT_A_TIME, memory) > 0;
                self.paced.idle = 0;
            }
            if self.paced.awake {
                self.queue(index).hold_notifications(memory);
            }
        }
        let mut chains = Vec::new();
        while let Some((_, chain)) = self.paced.taken.pop_front_if(|(due, _)| *due <= now) {
            chains.push(chain);
        }
        let messages = self.serve_all(&chains, memory);
        (messages, self.paced.awake || self.paced.wakes != 0 || !self.paced.taken.is_empty())
    }

    /// Takes so many requests at most, and answers with how many.
    fn take_up(&mut self, most: usize, memory: &mut impl Memory) -> usize {
        let (index, due) = (self.kind.request_queue(), self.paced.turns + LATENCY);
        let mut count = 0;
        while count < most
            && let Some(chain) = self.queue(index).take(memory)
        {
            self.requests += 1;
            self.check_request(&chain, memory);
            self.paced.taken.push_back((due, chain));
            count += 1;
        }
        let seen = *self.queue(index);
        self.check_queue(&seen);
        count
    }

    fn serve_all(&mut self, chains: &[Chain], memory: &mut impl Memory) -> Vec<u16> {
        let index = self.kind.request_queue();
        for chain in chains {
            self.serve(index, chain, memory);
        }
        let mut messages = Vec::new();
        self.signal(index, memory, &mut messages);
        messages
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::super::driver::{USED, request, running};
    use super::super::{Kind, Lie, get16};
    use super::*;

    fn paced(pace: Pace) -> (Device, Vec<u8>) {
        let (mut device, mut memory) = running(Kind::Blk, Lie::None);
        device.keep_pace(Some(pace), &mut memory);
        (device, memory)
    }

    #[test]
    fn a_device_with_a_schedule_does_nothing_with_the_clock() {
        for pace in [Pace::Eager, Pace::Asleep, Pace::Polls, Pace::Thread] {
            let (mut device, mut memory) = paced(pace);

            let at_once = request(&mut device, &mut memory, false, 0, 0);
            let later = device.tick(&mut memory);

            assert_eq!((at_once, later, get16(&mut memory, USED + 2)), (vec![], vec![], 0), "{pace:?}");
        }
    }

    #[test]
    fn all_that_is_answered_together_interrupts_once() {
        for pace in [Pace::Eager, Pace::Asleep, Pace::Polls] {
            let (mut device, mut memory) = paced(pace);
            (0..3).for_each(|number| {
                request(&mut device, &mut memory, false, 0, number);
            });

            let answered = device.answer(Order::Reversed, &mut memory);

            assert_eq!((answered, get16(&mut memory, USED + 2)), ((vec![1], 3), 3), "{pace:?}");
        }
    }

    #[test]
    fn one_that_sleeps_sees_nothing_that_it_was_not_notified_of() {
        let (mut device, mut memory) = paced(Pace::Asleep);
        request(&mut device, &mut memory, false, 0, 0);
        let index = device.kind.request_queue();
        device.queue(index).kicked = false;

        assert_eq!(device.answer(Order::Fifo, &mut memory), (vec![], 0));
    }

    #[test]
    fn a_thread_wakes_answers_later_and_sleeps_again() {
        let (mut device, mut memory) = paced(Pace::Thread);
        request(&mut device, &mut memory, false, 0, 0);
        let mut turns = 0;
        let mut messages = Vec::new();
        loop {
            let (now, busy) = device.turn(&mut memory);
            turns += 1;
            messages.extend(now.into_iter().map(|message| (turns, message)));
            if !busy {
                break;
            }
        }

        // Notified in the first turn, it wakes WAKE turns later and takes the request then.
        assert_eq!(messages, [(1 + WAKE + LATENCY, 1)]);
        assert_eq!(turns, 1 + WAKE + IDLE + 1);
    }
}
