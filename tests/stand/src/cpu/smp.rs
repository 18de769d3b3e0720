//! More than one processor: starting them, waking them, and making them forget translations.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use super::percpu::{self, PROCESSORS};
use super::{InterruptsOff, apic, clock, descriptors, irql};
use crate::memory::{self, paging};

/// What other processors may see of one.
struct Shared {
    online: AtomicBool,
    apic: AtomicU32,
    /// Something happened that its thread should look at.
    wake: AtomicBool,
    /// Its thread waits for an interrupt.
    waiting: AtomicBool,
    /// Translations it has forgotten; see [`GENERATION`].
    forgotten: AtomicU64,
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
        forgotten: AtomicU64::new(0),
        ticks: AtomicU64::new(0),
        starting: AtomicBool::new(false),
    }
}; PROCESSORS];
static ONLINE: AtomicU32 = AtomicU32::new(0);
/// Counts how often translations had to be forgotten.
static GENERATION: AtomicU64 = AtomicU64::new(0);

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

/// Tells that this processor is at work.
pub fn join() {
    let me = mine();
    percpu::set_number_in_group(crate::kernel::processor::place(percpu::number()).1);
    me.apic.store(percpu::current().apic, Ordering::Relaxed);
    me.forgotten.store(GENERATION.load(Ordering::Acquire), Ordering::Release);
    me.online.store(true, Ordering::Release);
    ONLINE.fetch_add(1, Ordering::AcqRel);
}

unsafe extern "C" {
    static ap_code_start: u8;
    static ap_code_end: u8;
}

/// Where the other processors begin, in real mode: any free page below 1 MiB will do.
const TRAMPOLINE: u64 = 0x8000;

/// Starts the processors with these local APIC ids, one after the other: INIT, then STARTUP (Intel SDM volume 3 §10.4.4).
pub fn start(processors: &[u8]) {
    let me = percpu::current().apic;
    let (code, end) = (&raw const ap_code_start as u64, &raw const ap_code_end as u64);
    let length = (end - code) as usize;
    // SAFETY: the page is RAM that nothing else uses once the firmware is done; the code's parameters are its last
    // four words.
    let parameters = unsafe {
        core::ptr::copy_nonoverlapping(code as *const u8, memory::window(TRAMPOLINE), length);
        memory::window(TRAMPOLINE + length as u64 - 32).cast::<u64>()
    };
    paging::map(TRAMPOLINE, TRAMPOLINE, paging::Flags::CODE);
    for apic in processors.iter().filter(|apic| u32::from(**apic) != me).take(PROCESSORS - 1) {
        let number = count();
        let words =
            [paging::root(), descriptors::stack(128 << 10), u64::from(number), begin as *const () as u64];
        for (index, word) in words.into_iter().enumerate() {
            // SAFETY: as above.
            unsafe { parameters.add(index).write_unaligned(word) };
        }
        apic::send_init(u32::from(*apic));
        clock::stall(200);
        let mut tries = 0;
        while count() == number {
            if tries == 20 {
                crate::stop!("processor with APIC id {apic} does not start");
            }
            if tries < 2 {
                apic::send_startup(u32::from(*apic), (TRAMPOLINE >> 12) as u8);
            }
            tries += 1;
            for _ in 0..1000 {
                if count() != number {
                    break;
                }
                clock::stall(100);
            }
        }
    }
    paging::unmap(TRAMPOLINE);
    forget_everywhere();
}

/// First Rust code of the other processors.
unsafe extern "C" fn begin(number: u32) -> ! {
    percpu::start(number);
    descriptors::start(number);
    apic::start_other();
    join();
    super::enable_interrupts();
    loop {
        crate::storport::queue::pump();
        wait();
    }
}

/// Has every processor's thread look at what is new.
pub fn wake_all() {
    let me = percpu::number();
    for number in 0..count() {
        let other = &SHARED[number as usize];
        other.wake.store(true, Ordering::SeqCst);
        if number != me && other.waiting.load(Ordering::SeqCst) {
            apic::send(apic_id(number), super::vector::WAKE_VECTOR);
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

/// Forgets what this page and others were translated to, on this processor; answers to the one that asked.
pub fn forget_translations() {
    if !percpu::started() {
        return;
    }
    let _quiet = InterruptsOff::new();
    let generation = GENERATION.load(Ordering::Acquire);
    let me = mine();
    if me.forgotten.load(Ordering::Relaxed) != generation {
        paging::flush_all();
        me.forgotten.store(generation, Ordering::Release);
    }
}

/// This processor stops for ever: nobody waits for it to forget translations.
pub fn forgets_nothing() {
    mine().forgotten.store(u64::MAX, Ordering::Release);
}

/// Makes every processor forget translations, and waits until they have. A processor that waits for a lock of the
/// stand with interrupts off does so as well.
pub fn forget_everywhere() {
    let count = count();
    if count == 1 {
        return;
    }
    let _quiet = InterruptsOff::new();
    let generation = GENERATION.fetch_add(1, Ordering::AcqRel) + 1;
    let me = percpu::number();
    forget_translations();
    for number in (0..count).filter(|number| *number != me) {
        if SHARED[number as usize].forgotten.load(Ordering::Acquire) < generation {
            apic::send(apic_id(number), super::vector::FLUSH_VECTOR);
        }
    }
    for number in (0..count).filter(|number| *number != me) {
        let mut spins = 0u64;
        while SHARED[number as usize].forgotten.load(Ordering::Acquire) < generation {
            forget_translations();
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
        apic::send(apic_id(number), super::vector::STILL_VECTOR);
    }
    while STILL.load(Ordering::SeqCst) != count - 1 {
        forget_translations();
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
        forget_translations();
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
