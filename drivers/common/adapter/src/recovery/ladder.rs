//! What is done about an adapter that does not work, decided and not done: from where it stands and what happened follow
//! where it stands then and which steps to take.
//!
//! ```text
//!              Broken, BusReset, Asked, NotDone
//!   Running ─────────────────────────────────────► Resetting
//!      ▲                                            │      │ not in time
//!      │                                     ended │      ▼
//!      └── Started ── Starting ◄────────────────────┘    Away, or Stuck where the device cannot be
//!                        ▲──── ended at last, started again ──┘   cut off from memory
//! ```
//!
//! This decides which requests may end that the device has had and not answered, and which end with them. There are no others
//! than these (a request that cannot be started at all ends where that is found, in `queue/request_queue.rs`):
//!
//! - [`Action::End`]: all of them, of a device that has ended its reset or is cut off from memory by its Bus Master bit
//!   ([`Rung::may_end_requests`]).
//! - [`Action::AskForFunctions`]: those of a unit or target that wait for a place in the ring, so that the device has never had
//!   them. What it has had it gives back itself, with a response that says what became of it. What is asked of single units
//!   and targets, and how that climbs to here, is `task_management`'s.
//! - [`Action::GiveUp`]: all of them, and those that come later, of a device that is gone.
//!
//! None of the steps waits for anything: what needs time is looked at again when the timer runs. So times are counted in looks,
//! one each 10 ms; one each 100 ms where it takes longer. No lock: where the adapter stands is one word ([`RungCell`]).

use core::sync::atomic::{AtomicU64, Ordering};

use arrayvec::ArrayVec;
use storport::SrbStatus;

use crate::request::Scope;

/// Where the adapter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rung {
    /// Not started yet, or stopped by the port driver, which alone starts it. Its device may be without power, or have lost
    /// its addresses.
    Stopped,
    /// Requests go to the device.
    Running,
    /// The device was told to reset itself, and has its requests until that has ended. Looked at so often.
    Resetting { looks: u16 },
    /// As before, for too long, and it may still write to memory: its requests stay.
    Stuck { looks: u16 },
    /// The device is in a reset that has not ended, and cannot reach memory: its requests have ended, and those that come wait.
    /// `again`: that reset is over, but the device could not be started, so the next look begins with another.
    Away { looks: u16, again: bool },
    /// The port driver starts the adapter: the device was told to reset itself.
    Restarting,
    /// The device has ended its reset and is being started. `spoilt`: it was reset or cut off from memory meanwhile, by somebody
    /// who was late, so what comes of this start is worth nothing.
    Starting { after: After, spoilt: bool },
    /// The device is gone, for ever.
    Gone,
}

/// What a start comes after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// A stop, or nothing: the port driver wants it, and is told if it fails.
    Stop,
    /// A reset that has ended in time.
    Reset,
    /// Some time without a device that works.
    Absence,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// The port driver wants this to be reset, and is answered when it was.
    Asked(Scope),
    /// The port driver wants every request to end, now (HwStorResetBus).
    BusReset,
    /// The device broke a rule, or asks to be reset (DEVICE_NEEDS_RESET).
    Broken,
    /// What the device was asked for with task management functions it has not done.
    NotDone,
    /// Some time has passed.
    Timer,
    /// The device was looked at after it was told to reset itself.
    Looked(Seen),
    /// The device was to be cut off from memory.
    CutOff(Kept),
    /// Whether the device was started.
    Started(bool),
    /// Another start, which was overtaken, is still on its way, or has written to the device since its reset.
    Busy,
    /// The port driver stops the adapter: no interrupt and no access to memory from now on.
    Stop,
    /// The port driver starts it.
    Start,
    /// It is gone.
    Removed,
}

/// What was seen of a reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It has ended.
    Ended,
    /// It has not.
    NotYet,
    /// The device is no longer there.
    Gone,
}

