//! The device's registers, and the order they have to be touched in (3.1.1, 4.1.4).

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use super::device::{Options, State};
use super::queue::Queue;
use super::{Lie, Model, Violation};
use virtio::spec::pci::{NO_VECTOR, common};
use virtio::spec::{DeviceStatus, Features};
use virtio::transport::Bar;

/// The base address register that the structures lie in.
pub(super) const BAR: u8 = 4;

/// The one for notifications in I/O space, and its length.
pub(super) const NOTIFY_IO_BAR: u8 = 2;
const NOTIFY_IO_BYTES: u32 = 4;

/// `queue_notif_config_data` of queue 0; the others count on.
const QUEUE_NAMES: u16 = 0x5100;

const BAR_BYTES: u32 = 0x4000;

/// First byte and length of each structure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Windows {
    pub(super) common: (u32, u32),
    pub(super) isr: (u32, u32),
    pub(super) device: (u32, u32),
    pub(super) notify: (u32, u32),
    pub(super) notify_bar: u8,
}

impl Windows {
    pub(super) fn new(config_bytes: u32, common_bytes: Option<u32>, options: &Options) -> Self {
        let (notify_bar, notify) =
            if options.notify_io { (NOTIFY_IO_BAR, (0, NOTIFY_IO_BYTES)) } else { (BAR, (0x3000, 0x1000)) };
        Self {
            common: (0, common_bytes.unwrap_or(0x40)),
            isr: (0x1000, 1),
            device: (0x2000, config_bytes),
            notify,
            notify_bar,
        }
    }
}

impl Windows {
    /// Whether these bytes lie in one of the structures.
    pub(super) fn contain(&self, bar: u8, offset: u32, length: u32) -> bool {
        [(BAR, self.common), (BAR, self.isr), (BAR, self.device), (self.notify_bar, self.notify)]
            .into_iter()
            .filter(|(in_bar, _)| *in_bar == bar)
            .any(|(_, window)| inside(offset, window).is_some_and(|at| at + length <= window.1))
    }
}

fn inside(offset: u32, window: (u32, u32)) -> Option<u32> {
    offset.checked_sub(window.0).filter(|inner| *inner < window.1)
}

/// Width of a register of the common structure, and whether the driver may write it.
fn common_register(register: u32, accepted: Features) -> Option<(u32, bool)> {
    match register {
        common::QUEUE_NOTIF_CONFIG_DATA if accepted.contains(Features::NOTIF_CONFIG_DATA) => Some((2, false)),
        common::QUEUE_RESET if accepted.contains(Features::RING_RESET) => Some((2, true)),
        common::DEVICE_FEATURE_SELECT | common::DRIVER_FEATURE_SELECT | common::DRIVER_FEATURE => {
            Some((4, true))
        }
        common::DEVICE_FEATURE => Some((4, false)),
        common::CONFIG_MSIX_VECTOR
        | common::QUEUE_SELECT
        | common::QUEUE_SIZE
        | common::QUEUE_MSIX_VECTOR
        | common::QUEUE_ENABLE => Some((2, true)),
        common::NUM_QUEUES | common::QUEUE_NOTIFY_OFF => Some((2, false)),
        common::DEVICE_STATUS => Some((1, true)),
        common::CONFIG_GENERATION => Some((1, false)),
        0x20..0x38 if register.is_multiple_of(4) => Some((4, true)),
        _ => None,
    }
}

/// The registers of a fake device, as a driver maps them.
pub struct FakeBar<M>(pub(super) Arc<Mutex<State<M>>>, pub(super) u8);

impl<M> fmt::Debug for FakeBar<M> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("FakeBar")
    }
}

impl<M> FakeBar<M> {
    fn state(&self) -> MutexGuard<'_, State<M>> {
        self.0.lock().expect("no test goes on after a panic in the device")
    }

    /// The state for an access, after what the test does before that.
    fn accessed(&self) -> MutexGuard<'_, State<M>> {
        let mut state = self.state();
        let accesses = state.accesses;
        let Some((_, step)) = state.at_access.take_if(|(due, _)| *due <= accesses) else {
            return state;
        };
        drop(state);
        step();
        self.state()
    }
}

