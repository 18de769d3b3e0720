//! What a disk has to say of itself although its device may not answer.

use fake_device::Lie;
use fake_device::disk::Disk;
use host_tests::DiskBench;
use host_tests::cdb::inquiry_page;
use storport::SrbStatus;
use storport::fake::{Completed, SrbBuilder};
use virtio::spec::blk::Status;

fn with(change: impl FnOnce(&mut Disk)) -> DiskBench {
    let mut disk = Disk::new(64);
    change(&mut disk);
    DiskBench::with_disk(disk)
}

fn page(bench: &DiskBench, page: u8) -> Completed {
    bench.execute(SrbBuilder::execute(&inquiry_page(page, 255)).with_data_in(255))
}

/// LOG SENSE for the page of solid state media.
fn wear(bench: &DiskBench) -> Completed {
    bench.execute(SrbBuilder::execute(&[0x4d, 0, 0x51, 0, 0, 0, 0, 0, 64, 0]).with_data_in(64))
}

/// Fills the scratch memory with what VERIFY reads: a sector of `A`.
fn verify_a_sector_of_letters(bench: &DiskBench) {
    bench.device.model(|disk| disk.set_sector(0, [b'A'; 512]));
    let verified = bench.execute(SrbBuilder::execute(&[0x2f, 0, 0, 0, 0, 0, 0, 0, 1, 0]));
    assert_eq!(verified.completion.status, SrbStatus::SUCCESS);
}

#[test]
fn the_pages_with_the_serial_number_are_there_however_the_question_ends() {
    let silent = with(|disk| disk.serial = None);
    let expected = [0x80, 0x83].map(|code| page(&silent, code).data);
    for status in [Status::IOERR, Status::UNSUPP, Status(3), Status(0x7f)] {
        let bench = with(|disk| disk.question_status = status);

        let pages = [0x80, 0x83].map(|code| page(&bench, code));

        for (answer, expected) in pages.iter().zip(&expected) {
            assert_eq!(answer.completion.status, SrbStatus::SUCCESS, "{status:?}");
            assert_eq!(&answer.data, expected, "{status:?}: a disk without a number");
        }
        bench.device.assert_no_violations();
    }
}

#[test]
fn a_disk_keeps_its_number_when_a_later_question_fails() {
    for status in [Status::IOERR, Status::UNSUPP, Status(3)] {
        let bench = with(|_| {});
        let before = [0x80, 0x83].map(|code| page(&bench, code).data);
        bench.device.model(|disk| disk.question_status = status);

        let after = [0x80, 0x83].map(|code| page(&bench, code).data);

        assert_eq!(after, before, "{status:?}");
    }
}

#[test]
fn the_page_of_wear_is_there_however_the_question_ends() {
    for status in [Status::IOERR, Status::UNSUPP, Status(3)] {
        let bench = with(|disk| (disk.lifetime, disk.question_status) = (Some([1, 2, 3]), status));

        let answer = wear(&bench);

        assert_eq!(
            (answer.completion.status, answer.data[0] & 0x3f),
            (SrbStatus::SUCCESS, 0x11),
            "{status:?}"
        );
    }
}

#[test]
fn a_serial_number_that_came_short_shows_nothing_of_earlier_requests() {
    for id_bytes in [0, 1, 9, 19] {
        let bench = with(|disk| (disk.serial, disk.id_bytes) = (Some(*b"0123456789abcdefghij"), id_bytes));
        verify_a_sector_of_letters(&bench);

        let answer = page(&bench, 0x80);

        assert_eq!(answer.completion.status, SrbStatus::SUCCESS);
        assert_eq!(usize::from(answer.data[3]), id_bytes);
        assert_eq!(answer.data[4..4 + id_bytes], b"0123456789abcdefghij"[..id_bytes]);
    }
}

#[test]
fn a_device_that_does_not_answer_has_not_said_that_it_has_no_number() {
    let bench = with(|disk| disk.lifetime = Some([1, 2, 3]));
    let questions: [fn(&DiskBench) -> Completed; 3] =
        [|bench| page(bench, 0x80), |bench| page(bench, 0x83), wear];
    for question in questions {
        bench.device.lie(Lie::NothingWritten);

        let answer = question(&bench);

        assert_eq!((answer.sense[2], answer.sense[12]), (0x04, 0x44));
    }
    assert_eq!(page(&bench, 0x80).data[4..13], *b"FAKE-0001");
}
