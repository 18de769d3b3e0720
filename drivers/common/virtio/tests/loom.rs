//! Driver and device side of the split ring in every interleaving and with every value that the memory model allows.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test --release -p virtio --test loom`. Only the words on which the two sides
//! meet are loom's (indices, event words, flags, one header word, one response byte); the rest of the memory is plain and
//! always up to date, so that what a test finds is due to those.
//!
//! Each fence and each ordering has a test that takes it away and must fail: the proof that the others can.
#![cfg(loom)]
#![expect(unsafe_code, reason = "the memory of a model has to say that it is shared memory")]

use std::sync::Mutex;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU8, AtomicU16, AtomicU64, Ordering, fence};
use loom::thread;
use virtio::memory::{Segment, SharedMemory};
use virtio::queue::{Direction, Layout, Notify, RequestQueue, Shape, Slot, need_event};

const SIZE: u16 = 4;
const SHAPE: Shape = Shape {
    header_bytes: 8,
    response_bytes: 1,
    response_before_data_in: false,
    inline_segments: 1,
    used_length_counts_data_out: false,
};

/// Where the parts of a queue of four entries lie; `Model::new` checks it against the queue's own areas.
const AVAILABLE: usize = 64;
const AVAILABLE_INDEX: usize = AVAILABLE + 2;
const USED_EVENT: usize = AVAILABLE + 4 + 2 * 4;
const USED: usize = 80;
const USED_INDEX: usize = USED + 2;
const AVAIL_EVENT: usize = USED + 4 + 8 * 4;
const HEADER: usize = 128;
const RESPONSE: usize = 160;

/// What is taken away to see whether it is missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Without {
    Nothing,
    Fences,
    Release,
    Acquire,
}

struct Words {
    plain: Mutex<Vec<u8>>,
    sixteen: [(usize, AtomicU16); 6],
    header: AtomicU64,
    response: AtomicU8,
}

#[derive(Clone)]
struct Memory {
    words: Arc<Words>,
    without: Without,
}

impl Memory {
    fn new(bytes: usize, without: Without) -> Self {
        let at = [AVAILABLE, AVAILABLE_INDEX, USED_EVENT, USED, USED_INDEX, AVAIL_EVENT];
        let words = Words {
            plain: Mutex::new(vec![0; bytes]),
            sixteen: at.map(|offset| (offset, AtomicU16::new(0))),
            header: AtomicU64::new(0),
            response: AtomicU8::new(0),
        };
        Self { words: Arc::new(words), without }
    }

    /// The device's view: nothing is taken away from the device.
    fn of_device(&self) -> Self {
        Self { words: Arc::clone(&self.words), without: Without::Nothing }
    }

    fn word(&self, offset: usize) -> Option<&AtomicU16> {
        self.words.sixteen.iter().find(|(at, _)| *at == offset).map(|(_, word)| word)
    }

    fn load_order(&self, order: Ordering) -> Ordering {
        if self.without == Without::Acquire { Ordering::Relaxed } else { order }
    }

    fn store_order(&self, order: Ordering) -> Ordering {
        if self.without == Without::Release { Ordering::Relaxed } else { order }
    }

    fn plain<const N: usize>(&self, offset: usize) -> [u8; N] {
        let bytes = self.words.plain.lock().expect("no test panics while it holds the memory");
        bytes[offset..offset + N].try_into().expect("as many bytes as asked for")
    }

    fn set_plain(&self, offset: usize, value: &[u8]) {
        let mut bytes = self.words.plain.lock().expect("no test panics while it holds the memory");
        bytes[offset..offset + value.len()].copy_from_slice(value);
    }
}

// SAFETY: there is no device; what plays it goes through the same words.
unsafe impl SharedMemory for Memory {
    fn len(&self) -> usize {
        self.words.plain.lock().expect("no test panics while it holds the memory").len()
    }

    fn device_address(&self) -> u64 {
        0
    }

    fn load8(&self, offset: usize, order: Ordering) -> u8 {
        if offset == RESPONSE {
            self.words.response.load(self.load_order(order))
        } else {
            self.plain::<1>(offset)[0]
        }
    }

    fn load16(&self, offset: usize, order: Ordering) -> u16 {
        match self.word(offset) {
            Some(word) => word.load(self.load_order(order)),
            None => u16::from_le_bytes(self.plain(offset)),
        }
    }

    fn load32(&self, offset: usize, _order: Ordering) -> u32 {
        u32::from_le_bytes(self.plain(offset))
    }

    fn load64(&self, offset: usize, order: Ordering) -> u64 {
        if offset == HEADER {
            self.words.header.load(self.load_order(order))
        } else {
            u64::from_le_bytes(self.plain(offset))
        }
    }

    fn store8(&self, offset: usize, value: u8, order: Ordering) {
        if offset == RESPONSE {
            self.words.response.store(value, self.store_order(order));
        } else {
            self.set_plain(offset, &[value]);
        }
    }

    fn store16(&self, offset: usize, value: u16, order: Ordering) {
        match self.word(offset) {
            Some(word) => word.store(value, self.store_order(order)),
            None => self.set_plain(offset, &value.to_le_bytes()),
        }
    }

    fn store32(&self, offset: usize, value: u32, _order: Ordering) {
        self.set_plain(offset, &value.to_le_bytes());
    }

    fn store64(&self, offset: usize, value: u64, order: Ordering) {
        if offset == HEADER {
            self.words.header.store(value, self.store_order(order));
        } else {
            self.set_plain(offset, &value.to_le_bytes());
        }
    }

    fn fence(&self, order: Ordering) {
        if self.without != Without::Fences {
            fence(order);
        }
    }
}

type Queue = RequestQueue<Memory, u8, Vec<Slot<u8>>>;

