//! A virtio device on PCI: found by its capabilities, started in the order of 3.1.1.
//!
//! ```text
//!   Device::open ── reset ──► Acknowledged ── negotiate ──► FeaturesOk ── driver_ok ──► running
//!   registers located          offered features              queues, vectors            notify, status, isr, config
//! ```
//!
//! The steps are types, so none can be skipped. The same device can be reset and started again at any time.

mod capability;
mod config;
mod notify;
mod start;

pub use capability::{Capabilities, Window};
pub use notify::Doorbell;
pub use start::{Acknowledged, FeaturesOk};

use crate::spec::DeviceStatus;
use crate::spec::pci::{CapabilityType, common};

/// PCI configuration space of one function. Bytes that are not there read all-ones.
pub trait ConfigSpace {
    /// Reads a byte.
    fn read8(&self, offset: u16) -> u8;
    /// Reads a little-endian 16-bit word.
    fn read16(&self, offset: u16) -> u16;
    /// Reads a little-endian 32-bit word.
    fn read32(&self, offset: u16) -> u32;
}

/// The registers behind one base address register, in memory or I/O space.
pub trait Bar {
    /// Length in bytes.
    fn length(&self) -> u64;
    /// Reads an 8-bit register.
    fn read8(&self, offset: u32) -> u8;
    /// Reads a 16-bit register.
    fn read16(&self, offset: u32) -> u16;
    /// Reads a 32-bit register.
    fn read32(&self, offset: u32) -> u32;
    /// Writes an 8-bit register.
    fn write8(&self, offset: u32, value: u8);
    /// Writes a 16-bit register.
    fn write16(&self, offset: u32, value: u16);
    /// Writes a 32-bit register.
    fn write32(&self, offset: u32, value: u32);
}

/// Base address registers of a PCI function.
pub(crate) const BARS: usize = 6;

/// Why a device could not be opened or started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransportError {
    /// The function has no capability list.
    NoCapabilityList,
    /// No capability describes this structure, which every device of version 1 has.
    MissingCapability(CapabilityType),
    /// A structure does not lie wholly inside its base address register, or is too short for what it holds.
    OutsideBar {
        /// What the capability describes
        kind: CapabilityType,
        /// Base address register
        bar: u8,
    },
    /// The base address register is not there or could not be mapped.
    NotMapped {
        /// Base address register
        bar: u8,
    },
    /// Registers read all-ones: the device is gone.
    Removed,
    /// The device did not become zero in its status register after a reset.
    ResetTimedOut {
        /// What it read instead
        status: u8,
    },
    /// The device does not offer VIRTIO_F_VERSION_1.
    NoVersion1,
    /// The device did not accept the features, or no longer offers those it did.
    FeaturesRefused,
    /// There is no such queue, or it has no entries.
    NoQueue {
        /// Its number
        queue: u16,
    },
    /// The device did not take the MSI-X vector.
    VectorRefused {
        /// The vector
        vector: u16,
    },
    /// The queue's notification address lies outside the notification structure.
    NotifyOutsideBar {
        /// The queue
        queue: u16,
    },
}

impl TransportError {
    /// A number for the event log that does not change between versions: the error, and what it is about in the
    /// lower bytes.
    pub const fn code(&self) -> u32 {
        match *self {
            Self::NoCapabilityList => 0x01_0000,
            Self::MissingCapability(kind) => 0x02_0000 | kind.0 as u32,
            Self::OutsideBar { kind, bar } => 0x03_0000 | (kind.0 as u32) << 8 | bar as u32,
            Self::NotMapped { bar } => 0x04_0000 | bar as u32,
            Self::Removed => 0x05_0000,
            Self::ResetTimedOut { status } => 0x06_0000 | status as u32,
            Self::NoVersion1 => 0x07_0000,
            Self::FeaturesRefused => 0x08_0000,
            Self::NoQueue { queue } => 0x09_0000 | queue as u32,
            Self::VectorRefused { vector } => 0x0a_0000 | vector as u32,
            Self::NotifyOutsideBar { queue } => 0x0b_0000 | queue as u32,
        }
    }
}

/// Interrupt status register (4.1.4.5): a bit mask, and reading it acknowledges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IsrStatus(u8);

impl IsrStatus {
    /// Used buffers are waiting.
    pub const fn queue(self) -> bool {
        self.0 & 1 != 0
    }

    /// The configuration or the device status changed.
    pub const fn configuration(self) -> bool {
        self.0 & 2 != 0
    }
}

/// An opened device: its structures are located and its registers mapped.
#[derive(Debug)]
pub struct Device<B> {
    bars: [Option<B>; BARS],
    capabilities: Capabilities,
}

impl<B: Bar> Device<B> {
    /// Finds the device's structures and maps the registers they lie in, each base address register once.
    ///
    /// # Errors
    /// A structure is missing, or lies where there are no registers.
    pub fn open(
        config: &impl ConfigSpace,
        mut map: impl FnMut(u8) -> Option<B>,
    ) -> Result<Self, TransportError> {
        let capabilities = Capabilities::find(config)?;
        let mut bars = [const { None }; BARS];
        for (kind, window) in capabilities.windows() {
            let Some(slot) = bars.get_mut(usize::from(window.bar)) else {
                return Err(TransportError::NotMapped { bar: window.bar });
            };
            if slot.is_none() {
                *slot = map(window.bar);
            }
            let Some(bar) = slot else {
                return Err(TransportError::NotMapped { bar: window.bar });
            };
            if u64::from(window.offset) + u64::from(window.length) > bar.length() {
                return Err(TransportError::OutsideBar { kind, bar: window.bar });
            }
        }
        Ok(Self { bars, capabilities })
    }

    /// The device status register.
    pub fn status(&self) -> DeviceStatus {
        DeviceStatus::from_bits_retain(self.common8(common::DEVICE_STATUS))
    }

    /// Reads and thereby acknowledges the interrupt status; only needed without MSI-X.
    pub fn isr_status(&self) -> IsrStatus {
        let isr = self.capabilities.isr;
        let value = self.registers(isr).map_or(0, |bar| bar.read8(isr.offset));
        // All-ones is a device that is gone, not one that interrupts.
        IsrStatus(if value == u8::MAX { 0 } else { value })
    }

    /// Tells the device that the driver gave up on it.
    pub fn fail(&self) {
        let status = self.status();
        if !status.is_removed() {
            self.set_common8(common::DEVICE_STATUS, (status | DeviceStatus::FAILED).bits());
        }
    }

    fn registers(&self, window: Window) -> Option<&B> {
        self.bars.get(usize::from(window.bar))?.as_ref()
    }
}

/// Registers of the common configuration structure. `open` has checked that they are there.
macro_rules! common {
    ($read:ident, $write:ident, $type:ty, $bar_read:ident, $bar_write:ident) => {
        impl<B: Bar> Device<B> {
            pub(crate) fn $read(&self, register: u32) -> $type {
                let window = self.capabilities.common;
                self.registers(window).map_or(<$type>::MAX, |bar| bar.$bar_read(window.offset + register))
            }

            pub(crate) fn $write(&self, register: u32, value: $type) {
                let window = self.capabilities.common;
                if let Some(bar) = self.registers(window) {
                    bar.$bar_write(window.offset + register, value);
                }
            }
        }
    };
}

common!(common8, set_common8, u8, read8, write8);
common!(common16, set_common16, u16, read16, write16);
common!(common32, set_common32, u32, read32, write32);
