//! SRB functions besides EXECUTE_SCSI: what is answered, and that everything else is refused and changes nothing.

use adapter::DeviceType;
use fake_device::Model;
use fake_device::disk::Disk;
use fake_device::hba::{Hba, Unit};
use host_tests::cdb::{inquiry, inquiry_page};
use host_tests::{Bench, DiskBench, HbaBench, reading};
use storport::fake::SrbBuilder;
use storport::{Address, Configuration, PnpAction, SrbFunction, SrbStatus, UnitAttributes};

fn hba() -> HbaBench {
    HbaBench::with_hba(Hba::default().with(0, 0, Unit::disk(64, 512)))
}

/// STOR_DEVICE_CAPABILITIES_EX as StorPort sends it.
fn capabilities_query(action: PnpAction) -> SrbBuilder {
    let mut structure = vec![0; 24];
    structure[..4].copy_from_slice(&[1, 0, 24, 0]);
    SrbBuilder::function(SrbFunction::Pnp(action)).with_data_out(&structure)
}

#[test]
fn a_disk_cannot_be_ejected_but_may_be_gone_at_any_time() {
    let bench = DiskBench::with_disk(Disk::new(64));

    let unit = bench.execute(capabilities_query(PnpAction::QueryUnitCapabilities));
    let adapter = bench.execute(capabilities_query(PnpAction::QueryAdapterCapabilities));

    for answer in [unit, adapter] {
        assert_eq!(answer.completion.status, SrbStatus::SUCCESS);
        assert_eq!(answer.data[..4], [1, 0, 24, 0]);
        let flags = u32::from_le_bytes([4, 5, 6, 7].map(|byte| answer.data[byte]));
        // D1, D2, lock, eject, removable, dock.
        assert_eq!(flags & 0x3f, 0);
        // SurpriseRemovalOK
        assert_eq!(flags & 1 << 9, 1 << 9);
    }
}

