//! PCI configuration space: ids, base address registers, and the capability list (4.1.2, 4.1.4).

use virtio::spec::PCI_VENDOR_ID;
use virtio::spec::pci::{CapabilityType, config_space};
use virtio::transport::ConfigSpace;

use super::registers::{self, Windows};

/// A copy of a fake device's configuration space.
#[derive(Clone, Debug)]
pub struct FakeConfigSpace(Vec<u8>);

/// What is in the configuration space, as far as it differs between devices.
pub(super) struct Contents {
    pub(super) device_type: u16,
    pub(super) class: u32,
    pub(super) vectors: u16,
    pub(super) msix_enabled: bool,
    pub(super) legacy: bool,
    pub(super) windows: Windows,
    pub(super) notify_multiplier: u32,
    pub(super) capability_loop: bool,
    pub(super) command: u16,
}

/// Where the capabilities lie, in the order of the list. QEMU's order, which is no order.
const MSIX: u8 = 0x98;
pub(super) const PCI: u8 = 0x84;
const NOTIFY: u8 = 0x70;
const DEVICE: u8 = 0x60;
const ISR: u8 = 0x50;
const COMMON: u8 = 0x40;

impl FakeConfigSpace {
    pub(super) fn new(contents: &Contents) -> Self {
        let mut space = Self(vec![0; 256]);
        space.put16(0x00, PCI_VENDOR_ID);
        space.put16(usize::from(config_space::COMMAND), contents.command);
        if contents.legacy {
            return space.legacy(contents);
        }
        space.put16(0x02, 0x1040 + contents.device_type);
        space.put16(usize::from(config_space::STATUS), config_space::STATUS_CAPABILITY_LIST);
        // Revision 1: not transitional (4.1.2.1).
        space.put32(0x08, contents.class | 1);
        space.put16(0x2c, PCI_VENDOR_ID);
        space.put16(0x2e, 0x1100);
        // Base address register 1 for MSI-X, 4 and 5 (64 bits, prefetchable) for the structures.
        space.put32(0x14, 0xfebd_0000);
        space.put32(0x20, 0x0000_000c);
        space.put32(0x24, 0x0000_0080);

        let windows = &contents.windows;
        if windows.notify_bar == registers::NOTIFY_IO_BAR {
            space.put32(0x18, 0xc041);
        }
        let first = if contents.vectors > 0 { MSIX } else { PCI };
        space.0[usize::from(config_space::CAPABILITIES_POINTER)] = first;
        if contents.vectors > 0 {
            space.msix(contents, PCI);
        }
        space.capability(PCI, NOTIFY, CapabilityType::PCI, 20, (0, 0));
        space.capability(NOTIFY, DEVICE, CapabilityType::NOTIFY, 20, windows.notify);
        space.0[usize::from(NOTIFY + 4)] = windows.notify_bar;
        space.put32(usize::from(NOTIFY) + 16, contents.notify_multiplier);
        space.capability(DEVICE, ISR, CapabilityType::DEVICE, 16, windows.device);
        space.capability(ISR, COMMON, CapabilityType::ISR, 16, windows.isr);
        let after_last = if contents.capability_loop { first } else { 0 };
        space.capability(COMMON, after_last, CapabilityType::COMMON, 16, windows.common);
        space
    }

    /// The configuration space of a legacy device: no virtio capabilities, and registers in I/O space (4.1.2.3).
    fn legacy(mut self, contents: &Contents) -> Self {
        let device_id = match contents.device_type {
            1 => 0x1000,
            2 => 0x1001,
            8 => 0x1004,
            other => panic!("device type {other} has no transitional id here"),
        };
        self.put16(0x02, device_id);
        self.put32(0x08, contents.class);
        self.put16(0x2c, PCI_VENDOR_ID);
        self.put16(0x2e, contents.device_type);
        self.put32(0x10, 0xc001);
        self.put32(0x14, 0xfebd_0000);
        if contents.vectors > 0 {
            self.put16(usize::from(config_space::STATUS), config_space::STATUS_CAPABILITY_LIST);
            self.0[usize::from(config_space::CAPABILITIES_POINTER)] = MSIX;
            self.msix(contents, 0);
        }
        self
    }

    fn msix(&mut self, contents: &Contents, next: u8) {
        let enable = if contents.msix_enabled { config_space::MSIX_ENABLE } else { 0 };
        let at = usize::from(MSIX);
        self.0[at] = config_space::MSIX;
        self.0[at + 1] = next;
        self.put16(at + 2, enable | (contents.vectors - 1));
        self.put32(at + 4, 1);
        self.put32(at + 8, 0x800 | 1);
    }

    /// Entries of the MSI-X table; 0 without MSI-X.
    pub fn msix_vectors(&self) -> u16 {
        match self.read8(config_space::CAPABILITIES_POINTER) {
            MSIX => (self.read16(u16::from(MSIX) + 2) & 0x7ff) + 1,
            _ => 0,
        }
    }

    fn capability(&mut self, at: u8, next: u8, kind: CapabilityType, bytes: u8, window: (u32, u32)) {
        let at = usize::from(at);
        let head = [config_space::VENDOR_SPECIFIC, next, bytes, kind.0, registers::BAR];
        self.0[at..at + head.len()].copy_from_slice(&head);
        self.put32(at + 8, window.0);
        self.put32(at + 12, window.1);
    }

    pub(super) fn put8(&mut self, at: u16, value: u8) {
        if let Some(byte) = self.0.get_mut(usize::from(at)) {
            *byte = value;
        }
    }

    fn put16(&mut self, at: usize, value: u16) {
        self.0[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }

    fn put32(&mut self, at: usize, value: u32) {
        self.0[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
}

impl ConfigSpace for FakeConfigSpace {
    fn read8(&self, offset: u16) -> u8 {
        self.0.get(usize::from(offset)).copied().unwrap_or(u8::MAX)
    }

    fn read16(&self, offset: u16) -> u16 {
        u16::from_le_bytes([self.read8(offset), self.read8(offset + 1)])
    }

    fn read32(&self, offset: u16) -> u32 {
        u32::from(self.read16(offset)) | u32::from(self.read16(offset + 2)) << 16
    }
}
