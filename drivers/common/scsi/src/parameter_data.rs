//! Answers of any length, cut to what the initiator asked for (SPC-4, 4.2.5.6: ALLOCATION LENGTH).

/// Parameter data being put together: a buffer on the stack large enough for every answer of an emulated disk.
#[derive(Clone, Debug)]
pub struct ParameterData {
    bytes: [u8; Self::CAPACITY],
    length: usize,
}

impl Default for ParameterData {
    fn default() -> Self {
        Self::new()
    }
}

impl ParameterData {
    /// Longest answer, in bytes.
    pub const CAPACITY: usize = 96;

    /// No bytes yet.
    pub const fn new() -> Self {
        Self { bytes: [0; Self::CAPACITY], length: 0 }
    }

    /// Appends bytes. What does not fit any more is left out, which the length then shows.
    pub fn push(&mut self, bytes: &[u8]) -> &mut Self {
        for (place, byte) in self.bytes[self.length..].iter_mut().zip(bytes) {
            *place = *byte;
        }
        self.length = Self::CAPACITY.min(self.length + bytes.len());
        self
    }

    /// The answer so far.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// Changes one byte of the answer so far: a length field that is known only at the end.
    pub fn set(&mut self, at: usize, byte: u8) {
        if let Some(place) = self.bytes[..self.length].get_mut(at) {
            *place = byte;
        }
    }

    /// Copies the answer into `buffer`, cut to the allocation length and the buffer, and returns the bytes copied.
    pub fn copy_to(&self, buffer: &mut [u8], allocation_length: u32) -> u32 {
        let asked = usize::try_from(allocation_length).unwrap_or(usize::MAX);
        let length = self.length.min(asked).min(buffer.len());
        buffer[..length].copy_from_slice(&self.bytes[..length]);
        length as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_cut_to_the_allocation_length_and_the_buffer() {
        let mut data = ParameterData::new();
        data.push(&[1, 2, 3, 4, 5]);
        let mut buffer = [0xee; 4];

        let by_allocation = data.copy_to(&mut buffer, 2);
        assert_eq!((by_allocation, buffer), (2, [1, 2, 0xee, 0xee]));

        let by_buffer = data.copy_to(&mut buffer, 200);
        assert_eq!((by_buffer, buffer), (4, [1, 2, 3, 4]));
    }

    #[test]
    fn bytes_past_the_capacity_are_left_out() {
        let mut data = ParameterData::new();

        data.push(&[7; ParameterData::CAPACITY - 1]).push(&[8, 9]);

        assert_eq!(data.as_bytes().len(), ParameterData::CAPACITY);
        assert_eq!(data.as_bytes()[ParameterData::CAPACITY - 1], 8);
    }
}
