//! The load configuration of a driver image: where the loader finds the security cookie and the control flow guard
//! tables. With the genuine WDK an object of its runtime library brings it; `rust-lld` fills the tables in.
//!
//! Written as assembly because several fields are values that the linker gives symbols, such as the number of guarded
//! functions, and no Rust constant can hold those. Layout: `IMAGE_LOAD_CONFIG_DIRECTORY64`, learn.microsoft.com,
//! "PE Format", "The Load Configuration Structure (Image Only)".

#![no_std]

use core::arch::global_asm;

// What the loader replaces by a random value when the image is loaded, if it finds exactly this one.
global_asm!(
    ".section .data,\"dw\"",
    ".balign 8",
    ".globl __security_cookie",
    "__security_cookie:",
    ".quad 0x00002B992DDFA232",
);

// Targets of guarded calls until the loader puts its own there: the check lets everything pass, the dispatch jumps to
// where RAX points.
#[cfg(target_arch = "x86_64")]
global_asm!(
    ".section .text,\"xr\"",
    ".balign 16",
    ".def _guard_check_icall_nop; .scl 3; .type 32; .endef",
    "_guard_check_icall_nop:",
    "ret",
    ".balign 16",
    ".def _guard_dispatch_icall_nop; .scl 3; .type 32; .endef",
    "_guard_dispatch_icall_nop:",
    "jmp rax",
);

#[cfg(target_arch = "aarch64")]
global_asm!(
    ".section .text,\"xr\"",
    ".balign 16",
    ".def _guard_check_icall_nop; .scl 3; .type 32; .endef",
    "_guard_check_icall_nop:",
    "ret",
    ".balign 16",
    ".def _guard_dispatch_icall_nop; .scl 3; .type 32; .endef",
    "_guard_dispatch_icall_nop:",
    "br x9",
);

// In a read-only section of its own, as the loader expects: it makes only this page writable for the moment.
global_asm!(
    ".section .00cfg,\"dr\"",
    ".balign 8",
    ".globl __guard_check_icall_fptr",
    "__guard_check_icall_fptr:",
    ".quad _guard_check_icall_nop",
    ".globl __guard_dispatch_icall_fptr",
    "__guard_dispatch_icall_fptr:",
    ".quad _guard_dispatch_icall_nop",
);

global_asm!(
    ".section .rdata,\"dr\"",
    ".balign 8",
    ".globl _load_config_used",
    "_load_config_used:",
    ".long 0x118",                       // 0x00 Size
    ".zero 0x54",                        // 0x04 up to SecurityCookie: nothing that kernel images use
    ".quad __security_cookie",           // 0x58
    ".quad 0",                           // 0x60 SEHandlerTable: 32-bit images only
    ".quad 0",                           // 0x68 SEHandlerCount
    ".quad __guard_check_icall_fptr",    // 0x70
    ".quad __guard_dispatch_icall_fptr", // 0x78
    ".quad __guard_fids_table",          // 0x80
    ".quad __guard_fids_count",          // 0x88
    ".long __guard_flags",               // 0x90
    ".zero 12",                          // 0x94 CodeIntegrity
    ".quad __guard_iat_table",           // 0xA0
    ".quad __guard_iat_count",           // 0xA8
    ".quad __guard_longjmp_table",       // 0xB0
    ".quad __guard_longjmp_count",       // 0xB8
    ".zero 0x48",                        // 0xC0 dynamic relocations, CHPE, RF, hot patches, enclaves
    ".quad __guard_eh_cont_table",       // 0x108
    ".quad __guard_eh_cont_count",       // 0x110
);
