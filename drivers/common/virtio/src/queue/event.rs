//! Suppression by index (2.7.7.1, 2.7.10.1).

/// Whether moving an index from `old` to `new` passes the point at which the other side wants to be told.
///
/// All three wrap at 2^16; the difference does not care where they stand.
#[inline]
pub const fn need_event(event: u16, new: u16, old: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
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

    #[test]
    fn an_event_just_before_the_wrap_is_passed_after_it() {
        assert!(need_event(0xfffe, 2, 0xfffe));
        assert!(!need_event(0xfffe, 2, 0xffff));
    }
}
