//! When each side wants to be told (2.8.10).

use super::*;

#[test]
fn the_driver_is_interrupted_where_it_asks_for_it() {
    // Two rounds of single descriptors in a ring of three; after each, whether an interrupt is wanted.
    let table = [
        (EVENT_IDX, (0, false, ENABLE), [true; 6]),
        (EVENT_IDX, (0, false, DISABLE), [false; 6]),
        (INDIRECT_DESC, (0, false, ENABLE), [true; 6]),
        (INDIRECT_DESC, (0, false, DISABLE), [false; 6]),
        (EVENT_IDX, (0, true, DESC), [true, false, false, false, false, false]),
        (EVENT_IDX, (2, true, DESC), [false, false, true, false, false, false]),
        (EVENT_IDX, (0, false, DESC), [false, false, false, true, false, false]),
        (EVENT_IDX, (2, false, DESC), [false, false, false, false, false, true]),
    ];
    for (features, (offset, wrap, flags), expected) in table {
        let mut bench = Bench::new(3, features);
        bench.ask_for_interrupt(offset, wrap, flags);
        let wanted: Vec<bool> = (0..6)
            .map(|step| {
                bench.put(step % 3, 1, 0, if step < 3 { AVAILABLE } else { AVAILABLE_0 });
                assert_eq!(bench.fetch_all(), 1);
                bench.done(0, 0);
                bench.interrupt_wanted()
            })
            .collect();

        assert_eq!(wanted, expected, "{offset} {wrap} {flags}");
    }
}

#[test]
fn an_interrupt_is_for_all_descriptors_since_the_last_one_also_skipped_ones() {
    // Position 3 of the first round and 0 of the second are one list.
    let table = [((3, true), true), ((0, false), true), ((1, false), false), ((0, true), false)];
    for ((offset, wrap), expected) in table {
        let mut bench = Bench::new(SIZE, EVENT_IDX);
        for position in 0..3 {
            bench.put(position, 1, 0, AVAILABLE);
            assert_eq!(bench.fetch_all(), 1);
            bench.done(0, 0);
        }
        bench.interrupt_wanted();
        bench.ask_for_interrupt(offset, wrap, DESC);
        assert!(!bench.interrupt_wanted(), "nothing was used");
        bench.put(0, 1, 2, AVAILABLE_0);
        bench.put(3, 1, 2, AVAILABLE | NEXT);
        assert_eq!(bench.fetch_all(), 1);
        bench.done(2, 0);

        assert_eq!(bench.interrupt_wanted(), expected, "{offset} {wrap}");
    }
}

#[test]
fn the_device_asks_to_be_told_of_the_next_descriptor() {
    let mut bench = Bench::new(3, EVENT_IDX);
    let asked = [(0x8001, DESC), (0x8002, DESC), (0, DESC), (1, DESC), (2, DESC), (0x8000, DESC)];
    assert_eq!(bench.asked_for_notification(false), (0x8000, DESC));
    for (step, expected) in (0..).zip(asked) {
        bench.put(step % 3, 1, 0, if step < 3 { AVAILABLE } else { AVAILABLE_0 });
        assert_eq!(bench.fetch_all(), 1);
        bench.done(0, 0);

        assert_eq!(bench.asked_for_notification(false), expected, "{step}");
    }
    assert_eq!(bench.asked_for_notification(true).1, DISABLE);
}

#[test]
fn without_event_idx_the_device_asks_for_all_notifications_or_none() {
    let mut bench = Bench::new(3, INDIRECT_DESC);

    assert_eq!(bench.asked_for_notification(true).1, DISABLE);
    assert_eq!(bench.asked_for_notification(false).1, ENABLE);
}
