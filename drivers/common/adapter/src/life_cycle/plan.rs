//! What an adapter is made of: how many queues there are, how much memory each has, and what StorPort is told of it all.

use arrayvec::ArrayVec;
use storport::port::{PRIVATE_ALIGNMENT, SHARED_ALIGNMENT};
use storport::{Configuration, Declined, DumpLimits, Port, Resources};
use virtio::memory::{Region, SharedMemory};
use virtio::queue::{EventLayout, Layout, QueueOptions, RingFormat, Slot};
use virtio::spec::Features;

use super::sizes::{Share, Sizes};
use crate::device_type::{DeviceType, Limits, Request, Room, Small};
use crate::log_events::Event;
use crate::queue::{
    ControlQueue, EVENT_BUFFERS, EventQueue, Locked, LockedControlQueue, LockedEventQueue, LockedQueue,
    MAX_QUEUES, Queue, Queues, Slots, TASKS, TaskTag,
};
use crate::request::ScratchPool;

/// Shared memory is accessed in words of up to this; what is left over at its end would be out of reach.
const WORD_BYTES: usize = 8;

/// A buffer of one page that starts inside a page is two segments. That much StorPort has to be able to send: no class driver
/// cuts a transfer to less than a page (Windows-driver-samples, storage/class/classpnp/src/xferpkt.c, HwMaxXferLen). A device
/// that takes fewer can only be served by a device type that copies its data, or does a request in several steps.
const MIN_SEGMENTS: u16 = 2;

/// Smallest unit of memory that a scatter/gather element describes in the worst case.
const PAGE_BYTES: u32 = 4096;

/// What a first look at the device told.
pub(super) struct Found<D> {
    pub(super) features: Features,
    pub(super) ring: RingFormat,
    /// Request queues, all of one size.
    pub(super) queues: u16,
    pub(super) queue_size: u16,
    /// Entries of the control queue, if there is one.
    pub(super) control: Option<u16>,
    /// Likewise of the event queue.
    pub(super) events: Option<u16>,
    pub(super) device_type: D,
    pub(super) limits: Limits,
}

/// How so many queues are made.
pub(super) struct Plan<D: DeviceType> {
    queues: u16,
    share: Share,
    room: Room,
    /// Bytes of a scratch buffer.
    scratch_bytes: usize,
    layout: Layout<D>,
    /// Of the control queue. One of a size that nothing fits into is not used.
    control: Option<Layout<D::Task>>,
    /// Likewise of the event queue.
    events: Option<EventLayout>,
    ring: RingFormat,
}

impl<D: DeviceType> Plan<D> {
    pub(super) fn new(found: &Found<D>, sizes: &Sizes, queues: u16) -> Result<Self, Declined> {
        let too_small = Declined::from(Event::QueueTooSmall);
        let share = sizes.share(queues);
        let indirect = found.features.contains(Features::RING_INDIRECT_DESC);
        // Requests without tables lie in the ring, which then has to be all theirs, or long ones would have no place. Of a dump
        // there is one.
        let requests = if indirect || sizes.queues == 1 { share.requests } else { sizes.entries };
        let requests = found.queue_size.min(requests);
        // A chain may have as many descriptors as the queue has entries (virtio 1.3, 2.7.5.3.1).
        let room = room(if indirect { found.queue_size } else { requests }, sizes, &found.limits, D::SMALL);
        if room.max_segments < if D::SMALL == Small::Declined { MIN_SEGMENTS } else { 1 } {
            return Err(too_small);
        }
        let scratch_bytes = D::SCRATCH.bytes(room.max_segments).max(room.bounce_bytes.unwrap_or(0) as usize);
        let layout = Layout::new(QueueOptions {
            ring: found.ring,
            size: found.queue_size,
            slots: requests,
            max_segments: room.max_segments,
            indirect,
            large_tables: share.large_tables,
        })
        .map_err(|_| too_small)?;
        let control = found.control.and_then(|size| {
            let options = QueueOptions {
                ring: found.ring,
                size,
                // Without tables a function takes the descriptors of two slots.
                slots: (if indirect { TASKS } else { 2 * TASKS }).min(size),
                max_segments: 0,
                indirect,
                large_tables: 0,
            };
            Layout::new(options).ok()
        });
        let events = found.events.and_then(|size| {
            let buffers = EVENT_BUFFERS.min(size);
            EventLayout::new(found.ring, size, buffers, found.limits.event_bytes).ok()
        });
        Ok(Self { queues, share, room, scratch_bytes, layout, control, events, ring: found.ring })
    }

