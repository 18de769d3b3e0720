//! The buffers of a request as one run of bytes, as a device has to take them: it may assume nothing about which descriptor
//! holds what (virtio 1.3, 2.7.4).

use alloc::vec;
use alloc::vec::Vec;

use super::Memory;
use super::queue::Part;

/// Longest run of bytes that is looked at; what descriptors full of garbage say goes far beyond.
const MOST: u64 = 16 << 20;

/// All that the device reads of a request, or all that it writes.
pub(super) struct Bytes<'a> {
    parts: &'a [Part],
    device_writes: bool,
    pub length: u64,
}

impl<'a> Bytes<'a> {
    pub fn read(parts: &'a [Part]) -> Self {
        Self::of(parts, false)
    }

    pub fn written(parts: &'a [Part]) -> Self {
        Self::of(parts, true)
    }

    fn of(parts: &'a [Part], device_writes: bool) -> Self {
        let mine = parts.iter().filter(|part| part.device_writes == device_writes);
        let length = mine.map(|part| u64::from(part.length)).sum::<u64>().min(MOST);
        Bytes { parts, device_writes, length }
    }

    /// Address and length of each piece from `offset` on, `bytes` in all.
    fn pieces(&self, offset: u64, bytes: u64, mut action: impl FnMut(u64, u64)) {
        let (mut skip, mut left) = (offset, bytes);
        for part in self.parts.iter().filter(|part| part.device_writes == self.device_writes) {
            let length = u64::from(part.length);
            let now = length.saturating_sub(skip).min(left);
            if now > 0 {
                action(part.address.wrapping_add(skip), now);
            }
            skip = skip.saturating_sub(length);
            left -= now;
        }
    }

    /// Bytes from `offset` on: as many as there are, if that is less.
    pub fn get(&self, offset: u64, bytes: usize, memory: &mut impl Memory) -> Vec<u8> {
        let mut data = vec![0; bytes.min(self.length.saturating_sub(offset) as usize)];
        let mut at = 0;
        self.pieces(offset, data.len() as u64, |address, length| {
            memory.read(address, &mut data[at..at + length as usize]);
            at += length as usize;
        });
        data
    }

    /// Writes bytes from `offset` on, as far as there is room.
    pub fn put(&self, offset: u64, bytes: &[u8], memory: &mut impl Memory) {
        let mut at = 0;
        self.pieces(offset, bytes.len() as u64, |address, length| {
            memory.write(address, &bytes[at..at + length as usize]);
            at += length as usize;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_and_what_is_written_are_runs_of_their_own() {
        let part = |address, length, device_writes| Part { address, length, device_writes };
        let parts =
            [part(0, 3, false), part(10, 2, true), part(20, 0, true), part(5, 3, false), part(30, 4, true)];
        let mut memory: Vec<u8> = (0..64).collect();

        let (out, room) = (Bytes::read(&parts), Bytes::written(&parts));
        room.put(1, &[101, 102, 103], &mut memory);

        assert_eq!((out.length, room.length), (6, 6));
        assert_eq!(out.get(1, 4, &mut memory), [1, 2, 5, 6]);
        assert_eq!(out.get(4, 100, &mut memory), [6, 7]);
        assert_eq!((memory[10], memory[11], memory[30], memory[31], memory[32]), (10, 101, 102, 103, 32));
    }
}
