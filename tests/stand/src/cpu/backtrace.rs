//! The driver's stacks of this processor, as records that the runner unwinds and puts names to.
//!
//! Calls into the driver nest: an interrupt comes while StartIo runs, a DPC while an import of StartIo runs. Each call
//! under way left its host stack pointer behind (`call.rs`), and each is in one of two states. It is in an import: then
//! the import's entry saved the registers that the driver expects to get back. Or it was interrupted: then the interrupt
//! frame has all registers, and this file remembers where the frame is.
//!
//! Nothing here takes a lock or memory, because a rule may be found broken with any lock held.

use core::fmt;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::frame::Frame;
use super::percpu::{self, CALLS, DRIVER_STACK, PROCESSORS, PerCpu};
use crate::memory::PAGE;

/// Most interrupts that nest: thread, DPC, devices, clock, NMI and faults of each.
const NESTED: usize = 16;

/// The interrupts under way on one processor.
struct Interrupted {
    depth: AtomicUsize,
    /// Address of the frame, and the host stack pointer of the innermost call into the driver at that time.
    frames: [(AtomicU64, AtomicU64); NESTED],
}

static INTERRUPTED: [Interrupted; PROCESSORS] = [const {
    Interrupted {
        depth: AtomicUsize::new(0),
        frames: [const { (AtomicU64::new(0), AtomicU64::new(0)) }; NESTED],
    }
}; PROCESSORS];

/// Remembers an interrupt frame until dropped.
pub struct Remembered(usize);

/// An interrupt has come.
pub fn interrupted(frame: &Frame) -> Remembered {
    if !percpu::started() {
        return Remembered(PROCESSORS);
    }
    let cpu = percpu::current();
    let number = cpu.number as usize;
    if let Some(own) = INTERRUPTED.get(number) {
        // First the depth: an NMI in between takes the next place, not this one.
        let depth = own.depth.load(Ordering::Relaxed);
        own.depth.store(depth + 1, Ordering::Relaxed);
        if let Some((address, host)) = own.frames.get(depth) {
            address.store(&raw const *frame as u64, Ordering::Relaxed);
            host.store(cpu.host_stack, Ordering::Relaxed);
        }
    }
    Remembered(number)
}

impl Drop for Remembered {
    fn drop(&mut self) {
        if let Some(own) = INTERRUPTED.get(self.0) {
            own.depth.store(own.depth.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
        }
    }
}

/// The registers a call into the driver needs for unwinding.
struct Registers {
    /// `import`: RIP is a return address. `interrupt`: RIP is the next instruction, and every register is right.
    state: &'static str,
    rip: u64,
    rsp: u64,
    others: [(&'static str, u64); 14],
}

/// The top of the driver stack that an address is on. A page more: a stack that overflowed is wanted most of all.
fn top_of(cpu: &PerCpu, address: u64) -> Option<u64> {
    cpu.tops.iter().copied().find(|top| (top - DRIVER_STACK - PAGE..*top).contains(&address))
}

fn of_interrupt(frame: &Frame) -> Registers {
    Registers {
        state: "interrupt",
        rip: frame.rip,
        rsp: frame.rsp,
        others: [
            ("rbx", frame.rbx),
            ("rbp", frame.rbp),
            ("rsi", frame.rsi),
            ("rdi", frame.rdi),
            ("r12", frame.r12),
            ("r13", frame.r13),
            ("r14", frame.r14),
            ("r15", frame.r15),
            ("rax", frame.rax),
            ("rcx", frame.rcx),
            ("rdx", frame.rdx),
            ("r8", frame.r8),
            ("r9", frame.r9),
            ("r10", frame.r10),
        ],
    }
}

/// What `import_entry` pushed below the host stack pointer of a call, in its order.
fn of_import(cpu: &PerCpu, host: u64) -> Option<Registers> {
    let pushed = |index: u64| {
        // SAFETY: the host stack goes on below the frame of enter_driver for far more than these ten words; they are
        // only a guess until they are checked.
        unsafe { ((host - 8 * index) as *const u64).read() }
    };
    let rsp = pushed(3);
    let top = top_of(cpu, rsp).filter(|top| rsp >= top - DRIVER_STACK && rsp.is_multiple_of(8))?;
    if rsp + 8 > top {
        return None;
    }
    // SAFETY: it lies on a driver stack, above the guard page.
    let rip = unsafe { (rsp as *const u64).read() };
    let mut others = [("", 0); 14];
    let names =
        [("rdi", 1), ("rsi", 2), ("rbx", 5), ("rbp", 6), ("r12", 7), ("r13", 8), ("r14", 9), ("r15", 10)];
    for (other, (name, index)) in others.iter_mut().zip(names) {
        *other = (name, pushed(index));
    }
    Some(Registers { state: "import", rip, rsp: rsp + 8, others })
}

/// The interrupt frame of driver code that was interrupted within the call with this host stack pointer.
fn frame_of(cpu: &PerCpu, host: u64) -> Option<&'static Frame> {
    let own = INTERRUPTED.get(cpu.number as usize)?;
    let depth = own.depth.load(Ordering::Relaxed).min(NESTED);
    own.frames[..depth].iter().rev().find_map(|(address, key)| {
        let address = address.load(Ordering::Relaxed);
        if address == 0 || key.load(Ordering::Relaxed) != host {
            return None;
        }
        // SAFETY: the frame of an interrupt under way is on its stack until the interrupt returns.
        let frame = unsafe { &*(address as *const Frame) };
        top_of(cpu, frame.rsp).map(|_| frame)
    })
}

/// Gives a record for each call into the driver to `print`, the innermost first.
pub fn each(mut print: impl FnMut(fmt::Arguments<'_>)) {
    if !percpu::started() {
        return;
    }
    let cpu = percpu::current();
    let mut host = cpu.host_stack;
    let mut depth = cpu.depth.min(CALLS);
    while host != 0 && depth > 0 {
        depth -= 1;
        let callback = cpu.calls[depth].name;
        let registers = frame_of(cpu, host).map(of_interrupt).or_else(|| of_import(cpu, host));
        if let Some(registers) = registers {
            let top = top_of(cpu, registers.rsp).unwrap_or(registers.rsp);
            print(format_args!("{}", Stack { registers, top, callback }));
        }
        // SAFETY: enter_driver pushed the outer call's host stack pointer last.
        host = unsafe { (host as *const u64).read() };
    }
}

/// `stack STATE rip=… rsp=… at=ADDRESS BYTES CALLBACK`: the bytes are those of the stack from ADDRESS to its top.
struct Stack {
    registers: Registers,
    top: u64,
    callback: &'static str,
}

impl fmt::Display for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stack { registers, top, callback } = self;
        write!(f, "stack {} rip={:x} rsp={:x}", registers.state, registers.rip, registers.rsp)?;
        for (register, value) in registers.others.iter().filter(|(register, _)| !register.is_empty()) {
            write!(f, " {register}={value:x}")?;
        }
        let from = (registers.rsp & !7).max(top.saturating_sub(DRIVER_STACK)).min(*top);
        write!(f, " at={from:x} ")?;
        if from == *top {
            f.write_str("-")?;
        }
        for address in (from..*top).step_by(8) {
            // SAFETY: the driver stacks are mapped from their guard page to their top.
            let word = unsafe { (address as *const u64).read() };
            write!(f, "{:016x}", word.swap_bytes())?;
        }
        write!(f, " {callback}")
    }
}