    /// What a request of the ring has room for.
    pub(super) fn room(&self) -> &Room {
        &self.room
    }

    /// What StorPort is told of the adapter.
    pub(super) fn configuration(&self, limits: &Limits) -> Configuration {
        let aborts_commands = self.control.is_some();
        Configuration { aborts_commands, ..port_configuration(limits, &self.room, self.requests()) }
    }

    /// Requests that a queue takes at once.
    pub(super) fn slots(&self) -> u16 {
        self.layout.slots() as u16
    }

    /// Requests that the queues take at once.
    pub(super) fn requests(&self) -> u32 {
        u32::from(self.queues) * self.layout.slots() as u32
    }

    /// Shared memory of one queue.
    fn bytes_of_one(&self) -> usize {
        // The scratch buffers are aligned, which may cost less than one alignment.
        let scratch = self.share.scratch_buffers * self.scratch_bytes;
        (self.layout.shared_bytes().next_multiple_of(WORD_BYTES * 2) + scratch).next_multiple_of(WORD_BYTES)
    }

    pub(super) fn shared_bytes(&self) -> usize {
        let bytes = self.bytes_of_one();
        let others = usize::from(self.queues - 1) * bytes.next_multiple_of(self.layout.alignment());
        // What a legacy device's ring is aligned to beyond what any memory here is.
        let skipped = if self.layout.alignment() > SHARED_ALIGNMENT { self.layout.alignment() } else { 0 };
        let control = self
            .control
            .map_or(0, |layout| layout.shared_bytes().next_multiple_of(WORD_BYTES) + layout.alignment());
        let events = self
            .events
            .map_or(0, |layout| layout.shared_bytes().next_multiple_of(WORD_BYTES) + layout.alignment());
        others + bytes + skipped + control + events
    }

    /// Private memory of the control and the event queue.
    pub(super) fn control_bytes(&self) -> usize {
        if self.control.is_some() || self.events.is_some() { control_bytes::<D>() } else { 0 }
    }

    /// The event queue, if there is one. `None`: there is not enough memory for it.
    #[inline(never)]
    pub(super) fn build_events<P: Port>(
        &self,
        shared: &mut Region,
        features: Features,
        resources: &mut impl Resources<Port = P>,
    ) -> Option<Option<&'static LockedEventQueue>> {
        let (Some(layout), Some(_)) = (self.events, D::EVENT_QUEUE) else {
            return Some(None);
        };
        let mut memory = Some(shared.split(layout.shared_bytes(), layout.alignment())?);
        let events = resources.private(1, |_| {
            EventQueue::new(memory.take()?, self.ring, layout, features).ok().map(Locked::new)
        })?;
        Some(events.first())
    }

    /// The control queue, if there is one. `None`: there is not enough memory for it.
    #[inline(never)]
    pub(super) fn build_control<P: Port>(
        &self,
        shared: &mut Region,
        features: Features,
        resources: &mut impl Resources<Port = P>,
    ) -> Option<Option<&'static LockedControlQueue<D>>> {
        let (Some(layout), Some(_)) = (self.control, D::CONTROL_QUEUE) else {
            return Some(None);
        };
        let memory = shared.split(layout.shared_bytes(), layout.alignment())?;
        let mut slots = Some(resources.private(layout.slots(), |_| Some(Slot::default()))?);
        let mut memory = Some(memory);
        let control = resources.private(1, |_| {
            let queue = ControlQueue::new(memory.take()?, slots.take()?, layout, features).ok()?;
            Some(Locked::new(queue))
        })?;
        Some(control.first())
    }

    /// What is not on the stack any more when the adapter itself is made.
    #[inline(never)]
    pub(super) fn build<P: Port>(
        &self,
        shared: &mut Region,
        features: Features,
        resources: &mut impl Resources<Port = P>,
    ) -> Option<Queues<D>> {
        let mut slots = ArrayVec::<Slots<Request<D>>, { MAX_QUEUES as usize }>::new();
        for _ in 0..self.queues {
            slots.try_push(resources.private(self.layout.slots(), |_| Some(Slot::default()))?).ok()?;
        }
        let all = resources.private(usize::from(self.queues), |queue| {
            self.build_one(queue as u16, shared, slots.pop()?, features)
        })?;
        Queues::new(all)
    }

    #[inline(never)]
    fn build_one(
        &self,
        number: u16,
        shared: &mut Region,
        slots: Slots<Request<D>>,
        features: Features,
    ) -> Option<LockedQueue<D>> {
        let memory = shared.split(self.layout.shared_bytes(), self.layout.alignment())?;
        let scratch = ScratchPool::new(shared, self.scratch_bytes, self.share.scratch_buffers)?;
        let scratch = (scratch, self.room.max_segment_bytes);
        let queue = Queue::new(number, (memory, slots), self.layout, features, scratch).ok()?;
        Some(LockedQueue::new(queue))
    }
}

