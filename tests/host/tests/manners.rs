//! Disks with the habits of devices in the field: everything works as on one that keeps to the specification, and nobody is
//! blamed for anything.

use fake_device::disk::{Disk, RangeLimits};
use fake_device::{Answered, DISK_MANNERS, Manner, Options, Order};
use host_tests::cdb::{inquiry_page, read10, synchronize_cache10, write10};
use host_tests::{DiskBench, Machine, pattern, reading, writing};
use storport::fake::{Completed, SrbBuilder};
use storport::{Miniport, SrbStatus};
use virtio::memory::Segment;
use virtio::spec::Features;
use virtio::spec::blk::Status;

const SECTORS: u64 = 2048;
const PAGE: usize = 4096;

/// A disk with ranges to unmap, as far as its manner leaves them.
fn disk() -> Disk {
    let mut disk = Disk::new(SECTORS);
    let limits = RangeLimits { max_sectors: 64, max_seg: 2, alignment: 8 };
    disk.discard = Some(limits);
    disk.write_zeroes = Some((limits, true));
    disk
}

/// viostor on a disk of this manner.
fn bench(manner: &Manner<Disk>, options: Options) -> DiskBench {
    let machine = Machine::with_manner(manner, disk(), options);
    let bench: DiskBench = machine.find().unwrap_or_else(|declined| panic!("{}: {declined:?}", manner.name));
    bench.start().expect("the device starts");
    bench
}

/// A manner that is nobody's: only the used length is odd.
const fn odd_length(used_length: fn(Answered) -> u32) -> Manner<Disk> {
    Manner { name: "an odd length", source: "made up", prepare: |_, _| (), used_length: Some(used_length) }
}

#[track_caller]
fn succeeds(name: &str, done: &Completed) {
    assert_eq!(done.completion.status, SrbStatus::SUCCESS, "{name}: {done:?}");
}

/// Pages that lie apart, as Windows' buffers do.
fn pages(bench: &DiskBench, count: usize) -> Vec<Segment> {
    (0..count).map(|_| bench.buffer(PAGE)).collect()
}

fn content(bench: &DiskBench, segments: &[Segment]) -> Vec<u8> {
    segments.iter().flat_map(|segment| bench.content(*segment)).collect()
}

/// Reads and writes of every length that the driver allows, as StorPort cuts them.
fn reads_and_writes(name: &str, bench: &DiskBench) {
    let most = (bench.configuration.max_transfer_bytes as usize / PAGE).min(64);
    for count in (0..=6).map(|power| 1 << power).filter(|count| *count <= most) {
        let bytes = count * PAGE;
        let expected = pattern(count as u64, bytes);
        let out = pages(bench, count);
        for (segment, part) in out.iter().zip(expected.chunks(PAGE)) {
            bench.fill(*segment, part);
        }
        let blocks = (bytes / 512) as u16;
        let back = pages(bench, count);

        let written = bench.execute(writing(&write10(24, blocks), &out));
        let read = bench.execute(reading(&read10(24, blocks), &back));

        succeeds(name, &written);
        succeeds(name, &read);
        assert_eq!(read.completion.transferred as usize, bytes, "{name}");
        assert_eq!(bench.sectors(24, u64::from(blocks)), expected, "{name}");
        assert_eq!(content(bench, &back), expected, "{name}");
        out.into_iter().chain(back).for_each(|segment| bench.give_back(segment));
    }
}

/// Flushes, VERIFY, WRITE AND VERIFY, WRITE SAME and UNMAP.
fn other_commands(name: &str, bench: &DiskBench) {
    let block = pattern(9, 512);
    let out = bench.filled(&block);
    let mut through = write10(5, 1);
    through[1] = 0x08;
    let mut write_and_verify = write10(6, 1);
    write_and_verify[0] = 0x2e;
    succeeds(name, &bench.execute(writing(&through, &[out])));
    succeeds(name, &bench.execute(writing(&write_and_verify, &[out])));
    succeeds(name, &bench.execute(SrbBuilder::execute(&synchronize_cache10())));
    assert_eq!(bench.sectors(5, 2), [&block[..], &block].concat(), "{name}");

    let verify = |compare: u8, data: &[u8]| {
        let cdb = [0x2f, compare << 1, 0, 0, 0, 5, 0, 0, 2, 0];
        let request = SrbBuilder::execute(&cdb);
        bench.execute(if data.is_empty() { request } else { request.with_data_out(data) })
    };
    succeeds(name, &verify(0, &[]));
    succeeds(name, &verify(1, &[&block[..], &block].concat()));
    let other = verify(1, &[&block[..], &[0; 512]].concat());
    assert_eq!((other.sense[2], other.sense[12]), (0x0e, 0x1d), "{name}: a miscompare");

    succeeds(
        name,
        &bench.execute(SrbBuilder::execute(&[0x41, 0, 0, 0, 0, 40, 0, 0, 100, 0]).with_data_out(&block)),
    );
    assert_eq!(bench.sectors(40, 100), block.repeat(100), "{name}");
    let mut list = vec![0, 22, 0, 16, 0, 0, 0, 0];
    list.extend(40_u64.to_be_bytes());
    list.extend([0, 0, 0, 100, 0, 0, 0, 0]);
    succeeds(
        name,
        &bench.execute(SrbBuilder::execute(&[0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0]).with_data_out(&list)),
    );
    assert_ne!(bench.sectors(40, 100), block.repeat(100), "{name}");
}

