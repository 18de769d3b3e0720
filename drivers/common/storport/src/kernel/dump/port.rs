//! [`Port`] over what the dump port driver exports under StorPort's names.

use wdk_sys::PHW_STATE_CHANGE;
use wdk_sys::storage::StorPortStallExecution;

use virtio::transport::{BusMasterError, FunctionIdentity, set_bus_master};

use super::srb::DumpSrb;
use crate::kernel::HwDeviceExtension;
use crate::kernel::port::StorPort;
use crate::kernel::registers::{ConfigSpaceAtRuntime, KernelBar};
use crate::miniport::DpcKind;
use crate::port::{LogEvent, Port, Spread, UnitAttributes};
use crate::srb::{Address, Completion};

/// The dump port driver, for one adapter.
#[derive(Clone, Copy, Debug)]
pub struct DumpPort {
    hw: HwDeviceExtension,
    /// Only the adapter itself needs it.
    function: Option<(ConfigSpaceAtRuntime, FunctionIdentity)>,
}

impl DumpPort {
    pub(super) const fn new(hw: HwDeviceExtension) -> Self {
        Self { hw, function: None }
    }
}

impl StorPort for DumpPort {
    fn of_function(
        hw: HwDeviceExtension,
        config_space: ConfigSpaceAtRuntime,
        identity: FunctionIdentity,
        _state_change: PHW_STATE_CHANGE,
    ) -> Self {
        Self { hw, function: Some((config_space, identity)) }
    }
}

impl Port for DumpPort {
    type Bar = KernelBar;
    type Srb<C: Copy + Send + 'static> = DumpSrb<C>;

    fn complete<C: Copy + Send + 'static>(&self, srb: DumpSrb<C>, completion: Completion) {
        srb.complete(self.hw, completion);
    }

    fn stall(&self, microseconds: u32) {
        // SAFETY: the routine has no preconditions.
        unsafe { StorPortStallExecution(microseconds) };
    }

    /// Nobody looks.
    fn unit_changed(&self) -> bool {
        true
    }

    /// There are none; the next poll finds the work.
    fn issue_dpc(&self, _kind: DpcKind) {}

    /// Each poll looks.
    fn look_later(&self, _microseconds: u32) {}

    /// There is one queue.
    fn spread(&self, _spread: &Spread) -> bool {
        false
    }

    fn message_for<C: Copy + Send + 'static>(&self, _srb: &DumpSrb<C>) -> Option<u32> {
        None
    }

    fn processor(&self) -> u32 {
        0
    }

    /// The first copy may have left it off.
    fn bus_master(&self, enabled: bool) -> Result<(), BusMasterError> {
        let (config_space, identity) = self.function.ok_or(BusMasterError::Elsewhere)?;
        set_bus_master(&config_space, &identity, enabled)
    }

    /// Nobody keeps a log any more, nor is anybody left to trace.
    fn report(&self, _event: LogEvent) {}

    /// It is known to the first copy's port driver.
    fn set_unit_attributes(&self, _unit: Address, _attributes: UnitAttributes) {}
}
