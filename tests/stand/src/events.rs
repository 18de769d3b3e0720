//! What happened last: a ring of events per processor, written without locks and read only for a report.

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering, compiler_fence};

/// Events a ring keeps.
pub const KEPT: usize = 128;

macro_rules! kinds {
    ($($(#[$about:meta])* $name:ident = $word:literal),* $(,)?) => {
        /// What an event is about.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Kind {
            $($(#[$about])* $name),*
        }

        impl Kind {
            const ALL: &[Kind] = &[$(Kind::$name),*];

            /// The word for it in a report.
            pub fn word(self) -> &'static str {
                match self {
                    $(Kind::$name => $word),*
                }
            }
        }
    };
}

kinds! {
    /// A callback of the driver is called: its first two arguments.
    Call = "call",
    /// It returned: the result.
    Return = "return",
    /// The driver calls an import: return address and the first two arguments.
    Import = "import",
    /// An interrupt: vector and where it came.
    Interrupt = "interrupt",
    /// A DPC or timer is queued: object and routine.
    Queue = "queue",
    /// A request goes to the miniport: tag, SRB, bytes.
    Start = "start",
    /// A request comes back: tag, SRB status, bytes.
    Complete = "complete",
    /// A lock of the port driver is acquired: object and level before.
    Acquire = "acquire",
    /// It is released: object and level after.
    Release = "release",
}

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Time stamp counter.
    pub tsc: u64,
    /// What happened.
    pub kind: Kind,
    /// IRQL.
    pub irql: u8,
    /// Name of the callback, the import or the lock.
    pub name: &'static str,
    /// What the kind says.
    pub numbers: [u64; 3],
    /// How often in a row.
    pub count: u64,
}

impl Event {
    fn same(&self, other: &Event) -> bool {
        (self.kind, self.irql, self.name.as_ptr(), self.numbers)
            == (other.kind, other.irql, other.name.as_ptr(), other.numbers)
    }
}

/// As it stands in a report. An `@` marks an address that the runner may know a name for.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second, third] = self.numbers;
        write!(f, "{}", self.kind.word())?;
        if !self.name.is_empty() {
            write!(f, " {}", self.name)?;
        }
        match self.kind {
            Kind::Call => write!(f, "({first:#x}, {second:#x})")?,
            Kind::Return => write!(f, " {first:#x}")?,
            Kind::Import => write!(f, "({second:#x}, {third:#x}) from @{first:x}")?,
            Kind::Interrupt => write!(f, " vector {first:#04x} at @{second:x}")?,
            Kind::Queue => write!(f, " {first:#x}, routine @{second:x}")?,
            Kind::Start => write!(f, " request {first}, SRB {second:#x}, {third} bytes")?,
            Kind::Complete => write!(f, " request {first}, SRB status {second:#04x}, {third} bytes")?,
            Kind::Acquire => write!(f, " {first:#x}, IRQL was {second}")?,
            Kind::Release => write!(f, " {first:#x}, IRQL becomes {second}")?,
        }
        if self.count > 1 {
            write!(f, " ({} times)", self.count)?;
        }
        Ok(())
    }
}

/// A place in the ring. `number` is 0 while it is being written and the event's number, from 1, afterwards.
struct Slot {
    number: AtomicU64,
    tsc: AtomicU64,
    kind: AtomicU64,
    name: AtomicU64,
    length: AtomicU64,
    numbers: [AtomicU64; 3],
    count: AtomicU64,
}

impl Slot {
    const fn empty() -> Self {
        Slot {
            number: AtomicU64::new(0),
            tsc: AtomicU64::new(0),
            kind: AtomicU64::new(0),
            name: AtomicU64::new(0),
            length: AtomicU64::new(0),
            numbers: [const { AtomicU64::new(0) }; 3],
            count: AtomicU64::new(0),
        }
    }

