//! `dump`: the system crashes, and the second copy of the miniport writes what was in memory.
//!
//! The first copy writes stamps that must survive, then works under load until the crash, which comes at a random moment
//! inside the driver. The second copy finds the disk, writes pages that hold stamps of a generation of their own to a place
//! that nobody else writes, makes them durable and reads a part of them back. The host looks for both in the image file. Other
//! disks are read meanwhile, so that their requests are under way at the crash as well.
//! For hibernation (DUMP_MODE_HIBER) no request is under way. A miniport that declines is skipped.

use alloc::string::String;
use alloc::vec::Vec;

use stand::cmdline::{DumpTrial, Options};
use stand::scsi::{self, Capacity, Command};
use stand::stamp::{self, DUMP_GENERATION, FINAL_BYTES, FINAL_GENERATION, SplitMix64, Stamp};
use stand::wdk::codes::*;
use stand::wdk::srb::Extra;

use crate::cpu::clock;
use crate::cpu::lock::Lock;
use crate::kernel::import;
use crate::memory::{PAGE, arena, driver};
use crate::pass::buffer::Buffer;
use crate::pass::disk::describe;
use crate::pass::transfer::Flights;
use crate::scan::class::{self, Outcome};
use crate::scan::{DISK, Unit};
use crate::storport::dump::{self, How, Pointers};
use crate::storport::request::{Data, Request};
use crate::storport::{Address, port, queue};
use crate::{console, loader};

/// Bytes of memory that are dumped.
const BYTES: u64 = 4 << 20;
/// Most bytes of one write. How much Windows writes at once is not documented.
const PIECE: u32 = 64 << 10;
/// Seconds that a request of the dump may take.
const TIMEOUT: u32 = 10;
/// Transfers under way at the crash.
const DEPTH: usize = 24;
/// Other disks that are read until then, at most.
const OTHERS: usize = 64;
/// A disk of fewer bytes only gets commands without data of its own.
const SMALL: u64 = 16 << 20;

/// What the second copy is to do.
struct Plan {
    how: How,
    address: Address,
    capacity: Capacity,
    /// First block of the dump.
    first: u64,
    /// The memory.
    pages: Option<Buffer>,
    seed: u64,
    owner: u32,
}

static PLAN: Lock<Option<Plan>> = Lock::new(None);

/// Prepares, works, and crashes.
pub fn run(units: &[Unit], options: &Options) {
    let mut disks = units.iter().filter(|unit| unit.inquiry.device_type == DISK && unit.capacity.is_some());
    // Another disk for a change: behind a SCSI controller one with blocks of another size.
    let last = options.dump == DumpTrial::Extended || options.last_disk;
    let disk = if last { disks.next_back() } else { disks.next() };
    let Some((disk, capacity)) = disk.and_then(|disk| Some((disk, disk.capacity?))) else {
        crate::not_ok!("dump", "there is no disk to dump to");
        return;
    };
    let pointers = dump::ask_for_pointers(disk.address).unwrap_or_else(|text| {
        crate::not_ok!("dump-pointers", "{text}");
        Pointers::default()
    });
    let crash = options.dump != DumpTrial::Hiber;
    let (path, target, lun) = disk.address;
    let block = capacity.block_size;
    let owner = stamp::owner(path, target, lun);
    let small = capacity.blocks * u64::from(block) < SMALL;
    let first = capacity.blocks / 2;
    let pages = (!small).then(|| {
        let mut pages = Buffer::new(BYTES as u32, 0);
        let stamp = Stamp { lba: first, generation: DUMP_GENERATION, seed: options.seed, owner };
        pages.fill(block, &stamp);
        pages
    });
    let how = How {
        mode: if crash { DUMP_MODE_CRASH } else { DUMP_MODE_HIBER },
        extended: options.dump == DumpTrial::Extended,
        entry: loader::load_again(if crash { "dump_" } else { "hiber_" }, import::resolve),
        pointers,
    };
    let plan = Plan { how, address: disk.address, capacity, first, pages, seed: options.seed, owner };
    *PLAN.lock() = Some(plan);
    if small {
        dump::crash(go_on);
    }
    survivors(disk.address, block, options.seed, owner);
    let mut random = SplitMix64(options.seed ^ 0xD0_0D);
    let mut load = Flights::new(disk.address, block, DEPTH);
    if crash {
        dump::crash_at(clock::ticks() + 20 + random.below(100), go_on);
    }
    let mut others: Vec<(Flights, u32)> = units
        .iter()
        .filter(|unit| unit.inquiry.device_type == DISK && unit.address != disk.address)
        .filter_map(|unit| Some((unit.address, unit.capacity?.block_size)))
        .take(OTHERS)
        .map(|(address, block)| (Flights::new(address, block, 1), block))
        .collect();
    let area = first / 4;
    let started = clock::ticks();
    let mut generation = 0;
    loop {
        for slot in 0..DEPTH {
            if !load.is_free(slot) {
                continue;
            }
            generation += 1;
            let blocks = 1 + random.below(u64::from((128 << 10) / block));
            let lba = area + random.below(area - blocks);
            let mut buffer = Buffer::new(blocks as u32 * block, 0);
            buffer.fill(block, &Stamp { lba, generation, seed: options.seed, owner });
            load.start(slot, lba, random.below(4) != 0, buffer, false);
        }
        for (_, transfer) in load.ended() {
            if let Some(error) = transfer.error {
                crate::not_ok!("load", "{error}");
            }
        }
        for (flights, block) in &mut others {
            for (_, read) in flights.ended() {
                if let Some(error) = read.error {
                    crate::not_ok!("load", "{error}");
                }
            }
            if flights.is_free(0) {
                flights.start(0, random.below(16), false, Buffer::new(*block, 0), false);
            }
        }
        queue::turn();
        if !crash && clock::ticks() > started + 100 {
            while !load.finished().is_empty() {}
            for (flights, _) in &mut others {
                while !flights.finished().is_empty() {}
            }
            dump::crash(go_on);
        }
    }
}

