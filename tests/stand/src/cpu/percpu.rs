//! What each processor has of its own. GS points to it, as it does to the KPCR on Windows, and the fields that inline
//! functions of drivers read (processor number) are where they expect them.

use stand::watchdog::Watchdog;

use super::{irql, read_msr, write_msr};

/// Most processors.
pub const PROCESSORS: usize = 64;

/// Driver code runs on stacks of this size with an unmapped page below: what is left to a driver on a kernel stack.
pub const DRIVER_STACK: u64 = 12 << 10;
/// Deepest nesting of calls into the driver (thread, DPC, ISR, and callbacks of each).
pub const CALLS: usize = 16;
/// Most locks held at once.
pub const LOCKS: usize = 8;
/// Lowest and highest level of device interrupts, each with a stack of its own: they nest.
const DEVICE_LEVELS: core::ops::RangeInclusive<u8> = 5..=9;
/// Driver stacks of a processor: thread, DPC, one for each level of device interrupts.
pub const STACKS: usize = 2 + 5;

/// Which stack a call into the driver runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stack {
    /// System thread: start-up, BuildIo, StartIo.
    Thread,
    /// DPCs and timers.
    Dpc,
    /// Interrupt service routines, on the stack of the interrupt's level.
    Isr(u8),
    /// Called back from an import: the stack the driver is already on.
    Nested,
}

/// A call into the driver under way.
#[derive(Clone, Copy)]
pub struct Call {
    /// Callback name.
    pub name: &'static str,
    /// Tick at entry, or of the last wait that the DPC watchdog counted.
    pub started: u64,
    /// Instructions of the driver so far, when they are counted.
    pub instructions: u64,
    /// Microseconds that it has waited at DISPATCH_LEVEL or above, for the DPC watchdog: with all that interrupted it.
    pub waited: u64,
    /// The same of its own, and of what it had called back.
    pub stalled: u64,
    /// Called back from an import.
    pub nested: bool,
    /// Locks held at entry.
    pub locks: usize,
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
    /// Stack pointer of the host code that called the driver (offset 0x200, used by call.rs and import.rs).
    pub host_stack: u64,
    /// Stack pointer of the driver at its last import (offset 0x208, used by import.rs).
    pub driver_stack: u64,
    /// Top of the host's stack for interrupts (offset 0x210, used by interrupt.rs).
    pub interrupt_stack: u64,
    /// Interrupts under way on that stack (offset 0x218, used by interrupt.rs).
    pub interrupts: u64,
    /// Not 0 when the driver's instructions are counted (offset 0x220, used by call.rs and import.rs).
    pub trace: u64,
    /// Tops of the driver stacks; see [`PerCpu::top`].
    pub tops: [u64; STACKS],
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
    /// Waits at DISPATCH_LEVEL or above.
    pub watchdog: Watchdog,
}

const NO_CALL: Call =
    Call { name: "", started: 0, instructions: 0, waited: 0, stalled: 0, nested: false, locks: 0 };

impl PerCpu {
    const fn new() -> Self {
        PerCpu {
            kpcr: [0; 64],
            host_stack: 0,
            driver_stack: 0,
            interrupt_stack: 0,
            interrupts: 0,
            trace: 0,
            tops: [0; STACKS],
            number: 0,
            apic: 0,
            calls: [NO_CALL; CALLS],
            depth: 0,
            held: [None; LOCKS],
            locks: 0,
            in_isr: false,
            in_dpc: false,
            watchdog: Watchdog::NEW,
        }
    }

    /// Top of the driver stack for a kind of call; a nested call has none of its own.
    pub fn top(&self, stack: Stack) -> Option<u64> {
        let index = match stack {
            Stack::Thread => 0,
            Stack::Dpc => 1,
            Stack::Isr(level) => {
                let (first, last) = (*DEVICE_LEVELS.start(), *DEVICE_LEVELS.end());
                2 + usize::from(level.clamp(first, last) - first)
            }
            Stack::Nested => return None,
        };
        Some(self.tops[index])
    }

    /// Whether an address lies on one of the driver's stacks of this processor.
    pub fn is_driver_stack(&self, address: u64) -> bool {
        self.tops.iter().any(|top| (top - DRIVER_STACK..*top).contains(&address))
    }
}

const _: () = assert!(core::mem::offset_of!(PerCpu, host_stack) == 0x200);
const _: () = assert!(core::mem::offset_of!(PerCpu, driver_stack) == 0x208);
const _: () = assert!(core::mem::offset_of!(PerCpu, interrupt_stack) == 0x210);
const _: () = assert!(core::mem::offset_of!(PerCpu, interrupts) == 0x218);
const _: () = assert!(core::mem::offset_of!(PerCpu, trace) == 0x220);

/// One block per processor. Each is reached through its own GS only; what others may look at is in `smp`.
static mut BLOCKS: [PerCpu; PROCESSORS] = [const { PerCpu::new() }; PROCESSORS];
const GS_BASE: u32 = 0xC000_0101;

/// Sets up this processor's block. `stack` makes a driver stack of so many bytes.
pub fn start(number: u32, stack: fn(u64) -> u64) {
    let blocks = &raw mut BLOCKS;
    // SAFETY: each processor takes the block of its own number, once.
    let block = unsafe { &mut (*blocks)[number as usize] };
    let address = &raw const *block as u64;
    block.number = number;
    // KPCR.Self and KPCR.CurrentPrcb (embedded at 0x180 on x64).
    block.kpcr[0x18 / 8] = address;
    block.kpcr[0x20 / 8] = address + 0x180;
    for top in &mut block.tops {
        *top = stack(DRIVER_STACK);
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

/// Tells drivers that read the KPCR themselves what the processor's number in its group is.
pub fn set_number_in_group(number: u8) {
    current().kpcr[0x184 / 8] = u64::from(number) << 32;
}

/// Whether this processor may wait for an interrupt: it is at PASSIVE_LEVEL, outside of interrupts.
pub fn may_wait() -> bool {
    irql::current() == irql::PASSIVE && current().interrupts == 0
}

/// The callback the driver is in, for messages.
pub fn current_callback() -> &'static str {
    if !started() {
        return "no callback";
    }
    let cpu = current();
    match cpu.depth {
        0 => "no callback",
        depth => cpu.calls[depth - 1].name,
    }
}
