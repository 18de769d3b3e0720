//! `HwStorDpcRoutine`: used buffers become completed requests.

use storport::{DpcKind, Port};
use virtio::queue::DeviceFault;

use crate::Adapter;
use crate::events::Event;
use crate::protocol::Protocol;
use crate::request_path::{Finished, Found, RequestPath};
use crate::reset::Reason;
use crate::state::State;

/// Most requests one DPC completes before it queues itself again, so that it stays short (Microsoft's guidance is
/// 100 µs) and other DPCs get their turn.
const BUDGET: usize = 128;

/// What one look at the ring found.
struct Batch<D: Protocol> {
    finished: Finished<D>,
    /// The ring may hold more; interrupts are still off.
    more: bool,
    fault: Option<DeviceFault>,
}

impl<P: Port, D: Protocol> Adapter<P, D> {
    #[inline]
    pub(crate) fn drain(&self, queue: u16) {
        self.drain_and(queue, |path| path.ring.enable_interrupts());
    }

    /// Completes what the device has finished in one queue. `rearm` asks for the next interrupt, and returns whether the ring holds more.
    pub(crate) fn drain_and(&self, queue: u16, rearm: impl Fn(&mut RequestPath<D>) -> bool) {
        let Some(queue_path) = self.queues.get(queue) else {
            return;
        };
        let mut completed = 0;
        let mut notification = None;
        let again = loop {
            let mut batch = {
                let mut path = queue_path.lock();
                if self.state.get() != State::Running {
                    // Reset meanwhile, and the refill with it: its notification would reach a device in reset.
                    notification = None;
                    break false;
                }
                let mut batch: Batch<D> = Batch { finished: Finished::new(), more: false, fault: None };
                path.ring.disable_interrupts();
                let mut again = false;
                // One place is left for a request that the refill refuses.
                while batch.finished.room() > 1 {
                    match path.finish_one(&self.protocol, &mut batch.finished) {
                        Ok(Found::Done) => {}
                        Ok(Found::Again) => again = true,
                        Ok(Found::Nothing) => break,
                        Err(fault) => {
                            // The ring says nothing reliable any more; what is in it comes back with the reset.
                            self.state.set_unless_stopped(State::Faulty);
                            batch.fault = Some(fault);
                            break;
                        }
                    }
                }
                if batch.fault.is_none() {
                    notification = path.refill(&self.protocol, again, &mut batch.finished).or(notification);
                }
                // A refill that has filled the batch with requests that were refused may have left more of them.
                let drained = batch.finished.room() > 1;
                // Requests that wait while the device has none would never be announced by an interrupt.
                let stranded = !path.backlog.is_empty() && path.ring.in_flight() == 0;
                // Re-arming tells whether more came in meanwhile; out of budget, interrupts stay off until the next DPC.
                batch.more = batch.fault.is_none() && (!drained || stranded || rearm(&mut path));
                batch
            };
            // A round without a request counts too: nothing here may go on for ever.
            completed += batch.finished.len().max(1);
            while let Some(ended) = batch.finished.pop() {
                self.port.complete(ended);
            }
            if let Some(fault) = batch.fault {
                self.report(Event::of_fault(fault));
                // What an earlier batch refilled goes back with the reset.
                notification = None;
                self.reset(Reason::DeviceFault);
                break false;
            }
            if !batch.more {
                break false;
            }
            if completed >= BUDGET {
                break true;
            }
        };
        if let Some(notification) = notification {
            self.notify(queue_path, notification);
        }
        if again {
            self.port.issue_dpc(DpcKind::RequestQueue(queue));
        }
    }
}
