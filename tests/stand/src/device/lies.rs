//! The lies, and what must come of them.

use super::Kind;

/// What the device says that is not so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "LIES says what each is")]
pub enum Lie {
    None,
    UsedIdOutOfRange,
    UsedIdEnormous,
    UsedIdFree,
    UsedTwice,
    UsedIndexJumps,
    UsedIndexGoesBack,
    UsedLengthZero,
    UsedLengthHuge,
    RewritesDescriptors,
    RewritesOnce,
    RewritesAvailable,
    RewritesTable,
    StatusNotWritten,
    StatusGarbage,
    ResponseNotWritten,
    ResponseUnknown,
    ScsiStatusUnknown,
    SenseLengthHuge,
    ResidualHuge,
    BusyTen,
    ForgetsOne,
    NeverCompletes,
    Slow,
    NeedsReset,
    NeedsResetForEver,
    Gone,
    GoneForAWhile,
    ResetNeverCompletes,
    ResetNeverCompletesAtWork,
    ResetCompletesAtLast,
    ResetNeverBegins,
    ResetSlow,
    ResetTakesSeconds,
    ResetTakesASecond,
    LineOnly,
    NoTables,
    NoEvents,
    InterruptStorm,
    InterruptsNever,
    ConfigStorm,
    IsrLies,
    IsrOnes,
    AvailEventGarbage,
    UsedFlagsGarbage,
    QueueSizeZero,
    QueueSizeOne,
    QueueSizeOdd,
    QueueSizeHuge,
    QueueSizeShrinks,
    NumQueuesZero,
    NumQueuesHuge,
    NotifyMultiplierHuge,
    NotifyOffsetHuge,
    CapabilityLoop,
    CapabilityOutside,
    CapabilityAtTheEnd,
    CapabilityNoBar,
    CapabilityReservedBar,
    NoCommonCapability,
    CommonShort,
    ConfigShort,
    BarTooSmall,
    GenerationNeverSettles,
    FeaturesChange,
    NoVersion1,
    AllFeatures,
    FeaturesOkRefused,
    VectorRefused,
    CapacityZero,
    CapacityHuge,
    CapacityShrinks,
    CapacityGrowsAtStart,
    SegMaxZero,
    SegMaxHuge,
    BlockSizeZero,
    BlockSizeThree,
    BlockSizeHuge,
    MaxSectorsZero,
    MaxSectorsHuge,
    CommandsPerLunZero,
    SenseSizeZero,
    SenseSizeHuge,
    CdbSizeZero,
    CdbSizeHuge,
    TargetsHuge,
    LunsHuge,
    AllOnes,
    ResetBlocks,
    TaskIgnored,
    TaskLate,
    TaskTwice,
    TaskIdFree,
    TaskIdOutOfRange,
    TaskOtherUnit,
    TaskSays(u8),
    TaskKeeps(u8),
    TaskAhead(u8),
    TaskThenResetNeverEnds(u8),
    TaskLengthZero,
    TaskLengthHuge,
    EventFlood,
    EventsMissed,
    EventUnknown,
    EventReasonUnknown,
    EventNowhere,
    EventOfNoUnit,
    EventHardReset,
    EventParameters,
    EventNotification,
    EventStorm,
    EventLengthZero,
    EventLengthHuge,
    EventTwice,
    EventOtherBuffer,
    EventIdOutOfRange,
    EventIdOutOfRangeForEver,
}

/// How far a driver has to climb whose reset of a unit meets a device that lies about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Climb {
    /// The unit's reset is enough: the requests of all others are left alone.
    Unit,
    /// That of its target; the requests of other targets are left alone.
    Target,
    /// Nothing less than the device's will do.
    Device,
}

/// What a driver has to tell Windows of the events of a lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hears {
    /// Nothing: the driver cannot know what they are.
    Nothing,
    /// To look at the bus.
    Bus,
    /// To look at the unit, or at the bus.
    Unit,
    /// Anything that is no unit which there is not.
    Any,
}

/// Whether the adapter must come up in spite of the lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It must: the lie comes later, or is one that drivers have to live with.
    Up,
    /// It must not: nothing can be done with such a device.
    Down,
    /// A driver may do either.
    Either,
}