#[test]
fn what_the_bus_says_of_the_adapter_stays() {
    let bench = DiskBench::with_disk(Disk::new(64));
    // UniqueID and Removable, as in a hot-plug slot; address and number.
    let mut structure = vec![1, 0, 24, 0, 0x50, 0, 0, 0, 3, 0, 5, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let query = SrbBuilder::function(SrbFunction::Pnp(PnpAction::QueryAdapterCapabilities));

    let answer = bench.execute(query.with_data_out(&structure));

    // SurpriseRemovalOK
    structure[5] = 0x02;
    assert_eq!(answer.data, structure);
}

#[test]
fn the_capabilities_tell_of_a_write_cache_that_the_disk_has() {
    let cached = DiskBench::with_disk(Disk::new(64));
    let hba = hba();

    let with = cached.execute(capabilities_query(PnpAction::QueryUnitCapabilities));
    let without = hba.execute(capabilities_query(PnpAction::QueryUnitCapabilities).to(0, 0, 0));

    assert_eq!(with.data[5] & 0x08, 0x08);
    assert_eq!(without.data[5] & 0x08, 0);
}

#[test]
fn capabilities_without_room_for_them_are_refused() {
    let bench = DiskBench::with_disk(Disk::new(64));
    let query = SrbBuilder::function(SrbFunction::Pnp(PnpAction::QueryUnitCapabilities)).with_data_in(7);

    let answer = bench.execute(query);

    assert_eq!(answer.completion.status, SrbStatus::INVALID_REQUEST);
    assert_eq!(answer.data, [0xee; 7]);
}

/// CLAIM_DEVICE, RECEIVE_EVENT, RELEASE_QUEUE, ATTACH_DEVICE, RELEASE_DEVICE, PROTOCOL_COMMAND, ABORT_COMMAND,
/// RELEASE_RECOVERY, TERMINATE_IO, FLUSH_QUEUE, REMOVE_DEVICE, WMI, LOCK_QUEUE, UNLOCK_QUEUE, QUIESCE_DEVICE, SET_LINK_TIMEOUT,
/// LINK_TIMEOUT_OCCURRED, LINK_TIMEOUT_COMPLETE, CRYPTO_OPERATION, and numbers without a meaning.
const REFUSED: [u32; 22] = [
    0x01,
    0x03,
    0x04,
    0x05,
    0x06,
    0x09,
    0x10,
    0x11,
    0x14,
    0x15,
    0x16,
    0x17,
    0x18,
    0x19,
    0x1a,
    0x21,
    0x22,
    0x23,
    0x29,
    0x3f,
    0xff,
    0xffff_ffff,
];

#[test]
fn functions_that_are_not_a_miniports_are_refused_and_never_reach_the_device() {
    let (disk, hba) = (DiskBench::with_disk(Disk::new(64)), hba());
    disk.device.trace();
    hba.device.trace();

    for function in REFUSED {
        let request = || SrbBuilder::function(SrbFunction::Other(function)).with_data_in(64);
        for answer in [disk.execute(request()), hba.execute(request())] {
            assert_eq!(answer.completion.status, SrbStatus::INVALID_REQUEST, "{function:#x}");
            assert_eq!(answer.data_transfer_length, 0, "{function:#x}");
            assert_eq!(answer.data, [0xee; 64], "{function:#x}");
        }
    }

    assert!(disk.device.take_trace().is_empty());
    assert!(hba.device.take_trace().is_empty());
}

#[test]
fn nobodys_resources_are_filtered_and_a_refusal_leaves_the_adapter_running() {
    let bench = DiskBench::with_disk(Disk::new(64));
    // StorQueryResourceRequirements, StorFilterResourceRequirements
    for action in [0x0b, 0x0d] {
        let answer = bench.execute(SrbBuilder::function(SrbFunction::Pnp(PnpAction::Other(action))));

        assert_eq!(answer.completion.status, SrbStatus::INVALID_REQUEST, "{action:#x}");
    }

    let after = bench.execute(SrbBuilder::execute(&inquiry(36)).with_data_in(36));

    assert_eq!(after.completion.status, SrbStatus::SUCCESS);
}

/// SRB_IO_CONTROL with these bytes behind it, which may be less or more than the header says.
fn io_control(signature: &[u8; 8], code: u32, length: u32, data: &[u8]) -> SrbBuilder {
    let mut buffer = Vec::new();
    buffer.extend(28u32.to_le_bytes());
    buffer.extend(signature);
    buffer.extend([10, code, 0xffff_ffff, length].into_iter().flat_map(u32::to_le_bytes));
    buffer.extend(data);
    SrbBuilder::function(SrbFunction::IoControl).with_data_out(&buffer)
}

const IOCTL_SCSI_MINIPORT_FIRMWARE: u32 = 0x001b_0780;

/// FIRMWARE_REQUEST_BLOCK with this function: the controller's, 64 bytes of information behind it.
fn firmware_request(function: u32) -> Vec<u8> {
    let words = [1, 24, function, 1, 56, 64].into_iter().flat_map(u32::to_le_bytes);
    words.chain([0xee; 64]).collect()
}

#[test]
fn firmware_that_nobody_can_get_at_is_an_illegal_request_and_none_is_described() {
    let (disk, hba) = (DiskBench::with_disk(Disk::new(64)), hba());
    // GET_INFO, DOWNLOAD, ACTIVATE, and one that does not exist.
    for function in [1, 2, 3, 99] {
        let data = firmware_request(function);
        let request = || io_control(b"FIRMWARE", IOCTL_SCSI_MINIPORT_FIRMWARE, data.len() as u32, &data);
        for answer in [disk.execute(request()), hba.execute(request())] {
            assert_eq!(answer.completion.status, SrbStatus::SUCCESS);
            assert_eq!(answer.data_transfer_length, 28);
            assert_eq!(answer.data[20..24], 2u32.to_le_bytes(), "FIRMWARE_STATUS_ILLEGAL_REQUEST");
            assert_eq!(answer.data[28..], data);
        }
    }
}

#[test]
fn io_controls_of_others_and_broken_ones_are_refused_and_left_as_they_are() {
    let bench = DiskBench::with_disk(Disk::new(64));
    let data = firmware_request(1);
    let sound = data.len() as u32;
    let table = [
        io_control(b"NOBODY!!", IOCTL_SCSI_MINIPORT_FIRMWARE, sound, &data),
        io_control(b"FIRMWARE", 0x001b_0501, sound, &data),
        // IOCTL_SCSI_MINIPORT_NOT_QUORUM_CAPABLE
        io_control(b"CLUSDISK", 0x001b_0520, 0, &[]),
        io_control(b"FIRMWARE", IOCTL_SCSI_MINIPORT_FIRMWARE, sound + 1, &data),
        io_control(b"FIRMWARE", IOCTL_SCSI_MINIPORT_FIRMWARE, u32::MAX, &data),
        SrbBuilder::function(SrbFunction::IoControl).with_data_out(&[28, 0, 0, 0]),
        SrbBuilder::function(SrbFunction::IoControl),
    ];

    for request in table {
        let sent = format!("{request:02x?}");

        let answer = bench.execute(request);

        assert_eq!(answer.completion.status, SrbStatus::INVALID_REQUEST, "{sent}");
        assert_eq!(answer.data_transfer_length, 0);
        // ReturnCode still holds what was sent.
        assert!(answer.data.get(20..24).is_none_or(|code| code == [0xff; 4]), "{sent}");
    }
}

#[test]
fn a_firmware_request_that_is_cut_short_is_an_invalid_parameter() {
    let bench = DiskBench::with_disk(Disk::new(64));

    let answer =
        bench.execute(io_control(b"FIRMWARE", IOCTL_SCSI_MINIPORT_FIRMWARE, 8, &[1, 0, 0, 0, 24, 0, 0, 0]));

    assert_eq!(answer.completion.status, SrbStatus::SUCCESS);
    assert_eq!(answer.data[20..24], 3u32.to_le_bytes(), "FIRMWARE_STATUS_INVALID_PARAMETER");
}

/// Each is taken, also while the device has requests, which it keeps. StorStopDevice comes when the system shares its resources
/// out anew, as for a processor that is added.
fn news_is_taken<D: DeviceType, M: Model>(bench: &Bench<D, M>) {
    let news = [
        SrbFunction::Power,
        SrbFunction::Pnp(PnpAction::UnitGone),
        SrbFunction::Pnp(PnpAction::Stop),
        SrbFunction::Pnp(PnpAction::Remove),
    ];
    for function in news {
        let answer = bench.execute(SrbBuilder::function(function));

        assert_eq!(answer.completion.status, SrbStatus::SUCCESS, "{function:?}");
        bench.hold_reads(2);
        bench.submit(SrbBuilder::function(function).tagged(99));
        let ended: Vec<_> = bench.port.take_completed().iter().map(|done| done.tag).collect();
        assert_eq!(ended, [99], "{function:?}");
        bench.device.release_all();
        bench.settle();
        let reads = bench.port.take_completed();
        assert_eq!(reads.len(), 2, "after {function:?}");
        assert!(reads.iter().all(|read| read.completion.status == SrbStatus::SUCCESS), "after {function:?}");
    }
    bench.device.assert_no_violations();
}

#[test]
fn news_of_power_and_units_is_taken_and_leaves_the_disk_usable() {
    news_is_taken(&DiskBench::with_disk(Disk::new(64)));
    news_is_taken(&hba());
}

#[test]
fn the_inquiry_that_finds_a_disk_tells_that_it_vetoes_bypass_io_and_is_not_left_without_power() {
    let bench = DiskBench::with_disk(Disk::new(64));
    bench.execute(SrbBuilder::execute(&inquiry_page(0xb0, 64)).with_data_in(64));
    assert_eq!(bench.port.unit_attributes(), [], "a page of product data finds nothing");

    bench.execute(SrbBuilder::execute(&inquiry(36)).with_data_in(36));

    let unit = Address { path: 0, target: 0, lun: 0 };
    assert_eq!(bench.port.unit_attributes(), [(unit, UnitAttributes::D3_COLD_NOT_SUPPORTED)]);
}

#[test]
fn nothing_is_told_of_units_that_are_not_there_or_speak_for_themselves() {
    let (disk, hba) = (DiskBench::with_disk(Disk::new(64)), hba());

    disk.execute(SrbBuilder::execute(&inquiry(36)).with_data_in(36).to(0, 0, 1));
    let buffer = hba.buffer(36);
    hba.execute(reading(&inquiry(36), &[buffer]).to(0, 0, 0));

    assert_eq!(disk.port.unit_attributes(), []);
    assert_eq!(hba.port.unit_attributes(), []);
}

#[test]
fn a_unit_takes_as_many_requests_as_the_adapter_from_the_first_on() {
    let bench = DiskBench::with_disk(Disk::new(64));

    let Configuration { max_requests, max_requests_per_lun, .. } = bench.configuration;

    assert_eq!((max_requests, max_requests_per_lun), (256, 256));
    bench.hold_reads(256);
    assert_eq!(bench.device.in_hand(), 256, "all of them are the device's at once");
    bench.device.release_all();
    bench.settle();
    assert_eq!(bench.port.take_completed().len(), 256);
}
