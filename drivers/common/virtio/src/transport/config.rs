//! The device specific configuration (2.5, 4.1.4.6, 4.1.4.10).

use super::legacy::Legacy;
use super::modern::Modern;
use super::{Bar, Device, Interface, interface};
use crate::spec::pci::common;

/// How often a read is repeated because the configuration changed meanwhile.
const GENERATION_TRIES: u32 = 16;

impl<B: Bar> Device<B> {
    /// Length of the configuration structure in bytes; 0 when there is none. A legacy device does not tell: then these
    /// are the bytes up to the end of its registers, and what lies behind the structure reads as anything.
    pub fn config_length(&self) -> u32 {
        interface!(self, interface => interface.config_length())
    }

    /// Reads a field of `N` bytes, in accesses of its width (words of four bytes for longer ones), again while the
    /// device says that the configuration changed, or on a legacy device while it reads otherwise than before. `None`
    /// when the field lies outside the structure or not at a multiple of its width (4.1.3.1), or the device never
    /// settles.
    pub fn read_config<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let width = match N {
            2 => 2,
            4 | 8 => 4,
            _ => 1,
        };
        let end = offset.checked_add(N)?;
        if end > self.config_length() as usize || !offset.is_multiple_of(width) {
            return None;
        }
        interface!(self, interface => interface.read_config(offset as u32))
    }
}

impl<B: Bar> Device<B> {
    /// Writes one byte of the configuration (2.5: few fields may be written). `false`: it lies outside the structure.
    pub fn write_config8(&self, offset: usize, value: u8) -> bool {
        let Ok(offset) = u32::try_from(offset) else {
            return false;
        };
        let inside = offset < self.config_length();
        inside && interface!(self, interface => interface.write_config8(offset, value))
    }
}

impl<B: Bar> Modern<B> {
    fn write_config8(&self, offset: u32, value: u8) -> bool {
        let Some(window) = self.capabilities.device else {
            return false;
        };
        let Some(bar) = self.registers(window) else {
            return false;
        };
        bar.write8(window.offset + offset, value);
        true
    }

    fn config_length(&self) -> u32 {
        self.capabilities.device.map_or(0, |window| window.length)
    }

    fn read_config<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        let window = self.capabilities.device?;
        let bar = self.registers(window)?;
        for _ in 0..GENERATION_TRIES {
            let before = self.common8(common::CONFIG_GENERATION);
            let value = read_field(bar, window.offset + offset);
            if self.common8(common::CONFIG_GENERATION) == before {
                return Some(value);
            }
        }
        None
    }
}

impl<B: Bar> Legacy<B> {
    fn write_config8(&self, offset: u32, value: u8) -> bool {
        self.bar.write8(self.config_window().0 + offset, value);
        true
    }

    fn config_length(&self) -> u32 {
        self.config_window().1
    }

    /// Without a generation, a field is believed when it reads the same twice (2.5.4).
    fn read_config<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        let first = self.config_window().0 + offset;
        let mut before = read_field(&self.bar, first);
        for _ in 0..GENERATION_TRIES {
            let value = read_field(&self.bar, first);
            if value == before {
                return Some(value);
            }
            before = value;
        }
        None
    }
}

fn read_field<const N: usize>(bar: &impl Bar, first: u32) -> [u8; N] {
    let mut value = [0; N];
    match N {
        2 => value.copy_from_slice(&bar.read16(first).to_le_bytes()),
        4 | 8 => {
            for (word, at) in value.as_chunks_mut::<4>().0.iter_mut().zip((first..).step_by(4)) {
                *word = bar.read32(at).to_le_bytes();
            }
        }
        _ => {
            for (byte, at) in value.iter_mut().zip(first..) {
                *byte = bar.read8(at);
            }
        }
    }
    value
}
