//! Where the device's structures are: its vendor-specific PCI capabilities (4.1.4).

use super::{BARS, ConfigSpace, TransportError};
use crate::spec::pci::{CapabilityType, capability, common, config_space};

/// A structure's place in a base address register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Base address register
    pub bar: u8,
    /// First byte
    pub offset: u32,
    /// Length in bytes
    pub length: u32,
}

/// The structures of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Common configuration
    pub common: Window,
    /// Notifications
    pub notify: Window,
    /// Bytes between the notification addresses of queues with consecutive `queue_notify_off`; may be 0
    pub notify_off_multiplier: u32,
    /// Interrupt status
    pub isr: Window,
    /// Device specific configuration, which a device need not have
    pub device: Option<Window>,
    /// Where in configuration space the capability lies that gives access to all of these (4.1.4.9)
    pub config_access: Option<u16>,
}

/// More capabilities than fit into configuration space mean that the list has a loop.
const MAX_CAPABILITIES: usize = (256 - config_space::FIRST_CAPABILITY as usize) / 4;

impl Capabilities {
    /// Walks the capability list. The first capability of a kind counts (4.1.4.1), those of an unknown kind or in a
    /// reserved base address register are passed over, and a list that loops or leaves configuration space ends.
    ///
    /// # Errors
    /// There are none of virtio's capabilities, or a structure that every device has is missing or too short.
    pub fn find(config: &impl ConfigSpace) -> Result<Self, TransportError> {
        let mut found = Structures::default();
        for at in capabilities(config, config_space::VENDOR_SPECIFIC) {
            found.take(config, at);
        }
        found.finish()
    }

    /// Every structure there is.
    pub(super) fn windows(&self) -> impl Iterator<Item = (CapabilityType, Window)> {
        [
            (CapabilityType::COMMON, Some(self.common)),
            (CapabilityType::NOTIFY, Some(self.notify)),
            (CapabilityType::ISR, Some(self.isr)),
            (CapabilityType::DEVICE, self.device),
        ]
        .into_iter()
        .filter_map(|(kind, window)| Some((kind, window?)))
    }
}

/// Where the capabilities with this id lie, in the list's order.
pub(super) fn capabilities(config: &impl ConfigSpace, id: u8) -> impl Iterator<Item = u16> {
    let status = config.read16(config_space::STATUS);
    let is_there = status != u16::MAX && status & config_space::STATUS_CAPABILITY_LIST != 0;
    let first = if is_there { next(config, config_space::CAPABILITIES_POINTER) } else { None };
    core::iter::successors(first, |at| next(config, at + 1))
        .take(MAX_CAPABILITIES)
        .filter(move |at| config.read8(*at) == id)
}

/// The capability that the pointer at `pointer` leads to.
fn next(config: &impl ConfigSpace, pointer: u16) -> Option<u16> {
    // The lowest two bits are reserved (PCI 3.0, 6.7).
    let at = u16::from(config.read8(pointer) & !0x3);
    (at >= config_space::FIRST_CAPABILITY).then_some(at)
}

#[derive(Default)]
struct Structures {
    common: Option<Window>,
    notify: Option<(Window, u32)>,
    isr: Option<Window>,
    device: Option<Window>,
    config_access: Option<u16>,
}

