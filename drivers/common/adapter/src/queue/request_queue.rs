//! A request queue: its ring, the requests that wait for a place in it, its doorbell. Lock: the queue's own guards everything
//! here: `&mut Queue` is the proof that it is held.
//!
//! Requests that come to a closed queue wait, go elsewhere or end, as its [`Gate`] says; nobody asks that before the ring has
//! refused one.

use core::mem;

use storport::port::FarUnit;
use storport::{Address, Completion, EndedRequests, Requests, SrbStatus};
use virtio::memory::{Block, Region, Segment, Words};
use virtio::queue::{
    Data, DeviceFault, Direction, Layout, LayoutError, NoData, Notify, QueueAreas, Reason, Rejected, Ring,
    Ticket, WriteHeader,
};
use virtio::spec::Features;
use virtio::transport::Doorbell;

use super::ring::{AnyRing, RingOf, Slots, with_ring};

use crate::device_type::{Chain, ChainData, DeviceType, Ended, Facts, Request, Response, Step};
use crate::request::{Command, Counted, Function, Part, Repeated, ScratchId, ScratchPool, blank};

/// Most requests taken off the ring before the lock is dropped to complete them.
const BATCH: usize = 64;

/// Bits of a command's tag that say its place in the ring,
pub(crate) const SLOT_BITS: u32 = 10;

/// and in which queue that is. The others count.
pub(super) const QUEUE_BITS: u32 = 6;

/// Requests of a queue in a row.
pub(crate) type Waiting<D> = Requests<Command<<D as Facts>::Command>>;

/// The ring of requests, once it is known which kind it is.
type RequestRing<D, R> = RingOf<D, R, Request<D>>;

/// What becomes of requests that the ring does not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    /// The device uses the queue. If the ring refuses requests all the same, it has just broken a rule: they wait for the
    /// reset that follows.
    Open,
    /// The device does not run: they wait until it does.
    Closed,
    /// The device does not use the queue (any more): they go to another one.
    Unused,
    /// The device is gone: they end, for ever. Nothing else may end one so: a class driver does not try again what ended with
    /// NO_DEVICE (classpnp's ClassInterpretSenseInfo), and Windows ends when it is told so of its boot disk.
    Gone,
}

/// A request queue.
pub(crate) struct Queue<D: DeviceType> {
    ring: AnyRing<D, Request<D>>,
    rest: Rest<D>,
}

/// All of a queue that is not its ring.
struct Rest<D: DeviceType> {
    /// Which queue it is.
    number: u16,
    gate: Gate,
    /// Known once the device runs, if it uses the queue.
    doorbell: Option<Doorbell>,
    /// They wait for a place in the ring.
    backlog: Waiting<D>,
    /// They wait for scratch memory.
    starved: Waiting<D>,
    scratch: ScratchPool,
    /// Most bytes of a segment of scratch memory.
    segment_bytes: u32,
    /// The last unit out of reach that a list named, until it is told of.
    out_of_reach: Option<FarUnit>,
    /// Requests that the device was asked to give up, which have left the ring and are not given back yet: that is done without
    /// the lock, and until then who asked must not hear that all is done.
    leaving: usize,
}

/// What the device has to be told, once the lock is dropped. Which queue it is about, whoever sends it knows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Notification {
    pub(crate) doorbell: Doorbell,
    /// How far the ring was filled.
    pub(crate) next: u16,
}

/// What became of a request that was to be started.
#[must_use]
pub(crate) enum Started<D: Facts> {
    /// It is in the ring, or waits for a place there.
    Taken(Option<Notification>),
    /// It could not be started.
    Ended(Ended<D>),
    /// The device does not use the queue.
    Unused(Request<D>),
}

/// Requests that have ended, to be given back once the lock is dropped.
pub(crate) struct Batch<D: Facts> {
    requests: EndedRequests<Command<D::Command>>,
    room: usize,
}

impl<D: Facts> Batch<D> {
    pub(crate) const fn new() -> Self {
        Self { requests: EndedRequests::new(), room: BATCH }
    }

