//! Counting what the driver's code does: the processor's trap flag stops it in front of each instruction.
//!
//! What is counted: instructions by callback (imports run in the stand and are not stepped through), LOCK-prefixed ones and
//! exchanges with memory, full fences, bytes stored by where they go, reads and writes of device registers. It is exact and
//! the same in each run as long as processors do not meet in the driver, and costs some microseconds for each instruction, so it
//! is for few requests.
//!
//! Of cache lines [`stand::lines`] says what counts; of locks that the driver makes itself, see [`Suspect`].
//!
//! memcpy and its like are imports too, and yet the driver's work: [`stand::charge`] says what they count for. It is kept apart
//! from the driver's own instructions; the bytes they write are among those by place.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;
use core::sync::atomic::{AtomicBool, Ordering};

use iced_x86::{
    Decoder, DecoderOptions, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register,
};

use stand::charge::{self, Work};
use stand::lines::{Access, Seen};
use stand::wdk::names;

use super::arguments::Arguments;
use super::frame::Frame;
use super::lock::Lock;
use super::percpu;
use crate::memory::arena;
use crate::{loader, memory};

/// Debug exception: a single step.
pub const VECTOR: u8 = 1;
/// The processor stops behind each instruction.
pub const TRAP_FLAG: u64 = 0x100;

/// Instructions that an interrupt routine and a DPC may take. The guidelines are 25 µs and 100 µs
/// (introduction-to-interrupt-service-routines.md, guidelines-for-writing-dpc-routines.md); a processor that executes one
/// instruction in a nanosecond is slower than any that runs Windows today.
const INTERRUPT_BUDGET: u64 = 25_000;
const DPC_BUDGET: u64 = 100_000;

/// Where a store goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    SrbExtension,
    /// SRB, sense buffer, scatter/gather list.
    Srb,
    /// Device extension, uncached extension, pool.
    Driver,
    Stack,
    Image,
    Register,
    /// The register that tells the device of new requests.
    Doorbell,
}

const PLACES: [(Place, &str); 7] = [
    (Place::SrbExtension, "srb-extension"),
    (Place::Srb, "srb"),
    (Place::Driver, "driver"),
    (Place::Stack, "stack"),
    (Place::Image, "image"),
    (Place::Register, "register"),
    (Place::Doorbell, "doorbell"),
];

/// Counts of one callback.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    calls: u64,
    instructions: u64,
    most: u64,
    locked: u64,
    fences: u64,
    register_reads: u64,
    /// Calls of memory functions, the bytes they were for, and what they are charged at.
    memory_calls: u64,
    memory_bytes: u64,
    memory_instructions: u64,
    /// Bytes, and stores, by place.
    bytes: [u64; PLACES.len()],
    stores: [u64; PLACES.len()],
}

#[derive(Clone, Copy)]
struct Decoded {
    instruction: Instruction,
    locked: bool,
    /// One with which a lock can be taken.
    takes: bool,
    fence: bool,
    /// Reads and writes memory other than by PUSH, CALL and the like.
    memory: bool,
}

/// What only others know of addresses.
#[derive(Clone, Copy)]
pub struct Map {
    /// The range of those that tell the device of new requests, where the driver sees them.
    pub doorbells: (u64, u64),
    /// Whether an address of a request lies in its SRB extension.
    pub is_extension: fn(u64) -> bool,
}

/// A word of the driver's memory that was zero when it was written with XCHG, CMPXCHG or BTS: a lock of the driver's own, until the same
/// processor writes it in any other way or the call that took it returns. Counters are not written with these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Suspect {
    processor: u32,
    address: u64,
    /// The call that took it.
    depth: usize,
}

struct Trace {
    lines: Seen,
    suspects: Vec<Suspect>,
    /// Locks of its own that the driver took.
    own_locks: u64,
    /// Imports, but memory functions and those about locks, in which the driver held a lock that it took itself, by name.
    under_locks: BTreeMap<&'static str, u64>,
    callbacks: BTreeMap<&'static str, Counts>,
    /// By library, name and, for the two functions of many meanings, by the first argument.
    imports: BTreeMap<(&'static str, &'static str, u64), u64>,
    decoded: BTreeMap<u64, Decoded>,
    map: Map,
}

/// Which processors are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    /// The one that asks.
    Here,
    /// All of them.
    Everywhere,
}

static ON: AtomicBool = AtomicBool::new(false);
static EVERYWHERE: AtomicBool = AtomicBool::new(false);
/// It was on at some time: a processor may find itself stepping through the driver after it has ended.
static EVER: AtomicBool = AtomicBool::new(false);
static TRACE: Lock<Trace> = Lock::new(Trace {
    lines: Seen::new(),
    suspects: Vec::new(),
    own_locks: 0,
    under_locks: BTreeMap::new(),
    callbacks: BTreeMap::new(),
    imports: BTreeMap::new(),
    decoded: BTreeMap::new(),
    map: Map { doorbells: (0, 0), is_extension: |_| false },
});

