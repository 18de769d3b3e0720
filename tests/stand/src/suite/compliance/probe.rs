//! One command, with a buffer whose every byte is accounted for.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use stand::scsi::{self, Command, Direction, Sense};
use stand::spc;
use stand::wdk::codes::*;

use super::Target;
use crate::cpu::clock;
use crate::memory::{PAGE, arena, driver};
use crate::scan::class::TIMEOUT;
use crate::storport::request::{Answer, Data, Request};
use crate::storport::{port, queue};

/// Times a command is sent again after a unit attention.
const ATTEMPTS: u32 = 6;
/// Fills of buffers in turn. They differ so that a byte that was never written cannot pass for one that was read twice.
const PATTERNS: [u8; 2] = [0xC7, 0x39];
/// Where buffers start by turns, before alignment: in the middle of a page, and so that they go on in the next one,
/// which lies elsewhere in physical memory.
const STARTS: [u64; 2] = [512, PAGE - 8];

/// The sense data that refuses an unknown command.
pub const INVALID_OPERATION_CODE: Sense = Sense { key: 5, asc: 0x20, ascq: 0 };
/// The sense data that refuses a block behind the last.
pub const LBA_OUT_OF_RANGE: Sense = Sense { key: 5, asc: 0x21, ascq: 0 };
/// The sense data that refuses a field of the CDB.
pub const INVALID_FIELD_IN_CDB: Sense = Sense { key: 5, asc: 0x24, ascq: 0 };
/// The sense data that refuses a field of the parameter list.
pub const INVALID_FIELD_IN_LIST: Sense = Sense { key: 5, asc: 0x26, ascq: 0 };
/// The sense data that refuses a parameter list cut short.
pub const LIST_LENGTH: Sense = Sense { key: 5, asc: 0x1A, ascq: 0 };

/// What came back.
pub struct Reply {
    command: Command,
    /// A device is the target, not the driver.
    passed_through: bool,
    /// The miniport's answer.
    pub answer: Answer,
    /// The whole buffer.
    pub buffer: Vec<u8>,
    /// What an untouched byte of it holds.
    pub pattern: u8,
    /// A write where none was allowed.
    stray: Option<String>,
}

/// Sends a command with a buffer of `room` bytes to read into.
pub fn read(target: &Target<'_>, command: Command, room: usize) -> Reply {
    exchange(target, command, room, None)
}

/// Sends a command without data.
pub fn plain(target: &Target<'_>, command: Command) -> Reply {
    exchange(target, command, 0, None)
}

/// Sends a command with data.
pub fn write(target: &Target<'_>, command: Command, data: &[u8]) -> Reply {
    exchange(target, command, data.len(), Some(data))
}

fn exchange(target: &Target<'_>, mut command: Command, room: usize, out: Option<&[u8]>) -> Reply {
    let (tag, alignment) = {
        let port = port();
        (port.next_tag as usize, u64::from(port.config.alignment_mask) + 1)
    };
    let front = STARTS[tag / 2 % STARTS.len()].next_multiple_of(alignment);
    // At least a page behind the buffer is there to be watched.
    let Some(range) = arena::scattered(front + room as u64 + PAGE) else {
        crate::stop!("no memory for a buffer")
    };
    let size = (range.pages * PAGE) as usize;
    let pattern = PATTERNS[tag % PATTERNS.len()];
    let start = range.address + front;
    // Windows marks a request without a buffer as one without data, whatever the CDB might move.
    if room == 0 {
        command.direction = Direction::None;
    }
    let data = if room == 0 { Data::default() } else { Data { address: start, length: room as u32 } };
    let mut attempt = 0;
    let answer = loop {
        driver::fill("compliance", range.address, pattern, size);
        if let Some(out) = out {
            driver::put("compliance", start, out);
        }
        attempt += 1;
        let answer = queue::execute(Request::new(target.unit.address, command, data, TIMEOUT)).answer;
        if attempt == ATTEMPTS || !come_again(&answer) {
            break answer;
        }
    };
    let all = driver::bytes("compliance", range.address, size);
    arena::release(range);
    let (before, rest) = all.split_at(front as usize);
    let (buffer, behind) = rest.split_at(room);
    let mut stray = None;
    for (what, bytes) in [("before", before), ("behind", behind)] {
        if let Err(at) = spc::untouched(bytes, pattern) {
            stray = Some(format!("{} wrote {what} its buffer of {room} bytes (offset {at})", command.name));
        }
    }
    if out.is_some_and(|out| out != buffer) {
        stray = Some(format!("{} changed the data it was given", command.name));
    }
    target.count(stray.as_deref());
    let (passed_through, buffer) = (target.passes_through, buffer.to_vec());
    Reply { command, passed_through, answer, buffer, pattern, stray }
}

/// Unit attention and "becoming ready" are news, not answers.
fn come_again(answer: &Answer) -> bool {
    match answer.sense() {
        Some(sense) if sense.key == scsi::UNIT_ATTENTION => true,
        Some(sense) if sense.key == scsi::NOT_READY && (sense.asc, sense.ascq) == (4, 1) => {
            clock::stall(10_000);
            true
        }
        _ => answer.srb_status & 0x3F == SRB_STATUS_BUS_RESET,
    }
}

