//! [`Port`] over StorPort's exports. IRQL and lock are stated there. It owns nothing: what it needs for longer than a call lies
//! in the device extension, and it is copied freely.

use core::ptr;

use wdk_sys::ntddk::KeBugCheckEx;
use wdk_sys::storage::{StorPortQuerySystemTime, StorPortStallExecution};
use wdk_sys::{
    LARGE_INTEGER, PERF_CONFIGURATION_DATA, PHW_STATE_CHANGE, PVOID, STOR_PERF_ADV_CONFIG_LOCALITY,
    STOR_PERF_CONCURRENT_CHANNELS, STOR_PERF_DPC_REDIRECTION, STOR_PERF_INTERRUPT_MESSAGE_RANGES,
    STOR_PERF_VERSION_3, STOR_STATUS_SUCCESS, ULONG,
};

use virtio::transport::{BusMasterError, FunctionIdentity, set_bus_master};

use super::extension::Header;
use super::registers::{ConfigSpaceAtRuntime, KernelBar};
use super::{HwDeviceExtension, calls, log, processors, size_of_ulong, units};
use crate::dpc::DpcKind;
use crate::port::{ConcurrentChannels, LogEvent, Port, UnitAttributes};
use crate::request::{Ended, Request};
use crate::srb::Address;

/// StorPort, for one adapter; in dump mode what the dump port driver exports under StorPort's names.
///
/// There, nobody keeps a log or traces, looks at a unit again or runs a DPC, and each poll looks at everything.
#[derive(Clone, Copy, Debug)]
pub struct KernelPort {
    hw: HwDeviceExtension,
    /// The dump port driver. Nothing that is called for every request looks at this.
    for_dump: bool,
    /// Only the adapter itself needs it.
    function: Option<(ConfigSpaceAtRuntime, FunctionIdentity)>,
    /// What StorPort calls when it has worked on a change of a unit.
    state_change: PHW_STATE_CHANGE,
}

impl KernelPort {
    pub(super) const fn new(hw: HwDeviceExtension) -> Self {
        Self { hw, for_dump: false, function: None, state_change: None }
    }

    /// For the adapter, which is this function at this place on the bus.
    pub(super) const fn of_function(
        hw: HwDeviceExtension,
        config_space: ConfigSpaceAtRuntime,
        identity: FunctionIdentity,
        for_dump: bool,
        state_change: PHW_STATE_CHANGE,
    ) -> Self {
        Self { hw, for_dump, function: Some((config_space, identity)), state_change }
    }
}

/// `HwStorTimer`. StorPort holds the StartIo lock around it or does not, so it leaves the work to the DPC
/// (nc-storport-hw_timer.md).
unsafe extern "C" fn timer(extension: PVOID) {
    KernelPort::new(HwDeviceExtension(extension)).issue_dpc(DpcKind::Timer);
}

impl KernelPort {
    fn performance_options(&self, query: bool, data: &mut PERF_CONFIGURATION_DATA) -> bool {
        // SAFETY: the structure is whole.
        let status = unsafe { calls::initialize_perf_opts(self.hw, ULONG::from(query), ptr::from_mut(data)) };
        status == STOR_STATUS_SUCCESS
    }
}

impl Port for KernelPort {
    type Bar = KernelBar;

    #[inline]
    fn complete<C>(&self, ended: Ended<C>) {
        // SAFETY: the request was not completed before, and is not ours any more.
        unsafe { calls::request_complete(self.hw, ended.into_srb().as_ptr().cast()) };
    }

    fn stall(&self, microseconds: u32) {
        // SAFETY: the routine has no preconditions.
        unsafe { StorPortStallExecution(microseconds) };
    }

    fn bus_changed(&self, path: u8) {
        if self.for_dump {
            return;
        }
        // SAFETY: the port is made from StorPort's device extension only.
        unsafe { calls::bus_change_detected(self.hw, path.into()) };
    }

    fn unit_changed(&self, unit: Address) -> bool {
        if self.for_dump {
            return true;
        }
        // SAFETY: the port is made from StorPort's device extension only.
        let header = unsafe { Header::of(self.hw) };
        header.unit_changes.tell(self.hw, unit, self.state_change)
    }

    fn issue_dpc(&self, kind: DpcKind) {
        // SAFETY: the port is made from StorPort's device extension only.
        let header = unsafe { Header::of(self.hw) };
        // Before the passive initialisation there are none. A request that is answered then was not StorPort's; what changed in
        // the configuration, or that the device has to be looked at, is not said twice.
        let ready = header.ready_dpc(kind).or_else(|| match kind {
            DpcKind::Service => header.want_service_dpc(),
            // A timer that was requested at DISPATCH_LEVEL runs after the passive initialisation, or is requested again.
            DpcKind::Timer | DpcKind::RequestQueue(_) => None,
        });
        let Some(dpc) = ready else {
            return;
        };
        let number: PVOID = ptr::without_provenance_mut(kind.index());
        // SAFETY: the object is initialised.
        unsafe { calls::issue_dpc(self.hw, dpc, number, ptr::null_mut()) };
    }

