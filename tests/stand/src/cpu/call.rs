//! The way into the driver; the way back is in `kernel/import.rs`.
//!
//! Driver code has stacks of its own: 12 KiB with a guard page, so that its use of stack is measured and not ours. A call
//! into the driver leaves the host's stack where it is and moves to a driver stack; every import moves back to the host
//! stack, below the frames of the call, and hands over a pointer to its arguments. On Win64 the caller leaves room above
//! the return address for the four register arguments, followed by the others, so after spilling the registers the
//! arguments of any function, variadic or not, are one array.

use core::arch::global_asm;
use core::sync::atomic::{Ordering, compiler_fence};

use stand::watchdog;

use super::percpu::{self, Call, Stack};
use super::{clock, irql, trace};

global_asm!(
    r#"
.text
# u64 enter_driver(function: rdi, arguments (8 words): rsi, driver stack: rdx)
.global enter_driver
enter_driver:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    push qword ptr gs:[0x200]
    mov gs:[0x200], rsp
    lea rsp, [rdx - 64]
    mov rax, rdi
    xor ebp, ebp
    mov r10, [rsi + 32]
    mov [rsp + 32], r10
    mov r10, [rsi + 40]
    mov [rsp + 40], r10
    mov r10, [rsi + 48]
    mov [rsp + 48], r10
    mov r10, [rsi + 56]
    mov [rsp + 56], r10
    mov rcx, [rsi]
    mov rdx, [rsi + 8]
    mov r8, [rsi + 16]
    mov r9, [rsi + 24]
    cld
    # The trap flag, when trace.rs counts: the first trap comes in front of the driver's first instruction.
    cmp byte ptr gs:[0x220], 0
    je 2f
    pushfq
    or qword ptr [rsp], 0x100
    popfq
2:  call rax
    cld
    mov rsp, gs:[0x200]
    pop qword ptr gs:[0x200]
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret
"#
);

unsafe extern "C" {
    fn enter_driver(function: u64, arguments: *const [u64; 8], stack: u64) -> u64;
}

/// Calls the driver and checks what must be true when it returns.
pub fn driver(name: &'static str, stack: Stack, function: u64, arguments: &[u64]) -> u64 {
    let cpu = percpu::current();
    let mut words = [0; 8];
    words[..arguments.len()].copy_from_slice(arguments);
    // A nested call goes below the import's frame; the callee's home space and arguments go below that.
    let top = cpu.top(stack).unwrap_or((cpu.driver_stack - 64) & !15);
    let (level, locks) = (irql::current(), cpu.locks);
    let depth = cpu.depth;
    if depth == percpu::CALLS {
        crate::stop!("the stand itself failed: {name} is the {depth}th nested call into the driver");
    }
    let nested = stack == Stack::Nested;
    // An interrupt from here on takes the next place, and leaves this one alone.
    cpu.depth = depth + 1;
    compiler_fence(Ordering::SeqCst);
    cpu.calls[depth] =
        Call { name, started: clock::ticks(), instructions: 0, waited: 0, stalled: 0, nested, locks };
    trace::called(name);
    crate::report::call(name, &words);
    // SAFETY: the function is a callback the driver gave us, or its entry point; it runs on a stack of its own and
    // returns with the stack pointer it was given, as every Win64 function does.
    let result = unsafe { enter_driver(function, &words, top) };
    crate::report::returned(name, result);
    let cpu = percpu::current();
    trace::returned(name, cpu.calls[depth].instructions);
    cpu.depth = depth;
    // First, because it comes with the other: a lock that is held keeps the IRQL raised.
    if cpu.locks != locks {
        crate::not_ok!(
            "lock-not-released",
            "{name} returned holding {} lock(s), {locks} at entry: {:?}",
            cpu.locks,
            &cpu.held[..cpu.locks]
        );
        cpu.locks = locks;
    }
    let after = irql::current();
    if after != level {
        irql::set(level);
        crate::not_ok!("irql-changed", "{name} was called at IRQL {level} and returned at {after}");
    }
    result
}

/// The driver waits for so long, by the function of that name. Every call into it that is under way on this processor waits with
/// it.
pub fn stalls(function: &str, microseconds: u64) {
    if irql::current() >= irql::DISPATCH {
        watch_stalls(function, microseconds);
        watch_waits(microseconds);
    }
}

/// A register write of the driver's takes so long, which is no stall that it asked for, and yet one of its processor.
pub fn is_held_up(microseconds: u64) {
    if irql::current() >= irql::DISPATCH {
        watch_waits(microseconds);
    }
}

/// The rules about all stalls of one call. A call that this one interrupted is not to blame, one that it was called back from is.
fn watch_stalls(function: &str, microseconds: u64) {
    let cpu = percpu::current();
    let crashed = super::freeze::crashed();
    let mut broken = None;
    for call in cpu.calls[..cpu.depth].iter_mut().rev() {
        let before = call.stalled;
        call.stalled += microseconds;
        if let Some(most) = watchdog::most_stalls(call.name, crashed)
            && before <= most
            && call.stalled > most
        {
            broken = broken.or(Some((call.name, call.stalled, most)));
        }
        if !call.nested {
            break;
        }
    }
    let Some((name, stalled, most)) = broken else { return };
    if most == 0 {
        crate::not_ok!("stall-in-startio", "{function} of {microseconds} us in {name}");
    } else {
        crate::not_ok!(
            "stalls-add-up",
            "{name} has stalled for {stalled} us at IRQL {}, with {function} of {microseconds} us; it may for {most} us",
            irql::current()
        );
    }
}

/// The DPC watchdog.
fn watch_waits(microseconds: u64) {
    let cpu = percpu::current();
    let (depth, before) = (cpu.depth, cpu.watchdog);
    let mut violation = None;
    for call in cpu.calls[..depth].iter_mut().rev() {
        // All of them wait the same time, which counts once for the processor.
        cpu.watchdog = before;
        let found = cpu.watchdog.wait(&mut call.waited, microseconds);
        call.started = clock::ticks();
        violation = violation.or(found.map(|kind| (kind, call.name, call.waited)));
    }
    if let Some((kind, name, waited)) = violation {
        crate::not_ok!(
            "dpc-watchdog",
            "{name} has waited {} ms at IRQL {}: {kind:?}",
            waited / 1000,
            irql::current()
        );
    }
}
