//! The few ACPI tables the stand needs: MCFG for PCI configuration space, MADT for processors and the I/O APIC, DMAR
//! for the IOMMU.

use alloc::vec::Vec;

use crate::memory;

/// What the tables say.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    /// Physical address of the PCI configuration space and its first and last bus.
    pub ecam: Option<(u64, u8, u8)>,
    /// Local APIC ids of enabled processors.
    pub processors: Vec<u8>,
    /// Physical address and first input of the I/O APIC.
    pub io_apic: Option<(u64, u32)>,
    /// Physical address of the registers of the IOMMU.
    pub iommu: Option<u64>,
}

fn word(address: u64) -> u64 {
    // SAFETY: ACPI tables lie in RAM, which the window maps; they are never written.
    unsafe { memory::window(address).cast::<u64>().read_unaligned() }
}

fn half(address: u64) -> u32 {
    word(address) as u32
}

fn byte(address: u64) -> u8 {
    word(address) as u8
}

/// Reads the tables, from the root pointer the boot loader gave or from the BIOS area.
pub fn read(rsdp: u64) -> Tables {
    let signature = u64::from_le_bytes(*b"RSD PTR ");
    let found = if rsdp != 0 && word(rsdp) == signature {
        Some(rsdp)
    } else {
        (0xE_0000..0x10_0000).step_by(16).find(|at| word(*at) == signature)
    };
    let Some(rsdp) = found else { crate::stop!("no ACPI tables") };
    let (root, entry) = match (byte(rsdp + 15), word(rsdp + 24)) {
        (2.., xsdt) if xsdt != 0 => (xsdt, 8),
        _ => (u64::from(half(rsdp + 16)), 4),
    };
    let mut tables = Tables::default();
    let end = root + u64::from(half(root + 4)).min(4096);
    let mut at = root + 36;
    while at < end {
        let table = if entry == 8 { word(at) } else { u64::from(half(at)) };
        match &half(table).to_le_bytes() {
            b"MCFG" => tables.ecam = Some((word(table + 44), byte(table + 54), byte(table + 55))),
            b"APIC" => madt(table, &mut tables),
            b"DMAR" => tables.iommu = drhd(table),
            _ => {}
        }
        at += entry;
    }
    tables
}

fn madt(table: u64, tables: &mut Tables) {
    let end = table + u64::from(half(table + 4)).min(4096);
    let mut at = table + 44;
    while at + 2 <= end {
        let (kind, length) = (byte(at), byte(at + 1));
        match kind {
            0 if half(at + 4) & 1 != 0 => tables.processors.push(byte(at + 3)),
            1 => tables.io_apic = Some((u64::from(half(at + 4)), half(at + 8))),
            _ => {}
        }
        if length < 2 {
            break;
        }
        at += u64::from(length);
    }
}

/// The first DMA remapping hardware unit definition (VT-d 8.3). QEMU's machine has one unit, for all functions.
fn drhd(table: u64) -> Option<u64> {
    let end = table + u64::from(half(table + 4)).min(4096);
    let mut at = table + 48;
    while at + 16 <= end {
        let (kind, length) = (half(at) as u16, half(at) >> 16);
        if kind == 0 {
            return Some(word(at + 8));
        }
        if length < 4 {
            break;
        }
        at += u64::from(length);
    }
    None
}
