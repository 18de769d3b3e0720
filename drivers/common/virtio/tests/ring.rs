//! Every ring against the fake device, which checks every chain and every index.

mod bench;

use bench::{
    ALL, Bench, Blk, DIRECT, LARGE_TABLES, PACKED, PACKED_DIRECT, WITH_EVENT_IDX, WITH_TABLES, rounds,
};
use fake_device::{Interrupt, Order, Ram};
use virtio::memory::{Region, SharedMemory};
use virtio::queue::{LayoutError, Notify, Reason, RequestQueue, Slot, SplitRing};
use virtio::spec::Features;
use virtio::spec::blk::RequestType;

fn fill(region: &Region, bytes: &[u8]) {
    region.block(0, bytes.len()).expect("the data is whole words").write(0, bytes);
}

#[test]
fn what_is_written_is_read_back() {
    for features in ALL {
        for size in [8, 16] {
            write_and_read_back(size, features);
        }
    }
}

#[test]
fn a_packed_ring_of_any_size_serves() {
    for size in if cfg!(miri) { [6, 7, 9] } else { [6, 9, 100] } {
        for features in [PACKED, PACKED_DIRECT] {
            write_and_read_back(size, features);
        }
    }
}

fn write_and_read_back(size: u16, features: Features) {
    let mut bench = Bench::new(size, features);
    let bytes: Vec<u8> = (0..4 * 512_u32).map(|index| (index % 251) as u8).collect();
    fill(&bench.data, &bytes);

    bench.request(1, RequestType::OUT, 0, 4).expect("the ring is empty");
    let _ = bench.publish();
    bench.device.run();
    assert_eq!(bench.drain(), [(1, 1)]);
    fill(&bench.data, &[0; 4 * 512]);
    bench.request(2, RequestType::IN, 0, 4).expect("the ring is empty");
    let _ = bench.publish();
    bench.device.run();

    assert_eq!(bench.drain(), [(2, 4 * 512 + 1)]);
    let mut back = vec![0; bytes.len()];
    bench.data.read_bytes(0, &mut back);
    assert_eq!(back, bytes);
    bench.device.assert_no_violations();
}

#[test]
fn every_request_is_the_chain_of_the_drawing() {
    for features in ALL {
        chains_of_the_drawing(features);
    }
}

fn chains_of_the_drawing(features: Features) {
    let mut bench = Bench::new(16, features);
    bench.device.trace();

    for (token, kind, sectors) in [
        (1, RequestType::IN, 2),
        (2, RequestType::OUT, 3),
        (3, RequestType::FLUSH, 0),
        (4, RequestType::IN, 3),
    ] {
        bench.request(token, kind, 0, sectors).expect("the ring is empty");
    }
    let _ = bench.publish();
    bench.device.run();

    assert_eq!(
        bench.device.take_trace(),
        [
            "R 16 header / W 512 data / W 512 data / W 1 status",
            "R 16 header / R 512 data / R 512 data / R 512 data / W 1 status",
            "R 16 header / W 1 status",
            "R 16 header / W 512 data / W 512 data / W 512 data / W 1 status",
        ]
    );
    bench.device.assert_no_violations();
}

#[test]
fn the_ring_takes_as_many_requests_as_it_has_entries() {
    for features in WITH_TABLES {
        let mut bench = Bench::new(8, features);
        bench.device.hold();

        for token in 0..8 {
            assert!(!bench.queue.is_full());
            bench.flush(token).expect("there are eight slots");
        }
        assert!(bench.queue.is_full());
        assert_eq!(bench.flush(8).err(), Some(Reason::Full));
        let _ = bench.publish();
        bench.device.run();
        assert_eq!(bench.flush(8).err(), Some(Reason::Full));
        bench.device.release(1);
        assert_eq!(bench.tokens(), [0]);

        bench.flush(8).expect("one slot is free again");
        assert_eq!(bench.queue.in_flight(), 8);
        let _ = bench.publish();
        bench.device.release_all();
        assert_eq!(bench.tokens(), [1, 2, 3, 4, 5, 6, 7, 8]);
        bench.device.assert_no_violations();
    }
}

