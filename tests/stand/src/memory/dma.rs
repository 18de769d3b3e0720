//! The memory that the adapter may reach, and the IOMMU that holds it to that.
//!
//! | memory | when | what |
//! | --- | --- | --- |
//! | uncached extension, contiguous memory | until it is given back | reading and writing |
//! | SRB, sense buffer, SRB extension | while the miniport has the request | reading and writing |
//! | data | while the miniport has the request | in the request's direction |
//!
//! The rest of the driver's memory (device extension, pool, stacks, the image) is not for devices. With DMA remapping only what
//! was mapped for DMA can be reached (enabling-dma-remapping-for-device-drivers.md), and of the device extension no page says
//! that it is; a production viostor.sys has the disk's serial number written there all the same. Addresses are the physical
//! ones. A crash or hibernation ends it: there the port driver of the dump has no mappings to give.

use alloc::string::String;
use alloc::vec::Vec;

use stand::legal::{Change, Legal};

pub use stand::legal::Access;

use crate::cpu::lock::Lock;
use crate::pci::iommu::{self, Fault, Iommu};

struct Dma {
    legal: Legal,
    iommu: Option<Iommu>,
}

static DMA: Lock<Dma> = Lock::new(Dma { legal: Legal::new(), iommu: None });

/// Puts the IOMMU between the function and memory, before anything is given.
pub fn enforce(iommu: Iommu) {
    DMA.lock().iommu = Some(iommu);
}

/// The device may reach this memory from now on.
pub fn allow(physical: u64, bytes: u64, access: Access) {
    let mut dma = DMA.lock();
    let changes = dma.legal.allow(physical, bytes, access);
    dma.map(&changes);
}

/// The device may no longer reach this memory.
pub fn forbid(physical: u64, bytes: u64, access: Access) {
    let mut dma = DMA.lock();
    let changes = dma.legal.forbid(physical, bytes, access);
    dma.map(&changes);
}

/// Whether the device may read, or write, all of a range.
pub fn allows(physical: u64, bytes: u64, write: bool) -> bool {
    DMA.lock().legal.allows(physical, bytes, write)
}

/// All memory is the device's from now on.
pub fn lift() {
    if let Some(iommu) = DMA.lock().iommu.take() {
        iommu.turn_off();
    }
}

impl Dma {
    fn map(&mut self, changes: &[Change]) {
        let Some(iommu) = &mut self.iommu else { return };
        for change in changes {
            iommu.map(change.page, change.after.read, change.after.write);
        }
        // What was not there before is not remembered either (VT-d 6.1: no caching mode).
        if changes.iter().any(|change| change.before != Access::default()) {
            iommu.forget();
        }
    }
}

/// Has the device tried to reach memory that is not for it? Called when requests end and at each tick of the clock.
pub fn look() {
    let fault = DMA.lock().iommu.as_ref().and_then(iommu::Iommu::fault);
    if let Some(fault) = fault {
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
    let access = DMA.lock().legal.at(fault.page);
    if access != Access::default() {
        let may = if access.read { "read" } else { "write" };
        return alloc::format!("which it may only {may}");
    }
    match crate::storport::request::dead_at(fault.page) {
        Some(tag) => alloc::format!("memory of request {tag}, which is completed"),
        None => String::from("which nobody gave it"),
    }
}

/// Pieces of memory given together, and taken back together.
#[derive(Debug, Default)]
pub struct Grant(Vec<(u64, u64, Access)>);

impl Grant {
    /// Gives one more piece.
    pub fn add(&mut self, physical: u64, bytes: u64, access: Access) {
        allow(physical, bytes, access);
        self.0.push((physical, bytes, access));
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        for (physical, bytes, access) in self.0.drain(..) {
            forbid(physical, bytes, access);
        }
    }
}
