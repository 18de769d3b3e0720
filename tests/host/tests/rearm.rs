//! The moment between draining the ring and asking for interrupts again.
//!
//! viostor with a hook where a request is put into the ring, which the drain does in just that moment.

use std::cell::RefCell;

use adapter::{
    Chain, Facts, Limits, NoTask, Probe, ProbeError, Request, Requests, Response, Scratch, Service, Step,
};
use fake_device::disk::Disk;
use fake_device::{Interrupt, Options};
use host_tests::Bench;
use storport::BuildIo;
use viostor::Viostor;
use virtio::memory::{Block, Region, Words};
use virtio::queue::{Direction, Format};

use virtio::spec::Features;

type Hook = Box<dyn FnMut()>;

thread_local! {
    /// What happens each time a request is put into the ring.
    static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) };
}

struct Hooked(Viostor);

impl Format for Hooked {
    type Header = <Viostor as Format>::Header;
    const RESPONSE_BYTES: u16 = Viostor::RESPONSE_BYTES;
    const RESPONSE_BEFORE_DATA_IN: bool = Viostor::RESPONSE_BEFORE_DATA_IN;
    const INLINE_SEGMENTS: u16 = Viostor::INLINE_SEGMENTS;
}

impl Facts for Hooked {
    type Command = viostor::Command;

    const FEATURES: Features = Viostor::FEATURES;
    const REQUEST_QUEUE: u16 = Viostor::REQUEST_QUEUE;
    const CONTROL_QUEUE: Option<u16> = None;
    const EVENT_QUEUE: Option<u16> = None;
    type Task = NoTask;
    const SCRATCH: Scratch = Viostor::SCRATCH;

    fn probe(probe: &impl Probe) -> Result<(Self, Limits), ProbeError> {
        Viostor::probe(probe).map(|(viostor, limits)| (Self(viostor), limits))
    }
}

impl Requests for Hooked {
    fn build_io(&self, request: &mut Request<Self>) -> BuildIo {
        self.0.build_io(request)
    }

    fn flush(&self) -> Option<Self::Command> {
        self.0.flush()
    }

    fn chain(&self, request: &Request<Self>, command: Self::Command, tag: u32) -> Chain<Self::Header> {
        HOOK.with_borrow_mut(|hook| {
            if let Some(step) = hook {
                step();
            }
        });
        self.0.chain(request, command, tag)
    }

    fn write_header(
        &self,
        request: &Request<Self>,
        command: &Self::Command,
        tag: u32,
        header: Block<impl Words>,
    ) -> Option<Direction> {
        self.0.write_header(request, command, tag, header)
    }

    fn is_done(&self, request: &Request<Self>, command: &Self::Command, response: &Response<'_>) -> bool {
        self.0.is_done(request, command, response)
    }

    fn complete(
        &self,
        request: &mut Request<Self>,
        command: Self::Command,
        response: &Response<'_>,
        scratch: Option<&Region>,
    ) -> Step<Self::Command> {
        self.0.complete(request, command, response, scratch)
    }
}

impl Service for Hooked {}

#[test]
fn a_buffer_used_while_interrupts_are_off_is_completed_without_one() {
    for event_idx in [Features::RING_EVENT_IDX, Features::empty()] {
        let features = Features::VERSION_1 | Features::RING_INDIRECT_DESC | event_idx;
        let options = Options { queue_size: 4, features, ..Options::default() };
        let bench: Bench<Hooked, Disk> = Bench::running(Disk::new(64), options);
        bench.hold_reads(5);
        bench.device.release(1);
        assert_eq!(bench.device.take_interrupts(), [Interrupt::Message(1)]);
        // The fifth request takes the place of the first; just then the device is done with the second.
        let device = bench.device.clone();
        let mut left = 1;
        HOOK.set(Some(Box::new(move || {
            assert_eq!(device.release(left), left);
            left = 0;
        })));

        bench.port.interrupt(&bench.adapter, Some(1));

        HOOK.set(None);
        assert_eq!(bench.device.take_interrupts(), [], "the driver had asked for none");
        let tags: Vec<u64> = bench.port.take_completed().iter().map(|completed| completed.tag).collect();
        assert_eq!(tags, [0, 1]);
        bench.device.release_all();
        bench.settle();
        assert_eq!(bench.port.take_completed().len(), 3);
        bench.device.assert_no_violations();
    }
}
