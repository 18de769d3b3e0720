//! Timers, by the clock tick of 1 ms. A timer that is due queues a DPC.

use alloc::vec::Vec;

use super::dpc::{self, Item};
use crate::cpu::clock;
use crate::cpu::lock::Lock;

struct Timer {
    due: u64,
    item: Item,
}

static TIMERS: Lock<Vec<Timer>> = Lock::new(Vec::new());

/// Arms a timer, replacing one of the same object.
pub fn set(item: Item, microseconds: u64) {
    let mut timers = TIMERS.lock();
    timers.retain(|timer| timer.item.object != item.object);
    timers.push(Timer { due: clock::ticks() + microseconds.div_ceil(1000).max(1), item });
}

/// Disarms a timer; whether it was armed.
pub fn cancel(object: u64) -> bool {
    let mut timers = TIMERS.lock();
    let before = timers.len();
    timers.retain(|timer| timer.item.object != object);
    timers.len() != before
}

/// Disarms every timer.
pub fn cancel_all() {
    TIMERS.lock().clear();
}

/// The clock ticks.
pub fn tick(now: u64) {
    loop {
        let mut timers = TIMERS.lock();
        let Some(index) = timers.iter().position(|timer| timer.due <= now) else { break };
        let timer = timers.swap_remove(index);
        drop(timers);
        // On the processor that keeps the time, as timers of Windows expire where they were set at best.
        dpc::queue(timer.item, 0);
    }
}
