//! From a request to BuildIo and StartIo, and waiting for what comes back.

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use stand::cmdline::Starts;
use stand::wdk::codes::*;

use super::request::Request;
use super::{Address, Phase, Port, Unit, control, ladder, lock};
use crate::cpu::percpu::{self, Stack};
use crate::cpu::{call, clock, irql, smp};
use crate::kernel::dpc;
use crate::model;

/// Queue depth of a unit before StorPortSetDeviceQueueDepth. The documentation says there is a default; the field
/// InitialLunQueueDepth of PORT_CONFIGURATION_INFORMATION gives it.
const DEFAULT_DEPTH: u32 = 20;
/// A request may come back busy this often.
const BUSY_LIMIT: u32 = 200;

/// Gives a request its number.
pub fn number(request: &mut Request) -> u32 {
    let mut port = super::port();
    port.next_tag += 1;
    request.tag = port.next_tag;
    request.tag
}

/// Queues a request. Processors take turns as its initiator unless it is pinned to one.
pub fn submit(mut request: Box<Request>) -> u32 {
    let tag = number(&mut request);
    request.processor = request.pinned.unwrap_or(tag) % smp::count();
    super::port().waiting.push_back(request);
    smp::wake_all();
    tag
}

/// After a completion: the next request may start.
///
/// Storport ends completed requests towards the class driver in a routine of its own at DISPATCH_LEVEL, several in turn
/// (learn.microsoft.com, "Avoiding DPC Watchdog timeout problems in StorPort Miniports"), and starts the next ones from
/// there: stacks published with crashes show its HwStorBuildIo path below RaidpAdapterRedirectDpcRoutine and
/// KiRetireDpcList, with no miniport in between. So StorPortNotification(RequestComplete) queues that DPC and returns, and a
/// miniport may complete requests under a DPC lock that its HwStorStartIo takes, as drivers in production do.
///
/// With `starts=inside` the next request starts before RequestComplete returns, which no document rules out for other
/// versions: then a miniport must not hold what its own HwStorStartIo needs.
pub fn completed() {
    if super::port().starts == Starts::Inside {
        reenter();
    } else {
        dpc::queue_completion(percpu::number());
    }
}

/// Storport's own DPC after completions: starts what this processor may start. At DISPATCH_LEVEL, no miniport code below.
pub fn completion_dpc() {
    loop {
        let mut port = super::port();
        let Some(request) = next(&mut port) else { break };
        port.statistics.after_completion += 1;
        hand_over(port, request, Stack::Dpc);
    }
}

/// Starts the next request from inside a completion, on the stack the miniport is on. Not when the completion itself came
/// from HwStorStartIo, and not under a lock that HwStorStartIo is called with.
fn reenter() {
    let held = {
        let cpu = percpu::current();
        let outer = cpu.in_isr || !cpu.in_dpc || percpu::current_callback() != "HwStorDpcRoutine";
        outer || cpu.held[..cpu.locks].iter().flatten().any(|lock| lock.kind != DPC_LOCK)
    };
    if held || irql::current() != irql::DISPATCH {
        return;
    }
    let mut port = super::port();
    if let Some(request) = next(&mut port) {
        port.statistics.after_completion += 1;
        hand_over(port, request, Stack::Nested);
    }
}

/// Starts a request on this processor whatever the state of the queues.
pub fn start_now(request: Box<Request>) {
    let old = irql::raise(irql::DISPATCH);
    hand_over(super::port(), request, Stack::Thread);
    irql::set(old);
}

/// Gives a request to the miniport.
fn hand_over(mut port: super::PortGuard, mut request: Box<Request>, stack: Stack) {
    smp::set_starting(true);
    let srb = request.build(&port);
    request.deadline = clock::ticks() + u64::from(request.timeout) * 1000;
    // One that comes again has its time again.
    request.overdue = false;
    let address = request.address;
    let limit = default_depth(&port);
    unit(&mut port, address, limit).outstanding += 1;
    crate::report::started(request.tag, srb, request.data.length);
    port.active.insert(srb, request);
    port.statistics.requests += 1;
    port.statistics.most_active = port.statistics.most_active.max(port.active.len());
    let path = Path::of(&port);
    drop(port);
    start(srb, path, stack);
    smp::set_starting(false);
    model::turn();
}

/// Starts what this processor may start. Called on its thread at PASSIVE_LEVEL.
pub fn pump() {
    // DPCs wait until all that may start has started, so that the depth asked for is really reached.
    let old = irql::raise(irql::DISPATCH);
    start_all();
    irql::set(old);
}

fn start_all() {
    loop {
        let mut port = super::port();
        let Some(request) = next(&mut port) else { break };
        hand_over(port, request, Stack::Thread);
    }
}

/// Waits until no processor is in HwStorBuildIo or HwStorStartIo any more. Requests must have been stopped before.
pub fn settle() {
    while smp::others_are_starting() {
        core::hint::spin_loop();
    }
}

fn default_depth(port: &Port) -> u32 {
    match port.config.initial_lun_queue_depth {
        0 | SP_UNINITIALIZED_VALUE => DEFAULT_DEPTH,
        depth => depth,
    }
}

/// The record of a unit, made when it is first spoken to.
pub fn unit(port: &mut Port, address: Address, depth: u32) -> &mut Unit {
    port.units.entry(address).or_insert(Unit { depth, outstanding: 0, paused_until: 0, busy: 0 })
}

