//! vioscsi: commands pass through to the right unit, and what the unit says comes back.

use adapter::Event;
use fake_device::hba::{Hba, Override, Residual, Unit};
use fake_device::{Options, Order};
use host_tests::cdb::{inquiry, inquiry_page, read10, read16, write10};
use host_tests::{HbaBench, pattern, reading, writing};
use storport::fake::SrbBuilder;
use storport::port::FarUnit;
use storport::{DataDirection, SrbFunction, SrbStatus};
use virtio::spec::scsi::Response;

/// Target 0 with units 0 and 1, target 3 with unit 0 in blocks of 4096 bytes.
fn bench() -> HbaBench {
    HbaBench::with_hba(Hba::default().with(0, 0, Unit::disk(64, 512)).with(0, 1, Unit::disk(64, 512)).with(
        3,
        0,
        Unit::disk(16, 4096),
    ))
}

fn instead(bench: &HbaBench, instead: Override) {
    bench.device.model(|hba| hba.unit(0, 0).instead = Some(instead));
}

fn content(bench: &HbaBench, target: u8, lun: u16) -> Vec<u8> {
    bench.device.model(|hba| hba.unit(target, lun).content().clone())
}

#[test]
fn a_write_reaches_its_target_and_unit_and_no_other() {
    let bench = bench();
    let before = content(&bench, 0, 0);
    let data = pattern(1, 4096);
    let buffer = bench.filled(&data);

    let on_unit_1 = bench.execute(writing(&write10(8, 8), &[buffer]).to(0, 0, 1));
    let on_target_3 = bench.execute(writing(&write10(2, 1), &[buffer]).to(0, 3, 0));

    assert_eq!(on_unit_1.completion.transferred, 4096);
    assert_eq!(on_target_3.completion.transferred, 4096);
    assert_eq!(content(&bench, 0, 1)[8 * 512..16 * 512], data);
    assert_eq!(content(&bench, 3, 0)[2 * 4096..3 * 4096], data);
    assert!(content(&bench, 0, 0) == before);
    bench.device.assert_no_violations();
}

#[test]
fn a_read_brings_the_units_data() {
    let bench = bench();
    let data = pattern(2, 1024);
    bench.device.model(|hba| hba.unit(0, 1).content()[512..1536].copy_from_slice(&data));
    let (first, second) = (bench.buffer(512), bench.buffer(512));

    let completed = bench.execute(reading(&read16(1, 2), &[first, second]).to(0, 0, 1));

    assert_eq!(completed.completion.srb_status_byte(), 0x01);
    assert_eq!([bench.content(first), bench.content(second)].concat(), data);
    bench.device.assert_no_violations();
}

#[test]
fn a_read_is_header_response_data() {
    let bench = bench();
    bench.device.trace();
    let buffer = bench.buffer(4096);

    bench.execute(reading(&read10(0, 8), &[buffer]));

    assert_eq!(bench.device.take_trace(), ["R 51 header / W 108 response / W 4096 data"]);
}

#[test]
fn a_write_is_header_data_response() {
    let bench = bench();
    bench.device.trace();
    let buffers: Vec<_> = (0..4).map(|_| bench.buffer(512)).collect();

    bench.execute(writing(&write10(0, 4), &buffers));

    let expected = "R 51 header / R 512 data / R 512 data / R 512 data / R 512 data / W 108 response";
    assert_eq!(bench.device.take_trace(), [expected]);
}

#[test]
fn a_command_without_data_is_header_response() {
    let bench = bench();
    bench.device.trace();

    bench.execute(SrbBuilder::execute(&[0; 6]));

    assert_eq!(bench.device.take_trace(), ["R 51 header / W 108 response"]);
}

#[test]
fn short_and_long_chains_share_a_slot_without_mixing_up() {
    // The slot's own table and a large one take turns, and so do the two orders of the response.
    let bench = bench();
    bench.device.trace();
    let pages: Vec<_> = (0..5).map(|_| bench.buffer(512)).collect();
    for round in 0..20 {
        let segments = &pages[..1 + round % 5];
        let blocks = segments.len() as u16;
        let request = match round % 3 {
            0 => reading(&read10(0, blocks), segments),
            1 => writing(&write10(0, blocks), segments),
            _ => SrbBuilder::execute(&[0; 6]),
        };

        let completed = bench.execute(request);

        assert_eq!(completed.completion.status, SrbStatus::SUCCESS, "round {round}");
        let data = if round % 3 == 2 { 0 } else { usize::from(blocks) };
        assert_eq!(bench.device.take_trace()[0].matches("data").count(), data, "round {round}");
    }
    bench.device.assert_no_violations();
}

