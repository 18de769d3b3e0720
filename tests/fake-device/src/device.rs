//! The device as a test holds it: run it, hold it back, look at it, make it lie.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use super::config_access::FakeConfigAccess;
use super::config_space::{Contents, FakeConfigSpace};
use super::queue::{Queue, Used};
use super::queue_resets::QueueResets;
use super::registers::{self, FakeBar, Windows};
use super::{Answered, Chain, Lie, Manner, Model, Ram, Request, Served, Violation, legacy_registers};
use virtio::spec::pci::{NO_VECTOR, config_space};
use virtio::spec::{DeviceStatus, Features};

/// How a device is made, apart from its type.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Features of ring and transport that are offered.
    pub features: Features,
    /// Entries of every queue.
    pub queue_size: u16,
    /// So many queues come before the others and have so many entries instead.
    pub first_queues: (u16, u16),
    /// Entries of the MSI-X table; with 0 the device has no MSI-X and uses its interrupt line.
    pub vectors: u16,
    /// Bytes between the notification addresses of two queues; with 0 they share one.
    pub notify_multiplier: u32,
    /// With VIRTIO_F_IN_ORDER: one used entry for all requests that are answered at once, where the rules allow it.
    pub batch_used: bool,
    /// The notification structure lies in I/O space, in a base address register of its own, and all queues share the
    /// address whatever `notify_multiplier` says.
    pub notify_io: bool,
    /// The device has the legacy interface and no other (4.1.4.10).
    pub legacy: bool,
}

impl Options {
    /// Entries of a queue.
    pub(super) fn size_of(&self, queue: u16) -> u16 {
        let (first, size) = self.first_queues;
        if queue < first { size } else { self.queue_size }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            features: Features::VERSION_1.union(Features::RING_INDIRECT_DESC).union(Features::RING_EVENT_IDX),
            queue_size: 256,
            first_queues: (0, 0),
            vectors: 4,
            notify_multiplier: 4,
            batch_used: false,
            notify_io: false,
            legacy: false,
        }
    }
}

/// An interrupt that the device sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupt {
    /// By MSI-X, with this table entry.
    Message(u16),
    /// The line went up.
    Line,
}

/// In which order requests are answered that the device has at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// As they came.
    Arrival,
    /// The last one first.
    Reversed,
    /// Mixed, by a generator that starts with this.
    Shuffled(u64),
}

impl Order {
    /// Which of `count` requests is next.
    fn pick(&mut self, count: usize) -> usize {
        match self {
            Self::Arrival => 0,
            Self::Reversed => count - 1,
            Self::Shuffled(state) => {
                // A linear congruential generator (Knuth's MMIX constants); its upper bits are good enough to mix.
                *state =
                    state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (*state >> 33) as usize % count
            }
        }
    }
}

/// What a test does in the middle of the driver's work.
pub(super) type Step = Box<dyn FnOnce() + Send>;

pub(super) struct State<M> {
    pub(super) ram: Ram,
    pub(super) model: M,
    pub(super) options: Options,
    pub(super) lies: Vec<Lie>,
    used_lie: Option<Lie>,
    /// What it says of the bytes it has written, when that is a manner.
    used_length: Option<fn(Answered) -> u32>,
    pub(super) removed: bool,
    /// The command register of configuration space.
    pub(super) command: u16,
    pub(super) status: DeviceStatus,
    /// A reset was asked for and the driver has not read zero yet.
    pub(super) reset_unconfirmed: bool,
    /// Looks at the status until a reset is done.
    pub(super) slow_reset: u32,
    pub(super) reset_polls_left: u32,
    pub(super) device_feature_select: u32,
    pub(super) driver_feature_select: u32,
    pub(super) accepted: Features,
    pub(super) features_confirmed: bool,
    pub(super) config_vector: u16,
    pub(super) config_vector_unconfirmed: bool,
    pub(super) generation: u8,
    pub(super) queue_select: u16,
    pub(super) queues: Vec<Queue>,
    pub(super) queue_resets: QueueResets,
    /// MSI-X is enabled, not only there.
    pub(super) msix_enabled: bool,
    pub(super) isr: u8,
    interrupts: Vec<Interrupt>,
    pub(super) violations: Vec<Violation>,
    pub(super) accesses: u64,
    /// What happens before the access that follows so many.
    pub(super) at_access: Option<(u64, Step)>,
    pub(super) at_ended_reset: Option<Step>,
    resets: u32,
    holding: bool,
    polling: bool,
    order: Order,
    trace: Option<Vec<String>>,
}

