//! A request: its memory while the miniport has it, and what came back.
//!
//! The SRB, its sense buffer, its scatter/gather list and its extension get pages of their own for each request. When the
//! miniport completes the request the pages are unmapped, filled with poison and kept for a while, so that both the
//! processor and the device are caught touching them.

use alloc::boxed::Box;
use alloc::vec::Vec;

use stand::class::{Ending, Packet};
use stand::scsi::{self, Capacity, Command, Direction};
use stand::wdk::codes::*;
use stand::wdk::config::{SCATTER_GATHER_HEADER, ScatterGatherElement};
use stand::wdk::names;
use stand::wdk::srb::{self, Extra, Fill, ScsiRequestBlock, StorageRequestBlock};

use super::{Address, Port, ladder, stray};
use crate::cpu::{clock, smp};
use crate::memory::dma::{Access, Grant};
use crate::memory::{PAGE, arena, driver, frames, paging};

/// Sense buffer size that class drivers use.
pub const SENSE: u8 = 252;
const POISON: u8 = 0xDB;
const QUARANTINE: usize = 64;
const SENSE_AT: u64 = 0x200;
const LIST_AT: u64 = 0x400;
/// What stands in fields that are not valid; no driver has anything at such an address.
const INVALID_LENGTH: u32 = 0x00DE_AD00;
const INVALID_BUFFER: u64 = 0xFFFF_DEAD_0000_0000;

/// Data of a request: where the buffer is in the driver's address space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Data {
    /// Virtual address.
    pub address: u64,
    /// Bytes.
    pub length: u32,
}

/// What the miniport answered.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// SRB status with its flag bits.
    pub srb_status: u8,
    /// SCSI status.
    pub scsi_status: u8,
    /// SystemStatus, InternalStatus in the old block.
    pub system_status: u32,
    /// DataTransferLength at completion.
    pub transferred: u32,
    /// Sense bytes, when AUTOSENSE_VALID is set.
    pub sense: Vec<u8>,
}

impl Answer {
    /// The sense data decoded.
    pub fn sense(&self) -> Option<scsi::Sense> {
        scsi::parse_sense(&self.sense)
    }

    /// In words.
    pub fn text(&self) -> alloc::string::String {
        let sense = match self.sense() {
            Some(sense) => alloc::format!(", sense {sense}"),
            None => alloc::string::String::new(),
        };
        alloc::format!(
            "SRB status {:#04x} ({}), SCSI status {:#04x}{sense}, {} bytes",
            self.srb_status,
            names::srb_status(self.srb_status),
            self.scsi_status,
            self.transferred
        )
    }
}

/// Memory of a completed request.
pub struct Dead {
    physical: u64,
    pages: u64,
    tag: u32,
}

#[derive(Clone, Copy)]
struct Memory {
    range: arena::Range,
    physical: u64,
}

/// One request.
pub struct Request {
    /// Number of the request in this run.
    pub tag: u32,
    /// Caller's own mark.
    pub cookie: u64,
    /// Unit.
    pub address: Address,
    /// Processor that starts it.
    pub processor: u32,
    /// The processor that shall start it, if it matters.
    pub pinned: Option<u32>,
    /// SRB function.
    pub function: u8,
    /// What another function than EXECUTE_SCSI carries.
    pub extra: Extra,
    /// CDB and direction.
    pub command: Command,
    /// Buffer.
    pub data: Data,
    /// Time-out in seconds.
    pub timeout: u32,
    /// Tick by which it must be completed.
    pub deadline: u64,
    /// Not to be started before this tick.
    pub not_before: u64,
    /// Times it came back busy.
    pub retries: u32,
    /// What the class driver has left for it.
    pub packet: Packet,
    /// The time-out was noticed.
    pub overdue: bool,
    /// Storport's own, for no class driver.
    pub internal: bool,
    /// Goes to the miniport even if the queues are held.
    pub urgent: bool,
    /// What came back.
    pub answer: Answer,
    memory: Option<Memory>,
    /// What the device may reach for its sake.
    grant: Grant,
}