impl<M: Model> Bar for FakeBar<M> {
    fn length(&self) -> u64 {
        let state = self.state();
        let told = state
            .lies
            .iter()
            .find_map(|lie| if let Lie::BarLength(bytes) = lie { Some(*bytes) } else { None });
        told.unwrap_or(u64::from(match self.1 {
            NOTIFY_IO_BAR => NOTIFY_IO_BYTES,
            BAR => BAR_BYTES,
            _ => state.legacy_bytes(),
        }))
    }

    fn read8(&self, offset: u32) -> u8 {
        let mut state = self.accessed();
        let in_reset = state.reset_unconfirmed;
        let value = state.read(self.1, offset, 1) as u8;
        let has_ended = in_reset && !state.reset_unconfirmed;
        let step = if has_ended { state.at_ended_reset.take() } else { None };
        drop(state);
        if let Some(step) = step {
            step();
        }
        value
    }

    fn read16(&self, offset: u32) -> u16 {
        self.accessed().read(self.1, offset, 2) as u16
    }

    fn read32(&self, offset: u32) -> u32 {
        self.accessed().read(self.1, offset, 4)
    }

    fn write8(&self, offset: u32, value: u8) {
        self.accessed().write(self.1, offset, 1, u32::from(value));
    }

    fn write16(&self, offset: u32, value: u16) {
        self.accessed().write(self.1, offset, 2, u32::from(value));
    }

    fn write32(&self, offset: u32, value: u32) {
        self.accessed().write(self.1, offset, 4, value);
    }
}

/// What a register reads that is not there.
const ABSENT: u32 = u32::MAX;

impl<M: Model> State<M> {
    fn read(&mut self, bar: u8, offset: u32, width: u32) -> u32 {
        self.accesses += 1;
        if self.removed {
            return ABSENT;
        }
        if self.options.legacy {
            return self.read_legacy(offset, width);
        }
        if bar == NOTIFY_IO_BAR {
            return self.absent(Violation::NoRegister { offset, width });
        }
        let windows = self.windows();
        if !offset.is_multiple_of(width) {
            return self.absent(Violation::AccessWidth { offset, width });
        }
        if self.reset_unconfirmed && offset != windows.common.0 + common::DEVICE_STATUS {
            self.violations.push(Violation::ResetNotAwaited { offset });
        }
        if let Some(register) = inside(offset, windows.common) {
            return match common_register(register, self.accepted) {
                None => self.absent(Violation::NoRegister { offset, width }),
                Some((own, _)) if own != width => self.absent(Violation::AccessWidth { offset, width }),
                Some(_) => self.read_common(register),
            };
        }
        if inside(offset, windows.isr).is_some() {
            return self.read_isr(offset, width);
        }
        if let Some(at) = inside(offset, windows.device) {
            return self.read_config(at, width);
        }
        self.absent(Violation::NoRegister { offset, width })
    }

    pub(super) fn write_config(&mut self, at: u32, width: u32, value: u32) {
        let written = self.model.write_config(at as usize, width, value, self.accepted);
        if !written || !self.status.contains(DeviceStatus::DRIVER_OK) {
            self.violations.push(Violation::ConfigOutOfStep { offset: at });
        }
    }

    pub(super) fn absent(&mut self, violation: Violation) -> u32 {
        self.violations.push(violation);
        ABSENT
    }

    fn write(&mut self, bar: u8, offset: u32, width: u32, value: u32) {
        self.accesses += 1;
        if self.removed {
            return;
        }
        if self.options.legacy {
            self.write_legacy(offset, width, value);
            return;
        }
        let windows = self.windows();
        if !offset.is_multiple_of(width) {
            self.violations.push(Violation::AccessWidth { offset, width });
            return;
        }
        if let Some(at) = inside(offset, windows.notify).filter(|_| bar == windows.notify_bar) {
            self.notify(at, width, value);
            return;
        }
        if let Some(at) = inside(offset, windows.device) {
            self.write_config(at, width, value);
            return;
        }
        let Some(register) = inside(offset, windows.common) else {
            self.violations.push(Violation::NoRegister { offset, width });
            return;
        };
        match common_register(register, self.accepted) {
            None => self.violations.push(Violation::NoRegister { offset, width }),
            Some((_, false)) => self.violations.push(Violation::ReadOnly { offset }),
            Some((own, true)) if own != width => {
                self.violations.push(Violation::AccessWidth { offset, width })
            }
            Some((_, true)) => {
                if self.reset_unconfirmed && register != common::DEVICE_STATUS {
                    self.violations.push(Violation::ResetNotAwaited { offset });
                }
                self.write_common(register, value);
            }
        }
    }

