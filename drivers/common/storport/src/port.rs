//! What a miniport may ask of the port driver.

use core::ffi::CStr;

use bitflags::bitflags;
use virtio::memory::Region;
use virtio::transport::{Bar, BusMasterError, ConfigSpace};

use crate::miniport::DpcKind;
use crate::request::{Ended, Request};
use crate::srb::Address;

/// The port driver, for as long as the adapter exists.
pub trait Port: Clone + Send + Sync + 'static {
    /// A mapped register range.
    type Bar: Bar + Send + Sync + 'static;

    /// Gives back a request that has ended. IRQL: any up to DISPATCH_LEVEL. Lock: none may be held, because StorPort may call back into
    /// `start_io` before this returns.
    fn complete<C>(&self, ended: Ended<C>);

    /// Busy-waits, for less than a millisecond (nf-storport-storportstallexecution.md). IRQL: any.
    fn stall(&self, microseconds: u32);

    /// Says that targets or logical units may have come or gone on this bus, so that Windows looks at all of it again
    /// (BusChangeDetected, nf-storport-storportnotification.md). Nobody is told when it has. IRQL: up to DISPATCH_LEVEL.
    /// Lock: any. The page names neither.
    fn bus_changed(&self, path: u8);

    /// Says that the state of a logical unit has changed, so that Windows looks at it again
    /// (nf-storport-storportstatechangedetected.md). `false`: an earlier change, of whichever unit, is still being worked on, and
    /// this one has to be told after [`unit_change_processed`](crate::Miniport::unit_change_processed), which may have come
    /// meanwhile: so after some time as well. IRQL: up to DISPATCH_LEVEL. Lock: any, but not in `unit_change_processed`.
    #[must_use = "a change that was not taken has to be told again"]
    fn unit_changed(&self, unit: Address) -> bool;

    /// Queues a DPC; nothing happens when it is queued already. IRQL: any up to the interrupt's.
    fn issue_dpc(&self, kind: DpcKind);

    /// Queues the DPC of [`DpcKind::Configuration`] after so long (RequestTimerCall, nf-storport-storportnotification.md). There
    /// is one timer: a new time takes the place of the one that was asked for before, and 0 stops it. It ticks every 10
    /// milliseconds or so. Not in dump mode. IRQL: up to DISPATCH_LEVEL. Lock: any.
    fn request_timer(&self, microseconds: u32);

    /// Has requests started on as many processors at once as there are request queues, and each announced by the message of
    /// its queue where it was started, as far as the port driver can do that. Only in
    /// [`initialize`](crate::Miniport::initialize). Returns whether [`message_for`](Self::message_for) says anything.
    /// IRQL: the interrupt's.
    fn use_concurrent_channels(&self, channels: &ConcurrentChannels) -> bool;

    /// The message that had better announce the end of a request: one of those that
    /// [`use_concurrent_channels`](Self::use_concurrent_channels) was told of. Only in
    /// [`start_io`](crate::Miniport::start_io). IRQL: any up to DISPATCH_LEVEL.
    fn message_for<C: Copy>(&self, request: &Request<C>) -> Option<u32>;

    /// A number for the processor that this runs on, counted from 0 through all groups. IRQL: any; below DISPATCH_LEVEL it may
    /// be another processor the next moment.
    fn processor(&self) -> u32;

    /// Sets or clears Bus Master Enable in the function's PCI configuration space. `Ok`: the bit reads as it was asked for,
    /// and if that is clear, the device has done its last access to memory. IRQL: any up to the interrupt's.
    ///
    /// # Errors
    /// The bit is not known to be what was asked for.
    fn bus_master(&self, enabled: bool) -> Result<(), BusMasterError>;

    /// Tells what is known of a logical unit besides its INQUIRY data, while the request for those is still open
    /// (nf-storport-storportsetunitattributes.md). IRQL: any.
    fn set_unit_attributes(&self, unit: Address, attributes: UnitAttributes);

    /// Tells those who trace the port driver (ETW, channel "Microsoft-Windows-Storage-Storport/Diagnose"), and if the event says
    /// so, writes an entry to the system event log. IRQL: up to DISPATCH_LEVEL (nf-storport-storportetwevent2.md,
    /// nf-storport-storportlogsystemevent.md).
    fn report(&self, event: LogEvent);
}

bitflags! {
    /// `STOR_UNIT_ATTRIBUTES`
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct UnitAttributes: u32 {
        /// `D3ColdNotSupported`: it is not to be left without power in the middle of things.
        const D3_COLD_NOT_SUPPORTED = 1 << 2;
        /// `BypassIOSupported`: it takes BypassIO. A unit without this vetoes it.
        const BYPASS_IO_SUPPORTED = 1 << 3;
    }
}

/// How bad it is (`STORPORT_ETW_LEVEL`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TraceLevel {
    /// Something does not work.
    Error = 2,
    /// Something did not work, and does again or is done without.
    Warning = 3,
    /// Something happened.
    Information = 4,
}

/// Several processors that start requests at once, each for a request queue of its own (STOR_PERF_CONCURRENT_CHANNELS), and
/// the messages of those queues (STOR_PERF_INTERRUPT_MESSAGE_RANGES).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConcurrentChannels {
    /// How many request queues there are; at least two.
    pub queues: u16,
    /// The message of the first one. The others' follow it.
    pub first_message: u16,
    /// How many messages the adapter was given: more than the queues have, for the configuration has one as well.
    pub messages: u16,
}

impl ConcurrentChannels {
    /// The message of the last queue.
    pub const fn last_message(&self) -> u16 {
        self.first_message + (self.queues - 1)
    }
}

/// One event for the traces of the port driver, and for the system event log.
///
/// The log shows `code` as the entry's unique id, `0xPPNNNNNN`: the part of the driver in the top byte, the number
/// that part gave the event below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogEvent {
    /// Which part of the driver speaks.
    pub part: LogPart,
    /// Its number for what happened.
    pub number: u32,
    /// How bad it is.
    pub level: TraceLevel,
    /// It is for the system log, too.
    pub logged: bool,
}

impl LogEvent {
    /// The entry's unique id.
    pub const fn code(&self) -> u32 {
        ((self.part as u32) << 24) | (self.number & 0x00ff_ffff)
    }
}

/// Part of a driver that writes log entries.
///
/// None has the number 0: then a code of 0 is no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum LogPart {
    /// Finding, opening and starting the device.
    Transport = 1,
    /// The device broke the ring's rules.
    Queue = 2,
    /// The device's configuration cannot be used.
    Configuration = 3,
    /// The adapter was reset, and why.
    Reset = 4,
    /// An administrator's setting is out of range and does not count.
    Parameter = 5,
}

impl LogPart {
    /// What a trace calls it. The port driver refuses more than 32 characters (STORPORT_ETW_MAX_DESCRIPTION_LENGTH), and does
    /// not say whether the zero at the end counts.
    pub const fn description(self) -> &'static str {
        match self {
            Self::Transport => "virtio device does not start",
            Self::Queue => "virtio device broke its rules",
            Self::Configuration => "virtio device configuration",
            Self::Reset => "virtio device reset",
            Self::Parameter => "registry value out of range",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_descriptions_are_short_enough_for_a_trace() {
        use LogPart::{Configuration, Parameter, Queue, Reset, Transport};
        for part in [Transport, Queue, Configuration, Reset, Parameter] {
            assert!(part.description().is_ascii());
            assert!(part.description().len() < 32, "{}", part.description());
        }
    }
}

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
    /// The driver looks at the data of reads and writes too ([`Request::data`]); that costs a mapping for each.
    pub maps_all: bool,
}
