//! Deferred procedure calls.

use alloc::collections::VecDeque;

use crate::cpu::call;
use crate::cpu::lock::Lock;
use crate::cpu::percpu::{self, Stack};
use crate::cpu::{apic, irql};
use crate::storport::lock;

/// A call to be made at DISPATCH_LEVEL.
#[derive(Clone, Copy, Debug)]
pub struct Item {
    /// Callback name.
    pub name: &'static str,
    /// DPC object or timer; an object is queued once at most.
    pub object: u64,
    /// Function.
    pub routine: u64,
    /// Its arguments.
    pub arguments: [u64; 4],
    /// Storport holds its callback locks around it (HwStorTimer).
    pub locked: bool,
}

static QUEUE: Lock<VecDeque<Item>> = Lock::new(VecDeque::new());

/// Queues a call; false when the object is queued already, as KeInsertQueueDpc says.
pub fn queue(item: Item) -> bool {
    let mut queue = QUEUE.lock();
    if queue.iter().any(|other| other.object == item.object) {
        return false;
    }
    queue.push_back(item);
    drop(queue);
    apic::request_dpc();
    true
}

/// Whether an object is not queued.
pub fn is_idle(object: u64) -> bool {
    QUEUE.lock().iter().all(|item| item.object != object)
}

/// Runs what is queued. Called at DISPATCH_LEVEL by the DPC interrupt.
pub fn run() {
    debug_assert_eq!(irql::current(), irql::DISPATCH);
    loop {
        let item = QUEUE.lock().pop_front();
        let Some(item) = item else { break };
        let locks = item.locked.then(lock::acquire_callback);
        call::driver(item.name, Stack::Dpc, item.routine, &item.arguments);
        if let Some(locks) = locks {
            lock::release_callback(locks);
        }
    }
    percpu::wake();
}
