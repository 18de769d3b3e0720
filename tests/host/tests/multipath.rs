//! vioscsi under MPIO and failover clustering: two adapters with one unit behind both, and what the unit says of its identity,
//! its paths and its reservations. All of that is between the unit and Windows: not a byte of it may be the driver's.

use fake_device::hba::{Hba, Override, Reply, Unit};
use host_tests::cdb::{inquiry, inquiry_page, read10, write10};
use host_tests::{HbaBench, pattern, reading, writing};
use storport::SrbStatus;
use storport::fake::{Completed, SrbBuilder};

const CHECK_CONDITION: u8 = 0x02;
const RESERVATION_CONFLICT: u8 = 0x18;

/// An adapter with the unit at a place of its own.
struct Path {
    bench: HbaBench,
    at: (u8, u8),
}

impl Path {
    fn new(target: u8, lun: u8) -> Self {
        let hba = Hba::default().with(target, lun.into(), Unit::disk(64, 512));
        Self { bench: HbaBench::with_hba(hba), at: (target, lun) }
    }

    fn answers(&self, reply: Reply) {
        let (target, lun) = self.at;
        self.bench.device.model(|hba| hba.unit(target, lun.into()).instead = Some(Override::Reply(reply)));
    }

    fn execute(&self, request: SrbBuilder) -> Completed {
        self.bench.execute(request.to(0, self.at.0, self.at.1))
    }

    /// A command that returns this; what came.
    fn ask(&self, cdb: &[u8], says: &[u8]) -> Vec<u8> {
        self.answers(Reply { data: says.to_vec(), ..Reply::default() });
        let buffer = self.bench.filled(&vec![0xee; says.len() + 8]);

        let done = self.execute(reading(cdb, &[buffer]));

        assert_eq!(done.completion.status, SrbStatus::DATA_OVERRUN, "shorter than its buffer: a success");
        assert_eq!((done.completion.scsi_status.0, done.data_transfer_length as usize), (0, says.len()));
        let came = self.bench.content(buffer);
        assert_eq!(came[says.len()..], [0xee; 8]);
        came[..says.len()].to_vec()
    }

    fn cdbs(&self) -> Vec<[u8; 32]> {
        self.bench.device.model(|hba| hba.log().iter().map(|entry| entry.cdb).collect())
    }
}

fn paths() -> [Path; 2] {
    [Path::new(0, 0), Path::new(7, 200)]
}