#[test]
fn requests_answered_in_any_order_come_back_with_their_own_token_and_length() {
    let orders = [Order::Arrival, Order::Reversed, Order::Shuffled(7)];
    for (order, features) in orders.into_iter().flat_map(|order| ALL.map(|features| (order, features))) {
        let mut bench = Bench::new(128, features);
        bench.device.set_order(order);

        for token in 0..32_u32 {
            let sectors = (token % 3) as u16;
            let (kind, sector) =
                if sectors == 0 { (RequestType::FLUSH, 0) } else { (RequestType::IN, u64::from(token)) };
            bench.request(token, kind, sector, sectors).expect("there are enough slots and descriptors");
        }
        let _ = bench.publish();
        bench.device.run();
        let mut done = bench.drain();

        assert_eq!(done.first().map(|(token, _)| *token) == Some(0), order == Order::Arrival);
        done.sort_unstable();
        let expected: Vec<_> = (0..32).map(|token| (token, token % 3 * 512 + 1)).collect();
        assert_eq!(done, expected);
        bench.device.assert_no_violations();
    }
}

#[test]
fn nothing_is_lost_while_the_indices_wrap_twice() {
    for features in WITH_TABLES {
        let mut bench = Bench::new(8, features);
        bench.device.set_order(Order::Shuffled(3));
        let mut token = 0_u32;
        let mut round = 0_u32;
        while token < rounds(2 * 65536 + 100) {
            assert!(!bench.queue.enable_interrupts(), "everything was drained");
            let count = round % 8 + 1;
            for _ in 0..count {
                bench.flush(token).expect("the ring is empty");
                token += 1;
            }

            assert_ne!(bench.publish(), Notify::Suppressed, "the device asked to be told, round {round}");
            assert_eq!(bench.device.run(), count as usize);
            assert_eq!(bench.device.take_interrupts(), [Interrupt::Message(1)], "round {round}");

            let mut done = bench.tokens();
            done.sort_unstable();
            assert!(done.into_iter().eq(token - count..token), "round {round}");
            round += 1;
        }
        bench.device.model(|disk| disk.clear_log());
        bench.device.assert_no_violations();
    }
}

#[test]
fn a_batch_is_told_with_one_notification_and_an_empty_one_with_none() {
    let mut bench = Bench::new(16, WITH_EVENT_IDX);

    for token in 0..5 {
        bench.flush(token).expect("there are 16 slots");
    }
    assert_ne!(bench.publish(), Notify::Suppressed);
    assert_eq!(bench.publish(), Notify::Suppressed);
    // The device has not looked yet, so it has not asked to be told of more.
    bench.flush(5).expect("there are 16 slots");
    assert_eq!(bench.publish(), Notify::Suppressed);

    assert_eq!(bench.device.run(), 6);
    assert_eq!(bench.device.notifications(0), 1);
}

#[test]
fn a_device_that_polls_is_not_notified() {
    for features in WITH_TABLES {
        let mut bench = Bench::new(16, features);
        bench.device.set_polling(true);
        bench.device.run();

        bench.flush(1).expect("there are 16 slots");
        assert_eq!(bench.publish(), Notify::Suppressed);

        assert_eq!(bench.device.run(), 1);
        assert_eq!(bench.device.notifications(0), 0);
        assert_eq!(bench.tokens(), [1]);
    }
}

#[test]
fn used_buffers_that_come_in_before_the_interrupt_is_asked_for_are_reported() {
    for features in WITH_TABLES {
        let mut bench = Bench::new(16, features);
        assert!(!bench.queue.enable_interrupts());
        bench.flush(0).expect("there are 16 slots");
        let _ = bench.publish();
        bench.device.run();
        assert_eq!(bench.device.take_interrupts().len(), 1);
        bench.queue.disable_interrupts();
        assert_eq!(bench.tokens(), [0]);

        bench.flush(1).expect("there are 16 slots");
        let _ = bench.publish();
        bench.device.run();

        assert_eq!(bench.device.take_interrupts(), [], "none was asked for");
        assert!(bench.queue.enable_interrupts(), "the buffer would be forgotten");
        assert_eq!(bench.tokens(), [1]);
        assert!(!bench.queue.enable_interrupts());
    }
}

