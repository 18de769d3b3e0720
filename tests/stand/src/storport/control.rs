//! Stopping, restarting and resetting the adapter, and work for a passive moment.

use alloc::vec::Vec;

use stand::scsi;
use stand::wdk::codes::*;
use stand::wdk::srb::Extra;

use super::request::{Data, Request};
use super::{Address, Phase, interrupt, lock, name, port, queue, start, unit};
use crate::cpu::lock::Lock;
use crate::cpu::percpu::Stack;
use crate::cpu::{call, clock, smp};
use crate::kernel;
use crate::memory::{PAGE, arena, driver};
use crate::pci::bars::Bar;
use crate::pci::{Function, command, msix, virtio};
use crate::scan::class;

const TYPES: u32 = 20;
static SUPPORTED: Lock<[bool; TYPES as usize]> = Lock::new([false; TYPES as usize]);

/// Whether the miniport supports a control type.
pub fn supports(kind: u32) -> bool {
    SUPPORTED.lock().get(kind as usize).copied().unwrap_or(false)
}

/// HwStorAdapterControl; the caller sees to level and lock.
pub fn adapter_control(kind: u32, parameters: u64) -> bool {
    let (routine, extension) = {
        let port = port();
        (port.hw.hw_adapter_control, port.extension)
    };
    let arguments = [extension, u64::from(kind), parameters];
    call::driver("HwStorAdapterControl", Stack::Thread, routine, &arguments) as u32 == 0
}

/// ScsiQuerySupportedControlTypes at PASSIVE_LEVEL (nc-storport-hw_adapter_control.md). The list ends where its page
/// ends: a miniport must not write beyond MaxControlType.
pub fn query_types() {
    let Some(range) = arena::scattered(PAGE) else { crate::stop!("no memory") };
    let list = range.address + PAGE - u64::from(TYPES) - 4;
    driver::write("Storport", list, TYPES);
    let answered = adapter_control(SCSI_QUERY_SUPPORTED_CONTROL_TYPES, list);
    let mut names = alloc::string::String::new();
    for kind in 0..TYPES {
        let yes = answered && driver::read::<u8>("Storport", list + 4 + u64::from(kind)) != 0;
        SUPPORTED.lock()[kind as usize] = yes;
        if yes {
            names = alloc::format!("{names} {kind}");
        }
    }
    arena::release(range);
    crate::note!("adapter control types supported:{names}");
    if !answered {
        crate::not_ok!("adapter-control", "ScsiQuerySupportedControlTypes failed");
    }
}

/// ScsiStopAdapter at DIRQL with the interrupt lock, when nothing is outstanding.
pub fn stop() -> bool {
    port().phase = Phase::Stopped;
    queue::settle();
    let old = lock::acquire(INTERRUPT_LOCK, 0);
    let good = adapter_control(SCSI_STOP_ADAPTER, 0);
    lock::release(INTERRUPT_LOCK, 0, old);
    good
}

/// Holds all queues and waits for what is with the miniport. Requests that come meanwhile wait in Storport.
fn hold() {
    port().held = true;
    if !queue::wait(60_000, || port().active.is_empty()) {
        crate::stop!("{} request(s) never ended", port().active.len());
    }
}

/// Lets requests flow again.
fn let_go() {
    port().held = false;
    smp::wake_all();
}

/// SRB_FUNCTION_FLUSH to each unit, as Storport does before it stops the adapter. Only a miniport that set CachesData gets
/// it (ns-srb-_storage_request_block.md, nc-storport-hw_buildio.md).
fn flush_units() {
    if port().config.caches_data == 0 {
        return;
    }
    let addresses: Vec<Address> = port().units.keys().copied().collect();
    for address in addresses {
        let timeout = if port().ladder.lenient { 2 } else { 30 };
        let mut request = Request::other(address, SRB_FUNCTION_FLUSH, Extra::None, Data::default(), timeout);
        request.urgent = true;
        let answer = queue::execute(request).answer;
        let gone = matches!(
            answer.srb_status & 0x3F,
            SRB_STATUS_NO_DEVICE
                | SRB_STATUS_SELECTION_TIMEOUT
                | SRB_STATUS_INVALID_LUN
                | SRB_STATUS_INVALID_TARGET_ID
        );
        // A device that is at fault cannot be flushed.
        let lenient = port().ladder.lenient;
        if answer.srb_status & 0x3F != SRB_STATUS_SUCCESS && !gone && !lenient {
            crate::not_ok!("flush-before-stop", "SRB_FUNCTION_FLUSH to {}: {}", name(address), answer.text());
        }
    }
}

