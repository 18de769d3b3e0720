//! Resets: what is done about an adapter that does not work, and what becomes of its requests.
//!
//! [`ladder`] decides about the device, [`task_management`] about single units; this file does what they say. First the device, then the requests: until the device has ended its reset
//! it may still write to their memory. A device that does not end it in time is cut off from memory by other means: with Bus
//! Master off, its PCI function issues no memory request, whatever its virtio side is doing. Then the requests end as well,
//! which is what StorPort expects of HwStorResetBus (nc-storport-hw_reset_bus.md). That the device still believes to have
//! them does no harm: the queues are closed, and the start that opens them empties their rings.
//!
//! Nothing is waited for: a reset that has not ended when it is looked at is looked at again when the timer runs, and whoever
//! asked for it is answered then. HwStorResetBus alone has to have an answer at once, so there Bus Master goes off at once.
//!
//! An adapter whose device is away comes back by itself. The requests that a reset ended come again, as BUS_RESET tells their
//! senders, and they do so at once and four times only (classpnp's ClassInterpretSenseInfo and MAXIMUM_RETRIES). So those
//! that come to an adapter without a device are not sent back again: they wait here until the device runs, or until their own
//! time is over and the port driver resets the bus. That way a device may take minutes.
//!
//! Locks: those who wait for a reset, and what the device was asked for because of them, have one of their own, at up to
//! DISPATCH_LEVEL, held for a moment. Where the adapter stands is one word, which DIRQL may change.

mod ladder;
mod task_management;

pub(crate) use ladder::{Input, Resets, Rung};
pub(crate) use task_management::AT_ONCE;

use core::mem;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use ladder::{Action, After, Kept, RungCell, Seen};
use spin::mutex::SpinMutex;
use storport::{Completion, DpcKind, LogEvent, Port, Requests, SrbStatus};
use task_management::{Next, TaskManagement, ToSend};
use virtio::queue::DeviceFault;
use virtio::transport::{BusMasterError, TransportError};

use crate::Adapter;
use crate::device_type::{DeviceType, Request};
use crate::life_cycle::OnReset;
use crate::log_events::Event;
use crate::queue::{At, ControlQueue, EventQueue, NotFree, NotSent, Queue, TaskTag, Waiting};
use crate::request::{Command, Function};

/// Time between two looks at a reset or a function that may still end in time, in microseconds.
/// There is one timer, and what else needs it waits for a reset.
const LOOK_MICROSECONDS: u32 = 10_000;

/// The same for one that takes longer.
const LOOK_AGAIN_MICROSECONDS: u32 = 100_000;

/// In dump mode each poll is a look, and there are thousands in a second: so many count as one that the timer brings.
const POLLS_AT_A_TIME: u32 = 1000;

/// The code with which Windows stops instead of a reset, that of virtio-win's vioscsi ([`OnReset::StopSystem`]).
const STOPPED_ON_RESET: u32 = 0xdead_dead;

/// Looks at a reset at DIRQL, and the time between two, in microseconds.
const MOMENT_LOOKS: u32 = 18;
const MOMENT_MICROSECONDS: u32 = 50;

/// What there is to a recovery besides the device.
pub(crate) struct Recovery<D: DeviceType> {
    rung: RungCell,
    /// Requests for a reset that has not been answered yet, and what the device was asked for because of them.
    tasks: SpinMutex<TaskManagement<D>>,
    /// How often the adapter was polled without a device that works.
    polls: AtomicU32,
    /// The device is being started.
    starting: AtomicBool,
    /// A start went on writing to the device after somebody else had begun a reset, which left it otherwise.
    overtaken: AtomicBool,
    /// A start at DIRQL did not get every queue's lock: the service DPC opens the rest.
    not_opened: AtomicBool,
    /// At DIRQL nobody can be answered: the service DPC answers those who asked for a reset.
    unanswered: AtomicBool,
    /// At DIRQL no timer can be armed: the service DPC looks instead.
    unarmed: AtomicBool,
    /// Somebody asked for a reset or an abort, which the service DPC begins.
    asked: AtomicBool,
}

impl<D: DeviceType> Recovery<D> {
    pub(crate) const fn new() -> Self {
        Self {
            rung: RungCell::new(Rung::Stopped),
            tasks: SpinMutex::new(TaskManagement::new()),
            polls: AtomicU32::new(0),
            starting: AtomicBool::new(false),
            overtaken: AtomicBool::new(false),
            not_opened: AtomicBool::new(false),
            unanswered: AtomicBool::new(false),
            unarmed: AtomicBool::new(false),
            asked: AtomicBool::new(false),
        }
    }

