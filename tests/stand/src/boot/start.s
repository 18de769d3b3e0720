# Entry of the stand: QEMU's -kernel finds the PVH note and jumps here in 32-bit protected mode, paging off, EBX = the
# start information block. Turns on long mode with the first 4 GiB mapped one to one; Rust builds the real page tables.
# PVH: https://xenbits.xen.org/docs/unstable/misc/pvh.html

.section .note.pvh, "a", @note
.align 4
    .long 4                     # bytes of the name
    .long 4                     # bytes of the descriptor
    .long 18                    # XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .long pvh_start

.section .boot.text, "ax", @progbits
.code32
.global pvh_start
pvh_start:
    cli
    cld
    mov esp, offset boot_stack_end
    # Four page directories of 2 MiB pages.
    mov edi, offset boot_directories
    mov eax, 0x83               # present, writable, large
    mov ecx, 2048
2:  mov [edi], eax
    mov dword ptr [edi + 4], 0
    add eax, 0x200000
    add edi, 8
    dec ecx
    jnz 2b
    mov edi, offset boot_pdpt
    mov eax, offset boot_directories
    or eax, 3
    mov ecx, 4
3:  mov [edi], eax
    add eax, 4096
    add edi, 8
    dec ecx
    jnz 3b
    mov eax, offset boot_pdpt
    or eax, 3
    mov dword ptr [boot_pml4], eax
    mov eax, offset boot_pml4
    mov cr3, eax
    # PAE, global pages, FXSAVE and SIMD exceptions: the driver uses SSE2 like any x64 program.
    mov eax, cr4
    or eax, 0x6A0
    mov cr4, eax
    # Long mode and no-execute.
    mov ecx, 0xC0000080
    rdmsr
    or eax, 0x900
    wrmsr
    # Paging, write protection also in ring 0, numeric errors, monitor coprocessor; no x87 emulation.
    mov eax, cr0
    and eax, 0xFFFFFFFB
    or eax, 0x80010023
    mov cr0, eax
    lgdt [boot_gdt_pointer]
    push 8
    mov eax, offset long_mode
    push eax
    retf

.code64
long_mode:
    mov ax, 16
    mov ds, ax
    mov es, ax
    mov ss, ax
    xor eax, eax
    mov fs, ax
    mov gs, ax
    mov edi, ebx
    xor ebp, ebp
    call {start}
    ud2

# Where the other processors begin: copied to the page at 0x8000, entered in real mode with CS:IP = 0800:0000.
.section .rodata
.balign 16
.global ap_code_start
.global ap_code_end
.set ap_base, 0x8000
ap_code_start:
.code16
    cli
    cld
    xor eax, eax
    mov ds, ax
    lgdt [ap_gdt_pointer_at]
    mov eax, cr0
    or eax, 1
    mov cr0, eax
    .byte 0x66, 0xEA            # jmp 24:ap_32
    .long ap_base + ap_32 - ap_code_start
    .word 24
.code32
ap_32:
    mov ax, 16
    mov ds, ax
    mov es, ax
    mov ss, ax
    # As in long mode's preparation above.
    mov eax, cr4
    or eax, 0x6A0
    mov cr4, eax
    mov eax, [ap_root_at]
    mov cr3, eax
    mov ecx, 0xC0000080
    rdmsr
    or eax, 0x900
    wrmsr
    mov eax, cr0
    and eax, 0x9FFFFFFB         # caches on, no x87 emulation
    or eax, 0x80010023
    mov cr0, eax
    .byte 0xEA                  # jmp 8:ap_64
    .long ap_base + ap_64 - ap_code_start
    .word 8
.code64
ap_64:
    xor eax, eax
    mov fs, ax
    mov gs, ax
    mov ebx, offset ap_root_at
    mov rsp, [rbx + 8]
    mov rdi, [rbx + 16]
    mov rax, [rbx + 24]
    xor ebp, ebp
    call rax
    ud2
.balign 8
ap_gdt:
    .quad 0
    .quad 0x00AF9A000000FFFF
    .quad 0x00CF92000000FFFF
    .quad 0x00CF9A000000FFFF
ap_gdt_pointer:
    .word 31
    .long ap_base + ap_gdt - ap_code_start
.balign 8
ap_root: .quad 0                # physical address of the page tables
    .quad 0                     # stack
    .quad 0                     # processor number
    .quad 0                     # where to go on
ap_code_end:
.set ap_gdt_pointer_at, ap_base + (ap_gdt_pointer - ap_code_start)
.set ap_root_at, ap_base + (ap_root - ap_code_start)

.section .rodata
.align 8
boot_gdt:
    .quad 0
    .quad 0x00AF9A000000FFFF
    .quad 0x00CF92000000FFFF
boot_gdt_pointer:
    .word 23
    .quad boot_gdt

.section .bss
.align 4096
boot_pml4: .skip 4096
boot_pdpt: .skip 4096
boot_directories: .skip 4 * 4096
boot_stack: .skip 0x40000
boot_stack_end:
