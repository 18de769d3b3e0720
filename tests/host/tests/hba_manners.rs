//! Host bus adapters with the habits of devices in the field, and with limits as small as there are: everything works as on
//! one that keeps to the specification, and nobody is blamed for anything.

use adapter::Event;
use fake_device::hba::{Hba, Override, Residual, Unit};
use fake_device::{FakeDevice, HBA_MANNERS, Manner, Options, Order, Ram};
use host_tests::cdb::{inquiry, inquiry_page, read10, read16, write10, write16};
use host_tests::{HbaBench, Machine, pattern, reading, writing};
use storport::fake::{Completed, SrbBuilder};
use storport::{Address, DataDirection, SrbStatus};
use virtio::memory::Segment;
use virtio::spec::Features;

const PAGE: usize = 4096;
const BLOCKS: u64 = 2048;

fn hba() -> Hba {
    let mut hba = Hba::default().with(0, 0, Unit::disk(BLOCKS, 512)).with(0, 1, Unit::disk(BLOCKS, 512));
    hba.features = Features::SCSI_HOTPLUG | Features::SCSI_CHANGE;
    hba
}

/// A manner that is nobody's.
const fn made_up(prepare: fn(&mut Hba, &mut Options)) -> Manner<Hba> {
    Manner { name: "made up", source: "nobody", prepare, used_length: None }
}

fn bench(manner: &Manner<Hba>, options: Options) -> HbaBench {
    let machine = Machine::with_manner(manner, hba(), options);
    let bench: HbaBench = machine.find().unwrap_or_else(|declined| panic!("{}: {declined:?}", manner.name));
    bench.start().expect("the device starts");
    bench
}

#[track_caller]
fn succeeds(name: &str, done: &Completed) {
    assert_eq!(done.completion.status, SrbStatus::SUCCESS, "{name}: {done:?}");
}

/// So many bytes of memory in pieces that end where a page does: the first one starts inside a page.
fn pieces(bench: &HbaBench, bytes: usize, start: usize) -> Vec<Segment> {
    let mut pieces = Vec::new();
    let (mut left, mut room) = (bytes, PAGE - start);
    while left > 0 {
        let piece = left.min(room);
        pieces.push(bench.buffer(piece));
        (left, room) = (left - piece, PAGE);
    }
    pieces
}

fn put(bench: &HbaBench, pieces: &[Segment], mut data: &[u8]) {
    for piece in pieces {
        let (now, rest) = data.split_at(piece.length as usize);
        bench.fill(*piece, now);
        data = rest;
    }
}

fn content(bench: &HbaBench, pieces: &[Segment]) -> Vec<u8> {
    pieces.iter().flat_map(|piece| bench.content(*piece)).collect()
}

/// Asks for data in a mapped buffer that lies across a page boundary; returns what came, wherever the driver put it.
fn ask(bench: &HbaBench, cdb: &[u8], bytes: usize) -> (Completed, Vec<u8>) {
    let pieces = pieces(bench, bytes, PAGE - 8);
    let request = SrbBuilder::execute(cdb).with_data_in(bytes).with_segments(DataDirection::In, &pieces);
    let done = bench.execute(request);
    let data =
        if done.data.iter().all(|byte| *byte == 0xee) { content(bench, &pieces) } else { done.data.clone() };
    (done, data)
}