/// The first waiting request that may go now on this processor.
fn next(port: &mut Port) -> Option<Box<Request>> {
    let me = percpu::number();
    let index = may_go(port, |processor| processor == me)?;
    let request = port.waiting.remove(index)?;
    if request.retries > BUSY_LIMIT {
        crate::broken!("busy-for-ever", "{} came back busy {BUSY_LIMIT} times", request.text());
    }
    Some(request)
}

/// Place of the first waiting request that may go now, of those of some processors. Those that Storport itself needs done go in
/// any case.
fn may_go(port: &Port, mine: impl Fn(u32) -> bool) -> Option<usize> {
    let now = clock::ticks();
    if port.phase != Phase::Running {
        return None;
    }
    let full = port.limit != 0 && port.active.len() >= port.limit;
    let held = port.held || full || port.paused_until.max(port.hold_until) > now || port.busy > 0;
    port.waiting.iter().position(|request| {
        let free = port.units.get(&request.address).is_none_or(|unit| {
            unit.outstanding < unit.depth.max(1) && unit.paused_until <= now && unit.busy == 0
        });
        let may = request.urgent || !held && free && !port.ladder.holds(request.address);
        may && mine(request.processor) && request.not_before <= now
    })
}

/// What decides how StartIo is called.
#[derive(Clone, Copy)]
struct Path {
    extension: u64,
    build: u64,
    start: u64,
    concurrent: bool,
    half_duplex: bool,
}

impl Path {
    fn of(port: &Port) -> Self {
        Path {
            extension: port.extension,
            build: port.hw.hw_build_io,
            start: port.hw.hw_start_io,
            concurrent: port.perf_flags & STOR_PERF_CONCURRENT_CHANNELS != 0 && port.channels > 1,
            half_duplex: port.config.synchronization_model == STOR_SYNCHRONIZE_HALF_DUPLEX,
        }
    }
}

/// BuildIo without a lock, then StartIo: with the StartIo lock at DISPATCH_LEVEL (full duplex), with the interrupt lock
/// at DIRQL (half duplex), or with no lock (more than one concurrent channel). nc-storport-hw_startio.md and the table of
/// nf-storport-storportacquirespinlock.md.
fn start(srb: u64, path: Path, stack: Stack) {
    let old = irql::raise(irql::DISPATCH);
    let go = path.build == 0
        || call::driver("HwStorBuildIo", stack, path.build, &[path.extension, srb]) & 0xFF != 0;
    let still_active = super::port().active.contains_key(&srb);
    if go && !still_active {
        crate::not_ok!(
            "buildio-completed-and-true",
            "HwStorBuildIo completed the SRB and asked for HwStorStartIo"
        );
    }
    if go && still_active {
        let kind = if path.half_duplex { INTERRUPT_LOCK } else { START_IO_LOCK };
        let before = (!path.concurrent).then(|| lock::acquire(kind, 0));
        let taken = call::driver("HwStorStartIo", stack, path.start, &[path.extension, srb]) & 0xFF != 0;
        if let Some(before) = before {
            lock::release(kind, 0, before);
        }
        if !taken {
            refused(srb);
        }
    }
    irql::set(old);
}

/// StartIo said FALSE. The documentation says only "was not initiated"; we give the request back as if it were busy,
/// unless the miniport completed it.
fn refused(srb: u64) {
    let mut port = super::port();
    let Some(mut request) = port.active.remove(&srb) else { return };
    request.finish_refused(&mut port);
    if let Some(unit) = port.units.get_mut(&request.address) {
        unit.outstanding -= 1;
    }
    port.statistics.busy += 1;
    request.retries += 1;
    request.not_before = clock::ticks() + 2;
    port.waiting.push_front(request);
}

/// Waits until every request has started that may. False when that takes longer than `limit` milliseconds.
pub fn wait_for_starts(limit: u64) -> bool {
    wait(limit, || {
        let none = may_go(&super::port(), |_| true).is_none();
        none && !smp::others_are_starting()
    })
}

/// Waits until `until` says so, while requests are started and passive work is done. False after `limit` milliseconds.
pub fn wait(limit: u64, mut until: impl FnMut() -> bool) -> bool {
    let end = clock::ticks() + limit;
    loop {
        look();
        if until() {
            return true;
        }
        if clock::ticks() >= end {
            return false;
        }
        smp::wait();
    }
}

/// Does what is due, then waits until something happens.
pub fn turn() {
    look();
    smp::wait();
}

fn look() {
    control::passive_work();
    pump();
    ladder::climb();
}

/// Takes the completed requests with such cookies.
pub fn take_done(mine: impl Fn(u64) -> bool) -> VecDeque<Box<Request>> {
    let mut port = super::port();
    let (taken, rest): (VecDeque<_>, VecDeque<_>) =
        core::mem::take(&mut port.done).into_iter().partition(|request| mine(request.cookie));
    port.done = rest;
    taken
}

/// Runs one request to its end.
pub fn execute(request: Box<Request>) -> Box<Request> {
    // Its own time, and that of the whole ladder.
    let limit = u64::from(request.timeout) * 1000 + 30_000;
    let tag = submit(request);
    let mut finished = None;
    let done = wait(limit, || {
        let mut port = super::port();
        let found = port.done.iter().position(|request| request.tag == tag);
        finished = found.and_then(|index| port.done.remove(index));
        finished.is_some()
    });
    match finished {
        Some(request) if done => request,
        _ => crate::stop!("request {tag} was not completed and not even timed out"),
    }
}
