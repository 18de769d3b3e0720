//! From QEMU's `-kernel` to Rust: the entry code and what the start information block says.

use alloc::string::String;
use core::arch::global_asm;

use crate::memory;

global_asm!(include_str!("start.s"), start = sym start);

const START_MAGIC: u32 = 0x336E_C578;

/// hvm_start_info of the PVH boot protocol.
#[repr(C)]
#[derive(Clone, Copy)]
struct StartInfo {
    magic: u32,
    version: u32,
    flags: u32,
    modules: u32,
    module_list: u64,
    command_line: u64,
    rsdp: u64,
    memory_map: u64,
    memory_map_entries: u32,
    reserved: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct MemoryEntry {
    address: u64,
    size: u64,
    kind: u32,
    reserved: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Module {
    address: u64,
    size: u64,
    command_line: u64,
    reserved: u64,
}

/// What the firmware told us, copied to our own memory.
pub struct BootInfo {
    /// The command line.
    pub command_line: String,
    /// The driver image, from `-initrd`; empty when there is none.
    pub image: &'static [u8],
    /// Physical address of the ACPI root pointer, 0 when unknown.
    pub rsdp: u64,
    /// Bytes of RAM.
    pub ram: u64,
}

unsafe extern "C" fn start(info: u64) -> ! {
    // SAFETY: the PVH protocol passes the address of the block, and memory is still mapped one to one.
    let info = unsafe { (info as *const StartInfo).read_unaligned() };
    if info.magic != START_MAGIC || info.version < 1 {
        crate::stop!("no PVH start information (use -kernel with an ELF image)");
    }
    let mut ranges = [(0u64, 0u64); 16];
    let mut count = 0;
    for index in 0..u64::from(info.memory_map_entries) {
        let at = info.memory_map + index * size_of::<MemoryEntry>() as u64;
        // SAFETY: the block says that this many entries follow each other there.
        let entry = unsafe { (at as *const MemoryEntry).read_unaligned() };
        // Type 1 is RAM. Everything we use lies below 4 GiB, above the first megabyte.
        if entry.kind == 1 && entry.address >= 0x10_0000 && entry.address < 1 << 32 && count < ranges.len() {
            ranges[count] = (entry.address, entry.address + entry.size);
            count += 1;
        }
    }
    let module = (info.modules > 0).then(|| {
        // SAFETY: the block says that there is a module list with at least one entry.
        unsafe { (info.module_list as *const Module).read_unaligned() }
    });
    let reserved = module.map_or((0, 0), |m| (m.address, m.address + m.size));
    memory::start(&ranges[..count], reserved);
    let boot = BootInfo {
        command_line: command_line(info.command_line),
        image: module.map_or(&[], |m| {
            // SAFETY: memory::start keeps the module's frames reserved for ever and maps all RAM at the window that
            // `window` answers with.
            unsafe { core::slice::from_raw_parts(memory::window(m.address), m.size as usize) }
        }),
        rsdp: info.rsdp,
        ram: ranges[..count].iter().map(|(first, last)| last - first).sum(),
    };
    crate::run(boot)
}

/// The zero-terminated text at a physical address below the first megabyte.
fn command_line(address: u64) -> String {
    let mut text = String::new();
    for index in 0..4096 {
        if address == 0 {
            break;
        }
        // SAFETY: the whole of RAM and the firmware's area are mapped at the window; the text ends with a zero byte.
        let byte = unsafe { memory::window(address + index).read() };
        if byte == 0 {
            break;
        }
        text.push(char::from(byte));
    }
    text
}
