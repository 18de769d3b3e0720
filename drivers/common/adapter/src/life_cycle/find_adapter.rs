//! `HwStorFindAdapter`: is this our device, and what can it do? IRQL: PASSIVE_LEVEL, in dump mode HIGH_LEVEL. Lock: none.

use storport::{Configuration, Declined, DumpLimits, Port, Resources};
use virtio::queue::RingFormat;
use virtio::spec::Features;
use virtio::spec::pci::config_space;
use virtio::transport::{Bar, ConfigSpace, Device, FeaturesOk, TransportError, is_bus_master};

use super::plan::{Found, Plan};
use super::{LifeCycle, Parameters, Sizes, plan};
use crate::device_type::{DeviceType, Limits, PciFunction, Probe, ProbeError};
use crate::log_events::Event;
use crate::queue::{EVENT_BUFFERS, LockedControlQueue, LockedEventQueue, Queues, TASKS};
use crate::recovery::Recovery;
use crate::service::ServiceState;
use crate::{Adapter, AdapterFacts};

/// Time between two looks at the status register during a reset, in microseconds: less than a millisecond
/// (nf-storport-storportstallexecution.md).
const RESET_POLL_MICROSECONDS: u32 = 500;

/// How many such times are between two looks. At PASSIVE_LEVEL there is time: a device is waited for that takes some seconds,
/// as only now it tells what it is.
const STALLS: u32 = 10;

pub(super) fn transport(error: TransportError) -> Declined {
    Declined(Event::of_transport(error))
}

pub(super) fn unusable(error: ProbeError) -> Declined {
    Event::from(error).into()
}

impl<P: Port, D: DeviceType> Adapter<P, D> {
    pub(crate) fn find_adapter(resources: &mut impl Resources<Port = P>) -> Result<Self, Declined> {
        let polled = resources.dump_mode();
        let sizes = if polled { Sizes::DUMP } else { Sizes::NORMAL };
        let port = resources.port();
        let parameters = Parameters::read(resources);
        let config_space = resources.config_space();
        let device = open(&config_space, resources)?;
        // A device that is declined is told so (virtio 1.3, 2.1.1).
        let wanted_queues = parameters.max_queues.map_or(u16::MAX, |most| most).min(resources.queues());
        let function = function(&config_space, resources.place());
        let wanted = sizes.with_entries(parameters.entries(sizes.entries));
        let found = look_at::<P, D>(&device, &port, &wanted, (wanted_queues, function));
        let Prepared { features, device_type, limits, told, queues, control, events, dump } = found
            .and_then(|found| prepare(found, &sizes, &parameters, resources))
            .inspect_err(|_| device.fail())?;
        if limits.leaves_out && !polled {
            // Most devices have none there.
            port.report(Event::UnitsLeftOut.into());
        }

        Ok(Self {
            port,
            device_type,
            facts: AdapterFacts {
                polled,
                write_cache: limits.write_cache,
                dump,
                max_requests_per_lun: told.max_requests_per_lun,
                max_segments: told.max_segments,
                on_reset: parameters.on_reset,
                trace_response_time: if polled { 0 } else { parameters.trace_response_time },
            },
            life_cycle: LifeCycle::new(device, features, D::CHANGEABLE, is_bus_master(&config_space)),
            queues,
            control,
            events,
            recovery: Recovery::new(),
            service: ServiceState::new(),
        })
    }
}

/// What an adapter is made of besides the device.
struct Prepared<D: DeviceType> {
    /// What was negotiated.
    features: Features,
    device_type: D,
    limits: Limits,
    /// What the port driver was told.
    told: Configuration,
    queues: Queues<D>,
    control: Option<&'static LockedControlQueue<D>>,
    events: Option<&'static LockedEventQueue>,
    /// What another copy of the driver would say for itself in dump mode.
    dump: DumpLimits,
}

/// Tells StorPort what the device can do, and gets the memory for its queues: for all that it can make use of, or as many
/// of them as there is memory for.
fn prepare<P: Port, D: DeviceType>(
    found: Found<D>,
    sizes: &Sizes,
    parameters: &Parameters,
    resources: &mut impl Resources<Port = P>,
) -> Result<Prepared<D>, Declined> {
    let no_memory = Declined::from(Event::NoMemory);
    let found = Found { limits: parameters.limits(found.limits), ..found };
    let room = resources.private_room();
    let mut queues = found.queues;
    loop {
        let plan = Plan::<D>::new(&found, sizes, queues)?;
        if Queues::<D>::private_bytes(queues, plan.slots()) + plan.control_bytes() <= room {
            let told = parameters.configuration(plan.configuration(&found.limits));
            resources.configure(&told);
            if let Some(mut shared) = resources.uncached_extension(plan.shared_bytes()) {
                let Found { features, queue_size, mut device_type, limits, .. } = found;
                device_type.limited(*plan.room()).map_err(unusable)?;
                let queues = plan.build(&mut shared, features, resources).ok_or(no_memory)?;
                let control = plan.build_control(&mut shared, features, resources).ok_or(no_memory)?;
                let events = plan.build_events(&mut shared, features, resources).ok_or(no_memory)?;
                return Ok(Prepared {
                    features,
                    device_type,
                    limits,
                    told,
                    queues,
                    control,
                    events,
                    dump: plan::dump_limits(&limits, queue_size, D::SMALL),
                });
            }
        }
        if queues == 1 {
            return Err(no_memory);
        }
        queues /= 2;
    }
}

