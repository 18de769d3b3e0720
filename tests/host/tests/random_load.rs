//! Long runs with everything at once: every request comes back exactly once, and what was written can be read.

use std::collections::BTreeMap;

use adapter::DeviceType;
use fake_device::disk::Disk;
use fake_device::hba::{Hba, Unit};
use fake_device::{Lie, Model, Options, Order};
use host_tests::cdb::{read16, synchronize_cache10, write16};
use host_tests::random::Random;
use host_tests::{Bench, DiskBench, HbaBench, pattern, reading, writing};
use storport::fake::{Completed, SrbBuilder, run_on};
use storport::{DpcKind, Interrupts, Miniport, SrbFunction, SrbStatus};
use virtio::memory::Segment;
use virtio::spec::Features;
use virtio::spec::blk::Status;

const BLOCK: usize = 512;
/// Blocks a run works on. Each is under at most one request at a time, as a file system does it.
const BLOCKS: u64 = 600;
const STEPS: u64 = 6000;
const PROCESSORS: u16 = 5;

/// What a request was for.
enum Job {
    Read { first: u64, pieces: Vec<Segment> },
    Write { first: u64, pieces: Vec<Segment>, content: Vec<u8> },
    Other,
}

/// What a block holds: all it may hold, when a write did not come back well.
type Shadow = Vec<Vec<Vec<u8>>>;

struct Load<'a, D: DeviceType, M: Model> {
    bench: &'a Bench<D, M>,
    random: Random,
    jobs: BTreeMap<u64, Job>,
    next_tag: u64,
    busy: Vec<bool>,
    shadow: Shadow,
    completed: u64,
    failed: u64,
}

impl<'a, D: DeviceType, M: Model> Load<'a, D, M> {
    fn new(bench: &'a Bench<D, M>, random: Random) -> Self {
        Self {
            bench,
            random,
            jobs: BTreeMap::new(),
            next_tag: 0,
            busy: vec![false; BLOCKS as usize],
            shadow: vec![vec![vec![0; BLOCK]]; BLOCKS as usize],
            completed: 0,
            failed: 0,
        }
    }

    fn submit(&mut self) {
        run_on(self.random.below(PROCESSORS.into()) as u32);
        let most = u64::from(self.bench.configuration.max_segments).min(40);
        let long = self.random.once_in(4);
        let count = 1 + self.random.below(if long { most } else { most.min(4) });
        let first = self.random.below(BLOCKS - count);
        let range = first as usize..(first + count) as usize;
        let tag = self.next_tag;
        self.next_tag += 1;
        if self.busy[range.clone()].iter().any(|busy| *busy) {
            self.jobs.insert(tag, Job::Other);
            let request = match self.random.below(3) {
                0 => SrbBuilder::execute(&synchronize_cache10()),
                1 => SrbBuilder::execute(&[0; 6]),
                _ => SrbBuilder::function(SrbFunction::Flush),
            };
            self.bench.submit(request.tagged(tag));
            return;
        }
        self.busy[range].fill(true);
        let pieces: Vec<Segment> = (0..count).map(|_| self.bench.buffer(BLOCK)).collect();
        if self.random.once_in(2) {
            let request = reading(&read16(first, count as u32), &pieces).tagged(tag);
            self.jobs.insert(tag, Job::Read { first, pieces });
            self.bench.submit(request);
        } else {
            let content = pattern(self.random.next(), BLOCK * count as usize);
            for (piece, part) in pieces.iter().zip(content.chunks(BLOCK)) {
                self.bench.fill(*piece, part);
            }
            let request = writing(&write16(first, count as u32), &pieces).tagged(tag);
            self.jobs.insert(tag, Job::Write { first, pieces, content });
            self.bench.submit(request);
        }
    }

    /// Checks what came back.
    fn collect(&mut self) {
        for Completed { tag, completion, .. } in self.bench.port.take_completed() {
            let job = self.jobs.remove(&tag).expect("a request comes back once, and only if it was sent");
            self.completed += 1;
            let success = completion.status == SrbStatus::SUCCESS;
            self.failed += u64::from(!success);
            let (first, pieces) = match job {
                Job::Other => continue,
                Job::Read { first, pieces } => {
                    if success {
                        for (block, piece) in (first as usize..).zip(&pieces) {
                            let content = self.bench.content(*piece);
                            assert!(self.shadow[block].contains(&content), "request {tag}, block {block}");
                            // Now it is known what is there.
                            self.shadow[block] = vec![content];
                        }
                    }
                    (first, pieces)
                }
                Job::Write { first, pieces, content } => {
                    for (block, part) in (first as usize..).zip(content.chunks(BLOCK)) {
                        if success {
                            self.shadow[block].clear();
                        }
                        self.shadow[block].push(part.to_vec());
                    }
                    (first, pieces)
                }
            };
            self.busy[first as usize..first as usize + pieces.len()].fill(false);
            pieces.into_iter().for_each(|piece| self.bench.give_back(piece));
        }
    }