/// Private memory of a control and an event queue; none for a device type that has neither.
pub(crate) const fn control_bytes<D: DeviceType>() -> usize {
    if D::CONTROL_QUEUE.is_none() && D::EVENT_QUEUE.is_none() {
        return 0;
    }
    let events = size_of::<LockedEventQueue>().next_multiple_of(PRIVATE_ALIGNMENT);
    let slots = (2 * TASKS as usize * size_of::<Slot<TaskTag>>()).next_multiple_of(PRIVATE_ALIGNMENT);
    slots + size_of::<LockedControlQueue<D>>().next_multiple_of(PRIVATE_ALIGNMENT) + events
}

/// A chain may have as many descriptors as the queue has entries (virtio 1.3, 2.7.5.3.1); two are header and response. Where
/// what is left is not enough for a page wherever it lies, the device type copies it, or does it in steps.
fn room(queue_size: u16, sizes: &Sizes, limits: &Limits, small: Small) -> Room {
    let by_queue = queue_size.saturating_sub(2);
    let by_device = u16::try_from(limits.max_segments).unwrap_or(u16::MAX);
    let max_segments = by_queue.min(sizes.segments).min(by_device);
    let max_segment_bytes = limits.max_segment_bytes;
    let too_little = max_segments < MIN_SEGMENTS || max_segment_bytes < PAGE_BYTES;
    // What the device takes at once, so that StorPort cuts, and what it cuts goes side by side.
    let at_once = u64::from(max_segments) * u64::from(max_segment_bytes);
    let at_once = u32::try_from(at_once).unwrap_or(u32::MAX).min(sizes.bounce_bytes);
    let pages = (at_once - at_once % PAGE_BYTES).max(PAGE_BYTES);
    let bounce_bytes = (small == Small::Copied && too_little).then_some(pages);
    let little = max_segments < MIN_SEGMENTS || limits.max_transfer_bytes < PAGE_BYTES;
    let in_steps = small == Small::InSteps && little;
    Room { max_segments, max_segment_bytes, bounce_bytes, in_steps }
}

/// In steps: less than a page is nothing that StorPort has to know of. What is asked for is always a page at least
/// (classpnp does not go below it), and the device type does it in steps, each of whole blocks: no block may lie across a page
/// boundary then.
pub(super) fn port_configuration(limits: &Limits, room: &Room, requests: u32) -> Configuration {
    /// FILE_512_BYTE_ALIGNMENT, the largest one there is (ns-storport-_port_configuration_information.md).
    const BLOCK_ALIGNMENT: u32 = 511;
    let (max_segments, most) = match room.bounce_bytes {
        // What is copied comes from as many pages as it likes.
        Some(bytes) => (bytes / PAGE_BYTES + 1, limits.max_transfer_bytes),
        None if room.in_steps => (room.max_segments.max(MIN_SEGMENTS).into(), PAGE_BYTES),
        // A segment is never longer than the whole transfer, so limiting that one keeps to the limit of the other.
        None => {
            let by_segment = limits.max_segment_bytes - limits.max_segment_bytes % PAGE_BYTES;
            (room.max_segments.into(), limits.max_transfer_bytes.min(by_segment))
        }
    };
    Configuration {
        targets: limits.targets,
        logical_units: limits.logical_units,
        // A buffer that starts inside a page touches one page more than its length says.
        max_transfer_bytes: most.min(max_segments.saturating_sub(1) * PAGE_BYTES),
        max_segments,
        max_requests: requests,
        max_requests_per_lun: limits.max_requests_per_lun.min(requests).max(1),
        alignment_mask: if room.in_steps { BLOCK_ALIGNMENT } else { 3 },
        caches_data: limits.caches_data,
        maps_all: room.bounce_bytes.is_some() || room.in_steps && room.max_segments == 1,
        aborts_commands: false,
    }
}