/// INQUIRY, REPORT LUNS, READ CAPACITY, MODE SENSE, of a buffer as large as the answer and of a larger one.
fn questions(name: &str, bench: &HbaBench) {
    let (done, data) = ask(bench, &inquiry(36), 36);
    succeeds(name, &done);
    assert_eq!(data[8..16], *b"FAKE    ", "{name}");
    let (done, data) = ask(bench, &inquiry_page(0x80, 255), 255);
    assert_eq!((done.completion.status, done.completion.transferred), (SrbStatus::DATA_OVERRUN, 8), "{name}");
    assert_eq!(data[4..8], *b"UNIT", "{name}");
    let (done, data) = ask(bench, &[0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 24, 0, 0], 24);
    succeeds(name, &done);
    assert_eq!(data[..4], [0, 0, 0, 16], "{name}");
    let (done, data) = ask(bench, &[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], 8);
    succeeds(name, &done);
    assert_eq!(data, [&(BLOCKS as u32 - 1).to_be_bytes()[..], &512_u32.to_be_bytes()].concat(), "{name}");
    // More is asked for than there is room for.
    let (done, data) = ask(bench, &inquiry(255), 20);
    succeeds(name, &done);
    assert_eq!(data[8..16], *b"FAKE    ", "{name}");
    succeeds(name, &bench.execute(SrbBuilder::execute(&[0; 6])));
}

/// Reads and writes of every length that StorPort may ask for, aligned as it was told, in both forms.
fn reads_and_writes(name: &str, bench: &HbaBench) {
    let most = (bench.configuration.max_transfer_bytes as usize).min(64 * PAGE);
    let alignment = bench.configuration.alignment_mask as usize + 1;
    for bytes in [512, 1536, PAGE, 7 * PAGE, 33 * PAGE] {
        for start in [0, alignment.max(512), PAGE - 512] {
            if bytes > most {
                continue;
            }
            let (expected, blocks) = (pattern((bytes + start) as u64, bytes), (bytes / 512) as u16);
            let (out, back) = (pieces(bench, bytes, start), pieces(bench, bytes, start));
            put(bench, &out, &expected);

            let written = bench.execute(writing(&write10(24, blocks), &out));
            let read = bench.execute(reading(&read16(24, u32::from(blocks)), &back));

            succeeds(name, &written);
            succeeds(name, &read);
            assert_eq!(written.completion.transferred as usize, bytes, "{name}");
            assert_eq!(read.completion.transferred as usize, bytes, "{name}");
            let on_disk = bench.device.model(|hba| hba.unit(0, 0).content()[24 * 512..][..bytes].to_vec());
            assert!(on_disk == expected && content(bench, &back) == expected, "{name}: {bytes} from {start}");
            out.into_iter().chain(back).for_each(|piece| bench.give_back(piece));
        }
    }
}

/// Commands side by side, to two units, of which every third fails: each gets its own answer, whatever their order.
fn side_by_side(name: &str, bench: &HbaBench) {
    for order in [Order::Arrival, Order::Reversed, Order::Shuffled(7)] {
        bench.device.set_order(order);
        bench.device.hold();
        for number in 0..12_u64 {
            let block = if number % 3 == 0 { BLOCKS } else { 100 + number };
            let buffer = bench.filled(&[number as u8; 512]);
            let request = writing(&write16(block, 1), &[buffer]).to(0, 0, (number % 2) as u8);
            bench.submit(request.tagged(number));
        }
        bench.device.run();
        bench.device.release_all();
        bench.settle();

        let mut done = bench.port.take_completed();
        done.sort_by_key(|completed| completed.tag);
        assert_eq!(done.len(), 12, "{name}");
        for completed in &done {
            let number = completed.tag;
            if number % 3 == 0 {
                assert_eq!((completed.sense[2], completed.sense[12]), (0x05, 0x21), "{name}, {order:?}");
                continue;
            }
            succeeds(name, completed);
            let content = bench.device.model(|hba| {
                hba.unit(0, (number % 2) as u16).content()[(100 + number as usize) * 512..][..512].to_vec()
            });
            assert_eq!(content, [number as u8; 512], "{name}, {order:?}");
        }
    }
    bench.device.set_order(Order::Arrival);
}

fn units_come_change_and_go(name: &str, bench: &HbaBench) {
    bench.device.plug(0, 7, Unit::disk(BLOCKS, 512));
    bench.settle();
    bench.device.change_unit(0, 1, (0x2a, 0x09), |_| {});
    bench.settle();
    bench.device.unplug(0, 7);
    bench.settle();

    assert_eq!(bench.port.take_bus_changes(), [0, 0], "{name}");
    assert_eq!(bench.port.take_unit_changes(), [Address { path: 0, target: 0, lun: 1 }], "{name}");
}