fn open<P: Port>(
    config_space: &impl ConfigSpace,
    resources: &mut impl Resources<Port = P>,
) -> Result<Device<P::Bar>, Declined> {
    Device::open(config_space, |bar| resources.map_bar(bar)).map_err(transport)
}

fn function(config_space: &impl ConfigSpace, (bus, slot): (u32, u32)) -> PciFunction {
    PciFunction {
        bus,
        slot,
        vendor: config_space.read16(config_space::VENDOR_ID),
        device: config_space.read16(config_space::DEVICE_ID),
        revision: config_space.read8(config_space::REVISION),
    }
}

/// Negotiates with the device and reads its configuration. It is left without DRIVER_OK; `initialize` starts over.
fn look_at<P: Port, D: DeviceType>(
    device: &Device<P::Bar>,
    port: &P,
    sizes: &Sizes,
    (wanted_queues, function): (u16, PciFunction),
) -> Result<Found<D>, Declined> {
    let mut wait = || (0..STALLS).for_each(|_| port.stall(RESET_POLL_MICROSECONDS));
    let negotiating = device.reset(&mut wait).map_err(transport)?;
    let wanted = negotiating.offered() & (sizes.features | D::FEATURES);
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
    let (device_type, limits) =
        D::probe(&DeviceProbe { device, ready: &ready, function }).map_err(unusable)?;
    let offered = limits.request_queues.min(ready.queue_count() - D::REQUEST_QUEUE);
    let most = offered.min(wanted_queues).min(sizes.queues).max(1);
    // A function has two descriptors where there are no tables.
    let control = D::CONTROL_QUEUE
        .filter(|_| sizes.control)
        .map(|number| usable_queue_size(ready.queue_size(number), ring, 2 * TASKS));
    let events = D::EVENT_QUEUE
        .filter(|_| sizes.control)
        .map(|number| usable_queue_size(ready.queue_size(number), ring, EVENT_BUFFERS));
    let size = |queue| usable_queue_size(ready.queue_size(D::REQUEST_QUEUE + queue), ring, sizes.entries);
    let queue_size = size(0);
    // A request may go to any queue, so none may be smaller than another; and none that is not there is used.
    let queues = (1..most).take_while(|queue| size(*queue) == queue_size).count() as u16 + 1;
    Ok(Found { features, ring, queues, queue_size, control, events, device_type, limits })
}

/// A packed ring's size is any number (virtio 1.3, 2.8.10.1); a split ring's is a power of two (2.7), and a device that
/// offers another number takes a smaller one. A legacy device's is what it says (4.1.5.1.3).
fn usable_queue_size(offered: u16, ring: RingFormat, most: u16) -> u16 {
    match (ring, offered.checked_ilog2()) {
        (RingFormat::LegacySplit, _) => offered,
        (RingFormat::Packed, _) => offered.min(most),
        (RingFormat::Split, Some(exponent)) => (1 << exponent).min(most),
        (RingFormat::Split, None) => 0,
    }
}

struct DeviceProbe<'a, B: Bar> {
    device: &'a Device<B>,
    ready: &'a FeaturesOk<'a, B>,
    function: PciFunction,
}

impl<B: Bar> Probe for DeviceProbe<'_, B> {
    fn features(&self) -> Features {
        self.ready.features()
    }

    fn config<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.device.read_config(offset)
    }

    fn function(&self) -> Option<PciFunction> {
        Some(self.function)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_size_is_capped_and_for_a_split_ring_rounded_down_to_a_power_of_two() {
        let table = [(0, 0, 0), (1, 1, 1), (100, 64, 100), (256, 256, 256), (u16::MAX, 256, 256)];
        for (offered, split, packed) in table {
            assert_eq!(
                usable_queue_size(offered, RingFormat::Split, Sizes::NORMAL.entries),
                split,
                "{offered} offered"
            );
            assert_eq!(
                usable_queue_size(offered, RingFormat::Packed, Sizes::NORMAL.entries),
                packed,
                "{offered} offered"
            );
            assert_eq!(
                usable_queue_size(offered, RingFormat::LegacySplit, Sizes::NORMAL.entries),
                offered,
                "it is not ours to choose"
            );
        }
    }
}
