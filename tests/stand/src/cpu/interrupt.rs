//! Interrupt stubs and what is done at each vector.
//!
//! Interrupts nest: a handler runs at its vector's IRQL with interrupts on. The processor enters on a small stack of its
//! own (IST), which the entry code leaves at once for the processor's interrupt stack, below whatever is there.

use core::arch::global_asm;

use super::frame::Frame;
use super::vector::{
    CLOCK_VECTOR, DPC_VECTOR, FAST_FAIL, FLUSH_VECTOR, NMI_VECTOR, SPURIOUS_VECTOR, STILL_VECTOR, WAKE_VECTOR,
};
use super::{apic, backtrace, fault, freeze, irql, percpu, smp, tick, trace, translations};

/// Bytes of the host's interrupt stack.
pub const INTERRUPT_STACK: usize = 192 << 10;
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
        NMI_VECTOR => tick::watchdog(frame),
        0..32 => fault::exception(frame),
        v if usize::from(v) == FAST_FAIL => fault::fast_fail(frame),
        SPURIOUS_VECTOR => {}
        WAKE_VECTOR => apic::end_of_interrupt(),
        FLUSH_VECTOR => {
            translations::forget();
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
            tick::tick(frame);
            apic::end_of_interrupt();
            irql::set(old);
        }
        _ => {
            crate::report::interrupt(vector, frame.rip);
            let old = irql::raise(vector >> 4);
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
