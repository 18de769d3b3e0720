//! SRB_FUNCTION_WMI: what programs are told of an adapter, and have it do.
//!
//! A miniport that is a WMI provider has data blocks, each known by a [`Guid`], and methods of them. Programs reach them by
//! IRP_MJ_SYSTEM_CONTROL, which the port driver hands on as such a request (how-the-port-driver-processes-wmi-requests.md): its
//! `WMISubFunction` is the minor function of the IRP, its `DataPath` points to the GUID, and its buffer is one of the
//! `WNODE_XXX` structures. The WDK has a library for this (ScsiPortWmiDispatchFunction), which the drivers cannot be linked with
//! where there is no WDK; this module does what the documentation says of that library and of the IRPs.
//!
//! ```text
//!   SRB ──► Request::wmi ──► Call ──► answer: which block, which instance, is there room? ──► Provider: the contents
//!                                     wnode: where everything lies in a WNODE_XXX
//! ```
//!
//! - Every block has one instance, with a static name that WMI makes from the adapter's PDO. Which object that is only the port
//!   driver knows.
//! - Nothing can be changed, no event is sent, and no block is expensive to collect.
//! - Where a page speaks of an NTSTATUS, the SRB's status is the one that the pages of the library give, as far as they do
//!   (`Refusal`).
//!
//! All of the buffer is somebody else's: no number in it is believed before it was held against its length.

mod wnode;

#[cfg(test)]
mod tests;

use crate::srb::{Completion, SrbStatus};
use wnode::{AllData, MethodItem, Registration, SingleInstance, TooSmall};

/// A GUID as it lies in memory: the first three parts are little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guid([u8; Guid::BYTES]);

impl Guid {
    /// `sizeof(GUID)`
    pub const BYTES: usize = 16;

    /// The GUID with these parts.
    pub const fn new(data1: u32, data2: u16, data3: u16, data4: [u8; 8]) -> Self {
        let ([a, b, c, d], [e, f], [g, h]) = (data1.to_le_bytes(), data2.to_le_bytes(), data3.to_le_bytes());
        let [i, j, k, l, m, n, o, p] = data4;
        Self([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p])
    }

    /// As it lies in memory.
    pub const fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }
}

/// What is asked of a provider: the minor function of the IRP (wmi-minor-irps.md; the numbers are wdm.h's).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `IRP_MN_QUERY_ALL_DATA`
    QueryAllData,
    /// `IRP_MN_QUERY_SINGLE_INSTANCE`
    QuerySingleInstance,
    /// `IRP_MN_CHANGE_SINGLE_INSTANCE`, `IRP_MN_CHANGE_SINGLE_ITEM`
    Change,
    /// `IRP_MN_ENABLE_EVENTS`, `_DISABLE_EVENTS`, `_ENABLE_COLLECTION`, `_DISABLE_COLLECTION`
    Control,
    /// `IRP_MN_REGINFO`, `IRP_MN_REGINFO_EX`: which blocks there are. Its `DataPath` is no pointer.
    Register,
    /// `IRP_MN_EXECUTE_METHOD`
    ExecuteMethod,
    /// None of these.
    Unknown,
}

impl Operation {
    /// From `WMISubFunction`.
    pub const fn from_sub_function(number: u8) -> Self {
        match number {
            0x00 => Self::QueryAllData,
            0x01 => Self::QuerySingleInstance,
            0x02 | 0x03 => Self::Change,
            0x04..=0x07 => Self::Control,
            0x08 | 0x0b => Self::Register,
            0x09 => Self::ExecuteMethod,
            _ => Self::Unknown,
        }
    }

    /// Whether `DataPath` points to the GUID of a data block.
    pub const fn is_about_a_block(self) -> bool {
        !matches!(self, Self::Register | Self::Unknown)
    }
}

/// A provider's data blocks and methods.
pub trait Provider {
    /// What it says.
    type Content: Content;

    /// Its data blocks.
    const BLOCKS: &'static [Guid];

    /// The one instance of the data block of this number; of one that has methods only, nothing.
    fn instance(&self, block: usize) -> Self::Content;

    /// What a method of the data block says to this input; `None`: there is no such method, or the input is too short for it.
    fn method(&self, block: usize, method: u32, input: &[u8]) -> Option<Self::Content>;
}

/// The data of an instance, or the output of a method.
pub trait Content {
    /// How long it is, up to the end of its last item.
    fn bytes(&self) -> usize;

    /// Writes it to `data`, which is as long and all zeroes.
    fn write(&self, data: &mut [u8]);
}

/// A request for the adapter.
#[derive(Debug)]
pub struct Call<'a> {
    operation: Operation,
    block: Option<Guid>,
    buffer: &'a mut [u8],
}

/// Why a request cannot be answered as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// It takes a buffer of so many bytes. A WNODE_TOO_SMALL says so, which is an answer like any other (irp-mn-query-all-data.md
    /// and its sisters); where there is no room for that either, the status is the one for an output buffer that is too small
    /// (nf-scsiwmi-scsiportwmipostprocess.md).
    TooSmall(usize),
    /// There is no such block, instance or method, the sizes in the request are not its, or nothing can be changed. The pages of
    /// the library have SRB_STATUS_ERROR for the last one and for methods where there are none
    /// (nc-scsiwmi-pscsiwmi_set_datablock.md, nc-scsiwmi-pscsiwmi_execute_method.md), and say nothing of the others.
    Wrong,
}

impl<'a> Call<'a> {
    /// A request for this operation. `path`: what `DataPath` points to, where it points to anything.
    pub fn new(operation: Operation, path: Option<[u8; Guid::BYTES]>, buffer: &'a mut [u8]) -> Self {
        Self { operation, block: path.map(Guid), buffer }
    }

    /// How the request ends; the answer is in its buffer. `now` is the system's time, in units of 100 nanoseconds.
    pub fn answer<P: Provider>(self, provider: &P, now: impl FnOnce() -> u64) -> Completion {
        let Self { operation, block, buffer } = self;
        match operation {
            Operation::Register => return Registration::answer(buffer, P::BLOCKS),
            // Not a WMI request that anybody has heard of.
            Operation::Unknown => return Completion::failed(SrbStatus::INVALID_REQUEST),
            _ => {}
        }
        let number = P::BLOCKS.iter().position(|known| Some(*known) == block);
        let answered = number.ok_or(Refusal::Wrong).and_then(|number| match operation {
            Operation::QueryAllData => AllData::write(buffer, &provider.instance(number), now),
            Operation::QuerySingleInstance => SingleInstance::write(buffer, &provider.instance(number)),
            Operation::ExecuteMethod => {
                MethodItem::write(buffer, |method, input| provider.method(number, method, input))
            }
            // All is read-only.
            Operation::Change => Err(Refusal::Wrong),
            // What needs no such thing is told of it all the same (nc-scsiwmi-pscsiwmi_function_control.md: success).
            Operation::Control | Operation::Register | Operation::Unknown => Ok(0),
        });
        match answered {
            Ok(bytes) => Completion::success(bytes as u32),
            Err(Refusal::Wrong) => Completion::failed(SrbStatus::ERROR),
            Err(Refusal::TooSmall(needed)) => TooSmall::answer(buffer, needed),
        }
    }
}
