//! Requests in a row: those that wait for a place in the ring, and those that have ended and are not given back yet.
//!
//! A ring that is full must not end a request with `SRB_STATUS_BUSY`: StorPort would pause the logical unit for
//! `BusyPauseTime` (250 ms). The request waits here instead, linked through its own extension, so waiting costs no memory and
//! cannot fail.

use core::fmt;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;

use super::{Ended, Extension, Request};

/// A first-in first-out queue of requests without memory of its own.
pub struct Requests<C> {
    first: Option<NonNull<Extension<C>>>,
    /// Means something only when there is a first one.
    last: NonNull<Extension<C>>,
}

// SAFETY: the requests in it are this value's alone, on whichever processor it is.
unsafe impl<C: Send> Send for Requests<C> {}

impl<C> fmt::Debug for Requests<C> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Requests").field("is_empty", &self.first.is_none()).finish()
    }
}

impl<C> Default for Requests<C> {
    fn default() -> Self {
        Self::new()
    }
}

impl<C> Requests<C> {
    /// None.
    pub const fn new() -> Self {
        Self { first: None, last: NonNull::dangling() }
    }

    /// Whether there is none.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Puts a request behind all others.
    #[inline]
    pub fn push_back(&mut self, request: Request<C>) {
        let extension = into_extension(request);
        self.link(extension);
        self.last = extension;
    }

    /// Puts a row of requests behind all others.
    pub fn append(&mut self, mut others: Self) {
        if let Some(first) = others.first.take() {
            self.link(first);
            self.last = others.last;
        }
    }

    #[inline]
    fn link(&mut self, behind: NonNull<Extension<C>>) {
        match self.first {
            None => self.first = Some(behind),
            // SAFETY: there is a first one, so the last is the extension of a request that this list owns.
            Some(_) => _ = unsafe { (*self.last.as_ptr()).next.write(behind) },
        }
    }

    /// Puts a request before all others: the one just popped, when the ring turned out to be full.
    pub fn push_front(&mut self, request: Request<C>) {
        let extension = into_extension(request);
        match self.first {
            None => self.last = extension,
            // SAFETY: the extension of a request that this list owns now.
            Some(first) => _ = unsafe { (*extension.as_ptr()).next.write(first) },
        }
        self.first = Some(extension);
    }

    /// Takes the request that has waited longest.
    #[inline]
    pub fn pop_front(&mut self) -> Option<Request<C>> {
        let first = self.first?;
        self.first = if first == self.last {
            None
        } else {
            // SAFETY: the extension of a request that this list owns.
            let next = unsafe { (*first.as_ptr()).next };
            // SAFETY: it is not the last one, so another was put behind it.
            Some(unsafe { next.assume_init() })
        };
        Some(Request(first))
    }
}

#[inline]
fn into_extension<C>(request: Request<C>) -> NonNull<Extension<C>> {
    ManuallyDrop::new(request).0
}

/// Those in it would never end.
#[cfg(feature = "fake")]
impl<C> Drop for Requests<C> {
    fn drop(&mut self) {
        assert!(self.first.is_none() || std::thread::panicking(), "a list was dropped with requests in it");
    }
}

/// Requests that have ended, in the order in which they did. They are given back when no lock is held any more.
#[derive(Debug)]
pub struct EndedRequests<C>(Requests<C>);

impl<C> Default for EndedRequests<C> {
    fn default() -> Self {
        Self::new()
    }
}

impl<C> EndedRequests<C> {
    /// None.
    pub const fn new() -> Self {
        Self(Requests::new())
    }

    /// Whether there is none.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts one behind all others.
    #[inline]
    pub fn push(&mut self, ended: Ended<C>) {
        self.0.push_back(ended.0);
    }

    /// Takes the one that ended first.
    #[inline]
    pub fn pop(&mut self) -> Option<Ended<C>> {
        self.0.pop_front().map(Ended)
    }
}

#[cfg(all(test, feature = "fake"))]
mod tests {
    use super::*;
    use crate::fake::SrbBuilder;

    fn request(tag: u8) -> Request<()> {
        SrbBuilder::execute(&[tag]).build()
    }

    fn requests(tags: &[u8]) -> Requests<()> {
        let mut requests = Requests::new();
        tags.iter().for_each(|tag| requests.push_back(request(*tag)));
        requests
    }

    fn pop(requests: &mut Requests<()>) -> Option<u8> {
        let request = requests.pop_front()?;
        let tag = request.cdb()[0];
        crate::fake::forget(request);
        Some(tag)
    }

    fn rest(requests: &mut Requests<()>) -> Vec<u8> {
        core::iter::from_fn(|| pop(requests)).collect()
    }

    #[test]
    fn requests_come_out_in_the_order_they_went_in() {
        let mut requests = requests(&[1, 2, 3]);
        let first = pop(&mut requests);
        requests.push_back(request(4));

        assert_eq!(first, Some(1));
        assert_eq!(rest(&mut requests), [2, 3, 4]);
        assert!(requests.is_empty());
    }

    #[test]
    fn a_request_put_back_to_the_front_comes_out_next() {
        let mut requests = requests(&[1, 2]);
        let first = requests.pop_front().expect("two requests wait");

        requests.push_front(first);

        assert_eq!(rest(&mut requests), [1, 2]);
    }

    #[test]
    fn what_comes_to_an_empty_row_by_the_front_is_its_end_as_well() {
        let mut requests = requests(&[]);

        requests.push_front(request(1));
        requests.push_back(request(2));

        assert_eq!(rest(&mut requests), [1, 2]);
    }

    #[test]
    fn a_row_behind_another_keeps_its_order() {
        for (before, behind) in [(&[1, 2][..], &[3, 4][..]), (&[], &[1]), (&[1], &[]), (&[], &[])] {
            let mut all = requests(before);

            all.append(requests(behind));
            all.push_back(request(9));

            let expected: Vec<u8> = before.iter().chain(behind).copied().chain([9]).collect();
            assert_eq!(rest(&mut all), expected);
        }
    }
}