/// INQUIRY, with and without the device, and READ CAPACITY.
fn questions(name: &str, bench: &DiskBench) {
    for page in [0x00, 0x80, 0x83, 0xb0, 0xb1] {
        let answer = bench.execute(SrbBuilder::execute(&inquiry_page(page, 255)).with_data_in(255));
        succeeds(name, &answer);
        assert_eq!(answer.data[1], page, "{name}");
    }
    let capacity = bench.execute(SrbBuilder::execute(&[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0]).with_data_in(8));
    succeeds(name, &capacity);
    assert_eq!(capacity.data[..4], (SECTORS as u32 - 1).to_be_bytes(), "{name}");
}

/// Reads side by side of which every third fails: who asked for what gets its own answer.
fn failures(name: &str, bench: &DiskBench) {
    let bad = |sector: u64| sector.is_multiple_of(3);
    // A status that never came is an error of the device, not of the medium.
    let astray = bench.device.model(|disk| disk.status_goes_astray);
    let expected = if astray { (0x04, 0x44) } else { (0x03, 0x11) };
    for order in [Order::Arrival, Order::Reversed, Order::Shuffled(7)] {
        bench.device.model(|disk| {
            for sector in 512..524 {
                disk.set_sector(sector, [sector as u8; 512]);
                disk.set_bad_sector(sector, bad(sector).then_some(Status::IOERR));
            }
        });
        bench.device.set_order(order);
        bench.device.hold();
        let buffers: Vec<Segment> = (0..12).map(|_| bench.filled(&[0xee; 512])).collect();
        for (sector, buffer) in (512_u64..).zip(&buffers) {
            bench.submit(reading(&read10(sector as u32, 1), &[*buffer]).tagged(sector));
        }
        bench.device.run();
        bench.device.release_all();
        bench.settle();

        let mut done = bench.port.take_completed();
        done.sort_by_key(|completed| completed.tag);
        assert_eq!(done.len(), 12, "{name}");
        for (completed, buffer) in done.iter().zip(&buffers) {
            let sector = completed.tag;
            if bad(sector) {
                let sense = (completed.sense[2], completed.sense[12]);
                assert_eq!(sense, expected, "{name}, {order:?}, {sector}");
            } else {
                succeeds(name, completed);
                assert_eq!(bench.content(*buffer), [sector as u8; 512], "{name}, {order:?}");
            }
        }
        buffers.into_iter().for_each(|buffer| bench.give_back(buffer));
    }
    bench.device.model(|disk| (512..524).for_each(|sector| disk.set_bad_sector(sector, None)));
    bench.device.set_order(Order::Arrival);
}

/// Everything that a guest does with its disk.
fn pass(manner: &Manner<Disk>) {
    pass_with(manner, Options::default());
}

fn pass_with(manner: &Manner<Disk>, options: Options) {
    let bench = bench(manner, options);
    let resets = bench.device.resets();
    questions(manner.name, &bench);
    reads_and_writes(manner.name, &bench);
    other_commands(manner.name, &bench);
    failures(manner.name, &bench);
    reads_and_writes(manner.name, &bench);

    assert_eq!(bench.port.log_entries(), [], "{}", manner.name);
    assert_eq!(bench.device.resets(), resets, "{}", manner.name);
    bench.device.assert_no_violations();
}

#[test]
fn a_disk_of_every_manner_is_used_like_any_other() {
    DISK_MANNERS.iter().for_each(pass);
}

