//! PCI: configuration space, address assignment, MSI-X, and what virtio says in its registers.

pub mod bars;
pub mod iommu;
pub mod msix;
pub mod virtio;

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::cpu::smp;
use crate::memory;
use crate::model;

/// Command register bits.
pub mod command {
    /// I/O decoding.
    pub const IO: u16 = 1;
    /// Memory decoding.
    pub const MEMORY: u16 = 2;
    /// Bus master.
    pub const MASTER: u16 = 4;
    /// INTx off.
    pub const NO_LINE: u16 = 1 << 10;
}

static ECAM: AtomicU64 = AtomicU64::new(0);
/// Configuration space of a function that is gone.
static REMOVED: AtomicU64 = AtomicU64::new(0);

/// From now on the function's configuration space reads as all ones, as where there is nothing.
pub fn remove(function: Function) {
    REMOVED.store(function.base(), Ordering::Release);
}

/// A PCI function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// Bus number.
    pub bus: u8,
    /// Device number.
    pub device: u8,
    /// Function number.
    pub function: u8,
}

impl core::fmt::Display for Function {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:02x}:{:02x}.{}", self.bus, self.device, self.function)
    }
}

impl Function {
    fn is_removed(self) -> bool {
        REMOVED.load(Ordering::Acquire) == self.base()
    }

    fn base(self) -> u64 {
        let offset =
            u64::from(self.bus) << 20 | u64::from(self.device) << 15 | u64::from(self.function) << 12;
        ECAM.load(Ordering::Relaxed) + offset
    }

    /// Reads a byte of configuration space.
    pub fn read_u8(self, offset: u16) -> u8 {
        (self.read_u32(offset & !3) >> (8 * (offset & 3))) as u8
    }

    /// Reads 16 bits of configuration space.
    pub fn read_u16(self, offset: u16) -> u16 {
        (self.read_u32(offset & !3) >> (8 * (offset & 2))) as u16
    }

    /// Reads 32 bits of configuration space.
    pub fn read_u32(self, offset: u16) -> u32 {
        if self.is_removed() {
            return !0;
        }
        if model::is(self) {
            return model::config_read(offset);
        }
        // SAFETY: the configuration space is mapped for all buses `start` was given; the offset is below 4096.
        unsafe { ((self.base() + u64::from(offset & 0xFFC)) as *const u32).read_volatile() }
    }

    /// Writes a byte of configuration space.
    pub fn write_u8(self, offset: u16, value: u8) {
        if self.is_removed() {
            return;
        }
        if model::is(self) {
            return model::config_write(offset, &[value]);
        }
        // SAFETY: as in `read_u32`.
        unsafe { ((self.base() + u64::from(offset & 0xFFF)) as *mut u8).write_volatile(value) }
    }

    /// Writes 16 bits of configuration space.
    pub fn write_u16(self, offset: u16, value: u16) {
        if self.is_removed() {
            return;
        }
        if model::is(self) {
            return model::config_write(offset, &value.to_le_bytes());
        }
        // SAFETY: as in `read_u32`.
        unsafe { ((self.base() + u64::from(offset & 0xFFE)) as *mut u16).write_volatile(value) }
    }

    /// Writes 32 bits of configuration space.
    pub fn write_u32(self, offset: u16, value: u32) {
        if self.is_removed() {
            return;
        }
        if model::is(self) {
            return model::config_write(offset, &value.to_le_bytes());
        }
        // SAFETY: as in `read_u32`.
        unsafe { ((self.base() + u64::from(offset & 0xFFC)) as *mut u32).write_volatile(value) }
    }

    /// Vendor and device id.
    pub fn id(self) -> (u16, u16) {
        let id = self.read_u32(0);
        (id as u16, (id >> 16) as u16)
    }

    /// Sets and clears bits of the command register.
    pub fn set_command(self, set: u16, clear: u16) {
        let old = self.read_u16(4);
        let new = old & !clear | set;
        if (old ^ new) & (command::IO | command::MEMORY) == 0 {
            self.write_u16(4, new);
        } else {
            // Addresses come or go.
            smp::alone(|| self.write_u16(4, new));
        }
    }

    /// Offsets and ids of the capability list, bounded.
    pub fn capabilities(self) -> Vec<(u8, u16)> {
        let mut found = Vec::new();
        if self.read_u16(6) & 0x10 == 0 {
            return found;
        }
        let mut at = u16::from(self.read_u8(0x34) & !3);
        while at >= 0x40 && found.len() < 48 {
            found.push((self.read_u8(at), at));
            at = u16::from(self.read_u8(at + 1) & !3);
        }
        found
    }
}

/// Maps configuration space and lists the functions.
pub fn start(ecam: u64, first: u8, last: u8) -> Vec<Function> {
    // Buses beyond what firmware numbered hold nothing; the first 16 are more than any configuration here has.
    let last = last.min(first.saturating_add(15));
    let size = (u64::from(last - first) + 1) << 20;
    let base = memory::map_device(ecam, size);
    ECAM.store(base - (u64::from(first) << 20), Ordering::Relaxed);
    let mut found = Vec::new();
    for bus in first..=last {
        for device in 0..32 {
            for function in 0..8 {
                let function = Function { bus, device, function };
                if function.id().0 == 0xFFFF {
                    if function.function == 0 {
                        break;
                    }
                    continue;
                }
                found.push(function);
                if function.function == 0 && function.read_u8(0x0E) & 0x80 == 0 {
                    break;
                }
            }
        }
    }
    found
}
