//! `HwStorFindAdapter`: is this our device, and what can it do?

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};

use arrayvec::ArrayVec;
use storport::port::SHARED_ALIGNMENT;
use storport::{Configuration, Declined, DumpLimits, Port, Resources};
use virtio::memory::{Region, SharedMemory};
use virtio::queue::{Layout, QueueOptions, RequestQueue, RingFormat, Slot};
use virtio::spec::Features;
use virtio::transport::{Bar, ConfigSpace, Device, FeaturesOk, TransportError, is_bus_master};

use crate::bring_up::RESET_POLL_MICROSECONDS;
use crate::events::Event;
use crate::extent::{Extent, Share};
use crate::parameters::Parameters;
use crate::protocol::{Limits, Probe, ProbeError, Protocol, Room};
use crate::queues::{MAX_QUEUES, Path, Queues};
use crate::report::Noted;
use crate::request_path::RequestPath;
use crate::routing::{Routing, RoutingCell};
use crate::scratch::ScratchPool;
use crate::state::{State, StateCell};
use crate::{Adapter, Request};

/// Shared memory is accessed in words of up to this; what is left over at its end would be out of reach.
const WORD_BYTES: usize = 8;

/// A buffer of one page that starts inside a page is two segments. That much StorPort has to be able to send: no class driver
/// cuts a transfer to less than a page (Windows-driver-samples, storage/class/classpnp/src/xferpkt.c, HwMaxXferLen). A device
/// that takes fewer can only be served by a protocol that does a request in several steps, or copies its data.
const MIN_SEGMENTS: u16 = 2;

/// How much longer than elsewhere a reset is waited for between two looks when the adapter is being found.
const STALLS_WHEN_FOUND: u32 = 10;

/// Smallest unit of memory that a scatter/gather element describes in the worst case.
const PAGE_BYTES: u32 = 4096;

fn transport(error: TransportError) -> Declined {
    Declined(Event::of_transport(error))
}

fn unusable(error: ProbeError) -> Declined {
    Event::from(error).into()
}

impl<P: Port, D: Protocol> Adapter<P, D> {
    pub(crate) fn find(resources: &mut impl Resources<Port = P>) -> Result<Self, Declined> {
        let polled = resources.dump_mode();
        let extent = if polled { Extent::DUMP } else { Extent::NORMAL };
        let port = resources.port();
        let parameters = Parameters::read(resources);
        let config_space = resources.config_space();
        let device = open(&config_space, resources)?;
        // A device that is declined is told so (virtio 1.3, 2.1.1).
        let wanted_queues = parameters.max_queues.map_or(u16::MAX, |most| most).min(resources.queues());
        let found = look_at::<P, D>(&device, &port, &extent, (wanted_queues, resources.place()));
        let Prepared { features, protocol, queues, dump } = found
            .and_then(|found| prepare(found, &extent, &parameters, resources))
            .inspect_err(|_| device.fail())?;
        if protocol.leaves_out() && !polled {
            // Most devices have none there.
            port.report(Event::UnitsLeftOut.into());
        }

        Ok(Self {
            port,
            device,
            features,
            changeable: AtomicU64::new(features.intersection(D::CHANGEABLE).bits()),
            protocol,
            polled,
            dump,
            routing: RoutingCell::new(Routing::NONE),
            state: StateCell::new(State::Stopped),
            bus_master_off: AtomicBool::new(!is_bus_master(&config_space)),
            reset_under_way: AtomicBool::new(false),
            looks: AtomicU32::new(0),
            noted: Noted::new(),
            untold: AtomicBool::new(false),
            queues,
        })
    }
}

/// What an adapter is made of besides the device.
struct Prepared<D: Protocol> {
    /// What was negotiated.
    features: Features,
    protocol: D,
    queues: Queues<D>,
    /// What another copy of the driver would say for itself in dump mode.
    dump: DumpLimits,
}