/// Writes what must still be there afterwards, and makes it durable.
fn survivors(address: Address, block: u32, seed: u64, owner: u32) {
    let mut flights = Flights::new(address, block, 1);
    let piece = u64::from(PIECE / block);
    let blocks = FINAL_BYTES / u64::from(block);
    let mut faults = 0;
    for lba in (0..blocks).step_by(piece as usize) {
        let mut buffer = Buffer::new(PIECE, 0);
        buffer.fill(block, &Stamp { lba, generation: FINAL_GENERATION, seed, owner });
        faults += u32::from(flights.one(lba, true, buffer, false).error.is_some());
    }
    let (outcome, _) = class::send(address, scsi::synchronize_cache(), 0);
    let good = faults == 0 && matches!(outcome, Outcome::Good);
    console::check(
        good,
        "before-the-dump",
        format_args!("{blocks} blocks written, {faults} fault(s), {outcome}"),
    );
    crate::note!("final stamp: owner={owner:#x} blocks={blocks} block-size={block} seed={seed:x}");
}

/// After the crash.
fn go_on() -> ! {
    let plan = PLAN.lock().take();
    let Some(plan) = plan else { crate::stop!("the stand itself failed: no plan for the crash") };
    let before = dump::first_memory();
    match dump::bring_up(&plan.how) {
        Err(why) => crate::skip!("dump", "the miniport does not support dump mode: {why}"),
        Ok(()) => write_dump(plan),
    }
    console::check(
        before == dump::first_memory(),
        "first-copy",
        format_args!("the data and the device extension of the first copy are as at the crash"),
    );
    console::end()
}

fn write_dump(mut plan: Plan) {
    let block = plan.capacity.block_size;
    find_disk(&plan);
    if let Some(mut pages) = plan.pages.take() {
        let piece = PIECE.min(dump::most_bytes(&plan.how.pointers)) / block * block;
        if piece == 0 {
            crate::broken!("limits-too-small", "no block of {block} bytes can be written in dump mode");
        }
        let mut faults = Vec::new();
        let Some((range, _)) = arena::contiguous(u64::from(piece)) else { crate::stop!("no memory") };
        let buffer = |length| Data { address: range.address, length };
        let offsets = || (0..BYTES as u32).step_by(piece as usize);
        let place = |offset: u32| plan.first + u64::from(offset / block);
        // By turns from the dump port's own contiguous buffer, and straight from the pages, which lie anywhere: that a buffer
        // can have breaks follows from NumberOfPhysicalBreaks in ns-storport-_miniport_dump_pointers.md.
        let breaks = port().config.number_of_physical_breaks.saturating_mul(PAGE as u32) / block * block;
        for (index, offset) in offsets().enumerate() {
            let length = piece.min(BYTES as u32 - offset);
            let data = if index % 2 == 1 && length <= breaks {
                pages.part(offset, length)
            } else {
                let bytes = &pages.bytes()[offset as usize..(offset + length) as usize];
                driver::put("dump", range.address, bytes);
                buffer(length)
            };
            let command = scsi::transfer(true, place(offset), length / block, false);
            check(&plan, command, data, &mut faults);
        }
        report("dump-write", &faults, &alloc::format!("{BYTES} bytes in pieces of {piece}"));
        faults.clear();
        flush(&plan, &mut faults);
        report("dump-flush", &faults, "SYNCHRONIZE CACHE, and FLUSH and SHUTDOWN for an adapter that caches");
        faults.clear();
        let mut seen = 0;
        for offset in offsets().step_by(5) {
            let length = piece.min(BYTES as u32 - offset);
            driver::fill("dump", range.address, 0x5C, length as usize);
            let command = scsi::transfer(false, place(offset), length / block, false);
            check(&plan, command, buffer(length), &mut faults);
            let bytes = driver::bytes("dump", range.address, length as usize);
            for (index, bytes) in bytes.chunks_exact(block as usize).enumerate() {
                let lba = place(offset) + index as u64;
                let stamp = Stamp { lba, generation: DUMP_GENERATION, seed: plan.seed, owner: plan.owner };
                seen += 1;
                if let Err(mismatch) = stamp::verify(bytes, &stamp) {
                    faults.push(describe(lba, DUMP_GENERATION, mismatch));
                }
            }
        }
        report("dump-read", &faults, &alloc::format!("{seen} blocks read back"));
        crate::note!(
            "final stamp: owner={:#x} blocks={} block-size={block} seed={:x} first={} generation={DUMP_GENERATION:#x}",
            plan.owner,
            BYTES / u64::from(block),
            plan.seed,
            plan.first
        );
    } else {
        let mut faults = Vec::new();
        flush(&plan, &mut faults);
        report("dump-flush", &faults, "a disk that is too small for more");
    }
    let requests = port().statistics.requests;
    let polls = dump::POLLS.load(core::sync::atomic::Ordering::Relaxed);
    crate::note!("dump: {requests} requests, HwStorInterrupt polled {polls} times");
}

