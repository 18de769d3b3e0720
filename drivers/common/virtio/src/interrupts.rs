//! Which MSI-X vector announces what.
//!
//! ```text
//!   vectors            configuration     queue 0   queue 1   queue 2
//!   4 or more               0               1         2         3        one each
//!   3                       0               1         2         1        queues share what is left, in turn
//!   2                       0               1         1         1
//!   1                       0               0         0         0        one for all
//!   0                       none: the line and the interrupt status register (4.1.4.5)
//! ```
//!
//! Every plan has a place for configuration changes, and in every plan each queue is announced: a change or a used
//! buffer that nobody hears of would wait for ever. Vectors and queues are numbers of different kinds, and are converted
//! into each other here only.

/// An entry of the MSI-X table, which is also the message number that the system calls an interrupt by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vector(pub u16);

/// Which vector announces what, for so many vectors and queues. Queues are counted without those that share the
/// configuration's vector by choice, such as a control queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VectorPlan {
    vectors: u16,
    queues: u16,
}

/// What a vector announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announced {
    /// Configuration changes
    pub configuration: bool,
    next_queue: u16,
    queues: u16,
    stride: u16,
}

impl VectorPlan {
    /// The plan for so many vectors; none means that there is no MSI-X.
    pub const fn new(vectors: u16, queues: u16) -> Self {
        Self { vectors, queues }
    }

    /// For configuration changes.
    pub const fn configuration(self) -> Option<Vector> {
        if self.vectors == 0 { None } else { Some(Vector(0)) }
    }

    /// For used buffers of a queue; `None` also when there is no such queue.
    pub const fn queue(self, queue: u16) -> Option<Vector> {
        if queue >= self.queues {
            return None;
        }
        match self.vectors {
            0 => None,
            1 => Some(Vector(0)),
            vectors => Some(Vector(1 + queue % (vectors - 1))),
        }
    }

    /// What a vector announces: nothing, when it is not in the plan. Without division: this is asked at every interrupt.
    pub const fn announced(self, vector: Vector) -> Announced {
        let Self { vectors, queues } = self;
        let nothing = Announced { configuration: false, next_queue: queues, queues, stride: 1 };
        match (vectors, vector.0) {
            (_, vector) if vector >= vectors => nothing,
            (1, _) => Announced { configuration: true, next_queue: 0, ..nothing },
            (_, 0) => Announced { configuration: true, ..nothing },
            (_, vector) => Announced { next_queue: vector - 1, stride: vectors - 1, ..nothing },
        }
    }
}

/// The queues that a vector announces.
impl Iterator for Announced {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        if self.next_queue >= self.queues {
            return None;
        }
        let queue = self.next_queue;
        self.next_queue = queue.saturating_add(self.stride);
        Some(queue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plans_are_those_of_the_drawing() {
        /// Vectors, queues, the configuration's vector, each queue's
        type Row = (u16, u16, Option<u16>, &'static [Option<u16>]);
        let table: [Row; 9] = [
            (0, 1, None, &[None]),
            (0, 3, None, &[None, None, None]),
            (1, 1, Some(0), &[Some(0)]),
            (1, 3, Some(0), &[Some(0), Some(0), Some(0)]),
            (2, 1, Some(0), &[Some(1)]),
            (2, 3, Some(0), &[Some(1), Some(1), Some(1)]),
            (3, 3, Some(0), &[Some(1), Some(2), Some(1)]),
            (4, 3, Some(0), &[Some(1), Some(2), Some(3)]),
            (9, 3, Some(0), &[Some(1), Some(2), Some(3)]),
        ];
        for (vectors, queues, configuration, expected) in table {
            let plan = VectorPlan::new(vectors, queues);

            assert_eq!(plan.configuration(), configuration.map(Vector), "{vectors} vectors");
            for (queue, vector) in (0..).zip(expected) {
                assert_eq!(plan.queue(queue), vector.map(Vector), "queue {queue} with {vectors} vectors");
            }
            assert_eq!(plan.queue(queues), None, "there is no such queue");
        }
    }

    #[test]
    fn what_a_vector_announces_is_what_was_planned_for_it() {
        for vectors in 0..10 {
            for queues in 0..10 {
                let plan = VectorPlan::new(vectors, queues);
                for vector in (0..12).map(Vector) {
                    let planned: Vec<u16> =
                        (0..queues).filter(|queue| plan.queue(*queue) == Some(vector)).collect();

                    let announced = plan.announced(vector);

                    assert_eq!(announced.configuration, plan.configuration() == Some(vector));
                    assert_eq!(announced.collect::<Vec<_>>(), planned, "{vector:?} of {plan:?}");
                }
            }
        }
    }

    #[test]
    fn with_any_vector_at_all_everything_is_announced() {
        for (vectors, queues) in
            [(1, 1), (1, 64), (2, 64), (17, 64), (64, 64), (65, 64), (2048, 1), (2, u16::MAX)]
        {
            let plan = VectorPlan::new(vectors, queues);

            assert!(plan.configuration().is_some());
            assert!((0..queues).all(|queue| plan.queue(queue).is_some_and(|vector| vector.0 < vectors)));
        }
    }

    #[test]
    fn the_largest_numbers_end() {
        let plan = VectorPlan::new(u16::MAX, u16::MAX);

        assert_eq!(plan.announced(Vector(u16::MAX - 1)).collect::<Vec<_>>(), [u16::MAX - 2]);
        assert_eq!(plan.announced(Vector(u16::MAX)).count(), 0);
    }
}
