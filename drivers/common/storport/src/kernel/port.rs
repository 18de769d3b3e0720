//! [`Port`] over StorPort's exports.

use core::ptr;

use wdk_sys::storage::{StorPortLogError, StorPortNotification, StorPortStallExecution};
use wdk_sys::{_SCSI_NOTIFICATION_TYPE, LONG, PVOID, SP_INTERNAL_ADAPTER_ERROR, STATE_CHANGE_LUN, ULONG};

use virtio::transport::{BusMasterError, FunctionIdentity, set_bus_master};

use super::HwDeviceExtension;
use super::extension::Header;
use super::registers::{ConfigSpaceAtRuntime, KernelBar};
use super::srb::KernelSrb;
use crate::miniport::DpcKind;
use crate::port::{LogEvent, Port};
use crate::srb::Completion;

/// A port driver that has StorPort's exports.
pub(super) trait StorPort: Port<Bar = KernelBar> {
    /// For the adapter, which is this function at this place on the bus.
    fn of_function(
        hw: HwDeviceExtension,
        config_space: ConfigSpaceAtRuntime,
        identity: FunctionIdentity,
    ) -> Self;
}

/// StorPort, for one adapter.
#[derive(Clone, Copy, Debug)]
pub struct KernelPort {
    hw: HwDeviceExtension,
    /// Only the adapter itself needs it.
    function: Option<(ConfigSpaceAtRuntime, FunctionIdentity)>,
}

impl StorPort for KernelPort {
    fn of_function(
        hw: HwDeviceExtension,
        config_space: ConfigSpaceAtRuntime,
        identity: FunctionIdentity,
    ) -> Self {
        Self { hw, function: Some((config_space, identity)) }
    }
}

impl KernelPort {
    pub(super) const fn new(hw: HwDeviceExtension) -> Self {
        Self { hw, function: None }
    }
}

impl Port for KernelPort {
    type Bar = KernelBar;
    type Srb<C: Copy + Send + 'static> = KernelSrb<C>;

    fn complete<C: Copy + Send + 'static>(&self, srb: KernelSrb<C>, completion: Completion) {
        srb.complete(self.hw, completion);
    }

    fn stall(&self, microseconds: u32) {
        // SAFETY: the routine has no preconditions.
        unsafe { StorPortStallExecution(microseconds) };
    }

    fn unit_changed(&self) {
        // SAFETY: the port is made from StorPort's device extension only.
        let header = unsafe { Header::of(self.hw) };
        // SAFETY: StateChangeDetectedCall takes what has changed, its address, which stays as long as the adapter, no
        // attributes, and no routine to call afterwards ("StorPortStateChangeDetected").
        unsafe {
            StorPortNotification(
                _SCSI_NOTIFICATION_TYPE::StateChangeDetectedCall,
                self.hw.0,
                STATE_CHANGE_LUN,
                header.unit(),
                0 as ULONG,
                ptr::null_mut::<core::ffi::c_void>() as PVOID,
                ptr::null_mut::<core::ffi::c_void>() as PVOID,
            );
        }
    }

    fn issue_dpc(&self, kind: DpcKind) {
        // SAFETY: the port is made from StorPort's device extension only.
        let header = unsafe { Header::of(self.hw) };
        // A device may interrupt before there is anything to do; the work is found when the first request is started.
        if !header.dpcs_ready() {
            return;
        }
        let mut queued: LONG = 0;
        // SAFETY: IssueDpc takes an initialised DPC object, its two arguments and where to put the result
        // ("StorPortIssueDpc").
        unsafe {
            StorPortNotification(
                _SCSI_NOTIFICATION_TYPE::IssueDpc,
                self.hw.0,
                header.dpc(kind),
                ptr::null_mut::<core::ffi::c_void>() as PVOID,
                ptr::null_mut::<core::ffi::c_void>() as PVOID,
                &raw mut queued,
            );
        }
    }

    fn bus_master(&self, enabled: bool) -> Result<(), BusMasterError> {
        let (config_space, identity) = self.function.ok_or(BusMasterError::Elsewhere)?;
        set_bus_master(&config_space, &identity, enabled)
    }

    fn log(&self, event: LogEvent) {
        // SAFETY: the request may be null; address and codes are plain numbers.
        unsafe {
            StorPortLogError(self.hw.0, ptr::null_mut(), 0, 0, 0, SP_INTERNAL_ADAPTER_ERROR, event.code());
        }
    }
}