/// What became of a device that was to be cut off from memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// It does not reach memory any more.
    Done,
    /// It may still write to memory.
    Failed,
    /// It is no longer there.
    Gone,
}

/// One step. Those that lead to another input are the last of their row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Requests wait from now on.
    CloseQueues,
    /// Asks the device for the task management functions that those wait for who asked for a reset; may lead to
    /// [`Input::NotDone`].
    AskForFunctions,
    /// Tells the device to reset itself.
    BeginReset,
    /// Looks whether it has; leads to [`Input::Looked`].
    Look,
    /// Cuts the device off from memory; leads to [`Input::CutOff`].
    CutOff,
    /// Ends all requests like this.
    End(SrbStatus),
    /// Starts the device, which has ended its reset; leads to [`Input::Started`].
    Start,
    /// Lets requests go to the device.
    OpenQueues,
    /// Says that the device works again.
    TellThatItIsBack,
    /// Answers those who asked for a reset.
    Answer(SrbStatus),
    /// Has the timer run, and [`Input::Timer`] come.
    ArmTimer,
    /// The device is gone: ends everything, for ever.
    GiveUp,
}

/// What is to be done, in this order.
pub(crate) type Actions = ArrayVec<Action, 4>;

/// Looks at a reset that has not ended before the device is cut off from memory: half a second.
const LOOKS_IN_TIME: u16 = 50;

/// Looks after which a reset that has not ended is begun anew, ten seconds of them: the device may have missed it.
const LOOKS_AT_ONE_RESET: u16 = 100;

impl Rung {
    /// Requests that are not in an open queue may end: the device has ended its reset since they were given to it, cannot
    /// reach memory, or is gone.
    pub(crate) const fn may_end_requests(self) -> bool {
        matches!(self, Self::Starting { .. } | Self::Away { .. } | Self::Gone)
    }

    /// It is looked whether a reset has ended.
    const fn waits_for_reset(self) -> bool {
        matches!(self, Self::Resetting { .. } | Self::Stuck { .. } | Self::Away { .. } | Self::Restarting)
    }

    /// An input about an earlier reset says nothing here: another one is waited for, or has ended since. But a device that was
    /// cut off from memory too late has lost it, and one that was started too late is not as it was left.
    const fn is_past(self, input: Input) -> bool {
        match input {
            Input::NotDone | Input::Looked(_) | Input::CutOff(Kept::Gone) | Input::Removed => true,
            Input::Started(_) => !matches!(self, Self::Stopped | Self::Gone),
            _ => self.waits_for_reset(),
        }
    }

    /// The device runs, as far as is known: requests may go to it.
    pub(crate) const fn is_running(self) -> bool {
        matches!(self, Self::Running)
    }

