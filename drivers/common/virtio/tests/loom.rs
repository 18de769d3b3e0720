//! Driver and device side of both rings in every interleaving and with every value that the memory model allows.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test --release -p virtio --test loom`. Only the words on which the two sides
//! meet are loom's (indices, descriptors, event words, flags, one header word, one response byte); the rest of the memory is plain and
//! always up to date, so that what a test finds is due to those.
//!
//! Each fence and each ordering has a test that takes it away and must fail: the proof that the others can.
#![cfg(loom)]
#![expect(unsafe_code, reason = "the memory of a model has to say that it is shared memory")]

use std::sync::Mutex;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering, fence};
use loom::thread;
use virtio::memory::{Block, SharedMemory, Words};
use virtio::queue::{
    AnyRing, Direction, Format, Layout, NoData, Notify, Position, QueueOptions, RequestQueue, RingFormat,
    Slot, Ticket, WriteHeader, need_event,
};
use virtio::spec::Features;

const SIZE: u16 = 4;

struct Tiny;

impl Format for Tiny {
    type Header = [u8; 8];
    const RESPONSE_BYTES: u16 = 1;
    const RESPONSE_BEFORE_DATA_IN: bool = false;
    const INLINE_SEGMENTS: u16 = 1;
}

/// Where the parts of a queue of four entries lie; `model` checks it against the queue's own areas.
const DESCRIPTORS: usize = 0;
const DRIVER: usize = 64;
const DEVICE: usize = 128;
/// The used ring's entries begin a line.
const USED: usize = 192 - 4;

const fn slots(packed: bool) -> usize {
    if packed { 192 } else { 256 }
}

const fn header_at(packed: bool) -> usize {
    slots(packed) + 48
}

const fn response_at(packed: bool) -> usize {
    slots(packed) + 4 * 64
}

/// A split ring's words.
const AVAILABLE_FLAGS: usize = DRIVER;
const AVAILABLE_INDEX: usize = DRIVER + 2;
const USED_EVENT: usize = DRIVER + 4 + 2 * 4;
const USED_FLAGS: usize = USED;
const USED_INDEX: usize = USED + 2;
const AVAIL_EVENT: usize = USED + 4 + 8 * 4;

/// A packed ring's: length, id and flags of descriptor 0; that of the next one is 16 bytes on.
const DESCRIPTOR: usize = DESCRIPTORS + 8;
const FLAG_WRITE: u64 = 2 << 48;
const FLAG_AVAIL: u64 = 1 << (48 + 7);
const FLAG_USED: u64 = 1 << (48 + 15);
const EVENTS_DISABLE: u32 = 1 << 16;
const EVENTS_DESC: u32 = 2 << 16;
const FIRST_ROUND: u32 = 1 << 15;

const INDIRECT: Features = Features::VERSION_1.union(Features::RING_INDIRECT_DESC);
const SPLIT: Features = INDIRECT;
const SPLIT_EVENT_IDX: Features = INDIRECT.union(Features::RING_EVENT_IDX);
const PACKED: Features = INDIRECT.union(Features::RING_PACKED);
const PACKED_EVENT_IDX: Features = PACKED.union(Features::RING_EVENT_IDX);
const ALL: [Features; 4] = [SPLIT, SPLIT_EVENT_IDX, PACKED, PACKED_EVENT_IDX];

/// What is taken away to see whether it is missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Without {
    Nothing,
    Fences,
    Release,
    Acquire,
}

/// The words on which both sides meet, by place.
struct Meeting {
    plain: Mutex<Vec<u8>>,
    eight: Vec<(usize, AtomicU8)>,
    sixteen: Vec<(usize, AtomicU16)>,
    thirty_two: Vec<(usize, AtomicU32)>,
    sixty_four: Vec<(usize, AtomicU64)>,
}

#[derive(Clone)]
struct Memory {
    words: Arc<Meeting>,
    base: usize,
    bytes: usize,
    without: Without,
}

