//! What a driver must not do.

/// A rule of the specification that the driver broke. Section numbers are those of virtio 1.3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// An access to a place where there is no register (4.1.4).
    NoRegister {
        /// Offset in the base address register
        offset: u32,
        /// Bytes
        width: u32,
    },
    /// An access of another width than the register's, or not aligned to it (4.1.3.1).
    AccessWidth {
        /// Offset in the base address register
        offset: u32,
        /// Bytes
        width: u32,
    },
    /// A write to a register that only the device changes (4.1.4.3).
    ReadOnly {
        /// Offset in the base address register
        offset: u32,
    },
    /// A register was touched after a reset was asked for and before the status read zero (4.1.4.3.2).
    ResetNotAwaited {
        /// Offset in the base address register
        offset: u32,
    },
    /// A status bit was cleared without a reset (2.1.1).
    StatusCleared {
        /// Status before
        from: u8,
        /// What was written
        to: u8,
    },
    /// A step of 3.1.1 was left out, or two were made at once.
    StatusOrder {
        /// Status before
        from: u8,
        /// What was written
        to: u8,
    },
    /// Features were read or written outside the step for it (3.1.1).
    FeaturesOutOfStep {
        /// Status then
        status: u8,
    },
    /// A feature was accepted that is not offered (2.2.1).
    FeatureNotOffered {
        /// Those bits
        bits: u64,
    },
    /// FEATURES_OK was not read back before going on (3.1.1, step 6).
    FeaturesNotConfirmed,
    /// A queue was set up before FEATURES_OK or after DRIVER_OK (3.1.1, step 7).
    QueueSetUpOutOfStep {
        /// The queue
        queue: u16,
        /// Status then
        status: u8,
    },
    /// A register of a queue that does not exist was written (4.1.5.1.3).
    NoSuchQueue {
        /// The queue
        queue: u16,
    },
    /// A register of a queue that is enabled already was written (4.1.4.3.2).
    QueueAlreadyEnabled {
        /// The queue
        queue: u16,
    },
    /// A queue size of zero, over the device's, or not a power of two (2.7, 4.1.4.3.2).
    QueueSize {
        /// The queue
        queue: u16,
        /// What was written
        size: u16,
    },
    /// A queue was enabled with addresses missing, not aligned (2.7), or outside the memory.
    QueueAddress {
        /// The queue
        queue: u16,
    },
    /// `queue_enable` was written with something else than 1 (4.1.4.3.2).
    QueueDisabled {
        /// The queue
        queue: u16,
    },
    /// A vector was written and not read back (4.1.5.1.2.2).
    VectorNotConfirmed,
    /// A vector without MSI-X.
    VectorWithoutMsix {
        /// What was written
        vector: u16,
    },
    /// The interrupt status was read although MSI-X is in use (4.1.4.5.2).
    IsrReadWithMsix,
    /// A notification for a queue that is not running (3.1.1, 4.1.5.2).
    NotifiedTooEarly {
        /// The queue
        queue: u16,
    },
    /// A notification at the wrong address, or naming another queue than the address (4.1.4.4).
    NotifiedElsewhere {
        /// Offset in the notification structure
        offset: u32,
        /// What was written
        value: u16,
    },
    /// The ring's position in a notification is not where the ring is (2.9).
    NotificationData {
        /// The queue
        queue: u16,
        /// The position in the notification
        position: u16,
        /// The position of the ring
        expected: u16,
    },
    /// `queue_reset` was written with something else than 1 (4.1.4.3.2).
    QueueResetValue {
        /// What was written
        value: u16,
    },
    /// A queue was reset that is not running (2.6.1).
    QueueResetOutOfStep {
        /// The queue
        queue: u16,
    },
    /// A queue was touched before `queue_reset` read 0 (4.1.4.3.2).
    QueueResetNotAwaited {
        /// The queue
        queue: u16,
    },
    /// A window of PCI configuration access that is not 1, 2 or 4 bytes wide, not aligned, in no structure, or read or
    /// written in another width (4.1.4.9.2).
    ConfigAccess {
        /// Base address register
        bar: u8,
        /// Offset in it
        offset: u32,
        /// Bytes
        length: u32,
    },
    /// The device configuration was read before DRIVER, or written at all (3.1.1, step 4).
    ConfigOutOfStep {
        /// Offset in the structure
        offset: u32,
    },
    /// A configuration field was read that does not exist without a feature (2.5.1).
    ConfigWithoutFeature {
        /// Offset in the structure
        offset: u32,
    },
    /// The available index moved by more than the queue's size (2.7.13).
    AvailableIndexJumped {
        /// The queue
        queue: u16,
        /// The index
        index: u16,
        /// What the device expected next
        expected: u16,
    },
    /// An entry of the available ring, or a `next`, that no descriptor has.
    DescriptorOutOfRange {
        /// Its number
        index: u16,
    },
    /// A chain was made available again while the device has it (2.7.13).
    HeadInFlight {
        /// The chain's head
        head: u16,
    },
    /// A chain is longer than the queue's size, or loops (2.7.5.2, 2.7.5.3.1).
    ChainTooLong {
        /// The chain's head
        head: u16,
    },
    /// A buffer the device reads comes after one it writes (2.7.4.2).
    ReadableAfterWritable {
        /// The chain's head
        head: u16,
    },
    /// A buffer, or a table, does not lie in the memory.
    OutsideMemory {
        /// Its address
        address: u64,
        /// Its length
        length: u32,
    },
    /// A buffer of no bytes.
    EmptyBuffer {
        /// The chain's head
        head: u16,
    },
    /// A chain of more than 2^32 bytes (2.7.5.2).
    ChainTooLarge {
        /// The chain's head
        head: u16,
    },
    /// INDIRECT together with NEXT, inside a table, with a length that is no number of descriptors, or without
    /// VIRTIO_F_INDIRECT_DESC (2.7.5.3.1).
    BadIndirect {
        /// The chain's head
        head: u16,
    },
    /// Descriptor flags that the specification does not have.
    DescriptorFlags {
        /// The chain's head
        head: u16,
        /// The flags
        flags: u16,
    },
    /// The flags of the available ring are neither 0 nor 1, or not 0 with VIRTIO_F_EVENT_IDX (2.7.7.1).
    AvailableFlags {
        /// The queue
        queue: u16,
        /// The flags
        flags: u16,
    },
    /// A descriptor of a chain changed while the device had it (2.7.13).
    ChangedInFlight {
        /// The chain's head
        head: u16,
    },
    /// A request breaks a rule of the device type.
    Request(String),
}
