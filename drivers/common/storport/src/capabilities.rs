//! What Plug and Play may do with a device: the answer to SRB_FUNCTION_PNP with StorQueryCapabilities.
//!
//! The structure is `STOR_DEVICE_CAPABILITIES_EX` where DriverEntry asked for it
//! (STOR_FEATURE_FULL_PNP_DEVICE_CAPABILITIES, ns-storport-_stor_device_capabilities_ex.md), and a port driver of before
//! Windows 8 has the shorter `STOR_DEVICE_CAPABILITIES` (ns-storport-_stor_device_capabilities.md). Who asks has filled in
//! version and size; the rest is the miniport's to say.

use bitflags::bitflags;

use crate::srb::Address;

/// `sizeof(STOR_DEVICE_CAPABILITIES_EX)`
pub const FULL_BYTES: usize = 24;
/// `sizeof(STOR_DEVICE_CAPABILITIES)`
const SHORT_BYTES: usize = 8;

/// Where the flags lie in both structures.
const FLAGS: usize = 4;
/// Where `Address` lies in the full one.
const ADDRESS: usize = 8;
/// Where `UINumber` lies in the full one.
const UI_NUMBER: usize = 12;
/// No number to show in the user interface.
const NO_UI_NUMBER: u32 = u32::MAX;

bitflags! {
    /// Flags of `STOR_DEVICE_CAPABILITIES_EX`, of those that are ever set here.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct FullFlags: u32 {
        const RAW_DEVICE_OK = 1 << 8;
        const SURPRISE_REMOVAL_OK = 1 << 9;
        const DEFAULT_WRITE_CACHE_ENABLED = 1 << 11;
    }

    /// Flags of `STOR_DEVICE_CAPABILITIES`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct ShortFlags: u32 {
        const SURPRISE_REMOVAL_OK = 1 << 8;
    }
}

/// What can be done with an adapter or a logical unit.
///
/// None of ours can be locked or ejected, and none is `Removable`: with that flag a fixed disk, be it the one that Windows runs
/// from, is offered under "Eject". All may go at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceCapabilities {
    /// Of the adapter.
    Adapter,
    /// Of a logical unit.
    Unit {
        /// Which one.
        address: Address,
        /// Its write cache is on when it is found.
        write_cache: bool,
    },
}

impl DeviceCapabilities {
    /// Fills in the structure that the request came with, and returns how much of it that is; `None` when it is too short.
    pub fn fill(&self, structure: &mut [u8]) -> Option<u32> {
        let (used, flags) = if structure.len() < FULL_BYTES {
            (SHORT_BYTES, ShortFlags::SURPRISE_REMOVAL_OK.bits())
        } else {
            (FULL_BYTES, self.flags().bits())
        };
        let structure = structure.get_mut(..used)?;
        let (_, rest) = structure.split_at_mut(FLAGS);
        rest.fill(0);
        write32(structure, FLAGS, flags);
        if used == FULL_BYTES {
            let lun = match self {
                Self::Adapter => 0,
                Self::Unit { address, .. } => address.lun,
            };
            write32(structure, ADDRESS, u32::from(lun));
            write32(structure, UI_NUMBER, NO_UI_NUMBER);
        }
        Some(used as u32)
    }

    fn flags(&self) -> FullFlags {
        let mut flags = FullFlags::SURPRISE_REMOVAL_OK;
        if let Self::Unit { write_cache, .. } = self {
            // A unit that no class driver wants is still reached by pass-through.
            flags |= FullFlags::RAW_DEVICE_OK;
            flags.set(FullFlags::DEFAULT_WRITE_CACHE_ENABLED, *write_cache);
        }
        flags
    }
}

fn write32(structure: &mut [u8], offset: usize, value: u32) {
    if let Some(field) = structure.get_mut(offset..offset + 4) {
        field.copy_from_slice(&value.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: DeviceCapabilities =
        DeviceCapabilities::Unit { address: Address { path: 0, target: 2, lun: 3 }, write_cache: true };

    /// Bit `Removable` of both structures.
    const REMOVABLE: u8 = 1 << 4;
    /// Bit `EjectSupported` of both structures.
    const EJECT: u8 = 1 << 3;

    #[test]
    fn a_unit_stays_where_it_is_may_go_at_any_time_and_keeps_version_and_size() {
        let mut structure = [0; FULL_BYTES];
        structure[..4].copy_from_slice(&[1, 0, 24, 0]);

        let used = UNIT.fill(&mut structure);

        assert_eq!(used, Some(24));
        let mut expected = [0; FULL_BYTES];
        expected[..16].copy_from_slice(&[1, 0, 24, 0, 0, 0x0b, 0, 0, 3, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(structure, expected);
        assert_eq!(structure[4] & (REMOVABLE | EJECT), 0);
    }

    #[test]
    fn an_adapter_has_no_write_cache_and_is_driven_by_its_driver_only() {
        let mut structure = [0; FULL_BYTES];

        assert_eq!(DeviceCapabilities::Adapter.fill(&mut structure), Some(24));

        assert_eq!(structure[4..8], [0, 0x02, 0, 0]);
    }

    #[test]
    fn the_short_structure_is_filled_to_its_end_and_not_beyond() {
        let mut structure = [0xee; FULL_BYTES - 1];

        assert_eq!(UNIT.fill(&mut structure), Some(8));

        assert_eq!(structure[4..8], [0, 0x01, 0, 0]);
        assert!(structure[8..].iter().all(|byte| *byte == 0xee));
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
