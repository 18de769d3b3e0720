//! `HwStorDpcRoutine` of a request queue: used buffers become completed requests. IRQL: DISPATCH_LEVEL. Lock: the queue's,
//! never while a request is given back.

use storport::{DpcKind, Port};

use crate::Adapter;
use crate::device_type::DeviceType;
use crate::log_events::Event;
use crate::queue::{Batch, Drained, LockedQueue};

/// Most requests one DPC completes before it queues itself again, so that it stays short (Microsoft's guidance is
/// 100 µs) and other DPCs get their turn.
const BUDGET: usize = 128;

impl<P: Port, D: DeviceType> Adapter<P, D> {
    /// Completes what the device has finished in one queue, and asks for the next interrupt if `rearm` says so. Returns
    /// whether there may be more, for which a DPC was issued.
    // Once in the image: it has the way of both kinds of ring in it.
    #[inline(never)]
    pub(crate) fn complete_used(&self, number: u16, rearm: bool) -> bool {
        let Some(queue) = self.queues.get(number) else {
            return false;
        };
        let mut completed = 0;
        loop {
            let mut batch = Batch::new();
            let drained = queue.lock().drain(&self.device_type, rearm, &mut batch);
            completed += batch.len();
            while let Some(ended) = batch.pop() {
                self.port.complete(ended);
            }
            match drained {
                // What nearly every DPC finds: requests that have done what they were asked for, and then nothing.
                Drained::Nothing => return false,
                Drained::More => {}
                Drained::Other => return self.complete_rest(queue, number, rearm, completed),
            }
            if completed >= BUDGET {
                self.port.issue_dpc(DpcKind::RequestQueue(number));
                return true;
            }
        }
    }

    /// Goes on when so many were completed, and does whatever else there is to do.
    #[cold]
    #[inline(never)]
    fn complete_rest(&self, queue: &LockedQueue<D>, number: u16, rearm: bool, mut completed: usize) -> bool {
        let mut notification = None;
        let again = loop {
            let mut batch = queue.lock().take_used(&self.device_type, rearm);
            // A queue that was closed meanwhile has refilled nothing that the device still knows of.
            notification = if batch.closed { None } else { batch.notification.or(notification) };
            // A round without a request counts too: nothing here may go on for ever.
            completed += batch.ended.len().max(1);
            while let Some(ended) = batch.ended.pop() {
                self.port.complete(ended);
            }
            if D::CONTROL_QUEUE.is_some() && batch.recalled != 0 {
                queue.lock().have_left(batch.recalled);
            }
            if batch.out_of_reach {
                self.report_out_of_reach(queue);
            }
            if let Some(fault) = batch.fault {
                // What an earlier batch refilled goes back with the reset.
                notification = None;
                self.device_broke_a_rule(fault);
                break false;
            }
            if !batch.more {
                break false;
            }
            if completed >= BUDGET {
                break true;
            }
        };
        // Its reset may have begun while requests ended, and until it runs again it must not be told anything (virtio 1.3, 3.1.1).
        if let Some(notification) = notification
            && self.recovery.rung().is_running()
        {
            self.notify(queue, notification);
        }
        if again {
            self.port.issue_dpc(DpcKind::RequestQueue(number));
        }
        again
    }

    #[cold]
    fn report_out_of_reach(&self, queue: &LockedQueue<D>) {
        let unit = queue.lock().take_out_of_reach();
        if let Some(unit) = unit {
            self.report(Event::LunsOutOfReach.of_unit(unit));
        }
    }
}
