//! `pass-through`: SCSI devices that are not QEMU's own, behind its `scsi-block` and `scsi-generic`: a disk with persistent
//! reservations that both adapters of the machine reach, each as another initiator, a tape, and a changer. What they answer is
//! theirs; the stand looks at what comes of it for Windows.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use stand::class::{Status, interpret};
use stand::cmdline::Options;
use stand::scsi::{self, Command, Direction, Sense};
use stand::stamp::SplitMix64;
use stand::wdk::codes::*;

use crate::pass::buffer::Buffer;
use crate::scan::{self, DISK, Unit, class};
use crate::storport::request::{Answer, Data, Request};
use crate::storport::{Address, control, port, queue};

const TAPE: u8 = 1;
const CHANGER: u8 = 8;
const TIMEOUT: u32 = 10;
const CHECK_CONDITION: u8 = 2;
/// Bits of byte 2 of sense data, beside the sense key (SSC-3, annex C).
const FILEMARK: u8 = 0x80;
const INCORRECT_LENGTH: u8 = 0x20;
const BLANK_CHECK: u8 = 8;
/// Lengths of a tape's records.
const RECORDS: [u32; 7] = [10_241, 512, 65_536, 1, 1_048_575, 10_240, 1_048_576];

/// All that there is.
pub fn run(units: &[Unit], options: &Options) {
    let of = |kind: u8| units.iter().find(|unit| unit.inquiry.device_type == kind);
    match of(TAPE) {
        Some(unit) => tape(unit.address, options),
        None => crate::not_ok!("tape", "there is none"),
    }
    match of(CHANGER) {
        Some(unit) => changer(unit.address),
        None => crate::not_ok!("changer", "there is none"),
    }
    match of(DISK) {
        Some(unit) => reservations(unit),
        None => crate::not_ok!("reservations", "there is no disk"),
    }
}

fn command(name: &'static str, direction: Direction, bytes: &[u8]) -> Command {
    let mut cdb = [0; 32];
    cdb[..bytes.len()].copy_from_slice(bytes);
    Command { cdb, length: bytes.len() as u8, name, direction }
}

/// A command and its answer, once.
fn once(address: Address, command: Command, data: Data) -> Answer {
    queue::execute(Request::new(address, command, data, TIMEOUT)).answer
}

/// The same, and again after a unit attention.
fn ask(address: Address, command: Command, data: Data) -> Answer {
    for _ in 0..4 {
        let answer = once(address, command, data);
        if !matches!(answer.sense(), Some(Sense { key: scsi::UNIT_ATTENTION, .. })) {
            return answer;
        }
    }
    once(address, command, data)
}

fn is_good(answer: &Answer) -> bool {
    answer.srb_status & 0x3F == SRB_STATUS_SUCCESS && answer.scsi_status == 0
}

fn good(name: &str, what: &str, answer: &Answer) -> bool {
    crate::console::check(is_good(answer), name, format_args!("{what}: {}", answer.text()));
    is_good(answer)
}

/// READ(6) or WRITE(6) of one record.
fn record(write: bool, length: u32) -> Command {
    let [_, a, b, c] = length.to_be_bytes();
    if write {
        command("WRITE(6)", Direction::Out, &[0x0A, 0, a, b, c, 0])
    } else {
        command("READ(6)", Direction::In, &[0x08, 0, a, b, c, 0])
    }
}

/// What a record of this number holds.
fn content(number: usize, length: u32, seed: u64) -> Vec<u8> {
    let mut random = SplitMix64(seed ^ number as u64);
    let mut bytes = Vec::with_capacity(length as usize + 8);
    while bytes.len() < length as usize {
        bytes.extend(random.word().to_le_bytes());
    }
    bytes.truncate(length as usize);
    bytes
}

/// Reads a record into a buffer of so many bytes at an odd place.
fn read(address: Address, room: u32) -> (Answer, Buffer) {
    let buffer = Buffer::new(room, 44);
    let answer = ask(address, record(false, room), buffer.part(0, room));
    (answer, buffer)
}

