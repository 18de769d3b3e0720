//! Commands that are several requests to the device: VERIFY, WRITE AND VERIFY, UNMAP, WRITE SAME, SANITIZE.

use fake_device::disk::{Disk, RangeLimits};
use host_tests::{DiskBench, pattern};
use scsi::Sense;
use storport::fake::{Completed, SrbBuilder};
use storport::{DataDirection, Miniport, SrbStatus};
use virtio::spec::blk::{RequestType, Status};

const LIMITS: RangeLimits = RangeLimits { max_sectors: 1 << 20, max_seg: 16, alignment: 8 };

fn disk(change: impl FnOnce(&mut Disk)) -> DiskBench {
    let mut disk = Disk::new(4096);
    change(&mut disk);
    DiskBench::with_disk(disk)
}

fn ten(operation: u8, flags: u8, block: u32, blocks: u16) -> Vec<u8> {
    let [b0, b1, b2, b3] = block.to_be_bytes();
    let [n0, n1] = blocks.to_be_bytes();
    vec![operation, flags, b0, b1, b2, b3, 0, n0, n1, 0]
}

fn sixteen(operation: u8, flags: u8, block: u64, blocks: u32) -> Vec<u8> {
    let mut cdb = vec![operation, flags];
    cdb.extend(block.to_be_bytes());
    cdb.extend(blocks.to_be_bytes());
    cdb.extend([0, 0]);
    cdb
}

fn unmap(descriptors: &[(u64, u32)]) -> (Vec<u8>, Vec<u8>) {
    let bytes = (descriptors.len() * 16) as u16;
    let mut list = Vec::new();
    list.extend((bytes + 6).to_be_bytes());
    list.extend(bytes.to_be_bytes());
    list.extend([0; 4]);
    for (block, blocks) in descriptors {
        list.extend(block.to_be_bytes());
        list.extend(blocks.to_be_bytes());
        list.extend([0; 4]);
    }
    let [high, low] = (list.len() as u16).to_be_bytes();
    (vec![0x42, 0, 0, 0, 0, 0, 0, high, low, 0], list)
}

fn sending(cdb: &[u8], data: &[u8]) -> SrbBuilder {
    SrbBuilder::execute(cdb).with_data_out(data)
}

fn sense(completed: &Completed) -> (u8, u8, u8) {
    assert_eq!(completed.completion.srb_status_byte(), 0x84, "{completed:?}");
    (completed.sense[2], completed.sense[12], completed.sense[13])
}

fn key(sense: Sense) -> (u8, u8, u8) {
    (sense.key.0, sense.code, sense.qualifier)
}

#[track_caller]
fn assert_done(completed: &Completed, transferred: usize) {
    assert_eq!(completed.completion.status, SrbStatus::SUCCESS, "{completed:?}");
    assert_eq!(completed.completion.transferred as usize, transferred);
}

fn log(bench: &DiskBench) -> Vec<(RequestType, u64, usize)> {
    bench
        .device
        .model(|disk| disk.log().iter().map(|entry| (entry.kind, entry.sector, entry.bytes)).collect())
}

fn discarded(bench: &DiskBench) -> Vec<(u64, u32)> {
    bench.device.model(|disk| {
        disk.ranges().iter().map(|(_, range)| (range.sector.get(), range.count.get())).collect()
    })
}

fn fill(bench: &DiskBench, first: u64, content: &[u8]) {
    bench.device.model(|disk| {
        for (sector, bytes) in (first..).zip(content.as_chunks::<512>().0) {
            disk.set_sector(sector, *bytes);
        }
    });
}

#[test]
fn verify_reads_all_of_its_range_in_steps() {
    let bench = disk(|_| {});

    let verified = bench.execute(SrbBuilder::execute(&ten(0x2f, 0, 3, 1200)));

    assert_done(&verified, 0);
    let log = log(&bench);
    assert_eq!(log.iter().map(|(_, _, bytes)| bytes).sum::<usize>(), 1200 * 512);
    assert_eq!(log[0], (RequestType::IN, 3, 64 * 4096));
    assert_eq!(log.len(), 3, "two of 256 KiB, one of what is left: {log:?}");
    bench.device.assert_no_violations();
}

