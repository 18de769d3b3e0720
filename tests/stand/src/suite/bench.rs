//! `bench`: what requests cost, counted by `cpu::trace`; each step prints a line `count {JSON}`, which the runner makes tables
//! and ratios of. Nothing is timed.
//!
//! On a machine of one processor: sizes from 512 bytes to 2 MiB, so 1 to 512 segments (no two pages of a buffer lie side by side), depths from 1 to
//! 256, reads, writes, SYNCHRONIZE CACHE and UNMAP, the first requests apart, and closed loops. On one of several, with `gather=1`
//! (messages and DPCs on the first processor, so that no two processors meet in the driver's locks): what several queues cost,
//! and a queue that gets more than its ring takes.
//!
//! On the stand's own device (`model=blk`, `model=scsi`): doorbells and interrupts with devices that keep a schedule
//! ([`Pace`]), and completions in other orders than that of submission. Nothing there hangs on how fast anything is.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use stand::cmdline::Options;
use stand::device::{Order, Pace};
use stand::scsi;
use stand::stamp::SplitMix64;
use stand::wdk::codes::SRB_STATUS_SUCCESS;

use crate::cpu::smp;
use crate::cpu::trace::{self, Map, Where};
use crate::kernel::{dpc, pool};
use crate::memory::PAGE;
use crate::model;
use crate::pass::buffer::Buffer;
use crate::pass::transfer::Flights;
use crate::pci::virtio;
use crate::scan::class::TIMEOUT;
use crate::scan::{self, DISK, Unit};
use crate::storport::request::{Data, Request};
use crate::storport::{Address, interrupt, port, queue, request};

/// What a request asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Read,
    Write,
    /// SYNCHRONIZE CACHE of everything.
    Flush,
    /// UNMAP of one range.
    Unmap,
}

impl Operation {
    fn word(self) -> &'static str {
        match self {
            Operation::Read => "read",
            Operation::Write => "write",
            Operation::Flush => "flush",
            Operation::Unmap => "unmap",
        }
    }
}

/// How requests follow each other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Load {
    /// As many as the depth is, and the next when the device and the driver are done with all of them.
    Bursts,
    /// The same, and the depth is that of each processor.
    BurstsOfEach,
    /// All wait at Storport, which keeps as many as the depth is with the driver: it starts the next one for each that ends.
    Loop,
    /// A loop of the first processor alone, so that one of the queues has more than its ring takes.
    LoopOnFirst,
    /// Bursts of each processor alone: what is written for its queue, and for another one's.
    Isolated,
}

/// One amount of work.
#[derive(Clone, Copy)]
struct Step {
    name: &'static str,
    count: u32,
    depth: u32,
    /// Bytes of each transfer, or of what is unmapped.
    bytes: u32,
    operation: Operation,
    load: Load,
    /// The schedule that the stand's own device keeps; `None`: the device is QEMU's.
    pace: Option<Pace>,
    order: Order,
}

const fn reads(name: &'static str, count: u32, depth: u32, bytes: u32) -> Step {
    Step {
        name,
        count,
        depth,
        bytes,
        operation: Operation::Read,
        load: Load::Bursts,
        pace: None,
        order: Order::Fifo,
    }
}

const fn writes(name: &'static str, count: u32, depth: u32, bytes: u32) -> Step {
    Step { operation: Operation::Write, ..reads(name, count, depth, bytes) }
}

const fn flushes(name: &'static str, count: u32, depth: u32) -> Step {
    Step { operation: Operation::Flush, ..reads(name, count, depth, 0) }
}

const fn unmaps(name: &'static str, count: u32, depth: u32) -> Step {
    Step { operation: Operation::Unmap, ..reads(name, count, depth, 4096) }
}

const fn loops(name: &'static str, count: u32, depth: u32, load: Load) -> Step {
    Step { load, ..reads(name, count, depth, 4096) }
}

const fn paced(name: &'static str, count: u32, depth: u32, pace: Pace) -> Step {
    Step { pace: Some(pace), ..reads(name, count, depth, 4096) }
}

const fn paced_loop(name: &'static str, count: u32, depth: u32, pace: Pace) -> Step {
    Step { load: Load::Loop, ..paced(name, count, depth, pace) }
}