/// A lie for a person and for the command line, and what may come of it.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    /// Its name on the command line.
    pub name: &'static str,
    /// The lie.
    pub lie: Lie,
    /// What it is.
    pub what: &'static str,
    /// What must come of it.
    pub outcome: Outcome,
    /// The kind of device that can tell it; both, when there is none.
    only: Option<Kind>,
    /// The device never becomes honest again, so requests may fail for ever.
    pub lasts: bool,
    /// What was read may be anything: the device says of a request under way that it is done.
    pub spoils: bool,
    /// No request need fail: a driver that waits for its device has them come again.
    pub spares: bool,
    /// It is about task management functions.
    pub climb: Option<Climb>,
    /// It is about events.
    pub hears: Option<Hears>,
    /// It breaks the rules of the event queue's ring.
    pub breaks: bool,
}

impl Told {
    /// Whether it is about nothing but resets of a device that is at work.
    pub fn is_about_resets(&self) -> bool {
        matches!(self.lie, Lie::ResetNeverCompletes | Lie::ResetTakesASecond | Lie::ResetBlocks)
    }

    /// Whether it is about task management functions.
    pub fn is_about_tasks(&self) -> bool {
        self.climb.is_some()
    }

    /// Whether it is about events.
    pub fn is_about_events(&self) -> bool {
        self.hears.is_some()
    }

    /// Whether it is told with others of its subject in one run: the device is honest again in between, and the driver as it was.
    pub fn is_one_of_many(&self) -> bool {
        self.is_about_tasks() && !self.lasts || self.is_about_events() && !self.breaks
    }

    /// Whether a device of this kind can tell it.
    pub fn is_for(&self, kind: Kind) -> bool {
        self.only.is_none_or(|only| only == kind)
    }

    const fn blk(self) -> Self {
        Told { only: Some(Kind::Blk), ..self }
    }

    const fn scsi(self) -> Self {
        Told { only: Some(Kind::Scsi), ..self }
    }

    const fn lasts(self) -> Self {
        Told { lasts: true, ..self }
    }

    const fn spoils(self) -> Self {
        Told { spoils: true, ..self }
    }

    const fn spares(self) -> Self {
        Told { spares: true, ..self }
    }

    const fn breaks(self) -> Self {
        Told { breaks: true, ..self }
    }
}

const fn told(name: &'static str, lie: Lie, what: &'static str, outcome: Outcome) -> Told {
    Told {
        name,
        lie,
        what,
        outcome,
        only: None,
        lasts: false,
        spoils: false,
        spares: false,
        climb: None,
        hears: None,
        breaks: false,
    }
}

/// A lie about task management functions.
const fn task(name: &'static str, lie: Lie, what: &'static str, climb: Climb) -> Told {
    Told { climb: Some(climb), ..told(name, lie, what, Outcome::Up).scsi() }
}

/// A lie about events.
const fn event(name: &'static str, lie: Lie, what: &'static str, hears: Hears) -> Told {
    Told { hears: Some(hears), ..told(name, lie, what, Outcome::Up).scsi() }
}

