//! What changes while the disk is in use: size, cache mode, write protection.

use adapter::Event;
use fake_device::Options;
use fake_device::disk::Disk;
use host_tests::cdb::{inquiry, read10, synchronize_cache10, write10};
use host_tests::{DiskBench, reading, writing};
use scsi::Sense;
use storport::fake::{Completed, SrbBuilder};
use storport::{Address, Interrupts, Miniport, SrbFunction, SrbStatus};
use virtio::spec::blk::{RequestType, Status};

const TEST_UNIT_READY: [u8; 6] = [0; 6];

/// The disk.
const UNIT: Address = Address { path: 0, target: 0, lun: 0 };

fn with(options: Options, change: impl FnOnce(&mut Disk)) -> DiskBench {
    let mut disk = Disk::new(64);
    change(&mut disk);
    let bench = DiskBench::running(disk, options);
    bench.settle();
    bench
}

fn bench() -> DiskBench {
    with(Options::default(), |_| {})
}

#[track_caller]
fn assert_sense(completed: &Completed, sense: Sense) {
    assert_eq!(completed.completion.srb_status_byte(), 0x84, "{completed:?}");
    let seen = (completed.sense[2], completed.sense[12], completed.sense[13]);
    assert_eq!(seen, (sense.key.0, sense.code, sense.qualifier));
}