impl Request {
    /// A request that is not started yet.
    pub fn new(address: Address, command: Command, data: Data, timeout: u32) -> Box<Self> {
        Box::new(Request {
            tag: 0,
            cookie: 0,
            address,
            processor: 0,
            pinned: None,
            function: SRB_FUNCTION_EXECUTE_SCSI,
            extra: Extra::None,
            command,
            data,
            timeout,
            deadline: 0,
            not_before: 0,
            retries: 0,
            packet: Packet::default(),
            overdue: false,
            internal: false,
            urgent: false,
            answer: Answer::default(),
            memory: None,
            grant: Grant::default(),
        })
    }

    /// A request of another function than EXECUTE_SCSI.
    pub fn other(address: Address, function: u8, extra: Extra, data: Data, timeout: u32) -> Box<Self> {
        let direction = if data.length == 0 { Direction::None } else { Direction::In };
        let command = Command { cdb: [0; 32], length: 0, name: names::srb_function(function), direction };
        Box::new(Request { function, extra, ..*Request::new(address, command, data, timeout) })
    }

    /// Address of the SRB, while the miniport has it.
    pub fn srb(&self) -> u64 {
        self.memory.map_or(0, |memory| memory.range.address)
    }

    /// Address of the scatter/gather list.
    pub fn list(&self) -> u64 {
        self.srb() + LIST_AT
    }

