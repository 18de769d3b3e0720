//! The request queues and their locks.
//!
//! Lock order: whoever holds a queue's lock waits for another's only when that has a higher number. A request needs one of
//! them. A reset and a start need all, because the device has one reset for all of its queues: they take them from the first
//! to the last and hold them together. A device that is gone is not reset, so there one after the other is enough.

use core::ops::{Deref, DerefMut};

use arrayvec::ArrayVec;
use spin::mutex::SpinMutex;
use spin::mutex::spin::SpinMutexGuard;
use storport::port::PRIVATE_ALIGNMENT;
use virtio::queue::Slot;

use crate::Request;
use crate::protocol::Protocol;
use crate::request_path::RequestPath;

/// Most request queues. One for each processor of a processor group; on a larger machine processors share them.
pub(crate) const MAX_QUEUES: u16 = 64;

/// A request queue behind its lock. No two of them share a cache line.
#[repr(align(128))]
pub(crate) struct Path<D: Protocol>(SpinMutex<RequestPath<D>>);

const _: () = assert!(PRIVATE_ALIGNMENT == 128);

/// A request queue whose lock is held.
pub(crate) type PathGuard<'a, D> = SpinMutexGuard<'a, RequestPath<D>>;

impl<D: Protocol> Path<D> {
    pub(crate) const fn new(path: RequestPath<D>) -> Self {
        Self(SpinMutex::new(path))
    }

    /// IRQL: up to DISPATCH_LEVEL, at which the holder runs.
    #[inline]
    pub(crate) fn lock(&self) -> PathGuard<'_, D> {
        self.0.lock()
    }
}

/// Every request queue there is memory for. The device need not use all of them.
pub(crate) struct Queues<D: Protocol> {
    first: &'static Path<D>,
    all: &'static [Path<D>],
}

impl<D: Protocol> Queues<D> {
    /// `None` of none, or more than [`MAX_QUEUES`].
    pub(crate) fn new(all: &'static [Path<D>]) -> Option<Self> {
        if all.len() > usize::from(MAX_QUEUES) {
            return None;
        }
        Some(Self { first: all.first()?, all })
    }

    /// How many there are.
    pub(crate) const fn count(&self) -> u16 {
        self.all.len() as u16
    }

    /// The first one, which is always in use.
    #[inline]
    pub(crate) const fn first(&self) -> &'static Path<D> {
        self.first
    }

    #[inline]
    pub(crate) fn get(&self, queue: u16) -> Option<&'static Path<D>> {
        self.all.get(usize::from(queue))
    }

    /// One after the other.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &'static Path<D>> {
        self.all.iter()
    }

    /// All of them at once.
    pub(crate) fn lock_all(&self) -> AllPaths<'static, D> {
        AllPaths(self.all.iter().map(Path::lock).collect())
    }

    /// As [`lock_all`](Self::lock_all), from where a lock may not be waited for: `wait` says, after some waiting, whether to go
    /// on.
    pub(crate) fn try_lock_all(&self, mut wait: impl FnMut() -> bool) -> Option<AllPaths<'static, D>> {
        let mut guards = ArrayVec::new();
        for path in self.all {
            loop {
                if let Some(guard) = path.0.try_lock() {
                    guards.push(guard);
                    break;
                }
                if !wait() {
                    return None;
                }
            }
        }
        Some(AllPaths(guards))
    }

    /// Bytes of private memory for so many queues of so many requests.
    pub(crate) const fn private_bytes(queues: u16, requests: u16) -> usize {
        let slots = (requests as usize * size_of::<Slot<Request<D>>>()).next_multiple_of(PRIVATE_ALIGNMENT);
        queues as usize * (size_of::<Path<D>>() + slots)
    }
}

/// Every request queue, with every lock held.
pub(crate) struct AllPaths<'a, D: Protocol>(ArrayVec<PathGuard<'a, D>, { MAX_QUEUES as usize }>);

impl<'a, D: Protocol> Deref for AllPaths<'a, D> {
    type Target = [PathGuard<'a, D>];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<D: Protocol> DerefMut for AllPaths<'_, D> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}