#[test]
fn verify_finds_a_block_that_cannot_be_read() {
    let bench = disk(|disk| disk.set_bad_sector(1000, Some(Status::IOERR)));

    let bad = bench.execute(SrbBuilder::execute(&ten(0x2f, 0, 0, 1200)));
    let good = bench.execute(SrbBuilder::execute(&ten(0x2f, 0, 0, 1000)));

    assert_eq!(sense(&bad), key(Sense::UNRECOVERED_READ_ERROR));
    assert_done(&good, 0);
}

#[test]
fn verify_compares_every_byte_that_is_sent() {
    let bench = disk(|_| {});
    let content = pattern(1, 20 * 512);
    fill(&bench, 5, &content);

    let same = bench.execute(sending(&ten(0x2f, 0x02, 5, 20), &content));
    assert_done(&same, content.len());
    for at in [0, 511, 4095, 4096, 9000, content.len() - 1] {
        let mut other = content.clone();
        other[at] ^= 1;
        let differs = bench.execute(sending(&ten(0x2f, 0x02, 5, 20), &other));
        assert_eq!(sense(&differs), key(Sense::MISCOMPARE), "byte {at}");
    }
    bench.device.assert_no_violations();
}

#[test]
fn verify_compares_every_block_with_the_one_that_is_sent() {
    let bench = disk(|disk| disk.block_bytes = Some(4096));
    let block = pattern(2, 4096);
    fill(&bench, 8, &block.repeat(3));

    let same = bench.execute(sending(&sixteen(0x8f, 0x06, 1, 3), &block));
    let longer = bench.execute(sending(&sixteen(0x8f, 0x06, 1, 4), &block));

    assert_done(&same, 4096);
    assert_eq!(sense(&longer), key(Sense::MISCOMPARE));
    bench.device.assert_no_violations();
}

#[test]
fn data_of_another_length_than_verify_says_is_refused() {
    let bench = disk(|_| {});

    for (cdb, bytes) in [(ten(0x2f, 0x02, 0, 2), 512), (ten(0x2f, 0x06, 0, 2), 1024)] {
        let refused = bench.execute(sending(&cdb, &pattern(3, bytes)));
        assert_eq!(refused.completion.status, SrbStatus::INVALID_REQUEST);
    }
    let beyond = bench.execute(SrbBuilder::execute(&ten(0x2f, 0, 4095, 2)));
    assert_eq!(sense(&beyond), key(Sense::LBA_OUT_OF_RANGE));
    assert_eq!(log(&bench), []);
}

#[test]
fn write_and_verify_writes_flushes_and_reads_back() {
    let bench = disk(|_| {});
    let content = pattern(4, 4 * 512);
    let buffer = bench.filled(&content);
    let cdb = ten(0x2e, 0, 9, 4);

    let written = bench.execute(SrbBuilder::execute(&cdb).with_segments(DataDirection::Out, &[buffer]));

    assert_done(&written, content.len());
    let bytes = content.len();
    let expected = [(RequestType::OUT, 9, bytes), (RequestType::FLUSH, 0, 0), (RequestType::IN, 9, bytes)];
    assert_eq!(log(&bench), expected);
    assert_eq!(bench.sectors(9, 4), content);
    assert_eq!(bench.content(buffer), content, "what is read back goes elsewhere");
    bench.device.assert_no_violations();
}

