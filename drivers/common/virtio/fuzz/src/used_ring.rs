//! A device that writes anything into the shared memory, at any time between two calls of the driver.
//!
//! Input: two bytes for the queue ([`Choice`]), then operations of driver and device.
//!
//! What is promised: each request comes back exactly once, from `pop` or after a reset, and none that is not with the
//! device; its length is the device's claim, which was possible, and lies within what the device was allowed to write;
//! after the first fault nothing comes back before a reset, and nothing goes in; a request is refused only when there is
//! no place for it; a device that kept to the rules is never blamed, finds exactly the chains that were submitted, is told
//! of them where it wants to be, and its requests do come back.

use std::collections::VecDeque;

use arbitrary::Unstructured;
use virtio::memory::Segment;
use virtio::queue::{DeviceFault, Direction, Notify, Reason};

use crate::device_side::{Buffer, Chain};
use crate::in_flight::{InFlight, Request};
use crate::operations::decode;
use crate::{Choice, MACHINE, Popped, Queue, header};

crate::operations! {
    /// What happens next.
    pub enum Operation {
        /// A request. Its segments get longer and longer, from `bytes` on.
        Submit {
            /// Which way the data goes
            direction: u8,
            /// Data segments
            segments: u8,
            /// Bytes of the first
            bytes: u32,
        },
        /// The device gets to see what was submitted.
        Publish {},
        /// The driver takes a request that is done.
        Pop {},
        /// The driver takes all that are done.
        Drain {},
        /// The driver asks for interrupts.
        EnableInterrupts {},
        /// The driver asks for none.
        DisableInterrupts {},
        /// The device is reset, and every request taken back.
        Reset {},
        /// The device does a request by the rules.
        Complete {
            /// Which one, of those that it has; with VIRTIO_F_IN_ORDER, how many before it are done with it
            which: u8,
            /// Bytes it wrote, if that many are allowed
            length: u16,
        },
        /// The device writes a used entry.
        Used {
            /// Entries further than the next
            ahead: u8,
            /// Whose request
            id: u8,
            /// Bytes it says it wrote
            length: u16,
        },
        /// The device writes a used entry with words that are wild.
        WildUsed {
            /// Whose request
            id: u32,
            /// Bytes it says it wrote
            length: u32,
        },
        /// The device moves its used index; in a packed ring, it makes used whatever stands there.
        Move {
            /// By so many, if less than 200; otherwise by so many thousands, or back
            by: u8,
        },
        /// The device says when it wants to be notified.
        Event {
            /// From which entry or descriptor on
            value: u16,
            /// In which way
            flags: u8,
        },
        /// The device writes a word anywhere.
        Scribble {
            /// Where
            offset: u16,
            /// In which width
            width: u8,
            /// What
            value: u32,
        },
    }
}

/// What came of an input, for the tests of the seeds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Story {
    /// Requests taken from the used ring
    pub done: usize,
    /// Requests taken back after a reset
    pub taken_back: usize,
    /// Requests refused
    pub refused: Vec<Reason>,
    /// Lies that were caught
    pub faults: Vec<DeviceFault>,
    /// Bytes that the requests taken from the used ring count as written
    pub lengths: Vec<u32>,
}

struct Play {
    queue: Queue,
    choice: Choice,
    in_flight: InFlight,
    /// What an honest device does not see yet, and what it sees and has not taken: tokens in the order of submission
    unpublished: VecDeque<u32>,
    published: VecDeque<u32>,
    /// Of the chains in its hand, whose they are
    hand: Vec<u32>,
    /// Where the next chain begins, in a split ring that is used in order (2.7.5)
    next_head: u16,
    /// What it did and the driver has not taken: whose it is, and the length
    completed: VecDeque<(u32, u32)>,
    /// Nothing but `Complete` and `Event` was written since the last reset
    honest: bool,
    story: Story,
}