/// The device loses power: its registers are reset, its addresses and messages are gone.
fn cut_power() {
    let port = port();
    let (Some(function), bars, table) = (port.function, port.bars.clone(), port.table) else { return };
    drop(port);
    virtio::forget(function, &bars);
    if let Some(table) = table {
        table.disable();
    }
    function.set_command(command::NO_LINE, command::IO | command::MEMORY | command::MASTER);
}

/// The bus driver gives the device what it had.
fn give_power() {
    let (function, table, messages) = {
        let port = port();
        (port.function, port.table, port.messages)
    };
    if let Some(function) = function {
        function.set_command(command::IO | command::MEMORY | command::MASTER, 0);
    }
    // Message interrupts are on for a device that was granted some.
    if let Some(table) = table.filter(|_| messages > 0) {
        table.enable();
    }
}

/// Power down: requests are drained, disks and adapter flushed, units and adapter told, the adapter stopped, and its power cut.
pub fn power_down() -> bool {
    hold();
    class::to_all_disks(scsi::synchronize_cache());
    flush_units();
    tell_power(STOR_POWER_DEVICE_D3, STOR_POWER_ACTION_SLEEP);
    let good = stop();
    cut_power();
    good
}

/// Tells units and adapter of their power: units lose it first and get it last. Storport goes on whatever comes back.
fn tell_power(state: u32, action: u32) {
    let units: Vec<Address> = port().units.keys().copied().collect();
    let on = state == STOR_POWER_DEVICE_D0;
    if on {
        unit::power(state, action, None);
    }
    for address in units {
        unit::power(state, action, Some(address));
    }
    if !on {
        unit::power(state, action, None);
    }
}

/// Power up after [`power_down`].
pub fn power_up() -> bool {
    give_power();
    let good = restart();
    if good {
        tell_power(STOR_POWER_DEVICE_D0, STOR_POWER_ACTION_NONE);
        class::to_all_disks(scsi::start_unit());
        let_go();
    }
    good
}

/// Restarts a stopped adapter by ScsiRestartAdapter; a miniport without it gets its initialisation sequence again
/// (ne-storport-scsi_adapter_control_type.md).
fn restart() -> bool {
    if supports(SCSI_SET_RUNNING_CONFIG) {
        adapter_control(SCSI_SET_RUNNING_CONFIG, 0);
    }
    if !supports(SCSI_RESTART_ADAPTER) {
        start::find_adapter();
        interrupt::connect();
        start::initialize_adapter();
        return true;
    }
    interrupt::connect();
    port().phase = Phase::Initialize;
    let old = lock::acquire(INTERRUPT_LOCK, 0);
    let good = adapter_control(SCSI_RESTART_ADAPTER, 0);
    lock::release(INTERRUPT_LOCK, 0, old);
    if good {
        start::initialize_passively();
        port().phase = Phase::Running;
    }
    good
}

/// PnP takes the adapter's resources away and gives it others, here fewer messages: the miniport is stopped, what Storport gave
/// it is gone but for the device extension, and it starts from HwStorFindAdapter on.
pub fn rebalance(messages: u16) {
    hold();
    flush_units();
    // The device tree's stop, children first (ns-srb-_scsi_pnp_request_block.md).
    let units: Vec<Address> = port().units.keys().copied().collect();
    for address in units {
        unit::pnp(STOR_STOP_DEVICE, Some(address));
    }
    unit::pnp(STOR_STOP_DEVICE, None);
    if !stop() {
        crate::not_ok!("stop-adapter", "ScsiStopAdapter failed before a rebalance");
    }
    cut_power();
    start::release();
    {
        let mut port = port();
        port.messages = messages.min(port.messages);
    }
    give_power();
    start::find_adapter();
    start::bring_up();
    let_go();
}

/// HwStorResetBus at DISPATCH_LEVEL with the StartIo lock; it ends every request of the bus. All queues of the adapter are
/// paused meanwhile, and with concurrent channels no processor is in HwStorStartIo (nc-storport-hw_reset_bus.md).
pub fn reset_bus(path: u8) {
    let (routine, extension) = {
        let mut port = port();
        port.held = true;
        (port.hw.hw_reset_bus, port.extension)
    };
    queue::settle();
    crate::note!("HwStorResetBus for path {path}");
    let locks = lock::acquire_callback();
    let good =
        call::driver("HwStorResetBus", Stack::Thread, routine, &[extension, u64::from(path)]) & 0xFF != 0;
    lock::release_callback(locks);
    hold_after_reset();
    port().held = false;
    smp::wake_all();
    // FALSE says that the bus could not be reset, as that of a device that is gone or does not answer.
    if !good && !port().ladder.lenient {
        crate::not_ok!("reset-bus", "HwStorResetBus returned FALSE");
    }
}

