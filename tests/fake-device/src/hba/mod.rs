//! virtio-scsi (5.6): a host bus adapter with logical units in memory.
//!
//! The units know TEST UNIT READY, INQUIRY with pages 00h, 80h and 83h, READ CAPACITY (10) and (16), REPORT LUNS, MODE
//! SENSE (6) and (10), READ and WRITE (10) and (16), and SYNCHRONIZE CACHE (10) and (16). Queue 0 takes
//! task management functions ([`Obedience`]), queue 1 buffers for events ([`FakeDevice::plug`](crate::FakeDevice::plug)).

mod events;
mod task_management;

pub use task_management::Obedience;

use std::collections::BTreeMap;

use zerocopy::{FromBytes, IntoBytes};

use crate::{Chain, Model, Request, Served};
use virtio::spec::Features;
use virtio::spec::scsi::{
    CmdRequest, CmdResponse, Lun, Response, TaskManagement, TaskManagementRequest, config,
};

/// The queues in front of those for commands (5.6.2).
const CONTROL_QUEUE: u16 = 0;
const EVENT_QUEUE: u16 = 1;
const FIRST_REQUEST_QUEUE: u16 = 2;

const GOOD: u8 = 0x00;
const CHECK_CONDITION: u8 = 0x02;

const ILLEGAL_REQUEST: u8 = 0x05;
const ABORTED_COMMAND: u8 = 0x0b;

/// One command, in the order in which the units got them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The target
    pub target: u8,
    /// The logical unit
    pub lun: u16,
    /// The CDB, all 32 bytes
    pub cdb: [u8; 32],
    /// What identifies the command
    pub tag: u64,
    /// Task attribute, priority and command reference number
    pub queueing: [u8; 3],
    /// Bytes of data that were moved
    pub moved: usize,
}

/// How a unit answers every command from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Override {
    /// With CHECK CONDITION and this sense data.
    Sense(Vec<u8>),
    /// Likewise, and the device claims that so many bytes are missing.
    SenseAndResidual(Vec<u8>, u32),
    /// The command is done, and ends with CHECK CONDITION and this sense data.
    DoneWithSense(Vec<u8>),
    /// With this SCSI status and nothing else.
    Status(u8),
    /// The transport ends the command with this code.
    Response(Response),
    /// The command is done, but moves so many bytes less than asked for.
    Short(u32),
    /// The command is done, and the device claims that so many bytes are missing.
    Residual(u32),
    /// The command is done, and this is what it returns, as far as there is room.
    Data(Vec<u8>),
    /// With all that this says.
    Reply(Reply),
}

/// An answer of a unit of any kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// What it returns, as far as there is room
    pub data: Vec<u8>,
    /// Bytes that it takes of what it is sent, as far as there are so many
    pub taken: usize,
    /// SCSI status
    pub status: u8,
    /// Sense data
    pub sense: Vec<u8>,
}

/// What a device says of the bytes that are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Residual {
    /// The truth
    Buffer,
    /// The truth, but nothing is missing of a command that failed
    NothingOfFailed,
    /// As many bytes as the CDB asks for more than there is room for, where it does
    Cdb,
    /// The room for data in that is left, whatever was written
    Room,
}

/// A logical unit.
#[derive(Clone, Debug)]
pub struct Unit {
    /// Bytes of a block
    pub block_bytes: u32,
    /// Peripheral device type: 0 is a disk
    pub device_type: u8,
    /// UNIT SERIAL NUMBER
    pub serial: String,
    /// What the unit does instead of what it is asked
    pub instead: Option<Override>,
    /// What was sent with the last command that got an [`Override::Reply`]
    pub sent: Vec<u8>,
    content: Vec<u8>,
    caches: bool,
}

impl Unit {
    /// A disk of so many blocks, filled with zeroes.
    pub fn disk(blocks: u64, block_bytes: u32) -> Self {
        Self {
            block_bytes,
            device_type: 0,
            serial: "UNIT".to_owned(),
            instead: None,
            sent: Vec::new(),
            content: vec![0; blocks as usize * block_bytes as usize],
            caches: true,
        }
    }

    /// Everything on it.
    pub fn content(&mut self) -> &mut Vec<u8> {
        &mut self.content
    }

