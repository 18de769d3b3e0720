//! Answers of any length, cut to what the initiator asked for (SPC-4, 4.2.5.6: ALLOCATION LENGTH).

/// Parameter data being written where the initiator wants it: at most as many bytes as it asked for and has room for. What
/// lies past that is counted and dropped, so that length fields say how long the whole answer is.
///
/// Nothing is put together on the stack first. Whoever may still have to refuse a command decides before the first byte.
#[derive(Debug)]
pub struct ParameterData<'a> {
    buffer: &'a mut [u8],
    length: usize,
}

impl<'a> ParameterData<'a> {
    /// No bytes yet.
    pub fn new(buffer: &'a mut [u8], allocation_length: u32) -> Self {
        let asked = usize::try_from(allocation_length).unwrap_or(usize::MAX);
        let room = asked.min(buffer.len());
        Self { buffer: &mut buffer[..room], length: 0 }
    }

    /// Appends bytes.
    pub fn push(&mut self, bytes: &[u8]) -> &mut Self {
        let place = self.buffer.get_mut(self.length..).unwrap_or_default();
        for (place, byte) in place.iter_mut().zip(bytes) {
            *place = *byte;
        }
        self.length += bytes.len();
        self
    }

    /// Changes bytes that were appended before: a length field whose value is known only at the end.
    pub fn set(&mut self, at: usize, bytes: &[u8]) -> &mut Self {
        let end = self.length.min(self.buffer.len());
        let place = self.buffer[..end].get_mut(at..).unwrap_or_default();
        for (place, byte) in place.iter_mut().zip(bytes) {
            *place = *byte;
        }
        self
    }

    /// Bytes of the whole answer so far.
    pub const fn length(&self) -> usize {
        self.length
    }

    /// Bytes of it that are in the buffer.
    pub fn transferred(&self) -> u32 {
        self.length.min(self.buffer.len()) as u32
    }
}

/// What a function answers into a buffer with more room than it needs.
#[cfg(test)]
pub(crate) fn collect(answer: impl FnOnce(&mut ParameterData<'_>)) -> std::vec::Vec<u8> {
    let mut buffer = std::vec![0xee; 1024];
    let mut data = ParameterData::new(&mut buffer, u32::MAX);
    answer(&mut data);
    let length = data.length();
    buffer.truncate(length);
    buffer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_cut_to_the_allocation_length_and_the_buffer() {
        for (allocation_length, room) in [(2, 4), (200, 2), (u32::MAX, 2), (2, 2)] {
            let mut buffer = [0xee; 4];
            let mut data = ParameterData::new(&mut buffer[..room], allocation_length);
            data.push(&[1]).push(&[2, 3, 4, 5]).push(&[6]).set(4, &[9]);

            assert_eq!((data.length(), data.transferred()), (6, 2));
            assert_eq!(buffer, [1, 2, 0xee, 0xee]);
        }
    }

    #[test]
    fn a_length_field_can_be_filled_in_later() {
        let mut buffer = [0xee; 4];
        let mut data = ParameterData::new(&mut buffer, 4);

        data.push(&[0, 0, 7]).set(0, &[1, 2]).set(2, &[3, 4]).set(9, &[5]);

        assert_eq!(data.transferred(), 3);
        assert_eq!(buffer, [1, 2, 3, 0xee]);
    }

    #[test]
    fn nothing_is_written_where_nothing_is_asked_for() {
        let mut data = ParameterData::new(&mut [], 255);
        data.push(&[1, 2, 3]).set(0, &[4]);

        assert_eq!((data.length(), data.transferred()), (3, 0));
    }
}