/// A bus was reset: the adapter is paused for BusResetHoldTime microseconds, unless the miniport set that to 0
/// (ns-storport-_port_configuration_information.md; nf-storport-storportnotification.md, ResetDetected).
pub fn hold_after_reset() {
    let mut port = port();
    let milliseconds = u64::from(port.config.bus_reset_hold_time).div_ceil(1000);
    port.hold_until = port.hold_until.max(clock::ticks() + milliseconds);
}

/// Completes outstanding requests for the miniport (StorPortCompleteRequest).
pub fn complete_all(status: u8, matches: impl Fn(Address) -> bool) {
    loop {
        let mut port = port();
        let Some(srb) = port.active.iter().find(|(_, r)| matches(r.address)).map(|(srb, _)| *srb) else {
            break;
        };
        // SrbStatus is the byte at offset 3 of both kinds of SRB.
        driver::write("Storport", srb + 3, status);
        if let Some(request) = port.active.get_mut(&srb) {
            request.overdue = true;
        }
        drop(port);
        super::request::complete(srb);
    }
}

/// Runs what waits for PASSIVE_LEVEL: work items.
pub fn passive_work() {
    loop {
        let mut port = port();
        let extension = port.extension;
        let Some((routine, context, worker)) = port.work.pop_front() else { break };
        drop(port);
        call::driver("HwStorWorkItem", Stack::Thread, routine, &[extension, context, worker]);
    }
}

/// Ends all use of the adapter: waits for requests, stops it, looks at what it leaves behind.
pub fn shut_down() {
    if port().phase == Phase::Removed {
        release_quarantine();
        return;
    }
    if !queue::wait(10_000, || port().active.is_empty() && port().waiting.is_empty()) {
        crate::stop!("the stand itself failed: {} request(s) are left at the end", port().active.len());
    }
    // What Storport starts with is soon over.
    let held = !queue::wait(u64::from(start::RESET_HOLD_TIME) / 500, || port().hold_until <= clock::ticks());
    let now = clock::ticks();
    if held || port().paused_until > now || port().units.values().any(|unit| unit.paused_until > now) {
        crate::not_ok!("pause-left", "the adapter or a unit is still paused at the end");
    }
    remove();
    release_quarantine();
}

/// Removes the adapter: its units' data is flushed, each unit and then the adapter itself is told, and the adapter is
/// stopped (ne-storport-scsi_adapter_control_type.md; ns-storport-_scsi_pnp_request_block.md). The order of the PnP
/// requests is that of the device tree, children first. What the miniport allocated must be free then: nobody else will
/// do it (nf-storport-storportallocatepool.md).
pub fn remove() {
    flush_units();
    let addresses: Vec<Address> = port().units.keys().copied().collect();
    for address in addresses {
        unit::tell(SCSI_UNIT_REMOVE, address);
        unit::pnp(STOR_REMOVE_DEVICE, Some(address));
    }
    unit::pnp(STOR_REMOVE_DEVICE, None);
    port().held = true;
    let stopped = stop();
    if stopped {
        crate::ok!("stop-adapter", "ScsiStopAdapter succeeded");
    } else {
        crate::not_ok!("stop-adapter", "ScsiStopAdapter failed");
    }
    let (blocks, bytes, tags) = kernel::pool::outstanding();
    if blocks > 0 {
        crate::not_ok!(
            "memory-leaked",
            "{blocks} block(s) of pool, {bytes} bytes, tags{tags}, after the removal"
        );
    }
    port().phase = Phase::Removed;
}

/// The adapter is removed and another one is found: another function, and a device extension that was never used. Answers with
/// the function that the driver served until now, and its address ranges.
pub fn replace(function: Function, bars: &[Bar]) -> Option<(Function, Vec<Bar>)> {
    shut_down();
    cut_power();
    start::release();
    let (before, extension, size) = {
        let mut port = port();
        let bars = core::mem::take(&mut port.bars);
        port.objects.clear();
        port.work.clear();
        port.disks.clear();
        let before = port.function.take().map(|function| (function, bars));
        (before, core::mem::take(&mut port.extension), u64::from(port.hw.device_extension_size))
    };
    start::free_device_extension(extension, size);
    start::assign(function, bars, msix::find(function, bars));
    start::find_adapter();
    start::bring_up();
    let_go();
    before
}

/// Looks at the memory of the last requests.
fn release_quarantine() {
    let dead = core::mem::take(&mut port().quarantine);
    for dead in dead {
        dead.release();
    }
}

/// A power transition and back.
pub fn stop_and_restart() -> bool {
    power_down() && power_up()
}
