//! `bench`: what requests cost, counted by `cpu::trace`; each step prints a line `count {JSON}`, which the runner makes tables
//! and ratios of. Nothing is timed.
//!
//! On a machine of one processor: reads of 1 to 256 segments (a buffer's pages lie apart), depths from 1 to 256, and closed
//! loops. On one of several, with `gather=1` (messages and DPCs on the first processor, so that no two processors meet in the
//! driver's locks): what several queues cost, and a queue that gets more than its ring takes.

use stand::cmdline::Options;
use stand::stamp::SplitMix64;

use crate::cpu::smp;
use crate::cpu::trace::{self, Map, Where};
use crate::kernel::{dpc, pool};
use crate::pass::buffer::Buffer;
use crate::pass::transfer::Flights;
use crate::pci::virtio;
use crate::scan::{DISK, Unit};
use crate::storport::{interrupt, port, queue, request};

/// How requests follow each other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Load {
    /// As many as the depth is, and the next when the device and the driver are done with all of them.
    Bursts,
    /// All wait at Storport, which keeps as many as the depth is with the driver: it starts the next one for each that ends.
    Loop,
    /// A loop of the first processor alone, so that one of the queues has more than its ring takes.
    LoopOnFirst,
}

/// One amount of work.
struct Step {
    name: &'static str,
    count: u32,
    depth: u32,
    bytes: u32,
    write: bool,
    load: Load,
}

const fn reads(name: &'static str, count: u32, depth: u32, bytes: u32) -> Step {
    Step { name, count, depth, bytes, write: false, load: Load::Bursts }
}

const fn writes(name: &'static str, count: u32, depth: u32, bytes: u32) -> Step {
    Step { write: true, ..reads(name, count, depth, bytes) }
}

const fn loops(name: &'static str, count: u32, depth: u32, load: Load) -> Step {
    Step { load, ..reads(name, count, depth, 4096) }
}

/// Steps of one processor, and so one queue. The page of a buffer is a segment.
const ONE: [Step; 15] = [
    reads("read-4k-qd1", 64, 1, 4096),
    writes("write-4k-qd1", 64, 1, 4096),
    reads("read-4k-qd8", 64, 8, 4096),
    reads("read-4k-qd32", 256, 32, 4096),
    writes("write-4k-qd32", 256, 32, 4096),
    reads("read-4k-qd128", 256, 128, 4096),
    reads("read-4k-qd256", 256, 256, 4096),
    reads("read-8k-qd32", 128, 32, 2 * 4096),
    reads("read-12k-qd32", 128, 32, 3 * 4096),
    reads("read-16k-qd32", 128, 32, 4 * 4096),
    reads("read-64k-qd32", 128, 32, 16 * 4096),
    reads("read-1000k-qd8", 24, 8, 250 * 4096),
    reads("read-1m-qd8", 24, 8, 256 * 4096),
    loops("loop-4k-qd32", 256, 32, Load::Loop),
    loops("loop-4k-qd128", 384, 128, Load::Loop),
];

/// Steps of several processors. QEMU's rings have 256 entries, one for each request.
const SEVERAL: [Step; 3] = [
    reads("queues-4k-qd1", 64, 1, 4096),
    reads("queues-4k-qd32", 256, 32, 4096),
    loops("refill-4k-qd384", 768, 384, Load::LoopOnFirst),
];

/// Longest time until a burst is with the driver, in milliseconds.
const STARTS: u64 = 60_000;
/// Milliseconds in which the device ends what it was told of last.
const DEVICE: u64 = 5;

/// All steps on the first disk.
pub fn run(units: &[Unit], options: &Options) {
    let disk = units.iter().find(|unit| unit.inquiry.device_type == DISK && unit.capacity.is_some());
    let Some(disk) = disk else {
        crate::not_ok!("bench-units", "there is no disk to measure with");
        return;
    };
    held();
    let doorbells = doorbells();
    let steps: &[Step] = if smp::count() == 1 { &ONE } else { &SEVERAL };
    for step in steps {
        crate::progress!("{}", step.name);
        measure(step, disk, options, doorbells);
    }
}

