//! `power`: the adapter is stopped and started again and again with requests waiting, and its resources change.
//! Its nearest in the HLK is "DF - Reboot restart with IO before and after (Reliability)".

use stand::class::RETRIES;
use stand::cmdline::Options;

use super::load::Load;
use crate::scan::{self, Unit};
use crate::storport::{control, port};
use alloc::vec::Vec;

/// Transfers between two transitions.
const BETWEEN: u64 = 20;

/// Power transitions under load, then rebalances to fewer and fewer messages.
pub fn run(units: &[Unit], options: &Options) {
    let mut load = Load::new(units, options, 16);
    if load.is_empty() {
        crate::skip!("power", "there is no disk");
        return;
    }
    let rounds = 100_u32;
    let mut failed = 0u32;
    for round in 0..rounds {
        crate::progress!("power transition {round} of {rounds}");
        load.work(BETWEEN);
        // Requests of all processors are on their way when the transition begins; more come while it lasts.
        failed += u32::from(!control::power_down());
        load.start();
        if !control::power_up() {
            crate::not_ok!("power-transitions", "the adapter did not come back from transition {round}");
            crate::stop!("the adapter did not come back");
        }
        // After each transition the first request of a unit gets its unit attention. It may be the same one again and again:
        // requests that waited come back in their order. No class driver forgives that more often.
        if (round + 1) % u32::from(RETRIES) == 0 {
            load.finish();
        }
    }
    crate::console::check(
        failed == 0,
        "power-transitions",
        format_args!("{rounds} transitions, {failed} failed"),
    );
    load.verify();
    load.report("data-after-power-transitions", "stamped writes and reads around all transitions");

    let most = port().messages;
    let mut fewer: Vec<u16> =
        [most.saturating_sub(1), 2, 1, 0].into_iter().filter(|messages| *messages < most).collect();
    fewer.dedup();
    if fewer.is_empty() {
        // Other addresses are as good a reason.
        fewer.push(0);
    }
    for messages in fewer {
        crate::progress!("rebalance to {messages} message(s)");
        let mut load = Load::new(units, options, 8);
        load.work(BETWEEN);
        load.finish();
        control::rebalance(messages);
        // A started adapter's bus is scanned, and class drivers ask the units' size, before anything is read or written.
        scan::scan();
        load.work(4 * BETWEEN);
        load.verify();
        load.report("rebalance", &alloc::format!("with {messages} message(s)"));
    }
}
