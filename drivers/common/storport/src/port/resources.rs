//! An adapter's resources, and what is told of it, while it is being found: `HwStorFindAdapter`, at PASSIVE_LEVEL.

use core::ffi::CStr;

use virtio::memory::Region;
use virtio::transport::ConfigSpace;

use super::Port;

/// Of the memory that is shared with the device: a cache line, more than any part of a ring asks for, but a legacy device's.
pub const SHARED_ALIGNMENT: usize = 64;

/// Of the memory that is not: two cache lines, because processors fetch them in pairs. Values of two queues never lie in the
/// same pair, so that no processor waits for a line that only another one's queue needs.
pub const PRIVATE_ALIGNMENT: usize = 128;

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

    /// Makes values in memory that the device cannot reach, for as long as the adapter exists: part of the device
    /// extension, so nothing has to be given back, nor is anything dropped. They start at a multiple of
    /// [`PRIVATE_ALIGNMENT`]. `None` when they are more than [`private_room`](Self::private_room), or one of them is not to be
    /// had.
    fn private<T: Send>(
        &mut self,
        count: usize,
        make: impl FnMut(usize) -> Option<T>,
    ) -> Option<&'static mut [T]>;

    /// Bytes that are left for [`private`](Self::private): at first at least
    /// [`Miniport::private_bytes`](crate::Miniport::private_bytes), or in dump mode
    /// [`DUMP_PRIVATE_BYTES`](crate::Miniport::DUMP_PRIVATE_BYTES).
    fn private_room(&self) -> usize;

    /// How many request queues there had better be: one for each processor that is active, in all groups, as far as there is
    /// private memory and a DPC for each.
    fn queues(&self) -> u16;

    /// Whether this image was loaded to write a crash dump or the hibernation file: then there are no interrupts, no DPCs
    /// and no log, and memory is short.
    fn dump_mode(&self) -> bool;

    /// What an administrator has set under this name: a DWORD below the service's `Parameters\Device` key with the number of
    /// the adapter's port, or for all adapters below `Parameters\Device`. `None` in dump mode.
    fn parameter(&mut self, name: &CStr) -> Option<u32>;

    /// Tells the port driver what the adapter can do. Must come before
    /// [`uncached_extension`](Self::uncached_extension), which sizes DMA resources by it. What is told last counts.
    fn configure(&mut self, configuration: &Configuration);

    /// Memory shared with the device, physically contiguous, zeroed and aligned to [`SHARED_ALIGNMENT`], for as long as the
    /// adapter exists. Can be asked for until there is some.
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
    /// The driver looks at the data of reads and writes too ([`Request::data`](crate::Request::data)); that costs a mapping for each.
    pub maps_all: bool,
    /// The driver aborts single commands ([`SrbFunction::AbortCommand`](crate::SrbFunction::AbortCommand)).
    pub aborts_commands: bool,
}
