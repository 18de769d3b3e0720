//! Task management: what the device is asked to do about single commands, units and targets, decided and not done.
//!
//! ```text
//!   unit ── not done ──► target ── not done ──► the whole device (the ladder's Input::NotDone)
//!   command ── not done ──► failed: the port driver goes on itself
//! ```
//!
//! Not done is what the device refuses, what it does not answer in time, and what cannot be sent. Functions for different
//! units are asked for at once, up to [`AT_ONCE`]; one about a unit that another is about waits, or is part of it.
//!
//! Whoever asks is held until it is known what became of it. A reset of the device answers all of them, and what was sent
//! before means nothing after it: each function remembers how many resets there had been. IRQL: up to DISPATCH_LEVEL. Lock:
//! this has one of its own, held for a moment and never while anything is sent or answered.

use core::mem;

use arrayvec::ArrayVec;
use storport::Requests;

use super::ladder::Resets;
use crate::device_type::{Facts, Request};
use crate::queue::{TaskTag, Waiting};
use crate::request::{Command, Function, Scope};

/// Functions that are waited for at once. The control queue has twice as many places: a unit's function that was given up
/// may be answered yet when the target's is in there.
pub(crate) const AT_ONCE: usize = 8;

/// Looks at a function that is not done before it is given up: two seconds of 10 ms each. A unit may have to wait for its
/// storage.
const LOOKS_IN_TIME: u16 = 200;

/// Functions to be sent, each with its tag.
pub(super) type ToSend = ArrayVec<(Function, TaskTag), AT_ONCE>;

/// Who asked for something, and what the device was asked for because of that.
pub(super) struct TaskManagement<D: Facts> {
    /// Those who asked for a reset or an abort and whose turn has not come.
    held: Waiting<D>,
    /// Those whose function was sent, or one that it is part of, after they had come. Who comes later may be about requests that
    /// it does not end.
    begun: Waiting<D>,
    asked: ArrayVec<Asked, AT_ONCE>,
    last: TaskTag,
}

/// A function that the device was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Asked {
    function: Function,
    tag: TaskTag,
    /// Looked at so often, since it was sent or answered.
    looks: u16,
    /// The device says that it is done.
    answered: bool,
    /// Which is being looked into.
    settling: bool,
    /// So many resets of the device had been begun.
    resets: Resets,
}

/// What was seen of the functions that are waited for.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// Their time is over.
    pub(super) over: ArrayVec<TaskTag, AT_ONCE>,
    /// The device says that they are done, and had not given back everything when that was looked into.
    pub(super) answered: ArrayVec<TaskTag, AT_ONCE>,
}

/// What follows when a function was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing: it is not waited for any more.
    Nothing,
    /// Another one is tried.
    Send(Function, TaskTag),
    /// The whole device has to be reset.
    ResetDevice,
    /// Whoever asked for this one is told that it failed.
    Fail(Function),
}

impl<D: Facts> TaskManagement<D> {
    pub(super) const fn new() -> Self {
        Self { held: Requests::new(), begun: Requests::new(), asked: ArrayVec::new_const(), last: 0 }
    }

    /// Holds a request until it is known what became of what it asks for.
    pub(super) fn hold(&mut self, request: Request<D>) {
        self.held.push_back(request);
    }

    /// What those want who are held: the whole device's reset, if anybody does; else that of whoever has waited longest. An
    /// abort is about its unit.
    pub(super) fn asked_for(&mut self) -> Option<Scope> {
        let (mut all, mut asked_for) = (mem::take(&mut self.held), None);
        while let Some(request) = all.pop_front() {
            let scope = match request.command() {
                Some(Command::Reset(scope)) => scope,
                _ => Scope::Unit(request.address()),
            };
            if asked_for.is_none() || scope == Scope::Device {
                asked_for = Some(scope);
            }
            self.held.push_back(request);
        }
        asked_for
    }

    /// Takes all those who are held: a reset of the device has done what they asked for, or nobody will.
    pub(super) fn take_all(&mut self) -> Waiting<D> {
        let mut all = mem::take(&mut self.begun);
        all.append(mem::take(&mut self.held));
        all
    }

    /// Takes those who asked for what this function has done, or has failed to do.
    pub(super) fn take(&mut self, function: Function) -> Waiting<D> {
        take_part::<D>(&mut self.begun, function)
    }

    /// The function is about to be sent.
    fn begin(&mut self, function: Function) {
        self.begun.append(take_part::<D>(&mut self.held, function));
    }

    /// What is to be asked for now, of all that is wanted. It counts as asked for from here on.
    pub(super) fn next_to_send(&mut self, resets: Resets) -> ToSend {
        self.forget_before(resets);
        let mut to_send = ToSend::new();
        let mut held = mem::take(&mut self.held);
        while let Some(request) = held.pop_front() {
            if !to_send.is_full()
                && let Some(function) = wanted::<D>(&request)
                && self.is_next(function)
            {
                to_send.push((function, self.ask(function, resets)));
            }
            self.held.push_back(request);
        }
        to_send.iter().for_each(|(function, _)| self.begin(*function));
        to_send
    }

    /// Whether it is the turn of a function that is wanted, and it is not done with one that was asked for before.
    fn is_next(&self, wanted: Function) -> bool {
        let is_part = self.asked.iter().any(|asked| asked.function.includes(wanted));
        // One for a whole target marks requests of all its units anew, which the answer for one of them must not be taken to be
        // about. An abort gives way instead.
        let of_a_part = |function: Function| wanted.includes(function) && function.is_reset();
        let waits = self.asked.iter().any(|asked| of_a_part(asked.function));
        let left = self.asked.iter().filter(|asked| !wanted.includes(asked.function)).count();
        !is_part && !waits && left < AT_ONCE
    }

