//! The device model on the machine: a PCI function that is none of QEMU's, its registers behind page faults, its messages as
//! interrupts. What it is and which lie it tells is [`stand::device`].
//!
//! `model=blk` or `model=scsi`, with `lie=NAME`, `manner=NAME`, `moment=N`, `resets=N`, `units=N` and `packed=1`, puts it in place of
//! the adapter. How long a register write holds up a processor is in [`hold_up`].

mod hold_up;

use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use stand::cmdline::Options;
use stand::device::{self, Device, Lie, Memory, Order, Outcome, Pace, Task, Unit, bar};
use stand::emulate::{self, Bus, Registers};

use crate::cpu::frame::Frame;
use crate::cpu::lock::Lock;
use crate::cpu::vector::{FIRST_MESSAGE, LINE_VECTOR};
use crate::cpu::{apic, percpu, smp, trace};
use crate::memory::{self, PAGE, dma, frames, paging};
use crate::pci::Function;
use crate::pci::bars::Bar;
use crate::pci::msix::processor_of;
pub use hold_up::take as take_hold_ups;

/// Resets within HwStorFindAdapter and HwStorInitialize, at least: our drivers reset the device once in each.
const START_RESETS: u32 = 2;
/// Bus of the model's function; QEMU's machine has none of that number.
const BUS: u8 = 0xFF;
const FUNCTION: Function = Function { bus: BUS, device: 0, function: 0 };

static DEVICE: Lock<Option<Device>> = Lock::new(None);
static THERE: AtomicBool = AtomicBool::new(false);
/// Where its registers are in bus addresses, and where the driver sees them.
static BASE: AtomicU64 = AtomicU64::new(0);
/// The device writes garbage into what tells it addresses.
static SPOILT: AtomicBool = AtomicBool::new(false);
static SEEN: AtomicU64 = AtomicU64::new(0);
/// The device keeps a schedule in turns, which requests and their ends give it.
static TURNS: AtomicBool = AtomicBool::new(false);
/// Interrupts raised while the driver was in a DPC.
static IN_DPC: AtomicU64 = AtomicU64::new(0);
static OUTCOME: Lock<Outcome> = Lock::new(Outcome::Up);

/// Guest memory, as far as it is RAM.
struct Ram;

impl Memory for Ram {
    fn read(&mut self, address: u64, bytes: &mut [u8]) {
        if may("read", address, bytes.len()) {
            // SAFETY: the window maps all RAM; a driver may write there meanwhile, as with any device.
            unsafe {
                core::ptr::copy_nonoverlapping(memory::window(address), bytes.as_mut_ptr(), bytes.len())
            };
        }
    }

    fn write(&mut self, address: u64, bytes: &[u8]) {
        if may("write", address, bytes.len()) {
            // SAFETY: as above.
            unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), memory::window(address), bytes.len()) };
        }
    }
}

/// Whether the device may use memory. What it may not is not the driver's fault where the device has written over the
/// descriptors itself.
fn may(what: &str, address: u64, bytes: usize) -> bool {
    let legal = dma::allows(address, bytes as u64, what == "write");
    if !legal && !SPOILT.load(Ordering::Relaxed) {
        crate::not_ok!(
            "dma-outside-legal-memory",
            "the device was told to {what} {bytes} bytes at {address:#x}"
        );
    }
    legal
}

/// Makes the device, if the command line asks for one; answers with its function and its addresses.
pub fn start(options: &Options) -> Option<(Function, Vec<Bar>)> {
    let kind = options.model?;
    let lie = match options.lie.as_deref() {
        None => Lie::None,
        Some(name) => match device::find(name) {
            Some(told) if !told.is_for(kind) => crate::stop!("a {kind:?} device cannot tell {name}"),
            Some(told) => {
                // A device that was honest when the adapter was started must have been taken.
                *OUTCOME.lock() = if options.resets > START_RESETS { Outcome::Up } else { told.outcome };
                crate::note!("the device lies: {}", told.what);
                // What is not about requests has rounds of its own, which begin with the truth.
                if told.is_about_tasks() || told.is_about_events() { Lie::None } else { told.lie }
            }
            None => crate::stop!("there is no lie {name}"),
        },
    };
    let manner = options.manner.as_deref().map(|name| match device::find_manner(name, kind) {
        Some(manner) => {
            crate::note!("the device is as in {}", manner.source);
            manner
        }
        None => crate::stop!("no {kind:?} device has the manner {name}"),
    });
    let spoilt = matches!(
        lie,
        Lie::RewritesDescriptors | Lie::RewritesOnce | Lie::RewritesAvailable | Lie::RewritesTable
    );
    SPOILT.store(spoilt, Ordering::Relaxed);
    // RAM stands behind the addresses, for the message table, which only the stand touches.
    let Some(base) = frames::run(bar::SIZE / PAGE) else { crate::stop!("no memory for the device") };
    BASE.store(base, Ordering::Relaxed);
    let device = Device::new(kind, options.packed, lie)
        .with_manner(manner)
        .with_units(options.units as usize)
        .lies_from(u64::from(options.moment))
        .lies_after_resets(options.resets);
    // What is counted on it is compared with what is counted on QEMU's.
    let measured = options.suite.as_deref() == Some("bench");
    *DEVICE.lock() = Some(if measured { device.with_long_rings() } else { device });
    THERE.store(true, Ordering::Release);
    let size = if lie == Lie::BarTooSmall && options.resets == 0 { PAGE } else { bar::SIZE };
    Some((FUNCTION, alloc::vec![Bar { index: 0, address: base, size, memory: true }]))
}

