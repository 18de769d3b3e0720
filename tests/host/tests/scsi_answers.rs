//! What viostor answers itself, byte for byte, and what it refuses.

use fake_device::disk::{Disk, RangeLimits};
use host_tests::cdb::{inquiry, inquiry_page, read10, read16, synchronize_cache10, write10, write16};
use host_tests::random::Random;
use host_tests::{DiskBench, reading, writing};
use scsi::Sense;
use storport::fake::SrbBuilder;
use storport::{PnpAction, SrbFunction, SrbStatus};
use virtio::spec::blk::Status;

/// 1 MiB in blocks of 512 bytes, with a volatile cache.
fn bench() -> DiskBench {
    DiskBench::with_disk(Disk::new(2048))
}

fn with(change: impl FnOnce(&mut Disk)) -> DiskBench {
    let mut disk = Disk::new(2048);
    change(&mut disk);
    DiskBench::with_disk(disk)
}

/// What a command answers that must succeed.
#[track_caller]
fn answer(bench: &DiskBench, cdb: &[u8], room: usize) -> Vec<u8> {
    let completed = bench.execute(SrbBuilder::execute(cdb).with_data_in(room));
    assert_eq!(completed.completion.srb_status_byte(), 0x01, "sense {:02x?}", completed.sense);
    let transferred = completed.completion.transferred as usize;
    assert!(
        completed.data[transferred..].iter().all(|byte| *byte == 0xee),
        "nothing is written past the end"
    );
    completed.data[..transferred].to_vec()
}

/// The sense that a command is refused with.
#[track_caller]
fn assert_refused(bench: &DiskBench, request: SrbBuilder, sense: Sense) {
    let completed = bench.execute(request);
    assert_eq!(completed.completion.srb_status_byte(), 0x84);
    assert_eq!(completed.completion.scsi_status.0, 0x02);
    assert_eq!(completed.completion.transferred, 0);
    let mut expected = vec![0x70, 0, sense.key.0, 0, 0, 0, 0, 10, 0, 0, 0, 0, sense.code, sense.qualifier, 0];
    expected.extend(sense.key_specific.0);
    assert_eq!(completed.sense, expected);
}

/// The device saw nothing of it.
#[track_caller]
fn assert_device_untouched(bench: &DiskBench) {
    assert_eq!(bench.device.notifications(0), 0);
    bench.device.assert_no_violations();
}

#[test]
fn test_unit_ready_is_good() {
    let bench = bench();

    let completed = bench.execute(SrbBuilder::execute(&[0; 6]));

    assert_eq!(completed.completion.srb_status_byte(), 0x01);
    assert_eq!(completed.completion.scsi_status.0, 0x00);
    assert_device_untouched(&bench);
}

#[test]
fn standard_inquiry_data_is_a_spc_4_disk() {
    let bench = bench();

    let data = answer(&bench, &inquiry(36), 36);

    let mut expected = vec![0x00, 0x00, 0x06, 0x02, 69, 0, 0, 0x02];
    expected.extend(b"Red Hat VirtIO          0001");
    assert_eq!(data, expected);
    // SAM-5, SPC-4, SBC-3.
    assert_eq!(answer(&bench, &inquiry(255), 255)[58..66], [0x00, 0xa0, 0x04, 0x60, 0x04, 0xc0, 0, 0]);
    assert_device_untouched(&bench);
}

#[test]
fn inquiry_data_is_cut_to_the_allocation_length_and_to_the_buffer() {
    let bench = bench();

    assert_eq!(answer(&bench, &inquiry(5), 36), [0x00, 0x00, 0x06, 0x02, 69]);
    assert_eq!(answer(&bench, &inquiry(255), 8).len(), 8);
    assert_eq!(answer(&bench, &inquiry(255), 255).len(), 74);
    assert_eq!(answer(&bench, &inquiry(0), 36), []);
}

