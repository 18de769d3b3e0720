//! One command at a time, as class drivers send them: unit attentions are cleared, "becoming ready" is waited for.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use stand::scsi::{self, Command, Sense};
use stand::wdk::codes::*;

use crate::cpu::clock;
use crate::memory::arena;
use crate::storport::request::{Answer, Data, Request};
use crate::storport::{Address, queue};

/// Time-out of a command in seconds.
pub const TIMEOUT: u32 = 8;
const ATTEMPTS: u32 = 6;

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

/// A unit's name.
pub fn name(address: Address) -> String {
    alloc::format!("{}:{}:{}", address.0, address.1, address.2)
}

/// Sends a command that reads up to `length` bytes and answers with what came.
pub fn send(address: Address, command: Command, length: u32) -> (Outcome, Vec<u8>) {
    let Some(range) = arena::scattered(u64::from(length.max(1))) else {
        crate::stop!("no memory for a buffer")
    };
    let data = if length == 0 { Data::default() } else { Data { address: range.address, length } };
    let mut result = (Outcome::Failed("not sent".into()), Vec::new());
    for _ in 0..ATTEMPTS {
        let request = queue::execute(Request::new(address, command, data, TIMEOUT));
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
        let again = match &outcome {
            Outcome::Sense(sense) if sense.key == scsi::UNIT_ATTENTION => true,
            Outcome::Sense(sense) if sense.key == scsi::NOT_READY && (sense.asc, sense.ascq) == (4, 1) => {
                clock::stall(10_000);
                true
            }
            _ => request.answer.srb_status & 0x3F == SRB_STATUS_BUS_RESET,
        };
        result = (outcome, bytes);
        if !again {
            break;
        }
    }
    arena::release(range);
    result
}

/// TEST UNIT READY until the unit has no news.
pub fn ready(address: Address) -> Outcome {
    send(address, scsi::test_unit_ready(), 0).0
}