#[test]
fn write_and_verify_that_cannot_be_read_back_is_an_error() {
    let bench = disk(|disk| disk.flush = false);
    let buffer = bench.buffer(1024);
    let request = || SrbBuilder::execute(&ten(0x2e, 0, 9, 2)).with_segments(DataDirection::Out, &[buffer]);
    bench.device.hold();
    bench.submit(request());
    bench.settle();
    bench.device.release(1);
    bench.device.model(|disk| disk.set_bad_sector(10, Some(Status::IOERR)));

    bench.settle();
    bench.device.release_all();
    bench.settle();

    let completed = bench.port.take_completed();
    assert_eq!(sense(&completed[0]), key(Sense::UNRECOVERED_READ_ERROR));
}

#[test]
fn unmap_discards_every_range_in_as_few_requests_as_the_device_allows() {
    let bench = disk(|disk| disk.discard = Some(RangeLimits { max_seg: 2, ..LIMITS }));
    let (cdb, list) = unmap(&[(1, 10), (100, 1), (7, 0), (4000, 96)]);

    let unmapped = bench.execute(sending(&cdb, &list));

    assert_done(&unmapped, list.len());
    assert_eq!(discarded(&bench), [(1, 10), (100, 1), (4000, 96)]);
    assert_eq!(log(&bench), [(RequestType::DISCARD, 0, 32), (RequestType::DISCARD, 0, 16)]);
    bench.device.assert_no_violations();
}

#[test]
fn unmap_cuts_ranges_where_the_device_wants_it() {
    let limits = RangeLimits { max_sectors: 100, max_seg: 1, alignment: 16 };
    let bench = disk(|disk| disk.discard = Some(limits));
    let (cdb, list) = unmap(&[(3, 300)]);

    let unmapped = bench.execute(sending(&cdb, &list));

    assert_done(&unmapped, list.len());
    assert_eq!(discarded(&bench), [(3, 93), (96, 96), (192, 96), (288, 15)]);
    bench.device.assert_no_violations();
}

#[test]
fn unmap_counts_in_blocks_and_the_device_in_sectors() {
    let bench = disk(|disk| {
        disk.block_bytes = Some(4096);
        disk.discard = Some(LIMITS);
    });
    let (cdb, list) = unmap(&[(2, 3)]);

    bench.execute(sending(&cdb, &list));

    assert_eq!(discarded(&bench), [(16, 24)]);
    bench.device.assert_no_violations();
}

#[test]
fn unmap_with_as_many_descriptors_as_a_list_can_have_discards_them_all() {
    let bench = disk(|disk| disk.discard = Some(LIMITS));
    let ranges: Vec<(u64, u32)> = (0..4095).map(|block| (block, 1)).collect();
    let (cdb, list) = unmap(&ranges);

    let unmapped = bench.execute(sending(&cdb, &list));

    assert_done(&unmapped, list.len());
    assert_eq!(discarded(&bench), ranges);
    bench.device.assert_no_violations();
}

#[test]
fn unmap_of_a_range_past_the_end_discards_nothing_at_all() {
    let bench = disk(|disk| disk.discard = Some(LIMITS));
    let ends = [(4096, 1), (4095, 2), (u64::MAX, 1), (u64::MAX, u32::MAX), (0, 4097)];
    for end in ends {
        let (cdb, list) = unmap(&[(0, 8), end]);

        let refused = bench.execute(sending(&cdb, &list));

        assert_eq!(sense(&refused), key(Sense::LBA_OUT_OF_RANGE), "{end:?}");
    }
    assert_eq!(log(&bench), []);
}

#[test]
fn lists_of_unmap_that_lie_about_their_length_do_no_harm() {
    let bench = disk(|disk| disk.discard = Some(LIMITS));
    let (cdb, list) = unmap(&[(0, 8)]);
    let with_length = |bytes: u16| [&cdb[..7], &bytes.to_be_bytes(), &[0]].concat();

    let empty = bench.execute(sending(&with_length(0), &list));
    let header_only = bench.execute(sending(&with_length(8), &list));
    let cut = bench.execute(sending(&with_length(7), &list));
    let too_long = bench.execute(sending(&with_length(4000), &list));
    let mut huge = list.clone();
    huge[2..4].copy_from_slice(&u16::MAX.to_be_bytes());
    let lies = bench.execute(sending(&cdb, &huge));

    assert_done(&empty, 0);
    assert_done(&header_only, list.len());
    assert_eq!(sense(&cut), key(Sense::PARAMETER_LIST_LENGTH_ERROR));
    assert_eq!(too_long.completion.status, SrbStatus::INVALID_REQUEST);
    assert_done(&lies, list.len());
    assert_eq!(discarded(&bench), [(0, 8)]);
    bench.device.assert_no_violations();
}

