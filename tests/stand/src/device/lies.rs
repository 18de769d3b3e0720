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
}

impl Told {
    /// Whether it is about nothing but resets of a device that is at work.
    pub fn is_about_resets(&self) -> bool {
        matches!(self.lie, Lie::ResetNeverCompletes | Lie::ResetTakesASecond)
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
}

const fn told(name: &'static str, lie: Lie, what: &'static str, outcome: Outcome) -> Told {
    Told { name, lie, what, outcome, only: None, lasts: false, spoils: false, spares: false }
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
