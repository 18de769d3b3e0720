//! Resets of units, targets and the bus of vioscsi in the middle of work, on a device that does with its functions what it
//! likes: every request comes back exactly once, no write is lost that is said to be done, and what a reset was for has ended
//! when the reset has.

use std::collections::{BTreeMap, BTreeSet};

use fake_device::hba::{Hba, Obedience, Unit};
use fake_device::{Interrupt, Options, Order};
use host_tests::cdb::write10;
use host_tests::random::Random;
use host_tests::{HbaBench, pattern, writing};
use storport::fake::SrbBuilder;
use storport::{Miniport, SrbFunction, SrbStatus};
use virtio::memory::Segment;
use virtio::spec::Features;
use virtio::spec::scsi::{Response, TaskManagement};

const BLOCK: usize = 512;
const BLOCKS: u64 = 64;
const STEPS: u64 = 4000;
const UNITS: [(u8, u8); 4] = [(0, 0), (0, 1), (3, 0), (3, 7)];

/// A unit, by target and number.
type Place = (u8, u8);

enum Job {
    Write {
        place: Place,
        block: u64,
        buffer: Segment,
    },
    /// The writes that it is for, and the unit, if it is for one.
    Reset {
        meant: BTreeSet<u64>,
        unit: Option<Place>,
    },
}

struct Soup<'a> {
    bench: &'a HbaBench,
    random: Random,
    jobs: BTreeMap<u64, Job>,
    busy: BTreeSet<(Place, u64)>,
    next_tag: u64,
    done: u64,
}