#[test]
fn parallel_unmaps_discard_their_own_ranges() {
    let bench = disk(|disk| disk.discard = Some(RangeLimits { max_seg: 1, ..LIMITS }));
    bench.device.hold();
    for request in 0..20 {
        let (cdb, list) = unmap(&[(request * 100, 10), (request * 100 + 50, 20)]);
        bench.submit(sending(&cdb, &list).tagged(request));
    }
    bench.settle();
    assert_eq!(bench.device.in_hand(), 8, "as many as there are scratch buffers");

    bench.device.release_all();
    bench.settle();

    assert_eq!(bench.port.take_completed().len(), 20);
    let mut ranges = discarded(&bench);
    ranges.sort_unstable();
    let expected: Vec<_> =
        (0..20).flat_map(|request| [(request * 100, 10), (request * 100 + 50, 20)]).collect();
    assert_eq!(ranges, expected);
    bench.device.assert_no_violations();
}

#[test]
fn requests_without_need_for_scratch_memory_pass_those_that_wait_for_it() {
    let bench = disk(|disk| disk.discard = Some(LIMITS));
    bench.device.hold();
    let (cdb, list) = unmap(&[(0, 1)]);
    for _ in 0..9 {
        bench.submit(sending(&cdb, &list));
    }
    let buffer = bench.buffer(512);
    bench.submit(host_tests::reading(&host_tests::cdb::read10(5, 1), &[buffer]));

    bench.settle();

    assert_eq!(bench.device.in_hand(), 9, "eight unmaps and the read");
    bench.device.release_all();
    bench.settle();
    assert_eq!(bench.port.take_completed().len(), 10);
}

#[test]
fn a_reset_frees_the_scratch_memory_of_all_requests() {
    let bench = disk(|disk| disk.discard = Some(LIMITS));
    let (cdb, list) = unmap(&[(0, 1)]);
    bench.device.hold();
    (0..12).for_each(|_| _ = bench.submit(sending(&cdb, &list)));
    bench.settle();

    assert!(bench.adapter.reset_bus());
    assert_eq!(bench.port.take_completed().len(), 12);
    (0..12).for_each(|_| _ = bench.submit(sending(&cdb, &list)));
    bench.settle();
    assert_eq!(bench.device.in_hand(), 8);
    bench.device.release_all();
    bench.settle();

    let completed = bench.port.take_completed();
    assert_eq!(completed.len(), 12);
    assert!(completed.iter().all(|completed| completed.completion.status == SrbStatus::SUCCESS));
}

#[test]
fn unmap_is_unknown_where_the_device_cannot_discard_and_refused_where_nothing_is_written() {
    let (cdb, list) = unmap(&[(0, 1)]);
    let without = disk(|_| {});
    let read_only = disk(|disk| {
        disk.discard = Some(LIMITS);
        disk.read_only = true;
    });

    assert_eq!(sense(&without.execute(sending(&cdb, &list))), key(Sense::INVALID_OPERATION_CODE));
    assert_eq!(sense(&read_only.execute(sending(&cdb, &list))), key(Sense::WRITE_PROTECTED));
}

