//! Requests past their time: Storport resets the logical unit, then the device, then the bus
//! (multi-tier-reset-in-storport.md). From a miniport with STOR_ADAPTER_FEATURE_ABORT_COMMAND, and from no other, it first asks
//! for the late request to be aborted; that it does so before the reset of the unit is our reading. The miniport has to end the requests of what was reset; how long Storport gives a
//! reset is not documented, here it has as long as a class driver's request.
//!
//! A request whose device is known to be at fault may be late; of any other it is the miniport's fault, and the rule
//! `srb-never-completed` is broken. Either way it must have ended when the ladder is climbed.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use stand::wdk::codes::*;
use stand::wdk::srb::Extra;

use super::request::{Data, Request};
use super::{Address, Port, control, name, port, queue};
use crate::cpu::clock;

/// Seconds that a reset may take.
const RESET_TIMEOUT: u32 = 8;
/// Milliseconds that requests may stay with the miniport after the bus was reset.
const AFTER_BUS_RESET: u64 = 5000;

/// A rung.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rung {
    Abort,
    LogicalUnit,
    Device,
    Bus,
}

/// A reset or an abort under way.
struct Climb {
    address: Address,
    rung: Rung,
    /// The late request.
    late: u32,
    /// Tag of the request for the reset or the abort.
    tag: u32,
    /// Requests that were with the miniport when the reset began have smaller tags.
    before: u32,
    /// Tick by which the rung must have led to something.
    deadline: u64,
}

/// What Storport remembers of resets.
#[derive(Default)]
pub struct Ladder {
    climb: Option<Climb>,
    done: VecDeque<Box<Request>>,
    /// The device may be at fault: late requests are no fault of the miniport.
    pub lenient: bool,
    /// The device may miss a notification: late requests are its fault, and this ladder has to be enough.
    pub misses: bool,
    /// Late requests that were to be aborted, and logical units, devices and buses that were reset.
    pub rungs: [u32; 4],
    /// Commands that ended because of an abort or a reset, by tag, with their status.
    pub given_up: BTreeMap<u32, u8>,
}

impl Ladder {
    /// Logical units, devices and buses that were reset.
    pub fn resets(&self) -> u32 {
        self.rungs[Rung::LogicalUnit as usize..].iter().sum()
    }

    /// A reset request has ended.
    pub fn finished(&mut self, request: Box<Request>) {
        self.done.push_back(request);
    }

    /// Whether requests to this unit have to wait.
    pub fn holds(&self, address: Address) -> bool {
        self.climb.as_ref().is_some_and(|climb| climb.rung != Rung::Abort && is_part(address, climb))
    }
}

/// Whether a unit belongs to what is being reset.
fn is_part(address: Address, climb: &Climb) -> bool {
    match climb.rung {
        Rung::Abort | Rung::LogicalUnit => address == climb.address,
        Rung::Device => (address.0, address.1) == (climb.address.0, climb.address.1),
        Rung::Bus => address.0 == climb.address.0,
    }
}

/// Looks for late requests and goes on with a reset under way. Called on the first processor's thread.
pub fn climb() {
    note_late();
    let Some((rung, tag, deadline)) = port().ladder.climb.as_ref().map(|c| (c.rung, c.tag, c.deadline))
    else {
        return;
    };
    let (ended, left) = {
        let mut port = port();
        let ended = port.ladder.done.iter().position(|request| request.tag == tag);
        let ended = ended.and_then(|index| port.ladder.done.remove(index));
        (ended, left(&port))
    };
    let good = ended.as_ref().is_some_and(|request| request.answer.srb_status & 0x3F == SRB_STATUS_SUCCESS);
    let late = clock::ticks() >= deadline;
    if let Some(request) = &ended {
        crate::note!("{}: {}, {left} request(s) left", request.text(), request.answer.text());
    }
    match rung {
        Rung::Bus if left == 0 => port().ladder.climb = None,
        Rung::Bus if late => {
            crate::broken!(
                "srb-never-completed",
                "{left} request(s) are still with the miniport {} s after HwStorResetBus",
                AFTER_BUS_RESET / 1000
            );
        }
        Rung::Bus => {}
        // One that cannot be found any more has ended by itself.
        Rung::Abort if ended.is_some() && left == 0 => port().ladder.climb = None,
        Rung::Abort if ended.is_some() || late => step(Rung::LogicalUnit),
        _ if good && left == 0 => port().ladder.climb = None,
        Rung::LogicalUnit if ended.is_some() || late => step(Rung::Device),
        Rung::Device if ended.is_some() || late => step(Rung::Bus),
        _ => {}
    }
}