    fn blocks(&self) -> u64 {
        self.content.len() as u64 / u64::from(self.block_bytes)
    }
}

/// What a unit answers.
struct Answer {
    response: Response,
    status: u8,
    sense: Vec<u8>,
    data_in: Vec<u8>,
    /// Bytes the device took of the data out.
    taken: usize,
    /// What the device claims to be missing, when that is not the truth.
    residual: Option<u32>,
}

impl Answer {
    fn good(data_in: Vec<u8>) -> Self {
        Self { response: Response::OK, status: GOOD, sense: Vec::new(), data_in, taken: 0, residual: None }
    }

    fn taken(bytes: usize) -> Self {
        Self { taken: bytes, ..Self::good(Vec::new()) }
    }

    fn sense(sense: Vec<u8>) -> Self {
        Self { status: CHECK_CONDITION, sense, ..Self::good(Vec::new()) }
    }

    fn illegal(code: u8) -> Self {
        Self::fixed(ILLEGAL_REQUEST, code, 0)
    }

    /// TAGGED OVERLAPPED COMMANDS, with the tag in the qualifier (SAM-5, 5.12).
    fn overlapped(tag: u64) -> Self {
        Self::fixed(ABORTED_COMMAND, 0x4d, tag as u8)
    }

    fn fixed(key: u8, code: u8, qualifier: u8) -> Self {
        let mut sense = vec![0; 18];
        (sense[0], sense[2], sense[7], sense[12], sense[13]) = (0x70, key, 10, code, qualifier);
        Self::sense(sense)
    }
}

/// A host bus adapter. The fields may be changed before a driver sees it.
#[derive(Debug)]
pub struct Hba {
    /// `seg_max`
    pub seg_max: u32,
    /// `max_sectors`
    pub max_sectors: u32,
    /// `cmd_per_lun`
    pub cmd_per_lun: u32,
    /// `max_target`
    pub max_target: u16,
    /// `max_lun`
    pub max_lun: u32,
    /// `sense_size`
    pub sense_size: u32,
    /// `cdb_size`
    pub cdb_size: u32,
    /// Request queues besides the control and the event queue
    pub request_queues: u16,
    /// `num_queues`, where it is not how many of those there are
    pub num_queues: Option<u32>,
    /// What the device says of the bytes that are missing
    pub residual: Residual,
    /// The length of the sense data of a command that went well; `None` leaves that field as it is
    pub sense_length_when_good: Option<u32>,
    /// Features of virtio-scsi that are offered; HOTPLUG and CHANGE decide which events are sent
    pub features: Features,
    /// What it makes of task management functions
    pub obedience: Obedience,
    /// The task management functions that it knows
    pub functions: &'static [TaskManagement],
    /// Events name units below 256 in peripheral addressing, not flat (SAM-5, 4.7.7.2)
    pub peripheral_event_luns: bool,
    /// Commands are taken in flat space addressing alone (SAM-5, 4.7.7.3)
    pub flat_luns_only: bool,
    units: BTreeMap<(u8, u16), Unit>,
    log: Vec<Entry>,
    commands: Vec<Command>,
    task_management: Vec<TaskManagementRequest>,
    /// There was no buffer for an event.
    events_missed: bool,
}

/// A command that the device has.
#[derive(Debug)]
struct Command {
    /// Queue and id of the request.
    request: (u16, u16),
    place: (u8, u16),
    tag: u64,
    /// It came with the tag of another one.
    overlapped: bool,
    /// A task management function has ended it, with this.
    ended: Option<Response>,
}

impl Default for Hba {
    fn default() -> Self {
        Self {
            seg_max: 254,
            max_sectors: 0xffff,
            cmd_per_lun: 128,
            max_target: 255,
            max_lun: 16383,
            sense_size: config::DEFAULT_SENSE_SIZE,
            cdb_size: config::DEFAULT_CDB_SIZE,
            request_queues: 1,
            num_queues: None,
            residual: Residual::Buffer,
            sense_length_when_good: Some(0),
            features: Features::empty(),
            obedience: Obedience::Prompt,
            functions: task_management::OF_QEMU,
            peripheral_event_luns: false,
            flat_luns_only: false,
            units: BTreeMap::new(),
            log: Vec::new(),
            commands: Vec::new(),
            task_management: Vec::new(),
            events_missed: false,
        }
    }
}