    fn write(&self, number: u64, event: &Event) {
        self.number.store(0, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
        self.tsc.store(event.tsc, Ordering::Relaxed);
        self.kind.store(event.kind as u64 | u64::from(event.irql) << 8, Ordering::Relaxed);
        self.name.store(event.name.as_ptr() as u64, Ordering::Relaxed);
        self.length.store(event.name.len() as u64, Ordering::Relaxed);
        for (to, from) in self.numbers.iter().zip(event.numbers) {
            to.store(from, Ordering::Relaxed);
        }
        self.count.store(1, Ordering::Relaxed);
        self.number.store(number, Ordering::Release);
    }

    /// The event of that number, unless it is another one or being written.
    fn read(&self, number: u64) -> Option<Event> {
        if number == 0 || self.number.load(Ordering::Acquire) != number {
            return None;
        }
        let kind = self.kind.load(Ordering::Relaxed);
        let (name, length) = (self.name.load(Ordering::Relaxed), self.length.load(Ordering::Relaxed));
        let numbers = [0, 1, 2].map(|index: usize| self.numbers[index].load(Ordering::Relaxed));
        let (tsc, count) = (self.tsc.load(Ordering::Relaxed), self.count.load(Ordering::Relaxed));
        core::sync::atomic::fence(Ordering::Acquire);
        if self.number.load(Ordering::Relaxed) != number {
            return None;
        }
        // SAFETY: the number was the same before and after, so address and length are those of one `&'static str`.
        let name = unsafe {
            core::str::from_utf8_unchecked(core::slice::from_raw_parts(name as *const u8, length as usize))
        };
        let (irql, kind) = ((kind >> 8) as u8, *Kind::ALL.get((kind & 0xFF) as usize)?);
        Some(Event { tsc, kind, irql, name, numbers, count })
    }
}

/// The last events of one processor. Only that processor writes, and its interrupts may do so at any moment.
pub struct Ring {
    written: AtomicU64,
    slots: [Slot; KEPT],
}

impl Default for Ring {
    fn default() -> Self {
        Self::new()
    }
}

impl Ring {
    /// An empty ring.
    pub const fn new() -> Self {
        Ring { written: AtomicU64::new(0), slots: [const { Slot::empty() }; KEPT] }
    }

