//! The items of a data block, one behind the other, each where the C compiler would have it with /Zp8
//! (driver-defined-wmi-data-items.md).

/// A data block that is being written. What is skipped stays zero; what does not fit is left out.
#[derive(Debug)]
pub(super) struct Items<'a> {
    data: &'a mut [u8],
    at: usize,
}

impl<'a> Items<'a> {
    pub(super) const fn new(data: &'a mut [u8]) -> Self {
        Self { data, at: 0 }
    }

    /// Where the next item would lie if it is aligned like this.
    pub(super) fn align(&mut self, bytes: usize) -> &mut Self {
        self.at = self.at.next_multiple_of(bytes);
        self
    }

    /// uint8, and arrays of it
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        let end = self.at + bytes.len();
        if let Some(place) = self.data.get_mut(self.at..end) {
            place.copy_from_slice(bytes);
        }
        self.at = end;
        self
    }

    /// boolean
    pub(super) fn flag(&mut self, flag: bool) -> &mut Self {
        self.bytes(&[u8::from(flag)])
    }

    /// uint32
    pub(super) fn word(&mut self, word: u32) -> &mut Self {
        self.align(4).bytes(&word.to_le_bytes())
    }

    /// uint64
    pub(super) fn long(&mut self, long: u64) -> &mut Self {
        self.align(8).bytes(&long.to_le_bytes())
    }

    /// string with `MaxLen(longest)`: a buffer of that many characters, whose length, all of it, comes before it; what the text
    /// does not fill is zero. `parts` is the text, in ASCII.
    pub(super) fn string(&mut self, longest: u16, parts: &[&[u8]]) -> &mut Self {
        let bytes = 2 * longest;
        self.align(2).bytes(&bytes.to_le_bytes());
        let end = self.at + usize::from(bytes);
        for character in parts.iter().copied().flatten().take(longest.into()) {
            self.bytes(&[*character, 0]);
        }
        self.at = end;
        self
    }

    /// How long it is so far.
    #[cfg(test)]
    pub(super) const fn length(&self) -> usize {
        self.at
    }
}

/// A number in hexadecimal digits.
pub(super) fn hexadecimal(number: u16) -> [u8; 4] {
    [12, 8, 4, 0].map(|shift| match (number >> shift & 0xf) as u8 {
        digit @ 0..=9 => b'0' + digit,
        digit => b'a' + digit - 10,
    })
}