/// Everything that a guest does with its adapter.
fn pass(manner: &Manner<Hba>, options: Options) {
    let bench = bench(manner, options);
    let resets = bench.device.resets();
    questions(manner.name, &bench);
    reads_and_writes(manner.name, &bench);
    side_by_side(manner.name, &bench);
    questions(manner.name, &bench);
    units_come_change_and_go(manner.name, &bench);

    assert_eq!(bench.port.log_entries(), [], "{}", manner.name);
    assert_eq!(bench.device.resets(), resets, "{}", manner.name);
    bench.device.assert_no_violations();
}

#[test]
fn an_adapter_of_every_manner_is_used_like_any_other() {
    HBA_MANNERS.iter().for_each(|manner| pass(manner, Options::default()));
}

#[test]
fn limits_that_are_as_small_as_there_are_make_an_adapter_slower_and_nothing_else() {
    let limits: [fn(&mut Hba, &mut Options); 11] = [
        |hba, _| hba.seg_max = 0,
        |hba, _| hba.seg_max = 1,
        |hba, _| hba.seg_max = 2,
        |hba, _| hba.max_sectors = 0,
        |hba, _| hba.max_sectors = 1,
        |hba, _| hba.max_sectors = 2,
        |hba, _| hba.max_sectors = 7,
        |hba, _| hba.max_sectors = 8,
        |hba, _| hba.cmd_per_lun = 0,
        |hba, _| (hba.seg_max, hba.max_sectors) = (1, 2),
        |_, options| options.queue_size = 4,
    ];
    let default = Options::default();
    let packed = Options { features: Features::VERSION_1.union(Features::RING_PACKED), ..default };
    for prepare in limits {
        for options in [default, packed] {
            pass(&made_up(prepare), options);
        }
    }
}

#[test]
fn a_packed_queue_of_three_takes_one_segment_at_a_time() {
    let features = Options::default().features.union(Features::RING_PACKED);
    for features in [features, features.difference(Features::RING_INDIRECT_DESC)] {
        pass(&made_up(|_, options| options.queue_size = 3), Options { features, ..Options::default() });
    }
}

#[test]
fn what_the_specification_forbids_is_refused_with_one_entry_that_says_why() {
    // A ring of two has room for request and response, and for no data; QEMU's property virtqueue_size must be above 2.
    type Prepare = fn(&mut Hba, &mut Options);
    let table: [(Prepare, Event); 5] = [
        (|_, options| options.queue_size = 2, Event::QueueTooSmall),
        (|hba, _| hba.sense_size = 0, Event::FieldSizes),
        (|hba, _| hba.sense_size = 252, Event::FieldSizes),
        (|hba, _| hba.cdb_size = 16, Event::FieldSizes),
        (|hba, _| hba.cdb_size = u32::MAX, Event::FieldSizes),
    ];
    for (prepare, event) in table {
        let manner = made_up(prepare);
        let machine = Machine::with_manner(&manner, hba(), Options::default());

        let declined = machine.find::<vioscsi::Vioscsi>().err().expect("the device is declined");

        assert_eq!(declined.0, event.into());
    }
}

#[test]
fn a_write_that_fails_half_way_says_how_far_it_got() {
    let bench = bench(&made_up(|hba, _| hba.max_sectors = 2), Options::default());
    let buffer = bench.filled(&pattern(1, PAGE));

    // Blocks 2044 to 2047 are there, 2048 to 2051 are not.
    let done = bench.execute(writing(&write10(2044, 8), &[buffer]));

    assert_eq!((done.completion.status, done.completion.transferred), (SrbStatus::ERROR, 2048));
    assert_eq!((done.sense[2], done.sense[12]), (0x05, 0x21));
    bench.device.assert_no_violations();
}