/// Plays an input.
pub fn run(input: &[u8]) -> Story {
    let mut input = Unstructured::new(input);
    let choice = Choice::from_number(input.arbitrary().unwrap_or(0));
    let operations: Vec<Operation> = decode(&mut input);
    let queue = MACHINE.with(|machine| Queue::new(choice, &machine.shared));
    let mut play = Play {
        queue,
        choice,
        in_flight: InFlight::new(choice),
        unpublished: VecDeque::new(),
        published: VecDeque::new(),
        hand: Vec::new(),
        next_head: 0,
        completed: VecDeque::new(),
        honest: true,
        story: Story::default(),
    };
    for operation in operations {
        play.step(operation);
        play.in_flight.check(&play.queue);
    }
    play.end();
    play.story
}

impl Play {
    fn step(&mut self, operation: Operation) {
        match operation {
            Operation::Submit { direction, segments, bytes } => self.submit(direction, segments, bytes),
            Operation::Publish {} => self.publish(),
            Operation::Pop {} => {
                self.pop();
            }
            Operation::Drain {} => {
                // Each round takes a request away, so this ends.
                while matches!(self.pop(), Popped::Done { .. }) {}
            }
            Operation::EnableInterrupts {} => {
                let waiting = self.queue.enable_interrupts();
                assert!(!(waiting && self.in_flight.faulted), "there is nothing to drain in a broken queue");
                assert!(!self.honest || waiting != self.completed.is_empty(), "what is waiting is told");
                let told = waiting || self.queue.device.interrupt_wanted();
                assert!(!self.honest || told, "what comes next is announced by nobody");
            }
            Operation::DisableInterrupts {} => self.queue.disable_interrupts(),
            Operation::Reset {} => self.reset(),
            Operation::Complete { which, length } => self.complete(which, length),
            Operation::Used { ahead, id, length } => {
                self.honest = false;
                self.queue.device.write_used(ahead, u32::from(id), u32::from(length));
            }
            Operation::WildUsed { id, length } => {
                self.honest = false;
                self.queue.device.write_used(0, id, length);
            }
            Operation::Move { by } => {
                self.honest = false;
                let by = if by < 200 { u16::from(by) } else { u16::from(by - 200).wrapping_mul(1191) };
                self.queue.device.move_used(by);
            }
            Operation::Event { value, flags } => self.queue.device.write_event(value, flags),
            Operation::Scribble { offset, width, value } => {
                self.honest = false;
                self.queue.device.scribble(offset, width, value);
            }
        }
    }

    fn submit(&mut self, direction: u8, segments: u8, bytes: u32) {
        let direction = match direction % 3 {
            0 => Direction::None,
            1 => Direction::ToDevice,
            _ => Direction::FromDevice,
        };
        let count = if direction == Direction::None { 0 } else { usize::from(segments) % 40 };
        let header = header(&self.in_flight.next_token().to_le_bytes());
        match self.in_flight.submit(&mut self.queue, &header, direction, &list(count, bytes)) {
            Ok(token) => self.unpublished.push_back(token),
            Err(reason) => self.story.refused.push(reason),
        }
    }

    fn publish(&mut self) {
        let requests = self.unpublished.iter().map(|token| self.in_flight.requests.get(token));
        // Those that a lie brought back before they were published are counted in vain: then nothing is checked.
        let lost = requests.clone().any(|request| request.is_none());
        let descriptors: u16 = requests.flatten().map(|request| request.descriptors).sum();
        let count = if self.choice.packed { descriptors } else { self.unpublished.len() as u16 };
        let is_a_place = self.queue.device.event_is_a_place();
        let (next, wanted) = self.queue.device.publish(count);
        let notify = self.queue.publish();
        self.published.append(&mut self.unpublished);
        if lost || !self.honest || !is_a_place {
            return;
        }
        // Where nothing is new, the device need not be told.
        if count > 0 || notify != Notify::Suppressed {
            let expected = if wanted { Notify::Device { next } } else { Notify::Suppressed };
            assert_eq!(notify, expected, "after {count}");
        }
    }