#[test]
fn write_same_of_zeroes_is_write_zeroes() {
    let bench = disk(|disk| {
        disk.write_zeroes = Some((RangeLimits { max_sectors: 1000, max_seg: 1, alignment: 1 }, true));
    });
    fill(&bench, 0, &pattern(5, 4096 * 512));

    let zeroes = bench.execute(sending(&ten(0x41, 0, 10, 1500), &[0; 512]));
    let unmapped = bench.execute(SrbBuilder::execute(&sixteen(0x93, 0x09, 2000, 8)));

    assert_done(&zeroes, 512);
    assert_done(&unmapped, 0);
    assert_eq!(discarded(&bench), [(10, 1000), (1010, 500), (2000, 8)]);
    let flags: Vec<u32> =
        bench.device.model(|disk| disk.ranges().iter().map(|(_, range)| range.flags.get()).collect());
    assert_eq!(flags, [0, 0, 1]);
    assert!(bench.sectors(10, 1500).iter().all(|byte| *byte == 0));
    assert_eq!(bench.sectors(1510, 1), pattern(5, 4096 * 512)[1510 * 512..1511 * 512]);
    bench.device.assert_no_violations();
}

#[test]
fn write_same_of_anything_else_is_written() {
    for block_bytes in [512, 4096] {
        let bench = disk(|disk| {
            disk.block_bytes = Some(block_bytes as u32);
            disk.write_zeroes = Some((LIMITS, true));
        });
        let block = pattern(6, block_bytes);

        let written = bench.execute(sending(&ten(0x41, 0, 3, 150), &block));

        assert_done(&written, block_bytes);
        let sectors = block_bytes as u64 / 512;
        assert_eq!(bench.sectors(3 * sectors, 150 * sectors), block.repeat(150));
        assert_eq!(bench.sectors(153 * sectors, 1), [0; 512]);
        bench.device.assert_no_violations();
    }
}

#[test]
fn write_same_of_zeroes_is_written_where_the_device_has_no_write_zeroes() {
    let bench = disk(|_| {});
    fill(&bench, 0, &pattern(7, 100 * 512));

    let by_block = bench.execute(sending(&ten(0x41, 0, 1, 20), &[0; 512]));
    let without_block = bench.execute(SrbBuilder::execute(&sixteen(0x93, 0x01, 30, 20)));

    assert_done(&by_block, 512);
    assert_done(&without_block, 0);
    assert!(bench.sectors(1, 20).iter().chain(&bench.sectors(30, 20)).all(|byte| *byte == 0));
    assert_eq!(bench.sectors(21, 9), pattern(7, 100 * 512)[21 * 512..30 * 512]);
    bench.device.assert_no_violations();
}

#[test]
fn what_write_same_cannot_do_is_refused() {
    let bench = disk(|_| {});
    let table = [
        (sixteen(0x93, 0x08, 0, 8), Sense::INVALID_FIELD_IN_CDB),
        (sixteen(0x93, 0x10, 0, 8), Sense::INVALID_FIELD_IN_CDB),
        (sixteen(0x93, 0, 0, 0), Sense::INVALID_FIELD_IN_CDB),
        (ten(0x41, 0, 0, 0), Sense::INVALID_FIELD_IN_CDB),
        (sixteen(0x93, 0, 4090, 7), Sense::LBA_OUT_OF_RANGE),
    ];
    for (cdb, expected) in table {
        assert_eq!(sense(&bench.execute(sending(&cdb, &[0; 512]))), key(expected), "{cdb:02x?}");
    }
    let no_block = bench.execute(SrbBuilder::execute(&ten(0x41, 0, 0, 8)));
    assert_eq!(no_block.completion.status, SrbStatus::INVALID_REQUEST);
    assert_eq!(log(&bench), []);
}

