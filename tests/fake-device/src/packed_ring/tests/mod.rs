//! A queue, and the memory in which a test plays the driver.

mod lists;
mod suppression;
mod violations;

use super::place::{INDIRECT, NEXT, WRITE};
use super::*;
use crate::queue::Queue;

/// AVAIL and USED of a descriptor that is available, and of one that is used, while the wrap counter is 1.
const AVAILABLE: u16 = 0x0080;
const DONE: u16 = 0x8080;
/// The same while it is 0.
const AVAILABLE_0: u16 = 0x8000;
const DONE_0: u16 = 0x0000;

const SIZE: u16 = 4;
const INDIRECT_DESC: Features = Features::RING_PACKED.union(Features::RING_INDIRECT_DESC);
const EVENT_IDX: Features = INDIRECT_DESC.union(Features::RING_EVENT_IDX);

const ENABLE: u16 = 0;
const DISABLE: u16 = 1;
const DESC: u16 = 2;

/// A queue, and the memory in which a test plays the driver.
struct Bench {
    ram: Ram,
    queue: Queue,
    features: Features,
    ring: u64,
    driver: u64,
    device: u64,
    table: u64,
    buffer: u64,
    violations: Vec<Violation>,
}

fn queue(areas: [u64; 3], size: u16) -> Queue {
    let mut queue = Queue::new(0, size);
    for (area, address) in queue.areas.iter_mut().zip(areas) {
        area.set(false, address as u32);
        area.set(true, (address >> 32) as u32);
    }
    queue
}

impl Bench {
    fn new(size: u16, features: Features) -> Self {
        let ram = Ram::new(64 * 1024);
        let address = |bytes| ram.alloc(bytes, 16).device_address();
        let (ring, driver, device) = (address(16 * usize::from(size)), address(4), address(4));
        let (table, buffer) = (address(16 * 16), address(4096));
        let mut queue = queue([ring, driver, device], size);
        queue.enable(&ram, features).expect("the areas are aligned and zeroed");
        Self { ram, queue, features, ring, driver, device, table, buffer, violations: Vec::new() }
    }

    fn write(&self, address: u64, bytes: &[u8]) {
        self.ram.write(address, bytes).expect("it lies in the memory");
    }

    /// A descriptor anywhere; the flags come last.
    fn put_at(&self, at: u64, (address, length, id, flags): (u64, u32, u16, u16)) {
        self.write(at, &address.to_le_bytes());
        self.write(at + 8, &length.to_le_bytes());
        self.write(at + 12, &id.to_le_bytes());
        self.write(at + 14, &flags.to_le_bytes());
    }

    fn put(&self, position: u64, length: u32, id: u16, flags: u16) {
        self.put_at(self.ring + 16 * position, (self.buffer, length, id, flags));
    }

    /// Length, id and flags of a descriptor in the ring.
    fn descriptor(&self, position: u64) -> (u32, u16, u16) {
        let mut bytes = [0; 8];
        self.ram.read(self.ring + 16 * position + 8, &mut bytes).expect("it lies in the memory");
        let word = u64::from_le_bytes(bytes);
        (word as u32, (word >> 32) as u16, (word >> 48) as u16)
    }

    fn ask_for_interrupt(&self, offset: u16, wrap: bool, flags: u16) {
        let descriptor = offset | if wrap { 0x8000 } else { 0 };
        self.write(self.driver, &descriptor.to_le_bytes());
        self.write(self.driver + 2, &flags.to_le_bytes());
    }

    /// Descriptor and flags of the structure that the device writes.
    fn asked_for_notification(&mut self, polling: bool) -> (u16, u16) {
        self.queue.ask_for_notification(&self.ram, self.features, polling);
        let mut bytes = [0; 4];
        self.ram.read(self.device, &mut bytes).expect("it lies in the memory");
        let word = u32::from_le_bytes(bytes);
        (word as u16, (word >> 16) as u16)
    }

    fn interrupt_wanted(&mut self) -> bool {
        self.queue.interrupt_wanted(&self.ram, self.features, &mut self.violations)
    }

    fn fetch(&mut self) {
        self.queue.fetch(&self.ram, self.features, &mut self.violations);
    }

    /// Fetches, where the driver keeps the rules, and returns how many requests came in.
    fn fetch_all(&mut self) -> usize {
        let before = self.queue.in_hand.len();
        self.fetch();
        assert_eq!(self.violations, []);
        self.queue.in_hand.len() - before
    }

    /// Uses the request with this id.
    fn done(&mut self, id: u16, length: u32) {
        let place = self.queue.in_hand.iter().position(|chain| chain.head == id);
        let chain = self.queue.in_hand.remove(place.expect("the device has it")).expect("it is there");
        self.queue.push_used(&self.ram, Used::new(&chain, length, length > 0));
    }

    /// What is found wrong with what the test left in a ring of four.
    fn found(arrange: impl FnOnce(&mut Self)) -> Vec<Violation> {
        let mut bench = Self::new(SIZE, EVENT_IDX);
        arrange(&mut bench);
        bench.fetch();
        bench.fetch();
        bench.violations
    }
}
