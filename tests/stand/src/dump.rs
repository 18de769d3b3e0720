//! What the dump port driver answers: the functions that a miniport may call while a crash dump or the hibernation file
//! is written, and those that it must not.
//!
//! restrictions-on-miniport-drivers-that-manage-the-boot-drive.md says that the dump port has the same support routines
//! as the port driver, and what is not to be done all the same: DPCs, the system time, whatever needs PASSIVE_LEVEL (the
//! registry by name), and more than a little memory. Every routine is called above DISPATCH_LEVEL, HwStorFindAdapter at
//! HIGH_LEVEL (nc-storport-hw_find_adapter.md), on the only processor that still runs, without interrupts. What follows
//! from that and is not said there (pool is for DISPATCH_LEVEL at most, nobody serves timers, work items or messages) is
//! forbidden as well.

use crate::wdk::codes::*;

/// The answer to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The function does what it always does.
    Usual,
    /// Nothing happens, and this is the result.
    Nothing(u64),
    /// It depends on the first argument: [`notification`].
    Notification,
    /// It depends on the first argument: [`extended`].
    Extended,
    /// The uncached extension, of which there is little.
    Uncached,
    /// The routine of the second argument is called with the third, without a lock.
    Synchronized,
    /// It breaks the rule `not-in-dump-mode`; this is the result if the run goes on.
    Forbidden(u64),
}

use Answer::{Extended, Forbidden, Nothing, Notification, Synchronized, Uncached, Usual};

const NOT_IMPLEMENTED: Answer = Nothing(STOR_STATUS_NOT_IMPLEMENTED as u64);
const UNSUCCESSFUL: u64 = STOR_STATUS_UNSUCCESSFUL as u64;
/// STATUS_UNSUCCESSFUL.
const NT_UNSUCCESSFUL: u64 = 0xC000_0001;

/// The answer of an export by its name.
pub fn answer(export: &str) -> Answer {
    match export {
        "StorPortNotification" => Notification,
        "StorPortExtendedFunction" => Extended,
        "StorPortGetUncachedExtension" => Uncached,
        "StorPortSynchronizeAccess" => Synchronized,
        // The registry, and time: the page's sections on the IRQL and on time checking.
        "StorPortAllocateRegistryBuffer"
        | "StorPortFreeRegistryBuffer"
        | "StorPortRegistryRead"
        | "StorPortRegistryWrite"
        | "StorPortQuerySystemTime" => Forbidden(0),
        // There are no queues to hold: the section on multiple requests per logical unit.
        "StorPortPause"
        | "StorPortResume"
        | "StorPortPauseDevice"
        | "StorPortResumeDevice"
        | "StorPortBusy"
        | "StorPortReady"
        | "StorPortDeviceBusy"
        | "StorPortDeviceReady" => Forbidden(0),
        // What it sets has no meaning here, for the same reason; it does no harm.
        "StorPortSetDeviceQueueDepth" => Nothing(1),
        // Nobody keeps a log.
        "StorPortLogError" => Nothing(0),
        // At PASSIVE_LEVEL, or DISPATCH_LEVEL at most (the page of each).
        "KeDelayExecutionThread" | "EtwRegister" | "EtwUnregister" | "EtwSetInformation" => {
            Forbidden(NT_UNSUCCESSFUL)
        }
        "MmGetSystemRoutineAddress" | "KeLowerIrql" => Forbidden(0),
        // Nothing is above HIGH_LEVEL.
        "KfRaiseIrql" => Forbidden(15),
        _ if is_pool(export) || is_spin_lock(export) => Forbidden(0),
        _ => Usual,
    }
}

/// Pool and contiguous memory, at DISPATCH_LEVEL at most (nf-wdm-exallocatepool2.md).
fn is_pool(export: &str) -> bool {
    ["ExAllocatePool", "ExFreePool", "MmAllocateContiguousMemory", "MmFreeContiguousMemory"]
        .iter()
        .any(|start| export.starts_with(start))
}

/// The kernel's spin locks, at DISPATCH_LEVEL at most. Initialising one is allowed at any IRQL.
fn is_spin_lock(export: &str) -> bool {
    export.contains("SpinLock") && !export.starts_with("KeInitialize")
}