#[test]
fn the_list_of_pages_names_every_page_that_answers_and_no_other_does() {
    let thin = with(|disk| disk.discard = Some(RangeLimits { max_sectors: 8, max_seg: 1, alignment: 1 }));
    for (bench, pages) in
        [(bench(), &[0x00, 0x80, 0x83, 0xb0, 0xb1][..]), (thin, &[0x00, 0x80, 0x83, 0xb0, 0xb1, 0xb2])]
    {
        let list = answer(&bench, &inquiry_page(0x00, 255), 255);

        assert_eq!(list, [&[0x00, 0x00, 0, pages.len() as u8], pages].concat());
        for page in 0..=u8::MAX {
            if pages.contains(&page) {
                assert_eq!(answer(&bench, &inquiry_page(page, 255), 255)[1], page);
            } else {
                let request = SrbBuilder::execute(&inquiry_page(page, 255)).with_data_in(255);
                assert_refused(&bench, request, Sense::invalid_cdb_byte(2));
            }
        }
    }
}

#[test]
fn the_serial_number_page_carries_the_devices_serial_number() {
    let bench = with(|disk| disk.serial = Some(*b"ABCDEFGHIJKLMNOPQRST"));
    bench.device.trace();

    let data = answer(&bench, &inquiry_page(0x80, 255), 255);

    assert_eq!(data[..4], [0x00, 0x80, 0, 20]);
    assert_eq!(data[4..], *b"ABCDEFGHIJKLMNOPQRST");
    assert_eq!(bench.device.take_trace(), ["R 16 header / W 20 data / W 1 status"]);
    bench.device.assert_no_violations();
}

#[test]
fn the_identification_page_has_the_serial_number_alone_as_virtio_win_and_with_vendor_and_product() {
    let bench = bench();

    let data = answer(&bench, &inquiry_page(0x83, 255), 255);

    assert_eq!(data[..8], [0x00, 0x83, 0, 50, 0x02, 0x00, 0x00, 9]);
    assert_eq!(&data[8..17], b"FAKE-0001");
    assert_eq!(data[17..21], [0x02, 0x01, 0x00, 33]);
    assert_eq!(&data[21..], b"Red Hat VirtIO          FAKE-0001");
}

#[test]
fn a_disk_without_a_serial_number_is_named_by_its_place() {
    let unknown = with(|disk| disk.serial = None);
    let empty = with(|disk| disk.serial = Some([0; 20]));

    for bench in [unknown, empty] {
        assert_eq!(answer(&bench, &inquiry_page(0x80, 255), 255), [0x00, 0x80, 0, 0]);
        let page = answer(&bench, &inquiry_page(0x83, 255), 255);
        // Bus 3, slot 1Fh: an EUI-64 as virtio-win's, then a locally assigned name.
        assert_eq!(page[..16], [0, 0x83, 0, 24, 1, 2, 0, 8, 0, 0, 0, 3, 0, 0, 1, 0xf]);
        assert_eq!(page[16..], [1, 3, 0, 8, 0x31, 0xaf, 0x40, 0, 0, 0, 0x30, 0x1f]);
    }
}

#[test]
fn read_capacity_10_names_the_last_block() {
    let small = answer(&bench(), &[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], 8);
    let large = answer(&with(|disk| disk.sectors = 1 << 40), &[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], 8);
    let in_4k = answer(&with(|disk| disk.block_bytes = Some(4096)), &[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], 8);

    assert_eq!(small, [0, 0, 0x07, 0xff, 0, 0, 0x02, 0]);
    assert_eq!(large, [0xff, 0xff, 0xff, 0xff, 0, 0, 0x02, 0]);
    assert_eq!(in_4k, [0, 0, 0, 0xff, 0, 0, 0x10, 0]);
}

#[test]
fn read_capacity_16_names_the_last_block() {
    let mut cdb = [0; 16];
    (cdb[0], cdb[1], cdb[13]) = (0x9e, 0x10, 32);

    let data = answer(&with(|disk| disk.sectors = 1 << 40), &cdb, 32);

    let mut expected = vec![0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0x02, 0];
    expected.resize(32, 0);
    assert_eq!(data, expected);
    cdb[13] = 12;
    assert_eq!(answer(&bench(), &cdb, 32).len(), 12);
}