    /// Has the device lie about the next request it answers, where the driver can tell: with nothing else in the used
    /// ring, and before it submits anything more. (A used entry for a request that the driver has just submitted cannot be
    /// told from the truth.)
    fn lie(&mut self) {
        let device = &self.bench.device;
        device.hold();
        device.run();
        self.drain();
        if device.in_hand() == 0 {
            return;
        }
        device.lie(match self.random.below(6) {
            0 => Lie::UsedIdOutOfRange,
            1 => Lie::UsedIdNotInFlight,
            2 => Lie::UsedTwice,
            3 => Lie::UsedLengthTooLong(1 + self.random.below(5000) as u32),
            4 => Lie::UsedIndexJump(300 + self.random.below(60_000) as u16),
            _ => Lie::NothingWritten,
        });
        device.release(1);
        self.drain();
        device.be_honest();
    }

    /// Runs the DPCs of all queues.
    fn drain(&self) {
        for queue in 0..self.bench.queues() {
            self.bench.adapter.dpc(DpcKind::RequestQueue(queue));
        }
        self.bench.port.run_dpcs(&self.bench.adapter);
    }

    /// The port driver stops the adapter, which has nothing to do then, and starts it with other messages; requests come
    /// meanwhile.
    fn restart(&mut self) {
        let device = &self.bench.device;
        let vectors = device.config_space().msix_vectors();
        device.be_honest();
        device.set_polling(false);
        device.release_all();
        self.bench.settle();
        self.collect();
        self.bench.adapter.stop();
        for _ in 0..self.random.below(20) {
            self.submit();
        }
        let interrupts = match vectors {
            0 => Interrupts::Line,
            vectors => Interrupts::Messages(1 + self.random.below(vectors.into()) as u16),
        };
        self.bench.adapter.initialize(interrupts).expect("the device starts");
    }

    fn step(&mut self, break_sectors: &impl Fn(&Bench<D, M>, u64)) {
        let device = &self.bench.device;
        match self.random.below(2000) {
            0..1000 => self.submit(),
            1000..1300 => {
                device.run();
            }
            1300..1500 => {
                let most = self.random.below(40) as usize;
                device.release(most);
            }
            1500..1900 => {
                self.bench.deliver_interrupts();
            }
            1900..1930 => {
                // An interrupt without a cause, which a device may send at any time.
                let message = self.random.below(4) as u32;
                self.bench.port.interrupt(&self.bench.adapter, Some(message));
            }
            1930..1950 => device.hold(),
            1950..1970 => {
                device.release_all();
            }
            1970..1975 => device.set_polling(self.random.once_in(2)),
            1975..1985 => device.set_order(match self.random.below(3) {
                0 => Order::Arrival,
                1 => Order::Reversed,
                _ => Order::Shuffled(self.random.next()),
            }),
            1985..1992 => break_sectors(self.bench, self.random.next()),
            1992 => {
                assert!(self.bench.adapter.reset_bus());
            }
            1993 => {
                let tag = self.next_tag;
                self.next_tag += 1;
                self.jobs.insert(tag, Job::Other);
                self.bench.submit(SrbBuilder::function(SrbFunction::ResetLogicalUnit).tagged(tag));
            }
            1994 if self.random.once_in(2) => device.need_reset(),
            1994 => self.restart(),
            1995 => {
                // The port driver gives up on a reset that does not end, and tries again.
                device.lie(Lie::ResetNeverEnds);
                assert!(self.bench.adapter.reset_bus());
                device.release(3);
                self.collect();
                device.be_honest();
                assert!(self.bench.adapter.reset_bus());
            }
            _ => self.lie(),
        }
        self.collect();
    }

    fn run(&mut self, break_sectors: impl Fn(&Bench<D, M>, u64)) {
        for _ in 0..STEPS {
            self.step(&break_sectors);
        }
        self.bench.device.be_honest();
        self.bench.device.set_polling(false);
        self.bench.device.release_all();
        self.bench.settle();
        self.collect();
        assert!(self.jobs.is_empty(), "{} requests never came back", self.jobs.len());
        println!(
            "{} requests, {} of them failed, {} resets",
            self.completed,
            self.failed,
            self.bench.device.resets()
        );
        assert!(self.completed - self.failed > 1000, "the run was about something");
        self.bench.device.assert_no_violations();
    }

    /// The medium holds what was written.
    fn check_medium(&self, medium: &[u8]) {
        for (block, content) in medium.chunks(BLOCK).take(BLOCKS as usize).enumerate() {
            assert!(self.shadow[block].iter().any(|possible| possible == content), "block {block}");
        }
    }
}

