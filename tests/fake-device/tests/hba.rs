//! The host bus adapter's control and event queue (5.6.6.2, 5.6.6.3), before the queues of the virtio crate.

use fake_device::hba::{Hba, Obedience, Unit};
use fake_device::{FakeBar, FakeDevice, Options, Ram, Violation};
use virtio::memory::Region;
use virtio::queue::{
    AnyRing, Direction, EventLayout, EventQueue, Format, Layout, NoData, Notify, QueueAreas, QueueOptions,
    RequestQueue, RingFormat, Slot,
};
use virtio::spec::Features;
use virtio::spec::scsi::{
    CmdRequest, CmdResponse, Event, EventType, Lun, Response, TaskManagement, TaskManagementRequest,
    transport_reset,
};
use virtio::transport::{Device, Doorbell};
use zerocopy::FromBytes;
use zerocopy::byteorder::little_endian::{U32, U64};

const SIZE: u16 = 16;
const BUFFERS: u16 = 2;
const RINGS: [Features; 2] = [Features::VERSION_1, Features::VERSION_1.union(Features::RING_PACKED)];
const HOT_PLUG: Features = Features::SCSI_HOTPLUG.union(Features::SCSI_CHANGE);

struct Task;

impl Format for Task {
    type Header = TaskManagementRequest;
    const RESPONSE_BYTES: u16 = 1;
    const RESPONSE_BEFORE_DATA_IN: bool = false;
    const INLINE_SEGMENTS: u16 = 1;
}

struct Command;

impl Format for Command {
    type Header = CmdRequest;
    const RESPONSE_BYTES: u16 = size_of::<CmdResponse>() as u16;
    const RESPONSE_BEFORE_DATA_IN: bool = true;
    const INLINE_SEGMENTS: u16 = 1;
}

type Requests<F> = RequestQueue<F, AnyRing<Region>, u64, Vec<Slot<u64>>>;

/// What the code of a response is, and at which offset.
trait Answered: Format {
    const CODE: usize;
}

impl Answered for Task {
    const CODE: usize = 0;
}

impl Answered for Command {
    const CODE: usize = 11;
}

/// Takes what is used: the tag of each, and the response.
fn drain<F: Answered>(queue: &mut Requests<F>) -> Vec<(u64, Response)> {
    let mut done = Vec::new();
    while let Some(used) = queue.pop_used().expect("the device is honest") {
        let [code] = used.response().read(F::CODE);
        done.push((used.take(), Response(code)));
    }
    done
}

/// Units 0 and 1 on target 0, and unit 0 on target 1.
struct Bench {
    device: FakeDevice<Hba>,
    transport: Device<FakeBar<Hba>>,
    control: Requests<Task>,
    events: EventQueue<AnyRing<Region>>,
    requests: Requests<Command>,
    doorbells: [Doorbell; 3],
}

impl Bench {
    fn new(ring: Features) -> Self {
        Self::with(ring, |_| ())
    }

    fn with(features: Features, change: impl FnOnce(&mut Hba)) -> Self {
        let ram = Ram::new(1 << 18);
        let unit = || Unit::disk(8, 512);
        let mut hba = Hba::default().with(0, 0, unit()).with(0, 1, unit()).with(1, 0, unit());
        change(&mut hba);
        let options = Options { features, queue_size: SIZE, ..Options::default() };
        let device = FakeDevice::new(hba, &ram, options);
        let transport =
            Device::open(&device.config_space(), |bar| device.bar(bar)).expect("the fake is whole");
        let packed = features.contains(Features::RING_PACKED);
        let ring = if packed { RingFormat::Packed } else { RingFormat::Split };
        let layout = EventLayout::new(ring, SIZE, BUFFERS, 16).expect("the numbers are possible");
        let memory = ram.alloc(layout.shared_bytes(), layout.alignment());
        let events = EventQueue::new(memory, layout, features).expect("memory is as the layout says");
        let (control, requests) = (queue(&ram, ring, features), queue(&ram, ring, features));
        let areas = [control.areas(), events.areas(), requests.areas()];
        let doorbells = start(&transport, &areas);
        let mut bench = Self { device, transport, control, events, requests, doorbells };
        bench.publish();
        bench
    }

    /// Shows the device all that is new, and lets it run.
    fn publish(&mut self) {
        let told = [self.control.publish(), self.events.publish(), self.requests.publish()];
        for (told, doorbell) in told.into_iter().zip(&self.doorbells) {
            if let Notify::Device { next } = told {
                self.transport.notify(doorbell, next);
            }
        }
        self.device.run();
    }

