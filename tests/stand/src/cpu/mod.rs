//! The processors: their registers, IRQL, interrupts, clock, and the way into the driver and back.

pub mod apic;
pub mod arguments;
pub mod backtrace;
pub mod call;
pub mod clock;
pub mod descriptors;
pub mod fault;
pub mod frame;
pub mod freeze;
pub mod interrupt;
pub mod irql;
pub mod lock;
pub mod percpu;
pub mod port;
pub mod smp;
pub mod startup;
pub mod tick;
pub mod trace;
pub mod translations;
pub mod vector;

use core::arch::asm;

/// Reads the time stamp counter.
pub fn tsc() -> u64 {
    // SAFETY: no memory is touched.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Reads a model-specific register.
pub fn read_msr(register: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: only registers that exist on every x86-64 processor are asked for.
    unsafe {
        asm!("rdmsr", in("ecx") register, out("eax") low, out("edx") high, options(nostack, nomem, preserves_flags));
    }
    u64::from(high) << 32 | u64::from(low)
}

/// Writes a model-specific register.
pub fn write_msr(register: u32, value: u64) {
    // SAFETY: the callers write GS base and APIC base, with addresses that live for ever.
    unsafe {
        asm!("wrmsr", in("ecx") register, in("eax") value as u32, in("edx") (value >> 32) as u32,
            options(nostack, preserves_flags));
    }
}

/// Whether the interrupt flag is set.
pub fn interrupts_enabled() -> bool {
    let flags: u64;
    // SAFETY: reads the flags through the stack.
    unsafe { asm!("pushfq", "pop {}", out(reg) flags, options(preserves_flags)) };
    flags & 0x200 != 0
}

/// Lets interrupts in.
pub fn enable_interrupts() {
    // SAFETY: the interrupt table is loaded before the first call.
    unsafe { asm!("sti", options(nostack)) };
}

/// Keeps interrupts out.
pub fn disable_interrupts() {
    // SAFETY: keeping interrupts out is always allowed.
    unsafe { asm!("cli", options(nostack)) };
}

/// Lets interrupts in and waits for one. Atomic: an interrupt that was pending ends the wait.
pub fn wait_for_interrupt() {
    // SAFETY: the interrupt table is loaded, the clock ticks.
    unsafe { asm!("sti", "hlt", options(nostack)) };
}

/// Stops this processor.
pub fn halt_for_ever() {
    // SAFETY: nothing runs after this.
    unsafe { asm!("cli", "hlt", options(nostack)) };
}

/// Interrupts are off while this lives.
pub struct InterruptsOff(bool);

impl InterruptsOff {
    /// Turns interrupts off until dropped.
    pub fn new() -> Self {
        let enabled = interrupts_enabled();
        disable_interrupts();
        InterruptsOff(enabled)
    }
}

impl Drop for InterruptsOff {
    fn drop(&mut self) {
        if self.0 {
            enable_interrupts();
        }
    }
}