    /// What follows from what happened.
    pub(crate) fn step(self, input: Input) -> (Self, Actions) {
        use Action::*;
        const END: Action = End(SrbStatus::BUS_RESET);
        const ANSWER: Action = Answer(SrbStatus::SUCCESS);
        /// Nothing is waited for: the port driver wants its requests back now, or their time is over already.
        const AT_ONCE: Rung = Rung::Resetting { looks: LOOKS_IN_TIME };
        /// Not inlined: thirty copies of it would be most of a boot driver's recovery.
        #[inline(never)]
        fn to(rung: Rung, actions: &[Action]) -> (Rung, Actions) {
            (rung, actions.iter().copied().collect())
        }
        let stay = |actions: &[Action]| to(self, actions);
        let removed = || to(Self::Gone, &[GiveUp]);
        let start = |after, actions: &[Action]| to(Self::Starting { after, spoilt: false }, actions);
        match (self, input) {
            // Whoever finds out once more has the rest ended, of what came meanwhile.
            (_, Input::Removed) => removed(),
            (Self::Gone, Input::Asked(_)) => stay(&[Answer(SrbStatus::ERROR)]),
            // What a start on its way had in its hands.
            (Self::Gone, Input::Started(_)) => stay(&[GiveUp]),
            (Self::Gone, _) => stay(&[]),

            // Of a stopped device nothing is known. The memory of its rings may be gone after this, so it is cut off from memory
            // when it does not end its reset at once. Requests are not ended: StorPort stops an adapter that has none.
            (_, Input::Stop) => to(Self::Stopped, &[CloseQueues, BeginReset, Look]),
            (Self::Stopped, Input::Looked(Seen::NotYet)) => stay(&[CutOff]),
            (Self::Stopped, Input::Asked(_) | Input::BusReset) => stay(&[Answer(SrbStatus::ERROR)]),
            // A start was on its way when the stop came, and may have given the device memory after all.
            (Self::Stopped, Input::Started(_)) => stay(&[BeginReset, Look]),
            (_, Input::Start) => to(Self::Restarting, &[CloseQueues, BeginReset, Look]),
            (Self::Stopped, _) => stay(&[]),

            // The port driver is told, and starts it again or not at all.
            (Self::Restarting, Input::Looked(Seen::Gone) | Input::CutOff(Kept::Gone)) => {
                to(Self::Stopped, &[])
            }
            (Self::Restarting, Input::Looked(Seen::Ended)) => start(After::Stop, &[Start]),
            // It may still have requests that were ended without it, and whoever gave it its power or its resources again may
            // have given it memory as well.
            (Self::Restarting, Input::Looked(Seen::NotYet)) => stay(&[CutOff]),
            (Self::Restarting, Input::CutOff(Kept::Done)) => {
                to(Self::Away { looks: 0, again: false }, &[ArmTimer])
            }
            (Self::Restarting, Input::CutOff(Kept::Failed)) => to(Self::Stuck { looks: 0 }, &[ArmTimer]),
            (Self::Restarting, _) => stay(&[]),

            // Who cut it off was late.
            (
                Self::Running,
                Input::Asked(Scope::Device) | Input::NotDone | Input::Broken | Input::CutOff(_),
            ) => to(Self::Resetting { looks: 0 }, &[CloseQueues, BeginReset, Look]),
            (Self::Running, Input::BusReset) => to(AT_ONCE, &[CloseQueues, BeginReset, Look]),
            (Self::Running, Input::Asked(_)) => stay(&[AskForFunctions]),
            (Self::Running, _) => stay(&[]),

            (Self::Resetting { .. }, Input::Looked(Seen::Ended)) => start(After::Reset, &[END, Start]),
            (Self::Stuck { .. }, Input::Looked(Seen::Ended)) => start(After::Absence, &[END, Start]),
            (Self::Resetting { looks }, Input::Looked(Seen::NotYet)) if looks < LOOKS_IN_TIME => {
                to(Self::Resetting { looks: looks + 1 }, &[ArmTimer])
            }
            (Self::Resetting { .. }, Input::Looked(Seen::NotYet)) => stay(&[CutOff]),
            (Self::Resetting { .. } | Self::Stuck { .. }, Input::CutOff(Kept::Done)) => {
                to(Self::Away { looks: 0, again: false }, &[END, ANSWER, ArmTimer])
            }
            (Self::Resetting { .. }, Input::CutOff(Kept::Failed)) => {
                to(Self::Stuck { looks: 0 }, &[Answer(SrbStatus::ERROR), ArmTimer])
            }
            (Self::Resetting { .. } | Self::Stuck { .. }, Input::Timer) => stay(&[Look]),
            (Self::Resetting { .. }, Input::BusReset)
            | (Self::Stuck { .. } | Self::Away { again: false, .. }, Input::BusReset | Input::Asked(_)) => {
                to(AT_ONCE, &[CloseQueues, Look])
            }
            (Self::Away { again: true, .. }, Input::BusReset | Input::Asked(_)) => {
                to(AT_ONCE, &[CloseQueues, BeginReset, Look])
            }
            (Self::Stuck { looks }, Input::Looked(Seen::NotYet)) => {
                let (looks, again) = next(looks);
                let rung = Self::Stuck { looks };
                if again { to(rung, &[BeginReset, ArmTimer]) } else { to(rung, &[ArmTimer]) }
            }
            (_, Input::Looked(Seen::Gone) | Input::CutOff(Kept::Gone)) => removed(),
            (Self::Resetting { .. } | Self::Stuck { .. }, _) => stay(&[]),

            (Self::Away { looks, again: true }, Input::Timer) => {
                to(Self::Away { looks, again: false }, &[BeginReset, Look])
            }
            (Self::Away { again: false, .. }, Input::Timer) => stay(&[Look]),
            (Self::Away { .. }, Input::Looked(Seen::Ended)) => start(After::Absence, &[Start]),
            (Self::Away { looks, .. }, Input::Looked(Seen::NotYet)) => {
                let (looks, again) = next(looks);
                let rung = Self::Away { looks, again: false };
                if again { to(rung, &[BeginReset, ArmTimer]) } else { to(rung, &[ArmTimer]) }
            }
            (Self::Away { .. }, _) => stay(&[]),

            (Self::Starting { .. }, Input::Busy) => to(Self::Away { looks: 0, again: true }, &[ArmTimer]),
            (Self::Starting { spoilt: true, .. }, Input::Started(_)) => {
                to(Self::Resetting { looks: 0 }, &[BeginReset, Look])
            }
            (Self::Starting { after: After::Absence, .. }, Input::Started(true)) => {
                to(Self::Running, &[OpenQueues, TellThatItIsBack, ANSWER])
            }
            (Self::Starting { .. }, Input::Started(true)) => to(Self::Running, &[OpenQueues, ANSWER]),
            (Self::Starting { after: After::Stop, .. }, Input::Started(false)) => to(Self::Stopped, &[]),
            (Self::Starting { .. }, Input::Started(false)) => {
                to(Self::Away { looks: 0, again: true }, &[Answer(SrbStatus::ERROR), ArmTimer])
            }
            (Self::Starting { .. }, Input::BusReset) => stay(&[END]),
            (Self::Starting { after, .. }, Input::Broken | Input::CutOff(_)) => {
                to(Self::Starting { after, spoilt: true }, &[])
            }
            (Self::Starting { .. }, _) => stay(&[]),
        }
    }
}