    #[inline]
    fn push(&mut self, ended: Ended<D>) {
        self.requests.push(ended);
        self.room = self.room.saturating_sub(1);
    }

    /// How many there were.
    #[inline]
    pub(crate) const fn len(&self) -> usize {
        BATCH - self.room
    }

    #[inline]
    pub(crate) fn pop(&mut self) -> Option<Ended<D>> {
        self.requests.pop()
    }
}

/// What is left after a [`drain`](Queue::drain).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Drained {
    /// Nothing, and the next interrupt was asked for.
    Nothing,
    /// The batch is full; there may be more of the same.
    More,
    /// Something else, for [`take_used`](Queue::take_used).
    Other,
}

/// What a look at the ring has led to.
pub(crate) struct Used<D: Facts> {
    pub(crate) ended: Batch<D>,
    /// The device has to be told of requests that had waited.
    pub(crate) notification: Option<Notification>,
    /// The ring may hold more; interrupts are still off.
    pub(crate) more: bool,
    /// The queue is closed: nothing was looked at.
    pub(crate) closed: bool,
    /// The device broke a rule, and the queue is closed since.
    pub(crate) fault: Option<DeviceFault>,
    /// There is a unit to tell of ([`Queue::take_out_of_reach`]).
    pub(crate) out_of_reach: bool,
    /// So many that ended had been recalled ([`Queue::have_left`]).
    pub(crate) recalled: usize,
}

/// What a look at one used buffer found.
enum Finished<D: Facts> {
    /// There is none.
    Nothing,
    /// A request that ends.
    Ended(Ended<D>),
    /// The same of one that was recalled.
    Recalled(Ended<D>),
    /// A request that went into the ring again with another step, or waits for that: it has to be published ([`Rest::refill`]).
    Again,
}

/// Why a request is not in the ring.
enum Unsubmitted<D: Facts> {
    /// The ring is full.
    Full(Request<D>),
    /// It needs scratch memory, and there is none.
    Starved(Request<D>),
    /// The ring takes none.
    Closed(Request<D>),
    /// It cannot be started.
    Ended(Ended<D>),
}

impl<D: DeviceType> Queue<D> {
    /// A queue that is closed.
    ///
    /// # Errors
    /// Memory or slots are not as the layout says.
    pub(crate) fn new(
        number: u16,
        (memory, slots): (Region, Slots<Request<D>>),
        layout: Layout<D>,
        features: Features,
        (scratch, segment_bytes): (ScratchPool, u32),
    ) -> Result<Self, LayoutError> {
        let ring = AnyRing::new(memory, slots, layout, features)?;
        let rest = Rest {
            number,
            gate: Gate::Closed,
            doorbell: None,
            backlog: Requests::new(),
            starved: Requests::new(),
            scratch,
            segment_bytes,
            out_of_reach: None,
            leaving: 0,
        };
        Ok(Self { ring, rest })
    }

    /// The device runs and uses the queue.
    pub(crate) fn is_open(&self) -> bool {
        self.rest.gate == Gate::Open
    }

    /// Neither in the ring nor waiting is any request.
    pub(crate) fn is_idle(&self) -> bool {
        self.ring.in_flight() == 0 && !self.has_waiting()
    }

