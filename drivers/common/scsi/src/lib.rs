//! SCSI as an emulated disk speaks it: command descriptor blocks, sense data and the pages a disk answers with.
//!
//! Types only: no I/O, no Windows, no virtio. The byte images follow SPC-4 (primary commands) and SBC-3 (block
//! commands); every multi-byte field is big-endian.
//!
//! - [`cdb`]: a CDB's bytes → [`cdb::Command`], every field checked, or the sense data that refuses it.
//! - [`sense`]: sense key, additional sense code and the fixed format.
//! - [`inquiry`], [`capacity`], [`mode`], [`log`], [`report_luns`], [`operation_codes`]: parameter data, byte for byte.
//! - [`unmap`]: what a list of ranges says.
//! - [`parameter_data`]: cutting an answer to the allocation length.
#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

#[cfg(test)]
extern crate std;

pub mod capacity;
pub mod cdb;
pub mod inquiry;
pub mod log;
pub mod mode;
pub mod operation_codes;
pub mod parameter_data;
pub mod report_luns;
pub mod sense;
pub mod unmap;

pub use cdb::Command;
pub use sense::{Sense, SenseKey};