    /// Counts a function as asked for, instead of all that it includes.
    fn ask(&mut self, function: Function, resets: Resets) -> TaskTag {
        self.asked.retain(|asked| !function.includes(asked.function));
        self.last = self.last.wrapping_add(1);
        let asked = Asked { function, tag: self.last, looks: 0, answered: false, settling: false, resets };
        // There was a place, or that of the one whose turn is over.
        let _full = self.asked.try_push(asked);
        self.last
    }

    fn forget_before(&mut self, resets: Resets) {
        self.asked.retain(|asked| asked.resets == resets);
        self.begin_anew();
    }

    /// Those whose function is not waited for any more have their turn before the others.
    fn begin_anew(&mut self) {
        let (mut first, mut begun) = (Requests::new(), Requests::new());
        while let Some(request) = self.begun.pop_front() {
            let is_begun = wanted::<D>(&request)
                .is_some_and(|wanted| self.asked.iter().any(|asked| asked.function.includes(wanted)));
            if is_begun { &mut begun } else { &mut first }.push_back(request);
        }
        self.begun = begun;
        first.append(mem::take(&mut self.held));
        self.held = first;
    }

    fn find(&mut self, tag: TaskTag, resets: Resets) -> Option<&mut Asked> {
        self.asked.iter_mut().find(|asked| asked.tag == tag && asked.resets == resets && !asked.settling)
    }

    /// The device says that it has done a function: which one that is, if it is waited for. It stays in the way of others until
    /// [`settled`](Self::settled).
    pub(super) fn settle(&mut self, tag: TaskTag, resets: Resets) -> Option<Function> {
        let asked = self.find(tag, resets)?;
        if !asked.answered {
            (asked.answered, asked.looks) = (true, 0);
        }
        asked.settling = true;
        Some(asked.function)
    }

    /// The end of that: whether the device has given back all that it was asked to give up. If not, it is looked into again with
    /// each look: of what is in the queues nobody says in which order it is taken (virtio 1.3, 5.6.6.1), and a command that the
    /// device has taken after the function comes back by itself. `false`: it was overtaken, and what was found means nothing.
    pub(super) fn settled(&mut self, tag: TaskTag, resets: Resets, all_back: bool) -> bool {
        let mut found = self.asked.iter_mut();
        let Some(asked) = found.find(|asked| (asked.tag, asked.resets) == (tag, resets)) else {
            return false;
        };
        asked.settling = false;
        if all_back {
            self.forget(tag);
        }
        true
    }

    fn forget(&mut self, tag: TaskTag) {
        self.asked.retain(|asked| asked.tag != tag);
    }

    /// A function was not done, or could not be sent.
    pub(super) fn not_done(&mut self, tag: TaskTag, resets: Resets) -> Next {
        let Some(&mut Asked { function, answered, .. }) = self.find(tag, resets) else {
            return Next::Nothing;
        };
        match function {
            Function::AbortTask { .. } => {
                self.forget(tag);
                Next::Fail(function)
            }
            // What it says it has given up it would still write to.
            Function::ResetUnit(_) if answered => Next::ResetDevice,
            Function::ResetUnit(unit) => {
                let wider = Function::ResetTarget(unit);
                self.begin(wider);
                Next::Send(wider, self.ask(wider, resets))
            }
            Function::ResetTarget(_) => Next::ResetDevice,
        }
    }

    /// There was no place for a function: it is asked for when others are done. `false`: there are none.
    pub(super) fn put_off(&mut self, tag: TaskTag, resets: Resets) -> bool {
        let others = self.asked.iter().any(|asked| asked.tag != tag);
        if others && self.find(tag, resets).is_some() {
            self.forget(tag);
            self.begin_anew();
        }
        others
    }

    /// Counts a look at each function.
    pub(super) fn look(&mut self, resets: Resets) -> Looked {
        self.forget_before(resets);
        let mut looked = Looked::default();
        for asked in self.asked.iter_mut().filter(|asked| !asked.settling) {
            asked.looks = asked.looks.saturating_add(1);
            if asked.looks > LOOKS_IN_TIME {
                looked.over.push(asked.tag);
            } else if asked.answered {
                looked.answered.push(asked.tag);
            }
        }
        looked
    }

    /// Whether a function is waited for.
    pub(super) fn is_waiting(&self, resets: Resets) -> bool {
        self.asked.iter().any(|asked| asked.resets == resets)
    }
}

/// Takes those who asked for something that is part of this.
fn take_part<D: Facts>(from: &mut Waiting<D>, function: Function) -> Waiting<D> {
    let (mut part, mut others) = (Requests::new(), Requests::new());
    while let Some(request) = from.pop_front() {
        let is_part = wanted::<D>(&request).is_some_and(|wanted| function.includes(wanted));
        if is_part { &mut part } else { &mut others }.push_back(request);
    }
    *from = others;
    part
}

/// The function that a request asks for; none for the whole device.
fn wanted<D: Facts>(request: &Request<D>) -> Option<Function> {
    match request.command()? {
        Command::Reset(Scope::Unit(unit)) => Some(Function::ResetUnit(unit)),
        Command::Reset(Scope::Target(unit)) => Some(Function::ResetTarget(unit)),
        Command::Abort(command) => {
            let (unit, command, request) = (request.address(), command?, request.aborted()?);
            Some(Function::AbortTask { unit, command, request })
        }
        _ => None,
    }
}
