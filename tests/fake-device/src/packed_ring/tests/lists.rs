//! How lists are taken and used: their ids, tables, wrap counters.

use super::*;

#[test]
fn a_direct_chain_has_the_last_id_and_one_used_descriptor() {
    let mut bench = Bench::new(SIZE, INDIRECT_DESC);
    bench.put(1, 512, 0x1234, AVAILABLE | NEXT | WRITE);
    bench.put(2, 1, 3, AVAILABLE | WRITE);
    bench.put(0, 16, 0x5678, AVAILABLE | NEXT);

    assert_eq!(bench.fetch_all(), 1);
    let chain = &bench.queue.in_hand[0];
    assert_eq!(chain.to_string(), "R 16 / W 512 / W 1");
    assert_eq!((chain.head, chain.descriptors, chain.indirect), (3, 3, false));

    bench.done(3, 513);
    assert_eq!(bench.descriptor(0), (513, 3, DONE | WRITE));
    assert_eq!(bench.descriptor(1), (512, 0x1234, AVAILABLE | NEXT | WRITE));

    bench.put(3, 1, 2, AVAILABLE | WRITE);
    assert_eq!(bench.fetch_all(), 1);
    bench.done(2, 1);
    assert_eq!(bench.descriptor(3), (1, 2, DONE | WRITE), "the device skips what the first chain took");
}

#[test]
fn an_indirect_table_is_walked_by_its_length_and_takes_one_descriptor() {
    let mut bench = Bench::new(SIZE, INDIRECT_DESC);
    bench.put_at(bench.table, (bench.buffer, 16, 0, 0));
    bench.put_at(bench.table + 16, (bench.buffer, 512, 0, WRITE));
    bench.put_at(bench.table + 32, (bench.buffer, 1, 0, WRITE));
    bench.put_at(bench.ring, (bench.table, 48, 1, AVAILABLE | INDIRECT));
    bench.put(1, 8, 0, AVAILABLE);

    assert_eq!(bench.fetch_all(), 2);
    let chain = &bench.queue.in_hand[0];
    assert_eq!(chain.to_string(), "R 16 / W 512 / W 1");
    assert_eq!((chain.head, chain.descriptors, chain.indirect), (1, 1, true));
    assert_eq!(bench.queue.in_hand[1].to_string(), "R 8");
}

#[test]
fn nothing_is_taken_before_it_is_available() {
    let mut bench = Bench::new(SIZE, INDIRECT_DESC);
    assert!(!bench.queue.has_more(&bench.ram));
    assert_eq!(bench.fetch_all(), 0);

    bench.put(0, 16, 0, AVAILABLE);
    assert!(bench.queue.has_more(&bench.ram));
    assert_eq!(bench.fetch_all(), 1);
    assert!(!bench.queue.has_more(&bench.ram));
}