/// The command register as the operating system leaves it: memory and I/O decoding, Bus Master.
const COMMAND: u16 = 7;
/// Its bits that can be written here: those, parity, SERR and the interrupt line's.
const COMMAND_WRITABLE: u16 = 0x0547;

const ISR_QUEUE: u8 = 1;
const ISR_CONFIGURATION: u8 = 2;

impl<M: Model> State<M> {
    pub(super) fn windows(&self) -> Windows {
        let told = self
            .lies
            .iter()
            .find_map(|lie| if let Lie::ConfigLength(bytes) = lie { Some(*bytes) } else { None });
        let config_bytes = told.unwrap_or(self.model.config().len() as u32);
        let common_bytes = self
            .lies
            .iter()
            .find_map(|lie| if let Lie::CommonLength(bytes) = lie { Some(*bytes) } else { None });
        Windows::new(config_bytes, common_bytes, &self.options)
    }

    pub(super) fn offered(&self) -> Features {
        let mut offered = self.options.features | self.model.features();
        if self.options.legacy {
            offered = legacy_registers::offered(offered);
        }
        for lie in &self.lies {
            match lie {
                Lie::NoVersion1 => offered.remove(Features::VERSION_1),
                Lie::FeaturesWithdrawn(bits) => offered.remove(Features::from_bits_retain(*bits)),
                _ => {}
            }
        }
        offered
    }

    /// Forgets everything but the model's medium.
    pub(super) fn finish_reset(&mut self) {
        self.reset_unconfirmed = false;
        self.reset_polls_left = 0;
        self.status = DeviceStatus::empty();
        self.accepted = Features::empty();
        self.features_confirmed = false;
        self.device_feature_select = 0;
        self.driver_feature_select = 0;
        self.config_vector = NO_VECTOR;
        self.config_vector_unconfirmed = false;
        self.queue_select = 0;
        self.isr = 0;
        let options = self.options;
        for (number, queue) in (0..).zip(&mut self.queues) {
            queue.reset(options.size_of(number));
        }
        self.queue_resets = QueueResets::default();
        self.resets += 1;
        self.model.reset();
    }

    /// Whether the device may reach memory, and send messages.
    pub(super) fn is_bus_master(&self) -> bool {
        self.command & config_space::COMMAND_BUS_MASTER != 0
    }

    /// A write to the command register. Giving a device its memory back whose reset has not ended is no good idea.
    pub(super) fn write_command(&mut self, value: u16) {
        if self.lies.contains(&Lie::GoneWithBusMaster) {
            self.removed = true;
        }
        let was_master = self.is_bus_master();
        let stuck =
            if self.lies.contains(&Lie::BusMasterStuck) { config_space::COMMAND_BUS_MASTER } else { 0 };
        self.command = self.command & stuck | value & COMMAND_WRITABLE & !stuck;
        let holds_requests = self.queues.iter().any(|queue| !queue.in_hand.is_empty());
        if !was_master && self.is_bus_master() && (self.reset_unconfirmed || holds_requests) {
            self.violations.push(Violation::BusMasterTooEarly);
        }
    }

    /// Whether the device may take requests.
    fn is_running(&self) -> bool {
        !self.removed
            && self.is_bus_master()
            && !self.reset_unconfirmed
            && self.status.contains(DeviceStatus::DRIVER_OK)
            && !self.status.contains(DeviceStatus::DEVICE_NEEDS_RESET)
    }

