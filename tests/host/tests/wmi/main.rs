//! WMI: what vioscsi tells programs of its adapter, kept as text in hba.txt, that two adapters can be told apart, and that viostor
//! and logical units have nothing to tell.
//!
//! `UPDATE_TRANSCRIPTS=1 cargo test -p host-tests --test wmi` writes the text anew. Requests and answers are written and read here
//! from the documentation alone, without the driver's own types.

mod decode;
mod request;

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

use decode::{adapter_information, adapter_name, port_attributes};
use fake_device::Options;
use fake_device::disk::Disk;
use fake_device::hba::{Hba, Unit};
use host_tests::random::Random;
use host_tests::{Bench, DiskBench, HbaBench, Machine};
use request::{ADAPTER_INFORMATION, EXTENDED_INFORMATION, METHODS, Operation, PORT_METHODS, Request};
use storport::fake::{Completed, SrbBuilder};
use storport::{Miniport as _, SrbFunction, SrbStatus};
use vioscsi::Vioscsi;

fn hba() -> Hba {
    Hba::default().with(0, 0, Unit::disk(64, 512))
}

fn bench() -> HbaBench {
    HbaBench::with_hba(hba())
}

/// vioscsi, running on a machine of so many processors, with its device at this place.
fn running_at(bus: u32, slot: u32) -> HbaBench {
    let machine = Machine::new(hba(), Options::default()).at(bus, slot);
    let bench: Bench<Vioscsi, Hba> = machine.find().expect("the driver takes the device");
    bench.start().expect("the device starts");
    bench.settle();
    bench
}

/// The data of a block's instance, or the output of a method.
fn data(answer: &Completed) -> &[u8] {
    assert_eq!(answer.completion.status, SrbStatus::SUCCESS);
    request::data(&answer.data[..answer.data_transfer_length as usize])
}

fn query(bench: &HbaBench, guid: &[u8; 16]) -> Completed {
    bench.execute(Request::single_instance(guid).into_srb(8192))
}

fn method(bench: &HbaBench, number: u32, input: &[u8]) -> Completed {
    bench.execute(Request::method(&PORT_METHODS, number, input).into_srb(1024))
}

/// How a request ended, in words.
fn ending(completed: &Completed) -> String {
    format!(
        "SRB status {:02x}, {} bytes",
        completed.completion.srb_status_byte(),
        completed.data_transfer_length
    )
}

fn tell(text: &mut String, bench: &HbaBench, title: &str, request: Request, read: fn(&[u8]) -> String) {
    let answer = bench.execute(request.into_srb(8192));
    let _ = writeln!(text, "\n{title}\n  ends    {}", ending(&answer));
    for line in read(&answer.data[..answer.data_transfer_length as usize]).lines() {
        let _ = writeln!(text, "  says    {line}");
    }
}

#[test]
fn an_adapter_says_what_it_said() {
    let bench = running_at(0x0003, 0x25);
    let mut text = String::from("vioscsi on a virtio-scsi device at PCI 0000:03:05.1, with one queue\n");
    bench.device.trace();

    tell(&mut text, &bench, "IRP_MN_REGINFO_EX", Request::registration(), decode::registration);
    for (name, guid, read) in [
        (
            "VioScsiExtendedInfoGuid",
            EXTENDED_INFORMATION,
            decode::extended_information as fn(&[u8]) -> String,
        ),
        ("MS_SM_AdapterInformationQuery", ADAPTER_INFORMATION, adapter_information),
        ("MS_SM_PortInformationMethods", PORT_METHODS, decode::no_data),
    ] {
        tell(
            &mut text,
            &bench,
            &format!("IRP_MN_QUERY_ALL_DATA {name}"),
            Request::all_data(&guid),
            decode::head,
        );
        let title = format!("IRP_MN_QUERY_SINGLE_INSTANCE {name}");
        tell(&mut text, &bench, &title, Request::single_instance(&guid), read);
    }
    let name = port_attributes(data(&method(&bench, 2, &[0, 0, 0, 0, 28, 0, 0, 0]))).name.expect("the port");
    for (title, number, input, read) in METHODS.iter().flat_map(|method| method.examples(&name)) {
        tell(&mut text, &bench, &title, Request::method(&PORT_METHODS, number, &input), read);
    }

    assert!(bench.device.take_trace().is_empty(), "the device is not asked");
    compare("hba.txt", &text);
}

fn compare(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wmi").join(name);
    if env::var_os("UPDATE_TRANSCRIPTS").is_some() {
        fs::write(&path, text).expect("the transcript can be written");
    }
    let kept = fs::read_to_string(&path).unwrap_or_default().replace("\r\n", "\n");
    for (number, (kept, now)) in (1..).zip(kept.lines().zip(text.lines())) {
        assert_eq!(kept, now, "{name}, line {number} (UPDATE_TRANSCRIPTS=1 writes it anew)");
    }
    assert_eq!(kept.lines().count(), text.lines().count(), "{name} has another number of lines");
}