/// An adapter that takes two blocks at once, whose unit answers like this.
fn two_at_once(instead: Override) -> HbaBench {
    let bench = bench(&made_up(|hba, _| hba.max_sectors = 2), Options::default());
    bench.device.model(|hba| hba.unit(0, 0).instead = Some(instead));
    bench
}

fn cdbs(bench: &HbaBench) -> Vec<[u8; 32]> {
    bench.device.model(|hba| hba.log().iter().map(|entry| entry.cdb).collect())
}

fn fixed_sense(key: u8) -> Vec<u8> {
    let mut sense = vec![0; 18];
    (sense[0], sense[2], sense[7], sense[12]) = (0x70, key, 10, 0x17);
    sense
}

/// To classpnp it is a success, of as many bytes as the length says (Windows-driver-samples, storage/class/classpnp/src/class.c,
/// ClassInterpretSenseInfo): what is not sent then is lost.
#[test]
fn a_recovered_error_half_way_does_not_keep_the_rest_from_being_moved() {
    // SPC-4, 4.5: response codes of the fixed format, of the descriptor format, and one that classpnp reads as fixed.
    let formats: [&[u8]; 5] =
        [&fixed_sense(1), &[0xf1, 0, 0x01], &[0x72, 0x01, 0x17, 0], &[0x73, 0x01, 0x17, 0], &[0, 0, 0x01]];
    for sense in formats {
        let bench = two_at_once(Override::DoneWithSense(sense.to_vec()));
        let (out, back) = (bench.filled(&pattern(3, PAGE)), bench.buffer(PAGE));

        let written = bench.execute(writing(&write10(16, 8), &[out]));
        let read = bench.execute(reading(&read16(16, 8), &[back]));

        // The last step's answer is the request's.
        for done in [written, read] {
            let completion = &done.completion;
            assert_eq!((completion.status, completion.transferred), (SrbStatus::ERROR, PAGE as u32));
            assert_eq!(done.sense, sense);
        }
        assert_eq!(
            bench.device.model(|hba| hba.unit(0, 0).content()[16 * 512..][..PAGE].to_vec()),
            pattern(3, PAGE)
        );
        assert_eq!(bench.content(back), pattern(3, PAGE));
        bench.device.assert_no_violations();
    }
}

#[test]
fn a_recovered_error_half_way_of_which_bytes_are_missing_is_sent_again_as_a_whole() {
    for missing in [1, 1024, 1025, u32::MAX] {
        let bench = two_at_once(Override::SenseAndResidual(fixed_sense(1), missing));
        let buffer = bench.buffer(PAGE);

        let done = bench.execute(writing(&write10(16, 8), &[buffer]));

        assert_eq!(
            (done.completion.status, done.completion.transferred),
            (SrbStatus::ABORTED, 0),
            "{missing}"
        );
        assert_eq!(cdbs(&bench).len(), 1);
    }
}

#[test]
fn no_other_sense_key_half_way_is_taken_for_a_success() {
    // NO SENSE is one that classpnp sends again.
    for key in (0..16).filter(|key| *key != 1) {
        let bench = two_at_once(Override::SenseAndResidual(fixed_sense(key), 0));
        let buffer = bench.buffer(PAGE);

        let done = bench.execute(writing(&write10(16, 8), &[buffer]));

        assert_eq!(done.completion.srb_status_byte(), 0x84, "{key:#x}");
        assert_eq!((cdbs(&bench).len(), done.sense[2]), (1, key));
    }
}

/// GOOD with a residual is DATA OVERRUN, which classpnp takes for an error with every READ and WRITE (class.c as above).
#[test]
fn a_step_of_which_bytes_are_missing_is_the_last_one() {
    let bench = two_at_once(Override::Short(512));
    let buffer = bench.filled(&pattern(3, PAGE));

    let done = bench.execute(writing(&write10(16, 8), &[buffer]));

    assert_eq!((done.completion.status, done.completion.transferred), (SrbStatus::DATA_OVERRUN, 512));
    assert_eq!(cdbs(&bench).len(), 1);
}