#[test]
fn mode_sense_tells_the_volatile_cache_and_the_write_protection() {
    // Without block descriptors.
    let mode_sense_6 = [0x1a, 0x08, 0x08, 0, 0xc0, 0];
    let mode_sense_10 = [0x5a, 0x08, 0x08, 0, 0, 0, 0, 0, 0xc0, 0];
    let caching = |flags: u8| [vec![0x08, 18, flags], vec![0; 17]].concat();

    let cached = bench();
    let through = with(|disk| disk.flush = false);
    let told = with(|disk| disk.writeback = Some(0));
    let read_only = with(|disk| disk.read_only = true);

    // DPOFUA in every one of them, WP in the last.
    assert_eq!(answer(&cached, &mode_sense_6, 192), [vec![23, 0, 0x10, 0], caching(4)].concat());
    assert_eq!(answer(&through, &mode_sense_6, 192), [vec![23, 0, 0x10, 0], caching(0)].concat());
    assert_eq!(answer(&told, &mode_sense_6, 192), [vec![23, 0, 0x10, 0], caching(0)].concat());
    assert_eq!(answer(&read_only, &mode_sense_6, 192), [vec![23, 0, 0x90, 0], caching(4)].concat());
    let header = vec![0, 26, 0, 0x10, 0, 0, 0, 0];
    assert_eq!(answer(&cached, &mode_sense_10, 192), [header, caching(4)].concat());
}

#[test]
fn mode_sense_has_a_block_descriptor_of_the_form_that_fits() {
    let large = with(|disk| disk.sectors = 1 << 40);

    let six = answer(&large, &[0x1a, 0, 0x3f, 0, 0xff, 0], 255);
    let ten = answer(&large, &[0x5a, 0, 0x3f, 0xff, 0, 0, 0, 0, 0xff, 0], 255);
    let long = answer(&large, &[0x5a, 0x10, 0x3f, 0xff, 0, 0, 0, 0, 0xff, 0], 255);

    let short = [0xff, 0xff, 0xff, 0xff, 0, 0, 2, 0];
    assert_eq!((six[3], &six[4..12]), (8, &short[..]));
    assert_eq!((ten[4], ten[7], &ten[8..16]), (0, 8, &short[..]));
    assert_eq!((long[4], long[7]), (1, 16));
    assert_eq!(long[8..24], [0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0]);
    assert_eq!([&six[12..], &ten[16..]], [&long[24..]; 2], "the pages are the same");
}

#[test]
fn mode_sense_says_that_the_write_cache_can_be_changed_where_it_can() {
    let changeable = |disk: &DiskBench| answer(disk, &[0x1a, 0x08, 0x48, 0, 0xc0, 0], 192)[4..7].to_vec();

    assert_eq!(changeable(&with(|disk| disk.writeback = Some(1))), [0x08, 18, 4]);
    assert_eq!(changeable(&bench()), [0x08, 18, 0]);
}

#[test]
fn mode_select_takes_what_is_the_case_and_refuses_changes() {
    let bench = bench();
    let select = |cdb: &[u8], list: &[u8]| SrbBuilder::execute(cdb).with_data_out(list);
    let six = |length: u8| [0x15, 0x10, 0, 0, length, 0];
    let ten = |length: u8| [0x55, 0x10, 0, 0, 0, 0, 0, 0, length, 0];
    let caching = |flags: u8| [vec![0x08, 18, flags], vec![0; 17]].concat();
    let in_six = |flags: u8| [vec![0; 4], caching(flags)].concat();

    for (cdb, list) in [
        (&six(24)[..], in_six(4)),
        (&six(32), [vec![0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 2, 0], caching(4)].concat()),
        (&ten(28), [vec![0; 8], caching(4)].concat()),
    ] {
        let completed = bench.execute(select(cdb, &list));
        assert_eq!(completed.completion.srb_status_byte(), 0x01, "sense {:02x?}", completed.sense);
        assert_eq!(completed.completion.transferred as usize, list.len());
    }
    let empty = bench.execute(SrbBuilder::execute(&six(0)));
    assert_eq!(empty.completion.status, SrbStatus::SUCCESS);
    assert_refused(&bench, select(&six(24), &in_six(0)), Sense::invalid_parameter_byte(6));
    assert_refused(&bench, select(&six(23), &in_six(4)), Sense::PARAMETER_LIST_LENGTH_ERROR);
    let saving = [0x15, 0x11, 0, 0, 24, 0];
    assert_refused(&bench, select(&saving, &in_six(4)), Sense::invalid_cdb_bit(1, 0));
    let another_format = [0x15, 0, 0, 0, 24, 0];
    assert_refused(&bench, select(&another_format, &in_six(4)), Sense::invalid_cdb_bit(1, 4));
    // A list that is longer than the buffer it is in.
    let short = bench.execute(select(&six(25), &in_six(4)));
    assert_eq!(short.completion.status, SrbStatus::INVALID_REQUEST);
    assert_device_untouched(&bench);
}