const fn ordered(name: &'static str, depth: u32, order: Order) -> Step {
    Step { order, ..paced(name, 256, depth, Pace::Asleep) }
}

/// The first requests of a run, those of the bus scan apart: what is done but once is in them, and not in the rest.
const FIRST: [Step; 2] = [reads("first-read-4k", 1, 1, 4096), writes("first-write-4k", 1, 1, 4096)];

/// Steps of one processor, and so one queue. The page of a buffer is a segment.
const ONE: [Step; 32] = [
    reads("read-4k-qd1", 64, 1, 4096),
    writes("write-4k-qd1", 64, 1, 4096),
    reads("read-4k-qd2", 64, 2, 4096),
    reads("read-4k-qd4", 64, 4, 4096),
    reads("read-4k-qd8", 64, 8, 4096),
    reads("read-4k-qd16", 128, 16, 4096),
    reads("read-4k-qd32", 256, 32, 4096),
    writes("write-4k-qd32", 256, 32, 4096),
    reads("read-4k-qd64", 256, 64, 4096),
    reads("read-4k-qd128", 256, 128, 4096),
    reads("read-4k-qd256", 256, 256, 4096),
    reads("read-512-qd1", 64, 1, 512),
    reads("read-512-qd32", 128, 32, 512),
    reads("read-8k-qd32", 128, 32, 2 * 4096),
    reads("read-12k-qd32", 128, 32, 3 * 4096),
    reads("read-16k-qd32", 128, 32, 4 * 4096),
    reads("read-32k-qd32", 128, 32, 8 * 4096),
    reads("read-64k-qd1", 64, 1, 16 * 4096),
    reads("read-64k-qd32", 128, 32, 16 * 4096),
    writes("write-64k-qd32", 128, 32, 16 * 4096),
    reads("read-128k-qd32", 64, 32, 32 * 4096),
    reads("read-256k-qd8", 32, 8, 64 * 4096),
    reads("read-512k-qd8", 24, 8, 128 * 4096),
    reads("read-1000k-qd8", 24, 8, 250 * 4096),
    reads("read-1m-qd8", 24, 8, 256 * 4096),
    reads("read-2m-qd8", 16, 8, 512 * 4096),
    flushes("flush-qd1", 32, 1),
    flushes("flush-qd32", 64, 32),
    unmaps("unmap-qd1", 32, 1),
    unmaps("unmap-qd32", 64, 32),
    loops("loop-4k-qd32", 256, 32, Load::Loop),
    loops("loop-4k-qd128", 384, 128, Load::Loop),
];

/// Steps of several processors. QEMU's rings have 256 entries, one for each request.
const SEVERAL: [Step; 5] = [
    reads("queues-4k-qd1", 64, 1, 4096),
    reads("queues-4k-qd32", 256, 32, 4096),
    Step { load: Load::BurstsOfEach, ..reads("queues-4k-qd32-each", 512, 32, 4096) },
    loops("refill-4k-qd384", 768, 384, Load::LoopOnFirst),
    loops("isolated-4k-qd32", 64, 32, Load::Isolated),
];

/// Steps of the stand's own device.
const MODEL: [Step; 18] = [
    paced("eager-4k-qd1", 64, 1, Pace::Eager),
    paced("eager-4k-qd32", 256, 32, Pace::Eager),
    paced("asleep-4k-qd1", 64, 1, Pace::Asleep),
    paced("asleep-4k-qd32", 256, 32, Pace::Asleep),
    paced("polls-4k-qd1", 64, 1, Pace::Polls),
    paced("polls-4k-qd32", 256, 32, Pace::Polls),
    ordered("fifo-4k-qd32", 32, Order::Fifo),
    ordered("reversed-4k-qd32", 32, Order::Reversed),
    ordered("fifo-4k-qd256", 256, Order::Fifo),
    ordered("reversed-4k-qd256", 256, Order::Reversed),
    ordered("shuffled-4k-qd256", 256, Order::Shuffled(8)),
    paced_loop("eager-loop-4k-qd32", 256, 32, Pace::Eager),
    paced_loop("asleep-loop-4k-qd1", 64, 1, Pace::Asleep),
    paced_loop("asleep-loop-4k-qd32", 256, 32, Pace::Asleep),
    paced_loop("polls-loop-4k-qd32", 256, 32, Pace::Polls),
    paced_loop("thread-loop-4k-qd1", 64, 1, Pace::Thread),
    paced_loop("thread-loop-4k-qd32", 256, 32, Pace::Thread),
    paced_loop("thread-loop-4k-qd128", 384, 128, Pace::Thread),
];

