//! vioscsi: tapes, changers, enclosures and burners. Their commands and data are between them and Windows: every CDB arrives as
//! it is, in one piece, with all its data, and what the request says it moved is what was moved.

use fake_device::Options;
use fake_device::hba::{Hba, Override, Reply, Residual, Unit};
use host_tests::{HbaBench, Machine, pattern, reading, writing};
use storport::fake::{Completed, SrbBuilder};
use storport::{DataDirection, SrbStatus};
use virtio::memory::Segment;

const PAGE: usize = 4096;
const CHECK_CONDITION: u8 = 0x02;

fn hba() -> Hba {
    let mut hba = Hba::default().with(0, 0, Unit::disk(8, 512));
    // QEMU's is virtqueue_size - 2.
    hba.seg_max = 1022;
    hba
}

/// A record of 1 MiB lies in 257 pages: more than the driver asks for by default.
fn bench_of(hba: Hba) -> HbaBench {
    let machine = Machine::new(hba, Options { queue_size: 1024, ..Options::default() });
    machine.port.set_parameter("PhysicalBreaks", 256);
    let bench: HbaBench = machine.find().expect("the driver takes the device");
    bench.start().expect("the device starts");
    bench.settle();
    bench
}

fn bench() -> HbaBench {
    bench_of(hba())
}

fn answers(bench: &HbaBench, reply: Reply) {
    bench.device.model(|hba| hba.unit(0, 0).instead = Some(Override::Reply(reply)));
}

/// Memory in pieces that end where a page does, of which the first starts `start` bytes into its page.
fn pieces(bench: &HbaBench, bytes: usize, start: usize) -> Vec<Segment> {
    let mut pieces = Vec::new();
    let (mut left, mut room) = (bytes, PAGE - start);
    while left > 0 {
        let piece = left.min(room);
        pieces.push(bench.buffer(piece));
        (left, room) = (left - piece, PAGE);
    }
    pieces
}

fn content(bench: &HbaBench, pieces: &[Segment]) -> Vec<u8> {
    pieces.iter().flat_map(|piece| bench.content(*piece)).collect()
}

fn put(bench: &HbaBench, pieces: &[Segment], mut data: &[u8]) {
    for piece in pieces {
        let (now, rest) = data.split_at(piece.length as usize);
        bench.fill(*piece, now);
        data = rest;
    }
}

/// The CDBs that arrived, with all of their field.
fn arrived(bench: &HbaBench) -> Vec<[u8; 32]> {
    bench.device.model(|hba| hba.log().iter().map(|entry| entry.cdb).collect())
}

fn padded(cdb: &[u8]) -> [u8; 32] {
    let mut field = [0; 32];
    field[..cdb.len()].copy_from_slice(cdb);
    field
}

/// A command that returns so much of what there is room for; the request, and what is in the buffer.
fn returns(bench: &HbaBench, cdb: &[u8], room: usize, reply: Reply) -> (Completed, Vec<u8>) {
    let pieces = pieces(bench, room, 24);
    put(bench, &pieces, &vec![0xee; room]);
    answers(bench, reply);
    let done = bench.execute(reading(cdb, &pieces));
    let data = content(bench, &pieces);
    pieces.into_iter().for_each(|piece| bench.give_back(piece));
    (done, data)
}

/// A command that is sent this.
fn takes(bench: &HbaBench, cdb: &[u8], data: &[u8], reply: Reply) -> (Completed, Vec<u8>) {
    let pieces = pieces(bench, data.len(), 24);
    put(bench, &pieces, data);
    answers(bench, reply);
    let done = bench.execute(writing(cdb, &pieces));
    let sent = bench.device.model(|hba| hba.unit(0, 0).sent.clone());
    pieces.into_iter().for_each(|piece| bench.give_back(piece));
    (done, sent)
}

/// A command goes through as it is, both with data that it returns and with data that it is sent.
#[track_caller]
fn passes(bench: &HbaBench, cdb: &[u8], bytes: usize, out: bool) {
    let data = pattern(bytes as u64, bytes);
    let before = arrived(bench).len();

    let (done, moved) = if out {
        takes(bench, cdb, &data, Reply { taken: bytes, ..Reply::default() })
    } else {
        returns(bench, cdb, bytes, Reply { data: data.clone(), ..Reply::default() })
    };

    assert_eq!(done.completion.srb_status_byte(), 0x01, "{cdb:02x?}: {:?}", done.completion);
    assert_eq!(done.data_transfer_length as usize, bytes, "{cdb:02x?}");
    assert!(moved == data, "{cdb:02x?}: {bytes} bytes");
    assert_eq!(arrived(bench)[before..], [padded(cdb)], "as it is, and in one piece");
    bench.device.assert_no_violations();
}