#[test]
fn long_requests_without_a_table_go_into_the_ring_itself_while_there_are_descriptors() {
    for features in WITH_TABLES {
        let mut bench = Bench::new(16, features);
        bench.device.set_order(Order::Shuffled(11));
        for round in 0..if cfg!(miri) { 2 } else { 20 } {
            let tables = u32::from(LARGE_TABLES);
            for token in 0..tables + 2 {
                bench.request(token, RequestType::IN, 0, 3).expect("a table, or five descriptors");
            }

            // Four with tables and twice five descriptors leave two.
            assert_eq!(bench.request(90, RequestType::IN, 0, 3).err(), Some(Reason::Full));
            assert!(!bench.queue.is_full());
            bench.request(91, RequestType::IN, 0, 2).expect("its own table is enough");
            bench.request(92, RequestType::OUT, 0, 1).expect("its own table is enough");
            assert!(bench.queue.is_full());
            let _ = bench.publish();
            bench.device.run();
            let mut done = bench.tokens();
            done.sort_unstable();
            assert_eq!(done, [0, 1, 2, 3, 4, 5, 91, 92], "round {round}");

            bench.request(90, RequestType::IN, 0, 14).expect("the tables are free again");
            let _ = bench.publish();
            bench.device.run();
            assert_eq!(bench.drain(), [(90, 14 * 512 + 1)]);
        }
        bench.device.assert_no_violations();
    }
}

#[test]
fn without_tables_a_request_takes_as_many_descriptors_as_it_has_buffers() {
    for features in [DIRECT, PACKED_DIRECT] {
        let mut bench = Bench::new(16, features);
        bench.device.hold();
        for (token, sectors) in [(1, 4), (2, 1), (3, 3)] {
            bench.request(token, RequestType::IN, 0, sectors).expect("14 of 16 descriptors");
        }

        assert_eq!(bench.request(4, RequestType::IN, 0, 1).err(), Some(Reason::Full));
        bench.flush(5).expect("two descriptors are left");
        assert!(bench.queue.is_full());
        let _ = bench.publish();
        bench.device.run();
        bench.device.release(2);
        assert_eq!(bench.tokens(), [1, 2]);
        bench.request(4, RequestType::OUT, 0, 7).expect("nine descriptors are free again");
        assert!(bench.queue.is_full());
        let _ = bench.publish();
        bench.device.release_all();
        bench.device.run();
        bench.device.release_all();

        assert_eq!(bench.tokens(), [3, 5, 4]);
        bench.device.assert_no_violations();
    }
}

#[test]
fn chains_of_all_lengths_in_any_order_leave_every_descriptor_free() {
    for features in ALL {
        for size in if features.contains(Features::RING_PACKED) { [16, 21] } else { [16, 32] } {
            let mut bench = Bench::new(size, features);
            bench.device.set_order(Order::Shuffled(5));
            let (mut token, mut done) = (0_u32, Vec::new());
            for round in 0..rounds(400) {
                for step in 0..6 {
                    let sectors = ((round * 7 + step * 5) % if cfg!(miri) { 5 } else { 13 }) as u16;
                    let kind = match (sectors, step % 2) {
                        (0, _) => RequestType::FLUSH,
                        (_, 0) => RequestType::IN,
                        _ => RequestType::OUT,
                    };
                    match bench.request(token, kind, 0, sectors) {
                        Ok(_) => token += 1,
                        Err(reason) => assert_eq!(reason, Reason::Full),
                    }
                }
                let _ = bench.publish();
                bench.device.run();
                done.extend(bench.tokens());
            }

            done.sort_unstable();
            assert!(done.into_iter().eq(0..token), "{features:?}");
            assert!(token > rounds(800), "the ring was used: {token} requests");
            let longest = size - 2;
            bench.request(7, RequestType::IN, 0, longest).expect("the whole ring is free");
            let _ = bench.publish();
            bench.device.run();
            assert_eq!(bench.drain(), [(7, u32::from(longest) * 512 + 1)]);
            bench.device.assert_no_violations();
        }
    }
}

