//! The suites that are one amount of work on many machines: `data-integrity`, `transport`, `interrupts`, `vhost-user`. What differs is the machine, which the runner chooses.
//!
//! Stamped writes and reads of random size, place, alignment and depth from all processors, everything read back at the
//! end; then the pass of a plain run, which leaves stamps for the host to find in the image files.

use stand::cmdline::Options;

use super::load::Load;
use crate::pass;
use crate::scan::Unit;

/// Depths and how many transfers each gets.
const DEPTHS: [(usize, u64); 4] = [(1, 150), (8, 400), (48, 600), (4, 200)];

/// Work of several depths, then the plain pass.
pub fn run(units: &[Unit], options: &Options) {
    load(units, options);
    pass::run(units, options);
}

/// Work of several depths.
pub fn load(units: &[Unit], options: &Options) {
    let factor = if options.long { 200 } else { 1 };
    for (depth, count) in DEPTHS {
        crate::progress!("{depth} transfers at once");
        let mut load = Load::new(units, options, depth);
        if load.is_empty() {
            crate::skip!("random-load", "there is no disk");
            break;
        }
        load.work(count * factor);
        load.verify();
        load.report("random-load", &alloc::format!("{depth} at once on each disk"));
    }
}
