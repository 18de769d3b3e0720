//! The device's registers through PCI configuration space (4.1.4.9): slow, but there when nothing can be mapped.

use core::cell::Cell;
use core::marker::PhantomData;

use super::{Bar, Capabilities, ConfigSpaceMut, Device, TransportError};
use crate::spec::pci::capability;

/// A base address register behind the capability for PCI configuration access.
///
/// One access is four of configuration space, which have to stay together: a window is for one thread at a time (it is
/// not `Sync`), and nothing else may use the capability meanwhile, a second window on the same device included, other
/// than from the same thread.
///
/// On Windows, configuration space is read and written at `PASSIVE_LEVEL` only (StorPort's bus data routines): enough
/// to look at a device while the adapter is being found, not to notify it.
#[derive(Debug)]
pub struct ConfigWindow<C> {
    config: C,
    /// Where the capability lies
    at: u16,
    bar: u8,
    length: u64,
    _one_thread_at_a_time: PhantomData<Cell<()>>,
}

impl<C: ConfigSpaceMut> ConfigWindow<C> {
    /// A window on this base address register; `None` without the capability, or when none of virtio's structures lie in
    /// it, for only they may be accessed so.
    pub fn new(config: C, capabilities: &Capabilities, bar: u8) -> Option<Self> {
        let at = capabilities.config_access?;
        let end = |window: super::Window| u64::from(window.offset) + u64::from(window.length);
        let length = capabilities
            .windows()
            .filter(|(_, window)| window.bar == bar)
            .map(|(_, window)| end(window))
            .max()?;
        Some(Self { config, at, bar, length, _one_thread_at_a_time: PhantomData })
    }

    /// Moves the window, and says where in configuration space its bytes are.
    fn aim(&self, offset: u32, width: u32) -> u16 {
        self.config.write8(self.at + capability::BAR, self.bar);
        self.config.write32(self.at + capability::OFFSET, offset);
        self.config.write32(self.at + capability::STRUCTURE_LENGTH, width);
        self.at + capability::PCI_DATA
    }
}

impl<C: ConfigSpaceMut> Bar for ConfigWindow<C> {
    /// Up to the end of the last structure: how long the base address register is cannot be asked without disturbing
    /// the device.
    fn length(&self) -> u64 {
        self.length
    }

    fn read8(&self, offset: u32) -> u8 {
        self.config.read8(self.aim(offset, 1))
    }

    fn read16(&self, offset: u32) -> u16 {
        self.config.read16(self.aim(offset, 2))
    }

    fn read32(&self, offset: u32) -> u32 {
        self.config.read32(self.aim(offset, 4))
    }

    fn write8(&self, offset: u32, value: u8) {
        self.config.write8(self.aim(offset, 1), value);
    }

    fn write16(&self, offset: u32, value: u16) {
        self.config.write16(self.aim(offset, 2), value);
    }

    fn write32(&self, offset: u32, value: u32) {
        self.config.write32(self.aim(offset, 4), value);
    }
}

/// A base address register that is mapped, or one that could not be.
#[derive(Debug)]
pub enum EitherBar<B, W> {
    /// Its registers are mapped.
    Mapped(B),
    /// They are reached in another way.
    Window(W),
}

macro_rules! either {
    ($bar:expr, $inner:ident => $call:expr) => {
        match $bar {
            EitherBar::Mapped($inner) => $call,
            EitherBar::Window($inner) => $call,
        }
    };
}

impl<B: Bar, W: Bar> Bar for EitherBar<B, W> {
    fn length(&self) -> u64 {
        either!(self, bar => bar.length())
    }

    fn read8(&self, offset: u32) -> u8 {
        either!(self, bar => bar.read8(offset))
    }

    fn read16(&self, offset: u32) -> u16 {
        either!(self, bar => bar.read16(offset))
    }

    fn read32(&self, offset: u32) -> u32 {
        either!(self, bar => bar.read32(offset))
    }

    fn write8(&self, offset: u32, value: u8) {
        either!(self, bar => bar.write8(offset, value));
    }

    fn write16(&self, offset: u32, value: u16) {
        either!(self, bar => bar.write16(offset, value));
    }

    fn write32(&self, offset: u32, value: u32) {
        either!(self, bar => bar.write32(offset, value));
    }
}

impl<B: Bar, C: ConfigSpaceMut + Clone> Device<EitherBar<B, ConfigWindow<C>>> {
    /// As [`open`](Self::open), but a base address register that cannot be mapped is reached through configuration space,
    /// where the device has a capability for that; see [`ConfigWindow`] for what that costs.
    ///
    /// # Errors
    /// As for `open`; a device without the capability, or a legacy one, whose registers cannot be mapped.
    pub fn open_with_config_window(
        config: &C,
        mut map: impl FnMut(u8) -> Option<B>,
    ) -> Result<Self, TransportError> {
        // When they cannot be found, `open` says why.
        let capabilities = Capabilities::find(config).ok();
        Self::open(config, |bar| {
            map(bar).map(EitherBar::Mapped).or_else(|| {
                ConfigWindow::new(config.clone(), capabilities.as_ref()?, bar).map(EitherBar::Window)
            })
        })
    }
}
