//! `HwStorStartIo`: a request goes into the ring. IRQL: DISPATCH_LEVEL. Lock: StorPort's StartIo lock or none; our own is
//! the queue's.

use storport::{Completion, Port, SrbStatus};

use super::Command;
use crate::Adapter;
use crate::device_type::{DeviceType, Request};
use crate::queue::{At, LockedQueue, Notification, Started};
use crate::recovery::Input;

impl<P: Port, D: DeviceType> Adapter<P, D> {
    #[inline]
    pub(crate) fn start_io(&self, request: Request<D>) {
        match request.command() {
            Some(Command::Request(..)) => self.start_request(request),
            other => self.start_other(request, other),
        }
    }

    #[cold]
    #[inline(never)]
    fn start_other(&self, request: Request<D>, command: Option<Command<D::Command>>) {
        match command {
            Some(Command::Configure(command)) => self.configure(request, command),
            Some(Command::Reset(_)) => self.reset_asked_for(request),
            Some(Command::Abort(_)) => self.abort_asked_for(request),
            Some(Command::SurpriseRemoval) => {
                self.recover(Input::Removed, At::Dispatch);
                self.port.complete(request.end(Completion::success(0)));
            }
            // The port driver starts what `build_io` let through only.
            None | Some(Command::Request(..) | Command::Recalled(..)) => {
                self.port.complete(request.end(Completion::failed(SrbStatus::INVALID_REQUEST)));
            }
        }
    }

    /// On a device that does not run nothing is written. The request waits or ends as any other does there; when it ends well
    /// the device type looks whether what it asked for was done.
    fn configure(&self, mut request: Request<D>, command: D::Command) {
        {
            // While it is held and the queue is open the device is not reset.
            let queue = self.queues.first().lock();
            if queue.is_open() {
                self.device_type.configure(command, &self.life_cycle.running());
            }
        }
        request.set_command(Command::new(command));
        self.start_request(request);
    }

    #[inline(always)]
    fn start_request(&self, request: Request<D>) {
        // One load is all that the choice costs where there is none.
        let queue = if self.queues.has_choice() {
            self.queues.of_processor(self.port.processor())
        } else {
            self.queues.first()
        };
        let started = queue.lock().start_io(&self.device_type, request);
        match started {
            // Outside the lock: the register write traps to the host, which takes as long as many requests.
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
    #[inline]
    pub(crate) fn notify(&self, queue: &LockedQueue<D>, notification: Notification) {
        let Notification { doorbell, next } = notification;
        if !doorbell.tells_position() {
            self.life_cycle.device().notify(&doorbell, next);
            return;
        }
        // Another processor, or StorPort during a completion, may have gone on in the ring and said so since. An older
        // position after that would take back what the device was told (2.9), so none may come in between.
        let queue = queue.lock();
        if queue.is_open() {
            self.life_cycle.device().notify(&doorbell, queue.position());
        }
    }
}
