//! Which interrupts the adapter was given, how many of its request queues are in use, and which queue a request goes to.
//!
//! There is a queue for each message besides the one for configuration changes, as far as there are so many queues; with one
//! message, or the line, there is one queue. So no two queues share an interrupt, and each has a DPC of its own.
//!
//! A request goes to a queue whose message arrives at the processor that starts it, so that it ends where it began. At which
//! processors a message arrives, StorPort says when the adapter is initialised ("PERF_CONFIGURATION_DATA", MessageTargets); from
//! that a table is made, and a request costs the processor's number and one load. Where StorPort does not say, the queues are
//! shared out evenly. Any queue takes any request: a processor that was added later, or one beyond the table, only may
//! have the end of its requests announced elsewhere.

use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use storport::{ConcurrentChannels, Interrupts};
use virtio::interrupts::VectorPlan;

use super::all::MAX_QUEUES;

/// Interrupts and queues in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Routing {
    pub(crate) interrupts: Interrupts,
    /// At least one.
    pub(crate) queues: u16,
    /// The port driver goes by the messages of the queues.
    pub(crate) by_message: bool,
}

impl Routing {
    /// Before there are any.
    pub(crate) const NONE: Self = Self { interrupts: Interrupts::None, queues: 1, by_message: false };

    /// With these interrupts, for an adapter of `most` queues.
    pub(crate) fn new(interrupts: Interrupts, most: u16) -> Self {
        let queues = match interrupts {
            Interrupts::None | Interrupts::Line => 1,
            Interrupts::Messages(count) => count.saturating_sub(1).clamp(1, most.max(1)),
        };
        Self { interrupts, queues, by_message: false }
    }

    /// One vector each for the configuration and the request queues, as far as there are.
    pub(crate) const fn plan(self) -> VectorPlan {
        match self.interrupts {
            Interrupts::None | Interrupts::Line => VectorPlan::new(0, self.queues),
            Interrupts::Messages(count) => VectorPlan::new(count, self.queues),
        }
    }

    /// What the port driver is to be asked for; nothing, with one queue.
    pub(crate) fn concurrent_channels(self) -> Option<ConcurrentChannels> {
        let Interrupts::Messages(messages) = self.interrupts else {
            return None;
        };
        let first_message = self.plan().queue(0)?.0;
        (self.queues > 1).then_some(ConcurrentChannels { queues: self.queues, first_message, messages })
    }

    const LINE: u64 = 1 << 16;
    const POLLED: u64 = 1 << 17;
    const BY_MESSAGE: u64 = 1 << 18;
    const QUEUES: u32 = 32;

    const fn encode(self) -> u64 {
        let interrupts = match self.interrupts {
            Interrupts::None => Self::POLLED,
            Interrupts::Line => Self::LINE,
            Interrupts::Messages(count) => count as u64,
        };
        interrupts | if self.by_message { Self::BY_MESSAGE } else { 0 } | (self.queues as u64) << Self::QUEUES
    }

    const fn decode(word: u64) -> Self {
        let interrupts = match word & (Self::LINE | Self::POLLED) {
            0 => Interrupts::Messages(word as u16),
            Self::LINE => Interrupts::Line,
            _ => Interrupts::None,
        };
        let by_message = word & Self::BY_MESSAGE != 0;
        Self { interrupts, queues: (word >> Self::QUEUES) as u16, by_message }
    }
}

/// The adapter's routing, in one word: it is read at DIRQL, where no lock may be taken. Changed while all queues are closed: a
/// request that goes by an earlier one waits, or is sent on by a queue that is not used any more.
#[derive(Debug)]
pub(crate) struct RoutingCell(AtomicU64);

impl RoutingCell {
    pub(crate) const fn new(routing: Routing) -> Self {
        Self(AtomicU64::new(routing.encode()))
    }

    #[inline]
    pub(crate) fn get(&self) -> Routing {
        Routing::decode(self.0.load(Ordering::Relaxed))
    }

    /// As [`Routing::plan`], for every interrupt: what is no number of messages has its bits above those.
    #[inline]
    pub(crate) fn plan(&self) -> VectorPlan {
        let word = self.0.load(Ordering::Relaxed);
        VectorPlan::new(word as u16, (word >> Routing::QUEUES) as u16)
    }