    /// Notes an event. One that is like the last is only counted: a driver that polls would drown everything else.
    pub fn record(&self, event: &Event) {
        let last = self.written.load(Ordering::Relaxed);
        if let Some(slot) = self.slot(last)
            && slot.read(last).is_some_and(|other| other.same(event))
        {
            slot.tsc.store(event.tsc, Ordering::Relaxed);
            slot.count.store(slot.count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            return;
        }
        let number = next(&self.written);
        if let Some(slot) = self.slot(number) {
            slot.write(number, event);
        }
    }

    fn slot(&self, number: u64) -> Option<&Slot> {
        (number > 0).then(|| &self.slots[(number % KEPT as u64) as usize])
    }

    /// The number of the last event; the first has number 1.
    fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    /// The event of that number, while it is kept.
    fn get(&self, number: u64) -> Option<Event> {
        self.slot(number)?.read(number)
    }
}

/// Adds 1 and answers with the sum. In one instruction, so that an interrupt cannot come in between, but without the
/// lock prefix: a fence at every import would hide those that the driver forgot.
fn next(counter: &AtomicU64) -> u64 {
    #[cfg(target_arch = "x86_64")]
    {
        let mut old = 1u64;
        // SAFETY: the counter is ours; only the processor that runs this writes to it.
        unsafe {
            core::arch::asm!("xadd [{counter}], {old}", counter = in(reg) counter.as_ptr(), old = inout(reg) old, options(nostack));
        }
        old + 1
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        counter.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// The last `most` events of all rings up to a time, in the order of their time, each with the number of its ring. Works
/// without memory of the heap.
pub fn last(rings: &[Ring], until: u64, most: usize, mut see: impl FnMut(usize, &Event)) {
    // Of each ring, the events after `first` and up to `end`. By number, because rings go on meanwhile.
    let (mut first, mut end) = ([0u64; 32], [0u64; 32]);
    let rings = &rings[..rings.len().min(end.len())];
    for (index, ring) in rings.iter().enumerate() {
        end[index] = ring.written();
        while ring.get(end[index]).is_some_and(|event| event.tsc > until) {
            end[index] -= 1;
        }
        first[index] = end[index];
    }
    // Backwards: the newest event that is not yet counted, again and again.
    for _ in 0..most {
        let times = rings.iter().enumerate().filter_map(|(index, ring)| {
            let event = ring.get(first[index])?;
            Some((event.tsc, index))
        });
        let Some((_, index)) = times.max() else { break };
        first[index] -= 1;
    }
    // And now forwards.
    loop {
        let times = rings
            .iter()
            .enumerate()
            .filter(|(index, _)| first[*index] < end[*index])
            .map(|(index, ring)| (ring.get(first[index] + 1).map_or(0, |event| event.tsc), index));
        let Some((_, index)) = times.min() else { break };
        first[index] += 1;
        if let Some(event) = rings[index].get(first[index]) {
            see(index, &event);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(tsc: u64, kind: Kind, name: &'static str, numbers: [u64; 3]) -> Event {
        Event { tsc, kind, irql: 2, name, numbers, count: 1 }
    }

    fn texts(rings: &[Ring], most: usize) -> Vec<String> {
        texts_until(rings, u64::MAX, most)
    }

    fn texts_until(rings: &[Ring], until: u64, most: usize) -> Vec<String> {
        let mut texts = Vec::new();
        last(rings, until, most, |ring, event| texts.push(format!("{ring} {} {event}", event.tsc)));
        texts
    }

    #[test]
    fn events_of_all_rings_come_in_the_order_of_time() {
        let rings = [Ring::new(), Ring::new()];
        for tsc in 1..=6 {
            rings[tsc as usize % 2].record(&event(tsc, Kind::Start, "", [tsc, 16, 512]));
        }

        let texts = texts(&rings, 3);

        assert_eq!(
            texts,
            [
                "0 4 start request 4, SRB 0x10, 512 bytes",
                "1 5 start request 5, SRB 0x10, 512 bytes",
                "0 6 start request 6, SRB 0x10, 512 bytes"
            ]
        );
    }

    #[test]
    fn only_the_last_ones_are_kept() {
        let rings = [Ring::new()];
        for tsc in 1..=1000 {
            rings[0].record(&event(tsc, Kind::Return, "HwStorStartIo", [tsc, 0, 0]));
        }

        let texts = texts(&rings, 2 * KEPT);

        assert_eq!(texts.len(), KEPT);
        assert_eq!(texts.last().unwrap(), "0 1000 return HwStorStartIo 0x3e8");
    }

    #[test]
    fn what_comes_again_and_again_is_counted() {
        let rings = [Ring::new()];
        rings[0].record(&event(1, Kind::Call, "HwStorInitialize", [1, 2, 3]));
        for tsc in 2..500 {
            rings[0].record(&event(tsc, Kind::Import, "StorPortStallExecution", [0xABC, 10, 0]));
        }

        assert_eq!(
            texts(&rings, 50),
            [
                "0 1 call HwStorInitialize(0x1, 0x2)",
                "0 499 import StorPortStallExecution(0xa, 0x0) from @abc (498 times)"
            ]
        );
    }

    #[test]
    fn what_came_later_is_left_out() {
        let rings = [Ring::new(), Ring::new()];
        for tsc in 1..=6 {
            rings[tsc as usize % 2].record(&event(tsc, Kind::Return, "A", [tsc, 0, 0]));
        }

        assert_eq!(texts_until(&rings, 4, 2), ["1 3 return A 0x3", "0 4 return A 0x4"]);
    }

    #[test]
    fn an_empty_ring_has_no_events() {
        assert!(texts(&[Ring::new()], 50).is_empty());
    }
}