#[test]
fn a_disk_that_is_stopped_is_flushed_and_stays_ready() {
    let cached = bench();
    let through = with(|disk| disk.flush = false);
    let start_stop = |byte_4: u8| SrbBuilder::execute(&[0x1b, 0, 0, 0, byte_4, 0]);
    let flushes = |bench: &DiskBench| bench.device.model(|disk| disk.log().len());

    for (byte_4, expected) in [(0x01, 0), (0x04, 0), (0x00, 1)] {
        assert_eq!(cached.execute(start_stop(byte_4)).completion.status, SrbStatus::SUCCESS);
        assert_eq!(flushes(&cached), expected, "byte 4 is {byte_4:02x}");
    }
    assert_eq!(through.execute(start_stop(0)).completion.status, SrbStatus::SUCCESS);
    assert_device_untouched(&through);
    assert_eq!(cached.execute(SrbBuilder::execute(&[0; 6])).completion.status, SrbStatus::SUCCESS);
    assert_refused(&cached, start_stop(0x02), Sense::invalid_cdb_bit(4, 1));
    assert_refused(&cached, start_stop(0x03), Sense::invalid_cdb_bit(4, 1));
    assert_refused(&cached, start_stop(0x10), Sense::invalid_cdb_bit(4, 7));
    cached.device.assert_no_violations();
}

#[test]
fn a_stop_whose_flush_failed_is_an_error() {
    let bench = with(|disk| disk.set_bad_flush(Some(Status::IOERR)));

    assert_refused(&bench, SrbBuilder::execute(&[0x1b, 0, 0, 0, 0, 0]), Sense::WRITE_ERROR);
}

#[test]
fn the_medium_that_cannot_be_removed_may_be_kept_from_removal() {
    let bench = bench();
    let prevent = |value: u8| SrbBuilder::execute(&[0x1e, 0, 0, 0, value, 0]);

    for value in [0, 1] {
        assert_eq!(bench.execute(prevent(value)).completion.status, SrbStatus::SUCCESS);
    }
    for value in [2, 3] {
        assert_refused(&bench, prevent(value), Sense::invalid_cdb_bit(4, 1));
    }
    assert_device_untouched(&bench);
}

#[test]
fn log_sense_has_the_wear_of_a_disk_that_knows_it() {
    let log_sense = |page: u8| [0x4d, 0, 0x40 | page, 0, 0, 0, 0, 0, 64, 0];
    let worn = with(|disk| disk.lifetime = Some([1, 2, 7]));
    worn.device.trace();

    assert_eq!(answer(&bench(), &log_sense(0), 64), [0, 0, 0, 1, 0x00]);
    assert_eq!(answer(&worn, &log_sense(0), 64), [0, 0, 0, 2, 0x00, 0x11]);
    assert_eq!(answer(&worn, &log_sense(0x11), 64), [0x11, 0, 0, 8, 0, 1, 3, 4, 0, 0, 0, 70]);
    assert_eq!(worn.device.take_trace(), ["R 16 header / W 6 data / W 1 status"]);
    worn.device.assert_no_violations();
}