#[test]
fn sanitize_erases_all_of_the_disk_step_by_step() {
    let bench =
        disk(|disk| disk.secure_erase = Some(RangeLimits { max_sectors: 1000, max_seg: 4, alignment: 64 }));

    let erased = bench.execute(SrbBuilder::execute(&ten(0x48, 0x02, 0, 0)));

    assert_done(&erased, 0);
    assert_eq!(discarded(&bench), [(0, 960), (960, 960), (1920, 960), (2880, 960), (3840, 256)]);
    assert!(
        bench.device.model(|disk| disk.ranges().iter().all(|(kind, _)| *kind == RequestType::SECURE_ERASE))
    );
    bench.device.assert_no_violations();
}

#[test]
fn an_error_in_the_middle_ends_the_command() {
    let bench = disk(|disk| {
        disk.discard = Some(RangeLimits { max_seg: 1, ..LIMITS });
        disk.set_bad_sector(100, Some(Status::IOERR));
    });
    let (cdb, list) = unmap(&[(0, 8), (100, 1), (200, 1)]);

    let failed = bench.execute(sending(&cdb, &list));

    assert_eq!(sense(&failed), key(Sense::WRITE_ERROR));
    assert_eq!(discarded(&bench), [(0, 8)]);
    let (cdb, list) = unmap(&[(0, 8)]);
    (0..20).for_each(|_| assert_done(&bench.execute(sending(&cdb, &list)), list.len()));
}

#[test]
fn several_serial_numbers_at_once_are_each_their_own() {
    let bench = disk(|_| {});
    bench.device.hold();
    for _ in 0..10 {
        bench.submit(SrbBuilder::execute(&[0x12, 1, 0x80, 0, 64, 0]).with_data_in(64));
    }
    bench.settle();
    bench.device.release_all();
    bench.settle();

    let completed = bench.port.take_completed();

    assert_eq!(completed.len(), 10);
    assert!(completed.iter().all(|completed| completed.data[4..13] == *b"FAKE-0001"), "{completed:?}");
}

#[test]
fn what_a_grown_disk_has_gained_can_be_unmapped() {
    let bench = disk(|disk| disk.discard = Some(LIMITS));
    let blocks = bench.device.model(|disk| disk.sectors);
    bench.device.change_config(|disk| disk.sectors = 2 * blocks);
    bench.settle();
    bench.execute(SrbBuilder::execute(&[0; 6]));

    let (cdb, list) = unmap(&[(0, 8), (blocks, 8)]);
    let unmapped = bench.execute(sending(&cdb, &list));

    assert_done(&unmapped, list.len());
    assert_eq!(discarded(&bench), [(0, 8), (blocks, 8)]);
}

#[test]
fn unmaps_that_wait_while_the_disk_shrinks_all_end() {
    let bench = disk(|disk| disk.discard = Some(LIMITS));
    let blocks = bench.device.model(|disk| disk.sectors);
    bench.device.hold();
    let (cdb, list) = unmap(&[(blocks - 8, 8)]);
    for tag in 0..60 {
        bench.submit(sending(&cdb, &list).tagged(tag));
    }
    bench.settle();
    bench.device.change_config(|disk| disk.sectors = blocks / 2);
    bench.settle();

    bench.device.release_all();
    // One interrupt for all of them; none follows, since the device has nothing then.
    bench.device.take_interrupts();
    bench.port.interrupt(&bench.adapter, Some(1));
    bench.port.run_dpcs(&bench.adapter);

    // More of them are refused than end at once in a queue.
    let completed = bench.port.take_completed();
    assert_eq!(completed.len(), 60);
    let refused = completed.iter().filter(|one| one.completion.status != SrbStatus::SUCCESS).count();
    assert!(refused >= 60 - 8, "{refused}");
}

#[test]
fn write_same_without_a_block_that_comes_with_one_writes_nothing() {
    let bench = disk(|_| {});
    let content = pattern(7, 50 * 512);
    fill(&bench, 0, &content);

    let both = bench.execute(sending(&sixteen(0x93, 0x01, 30, 20), &[0xEE; 512]));

    assert_eq!(both.completion.status, SrbStatus::INVALID_REQUEST);
    assert_eq!(bench.sectors(30, 20), content[30 * 512..]);
}
