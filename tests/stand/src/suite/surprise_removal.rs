//! `surprise-removal`: the controller disappears under load. Every request ends, none of those that came afterwards well,
//! and the adapter can be stopped and removed without its device.

use stand::cmdline::Options;

use super::load::Load;
use crate::scan::class::{self, Outcome, send};
use crate::scan::{DISK, Unit};
use crate::storport::{port, removal};

/// Transfers before the device goes.
const BEFORE: u64 = 200;

/// One removal: there is no way back.
pub fn run(units: &[Unit], options: &Options) {
    let mut load = Load::new(units, options, 16);
    if load.is_empty() {
        crate::skip!("surprise-removal", "there is no disk");
        return;
    }
    // Until the driver knows, requests may be late; Storport's resets go to a device that is not there.
    port().ladder.lenient = true;
    load.work(BEFORE);
    load.report("before-removal", "with the device");
    load.start();
    let under_way = port().active.len();
    crate::progress!("the device is gone, {under_way} requests with the driver");
    removal::pull_out();
    // More requests come before PnP has noticed.
    load.start();
    removal::tell();
    let mut after = 0;
    for unit in units.iter().filter(|unit| unit.inquiry.device_type == DISK) {
        let Some(capacity) = unit.capacity else { continue };
        let command = stand::scsi::transfer(false, 0, 1, false);
        let (outcome, _) = send(unit.address, command, capacity.block_size);
        if matches!(outcome, Outcome::Good) {
            crate::not_ok!(
                "read-after-removal",
                "{}: READ(10) of a device that is gone: {outcome}",
                class::name(unit.address)
            );
        }
        after += 1;
    }
    crate::ok!("told-and-tried", "{after} reads of units that are gone ended");
    load.abandon();
    let ended = removal::finish();
    crate::console::check(
        ended,
        "requests-end",
        format_args!("{under_way} were with the driver when the device went"),
    );
}