/// Limits that a disk need not have, but may. Who made them up: nobody but this test.
const LIMITS: [Manner<Disk>; 9] = [
    limits("no SEG_MAX", |disk, _| disk.seg_max = None),
    limits("seg_max 0", |disk, _| disk.seg_max = Some(0)),
    limits("seg_max 1", |disk, _| disk.seg_max = Some(1)),
    limits("seg_max 2", |disk, _| disk.seg_max = Some(2)),
    limits("size_max 4095", |disk, _| disk.size_max = Some(4095)),
    limits("size_max 512", |disk, _| disk.size_max = Some(512)),
    limits("size_max 100", |disk, _| disk.size_max = Some(100)),
    limits("size_max 5000 and no SEG_MAX", |disk, _| (disk.size_max, disk.seg_max) = (Some(5000), None)),
    limits("one segment of 512 bytes", |disk, _| (disk.size_max, disk.seg_max) = (Some(512), Some(1))),
];

const fn limits(name: &'static str, prepare: fn(&mut Disk, &mut Options)) -> Manner<Disk> {
    Manner { name, source: "made up", prepare, used_length: None }
}

#[test]
fn a_disk_is_used_as_well_as_its_limits_allow() {
    let normal = Options::default();
    let direct = Options { features: normal.features - Features::RING_INDIRECT_DESC, ..normal };
    for (limits, options) in LIMITS.iter().zip([normal, direct].into_iter().cycle()) {
        pass_with(limits, options);
    }
}

#[test]
fn a_disk_with_a_small_ring_is_used_like_any_other() {
    let normal = Options::default();
    let direct = normal.features - Features::RING_INDIRECT_DESC;
    for options in [
        // Three entries are a header, one segment and a status.
        Options { queue_size: 3, features: normal.features | Features::RING_PACKED, ..normal },
        Options { queue_size: 4, ..normal },
        Options { queue_size: 4, features: direct, legacy: true, ..normal },
    ] {
        for limits in [&limits("no others", |_, _| ()), &LIMITS[0], &LIMITS[5]] {
            pass_with(limits, options);
        }
    }
}

#[test]
fn data_is_copied_from_and_to_buffers_that_lie_anyhow() {
    for manner in &LIMITS {
        let bench = bench(manner, Options::default());
        let content = pattern(5, 4096);
        // As many segments as a page has at most, and as many bytes as blocks have, but no block in any of them.
        let ragged = [bench.buffer(1000), bench.buffer(3096)];
        bench.fill(ragged[0], &content[..1000]);
        bench.fill(ragged[1], &content[1000..]);

        let written = bench.execute(writing(&write10(3, 8), &ragged));
        ragged.iter().for_each(|segment| bench.fill(*segment, &vec![0xee; segment.length as usize]));
        let read = bench.execute(reading(&read10(3, 8), &ragged));

        succeeds(manner.name, &written);
        succeeds(manner.name, &read);
        assert_eq!((written.completion.transferred, read.completion.transferred), (4096, 4096));
        assert_eq!(bench.sectors(3, 8), content, "{}", manner.name);
        assert_eq!(self::content(&bench, &ragged), content, "{}", manner.name);
        bench.device.assert_no_violations();
    }
}

#[test]
fn what_the_device_takes_where_it_lies_is_not_copied() {
    let bench = bench(&LIMITS[0], Options::default());
    let content = pattern(6, 4096);
    let (page, back) = (bench.filled(&pattern(7, 4096)), bench.buffer(4096));
    let halves = [bench.filled(&content[..2048]), bench.filled(&content[2048..])];

    // What lies in the buffer when the device looks, and not when the driver did.
    bench.submit(writing(&write10(8, 8), &[page]).tagged(0));
    bench.submit(writing(&write10(16, 8), &halves).tagged(1));
    bench.fill(page, &content);
    halves.iter().for_each(|half| bench.fill(*half, &pattern(8, 2048)));
    bench.settle();
    let written = bench.port.take_completed();
    let read = bench.execute(reading(&read10(8, 8), &[back]));

    written.iter().chain([&read]).for_each(|completed| succeeds(LIMITS[0].name, completed));
    assert_eq!((bench.sectors(8, 8), bench.sectors(16, 8)), (content.clone(), content.clone()));
    assert_eq!(bench.content(back), content);
    // The device has written it to the memory; the mapped buffer of the fake's is another one.
    assert_ne!(read.data, content);
    bench.device.assert_no_violations();
}

/// Writes of two segments each, which have to be copied, a page apart and tagged by their page.
fn submit_copied_writes(bench: &DiskBench, pages: u64) {
    for page in 0..pages {
        let content = pattern(page, 4096);
        let halves = [bench.filled(&content[..2048]), bench.filled(&content[2048..])];
        bench.submit(writing(&write10(8 * page as u32, 8), &halves).tagged(page));
    }
}