impl Reply {
    /// DataTransferLength.
    pub fn transferred(&self) -> usize {
        self.answer.transferred as usize
    }

    /// Whether it succeeded. error-handling-in-storport-miniport-drivers.md: SRB_STATUS_DATA_OVERRUN stands for an
    /// underrun too, and DataTransferLength then says how much was moved; a request that moved all of its buffer is
    /// no underrun.
    pub fn good(&self) -> bool {
        let status = self.answer.srb_status & !SRB_STATUS_QUEUE_FROZEN;
        self.answer.scsi_status == 0
            && (status == SRB_STATUS_SUCCESS
                || status == SRB_STATUS_DATA_OVERRUN && self.transferred() < self.buffer.len())
    }

    /// What was read, of a command that must succeed.
    pub fn data(&self) -> Result<&[u8], String> {
        self.succeeded()?;
        Ok(&self.buffer[..self.transferred().min(self.buffer.len())])
    }

    /// That it succeeded.
    pub fn succeeded(&self) -> Result<(), String> {
        self.inside()?;
        if self.good() { Ok(()) } else { Err(self.text()) }
    }

    /// That it succeeded and moved nothing.
    pub fn moved_nothing(&self) -> Result<(), String> {
        self.succeeded()?;
        match self.transferred() {
            0 => self.untouched(),
            // QEMU's residual of a command that moves nothing is 0.
            all if self.passed_through && all == self.buffer.len() => self.untouched(),
            moved => Err(format!("{}: DataTransferLength {moved} and not 0", self.command.name)),
        }
    }

    /// That nothing was written but in the buffer.
    pub fn inside(&self) -> Result<(), String> {
        self.stray.clone().map_or(Ok(()), Err)
    }

    /// The reply as [`spc::prefix`] wants it.
    pub fn moved(&self, allocation: usize) -> spc::Moved<'_> {
        spc::Moved {
            allocation,
            buffer: &self.buffer,
            transferred: self.transferred(),
            pattern: self.pattern,
        }
    }

    /// That the buffer is as it was.
    pub fn untouched(&self) -> Result<(), String> {
        self.inside()?;
        if self.command.direction == Direction::Out {
            return Ok(());
        }
        spc::untouched(&self.buffer, self.pattern)
            .map_err(|at| format!("{}: byte {at} of the buffer was written", self.command.name))
    }

    /// The sense data of a command that ended with CHECK CONDITION. It must reach the port driver as
    /// ns-storport-_scsi_request_block.md says: SRB_STATUS_ERROR with SRB_STATUS_AUTOSENSE_VALID and the SCSI status.
    pub fn sense(&self) -> Result<Sense, String> {
        let status = self.answer.srb_status & !SRB_STATUS_QUEUE_FROZEN;
        if self.answer.scsi_status != 2 || status != SRB_STATUS_ERROR | SRB_STATUS_AUTOSENSE_VALID {
            return Err(self.text());
        }
        // SenseInfoBufferLength says how much there is (ns-storport-_srbex_data_scsi_cdb16.md).
        let claimed = self.answer.sense.len();
        let there = 8 + self.answer.sense.get(7).map_or(0, |more| usize::from(*more));
        if claimed > there {
            return Err(format!("{}: {there} bytes of sense data, called {claimed}", self.command.name));
        }
        spc::sense(&self.answer.sense, self.command.length)
            .map_err(|text| format!("{}: sense data: {text}", self.command.name))
    }

    /// That it was refused with one of these, and moved nothing.
    pub fn refused(&self, with: &[Sense]) -> Result<(), String> {
        let sense = self.sense()?;
        if !with.contains(&sense) {
            return Err(format!("{}: {sense}, not {}", self.text(), with[0]));
        }
        self.untouched()
    }

    /// Whether the command is not implemented.
    pub fn unknown(&self) -> bool {
        self.sense() == Ok(INVALID_OPERATION_CODE)
    }

    /// Whether the driver rejected the request itself, without a SCSI status.
    pub fn rejected(&self) -> bool {
        let status = self.answer.srb_status & !SRB_STATUS_QUEUE_FROZEN;
        self.answer.scsi_status == 0 && status == SRB_STATUS_INVALID_REQUEST
    }

    /// In words.
    pub fn text(&self) -> String {
        let bytes = &self.command.cdb[..usize::from(self.command.length)];
        format!("{} ({bytes:02x?}): {}", self.command.name, self.answer.text())
    }
}

/// Collects what is wrong in a check of many tries: the first few in words, and how many.
#[derive(Default)]
pub struct Faults {
    count: usize,
    text: String,
}

impl Faults {
    /// Adds a try.
    pub fn note(&mut self, what: &str, verdict: Result<(), String>) {
        let Err(text) = verdict else { return };
        self.count += 1;
        if self.count <= 3 {
            let separator = if self.count == 1 { "" } else { "; " };
            self.text = format!("{}{separator}{what}: {text}", self.text);
        }
    }

    /// The verdict over all tries.
    pub fn verdict(self, good: String) -> Result<String, String> {
        match self.count {
            0 => Ok(good),
            count => Err(format!("{count} fault(s): {}", self.text)),
        }
    }
}