/// READ(6) or WRITE(6) of a tape (SSC-3, 6.4 and 6.7): blocks of the mode page's size, or one record of so many bytes.
fn tape(write: bool, fixed: bool, length: usize) -> [u8; 6] {
    let [_, a, b, c] = (length as u32).to_be_bytes();
    [if write { 0x0a } else { 0x08 }, u8::from(fixed), a, b, c, 0]
}

#[test]
fn a_tapes_record_of_any_size_moves_whole() {
    let bench = bench();
    for bytes in [1, 3, 511, 10_241, 65_536, 262_144, 1_048_575, 1_048_576] {
        assert!(bytes <= bench.configuration.max_transfer_bytes as usize);
        for write in [false, true] {
            passes(&bench, &tape(write, false, bytes), bytes, write);
        }
    }
}

#[test]
fn a_tapes_blocks_of_a_fixed_size_move_whole() {
    let bench = bench();
    for (count, block) in [(1, 512), (7, 1000), (20, 10_240), (4, 262_144), (1, 1_048_576)] {
        for write in [false, true] {
            passes(&bench, &tape(write, true, count), count * block, write);
        }
    }
}

/// Fixed format sense data with VALID and INFORMATION (SPC-4, 4.5.3).
fn sense(key_and_bits: u8, asc: u8, ascq: u8, information: i32) -> Vec<u8> {
    let mut sense = vec![0; 18];
    (sense[0], sense[2], sense[7], sense[12], sense[13]) = (0xf0, key_and_bits, 10, asc, ascq);
    sense[3..7].copy_from_slice(&information.to_be_bytes());
    sense
}

const FILEMARK: u8 = 0x80;
const END_OF_MEDIUM: u8 = 0x40;
const INCORRECT_LENGTH: u8 = 0x20;
const BLANK_CHECK: u8 = 0x08;

/// READs that bring less than they ask for: fixed blocks, length, bytes asked for, bytes that come, sense data (SSC-3, 6.4).
fn short_reads() -> Vec<(bool, usize, usize, usize, Vec<u8>)> {
    vec![
        // A record that is shorter than that, and one that is longer.
        (false, 10_241, 10_241, 512, sense(INCORRECT_LENGTH, 0, 0, 10_241 - 512)),
        (false, 10_241, 10_241, 10_241, sense(INCORRECT_LENGTH, 0, 0, 10_241 - 65_536)),
        (false, 1_048_575, 1_048_575, 1, sense(INCORRECT_LENGTH, 0, 0, 1_048_574)),
        // A filemark in place of a record, and after five blocks of eight.
        (false, 10_241, 10_241, 0, sense(FILEMARK, 0, 1, 10_241)),
        (true, 8, 8 * 1000, 5 * 1000, sense(FILEMARK, 0, 1, 3)),
        // END-OF-DATA DETECTED.
        (true, 8, 8 * 1000, 2 * 1000, sense(BLANK_CHECK, 0, 5, 6)),
        (false, 4096, 4096, 0, sense(BLANK_CHECK, 0, 5, 4096)),
        // A tape of tgtd says so without VALID (usr/bs_ssc.c, resp_var_read).
        (false, 4096, 4096, 0, [&[0x70, 0, END_OF_MEDIUM | BLANK_CHECK][..], &[0; 15]].concat()),
    ]
}

#[test]
fn a_short_read_of_a_tape_says_how_much_came_and_why() {
    let bench = bench();
    for (fixed, length, asked, comes, sense) in short_reads() {
        let cdb = tape(false, fixed, length);
        let reply = Reply {
            data: pattern(9, comes),
            status: CHECK_CONDITION,
            sense: sense.clone(),
            ..Reply::default()
        };

        let (done, data) = returns(&bench, &cdb, asked, reply);

        assert_eq!(done.completion.srb_status_byte(), 0x84, "ERROR with sense data");
        assert_eq!(done.sense, sense);
        assert_eq!(done.data_transfer_length as usize, comes, "{sense:02x?}");
        assert!(data[..comes] == pattern(9, comes) && data[comes..].iter().all(|byte| *byte == 0xee));
    }
}