    /// What came back, for the class driver.
    pub fn ending(&self, capacity: Option<Capacity>) -> Ending<'_> {
        Ending {
            cdb: &self.command.cdb,
            srb_status: self.answer.srb_status,
            scsi_status: self.answer.scsi_status,
            system_status: self.answer.system_status,
            sense: self.answer.sense(),
            capacity,
        }
    }

    /// Whether an address lies in the memory that came with the request: SRB, sense buffer, list, extension.
    pub fn owns(&self, address: u64) -> bool {
        self.memory.is_some_and(|Memory { range, .. }| {
            (range.address..range.address + range.pages * PAGE).contains(&address)
        })
    }

    /// Address of the SRB extension: the last bytes of the request's memory.
    pub fn extension(&self, port: &Port) -> u64 {
        let size = u64::from(port.config.srb_extension_size.max(port.hw.srb_extension_size));
        self.memory
            .map_or(0, |Memory { range, .. }| range.address + range.pages * PAGE - size.next_multiple_of(16))
    }

    /// In words.
    pub fn text(&self) -> alloc::string::String {
        let (path, target, lun) = self.address;
        alloc::format!(
            "{} to {path}:{target}:{lun} (request {}, {} bytes)",
            self.command.name,
            self.tag,
            self.data.length
        )
    }

    /// Gives the request its memory and fills the SRB; answers with the SRB's address.
    pub fn build(&mut self, port: &Port) -> u64 {
        if matches!(self.extra, Extra::Abort { .. }) && !ladder::may_abort(port) {
            crate::stop!("the stand itself failed: an abort for a miniport that did not ask for any");
        }
        let extension = u64::from(port.config.srb_extension_size.max(port.hw.srb_extension_size));
        let elements = elements(self.data);
        let front = LIST_AT + SCATTER_GATHER_HEADER as u64 + elements.len() as u64 * 24;
        let pages = front.div_ceil(PAGE) + extension.next_multiple_of(16).div_ceil(PAGE);
        let Some((range, physical)) = arena::request(pages) else {
            crate::stop!("out of memory for requests")
        };
        let end = range.address + pages * PAGE;
        let at = end - extension.next_multiple_of(16);
        // The documentation promises nothing about the contents of a fresh extension.
        driver::fill("Storport", at, 0xA5, extension.next_multiple_of(16) as usize);
        self.memory = Some(Memory { range, physical });
        self.grant.add(physical, pages * PAGE, Access::BOTH);
        for element in &elements {
            self.grant.add(element.physical, u64::from(element.length), self.data_access());
        }
        driver::write("Storport", range.address + LIST_AT, elements.len() as u64);
        for (index, element) in elements.iter().enumerate() {
            let at = self.list() + (SCATTER_GATHER_HEADER + index * 24) as u64;
            driver::write("Storport", at, *element);
        }
        self.write_srb(port, if extension == 0 { 0 } else { at });
        range.address
    }

    /// Whether it asks for a reset.
    pub fn is_reset(&self) -> bool {
        matches!(
            self.function,
            SRB_FUNCTION_RESET_LOGICAL_UNIT | SRB_FUNCTION_RESET_DEVICE | SRB_FUNCTION_RESET_BUS
        )
    }

    /// What the device may do with the data. Requests of other functions carry structures of both directions.
    fn data_access(&self) -> Access {
        match self.command.direction {
            _ if self.function != SRB_FUNCTION_EXECUTE_SCSI => Access::BOTH,
            Direction::None => Access::default(),
            Direction::In => Access::WRITE,
            Direction::Out => Access::READ,
        }
    }

    fn write_srb(&self, port: &Port, extension: u64) {
        let direction = match self.command.direction {
            Direction::None => 0,
            Direction::In => SRB_FLAGS_DATA_IN,
            Direction::Out => SRB_FLAGS_DATA_OUT,
        };
        // nc-storport-hw_buildio.md: DataBuffer is NULL for reads and writes, and points to the data for the rest,
        // unless MapBuffers asks for something else (ns-storport-_port_configuration_information.md).
        let transfer = scsi::is_read_write(&self.command.cdb);
        let mapped = self.data.length != 0
            && match port.config.map_buffers {
                STOR_MAP_NO_BUFFERS => false,
                STOR_MAP_ALL_BUFFERS_INCLUDING_READ_WRITE => true,
                _ => !transfer,
            };
        let scsi = self.function == SRB_FUNCTION_EXECUTE_SCSI;
        // nc-storport-hw_buildio.md: DataTransferLength and DataBuffer of a reset are invalid.
        let (length, data_buffer) = if self.is_reset() {
            (INVALID_LENGTH, INVALID_BUFFER)
        } else {
            (self.data.length, if mapped { self.data.address } else { 0 })
        };
        // The class driver's last try asks for less (RetryTransferPacket in classpnp's retry.c).
        let (queueing, tag) = if self.packet.plain {
            (SRB_FLAGS_DISABLE_DISCONNECT | SRB_FLAGS_DISABLE_SYNCH_TRANSFER, u32::from(SP_UNTAGGED))
        } else {
            (SRB_FLAGS_QUEUE_ACTION_ENABLE, self.tag)
        };
        let fill = Fill {
            function: self.function,
            address: self.address,
            cdb: self.command.cdb,
            cdb_length: if scsi { self.command.length } else { 0 },
            flags: direction | queueing | SRB_FLAGS_NO_QUEUE_FREEZE,
            length,
            data_buffer,
            sense_buffer: if scsi { self.srb() + SENSE_AT } else { 0 },
            sense_length: if scsi { SENSE } else { 0 },
            extension,
            tag,
            timeout: self.timeout,
            extra: self.extra,
        };
        if extended(port) {
            driver::write("Storport", self.srb(), srb::storage_request_block(&fill));
            if let Some(block) = self.extra.block() {
                driver::write("Storport", self.srb() + u64::from(srb::EX_DATA_AT), block);
            }
        } else {
            let Some(block) = srb::scsi_request_block(&fill) else {
                crate::stop!("{} needs an extended SRB", self.command.name)
            };
            driver::write("Storport", self.srb(), block);
        }
    }

    /// Reads the miniport's answer out of the SRB and checks it, then takes the memory away.
    pub fn finish(&mut self, port: &mut Port) {
        let srb = self.srb();
        let (status, scsi_status, transferred, sense_length, function, system_status) = if extended(port) {
            let block: StorageRequestBlock = driver::read("Storport", srb);
            if block.signature != SRB_SIGNATURE || block.srb_function != u32::from(self.function) {
                crate::not_ok!(
                    "srb-damaged",
                    "{}: signature or function of the SRB was changed",
                    self.text()
                );
            }
            let length = block.cdb.sense_info_buffer_length;
            let status = (block.srb_status, block.cdb.scsi_status);
            (status.0, status.1, block.data_transfer_length, length, block.function, block.system_status)
        } else {
            let block: ScsiRequestBlock = driver::read("Storport", srb);
            let length = block.sense_info_buffer_length;
            let status = (block.srb_status, block.scsi_status);
            (status.0, status.1, block.data_transfer_length, length, block.function, block.internal_status)
        };
        let expected = if extended(port) { SRB_FUNCTION_STORAGE_REQUEST_BLOCK } else { self.function };
        if function != expected {
            crate::not_ok!("srb-damaged", "{}: Function became {function:#x}", self.text());
        }
        // Requests of other functions have neither SCSI status nor sense data; legacy blocks keep other members there.
        let scsi = self.function == SRB_FUNCTION_EXECUTE_SCSI;
        let scsi_status = if scsi { scsi_status } else { 0 };
        crate::report::completed(self.tag, status, transferred);
        let mut answer =
            Answer { srb_status: status, scsi_status, system_status, transferred, sense: Vec::new() };
        if scsi && status & SRB_STATUS_AUTOSENSE_VALID != 0 {
            answer.sense = driver::bytes("Storport", srb + SENSE_AT, usize::from(sense_length.min(SENSE)));
        }
        self.check(&answer);
        self.answer = answer;
        self.bury(port);
    }

    /// HwStorStartIo did not take the request: its memory goes, and nothing is read from it.
    pub fn finish_refused(&mut self, port: &mut Port) {
        self.answer = Answer::default();
        self.bury(port);
    }

    /// Combinations that Storport or the class drivers reject.
    fn check(&self, answer: &Answer) {
        let text = self.text();
        match answer.srb_status & 0x3F {
            SRB_STATUS_PENDING => {
                crate::not_ok!("srb-completed-pending", "{text}: SRB status is still PENDING")
            }
            SRB_STATUS_INTERNAL_ERROR => {
                crate::not_ok!("srb-internal-error", "{text}: SRB_STATUS_INTERNAL_ERROR is Storport's own")
            }
            SRB_STATUS_SUCCESS if answer.scsi_status != 0 => {
                crate::not_ok!("srb-status", "{text}: SUCCESS with SCSI status {:#04x}", answer.scsi_status);
            }
            SRB_STATUS_SUCCESS if answer.srb_status & SRB_STATUS_AUTOSENSE_VALID != 0 => {
                crate::not_ok!("srb-status", "{text}: SUCCESS with AUTOSENSE_VALID");
            }
            _ => {}
        }
        let busy = answer.srb_status & 0x3F == SRB_STATUS_BUSY
            || matches!(answer.scsi_status, SCSISTAT_BUSY | SCSISTAT_QUEUE_FULL);
        if busy && answer.transferred < self.data.length {
            crate::not_ok!(
                "busy-length",
                "{text}: came back busy with DataTransferLength {}",
                answer.transferred
            );
        }
        // What a reset came with is no length (nc-storport-hw_buildio.md), and a miniport may leave it there.
        let kept = self.is_reset() && answer.transferred == INVALID_LENGTH;
        if answer.transferred > self.data.length && !kept {
            crate::not_ok!(
                "data-transfer-length-grown",
                "{text}: DataTransferLength was {} and is {}",
                self.data.length,
                answer.transferred
            );
        }
    }

    /// Unmaps and poisons the request's memory and releases the memory that was longest in quarantine.
    fn bury(&mut self, port: &mut Port) {
        let Some(memory) = self.memory.take() else { return };
        self.grant = Grant::default();
        arena::unmap(memory.range);
        frames::fill(memory.physical, memory.range.pages, POISON);
        port.past.push_back((memory.range, self.tag));
        if port.past.len() > 1024 {
            port.past.pop_front();
        }
        port.quarantine.push_back(Dead {
            physical: memory.physical,
            pages: memory.range.pages,
            tag: self.tag,
        });
        if port.quarantine.len() > QUARANTINE
            && let Some(dead) = port.quarantine.pop_front()
        {
            dead.release();
        }
    }
}