impl Structures {
    fn take(&mut self, config: &impl ConfigSpace, at: u16) {
        let length = config.read8(at + capability::LENGTH);
        let window = Window {
            bar: config.read8(at + capability::BAR),
            offset: config.read32(at + capability::OFFSET),
            length: config.read32(at + capability::STRUCTURE_LENGTH),
        };
        let inside = usize::from(at) + usize::from(length) <= 256;
        // The fields of this one are the driver's to write, so they say nothing.
        if CapabilityType(config.read8(at + capability::CONFIG_TYPE)) == CapabilityType::PCI {
            if length >= capability::PCI_BYTES && inside {
                first(&mut self.config_access, at);
            }
            return;
        }
        // Values above 5 are reserved; a driver must ignore such a capability (4.1.4.1). The bytes must exist too.
        if length < capability::BYTES || usize::from(window.bar) >= BARS || !inside {
            return;
        }
        match CapabilityType(config.read8(at + capability::CONFIG_TYPE)) {
            CapabilityType::COMMON => first(&mut self.common, window),
            CapabilityType::NOTIFY if length >= capability::NOTIFY_BYTES => {
                let multiplier = config.read32(at + capability::NOTIFY_OFF_MULTIPLIER);
                first(&mut self.notify, (window, multiplier));
            }
            CapabilityType::ISR => first(&mut self.isr, window),
            CapabilityType::DEVICE => first(&mut self.device, window),
            _ => {}
        }
    }

    fn finish(self) -> Result<Capabilities, TransportError> {
        if self.common.is_none() && self.notify.is_none() && self.isr.is_none() && self.device.is_none() {
            return Err(TransportError::NoCapabilities);
        }
        let missing = TransportError::MissingCapability;
        let common = self.common.ok_or(missing(CapabilityType::COMMON))?;
        let (notify, notify_off_multiplier) = self.notify.ok_or(missing(CapabilityType::NOTIFY))?;
        let isr = self.isr.ok_or(missing(CapabilityType::ISR))?;
        for (kind, window, least) in [
            (CapabilityType::COMMON, common, common::BYTES),
            (CapabilityType::NOTIFY, notify, 2),
            (CapabilityType::ISR, isr, 1),
        ] {
            if window.length < least {
                return Err(TransportError::OutsideBar { kind, bar: window.bar });
            }
        }
        let Self { device, config_access, .. } = self;
        Ok(Capabilities { common, notify, notify_off_multiplier, isr, device, config_access })
    }
}

