//! Memory that a request shares with the device besides its own buffer: parameters that the device reads, data that only the
//! driver looks at.
//!
//! A few buffers in the uncached extension. A request that finds none waits for one, apart from those that wait for a place
//! in the ring, which need none and must not wait behind it.

use core::num::NonZeroU8;

use virtio::memory::{Region, Segment, SharedMemory};

/// How many buffers there are at most: commands that need one are rare.
pub(crate) const COUNT: usize = 8;

/// What each starts at a multiple of.
const ALIGNMENT: usize = 16;

/// Which buffer a request has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScratchId(NonZeroU8);

impl ScratchId {
    fn index(self) -> usize {
        usize::from(self.0.get() - 1)
    }
}

/// The buffers of a queue.
#[derive(Debug)]
pub(crate) struct ScratchPool {
    buffers: [Option<Region>; COUNT],
    /// One bit for each that is free.
    free: u8,
}

impl ScratchPool {
    /// Cuts `count` buffers, `bytes` each and [`COUNT`] at most, off `memory`; `None` when it is too small. Of no bytes
    /// there are none.
    pub(crate) fn new(memory: &mut Region, bytes: usize, count: usize) -> Option<Self> {
        let mut pool = Self { buffers: [const { None }; COUNT], free: 0 };
        if bytes == 0 {
            return Some(pool);
        }
        for (index, buffer) in pool.buffers.iter_mut().take(count).enumerate() {
            *buffer = Some(memory.split(bytes, ALIGNMENT)?);
            pool.free |= 1 << index;
        }
        Some(pool)
    }

    /// Takes a buffer.
    pub(crate) fn take(&mut self) -> Option<ScratchId> {
        let index = self.free.trailing_zeros() as u8;
        // Without the lowest bit that is set; nothing is left of nothing.
        self.free &= self.free.wrapping_sub(1);
        if usize::from(index) < COUNT { NonZeroU8::new(index + 1).map(ScratchId) } else { None }
    }

    /// Gives a buffer back. The device must be done with it.
    fn give(&mut self, id: ScratchId) {
        debug_assert_eq!(self.free & 1 << id.index(), 0, "a buffer is given back once");
        self.free |= 1 << id.index();
    }

    /// Gives back the one that a request has, if it has any.
    pub(crate) fn give_back(&mut self, id: Option<ScratchId>) {
        if let Some(id) = id {
            self.give(id);
        }
    }

    /// Gives all of them back. No request may have one any more.
    pub(crate) fn give_all(&mut self) {
        for (index, buffer) in self.buffers.iter().enumerate() {
            self.free |= u8::from(buffer.is_some()) << index;
        }
    }

    /// Whether one is free.
    pub(crate) const fn is_any_free(&self) -> bool {
        self.free != 0
    }

    /// The memory of a buffer.
    pub(crate) fn memory(&self, id: ScratchId) -> Option<&Region> {
        self.buffers.get(id.index())?.as_ref()
    }
}

/// Zeroes the first `bytes` bytes of a buffer, which the device is to write: what it leaves out must not be what an earlier
/// request has left there.
pub(crate) fn blank(memory: &Region, bytes: u32) {
    let length = (bytes as usize).min(memory.len()).next_multiple_of(ALIGNMENT);
    if let Some(block) = memory.block(0, length) {
        block.fill(length, 0);
    }
}

/// The same piece of a buffer, several times in a row: what the device reads again and again, or writes over and over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Repeated {
    address: u64,
    bytes: u32,
    times: u16,
    /// Most bytes of a segment, at least one.
    most: u32,
}

impl<T> virtio::queue::Data<T> for Repeated {
    fn segments(&self, _token: &T) -> impl ExactSizeIterator<Item = Segment> {
        let Self { address, bytes, times, most } = *self;
        let each = bytes.div_ceil(most);
        (0..u32::from(times) * each).map(move |index| {
            let start = index % each * most;
            Segment { address: address + u64::from(start), length: (bytes - start).min(most) }
        })
    }
}

impl Repeated {
    /// The first `bytes` bytes of `memory`, `times` times, in segments of `most` bytes.
    pub(crate) fn new(memory: &Region, bytes: u32, times: u16, most: u32) -> Self {
        let bytes = bytes.min(u32::try_from(memory.len()).unwrap_or(u32::MAX));
        Self { address: memory.device_address(), bytes, times, most: most.max(1) }
    }
}

#[cfg(test)]
mod tests {
    use fake_device::leak;

    use super::*;

    fn pool() -> ScratchPool {
        ScratchPool::new(&mut leak(COUNT * 512, 0x1000), 512, COUNT).expect("it is enough memory")
    }

    #[test]
    fn every_buffer_is_memory_of_its_own() {
        let mut pool = pool();

        let starts = core::array::from_fn(|_| {
            let id = pool.take().expect("there are as many buffers");
            pool.memory(id).expect("it was taken").device_address()
        });

        assert_eq!(starts, [0x1000, 0x1200, 0x1400, 0x1600, 0x1800, 0x1a00, 0x1c00, 0x1e00]);
        assert!(!pool.is_any_free());
        assert_eq!(pool.take(), None);
    }

    #[test]
    fn a_buffer_that_was_given_back_can_be_taken_again() {
        let mut pool = pool();
        let ids: [_; COUNT] = core::array::from_fn(|_| pool.take().expect("there are as many buffers"));

        pool.give(ids[3]);

        assert_eq!(pool.take(), Some(ids[3]));
        assert_eq!(pool.take(), None);
    }

    #[test]
    fn as_much_of_a_buffer_is_blank_as_the_device_may_write() {
        let memory = leak(64, 0x1000);
        for bytes in [0, 1, 20, 64, 1000] {
            memory.block(0, 64).expect("it is as long").write(0, &[0xee; 64]);

            blank(&memory, bytes);

            let mut content = [0; 64];
            memory.read_bytes(0, &mut content);
            assert!(content[..64.min(bytes as usize)].iter().all(|byte| *byte == 0), "{bytes}");
        }
    }

    #[test]
    fn what_is_repeated_is_cut_where_the_device_takes_less_at_once() {
        let memory = leak(64, 0x1000);
        #[track_caller]
        fn assert_segments(repeated: Repeated, expected: &[(u64, u32)]) {
            let segments = virtio::queue::Data::<()>::segments(&repeated, &());
            assert_eq!(segments.len(), expected.len());
            assert!(segments.map(|segment| (segment.address, segment.length)).eq(expected.iter().copied()));
        }
        let repeated = |bytes, times, most| Repeated::new(&memory, bytes, times, most);

        assert_segments(repeated(48, 2, u32::MAX), &[(0x1000, 48), (0x1000, 48)]);
        assert_segments(repeated(48, 2, 32), &[(0x1000, 32), (0x1020, 16), (0x1000, 32), (0x1020, 16)]);
        // No more than there is.
        assert_segments(repeated(1000, 1, 64), &[(0x1000, 64)]);
        assert_segments(repeated(0, 1, 64), &[]);
    }

    #[test]
    fn of_no_bytes_there_is_no_buffer() {
        let mut pool = ScratchPool::new(&mut leak(16, 0x1000), 0, COUNT).expect("nothing fits anywhere");

        assert_eq!(pool.take(), None);
    }
}