impl Hba {
    /// The same with so many request queues.
    #[must_use]
    pub fn with_queues(mut self, request_queues: u16) -> Self {
        self.request_queues = request_queues;
        self
    }

    /// With a unit at this place.
    #[must_use]
    pub fn with(mut self, target: u8, lun: u16, unit: Unit) -> Self {
        self.units.insert((target, lun), unit);
        self
    }

    /// A unit.
    ///
    /// # Panics
    /// There is none at this place.
    pub fn unit(&mut self, target: u8, lun: u16) -> &mut Unit {
        self.units.get_mut(&(target, lun)).expect("the test put a unit there")
    }

    /// Takes a unit away.
    pub fn remove_unit(&mut self, target: u8, lun: u16) {
        self.units.remove(&(target, lun));
    }

    /// The commands so far.
    pub fn log(&self) -> &[Entry] {
        &self.log
    }

    fn serve_command(&mut self, queue: u16, request: &mut Request<'_>) {
        let id = (queue, request.chain().head);
        let known = self.commands.iter().position(|command| command.request == id);
        let known = known.map(|at| self.commands.remove(at));
        let readable = request.readable();
        let Ok((command, out)) = CmdRequest::read_from_prefix(&readable) else {
            request.rule(false, "5.6.6.1: a command starts with a header of 51 bytes");
            return;
        };
        let response_bytes = size_of::<CmdResponse>();
        if request.writable_bytes() < response_bytes {
            request.rule(false, "5.6.6.1: there is room for a response of 108 bytes");
            return;
        }
        self.check_rules(request, &command, out.len());
        let room = request.writable_bytes() - response_bytes;
        let (target, lun) = place(command.lun);
        let answer = match known {
            Some(Command { ended: Some(response), .. }) => {
                Answer { response, residual: Some(0), ..Answer::good(Vec::new()) }
            }
            Some(Command { overlapped: true, .. }) => Answer::overlapped(command.tag.get()),
            _ if self.flat_luns_only && !is_flat(command.lun) => {
                Answer { response: Response::FAILURE, ..Answer::good(Vec::new()) }
            }
            _ => self.answer(target, lun, &command.cdb, out, room),
        };

        let moved = answer.data_in.len().min(room) + answer.taken;
        let mut response = CmdResponse::read_from_bytes(&[0; size_of::<CmdResponse>()]).expect("of its size");
        let sense_bytes = answer.sense.len().min(response.sense.len());
        response.sense_length.set(sense_bytes as u32);
        let residual = match self.residual {
            Residual::Room => room.saturating_sub(answer.data_in.len()) as u32,
            _ => self.residual(target, lun, &command.cdb, (room + out.len(), moved), answer.status),
        };
        response.residual.set(answer.residual.unwrap_or(residual));
        response.status = answer.status;
        response.response = answer.response.0;
        response.sense[..sense_bytes].copy_from_slice(&answer.sense[..sense_bytes]);
        match self.sense_length_when_good {
            Some(length) if answer.status == GOOD => response.sense_length.set(length),
            _ => {}
        }
        // A device that answers in the driver's memory may leave out what it has nothing to say of.
        let kept = if answer.status == GOOD && self.sense_length_when_good.is_none() { 4 } else { 0 };
        request.write(kept, &response.as_bytes()[kept..]);
        request.write(response_bytes, &answer.data_in[..answer.data_in.len().min(room)]);
        let queueing = [command.task_attribute, command.priority, command.command_reference];
        self.log.push(Entry { target, lun, cdb: command.cdb, tag: command.tag.get(), queueing, moved });
    }

    /// The residual of a command for which there is a buffer, of which so much was moved.
    fn residual(
        &self,
        target: u8,
        lun: u16,
        cdb: &[u8; 32],
        (buffer, moved): (usize, usize),
        status: u8,
    ) -> u32 {
        let asked = match cdb[0] {
            0x12 => u32::from(be16(cdb, 3)),
            0x1a => u32::from(cdb[4]),
            0x5a => u32::from(be16(cdb, 7)),
            0xa0 => be32(cdb, 6),
            0x9e => be32(cdb, 10),
            0x28 | 0x2a => {
                let unit = self.units.get(&(target, lun));
                unit.map_or(0, |unit| u32::from(be16(cdb, 7)) * unit.block_bytes)
            }
            _ => 0,
        };
        match self.residual {
            Residual::NothingOfFailed if status != GOOD => 0,
            Residual::Cdb if asked as usize > buffer => asked - buffer as u32,
            _ => (buffer - moved) as u32,
        }
    }