#[test]
fn every_cdb_passes_through_unchanged() {
    let bench = bench();
    for length in [6, 10, 12, 16, 32] {
        let cdb = pattern(length as u64, length);

        bench.execute(SrbBuilder::execute(&cdb));

        let seen = bench.device.model(|hba| hba.log().last().expect("the command arrived").cdb);
        assert_eq!(seen[..length], cdb);
        assert!(seen[length..].iter().all(|byte| *byte == 0));
    }
}

#[test]
fn a_list_as_long_as_storport_was_told_goes_through_whatever_the_device_says_of_its_own() {
    for seg_max in [2, 126, 128, 129, 254, 255, 512, 1022, 1024, 0x1_0000, u32::MAX] {
        let mut hba = Hba::default().with(0, 0, Unit::disk(2048, 512));
        hba.seg_max = seg_max;
        let bench = HbaBench::running(hba, Options { queue_size: 1024, ..Options::default() });
        let most = bench.configuration.max_segments as usize;
        assert!(most >= 2 && most as u64 <= u64::from(seg_max), "{most} of {seg_max}");
        let data = pattern(6, most * 512);
        let out: Vec<_> = data.chunks(512).map(|piece| bench.filled(piece)).collect();
        let back: Vec<_> = (0..most).map(|_| bench.buffer(512)).collect();

        let written = bench.execute(writing(&write10(7, most as u16), &out));
        let read = bench.execute(reading(&read10(7, most as u16), &back));

        for completed in [written, read] {
            assert_eq!(completed.completion.status, SrbStatus::SUCCESS, "{seg_max}");
            assert_eq!(completed.data_transfer_length as usize, most * 512, "{seg_max}");
        }
        assert!(content(&bench, 0, 0)[7 * 512..][..most * 512] == data, "{seg_max}");
        let came: Vec<u8> = back.iter().flat_map(|piece| bench.content(*piece)).collect();
        assert!(came == data, "{seg_max}");
        bench.device.assert_no_violations();
    }
}

#[test]
fn inquiry_is_answered_by_the_unit() {
    let bench = bench();
    let buffer = bench.buffer(36);

    let standard = bench.execute(reading(&inquiry(36), &[buffer]));

    assert_eq!(standard.completion.srb_status_byte(), 0x01);
    assert_eq!(bench.content(buffer)[8..], *b"FAKE    UNIT            0001");

    let page = bench.buffer(64);
    let serial = bench.execute(reading(&inquiry_page(0x80, 64), &[page]));
    assert_eq!(serial.completion.transferred, 8);
    assert_eq!(bench.content(page)[..8], *b"\x00\x80\x00\x04UNIT");
}

#[test]
fn what_a_unit_says_of_itself_reaches_windows_byte_for_byte() {
    // Lengths of pages and descriptors that lead nowhere: FCh and 4 are 0 in 8 bits, 0 does not lead on, and the others lead
    // out of the page, or out of the buffer.
    let mut answers: Vec<Vec<u8>> = Vec::new();
    for page in [0x00, 0x80, 0x83, 0xb0] {
        for page_length in [0_u16, 3, 8, 60, 0xfffb, 0xffff] {
            for descriptor_length in [0, 1, 12, 0xfc, 0xff] {
                let [high, low] = page_length.to_be_bytes();
                let mut answer = vec![0, page, high, low, 0x01, 0x03, 0, descriptor_length];
                answer.extend(pattern(u64::from(page), 56));
                answers.extend([answer[..4].to_vec(), answer]);
            }
        }
    }
    // Standard data that says it is as long as can be, and of which little comes.
    answers.extend([vec![0, 0, 6, 2, 0xff], vec![0x1f; 36], vec![0xff; 64]]);
    for answer in answers {
        let bench = bench();
        instead(&bench, Override::Data(answer.clone()));
        let (buffer, behind) = (bench.filled(&[0xee; 40]), bench.filled(&[0xee; 64]));
        let cdb = match answer[1] {
            page @ (0x80 | 0x83 | 0xb0) => inquiry_page(page, 255),
            _ => inquiry(255),
        };

        // What the driver would see of it is not where the device writes.
        let mapped = SrbBuilder::execute(&cdb).with_data_in(40);
        let completed = bench.execute(mapped.with_segments(DataDirection::In, &[buffer]));

        let moved = answer.len().min(40);
        let status = if moved < 40 { SrbStatus::DATA_OVERRUN } else { SrbStatus::SUCCESS };
        assert_eq!((completed.completion.status, completed.data_transfer_length), (status, moved as u32));
        let mut expected = [0xee; 40];
        expected[..moved].copy_from_slice(&answer[..moved]);
        assert_eq!(bench.content(buffer), expected, "{answer:02x?}");
        assert_eq!(completed.data, [0xee; 40], "{answer:02x?}");
        assert_eq!(bench.content(behind), [0xee; 64]);
        bench.device.assert_no_violations();
    }
}