    /// Requests wait.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.rest.backlog.is_empty() || !self.rest.starved.is_empty()
    }

    /// The device is about to be asked to give up what a task management function is for.
    pub(crate) fn recall(&mut self, function: Function) {
        self.ring.each_outstanding(|request| {
            if let Some(Command::Request(command, scratch)) = request.command()
                && function.concerns(request)
            {
                request.set_command(Command::Recalled(command, scratch, function.status()));
            }
        });
    }

    /// The device has not done it, and says so: what becomes of its requests is believed as that of any other.
    pub(crate) fn leave(&mut self, function: Function) {
        self.ring.each_outstanding(|request| {
            if let Some(Command::Recalled(command, scratch, _)) = request.command()
                && function.concerns(request)
            {
                request.set_command(Command::Request(command, scratch));
            }
        });
    }

    /// So many of those that were recalled have been given back.
    pub(crate) fn have_left(&mut self, count: usize) {
        self.rest.leaving = self.rest.leaving.saturating_sub(count);
    }

    /// Whether the device still has some of them, or some that it had may be on their way back.
    pub(crate) fn has_recalled(&self, function: Function) -> bool {
        self.rest.leaving != 0
            || self.ring.has_outstanding(|request| {
                matches!(request.command(), Some(Command::Recalled(..))) && function.concerns(request)
            })
    }

    /// Counts a look at each request that the device has, and tells the units of those that were looked at so often, once.
    pub(crate) fn look(&mut self, looks: u8, mut tell: impl FnMut(Address)) {
        self.ring.look(looks, |request| tell(request.address()));
    }

    /// The tag of a request that the device has and that is like this.
    pub(crate) fn find(&self, like: impl Fn(&Request<D>) -> bool) -> Option<u32> {
        self.ring.find(like).map(|ticket| tag(self.rest.number, ticket))
    }

    /// Takes those requests that wait here and are like this.
    pub(crate) fn take_waiting(&mut self, like: impl Fn(&Request<D>) -> bool) -> Waiting<D> {
        let mut taken = Requests::new();
        for waiting in [&mut self.rest.backlog, &mut self.rest.starved] {
            let mut others = Requests::new();
            while let Some(request) = waiting.pop_front() {
                if like(&request) {
                    if let Some(Command::Request(_, scratch)) = request.command() {
                        self.rest.scratch.give_back(scratch);
                    }
                    taken.push_back(request);
                } else {
                    others.push_back(request);
                }
            }
            waiting.append(others);
        }
        taken
    }

    /// Puts a request into the ring when that takes its place and nothing else, as nearly always, and shows it to the device.
    ///
    /// # Errors
    /// It comes back when it is another one, for [`start_io`](Self::start_io) or whoever does what it asks for.
    #[inline(always)]
    pub(crate) fn start(&mut self, device_type: &D, request: Request<D>) -> Result<Notify, Request<D>> {
        with_ring!(&mut self.ring, ring => self.rest.start(ring, device_type, request))
    }

    /// Puts any request into the ring, or behind those that wait already.
    pub(crate) fn start_io(&mut self, device_type: &D, request: Request<D>) -> Started<D> {
        with_ring!(&mut self.ring, ring => self.rest.start_io(ring, device_type, request))
    }

    /// Where the device is told of requests.
    #[inline(always)]
    pub(crate) const fn doorbell(&self) -> Option<Doorbell> {
        self.rest.doorbell
    }

    /// Takes the requests off the ring that have done all that they were asked for, up to a batch. `rearm` asks for the next
    /// interrupt when nothing is left to do.
    #[inline(always)]
    pub(crate) fn drain(&mut self, device_type: &D, rearm: bool, ended: &mut Batch<D>) -> Drained {
        if self.rest.gate != Gate::Open {
            return Drained::Other;
        }
        with_ring!(&mut self.ring, ring => {
            ring.disable_interrupts();
            let more = Rest::drain(ring, device_type, ended);
            if !self.rest.backlog.is_empty() || !self.rest.starved.is_empty() {
                Drained::Other
            } else if more {
                if ended.room == 0 { Drained::More } else { Drained::Other }
            } else if rearm && ring.enable_interrupts() {
                Drained::Other
            } else {
                Drained::Nothing
            }
        })
    }

    /// Takes used buffers off the ring, up to a batch of requests, and fills the ring from those that wait. `rearm` asks for
    /// the next interrupt when nothing is left.
    pub(crate) fn take_used(&mut self, device_type: &D, rearm: bool) -> Used<D> {
        with_ring!(&mut self.ring, ring => self.rest.take_used(ring, device_type, rearm))
    }

    /// The unit out of reach to tell of, once.
    pub(crate) fn take_out_of_reach(&mut self) -> Option<FarUnit> {
        self.rest.out_of_reach.take()
    }

    /// Where the ring goes on, for a notification that was put off.
    pub(crate) fn position(&self) -> u16 {
        self.ring.position()
    }

    /// Entries of the ring.
    pub(crate) fn size(&self) -> u16 {
        self.ring.size()
    }

    /// Where the device finds the ring.
    pub(crate) fn areas(&self) -> QueueAreas {
        self.ring.areas()
    }

    /// Asks the device for no interrupts.
    pub(crate) fn disable_interrupts(&mut self) {
        self.ring.disable_interrupts();
    }

    /// From now on requests wait. Not of a device that is gone, nor of a queue that is not in use.
    pub(crate) fn close(&mut self) {
        if self.rest.gate == Gate::Open {
            self.rest.gate = Gate::Closed;
            self.ring.close();
        }
    }

    /// The device runs, and uses the queue with this doorbell from now on. Its ring is [`empty`](Self::empty).
    pub(crate) fn open(&mut self) {
        if self.rest.gate == Gate::Closed && self.rest.doorbell.is_some() {
            self.rest.gate = Gate::Open;
            self.ring.open();
        }
    }

    /// The device is gone: takes every request back, and those that come from now on end.
    pub(crate) fn give_up(&mut self) -> Waiting<D> {
        self.close();
        self.rest.gate = Gate::Gone;
        self.take_all()
    }

    /// Takes every request back, from the ring and those that wait, unless the queue is open. Only after the device was reset,
    /// was cut off from memory, or is gone: until then it may write to theirs.
    pub(crate) fn take_all(&mut self) -> Waiting<D> {
        let mut all = Requests::new();
        if self.is_open() {
            return all;
        }
        while let Some(request) = self.ring.take_outstanding() {
            all.push_back(request);
        }
        all.append(mem::take(&mut self.rest.backlog));
        all.append(mem::take(&mut self.rest.starved));
        self.rest.scratch.give_all();
        all
    }

    /// Empties the ring for a start of the device, which is in reset. What is still in it was never answered, because the
    /// device could not be cut off from memory; the device has forgotten it, so it waits to be sent again.
    pub(crate) fn empty(&mut self) {
        while let Some(mut request) = self.ring.take_outstanding() {
            if let Some(Command::Recalled(command, scratch, _)) = request.command() {
                request.set_command(Command::Request(command, scratch));
            }
            self.rest.backlog.push_back(request);
        }
        self.ring.empty();
        self.rest.doorbell = None;
        // Also one whose lock was not free when all were closed.
        if self.rest.gate != Gate::Gone {
            self.rest.gate = Gate::Closed;
        }
    }

    /// The device will be told of requests here.
    pub(crate) fn set_doorbell(&mut self, doorbell: Doorbell) {
        self.rest.doorbell = Some(doorbell);
    }

    /// Takes an empty queue out of use: all that waits goes elsewhere, also what comes until the next start. Between two steps
    /// nothing is in a request's scratch memory that it would miss: the next step fills it anew, in the other queue's.
    pub(crate) fn hand_over(&mut self) -> Waiting<D> {
        if self.rest.gate != Gate::Gone {
            self.rest.gate = Gate::Unused;
        }
        let mut all = Requests::new();
        for waiting in [&mut self.rest.backlog, &mut self.rest.starved] {
            while let Some(mut request) = waiting.pop_front() {
                forget_scratch::<D>(&mut request);
                all.push_back(request);
            }
        }
        self.rest.scratch.give_all();
        all
    }

    /// Has requests of another queue wait here.
    pub(crate) fn take_over(&mut self, waiting: Waiting<D>) {
        self.rest.backlog.append(waiting);
    }
}