/// Most processors of a machine on which requests are counted: on a larger one it is what the driver holds.
const MOST: u32 = 8;

/// Processors of the machine whose steps have no number in their names.
const USUAL: u32 = 4;

impl Step {
    /// What it is called on a machine of so many processors: no two steps of a driver have the same name.
    fn name_on(&self, processors: u32) -> String {
        match self.name.split_once('-') {
            Some((load, rest)) if processors > 1 && processors != USUAL => {
                format!("{load}{processors}-{rest}")
            }
            _ => self.name.to_string(),
        }
    }

    /// Requests that are with the driver at once.
    fn at_once(&self) -> u32 {
        if self.load == Load::BurstsOfEach { self.depth * smp::count() } else { self.depth }
    }
}

/// Bytes of UNMAP's parameter list with one descriptor (SBC-3, 5.28.2).
const UNMAP_LIST: u32 = 24;
/// What tells requests that are no transfers from those that are.
const COMMANDS: u64 = 0xFFFF_FFFF << 32;

/// Longest time until a burst is with the driver, in milliseconds.
const STARTS: u64 = 60_000;
/// Turns in which nothing happens at all, after which nothing will.
const MOST_IDLE: u32 = 1000;
/// Milliseconds in which the device ends what it was told of last.
const DEVICE: u64 = 5;

/// All steps on the first disk.
pub fn run(units: &[Unit], options: &Options) {
    // No bus scan has been made of the stand's own device.
    let found = if model::is_there() { scan::scan() } else { units.to_vec() };
    let units = &found;
    let disk = units.iter().find(|unit| unit.inquiry.device_type == DISK && unit.capacity.is_some());
    let Some(disk) = disk else {
        crate::not_ok!("bench-units", "there is no disk to measure with");
        return;
    };
    // With QEMU's device it is the same.
    if !model::is_there() {
        held();
    }
    let doorbells = doorbells();
    let (first, steps): (&[Step], &[Step]) = match smp::count() {
        _ if model::is_there() => (&[], &MODEL),
        1 => (&FIRST, &ONE),
        2..=MOST => (&[], &SEVERAL),
        _ => (&[], &[]),
    };
    for step in first.iter().chain(steps) {
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
    let unit = port.config.specific_lu_extension_size;
    drop(port);
    crate::console::line(
        "count ",
        format_args!(
            "{{\"held\":{{\"device-extension\":{extension},\"uncached-extension\":{uncached},\"pool\":{pool},\"srb-extension\":{srb},\"unit-extension\":{unit}}}}}"
        ),
    );
}

/// Counts one step.
fn measure(step: &Step, disk: &Unit, options: &Options, doorbells: (u64, u64)) {
    let Some(capacity) = disk.capacity else { return };
    let mut work = Work::new(step, disk.address, capacity, options.seed);
    if step.pace.is_some() {
        model::keep_pace(step.pace);
    }
    let before = port().statistics;
    let interrupts = interrupt::taken();
    let in_dpc = model::interrupts_in_dpc();
    trace::start(Map { doorbells, is_extension: request::is_extension }, Where::Everywhere);
    let faults = match step.load {
        Load::Loop if step.pace.is_some() => paced_through(step, &mut work),
        Load::Bursts | Load::BurstsOfEach => bursts(step, &mut work),
        Load::Loop | Load::LoopOnFirst => closed_loop(step, &mut work),
        Load::Isolated => (0..smp::count()).map(|processor| isolated(step, &mut work, processor)).sum(),
    };
    trace::stop();
    if step.pace.is_some() {
        model::keep_pace(None);
    }
    let after = port().statistics;
    let interrupts = interrupt::taken() - interrupts;
    let name = step.name_on(smp::count());
    crate::console::check(
        faults == 0,
        &name,
        format_args!(
            "{} times {} of {} bytes, {faults} faults",
            step.count,
            step.operation.word(),
            step.bytes
        ),
    );
    let first = if FIRST.iter().any(|other| other.name == step.name) { "first" } else { "steady" };
    crate::console::line(
        "count ",
        format_args!(
            "{{\"step\":\"{name}\",\"operation\":\"{}\",\"bytes\":\"{}\",\"depth\":\"{}\",\"state\":\"{first}\",\"device\":\"{}\",\"order\":\"{}\",\"processors\":{},\"requests\":{},\"segments\":{},\"busy\":{},\"interrupts\":{interrupts},\"interrupts-in-drain\":{},\"lines-of-two-queues\":{},{}}}",
            step.operation.word(),
            step.bytes,
            step.at_once(),
            device(step.pace),
            order(step.order),
            smp::count(),
            after.requests - before.requests,
            after.elements - before.elements,
            after.busy - before.busy,
            model::interrupts_in_dpc() - in_dpc,
            shared_lines(step),
            trace::report()
        ),
    );
}

fn device(pace: Option<Pace>) -> &'static str {
    match pace {
        None => "qemu",
        Some(Pace::Eager) => "eager",
        Some(Pace::Asleep) => "asleep",
        Some(Pace::Polls) => "polls",
        Some(Pace::Thread) => "thread",
    }
}