/// Keeps the first of a kind.
fn first<T>(place: &mut Option<T>, value: T) {
    if place.is_none() {
        *place = Some(value);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Configuration space made of bytes; what lies past them reads all-ones.
    #[derive(Clone)]
    pub(crate) struct Bytes(Vec<u8>);

    impl ConfigSpace for Bytes {
        fn read8(&self, offset: u16) -> u8 {
            self.0.get(usize::from(offset)).copied().unwrap_or(0xff)
        }

        fn read16(&self, offset: u16) -> u16 {
            u16::from_le_bytes([self.read8(offset), self.read8(offset + 1)])
        }

        fn read32(&self, offset: u16) -> u32 {
            u32::from(self.read16(offset)) | u32::from(self.read16(offset + 2)) << 16
        }
    }

    impl Bytes {
        pub(crate) fn empty() -> Self {
            let mut bytes = vec![0; 256];
            bytes[0x06] = 1 << 4;
            Self(bytes)
        }

        /// A device with all four structures, one after the other in base address register 4.
        pub(crate) fn whole() -> Self {
            Self::empty()
                .capability(0x40, 0x50, 1, 4, 0x0000, 0x38)
                .capability(0x50, 0x70, 2, 4, 0x3000, 0x1000)
                .capability(0x70, 0x80, 3, 4, 0x1000, 1)
                .capability(0x80, 0x00, 4, 4, 0x2000, 0x3c)
                .set(0x34, 0x40)
                .set(0x52, 20)
                .set(0x60, 4)
        }

        pub(crate) fn set(mut self, at: usize, value: u8) -> Self {
            self.0[at] = value;
            self
        }

        pub(crate) fn capability(
            mut self,
            at: usize,
            next: u8,
            kind: u8,
            bar: u8,
            offset: u32,
            length: u32,
        ) -> Self {
            self.0[at..at + 5].copy_from_slice(&[0x09, next, 16, kind, bar]);
            self.0[at + 8..at + 12].copy_from_slice(&offset.to_le_bytes());
            self.0[at + 12..at + 16].copy_from_slice(&length.to_le_bytes());
            self
        }
    }

    #[test]
    fn all_structures_of_a_device_are_found() {
        let capabilities = Capabilities::find(&Bytes::whole()).expect("the device is whole");

        assert_eq!(capabilities.common, Window { bar: 4, offset: 0, length: 0x38 });
        assert_eq!(capabilities.notify, Window { bar: 4, offset: 0x3000, length: 0x1000 });
        assert_eq!(capabilities.notify_off_multiplier, 4);
        assert_eq!(capabilities.isr, Window { bar: 4, offset: 0x1000, length: 1 });
        assert_eq!(capabilities.device, Some(Window { bar: 4, offset: 0x2000, length: 0x3c }));
    }

    #[test]
    fn the_first_capability_of_a_kind_counts() {
        let config = Bytes::whole().capability(0xa0, 0x40, 1, 2, 0x100, 0x100).set(0x34, 0xa0);

        let capabilities = Capabilities::find(&config).expect("the device is whole");

        assert_eq!(capabilities.common.bar, 2);
    }

    #[test]
    fn unknown_and_reserved_capabilities_are_passed_over() {
        let unknown = Bytes::whole().capability(0xa0, 0x40, 77, 0, 0, 1).set(0x34, 0xa0);
        let reserved_bar = Bytes::whole().capability(0xa0, 0x40, 1, 6, 0, 0x38).set(0x34, 0xa0);
        let short = Bytes::whole().capability(0xa0, 0x40, 1, 0, 0, 0x38).set(0xa2, 8).set(0x34, 0xa0);

        for config in [unknown, reserved_bar, short] {
            let capabilities = Capabilities::find(&config).expect("the rest of the device is whole");
            assert_eq!(capabilities.common.bar, 4);
        }
    }

    #[test]
    fn the_capability_for_access_is_found_whatever_the_driver_wrote_to_it() {
        let access = |bar| Bytes::whole().capability(0xa0, 0x40, 5, bar, 0xffff_ffff, 77).set(0x34, 0xa0);

        for bar in [0, 4, 6, 0xff] {
            let config = access(bar).set(0xa2, 20);
            let capabilities = Capabilities::find(&config).expect("the device is whole");
            assert_eq!(capabilities.config_access, Some(0xa0));
        }
        let too_short = Capabilities::find(&access(0)).expect("the device is whole");
        assert_eq!(too_short.config_access, None);
        let past_the_end = Bytes::whole().capability(0xf0, 0x40, 5, 0, 0, 0).set(0xf2, 20).set(0x34, 0xf0);
        assert_eq!(Capabilities::find(&past_the_end).expect("the device is whole").config_access, None);
    }

    #[test]
    fn a_list_that_loops_ends() {
        let config = Bytes::empty().capability(0x40, 0x40, 1, 0, 0, 0x38).set(0x34, 0x40);

        assert_eq!(
            Capabilities::find(&config),
            Err(TransportError::MissingCapability(CapabilityType::NOTIFY))
        );
    }

    #[test]
    fn a_pointer_into_the_header_ends_the_list() {
        let config = Bytes::whole().set(0x41, 0x10);

        assert_eq!(
            Capabilities::find(&config),
            Err(TransportError::MissingCapability(CapabilityType::NOTIFY))
        );
    }

    #[test]
    fn a_structure_too_short_for_its_registers_is_refused() {
        let config = Bytes::whole().capability(0x40, 0x50, 1, 4, 0, 0x37);

        assert_eq!(
            Capabilities::find(&config),
            Err(TransportError::OutsideBar { kind: CapabilityType::COMMON, bar: 4 })
        );
    }

    #[test]
    fn a_function_that_is_not_there_has_no_capabilities() {
        assert_eq!(Capabilities::find(&Bytes(Vec::new())), Err(TransportError::NoCapabilities));
        assert_eq!(Capabilities::find(&Bytes(vec![0; 256])), Err(TransportError::NoCapabilities));
    }
}
