//! PCI configuration space that can be written: the command register, and the window into the device's registers
//! (4.1.4.9).

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use super::config_space::{FakeConfigSpace, PCI};
use super::{FakeDevice, Model, Violation};
use virtio::spec::pci::{capability, config_space};
use virtio::transport::{Bar, ConfigSpace, ConfigSpaceMut};

const COMMAND: u16 = config_space::COMMAND;

const BAR: u16 = PCI as u16 + capability::BAR;
const OFFSET: u16 = PCI as u16 + capability::OFFSET;
const LENGTH: u16 = PCI as u16 + capability::STRUCTURE_LENGTH;
const DATA: u16 = PCI as u16 + capability::PCI_DATA;

/// A fake device's configuration space, as a driver writes it. Clones are handles of the same one.
pub struct FakeConfigAccess<M> {
    device: FakeDevice<M>,
    space: Arc<Mutex<FakeConfigSpace>>,
}

impl<M> Clone for FakeConfigAccess<M> {
    fn clone(&self) -> Self {
        Self { device: self.device.clone(), space: Arc::clone(&self.space) }
    }
}

impl<M> fmt::Debug for FakeConfigAccess<M> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("FakeConfigAccess")
    }
}

impl<M: Model> FakeConfigAccess<M> {
    pub(super) fn new(device: &FakeDevice<M>) -> Self {
        Self { device: device.clone(), space: Arc::new(Mutex::new(device.config_space())) }
    }

    fn space(&self) -> MutexGuard<'_, FakeConfigSpace> {
        self.space.lock().expect("no test goes on after a panic in the device")
    }

    fn violation(&self) -> Violation {
        let space = self.space();
        Violation::ConfigAccess {
            bar: space.read8(BAR),
            offset: space.read32(OFFSET),
            length: space.read32(LENGTH),
        }
    }

    /// The registers that the window shows, and where, for an access to `pci_cfg_data` of this width.
    fn window(&self, width: u32) -> Option<(impl Bar, u32)> {
        let (bar, offset, length) = {
            let space = self.space();
            (space.read8(BAR), space.read32(OFFSET), space.read32(LENGTH))
        };
        let allowed = length == width
            && offset.is_multiple_of(width)
            && self.device.structure_contains(bar, offset, length);
        if !allowed {
            self.device.note(self.violation());
        }
        self.device.bar(bar).filter(|_| allowed).map(|registers| (registers, offset))
    }

    fn write(&self, offset: u16, bytes: &[u8]) {
        for (at, byte) in (offset..).zip(bytes) {
            // Nothing else can be written bytewise here.
            if at == BAR || (OFFSET..DATA).contains(&at) {
                self.space().put8(at, *byte);
            }
        }
    }
}

impl<M: Model> ConfigSpace for FakeConfigAccess<M> {
    fn read8(&self, offset: u16) -> u8 {
        if self.device.config_space_is_gone() {
            return u8::MAX;
        }
        if offset == DATA {
            return self.window(1).map_or(u8::MAX, |(bar, at)| bar.read8(at));
        }
        self.space().read8(offset)
    }

    fn read16(&self, offset: u16) -> u16 {
        if self.device.config_space_is_gone() {
            return u16::MAX;
        }
        if offset == COMMAND {
            return self.device.command();
        }
        if offset == DATA {
            return self.window(2).map_or(u16::MAX, |(bar, at)| bar.read16(at));
        }
        self.space().read16(offset)
    }

    fn read32(&self, offset: u16) -> u32 {
        if self.device.config_space_is_gone() {
            return u32::MAX;
        }
        if offset == DATA {
            return self.window(4).map_or(u32::MAX, |(bar, at)| bar.read32(at));
        }
        self.space().read32(offset)
    }
}

impl<M: Model> ConfigSpaceMut for FakeConfigAccess<M> {
    fn write8(&self, offset: u16, value: u8) {
        if offset != DATA {
            self.write(offset, &value.to_le_bytes());
        } else if let Some((bar, at)) = self.window(1) {
            bar.write8(at, value);
        }
    }

    fn write16(&self, offset: u16, value: u16) {
        if offset == COMMAND {
            self.device.write_command(value);
        } else if offset != DATA {
            self.write(offset, &value.to_le_bytes());
        } else if let Some((bar, at)) = self.window(2) {
            bar.write16(at, value);
        }
    }

    fn write32(&self, offset: u16, value: u32) {
        if offset != DATA {
            self.write(offset, &value.to_le_bytes());
        } else if let Some((bar, at)) = self.window(4) {
            bar.write32(at, value);
        }
    }
}
