//! Bus Master Enable, in the command register of PCI configuration space: without it the function issues no memory
//! request, so it neither reads nor writes memory and sends no message, whatever its virtio side is doing (PCI Local Bus
//! Specification 3.0, 6.2.2; PCI Express Base Specification, 7.5.1.1.3).

use super::{ConfigSpace, ConfigSpaceMut};
use crate::spec::pci::config_space::{
    BASE_ADDRESSES, COMMAND, COMMAND_BUS_MASTER, REVISION, SUBSYSTEM, VENDOR_ID,
};

/// What tells a function from all others of the machine: its ids, and the addresses of its registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FunctionIdentity([u32; Self::WORDS.len()]);

impl FunctionIdentity {
    const WORDS: [u16; 9] = {
        let [bar, step] = [BASE_ADDRESSES, 4];
        [
            VENDOR_ID,
            REVISION,
            SUBSYSTEM,
            bar,
            bar + step,
            bar + 2 * step,
            bar + 3 * step,
            bar + 4 * step,
            bar + 5 * step,
        ]
    };

    /// The function that has this configuration space.
    pub fn of(config: &impl ConfigSpace) -> Self {
        Self(Self::WORDS.map(|offset| config.read32(offset)))
    }
}

/// Why Bus Master Enable is not known to be what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BusMasterError {
    /// Configuration space reads all-ones: there is nothing at that place.
    Removed,
    /// Another function is at that place, or there is no way to get there.
    Elsewhere,
    /// The bit does not read as it was written.
    Stuck,
}

/// Whether the function is a bus master, by a copy of its configuration space.
pub fn is_bus_master(config: &impl ConfigSpace) -> bool {
    config.read16(COMMAND) & COMMAND_BUS_MASTER != 0
}

/// Sets or clears Bus Master Enable, and reads it back. Once it reads clear, everything that the function wrote before
/// has arrived in memory, because a read's completion does not pass them on their way up (PCI Express Base Specification,
/// 2.4.1), and nothing comes after it.
///
/// # Errors
/// The bit is not known to have changed. A place that is another function's is not written to.
pub fn set_bus_master(
    config: &impl ConfigSpaceMut,
    identity: &FunctionIdentity,
    enabled: bool,
) -> Result<(), BusMasterError> {
    let found = FunctionIdentity::of(config);
    if found.0.iter().all(|word| *word == u32::MAX) {
        return Err(BusMasterError::Removed);
    }
    if found != *identity {
        return Err(BusMasterError::Elsewhere);
    }
    let others = config.read16(COMMAND) & !COMMAND_BUS_MASTER;
    config.write16(COMMAND, if enabled { others | COMMAND_BUS_MASTER } else { others });
    match config.read16(COMMAND) {
        u16::MAX => Err(BusMasterError::Removed),
        _ if is_bus_master(config) != enabled => Err(BusMasterError::Stuck),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use core::cell::Cell;

    use super::*;

    /// A function with a command register, and ids and addresses that all read the same.
    struct Registers {
        words: u32,
        command: Cell<u16>,
        stuck: u16,
        writes: Cell<u32>,
    }

    fn registers(command: u16) -> Registers {
        Registers { words: 0x1042_1af4, command: Cell::new(command), stuck: 0, writes: Cell::new(0) }
    }

    impl ConfigSpace for Registers {
        fn read8(&self, _offset: u16) -> u8 {
            unreachable!("nothing here has eight bits")
        }

        fn read16(&self, offset: u16) -> u16 {
            assert_eq!(offset, COMMAND);
            self.command.get()
        }

        fn read32(&self, _offset: u16) -> u32 {
            self.words
        }
    }

    impl ConfigSpaceMut for Registers {
        fn write8(&self, _offset: u16, _value: u8) {
            unreachable!("nothing here has eight bits")
        }

        fn write16(&self, offset: u16, value: u16) {
            assert_eq!(offset, COMMAND);
            self.writes.set(self.writes.get() + 1);
            self.command.set(value | self.stuck);
        }

        fn write32(&self, _offset: u16, _value: u32) {
            unreachable!("nothing but the command register is written")
        }
    }

    #[test]
    fn the_other_bits_of_the_command_register_stay() {
        let config = registers(0x0547);
        let identity = FunctionIdentity::of(&config);

        assert_eq!(set_bus_master(&config, &identity, false), Ok(()));
        assert_eq!(config.command.get(), 0x0543);
        assert_eq!(set_bus_master(&config, &identity, true), Ok(()));
        assert_eq!(config.command.get(), 0x0547);
    }

    #[test]
    fn a_bit_that_does_not_clear_is_no_success() {
        let config = Registers { stuck: COMMAND_BUS_MASTER, ..registers(7) };
        let identity = FunctionIdentity::of(&config);

        assert_eq!(set_bus_master(&config, &identity, false), Err(BusMasterError::Stuck));
    }

    #[test]
    fn nothing_is_written_where_another_function_or_none_is() {
        for (words, expected) in
            [(0x1001_1af4, BusMasterError::Elsewhere), (u32::MAX, BusMasterError::Removed)]
        {
            let identity = FunctionIdentity::of(&registers(7));
            let config = Registers { words, ..registers(7) };

            assert_eq!(set_bus_master(&config, &identity, false), Err(expected));
            assert_eq!(config.writes.get(), 0);
        }
    }

    #[test]
    fn a_function_that_goes_meanwhile_reads_all_ones() {
        let config = Registers { stuck: u16::MAX, ..registers(7) };
        let identity = FunctionIdentity::of(&config);

        assert_eq!(set_bus_master(&config, &identity, false), Err(BusMasterError::Removed));
    }
}
