//! MSI-X: the table that turns a device's messages into vectors, and which processors serve them.

use core::sync::atomic::{AtomicBool, Ordering};

use super::Function;
use super::bars::Bar;
use crate::cpu::{apic, smp};
use crate::memory;

const CAPABILITY: u8 = 0x11;
const ENABLE: u16 = 1 << 15;
const MASK_ALL: u16 = 1 << 14;

/// All messages are served by the first processor, and DPCs stay there.
static ON_FIRST: AtomicBool = AtomicBool::new(false);

/// Has the first processor serve all messages, before they are connected.
pub fn gather() {
    ON_FIRST.store(true, Ordering::Relaxed);
}

/// Whether it does.
pub fn is_gathered() -> bool {
    ON_FIRST.load(Ordering::Relaxed)
}

/// Processor that serves a message: they are spread over all of them, as the INF's IrqPolicySpreadMessagesAcrossAllProcessors
/// asks for (interrupt-affinity-and-priority.md).
pub fn processor_of(message: u16) -> u32 {
    if is_gathered() { 0 } else { u32::from(message) % smp::count() }
}

/// An adapter's message table.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    function: Function,
    capability: u16,
    table: u64,
    /// Entries in the table.
    pub size: u16,
}

/// Finds and maps the table of a function.
pub fn find(function: Function, bars: &[Bar]) -> Option<Table> {
    let (_, capability) = function.capabilities().into_iter().find(|(id, _)| *id == CAPABILITY)?;
    let size = (function.read_u16(capability + 2) & 0x7FF) + 1;
    let place = function.read_u32(capability + 4);
    let bar = bars.iter().find(|bar| u32::from(bar.index) == place & 7 && bar.memory)?;
    let offset = u64::from(place & !7);
    if offset + u64::from(size) * 16 > bar.size {
        return None;
    }
    let table = memory::map_device(bar.address + offset, u64::from(size) * 16);
    Some(Table { function, capability, table, size })
}

impl Table {
    fn write(self, entry: u16, word: u64, value: u32) {
        // SAFETY: `find` mapped the whole table; entries are below its size.
        unsafe { ((self.table + u64::from(entry) * 16 + word * 4) as *mut u32).write_volatile(value) }
    }

    /// Turns MSI-X on with every entry masked, as the PCI bus driver does before the adapter is started.
    pub fn enable(self) {
        let control = self.function.read_u16(self.capability + 2);
        self.function.write_u16(self.capability + 2, control | ENABLE | MASK_ALL);
        for entry in 0..self.size {
            self.write(entry, 3, 1);
        }
        self.function.write_u16(self.capability + 2, (control | ENABLE) & !MASK_ALL);
    }

    /// Turns MSI-X off, for a line interrupt.
    pub fn disable(self) {
        let control = self.function.read_u16(self.capability + 2);
        self.function.write_u16(self.capability + 2, control & !ENABLE);
    }

    /// Connects an entry to a vector of a processor.
    pub fn connect(self, entry: u16, vector: u8, processor: u32) {
        let (address, data) = apic::message(vector, smp::apic_id(processor));
        self.write(entry, 0, address as u32);
        self.write(entry, 1, (address >> 32) as u32);
        self.write(entry, 2, data);
        self.write(entry, 3, 0);
    }
}