/// Whether a function is the model's.
pub fn is(function: Function) -> bool {
    function.bus == BUS
}

/// What must come of the lie.
pub fn outcome() -> Outcome {
    *OUTCOME.lock()
}

/// Whether there is a model at all.
pub fn is_there() -> bool {
    THERE.load(Ordering::Acquire)
}

fn with<T>(action: impl FnOnce(&mut Device) -> T) -> T {
    let mut guard = DEVICE.lock();
    let Some(device) = guard.as_mut() else { crate::stop!("there is no device model") };
    action(device)
}

/// Configuration space.
pub fn config_read(offset: u16) -> u32 {
    with(|device| match offset & 0xFC {
        0x10 => BASE.load(Ordering::Relaxed) as u32,
        other => device.config_read(other | offset & 0xF00),
    })
}

/// Configuration space.
pub fn config_write(offset: u16, bytes: &[u8]) {
    with(|device| device.config_write(offset, bytes));
}

/// Maps the driver's view of the registers: addresses that fault.
pub fn map(address: u64, bytes: u64) -> Option<u64> {
    let base = BASE.load(Ordering::Relaxed);
    if !is_there() || !(base..base + bar::SIZE).contains(&address) {
        return None;
    }
    if SEEN.load(Ordering::Relaxed) == 0 {
        SEEN.store(memory::reserve_device(bar::SIZE), Ordering::Relaxed);
    }
    let _ = bytes;
    Some(SEEN.load(Ordering::Relaxed) + (address - base))
}

/// The device loses its power.
pub fn reset() {
    with(Device::reset);
}

/// From now on the device answers nothing, until it is told to reset itself.
pub fn be_silent() {
    with(Device::be_silent);
}

/// From now on it answers nothing that this unit is asked for, until the unit is reset.
pub fn be_silent_for(unit: Unit) {
    with(|device| device.be_silent_for(unit));
}

/// The end of that, for all units.
pub fn speak() {
    with(Device::speak);
}

/// From now on it tells this lie.
pub fn tell(lie: Lie) {
    with(|device| device.tell(lie));
}

/// Resets that the driver asked for since the last time.
pub fn take_tasks() -> Vec<Task> {
    with(Device::take_tasks)
}

/// How many events of its lie it has told, and whether those are all.
pub fn events_told() -> (u64, bool) {
    with(|device| (device.told, device.has_told_its_events()))
}

/// The device tells the truth of a unit, that its capacity has changed; `false`: it has no buffer for that.
pub fn say_that_it_changed(unit: Unit) -> bool {
    let (told, messages) = with(|device| device.say_that_it_changed(unit, &mut Ram));
    interrupt(&messages);
    told
}

/// The device says of a request that it has that it was another one, which there is not.
pub fn break_ring() {
    let messages = with(|device| device.break_ring(&mut Ram));
    interrupt(&messages);
}

/// From now on the device keeps this schedule, or none. No request may be under way.
pub fn keep_pace(pace: Option<Pace>) {
    TURNS.store(pace == Some(Pace::Thread), Ordering::Relaxed);
    with(|device| device.keep_pace(pace, &mut Ram));
}

/// A device that keeps a schedule, but not in turns, answers all that it has; with how many requests.
pub fn answer(order: Order) -> usize {
    let (messages, count) = with(|device| device.answer(order, &mut Ram));
    interrupt(&messages);
    count
}

/// Something has happened that takes a driver or StorPort a while: a turn of a device that keeps its schedule in turns. Whether it is
/// awake or has something to do.
pub fn turn() -> bool {
    if !TURNS.load(Ordering::Relaxed) {
        return false;
    }
    let (messages, busy) = with(|device| device.turn(&mut Ram));
    interrupt(&messages);
    busy
}

/// Interrupts raised so far while the driver was in a DPC.
pub fn interrupts_in_dpc() -> u64 {
    IN_DPC.load(Ordering::Relaxed)
}