/// What a tape says besides GOOD: bits, sense key, INFORMATION.
fn told(answer: &Answer) -> Option<(u8, i32)> {
    match answer.sense.get(..7)? {
        &[0xF0, _, bits, a, b, c, d] if answer.scsi_status == CHECK_CONDITION => {
            Some((bits, i32::from_be_bytes([a, b, c, d])))
        }
        _ => None,
    }
}

/// Records of all sizes, a filemark, and reads that meet another record than they ask for (SSC-3, 6.4).
fn tape(address: Address, options: &Options) {
    let name = class::name(address);
    let rewind = || ask(address, command("REWIND", Direction::None, &[0x01, 0, 0, 0, 0, 0]), Data::default());
    class::ready(address);
    good("tape-rewind", &name, &rewind());
    let most = port().config.maximum_transfer_length;
    for (number, length) in RECORDS.into_iter().enumerate() {
        if length > most {
            crate::not_ok!("tape-record", "{name}: {length} bytes are more than the adapter's {most}");
            return;
        }
        let mut buffer = Buffer::new(length, 44);
        buffer.bytes().copy_from_slice(&content(number, length, options.seed));
        let answer = ask(address, record(true, length), buffer.part(0, length));
        let whole = is_good(&answer) && answer.transferred == length;
        crate::console::check(
            whole,
            "tape-written",
            format_args!("{name}: a record of {length} bytes: {}", answer.text()),
        );
    }
    let filemark = command("WRITE FILEMARKS", Direction::None, &[0x10, 0, 0, 0, 1, 0]);
    good("tape-filemark", &name, &ask(address, filemark, Data::default()));
    good("tape-rewind", &name, &rewind());
    for (number, length) in RECORDS.into_iter().enumerate() {
        let (answer, mut buffer) = read(address, length);
        let same = is_good(&answer)
            && answer.transferred == length
            && buffer.bytes() == content(number, length, options.seed);
        crate::console::check(
            same,
            "tape-read",
            format_args!("{name}: a record of {length} bytes: {}", answer.text()),
        );
    }
    let (answer, _) = read(address, 4096);
    let at_filemark = matches!(told(&answer), Some((bits, 4096)) if bits & FILEMARK != 0);
    crate::console::check(
        at_filemark && answer.transferred == 0,
        "tape-read-filemark",
        format_args!("{name}: {}, {:02x?}", answer.text(), answer.sense),
    );
    let (answer, _) = read(address, 4096);
    let at_end = matches!(answer.sense(), Some(sense) if sense.key == BLANK_CHECK);
    crate::console::check(
        at_end && answer.transferred == 0,
        "tape-read-end-of-data",
        format_args!("{name}: {}, {:02x?}", answer.text(), answer.sense),
    );
    good("tape-rewind", &name, &rewind());
    other_lengths(address, &name);
}

/// More, and then less, is asked for than there is. What comes with such an answer is not looked at: tgtd sends as many bytes of
/// the record as are missing of it.
fn other_lengths(address: Address, name: &str) {
    let (first, second) = (RECORDS[0], RECORDS[1]);
    for (length, room) in [(first, first + 7_000), (second, second - 100)] {
        let (answer, _) = read(address, room);
        let missing = room as i32 - length as i32;
        let other =
            matches!(told(&answer), Some((bits, said)) if bits & INCORRECT_LENGTH != 0 && said == missing);
        crate::console::check(
            other && answer.transferred == room.min(length),
            "tape-read-other-length",
            format_args!("{name}: {room} bytes of {length}: {}, {:02x?}", answer.text(), answer.sense),
        );
    }
}