#[test]
fn sense_data_comes_back_with_check_condition() {
    let bench = bench();
    let mut sense = vec![0; 18];
    (sense[0], sense[2], sense[12], sense[13]) = (0x70, 0x06, 0x29, 0x02);
    instead(&bench, Override::Sense(sense.clone()));
    let buffer = bench.buffer(512);

    let completed = bench.execute(reading(&read10(0, 1), &[buffer]));

    assert_eq!(completed.completion.srb_status_byte(), 0x84);
    assert_eq!(completed.completion.scsi_status.0, 0x02);
    assert_eq!(completed.completion.transferred, 0);
    assert_eq!(completed.sense, sense);
}

#[test]
fn sense_data_is_cut_to_the_room_there_is() {
    let bench = bench();
    instead(&bench, Override::Sense(pattern(5, 96)));

    let long = bench.execute(SrbBuilder::execute(&[0; 6]).with_sense_room(255));
    let short = bench.execute(SrbBuilder::execute(&[0; 6]).with_sense_room(4));
    let none = bench.execute(SrbBuilder::execute(&[0; 6]).with_sense_room(0));

    assert_eq!(long.sense, pattern(5, 96));
    assert_eq!(short.sense, pattern(5, 96)[..4]);
    assert_eq!(none.completion.srb_status_byte(), 0x04);
}

#[test]
fn sense_data_of_one_command_does_not_show_in_the_next() {
    let bench = bench();
    instead(&bench, Override::Sense(vec![0x77; 96]));
    bench.execute(SrbBuilder::execute(&[0; 6]).with_sense_room(96));
    instead(&bench, Override::Sense(Vec::new()));

    let completed = bench.execute(SrbBuilder::execute(&[0; 6]).with_sense_room(96));

    assert_eq!(completed.completion.scsi_status.0, 0x02);
    assert_eq!(completed.sense, []);
}

#[test]
fn a_residual_is_taken_off_what_was_transferred() {
    let bench = bench();
    instead(&bench, Override::Short(100));
    let buffer = bench.buffer(1024);

    let read = bench.execute(reading(&read10(0, 2), &[buffer]));
    let write = bench.execute(writing(&write10(0, 2), &[buffer]));

    for completed in [read, write] {
        assert_eq!(completed.completion.status, SrbStatus::DATA_OVERRUN);
        assert_eq!(completed.completion.transferred, 924);
    }
}

#[test]
fn a_good_write_with_more_missing_than_there_was_is_sent_again() {
    let bench = bench();
    instead(&bench, Override::Residual(0xffff_f000));
    let buffer = bench.buffer(1024);

    let write = bench.execute(writing(&write10(0, 2), &[buffer]));

    assert_eq!(write.completion.status, SrbStatus::ABORTED);
    assert_eq!(write.completion.transferred, 0);
}

#[test]
fn an_answer_shorter_than_the_buffer_is_a_residual() {
    let bench = bench();
    let buffer = bench.buffer(255);

    let completed = bench.execute(reading(&inquiry(255), &[buffer]));

    assert_eq!(completed.completion.status, SrbStatus::DATA_OVERRUN);
    assert_eq!(completed.completion.transferred, 36);
}

#[test]
fn a_target_without_units_is_an_invalid_target() {
    let bench = bench();
    let buffer = bench.buffer(36);

    let completed = bench.execute(reading(&inquiry(36), &[buffer]).to(0, 7, 0));

    assert_eq!(completed.completion.status, SrbStatus::INVALID_TARGET_ID);
}