    /// Where the adapter stands.
    pub(crate) fn rung(&self) -> Rung {
        self.rung.get()
    }

    /// How many resets were begun, for what is about to be found out of the device.
    pub(crate) fn resets(&self) -> Resets {
        self.rung.resets()
    }

    /// Whether a start may begin: one at a time, on a device as its reset has left it.
    fn begin_start(&self) -> bool {
        if self.starting.swap(true, Ordering::AcqRel) {
            return false;
        }
        let fresh = !self.overtaken.swap(false, Ordering::AcqRel);
        self.starting.store(fresh, Ordering::Release);
        fresh
    }

    /// Whether a start after that many resets may go on.
    pub(crate) fn is_starting(&self, resets: Resets) -> bool {
        self.rung.is_starting(resets)
    }
}

impl<P: Port, D: DeviceType> Adapter<P, D> {
    /// A request for a reset, which is answered when that is done. IRQL: DISPATCH_LEVEL. It is begun by the service DPC: here
    /// StorPort may hold the StartIo lock, for which other processors wait at DISPATCH_LEVEL, and the write that resets a device
    /// may take as long as its host takes to end what it has (QEMU, hw/block/virtio-blk.c, virtio_blk_reset).
    pub(crate) fn reset_asked_for(&self, request: Request<D>) {
        self.report(Event::ResetByPortDriver.into());
        match self.facts.on_reset {
            OnReset::Reset => {}
            OnReset::Nothing => {
                self.port.complete(request.end(Completion::success(0)));
                return;
            }
            OnReset::StopSystem => self.port.stop_system(STOPPED_ON_RESET, &request),
        }
        self.hold(request);
    }

    /// A request for another one to be aborted, which is answered when that has ended, or has not. IRQL: DISPATCH_LEVEL.
    pub(crate) fn abort_asked_for(&self, mut request: Request<D>) {
        let aborted = request.aborted();
        let is_meant = |other: &Request<D>| Some(other.id()) == aborted;
        let waiting = self.queues.gather(At::Dispatch, &self.port, |queue| queue.take_waiting(is_meant));
        if !waiting.is_empty() {
            // The device has never had it.
            self.end_all(waiting, SrbStatus::ABORTED);
            self.port.complete(request.end(Completion::success(0)));
            return;
        }
        let mut command = None;
        let _never_at_dispatch = self.queues.each(At::Dispatch, &self.port, |_, queue| {
            command = command.or_else(|| queue.find(is_meant));
        });
        if command.is_none() {
            self.port.complete(request.end(Completion::failed(SrbStatus::ABORT_FAILED)));
            return;
        }
        request.set_command(Command::Abort(command));
        self.hold(request);
    }

    /// Keeps a request for a reset or an abort, and has it begun.
    fn hold(&self, request: Request<D>) {
        self.recovery.tasks.lock().hold(request);
        self.recovery.asked.store(true, Ordering::Release);
        if self.facts.polled {
            self.begin_what_was_asked_for();
        } else {
            self.port.issue_dpc(DpcKind::Service);
        }
    }

    /// Begins what somebody has asked for.
    pub(crate) fn begin_what_was_asked_for(&self) {
        if self.recovery.asked.swap(false, Ordering::AcqRel) {
            // A reset may have answered all of them by now.
            let scope = self.recovery.tasks.lock().asked_for();
            if let Some(scope) = scope {
                self.recover(Input::Asked(scope), At::Dispatch);
            }
        }
    }

    /// The ring says nothing reliable any more.
    #[cold]
    pub(crate) fn device_broke_a_rule(&self, fault: DeviceFault) {
        self.report(Event::of_fault(fault));
        self.report(Event::ResetAfterFault.into());
        self.recover(Input::Broken, At::Dispatch);
    }