    /// Has the device hold commands with tags from 1 on, for each of the places.
    fn hold_commands(&mut self, places: &[(u8, u16)]) {
        self.device.hold();
        for (tag, &(target, lun)) in (1..).zip(places) {
            let command =
                CmdRequest { tag: U64::new(tag), ..CmdRequest::new(Lun::new(target, lun), &[0; 6]) };
            self.requests.submit(tag, &command, Direction::None, NoData).expect("the ring is empty");
        }
        self.publish();
    }

    fn ask(&mut self, function: TaskManagement, (target, lun): (u8, u16), tag: u64) {
        let task = TaskManagementRequest::new(function, Lun::new(target, lun), tag);
        self.control.submit(99, &task, Direction::None, NoData).expect("the ring is empty");
        self.publish();
    }

    /// What the device answers while it holds everything else.
    fn answer(&mut self) -> Option<Response> {
        self.device.release(1);
        drain(&mut self.control).pop().map(|(_, response)| response)
    }

    /// Takes every event: kind, address and reason.
    fn told(&mut self) -> Vec<(u32, [u8; 8], u32)> {
        let mut told = Vec::new();
        while let Some(event) = self.events.pop_event::<16>().expect("the device is honest") {
            let event = Event::read_from_bytes(&event).expect("an event has 16 bytes");
            told.push((event.kind.get(), event.lun.0, event.reason.get()));
        }
        told
    }
}

fn queue<F: Format>(ram: &Ram, ring: RingFormat, features: Features) -> Requests<F> {
    let options =
        QueueOptions { ring, size: SIZE, slots: SIZE, max_segments: 1, indirect: false, large_tables: 0 };
    let layout = Layout::new(options).expect("the numbers are possible");
    let mut slots = Vec::new();
    slots.resize_with(layout.slots(), Slot::default);
    let memory = ram.alloc(layout.shared_bytes(), layout.alignment());
    RequestQueue::new(memory, layout, slots, features).expect("memory and slots are as the layout says")
}

fn start(transport: &Device<FakeBar<Hba>>, areas: &[QueueAreas; 3]) -> [Doorbell; 3] {
    let acknowledged = transport.reset(&mut || ()).expect("the device can be reset");
    let offered = acknowledged.offered();
    let ready = acknowledged.negotiate(offered).expect("what is offered is accepted");
    ready.set_config_vector(Some(0)).expect("there is such a vector");
    for (number, areas) in (0..).zip(areas) {
        ready.enable_queue(number, SIZE, areas, Some(1)).expect("there is such a queue");
    }
    let doorbells =
        [0, 1, 2].map(|queue| ready.notifier(queue).expect("the queue has a notification address"));
    ready.driver_ok();
    doorbells
}

#[test]
fn a_function_ends_the_commands_that_are_meant_and_no_others_before_it_is_answered() {
    use TaskManagement as Function;
    let aborted: &[_] = &[(1, Response::ABORTED)];
    let all_aborted: &[_] = &[(1, Response::ABORTED), (2, Response::ABORTED)];
    let unit: &[_] = &[(1, Response::RESET), (2, Response::RESET)];
    let target: &[_] = &[(1, Response::RESET), (2, Response::RESET), (3, Response::RESET)];
    let table = [
        (Function::ABORT_TASK, aborted),
        (Function::ABORT_TASK_SET, all_aborted),
        (Function::CLEAR_TASK_SET, all_aborted),
        (Function::LOGICAL_UNIT_RESET, unit),
        (Function::I_T_NEXUS_RESET, target),
    ];
    for ((function, ended), ring) in table.into_iter().flat_map(|row| RINGS.map(|ring| (row, ring))) {
        let mut bench = Bench::new(ring);
        bench.hold_commands(&[(0, 0), (0, 0), (0, 1), (1, 0)]);
        bench.ask(function, (0, 0), 1);

        let answer = bench.answer();

        assert_eq!(answer, Some(Response::OK), "{function:?}");
        assert_eq!(drain(&mut bench.requests), ended, "{function:?}");
        bench.device.release_all();
        let rest: Vec<_> = (ended.len() as u64 + 1..=4).map(|tag| (tag, Response::OK)).collect();
        assert_eq!(drain(&mut bench.requests), rest, "{function:?}");
        bench.device.assert_no_violations();
    }
}