/// Begins to count. On other processors it begins with the next call into the driver.
pub fn start(map: Map, processors: Where) {
    let mut trace = TRACE.lock();
    trace.callbacks.clear();
    trace.imports.clear();
    trace.under_locks.clear();
    trace.suspects.clear();
    trace.own_locks = 0;
    trace.lines = Seen::new();
    trace.map = map;
    drop(trace);
    EVER.store(true, Ordering::SeqCst);
    EVERYWHERE.store(processors == Where::Everywhere, Ordering::SeqCst);
    ON.store(true, Ordering::SeqCst);
    percpu::current().trace = 1;
}

/// Ends counting.
pub fn stop() {
    percpu::current().trace = 0;
    ON.store(false, Ordering::SeqCst);
}

/// From now on everything is done for one queue.
pub fn queue(queue: Option<u32>) {
    TRACE.lock().lines.queue(queue);
}

/// Addresses of cache lines that were written for more than one queue, and how many queues.
pub fn shared_lines() -> Vec<(u64, usize)> {
    TRACE.lock().lines.shared().map(|(line, queues)| (line, queues.len())).collect()
}

/// A call into the driver begins.
pub fn called(name: &'static str) {
    if EVERYWHERE.load(Ordering::Relaxed) {
        percpu::current().trace = ON.load(Ordering::Relaxed).into();
    }
    if ON.load(Ordering::Relaxed) {
        TRACE.lock().callbacks.entry(name).or_default().calls += 1;
    }
}

/// A call into the driver has ended.
pub fn returned(name: &'static str, instructions: u64) {
    if !ON.load(Ordering::Relaxed) {
        return;
    }
    {
        let mut trace = TRACE.lock();
        let counts = trace.callbacks.entry(name).or_default();
        counts.most = counts.most.max(instructions);
        trace.lines.returned(percpu::number(), name);
        let (processor, depth) = (percpu::number(), percpu::current().depth);
        trace.suspects.retain(|lock| lock.processor != processor || lock.depth < depth);
    }
    let budget = match name {
        "HwStorInterrupt" | "HwMSInterruptRoutine" => INTERRUPT_BUDGET,
        "HwStorDpcRoutine" => DPC_BUDGET,
        _ => return,
    };
    if instructions > budget {
        crate::not_ok!("over-budget", "{name} took {instructions} instructions, more than {budget}");
    }
}

/// The driver calls an export of a library.
pub fn imported(owner: &'static str, name: &'static str, arguments: Arguments) {
    if !ON.load(Ordering::Relaxed) {
        return;
    }
    let many = matches!(name, "StorPortNotification" | "StorPortExtendedFunction");
    let first = if many { arguments.get(0) & 0xFFFF_FFFF } else { 0 };
    let callback = percpu::current_callback();
    let mut trace = TRACE.lock();
    *trace.imports.entry((owner, name, first)).or_default() += 1;
    look_at_locks(&mut trace, name, first);
    // A register that is written by Storport's function is written all the same.
    if name.starts_with("StorPortWriteRegister") {
        let (from, to) = trace.map.doorbells;
        let place = if (from..to).contains(&arguments.get(1)) { Place::Doorbell } else { Place::Register };
        trace.callbacks.entry(callback).or_default().stores[place as usize] += 1;
    }
    if name.starts_with("StorPortReadRegister") {
        trace.callbacks.entry(callback).or_default().register_reads += 1;
    }
    if let Some(function) = charge::function(name) {
        let (target, bytes) = (arguments.get(0), arguments.get(function.length));
        let charged = function.instructions(bytes);
        let place = place(target, trace.map);
        let source = match function.work {
            Work::Fill => 0,
            Work::Move | Work::Compare => arguments.get(1),
        };
        for (address, writes) in [(target, function.writes()), (source, false)] {
            if address != 0 {
                touch(&mut trace, callback, (address, bytes), writes);
            }
        }
        let counts = trace.callbacks.entry(callback).or_default();
        counts.memory_calls += 1;
        counts.memory_bytes += bytes;
        counts.memory_instructions += charged;
        if function.writes() {
            counts.bytes[place as usize] += bytes;
            counts.stores[place as usize] += bytes.div_ceil(16);
        }
        // The time that a routine may take is that of all its work.
        let cpu = percpu::current();
        if let Some(call) = cpu.depth.checked_sub(1).map(|depth| &mut cpu.calls[depth]) {
            call.instructions += charged;
        }
    }
}

