//! What an export is, and what all of them need.

use alloc::string::String;

use crate::cpu::arguments::Arguments;
use crate::cpu::{irql, percpu};

/// An export's implementation.
pub type Export = fn(Arguments) -> u64;

/// STATUS_SUCCESS.
pub const STATUS_SUCCESS: u64 = 0;
/// STATUS_NOT_FOUND.
pub const STATUS_NOT_FOUND: u64 = 0xC000_0225;

/// A failed check unless the IRQL is at most `most`.
pub fn at_most(function: &str, most: u8) {
    let level = irql::current();
    // Everything is called at HIGH_LEVEL then; what does not bear it is refused before it comes here.
    if level > most && !crate::cpu::freeze::crashed() {
        crate::not_ok!(
            "wrong-irql",
            "{function} called at IRQL {level} ({}) in {}, allowed up to {most}",
            irql::name(level),
            percpu::current_callback()
        );
    }
}

/// What the driver did in words, for rules: the innermost callback and where it called from.
pub fn whereabouts(arguments: Arguments) -> String {
    alloc::format!("{} at {}", percpu::current_callback(), crate::loader::place(arguments.caller()))
}
