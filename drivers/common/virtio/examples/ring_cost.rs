//! What one request costs in the ring, in instructions, counted by callgrind inside the functions named `measured_…`:
//! `./x bench virtio` does it and divides.
//!
//! `ring_cost RING ROUNDS BATCH`: RING is `split`, `packed`, or one of both chosen when the program runs, as the drivers
//! do it: `any-split`, `any-packed`; `-direct` behind it does without tables. In each round a batch of reads of one data
//! segment is submitted, one publish each, then the device side (not measured) uses all of them, then they are drained.

use std::hint::black_box;
use std::sync::atomic::Ordering;

use fake_device::Ram;
use virtio::memory::{Region, Segment, SharedMemory};
use virtio::queue::{
    AnyRing, Direction, Format, Layout, Notify, PackedRing, QueueOptions, RequestQueue, Ring, RingFormat,
    Slot, SplitRing,
};
use virtio::spec::Features;

const SIZE: u16 = 256;

/// virtio-blk's.
struct Blk;

impl Format for Blk {
    type Header = [u8; 16];
    const RESPONSE_BYTES: u16 = 1;
    const RESPONSE_BEFORE_DATA_IN: bool = false;
    const INLINE_SEGMENTS: u16 = 2;
}

type Queue<R> = RequestQueue<Blk, R, u64, Vec<Slot<u64>>>;

#[inline(never)]
fn measured_submit<R: Ring>(queue: &mut Queue<R>, token: u64, header: &[u8; 16], segment: Segment) -> bool {
    let taken = queue.submit(token, header, Direction::FromDevice, segment).is_ok();
    taken && queue.publish() != Notify::Suppressed
}

#[inline(never)]
fn measured_drain<R: Ring>(queue: &mut Queue<R>, sum: &mut u64) -> bool {
    queue.disable_interrupts();
    while let Ok(Some(used)) = queue.pop_used() {
        let mut status = [0];
        used.response().read_into(0, &mut status);
        *sum = sum.wrapping_add(used.take()).wrapping_add(u64::from(status[0]));
    }
    queue.enable_interrupts()
}

/// The device's side: uses everything that is available, in order.
struct Device {
    memory: Region,
    /// Where the areas begin in it.
    descriptors: usize,
    driver: usize,
    device: usize,
    packed: bool,
    /// Descriptors of a chain in the ring, when it is packed.
    chain: u16,
    /// Buffers used; of a packed ring, descriptors.
    used: u32,
}

impl Device {
    fn serve(&mut self) {
        if self.packed { self.serve_packed() } else { self.serve_split() }
    }

    fn serve_split(&mut self) {
        let available = self.memory.load16(self.driver + 2, Ordering::Acquire);
        while self.used as u16 != available {
            let place = self.used as usize % usize::from(SIZE);
            let id = self.memory.load16(self.driver + 4 + 2 * place, Ordering::Relaxed);
            let entry = self.device + 4 + 8 * place;
            self.memory.store32(entry, u32::from(id), Ordering::Relaxed);
            self.memory.store32(entry + 4, 4097, Ordering::Relaxed);
            self.used = self.used.wrapping_add(1);
        }
        self.memory.store16(self.device + 2, available, Ordering::Release);
        // Wants to be told of the next request: the worst case for the driver's check.
        self.memory.store16(self.device + 4 + 8 * usize::from(SIZE), available, Ordering::Relaxed);
    }

    fn serve_packed(&mut self) {
        loop {
            let at = self.descriptors + 16 * (self.used as usize % usize::from(SIZE)) + 8;
            let first_round = (self.used / u32::from(SIZE)).is_multiple_of(2);
            let word = self.memory.load64(at, Ordering::Acquire);
            let available = (word >> 48) & 0x8080 == if first_round { 0x80 } else { 0x8000 };
            if !available {
                break;
            }
            let flags = if first_round { 0x8082 } else { 0x0002 };
            let used = 4097 | word & 0xffff_0000_0000 | flags << 48;
            self.memory.store64(at, used, Ordering::Release);
            self.used += u32::from(self.chain);
        }
        let wrap = u32::from((self.used / u32::from(SIZE)).is_multiple_of(2)) << 15;
        let offset = self.used % u32::from(SIZE);
        self.memory.store32(self.device, offset | wrap | 2 << 16, Ordering::Relaxed);
    }
}

fn run<R: Ring<Memory = Region>>(options: QueueOptions, rounds: u64, batch: u64) {
    let layout = Layout::<Blk>::new(options).expect("the layout is possible");
    let ram = Ram::new(1 << 20);
    let memory = ram.alloc(layout.shared_bytes(), layout.alignment());
    let shared = memory.view(0, layout.shared_bytes()).expect("the view is the whole");
    let slots = (0..layout.slots()).map(|_| Slot::default()).collect();
    let mut queue = Queue::<R>::new(memory, layout, slots, Features::RING_EVENT_IDX)
        .expect("memory and slots are as many as asked for");
    let areas = queue.areas();
    let offset = |address| (address - shared.device_address()) as usize;
    let mut device = Device {
        descriptors: offset(areas.descriptor_area),
        driver: offset(areas.driver_area),
        device: offset(areas.device_area),
        memory: shared,
        packed: options.ring == RingFormat::Packed,
        chain: if options.indirect { 1 } else { 3 },
        used: 0,
    };
    device.serve();

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

fn main() {
    let mut arguments = std::env::args().skip(1);
    let ring = arguments.next().unwrap_or_else(|| "split".to_owned());
    let mut number = |default| arguments.next().map_or(default, |word| word.parse().expect("a number"));
    let (rounds, batch) = (number(16), number(32));
    run_named(&ring, rounds, batch);
}

fn run_named(ring: &str, rounds: u64, batch: u64) {
    let (name, indirect) = match ring.strip_suffix("-direct") {
        Some(name) => (name, false),
        None => (ring, true),
    };
    let format = if name.ends_with("packed") { RingFormat::Packed } else { RingFormat::Split };
    let options =
        QueueOptions { ring: format, size: SIZE, slots: SIZE, max_segments: 254, indirect, large_tables: 64 };
    match name {
        "split" => run::<SplitRing<Region>>(options, rounds, batch),
        "packed" => run::<PackedRing<Region>>(options, rounds, batch),
        "any-split" | "any-packed" => run::<AnyRing<Region>>(options, rounds, batch),
        _ => panic!("split, packed, any-split or any-packed, with or without -direct"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ring_can_be_measured() {
        for ring in ["split", "packed", "any-split", "any-packed"] {
            run_named(ring, 10, 32);
            run_named(&format!("{ring}-direct"), 10, 32);
        }
    }
}
