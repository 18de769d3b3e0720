//! The lies, and what must come of them.

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
    StatusNotWritten,
    StatusGarbage,
    RewritesDescriptors,
    ForgetsOne,
    NeverCompletes,
    NeedsReset,
    Gone,
    ResetNeverCompletes,
    InterruptStorm,
    InterruptsNever,
    ConfigStorm,
    IsrLies,
    AvailEventGarbage,
    UsedFlagsGarbage,
    QueueSizeZero,
    QueueSizeOne,
    QueueSizeOdd,
    QueueSizeHuge,
    NumQueuesZero,
    NotifyMultiplierHuge,
    CapabilityLoop,
    CapabilityOutside,
    NoCommonCapability,
    GenerationNeverSettles,
    FeaturesChange,
    NoVersion1,
    AllFeatures,
    FeaturesOkRefused,
    VectorRefused,
    CapacityZero,
    CapacityHuge,
    SegMaxZero,
    SegMaxHuge,
    BlockSizeZero,
    BlockSizeThree,
    BlockSizeHuge,
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

/// A lie for a person and for the command line.
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
}

const fn told(name: &'static str, lie: Lie, what: &'static str, outcome: Outcome) -> Told {
    Told { name, lie, what, outcome }
}

/// All lies.
pub const LIES: &[Told] = &[
    told("used-id-out-of-range", Lie::UsedIdOutOfRange, "an id past the queue's size, once", Outcome::Up),
    told("used-id-enormous", Lie::UsedIdEnormous, "an id of 0xffffffff, once", Outcome::Up),
    told("used-id-free", Lie::UsedIdFree, "the id of a descriptor that is not in use, once", Outcome::Up),
    told("used-twice", Lie::UsedTwice, "the same id twice", Outcome::Up),
    told("used-index-jumps", Lie::UsedIndexJumps, "more used entries than the queue has, once", Outcome::Up),
    told(
        "used-index-goes-back",
        Lie::UsedIndexGoesBack,
        "a used index that was there before, once",
        Outcome::Up,
    ),
    told("used-length-zero", Lie::UsedLengthZero, "every used length is zero", Outcome::Up),
    told("used-length-huge", Lie::UsedLengthHuge, "every used length is 0xffffffff", Outcome::Up),
    told("status-not-written", Lie::StatusNotWritten, "requests end without a status", Outcome::Up),
    told("status-garbage", Lie::StatusGarbage, "a status that does not exist", Outcome::Up),
    told(
        "rewrites-descriptors",
        Lie::RewritesDescriptors,
        "the device writes over the descriptor table",
        Outcome::Up,
    ),
    told("forgets-one", Lie::ForgetsOne, "one request is never answered", Outcome::Up),
    told("never-completes", Lie::NeverCompletes, "no request is answered any more", Outcome::Up),
    told("needs-reset", Lie::NeedsReset, "DEVICE_NEEDS_RESET in the middle of work", Outcome::Up),
    told("gone", Lie::Gone, "all registers read as ones from the fourth request on", Outcome::Up),
    told(
        "reset-never-completes",
        Lie::ResetNeverCompletes,
        "a reset of the running device never ends",
        Outcome::Either,
    ),
    told(
        "interrupt-storm",
        Lie::InterruptStorm,
        "interrupts without work, eight each millisecond",
        Outcome::Up,
    ),
    told("interrupts-never", Lie::InterruptsNever, "no interrupt from the fourth request on", Outcome::Up),
    told("config-storm", Lie::ConfigStorm, "a configuration change each millisecond", Outcome::Up),
    told("isr-lies", Lie::IsrLies, "the interrupt status is always zero", Outcome::Up),
    told(
        "avail-event-garbage",
        Lie::AvailEventGarbage,
        "an available event that makes no sense",
        Outcome::Up,
    ),
    told("used-flags-garbage", Lie::UsedFlagsGarbage, "used flags that make no sense", Outcome::Up),
    told("queue-size-zero", Lie::QueueSizeZero, "the queue does not exist", Outcome::Down),
    told("queue-size-one", Lie::QueueSizeOne, "a queue of one entry", Outcome::Either),
    told("queue-size-odd", Lie::QueueSizeOdd, "a queue of 100 entries", Outcome::Up),
    told("queue-size-huge", Lie::QueueSizeHuge, "a queue of 65535 entries", Outcome::Up),
    told("num-queues-zero", Lie::NumQueuesZero, "no queues", Outcome::Either),
    told(
        "notify-multiplier-huge",
        Lie::NotifyMultiplierHuge,
        "a notification multiplier of 2 GiB",
        Outcome::Either,
    ),
    told("capability-loop", Lie::CapabilityLoop, "a capability list that goes in circles", Outcome::Either),
    told(
        "capability-outside",
        Lie::CapabilityOutside,
        "a structure outside its base address register",
        Outcome::Down,
    ),
    told("no-common-capability", Lie::NoCommonCapability, "no common configuration", Outcome::Down),
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
    told("all-features", Lie::AllFeatures, "every feature bit there can be", Outcome::Either),
    told("features-ok-refused", Lie::FeaturesOkRefused, "FEATURES_OK does not stay set", Outcome::Down),
    told("vector-refused", Lie::VectorRefused, "vectors that read back as none", Outcome::Either),
    told("capacity-zero", Lie::CapacityZero, "a disk of nothing", Outcome::Either),
    told("capacity-huge", Lie::CapacityHuge, "a disk of 2^64 - 1 sectors", Outcome::Up),
    told("seg-max-zero", Lie::SegMaxZero, "no segments", Outcome::Either),
    told("seg-max-huge", Lie::SegMaxHuge, "2^32 - 1 segments", Outcome::Up),
    told("block-size-zero", Lie::BlockSizeZero, "blocks of nothing", Outcome::Either),
    told("block-size-three", Lie::BlockSizeThree, "blocks of 3 bytes", Outcome::Either),
    told("block-size-huge", Lie::BlockSizeHuge, "blocks of 2 GiB", Outcome::Either),
    told("all-ones", Lie::AllOnes, "all registers read as ones", Outcome::Down),
];

/// The lie of a name.
pub fn find(name: &str) -> Option<&'static Told> {
    LIES.iter().find(|told| told.name == name)
}
