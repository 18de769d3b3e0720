//! One request queue and the requests that wait for it. `&mut RequestPath` is the proof that its lock is held.

use core::marker::PhantomData;

use arrayvec::ArrayVec;
use storport::{Backlog, Completion, Srb, SrbStatus};
use virtio::memory::{Region, Segment};
use virtio::queue::{
    AnyRing, Data, DeviceFault, Direction, NoData, Notify, Reason, Rejected, RequestQueue, Slot,
};
use virtio::transport::Doorbell;

use crate::build_io::Command;
use crate::protocol::{ChainData, Protocol};
use crate::state::State;

/// Most requests taken off the ring before the lock is dropped to complete them.
pub(crate) const BATCH: usize = 32;

/// Requests with how they end, to be completed once the lock is dropped.
pub(crate) type Finished<S> = ArrayVec<(S, Completion), BATCH>;

/// A request queue in the memory StorPort gave: rings and tables in the uncached extension, slots in the device extension.
pub(crate) type Ring<S, D> = RequestQueue<D, AnyRing<Region>, S, &'static mut [Slot<S>]>;

/// A request queue and its backlog.
pub(crate) struct RequestPath<S: 'static, D: Protocol> {
    pub(crate) ring: Ring<S, D>,
    pub(crate) backlog: Backlog<S, Command<D::Command>>,
    /// Known once the device runs.
    pub(crate) doorbell: Option<Doorbell>,
}

/// What the device has to be told, once the lock is dropped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Notification {
    pub(crate) doorbell: Doorbell,
    /// How far the ring was filled.
    pub(crate) next: u16,
}

/// What became of a request that was to be started.
#[must_use]
pub(crate) enum Started<S> {
    /// It is in the ring, or waits for a place there.
    Taken(Option<Notification>),
    /// It cannot be started and ends like this.
    Refused(S, Completion),
}

impl<S: Srb<Command<D::Command>>, D: Protocol> RequestPath<S, D> {
    /// Puts a request into the ring, or behind those that wait already.
    pub(crate) fn start(&mut self, protocol: &D, state: State, srb: S) -> Started<S> {
        match state {
            State::Running => {}
            // The port driver starts nothing on a stopped adapter; a request that slips in waits for the restart. What comes
            // before the reset of a faulty device ends with it, and is sent again: no class driver does that for a device
            // that is not there.
            State::Stopped | State::Faulty => {
                self.backlog.push_back(srb);
                return Started::Taken(None);
            }
            State::Failed | State::Gone => {
                return Started::Refused(srb, Completion::failed(SrbStatus::NO_DEVICE));
            }
        }
        if !self.backlog.is_empty() {
            self.backlog.push_back(srb);
            return Started::Taken(None);
        }
        match self.submit(protocol, srb) {
            Ok(()) => Started::Taken(self.publish()),
            Err(Rejected { token, reason: Reason::Full }) => {
                self.backlog.push_back(token);
                Started::Taken(None)
            }
            Err(Rejected { token, reason }) => Started::Refused(token, refusal(reason)),
        }
    }

    /// Fills the ring from the backlog. Returns the notification to send; refused requests go to `finished`, which must
    /// have room for one.
    pub(crate) fn refill(&mut self, protocol: &D, finished: &mut Finished<S>) -> Option<Notification> {
        let mut submitted = false;
        while !finished.is_full()
            && let Some(srb) = self.backlog.pop_front()
        {
            match self.submit(protocol, srb) {
                Ok(()) => submitted = true,
                Err(Rejected { token, reason: Reason::Full }) => {
                    self.backlog.push_front(token);
                    break;
                }
                Err(Rejected { token, reason }) => finished.push((token, refusal(reason))),
            }
        }
        if submitted { self.publish() } else { None }
    }

    /// Takes one used buffer off the ring and translates the device's answer.
    pub(crate) fn finish_one(&mut self, protocol: &D) -> Result<Option<(S, Completion)>, DeviceFault> {
        const LONGEST: usize = 128;
        let whole = const {
            let whole = D::RESPONSE_BYTES as usize;
            assert!(whole <= LONGEST && D::RESPONSE_HEAD <= whole);
            whole
        };

        let Some(used) = self.ring.pop_used()? else {
            return Ok(None);
        };
        let mut response = [0; LONGEST];
        used.read_response(0, &mut response[..D::RESPONSE_HEAD]);
        let rest = D::response_rest(&response[..D::RESPONSE_HEAD]).min(whole - D::RESPONSE_HEAD);
        let length = D::RESPONSE_HEAD + rest;
        used.read_response(D::RESPONSE_HEAD, &mut response[D::RESPONSE_HEAD..length]);
        let used_bytes = used.length();
        used.spoil_response(D::RESPONSE_HEAD);
        let mut srb = used.take();
        let completion = match srb.command() {
            Some(Command::Request(command)) => {
                protocol.complete(&mut srb, command, &response[..length], used_bytes)
            }
            // Only requests are ever submitted.
            Some(Command::Reset | Command::SurpriseRemoval) | None => {
                Completion::failed(SrbStatus::INTERNAL_ERROR)
            }
        };
        Ok(Some((srb, completion)))
    }

    /// Takes every request back, from the ring and the backlog. Only after the device was reset, was kept from memory, or
    /// is gone: until then it may write to theirs.
    pub(crate) fn take_all(&mut self) -> Backlog<S, Command<D::Command>> {
        let mut all = Backlog::new();
        while let Some(srb) = self.ring.take_outstanding() {
            all.push_back(srb);
        }
        while let Some(srb) = self.backlog.pop_front() {
            all.push_back(srb);
        }
        all
    }

    fn submit(&mut self, protocol: &D, srb: S) -> Result<(), Rejected<S>> {
        let Some(Command::Request(command)) = srb.command() else {
            return Err(Rejected { token: srb, reason: Reason::Broken });
        };
        let chain = protocol.chain(&srb, command);
        let header = &chain.header;
        let submitted = match chain.data {
            ChainData::None => self.ring.submit(srb, header, Direction::None, NoData),
            ChainData::Shared(direction, segment) => self.ring.submit(srb, header, direction, segment),
            ChainData::Srb(direction) => {
                self.ring.submit(srb, header, direction, OwnBuffer(PhantomData::<Command<D::Command>>))
            }
        };
        submitted.map(drop)
    }

    fn publish(&mut self) -> Option<Notification> {
        match self.ring.publish() {
            Notify::Device { next } => self.doorbell.map(|doorbell| Notification { doorbell, next }),
            Notify::Suppressed => None,
        }
    }
}

/// The data is the request's own buffer.
struct OwnBuffer<C>(PhantomData<C>);

impl<S: Srb<C>, C: Copy> Data<S> for OwnBuffer<C> {
    fn segments(&self, srb: &S) -> impl ExactSizeIterator<Item = Segment> {
        srb.segments()
    }
}

/// How a request ends that the ring does not take.
fn refusal(reason: Reason) -> Completion {
    match reason {
        // StorPort keeps to NumberOfPhysicalBreaks and MaximumTransferLength, so this is a request that broke the rules.
        Reason::TooManySegments | Reason::TooLarge => Completion::failed(SrbStatus::INVALID_REQUEST),
        Reason::Full | Reason::Broken => Completion::failed(SrbStatus::INTERNAL_ERROR),
    }
}