/// All lies.
pub const LIES: &[Told] = &[
    told("used-id-out-of-range", Lie::UsedIdOutOfRange, "an id past the queue's size, once", Outcome::Up),
    told("used-id-enormous", Lie::UsedIdEnormous, "an id of 0xffffffff, once", Outcome::Up),
    told("used-id-free", Lie::UsedIdFree, "the id of a descriptor that is not in use, once", Outcome::Up)
        .spoils(),
    told("used-twice", Lie::UsedTwice, "the same id twice", Outcome::Up),
    told("used-index-jumps", Lie::UsedIndexJumps, "more used entries than the queue has, once", Outcome::Up)
        .spoils(),
    told(
        "used-index-goes-back",
        Lie::UsedIndexGoesBack,
        "a used index that was there before, once",
        Outcome::Up,
    )
    .spoils(),
    told("used-length-zero", Lie::UsedLengthZero, "every used length is zero", Outcome::Up).lasts(),
    told("used-length-huge", Lie::UsedLengthHuge, "every used length is 0xffffffff", Outcome::Up).lasts(),
    told(
        "rewrites-descriptors",
        Lie::RewritesDescriptors,
        "the device writes over the descriptors after each request",
        Outcome::Up,
    )
    .lasts(),
    told(
        "rewrites-descriptors-once",
        Lie::RewritesOnce,
        "the device writes over the descriptors once",
        Outcome::Up,
    )
    // A driver may have written what stays the same once, when it started; it fails until the next reset.
    .lasts(),
    told(
        "rewrites-available",
        Lie::RewritesAvailable,
        "the device writes over the available ring, once",
        Outcome::Up,
    ),
    told(
        "rewrites-table",
        Lie::RewritesTable,
        "the device writes over each request's own table",
        Outcome::Up,
    )
    .lasts()
    // The device reads later requests from what it spoilt, and may take a write for a read that went well.
    .spoils(),
    told(
        "status-not-written",
        Lie::StatusNotWritten,
        "requests end without a status, for a while",
        Outcome::Up,
    )
    .blk(),
    told("status-garbage", Lie::StatusGarbage, "a status that does not exist, for a while", Outcome::Up)
        .blk(),
    told(
        "response-not-written",
        Lie::ResponseNotWritten,
        "requests end without a response, for a while",
        Outcome::Up,
    )
    .scsi(),
    told(
        "response-unknown",
        Lie::ResponseUnknown,
        "a response code that does not exist, for a while",
        Outcome::Up,
    )
    .scsi(),
    told(
        "scsi-status-unknown",
        Lie::ScsiStatusUnknown,
        "a SCSI status that does not exist, for a while",
        Outcome::Up,
    )
    .scsi(),
    told("sense-length-huge", Lie::SenseLengthHuge, "4 GiB of sense data, for a while", Outcome::Up).scsi(),
    told("residual-huge", Lie::ResidualHuge, "a residual of 2^32 - 1, for a while", Outcome::Up).scsi(),
    told("busy-ten", Lie::BusyTen, "the response BUSY, for a while", Outcome::Up).scsi(),
    told("forgets-one", Lie::ForgetsOne, "one request is never answered", Outcome::Up),
    told("never-completes", Lie::NeverCompletes, "no request is answered any more", Outcome::Up).lasts(),
    told("slow", Lie::Slow, "every answer takes half a second, for a while", Outcome::Up),
    told("needs-reset", Lie::NeedsReset, "DEVICE_NEEDS_RESET in the middle of work", Outcome::Up),
    told("needs-reset-for-ever", Lie::NeedsResetForEver, "DEVICE_NEEDS_RESET at every request", Outcome::Up)
        .lasts(),
    told("gone", Lie::Gone, "all registers read as ones from a request on", Outcome::Up).lasts(),
    told("gone-for-a-while", Lie::GoneForAWhile, "all registers read as ones for 20 ms", Outcome::Up).lasts(),
    told(
        "reset-never-completes",
        Lie::ResetNeverCompletes,
        "a reset of the running device never ends, in which it ends what it has",
        Outcome::Either,
    )
    .lasts(),
    told(
        "reset-never-completes-at-work",
        Lie::ResetNeverCompletesAtWork,
        "one request is never answered, and the reset for its sake never ends",
        Outcome::Up,
    )
    .lasts(),
    told(
        "reset-completes-at-last",
        Lie::ResetCompletesAtLast,
        "one request is never answered, and the third reset for its sake is the first that ends",
        Outcome::Up,
    ),
    told("reset-never-begins", Lie::ResetNeverBegins, "the status register never reads 0", Outcome::Down),
    told(
        "reset-slow",
        Lie::ResetSlow,
        "the status register reads 0 at the tenth look after a reset",
        Outcome::Up,
    ),
    told(
        "reset-takes-seconds",
        Lie::ResetTakesSeconds,
        "one request is never answered, and the reset for its sake takes three seconds",
        Outcome::Up,
    )
    .spares(),
    told(
        "reset-takes-a-second",
        Lie::ResetTakesASecond,
        "every reset of the running device takes a second, in which it ends what it has",
        Outcome::Up,
    ),
    told("line-only", Lie::LineOnly, "the truth, but without message interrupts", Outcome::Up),
    told("no-tables", Lie::NoTables, "the truth, but without indirect descriptors", Outcome::Up),
    told("no-events", Lie::NoEvents, "the truth, but without event indexes", Outcome::Up),
    told(
        "interrupt-storm",
        Lie::InterruptStorm,
        "interrupts without work, eight each millisecond",
        Outcome::Up,
    ),
    told("interrupts-never", Lie::InterruptsNever, "no interrupt from a request on", Outcome::Up).lasts(),
    told("config-storm", Lie::ConfigStorm, "a configuration change each millisecond", Outcome::Up),
    told("isr-lies", Lie::IsrLies, "line interrupts, and the interrupt status is always zero", Outcome::Up)
        .lasts(),
    told("isr-ones", Lie::IsrOnes, "line interrupts, and the interrupt status is all ones", Outcome::Up)
        .lasts(),
    told(
        "avail-event-garbage",
        Lie::AvailEventGarbage,
        "an available event that makes no sense",
        Outcome::Up,
    ),
    told("used-flags-garbage", Lie::UsedFlagsGarbage, "used flags that make no sense", Outcome::Up).lasts(),
    told("queue-size-zero", Lie::QueueSizeZero, "the queue does not exist", Outcome::Down),
    told("queue-size-one", Lie::QueueSizeOne, "a queue of one entry", Outcome::Either),
    told("queue-size-odd", Lie::QueueSizeOdd, "a queue of 100 entries", Outcome::Up),
    told("queue-size-huge", Lie::QueueSizeHuge, "a queue of 65535 entries", Outcome::Up),
    told(
        "queue-size-shrinks",
        Lie::QueueSizeShrinks,
        "a queue that has 4 entries after the second reset",
        Outcome::Either,
    ),
    told("num-queues-zero", Lie::NumQueuesZero, "no queues", Outcome::Either),
    told("num-queues-huge", Lie::NumQueuesHuge, "all the queues that a number can say", Outcome::Up),
    told(
        "notify-multiplier-huge",
        Lie::NotifyMultiplierHuge,
        "a notification multiplier of 2 GiB",
        Outcome::Either,
    ),
    told(
        "notify-offset-huge",
        Lie::NotifyOffsetHuge,
        "a notification address outside the structure",
        Outcome::Down,
    ),
    told("capability-loop", Lie::CapabilityLoop, "a capability list that goes in circles", Outcome::Either),
    told(
        "capability-outside",
        Lie::CapabilityOutside,
        "a structure outside its base address register",
        Outcome::Down,
    ),
    told(
        "capability-at-the-end",
        Lie::CapabilityAtTheEnd,
        "a capability that runs over the end of configuration space",
        Outcome::Down,
    ),
    told(
        "capability-no-bar",
        Lie::CapabilityNoBar,
        "a structure in a base address register that there is not",
        Outcome::Down,
    ),
    told(
        "capability-reserved-bar",
        Lie::CapabilityReservedBar,
        "a structure in base address register 7",
        Outcome::Down,
    ),
    told("no-common-capability", Lie::NoCommonCapability, "no common configuration", Outcome::Down),
    told("common-short", Lie::CommonShort, "a common configuration of 16 bytes", Outcome::Down),
    told("config-short", Lie::ConfigShort, "a device configuration of 4 bytes", Outcome::Down),
    told(
        "bar-too-small",
        Lie::BarTooSmall,
        "a base address register of 4 KiB, and structures behind it",
        Outcome::Down,
    ),
    told(
        "generation-never-settles",
        Lie::GenerationNeverSettles,
        "another configuration generation at each look",
        Outcome::Either,
    ),
    told(
        "features-change",
        Lie::FeaturesChange,
        "features that are not offered at the second look",
        Outcome::Either,
    ),
    told("no-version-1", Lie::NoVersion1, "a modern device without VERSION_1", Outcome::Down),
    told("all-features", Lie::AllFeatures, "every feature bit there can be", Outcome::Either).lasts(),
    told("features-ok-refused", Lie::FeaturesOkRefused, "FEATURES_OK does not stay set", Outcome::Down),
    told("vector-refused", Lie::VectorRefused, "vectors that read back as none", Outcome::Either).lasts(),
    told("capacity-zero", Lie::CapacityZero, "a disk of nothing", Outcome::Either).blk().lasts(),
    told("capacity-huge", Lie::CapacityHuge, "a disk of 2^64 - 1 sectors", Outcome::Up).blk(),
    told(
        "capacity-grows-at-start",
        Lie::CapacityGrowsAtStart,
        "the disk is twice as large from DRIVER_OK on, which an interrupt says at once",
        Outcome::Up,
    )
    .blk(),
    told("capacity-shrinks", Lie::CapacityShrinks, "a disk that says it has become smaller", Outcome::Up)
        .blk(),
    told("seg-max-zero", Lie::SegMaxZero, "no segments", Outcome::Either),
    told("seg-max-huge", Lie::SegMaxHuge, "2^32 - 1 segments", Outcome::Up),
    told("block-size-zero", Lie::BlockSizeZero, "blocks of nothing", Outcome::Either).blk().lasts(),
    told("block-size-three", Lie::BlockSizeThree, "blocks of 3 bytes", Outcome::Either).blk().lasts(),
    told("block-size-huge", Lie::BlockSizeHuge, "blocks of 2 GiB", Outcome::Either).blk().lasts(),
    told("max-sectors-zero", Lie::MaxSectorsZero, "transfers of nothing", Outcome::Either).scsi(),
    told("max-sectors-huge", Lie::MaxSectorsHuge, "transfers of 2 TiB", Outcome::Up).scsi(),
    told("commands-per-lun-zero", Lie::CommandsPerLunZero, "no command at a time", Outcome::Up).scsi(),
    told("sense-size-zero", Lie::SenseSizeZero, "no sense data", Outcome::Either).scsi(),
    told("sense-size-huge", Lie::SenseSizeHuge, "a sense size of 2^32 - 1", Outcome::Either).scsi(),
    told("cdb-size-zero", Lie::CdbSizeZero, "no CDB", Outcome::Either).scsi(),
    told("cdb-size-huge", Lie::CdbSizeHuge, "a CDB size of 2^32 - 1", Outcome::Either).scsi(),
    told("targets-huge", Lie::TargetsHuge, "65536 targets on 65536 channels", Outcome::Up).scsi(),
    told("luns-huge", Lie::LunsHuge, "2^32 units of a target", Outcome::Up).scsi(),
    told("all-ones", Lie::AllOnes, "all registers read as ones", Outcome::Down),
    // QEMU waits in the write for all that its storage has not done (hw/block/virtio-blk.c, virtio_blk_reset).
    told(
        "reset-blocks",
        Lie::ResetBlocks,
        "the write that begins a reset of the running device returns after five seconds, when it has ended",
        Outcome::Up,
    ),
    task("task-ignored", Lie::TaskIgnored, "no function is ever answered", Climb::Device),
    task(
        "task-late",
        Lie::TaskLate,
        "the first function is done at once, and answered when another one was, which is its target's",
        Climb::Target,
    ),
    task("task-twice", Lie::TaskTwice, "each function is answered twice", Climb::Device),
    task("task-id-free", Lie::TaskIdFree, "an answer to a function that there was not", Climb::Device),
    task("task-id-out-of-range", Lie::TaskIdOutOfRange, "an answer past the queue's size", Climb::Device),
    task(
        "task-other-unit",
        Lie::TaskOtherUnit,
        "each function is done to another unit of the target",
        Climb::Device,
    ),
    // vhost-scsi rejects all but LOGICAL UNIT RESET (Linux, drivers/vhost/scsi.c, vhost_scsi_handle_tmf).
    task("task-rejected", Lie::TaskSays(11), "FUNCTION REJECTED", Climb::Device),
    // QEMU says so of a unit that has just gone (hw/scsi/virtio-scsi.c, virtio_scsi_do_tmf), the next one of one that is another.
    task("task-bad-target", Lie::TaskSays(3), "BAD TARGET", Climb::Device),
    task("task-incorrect-lun", Lie::TaskSays(12), "INCORRECT LUN", Climb::Device),
    task("task-aborted", Lie::TaskSays(2), "ABORTED, of a function", Climb::Device),
    task("task-reset", Lie::TaskSays(4), "RESET, of a function", Climb::Device),
    task("task-busy", Lie::TaskSays(5), "BUSY", Climb::Device),
    task("task-transport-failure", Lie::TaskSays(6), "TRANSPORT FAILURE", Climb::Device),
    task("task-target-failure", Lie::TaskSays(7), "TARGET FAILURE", Climb::Device),
    task("task-nexus-failure", Lie::TaskSays(8), "NEXUS FAILURE", Climb::Device),
    task("task-failure", Lie::TaskSays(9), "FAILURE", Climb::Device),
    task("task-answer-unknown", Lie::TaskSays(0xFF), "a response that does not exist", Climb::Device),
    task(
        "task-keeps",
        Lie::TaskKeeps(0),
        "a function is said to be complete, and the commands are kept: their memory is written to again and again",
        Climb::Device,
    ),
    task(
        "task-keeps-and-succeeds",
        Lie::TaskKeeps(10),
        "the same of a function that has SUCCEEDED",
        Climb::Device,
    ),
    // vhost-scsi with several threads, before it learned to flush the other queues first (Linux, drivers/vhost/scsi.c,
    // vhost_scsi_tmf_resp_work).
    task(
        "task-ahead",
        Lie::TaskAhead(10),
        "a function is answered before the commands that it ended come back",
        Climb::Unit,
    ),
    task("task-length-zero", Lie::TaskLengthZero, "answers of no byte", Climb::Unit),
    task("task-length-huge", Lie::TaskLengthHuge, "answers of 4 GiB", Climb::Unit),
    task(
        "task-then-endless-reset",
        Lie::TaskThenResetNeverEnds(11),
        "functions are rejected, and the reset that follows never ends",
        Climb::Device,
    )
    .lasts(),
    event("event-flood", Lie::EventFlood, "400 events, as fast as there are buffers", Hears::Unit),
    // QEMU loses an event for which it has no buffer (hw/scsi/virtio-scsi.c, virtio_scsi_push_event).
    event("events-missed", Lie::EventsMissed, "events were lost, with every type besides", Hears::Bus),
    event("event-unknown", Lie::EventUnknown, "types that there are not", Hears::Nothing),
    event("event-reason-unknown", Lie::EventReasonUnknown, "resets for no known reason", Hears::Any),
    event("event-nowhere", Lie::EventNowhere, "LUN fields that name no unit", Hears::Any),
    event("event-of-no-unit", Lie::EventOfNoUnit, "changes of units that are not there", Hears::Any),
    event("event-hard-reset", Lie::EventHardReset, "resets of units that nobody asked for", Hears::Any),
    event("event-parameters", Lie::EventParameters, "changes of all kinds, of one unit", Hears::Unit),
    event(
        "event-notification",
        Lie::EventNotification,
        "asynchronous notifications that nobody subscribed to",
        Hears::Nothing,
    ),
    event("event-storm", Lie::EventStorm, "a unit that goes and comes forty times", Hears::Bus),
    // vhost-scsi (Linux, drivers/vhost/scsi.c, vhost_scsi_do_evt_work).
    event("event-length-zero", Lie::EventLengthZero, "used lengths of events are zero", Hears::Unit),
    event("event-length-huge", Lie::EventLengthHuge, "used lengths of events are 0xffffffff", Hears::Unit),
    event("event-twice", Lie::EventTwice, "the same buffer twice, once", Hears::Any).breaks(),
    event(
        "event-other-buffer",
        Lie::EventOtherBuffer,
        "another buffer than the one that it wrote, once",
        Hears::Any,
    )
    .breaks(),
    event(
        "event-id-out-of-range",
        Lie::EventIdOutOfRange,
        "a buffer past the queue's size, once",
        Hears::Any,
    )
    .breaks(),
    event(
        "event-id-out-of-range-for-ever",
        Lie::EventIdOutOfRangeForEver,
        "all buffers are past the queue's size",
        Hears::Any,
    )
    .breaks()
    .lasts(),
];

/// The lie of a name.
pub fn find(name: &str) -> Option<&'static Told> {
    LIES.iter().find(|told| told.name == name)
}

#[cfg(test)]
mod tests {
    use super::super::driver::life;
    use super::*;

    #[test]
    fn every_lie_differs_from_the_truth() {
        for kind in [Kind::Blk, Kind::Scsi] {
            let truth = life(kind, Lie::None);
            assert!(truth == life(kind, Lie::None), "the truth is always the same");
            // A shorter base address register is the machine's lie.
            for told in LIES.iter().filter(|told| told.is_for(kind) && told.lie != Lie::BarTooSmall) {
                if told.is_about_tasks() || told.is_about_events() {
                    // Seen in the queues that they are about, by the tests of `tasks` and `events`.
                    continue;
                }
                assert!(life(kind, told.lie) != truth, "{} tells the truth as {kind:?}", told.name);
            }
        }
    }

    #[test]
    fn every_lie_has_one_name() {
        for (index, told) in LIES.iter().enumerate() {
            assert!(LIES[..index].iter().all(|other| other.name != told.name && other.lie != told.lie));
            assert_eq!(find(told.name).map(|found| found.lie), Some(told.lie));
        }
    }
}
