//! Cache lines that the driver's code touches: how many for each submission, interrupt and drain, and which it writes for the sake
//! of one queue and of another. Stacks, registers and what imports touch are left out; memcpy and its like count.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use core::fmt::Write;

/// Bytes of a cache line, as a power of two.
const LINE: u32 = 6;

/// What a driver does in one go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    /// HwStorBuildIo and HwStorStartIo of one request.
    Submit,
    /// An interrupt routine.
    Interrupt,
    /// A DPC, without what StorPort starts from inside of it.
    Drain,
}

const PARTS: [(Part, &str); 3] = [(Part::Submit, "submit"), (Part::Interrupt, "isr"), (Part::Drain, "drain")];

/// The part that a callback belongs to.
fn part(callback: &str) -> Option<Part> {
    match callback {
        "HwStorBuildIo" | "HwStorStartIo" => Some(Part::Submit),
        "HwStorInterrupt" | "HwMSInterruptRoutine" => Some(Part::Interrupt),
        "HwStorDpcRoutine" => Some(Part::Drain),
        _ => None,
    }
}

/// An access to memory.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    /// First byte.
    pub address: u64,
    /// Bytes.
    pub size: u64,
    /// It writes.
    pub writes: bool,
    /// It is to the driver's image.
    pub image: bool,
    /// It is to memory that the driver keeps: no part of a request.
    pub kept: bool,
}

/// Lines of one part under way, each with whether it is written and whether it is of the image.
type Lines = BTreeMap<u64, (bool, bool)>;

/// Sums over all parts that have ended.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    touched: u64,
    written: u64,
    image: u64,
}

/// What was seen.
#[derive(Default)]
pub struct Seen {
    /// By processor and part.
    under_way: BTreeMap<(u32, Part), Lines>,
    sums: BTreeMap<Part, Sums>,
    /// The queue that everything is done for, when there is but one.
    queue: Option<u32>,
    /// Lines of memory that the driver keeps, and the queues that they were written for.
    written_for: BTreeMap<u64, BTreeSet<u32>>,
}

impl Seen {
    /// Nothing.
    pub const fn new() -> Self {
        Seen { under_way: BTreeMap::new(), sums: BTreeMap::new(), queue: None, written_for: BTreeMap::new() }
    }

    /// From now on everything is done for this queue.
    pub fn queue(&mut self, queue: Option<u32>) {
        self.queue = queue;
    }

    /// An access of a callback on a processor.
    pub fn access(&mut self, processor: u32, callback: &str, access: Access) {
        if access.size == 0 {
            return;
        }
        let lines = access.address >> LINE..=(access.address + (access.size - 1)) >> LINE;
        if let Some(queue) = self.queue
            && access.writes
            && access.kept
        {
            for line in lines.clone() {
                self.written_for.entry(line).or_default().insert(queue);
            }
        }
        let Some(part) = part(callback) else { return };
        let under_way = self.under_way.entry((processor, part)).or_default();
        for line in lines {
            let (written, image) = under_way.entry(line).or_default();
            *written |= access.writes;
            *image |= access.image;
        }
    }

    /// A callback has returned on a processor. A submission ends with HwStorStartIo.
    pub fn returned(&mut self, processor: u32, callback: &str) {
        let Some(part) = part(callback).filter(|_| callback != "HwStorBuildIo") else { return };
        let Some(lines) = self.under_way.remove(&(processor, part)) else { return };
        let sums = self.sums.entry(part).or_default();
        sums.touched += lines.len() as u64;
        sums.written += lines.values().filter(|(written, _)| *written).count() as u64;
        sums.image += lines.values().filter(|(_, image)| *image).count() as u64;
    }

    /// Addresses of lines that were written for more than one queue.
    pub fn shared(&self) -> impl Iterator<Item = (u64, &BTreeSet<u32>)> {
        self.written_for
            .iter()
            .filter(|(_, queues)| queues.len() > 1)
            .map(|(line, queues)| (line << LINE, queues))
    }

    /// The sums as the inside of a JSON object.
    pub fn report(&self, text: &mut String) {
        for (part, word) in PARTS {
            let sums = self.sums.get(&part).copied().unwrap_or_default();
            let _ = write!(
                text,
                ",\"{word}-lines\":{},\"{word}-lines-written\":{},\"{word}-lines-image\":{}",
                sums.touched, sums.written, sums.image
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUILD: &str = "HwStorBuildIo";
    const START: &str = "HwStorStartIo";
    const DPC: &str = "HwStorDpcRoutine";

    fn access(address: u64, size: u64, writes: bool) -> Access {
        Access { address, size, writes, image: false, kept: true }
    }

    fn text(seen: &Seen) -> String {
        let mut text = String::new();
        seen.report(&mut text);
        text
    }

    #[test]
    fn a_line_counts_once_in_a_submission_and_again_in_the_next() {
        let mut seen = Seen::new();
        for _ in 0..2 {
            seen.access(0, BUILD, access(0x1000, 8, false));
            seen.returned(0, BUILD);
            seen.access(0, START, access(0x1038, 8, true));
            seen.access(0, START, access(0x2000, 8, false));
            seen.returned(0, START);
        }

        assert!(
            text(&seen).contains("\"submit-lines\":4,\"submit-lines-written\":2,\"submit-lines-image\":0")
        );
    }

    #[test]
    fn an_access_over_the_end_of_a_line_is_two_lines() {
        let mut seen = Seen::new();
        seen.access(0, DPC, access(0x103C, 8, true));
        seen.returned(0, DPC);

        assert!(text(&seen).contains("\"drain-lines\":2,\"drain-lines-written\":2"));
    }

    #[test]
    fn what_starts_inside_a_drain_and_on_another_processor_is_apart() {
        let mut seen = Seen::new();
        seen.access(0, DPC, access(0x1000, 8, false));
        seen.access(0, START, access(0x2000, 8, false));
        seen.access(1, START, access(0x3000, 8, false));
        seen.returned(0, START);
        seen.returned(0, DPC);

        assert!(text(&seen).contains("\"submit-lines\":1,"));
        assert!(text(&seen).contains("\"drain-lines\":1,"));
    }

    #[test]
    fn lines_that_two_queues_write_are_named_and_those_of_requests_are_not() {
        let mut seen = Seen::new();
        for queue in 0..2 {
            seen.queue(Some(queue));
            seen.access(0, START, access(0x1000 + 0x20 * u64::from(queue), 8, true));
            seen.access(0, START, access(0x2000 + 0x40 * u64::from(queue), 8, true));
            seen.access(0, START, access(0x3000, 8, false));
            seen.access(0, START, Access { kept: false, ..access(0x4000, 8, true) });
        }

        let shared: alloc::vec::Vec<u64> = seen.shared().map(|(line, _)| line).collect();

        assert_eq!(shared, [0x1000]);
    }
}
