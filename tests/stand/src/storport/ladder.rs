//! Requests past their time: Storport resets the logical unit, then the device, then the bus
//! (multi-tier-reset-in-storport.md). The miniport has to end the requests of what was reset; how long Storport gives a
//! reset is not documented, here it has as long as a class driver's request.
//!
//! A request whose device is known to be at fault may be late; of any other it is the miniport's fault, and the rule
//! `srb-never-completed` is broken. Either way it must have ended when the ladder is climbed.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use stand::wdk::codes::*;
use stand::wdk::srb::Extra;

use super::request::{Data, Request};
use super::{Address, control, name, port, queue};
use crate::cpu::clock;

/// Seconds that a reset may take.
const RESET_TIMEOUT: u32 = 8;
/// Milliseconds that requests may stay with the miniport after the bus was reset.
const AFTER_BUS_RESET: u64 = 5000;

/// A rung.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rung {
    LogicalUnit,
    Device,
    Bus,
}

/// A reset under way.
struct Climb {
    address: Address,
    rung: Rung,
    /// Tag of the reset request.
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
    /// Logical units, devices and buses that were reset.
    pub resets: [u32; 3],
}

impl Ladder {
    /// A reset request has ended.
    pub fn finished(&mut self, request: Box<Request>) {
        self.done.push_back(request);
    }

    /// Whether requests to this unit have to wait.
    pub fn holds(&self, address: Address) -> bool {
        self.climb.as_ref().is_some_and(|climb| is_part(address, climb))
    }
}

/// Whether a unit belongs to what is being reset.
fn is_part(address: Address, climb: &Climb) -> bool {
    match climb.rung {
        Rung::LogicalUnit => address == climb.address,
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
        _ if good && left == 0 => port().ladder.climb = None,
        Rung::LogicalUnit if ended.is_some() || late => step(Rung::Device),
        Rung::Device if ended.is_some() || late => step(Rung::Bus),
        _ => {}
    }
}

/// Requests that the reset should have ended and that are still with the miniport.
fn left(port: &super::Port) -> usize {
    let Some(climb) = &port.ladder.climb else { return 0 };
    port.active
        .values()
        .filter(|request| request.tag < climb.before && is_part(request.address, climb) && !request.internal)
        .count()
}

/// Notices requests past their time, and begins to climb for the first of them.
fn note_late() {
    let now = clock::ticks();
    let mut late = Vec::new();
    let lenient = {
        let mut port = port();
        for request in port.active.values_mut().filter(|r| !r.overdue && r.deadline <= now && !r.internal) {
            request.overdue = true;
            late.push((request.address, request.text()));
        }
        port.ladder.lenient || port.ladder.misses
    };
    for (_, text) in &late {
        if lenient {
            crate::note!("{text} did not end in its time");
        } else {
            crate::not_ok!("srb-never-completed", "{text} did not end in its time");
        }
    }
    if let Some((address, _)) = late.first()
        && port().ladder.climb.is_none()
    {
        begin(Rung::LogicalUnit, *address);
    }
}

fn step(rung: Rung) {
    let address = port().ladder.climb.as_ref().map_or((0, 0, 0), |climb| climb.address);
    begin(rung, address);
}

fn begin(rung: Rung, address: Address) {
    let now = clock::ticks();
    let function = match rung {
        Rung::LogicalUnit => SRB_FUNCTION_RESET_LOGICAL_UNIT,
        _ => SRB_FUNCTION_RESET_DEVICE,
    };
    let mut request = Request::other(address, function, Extra::None, Data::default(), RESET_TIMEOUT);
    request.internal = true;
    let tag = queue::number(&mut request);
    let limit = if rung == Rung::Bus { AFTER_BUS_RESET } else { u64::from(RESET_TIMEOUT) * 1000 };
    {
        let mut port = port();
        port.ladder.resets[rung as usize] += 1;
        port.ladder.climb = Some(Climb { address, rung, tag, before: tag, deadline: now + limit });
    }
    if rung == Rung::Bus {
        control::reset_bus(address.0);
    } else {
        crate::note!("{} to {}", request.command.name, name(address));
        queue::start_now(request);
    }
}