    /// Whether there is more than one queue to choose from.
    #[inline]
    pub(crate) fn has_choice(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= 2 << Routing::QUEUES
    }

    pub(crate) fn set(&self, routing: Routing) {
        self.0.store(routing.encode(), Ordering::Relaxed);
    }
}

/// Processors that the table knows; one with a higher number has the entry of one of these.
const PROCESSORS: usize = 256;

const _: () = assert!(PROCESSORS.is_power_of_two() && MAX_QUEUES < ProcessorQueues::NONE as u16);

/// The queue of each processor's requests. Written while all queues are closed, as the routing is.
#[derive(Debug)]
pub(crate) struct ProcessorQueues([AtomicU8; PROCESSORS]);

impl ProcessorQueues {
    /// A processor that has none yet.
    const NONE: u8 = u8::MAX;

    /// The first queue for all.
    pub(crate) const fn new() -> Self {
        Self([const { AtomicU8::new(0) }; PROCESSORS])
    }

    /// The queue of a processor. It may be out of use, or not be there, only while all are closed.
    #[inline]
    pub(crate) fn queue(&self, processor: u32) -> u16 {
        self.0[processor as usize % PROCESSORS].load(Ordering::Relaxed).into()
    }

    /// Shares out so many queues: to each processor one of those that are announced there, then to the others any; always the
    /// one that fewest have so far.
    pub(crate) fn share_out<I: Iterator<Item = u16>>(&self, queues: u16, announced_at: impl Fn(u32) -> I) {
        let mut shares = Shares::default();
        for (processor, entry) in (0..).zip(&self.0) {
            let queue = shares.take(announced_at(processor).filter(|queue| *queue < queues));
            entry.store(queue.unwrap_or(Self::NONE), Ordering::Relaxed);
        }
        for entry in self.0.iter().filter(|entry| entry.load(Ordering::Relaxed) == Self::NONE) {
            entry.store(shares.take(0..queues).unwrap_or(0), Ordering::Relaxed);
        }
    }
}

/// How many processors have each queue.
struct Shares([u16; MAX_QUEUES as usize]);

impl Default for Shares {
    fn default() -> Self {
        Self([0; MAX_QUEUES as usize])
    }
}

