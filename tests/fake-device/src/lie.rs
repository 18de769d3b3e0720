//! What a device may do that it must not.

/// A way to break the rules. Those about used buffers are told once, with the next completion; the others until
/// [`be_honest`](super::FakeDevice::be_honest).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// VIRTIO_F_VERSION_1 is not offered.
    NoVersion1,
    /// FEATURES_OK does not stay.
    FeaturesRefused,
    /// Fewer features are offered than before: these are missing.
    FeaturesWithdrawn(u64),
    /// The status never becomes zero after a reset.
    ResetNeverEnds,
    /// Bus Master Enable stays as it is, whatever is written.
    BusMasterStuck,
    /// The device is taken out of the machine when its command register is written.
    GoneWithBusMaster,
    /// Configuration space reads all-ones, although the registers answer.
    ConfigSpaceGone,
    /// A queue's reset never ends.
    QueueResetNeverEnds,
    /// No vector is taken.
    VectorRefused,
    /// The capability says that the device configuration has so many bytes, more or fewer than it has.
    ConfigLength(u32),
    /// The capability says that the common configuration has so many bytes.
    CommonLength(u32),
    /// The base address register is only so long, whatever the capabilities say.
    BarLength(u64),
    /// `config_generation` changes with every read; of a legacy device, the configuration itself.
    ConfigNeverSettles,
    /// The number of queues.
    QueueCount(u16),
    /// The size that every queue claims to have.
    QueueSize(u16),
    /// Every queue's `queue_notify_off`.
    NotifyOffset(u16),
    /// The last capability points back at the first.
    CapabilityLoop,
    /// Every used length is 0, as with Linux's vhost-scsi.
    NoUsedLength,
    /// Every used length leaves the last byte out, as with devices that do not count virtio-blk's status.
    UsedLengthOneShort,
    /// Once: a used id that no descriptor has.
    UsedIdOutOfRange,
    /// Once: the id of a request that is not with the device.
    UsedIdNotInFlight,
    /// Once: the same id in two used entries. In a packed ring the second one, like an id that is not with the device,
    /// stands where another request's used descriptor would; then nothing more is taken from the ring.
    UsedTwice,
    /// Once: a used length of so many bytes more than the chain has room for.
    UsedLengthTooLong(u32),
    /// Once: the used index moves on by so much more than was used; also backwards, with a large number.
    /// In a packed ring, which has no index, so many further descriptors are marked used with garbage, as far as the ring
    /// goes: first those in flight.
    UsedIndexJump(u16),
    /// Once: this used length.
    UsedLength(u32),
    /// Once: a used entry for a request whose buffers were not written, with length 0.
    NothingWritten,
}

impl Lie {
    /// Whether the lie is about one used buffer.
    pub(super) fn is_about_used(self) -> bool {
        matches!(
            self,
            Self::UsedIdOutOfRange
                | Self::UsedIdNotInFlight
                | Self::UsedTwice
                | Self::UsedLengthTooLong(_)
                | Self::UsedLength(_)
                | Self::UsedIndexJump(_)
                | Self::NothingWritten
        )
    }
}
