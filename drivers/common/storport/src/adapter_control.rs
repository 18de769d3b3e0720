//! `HwStorAdapterControl`: what of it is handled, and that StorPort is told so (ne-storport-scsi_adapter_control_type.md).

/// A control that is handled. What is not in the list that the first one asks for never comes.
///
/// Of the rest, ScsiAdapterPower would take the place of ScsiStopAdapter and SRB_FUNCTION_POWER without saying more than they
/// do; ScsiAdapterSystemPowerHints is about how long a device may take to wake up, and ours does not sleep;
/// ScsiPowerSettingNotification comes to who asked for it; ScsiSetBootConfig and ScsiSetRunningConfig are for who has to call
/// StorPortGetBusData to stop or start, and ours is started from its registers; the PoFx types are for runtime power
/// management, of which a virtio device has none; ScsiAdapterSerialNumber is for adapters that have one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdapterControl {
    /// ScsiQuerySupportedControlTypes
    QuerySupported,
    /// ScsiStopAdapter
    Stop,
    /// ScsiRestartAdapter
    Restart,
    /// ScsiAdapterSurpriseRemoval
    SurpriseRemoval,
}

impl AdapterControl {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::QuerySupported, Self::Stop, Self::Restart, Self::SurpriseRemoval];

    /// Its number in `SCSI_ADAPTER_CONTROL_TYPE`.
    pub const fn number(self) -> u32 {
        match self {
            Self::QuerySupported => 0,
            Self::Stop => 1,
            Self::Restart => 2,
            Self::SurpriseRemoval => 16,
        }
    }

    /// The one with this number, if it is handled.
    pub fn of(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|control| control.number() == number)
    }

    /// Where they are in a list of so many entries, which StorPort of this Windows knows.
    pub fn listed(entries: u32) -> impl Iterator<Item = usize> {
        Self::ALL
            .into_iter()
            .map(Self::number)
            .filter(move |number| *number < entries)
            .map(|number| number as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_control_that_is_handled_is_listed_and_no_other() {
        // ScsiAdapterControlMax of Windows 11, and what may come.
        for entries in [18, 19, 64] {
            let listed: Vec<_> = AdapterControl::listed(entries).collect();

            let handled: Vec<_> = (0..entries)
                .filter(|number| AdapterControl::of(*number).is_some())
                .map(|number| number as usize)
                .collect();
            assert_eq!(listed, handled, "{entries}");
            assert_eq!(listed, [0, 1, 2, 16], "{entries}");
        }
    }

    #[test]
    fn nothing_is_listed_behind_the_end_of_the_list() {
        for entries in 0..18 {
            assert!(AdapterControl::listed(entries).all(|place| place < entries as usize), "{entries}");
        }
        assert!(AdapterControl::listed(5).eq([0, 1, 2]), "a surprise removal comes as SRB_FUNCTION_PNP then");
    }
}
