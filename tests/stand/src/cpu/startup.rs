//! Starting the other processors, and what each does from then on.

use super::percpu::{self, PROCESSORS};
use super::{apic, clock, descriptors, smp};
use crate::kernel::processor;
use crate::memory::{self, arena, paging};
use crate::storport::queue;

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
        let number = smp::count();
        let words =
            [paging::root(), descriptors::stack(128 << 10), u64::from(number), begin as *const () as u64];
        for (index, word) in words.into_iter().enumerate() {
            // SAFETY: as above.
            unsafe { parameters.add(index).write_unaligned(word) };
        }
        apic::send_init(u32::from(*apic));
        clock::stall(200);
        let mut tries = 0;
        while smp::count() == number {
            if tries == 20 {
                crate::stop!("processor with APIC id {apic} does not start");
            }
            if tries < 2 {
                apic::send_startup(u32::from(*apic), (TRAMPOLINE >> 12) as u8);
            }
            tries += 1;
            for _ in 0..1000 {
                if smp::count() != number {
                    break;
                }
                clock::stall(100);
            }
        }
    }
    paging::unmap(TRAMPOLINE);
    smp::forget_everywhere();
}

/// First Rust code of the other processors.
unsafe extern "C" fn begin(number: u32) -> ! {
    percpu::start(number, arena::stack);
    descriptors::start(number);
    apic::start_other();
    smp::join(processor::place(number).1);
    super::enable_interrupts();
    loop {
        queue::pump();
        smp::wait();
    }
}
