//! The device status (2.1) and the resets that are asked for with it, among them those that take their time.

use super::registers::NO_VECTOR;
use super::{Device, Lie, Task, feature, tasks};

pub(super) const FEATURES_OK: u8 = 8;
pub(super) const DRIVER_OK: u8 = 4;
pub(super) const NEEDS_RESET: u8 = 64;

/// Resets that a device does not do which does one at last.
const REFUSED_RESETS: u32 = 2;
/// Milliseconds that a reset takes that takes seconds.
const RESET_TICKS: u64 = 3000;
/// The same of one that takes a second.
pub const SLOW_RESET_TICKS: u64 = 1000;
/// Milliseconds that the write of the register takes which begins a reset, where the device ends in it what it has: nobody knows
/// how long the storage of a host may take (QEMU, hw/block/virtio-blk.c, `virtio_blk_reset` waits for all of it).
const BLOCKED_MILLISECONDS: u64 = 5000;
/// Milliseconds of these in which it goes on with its requests.
const DRAIN_TICKS: u64 = 10;

impl Device {
    /// Whether the driver has said that it is ready.
    pub(super) fn is_started(&self) -> bool {
        self.status & DRIVER_OK != 0
    }

    pub(super) fn running(&self) -> bool {
        self.status & DRIVER_OK != 0 && self.status & NEEDS_RESET == 0 && !self.gone() && self.is_bus_master()
    }

    pub(super) fn read_status(&mut self) -> u8 {
        self.looks += 1;
        match self.lie() {
            Lie::ResetNeverBegins => self.status | 1,
            Lie::ResetSlow if self.status == 0 && self.looks < 10 => 0x0F,
            _ => self.status,
        }
    }

    pub(super) fn set_status(&mut self, value: u8) {
        if value == 0 {
            if self.is_started() {
                self.tasks.push(Task::Device);
            }
            let stuck = match self.lie() {
                Lie::ResetNeverCompletes => true,
                Lie::ResetNeverCompletesAtWork => self.begun(),
                Lie::ResetCompletesAtLast => self.begun() && self.refused_resets < REFUSED_RESETS,
                Lie::ResetTakesSeconds if self.begun() && self.refused_resets == 0 => {
                    self.reset_ends = self.ticks + RESET_TICKS;
                    true
                }
                Lie::ResetTakesSeconds => self.reset_ends > self.ticks,
                Lie::ResetTakesASecond => {
                    if self.is_started() && self.reset_ends == 0 {
                        self.reset_ends = self.ticks + SLOW_RESET_TICKS;
                    }
                    true
                }
                Lie::ResetBlocks => {
                    if self.is_started() && self.reset_ends == 0 {
                        self.reset_ends = self.ticks + DRAIN_TICKS;
                        self.holds_up = BLOCKED_MILLISECONDS;
                    }
                    true
                }
                Lie::TaskThenResetNeverEnds(_) => self.told > 0,
                _ => false,
            };
            if stuck && self.is_started() {
                self.refused_resets += 1;
                // Until the reset has ended the device may still do anything with its requests (2.4.1).
                self.silent = false;
                self.silent_units.clear();
            } else {
                self.reset();
            }
            return;
        }
        self.check_status(value);
        let refused = self.is(Lie::FeaturesOkRefused) || self.driver_features & feature::VERSION_1 == 0;
        let allowed = if refused { !FEATURES_OK } else { !0 };
        self.looks = 100;
        self.status = self.status & NEEDS_RESET | value & allowed;
    }

    /// The device forgets everything but the disk.
    pub fn reset(&mut self) {
        self.status = 0;
        self.features_select = [0; 2];
        self.driver_features = 0;
        self.config_vector = NO_VECTOR;
        self.queue_select = 0;
        self.fresh_queues();
        self.isr = 0;
        (self.resets, self.looks) = (self.resets + 1, 0);
        self.held.clear();
        self.paced = super::pace::Paced::default();
        self.commands.clear();
        self.buffers.clear();
        self.late = tasks::Late::default();
        self.silent_units.clear();
        (self.silent, self.reset_ends) = (false, 0);
    }

    /// How long the last register write holds up the processor that does it, in milliseconds. It returns when the device has
    /// ended its reset.
    pub fn take_hold_up(&mut self) -> u64 {
        core::mem::take(&mut self.holds_up)
    }

    /// Whether it is in a reset that has not ended.
    pub fn is_in_reset(&self) -> bool {
        self.reset_ends != 0
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::super::driver::{USED, request, running};
    use super::super::{Kind, get16};
    use super::*;

    #[test]
    fn a_slow_reset_ends_in_its_time_and_what_the_silent_device_has_ends_before() {
        let (mut device, mut memory) = running(Kind::Blk, Lie::ResetTakesASecond);
        device.be_silent();
        request(&mut device, &mut memory, false, 0, 0);
        let silent = (device.tick(&mut memory), get16(&mut memory, USED + 2));

        device.write(20, 1, 0, &mut memory);
        device.tick(&mut memory);
        let under_way = (device.read(20, 1), get16(&mut memory, USED + 2));
        (2..SLOW_RESET_TICKS).for_each(|_| drop(device.tick(&mut memory)));
        let just_before = device.read(20, 1);
        device.tick(&mut memory);

        assert_eq!(silent, (vec![], 0));
        assert_eq!(under_way, (15, 1));
        assert_eq!((just_before, device.read(20, 1)), (15, 0));
    }
}
