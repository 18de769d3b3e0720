//! The life of an adapter: found, planned, started, stopped. What the device has agreed to, and its Bus Master bit, are kept
//! here; what is done when it does not work is `recovery`'s.
//!
//! No lock guards this: only who starts or stops the device changes anything, and `recovery` lets one do that at a time.

mod find_adapter;
mod parameters;
mod plan;
mod sizes;
mod start;

pub use parameters::{OnReset, Parameters};
pub(crate) use plan::control_bytes;
pub(crate) use sizes::Sizes;

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use virtio::spec::Features;
use virtio::transport::{Bar, Device};

use crate::device_type::{Configure, Probe};
use crate::queue::Notification;

/// The device and what it has agreed to.
pub(crate) struct LifeCycle<B: Bar> {
    device: Device<B>,
    /// What was negotiated when the adapter was found. A restart must negotiate the same, because the limits told
    /// to StorPort follow from it.
    features: Features,
    /// Features that a later start may negotiate or not ([`Facts::CHANGEABLE`](crate::Facts::CHANGEABLE)).
    changeable: Features,
    /// Those of `changeable` that were negotiated last.
    changed: AtomicU64,
    /// Bus Master is off: the device was cut off from memory because it does not end its reset, or was found so.
    bus_master_off: AtomicBool,
}

impl<B: Bar> LifeCycle<B> {
    const fn new(device: Device<B>, features: Features, changeable: Features, is_bus_master: bool) -> Self {
        Self {
            device,
            features,
            changeable,
            changed: AtomicU64::new(features.intersection(changeable).bits()),
            bus_master_off: AtomicBool::new(!is_bus_master),
        }
    }

    /// The device's registers.
    #[inline]
    pub(crate) const fn device(&self) -> &Device<B> {
        &self.device
    }

    /// The device as its type sees it, while it runs.
    pub(crate) fn running(&self) -> Running<'_, B> {
        let changed = Features::from_bits_retain(self.changed.load(Ordering::Relaxed));
        Running { device: &self.device, features: self.features.difference(self.changeable) | changed }
    }

    /// Tells the device of what was put into a ring, whose lock this is. It is dropped first, as the device may take long;
    /// unless the position that it is told is one of this ring and no longer right after a reset.
    pub(crate) fn notify<L>(&self, lock: L, Notification { doorbell, next }: Notification) {
        if !doorbell.tells_position() {
            drop(lock);
        }
        self.device.notify(&doorbell, next);
    }

    /// The device is cut off from memory, or may be.
    pub(crate) fn set_bus_master_off(&self, off: bool) {
        self.bus_master_off.store(off, Ordering::Release);
    }
}

/// A running device, as its type sees it.
pub(crate) struct Running<'a, B: Bar> {
    device: &'a Device<B>,
    features: Features,
}

impl<B: Bar> Probe for Running<'_, B> {
    fn features(&self) -> Features {
        self.features
    }

    fn config<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.device.read_config(offset)
    }
}

impl<B: Bar> Configure for Running<'_, B> {
    fn write_config8(&self, offset: usize, value: u8) {
        self.device.write_config8(offset, value);
    }
}
