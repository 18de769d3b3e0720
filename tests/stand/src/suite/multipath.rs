//! `multipath`: one disk behind two adapters of the machine, at different addresses, as MPIO finds it. The driver serves one
//! adapter after the other and the first again, each time removed in between and found anew.
//!
//! Windows takes two units for one when their designators for the logical unit are the same (SPC-4, 7.8.5; association 0), so
//! everything that the unit says through both adapters must be the same but for the designators of its port (association 1).
//! What is written through one adapter is read through the other. The host looks at the image file afterwards.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

use stand::cmdline::Options;
use stand::scsi::{self, Command};
use stand::spc::{self, Designator};
use stand::stamp::{FINAL_BYTES, FINAL_GENERATION, Stamp};

use crate::pass::buffer::Buffer;
use crate::pass::disk::describe;
use crate::pass::transfer::Flights;
use crate::scan::class::{self, Outcome, send};
use crate::scan::{self, DISK, Unit};
use crate::storport::{control, port};

/// Bytes of a transfer.
const PIECE: u32 = 64 << 10;
/// Association of a designator.
const LOGICAL_UNIT: u8 = 0;
const TARGET_PORT: u8 = 1;

/// What a unit says of itself: by command the outcome and what came.
struct Said(BTreeMap<String, (String, Vec<u8>)>);

/// A unit as one adapter shows it.
struct Path {
    unit: Unit,
    block: u32,
    blocks: u64,
    said: Said,
}

/// Goes from one adapter to the other and back.
pub fn run(units: &[Unit], options: &Options) {
    let Some(one) = look(units) else { return };
    if port().others.len() != 1 {
        crate::not_ok!("multipath", "{} adapters besides this one", port().others.len());
        return;
    }
    let half = one.blocks / 2;
    write(&one, 0..one.blocks, 1, options);

    let Some(other) = switch() else { return };
    compare(&one, &other);
    verify(&other, 0..one.blocks, 1, options);
    write(&other, half..one.blocks, 2, options);

    let Some(again) = switch() else { return };
    compare(&one, &again);
    let same = again.said.0 == one.said.0 && again.unit.address == one.unit.address;
    crate::console::check(same, "path-again", format_args!("the first adapter shows what it showed before"));
    verify(&again, 0..half, 1, options);
    verify(&again, half..one.blocks, 2, options);
    write(&again, 0..one.blocks, FINAL_GENERATION, options);
    let (blocks, block, seed) = (one.blocks, one.block, options.seed);
    crate::note!("final stamp: owner=0x0 blocks={blocks} block-size={block} seed={seed:x}");
}

/// The other adapter takes the place of this one, which is removed.
fn switch() -> Option<Path> {
    let (function, bars) = port().others.pop()?;
    let before = control::replace(function, &bars);
    port().others.extend(before);
    crate::note!("the driver serves {function} now");
    look(&scan::scan())
}

/// The only disk there is, and what it says.
fn look(units: &[Unit]) -> Option<Path> {
    let mut disks = units.iter().filter(|unit| unit.inquiry.device_type == DISK);
    let (Some(unit), None) = (disks.next(), disks.next()) else {
        crate::not_ok!("multipath", "there is not one disk but {}", units.len());
        return None;
    };
    let block = unit.capacity?.block_size;
    let mut said = BTreeMap::new();
    let mut ask = |name: String, command: Command, length: u32| {
        let (outcome, data) = send(unit.address, command, length);
        said.insert(name, (format!("{outcome}"), data));
    };
    ask("INQUIRY".into(), scsi::inquiry(None, 255), 255);
    for page in [0x00, 0x80, 0x83, 0xB0, 0xB1, 0xB2] {
        ask(format!("VPD {page:02x}"), scsi::inquiry(Some(page), 255), 255);
    }
    ask("READ CAPACITY".into(), scsi::read_capacity_16(), 32);
    ask("MODE SENSE".into(), scsi::mode_sense_10(0x3F), 192);
    ask("REPORT TARGET PORT GROUPS".into(), scsi::report_target_port_groups(255), 255);
    for (action, name) in [(0, "KEYS"), (1, "RESERVATION"), (2, "CAPABILITIES")] {
        ask(format!("PERSISTENT RESERVE IN {name}"), scsi::persistent_reserve_in(action, 255), 255);
    }
    let blocks = FINAL_BYTES / u64::from(block);
    Some(Path { unit: unit.clone(), block, blocks, said: Said(said) })
}

