//! StorPortNotification: one variadic function, many meanings. nf-storport-storportnotification.md, and for those that
//! the header wraps in functions of their own, the page of that function.

use stand::wdk::codes::*;
use stand::wdk::config::STOR_DPC_SIZE;
use stand::wdk::names;
use stand::wdk::srb::Btl8;

use super::{Phase, StateChange, lock, port, queue, request};
use crate::cpu::arguments::Arguments;
use crate::cpu::{clock, irql, percpu, smp};
use crate::kernel::dpc::{self, Item, Locks};
use crate::kernel::{export, timer};
use crate::memory::driver;
use crate::model;
use crate::pci::msix;

const NAME: &str = "StorPortNotification";
/// Key of the adapter's one HwStorTimer.
const ADAPTER_TIMER: u64 = 1;
/// Key of the end of the one state change.
pub const STATE_CHANGE: u64 = 2;
/// So long Storport works on a state change, in microseconds.
const STATE_CHANGE_TIME: u64 = 2_000;

/// The export.
pub fn notification(a: Arguments) -> u64 {
    let kind = a.get(0) & 0xFFFF_FFFF;
    if kind != 0xD {
        super::adapter(NAME, a.get(1));
    }
    match kind {
        0 => request_complete(a),
        // NextRequest, NextLuRequest: nothing to do, Storport does not wait for them.
        1 | 2 => {}
        3 => {
            crate::driver_log!(NAME, "ResetDetected");
            super::control::hold_after_reset();
        }
        6 => request_timer(a),
        7 => bus_change(a),
        8 | 9 => crate::driver_log!(NAME, "{}", names::notification(kind)),
        // LinkUp, LinkDown: the adapter resumes or pauses.
        0xA => {
            port().paused_until = 0;
            smp::wake_all();
        }
        0xB => port().paused_until = u64::MAX,
        0xC => driver::write(NAME, a.get(2), clock::ticks()),
        0xD => crate::broken!("buffer-overrun", "the miniport reports a corruption (BufferOverrunDetected)"),
        // TraceNotification, GetExtendedFunctionTable: tracing is off, and a miniport does without the table.
        0xE | 0xF => {}
        0x1000 => enable_passive(a),
        0x1001 => initialize_dpc(a),
        0x1002 => issue_dpc(a),
        0x1003 => acquire_lock(a),
        0x1004 => release_lock(a),
        0x1005 => state_change(a),
        0x1006 => {}
        0x1007 => async_notification(a),
        _ => crate::not_ok!(
            "unknown-notification",
            "StorPortNotification type {kind:#x} in {}",
            export::whereabouts(a)
        ),
    }
    0
}

/// BusChangeDetected(HwDeviceExtension, PathId): a target may have come or gone on this bus. The number is a UCHAR, of which C
/// makes an int. The page names no IRQL; as for RequestComplete.
fn bus_change(a: Arguments) {
    export::at_most("StorPortNotification(BusChangeDetected)", lock::adapter_level());
    let path = a.get(2) as u8;
    crate::driver_log!("BusChangeDetected", "bus {path}");
    let mut port = port();
    port.rescan = true;
    port.bus_changes += 1;
    let buses = port.config.number_of_buses.max(1);
    drop(port);
    if path >= buses {
        crate::broken!(
            "foreign-bus",
            "bus {path} of {buses} has changed (BusChangeDetected), in {}",
            percpu::current_callback()
        );
    }
    smp::wake_all();
}

/// Where the header's function has Storport write its result: a variable of its own.
fn result_place(what: &'static str, address: u64) -> u64 {
    if !driver::is_own(address, 4) {
        crate::broken!(
            "foreign-result",
            "{what} is to write its result to {address:#x}, which is no memory of the driver's, in {}",
            percpu::current_callback()
        );
    }
    address
}

/// StateChangeDetectedCall: one change is worked on at a time, and HwStorStateChange says when it is done
/// (nf-storport-storportstatechangedetected.md, nc-storport-hw_state_change.md).
fn state_change(a: Arguments) {
    const CHANGE: &str = "StorPortStateChangeDetected";
    let entity = argument!(a, "StateChangeDetectedCall", "ChangedEntity") as u32;
    let address = argument!(a, "StateChangeDetectedCall", "Address");
    let routine = argument!(a, "StateChangeDetectedCall", "HwStateChange");
    let context = argument!(a, "StateChangeDetectedCall", "HwStateChangeContext");
    let status = result_place(CHANGE, argument!(a, "StateChangeDetectedCall", "Status"));
    crate::driver_log!(CHANGE, "entity {entity:#x}, address at {address:#x}");
    let unit = if address == 0 { Btl8::default() } else { driver::read(CHANGE, address) };
    let kind = unit.kind;
    let valid = entity != 0 && entity & !STATE_CHANGE_ANY == 0 && kind == STOR_ADDRESS_TYPE_BTL8;
    let mut port = port();
    port.unit_changes.push((unit.path, unit.target, unit.lun));
    let answer = if !valid {
        STOR_STATUS_INVALID_PARAMETER
    } else if port.state_change.is_some() {
        port.refused_state_changes += 1;
        STOR_STATUS_UNSUCCESSFUL
    } else {
        let arguments = [a.get(1), context, u64::from(kind), address, u64::from(STOR_STATUS_SUCCESS)];
        let item = Item {
            name: "HwStorStateChange",
            object: STATE_CHANGE,
            routine,
            arguments,
            locks: Locks::StartIo,
        };
        port.state_change = Some(StateChange { item, entity, unit });
        port.rescan = true;
        if !port.hold_state_changes {
            timer::set(item, STATE_CHANGE_TIME);
        }
        STOR_STATUS_SUCCESS
    };
    drop(port);
    driver::write(CHANGE, status, answer);
    smp::wake_all();
}

