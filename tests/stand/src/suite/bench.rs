//! `bench`: what requests cost, counted by `cpu::trace`. One processor; each step prints a line `count {JSON}`, which the runner
//! makes tables and ratios of. Nothing is timed.

use stand::cmdline::Options;
use stand::stamp::SplitMix64;

use crate::cpu::{interrupt, smp, trace};
use crate::kernel::pool;
use crate::pass::buffer::Buffer;
use crate::pass::transfer::Flights;
use crate::pci::virtio;
use crate::scan::{DISK, Unit};
use crate::storport::port;

/// One amount of work.
struct Step {
    name: &'static str,
    count: u32,
    depth: usize,
    bytes: u32,
    write: bool,
    random: bool,
}

const STEPS: [Step; 6] = [
    Step { name: "read-4k-qd1", count: 64, depth: 1, bytes: 4096, write: false, random: false },
    Step { name: "write-4k-qd1", count: 64, depth: 1, bytes: 4096, write: true, random: false },
    Step { name: "read-4k-random-qd32", count: 256, depth: 32, bytes: 4096, write: false, random: true },
    Step { name: "write-4k-random-qd32", count: 256, depth: 32, bytes: 4096, write: true, random: true },
    Step { name: "read-64k-qd32", count: 128, depth: 32, bytes: 65536, write: false, random: true },
    Step { name: "read-1m-qd8", count: 24, depth: 8, bytes: 1 << 20, write: false, random: true },
];

/// All steps on the first disk.
pub fn run(units: &[Unit], options: &Options) {
    let disk = units.iter().find(|unit| unit.inquiry.device_type == DISK && unit.capacity.is_some());
    let Some(disk) = disk else {
        crate::not_ok!("bench-units", "there is no disk to measure with");
        return;
    };
    if smp::count() > 1 {
        crate::stop!("bench counts on one processor (-smp 1)");
    }
    held();
    let doorbells = doorbells();
    for step in &STEPS {
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

fn measure(step: &Step, disk: &Unit, options: &Options, doorbells: (u64, u64)) {
    let Some(capacity) = disk.capacity else { return };
    let block = capacity.block_size;
    let blocks = u64::from(step.bytes / block);
    let mut flights = Flights::new(disk.address, block, step.depth);
    let mut random = SplitMix64(options.seed);
    let mut place = move |number: u32| {
        let places = capacity.blocks / blocks;
        let index = if step.random { random.below(places) } else { u64::from(number) % places };
        index * blocks
    };
    let before = port().statistics;
    let interrupts = interrupt::DEVICE_INTERRUPTS.load(core::sync::atomic::Ordering::Relaxed);
    trace::start(doorbells);
    let (mut started, mut faults) = (0, 0);
    while started < step.count.min(step.depth as u32) {
        flights.start(started as usize, place(started), step.write, Buffer::new(step.bytes, 0), false);
        started += 1;
    }
    loop {
        let ended = flights.finished();
        if ended.is_empty() {
            break;
        }
        for (slot, transfer) in ended {
            faults += u32::from(transfer.error.is_some());
            if started < step.count {
                flights.start(slot, place(started), step.write, Buffer::new(step.bytes, 0), false);
                started += 1;
            }
        }
    }
    trace::stop();
    let after = port().statistics;
    let interrupts = interrupt::DEVICE_INTERRUPTS.load(core::sync::atomic::Ordering::Relaxed) - interrupts;
    crate::console::check(
        faults == 0,
        step.name,
        format_args!("{started} transfers of {} bytes", step.bytes),
    );
    crate::console::line(
        "count ",
        format_args!(
            "{{\"step\":\"{}\",\"requests\":{},\"busy\":{},\"interrupts\":{interrupts},{}}}",
            step.name,
            after.requests - before.requests,
            after.busy - before.busy,
            trace::report()
        ),
    );
}