/// What another copy of the driver, in dump mode, will tell of the same device. A ring of as many entries as a dump wants is
/// one of those that this device can have.
pub(super) fn dump_limits(limits: &Limits, queue_size: u16, small: Small) -> DumpLimits {
    let sizes = &Sizes::DUMP;
    let requests = queue_size.min(sizes.share(1).requests);
    let room = room(requests, sizes, limits, small);
    let configuration = port_configuration(limits, &room, requests.into());
    DumpLimits {
        max_transfer_bytes: configuration.max_transfer_bytes,
        max_segments: configuration.max_segments,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        targets: 1,
        logical_units: 1,
        max_segments: 254,
        max_segment_bytes: u32::MAX,
        max_transfer_bytes: u32::MAX,
        max_requests_per_lun: 1000,
        caches_data: true,
        request_queues: 1,
        write_cache: false,
        leaves_out: false,
        event_bytes: 0,
    };

    fn with(limits: &Limits, queue_size: u16) -> Configuration {
        let room = room(queue_size, &Sizes::NORMAL, limits, Small::Copied);
        port_configuration(limits, &room, queue_size.into())
    }

    fn normal(queue_size: u16) -> Configuration {
        with(&LIMITS, queue_size)
    }

    #[test]
    fn the_largest_transfer_fits_its_segments_even_when_it_starts_inside_a_page() {
        let configuration = normal(256);

        assert_eq!(configuration.max_segments, 254);
        assert_eq!(configuration.max_transfer_bytes, 253 * 4096);
    }

    #[test]
    fn a_transfer_is_no_longer_than_a_segment_may_be() {
        let configuration = with(&Limits { max_segment_bytes: 0x1_1234, ..LIMITS }, 256);

        assert_eq!((configuration.max_transfer_bytes, configuration.maps_all), (0x1_1000, false));
    }

    #[test]
    fn where_a_page_does_not_fit_wherever_it_lies_what_the_device_takes_is_copied_up_to_64_kib() {
        let one = Limits { max_segments: 1, ..LIMITS };
        for (limits, queue_size, pages) in [
            (one, 256, 16),
            (LIMITS, 3, 16),
            (Limits { max_segment_bytes: 4095, ..LIMITS }, 256, 16),
            (Limits { max_segment_bytes: 100, ..LIMITS }, 256, 6),
            (Limits { max_segment_bytes: 9000, ..one }, 256, 2),
            (Limits { max_segment_bytes: 512, ..one }, 256, 1),
        ] {
            let configuration = with(&limits, queue_size);

            let told = (configuration.max_transfer_bytes, configuration.max_segments);
            assert_eq!(told, (pages * 4096, pages + 1), "{limits:?}");
            assert!(configuration.maps_all);
        }
        assert!(!with(&LIMITS, 4).maps_all);
        assert_eq!(room(3, &Sizes::NORMAL, &LIMITS, Small::Declined).bounce_bytes, None);
    }

    #[test]
    fn a_small_queue_limits_the_segments() {
        let configuration = normal(16);

        assert_eq!(configuration.max_segments, 14);
        assert_eq!(configuration.max_requests, 16);
        assert_eq!(configuration.max_requests_per_lun, 16);
    }

    #[test]
    fn what_takes_less_than_a_page_is_given_pages_by_storport_and_does_them_in_steps() {
        let bytes = Limits { max_transfer_bytes: 1024, ..LIMITS };
        for (limits, max_segments) in [(&LIMITS, 1), (&bytes, 64), (&bytes, 1)] {
            let room = Room { max_segments, max_segment_bytes: u32::MAX, bounce_bytes: None, in_steps: true };
            let configuration = port_configuration(limits, &room, 8);

            let Configuration { max_transfer_bytes, alignment_mask, .. } = configuration;
            assert_eq!((max_transfer_bytes, alignment_mask), (4096, 511), "{limits:?}");
            assert_eq!(configuration.max_segments, if max_segments == 1 { 2 } else { 64 });
        }
    }

    #[test]
    fn the_dump_is_written_in_pieces_of_64_kib_or_what_the_device_takes() {
        let small = Limits { max_segments: 3, ..LIMITS };

        let limits = |limits, queue_size| {
            let DumpLimits { max_transfer_bytes, max_segments } =
                dump_limits(limits, queue_size, Small::Copied);
            (max_transfer_bytes, max_segments)
        };

        assert_eq!(limits(&LIMITS, 256), (64 << 10, 17));
        assert_eq!(limits(&LIMITS, 8), (5 * 4096, 6));
        assert_eq!(limits(&small, 256), (2 * 4096, 3));
        assert_eq!(limits(&Limits { max_segments: 1, ..LIMITS }, 256), (4096, 2));
    }
}
