//! `hotplug`: what comes, goes and grows while the adapter runs. The runner does it through QMP, mostly while requests are
//! under way; the driver must tell Storport where its documentation says so, and a new bus scan must find what is true.
//!
//! | part | done by the runner | expected |
//! | --- | --- | --- |
//! | resize | `block_resize` | BusChangeDetected or UNIT ATTENTION 2A/09, then the new READ CAPACITY |
//! | resize while Storport works on another | `block_resize` twice | StorPortStateChangeDetected again after HwStorStateChange |
//! | LUNs | `device_add`, `device_del` of a scsi-hd | BusChangeDetected; the re-scan finds the unit, or no longer |
//! | tray | `blockdev-open-tray`, `blockdev-close-tray` | NOT READY 3A, then UNIT ATTENTION 28/00, then ready |
//!
//! With `churn=N` all of it N times in any order, under load ([`churn`]). Not here: adapters that come and go.

mod churn;
mod load;

use alloc::format;
use alloc::string::String;

use stand::cmdline::Options;
use stand::scsi::{self, Sense};
use stand::stamp::{self, MEDIUM_BLOCK, MEDIUM_GENERATION, Stamp};
use stand::wdk::codes::STATE_CHANGE_LUN;

use crate::host;
use crate::pci::virtio;
use crate::scan::class::{self, Outcome, TIMEOUT, send};
use crate::scan::{self, CDROM, DISK, Unit};
use crate::storport::request::{Data, Request};
use crate::storport::{Address, notification, port, queue};
use load::Load;

/// How much a disk grows.
const GROWTH: u64 = 16 << 20;
/// Size of a disk that is plugged in.
const PLUGGED: u64 = 16 << 20;
/// Longest wait for a driver to announce something, in milliseconds.
const ANNOUNCE: u64 = 5_000;
/// CAPACITY DATA HAS CHANGED (SPC-4, table of additional sense codes).
const CAPACITY_CHANGED: (u8, u8) = (0x2A, 0x09);
/// NOT READY TO READY CHANGE, MEDIUM MAY HAVE CHANGED.
const MEDIUM_CHANGED: (u8, u8) = (0x28, 0x00);
/// MEDIUM NOT PRESENT, whatever the qualifier.
const NO_MEDIUM: u8 = 0x3A;

/// Runs all parts that the adapter has something for.
pub fn run(units: &[Unit], options: &Options) {
    let Some(function) = port().function else { return };
    if let Err(error) = host::qmp(r#"{"execute":"query-status"}"#) {
        // Without a runner nothing of this can be tried: neither the driver's fault nor its merit.
        crate::skip!("hotplug", "no runner answers: {error}");
        return;
    }
    if options.churn > 0 {
        churn::run(units, options);
        return;
    }
    let disk = units.iter().find(|unit| unit.inquiry.device_type == DISK && unit.capacity.is_some());
    // The nodes that the runner's machine has behind the first disk of either adapter.
    let scsi = matches!(function.id(), (0x1AF4, 0x1004 | 0x1048));
    match disk {
        Some(disk) => {
            let node = if scsi { "disk1" } else { "disk0" };
            if let Some(bytes) = resize(disk, node) {
                resize_while_busy(disk, node, bytes);
            }
        }
        None => crate::not_ok!("hotplug-units", "there is no disk to try it with"),
    }
    if !scsi {
        crate::skip!("hotplug-luns", "this adapter has one unit for ever");
        crate::skip!("tray", "this adapter has no CD-ROM");
        return;
    }
    // A unit of its own target, and one more behind a target that is there already.
    luns(disk, "hot0", (0, 2, 0), false);
    luns(disk, "hot1", (0, 0, 5), true);
    match units.iter().find(|unit| unit.inquiry.device_type == CDROM && unit.capacity.is_some()) {
        Some(unit) => tray(unit, options),
        None => crate::skip!("tray", "there is no CD-ROM with a medium"),
    }
}

/// Sends a command to the runner that must succeed.
fn must(name: &str, json: &str, load: &mut Load) -> bool {
    match host::qmp_while(json, || load.step()) {
        Ok(_) => true,
        Err(error) => {
            crate::not_ok!(name, "the machine would not: {error}");
            false
        }
    }
}

/// Waits until the driver has asked for a bus scan, or a command has brought this news.
fn announced(load: &mut Load, news: (u8, u8)) -> Option<&'static str> {
    queue::wait(ANNOUNCE, || {
        load.step();
        port().rescan || load.heard(news)
    });
    if port().rescan {
        Some("StorPortNotification asked for a bus scan")
    } else if load.heard(news) {
        Some("a unit attention")
    } else {
        None
    }
}

