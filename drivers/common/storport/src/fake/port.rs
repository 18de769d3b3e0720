//! The fake's [`Port`]: records what the miniport does, behind one lock that is never held while the miniport is called or a
//! test's step runs.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard};

use fake_device::Ram;
use virtio::transport::{Bar, BusMasterError, ConfigSpaceMut, FunctionIdentity, set_bus_master};

use super::srb::{Completed, SrbBuilder, finish, prepare};
use crate::dpc::DpcKind;
use crate::miniport::{BuildIo, Miniport};
use crate::port::{ConcurrentChannels, LogEvent, Port, UnitAttributes};
use crate::request::{Ended, Request, SrbId};
use crate::srb::Address;

/// The time, always: noon of 1 January 2026.
pub const NOW: u64 = 134_117_424_000_000_000;

/// Sets or clears the Bus Master bit of the PCI function.
struct Function(Box<dyn Fn(bool) -> Result<(), BusMasterError> + Send>);

impl fmt::Debug for Function {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Function")
    }
}

#[derive(Debug, Default)]
struct Record {
    function: Option<Function>,
    bus_master: Vec<bool>,
    completed: Vec<Completed>,
    dpcs: Vec<DpcKind>,
    reports: Vec<LogEvent>,
    unit_attributes: Vec<(Address, UnitAttributes)>,
    stalls: u64,
    timer: Option<u32>,
    /// Time that has passed, in units of 100 ns.
    elapsed: u64,
    bus_changes: Vec<u8>,
    unit_changes: Vec<Address>,
    slow_unit_changes: bool,
    open_unit_change: bool,
    in_unit_change_callback: bool,
    at_refusal: Option<Step>,
    dump_mode: bool,
    mapped: Option<Ram>,
    parameters: Vec<(String, u32)>,
    channels: Channels,
    concurrent_channels: Option<ConcurrentChannels>,
    at_completion: Option<Step>,
    at_stall: Option<Step>,
    at_choice: Option<Step>,
}

/// What the port driver does with requests for several queues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Channels {
    /// Each processor has a message of its own, as far as there are, and shares it with those whose number is so many more.
    #[default]
    ByProcessor,
    /// It knows nothing of such things.
    Unsupported,
    /// It agreed, and says nothing of targets.
    Silent,
    /// It agreed, and each message arrives at every processor.
    Everywhere,
    /// It agreed, and the message of the first number's queue arrives at the processor of the second.
    Targets(&'static [(u16, u32)]),
}

thread_local! {
    static PROCESSOR: Cell<u32> = const { Cell::new(0) };
}

/// Which processor this thread is from now on.
pub fn run_on(processor: u32) {
    PROCESSOR.set(processor);
}

/// What a test does in the middle of a call to the miniport.
struct Step(Box<dyn FnOnce() + Send>);

impl fmt::Debug for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Step")
    }
}

/// A port driver in memory. Clones share what they record.
#[derive(Debug)]
pub struct FakePort<B> {
    record: Arc<Mutex<Record>>,
    bar: PhantomData<fn() -> B>,
}

impl<B> Clone for FakePort<B> {
    fn clone(&self) -> Self {
        Self { record: Arc::clone(&self.record), bar: PhantomData }
    }
}

impl<B> Default for FakePort<B> {
    fn default() -> Self {
        Self { record: Arc::default(), bar: PhantomData }
    }
}

