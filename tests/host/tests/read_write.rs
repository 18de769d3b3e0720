//! Reads and writes through viostor: the bytes, the chains, the units.

use fake_device::disk::{Disk, Entry};
use host_tests::cdb::{read10, read16, write10, write16};
use host_tests::random::Random;
use host_tests::{DiskBench, pattern, reading, writing};
use storport::SrbStatus;
use storport::fake::SrbBuilder;
use virtio::spec::blk::{RequestType, Status};

fn disk_with_4k_blocks(sectors: u64) -> Disk {
    let mut disk = Disk::new(sectors);
    disk.block_bytes = Some(4096);
    disk
}

#[test]
fn a_write_reaches_the_disk_with_one_notification() {
    let bench = DiskBench::with_disk(Disk::new(64));
    let content = pattern(1, 4096);
    let buffer = bench.filled(&content);

    let completed = bench.execute(writing(&write10(8, 8), &[buffer]));

    assert_eq!(completed.completion.status, SrbStatus::SUCCESS);
    assert_eq!(completed.completion.transferred, 4096);
    assert_eq!(bench.sectors(8, 8), content);
    assert_eq!(bench.device.notifications(0), 1);
    bench.device.assert_no_violations();
}

#[test]
fn a_read_brings_what_is_on_the_disk() {
    let bench = DiskBench::with_disk(Disk::new(64));
    bench.device.model(|disk| {
        disk.set_sector(5, [0x55; 512]);
        disk.set_sector(6, [0x66; 512]);
    });
    let buffer = bench.buffer(1024);

    let completed = bench.execute(reading(&read16(5, 2), &[buffer]));

    assert_eq!(completed.completion.status, SrbStatus::SUCCESS);
    assert_eq!(bench.content(buffer), [[0x55; 512], [0x66; 512]].concat());
    bench.device.assert_no_violations();
}

#[test]
fn a_read_is_header_data_status() {
    let bench = DiskBench::with_disk(Disk::new(64));
    bench.device.trace();
    let buffer = bench.buffer(4096);

    bench.execute(reading(&read10(0, 8), &[buffer]));

    assert_eq!(bench.device.take_trace(), ["R 16 header / W 4096 data / W 1 status"]);
}

#[test]
fn a_write_is_header_data_status() {
    let bench = DiskBench::with_disk(Disk::new(64));
    bench.device.trace();
    let (first, second) = (bench.buffer(512), bench.buffer(1024));

    bench.execute(writing(&write10(0, 3), &[first, second]));

    assert_eq!(bench.device.take_trace(), ["R 16 header / R 512 data / R 1024 data / W 1 status"]);
}

#[test]
fn a_long_scatter_gather_list_keeps_its_order() {
    let bench = DiskBench::with_disk(Disk::new(1024));
    let pages: Vec<_> = (0..100).map(|page| bench.filled(&[page; 4096])).collect();
    bench.device.trace();

    let completed = bench.execute(writing(&write10(0, 800), &pages));

    assert_eq!(completed.completion.transferred, 100 * 4096);
    let on_disk = bench.sectors(0, 800);
    for (page, content) in on_disk.chunks(4096).enumerate() {
        assert!(content.iter().all(|byte| usize::from(*byte) == page), "page {page}");
    }
    assert_eq!(bench.device.take_trace()[0].matches("R 4096 data").count(), 100);
    bench.device.assert_no_violations();
}

#[test]
fn the_longest_scatter_gather_list_goes_through_and_a_longer_one_is_refused() {
    let bench = DiskBench::with_disk(Disk::new(4096));
    let most = bench.configuration.max_segments as usize;
    let pieces: Vec<_> = (0..=most).map(|_| bench.buffer(512)).collect();

    let longest = bench.execute(writing(&write10(0, most as u16), &pieces[..most]));
    let longer = bench.execute(writing(&write10(0, most as u16 + 1), &pieces));

    assert_eq!(longest.completion.status, SrbStatus::SUCCESS);
    assert_eq!(longer.completion.status, SrbStatus::INVALID_REQUEST);
    bench.device.assert_no_violations();
}

#[test]
fn a_block_of_4096_bytes_is_eight_sectors() {
    let bench = DiskBench::with_disk(disk_with_4k_blocks(64));
    let content = pattern(2, 8192);
    let buffer = bench.filled(&content);

    let completed = bench.execute(writing(&write10(3, 2), &[buffer]));

    assert_eq!(completed.completion.transferred, 8192);
    assert_eq!(bench.sectors(24, 16), content);
    let entry = Entry { kind: RequestType::OUT, sector: 24, bytes: 8192, status: Status::OK };
    assert_eq!(bench.device.model(|disk| disk.log().to_vec()), [entry]);
    bench.device.assert_no_violations();
}

