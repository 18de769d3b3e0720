//! A crash: every other processor stops where it is, in the middle of whatever it does, and never goes on.
//!
//! They are stopped by an NMI, as KeBugCheckEx does it, so also at a high IRQL, in an interrupt routine, or holding the port
//! driver's locks. Only the stand's own locks they must not take with them: the processor that goes on needs them. One
//! that holds or wants one stops when it has let go of the last.

use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};

use super::percpu::{self, PROCESSORS};
use super::{halt_for_ever, translations};

/// The processor that goes on, plus one; 0 when all do.
static SURVIVOR: AtomicU32 = AtomicU32::new(0);
/// Locks of the stand that a processor holds or waits for.
static LOCKS: [AtomicU32; PROCESSORS] = [const { AtomicU32::new(0) }; PROCESSORS];
/// Where each stopped: its instruction pointer, 0 in the stand's own code.
static PLACES: [AtomicU64; PROCESSORS] = [const { AtomicU64::new(0) }; PROCESSORS];
/// The callback each was in: points into the block of a processor that never goes on; null outside the driver.
static CALLBACKS: [AtomicPtr<&'static str>; PROCESSORS] =
    [const { AtomicPtr::new(core::ptr::null_mut()) }; PROCESSORS];
static STOPPED: [AtomicBool; PROCESSORS] = [const { AtomicBool::new(false) }; PROCESSORS];

/// This processor wants a lock of the stand's. Interrupts are off.
pub fn wants_lock(me: u32) {
    LOCKS[me as usize].fetch_add(1, Ordering::SeqCst);
}

/// This processor has given back what it wanted.
pub fn gave_back(me: u32) {
    if LOCKS[me as usize].fetch_sub(1, Ordering::SeqCst) == 1 {
        stop_if_asked(me, 0);
    }
}

/// Whether a processor was stopped.
pub fn crashed() -> bool {
    SURVIVOR.load(Ordering::SeqCst) != 0
}

/// The NMI of a crash: stops this processor if it is meant. `false` when it is for somebody else.
pub fn interrupted(rip: u64) -> bool {
    let survivor = SURVIVOR.load(Ordering::SeqCst);
    if survivor == 0 || survivor == percpu::number() + 1 {
        return false;
    }
    let me = percpu::number();
    if LOCKS[me as usize].load(Ordering::SeqCst) == 0 {
        stop_if_asked(me, rip);
    }
    true
}

fn stop_if_asked(me: u32, rip: u64) {
    let survivor = SURVIVOR.load(Ordering::SeqCst);
    if survivor == 0 || survivor == me + 1 {
        return;
    }
    PLACES[me as usize].store(rip, Ordering::SeqCst);
    let cpu = percpu::current();
    if cpu.depth > 0 {
        CALLBACKS[me as usize].store(&raw mut cpu.calls[cpu.depth - 1].name, Ordering::SeqCst);
    }
    translations::forgets_nothing();
    STOPPED[me as usize].store(true, Ordering::SeqCst);
    loop {
        halt_for_ever();
    }
}

/// The callback that a stopped processor is in.
fn callback(number: u32) -> &'static str {
    let name = CALLBACKS[number as usize].load(Ordering::SeqCst);
    if name.is_null() {
        return "no callback";
    }
    // SAFETY: it points into the block of a processor that has stopped for ever, so nobody writes there any more.
    unsafe { *name }
}

/// Stops every other processor of `count`, by an NMI to each; answers with each one's number, where it was, and in which callback.
pub fn stop_others(count: u32, nmi: impl Fn(u32)) -> impl Iterator<Item = (u32, u64, &'static str)> {
    let me = percpu::number();
    SURVIVOR.store(me + 1, Ordering::SeqCst);
    for number in (0..count).filter(|number| *number != me) {
        nmi(number);
    }
    for number in (0..count).filter(|number| *number != me) {
        while !STOPPED[number as usize].load(Ordering::SeqCst) {
            translations::forget();
            core::hint::spin_loop();
        }
    }
    (0..count)
        .filter(move |number| *number != me)
        .map(|number| (number, PLACES[number as usize].load(Ordering::SeqCst), callback(number)))
}