    fn raise(&mut self, vector: u16, isr: u8) {
        if self.msix_enabled {
            if vector != NO_VECTOR && self.is_bus_master() {
                self.interrupts.push(Interrupt::Message(vector));
            }
            return;
        }
        if self.isr == 0 {
            self.interrupts.push(Interrupt::Line);
        }
        self.isr |= isr;
    }

    /// Takes what is in the available rings of notified queues.
    fn fetch(&mut self) -> usize {
        if !self.is_running() {
            return 0;
        }
        let Self { queues, ram, violations, accepted, polling, model, .. } = self;
        let mut fetched = 0;
        for queue in queues.iter_mut().filter(|queue| queue.enabled) {
            if !core::mem::take(&mut queue.notified) && !*polling {
                continue;
            }
            let before = queue.in_hand.len();
            loop {
                queue.fetch(ram, *accepted, violations);
                queue.ask_for_notification(ram, *accepted, *polling);
                // What came in before the device asked to be told is announced by nobody.
                if !queue.has_more(ram) {
                    break;
                }
            }
            for chain in queue.in_hand.range(before..) {
                let mut request = Request::new(ram, chain, *accepted);
                model.arrives(queue.number, &mut request);
                violations.append(&mut request.violations);
            }
            fetched += queue.in_hand.len() - before;
        }
        fetched
    }

    /// Answers up to `most` requests that the device has.
    fn answer(&mut self, most: usize) -> usize {
        if self.removed || !self.is_bus_master() || !self.status.contains(DeviceStatus::DRIVER_OK) {
            return 0;
        }
        let mut answered = 0;
        for index in 0..self.queues.len() {
            let before = answered;
            self.queues[index].check_in_flight(&self.ram, &mut self.violations);
            while answered < most && !self.queues[index].in_hand.is_empty() {
                answered += self.answer_one(index);
            }
            if answered > before {
                self.show_used(index);
            }
        }
        answered
    }

    /// Shows the driver what was used of a queue, and interrupts it where it wants that.
    fn show_used(&mut self, index: usize) {
        let queue = &mut self.queues[index];
        queue.publish_used(&self.ram);
        if queue.interrupt_wanted(&self.ram, self.accepted, &mut self.violations) {
            let vector = queue.vector;
            self.raise(vector, ISR_QUEUE);
        }
    }

    /// Fills the oldest buffer that the model keeps of a queue; `false`: there is none, or the device does not run.
    fn fill_kept(&mut self, index: usize, bytes: &[u8]) -> bool {
        if !self.is_running() || self.queues[index].kept.is_empty() {
            return false;
        }
        let chain = self.queues[index].kept.remove(0);
        self.queues[index].check_in_flight(&self.ram, &mut self.violations);
        self.answer_chain(index, chain, |_, request| {
            request.write(0, bytes);
            Served::Done
        });
        true
    }

    /// Answers one request, and before it those that it ends; returns how many that were.
    fn answer_one(&mut self, index: usize) -> usize {
        let Self { queues, accepted, order, .. } = self;
        let in_order = accepted.contains(Features::IN_ORDER);
        let waiting = queues[index].in_hand.len();
        let position = if in_order { 0 } else { order.pick(waiting) };
        let Some(chain) = self.take(index, position) else {
            return 0;
        };
        let request = Request::new(&self.ram, &chain, self.accepted);
        let ended = self.model.ends(index as u16, &request);
        let ended = self.answer_ended(&ended);
        self.answer_chain(index, chain, |model, request| model.serve(index as u16, request));
        ended + 1
    }