    fn check_rules(&self, request: &mut Request<'_>, command: &CmdRequest, out: usize) {
        check_lun(request, command.lun);
        request.rule(command.task_attribute <= 3, "5.6.6.1: the task attribute is one of four");
        request.rule(command.priority <= 15, "SAM-5, 8.7: a command priority has four bits");
        let data_in = request.writable_bytes() - size_of::<CmdResponse>();
        request.rule(data_in == 0 || out == 0, "5.6.3: data in both directions needs VIRTIO_SCSI_F_INOUT");
        let segments = request.chain().pieces.len().saturating_sub(2);
        request
            .rule(segments <= self.seg_max.max(1) as usize, "5.6.4: a command has at most seg_max segments");
        let bytes = (data_in + out) as u64;
        let most = if self.max_sectors == 0 { u64::MAX } else { u64::from(self.max_sectors) * 512 };
        // Elsewhere it is no more than a hint; there is no shorter MODE SENSE or tape record.
        let is_split = matches!(command.cdb[0], 0x28 | 0x2a | 0x88 | 0x8a | 0xa8 | 0xaa);
        request.rule(!is_split || bytes <= most, "5.6.4: a READ or WRITE moves at most max_sectors sectors");
    }

    fn answer(&mut self, target: u8, lun: u16, cdb: &[u8; 32], out: &[u8], room: usize) -> Answer {
        let luns: Vec<u16> = self.units.keys().filter(|(on, _)| *on == target).map(|(_, lun)| *lun).collect();
        if luns.is_empty() {
            return Answer { response: Response::BAD_TARGET, ..Answer::good(Vec::new()) };
        }
        if cdb[0] == 0xa0 {
            return report_luns(&luns, be32(cdb, 6));
        }
        let Some(unit) = self.units.get_mut(&(target, lun)) else {
            // A unit that is not there still says so (SPC-4, 6.6.2: PERIPHERAL QUALIFIER 3).
            return if cdb[0] == 0x12 { Answer::good(vec![0x7f; 36]) } else { Answer::illegal(0x25) };
        };
        match unit.instead.clone() {
            None => unit.execute(cdb, out, room),
            Some(Override::Sense(sense)) => Answer::sense(sense),
            Some(Override::SenseAndResidual(sense, claimed)) => {
                Answer { residual: Some(claimed), ..Answer::sense(sense) }
            }
            Some(Override::DoneWithSense(sense)) => {
                Answer { status: CHECK_CONDITION, sense, ..unit.execute(cdb, out, room) }
            }
            Some(Override::Status(status)) => Answer { status, ..Answer::good(Vec::new()) },
            Some(Override::Data(data)) => Answer::good(data),
            Some(Override::Reply(Reply { data, taken, status, sense })) => {
                unit.sent = out.to_vec();
                Answer { status, sense, taken: taken.min(out.len()), ..Answer::good(data) }
            }
            Some(Override::Response(response)) => Answer { response, ..Answer::good(Vec::new()) },
            Some(Override::Residual(claimed)) => {
                Answer { residual: Some(claimed), ..unit.execute(cdb, out, room) }
            }
            Some(Override::Short(missing)) => {
                let mut answer = unit.execute(cdb, out, room);
                let missing = missing as usize;
                answer.data_in.truncate(answer.data_in.len().saturating_sub(missing));
                answer.taken = answer.taken.saturating_sub(missing);
                answer
            }
        }
    }
}

