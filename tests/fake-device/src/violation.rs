//! What a driver must not do.

/// A rule of the specification that the driver broke. Section numbers are those of virtio 1.3.
///
/// A chain is named by its head: in a packed ring that is the place of its first descriptor, and once the chain is taken
/// the buffer id.
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
    /// Bus Master was enabled before the device's reset had ended, or while it had requests.
    BusMasterTooEarly,
    /// The device was started while it cannot reach memory.
    NoBusMaster,
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
    /// A queue size of zero, over the device's, over 32768, or not a power of two in a split ring (2.7, 2.8, 4.1.4.3.2).
    QueueSize {
        /// The queue
        queue: u16,
        /// What was written
        size: u16,
    },
    /// A queue was enabled with addresses missing, not aligned (2.7, 2.8.10.1), or outside the memory.
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
    /// A chain is longer than the queue's size, or loops (2.7.5.2, 2.7.5.3.1, 2.8.5, 2.8.17).
    ChainTooLong {
        /// The chain's head
        head: u16,
    },
    /// A buffer the device reads comes after one it writes (2.7.4.2, 2.8.17).
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
    /// VIRTIO_F_INDIRECT_DESC (2.7.5.3.1, 2.8.19). In a packed ring also INDIRECT after NEXT, and NEXT inside a table.
    BadIndirect {
        /// The chain's head
        head: u16,
    },
    /// Descriptor flags that the specification does not have, or not there: in a packed ring, all but WRITE inside a
    /// table (2.8.19), and WRITE together with INDIRECT, where it is reserved (2.8.7).
    DescriptorFlags {
        /// The chain's head
        head: u16,
        /// The flags
        flags: u16,
    },
    /// With VIRTIO_F_IN_ORDER, in a split ring: a chain does not begin where the one before ended, or its links do not go
    /// from one descriptor to the next, in the ring or in a table (2.7.5, 2.7.5.2, 2.7.5.3.1).
    NotInRingOrder {
        /// The chain's head
        head: u16,
    },
    /// The flags of the available ring are neither 0 nor 1, or not 0 with VIRTIO_F_EVENT_IDX (2.7.7.1).
    AvailableFlags {
        /// The queue
        queue: u16,
        /// The flags
        flags: u16,
    },
    /// A descriptor of a chain changed while the device had it (2.7.13, 2.8.16).
    ChangedInFlight {
        /// The chain's head
        head: u16,
    },
    /// The descriptor ring was not zeroed when the packed queue was enabled (2.8.13).
    RingNotZeroed {
        /// The queue
        queue: u16,
        /// The first descriptor that is not zero
        position: u16,
    },
    /// AVAIL and USED of the next descriptor were changed to what the wrap counter does not ask for (2.8.1).
    AvailabilityFlags {
        /// The descriptor's place in the ring
        position: u16,
        /// The flags
        flags: u16,
    },
    /// A list's first descriptor is available and another one of it is not (2.8.6, 2.8.17).
    ListIncomplete {
        /// The first descriptor's place in the ring
        head: u16,
        /// The place of the one that is not available
        position: u16,
    },
    /// A list was begun that needs more descriptors than are free (2.8.17).
    NoRoomForList {
        /// The first descriptor's place in the ring
        head: u16,
    },
    /// A descriptor was made available anew before the device used it (2.8.16).
    DescriptorOverwritten {
        /// Its place in the ring
        position: u16,
    },
    /// A buffer id was given to a second request while the device has the first (2.8.21.1, step 2).
    BufferIdInFlight {
        /// The id
        id: u16,
    },
    /// A buffer id that is not below the queue's size. The text counts on it in an example only (2.8.22).
    BufferIdOutOfRange {
        /// The id
        id: u16,
    },
    /// The driver's event suppression structure has reserved bits, the reserved value 3, or asks for one descriptor
    /// without VIRTIO_F_EVENT_IDX (2.8.10, 2.8.14).
    EventFlags {
        /// The queue
        queue: u16,
        /// Its flags
        flags: u16,
    },
    /// The driver asks for an interrupt at a descriptor outside the ring (2.8.10).
    EventOffset {
        /// The queue
        queue: u16,
        /// The offset, without the wrap counter
        offset: u16,
    },
    /// A request breaks a rule of the device type.
    Request(String),
}