    /// `HwStorResetBus`. The device is told to reset itself with StorPort's StartIo lock held, as long as that may take: every request
    /// has to end in here (nc-storport-hw_reset_bus.md), and nothing less keeps all devices from their memory. StorPort has stopped
    /// all queues before, so nobody who has a request waits for that lock; nor does our timer.
    ///
    /// To fail would have the port driver try harder means, which are the same here, and each would cost the
    /// requests one of the few times that they come again.
    pub(crate) fn reset_bus(&self) -> bool {
        // In dump mode it is to be disregarded; but when the device owes an answer, or does not work, nothing else could help.
        if self.facts.polled && self.recovery.rung() == Rung::Running && self.queues.are_idle() {
            return true;
        }
        self.report(Event::ResetByPortDriver.into());
        if !self.facts.polled {
            // One that runs out now waits at DISPATCH_LEVEL for the lock (nc-storport-hw_timer.md). Who still needs it asks again.
            self.port.request_timer(0);
        }
        self.recover(Input::BusReset, At::Dispatch);
        match self.recovery.rung() {
            Rung::Running | Rung::Starting { .. } => true,
            Rung::Away { again, .. } => !again,
            Rung::Stopped | Rung::Restarting | Rung::Resetting { .. } | Rung::Stuck { .. } | Rung::Gone => {
                false
            }
        }
    }

    /// The adapter is polled, and its device does not work.
    #[cold]
    pub(crate) fn poll_recovery(&self) {
        let input = match self.look_once() {
            Seen::NotYet => {
                let polls = self.recovery.polls.fetch_add(1, Ordering::Relaxed);
                if !polls.is_multiple_of(POLLS_AT_A_TIME) {
                    return;
                }
                Input::Timer
            }
            // Of a reset that is over the device knows nothing.
            _ if matches!(self.recovery.rung(), Rung::Away { again: true, .. }) => Input::Timer,
            looked => Input::Looked(looked),
        };
        self.recover(input, At::Dispatch);
    }

    /// Takes in what happened and does what follows. Returns why the device could not be started, if that was tried and
    /// failed; it was reported unless this runs at DIRQL.
    pub(crate) fn recover(&self, input: Input, at: At) -> Option<LogEvent> {
        self.recover_from(input, None, at)
    }

    /// The same with what was found out of the device when so many resets had been begun.
    pub(crate) fn recover_from(&self, input: Input, found: Option<Resets>, at: At) -> Option<LogEvent> {
        let mut failure = None;
        let mut next = Some((input, found));
        let mut starts = false;
        while let Some((input, found)) = next.take() {
            let (actions, resets) = self.recovery.rung.step(input, found);
            if mem::take(&mut starts) {
                if found != Some(resets) && actions.is_empty() {
                    self.recovery.overtaken.store(true, Ordering::Release);
                }
                self.recovery.starting.store(false, Ordering::Release);
            }
            for action in actions {
                if action == Action::Start && !self.recovery.begin_start() {
                    // A start that a stop has overtaken may still be on its way: two of them would be one device's. Or it has
                    // ended since the reset, and the device needs another.
                    next = Some((Input::Busy, None));
                    break;
                }
                starts |= action == Action::Start;
                if let Some(input) = self.act(action, resets, at, &mut failure) {
                    let is_found = matches!(
                        action,
                        Action::AskForFunctions | Action::Look | Action::CutOff | Action::Start
                    );
                    next = Some((input, is_found.then_some(resets)));
                    break;
                }
            }
        }
        failure
    }

    fn act(&self, action: Action, resets: Resets, at: At, failure: &mut Option<LogEvent>) -> Option<Input> {
        match action {
            // Rings are emptied by the start that follows; the DPC answers, and looks again.
            Action::End(_) | Action::Answer(_) | Action::ArmTimer
                if at == At::Dirql && !self.facts.polled =>
            {
                let left = if let Action::Answer(_) = action {
                    &self.recovery.unanswered
                } else {
                    &self.recovery.unarmed
                };
                left.store(true, Ordering::Release);
                self.port.issue_dpc(DpcKind::Service);
            }
            Action::CloseQueues => self.close_queues(at),
            Action::AskForFunctions => return self.ask_for_functions(resets),
            Action::BeginReset => {
                // Of what an earlier start wrote nothing is left; of one that ends after this line there may be.
                self.recovery.overtaken.store(false, Ordering::Release);
                self.life_cycle.device().begin_reset();
                // Between the decision and the write another processor may have started the device: that was in vain.
                let rung = self.recovery.rung();
                if rung.is_running() || matches!(rung, Rung::Starting { .. }) {
                    return Some(Input::Broken);
                }
            }
            Action::Look => return Some(Input::Looked(self.look(at))),
            Action::CutOff => return Some(Input::CutOff(self.cut_off())),
            Action::End(status) => {
                // Whoever closes a queue for another reset has said so before.
                let ended = self.queues.gather(at, &self.port, |queue| {
                    if self.recovery.rung().may_end_requests() { queue.take_all() } else { Requests::new() }
                });
                self.end_all(ended, status);
            }
            Action::Start => {
                let after = self.recovery.rung();
                let started = self.start_device(resets, at);
                if let Err(event) = started {
                    *failure = Some(event);
                    // Why it does not come back is in the log since the first time.
                    if at == At::Dispatch && matches!(after, Rung::Starting { after: After::Reset, .. }) {
                        self.report(event);
                    }
                }
                return Some(Input::Started(started.is_ok()));
            }
            Action::OpenQueues => self.open_queues(at),
            Action::TellThatItIsBack => self.note(Event::DeviceIsBack.into()),
            Action::Answer(status) => self.answer(status),
            Action::ArmTimer => self.arm_timer(),
            Action::GiveUp => self.give_up(at),
        }
        None
    }

