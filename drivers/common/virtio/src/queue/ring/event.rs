//! Suppression by index (2.7.7.1, 2.7.10.1, 2.8.10), and places in a packed ring.

/// Whether moving an index from `old` to `new` passes the point at which the other side wants to be told.
///
/// All three wrap at 2^16; the difference does not care where they stand.
#[inline]
pub const fn need_event(event: u16, new: u16, old: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}

/// A place in a packed ring: which descriptor, and in which of two alternating rounds (2.8.1).
///
/// As a word it is what driver and device tell each other (2.8.14, 2.9): the offset in the lower 15 bits, the wrap
/// counter above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position(u16);

/// The wrap counter in a position's word.
const WRAP: u16 = 1 << 15;

impl Position {
    /// Where both sides begin: the first descriptor, with the wrap counter at 1.
    pub const START: Self = Self(WRAP);

    /// What a word of the other side names, whether there is such a descriptor or not.
    pub const fn from_word(word: u16) -> Self {
        Self(word)
    }

    /// The word for the other side.
    #[inline]
    pub const fn word(self) -> u16 {
        self.0
    }

    /// Which descriptor.
    #[inline]
    pub const fn offset(self) -> u16 {
        self.0 & !WRAP
    }

    /// The wrap counter.
    #[inline]
    pub const fn wrap(self) -> bool {
        self.0 & WRAP != 0
    }

    /// The place `descriptors` further on, at most one round, in a ring of `size`.
    #[inline]
    pub const fn ahead(self, descriptors: u16, size: u16) -> Self {
        let offset = self.offset() as u32 + descriptors as u32;
        match offset.checked_sub(size as u32) {
            None => Self(self.0 & WRAP | offset as u16),
            Some(offset) => Self((self.0 & WRAP ^ WRAP) | offset as u16),
        }
    }