    /// Answers requests out of their turn, and shows the driver that. With VIRTIO_F_IN_ORDER there is no such thing.
    fn answer_ended(&mut self, requests: &[(u16, u16)]) -> usize {
        let mut answered = 0;
        if self.accepted.contains(Features::IN_ORDER) {
            return answered;
        }
        for index in 0..self.queues.len() {
            let before = answered;
            for &(_, id) in requests.iter().filter(|(queue, _)| usize::from(*queue) == index) {
                let position = self.queues[index].in_hand.iter().position(|chain| chain.head == id);
                if let Some(chain) = position.and_then(|position| self.take(index, position)) {
                    self.queues[index].check_in_flight(&self.ram, &mut self.violations);
                    self.answer_chain(index, chain, |model, request| model.serve(index as u16, request));
                    answered += 1;
                }
            }
            if answered > before {
                self.show_used(index);
            }
        }
        answered
    }

    /// Takes a request out of those in hand, and notes its chain.
    fn take(&mut self, index: usize, position: usize) -> Option<Chain> {
        let queue = &mut self.queues[index];
        let chain = queue.in_hand.remove(position)?;
        if let Some(trace) = &mut self.trace {
            trace.push(describe(&self.model, queue.number, &chain));
        }
        Some(chain)
    }

    /// Answers a request that was taken in hand.
    fn answer_chain(
        &mut self,
        index: usize,
        chain: Chain,
        serve: impl FnOnce(&mut M, &mut Request<'_>) -> Served,
    ) {
        let Self { queues, ram, violations, accepted, model, options, lies, used_lie, used_length, .. } =
            self;
        let queue = &mut queues[index];
        let in_order = accepted.contains(Features::IN_ORDER);
        let writable = chain.writable_bytes() as u32;
        violations.extend(queue.check_unchanged(ram, *accepted, &chain).err());
        let lie = used_lie.take();
        if lie == Some(Lie::NothingWritten) {
            queue.push_used(ram, Used::new(&chain, 0, false));
            return;
        }
        let mut request = Request::new(ram, &chain, *accepted);
        let served = serve(model, &mut request);
        let written = match lies.as_slice() {
            [Lie::NoUsedLength, ..] => 0,
            [Lie::UsedLengthOneShort, ..] => (request.written as u32).saturating_sub(1),
            _ => {
                let told = used_length.map(|told| {
                    told(Answered {
                        first: chain.pieces.first().map_or(0, |piece| piece.length),
                        readable: request.readable().len() as u32,
                        writable,
                        written: request.written as u32,
                        failed: request.failed,
                    })
                });
                told.unwrap_or(request.written as u32)
            }
        };
        violations.append(&mut request.violations);
        let used = Used::new(&chain, written, request.written > 0);
        let complete = request.written == chain.writable_bytes();
        // In order, no request may pass one that is kept.
        queue.waits |= in_order && served == Served::Kept;
        if served == Served::Kept || queue.waits {
            queue.kept.push(chain);
            *used_lie = lie;
            return;
        }
        match lie {
            Some(Lie::UsedIdOutOfRange) => {
                queue.push_used(ram, Used { id: u32::from(queue.size), ..used });
                queue.kept.push(chain);
            }
            Some(Lie::UsedIdNotInFlight) => {
                // Where every id is in flight, the lie cannot be told.
                queue.in_hand.push_front(chain);
                match queue.unused_id(ram) {
                    Some(id) => queue.push_false(ram, Used { id: u32::from(id), ..used }),
                    None => {
                        queue.in_hand.pop_front();
                        queue.push_used(ram, used);
                    }
                }
            }
            Some(Lie::UsedTwice) => {
                queue.push_used(ram, used);
                queue.push_false(ram, used);
            }
            Some(Lie::UsedLengthTooLong(more)) => {
                queue.push_used(ram, Used { length: writable + more, ..used });
            }
            Some(Lie::UsedLength(length)) => queue.push_used(ram, Used { length, ..used }),
            Some(Lie::UsedIndexJump(jump)) => {
                queue.push_used(ram, used);
                queue.jump(ram, jump);
            }
            _ if in_order && options.batch_used => queue.batch_used(ram, used, complete),
            _ => queue.push_used(ram, used),
        }
    }
}

/// `R 16 header / W 4096 data / W 1 status`
fn describe<M: Model>(model: &M, queue: u16, chain: &Chain) -> String {
    let pieces = chain.pieces.iter().enumerate().map(|(position, piece)| {
        let direction = if piece.writable { 'W' } else { 'R' };
        format!("{direction} {} {}", piece.length, model.label(queue, chain, position))
    });
    pieces.collect::<Vec<_>>().join(" / ")
}

/// A virtio-pci device in memory. Clones are handles of the same device.
pub struct FakeDevice<M>(Arc<Mutex<State<M>>>);

impl<M> Clone for FakeDevice<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M> fmt::Debug for FakeDevice<M> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("FakeDevice")
    }
}

