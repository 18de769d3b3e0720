//! `HwStorStartIo`: a request goes into the ring.

use storport::{Completion, Port, SrbStatus};

use crate::build_io::Command;
use crate::protocol::Protocol;
use crate::queues::Path;
use crate::request_path::{Notification, Started, UNUSED, forget_scratch};
use crate::reset::Reason;
use crate::state::State;
use crate::{Adapter, Request};

impl<P: Port, D: Protocol> Adapter<P, D> {
    pub(crate) fn start(&self, srb: Request<D>) {
        match srb.command() {
            Some(Command::Request(..)) => self.start_request(srb),
            Some(Command::Configure(command)) => self.configure(srb, command),
            Some(Command::Reset) => {
                let completion = if self.reset(Reason::PortDriver) {
                    Completion::success(0)
                } else {
                    Completion::failed(SrbStatus::ERROR)
                };
                self.port.complete(srb.end(completion));
            }
            Some(Command::SurpriseRemoval) => {
                self.device_gone();
                self.port.complete(srb.end(Completion::success(0)));
            }
            // The port driver starts what `build_io` let through only.
            None => self.port.complete(srb.end(Completion::failed(SrbStatus::INVALID_REQUEST))),
        }
    }

    /// Rings a queue's doorbell, with its lock not held.
    pub(crate) fn notify(&self, path: &Path<D>, Notification { doorbell, next }: Notification) {
        if !doorbell.tells_position() {
            self.device.notify(&doorbell, next);
            return;
        }
        // Another processor, or StorPort during a completion, may have gone on in the ring and said so since. An older
        // position after that would take back what the device was told (2.9), so none may come in between.
        let path = path.lock();
        if self.state.get() == State::Running {
            self.device.notify(&doorbell, path.ring.position());
        }
    }

    /// On a device that does not run nothing is written. The request waits or ends as any other does there; when it ends well
    /// the protocol looks whether what it asked for was done.
    #[cold]
    fn configure(&self, mut srb: Request<D>, command: D::Command) {
        // Every start and every reset of the device needs this lock too.
        let path = self.queues.first().lock();
        if self.state.get() == State::Running
            && let Some((offset, value)) = D::configuration_write(command)
        {
            self.device.write_config8(offset, value);
            self.protocol.configuration_written(&self.running_probe());
        }
        drop(path);
        srb.set_command(Command::Request(command, None));
        self.start_request(srb);
    }

    #[inline(always)]
    fn start_request(&self, srb: Request<D>) {
        // One load is all that the choice costs where there is none.
        let path = if self.routing.has_choice() { self.choose(&srb) } else { self.queues.first() };
        let started = {
            let mut path = path.lock();
            path.start(&self.protocol, self.state.get(), srb)
        };
        match started {
            // Outside the lock: the register write traps to the host, which takes as long as many requests.
            Started::Taken(Some(notification)) => self.notify(path, notification),
            Started::Taken(None) => {}
            Started::Refused(srb, completion) => self.refuse_or_start_again(srb, completion),
        }
    }

    /// The queue for a request, of several.
    #[inline(never)]
    fn choose(&self, srb: &Request<D>) -> &'static Path<D> {
        let routing = self.routing.get();
        let message = if routing.by_message { self.port.message_for(srb) } else { None };
        let queue = routing.queue(message, || self.port.processor());
        self.queues.get(queue).unwrap_or(self.queues.first())
    }

    /// A request that was refused, unless that was because a start with fewer interrupts took the queue out of use between
    /// the choice and its lock. The first queue is in use whenever the device is.
    #[cold]
    fn refuse_or_start_again(&self, mut srb: Request<D>, refusal: Completion) {
        forget_scratch(&mut srb);
        let path = self.queues.first();
        let started = if refusal == UNUSED {
            path.lock().start(&self.protocol, self.state.get(), srb)
        } else {
            Started::Refused(srb, refusal)
        };
        match started {
            Started::Taken(Some(notification)) => self.notify(path, notification),
            Started::Taken(None) => {}
            Started::Refused(srb, completion) => self.port.complete(srb.end(completion)),
        }
    }
}