    /// Whether the last `descriptors` on the way here, at most one round, passed `event`. An `event` that is no place of
    /// the ring may be passed or not; it has to end.
    #[inline]
    pub const fn passed(self, event: Self, descriptors: u16, size: u16) -> bool {
        // Counted from the start of this round, a place of the other round can only have been passed in the one before.
        let same_round = self.0 & WRAP == event.0 & WRAP;
        let event = if same_round { event.offset() } else { event.offset().wrapping_sub(size) };
        need_event(event, self.offset(), self.offset().wrapping_sub(descriptors))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, by walking: is one of the entries old, old + 1, … new - 1 the one at `event`?
    fn passes(event: u16, new: u16, old: u16) -> bool {
        let mut index = old;
        while index != new {
            if index == event {
                return true;
            }
            index = index.wrapping_add(1);
        }
        false
    }

    #[test]
    fn the_formula_agrees_with_walking_everywhere_around_the_wrap() {
        let interesting = |center: u16| (0..12u16).map(move |step| center.wrapping_add(step).wrapping_sub(6));
        for old in interesting(0).chain(interesting(0x8000)) {
            for advance in 0..8u16 {
                let new = old.wrapping_add(advance);
                for event in interesting(old).chain([0, 1, 0x7fff, 0x8000, 0xfffe, 0xffff]) {
                    assert_eq!(need_event(event, new, old), passes(event, new, old), "{event} {new} {old}");
                }
            }
        }
    }

    /// Every `stride`th number; Miri takes a minute for all of them.
    fn numbers() -> impl Iterator<Item = u16> {
        (0..=u16::MAX).step_by(if cfg!(miri) { 251 } else { 1 })
    }

    #[test]
    fn for_every_advance_the_events_from_old_on_to_new_are_passed_and_no_others() {
        // From 0 on, an event is passed exactly when it lies below the new index; this is where that can go wrong.
        for advance in numbers() {
            let around = |center: u16| (0..5u16).map(move |step| center.wrapping_add(step).wrapping_sub(2));
            for event in
                around(0).chain(around(advance)).chain(around(0x8000)).chain(around(advance ^ 0x8000))
            {
                assert_eq!(need_event(event, advance, 0), event < advance, "{event} on the way to {advance}");
            }
        }
    }

    #[test]
    fn it_does_not_matter_where_the_indices_stand() {
        for start in numbers() {
            for (event, advance) in
                [(0, 0), (0, 1), (1, 1), (5, 6), (6, 6), (0x7fff, 0x8000), (0xfffe, 0xffff)]
            {
                let shifted = need_event(start.wrapping_add(event), start.wrapping_add(advance), start);
                assert_eq!(
                    shifted,
                    need_event(event, advance, 0),
                    "{event} on the way to {advance}, from {start}"
                );
            }
        }
    }

    #[test]
    fn for_one_advance_every_event_is_right() {
        for (old, new) in [(0xfffd_u16, 2_u16), (0x7ffe, 0x8003), (5, 5), (0, 0xffff)] {
            for event in numbers() {
                let by_distance = event.wrapping_sub(old) < new.wrapping_sub(old);
                assert_eq!(need_event(event, new, old), by_distance, "{event} {new} {old}");
            }
        }
    }

    /// One descriptor on, as 2.8.1 says it: the wrap counter changes when the last descriptor was passed.
    fn step(offset: u16, wrap: bool, size: u16) -> (u16, bool) {
        if offset + 1 == size { (0, !wrap) } else { (offset + 1, wrap) }
    }

    fn position(offset: u16, wrap: bool) -> Position {
        Position::from_word(offset | if wrap { WRAP } else { 0 })
    }

    #[test]
    fn going_ahead_agrees_with_single_steps_for_every_place_of_small_rings() {
        for size in 1..=12 {
            for (offset, wrap) in (0..size).flat_map(|offset| [(offset, false), (offset, true)]) {
                let mut expected = (offset, wrap);
                for count in 0..=size {
                    let ahead = position(offset, wrap).ahead(count, size);

                    assert_eq!((ahead.offset(), ahead.wrap()), expected, "{count} from {offset} of {size}");
                    expected = step(expected.0, expected.1, size);
                }
            }
        }
    }

    #[test]
    fn passing_agrees_with_single_steps_for_every_event_and_advance_of_small_rings() {
        for size in 1..=8 {
            let places: Vec<_> = (0..size).flat_map(|offset| [(offset, false), (offset, true)]).collect();
            for &(offset, wrap) in &places {
                for count in 0..=size {
                    let mut walked = Vec::new();
                    let mut at = (offset, wrap);
                    for _ in 0..count {
                        walked.push(at);
                        at = step(at.0, at.1, size);
                    }
                    for &event in &places {
                        let here = position(at.0, at.1);
                        let passes = here.passed(position(event.0, event.1), count, size);

                        assert_eq!(passes, walked.contains(&event), "{event:?} from {offset} by {count}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_largest_ring_wraps_like_the_others() {
        let last = position(32767, true);

        assert_eq!(last.ahead(1, 32768), position(0, false));
        assert_eq!(last.ahead(32768, 32768), position(32767, false));
        assert!(position(0, false).passed(last, 1, 32768));
        assert!(!position(0, false).passed(position(32767, false), 1, 32768));
        for (offset, wrap) in [(0, true), (1, false), (32767, true)] {
            assert!(
                position(1, true).passed(position(offset, wrap), 32768, 32768) || (offset, wrap) != (0, true)
            );
        }
    }

    #[test]
    fn an_event_that_names_no_descriptor_does_no_harm() {
        for word in [4, 0x7fff, 0x8004, 0xffff] {
            let event = Position::from_word(word);
            for (offset, wrap) in [(0, false), (3, true)] {
                let _ = position(offset, wrap).passed(event, 4, 4);
            }
        }
    }

    #[test]
    fn an_event_just_before_the_wrap_is_passed_after_it() {
        assert!(need_event(0xfffe, 2, 0xfffe));
        assert!(!need_event(0xfffe, 2, 0xffff));
    }
}
