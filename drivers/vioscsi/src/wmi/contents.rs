//! The data blocks and the outputs of the methods, as wmimofck lays them out in C (vioscsidt.h of virtio-win, hbapiwmi.h), each
//! up to the end of its last item.

use adapter::PciFunction;

use super::Name;
use super::items::{Items, hexadecimal};

/// HBA_STATUS: how the API's own request ended (hba-status.md; the numbers are hbaapi.h's).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status(u32);

impl Status {
    pub(super) const OK: Self = Self(0);
    /// HBA_STATUS_ERROR_NOT_SUPPORTED
    pub(super) const NOT_SUPPORTED: Self = Self(2);
    /// HBA_STATUS_ERROR_ILLEGAL_WWN
    pub(super) const ILLEGAL_WWN: Self = Self(5);
    /// HBA_STATUS_ERROR_ILLEGAL_INDEX
    pub(super) const ILLEGAL_INDEX: Self = Self(6);
    /// HBA_STATUS_ERROR_MORE_DATA: a larger buffer is needed.
    pub(super) const MORE_DATA: Self = Self(7);
    /// HBA_STATUS_ERROR_INVALID_PROTOCOL_TYPE
    pub(super) const INVALID_PROTOCOL_TYPE: Self = Self(35);
}

/// HBA_SASPORTPROTOCOL_SSP: what SCSI commands go by.
pub(super) const PROTOCOL_SSP: u32 = 1;

/// What a block or a method says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// VioScsiExtendedInfo
    Setup(Setup),
    /// MS_SM_AdapterInformationQuery
    Adapter(Adapter),
    /// A block without data, or a method without output.
    Nothing,
    /// SM_GetPortType
    PortType(Result<Port, Status>),
    /// SM_GetAdapterPortAttributes, SM_GetDiscoveredPortAttributes, SM_GetPortAttributesByWWN
    PortAttributes(Result<Port, Status>),
    /// SM_GetProtocolStatistics
    ProtocolStatistics(Status),
    /// SM_GetPhyStatistics
    PhyStatistics(Status),
    /// SM_GetFCPhyAttributes
    FcPhy(Status),
    /// SM_GetSASPhyAttributes
    SasPhy(Status),
}

/// How the driver is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Setup {
    pub(super) queue_depth: u32,
    pub(super) queues: u8,
    pub(super) indirect: bool,
    pub(super) event_index: bool,
    /// DPC redirection, concurrent channels, ranges of interrupt messages: StorPort has agreed to all of them or to none.
    pub(super) by_message: bool,
    pub(super) packed: bool,
    pub(super) physical_breaks: u32,
}

impl Setup {
    const BYTES: usize = 20;

    fn write(&self, items: &mut Items<'_>) {
        let Self { queue_depth, queues, indirect, event_index, by_message, packed, physical_breaks } = *self;
        items
            .word(queue_depth)
            .bytes(&[queues])
            .flag(indirect)
            .flag(event_index)
            .flag(by_message)
            .flag(by_message)
            .flag(by_message)
            // StorPort is not asked to make anything of completions during HwStorStartIo.
            .flag(false)
            .flag(packed)
            .word(physical_breaks)
            // Nobody looks at how long responses take.
            .word(0);
    }
}

/// The adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Adapter {
    pub(super) name: Name,
    pub(super) function: PciFunction,
}

impl Adapter {
    const BYTES: usize = 5934;
    const PORTS: u32 = 1;

    fn write(&self, items: &mut Items<'_>) {
        let PciFunction { bus, slot, vendor, device, revision } = self.function;
        let [vendor_id, device_id, revision] = [vendor, device, revision.into()].map(hexadecimal);
        let [segment, place] = [(bus >> 8) as u16, (bus as u16) << 8 | (slot & 0x1f) as u16].map(hexadecimal);
        let [b1, b0, d1, d0] = place;
        let within = hexadecimal((slot >> 5 & 0x7) as u16)[3];
        items
            .long(self.name.0)
            .word(Status::OK.0)
            .word(Self::PORTS)
            // VendorSpecificID: the device's numbers on PCI, as they lie there.
            .word(u32::from(device) << 16 | u32::from(vendor))
            // Manufacturer: whose vendor number it is.
            .string(64, &[b"Red Hat, Inc."])
            // SerialNumber
            .string(64, &[])
            // Model, ModelDescription
            .string(256, &[b"VirtIO SCSI"])
            .string(256, &[b"VirtIO SCSI host bus adapter"])
            // HardwareVersion
            .string(256, &[b"PCI ", &vendor_id, b":", &device_id, b" revision ", &revision[2..]])
            // DriverVersion
            .string(256, &[env!("CARGO_PKG_VERSION").as_bytes()])
            // OptionROMVersion, FirmwareVersion
            .string(256, &[])
            .string(256, &[])
            // DriverName
            .string(256, &[b"vioscsi.sys"])
            // HBASymbolicName: where it is, as lspci would say it.
            .string(256, &[b"PCI ", &segment, b":", &[b1, b0], b":", &[d1, d0], b".", &[within]])
            // RedundantOptionROMVersion, RedundantFirmwareVersion
            .string(256, &[])
            .string(256, &[])
            // MfgDomain
            .string(256, &[b"com.redhat"]);
    }
}

