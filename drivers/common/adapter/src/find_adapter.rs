//! `HwStorFindAdapter`: is this our device, and what can it do?

use core::sync::atomic::{AtomicBool, AtomicU32};

use spin::mutex::SpinMutex;
use storport::port::LogPart;
use storport::{Configuration, Declined, Interrupts, LogEvent, Port, Resources};
use virtio::memory::SharedMemory;
use virtio::queue::{Layout, QueueOptions, RequestQueue, RingFormat};
use virtio::spec::Features;
use virtio::transport::{Bar, ConfigSpace, Device, FeaturesOk, TransportError, is_bus_master};

use crate::interrupt;
use crate::protocol::{Limits, Probe, Protocol};
use crate::request_path::RequestPath;
use crate::scratch::{self, ScratchPool};
use crate::state::{State, StateCell};
use crate::{Adapter, Request};

/// Most requests in a ring. The device may offer more; a storage back-end does not serve more at once, and the memory is
/// ours to spare.
pub(crate) const MAX_REQUESTS: u16 = 256;

/// Requests with long scatter/gather lists that are in flight at once; more of them wait for a table.
const LARGE_TABLES: u16 = 64;

/// Shared memory is accessed in words of up to this; what is left over at its end would be out of reach.
const WORD_BYTES: usize = 8;

/// A buffer of one page that starts inside a page is two segments; a device that takes fewer cannot be served.
const MIN_SEGMENTS: u16 = 2;

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

/// Log numbers of [`LogPart::Configuration`] that the adapter itself gives; protocols count from 100.
mod declined {
    /// Crash dump and hibernation are not supported yet.
    pub(super) const DUMP_MODE: u32 = 1;
    /// The request queue does not exist or is too small.
    pub(super) const QUEUE_TOO_SMALL: u32 = 3;
    /// No memory.
    pub(super) const NO_MEMORY: u32 = 4;
}

const fn configuration(number: u32) -> Declined {
    Declined(LogEvent { part: LogPart::Configuration, number })
}

fn transport(error: TransportError) -> Declined {
    Declined(LogEvent { part: LogPart::Transport, number: error.code() })
}

impl<P: Port, D: Protocol> Adapter<P, D> {
    pub(crate) fn find(resources: &mut impl Resources<Port = P>) -> Result<Self, Declined> {
        if resources.dump_mode() {
            return Err(configuration(declined::DUMP_MODE));
        }
        let port = resources.port();
        let config_space = resources.config_space();
        let device = open(&config_space, resources)?;
        // A device that is declined is told so (virtio 1.3, 2.1.1).
        let (features, protocol, path) = look_at::<P, D>(&device, &port)
            .and_then(|found| prepare(found, resources))
            .inspect_err(|_| device.fail())?;

        Ok(Self {
            port,
            device,
            features,
            protocol,
            interrupts: AtomicU32::new(interrupt::encode(Interrupts::None)),
            state: StateCell::new(State::Stopped),
            bus_master_off: AtomicBool::new(!is_bus_master(&config_space)),
            path: SpinMutex::new(path),
        })
    }
}

/// What was negotiated, what the protocol knows, and the request queue.
type Prepared<P, D> = (Features, D, RequestPath<Request<P, D>, D>);

/// Tells StorPort what the device can do, and gets the memory for its queue.
fn prepare<P: Port, D: Protocol>(
    found: Found<D>,
    resources: &mut impl Resources<Port = P>,
) -> Result<Prepared<P, D>, Declined> {
    let Found { features, ring, queue_size, mut protocol, limits } = found;
    let requests = queue_size.min(MAX_REQUESTS);
    let max_segments = max_segments(requests, &limits);
    if max_segments < MIN_SEGMENTS {
        return Err(configuration(declined::QUEUE_TOO_SMALL));
    }
    protocol.limited(max_segments);
    let layout = Layout::new(QueueOptions {
        ring,
        size: queue_size,
        slots: requests,
        max_segments,
        indirect: features.contains(Features::RING_INDIRECT_DESC),
        large_tables: LARGE_TABLES,
    })
    .map_err(|_| configuration(declined::QUEUE_TOO_SMALL))?;
    let slots = resources.private(layout.slots()).ok_or(configuration(declined::NO_MEMORY))?;
    resources.configure(&port_configuration(&limits, requests));
    let scratch_bytes = scratch::COUNT * D::SCRATCH_BYTES;
    // The scratch buffers are aligned, which may cost less than one alignment.
    let bytes =
        (layout.shared_bytes().next_multiple_of(WORD_BYTES * 2) + scratch_bytes).next_multiple_of(WORD_BYTES);
    let mut shared = resources.uncached_extension(bytes).ok_or(configuration(declined::NO_MEMORY))?;
    let ring_memory =
        shared.split(layout.shared_bytes(), layout.alignment()).ok_or(configuration(declined::NO_MEMORY))?;
    let scratch =
        ScratchPool::new(&mut shared, D::SCRATCH_BYTES).ok_or(configuration(declined::NO_MEMORY))?;
    let ring = RequestQueue::new(ring_memory, layout, slots, features)
        .map_err(|_| configuration(declined::NO_MEMORY))?;
    Ok((features, protocol, RequestPath::new(ring, scratch)))
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
    queue_size: u16,
    protocol: D,
    limits: Limits,
}