/// Counts a look at a reset that has not ended; whether it is to be begun anew.
const fn next(looks: u16) -> (u16, bool) {
    let looks = looks.wrapping_add(1);
    (looks, looks.is_multiple_of(LOOKS_AT_ONE_RESET))
}

/// Where the adapter stands, in one word: it is changed at DIRQL as well, where no lock may be waited for.
#[derive(Debug)]
pub(crate) struct RungCell(AtomicU64);

impl RungCell {
    pub(crate) const fn new(rung: Rung) -> Self {
        Self(AtomicU64::new(rung.encode()))
    }

    pub(crate) fn get(&self) -> Rung {
        Rung::decode(self.0.load(Ordering::Acquire))
    }

    /// How many resets were begun, for what is about to be found out.
    pub(crate) fn resets(&self) -> Resets {
        Resets((self.0.load(Ordering::Acquire) >> Rung::RESETS) as u8)
    }

    /// Whether the device is still being started after that many resets.
    pub(crate) fn is_starting(&self, resets: Resets) -> bool {
        let word = self.0.load(Ordering::Acquire);
        let same = (word >> Rung::RESETS) as u8 == resets.0;
        same && matches!(Rung::decode(word), Rung::Starting { .. })
    }

    /// Goes on, and returns what is to be done. `found`: how many resets had been begun when the device was looked at, or kept
    /// from memory, if that is what happened. Another reset, begun since, is somebody else's to look at, and of it that says
    /// nothing.
    pub(crate) fn step(&self, input: Input, found: Option<Resets>) -> (Actions, Resets) {
        let mut old = self.0.load(Ordering::Acquire);
        loop {
            let rung = Rung::decode(old);
            let mut resets = Resets((old >> Rung::RESETS) as u8);
            if found.is_some_and(|found| found != resets) && rung.is_past(input) {
                return (Actions::new(), resets);
            }
            let (rung, actions) = rung.step(input);
            if actions.contains(&Action::BeginReset) {
                resets.0 = resets.0.wrapping_add(1);
            }
            let new = rung.encode() | u64::from(resets.0) << Rung::RESETS;
            match self.0.compare_exchange_weak(old, new, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return (actions, resets),
                Err(other) => old = other,
            }
        }
    }
}