    fn read_common(&mut self, register: u32) -> u32 {
        match register {
            common::DEVICE_FEATURE_SELECT => self.device_feature_select,
            common::DEVICE_FEATURE => {
                if !self.status.contains(DeviceStatus::DRIVER) {
                    self.violations.push(Violation::FeaturesOutOfStep { status: self.status.bits() });
                }
                half(self.offered().bits(), self.device_feature_select)
            }
            common::DRIVER_FEATURE_SELECT => self.driver_feature_select,
            common::DRIVER_FEATURE => half(self.accepted.bits(), self.driver_feature_select),
            common::CONFIG_MSIX_VECTOR => {
                self.config_vector_unconfirmed = false;
                u32::from(self.config_vector)
            }
            common::NUM_QUEUES => {
                let told = self
                    .lies
                    .iter()
                    .find_map(|lie| if let Lie::QueueCount(n) = lie { Some(*n) } else { None });
                u32::from(told.unwrap_or(self.queues.len() as u16))
            }
            common::DEVICE_STATUS => u32::from(self.read_status()),
            common::CONFIG_GENERATION => {
                if self.lies.contains(&Lie::ConfigNeverSettles) {
                    self.generation = self.generation.wrapping_add(1);
                }
                u32::from(self.generation)
            }
            common::QUEUE_SELECT => u32::from(self.queue_select),
            common::QUEUE_RESET => u32::from(self.read_queue_reset()),
            _ => self.read_queue(register),
        }
    }

    fn read_queue(&mut self, register: u32) -> u32 {
        let lies = self.lies.clone();
        let Some(queue) = self.queues.get_mut(usize::from(self.queue_select)) else {
            return 0;
        };
        match register {
            common::QUEUE_SIZE => {
                let told = lies
                    .iter()
                    .find_map(|lie| if let Lie::QueueSize(size) = lie { Some(*size) } else { None });
                u32::from(told.unwrap_or(queue.size))
            }
            common::QUEUE_MSIX_VECTOR => {
                queue.vector_unconfirmed = false;
                u32::from(queue.vector)
            }
            common::QUEUE_ENABLE => u32::from(queue.enabled),
            common::QUEUE_NOTIF_CONFIG_DATA => u32::from(QUEUE_NAMES + queue.number),
            common::QUEUE_NOTIFY_OFF => {
                let told = lies
                    .iter()
                    .find_map(|lie| if let Lie::NotifyOffset(off) = lie { Some(*off) } else { None });
                u32::from(told.unwrap_or(queue.number))
            }
            _ => area(queue, register),
        }
    }

    fn write_common(&mut self, register: u32, value: u32) {
        match register {
            common::DEVICE_FEATURE_SELECT => self.device_feature_select = value,
            common::DRIVER_FEATURE_SELECT => self.driver_feature_select = value,
            common::DRIVER_FEATURE => self.write_features(value),
            common::DEVICE_STATUS => self.write_status(DeviceStatus::from_bits_retain(value as u8)),
            common::QUEUE_SELECT => self.queue_select = value as u16,
            common::QUEUE_RESET => self.write_queue_reset(value as u16),
            common::CONFIG_MSIX_VECTOR => {
                self.config_vector = self.take_vector(value as u16);
                self.config_vector_unconfirmed = value as u16 != NO_VECTOR;
            }
            _ => self.write_queue(register, value),
        }
    }

    fn write_features(&mut self, value: u32) {
        let in_step =
            self.status.contains(DeviceStatus::DRIVER) && !self.status.contains(DeviceStatus::FEATURES_OK);
        if !in_step {
            self.violations.push(Violation::FeaturesOutOfStep { status: self.status.bits() });
        }
        if let Some(shift) = self.driver_feature_select.checked_mul(32).filter(|shift| *shift < 64) {
            let kept = self.accepted.bits() & !(u64::from(u32::MAX) << shift);
            self.accepted = Features::from_bits_retain(kept | u64::from(value) << shift);
        }
    }

    pub(super) fn read_status(&mut self) -> u8 {
        if self.lies.contains(&Lie::ResetNeverEnds) && self.reset_unconfirmed {
            return self.status.bits() | DeviceStatus::DEVICE_NEEDS_RESET.bits();
        }
        if self.reset_polls_left > 0 {
            self.reset_polls_left -= 1;
            return self.status.bits();
        }
        if self.reset_unconfirmed {
            self.finish_reset();
        }
        if self.status.contains(DeviceStatus::FEATURES_OK) {
            self.features_confirmed = true;
        }
        self.status.bits()
    }