    /// Asks the device for the functions that those wait for who are held, as far as it is their turn.
    fn ask_for_functions(&self, resets: Resets) -> Option<Input> {
        // Not even in the image.
        if D::CONTROL_QUEUE.is_none() {
            return Some(Input::NotDone);
        }
        // A reset of the device since has answered, or will, all who are held because of what came before.
        if self.recovery.resets() != resets {
            return None;
        }
        let to_send = self.recovery.tasks.lock().next_to_send(resets);
        self.send_functions(to_send, resets)
    }

    /// Sends functions, and those that follow when one cannot be sent.
    fn send_functions(&self, mut to_send: ToSend, resets: Resets) -> Option<Input> {
        while let Some((function, tag)) = to_send.pop_at(0) {
            match self.send_function(function, tag) {
                Ok(()) => continue,
                Err(NotSent::Full) if self.recovery.tasks.lock().put_off(tag, resets) => continue,
                Err(_) => {}
            }
            // As long as it is, it is there for one more.
            match self.not_done(tag, resets, true) {
                Ok(next) => next.into_iter().for_each(|next| to_send.push(next)),
                Err(reset) => return Some(reset),
            }
        }
        if self.recovery.tasks.lock().is_waiting(resets) {
            self.arm_timer();
        }
        None
    }

    /// A function was not done: what is to be sent instead. `refused`: nothing of it.
    ///
    /// # Errors
    /// The whole device has to be reset.
    fn not_done(
        &self,
        tag: TaskTag,
        resets: Resets,
        refused: bool,
    ) -> Result<Option<(Function, TaskTag)>, Input> {
        let next = self.recovery.tasks.lock().not_done(tag, resets);
        match next {
            Next::Nothing => Ok(None),
            Next::Send(function, tag) => Ok(Some((function, tag))),
            Next::ResetDevice => Err(Input::NotDone),
            Next::Fail(function) => {
                if refused {
                    let _never_at_dispatch =
                        self.queues.each(At::Dispatch, &self.port, |_, queue| queue.leave(function));
                }
                self.answer_for(function, SrbStatus::ABORT_FAILED);
                Ok(None)
            }
        }
    }

    fn send_function(&self, function: Function, tag: TaskTag) -> Result<(), NotSent> {
        let control = self.control().ok_or(NotSent::Never)?;
        let header = self.device_type.task(function, tag).ok_or(NotSent::Never)?;
        // What waits here the device never gets; what it has got it has to give back.
        let ended = self.queues.gather(At::Dispatch, &self.port, |queue| {
            queue.recall(function);
            queue.take_waiting(|request| function.concerns(request))
        });
        self.end_all(ended, function.status());
        let mut control = control.lock();
        if let Some(notification) = control.send(tag, &header)? {
            self.life_cycle.notify(control, notification);
        }
        Ok(())
    }

    /// The device has answered a function, after so many resets.
    pub(crate) fn function_answered(&self, tag: TaskTag, done: bool, resets: Resets) {
        let failed = if done {
            self.settle(tag, resets);
            None
        } else {
            self.not_done(tag, resets, true)
                .map_or_else(Some, |next| self.send_functions(next.into_iter().collect(), resets))
        };
        // Others may have waited for it.
        if let Some(failed) = failed.or_else(|| self.ask_for_functions(resets)) {
            self.recover_from(failed, Some(resets), At::Dispatch);
        }
    }

