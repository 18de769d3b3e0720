//! A request queue and the requests that wait for it. `&mut RequestPath` is the proof that its lock is held.

use core::mem;

use storport::{Completion, Ended, EndedRequests, Requests, SrbStatus};
use virtio::memory::{Region, Segment};
use virtio::queue::{
    AnyRing, Data, DeviceFault, Direction, NoData, Notify, Reason, Rejected, RequestQueue, Slot,
};
use virtio::transport::Doorbell;

use crate::Request;
use crate::build_io::Command;
use crate::extent::Extent;
use crate::part::{Counted, Part};
use crate::protocol::{Chain, ChainData, Protocol, Step};
use crate::queues::MAX_QUEUES;
use crate::scratch::{Repeated, ScratchId, ScratchPool, blank};
use crate::state::State;

/// Most requests taken off the ring before the lock is dropped to complete them.
pub(crate) const BATCH: usize = 32;

/// Why a running adapter's queue refuses a request when the device does not use it (any more). No request ends like this.
pub(crate) const UNUSED: Completion = Completion::failed(SrbStatus::BUSY);

/// Requests of the queue in a row.
pub(crate) type Waiting<D> = Requests<Command<<D as Protocol>::Command>>;

/// Requests that have ended, to be completed once the lock is dropped.
pub(crate) struct Finished<D: Protocol> {
    requests: EndedRequests<Command<D::Command>>,
    room: usize,
}

impl<D: Protocol> Finished<D> {
    pub(crate) const fn new() -> Self {
        Self { requests: EndedRequests::new(), room: BATCH }
    }

    /// How many more there may be.
    #[inline]
    pub(crate) const fn room(&self) -> usize {
        self.room
    }

    #[inline]
    pub(crate) fn push(&mut self, ended: Ended<Command<D::Command>>) {
        self.requests.push(ended);
        self.room = self.room.saturating_sub(1);
    }

    /// How many there are.
    #[inline]
    pub(crate) const fn len(&self) -> usize {
        BATCH - self.room
    }

    #[inline]
    pub(crate) fn pop(&mut self) -> Option<Ended<Command<D::Command>>> {
        self.requests.pop()
    }
}

/// A request queue in the memory StorPort gave: rings and tables in the uncached extension, slots in the device extension.
pub(crate) type Ring<D> = RequestQueue<D, AnyRing<Region>, Request<D>, &'static mut [Slot<Request<D>>]>;

/// A request queue and the requests that wait.
pub(crate) struct RequestPath<D: Protocol> {
    /// Which queue it is.
    queue: u16,
    pub(crate) ring: Ring<D>,
    /// They wait for a place in the ring.
    pub(crate) backlog: Waiting<D>,
    /// They wait for scratch memory.
    starved: Waiting<D>,
    scratch: ScratchPool,
    /// Most bytes of a segment of scratch memory.
    segment_bytes: u32,
    /// Known once the device runs, if it uses the queue.
    pub(crate) doorbell: Option<Doorbell>,
}

/// What the device has to be told, once the lock is dropped.
/// Which queue it is, whoever sends it knows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Notification {
    pub(crate) doorbell: Doorbell,
    /// How far the ring was filled.
    pub(crate) next: u16,
}

/// What became of a request that was to be started.
#[must_use]
pub(crate) enum Started<D: Protocol> {
    /// It is in the ring, or waits for a place there.
    Taken(Option<Notification>),
    /// It cannot be started and ends like this.
    Refused(Request<D>, Completion),
}

/// What a look at the ring found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// No used buffer.
    Nothing,
    /// A request that ends.
    Done,
    /// A request that went into the ring again, or waits for that.
    Again,
}

/// Why a request is not in the ring.
enum Kept<D: Protocol> {
    /// The ring is full.
    Full(Request<D>),
    /// It needs scratch memory, and there is none.
    Starved(Request<D>),
    /// It cannot be started and ends like this.
    Refused(Request<D>, Completion),
}

impl<D: Protocol> RequestPath<D> {
    pub(crate) const fn new(queue: u16, ring: Ring<D>, scratch: ScratchPool, segment_bytes: u32) -> Self {
        Self {
            queue,
            ring,
            backlog: Requests::new(),
            starved: Requests::new(),
            scratch,
            segment_bytes,
            doorbell: None,
        }
    }

