//! Accesses of the device to memory that is not for it.

use alloc::string::String;

use super::request;
use crate::memory::dma::{self, Access};
use crate::pci::iommu::Fault;

/// Has the device tried to reach memory that is not for it? Called when requests end and at each tick of the clock.
pub fn look() {
    if let Some(fault) = dma::fault() {
        let what = what_is(&fault);
        crate::not_ok!(
            "dma-outside-legal-memory",
            "function {:02x}:{:02x}.{} was told to {} {:#x}, {what}",
            fault.source >> 8,
            fault.source >> 3 & 0x1F,
            fault.source & 7,
            if fault.write { "write at" } else { "read at" },
            fault.page
        );
    }
}

/// What the memory is that a device tried to reach.
fn what_is(fault: &Fault) -> String {
    let access = dma::access(fault.page);
    if access != Access::default() {
        let may = if access.read { "read" } else { "write" };
        return alloc::format!("which it may only {may}");
    }
    match request::dead_at(fault.page) {
        Some(tag) => alloc::format!("memory of request {tag}, which is completed"),
        None => String::from("which nobody gave it"),
    }
}
