//! The control queue: task management functions, one after the other, and their answers. It has a ring as request queues do;
//! what goes through it is the driver's own, so nothing waits for a place in it. Lock: its own.

use virtio::memory::Region;
use virtio::queue::{DeviceFault, Direction, Layout, LayoutError, NoData, Notify, QueueAreas, Ring};
use virtio::spec::Features;
use virtio::transport::Doorbell;

use super::ring::{AnyRing, RingOf, Slots, with_ring};
use super::{Locked, Notification};
use crate::device_type::{DeviceType, Facts, Service};
use crate::request::Scope;

/// Functions in the ring at once: one that is waited for, and those before it that were given up and may be answered yet.
pub(crate) const TASKS: u16 = 8;

/// Which function it is.
pub(crate) type TaskTag = u32;

/// The control queue behind its lock.
pub(crate) type LockedControlQueue<D> = Locked<ControlQueue<D>>;

/// The control queue.
pub(crate) struct ControlQueue<D: Facts> {
    ring: AnyRing<D::Task, TaskTag>,
    doorbell: Option<Doorbell>,
    /// The last function that was sent.
    last: TaskTag,
    /// What it is for, while it is waited for.
    waiting: Option<Scope>,
}

impl<D: DeviceType> ControlQueue<D> {
    /// A queue that is closed.
    ///
    /// # Errors
    /// Memory or slots are not as the layout says.
    pub(crate) fn new(
        memory: Region,
        slots: Slots<TaskTag>,
        layout: Layout<D::Task>,
        features: Features,
    ) -> Result<Self, LayoutError> {
        let ring = AnyRing::new(memory, slots, layout, features)?;
        Ok(Self { ring, doorbell: None, last: 0, waiting: None })
    }

    /// Empties the ring for a start of the device, which is in reset; returns its size and where it is.
    pub(crate) fn empty(&mut self) -> (u16, QueueAreas) {
        while self.ring.take_outstanding().is_some() {}
        self.ring.empty();
        self.doorbell = None;
        self.waiting = None;
        (self.ring.size(), self.ring.areas())
    }

    /// What the device is told of functions with.
    pub(crate) fn set_doorbell(&mut self, doorbell: Doorbell) {
        self.doorbell = Some(doorbell);
    }

    /// The device runs. Before, nothing may be sent to it (virtio 1.3, 3.1.1).
    pub(crate) fn open(&mut self) {
        self.ring.open();
    }

    /// The device is about to be reset.
    pub(crate) fn close(&mut self) {
        self.ring.close();
        self.waiting = None;
    }

    /// Sends a function for this scope, which is waited for from now on. `None`: it cannot be sent.
    pub(crate) fn send(
        &mut self,
        scope: Scope,
        header: impl FnOnce(TaskTag) -> Option<<D::Task as virtio::queue::Format>::Header>,
    ) -> Option<Option<Notification>> {
        let doorbell = self.doorbell?;
        let tag = self.last.wrapping_add(1);
        let header = header(tag)?;
        let sent = with_ring!(&mut self.ring, ring => {
            // Its own answer comes by an interrupt, whatever a look before has asked for.
            let _there_is_one = ring.enable_interrupts();
            ring.submit(tag, &header, Direction::None, NoData).ok().map(|_| ring.publish())
        });
        let notify = sent?;
        (self.last, self.waiting) = (tag, Some(scope));
        Some(match notify {
            Notify::Device { next } => Some(Notification { doorbell, next }),
            Notify::Suppressed => None,
        })
    }

    /// Takes the answers that there are. Of the function that is waited for: what it was for, and whether the device has done
    /// it.
    ///
    /// # Errors
    /// The device broke a rule of the ring.
    pub(crate) fn take_answers(&mut self, device_type: &D) -> Result<Option<(Scope, bool)>, DeviceFault> {
        let awaited = self.waiting.map(|_| self.last);
        let done = with_ring!(&mut self.ring, ring => take_answers(ring, device_type, awaited))?;
        Ok(done.and_then(|done| Some((self.waiting.take()?, done))))
    }
}

fn take_answers<D: DeviceType, R: Ring<Memory = Region>>(
    ring: &mut RingOf<D::Task, R, TaskTag>,
    device_type: &D,
    awaited: Option<TaskTag>,
) -> Result<Option<bool>, DeviceFault> {
    let mut answered = None;
    loop {
        while let Some(used) = ring.pop_used()? {
            let response = used.response();
            let done = Service::task_done(device_type, &response);
            response.spoil(usize::from(<D::Task as virtio::queue::Format>::RESPONSE_BYTES));
            // One that was given up is late.
            if Some(used.take()) == awaited {
                answered = Some(done);
            }
        }
        if !ring.enable_interrupts() {
            return Ok(answered);
        }
    }
}
