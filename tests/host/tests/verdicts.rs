//! How vioscsi ends a command: the unit's status decides, whatever the device says of the bytes that are missing.
//!
//! Judges: Linux's `scsi_status_is_good` for what a good status is; for residuals that mean nothing, `target_cmd_size_check`
//! of drivers/target/target_core_transport.c, which counts against the CDB's allocation length; for sense data without a
//! residual, `virtio_scsi_command_complete` of QEMU's hw/scsi/virtio-scsi.c.

use fake_device::hba::{Hba, Override, Residual, Unit};
use host_tests::cdb::{inquiry, read10, write10};
use host_tests::{HbaBench, pattern, reading, writing};
use storport::SrbStatus;
use storport::fake::{Completed, SrbBuilder};
use virtio::spec::scsi::Response;

const TEST_UNIT_READY: [u8; 6] = [0; 6];
const PRE_FETCH: [u8; 10] = [0x34, 0x02, 0, 0, 0, 0, 0, 0, 8, 0];

const GOOD: u8 = 0x00;
const CHECK_CONDITION: u8 = 0x02;

/// An adapter whose unit answers like this.
fn bench_that_answers(instead: Override) -> HbaBench {
    let bench = HbaBench::with_hba(Hba::default().with(0, 0, Unit::disk(64, 512)));
    answer_with(&bench, instead);
    bench
}

fn answer_with(bench: &HbaBench, instead: Override) {
    bench.device.model(|hba| hba.unit(0, 0).instead = Some(instead));
}

fn sense(key: u8, code: u8) -> Vec<u8> {
    let mut sense = vec![0; 18];
    (sense[0], sense[2], sense[7], sense[12]) = (0x70, key, 10, code);
    sense
}

#[track_caller]
fn ends(done: &Completed, status: SrbStatus, scsi_status: u8, transferred: u32) {
    let completion = &done.completion;
    assert_eq!(
        (completion.status, completion.scsi_status.0, completion.transferred),
        (status, scsi_status, transferred)
    );
}

#[test]
fn every_good_status_is_a_success_and_reaches_windows() {
    // GOOD, CONDITION MET, INTERMEDIATE, INTERMEDIATE-CONDITION MET
    for status in [GOOD, 0x04, 0x10, 0x14] {
        let bench = bench_that_answers(Override::Status(status));

        let done = bench.execute(SrbBuilder::execute(&PRE_FETCH));

        ends(&done, SrbStatus::SUCCESS, status, 0);
    }
}

#[test]
fn every_other_status_is_none() {
    let bench = bench_that_answers(Override::Status(GOOD));
    for status in (0..=u8::MAX).filter(|status| ![GOOD, 0x04, 0x10, 0x14].contains(status)) {
        answer_with(&bench, Override::Status(status));

        let done = bench.execute(SrbBuilder::execute(&TEST_UNIT_READY));

        let expected = match status {
            // BUSY and TASK SET FULL
            0x08 | 0x28 => SrbStatus::BUSY,
            // TASK ABORTED: by another initiator, so it is sent again.
            0x40 => SrbStatus::ABORTED,
            _ => SrbStatus::ERROR,
        };
        ends(&done, expected, status, 0);
        assert!(!done.completion.autosense, "{status:#x}");
    }
}

#[test]
fn a_residual_of_a_command_without_data_does_not_spoil_its_good_status() {
    for residual in [1, 36, 0x8000_0000, u32::MAX] {
        let bench = bench_that_answers(Override::Residual(residual));

        let done = bench.execute(SrbBuilder::execute(&TEST_UNIT_READY));

        ends(&done, SrbStatus::SUCCESS, GOOD, 0);
    }
}

#[test]
fn a_residual_beyond_the_buffer_does_not_spoil_a_good_inquiry() {
    // Counted against the allocation length: 255 bytes, of which 36 had room.
    let bench = bench_that_answers(Override::Residual(255 - 36));
    let buffer = bench.buffer(36);

    let done = bench.execute(reading(&inquiry(255), &[buffer]));

    ends(&done, SrbStatus::SUCCESS, GOOD, 36);
    assert_eq!(bench.content(buffer)[8..16], *b"FAKE    ");
}

#[test]
fn a_residual_beyond_the_buffer_does_not_spoil_a_good_read() {
    for residual in [513, u32::MAX] {
        let bench = bench_that_answers(Override::Residual(residual));
        let data = pattern(3, 512);
        bench.device.model(|hba| hba.unit(0, 0).content()[..512].copy_from_slice(&data));
        let buffer = bench.buffer(512);

        let done = bench.execute(reading(&read10(0, 1), &[buffer]));

        ends(&done, SrbStatus::SUCCESS, GOOD, 512);
        assert_eq!(bench.content(buffer), data);
    }
}