#[test]
fn a_unit_that_does_not_exist_on_a_target_says_so_itself() {
    let bench = bench();
    let buffer = bench.buffer(36);

    let inquiry = bench.execute(reading(&inquiry(36), &[buffer]).to(0, 0, 9));
    let ready = bench.execute(SrbBuilder::execute(&[0; 6]).to(0, 0, 9));

    assert_eq!(inquiry.completion.status, SrbStatus::SUCCESS);
    assert_eq!(bench.content(buffer)[0], 0x7f);
    assert_eq!((ready.sense[2], ready.sense[12]), (0x05, 0x25));
}

#[test]
fn addresses_outside_the_adapter_never_reach_it() {
    let mut hba = Hba::default().with(0, 0, Unit::disk(8, 512));
    (hba.max_target, hba.max_lun) = (3, 7);
    let bench = HbaBench::with_hba(hba);
    for (path, target, lun) in [(1, 0, 0), (0, 4, 0), (0, 0, 8), (0, 255, 255)] {
        let completed = bench.execute(SrbBuilder::execute(&[0; 6]).to(path, target, lun));

        assert_eq!(completed.completion.status, SrbStatus::NO_DEVICE);
    }
    assert_eq!(bench.device.notifications(2), 0);
}

#[test]
fn the_last_target_and_the_last_unit_are_reached_and_those_behind_them_are_not() {
    // Both fields name the last one; of what StorPort can address 254 is the last.
    for (max_target, max_lun, last_target, last_lun) in [
        (0, 0, 0, 0),
        (3, 7, 3, 7),
        (1, 254, 1, 254),
        (254, 1, 254, 1),
        (255, 255, 254, 254),
        (256, 256, 254, 254),
        (u16::MAX, 16383, 254, 254),
        (u16::MAX, u32::MAX, 254, 254),
    ] {
        let mut hba = Hba::default().with(last_target, u16::from(last_lun), Unit::disk(8, 512));
        (hba.max_target, hba.max_lun) = (max_target, max_lun);
        let bench = HbaBench::with_hba(hba);
        let ready = |target, lun| bench.execute(SrbBuilder::execute(&[0; 6]).to(0, target, lun));

        let last = ready(last_target, last_lun);
        let behind = [ready(last_target + 1, last_lun), ready(last_target, last_lun + 1)];

        let told = (bench.configuration.targets, bench.configuration.logical_units);
        assert_eq!(told, (last_target + 1, last_lun + 1), "{max_target}, {max_lun}");
        assert_eq!(last.completion.status, SrbStatus::SUCCESS, "{max_target}, {max_lun}");
        for behind in behind {
            assert_eq!(behind.completion.status, SrbStatus::NO_DEVICE, "{max_target}, {max_lun}");
        }
        bench.device.assert_no_violations();
    }
}

#[test]
fn disks_at_all_targets_that_storport_addresses_work() {
    // PORT_CONFIGURATION_INFORMATION.MaximumNumberOfTargets is 255 at most.
    let ends = [0, 127, 128, 200, 254, 255];
    let hba = ends.iter().fold(Hba::default(), |hba, target| hba.with(*target, 0, Unit::disk(64, 512)));
    let bench = HbaBench::with_hba(hba);
    assert_eq!(bench.configuration.targets, 255);
    let data = pattern(4, 512);
    for target in [0, 127, 128, 200, 254] {
        let (out, back) = (bench.filled(&data), bench.buffer(512));

        let written = bench.execute(writing(&write10(9, 1), &[out]).to(0, target, 0));
        let read = bench.execute(reading(&read10(9, 1), &[back]).to(0, target, 0));

        assert_eq!(
            (written.completion.status, read.completion.status),
            (SrbStatus::SUCCESS, SrbStatus::SUCCESS)
        );
        assert_eq!(content(&bench, target, 0)[9 * 512..10 * 512], data, "target {target}");
        assert_eq!(bench.content(back), data, "target {target}");
    }
    let beyond = bench.execute(SrbBuilder::execute(&[0; 6]).to(0, 255, 0));
    assert_eq!(beyond.completion.status, SrbStatus::NO_DEVICE);
    bench.device.assert_no_violations();
}

