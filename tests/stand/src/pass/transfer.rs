//! Transfers: a read or write of any size, split into requests as the class driver splits it, many at once.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use stand::scsi;
use stand::split::{self, Limits};

use super::buffer::Buffer;
use crate::scan::class::{Outcome, TIMEOUT};
use crate::storport::request::Request;
use crate::storport::{Address, port, queue};

/// Times a request is sent again after a unit attention.
const ATTEMPTS: u32 = 3;

/// A transfer under way or done.
pub struct Transfer {
    /// First block.
    pub lba: u64,
    /// Write, not read.
    pub write: bool,
    /// The data.
    pub buffer: Buffer,
    /// Why it failed, if it did.
    pub error: Option<String>,
    left: usize,
}

/// Transfers of one unit, by slot.
pub struct Flights {
    address: Address,
    block: u32,
    limits: Limits,
    slots: Vec<Option<Transfer>>,
}

impl Flights {
    /// Room for `slots` transfers at once.
    pub fn new(address: Address, block: u32, slots: usize) -> Self {
        let port = port();
        let limits = Limits {
            bytes: port.config.maximum_transfer_length,
            pages: port.config.number_of_physical_breaks,
        };
        Flights { address, block, limits, slots: (0..slots).map(|_| None).collect() }
    }

    /// Starts a transfer in a free slot. `wide` asks for 16-byte commands.
    pub fn start(&mut self, slot: usize, lba: u64, write: bool, buffer: Buffer, wide: bool) {
        let Some(pieces) = split::pieces(buffer.offset(), buffer.length, self.block, self.limits) else {
            crate::broken!(
                "limits-too-small",
                "{} bytes and {} pages per request cannot carry a block of {} bytes",
                self.limits.bytes,
                self.limits.pages,
                self.block
            );
        };
        let mut left = 0;
        let mut requests: Vec<Box<Request>> = Vec::new();
        for piece in pieces {
            let first = lba + u64::from(piece.offset / self.block);
            let command = scsi::transfer(write, first, piece.length / self.block, wide);
            let data = buffer.part(piece.offset, piece.length);
            let mut request = Request::new(self.address, command, data, TIMEOUT);
            request.cookie = slot as u64;
            requests.push(request);
            left += 1;
        }
        self.slots[slot] = Some(Transfer { lba, write, buffer, error: None, left });
        for request in requests {
            queue::submit(request);
        }
    }

    /// Waits for transfers to end; answers with their slots. Empty when none is under way.
    pub fn finished(&mut self) -> Vec<(usize, Transfer)> {
        let mut ended = Vec::new();
        if self.slots.iter().all(Option::is_none) {
            return ended;
        }
        let in_time = queue::wait(u64::from(TIMEOUT) * 1000 + 10_000, || {
            for mut request in queue::take_done() {
                let slot = request.cookie as usize;
                let Some(transfer) = self.slots.get_mut(slot).and_then(Option::as_mut) else { continue };
                let outcome = Outcome::of(&request.answer);
                // A unit attention (after a restart, for instance) is news, not failure: the command is sent again.
                if matches!(&outcome, Outcome::Sense(sense) if sense.key == scsi::UNIT_ATTENTION)
                    && request.attempts < ATTEMPTS
                {
                    request.attempts += 1;
                    queue::submit(request);
                    continue;
                }
                transfer.left -= 1;
                if !matches!(outcome, Outcome::Good) {
                    transfer.error.get_or_insert_with(|| alloc::format!("{}: {outcome}", request.text()));
                } else if request.answer.transferred != request.data.length {
                    let text = request.text();
                    transfer.error.get_or_insert_with(|| {
                        alloc::format!("{text}: only {} bytes moved", request.answer.transferred)
                    });
                }
                if transfer.left == 0 {
                    ended.extend(self.slots[slot].take().map(|transfer| (slot, transfer)));
                }
            }
            !ended.is_empty()
        });
        if !in_time {
            crate::stop!("transfers neither ended nor timed out");
        }
        ended
    }

    /// Runs one transfer to its end.
    pub fn one(&mut self, lba: u64, write: bool, buffer: Buffer, wide: bool) -> Transfer {
        self.start(0, lba, write, buffer, wide);
        loop {
            if let Some((_, transfer)) = self.finished().pop() {
                return transfer;
            }
        }
    }
}
