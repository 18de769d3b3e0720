//! All request queues, each behind its lock.
//!
//! Lock order: a start that moves requests from one queue to another holds both locks, the lower number's first; nobody else
//! holds two. What concerns all queues takes one after the other, and each says itself whether it is open. They are spin
//! locks, waited for at DISPATCH_LEVEL only: StorPort's order is DPC and StartIo locks before interrupt locks, and what runs at
//! DIRQL holds one of the latter, so there a lock is tried for, within 10 ms, and not waited for.

use spin::mutex::SpinMutex;
use spin::mutex::spin::SpinMutexGuard;
use storport::Port;
use storport::port::PRIVATE_ALIGNMENT;
use virtio::interrupts::VectorPlan;
use virtio::queue::Slot;

use super::request_queue::{QUEUE_BITS, Queue, Waiting};
use super::routing::{ProcessorQueues, Routing, RoutingCell};
use crate::device_type::{DeviceType, Request};

/// Most request queues. One for each processor of a processor group; on a larger machine processors share them.
pub(crate) const MAX_QUEUES: u16 = 64;

const _: () = assert!(MAX_QUEUES as u32 <= 1 << QUEUE_BITS);

/// How often a callback at DIRQL tries for a queue's lock, and how long it waits in between, in microseconds.
const LOCK_TRIES: u32 = 1000;
const LOCK_TRY_MICROSECONDS: u32 = 10;

/// At which IRQL something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// DISPATCH_LEVEL, or HIGH_LEVEL where nobody else runs any more: locks may be waited for and requests ended.
    Dispatch,
    /// DIRQL: neither.
    Dirql,
}

/// A queue behind its lock. No two of them share a cache line.
#[repr(align(128))]
pub(crate) struct Locked<Q>(SpinMutex<Q>);

/// A request queue behind its lock.
pub(crate) type LockedQueue<D> = Locked<Queue<D>>;

const _: () = assert!(PRIVATE_ALIGNMENT == 128 && align_of::<Locked<u8>>() == PRIVATE_ALIGNMENT);

/// Values of this type one behind the other share no cache line, nor a pair of lines: lock, ring indices, backlog and batch of a
/// queue are all in one.
const fn is_apart<T>() -> bool {
    align_of::<T>().is_multiple_of(PRIVATE_ALIGNMENT) && size_of::<T>().is_multiple_of(PRIVATE_ALIGNMENT)
}

/// A queue's lock was not free where it may not be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotFree;

impl<Q> Locked<Q> {
    pub(crate) const fn new(queue: Q) -> Self {
        Self(SpinMutex::new(queue))
    }

    /// IRQL: up to DISPATCH_LEVEL, at which the holder runs.
    #[inline]
    pub(crate) fn lock(&self) -> SpinMutexGuard<'_, Q> {
        self.0.lock()
    }

    /// IRQL: as `at` says. At DIRQL it is tried for within bounds: waiting without one could be for ever, as the holder may
    /// have been interrupted on its way to the interrupt lock that the caller holds.
    #[inline(never)]
    pub(crate) fn lock_at(&self, at: At, port: &impl Port) -> Result<SpinMutexGuard<'_, Q>, NotFree> {
        if at == At::Dispatch {
            return Ok(self.lock());
        }
        for _ in 0..LOCK_TRIES {
            if let Some(guard) = self.0.try_lock() {
                return Ok(guard);
            }
            port.stall(LOCK_TRY_MICROSECONDS);
        }
        Err(NotFree)
    }
}

/// Every request queue there is memory for. The device need not use all of them.
pub(crate) struct Queues<D: DeviceType> {
    first: &'static LockedQueue<D>,
    all: &'static [LockedQueue<D>],
    /// The interrupts StorPort gave us, and the queues in use.
    routing: RoutingCell,
    /// Which queue a request goes to, of several.
    by_processor: ProcessorQueues,
}

