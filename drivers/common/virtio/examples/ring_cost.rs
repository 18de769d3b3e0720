//! What one request costs in the ring, in instructions, counted by callgrind inside the two functions named `measured_…`:
//!
//! ```sh
//! cargo build --release -p virtio --example ring_cost --features fake
//! valgrind --tool=callgrind --callgrind-out-file=/dev/null --collect-atstart=no \
//!     --toggle-collect=ring_cost::measured_submit target/release/examples/ring_cost 64 32
//! ```
//!
//! "Collected" divided by the requests is the cost of one. `ring_cost ROUNDS BATCH`: in each round a batch of reads of one data segment is submitted, one publish each, then the
//! device side (not measured) uses all of them, then they are drained.

use std::hint::black_box;
use std::sync::atomic::Ordering;

use virtio::fake::Ram;
use virtio::memory::{Region, Segment, SharedMemory};
use virtio::queue::{Direction, Layout, Notify, RequestQueue, Shape, Slot};

const SIZE: u16 = 256;

/// virtio-blk's.
const SHAPE: Shape = Shape {
    header_bytes: 16,
    response_bytes: 1,
    response_before_data_in: false,
    inline_segments: 2,
    used_length_counts_data_out: true,
};

type Queue = RequestQueue<Region, u64, Vec<Slot<u64>>>;

#[inline(never)]
fn measured_submit(queue: &mut Queue, token: u64, header: &[u8; 16], segment: Segment) -> bool {
    let segments = core::iter::once(segment);
    let taken = queue.submit(token, header, Direction::FromDevice, segments).is_ok();
    taken && queue.publish() == Notify::Device
}

#[inline(never)]
fn measured_drain(queue: &mut Queue, sum: &mut u64) -> bool {
    queue.disable_interrupts();
    while let Ok(Some(used)) = queue.pop_used() {
        let mut status = [0];
        used.read_response(0, &mut status);
        *sum = sum.wrapping_add(used.take().unwrap_or(0)).wrapping_add(u64::from(status[0]));
    }
    queue.enable_interrupts()
}

/// The device's side of the split ring: uses everything that is available, in order.
struct Device {
    view: Region,
    available: usize,
    used: usize,
    index: u16,
}

impl Device {
    fn serve(&mut self) {
        let available = self.view.load16(self.available + 2, Ordering::Acquire);
        while self.index != available {
            let place = usize::from(self.index % SIZE);
            let id = self.view.load16(self.available + 4 + 2 * place, Ordering::Relaxed);
            let entry = self.used + 4 + 8 * place;
            self.view.store32(entry, u32::from(id), Ordering::Relaxed);
            self.view.store32(entry + 4, 4097, Ordering::Relaxed);
            self.index = self.index.wrapping_add(1);
        }
        self.view.store16(self.used + 2, self.index, Ordering::Release);
        // Wants to be told of the next request: the worst case for the driver's check.
        self.view.store16(self.used + 4 + 8 * usize::from(SIZE), self.index, Ordering::Relaxed);
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|word| word.parse::<u64>().expect("a number"));
    let rounds = arguments.next().unwrap_or(16);
    let batch = arguments.next().unwrap_or(32);

    let layout = Layout::new(SIZE, &SHAPE, 254, 64).expect("the layout is possible");
    let ram = Ram::new(1 << 20);
    let memory = ram.alloc(layout.shared_bytes(), 4096);
    let base = memory.device_address();
    let view = memory.view(0, layout.shared_bytes()).expect("the view is the whole");
    let slots = (0..layout.slots()).map(|_| Slot::default()).collect();
    let mut queue =
        Queue::new(memory, layout, slots, true).expect("memory and slots are as many as asked for");
    let areas = queue.areas();
    let mut device = Device {
        view,
        available: (areas.driver_area - base) as usize,
        used: (areas.device_area - base) as usize,
        index: 0,
    };

    let header = black_box([7; 16]);
    let (mut sum, mut doorbells) = (0, 0_u64);
    for _ in 0..rounds {
        for token in 0..batch {
            let segment = black_box(Segment { address: 0x10_0000 + token * 4096, length: 4096 });
            doorbells += u64::from(measured_submit(&mut queue, token, &header, segment));
        }
        device.serve();
        assert!(!measured_drain(&mut queue, &mut sum), "everything was drained");
        assert_eq!(queue.in_flight(), 0);
    }
    assert_eq!(doorbells, rounds, "one doorbell for each burst against a device that sleeps");
    println!("requests={}", rounds * batch);
    black_box(sum);
}
