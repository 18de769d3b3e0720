//! PCI configuration space: where the structures of 4.1.4 lie, and what a driver may write there.

use super::{Device, Lie, MESSAGES, bar};

impl Device {
    pub(super) fn config_space(&mut self) {
        let lie = self.lie();
        let config = &mut self.config;
        config[..8].copy_from_slice(&[0xF4, 0x1A, 0, 0, 0, 0, 0x10, 0]);
        config[2..4].copy_from_slice(&self.kind.device_id().to_le_bytes());
        (config[8], config[0x0B], config[0x34]) = (1, 1, 0x40);
        config[0x2C..0x30].copy_from_slice(&[0xF4, 0x1A, 0x02, 0x11]);
        config[0x3D] = 1;
        // Type, next capability, structure, offset, length.
        let places = [
            (0x40u8, 0x50u8, 1u8, bar::COMMON, 64u32),
            (0x50, 0x60, 3, bar::ISR, 4),
            (0x60, 0x70, 4, bar::DEVICE, 64),
            (0x70, 0x84, 2, bar::NOTIFY, 0x1000),
        ];
        for (at, next, kind, offset, length) in places {
            let at = usize::from(at);
            config[at..at + 5].copy_from_slice(&[9, next, 16, kind, 0]);
            config[at + 8..at + 12].copy_from_slice(&(offset as u32).to_le_bytes());
            config[at + 12..at + 16].copy_from_slice(&length.to_le_bytes());
        }
        // The notification structure's capability is 4 bytes longer: the multiplier.
        config[0x72] = 20;
        config[0x80..0x84].copy_from_slice(&4u32.to_le_bytes());
        // MSI-X: messages less one, table in register 0.
        config[0x84..0x86].copy_from_slice(&[0x11, 0]);
        config[0x86..0x88].copy_from_slice(&(MESSAGES - 1).to_le_bytes());
        config[0x88..0x8C].copy_from_slice(&(bar::TABLE as u32).to_le_bytes());
        config[0x8C..0x90].copy_from_slice(&(bar::TABLE as u32 + 0x1000).to_le_bytes());
        match lie {
            // The capability of message interrupts is the last one.
            Lie::LineOnly | Lie::IsrLies | Lie::IsrOnes => config[0x71] = 0,
            Lie::CapabilityLoop => config[0x71] = 0x50,
            Lie::CapabilityNoBar => config[0x44] = 3,
            Lie::CapabilityReservedBar => config[0x44] = 7,
            // Common configuration, of which the last bytes would lie behind the end.
            Lie::CapabilityAtTheEnd => {
                (config[0x34], config[0xFC], config[0xFD]) = (0xFC, 9, 0x50);
                (config[0xFE], config[0xFF]) = (16, 1);
            }
            Lie::CommonShort => config[0x4C] = 16,
            Lie::ConfigShort => config[0x6C] = 4,
            Lie::CapabilityOutside => config[0x48..0x4C].copy_from_slice(&0x7FFF_F000u32.to_le_bytes()),
            Lie::NoCommonCapability => config[0x43] = 7,
            Lie::NotifyMultiplierHuge => config[0x80..0x84].copy_from_slice(&0x8000_0000u32.to_le_bytes()),
            _ => {}
        }
    }

    /// Reads 32 bits of configuration space.
    pub fn config_read(&self, offset: u16) -> u32 {
        if self.gone() {
            return !0;
        }
        let at = usize::from(offset & 0xFC);
        let byte = |index: usize| self.config.get(at + index).copied().unwrap_or(0);
        if offset > 0xFF { 0 } else { u32::from_le_bytes([byte(0), byte(1), byte(2), byte(3)]) }
    }

    /// Writes bytes of configuration space: command, base address register 0, MSI-X control.
    pub fn config_write(&mut self, offset: u16, bytes: &[u8]) {
        for (index, byte) in bytes.iter().enumerate() {
            let at = usize::from(offset) + index;
            if matches!(at, 4..6 | 0x10..0x14 | 0x86..0x88) {
                self.config[at] = *byte;
            }
        }
    }

    /// Bus Master Enable in the command register: without it no memory is reached, and no message sent, as that is a
    /// write to memory (PCI Local Bus Specification 3.0, 6.2.2). No lie is told about this: it is not the part of a device
    /// that virtio is about.
    pub(super) fn is_bus_master(&self) -> bool {
        self.config[4] & 4 != 0
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::super::driver::{USED, request, running};
    use super::super::{Kind, Lie, get16};

    #[test]
    fn without_bus_master_no_memory_is_reached_and_no_message_sent() {
        let (mut device, mut memory) = running(Kind::Blk, Lie::None);
        device.config_write(4, &[2, 0]);
        let mut before = Vec::new();
        let mut messages = request(&mut device, &mut memory, false, 9, 0);
        before.clone_from(&memory);

        messages.extend(device.tick(&mut memory));
        assert_eq!((messages, &memory), (vec![], &before));

        device.config_write(4, &[6, 0]);
        messages = device.tick(&mut memory);
        assert_eq!((messages.len(), get16(&mut memory, USED + 2)), (1, 1));
    }
}