#[test]
fn a_ticket_names_its_request_and_no_later_one_in_the_same_slot() {
    let mut bench = Bench::new(8, PACKED);
    let first = bench.flush(5).expect("the ring is empty");
    assert_eq!(bench.queue.get(first), Some(&5));
    let _ = bench.publish();
    bench.device.run();
    assert_eq!(bench.tokens(), [5]);
    assert_eq!(bench.queue.get(first), None);

    let second = bench.flush(6).expect("the ring is empty");

    assert_ne!(first, second);
    assert_eq!((bench.queue.get(first), bench.queue.get(second)), (None, Some(&6)));
    bench.transport.reset(&mut || ()).map(drop).expect("the device can be reset");
    assert_eq!(bench.queue.take_outstanding(), Some(6));
    bench.queue.reset();
    bench.restart();
    bench.flush(7).expect("the ring is empty");
    assert_eq!((bench.queue.get(first), bench.queue.get(second)), (None, None));
}

#[test]
fn a_queue_whose_type_does_not_know_in_order_refuses_it() {
    let features = WITH_EVENT_IDX | Features::IN_ORDER;
    let layout = bench::layout::<Blk>(8, features);
    let memory = Ram::new(1 << 16).alloc(layout.shared_bytes(), layout.alignment());
    let slots: Vec<Slot<u32>> = (0..8).map(|_| Slot::default()).collect();

    let queue = RequestQueue::<Blk, SplitRing<Region>, _, _>::new(memory, layout, slots, features);

    assert_eq!(queue.err(), Some(LayoutError::InOrder));
}

#[test]
fn what_is_used_in_order_comes_back_in_order_whether_told_one_by_one_or_as_a_batch() {
    let in_order = [WITH_TABLES.to_vec(), vec![PACKED_DIRECT]].concat();
    for features in in_order.into_iter().map(|features| features | Features::IN_ORDER) {
        for batch_used in [false, true] {
            let mut bench = Bench::with(16, features, |options| options.batch_used = batch_used);
            let (mut token, mut done) = (0_u32, Vec::new());
            for round in 0..rounds(300) {
                for step in 0..5 {
                    let sectors = ((round + step) % 4) as u16;
                    let kind = if sectors == 0 { RequestType::FLUSH } else { RequestType::IN };
                    if bench.request(token, kind, 0, sectors).is_ok() {
                        token += 1;
                    }
                }
                let _ = bench.publish();
                bench.device.run();
                done.extend(bench.drain());
            }

            bench.device.assert_no_violations();
            let tokens: Vec<_> = done.iter().map(|(token, _)| *token).collect();
            assert_eq!(tokens, (0..token).collect::<Vec<_>>(), "{features:?}, batches: {batch_used}");
            assert!(done.iter().all(|(_, length)| length % 512 == 1), "whole lengths, also of those skipped");
            assert!(token > rounds(1000), "the ring was used: {token} requests");
            bench.device.assert_no_violations();
        }
    }
}

#[test]
fn a_request_longer_than_the_ring_is_refused_for_good() {
    let mut bench = Bench::new(16, WITH_EVENT_IDX);

    assert_eq!(bench.request(1, RequestType::IN, 0, 15).err(), Some(Reason::TooManySegments));
    assert_eq!(bench.queue.in_flight(), 0);
}

#[test]
fn a_chain_of_more_than_2_to_the_32_bytes_is_refused_and_leaves_nothing_behind() {
    use virtio::memory::Segment;
    use virtio::queue::Direction;
    use virtio::spec::blk::RequestHeader;

    for features in ALL {
        let mut bench = Bench::new(16, features);
        bench.device.trace();
        for round in 0..if cfg!(miri) { 1 } else { 12 } {
            for count in [2, 6] {
                let header = RequestHeader::new(RequestType::OUT, 0);
                let segments = vec![Segment { address: 0x1000, length: u32::MAX }; count];

                let refused = bench.queue.submit(7, &header, Direction::ToDevice, segments.as_slice());

                assert_eq!(refused.map_err(|rejected| rejected.reason), Err(Reason::TooLarge));
            }
            bench.flush(round).expect("the ring is empty");
            let _ = bench.publish();
            bench.device.run();
            assert_eq!(bench.tokens(), [round]);
            assert_eq!(bench.device.take_trace(), ["R 16 header / W 1 status"], "{features:?}");
        }
        bench.device.assert_no_violations();
    }
}

#[test]
fn a_slot_that_had_a_large_table_serves_short_requests_again() {
    for features in ALL {
        short_after_long(features);
    }
}

