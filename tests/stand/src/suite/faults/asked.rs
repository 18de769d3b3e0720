//! What the port driver asks for besides one reset at a time: aborts of single commands, resets of several units at once, and
//! resets that the registry says are not to be done.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use stand::class::RETRIES;
use stand::cmdline::Options;
use stand::wdk::codes::*;
use stand::wdk::srb::Extra;

use super::{Load, TIMEOUT, reset, silence};
use crate::cpu::irql;
use crate::kernel::debug;
use crate::scan::{Unit, class};
use crate::storport::request::{Data, Request};
use crate::storport::{Address, ladder, port, queue};

/// Marks what is asked for here.
const OURS: u64 = u64::MAX;
/// Commands of a unit that are aborted in one round, of eight.
const OF_A_UNIT: usize = 3;
/// Commands that must have been aborted in all: a few dozen, so that no unit is left out.
const ENOUGH: usize = 24;
/// The code of virtio-win's vioscsi, when the registry value VioscsiActionOnReset has it.
const STOP_CODE: u64 = 0xDEAD_DEAD;

/// Commands of several units are aborted that the device does not answer, some at once; the class driver sends them again.
pub(super) fn aborts(units: &[Unit], options: &Options) {
    if !ladder::may_abort(&port()) {
        crate::skip!("aborts-under-load", "the driver does not ask for ABORT_COMMAND");
        return;
    }
    let rounds = if options.long { 200 } else { 12 };
    let mut load = Load::new(units, options, 8);
    let (mut asked, mut done, mut wrong) = (0, BTreeMap::new(), String::new());
    for round in 0..rounds {
        load.work(20);
        silence(true);
        load.start();
        queue::wait(500, || {
            load.poll();
            port().active.len() >= 8
        });
        let victims = victims(units);
        let mut under_way = BTreeMap::new();
        for (tag, address) in victims {
            let Some(mut abort) = ladder::abort_of(tag) else { continue };
            (abort.urgent, abort.cookie) = (true, OURS);
            under_way.insert(queue::submit(abort), (tag, address));
        }
        asked += under_way.len();
        // QEMU has aborted a command when its back-end has let go of it (scsi_req_cancel_async in hw/scsi/scsi-bus.c).
        silence(false);
        queue::wait(u64::from(TIMEOUT) * 1000, || {
            load.poll();
            for abort in queue::take_done(|cookie| cookie == OURS) {
                let Some((tag, address)) = under_way.remove(&abort.tag) else { continue };
                let port = port();
                let has_ended = port.active.values().all(|request| request.tag != tag);
                match (abort.answer.srb_status & 0x3F, port.ladder.given_up.get(&tag)) {
                    (SRB_STATUS_SUCCESS, Some(&SRB_STATUS_ABORTED)) => {
                        *done.entry(address).or_insert(0) += 1;
                        crate::note!("abort: target={} lun={}", address.1, address.2);
                    }
                    // It had ended by itself.
                    (SRB_STATUS_SUCCESS | SRB_STATUS_ABORT_FAILED, None) if has_ended => {}
                    (_, ended) => wrong = format!("{wrong}; {} and {ended:?}", abort.answer.text()),
                }
            }
            under_way.is_empty()
        });
        if !under_way.is_empty() {
            wrong = format!("{wrong}; {} aborts are left", under_way.len());
        }
        // No request may be aborted more often than the class driver forgives.
        if (round + 1) % usize::from(RETRIES / 2) == 0 {
            load.finish();
        }
    }
    let all: usize = done.values().sum();
    crate::console::check(
        wrong.is_empty() && all >= ENOUGH && done.len() >= 2,
        "aborts-under-load",
        format_args!("{asked} aborts, {all} commands of {} units aborted{wrong}", done.len()),
    );
    load.work(50);
    load.verify();
    load.report("data-after-aborts", "work around all aborts");
}

/// Some commands of each unit that the miniport has.
fn victims(units: &[Unit]) -> Vec<(u32, Address)> {
    let port = port();
    let mut victims = Vec::new();
    for unit in units {
        let its = port.active.values().filter(|request| {
            request.address == unit.address && request.function == SRB_FUNCTION_EXECUTE_SCSI
        });
        victims.extend(its.take(OF_A_UNIT).map(|request| (request.tag, request.address)));
    }
    victims
}

