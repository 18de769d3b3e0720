//! [`Resources`] over `PORT_CONFIGURATION_INFORMATION`, which is ours during `HwStorFindAdapter`. IRQL: PASSIVE_LEVEL, in dump
//! mode HIGH_LEVEL. Lock: none, and no other callback runs.

use core::ffi::CStr;
use core::ptr::{self, NonNull};
use core::slice;
use core::sync::atomic::Ordering;

use wdk_sys::storage::{StorPortGetDeviceBase, StorPortGetPhysicalAddress, StorPortGetUncachedExtension};
use wdk_sys::{
    _INTERRUPT_SYNCHRONIZATION_MODE, _STOR_SYNCHRONIZATION_MODEL, ACCESS_RANGE, BOOLEAN, PHW_STATE_CHANGE,
    PORT_CONFIGURATION_INFORMATION, PPORT_CONFIGURATION_INFORMATION, PVOID,
    SCSI_DMA64_MINIPORT_FULL64BIT_SUPPORTED, STOR_ADAPTER_FEATURE_ABORT_COMMAND,
    STOR_MAP_ALL_BUFFERS_INCLUDING_READ_WRITE, STOR_MAP_NON_READ_WRITE_BUFFERS, ULONG, ULONG_PTR,
};

use virtio::memory::Region;
use virtio::transport::FunctionIdentity;

use super::HwDeviceExtension;
use super::calls;
use super::extension::Header;
use super::port::KernelPort;
use super::registers::{ConfigSpaceAtRuntime, ConfigSpaceCopy, KernelBar, bar_address};
use super::{processors, registry};
use crate::port::{Configuration, PRIVATE_ALIGNMENT, Resources, SHARED_ALIGNMENT};

/// HwMSInterruptRoutine
type MessageRoutine = unsafe extern "C" fn(PVOID, ULONG) -> BOOLEAN;

const PAGE_BYTES: usize = 4096;

/// Who drives the miniport.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mode {
    /// StorPort.
    Normal {
        /// Messages go to this routine.
        message_routine: MessageRoutine,
        /// What is called when StorPort has worked on a change of a unit.
        state_change: PHW_STATE_CHANGE,
        /// The device extension has room for so many request queues.
        most_queues: u16,
    },
    /// The dump port driver; there are no messages.
    Dump,
}

/// An adapter's resources during `HwStorFindAdapter`.
pub(super) struct KernelResources<'a> {
    hw: HwDeviceExtension,
    configuration: &'a mut PORT_CONFIGURATION_INFORMATION,
    /// What is left of it.
    private: *mut [u8],
    mode: Mode,
}

impl KernelResources<'_> {
    /// # Safety
    /// `configuration` must be what StorPort passed to `HwStorFindAdapter` of the adapter `hw`, and must not be used
    /// after that has returned. `private` must be memory that lives as long as the adapter and that nothing else uses, and
    /// start at a multiple of [`PRIVATE_ALIGNMENT`].
    pub(super) unsafe fn new(
        hw: HwDeviceExtension,
        configuration: PPORT_CONFIGURATION_INFORMATION,
        private: *mut [u8],
        mode: Mode,
    ) -> Self {
        // SAFETY: the caller's promise.
        let configuration = unsafe { &mut *configuration };
        Self { hw, configuration, private, mode }
    }

    /// Whether the port driver says that it is the dump port driver.
    pub(super) fn is_for_dump(&self) -> bool {
        self.configuration.DumpMode != 0
    }

    fn access_ranges(&self) -> &[ACCESS_RANGE] {
        let ranges: *const ACCESS_RANGE = self.configuration.AccessRanges.cast();
        if ranges.is_null() {
            return &[];
        }
        // SAFETY: StorPort's array has as many elements as it says.
        unsafe { slice::from_raw_parts(ranges, self.configuration.NumberOfAccessRanges as usize) }
    }

    fn config_space_copy(&self) -> ConfigSpaceCopy {
        // SAFETY: the value exists only while StorPort runs `HwStorFindAdapter`.
        unsafe {
            ConfigSpaceCopy::read(
                self.hw,
                self.configuration.SystemIoBusNumber,
                self.configuration.SlotNumber,
            )
        }
    }
}

