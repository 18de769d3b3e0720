//! Requests that take long: those that are slower than `TraceResponseTime` says are traced, each with its unit.
//!
//! Nothing is noted of a request when it starts, so that nobody pays for this who has not asked for it. The timer looks four
//! times in that time at what the device has. What it sees for the fifth time has taken as long, and a quarter more at most,
//! if the timer was not late. IRQL: DISPATCH_LEVEL. Lock: each request queue's, one after the other.

use core::sync::atomic::{AtomicU64, Ordering};

use arrayvec::ArrayVec;
use storport::port::FarUnit;
use storport::{Address, Port};

use crate::Adapter;
use crate::device_type::DeviceType;
use crate::log_events::Event;

/// Looks at a request after which it is traced.
const LOOKS: u8 = 5;

/// Most requests that are traced of one look. The others are as slow, and of a device that answers nothing there are a lot.
const MOST: usize = 8;

/// The timer's own period, in milliseconds: no look comes sooner.
const LEAST_PERIOD: u32 = 10;

/// When the requests were looked at last: system time, in units of 100 ns.
#[derive(Debug)]
pub(super) struct LastLook(AtomicU64);

impl LastLook {
    pub(super) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Whether so many milliseconds are over, which then begin anew. The clock may have been set.
    fn is_over(&self, milliseconds: u32, now: u64) -> bool {
        let last = self.0.load(Ordering::Relaxed);
        let over = now.abs_diff(last) >= u64::from(milliseconds) * 10_000;
        over && self.0.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

impl<P: Port, D: DeviceType> Adapter<P, D> {
    /// Looks at the requests that the device has, if it is time to, and has the timer run for the next look.
    pub(super) fn look_for_slow_requests(&self) {
        if self.facts.trace_response_time == 0 {
            return;
        }
        let period = (self.facts.trace_response_time / u32::from(LOOKS - 1)).max(LEAST_PERIOD);
        if self.service.last_look.is_over(period, self.port.system_time()) {
            let mut slow = ArrayVec::<Address, MOST>::new();
            for number in 0..self.queues.count() {
                let Some(queue) = self.queues.get(number) else { continue };
                queue.lock().look(LOOKS, |unit| _ = slow.try_push(unit));
            }
            for Address { target, lun, .. } in slow {
                self.report(Event::SlowRequest.of_unit(FarUnit { target, lun: lun.into() }));
            }
        }
        // A timer that a reset waits for is not put off, and neither is a change that is to be told again.
        if self.resets_nothing() {
            self.port.request_timer(self.until_told_again(period * 1000));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_comes_once_in_its_time_also_when_the_clock_is_set_back() {
        let last = LastLook::new();

        assert!(last.is_over(100, 50_000_000));
        assert!(!last.is_over(100, 50_999_999));
        assert!(last.is_over(100, 51_000_000));
        assert!(!last.is_over(100, 50_500_000));
        assert!(last.is_over(100, 10_000_000));
    }
}
