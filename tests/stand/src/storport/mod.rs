//! The port driver.
//!
//! `start` brings an adapter up (HwStorFindAdapter … passive initialisation), `request` and `queue` carry requests through
//! BuildIo and StartIo to their completion, `interrupt`, `lock` and `control` are the rest of what Storport does; `exports`,
//! `notification`, `extended` and `registers` are the functions a miniport imports.

/// The argument of this name in the header's call with this code.
macro_rules! argument {
    ($a:expr, $code:literal, $name:literal) => {{
        const PLACE: stand::wdk::calls::Place = stand::wdk::calls::place($code, $name);
        PLACE.value($a.get(PLACE.index))
    }};
}

pub mod control;
pub mod dump;
pub mod exports;
pub mod extended;
pub mod interrupt;
pub mod ladder;
pub mod lock;
pub mod memory;
pub mod notification;
pub mod queue;
pub mod registers;
pub mod removal;
pub mod request;
pub mod start;
pub mod stray;
pub mod unit;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;

use stand::cmdline::{Starts, Targets};
use stand::wdk::config::{HwInitializationData, PortConfiguration};
use stand::wdk::srb::Btl8;

use crate::cpu::lock::{Guard, Lock};
use crate::kernel::dpc;
use crate::memory::arena;
use crate::memory::dma::Grant;
use crate::pci::Function;
use crate::pci::bars::Bar;
use crate::pci::msix;
use request::Request;

/// Path, target, LUN.
pub type Address = (u8, u8, u8);

/// A unit's name.
pub fn name(address: Address) -> String {
    alloc::format!("{}:{}:{}", address.0, address.1, address.2)
}

/// How far the adapter is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// DriverEntry runs.
    #[default]
    Entry,
    /// HwStorFindAdapter runs.
    FindAdapter,
    /// HwStorInitialize runs.
    Initialize,
    /// HwStorPassiveInitializeRoutine runs.
    PassiveInitialize,
    /// Requests flow.
    Running,
    /// Stopped by ScsiStopAdapter.
    Stopped,
    /// The device is gone.
    Removed,
}

/// What Storport knows of one logical unit.
#[derive(Clone, Copy, Debug)]
pub struct Unit {
    /// Most requests outstanding.
    pub depth: u32,
    /// Requests with the miniport.
    pub outstanding: u32,
    /// Paused by the miniport, with the tick at which the pause ends by itself.
    pub paused_until: u64,
    /// Busy until this many requests have completed.
    pub busy: u32,
}

/// A state change that is worked on.
#[derive(Clone, Copy, Debug)]
pub struct StateChange {
    /// How HwStorStateChange will be called.
    pub item: dpc::Item,
    /// ChangedEntity.
    pub entity: u32,
    /// What lay at its address when it was told.
    pub unit: Btl8,
}