/// QEMU names no residual with any status but GOOD (hw/scsi/virtio-scsi.c, virtio_scsi_command_complete); the tape does.
#[test]
fn where_the_device_does_not_say_how_much_came_the_tape_does() {
    let mut hba = hba();
    hba.residual = Residual::NothingOfFailed;
    let bench = bench_of(hba);
    for (fixed, length, asked, comes, sense) in short_reads() {
        let cdb = tape(false, fixed, length);
        let reply =
            Reply { data: pattern(9, comes), status: CHECK_CONDITION, sense: sense.clone(), taken: 0 };

        let (done, _) = returns(&bench, &cdb, asked, reply);

        assert_eq!(done.sense, sense);
        assert_eq!(done.data_transfer_length as usize, comes, "{cdb:02x?}, {sense:02x?}");
    }
}

#[test]
fn a_write_at_the_end_of_a_tape_says_how_much_was_taken() {
    for residual in [Residual::Buffer, Residual::NothingOfFailed] {
        let mut hba = hba();
        hba.residual = residual;
        let bench = bench_of(hba);
        for (fixed, length, asked, taken, sense) in [
            // Early warning: the record is on the tape.
            (false, 10_241, 10_241, 10_241, sense(END_OF_MEDIUM, 0, 2, 0)),
            (true, 8, 8 * 1000, 8 * 1000, sense(END_OF_MEDIUM, 0, 2, 0)),
            // Early warning after five blocks, and the end itself.
            (true, 8, 8 * 1000, 5 * 1000, sense(END_OF_MEDIUM, 0, 2, 3)),
            (true, 8, 8 * 1000, 0, sense(END_OF_MEDIUM | 0x0d, 0, 2, 8)),
            (false, 10_241, 10_241, 0, sense(END_OF_MEDIUM | 0x0d, 0, 2, 10_241)),
        ] {
            let reply = Reply { taken, status: CHECK_CONDITION, sense: sense.clone(), ..Reply::default() };

            let (done, _) = takes(&bench, &tape(true, fixed, length), &pattern(3, asked), reply);

            assert_eq!((done.completion.srb_status_byte(), done.sense), (0x84, sense.clone()));
            assert_eq!(done.data_transfer_length as usize, taken, "{residual:?}, {sense:02x?}");
        }
    }
}

#[test]
fn what_a_tapes_sense_data_cannot_mean_changes_nothing() {
    let mut hba = hba();
    hba.residual = Residual::NothingOfFailed;
    let bench = bench_of(hba);
    let with = |change: fn(&mut Vec<u8>)| {
        let mut sense = sense(END_OF_MEDIUM, 0, 2, 1000);
        change(&mut sense);
        sense
    };
    let table: [(&[u8], Vec<u8>); 8] = [
        // INFORMATION is not valid; there is none; it is more than was asked for, as no record can lack.
        (&tape(false, false, 5000), with(|sense| sense[0] = 0x70)),
        (&tape(false, false, 5000), with(|sense| sense.truncate(6))),
        (&tape(false, false, 5000), with(|sense| sense[3] = 0x7f)),
        (&tape(false, true, 5), with(|sense| sense[3] = 0x7f)),
        // No number of blocks, or none that the data is a multiple of.
        (&tape(false, true, 0), with(|_| {})),
        (&tape(false, true, 3), with(|sense| (sense[5], sense[6]) = (0, 1))),
        // Nothing that a tape says, and no command of a tape.
        (&tape(false, false, 5000), with(|sense| sense[2] = 0)),
        (&[0x28, 0, 0, 0, 0, 0, 0, 0, 10, 0], with(|_| {})),
    ];
    for (cdb, sense) in table {
        let reply = Reply { data: pattern(9, 5000), status: CHECK_CONDITION, sense, taken: 0 };

        let (done, _) = returns(&bench, cdb, 5000, reply.clone());

        assert_eq!(done.data_transfer_length, 5000, "{cdb:02x?}, {:02x?}", reply.sense);
    }
}

/// A part of a record is another record, and the length of READ(6) is not where a disk has it.
#[test]
fn a_tapes_record_is_not_cut_where_the_device_takes_little() {
    for bytes in [1, 513, 2560, PAGE] {
        for write in [false, true] {
            for fixed in [false, true] {
                let mut hba = hba();
                hba.seg_max = 1;
                passes(&bench_of(hba), &tape(write, fixed, bytes), bytes, write);
                let mut hba = self::hba();
                hba.max_sectors = 2;
                passes(&bench_of(hba), &tape(write, fixed, bytes), bytes, write);
            }
        }
    }
}

