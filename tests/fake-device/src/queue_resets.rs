//! Queues that are reset by themselves (2.6.1).

use std::collections::BTreeSet;

use super::device::State;
use super::{Lie, Model, Violation};
use virtio::spec::DeviceStatus;

/// Which queue is being reset, and which ones were.
#[derive(Debug, Default)]
pub(super) struct QueueResets {
    /// The queue, and how many looks at `queue_reset` it still takes
    under_way: Option<(u16, u32)>,
    /// Those that are reset and may be set up again
    done: BTreeSet<u16>,
}

impl QueueResets {
    pub(super) fn is_under_way(&self, queue: u16) -> bool {
        self.under_way.is_some_and(|(number, _)| number == queue)
    }

    pub(super) fn may_set_up(&self, queue: u16) -> bool {
        self.done.contains(&queue) || self.is_under_way(queue)
    }

    /// A queue was set up.
    pub(super) fn set_up(&mut self, queue: u16) {
        self.done.remove(&queue);
    }
}

impl<M: Model> State<M> {
    pub(super) fn write_queue_reset(&mut self, value: u16) {
        let queue = self.queue_select;
        if value != 1 {
            self.violations.push(Violation::QueueResetValue { value });
            return;
        }
        let enabled = self.queues.get(usize::from(queue)).is_some_and(|queue| queue.enabled);
        if !self.status.contains(DeviceStatus::DRIVER_OK) || !enabled {
            self.violations.push(Violation::QueueResetOutOfStep { queue });
            return;
        }
        if let Some((earlier, _)) = self.queue_resets.under_way {
            self.violations.push(Violation::QueueResetNotAwaited { queue: earlier });
            return;
        }
        self.queue_resets.under_way = Some((queue, self.slow_reset));
    }

    pub(super) fn read_queue_reset(&mut self) -> u16 {
        let Some((queue, polls_left)) =
            self.queue_resets.under_way.filter(|(queue, _)| *queue == self.queue_select)
        else {
            return 0;
        };
        if self.lies.contains(&Lie::QueueResetNeverEnds) {
            return 1;
        }
        if let Some(left) = polls_left.checked_sub(1) {
            self.queue_resets.under_way = Some((queue, left));
            return 1;
        }
        self.queue_resets.under_way = None;
        self.queue_resets.done.insert(queue);
        let size = self.options.size_of(queue);
        if let Some(queue) = self.queues.get_mut(usize::from(queue)) {
            queue.reset(size);
        }
        0
    }
}
