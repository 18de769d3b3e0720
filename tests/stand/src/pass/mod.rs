//! placeholder
use stand::cmdline::Options;
use crate::scan::Unit;
/// runs
pub fn run(_units: &[Unit], _options: &Options) {}