fn model(event_idx: bool, without: Without) -> (Queue, Memory) {
    let layout = Layout::new(SIZE, &SHAPE, 1, 0).expect("four entries hold one segment");
    let memory = Memory::new(layout.shared_bytes(), without);
    let device = memory.of_device();
    let slots = (0..layout.slots()).map(|_| Slot::default()).collect();
    let queue = Queue::new(memory, layout, slots, event_idx).expect("memory and slots are enough");
    let areas = queue.areas();
    assert_eq!((areas.driver_area, areas.device_area), (AVAILABLE as u64, USED as u64));
    (queue, device)
}

fn submit(queue: &mut Queue, header: u64) -> Notify {
    let no_data = core::iter::empty::<Segment>();
    queue.submit(1, &header.to_le_bytes(), Direction::None, no_data).expect("there is a free slot");
    queue.publish()
}

/// The device uses the request in slot 0 as its used entry number `old`, and says whether it interrupts.
fn complete(device: &Memory, old: u16, event_idx: bool) -> bool {
    let entry = USED + 4 + 8 * usize::from(old % SIZE);
    device.store32(entry, 0, Ordering::Relaxed);
    device.store32(entry + 4, 1, Ordering::Relaxed);
    device.store8(RESPONSE, 7, Ordering::Relaxed);
    device.store16(USED_INDEX, old + 1, Ordering::Release);
    device.fence(Ordering::SeqCst);
    if event_idx {
        need_event(device.load16(USED_EVENT, Ordering::Relaxed), old + 1, old)
    } else {
        device.load16(AVAILABLE, Ordering::Relaxed) == 0
    }
}

/// The driver publishes while the device asks for notifications and looks a last time before it sleeps.
fn publish_against_sleep(event_idx: bool, without: Without) {
    loom::model(move || {
        let (mut queue, device) = model(event_idx, without);
        // The device has been busy and wanted to hear nothing.
        if event_idx {
            device.store16(AVAIL_EVENT, 0x8000, Ordering::Relaxed);
        } else {
            device.store16(USED, 1, Ordering::Relaxed);
        }
        let driver = thread::spawn(move || submit(&mut queue, 7) == Notify::Device);

        if event_idx {
            device.store16(AVAIL_EVENT, 0, Ordering::Relaxed);
        } else {
            device.store16(USED, 0, Ordering::Relaxed);
        }
        device.fence(Ordering::SeqCst);
        let seen = device.load16(AVAILABLE_INDEX, Ordering::Acquire) == 1;

        let notified = driver.join().expect("the driver does not panic");
        assert!(seen || notified, "both sides sleep with a request in the ring");
    });
}

/// The driver asks for interrupts and looks a last time while the device uses a buffer.
fn rearm_against_use(event_idx: bool, without: Without) {
    loom::model(move || {
        let (mut queue, device) = model(event_idx, without);
        // One request has come and gone, and its drain has not asked for interrupts yet.
        let _ = submit(&mut queue, 7);
        complete(&device, 0, event_idx);
        queue.disable_interrupts();
        queue.pop_used().expect("the device is honest").expect("it used the buffer").take();
        let _ = submit(&mut queue, 7);

        let driver = thread::spawn(move || queue.enable_interrupts());
        let interrupted = complete(&device, 1, event_idx);

        let more = driver.join().expect("the driver does not panic");
        assert!(more || interrupted, "a used buffer is announced by nobody");
    });
}

/// Whoever sees an index sees what it covers.
fn contents(without: Without) {
    loom::model(move || {
        let (mut queue, device) = model(true, without);
        let driver = thread::spawn(move || {
            let _ = submit(&mut queue, 0x1122);
            let Ok(Some(used)) = queue.pop_used() else {
                return None;
            };
            let mut response = [0];
            used.read_response(0, &mut response);
            used.take();
            Some(response[0])
        });

        if device.load16(AVAILABLE_INDEX, Ordering::Acquire) == 1 {
            assert_eq!(device.load64(HEADER, Ordering::Relaxed), 0x1122, "the device sees an old header");
            complete(&device, 0, true);
        }

        if let Some(response) = driver.join().expect("the driver does not panic") {
            assert_eq!(response, 7, "the driver sees an old response");
        }
    });
}

#[test]
fn a_published_request_is_seen_or_announced() {
    publish_against_sleep(true, Without::Nothing);
    publish_against_sleep(false, Without::Nothing);
}

#[test]
#[should_panic(expected = "both sides sleep")]
fn without_the_fence_in_publish_both_sides_sleep() {
    publish_against_sleep(true, Without::Fences);
}

#[test]
#[should_panic(expected = "both sides sleep")]
fn without_the_fence_in_publish_both_sides_sleep_with_flags_too() {
    publish_against_sleep(false, Without::Fences);
}

#[test]
fn a_used_buffer_is_found_or_announced() {
    rearm_against_use(true, Without::Nothing);
    rearm_against_use(false, Without::Nothing);
}

#[test]
#[should_panic(expected = "announced by nobody")]
fn without_the_fence_in_the_re_arm_a_used_buffer_is_lost() {
    rearm_against_use(true, Without::Fences);
}

#[test]
#[should_panic(expected = "announced by nobody")]
fn without_the_fence_in_the_re_arm_a_used_buffer_is_lost_with_flags_too() {
    rearm_against_use(false, Without::Fences);
}

#[test]
fn an_index_covers_what_was_written_before_it() {
    contents(Without::Nothing);
}

#[test]
#[should_panic(expected = "an old header")]
fn without_release_in_publish_the_device_sees_an_old_header() {
    contents(Without::Release);
}

#[test]
#[should_panic(expected = "an old response")]
fn without_acquire_in_pop_used_the_driver_sees_an_old_response() {
    contents(Without::Acquire);
}