    fn pop(&mut self) -> Popped {
        let claim = self.queue.device.claim();
        let count = self.in_flight.requests.len();
        let named = |request: &Request| request.id.map(u32::from) == Some(claim.id);
        let known = self.in_flight.requests.iter().find(|(_, request)| named(request));
        let known = known.map(|(token, _)| *token);
        let popped = self.queue.pop();
        match popped {
            Popped::Nothing => {
                assert!(self.in_flight.faulted || claim.waiting == 0, "{claim:?} is overlooked");
                assert!(!self.honest || self.completed.is_empty(), "a request that is done is not found");
            }
            Popped::Done { length, response, token } => {
                assert!(!self.in_flight.faulted, "nothing comes out of a broken queue");
                let first = self.in_flight.requests.keys().next().copied();
                let request = self.in_flight.remove(token);
                self.queue.device.taken(request.descriptors);
                assert!(length <= request.writable, "{length} of {} bytes", request.writable);
                if self.choice.in_order {
                    assert_eq!(Some(token), first, "requests come back in the order in which they went out");
                } else {
                    let possible = (1..=count).contains(&usize::from(claim.waiting));
                    assert!(possible && claim.id < u32::from(self.choice.slots()), "{claim:?} passed");
                    assert_eq!(length, claim.length.min(request.writable), "{claim:?}");
                    assert!(known.is_none_or(|known| known == token), "{claim:?} is another's");
                    assert!(request.id.is_none_or(|id| claim.id == u32::from(id)), "{claim:?} is another's");
                }
                if self.honest {
                    let done = self.completed.pop_front();
                    assert_eq!(done, Some((token, length)), "not the one that is done");
                    assert_eq!(response, token as u8, "the answer is not the request's own");
                }
                self.story.done += 1;
                self.story.lengths.push(length);
            }
            Popped::Fault(fault) => {
                assert!(!self.honest, "an honest device is blamed: {fault:?}");
                assert!(!self.in_flight.faulted, "a fault is told once");
                let possible = (1..=count).contains(&usize::from(claim.waiting)) && known.is_some();
                assert!(self.choice.in_order || !possible, "{claim:?} is possible: {fault:?}");
                self.in_flight.faulted = true;
                self.story.faults.push(fault);
            }
        }
        popped
    }

    /// By the rules as long as nothing else was written; otherwise one more thing that the device writes.
    fn complete(&mut self, which: u8, length: u16) {
        self.fetch();
        let hand = &mut self.queue.device.hand;
        if hand.is_empty() {
            return;
        }
        let which = usize::from(which) % hand.len();
        if !self.honest {
            let chain = hand.remove(which);
            self.queue.device.complete(1, chain.descriptors, chain.id, length.into());
            return;
        }
        // In order, those before it are done with it, and count as written completely.
        let batch = if self.choice.in_order { 0..=which } else { which..=which };
        let chains: Vec<Chain> = hand.drain(batch.clone()).collect();
        let tokens: Vec<u32> = self.hand.drain(batch).collect();
        let mut last = (0, 0);
        for (chain, token) in chains.iter().zip(&tokens) {
            assert!(self.queue.device.is_unchanged(chain), "{chain:?} changed while the device had it");
            let request = &self.in_flight.requests[token];
            let is_last = Some(token) == tokens.last();
            let length = if is_last { request.writable.min(length.into()) } else { request.writable };
            let response = chain.buffers[response_place(self.choice, request)];
            self.queue.device.answer(response.address, *token as u8);
            self.completed.push_back((*token, length));
            last = (chain.id, length);
        }
        let descriptors = chains.iter().map(|chain| chain.descriptors).sum();
        self.queue.device.complete(chains.len() as u16, descriptors, last.0, last.1);
    }