/// Tells StorPort what the device can do, and gets the memory for its queues: for all that it can make use of, or as many
/// of them as there is memory for.
fn prepare<P: Port, D: Protocol>(
    found: Found<D>,
    extent: &Extent,
    parameters: &Parameters,
    resources: &mut impl Resources<Port = P>,
) -> Result<Prepared<D>, Declined> {
    let no_memory = Declined::from(Event::NoMemory);
    let found = Found { limits: parameters.limits(found.limits), ..found };
    let room = resources.private_room();
    let mut queues = found.queues;
    loop {
        let plan = Plan::<D>::new(&found, extent, queues)?;
        if Queues::<D>::private_bytes(queues, plan.layout.slots() as u16) <= room {
            let whole = port_configuration(&found.limits, &plan.room, plan.requests(), D::SPLITS);
            resources.configure(&parameters.configuration(whole));
            if let Some(mut shared) = resources.uncached_extension(plan.shared_bytes()) {
                let Found { features, queue_size, mut protocol, limits, .. } = found;
                protocol.limited(plan.room).map_err(unusable)?;
                let queues = plan.build(&mut shared, features, resources).ok_or(no_memory)?;
                return Ok(Prepared {
                    features,
                    protocol,
                    queues,
                    dump: dump_limits(&limits, queue_size, (D::SPLITS, D::BOUNCES)),
                });
            }
        }
        if queues == 1 {
            return Err(no_memory);
        }
        queues /= 2;
    }
}

/// How so many queues are made.
struct Plan<D> {
    queues: u16,
    share: Share,
    room: Room,
    /// Bytes of a scratch buffer.
    scratch_bytes: usize,
    layout: Layout<D>,
}

impl<D: Protocol> Plan<D> {
    fn new(found: &Found<D>, extent: &Extent, queues: u16) -> Result<Self, Declined> {
        let too_small = Declined::from(Event::QueueTooSmall);
        let share = extent.share(queues);
        let indirect = found.features.contains(Features::RING_INDIRECT_DESC);
        // Requests without tables lie in the ring, which then has to be all theirs, or long ones would have no place. Of a dump
        // there is one.
        let requests = if indirect || extent.queues == 1 { share.requests } else { extent.entries };
        let requests = found.queue_size.min(requests);
        // A chain may have as many descriptors as the queue has entries (virtio 1.3, 2.7.5.3.1).
        let room =
            room(if indirect { found.queue_size } else { requests }, extent, &found.limits, D::BOUNCES);
        if room.max_segments < if D::SPLITS || D::BOUNCES { 1 } else { MIN_SEGMENTS } {
            return Err(too_small);
        }
        let scratch_bytes =
            found.protocol.scratch_bytes(room.max_segments).max(room.bounce_bytes.unwrap_or(0) as usize);
        let layout = Layout::new(QueueOptions {
            ring: found.ring,
            size: found.queue_size,
            slots: requests,
            max_segments: room.max_segments,
            indirect,
            large_tables: share.large_tables,
        })
        .map_err(|_| too_small)?;
        Ok(Self { queues, share, room, scratch_bytes, layout })
    }

    /// Requests that the queues take at once.
    fn requests(&self) -> u32 {
        u32::from(self.queues) * self.layout.slots() as u32
    }

    /// Shared memory of one queue.
    fn bytes_of_one(&self) -> usize {
        // The scratch buffers are aligned, which may cost less than one alignment.
        let scratch = self.share.scratch_buffers * self.scratch_bytes;
        (self.layout.shared_bytes().next_multiple_of(WORD_BYTES * 2) + scratch).next_multiple_of(WORD_BYTES)
    }

    fn shared_bytes(&self) -> usize {
        let bytes = self.bytes_of_one();
        let others = usize::from(self.queues - 1) * bytes.next_multiple_of(self.layout.alignment());
        // What a legacy device's ring is aligned to beyond what any memory here is.
        let skipped = if self.layout.alignment() > SHARED_ALIGNMENT { self.layout.alignment() } else { 0 };
        others + bytes + skipped
    }

    /// What is not on the stack any more when the adapter itself is made.
    #[inline(never)]
    fn build<P: Port>(
        &self,
        shared: &mut Region,
        features: Features,
        resources: &mut impl Resources<Port = P>,
    ) -> Option<Queues<D>> {
        type Slots<D> = &'static mut [Slot<Request<D>>];
        let mut slots = ArrayVec::<Slots<D>, { MAX_QUEUES as usize }>::new();
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
        queue: u16,
        shared: &mut Region,
        slots: &'static mut [Slot<Request<D>>],
        features: Features,
    ) -> Option<Path<D>> {
        let memory = shared.split(self.layout.shared_bytes(), self.layout.alignment())?;
        let scratch = ScratchPool::new(shared, self.scratch_bytes, self.share.scratch_buffers)?;
        let ring = RequestQueue::new(memory, self.layout, slots, features).ok()?;
        Some(Path::new(RequestPath::new(queue, ring, scratch, self.room.max_segment_bytes)))
    }
}