/// Where the driver sees the notification registers.
fn doorbells() -> (u64, u64) {
    let (function, bars, registers) = {
        let port = port();
        (port.function, port.bars.clone(), port.registers.clone())
    };
    let Some((first, end)) = function.and_then(|function| virtio::doorbells(function, &bars)) else {
        return (0, 0);
    };
    let seen = registers.iter().find(|(_, bytes, bus)| (*bus..bus + bytes).contains(&first));
    seen.map_or((0, 0), |(at, _, bus)| (at + (first - bus), at + (end - bus)))
}

/// Memory that the driver holds.
fn held() {
    let (_, pool, _) = pool::outstanding();
    let port = port();
    let (extension, srb) = (port.hw.device_extension_size, port.config.srb_extension_size);
    let uncached = port.uncached.map_or(0, |(_, _, size)| size);
    drop(port);
    crate::console::line(
        "count ",
        format_args!(
            "{{\"held\":{{\"device-extension\":{extension},\"uncached-extension\":{uncached},\"pool\":{pool},\"srb-extension\":{srb}}}}}"
        ),
    );
}

/// Counts one step.
fn measure(step: &Step, disk: &Unit, options: &Options, doorbells: (u64, u64)) {
    let Some(capacity) = disk.capacity else { return };
    let blocks = u64::from(step.bytes / capacity.block_size);
    let mut random = SplitMix64(options.seed);
    let place = move |_| random.below(capacity.blocks / blocks) * blocks;
    let slots = if step.load == Load::Bursts { step.depth } else { step.count };
    let mut flights = Flights::new(disk.address, capacity.block_size, slots as usize);
    flights.processor = (step.load == Load::LoopOnFirst).then_some(0);
    let before = port().statistics;
    let interrupts = interrupt::taken();
    trace::start(Map { doorbells, is_extension: request::is_extension }, Where::Everywhere);
    let faults = match step.load {
        Load::Bursts => bursts(step, &mut flights, place),
        Load::Loop | Load::LoopOnFirst => closed_loop(step, &mut flights, place),
    };
    trace::stop();
    let after = port().statistics;
    let interrupts = interrupt::taken() - interrupts;
    crate::console::check(
        faults == 0,
        step.name,
        format_args!("{} transfers of {} bytes", step.count, step.bytes),
    );
    crate::console::line(
        "count ",
        format_args!(
            "{{\"step\":\"{}\",\"processors\":{},\"requests\":{},\"segments\":{},\"busy\":{},\"interrupts\":{interrupts},{}}}",
            step.name,
            smp::count(),
            after.requests - before.requests,
            after.elements - before.elements,
            after.busy - before.busy,
            trace::report()
        ),
    );
}

/// Burst after burst: no DPC runs until all of one is with the driver and the device is done with it. Answers with the number
/// of transfers that failed.
fn bursts(step: &Step, flights: &mut Flights, mut place: impl FnMut(u32) -> u64) -> u32 {
    let (mut started, mut faults) = (0, 0);
    while started < step.count {
        dpc::hold(true);
        for slot in 0..step.depth.min(step.count - started) {
            let buffer = Buffer::new(step.bytes, 0);
            flights.start(slot as usize, place(started), step.write, buffer, false);
            started += 1;
        }
        if !queue::wait_for_starts(STARTS) {
            crate::note!("{}: not all of a burst of {} has started", step.name, step.depth);
        }
        queue::wait(DEVICE, || false);
        dpc::hold(false);
        faults += all(flights);
    }
    faults
}

/// Everything at once, and Storport keeps so many with the driver.
fn closed_loop(step: &Step, flights: &mut Flights, mut place: impl FnMut(u32) -> u64) -> u32 {
    let limit = core::mem::replace(&mut port().limit, step.depth as usize);
    dpc::hold(true);
    for slot in 0..step.count {
        flights.start(slot as usize, place(slot), step.write, Buffer::new(step.bytes, 0), false);
    }
    if !queue::wait_for_starts(STARTS) {
        crate::note!("{}: not all of {} have started", step.name, step.depth);
    }
    queue::wait(DEVICE, || false);
    dpc::hold(false);
    let faults = all(flights);
    port().limit = limit;
    faults
}

/// Waits for every transfer; answers with the number of those that failed.
fn all(flights: &mut Flights) -> u32 {
    let mut faults = 0;
    loop {
        let ended = flights.finished();
        if ended.is_empty() {
            return faults;
        }
        faults += ended.iter().filter(|(_, transfer)| transfer.error.is_some()).count() as u32;
    }
}