#[test]
fn more_copied_transfers_than_there_is_memory_for_wait_and_all_of_them_are_done() {
    let bench = bench(&LIMITS[0], Options::default());
    bench.device.set_order(Order::Shuffled(3));
    bench.device.hold();
    submit_copied_writes(&bench, 40);
    bench.device.run();
    bench.device.release_all();
    bench.settle();

    let done = bench.port.take_completed();
    assert_eq!(done.len(), 40);
    done.iter().for_each(|completed| succeeds("copied", completed));
    for page in 0..40 {
        assert_eq!(bench.sectors(8 * page, 8), pattern(page, 4096), "page {page}");
    }
    bench.device.assert_no_violations();
}

#[test]
fn copied_transfers_come_back_at_a_reset_and_their_memory_can_be_used_again() {
    let bench = bench(&LIMITS[0], Options::default());
    bench.device.hold();
    submit_copied_writes(&bench, 20);
    bench.device.run();

    bench.adapter.reset_bus();
    bench.device.release_all();
    bench.settle();

    let ended = bench.port.take_completed();
    assert!(ended.len() == 20 && ended.iter().all(|end| end.completion.status == SrbStatus::BUS_RESET));
    submit_copied_writes(&bench, 20);
    bench.settle();
    bench.port.take_completed().iter().for_each(|completed| succeeds("after the reset", completed));
    assert_eq!(bench.sectors(8 * 19, 8), pattern(19, 4096));
    bench.device.assert_no_violations();
}

#[test]
fn a_copied_transfer_that_fails_half_way_fails_as_a_whole() {
    let one_block = &LIMITS[8];
    let bench = bench(one_block, Options::default());
    assert_eq!(bench.configuration.max_transfer_bytes, 4096, "StorPort is told of a page at least");
    bench.device.model(|disk| disk.set_bad_sector(5, Some(Status::IOERR)));
    let buffer = bench.filled(&[0xaa; 4096]);

    let written = bench.execute(writing(&write10(2, 8), &[buffer]));
    let read = bench.execute(reading(&read10(2, 8), &[buffer]));

    assert_eq!((written.sense[2], written.sense[12]), (0x03, 0x0c));
    assert_eq!((read.sense[2], read.sense[12]), (0x03, 0x11));
}

#[test]
fn transfers_that_may_be_copied_have_64_kib_at_most_and_lie_where_they_like() {
    let bench = bench(&LIMITS[0], Options::default());

    let told = bench.configuration;
    assert_eq!((told.max_transfer_bytes, told.max_segments, told.maps_all), (64 << 10, 17, true));
    assert!(!DiskBench::with_disk(disk()).configuration.maps_all, "nothing is mapped for nothing");
}

#[test]
fn no_used_length_decides_over_a_request() {
    let lengths: [fn(Answered) -> u32; 11] = [
        |_| 0,
        |_| 1,
        // Too short and too long by some.
        |answered| answered.writable / 2,
        |answered| answered.writable.saturating_sub(2),
        |answered| answered.writable + 1,
        |answered| answered.writable + 4096,
        // Without the status, with the data that was read, all of the chain (5.2.6.3).
        |answered| answered.writable - 1,
        |answered| answered.readable + answered.writable - 16,
        |answered| answered.readable + answered.writable,
        |_| 0x8000_0000,
        |_| u32::MAX,
    ];
    let modern = Options::default().features;
    for used_length in lengths {
        for options in [
            Options::default(),
            Options { features: modern | Features::RING_PACKED, ..Options::default() },
            Options { legacy: true, ..Options::default() },
        ] {
            let manner = odd_length(used_length);
            let machine = Machine::with_manner(&manner, disk(), options);
            let bench: DiskBench = machine.find().expect("the driver takes the device");
            bench.start().expect("the device starts");
            questions(manner.name, &bench);
            reads_and_writes(manner.name, &bench);
            other_commands(manner.name, &bench);
            failures(manner.name, &bench);
            assert_eq!(bench.port.log_entries(), []);
            bench.device.assert_no_violations();
        }
    }
}

#[test]
fn a_wide_status_reaches_no_other_request() {
    for status_bytes in [1, 2, 4, 8] {
        let mut disk = disk();
        disk.status_bytes = status_bytes;
        let bench = DiskBench::with_disk(disk);

        failures("a wide status", &bench);

        bench.device.assert_no_violations();
    }
}