#[test]
fn changers_enclosures_and_burners_get_what_they_are_sent() {
    let bench = bench();
    let table: [(&[u8], usize, bool); 20] = [
        // SMC-3: READ ELEMENT STATUS, SEND VOLUME TAG.
        (&[0xb8, 0x10, 0, 0, 0xff, 0xff, 0, 0, 0x10, 0x01, 0, 0], 4097, false),
        (&[0xb6, 0, 0, 1, 0, 5, 0, 0, 0, 40, 0, 0], 40, true),
        // SES-3: RECEIVE DIAGNOSTIC RESULTS and SEND DIAGNOSTIC of page 02h.
        (&[0x1c, 1, 2, 0xff, 0xff, 0], 0xffff, false),
        (&[0x1d, 0x10, 0, 0x01, 0x0b, 0], 0x10b, true),
        // SPC-4: READ BUFFER and WRITE BUFFER (microcode), LOG SENSE, MODE SELECT(10), SECURITY PROTOCOL IN and OUT.
        (&[0x3c, 2, 0, 0, 0, 0, 0x01, 0, 1, 0], 0x1_0001, false),
        (&[0x3b, 7, 0, 0, 0, 0, 0x03, 0xff, 0xff, 0], 0x3_ffff, true),
        (&[0x4d, 0, 0x6e, 0, 0, 0, 0, 0x03, 0xe7, 0], 999, false),
        (&[0x55, 0x10, 0, 0, 0, 0, 0, 0, 0x3c, 0], 60, true),
        (&[0xa2, 0x20, 0, 0x10, 0, 0, 0, 0, 0x40, 0x04, 0, 0], 0x4004, false),
        (&[0xb5, 0x20, 0, 0x10, 0, 0, 0, 0, 0x40, 0x04, 0, 0], 0x4004, true),
        // MMC-6: READ CD and READ CD MSF with all that a sector has, WRITE(10) and WRITE(12) of such sectors.
        (&[0xbe, 0, 0, 0, 0, 16, 0, 0, 1, 0xf8, 0, 0], 2352, false),
        (&[0xbe, 0, 0, 0, 0, 16, 0, 0, 27, 0xfa, 1, 0], 27 * (2352 + 294 + 96), false),
        (&[0xb9, 0, 0, 0, 2, 0, 0, 4, 0, 0xf8, 0, 0], 150 * 2352, false),
        (&[0x2a, 0, 0xff, 0xff, 0xff, 0x6a, 0, 0, 26, 0], 26 * 2352, true),
        (&[0xaa, 0, 0, 0, 0, 0, 0, 0, 0, 27, 0x80, 0], 27 * 2448, true),
        // SEND CUE SHEET, READ DISC INFORMATION, READ TOC, GET CONFIGURATION, FORMAT UNIT, REPORT KEY.
        (&[0x5d, 0, 0, 0, 0, 0, 0, 0, 0x48, 0], 72, true),
        (&[0x51, 0, 0, 0, 0, 0, 0, 0, 34, 0], 34, false),
        (&[0x43, 2, 2, 0, 0, 0, 0, 0x03, 0x24, 0], 804, false),
        (&[0x46, 2, 0, 0x1e, 0, 0, 0, 0, 0x12, 0], 18, false),
        (&[0x04, 0x11, 0, 0, 0, 0], 12, true),
    ];
    for (cdb, bytes, out) in table {
        passes(&bench, cdb, bytes, out);
    }
}