impl Memory {
    fn new(bytes: usize, packed: bool, without: Without) -> Self {
        let split = [AVAILABLE_FLAGS, AVAILABLE_INDEX, USED_EVENT, USED_FLAGS, USED_INDEX, AVAIL_EVENT];
        let sixteen: &[usize] = if packed { &[] } else { &split };
        let thirty_two: &[usize] = if packed { &[DRIVER, DEVICE] } else { &[] };
        let header = header_at(packed);
        let sixty_four: &[usize] = if packed { &[header, DESCRIPTOR, DESCRIPTOR + 16] } else { &[header] };
        let words = Meeting {
            plain: Mutex::new(vec![0; bytes]),
            eight: vec![(response_at(packed), AtomicU8::new(0))],
            sixteen: sixteen.iter().map(|at| (*at, AtomicU16::new(0))).collect(),
            thirty_two: thirty_two.iter().map(|at| (*at, AtomicU32::new(0))).collect(),
            sixty_four: sixty_four.iter().map(|at| (*at, AtomicU64::new(0))).collect(),
        };
        Self { words: Arc::new(words), base: 0, bytes, without }
    }

    /// The device's view: nothing is taken away from the device.
    fn of_device(&self) -> Self {
        Self { without: Without::Nothing, ..self.clone() }
    }

    fn part(&self, offset: usize, bytes: usize) -> Self {
        Self { base: self.base + offset, bytes, ..self.clone() }
    }

    fn load_order(&self, order: Ordering) -> Ordering {
        if self.without == Without::Acquire { Ordering::Relaxed } else { order }
    }

    fn store_order(&self, order: Ordering) -> Ordering {
        if self.without == Without::Release { Ordering::Relaxed } else { order }
    }

    fn plain<const N: usize>(&self, at: usize) -> [u8; N] {
        let bytes = self.words.plain.lock().expect("no test panics while it holds the memory");
        bytes[at..at + N].try_into().expect("as many bytes as asked for")
    }

    fn set_plain(&self, at: usize, value: &[u8]) {
        let mut bytes = self.words.plain.lock().expect("no test panics while it holds the memory");
        bytes[at..at + value.len()].copy_from_slice(value);
    }
}

macro_rules! access {
    ($load:ident, $store:ident, $type:ty, $words:ident) => {
        unsafe fn $load(self, offset: usize, order: Ordering) -> $type {
            let at = self.0.base + offset;
            match self.0.words.$words.iter().find(|(place, _)| *place == at) {
                Some((_, word)) => word.load(self.0.load_order(order)),
                None => <$type>::from_le_bytes(self.0.plain(at)),
            }
        }

        unsafe fn $store(self, offset: usize, value: $type, order: Ordering) {
            let at = self.0.base + offset;
            match self.0.words.$words.iter().find(|(place, _)| *place == at) {
                Some((_, word)) => word.store(value, self.0.store_order(order)),
                None => self.0.set_plain(at, &value.to_le_bytes()),
            }
        }
    };
}

/// Access to a memory's words.
#[derive(Clone, Copy)]
struct View<'a>(&'a Memory);

// SAFETY: only the model's words are accessed, and those with checks.
unsafe impl Words for View<'_> {
    access!(load8, store8, u8, eight);
    access!(load16, store16, u16, sixteen);
    access!(load32, store32, u32, thirty_two);
    access!(load64, store64, u64, sixty_four);
}

// SAFETY: there is no device; what plays it goes through the same words.
unsafe impl SharedMemory for Memory {
    type Words<'a> = View<'a>;

    fn words(&self) -> View<'_> {
        View(self)
    }

    fn len(&self) -> usize {
        self.bytes
    }

    fn limit(&self) -> usize {
        self.bytes.next_multiple_of(8)
    }

    fn device_address(&self) -> u64 {
        self.base as u64
    }

    fn split(&mut self, bytes: usize, align: usize) -> Option<Self> {
        let skip = self.base.next_multiple_of(align.max(16)) - self.base;
        let end = (skip + bytes).next_multiple_of(16);
        let rest = self.bytes.checked_sub(end)?;
        let front = self.part(skip, bytes);
        *self = self.part(end, rest);
        Some(front)
    }

    fn fence(&self, order: Ordering) {
        if self.without != Without::Fences {
            fence(order);
        }
    }
}

type Queue = RequestQueue<Tiny, AnyRing<Memory>, u8, Vec<Slot<u8>>>;

