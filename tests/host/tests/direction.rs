//! Which way a request's data goes, and whose buffer that is.

use fake_device::disk::{Disk, RangeLimits};
use host_tests::cdb::{inquiry, inquiry_page, read10, write10};
use host_tests::{DiskBench, pattern, reading, writing};
use storport::SrbStatus;
use storport::fake::SrbBuilder;

/// A disk with everything that can be asked about.
fn bench() -> DiskBench {
    let mut disk = Disk::new(128);
    disk.lifetime = Some([1, 2, 3]);
    disk.discard = Some(RangeLimits { max_sectors: 16, max_seg: 3, alignment: 8 });
    DiskBench::with_disk(disk)
}

/// Every command that returns data which the driver itself writes, in each length that its CDB comes in.
fn commands() -> Vec<Vec<u8>> {
    let mut capacity_16 = vec![0x9e, 0x10];
    capacity_16.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0]);
    let mut commands: Vec<Vec<u8>> = vec![
        inquiry(64).to_vec(),
        vec![0x03, 0, 0, 0, 64, 0],
        vec![0x03, 1, 0, 0, 64, 0],
        vec![0x1a, 0, 0x3f, 0, 64, 0],
        vec![0x5a, 0, 0x3f, 0, 0, 0, 0, 0, 64, 0],
        vec![0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        capacity_16,
        vec![0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0],
        vec![0x4d, 0, 0x40, 0, 0, 0, 0, 0, 64, 0],
        vec![0x4d, 0, 0x51, 0, 0, 0, 0, 0, 64, 0],
        vec![0xa3, 0x0c, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0],
    ];
    commands.extend([0x00, 0x80, 0x83, 0xb0, 0xb1, 0xb2].map(|page| inquiry_page(page, 64).to_vec()));
    commands
}

#[test]
fn a_command_that_returns_data_does_not_write_into_what_its_sender_sends() {
    let bench = bench();
    for cdb in commands() {
        let done = bench.execute(SrbBuilder::execute(&cdb).with_data_out(&[0x77; 64]));

        assert_eq!(done.completion.status, SrbStatus::INVALID_REQUEST, "{cdb:02x?}");
        assert_eq!(done.data, [0x77; 64], "{cdb:02x?}");
    }
}

#[test]
fn a_command_that_returns_data_is_answered_where_the_direction_is_not_said() {
    let bench = bench();
    for cdb in commands() {
        let said = bench.execute(SrbBuilder::execute(&cdb).with_data_in(64));
        let both = bench.execute(SrbBuilder::execute(&cdb).with_data_in(64).with_unspecified_direction());
        let neither = bench.execute(SrbBuilder::execute(&cdb).with_data_in(64).with_no_direction());

        assert_eq!(said.completion.status, SrbStatus::SUCCESS, "{cdb:02x?}");
        for unsaid in [both, neither] {
            assert_eq!((unsaid.completion, unsaid.data), (said.completion, said.data.clone()), "{cdb:02x?}");
        }
    }
}

#[test]
fn reads_and_writes_without_a_direction_go_the_way_of_their_cdb() {
    let bench = bench();
    let content = pattern(1, 512);
    let (from, to) = (bench.filled(&content), bench.buffer(512));

    let written = bench.execute(writing(&write10(5, 1), &[from]).with_unspecified_direction());
    let read = bench.execute(reading(&read10(5, 1), &[to]).with_unspecified_direction());

    assert_eq!((written.completion.status, read.completion.status), (SrbStatus::SUCCESS, SrbStatus::SUCCESS));
    assert_eq!((bench.sectors(5, 1), bench.content(to)), (content.clone(), content));
    bench.device.assert_no_violations();
}