impl<D: DeviceType> Rest<D> {
    #[inline(always)]
    fn start<R: Ring<Memory = Region>>(
        &mut self,
        ring: &mut RequestRing<D, R>,
        device_type: &D,
        request: Request<D>,
    ) -> Result<Notify, Request<D>> {
        if !self.backlog.is_empty() {
            return Err(request);
        }
        ring.start(request, Whole, &Header { device_type, queue: self.number })
    }

    #[inline(never)]
    fn start_io<R: Ring<Memory = Region>>(
        &mut self,
        ring: &mut RequestRing<D, R>,
        device_type: &D,
        request: Request<D>,
    ) -> Started<D> {
        if !self.backlog.is_empty() {
            self.backlog.push_back(request);
            return Started::Taken(None);
        }
        match self.submit(ring, device_type, request) {
            Ok(()) => Started::Taken(self.publish(ring)),
            Err(kept) => self.not_started(kept),
        }
    }

    #[cold]
    fn not_started(&mut self, kept: Unsubmitted<D>) -> Started<D> {
        match kept {
            Unsubmitted::Full(request) => self.backlog.push_back(request),
            Unsubmitted::Starved(request) => self.starved.push_back(request),
            Unsubmitted::Ended(ended) => return Started::Ended(ended),
            Unsubmitted::Closed(request) => match self.gate {
                Gate::Open | Gate::Closed => self.backlog.push_back(request),
                Gate::Unused => {
                    let mut request = request;
                    if let Some(Command::Request(_, scratch)) = request.command() {
                        self.scratch.give_back(scratch);
                    }
                    forget_scratch::<D>(&mut request);
                    return Started::Unused(request);
                }
                Gate::Gone => {
                    return Started::Ended(request.end(Completion::failed(SrbStatus::NO_DEVICE)));
                }
            },
        }
        Started::Taken(None)
    }