/// The answer to StorPortNotification (SCSI_NOTIFICATION_TYPE) with its second argument after the device extension,
/// which for the spin locks is the lock.
pub fn notification(kind: u64, lock: u64) -> Answer {
    match kind {
        // RequestComplete, NextRequest, NextLuRequest, ResetDetected, BufferOverrunDetected.
        0..=3 | 0xD => Usual,
        // Tracing, link and bus changes, state changes: nobody is told.
        7..=0xB | 0xE | 0xF | 0x1005..=0x1007 => Nothing(0),
        // RequestTimerCall, QueryTickCount: time. EnablePassiveInitialization: PASSIVE_LEVEL. DPCs: their section.
        6 | 0xC | 0x1000..=0x1002 => Forbidden(0),
        // The StartIo and interrupt locks have nobody to keep out, and a driver that shares its request path with normal
        // operation takes them; a DPC's lock needs a DPC (nf-storport-storportacquirespinlock.md). Not documented.
        0x1003 if lock == u64::from(DPC_LOCK) => Forbidden(0),
        0x1003 | 0x1004 => Nothing(0),
        _ => Usual,
    }
}

/// The answer to StorPortExtendedFunction (STORPORT_FUNCTION_CODE).
pub fn extended(code: u64) -> Answer {
    match code {
        // Pool and other memory; performance options; work items and timers; the power framework; the adapter's registry
        // key.
        0..=10 | 14 | 24..=27 | 29..=34 | 48..=53 | 57 | 62 | 63 | 65 | 66 | 68..=70 => {
            Forbidden(UNSUCCESSFUL)
        }
        // GetMessageInterruptInformation is a question with an answer for adapters that have no messages
        // (nf-storport-storportgetmsiinfo.md). Drivers that are known to write dumps ask it in every HwStorInitialize.
        13 => Nothing(STOR_STATUS_INVALID_DEVICE_REQUEST as u64),
        // A message's lock has nobody to keep out either. The same drivers take it when they find MSI-X on in configuration
        // space, as the crash left it, and do not look at the result, so a refusal cannot be what stops them.
        11 | 12 => NOT_IMPLEMENTED,
        // No performance options are in force.
        15 => Nothing(UNSUCCESSFUL),
        // Event logs and tracing.
        16 | 58..=60 | 79 => Nothing(0),
        // MarkDumpMemory: for DriverEntry and HwStorFindAdapter in these very modes (nf-storport-storportmarkdumpmemory.md);
        // what is marked is looked at by nobody here.
        45 => Nothing(0),
        // Processor numbers, lists, the performance counter (any IRQL: nf-storport-storportqueryperformancecounter.md).
        17..=22 | 35..=39 | 47 | 56 | 75 => Usual,
        _ => NOT_IMPLEMENTED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_a_low_irql_is_forbidden() {
        for export in
            ["ExAllocatePool2", "ExFreePoolWithTag", "KeAcquireSpinLockRaiseToDpc", "StorPortRegistryRead"]
        {
            assert!(matches!(answer(export), Forbidden(_)), "{export}");
        }
    }

    #[test]
    fn registers_and_addresses_are_as_always() {
        for export in
            ["StorPortReadRegisterUlong", "StorPortGetPhysicalAddress", "StorPortStallExecution", "memset"]
        {
            assert_eq!(answer(export), Usual, "{export}");
        }
    }

    #[test]
    fn a_request_is_completed_and_a_dpc_is_not_made() {
        assert_eq!(notification(0, 0), Usual);
        assert!(matches!(notification(0x1001, 0), Forbidden(_)));
        assert!(matches!(notification(0x1003, u64::from(DPC_LOCK)), Forbidden(_)));
        assert_eq!(notification(0x1003, u64::from(INTERRUPT_LOCK)), Nothing(0));
    }

    #[test]
    fn pool_and_timers_are_forbidden_and_unknown_functions_are_not() {
        for code in [0, 1, 14, 24, 30, 33, 62] {
            assert!(matches!(extended(code), Forbidden(_)), "{code}");
        }
        assert_eq!(extended(999), NOT_IMPLEMENTED);
        assert_eq!(extended(17), Usual);
    }
}