    /// The device takes what is published. While all is honest, that is what was submitted.
    fn fetch(&mut self) {
        let count = self.queue.device.fetch();
        if !self.honest {
            return;
        }
        assert_eq!(count, self.published.len(), "the device sees what was published, no more and no less");
        let first = self.queue.device.hand.len() - count;
        for (chain, token) in self.queue.device.hand[first..].iter().zip(self.published.drain(..)) {
            let others = self.in_flight.requests.values();
            let taken = others.filter(|other| other.id == Some(chain.id)).count();
            assert!(taken == 0 && chain.id < self.choice.slots(), "the id of {chain:?}");
            let request =
                self.in_flight.requests.get_mut(&token).expect("nothing comes back before it is done");
            request.id = Some(chain.id);
            let in_ring_order = chain.id == self.next_head;
            assert!(
                in_ring_order || self.choice.packed || !self.choice.in_order,
                "{chain:?} is out of order"
            );
            self.next_head = (chain.id + chain.descriptors) % self.choice.entries();
            assert_eq!(chain.descriptors, request.descriptors, "{chain:?} for {request:?}");
            check_buffers(self.choice, chain, request);
            let header = self.queue.device.byte(chain.buffers[0].address);
            assert_eq!(header, Some(token as u8), "the header is not the request's own");
            self.hand.push(token);
        }
    }

    fn reset(&mut self) {
        self.story.taken_back += self.in_flight.take_back(&mut self.queue);
        self.unpublished.clear();
        self.published.clear();
        self.hand.clear();
        self.next_head = 0;
        self.completed.clear();
        self.honest = true;
    }

    /// An honest device does everything; then there is room for as much as at the start.
    fn end(&mut self) {
        if self.honest {
            self.publish();
            self.fetch();
            while !self.hand.is_empty() {
                self.complete(0, 1);
            }
            while matches!(self.pop(), Popped::Done { .. }) {}
            assert!(self.in_flight.requests.is_empty(), "lost: {:?}", self.in_flight.requests.keys());
        }
        self.reset();
        self.in_flight.check(&self.queue);
    }
}

/// Where among a chain's buffers the response is: before the data that virtio-scsi's device writes, else at the end.
fn response_place(choice: Choice, request: &Request) -> usize {
    let first = choice.scsi && request.direction == Direction::FromDevice;
    if first { 1 } else { 1 + request.segments.len() }
}

/// Whether a chain is the header, the data and the response of a request.
fn check_buffers(choice: Choice, chain: &Chain, request: &Request) {
    assert_eq!(chain.buffers.len(), request.segments.len() + 2, "{chain:?} for {request:?}");
    let place = response_place(choice, request);
    let data = chain.buffers.iter().enumerate().filter(|(at, _)| *at != 0 && *at != place);
    let writable = request.direction == Direction::FromDevice;
    let expected: Vec<Buffer> = (request.segments.iter())
        .map(|segment| Buffer { address: segment.address, length: segment.length, writable })
        .collect();
    assert_eq!(data.map(|(_, buffer)| *buffer).collect::<Vec<_>>(), expected);
    let (header, response) = (chain.buffers[0], chain.buffers[place]);
    assert_eq!((header.length, header.writable), (choice.header_bytes(), false), "the header of {chain:?}");
    assert_eq!((response.length, response.writable), (choice.response_bytes(), true), "its response");
}

/// Segments whose lengths grow, at addresses that nothing is read from.
fn list(count: usize, bytes: u32) -> Vec<Segment> {
    (0..count as u32)
        .map(|index| Segment {
            address: u64::from(index) << 32,
            length: bytes.saturating_add(index.saturating_mul(bytes)),
        })
        .collect()
}