impl<B: Bar + Send + Sync + 'static> FakePort<B> {
    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().expect("no test panics while it holds the record")
    }

    /// Puts the PCI function behind [`Port::bus_master`]; without one, nothing is reached.
    pub fn connect(&self, config: impl ConfigSpaceMut + Send + 'static) {
        let identity = FunctionIdentity::of(&config);
        let bus_master = move |enabled| set_bus_master(&config, &identity, enabled);
        self.record().function = Some(Function(Box::new(bus_master)));
    }

    /// What [`Port::bus_master`] was asked for so far, in order.
    pub fn bus_master_calls(&self) -> Vec<bool> {
        self.record().bus_master.clone()
    }

    /// Maps the data of reads and writes, which lies in this memory
    /// ([`Configuration::maps_all`](crate::Configuration::maps_all)).
    pub fn map_all(&self, memory: &Ram) {
        self.record().mapped = Some(memory.clone());
    }

    /// Has an administrator set this value.
    pub fn set_parameter(&self, name: &str, value: u32) {
        self.record().parameters.push((name.to_owned(), value));
    }

    /// What is set under this name; a registry does not look at the case of names, and nobody reads one in dump mode.
    pub(super) fn parameter(&self, name: &str) -> Option<u32> {
        let record = self.record();
        let found = record.parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.filter(|_| !record.dump_mode).map(|(_, value)| *value)
    }

    /// The dump port driver. It polls, and panics when a DPC is asked for or takes an interrupt.
    pub fn for_dump() -> Self {
        let port = Self::default();
        port.record().dump_mode = true;
        port
    }

    /// Whether it is the dump port driver.
    pub fn is_for_dump(&self) -> bool {
        self.record().dump_mode
    }

    /// What becomes of requests for several queues.
    pub fn set_channels(&self, channels: Channels) {
        self.record().channels = channels;
    }

    /// What the miniport asked for with [`Port::use_concurrent_channels`] last.
    pub fn concurrent_channels_asked(&self) -> Option<ConcurrentChannels> {
        self.record().concurrent_channels
    }

    /// Hands a request to the miniport the way StorPort does: BuildIo, then StartIo unless it is complete already.
    // DPCs that are issued there run when the processor has left HwStorStartIo and DISPATCH_LEVEL; if others waited before, all
    // of them do until the test has them run.
    pub fn submit<M: Miniport<Port = Self>>(&self, adapter: &M, request: SrbBuilder) -> SrbId {
        let mut request: Request<M::Command> = request.mapped_in(self.record().mapped.clone());
        let id = request.id();
        match adapter.build_io(&mut request) {
            BuildIo::Complete(completion) => self.complete(request.end(completion)),
            BuildIo::Start => {
                let idle = self.record().dpcs.is_empty();
                prepare(&mut request);
                adapter.start_io(request);
                if idle && !self.is_for_dump() {
                    self.run_dpcs(adapter);
                }
            }
        }
        id
    }

    /// Delivers an interrupt, and runs the DPCs that it leads to.
    pub fn interrupt<M: Miniport<Port = Self>>(&self, adapter: &M, message: Option<u32>) -> bool {
        assert!(!self.is_for_dump(), "nobody takes interrupts in dump mode");
        let work = adapter.interrupt(message);
        if let Some(queue) = work.request_queue {
            self.issue_dpc(DpcKind::RequestQueue(queue));
        }
        if work.service {
            self.issue_dpc(DpcKind::Service);
        }
        self.run_dpcs(adapter);
        work.is_ours()
    }

    /// Runs the DPCs that were issued, and those they issue.
    pub fn run_dpcs<M: Miniport<Port = Self>>(&self, adapter: &M) {
        while let Some(kind) = self.next_dpc() {
            adapter.dpc(kind);
        }
    }

    fn next_dpc(&self) -> Option<DpcKind> {
        let mut record = self.record();
        if record.dpcs.is_empty() { None } else { Some(record.dpcs.remove(0)) }
    }

    /// Does this when the miniport completes the next request, before that call returns: StorPort may start another
    /// request there, or another processor does something at that moment.
    pub fn at_next_completion(&self, step: impl FnOnce() + Send + 'static) {
        self.record().at_completion = Some(Step(Box::new(step)));
    }

    /// As [`at_next_completion`](Self::at_next_completion), when the miniport busy-waits next.
    pub fn at_next_stall(&self, step: impl FnOnce() + Send + 'static) {
        self.record().at_stall = Some(Step(Box::new(step)));
    }

    /// Takes the buses that have changed so far, in order.
    pub fn take_bus_changes(&self) -> Vec<u8> {
        core::mem::take(&mut self.record().bus_changes)
    }

    /// Takes the units whose state has changed so far, in order: those of changes that were taken.
    pub fn take_unit_changes(&self) -> Vec<Address> {
        core::mem::take(&mut self.record().unit_changes)
    }

    /// From now on a unit change that was taken is worked on until [`end_unit_change`](Self::end_unit_change), and no other is
    /// taken meanwhile.
    pub fn hold_unit_changes(&self) {
        self.record().slow_unit_changes = true;
    }

    /// Ends the unit change that is being worked on. The callback comes before the end, under the StartIo lock.
    pub fn end_unit_change<M: Miniport>(&self, miniport: &M) {
        let mut record = self.record();
        assert!(record.open_unit_change, "no unit change is being worked on");
        record.in_unit_change_callback = true;
        drop(record);
        miniport.state_change();
        let mut record = self.record();
        (record.in_unit_change_callback, record.open_unit_change) = (false, false);
    }

    /// As [`at_next_completion`](Self::at_next_completion), when a unit change is not taken next.
    pub fn at_next_refusal(&self, step: impl FnOnce() + Send + 'static) {
        self.record().at_refusal = Some(Step(Box::new(step)));
    }

    /// As [`at_next_completion`](Self::at_next_completion), when the miniport asks next on which processor it runs.
    pub fn at_next_choice(&self, step: impl FnOnce() + Send + 'static) {
        self.record().at_choice = Some(Step(Box::new(step)));
    }

    /// Takes what was completed so far, in order.
    pub fn take_completed(&self) -> Vec<Completed> {
        core::mem::take(&mut self.record().completed)
    }

    /// The log entries so far.
    pub fn log_entries(&self) -> Vec<LogEvent> {
        self.record().reports.iter().copied().filter(|event| event.logged).collect()
    }

    /// What was traced so far.
    pub fn traces(&self) -> Vec<LogEvent> {
        self.record().reports.clone()
    }

    /// What was told of units so far.
    pub fn unit_attributes(&self) -> Vec<(Address, UnitAttributes)> {
        self.record().unit_attributes.clone()
    }

    /// The time that the miniport requested the timer for.
    pub fn timer(&self) -> Option<u32> {
        self.record().timer
    }

    /// Lets the time pass for which the miniport requested the timer, and runs the DPCs that follow; returns the time, if it was
    /// waiting for any.
    pub fn run_timer<M: Miniport<Port = Self>>(&self, adapter: &M) -> Option<u32> {
        let microseconds = {
            let mut record = self.record();
            let microseconds = record.timer.take()?;
            record.elapsed += u64::from(microseconds) * 10;
            microseconds
        };
        self.issue_dpc(DpcKind::Timer);
        self.run_dpcs(adapter);
        Some(microseconds)
    }

    /// How long the miniport has busy-waited, in microseconds.
    pub fn stalled_microseconds(&self) -> u64 {
        self.record().stalls
    }
}

