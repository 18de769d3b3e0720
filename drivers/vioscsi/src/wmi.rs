//! What programs are told of the adapter through WMI: about itself, and about the one port that an HBA of the SM-HBA API has.
//!
//! - [`EXTENDED_INFORMATION`] is virtio-win's own class VioScsiExtendedInfoGuid: how the driver is set up. Without the MOF
//!   resource that describes it, which only a tool of Windows makes, programs find it by its GUID alone.
//! - [`ADAPTER_INFORMATION`] and [`PORT_METHODS`] are MS_SM_AdapterInformationQuery and MS_SM_PortInformationMethods of
//!   hbaapi.mof, which Windows has.
//!
//! What such a device does not have is not made up: a virtual adapter has no serial number, no firmware, no phys, and its targets
//! have no names of ports. Nor does the driver count requests, which would cost each of them something: a counter that nobody
//! keeps is -1 (ns-hbapiwmi-_ms_smhba_protocolstatistics.md).

mod contents;
mod items;
#[cfg(test)]
mod tests;

use adapter::{AdapterState, PciFunction};
use contents::{Adapter, Content, Port, Setup, Status};
use storport::wmi::{Guid, Provider};
use virtio::spec::{Features, PCI_VENDOR_ID};

/// VioScsiExtendedInfoGuid (vioscsi/vioscsi.mof of virtio-win).
const EXTENDED_INFORMATION: Guid =
    Guid::new(0x5cda_c4f6, 0x3d46, 0x44e2, [0x8d, 0xee, 0x01, 0x60, 0x6e, 0x11, 0xe2, 0x65]);
/// MS_SM_AdapterInformationQuery (hbaapi.mof, hbapiwmi.h).
const ADAPTER_INFORMATION: Guid =
    Guid::new(0xbdc6_7efa, 0xe5e7, 0x4777, [0xb1, 0x3c, 0x62, 0x14, 0x59, 0x65, 0x70, 0x99]);
/// MS_SM_PortInformationMethods (hbaapi.mof, hbapiwmi.h).
const PORT_METHODS: Guid =
    Guid::new(0x5b6a_8b86, 0x708d, 0x4ec6, [0x82, 0xa6, 0x39, 0xad, 0xcf, 0x6f, 0x64, 0x33]);

/// The names of an adapter and of its port.
///
/// They are made of where the adapter is, and so the same after each start, and those of two adapters of a machine differ: in
/// the format NAA 3h, locally assigned (SPC-4, 7.8.6.6), 16 bits are the vendor's number on PCI, 32 the bus with its segment, 4
/// the port, counted from 1, or 0 for the adapter, and 8 the function. An adapter at the same place of another machine has the
/// same ones: neither virtio-scsi nor PCI says anything that would tell the two apart. virtio-win's driver calls every adapter
/// 1234567890987654321.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Name(u64);

impl Name {
    const NAA_LOCALLY_ASSIGNED: u64 = 3;

    const fn of_adapter(function: &PciFunction) -> Self {
        Self(
            Self::NAA_LOCALLY_ASSIGNED << 60
                | (PCI_VENDOR_ID as u64) << 44
                | (function.bus as u64) << 12
                | function.slot as u64 & 0xff,
        )
    }

    /// That of a port of the adapter.
    const fn port(self, index: u8) -> Self {
        Self(self.0 | (index as u64 + 1) << 8)
    }

    /// As names are in the API.
    const fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }
}

/// The adapter at this moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Management<'a> {
    pub(crate) function: &'a PciFunction,
    pub(crate) state: &'a AdapterState,
}

impl Provider for Management<'_> {
    type Content = Content;

    const BLOCKS: &'static [Guid] = &[EXTENDED_INFORMATION, ADAPTER_INFORMATION, PORT_METHODS];

    fn instance(&self, block: usize) -> Content {
        match Self::BLOCKS.get(block) {
            Some(&EXTENDED_INFORMATION) => Content::Setup(self.setup()),
            Some(&ADAPTER_INFORMATION) => Content::Adapter(self.adapter()),
            _ => Content::Nothing,
        }
    }

    fn method(&self, block: usize, method: u32, input: &[u8]) -> Option<Content> {
        if Self::BLOCKS.get(block) != Some(&PORT_METHODS) {
            return None;
        }
        let word = |index: usize| input.get(4 * index..)?.first_chunk().copied().map(u32::from_le_bytes);
        Some(match method {
            1 => Content::PortType(self.port(word(0)?)),
            2 => {
                let (port, room) = (word(0)?, word(1)?);
                Content::PortAttributes(self.port(port).and_then(|port| port.for_room(room)))
            }
            3 => {
                let (port, _discovered_port, _room) = (word(0)?, word(1)?, word(2)?);
                // It has discovered none, so there is none of that number either.
                Content::PortAttributes(self.port(port).and(Err(Status::ILLEGAL_INDEX)))
            }
            4 => {
                let (name, domain) = (input.first_chunk()?, input.get(8..)?.first_chunk()?);
                let room = word(4)?;
                Content::PortAttributes(self.named(name, domain).and_then(|port| port.for_room(room)))
            }
            5 => Content::ProtocolStatistics(self.statistics(word(0)?, word(1)?)),
            6 => {
                let (port, phy, _counters) = (word(0)?, word(1)?, word(2)?);
                Content::PhyStatistics(self.phy(port, phy))
            }
            7 => {
                let (port, _phy) = (word(0)?, word(1)?);
                Content::FcPhy(self.port(port).err().unwrap_or(Status::NOT_SUPPORTED))
            }
            8 => Content::SasPhy(self.phy(word(0)?, word(1)?)),
            // Nothing is kept that could be refreshed.
            10 => Content::Nothing,
            _ => return None,
        })
    }
}

impl Management<'_> {
    fn setup(&self) -> Setup {
        let Self { state, .. } = self;
        Setup {
            queue_depth: state.max_requests_per_lun,
            queues: state.queues.min(u8::MAX.into()) as u8,
            indirect: state.features.contains(Features::RING_INDIRECT_DESC),
            event_index: state.features.contains(Features::RING_EVENT_IDX),
            by_message: state.by_message,
            packed: state.features.contains(Features::RING_PACKED),
            // The registry value of this name counts the breaks between segments.
            physical_breaks: state.max_segments.saturating_sub(1),
        }
    }

    fn adapter(&self) -> Adapter {
        Adapter { name: Name::of_adapter(self.function), function: *self.function }
    }

    /// The one port there is.
    fn port(&self, index: u32) -> Result<Port, Status> {
        match index {
            0 => Ok(Port { name: Name::of_adapter(self.function).port(0), online: self.state.running }),
            _ => Err(Status::ILLEGAL_INDEX),
        }
    }

    /// The port of this name. No domain has one: there are no expanders.
    fn named(&self, name: &[u8; 8], domain: &[u8; 8]) -> Result<Port, Status> {
        let port = self.port(0)?;
        if *name == port.name.to_bytes() && *domain == [0; 8] { Ok(port) } else { Err(Status::ILLEGAL_WWN) }
    }

    /// No port has phys.
    fn phy(&self, port: u32, _phy: u32) -> Status {
        self.port(port).err().unwrap_or(Status::ILLEGAL_INDEX)
    }

    fn statistics(&self, port: u32, protocol: u32) -> Status {
        match self.port(port) {
            Ok(_) if protocol == contents::PROTOCOL_SSP => Status::OK,
            Ok(_) => Status::INVALID_PROTOCOL_TYPE,
            Err(status) => status,
        }
    }
}
