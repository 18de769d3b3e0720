//! Requests that wait for a place in the ring.
//!
//! A ring that is full must not end a request with `SRB_STATUS_BUSY`: StorPort would pause the logical unit for
//! `BusyPauseTime` (250 ms). The request waits here instead, linked through its own SRB extension, so waiting
//! costs no memory and cannot fail.

use core::marker::PhantomData;

use crate::srb::Srb;

/// A first-in first-out queue of requests without memory of its own.
///
/// Two linked stacks: requests are pushed onto `incoming` and popped from `outgoing`; when that is empty, the
/// incoming ones are turned around. Each request is moved twice, so push and pop are O(1) on average.
#[derive(Debug)]
pub struct Backlog<S, C> {
    incoming: Option<S>,
    outgoing: Option<S>,
    length: usize,
    command: PhantomData<fn() -> C>,
}

impl<S: Srb<C>, C: Copy> Default for Backlog<S, C> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Srb<C>, C: Copy> Backlog<S, C> {
    /// An empty backlog.
    pub const fn new() -> Self {
        Self { incoming: None, outgoing: None, length: 0, command: PhantomData }
    }

    /// How many requests wait.
    pub const fn len(&self) -> usize {
        self.length
    }

    /// Whether no request waits.
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Puts a request behind all others.
    pub fn push_back(&mut self, mut srb: S) {
        srb.set_next(self.incoming.take());
        self.incoming = Some(srb);
        self.length += 1;
    }

    /// Puts a request before all others: the one just popped, when the ring turned out to be full.
    pub fn push_front(&mut self, mut srb: S) {
        srb.set_next(self.outgoing.take());
        self.outgoing = Some(srb);
        self.length += 1;
    }

    /// Takes the request that has waited longest.
    pub fn pop_front(&mut self) -> Option<S> {
        if self.outgoing.is_none() {
            while let Some(mut srb) = self.incoming.take() {
                self.incoming = srb.take_next();
                srb.set_next(self.outgoing.take());
                self.outgoing = Some(srb);
            }
        }
        let mut srb = self.outgoing.take()?;
        self.outgoing = srb.take_next();
        self.length -= 1;
        Some(srb)
    }
}

#[cfg(all(test, feature = "fake"))]
mod tests {
    use super::*;
    use crate::fake::FakeSrb;

    fn backlog_of(tags: &[u8]) -> Backlog<FakeSrb<()>, ()> {
        let mut backlog = Backlog::new();
        for tag in tags {
            backlog.push_back(FakeSrb::execute(&[*tag]));
        }
        backlog
    }

    fn pop(backlog: &mut Backlog<FakeSrb<()>, ()>) -> Option<u8> {
        let srb = backlog.pop_front()?;
        let tag = srb.cdb()[0];
        srb.forget();
        Some(tag)
    }

    #[test]
    fn requests_come_out_in_the_order_they_went_in() {
        let mut backlog = backlog_of(&[1, 2, 3]);
        let first = pop(&mut backlog);
        backlog.push_back(FakeSrb::execute(&[4]));

        let rest: Vec<u8> = core::iter::from_fn(|| pop(&mut backlog)).collect();

        assert_eq!(first, Some(1));
        assert_eq!(rest, [2, 3, 4]);
        assert!(backlog.is_empty());
    }

    #[test]
    fn a_request_put_back_to_the_front_comes_out_next() {
        let mut backlog = backlog_of(&[1, 2]);
        let first = backlog.pop_front().expect("two requests wait");

        backlog.push_front(first);

        assert_eq!(backlog.len(), 2);
        assert_eq!(pop(&mut backlog), Some(1));
        assert_eq!(pop(&mut backlog), Some(2));
    }
}