    fn request_timer(&self, microseconds: u32) {
        if self.for_dump {
            return;
        }
        // SAFETY: the routine is for every adapter of ours.
        unsafe { calls::request_timer(self.hw, Some(timer), microseconds) };
    }

    /// Only what StorPort says it can do is asked for: one flag that it does not know fails them all
    /// ("StorPortInitializePerfOpts").
    fn use_concurrent_channels(&self, channels: &ConcurrentChannels) -> bool {
        // SAFETY: the port is made from StorPort's device extension only.
        let header = unsafe { Header::of(self.hw) };
        let targets = header.targets(channels.messages);
        // An earlier start may have left some.
        // SAFETY: StorPort writes them in the call below only ("PERF_CONFIGURATION_DATA").
        unsafe { header.clear_targets(channels.messages) };
        let mut data = PERF_CONFIGURATION_DATA {
            // With it came the last of the flags below.
            Version: STOR_PERF_VERSION_3,
            Size: size_of_ulong::<PERF_CONFIGURATION_DATA>(),
            ..Default::default()
        };
        if !self.performance_options(true, &mut data) {
            return false;
        }
        let mut flags = data.Flags & STOR_PERF_CONCURRENT_CHANNELS;
        // Each needs the one before it.
        let by_message =
            [STOR_PERF_DPC_REDIRECTION, STOR_PERF_INTERRUPT_MESSAGE_RANGES, STOR_PERF_ADV_CONFIG_LOCALITY];
        for flag in by_message {
            if data.Flags & flag == 0 || (flag == STOR_PERF_ADV_CONFIG_LOCALITY && targets.is_null()) {
                break;
            }
            flags |= flag;
        }
        data = PERF_CONFIGURATION_DATA {
            Version: STOR_PERF_VERSION_3,
            Size: size_of_ulong::<PERF_CONFIGURATION_DATA>(),
            Flags: flags,
            ConcurrentChannels: channels.queues.into(),
            FirstRedirectionMessageNumber: channels.first_message.into(),
            LastRedirectionMessageNumber: channels.last_message().into(),
            // With it, StorPort looks at the messages' processors in their groups, and says which they are.
            MessageTargets: if flags & STOR_PERF_ADV_CONFIG_LOCALITY != 0 {
                targets
            } else {
                ptr::null_mut()
            },
            ..Default::default()
        };
        flags != 0
            && self.performance_options(false, &mut data)
            && flags & STOR_PERF_INTERRUPT_MESSAGE_RANGES != 0
    }

    fn announced_at(&self, channels: &ConcurrentChannels, processor: u32) -> impl Iterator<Item = u16> {
        // SAFETY: the port is made from StorPort's device extension only.
        let header = unsafe { Header::of(self.hw) };
        let ConcurrentChannels { queues, messages, .. } = *channels;
        // SAFETY: StorPort wrote them in `use_concurrent_channels`, if ever.
        let target = move |index| unsafe { header.target(messages, index) };
        let first = channels.first_target(|index| target(index).Mask != 0);
        let place = processors::place(processor);
        (0..queues)
            .filter(move |queue| place.is_some_and(|place| processors::is_in(place, &target(first + queue))))
    }

    #[inline]
    fn processor(&self) -> u32 {
        processors::current()
    }

    fn system_time(&self) -> u64 {
        let mut time = LARGE_INTEGER::default();
        if !self.for_dump {
            // SAFETY: the number is ours to have filled.
            unsafe { StorPortQuerySystemTime(&raw mut time) };
        }
        // SAFETY: both views of the union are plain integers.
        unsafe { time.QuadPart as u64 }
    }

    fn bus_master(&self, enabled: bool) -> Result<(), BusMasterError> {
        let (config_space, identity) = self.function.ok_or(BusMasterError::Elsewhere)?;
        set_bus_master(&config_space, &identity, enabled)
    }

    fn stop_system<C: Copy>(&self, code: u32, because_of: &Request<C>) -> ! {
        let Address { path, target, lun } = because_of.address();
        let srb = because_of.srb().addr().get() as u64;
        // SAFETY: it may be called anywhere, and does not return.
        unsafe { KeBugCheckEx(code, srb, path.into(), target.into(), lun.into()) }
    }

    fn report(&self, event: LogEvent) {
        if !self.for_dump {
            log::report(self.hw, event);
        }
    }

    fn set_unit_attributes(&self, unit: Address, attributes: UnitAttributes) {
        // It is known to the first copy's port driver.
        if !self.for_dump {
            units::set_attributes(self.hw, unit, attributes);
        }
    }
}