/// From now on state changes are worked on for a long time, or for a short one again.
pub fn hold_state_changes(hold: bool) {
    let mut port = port();
    port.hold_state_changes = hold;
    if let Some(change) = port.state_change
        && !hold
    {
        timer::set(change.item, STATE_CHANGE_TIME);
    }
}

/// HwStorStateChange is about to be called: until now the address must be as it was. Who has no such routine is never told when
/// it may change.
pub fn state_change_is_told() {
    let Some(change) = port().state_change else { return };
    let place = change.item.arguments[3];
    let named = |unit: Btl8| (unit.kind, unit.port, unit.address_length, unit.path, unit.target, unit.lun);
    let now = driver::read::<Btl8>("StorPortStateChangeDetected", place);
    if named(now) != named(change.unit) {
        let (then, now) = (change.unit, now);
        crate::broken!(
            "state-change-address",
            "the address at {place:#x} was {}:{}:{} and is {}:{}:{} before HwStorStateChange is called",
            then.path,
            then.target,
            then.lun,
            now.path,
            now.target,
            now.lun
        );
    }
}

/// Storport has worked on the state change, and takes another. HwStorStateChange has returned: its page does not say that one
/// could be told from there.
pub fn state_change_ends() {
    port().state_change = None;
}

/// AsyncNotificationDetected: for a unit that is known (nf-storport-storportasyncnotificationdetected.md).
fn async_notification(a: Arguments) {
    const EVENT: &str = "StorPortAsyncNotificationDetected";
    let address = argument!(a, "AsyncNotificationDetected", "Address");
    let flags = argument!(a, "AsyncNotificationDetected", "Flags");
    let status = result_place(EVENT, argument!(a, "AsyncNotificationDetected", "Status"));
    crate::driver_log!(EVENT, "flags {flags:#x}, address at {address:#x}");
    let unit = (address != 0).then(|| driver::read::<Btl8>(EVENT, address));
    let answer = match unit {
        Some(unit) if unit.kind == STOR_ADDRESS_TYPE_BTL8 && flags & !ASYNC_NOTIFY_SUPPORTED == 0 => {
            if port().units.contains_key(&(unit.path, unit.target, unit.lun)) {
                STOR_STATUS_SUCCESS
            } else {
                STOR_STATUS_INVALID_DEVICE_REQUEST
            }
        }
        _ => STOR_STATUS_INVALID_PARAMETER,
    };
    driver::write(EVENT, status, answer);
    smp::wake_all();
}

/// RequestComplete(HwDeviceExtension, Srb). The page names no IRQL; a miniport completes in StartIo, a DPC or its
/// interrupt routine, never above its own DIRQL.
fn request_complete(a: Arguments) {
    export::at_most("StorPortNotification(RequestComplete)", lock::adapter_level());
    if port().phase < Phase::Running {
        crate::not_ok!("complete-before-running", "RequestComplete in {}", percpu::current_callback());
    }
    request::complete(a.get(2));
    model::turn();
    queue::completed();
}

/// RequestTimerCall(HwDeviceExtension, HwStorTimer, MiniportTimerValue): 0 cancels (nf-storport-storportnotification.md).
fn request_timer(a: Arguments) {
    let (routine, time) = (a.get(2), a.get(3) & 0xFFFF_FFFF);
    timer::cancel(ADAPTER_TIMER);
    if time != 0 {
        let item = Item {
            name: "HwStorTimer",
            object: ADAPTER_TIMER,
            routine,
            arguments: [a.get(1), 0, 0, 0, 0],
            locks: Locks::Callback,
        };
        timer::set(item, time);
    }
}

/// EnablePassiveInitialization(HwDeviceExtension, HwPassiveInitRoutine, Success): only in HwStorInitialize
/// (nf-storport-storportenablepassiveinitialization.md).
fn enable_passive(a: Arguments) {
    let routine = argument!(a, "EnablePassiveInitialization", "HwPassiveInitializeRoutine");
    let result = result_place(
        "StorPortEnablePassiveInitialization",
        argument!(a, "EnablePassiveInitialization", "Succ"),
    );
    let mut port = port();
    let allowed = port.phase == Phase::Initialize;
    if allowed {
        port.passive_routine = routine;
    }
    drop(port);
    if !allowed {
        crate::not_ok!("passive-init-late", "StorPortEnablePassiveInitialization outside HwStorInitialize");
    }
    // The result is a LONG.
    driver::write(NAME, result, u32::from(allowed));
}