/// Resets of all units, each with the miniport before any is answered. The machine has one processor that serves interrupts
/// (`gather=1`), and they are started on that one, above its DPCs.
pub(super) fn together(units: &[Unit], options: &Options) {
    let rounds = if options.long { 200 } else { 12 };
    let mut load = Load::new(units, options, 16);
    let mut wrong = String::new();
    for round in 0..rounds {
        load.work(15);
        load.start();
        let level = irql::raise(irql::DISPATCH);
        let mut resets = BTreeMap::new();
        for unit in units {
            let function = SRB_FUNCTION_RESET_LOGICAL_UNIT;
            let mut reset = Request::other(unit.address, function, Extra::None, Data::default(), TIMEOUT);
            reset.cookie = OURS;
            resets.insert(queue::number(&mut reset), unit.address);
            queue::start_now(reset);
        }
        let at_once = port().active.values().filter(|request| request.cookie == OURS).count();
        irql::set(level);
        if at_once != units.len() {
            wrong = format!("{wrong}; only {at_once} at once");
        }
        queue::wait(u64::from(TIMEOUT) * 1000, || {
            load.poll();
            for reset in queue::take_done(|cookie| cookie == OURS) {
                let Some((_, target, lun)) = resets.remove(&reset.tag) else { continue };
                if reset.answer.srb_status & 0x3F == SRB_STATUS_SUCCESS {
                    crate::note!("reset: of=unit target={target} luns={lun} group={round}");
                } else {
                    wrong = format!("{wrong}; {}: {}", reset.text(), reset.answer.text());
                }
            }
            resets.is_empty()
        });
        if !resets.is_empty() {
            wrong = format!("{wrong}; {} resets are left", resets.len());
        }
        if (round + 1) % usize::from(RETRIES / 2) == 0 {
            load.finish();
        }
    }
    crate::console::check(
        wrong.is_empty() && units.len() > 2,
        "resets-at-once",
        format_args!("{rounds} times all {} units{wrong}", units.len()),
    );
    load.work(50);
    load.verify();
    load.report("data-after-resets", "work around all resets");
}

/// VioscsiActionOnReset is 1: resets that are asked for by request are answered, and all requests go on.
pub(super) fn ignored(units: &[Unit], options: &Options) {
    let mut load = Load::new(units, options, 16);
    let mut wrong = String::new();
    for unit in units {
        for function in [SRB_FUNCTION_RESET_LOGICAL_UNIT, SRB_FUNCTION_RESET_DEVICE, SRB_FUNCTION_RESET_BUS] {
            load.work(15);
            load.start();
            let answer = reset(unit.address, function);
            if answer.srb_status & 0x3F != SRB_STATUS_SUCCESS {
                wrong = format!("{wrong}; {}", answer.text());
            }
        }
    }
    crate::note!("reset: of=nothing");
    load.work(50);
    load.verify();
    let ended: BTreeSet<u32> = port().ladder.given_up.keys().copied().collect();
    crate::console::check(
        wrong.is_empty() && ended.is_empty(),
        "requests-go-on-over-resets",
        format_args!("{} resets, {} requests ended by one{wrong}", 3 * units.len(), ended.len()),
    );
    load.report("data-after-resets", "work around all resets");
}

/// VioscsiActionOnReset is 0xDEADDEAD: the system stops, with that code, the request and its address. The run ends there.
pub(super) fn stops_system(units: &[Unit], options: &Options) {
    // No two numbers of it are the same.
    let Some(unit) = units.iter().max_by_key(|unit| unit.address) else { return };
    let mut load = Load::new(units, options, 8);
    load.work(50);
    load.start();
    debug::expect_bugcheck(STOP_CODE, unit.address);
    let answer = reset(unit.address, SRB_FUNCTION_RESET_LOGICAL_UNIT);
    crate::not_ok!(
        "bugcheck-on-reset",
        "{}: the system goes on: {}",
        class::name(unit.address),
        answer.text()
    );
}
