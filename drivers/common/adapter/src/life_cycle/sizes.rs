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
pub(crate) struct Sizes {
    /// Request queues.
    pub(crate) queues: u16,
    /// Entries of a ring.
    pub(crate) entries: u16,
    /// Data segments of a request.
    pub(crate) segments: u16,
    /// Requests in the ring of a queue, by how many queues there are.
    requests: Portion,
    /// Requests with long scatter/gather lists that are in flight at once; more of them wait for a table.
    large_tables: Portion,
    /// Requests that have scratch memory at once.
    scratch_buffers: Portion,
    /// Bytes of scratch memory that data is copied through, for a device that does not take it where it lies.
    pub(crate) bounce_bytes: u32,
    /// There are a control and an event queue, if the device type has them.
    pub(crate) control: bool,
    /// Features of the transport and ring.
    pub(crate) features: Features,
}

/// Something that the queues share out. It is cheaper by the adapter than by the queue, and with many queues each is less
/// busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Portion {
    /// What there is for all.
    total: u16,
    /// However many queues there are, each has so much at least;
    least: u16,
    /// and however few, none has more.
    most: u16,
}

impl Portion {
    const fn of(self, queues: u16) -> u16 {
        let each = self.total / if queues == 0 { 1 } else { queues };
        if each < self.least {
            self.least
        } else if each > self.most {
            self.most
        } else {
            each
        }
    }
}

/// What one queue has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    /// Requests in the ring.
    pub(crate) requests: u16,
    /// Requests with long scatter/gather lists.
    pub(crate) large_tables: u16,
    /// Requests that have scratch memory.
    pub(crate) scratch_buffers: usize,
}

impl Sizes {
    /// The same with rings of so many entries at most.
    pub(crate) const fn with_entries(self, entries: u16) -> Self {
        Self { entries, ..self }
    }

    /// While Windows runs. The device may offer more requests; a storage back-end does not serve more at once, and the
    /// memory is ours to spare. With many queues it is not: 64 of full size would have 4 MiB of headers and responses alone.
    pub(crate) const NORMAL: Self = Self {
        queues: crate::queue::MAX_QUEUES,
        entries: 256,
        segments: u16::MAX,
        requests: Portion { total: 2048, least: 64, most: 256 },
        large_tables: Portion { total: 128, least: 4, most: 64 },
        scratch_buffers: Portion { total: 16, least: 2, most: crate::request::SCRATCH_COUNT as u16 },
        // What programs and file systems like to move at once. Up to eight queues, 1 MiB in all; beyond, two of them a queue.
        bounce_bytes: 64 << 10,
        control: true,
        features: TRANSPORT_FEATURES,
    };

    /// While a crash dump or the hibernation file is written: there is one request at a time, of 64 KiB at most, and no
    /// more than 32 KiB of memory ("Restrictions on Miniport Drivers that Manage the Boot Drive"). Without tables a
    /// request lies in the ring itself, and without EVENT_IDX the ring's flag is all it takes to be left alone.
    pub(crate) const DUMP: Self = Self {
        queues: 1,
        entries: 32,
        // Of pages, when the buffer starts inside one.
        segments: 17,
        requests: Portion { total: 32, least: 1, most: 32 },
        large_tables: Portion { total: 0, least: 0, most: 0 },
        scratch_buffers: Portion { total: 1, least: 1, most: 1 },
        bounce_bytes: 4096,
        control: false,
        features: TRANSPORT_FEATURES
            .difference(Features::RING_INDIRECT_DESC)
            .difference(Features::RING_EVENT_IDX),
    };

    /// What a queue has when there are so many.
    pub(crate) const fn share(&self, queues: u16) -> Share {
        Share {
            requests: self.requests.of(queues),
            large_tables: self.large_tables.of(queues),
            scratch_buffers: self.scratch_buffers.of(queues) as usize,
        }
    }
}

const _: () = assert!(Sizes::NORMAL.entries as u32 <= 1 << crate::queue::SLOT_BITS);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_share_what_there_is() {
        let table = [(1, 256, 64, 8), (2, 256, 64, 8), (4, 256, 32, 4), (8, 256, 16, 2), (16, 128, 8, 2)];
        for (queues, requests, large_tables, scratch_buffers) in table {
            let expected = Share { requests, large_tables, scratch_buffers };
            assert_eq!(Sizes::NORMAL.share(queues), expected, "{queues} queues");
        }
        assert_eq!(Sizes::NORMAL.share(64), Share { requests: 64, large_tables: 4, scratch_buffers: 2 });
        assert_eq!(Sizes::DUMP.share(1), Share { requests: 32, large_tables: 0, scratch_buffers: 1 });
    }
}
