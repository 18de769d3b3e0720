//! ALLOCATION LENGTH: every one from 0 to 255 moves exactly the first bytes of the whole answer.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use stand::scsi::Command;
use stand::spc;

use super::Target;
use super::probe::{self, Faults, INVALID_FIELD_IN_CDB, Reply};
use super::tight::Answer;

/// Bytes that a buffer has more than the allocation length in the second round.
const SPARE: usize = 64;

/// Checks `NAME-allocation-lengths`: each length with a buffer of just that size, as class drivers send it, and with a
/// larger one, of which nothing more may be written. Lengths below `least` may be refused, but then all of them.
///
/// Length 0 with no buffer at all is left to `tight`, where it comes last.
pub fn every_length(
    target: &mut Target<'_>,
    name: &str,
    whole: &[u8],
    least: usize,
    command: impl Fn(u8) -> Command,
) {
    let mut faults = Faults::default();
    let (mut short, mut refused) = (0, 0);
    for allocation in 0..=u8::MAX {
        let length = usize::from(allocation);
        for room in [length, length + SPARE].into_iter().filter(|room| *room != 0) {
            let reply = probe::read(target, command(allocation), room);
            if length < least {
                short += 1;
                if reply.refused(&[INVALID_FIELD_IN_CDB]).is_ok() {
                    refused += 1;
                    continue;
                }
            }
            let verdict = exact(target, name, whole, &reply, length);
            faults.note(&format!("length {allocation}, buffer {room}"), verdict);
        }
    }
    if refused != 0 && refused != short {
        faults.note("too short", Err(format!("{refused} of {short} refused")));
    }
    let below = if refused == 0 { String::new() } else { format!(", those below {least} refused") };
    let good = format!("lengths 0 to 255 of {} bytes{below}", whole.len());
    target.check(&format!("{name}-allocation-lengths"), faults.verdict(good));
    let (name, whole) = (name.into(), whole.to_vec());
    target.answers.push(Answer { name, whole, least, empty: command(0), full: command(u8::MAX) });
}

/// That a reply is the beginning of the whole answer, or what QEMU's target makes of it.
pub fn exact(
    target: &Target<'_>,
    name: &str,
    whole: &[u8],
    reply: &Reply,
    allocation: usize,
) -> Result<(), String> {
    reply.succeeded()?;
    if allocation == 0 {
        return reply.moved_nothing();
    }
    let strict = spc::prefix(whole, &reply.moved(allocation));
    if strict.is_ok() || !target.passes_through {
        return strict;
    }
    // Padded with zeroes. ADDITIONAL LENGTH is not compared.
    let mut padded: Vec<u8> = whole.to_vec();
    padded.resize(allocation.max(whole.len()), 0);
    if let ("inquiry", Some(byte), Some(moved)) = (name, padded.get_mut(4), reply.buffer.get(4)) {
        *byte = *moved;
    }
    // Cut at a whole LUN.
    let entries = if name == "report-luns" { &whole[..whole.len().min(allocation & !7)] } else { whole };
    let padded = spc::prefix(&padded, &reply.moved(allocation));
    if padded.is_ok() || spc::prefix(entries, &reply.moved(allocation)).is_ok() { Ok(()) } else { strict }
}
