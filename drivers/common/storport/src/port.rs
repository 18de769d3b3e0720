//! What a miniport may ask of the port driver.

use core::ffi::CStr;

use virtio::memory::Region;
use virtio::transport::{Bar, BusMasterError, ConfigSpace};

use crate::miniport::DpcKind;
use crate::srb::{Completion, Srb};

/// The port driver, for as long as the adapter exists.
pub trait Port: Clone + Send + Sync + 'static {
    /// A mapped register range.
    type Bar: Bar + Send + Sync + 'static;

    /// A request whose extension holds a `C`.
    type Srb<C: Copy + Send + 'static>: Srb<C> + 'static;

    /// Ends a request. IRQL: any up to DISPATCH_LEVEL. Lock: none may be held, because StorPort may call back into
    /// `start_io` before this returns.
    fn complete<C: Copy + Send + 'static>(&self, srb: Self::Srb<C>, completion: Completion);

    /// Busy-waits. IRQL: any. Meant for waits of up to a millisecond between two looks at a register.
    fn stall(&self, microseconds: u32);

    /// Says that the state of logical unit 0 of target 0 has changed, so that Windows looks at it again
    /// ("StorPortStateChangeDetected"). IRQL: up to DISPATCH_LEVEL.
    fn unit_changed(&self);

    /// Queues a DPC; nothing happens when it is queued already. IRQL: any up to the interrupt's.
    fn issue_dpc(&self, kind: DpcKind);

    /// Sets or clears Bus Master Enable in the function's PCI configuration space. `Ok`: the bit reads as it was asked for,
    /// and if that is clear, the device has done its last access to memory. IRQL: any up to the interrupt's.
    ///
    /// # Errors
    /// The bit is not known to be what was asked for.
    fn bus_master(&self, enabled: bool) -> Result<(), BusMasterError>;

    /// Writes an entry to the system event log. IRQL: any up to the interrupt's.
    fn log(&self, event: LogEvent);
}

/// One entry for the system event log.
///
/// The log shows `code` as the entry's unique id, `0xPPNNNNNN`: the part of the driver in the top byte, the number
/// that part gave the event below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogEvent {
    /// Which part of the driver speaks.
    pub part: LogPart,
    /// Its number for what happened.
    pub number: u32,
}

impl LogEvent {
    /// The entry's unique id.
    pub const fn code(&self) -> u32 {
        ((self.part as u32) << 24) | (self.number & 0x00ff_ffff)
    }
}

/// Part of a driver that writes log entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum LogPart {
    /// Finding and opening the device: `virtio::transport::TransportError`.
    Transport = 1,
    /// The device broke the ring's rules: `virtio::queue::DeviceFault`.
    Queue = 2,
    /// The device's configuration cannot be used.
    Configuration = 3,
    /// The adapter was reset, and why.
    Reset = 4,
    /// An administrator's setting is out of range and does not count.
    Parameter = 5,
}

/// Of the memory that is shared with the device: a cache line, more than any part of a ring asks for, but a legacy device's.
pub const SHARED_ALIGNMENT: usize = 64;

/// The adapter's resources while the port driver asks the miniport to find it (`HwStorFindAdapter`,
/// PASSIVE_LEVEL).
pub trait Resources {
    /// The port driver.
    type Port: Port;

    /// A copy of PCI configuration space.
    type ConfigSpace: ConfigSpace;

    /// The port driver, to keep.
    fn port(&self) -> Self::Port;

    /// A copy of the function's PCI configuration space.
    fn config_space(&self) -> Self::ConfigSpace;

    /// Where the function is: `SystemIoBusNumber` and `SlotNumber`.
    fn place(&self) -> (u32, u32);

    /// Maps one base address register; `None` when the function has no such range.
    fn map_bar(&mut self, index: u8) -> Option<<Self::Port as Port>::Bar>;

    /// Takes values in memory that the device cannot reach, for as long as the adapter exists: part of the device
    /// extension, so nothing has to be given back. Can be asked for once; `None` when they are more than
    /// [`Miniport::PRIVATE_BYTES`](crate::Miniport::PRIVATE_BYTES), or in dump mode
    /// [`DUMP_PRIVATE_BYTES`](crate::Miniport::DUMP_PRIVATE_BYTES).
    fn private<T: Default + Send>(&mut self, count: usize) -> Option<&'static mut [T]>;

    /// Whether this image was loaded to write a crash dump or the hibernation file: then there are no interrupts, no DPCs
    /// and no log, and memory is short.
    fn dump_mode(&self) -> bool;

    /// What an administrator has set under this name: a DWORD below the service's `Parameters\Device` key with the number of
    /// the adapter's port, or for all adapters below `Parameters\Device`. `None` in dump mode.
    fn parameter(&mut self, name: &CStr) -> Option<u32>;

    /// Tells the port driver what the adapter can do. Must come before
    /// [`uncached_extension`](Self::uncached_extension), which sizes DMA resources by it.
    fn configure(&mut self, configuration: &Configuration);

    /// Memory shared with the device, physically contiguous, zeroed and aligned to [`SHARED_ALIGNMENT`], for as long as the
    /// adapter exists. Can be asked for once.
    fn uncached_extension(&mut self, bytes: usize) -> Option<Region>;
}

/// What the port driver has to know of an adapter (`PORT_CONFIGURATION_INFORMATION`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// Targets on the one bus.
    pub targets: u8,
    /// Logical units per target.
    pub logical_units: u8,
    /// Largest transfer, in bytes.
    pub max_transfer_bytes: u32,
    /// Most segments of one transfer.
    pub max_segments: u32,
    /// Requests the adapter takes at once.
    pub max_requests: u32,
    /// Requests one logical unit takes at once.
    pub max_requests_per_lun: u32,
    /// Alignment of data buffers in bytes, minus one (`AlignmentMask`).
    pub alignment_mask: u32,
    /// The adapter has a volatile cache: StorPort sends SRB_FUNCTION_FLUSH and SRB_FUNCTION_SHUTDOWN.
    pub caches_data: bool,
}
