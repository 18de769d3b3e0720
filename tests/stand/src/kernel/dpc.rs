//! Deferred procedure calls. Each processor has a queue; an object is in one of them at most, and may be queued again as
//! soon as its routine runs, so that it can run on two processors at once, as on Windows.

use alloc::collections::VecDeque;
use core::sync::atomic::{AtomicBool, Ordering};

use stand::wdk::codes::START_IO_LOCK;

use crate::cpu::lock::Lock;
use crate::cpu::percpu::{self, PROCESSORS, Stack};
use crate::cpu::vector::DPC_VECTOR;
use crate::cpu::{apic, call, irql, smp};
use crate::storport::{lock, notification, queue};

/// First object number of Storport's own DPCs, one for each processor.
const COMPLETION: u64 = 0x1_0000;

/// A call to be made at DISPATCH_LEVEL.
#[derive(Clone, Copy, Debug)]
pub struct Item {
    /// Callback name.
    pub name: &'static str,
    /// DPC object or timer; an object is queued once at most.
    pub object: u64,
    /// Function; 0 is Storport itself.
    pub routine: u64,
    /// Its arguments.
    pub arguments: [u64; 5],
    /// What Storport holds around it.
    pub locks: Locks,
}

/// What Storport holds around a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Locks {
    /// Nothing.
    None,
    /// What it holds around HwStorTimer: the StartIo lock, and the interrupt lock of a half-duplex miniport.
    Callback,
    /// The StartIo lock.
    StartIo,
}

static QUEUES: Lock<[VecDeque<Item>; PROCESSORS]> = Lock::new([const { VecDeque::new() }; PROCESSORS]);

static HELD: AtomicBool = AtomicBool::new(false);

/// From now on no DPC runs on any processor, or those that wait run.
pub fn hold(hold: bool) {
    HELD.store(hold, Ordering::SeqCst);
    if !hold {
        for processor in 0..smp::count() {
            apic::send(smp::apic_id(processor), DPC_VECTOR);
        }
    }
}

/// Queues a call on a processor; false when the object is queued already, as KeInsertQueueDpc says.
pub fn queue(item: Item, processor: u32) -> bool {
    let mut queues = QUEUES.lock();
    if queues.iter().flatten().any(|other| other.object == item.object) {
        return false;
    }
    crate::report::queued(item.name, item.object, item.routine);
    queues[processor as usize].push_back(item);
    drop(queues);
    apic::send(smp::apic_id(processor), DPC_VECTOR);
    true
}

/// Queues Storport's own DPC after completions on this processor, once. Its object is a number that is no address.
pub fn queue_completion(processor: u32) {
    let object = COMPLETION + u64::from(processor);
    let item =
        Item { name: "Storport's completion DPC", object, routine: 0, arguments: [0; 5], locks: Locks::None };
    queue(item, processor);
}

/// Whether an object is not queued.
pub fn is_idle(object: u64) -> bool {
    QUEUES.lock().iter().flatten().all(|item| item.object != object)
}

/// Runs what is queued on this processor. Called at DISPATCH_LEVEL by the DPC interrupt.
pub fn run() {
    debug_assert_eq!(irql::current(), irql::DISPATCH);
    while !HELD.load(Ordering::SeqCst) {
        let item = QUEUES.lock()[percpu::number() as usize].pop_front();
        let Some(item) = item else { break };
        let is_state_change = item.object == notification::STATE_CHANGE;
        if item.routine == 0 {
            if is_state_change {
                notification::state_change_ends();
            } else {
                queue::completion_dpc();
            }
            continue;
        }
        if is_state_change {
            notification::state_change_is_told();
        }
        let callback = (item.locks == Locks::Callback).then(lock::acquire_callback);
        let start_io = (item.locks == Locks::StartIo).then(|| lock::acquire(START_IO_LOCK, 0));
        call::driver(item.name, Stack::Dpc, item.routine, &item.arguments);
        if let Some(old) = start_io {
            lock::release(START_IO_LOCK, 0, old);
        }
        if let Some(locks) = callback {
            lock::release_callback(locks);
        }
        if is_state_change {
            notification::state_change_ends();
        }
    }
    smp::wake_self();
}