fn blocks(bench: &DiskBench) -> u32 {
    let cdb = [0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let data = bench.execute(SrbBuilder::execute(&cdb).with_data_in(8)).data;
    u32::from_be_bytes(data[..4].try_into().expect("four bytes")) + 1
}

fn grow(bench: &DiskBench, sectors: u64) {
    bench.device.change_config(|disk| disk.sectors = sectors);
    bench.settle();
}

fn mode_select(flags: u8) -> SrbBuilder {
    let list = [vec![0; 4], vec![0x08, 18, flags], vec![0; 17]].concat();
    SrbBuilder::execute(&[0x15, 0x10, 0, 0, 24, 0]).with_data_out(&list)
}

fn log(bench: &DiskBench) -> Vec<RequestType> {
    bench.device.model(|disk| disk.log().iter().map(|entry| entry.kind).collect())
}

#[test]
fn a_disk_that_grows_is_announced_and_can_be_used_to_its_new_end_in_every_interrupt_layout() {
    for vectors in [0, 1, 2, 3] {
        let bench = with(Options { vectors, ..Options::default() }, |_| {});
        let buffer = bench.buffer(512);
        let beyond = bench.execute(reading(&read10(64, 1), &[buffer]));
        assert_sense(&beyond, Sense::LBA_OUT_OF_RANGE);

        grow(&bench, 128);

        assert_eq!(bench.port.take_unit_changes(), [UNIT], "{vectors} vectors");
        assert_eq!(bench.port.log_entries(), [], "a disk that grew is nothing that went wrong");
        assert_eq!(bench.port.traces(), [Event::ConfigurationChanged.into()]);
        let told = bench.execute(SrbBuilder::execute(&TEST_UNIT_READY));
        assert_sense(&told, Sense::CAPACITY_DATA_HAS_CHANGED);
        let again = bench.execute(SrbBuilder::execute(&TEST_UNIT_READY));
        assert_eq!(again.completion.status, SrbStatus::SUCCESS, "it is told once");
        assert_eq!(blocks(&bench), 128);
        let beyond = bench.execute(reading(&read10(64, 1), &[buffer]));
        assert_eq!(beyond.completion.status, SrbStatus::SUCCESS);
        bench.device.assert_no_violations();
    }
}

#[test]
fn a_disk_that_shrinks_is_not_used_past_its_new_end() {
    let bench = bench();

    grow(&bench, 32);

    let buffer = bench.buffer(512);
    let told = bench.execute(writing(&write10(40, 1), &[buffer]));
    let refused = bench.execute(writing(&write10(40, 1), &[buffer]));
    assert_sense(&told, Sense::CAPACITY_DATA_HAS_CHANGED);
    assert_sense(&refused, Sense::LBA_OUT_OF_RANGE);
    assert_eq!(log(&bench), []);
}

#[test]
fn a_write_that_tells_of_a_change_is_not_done_and_can_be_sent_again() {
    let bench = bench();
    grow(&bench, 128);
    let buffer = bench.filled(&[7; 512]);

    let told = bench.execute(writing(&write10(0, 1), &[buffer]));
    assert_eq!(log(&bench), []);
    let written = bench.execute(writing(&write10(0, 1), &[buffer]));

    assert_sense(&told, Sense::CAPACITY_DATA_HAS_CHANGED);
    assert_eq!(written.completion.status, SrbStatus::SUCCESS);
}

/// One state change is worked on at a time, and the next is told when HwStorStateChange was called
/// (nf-storport-storportstatechangedetected.md).
#[test]
fn a_change_while_windows_works_on_another_is_told_after_it() {
    let bench = bench();
    bench.port.hold_unit_changes();
    grow(&bench, 128);
    grow(&bench, 256);
    grow(&bench, 512);
    assert_eq!(bench.port.take_unit_changes(), [UNIT], "the others are not taken");

    bench.port.end_unit_change(&bench.adapter);
    bench.settle();

    assert_eq!(bench.port.take_unit_changes(), [UNIT], "both are told at once");
    assert_sense(&bench.execute(SrbBuilder::execute(&TEST_UNIT_READY)), Sense::CAPACITY_DATA_HAS_CHANGED);
    assert_eq!(blocks(&bench), 512);
    bench.port.end_unit_change(&bench.adapter);
    bench.settle();
    assert_eq!(bench.port.take_unit_changes(), [], "nothing is left to tell");
}

#[test]
fn a_change_is_told_when_the_earlier_one_ends_while_it_is_refused() {
    let bench: &'static DiskBench = Box::leak(Box::new(bench()));
    bench.port.hold_unit_changes();
    grow(bench, 128);
    bench.port.at_next_refusal(|| bench.port.end_unit_change(&bench.adapter));

    grow(bench, 256);
    bench.port.run_timer(&bench.adapter);

    assert_eq!(bench.port.take_unit_changes(), [UNIT, UNIT]);
}

#[test]
fn inquiry_and_report_luns_do_not_tell_and_request_sense_tells_as_data() {
    let bench = bench();
    grow(&bench, 128);

    let inquiry = bench.execute(SrbBuilder::execute(&[0x12, 0, 0, 0, 36, 0]).with_data_in(36));
    let luns = [0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0];
    let luns = bench.execute(SrbBuilder::execute(&luns).with_data_in(16));
    let sense = bench.execute(SrbBuilder::execute(&[0x03, 0, 0, 0, 18, 0]).with_data_in(18));
    let after = bench.execute(SrbBuilder::execute(&[0x03, 0, 0, 0, 18, 0]).with_data_in(18));

    assert_eq!(inquiry.completion.status, SrbStatus::SUCCESS);
    assert_eq!(luns.completion.status, SrbStatus::SUCCESS);
    assert_eq!((sense.data[2], sense.data[12], sense.data[13]), (0x06, 0x2a, 0x09));
    assert_eq!((after.data[2], after.data[12]), (0, 0));
}

#[test]
fn a_storm_of_configuration_changes_that_change_nothing_is_silent() {
    let bench = bench();

    for _ in 0..1000 {
        bench.device.change_config(|_| {});
    }
    bench.settle();

    assert_eq!(bench.port.take_unit_changes(), []);
    assert_eq!(bench.execute(SrbBuilder::execute(&TEST_UNIT_READY)).completion.status, SrbStatus::SUCCESS);
}

#[test]
fn requests_under_way_are_not_disturbed_by_a_change() {
    let bench = bench();
    bench.device.hold();
    let buffer = bench.buffer(512);
    bench.submit(reading(&read10(0, 1), &[buffer]));
    bench.settle();

    grow(&bench, 128);
    bench.device.release_all();
    bench.settle();

    assert_eq!(bench.port.take_completed()[0].completion.status, SrbStatus::SUCCESS);
}

#[test]
fn what_changed_while_the_adapter_was_stopped_is_told_after_its_restart() {
    let bench = bench();
    bench.adapter.stop();
    bench.device.model(|disk| {
        disk.sectors = 128;
        disk.read_only = true;
    });

    assert!(bench.adapter.restart());
    bench.settle();

    assert_eq!(bench.port.take_unit_changes(), [UNIT]);
    for sense in [Sense::CAPACITY_DATA_HAS_CHANGED, Sense::MODE_PARAMETERS_CHANGED] {
        assert_sense(&bench.execute(SrbBuilder::execute(&TEST_UNIT_READY)), sense);
    }
    let buffer = bench.buffer(512);
    let refused = bench.execute(writing(&write10(0, 1), &[buffer]));
    assert_sense(&refused, Sense::WRITE_PROTECTED);
    bench.device.assert_no_violations();
}

#[test]
fn a_disk_that_was_read_only_can_be_written_when_it_no_longer_is() {
    let bench = with(Options::default(), |disk| disk.read_only = true);
    bench.adapter.stop();
    bench.device.model(|disk| disk.read_only = false);

    assert!(bench.adapter.restart());
    bench.settle();

    assert_sense(&bench.execute(SrbBuilder::execute(&TEST_UNIT_READY)), Sense::MODE_PARAMETERS_CHANGED);
    let buffer = bench.buffer(512);
    let written = bench.execute(writing(&write10(0, 1), &[buffer]));
    assert_eq!(written.completion.status, SrbStatus::SUCCESS);
    bench.device.assert_no_violations();
}

#[test]
fn the_hosts_cache_mode_is_told_and_flushes_are_sent_in_every_mode() {
    let through = with(Options::default(), |disk| disk.writeback = Some(0));

    let flush = through.execute(SrbBuilder::execute(&synchronize_cache10()));
    let function = through.execute(SrbBuilder::function(SrbFunction::Flush));
    let mode = through.execute(SrbBuilder::execute(&[0x1a, 0x08, 0x08, 0, 24, 0]).with_data_in(24));

    assert_eq!(flush.completion.status, SrbStatus::SUCCESS);
    assert_eq!(function.completion.status, SrbStatus::SUCCESS);
    assert_eq!(mode.data[6] & 4, 0);
    assert_eq!(log(&through), [RequestType::FLUSH; 2]);
}

#[test]
fn a_cache_that_is_switched_off_is_flushed_and_one_that_is_switched_on_is_used() {
    let bench = with(Options::default(), |disk| disk.writeback = Some(1));
    let buffer = bench.buffer(512);
    bench.execute(writing(&write10(3, 1), &[buffer]));

    let off = bench.execute(mode_select(0));
    assert_eq!(off.completion.status, SrbStatus::SUCCESS);
    assert_eq!(bench.device.model(|disk| disk.writeback), Some(0));
    assert_eq!(bench.device.model(|disk| disk.volatile_sectors()), []);
    let mode = || bench.execute(SrbBuilder::execute(&[0x1a, 0x08, 0x08, 0, 24, 0]).with_data_in(24)).data[6];
    assert_eq!(mode() & 4, 0);

    let on = bench.execute(mode_select(4));
    assert_eq!(on.completion.status, SrbStatus::SUCCESS);
    assert_eq!(bench.device.model(|disk| disk.writeback), Some(1));
    assert_eq!(mode() & 4, 4);
    assert_eq!(bench.port.take_unit_changes(), [], "who changed it knows");
    bench.device.assert_no_violations();
}

#[test]
fn a_cache_that_cannot_be_flushed_when_it_is_switched_off_is_an_error() {
    let bench = with(Options::default(), |disk| disk.writeback = Some(1));
    bench.device.model(|disk| disk.set_bad_flush(Some(Status::IOERR)));

    let off = bench.execute(mode_select(0));

    assert_sense(&off, Sense::WRITE_ERROR);
}

#[test]
fn a_cache_that_was_not_switched_because_the_device_stood_still_is_an_error() {
    let bench = with(Options::default(), |disk| disk.writeback = Some(1));
    bench.adapter.stop();
    bench.submit(mode_select(0));

    assert!(bench.adapter.restart());
    bench.settle();

    let [off] = &bench.port.take_completed()[..] else { panic!("one request") };
    assert_sense(off, Sense::INTERNAL_TARGET_FAILURE);
    assert_eq!(bench.execute(mode_select(0)).completion.status, SrbStatus::SUCCESS, "now it runs");
}

#[test]
fn the_host_may_switch_the_cache_while_it_is_used() {
    let bench = with(Options::default(), |disk| disk.writeback = Some(1));

    bench.device.change_config(|disk| disk.writeback = Some(0));
    bench.settle();

    assert_eq!(bench.port.take_unit_changes(), [UNIT]);
    let told = bench.execute(SrbBuilder::execute(&synchronize_cache10()));
    assert_sense(&told, Sense::MODE_PARAMETERS_CHANGED);
    let flush = bench.execute(SrbBuilder::execute(&synchronize_cache10()));
    assert_eq!(flush.completion.status, SrbStatus::SUCCESS);
}

#[test]
fn the_write_cache_of_a_legacy_device_is_switched_as_well() {
    let options = Options { legacy: true, ..Options::default() };
    let bench = with(options, |disk| disk.writeback = Some(1));

    let off = bench.execute(mode_select(0));

    assert_eq!(off.completion.status, SrbStatus::SUCCESS);
    assert_eq!(bench.device.model(|disk| disk.writeback), Some(0));
    bench.device.assert_no_violations();
}

#[test]
fn a_change_that_comes_with_a_reset_is_told_after_it() {
    let bench = bench();
    bench.device.model(|disk| disk.sectors = 128);

    assert!(bench.adapter.reset_bus());
    bench.settle();

    assert_eq!(bench.port.take_unit_changes(), [UNIT]);
    assert_eq!(bench.adapter.initialize(Interrupts::Messages(3)), Ok(()));
}

#[test]
fn a_disk_without_a_block_is_a_drive_without_a_medium_until_it_grows() {
    let bench = with(Options::default(), |disk| disk.sectors = 0);
    let buffer = bench.filled(&[0x5a; 512]);
    for request in [
        SrbBuilder::execute(&TEST_UNIT_READY),
        SrbBuilder::execute(&[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0]).with_data_in(8),
        SrbBuilder::execute(&[0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0]).with_data_in(32),
        reading(&read10(0, 1), &[buffer]),
        writing(&write10(0, 1), &[buffer]),
        SrbBuilder::execute(&[0x2f, 0, 0, 0, 0, 0, 0, 0, 1, 0]),
    ] {
        assert_sense(&bench.execute(request), Sense::MEDIUM_NOT_PRESENT);
    }
    for (cdb, room) in [(inquiry(64).to_vec(), 64), (vec![0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0], 64)] {
        let answer = bench.execute(SrbBuilder::execute(&cdb).with_data_in(room));
        assert_eq!(answer.completion.status, SrbStatus::SUCCESS, "{cdb:02x?}: the unit is there");
    }
    let flushed = bench.execute(SrbBuilder::execute(&synchronize_cache10()));
    assert_eq!(flushed.completion.status, SrbStatus::SUCCESS, "everything that was written is durable");

    grow(&bench, 64);

    assert_eq!(bench.port.take_unit_changes(), [UNIT]);
    let told = bench.execute(SrbBuilder::execute(&TEST_UNIT_READY));
    assert_sense(&told, Sense::CAPACITY_DATA_HAS_CHANGED);
    let written = bench.execute(writing(&write10(63, 1), &[buffer]));
    assert_eq!(written.completion.status, SrbStatus::SUCCESS);
    assert_eq!((blocks(&bench), bench.sectors(63, 1)), (64, vec![0x5a; 512]));
    bench.device.assert_no_violations();
}
