//! What Plug and Play may do with a device: the answer to SRB_FUNCTION_PNP with StorQueryCapabilities.
//!
//! The structure is `STOR_DEVICE_CAPABILITIES_EX` where DriverEntry asked for it
//! (STOR_FEATURE_FULL_PNP_DEVICE_CAPABILITIES, ns-storport-_stor_device_capabilities_ex.md), and a port driver of before
//! Windows 8 has the shorter `STOR_DEVICE_CAPABILITIES` (ns-storport-_stor_device_capabilities.md). Who asks has filled it in
//! with what is known below: of an adapter, what its PCI bus says, its address and number, whether its instance ID is unique,
//! whether it lies in a hot-plug slot. So only single bits are changed, those that are the miniport's to know.

use bitflags::bitflags;

/// `sizeof(STOR_DEVICE_CAPABILITIES_EX)`
pub const FULL_BYTES: usize = 24;
/// `sizeof(STOR_DEVICE_CAPABILITIES)`
const SHORT_BYTES: usize = 8;

/// Where the flags lie in both structures.
const FLAGS: usize = 4;
bitflags! {
    /// Flags of `STOR_DEVICE_CAPABILITIES_EX` that are ever changed here.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct FullFlags: u32 {
        const RAW_DEVICE_OK = 1 << 8;
        const SURPRISE_REMOVAL_OK = 1 << 9;
        const DEFAULT_WRITE_CACHE_ENABLED = 1 << 11;
    }

    /// Flags of `STOR_DEVICE_CAPABILITIES` likewise.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct ShortFlags: u32 {
        const SURPRISE_REMOVAL_OK = 1 << 8;
    }

    /// Flags that are in the same place in both.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct Flags: u32 {
        const LOCK_SUPPORTED = 1 << 2;
        const EJECT_SUPPORTED = 1 << 3;
        const REMOVABLE = 1 << 4;
    }
}

/// What can be done with an adapter or a logical unit.
///
/// No unit of ours can be locked or ejected, and none is `Removable`: with that flag a fixed disk, be it the one that Windows
/// runs from, is offered under "Eject". All may go at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceCapabilities {
    /// Of the adapter.
    Adapter,
    /// Of a logical unit.
    Unit {
        /// Its write cache is on when it is found.
        write_cache: bool,
    },
}

impl DeviceCapabilities {
    /// Changes what the miniport knows better in the structure that the request came with, and returns how much of it there is;
    /// `None` when it is too short.
    pub fn fill(&self, structure: &mut [u8]) -> Option<u32> {
        let full = structure.len() >= FULL_BYTES;
        let used = if full { FULL_BYTES } else { SHORT_BYTES };
        let structure = structure.get_mut(..used)?;
        let flags = structure.get_mut(FLAGS..FLAGS + 4)?;
        let before = flags.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte));
        let after = before & !self.not_so().bits() | self.so(full);
        flags.copy_from_slice(&after.to_le_bytes());
        Some(used as u32)
    }

    /// What is true of it.
    const fn so(&self, full: bool) -> u32 {
        if !full {
            return ShortFlags::SURPRISE_REMOVAL_OK.bits();
        }
        let flags = match self {
            Self::Adapter => FullFlags::SURPRISE_REMOVAL_OK,
            // A unit that no class driver wants is still reached by pass-through.
            Self::Unit { write_cache: false } => {
                FullFlags::SURPRISE_REMOVAL_OK.union(FullFlags::RAW_DEVICE_OK)
            }
            Self::Unit { write_cache: true } => FullFlags::all(),
        };
        flags.bits()
    }

    /// What is not.
    const fn not_so(&self) -> Flags {
        match self {
            Self::Adapter => Flags::empty(),
            Self::Unit { .. } => Flags::all(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: DeviceCapabilities = DeviceCapabilities::Unit { write_cache: true };

    /// As the port driver hands it over: version and size, `flags`, an address, a number for the user.
    fn filled(flags: u32) -> [u8; FULL_BYTES] {
        let mut structure = [0; FULL_BYTES];
        structure[..4].copy_from_slice(&[1, 0, 24, 0]);
        structure[4..8].copy_from_slice(&flags.to_le_bytes());
        structure[8..16].copy_from_slice(&[3, 0, 5, 0, 7, 0, 0, 0]);
        structure
    }

    #[test]
    fn a_unit_stays_where_it_is_may_go_at_any_time_and_the_rest_is_left_alone() {
        // UniqueID, with Removable, EjectSupported and LockSupported.
        let mut structure = filled(0x5c);

        assert_eq!(UNIT.fill(&mut structure), Some(24));

        assert_eq!(structure, filled(0x0b40));
        let without_cache = DeviceCapabilities::Unit { write_cache: false };
        structure = filled(0);
        assert_eq!(without_cache.fill(&mut structure), Some(24));
        assert_eq!(structure, filled(0x0300));
    }

    #[test]
    fn of_an_adapter_all_stays_that_its_bus_has_said() {
        for bus in [0, 0x50, 0x0450, u32::MAX] {
            let mut structure = filled(bus);

            assert_eq!(DeviceCapabilities::Adapter.fill(&mut structure), Some(24));

            assert_eq!(structure, filled(bus | 0x0200));
        }
    }

    #[test]
    fn the_short_structure_is_changed_to_its_end_and_not_beyond() {
        let mut structure = [0x08; FULL_BYTES - 1];

        assert_eq!(UNIT.fill(&mut structure), Some(8));

        assert_eq!(structure[4..8], [0x00, 0x09, 0x08, 0x08]);
        assert!(structure[..4].iter().chain(&structure[8..]).all(|byte| *byte == 0x08));
    }

    #[test]
    fn a_buffer_that_is_too_short_stays_as_it_is() {
        for length in 0..SHORT_BYTES {
            let mut structure = [0xee; SHORT_BYTES];

            assert_eq!(UNIT.fill(&mut structure[..length]), None, "{length}");

            assert_eq!(structure, [0xee; SHORT_BYTES]);
        }
    }
}
