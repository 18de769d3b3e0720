//! The way back from the driver: the stub of each import, the move to the host's stack, and the table of everything the stand
//! exports. The way in, and what both have to do with stacks, is in `cpu/call.rs`.

use core::arch::global_asm;

use super::export::Export;
use super::{debug, hal, misc, pool, processor, rtl, spin};
use crate::cpu::arguments::Arguments;
use crate::cpu::{percpu, trace};
use crate::storport;

global_asm!(
    r#"
.text
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
    static import_stubs: u8;
    static check_stack: u8;
}

const TABLES: [(&str, &[(&str, Export)]); 9] = [
    ("storport.sys", storport::exports::TABLE),
    ("storport.sys", storport::registers::TABLE),
    ("ntoskrnl.exe", debug::TABLE),
    ("ntoskrnl.exe", hal::TABLE),
    ("ntoskrnl.exe", pool::TABLE),
    ("ntoskrnl.exe", processor::TABLE),
    ("ntoskrnl.exe", rtl::TABLE),
    ("ntoskrnl.exe", spin::TABLE),
    ("ntoskrnl.exe", misc::TABLE),
];

/// Most exports.
const STUBS: usize = 256;

/// Address of the stub of an export.
fn stub(index: usize) -> u64 {
    assert!(index < STUBS);
    &raw const import_stubs as u64 + 16 * index as u64
}

/// Address of `__chkstk`, which is no function of the usual kind: the driver's stack is what it is about.
fn check_stack_address() -> u64 {
    &raw const check_stack as u64
}

/// Address of an export's stub. The HAL's functions live in ntoskrnl on the Windows versions we speak of, and images
/// may name either.
pub fn resolve(dll: &str, name: &str) -> Option<u64> {
    let library = match dll {
        _ if dll.eq_ignore_ascii_case("storport.sys") => "storport.sys",
        _ if dll.eq_ignore_ascii_case("ntoskrnl.exe") || dll.eq_ignore_ascii_case("hal.dll") => {
            "ntoskrnl.exe"
        }
        _ => return None,
    };
    if library == "ntoskrnl.exe" && name == "__chkstk" {
        return Some(check_stack_address());
    }
    let mut index = 0;
    for (owner, table) in TABLES {
        for (export, _) in table {
            if owner == library && *export == name {
                return Some(stub(index));
            }
            index += 1;
        }
    }
    None
}

unsafe extern "C" fn import(index: u32, arguments: u64) -> u64 {
    let exports = TABLES.iter().flat_map(|(owner, table)| table.iter().map(move |export| (*owner, *export)));
    let Some((owner, (name, export))) = exports.into_iter().nth(index as usize) else {
        crate::stop!("import number {index} does not exist")
    };
    if !percpu::current().is_driver_stack(arguments) {
        crate::broken!(
            "import-not-on-driver-stack",
            "{name} called with the stack pointer at {arguments:#x}"
        );
    }
    let arguments = Arguments::on_stack(arguments);
    trace::imported(owner, name, arguments);
    crate::report::import(name, arguments);
    storport::dump::instead(name, arguments).unwrap_or_else(|| export(arguments))
}