#[test]
fn two_adapters_differ_in_their_ids_and_each_keeps_its_own_over_restarts_and_boots() {
    let names = |bench: &HbaBench| {
        let port = port_attributes(data(&method(bench, 2, &[0, 0, 0, 0, 28, 0, 0, 0])));
        (adapter_name(data(&query(bench, &ADAPTER_INFORMATION))), port.name.expect("the port has a name"))
    };
    // Two functions of a slot, two slots, two buses, two segments.
    let places = [(3, 0x05), (3, 0x25), (3, 0x06), (4, 0x05), (0x0103, 0x05)];
    let adapters = places.map(|(bus, slot)| running_at(bus, slot));

    let first = adapters.each_ref().map(names);
    for adapter in &adapters {
        adapter.adapter.stop();
        assert!(adapter.adapter.restart());
        adapter.settle();
    }
    let after_restart = adapters.each_ref().map(names);
    let after_boot = places.map(|(bus, slot)| names(&running_at(bus, slot)));

    assert_eq!(first, after_restart);
    assert_eq!(first, after_boot);
    for (index, (adapter, port)) in first.iter().enumerate() {
        // NAA 3h: locally assigned.
        assert_eq!((adapter >> 60, port[0] >> 4), (3, 3));
        assert_ne!(adapter.to_be_bytes(), *port);
        for (other, other_port) in &first[index + 1..] {
            assert!(adapter != other && port != other_port, "{adapter:x} {other:x}");
        }
    }
}

#[test]
fn the_port_is_down_when_the_device_is_gone() {
    let bench = bench();
    let state = |bench: &HbaBench| port_attributes(data(&method(bench, 2, &[0, 0, 0, 0, 28, 0, 0, 0]))).state;
    let before = state(&bench);

    bench.unplug();

    // HBA_PORTSTATE_ONLINE, HBA_PORTSTATE_LINKDOWN
    assert_eq!((before, state(&bench)), (2, 6));
}

#[test]
fn the_setup_is_that_of_the_adapter() {
    let mut hba = hba();
    hba.request_queues = 4;
    let bench: HbaBench = Bench::running_on(4, hba, Options::default());

    let setup = query(&bench, &EXTENDED_INFORMATION);

    let said = data(&setup);
    assert_eq!(u32::from_le_bytes(said[..4].try_into().unwrap()), bench.configuration.max_requests_per_lun);
    assert_eq!(u16::from(said[4]), bench.queues());
    // DpcRedirection, ConcurrentChannels, InterruptMsgRanges
    assert_eq!(said[7..10], [1, 1, 1]);
    let breaks = u32::from_le_bytes(said[12..16].try_into().unwrap());
    assert_eq!(breaks + 1, bench.configuration.max_segments);
}

#[test]
fn a_disk_adapter_and_logical_units_have_nothing_to_tell() {
    let (disk, hba) = (DiskBench::with_disk(Disk::new(64)), bench());
    for operation in Operation::ALL {
        let mut asked = Request::of(Operation(operation), &ADAPTER_INFORMATION);
        asked.buffer.fill(0xee);

        let of_disk = disk.execute(asked.into_srb(72));
        // What is for a unit comes as a function that nobody has.
        let of_unit = hba.execute(SrbBuilder::function(SrbFunction::Other(0x17)).with_data_in(64));

        assert_eq!(of_disk.completion.status, SrbStatus::INVALID_REQUEST, "{operation:?}");
        assert_eq!((of_disk.data_transfer_length, of_disk.data), (0, vec![0xee; 72]), "{operation:?}");
        assert_eq!(of_unit.completion.status, SrbStatus::INVALID_REQUEST);
    }
}

/// Fields at their limits and beyond, in buffers of every length: nothing is written but what is said to be there, and the adapter
/// goes on.
#[test]
fn no_request_makes_anything_be_written_that_is_not_told() {
    let bench = bench();
    let mut random = Random::for_run("wmi", 12);
    let blocks = [EXTENDED_INFORMATION, ADAPTER_INFORMATION, PORT_METHODS];
    for _ in 0..if cfg!(miri) { 50 } else { 20_000 } {
        let most = if random.once_in(4) { 7000 } else { 700 };
        let length = random.below(most) as usize;
        let mut buffer = vec![0; length];
        buffer.iter_mut().for_each(|byte| *byte = random.next() as u8);
        let values = [0, 0x80, 1, 8, 64, 72, 28, u32::MAX, u32::MAX - 71, length as u32];
        for at in (0..96).step_by(4) {
            let value = values[random.below(values.len() as u64) as usize];
            if let Some(place) = buffer.get_mut(at..at + 4).filter(|_| !random.once_in(8)) {
                place.copy_from_slice(&value.to_le_bytes());
            }
        }
        let operation = Operation(Operation::ALL[random.below(Operation::ALL.len() as u64) as usize]);
        let guid = &blocks[random.below(3) as usize];
        let before = buffer.clone();

        let answer = bench.execute(Request { operation, guid: *guid, buffer }.into_srb(length));

        let told = answer.data_transfer_length as usize;
        assert_eq!(answer.data[told..], before[told..], "{operation:?} {:?}", answer.completion);
    }
    let after = query(&bench, &ADAPTER_INFORMATION);
    assert_eq!(after.completion.status, SrbStatus::SUCCESS);
}