/// Whether the miniport asked for aborts of single commands (ns-storport-_port_configuration_information.md, FeatureSupport).
pub fn may_abort(port: &Port) -> bool {
    port.config.feature_support & STOR_ADAPTER_FEATURE_ABORT_COMMAND != 0
}

/// A request to abort one that the miniport has, if it has it.
pub fn abort_of(tag: u32) -> Option<Box<Request>> {
    let port = port();
    let (srb, aborted) = port.active.iter().find(|(_, request)| request.tag == tag)?;
    let extra = Extra::Abort { srb: *srb, tag };
    let data = Data::default();
    Some(Request::other(aborted.address, SRB_FUNCTION_ABORT_COMMAND, extra, data, RESET_TIMEOUT))
}

/// A request has come back: an abort has succeeded when the command has ended, with SRB_STATUS_ABORTED or by itself; otherwise
/// it has failed (ns-srb-_scsi_request_block.md, SrbStatus).
pub fn look_at_end(port: &mut Port, ended: &Request) {
    let status = ended.answer.srb_status & 0x3F;
    if let (Extra::Abort { srb, tag }, SRB_STATUS_SUCCESS) = (ended.extra, status)
        && port.active.get(&srb).is_some_and(|request| request.tag == tag)
    {
        crate::not_ok!("abort-without-end", "{}: good, and request {tag} has not ended", ended.text());
    }
    if ended.function == SRB_FUNCTION_EXECUTE_SCSI
        && matches!(status, SRB_STATUS_ABORTED | SRB_STATUS_BUS_RESET)
    {
        port.ladder.given_up.insert(ended.tag, status);
    }
}

/// Requests that the reset should have ended and that are still with the miniport.
fn left(port: &Port) -> usize {
    let Some(climb) = &port.ladder.climb else { return 0 };
    let is_meant = |request: &Request| match climb.rung {
        Rung::Abort => request.tag == climb.late,
        _ => request.tag < climb.before && is_part(request.address, climb) && !request.internal,
    };
    port.active.values().filter(|request| is_meant(request)).count()
}

/// Notices requests past their time, and begins to climb for the first that is still there.
fn note_late() {
    let now = clock::ticks();
    let mut late = Vec::new();
    let (lenient, first, aborts) = {
        let mut port = port();
        for request in port.active.values_mut().filter(|r| !r.overdue && r.deadline <= now && !r.internal) {
            request.overdue = true;
            late.push(request.text());
        }
        let overdue = port.active.values().filter(|request| request.overdue);
        let first = overdue.map(|request| (request.tag, request.address)).min();
        (
            port.ladder.lenient || port.ladder.misses,
            first.filter(|_| port.ladder.climb.is_none()),
            may_abort(&port),
        )
    };
    for text in &late {
        if lenient {
            crate::note!("{text} did not end in its time");
        } else {
            crate::not_ok!("srb-never-completed", "{text} did not end in its time");
        }
    }
    if let Some((tag, address)) = first {
        begin(if aborts { Rung::Abort } else { Rung::LogicalUnit }, tag, address);
    }
}

fn step(rung: Rung) {
    let (late, address) =
        port().ladder.climb.as_ref().map_or((0, (0, 0, 0)), |climb| (climb.late, climb.address));
    begin(rung, late, address);
}

fn begin(rung: Rung, late: u32, address: Address) {
    let now = clock::ticks();
    let reset = |function| Request::other(address, function, Extra::None, Data::default(), RESET_TIMEOUT);
    let request = match rung {
        Rung::Abort => abort_of(late),
        Rung::LogicalUnit => Some(reset(SRB_FUNCTION_RESET_LOGICAL_UNIT)),
        Rung::Device | Rung::Bus => Some(reset(SRB_FUNCTION_RESET_DEVICE)),
    };
    // It has just ended.
    let Some(mut request) = request else { return };
    request.internal = true;
    let tag = queue::number(&mut request);
    let limit = if rung == Rung::Bus { AFTER_BUS_RESET } else { u64::from(RESET_TIMEOUT) * 1000 };
    {
        let mut port = port();
        port.ladder.rungs[rung as usize] += 1;
        port.ladder.climb = Some(Climb { address, rung, late, tag, before: tag, deadline: now + limit });
    }
    if rung == Rung::Bus {
        control::reset_bus(address.0);
    } else {
        crate::note!("{} to {}", request.command.name, name(address));
        queue::start_now(request);
    }
}