#[test]
fn a_target_beyond_storports_addresses_is_told_to_who_traces_and_alarms_nobody() {
    let told = |max_target| {
        let mut hba = Hba::default();
        hba.max_target = max_target;
        let bench = HbaBench::with_hba(hba);
        assert_eq!(bench.port.log_entries(), []);
        bench.port.traces()
    };

    assert_eq!(told(254), []);
    assert_eq!(told(255), [Event::UnitsLeftOut.into()]);
}

#[test]
fn a_cdb_that_does_not_fit_is_refused() {
    let bench = bench();
    for length in [0, 33, 255] {
        let completed = bench.execute(SrbBuilder::execute(&vec![0; length]));

        assert_eq!(completed.completion.status, SrbStatus::INVALID_REQUEST, "{length} bytes");
    }
    assert_eq!(bench.device.notifications(2), 0);
}

#[test]
fn every_response_code_ends_the_request_with_its_own_status() {
    let bench = bench();
    let table = [
        (Response::OVERRUN, SrbStatus::DATA_OVERRUN),
        (Response::ABORTED, SrbStatus::ABORTED),
        (Response::BAD_TARGET, SrbStatus::INVALID_TARGET_ID),
        (Response::RESET, SrbStatus::BUS_RESET),
        (Response::BUSY, SrbStatus::BUSY),
        (Response::TRANSPORT_FAILURE, SrbStatus::ERROR),
        (Response::TARGET_FAILURE, SrbStatus::ERROR),
        (Response::NEXUS_FAILURE, SrbStatus::ERROR),
        (Response::FAILURE, SrbStatus::ERROR),
        (Response::INCORRECT_LUN, SrbStatus::INVALID_LUN),
        (Response(200), SrbStatus::ERROR),
    ];
    for (response, expected) in table {
        instead(&bench, Override::Response(response));

        let completed = bench.execute(SrbBuilder::execute(&[0; 6]));

        assert_eq!(completed.completion.status, expected, "{response:?}");
        assert_eq!(completed.completion.transferred, 0);
    }
}

#[test]
fn a_busy_unit_and_a_full_task_set_are_busy() {
    let bench = bench();
    for status in [0x08, 0x28] {
        instead(&bench, Override::Status(status));

        let completed = bench.execute(SrbBuilder::execute(&[0; 6]));

        assert_eq!(completed.completion.status, SrbStatus::BUSY);
        assert_eq!(completed.completion.scsi_status.0, status);
    }
}

#[test]
fn a_write_that_comes_back_busy_keeps_its_length_for_the_next_try() {
    let bench = bench();
    let buffer = bench.buffer(4096);
    for busy in [Override::Status(0x08), Override::Status(0x28), Override::Response(Response::BUSY)] {
        instead(&bench, busy);

        let completed = bench.execute(writing(&write10(0, 8), &[buffer]));

        assert_eq!(completed.completion.status, SrbStatus::BUSY);
        assert_eq!(completed.data_transfer_length, 4096);
    }
}

#[test]
fn a_reservation_conflict_reaches_windows() {
    let bench = bench();
    instead(&bench, Override::Status(0x18));

    let completed = bench.execute(SrbBuilder::execute(&[0; 6]));

    assert_eq!(completed.completion.scsi_status.0, 0x18);
    assert_eq!(completed.completion.status, SrbStatus::ERROR);
}

#[test]
fn neither_commands_nor_what_units_say_of_them_are_logged_or_traced() {
    let bench = bench();
    let at_start = bench.port.traces();
    let answers = [
        None,
        Some(Override::Status(0x28)),
        Some(Override::Sense(vec![0x70, 0, 0x03, 0, 0, 0, 0, 10])),
        Some(Override::Response(Response::ABORTED)),
        Some(Override::Short(100)),
    ];
    let buffer = bench.buffer(512);
    for answer in answers {
        bench.device.model(|hba| hba.unit(0, 0).instead = answer);
        for request in [reading(&read10(0, 1), &[buffer]), writing(&write10(0, 1), &[buffer])] {
            (0..100).for_each(|_| _ = bench.execute(request.clone()));
        }
    }

    assert_eq!(bench.port.traces(), at_start);
}