/// A cartridge goes from one slot to another and back (SMC-3).
fn changer(address: Address) {
    let name = class::name(address);
    class::ready(address);
    let inventory = command("INITIALIZE ELEMENT STATUS", Direction::None, &[0x07, 0, 0, 0, 0, 0]);
    good("changer-inventory", &name, &ask(address, inventory, Data::default()));
    let elements = || {
        const ROOM: u32 = 4097;
        let mut buffer = Buffer::new(ROOM, 4);
        let cdb = [0xB8, 0, 0, 0, 0xFF, 0xFF, 0, 0, 0x10, 0x01, 0, 0];
        let read = command("READ ELEMENT STATUS", Direction::In, &cdb);
        let answer = ask(address, read, buffer.part(0, ROOM));
        (answer, buffer.bytes().to_vec())
    };
    let (answer, before) = elements();
    let count = u16::from_be_bytes([before[2], before[3]]);
    // READ ELEMENT STATUS may say that less came than there is room for.
    let came = matches!(answer.srb_status & 0x3F, SRB_STATUS_SUCCESS | SRB_STATUS_DATA_OVERRUN);
    crate::console::check(
        came && count == ELEMENTS,
        "changer-elements",
        format_args!("{name}: {count} elements, {}", answer.text()),
    );
    let carry = |from: u16, to: u16| {
        let ([f0, f1], [t0, t1]) = (from.to_be_bytes(), to.to_be_bytes());
        let cdb = [0xA5, 0, 0, ROBOT, f0, f1, t0, t1, 0, 0, 0, 0];
        let answer = ask(address, command("MOVE MEDIUM", Direction::None, &cdb), Data::default());
        good("changer-move", &format!("{name}: from {from} to {to}"), &answer);
        elements().1
    };
    let there = carry(FULL_SLOT, EMPTY_SLOT);
    let back = carry(EMPTY_SLOT, FULL_SLOT);
    crate::console::check(
        there != before && back.len() == before.len(),
        "changer-moved",
        format_args!("{name}: the elements say so"),
    );
    let cdb = [0xA5, 0, 0, ROBOT, 0, 0, 0, 0, 0, 0, 0, 0];
    let nowhere = ask(address, command("MOVE MEDIUM", Direction::None, &cdb), Data::default());
    crate::console::check(
        matches!(nowhere.sense(), Some(Sense { key: 5, .. })),
        "changer-refuses",
        format_args!("{name}: from nowhere to nowhere: {}", nowhere.text()),
    );
}

/// The elements that the runner's changer has.
const ELEMENTS: u16 = 6;
const ROBOT: u8 = 1;
const FULL_SLOT: u16 = 1000;
const EMPTY_SLOT: u16 = 1001;

/// Keys of the two initiators.
const KEYS: [u64; 2] = [0xAAAA_0000_0000_0001, 0xBBBB_0000_0000_0002];
/// Service actions of PERSISTENT RESERVE OUT (SPC-4, 6.16).
const REGISTER: u8 = 0;
const RESERVE: u8 = 1;
const CLEAR: u8 = 3;
const PREEMPT: u8 = 4;
/// Write exclusive, registrants only: what failover clustering uses.
const TYPE: u8 = 5;

/// A disk as one initiator sees it.
struct Initiator {
    address: Address,
    block: u32,
    name: String,
}

impl Initiator {
    fn new(unit: &Unit) -> Option<Self> {
        class::ready(unit.address);
        let (address, block) = (unit.address, unit.capacity?.block_size);
        Some(Self { address, block, name: class::name(address) })
    }

    fn out(&self, action: u8, key: u64, other: u64) -> Answer {
        let mut buffer = Buffer::new(24, 0);
        let list = [&key.to_be_bytes()[..], &other.to_be_bytes(), &[0; 8]].concat();
        buffer.bytes().copy_from_slice(&list);
        let kind = if action == REGISTER { 0 } else { TYPE };
        let cdb = [0x5F, action, kind, 0, 0, 0, 0, 0, 24, 0];
        ask(self.address, command("PERSISTENT RESERVE OUT", Direction::Out, &cdb), buffer.part(0, 24))
    }