    /// Puts a request into the ring, or behind those that wait already.
    pub(crate) fn start(&mut self, protocol: &D, state: State, srb: Request<D>) -> Started<D> {
        match state {
            State::Running => {}
            // The port driver starts nothing on a stopped adapter; a request that slips in waits for the restart. What comes
            // before the reset of a faulty device ends with it, and is sent again. What comes to one that failed waits until
            // it is back.
            State::Stopped | State::Faulty | State::Failed => {
                self.backlog.push_back(srb);
                return Started::Taken(None);
            }
            State::Gone => {
                return Started::Refused(srb, Completion::failed(SrbStatus::NO_DEVICE));
            }
        }
        if !self.backlog.is_empty() {
            self.backlog.push_back(srb);
            return Started::Taken(None);
        }
        match self.submit(protocol, srb) {
            Ok(()) => return Started::Taken(self.publish()),
            Err(Kept::Full(srb)) => self.backlog.push_back(srb),
            Err(Kept::Starved(srb)) => self.starved.push_back(srb),
            Err(Kept::Refused(srb, completion)) => return Started::Refused(srb, self.reason(completion)),
        }
        Started::Taken(None)
    }

    /// Why a request was refused that cannot be started in this queue.
    #[cold]
    fn reason(&self, completion: Completion) -> Completion {
        if self.doorbell.is_some() { completion } else { UNUSED }
    }

    /// Fills the ring from those that wait, and publishes that and what [`finish_one`](Self::finish_one) put into it.
    /// Returns the notification to send; refused requests go to `finished`, which must have room for one.
    pub(crate) fn refill(
        &mut self,
        protocol: &D,
        mut submitted: bool,
        finished: &mut Finished<D>,
    ) -> Option<Notification> {
        while finished.room() != 0
            && let Some(srb) = self.next_waiting()
        {
            match self.submit(protocol, srb) {
                Ok(()) => submitted = true,
                Err(Kept::Full(srb)) => {
                    self.backlog.push_front(srb);
                    break;
                }
                // The next one may need none.
                Err(Kept::Starved(srb)) => self.starved.push_back(srb),
                Err(Kept::Refused(srb, completion)) => finished.push(srb.end(completion)),
            }
        }
        if submitted { self.publish() } else { None }
    }

    /// One that waited for scratch memory when there is some, else the one that has waited longest for the ring.
    fn next_waiting(&mut self) -> Option<Request<D>> {
        if self.scratch.is_any_free()
            && let Some(srb) = self.starved.pop_front()
        {
            return Some(srb);
        }
        self.backlog.pop_front()
    }

    /// Takes one used buffer off the ring and translates the device's answer: a request that ends goes to `finished`, which
    /// must have room for it. One with another step goes back into the ring, and has to be published
    /// ([`refill`](Self::refill)).
    pub(crate) fn finish_one(
        &mut self,
        protocol: &D,
        finished: &mut Finished<D>,
    ) -> Result<Found, DeviceFault> {
        const LONGEST: usize = 128;
        let whole = const {
            let whole = D::RESPONSE_BYTES as usize;
            assert!(whole <= LONGEST && D::RESPONSE_HEAD <= whole);
            whole
        };

        let Some(used) = self.ring.pop_used()? else {
            return Ok(Found::Nothing);
        };
        let mut response = [0; LONGEST];
        used.read_response(0, &mut response[..D::RESPONSE_HEAD]);
        let rest = D::response_rest(&response[..D::RESPONSE_HEAD]).min(whole - D::RESPONSE_HEAD);
        let length = D::RESPONSE_HEAD + rest;
        used.read_response(D::RESPONSE_HEAD, &mut response[D::RESPONSE_HEAD..length]);
        used.spoil_response(D::RESPONSE_HEAD);
        let mut srb = used.take();
        // Only requests are ever submitted.
        let Some(Command::Request(command, scratch)) = srb.command() else {
            finished.push(srb.end(Completion::failed(SrbStatus::INVALID_REQUEST)));
            return Ok(Found::Done);
        };
        let memory = scratch.and_then(|id| self.scratch.memory(id));
        match protocol.complete(&mut srb, command, &response[..length], memory) {
            Step::Done(completion) => {
                self.give_back(scratch);
                finished.push(srb.end(completion));
                Ok(Found::Done)
            }
            Step::Next(command) => {
                srb.set_command(Command::Request(command, scratch));
                self.submit_again(protocol, srb, finished);
                Ok(Found::Again)
            }
        }
    }