#[test]
fn a_function_ends_nothing_where_it_finds_nothing() {
    for ring in RINGS {
        let mut bench = Bench::new(ring);
        bench.hold_commands(&[(0, 0)]);

        // Another tag, and the same tag of another unit.
        for (place, tag) in [((0, 0), 2), ((0, 1), 1)] {
            bench.ask(TaskManagement::ABORT_TASK, place, tag);
            assert_eq!(bench.answer(), Some(Response::OK));
        }

        assert_eq!(drain(&mut bench.requests), []);
        bench.device.release_all();
        assert_eq!(drain(&mut bench.requests), [(1, Response::OK)]);
    }
}

#[test]
fn a_query_says_whether_there_is_a_command() {
    use TaskManagement as Function;
    let table = [
        (Function::QUERY_TASK, 1, Response::FUNCTION_SUCCEEDED),
        (Function::QUERY_TASK, 2, Response::OK),
        (Function::QUERY_TASK_SET, 0, Response::FUNCTION_SUCCEEDED),
    ];
    for (function, tag, expected) in table {
        let mut bench = Bench::new(RINGS[0]);
        bench.hold_commands(&[(0, 0)]);
        bench.ask(function, (0, 0), tag);

        assert_eq!(bench.answer(), Some(expected), "{function:?} of {tag}");

        bench.device.release_all();
        assert_eq!(drain(&mut bench.requests), [(1, Response::OK)]);
        bench.ask(function, (0, 0), tag);
        assert_eq!(drain(&mut bench.control), [(99, Response::OK)], "{function:?} of {tag}");
    }
}

#[test]
fn what_cannot_be_done_is_said() {
    let table = [
        (TaskManagement::LOGICAL_UNIT_RESET, (7, 0), Response::BAD_TARGET),
        (TaskManagement::LOGICAL_UNIT_RESET, (0, 7), Response::INCORRECT_LUN),
        (TaskManagement::ABORT_TASK, (0, 7), Response::INCORRECT_LUN),
        (TaskManagement::CLEAR_ACA, (0, 0), Response::FUNCTION_REJECTED),
        (TaskManagement(8), (0, 0), Response::FUNCTION_REJECTED),
    ];
    for (function, place, expected) in table {
        let mut bench = Bench::new(RINGS[0]);

        bench.ask(function, place, 0);

        assert_eq!(drain(&mut bench.control), [(99, expected)], "{function:?} of {place:?}");
        let asked = TaskManagementRequest::new(function, Lun::new(place.0, place.1), 0);
        bench.device.model(|hba| assert_eq!(hba.task_management(), [asked]));
        bench.device.assert_no_violations();
    }
}

#[test]
fn devices_are_slow_to_obey_or_do_not() {
    let (ok, reset) = ((1, Response::OK), (1, Response::RESET));
    let table = [
        (Obedience::Late, Some(Response::OK), vec![], vec![reset]),
        (Obedience::Waits, Some(Response::FUNCTION_SUCCEEDED), vec![ok], vec![]),
        (Obedience::Says(Response::FAILURE), Some(Response::FAILURE), vec![], vec![ok]),
        (Obedience::Silent, None, vec![], vec![ok]),
    ];
    for ((obedience, answer, before, after), ring) in
        table.into_iter().flat_map(|row| RINGS.map(|ring| (row.clone(), ring)))
    {
        let mut bench = Bench::with(ring, |hba| hba.obedience = obedience);
        bench.hold_commands(&[(0, 0)]);
        bench.ask(TaskManagement::LOGICAL_UNIT_RESET, (0, 0), 0);

        assert_eq!(bench.answer(), answer, "{obedience:?}");

        assert_eq!(drain(&mut bench.requests), before, "{obedience:?}");
        bench.device.release_all();
        assert_eq!(drain(&mut bench.requests), after, "{obedience:?}");
        assert_eq!(bench.device.kept(0), usize::from(answer.is_none()));
        bench.device.assert_no_violations();
    }
}

#[test]
fn a_function_that_the_device_does_not_know_ends_nothing() {
    let mut bench = Bench::with(RINGS[0], |hba| hba.functions = &[TaskManagement::LOGICAL_UNIT_RESET]);
    bench.hold_commands(&[(0, 0)]);
    bench.ask(TaskManagement::I_T_NEXUS_RESET, (0, 0), 0);

    assert_eq!(bench.answer(), Some(Response::FUNCTION_REJECTED));

    bench.device.release_all();
    assert_eq!(drain(&mut bench.requests), [(1, Response::OK)]);
}

