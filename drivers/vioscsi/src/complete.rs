//! The device's answer → how the request ends: status, residual, sense.

use core::mem::offset_of;

use adapter::Step;
use scsi::SenseKey;
use storport::srb::ScsiStatus;
use storport::{Completion, DataDirection, SrbStatus};
use virtio::memory::{Region, SharedMemory};
use virtio::spec::scsi::{CmdResponse, Response, config};

use crate::Request;
use crate::build_io::Command;
use crate::config::Hba;
use crate::status::{Verdict, srb_status};
use crate::{steps, tape};

/// Bytes of the response before the sense data.
const HEAD_BYTES: usize = size_of::<CmdResponse>() - config::DEFAULT_SENSE_SIZE as usize;
/// Most bytes of sense data.
const SENSE_BYTES: usize = config::DEFAULT_SENSE_SIZE as usize;

/// What the device answered (virtio 1.3, 5.6.6.1). Its sense data, which most answers have none of, is read when it is asked
/// for.
pub(crate) struct Answer<'a> {
    /// As the device claims.
    sense_length: u32,
    residual: u32,
    status: ScsiStatus,
    code: Response,
    response: adapter::Response<'a>,
}

impl<'a> Answer<'a> {
    /// The part of the response before the sense data, which is spoilt for the next one.
    pub(crate) fn read(response: &adapter::Response<'a>) -> Self {
        let head: [u8; HEAD_BYTES] = response.read(0);
        response.spoil(HEAD_BYTES);
        // Two bytes of status qualifier come before the status.
        let [s0, s1, s2, s3, r0, r1, r2, r3, _, _, status, code] = head;
        Self {
            sense_length: u32::from_le_bytes([s0, s1, s2, s3]),
            residual: u32::from_le_bytes([r0, r1, r2, r3]),
            status: ScsiStatus(status),
            code: Response(code),
            response: *response,
        }
    }

    /// The command was done, with nothing missing.
    pub(crate) fn is_success(&self) -> bool {
        self.code == Response::OK && self.status == ScsiStatus::GOOD && self.residual == 0
    }

    /// The sense data, as much as the device claims and there is room for.
    fn sense<'b>(&self, buffer: &'b mut [u8; SENSE_BYTES]) -> &'b [u8] {
        let sense = &mut buffer[..SENSE_BYTES.min(self.sense_length as usize)];
        self.response.read_into(HEAD_BYTES, sense);
        sense
    }

    /// How many bytes are missing of a command that was done after the unit had helped itself; `None` when it ended otherwise.
    fn missing_of_recovered(&self) -> Option<u32> {
        let sense_key = || sense_key(self.sense(&mut [0; SENSE_BYTES]));
        let recovered = self.code == Response::OK
            && self.status == ScsiStatus::CHECK_CONDITION
            && sense_key() == Some(SenseKey::RECOVERED_ERROR);
        recovered.then_some(self.residual)
    }
}

/// Whether the device says that a command was done, with nothing missing: the answer that nearly all have. Then the part of it
/// before the sense data is spoilt for the next one.
#[inline(always)]
pub(crate) fn is_success(response: &adapter::Response<'_>) -> bool {
    const {
        assert!(offset_of!(CmdResponse, residual) == 4 && offset_of!(CmdResponse, status_qualifier) == 8);
        assert!(offset_of!(CmdResponse, status) == 10 && offset_of!(CmdResponse, response) == 11);
        assert!(ScsiStatus::GOOD.0 == 0 && Response::OK.0 == 0);
    }
    // The length of sense data says nothing without any, nor does the qualifier of a status (SAM-5, 5.3.2) that is GOOD.
    let done = response.word64(0) >> 32 == 0 && response.word32(8) >> 16 == 0;
    if done {
        response.spoil(HEAD_BYTES);
    }
    done
}

/// The sense key, as classpnp finds it: the descriptor format has it in byte 1, and what is none is taken for the fixed format
/// (SPC-4, 4.5).
fn sense_key(sense: &[u8]) -> Option<SenseKey> {
    let descriptors = matches!(sense.first()? & 0x7f, 0x72 | 0x73);
    let key = sense.get(if descriptors { 1 } else { 2 })?;
    Some(SenseKey(key & 0x0f))
}