impl Unit {
    fn execute(&mut self, cdb: &[u8; 32], out: &[u8], room: usize) -> Answer {
        match cdb[0] {
            0x00 | 0x35 | 0x91 => Answer::good(Vec::new()),
            0x12 => self.inquiry(cdb),
            0x1a => self.mode_sense(false, usize::from(cdb[4])),
            0x5a => self.mode_sense(true, usize::from(be16(cdb, 7))),
            0x25 => {
                let last = u32::try_from(self.blocks() - 1).unwrap_or(u32::MAX);
                let mut data = last.to_be_bytes().to_vec();
                data.extend(self.block_bytes.to_be_bytes());
                Answer::good(data)
            }
            0x9e if cdb[1] & 0x1f == 0x10 => {
                let mut data = (self.blocks() - 1).to_be_bytes().to_vec();
                data.extend(self.block_bytes.to_be_bytes());
                data.resize(32, 0);
                data.truncate(be32(cdb, 10) as usize);
                Answer::good(data)
            }
            0x28 => self.read(u64::from(be32(cdb, 2)), u32::from(be16(cdb, 7)), room),
            0x88 => self.read(be64(cdb, 2), be32(cdb, 10), room),
            0x2a => self.write(u64::from(be32(cdb, 2)), u32::from(be16(cdb, 7)), out),
            0x8a => self.write(be64(cdb, 2), be32(cdb, 10), out),
            _ => Answer::illegal(0x20),
        }
    }

    /// Where a run of blocks lies.
    fn place(&self, block: u64, blocks: u32) -> Option<std::ops::Range<usize>> {
        let end = block.checked_add(u64::from(blocks)).filter(|end| *end <= self.blocks())?;
        let bytes = u64::from(self.block_bytes);
        Some((block * bytes) as usize..(end * bytes) as usize)
    }

    fn read(&self, block: u64, blocks: u32, room: usize) -> Answer {
        let Some(place) = self.place(block, blocks) else {
            return Answer::illegal(0x21);
        };
        if place.len() > room {
            return Answer { response: Response::OVERRUN, ..Answer::good(Vec::new()) };
        }
        Answer::good(self.content[place].to_vec())
    }

    fn write(&mut self, block: u64, blocks: u32, out: &[u8]) -> Answer {
        let Some(place) = self.place(block, blocks) else {
            return Answer::illegal(0x21);
        };
        if place.len() > out.len() {
            return Answer { response: Response::OVERRUN, ..Answer::good(Vec::new()) };
        }
        let bytes = place.len();
        self.content[place].copy_from_slice(&out[..bytes]);
        Answer::taken(bytes)
    }

    fn inquiry(&self, cdb: &[u8; 32]) -> Answer {
        let mut data = match (cdb[1] & 1, cdb[2]) {
            (0, 0) => {
                let mut data = vec![self.device_type, 0, 0x06, 0x02, 31, 0, 0, 0x02];
                data.extend(b"FAKE    UNIT            0001");
                data
            }
            (1, 0x00) => vec![self.device_type, 0x00, 0, 3, 0x00, 0x80, 0x83],
            (1, 0x80) => {
                let mut data = vec![self.device_type, 0x80, 0, self.serial.len() as u8];
                data.extend(self.serial.as_bytes());
                data
            }
            (1, 0x83) => {
                let length = 8 + self.serial.len() as u8;
                let mut data = vec![self.device_type, 0x83, 0, 4 + length, 0x02, 0x01, 0, length];
                data.extend(b"FAKE    ");
                data.extend(self.serial.as_bytes());
                data
            }
            _ => return Answer::illegal(0x24),
        };
        data.truncate(usize::from(be16(cdb, 3)));
        Answer::good(data)
    }

    fn mode_sense(&self, ten: bool, allocation_length: usize) -> Answer {
        let caching = if self.caches { 0x04 } else { 0 };
        let mut page = vec![0x08, 18, caching];
        page.resize(20, 0);
        let mut data = if ten { vec![0, 26, 0, 0, 0, 0, 0, 0] } else { vec![23, 0, 0, 0] };
        data.extend(page);
        data.truncate(allocation_length);
        Answer::good(data)
    }
}

fn report_luns(luns: &[u16], allocation_length: u32) -> Answer {
    let mut data = (luns.len() as u32 * 8).to_be_bytes().to_vec();
    data.extend([0; 4]);
    for lun in luns {
        let method = if *lun > 255 { 0x4000 } else { 0 };
        data.extend((method | lun).to_be_bytes());
        data.extend([0; 6]);
    }
    data.truncate(allocation_length as usize);
    Answer::good(data)
}