/// A command once, with its unit attention.
fn once(address: Address, command: scsi::Command) -> Outcome {
    let request = queue::execute(Request::new(address, command, Data::default(), TIMEOUT));
    Outcome::of(&request.answer)
}

fn is_news(outcome: &Outcome, news: (u8, u8)) -> bool {
    matches!(outcome, Outcome::Sense(Sense { key: scsi::UNIT_ATTENTION, asc, ascq }) if (*asc, *ascq) == news)
}

/// Blocks of a unit: READ CAPACITY (16), or (10) where that is not known.
fn blocks(address: Address) -> Option<u64> {
    let (outcome, data) = send(address, scsi::read_capacity_16(), 32);
    let long = matches!(outcome, Outcome::Good).then(|| scsi::parse_capacity_16(&data)).flatten();
    let capacity = long.or_else(|| {
        let (outcome, data) = send(address, scsi::read_capacity_10(), 8);
        matches!(outcome, Outcome::Good).then(|| scsi::parse_capacity_10(&data)).flatten()
    })?;
    Some(capacity.blocks)
}

/// The disk grows while it is read.
///
/// A virtio-blk device says so by a configuration change notification (virtio 1.3 §2.3), a SCSI host by the event
/// PARAM_CHANGE (§5.6.6.3), if that was negotiated, and by the unit attention of the disk itself.
/// What a miniport does then is not written in one place: it asks for a bus scan (nf-storport-storportnotification.md,
/// BusChangeDetected), or answers the next command with the unit attention that a SCSI disk would. Either is taken.
/// Answers with the new size in bytes, if the driver follows.
fn resize(disk: &Unit, node: &str) -> Option<u64> {
    let capacity = disk.capacity?;
    let (name, block) = (class::name(disk.address), capacity.block_size);
    let bytes = capacity.blocks * u64::from(block) + GROWTH;
    let expected = bytes / u64::from(block);
    crate::progress!("{name}: grows to {expected} blocks");
    port().rescan = false;
    let mut load = Load::start(disk.address, block, capacity.blocks);
    load.warm_up();
    let json = format!(r#"{{"execute":"block_resize","arguments":{{"node-name":"{node}","size":{bytes}}}}}"#);
    if !must("resize", &json, &mut load) {
        load.finish("resize", false);
        return None;
    }
    let mut by = announced(&mut load, CAPACITY_CHANGED);
    load.finish("resize", false);
    if by.is_none() && is_news(&once(disk.address, scsi::test_unit_ready()), CAPACITY_CHANGED) {
        by = Some("a unit attention");
    }
    let found = blocks(disk.address);
    let shown = found == Some(expected);
    match (by, shown) {
        (None, false) => crate::skip!(
            "resize",
            "{name}: the driver does not follow capacity changes: {found:?} blocks instead of {expected}, no word of it"
        ),
        (None, true) => crate::not_ok!(
            "resize-announced",
            "{name}: READ CAPACITY says {expected} blocks, but nobody was told to look"
        ),
        (Some(by), shown) => {
            crate::ok!("resize-announced", "{name}: {by}");
            crate::console::check(
                shown,
                "resize-capacity",
                format_args!("{name}: {found:?} blocks, {expected} are there"),
            );
        }
    }
    if shown {
        let (outcome, _) = send(disk.address, scsi::transfer(false, expected - 1, 1, false), block);
        let good = matches!(outcome, Outcome::Good);
        crate::console::check(good, "resize-read", format_args!("{name}: the new last block: {outcome}"));
    }
    shown.then_some(bytes)
}

/// The disk grows, and again while Storport works on the state change that the driver made of it: a call of
/// StorPortStateChangeDetected is refused meanwhile, and has to be made again after HwStorStateChange
/// (nf-storport-storportstatechangedetected.md). No command is sent, so no unit attention tells either.
fn resize_while_busy(disk: &Unit, node: &str, bytes: u64) {
    let name = class::name(disk.address);
    let grow = |bytes: u64| {
        let json =
            format!(r#"{{"execute":"block_resize","arguments":{{"node-name":"{node}","size":{bytes}}}}}"#);
        port().rescan = false;
        must("resize-while-busy", &json, &mut Load::none())
    };
    // An earlier one comes to its end.
    queue::wait(ANNOUNCE, || port().state_change.is_none());
    notification::hold_state_changes(true);
    let refused = port().refused_state_changes;
    if grow(bytes + GROWTH) {
        queue::wait(ANNOUNCE, || port().state_change.is_some());
    }
    let Some(change) = port().state_change else {
        notification::hold_state_changes(false);
        crate::skip!("resize-while-busy", "{name}: the driver makes no state change of it");
        return;
    };
    // A target or a bus has a part of the address only.
    if change.entity == STATE_CHANGE_LUN {
        let named = (change.unit.path, change.unit.target, change.unit.lun);
        crate::console::check(
            named == disk.address,
            "resize-while-busy-unit",
            format_args!("{name}: the state change is of {}", class::name(named)),
        );
    }
    if grow(bytes + 2 * GROWTH) {
        queue::wait(ANNOUNCE, || port().refused_state_changes != refused);
    }
    let refused = port().refused_state_changes - refused;
    notification::hold_state_changes(false);
    queue::wait(ANNOUNCE, || port().rescan);
    let told = port().rescan;
    crate::console::check(
        told,
        "resize-while-busy",
        format_args!("{name}: {refused} state changes refused, told again after HwStorStateChange: {told}"),
    );
    let expected =
        (bytes + 2 * GROWTH) / u64::from(disk.capacity.map_or(512, |capacity| capacity.block_size));
    let found = blocks(disk.address);
    crate::console::check(
        found == Some(expected),
        "resize-while-busy-capacity",
        format_args!("{name}: {found:?} blocks, {expected} are there"),
    );
}

/// A LUN comes, is found and read, and goes again; meanwhile another disk is read. With `busy` the LUN itself is read
/// while it goes: its requests may end as they like, but they must end.
fn luns(other: Option<&Unit>, id: &str, address: Address, busy: bool) {
    let name = class::name(address);
    let (_, target, lun) = address;
    let follows = negotiated(HOTPLUG);
    let beside = |what: &str| {
        crate::progress!("{what} {name}");
        port().rescan = false;
        match other.and_then(|unit| Some((unit.address, unit.capacity?))) {
            Some((address, capacity)) => Load::start(address, capacity.block_size, capacity.blocks),
            None => Load::none(),
        }
    };

    let mut load = beside("plug in");
    let node = format!(
        r#"{{"execute":"blockdev-add","arguments":{{"driver":"null-co","node-name":"{id}","size":{PLUGGED},"read-zeroes":true}}}}"#
    );
    let device = format!(
        r#"{{"execute":"device_add","arguments":{{"driver":"scsi-hd","id":"{id}-disk","bus":"scsi0.0","channel":0,"scsi-id":{target},"lun":{lun},"drive":"{id}","serial":"RUST-{id}"}}}}"#
    );
    let plugged = must("lun-plugged", &node, &mut load) && must("lun-plugged", &device, &mut load);
    if plugged {
        tell(follows, "lun-plugged-announced", &name, &mut load);
    }
    load.finish("lun-plugged", false);
    if !plugged {
        return;
    }
    let found = rescan(address);
    crate::console::check(found.is_some(), "lun-plugged-found", format_args!("{name} after a bus scan"));
    let capacity = found.and_then(|unit| unit.capacity);
    if let Some(capacity) = capacity {
        read_zeroes(address, capacity.block_size, &name);
    }

    let mut load = beside("unplug");
    let mut own = match capacity {
        Some(capacity) if busy => Load::start(address, capacity.block_size, capacity.blocks),
        _ => Load::none(),
    };
    own.warm_up();
    let json = format!(r#"{{"execute":"device_del","arguments":{{"id":"{id}-disk"}}}}"#);
    let gone = {
        let mut both = || {
            load.step();
            own.step();
        };
        // The answer to device_del only says that it was asked for; the event, that it is done.
        host::qmp_while(&json, &mut both).and_then(|_| host::event_while("DEVICE_DELETED", &mut both))
    };
    own.finish("lun-unplugged-under-load", true);
    match gone {
        Ok(_) => {
            tell(follows, "lun-unplugged-announced", &name, &mut load);
            load.finish("lun-unplugged", false);
        }
        Err(error) => {
            load.finish("lun-unplugged", false);
            crate::not_ok!("lun-unplugged", "{name}: the machine would not: {error}");
            return;
        }
    }
    let found = rescan(address);
    crate::console::check(found.is_none(), "lun-unplugged-gone", format_args!("{name} after a bus scan"));
    let outcome = once(address, scsi::test_unit_ready());
    let refused = !matches!(outcome, Outcome::Good) && !is_any_news(&outcome);
    crate::console::check(refused, "lun-unplugged-refuses", format_args!("{name}: {outcome}"));
    let json = format!(r#"{{"execute":"blockdev-del","arguments":{{"node-name":"{id}"}}}}"#);
    must("lun-unplugged", &json, &mut Load::none());
}

fn is_any_news(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Sense(Sense { key: scsi::UNIT_ATTENTION, .. }))
}

/// VIRTIO_SCSI_F_HOTPLUG: the driver wants to hear of LUNs that come and go (virtio 1.3 §5.6.3).
const HOTPLUG: u64 = 1 << 1;
/// VIRTIO_SCSI_F_CHANGE: and of those that change.
const CHANGE: u64 = 1 << 2;

/// Whether driver and device have agreed on a feature.
fn negotiated(feature: u64) -> bool {
    let (function, bars) = {
        let port = port();
        (port.function, port.bars.clone())
    };
    function
        .and_then(|function| virtio::read(function, &bars))
        .is_some_and(|agreement| agreement.driver & feature != 0)
}

/// nf-storport-storportnotification.md, BusChangeDetected: for a target that was added or removed.
fn tell(follows: bool, check: &str, name: &str, load: &mut Load) {
    if !follows {
        crate::skip!(check, "{name}: the driver has not negotiated VIRTIO_SCSI_F_HOTPLUG");
        return;
    }
    queue::wait(ANNOUNCE, || {
        load.step();
        port().rescan
    });
    let told = port().rescan;
    crate::console::check(told, check, format_args!("{name}: the driver asked for a bus scan: {told}"));
}

/// What Storport does when it was told of a change, or a person asks for it: the whole bus, and what is there now.
fn rescan(address: Address) -> Option<Unit> {
    scan::scan().into_iter().find(|unit| unit.address == address)
}

fn read_zeroes(address: Address, block: u32, name: &str) {
    let (outcome, data) = send(address, scsi::transfer(false, 7, 8, false), 8 * block);
    let zero = data.len() == 8 * block as usize && data.iter().all(|byte| *byte == 0);
    let detail = format_args!("{name}: {outcome}, {} bytes, all zero: {zero}", data.len());
    crate::console::check(matches!(outcome, Outcome::Good) && zero, "lun-plugged-read", detail);
}

/// The tray opens and closes: NOT READY while there is no medium, and a unit attention (SAM-5 §5.14) for the new one.
fn tray(unit: &Unit, options: &Options) {
    let name = class::name(unit.address);
    let ask = |verb: &str, more: &str| {
        let json = format!(r#"{{"execute":"{verb}","arguments":{{"id":"cdrom0"{more}}}}}"#);
        let result = host::qmp(&json).and_then(|_| host::event("DEVICE_TRAY_MOVED"));
        if let Err(error) = &result {
            crate::not_ok!("tray", "{name}: the machine would not {verb}: {error}");
        }
        result.is_ok()
    };
    crate::progress!("{name}: tray opens");
    if !ask("blockdev-open-tray", "") {
        return;
    }
    let outcome = class::ready(unit.address);
    let open =
        matches!(&outcome, Outcome::Sense(sense) if sense.key == scsi::NOT_READY && sense.asc == NO_MEDIUM);
    crate::console::check(open, "tray-open", format_args!("{name}: TEST UNIT READY: {outcome}"));

    crate::progress!("{name}: tray closes");
    if !ask("blockdev-close-tray", "") {
        return;
    }
    // One unit attention for the medium, and perhaps another for something else, before it is ready.
    let mut heard = String::new();
    let (mut changed, mut ready) = (false, false);
    for _ in 0..4 {
        let outcome = once(unit.address, scsi::test_unit_ready());
        heard = format!("{heard} [{outcome}]");
        changed |= is_news(&outcome, MEDIUM_CHANGED);
        ready = matches!(outcome, Outcome::Good);
        if ready {
            break;
        }
    }
    crate::console::check(changed, "tray-closed-news", format_args!("{name}: TEST UNIT READY:{heard}"));
    crate::console::check(ready, "tray-closed", format_args!("{name}: ready: {ready}"));
    let (outcome, data) = send(unit.address, scsi::transfer(false, 0, 1, false), MEDIUM_BLOCK as u32);
    let expected = Stamp { lba: 0, generation: MEDIUM_GENERATION, seed: options.seed, owner: 0 };
    let same = data.len() == MEDIUM_BLOCK && stamp::verify(&data, &expected).is_ok();
    crate::console::check(same, "tray-medium", format_args!("{name}: {outcome}, the same medium: {same}"));
}