#[test]
fn log_sense_refuses_pages_and_fields_it_does_not_have() {
    let bench = bench();
    let table = [
        ([0x4d, 0, 0x51, 0, 0, 0, 0, 0, 64, 0], Sense::invalid_cdb_bit(2, 5)),
        ([0x4d, 0, 0x42, 0, 0, 0, 0, 0, 64, 0], Sense::invalid_cdb_bit(2, 5)),
        ([0x4d, 0, 0x40, 0xff, 0, 0, 0, 0, 64, 0], Sense::invalid_cdb_byte(3)),
        ([0x4d, 1, 0x40, 0, 0, 0, 0, 0, 64, 0], Sense::invalid_cdb_bit(1, 0)),
        ([0x4d, 0, 0x40, 0, 0, 0, 1, 0, 64, 0], Sense::invalid_cdb_byte(5)),
    ];
    for (cdb, sense) in table {
        assert_refused(&bench, SrbBuilder::execute(&cdb).with_data_in(64), sense);
    }
    assert_device_untouched(&bench);
}

#[test]
fn a_command_is_reported_as_supported_exactly_when_it_is_not_refused_as_unknown() {
    let limits = Some(RangeLimits { max_sectors: 8, max_seg: 1, alignment: 1 });
    let all = with(|disk| {
        (disk.discard, disk.secure_erase) = (limits, limits);
        disk.write_zeroes = limits.map(|limits| (limits, true));
    });
    for bench in [bench(), all] {
        let list = answer(&bench, &[0xa3, 0x0c, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0], 1024);
        let supported: Vec<u8> = list[4..].chunks(8).map(|entry| entry[0]).collect();
        assert_eq!(list.len() - 4, u32::from_be_bytes(list[..4].try_into().unwrap()) as usize);
        for code in 0..=u8::MAX {
            let mut cdb = [0; 16];
            cdb[0] = code;
            let completed = bench.execute(SrbBuilder::execute(&cdb));
            let unknown = completed.sense.get(12) == Some(&0x20);
            assert_eq!(supported.contains(&code), !unknown, "{code:02x}");
        }
    }
}

#[test]
fn read_capacity_16_tells_physical_blocks_and_provisioning() {
    let mut cdb = [0; 16];
    (cdb[0], cdb[1], cdb[13]) = (0x9e, 0x10, 32);
    let limits = RangeLimits { max_sectors: 8, max_seg: 1, alignment: 1 };
    let aligned = with(|disk| disk.topology = Some((3, 1, 8, 0)));
    let thin = with(|disk| disk.discard = Some(limits));
    let zeroing = with(|disk| disk.write_zeroes = Some((limits, true)));

    assert_eq!(answer(&bench(), &cdb, 32)[12..16], [0, 0, 0, 0]);
    assert_eq!(answer(&aligned, &cdb, 32)[12..16], [0, 0x03, 0, 0x01]);
    assert_eq!(answer(&thin, &cdb, 32)[12..16], [0, 0, 0x80, 0]);
    assert_eq!(answer(&zeroing, &cdb, 32)[12..16], [0, 0, 0xc0, 0]);
}

#[test]
fn more_than_the_block_limits_page_says_is_refused() {
    let limits = RangeLimits { max_sectors: 0x10_0000, max_seg: 1, alignment: 1 };
    let bench = with(|disk| {
        disk.sectors = 1 << 24;
        disk.discard = Some(limits);
    });
    let page = answer(&bench, &inquiry_page(0xb0, 255), 255);
    let field = |at: usize| u32::from_be_bytes(page[at..at + 4].try_into().unwrap());
    let (blocks, descriptors, write_same) = (field(20), field(24), field(40));
    let unmap = |ranges: u32, blocks: u32| {
        let length = 16 * ranges as u16;
        let mut list = [(length + 6).to_be_bytes(), length.to_be_bytes(), [0; 2], [0; 2]].concat();
        for _ in 0..ranges {
            list.extend([&[0; 8][..], &blocks.to_be_bytes(), &[0; 4]].concat());
        }
        let [high, low] = (list.len() as u16).to_be_bytes();
        SrbBuilder::execute(&[0x42, 0, 0, 0, 0, 0, 0, high, low, 0]).with_data_out(&list)
    };
    let refused = Sense::INVALID_FIELD_IN_PARAMETER_LIST;

    assert_refused(&bench, unmap(1, blocks + 1), refused);
    assert_refused(&bench, unmap(2, blocks / 2 + 1), refused);
    assert_eq!(descriptors, 4095, "no list is longer");
    let mut cdb = [0; 16];
    (cdb[0], cdb[1]) = (0x93, 0x01);
    cdb[10..14].copy_from_slice(&(write_same + 1).to_be_bytes());
    assert_refused(&bench, SrbBuilder::execute(&cdb), Sense::invalid_cdb_byte(10));
    assert_device_untouched(&bench);
}

