//! The deferred procedures of an adapter, by name: [`Port::issue_dpc`](crate::Port::issue_dpc) has one queued, and
//! [`Miniport::dpc`](crate::Miniport::dpc) runs it.

/// Which deferred procedure runs. Each is an object of its own: one that is queued already swallows a second
/// request to queue it, whatever that one's arguments were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DpcKind {
    /// Everything that is rare: a changed configuration or status, queues that are not for requests.
    Service,
    /// The timer has run ([`Port::request_timer`](crate::Port::request_timer)).
    Timer,
    /// Take used buffers off a request queue, counted from 0.
    RequestQueue(u16),
}

impl DpcKind {
    /// How many there are with so many request queues.
    pub const fn count(queues: u16) -> usize {
        2 + queues as usize
    }

    /// A number for each, counted from 0.
    pub const fn index(self) -> usize {
        match self {
            Self::Service => 0,
            Self::Timer => 1,
            Self::RequestQueue(queue) => 2 + queue as usize,
        }
    }

    /// The one with this number.
    pub const fn from_index(index: usize) -> Self {
        match index {
            0 => Self::Service,
            1 => Self::Timer,
            index => Self::RequestQueue((index - 2) as u16),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dpc_has_a_number_of_its_own() {
        for queues in [1, 2, 64] {
            let kinds: Vec<_> = (0..DpcKind::count(queues)).map(DpcKind::from_index).collect();

            assert_eq!(kinds[0], DpcKind::Service);
            assert_eq!(kinds[1], DpcKind::Timer);
            assert_eq!(kinds[1 + usize::from(queues)], DpcKind::RequestQueue(queues - 1));
            assert!((0..).zip(&kinds).all(|(index, kind)| kind.index() == index));
        }
    }
}
