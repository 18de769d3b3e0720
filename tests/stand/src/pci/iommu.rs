//! The IOMMU: Intel's VT-d in its oldest form, as QEMU's `-device intel-iommu` has it. One domain for the one function, three
//! levels of tables, addresses mapped to themselves, commands through registers.
//!
//! Names and sections are those of Intel's "Virtualization Technology for Directed I/O" specification.

use crate::cpu::clock;
use crate::memory::{self, PAGE, frames};
use crate::pci::Function;

mod register {
    pub(super) const CAPABILITY: u64 = 0x08;
    pub(super) const EXTENDED_CAPABILITY: u64 = 0x10;
    pub(super) const GLOBAL_COMMAND: u64 = 0x18;
    pub(super) const GLOBAL_STATUS: u64 = 0x1C;
    pub(super) const ROOT_TABLE: u64 = 0x20;
    pub(super) const CONTEXT_COMMAND: u64 = 0x28;
    pub(super) const FAULT_STATUS: u64 = 0x34;
}

/// GCMD_REG and GSTS_REG (10.4.4): translation, and the root table taken.
const TRANSLATION: u32 = 1 << 31;
const ROOT_POINTER: u32 = 1 << 30;
/// CCMD_REG (10.4.7) and IOTLB_REG (10.4.8): do it, for everything.
const CONTEXT_ALL: u64 = 1 << 63 | 1 << 61;
const IOTLB_ALL: u64 = 1 << 63 | 1 << 60;
/// FSTS_REG (10.4.9): overflow and primary pending fault.
const FAULT_OVERFLOW: u32 = 1;
const FAULT_PENDING: u32 = 2;
/// Address width of a context entry for three levels of tables (9.3), and its bit in CAP_REG.SAGAW.
const THREE_LEVELS: u64 = 1;
const DOMAIN: u64 = 1;
/// Rights of a second-level entry (9.8).
const READ: u64 = 1;
const WRITE: u64 = 2;

/// An access that was refused.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// The page.
    pub page: u64,
    /// Bus, device and function.
    pub source: u16,
    /// It was a write.
    pub write: bool,
}

/// The IOMMU.
#[derive(Debug)]
pub struct Iommu {
    registers: u64,
    /// Where the IOTLB and the fault recording registers are.
    iotlb: u64,
    record: u64,
    /// Physical address of the uppermost table.
    top: u64,
}

impl Iommu {
    /// Turns translation on, with nothing mapped, for one function; the others reach no memory at all.
    pub fn start(physical: u64, function: Function) -> Self {
        let registers = memory::map_device(physical, PAGE);
        let at = |register: u64| (registers + register) as *const u64;
        // SAFETY: both registers lie in the page just mapped.
        let (capability, extended) = unsafe {
            (at(register::CAPABILITY).read_volatile(), at(register::EXTENDED_CAPABILITY).read_volatile())
        };
        if capability >> 8 & 1 << THREE_LEVELS == 0 {
            crate::stop!("the IOMMU has no tables of three levels (capabilities {capability:#x})");
        }
        let iommu = Iommu {
            registers,
            iotlb: (extended >> 8 & 0x3FF) * 16 + 8,
            record: (capability >> 24 & 0x3FF) * 16,
            top: table(),
        };
        let (root, context) = (table(), table());
        set(root + 16 * u64::from(function.bus), context | 1);
        let entry = context + 16 * u64::from(function.device << 3 | function.function);
        set(entry + 8, DOMAIN << 8 | THREE_LEVELS);
        set(entry, iommu.top | 1);
        iommu.write64(register::ROOT_TABLE, root);
        iommu.command(ROOT_POINTER);
        iommu.invalidate(register::CONTEXT_COMMAND, CONTEXT_ALL);
        iommu.forget();
        iommu.command(TRANSLATION);
        iommu
    }

    /// Everything reaches all memory again.
    pub fn turn_off(self) {
        self.write32(register::GLOBAL_COMMAND, 0);
    }

    /// Maps a page to itself with these rights; with none, it is not there.
    pub fn map(&mut self, page: u64, read: bool, write: bool) {
        let mut at = self.top;
        for shift in [30, 21] {
            let entry = at + 8 * (page >> shift & 0x1FF);
            if get(entry) == 0 {
                set(entry, table() | READ | WRITE);
            }
            at = get(entry) & !(PAGE - 1);
        }
        let rights = if read { READ } else { 0 } | if write { WRITE } else { 0 };
        set(at + 8 * (page >> 12 & 0x1FF), if rights == 0 { 0 } else { page | rights });
    }

    /// Makes it forget what it knows of the tables.
    pub fn forget(&self) {
        self.invalidate(self.iotlb, IOTLB_ALL);
    }

    /// The first access that was refused since the last look.
    pub fn fault(&self) -> Option<Fault> {
        if self.read32(register::FAULT_STATUS) & FAULT_PENDING == 0 {
            return None;
        }
        // FRCD_REG (10.4.14): the page in the lower half; source, and whether it was a read, in the upper one.
        let (low, high) = (self.read64(self.record), self.read64(self.record + 8));
        // Both are cleared by writing ones: the record, then the overflow of which there may have been one.
        self.write64(self.record + 8, 1 << 63);
        self.write32(register::FAULT_STATUS, FAULT_OVERFLOW);
        Some(Fault { page: low & !(PAGE - 1), source: high as u16, write: high >> 62 & 1 == 0 })
    }

    fn command(&self, bit: u32) {
        let status = self.read32(register::GLOBAL_STATUS);
        self.write32(register::GLOBAL_COMMAND, status & TRANSLATION | bit);
        wait(|| self.read32(register::GLOBAL_STATUS) & bit != 0);
    }

    fn invalidate(&self, register: u64, command: u64) {
        self.write64(register, command);
        wait(|| self.read64(register) >> 63 == 0);
    }

    fn read32(&self, register: u64) -> u32 {
        // SAFETY: `start` mapped the page; all registers used lie in it.
        unsafe { ((self.registers + register) as *const u32).read_volatile() }
    }

    fn read64(&self, register: u64) -> u64 {
        // SAFETY: as in `read32`.
        unsafe { ((self.registers + register) as *const u64).read_volatile() }
    }

    fn write32(&self, register: u64, value: u32) {
        // SAFETY: as in `read32`.
        unsafe { ((self.registers + register) as *mut u32).write_volatile(value) }
    }

    fn write64(&self, register: u64, value: u64) {
        // SAFETY: as in `read32`.
        unsafe { ((self.registers + register) as *mut u64).write_volatile(value) }
    }
}

/// The hardware answers at once; one that does not is broken.
fn wait(done: impl Fn() -> bool) {
    for _ in 0..1000 {
        if done() {
            return;
        }
        clock::stall(10);
    }
    crate::stop!("the IOMMU does not answer");
}

/// An empty table.
fn table() -> u64 {
    let Some(frame) = frames::single() else { crate::stop!("no memory for the IOMMU's tables") };
    frame
}

fn get(physical: u64) -> u64 {
    // SAFETY: an entry of a table of ours, in RAM that the window maps.
    unsafe { memory::window(physical).cast::<u64>().read_volatile() }
}

fn set(physical: u64, value: u64) {
    // SAFETY: as in `get`; the hardware reads an entry as one word.
    unsafe { memory::window(physical).cast::<u64>().write_volatile(value) }
}
