//! What a driver must not do, and that it is noticed.

use super::*;

#[test]
fn what_a_list_must_not_do_is_noticed() {
    let head = 0;
    let table = [
        ((16, AVAILABLE | 0x10), Violation::DescriptorFlags { head, flags: 0x90 }),
        ((16, AVAILABLE | 0x4000), Violation::DescriptorFlags { head, flags: 0x4080 }),
        ((0, AVAILABLE), Violation::EmptyBuffer { head }),
        ((16, AVAILABLE | NEXT), Violation::ListIncomplete { head, position: 1 }),
        ((16, AVAILABLE | INDIRECT | WRITE), Violation::DescriptorFlags { head, flags: 0x86 }),
        ((16, AVAILABLE | INDIRECT | NEXT), Violation::BadIndirect { head }),
        ((0, AVAILABLE | INDIRECT), Violation::BadIndirect { head }),
        ((17, AVAILABLE | INDIRECT), Violation::BadIndirect { head }),
        // The wrap counter is 1.
        ((16, AVAILABLE_0), Violation::AvailabilityFlags { position: 0, flags: 0x8000 }),
        ((16, DONE), Violation::AvailabilityFlags { position: 0, flags: 0x8080 }),
    ];
    for ((length, flags), expected) in table {
        let found = Bench::found(|bench| bench.put(0, length, 0, flags));

        assert_eq!(found, [expected], "{length} {flags:x}");
    }
}

#[test]
fn a_buffer_or_table_outside_the_memory_is_noticed() {
    for flags in [AVAILABLE, AVAILABLE | INDIRECT] {
        let found = Bench::found(|bench| bench.put_at(bench.ring, (16, 32, 0, flags)));

        assert_eq!(found, [Violation::OutsideMemory { address: 16, length: 32 }]);
    }
}

#[test]
fn a_buffer_to_read_after_one_to_write_is_noticed() {
    let found = Bench::found(|bench| {
        bench.put(1, 16, 0, AVAILABLE);
        bench.put(0, 16, 0, AVAILABLE | WRITE | NEXT);
    });

    assert_eq!(found, [Violation::ReadableAfterWritable { head: 0 }]);
}

#[test]
fn a_list_with_direct_descriptors_and_a_table_is_noticed() {
    let found = Bench::found(|bench| {
        bench.put_at(bench.table, (bench.buffer, 16, 0, 0));
        bench.put_at(bench.ring + 16, (bench.table, 16, 0, AVAILABLE | INDIRECT));
        bench.put(0, 16, 0, AVAILABLE | NEXT);
    });

    assert_eq!(found, [Violation::BadIndirect { head: 0 }]);
}

#[test]
fn a_table_without_the_feature_is_noticed() {
    let mut bench = Bench::new(SIZE, Features::RING_PACKED);
    bench.put_at(bench.table, (bench.buffer, 16, 0, 0));
    bench.put_at(bench.ring, (bench.table, 16, 0, AVAILABLE | INDIRECT));

    bench.fetch();

    assert_eq!(bench.violations, [Violation::BadIndirect { head: 0 }]);
}

#[test]
fn in_a_table_every_flag_but_write_is_noticed() {
    let table = [
        (NEXT, Violation::BadIndirect { head: 0 }),
        (INDIRECT, Violation::BadIndirect { head: 0 }),
        (AVAILABLE, Violation::DescriptorFlags { head: 0, flags: AVAILABLE }),
        (AVAILABLE_0 | WRITE, Violation::DescriptorFlags { head: 0, flags: AVAILABLE_0 | WRITE }),
    ];
    for (flags, expected) in table {
        let found = Bench::found(|bench| {
            bench.put_at(bench.table, (bench.buffer, 16, 0, flags));
            bench.put_at(bench.table + 16, (bench.buffer, 16, 0, WRITE));
            bench.put_at(bench.ring, (bench.table, 32, 0, AVAILABLE | INDIRECT));
        });

        assert_eq!(found, [expected], "{flags:x}");
    }
}

#[test]
fn a_list_longer_than_the_ring_is_noticed() {
    let direct = Bench::found(|bench| {
        (0..4).rev().for_each(|position| bench.put(position, 16, 0, AVAILABLE | NEXT));
    });
    let indirect = Bench::found(|bench| {
        (0..5).for_each(|entry| bench.put_at(bench.table + 16 * entry, (bench.buffer, 16, 0, 0)));
        bench.put_at(bench.ring, (bench.table, 80, 0, AVAILABLE | INDIRECT));
    });

    assert_eq!(direct, [Violation::ChainTooLong { head: 0 }]);
    assert_eq!(indirect, [Violation::ChainTooLong { head: 0 }]);
}

#[test]
fn a_list_that_does_not_fit_any_more_is_noticed() {
    let found = Bench::found(|bench| {
        bench.put(0, 16, 0, AVAILABLE);
        (1..4).rev().for_each(|position| bench.put(position, 16, 1, AVAILABLE | NEXT));
    });

    assert_eq!(found, [Violation::NoRoomForList { head: 1 }]);
}