    /// The next step of a request. Its last one has just left the ring, so there is room, unless its chain is longer.
    #[cold]
    fn submit_again(&mut self, protocol: &D, srb: Request<D>, finished: &mut Finished<D>) {
        match self.submit(protocol, srb) {
            Ok(()) => {}
            // It has waited once.
            Err(Kept::Full(srb)) => self.backlog.push_front(srb),
            Err(Kept::Starved(srb)) => self.starved.push_back(srb),
            Err(Kept::Refused(srb, completion)) => finished.push(srb.end(completion)),
        }
    }

    /// Takes every request back, from the ring and the backlog, and puts it behind `all`. Only after the device was reset,
    /// was kept from memory, or is gone: until then it may write to theirs.
    pub(crate) fn take_all(&mut self, all: &mut Waiting<D>) {
        while let Some(srb) = self.ring.take_outstanding() {
            all.push_back(srb);
        }
        all.append(mem::take(&mut self.backlog));
        all.append(mem::take(&mut self.starved));
        self.scratch.give_all();
    }

    /// Empties the ring for a start of the device, which is in reset. What a reset that timed out left in it, because the
    /// device could not be kept from memory either, was never answered; the device has forgotten it.
    pub(crate) fn empty(&mut self) {
        while let Some(srb) = self.ring.take_outstanding() {
            self.backlog.push_back(srb);
        }
        self.ring.reset();
        self.doorbell = None;
    }

    /// Has all that waits wait for another queue, as this one, which is empty, will not be used any more. Between two steps
    /// nothing is in a request's scratch memory that it would miss: the next step fills it anew, in that queue's. What comes
    /// until the next start is refused.
    pub(crate) fn hand_over(&mut self, to: &mut Self) {
        self.ring.close();
        for waiting in [&mut self.backlog, &mut self.starved] {
            while let Some(mut srb) = waiting.pop_front() {
                forget_scratch(&mut srb);
                to.backlog.push_back(srb);
            }
        }
        self.scratch.give_all();
    }

    fn submit(&mut self, protocol: &D, srb: Request<D>) -> Result<(), Kept<D>> {
        let Some(Command::Request(command, scratch)) = srb.command() else {
            return Err(Kept::Refused(srb, refusal(Reason::Broken)));
        };
        let mut chain = protocol.chain(&srb, command);
        D::number(&mut chain.header, self.next_number());
        let header = &chain.header;
        let submitted = match chain.data {
            ChainData::None => self.ring.submit(srb, header, Direction::None, NoData),
            ChainData::Srb(direction) => self.ring.submit(srb, header, direction, OwnBuffer),
            ChainData::Part(direction, part) => {
                return self.submit_part(srb, header, direction, part);
            }
            ChainData::ScratchIn { .. } | ChainData::ScratchOut { .. } => {
                return self.submit_with_scratch(protocol, srb, chain, (command, scratch));
            }
        };
        match submitted {
            Ok(_) => Ok(()),
            Err(rejected) => Err(self.keep(rejected, scratch)),
        }
    }

    /// A request of whose data only a part is for this step.
    #[cold]
    #[inline(never)]
    fn submit_part(
        &mut self,
        srb: Request<D>,
        header: &D::Header,
        direction: Direction,
        part: Part,
    ) -> Result<(), Kept<D>> {
        let data = PartOfBuffer(part);
        match self.ring.submit(srb, header, direction, data) {
            Ok(_) => Ok(()),
            Err(rejected) => Err(self.keep(rejected, None)),
        }
    }

    /// The number of the command that goes into the ring next: its place, and how many had it before. There are devices that
    /// look at 32 bits of a tag (FreeBSD's bhyve, usr.sbin/bhyve/pci_virtio_scsi.c), so it has no more.
    #[inline]
    fn next_number(&self) -> u32 {
        const SLOT_BITS: u32 = 10;
        const QUEUE_BITS: u32 = 6;
        const { assert!(MAX_QUEUES as u32 <= 1 << QUEUE_BITS) };
        const { assert!(Extent::NORMAL.entries as u32 <= 1 << SLOT_BITS) };
        // Without a place it is not sent.
        self.ring.next_ticket().map_or(0, |ticket| {
            let place = u32::from(self.queue) << SLOT_BITS | u32::from(ticket.slot());
            ticket.generation() << (SLOT_BITS + QUEUE_BITS) | place
        })
    }

