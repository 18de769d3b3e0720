//! READ CAPACITY (10) and (16) (SBC-3 5.15, 5.16; MMC-6 6.23).

use alloc::format;

use stand::scsi::{self, Command, Direction};
use stand::spc::{self, Extent};

use super::Target;
use super::allocation::every_length;
use super::probe::{self, Faults, INVALID_FIELD_IN_CDB};

fn service_action_in(action: u8, allocation: u32) -> Command {
    let a = allocation.to_be_bytes();
    spc::command(
        if action == 0x10 { "READ CAPACITY(16)" } else { "SERVICE ACTION IN(16)" },
        Direction::In,
        &[0x9E, action, 0, 0, 0, 0, 0, 0, 0, 0, a[0], a[1], a[2], a[3], 0, 0],
    )
}

/// Everything about READ CAPACITY.
pub fn run(target: &mut Target<'_>) {
    if target.geometry().is_none() {
        return target.skip("read-capacity", "no medium");
    }
    ten(target);
    sixteen(target);
}

/// There is no allocation length: the answer has 8 bytes whatever room there is.
fn ten(target: &mut Target<'_>) {
    let reply = probe::read(target, scsi::read_capacity_10(), 8);
    let data = reply.data().ok().and_then(|data| <[u8; 8]>::try_from(data).ok());
    target.capacity_10 = data.map(|d| {
        let word = |at: usize| u32::from_be_bytes([d[at], d[at + 1], d[at + 2], d[at + 3]]);
        (word(0), word(4))
    });
    let verdict = match target.capacity_10 {
        Some((last, block)) if block >= 512 && block.is_power_of_two() => {
            Ok(format!("last block {last}, {block} bytes each"))
        }
        _ => Err(reply.text()),
    };
    target.check("read-capacity-10", verdict);
    let mut faults = Faults::default();
    for room in [8, 9, 16, 36, 255, 512] {
        let reply = probe::read(target, scsi::read_capacity_10(), room);
        let whole = data.unwrap_or_default();
        let verdict = reply.succeeded().and_then(|()| spc::prefix(&whole, &reply.moved(8)));
        faults.note(&format!("buffer {room}"), verdict);
    }
    target.check("read-capacity-10-buffers", faults.verdict("8 bytes into buffers of 8 to 512".into()));
}

fn sixteen(target: &mut Target<'_>) {
    let reply = probe::read(target, service_action_in(0x10, 32), 32);
    // SBC-3 makes it mandatory; MMC-6 does not know it.
    if target.is_cdrom() && reply.unknown() {
        return target.skip("read-capacity-16", "not a command of CD-ROMs");
    }
    let whole = reply.data().map(|data| target.whole(data, Extent::Fixed(32)).to_vec());
    let capacity = whole.clone().and_then(|data| spc::capacity_16(&data));
    target.capacity_16 = capacity.clone().ok();
    let verdict = capacity
        .map(|c| format!("last block {}, {} bytes each, physical exponent {}", c.last, c.block, c.exponent));
    target.check("read-capacity-16", verdict);
    let whole = whole.unwrap_or_default();
    every_length(target, "read-capacity-16", &whole, 0, |length| service_action_in(0x10, u32::from(length)));
    reserved_actions(target);
}

/// SPC-4 4.2.5.2: a service action that is not implemented is an invalid field. Tried are some that are reserved.
fn reserved_actions(target: &Target<'_>) {
    let mut faults = Faults::default();
    for action in [0x00, 0x01, 0x0F, 0x1E, 0x1F] {
        let reply = probe::read(target, service_action_in(action, 32), 32);
        faults.note(&format!("service action {action:02x}"), reply.refused(&[INVALID_FIELD_IN_CDB]));
    }
    target.check("service-action-reserved-refused", faults.verdict("9e/00, 01, 0f, 1e, 1f".into()));
}