    /// Some time has passed: goes on with the functions that are not done in time.
    pub(crate) fn look_at_functions(&self) {
        if D::CONTROL_QUEUE.is_none() {
            return;
        }
        let resets = self.recovery.resets();
        let looked = self.recovery.tasks.lock().look(resets);
        for tag in looked.answered {
            self.settle(tag, resets);
        }
        let mut failed = None;
        let mut to_send = ToSend::new();
        for tag in looked.over {
            match self.not_done(tag, resets, false) {
                // One that takes the place of two is sent once: the other one's is gone.
                Ok(next) => to_send.extend(next),
                Err(reset) => failed = Some(reset),
            }
        }
        let failed = failed.or_else(|| self.send_functions(to_send, resets));
        if let Some(failed) = failed.or_else(|| self.ask_for_functions(resets)) {
            self.recover_from(failed, Some(resets), At::Dispatch);
        }
    }

    /// The device runs, and nothing of it is being reset: the timer is free for something else.
    pub(crate) fn resets_nothing(&self) -> bool {
        let waits =
            D::CONTROL_QUEUE.is_some() && self.recovery.tasks.lock().is_waiting(self.recovery.resets());
        self.recovery.rung() == Rung::Running && !waits
    }

    /// The device says that it has done a function: takes what it has given up, and ends what it never had. Then whoever asked
    /// for it is answered, if that is all: nothing that was in a ring when it was asked is there any more. What came since is
    /// none of that: StorPort holds a unit's queue over its reset, but not those of a target's other units.
    fn settle(&self, tag: TaskTag, resets: Resets) {
        let function = self.recovery.tasks.lock().settle(tag, resets);
        let Some(function) = function else {
            return;
        };
        for queue in 0..self.queues.count() {
            // As many as there can be in a ring, and those that are in their place by then.
            let mut rounds = 0..4;
            while self.complete_used(queue, true) && rounds.next().is_some() {}
        }
        let mut all_back = true;
        let ended = self.queues.gather(At::Dispatch, &self.port, |queue| {
            all_back &= !queue.has_recalled(function);
            queue.take_waiting(|request| function.concerns(request))
        });
        self.end_all(ended, function.status());
        if self.recovery.tasks.lock().settled(tag, resets, all_back) && all_back {
            self.answer_for(function, SrbStatus::SUCCESS);
        }
    }

    /// Answers those who asked for what this function was to do.
    fn answer_for(&self, function: Function, status: SrbStatus) {
        let answered = self.recovery.tasks.lock().take(function);
        self.end_all(answered, status);
    }

    /// Answers those who asked for a reset. IRQL: up to DISPATCH_LEVEL.
    pub(crate) fn answer(&self, status: SrbStatus) {
        let answered = self.recovery.tasks.lock().take_all();
        self.end_all(answered, status);
    }

    /// Looks at a device that was told to reset itself. At DIRQL, where nothing comes later that could look again before the
    /// port driver goes on, it is given a moment: less than one stall may take (nf-storport-storportstallexecution.md).
    fn look(&self, at: At) -> Seen {
        let looks = if at == At::Dirql && !self.facts.polled { MOMENT_LOOKS } else { 0 };
        for _ in 0..looks {
            match self.look_once() {
                Seen::NotYet => self.port.stall(MOMENT_MICROSECONDS),
                seen => return seen,
            }
        }
        self.look_once()
    }

    fn look_once(&self) -> Seen {
        let status = self.life_cycle.device().status();
        if status.is_removed() {
            Seen::Gone
        } else if status.is_empty() {
            Seen::Ended
        } else {
            Seen::NotYet
        }
    }

    fn arm_timer(&self) {
        let microseconds = match self.recovery.rung() {
            Rung::Running | Rung::Resetting { .. } => LOOK_MICROSECONDS,
            _ => LOOK_AGAIN_MICROSECONDS,
        };
        if !self.facts.polled {
            self.port.request_timer(microseconds);
        }
    }

    /// Closes the queues of a device that does not run (any more). Each is decided under its own lock: another processor may
    /// have started the device by now, which opens a queue when it has said so.
    pub(crate) fn close_queues(&self, at: At) {
        let runs = || self.recovery.rung().is_running();
        let closed = self.queues.each(at, &self.port, |_, queue| {
            if !runs() {
                queue.close();
            }
        });
        let others = self.each_other(
            at,
            |control| {
                if !runs() {
                    control.close();
                }
            },
            |events| {
                if !runs() {
                    events.close();
                }
            },
        );
        if closed.and(others).is_err() {
            // The DPC closes it: until then it has nothing to take, and the port driver starts nothing.
            self.note(Event::LockNotFree.into());
        }
    }