/// The adapter.
#[derive(Default)]
pub struct Port {
    /// As StorPortInitialize got it; all zero before.
    pub hw: HwInitializationData,
    /// As the miniport left it.
    pub config: PortConfiguration,
    /// Where the miniport sees the configuration during HwStorFindAdapter.
    pub config_address: u64,
    /// Device extension.
    pub extension: u64,
    /// Uncached extension: range, physical address, bytes asked for.
    pub uncached: Option<(arena::Range, u64, u64)>,
    /// The device's right to it.
    pub uncached_grant: Grant,
    /// The PCI function.
    pub function: Option<Function>,
    /// Its address ranges.
    pub bars: Vec<Bar>,
    /// Other functions that the driver is for, with theirs; they are not started.
    pub others: Vec<(Function, Vec<Bar>)>,
    /// Where the miniport sees them: address, bytes, bus address.
    pub registers: Vec<(u64, u64, u64)>,
    /// Its message table.
    pub table: Option<msix::Table>,
    /// Messages granted.
    pub messages: u16,
    /// Messages (not the line) are connected.
    pub message_interrupts: bool,
    /// How far the adapter is.
    pub phase: Phase,
    /// Passive initialisation routine, when enabled.
    pub passive_routine: u64,
    /// Optimisations in force and concurrent channels.
    pub perf_flags: u32,
    /// Concurrent channels.
    pub channels: u32,
    /// First message of DPC redirection and channels.
    pub first_message: u32,
    /// DPC objects and their routines.
    pub dpcs: BTreeMap<u64, u64>,
    /// Storport timers and workers made by the miniport.
    pub objects: BTreeMap<u64, &'static str>,
    /// Work items waiting for a passive moment: routine, context, worker.
    pub work: VecDeque<(u64, u64, u64)>,
    /// Units seen.
    pub units: BTreeMap<Address, Unit>,
    /// Units that the last bus scan found to be disks.
    pub disks: Vec<Address>,
    /// Their target knows neither READ(16), WRITE(16) nor START STOP UNIT.
    pub few_commands: bool,
    /// Adapter paused until this tick; 0 when it is not.
    pub paused_until: u64,
    /// Adapter paused after a reset of the bus until this tick.
    pub hold_until: u64,
    /// Adapter busy until this many requests have completed.
    pub busy: u32,
    /// Requests waiting to be started.
    pub waiting: VecDeque<Box<Request>>,
    /// Requests with the miniport, by SRB address.
    pub active: BTreeMap<u64, Box<Request>>,
    /// Requests completed and not yet taken.
    pub done: VecDeque<Box<Request>>,
    /// Memory of completed requests, kept away for a while.
    pub quarantine: VecDeque<request::Dead>,
    /// Addresses of requests completed lately.
    pub past: VecDeque<(arena::Range, u32)>,
    /// Next request tag.
    pub next_tag: u32,
    /// All queues are held, as around HwStorResetBus.
    pub held: bool,
    /// Late requests and resets.
    pub ladder: ladder::Ladder,
    /// Where the next request starts after a completion.
    pub starts: Starts,
    /// What is said of messages' processors.
    pub targets: Targets,
    /// SRBs are SCSI_REQUEST_BLOCKs, as before there were others, whatever SrbTypeFlags ask for.
    pub old_srbs: bool,
    /// Most requests given to the miniport at once; 0 is no limit.
    pub limit: usize,
    /// The miniport asked for a new bus scan.
    pub rescan: bool,
    /// Buses and units that it said have changed, as often as it did.
    pub bus_changes: u32,
    pub unit_changes: Vec<Address>,
    /// The state change that is worked on.
    pub state_change: Option<StateChange>,
    /// State changes are worked on until this is taken back.
    pub hold_state_changes: bool,
    /// State changes that were refused, because another was worked on.
    pub refused_state_changes: u32,
    /// `param.` values of the command line.
    pub parameters: Vec<(String, u32)>,
    /// Counters of calls by export name, for a person.
    pub statistics: Statistics,
}

/// Counters.
#[derive(Clone, Copy, Debug, Default)]
pub struct Statistics {
    /// Requests started.
    pub requests: u64,
    /// Requests given back busy.
    pub busy: u64,
    /// Scatter/gather elements handed out.
    pub elements: u64,
    /// Interrupts the miniport did not claim.
    pub unclaimed: u64,
    /// DPCs issued.
    pub dpcs: u64,
    /// Requests started because others had completed: inside RequestComplete or in Storport's DPC.
    pub after_completion: u64,
    /// Most requests with the miniport at once.
    pub most_active: usize,
}

static PORT: Lock<Option<Port>> = Lock::new(None);

/// The adapter's state, exclusively. Never held while the driver runs.
pub struct PortGuard(Guard<'static, Option<Port>>);

impl core::ops::Deref for PortGuard {
    type Target = Port;
    fn deref(&self) -> &Port {
        self.0.as_ref().expect("set by port()")
    }
}

impl core::ops::DerefMut for PortGuard {
    fn deref_mut(&mut self) -> &mut Port {
        self.0.as_mut().expect("set by port()")
    }
}

/// Takes the adapter's state.
#[track_caller]
pub fn port() -> PortGuard {
    let mut guard = PORT.lock();
    guard.get_or_insert_with(Port::default);
    PortGuard(guard)
}

/// A rule: the first argument of nearly every function is the device extension.
pub fn adapter(function: &str, extension: u64) {
    let own = port().extension;
    if extension != own {
        crate::not_ok!("wrong-device-extension", "{function} got {extension:#x}, the extension is {own:#x}");
    }
}