#[test]
fn an_id_twice_or_outside_the_ring_is_noticed() {
    let twice = Bench::found(|bench| {
        bench.put(0, 16, 3, AVAILABLE);
        bench.put(1, 16, 3, AVAILABLE);
    });
    let outside = Bench::found(|bench| bench.put(0, 16, 4, AVAILABLE));

    assert_eq!(twice, [Violation::BufferIdInFlight { id: 3 }]);
    assert_eq!(outside, [Violation::BufferIdOutOfRange { id: 4 }]);
}

#[test]
fn the_wrap_counter_of_the_first_round_in_the_second_is_noticed() {
    let found = Bench::found(|bench| {
        for position in 0..4 {
            bench.put(position, 16, 0, AVAILABLE);
            assert_eq!(bench.fetch_all(), 1);
            bench.done(0, 0);
        }
        bench.put(0, 16, 0, AVAILABLE);
    });

    assert_eq!(found, [Violation::AvailabilityFlags { position: 0, flags: AVAILABLE }]);
}

#[test]
fn a_descriptor_that_changes_in_flight_is_noticed() {
    let found = Bench::found(|bench| {
        bench.put(0, 16, 2, AVAILABLE);
        assert_eq!(bench.fetch_all(), 1);
        bench.put(0, 17, 2, AVAILABLE);
    });

    assert_eq!(found, [Violation::ChangedInFlight { head: 2 }]);
}

#[test]
fn a_table_that_changes_in_flight_is_noticed() {
    let mut bench = Bench::new(SIZE, INDIRECT_DESC);
    bench.put_at(bench.table, (bench.buffer, 16, 0, 0));
    bench.put_at(bench.ring, (bench.table, 16, 2, AVAILABLE | INDIRECT));
    assert_eq!(bench.fetch_all(), 1);
    let chain = bench.queue.in_hand[0].clone();
    assert_eq!(bench.queue.check_unchanged(&bench.ram, INDIRECT_DESC, &chain), Ok(()));

    bench.put_at(bench.table, (bench.buffer, 16, 0, WRITE));

    let changed = bench.queue.check_unchanged(&bench.ram, INDIRECT_DESC, &chain);
    assert_eq!(changed, Err(Violation::ChangedInFlight { head: 2 }));
}

#[test]
fn a_descriptor_given_anew_before_it_is_used_is_noticed() {
    let found = Bench::found(|bench| {
        (0..4).for_each(|position| bench.put(position, 16, position as u16, AVAILABLE));
        assert_eq!(bench.fetch_all(), 4);
        // Used out of order: the device frees the first place, not that of the request.
        bench.done(1, 0);
        bench.put(0, 16, 1, AVAILABLE_0);
        bench.put(1, 16, 0, AVAILABLE_0);
    });

    assert_eq!(found, [Violation::DescriptorOverwritten { position: 1 }]);
}

#[test]
fn wrong_event_flags_are_noticed() {
    let queue = 0;
    let table = [
        (EVENT_IDX, (0, 3), Violation::EventFlags { queue, flags: 3 }),
        (EVENT_IDX, (0, 4), Violation::EventFlags { queue, flags: 4 }),
        (INDIRECT_DESC, (0, DESC), Violation::EventFlags { queue, flags: DESC }),
        (EVENT_IDX, (SIZE, DESC), Violation::EventOffset { queue, offset: SIZE }),
    ];
    for (features, (offset, flags), expected) in table {
        let mut bench = Bench::new(SIZE, features);
        bench.ask_for_interrupt(offset, true, flags);

        bench.fetch();

        assert_eq!(bench.violations, [expected]);
    }
}

#[test]
fn areas_at_the_wrong_place_are_noticed() {
    let ram = Ram::new(64 * 1024);
    let [ring, driver, device] = [64, 16, 16].map(|bytes| ram.alloc(bytes, 16).device_address());
    let areas = [
        [ring + 8, driver, device],
        [ring, driver + 2, device],
        [ring, driver, device + 2],
        [16, driver, device],
        [ring, 4, device],
    ];
    for areas in areas {
        let enabled = queue(areas, SIZE).enable(&ram, INDIRECT_DESC);

        assert_eq!(enabled, Err(Violation::QueueAddress { queue: 0 }), "{areas:x?}");
    }
    assert_eq!(queue([ring, driver + 4, device + 4], SIZE).enable(&ram, INDIRECT_DESC), Ok(()));
}

#[test]
fn a_ring_that_is_not_zeroed_is_noticed() {
    let mut bench = Bench::new(SIZE, INDIRECT_DESC);
    bench.put(2, 16, 0, 0);

    let enabled = bench.queue.enable(&bench.ram, INDIRECT_DESC);

    assert_eq!(enabled, Err(Violation::RingNotZeroed { queue: 0, position: 2 }));
}
