//! Segments, task state and interrupt table of the processor.

use core::arch::asm;

use super::interrupt;

/// Interrupt stack table slots. Device interrupts run with interrupts off, so they need one stack; a DPC interrupt lets
/// device interrupts in, so it has its own; a fault or an NMI may come anywhere.
#[derive(Clone, Copy)]
enum Ist {
    Device = 1,
    Dpc = 2,
    Fault = 3,
    Nmi = 4,
}

const HOST_STACK: usize = 128 << 10;

#[repr(align(16))]
struct HostStack([u8; HOST_STACK]);

#[repr(C, packed(4))]
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

static mut STACKS: [HostStack; 4] = [const { HostStack([0; HOST_STACK]) }; 4];
static mut TASK: TaskState = TaskState {
    reserved0: 0,
    rsp: [0; 3],
    reserved1: 0,
    ist: [0; 7],
    reserved2: 0,
    reserved3: 0,
    io_map: 104,
};
static mut SEGMENTS: [u64; 5] = [0, 0x00AF_9A00_0000_FFFF, 0x00CF_9200_0000_FFFF, 0, 0];
static mut GATES: [Gate; 256] =
    [Gate { low: 0, selector: 0, ist: 0, kind: 0, middle: 0, high: 0, reserved: 0 }; 256];

#[repr(C, packed(2))]
struct TablePointer {
    limit: u16,
    base: u64,
}

/// Loads the tables of the first processor.
pub fn start() {
    let (stacks, task, segments, gates) = (&raw mut STACKS, &raw mut TASK, &raw mut SEGMENTS, &raw mut GATES);
    // SAFETY: called once, before interrupts are let in and before any other processor runs, so these are the only
    // references there ever are.
    let (stacks, task, segments, gates) = unsafe { (&mut *stacks, &mut *task, &mut *segments, &mut *gates) };
    let mut ist = [0u64; 7];
    for (slot, stack) in ist.iter_mut().zip(stacks.iter()) {
        *slot = &raw const stack.0 as u64 + HOST_STACK as u64;
    }
    task.ist = ist;
    let task = &raw const *task as u64;
    segments[3] = 103 | (task & 0xFF_FFFF) << 16 | 0x89 << 40 | (task >> 24 & 0xFF) << 56;
    segments[4] = task >> 32;
    for (vector, gate) in gates.iter_mut().enumerate() {
        let stub = interrupt::stub(vector);
        let ist = match vector {
            v if v == usize::from(interrupt::NMI_VECTOR) => Ist::Nmi,
            0..32 => Ist::Fault,
            interrupt::FAST_FAIL => Ist::Fault,
            v if v == usize::from(interrupt::DPC_VECTOR) => Ist::Dpc,
            _ => Ist::Device,
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
    let gdt = TablePointer { limit: 39, base: &raw const *segments as u64 };
    let idt = TablePointer { limit: 4095, base: &raw const *gates as u64 };
    // SAFETY: both tables live for ever; the code and data segments are the ones already loaded.
    unsafe {
        asm!("lgdt [{}]", in(reg) &raw const gdt, options(readonly, nostack));
        asm!("lidt [{}]", in(reg) &raw const idt, options(readonly, nostack));
        asm!("ltr {:x}", in(reg) 24u16, options(nostack));
    }
}