impl<D: DeviceType> Queues<D> {
    /// `None` of none, or more than [`MAX_QUEUES`].
    pub(crate) fn new(all: &'static [LockedQueue<D>]) -> Option<Self> {
        const { assert!(is_apart::<LockedQueue<D>>()) };
        if all.len() > usize::from(MAX_QUEUES) {
            return None;
        }
        let routing = RoutingCell::new(Routing::NONE);
        Some(Self { first: all.first()?, all, routing, by_processor: ProcessorQueues::new() })
    }

    /// How many there are.
    pub(crate) const fn count(&self) -> u16 {
        self.all.len() as u16
    }

    /// The first one, which is always in use.
    #[inline]
    pub(crate) const fn first(&self) -> &'static LockedQueue<D> {
        self.first
    }

    #[inline]
    pub(crate) fn get(&self, queue: u16) -> Option<&'static LockedQueue<D>> {
        self.all.get(usize::from(queue))
    }

    /// The one for requests that this processor starts.
    #[inline]
    pub(crate) fn of_processor(&self, processor: u32) -> &'static LockedQueue<D> {
        self.get(self.by_processor.queue(processor)).unwrap_or(self.first)
    }

    /// The interrupts, and the queues in use.
    #[inline]
    pub(crate) fn routing(&self) -> Routing {
        self.routing.get()
    }

    /// Which message announces what.
    #[inline]
    pub(crate) fn plan(&self) -> VectorPlan {
        self.routing.plan()
    }

    /// Whether there is more than one queue in use.
    #[inline]
    pub(crate) fn has_choice(&self) -> bool {
        self.routing.has_choice()
    }

    /// Changes the interrupts and the queues in use, from the next start on, and which of these the port driver announces at each
    /// processor. All queues are closed.
    pub(crate) fn set_routing<I: Iterator<Item = u16>>(
        &self,
        routing: Routing,
        announced_at: impl Fn(u32) -> I,
    ) {
        self.by_processor.share_out(routing.queues, announced_at);
        self.routing.set(routing);
    }

    /// Does something with each queue, one after the other. IRQL: as `at` says.
    ///
    /// # Errors
    /// The lock of one at least was not free; it was left out.
    pub(crate) fn each(
        &self,
        at: At,
        port: &impl Port,
        mut action: impl FnMut(u16, &mut Queue<D>),
    ) -> Result<(), NotFree> {
        let mut all = Ok(());
        for (number, queue) in (0..).zip(self.all) {
            match queue.lock_at(at, port) {
                Ok(mut queue) => action(number, &mut queue),
                Err(not_free) => all = Err(not_free),
            }
        }
        all
    }

    /// Does something with one queue, which exists. IRQL: as `at` says.
    ///
    /// # Errors
    /// Its lock was not free.
    pub(crate) fn with<T>(
        &self,
        number: u16,
        at: At,
        port: &impl Port,
        action: impl FnOnce(&mut Queue<D>) -> T,
    ) -> Result<T, NotFree> {
        let queue = self.get(number).unwrap_or(self.first);
        Ok(action(&mut *queue.lock_at(at, port)?))
    }

    /// As [`each`](Self::each), and gathers the requests that come of it.
    pub(crate) fn gather(
        &self,
        at: At,
        port: &impl Port,
        mut action: impl FnMut(&mut Queue<D>) -> Waiting<D>,
    ) -> Waiting<D> {
        let mut all = Waiting::<D>::new();
        let _not_free = self.each(at, port, |_, queue| all.append(action(queue)));
        all
    }

    /// Whether no queue has a request. IRQL: up to DISPATCH_LEVEL.
    pub(crate) fn are_idle(&self) -> bool {
        self.all.iter().all(|queue| queue.lock().is_idle())
    }

    /// Bytes of private memory for so many queues of so many requests.
    pub(crate) const fn private_bytes(queues: u16, requests: u16) -> usize {
        let slots = (requests as usize * size_of::<Slot<Request<D>>>()).next_multiple_of(PRIVATE_ALIGNMENT);
        queues as usize * (size_of::<LockedQueue<D>>() + slots)
    }
}