    /// A stop may come at any time, and at DIRQL: it says so first and closes then. So each queue is opened only while the
    /// device runs, and this looks once more in the end.
    fn open_queues(&self, at: At) {
        let runs = || self.recovery.rung().is_running();
        let others = self.each_other(
            at,
            |control| {
                if runs() {
                    control.open();
                }
            },
            |events| {
                if runs() {
                    events.open();
                }
            },
        );
        let opened = self.queues.each(at, &self.port, |number, queue| {
            if runs() {
                queue.open();
                // Requests that came while the device did not run. In dump mode the next poll starts them.
                if queue.has_waiting() && !self.facts.polled {
                    self.port.issue_dpc(DpcKind::RequestQueue(number));
                }
            }
        });
        if opened.and(others).is_err() {
            self.recovery.not_opened.store(true, Ordering::Release);
            self.note(Event::LockNotFree.into());
        }
        self.close_queues(at);
        // What changed while nobody could be told; buffers for events.
        if !self.facts.polled {
            self.port.issue_dpc(DpcKind::Service);
        }
    }

    /// Does something with the control and the event queue, if there are.
    fn each_other(
        &self,
        at: At,
        with_control: impl FnOnce(&mut ControlQueue<D>),
        with_events: impl FnOnce(&mut EventQueue),
    ) -> Result<(), NotFree> {
        let control = self.control().map_or(Ok(()), |control| {
            control.lock_at(at, &self.port).map(|mut control| with_control(&mut control))
        });
        let events = self.events().map_or(Ok(()), |events| {
            events.lock_at(at, &self.port).map(|mut events| with_events(&mut events))
        });
        control.and(events)
    }

    /// The device is not there yet: looks at it instead of the timer that could not be armed at DIRQL.
    pub(crate) fn go_on_recovering(&self) {
        if self.recovery.unarmed.swap(false, Ordering::AcqRel) {
            self.recover(Input::Timer, At::Dispatch);
        }
    }

    /// The device runs: does what could not be done at DIRQL.
    pub(crate) fn finish_start(&self) {
        if self.recovery.not_opened.swap(false, Ordering::AcqRel) {
            self.open_queues(At::Dispatch);
        }
        // Who asks now is answered when its own reset is done.
        if self.resets_nothing() && self.recovery.unanswered.swap(false, Ordering::AcqRel) {
            self.answer(SrbStatus::SUCCESS);
        }
    }

    /// Cuts a device off from memory that does not end its reset. Also when that was done before: whoever gave it its power
    /// or its resources meanwhile may have set the bit again.
    fn cut_off(&self) -> Kept {
        let status = self.life_cycle.device().status();
        self.note(Event::of_transport(TransportError::ResetTimedOut { status: status.bits() }));
        match self.port.bus_master(false) {
            Ok(()) => {
                self.life_cycle.set_bus_master_off(true);
                self.note(Event::BusMasterCleared.into());
                Kept::Done
            }
            // Nothing in configuration space and registers that answer are not the same device.
            Err(BusMasterError::Removed) if self.life_cycle.device().status().is_removed() => Kept::Gone,
            Err(_) => {
                // It may have been written all the same.
                self.life_cycle.set_bus_master_off(true);
                self.note(Event::BusMasterNotCleared.into());
                Kept::Failed
            }
        }
    }

    #[inline(never)]
    fn end_all(&self, mut ended: Waiting<D>, status: SrbStatus) {
        while let Some(request) = ended.pop_front() {
            self.port.complete(request.end(Completion::failed(status)));
        }
    }

    /// The device is no longer there: nothing of it may be touched, and it touches no memory any more.
    fn give_up(&self, at: At) {
        if at == At::Dirql && !self.facts.polled {
            // The DPC finds it gone.
            self.port.issue_dpc(DpcKind::Service);
            return;
        }
        let ended = self.queues.gather(at, &self.port, Queue::give_up);
        self.end_all(ended, SrbStatus::NO_DEVICE);
        self.answer(SrbStatus::ERROR);
    }

    /// `ScsiAdapterSurpriseRemoval`. Below DISPATCH_LEVEL a queue's lock may not be waited for: a DPC on the same processor
    /// could wait for it as well, for ever.
    pub(crate) fn surprise_removal(&self) {
        let _done_by_the_dpc = self.recovery.rung.step(Input::Removed, None);
        self.port.issue_dpc(DpcKind::Service);
    }
}