#[test]
fn commands_without_data_arrive_without_any() {
    let bench = bench();
    let table: [&[u8]; 12] = [
        // Of a tape: REWIND, WRITE FILEMARKS, SPACE, ERASE, LOCATE(16), LOAD UNLOAD.
        &[0x01, 0, 0, 0, 0, 0],
        &[0x10, 0, 0, 0, 2, 0],
        &[0x11, 1, 0xff, 0xff, 0xfe, 0],
        &[0x19, 1, 0, 0, 0, 0],
        &[0x92, 0, 0, 0, 0, 0, 0, 0, 0x12, 0x34, 0x56, 0x78, 0, 0, 0, 0],
        &[0x1b, 0, 0, 0, 3, 0],
        // Of a changer: INITIALIZE ELEMENT STATUS, MOVE MEDIUM, EXCHANGE MEDIUM.
        &[0x07, 0, 0, 0, 0, 0],
        &[0xa5, 0, 0, 1, 0x04, 0, 0, 0x80, 0, 0, 0, 0],
        &[0xa6, 0, 0, 1, 0x04, 0, 0, 0x80, 0x04, 0x01, 0, 0],
        // Of a burner: BLANK, CLOSE TRACK SESSION, SYNCHRONIZE CACHE.
        &[0xa1, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[0x5b, 1, 2, 0, 0, 0, 0, 0, 0, 0],
        &[0x35, 2, 0, 0, 0, 0, 0, 0, 0, 0],
    ];
    for cdb in table {
        bench.device.trace();

        let done = bench.execute(SrbBuilder::execute(cdb));

        assert_eq!(bench.device.take_trace(), ["R 51 header / W 108 response"], "{cdb:02x?}");
        assert_eq!(done.data_transfer_length, 0);
        assert_eq!(arrived(&bench).pop(), Some(padded(cdb)));
    }
}

#[test]
fn a_length_of_nothing_is_no_data_whatever_its_direction() {
    let bench = bench();
    answers(&bench, Reply::default());
    let table: [&[u8]; 5] = [
        &tape(false, false, 0),
        &tape(true, true, 0),
        &[0x28, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[0x2a, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[0x12, 0, 0, 0, 0, 0],
    ];
    for cdb in table {
        for direction in [DataDirection::None, DataDirection::In, DataDirection::Out] {
            bench.device.trace();

            let done = bench.execute(SrbBuilder::execute(cdb).with_segments(direction, &[]));

            assert_eq!(
                bench.device.take_trace(),
                ["R 51 header / W 108 response"],
                "{cdb:02x?} {direction:?}"
            );
            assert_eq!((done.completion.status, done.data_transfer_length), (SrbStatus::SUCCESS, 0));
        }
    }
}

/// SPC-4, 4.2.3: the service action of a CDB of variable length is in bytes 8 and 9, byte 7 says how much follows.
fn variable(length: usize) -> Vec<u8> {
    let mut cdb = pattern(length as u64, length);
    if length > 9 {
        (cdb[0], cdb[7], cdb[8], cdb[9]) = (0x7f, length as u8 - 8, 0x88, 0x11);
    } else {
        // Not one of a tape or disk.
        cdb[0] = 0xc1;
    }
    cdb
}

#[test]
fn a_cdb_of_any_length_up_to_32_bytes_arrives_with_its_data() {
    let bench = bench();
    for length in 1..=32 {
        for (bytes, out) in [(1, false), (1, true), (517, false), (517, true), (9000, false), (9000, true)] {
            passes(&bench, &variable(length), bytes, out);
        }
    }
}

#[test]
fn a_cdb_of_more_than_32_bytes_is_refused_before_the_device_sees_a_part_of_it() {
    let bench = bench();
    let buffer = bench.filled(&[0xee; 512]);
    for length in [33, 36, 48, 255] {
        for request in [reading(&variable(length), &[buffer]), writing(&variable(length), &[buffer])] {
            let done = bench.execute(request);

            assert_eq!(done.completion.srb_status_byte(), SrbStatus::INVALID_REQUEST.0);
            assert_eq!(done.data_transfer_length, 0);
        }
    }
    assert_eq!(bench.content(buffer), [0xee; 512]);
    assert_eq!(bench.device.model(|hba| hba.log().len()), 0);
}

#[test]
fn an_answer_that_is_shorter_than_its_room_says_how_long_it_is() {
    let bench = bench();
    for (room, comes) in [(255, 0), (255, 1), (255, 254), (4096, 36), (0x1_0000, 0xfffe)] {
        let reply = Reply { data: pattern(4, comes), ..Reply::default() };

        let (done, data) = returns(&bench, &[0xb8, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0], room, reply);

        assert_eq!(
            (done.completion.status, done.data_transfer_length),
            (SrbStatus::DATA_OVERRUN, comes as u32)
        );
        assert!(data[..comes] == pattern(4, comes) && data[comes..].iter().all(|byte| *byte == 0xee));
    }
}

#[test]
fn what_takes_hours_is_waited_for() {
    // The time-out of a BLANK, an ERASE or a FORMAT UNIT is its sender's and StorPort's: the driver ends none by itself.
    let bench = bench();
    answers(&bench, Reply::default());
    let resets = bench.device.resets();
    bench.device.hold();
    bench.submit(SrbBuilder::execute(&[0xa1, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
    bench.device.run();
    bench.settle();

    assert_eq!(bench.port.take_completed(), []);
    assert_eq!(bench.port.run_timer(&bench.adapter), None, "nobody looks at a clock");
    bench.device.release_all();
    bench.settle();
    assert_eq!(bench.port.take_completed()[0].completion.status, SrbStatus::SUCCESS);
    assert_eq!(bench.device.resets(), resets);
}