impl<M: Model> FakeDevice<M> {
    /// A device that was just switched on.
    pub fn new(model: M, ram: &Ram, options: Options) -> Self {
        let queues =
            (0..model.queue_count()).map(|number| Queue::new(number, options.size_of(number))).collect();
        Self(Arc::new(Mutex::new(State {
            ram: ram.clone(),
            model,
            options,
            lies: Vec::new(),
            used_lie: None,
            used_length: None,
            removed: false,
            command: COMMAND,
            status: DeviceStatus::empty(),
            reset_unconfirmed: false,
            slow_reset: 0,
            reset_polls_left: 0,
            device_feature_select: 0,
            driver_feature_select: 0,
            accepted: Features::empty(),
            features_confirmed: false,
            config_vector: NO_VECTOR,
            config_vector_unconfirmed: false,
            generation: 0,
            queue_select: 0,
            queues,
            queue_resets: QueueResets::default(),
            msix_enabled: options.vectors > 0,
            isr: 0,
            interrupts: Vec::new(),
            violations: Vec::new(),
            accesses: 0,
            at_access: None,
            at_ended_reset: None,
            resets: 0,
            holding: false,
            polling: false,
            order: Order::Arrival,
            trace: None,
        })))
    }

    /// A device of this manner that was just switched on. `model` and `options` are what it is apart from that.
    pub fn with_manner(manner: &Manner<M>, model: M, ram: &Ram, options: Options) -> Self {
        let (model, options) = manner.apply(model, options);
        let device = Self::new(model, ram, options);
        device.state().used_length = manner.used_length;
        device
    }

