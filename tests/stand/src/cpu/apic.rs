//! The local APIC, and the I/O APIC for line interrupts.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::vector::{CLOCK_VECTOR, LINE_VECTOR};
use super::{InterruptsOff, percpu, port, read_msr, tsc, write_msr};
use crate::memory;

const BASE_MSR: u32 = 0x1B;
const ENABLE: u64 = 1 << 11;

static LOCAL: AtomicU64 = AtomicU64::new(0);
static IO: AtomicU64 = AtomicU64::new(0);
static TSC_PER_MS: AtomicU64 = AtomicU64::new(1);
static COUNT_PER_MS: AtomicU32 = AtomicU32::new(1);

fn read(register: u64) -> u32 {
    // SAFETY: `start` mapped the page, and every register lies in it.
    unsafe { ((LOCAL.load(Ordering::Relaxed) + register) as *const u32).read_volatile() }
}

fn write(register: u64, value: u32) {
    // SAFETY: as in `read`.
    unsafe { ((LOCAL.load(Ordering::Relaxed) + register) as *mut u32).write_volatile(value) }
}

/// Time stamp counts in a millisecond.
pub fn tsc_per_ms() -> u64 {
    TSC_PER_MS.load(Ordering::Relaxed)
}

/// Turns the first processor's APIC on, measures its timer, and starts the 1 ms clock.
pub fn start() {
    let base = read_msr(BASE_MSR);
    LOCAL.store(memory::map_device(base & 0xF_FFFF_F000, 4096), Ordering::Relaxed);
    enable();
    // The PICs would deliver their lines as exceptions.
    port::write_u8(0x21, 0xFF);
    port::write_u8(0xA1, 0xFF);
    // Timer: divide by 16, count freely while the PIT's second counter measures.
    write(0x320, 1 << 16);
    let (tsc, count) = shortest((0..WINDOWS).map(|_| measure()));
    TSC_PER_MS.store((tsc / WINDOW_MS).max(1), Ordering::Relaxed);
    COUNT_PER_MS.store((count / WINDOW_MS as u32).max(1), Ordering::Relaxed);
    start_clock();
}

/// Length of a measurement, in milliseconds.
const WINDOW_MS: u64 = 10;
/// How often it is measured.
const WINDOWS: usize = 3;

/// How far time stamp and APIC timer count while the PIT counts [`WINDOW_MS`].
fn measure() -> (u64, u32) {
    port::write_u8(0x61, port::read_u8(0x61) & !3 | 1);
    port::write_u8(0x43, 0xB0);
    let count = 11_932u16;
    port::write_u8(0x42, count as u8);
    port::write_u8(0x42, (count >> 8) as u8);
    let before = tsc();
    write(0x380, u32::MAX);
    let mut tries = 0u32;
    while port::read_u8(0x61) & 0x20 == 0 {
        tries += 1;
        if tries == 10_000_000 {
            crate::stop!("the interval timer does not run");
        }
    }
    let counted = u32::MAX - read(0x390);
    (tsc() - before, counted)
}

/// The measurement that took least. A host that is busy leaves the virtual processor waiting in the middle of one, and time
/// would run at a fraction of its speed then; nothing makes one shorter than it is.
fn shortest(measurements: impl Iterator<Item = (u64, u32)>) -> (u64, u32) {
    measurements.min().unwrap_or((1, 1))
}

/// Turns another processor's APIC on and starts its clock; the timers of all run at the same rate.
pub fn start_other() {
    enable();
    start_clock();
}

fn enable() {
    write_msr(BASE_MSR, read_msr(BASE_MSR) | ENABLE);
    percpu::current().apic = read(0x20) >> 24;
    write(0xF0, 0x1FF);
    write(0x3E0, 3);
}

fn start_clock() {
    write(0x320, 1 << 17 | u32::from(CLOCK_VECTOR));
    write(0x380, COUNT_PER_MS.load(Ordering::Relaxed));
}

/// Acknowledges the interrupt being served.
pub fn end_of_interrupt() {
    write(0xB0, 0);
}

fn command(apic: u32, low: u32) {
    // The two halves belong together: an interrupt in between could send one of its own.
    let _quiet = InterruptsOff::new();
    write(0x310, apic << 24);
    write(0x300, low);
    while read(0x300) & 1 << 12 != 0 {
        core::hint::spin_loop();
    }
}

/// Sends a processor an interrupt.
pub fn send(apic: u32, vector: u8) {
    command(apic, 0x4000 | u32::from(vector));
}

/// Sends a processor a non-maskable interrupt.
pub fn send_nmi(apic: u32) {
    command(apic, 0x4400);
}

/// Resets a processor, which then waits for [`send_startup`].
pub fn send_init(apic: u32) {
    command(apic, 0x4500);
}

/// Starts a processor in real mode at the page with this number.
pub fn send_startup(apic: u32, page: u8) {
    command(apic, 0x4600 | u32::from(page));
}

/// Address and data of a message interrupt for the processor with this APIC id (fixed delivery, edge).
pub fn message(vector: u8, apic: u32) -> (u64, u32) {
    (0xFEE0_0000 | u64::from(apic) << 12, u32::from(vector))
}

/// Routes every PCI line interrupt of the machine to the line vector. Only the adapter under test raises them: all
/// other functions have their lines disabled.
pub fn route_lines(io_apic: u64, first: u32) {
    IO.store(memory::map_device(io_apic, 4096), Ordering::Relaxed);
    let apic = percpu::current().apic;
    // Q35 connects PCI lines to inputs 16 to 23, level triggered.
    for input in 16..24u32 {
        let entry = 0x10 + 2 * (input - first);
        write_io(entry + 1, apic << 24);
        write_io(entry, 1 << 15 | u32::from(LINE_VECTOR));
    }
}

/// Lets the interval timer raise an NMI about 18 times a second: the one interrupt that a driver with interrupts off
/// cannot hold back. Input 2 is where the machine wires the timer.
pub fn start_watchdog() {
    port::write_u8(0x43, 0x34);
    port::write_u8(0x40, 0);
    port::write_u8(0x40, 0);
    write_io(0x15, percpu::current().apic << 24);
    write_io(0x14, 4 << 8);
}

fn write_io(register: u32, value: u32) {
    let base = IO.load(Ordering::Relaxed);
    // SAFETY: `route_lines` mapped the page; the index and data registers lie at 0 and 0x10.
    unsafe {
        (base as *mut u32).write_volatile(register);
        ((base + 0x10) as *mut u32).write_volatile(value);
    }
}