impl Shares {
    /// One of these queues for one more processor: that which fewest have, and of several the first.
    fn take(&mut self, queues: impl Iterator<Item = u16>) -> Option<u8> {
        let share = |queue: &u16| self.0.get(usize::from(*queue)).copied().unwrap_or(u16::MAX);
        let queue = queues.min_by_key(share)?;
        *self.0.get_mut(usize::from(queue))? += 1;
        Some(queue as u8)
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;
    use std::{array, iter, vec};

    use virtio::interrupts::Vector;

    use super::*;

    #[test]
    fn there_are_as_many_queues_as_messages_besides_the_configurations_and_one_at_least() {
        let table = [
            (Interrupts::None, 8, 1),
            (Interrupts::Line, 8, 1),
            (Interrupts::Messages(1), 8, 1),
            (Interrupts::Messages(2), 8, 1),
            (Interrupts::Messages(3), 8, 2),
            (Interrupts::Messages(9), 8, 8),
            (Interrupts::Messages(2048), 8, 8),
            (Interrupts::Messages(u16::MAX), 64, 64),
            (Interrupts::Messages(9), 1, 1),
        ];
        for (interrupts, most, queues) in table {
            assert_eq!(Routing::new(interrupts, most).queues, queues, "{interrupts:?}, {most} queues");
        }
    }

    #[test]
    fn every_queue_has_a_message_that_announces_nothing_else() {
        for messages in 2..70 {
            for most in 1..=64 {
                let routing = Routing::new(Interrupts::Messages(messages), most);

                let announced = (1..messages).flat_map(|message| routing.plan().announced(Vector(message)));

                assert!(announced.eq(0..routing.queues), "{routing:?}");
                assert!(!routing.plan().announced(Vector(1)).configuration);
                assert!(
                    (1..messages).all(|message| routing.plan().announced(Vector(message)).count() <= 1),
                    "{routing:?}"
                );
            }
        }
    }

    #[test]
    fn the_port_driver_is_told_the_messages_of_the_queues_and_no_other() {
        let channels =
            |messages, most| Routing::new(Interrupts::Messages(messages), most).concurrent_channels();

        let told = channels(9, 4).expect("four queues");
        assert_eq!((told.queues, told.first_message, told.last_message(), told.messages), (4, 1, 4, 9));
        assert_eq!(channels(5, 8).map(|told| told.last_message()), Some(4));
        assert_eq!(channels(2, 8), None);
        assert_eq!(channels(1, 8), None);
        assert_eq!(Routing::new(Interrupts::Line, 8).concurrent_channels(), None);
    }

    /// The queues of the first processors, with these told to be announced at each.
    fn shared_out<const N: usize>(queues: u16, announced_at: impl Fn(u32) -> Vec<u16>) -> [u16; N] {
        let table = ProcessorQueues::new();
        table.share_out(queues, |processor| announced_at(processor).into_iter());
        array::from_fn(|processor| table.queue(processor as u32))
    }

    #[test]
    fn a_processor_has_the_queue_that_is_announced_there() {
        let reversed = |processor: u32| 3_u16.checked_sub(processor as u16).into_iter().collect();

        assert_eq!(shared_out(4, reversed), [3, 2, 1, 0]);
    }

    #[test]
    fn processors_at_which_no_message_arrives_share_the_queues_that_fewest_have() {
        let every_other =
            |processor| if processor % 2 == 0 { vec![processor as u16 / 2] } else { Vec::new() };

        assert_eq!(shared_out(4, every_other), [0, 0, 1, 1, 2, 2, 3, 3]);
        assert_eq!(shared_out(3, |_| Vec::new()), [0, 1, 2, 0, 1, 2, 0, 1]);
    }

    #[test]
    fn messages_that_arrive_at_many_processors_are_shared_by_those() {
        assert_eq!(shared_out(4, |_| (0..4).collect()), [0, 1, 2, 3, 0, 1, 2, 3]);
        let by_half = |processor| if processor < 4 { vec![0, 1] } else { vec![2, 3] };
        assert_eq!(shared_out(4, by_half), [0, 1, 0, 1, 2, 3, 2, 3]);
    }

    #[test]
    fn no_processor_has_a_queue_that_is_not_in_use() {
        for queues in 1..=MAX_QUEUES {
            let shared: [u16; PROCESSORS] =
                shared_out(queues, |processor| vec![processor as u16, queues, u16::MAX]);

            let most = PROCESSORS.div_ceil(usize::from(queues));
            for queue in 0..queues {
                let share = shared.iter().filter(|shared| **shared == queue).count();
                assert!((1..=most).contains(&share), "{share} processors have queue {queue} of {queues}");
            }
            assert!(shared.iter().all(|queue| *queue < queues), "{queues} queues");
        }
    }

    #[test]
    fn processors_beyond_the_table_have_the_queues_of_those_in_it() {
        let table = ProcessorQueues::new();
        table.share_out(3, |_| iter::empty());

        for processor in [256, 257, 258, 0x1_0001, u32::MAX] {
            assert_eq!(table.queue(processor), table.queue(processor % 256), "processor {processor}");
        }
    }

    #[test]
    fn a_table_that_is_shared_out_anew_keeps_nothing_of_the_old_one() {
        let table = ProcessorQueues::new();
        table.share_out(64, |_| iter::empty());

        table.share_out(2, |processor| iter::once(1).filter(move |_| processor == 0));

        assert_eq!([0, 1, 2, 3].map(|processor| table.queue(processor)), [1, 0, 0, 1]);
    }

    #[test]
    fn a_routing_survives_being_stored_in_a_word() {
        for interrupts in
            [Interrupts::None, Interrupts::Line, Interrupts::Messages(1), Interrupts::Messages(u16::MAX)]
        {
            for (queues, by_message) in [(1, false), (2, true), (64, true)] {
                let routing = Routing { interrupts, queues, by_message };
                let cell = RoutingCell::new(routing);

                assert_eq!(cell.get(), routing);
                assert_eq!(cell.plan(), routing.plan());
                assert_eq!(cell.has_choice(), queues > 1);
            }
        }
    }
}