fn short_after_long(features: Features) {
    let mut bench = Bench::new(8, features);
    bench.device.trace();

    // The free list is a stack: the slot just freed is taken next.
    for sectors in [6, 1, 5, 0, 2, 6] {
        let kind = if sectors == 0 { RequestType::FLUSH } else { RequestType::OUT };
        bench.request(7, kind, 0, sectors).expect("the ring is empty");
        let _ = bench.publish();
        bench.device.run();
        assert_eq!(bench.tokens(), [7]);
    }

    let lengths: Vec<_> = bench.device.take_trace().iter().map(|line| line.matches("data").count()).collect();
    assert_eq!(lengths, [6, 1, 5, 0, 2, 6]);
    bench.device.assert_no_violations();
}

#[test]
fn a_response_is_read_no_further_than_its_end() {
    let mut bench = Bench::new(8, WITH_EVENT_IDX);
    bench.flush(5).expect("the ring is empty");
    let _ = bench.publish();
    bench.device.run();
    let used = bench.queue.pop_used().expect("the device is honest").expect("it has answered");

    let mut bytes = [0xaa; 4];
    used.response().read_into(0, &mut bytes);
    assert_eq!(bytes, [0, 0xaa, 0xaa, 0xaa]);
    used.response().read_into(usize::MAX, &mut bytes[..2]);
    assert_eq!(bytes, [0, 0xaa, 0xaa, 0xaa]);
}

#[test]
fn after_a_reset_every_request_is_taken_back_once_and_the_queue_serves_again() {
    for features in ALL {
        taken_back_after_reset(features);
    }
}

fn taken_back_after_reset(features: Features) {
    let mut bench = Bench::new(32, features);
    for round in 0..3 {
        bench.device.hold();
        for token in 0..6_u32 {
            let sectors = if token % 2 == 0 { 5 } else { 1 };
            match bench.request(token, RequestType::IN, 0, sectors) {
                Ok(_) => {}
                Err(reason) => panic!("{reason:?} in round {round}"),
            }
        }
        let _ = bench.publish();
        bench.device.run();
        bench.device.release(2);
        let mut taken = bench.tokens();

        bench.transport.reset(&mut || ()).map(drop).expect("the device can be reset");
        while let Some(token) = bench.queue.take_outstanding() {
            taken.push(token);
        }
        assert_eq!(taken, [0, 1, 2, 3, 4, 5]);
        assert_eq!(bench.queue.in_flight(), 0);
        bench.queue.reset();
        bench.restart();

        assert_eq!(bench.device.release_all(), 0, "the device has forgotten everything");
        bench.flush(9).expect("the ring is empty");
        let _ = bench.publish();
        bench.device.run();
        assert_eq!(bench.tokens(), [9]);
    }
    bench.device.assert_no_violations();
}

#[test]
fn after_a_queue_reset_every_request_is_taken_back_once_and_the_queue_serves_again() {
    for features in ALL {
        let mut bench = Bench::new(32, features | Features::RING_RESET);
        let queue_reset = bench.queue_reset.expect("the device offers it");
        for _ in 0..3 {
            bench.device.hold();
            for token in 0..6_u32 {
                bench.request(token, RequestType::IN, 0, (token % 3 * 2) as u16 + 1).expect("there is room");
            }
            let _ = bench.publish();
            bench.device.run();
            bench.device.release(2);
            let mut taken = bench.tokens();

            bench.transport.reset_queue(queue_reset, 0, &mut || ()).expect("the queue can be reset");
            while let Some(token) = bench.queue.take_outstanding() {
                taken.push(token);
            }
            taken.sort_unstable();
            assert_eq!(taken, [0, 1, 2, 3, 4, 5], "{features:?}");
            bench.queue.reset();
            let (size, areas) = (bench.queue.size(), bench.queue.areas());
            bench
                .transport
                .enable_queue_again(queue_reset, 0, size, &areas, Some(1))
                .expect("it can be enabled again");

            assert_eq!(bench.device.release_all(), 0, "the device has forgotten the queue's requests");
            bench.flush(9).expect("the ring is empty");
            let _ = bench.publish();
            bench.device.run();
            bench.device.release_all();
            assert_eq!(bench.tokens(), [9]);
        }
        bench.device.assert_no_violations();
    }
}