/// Rings of both kinds, with and without tables, event index and positions in notifications, of different sizes and
/// interrupts, behind the registers of this century and of the last.
fn all_options() -> impl Iterator<Item = Options> {
    const INDIRECT: Features = Features::RING_INDIRECT_DESC;
    const EVENT_IDX: Features = Features::RING_EVENT_IDX;
    const PACKED: Features = Features::RING_PACKED;
    const POSITION: Features = Features::NOTIFICATION_DATA;
    const NAME: Features = Features::NOTIF_CONFIG_DATA;
    let modern = [
        (256, 2, INDIRECT.union(EVENT_IDX)),
        (16, 1, INDIRECT.union(EVENT_IDX).union(NAME)),
        (4, 0, INDIRECT),
        (64, 3, INDIRECT.union(POSITION)),
        (128, 2, INDIRECT.union(EVENT_IDX)),
        (128, 2, EVENT_IDX),
        (16, 0, Features::empty()),
        (256, 2, PACKED.union(INDIRECT).union(EVENT_IDX)),
        (100, 2, PACKED.union(INDIRECT).union(EVENT_IDX).union(POSITION).union(NAME)),
        (5, 1, PACKED.union(INDIRECT)),
        (128, 2, PACKED.union(EVENT_IDX).union(POSITION)),
        (33, 0, PACKED),
    ]
    .into_iter()
    .map(|(queue_size, vectors, ring)| {
        let features = Features::VERSION_1 | ring;
        Options { queue_size, vectors, features, ..Options::default() }
    });
    let legacy = [(128, 0, INDIRECT.union(EVENT_IDX)), (512, 2, INDIRECT), (64, 2, Features::empty())]
        .into_iter()
        .map(|(queue_size, vectors, features)| Options {
            queue_size,
            vectors,
            features,
            legacy: true,
            ..Options::default()
        });
    modern.chain(legacy)
}

/// The same with several queues, and how many the device has: enough messages for all and not enough, fewer queues than
/// processors and more.
fn with_queues() -> impl Iterator<Item = (Options, u16)> {
    let modern = all_options().filter(|options| !options.legacy).zip([2, 4, 8].into_iter().cycle());
    let several = modern.zip([9, 5, 3].into_iter().cycle()).filter(|((options, _), _)| options.vectors > 1);
    let several = several.map(|((options, queues), vectors)| (Options { vectors, ..options }, queues));
    all_options().map(|options| (options, 1)).chain(several)
}

#[test]
fn viostor_brings_every_request_back_exactly_once() {
    let mut random = Random::for_run("viostor", 0x0b10_c4de);
    for (options, queues) in with_queues() {
        let disk = Disk::new(BLOCKS).with_queues(queues);
        let bench = DiskBench::running_on(PROCESSORS, disk, options);
        let mut load = Load::new(&bench, Random::new(random.next()));

        load.run(|bench, choice| {
            let status = if choice % 2 == 0 { None } else { Some(Status::IOERR) };
            bench.device.model(|disk| disk.set_bad_sector(choice / 2 % BLOCKS, status));
        });

        load.check_medium(&bench.sectors(0, BLOCKS));
    }
}

#[test]
fn viostor_brings_every_request_back_exactly_once_when_it_copies() {
    let mut random = Random::for_run("viostor, copying", 0x0c09_1e5d);
    let limits: [fn(&mut Disk); 2] =
        [|disk| disk.seg_max = None, |disk| (disk.seg_max, disk.size_max) = (Some(2), Some(700))];
    // With one queue and with several, split and packed, with tables and without.
    let some = with_queues().step_by(3);
    for ((options, queues), limit) in some.zip(limits.into_iter().cycle()) {
        let mut disk = Disk::new(BLOCKS).with_queues(queues);
        limit(&mut disk);
        let bench = DiskBench::running_on(PROCESSORS, disk, options);
        assert!(bench.configuration.maps_all, "{options:?}");
        let mut load = Load::new(&bench, Random::new(random.next()));

        load.run(|bench, choice| {
            let status = if choice % 2 == 0 { None } else { Some(Status::IOERR) };
            bench.device.model(|disk| disk.set_bad_sector(choice / 2 % BLOCKS, status));
        });

        load.check_medium(&bench.sectors(0, BLOCKS));
    }
}

#[test]
fn vioscsi_brings_every_request_back_exactly_once() {
    let mut random = Random::for_run("vioscsi", 0x005c_51de);
    for (options, queues) in with_queues() {
        let hba = Hba::default().with_queues(queues).with(0, 0, Unit::disk(BLOCKS, 512));
        let bench = HbaBench::running_on(PROCESSORS, hba, options);
        let mut load = Load::new(&bench, Random::new(random.next()));

        load.run(|_, _| {});

        load.check_medium(&bench.device.model(|hba| hba.unit(0, 0).content().clone()));
    }
}