impl Model for Hba {
    const DEVICE_TYPE: u16 = 8;
    const PCI_CLASS: u32 = 0x0100_0000;

    fn queue_count(&self) -> u16 {
        2 + self.request_queues
    }

    fn features(&self) -> Features {
        self.features
    }

    fn config(&self) -> Vec<u8> {
        let mut bytes = vec![0; 36];
        let mut put =
            |offset: usize, value: &[u8]| bytes[offset..offset + value.len()].copy_from_slice(value);
        let num_queues = self.num_queues.unwrap_or(self.request_queues.into());
        put(config::NUM_QUEUES, &num_queues.to_le_bytes());
        put(config::SEG_MAX, &self.seg_max.to_le_bytes());
        put(config::MAX_SECTORS, &self.max_sectors.to_le_bytes());
        put(config::CMD_PER_LUN, &self.cmd_per_lun.to_le_bytes());
        put(config::EVENT_INFO_SIZE, &(events::BYTES as u32).to_le_bytes());
        put(config::SENSE_SIZE, &self.sense_size.to_le_bytes());
        put(config::CDB_SIZE, &self.cdb_size.to_le_bytes());
        put(config::MAX_TARGET, &self.max_target.to_le_bytes());
        put(config::MAX_LUN, &self.max_lun.to_le_bytes());
        bytes
    }

    fn arrives(&mut self, queue: u16, request: &mut Request<'_>) {
        if queue < FIRST_REQUEST_QUEUE {
            return;
        }
        let readable = request.readable();
        let Ok((command, _)) = CmdRequest::read_from_prefix(&readable) else { return };
        let id = (queue, request.chain().head);
        // One that was used without an answer is not the device's any more.
        self.commands.retain(|other| other.request != id);
        let (place, tag) = (place(command.lun), command.tag.get());
        // FreeBSD's bhyve takes 32 bits of the tag (usr.sbin/bhyve/pci_virtio_scsi.c).
        let overlapped =
            self.commands.iter().any(|other| other.place == place && other.tag as u32 == tag as u32);
        request.rule(!overlapped, "5.6.6.1, SAM-5 4.8: no two commands of a nexus have the same tag at once");
        self.commands.push(Command { request: id, place, tag, overlapped, ended: None });
    }

    fn ends(&mut self, queue: u16, request: &Request<'_>) -> Vec<(u16, u16)> {
        if queue == CONTROL_QUEUE { self.end_commands(request) } else { Vec::new() }
    }

    fn reset(&mut self) {
        self.commands.clear();
        self.events_missed = false;
    }

    fn serve(&mut self, queue: u16, request: &mut Request<'_>) -> Served {
        match queue {
            CONTROL_QUEUE => self.manage_tasks(request),
            EVENT_QUEUE => self.take_event_buffer(request),
            _ => {
                self.serve_command(queue, request);
                Served::Done
            }
        }
    }

    fn label(&self, queue: u16, chain: &Chain, position: usize) -> &'static str {
        if queue < FIRST_REQUEST_QUEUE {
            return "buffer";
        }
        let first_writable = chain.pieces.iter().position(|piece| piece.writable);
        if position == 0 {
            "header"
        } else if first_writable == Some(position) {
            "response"
        } else {
            "data"
        }
    }
}

/// Target and unit of an address.
fn place(lun: Lun) -> (u8, u16) {
    let [_, target, high, low, ..] = lun.0;
    (target, u16::from(high & 0x3f) << 8 | u16::from(low))
}

fn is_flat(lun: Lun) -> bool {
    lun.0[2] & 0xc0 == 0x40
}

fn check_lun(request: &mut Request<'_>, lun: Lun) {
    let [first, _, high, _, rest @ ..] = lun.0;
    let single_level = first == 1 && (is_flat(lun) || high == 0) && rest == [0; 4];
    request.rule(single_level, "5.6.6.1: a logical unit is addressed as 1, target, one level of a LUN, 0");
}

fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from(be16(bytes, at)) << 16 | u32::from(be16(bytes, at + 2))
}

fn be64(bytes: &[u8], at: usize) -> u64 {
    u64::from(be32(bytes, at)) << 32 | u64::from(be32(bytes, at + 4))
}