/// Per list: where its descriptors lie, their AVAIL and USED, and what the used one looks like.
type Lists<'a> = &'a [(&'a [(u64, u16)], u16)];

fn rounds(size: u16, lists: Lists<'_>) {
    let mut bench = Bench::new(size, INDIRECT_DESC);
    for (list, used) in lists {
        let (last, others) = list.split_last().expect("a list has a descriptor");
        bench.put(last.0, 1, 0, last.1 | WRITE);
        for (position, flags) in others.iter().rev() {
            bench.put(*position, 1, 1, flags | WRITE | NEXT);
        }

        assert_eq!(bench.fetch_all(), 1, "{list:x?}");
        assert_eq!(usize::from(bench.queue.in_hand[0].descriptors), list.len());
        bench.done(0, 2);
        assert_eq!(bench.descriptor(list[0].0), (2, 0, used | WRITE), "{list:x?}");
    }
}

#[test]
fn the_wrap_counters_flip_in_a_ring_of_three() {
    rounds(
        3,
        &[
            (&[(0, AVAILABLE), (1, AVAILABLE)], DONE),
            (&[(2, AVAILABLE), (0, AVAILABLE_0)], DONE),
            (&[(1, AVAILABLE_0), (2, AVAILABLE_0)], DONE_0),
            (&[(0, AVAILABLE), (1, AVAILABLE)], DONE),
            (&[(2, AVAILABLE), (0, AVAILABLE_0)], DONE),
        ],
    );
}

#[test]
fn the_wrap_counters_flip_in_a_ring_of_four() {
    rounds(
        4,
        &[
            (&[(0, AVAILABLE), (1, AVAILABLE), (2, AVAILABLE)], DONE),
            (&[(3, AVAILABLE), (0, AVAILABLE_0), (1, AVAILABLE_0)], DONE),
            (&[(2, AVAILABLE_0)], DONE_0),
            (&[(3, AVAILABLE_0), (0, AVAILABLE), (1, AVAILABLE)], DONE_0),
            (&[(2, AVAILABLE), (3, AVAILABLE), (0, AVAILABLE_0), (1, AVAILABLE_0)], DONE),
        ],
    );
}

#[test]
fn a_ring_of_one_works() {
    let one: Lists<'_> =
        &[(&[(0, AVAILABLE)], DONE), (&[(0, AVAILABLE_0)], DONE_0), (&[(0, AVAILABLE)], DONE)];
    rounds(1, one);
}

#[test]
fn the_longest_ring_can_be_filled() {
    // Miri takes a minute for the longest.
    let most = if cfg!(miri) { 64 } else { 32768_u16 };
    let size = usize::from(most);
    let ram = Ram::new(1 << 20);
    let ring = ram.alloc(16 * size, 16).device_address();
    let [driver, device, buffer] = [4, 4, 16].map(|bytes| ram.alloc(bytes, 16).device_address());
    let mut queue = queue([ring, driver, device], most);
    queue.enable(&ram, INDIRECT_DESC).expect("the areas are aligned and zeroed");
    // Two lists: every id is compared with all in flight, so many would take long.
    for position in (0..size).rev() {
        let next = if position == 9 || position == size - 1 { 0 } else { NEXT };
        let id = if position < 10 { 7 } else { most - 1 };
        let mut bytes = buffer.to_le_bytes().to_vec();
        bytes.extend(16_u32.to_le_bytes());
        bytes.extend(id.to_le_bytes());
        bytes.extend((AVAILABLE | next).to_le_bytes());
        ram.write(ring + 16 * position as u64, &bytes).expect("it lies in the memory");
    }
    let mut violations = Vec::new();

    queue.fetch(&ram, INDIRECT_DESC, &mut violations);

    assert_eq!(violations, []);
    let taken: Vec<_> = queue.in_hand.iter().map(|chain| (chain.head, chain.descriptors)).collect();
    assert_eq!(taken, [(7, 10), (most - 1, most - 10)]);
    assert!(!queue.has_more(&ram), "the ring is full");
}

#[test]
fn used_out_of_order_the_ids_come_back_in_the_order_of_use() {
    let mut bench = Bench::new(SIZE, INDIRECT_DESC);
    bench.put(0, 1, 0, AVAILABLE | WRITE);
    bench.put(2, 1, 1, AVAILABLE | WRITE);
    bench.put(1, 1, 1, AVAILABLE | WRITE | NEXT);
    bench.put(3, 1, 2, AVAILABLE | WRITE);
    assert_eq!(bench.fetch_all(), 3);

    bench.done(2, 1);
    assert_eq!(bench.descriptor(0), (1, 2, DONE | WRITE));
    // The free descriptor is given again while the others are still in flight, one of them overwritten.
    bench.put(0, 1, 2, AVAILABLE_0 | WRITE);
    assert_eq!(bench.fetch_all(), 1);
    bench.done(1, 1);
    assert_eq!(bench.descriptor(1), (1, 1, DONE | WRITE));
    bench.done(0, 1);
    assert_eq!(bench.descriptor(3), (1, 0, DONE | WRITE));
    bench.done(2, 1);
    assert_eq!(bench.descriptor(0), (1, 2, DONE_0 | WRITE));
    assert_eq!(bench.fetch_all(), 0);
}

#[test]
fn no_order_of_giving_and_using_breaks_a_rule_or_loses_an_id() {
    // xorshift64 (Marsaglia); any other source of bits would do.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as usize % below
    };
    for size in 1..10_u16 {
        let mut bench = Bench::new(size, INDIRECT_DESC);
        // The driver's two places, counted on from the start, and the length of the list with each id.
        let (mut given, mut seen) = (0, 0);
        let mut lengths = vec![0; usize::from(size)];
        let mut expected = Vec::new();
        let mut came_back = Vec::new();
        let at = |count: usize| (count % usize::from(size), (count / usize::from(size)).is_multiple_of(2));
        for _ in 0..if cfg!(miri) { 150 } else { 1000 } {
            let free = usize::from(size) - (given - seen);
            let id = lengths.iter().position(|length| *length == 0);
            if let (1.., Some(id)) = (free, id) {
                let length = 1 + random(free.min(4));
                for step in (0..length).rev() {
                    let (position, wrap) = at(given + step);
                    let next = if step + 1 == length { 0 } else { NEXT };
                    let flags = if wrap { AVAILABLE } else { AVAILABLE_0 } | WRITE | next;
                    bench.put(position as u64, 1, id as u16, flags);
                }
                lengths[id] = length;
                given += length;
            }
            if random(3) > 0 {
                bench.fetch_all();
            }
            while !bench.queue.in_hand.is_empty() && random(3) > 0 {
                let id = bench.queue.in_hand[random(bench.queue.in_hand.len())].head;
                bench.done(id, 1);
                expected.push(id);
            }
            while random(4) > 0 {
                let (position, wrap) = at(seen);
                let (_, id, flags) = bench.descriptor(position as u64);
                if given == seen || flags != if wrap { DONE } else { DONE_0 } | WRITE {
                    break;
                }
                seen += core::mem::take(&mut lengths[usize::from(id)]);
                came_back.push(id);
            }
        }
        assert_eq!(came_back, expected[..came_back.len()]);
        assert!(expected.len() - came_back.len() <= usize::from(size));
        assert!(came_back.len() > 20, "{size}: {}", came_back.len());
    }
}

#[test]
fn where_nothing_was_written_the_length_is_not_told() {
    let mut bench = Bench::new(SIZE, INDIRECT_DESC);
    bench.put(0, 4096, 3, AVAILABLE);
    assert_eq!(bench.fetch_all(), 1);

    bench.done(3, 0);

    assert_eq!(bench.descriptor(0), (4096, 3, DONE), "what stands in the length means nothing");
}