#[test]
fn a_control_request_of_another_type_is_noticed() {
    let mut bench = Bench::new(RINGS[0]);
    let task = TaskManagementRequest {
        kind: U32::new(1),
        ..TaskManagementRequest::new(TaskManagement::ABORT_TASK, Lun::new(0, 0), 1)
    };
    bench.control.submit(99, &task, Direction::None, NoData).expect("the ring is empty");

    bench.publish();

    assert!(matches!(bench.device.violations()[..], [Violation::Request(_)]));
}

#[test]
fn units_that_come_go_and_change_are_told() {
    for ring in RINGS {
        let mut bench = Bench::with(ring, |hba| hba.features = HOT_PLUG);

        bench.device.plug(2, 300, Unit::disk(8, 512));
        bench.device.unplug(0, 1);
        let come_and_gone = bench.told();
        bench.publish();
        bench.device.change_unit(0, 0, (0x2a, 0x09), |unit| unit.content().resize(16 * 512, 0));
        let changed = bench.told();

        let kind = EventType::TRANSPORT_RESET.0;
        let come = (kind, Lun::new(2, 300).0, transport_reset::RESCAN);
        let gone = (kind, Lun::new(0, 1).0, transport_reset::REMOVED);
        assert_eq!(come_and_gone, [come, gone]);
        assert_eq!(changed, [(EventType::PARAM_CHANGE.0, Lun::new(0, 0).0, 0x092a)]);
        bench.device.assert_no_violations();
    }
}

#[test]
fn units_below_256_are_told_in_peripheral_addressing_where_the_device_does() {
    let mut bench = Bench::with(RINGS[0], |hba| (hba.features, hba.peripheral_event_luns) = (HOT_PLUG, true));

    bench.device.plug(2, 255, Unit::disk(8, 512));
    bench.device.plug(2, 256, Unit::disk(8, 512));

    let addresses: Vec<_> = bench.told().into_iter().map(|(_, address, _)| address).collect();
    assert_eq!(addresses, [[1, 2, 0, 255, 0, 0, 0, 0], [1, 2, 0x41, 0, 0, 0, 0, 0]]);
}

#[test]
fn without_its_feature_nothing_is_told() {
    let mut bench = Bench::new(RINGS[0]);

    bench.device.plug(2, 0, Unit::disk(8, 512));
    bench.device.change_unit(0, 0, (0x2a, 0x09), |_| ());

    assert_eq!(bench.told(), []);
    bench.device.model(|hba| assert_eq!(hba.unit(2, 0).content().len(), 8 * 512));
}

#[test]
fn an_event_that_finds_no_buffer_is_told_with_the_next_buffer() {
    for ring in RINGS {
        let mut bench = Bench::with(ring, |hba| hba.features = HOT_PLUG);
        for lun in 0..3 {
            bench.device.plug(2, lun, Unit::disk(8, 512));
        }
        assert_eq!(bench.told().len(), usize::from(BUFFERS));

        bench.publish();

        assert_eq!(bench.told(), [(EventType::MISSED, [0; 8], 0)]);
        bench.publish();
        bench.device.unplug(2, 0);
        let kind = EventType::TRANSPORT_RESET.0;
        assert_eq!(bench.told(), [(kind, Lun::new(2, 0).0, transport_reset::REMOVED)]);
        bench.device.assert_no_violations();
    }
}

#[test]
fn a_buffer_that_is_too_short_for_an_event_is_noticed() {
    let ram = Ram::new(1 << 18);
    let device = FakeDevice::new(
        Hba::default(),
        &ram,
        Options { features: RINGS[0], queue_size: SIZE, ..Options::default() },
    );
    let transport = Device::open(&device.config_space(), |bar| device.bar(bar)).expect("the fake is whole");
    let layout = EventLayout::new(RingFormat::Split, SIZE, 1, 15).expect("the numbers are possible");
    let memory = ram.alloc(layout.shared_bytes(), layout.alignment());
    let mut events =
        EventQueue::<AnyRing<Region>>::new(memory, layout, RINGS[0]).expect("memory is as the layout says");
    let ready = transport.reset(&mut || ()).expect("the device can be reset");
    let ready = ready.negotiate(RINGS[0]).expect("what is offered is accepted");
    ready.enable_queue(1, SIZE, &events.areas(), None).expect("there is such a queue");
    let doorbell = ready.notifier(1).expect("the queue has a notification address");
    ready.driver_ok();
    let Notify::Device { next } = events.publish() else { panic!("the device does not look by itself") };
    transport.notify(&doorbell, next);

    device.run();

    assert!(matches!(device.violations()[..], [Violation::Request(_)]), "{:?}", device.violations());
}
