//! The split ring against the fake device, which checks every chain and every index.

mod bench;

use bench::{Bench, LARGE_TABLES, WITH_EVENT_IDX, WITHOUT_EVENT_IDX};
use virtio::fake::{Interrupt, Order};
use virtio::memory::SharedMemory;
use virtio::queue::{Notify, Reason};
use virtio::spec::blk::RequestType;

const BOTH: [virtio::spec::Features; 2] = [WITHOUT_EVENT_IDX, WITH_EVENT_IDX];

#[test]
fn what_is_written_is_read_back() {
    let mut bench = Bench::new(16, WITH_EVENT_IDX);
    let bytes: Vec<u8> = (0..4 * 512_u32).map(|index| (index % 251) as u8).collect();
    bench.data.write_bytes(0, &bytes);

    bench.request(1, RequestType::OUT, 0, 4).expect("the ring is empty");
    let _ = bench.publish();
    bench.device.run();
    assert_eq!(bench.drain(), [(1, 1)]);
    bench.data.write_bytes(0, &[0; 4 * 512]);
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
    let mut bench = Bench::new(16, WITH_EVENT_IDX);
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
    for features in BOTH {
        let mut bench = Bench::new(8, features);
        bench.device.hold();

        for token in 0..8 {
            assert!(!bench.queue.is_full());
            bench.flush(token).expect("there are eight slots");
        }
        assert!(bench.queue.is_full());
        assert_eq!(bench.flush(8), Err(Reason::Full));
        let _ = bench.publish();
        bench.device.run();
        assert_eq!(bench.flush(8), Err(Reason::Full));
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
    for order in [Order::Arrival, Order::Reversed, Order::Shuffled(7)] {
        let mut bench = Bench::new(64, WITH_EVENT_IDX);
        bench.device.set_order(order);

        for token in 0..32_u32 {
            let sectors = (token % 3) as u16;
            let (kind, sector) =
                if sectors == 0 { (RequestType::FLUSH, 0) } else { (RequestType::IN, u64::from(token)) };
            bench.request(token, kind, sector, sectors).expect("there are 64 slots");
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
    for features in BOTH {
        let mut bench = Bench::new(8, features);
        bench.device.set_order(Order::Shuffled(3));
        let mut token = 0_u32;
        let mut round = 0_u32;
        while token < 2 * 65536 + 100 {
            assert!(!bench.queue.enable_interrupts(), "everything was drained");
            let count = round % 8 + 1;
            for _ in 0..count {
                bench.flush(token).expect("the ring is empty");
                token += 1;
            }

            assert_eq!(bench.publish(), Notify::Device, "the device asked to be told, round {round}");
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
    assert_eq!(bench.publish(), Notify::Device);
    assert_eq!(bench.publish(), Notify::Suppressed);
    // The device has not looked yet, so it has not asked to be told of more.
    bench.flush(5).expect("there are 16 slots");
    assert_eq!(bench.publish(), Notify::Suppressed);

    assert_eq!(bench.device.run(), 6);
    assert_eq!(bench.device.notifications(0), 1);
}

#[test]
fn a_device_that_polls_is_not_notified() {
    for features in BOTH {
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
    for features in BOTH {
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
fn long_requests_wait_for_a_large_table_and_short_ones_do_not() {
    let mut bench = Bench::new(16, WITH_EVENT_IDX);
    for token in 0..u32::from(LARGE_TABLES) {
        bench.request(token, RequestType::IN, 0, 3).expect("there is a table each");
    }

    assert_eq!(bench.request(90, RequestType::IN, 0, 3), Err(Reason::Full));
    assert!(!bench.queue.is_full());
    bench.request(91, RequestType::IN, 0, 2).expect("its own table is enough");
    let _ = bench.publish();
    bench.device.run();
    assert_eq!(bench.tokens(), [0, 1, 2, 3, 91]);

    bench.request(90, RequestType::IN, 0, 14).expect("the tables are free again");
    let _ = bench.publish();
    bench.device.run();
    assert_eq!(bench.drain(), [(90, 14 * 512 + 1)]);
    bench.device.assert_no_violations();
}

#[test]
fn a_request_longer_than_the_ring_is_refused_for_good() {
    let mut bench = Bench::new(16, WITH_EVENT_IDX);

    assert_eq!(bench.request(1, RequestType::IN, 0, 15), Err(Reason::TooManySegments));
    assert_eq!(bench.queue.in_flight(), 0);
}

#[test]
fn a_slot_that_had_a_large_table_serves_short_requests_again() {
    let mut bench = Bench::new(8, WITH_EVENT_IDX);
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
fn a_used_buffer_that_is_looked_at_and_not_taken_is_there_the_next_time() {
    let mut bench = Bench::new(8, WITH_EVENT_IDX);
    bench.flush(5).expect("the ring is empty");
    let _ = bench.publish();
    bench.device.run();

    let used = bench.queue.pop_used().expect("the device is honest").expect("it has answered");
    let length = used.length();

    assert_eq!(length, 1);
    assert_eq!(bench.tokens(), [5]);
    assert_eq!(bench.queue.in_flight(), 0);
}

#[test]
fn a_response_is_read_no_further_than_its_end() {
    let mut bench = Bench::new(8, WITH_EVENT_IDX);
    bench.flush(5).expect("the ring is empty");
    let _ = bench.publish();
    bench.device.run();
    let used = bench.queue.pop_used().expect("the device is honest").expect("it has answered");

    let mut bytes = [0xaa; 4];
    used.read_response(0, &mut bytes);
    assert_eq!(bytes, [0, 0xaa, 0xaa, 0xaa]);
    used.read_response(usize::MAX, &mut bytes[..2]);
    assert_eq!(bytes, [0, 0xaa, 0xaa, 0xaa]);
}

#[test]
fn after_a_reset_every_request_is_taken_back_once_and_the_queue_serves_again() {
    let mut bench = Bench::new(8, WITH_EVENT_IDX);
    for round in 0..3 {
        bench.device.hold();
        for token in 0..6_u32 {
            let sectors = if token % 2 == 0 { 5 } else { 1 };
            match bench.request(token, RequestType::IN, 0, sectors) {
                Ok(()) => {}
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
