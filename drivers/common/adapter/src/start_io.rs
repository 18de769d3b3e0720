//! `HwStorStartIo`: a request goes into the ring.

use storport::{Completion, Port, Srb, SrbStatus};

use crate::build_io::Command;
use crate::protocol::Protocol;
use crate::request_path::{Notification, Started};
use crate::reset::Reason;
use crate::{Adapter, Request};

impl<P: Port, D: Protocol> Adapter<P, D> {
    pub(crate) fn start(&self, srb: Request<P, D>) {
        match srb.command() {
            Some(Command::Request(_)) => self.start_request(srb),
            Some(Command::Reset) => {
                let completion = if self.reset(Reason::PortDriver) {
                    Completion::success(0)
                } else {
                    Completion::failed(SrbStatus::ERROR)
                };
                self.port.complete(srb, completion);
            }
            Some(Command::SurpriseRemoval) => {
                self.device_gone();
                self.port.complete(srb, Completion::success(0));
            }
            // The port driver starts what `build_io` let through only.
            None => self.port.complete(srb, Completion::failed(SrbStatus::INTERNAL_ERROR)),
        }
    }

    pub(crate) fn notify(&self, Notification { doorbell, next }: Notification) {
        self.device.notify(&doorbell, next);
    }

    fn start_request(&self, srb: Request<P, D>) {
        let started = {
            let mut path = self.path.lock();
            path.start(&self.protocol, self.state.get(), srb)
        };
        match started {
            // Outside the lock: the register write traps to the host, which takes as long as many requests.
            Started::Taken(Some(notification)) => self.notify(notification),
            Started::Taken(None) => {}
            Started::Refused(srb, completion) => self.port.complete(srb, completion),
        }
    }
}