    fn write_status(&mut self, status: DeviceStatus) {
        const ORDER: [DeviceStatus; 4] = [
            DeviceStatus::ACKNOWLEDGE,
            DeviceStatus::DRIVER,
            DeviceStatus::FEATURES_OK,
            DeviceStatus::DRIVER_OK,
        ];
        if status.is_empty() {
            self.begin_reset();
            return;
        }
        let old = self.status;
        let (from, to) = (old.bits(), status.bits());
        if self.reset_unconfirmed {
            self.violations.push(Violation::ResetNotAwaited { offset: common::DEVICE_STATUS });
        }
        if !(old - DeviceStatus::DEVICE_NEEDS_RESET - status).is_empty() {
            self.violations.push(Violation::StatusCleared { from, to });
        }
        let new = ORDER.iter().filter(|bit| status.contains(**bit) && !old.contains(**bit)).count();
        let gap = ORDER.windows(2).any(|pair| status.contains(pair[1]) && !status.contains(pair[0]));
        if new > 1 || gap {
            self.violations.push(Violation::StatusOrder { from, to });
        }
        let mut accepted = status | (old & DeviceStatus::DEVICE_NEEDS_RESET);
        let becomes = |bit| status.contains(bit) && !old.contains(bit);
        if becomes(DeviceStatus::FEATURES_OK) {
            let not_offered = self.accepted - self.offered();
            if !not_offered.is_empty() {
                self.violations.push(Violation::FeatureNotOffered { bits: not_offered.bits() });
            }
            let refused = self.lies.contains(&Lie::FeaturesRefused)
                || !not_offered.is_empty()
                || !self.accepted.contains(Features::VERSION_1);
            if refused {
                accepted.remove(DeviceStatus::FEATURES_OK);
            }
            self.features_confirmed = false;
            let accepted = self.accepted;
            self.queues.iter_mut().for_each(|queue| queue.settle_size(accepted));
        }
        if becomes(DeviceStatus::DRIVER_OK) {
            if !self.is_bus_master() {
                self.violations.push(Violation::NoBusMaster);
            }
            if !self.features_confirmed {
                self.violations.push(Violation::FeaturesNotConfirmed);
            }
            let unconfirmed = self.queues.iter().any(|queue| queue.vector_unconfirmed);
            if unconfirmed || self.config_vector_unconfirmed {
                self.violations.push(Violation::VectorNotConfirmed);
            }
        }
        self.status = accepted;
    }

    pub(super) fn begin_reset(&mut self) {
        self.reset_unconfirmed = true;
        // A status of zero says that the reset has ended.
        self.reset_polls_left = if self.status.is_empty() { 0 } else { self.slow_reset };
    }

    fn write_queue(&mut self, register: u32, value: u32) {
        let number = self.queue_select;
        let in_step = self.status.contains(DeviceStatus::FEATURES_OK)
            && self.features_confirmed
            && (!self.status.contains(DeviceStatus::DRIVER_OK) || self.queue_resets.may_set_up(number));
        if !in_step {
            self.violations
                .push(Violation::QueueSetUpOutOfStep { queue: number, status: self.status.bits() });
        }
        let vector =
            if register == common::QUEUE_MSIX_VECTOR { self.take_vector(value as u16) } else { NO_VECTOR };
        let Some(queue) = self.queues.get_mut(usize::from(number)) else {
            self.violations.push(Violation::NoSuchQueue { queue: number });
            return;
        };
        if self.queue_resets.is_under_way(number) {
            self.violations.push(Violation::QueueResetNotAwaited { queue: number });
            return;
        }
        if queue.enabled {
            self.violations.push(Violation::QueueAlreadyEnabled { queue: number });
            return;
        }
        match register {
            common::QUEUE_SIZE => {
                let size = value as u16;
                if Queue::takes_size(size, self.accepted) && size <= queue.size {
                    queue.size = size;
                } else {
                    self.violations.push(Violation::QueueSize { queue: number, size });
                }
            }
            common::QUEUE_MSIX_VECTOR => {
                queue.vector = vector;
                queue.vector_unconfirmed = value as u16 != NO_VECTOR;
            }
            common::QUEUE_ENABLE if value == 1 => {
                if !Queue::takes_size(queue.size, self.accepted) {
                    self.violations.push(Violation::QueueSize { queue: number, size: queue.size });
                } else if let Err(violation) = queue.enable(&self.ram, self.accepted) {
                    self.violations.push(violation);
                } else {
                    self.queue_resets.set_up(number);
                }
            }
            common::QUEUE_ENABLE => self.violations.push(Violation::QueueDisabled { queue: number }),
            _ => {
                let (area, high) = area_of(register);
                queue.areas[area].set(high, value);
            }
        }
    }

