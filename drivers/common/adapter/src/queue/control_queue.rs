//! The control queue: task management functions and their answers. It has a ring as request queues do;
//! what goes through it is the driver's own, so nothing waits for a place in it. Lock: its own.

use arrayvec::ArrayVec;
use virtio::memory::Region;
use virtio::queue::{
    DeviceFault, Direction, Layout, LayoutError, NoData, Notify, QueueAreas, Reason, Rejected, Ring,
};
use virtio::spec::Features;
use virtio::transport::Doorbell;

use super::ring::{AnyRing, RingOf, Slots, with_ring};
use super::{Locked, Notification};
use crate::device_type::{DeviceType, Facts, Service};
use crate::recovery::AT_ONCE;

/// Functions in the ring at once: those that are waited for, and those before them that were given up and may be answered yet.
pub(crate) const TASKS: u16 = 2 * AT_ONCE as u16;

/// Which function it is.
pub(crate) type TaskTag = u32;

/// The control queue behind its lock.
pub(crate) type LockedControlQueue<D> = Locked<ControlQueue<D>>;

/// Functions that were answered, and whether the device has done them.
pub(crate) type Answers = ArrayVec<(TaskTag, bool), { TASKS as usize }>;

/// Why a function was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotSent {
    /// There is no place for it before another one was answered.
    Full,
    /// The queue is closed, or the device type has no such function.
    Never,
}

/// The control queue.
pub(crate) struct ControlQueue<D: Facts> {
    ring: AnyRing<D::Task, TaskTag>,
    doorbell: Option<Doorbell>,
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
        Ok(Self { ring, doorbell: None })
    }

    /// Empties the ring for a start of the device, which is in reset; returns its size and where it is.
    pub(crate) fn empty(&mut self) -> (u16, QueueAreas) {
        while self.ring.take_outstanding().is_some() {}
        self.ring.empty();
        self.doorbell = None;
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
    }

    /// Sends a function. Its answer bears the tag.
    ///
    /// # Errors
    /// It could not be sent.
    pub(crate) fn send(
        &mut self,
        tag: TaskTag,
        header: &<D::Task as virtio::queue::Format>::Header,
    ) -> Result<Option<Notification>, NotSent> {
        let doorbell = self.doorbell.ok_or(NotSent::Never)?;
        let sent = with_ring!(&mut self.ring, ring => {
            // Its own answer comes by an interrupt, whatever a look before has asked for.
            let _there_is_one = ring.enable_interrupts();
            ring.submit(tag, header, Direction::None, NoData).map(|_| ring.publish())
        });
        match sent {
            Ok(Notify::Device { next }) => Ok(Some(Notification { doorbell, next })),
            Ok(Notify::Suppressed) => Ok(None),
            Err(Rejected { reason: Reason::Full, .. }) => Err(NotSent::Full),
            Err(_) => Err(NotSent::Never),
        }
    }

    /// Takes the answers that there are.
    ///
    /// # Errors
    /// The device broke a rule of the ring.
    pub(crate) fn take_answers(&mut self, device_type: &D) -> Result<Answers, DeviceFault> {
        with_ring!(&mut self.ring, ring => take_answers(ring, device_type))
    }
}

fn take_answers<D: DeviceType, R: Ring<Memory = Region>>(
    ring: &mut RingOf<D::Task, R, TaskTag>,
    device_type: &D,
) -> Result<Answers, DeviceFault> {
    let mut answers = Answers::new();
    loop {
        while let Some(used) = ring.pop_used()? {
            let response = used.response();
            let done = Service::task_done(device_type, &response);
            response.spoil(usize::from(<D::Task as virtio::queue::Format>::RESPONSE_BYTES));
            // While the lock is held nothing is sent: there are no more than fit.
            let _full = answers.try_push((used.take(), done));
        }
        if !ring.enable_interrupts() {
            return Ok(answers);
        }
    }
}