fn order(order: Order) -> &'static str {
    match order {
        Order::Fifo => "fifo",
        Order::Reversed => "reversed",
        Order::Shuffled(_) => "shuffled",
    }
}

/// The requests of a step.
struct Work {
    operation: Operation,
    bytes: u32,
    capacity: scsi::Capacity,
    random: SplitMix64,
    flights: Flights,
    /// Parameter lists of the commands under way that are no transfers, by slot.
    lists: Vec<Option<Buffer>>,
    address: Address,
}

impl Work {
    fn new(step: &Step, address: Address, capacity: scsi::Capacity, seed: u64) -> Self {
        let bursts = matches!(step.load, Load::Bursts | Load::BurstsOfEach | Load::Isolated);
        let slots = if bursts { step.at_once() } else { step.count } as usize;
        let mut flights = Flights::new(address, capacity.block_size, slots);
        flights.processor = (step.load == Load::LoopOnFirst).then_some(0);
        Work {
            operation: step.operation,
            bytes: step.bytes,
            capacity,
            random: SplitMix64(seed),
            flights,
            lists: (0..slots).map(|_| None).collect(),
            address,
        }
    }

    /// Hands one more to Storport, in a free slot.
    fn start(&mut self, slot: usize) {
        let blocks = self.bytes / self.capacity.block_size;
        let mut place = || self.random.below(self.capacity.blocks / u64::from(blocks)) * u64::from(blocks);
        match self.operation {
            Operation::Read | Operation::Write => {
                let (lba, buffer) = (place(), Buffer::of_segments(self.bytes));
                self.flights.start(slot, lba, self.operation == Operation::Write, buffer, false);
            }
            Operation::Flush => self.command(slot, scsi::synchronize_cache(), None),
            Operation::Unmap => {
                let lba = place();
                let mut list = Buffer::new(UNMAP_LIST, 0);
                let bytes = list.bytes();
                bytes.fill(0);
                bytes[..4].copy_from_slice(&[0, UNMAP_LIST as u8 - 2, 0, UNMAP_LIST as u8 - 8]);
                bytes[8..16].copy_from_slice(&lba.to_be_bytes());
                bytes[16..20].copy_from_slice(&blocks.to_be_bytes());
                self.command(slot, scsi::unmap(UNMAP_LIST as u16), Some(list));
            }
        }
    }

    fn command(&mut self, slot: usize, command: scsi::Command, list: Option<Buffer>) {
        let data = list.as_ref().map_or(Data::default(), |list| list.part(0, list.length));
        let mut request = Request::new(self.address, command, data, TIMEOUT);
        request.cookie = COMMANDS | slot as u64;
        self.lists[slot] = list;
        queue::submit(request);
    }

    /// How many have ended since the last time, and how many of them failed.
    fn ended(&mut self) -> (u32, u32) {
        if matches!(self.operation, Operation::Read | Operation::Write) {
            let ended = self.flights.ended();
            let faults = ended.iter().filter(|(_, transfer)| transfer.error.is_some()).count();
            return (ended.len() as u32, faults as u32);
        }
        let (mut count, mut faults) = (0, 0);
        for request in queue::take_done(|cookie| cookie & COMMANDS == COMMANDS) {
            count += 1;
            faults += u32::from(request.answer.srb_status & 0x3F != SRB_STATUS_SUCCESS);
            self.lists[request.cookie as u32 as usize] = None;
        }
        (count, faults)
    }