/// Whether all data of a command can have been moved that ended so, when the device names no residual that can be. QEMU names
/// none with any status but GOOD (hw/scsi/virtio-scsi.c, virtio_scsi_command_complete), so that most commands that failed
/// have none although they moved nothing; a sender that looks at the length would take what was in its buffer for an answer.
fn may_have_moved_all(verdict: Verdict, sense: &[u8]) -> bool {
    match verdict {
        Verdict::Done => true,
        Verdict::NotBegun | Verdict::Aborted => false,
        // The other sense keys come with data as well, such as those of a tape.
        Verdict::Failed => sense_key(sense).is_some_and(|key| {
            !matches!(
                key,
                SenseKey::NOT_READY
                    | SenseKey::MEDIUM_ERROR
                    | SenseKey::HARDWARE_ERROR
                    | SenseKey::ILLEGAL_REQUEST
                    | SenseKey::UNIT_ATTENTION
                    | SenseKey::DATA_PROTECT
                    | SenseKey::ABORTED_COMMAND
            )
        }),
    }
}

/// The used length says nothing here: Linux's vhost-scsi always reports 0. A response that the device did not write has
/// an unknown code, because the last one was spoilt when it was read.
///
/// The status alone says how the command ended. The residual only counts, and is a claim: more than was asked for cannot be
/// missing. Linux's target counts against the CDB's allocation length where that is longer than the buffer
/// (drivers/target/target_core_transport.c, target_cmd_size_check), so such a number says nothing: all was moved, or nothing.
///
/// `asked` is how many bytes the command was for.
pub(crate) fn complete(request: &mut Request, answer: &Answer<'_>, asked: u32) -> Completion {
    if answer.is_success() {
        return Completion::success(asked);
    }
    if let Some(status) = srb_status(answer.code) {
        return Completion::failed(status);
    }
    let verdict = Verdict::of(answer.status);
    // QEMU claims it of a write that it tried again after the machine had stopped for a full disk. What was moved is unknown
    // then: a success of nothing would be a lost write to whoever sent it, so it is sent again.
    if answer.residual > asked && verdict == Verdict::Done && request.direction() == DataDirection::Out {
        return Completion::failed(SrbStatus::ABORTED);
    }
    let mut room = [0; SENSE_BYTES];
    let with_sense = answer.status == ScsiStatus::CHECK_CONDITION;
    let sense = if with_sense { answer.sense(&mut room) } else { &[] };
    let transferred = match asked.checked_sub(answer.residual) {
        Some(moved) if answer.residual > 0 => moved,
        _ if !may_have_moved_all(verdict, sense) => 0,
        _ if with_sense => asked - tape::missing(request.cdb(), sense, asked).unwrap_or(0),
        _ => asked,
    };
    let autosense = with_sense && request.write_sense(sense) > 0;
    let status = match verdict {
        Verdict::Done if transferred < asked => SrbStatus::DATA_OVERRUN,
        Verdict::Done => SrbStatus::SUCCESS,
        Verdict::NotBegun => SrbStatus::BUSY,
        Verdict::Aborted => SrbStatus::ABORTED,
        Verdict::Failed => SrbStatus::ERROR,
    };
    Completion { status, scsi_status: answer.status, transferred, autosense }
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
    request: &mut Request,
    command: Command,
    answer: &Answer<'_>,
) -> Step<Command> {
    let (part, blocks) = steps::part(hba, request, command.done);
    let before = part.offset;
    let is_last = before.saturating_add(part.bytes) >= request.data_length();
    let next = Step::Next(Command { done: command.done.saturating_add(blocks), ..command });
    if !is_last && let Some(missing) = answer.missing_of_recovered() {
        return if missing == 0 { next } else { Step::Done(Completion::failed(SrbStatus::ABORTED)) };
    }
    let completion = complete(request, answer, part.bytes);
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
pub(crate) fn complete_copy(
    request: &mut Request,
    answer: &Answer<'_>,
    scratch: Option<&Region>,
) -> Completion {
    let completion = complete(request, answer, request.data_length());
    if request.direction() == DataDirection::In
        && let Some(scratch) = scratch
    {
        let data = request.data();
        let length = data.len().min(completion.transferred as usize).min(scratch.len());
        scratch.read_bytes(0, &mut data[..length]);
    }
    completion
}
