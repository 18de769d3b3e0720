//! Stopping, restarting and resetting the adapter, and work for a passive moment.

use stand::wdk::codes::*;

use super::{Address, Phase, interrupt, lock, port, queue, start};
use crate::cpu::call;
use crate::cpu::lock::Lock;
use crate::cpu::percpu::Stack;
use crate::memory::{PAGE, arena, driver};

const TYPES: u32 = 20;
static SUPPORTED: Lock<[bool; TYPES as usize]> = Lock::new([false; TYPES as usize]);

/// Whether the miniport supports a control type.
fn supports(kind: u32) -> bool {
    SUPPORTED.lock().get(kind as usize).copied().unwrap_or(false)
}

fn adapter_control(kind: u32, parameters: u64) -> bool {
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

/// Restarts a stopped adapter: ScsiRestartAdapter when it is supported, else HwStorFindAdapter at DISPATCH_LEVEL is due,
/// which a later version of this host does.
fn restart() -> bool {
    if !supports(SCSI_RESTART_ADAPTER) {
        return false;
    }
    if supports(SCSI_SET_RUNNING_CONFIG) {
        adapter_control(SCSI_SET_RUNNING_CONFIG, 0);
    }
    port().phase = Phase::Initialize;
    let old = lock::acquire(INTERRUPT_LOCK, 0);
    let good = adapter_control(SCSI_RESTART_ADAPTER, 0);
    lock::release(INTERRUPT_LOCK, 0, old);
    if good {
        let passive = {
            let mut port = port();
            port.phase = Phase::PassiveInitialize;
            core::mem::take(&mut port.passive_routine)
        };
        if passive != 0 {
            let extension = port().extension;
            call::driver("HwStorPassiveInitializeRoutine", Stack::Thread, passive, &[extension]);
        }
        port().phase = Phase::Running;
    }
    good
}

/// HwStorResetBus at DISPATCH_LEVEL with the StartIo lock; it ends every request of the bus (nc-storport-hw_reset_bus.md).
pub fn reset_bus(path: u8) {
    let (routine, extension) = {
        let port = port();
        (port.hw.hw_reset_bus, port.extension)
    };
    crate::note!("HwStorResetBus for path {path}");
    let locks = lock::acquire_callback();
    let good =
        call::driver("HwStorResetBus", Stack::Thread, routine, &[extension, u64::from(path)]) & 0xFF != 0;
    lock::release_callback(locks);
    if !good {
        crate::not_ok!("reset-bus", "HwStorResetBus returned FALSE");
    }
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
    if !queue::wait(10_000, || port().active.is_empty() && port().waiting.is_empty()) {
        crate::not_ok!("outstanding-at-end", "{} request(s) never ended", port().active.len());
    }
    let stopped = stop();
    if stopped {
        crate::ok!("stop-adapter", "ScsiStopAdapter succeeded");
    } else {
        crate::not_ok!("stop-adapter", "ScsiStopAdapter failed");
    }
    let dead = core::mem::take(&mut port().quarantine);
    for dead in dead {
        dead.release();
    }
}

/// Stops and starts the adapter, as a power transition does.
pub fn stop_and_restart() -> bool {
    let stopped = stop();
    let restarted = stopped && restart();
    if !restarted && stopped && !supports(SCSI_RESTART_ADAPTER) {
        interrupt::connect();
        start::initialize_adapter();
        return true;
    }
    restarted
}
