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

use alloc::vec::Vec;

use stand::legal::{Change, Legal};

pub use stand::legal::Access;

use crate::cpu::lock::Lock;
use crate::pci::iommu::{Fault, Iommu};

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

/// The next access of the device to memory that was not for it.
pub fn fault() -> Option<Fault> {
    DMA.lock().iommu.as_ref().and_then(Iommu::fault)
}

/// What the device may do with a page.
pub fn access(page: u64) -> Access {
    DMA.lock().legal.at(page)
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