/// How many resets were begun, as far as it takes to tell one from the next few.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Resets(u8);

/// A rung as a word: which one in the lowest byte, looks above it, a flag above those; the highest byte counts
/// resets ([`Resets`]).
impl Rung {
    const LOOKS: u32 = 8;
    const MORE: u32 = 24;
    const RESETS: u32 = 56;

    const fn encode(self) -> u64 {
        let (kind, looks, more): (u64, u16, u64) = match self {
            Self::Stopped => (0, 0, 0),
            Self::Running => (1, 0, 0),
            Self::Resetting { looks } => (2, looks, 0),
            Self::Stuck { looks } => (3, looks, 0),
            Self::Away { looks, again } => (4, looks, again as u64),
            Self::Restarting => (5, 0, 0),
            Self::Starting { after: After::Stop, spoilt } => (6, 0, spoilt as u64),
            Self::Starting { after: After::Reset, spoilt } => (7, 0, spoilt as u64),
            Self::Starting { after: After::Absence, spoilt } => (8, 0, spoilt as u64),
            Self::Gone => (9, 0, 0),
        };
        kind | (looks as u64) << Self::LOOKS | more << Self::MORE
    }

    const fn decode(word: u64) -> Self {
        let looks = (word >> Self::LOOKS) as u16;
        let more = (word & ((1 << Self::RESETS) - 1)) >> Self::MORE;
        match word as u8 {
            0 => Self::Stopped,
            1 => Self::Running,
            2 => Self::Resetting { looks },
            3 => Self::Stuck { looks },
            4 => Self::Away { looks, again: more != 0 },
            5 => Self::Restarting,
            6 => Self::Starting { after: After::Stop, spoilt: more != 0 },
            7 => Self::Starting { after: After::Reset, spoilt: more != 0 },
            8 => Self::Starting { after: After::Absence, spoilt: more != 0 },
            _ => Self::Gone,
        }
    }
}

#[cfg(test)]
mod tests {
    use storport::Address;

    use super::Action::*;
    use super::*;

    const UNIT: Scope = Scope::Unit(Address { path: 0, target: 3, lun: 5 });
    const TARGET: Scope = Scope::Target(Address { path: 0, target: 3, lun: 5 });
    const END: Action = End(SrbStatus::BUS_RESET);
    const DONE: Action = Answer(SrbStatus::SUCCESS);
    const FAILED: Action = Answer(SrbStatus::ERROR);
    const RESET: [Action; 3] = [CloseQueues, BeginReset, Look];
    const FRESH: Rung = Rung::Resetting { looks: 0 };
    const IN_TIME: Rung = Rung::Resetting { looks: LOOKS_IN_TIME };
    const STUCK: Rung = Rung::Stuck { looks: 0 };
    const AWAY: Rung = Rung::Away { looks: 0, again: false };
    const AGAIN: Rung = Rung::Away { looks: 0, again: true };

    const fn starting(after: After) -> Rung {
        Rung::Starting { after, spoilt: false }
    }