/// The designators of page 83h that are of the logical unit, and those of the port.
fn designators(said: &Said) -> (Vec<Designator>, Vec<Designator>) {
    let (_, page) = &said.0["VPD 83"];
    let all = spc::designators(scsi::vpd(page, 0x83).unwrap_or_default()).unwrap_or_default();
    let of = |association: u8| all.iter().filter(|d| d.association == association).cloned().collect();
    (of(LOGICAL_UNIT), of(TARGET_PORT))
}

fn compare(one: &Path, other: &Path) {
    let (first, second) = (class::name(one.unit.address), class::name(other.unit.address));
    for (command, said) in one.said.0.iter().filter(|(command, _)| *command != "VPD 83") {
        let same = other.said.0.get(command) == Some(said);
        crate::console::check(
            same,
            "path-says-the-same",
            format_args!("{command} of {first} and {second}: {}, {} bytes", said.0, said.1.len()),
        );
    }
    let ((unit, port), (other_unit, other_port)) = (designators(&one.said), designators(&other.said));
    crate::console::check(
        !unit.is_empty() && unit == other_unit,
        "path-designates-one-unit",
        format_args!("{first} and {second}: {} designators of the logical unit: {unit:02x?}", unit.len()),
    );
    let moved = one.unit.address != other.unit.address;
    crate::console::check(
        port.len() == other_port.len() && (port != other_port) == moved,
        "path-designates-its-port",
        format_args!("{first}: {port:02x?}, {second}: {other_port:02x?}"),
    );
}

/// Each piece of some blocks.
fn pieces(path: &Path, blocks: Range<u64>) -> impl Iterator<Item = (u64, u32)> {
    let most = u64::from(PIECE / path.block);
    let end = blocks.end;
    blocks.step_by(most as usize).map(move |lba| (lba, most.min(end - lba) as u32))
}

fn stamp(lba: u64, generation: u32, options: &Options) -> Stamp {
    // The unit is one, wherever it is.
    Stamp { lba, generation, seed: options.seed, owner: 0 }
}

fn write(path: &Path, blocks: Range<u64>, generation: u32, options: &Options) {
    let mut flights = Flights::new(path.unit.address, path.block, 1);
    let mut fault = None;
    for (lba, count) in pieces(path, blocks.clone()) {
        let mut buffer = Buffer::new(count * path.block, 0);
        buffer.fill(path.block, &stamp(lba, generation, options));
        fault = fault.or(flights.one(lba, true, buffer, false).error);
    }
    let (outcome, _) = send(path.unit.address, scsi::synchronize_cache(), 0);
    let good = fault.is_none() && matches!(outcome, Outcome::Good);
    crate::console::check(
        good,
        "path-written",
        format_args!(
            "{}: blocks {blocks:?}, {outcome} {}",
            class::name(path.unit.address),
            fault.unwrap_or_default()
        ),
    );
}

fn verify(path: &Path, blocks: Range<u64>, generation: u32, options: &Options) {
    let mut flights = Flights::new(path.unit.address, path.block, 1);
    let mut fault = None;
    for (lba, count) in pieces(path, blocks.clone()) {
        let mut read = flights.one(lba, false, Buffer::new(count * path.block, 0), false);
        fault = fault.or(read.error.take());
        for index in 0..count as usize {
            let lba = lba + index as u64;
            if let Err(mismatch) = read.buffer.verify(index, path.block, &stamp(lba, generation, options)) {
                fault.get_or_insert_with(|| describe(lba, generation, mismatch));
            }
        }
    }
    crate::console::check(
        fault.is_none(),
        "path-read",
        format_args!(
            "{}: blocks {blocks:?} hold what was written through the other adapter {}",
            class::name(path.unit.address),
            fault.unwrap_or_default()
        ),
    );
}