fn model(features: Features, without: Without) -> (Queue, Device) {
    let packed = features.contains(Features::RING_PACKED);
    let layout = Layout::new(QueueOptions {
        ring: if packed { RingFormat::Packed } else { RingFormat::Split },
        size: SIZE,
        slots: SIZE,
        max_segments: 1,
        indirect: true,
        large_tables: 0,
    })
    .expect("four entries hold one segment");
    let memory = Memory::new(layout.shared_bytes(), packed, without);
    let device = memory.of_device();
    let slots = (0..layout.slots()).map(|_| Slot::default()).collect();
    let queue = Queue::new(memory, layout, slots, features).expect("memory and slots are enough");
    let areas = queue.areas();
    let device_area = if packed { DEVICE } else { USED };
    assert_eq!((areas.driver_area, areas.device_area), (DRIVER as u64, device_area as u64));
    (queue, Device { memory: device, packed, event_idx: features.contains(Features::RING_EVENT_IDX) })
}

fn submit(queue: &mut Queue, header: u64) -> Notify {
    queue.submit(1, &header.to_le_bytes(), Direction::None, NoData).expect("there is a free slot");
    queue.publish()
}

/// The device's side, step by step.
struct Device {
    memory: Memory,
    packed: bool,
    event_idx: bool,
}

impl Device {
    /// Says that it is busy and wants to hear nothing.
    fn be_busy(&self) {
        match (self.packed, self.event_idx) {
            (false, false) => self.memory.store16(USED_FLAGS, 1, Ordering::Relaxed),
            (false, true) => self.memory.store16(AVAIL_EVENT, 0x8000, Ordering::Relaxed),
            (true, false) => self.memory.store32(DEVICE, EVENTS_DISABLE, Ordering::Relaxed),
            (true, true) => self.memory.store32(DEVICE, EVENTS_DESC | 3, Ordering::Relaxed),
        }
    }

    /// Asks to be told of the first request, and looks a last time whether it is there.
    fn go_to_sleep(&self) -> bool {
        match (self.packed, self.event_idx) {
            (false, false) => self.memory.store16(USED_FLAGS, 0, Ordering::Relaxed),
            (false, true) => self.memory.store16(AVAIL_EVENT, 0, Ordering::Relaxed),
            (true, false) => self.memory.store32(DEVICE, 0, Ordering::Relaxed),
            (true, true) => self.memory.store32(DEVICE, EVENTS_DESC | FIRST_ROUND, Ordering::Relaxed),
        }
        self.memory.fence(Ordering::SeqCst);
        self.sees_the_first_request()
    }

    fn sees_the_first_request(&self) -> bool {
        if self.packed {
            self.memory.load64(DESCRIPTOR, Ordering::Acquire) & FLAG_AVAIL != 0
        } else {
            self.memory.load16(AVAILABLE_INDEX, Ordering::Acquire) == 1
        }
    }

    /// Uses the request in slot 0 as the one number `old`, and says whether it interrupts.
    fn complete(&self, old: u16) -> bool {
        self.memory.store8(response_at(self.packed), 7, Ordering::Relaxed);
        if self.packed {
            let at = DESCRIPTOR + 16 * usize::from(old);
            self.memory.store64(at, FLAG_WRITE | FLAG_AVAIL | FLAG_USED | 1, Ordering::Release);
            self.memory.fence(Ordering::SeqCst);
            let events = self.memory.load32(DRIVER, Ordering::Relaxed);
            let here = Position::START.ahead(old, SIZE).word();
            return match events & !0xffff {
                0 => true,
                EVENTS_DESC => events as u16 == here,
                _ => false,
            };
        }
        let entry = USED + 4 + 8 * usize::from(old % SIZE);
        self.memory.store32(entry, 0, Ordering::Relaxed);
        self.memory.store32(entry + 4, 1, Ordering::Relaxed);
        self.memory.store16(USED_INDEX, old + 1, Ordering::Release);
        self.memory.fence(Ordering::SeqCst);
        if self.event_idx {
            need_event(self.memory.load16(USED_EVENT, Ordering::Relaxed), old + 1, old)
        } else {
            self.memory.load16(AVAILABLE_FLAGS, Ordering::Relaxed) == 0
        }
    }
}

/// How a request is given to the device.
type Give = fn(&mut Queue, u64) -> Notify;

