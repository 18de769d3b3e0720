//! The device's answer → how the request ends: status, residual, sense.

use adapter::Step;
use scsi::SenseKey;
use storport::srb::ScsiStatus;
use storport::{Completion, DataDirection, SrbStatus};
use virtio::memory::{Region, SharedMemory};
use virtio::spec::scsi::{CmdResponse, Response, config};
use zerocopy::FromBytes;

use crate::Request;
use crate::build_io::Command;
use crate::config::Hba;
use crate::status::{Verdict, srb_status};
use crate::steps;

/// Bytes of the response before the sense data.
pub(crate) const HEAD_BYTES: usize = size_of::<CmdResponse>() - config::DEFAULT_SENSE_SIZE as usize;

/// The part of the response before the sense data (virtio 1.3, 5.6.6.1).
struct Head {
    sense_bytes: u32,
    residual: u32,
    status: ScsiStatus,
    response: Response,
}

impl Head {
    /// `None` when there are too few bytes.
    fn new(bytes: &[u8]) -> Option<Self> {
        let (sense_bytes, rest) = u32::read_from_prefix(bytes).ok()?;
        let (residual, rest) = u32::read_from_prefix(rest).ok()?;
        // Two bytes of status qualifier come before the status.
        let [_, _, status, response, ..] = *rest else {
            return None;
        };
        Some(Self {
            sense_bytes: u32::from_le(sense_bytes),
            residual: u32::from_le(residual),
            status: ScsiStatus(status),
            response: Response(response),
        })
    }
}

impl Head {
    /// The command was done, with nothing missing.
    const fn is_success(&self) -> bool {
        self.response.0 == Response::OK.0 && self.status.0 == ScsiStatus::GOOD.0 && self.residual == 0
    }
}

/// The sense key, as classpnp finds it: the descriptor format has it in byte 1, and what is none is taken for the fixed format
/// (SPC-4, 4.5).
fn sense_key(sense: &[u8]) -> Option<SenseKey> {
    let descriptors = matches!(sense.first()? & 0x7f, 0x72 | 0x73);
    let key = sense.get(if descriptors { 1 } else { 2 })?;
    Some(SenseKey(key & 0x0f))
}

/// How many bytes are missing of a command that was done after the unit had helped itself; `None` when it ended otherwise.
fn missing_of_recovered(response: &[u8]) -> Option<u32> {
    let head = Head::new(response)?;
    let recovered = head.response == Response::OK
        && head.status == ScsiStatus::CHECK_CONDITION
        && sense_key(response.get(HEAD_BYTES..)?) == Some(SenseKey::RECOVERED_ERROR);
    recovered.then_some(head.residual)
}

/// How many bytes of sense data the device claims, at most as many as there is room for.
pub(crate) fn sense_bytes(head: &[u8]) -> usize {
    let claimed = Head::new(head).map_or(0, |head| head.sense_bytes);
    claimed.min(config::DEFAULT_SENSE_SIZE) as usize
}

/// The used length says nothing here: Linux's vhost-scsi always reports 0. A response that the device did not write has
/// an unknown code, because the last one was spoilt when it was read.
///
/// How the command ended is the status' to say. The residual only counts, and is a claim: more than was asked for cannot be
/// missing. Linux's target counts against the CDB's allocation length where that is longer than the buffer
/// (drivers/target/target_core_transport.c, target_cmd_size_check), so such a number says nothing, and all of it was moved.
///
/// `asked` is how many bytes the command was for.
#[inline]
pub(crate) fn complete(srb: &mut Request, response: &[u8], asked: u32) -> Completion {
    match Head::new(response) {
        // What nearly all of them are.
        Some(head) if head.is_success() => Completion::success(asked),
        head => complete_other(srb, head, response, asked),
    }
}

#[cold]
#[inline(never)]
fn complete_other(srb: &mut Request, head: Option<Head>, response: &[u8], asked: u32) -> Completion {
    let Some(head) = head else {
        return Completion::failed(SrbStatus::BUS_RESET);
    };
    if let Some(status) = srb_status(head.response) {
        return Completion::failed(status);
    }
    let verdict = Verdict::of(head.status);
    // QEMU claims it of a write that it tried again after the machine had stopped for a full disk. What was moved is unknown
    // then: a success of nothing would be a lost write to whoever sent it, so it is sent again.
    if head.residual > asked && verdict == Verdict::Done && srb.direction() == DataDirection::Out {
        return Completion::failed(SrbStatus::ABORTED);
    }
    let transferred = asked.checked_sub(head.residual).unwrap_or(asked);
    let autosense = head.status == ScsiStatus::CHECK_CONDITION
        && response.len() > HEAD_BYTES
        && srb.write_sense(&response[HEAD_BYTES..]) > 0;
    let status = match verdict {
        Verdict::Done if transferred < asked => SrbStatus::DATA_OVERRUN,
        Verdict::Done => SrbStatus::SUCCESS,
        Verdict::NotBegun => SrbStatus::BUSY,
        Verdict::Aborted => SrbStatus::ABORTED,
        Verdict::Failed => SrbStatus::ERROR,
    };
    Completion { status, scsi_status: head.status, transferred, autosense }
}

/// A part of a READ or WRITE is done: the next one follows, unless that was the last or something went wrong. As far as it
/// got, it was moved.
///
/// RECOVERED ERROR is not wrong: classpnp takes the whole request for a success then, however little was moved
/// (Windows-driver-samples, storage/class/classpnp/src/class.c, ClassInterpretSenseInfo), and the rest of it would be lost.
/// Of the other sense keys it takes none so: NO SENSE is sent again.
#[cold]
pub(crate) fn complete_part(
    hba: &Hba,
    srb: &mut Request,
    command: Command,
    response: &[u8],
) -> Step<Command> {
    let (part, blocks) = steps::part(hba, srb, command.done);
    let before = part.offset;
    let is_last = before.saturating_add(part.bytes) >= srb.data_length();
    let next = Step::Next(Command { done: command.done.saturating_add(blocks), ..command });
    if !is_last && let Some(missing) = missing_of_recovered(response) {
        return if missing == 0 { next } else { Step::Done(Completion::failed(SrbStatus::ABORTED)) };
    }
    let completion = complete(srb, response, part.bytes);
    match completion.status {
        SrbStatus::SUCCESS if !is_last => next,
        SrbStatus::SUCCESS | SrbStatus::DATA_OVERRUN | SrbStatus::ERROR => Step::Done(Completion {
            transferred: before.saturating_add(completion.transferred),
            ..completion
        }),
        _ => Step::Done(completion),
    }
}

/// The data of a command is in scratch memory.
#[cold]
pub(crate) fn complete_copy(srb: &mut Request, response: &[u8], scratch: Option<&Region>) -> Completion {
    let completion = complete(srb, response, srb.data_length());
    if srb.direction() == DataDirection::In
        && let Some(scratch) = scratch
    {
        let data = srb.data();
        let length = data.len().min(completion.transferred as usize).min(scratch.len());
        scratch.read_bytes(0, &mut data[..length]);
    }
    completion
}