#[test]
fn addresses_over_32_bits_reach_the_device() {
    let sectors = 1 << 40;
    let bench = DiskBench::with_disk(Disk::new(sectors));
    let buffer = bench.filled(&[0xab; 512]);

    let completed = bench.execute(writing(&write16(sectors - 1, 1), &[buffer]));

    assert_eq!(completed.completion.status, SrbStatus::SUCCESS);
    assert_eq!(bench.sectors(sectors - 1, 1), [0xab; 512]);
    bench.device.assert_no_violations();
}

#[test]
fn a_transfer_of_no_blocks_ends_without_the_device() {
    let bench = DiskBench::with_disk(Disk::new(64));

    let completed = bench.execute(SrbBuilder::execute(&read10(0, 0)));

    assert_eq!(completed.completion.status, SrbStatus::SUCCESS);
    assert_eq!(completed.completion.transferred, 0);
    assert_eq!(bench.device.notifications(0), 0);
}

#[test]
fn a_bad_sector_is_a_medium_error_of_its_own_request_only() {
    let bench = DiskBench::with_disk(Disk::new(64));
    bench.device.model(|disk| disk.set_bad_sector(9, Some(Status::IOERR)));
    let buffer = bench.buffer(4096);

    let read = bench.execute(reading(&read10(8, 8), &[buffer]));
    let write = bench.execute(writing(&write10(8, 8), &[buffer]));
    let elsewhere = bench.execute(reading(&read10(16, 8), &[buffer]));

    assert_eq!((read.sense[2], read.sense[12]), (0x03, 0x11));
    assert_eq!((write.sense[2], write.sense[12]), (0x03, 0x0c));
    assert_eq!(elsewhere.completion.status, SrbStatus::SUCCESS);
    bench.device.assert_no_violations();
}

#[test]
fn neither_transfers_nor_errors_of_the_medium_are_logged_or_traced() {
    let bench = DiskBench::with_disk(Disk::new(64));
    bench.device.model(|disk| disk.set_bad_sector(9, Some(Status::IOERR)));
    let buffer = bench.buffer(4096);

    for round in 0..200 {
        bench.execute(reading(&read10(round % 7 * 8, 8), &[buffer]));
        bench.execute(writing(&write10(round % 7 * 8, 8), &[buffer]));
    }

    assert_eq!(bench.port.traces(), []);
}

#[test]
fn a_status_the_specification_does_not_have_is_a_hardware_error() {
    let bench = DiskBench::with_disk(Disk::new(64));
    bench.device.model(|disk| disk.set_bad_sector(0, Some(Status(77))));
    let buffer = bench.buffer(512);

    let completed = bench.execute(reading(&read10(0, 1), &[buffer]));

    assert_eq!((completed.sense[2], completed.sense[12]), (0x04, 0x44));
}

#[test]
fn random_reads_and_writes_agree_with_a_copy_of_the_disk() {
    const BLOCKS: u64 = 512;
    let mut random = Random::for_run("reads and writes", 0x00d1_5c0b_1ec7);
    for (block_bytes, blocks) in [(512, BLOCKS), (4096, BLOCKS / 8)] {
        let mut disk = Disk::new(BLOCKS);
        disk.block_bytes = Some(block_bytes);
        let bench = DiskBench::with_disk(disk);
        let mut copy = vec![0; BLOCKS as usize * 512];
        for round in 0..400 {
            let count = 1 + random.below(8.min(blocks));
            let first = random.below(blocks - count + 1);
            let bytes = (count * u64::from(block_bytes)) as usize;
            let place = (first * u64::from(block_bytes)) as usize..;
            // Pieces of any size that is a multiple of four, as the alignment mask allows.
            let mut pieces = Vec::new();
            let mut left = bytes;
            while left > 0 {
                let piece = ((1 + random.below(1024) as usize) * 4).min(left);
                pieces.push(bench.buffer(piece));
                left -= piece;
            }
            if random.once_in(2) {
                let content = pattern(random.next(), bytes);
                let mut from = &content[..];
                for piece in &pieces {
                    let (now, later) = from.split_at(piece.length as usize);
                    bench.fill(*piece, now);
                    from = later;
                }
                copy[place][..bytes].copy_from_slice(&content);
                let completed = bench.execute(writing(&write16(first, count as u32), &pieces));
                assert_eq!(completed.completion.transferred as usize, bytes, "round {round}");
            } else {
                let completed = bench.execute(reading(&read16(first, count as u32), &pieces));
                assert_eq!(completed.completion.transferred as usize, bytes, "round {round}");
                let content: Vec<u8> = pieces.iter().flat_map(|piece| bench.content(*piece)).collect();
                assert!(content == copy[place][..bytes], "round {round}: blocks {first} + {count}");
            }
            pieces.into_iter().for_each(|piece| bench.give_back(piece));
        }
        assert!(bench.sectors(0, BLOCKS) == copy);
        bench.device.assert_no_violations();
    }
}
