//! The suites: tests of one subject each, run on the units a bus scan found. `suite=NAME` on the command line chooses one.
//!
//! What a driver does not support is reported with `skip!`, neither passed nor failed.

mod bench;
mod compliance;
mod dump;
mod faults;
mod flush;
mod hostile;
mod hotplug;
mod load;
mod many_luns;
mod multi_queue;
mod multipath;
mod pass;
mod pass_through;
mod power;
mod srb_functions;
mod surprise_removal;
mod wmi;

use stand::cmdline::Options;

use crate::scan::Unit;

/// What a suite gets: the units found, and the options of the run.
type Suite = fn(&[Unit], &Options);

/// All suites by name.
const SUITES: &[(&str, Suite)] = &[
    ("bench", bench::run),
    ("data-integrity", pass::run),
    ("dump", dump::run),
    ("faults", faults::run),
    ("flush", flush::run),
    ("hostile", hostile::run),
    ("hotplug", hotplug::run),
    ("interrupts", pass::run),
    ("manners", hostile::run_honest),
    ("many-luns", many_luns::run),
    ("multi-queue", multi_queue::run),
    ("multipath", multipath::run),
    ("pass-through", pass_through::run),
    ("power", power::run),
    ("scsi-compliance", compliance::run),
    ("srb-functions", srb_functions::run),
    ("stress", pass::run),
    ("surprise-removal", surprise_removal::run),
    ("transport", pass::run),
    ("vhost-user", pass::run),
];

/// Runs the suite of that name.
pub fn run(name: &str, units: &[Unit], options: &Options) {
    match SUITES.iter().find(|(other, _)| *other == name) {
        Some((_, suite)) => suite(units, options),
        None => crate::stop!("there is no suite {name}"),
    }
}