    /// The vector that a register holds after this was written to it.
    pub(super) fn take_vector(&mut self, vector: u16) -> u16 {
        if vector == NO_VECTOR {
            return NO_VECTOR;
        }
        if self.options.vectors == 0 {
            self.violations.push(Violation::VectorWithoutMsix { vector });
        }
        let refused = vector >= self.options.vectors || self.lies.contains(&Lie::VectorRefused);
        if refused { NO_VECTOR } else { vector }
    }

    pub(super) fn read_isr(&mut self, offset: u32, width: u32) -> u32 {
        if width != 1 {
            return self.absent(Violation::AccessWidth { offset, width });
        }
        if self.msix_enabled {
            self.violations.push(Violation::IsrReadWithMsix);
        }
        u32::from(core::mem::take(&mut self.isr))
    }

    pub(super) fn read_config(&mut self, at: u32, width: u32) -> u32 {
        if !self.status.contains(DeviceStatus::DRIVER) {
            self.violations.push(Violation::ConfigOutOfStep { offset: at });
        }
        // A legacy device knows that features are settled when they are written (3.1.2).
        let settled = self.status.contains(DeviceStatus::FEATURES_OK)
            || (self.options.legacy && !self.accepted.is_empty());
        let features = if settled { self.accepted } else { self.offered() };
        if !features.contains(self.model.config_feature(at as usize)) {
            self.violations.push(Violation::ConfigWithoutFeature { offset: at });
        }
        let config = self.model.config();
        let mut value = [0xff; 4];
        for (byte, at) in value[..width as usize].iter_mut().zip(at as usize..) {
            *byte = config.get(at).copied().unwrap_or(0xff);
        }
        u32::from_le_bytes(value)
    }

    /// Bytes between the notification addresses of two queues.
    pub(super) fn notify_multiplier(&self) -> u32 {
        let shared = self.options.legacy || self.options.notify_io;
        if shared { 0 } else { self.options.notify_multiplier }
    }

    pub(super) fn notify(&mut self, at: u32, width: u32, value: u32) {
        let with_position = self.accepted.contains(Features::NOTIFICATION_DATA);
        if width != if with_position { 4 } else { 2 } {
            self.violations.push(Violation::AccessWidth { offset: at, width });
            return;
        }
        let name = value as u16;
        let first_name = if self.accepted.contains(Features::NOTIF_CONFIG_DATA) { QUEUE_NAMES } else { 0 };
        let number = name.wrapping_sub(first_name);
        let multiplier = self.notify_multiplier();
        let elsewhere = Violation::NotifiedElsewhere { offset: at, value: name };
        let running = self.status.contains(DeviceStatus::DRIVER_OK) && !self.reset_unconfirmed;
        let Some(queue) = self.queues.get_mut(usize::from(number)) else {
            self.violations.push(elsewhere);
            return;
        };
        if at != u32::from(number) * multiplier {
            self.violations.push(elsewhere);
        } else if !running || !queue.enabled {
            self.violations.push(Violation::NotifiedTooEarly { queue: number });
        } else {
            let (position, expected) = ((value >> 16) as u16, queue.position(&self.ram));
            if with_position && position != expected {
                self.violations.push(Violation::NotificationData { queue: number, position, expected });
            }
            queue.notified = true;
            queue.notifications += 1;
        }
    }
}

fn half(bits: u64, select: u32) -> u32 {
    match select {
        0 => bits as u32,
        1 => (bits >> 32) as u32,
        _ => 0,
    }
}

/// Which area an address register is for, and whether it is the upper half.
fn area_of(register: u32) -> (usize, bool) {
    let word = (register - common::QUEUE_DESC) / 4;
    (word as usize / 2, !word.is_multiple_of(2))
}

fn area(queue: &Queue, register: u32) -> u32 {
    let (area, high) = area_of(register);
    queue.areas[area].half(high)
}
