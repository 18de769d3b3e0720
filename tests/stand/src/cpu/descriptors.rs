//! Segments and task state of each processor, and the interrupt table of all.

use core::arch::asm;

use super::percpu::{self, PROCESSORS};
use super::{interrupt, vector};

/// Interrupt stack table slots. Interrupts enter on a stack that they leave while interrupts are still off; a fault or
/// an NMI may come anywhere.
#[derive(Clone, Copy)]
enum Ist {
    Entry = 1,
    Fault = 2,
    Nmi = 3,
}

const IST_STACK: usize = 32 << 10;

#[repr(C, packed(4))]
#[derive(Clone, Copy)]
struct TaskState {
    reserved0: u32,
    rsp: [u64; 3],
    reserved1: u64,
    ist: [u64; 7],
    reserved2: u64,
    reserved3: u16,
    io_map: u16,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Gate {
    low: u16,
    selector: u16,
    ist: u8,
    kind: u8,
    middle: u16,
    high: u32,
    reserved: u32,
}

const TASK: TaskState = TaskState {
    reserved0: 0,
    rsp: [0; 3],
    reserved1: 0,
    ist: [0; 7],
    reserved2: 0,
    reserved3: 0,
    io_map: 104,
};
static mut TASKS: [TaskState; PROCESSORS] = [TASK; PROCESSORS];
static mut SEGMENTS: [[u64; 5]; PROCESSORS] =
    [[0, 0x00AF_9A00_0000_FFFF, 0x00CF_9200_0000_FFFF, 0, 0]; PROCESSORS];
static mut GATES: [Gate; 256] =
    [Gate { low: 0, selector: 0, ist: 0, kind: 0, middle: 0, high: 0, reserved: 0 }; 256];

#[repr(C, packed(2))]
struct TablePointer {
    limit: u16,
    base: u64,
}

/// A stack of the host's; the address of its top.
pub fn stack(bytes: usize) -> u64 {
    (alloc::vec![0u8; bytes].leak().as_ptr_range().end as u64) & !15
}

/// Fills the interrupt table, once, before any processor loads it.
fn fill_gates() {
    let gates = &raw mut GATES;
    // SAFETY: called by the first processor before interrupts are let in and before any other runs.
    let gates = unsafe { &mut *gates };
    for (vector, gate) in gates.iter_mut().enumerate() {
        let stub = interrupt::stub(vector);
        let ist = match vector {
            v if v == usize::from(vector::NMI_VECTOR) => Ist::Nmi,
            0..32 => Ist::Fault,
            vector::FAST_FAIL => Ist::Fault,
            _ => Ist::Entry,
        };
        *gate = Gate {
            low: stub as u16,
            selector: 8,
            ist: ist as u8,
            kind: 0x8E,
            middle: (stub >> 16) as u16,
            high: (stub >> 32) as u32,
            reserved: 0,
        };
    }
}

/// Gives this processor its segments, its stacks for interrupts, and the interrupt table.
pub fn start(number: u32) {
    if number == 0 {
        fill_gates();
    }
    let (tasks, segments, gates) = (&raw mut TASKS, &raw mut SEGMENTS, &raw const GATES);
    // SAFETY: each processor takes the entries of its own number, once.
    let (task, segments) = unsafe { (&mut (*tasks)[number as usize], &mut (*segments)[number as usize]) };
    let mut ist = [0u64; 7];
    for slot in [Ist::Entry, Ist::Fault, Ist::Nmi] {
        ist[slot as usize - 1] = stack(IST_STACK);
    }
    task.ist = ist;
    percpu::current().interrupt_stack = stack(interrupt::INTERRUPT_STACK + 16);
    let task = &raw const *task as u64;
    segments[3] = 103 | (task & 0xFF_FFFF) << 16 | 0x89 << 40 | (task >> 24 & 0xFF) << 56;
    segments[4] = task >> 32;
    let gdt = TablePointer { limit: 39, base: &raw const *segments as u64 };
    let idt = TablePointer { limit: 4095, base: gates as u64 };
    // SAFETY: both tables live for ever; the code and data segments are the ones already loaded.
    unsafe {
        asm!("lgdt [{}]", in(reg) &raw const gdt, options(readonly, nostack));
        asm!("lidt [{}]", in(reg) &raw const idt, options(readonly, nostack));
        asm!("ltr {:x}", in(reg) 24u16, options(nostack));
    }
}
