//! Answers that need no device: what the disk is, how large, how it caches.

use scsi::Sense;
use scsi::capacity::{Capacity10, Capacity16};
use scsi::cdb::{Command, Inquiry, ModeSense, PageControl};
use scsi::inquiry::{self, StandardInquiry};
use scsi::mode::{self, Caching, CachingPage, DeviceSpecific};
use scsi::parameter_data::ParameterData;
use scsi::report_luns::{self, select};
use zerocopy::IntoBytes;

use crate::config::Disk;

/// T10 VENDOR IDENTIFICATION. The same as the C driver's, so that a guest that changes drivers keeps its disks' names.
pub(crate) const VENDOR: [u8; 8] = *b"Red Hat ";
/// PRODUCT IDENTIFICATION, likewise.
pub(crate) const PRODUCT: [u8; 16] = *b"VirtIO          ";
/// PRODUCT REVISION LEVEL, likewise.
const REVISION: [u8; 4] = *b"0001";

/// The vital product data pages there are, in ascending order.
const PAGES: [u8; 3] =
    [inquiry::page::SUPPORTED_PAGES, inquiry::page::UNIT_SERIAL_NUMBER, inquiry::page::DEVICE_IDENTIFICATION];

/// Parameter data and how much of it is wanted.
pub(crate) struct Answer {
    pub(crate) data: ParameterData,
    pub(crate) allocation_length: u32,
}

impl Answer {
    fn new(data: ParameterData, allocation_length: u32) -> Self {
        Self { data, allocation_length }
    }

    fn from_bytes(bytes: &[u8], allocation_length: u32) -> Self {
        let mut data = ParameterData::new();
        data.push(bytes);
        Self::new(data, allocation_length)
    }
}

pub(crate) fn answer(disk: &Disk, command: Command) -> Result<Answer, Sense> {
    match command {
        // The driver has no test of its own for the device's medium; it works or requests fail.
        Command::TestUnitReady | Command::SelfTest => Ok(Answer::from_bytes(&[], 0)),
        // Sense data goes out with the status of the command it is about, so there is never any left.
        Command::RequestSense { descriptor, allocation_length } => {
            let length = u32::from(allocation_length);
            Ok(match descriptor {
                true => Answer::from_bytes(&Sense::NONE.descriptor(), length),
                false => Answer::from_bytes(Sense::NONE.fixed().as_bytes(), length),
            })
        }
        Command::Inquiry(request) => inquiry(request),
        Command::ReadCapacity10 => {
            let capacity = Capacity10::new(disk.blocks - 1, disk.block_size.bytes());
            Ok(Answer::from_bytes(capacity.as_bytes(), u32::MAX))
        }
        Command::ReadCapacity16 { allocation_length } => {
            let capacity = Capacity16::new(disk.blocks - 1, disk.block_size.bytes());
            Ok(Answer::from_bytes(capacity.as_bytes(), allocation_length))
        }
        Command::ModeSense(request) => mode_sense(disk, request),
        Command::ReportLuns { select, allocation_length } => match select {
            select::ADDRESSABLE | select::ALL => {
                Ok(Answer::new(report_luns::single_unit(true), allocation_length))
            }
            select::WELL_KNOWN => Ok(Answer::new(report_luns::single_unit(false), allocation_length)),
            _ => Err(Sense::INVALID_FIELD_IN_CDB),
        },
        _ => Err(Sense::INVALID_OPERATION_CODE),
    }
}

fn inquiry(request: Inquiry) -> Result<Answer, Sense> {
    let allocation_length = u32::from(request.allocation_length);
    match request.page {
        None => {
            let data = StandardInquiry::disk(VENDOR, PRODUCT, REVISION);
            Ok(Answer::from_bytes(data.as_bytes(), allocation_length))
        }
        Some(inquiry::page::SUPPORTED_PAGES) => {
            Ok(Answer::new(inquiry::supported_pages(&PAGES), allocation_length))
        }
        Some(_) => Err(Sense::INVALID_FIELD_IN_CDB),
    }
}

fn mode_sense(disk: &Disk, request: ModeSense) -> Result<Answer, Sense> {
    if !matches!(request.page, mode::page::CACHING | mode::page::ALL) || !matches!(request.subpage, 0 | 0xff)
    {
        return Err(Sense::INVALID_FIELD_IN_CDB);
    }
    let caching = match request.control {
        PageControl::Current | PageControl::Default if disk.write_cache => Caching::WRITE_CACHE_ENABLE,
        // Nothing can be changed by MODE SELECT, so the mask of changeable bits is empty.
        PageControl::Current | PageControl::Default | PageControl::Changeable => Caching::empty(),
        PageControl::Saved => return Err(Sense::SAVING_PARAMETERS_NOT_SUPPORTED),
    };
    let mut device_specific = DeviceSpecific::DPO_FUA;
    device_specific.set(DeviceSpecific::WRITE_PROTECTED, disk.read_only);
    let page = CachingPage::new(caching);
    let data = mode::parameter_data(request.ten, device_specific, page.as_bytes());
    Ok(Answer::new(data, u32::from(request.allocation_length)))
}