/// A single step. False when nobody asked for it.
pub fn step(frame: &mut Frame) -> bool {
    if !EVER.load(Ordering::Relaxed) {
        return false;
    }
    if !ON.load(Ordering::Relaxed) {
        percpu::current().trace = 0;
        frame.flags &= !TRAP_FLAG;
        return true;
    }
    if !loader::is_image(frame.rip) {
        // An import, or back in the stand: not counted, and it must not be stepped through.
        frame.flags &= !TRAP_FLAG;
        return true;
    }
    let cpu = percpu::current();
    let Some(call) = cpu.depth.checked_sub(1).map(|depth| &mut cpu.calls[depth]) else { return true };
    call.instructions += 1;
    let name = call.name;
    let mut trace = TRACE.lock();
    let decoded = *trace.decoded.entry(frame.rip).or_insert_with(|| decode(frame.rip));
    let map = trace.map;
    let trace = &mut *trace;
    let counts = trace.callbacks.entry(name).or_default();
    counts.instructions += 1;
    counts.locked += u64::from(decoded.locked);
    counts.fences += u64::from(decoded.fence);
    if decoded.memory {
        let mut factory = InstructionInfoFactory::new();
        for used in factory.info(&decoded.instruction).used_memory() {
            let Some(address) = used.virtual_address(0, |register, _, _| Some(value(frame, register))) else {
                continue;
            };
            let size = used.memory_size().size() as u64;
            let place = place(address, map);
            let writes =
                matches!(used.access(), OpAccess::Write | OpAccess::ReadWrite | OpAccess::ReadCondWrite);
            see(&mut trace.lines, name, (address, size), writes, place);
            if writes && place == Place::Driver {
                let taken = look_at_word(&mut trace.suspects, address, size as usize, &decoded);
                trace.own_locks += u64::from(taken);
            }
            if matches!(used.access(), OpAccess::Read | OpAccess::ReadWrite | OpAccess::CondRead)
                && matches!(place, Place::Register | Place::Doorbell)
            {
                counts.register_reads += 1;
            }
            if writes {
                counts.bytes[place as usize] += size;
                counts.stores[place as usize] += 1;
            }
        }
    }
    true
}

/// A memory function of the kernel's touches memory for the driver.
fn touch(trace: &mut Trace, callback: &'static str, (address, size): (u64, u64), writes: bool) {
    let place = place(address, trace.map);
    see(&mut trace.lines, callback, (address, size), writes, place);
}

fn see(lines: &mut Seen, callback: &'static str, (address, size): (u64, u64), writes: bool, place: Place) {
    let kept = matches!(place, Place::Driver | Place::Image);
    if kept || matches!(place, Place::Srb | Place::SrbExtension) {
        let image = place == Place::Image;
        lines.access(percpu::number(), callback, Access { address, size, writes, image, kept });
    }
}

/// What is in the driver's memory at an address, as a number.
fn word(address: u64, size: usize) -> u64 {
    let bytes = (0..size as u64).rev();
    // SAFETY: the driver's next or last instruction accesses these bytes, so they are mapped.
    bytes.fold(0, |word, at| word << 8 | u64::from(unsafe { ((address + at) as *const u8).read_volatile() }))
}

/// A word of the driver's memory is about to be written: a lock may be given back, or taken, which is what it answers.
fn look_at_word(suspects: &mut Vec<Suspect>, address: u64, size: usize, decoded: &Decoded) -> bool {
    let cpu = percpu::current();
    let takes = decoded.locked && decoded.takes;
    if takes && word(address, size) == 0 {
        suspects.push(Suspect { processor: cpu.number, address, depth: cpu.depth });
        return true;
    }
    if !takes || decoded.instruction.mnemonic() == Mnemonic::Xchg {
        suspects.retain(|lock| (lock.processor, lock.address) != (cpu.number, address));
    }
    false
}

/// Counts an import in which the driver holds a lock that it took: one of its own, or one of Storport's.
fn look_at_locks(trace: &mut Trace, name: &'static str, first: u64) {
    let named = match name {
        "StorPortNotification" => names::notification(first),
        "StorPortExtendedFunction" => names::extended_function(first),
        name => name,
    };
    let about_locks = named.contains("SpinLock") || named.contains("Lock");
    if about_locks || charge::function(name).is_some() {
        return;
    }
    let cpu = percpu::current();
    let entry = cpu.depth.checked_sub(1).map_or(cpu.locks, |depth| cpu.calls[depth].locks);
    // What an interrupted call holds is not the interrupt routine's.
    let called_back = cpu.calls[..cpu.depth].iter().rev().take_while(|call| call.nested).count();
    let first = cpu.depth - called_back;
    let own = trace.suspects.iter().any(|lock| lock.processor == cpu.number && lock.depth >= first);
    if own || cpu.locks > entry {
        *trace.under_locks.entry(named).or_default() += 1;
    }
}

