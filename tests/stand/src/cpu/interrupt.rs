//! Interrupt stubs and what each vector means.
//!
//! Vectors are chosen as on Windows: the upper half is the IRQL. DPCs are the software interrupt of DISPATCH_LEVEL, sent
//! by a processor to itself or to another, so that they run as soon as the IRQL falls below it.
//!
//! Interrupts nest: a handler runs at its vector's IRQL with interrupts on. The processor enters on a small stack of its
//! own (IST), which the entry code leaves at once for the processor's interrupt stack, below whatever is there.

use core::arch::global_asm;
use core::sync::atomic::{AtomicU64, Ordering};

use super::{apic, backtrace, clock, fault, freeze, irql, percpu, smp, trace};

/// Software interrupt for DPCs, IRQL 2.
pub const DPC_VECTOR: u8 = 0x2F;
/// `int 29h`: a program stops itself (RtlFailFast).
pub const FAST_FAIL: usize = 0x29;
/// First vector of message interrupts, IRQL 5 and up.
pub const FIRST_MESSAGE: u8 = 0x50;
/// Most messages one adapter gets.
pub const MESSAGES: u8 = 64;
/// Line interrupt (INTx), IRQL 9.
pub const LINE_VECTOR: u8 = 0x90;
/// Clock, IRQL 13.
pub const CLOCK_VECTOR: u8 = 0xD1;
/// A processor has something to look at, IRQL 3.
pub const WAKE_VECTOR: u8 = 0x30;
/// Translations have to be forgotten, IRQL 14 (IPI_LEVEL).
pub const FLUSH_VECTOR: u8 = 0xE1;
/// Stand still, IRQL 14.
pub const STILL_VECTOR: u8 = 0xE2;
/// Bytes of the host's interrupt stack.
pub const INTERRUPT_STACK: usize = 192 << 10;
/// Non-maskable interrupt.
pub const NMI_VECTOR: u8 = 2;
const SPURIOUS_VECTOR: u8 = 0xFF;

global_asm!(
    r#"
.text
.balign 16
.global interrupt_stubs
interrupt_stubs:
.set vector, 0
.rept 256
    .if (vector == 8) || (vector >= 10 && vector <= 14) || (vector == 17) || (vector == 21) || (vector == 29) || (vector == 30)
    .else
    push 0
    .endif
    push vector
    jmp interrupt_entry
    .balign 16
    .set vector, vector + 1
.endr

interrupt_entry:
    push rax
    push rcx
    push rdx
    push rbx
    push rbp
    push rsi
    push rdi
    push r8
    push r9
    push r10
    push r11
    push r12
    push r13
    push r14
    push r15
    cld
    mov rbx, rsp
    # Exceptions, NMI and int 29h end the run or return at once: they stay where they are.
    cmp qword ptr [rbx + 15 * 8], 0x29
    jbe 4f
    # Which part of the interrupt stack is free: below the interrupted host code if it runs there; below the call into
    # the driver if that came from there; else all of it.
    mov rax, [rbx + 20 * 8]
    mov rcx, gs:[0x210]
    lea rdx, [rcx - {size}]
    cmp rax, rdx
    jb 2f
    cmp rax, rcx
    ja 2f
    mov rcx, rax
    jmp 3f
2:  cmp qword ptr gs:[0x218], 0
    je 3f
    mov rcx, gs:[0x200]
3:  lea rdi, [rcx - 22 * 8]
    and rdi, -16
    mov rsp, rdi
    mov rsi, rbx
    mov ecx, 22
    rep movsq
    mov rbx, rsp
    inc qword ptr gs:[0x218]
    call 5f
    dec qword ptr gs:[0x218]
    jmp 6f
4:  call 5f
    jmp 6f

    # The driver uses XMM registers like any x64 program; the handlers may call it again.
5:  push rbp
    mov rbp, rsp
    sub rsp, 512
    and rsp, -16
    fxsave64 [rsp]
    mov rdi, rbx
    call {dispatch}
    fxrstor64 [rsp]
    mov rsp, rbp
    pop rbp
    ret

6:  mov rsp, rbx
    pop r15
    pop r14
    pop r13
    pop r12
    pop r11
    pop r10
    pop r9
    pop r8
    pop rdi
    pop rsi
    pop rbp
    pop rbx
    pop rdx
    pop rcx
    pop rax
    add rsp, 16
    iretq
"#,
    dispatch = sym dispatch,
    size = const INTERRUPT_STACK,
);

unsafe extern "C" {
    static interrupt_stubs: u8;
}

/// Address of a vector's stub.
pub fn stub(vector: usize) -> u64 {
    &raw const interrupt_stubs as u64 + 16 * vector as u64
}

/// Registers at an interrupt, as the stub pushed them.
#[repr(C)]
pub struct Frame {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rdi: u64,
    pub rsi: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub rdx: u64,
    pub rcx: u64,
    pub rax: u64,
    pub vector: u64,
    pub error: u64,
    pub rip: u64,
    pub cs: u64,
    pub flags: u64,
    pub rsp: u64,
    pub ss: u64,
}

/// Device interrupts taken.
pub static DEVICE_INTERRUPTS: AtomicU64 = AtomicU64::new(0);

unsafe extern "C" fn dispatch(frame: &mut Frame) {
    let vector = frame.vector as u8;
    if vector == trace::VECTOR && trace::step(frame) {
        return;
    }
    if u64::from(vector) == fault::PAGE_FAULT && fault::goes_on(frame) {
        return;
    }
    let frame = &*frame;
    let _remembered = backtrace::interrupted(frame);
    match vector {
        NMI_VECTOR if freeze::interrupted(frame.rip) => {}
        NMI_VECTOR => clock::watchdog(frame),
        0..32 => fault::exception(frame),
        v if usize::from(v) == FAST_FAIL => fault::fast_fail(frame),
        SPURIOUS_VECTOR => {}
        WAKE_VECTOR => apic::end_of_interrupt(),
        FLUSH_VECTOR => {
            smp::forget_translations();
            apic::end_of_interrupt();
        }
        STILL_VECTOR => {
            smp::stand_still();
            apic::end_of_interrupt();
        }
        DPC_VECTOR => {
            crate::report::interrupt(vector, frame.rip);
            let old = irql::raise(irql::DISPATCH);
            apic::end_of_interrupt();
            let outer = core::mem::replace(&mut percpu::current().in_dpc, true);
            super::enable_interrupts();
            crate::kernel::dpc::run();
            super::disable_interrupts();
            percpu::current().in_dpc = outer;
            irql::set(old);
        }
        CLOCK_VECTOR => {
            let old = irql::raise(CLOCK_VECTOR >> 4);
            clock::tick(frame);
            apic::end_of_interrupt();
            irql::set(old);
        }
        _ => {
            crate::report::interrupt(vector, frame.rip);
            let old = irql::raise(vector >> 4);
            DEVICE_INTERRUPTS.fetch_add(1, Ordering::Relaxed);
            let outer = core::mem::replace(&mut percpu::current().in_isr, true);
            super::enable_interrupts();
            crate::storport::interrupt::service(vector);
            super::disable_interrupts();
            percpu::current().in_isr = outer;
            apic::end_of_interrupt();
            irql::set(old);
        }
    }
}