impl Dead {
    /// Looks for writes by the device, then gives the frames back.
    pub fn release(self) {
        if let Err(offset) = frames::holds(self.physical, self.pages, POISON) {
            crate::not_ok!(
                "dma-after-completion",
                "the device wrote at offset {offset:#x} of the memory of request {} after its completion",
                self.tag
            );
        }
        arena::retire((0..self.pages).map(|page| self.physical + page * PAGE));
    }
}

/// Whether the miniport gets STORAGE_REQUEST_BLOCKs. PORT_CONFIGURATION_INFORMATION.SrbType says so, and it starts as
/// what HW_INITIALIZATION_DATA.SrbTypeFlags asked for.
pub fn extended(port: &Port) -> bool {
    u32::from(port.config.srb_type) == SRB_TYPE_STORAGE_REQUEST_BLOCK
}

/// Scatter/gather elements of a buffer: physically contiguous pages are one element.
pub fn elements(data: Data) -> Vec<ScatterGatherElement> {
    let mut list: Vec<ScatterGatherElement> = Vec::new();
    let (mut at, end) = (data.address, data.address + u64::from(data.length));
    while at < end {
        let length = (PAGE - at % PAGE).min(end - at);
        let Some((physical, _)) = paging::translate(at) else {
            crate::stop!("the stand itself failed: buffer {at:#x} is not mapped");
        };
        match list.last_mut() {
            Some(last) if last.physical + u64::from(last.length) == physical => last.length += length as u32,
            _ => list.push(ScatterGatherElement {
                physical,
                length: length as u32,
                ..ScatterGatherElement::default()
            }),
        }
        at += length;
    }
    list
}

