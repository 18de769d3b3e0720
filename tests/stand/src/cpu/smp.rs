//! More than one processor: which there are, waking them, having them stand still or forget translations.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use super::percpu::{self, PROCESSORS};
use super::{InterruptsOff, apic, irql, translations, vector};

/// What other processors may see of one.
struct Shared {
    online: AtomicBool,
    apic: AtomicU32,
    /// Something happened that its thread should look at.
    wake: AtomicBool,
    /// Its thread waits for an interrupt.
    waiting: AtomicBool,
    /// Clock interrupts it has taken.
    ticks: AtomicU64,
    /// Its thread is in HwStorBuildIo or HwStorStartIo.
    starting: AtomicBool,
}

static SHARED: [Shared; PROCESSORS] = [const {
    Shared {
        online: AtomicBool::new(false),
        apic: AtomicU32::new(0),
        wake: AtomicBool::new(false),
        waiting: AtomicBool::new(false),
        ticks: AtomicU64::new(0),
        starting: AtomicBool::new(false),
    }
}; PROCESSORS];
static ONLINE: AtomicU32 = AtomicU32::new(0);

fn mine() -> &'static Shared {
    &SHARED[percpu::number() as usize]
}

/// Processors at work. They are numbered from 0 on.
pub fn count() -> u32 {
    ONLINE.load(Ordering::Acquire).max(1)
}

/// Local APIC id of a processor.
pub fn apic_id(number: u32) -> u32 {
    SHARED[number as usize].apic.load(Ordering::Relaxed)
}

/// Tells that this processor is at work; drivers see the number in its group.
pub fn join(number_in_group: u8) {
    let me = mine();
    percpu::set_number_in_group(number_in_group);
    me.apic.store(percpu::current().apic, Ordering::Relaxed);
    translations::join();
    me.online.store(true, Ordering::Release);
    ONLINE.fetch_add(1, Ordering::AcqRel);
}

/// Has every processor's thread look at what is new.
pub fn wake_all() {
    let me = percpu::number();
    for number in 0..count() {
        let other = &SHARED[number as usize];
        other.wake.store(true, Ordering::SeqCst);
        if number != me && other.waiting.load(Ordering::SeqCst) {
            apic::send(apic_id(number), vector::WAKE_VECTOR);
        }
    }
}

/// Has this processor's thread look at what is new.
pub fn wake_self() {
    mine().wake.store(true, Ordering::SeqCst);
}

/// Waits for an interrupt unless something happened since the last wait.
pub fn wait() {
    debug_assert!(percpu::may_wait());
    let me = mine();
    super::disable_interrupts();
    me.waiting.store(true, Ordering::SeqCst);
    if me.wake.swap(false, Ordering::SeqCst) {
        super::enable_interrupts();
    } else {
        super::wait_for_interrupt();
    }
    me.waiting.store(false, Ordering::SeqCst);
}

/// Makes every processor forget translations, and waits until they have. A processor that waits for a lock of the
/// stand with interrupts off does so as well.
pub fn forget_everywhere() {
    let count = count();
    if count == 1 {
        return;
    }
    let _quiet = InterruptsOff::new();
    let generation = translations::outdate();
    let me = percpu::number();
    translations::forget();
    for number in (0..count).filter(|number| *number != me) {
        if !translations::are_forgotten(number, generation) {
            apic::send(apic_id(number), vector::FLUSH_VECTOR);
        }
    }
    for number in (0..count).filter(|number| *number != me) {
        let mut spins = 0u64;
        while !translations::are_forgotten(number, generation) {
            translations::forget();
            core::hint::spin_loop();
            spins += 1;
            if spins == 4_000_000_000 {
                crate::stop!("processor {number} holds interrupts off and does not answer");
            }
        }
    }
}

/// Processors that stand still, and whether they shall.
static STILL: AtomicU32 = AtomicU32::new(0);
static STAND_STILL: AtomicBool = AtomicBool::new(false);

/// Does something while every other processor stands still, away from any device register. QEMU's emulation with a
/// thread per processor must not change its map of addresses while another processor uses it
/// (`iotlb_to_section: Assertion … failed`). The caller holds no lock.
pub fn alone(action: impl FnOnce()) {
    let (count, me) = (count(), percpu::number());
    STAND_STILL.store(true, Ordering::SeqCst);
    for number in (0..count).filter(|number| *number != me) {
        apic::send(apic_id(number), vector::STILL_VECTOR);
    }
    while STILL.load(Ordering::SeqCst) != count - 1 {
        translations::forget();
        core::hint::spin_loop();
    }
    action();
    STAND_STILL.store(false, Ordering::SeqCst);
    while STILL.load(Ordering::SeqCst) != 0 {
        core::hint::spin_loop();
    }
}

/// Stands still until told otherwise.
pub fn stand_still() {
    STILL.fetch_add(1, Ordering::SeqCst);
    while STAND_STILL.load(Ordering::SeqCst) {
        translations::forget();
        core::hint::spin_loop();
    }
    // The emulator drops what it knew of the old map between two blocks of code; this gives it some.
    for _ in 0..64 {
        core::hint::spin_loop();
    }
    STILL.fetch_sub(1, Ordering::SeqCst);
}

/// Counts a clock interrupt of this processor.
pub fn ticked() {
    mine().ticks.fetch_add(1, Ordering::Relaxed);
}

/// Clock interrupts a processor has taken.
pub fn ticks(number: u32) -> u64 {
    SHARED[number as usize].ticks.load(Ordering::Relaxed)
}

/// Notes whether this processor's thread is starting a request.
pub fn set_starting(starting: bool) {
    mine().starting.store(starting, Ordering::SeqCst);
}

/// Whether any other processor's thread is starting a request.
pub fn others_are_starting() -> bool {
    let me = percpu::number();
    debug_assert!(irql::current() <= irql::DISPATCH);
    (0..count()).any(|number| number != me && SHARED[number as usize].starting.load(Ordering::SeqCst))
}