impl Soup<'_> {
    fn tag(&mut self) -> u64 {
        self.next_tag += 1;
        self.next_tag
    }

    fn place(&mut self) -> Place {
        UNITS[self.random.below(UNITS.len() as u64) as usize]
    }

    fn write(&mut self) {
        let (place, block) = (self.place(), self.random.below(BLOCKS));
        // StorPort holds a unit's queue over its reset.
        let held = self
            .jobs
            .values()
            .any(|job| matches!(job, Job::Reset { unit: Some(unit), .. } if *unit == place));
        if held || !self.busy.insert((place, block)) {
            return;
        }
        let tag = self.tag();
        let buffer = self.bench.filled(&pattern(tag, BLOCK));
        self.jobs.insert(tag, Job::Write { place, block, buffer });
        let request = writing(&write10(block as u32, 1), &[buffer]);
        self.bench.submit(request.to(0, place.0, place.1).tagged(tag));
    }

    fn reset(&mut self, function: SrbFunction) {
        let (target, lun) = self.place();
        let is_meant = |place: Place| match function {
            SrbFunction::ResetLogicalUnit => place == (target, lun),
            SrbFunction::ResetDevice => place.0 == target,
            _ => true,
        };
        let meant = self.jobs.iter().filter_map(|(tag, job)| match job {
            Job::Write { place, .. } if is_meant(*place) => Some(*tag),
            _ => None,
        });
        let meant = meant.collect();
        let tag = self.tag();
        let unit = (function == SrbFunction::ResetLogicalUnit).then_some((target, lun));
        self.jobs.insert(tag, Job::Reset { meant, unit });
        self.bench.submit(SrbBuilder::function(function).to(0, target, lun).tagged(tag));
    }

    fn collect(&mut self) {
        for ended in self.bench.port.take_completed() {
            let tag = ended.tag;
            let job = self.jobs.remove(&tag).expect("a request comes back once, and only if it was sent");
            let success = ended.completion.status == SrbStatus::SUCCESS;
            match job {
                Job::Write { place, block, buffer } => {
                    if success {
                        self.done += 1;
                        let at = block as usize * BLOCK;
                        let written = self.bench.device.model(|hba| {
                            hba.unit(place.0, place.1.into()).content()[at..at + BLOCK].to_vec()
                        });
                        assert!(written == pattern(tag, BLOCK), "write {tag} was lost");
                    }
                    self.busy.remove(&(place, block));
                    self.bench.give_back(buffer);
                }
                Job::Reset { meant, .. } if success => {
                    let open: Vec<&u64> = meant.iter().filter(|tag| self.jobs.contains_key(tag)).collect();
                    assert!(open.is_empty(), "reset {tag} is over, and these are not: {open:?}");
                }
                Job::Reset { .. } => {}
            }
        }
    }

    fn obedience(&mut self) -> Obedience {
        match self.random.below(8) {
            0 => Obedience::Late,
            1 => Obedience::Waits,
            2 => Obedience::Pretends,
            3 => Obedience::Silent,
            4 => Obedience::Says(Response::FUNCTION_REJECTED),
            5 => Obedience::Says(Response::FUNCTION_SUCCEEDED),
            _ => Obedience::Prompt,
        }
    }

    fn deliver(&mut self) {
        let mut interrupts = self.bench.device.take_interrupts();
        if self.random.once_in(2) {
            interrupts.reverse();
        }
        for interrupt in interrupts {
            let message = match interrupt {
                Interrupt::Message(message) => Some(u32::from(message)),
                Interrupt::Line => None,
            };
            self.bench.port.interrupt(&self.bench.adapter, message);
        }
    }

    fn step(&mut self) {
        let Self { bench, .. } = *self;
        match self.random.below(1000) {
            0..350 => self.write(),
            350..500 => _ = bench.device.run(),
            500..600 => _ = bench.device.release(self.random.below(6) as usize),
            600..750 => self.deliver(),
            750..850 => _ = bench.port.run_timer(&bench.adapter),
            850..870 => bench.device.hold(),
            870..880 => _ = bench.device.release_all(),
            880..890 => bench.device.set_order(Order::Shuffled(self.random.next())),
            890..920 => {
                let obedience = self.obedience();
                bench.device.model(|hba| {
                    hba.obedience = obedience;
                    // The one kind of device that pretends knows no other function.
                    let pretends = obedience == Obedience::Pretends;
                    hba.functions = if pretends {
                        &[TaskManagement::LOGICAL_UNIT_RESET]
                    } else {
                        Hba::default().functions
                    };
                });
            }
            920..955 => self.reset(SrbFunction::ResetLogicalUnit),
            955..980 => self.reset(SrbFunction::ResetDevice),
            980..984 => self.reset(SrbFunction::ResetBus),
            984..987 => _ = bench.adapter.reset_bus(),
            987..990 => bench.device.need_reset(),
            // StorPort stops an adapter that has no commands.
            990..992 => {
                bench.device.release_all();
                bench.settle();
                self.collect();
                if self.jobs.values().any(|job| matches!(job, Job::Write { .. })) {
                    return;
                }
                bench.adapter.stop();
                if self.random.once_in(2) {
                    bench.port.run_dpcs(&bench.adapter);
                }
                assert!(bench.adapter.restart());
            }
            // The time of a function is over.
            _ => (0..205).for_each(|_| _ = bench.port.run_timer(&bench.adapter)),
        }
        self.collect();
    }

    fn run(mut self) {
        for _ in 0..STEPS {
            self.step();
        }
        let Self { bench, .. } = self;
        bench.device.model(|hba| hba.obedience = Obedience::Prompt);
        bench.device.release_all();
        bench.settle();
        while bench.port.run_timer(&bench.adapter).is_some() {
            bench.settle();
        }
        self.collect();
        assert!(self.jobs.is_empty(), "{:?} never came back", self.jobs.keys());
        println!("{} writes, {} done, {} resets", self.next_tag, self.done, bench.device.resets());
        assert!(self.done > 50, "the run was about something");
        bench.device.assert_no_violations();
    }
}

#[test]
fn resets_of_all_kinds_lose_nothing_and_leave_nothing_open() {
    let mut random = Random::for_run("resets", 0x0129);
    let packed = Features::VERSION_1 | Features::RING_INDIRECT_DESC | Features::RING_PACKED;
    let small = Options { queue_size: 8, features: Features::VERSION_1, ..Options::default() };
    for (options, queues) in [
        (Options::default(), 1),
        (Options { vectors: 4, ..Options::default() }, 2),
        (Options { features: packed, ..Options::default() }, 1),
        (Options { vectors: 0, ..Options::default() }, 1),
        (small, 1),
    ] {
        for seg_max in [254, 1] {
            let mut hba = Hba::default().with_queues(queues);
            hba.seg_max = seg_max;
            for (target, lun) in UNITS {
                hba = hba.with(target, lun.into(), Unit::disk(BLOCKS, BLOCK as u32));
            }
            let bench = HbaBench::running_on(2, hba, options);

            Soup {
                bench: &bench,
                random: Random::new(random.next()),
                jobs: BTreeMap::new(),
                busy: BTreeSet::new(),
                next_tag: 0,
                done: 0,
            }
            .run();
        }
    }
}