/// Does the driver's access to a register, if that is what faulted. Interrupts are off meanwhile, and the device's lock is
/// not held: the stand itself touches no register.
pub fn access(frame: &mut Frame, address: u64) -> bool {
    let seen = SEEN.load(Ordering::Relaxed);
    if seen == 0 || !(seen..seen + bar::SIZE).contains(&address) {
        return false;
    }
    // SAFETY: the instruction was just fetched from there, and is followed by more of its section.
    let code = unsafe { core::slice::from_raw_parts(frame.rip as *const u8, 15) };
    let mut registers = Registers { general: general(frame).map(|r| *r), rip: frame.rip, flags: frame.flags };
    let mut bus = Registered { seen, messages: Vec::new() };
    let done = emulate::step(code, address, &mut registers, &mut bus).is_some();
    if done {
        for (place, value) in general(frame).into_iter().zip(registers.general) {
            *place = value;
        }
        (frame.rip, frame.flags) = (registers.rip, registers.flags);
        // The next instruction runs before the trap flag stops the processor again.
        if frame.flags & trace::TRAP_FLAG != 0 {
            trace::step(frame);
        }
    }
    interrupt(&bus.messages);
    hold_up::after_write();
    for what in with(Device::complaints) {
        crate::not_ok!("virtio-conduct", "the driver did what virtio 1.3 forbids: {what}");
    }
    done
}

/// The device's registers, and memory for the other end of string instructions.
struct Registered {
    seen: u64,
    messages: Vec<u16>,
}

impl Registered {
    fn offset(&self, address: u64) -> Option<u64> {
        (self.seen..self.seen + bar::SIZE).contains(&address).then(|| address - self.seen)
    }
}

impl Bus for Registered {
    fn load(&mut self, address: u64, size: usize) -> Option<u64> {
        if let Some(offset) = self.offset(address) {
            return Some(with(|device| device.read(offset, size as u8)));
        }
        let mut bytes = [0; 8];
        for (at, byte) in (address..).zip(&mut bytes[..size]) {
            paging::translate(at)?;
            // SAFETY: the address is mapped; a byte of the driver's own memory is read for the driver.
            *byte = unsafe { (at as *const u8).read_volatile() };
        }
        Some(u64::from_le_bytes(bytes))
    }

    fn store(&mut self, address: u64, size: usize, value: u64) -> Option<()> {
        if let Some(offset) = self.offset(address) {
            self.messages.extend(with(|device| device.write(offset, size as u8, value, &mut Ram)));
            return Some(());
        }
        for (at, byte) in (address..).zip(&value.to_le_bytes()[..size]) {
            paging::translate(at).filter(|(_, writable)| *writable)?;
            // SAFETY: the address is mapped and writable; a byte of the driver's own memory is written for the driver.
            unsafe { (at as *mut u8).write_volatile(*byte) };
        }
        Some(())
    }
}

/// A millisecond has passed.
pub fn tick() {
    if is_there() {
        let messages = with(|device| device.tick(&mut Ram));
        interrupt(&messages);
    }
}

/// Raises messages: by the message table when they are on, else the line.
fn interrupt(messages: &[u16]) {
    if messages.is_empty() {
        return;
    }
    if percpu::current_callback() == "HwStorDpcRoutine" {
        IN_DPC.fetch_add(messages.len() as u64, Ordering::Relaxed);
    }
    let control = config_read(0x84) >> 16;
    if control & 0x8000 == 0 {
        apic::send(smp::apic_id(0), LINE_VECTOR);
        return;
    }
    for message in messages.iter().filter(|message| **message < device::MESSAGES) {
        let at = BASE.load(Ordering::Relaxed) + bar::TABLE + 16 * u64::from(*message) + 12;
        // SAFETY: the message table lies in the RAM behind the device's addresses, which the stand alone writes to.
        let control = unsafe { memory::window(at).cast::<u32>().read_volatile() };
        // Masked.
        if control & 1 == 0 {
            apic::send(smp::apic_id(processor_of(*message)), FIRST_MESSAGE + *message as u8);
        }
    }
}

/// The general registers of a frame, in the order of [`Registers`].
fn general(frame: &mut Frame) -> [&mut u64; 16] {
    [
        &mut frame.rax,
        &mut frame.rcx,
        &mut frame.rdx,
        &mut frame.rbx,
        &mut frame.rsp,
        &mut frame.rbp,
        &mut frame.rsi,
        &mut frame.rdi,
        &mut frame.r8,
        &mut frame.r9,
        &mut frame.r10,
        &mut frame.r11,
        &mut frame.r12,
        &mut frame.r13,
        &mut frame.r14,
        &mut frame.r15,
    ]
}