/// [`RequestQueue::start`] does in one go what [`submit`] does in two.
fn start(queue: &mut Queue, header: u64) -> Notify {
    struct Word(u64);
    impl WriteHeader<u8> for Word {
        fn write(&self, _token: &u8, _ticket: Ticket, header: Block<impl Words>) -> Option<Direction> {
            header.store64(0, self.0);
            Some(Direction::None)
        }
    }
    queue.start(1, NoData, &Word(header)).expect("there is a free slot")
}

/// The driver publishes while the device asks for notifications and looks a last time before it sleeps.
fn publish_against_sleep(give: Give, features: Features, without: Without) {
    loom::model(move || {
        let (mut queue, device) = model(features, without);
        device.be_busy();
        let driver = thread::spawn(move || give(&mut queue, 7) != Notify::Suppressed);

        let seen = device.go_to_sleep();

        let notified = driver.join().expect("the driver does not panic");
        assert!(seen || notified, "both sides sleep with a request in the ring");
    });
}

/// The driver asks for interrupts and looks a last time while the device uses a buffer.
fn rearm_against_use(features: Features, without: Without) {
    loom::model(move || {
        let (mut queue, device) = model(features, without);
        // One request has come and gone, and its drain has not asked for interrupts yet.
        let _ = submit(&mut queue, 7);
        device.complete(0);
        queue.disable_interrupts();
        queue.pop_used().expect("the device is honest").expect("it used the buffer").take();
        let _ = submit(&mut queue, 7);

        let driver = thread::spawn(move || queue.enable_interrupts());
        let interrupted = device.complete(1);

        let more = driver.join().expect("the driver does not panic");
        assert!(more || interrupted, "a used buffer is announced by nobody");
    });
}

/// Whoever sees a request sees its header.
fn header(give: Give, features: Features, without: Without) {
    loom::model(move || {
        let (mut queue, device) = model(features, without);
        let driver = thread::spawn(move || give(&mut queue, 0x1122));

        if device.sees_the_first_request() {
            let header = device.memory.load64(header_at(device.packed), Ordering::Relaxed);
            assert_eq!(header, 0x1122, "the device sees an old header");
        }

        let _ = driver.join().expect("the driver does not panic");
    });
}

/// How a request's answer is taken.
type Take = fn(&mut Queue) -> Option<u8>;

fn pop(queue: &mut Queue) -> Option<u8> {
    let used = queue.pop_used().ok()??;
    let response = used.response().byte(0);
    used.take();
    Some(response)
}

fn drain(queue: &mut Queue) -> Option<u8> {
    let mut answer = None;
    queue.drain(2, |_, response| {
        answer = Some(response.byte(0));
        Ok(())
    });
    answer
}

/// Whoever sees an answered request sees its answer. The request is published beforehand: where the device looks at the
/// word that it then writes, as in a packed ring, loom does not try all orders of that with the driver's look.
fn response(take: Take, features: Features, without: Without) {
    loom::model(move || {
        let (mut queue, device) = model(features, without);
        let _ = submit(&mut queue, 7);
        let driver = thread::spawn(move || take(&mut queue));

        device.complete(0);

        if let Some(response) = driver.join().expect("the driver does not panic") {
            assert_eq!(response, 7, "the driver sees an old response");
        }
    });
}

/// The second request of a batch is behind the first, and as whole as it.
fn batch(features: Features, without: Without) {
    loom::model(move || {
        let (mut queue, device) = model(features, without);
        let driver = thread::spawn(move || {
            for header in [0x11_u64, 0x22] {
                queue
                    .submit(1, &header.to_le_bytes(), Direction::None, NoData)
                    .expect("there is a free slot");
            }
            let _ = queue.publish();
        });

        if device.memory.load64(DESCRIPTOR, Ordering::Acquire) & FLAG_AVAIL != 0 {
            let second = device.memory.load64(DESCRIPTOR + 16, Ordering::Relaxed);
            assert_ne!(second & FLAG_AVAIL, 0, "the device sees half a batch");
            assert_eq!(
                device.memory.load64(header_at(device.packed), Ordering::Relaxed),
                0x11,
                "the device sees an old header"
            );
        }

        driver.join().expect("the driver does not panic");
    });
}

