//! The device specific configuration (2.5, 4.1.4.6).

use super::{Bar, Device};
use crate::spec::pci::common;

/// How often a read is repeated because the configuration changed meanwhile.
const GENERATION_TRIES: u32 = 16;

impl<B: Bar> Device<B> {
    /// Length of the configuration structure in bytes; 0 when there is none.
    pub fn config_length(&self) -> u32 {
        self.capabilities.device.map_or(0, |window| window.length)
    }

    /// Reads a field of `N` bytes, in accesses of its width (words of four bytes for longer ones), again while the
    /// device says that the configuration changed. `None` when the field lies outside the structure, or the device
    /// never settles.
    pub fn read_config<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let window = self.capabilities.device?;
        let end = offset.checked_add(N)?;
        if end > window.length as usize {
            return None;
        }
        let bar = self.registers(window)?;
        let first = window.offset + offset as u32;
        for _ in 0..GENERATION_TRIES {
            let before = self.common8(common::CONFIG_GENERATION);
            let value = read_field(bar, first);
            if self.common8(common::CONFIG_GENERATION) == before {
                return Some(value);
            }
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