    /// Every rung, and some more than once.
    const RUNGS: [Rung; 15] = [
        Rung::Stopped,
        Rung::Running,
        FRESH,
        IN_TIME,
        STUCK,
        Rung::Stuck { looks: u16::MAX },
        AWAY,
        AGAIN,
        Rung::Away { looks: 0xfffe, again: true },
        Rung::Restarting,
        starting(After::Stop),
        starting(After::Reset),
        starting(After::Absence),
        Rung::Starting { after: After::Reset, spoilt: true },
        Rung::Gone,
    ];

    const INPUTS: [Input; 19] = [
        Input::Asked(UNIT),
        Input::Asked(TARGET),
        Input::Asked(Scope::Device),
        Input::BusReset,
        Input::Broken,
        Input::NotDone,
        Input::Timer,
        Input::Looked(Seen::Ended),
        Input::Looked(Seen::NotYet),
        Input::Looked(Seen::Gone),
        Input::CutOff(Kept::Done),
        Input::CutOff(Kept::Failed),
        Input::CutOff(Kept::Gone),
        Input::Started(true),
        Input::Started(false),
        Input::Stop,
        Input::Start,
        Input::Removed,
        Input::Busy,
    ];

    #[test]
    fn each_rung_leads_where_the_table_says() {
        let table: &[(Rung, Input, Rung, &[Action])] = &[
            // A unit or a target is reset by a function of the device, which goes on; when that is not done, all of it is reset.
            (Rung::Running, Input::Asked(UNIT), Rung::Running, &[AskForFunctions]),
            (Rung::Running, Input::Asked(TARGET), Rung::Running, &[AskForFunctions]),
            (Rung::Running, Input::NotDone, FRESH, &RESET),
            (FRESH, Input::NotDone, FRESH, &[]),
            (starting(After::Stop), Input::Busy, AGAIN, &[ArmTimer]),
            // The whole device.
            (Rung::Running, Input::Asked(Scope::Device), FRESH, &RESET),
            (Rung::Running, Input::Broken, FRESH, &RESET),
            (Rung::Running, Input::BusReset, IN_TIME, &RESET),
            (FRESH, Input::Looked(Seen::Ended), starting(After::Reset), &[END, Start]),
            (FRESH, Input::Looked(Seen::NotYet), Rung::Resetting { looks: 1 }, &[ArmTimer]),
            (FRESH, Input::Timer, FRESH, &[Look]),
            (FRESH, Input::Asked(UNIT), FRESH, &[]),
            (FRESH, Input::BusReset, IN_TIME, &[CloseQueues, Look]),
            (IN_TIME, Input::Looked(Seen::NotYet), IN_TIME, &[CutOff]),
            (IN_TIME, Input::CutOff(Kept::Done), AWAY, &[END, DONE, ArmTimer]),
            (IN_TIME, Input::CutOff(Kept::Failed), STUCK, &[FAILED, ArmTimer]),
            (starting(After::Reset), Input::Started(true), Rung::Running, &[OpenQueues, DONE]),
            (starting(After::Reset), Input::Started(false), AGAIN, &[FAILED, ArmTimer]),
            (starting(After::Reset), Input::BusReset, starting(After::Reset), &[END]),
            // It takes long, and comes back.
            (AWAY, Input::Timer, AWAY, &[Look]),
            (AWAY, Input::Looked(Seen::NotYet), Rung::Away { looks: 1, again: false }, &[ArmTimer]),
            (
                Rung::Away { looks: 99, again: false },
                Input::Looked(Seen::NotYet),
                Rung::Away { looks: 100, again: false },
                &[BeginReset, ArmTimer],
            ),
            (AWAY, Input::Looked(Seen::Ended), starting(After::Absence), &[Start]),
            (
                starting(After::Absence),
                Input::Started(true),
                Rung::Running,
                &[OpenQueues, TellThatItIsBack, DONE],
            ),
            (AWAY, Input::BusReset, IN_TIME, &[CloseQueues, Look]),
            (AGAIN, Input::BusReset, IN_TIME, &RESET),
            (AGAIN, Input::Timer, AWAY, &[BeginReset, Look]),
            // It cannot be cut off from memory.
            (STUCK, Input::Timer, STUCK, &[Look]),
            (STUCK, Input::Looked(Seen::NotYet), Rung::Stuck { looks: 1 }, &[ArmTimer]),
            (STUCK, Input::BusReset, IN_TIME, &[CloseQueues, Look]),
            (STUCK, Input::Looked(Seen::Ended), starting(After::Absence), &[END, Start]),
            // The port driver stops and starts.
            (Rung::Running, Input::Stop, Rung::Stopped, &RESET),
            (Rung::Stopped, Input::Looked(Seen::NotYet), Rung::Stopped, &[CutOff]),
            (Rung::Stopped, Input::Looked(Seen::Gone), Rung::Stopped, &[]),
            (Rung::Stopped, Input::Asked(UNIT), Rung::Stopped, &[FAILED]),
            (Rung::Stopped, Input::BusReset, Rung::Stopped, &[FAILED]),
            (Rung::Stopped, Input::Start, Rung::Restarting, &RESET),
            (Rung::Restarting, Input::Looked(Seen::Ended), starting(After::Stop), &[Start]),
            (Rung::Restarting, Input::Looked(Seen::NotYet), Rung::Restarting, &[CutOff]),
            (Rung::Restarting, Input::CutOff(Kept::Done), AWAY, &[ArmTimer]),
            (Rung::Restarting, Input::CutOff(Kept::Failed), STUCK, &[ArmTimer]),
            (Rung::Restarting, Input::Looked(Seen::Gone), Rung::Stopped, &[]),
            (starting(After::Stop), Input::Started(false), Rung::Stopped, &[]),
            // Somebody was late.
            (Rung::Running, Input::CutOff(Kept::Done), FRESH, &RESET),
            (Rung::Stopped, Input::Started(true), Rung::Stopped, &[BeginReset, Look]),
            (
                starting(After::Reset),
                Input::Broken,
                Rung::Starting { after: After::Reset, spoilt: true },
                &[],
            ),
            (
                Rung::Starting { after: After::Reset, spoilt: true },
                Input::Started(true),
                FRESH,
                &[BeginReset, Look],
            ),
            // It is gone.
            (FRESH, Input::Looked(Seen::Gone), Rung::Gone, &[GiveUp]),
            (IN_TIME, Input::CutOff(Kept::Gone), Rung::Gone, &[GiveUp]),
            (Rung::Gone, Input::Asked(UNIT), Rung::Gone, &[FAILED]),
        ];
        for (rung, input, then, actions) in table {
            let (rung_then, actions_then) = rung.step(*input);

            assert_eq!((rung_then, &actions_then[..]), (*then, *actions), "{rung:?}, {input:?}");
        }
    }