    #[inline(never)]
    fn take_used<R: Ring<Memory = Region>>(
        &mut self,
        ring: &mut RequestRing<D, R>,
        device_type: &D,
        rearm: bool,
    ) -> Used<D> {
        let mut used = Used {
            ended: Batch::new(),
            notification: None,
            more: false,
            closed: false,
            fault: None,
            out_of_reach: false,
            recalled: 0,
        };
        if self.gate != Gate::Open {
            used.closed = true;
            return used;
        }
        ring.disable_interrupts();
        let mut submitted = false;
        // One place is left for a request that the refill refuses.
        while used.ended.room > 1 {
            match self.finish_one(ring, device_type) {
                Ok(Finished::Ended(ended)) => used.ended.push(ended),
                Ok(Finished::Recalled(ended)) => {
                    self.leaving += 1;
                    used.recalled += 1;
                    used.ended.push(ended);
                }
                Ok(Finished::Again) => submitted = true,
                Ok(Finished::Nothing) => break,
                Err(fault) => {
                    // The ring says nothing reliable any more; what is in it comes back with the reset.
                    self.gate = Gate::Closed;
                    used.fault = Some(fault);
                    return used;
                }
            }
        }
        if submitted || !self.backlog.is_empty() || !self.starved.is_empty() {
            used.notification = self.refill(ring, device_type, submitted, &mut used.ended);
        }
        // A refill that has filled the batch with requests that were refused may have left more of them.
        let drained = used.ended.room > 1;
        // Requests that wait while the device has none would never be announced by an interrupt.
        let stranded = !self.backlog.is_empty() && ring.in_flight() == 0;
        // Re-arming tells whether more came in meanwhile; out of budget, interrupts stay off until the next DPC.
        used.more = !drained || stranded || (rearm && ring.enable_interrupts());
        used.out_of_reach = self.out_of_reach.is_some();
        used
    }

    /// Fills the ring from those that wait, and publishes that and what [`finish_one`](Self::finish_one) put into it.
    /// Returns the notification to send; refused requests go to `ended`, which must have room for one.
    #[cold]
    #[inline(never)]
    fn refill<R: Ring<Memory = Region>>(
        &mut self,
        ring: &mut RequestRing<D, R>,
        device_type: &D,
        mut submitted: bool,
        ended: &mut Batch<D>,
    ) -> Option<Notification> {
        while ended.room != 0
            && let Some(request) = self.next_waiting()
        {
            match self.submit(ring, device_type, request) {
                Ok(()) => submitted = true,
                Err(Unsubmitted::Full(request) | Unsubmitted::Closed(request)) => {
                    self.backlog.push_front(request);
                    break;
                }
                // The next one may need none.
                Err(Unsubmitted::Starved(request)) => self.starved.push_back(request),
                Err(Unsubmitted::Ended(refused)) => ended.push(refused),
            }
        }
        if submitted { self.publish(ring) } else { None }
    }