#[test]
fn report_luns_and_read_capacity_come_from_the_units() {
    let bench = bench();
    let (luns, capacity) = (bench.buffer(24), bench.buffer(8));

    bench.execute(reading(&[0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 24, 0, 0], &[luns]));
    bench.execute(reading(&[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[capacity]).to(0, 3, 0));

    assert_eq!(bench.content(luns)[..4], [0, 0, 0, 16]);
    assert_eq!(bench.content(luns)[16..18], [0, 1]);
    assert_eq!(bench.content(capacity), [0, 0, 0, 15, 0, 0, 0x10, 0]);
}

#[test]
fn a_flush_of_the_adapter_has_nothing_to_do() {
    let bench = bench();

    let completed = bench.execute(SrbBuilder::function(SrbFunction::Flush));

    assert_eq!(completed.completion.status, SrbStatus::SUCCESS);
    assert_eq!(bench.device.notifications(2), 0);
}

#[test]
fn units_that_windows_cannot_address_are_told_of_once_for_each_target() {
    let hba = Hba::default().with(0, 0, Unit::disk(64, 512)).with(0, 300, Unit::disk(64, 512)).with(
        3,
        0,
        Unit::disk(64, 512),
    );
    let bench = HbaBench::with_hba(hba);
    let list = bench.buffer(24);
    let report_luns = |target, luns: &[u8]| {
        // Windows maps the buffer: what the device writes is seen there as well.
        let mapped = [&[0, 0, 0, 16, 0, 0, 0, 0], luns].concat();
        let request = SrbBuilder::execute(&[0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 24, 0, 0]).with_data_out(&mapped);
        bench.execute(request.with_segments(DataDirection::In, &[list]).to(0, target, 0))
    };
    let of_target_0 = [[0; 8], [0x41, 44, 0, 0, 0, 0, 0, 0]].concat();

    let first = report_luns(0, &of_target_0);
    let again = report_luns(0, &of_target_0);
    let other = report_luns(3, &[0; 16]);

    assert_eq!(bench.content(list)[..8], [0, 0, 0, 8, 0, 0, 0, 0], "target 3 has one unit");
    for done in [first, again] {
        assert_eq!(done.completion.status, SrbStatus::SUCCESS);
    }
    assert_eq!(other.completion.status, SrbStatus::DATA_OVERRUN);
    let told = Event::LunsOutOfReach.of_unit(FarUnit { target: 0, lun: 300 });
    assert_eq!(bench.port.log_entries(), [told]);
    bench.device.assert_no_violations();
}

#[test]
fn what_a_program_sends_with_report_luns_is_not_taken_for_a_list() {
    let mut hba = Hba::default().with(0, 0, Unit::disk(64, 512));
    hba.residual = Residual::Room;
    let bench = HbaBench::with_hba(hba);
    let list = bench.buffer(24);
    let sent = [&[0, 0, 0, 16, 0, 0, 0, 0], &[0; 8][..], &[0x41, 44, 0, 0, 0, 0, 0, 0]].concat();
    for direction in [DataDirection::Out, DataDirection::None] {
        let request = SrbBuilder::execute(&[0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 24, 0, 0]).with_data_out(&sent);

        let done = bench.execute(request.with_segments(direction, &[list]).to(0, 0, 0));

        assert_eq!(done.completion.status, SrbStatus::SUCCESS, "{direction:?}");
        assert_eq!(bench.port.log_entries(), [], "{direction:?}");
    }
}

#[test]
fn a_unit_that_hangs_costs_the_requests_of_the_others_nothing() {
    let counts = |hanging: u64| {
        let bench = bench();
        bench.device.hold();
        bench.device.set_order(Order::Reversed);
        for tag in 0..hanging {
            bench.submit(reading(&read10(0, 1), &[bench.buffer(512)]).to(0, 0, 0).tagged(tag));
        }
        bench.device.run();
        let before = (bench.device.register_accesses(), bench.device.notifications(2));
        for tag in 1000..1100 {
            bench.submit(reading(&read10(0, 1), &[bench.buffer(512)]).to(0, 0, 1).tagged(tag));
            bench.device.run();
            // What came last is answered first.
            bench.device.release(1);
            bench.deliver_interrupts();
            let ended = bench.port.take_completed();
            assert_eq!(ended.iter().map(|done| done.tag).collect::<Vec<_>>(), [tag]);
        }
        let after = (bench.device.register_accesses(), bench.device.notifications(2));
        bench.device.release_all();
        bench.settle();
        assert_eq!(bench.port.take_completed().len() as u64, hanging);
        bench.device.assert_no_violations();
        (after.0 - before.0, after.1 - before.1)
    };

    let alone = counts(0);

    assert_eq!(counts(1), alone);
    assert_eq!(counts(100), alone);
}