    /// Every rung with every input.
    fn each_step(mut check: impl FnMut(Rung, Input, Rung, &[Action])) {
        for rung in RUNGS {
            for input in INPUTS {
                let (then, actions) = rung.step(input);
                check(rung, input, then, &actions);
            }
        }
    }

    #[test]
    fn requests_end_only_where_the_device_cannot_have_them() {
        each_step(|rung, input, then, actions| {
            if actions.contains(&END) {
                assert!(then.may_end_requests(), "{rung:?}, {input:?}");
            }
        });
    }

    #[test]
    fn what_leads_on_comes_last() {
        each_step(|rung, input, _, actions| {
            let leads_on = |action: &Action| matches!(action, Look | CutOff | Start | AskForFunctions);
            let first = actions.iter().position(leads_on).unwrap_or(actions.len());
            assert!(first + 1 >= actions.len(), "{rung:?}, {input:?}: {actions:?}");
        });
    }

    #[test]
    fn who_waits_for_a_reset_is_answered_when_it_is_over() {
        // Where nobody works on it any more, nobody may be left waiting.
        each_step(|rung, input, then, actions| {
            let works_on_it = |rung| !matches!(rung, Rung::Running | Rung::Stopped | Rung::Gone);
            if works_on_it(rung) && then == Rung::Running {
                let answers = |action: &Action| matches!(action, Answer(_));
                assert!(actions.iter().any(answers), "{rung:?}, {input:?}");
            }
            if then == Rung::Gone && rung != Rung::Gone {
                assert!(actions.contains(&GiveUp), "{rung:?}, {input:?}");
            }
        });
    }

