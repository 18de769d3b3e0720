//! A part of a request's buffer, for devices that take so little at once that a request needs several steps.

use virtio::memory::Segment;

/// Which part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Bytes before it.
    pub offset: u32,
    /// Bytes of it.
    pub bytes: u32,
}

impl Part {
    /// The segments of the part, of those of the whole.
    pub fn of(self, whole: impl Iterator<Item = Segment>) -> impl Iterator<Item = Segment> {
        let Self { mut offset, bytes: mut left } = self;
        whole.filter_map(move |segment| {
            let before = offset.min(segment.length);
            offset -= before;
            let length = (segment.length - before).min(left);
            left -= length;
            (length > 0).then(|| Segment { address: segment.address + u64::from(before), length })
        })
    }

    /// The longest part from `offset` on that has at most so many bytes and segments.
    pub fn longest(
        whole: impl Iterator<Item = Segment>,
        offset: u32,
        most_bytes: u32,
        most_segments: u16,
    ) -> Self {
        let rest = Self { offset, bytes: most_bytes };
        let bytes = rest.of(whole).take(usize::from(most_segments)).map(|segment| segment.length).sum();
        Self { offset, bytes }
    }
}

/// An iterator that knows how many are left.
pub(crate) struct Counted<I> {
    pub(crate) items: I,
    pub(crate) left: usize,
}

impl<I: Iterator> Iterator for Counted<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        self.left = self.left.saturating_sub(1);
        self.items.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<I: Iterator> ExactSizeIterator for Counted<I> {}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: [Segment; 3] = [
        Segment { address: 0x1000, length: 100 },
        Segment { address: 0x8000, length: 50 },
        Segment { address: 0x4000, length: 30 },
    ];

    fn part(offset: u32, bytes: u32) -> impl Iterator<Item = (u64, u32)> {
        Part { offset, bytes }.of(WHOLE.into_iter()).map(|segment| (segment.address, segment.length))
    }

    #[test]
    fn a_part_is_cut_out_of_the_segments_it_lies_in() {
        assert!(part(0, 180).eq(WHOLE.iter().map(|segment| (segment.address, segment.length))));
        assert!(part(10, 20).eq([(0x100a, 20)]));
        assert!(part(90, 70).eq([(0x105a, 10), (0x8000, 50), (0x4000, 10)]));
        assert!(part(100, 50).eq([(0x8000, 50)]));
        assert!(part(150, 1000).eq([(0x4000, 30)]));
        assert!(part(180, 1).eq([]));
        assert!(part(0, 0).eq([]));
    }

    #[test]
    fn the_longest_part_ends_with_the_bytes_or_the_segments_that_there_may_be() {
        let longest =
            |offset, bytes, segments| Part::longest(WHOLE.into_iter(), offset, bytes, segments).bytes;

        assert_eq!(longest(0, 1000, 3), 180);
        assert_eq!(longest(0, 1000, 1), 100);
        assert_eq!(longest(40, 1000, 1), 60);
        assert_eq!(longest(40, 1000, 2), 110);
        assert_eq!(longest(100, 20, 1), 20);
        assert_eq!(longest(180, 20, 1), 0);
    }
}
