//! Transfers: a read or write of any size, many at once. The class driver splits it into requests, sends them again as often as
//! Windows' does, and fails it otherwise ([`stand::class`], [`stand::split`]).

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use core::sync::atomic::{AtomicU64, Ordering};

use stand::class::{Next, Packet, RETRIES, Status};
use stand::scsi::{self, Capacity};
use stand::split::{self, Limits};

use super::buffer::Buffer;
use crate::cpu::clock;
use crate::scan::class::TIMEOUT;
use crate::storport::request::Request;
use crate::storport::{Address, port, queue};

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
    /// What the application is told.
    pub status: Status,
    left: usize,
}

/// Transfers of one unit, by slot.
pub struct Flights {
    /// Tells its requests from those of others.
    id: u64,
    address: Address,
    block: u32,
    limits: Limits,
    /// Seconds a request may take.
    pub timeout: u32,
    /// The processor that starts its requests; `None` is all in turn.
    pub processor: Option<u32>,
    /// Times a request is sent again at most; the class driver's [`RETRIES`] unless a suite wants fewer.
    pub retries: u8,
    /// Most seconds before one is sent again, whatever the class driver would wait.
    pub longest_pause: u32,
    /// How often a request was sent again.
    pub again: u64,
    /// What the unit said of its size.
    pub capacity: Option<Capacity>,
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
        static IDS: AtomicU64 = AtomicU64::new(1);
        let id = IDS.fetch_add(1, Ordering::Relaxed);
        Flights {
            id,
            address,
            block,
            limits,
            timeout: TIMEOUT,
            processor: None,
            retries: RETRIES,
            longest_pause: u32::MAX,
            again: 0,
            capacity: None,
            slots: (0..slots).map(|_| None).collect(),
        }
    }

    /// Starts a transfer in a free slot. `wide` asks for 16-byte commands, where the target knows them.
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
        let wide = wide && !port().few_commands;
        let mut left = 0;
        let mut requests: Vec<Box<Request>> = Vec::new();
        for piece in pieces {
            let first = lba + u64::from(piece.offset / self.block);
            let command = scsi::transfer(write, first, piece.length / self.block, wide);
            let data = buffer.part(piece.offset, piece.length);
            let mut request = Request::new(self.address, command, data, self.timeout);
            request.cookie = self.id << 32 | slot as u64;
            request.packet = Packet::new(self.retries);
            request.pinned = self.processor;
            requests.push(request);
            left += 1;
        }
        self.slots[slot] = Some(Transfer { lba, write, buffer, error: None, status: Status::SUCCESS, left });
        for request in requests {
            queue::submit(request);
        }
    }

    /// The unit is at another address now. No transfer may be under way.
    pub fn move_to(&mut self, address: Address) {
        self.address = address;
    }

    /// Whether no transfer is under way in a slot.
    pub fn is_free(&self, slot: usize) -> bool {
        self.slots[slot].is_none()
    }

    /// Waits for transfers to end; answers with their slots. Empty when none is under way.
    pub fn finished(&mut self) -> Vec<(usize, Transfer)> {
        let mut ended = Vec::new();
        if self.slots.iter().all(Option::is_none) {
            return ended;
        }
        let in_time = queue::wait(u64::from(TIMEOUT) * 1000 + 60_000, || {
            ended = self.ended();
            !ended.is_empty()
        });
        if !in_time {
            crate::stop!("transfers neither ended nor timed out");
        }
        ended
    }

    /// Transfers that have ended by now, with their slots.
    pub fn ended(&mut self) -> Vec<(usize, Transfer)> {
        let mut ended = Vec::new();
        for mut request in queue::take_done(|cookie| cookie >> 32 == self.id) {
            let slot = request.cookie as u32 as usize;
            let Some(transfer) = self.slots.get_mut(slot).and_then(Option::as_mut) else { continue };
            let next = {
                let mut packet = request.packet;
                let next = packet.ended(&request.ending(self.capacity));
                request.packet = packet;
                next
            };
            let status = match next {
                Next::Again(seconds) => {
                    self.again += 1;
                    let pause = seconds.min(self.longest_pause);
                    request.not_before = clock::ticks() + u64::from(pause) * 1000;
                    queue::submit(request);
                    continue;
                }
                Next::Ended(status) => status,
            };
            transfer.left -= 1;
            let text = || alloc::format!("{}: {}", request.text(), request.answer.text());
            if !status.is_success() {
                if transfer.error.is_none() {
                    transfer.status = status;
                }
                transfer.error.get_or_insert_with(|| {
                    alloc::format!("the class driver fails it with {:#010x}: {}", status.0, text())
                });
            } else if request.answer.transferred != request.data.length {
                transfer.error.get_or_insert_with(|| alloc::format!("not all of it moved: {}", text()));
            }
            if transfer.left == 0 {
                ended.extend(self.slots[slot].take().map(|transfer| (slot, transfer)));
            }
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