fn open<P: Port>(
    config_space: &impl ConfigSpace,
    resources: &mut impl Resources<Port = P>,
) -> Result<Device<P::Bar>, Declined> {
    Device::open(config_space, |bar| resources.map_bar(bar)).map_err(transport)
}

/// What a first look at the device told.
struct Found<D> {
    features: Features,
    ring: RingFormat,
    /// Request queues, all of one size.
    queues: u16,
    queue_size: u16,
    protocol: D,
    limits: Limits,
}

/// Negotiates with the device and reads its configuration. It is left without DRIVER_OK; `initialize` starts over.
fn look_at<P: Port, D: Protocol>(
    device: &Device<P::Bar>,
    port: &P,
    extent: &Extent,
    (wanted_queues, place): (u16, (u32, u32)),
) -> Result<Found<D>, Declined> {
    // At PASSIVE_LEVEL there is time: a device is waited for that takes some seconds, as only now it tells what it is.
    let mut wait = || (0..STALLS_WHEN_FOUND).for_each(|_| port.stall(RESET_POLL_MICROSECONDS));
    let negotiating = device.reset(&mut wait).map_err(transport)?;
    let wanted = negotiating.offered() & (extent.features | D::FEATURES);
    let ready = negotiating.negotiate(wanted).map_err(transport)?;
    let features = ready.features();
    if ready.queue_count() <= D::REQUEST_QUEUE {
        return Err(Event::QueueTooSmall.into());
    }
    let ring = match features {
        _ if device.is_legacy() => RingFormat::LegacySplit,
        features if features.contains(Features::RING_PACKED) => RingFormat::Packed,
        _ => RingFormat::Split,
    };
    let (protocol, limits) = D::probe(&DeviceProbe { device, ready: &ready, place }).map_err(unusable)?;
    let offered = limits.request_queues.min(ready.queue_count() - D::REQUEST_QUEUE);
    let most = offered.min(wanted_queues).min(extent.queues).max(1);
    let size = |queue| usable_queue_size(ready.queue_size(D::REQUEST_QUEUE + queue), ring, extent);
    let queue_size = size(0);
    // A request may go to any queue, so none may be smaller than another; and none that is not there is used.
    let queues = (1..most).take_while(|queue| size(*queue) == queue_size).count() as u16 + 1;
    Ok(Found { features, ring, queues, queue_size, protocol, limits })
}

/// A packed ring's size is any number (virtio 1.3, 2.8.10.1); a split ring's is a power of two (2.7), and a device that
/// offers another number takes a smaller one. A legacy device's is what it says (4.1.5.1.3).
fn usable_queue_size(offered: u16, ring: RingFormat, extent: &Extent) -> u16 {
    match (ring, offered.checked_ilog2()) {
        (RingFormat::LegacySplit, _) => offered,
        (RingFormat::Packed, _) => offered.min(extent.entries),
        (RingFormat::Split, Some(exponent)) => (1 << exponent).min(extent.entries),
        (RingFormat::Split, None) => 0,
    }
}

/// A chain may have as many descriptors as the queue has entries (virtio 1.3, 2.7.5.3.1); two are header and response. Where
/// what is left is not enough for a page wherever it lies, the protocol copies, if it can.
fn room(queue_size: u16, extent: &Extent, limits: &Limits, bounces: bool) -> Room {
    let by_queue = queue_size.saturating_sub(2);
    let by_device = u16::try_from(limits.max_segments).unwrap_or(u16::MAX);
    let max_segments = by_queue.min(extent.segments).min(by_device);
    let max_segment_bytes = limits.max_segment_bytes;
    let too_little = max_segments < MIN_SEGMENTS || max_segment_bytes < PAGE_BYTES;
    // What the device takes at once, so that StorPort cuts, and what it cuts goes side by side.
    let at_once = u64::from(max_segments) * u64::from(max_segment_bytes);
    let at_once = u32::try_from(at_once).unwrap_or(u32::MAX).min(extent.bounce_bytes);
    let pages = (at_once - at_once % PAGE_BYTES).max(PAGE_BYTES);
    let bounce_bytes = (bounces && too_little).then_some(pages);
    Room { max_segments, max_segment_bytes, bounce_bytes }
}