/// Negotiates with the device and reads its configuration. It is left without DRIVER_OK; `initialize` starts over.
fn look_at<P: Port, D: Protocol>(device: &Device<P::Bar>, port: &P) -> Result<Found<D>, Declined> {
    let negotiating = device.reset(&mut || port.stall(1000)).map_err(transport)?;
    let wanted = negotiating.offered() & (TRANSPORT_FEATURES | D::FEATURES);
    let ready = negotiating.negotiate(wanted).map_err(transport)?;
    let features = ready.features();
    if ready.queue_count() <= D::REQUEST_QUEUE {
        return Err(configuration(declined::QUEUE_TOO_SMALL));
    }
    let ring = match features {
        _ if device.is_legacy() => RingFormat::LegacySplit,
        features if features.contains(Features::RING_PACKED) => RingFormat::Packed,
        _ => RingFormat::Split,
    };
    let queue_size = usable_queue_size(ready.queue_size(D::REQUEST_QUEUE), ring);
    let (protocol, limits) = D::probe(&DeviceProbe { device, ready: &ready }).map_err(configuration)?;
    Ok(Found { features, ring, queue_size, protocol, limits })
}

/// A packed ring's size is any number (virtio 1.3, 2.8.10.1); a split ring's is a power of two (2.7), and a device that
/// offers another number takes a smaller one. A legacy device's is what it says (4.1.5.1.3).
fn usable_queue_size(offered: u16, ring: RingFormat) -> u16 {
    match (ring, offered.checked_ilog2()) {
        (RingFormat::LegacySplit, _) => offered,
        (RingFormat::Packed, _) => offered.min(MAX_REQUESTS),
        (RingFormat::Split, Some(exponent)) => (1 << exponent).min(MAX_REQUESTS),
        (RingFormat::Split, None) => 0,
    }
}

/// A chain may have as many descriptors as the queue has entries (virtio 1.3, 2.7.5.3.1); two are header and response.
fn max_segments(queue_size: u16, limits: &Limits) -> u16 {
    let by_queue = queue_size.saturating_sub(2);
    by_queue.min(u16::try_from(limits.max_segments).unwrap_or(u16::MAX))
}

fn port_configuration(limits: &Limits, queue_size: u16) -> Configuration {
    /// Smallest unit of memory that a scatter/gather element describes in the worst case.
    const PAGE_BYTES: u32 = 4096;
    let max_segments = u32::from(max_segments(queue_size, limits));
    Configuration {
        targets: limits.targets,
        logical_units: limits.logical_units,
        // A buffer that starts inside a page touches one page more than its length says.
        max_transfer_bytes: limits.max_transfer_bytes.min(max_segments.saturating_sub(1) * PAGE_BYTES),
        max_segments,
        max_requests: u32::from(queue_size),
        max_requests_per_lun: limits.max_requests_per_lun.min(u32::from(queue_size)).max(1),
        alignment_mask: 3,
        caches_data: limits.caches_data,
    }
}

struct DeviceProbe<'a, B: Bar> {
    device: &'a Device<B>,
    ready: &'a FeaturesOk<'a, B>,
}

impl<B: Bar> Probe for DeviceProbe<'_, B> {
    fn features(&self) -> Features {
        self.ready.features()
    }

    fn config<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.device.read_config(offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        targets: 1,
        logical_units: 1,
        max_segments: 254,
        max_transfer_bytes: u32::MAX,
        max_requests_per_lun: 1000,
        caches_data: true,
    };

    #[test]
    fn a_queue_size_is_capped_and_for_a_split_ring_rounded_down_to_a_power_of_two() {
        let table = [(0, 0, 0), (1, 1, 1), (100, 64, 100), (256, 256, 256), (u16::MAX, 256, 256)];
        for (offered, split, packed) in table {
            assert_eq!(usable_queue_size(offered, RingFormat::Split), split, "{offered} offered");
            assert_eq!(usable_queue_size(offered, RingFormat::Packed), packed, "{offered} offered");
            assert_eq!(
                usable_queue_size(offered, RingFormat::LegacySplit),
                offered,
                "it is not ours to choose"
            );
        }
    }

    #[test]
    fn the_largest_transfer_fits_its_segments_even_when_it_starts_inside_a_page() {
        let configuration = port_configuration(&LIMITS, 256);

        assert_eq!(configuration.max_segments, 254);
        assert_eq!(configuration.max_transfer_bytes, 253 * 4096);
    }

    #[test]
    fn a_small_queue_limits_the_segments() {
        let configuration = port_configuration(&LIMITS, 16);

        assert_eq!(configuration.max_segments, 14);
        assert_eq!(configuration.max_requests, 16);
        assert_eq!(configuration.max_requests_per_lun, 16);
    }
}
