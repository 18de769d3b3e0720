//! What each processor has of its own. GS points to it, as it does to the KPCR on Windows, and the fields that inline
//! functions of drivers read (processor number) are where they expect them.

use core::sync::atomic::{AtomicBool, Ordering};

use super::{read_msr, write_msr};
use crate::memory;

/// Driver code runs on stacks of this size with an unmapped page below: what is left to a driver on a kernel stack.
pub const DRIVER_STACK: u64 = 12 << 10;
/// Deepest nesting of calls into the driver (thread, DPC, ISR, and callbacks of each).
pub const CALLS: usize = 16;
/// Most locks held at once.
pub const LOCKS: usize = 8;

/// Which stack a call into the driver runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stack {
    /// System thread: start-up, BuildIo, StartIo.
    Thread,
    /// DPCs and timers.
    Dpc,
    /// Interrupt service routines.
    Isr,
    /// Called back from an import: the stack the driver is already on.
    Nested,
}

/// A call into the driver under way.
#[derive(Clone, Copy)]
pub struct Call {
    /// Callback name.
    pub name: &'static str,
    /// Tick at entry.
    pub started: u64,
}

/// A driver-visible lock that is held: its number and, for message locks, the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Kind of lock (`storport::lock::Kind` as a number).
    pub kind: u32,
    /// DPC object or message.
    pub object: u64,
}

/// The block GS points to.
#[repr(C, align(4096))]
pub struct PerCpu {
    /// The part laid out like a KPCR.
    kpcr: [u64; 64],
    /// Stack pointer of the host code that called the driver (offset 0x200, used by call.rs).
    pub host_stack: u64,
    /// Stack pointer of the driver at its last import (offset 0x208, used by call.rs).
    pub driver_stack: u64,
    /// Tops of the three driver stacks.
    pub tops: [u64; 3],
    /// Processor number.
    pub number: u32,
    /// Local APIC id.
    pub apic: u32,
    /// Calls into the driver under way.
    pub calls: [Call; CALLS],
    /// How many.
    pub depth: usize,
    /// Driver-visible locks held.
    pub held: [Option<Held>; LOCKS],
    /// How many.
    pub locks: usize,
    /// In an interrupt service routine.
    pub in_isr: bool,
    /// In a DPC.
    pub in_dpc: bool,
    /// Something happened that the waiting thread should look at.
    pub wake: AtomicBool,
}

const NO_CALL: Call = Call { name: "", started: 0 };

impl PerCpu {
    const fn new() -> Self {
        PerCpu {
            kpcr: [0; 64],
            host_stack: 0,
            driver_stack: 0,
            tops: [0; 3],
            number: 0,
            apic: 0,
            calls: [NO_CALL; CALLS],
            depth: 0,
            held: [None; LOCKS],
            locks: 0,
            in_isr: false,
            in_dpc: false,
            wake: AtomicBool::new(false),
        }
    }
}

const _: () = assert!(core::mem::offset_of!(PerCpu, host_stack) == 0x200);
const _: () = assert!(core::mem::offset_of!(PerCpu, driver_stack) == 0x208);

/// One block per processor. Each is reached through its own GS only, except for `wake`.
static mut BLOCKS: [PerCpu; 1] = [const { PerCpu::new() }; 1];
const GS_BASE: u32 = 0xC000_0101;

/// Sets up this processor's block.
pub fn start(number: u32) {
    let blocks = &raw mut BLOCKS;
    // SAFETY: each processor takes the block of its own number, once.
    let block = unsafe { &mut (*blocks)[number as usize] };
    let address = &raw const *block as u64;
    block.number = number;
    // KPCR.Self, KPCR.CurrentPrcb (embedded at 0x180 on x64) and the processor number in it.
    block.kpcr[0x18 / 8] = address;
    block.kpcr[0x20 / 8] = address + 0x180;
    block.kpcr[0x184 / 8] = u64::from(number) << 32;
    for top in &mut block.tops {
        *top = memory::arena::stack(DRIVER_STACK);
    }
    write_msr(GS_BASE, address);
}

/// The block of the processor this runs on. Callers on the same processor take turns: a nested context gives the block
/// back as it found it.
pub fn current() -> &'static mut PerCpu {
    let address: u64;
    // SAFETY: GS points to the block, whose third word is its own address.
    unsafe {
        core::arch::asm!("mov {}, gs:[0x18]", out(reg) address, options(nostack, readonly, preserves_flags));
        &mut *(address as *mut PerCpu)
    }
}

/// Number of this processor; 0 while only the first one runs and has no block yet.
pub fn number() -> u32 {
    if started() { current().number } else { 0 }
}

/// Whether this processor's block is set up (a fault can come before it is).
pub fn started() -> bool {
    read_msr(GS_BASE) != 0
}

/// Wakes the waiting thread.
pub fn wake() {
    current().wake.store(true, Ordering::Release);
}