fn decode(rip: u64) -> Decoded {
    // SAFETY: the instruction is about to be executed, so it is mapped; sections are followed by more of the image or end
    // with padding longer than an instruction.
    let code = unsafe { core::slice::from_raw_parts(rip as *const u8, 15) };
    let instruction = Decoder::with_ip(64, code, rip, DecoderOptions::NONE).decode();
    let has_memory = (0..instruction.op_count()).any(|op| instruction.op_kind(op) == OpKind::Memory);
    let exchange = instruction.mnemonic() == Mnemonic::Xchg && has_memory;
    let string = instruction.is_string_instruction();
    Decoded {
        locked: instruction.has_lock_prefix() || exchange,
        takes: matches!(instruction.mnemonic(), Mnemonic::Xchg | Mnemonic::Cmpxchg | Mnemonic::Bts),
        fence: instruction.mnemonic() == Mnemonic::Mfence,
        memory: (has_memory && instruction.mnemonic() != Mnemonic::Lea)
            || string
            || instruction.is_stack_instruction(),
        instruction,
    }
}

fn value(frame: &Frame, register: Register) -> u64 {
    match register.full_register() {
        Register::RAX => frame.rax,
        Register::RBX => frame.rbx,
        Register::RCX => frame.rcx,
        Register::RDX => frame.rdx,
        Register::RSI => frame.rsi,
        Register::RDI => frame.rdi,
        Register::RBP => frame.rbp,
        Register::RSP => frame.rsp,
        Register::R8 => frame.r8,
        Register::R9 => frame.r9,
        Register::R10 => frame.r10,
        Register::R11 => frame.r11,
        Register::R12 => frame.r12,
        Register::R13 => frame.r13,
        Register::R14 => frame.r14,
        Register::R15 => frame.r15,
        Register::GS => percpu::current() as *const percpu::PerCpu as u64,
        // Flat segments.
        _ => 0,
    }
}

fn place(address: u64, map: Map) -> Place {
    if percpu::current().is_driver_stack(address) {
        return Place::Stack;
    }
    if (map.doorbells.0..map.doorbells.1).contains(&address) {
        return Place::Doorbell;
    }
    if memory::is_device(address) {
        return Place::Register;
    }
    if loader::is_image(address) {
        return Place::Image;
    }
    if arena::is_request(address) {
        return if (map.is_extension)(address) { Place::SrbExtension } else { Place::Srb };
    }
    Place::Driver
}

/// What was counted since [`start`], as the inside of a JSON object.
pub fn report() -> String {
    let trace = TRACE.lock();
    let mut text = String::from("\"callbacks\":{");
    for (index, (name, counts)) in trace.callbacks.iter().enumerate() {
        let _ = write!(
            text,
            "{}\"{name}\":{{\"calls\":{},\"instructions\":{},\"most\":{},\"locked\":{},\"fences\":{},\"register-reads\":{},\"memory-calls\":{},\"memory-bytes\":{},\"memory-instructions\":{}",
            if index == 0 { "" } else { "," },
            counts.calls,
            counts.instructions,
            counts.most,
            counts.locked,
            counts.fences,
            counts.register_reads,
            counts.memory_calls,
            counts.memory_bytes,
            counts.memory_instructions
        );
        for (place, word) in PLACES {
            let (bytes, stores) = (counts.bytes[place as usize], counts.stores[place as usize]);
            let _ = write!(text, ",\"{word}-bytes\":{bytes},\"{word}-stores\":{stores}");
        }
        text.push('}');
    }
    text.push('}');
    trace.lines.report(&mut text);
    let under: u64 = trace.under_locks.values().sum();
    let _ = write!(text, ",\"own-locks\":{},\"calls-under-locks\":{under}", trace.own_locks);
    text.push_str(",\"storport-calls\":");
    calls(&mut text, &trace, true);
    text.push_str(",\"other-calls\":");
    calls(&mut text, &trace, false);
    text
}

/// The imports that are Storport's, or those that are not, by name, as a JSON object.
fn calls(text: &mut String, trace: &Trace, storport: bool) {
    let mine = trace.imports.iter().filter(|((owner, ..), _)| (*owner == "storport.sys") == storport);
    text.push('{');
    for (index, ((_, name, first), count)) in mine.enumerate() {
        let meaning = match *name {
            "StorPortNotification" => stand::wdk::names::notification(*first),
            "StorPortExtendedFunction" => stand::wdk::names::extended_function(*first),
            name => name,
        };
        let _ = write!(text, "{}\"{meaning}\":{count}", if index == 0 { "" } else { "," });
    }
    text.push('}');
}
