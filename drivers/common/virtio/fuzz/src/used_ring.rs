//! A device that writes anything into the shared memory, at any time between two calls of the driver.
//!
//! Input: one byte for the queue ([`Choice`]), then operations of driver and device.
//!
//! What is promised: each request comes back exactly once, from `pop` or after a reset, and none that is not with the
//! device; its length is the device's claim, which was possible, and lies within what the device was allowed to write;
//! after the first fault nothing comes back before a reset, and nothing goes in; a device that kept to the rules is never blamed, and its requests do come back.

use std::collections::{BTreeMap, VecDeque};

use arbitrary::Unstructured;
use virtio::memory::Segment;
use virtio::queue::{DeviceFault, Direction, Reason};
use virtio::spec::Features;

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
        /// A request of too many bytes, which is found out when its chain is written already.
        TooLarge {
            /// Data segments
            segments: u8,
        },
        /// The device gets to see what was submitted.
        Publish {},
        /// The driver takes a request that is done.
        Pop {},
        /// The driver asks which of its tickets are still good.
        Tickets {},
        /// The driver takes all that are done.
        Drain {},
        /// The driver asks for interrupts.
        EnableInterrupts {},
        /// The driver asks for none.
        DisableInterrupts {},
        /// The device is reset, and every request taken back.
        Reset {},
        /// The device does the next request by the rules.
        Complete {
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
        /// The device moves its used index.
        Move {
            /// By so many, if less than 200; otherwise by so many thousands, or back
            by: u8,
        },
        /// The device says when it wants to be notified.
        Event {
            /// From which entry on
            value: u16,
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
}

/// A request that the device has.
struct Request {
    writable: u32,
    claimable: u32,
}

struct Play {
    queue: Queue,
    choice: Choice,
    next_token: u32,
    in_flight: BTreeMap<u32, Request>,
    /// Tokens in the order of submission, for an honest device
    order: VecDeque<u32>,
    /// Of them, how many the device did, and with which length
    completed: VecDeque<(u32, u32)>,
    published: usize,
    /// Nothing but `Complete` was written since the last reset
    honest: bool,
    faulted: bool,
    /// Used entries that the driver has seen and not taken.
    seen: u16,
    story: Story,
}

/// Plays an input.
pub fn run(input: &[u8]) -> Story {
    let mut input = Unstructured::new(input);
    let choice = Choice::from_byte(input.arbitrary().unwrap_or(0));
    let operations: Vec<Operation> = decode(&mut input);
    let queue = MACHINE.with(|machine| Queue::new(choice, &machine.shared, Features::empty()));
    let mut play = Play {
        queue,
        choice,
        next_token: 0,
        in_flight: BTreeMap::new(),
        order: VecDeque::new(),
        completed: VecDeque::new(),
        published: 0,
        honest: true,
        faulted: false,
        seen: 0,
        story: Story::default(),
    };
    for operation in operations {
        play.step(operation);
        assert_eq!(play.queue.in_flight(), play.in_flight.len(), "after {operation:?}");
    }
    play.reset();
    play.story
}

impl Play {
    fn step(&mut self, operation: Operation) {
        match operation {
            Operation::Submit { direction, segments, bytes } => self.submit(direction, segments, bytes),
            Operation::TooLarge { segments } => self.submit_too_large(segments),
            Operation::Publish {} => {
                let _ = self.queue.publish();
                self.published = self.order.len();
            }
            Operation::Pop {} => {
                self.pop();
            }
            Operation::Tickets {} => self.queue.check_tickets(),
            Operation::Drain {} => {
                // Each round takes a request away, so this ends.
                while matches!(self.pop(), Popped::Done { .. }) {}
            }
            Operation::EnableInterrupts {} => {
                let waiting = self.queue.enable_interrupts();
                assert!(!(waiting && self.faulted), "there is nothing to drain in a broken queue");
                assert!(!self.honest || waiting != self.completed.is_empty(), "what is waiting is told");
            }
            Operation::DisableInterrupts {} => self.queue.disable_interrupts(),
            Operation::Reset {} => self.reset(),
            Operation::Complete { length } => self.complete(length),
            Operation::Used { ahead, id, length } => {
                self.honest = false;
                self.queue.write_used(ahead, u32::from(id), u32::from(length));
            }
            Operation::WildUsed { id, length } => {
                self.honest = false;
                self.queue.write_used(0, id, length);
            }
            Operation::Move { by } => {
                self.honest = false;
                let by = if by < 200 { u16::from(by) } else { u16::from(by - 200).wrapping_mul(1191) };
                self.queue.move_used(by);
            }
            Operation::Event { value } => self.queue.write_event(value),
            Operation::Scribble { offset, width, value } => {
                self.honest = false;
                self.queue.scribble(offset, width, value);
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
        let segments = list(count, bytes);
        let token = self.next_token;
        let (was_full, room) = (self.queue.is_full(), self.queue.has_room(count));
        let result = self.queue.submit(token, &header(&token.to_le_bytes()), direction, &segments);
        assert!(!(was_full && result.is_ok()), "a full queue takes nothing");
        self.check_refusal(result.err(), count, room);
        if result.is_ok() {
            self.next_token += 1;
            let bytes = segments.iter().fold(0_u32, |sum, segment| sum.saturating_add(segment.length));
            let writable = self.choice.writable(direction, bytes);
            let claimable = self.choice.claimable(direction, bytes);
            self.in_flight.insert(token, Request { writable, claimable });
            self.order.push_back(token);
        }
    }

    /// The chain is written, and nothing of it may be left.
    fn submit_too_large(&mut self, segments: u8) {
        let most = self.choice.max_segments();
        let count = (usize::from(segments) % (most + 1)).max(2);
        let segments = vec![Segment { address: 0xdead_0000, length: u32::MAX }; count];
        let room = self.queue.has_room(count);
        let result = self.queue.submit(u32::MAX, &header(&[0xaa; 8]), Direction::ToDevice, &segments);
        let expected = match (self.faulted, room) {
            (true, _) => Reason::Broken,
            (false, true) => Reason::TooLarge,
            (false, false) => Reason::Full,
        };
        assert_eq!(result, Err(expected));
        self.story.refused.push(expected);
    }

    /// Whether the queue said why it does not take so many segments, and says nothing where it can.
    fn check_refusal(&mut self, refused: Option<Reason>, segments: usize, room: bool) {
        let expected = if self.faulted {
            Some(Reason::Broken)
        } else if segments > self.choice.max_segments() {
            Some(Reason::TooManySegments)
        } else if !room {
            Some(Reason::Full)
        } else {
            None
        };
        assert_eq!(refused, expected, "{segments} segments");
        self.story.refused.extend(refused);
    }

    fn pop(&mut self) -> Popped {
        let mut claim = self.queue.claim();
        // The driver looks at the used index again only when it has taken what it saw there.
        if self.seen > 0 {
            claim.waiting = self.seen;
        }
        let popped = self.queue.pop();
        match popped {
            Popped::Nothing => {
                assert!(self.faulted || claim.waiting == 0, "{claim:?} is overlooked");
                assert!(!self.honest || self.completed.is_empty(), "a request that is done is not found");
            }
            Popped::Done { length, token, .. } => {
                assert!(!self.faulted, "nothing comes out of a broken queue");
                let possible = (1..=self.in_flight.len()).contains(&usize::from(claim.waiting));
                assert!(possible && claim.id < u32::from(self.choice.entries()), "{claim:?} passed");
                if self.honest {
                    assert_eq!(self.completed.front(), Some(&(token, length)), "not the one that was done");
                }
                let request = self.in_flight.remove(&token).expect("the device had the request");
                assert!(claim.length <= request.claimable, "{claim:?} of {} bytes", request.claimable);
                assert_eq!(length, claim.length.min(request.writable), "{claim:?}");
                self.seen = claim.waiting - 1;
                self.completed.pop_front();
                self.story.done += 1;
            }
            Popped::Fault(fault) => {
                assert!(!self.honest, "an honest device is blamed: {fault:?}");
                assert!(!self.faulted, "a fault is told once");
                self.faulted = true;
                self.story.faults.push(fault);
            }
        }
        popped
    }

    /// By the rules as long as nothing else was written; otherwise one more thing that the device writes.
    fn complete(&mut self, length: u16) {
        if !self.honest {
            self.queue.complete(u32::from(length));
            return;
        }
        let done = self.published > 0;
        let token = if done { self.order.pop_front() } else { None };
        let Some(token) = token else {
            assert!(!self.queue.complete(0), "the device sees a request that was not published");
            return;
        };
        self.published -= 1;
        let length = u32::from(length).min(self.in_flight[&token].writable);
        assert!(self.queue.complete(length), "the device does not see a request that was published");
        self.completed.push_back((token, length));
    }

    fn reset(&mut self) {
        while let Some(token) = self.queue.take_outstanding() {
            assert!(self.in_flight.remove(&token).is_some(), "{token} was not with the device");
            self.story.taken_back += 1;
        }
        assert!(self.in_flight.is_empty(), "lost: {:?}", self.in_flight.keys());
        assert_eq!(self.queue.in_flight(), 0);
        self.queue.reset();
        self.order.clear();
        self.completed.clear();
        self.published = 0;
        self.honest = true;
        self.faulted = false;
        self.seen = 0;
    }
}

/// Segments whose lengths grow, at addresses that nothing is read from; all together less than 2^32 bytes.
fn list(count: usize, bytes: u32) -> Vec<Segment> {
    let most = (u32::MAX - 1024) / (count as u32).max(1);
    (0..count as u32)
        .map(|index| Segment {
            address: u64::from(index) << 32,
            length: bytes.saturating_add(index.saturating_mul(bytes)).min(most),
        })
        .collect()
}

/// The inputs that fuzzing starts with.
pub fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    use Operation::{
        Complete, DisableInterrupts, Drain, EnableInterrupts, Event, Move, Pop, Publish, Reset, Scribble,
        Submit, Tickets, TooLarge, Used, WildUsed,
    };
    let seed =
        |choice: Choice, operations: &[Operation]| crate::operations::encode(&[choice.byte()], operations);
    let blk = Choice { scsi: false, event_idx: true, size: 1, large_tables: 1, packed: false, direct: false };
    let scsi = Choice { scsi: true, event_idx: false, size: 0, ..blk };
    let packed = Choice { packed: true, ..blk };
    let read = Submit { direction: 2, segments: 1, bytes: 512 };
    let flush = Submit { direction: 0, segments: 0, bytes: 0 };
    let long = Submit { direction: 1, segments: 5, bytes: 4096 };
    vec![
        ("a_read", seed(blk, &[read, Publish {}, Complete { length: 513 }, Pop {}])),
        (
            "a_drain",
            seed(
                scsi,
                &[
                    flush,
                    Submit { direction: 2, segments: 2, bytes: u32::MAX },
                    Publish {},
                    DisableInterrupts {},
                    Complete { length: 12 },
                    Complete { length: 600 },
                    Tickets {},
                    Drain {},
                    Tickets {},
                    EnableInterrupts {},
                ],
            ),
        ),
        (
            "full",
            seed(
                blk,
                &[
                    Submit { direction: 1, segments: 7, bytes: 1 },
                    TooLarge { segments: 2 },
                    TooLarge { segments: 3 },
                    long,
                    long,
                    flush,
                    flush,
                    flush,
                    flush,
                    flush,
                    flush,
                    flush,
                    Event { value: 3 },
                    Publish {},
                    Complete { length: 1 },
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
            seed(
                blk,
                &[
                    flush,
                    Publish {},
                    Used { ahead: 0, id: 5, length: 0 },
                    Move { by: 1 },
                    Tickets {},
                    Drain {},
                ],
            ),
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
            "packed_round_after_round",
            seed(
                packed,
                &[
                    [read, long, flush].as_slice(),
                    &[
                        Publish {},
                        Complete { length: 1 },
                        Complete { length: 1 },
                        Complete { length: 1 },
                        Drain {},
                    ],
                    &[long, long, Publish {}, Complete { length: 1 }, Complete { length: 1 }, Drain {}],
                    &[flush; 7],
                    &[flush, Publish {}, Complete { length: 1 }, Pop {}, EnableInterrupts {}, Tickets {}],
                ]
                .concat(),
            ),
        ),
        (
            "packed_id_not_in_flight",
            seed(packed, &[flush, Publish {}, Used { ahead: 0, id: 5, length: 0 }, Drain {}]),
        ),
        (
            "direct",
            seed(
                Choice { direct: true, size: 2, ..blk },
                &[
                    long,
                    read,
                    flush,
                    Publish {},
                    Complete { length: 1 },
                    Complete { length: 513 },
                    Drain {},
                    long,
                ],
            ),
        ),
        (
            "packed_direct",
            seed(
                Choice { direct: true, size: 2, ..packed },
                &[
                    [long, read, flush, Publish {}, Complete { length: 1 }, Complete { length: 513 }]
                        .as_slice(),
                    &[Drain {}, long, Publish {}, Complete { length: 1 }, Complete { length: 1 }, Drain {}],
                ]
                .concat(),
            ),
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
                    Complete { length: 1 },
                    Scribble { offset: 200, width: 2, value: 7 },
                    Drain {},
                    Reset {},
                    read,
                    Publish {},
                    Complete { length: 1 },
                    Drain {},
                ],
            ),
        ),
    ]
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
        assert_eq!(story("a_read"), Story { done: 1, ..Story::default() });
        assert_eq!(story("a_drain"), Story { done: 2, ..Story::default() });
        assert_eq!(story("direct"), Story { done: 2, taken_back: 2, ..Story::default() });
        assert_eq!(story("packed_direct"), Story { done: 4, ..Story::default() });
        let rounds = story("packed_round_after_round");
        assert_eq!((rounds.done, rounds.taken_back, rounds.faults.len()), (5, 6, 0));
    }

    #[test]
    fn the_seed_of_a_full_queue_is_refused_for_every_reason() {
        let story = story("full");

        assert_eq!(story.refused.first(), Some(&Reason::TooManySegments));
        assert!(story.refused.contains(&Reason::TooLarge), "{story:?}");
        assert!(story.refused.contains(&Reason::Full), "{story:?}");
        assert_eq!((story.done, story.faults.len()), (1, 0));
    }

    #[test]
    fn seeds_of_lies_end_with_their_fault() {
        let faults = |name| story(name).faults.iter().map(|fault| fault.code() >> 16).collect::<Vec<_>>();

        assert_eq!(faults("idle_moves"), [4]);
        assert_eq!(faults("backwards"), [4]);
        assert_eq!(faults("id_out_of_range"), [1]);
        assert_eq!(faults("id_not_in_flight"), [2]);
        assert_eq!(faults("id_twice"), [2]);
        assert_eq!(faults("too_long"), [3]);
        assert_eq!(faults("packed_id_not_in_flight"), [2]);
    }
}
