//! What Windows does to find units: REPORT LUNS to each target, INQUIRY to each unit, then what the class driver asks.

pub mod class;

use alloc::string::String;
use alloc::vec::Vec;

use stand::scsi::{self, Capacity, Inquiry};
use stand::wdk::codes::SP_UNINITIALIZED_VALUE;

use crate::storport::{Address, port};
use class::{Outcome, send};

/// A unit and what it says of itself.
#[derive(Clone, Debug)]
pub struct Unit {
    /// Path, target, LUN.
    pub address: Address,
    /// Standard INQUIRY.
    pub inquiry: Inquiry,
    /// Capacity, for disks and CD-ROMs with a medium.
    pub capacity: Option<Capacity>,
}

/// Disk.
pub const DISK: u8 = 0;
/// CD-ROM.
pub const CDROM: u8 = 5;

/// Scans all buses.
pub fn scan() -> Vec<Unit> {
    let (buses, targets) = {
        let port = port();
        (port.config.number_of_buses.max(1), port.config.maximum_number_of_targets)
    };
    let mut units = Vec::new();
    for path in 0..buses {
        for target in 0..targets {
            for lun in luns(path, target) {
                if let Some(unit) = look((path, target, lun)) {
                    units.push(unit);
                }
            }
        }
    }
    port().disks =
        units.iter().filter(|unit| unit.inquiry.device_type == DISK).map(|unit| unit.address).collect();
    crate::console::check(
        !units.is_empty(),
        "bus-scan",
        format_args!("{} unit(s) on {buses} bus(es) of {targets} target(s)", units.len()),
    );
    units
}

/// LUNs of a target: REPORT LUNS to LUN 0, or LUN 0 itself when a plain INQUIRY answers.
fn luns(path: u8, target: u8) -> Vec<u8> {
    let address = (path, target, 0);
    let (outcome, data) = send(address, scsi::report_luns(8 + 256 * 8), 8 + 256 * 8);
    match outcome {
        Outcome::Good => scsi::luns(&data),
        Outcome::NoDevice => Vec::new(),
        _ => {
            let (outcome, _) = send(address, scsi::inquiry(None, 36), 36);
            if matches!(outcome, Outcome::Good) { alloc::vec![0] } else { Vec::new() }
        }
    }
}

/// Asks a unit everything. `None` when there is none.
fn look(address: Address) -> Option<Unit> {
    let name = class::name(address);
    let (outcome, data) = send(address, scsi::inquiry(None, 36), 36);
    let inquiry = match outcome {
        Outcome::Good => scsi::parse_inquiry(&data),
        _ => None,
    };
    let Some(inquiry) = inquiry else {
        crate::not_ok!("inquiry", "{name}: {outcome}, {} bytes", data.len());
        return None;
    };
    if inquiry.qualifier != 0 {
        return None;
    }
    let (serial, ids) = vital_product_data(address);
    let ready = class::ready(address);
    let medium = matches!(ready, Outcome::Good);
    let capacity =
        if medium && matches!(inquiry.device_type, DISK | CDROM) { capacity(address) } else { None };
    let write_cache = if inquiry.device_type == DISK { caching(address) } else { None };
    describe(&name, &inquiry, &serial, &ids, capacity, write_cache);
    crate::ok!("inquiry", "{name}: type {}", inquiry.device_type);
    let block = u64::from(capacity.map_or(0, |c| c.block_size));
    if matches!(inquiry.device_type, DISK | CDROM) && medium {
        let plausible = capacity.is_some_and(|c| c.blocks > 0 && block >= 512 && block.is_power_of_two());
        crate::console::check(
            plausible,
            "capacity",
            format_args!("{name}: {} blocks of {block} bytes", capacity.map_or(0, |c| c.blocks)),
        );
    } else if !medium {
        crate::note!("{name}: not ready ({ready})");
    }
    Some(Unit { address, inquiry, capacity })
}

/// Serial number (VPD 80) and identifiers (VPD 83), as far as VPD 00 lists them.
fn vital_product_data(address: Address) -> (String, Vec<String>) {
    let page = |code: u8| {
        let (outcome, data) = send(address, scsi::inquiry(Some(code), 255), 255);
        match outcome {
            Outcome::Good => scsi::vpd(&data, code).map(<[u8]>::to_vec),
            _ => None,
        }
    };
    let listed = page(0).unwrap_or_default();
    let serial = if listed.contains(&0x80) { page(0x80) } else { None };
    let ids = if listed.contains(&0x83) { page(0x83) } else { None };
    crate::console::check(
        listed.contains(&0),
        "vpd",
        format_args!("{}: pages {listed:02x?}", class::name(address)),
    );
    (scsi::text(&serial.unwrap_or_default()), scsi::identifiers(&ids.unwrap_or_default()))
}

/// READ CAPACITY (16), and (10) where that is not known; both must agree.
fn capacity(address: Address) -> Option<Capacity> {
    let (long, data16) = send(address, scsi::read_capacity_16(), 32);
    let (short, data10) = send(address, scsi::read_capacity_10(), 8);
    let long = matches!(long, Outcome::Good).then(|| scsi::parse_capacity_16(&data16)).flatten();
    let short = matches!(short, Outcome::Good).then(|| scsi::parse_capacity_10(&data10)).flatten();
    if let (Some(long), Some(short)) = (long, short) {
        let same = long.block_size == short.block_size
            && (long.blocks == short.blocks || long.blocks > u64::from(SP_UNINITIALIZED_VALUE));
        crate::console::check(
            same,
            "capacity-agrees",
            format_args!(
                "{}: READ CAPACITY(16) {} x {}, (10) {} x {}",
                class::name(address),
                long.blocks,
                long.block_size,
                short.blocks,
                short.block_size
            ),
        );
    }
    long.or(short)
}

/// The write cache bit of the caching page, by MODE SENSE (10) or (6).
fn caching(address: Address) -> Option<bool> {
    let (outcome, data) = send(address, scsi::mode_sense_10(8), 192);
    if matches!(outcome, Outcome::Good)
        && let Some(on) = scsi::write_cache(&data, 8)
    {
        return Some(on);
    }
    let (outcome, data) = send(address, scsi::mode_sense_6(8, true), 192);
    if matches!(outcome, Outcome::Good) { scsi::write_cache(&data, 4) } else { None }
}

fn describe(
    name: &str,
    inquiry: &Inquiry,
    serial: &str,
    ids: &[String],
    capacity: Option<Capacity>,
    write_cache: Option<bool>,
) {
    let kind = match inquiry.device_type {
        DISK => "disk",
        CDROM => "CD-ROM",
        3 | 0xC => "controller",
        _ => "other device",
    };
    crate::note!("{name}: {kind} '{} {}' revision '{}'", inquiry.vendor, inquiry.product, inquiry.revision);
    if let Some(c) = capacity {
        let bytes = c.blocks.saturating_mul(u64::from(c.block_size));
        let physical = u64::from(c.block_size) << c.physical_exponent;
        crate::note!(
            "  {} MiB, {} blocks of {} bytes (physical {physical})",
            bytes >> 20,
            c.blocks,
            c.block_size
        );
    }
    let cache = match write_cache {
        Some(true) => "on",
        Some(false) => "off",
        None => "not reported",
    };
    crate::note!("  serial '{serial}', write cache {cache}, identifiers {}", ids.join(" "));
}