/// Device identification (SPC-4, 7.8.5): of the unit its NAA, EUI-64 and T10 names, of the port its relative number, its group,
/// and its NAA.
fn device_identification(port: u8) -> Vec<u8> {
    let designators: [&[u8]; 6] = [
        &[0x01, 0x03, 0, 16, 0x60, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
        &[0x01, 0x02, 0, 8, 0, 1, 2, 3, 4, 5, 6, 7],
        &[0x02, 0x01, 0, 12, b'V', b'E', b'N', b'D', b'O', b'R', b' ', b' ', b'S', b'1', b'2', b'3'],
        &[0x61, 0x94, 0, 4, 0, 0, 0, port],
        &[0x61, 0x95, 0, 4, 0, 0, 0, 0x10 | port],
        &[0x61, 0x93, 0, 8, 0x50, 0, 0, 0, 0, 0, 0, port],
    ];
    let page = designators.concat();
    [&[0, 0x83, 0, page.len() as u8][..], &page].concat()
}

#[test]
fn a_unit_behind_two_adapters_is_named_alike_by_both_but_for_its_ports() {
    let [one, other] = paths();
    let mut standard = vec![0, 0, 6, 0x12, 91, 0x30, 0x10, 0x02];
    standard.extend(pattern(1, 88));
    let serial = [&[0, 0x80, 0, 12][..], b"S1234567890X"].concat();
    for (cdb, says) in [(inquiry(255), standard), (inquiry_page(0x80, 255), serial)] {
        assert_eq!(one.ask(&cdb, &says), says);
        assert_eq!(other.ask(&cdb, &says), says);
    }

    let cdb = inquiry_page(0x83, 255);
    let (by_one, by_other) =
        (one.ask(&cdb, &device_identification(1)), other.ask(&cdb, &device_identification(2)));

    assert_eq!((&by_one, &by_other), (&device_identification(1), &device_identification(2)));
    let differ = by_one.iter().zip(&by_other).filter(|(one, other)| one != other).count();
    assert_eq!(differ, 3, "one byte of each designator of the port");
}

#[test]
fn the_states_of_target_port_groups_come_as_the_unit_tells_them() {
    // REPORT TARGET PORT GROUPS (SPC-4, 6.37), with and without the extended header; each asymmetric access state.
    let states = [0x0, 0x1, 0x2, 0x3, 0x4, 0xe, 0xf];
    for path in paths() {
        for (parameter, header) in [(0x00, vec![]), (0x20, vec![0x10, 30, 0, 0])] {
            let groups = states.iter().enumerate().flat_map(|(number, state)| {
                // Preferred, all states supported, status code, one port.
                let number = number as u8;
                [0x80 | state, 0xdf, 0, number, 0, 0x02, 0, 1, 0, 0, 0, number]
            });
            let body: Vec<u8> = header.into_iter().chain(groups).collect();
            let says = [&(body.len() as u32).to_be_bytes()[..], &body].concat();
            let cdb = [0xa3, 0x0a | parameter, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0];

            assert_eq!(path.ask(&cdb, &says), says);
            assert_eq!(path.cdbs().pop().expect("it arrived")[..12], cdb);
        }
    }
}

#[test]
fn a_state_is_set_with_the_list_that_windows_sends() {
    // SET TARGET PORT GROUPS (SPC-4, 6.45).
    let [path, _] = paths();
    let list = [0, 0, 0, 0, 0x00, 0, 0, 1, 0x02, 0, 0, 2];
    let cdb = [0xa4, 0x0a, 0, 0, 0, 0, 0, 0, 0, 12, 0, 0];
    path.answers(Reply { taken: 12, ..Reply::default() });
    let buffer = path.bench.filled(&list);

    let done = path.execute(writing(&cdb, &[buffer]));

    assert_eq!((done.completion.srb_status_byte(), done.data_transfer_length), (0x01, 12));
    assert_eq!(path.bench.device.model(|hba| hba.unit(0, 0).sent.clone()), list);
    assert_eq!(path.cdbs()[0][..12], cdb);
}

#[test]
fn a_path_that_is_not_active_says_so_in_its_own_words() {
    // SPC-4, 5.15.2 and annex on ASC: asymmetric access state transition, standby, unavailable, offline; state changed, implicit
    // transition failed; registrations and reservations preempted, released; MODE parameters, capacity, LUNs changed.
    let table = [
        (0x02, 0x04, 0x0a),
        (0x02, 0x04, 0x0b),
        (0x02, 0x04, 0x0c),
        (0x02, 0x04, 0x12),
        (0x06, 0x2a, 0x06),
        (0x06, 0x2a, 0x07),
        (0x06, 0x2a, 0x03),
        (0x06, 0x2a, 0x04),
        (0x06, 0x2a, 0x05),
        (0x06, 0x2a, 0x01),
        (0x06, 0x3f, 0x0e),
        (0x06, 0x29, 0x07),
        (0x05, 0x67, 0x0a),
    ];
    let fixed = |(key, asc, ascq)| vec![0x70, 0, key, 0, 0, 0, 0, 10, 0, 0, 0, 0, asc, ascq, 0, 0, 0, 0];
    let descriptor = |(key, asc, ascq)| vec![0x72, key, asc, ascq, 0, 0, 0, 8, 0x02, 6, 0, 0, 0x80, 0, 1, 0];
    let [path, _] = paths();
    for code in table {
        for sense in [fixed(code), descriptor(code)] {
            path.answers(Reply { status: CHECK_CONDITION, sense: sense.clone(), ..Reply::default() });
            let buffer = path.bench.buffer(4096);
            for request in [reading(&read10(0, 8), &[buffer]), writing(&write10(0, 8), &[buffer])] {
                let before = path.cdbs().len();

                let done = path.execute(request);

                assert_eq!(done.completion.srb_status_byte(), 0x84, "ERROR, with sense data: {code:02x?}");
                assert_eq!(done.completion.scsi_status.0, CHECK_CONDITION);
                assert_eq!((done.data_transfer_length, &done.sense), (0, &sense));
                assert_eq!(path.cdbs().len(), before + 1, "whether it is sent again is MPIO's to say");
            }
        }
    }
}

/// PERSISTENT RESERVE OUT (SPC-4, 6.16): service action, type, length of the list.
fn reserve_out(action: u8, kind: u8, length: u32) -> Vec<u8> {
    [&[0x5f, action, kind, 0, 0][..], &length.to_be_bytes(), &[0]].concat()
}

#[test]
fn persistent_reservations_arrive_with_the_list_that_windows_sends() {
    for path in paths() {
        // REGISTER to REPLACE LOST RESERVATION, with the types of clusters and MPIO: write exclusive, and exclusive access, of
        // registrants only and of all registrants.
        for action in 0..=8 {
            for kind in [0x01, 0x03, 0x05, 0x06, 0x07, 0x08] {
                // REGISTER AND MOVE has a TransportID behind its 24 bytes.
                let list = pattern(u64::from(action), if action == 7 { 24 + 228 } else { 24 });
                let cdb = reserve_out(action, kind, list.len() as u32);
                path.answers(Reply { taken: list.len(), ..Reply::default() });
                let buffer = path.bench.filled(&list);

                let done = path.execute(writing(&cdb, &[buffer]));

                assert_eq!(
                    (done.completion.srb_status_byte(), done.data_transfer_length as usize),
                    (0x01, list.len())
                );
                let (target, lun) = path.at;
                let sent = path.bench.device.model(|hba| hba.unit(target, lun.into()).sent.clone());
                assert!(sent == list, "{cdb:02x?}");
                assert_eq!(path.cdbs().pop().expect("it arrived")[..10], cdb);
            }
        }
    }
}

#[test]
fn what_is_reserved_and_by_whom_comes_as_the_unit_tells_it() {
    // PERSISTENT RESERVE IN (SPC-4, 6.15): READ KEYS, READ RESERVATION, REPORT CAPABILITIES, READ FULL STATUS.
    let table = [(0, 8 + 3 * 8), (0, 8 + 1000 * 8), (1, 8), (1, 24), (2, 8), (3, 8 + 2 * (24 + 228))];
    for path in paths() {
        for (action, bytes) in table {
            let says = pattern(action, bytes);
            let cdb = [0x5e, action as u8, 0, 0, 0, 0, 0, 0x20, 0, 0];

            assert!(path.ask(&cdb, &says) == says, "{action}, {bytes}");
            assert_eq!(path.cdbs().pop().expect("it arrived")[..10], cdb);
        }
    }
}

/// Windows knows a conflict by the SCSI status (Windows-driver-samples, storage/class/classpnp/src/class.c,
/// ClassInterpretSenseInfo: STATUS_DEVICE_BUSY, never sent again); a reset, a BUSY or sense data in its place would be sent again.
#[test]
fn a_reservation_conflict_is_told_once_as_what_it_is() {
    for path in paths() {
        path.answers(Reply { status: RESERVATION_CONFLICT, ..Reply::default() });
        let buffer = path.bench.filled(&pattern(1, 4096));
        let requests = [
            reading(&read10(0, 8), &[buffer]),
            writing(&write10(0, 8), &[buffer]),
            writing(&reserve_out(1, 5, 4096), &[buffer]),
            reading(&[0x5e, 0, 0, 0, 0, 0, 0, 0x10, 0, 0], &[buffer]),
            SrbBuilder::execute(&[0; 6]),
            SrbBuilder::execute(&[0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        ];
        for (number, request) in requests.into_iter().enumerate() {
            let done = path.execute(request);

            assert_eq!(done.completion.scsi_status.0, RESERVATION_CONFLICT);
            assert_eq!(done.completion.srb_status_byte(), SrbStatus::ERROR.0, "without sense data");
            assert_eq!((done.data_transfer_length, done.sense), (0, vec![]));
            assert_eq!(path.cdbs().len(), number + 1, "it is sent once");
        }
        path.bench.device.assert_no_violations();
        assert_eq!(path.bench.port.log_entries(), []);
    }
}

#[test]
fn a_reservation_conflict_half_way_ends_the_request_on_a_device_that_takes_little() {
    let mut hba = Hba::default().with(0, 0, Unit::disk(64, 512));
    hba.max_sectors = 2;
    let bench = HbaBench::with_hba(hba);
    bench.device.model(|hba| {
        hba.unit(0, 0).instead =
            Some(Override::Reply(Reply { status: RESERVATION_CONFLICT, ..Reply::default() }));
    });
    let buffer = bench.buffer(4096);

    let done = bench.execute(writing(&write10(0, 8), &[buffer]));

    assert_eq!(
        (done.completion.status, done.completion.scsi_status.0),
        (SrbStatus::ERROR, RESERVATION_CONFLICT)
    );
    assert_eq!(bench.device.model(|hba| hba.log().len()), 1);
}
