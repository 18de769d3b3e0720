//! `multi-queue`: random work from all processors, and then how many request queues the driver enabled and how many
//! requests each has seen, as the device has it: from the registers of the queues and from their used rings.
//!
//! A driver need not have several queues. One that has some is expected to have as many as are of use: one for each processor,
//! as far as the device has them and there is a message for each beside the one for the configuration.

use alloc::vec::Vec;

use stand::cmdline::Options;

use super::pass;
use crate::cpu::smp;
use crate::pci::virtio::{self, Queue};
use crate::scan::Unit;
use crate::storport::{port, queue};

/// Random work, a look at the queues, the plain pass.
pub fn run(units: &[Unit], options: &Options) {
    pass::load(units, options);
    queue::settle();
    look_at_queues();
    crate::pass::run(units, options);
}

fn look_at_queues() {
    let (function, bars, messages) = {
        let port = port();
        let messages = if port.message_interrupts { port.messages } else { 0 };
        (port.function, port.bars.clone(), messages)
    };
    let found = function.and_then(|function| virtio::request_queues(function, &bars));
    let Some(queues) = found else {
        crate::skip!("queues-in-use", "the device has no registers that tell");
        return;
    };
    let enabled: Vec<&Queue> = queues.iter().filter(|queue| queue.enabled).collect();
    let useful = smp::count().min(queues.len() as u32).min(u32::from(messages).saturating_sub(1)).max(1);
    crate::console::check(
        enabled.len() as u32 == useful,
        "queues-in-use",
        format_args!(
            "{} of {}, with {messages} message(s) and {} processor(s)",
            enabled.len(),
            queues.len(),
            smp::count()
        ),
    );
    let mut vectors: Vec<u16> = enabled.iter().map(|queue| queue.vector).collect();
    vectors.sort_unstable();
    vectors.dedup();
    crate::console::check(
        vectors.len() == enabled.len(),
        "queue-messages",
        format_args!("{} message(s) for {} queue(s)", vectors.len(), enabled.len()),
    );
    let used: Option<Vec<u16>> = enabled.iter().map(|queue| queue.used).collect();
    match used {
        Some(used) => crate::console::check(
            used.iter().all(|count| *count != 0),
            "requests-in-every-queue",
            format_args!("{used:?} (modulo 65536)"),
        ),
        None => crate::note!("a packed ring has no count of used buffers: not looked at"),
    }
}