/// The port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Port {
    pub(super) name: Name,
    pub(super) online: bool,
}

impl Port {
    /// MS_SMHBA_SAS_Port
    const SPECIFIC_BYTES: u32 = 28;
    /// HBA_PORTTYPE_UNKNOWN
    const TYPE_UNKNOWN: u32 = 1;
    /// HBA_PORTTYPE_SASDEVICE: what the INF makes Windows take the bus for (BusType), and virtio-win's driver says.
    const TYPE_SAS_DEVICE: u32 = 30;
    /// HBA_PORTSTATE_ONLINE, HBA_PORTSTATE_LINKDOWN
    const STATE_ONLINE: u32 = 2;
    const STATE_LINK_DOWN: u32 = 6;

    /// The port, if there is so much room for what is special about one of its type.
    pub(super) const fn for_room(self, bytes: u32) -> Result<Self, Status> {
        if bytes < Self::SPECIFIC_BYTES { Err(Status::MORE_DATA) } else { Ok(self) }
    }

    /// MS_SMHBA_SAS_Port. Nothing with a name is at the other end, and no port with one behind it.
    fn write_specific(&self, items: &mut Items<'_>) {
        items.word(PROTOCOL_SSP).bytes(&self.name.to_bytes()).bytes(&[0; 8]).word(0).word(0);
    }
}

impl Content {
    /// MS_SMHBA_PORTATTRIBUTES behind HBAStatus, up to PortSpecificAttributes.
    const PORT_ATTRIBUTES_BYTES: usize = 544;
    /// MS_SMHBA_PROTOCOLSTATISTICS has six counters.
    const COUNTERS: usize = 6;

    fn write_port_type(port: &Result<Port, Status>, items: &mut Items<'_>) {
        match port {
            Ok(_) => items.word(Status::OK.0).word(Port::TYPE_SAS_DEVICE),
            Err(status) => items.word(status.0).word(Port::TYPE_UNKNOWN),
        };
    }

    fn write_port_attributes(port: &Result<Port, Status>, items: &mut Items<'_>) {
        let (status, kind, state, bytes) = match port {
            Ok(Port { online: true, .. }) => {
                (Status::OK, Port::TYPE_SAS_DEVICE, Port::STATE_ONLINE, Port::SPECIFIC_BYTES)
            }
            Ok(_) => (Status::OK, Port::TYPE_SAS_DEVICE, Port::STATE_LINK_DOWN, Port::SPECIFIC_BYTES),
            Err(status) => (*status, 0, 0, 0),
        };
        // OSDeviceName is Windows' to know.
        items.word(status.0).align(8).word(kind).word(state).word(bytes).string(256, &[]).long(0);
        if let Ok(port) = port {
            port.write_specific(items);
        }
    }
}

impl storport::wmi::Content for Content {
    fn bytes(&self) -> usize {
        match self {
            Self::Setup(_) => Setup::BYTES,
            Self::Adapter(_) => Adapter::BYTES,
            Self::Nothing => 0,
            Self::PortType(_) => 8,
            Self::PortAttributes(Ok(_)) => Self::PORT_ATTRIBUTES_BYTES + Port::SPECIFIC_BYTES as usize,
            Self::PortAttributes(Err(_)) => Self::PORT_ATTRIBUTES_BYTES,
            Self::ProtocolStatistics(_) => 8 + 8 * Self::COUNTERS,
            // The counters would come next.
            Self::PhyStatistics(_) => 16,
            Self::FcPhy(_) => 20,
            Self::SasPhy(_) => 36,
        }
    }

    fn write(&self, data: &mut [u8]) {
        let items = &mut Items::new(data);
        match self {
            Self::Setup(setup) => setup.write(items),
            Self::Adapter(adapter) => adapter.write(items),
            Self::Nothing => {}
            Self::PortType(port) => Self::write_port_type(port, items),
            Self::PortAttributes(port) => Self::write_port_attributes(port, items),
            Self::ProtocolStatistics(status) => {
                items.word(status.0);
                (0..Self::COUNTERS).for_each(|_| _ = items.long(u64::MAX));
            }
            Self::PhyStatistics(status) | Self::FcPhy(status) | Self::SasPhy(status) => {
                _ = items.word(status.0)
            }
        }
    }
}