impl Resources for KernelResources<'_> {
    type Port = KernelPort;
    type ConfigSpace = ConfigSpaceCopy;

    fn port(&self) -> KernelPort {
        let configuration = &*self.configuration;
        let place = ConfigSpaceAtRuntime::new(configuration.SystemIoBusNumber, configuration.SlotNumber);
        let identity = FunctionIdentity::of(&self.config_space_copy());
        let (for_dump, state_change) = match self.mode {
            Mode::Normal { state_change, .. } => (false, state_change),
            Mode::Dump => (true, None),
        };
        KernelPort::of_function(self.hw, place, identity, for_dump, state_change)
    }

    fn config_space(&self) -> ConfigSpaceCopy {
        self.config_space_copy()
    }

    /// A range is told by its address: StorPort's array leaves unused registers out.
    fn map_bar(&mut self, index: u8) -> Option<KernelBar> {
        let address = bar_address(&self.config_space_copy(), index)?;
        let range = *self
            .access_ranges()
            .iter()
            // SAFETY: both views of the union are plain integers.
            .find(|range| unsafe { range.RangeStart.QuadPart } as u64 == address)?;
        let in_memory = range.RangeInMemory != 0;
        // SAFETY: the range is one of those StorPort assigned to this adapter.
        let base = unsafe {
            StorPortGetDeviceBase(
                self.hw.0,
                self.configuration.AdapterInterfaceType,
                self.configuration.SystemIoBusNumber,
                range.RangeStart,
                range.RangeLength,
                BOOLEAN::from(!in_memory),
            )
        };
        if base.is_null() {
            return None;
        }
        // SAFETY: StorPort has just mapped this range.
        Some(unsafe { KernelBar::new(self.hw, base.cast(), u64::from(range.RangeLength), in_memory) })
    }

    fn private<T: Send>(
        &mut self,
        count: usize,
        mut make: impl FnMut(usize) -> Option<T>,
    ) -> Option<&'static mut [T]> {
        const { assert!(align_of::<T>() <= PRIVATE_ALIGNMENT) };
        let bytes = count.checked_mul(size_of::<T>())?;
        let taken = bytes.next_multiple_of(PRIVATE_ALIGNMENT);
        let left = self.private.len();
        if bytes > left {
            return None;
        }
        let start = self.private.cast::<T>();
        let rest = self.private.cast::<u8>().wrapping_add(taken.min(left));
        self.private = ptr::slice_from_raw_parts_mut(rest, left.saturating_sub(taken));
        for index in 0..count {
            let value = make(index)?;
            // SAFETY: the place lies in the private memory, which starts and goes on aligned, and holds nothing yet.
            unsafe { start.wrapping_add(index).write(value) };
        }
        // SAFETY: `count` values were just written, nothing else uses the memory, and it lives as long as the adapter,
        // which is the only one to get the slice.
        Some(unsafe { slice::from_raw_parts_mut(start, count) })
    }

    fn place(&self) -> (u32, u32) {
        (self.configuration.SystemIoBusNumber, self.configuration.SlotNumber)
    }

    fn private_room(&self) -> usize {
        self.private.len()
    }

    fn queues(&self) -> u16 {
        match self.mode {
            Mode::Dump => 1,
            Mode::Normal { most_queues, .. } => processors::active().clamp(1, most_queues),
        }
    }

    fn dump_mode(&self) -> bool {
        matches!(self.mode, Mode::Dump)
    }

    fn parameter(&mut self, name: &CStr) -> Option<u32> {
        match self.mode {
            Mode::Normal { .. } => registry::read(self.hw, name),
            Mode::Dump => None,
        }
    }

    fn configure(&mut self, limits: &Configuration) {
        let configuration = &mut *self.configuration;
        configuration.Master = 1;
        configuration.ScatterGather = 1;
        configuration.Dma64BitAddresses = SCSI_DMA64_MINIPORT_FULL64BIT_SUPPORTED as u8;
        configuration.MapBuffers = if limits.maps_all {
            STOR_MAP_ALL_BUFFERS_INCLUDING_READ_WRITE as u8
        } else {
            STOR_MAP_NON_READ_WRITE_BUFFERS as u8
        };
        // SAFETY: StorPort's device extension.
        unsafe { Header::of(self.hw) }.maps_all.store(limits.maps_all, Ordering::Relaxed);
        configuration.AlignmentMask = limits.alignment_mask;
        configuration.CachesData = BOOLEAN::from(limits.caches_data);
        configuration.NumberOfBuses = 1;
        configuration.MaximumNumberOfTargets = limits.targets;
        configuration.MaximumNumberOfLogicalUnits = limits.logical_units;
        configuration.MaximumTransferLength = limits.max_transfer_bytes;
        // In spite of its name the number of pages, says its page (ns-storport-_port_configuration_information.md), and so it is
        // used: classpnp takes one off, for a buffer that starts inside a page, and storahci adds one for that.
        configuration.NumberOfPhysicalBreaks = limits.max_segments;
        // A reset has ended when it is told to have: nothing has to be waited for after it.
        configuration.BusResetHoldTime = 0;
        if limits.aborts_commands {
            configuration.FeatureSupport |= STOR_ADAPTER_FEATURE_ABORT_COMMAND;
        }
        configuration.MaxNumberOfIO = limits.max_requests;
        configuration.MaxIOsPerLun = limits.max_requests_per_lun;
        configuration.InitialLunQueueDepth = limits.max_requests_per_lun;
        if let Mode::Normal { message_routine, .. } = self.mode {
            // Requests are started while others complete; the queue's lock is our own.
            configuration.SynchronizationModel = _STOR_SYNCHRONIZATION_MODEL::StorSynchronizeFullDuplex;
            configuration.InterruptSynchronizationMode =
                _INTERRUPT_SYNCHRONIZATION_MODE::InterruptSynchronizePerMessage;
            configuration.HwMSInterruptRoutine = Some(message_routine);
        }
    }

    fn uncached_extension(&mut self, bytes: usize) -> Option<Region> {
        // StorPort promises no alignment.
        let length = ULONG::try_from(bytes.checked_add(SHARED_ALIGNMENT)?).ok()?;
        // SAFETY: StorPort's device extension.
        let header = unsafe { Header::of(self.hw) };
        // It would be the one there is already that StorPort returns ("StorPortGetUncachedExtension").
        let existing = header.uncached_bytes.load(Ordering::Relaxed);
        if existing != 0 && bytes > existing {
            return None;
        }
        // SAFETY: the configuration is StorPort's and was filled in by `configure`.
        let base = unsafe { StorPortGetUncachedExtension(self.hw.0, self.configuration, length) };
        let base = base.cast::<u8>();
        let base = NonNull::new(base.map_addr(|address| address.next_multiple_of(SHARED_ALIGNMENT)))?;
        if existing == 0 {
            header.uncached_bytes.store(bytes, Ordering::Relaxed);
        }
        // SAFETY: StorPort has allocated this many bytes, and what the alignment skips besides.
        unsafe { base.write_bytes(0, bytes) };
        let device_address = self.physical_address(base)?;
        // Everything in the extension is addressed from its start, so it has to be one piece for the device as well.
        for offset in (PAGE_BYTES..bytes).step_by(PAGE_BYTES) {
            // SAFETY: the offset lies inside the allocation.
            let page = unsafe { base.add(offset) };
            if self.physical_address(page)? != device_address + offset as u64 {
                return None;
            }
        }
        if matches!(self.mode, Mode::Dump) {
            self.mark_dump_memory(base, bytes);
        }
        // SAFETY: the memory is contiguous, zeroed, this adapter's alone, and lives as long as the adapter.
        Some(unsafe { Region::new(base, bytes, device_address) })
    }
}

impl KernelResources<'_> {
    /// Has memory kept in the hibernation file, so that it is the same after the resume ("StorPortMarkDumpMemory").
    fn mark_dump_memory(&self, base: NonNull<u8>, bytes: usize) {
        // Whether it was marked changes nothing here: a crash dump has no resume.
        // SAFETY: the range is memory; nothing is written there.
        unsafe { calls::mark_dump_memory(self.hw, base.as_ptr().cast(), bytes as ULONG_PTR, 0) };
    }

    /// The device's address of a byte in the uncached extension.
    fn physical_address(&self, byte: NonNull<u8>) -> Option<u64> {
        let mut length: ULONG = 0;
        // SAFETY: without a request, the routine takes any address in the uncached extension.
        let address = unsafe {
            StorPortGetPhysicalAddress(self.hw.0, ptr::null_mut(), byte.as_ptr().cast(), &raw mut length)
        };
        // SAFETY: both views of the union are plain integers.
        let address = unsafe { address.QuadPart } as u64;
        (length != 0).then_some(address)
    }
}
