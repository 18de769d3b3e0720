//! The device's answer → how the request ends. The one table from virtio-blk status to SCSI.

use adapter::Step;
use scsi::Sense;
use scsi::cdb::Inquiry;
use storport::{Completion, Srb};
use virtio::memory::Region;
use virtio::spec::blk::Status;

use crate::build_io::{Command, refuse};
use crate::identity::{self, Serial};

type Request = adapter::Command<Command>;

pub(crate) fn complete(
    srb: &mut impl Srb<Request>,
    command: Command,
    response: &[u8],
    used_bytes: u32,
    scratch: Option<&Region>,
) -> Step<Command> {
    let status = response.first().map_or(Status::IOERR, |byte| Status(*byte));
    let completion = match command {
        Command::Read(_) => match status {
            // The device says how much it wrote; a read that came back short must not be taken for a whole one. Devices
            // that leave the status out of the count, or do not count at all, are believed.
            Status::OK if used_bytes == 0 || used_bytes >= srb.data_length() => {
                Completion::success(srb.data_length())
            }
            Status::OK => refuse(srb, Sense::INTERNAL_TARGET_FAILURE),
            other => refuse(srb, sense(other, Sense::UNRECOVERED_READ_ERROR)),
        },
        // A flush makes durable what was completed before it was sent (virtio 1.3, 5.2.6.2), so it waits for the write's
        // answer; after a write that failed there is nothing to flush, and its error stays.
        Command::WriteThrough(_) if status == Status::OK => return Step::Next(Command::FlushWritten),
        Command::Write(_) | Command::WriteThrough(_) | Command::FlushWritten => match status {
            Status::OK => Completion::success(srb.data_length()),
            other => refuse(srb, sense(other, Sense::WRITE_ERROR)),
        },
        Command::Flush => match status {
            Status::OK => Completion::success(0),
            other => refuse(srb, sense(other, Sense::WRITE_ERROR)),
        },
        Command::Identify(request) => identify(scratch, srb, request, status),
    };
    Step::Done(completion)
}

/// A device that knows no GET_ID has no serial number; the pages exist all the same.
fn identify(
    scratch: Option<&Region>,
    srb: &mut impl Srb<Request>,
    request: Inquiry,
    status: Status,
) -> Completion {
    let serial = match (status, scratch) {
        (Status::OK, Some(memory)) => Serial::load(memory),
        (Status::UNSUPP, _) | (Status::OK, None) => Serial::new([0; identity::BYTES]),
        (other, _) => return refuse(srb, sense(other, Sense::INTERNAL_TARGET_FAILURE)),
    };
    match identity::page(&serial, request) {
        Ok(page) => {
            let transferred = page.copy_to(srb.data(), u32::from(request.allocation_length));
            Completion::success(transferred)
        }
        Err(sense) => refuse(srb, sense),
    }
}

/// Sense data for a failed request; `on_error` is what the medium did.
fn sense(status: Status, on_error: Sense) -> Sense {
    match status {
        Status::IOERR => on_error,
        Status::UNSUPP => Sense::INVALID_OPERATION_CODE,
        // A status that the specification does not have.
        _ => Sense::INTERNAL_TARGET_FAILURE,
    }
}