    /// Waits for so many; answers with the number of those that failed.
    fn finish(&mut self, count: u32) -> u32 {
        let (mut left, mut faults) = (count, 0);
        let in_time = queue::wait(u64::from(TIMEOUT) * 1000 + 60_000, || {
            let (ended, failed) = self.ended();
            left -= ended;
            faults += failed;
            left == 0
        });
        if !in_time {
            crate::stop!("requests neither ended nor timed out");
        }
        faults
    }
}

/// Burst after burst: no DPC runs until all of one is with the driver and the device is done with it. Answers with the number
/// of transfers that failed.
fn bursts(step: &Step, work: &mut Work) -> u32 {
    let (mut started, mut faults) = (0, 0);
    while started < step.count {
        let burst = step.at_once().min(step.count - started);
        dpc::hold(true);
        for slot in 0..burst {
            work.start(slot as usize);
        }
        started += burst;
        if !queue::wait_for_starts(STARTS) {
            crate::note!("{}: not all of a burst of {} has started", step.name, step.depth);
        }
        match step.pace {
            None => {
                queue::wait(DEVICE, || false);
            }
            Some(_) => {
                model::answer(step.order);
            }
        }
        dpc::hold(false);
        faults += work.finish(burst);
    }
    faults
}

/// Bursts of one processor, for whose queue alone the driver works meanwhile.
fn isolated(step: &Step, work: &mut Work, processor: u32) -> u32 {
    work.flights.processor = Some(processor);
    trace::queue(Some(processor));
    let faults = bursts(step, work);
    trace::queue(None);
    faults
}

/// Says where the lines are that are written for more than one queue; answers with how many.
fn shared_lines(step: &Step) -> usize {
    let shared = trace::shared_lines();
    let port = port();
    let areas = [
        ("device extension", port.extension, u64::from(port.hw.device_extension_size)),
        (
            "uncached extension",
            port.uncached.map_or(0, |(range, ..)| range.address),
            port.uncached.map_or(0, |(range, ..)| range.pages * PAGE),
        ),
    ];
    drop(port);
    for (line, queues) in &shared {
        let area = areas.iter().find(|(_, at, size)| (*at..at + size).contains(line));
        match area {
            Some((name, at, _)) => {
                crate::note!("{}: {queues} queues write {name} + {:#x}", step.name, line - at)
            }
            None => crate::note!("{}: {queues} queues write the line at {line:#x}", step.name),
        }
    }
    shared.len()
}

/// Everything at once, and Storport keeps so many with the driver.
fn closed_loop(step: &Step, work: &mut Work) -> u32 {
    let limit = core::mem::replace(&mut port().limit, step.depth as usize);
    dpc::hold(true);
    for slot in 0..step.count {
        work.start(slot as usize);
    }
    if !queue::wait_for_starts(STARTS) {
        crate::note!("{}: not all of {} have started", step.name, step.depth);
    }
    queue::wait(DEVICE, || false);
    dpc::hold(false);
    let faults = work.finish(step.count);
    port().limit = limit;
    faults
}

/// A closed loop on a device that keeps a schedule: whenever driver and Storport have nothing to do it has its turn, so that no
/// clock has a say.
fn paced_through(step: &Step, work: &mut Work) -> u32 {
    let limit = core::mem::replace(&mut port().limit, step.depth as usize);
    (0..step.count).for_each(|slot| work.start(slot as usize));
    let (mut left, mut faults, mut idle) = (step.count, 0, 0);
    while left > 0 {
        queue::wait(0, || false);
        let (ended, failed) = work.ended();
        left -= ended;
        faults += failed;
        let busy = match step.pace {
            Some(Pace::Thread) => model::turn(),
            _ => model::answer(step.order) > 0,
        };
        idle = if busy || ended > 0 { 0 } else { idle + 1 };
        if idle > MOST_IDLE {
            crate::stop!("{}: {left} requests are left, and the device was not told of them", step.name);
        }
    }
    port().limit = limit;
    faults
}