#[test]
fn a_published_request_is_seen_or_announced() {
    for features in ALL {
        publish_against_sleep(submit, features, Without::Nothing);
        publish_against_sleep(start, features, Without::Nothing);
    }
}

#[test]
fn a_used_buffer_is_found_or_announced() {
    for features in ALL {
        rearm_against_use(features, Without::Nothing);
    }
}

#[test]
fn what_is_announced_covers_what_was_written_before_it() {
    for features in [SPLIT_EVENT_IDX, PACKED_EVENT_IDX] {
        header(submit, features, Without::Nothing);
        header(start, features, Without::Nothing);
        response(pop, features, Without::Nothing);
        response(drain, features, Without::Nothing);
    }
}

#[test]
fn a_batch_of_a_packed_ring_appears_at_once() {
    batch(PACKED, Without::Nothing);
}

/// What goes wrong when something is taken away, for each ring.
macro_rules! missed {
    ($($name:ident: $run:ident($($argument:expr),*) without $without:ident => $what:literal;)*) => {
        $(
            #[test]
            #[should_panic(expected = $what)]
            fn $name() {
                $run($($argument,)* Without::$without);
            }
        )*
    };
}

missed! {
    without_the_fence_in_publish_both_sides_sleep:
        publish_against_sleep(submit, SPLIT_EVENT_IDX) without Fences => "both sides sleep";
    without_the_fence_in_publish_both_sides_sleep_with_flags_too:
        publish_against_sleep(submit, SPLIT) without Fences => "both sides sleep";
    without_the_fence_in_publish_both_sides_of_a_packed_ring_sleep:
        publish_against_sleep(submit, PACKED_EVENT_IDX) without Fences => "both sides sleep";
    without_the_fence_in_publish_both_sides_of_a_packed_ring_sleep_with_flags_too:
        publish_against_sleep(submit, PACKED) without Fences => "both sides sleep";
    without_the_fence_in_the_re_arm_a_used_buffer_is_lost:
        rearm_against_use(SPLIT_EVENT_IDX) without Fences => "announced by nobody";
    without_the_fence_in_the_re_arm_a_used_buffer_is_lost_with_flags_too:
        rearm_against_use(SPLIT) without Fences => "announced by nobody";
    without_the_fence_in_the_re_arm_a_used_buffer_of_a_packed_ring_is_lost:
        rearm_against_use(PACKED_EVENT_IDX) without Fences => "announced by nobody";
    without_the_fence_in_the_re_arm_a_used_buffer_of_a_packed_ring_is_lost_with_flags_too:
        rearm_against_use(PACKED) without Fences => "announced by nobody";
    without_release_in_publish_the_device_sees_an_old_header:
        header(submit, SPLIT_EVENT_IDX) without Release => "an old header";
    without_release_in_publish_the_device_sees_an_old_header_through_a_packed_ring:
        header(submit, PACKED_EVENT_IDX) without Release => "an old header";
    without_acquire_in_pop_used_the_driver_sees_an_old_response:
        response(pop, SPLIT_EVENT_IDX) without Acquire => "an old response";
    without_acquire_in_pop_used_the_driver_sees_an_old_response_through_a_packed_ring:
        response(pop, PACKED_EVENT_IDX) without Acquire => "an old response";
    without_release_in_publish_the_device_sees_half_a_batch:
        batch(PACKED) without Release => "half a batch";
    without_the_fence_in_start_both_sides_sleep:
        publish_against_sleep(start, SPLIT_EVENT_IDX) without Fences => "both sides sleep";
    without_the_fence_in_start_both_sides_of_a_packed_ring_sleep:
        publish_against_sleep(start, PACKED_EVENT_IDX) without Fences => "both sides sleep";
    without_release_in_start_the_device_sees_an_old_header:
        header(start, SPLIT_EVENT_IDX) without Release => "an old header";
    without_release_in_start_the_device_sees_an_old_header_through_a_packed_ring:
        header(start, PACKED_EVENT_IDX) without Release => "an old header";
    without_acquire_in_drain_the_driver_sees_an_old_response:
        response(drain, SPLIT_EVENT_IDX) without Acquire => "an old response";
    without_acquire_in_drain_the_driver_sees_an_old_response_through_a_packed_ring:
        response(drain, PACKED_EVENT_IDX) without Acquire => "an old response";
}