    /// A request whose data, in this step, is scratch memory.
    #[cold]
    fn submit_with_scratch(
        &mut self,
        protocol: &D,
        mut srb: Request<D>,
        chain: Chain<D::Header>,
        (mut command, scratch): (D::Command, Option<ScratchId>),
    ) -> Result<(), Kept<D>> {
        let Some(scratch) = scratch.or_else(|| self.scratch.take()) else {
            return Err(Kept::Starved(srb));
        };
        let Some(memory) = self.scratch.memory(scratch) else {
            return Err(Kept::Refused(srb, refusal(Reason::Broken)));
        };
        let most = self.segment_bytes;
        let (direction, data) = match chain.data {
            ChainData::ScratchIn { bytes, times } => {
                blank(memory, bytes);
                (Direction::FromDevice, Repeated::new(memory, bytes, times, most))
            }
            ChainData::ScratchOut { times } => match protocol.fill(&mut srb, command, memory) {
                Ok(filled) => {
                    command = filled.command;
                    (Direction::ToDevice, Repeated::new(memory, filled.bytes, times, most))
                }
                Err(completion) => {
                    self.give_back(Some(scratch));
                    return Err(Kept::Refused(srb, completion));
                }
            },
            ChainData::None | ChainData::Srb(_) | ChainData::Part(..) => {
                (Direction::None, Repeated::new(memory, 0, 0, most))
            }
        };
        srb.set_command(Command::Request(command, Some(scratch)));
        match self.ring.submit(srb, &chain.header, direction, data) {
            Ok(_) => Ok(()),
            Err(rejected) => Err(self.keep(rejected, Some(scratch))),
        }
    }

    /// What becomes of a request that the ring did not take: one that is refused ends, and its scratch memory is free.
    #[cold]
    fn keep(&mut self, rejected: Rejected<Request<D>>, scratch: Option<ScratchId>) -> Kept<D> {
        match rejected {
            Rejected { token, reason: Reason::Full } => Kept::Full(token),
            Rejected { token, reason } => {
                self.give_back(scratch);
                Kept::Refused(token, refusal(reason))
            }
        }
    }

    fn give_back(&mut self, scratch: Option<ScratchId>) {
        if let Some(id) = scratch {
            self.scratch.give(id);
        }
    }

    fn publish(&mut self) -> Option<Notification> {
        match self.ring.publish() {
            Notify::Device { next } => self.doorbell.map(|doorbell| Notification { doorbell, next }),
            Notify::Suppressed => None,
        }
    }
}

/// Scratch memory is a queue's: a request that goes on in another one has none there.
pub(crate) fn forget_scratch<C: Copy>(srb: &mut storport::Request<Command<C>>) {
    if let Some(Command::Request(command, Some(_))) = srb.command() {
        srb.set_command(Command::Request(command, None));
    }
}

/// The data is the request's own buffer.
struct OwnBuffer;

impl<C: Copy> Data<storport::Request<C>> for OwnBuffer {
    #[inline]
    fn segments(&self, srb: &storport::Request<C>) -> impl ExactSizeIterator<Item = Segment> {
        srb.segments()
    }
}

/// The data is a part of the request's own buffer.
struct PartOfBuffer(Part);

impl<C: Copy> Data<storport::Request<C>> for PartOfBuffer {
    fn segments(&self, srb: &storport::Request<C>) -> impl ExactSizeIterator<Item = Segment> {
        let items = || self.0.of(srb.segments());
        Counted { items: items(), left: items().count() }
    }
}

/// How a request ends that the ring does not take.
fn refusal(reason: Reason) -> Completion {
    match reason {
        // StorPort keeps to NumberOfPhysicalBreaks and MaximumTransferLength, so this is a request that broke the rules.
        Reason::TooManySegments | Reason::TooLarge => Completion::failed(SrbStatus::INVALID_REQUEST),
        // The ring is about to be reset; what could not get into it comes again, as what is in it does.
        Reason::Full | Reason::Broken => Completion::failed(SrbStatus::BUS_RESET),
    }
}
