//! The calls of StorPort that go through its two variadic functions, `StorPortNotification` and `StorPortExtendedFunction`.
//!
//! The genuine `storport.h` has an inline function for each, which bindgen makes nothing of. These stand in for them: the
//! same arguments, in the same order and of the same width, and a pointer where the header hands over a pointer. The
//! compiler checks nothing of a variadic call, so nothing else in the tree's drivers makes one;
//! `tools/wdk-kit/tests/calls.rs` compares each with what the genuine header hands over.
//!
//! C passes what is smaller than 32 bits as 32 bits; so do these.

use wdk_sys::storage::{StorPortExtendedFunction, StorPortNotification};
use wdk_sys::{
    _SCSI_NOTIFICATION_TYPE, _STORPORT_FUNCTION_CODE, LONG, PHW_DPC_ROUTINE, PHW_PASSIVE_INITIALIZE_ROUTINE,
    PHW_STATE_CHANGE, PHW_TIMER, PMESSAGE_INTERRUPT_INFORMATION, PPERF_CONFIGURATION_DATA,
    PSCSI_REQUEST_BLOCK, PSTOR_ADDRESS, PSTOR_DPC, PSTOR_LOG_EVENT_DETAILS, PULONG, PVOID, PWSTR,
    STOR_STATUS_NOT_IMPLEMENTED, STORPORT_ETW_EVENT_OPCODE, STORPORT_ETW_LEVEL, ULONG, ULONG_PTR, ULONGLONG,
};

use super::HwDeviceExtension;

/// `StorPortNotification` with `RequestComplete`, which has no function of its own in the header
/// (nf-storport-storportnotification.md). IRQL: up to DIRQL.
///
/// # Safety
/// The request must be one that StorPort passed to `HwStorBuildIo` and that was not completed. It is StorPort's afterwards.
pub(super) unsafe fn request_complete(hw: HwDeviceExtension, srb: PSCSI_REQUEST_BLOCK) {
    // SAFETY: the caller's promise.
    unsafe { StorPortNotification(_SCSI_NOTIFICATION_TYPE::RequestComplete, hw.0, srb) };
}

/// `StorPortNotification` with `RequestTimerCall`, which has no function of its own in the header either: the routine is
/// called once, after so many microseconds; 0 is never (nf-storport-storportnotification.md).
///
/// # Safety
/// The routine must be right for this adapter.
pub(super) unsafe fn request_timer(
    hw: HwDeviceExtension,
    hw_stor_timer: PHW_TIMER,
    miniport_timer_value: ULONG,
) {
    // SAFETY: the caller's promise.
    unsafe {
        StorPortNotification(
            _SCSI_NOTIFICATION_TYPE::RequestTimerCall,
            hw.0,
            hw_stor_timer,
            miniport_timer_value,
        );
    }
}

/// `StorPortNotification` with `BusChangeDetected`, which has no function of its own in the header either: a target may have come
/// or gone on this bus (nf-storport-storportnotification.md, where the number is a `UCHAR`). The page names no IRQL and no lock.
///
/// # Safety
/// The device extension must be StorPort's.
pub(super) unsafe fn bus_change_detected(hw: HwDeviceExtension, path_id: ULONG) {
    // SAFETY: the caller's promise.
    unsafe { StorPortNotification(_SCSI_NOTIFICATION_TYPE::BusChangeDetected, hw.0, path_id) };
}

/// `StorPortEnablePassiveInitialization`: whether the routine will be called. Only in `HwStorInitialize`.
///
/// # Safety
/// The routine must be right for this adapter.
pub(super) unsafe fn enable_passive_initialization(
    hw: HwDeviceExtension,
    hw_passive_initialize_routine: PHW_PASSIVE_INITIALIZE_ROUTINE,
) -> bool {
    // Four bytes, although it is a yes or no.
    let mut succ: LONG = 0;
    // SAFETY: the caller's promise; the result is written to a place of its size.
    unsafe {
        StorPortNotification(
            _SCSI_NOTIFICATION_TYPE::EnablePassiveInitialization,
            hw.0,
            hw_passive_initialize_routine,
            &raw mut succ,
        );
    }
    succ != 0
}

/// `StorPortInitializeDpc`. IRQL: PASSIVE_LEVEL.
///
/// # Safety
/// The object must live as long as the adapter and not be queued.
pub(super) unsafe fn initialize_dpc(hw: HwDeviceExtension, dpc: PSTOR_DPC, hw_dpc_routine: PHW_DPC_ROUTINE) {
    // SAFETY: the caller's promise.
    unsafe {
        StorPortNotification(_SCSI_NOTIFICATION_TYPE::InitializeDpc, hw.0, dpc, hw_dpc_routine);
    }
}

/// `StorPortIssueDpc`: whether it was queued; it is not when it is queued already. IRQL: up to DIRQL.
///
/// # Safety
/// The object must be initialised.
pub(super) unsafe fn issue_dpc(
    hw: HwDeviceExtension,
    dpc: PSTOR_DPC,
    system_argument1: PVOID,
    system_argument2: PVOID,
) -> bool {
    let mut succ: LONG = 0;
    // SAFETY: the caller's promise; the result is written to a place of its size.
    unsafe {
        StorPortNotification(
            _SCSI_NOTIFICATION_TYPE::IssueDpc,
            hw.0,
            dpc,
            system_argument1,
            system_argument2,
            &raw mut succ,
        );
    }
    succ != 0
}

