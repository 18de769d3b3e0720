//! The way into the driver and back.
//!
//! Driver code has stacks of its own: 12 KiB with a guard page, so that its use of stack is measured and not ours. A call
//! into the driver leaves the host's stack where it is and moves to a driver stack; every import moves back to the host
//! stack, below the frames of the call, and hands over a pointer to its arguments. On Win64 the caller leaves room above
//! the return address for the four register arguments, followed by the others, so after spilling the registers the
//! arguments of any function, variadic or not, are one array.

use core::arch::global_asm;

use stand::watchdog;

use super::arguments::Arguments;
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

# Every export's stub loads its number into r10d and comes here.
.global import_entry
import_entry:
    mov [rsp + 8], rcx
    mov [rsp + 16], rdx
    mov [rsp + 24], r8
    mov [rsp + 32], r9
    mov r11, rsp
    mov rsp, gs:[0x200]
    push rdi
    push rsi
    push r11
    push qword ptr gs:[0x208]
    # For backtrace.rs: what the driver gets back from any function it calls.
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    mov gs:[0x208], r11
    mov edi, r10d
    lea rsi, [r11 + 8]
    cld
    call {dispatch}
    add rsp, 48
    pop qword ptr gs:[0x208]
    pop r11
    pop rsi
    pop rdi
    mov rsp, r11
    cmp byte ptr gs:[0x220], 0
    je 2f
    pushfq
    or qword ptr [rsp], 0x100
    popfq
2:  ret

# __chkstk: RAX bytes of stack are about to be taken, and every page of them is touched from above, so that the guard page
# cannot be stepped over. It changes R10, R11 and flags only (Microsoft's x64 calling convention: dynamic stack allocations).
.balign 16
.global check_stack
check_stack:
    lea r10, [rsp + 8]
    sub r10, rax
    mov r11, rsp
    and r11, -4096
3:  cmp r10, r11
    jae 4f
    sub r11, 4096
    test byte ptr [r11], 0
    jmp 3b
4:  ret

.balign 16
.global import_stubs
import_stubs:
.set index, 0
.rept 256
    mov r10d, index
    jmp import_entry
    .balign 16
    .set index, index + 1
.endr
"#,
    dispatch = sym import,
);

unsafe extern "C" {
    fn enter_driver(function: u64, arguments: *const [u64; 8], stack: u64) -> u64;
    static import_stubs: u8;
    static check_stack: u8;
}

/// Most exports.
pub const STUBS: usize = 256;

/// Address of the stub of an export.
pub fn stub(index: usize) -> u64 {
    assert!(index < STUBS);
    &raw const import_stubs as u64 + 16 * index as u64
}

/// Address of `__chkstk`, which is no function of the usual kind: the driver's stack is what it is about.
pub fn check_stack_address() -> u64 {
    &raw const check_stack as u64
}

unsafe extern "C" fn import(index: u32, arguments: u64) -> u64 {
    let cpu = percpu::current();
    if !cpu.is_driver_stack(arguments) {
        crate::broken!(
            "import-not-on-driver-stack",
            "{} called with the stack pointer at {arguments:#x}",
            crate::kernel::name(index as usize)
        );
    }
    trace::imported(index, Arguments::on_stack(arguments));
    crate::kernel::dispatch(index as usize, Arguments::on_stack(arguments))
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
    cpu.calls[depth] = Call { name, started: clock::ticks(), instructions: 0, waited: 0, stalled: 0, nested };
    trace::called(name);
    cpu.depth = depth + 1;
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