impl<B: Bar + Send + Sync + 'static> Port for FakePort<B> {
    type Bar = B;

    fn complete<C>(&self, ended: Ended<C>) {
        let completed = finish(ended);
        assert_ne!(completed.completion.status.0 & 0x3f, 0x30, "SRB_STATUS_INTERNAL_ERROR is StorPort's");
        let mut record = self.record();
        record.completed.push(completed);
        let step = record.at_completion.take();
        drop(record);
        if let Some(Step(step)) = step {
            step();
        }
    }

    fn stall(&self, microseconds: u32) {
        assert!(microseconds < 1000, "a stall is shorter than a millisecond");
        let mut record = self.record();
        record.stalls += u64::from(microseconds);
        let step = record.at_stall.take();
        drop(record);
        if let Some(Step(step)) = step {
            step();
        }
    }

    fn bus_changed(&self, path: u8) {
        let mut record = self.record();
        assert!(!record.dump_mode, "nobody looks for units in dump mode");
        record.bus_changes.push(path);
    }

    fn unit_changed(&self, unit: Address) -> bool {
        let mut record = self.record();
        assert!(!record.dump_mode, "nobody looks at a unit in dump mode");
        assert!(
            !record.in_unit_change_callback,
            "StorPort holds the StartIo lock and is not done with the change"
        );
        if record.open_unit_change {
            let step = record.at_refusal.take();
            drop(record);
            if let Some(Step(step)) = step {
                step();
            }
            return false;
        }
        record.unit_changes.push(unit);
        record.open_unit_change = record.slow_unit_changes;
        true
    }

    fn issue_dpc(&self, kind: DpcKind) {
        let mut record = self.record();
        assert!(!record.dump_mode, "no DPC runs in dump mode, and {kind:?} was asked for");
        if !record.dpcs.contains(&kind) {
            record.dpcs.push(kind);
        }
    }

    fn request_timer(&self, microseconds: u32) {
        let mut record = self.record();
        assert!(!record.dump_mode, "there are no timers in dump mode");
        record.timer = (microseconds != 0).then_some(microseconds);
    }

    fn use_concurrent_channels(&self, channels: &ConcurrentChannels) -> bool {
        assert!(channels.queues > 1, "one queue needs nothing of the kind");
        assert!(
            channels.last_message() < channels.messages,
            "{channels:?} names a message that there is not"
        );
        let mut record = self.record();
        record.concurrent_channels = Some(*channels);
        record.channels != Channels::Unsupported
    }

    fn announced_at(&self, channels: &ConcurrentChannels, processor: u32) -> impl Iterator<Item = u16> {
        let record = self.record();
        assert_eq!(record.concurrent_channels.as_ref(), Some(channels), "it is as was asked for");
        let (queues, said) = (channels.queues, record.channels);
        drop(record);
        let named: Vec<u16> = match said {
            Channels::Unsupported | Channels::Silent => Vec::new(),
            Channels::Everywhere => (0..queues).collect(),
            Channels::ByProcessor => vec![(processor % u32::from(queues)) as u16],
            Channels::Targets(targets) => {
                targets.iter().filter(|(_, at)| *at == processor).map(|(queue, _)| *queue).collect()
            }
        };
        named.into_iter()
    }

    fn processor(&self) -> u32 {
        let step = self.record().at_choice.take();
        if let Some(Step(step)) = step {
            step();
        }
        PROCESSOR.get()
    }

    fn system_time(&self) -> u64 {
        NOW + self.record().elapsed
    }

    fn bus_master(&self, enabled: bool) -> Result<(), BusMasterError> {
        let mut record = self.record();
        record.bus_master.push(enabled);
        match &record.function {
            Some(Function(bus_master)) => bus_master(enabled),
            None => Err(BusMasterError::Elsewhere),
        }
    }

    fn report(&self, event: LogEvent) {
        let mut record = self.record();
        // Nobody keeps a log in dump mode.
        if !record.dump_mode {
            record.reports.push(event);
        }
    }

    fn stop_system<C: Copy>(&self, code: u32, because_of: &Request<C>) -> ! {
        panic!("the system was stopped with {code:#x} because of {:?}", because_of.function())
    }

    fn set_unit_attributes(&self, unit: Address, attributes: UnitAttributes) {
        self.record().unit_attributes.push((unit, attributes));
    }
}

#[cfg(test)]
mod tests {
    use fake_device::FakeBar;
    use fake_device::disk::Disk;

    use super::*;

    const FIRST: Address = Address { path: 0, target: 3, lun: 0 };
    const SECOND: Address = Address { path: 0, target: 3, lun: 1 };

    fn port() -> FakePort<FakeBar<Disk>> {
        FakePort::default()
    }

    #[test]
    fn a_change_of_any_unit_keeps_all_others_from_being_taken() {
        let port = port();
        port.hold_unit_changes();

        let taken = [FIRST, SECOND, FIRST].map(|unit| port.unit_changed(unit));

        assert_eq!(taken, [true, false, false]);
        assert_eq!(port.take_unit_changes(), [FIRST]);
    }

    #[test]
    fn a_bus_may_change_again_and_again() {
        let port = port();

        port.bus_changed(0);
        port.bus_changed(0);

        assert_eq!(port.take_bus_changes(), [0, 0]);
        assert_eq!(port.take_bus_changes(), []);
    }

    #[test]
    #[should_panic(expected = "in dump mode")]
    fn nobody_looks_at_a_bus_in_dump_mode() {
        FakePort::<FakeBar<Disk>>::for_dump().bus_changed(0);
    }
}
