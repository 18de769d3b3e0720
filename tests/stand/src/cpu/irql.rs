//! IRQL is the task priority register, as on Windows: CR8 holds off every interrupt whose vector's upper half is not
//! above it.

use core::arch::asm;

use super::percpu;

/// PASSIVE_LEVEL.
pub const PASSIVE: u8 = 0;
/// DISPATCH_LEVEL.
pub const DISPATCH: u8 = 2;

/// The current IRQL.
pub fn current() -> u8 {
    let level: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, cr8", out(reg) level, options(nostack, nomem, preserves_flags)) };
    level as u8
}

/// Sets the IRQL. Lowering it lets pending interrupts in at once.
pub fn set(level: u8) {
    if level < DISPATCH && percpu::started() {
        percpu::current().watchdog.rest();
    }
    // SAFETY: any value from 0 to 15 is a task priority; memory accesses must not move across it.
    unsafe { asm!("mov cr8, {}", in(reg) u64::from(level), options(nostack, preserves_flags)) };
}

/// Raises to a level and answers with the old one.
pub fn raise(level: u8) -> u8 {
    let old = current();
    if level > old {
        set(level);
    }
    old
}

/// Name of a level for messages.
pub fn name(level: u8) -> &'static str {
    match level {
        0 => "PASSIVE_LEVEL",
        1 => "APC_LEVEL",
        2 => "DISPATCH_LEVEL",
        13 => "CLOCK_LEVEL",
        15 => "HIGH_LEVEL",
        _ => "DIRQL",
    }
}