/// `StorPortStateChangeDetected`: STOR_STATUS_UNSUCCESSFUL while an earlier one is being worked on. IRQL: any.
///
/// # Safety
/// When StorPort takes the change, the address must stay as it is until the routine is called, or until StorPort takes another.
pub(super) unsafe fn state_change_detected(
    hw: HwDeviceExtension,
    changed_entity: ULONG,
    address: PSTOR_ADDRESS,
    attributes: ULONG,
    hw_state_change: PHW_STATE_CHANGE,
    hw_state_change_context: PVOID,
) -> ULONG {
    // What stays where StorPort knows no such notification: the function itself returns nothing.
    let mut status: ULONG = STOR_STATUS_NOT_IMPLEMENTED;
    // SAFETY: the caller's promise; the status is written to a place of its size.
    unsafe {
        StorPortNotification(
            _SCSI_NOTIFICATION_TYPE::StateChangeDetectedCall,
            hw.0,
            changed_entity,
            address,
            attributes,
            hw_state_change,
            hw_state_change_context,
            &raw mut status,
        );
    }
    status
}

/// `StorPortInitializePerfOpts`. Only in `HwStorInitialize` and passive initialisation.
///
/// # Safety
/// The structure must be as large as it says.
pub(super) unsafe fn initialize_perf_opts(
    hw: HwDeviceExtension,
    query: ULONG,
    perf_config_data: PPERF_CONFIGURATION_DATA,
) -> ULONG {
    // SAFETY: the caller's promise.
    unsafe {
        StorPortExtendedFunction(
            _STORPORT_FUNCTION_CODE::ExtFunctionInitializePerformanceOptimizations,
            hw.0,
            query,
            perf_config_data,
        )
    }
}

/// `StorPortGetMSIInfo`.
///
/// # Safety
/// The structure is written.
pub(super) unsafe fn get_msi_info(
    hw: HwDeviceExtension,
    message_id: ULONG,
    interrupt_info: PMESSAGE_INTERRUPT_INFORMATION,
) -> ULONG {
    // SAFETY: the caller's promise.
    unsafe {
        StorPortExtendedFunction(
            _STORPORT_FUNCTION_CODE::ExtFunctionGetMessageInterruptInformation,
            hw.0,
            message_id,
            interrupt_info,
        )
    }
}

/// `StorPortMarkDumpMemory`.
///
/// # Safety
/// The range must be memory.
pub(super) unsafe fn mark_dump_memory(
    hw: HwDeviceExtension,
    address: PVOID,
    length: ULONG_PTR,
    flags: ULONG,
) -> ULONG {
    // SAFETY: the caller's promise.
    unsafe {
        StorPortExtendedFunction(
            _STORPORT_FUNCTION_CODE::ExtFunctionMarkDumpMemory,
            hw.0,
            address,
            length,
            flags,
        )
    }
}

/// `StorPortSetUnitAttributes`. The attributes are a structure of one word, which is passed as a word.
///
/// # Safety
/// The address must be valid during the call.
pub(super) unsafe fn set_unit_attributes(
    hw: HwDeviceExtension,
    address: PSTOR_ADDRESS,
    attributes: ULONG,
) -> ULONG {
    // SAFETY: the caller's promise.
    unsafe {
        StorPortExtendedFunction(
            _STORPORT_FUNCTION_CODE::ExtFunctionSetUnitAttributes,
            hw.0,
            address,
            attributes,
        )
    }
}

/// `StorPortLogSystemEvent`. IRQL: up to DISPATCH_LEVEL.
///
/// # Safety
/// The structure must be as large as it says, and what it points to must be there; the size may be null.
pub(super) unsafe fn log_system_event(
    hw: HwDeviceExtension,
    log_details: PSTOR_LOG_EVENT_DETAILS,
    maximum_size: PULONG,
) -> ULONG {
    // SAFETY: the caller's promise.
    unsafe {
        StorPortExtendedFunction(
            _STORPORT_FUNCTION_CODE::ExtFunctionLogSystemEvent,
            hw.0,
            log_details,
            maximum_size,
        )
    }
}

/// `StorPortEtwEvent2`. IRQL: up to DISPATCH_LEVEL.
///
/// # Safety
/// The texts must end with a zero; address and request may be null.
#[expect(clippy::too_many_arguments, reason = "as many as the header's function has")]
pub(super) unsafe fn etw_event2(
    hw: HwDeviceExtension,
    address: PSTOR_ADDRESS,
    event_id: ULONG,
    event_description: PWSTR,
    event_keywords: ULONGLONG,
    event_level: STORPORT_ETW_LEVEL,
    event_opcode: STORPORT_ETW_EVENT_OPCODE,
    srb: PSCSI_REQUEST_BLOCK,
    parameter1_name: PWSTR,
    parameter1_value: ULONGLONG,
    parameter2_name: PWSTR,
    parameter2_value: ULONGLONG,
) -> ULONG {
    // SAFETY: the caller's promise.
    unsafe {
        StorPortExtendedFunction(
            _STORPORT_FUNCTION_CODE::ExtFunctionMiniportEtwEvent2,
            hw.0,
            address,
            event_id,
            event_description,
            event_keywords,
            event_level,
            event_opcode,
            srb,
            parameter1_name,
            parameter1_value,
            parameter2_name,
            parameter2_value,
        )
    }
}