/// The inputs that fuzzing starts with.
pub fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    use Operation::{
        Complete, DisableInterrupts, Drain, EnableInterrupts, Event, Move, Pop, Publish, Reset, Scribble,
        Submit, Used, WildUsed,
    };
    let seed = |choice: Choice, operations: &[Operation]| {
        crate::operations::encode(&choice.number().to_le_bytes(), operations)
    };
    let blk = Choice { event_idx: true, size: 1, large_tables: 2, ..Choice::default() };
    let scsi = Choice { scsi: true, large_tables: 1, ..Choice::default() };
    let packed = Choice { packed: true, ..blk };
    let direct = |choice| Choice { direct: true, ..choice };
    let in_order = |choice| Choice { in_order: true, ..choice };
    let read = Submit { direction: 2, segments: 1, bytes: 512 };
    let flush = Submit { direction: 0, segments: 0, bytes: 0 };
    let long = Submit { direction: 1, segments: 5, bytes: 4096 };
    let served = [
        read,
        long,
        flush,
        Publish {},
        Complete { which: 1, length: 600 },
        Complete { which: 0, length: 1 },
        EnableInterrupts {},
        Pop {},
        flush,
        read,
        Complete { which: 0, length: 1 },
        Drain {},
        Publish {},
        Event { value: 0x8004, flags: 2 },
        long,
        read,
        Publish {},
        Complete { which: 1, length: 1 },
        Drain {},
    ];
    let wild = |id, length| [read, flush, Publish {}, WildUsed { id, length }, Move { by: 1 }, Drain {}];
    let wrapped: Vec<Operation> = served.iter().copied().cycle().take(5 * served.len()).collect();
    let mut seeds = vec![
        ("packed", seed(packed, &served)),
        ("packed_direct", seed(direct(packed), &served)),
        ("packed_in_order", seed(in_order(packed), &served)),
        ("packed_direct_in_order", seed(in_order(direct(packed)), &served)),
        ("packed_scsi", seed(Choice { packed: true, few_slots: true, size: 2, ..scsi }, &served)),
        ("direct", seed(direct(blk), &served)),
        ("direct_with_few_slots", seed(Choice { few_slots: true, ..direct(scsi) }, &served)),
        ("legacy", seed(Choice { legacy: true, ..blk }, &served)),
        ("in_order", seed(in_order(blk), &served)),
        ("in_order_direct", seed(in_order(direct(blk)), &served)),
        ("no_tables_are_free", seed(Choice { large_tables: 0, ..blk }, &served)),
        ("packed_wrapped", seed(packed, &wrapped)),
        ("packed_direct_wrapped", seed(direct(packed), &wrapped)),
        ("packed_id_out_of_range", seed(packed, &wild(0xffff, 0))),
        ("packed_id_not_in_flight", seed(packed, &wild(6, 0))),
        ("packed_too_long", seed(packed, &wild(1, 2))),
        ("in_order_id_not_in_flight", seed(in_order(blk), &wild(6, 0))),
    ];
    seeds.extend([
        ("a_read", seed(blk, &[read, Publish {}, Complete { which: 0, length: 513 }, Pop {}])),
        (
            "a_drain",
            seed(
                scsi,
                &[
                    flush,
                    Submit { direction: 2, segments: 2, bytes: 1 << 30 },
                    Publish {},
                    DisableInterrupts {},
                    Complete { which: 0, length: 12 },
                    Complete { which: 0, length: 600 },
                    Drain {},
                    EnableInterrupts {},
                ],
            ),
        ),
        (
            "full",
            seed(
                blk,
                &[
                    Submit { direction: 1, segments: 7, bytes: 512 },
                    Submit { direction: 1, segments: 1, bytes: u32::MAX },
                    long,
                    long,
                    long,
                    flush,
                    flush,
                    flush,
                    flush,
                    flush,
                    flush,
                    flush,
                    Event { value: 3, flags: 0 },
                    Publish {},
                    Complete { which: 0, length: 1 },
                    Pop {},
                    long,
                ],
            ),
        ),
        ("idle_moves", seed(blk, &[Move { by: 1 }, Pop {}, flush, Reset {}, flush])),
        ("backwards", seed(blk, &[flush, Publish {}, Move { by: 255 }, Pop {}, Pop {}, Reset {}])),
        (
            "id_out_of_range",
            seed(blk, &[flush, Publish {}, WildUsed { id: u32::MAX, length: 0 }, Move { by: 1 }, Pop {}]),
        ),
        (
            "id_not_in_flight",
            seed(blk, &[flush, Publish {}, Used { ahead: 0, id: 5, length: 0 }, Move { by: 1 }, Drain {}]),
        ),
        (
            "id_twice",
            seed(
                blk,
                &[
                    flush,
                    flush,
                    Publish {},
                    Used { ahead: 0, id: 0, length: 1 },
                    Used { ahead: 1, id: 0, length: 1 },
                    Move { by: 2 },
                    Drain {},
                    EnableInterrupts {},
                ],
            ),
        ),
        (
            "too_long",
            seed(scsi, &[read, Publish {}, Used { ahead: 0, id: 0, length: 621 }, Move { by: 1 }, Drain {}]),
        ),
        (
            "scribbles",
            seed(
                blk,
                &[
                    read,
                    Scribble { offset: 0, width: 3, value: u32::MAX },
                    read,
                    Publish {},
                    Complete { which: 0, length: 1 },
                    Scribble { offset: 200, width: 2, value: 7 },
                    Drain {},
                    Reset {},
                    read,
                    Publish {},
                    Complete { which: 0, length: 1 },
                    Drain {},
                ],
            ),
        ),
    ]);
    seeds
}