#[test]
fn report_luns_lists_unit_0() {
    let cdb = |select: u8| [0xa0, 0, select, 0, 0, 0, 0, 0, 0, 64, 0, 0];
    let bench = bench();

    let one = [0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(answer(&bench, &cdb(0), 64), one);
    assert_eq!(answer(&bench, &cdb(2), 64), one);
    assert_eq!(answer(&bench, &cdb(1), 64), [0; 8]);
    assert_device_untouched(&bench);
}

#[test]
fn unknown_commands_are_refused() {
    let bench = bench();
    for operation in [0x01, 0x04, 0x16, 0x17, 0x56, 0x57, 0x5e, 0x5f, 0x7f, 0x89, 0xc0, 0xff] {
        let mut cdb = [0; 16];
        cdb[0] = operation;

        assert_refused(&bench, SrbBuilder::execute(&cdb), Sense::INVALID_OPERATION_CODE);
    }
    assert_refused(&bench, SrbBuilder::execute(&[]), Sense::INVALID_OPERATION_CODE);
    assert_device_untouched(&bench);
}

#[test]
fn no_operation_code_and_no_length_of_a_cdb_does_harm() {
    let bench = bench();
    for operation in 0..=u8::MAX {
        for length in [1, 5, 6, 9, 10, 12, 15, 16] {
            for fill in [0x00, 0x01, 0xff] {
                let mut cdb = [fill; 16];
                cdb[0] = operation;

                bench.execute(SrbBuilder::execute(&cdb[..length]));
                bench.execute(SrbBuilder::execute(&cdb[..length]).with_data_in(7));
            }
        }
    }
    bench.device.assert_no_violations();
}

#[test]
fn no_parameter_list_does_harm() {
    let limits = RangeLimits { max_sectors: 64, max_seg: 3, alignment: 8 };
    let bench = with(|disk| {
        (disk.writeback, disk.discard, disk.secure_erase) = (Some(1), Some(limits), Some(limits));
        disk.write_zeroes = Some((limits, true));
    });
    let mut random = Random::for_run("parameter lists", 11);
    for _ in 0..3000 {
        // Small numbers, so that some lists are nearly right.
        let length = random.below(80) as usize;
        let list: Vec<u8> = (0..length)
            .map(|_| match random.below(4) {
                0 => random.next() as u8,
                1 => [0x08, 0x12, 0x0a, 0x1c][random.below(4) as usize],
                _ => 0,
            })
            .collect();
        let claimed = if random.once_in(4) { random.below(300) as u16 } else { length as u16 };
        let [high, low] = claimed.to_be_bytes();
        for cdb in [
            &[0x15, 0x10, 0, 0, low, 0][..],
            &[0x55, 0x10, 0, 0, 0, 0, 0, high, low, 0],
            &[0x42, 0, 0, 0, 0, 0, 0, high, low, 0],
            &[0x48, 0x01, 0, 0, 0, 0, 0, high, low, 0],
        ] {
            bench.execute(SrbBuilder::execute(cdb).with_data_out(&list));
        }
    }
    bench.device.assert_no_violations();
}

#[test]
fn fields_that_are_not_supported_are_refused() {
    let bench = bench();
    let get_lba_status = [0x9e, 0x12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0];
    let table: [(&[u8], Sense); 7] = [
        (&inquiry_page(0xb2, 255), Sense::invalid_cdb_byte(2)),
        (&[0x12, 0, 0x80, 0, 255, 0], Sense::invalid_cdb_byte(2)),
        (&[0x1a, 0, 0x02, 0, 0xc0, 0], Sense::invalid_cdb_bit(2, 5)),
        (&[0x1a, 0, 0x08, 0x05, 0xc0, 0], Sense::invalid_cdb_byte(3)),
        (&[0xa0, 0, 0x55, 0, 0, 0, 0, 0, 0, 64, 0, 0], Sense::invalid_cdb_byte(2)),
        (&get_lba_status, Sense::invalid_cdb_bit(1, 4)),
        (&[0x28, 0x20, 0, 0, 0, 0, 0, 0, 1, 0], Sense::invalid_cdb_bit(1, 7)),
    ];
    for (cdb, sense) in table {
        assert_refused(&bench, SrbBuilder::execute(cdb).with_data_in(255), sense);
    }
    let saved = SrbBuilder::execute(&[0x1a, 0, 0xc8, 0, 0xc0, 0]).with_data_in(192);
    assert_refused(&bench, saved, Sense::SAVING_PARAMETERS_NOT_SUPPORTED);
    assert_device_untouched(&bench);
}

#[test]
fn blocks_past_the_end_are_refused() {
    let bench = bench();
    let buffer = bench.buffer(1024);
    let past = Sense::LBA_OUT_OF_RANGE;

    assert_refused(&bench, reading(&read10(2047, 2), &[buffer]), past);
    assert_refused(&bench, writing(&write10(2048, 2), &[buffer]), past);
    assert_refused(&bench, reading(&read16(u64::MAX, 2), &[buffer]), past);
    assert_refused(&bench, writing(&write16(u64::MAX - 1, 2), &[buffer]), past);
    assert_refused(&bench, reading(&read16(0, u32::MAX), &[buffer]), past);
    let mut flush = synchronize_cache10();
    flush[2..6].copy_from_slice(&4096_u32.to_be_bytes());
    assert_refused(&bench, SrbBuilder::execute(&flush), past);
    assert_device_untouched(&bench);
}

#[test]
fn reads_and_writes_of_6_and_12_bytes_move_the_blocks_they_name() {
    let bench = bench();
    let content = host_tests::pattern(6, 1024);
    let written = bench.filled(&content);

    let write_6 = bench.execute(writing(&[0x0a, 0, 0x01, 0x02, 2, 0], &[written]));
    let buffer = bench.buffer(1024);
    let read_12 = bench.execute(reading(&[0xa8, 0, 0, 0, 0x01, 0x02, 0, 0, 0, 2, 0, 0], &[buffer]));
    assert_eq!(bench.content(buffer), content);
    let write_12 = bench.execute(writing(&[0xaa, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0], &[written]));
    let large = bench.buffer(256 * 512);
    let read_6 = bench.execute(reading(&[0x08, 0, 0, 0, 0, 0], &[large]));

    for completed in [write_6, read_12, write_12, read_6] {
        assert_eq!(completed.completion.status, SrbStatus::SUCCESS);
    }
    assert_eq!(bench.content(large)[..1024], content, "a length of 0 is 256 blocks");
    bench.device.assert_no_violations();
}

#[test]
fn the_last_block_is_not_past_the_end() {
    let bench = bench();
    let buffer = bench.buffer(512);

    let completed = bench.execute(reading(&read10(2047, 1), &[buffer]));

    assert_eq!(completed.completion.status, SrbStatus::SUCCESS);
    bench.device.assert_no_violations();
}

#[test]
fn a_host_aware_disk_is_a_conventional_one() {
    let bench = with(|disk| disk.zoned = Some(2));
    let written = bench.filled(&host_tests::pattern(7, 512));

    let completed = bench.execute(writing(&write10(2047, 1), &[written]));

    assert_eq!(completed.completion.status, SrbStatus::SUCCESS);
    assert_eq!(bench.sectors(2047, 1), host_tests::pattern(7, 512));
    bench.device.assert_no_violations();
}

#[test]
fn sectors_that_make_no_whole_block_are_past_the_end() {
    let bench = with(|disk| (disk.sectors, disk.block_bytes) = (2047, Some(4096)));
    let buffer = bench.buffer(4096);

    assert_refused(&bench, reading(&read10(255, 1), &[buffer]), Sense::LBA_OUT_OF_RANGE);
    let last = bench.execute(reading(&read10(254, 1), &[buffer]));

    assert_eq!(last.completion.status, SrbStatus::SUCCESS);
    bench.device.assert_no_violations();
}

#[test]
fn a_read_only_disk_refuses_writes_and_takes_reads() {
    let bench = with(|disk| disk.read_only = true);
    let buffer = bench.buffer(512);

    assert_refused(&bench, writing(&write10(0, 1), &[buffer]), Sense::WRITE_PROTECTED);
    assert_refused(&bench, writing(&write16(0, 1), &[buffer]), Sense::WRITE_PROTECTED);
    assert_device_untouched(&bench);
    let read = bench.execute(reading(&read10(0, 1), &[buffer]));

    assert_eq!(read.completion.status, SrbStatus::SUCCESS);
    bench.device.assert_no_violations();
}

#[test]
fn a_buffer_of_another_length_than_the_cdb_says_is_refused() {
    let bench = bench();
    let buffer = bench.buffer(1024);
    let table = [
        reading(&read10(0, 1), &[buffer]),
        reading(&read10(0, 3), &[buffer]),
        writing(&write10(0, 1), &[buffer]),
        writing(&write10(0, 3), &[buffer]),
        writing(&read10(0, 2), &[buffer]),
        reading(&write10(0, 2), &[buffer]),
        SrbBuilder::execute(&read10(0, 2)),
        reading(&read16(0, 0x0080_0000), &[buffer]),
    ];
    for request in table {
        let completed = bench.execute(request);

        assert_ne!(completed.completion.status, SrbStatus::SUCCESS);
        assert_eq!(completed.completion.transferred, 0);
    }
    assert_device_untouched(&bench);
}

#[test]
fn sense_data_is_cut_to_the_room_there_is() {
    let bench = bench();

    let short = bench.execute(SrbBuilder::execute(&[0xff; 6]).with_sense_room(8));
    let none = bench.execute(SrbBuilder::execute(&[0xff; 6]).with_sense_room(0));

    assert_eq!(short.completion.srb_status_byte(), 0x84);
    assert_eq!(short.sense, [0x70, 0, 5, 0, 0, 0, 0, 10]);
    assert_eq!(none.completion.srb_status_byte(), 0x04);
    assert_eq!(none.completion.scsi_status.0, 0x02);
}

#[test]
fn units_that_do_not_exist_have_no_device() {
    let bench = bench();
    for (path, target, lun) in [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 255)] {
        let completed =
            bench.execute(SrbBuilder::execute(&inquiry(36)).with_data_in(36).to(path, target, lun));

        assert_eq!(completed.completion.status, SrbStatus::NO_DEVICE);
    }
    assert_device_untouched(&bench);
}

#[test]
fn plug_and_play_and_power_end_well_and_unknown_functions_are_invalid() {
    let bench = bench();
    let table = [
        (SrbFunction::Pnp(PnpAction::Stop), SrbStatus::SUCCESS),
        (SrbFunction::Pnp(PnpAction::Remove), SrbStatus::SUCCESS),
        (SrbFunction::Power, SrbStatus::SUCCESS),
        (SrbFunction::Pnp(PnpAction::Other(7)), SrbStatus::INVALID_REQUEST),
        (SrbFunction::Other(0x17), SrbStatus::INVALID_REQUEST),
    ];
    for (function, expected) in table {
        let completed = bench.execute(SrbBuilder::function(function));

        assert_eq!(completed.completion.status, expected, "{function:?}");
    }
    assert_device_untouched(&bench);
}