    fn state(&self) -> MutexGuard<'_, State<M>> {
        self.0.lock().expect("no test goes on after a panic in the device")
    }

    /// PCI configuration space, as it is now.
    pub fn config_space(&self) -> FakeConfigSpace {
        let state = self.state();
        FakeConfigSpace::new(&Contents {
            device_type: M::DEVICE_TYPE,
            class: M::PCI_CLASS,
            vectors: state.options.vectors,
            msix_enabled: state.msix_enabled,
            legacy: state.options.legacy,
            windows: state.windows(),
            notify_multiplier: state.notify_multiplier(),
            capability_loop: state.lies.contains(&Lie::CapabilityLoop),
            command: state.command,
        })
    }

    /// PCI configuration space as it is now, with the window into the registers that 4.1.4.9 describes.
    pub fn config_access(&self) -> FakeConfigAccess<M> {
        FakeConfigAccess::new(self)
    }

    /// The registers behind a base address register. The device's structures are all in one, but for notifications in
    /// I/O space; a legacy device has the first one.
    pub fn bar(&self, index: u8) -> Option<FakeBar<M>> {
        let options = self.state().options;
        let is_there = match index {
            legacy_registers::BAR => options.legacy,
            registers::NOTIFY_IO_BAR => !options.legacy && options.notify_io,
            registers::BAR => !options.legacy,
            _ => false,
        };
        is_there.then(|| FakeBar(Arc::clone(&self.0), index))
    }

    /// Whether these bytes lie in one of the structures that capabilities describe.
    pub(super) fn structure_contains(&self, bar: u8, offset: u32, length: u32) -> bool {
        self.state().windows().contain(bar, offset, length)
    }

    /// The command register, as it is now.
    pub(super) fn command(&self) -> u16 {
        self.state().command
    }

    pub(super) fn write_command(&self, value: u16) {
        self.state().write_command(value);
    }

    /// Whether configuration space reads all-ones.
    pub(super) fn config_space_is_gone(&self) -> bool {
        let state = self.state();
        state.removed || state.lies.contains(&Lie::ConfigSpaceGone)
    }

    /// Whether the device may reach memory, and send messages: Bus Master Enable in configuration space.
    pub fn is_bus_master(&self) -> bool {
        self.state().is_bus_master()
    }

    pub(super) fn note(&self, violation: Violation) {
        self.state().violations.push(violation);
    }

    /// Enables or disables MSI-X in configuration space, as the operating system does.
    pub fn set_msix_enabled(&self, enabled: bool) {
        let mut state = self.state();
        state.msix_enabled = enabled && state.options.vectors > 0;
    }

    /// Looks at, or changes, what the device is.
    pub fn model<R>(&self, with: impl FnOnce(&mut M) -> R) -> R {
        with(&mut self.state().model)
    }

    /// Serves every queue that was notified, and returns how many requests were answered. While requests are held
    /// back, they are taken from the ring only.
    pub fn run(&self) -> usize {
        let mut state = self.state();
        state.fetch();
        if state.holding { 0 } else { state.answer(usize::MAX) }
    }

    /// From now on, [`run`](Self::run) takes requests without answering them.
    pub fn hold(&self) {
        self.state().holding = true;
    }

    /// Answers up to `most` of the requests that are held back, and those that they end. A reset that was asked for but has not ended does not
    /// keep the device from it.
    pub fn release(&self, most: usize) -> usize {
        self.state().answer(most)
    }

    /// Ends holding back, and answers everything.
    pub fn release_all(&self) -> usize {
        let mut state = self.state();
        state.holding = false;
        state.fetch();
        state.answer(usize::MAX)
    }

    /// Requests that the device has taken and not answered.
    pub fn in_hand(&self) -> usize {
        self.state().queues.iter().map(|queue| queue.in_hand.len()).sum()
    }

    /// Fills the oldest buffers that the model keeps of a queue ([`Served::Kept`]), one for each of `events`, and shows
    /// them to the driver at once; returns how many it had buffers for. Buffers are kept once the device [ran](Self::run)
    /// with them.
    ///
    /// # Panics
    /// With VIRTIO_F_IN_ORDER, where nothing may pass what is kept.
    pub fn send_events<E: AsRef<[u8]>>(&self, queue: u16, events: &[E]) -> usize {
        let mut state = self.state();
        assert!(!state.accepted.contains(Features::IN_ORDER), "no event may pass a buffer that is kept");
        let index = usize::from(queue);
        let sent = events.iter().take_while(|event| state.fill_kept(index, event.as_ref())).count();
        if sent > 0 {
            state.show_used(index);
        }
        sent
    }

    /// Buffers that the model keeps of a queue.
    pub fn kept(&self, queue: u16) -> usize {
        self.state().queues[usize::from(queue)].kept.len()
    }

    /// In which order requests are answered; with VIRTIO_F_IN_ORDER always as they came.
    pub fn set_order(&self, order: Order) {
        self.state().order = order;
    }

    /// A device that looks at its queues by itself and asks for no notifications. Takes effect with the next run.
    pub fn set_polling(&self, polling: bool) {
        let mut state = self.state();
        state.polling = polling;
        // What came while nobody had to tell the device is looked at when it starts to rely on being told.
        state.queues.iter_mut().filter(|queue| queue.enabled).for_each(|queue| queue.notified = true);
    }

    /// How often the status is read before a reset is done.
    pub fn set_slow_reset(&self, reads: u32) {
        self.state().slow_reset = reads;
    }

    /// Does this before the `nth` register access from now, counted from 0: what another processor does at that moment.
    pub fn at_access(&self, nth: u64, step: impl FnOnce() + Send + 'static) {
        let mut state = self.state();
        state.at_access = Some((state.accesses + nth, Box::new(step)));
    }

    /// Does this when the driver has read that a reset has ended, before it gets to know that: what another processor does at
    /// that moment.
    pub fn at_ended_reset(&self, step: impl FnOnce() + Send + 'static) {
        self.state().at_ended_reset = Some(Box::new(step));
    }

    /// Takes the interrupts that were sent, in order.
    pub fn take_interrupts(&self) -> Vec<Interrupt> {
        core::mem::take(&mut self.state().interrupts)
    }

    /// Whether the interrupt line is up: it is, until the interrupt status is read.
    pub fn line_is_up(&self) -> bool {
        self.state().isr != 0
    }

    /// How often a queue was notified.
    pub fn notifications(&self, queue: u16) -> u64 {
        self.state().queues[usize::from(queue)].notifications
    }

    /// How often the device was reset.
    pub fn resets(&self) -> u32 {
        self.state().resets
    }

    /// How often any register was touched.
    pub fn register_accesses(&self) -> u64 {
        self.state().accesses
    }

    /// The device status.
    pub fn status(&self) -> DeviceStatus {
        self.state().status
    }

    /// The features that were negotiated.
    pub fn accepted(&self) -> Features {
        self.state().accepted
    }

    /// The size and vector of a queue that is enabled.
    pub fn enabled_queue(&self, queue: u16) -> Option<(u16, u16)> {
        let state = self.state();
        let queue = state.queues.get(usize::from(queue)).filter(|queue| queue.enabled)?;
        Some((queue.size, queue.vector))
    }

    /// The vector for configuration changes.
    pub fn config_vector(&self) -> u16 {
        self.state().config_vector
    }

    /// From now on, notes the chain of every request.
    pub fn trace(&self) {
        self.state().trace = Some(Vec::new());
    }

    /// The chains since then, one line each: `R 16 header / W 4096 data / W 1 status`.
    pub fn take_trace(&self) -> Vec<String> {
        self.state().trace.replace(Vec::new()).unwrap_or_default()
    }

    /// Starts to lie.
    pub fn lie(&self, lie: Lie) {
        let mut state = self.state();
        if lie.is_about_used() {
            state.used_lie = Some(lie);
        } else {
            state.lies.push(lie);
        }
    }

    /// Ends all lies.
    pub fn be_honest(&self) {
        let mut state = self.state();
        state.lies.clear();
        state.used_lie = None;
    }

    /// Takes the device out of the machine: registers read all-ones, and nothing is answered any more.
    pub fn remove(&self) {
        self.state().removed = true;
    }

    /// Puts a device back that was taken out, as it was: it plays one without power, too.
    pub fn put_back(&self) {
        self.state().removed = false;
    }

    /// The device fails, and asks for a reset (2.1.2).
    pub fn need_reset(&self) {
        let mut state = self.state();
        state.status |= DeviceStatus::DEVICE_NEEDS_RESET;
        let vector = state.config_vector;
        if state.status.contains(DeviceStatus::DRIVER_OK) {
            state.raise(vector, ISR_CONFIGURATION);
        }
    }

    /// Changes the device's configuration and says so (2.5, 4.1.4.5).
    pub fn change_config(&self, change: impl FnOnce(&mut M)) {
        let mut state = self.state();
        change(&mut state.model);
        state.generation = state.generation.wrapping_add(1);
        let vector = state.config_vector;
        if state.status.contains(DeviceStatus::DRIVER_OK) {
            state.raise(vector, ISR_CONFIGURATION);
        }
    }

    /// What the driver did that it must not.
    pub fn violations(&self) -> Vec<Violation> {
        self.state().violations.clone()
    }

    /// Panics when the driver broke a rule.
    #[track_caller]
    pub fn assert_no_violations(&self) {
        let violations = self.violations();
        assert!(violations.is_empty(), "the driver broke the specification: {violations:?}");
    }
}
