//! Queues keep apart: a processor that works with one queue writes no cache line that belongs to another one, nor does the
//! device. Here it is the memory that both share, as the drivers lay it out, and what becomes of its bytes; the drivers' own
//! memory is asserted where its types are (`queue/all.rs`, `kernel/extension.rs`).

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use adapter::DeviceType;
use fake_device::disk::{Disk, RangeLimits};
use fake_device::hba::{Hba, Unit};
use fake_device::{Model, Options};
use host_tests::cdb::read10;
use host_tests::{Bench, reading};
use storport::SrbStatus;
use storport::fake::{SrbBuilder, run_on};
use vioscsi::Vioscsi;
use viostor::Viostor;
use virtio::memory::SharedMemory;
use virtio::spec::Features;

const LINE: usize = 64;
const SECTORS: u64 = 1024;

/// Requests at once in a queue: more than there are large tables for.
const REQUESTS: u32 = 96;

/// Of every other one, as far as a queue takes them: as many as fill a large table of the odd ring.
const SEGMENTS: u32 = 99;

/// Does this, and says which lines of the memory up to `end` are others than before.
fn lines_written<D: DeviceType, M: Model>(
    bench: &Bench<D, M>,
    end: usize,
    work: impl FnOnce(),
) -> BTreeSet<usize> {
    let bytes = || -> Vec<u8> { (0..end).map(|at| bench.ram.words().load8(at, Ordering::Relaxed)).collect() };
    let before = bytes();
    work();
    let after = bytes();
    let lines = before.chunks(LINE).zip(after.chunks(LINE)).enumerate();
    lines.filter(|(_, (before, after))| before != after).map(|(line, _)| line).collect()
}

/// The lines that are written for each of so many queues, one after the other: short requests, long ones, and `others`.
fn lines_of_queues<D: DeviceType, M: Model>(
    queues: u16,
    model: M,
    options: Options,
    others: &dyn Fn() -> Vec<SrbBuilder>,
) -> Vec<BTreeSet<usize>> {
    let bench = Bench::<D, M>::running_on(queues, model, options);
    assert_eq!(bench.queues(), queues);
    // Buffers come behind what the driver has of the memory.
    let most = bench.configuration.max_segments.min(SEGMENTS) as usize;
    let buffers: Vec<_> = (0..most).map(|_| bench.buffer(512)).collect();
    let end = bench.ram.offset(buffers[0].address, 0).expect("the buffer lies in the memory");
    let lines = |queue: u16| {
        lines_written(&bench, end, || {
            run_on(queue.into());
            bench.device.hold();
            for request in 0..REQUESTS {
                let segments = if request % 2 == 0 { most } else { 1 };
                let blocks = read10(1 + request, segments as u16);
                bench.submit(reading(&blocks, &buffers[..segments]));
            }
            let others = others();
            let count = REQUESTS as usize + others.len();
            for other in others {
                bench.submit(other);
            }
            run_on(0);
            bench.device.run();
            bench.device.release_all();
            bench.settle();
            let ends = bench.ends();
            assert_eq!(ends.len(), count);
            assert!(ends.iter().all(|(_, status)| *status == SrbStatus::SUCCESS), "{ends:?}");
        })
    };
    let lines = (0..queues).map(lines).collect();
    bench.device.assert_no_violations();
    lines
}

#[track_caller]
fn assert_apart(lines: &[BTreeSet<usize>]) {
    for (number, queue) in lines.iter().enumerate() {
        // Of the ring alone there are about so many for all the segments.
        assert!(queue.len() >= 16, "queue {number}: {} lines", queue.len());
        for (other, others) in lines.iter().enumerate().skip(number + 1) {
            let both: Vec<_> = queue.intersection(others).collect();
            assert!(both.is_empty(), "queues {number} and {other} both write the lines {both:?}");
        }
    }
}

/// Two to eight queues, a ring of each kind, and one whose parts end in the middle of lines.
fn every_kind(check: impl Fn(u16, Options)) {
    let default = Options::default();
    let packed = default.features | Features::RING_PACKED;
    let rings = [(default.features, 256), (packed, 64), (packed, 101)];
    for queues in [2, 3, 8] {
        for (features, queue_size) in rings {
            check(queues, Options { vectors: queues + 1, features, queue_size, ..default });
        }
    }
}

#[test]
fn no_two_queues_of_viostor_write_a_line() {
    every_kind(|queues, options| {
        let mut disk = Disk::new(SECTORS).with_queues(queues);
        disk.discard = Some(RangeLimits { max_sectors: 1000, max_seg: 4, alignment: 1 });
        // Its list goes into scratch memory.
        let unmap = || {
            let mut list = [0; 24];
            (list[1], list[3], list[15], list[19]) = (22, 16, 100, 1);
            vec![SrbBuilder::execute(&[0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0]).with_data_out(&list)]
        };

        assert_apart(&lines_of_queues::<Viostor, _>(queues, disk, options, &unmap));
    });
}

#[test]
fn no_two_queues_of_vioscsi_write_a_line() {
    every_kind(|queues, options| {
        let hba = Hba::default().with_queues(queues).with(0, 0, Unit::disk(SECTORS, 512));

        assert_apart(&lines_of_queues::<Vioscsi, _>(queues, hba, options, &Vec::new));
    });
}