#[cfg(test)]
mod tests {
    use super::*;

    fn story(name: &str) -> Story {
        let (_, bytes) = seeds().into_iter().find(|(seed, _)| *seed == name).expect("there is such a seed");
        run(&bytes)
    }

    #[test]
    fn seeds_of_an_honest_device_bring_every_request_back() {
        for (name, done) in [("a_read", 1), ("a_drain", 2)] {
            let Story { lengths, .. } = story(name);

            assert_eq!(story(name), Story { done, lengths, ..Story::default() });
        }
    }

    #[test]
    fn every_kind_of_ring_serves() {
        for name in [
            "packed",
            "packed_direct",
            "packed_in_order",
            "direct",
            "legacy",
            "in_order",
            "no_tables_are_free",
        ] {
            assert!(story(name).done >= 4 && story(name).faults.is_empty(), "{name}: {:?}", story(name));
        }
    }

    #[test]
    fn the_seed_of_a_full_queue_is_refused_for_every_reason() {
        let story = story("full");

        assert_eq!(story.refused.first(), Some(&Reason::TooManySegments));
        assert!(story.refused.contains(&Reason::Full), "{story:?}");
        assert_eq!((story.done, story.faults.len()), (9, 0));
    }

    #[test]
    fn seeds_of_lies_end_with_their_fault() {
        const OUT_OF_RANGE: &str = "UsedIdOutOfRange";
        const NOT_IN_FLIGHT: &str = "UsedIdNotInFlight";
        const JUMPED: &str = "UsedIndexJumped";
        let kind = |fault: &DeviceFault| match fault {
            DeviceFault::UsedIdOutOfRange { .. } => OUT_OF_RANGE,
            DeviceFault::UsedIdNotInFlight { .. } => NOT_IN_FLIGHT,
            DeviceFault::UsedIndexJumped { .. } => JUMPED,
            DeviceFault::BatchTooLong { .. } => "BatchTooLong",
        };
        let faults = |name| story(name).faults.iter().map(kind).collect::<Vec<_>>();

        assert_eq!(faults("idle_moves"), [JUMPED]);
        assert_eq!(faults("backwards"), [JUMPED]);
        assert_eq!(faults("id_out_of_range"), [OUT_OF_RANGE]);
        assert_eq!(faults("id_not_in_flight"), [NOT_IN_FLIGHT]);
        assert_eq!(faults("id_twice"), [NOT_IN_FLIGHT]);
        assert_eq!(faults("packed_id_out_of_range"), [OUT_OF_RANGE]);
        assert_eq!(faults("packed_id_not_in_flight"), [NOT_IN_FLIGHT]);
        assert_eq!(faults("in_order_id_not_in_flight"), [NOT_IN_FLIGHT]);
    }

    #[test]
    fn the_seeds_of_a_length_that_cannot_be_bring_the_request_back_with_what_can() {
        // The data and the response of a read of virtio-scsi; the status of a flush of virtio-blk.
        for (name, writable) in [("too_long", 512 + 108), ("packed_too_long", 1)] {
            let Story { done, faults, lengths, .. } = story(name);

            assert_eq!((done, faults.len(), lengths), (1, 0, vec![writable]), "{name}");
        }
    }
}