/// InitializeDpc(HwDeviceExtension, Dpc, HwDpcRoutine): at PASSIVE_LEVEL (nf-storport-storportinitializedpc.md). The
/// object is a STOR_DPC, written as KeInitializeDpc writes it, so one that overlaps another was declared wrong.
fn initialize_dpc(a: Arguments) {
    export::at_most("StorPortInitializeDpc", irql::PASSIVE);
    let (object, size) = (argument!(a, "InitializeDpc", "Dpc"), STOR_DPC_SIZE as u64);
    let mut port = port();
    let overlap = port.dpcs.keys().find(|other| **other != object && other.abs_diff(object) < size).copied();
    let again = port.dpcs.insert(object, argument!(a, "InitializeDpc", "HwDpcRoutine")).is_some()
        && port.phase == Phase::PassiveInitialize;
    drop(port);
    if !object.is_multiple_of(8) {
        crate::broken!("dpc-object", "STOR_DPC at {object:#x} is not aligned to 8 bytes");
    }
    if let Some(other) = overlap {
        crate::broken!(
            "dpc-object",
            "STOR_DPC at {object:#x} overlaps the one at {other:#x} ({size} bytes each)"
        );
    }
    if again && !dpc::is_idle(object) {
        crate::broken!("dpc-object", "StorPortInitializeDpc of {object:#x} while it is queued");
    }
    driver::fill("StorPortInitializeDpc", object, 0, STOR_DPC_SIZE);
}

/// IssueDpc(HwDeviceExtension, Dpc, SystemArgument1, SystemArgument2, Success). FALSE when it is queued already.
fn issue_dpc(a: Arguments) {
    let object = argument!(a, "IssueDpc", "Dpc");
    let result = result_place("StorPortIssueDpc", argument!(a, "IssueDpc", "Succ"));
    let mut port = port();
    let Some(routine) = port.dpcs.get(&object).copied() else {
        drop(port);
        crate::broken!(
            "dpc-not-initialized",
            "StorPortIssueDpc of {object:#x} in {}",
            export::whereabouts(a)
        );
    };
    port.statistics.dpcs += 1;
    let turn = port.statistics.dpcs;
    let spread = port.perf_flags & (STOR_PERF_DPC_REDIRECTION | STOR_PERF_DPC_REDIRECTION_CURRENT_CPU)
        == STOR_PERF_DPC_REDIRECTION;
    drop(port);
    let spread = spread && !msix::is_gathered();
    // KeInsertQueueDpc uses the current processor. With redirection Storport spreads DPCs over the processors; which one
    // it takes is not documented, so a miniport must cope with any (ns-storport-_perf_configuration_data.md).
    let processor = if spread { (turn % u64::from(smp::count())) as u32 } else { percpu::number() };
    let (one, two) =
        (argument!(a, "IssueDpc", "SystemArgument1"), argument!(a, "IssueDpc", "SystemArgument2"));
    let arguments = [object, a.get(1), one, two, 0];
    let item = Item { name: "HwStorDpcRoutine", object, routine, arguments, locks: Locks::None };
    let queued = dpc::queue(item, processor);
    // The result is a LONG.
    driver::write(NAME, result, u32::from(queued));
}

/// AcquireSpinLock(HwDeviceExtension, SpinLock, LockContext, LockHandle). The handle keeps what the release needs: the
/// kind of lock, its object and the old IRQL, in the places of STOR_LOCK_HANDLE.
fn acquire_lock(a: Arguments) {
    let kind = argument!(a, "AcquireSpinLock", "SpinLock") as u32;
    let object = argument!(a, "AcquireSpinLock", "LockContext");
    let handle = argument!(a, "AcquireSpinLock", "LockHandle");
    if !(1..=3).contains(&kind) {
        crate::broken!(
            "unknown-lock",
            "StorPortAcquireSpinLock of lock {kind} in {}",
            export::whereabouts(a)
        );
    }
    if kind == 1 && !port().dpcs.contains_key(&object) {
        crate::broken!("dpc-not-initialized", "DpcLock of {object:#x} in {}", export::whereabouts(a));
    }
    if kind == 2 && percpu::current().in_isr {
        crate::not_ok!("wrong-lock", "StartIoLock acquired in an interrupt routine");
    }
    let old = lock::acquire(kind, object);
    driver::write(NAME, handle, kind);
    driver::write(NAME, handle + 16, object);
    driver::write(NAME, handle + 24, old);
}

/// ReleaseSpinLock(HwDeviceExtension, LockHandle).
fn release_lock(a: Arguments) {
    let handle = argument!(a, "ReleaseSpinLock", "LockHandle");
    let kind = driver::read::<u32>(NAME, handle);
    let object = driver::read::<u64>(NAME, handle + 16);
    let old = driver::read::<u8>(NAME, handle + 24);
    lock::release(kind, object, old);
}
