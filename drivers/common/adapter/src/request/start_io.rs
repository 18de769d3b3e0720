//! `HwStorStartIo`: a request goes into the ring. IRQL: DISPATCH_LEVEL. Lock: StorPort's StartIo lock or none; our own is
//! the queue's.

use storport::{Completion, Port, SrbStatus};
use virtio::queue::Notify;
use virtio::transport::Doorbell;

use super::Command;
use crate::Adapter;
use crate::device_type::{DeviceType, Request};
use crate::queue::{At, LockedQueue, Notification, Started};
use crate::recovery::Input;

impl<P: Port, D: DeviceType> Adapter<P, D> {
    #[inline(always)]
    pub(crate) fn start_io(&self, request: Request<D>) {
        // One load is all that the choice costs where there is none.
        let queue = if self.queues.has_choice() {
            self.queues.of_processor(self.port.processor())
        } else {
            self.queues.first()
        };
        let mut locked = queue.lock();
        match locked.start(&self.device_type, request) {
            Ok(Notify::Device { next }) => {
                let doorbell = locked.doorbell();
                // Outside the lock: the register write traps to the host, which takes as long as many requests.
                drop(locked);
                if let Some(doorbell) = doorbell {
                    self.notify(queue, Notification { doorbell, next });
                }
            }
            Ok(Notify::Suppressed) => {}
            Err(request) => {
                drop(locked);
                self.start_other(queue, request);
            }
        }
    }

    /// What is not a request of the ring, or needs more than a place in it.
    #[cold]
    #[inline(never)]
    fn start_other(&self, queue: &LockedQueue<D>, request: Request<D>) {
        match request.command() {
            Some(Command::Request(..)) => self.start_request(queue, request),
            Some(Command::Configure(command)) => self.configure(queue, request, command),
            Some(Command::Reset(_)) => self.reset_asked_for(request),
            Some(Command::Abort(_)) => self.abort_asked_for(request),
            Some(Command::SurpriseRemoval) => {
                self.recover(Input::Removed, At::Dispatch);
                self.port.complete(request.end(Completion::success(0)));
            }
            // The port driver starts what `build_io` let through only.
            None | Some(Command::Recalled(..)) => {
                self.port.complete(request.end(Completion::failed(SrbStatus::INVALID_REQUEST)));
            }
        }
    }

    /// On a device that does not run nothing is written. The request waits or ends as any other does there; when it ends well
    /// the device type looks whether what it asked for was done.
    fn configure(&self, chosen: &LockedQueue<D>, mut request: Request<D>, command: D::Command) {
        {
            // While it is held and the queue is open the device is not reset.
            let queue = self.queues.first().lock();
            if queue.is_open() {
                self.device_type.configure(command, &self.life_cycle.running());
            }
        }
        request.set_command(Command::new(command));
        self.start_request(chosen, request);
    }

    fn start_request(&self, queue: &LockedQueue<D>, request: Request<D>) {
        let started = queue.lock().start_io(&self.device_type, request);
        match started {
            Started::Taken(Some(notification)) => self.notify(queue, notification),
            Started::Taken(None) => {}
            other => self.start_again(other),
        }
    }

    /// A request that ends, or one whose queue a start with fewer interrupts took out of use between the choice and its lock.
    /// The first queue is in use whenever the device is.
    #[cold]
    fn start_again(&self, started: Started<D>) {
        let queue = self.queues.first();
        let started = match started {
            Started::Unused(request) => queue.lock().start_io(&self.device_type, request),
            other => other,
        };
        match started {
            Started::Taken(Some(notification)) => self.notify(queue, notification),
            Started::Taken(None) => {}
            Started::Ended(ended) => self.port.complete(ended),
            // Of the first queue this is not said.
            Started::Unused(request) => {
                self.port.complete(request.end(Completion::failed(SrbStatus::BUSY)));
            }
        }
    }

    /// Rings a queue's doorbell, with its lock not held.
    #[inline(always)]
    pub(crate) fn notify(&self, queue: &LockedQueue<D>, notification: Notification) {
        let Notification { doorbell, next } = notification;
        if doorbell.tells_position() {
            self.notify_position(queue, &doorbell);
        } else {
            self.life_cycle.device().notify(&doorbell, next);
        }
    }

    /// Another processor, or StorPort during a completion, may have gone on in the ring and said so since. An older position after
    /// that would take back what the device was told (2.9), so none may come in between.
    #[cold]
    #[inline(never)]
    fn notify_position(&self, queue: &LockedQueue<D>, doorbell: &Doorbell) {
        let queue = queue.lock();
        if queue.is_open() {
            self.life_cycle.device().notify(doorbell, queue.position());
        }
    }
}