/// READ and WRITE of each form, for four blocks of which so many are beyond the last one that the form can name.
fn at_the_end_of_the_form(beyond: u64) -> Vec<Vec<u8>> {
    let first = |last: u64| (last - 3 + beyond).to_be_bytes();
    let long = &first(u64::from(u32::MAX))[4..];
    [
        [&[0x28, 0], long, &[0, 0, 4, 0]].concat(),
        [&[0x2a, 0], long, &[0, 0, 4, 0]].concat(),
        [&[0xa8, 0], long, &[0, 0, 0, 4, 0, 0]].concat(),
        [&[0xaa, 0], long, &[0, 0, 0, 4, 0, 0]].concat(),
        [&[0x88, 0], &first(u64::MAX)[..], &[0, 0, 0, 4, 0, 0]].concat(),
        [&[0x8a, 0], &first(u64::MAX)[..], &[0, 0, 0, 4, 0, 0]].concat(),
    ]
    .to_vec()
}

fn sent_for(cdb: &[u8]) -> Vec<Vec<u8>> {
    // CONDITION MET, with nothing missing: a unit that is large enough.
    let bench = two_at_once(Override::Status(0x04));
    bench.device.model(|hba| hba.residual = Residual::NothingOfFailed);
    let buffer = bench.buffer(2048);
    let request = if cdb[0] & 2 == 0 { reading(cdb, &[buffer]) } else { writing(cdb, &[buffer]) };

    succeeds("large unit", &bench.execute(request));

    cdbs(&bench).iter().map(|sent| sent[..cdb.len()].to_vec()).collect()
}

#[test]
fn no_step_goes_to_block_0_because_the_last_one_ended_at_the_last_block_of_its_form() {
    for beyond in [1, 2, 3] {
        for cdb in at_the_end_of_the_form(beyond) {
            assert_eq!(
                sent_for(&cdb),
                std::slice::from_ref(&cdb),
                "the unit is to say what it thinks of it: {cdb:02x?}"
            );
        }
    }
    for cdb in at_the_end_of_the_form(0) {
        assert_eq!(sent_for(&cdb).len(), 2, "it ends where the form does: {cdb:02x?}");
    }
}

#[test]
fn a_block_that_is_longer_than_the_limit_is_still_read() {
    let mut hba = Hba::default().with(0, 0, Unit::disk(16, 4096));
    hba.max_sectors = 2;
    let bench = HbaBench::with_hba(hba);
    let buffer = bench.buffer(PAGE);
    bench.device.model(|hba| hba.unit(0, 0).content()[PAGE..2 * PAGE].fill(7));

    let done = bench.execute(reading(&read10(1, 1), &[buffer]));

    succeeds("4Kn", &done);
    assert_eq!(bench.content(buffer), [7; PAGE]);
}

#[test]
fn a_dump_is_written_to_a_device_of_every_manner_and_of_the_smallest_limits() {
    let smallest = made_up(|hba, _| (hba.seg_max, hba.max_sectors) = (1, 1));
    for manner in HBA_MANNERS.iter().chain([&smallest]) {
        let ram = Ram::new(4 << 20);
        let device = FakeDevice::with_manner(manner, hba(), &ram, Options::default());
        let bench: HbaBench = Machine::in_dump_mode(ram, device).find().expect("the driver takes the device");
        bench.start().expect("the device starts");
        let bytes = (bench.configuration.max_transfer_bytes as usize).min(64 << 10);
        let expected = pattern(5, bytes);
        let pieces = pieces(&bench, bytes, 512);
        put(&bench, &pieces, &expected);

        let done = bench.execute(writing(&write10(8, (bytes / 512) as u16), &pieces));

        succeeds(manner.name, &done);
        let on_disk = bench.device.model(|hba| hba.unit(0, 0).content()[8 * 512..][..bytes].to_vec());
        assert!(on_disk == expected, "{}", manner.name);
        bench.device.assert_no_violations();
    }
}