    /// One that waited for scratch memory when there is some, else the one that has waited longest for the ring.
    fn next_waiting(&mut self) -> Option<Request<D>> {
        if self.scratch.is_any_free()
            && let Some(request) = self.starved.pop_front()
        {
            return Some(request);
        }
        self.backlog.pop_front()
    }

    /// Takes requests off the ring that have done all that they were asked for, as far as there is room for them, up to one that
    /// has not. Returns whether there may be more.
    #[inline(always)]
    fn drain<R: Ring<Memory = Region>>(
        ring: &mut RequestRing<D, R>,
        device_type: &D,
        ended: &mut Batch<D>,
    ) -> bool {
        let before = ring.in_flight();
        let Batch { requests, room } = ended;
        let more = ring.drain(*room, |request, response| match request.command_ref() {
            Some(Command::Request(command, None)) if device_type.is_done(&request, command, response) => {
                requests.push(request.succeed());
                Ok(())
            }
            _ => Err(request),
        });
        *room -= before - ring.in_flight();
        more
    }

    /// The next used buffer, whatever became of it.
    fn finish_one<R: Ring<Memory = Region>>(
        &mut self,
        ring: &mut RequestRing<D, R>,
        device_type: &D,
    ) -> Result<Finished<D>, DeviceFault> {
        let Some(used) = ring.pop_used()? else {
            return Ok(Finished::Nothing);
        };
        let (response, request) = (used.response(), used.take());
        Ok(match self.finish_unusual(device_type, request, &response) {
            Ok(finished) => finished,
            Err(request) => self.submit_again(ring, device_type, request),
        })
    }

    /// Has the device's answer to a request translated.
    ///
    /// # Errors
    /// The request, when it has another step.
    #[cold]
    #[inline(never)]
    fn finish_unusual(
        &mut self,
        device_type: &D,
        mut request: Request<D>,
        response: &Response<'_>,
    ) -> Result<Finished<D>, Request<D>> {
        let Some(Command::Request(command, scratch)) = request.command() else {
            // Without functions nothing is recalled, and then the image has nothing of it.
            return Ok(if D::CONTROL_QUEUE.is_some() {
                Finished::Recalled(self.end_recalled(device_type, request, response))
            } else {
                Finished::Ended(request.end(refusal(Reason::Broken)))
            });
        };
        let memory = scratch.and_then(|id| self.scratch.memory(id));
        match device_type.complete(&mut request, command, response, memory) {
            Step::Done(completion) => {
                self.scratch.give_back(scratch);
                Ok(Finished::Ended(request.end(completion)))
            }
            Step::OutOfReach(completion, unit) => {
                self.scratch.give_back(scratch);
                self.out_of_reach = Some(unit);
                Ok(Finished::Ended(request.end(completion)))
            }
            Step::Next(command) => {
                request.set_command(Command::Request(command, scratch));
                Err(request)
            }
        }
    }

    /// A request that the device was asked to give up. One that it says it has done, or a step of, is to be sent again.
    #[cold]
    #[inline(never)]
    fn end_recalled(
        &mut self,
        device_type: &D,
        mut request: Request<D>,
        response: &Response<'_>,
    ) -> Ended<D> {
        // Nothing else is ever submitted.
        let Some(Command::Recalled(command, scratch, status)) = request.command() else {
            return request.end(refusal(Reason::Broken));
        };
        let memory = scratch.and_then(|id| self.scratch.memory(id));
        let step = device_type.complete(&mut request, command, response, memory);
        self.scratch.give_back(scratch);
        let completion = match step {
            Step::Done(completion) => completion,
            Step::OutOfReach(completion, unit) => {
                self.out_of_reach = Some(unit);
                completion
            }
            Step::Next(_) => Completion::success(0),
        };
        let is_done = matches!(completion.status, SrbStatus::SUCCESS | SrbStatus::DATA_OVERRUN);
        request.end(if is_done { Completion::failed(status) } else { completion })
    }