#[test]
fn only_a_write_of_which_more_is_missing_than_there_was_is_doubted() {
    for (residual, status, transferred) in [
        (0, SrbStatus::SUCCESS, 512),
        (1, SrbStatus::DATA_OVERRUN, 511),
        (512, SrbStatus::DATA_OVERRUN, 0),
        (513, SrbStatus::ABORTED, 0),
        (u32::MAX, SrbStatus::ABORTED, 0),
    ] {
        let bench = bench_that_answers(Override::Residual(residual));
        let buffer = bench.buffer(512);

        let done = bench.execute(writing(&write10(0, 1), &[buffer]));

        assert_eq!(
            (done.completion.status, done.completion.transferred),
            (status, transferred),
            "{residual}"
        );
    }
}

#[test]
fn sense_data_comes_with_every_residual_and_a_recovered_error_keeps_its_data() {
    // RECOVERED ERROR is a success to classpnp (Windows-driver-samples, storage/class/classpnp/src/class.c), of as many bytes
    // as the length says. QEMU names no residual with sense data.
    for (residual, transferred) in [(0, 512), (12, 500), (512, 0), (513, 512), (u32::MAX, 512)] {
        let bench = bench_that_answers(Override::SenseAndResidual(sense(0x01, 0x17), residual));
        let buffer = bench.buffer(512);

        for request in [reading(&read10(0, 1), &[buffer]), writing(&write10(0, 1), &[buffer])] {
            let done = bench.execute(request);

            ends(&done, SrbStatus::ERROR, CHECK_CONDITION, transferred);
            assert_eq!(done.completion.srb_status_byte(), 0x84);
            assert_eq!(done.sense, sense(0x01, 0x17));
        }
    }
}

#[test]
fn of_a_command_that_failed_nothing_counts_as_moved_unless_device_or_sense_key_says_so() {
    // NO SENSE (a tape's file marks), RECOVERED ERROR, BLANK CHECK, VOLUME OVERFLOW, MISCOMPARE come with data.
    for key in 0..=0xf {
        for (residual, transferred) in [(0, 0), (12, 500), (512, 0), (513, 0), (u32::MAX, 0)] {
            let may_have_moved = !matches!(key, 0x2..=0x7 | 0xb);
            let none_named = residual == 0 || residual > 512;
            let expected = if may_have_moved && none_named { 512 } else { transferred };
            let bench = bench_that_answers(Override::SenseAndResidual(sense(key, 0), residual));
            let buffer = bench.buffer(512);

            for request in [reading(&read10(0, 1), &[buffer]), writing(&write10(0, 1), &[buffer])] {
                let done = bench.execute(request);

                ends(&done, SrbStatus::ERROR, CHECK_CONDITION, expected);
                assert_eq!((done.data_transfer_length, done.sense[2]), (expected, key), "{residual}");
            }
        }
    }
}

#[test]
fn a_command_that_was_not_begun_has_moved_nothing() {
    // RESERVATION CONFLICT, ACA ACTIVE, TASK ABORTED, one that nobody knows, and CHECK CONDITION without sense data.
    for (status, ended) in [
        (0x18, SrbStatus::ERROR),
        (0x30, SrbStatus::ERROR),
        (0x40, SrbStatus::ABORTED),
        (0x77, SrbStatus::ERROR),
        (CHECK_CONDITION, SrbStatus::ERROR),
    ] {
        let bench = bench_that_answers(Override::Status(status));
        // As QEMU: no residual with any status but GOOD.
        bench.device.model(|hba| hba.residual = Residual::NothingOfFailed);
        let buffer = bench.buffer(512);

        for request in [reading(&read10(0, 1), &[buffer]), writing(&write10(0, 1), &[buffer])] {
            let done = bench.execute(request);

            ends(&done, ended, status, 0);
            assert_eq!(done.data_transfer_length, 0, "{status:#x}");
        }
    }
}

#[test]
fn a_command_that_the_adapter_ends_itself_has_moved_nothing() {
    for code in (1..=12).chain([200]).map(Response) {
        let bench = bench_that_answers(Override::Response(code));
        bench.device.model(|hba| hba.residual = Residual::NothingOfFailed);
        let buffer = bench.buffer(512);

        for request in [reading(&read10(0, 1), &[buffer]), writing(&write10(0, 1), &[buffer])] {
            let done = bench.execute(request);

            // One that is busy is sent again as it is.
            let expected = if code == Response::BUSY { 512 } else { 0 };
            assert_eq!((done.completion.transferred, done.data_transfer_length), (0, expected), "{code:?}");
        }
    }
}