/// INQUIRY, TEST UNIT READY until there is no news, READ CAPACITY. The page says that target and LUN are those that the
/// first copy used; in which way the dump port finds the disk there is not documented.
fn find_disk(plan: &Plan) {
    let Some((range, _)) = arena::contiguous(64) else { crate::stop!("no memory") };
    let ask = |command: Command, length: u32| {
        let data = if length == 0 { Data::default() } else { Data { address: range.address, length } };
        let answer = dump::execute(Request::new(plan.address, command, data, TIMEOUT)).answer;
        let bytes = driver::bytes("dump", range.address, answer.transferred.min(length) as usize);
        (Outcome::of(&answer), bytes)
    };
    let (outcome, bytes) = ask(scsi::inquiry(None, 36), 36);
    let is_disk = scsi::parse_inquiry(&bytes).is_some_and(|inquiry| inquiry.device_type == DISK);
    console::check(is_disk, "dump-inquiry", format_args!("{}: {outcome}", class::name(plan.address)));
    let mut outcome = ask(scsi::test_unit_ready(), 0).0;
    for _ in 0..5 {
        if matches!(outcome, Outcome::Good) {
            break;
        }
        outcome = ask(scsi::test_unit_ready(), 0).0;
    }
    console::check(matches!(outcome, Outcome::Good), "dump-ready", format_args!("{outcome}"));
    let (outcome, bytes) = ask(scsi::read_capacity_10(), 8);
    let found = scsi::parse_capacity_10(&bytes);
    let same = found.is_some_and(|found| {
        (found.blocks, found.block_size) == (plan.capacity.blocks, plan.capacity.block_size)
    });
    console::check(same, "dump-capacity", format_args!("{outcome}, {found:?}"));
}

/// Everything that makes what was written durable.
fn flush(plan: &Plan, faults: &mut Vec<String>) {
    check(plan, scsi::synchronize_cache(), Data::default(), faults);
    if port().config.caches_data == 0 {
        return;
    }
    for function in [SRB_FUNCTION_FLUSH, SRB_FUNCTION_SHUTDOWN] {
        let request = Request::other(plan.address, function, Extra::None, Data::default(), TIMEOUT);
        let answer = dump::execute(request).answer;
        if answer.srb_status & 0x3F != SRB_STATUS_SUCCESS {
            faults.push(answer.text());
        }
    }
}

/// One command that must succeed and move all its data.
fn check(plan: &Plan, command: Command, data: Data, faults: &mut Vec<String>) {
    let request = dump::execute(Request::new(plan.address, command, data, TIMEOUT));
    let good = matches!(Outcome::of(&request.answer), Outcome::Good);
    if !good || request.answer.transferred != data.length {
        faults.push(alloc::format!("{}: {}", request.text(), request.answer.text()));
    }
}

fn report(name: &str, faults: &[String], what: &str) {
    let some = faults.iter().take(3).cloned().collect::<Vec<_>>().join("; ");
    console::check(
        faults.is_empty(),
        name,
        format_args!("{what}{}{some}", if faults.is_empty() { "" } else { ": " }),
    );
}
