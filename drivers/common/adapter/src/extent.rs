//! How much of everything an adapter has: plenty while Windows runs, little while a dump is written.

use virtio::spec::Features;

/// Features of the transport and ring that the adapter makes use of when offered.
const TRANSPORT_FEATURES: Features = Features::VERSION_1
    .union(Features::RING_INDIRECT_DESC)
    .union(Features::RING_EVENT_IDX)
    .union(Features::RING_PACKED)
    .union(Features::NOTIFICATION_DATA)
    .union(Features::NOTIF_CONFIG_DATA)
    .union(Features::ORDER_PLATFORM)
    .union(Features::SR_IOV)
    .union(Features::ANY_LAYOUT)
    .union(Features::ACCESS_PLATFORM);

/// What an adapter asks for at most, whatever the device offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Entries of the ring.
    pub(crate) entries: u16,
    /// Requests in the ring.
    pub(crate) requests: u16,
    /// Data segments of a request.
    pub(crate) segments: u16,
    /// Requests with long scatter/gather lists that are in flight at once; more of them wait for a table.
    pub(crate) large_tables: u16,
    /// Requests that have scratch memory at once.
    pub(crate) scratch_buffers: usize,
    /// Features of the transport and ring.
    pub(crate) features: Features,
}

impl Extent {
    /// While Windows runs. The device may offer more requests; a storage back-end does not serve more at once, and the
    /// memory is ours to spare.
    pub(crate) const NORMAL: Self = Self {
        entries: 256,
        requests: 256,
        segments: u16::MAX,
        large_tables: 64,
        scratch_buffers: crate::scratch::COUNT,
        features: TRANSPORT_FEATURES,
    };

    /// While a crash dump or the hibernation file is written: there is one request at a time, of 64 KiB at most, and no
    /// more than 32 KiB of memory ("Restrictions on Miniport Drivers that Manage the Boot Drive"). Without tables a
    /// request lies in the ring itself, and without EVENT_IDX the ring's flag is all it takes to be left alone.
    pub(crate) const DUMP: Self = Self {
        entries: 32,
        requests: 32,
        // Of pages, when the buffer starts inside one.
        segments: 17,
        large_tables: 0,
        scratch_buffers: 1,
        features: TRANSPORT_FEATURES
            .difference(Features::RING_INDIRECT_DESC)
            .difference(Features::RING_EVENT_IDX),
    };
}
