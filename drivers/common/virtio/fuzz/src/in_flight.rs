//! What has to be true of the requests of a queue, whatever ring it has: which ones are with the device, what they take
//! of the ring, and so which further ones fit.

use std::collections::{BTreeMap, VecDeque};

use virtio::memory::Segment;
use virtio::queue::{Direction, Reason, Ticket};

use crate::{Choice, Queue};

/// Tickets of requests that are done, as many as are looked at again.
const GONE: usize = 8;

/// A request that the device has.
#[derive(Clone, Debug)]
pub struct Request {
    /// Bytes the device may write
    pub writable: u32,
    /// Descriptors of the ring that it takes
    pub descriptors: u16,
    /// It has a large table.
    pub large: bool,
    /// What names it while the device has it
    pub ticket: Ticket,
    /// Which way its data goes
    pub direction: Direction,
    /// Where its data is
    pub segments: Vec<Segment>,
    /// The id that the device knows it by, once it was seen
    pub id: Option<u16>,
}

/// The requests that the device has.
#[derive(Debug)]
pub struct InFlight {
    choice: Choice,
    /// By their tokens, which grow: in the order of submission.
    pub requests: BTreeMap<u32, Request>,
    next_token: u32,
    gone: VecDeque<Ticket>,
    /// A fault was told; nothing goes in or comes out before a reset.
    pub faulted: bool,
}

/// Where a chain goes.
struct Place {
    descriptors: usize,
    large: bool,
}

impl InFlight {
    /// None, in such a queue.
    pub fn new(choice: Choice) -> Self {
        Self { choice, requests: BTreeMap::new(), next_token: 0, gone: VecDeque::new(), faulted: false }
    }

    /// The token of the next request.
    pub fn next_token(&self) -> u32 {
        self.next_token
    }

    /// Submits a request, and checks that it is taken exactly when it fits. Its token is the next one.
    ///
    /// # Errors
    /// It does not fit.
    pub fn submit(
        &mut self,
        queue: &mut Queue,
        header: &[u8; crate::HEADER_BYTES],
        direction: Direction,
        segments: &[Segment],
    ) -> Result<u32, Reason> {
        let token = self.next_token;
        let place = self.place(segments);
        assert_eq!(queue.is_full(), self.is_full(), "full with {:?}", self.requests);
        let submitted = queue.submit(token, header, direction, segments);
        let expected = place.as_ref().err().copied();
        assert_eq!(submitted.err(), expected, "{} segments, {:?}", segments.len(), self.requests);
        let (ticket, Place { descriptors, large }) = (submitted?, place?);
        self.next_token += 1;
        let bytes = segments.iter().map(|segment| segment.length).sum();
        let request = Request {
            writable: self.choice.writable(direction, bytes),
            descriptors: descriptors as u16,
            large,
            ticket,
            direction,
            segments: segments.to_vec(),
            id: None,
        };
        self.requests.insert(token, request);
        Ok(token)
    }

    fn free_descriptors(&self) -> usize {
        let taken: u16 = self.requests.values().map(|request| request.descriptors).sum();
        usize::from(self.choice.descriptors() - taken)
    }

    fn is_full(&self) -> bool {
        let least = if self.choice.direct { 2 } else { 1 };
        self.requests.len() == usize::from(self.choice.slots()) || self.free_descriptors() < least
    }

    /// Where the chain of a request with these segments goes, or why nowhere.
    fn place(&self, segments: &[Segment]) -> Result<Place, Reason> {
        let count = segments.len();
        if self.faulted {
            return Err(Reason::Broken);
        }
        if count > self.choice.max_segments() {
            return Err(Reason::TooManySegments);
        }
        let tables = self.requests.values().filter(|request| request.large).count();
        let long = self.choice.is_long(count);
        let large = !self.choice.direct && long && tables < self.choice.tables();
        let direct = self.choice.direct || long && !large;
        let descriptors = if direct { count + 2 } else { 1 };
        if self.requests.len() == usize::from(self.choice.slots()) || descriptors > self.free_descriptors() {
            return Err(Reason::Full);
        }
        let data: u64 = segments.iter().map(|segment| u64::from(segment.length)).sum();
        let fixed = self.choice.header_bytes() + self.choice.response_bytes();
        if data + u64::from(fixed) > u64::from(u32::MAX) {
            return Err(Reason::TooLarge);
        }
        Ok(Place { descriptors, large })
    }

    /// A request came back.
    #[track_caller]
    pub fn remove(&mut self, token: u32) -> Request {
        let request = self.requests.remove(&token);
        let request = request.unwrap_or_else(|| panic!("{token} is not with the device"));
        self.gone.push_back(request.ticket);
        if self.gone.len() > GONE {
            self.gone.pop_front();
        }
        request
    }

    /// Takes everything back, from a device that was reset. Returns how many there were.
    pub fn take_back(&mut self, queue: &mut Queue) -> usize {
        let count = self.requests.len();
        while let Some(token) = queue.take_outstanding() {
            self.remove(token);
        }
        assert!(self.requests.is_empty(), "lost: {:?}", self.requests.keys());
        assert_eq!(queue.in_flight(), 0);
        queue.reset();
        self.faulted = false;
        count
    }

    /// What is true at any time.
    #[track_caller]
    pub fn check(&self, queue: &Queue) {
        assert_eq!(queue.in_flight(), self.requests.len());
        for (token, request) in &self.requests {
            assert_eq!(queue.get(request.ticket), Some(*token), "the ticket of a request names it");
        }
        for ticket in &self.gone {
            assert_eq!(queue.get(*ticket), None, "the ticket of a request that is gone names nothing");
        }
    }
}