/// Whether an address lies in the SRB extension of a request that the miniport has.
pub fn is_extension(address: u64) -> bool {
    let port = super::port();
    let owner = port.active.values().find(|request| request.owns(address));
    owner.is_some_and(|request| address >= request.extension(&port))
}

/// Tag of the last request whose memory was at an address.
pub fn last_at(address: u64) -> Option<u32> {
    let port = super::port();
    port.past
        .iter()
        .rev()
        .find(|(range, _)| (range.address..range.address + range.pages * PAGE).contains(&address))
        .map(|(_, tag)| *tag)
}

/// Tag of the completed request whose memory is at a physical address, while it is kept.
pub fn dead_at(physical: u64) -> Option<u32> {
    let port = super::port();
    let dead = port
        .quarantine
        .iter()
        .find(|dead| (dead.physical..dead.physical + dead.pages * PAGE).contains(&physical))?;
    Some(dead.tag)
}

/// The miniport completed an SRB (StorPortNotification, RequestComplete).
pub fn complete(srb: u64) {
    stray::look();
    let mut port = super::port();
    let Some(mut request) = port.active.remove(&srb) else {
        drop(port);
        match last_at(srb) {
            Some(tag) => {
                crate::not_ok!("srb-completed-twice", "request {tag} (SRB {srb:#x}) is already completed")
            }
            None => crate::not_ok!("srb-unknown", "RequestComplete for {srb:#x}, which is no SRB"),
        }
        return;
    };
    request.finish(&mut port);
    port.busy = port.busy.saturating_sub(1);
    if let Some(unit) = port.units.get_mut(&request.address) {
        unit.outstanding = unit.outstanding.saturating_sub(1);
        unit.busy = unit.busy.saturating_sub(1);
    }
    ladder::look_at_end(&mut port, &request);
    let full = matches!(request.answer.scsi_status, SCSISTAT_BUSY | SCSISTAT_QUEUE_FULL);
    if request.internal {
        port.ladder.finished(request);
    } else if request.answer.srb_status & 0x3F == SRB_STATUS_BUSY || full {
        // nc-storport-hw_startio.md: the same SRB comes again with a new extension; storport-queue-management.md: as often
        // as it takes, also for a SCSI status of BUSY. How long Storport waits is not documented. A full task set waits
        // until one of its requests has ended, if there is any.
        port.statistics.busy += 1;
        request.retries += 1;
        request.not_before = clock::ticks() + 2;
        if let Some(unit) = port.units.get_mut(&request.address)
            && request.answer.scsi_status == SCSISTAT_QUEUE_FULL
        {
            unit.busy = unit.outstanding.min(1);
        }
        port.waiting.push_front(request);
    } else {
        port.done.push_back(request);
    }
    drop(port);
    smp::wake_all();
}
