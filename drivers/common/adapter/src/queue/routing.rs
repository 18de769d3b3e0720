//! Which interrupts the adapter was given, how many of its request queues are in use, and which queue a request goes to.
//!
//! There is a queue for each message besides the one for configuration changes, as far as there are so many queues; with one
//! message, or the line, there is one queue. So no two queues share an interrupt, and each has a DPC of its own.
//!
//! A request goes to the queue whose message StorPort would like to see at its end ("StorPortGetStartIoPerfParams"): with
//! concurrent channels it is the message of the processor that started the request. Where StorPort does not say, the queues
//! are shared out to the processors by number.

use core::sync::atomic::{AtomicU64, Ordering};

use storport::{ConcurrentChannels, Interrupts};
use virtio::interrupts::{Vector, VectorPlan};

/// Interrupts and queues in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Routing {
    pub(crate) interrupts: Interrupts,
    /// At least one.
    pub(crate) queues: u16,
    /// The port driver knows which message suits a request.
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

    /// The queue of a request: that of the message which the port driver named, else one that this processor shares with as
    /// few others as possible.
    pub(crate) fn queue(self, message: Option<u32>, processor: impl FnOnce() -> u32) -> u16 {
        let named = message
            .and_then(|message| u16::try_from(message).ok())
            .and_then(|message| self.plan().announced(Vector(message)).next());
        named.unwrap_or_else(|| (processor() % u32::from(self.queues.max(1))) as u16)
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

#[cfg(test)]
mod tests {
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

    #[test]
    fn a_message_is_not_a_queues_number() {
        let routing = Routing::new(Interrupts::Messages(5), 4);
        let queue = |message| routing.queue(Some(message), || 6);

        assert_eq!([1, 2, 3, 4].map(queue), [0, 1, 2, 3]);
        // Of no queue: the processor decides.
        assert_eq!([0, 5, 6, 0xffff, 0x1_0001, u32::MAX].map(queue), [2; 6]);
        assert_eq!(routing.queue(None, || 5), 1);
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
