//! One command at a time, as class drivers send them: again as often, and after as long, as [`stand::class`] has it.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use stand::class::{Next, Packet, RETRIES};
use stand::scsi::{self, Command, Sense};
use stand::wdk::codes::*;

use crate::memory::arena;
pub use crate::storport::name;
use crate::storport::request::{Answer, Data, Request};
use crate::storport::{Address, port, queue};

/// Time-out of a command in seconds.
pub const TIMEOUT: u32 = 8;

/// How a command ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It succeeded.
    Good,
    /// Nobody is there.
    NoDevice,
    /// CHECK CONDITION with sense.
    Sense(Sense),
    /// Anything else, in words.
    Failed(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Good => write!(f, "good"),
            Outcome::NoDevice => write!(f, "no device"),
            Outcome::Sense(sense) => write!(f, "{sense}"),
            Outcome::Failed(text) => write!(f, "{text}"),
        }
    }
}

impl Outcome {
    /// Reads an answer.
    pub fn of(answer: &Answer) -> Self {
        match answer.srb_status & 0x3F {
            SRB_STATUS_SUCCESS => Outcome::Good,
            // An underrun is a success with less data; the class drivers look at the length.
            SRB_STATUS_DATA_OVERRUN if answer.scsi_status == 0 => Outcome::Good,
            SRB_STATUS_NO_DEVICE
            | SRB_STATUS_SELECTION_TIMEOUT
            | SRB_STATUS_INVALID_TARGET_ID
            | SRB_STATUS_INVALID_LUN
            | SRB_STATUS_INVALID_PATH_ID => Outcome::NoDevice,
            _ => match answer.sense() {
                Some(sense) => Outcome::Sense(sense),
                None => Outcome::Failed(answer.text()),
            },
        }
    }
}

/// Sends a command that reads up to `length` bytes and answers with what came.
pub fn send(address: Address, command: Command, length: u32) -> (Outcome, Vec<u8>) {
    let Some(range) = arena::scattered(u64::from(length.max(1))) else {
        crate::stop!("no memory for a buffer")
    };
    let data = if length == 0 { Data::default() } else { Data { address: range.address, length } };
    let mut packet = Packet::default();
    let result = loop {
        let mut request = Request::new(address, command, data, TIMEOUT);
        request.packet = packet;
        let request = queue::execute(request);
        if let Next::Again(seconds) = packet.ended(&request.ending(None)) {
            queue::wait(u64::from(seconds) * 1000, || seconds == 0);
            continue;
        }
        let outcome = Outcome::of(&request.answer);
        let bytes = if matches!(outcome, Outcome::Good) && length > 0 {
            crate::memory::driver::bytes(
                "class",
                range.address,
                request.answer.transferred.min(length) as usize,
            )
        } else {
            Vec::new()
        };
        break (outcome, bytes);
    };
    arena::release(range);
    result
}

/// TEST UNIT READY until the unit has no news.
pub fn ready(address: Address) -> Outcome {
    send(address, scsi::test_unit_ready(), 0).0
}

/// One command to each disk while the queues are held: what the disk class driver does around a change of power (classpnp's
/// power.c). Going down it is SYNCHRONIZE CACHE, coming up START STOP UNIT, which is also what meets the unit attention of a
/// unit that was without power: no application's request does.
pub fn to_all_disks(command: Command) {
    let (disks, lenient, misses) = {
        let port = port();
        (port.disks.clone(), port.ladder.lenient, port.ladder.misses)
    };
    for address in disks {
        // A device that is at fault may be as late as it likes; nobody waits for that again and again.
        let (retries, timeout) = if lenient { (0, 2) } else { (RETRIES, TIMEOUT) };
        let mut packet = Packet::new(retries);
        let request = loop {
            let mut request = Request::new(address, command, Data::default(), timeout);
            (request.packet, request.urgent) = (packet, true);
            let request = queue::execute(request);
            match packet.ended(&request.ending(None)) {
                Next::Again(seconds) => queue::wait(u64::from(seconds) * 1000, || seconds == 0),
                Next::Ended(_) => break request,
            };
        };
        let outcome = Outcome::of(&request.answer);
        // classpnp goes on without a unit that does not know START STOP UNIT (classpnp, power.c).
        let unknown = matches!(&outcome, Outcome::Sense(sense) if sense.is_unknown_command());
        let good = matches!(outcome, Outcome::Good | Outcome::NoDevice) || (unknown && port().few_commands);
        if !good && !lenient && !misses {
            crate::not_ok!("power-command", "{}: {}", request.text(), request.answer.text());
        }
    }
}