    #[test]
    fn a_device_that_is_gone_stays_gone() {
        for input in INPUTS {
            assert_eq!(Rung::Gone.step(input).0, Rung::Gone, "{input:?}");
        }
    }

    #[test]
    fn a_stopped_adapter_is_started_by_the_port_driver_only() {
        for input in INPUTS {
            let then = Rung::Stopped.step(input).0;

            let allowed = match input {
                Input::Start => Rung::Restarting,
                Input::Removed => Rung::Gone,
                _ => Rung::Stopped,
            };
            assert_eq!(then, allowed, "{input:?}");
        }
    }

    #[test]
    fn whatever_waits_for_the_device_has_a_timer_behind_it() {
        each_step(|rung, input, then, actions| {
            let waits = matches!(then, Rung::Resetting { .. } | Rung::Stuck { .. } | Rung::Away { .. });
            if input == Input::Looked(Seen::NotYet)
                && waits
                && matches!(rung, Rung::Resetting { .. } | Rung::Stuck { .. } | Rung::Away { .. })
            {
                assert!(actions.contains(&ArmTimer) || actions.contains(&CutOff), "{rung:?}, {input:?}");
            }
        });
    }

    #[test]
    fn a_rung_survives_being_stored_in_a_word_with_the_count_of_resets() {
        for rung in RUNGS {
            assert_eq!(RungCell::new(rung).get(), rung);
            assert_eq!(Rung::decode(rung.encode() | 0xff << Rung::RESETS), rung);
        }
    }

    #[test]
    fn what_was_found_of_one_reset_says_nothing_of_the_next_one() {
        let cell = RungCell::new(Rung::Running);
        let (_, first) = cell.step(Input::Broken, None);
        cell.step(Input::Looked(Seen::Ended), Some(first));
        cell.step(Input::Started(true), None);
        let (_, second) = cell.step(Input::Broken, None);
        assert_ne!(first, second);

        for late in [Input::Looked(Seen::Ended), Input::Looked(Seen::NotYet), Input::CutOff(Kept::Done)] {
            assert!(cell.step(late, Some(first)).0.is_empty(), "{late:?}");
            assert_eq!(cell.get(), FRESH);
        }
        assert_eq!(cell.step(Input::Looked(Seen::Ended), Some(second)).0[..], [END, Start]);
    }

    #[test]
    fn a_device_that_was_seen_gone_before_its_restart_is_not_gone() {
        let cell = RungCell::new(Rung::Running);
        let (_, before) = cell.step(Input::Broken, None);
        cell.step(Input::Stop, None);
        let (_, after) = cell.step(Input::Start, None);
        cell.step(Input::Looked(Seen::Ended), Some(after));

        for late in [
            Input::Looked(Seen::Gone),
            Input::CutOff(Kept::Gone),
            Input::Removed,
            Input::Started(true),
            Input::Started(false),
        ] {
            assert!(cell.step(late, Some(before)).0.is_empty(), "{late:?}");
            assert_eq!(cell.get(), starting(After::Stop));
        }
        // Who cut it off was late, but it has none now.
        cell.step(Input::CutOff(Kept::Done), Some(before));
        assert_eq!(cell.get(), Rung::Starting { after: After::Stop, spoilt: true });
    }
}