/// `splits`: less than a page is nothing that StorPort has to know of. What is asked for is always a page at least
/// (classpnp does not go below it), and the protocol does it in steps, each of whole blocks: no block may lie across a page
/// boundary then.
fn port_configuration(limits: &Limits, room: &Room, requests: u32, splits: bool) -> Configuration {
    /// FILE_512_BYTE_ALIGNMENT, the largest one there is (ns-storport-_port_configuration_information.md).
    const BLOCK_ALIGNMENT: u32 = 511;
    let little = room.max_segments < MIN_SEGMENTS || limits.max_transfer_bytes < PAGE_BYTES;
    let in_steps = splits && little;
    let (max_segments, most) = match room.bounce_bytes {
        // What is copied comes from as many pages as it likes.
        Some(bytes) => (bytes / PAGE_BYTES + 1, limits.max_transfer_bytes),
        None if in_steps => (room.max_segments.max(MIN_SEGMENTS).into(), PAGE_BYTES),
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
        alignment_mask: if in_steps { BLOCK_ALIGNMENT } else { 3 },
        caches_data: limits.caches_data,
        maps_all: room.bounce_bytes.is_some(),
    }
}

/// What another copy of the driver, in dump mode, will tell of the same device. A ring of as many entries as a dump wants is
/// one of those that this device can have.
fn dump_limits(limits: &Limits, queue_size: u16, (splits, bounces): (bool, bool)) -> DumpLimits {
    let extent = &Extent::DUMP;
    let requests = queue_size.min(extent.share(1).requests);
    let room = room(requests, extent, limits, bounces);
    let configuration = port_configuration(limits, &room, requests.into(), splits);
    DumpLimits {
        max_transfer_bytes: configuration.max_transfer_bytes,
        max_segments: configuration.max_segments,
    }
}

struct DeviceProbe<'a, B: Bar> {
    device: &'a Device<B>,
    ready: &'a FeaturesOk<'a, B>,
    place: (u32, u32),
}

impl<B: Bar> Probe for DeviceProbe<'_, B> {
    fn features(&self) -> Features {
        self.ready.features()
    }

    fn config<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.device.read_config(offset)
    }

    fn place(&self) -> Option<(u32, u32)> {
        Some(self.place)
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
    };

    fn with(limits: &Limits, queue_size: u16) -> Configuration {
        let room = room(queue_size, &Extent::NORMAL, limits, true);
        port_configuration(limits, &room, queue_size.into(), false)
    }

    fn normal(queue_size: u16) -> Configuration {
        with(&LIMITS, queue_size)
    }

    #[test]
    fn a_queue_size_is_capped_and_for_a_split_ring_rounded_down_to_a_power_of_two() {
        let table = [(0, 0, 0), (1, 1, 1), (100, 64, 100), (256, 256, 256), (u16::MAX, 256, 256)];
        for (offered, split, packed) in table {
            assert_eq!(
                usable_queue_size(offered, RingFormat::Split, &Extent::NORMAL),
                split,
                "{offered} offered"
            );
            assert_eq!(
                usable_queue_size(offered, RingFormat::Packed, &Extent::NORMAL),
                packed,
                "{offered} offered"
            );
            assert_eq!(
                usable_queue_size(offered, RingFormat::LegacySplit, &Extent::NORMAL),
                offered,
                "it is not ours to choose"
            );
        }
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
        assert_eq!(room(3, &Extent::NORMAL, &LIMITS, false).bounce_bytes, None);
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
            let room = Room { max_segments, max_segment_bytes: u32::MAX, bounce_bytes: None };
            let configuration = port_configuration(limits, &room, 8, true);

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
                dump_limits(limits, queue_size, (false, true));
            (max_transfer_bytes, max_segments)
        };

        assert_eq!(limits(&LIMITS, 256), (64 << 10, 17));
        assert_eq!(limits(&LIMITS, 8), (5 * 4096, 6));
        assert_eq!(limits(&small, 256), (2 * 4096, 3));
        assert_eq!(limits(&Limits { max_segments: 1, ..LIMITS }, 256), (4096, 2));
    }
}
