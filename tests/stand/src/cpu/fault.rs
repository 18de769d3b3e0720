//! Processor exceptions: what happened, where in the driver, and which rule it broke.

use core::arch::asm;

use iced_x86::{Decoder, DecoderOptions, Mnemonic};

use super::frame::Frame;
use super::{irql, percpu};
use crate::loader;
use crate::memory::arena::{self, Area};
use crate::model;
use crate::storport::{removal, request};

const NAMES: [&str; 22] = [
    "divide error",
    "debug trap",
    "NMI",
    "breakpoint (int 3)",
    "overflow",
    "bound range",
    "invalid opcode",
    "no coprocessor",
    "double fault",
    "coprocessor overrun",
    "invalid task state",
    "segment not present",
    "stack segment",
    "general protection",
    "page fault",
    "reserved",
    "x87 exception",
    "alignment check",
    "machine check",
    "SIMD exception",
    "virtualization",
    "control protection",
];

/// Vector of the page fault.
pub const PAGE_FAULT: u64 = 14;

/// Address of the last page fault.
fn fault_address() -> u64 {
    let address: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, cr2", out(reg) address, options(nostack, nomem, preserves_flags)) };
    address
}

/// Whether a page fault is an access that something else answers than memory; then the frame is past the instruction.
pub fn goes_on(frame: &mut Frame) -> bool {
    if model::access(frame, fault_address()) {
        return true;
    }
    let is_write = frame.error & 2 != 0;
    if !is_write || !removal::is_register(fault_address()) {
        return false;
    }
    // SAFETY: the instruction was just fetched from there; the image ends with sections that are longer than the longest
    // instruction, and the stand's own code is far from its end.
    let code = unsafe { core::slice::from_raw_parts(frame.rip as *const u8, 15) };
    let instruction = Decoder::with_ip(64, code, frame.rip, DecoderOptions::NONE).decode();
    // A store to a device that is gone goes nowhere. Anything that also reads (xchg, or) would need the value.
    if instruction.is_invalid() || instruction.mnemonic() != Mnemonic::Mov {
        return false;
    }
    frame.rip = instruction.next_ip();
    true
}

/// A processor exception ends the run.
pub fn exception(frame: &Frame) -> ! {
    let address = fault_address();
    let name = NAMES.get(frame.vector as usize).copied().unwrap_or("exception");
    report(frame);
    if frame.vector == PAGE_FAULT {
        page_fault(frame, address);
    } else {
        crate::not_ok!("exception", "{name}, error code {:#x}", frame.error);
    }
    crate::stop!("{name} at {}", loader::place(frame.rip));
}

/// A program stopped itself.
pub fn fast_fail(frame: &Frame) -> ! {
    let reason = match frame.rcx {
        2 => "stack cookie check failed",
        3 => "corrupt list entry",
        5 => "invalid argument",
        10 => "control flow guard check failed",
        14 => "no security cookie",
        _ => "see RtlFailFast codes",
    };
    report(frame);
    crate::not_ok!("fast-fail", "int 29h with code {} ({reason})", frame.rcx);
    crate::stop!("the image stopped itself at {}", loader::place(frame.rip));
}

fn page_fault(frame: &Frame, address: u64) {
    let access = match (frame.error & 0x10 != 0, frame.error & 2 != 0) {
        (true, _) => "execution",
        (_, true) => "write",
        _ => "read",
    };
    let present = frame.error & 1 != 0;
    let place = loader::place(address);
    if let Some(section) = loader::section(address) {
        let rule = if section.discarded {
            "discarded-section"
        } else if access == "write" {
            "write-to-read-only-section"
        } else {
            "no-execute"
        };
        crate::not_ok!(rule, "{access} at {place}");
        return;
    }
    // It may be of a later request at the same address.
    if arena::is_request(address)
        && let Some(tag) = request::last_at(address)
    {
        crate::not_ok!(
            "srb-touched-after-completion",
            "{access} at {address:#x}, memory of request {tag} that is already completed"
        );
        return;
    }
    match arena::what_is(address) {
        Area::StackGuard => {
            crate::not_ok!("stack-overflow", "{access} at {address:#x}, below the driver's 12 KiB stack")
        }
        Area::Arena if present => crate::not_ok!("page-rights", "{access} at {address:#x}"),
        Area::Arena => crate::not_ok!(
            "access-outside-allocation",
            "{access} at {address:#x}, next to or after the life of an allocation"
        ),
        Area::Unknown if address < 0x1_0000 => {
            crate::not_ok!("null-pointer", "{access} at {address:#x}")
        }
        Area::Unknown => crate::not_ok!("bad-pointer", "{access} at {address:#x}"),
    }
}

/// Where it happened, and the registers. Before the check, which ends the run.
fn report(frame: &Frame) {
    crate::note!(
        "in {} at IRQL {} ({}), {}",
        percpu::current_callback(),
        irql::current(),
        irql::name(irql::current()),
        loader::place(frame.rip)
    );
    crate::note!(
        "rax={:x} rcx={:x} rdx={:x} rbx={:x} rsp={:x} rbp={:x} rsi={:x} rdi={:x}",
        frame.rax,
        frame.rcx,
        frame.rdx,
        frame.rbx,
        frame.rsp,
        frame.rbp,
        frame.rsi,
        frame.rdi
    );
    crate::note!(
        "r8={:x} r9={:x} r10={:x} r11={:x} r12={:x} r13={:x} r14={:x} r15={:x} flags={:x}",
        frame.r8,
        frame.r9,
        frame.r10,
        frame.r11,
        frame.r12,
        frame.r13,
        frame.r14,
        frame.r15,
        frame.flags
    );
}