    /// The next step of a request. Its last one has just left the ring, so there is room, unless its chain is longer.
    #[cold]
    #[inline(never)]
    fn submit_again<R: Ring<Memory = Region>>(
        &mut self,
        ring: &mut RequestRing<D, R>,
        device_type: &D,
        request: Request<D>,
    ) -> Finished<D> {
        match self.submit(ring, device_type, request) {
            Ok(()) => {}
            // It has waited once.
            Err(Unsubmitted::Full(request) | Unsubmitted::Closed(request)) => {
                self.backlog.push_front(request)
            }
            Err(Unsubmitted::Starved(request)) => self.starved.push_back(request),
            Err(Unsubmitted::Ended(ended)) => return Finished::Ended(ended),
        }
        Finished::Again
    }

    #[inline]
    fn submit<R: Ring<Memory = Region>>(
        &mut self,
        ring: &mut RequestRing<D, R>,
        device_type: &D,
        request: Request<D>,
    ) -> Result<(), Unsubmitted<D>> {
        let Some(Command::Request(command, scratch)) = request.command() else {
            return Err(Unsubmitted::Ended(request.end(refusal(Reason::Broken))));
        };
        let chain = device_type.chain(&request, command, self.next_tag(ring));
        let header = &chain.header;
        let submitted = match chain.data {
            ChainData::None => ring.submit(request, header, Direction::None, NoData),
            ChainData::Whole(direction) => ring.submit(request, header, direction, Whole),
            ChainData::Part(direction, part) => {
                return self.submit_part(ring, request, header, direction, part);
            }
            ChainData::ScratchIn { .. } | ChainData::ScratchOut { .. } => {
                return self.submit_with_scratch(ring, device_type, request, chain, (command, scratch));
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
    fn submit_part<R: Ring<Memory = Region>>(
        &mut self,
        ring: &mut RequestRing<D, R>,
        request: Request<D>,
        header: &D::Header,
        direction: Direction,
        part: Part,
    ) -> Result<(), Unsubmitted<D>> {
        match ring.submit(request, header, direction, PartOf(part)) {
            Ok(_) => Ok(()),
            Err(rejected) => Err(self.keep(rejected, None)),
        }
    }

    /// The number of the command that goes into the ring next.
    fn next_tag<R: Ring<Memory = Region>>(&self, ring: &RequestRing<D, R>) -> u32 {
        // Without a place it is not sent.
        ring.next_ticket().map_or(0, |ticket| tag(self.number, ticket))
    }

    /// A request whose data, in this step, is scratch memory.
    #[cold]
    #[inline(never)]
    fn submit_with_scratch<R: Ring<Memory = Region>>(
        &mut self,
        ring: &mut RequestRing<D, R>,
        device_type: &D,
        mut request: Request<D>,
        chain: Chain<D::Header>,
        (mut command, scratch): (D::Command, Option<ScratchId>),
    ) -> Result<(), Unsubmitted<D>> {
        let Some(scratch) = scratch.or_else(|| self.scratch.take()) else {
            return Err(Unsubmitted::Starved(request));
        };
        let Some(memory) = self.scratch.memory(scratch) else {
            return Err(Unsubmitted::Ended(request.end(refusal(Reason::Broken))));
        };
        let most = self.segment_bytes;
        let (direction, data) = match chain.data {
            ChainData::ScratchIn { bytes, times } => {
                blank(memory, bytes);
                (Direction::FromDevice, Repeated::new(memory, bytes, times, most))
            }
            ChainData::ScratchOut { times } => match device_type.fill(&mut request, command, memory) {
                Ok(filled) => {
                    command = filled.command;
                    (Direction::ToDevice, Repeated::new(memory, filled.bytes, times, most))
                }
                Err(completion) => {
                    self.scratch.give_back(Some(scratch));
                    return Err(Unsubmitted::Ended(request.end(completion)));
                }
            },
            ChainData::None | ChainData::Whole(_) | ChainData::Part(..) => {
                (Direction::None, Repeated::new(memory, 0, 0, most))
            }
        };
        request.set_command(Command::Request(command, Some(scratch)));
        match ring.submit(request, &chain.header, direction, data) {
            Ok(_) => Ok(()),
            Err(rejected) => Err(self.keep(rejected, Some(scratch))),
        }
    }

    /// What becomes of a request that the ring did not take: one that is refused ends, and its scratch memory is free.
    #[cold]
    fn keep(&mut self, rejected: Rejected<Request<D>>, scratch: Option<ScratchId>) -> Unsubmitted<D> {
        let Rejected { token: request, reason } = rejected;
        match reason {
            Reason::Full => Unsubmitted::Full(request),
            Reason::Broken => Unsubmitted::Closed(request),
            Reason::TooManySegments | Reason::TooLarge => {
                self.scratch.give_back(scratch);
                Unsubmitted::Ended(request.end(refusal(reason)))
            }
        }
    }

    fn publish<R: Ring<Memory = Region>>(&mut self, ring: &mut RequestRing<D, R>) -> Option<Notification> {
        self.notification(ring.publish())
    }

    #[inline]
    fn notification(&self, notify: Notify) -> Option<Notification> {
        match notify {
            Notify::Device { next } => self.doorbell.map(|doorbell| Notification { doorbell, next }),
            Notify::Suppressed => None,
        }
    }
}

/// The number of a command: which queue it is in, its place there, and how many had it before. There are devices that look at
/// 32 bits of a tag (FreeBSD's bhyve, usr.sbin/bhyve/pci_virtio_scsi.c), so it has no more.
#[inline]
fn tag(queue: u16, ticket: Ticket) -> u32 {
    let place = u32::from(queue) << SLOT_BITS | u32::from(ticket.slot());
    ticket.generation() << (SLOT_BITS + QUEUE_BITS) | place
}

/// Scratch memory is a queue's: a request that goes on in another one has none there.
fn forget_scratch<D: Facts>(request: &mut Request<D>) {
    if let Some(Command::Request(command, Some(_))) = request.command() {
        request.set_command(Command::new(command));
    }
}

/// The header of a request that goes into the ring as it is.
struct Header<'a, D> {
    device_type: &'a D,
    queue: u16,
}

impl<D: DeviceType> WriteHeader<Request<D>> for Header<'_, D> {
    #[inline(always)]
    fn write(&self, request: &Request<D>, ticket: Ticket, header: Block<impl Words>) -> Option<Direction> {
        match request.command_ref() {
            Some(Command::Request(command, None)) => {
                self.device_type.write_header(request, command, tag(self.queue, ticket), header)
            }
            _ => None,
        }
    }
}

/// The data is the request's own buffer.
struct Whole;

impl<C: Copy> Data<storport::Request<C>> for Whole {
    #[inline]
    fn segments(&self, request: &storport::Request<C>) -> impl ExactSizeIterator<Item = Segment> {
        request.segments()
    }

    #[inline(always)]
    fn bytes(&self, request: &storport::Request<C>) -> u64 {
        u64::from(request.data_length())
    }
}

/// The data is a part of the request's own buffer.
struct PartOf(Part);

impl<C: Copy> Data<storport::Request<C>> for PartOf {
    fn segments(&self, request: &storport::Request<C>) -> impl ExactSizeIterator<Item = Segment> {
        let items = || self.0.of(request.segments());
        Counted { items: items(), left: items().count() }
    }
}

/// How a request ends that the ring does not take.
const fn refusal(reason: Reason) -> Completion {
    match reason {
        // StorPort keeps to NumberOfPhysicalBreaks and MaximumTransferLength, so this is a request that broke the rules.
        Reason::TooManySegments | Reason::TooLarge => Completion::failed(SrbStatus::INVALID_REQUEST),
        // The ring is about to be reset; what could not get into it comes again, as what is in it does.
        Reason::Full | Reason::Broken => Completion::failed(SrbStatus::BUS_RESET),
    }
}