    /// PERSISTENT RESERVE IN: the list behind its header, as long as it says.
    fn list(&self, action: u8) -> Vec<u8> {
        let mut buffer = Buffer::new(255, 0);
        let answer = ask(self.address, scsi::persistent_reserve_in(action, 255), buffer.part(0, 255));
        let bytes = buffer.bytes();
        let length = u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]) as usize;
        crate::note!("{}: PERSISTENT RESERVE IN {action}: {}", self.name, answer.text());
        bytes.get(8..8 + length).unwrap_or_default().to_vec()
    }

    fn transfer(&self, write: bool, fill: u8) -> (Answer, u8) {
        let mut buffer = Buffer::new(self.block, 0);
        buffer.bytes().fill(fill);
        let answer = ask(self.address, scsi::transfer(write, 7, 1, false), buffer.part(0, self.block));
        let byte = buffer.bytes()[self.block as usize - 1];
        (answer, byte)
    }

    /// RESERVATION CONFLICT: nothing was done, no sense data, and the class driver neither takes it for a success nor tries
    /// again.
    fn conflicts(&self, what: &str, answer: &Answer, command: &Command) {
        let ending = stand::class::Ending {
            cdb: &command.cdb,
            srb_status: answer.srb_status,
            scsi_status: answer.scsi_status,
            system_status: answer.system_status,
            sense: answer.sense(),
            capacity: None,
        };
        let verdict = interpret(&ending);
        let conflict = answer.scsi_status == SCSISTAT_RESERVATION_CONFLICT
            && answer.srb_status == SRB_STATUS_ERROR
            && answer.transferred == 0
            && answer.sense.is_empty()
            && (verdict.status, verdict.again) == (Status::DEVICE_BUSY, None);
        crate::console::check(
            conflict,
            "reservation-conflict",
            format_args!("{}: {what}: {}", self.name, answer.text()),
        );
    }

    fn writes(&self, fill: u8) {
        good("reservation-write", &self.name, &self.transfer(true, fill).0);
    }

    fn reads(&self, fill: u8) {
        let (answer, byte) = self.transfer(false, 0);
        crate::console::check(
            is_good(&answer) && byte == fill,
            "reservation-read",
            format_args!("{}: {byte:#x}, {}", self.name, answer.text()),
        );
    }
}

/// The other adapter's initiator, once the driver serves that one.
fn switch() -> Option<Initiator> {
    let (function, bars) = port().others.pop()?;
    let before = control::replace(function, &bars);
    port().others.extend(before);
    let units = scan::scan();
    let disk = units.iter().find(|unit| unit.inquiry.device_type == DISK)?;
    Initiator::new(disk)
}

/// One initiator reserves the disk, the other one meets that, takes it over, and the first meets this.
fn reservations(unit: &Unit) {
    let write = scsi::transfer(true, 7, 1, false);
    let Some(one) = Initiator::new(unit) else { return };
    good("reservation-register", &one.name, &one.out(REGISTER, 0, KEYS[0]));
    good("reservation-reserve", &one.name, &one.out(RESERVE, KEYS[0], 0));
    one.writes(0x11);
    let (keys, reservation) = (one.list(0), one.list(1));
    crate::console::check(
        keys == KEYS[0].to_be_bytes() && reservation.starts_with(&KEYS[0].to_be_bytes()),
        "reservation-told",
        format_args!("{}: keys {keys:02x?}, reservation {reservation:02x?}", one.name),
    );

    let Some(other) = switch() else {
        crate::not_ok!("reservations", "the other adapter has no disk");
        return;
    };
    other.reads(0x11);
    other.conflicts("a write", &other.transfer(true, 0x22).0, &write);
    let reserve = command("PERSISTENT RESERVE OUT", Direction::Out, &[0x5F, RESERVE]);
    other.conflicts("a reservation", &other.out(RESERVE, KEYS[1], 0), &reserve);
    other.reads(0x11);
    good("reservation-register", &other.name, &other.out(REGISTER, 0, KEYS[1]));
    other.writes(0x22);
    good("reservation-preempt", &other.name, &other.out(PREEMPT, KEYS[1], KEYS[0]));

    let Some(one) = switch() else { return };
    one.reads(0x22);
    one.conflicts("a write after the other has taken over", &one.transfer(true, 0x33).0, &write);
    one.reads(0x22);
    good("reservation-register", &one.name, &one.out(REGISTER, 0, KEYS[0]));
    good("reservation-clear", &one.name, &one.out(CLEAR, KEYS[0], 0));
    one.writes(0x33);
    one.reads(0x33);
}
