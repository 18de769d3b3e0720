//! The device's configuration while it runs: what changes, and how Windows hears of it.

use core::sync::atomic::Ordering;

use storport::{Address, DpcKind, Port};
use virtio::spec::Features;
use virtio::transport::{Bar, Device};

use crate::Adapter;
use crate::events::Event;
use crate::protocol::{Probe, Protocol};
use crate::state::State;

/// A running device, as its protocol sees it.
pub(crate) struct RunningProbe<'a, B: Bar> {
    device: &'a Device<B>,
    features: Features,
}

impl<B: Bar> Probe for RunningProbe<'_, B> {
    fn features(&self) -> Features {
        self.features
    }

    fn config<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.device.read_config(offset)
    }
}

impl<P: Port, D: Protocol> Adapter<P, D> {
    pub(crate) fn running_probe(&self) -> RunningProbe<'_, P::Bar> {
        let changeable = Features::from_bits_retain(self.changeable.load(Ordering::Relaxed));
        RunningProbe { device: &self.device, features: self.features.difference(D::CHANGEABLE) | changeable }
    }

    /// Has the protocol look at the configuration, and tells Windows if it has to look as well. Any number of changes may
    /// lie behind one call, also none.
    pub(crate) fn look_at_configuration(&self) {
        let changed = {
            // While it is held the device is not reset: what is read is one device's, and agreed on.
            let _path = self.queues.first().lock();
            self.state.get() == State::Running && self.protocol.configuration_changed(&self.running_probe())
        };
        if changed {
            self.report(Event::ConfigurationChanged.into());
            self.tell_unit_change();
        }
    }

    /// Has Windows look at the unit again, now or when it is done with an earlier change.
    fn tell_unit_change(&self) {
        if !self.port.unit_changed(Address::default()) {
            self.untold.store(true, Ordering::SeqCst);
            // The earlier one may have ended before that line; then no callback comes any more that would see it.
            self.look_later();
        }
    }

    /// Tells the last change that was not taken; several are one.
    pub(crate) fn tell_what_was_not_taken(&self) {
        if self.untold.swap(false, Ordering::SeqCst) {
            self.tell_unit_change();
        }
    }

    /// Windows is done with a change, as good as: its callback runs with the StartIo lock held
    /// (nc-storport-hw_state_change.md), where StorPort may still count that change as open. So the next one is told by the DPC.
    pub(crate) fn tell_later_what_was_not_taken(&self) {
        if self.untold.load(Ordering::SeqCst) {
            self.port.issue_dpc(DpcKind::Configuration);
        }
    }
}
